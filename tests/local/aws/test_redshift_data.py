"""The Redshift Data API on the local stack: states, results, transactions, COPY and UNLOAD, and Airflow's operator."""

import gzip
import json
import signal
import subprocess
import sys
import threading
import time
import uuid

import duckdb
import pytest
from botocore.exceptions import ClientError
from moto.redshiftdata.models import RedshiftDataAPIServiceBackend
from moto.redshiftdata.responses import RedshiftDataAPIServiceResponse

from local.aws import redshift_engine
from local.aws.redshift_engine import Stop
from local.aws.redshift_errors import QueryFailed
from local.aws.redshift_sql import command
from local.aws.server import Server
from local.aws.settings import Settings, client
from tests.local.aws.operators import execute

BUCKET = "test-lake"
ENDLESS = (
    "SELECT count(*) FROM shop.numbers a CROSS JOIN shop.numbers b CROSS JOIN shop.numbers c "
    "WHERE a.x * b.x * c.x % 7 = 3"
)


class Redshift:
    """Runs statements through boto3."""

    def __init__(self, state):
        self.state = state
        self.server = Server(Settings(state, 0)).start()
        self.client, self.s3 = client("redshift-data"), client("s3")

    def start(self, sql, **request) -> str:
        where = {"WorkgroupName": "shop", "Database": "dev"} if "SessionId" not in request else {}
        if "ClusterIdentifier" in request:
            where.pop("WorkgroupName")
        if isinstance(sql, list):
            return self.client.batch_execute_statement(Sqls=sql, **where, **request)["Id"]
        return self.client.execute_statement(Sql=sql, **where, **request)["Id"]

    def end(self, sql, **request) -> dict:
        return self.wait(self.start(sql, **request))

    def wait(self, statement: str) -> dict:
        described = self.client.describe_statement(Id=statement, WaitTimeSeconds=30)
        assert described["Status"] in ("FINISHED", "FAILED", "ABORTED"), described
        return described

    def run(self, sql, **request) -> dict:
        described = self.end(sql, **request)
        assert described["Status"] == "FINISHED", described
        return described

    def fail(self, sql, **request) -> str:
        described = self.end(sql, **request)
        assert described["Status"] == "FAILED", described
        return described["Error"]

    def rows(self, sql, **request) -> list:
        described = self.run(sql, **request)
        pages = self.client.get_paginator("get_statement_result").paginate(Id=described["Id"])
        return [
            [None if "isNull" in value else next(iter(value.values())) for value in record]
            for page in pages
            for record in page["Records"]
        ]

    def put(self, key: str, data: bytes) -> None:
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=data)

    def put_parquet(self, key: str, query: str) -> None:
        staged = self.state / "staged.parquet"
        duckdb.execute(f"COPY ({query}) TO '{staged}' (FORMAT parquet)")
        self.put(key, staged.read_bytes())


@pytest.fixture(scope="module")
def redshift(tmp_path_factory):
    opened = Redshift(tmp_path_factory.mktemp("redshift") / "state")
    opened.s3.create_bucket(Bucket=BUCKET)
    opened.run("CREATE SCHEMA shop")
    opened.run("CREATE TABLE shop.numbers AS SELECT 1 AS x")
    for _ in range(11):
        opened.run("INSERT INTO shop.numbers SELECT x + (SELECT count(*) FROM shop.numbers) FROM shop.numbers")
    yield opened
    opened.server.stop()


@pytest.fixture
def items(redshift):
    redshift.run("DROP TABLE IF EXISTS shop.items")
    redshift.run(
        "CREATE TABLE shop.items (id bigint NOT NULL, name varchar(10), price decimal(18,2), sold timestamp, day date)"
    )
    return "shop.items"


ROWS = (
    "SELECT i AS a, 'item ' || i AS b, (i * 1.5)::decimal(18, 2) AS c, TIMESTAMP '2024-01-01 10:00:00' AS d, "
    "DATE '2024-01-01' AS e FROM range({}) t(i)"
)


