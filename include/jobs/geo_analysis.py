"""One analysis of the geo lake, over all months: `--analysis` is a key of `ANALYSES`.

`--inputs` names a JSON document: `zone`, and locations of `interactions`, `visits` and `active_days` of all months.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import narwhals as nw
import pyarrow as pa

from include.jobs import arguments, engine, geo_tables, lake
from include.jobs.engine import Engine
from include.jobs.geo_tables import PUBLISHED
from include.tables import versions
from include.transforms import attractiveness, attribution, ctr, privacy, profiles, visits


class UnknownAnalysisError(ValueError):
    """There is no such analysis."""


class Source(NamedTuple):
    """What the analyses are made of.

    Attributes:
        on: The engine.
        inputs: As the module says.
    """

    on: Engine
    inputs: Mapping[str, Any]

    @property
    def zone(self) -> str:
        """IANA name of the time zone."""
        return self.inputs["zone"]

    @property
    def interactions(self) -> nw.LazyFrame:
        """Each interaction once, however often it was delivered."""
        return self.on.persist(self.interactions_as_delivered.unique(geo_tables.INTERACTIONS.names))

    @property
    def interactions_as_delivered(self) -> nw.LazyFrame:
        """All interactions, for analyses to which a copy makes no difference."""
        return self._read("interactions", geo_tables.INTERACTIONS)

    @property
    def visits(self) -> nw.LazyFrame:
        """All visits."""
        return self._read("visits", geo_tables.VISITS)

    @property
    def stays(self) -> nw.LazyFrame:
        """All stays; kept, as Dask takes minutes to plan what follows them in one go with what they are made of."""
        return self.on.persist(visits.stays(self.on.persist(self.visits)))

    @property
    def active_days(self) -> nw.LazyFrame:
        """All active days."""
        return self._read("active_days", geo_tables.ACTIVE_DAYS)

    def _read(self, name: str, schema: pa.Schema) -> nw.LazyFrame:
        return self.on.read(self.inputs[name], schema)


def _visits(of: Source) -> nw.LazyFrame:
    return visits.visits_by_establishment(of.visits, of.stays, of.zone)


def _attribution(of: Source) -> dict[str, nw.LazyFrame]:
    touches = of.on.persist(attribution.touches(of.interactions_as_delivered))
    attributed = of.on.persist(attribution.attributed(of.visits, touches))
    return {
        "attributed_visits": geo_tables.with_month(attributed, of.zone),
        "attribution": attribution.attribution(attributed, of.zone),
    }


def _lift(of: Source) -> nw.LazyFrame:
    days = of.on.persist(of.active_days)
    lift = attribution.lift(days, of.visits, of.interactions_as_delivered, of.zone)
    people = attribution.people_compared(days, of.interactions_as_delivered, of.zone)
    return lift.join(people, on=["establishment_id", "month"], how="inner")


def _visit_profile(of: Source) -> nw.LazyFrame:
    return profiles.visit_profile(of.stays.rename({"begin": "moment"}), of.zone)


ANALYSES: Mapping[str, Callable[[Source], dict[str, nw.LazyFrame]]] = {
    "ctr": lambda of: {"campaign_ctr": ctr.ctr(of.interactions, of.zone)},
    "visits": lambda of: {"establishment_visits": _visits(of)},
    "attribution": _attribution,
    "lift": lambda of: {"visit_lift": _lift(of)},
    "attractiveness": lambda of: {"category_hours": attractiveness.attractiveness(of.interactions, of.zone)},
    "interaction_profile": lambda of: {"interaction_profile": profiles.interaction_profile(of.interactions, of.zone)},
    "visit_profile": lambda of: {"visit_profile": _visit_profile(of)},
}
"""Analysis → from what it is made of to the tables that it makes, by name."""
OF_PEOPLE = {
    "attributed_visits": ("user_id", "establishment_id", "moment"),
    "interaction_profile": ("user_id", "period", "category"),
    "visit_profile": ("user_id", "weekday", "category"),
}
"""Tables with a row a person, and what they are sorted by; the others are published, without small cells."""


def build(on: Engine, s3: Any, analysis: str, inputs: Mapping[str, Any], bucket: str, version: str) -> dict[str, Any]:
    """Writes the tables of an analysis.

    Args:
        on: The engine.
        s3: A client.
        analysis: A key of `ANALYSES`.
        inputs: As the module says.
        bucket: The lake.
        version: Of what is written.

    Returns:
        The job's report.

    Raises:
        UnknownAnalysisError: there is no such analysis.
    """
    if analysis not in ANALYSES:
        raise UnknownAnalysisError(f"--analysis {analysis}: it must be one of {', '.join(ANALYSES)}")
    report = {}
    for name, rows in ANALYSES[analysis](Source(on, inputs)).items():
        layer = "silver" if name in OF_PEOPLE else "gold"
        location = versions.location(bucket, layer, name, version)
        if name in OF_PEOPLE:
            on.write_months(rows, location, OF_PEOPLE[name])
            counts = {month: count["rows"] for month, count in geo_tables.counted(on, s3, location).items()}
        else:
            table = PUBLISHED[name]
            cells = on.persist(privacy.suppressed(rows, list(table.figures)))
            counts = geo_tables.write_published(s3, cells, table, location)
        rows_out = sum(counts.values())
        report[name] = {"layer": layer, "location": location, "rows_out": rows_out, "months": counts}
        print(f"{name}: {rows_out} rows in {len(counts)} months", flush=True)
    return {"analysis": analysis, "tables": report}


def main() -> None:
    """Runs the job."""
    given = arguments.read("analysis", "inputs", "version", "lake", "report", optional=("engine", "dask_scheduler"))
    s3 = lake.client()
    with engine.chosen(given.engine, given.dask_scheduler) as on:
        inputs = lake.read_json(s3, given.inputs)
        report = build(on, s3, given.analysis, inputs, given.lake, given.version)
    lake.write_json(s3, given.report, report)


if __name__ == "__main__":
    main()
