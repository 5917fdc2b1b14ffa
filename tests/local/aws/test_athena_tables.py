"""Tables of the catalog as queries see them: formats, partitions, and the statements that define and fill them."""

import csv
import gzip
import io

import pytest

BUCKET = "test-lake"
LAKE = f"s3://{BUCKET}"


def parquet_table(athena, name: str, columns: str, *, partitioned: str = "", extra: str = "") -> None:
    keys = f"PARTITIONED BY ({partitioned})" if partitioned else ""
    athena.run(f"CREATE EXTERNAL TABLE {name} ({columns}) {keys} STORED AS PARQUET LOCATION '{LAKE}/{name}/' {extra}")


class TestParquet:
    def test_files_in_nested_folders_are_read_and_hidden_ones_ignored(self, athena):
        parquet_table(athena, "nested", "id int")
        for key in ("a.parquet", "deep/er/b.parquet", "_temporary/c.parquet", ".hidden/d.parquet", "deep/.e.parquet"):
            athena.put_parquet(f"nested/{key}", "SELECT 1 AS id")
        athena.put("nested/_SUCCESS", b"done")
        athena.put("nested/empty.parquet", b"")
        assert athena.table('SELECT "$path", * FROM nested ORDER BY 1') == [
            [f"{LAKE}/nested/a.parquet", "1"],
            [f"{LAKE}/nested/deep/er/b.parquet", "1"],
        ]
        assert athena.table("SELECT * FROM nested") == [["1"], ["1"]]

    def test_columns_are_found_by_name_and_missing_ones_are_null(self, athena):
        parquet_table(athena, "evolved", "id bigint, added string, price double")
        athena.put_parquet("evolved/old.parquet", "SELECT 1::integer AS ID, 2::float AS price")
        athena.put_parquet(
            "evolved/new.parquet", "SELECT 'x' AS added, 3.5::double AS price, 2::bigint AS id, 'y' AS more"
        )
        assert athena.table("SELECT * FROM evolved ORDER BY id") == [["1", None, "2.0"], ["2", "x", "3.5"]]

    @pytest.mark.parametrize(
        ("declared", "written", "found"),
        [
            ("int", "'12'", "VARCHAR"),
            ("int", "12::bigint", "BIGINT"),
            ("string", "12", "INTEGER"),
            ("double", "12::integer", "INTEGER"),
            ("date", "TIMESTAMP '2024-01-01'", "TIMESTAMP"),
            ("timestamp", "DATE '2024-01-01'", "DATE"),
            ("boolean", "1", "INTEGER"),
            ("array<int>", "['x']", r"VARCHAR\[\]"),
        ],
    )
    def test_a_file_of_another_type_is_not_silently_null(self, athena, declared, written, found):
        parquet_table(athena, "mistyped", f"value {declared}")
        athena.put_parquet("mistyped/a.parquet", f"SELECT {written} AS value")
        reason = athena.fail("SELECT * FROM mistyped")
        athena.run("DROP TABLE mistyped")
        assert reason.startswith(
            f"HIVE_BAD_DATA: Field value's type {found.replace(chr(92), '')} in parquet file {LAKE}/mistyped"
        )

    def test_nested_types(self, athena):
        parquet_table(
            athena, "rich", "tags array<string>, place struct<lat:double,name:string>, counts map<string,int>"
        )
        athena.put_parquet(
            "rich/a.parquet", "SELECT ['a', 'b'] AS tags, {'lat': 1.5, 'name': 'x'} AS place, MAP {'k': 7} AS counts"
        )
        assert athena.row("SELECT * FROM rich") == ["[a, b]", "{lat=1.5, name=x}", "{k=7}"]
        assert athena.row("SELECT place.name, counts['k'] FROM rich") == ["x", "7"]
        assert athena.table("SELECT tag FROM rich CROSS JOIN UNNEST(tags) AS t(tag)") == [["a"], ["b"]]
        assert athena.table("SELECT key, n FROM rich CROSS JOIN UNNEST(counts) AS t(key, n)") == [["k", "7"]]

    def test_garbage_is_named(self, athena):
        parquet_table(athena, "garbage", "id int")
        athena.put("garbage/a.parquet", b"this is not Parquet, not even nearly")
        assert athena.fail("SELECT * FROM garbage").startswith(
            f"HIVE_BAD_DATA: Not valid Parquet file: {LAKE}/garbage/a.parquet"
        )

    def test_garbage_among_good_files_is_named(self, athena):
        parquet_table(athena, "mixed", "id int")
        athena.put_parquet("mixed/a.parquet", "SELECT 1 AS id")
        athena.put("mixed/b.parquet", b"this is not Parquet, not even nearly")
        athena.put_parquet("mixed/c.parquet", "SELECT 1 AS id")
        assert f"Not valid Parquet file: {LAKE}/mixed/b.parquet" in athena.fail("SELECT * FROM mixed")

    def test_files_of_several_kinds_are_read_together(self, athena):
        parquet_table(athena, "kinds", "id bigint, name string")
        for number, row in enumerate(
            (
                "1::INTEGER AS id, 'a' AS name",
                "2::INTEGER AS id, 'b' AS name",
                "3::BIGINT AS id",
                "'d' AS name, 4 AS id",
            )
        ):
            athena.put_parquet(f"kinds/{number}.parquet", f"SELECT {row}")
        found = athena.table("SELECT id, name FROM kinds ORDER BY id")
        assert found == [["1", "a"], ["2", "b"], ["3", None], ["4", "d"]]

    def test_formats_that_are_not_read_are_named(self, athena):
        assert "STORED AS ORC" in athena.fail(
            f"CREATE EXTERNAL TABLE orc (id int) STORED AS ORC LOCATION '{LAKE}/orc/'"
        )
        descriptor = {"Columns": [{"Name": "id", "Type": "int"}], "Location": f"{LAKE}/nested/"}
        descriptor["SerdeInfo"] = {"SerializationLibrary": "org.apache.hadoop.hive.ql.io.orc.OrcSerde"}
        athena.glue.create_table(DatabaseName="shop", TableInput={"Name": "orc", "StorageDescriptor": descriptor})
        assert athena.fail("SELECT * FROM orc").startswith(
            "NOT_SUPPORTED: The SerDe 'org.apache.hadoop.hive.ql.io.orc.OrcSerde'"
        )


