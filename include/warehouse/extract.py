"""The extract from Snowflake: Snowflake itself writes files into the lake; Airflow only says so and waits."""

import re
from collections.abc import Sequence
from contextlib import closing, suppress
from typing import Any, ClassVar

from airflow.providers.snowflake.hooks.snowflake import SnowflakeHook
from airflow.sdk import BaseOperator, Context


class SnowflakeUnloadOperator(BaseOperator):
    """Unload the rows of a query into an external stage with COPY INTO <location>.

    The statement says `COPY INTO {{ task.target }}`. It is started asynchronously, so its query id is in the log from
    the beginning, and a task that is killed cancels it in Snowflake.

    A retry leaves exactly one copy of the rows when `location` has `{{ ti.try_number }}` in it and the next task reads
    the location that this one returns: what lies at the location is removed before, a failed try removes what it wrote,
    and the statement of a worker that was lost, which may still be running in Snowflake, writes where nobody reads.

    The session's QUERY_TAG names DAG, task, run and try. It unloads logical types
    (ENABLE_UNLOAD_PHYSICAL_TYPE_OPTIMIZATION = FALSE), so that the files' schema does not depend on their values.

    In production the connection authenticates with a key pair: login = the service user, password = the key's
    passphrase or empty, extra = {"account", "warehouse", "database", "role", and "private_key_file" or
    "private_key_content"}, best kept in Secrets Manager. `include/sql/snowflake/setup.sql` makes the user, its role,
    the storage integration and the stage.

    Args:
        sql: The statement, or a .sql file on the DAG's template_searchpath.
        location: Folder under the stage's URL. Letters, digits and `_ . - =` between slashes.
        stage: The external stage, with database and schema.
        snowflake_conn_id: The Airflow connection.

    Returns:
        {"query_id", "rows", "bytes", "location"}: rows unloaded, bytes written, the s3:// URL of the folder with a
        slash at its end.
    """

    # In this order: the statement refers to the location.
    template_fields: Sequence[str] = ("snowflake_conn_id", "stage", "location", "sql")
    template_ext: Sequence[str] = (".sql",)
    template_fields_renderers: ClassVar[dict[str, str]] = {"sql": "sql"}
    ui_color = "#d8eefb"

    def __init__(
        self,
        *,
        sql: str,
        location: str,
        stage: str = "RETAIL.PUBLIC.VITRINE_LAKE",
        snowflake_conn_id: str = SnowflakeHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.sql = sql
        self.location = location
        self.stage = stage
        self.snowflake_conn_id = snowflake_conn_id
        self._hook: SnowflakeHook | None = None
        self._query_id: str | None = None
        self._killed = False

    @property
    def target(self) -> str:
        """Where the statement unloads to, quoted for SQL.

        Raises:
            ValueError: The location is empty, leaves the stage, or has characters that are trouble in keys.
        """
        folder = self.location.strip("/")
        if not re.fullmatch(r"[\w.=-]+(/[\w.=-]+)*", folder, re.ASCII) or ".." in folder.split("/"):
            raise ValueError(
                f"location {self.location!r}: letters, digits and _ . - = between slashes make a folder. A run id has "
                "':' and '+': use {{ ts_nodash }} or an id of your own."
            )
        return f"'@{self.stage}/{folder}/'"

    def execute(self, context: Context) -> dict[str, Any]:
        """Unload, wait, and return what was unloaded to where.

        Raises:
            snowflake.connector.errors.DatabaseError: Snowflake refused or failed the statement, or it was cancelled.
            ValueError: The stage is not an external one, or the statement unloads to another place.
        """
        if self.target not in self.sql:
            raise ValueError(f"the statement has to unload to {self.target}: write COPY INTO {{{{ task.target }}}}")
        self._hook = self._tagged_hook(context)
        with closing(self._hook.get_conn()) as connection, closing(connection.cursor()) as cursor:
            url = _stage_url(cursor, self.stage) + self.location.strip("/") + "/"
            cursor.execute(f"REMOVE {self.target}")
            try:
                rows, size = self._unload(cursor, url)
            except Exception:
                with suppress(Exception):
                    cursor.execute(f"REMOVE {self.target}")
                raise
        return {"query_id": self._query_id, "rows": rows, "bytes": size, "location": url}

    def on_kill(self) -> None:
        """Cancel the query in Snowflake: it would run, and cost, to its end."""
        self._killed = True
        if self._hook is None or self._query_id is None:
            return
        self.log.warning("Cancelling Snowflake query %s", self._query_id)
        # A connection of its own: the task's is waiting for the query.
        with closing(self._hook.get_conn()) as connection, closing(connection.cursor()) as cursor:
            cursor.execute("SELECT SYSTEM$CANCEL_QUERY(%s)", (self._query_id,))
            self.log.warning("Snowflake: %s", cursor.fetchall()[0][0])

    def _unload(self, cursor: Any, url: str) -> tuple[int, int]:
        """Run the statement and return rows and bytes."""
        cursor.execute_async(self.sql)
        self._query_id = cursor.sfqid
        self.log.info("Snowflake query %s unloads to %s", self._query_id, url)
        if self._killed:
            # The signal came before there was a query to cancel.
            self.on_kill()
        cursor.get_results_from_sfqid(self._query_id)
        rows, _, size = cursor.fetchone()
        self.log.info("Snowflake query %s unloaded %d rows, %d bytes", self._query_id, rows, size)
        return int(rows), int(size)

    def _tagged_hook(self, context: Context) -> SnowflakeHook:
        """Return a hook whose sessions say who they work for; the connection's own session parameters stay."""
        ti = context["ti"]
        given = SnowflakeHook.get_connection(self.snowflake_conn_id).extra_dejson.get("session_parameters") or {}
        parameters = {
            **given,
            "QUERY_TAG": f"airflow dag={ti.dag_id} task={ti.task_id} run={ti.run_id} try={ti.try_number}",
            "ENABLE_UNLOAD_PHYSICAL_TYPE_OPTIMIZATION": False,
        }
        return SnowflakeHook(self.snowflake_conn_id, session_parameters=parameters)


def _stage_url(cursor: Any, stage: str) -> str:
    """Return the URL of an external stage, with a slash at its end."""
    cursor.execute(f"DESC STAGE {stage}")
    urls = [str(row[3]) for row in cursor.fetchall() if row[1] == "URL"]
    found = re.search(r"s3://[^\"\]]+", urls[0]) if urls else None
    if found is None:
        raise ValueError(f"stage {stage} has no s3:// URL; name an external stage, as setup.sql creates it")
    return found[0].rstrip("/") + "/"
