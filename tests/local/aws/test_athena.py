"""Athena on the local stack: executions, workgroups, results, cancelling, and Airflow's operator."""

import csv
import io
import json
import sys
import threading
import time

import duckdb
import pytest
from botocore.exceptions import ClientError
from moto.athena.models import AthenaBackend
from moto.athena.responses import AthenaResponse

from local.aws import athena_engine
from tests.local.aws.operators import execute

BUCKET = "test-lake"
ENDLESS = (
    "SELECT count(*) FROM UNNEST(sequence(1, 60000)) AS a(x) CROSS JOIN UNNEST(sequence(1, 60000)) AS b(y) "
    "WHERE x * y % 7 = 3"
)


@pytest.fixture(scope="module", autouse=True)
def sales(athena):
    athena.put_parquet(
        "sales/2024-01/part.parquet",
        "SELECT i AS id, 'product ' || i AS name, i * 1.5::decimal(18, 4) AS amount FROM range(5) t(i)",
    )
    athena.put_parquet("sales/2024-02/part.parquet", "SELECT i AS id, 'product ' || i AS name FROM range(10, 13) t(i)")
    athena.run(
        "CREATE EXTERNAL TABLE sales (id bigint, name string, amount decimal(18,4)) PARTITIONED BY (month string) "
        f"STORED AS PARQUET LOCATION 's3://{BUCKET}/sales/'"
    )
    for month in ("2024-01", "2024-02"):
        athena.run(f"ALTER TABLE sales ADD PARTITION (month = '{month}') LOCATION 's3://{BUCKET}/sales/{month}/'")