class TestStatements:
    def test_fields_have_types(self, redshift):
        described = redshift.run(
            "SELECT 1::smallint AS a, 2 AS b, 3::bigint AS c, 1.5::float AS d, 12.50::decimal(10,2) AS e, "
            "'x'::varchar AS f, true AS g, DATE '2024-02-29' AS h, TIMESTAMP '2024-01-01 10:00:00.120' AS i, "
            "NULL::int AS j, '2024-01-01 10:00:00+02'::timestamptz AS k"
        )
        result = redshift.client.get_statement_result(Id=described["Id"])
        assert result["Records"] == [
            [
                *({"longValue": 1}, {"longValue": 2}, {"longValue": 3}, {"doubleValue": 1.5}, {"stringValue": "12.50"}),
                *({"stringValue": "x"}, {"booleanValue": True}, {"stringValue": "2024-02-29"}),
                *(
                    {"stringValue": "2024-01-01 10:00:00.12"},
                    {"isNull": True},
                    {"stringValue": "2024-01-01 08:00:00+00"},
                ),
            ]
        ]
        columns = result["ColumnMetadata"]
        assert [column["typeName"] for column in columns] == [
            *(
                "int2",
                "int4",
                "int8",
                "float8",
                "numeric",
                "varchar",
                "bool",
                "date",
                "timestamp",
                "int4",
                "timestamptz",
            )
        ]
        assert (columns[4]["precision"], columns[4]["scale"]) == (10, 2)

    def test_a_statement_is_described(self, redshift):
        described = redshift.run("SELECT x FROM shop.numbers WHERE x <= 3", StatementName="three")
        assert described["HasResultSet"]
        assert (described["ResultRows"], described["WorkgroupName"], described["Database"]) == (3, "shop", "dev")
        assert described["Duration"] > 0
        assert described["UpdatedAt"] >= described["CreatedAt"]
        assert "Error" not in described

    def test_paging_gives_every_row_once(self, redshift):
        statement = redshift.run("SELECT x FROM shop.numbers ORDER BY x")["Id"]
        sizes, token, found = [], {}, []
        while True:
            page = redshift.client.get_statement_result(Id=statement, **token)
            sizes.append(len(page["Records"]))
            found += [record[0]["longValue"] for record in page["Records"]]
            assert page["TotalNumRows"] == 2048
            if "NextToken" not in page:
                break
            token = {"NextToken": page["NextToken"]}
        assert sizes == [1000, 1000, 48]
        assert found == list(range(1, 2049))

    def test_rows_that_changed_are_counted(self, redshift, items):
        inserted = redshift.run(f"INSERT INTO {items} (id) VALUES (1), (2)")
        assert (inserted["ResultRows"], inserted["HasResultSet"]) == (2, False)
        with pytest.raises(ClientError, match="Query does not have result"):
            redshift.client.get_statement_result(Id=inserted["Id"])

    def test_parameters(self, redshift):
        parameters = [{"name": "low", "value": "2046"}, {"name": "label", "value": "it's; :low"}]
        sql = "SELECT x, :label AS label FROM shop.numbers WHERE x > :low ORDER BY x"
        assert redshift.rows(sql, Parameters=parameters) == [[2047, "it's; :low"], [2048, "it's; :low"]]
        assert "unused parameters" in redshift.fail("SELECT 1", Parameters=parameters)

    def test_a_token_starts_one_statement(self, redshift, items):
        token = str(uuid.uuid4())
        first = redshift.start(f"INSERT INTO {items} (id) VALUES (1)", ClientToken=token)
        assert redshift.start(f"INSERT INTO {items} (id) VALUES (1)", ClientToken=token) == first
        redshift.wait(first)
        assert redshift.rows(f"SELECT count(*) FROM {items}") == [[1]]
        with pytest.raises(ClientError, match="ClientToken"):
            redshift.start(f"INSERT INTO {items} (id) VALUES (2)", ClientToken=token)

    def test_clusters_and_workgroups_are_apart(self, redshift):
        assert redshift.run("SELECT 1 AS x", ClusterIdentifier="other", DbUser="admin")["ClusterIdentifier"] == "other"
        assert "does not exist" in redshift.fail("SELECT * FROM shop.numbers", ClusterIdentifier="other")
        assert (redshift.state / "redshift" / "other" / "dev.duckdb").is_file()

    @pytest.mark.parametrize(
        ("request_", "reason"),
        [
            ({"Database": "dev"}, "exactly one"),
            ({"Database": "dev", "WorkgroupName": "shop", "ClusterIdentifier": "other"}, "exactly one"),
            ({"WorkgroupName": "shop"}, "Database"),
            ({"Database": "../dev", "WorkgroupName": "shop"}, "Database"),
            ({"Database": "dev", "WorkgroupName": "../shop"}, "not the name"),
            ({"Database": "dev", "WorkgroupName": "shop", "WithEvent": True}, "EventBridge"),
            ({"Database": "dev", "WorkgroupName": "shop", "ResultFormat": "CSV"}, "ResultFormat"),
        ],
    )
    def test_requests_that_cannot_be_meant(self, redshift, request_, reason):
        with pytest.raises(ClientError, match=reason):
            redshift.client.execute_statement(Sql="SELECT 1", **request_)

    def test_unknown_statements_and_actions(self, redshift):
        with pytest.raises(ClientError, match="Query does not exist"):
            redshift.client.describe_statement(Id=str(uuid.uuid4()))
        with pytest.raises(ClientError, match="id must satisfy"):
            redshift.client.describe_statement(Id="nonsense")
        with pytest.raises(ClientError, match="not run by this local stack"):
            redshift.client.get_statement_result_v2(Id=str(uuid.uuid4()))

    def test_statements_are_listed_newest_first(self, redshift):
        statements = [redshift.run("SELECT 1", StatementName=f"listed-{number}")["Id"] for number in range(3)]
        failed = redshift.end("SELECT nothing", StatementName="listed-failed")["Id"]
        listed = redshift.client.list_statements(StatementName="listed", MaxResults=3)
        assert [each["Id"] for each in listed["Statements"]] == [failed, *statements[:0:-1]]
        rest = redshift.client.list_statements(StatementName="listed", MaxResults=3, NextToken=listed["NextToken"])
        assert [each["Id"] for each in rest["Statements"]] == statements[:1]
        only = redshift.client.list_statements(StatementName="listed", Status="FAILED")["Statements"]
        assert [each["Id"] for each in only] == [failed]

    def test_the_catalog(self, redshift, items):
        data, where = redshift.client, {"WorkgroupName": "shop", "Database": "dev"}
        assert data.list_databases(**where)["Databases"] == ["dev"]
        assert data.list_schemas(**where, SchemaPattern="s%")["Schemas"] == ["shop"]
        assert data.list_schemas(**where)["Schemas"] == ["public", "shop"]
        tables = data.list_tables(**where, SchemaPattern="shop", TablePattern="i%")["Tables"]
        assert tables == [{"name": "items", "schema": "shop", "type": "TABLE"}]
        columns = data.describe_table(**where, Schema="shop", Table="items")["ColumnList"]
        assert [(c["name"], c["typeName"], c["length"] if c["typeName"] == "varchar" else None) for c in columns] == [
            *(("id", "int8", None), ("name", "varchar", 10), ("price", "numeric", None)),
            *(("sold", "timestamp", None), ("day", "date", None)),
        ]
        assert [c["nullable"] for c in columns][:2] == [0, 1]