class TestText:
    def test_delimited_text_as_hive_reads_it(self, athena):
        athena.put(
            "delimited/a.csv",
            b"id,name,amount,ok,day,at\n"
            b'1,"ana, maria",2.5,true,2024-01-01,2024-01-01 10:00:00\n'
            b"1.6,\\N,abc,1,2024-13-01,yesterday\n"
            b"3,,1e3,FALSE,2024-01-02,2024-01-02 00:00:00.5,and more\n"
            b"4\n",
        )
        athena.run(
            "CREATE EXTERNAL TABLE delimited (id int, name string, amount string, ok string, day string, at string) "
            f"ROW FORMAT DELIMITED FIELDS TERMINATED BY ',' LOCATION '{LAKE}/delimited/' "
            "TBLPROPERTIES ('skip.header.line.count' = '1')"
        )
        assert athena.table("SELECT * FROM delimited")[0] == ["1", '"ana', ' maria"', "2.5", "true", "2024-01-01"]
        athena.run("DROP TABLE delimited")
        athena.put(
            "delimited/a.csv",
            athena.s3.get_object(Bucket=BUCKET, Key="delimited/a.csv")["Body"].read().replace(b", ", b" "),
        )
        athena.run(
            "CREATE EXTERNAL TABLE delimited (id int, name string, amount double, ok boolean, day date, at timestamp) "
            f"ROW FORMAT DELIMITED FIELDS TERMINATED BY ',' LOCATION '{LAKE}/delimited/' "
            "TBLPROPERTIES ('skip.header.line.count' = '1')"
        )
        assert athena.table("SELECT * FROM delimited") == [
            ["1", '"ana maria"', "2.5", "true", "2024-01-01", "2024-01-01 10:00:00.000"],
            [None, None, None, None, None, None],
            ["3", "", "1000.0", "false", "2024-01-02", "2024-01-02 00:00:00.500"],
            ["4", None, None, None, None, None],
        ]

    def test_line_ends_of_another_system(self, athena):
        athena.put("windows/a.txt", b"a,1\r\nb,2\r\n")
        athena.put("windows/b.txt.gz", gzip.compress(b"c,3"))
        athena.run(
            "CREATE EXTERNAL TABLE windows (name string, n int) ROW FORMAT DELIMITED FIELDS TERMINATED BY ',' "
            f"LOCATION '{LAKE}/windows/'"
        )
        assert athena.table("SELECT * FROM windows ORDER BY n") == [["a", "1"], ["b", "2"], ["c", "3"]]

    def test_escapes_and_a_null_of_ones_own(self, athena):
        athena.put("escaped/a.txt", b"a\\|b|-\nc\\\\|d\n")
        athena.run(
            "CREATE EXTERNAL TABLE escaped (x string, y string) ROW FORMAT DELIMITED FIELDS TERMINATED BY '|' "
            f"ESCAPED BY '\\\\' NULL DEFINED AS '-' LOCATION '{LAKE}/escaped/'"
        )
        assert athena.table("SELECT * FROM escaped") == [["a|b", None], ["c\\", "d"]]

    def test_open_csv(self, athena):
        athena.put("quoted/a.csv", b'id;name;day\n1;"a;b ""c""";19000\n2;"it\\"s";0\n')
        athena.run(
            "CREATE EXTERNAL TABLE quoted (id bigint, name string, day date) "
            "ROW FORMAT SERDE 'org.apache.hadoop.hive.serde2.OpenCSVSerde' WITH SERDEPROPERTIES "
            "('separatorChar' = ';', 'quoteChar' = '\"', 'escapeChar' = '\\\\') "
            f"LOCATION '{LAKE}/quoted/' TBLPROPERTIES ('skip.header.line.count' = '1')"
        )
        assert athena.table("SELECT * FROM quoted") == [["1", 'a;b "c"', "2022-01-08"], ["2", 'it"s', "1970-01-01"]]
        athena.put("quoted/b.csv", b"id;name;day\nx;y;1\n")
        assert athena.fail("SELECT * FROM quoted") == (
            "HIVE_BAD_DATA: Error parsing field value 'x' for field id: it is not of the type bigint"
        )

    def test_json(self, athena):
        athena.put(
            "json/a.json",
            b'{"ID": 1, "tags": ["a"], "place": {"lat": 1.5}, "on": "2024-01-01"}\n{"id": 2, "on": null}\n',
        )
        athena.run(
            "CREATE EXTERNAL TABLE documents (id int, tags array<string>, place struct<lat:double>, `on` date) "
            f"ROW FORMAT SERDE 'org.openx.data.jsonserde.JsonSerDe' LOCATION '{LAKE}/json/'"
        )
        assert athena.table("SELECT * FROM documents") == [
            ["1", "[a]", "{lat=1.5}", "2024-01-01"],
            ["2", None, None, None],
        ]
        athena.put("json/b.json", b'{"id": "many"}\n')
        assert athena.fail("SELECT * FROM documents").startswith(
            "HIVE_BAD_DATA: Error parsing field value '\"many\"' for field id"
        )
        athena.put("json/b.json", b"{broken\n")
        assert athena.fail("SELECT * FROM documents").startswith(
            f'HIVE_BAD_DATA: Malformed JSON in file "{LAKE}/json/b.json"'
        )


