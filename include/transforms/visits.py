"""Visits: location records near establishments, and the stays that consecutive ones of a person make."""

from dataclasses import dataclass
from math import cos, degrees, floor, pi, radians, sin

import narwhals as nw
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from include.transforms import months
from include.transforms.geography import EARTH_RADIUS_KM
from include.transforms.grouping import aggregated, summed
from include.transforms.local_time import minute_number

RADIUS_M = 50.0
GAP_MINUTES = 10
VISITS = ("user_id", "establishment_id", "category", "moment", "distance_m")
"""Columns of `visits`."""
STAYS = ("user_id", "establishment_id", "category", "begin", "end", "pings")
"""Columns of `stays`."""

_RADII = (1.0, 10_000.0)  # the smallest for the numbers of cells to fit, the largest for the series of the arc sine
_MARGIN = 1.0001
_FEWEST_COLUMNS = 300  # below, cells are so wide that the margin isn't enough for the curve of a parallel
_ROWS_APART = 2**31
_PLACE = ["user_id", "establishment_id"]


@dataclass(frozen=True)
class Grid:
    """The Earth in cells at least as high and wide as a radius, wherever there are establishments.

    What is within the radius is in the same cell or one of the eight around it. All rows have the same number of
    columns, so those nearer to the poles have narrower cells, and the last column touches the first. Where few columns
    would fit, near the poles, there is one.

    Attributes:
        radius_m: Metres.
        columns: Cells around the Earth.
    """

    radius_m: float
    columns: int

    @classmethod
    def over(cls, establishments: pa.Table, radius_m: float = RADIUS_M) -> "Grid":
        """The grid for establishments.

        Args:
            establishments: Has a column `latitude`, in degrees.
            radius_m: Metres.

        Raises:
            ValueError: the radius is less than a metre or more than 10 km.
        """
        if not _RADII[0] <= radius_m <= _RADII[1]:
            raise ValueError(f"radius_m is {radius_m}, it must be from {_RADII[0]:g} to {_RADII[1]:g}")
        height = _height(radius_m)
        to_the_pole = pc.max(pc.abs(establishments["latitude"])).as_py() or 0.0
        columns = floor(360 * cos(radians(min(to_the_pole + 2 * height, 90.0))) / height)
        return cls(radius_m, columns if columns >= _FEWEST_COLUMNS else 1)

    @property
    def height(self) -> float:
        """Of a cell, in degrees."""
        return _height(self.radius_m)

    def cells(self, establishments: pa.Table) -> pa.Table:
        """Each establishment in its cell and those around it, each of them once.

        Args:
            establishments: establishment_id, category, latitude, longitude.

        Returns:
            establishment_id, category, place_latitude, place_longitude, cell.
        """
        latitude, longitude = (establishments[name].to_numpy() for name in ("latitude", "longitude"))
        row = np.floor((latitude + 90) * (1 / self.height)).astype(np.int64)
        column = np.floor((longitude + 180) * self._per_degree).astype(np.int64)
        around = (-1, 0, 1) if self.columns > 1 else (0,)
        shifts = [(north, east) for north in (-1, 0, 1) for east in around]
        cells = [(row + north) * _ROWS_APART + (column + east) % self.columns for north, east in shifts]
        copies = np.tile(np.arange(len(establishments)), len(shifts))
        columns = ("establishment_id", "category", "latitude", "longitude")
        places = establishments.select(columns).take(copies)
        places = places.rename_columns(["establishment_id", "category", "place_latitude", "place_longitude"])
        return places.append_column("cell", pa.array(np.concatenate(cells)))

    def cell(self) -> nw.Expr:
        """The cell of a point: of the columns latitude and longitude, in degrees."""
        row = ((nw.col("latitude") + 90) * (1 / self.height)).floor().cast(nw.Int64)
        column = ((nw.col("longitude") + 180) * self._per_degree).floor().cast(nw.Int64)
        return row * _ROWS_APART + column

    @property
    def _per_degree(self) -> float:
        # A little less than the whole, for 180° to be in the last column.
        return self.columns * (1 - 1e-15) / 360


def _height(radius_m: float) -> float:
    return degrees(radius_m / 1000 / EARTH_RADIUS_KM) * _MARGIN