class TestTransactions:
    def test_a_batch_is_all_or_nothing(self, redshift, items):
        described = redshift.end(
            [f"INSERT INTO {items} (id) VALUES (1)", f"INSERT INTO {items} (id) VALUES ('x')", "SELECT 1"]
        )
        assert described["Status"] == "FAILED"
        assert described["Error"] == 'ERROR: invalid input syntax for integer: "x"'
        assert [step["Status"] for step in described["SubStatements"]] == ["ABORTED", "FAILED", "ABORTED"]
        assert redshift.rows(f"SELECT count(*) FROM {items}") == [[0]]

    def test_results_of_a_batch_have_ids_of_their_own(self, redshift, items):
        described = redshift.run([f"INSERT INTO {items} (id) VALUES (7)", f"SELECT id FROM {items}", "SELECT 'last'"])
        steps = described["SubStatements"]
        assert [step["Id"] for step in steps] == [f"{described['Id']}:{number}" for number in (1, 2, 3)]
        assert [step["HasResultSet"] for step in steps] == [False, True, True]
        records = redshift.client.get_statement_result(Id=steps[1]["Id"])["Records"]
        assert records == [[{"longValue": 7}]]

    def test_a_batch_may_commit_each_statement(self, redshift, items):
        described = redshift.end(
            [f"INSERT INTO {items} (id) VALUES (1)", "SELECT nothing", f"INSERT INTO {items} (id) VALUES (2)"],
            ExecutionMode="AUTO_COMMIT",
        )
        assert [step["Status"] for step in described["SubStatements"]] == ["FINISHED", "FAILED", "FINISHED"]
        assert redshift.rows(f"SELECT count(*) FROM {items}") == [[2]]

    def test_begin_and_commit_in_one_text(self, redshift, items):
        redshift.run(f"BEGIN; INSERT INTO {items} (id) VALUES (1); COMMIT")
        redshift.run(f"BEGIN; INSERT INTO {items} (id) VALUES (2); ROLLBACK;")
        assert "BEGIN without COMMIT" in redshift.fail(f"BEGIN; INSERT INTO {items} (id) VALUES (3)")
        assert redshift.rows(f"SELECT id FROM {items}") == [[1]]

    def test_truncate_commits_and_vacuum_wants_to_be_alone(self, redshift, items):
        redshift.run(f"INSERT INTO {items} (id) VALUES (1)")
        redshift.fail([f"TRUNCATE {items}", f"INSERT INTO {items} (id) VALUES ('x')"])
        assert redshift.rows(f"SELECT count(*) FROM {items}") == [[0]]
        assert "inside a transaction block" in redshift.fail([f"VACUUM {items}", "SELECT 1"])
        redshift.run(f"VACUUM {items}")

    def test_readers_see_the_old_or_the_new_table_during_swaps(self, redshift):
        redshift.run(["CREATE TABLE shop.live AS SELECT 0 AS version, x FROM shop.numbers"])
        done, seen, failures = threading.Event(), set(), []

        def read():
            while not done.is_set():
                described = redshift.end("SELECT min(version), max(version), count(*) FROM shop.live")
                if described["Status"] != "FINISHED":
                    failures.append(described)
                    return
                record = redshift.client.get_statement_result(Id=described["Id"])["Records"][0]
                seen.add(tuple(field["longValue"] for field in record))

        readers = [threading.Thread(target=read) for _ in range(2)]
        for reader in readers:
            reader.start()
        for version in range(1, 13):
            redshift.run(
                [
                    "CREATE TABLE shop.live_stage (LIKE shop.live)",
                    f"INSERT INTO shop.live_stage SELECT {version}, x FROM shop.numbers",
                    "ALTER TABLE shop.live RENAME TO live_old",
                    "ALTER TABLE shop.live_stage RENAME TO live",
                    "DROP TABLE shop.live_old",
                ]
            )
        done.set()
        for reader in readers:
            reader.join(30)
        assert not failures
        assert seen
        assert all(low == high and rows == 2048 for low, high, rows in seen)

    def test_writers_wait_for_each_other(self, redshift, items):
        statements = [redshift.start([f"INSERT INTO {items} (id) SELECT max(x) FROM shop.numbers"]) for _ in range(8)]
        updates = [redshift.start(f"UPDATE {items} SET price = coalesce(price, 0) + 1") for _ in range(4)]
        assert {redshift.wait(each)["Status"] for each in (*statements, *updates)} == {"FINISHED"}
        assert redshift.rows(f"SELECT count(*) FROM {items}") == [[8]]


