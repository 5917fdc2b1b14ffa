"""The geo tables as the jobs read and write them: columns, keys, and one sorted file of each for each month."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import narwhals as nw
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from include.jobs import lake
from include.jobs.engine import Engine
from include.tables import versions
from include.transforms import months

MONTH = "month="
"""What a month's folder begins with."""

_TEXT, _WHOLE, _NUMBER, _TIME = pa.string(), pa.int64(), pa.float64(), pa.timestamp("us")

ESTABLISHMENTS = pa.schema(
    [
        ("establishment_id", _TEXT),
        ("name", _TEXT),
        ("category", _TEXT),
        ("latitude", _NUMBER),
        ("longitude", _NUMBER),
    ]
)
CAMPAIGNS = pa.schema([("ad_id", _TEXT), ("campaign_id", _TEXT), ("establishment_id", _TEXT), ("category", _TEXT)])
LOCATIONS = pa.schema([("user_id", _TEXT), ("latitude", _NUMBER), ("longitude", _NUMBER), ("moment", _TIME)])
INTERACTIONS = pa.schema(
    [
        ("user_id", _TEXT),
        ("campaign_id", _TEXT),
        ("ad_id", _TEXT),
        ("establishment_id", _TEXT),
        ("category", _TEXT),
        ("action", _TEXT),
        ("moment", _TIME),
    ]
)
VISITS = pa.schema(
    [
        ("user_id", _TEXT),
        ("establishment_id", _TEXT),
        ("category", _TEXT),
        ("moment", _TIME),
        ("distance_m", _NUMBER),
    ]
)
ACTIVE_DAYS = pa.schema([("user_id", _TEXT), ("day", _TIME)])


class Published(NamedTuple):
    """A table of cells that have people.

    Attributes:
        key: Columns that a cell of a month is known by.
        figures: Columns that say something of the people in it, beside their number.
    """

    key: tuple[str, ...]
    figures: Mapping[str, pa.DataType]

    @property
    def schema(self) -> pa.Schema:
        """All columns."""
        key = [(name, _WHOLE if name == "hour" else _TEXT) for name in self.key]
        return pa.schema(
            [*key, *self.figures.items(), ("people", _WHOLE), ("suppressed", pa.bool_()), ("month", _TEXT)]
        )


def _figures(whole: str, numbers: str = "") -> dict[str, pa.DataType]:
    return {**dict.fromkeys(whole.split(), _WHOLE), **dict.fromkeys(numbers.split(), _NUMBER)}


PUBLISHED = {
    "campaign_ctr": Published(
        ("campaign_id", "establishment_id", "category"), _figures("views clicks rank", "ctr low high")
    ),
    "establishment_visits": Published(("establishment_id", "category"), _figures("visits stays")),
    "attribution": Published(
        ("establishment_id", "category"), _figures("visits click_through view_through attributed", "share")
    ),
    "visit_lift": Published(
        ("establishment_id",),
        _figures(
            "exposed exposed_visited unexposed unexposed_visited",
            "exposed_rate unexposed_rate lift low high relative_lift",
        ),
    ),
    "category_hours": Published(("category", "hour"), _figures("interactions views clicks")),
}


def with_month(rows: nw.LazyFrame, zone: str, at: str = "moment") -> nw.LazyFrame:
    """The rows with their local month, as 2026-07.

    Args:
        rows: Have a timestamp in UTC.
        zone: IANA name of the time zone.
        at: The timestamp's column.
    """
    return months.named(rows.with_columns(months.local_month(nw.col(at), zone).alias("month")))


def folders(s3: Any, location: str) -> list[str]:
    """The months that a version has files of."""
    prefix = versions.split(location)[1]
    names = {file.key.removeprefix(prefix).partition("/")[0] for file in versions.files(s3, location)}
    return sorted(name.removeprefix(MONTH) for name in names if name.startswith(MONTH))


def counted(on: Engine, s3: Any, location: str, *sums: str) -> dict[str, dict[str, int]]:
    """What a version has of each month: its number of rows, as `rows`, and sums of columns of whole numbers."""
    written = folders(s3, location)
    if not written:
        return {}
    schema = pa.schema([("month", _TEXT), *((name, _WHOLE) for name in sums)])
    rows = on.read([f"{location}{MONTH}{month}/" for month in written], schema)
    figures = [nw.len().alias("rows"), *(nw.col(name).sum() for name in sums)]
    found = rows.group_by("month").agg(*figures).collect("pyarrow").to_native().to_pylist()
    return {
        row["month"]: {name: int(row[name]) for name in ("rows", *sums)}
        for row in sorted(found, key=lambda row: row["month"])
    }


def write_published(s3: Any, frame: nw.LazyFrame, table: Published, location: str) -> dict[str, int]:
    """Writes a table of cells from this process: there are few of them, and so all engines write the same.

    Args:
        s3: A client.
        frame: The table's rows, of all months.
        table: The table.
        location: Of the version.

    Returns:
        Month → rows.
    """
    rows = frame.select(*table.schema.names).collect("pyarrow").to_native()
    rows = pa.table([_cast(rows[field.name], field.type) for field in table.schema], schema=table.schema)
    counts = {}
    for month in sorted(rows["month"].unique().to_pylist()):
        cells = rows.filter(pc.equal(rows["month"], month)).sort_by([(name, "ascending") for name in table.key])
        with TemporaryDirectory() as scratch:
            file = Path(scratch, "cells")
            pq.write_table(cells.combine_chunks(), file, compression="zstd")
            lake.upload(s3, file, f"{location}{MONTH}{month}/00000.parquet")
        counts[month] = cells.num_rows
    return counts


def _cast(column: pa.ChunkedArray, dtype: pa.DataType) -> pa.ChunkedArray:
    """A column in the type of the lake; the NaN by which pandas says that something is missing is null."""
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
    return column.cast(dtype)


def of_months(locations: Mapping[str, Sequence[str]]) -> list[str]:
    """All locations of all months, in order."""
    return [location for month in sorted(locations) for location in locations[month]]
