"""Whether a stream and its delivery did their work in some hours: one function for each thing there is to know.

Each gives a line that says what it found, or raises CheckError. Hours are those from `since` up to `until`, which is
not among them. Nothing here looks at the clock: figures, and what files tell of themselves, are those of the hours.

CloudWatch counts a record in the minute in which Kinesis took it (IncomingRecords), and in the one in which Firehose
had delivered it (DeliveryToS3.Records), which is later by the delivery's buffer; a file lies in the hour in which its
oldest record arrived. So the three agree but for what comes and goes at an hour's edges, within `late`.
"""

import gzip
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from include.streams import apache, orders, rules
from include.streams.apache import LineError
from include.streams.rules import RecordError
from include.streams_lake import hours, raw
from include.streams_lake.streams import CLICKSTREAM, ORDERS, WEB_LOGS
from include.tables import versions
from include.tables.versions import File

HEAD = 64 << 10
"""Bytes of a file that are looked at."""
LINES = 20
"""Lines of a file that are looked at."""

_AT_ONCE = 8
_PERIODS = (60, 300, 3600)
_GZIP = 31
_ERROR_FILE = re.compile(r"-(\d{4}-\d\d-\d\d)-(\d\d)-\d\d-\d\d-[^/]*$")

PARSERS: Mapping[str, Callable[[bytes], object]] = {
    CLICKSTREAM.name: rules.parse_click,
    ORDERS.name: lambda line: orders.parse_order(line, 0),
    WEB_LOGS.name: apache.parse,
}
"""Stream → what reads one of its records, and raises where it breaks the schema."""


class CheckError(ValueError):
    """Something is wrong with a stream or its delivery; the message says what, and where to look."""


def resource(stream: str) -> str:
    """Name of the stream in Kinesis, and of its delivery stream in Firehose."""
    return f"vitrine-{stream}"


@dataclass(frozen=True)
class Figures:
    """A metric, period by period; a period without an observation has no figure.

    Attributes:
        period: The length of each.
        values: Start of the period → the statistic.
    """

    period: timedelta
    values: Mapping[datetime, float]

    def within(self, start: datetime, end: datetime) -> int:
        """The sum over the periods that lie in a time."""
        return round(sum(value for at, value in self.values.items() if start <= at and at + self.period <= end))

    def touching(self, start: datetime, end: datetime) -> int:
        """The sum over the periods that have a part in a time."""
        return round(sum(value for at, value in self.values.items() if at < end and at + self.period > start))


def figures(
    cloudwatch: Any, namespace: str, metric: str, stream: str, statistic: str, start: datetime, end: datetime
) -> Figures:
    """A metric of a stream or its delivery, in the shortest periods that CloudWatch still has.

    It keeps those of a minute for 15 days, of five for 63 days and of an hour for 455 days.

    Args:
        cloudwatch: a boto3 CloudWatch client.
        namespace: AWS/Kinesis or AWS/Firehose.
        metric: such as IncomingRecords.
        stream: the stream.
        statistic: such as Sum.
        start: from when on.
        end: until when.
    """
    dimension = {"AWS/Kinesis": "StreamName", "AWS/Firehose": "DeliveryStreamName"}[namespace]
    of = {
        "Namespace": namespace,
        "MetricName": metric,
        "Dimensions": [{"Name": dimension, "Value": resource(stream)}],
    }
    for seconds in _PERIODS:
        query = {"Id": "wanted", "MetricStat": {"Metric": of, "Period": seconds, "Stat": statistic}}
        pages = cloudwatch.get_paginator("get_metric_data").paginate(
            MetricDataQueries=[query], StartTime=start, EndTime=end
        )
        found = [result for page in pages for result in page["MetricDataResults"]]
        values = {at: value for one in found for at, value in zip(one["Timestamps"], one["Values"], strict=True)}
        if values:
            return Figures(timedelta(seconds=seconds), values)
    return Figures(timedelta(minutes=1), {})


def incoming(cloudwatch: Any, stream: str, since: str, until: str, late: timedelta = timedelta(0)) -> Figures:
    """Records that Kinesis took in some hours, and up to `late` after them."""
    start, end = hours.start(since), hours.start(until) + late
    return figures(cloudwatch, "AWS/Kinesis", "IncomingRecords", stream, "Sum", start, end)