class TestResults:
    def test_rows_come_from_the_files(self, athena):
        rows = athena.table("SELECT id, name, amount, month FROM sales WHERE id IN (4, 10) ORDER BY id")
        assert rows == [["4", "product 4", "6.0000", "2024-01"], ["10", "product 10", None, "2024-02"]]

    def test_the_csv_quotes_every_value_and_leaves_nulls_empty(self, athena):
        described = athena.run("SELECT 'say \"hi\", you' AS a, CAST(NULL AS varchar) AS b, '' AS c, 1 AS d")
        location = described["ResultConfiguration"]["OutputLocation"]
        assert location == f"s3://{BUCKET}/results/{described['QueryExecutionId']}.csv"
        body = athena.s3.get_object(Bucket=BUCKET, Key=location.split("/", 3)[3])["Body"].read().decode()
        assert body == '"a","b","c","d"\n"say ""hi"", you",,"","1"\n'
        rows = athena.results(described["QueryExecutionId"])["ResultSet"]["Rows"]
        assert [row["Data"] for row in rows][1] == [
            *({"VarCharValue": 'say "hi", you'}, {}, {"VarCharValue": ""}, {"VarCharValue": "1"}),
        ]

    def test_values_are_written_as_athena_writes_them(self, athena):
        sql = (
            "SELECT true, CAST(1 AS double), 1.5E10, 0.0001E0, CAST(0.1 AS real), DATE '2024-02-29', "
            "TIMESTAMP '2024-01-01 10:00:00.123', TIMESTAMP '2024-01-01 00:00:00' AT TIME ZONE 'UTC', DECIMAL '12.50', "
            "ARRAY[1, NULL], map(ARRAY['k'], ARRAY[1]), CAST(ROW(1, 'x') AS ROW(a integer, b varchar)), to_utf8('ab')"
        )
        assert athena.row(sql) == [
            *("true", "1.0", "1.5E10", "1.0E-4", "0.1", "2024-02-29", "2024-01-01 10:00:00.123"),
            *("2024-01-01 00:00:00.000", "12.50", "[1, null]", "{k=1}", "{a=1, b=x}", "61 62"),
        ]

    def test_columns_are_described(self, athena):
        described = athena.run(
            "SELECT id, name, amount, count(*) OVER () AS n, month, sum(id) OVER (), 1.5E0 FROM sales"
        )
        columns = athena.results(described["QueryExecutionId"])["ResultSet"]["ResultSetMetadata"]["ColumnInfo"]
        assert [(column["Name"], column["Type"]) for column in columns] == [
            *(("id", "bigint"), ("name", "varchar"), ("amount", "decimal"), ("n", "bigint"), ("month", "varchar")),
            *(("_col5", "bigint"), ("_col6", "double")),
        ]
        assert (columns[2]["Precision"], columns[2]["Scale"]) == (18, 4)

    def test_paging_shows_the_header_once_and_every_row_once(self, athena):
        described = athena.run("SELECT x, 'row\n' || CAST(x AS varchar) AS text FROM UNNEST(sequence(1, 2500)) AS t(x)")
        pages = []
        request: dict = {}
        while True:
            page = athena.results(described["QueryExecutionId"], MaxResults=700, **request)
            pages.append([[datum["VarCharValue"] for datum in row["Data"]] for row in page["ResultSet"]["Rows"]])
            if "NextToken" not in page:
                break
            request = {"NextToken": page["NextToken"]}
        assert [len(page) for page in pages] == [700, 700, 700, 401]
        assert pages[0][0] == ["x", "text"]
        assert [row for page in pages for row in page][1:] == [[str(x), f"row\n{x}"] for x in range(1, 2501)]

    def test_a_page_has_at_most_1000_rows(self, athena):
        described = athena.run("SELECT x FROM UNNEST(sequence(1, 1500)) AS t(x)")
        page = athena.results(described["QueryExecutionId"])
        assert len(page["ResultSet"]["Rows"]) == 1000
        assert page["NextToken"]

    def test_results_that_were_deleted_are_gone(self, athena):
        described = athena.run("SELECT 1")
        key = described["ResultConfiguration"]["OutputLocation"].split("/", 3)[3]
        athena.s3.delete_object(Bucket=BUCKET, Key=key)
        with pytest.raises(ClientError, match="Could not find results"):
            athena.results(described["QueryExecutionId"])

    def test_definitions_leave_a_text_file(self, athena):
        described = athena.run("SHOW TABLES 'sal*'")
        location = described["ResultConfiguration"]["OutputLocation"]
        assert location.endswith(".txt")
        body = athena.s3.get_object(Bucket=BUCKET, Key=location.split("/", 3)[3])["Body"].read()
        assert body == b"sales\n"
        rows = athena.results(described["QueryExecutionId"])["ResultSet"]["Rows"]
        assert rows == [{"Data": [{"VarCharValue": "sales"}]}]

    @pytest.mark.parametrize(
        ("sql", "kind", "substatement"),
        [
            ("SELECT 1", "DML", "SELECT"),
            ("-- why\nWITH a AS (SELECT 1 AS x) SELECT * FROM a;", "DML", "SELECT"),
            ("SHOW TABLES", "UTILITY", "SHOW_TABLES"),
            ("DESCRIBE sales", "UTILITY", "DESCRIBE_TABLE"),
            ("EXPLAIN SELECT 1", "UTILITY", "EXPLAIN"),
            ("CREATE DATABASE IF NOT EXISTS shop", "DDL", "CREATE_DATABASE"),
            ("CREATE OR REPLACE VIEW kinds AS SELECT 1 AS x", "DDL", "CREATE_VIEW"),
        ],
    )
    def test_statement_types(self, athena, sql, kind, substatement):
        described = athena.run(sql)
        assert (described["StatementType"], described["SubstatementType"]) == (kind, substatement)

    def test_statistics_count_the_bytes_that_are_read(self, athena):
        sizes = {key: athena.s3.head_object(Bucket=BUCKET, Key=key)["ContentLength"] for key in athena.keys("sales/")}
        whole = athena.run("SELECT * FROM sales")["Statistics"]
        assert whole["DataScannedInBytes"] == sum(sizes.values())
        assert whole["TotalExecutionTimeInMillis"] >= whole["EngineExecutionTimeInMillis"] >= 0
        pruned = athena.run("SELECT * FROM sales WHERE month >= '2024-02' AND id > 0")["Statistics"]
        assert pruned["DataScannedInBytes"] == sizes["sales/2024-02/part.parquet"]
        runtime = athena.client.get_query_runtime_statistics(
            QueryExecutionId=athena.run("SELECT id FROM sales")["QueryExecutionId"]
        )["QueryRuntimeStatistics"]
        assert runtime["Rows"]["OutputRows"] == 8
        assert runtime["Rows"]["InputBytes"] == sum(sizes.values())