def visits(locations: nw.LazyFrame, cells: nw.LazyFrame, grid: Grid) -> nw.LazyFrame:
    """Every location record less than the radius from an establishment, once for each establishment it is near.

    Engines join on the number of the cell; distances of these pairs are exact, along the great circle by the haversine
    formula, on a sphere of the Earth's mean radius.

    Args:
        locations: user_id, latitude, longitude (degrees from -90 and -180 to 90 and 180), moment in UTC.
        cells: What `grid.cells` made of the establishments.
        grid: What they were made with; a record exactly its radius away is no visit.

    Returns:
        The columns of `VISITS`.
    """
    pings = locations.select("user_id", "latitude", "longitude", "moment", grid.cell().alias("cell"))
    pairs = pings.join(cells, on="cell", how="inner")
    north = ((nw.col("latitude") - nw.col("place_latitude")) * (pi / 360)).sin()
    east = ((nw.col("longitude") - nw.col("place_longitude")) * (pi / 360)).sin()
    shrunk = (nw.col("latitude") * (pi / 180)).cos() * (nw.col("place_latitude") * (pi / 180)).cos()
    pairs = pairs.with_columns((north * north + shrunk * east * east).alias("haversine"))
    near = pairs.filter(nw.col("haversine") < sin(grid.radius_m / 2000 / EARTH_RADIUS_KM) ** 2)
    # 2·asin √h, of which the second term of the series is the last that shows within 10 km.
    arc = nw.col("haversine").sqrt() * (nw.col("haversine") / 6 + 1)
    return near.with_columns((arc * (2000 * EARTH_RADIUS_KM)).alias("distance_m")).select(*VISITS)


def stays(visits: nw.LazyFrame, gap_minutes: int = GAP_MINUTES) -> nw.LazyFrame:
    """Visits of a person at an establishment that follow each other closely, as one stay.

    There are no ordered windows here, which Dask lacks: visits are first put together in buckets as long as the gap.
    Those of a bucket are of one stay, and a stay goes on from a bucket to the next one or ends.

    Args:
        visits: Rows of `visits`.
        gap_minutes: Visits so far apart, or less, are of one stay.

    Returns:
        The columns of `STAYS`: first and last moment of the stay in UTC, and the number of its visits.
    """
    bucket = (minute_number(nw.col("moment")) // gap_minutes).cast(nw.Int64)
    moment, time = nw.col("moment"), nw.Datetime("us")
    pieces = aggregated(
        visits.with_columns(bucket.alias("bucket")),
        [*_PLACE, "category", "bucket"],
        [moment.min().alias("first"), moment.max().alias("last"), nw.len().alias("pings")],
        {"first": time, "last": time, "pings": nw.Int64()},
    )
    before = pieces.select(*_PLACE, nw.col("bucket") + 1, nw.col("last").alias("before"))
    after = pieces.select(*_PLACE, nw.col("bucket") - 1, nw.col("first").alias("after"))
    linked = pieces.join(before, on=[*_PLACE, "bucket"], how="left").join(after, on=[*_PLACE, "bucket"], how="left")
    apart = {sign: nw.col(edge).dt.offset_by(f"{sign}{gap_minutes}m") for sign, edge in (("-", "first"), ("", "last"))}
    begins = linked.filter(nw.col("before").is_null() | (nw.col("before") < apart["-"]))
    ends = linked.filter(nw.col("after").is_null() | (nw.col("after") > apart[""]))
    spans = begins.select(*_PLACE, nw.col("first").alias("begin")).join(
        ends.select(*_PLACE, nw.col("last").alias("end")), on=_PLACE, how="inner"
    )
    spans = spans.filter(nw.col("end") >= nw.col("begin"))
    spans = aggregated(spans, [*_PLACE, "begin"], [nw.col("end").min()], {"end": time})
    within = pieces.join(spans, on=_PLACE, how="inner").filter(
        (nw.col("first") >= nw.col("begin")) & (nw.col("first") <= nw.col("end"))
    )
    return summed(within, [*_PLACE, "category", "begin", "end"], ["pings"]).select(*STAYS)


def visits_by_establishment(visits: nw.LazyFrame, stays: nw.LazyFrame, zone: str) -> nw.LazyFrame:
    """Visits and stays at each establishment by local month, and over the whole period.

    Args:
        visits: Rows of `visits`.
        stays: Rows of `stays`, of these visits; a stay is of the month in which it begins.
        zone: IANA name of the time zone that months are of.

    Returns:
        establishment_id, category, month ("YYYY-MM" or "all"), `visits`, `stays`, and `people`, distinct visitors.
    """
    kinds = {"visits": (visits, "moment"), "stays": (stays, "begin")}
    columns = ("establishment_id", "category", "user_id")
    rows = [
        frame.select(
            *columns,
            months.local_month(nw.col(time), zone).alias("month"),
            *(nw.lit(int(other == kind)).cast(nw.Int64).alias(other) for other in kinds),
        )
        for kind, (frame, time) in kinds.items()
    ]
    return months.sums(nw.concat(rows), columns[:2], list(kinds))
