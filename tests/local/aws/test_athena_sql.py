"""Statements: what they are, and that queries mean on DuckDB what they mean on Trino."""

import duckdb
import pytest

from local.aws import athena_ddl, athena_functions, athena_sql
from local.aws.athena_errors import QueryFailed
from local.aws.athena_sql import Name, Shape


@pytest.fixture(scope="module")
def engine():
    connection = duckdb.connect()
    for setting in ("TimeZone = 'UTC'", "lambda_syntax = 'ENABLE_SINGLE_ARROW'", "integer_division = true"):
        connection.execute(f"SET {setting}")
    for macro in athena_functions.macro_statements():
        connection.execute(macro)
    yield connection
    connection.close()


def translate(sql: str, **shapes: Shape) -> athena_sql.Query:
    def shape(name: Name) -> Shape:
        if name.table not in shapes:
            raise QueryFailed("TABLE_NOT_FOUND", f"Table '{name}' does not exist")
        return shapes[name.table]

    return athena_sql.translate(athena_sql.parse(sql), "shop", shape)


class TestKind:
    @pytest.mark.parametrize(
        ("sql", "kind"),
        [
            ("SELECT 1", "QUERY"),
            ("(SELECT 1) UNION SELECT 2", "QUERY"),
            ("/* why */ with a as (select 1) select * from a", "QUERY"),
            ("VALUES 1", "QUERY"),
            ("INSERT INTO t SELECT 1", "INSERT"),
            ("CREATE TABLE t AS SELECT 1 AS a", "CTAS"),
            (
                "CREATE TABLE IF NOT EXISTS t WITH (format = 'PARQUET') AS\n(WITH a AS (SELECT 1) SELECT * FROM a)",
                "CTAS",
            ),
            ("CREATE EXTERNAL TABLE t (as_of date) LOCATION 's3://b/'", "DDL"),
            ("create or replace view v as select 1 as a", "VIEW"),
            ("UNLOAD (SELECT 1) TO 's3://b/' WITH (format = 'PARQUET')", "UNLOAD"),
            ("EXPLAIN SELECT 1", "EXPLAIN"),
            ("-- comment\nmsck repair table t;", "DDL"),
        ],
    )
    def test_kinds(self, sql, kind):
        assert athena_sql.kind(athena_sql.strip(sql)) == kind

    def test_what_is_not_executed_is_named(self):
        with pytest.raises(QueryFailed, match=r"The statement OPTIMIZE is not supported.*supported: SELECT"):
            athena_sql.kind("OPTIMIZE t REWRITE DATA")