class TestFailures:
    @pytest.mark.parametrize(
        ("sql", "reason"),
        [
            (
                "SELECT *\n  FROM nothing",
                "TABLE_NOT_FOUND: line 2:8: Table 'awsdatacatalog.shop.nothing' does not exist",
            ),
            ("SELECT * FROM nowhere.sales", "SCHEMA_NOT_FOUND: line 1:15: Schema 'nowhere' does not exist"),
            ("SELECT * FROM other.shop.sales", "CATALOG_NOT_FOUND: line 1:15: Catalog 'other' does not exist"),
            ("SELECT id, price FROM sales", "COLUMN_NOT_FOUND: line 1:12: Column 'price' cannot be resolved"),
            ("SELEKT 1", "SYNTAX_ERROR: line 1:1: mismatched input 'SELEKT'"),
            ("SELECT id FROM sales WHERE", "SYNTAX_ERROR: line 1:2"),
            ("SELECT 'open", "SYNTAX_ERROR: line 1:1"),
            ("  ", "SYNTAX_ERROR: line 1:1: mismatched input '<EOF>'"),
            ("SELECT 1; SELECT 2", "SYNTAX_ERROR: Only one sql statement is allowed"),
            ("SELECT `id` FROM sales", "SYNTAX_ERROR: line 1:1: backquoted identifiers are not supported"),
            ("SELECT nvl(id, 1) FROM sales", "FUNCTION_NOT_REGISTERED: line 1:8: Function 'nvl' not registered"),
            ("SELECT CAST(name AS integer) FROM sales", "INVALID_CAST_ARGUMENT: Could not convert string 'product"),
            ("SELECT name + 1 FROM sales", "TYPE_MISMATCH: line 1:8: Cannot apply operator: varchar + number"),
            (
                "SELECT * FROM sales WHERE id = '1'",
                "TYPE_MISMATCH: line 1:27: Cannot apply operator: number = varchar(1)",
            ),
            ("SELECT id FROM sales GROUP BY name", 'EXPRESSION_NOT_AGGREGATE: column "id" must appear in the GROUP BY'),
            ("SELECT 1 / 0", "DIVISION_BY_ZERO: Division by zero"),
            ("SELECT (SELECT id FROM sales)", "SUBQUERY_MULTIPLE_ROWS"),
            ("DELETE FROM sales", "NOT_SUPPORTED: The statement DELETE is not supported"),
            ("UPDATE sales SET id = 1", "NOT_SUPPORTED: The statement UPDATE is not supported"),
            (
                "MERGE INTO sales USING sales AS s ON true WHEN MATCHED THEN DELETE",
                "NOT_SUPPORTED: The statement MERGE",
            ),
            ("PREPARE p FROM SELECT 1", "NOT_SUPPORTED: The statement PREPARE"),
            ("VACUUM sales", "NOT_SUPPORTED: The statement VACUUM"),
            ("SHOW FUNCTIONS", "NOT_SUPPORTED: SHOW FUNCTIONS is not supported"),
            ("ALTER TABLE sales RENAME TO x", "NOT_SUPPORTED: ALTER TABLE … RENAME TO is not supported"),
            ("CREATE TABLE t (a int) LOCATION 's3://test-lake/t/'", "NOT_SUPPORTED: CREATE TABLE without EXTERNAL"),
        ],
    )
    def test_a_statement_that_cannot_run_says_why(self, athena, sql, reason):
        assert athena.fail(sql).startswith(reason)

    def test_no_output_location_is_refused_at_once(self, athena):
        with pytest.raises(ClientError, match="No output location provided"):
            athena.start("SELECT 1", output=None)

    def test_an_output_bucket_that_does_not_exist(self, athena):
        reason = athena.fail("SELECT 1", output="s3://no-such-bucket/results/")
        assert "Unable to verify/create output bucket no-such-bucket" in reason

    def test_results_of_a_failed_query(self, athena):
        described = athena.end("SELECT * FROM nothing")
        with pytest.raises(ClientError, match=r"did not finish successfully\. Final query state: FAILED"):
            athena.results(described["QueryExecutionId"])
        assert athena.keys(f"results/{described['QueryExecutionId']}") == []

    def test_unknown_executions(self, athena):
        with pytest.raises(ClientError, match="QueryExecution nothing was not found"):
            athena.describe("nothing")
        found = athena.client.batch_get_query_execution(QueryExecutionIds=["nothing"])
        assert found["UnprocessedQueryExecutionIds"][0]["QueryExecutionId"] == "nothing"

    @pytest.mark.parametrize(
        "sql",
        [
            "SELECT * FROM read_csv('/etc/passwd')",
            "SELECT * FROM read_text('{state}/s3/test-lake/sales/2024-01/part.parquet')",
            "SELECT * FROM '/etc/passwd'",
            'SELECT * FROM "/etc/passwd"',
            'SELECT * FROM "shop"."/etc/passwd"',
            "SELECT * FROM query('SELECT 1')",
            "SELECT * FROM glob('/*')",
            "SELECT * FROM duckdb_settings()",
            "SELECT * FROM pg_catalog.pg_tables",
            "SELECT * FROM duckdb_tables",
            "SELECT getenv('HOME')",
            "COPY sales TO '/tmp/x'",
            "ATTACH '/tmp/x.db'",
            "INSTALL httpfs",
            "SET threads = 1",
            "PRAGMA database_list",
        ],
    )
    def test_only_tables_of_the_catalog_can_be_read(self, athena, sql):
        reason = athena.fail(sql.replace("{state}", str(athena.state)))
        codes = ("FUNCTION_NOT_REGISTERED", "TABLE_NOT_FOUND", "SCHEMA_NOT_FOUND", "SYNTAX_ERROR", "NOT_SUPPORTED")
        assert reason.startswith(codes)

    @pytest.mark.parametrize(
        "sql",
        [
            "SELECT * FROM read_text('/etc/passwd')",
            "SELECT * FROM read_text('{state}/s3/../catalog/us-east-1/shop/database.json')",
            "COPY (SELECT 1) TO '{state}/outside.csv'",
            "ATTACH '{state}/outside.db'",
            "SET enable_external_access = true",
            "SET threads = 64",
        ],
    )
    def test_the_engine_itself_is_locked_into_the_lake(self, athena, sql):
        athena.run("SELECT 1")
        with pytest.raises(
            duckdb.Error, match=r"disabled by configuration|has been locked|Cannot access|Cannot change"
        ):
            athena_engine._cursor().execute(sql.replace("{state}", str(athena.state)))

    def test_a_table_outside_the_lake_cannot_be_defined(self, athena):
        for location in ("file:///etc/", "/etc/", "s3://test-lake/../../etc/"):
            sql = f"CREATE EXTERNAL TABLE escape (line string) LOCATION '{location}'"
            assert athena.end(sql)["Status"]["State"] == "FAILED"


