"""Redshift's SQL on DuckDB: translation, functions, tables, and what is refused."""

import datetime as dt
from decimal import Decimal

import pytest

from local.aws import redshift_engine, settings
from local.aws.redshift_engine import Connection, Stop
from local.aws.redshift_errors import QueryFailed
from local.aws.redshift_physical import extract
from local.aws.redshift_sql import command, split
from local.aws.settings import Settings


@pytest.fixture(scope="module")
def connection(tmp_path_factory):
    state = tmp_path_factory.mktemp("redshift")
    before = settings._current
    settings.use(Settings(state, 0))
    opened = Connection(redshift_engine.database(state / "redshift" / "shop" / "dev.duckdb"), "analyst")
    yield opened
    opened.close()
    redshift_engine.close()
    settings._current = before


@pytest.fixture
def run(connection):
    """Runs statements, each in a transaction of its own, and gives the rows of the last one."""

    def run_each(*sqls: str):
        rows = None
        for sql in sqls:
            with connection.running(Stop()):
                result = connection.execute(command(sql), Stop(), alone=True)
                rows = connection.cursor.fetchall() if result.columns is not None else None
                connection.commit()
        return rows

    yield run_each
    run_each("DROP SCHEMA IF EXISTS shop CASCADE")


@pytest.fixture
def fail(run):
    def failed(sql: str) -> str:
        with pytest.raises(QueryFailed) as caught:
            run(sql)
        return str(caught.value)

    return failed


class TestText:
    def test_statements_are_split_outside_of_strings_and_comments(self):
        assert split("SELECT ';' AS a; -- b; c\n VACUUM t;;") == ["SELECT ';' AS a", "-- b; c\n VACUUM t"]

    def test_parameters_are_literals_wherever_their_name_stands(self):
        bound = command("SELECT :a, x::int, ':a', :ab FROM t WHERE y = :a", {"a": "it's", "ab": "2"})
        assert bound.sql == "SELECT 'it''s', x::int, ':a', '2' FROM t WHERE y = 'it''s'"
        assert bound.used == {"a", "ab"}

    def test_parameters_are_refused_where_redshift_takes_none(self):
        with pytest.raises(QueryFailed, match="not in COPY"):
            command("COPY t FROM :place IAM_ROLE default", {"place": "s3://lake/"})

    def test_physical_attributes_are_taken_out(self):
        sql, physical = extract(
            "CREATE TABLE t (a int ENCODE az64 DISTKEY, b text DEFAULT 'ENCODE zstd') DISTSTYLE KEY "
            "COMPOUND SORTKEY (a, b) BACKUP NO"
        )
        assert sql.split() == ["CREATE", "TABLE", "t", "(a", "int", ",", "b", "text", "DEFAULT", "'ENCODE", "zstd')"]
        assert (physical.style, physical.distribution, physical.sorting) == ("KEY", ["a"], ["a", "b"])


