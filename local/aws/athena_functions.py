"""Trino's functions on DuckDB: where both differ, DuckDB macros that behave like Trino.

Macros are overloaded by type, so DuckDB picks the right meaning when it knows the types of the operands.
"""

import re
from collections.abc import Callable

from sqlglot import exp
from sqlglot.expressions.builders import apply_index_offset

from local.aws.athena_errors import QueryFailed, place, unsupported

PREFIX = "trino_"

# date ± interval stays a date, date_trunc keeps the type, functions give NULL where DuckDB gives '' or an error, and
# Joda's formats and URL functions are not in DuckDB. DuckDB chooses an overload before it knows the types of
# aggregates, so the first argument only shows the type (see `_typed`) and the others are not typed.
#
# DuckDB divides decimals, and averages them, in floating point. Trino's result has the larger scale and is rounded half
# up, so both are computed with whole numbers and cast to the type of an expression that DuckDB types as Trino would:
# `cast_to_type` looks at the type of its second argument and never computes it. Factors of TINYINT leave all types but
# DECIMAL alone, which they give 18 digits (DECIMAL(38, s) stays); a quotient that needs more is an error.
MACROS = (
    "scale_of(x) AS CAST('0' || regexp_extract(typeof(x), ',(\\d+)\\)', 1) AS INTEGER)",
    f"power_of(x) AS CAST('1' || repeat('0', {PREFIX}scale_of(x)) AS HUGEINT)",
    f"units_of(n, x) AS n * cast_to_type('1e-' || {PREFIX}scale_of(x), coalesce(x, CAST(1 AS HUGEINT)))",
    """half_up(n, d) AS CASE WHEN (n < 0) = (d < 0) THEN (2 * abs(n) + abs(d)) // (2 * abs(d))
           ELSE -((2 * abs(n) + abs(d)) // (2 * abs(d))) END""",
    f"""typed_quotient(a, b, x, shown) AS CASE WHEN typeof(x) LIKE 'DECIMAL%' THEN cast_to_type({PREFIX}units_of(
           {PREFIX}half_up(CAST(CASE WHEN typeof(x) LIKE 'DECIMAL%' THEN a END * {PREFIX}power_of(x) AS HUGEINT)
           * {PREFIX}power_of(x), CAST(b * {PREFIX}power_of(x) AS HUGEINT)), x), shown)
           ELSE cast_to_type(a / b, shown) END""",
    f"""quotient(a, b) AS {PREFIX}typed_quotient(a, b, coalesce(a, b), coalesce(a, b)
           * CAST(1 AS TINYINT) * CAST(1 AS TINYINT) * CAST(1 AS TINYINT) * CAST(1 AS TINYINT) * CAST(1 AS TINYINT)
           * CAST(1 AS TINYINT))""",
    f"""average(mean, total, n, highest) AS CASE WHEN typeof(highest) LIKE 'DECIMAL%' THEN cast_to_type(
           {PREFIX}units_of({PREFIX}half_up(CAST(total * {PREFIX}power_of(total) AS HUGEINT), nullif(n, 0)), total),
           highest) ELSE cast_to_type(mean, list_median([highest])) END""",
    "substring_of(s, i) AS CASE WHEN i > 0 OR -i BETWEEN 1 AND length(s) THEN substr(s, i) ELSE left(s, i * 0) END",
    """item_of(a, i) AS CASE WHEN typeof(a) NOT LIKE '%[]' THEN a[i]
           WHEN TRY_CAST(i AS BIGINT) > cardinality(a) THEN
           error('Array subscript must be less than or equal to array length: ' || i || ' > ' || cardinality(a))
           WHEN TRY_CAST(i AS BIGINT) = 0 THEN error('SQL array indices start at 1')
           WHEN TRY_CAST(i AS BIGINT) < 0 THEN error('Array subscript is negative: ' || i) ELSE a[i] END""",
    """substring_for(s, i, n) AS CASE WHEN n > 0 AND (i > 0 OR -i BETWEEN 1 AND length(s)) THEN substr(s, i, n)
           ELSE left(s, i * n * 0) END""",
    """add_interval(t DATE, a, i) AS CAST(a + i AS DATE),
       (t TIMESTAMP, a, i) AS a + i,
       (t TIMESTAMPTZ, a, i) AS a + i""",
    """truncate_date(t DATE, unit, a) AS CAST(date_trunc(unit, a) AS DATE),
       (t TIMESTAMP, unit, a) AS date_trunc(unit, a),
       (t TIMESTAMPTZ, unit, a) AS date_trunc(unit, a)""",
    """in_zone(t TIMESTAMPTZ, a, zone) AS a AT TIME ZONE zone,
       (t TIMESTAMP, a, zone) AS CAST(a AS TIMESTAMPTZ) AT TIME ZONE zone""",
    """iso8601(t DATE, a) AS strftime(a, '%Y-%m-%d'),
       (t TIMESTAMP, a) AS strftime(a, '%Y-%m-%dT%H:%M:%S.%g'),
       (t TIMESTAMPTZ, a) AS strftime(a, '%Y-%m-%dT%H:%M:%S.%gZ')""",
    """sequence_of(t BIGINT, a, b) AS generate_series(a, b, CASE WHEN a <= b THEN 1 ELSE -1 END),
       (t BIGINT, a, b, step) AS generate_series(a, b, step),
       (t DATE, a, b) AS list_transform(generate_series(a, b, INTERVAL 1 DAY), lambda x: CAST(x AS DATE)),
       (t DATE, a, b, step) AS list_transform(generate_series(a, b, step), lambda x: CAST(x AS DATE)),
       (t TIMESTAMP, a, b, step) AS generate_series(a, b, step)""",
    "extract_regexp(s, p, g) AS CASE WHEN regexp_matches(s, p) THEN regexp_extract(s, p, g) END",
    """extract_json_scalar(j, p) AS
           CASE WHEN json_valid(j) AND json_type(j, p) NOT IN ('OBJECT', 'ARRAY') THEN j ->> p END""",
    "extract_json(j, p) AS CASE WHEN json_valid(j) THEN json_extract(j, p) END",
    "part_of_split(s, d, n) AS CASE WHEN n <= len(string_split(s, d)) THEN split_part(s, d, n) END",
    "slice_of(a, start, n) AS CASE WHEN start > 0 THEN a[start:start + n - 1] ELSE a[start:][1:n] END",
    "position_of(a, x) AS coalesce(list_position(a, x), 0)",
    "sort_of(a) AS list_sort(a, 'ASC', 'NULLS LAST')",
    "random_below(n) AS CAST(floor(random() * n) AS BIGINT)",
    """great_circle_distance(lat1, lon1, lat2, lon2) AS 6371.01 * 2 * asin(sqrt(
           pow(sin(radians(lat2 - lat1) / 2), 2)
           + cos(radians(lat1)) * cos(radians(lat2)) * pow(sin(radians(lon2 - lon1) / 2), 2)))""",
    "map_agg(k, v) AS map_from_entries(list((k, v)))",
    "infinity() AS CAST('inf' AS DOUBLE)",
    "nan() AS CAST('nan' AS DOUBLE)",
    "e() AS exp(1)",
    "yow(d) AS isoyear(d)",
    "millisecond(t) AS date_part('millisecond', t) % 1000",
    "is_finite(x) AS isfinite(x)",
    "is_infinite(x) AS isinf(x)",
    "codepoint(s) AS unicode(s)",
    "arrays_overlap(a, b) AS list_has_any(a, b)",
    "array_union(a, b) AS list_distinct(list_concat(a, b))",
    "zip(a, b) AS list_zip(a, b)",
    "url_extract_protocol(u) AS nullif(regexp_extract(u, '^([a-zA-Z][a-zA-Z0-9+.-]*):', 1), '')",
    "url_extract_host(u) AS nullif(regexp_extract(u, '^[a-zA-Z][a-zA-Z0-9+.-]*://(?:[^/?#@]*@)?([^/?#:]*)', 1), '')",
    "url_extract_path(u) AS regexp_extract(u, '^(?:[a-zA-Z][a-zA-Z0-9+.-]*:)?(?://[^/?#]*)?([^?#]*)', 1)",
    "url_extract_query(u) AS regexp_extract(u, '^[^?#]*\\?([^#]*)', 1)",
    """url_extract_parameter(u, name) AS nullif(url_decode(regexp_extract(
           u, '^[^?#]*\\?(?:[^#]*&)?' || regexp_escape(name) || '=([^&#]*)', 1)), '')""",
)

