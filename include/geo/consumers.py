"""What reads the published tables, the report and the live offers' file: whether it was made of those there are now."""

from typing import Any, NamedTuple

from botocore.exceptions import ClientError

from include.geo import state
from include.geo.job import RUNS
from include.geo.landing import digest
from include.geo.state import Bronze
from include.geo.tables import ANALYSED, RECORDS, REFERENCE, VISITS

LATEST = f"{RUNS}/published.json"
"""Key in the lake of the note that says which run's inputs are the newest: of two jobs at once, the other gives way."""
MADE = f"{RUNS}/consumed.json"
"""Key of the note that says what the consumers were last made of, all of them."""


class Inputs(NamedTuple):
    """What the consumers read.

    Attributes:
        tables: Table → s3:// prefixes of all that is published of it; of establishments and campaigns what counts.
        zone: Time zone of months and hours.
    """

    tables: dict[str, list[str]]
    zone: str

    @property
    def digest(self) -> str:
        """A text that differs for different ones."""
        return digest(self)


def inputs(glue: Any, there: Bronze, zone: str) -> Inputs:
    """What there is to read now.

    Args:
        glue: a boto3 Glue client.
        there: bronze.
        zone: time zone of the lake.
    """
    tables = {
        table: [place.location for place in state.published(glue, table).values()] for table in (*VISITS, *ANALYSED)
    }
    tables |= {table: [place for those in there.months(table).values() for place in those] for table in RECORDS}
    for table in REFERENCE:
        latest = there.latest(table)
        tables[table] = [latest.location] if latest and latest.location else []
    return Inputs(tables, zone)


def made_of(s3: Any, lake: str) -> str | None:
    """The digest of what all consumers were last made of; None before the first time."""
    try:
        return s3.get_object(Bucket=lake, Key=MADE)["Body"].read().decode()
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchKey":
            raise
        return None


def note(s3: Any, lake: str, digest: str) -> None:
    """Notes what all consumers have been made of."""
    s3.put_object(Bucket=lake, Key=MADE, Body=digest.encode())