# Each with the value that Redshift gives.
FUNCTIONS = [
    ("dateadd(month, 1, '2024-01-31'::date)", dt.datetime(2024, 2, 29)),
    ("dateadd(d, -1, '2024-01-01')", dt.datetime(2023, 12, 31)),
    ("datediff(day, '2024-01-01', '2024-02-01')", 31),
    ("datediff(hour, '2024-01-01 00:59:00', '2024-01-01 01:00:00')", 1),
    ("datediff(month, '2024-01-31', '2024-02-01')", 1),
    ("convert_timezone('America/Sao_Paulo', '2024-01-01 12:00:00')", dt.datetime(2024, 1, 1, 9)),
    ("convert_timezone('America/Sao_Paulo', 'UTC', '2024-01-01 12:00:00')", dt.datetime(2024, 1, 1, 15)),
    ("date_trunc('week', '2024-01-03'::timestamp)", dt.datetime(2024, 1, 1)),
    ("date_part(dow, '2024-01-07'::date)", 0),
    ("last_day('2024-02-03'::date)", dt.date(2024, 2, 29)),
    ("to_char('2024-03-31 13:05:09'::timestamp, 'YYYY-MM-DD HH24:MI:SS')", "2024-03-31 13:05:09"),
    ("to_date('31/03/2024', 'DD/MM/YYYY')", dt.date(2024, 3, 31)),
    ("getdate() BETWEEN sysdate - interval '1 minute' AND sysdate", True),
    ("nvl(NULL, 2)", 2),
    ("nvl2(NULL, 1, 2)", 2),
    ("decode(2, 1, 'a', 2, 'b', 'c')", "b"),
    ("decode(NULL, NULL, 'none', 'some')", "none"),
    ("'a' || NULL", None),
    ("concat('a', NULL)", None),
    ("len('é') + octet_length('é')", 3),
    ("charindex('b', 'abc')", 2),
    ("split_part('a|b', '|', 2)", "b"),
    ("regexp_replace('banana', 'a', 'o')", "bonono"),
    ("regexp_substr('abc123', '[0-9]+')", "123"),
    ("initcap('rio DE janeiro')", "Rio De Janeiro"),
    (r"'a_c' LIKE 'a\\_c' AND 'abc' NOT LIKE 'a\\_c'", True),
    ("json_extract_path_text('{\"a\": {\"b\": 1}}', 'a', 'b')", "1"),
    ("7 / 2", 3),
    ("'2.5'::numeric", Decimal(3)),
    ("'12.345'::decimal(10,2)", Decimal("12.35")),
    ("'abcdef'::varchar(3)", "abc"),
    ("current_user || '@' || current_database()", "analyst@dev"),
    ("'2024-01-01'::date + 1", dt.date(2024, 1, 2)),
]