class TestSessions:
    def test_a_session_keeps_temporary_tables_and_its_transaction(self, redshift, items):
        opened = redshift.run("CREATE TEMP TABLE mine AS SELECT 5 AS x", SessionKeepAliveSeconds=60)
        session = {"SessionId": opened["SessionId"]}
        assert redshift.rows("SELECT x FROM mine", **session) == [[5]]
        assert "does not exist" in redshift.fail("SELECT x FROM mine")
        redshift.run("BEGIN", **session)
        redshift.run(f"INSERT INTO {items} (id) SELECT x FROM mine", **session)
        assert redshift.rows(f"SELECT count(*) FROM {items}") == [[0]]
        redshift.run("COMMIT", **session)
        assert redshift.rows(f"SELECT count(*) FROM {items}") == [[1]]

    def test_a_failed_transaction_takes_nothing_more(self, redshift, items):
        session = {"SessionId": redshift.run("BEGIN", SessionKeepAliveSeconds=60)["SessionId"]}
        redshift.run(f"INSERT INTO {items} (id) VALUES (1)", **session)
        redshift.fail("SELECT nothing", **session)
        assert "current transaction is aborted" in redshift.fail(f"INSERT INTO {items} (id) VALUES (2)", **session)
        redshift.run("ROLLBACK", **session)
        redshift.run(f"INSERT INTO {items} (id) VALUES (3)", **session)
        assert redshift.rows(f"SELECT id FROM {items}") == [[3]]

    def test_unknown_sessions(self, redshift):
        with pytest.raises(ClientError, match="ResourceNotFoundException"):
            redshift.start("SELECT 1", SessionId=str(uuid.uuid4()))