class TestTables:
    def test_tables_become_views_of_one_name(self, engine):
        query = translate(
            'SELECT shop.Sales.id, s."name" FROM Sales JOIN other.names AS s USING (id)', sales=Shape(), names=Shape()
        )
        assert query.tables == {Name("shop", "sales"), Name("other", "names")}
        engine.execute('CREATE OR REPLACE TEMP VIEW "shop.sales" AS SELECT 1 AS id')
        engine.execute("CREATE OR REPLACE TEMP VIEW \"other.names\" AS SELECT 1 AS id, 'x' AS name")
        assert engine.execute(query.sql).fetchall() == [(1, "x")]

    def test_a_cte_hides_a_table_but_not_inside_itself(self):
        query = translate(
            "WITH sales AS (SELECT * FROM sales), more AS (SELECT * FROM sales) SELECT * FROM more", sales=Shape()
        )
        assert query.sql.count('"shop.sales"') == 1
        with pytest.raises(QueryFailed, match=r"TABLE_NOT_FOUND: line 1:30: Table 'shop\.late'"):
            translate("WITH early AS (SELECT * FROM late), late AS (SELECT 1 AS a) SELECT * FROM early")

    def test_recursion(self, engine):
        sql = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 4) SELECT sum(n) FROM r"
        assert engine.execute(translate(sql).sql).fetchall() == [(10,)]

    def test_partition_conditions(self):
        shape = Shape(frozenset({"day", "hour"}), {"day": "date", "hour": "int", "id": "bigint"})

        def conditions(where: str, source: str = "sales AS s") -> list[str]:
            found = translate(f"SELECT 1 FROM {source} WHERE {where}", sales=shape, other=shape).filters
            return [athena_sql.render(c) for c in found.get(Name("shop", "sales"), [])]

        assert conditions("day = DATE '2024-01-01' AND id = 3 AND s.hour IN (1, 2)") == [
            "day = CAST('2024-01-01' AS DATE)",
            "hour IN (1, 2)",
        ]
        assert conditions("day = DATE '2024-01-01' OR id = 3") == []
        assert conditions("hour = (SELECT 1)") == []
        assert conditions("hour = id") == []
        assert conditions("s.hour = 1 AND day = current_date", "sales AS s, (SELECT current_date AS day) AS t") == [
            "hour = 1"
        ]
        assert conditions("s.hour = 1", "other AS o LEFT JOIN sales AS s ON o.id = s.id") == []
        assert conditions("s.hour = 1", "sales AS s RIGHT JOIN other AS o ON o.id = s.id") == []
        twice = "SELECT 1 FROM sales WHERE hour = 1 UNION ALL SELECT 2 FROM sales WHERE hour = 2"
        assert translate(twice, sales=shape).filters == {}

    @pytest.mark.parametrize(
        ("condition", "shown"),
        [
            ("day = '2024-01-01'", "date = varchar(10)"),
            ("name > 1", "varchar > number"),
            ("s.id IN (1, 'x')", "number IN varchar(1)"),
            ("day BETWEEN '2024-01-01' AND '2024-02-01'", "date BETWEEN varchar(10)"),
            ("id = name", "number = varchar"),
        ],
    )
    def test_comparisons_that_trino_refuses(self, condition, shown):
        shape = Shape(frozenset(), {"day": "date", "name": "string", "id": "bigint"})
        with pytest.raises(QueryFailed, match="TYPE_MISMATCH: line 1:2") as caught:
            translate(f"SELECT 1 FROM sales s WHERE {condition}", sales=shape)
        assert caught.value.message.endswith(f"Cannot apply operator: {shown}")

    def test_comparisons_that_are_right(self):
        shape = Shape(frozenset(), {"day": "date", "name": "string", "id": "bigint", "at": "timestamp"})
        condition = "day = DATE '2024-01-01' AND name = 'x' AND id = 1.5 AND at > day AND id IN (SELECT 1)"
        translate(f"SELECT 1 FROM sales WHERE {condition}", sales=shape)
        renamed = "SELECT 1 FROM (SELECT CAST(day AS varchar) AS day FROM sales) WHERE day = '2024-01-01'"
        translate(renamed, sales=shape)


class TestNames:
    @pytest.mark.parametrize(
        ("sql", "names"),
        [
            ("SELECT 1, 2 AS b, max(3)", ["_col0", "b", "_col2"]),
            ("SELECT *, 1 FROM (SELECT 1 AS a, 2 AS b)", ["a", "b", "_col2"]),
            ("SELECT 1 UNION ALL SELECT 2", ["_col0"]),
            ("VALUES (1, 2), (3, 4)", ["_col0", "_col1"]),
            ("SELECT CAST(ROW(1) AS ROW(f integer)).f", ["f"]),
        ],
    )
    def test_columns_without_a_name(self, engine, sql, names):
        described = engine.execute(translate(sql).sql).description
        assert athena_sql.column_names([column[0] for column in described]) == names