class TestParameters:
    def test_question_marks_in_order(self, athena):
        sql = "SELECT id FROM sales WHERE name <> '?' AND id >= ? AND name LIKE ? ORDER BY id LIMIT 1 -- ?"
        assert athena.table(sql, ExecutionParameters=["3", "'product%'"]) == [["3"]]

    @pytest.mark.parametrize(
        ("sql", "parameters", "reason"),
        [
            ("SELECT ?, ?", ["1"], "expected 2 but found 1"),
            ("SELECT 1", ["1"], "expected 0 but found 1"),
            ("SELECT ?", ["id"], "not a literal"),
            ("SELECT ?", ["1 FROM sales"], "not a literal"),
            ("SELECT ?", ["(SELECT 1)"], "not a literal"),
        ],
    )
    def test_wrong_parameters(self, athena, sql, parameters, reason):
        assert reason in athena.fail(sql, ExecutionParameters=parameters)


class TestLifeCycle:
    def test_cancelling_interrupts_the_engine(self, athena):
        execution = athena.start(ENDLESS)
        athena.wait(execution, "RUNNING")
        with pytest.raises(ClientError, match=r"Query has not yet finished\. Current state: RUNNING"):
            athena.results(execution)
        athena.client.stop_query_execution(QueryExecutionId=execution)
        status = athena.wait(execution)["Status"]
        assert status["State"] == "CANCELLED"
        assert status["CompletionDateTime"] >= status["SubmissionDateTime"]
        for thread in [thread for thread in threading.enumerate() if thread.name == f"athena-{execution}"]:
            thread.join(30)
            assert not thread.is_alive()
        assert athena.row("SELECT count(*) FROM sales") == ["8"]

    def test_cancelling_what_waits_for_its_turn(self, athena):
        running = [athena.start(ENDLESS) for _ in range(4)]
        try:
            for execution in running:
                athena.wait(execution, "RUNNING")
            queued = athena.start("SELECT 1")
            assert athena.describe(queued)["Status"]["State"] == "QUEUED"
            athena.client.stop_query_execution(QueryExecutionId=queued)
            assert athena.describe(queued)["Status"]["State"] == "CANCELLED"
        finally:
            for execution in running:
                athena.client.stop_query_execution(QueryExecutionId=execution)
        for execution in running:
            assert athena.wait(execution)["Status"]["State"] == "CANCELLED"

    def test_cancelling_what_has_ended_changes_nothing(self, athena):
        execution = athena.run("SELECT 1")["QueryExecutionId"]
        athena.client.stop_query_execution(QueryExecutionId=execution)
        assert athena.describe(execution)["Status"]["State"] == "SUCCEEDED"

    def test_a_cancelled_insert_writes_nothing(self, athena):
        athena.run("CREATE TABLE cancelled AS SELECT 1 AS n")
        before = athena.keys("results/tables/")
        execution = athena.start(f"INSERT INTO cancelled SELECT CAST(1 AS integer) FROM ({ENDLESS}) AS endless(n)")
        athena.wait(execution, "RUNNING")
        athena.client.stop_query_execution(QueryExecutionId=execution)
        assert athena.wait(execution)["Status"]["State"] == "CANCELLED"
        assert athena.keys("results/tables/") == before
        assert athena.row("SELECT count(*) FROM cancelled") == ["1"]

    def test_one_token_starts_one_execution(self, athena):
        token = "a-token-of-32-characters-or-more-"
        first = athena.start("SELECT 1", ClientRequestToken=token)
        assert athena.start("SELECT 1", ClientRequestToken=token) == first
        with pytest.raises(ClientError, match="Idempotent parameters do not match"):
            athena.start("SELECT 2", ClientRequestToken=token)

    def test_executions_are_listed_by_workgroup(self, athena):
        athena.client.create_work_group(
            Name="listed", Configuration={"ResultConfiguration": {"OutputLocation": f"s3://{BUCKET}/listed/"}}
        )
        executions = [athena.run(f"SELECT {n}", WorkGroup="listed")["QueryExecutionId"] for n in range(3)]
        first = athena.client.list_query_executions(WorkGroup="listed", MaxResults=2)
        second = athena.client.list_query_executions(WorkGroup="listed", NextToken=first["NextToken"])
        assert first["QueryExecutionIds"] + second["QueryExecutionIds"] == executions[::-1]
        found = athena.client.batch_get_query_execution(QueryExecutionIds=executions)["QueryExecutions"]
        assert [each["Query"] for each in found] == ["SELECT 0", "SELECT 1", "SELECT 2"]

    def test_a_partition_switch_is_seen_whole_or_not_at_all(self, athena):
        for version in ("1", "2"):
            sql = f"SELECT {version} AS version FROM range(20000)"
            for part in "ab":
                athena.put_parquet(f"switch/v={version}/{part}.parquet", sql)
        athena.run(
            "CREATE EXTERNAL TABLE switched (version int) PARTITIONED BY (day string) STORED AS PARQUET "
            f"LOCATION 's3://{BUCKET}/switch/'"
        )
        athena.run(f"ALTER TABLE switched ADD PARTITION (day = 'x') LOCATION 's3://{BUCKET}/switch/v=1/'")
        seen = set()
        executions = []
        for turn in range(12):
            executions.append(athena.start("SELECT min(version), max(version), count(*) FROM switched WHERE day = 'x'"))
            location = f"s3://{BUCKET}/switch/v={1 + turn % 2}/"
            executions.append(athena.start(f"ALTER TABLE switched PARTITION (day = 'x') SET LOCATION '{location}'"))
        for execution in executions:
            described = athena.wait(execution)
            assert described["Status"]["State"] == "SUCCEEDED"
            if described["StatementType"] == "DML":
                row = athena.results(execution)["ResultSet"]["Rows"][1]["Data"]
                seen.add(tuple(datum["VarCharValue"] for datum in row))
        assert seen <= {("1", "1", "40000"), ("2", "2", "40000")}