class TestPartitions:
    def test_values_have_types_and_locations_are_free(self, athena):
        parquet_table(athena, "parts", "id int", partitioned="day date, hour int")
        athena.put_parquet("parts/day=2024-01-01/hour=9/a.parquet", "SELECT 1 AS id")
        athena.put_parquet("elsewhere/v=7/x/a.parquet", "SELECT 2 AS id")
        assert athena.table("SELECT * FROM parts") == []
        found = athena.table("MSCK REPAIR TABLE parts")
        assert found[-1] == ["Repair: Added partition to metastore shop.parts:day=2024-01-01/hour=9"]
        athena.run(f"ALTER TABLE parts ADD PARTITION (day='2024-01-02', hour=10) LOCATION '{LAKE}/elsewhere/v=7/'")
        assert athena.table("SHOW PARTITIONS parts") == [["day=2024-01-01/hour=9"], ["day=2024-01-02/hour=10"]]
        assert athena.table("SELECT *, day + INTERVAL '1' DAY FROM parts ORDER BY hour") == [
            ["1", "2024-01-01", "9", "2024-01-02"],
            ["2", "2024-01-02", "10", "2024-01-03"],
        ]
        assert athena.table("SELECT id FROM parts WHERE hour < 10") == [["1"]]

    def test_add_drop_and_move(self, athena):
        parquet_table(athena, "moved", "id int", partitioned="day string, hour int")
        for version in "12":
            athena.put_parquet(f"moved/v={version}/a.parquet", f"SELECT {version} AS id")
        add = " ".join(f"PARTITION (day='a', hour={hour}) LOCATION '{LAKE}/moved/v=1/'" for hour in (1, 2))
        athena.run(f"ALTER TABLE moved ADD {add}")
        assert "Partition already exists" in athena.fail(f"ALTER TABLE moved ADD {add}")
        athena.run(f"ALTER TABLE moved ADD IF NOT EXISTS {add}")
        assert athena.row("SELECT count(*), sum(id) FROM moved") == ["2", "2"]
        athena.run(f"ALTER TABLE moved PARTITION (hour=2, day='a') SET LOCATION '{LAKE}/moved/v=2/'")
        assert athena.table("SELECT hour, id FROM moved ORDER BY 1") == [["1", "1"], ["2", "2"]]
        assert "Partition not found" in athena.fail(
            f"ALTER TABLE moved PARTITION (hour=3, day='a') SET LOCATION '{LAKE}/moved/v=2/'"
        )
        assert "doesn't match the partition keys" in athena.fail("ALTER TABLE moved ADD PARTITION (day='a')")
        athena.run("ALTER TABLE moved DROP PARTITION (day='a', hour=1)")
        assert "Partition not found" in athena.fail("ALTER TABLE moved DROP PARTITION (day='a', hour=1)")
        athena.run("ALTER TABLE moved DROP IF EXISTS PARTITION (day='a', hour=1), PARTITION (day='a')")
        assert athena.table("SHOW PARTITIONS moved") == []
        assert athena.keys("moved/")  # an external table's files stay

    def test_partition_projection(self, athena):
        for day in ("2024-01-30", "2024-02-01"):
            athena.put_parquet(f"projected/{day}/eu/a.parquet", f"SELECT '{day}' AS seen")
        properties = {
            "projection.enabled": "true",
            "projection.day.type": "date",
            "projection.day.format": "yyyy-MM-dd",
            "projection.day.range": "2024-01-28,2024-02-02",
            "projection.region.type": "enum",
            "projection.region.values": "eu,us",
            "projection.shard.type": "integer",
            "projection.shard.range": "8,10",
            "projection.shard.digits": "2",
            "storage.location.template": f"{LAKE}/projected/${{day}}/${{region}}/",
        }
        listed = ", ".join(f"'{key}' = '{value}'" for key, value in properties.items())
        parquet_table(
            athena,
            "projected",
            "seen string",
            partitioned="day date, region string, shard string",
            extra=f"TBLPROPERTIES ({listed})",
        )
        rows = athena.table("SELECT * FROM projected WHERE shard = '08' ORDER BY day")
        assert rows == [["2024-01-30", "2024-01-30", "eu", "08"], ["2024-02-01", "2024-02-01", "eu", "08"]]
        assert athena.row("SELECT count(*) FROM projected") == ["6"]
        athena.run("ALTER TABLE projected SET TBLPROPERTIES ('projection.region.type' = 'injected')")
        assert "Partition projection of the type 'injected'" in athena.fail("SELECT * FROM projected")

    def test_projection_up_to_now(self, athena):
        athena.put_parquet("recent/a.parquet", "SELECT 1 AS id")
        listed = (
            "'projection.enabled' = 'true', 'projection.month.type' = 'date', 'projection.month.format' = 'yyyyMM', "
            f"'projection.month.range' = 'NOW-2MONTHS,NOW', 'storage.location.template' = '{LAKE}/recent/'"
        )
        parquet_table(athena, "recent", "id int", partitioned="month string", extra=f"TBLPROPERTIES ({listed})")
        rows = athena.table("SELECT month, month <= date_format(now(), '%Y%m') FROM recent")
        assert [row[1] for row in rows] == ["true"] * 3