class TestQueries:
    @pytest.mark.parametrize(("expression", "expected"), FUNCTIONS)
    def test_functions(self, run, expression, expected):
        assert run(f"SELECT {expression}") == [(expected,)]

    @pytest.mark.parametrize(
        ("expression", "expected"),
        [
            ("avg(x)", 1),
            ("avg(y)", 1.75),
            ("listagg(name, ', ') WITHIN GROUP (ORDER BY name DESC)", "b, a"),
            ("listagg(name) WITHIN GROUP (ORDER BY name)", "ab"),
            ("listagg(DISTINCT name, '-') WITHIN GROUP (ORDER BY name)", "a-b"),
            ("median(y)", 1.75),
            ("count(DISTINCT name)", 2),
        ],
    )
    def test_aggregates(self, run, expression, expected):
        source = "(SELECT 1 AS x, 1.5::float AS y, 'a' AS name UNION ALL SELECT 2, 2.0, 'b') AS t"
        assert run(f"SELECT {expression} FROM {source}") == [(expected,)]

    def test_average_of_integers_over_a_window_is_an_integer(self, run):
        sql = "SELECT avg(x) OVER (ORDER BY x) FROM (SELECT 1 AS x UNION ALL SELECT 2 UNION ALL SELECT 4) t ORDER BY x"
        assert run(sql) == [(1,), (1,), (2,)]

    def test_null_is_larger_than_everything(self, run):
        source = "SELECT x FROM (SELECT 1 AS x UNION ALL SELECT NULL) t ORDER BY x"
        assert run(source) == [(1,), (None,)]
        assert run(f"{source} DESC") == [(None,), (1,)]

    def test_names_fold_to_lower_case_and_with_hides_tables(self, run, connection):
        run(
            "CREATE SCHEMA shop",
            'CREATE TABLE shop."Sales" (ID int)',
            "INSERT INTO SHOP.sales VALUES (1)",
        )
        assert run("WITH sales AS (SELECT * FROM shop.sales) SELECT sales.Id FROM Sales") == [(1,)]
        assert run("SELECT shop.sales.id FROM shop.sales") == [(1,)]

    def test_unnamed_results_are_named_as_redshift_does(self, connection):
        with connection.running(Stop()):
            result = connection.execute(
                command("SELECT count(*), 1 + 1, dateadd(day, 1, getdate())"), Stop(), alone=True
            )
            connection.rollback()
        assert [column.name for column in result.columns or ()] == ["count", "?column?", "date_add"]

    @pytest.mark.parametrize(
        ("sql", "reason"),
        [
            ("SELECT * FROM nothing", 'relation "nothing" does not exist'),
            ("SELECT nothing", 'column "nothing" does not exist'),
            ("SELECT 'abc'::int", 'invalid input syntax for integer: "abc"'),
            ("SELECT 1 / 0", "divide by zero"),
            ("SELECT (1", "syntax error"),
            ("SELEKT 1", "SELEKT 1 is not supported"),
            ("SELECT :absent", 'near ":absent"'),
            ("SELECT list_value(1)", "list_value is not supported"),
            ("SELECT getenv('HOME')", "getenv is not supported"),
            ("SELECT to_char(getdate(), 'Mon DD')", "Mon in a date format"),
            ("SELECT 'a' SIMILAR TO 'a%'", "SIMILAR TO"),
            ("SELECT * INTO x FROM (SELECT 1) t", "SELECT INTO"),
            ("SELECT * FROM svv_table_info", "system table svv_table_info is"),
            ("SELECT * FROM stl_load_errors", "system table"),
            ("SELECT * FROM pg_catalog.pg_class", "system table"),
            ("SELECT * FROM other.public.t", "across databases"),
            ("SET search_path TO shop", "SET SEARCH_PATH is not supported"),
            ("CALL p()", "CALL P() is not supported"),
            ("CREATE FUNCTION f() RETURNS int AS $$ 1 $$", "CREATE FUNCTION is not supported"),
            ("CREATE VIEW v AS SELECT 1 AS x", "WITH NO SCHEMA BINDING"),
        ],
    )
    def test_what_cannot_be_done_says_why(self, fail, sql, reason):
        assert reason in fail(sql)

    @pytest.mark.parametrize(
        "sql",
        [
            "SELECT * FROM '/etc/passwd'",
            'SELECT * FROM "/etc/passwd"',
            "SELECT * FROM read_csv('/etc/passwd')",
            "SELECT * FROM read_text('/etc/passwd')",
            "SELECT * FROM glob('/etc/*')",
            "ATTACH '/etc/passwd' AS other",
            "COPY public.t TO '/tmp/out.csv'",
            "INSTALL httpfs",
            "PRAGMA database_list",
            "SELECT * FROM duckdb_settings()",
            "CREATE TABLE t AS SELECT * FROM read_csv('/etc/passwd')",
            "CREATE VIEW v AS SELECT * FROM read_csv('/etc/passwd') WITH NO SCHEMA BINDING",
            "SELECT (SELECT content FROM read_text('/etc/passwd'))",
        ],
    )
    def test_files_of_the_machine_are_out_of_reach(self, fail, sql):
        assert fail(sql).startswith("ERROR: ")