_SAME = """
abs acos all_match any_match approx_distinct approx_percentile arbitrary array_agg array_distinct array_except
array_intersect array_join array_max array_min array_position array_remove array_sort asin at_timezone atan atan2 avg
bitwise_and bitwise_or bitwise_xor bool_and bool_or cardinality cast cbrt ceil ceiling char char_length chr coalesce
concat concat_ws contains corr cos cosh count count_if covar_pop covar_samp cume_dist current_date date date_add
date_diff date_format date_parse date_trunc day day_of_month day_of_week day_of_year decimal degrees dense_rank dow
doy element_at every exists exp extract filter first_value flatten floor format format_datetime from_hex
from_iso8601_date from_iso8601_timestamp from_unixtime from_utf8 geometric_mean greatest histogram hour if is_nan
json_array_length json_extract json_extract_scalar json_format json_parse kurtosis lag last_day_of_month last_value
lead least length levenshtein_distance listagg ln localtimestamp log log10 log2 lower lpad ltrim map map_entries
map_from_entries map_keys map_values max max_by md5 min min_by minute mod month none_match now nth_value ntile nullif
parse_datetime percent_rank pi position pow power quarter radians rand random rank reduce regexp_extract
regexp_extract_all regexp_like regexp_replace regexp_split regr_intercept regr_slope repeat replace reverse round row
row_number rpad rtrim second sequence sha1 sha256 sign sin sinh skewness slice split split_part sqrt starts_with
stddev stddev_pop stddev_samp strpos substr substring sum tan tanh time timestamp to_hex to_iso8601 to_unixtime
to_utf8 transform translate trim truncate try try_cast typeof unnest upper url_decode url_encode uuid var_pop var_samp
varchar variance week week_of_year year year_of_week
""".split()  # noqa: SIM905 (a word list is what one can read)

