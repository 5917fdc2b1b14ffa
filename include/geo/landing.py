"""What has landed below `landing/geo/`, and which deliveries bronze lacks or was made of something else.

Files lie at `landing/geo/<load date>/<table>*.parquet`. All files of one table and day are a delivery, which is loaded
again, whole, whenever a file of it is new or has changed, so a run may come twice, late, or out of order. Interactions
that refer to establishments nobody has told of yet are loaded again when more establishments have landed.
"""

import hashlib
import json
import logging
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import date
from typing import Any, NamedTuple

from include.geo.tables import RECORDS, REFERENCE
from include.tables import versions
from include.tables.versions import File

log = logging.getLogger(__name__)

PREFIX = "landing/geo/"
UNKNOWN = "unknown"
"""The table of a file whose name tells none; such files are quarantined."""
NAMES = {
    "establishments": "establishments",
    "campaigns": "campaigns",
    "locations": "location_records",
    "interactions": "ad_interactions",
}
"""What a file's name begins with → the table of bronze that its rows go to."""

_KEY = re.compile(rf"{PREFIX}(\d{{4}}-\d{{2}}-\d{{2}})/([^/]+)")
_NAME = re.compile(rf"({'|'.join(NAMES)})(?![A-Za-z])[\w.-]*\.parquet")


class Delivery(NamedTuple):
    """All files of one table and day."""

    load_date: str
    table: str


Landed = dict[Delivery, list[File]]


class Loaded(NamedTuple):
    """What a delivery in bronze was made of, as its partition of `geo_deliveries` notes it.

    Attributes:
        files: Key of each file → S3's tag of its content.
        zone: Time zone that its months are of.
        known: The establishments that were known, as `known` tells them.
        unknown: Rows that were rejected as they refer to others.
        months: Month → location in bronze and rows.
        location: Of establishments or campaigns.
    """

    files: dict[str, str]
    zone: str
    known: str
    unknown: int
    months: dict[str, tuple[str, int]]
    location: str | None

    @property
    def content(self) -> str:
        """A text that differs for different files, wherever they lie."""
        return digest(sorted(self.files.values()))

    def noted(self) -> dict[str, str]:
        """As parameters of a partition."""
        return {"made_of": json.dumps(self._asdict())}

    @classmethod
    def read(cls, parameters: Mapping[str, str]) -> "Loaded":
        """What `noted` gave."""
        found = json.loads(parameters["made_of"])
        months = {month: (location, rows) for month, (location, rows) in found["months"].items()}
        return cls(**{**found, "months": months})


def digest(value: Any) -> str:
    """A text that differs for different JSON values."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def listing(s3: Any, lake: str, until: date) -> Landed:
    """The deliveries up to a day (inclusive), their files in the order of their keys.

    Objects elsewhere than in a folder named after a day, and folder markers, are no deliveries. Of a folder that looks
    like a day and is none, as 2026-02-30, the log warns.

    Args:
        s3: a boto3 S3 client.
        lake: name of the lake's bucket.
        until: the last load date that counts.
    """
    found: Landed = defaultdict(list)
    for file in versions.files(s3, f"s3://{lake}/{PREFIX}"):
        match = _KEY.fullmatch(file.key)
        if match is None or match[1] > until.isoformat():
            continue
        if not _is_day(match[1]):
            log.warning("%s is no delivery, as %s is no day: deliver it in the folder of one", file.key, match[1])
            continue
        name = _NAME.fullmatch(match[2])
        found[Delivery(match[1], NAMES[name[1]] if name else UNKNOWN)].append(file)
    return dict(sorted(found.items()))


def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def known(landed: Landed) -> str:
    """A text that differs for different establishments: those of all deliveries are known."""
    return digest(
        {found.load_date: _tags(files) for found, files in landed.items() if found.table == NAMES["establishments"]}
    )


def known_by_day(landed: Landed) -> list[str]:
    """What `known` tells of those up to no day, the first one, the second one, … that has establishments."""
    days = [delivery for delivery in landed if delivery.table == NAMES["establishments"]]
    return [known({day: landed[day] for day in days[:count]}) for count in range(len(days) + 1)]


def outstanding(
    landed: Landed, loaded: Mapping[Delivery, Loaded], zone: str, gone: Collection[str] = ()
) -> list[Delivery]:
    """The deliveries to load, in order.

    Args:
        landed: the landing zone.
        loaded: what bronze was made of.
        zone: time zone that months are to be of.
        gone: months of whose deliveries only establishments and campaigns are kept: what people did went for its age,
            and a delivery of which files are missing can't be loaded whole.
    """
    now = known(landed)

    def is_current(delivery: Delivery, files: Iterable[File]) -> bool:
        there = loaded.get(delivery)
        return (
            there is not None
            and _tags(files).items() <= there.files.items()
            and (delivery.table not in RECORDS or there.zone == zone)
            and (not there.unknown or there.known == now)
        )

    def is_kept(delivery: Delivery) -> bool:
        return delivery.table in REFERENCE or delivery.load_date[:7] not in gone

    return [delivery for delivery, files in landed.items() if is_kept(delivery) and not is_current(delivery, files)]


def described(landed: Landed, wanted: Iterable[Delivery]) -> list[dict[str, Any]]:
    """Deliveries as JSON values: what the bronze job reads."""
    return [
        {
            "load_date": delivery.load_date,
            "table": delivery.table,
            "files": [{"key": file.key, "etag": file.etag, "bytes": file.size} for file in landed[delivery]],
        }
        for delivery in wanted
    ]


def _tags(files: Iterable[File]) -> dict[str, str]:
    return {file.key: file.etag for file in files}