def active(kinesis: Any, firehose: Any, stream: str) -> str:
    """Checks that the stream can be written and read, and is delivered.

    Args:
        kinesis: a boto3 Kinesis client.
        firehose: a boto3 Firehose client.
        stream: the stream.

    Raises:
        CheckError: there is no such stream or delivery, it is not active, or the delivery reads another stream.
    """
    name = resource(stream)
    try:
        found = kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]
        delivery = firehose.describe_delivery_stream(DeliveryStreamName=name)["DeliveryStreamDescription"]
    except (kinesis.exceptions.ResourceNotFoundException, firehose.exceptions.ResourceNotFoundException) as error:
        raise CheckError(f"{name}: {error}: deploy include/infra/vitrine.yaml with StreamsWanted=true") from error
    # A stream that is being resharded takes and gives records all the same.
    if found["StreamStatus"] not in ("ACTIVE", "UPDATING"):
        raise CheckError(f"stream {name} is {found['StreamStatus']}: wait until it is ACTIVE")
    if delivery["DeliveryStreamStatus"] != "ACTIVE":
        raise CheckError(f"delivery stream {name} is {delivery['DeliveryStreamStatus']}: wait until it is ACTIVE")
    source = delivery.get("Source", {}).get("KinesisStreamSourceDescription", {}).get("KinesisStreamARN")
    if source != found["StreamARN"]:
        raise CheckError(f"delivery stream {name} reads {source or 'no stream'}: its source must be {name}")
    return f"{name} is {found['StreamStatus']} with {found['OpenShardCount']} shards, and is delivered"


def iterator_age(cloudwatch: Any, stream: str, since: str, until: str, bound: timedelta) -> str:
    """Checks that whoever reads the stream kept up with it: the latest that the hours tell of it.

    Args:
        cloudwatch: a boto3 CloudWatch client.
        stream: the stream.
        since: the first hour.
        until: the hour after the last.
        bound: what the slowest reader, Firehose included, may be behind.

    Raises:
        CheckError: one is further behind.
    """
    start, end = hours.start(since), hours.start(until)
    metrics = {
        "readers of the stream": ("AWS/Kinesis", "GetRecords.IteratorAgeMilliseconds", 1e-3),
        "delivery to S3": ("AWS/Firehose", "DeliveryToS3.DataFreshness", 1.0),
    }
    found = {
        what: _latest(figures(cloudwatch, namespace, metric, stream, "Maximum", start, end), scale)
        for what, (namespace, metric, scale) in metrics.items()
    }
    ages = {what: seconds for what, seconds in found.items() if seconds is not None}
    behind = [f"{what} {seconds:.1f} s behind" for what, seconds in ages.items()]
    if any(seconds > bound.total_seconds() for seconds in ages.values()):
        raise CheckError(
            f"{resource(stream)}: {', '.join(behind)} at the end of {_named(since, until)}; at most "
            f"{bound.total_seconds():g} s are allowed. Look at the logs of its functions and of its delivery"
        )
    return ", ".join(behind) or f"nobody read {resource(stream)} in {_named(since, until)}, or CloudWatch forgot it"


def _latest(found: Figures, scale: float) -> float | None:
    return found.values[max(found.values)] * scale if found.values else None


def delivered(cloudwatch: Any, s3: Any, lake: str, stream: str, since: str, until: str, late: timedelta) -> str:
    """Checks that what Kinesis took in the hours has been delivered, `late` after their end.

    Args:
        cloudwatch: a boto3 CloudWatch client.
        s3: a boto3 S3 client.
        lake: name of the lake's bucket.
        stream: the stream.
        since: the first hour.
        until: the hour after the last.
        late: what a record may take from the stream into the lake.

    Raises:
        CheckError: records are missing.
    """
    start, end = hours.start(since), hours.start(until)
    taken = incoming(cloudwatch, stream, since, until).within(start, end)
    done = figures(cloudwatch, "AWS/Firehose", "DeliveryToS3.Records", stream, "Sum", start, end + late)
    given, failed = done.touching(start, end + late), failed_records(s3, lake, stream, since, until)
    said = f"{taken} records came in, {given} were delivered, {failed} failed in {_named(since, until)}"
    if given + failed < taken:
        raise CheckError(
            f"{resource(stream)}: {said}: {taken - given - failed} are missing {_minutes(late)} after its end. Look at "
            "DeliveryToS3.Success and the delivery stream's error log; what comes later is loaded by a later run"
        )
    return said