_INTERNAL = {
    *("add_interval", "truncate_date", "in_zone", "iso8601", "sequence_of", "extract_regexp"),
    *("scale_of", "power_of", "units_of", "half_up", "typed_quotient", "quotient", "average"),
    *("substring_of", "substring_for", "item_of"),
    *("extract_json_scalar", "extract_json", "part_of_split", "slice_of", "position_of", "sort_of", "random_below"),
}
SUPPORTED = frozenset(_SAME) | ({macro.partition("(")[0] for macro in MACROS} - _INTERNAL)
"""The Trino functions that a query may call; anything else fails rather than mean something else."""


def macro_statements() -> list[str]:
    """The SQL that defines the macros, each named with :data:`PREFIX`."""
    return [f"CREATE MACRO {PREFIX}{macro}" for macro in MACROS]


def call(name: str, *arguments: exp.Expr) -> exp.Expr:
    """A call of a macro."""
    return exp.Anonymous(this=PREFIX + name, expressions=[argument.copy() for argument in arguments])


def _typed(name: str, shows_type: exp.Expr, *arguments: exp.Expr) -> exp.Expr:
    """A call of a macro that is overloaded by the type of one of its arguments."""
    shown: exp.Expr = exp.Paren(this=shows_type.copy())
    while (node := next(filter(_keeps_type, shown.walk()), None)) is not None:
        node.replace((node.expressions[0] if isinstance(node, exp.Anonymous) else node.this).copy())
    if shown.find(exp.Select):
        # The type of a subquery isn't known either; a date becomes the timestamp of its midnight.
        shown = exp.cast(exp.null(), "TIMESTAMP")
    return call(name, shown, *arguments)


def _keeps_type(node: exp.Expr) -> bool:
    """Whether DuckDB doesn't know the type of a node in time, but would know that of its first argument."""
    if isinstance(node, exp.Anonymous):
        return node.name in (PREFIX + "add_interval", PREFIX + "truncate_date")
    return isinstance(node, exp.AggFunc | exp.Window | exp.Filter) and isinstance(node.this, exp.Expr)


