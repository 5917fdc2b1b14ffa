"""The account: all databases of one state directory in one DuckDB, with fakesnow's catalogue kept on disk."""

import contextlib
import shutil
from pathlib import Path
from typing import Any

import duckdb
from fakesnow import info_schema, macros
from fakesnow.fakes import FakeSnowflakeConnection
from fakesnow.instance import GLOBAL_DATABASE_NAME, FakeSnow
from fakesnow.transforms import show, stage
from snowflake.connector.cursor import SnowflakeCursor

from local.snowflake.cursor import Cursor

CATALOGUE = f"{GLOBAL_DATABASE_NAME}._fs_information_schema"

# The rest of the stack and Airflow share the laptop; larger statements spill to the temporary directory.
MEMORY_LIMIT = "2GB"

# Storage integrations belong to the account, like users; fakesnow has no table for them.
INTEGRATIONS = f"""
    CREATE TABLE IF NOT EXISTS {CATALOGUE}.integrations (
        name VARCHAR PRIMARY KEY, enabled BOOLEAN, role_arn VARCHAR, allowed VARCHAR[], blocked VARCHAR[],
        comment VARCHAR, created_on TIMESTAMPTZ
    )
"""


class Account(FakeSnow):
    """fakesnow, but nothing is forgotten when the process ends: not even by `kill -9`.

    Plain fakesnow keeps stages, file formats and staged files in memory or in a temporary directory, and attaches a
    database only when a client logs in to it.
    """

    def __init__(self, folder: Path) -> None:
        """Open the account in `folder`.

        Args:
            folder: Directory of the database files; created if missing. DuckDB locks them: one server owns them.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.db_path = folder
        # As in Snowflake, logging in to a database that does not exist does not create it.
        self.create_database_on_connect = False
        self.create_schema_on_connect = False
        self.nop_regexes = None
        self.results_cache: dict[str, tuple] = {}
        stage.LOCAL_BUCKET_PATH = str((folder / "stages").resolve())
        temporary = folder / "temporary"
        settings: dict[str, Any] = {
            "lambda_syntax": "ENABLE_SINGLE_ARROW",
            "temp_directory": str(temporary / "duckdb"),
            "memory_limit": MEMORY_LIMIT,
        }
        self.duck_conn = duckdb.connect(":memory:", config=settings)
        self.duck_conn.execute("SET GLOBAL TimeZone = 'UTC'")
        # Unloaded files have no order, and keeping one costs memory.
        self.duck_conn.execute("SET GLOBAL preserve_insertion_order = false")
        self._attach(folder / f"{GLOBAL_DATABASE_NAME}.db", GLOBAL_DATABASE_NAME)
        # Only now: the lock on the catalogue says that no other server is using the files of running statements.
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        self.duck_conn.execute(info_schema.fs_global_creation_sql())
        self.duck_conn.execute(show.fs_global_creation_sql())
        self.duck_conn.execute(INTEGRATIONS)
        for file in sorted(folder.glob("*.db")):
            if file.stem != GLOBAL_DATABASE_NAME:
                self._attach(file, file.stem)
                self.duck_conn.execute(info_schema.per_db_creation_sql(file.stem))
                self.duck_conn.execute(macros.creation_sql(file.stem))

    def _attach(self, file: Path, name: str) -> None:
        path = str(file).replace("'", "''")
        self.duck_conn.execute(f"ATTACH '{path}' AS {name}")

    def connect(
        self,
        database: str | None = None,
        schema: str | None = None,
        nop_regexes: list[str] | None = None,
        **options: Any,
    ) -> "Connection":
        """Open a session's connection."""
        return Connection(
            self.duck_conn.cursor(),
            self.results_cache,
            database,
            schema,
            create_database=self.create_database_on_connect,
            create_schema=self.create_schema_on_connect,
            db_path=self.db_path,
            nop_regexes=nop_regexes,
            **options,
        )

    def close(self) -> None:
        """Write everything to the database files and release them."""
        self.duck_conn.execute("CHECKPOINT")
        self.duck_conn.close()


class Connection(FakeSnowflakeConnection):
    """A session's connection, whose cursors do what fakesnow's do not."""

    query_tag = ""

    @property
    def temporary(self) -> Path:
        """Where statements keep files while they run; emptied at every start of the account."""
        return Path(str(self.db_path)) / "temporary"

    @property
    def autocommits(self) -> bool:
        """Whether every statement is a transaction of its own, unless the client began one."""
        return bool(self._autocommit)

    def begin(self) -> bool:
        """Begin a transaction for a statement of several steps.

        Returns:
            False when the statement joins a transaction that is already open.
        """
        try:
            self._duck_conn.execute("BEGIN")
        except duckdb.TransactionException:
            return False
        self._in_transaction = True
        return True

    def end(self, *, keep: bool) -> None:
        """Commit (`keep`) or roll back the transaction that `begin` began."""
        if keep:
            self._duck_conn.execute("COMMIT")
        while not keep:
            # What is being cancelled is interrupted until it is over, which it is only after the rollback.
            with contextlib.suppress(duckdb.InterruptException):
                self._duck_conn.execute("ROLLBACK")
                break
        self._in_transaction = False

    def commit_before_definition(self) -> None:
        """Commit what is open: in Snowflake every CREATE and DROP is a transaction of its own."""
        if self._in_transaction:
            self.end(keep=True)

    def interrupt(self) -> None:
        """Stop what DuckDB is doing for this session."""
        self._duck_conn.interrupt()

    def cursor(self, cursor_class: type[SnowflakeCursor] = SnowflakeCursor) -> Cursor:
        """Return a cursor; `cursor_class` is fakesnow's interface and makes no difference to a server."""
        return Cursor(conn=self, duck_conn=self._duck_conn)