class TestCancel:
    def test_a_running_statement_is_interrupted_and_undone(self, redshift, items):
        statement = redshift.start([f"INSERT INTO {items} (id) VALUES (1)", ENDLESS])
        deadline = time.monotonic() + 30
        while redshift.client.describe_statement(Id=statement)["SubStatements"][1]["Status"] != "STARTED":
            assert time.monotonic() < deadline
            time.sleep(0.01)
        with pytest.raises(ClientError, match="does not have result"):
            redshift.client.get_statement_result(Id=statement)
        assert redshift.client.cancel_statement(Id=statement)["Status"]
        described = redshift.wait(statement)
        assert described["Status"] == "ABORTED"
        assert redshift.rows(f"SELECT count(*) FROM {items}") == [[0]]
        with pytest.raises(ClientError, match="already in ABORTED state"):
            redshift.client.cancel_statement(Id=statement)

    def test_a_statement_that_waits_to_write_is_cancelled(self, redshift, items):
        session = {"SessionId": redshift.run("BEGIN", SessionKeepAliveSeconds=60)["SessionId"]}
        redshift.run(f"INSERT INTO {items} (id) VALUES (1)", **session)
        waiting = redshift.start(f"INSERT INTO {items} (id) VALUES (2)")
        redshift.client.cancel_statement(Id=waiting)
        assert redshift.wait(waiting)["Status"] == "ABORTED"
        redshift.run("COMMIT", **session)
        assert redshift.rows(f"SELECT id FROM {items}") == [[1]]