class TestWorkgroups:
    def test_an_enforced_configuration_wins(self, athena):
        configuration = {
            "EnforceWorkGroupConfiguration": True,
            "ResultConfiguration": {"OutputLocation": f"s3://{BUCKET}/enforced"},
        }
        athena.client.create_work_group(Name="enforced", Configuration=configuration)
        described = athena.run("SELECT 1", WorkGroup="enforced")
        assert described["WorkGroup"] == "enforced"
        assert described["ResultConfiguration"]["OutputLocation"].startswith(f"s3://{BUCKET}/enforced/")
        reason = athena.fail(
            f"CREATE TABLE placed WITH (external_location = 's3://{BUCKET}/placed/') AS SELECT 1 AS a",
            WorkGroup="enforced",
        )
        assert "enforces a centralized output location" in reason

    def test_a_configuration_that_is_not_enforced_is_a_default(self, athena):
        configuration = {
            "EnforceWorkGroupConfiguration": False,
            "ResultConfiguration": {"OutputLocation": f"s3://{BUCKET}/default/"},
        }
        athena.client.create_work_group(Name="relaxed", Configuration=configuration)
        default = athena.run("SELECT 1", WorkGroup="relaxed", output=None)
        assert default["ResultConfiguration"]["OutputLocation"].startswith(f"s3://{BUCKET}/default/")
        chosen = athena.run("SELECT 1", WorkGroup="relaxed")
        assert chosen["ResultConfiguration"]["OutputLocation"].startswith(f"s3://{BUCKET}/results/")

    def test_a_query_over_the_limit_is_cancelled(self, athena):
        size = athena.run("SELECT * FROM sales")["Statistics"]["DataScannedInBytes"]
        athena.client.create_work_group(Name="limited", Configuration={"BytesScannedCutoffPerQuery": 10_000_000})
        assert athena.run("SELECT * FROM sales", WorkGroup="limited")["Statistics"]["DataScannedInBytes"] == size
        updates = {
            "BytesScannedCutoffPerQuery": 10_000_000,
            "ResultConfigurationUpdates": {"OutputLocation": "s3://x/"},
        }
        athena.client.update_work_group(WorkGroup="limited", ConfigurationUpdates=updates)
        found = athena.client.get_work_group(WorkGroup="limited")["WorkGroup"]["Configuration"]
        assert found["ResultConfiguration"] == {"OutputLocation": "s3://x/"}
        removal = {"ResultConfigurationUpdates": {"RemoveOutputLocation": True}}
        athena.client.update_work_group(WorkGroup="limited", ConfigurationUpdates=removal)
        athena.put_parquet("big/a.parquet", "SELECT (random() * 1e15)::bigint AS n, random() AS m FROM range(1000000)")
        athena.run(f"CREATE EXTERNAL TABLE big (n bigint) STORED AS PARQUET LOCATION 's3://{BUCKET}/big/'")
        status = athena.end("SELECT count(*) FROM big", WorkGroup="limited")["Status"]
        assert status["State"] == "CANCELLED"
        assert "Bytes scanned limit was exceeded" in status["StateChangeReason"]

    def test_missing_and_disabled_workgroups(self, athena):
        with pytest.raises(ClientError, match="WorkGroup nothing is not found"):
            athena.start("SELECT 1", WorkGroup="nothing")
        with pytest.raises(ClientError, match="WorkGroup nothing is not found"):
            athena.client.get_work_group(WorkGroup="nothing")
        athena.client.create_work_group(Name="closed", Configuration={})
        athena.client.update_work_group(WorkGroup="closed", State="DISABLED")
        with pytest.raises(ClientError, match="WorkGroup closed is disabled"):
            athena.start("SELECT 1", WorkGroup="closed")
        athena.client.delete_work_group(WorkGroup="closed")
        with pytest.raises(ClientError, match="primary workgroup cannot be deleted"):
            athena.client.delete_work_group(WorkGroup="primary")