def translate(tree: exp.Expr) -> exp.Expr:
    """Replace Trino's functions and operators by what means the same on DuckDB.

    Args:
        tree: A query as sqlglot reads it from Athena's dialect.

    Returns:
        The tree, changed in place.

    Raises:
        QueryFailed: Arguments that cannot be translated.
    """
    for node in list(tree.walk(bfs=False))[::-1]:  # the innermost first
        rewrite = _REWRITES.get(type(node))
        new = rewrite(node) if rewrite else None
        if new is not None and new is not node:
            if node is tree:
                tree = new
            else:
                node.replace(new)
    for average in list(tree.find_all(exp.Avg)):
        if not isinstance(average.this, exp.Interval):
            tree = _average(tree, average)
    return tree


# ---------------------------------------------------------------------------------------------------------- rewrites


def _quotient(node: exp.Div) -> exp.Expr | None:
    # TRY catches no error of a CASE between constants; two whole numbers need none.
    operands = (node.this, node.expression)
    if any(isinstance(side, exp.Interval) for side in operands) or all(side.is_int for side in operands):
        return None
    return call("quotient", *operands)


def _average(tree: exp.Expr, average: exp.Avg) -> exp.Expr:
    """Replace one average, with the FILTER and OVER that belong to it, by a call of the macro."""
    whole: exp.Expr = average
    while isinstance(whole.parent, exp.Filter | exp.Window) and whole.arg_key == "this":
        whole = whole.parent

    def variant(function: type[exp.AggFunc]) -> exp.Expr:
        copied = whole.copy()
        inner = next(copied.find_all(exp.Avg, bfs=True))
        new = function(this=inner.this.copy())
        if inner is copied:
            return new
        inner.replace(new)
        return copied

    new = call("average", whole, variant(exp.Sum), variant(exp.Count), variant(exp.Max))
    if whole is tree:
        return new
    whole.replace(new)
    return tree


def _item(node: exp.Bracket) -> exp.Expr | None:
    if node.args.get("safe") or len(node.expressions) != 1:
        return None
    offset = 1 - (node.args.get("offset") or 0)
    (index,) = apply_index_offset(node.this, [node.expressions[0].copy()], offset, dialect="duckdb")
    return call("item_of", node.this, index)


def _substring(node: exp.Substring) -> exp.Expr:
    start, length = node.args["start"], node.args.get("length")
    return call("substring_for", node.this, start, length) if length else call("substring_of", node.this, start)


def _plus_or_minus(node: exp.Add | exp.Sub) -> exp.Expr | None:
    left, right = node.this, node.expression
    if isinstance(node, exp.Add) and isinstance(left, exp.Interval):
        left, right = right, left
    if not isinstance(right, exp.Interval) or isinstance(left, exp.Interval):
        return None
    amount = exp.Neg(this=exp.Paren(this=right.copy())) if isinstance(node, exp.Sub) else right
    return _typed("add_interval", left, left, amount)


_UNITS = {unit: f"to_{unit}s" for unit in ("second", "minute", "hour", "day", "week", "month", "quarter", "year")}
_UNITS["millisecond"] = "to_milliseconds"


def _unit(node: exp.Expr, known: set[str]) -> str:
    unit = node.text("unit").lower() or (node.args["unit"].name.lower() if node.args.get("unit") else "")
    if unit not in known:
        raise QueryFailed("INVALID_FUNCTION_ARGUMENT", f"{place(node)}'{unit}' is not a valid field")
    return unit


def _date_add(node: exp.DateAdd) -> exp.Expr:
    function = _UNITS[_unit(node, set(_UNITS))]
    kind = "BIGINT" if function not in ("to_months", "to_quarters", "to_years", "to_days", "to_weeks") else "INTEGER"
    amount = exp.Anonymous(this=function, expressions=[exp.cast(node.expression.copy(), kind)])
    return _typed("add_interval", node.this, node.this, amount)


def _date_diff(node: exp.DateDiff) -> exp.Expr:
    unit = _unit(node, set(_UNITS))
    return exp.Anonymous(
        this="date_sub", expressions=[exp.Literal.string(unit), node.expression.copy(), node.this.copy()]
    )


def _date_trunc(node: exp.Expr) -> exp.Expr:
    unit = exp.Literal.string(_unit(node, set(_UNITS)))
    return _typed("truncate_date", node.this, unit, node.this)


def _regexp_extract(node: exp.RegexpExtract) -> exp.Expr:
    return call("extract_regexp", node.this, node.expression, node.args.get("group") or exp.Literal.number(0))


