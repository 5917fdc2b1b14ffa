from datetime import date

import pytest

from include.streams_lake import web_report
from include.streams_lake.web_report import ErrorRateError

DAY = {"dt": "2026-03-01", "requests": "1100", "clients": "7", "bytes": "2500000", "client_errors": "11"}
HOUR = {"dt": "2026-03-01", "bytes": "1", "client_errors": "0"}
HOURS = [
    {**HOUR, "hour": "09", "requests": "1000", "server_errors": "50"},
    {**HOUR, "hour": "10", "requests": "100", "server_errors": "6"},
]
PATH = {"dt": "2026-03-01", "place": "1", "path": "/<script>", "requests": "9", "errors": "0", "bytes": "0"}
WANTED = ["2026-03-01T09", "2026-03-01T10"]


def test_the_page_of_a_day():
    pages = web_report.pages([[{**DAY, "server_errors": "56"}], [*HOURS, {**HOURS[0], "dt": "2026-03-02"}], [PATH]])
    assert list(pages) == ["2026-03-01"]
    page = pages["2026-03-01"]
    assert "<b>1,100</b>requests" in page
    assert "<b>2.5 MB</b>sent" in page
    assert '<b class="bad">5.09%</b>' in page
    assert page.count('<td class="bar">') == 2
    assert "/&lt;script&gt;" in page
    assert "/<script>" not in page


def test_hours_with_too_many_errors_are_named():
    with pytest.raises(ErrorRateError, match=r"more than 5.00%: 2026-03-01T10: 6 of 100 .*page_requests"):
        web_report.judge(HOURS, WANTED, 0.05, 100)


@pytest.mark.parametrize(("wanted", "bound", "least"), [(WANTED[:1], 0.05, 1), (WANTED, 0.06, 1), (WANTED, 0.05, 101)])
def test_what_is_within_bounds_too_small_or_not_asked_for_passes(wanted, bound, least):
    assert len(web_report.judge(HOURS, wanted, bound, least)) == len(wanted)


def test_a_query_for_each_part():
    days, hours, paths = web_report.queries([date(2026, 3, 1), date(2026, 3, 2)])
    for query in (days, hours, paths):
        assert "dt IN (DATE '2026-03-01', DATE '2026-03-02')" in query