class TestMetadata:
    def test_databases_and_tables_are_glues(self, athena):
        athena.glue.create_database(DatabaseInput={"Name": "made_by_glue", "Description": "x"})
        names = [found["Name"] for found in athena.client.list_databases(CatalogName="AwsDataCatalog")["DatabaseList"]]
        assert {"shop", "made_by_glue"} <= set(names)
        found = athena.client.get_database(CatalogName="AwsDataCatalog", DatabaseName="made_by_glue")["Database"]
        assert found["Description"] == "x"
        table = athena.client.get_table_metadata(CatalogName="AwsDataCatalog", DatabaseName="shop", TableName="sales")
        assert [column["Name"] for column in table["TableMetadata"]["Columns"]] == ["id", "name", "amount"]
        assert [key["Name"] for key in table["TableMetadata"]["PartitionKeys"]] == ["month"]
        listed = athena.client.list_table_metadata(CatalogName="AwsDataCatalog", DatabaseName="shop", Expression="^sal")
        assert [table["Name"] for table in listed["TableMetadataList"]] == ["sales"]
        with pytest.raises(ClientError, match="Table nothing not found"):
            athena.client.get_table_metadata(CatalogName="AwsDataCatalog", DatabaseName="shop", TableName="nothing")

    def test_the_data_catalog(self, athena):
        summary = athena.client.list_data_catalogs()["DataCatalogsSummary"]
        assert {"CatalogName": "AwsDataCatalog", "Type": "GLUE"} in summary


