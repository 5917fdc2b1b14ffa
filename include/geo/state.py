"""Bronze of the geo lake at one moment, and what of it the months and the analyses are made of."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from include.geo.landing import Delivery, Loaded, digest
from include.geo.tables import ANALYSED, ANCHOR, RECORDS, VISITS
from include.maintenance import raw_locations
from include.tables import catalog, contract
from include.tables.catalog import Place

LOCATIONS, INTERACTIONS = "location_records", "ad_interactions"
ESTABLISHMENTS = "establishments"

Months = Mapping[str, Place]
"""Month → where it is published."""


class StateError(ValueError):
    """Something that everything else needs has not been delivered; the message says what."""


class Bronze(NamedTuple):
    """All of bronze.

    Attributes:
        loaded: What each delivery was made of.
        gone: Months whose location records have been deleted for their age: nothing can be built of them any more.
    """

    loaded: Mapping[Delivery, Loaded]
    gone: frozenset[str] = frozenset()

    def latest(self, table: str) -> Loaded | None:
        """The delivery of establishments or campaigns that counts: the last one with rows."""
        found = [loaded for delivery, loaded in self.loaded.items() if delivery.table == table and loaded.location]
        return found[-1] if found else None

    def months(self, table: str) -> dict[str, list[str]]:
        """Month → locations of its rows, in the order of their delivery."""
        found: dict[str, list[str]] = defaultdict(list)
        for delivery, loaded in self.loaded.items():
            if delivery.table == table:
                for month, (location, _) in loaded.months.items():
                    if table != LOCATIONS or month not in self.gone:
                        found[month].append(location)
        return dict(sorted(found.items()))

    @property
    def zone(self) -> str | None:
        """The time zone in which records are kept: that of the latest day, of what can be loaded again; or None."""
        found = [loaded.zone for delivery, loaded in self.loaded.items() if delivery.table in RECORDS]
        return found[-1] if found else None

    def rows(self, table: str, months: Iterable[str]) -> int:
        """Rows of some months."""
        wanted = set(months)
        return sum(
            rows
            for delivery, loaded in self.loaded.items()
            if delivery.table == table
            for month, (_, rows) in loaded.months.items()
            if month in wanted
        )

    def digests(self, zone: str) -> dict[str, str]:
        """Month → a text that differs for different records or establishments that its visits are made of."""
        places = self.latest(ESTABLISHMENTS)
        of_all = [places.content if places else "", zone]
        return {month: digest([*of_all, locations]) for month, locations in self.months(LOCATIONS).items()}


class Analysed(NamedTuple):
    """What the analyses are made of.

    Attributes:
        locations: interactions, visits and active_days → their locations, month by month.
        digest: A text that differs for different ones.
    """

    locations: dict[str, list[str]]
    digest: str


def bronze(glue: Any) -> Bronze:
    """The published state of bronze.

    Args:
        glue: a boto3 Glue client.
    """
    places = catalog.partitions(glue, contract.load("geo_deliveries"))
    loaded = {Delivery(*values): Loaded.read(place.parameters) for values, place in sorted(places.items())}
    return Bronze(loaded, frozenset(raw_locations.months_gone(glue)))


def published(glue: Any, table: str) -> dict[str, Place]:
    """Where the months of a table are."""
    places = catalog.partitions(glue, contract.load(table))
    return {values[0]: place for values, place in sorted(places.items())}


def behind(digests: Mapping[str, str], months: Months) -> list[str]:
    """The months whose visits were made of something else than bronze has now.

    Args:
        digests: of bronze, by month.
        months: of the table `ANCHOR`.
    """
    return [
        month
        for month, now in digests.items()
        if month not in months or months[month].parameters.get("snapshot") != now
    ]


def left_over(glue: Any, there: Bronze, table: str) -> list[str]:
    """The published months of a table of `VISITS` that bronze has nothing of, but for those deleted for their age."""
    return sorted(published(glue, table).keys() - there.months(LOCATIONS).keys() - there.gone)


def require_establishments(there: Bronze) -> str:
    """The location of the establishments that count.

    Raises:
        StateError: none have been delivered.
    """
    found = there.latest(ESTABLISHMENTS)
    if found is None or found.location is None:
        raise StateError(
            "no establishments have been delivered: put establishments.parquet below landing/geo/<day>/, see its "
            "rejected rows in vitrine_quarantine.geo_rejects"
        )
    return found.location


def analysed(glue: Any, there: Bronze, zone: str) -> Analysed:
    """What the analyses are to be made of now.

    Args:
        glue: a boto3 Glue client.
        there: bronze.
        zone: time zone of the analyses.
    """
    interactions = [location for those in there.months(INTERACTIONS).values() for location in those]
    of_visits = {table: published(glue, table) for table in VISITS}
    made_of = {month: place.parameters.get("snapshot") for month, place in of_visits[ANCHOR].items()}
    locations = {table: [place.location for place in months.values()] for table, months in of_visits.items()}
    locations["interactions"] = interactions
    return Analysed(locations, digest([zone, made_of, locations]))


def is_current(glue: Any, wanted: Analysed) -> bool:
    """Whether all tables of the analyses were made of this."""
    places = [catalog.place(glue, contract.load(table)) for table in ANALYSED]
    return all(place is not None and place.parameters.get("snapshot") == wanted.digest for place in places)


def is_empty(glue: Any, wanted: Analysed) -> bool:
    """Whether there is nothing to analyse, and nothing of an earlier time that would have to go."""
    return not any(wanted.locations.values()) and not any(published(glue, table) for table in ANALYSED)