def _regexp_replace(node: exp.RegexpReplace) -> exp.Expr:
    replacement = node.args.get("replacement") or exp.Literal.string("")
    if isinstance(replacement, exp.Lambda):
        raise unsupported("regexp_replace with a lambda")
    if isinstance(replacement, exp.Literal):
        replacement = exp.Literal.string(re.sub(r"\$(\d)", r"\\\1", replacement.this))
    arguments = [node.this.copy(), node.expression.copy(), replacement.copy(), exp.Literal.string("g")]
    return exp.Anonymous(this="regexp_replace", expressions=arguments)


def _max_by(node: exp.Expr) -> exp.Expr | None:
    if node.args.get("count"):
        return None
    name = "arg_max_null" if isinstance(node, exp.ArgMax) else "arg_min_null"
    return exp.Anonymous(this=name, expressions=[node.this.copy(), node.expression.copy()])


def _path(node: exp.Expr) -> exp.Expr:
    path = node.expression
    return exp.Literal.string(path.sql("trino").strip("'")) if isinstance(path, exp.JSONPath) else path


def _json_extract_scalar(node: exp.JSONExtractScalar) -> exp.Expr:
    return call("extract_json_scalar", node.this, _path(node))


def _json_extract(node: exp.JSONExtract) -> exp.Expr:
    return call("extract_json", node.this, _path(node))


def _cast(node: exp.Cast | exp.TryCast) -> exp.Expr | None:
    kind = node.to
    if kind.this is exp.DataType.Type.DECIMAL and not kind.expressions:
        kind.set("expressions", [exp.DataTypeParam(this=exp.Literal.number(n)) for n in _precision(node.this)])
    elif kind.this in (exp.DataType.Type.TIMESTAMP, exp.DataType.Type.TIMESTAMPTZ, exp.DataType.Type.TIME):
        kind.set("expressions", [])  # DuckDB would take the precision for another type
    elif kind.this in (exp.DataType.Type.VARCHAR, exp.DataType.Type.CHAR) and kind.expressions:
        length = kind.expressions[0].copy()
        kind.set("expressions", [])
        return exp.Left(this=node.copy(), expression=length)
    return None


def _precision(value: exp.Expr) -> tuple[int, int]:
    """What ``DECIMAL`` alone means: as many digits as a literal has, else 38 before the point."""
    if isinstance(value, exp.Literal) and value.is_string:
        whole, _, fraction = value.this.strip().lstrip("+-").partition(".")
        return max(len(whole) + len(fraction), 1), len(fraction)
    return 38, 0


def _sequence(node: exp.GenerateSeries) -> exp.Expr:
    arguments = [node.args["start"], node.args["end"], node.args.get("step")]
    return _typed("sequence_of", arguments[0], *(argument for argument in arguments if argument is not None))


def _rand(node: exp.Rand) -> exp.Expr | None:
    return call("random_below", node.this) if node.this is not None else None


def _format(node: exp.Format) -> exp.Expr:
    arguments = [node.this.copy(), *(argument.copy() for argument in node.expressions)]
    return exp.Anonymous(this="printf", expressions=arguments)


def _array_sort(node: exp.ArraySort) -> exp.Expr:
    if node.args.get("expression") is not None:
        raise unsupported("array_sort with a comparator")
    return call("sort_of", node.this)


def _reduce(node: exp.Reduce) -> exp.Expr | None:
    finish = node.args.get("finish")
    if finish is None:
        return None
    identity = isinstance(finish, exp.Lambda) and finish.this.name == finish.expressions[0].name
    if not identity or not isinstance(finish.this, exp.Column | exp.Identifier):
        raise unsupported("reduce with a finishing function other than s -> s")
    node.set("finish", None)
    return None


def _matches(name: str, node: exp.Anonymous) -> exp.Expr:
    array, condition = node.expressions
    found = exp.Anonymous(this="list_filter", expressions=[array.copy(), condition.copy()])
    count = exp.Anonymous(this="len", expressions=[found])
    if name == "all_match":
        return exp.Paren(this=exp.EQ(this=count, expression=exp.Anonymous(this="len", expressions=[array.copy()])))
    zero = exp.Literal.number(0)
    comparison = exp.GT if name == "any_match" else exp.EQ
    return exp.Paren(this=comparison(this=count, expression=zero))


