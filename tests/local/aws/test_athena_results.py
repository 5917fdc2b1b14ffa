import math

import numpy as np
import pytest

from local.aws.athena_results import ResultColumn, ResultFile, double, real


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.0"),
        (-0.0, "-0.0"),
        (1.0, "1.0"),
        (0.001, "0.001"),
        (0.00099, "9.9E-4"),
        (9999999.0, "9999999.0"),
        (1e7, "1.0E7"),
        (-1.25e-10, "-1.25E-10"),
        (1.7976931348623157e308, "1.7976931348623157E308"),
        (math.nan, "NaN"),
        (-math.inf, "-Infinity"),
    ],
)
def test_doubles_are_written_as_java_does(value, text):
    assert double(value) == text


@pytest.mark.parametrize(("value", "text"), [(0.1, "0.1"), (16777216.0, "1.6777216E7"), (3.0, "3.0"), (1e-5, "1.0E-5")])
def test_reals_show_no_more_digits_than_they_have(value, text):
    assert real(float(np.float32(value))) == text


def test_a_page_anywhere_is_what_was_written(tmp_path):
    nasty = ['"', "a,b", "line\nline", "", None, '",\n"', "é"]
    rows = [(str(n), nasty[n % len(nasty)], None) for n in range(3210)]
    result = ResultFile([ResultColumn(name, "VARCHAR") for name in ("n", "text", "nothing")])
    file = tmp_path / "result.csv"
    result.write(file, rows)
    assert (result.rows, result.total, result.size) == (3210, 3211, file.stat().st_size)
    everything = [["n", "text", "nothing"], *map(list, rows)]
    for start, count in [(0, 1), (0, 1000), (999, 3), (1000, 1000), (2500, 5000), (3210, 10), (3211, 10)]:
        assert result.page(file, start, count) == everything[start : start + count]