class TestTables:
    @pytest.fixture(autouse=True)
    def schema(self, run):
        run(
            "CREATE SCHEMA IF NOT EXISTS shop",
            "CREATE TABLE shop.items (id integer NOT NULL ENCODE az64, name varchar(5) ENCODE zstd DISTKEY, "
            "code char(2), price numeric(18, 2) DEFAULT 1.50, PRIMARY KEY (id)) DISTSTYLE KEY SORTKEY (id)",
            "INSERT INTO shop.items VALUES (1, 'pen', 'aa', 2.50), (2, NULL, 'bb', 3)",
        )

    def test_rules_of_columns_hold(self, fail):
        assert "value too long for type character varying(5), column name" in fail(
            "INSERT INTO shop.items (id, name) VALUES (3, 'pencil')"
        )
        assert "character varying(5)" in fail("UPDATE shop.items SET name = 'éééé'")  # bytes, not characters
        assert "type character(2), column code" in fail("INSERT INTO shop.items (id, code) VALUES (3, 'ccc')")
        assert "Cannot insert a NULL value into column id" in fail("INSERT INTO shop.items (name) VALUES ('x')")

    def test_keys_are_not_enforced_as_in_redshift(self, run):
        assert run("INSERT INTO shop.items (id) VALUES (1)", "SELECT count(*) FROM shop.items WHERE id = 1") == [(2,)]

    @pytest.mark.parametrize(
        ("attributes", "reason"),
        [
            ("DISTKEY (b)", 'column "b" named in key does not exist'),
            ("SORTKEY (a, c)", 'column "c" named in key does not exist'),
            ("DISTSTYLE KEY", "requires a DISTKEY"),
            ("DISTSTYLE ALL DISTKEY (a)", "cannot specify DISTKEY with DISTSTYLE ALL"),
            ("DISTSTYLE SOME", "DISTSTYLE takes AUTO"),
        ],
    )
    def test_physical_attributes_are_checked(self, fail, attributes, reason):
        assert reason in fail(f"CREATE TABLE shop.t (a int) {attributes}")

    @pytest.mark.parametrize(
        "column", ["a int ENCODE best", "a int IDENTITY(1, 1)", "a super", "a geometry", "a varchar(70000)"]
    )
    def test_columns_that_cannot_be_kept_are_refused(self, fail, column):
        assert fail(f"CREATE TABLE shop.t ({column})")

    def test_like_takes_rules_and_on_demand_defaults(self, run, fail):
        run("CREATE TABLE shop.plain (LIKE shop.items)", "CREATE TABLE shop.full_ (LIKE shop.items INCLUDING DEFAULTS)")
        run("INSERT INTO shop.plain (id) VALUES (1)", "INSERT INTO shop.full_ (id) VALUES (1)")
        assert run("SELECT price FROM shop.plain UNION ALL SELECT price FROM shop.full_") == [
            (None,),
            (Decimal("1.50"),),
        ]
        assert "too long" in fail("INSERT INTO shop.plain (id, name) VALUES (1, 'pencil')")

    def test_create_table_as_has_types_of_redshift(self, run, connection):
        run(
            "CREATE TABLE shop.sums DISTKEY (code) AS "
            "SELECT code, sum(id) AS ids, sum(price) AS p FROM shop.items GROUP BY 1"
        )
        described = run("SELECT * FROM shop.sums") and connection.cursor.execute("DESCRIBE shop.sums").fetchall()
        assert [row[1] for row in described] == ["VARCHAR", "BIGINT", "DECIMAL(38,2)"]

    def test_columns_change(self, run, fail):
        run("ALTER TABLE shop.items ADD COLUMN tag varchar(3) DEFAULT 'new' NOT NULL")
        assert "too long" in fail("UPDATE shop.items SET tag = 'long'")
        run(
            "ALTER TABLE shop.items ALTER COLUMN tag TYPE varchar(9)", "UPDATE shop.items SET tag = 'long' WHERE id = 1"
        )
        run("ALTER TABLE shop.items RENAME COLUMN tag TO label", "ALTER TABLE shop.items DROP COLUMN code")
        assert run("SELECT * FROM shop.items ORDER BY id") == [
            (1, "pen", Decimal("2.50"), "long"),
            (2, None, Decimal("3.00"), "new"),
        ]
        assert "too long" in fail("UPDATE shop.items SET label = 'far too long'")
        assert "only the length" in fail("ALTER TABLE shop.items ALTER COLUMN id TYPE bigint")
        assert "already exists" in fail("ALTER TABLE shop.items ADD COLUMN label int")

    def test_rows_change(self, run, fail):
        run(
            "CREATE TABLE shop.stage (LIKE shop.items)",
            "INSERT INTO shop.stage VALUES (2, 'cup', 'bb', 4), (3, 'bag', 'cc', 5)",
        )
        run("UPDATE shop.items SET price = s.price FROM shop.stage s WHERE s.id = shop.items.id")
        run(
            "MERGE INTO shop.items USING shop.stage ON shop.items.id = shop.stage.id WHEN MATCHED THEN UPDATE SET "
            "name = shop.stage.name WHEN NOT MATCHED THEN INSERT VALUES (stage.id, stage.name, stage.code, stage.price)"
        )
        assert run("SELECT id, name, price FROM shop.items ORDER BY id") == [
            (1, "pen", Decimal("2.50")),
            (2, "cup", Decimal("4.00")),
            (3, "bag", Decimal("5.00")),
        ]
        run("INSERT INTO shop.stage SELECT * FROM shop.stage WHERE id = 3")
        assert "more than once" in fail(
            "MERGE INTO shop.items USING shop.stage ON items.id = stage.id WHEN MATCHED THEN DELETE "
            "WHEN NOT MATCHED THEN INSERT (id) VALUES (stage.id)"
        )
        run("DELETE FROM shop.items USING shop.stage s WHERE s.id = shop.items.id", "DELETE shop.stage WHERE id = 3")
        assert run("SELECT id FROM shop.items") == [(1,)]
        run("ALTER TABLE shop.items APPEND FROM shop.stage")
        assert run("SELECT count(*), (SELECT count(*) FROM shop.stage) FROM shop.items") == [(2, 0)]

    @pytest.mark.parametrize(
        "sql",
        [
            "MERGE INTO shop.items t USING shop.items s ON t.id = s.id WHEN MATCHED THEN DELETE",
            "MERGE INTO shop.items USING (SELECT 1 AS id) s ON s.id = items.id WHEN MATCHED THEN DELETE",
            "MERGE INTO shop.items USING shop.items s ON s.id = items.id WHEN MATCHED THEN DELETE",
            "MERGE INTO shop.items USING shop.items s ON s.id = items.id REMOVE DUPLICATES",
            "INSERT INTO local_stack.statements VALUES (NULL, 'x', 'y')",
            "DROP SCHEMA local_stack CASCADE",
            "ALTER TABLE shop.items RENAME TO other.items",
            "DROP SCHEMA shop",
            "DROP VIEW shop.items",
            "DROP TABLE shop.nothing",
            "CREATE TABLE shop.items (a int)",
            "CREATE TABLE nowhere.t (a int)",
        ],
    )
    def test_statements_that_redshift_refuses(self, fail, sql):
        assert fail(sql).startswith("ERROR: ")

    def test_statements_without_effect_are_recorded(self, run, fail):
        run("GRANT SELECT ON shop.items TO GROUP analysts", "ANALYZE shop.items", "VACUUM FULL shop.items")
        assert run("SELECT database_user, sql FROM local_stack.statements ORDER BY recorded_at")[-3:] == [
            ("analyst", "GRANT SELECT ON shop.items TO GROUP analysts"),
            ("analyst", "ANALYZE shop.items"),
            ("analyst", "VACUUM FULL shop.items"),
        ]
        assert 'relation "shop.nothing" does not exist' in fail("GRANT SELECT ON shop.nothing TO GROUP analysts")
        assert 'relation "shop.nothing" does not exist' in fail("VACUUM shop.nothing")

    def test_a_late_bound_view_follows_the_name(self, run):
        run(
            "CREATE VIEW shop.names AS SELECT name FROM shop.items WITH NO SCHEMA BINDING",
            "CREATE TABLE shop.stage (LIKE shop.items)",
            "ALTER TABLE shop.items RENAME TO old",
            "ALTER TABLE shop.stage RENAME TO items",
        )
        assert run("SELECT * FROM shop.names") == []