class TestFunctions:
    """Each pair is what Trino's documentation says the expression gives."""

    @pytest.mark.parametrize(
        ("expression", "value"),
        [
            ("7 / 2", "3"),
            ("-7 / 2", "-3"),
            ("7 / 2E0", "3.5"),
            ("sum(x) / count(*) FROM (VALUES 7, 8) AS t(x)", "7"),
            ("avg(x) / 2 FROM (VALUES 7, 8) AS t(x)", "3.75"),
            ("1.0 / 3", "0.3"),
            ("CAST(1.0 AS decimal(10, 2)) / 3", "0.33"),
            ("2.01 / 2.00", "1.01"),
            ("-2.01 / 2.00", "-1.01"),
            ("1.00 / 0.01", "100.00"),
            ("2 / 3.0", "0.7"),
            ("1.00 / 8E0", "0.125"),
            ("nan() / 2", "nan"),
            ("try(x / 0) FROM (VALUES 1.00) AS t(x)", None),
            ("sum(x) / count(*) FROM (VALUES 1.00, 2.01) AS t(x)", "1.51"),
            ("sum(x) * 100 / sum(sum(x)) OVER () FROM (VALUES 1.00, 2.01) AS t(x)", "100.00"),
            ("avg(x) FROM (VALUES 1.00, 2.01) AS t(x)", "1.51"),
            ("avg(x) FROM (VALUES -1.00, -2.01) AS t(x)", "-1.51"),
            ("avg(x) FROM (VALUES 1.00) AS t(x) WHERE x > 9", None),
            ("avg(x) FROM (VALUES 1E0, 2E0) AS t(x)", "1.5"),
            ("avg(x) FROM (VALUES 1, 2) AS t(x)", "1.5"),
            ("avg(DISTINCT x) FILTER (WHERE x > 1) FROM (VALUES 1.00, 2.01, 2.01) AS t(x)", "2.01"),
            ("avg(x) OVER (PARTITION BY 1) FROM (VALUES 1.00, 2.01) AS t(x)", "1.51"),
            ("1 FROM (VALUES 1.00, 2.01) AS t(x) HAVING avg(x) = 1.51 ORDER BY avg(x)", "1"),
            ("DATE '2024-01-31' + INTERVAL '1' MONTH", "2024-02-29"),
            ("INTERVAL '2' DAY + DATE '2024-01-31'", "2024-02-02"),
            ("max(d) - INTERVAL '1' DAY FROM (VALUES DATE '2024-01-02') AS t(d)", "2024-01-01"),
            ("date_add('month', -1, DATE '2024-03-31')", "2024-02-29"),
            ("date_add('hour', 3, TIMESTAMP '2024-01-01 22:00:00')", "2024-01-02 01:00:00"),
            ("date_trunc('month', DATE '2024-03-05')", "2024-03-01"),
            ("date_trunc('month', max(d)) FROM (VALUES DATE '2024-03-05') AS t(d)", "2024-03-01"),
            ("date_trunc('hour', TIMESTAMP '2024-03-05 10:22:33')", "2024-03-05 10:00:00"),
            ("date_diff('day', TIMESTAMP '2024-01-01 23:00:00', TIMESTAMP '2024-01-02 01:00:00')", "0"),
            ("date_diff('day', DATE '2024-01-01', DATE '2024-02-01')", "31"),
            ("date_diff('month', DATE '2024-01-31', DATE '2024-02-01')", "0"),
            ("date_parse('2024-01-02 03:04:05', '%Y-%m-%d %H:%i:%s')", "2024-01-02 03:04:05"),
            ("date_format(TIMESTAMP '2024-01-02 03:04:05', '%d/%m/%Y %H:%i')", "02/01/2024 03:04"),
            ("format_datetime(TIMESTAMP '2024-01-02 03:04:05', 'yyyy-MM-dd''T''HH:mm')", "2024-01-02T03:04"),
            ("CAST(parse_datetime('02/2024', 'MM/yyyy') AS date)", "2024-02-01"),
            ("CAST(from_unixtime(86400) AS date)", "1970-01-02"),
            ("to_unixtime(TIMESTAMP '1970-01-02 00:00:00')", "86400.0"),
            ("day_of_week(DATE '2024-01-07')", "7"),
            ("last_day_of_month(DATE '2024-02-10')", "2024-02-29"),
            ("to_iso8601(DATE '2024-01-01')", "2024-01-01"),
            ("CAST(TIMESTAMP '2024-01-01 00:00:00' AT TIME ZONE 'America/Sao_Paulo' AS date)", "2023-12-31"),
            ("concat('a', NULL, 'b')", None),
            ("regexp_extract('order 42', '[0-9]+')", "42"),
            ("regexp_extract('order', '[0-9]+')", None),
            ("regexp_extract('a1b2', '([a-z])([0-9])', 2)", "1"),
            ("regexp_replace('a1b2', '[0-9]')", "ab"),
            ("regexp_replace('a1b2', '([a-z])([0-9])', '$2$1')", "1a2b"),
            ("regexp_like('abc', 'b')", "true"),
            ("regexp_extract_all('a1b2', '[0-9]')", "[1, 2]"),
            ("regexp_split('a1b2c', '[0-9]')", "[a, b, c]"),
            ("split('a,b', ',')", "[a, b]"),
            ("split_part('a,b', ',', 2)", "b"),
            ("split_part('a,b', ',', 3)", None),
            ("strpos('abc', 'c')", "3"),
            ("substr('abc', -2)", "bc"),
            ("substr('abc', 0)", ""),
            ("substr('abc', -4)", ""),
            ("substr('abc', 3, -2)", ""),
            ("substr(NULL, 0)", None),
            ("substring('abc' FROM 2 FOR 1)", "b"),
            ("ARRAY[1, 2][2]", "2"),
            ("map(ARRAY['a'], ARRAY[1])['a']", "1"),
            ("lpad('7', 3, '0')", "007"),
            ("format('%s costs %.2f', 'tea', 2.5E0)", "tea costs 2.50"),
            ("to_hex(md5(to_utf8('a')))", "0CC175B9C0F1B6A831C399E269772661"),
            ("json_extract_scalar('{\"a\": {\"b\": 1}}', '$.a.b')", "1"),
            ("json_extract_scalar('{\"a\": {\"b\": 1}}', '$.a')", None),
            ("json_extract_scalar('not json', '$.a')", None),
            ("json_format(json_extract('{\"a\": [1, 2]}', '$.a'))", "[1,2]"),
            ("json_array_length('[1, 2]')", "2"),
            ("element_at(map(ARRAY['a'], ARRAY[1]), 'a')", "1"),
            ("element_at(map(ARRAY['a'], ARRAY[1]), 'b')", None),
            ("element_at(ARRAY[1, 2], -1)", "2"),
            ("element_at(ARRAY[1], 5)", None),
            ("cardinality(map(ARRAY['a'], ARRAY[1]))", "1"),
            ("contains(ARRAY[1, 2], 2)", "true"),
            ("transform(ARRAY[1, 2], x -> x * 10)", "[10, 20]"),
            ("filter(ARRAY[1, 2, 3], x -> x > 1)", "[2, 3]"),
            ("reduce(ARRAY[1, 2, 3], 0, (s, x) -> s + x, s -> s)", "6"),
            ("any_match(ARRAY[1, 2], x -> x > 1)", "true"),
            ("all_match(ARRAY[1, 2], x -> x > 1)", "false"),
            ("none_match(ARRAY[1, 2], x -> x > 2)", "true"),
            ("slice(ARRAY[1, 2, 3, 4], 2, 2)", "[2, 3]"),
            ("slice(ARRAY[1, 2, 3, 4], -2, 1)", "[3]"),
            ("sequence(1, 3)", "[1, 2, 3]"),
            ("sequence(3, 1)", "[3, 2, 1]"),
            ("sequence(DATE '2024-01-30', DATE '2024-02-01')", "[2024-01-30, 2024-01-31, 2024-02-01]"),
            ("array_position(ARRAY[1, 2], 9)", "0"),
            ("array_sort(ARRAY[2, NULL, 1])", "[1, 2, NULL]"),
            ("array_join(ARRAY[1, 2], '-')", "1-2"),
            ("try_cast('x' AS integer)", None),
            ("try(1 / 0)", None),
            ("CAST('abcdef' AS varchar(3))", "abc"),
            ("CAST(12.7E0 AS decimal)", "13"),
            ("greatest(1, NULL)", None),
            ("if(1 > 2, 'a')", None),
            ("max_by(a, b) FROM (VALUES ('x', 1), (NULL, 2)) AS t(a, b)", None),
            ("max_by(a, b, 2) FROM (VALUES ('x', 1), ('y', 2)) AS t(a, b)", "[y, x]"),
            ("min_by(a, b) FROM (VALUES ('x', 1), ('y', 2)) AS t(a, b)", "x"),
            ("approx_distinct(x) FROM (VALUES 1, 1, 2) AS t(x)", "2"),
            ("approx_percentile(x, 0.5) FROM (VALUES 1, 2, 3) AS t(x)", "2"),
            ("map_agg(a, b) FROM (VALUES ('x', 1)) AS t(a, b)", "{x=1}"),
            ("listagg(a, ',') WITHIN GROUP (ORDER BY a) FROM (VALUES 'b', 'a') AS t(a)", "a,b"),
            ("count_if(x > 1) FROM (VALUES 1, 2) AS t(x)", "1"),
            ("count(*) FILTER (WHERE x > 1) FROM (VALUES 1, 2) AS t(x)", "1"),
            ("url_extract_host('https://ana@shop.example:8080/p?x=1')", "shop.example"),
            ("url_extract_path('https://shop.example/p/q?x=1')", "/p/q"),
            ("url_extract_parameter('https://shop.example/p?x=1&yy=a%20b#f', 'yy')", "a b"),
            ("truncate(-1.9E0)", "-1.0"),
            ("is_nan(nan())", "true"),
        ],
    )
    def test_value(self, engine, expression, value):
        cursor = engine.execute(translate(f"SELECT {expression}").sql)
        found = cursor.fetchone()[0]
        if value is None:
            assert found is None
        else:
            assert self.text(found) == value

    @pytest.mark.parametrize(
        ("expression", "type_"),
        [
            ("avg(x) FROM (VALUES CAST(1 AS decimal(10, 2))) AS t(x)", "DECIMAL(10,2)"),
            ("sum(x) / 7 FROM (VALUES CAST(1 AS decimal(10, 2))) AS t(x)", "DECIMAL(38,2)"),
            ("CAST(1 AS decimal(10, 2)) / CAST(1 AS decimal(10, 4))", "DECIMAL(18,4)"),
            ("7 / x FROM (VALUES 2) AS t(x)", "INTEGER"),
            ("1.5 / 2E0", "DOUBLE"),
        ],
    )
    def test_type(self, engine, expression, type_):
        assert engine.execute(translate(f"SELECT {expression}").sql).description[0][1] == type_

    @pytest.mark.parametrize(
        ("expression", "says"),
        [
            ("ARRAY[1, 2][5]", "Array subscript must be less than or equal to array length: 5 > 2"),
            ("ARRAY[1, 2][0]", "SQL array indices start at 1"),
            ("a[-1] FROM (VALUES ARRAY[1, 2]) AS t(a)", "Array subscript is negative: -1"),
            ("x / 0 FROM (VALUES 1.00) AS t(x)", "Division by zero"),
            ("x / 0.0001 FROM (VALUES CAST(123456789012 AS decimal(18, 4))) AS t(x)", "out of range"),
        ],
    )
    def test_failure(self, engine, expression, says):
        with pytest.raises(duckdb.Error, match=says):
            engine.execute(translate(f"SELECT {expression}").sql).fetchall()

    @pytest.mark.parametrize(
        ("expression", "shown"),
        [
            ("'10' = 10", "varchar(2) = number"),
            ("CASE WHEN 1 IN ('1') THEN 2 END", "number IN varchar(1)"),
            ("CAST(10 AS varchar) = 10", "varchar = number"),
            ("substr('10', 1) = 10", "varchar = number"),
            ("'10' / 2", "varchar(2) / number"),
            ("count(*) = '1'", "number = varchar(1)"),
        ],
    )
    def test_texts_are_no_numbers(self, expression, shown):
        with pytest.raises(QueryFailed, match="TYPE_MISMATCH") as caught:
            translate(f"SELECT {expression}")
        assert caught.value.message.endswith(f"Cannot apply operator: {shown}")

    @staticmethod
    def text(value) -> str:
        if isinstance(value, list):
            return "[" + ", ".join("NULL" if item is None else str(item) for item in value) + "]"
        if isinstance(value, dict):
            return "{" + ", ".join(f"{key}={item}" for key, item in value.items()) + "}"
        return str(value).lower() if isinstance(value, bool) else str(value)

    def test_great_circle_distance_is_in_kilometres(self, engine):
        sql = "SELECT great_circle_distance(36.12, -86.67, 33.94, -118.40)"  # the example of Trino's documentation
        assert engine.execute(translate(sql).sql).fetchone()[0] == pytest.approx(2886.448973436, abs=1e-6)

    @pytest.mark.parametrize(
        ("unnest", "rows"),
        [
            ("UNNEST(ARRAY[5, 6]) AS t(x)", [(5,), (6,)]),
            ("UNNEST(ARRAY[5, 6]) WITH ORDINALITY AS t(x, n)", [(5, 1), (6, 2)]),
            ("UNNEST(ARRAY[1], ARRAY['a', 'b']) AS t(x, y)", [(1, "a"), (None, "b")]),
            ("UNNEST(ARRAY[1], ARRAY['a', 'b']) WITH ORDINALITY AS t(x, y, n)", [(1, "a", 1), (None, "b", 2)]),
            ("UNNEST(map(ARRAY['a', 'b'], ARRAY[1, 2])) AS t(k, v)", [("a", 1), ("b", 2)]),
            ("UNNEST(ARRAY[CAST(ROW(1, 'x') AS ROW(p integer, q varchar))]) AS t(p, q)", [(1, "x")]),
            ("(SELECT 1) LEFT JOIN UNNEST(CAST(ARRAY[] AS array(integer))) AS t(x) ON true", [(1, None)]),
            ("(VALUES ARRAY[1, 2]) AS v(a) CROSS JOIN UNNEST(a) AS t(x)", [([1, 2], 1), ([1, 2], 2)]),
        ],
    )
    def test_unnest(self, engine, unnest, rows):
        assert engine.execute(translate(f"SELECT * FROM {unnest}").sql).fetchall() == rows

    @pytest.mark.parametrize("name", ["nvl", "strftime", "list_sum", "read_text", "current_setting", "ifnull"])
    def test_other_functions_are_refused(self, name):
        with pytest.raises(QueryFailed, match=f"FUNCTION_NOT_REGISTERED: line 1:8: Function '{name}' not registered"):
            translate(f"SELECT {name}('x')")

    def test_names_before_brackets_that_are_no_functions(self, engine):
        sql = (
            "WITH strftime (a, b) AS (VALUES (1, 2)) "
            "SELECT a FROM strftime AS list_sum (a, b) WHERE a IN (1) AND (b > 1)"
        )
        assert engine.execute(translate(sql).sql).fetchall() == [(1,)]

    @pytest.mark.parametrize(
        ("expression", "what"),
        [
            ("reduce(ARRAY[1], 0, (s, x) -> s + x, s -> s * 2)", "reduce with a finishing function"),
            ("array_sort(ARRAY[1], (a, b) -> 1)", "array_sort with a comparator"),
            ("format_datetime(now(), 'yyyy QQ')", "the format 'QQ'"),
            ("regexp_replace('a', 'a', x -> 'b')", "regexp_replace with a lambda"),
        ],
    )
    def test_unsupported_arguments_are_named(self, expression, what):
        with pytest.raises(QueryFailed, match="NOT_SUPPORTED") as caught:
            translate(f"SELECT {expression}")
        assert what in caught.value.message

    def test_every_macro_is_defined_for_a_supported_name_or_used_internally(self, engine):
        defined = {
            row[0].removeprefix(athena_functions.PREFIX)
            for row in engine.execute("SELECT function_name FROM duckdb_functions() WHERE NOT internal").fetchall()
        }
        assert defined == {macro.partition("(")[0] for macro in athena_functions.MACROS}


