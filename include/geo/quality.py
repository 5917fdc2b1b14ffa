"""Whether rows add up from the landing zone to the analyses, as rows of the table `quality`."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from include.geo.landing import UNKNOWN
from include.geo.tables import ANCHOR, VISITS
from include.lakehouse.quality import Measured

COUNTS = ("rows_in", "rows", "refused", "rejected", "duplicates")


def bronze(report: Mapping[str, Any] | None) -> Iterator[Measured]:
    """A row for each table: whether every row that came in was kept, refused, rejected, or a copy."""
    deliveries = [built for built in (report or {}).get("deliveries", []) if built["table"] != UNKNOWN]
    for table in sorted({built["table"] for built in deliveries}):
        of_table = [built for built in deliveries if built["table"] == table]
        taken, kept, refused, rejected, copies = (sum(built[count] for built in of_table) for count in COUNTS)
        said = [f"{refused} rows without consent were dropped"] if refused else []
        said += [f"{copies} rows were delivered again"] if copies else []
        complete = taken == kept + refused + rejected + copies
        yield Measured("bronze", table, taken, kept, rejected, None, complete, "; ".join(said) or None)


def visits(report: Mapping[str, Any] | None, expected: int, warnings: Mapping[str, str]) -> Iterator[Measured]:
    """A row for each table of visits: whether the job has read all records of its months.

    Args:
        report: of the job; None where it did not run.
        expected: rows that bronze has of these months.
        warnings: table → what its audit warned of.
    """
    for name in VISITS if report else ():
        taken = report["rows_in"] if name == ANCHOR and report else None
        complete = taken is None or taken == expected
        rows = report["tables"][name]["rows_out"] if report else 0
        yield Measured("silver", name, taken, rows, 0, None, complete, warnings.get(name))


def analyses(reports: Iterable[Mapping[str, Any]], warnings: Mapping[str, str]) -> Iterator[Measured]:
    """A row for each table of the analyses; their contracts compare them."""
    for report in reports:
        for name, made in report["tables"].items():
            yield Measured(made["layer"], name, None, made["rows_out"], 0, None, True, warnings.get(name))