class TestCopy:
    def copy(self, prefix: str, table: str = "shop.items", options: str = "FORMAT AS PARQUET") -> str:
        return f"COPY {table} FROM 's3://{BUCKET}/{prefix}' IAM_ROLE default {options}"

    def test_parquet_is_loaded_by_position(self, redshift, items):
        redshift.put_parquet("gold/month=2024-01/v=1/a.parquet", ROWS.format(3))
        redshift.put_parquet("gold/month=2024-01/v=1/b.parquet", ROWS.format(2).replace("AS b", "AS other"))
        assert redshift.run(self.copy("gold/month=2024-01/"))["ResultRows"] == 5
        assert redshift.rows(f"SELECT * FROM {items} WHERE id = 2") == [
            [2, "item 2", "3.00", "2024-01-01 10:00:00", "2024-01-01"]
        ]

    def test_columns_may_be_listed(self, redshift, items):
        redshift.put_parquet("listed/a.parquet", "SELECT 'x' AS first, 7::bigint AS second")
        role = "IAM_ROLE 'arn:aws:iam::123456789012:role/load'"
        redshift.run(f"COPY {items} (name, id) FROM 's3://{BUCKET}/listed/' {role} PARQUET")
        assert redshift.rows(f"SELECT id, name, price FROM {items}") == [[7, "x", None]]

    def test_a_prefix_is_the_beginning_of_keys(self, redshift, items):
        redshift.put_parquet("versions/v=1/a.parquet", ROWS.format(1))
        redshift.put_parquet("versions/v=10/a.parquet", ROWS.format(2))
        redshift.put("versions/v=1/_SUCCESS", b"")
        assert redshift.run(self.copy("versions/v=1"))["ResultRows"] == 3
        assert redshift.run(self.copy("versions/v=1/"))["ResultRows"] == 1

    @pytest.mark.parametrize(
        ("query", "reason"),
        [
            (ROWS.format(1) + ", range(1) AS x", "Unmatched number of columns between table and file"),
            (ROWS.format(1).replace("i AS a", "i::int AS a"), "for column 'id'. Column type: BIGINT"),
            (ROWS.format(1).replace("18, 2", "18, 4"), "for column 'price'"),
            (ROWS.format(1).replace("DATE '2024-01-01'", "'2024-01-01'"), "for column 'day'"),
            (ROWS.format(1).replace("'item '", "'a name too long'"), "value too long for type character varying(10)"),
            (ROWS.format(1).replace("i AS a", "NULL::bigint AS a"), "Cannot insert a NULL value into column id"),
        ],
    )
    def test_what_does_not_fit_loads_nothing(self, redshift, items, query, reason):
        redshift.put_parquet("unfit/a.parquet", ROWS.format(3))
        redshift.put_parquet(
            "unfit/b.parquet", query.replace(" FROM", ", 1 AS more FROM") if "range(1) AS x" in query else query
        )
        assert reason in redshift.fail(self.copy("unfit/"))
        assert redshift.rows(f"SELECT count(*) FROM {items}") == [[0]]

    def test_missing_files_and_wrong_requests(self, redshift, items):
        assert "prefix 'nothing/here' does not exist" in redshift.fail(self.copy("nothing/here"))
        assert "bucket does not exist" in redshift.fail(
            f"COPY {items} FROM 's3://no-bucket/x' IAM_ROLE default PARQUET"
        )
        assert "does not exist" in redshift.fail(self.copy("gold/", "shop.nothing"))
        assert "IAM_ROLE" in redshift.fail(f"COPY {items} FROM 's3://{BUCKET}/gold/' PARQUET")
        assert "Invalid IAM role" in redshift.fail(f"COPY {items} FROM 's3://{BUCKET}/gold/' IAM_ROLE 'me' PARQUET")
        assert "Invalid S3 path" in redshift.fail(f"COPY {items} FROM '/etc/passwd' IAM_ROLE default PARQUET")
        assert "Invalid S3 path" in redshift.fail(self.copy("../../x"))
        redshift.put("text/a.parquet", b"no parquet at all, but long enough to be looked at")
        assert "is not a Parquet file" in redshift.fail(self.copy("text/"))
        for options in ("FORMAT AS JSON 'auto'", "FORMAT AS ORC", "", "PARQUET MANIFEST", "CSV MAXERROR 5"):
            assert "not supported" in redshift.fail(self.copy("gold/", options=options))

    def test_csv(self, redshift, items):
        text = 'id,name,price,sold,day\n1,"a, ""b""",2.50,2024-01-01 10:00:00,2024-01-01\n2,,,,\n'
        redshift.put("csv/a.csv", text.encode())
        assert redshift.run(self.copy("csv/", options="CSV IGNOREHEADER 1"))["ResultRows"] == 2
        assert redshift.rows(f"SELECT * FROM {items} ORDER BY id") == [
            [1, 'a, "b"', "2.50", "2024-01-01 10:00:00", "2024-01-01"],
            [2, "", None, None, None],
        ]
        redshift.put("zipped/a.csv.gz", gzip.compress(b"3;x;1;;\n"))
        redshift.run(self.copy("zipped/", options="FORMAT AS CSV DELIMITER ';' GZIP EMPTYASNULL"))
        redshift.put("broken/a.csv", b"4,x,much,,\n")
        assert 'invalid input syntax for type numeric: "much"' in redshift.fail(self.copy("broken/", options="CSV"))
        assert redshift.rows(f"SELECT count(*) FROM {items}") == [[3]]

    def test_stage_and_swap(self, redshift, items):
        redshift.run(f"INSERT INTO {items} (id) VALUES (99)")
        redshift.put_parquet("swap/a.parquet", ROWS.format(4))
        swap = [
            f"CREATE TABLE shop.items_stage (LIKE {items})",
            self.copy("swap/", "shop.items_stage"),
            f"ALTER TABLE {items} RENAME TO items_old",
            "ALTER TABLE shop.items_stage RENAME TO items",
            "DROP TABLE shop.items_old",
        ]
        redshift.fail([*swap, "SELECT nothing"])
        assert redshift.rows(f"SELECT id FROM {items}") == [[99]]
        redshift.run(swap)
        assert redshift.rows(f"SELECT count(*), max(id) FROM {items}") == [[4, 3]]

    def test_unload(self, redshift):
        query = "SELECT x, sum(x) OVER () AS t FROM shop.numbers"
        sql = f"UNLOAD ('{query}') TO 's3://{BUCKET}/out/' IAM_ROLE default PARQUET"
        assert redshift.run(sql)["ResultRows"] == 2048
        file = redshift.state / "s3" / BUCKET / "out" / "0000_part_00.parquet"
        assert duckdb.execute(f"SELECT count(*), any_value(typeof(t)) FROM '{file}'").fetchone() == (2048, "BIGINT")
        assert redshift.s3.head_object(Bucket=BUCKET, Key="out/0000_part_00.parquet")["ContentLength"] > 0
        assert "not empty" in redshift.fail(sql)
        redshift.run(f"{sql} ALLOWOVERWRITE")
        assert "bucket does not exist" in redshift.fail(
            "UNLOAD ('SELECT 1 AS x') TO 's3://no-bucket/' IAM_ROLE default CSV"
        )