# Joda's letters, by run length where it matters.
_JODA = {
    "yyyy": "%Y", "yy": "%y", "y": "%Y", "YYYY": "%Y", "MM": "%m", "M": "%-m", "MMM": "%b", "MMMM": "%B",
    "dd": "%d", "d": "%-d", "HH": "%H", "H": "%-H", "hh": "%I", "h": "%-I", "mm": "%M", "m": "%-M", "ss": "%S",
    "s": "%-S", "SSS": "%g", "SSSSSS": "%f", "a": "%p", "E": "%a", "EEE": "%a", "EEEE": "%A", "DDD": "%j",
}  # fmt: skip


def _joda(node: exp.Expr | None, function: str) -> exp.Expr:
    if not isinstance(node, exp.Literal):
        raise unsupported(f"{function} with a format that is not a literal")
    translated = []
    for piece in re.finditer(r"'(?P<quoted>[^']*)'|(?P<letters>([a-zA-Z])\3*)|(?P<other>[^a-zA-Z'])", node.this):
        letters = piece["letters"]
        if letters and letters not in _JODA:
            raise unsupported(f"the format '{letters}' of {function}")
        text = piece["quoted"] if piece["quoted"] is not None else piece["other"]
        translated.append(_JODA[letters] if letters else text.replace("%", "%%"))
    return exp.Literal.string("".join(translated))


def _parse_datetime(node: exp.Expr) -> exp.Expr:
    parsed = exp.Anonymous(
        this="strptime", expressions=[node.this.copy(), _joda(node.args.get("format"), "parse_datetime")]
    )
    return exp.cast(parsed, "TIMESTAMPTZ")


def _anonymous(node: exp.Anonymous) -> exp.Expr | None:
    name, arguments = node.name.lower(), node.expressions
    if name in ("any_match", "all_match", "none_match") and len(arguments) == 2:
        return _matches(name, node)
    if name == "format_datetime" and len(arguments) == 2:
        return exp.Anonymous(this="strftime", expressions=[arguments[0].copy(), _joda(arguments[1], name)])
    if name in ("at_timezone", "to_iso8601"):
        return _typed({"at_timezone": "in_zone", "to_iso8601": "iso8601"}[name], arguments[0], *arguments)
    if name in _DUCKDB_NAMES:
        return exp.Anonymous(this=_DUCKDB_NAMES[name], expressions=[argument.copy() for argument in arguments])
    if name in SUPPORTED and name not in _SAME:
        return call(name, *arguments)
    return None


_DUCKDB_NAMES = {"geometric_mean": "geomean", "every": "bool_and", "cbrt": "cbrt"}

_REWRITES: dict[type[exp.Expr], Callable] = {
    exp.Add: _plus_or_minus,
    exp.Sub: _plus_or_minus,
    exp.Div: _quotient,
    exp.Bracket: _item,
    exp.Substring: _substring,
    exp.DateAdd: _date_add,
    exp.DateDiff: _date_diff,
    exp.DateTrunc: _date_trunc,
    exp.TimestampTrunc: _date_trunc,
    exp.RegexpExtract: _regexp_extract,
    exp.RegexpReplace: _regexp_replace,
    exp.ArgMax: _max_by,
    exp.ArgMin: _max_by,
    exp.JSONExtractScalar: _json_extract_scalar,
    exp.JSONExtract: _json_extract,
    exp.Cast: _cast,
    exp.TryCast: _cast,
    exp.Reduce: _reduce,
    exp.ParseDatetime: _parse_datetime,
    exp.SplitPart: lambda node: call("part_of_split", node.this, node.args["delimiter"], node.args["part_index"]),
    exp.ArraySlice: lambda node: call("slice_of", node.this, node.args["start"], node.args["end"]),
    exp.ArraySize: lambda node: exp.cast(exp.Anonymous(this="cardinality", expressions=[node.this.copy()]), "BIGINT"),
    exp.ArraySort: _array_sort,
    exp.ArrayPosition: lambda node: call("position_of", node.this, node.expression),
    exp.GenerateSeries: _sequence,
    exp.Rand: _rand,
    exp.Format: _format,
    exp.AtTimeZone: lambda node: _typed("in_zone", node.this, node.this, node.args["zone"]),
    exp.Anonymous: _anonymous,
}