class TestWriting:
    def test_create_table_as(self, athena):
        described = athena.run(
            f"CREATE TABLE made WITH (external_location = '{LAKE}/made/', partitioned_by = ARRAY['day']) AS "
            "SELECT sum(n) AS total, avg(n) AS mean, 'a/b' AS day FROM (VALUES 1, 2) AS t(n) "
            "UNION ALL SELECT 7, 1E0, NULL"
        )
        assert athena.results(described["QueryExecutionId"])["UpdateCount"] == 2
        assert described["StatementType"] == "DDL"
        columns = athena.glue.get_table(DatabaseName="shop", Name="made")["Table"]["StorageDescriptor"]["Columns"]
        assert [(column["Name"], column["Type"]) for column in columns] == [("total", "bigint"), ("mean", "double")]
        assert athena.table("SELECT * FROM made ORDER BY total") == [["3", "1.5", "a/b"], ["7", "1.0", None]]
        folders = {key.split("/")[1] for key in athena.keys("made/")}
        assert folders == {"day=a%2Fb", "day=__HIVE_DEFAULT_PARTITION__"}
        athena.run("ALTER TABLE made DROP PARTITION (day = 'a/b')")
        athena.run("MSCK REPAIR TABLE made")
        assert athena.row("SELECT count(*) FROM made WHERE day = 'a/b'") == ["1"]
        manifest = described["Statistics"]["DataManifestLocation"].split("/", 3)[3]
        listed = athena.s3.get_object(Bucket=BUCKET, Key=manifest)["Body"].read().decode().split()
        assert sorted(listed) == sorted(f"{LAKE}/{key}" for key in athena.keys("made/"))

    @pytest.mark.parametrize(
        ("options", "select", "reason"),
        [
            ("external_location = 's3://test-lake/taken/'", "SELECT 1 AS a", "HIVE_PATH_ALREADY_EXISTS"),
            ("format = 'ORC'", "SELECT 1 AS a", "NOT_SUPPORTED: CREATE TABLE AS with format ORC"),
            (
                "bucketed_by = ARRAY['a'], bucket_count = 2",
                "SELECT 1 AS a",
                "NOT_SUPPORTED: CREATE TABLE AS with the property",
            ),
            ("partitioned_by = ARRAY['a']", "SELECT 1 AS a, 2 AS b", "HIVE_COLUMN_ORDER_MISMATCH"),
            (
                "partitioned_by = ARRAY['a']",
                "SELECT 1 AS a",
                "INVALID_TABLE_PROPERTY: Table contains only partition columns",
            ),
            (
                "partitioned_by = ARRAY['b']",
                "SELECT n AS a, n AS b FROM UNNEST(sequence(1, 101)) AS t(n)",
                "HIVE_TOO_MANY_OPEN",
            ),
            (
                "format = 'PARQUET'",
                "SELECT 1",
                "MISSING_COLUMN_NAME: line 1:1: Column name not specified at position 1",
            ),
            ("format = 'PARQUET'", "SELECT 1 AS a, 2 AS A", "DUPLICATE_COLUMN_NAME"),
            ("format = 'PARQUET'", "SELECT NULL AS a", "NOT_SUPPORTED: A column of the type"),
            ("format = 'PARQUET'", "SELECT 1 / 0 AS a", "DIVISION_BY_ZERO"),
        ],
    )
    def test_tables_that_cannot_be_created(self, athena, options, select, reason):
        athena.put("taken/a.txt", b"x")
        before = athena.keys("")
        assert athena.fail(f"CREATE TABLE failed WITH ({options}) AS {select}").startswith(reason)
        assert athena.keys("") == before
        assert athena.fail("SELECT * FROM failed").startswith("TABLE_NOT_FOUND")

    def test_an_existing_table(self, athena):
        athena.run("CREATE TABLE existing AS SELECT 1 AS a")
        assert "already exists" in athena.fail("CREATE TABLE existing AS SELECT 2 AS a")
        athena.run("CREATE TABLE IF NOT EXISTS existing AS SELECT 2 AS a")
        assert athena.row("SELECT a FROM existing") == ["1"]

    @pytest.mark.parametrize("stored_as", ["PARQUET", "TEXTFILE", "JSON"])
    def test_what_is_written_can_be_read_and_added_to(self, athena, stored_as):
        name = f"written_{stored_as.lower()}"
        athena.run(
            f"CREATE TABLE {name} WITH (format = '{stored_as}') AS SELECT 1 AS id, 'a \"b\", c' AS text, "
            "CAST(NULL AS double) AS amount, DATE '2024-01-01' AS day, TIMESTAMP '2024-01-01 10:00:00' AS at, "
            "DECIMAL '1.50' AS price"
        )
        athena.run(f"INSERT INTO {name} (id, amount) VALUES (2, 2.5E0)")
        athena.run(f"INSERT INTO {name} WITH more AS (SELECT 3 AS n) SELECT n, 'x', 1E0, NULL, NULL, NULL FROM more")
        assert athena.table(f"SELECT * FROM {name} ORDER BY id") == [
            ["1", 'a "b", c', None, "2024-01-01", "2024-01-01 10:00:00.000", "1.50"],
            ["2", None, "2.5", None, None, None],
            ["3", "x", "1.0", None, None, None],
        ]

    def test_insert_into_partitions(self, athena):
        parquet_table(athena, "growing", "id int", partitioned="day string")
        athena.run(f"ALTER TABLE growing ADD PARTITION (day = 'old') LOCATION '{LAKE}/growing-old/v=1/'")
        described = athena.run("INSERT INTO growing VALUES (1, 'old'), (2, 'new')")
        assert athena.results(described["QueryExecutionId"])["UpdateCount"] == 2
        assert athena.table("SELECT id, day FROM growing ORDER BY id") == [["1", "old"], ["2", "new"]]
        assert len(athena.keys("growing-old/v=1/")) == len(athena.keys("growing/day=new/")) == 1
        athena.run("INSERT INTO growing SELECT * FROM growing")
        assert athena.row("SELECT count(*) FROM growing") == ["4"]

    @pytest.mark.parametrize(
        ("insert", "reason"),
        [
            (
                "INSERT INTO target VALUES ('x', 'y')",
                "TYPE_MISMATCH: line 1:1: Insert query has mismatched column types: "
                "Table: [integer, varchar], Query: [varchar, varchar]",
            ),
            ("INSERT INTO target SELECT count(*), 'x' FROM target", "TYPE_MISMATCH"),
            ("INSERT INTO target VALUES (1)", "TYPE_MISMATCH"),
            ("INSERT INTO target (id, nothing) VALUES (1, 'x')", "COLUMN_NOT_FOUND: line 1:1: Insert column name"),
            ("INSERT INTO nothing VALUES (1)", "TABLE_NOT_FOUND: line 1:13"),
            ("INSERT OVERWRITE TABLE target SELECT 1, 'x'", "NOT_SUPPORTED"),
        ],
    )
    def test_rows_that_do_not_fit(self, athena, insert, reason):
        athena.run("CREATE TABLE IF NOT EXISTS target AS SELECT 0 AS id, 'zero' AS name")
        assert athena.fail(insert).startswith(reason)
        assert athena.row("SELECT count(*) FROM target") == ["1"]

    def test_unload(self, athena):
        sql = (
            f"UNLOAD (SELECT 1 AS a, 'x' AS b) TO '{LAKE}/unloaded/' "
            "WITH (format = 'TEXTFILE', field_delimiter = ',', compression = 'NONE')"
        )
        athena.run(sql)
        (key,) = athena.keys("unloaded/")
        body = athena.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read().decode()
        assert list(csv.reader(io.StringIO(body))) == [["1", "x"]]
        assert athena.fail(sql).startswith("HIVE_PATH_ALREADY_EXISTS")