def newest_file(cloudwatch: Any, s3: Any, lake: str, stream: str, since: str, until: str, bound: timedelta) -> str:
    """Checks the age of the newest raw file at the end of the hours, or when the last record came in, if earlier.

    Args:
        cloudwatch: a boto3 CloudWatch client.
        s3: a boto3 S3 client.
        lake: name of the lake's bucket.
        stream: the stream.
        since: the first hour.
        until: the hour after the last.
        bound: how old it may be.

    Raises:
        CheckError: it is older, or there is none although records came in.
    """
    taken = incoming(cloudwatch, stream, since, until)
    files = _files(s3, lake, stream, since, until)
    if not files and not taken.values:
        return f"nothing came in in {_named(since, until)}"
    if not files:
        raise CheckError(
            f"raw/{stream}/ has no file of {_named(since, until)}, but the stream took "
            f"{round(sum(taken.values.values()))} records: look at the delivery stream {resource(stream)}"
        )
    newest = max(files, key=lambda file: file.written)
    end = hours.start(until)
    until_then = min(end, max(taken.values) + taken.period) if taken.values else end
    age = max(until_then - newest.written, timedelta(0))
    if age > bound:
        raise CheckError(
            f"{newest.key}, the newest file of {_named(since, until)}, was {_minutes(age)} old when records still came "
            f"in, at {until_then:%H:%M}; at most {_minutes(bound)} are allowed: look at {resource(stream)} in Firehose"
        )
    return f"{len(files)} files, the newest of {newest.written:%Y-%m-%d %H:%M:%S}"


def failed_records(s3: Any, lake: str, stream: str, since: str, until: str) -> int:
    """How many records of the hours Firehose could not deliver as they should be: those below raw-errors/."""
    count = 0
    for file in versions.files(s3, f"s3://{lake}/raw-errors/{stream}/"):
        if (match := _ERROR_FILE.search(file.key)) and since <= f"{match[1]}T{match[2]}" < until:
            body = s3.get_object(Bucket=lake, Key=file.key)["Body"].read()
            text = gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body
            count += sum(1 for line in text.splitlines() if line.strip())
    return count


def poison(cloudwatch: Any, s3: Any, lake: str, stream: str, since: str, until: str, share: float) -> str:
    """Checks how many records Firehose put aside.

    Args:
        cloudwatch: a boto3 CloudWatch client.
        s3: a boto3 S3 client.
        lake: name of the lake's bucket.
        stream: the stream.
        since: the first hour.
        until: the hour after the last.
        share: of the records that came in that may have failed, 0 to 1.

    Raises:
        CheckError: more have.
    """
    failed = failed_records(s3, lake, stream, since, until)
    taken = round(sum(incoming(cloudwatch, stream, since, until).values.values()))
    said = f"{failed} records of {_named(since, until)} are below raw-errors/{stream}/, {taken} came in"
    if failed > share * taken:
        raise CheckError(f"{said}; at most {share:.2%} may. Each has its reason, shard and sequence number there")
    return said


def readable(s3: Any, lake: str, stream: str, since: str, until: str) -> str:
    """Checks that the raw files of the hours begin as gzip files of lines.

    Args:
        s3: a boto3 S3 client.
        lake: name of the lake's bucket.
        stream: the stream.
        since: the first hour.
        until: the hour after the last.

    Raises:
        CheckError: some don't; the message names them.
    """
    heads = _heads(s3, lake, _files(s3, lake, stream, since, until))
    broken = [f"{key} {head}" for key, head in heads.items() if isinstance(head, str)]
    if broken:
        raise CheckError(
            f"{len(broken)} of {len(heads)} files can't be read: {'; '.join(broken[:5])}. Put them back whole; if they "
            "are left, a later run loads what can be read of them, and quarantines the rest"
        )
    return f"{len(heads)} files can be read"


