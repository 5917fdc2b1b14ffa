"""What the geo transforms make of a generated city, on an engine."""

from dataclasses import dataclass, field

import narwhals as nw
import polars as pl
import pyarrow as pa

from include.transforms import attractiveness, attribution, ctr, privacy, profiles, visits
from local.data.city import TABLES, City
from tests.include.transforms.conftest import Engine

ZONE = "America/Fortaleza"


def arrow(rows: pl.DataFrame) -> pa.Table:
    return rows.to_arrow(compat_level=pl.CompatLevel.oldest())


def read(city: City, share: float = 1.0) -> dict[str, pl.DataFrame]:
    """The city's tables; of the location records and interactions, those of so many of the days at its beginning."""
    tables = {table: pl.read_parquet(city.file(table)) for table in TABLES}
    first, last = tables["locations"]["moment"].min(), tables["locations"]["moment"].max()
    until = first + (last - first) * share
    for table in ("locations", "interactions"):
        tables[table] = tables[table].filter(pl.col("moment") <= until)
    return tables


def visits_of(engine: Engine, locations: pl.DataFrame, establishments: pl.DataFrame, radius_m: float = 50.0):
    grid = visits.Grid.over(arrow(establishments), radius_m)
    cells = pl.from_arrow(grid.cells(arrow(establishments)))
    return visits.visits(engine.take(locations), engine.take(cells), grid)


@dataclass
class Analyses:
    """Every analysis that an engine made of the same tables; what is made is handed on as it is."""

    engine: Engine
    tables: dict[str, pl.DataFrame]
    made: dict[str, pl.DataFrame] = field(default_factory=dict)

    def build(self) -> "Analyses":
        """What all analyses start from, and the first of them."""
        self._keep("locations", privacy.consented(self._taken("locations")))
        interactions = self._keep("interactions", privacy.consented(self._taken("interactions")))
        near = self._keep("visits", visits_of(self.engine, self.made["locations"], self.tables["establishments"]))
        self._keep("stays", visits.stays(near))
        touches = self._keep("touches", attribution.touches(interactions))
        self._keep("attributed", attribution.attributed(near, touches))
        self._keep("ctr", ctr.ctr(interactions, ZONE, floor=20))
        return self

    def build_others(self) -> "Analyses":
        """All others, after `build`."""
        locations, interactions, near, stays, attributed, rates = (
            self.engine.take(self.made[name])
            for name in ("locations", "interactions", "visits", "stays", "attributed", "ctr")
        )
        self._keep("visits_by_establishment", visits.visits_by_establishment(near, stays, ZONE))
        self._keep("attribution", attribution.attribution(attributed, ZONE))
        days = self._keep("active_days", attribution.active_days(locations, ZONE))
        self._keep("lift", attribution.lift(days, near, interactions, ZONE))
        self._keep("people_compared", attribution.people_compared(days, interactions, ZONE))
        self._keep("published_ctr", privacy.suppressed(rates, ["views", "clicks", "ctr", "low", "high"], fewest=30))
        self._keep("attractiveness", attractiveness.attractiveness(interactions, ZONE))
        self._keep("interaction_profile", profiles.interaction_profile(interactions, ZONE))
        self._keep("visit_profile", profiles.visit_profile(stays.rename({"begin": "moment"}), ZONE))
        return self

    def _taken(self, table: str) -> nw.LazyFrame:
        return self.engine.take(self.tables[table])

    def _keep(self, name: str, made: nw.LazyFrame) -> nw.LazyFrame:
        self.made[name] = self.engine.give(made)
        return self.engine.take(self.made[name])
