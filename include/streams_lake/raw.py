"""What Firehose has delivered, by hour of arrival, and which of these hours bronze lacks or has in part.

Files lie at `raw/<stream>/dt=<day>/hour=<hour>/`, never change, and come until some minutes after their hour. All files
of an hour make one partition of bronze, which is built again, whole, whenever another one has come. So this is a
function of the files that there are and of what bronze was made of, not of the clock or of earlier runs.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from include.streams_lake import hours
from include.tables import versions
from include.tables.catalog import Place
from include.tables.versions import File

LOOKBACK = 24
"""Hours before an interval that are looked at too, for files that came after the run of their hour."""

_KEY = re.compile(r"raw/[^/]+/dt=(\d{4}-\d\d-\d\d)/hour=(\d\d)/[^/]+")

Arrived = dict[str, list[File]]
"""Hour of arrival → its files, in the order of their keys."""


def listing(s3: Any, lake: str, stream: str, since: str, until: str) -> Arrived:
    """The files that arrived in some hours.

    Args:
        s3: a boto3 S3 client.
        lake: name of the lake's bucket.
        stream: as in the files' keys, such as clickstream.
        since: the first hour.
        until: the hour after the last.
    """
    arrived: Arrived = defaultdict(list)
    for day in dict.fromkeys(hour[:10] for hour in hours.between(since, until)):
        for file in versions.files(s3, f"s3://{lake}/raw/{stream}/dt={day}/"):
            if (match := _KEY.fullmatch(file.key)) and since <= (hour := f"{match[1]}T{match[2]}") < until:
                arrived[hour].append(file)
    return dict(sorted(arrived.items()))


def digest(files: list[File]) -> str:
    """A text that differs for different files."""
    listed = "\n".join(sorted(f"{file.key} {file.etag}" for file in files))
    return hashlib.sha256(listed.encode()).hexdigest()[:16]


def outstanding(arrived: Arrived, published: Mapping[tuple[str, ...], Place]) -> Arrived:
    """The hours that bronze lacks, or was built of other files.

    Args:
        arrived: as `listing` gives it.
        published: partitions of the stream's bronze table.
    """
    return {
        hour: files
        for hour, files in arrived.items()
        if (place := published.get(hours.values(hour))) is None or place.parameters.get("digest") != digest(files)
    }


def described(arrived: Arrived) -> dict[str, list[dict[str, Any]]]:
    """The files as JSON values: what the Glue jobs read by `--files`."""
    return {
        hour: [{"key": file.key, "etag": file.etag, "size": file.size} for file in files]
        for hour, files in arrived.items()
    }


def undescribed(documents: Mapping[str, list[Mapping[str, Any]]]) -> Arrived:
    """The files again, of what `described` gave; when they were written is not known any more."""
    return {
        hour: [File(file["key"], file["size"], file["etag"], datetime.min) for file in files]
        for hour, files in documents.items()
    }