def schema(s3: Any, lake: str, stream: str, since: str, until: str, share: float) -> str:
    """Checks the first records of each raw file of the hours against the schema of the stream.

    Args:
        s3: a boto3 S3 client.
        lake: name of the lake's bucket.
        stream: the stream.
        since: the first hour.
        until: the hour after the last.
        share: of these records that may break it, 0 to 1.

    Raises:
        CheckError: more do; the message has what is wrong with how many.
    """
    heads = _heads(s3, lake, _files(s3, lake, stream, since, until))
    lines = [line for head in heads.values() if not isinstance(head, str) for line in head]
    wrong = Counter(complaint for line in lines if (complaint := _complaint(stream, line)))
    said = f"{len(lines) - wrong.total()} of {len(lines)} sampled records keep the schema"
    if wrong.total() > share * len(lines):
        kinds = "; ".join(f"{count} x {what}" for what, count in wrong.most_common(5))
        raise CheckError(
            f"{said}; at most {share:.2%} may break it: {kinds}. Mend the producer, or the rules in include/streams"
        )
    return said


def loaded(
    cloudwatch: Any,
    stream: str,
    report: Iterable[Mapping[str, Any]],
    since: str,
    until: str,
    late: timedelta,
    share: float,
) -> str:
    """Checks that the raw files had the records that came in, and how many of them were poison.

    A file lies in the hour of its oldest record. So an hour's files have all that came in but in its first moments, and
    nothing that came after it but in the first moments of the next; these moments are at most `late`.

    Args:
        cloudwatch: a boto3 CloudWatch client.
        stream: the stream.
        report: what the Glue job says of each hour of arrival that it loaded; see `include.jobs.records`.
        since: the first hour.
        until: the hour after the last; loaded hours before the first were checked by their own run.
        late: what a record may wait in the delivery's buffer.
        share: of the records that may be poison, 0 to 1.

    Raises:
        CheckError: records are missing, are there twice, or too many are poison.
    """
    taken = incoming(cloudwatch, stream, since, until, late)
    said = []
    for hour in report:
        if not since <= hour["at"] < until:
            continue
        start = hours.start(hour["at"])
        end = start + timedelta(hours=1)
        least, most, rows = taken.within(start + late, end), taken.touching(start, end + late), hour["rows_in"]
        said.append(f"{hour['at']}: {rows} records in the files, {hour['rejected']} of them poison")
        if taken.values and not least <= rows <= most:
            what = f"{least - rows} are missing" if rows < least else f"{rows - most} are there twice"
            raise CheckError(
                f"{said[-1]}; {resource(stream)} took from {least} to {most}: {what}. If the delivery was behind, more "
                "will come and a later run loads it; then clear this task with a longer late_minutes"
            )
        if hour["rejected"] > share * rows:
            reasons = ", ".join(f"{field}: {count}" for field, count in hour["reasons"].items())
            raise CheckError(f"{said[-1]} ({reasons}); at most {share:.2%} may be")
    return "; ".join(said) or f"nothing of {_named(since, until)} was loaded"


def _files(s3: Any, lake: str, stream: str, since: str, until: str) -> list[File]:
    return [file for files in raw.listing(s3, lake, stream, since, until).values() for file in files]


def _heads(s3: Any, lake: str, files: Iterable[File]) -> dict[str, list[bytes] | str]:
    """Key → the first lines, or what is wrong with the file."""
    files = list(files)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return dict(zip((file.key for file in files), pool.map(lambda file: _head(s3, lake, file), files), strict=True))


def _head(s3: Any, lake: str, file: File) -> list[bytes] | str:
    if not file.size:
        return "is empty"
    body = s3.get_object(Bucket=lake, Key=file.key, Range=f"bytes=0-{HEAD - 1}")["Body"].read()
    stream = zlib.decompressobj(_GZIP)
    try:
        text = stream.decompress(body)
    except zlib.error as error:
        return f"is no sound gzip file: {error}"
    if file.size <= HEAD and not stream.eof:
        return "is cut off"
    lines = text.splitlines()
    # The last one may have been cut by looking at the head only.
    return lines[: min(LINES, len(lines) if stream.eof else len(lines) - 1)]


def _complaint(stream: str, line: bytes) -> str | None:
    try:
        PARSERS[stream](line)
    except RecordError as error:
        return error.field if error.field != "record" else str(error)
    except LineError as error:
        return str(error).partition(":")[0]
    return None


def _named(since: str, until: str) -> str:
    return since if hours.before(until, 1) == since else f"{since} to {hours.before(until, 1)}"


def _minutes(time: timedelta) -> str:
    return f"{time.total_seconds() / 60:g} min"