class TestDurability:
    def test_tables_survive_a_crash_and_unfinished_work_does_not(self, tmp_path):
        file = tmp_path / "redshift" / "shop" / "dev.duckdb"
        process = subprocess.Popen(
            [sys.executable, "-c", CRASHING, tmp_path, file], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGKILL)
        process.wait()
        database = redshift_engine.Database(file)
        connection = redshift_engine.Connection(database, "analyst")
        with connection.running(Stop()):
            connection.execute(command("SELECT a FROM t"), Stop(), alone=True)
            assert connection.cursor.fetchall() == [("new",)]
            connection.commit()
        with pytest.raises(QueryFailed, match="value too long"), connection.running(Stop()):
            connection.execute(command("INSERT INTO t VALUES ('long')"), Stop(), alone=True)
        connection.close()
        database.close()

    def test_tables_survive_a_restart(self, tmp_path):
        script = RESTARTING.format(wait="{'WorkgroupName': 'shop', 'Database': 'dev', 'WaitTimeSeconds': 30}")
        output = subprocess.check_output([sys.executable, "-c", script, tmp_path], text=True)
        assert output == "FINISHED\n[[{'longValue': 5}]]\n"


CRASHING = """
import sys, pathlib
from local.aws import redshift_engine, settings
from local.aws.redshift_sql import command
settings.use(settings.Settings(pathlib.Path(sys.argv[1]), 0))
connection = redshift_engine.Connection(redshift_engine.database(pathlib.Path(sys.argv[2])), "analyst")
stop = redshift_engine.Stop()
for sql in ("CREATE TABLE t (a varchar(3))", "INSERT INTO t VALUES ('old')", "CREATE TABLE s (LIKE t)",
            "INSERT INTO s VALUES ('new')", "DROP TABLE t", "ALTER TABLE s RENAME TO t"):
    connection.execute(command(sql), stop, alone=False)
connection.commit()
connection.execute(command("INSERT INTO t VALUES ('no')"), stop, alone=False)
print("ready", flush=True)
sys.stdin.read()
"""