class TestDefinitions:
    def test_databases(self, athena):
        athena.run(f"CREATE SCHEMA IF NOT EXISTS extra COMMENT 'more' LOCATION '{LAKE}/extra/'")
        assert athena.glue.get_database(Name="extra")["Database"]["LocationUri"] == f"{LAKE}/extra/"
        assert "already exists" in athena.fail("CREATE DATABASE extra")
        assert ["extra"] in athena.table("SHOW DATABASES LIKE 'ex*'")
        athena.run("CREATE TABLE extra.t AS SELECT 1 AS a")
        assert "is not empty" in athena.fail("DROP DATABASE extra")
        athena.run("DROP DATABASE extra CASCADE")
        assert "does not exist" in athena.fail("DROP DATABASE extra")
        athena.run("DROP DATABASE IF EXISTS extra")

    def test_tables(self, athena):
        parquet_table(athena, "defined", "id int COMMENT 'a key', name string", partitioned="day date")
        assert "already exists" in athena.fail(
            f"CREATE EXTERNAL TABLE defined (id int) STORED AS PARQUET LOCATION '{LAKE}/x/'"
        )
        athena.run(f"CREATE EXTERNAL TABLE IF NOT EXISTS defined (x int) STORED AS PARQUET LOCATION '{LAKE}/x/'")
        athena.run("ALTER TABLE defined ADD COLUMNS (price decimal(10, 2))")
        athena.run("ALTER TABLE defined SET TBLPROPERTIES ('owner' = 'ana')")
        athena.run(f"ALTER TABLE defined SET LOCATION '{LAKE}/elsewhere/'")
        assert athena.table("SHOW TBLPROPERTIES defined ('owner')") == [["owner", "ana"]]
        shown = "\n".join(row[0] for row in athena.table("SHOW CREATE TABLE defined"))
        assert "  `price` decimal(10,2))" in shown
        assert f"  '{LAKE}/elsewhere/'" in shown
        athena.run("DROP TABLE defined")
        athena.run(shown)
        assert "\n".join(row[0] for row in athena.table("SHOW CREATE TABLE defined")) == shown
        assert [row[0].split() for row in athena.table("DESCRIBE defined")][:4] == [
            *(["id", "int"], ["name", "string"], ["price", "decimal(10,2)"], ["day", "date"]),
        ]
        assert [row[0].strip() for row in athena.table("SHOW COLUMNS IN defined")] == ["id", "name", "price", "day"]
        assert "use DROP TABLE" in athena.fail("DROP VIEW defined")
        athena.run("DROP TABLE defined")
        assert "Table not found shop.defined" in athena.fail("DROP TABLE defined")
        athena.run("DROP TABLE IF EXISTS defined")
        assert "'monye' is not a Hive type" in athena.fail(f"CREATE EXTERNAL TABLE bad (a monye) LOCATION '{LAKE}/x/'")

    def test_views(self, athena):
        athena.run("CREATE TABLE base AS SELECT n, n % 2 AS odd FROM UNNEST(sequence(1, 4)) AS t(n)")
        athena.run("CREATE VIEW odds AS SELECT n FROM base WHERE odd = 1")
        athena.run(
            "CREATE OR REPLACE VIEW twice AS WITH doubled AS (SELECT n * 2 AS n FROM odds) SELECT * FROM doubled"
        )
        assert athena.table("SELECT * FROM twice ORDER BY n") == [["2"], ["6"]]
        assert "View already exists" in athena.fail("CREATE VIEW odds AS SELECT 1 AS n")
        athena.run("CREATE OR REPLACE VIEW odds AS SELECT n FROM base WHERE n > 3")
        assert athena.table("SELECT * FROM shop.twice", database="default") == [["8"]]
        assert athena.table("SHOW VIEWS") == [["odds"], ["twice"]]
        assert athena.table("SHOW CREATE VIEW odds") == [['CREATE VIEW "odds" AS'], ["SELECT n FROM base WHERE n > 3"]]
        stored = athena.glue.get_table(DatabaseName="shop", Name="twice")["Table"]
        assert stored["TableType"] == "VIRTUAL_VIEW"
        assert stored["ViewOriginalText"].startswith("/* Presto View: ")
        assert athena.fail("CREATE VIEW broken AS SELECT nothing FROM base").startswith("COLUMN_NOT_FOUND")
        athena.run("DROP TABLE base")
        assert athena.fail("SELECT * FROM twice").startswith("INVALID_VIEW: Failed analyzing stored view 'shop.")
        assert "use DROP VIEW" in athena.fail("DROP TABLE odds")
        athena.run("DROP VIEW odds")
        athena.run("DROP VIEW twice")

    def test_a_view_cannot_read_itself(self, athena):
        athena.run("CREATE VIEW loop_a AS SELECT 1 AS n")
        athena.run("CREATE VIEW loop_b AS SELECT n FROM loop_a")
        assert athena.fail("CREATE OR REPLACE VIEW loop_a AS SELECT n FROM loop_b").startswith("INVALID_VIEW")

    def test_information_schema(self, athena):
        athena.run("CREATE TABLE informed AS SELECT 1 AS id, 'x' AS name")
        assert athena.table(
            "SELECT column_name, data_type FROM information_schema.columns "
            "WHERE table_schema = 'shop' AND table_name = 'informed' ORDER BY ordinal_position"
        ) == [["id", "integer"], ["name", "varchar"]]
        assert athena.row("SELECT table_type FROM information_schema.tables WHERE table_name = 'informed'") == [
            "BASE TABLE"
        ]
        assert ["shop"] in athena.table("SELECT schema_name FROM information_schema.schemata")

    def test_explain(self, athena):
        plan = "\n".join(row[0] for row in athena.table("EXPLAIN SELECT 1 AS one"))
        assert plan.strip()
        assert athena.fail("EXPLAIN SELECT * FROM nothing").startswith("TABLE_NOT_FOUND")
        assert athena.fail("EXPLAIN (TYPE LOGICAL) SELECT 1").startswith("NOT_SUPPORTED: EXPLAIN with options")