class TestAirflow:
    @pytest.fixture
    def operator(self, athena, monkeypatch, tmp_path):
        if "airflow" not in sys.modules:
            monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
        connection = {"conn_type": "aws", "login": "test", "password": "test", "extra": {"region_name": "us-east-1"}}
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))
        monkeypatch.setenv("AWS_ENDPOINT_URL", athena.client.meta.endpoint_url)
        from airflow.providers.amazon.aws.operators.athena import AthenaOperator

        def build(sql: str, **arguments):
            return AthenaOperator(
                task_id="query",
                query=sql,
                database="shop",
                output_location=f"s3://{BUCKET}/airflow/",
                sleep_time=1,
                **arguments,
            )

        return build

    @pytest.mark.parametrize("deferrable", [False, True])
    def test_success(self, athena, operator, deferrable):
        execution = execute(operator("SELECT count(*) AS n FROM sales", deferrable=deferrable))
        body = athena.s3.get_object(Bucket=BUCKET, Key=f"airflow/{execution}.csv")["Body"].read().decode()
        assert list(csv.reader(io.StringIO(body))) == [["n"], ["8"]]

    @pytest.mark.parametrize("deferrable", [False, True])
    def test_failure(self, operator, deferrable):
        with pytest.raises(Exception, match=r"(?i)TABLE_NOT_FOUND|error while waiting|fail") as caught:
            execute(operator("SELECT * FROM nothing", deferrable=deferrable))
        assert type(caught.value).__name__ in ("AirflowException", "RuntimeError")

    def test_killing_the_task_cancels_the_query(self, athena, operator):
        task = operator(ENDLESS)
        ended = []

        def execute() -> None:
            try:
                task.execute({})
            except Exception as error:
                ended.append(str(error))

        thread = threading.Thread(target=execute, daemon=True)
        thread.start()
        deadline = time.monotonic() + 30
        while not task.query_execution_id:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        athena.wait(task.query_execution_id, "RUNNING")
        task.on_kill()
        assert athena.wait(task.query_execution_id)["Status"]["State"] == "CANCELLED"
        thread.join(30)
        assert "CANCELLED" in ended[0]


class TestWhatIsUsedOfMoto:
    def test_backend(self):
        moto = AthenaBackend("us-east-1", "123456789012")
        assert set(vars(moto)) >= {"work_groups", "executions", "named_queries", "prepared_statements", "data_catalogs"}
        group = moto.work_groups["primary"]
        assert group.state == "ENABLED"
        assert group.configuration["ResultConfiguration"] == {}
        moto.create_work_group("another", {}, "", [])
        assert moto.work_groups["another"].configuration["EnforceWorkGroupConfiguration"] is True

    def test_response(self):
        assert isinstance(AthenaResponse.athena_backend, property)
        replaced = {"start_query_execution", "get_query_execution", "list_query_executions", "get_query_results"}
        assert replaced | {"stop_query_execution", "get_query_runtime_statistics", "get_work_group"} <= set(
            dir(AthenaResponse)
        )
        missing = {"batch_get_query_execution", "get_table_metadata", "list_table_metadata", "update_work_group"}
        assert not missing & set(dir(AthenaResponse)), "moto has it now: compare and drop ours"