class TestDefinitions:
    def test_a_table_with_everything(self):
        sql = r"""CREATE EXTERNAL TABLE IF NOT EXISTS `Shop`.`Sales` ( -- the sales
            id int COMMENT 'it''s a key', `date` string,
            nested struct<a:int,b:array<struct<c:decimal(10, 2)>>>, m map<string,int>)
            COMMENT 'all of them' PARTITIONED BY (day date, `hour` tinyint)
            ROW FORMAT DELIMITED FIELDS TERMINATED BY '\t' ESCAPED BY '\\' LINES TERMINATED BY '\n' NULL DEFINED AS ''
            STORED AS TEXTFILE LOCATION 's3://lake/sales/' TBLPROPERTIES ('skip.header.line.count' = '1')"""
        table = athena_ddl.parse(sql, "default")
        assert isinstance(table, athena_ddl.CreateTable)
        assert table.name == Name("shop", "sales")
        assert table.if_not_exists
        assert [(column["Name"], column["Type"]) for column in table.columns] == [
            *(("id", "int"), ("date", "string"), ("nested", "struct<a:int,b:array<struct<c:decimal(10,2)>>>")),
            ("m", "map<string,int>"),
        ]
        assert table.columns[0]["Comment"] == "it's a key"
        assert [key["Name"] for key in table.partition_keys] == ["day", "hour"]
        assert table.serde_properties == {
            "field.delim": "\t",
            "escape.delim": "\\",
            "line.delim": "\n",
            "serialization.null.format": "",
        }
        assert table.properties == {"skip.header.line.count": "1"}

    @pytest.mark.parametrize(
        ("sql", "definition"),
        [
            ("DROP DATABASE IF EXISTS a CASCADE", athena_ddl.DropDatabase("a", True, True)),
            ("DROP TABLE awsdatacatalog.a.b", athena_ddl.Drop("TABLE", Name("a", "b"), False)),
            (
                "ALTER TABLE t ADD IF NOT EXISTS PARTITION (d='x', h=1) LOCATION 's3://b/x' PARTITION (d='y', h=-2)",
                athena_ddl.AddPartitions(
                    Name("shop", "t"), True, [({"d": "x", "h": "1"}, "s3://b/x"), ({"d": "y", "h": "-2"}, None)]
                ),
            ),
            (
                "ALTER TABLE t DROP PARTITION (d = 'x'), PARTITION (d = 'y')",
                athena_ddl.DropPartitions(Name("shop", "t"), False, [{"d": "x"}, {"d": "y"}]),
            ),
            (
                "ALTER TABLE a.t PARTITION (d = 'x') SET LOCATION 's3://b/x'",
                athena_ddl.SetLocation(Name("a", "t"), {"d": "x"}, "s3://b/x"),
            ),
            ("SHOW TABLES IN a 'x*'", athena_ddl.Show("TABLES", database="a", pattern="x*")),
            ("SHOW COLUMNS FROM t IN a", athena_ddl.Show("COLUMNS", Name("a", "t"))),
            ("desc t", athena_ddl.Describe(Name("shop", "t"))),
        ],
    )
    def test_definitions(self, sql, definition):
        assert athena_ddl.parse(sql, "shop") == definition

    @pytest.mark.parametrize(
        ("sql", "reason"),
        [
            ("DROP TABLE", "SYNTAX_ERROR: line 1:11: mismatched input '<EOF>'. Expecting: an identifier"),
            ("DROP VIEW v\n now", "SYNTAX_ERROR: line 2:2: mismatched input 'now'"),
            ("CREATE EXTERNAL TABLE t (a int b) LOCATION 's3://b/'", "SYNTAX_ERROR: line 1:32: mismatched input 'b'"),
            ("CREATE EXTERNAL TABLE t (a int)", "SYNTAX_ERROR: line 1:1: CREATE EXTERNAL TABLE needs a LOCATION"),
            ("CREATE EXTERNAL TABLE t (a int, A string) LOCATION 's3://b/'", "DUPLICATE_COLUMN_NAME: Column 'a'"),
            ("CREATE EXTERNAL TABLE t (a int) CLUSTERED BY (a) INTO 3 BUCKETS LOCATION 's3://b/'", "NOT_SUPPORTED"),
            ("DESCRIBE FORMATTED t", "NOT_SUPPORTED: DESCRIBE FORMATTED"),
        ],
    )
    def test_errors_have_a_place(self, sql, reason):
        with pytest.raises(QueryFailed) as caught:
            athena_ddl.parse(sql, "shop")
        assert str(caught.value).startswith(reason)