RESTARTING = """
import sys, pathlib
from local.aws.server import Server
from local.aws.settings import Settings, client
for sql in ("CREATE TABLE t AS SELECT 5 AS x", "SELECT x FROM t"):
    server = Server(Settings(pathlib.Path(sys.argv[1]), 0)).start()
    data = client("redshift-data")
    done = data.execute_statement(Sql=sql, **{wait})
    print(data.get_statement_result(Id=done["Id"])["Records"] if sql.startswith("SELECT") else done["Status"])
    server.stop()
"""


class TestAirflow:
    @pytest.fixture
    def operator(self, redshift, monkeypatch, tmp_path):
        if "airflow" not in sys.modules:
            monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
        connection = {"conn_type": "aws", "login": "test", "password": "test", "extra": {"region_name": "us-east-1"}}
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))
        monkeypatch.setenv("AWS_ENDPOINT_URL", redshift.client.meta.endpoint_url)
        from airflow.providers.amazon.aws.operators.redshift_data import RedshiftDataOperator

        def build(sql, **arguments):
            return RedshiftDataOperator(
                task_id="load",
                sql=sql,
                database="dev",
                workgroup_name="shop",
                poll_interval=1,
                durable=False,
                **arguments,
            )

        return build

    @pytest.mark.parametrize("deferrable", [False, True])
    def test_success(self, operator, deferrable):
        task = operator(
            ["SELECT max(x) AS last FROM shop.numbers", "SELECT 'second' AS x"],
            deferrable=deferrable,
            return_sql_result=True,
        )
        results = execute(task)
        assert [result["Records"] for result in results] == [[[{"longValue": 2048}]], [[{"stringValue": "second"}]]]

    @pytest.mark.parametrize("deferrable", [False, True])
    def test_failure(self, operator, deferrable):
        with pytest.raises(Exception, match=r'relation "shop\.nothing" does not exist'):
            execute(operator("SELECT * FROM shop.nothing", deferrable=deferrable))

    def test_killing_the_task_cancels_the_statement(self, redshift, operator):
        task = operator(ENDLESS, wait_for_completion=False)
        (statement,) = task.execute({})
        task.on_kill()
        assert redshift.wait(statement)["Status"] == "ABORTED"


class TestWhatIsUsedOfMoto:
    def test_the_backend_and_the_response(self):
        assert {"cancel_statement", "reset"} <= set(dir(RedshiftDataAPIServiceBackend))
        assert isinstance(RedshiftDataAPIServiceResponse.redshiftdata_backend, property)
        assert {"execute_statement", "describe_statement", "get_statement_result", "cancel_statement"} <= set(
            vars(RedshiftDataAPIServiceResponse)
        )
