"""Live offers by Spark Structured Streaming: those of the Lambda function, where the positions are many.

    spark-submit --py-files modules.zip offers.py --source s3://…/positions/ --reference s3://…/establishments.jsonl \
        --output s3://…/offers/ --checkpoint s3://…/checkpoints/offers/

A source is a folder of files with a JSON object a line, or `kinesis:<stream>`, which EMR's connector reads (EMR 7.1 and
later, Serverless too; elsewhere its jar must be given). The rule is the environment's, as the function's.

Each user's state goes through `include.streams.offers`. Spark keeps no order within a micro-batch, so the fixes of a
user are taken by time there; for disorder across micro-batches, the rule's patience must be longer than that.

Below the output are `offers/batch=<n>/` and `quarantine/batch=<n>/`; a micro-batch that is tried again overwrites them.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from typing import Any

from include.jobs import arguments
from include.streams import establishments, offer_items
from include.streams.fields import RecordError
from include.streams.offers import Advisor, OfferRule, Point, State, parse_fix, rule_of

KINESIS = "kinesis:"
OFFERS = {
    **dict.fromkeys(("id", "user_id", "moment"), "string"),
    **dict.fromkeys(("latitude", "longitude", "metres"), "double"),
    **dict.fromkeys(("establishment_id", "name", "category", "campaign_id", "ad_id"), "string"),
}
"""Columns of the offers and their types."""
REJECTS = {"reason": "string", "data": "binary"}
"""Columns of the records that are no positions."""

_STATE = "state binary"


def source(session: Any, uri: str, region: str | None = None, files: int | None = None) -> Any:
    """A streaming frame with a column `data`: the records as they came.

    Args:
        session: of Spark.
        uri: a folder, or `kinesis:<stream>`.
        region: of the stream.
        files: of a folder, how many a micro-batch takes; else all.

    Raises:
        ValueError: it is a stream, and there is no region.
    """
    if not uri.startswith(KINESIS):
        reader = session.readStream.format("text")
        if files:
            reader = reader.option("maxFilesPerTrigger", files)
        return reader.load(uri).selectExpr("cast(value as binary) as data")
    if not region:
        raise ValueError(f"--source {uri} needs --region, such as us-east-1")
    options = {
        "kinesis.region": region,
        "kinesis.streamName": uri.removeprefix(KINESIS),
        "kinesis.endpointUrl": f"https://kinesis.{region}.amazonaws.com",
        "kinesis.consumerType": "GetRecords",
        "kinesis.startingposition": "TRIM_HORIZON",
    }
    return session.readStream.format("aws-kinesis").options(**options).load().select("data")


def advised(positions: Any, reference: bytes, rule: OfferRule, endless: bool = False) -> Any:
    """The offers that positions make, and the records that are none.

    Args:
        positions: a streaming frame with the column `data`.
        reference: a file of establishments, as `include.streams.establishments` reads it.
        rule: when something is offered.
        endless: whether to forget users who send nothing for long. A query that has an end would never reach it then,
            as Spark goes on to look who is to be forgotten.

    Returns:
        A streaming frame to append, with the columns of `OFFERS` and `REJECTS`; either these or those are null.
    """
    from pyspark.sql.streaming.state import GroupStateTimeout

    establishments.parse(reference)  # Says here what is wrong with it, and not in each task.
    shared = positions.sparkSession.sparkContext.broadcast(reference)
    columns = ", ".join(f"{name} {kind}" for name, kind in (OFFERS | REJECTS).items())
    keyed = positions.selectExpr("get_json_object(cast(data as string), '$.user_id') as user", "data")
    step = partial(_advance, lambda: shared.value, rule, endless)
    timeout = GroupStateTimeout.ProcessingTimeTimeout if endless else GroupStateTimeout.NoTimeout
    return keyed.groupBy("user").applyInPandasWithState(step, columns, _STATE, "append", timeout)


def write(output: str) -> Callable[[Any, int], None]:
    """What writes a micro-batch of `advised` below a folder, for `foreachBatch`."""

    def batch(rows: Any, number: int) -> None:
        rows.persist()
        kept = {False: ("offers", OFFERS), True: ("quarantine", REJECTS)}
        rejected = rows["reason"].isNotNull()
        for (which,) in rows.select(rejected).distinct().collect():
            folder, columns = kept[which]
            chosen = rows.filter(rejected == which).select(*columns)
            chosen.coalesce(1).write.mode("overwrite").parquet(f"{output}{folder}/batch={number:08}/")
        rows.unpersist()

    return batch


def _advance(
    reference: Callable[[], bytes], rule: OfferRule, endless: bool, key: tuple[Any], frames: Any, group: Any
) -> Iterator[Any]:
    """A user's step, as Spark asks for it: frames of records, the state in a group, a frame of rows."""
    import pandas as pd

    if group.hasTimedOut:
        group.remove()
        return
    points, rejects = _sorted_out(data for frame in frames for data in frame["data"])
    rows: list[dict[str, Any]] = rejects
    if points:
        advisor = _advisor(reference(), rule)
        before = offer_items.load(bytes(group.get[0])) if group.exists else State()
        step = advisor.advance(key[0], before, points)
        rows = rejects + [offer_items.message(offer) for offer in step.offers]
        group.update((offer_items.dump(step.state),))
        if endless:
            group.setTimeoutDuration(offer_items.KEPT_SECONDS * 1000 + rule.cooldown // 1000)
    if rows:
        yield pd.DataFrame(rows, columns=[*OFFERS, *REJECTS])


def _sorted_out(records: Iterable[Any]) -> tuple[list[Point], list[dict[str, Any]]]:
    """Where the user was, by time, as far as there is consent; and the records that are no fixes."""
    points, rejects = [], []
    for data in map(bytes, records):
        try:
            fix = parse_fix(data)
        except RecordError as error:
            rejects.append({"reason": str(error), "data": data})
            continue
        if fix.consent:
            points.append(fix.point)
    return sorted(points), rejects


@cache
def _advisor(reference: bytes, rule: OfferRule) -> Advisor:
    return Advisor(rule, establishments.parse(reference))


def main() -> None:
    """Runs the job: to the end of what is there, or with `--every-seconds` until it is stopped."""
    given = arguments.read(
        "source", "reference", "output", "checkpoint", optional=("region", "files_per_batch", "every_seconds")
    )
    from pyspark.sql import SparkSession

    session = SparkSession.builder.appName("vitrine-offers").getOrCreate()
    reference = session.read.format("binaryFile").load(given.reference).first()
    if reference is None:
        raise FileNotFoundError(f"--reference {given.reference} is empty: name the file of establishments")
    files = int(given.files_per_batch) if given.files_per_batch else None
    positions = source(session, given.source, given.region, files)
    offers = advised(positions, bytes(reference["content"]), rule_of(os.environ), bool(given.every_seconds))
    trigger = {"processingTime": f"{given.every_seconds} seconds"} if given.every_seconds else {"availableNow": True}
    writer = offers.writeStream.foreachBatch(write(given.output)).option("checkpointLocation", given.checkpoint)
    writer.trigger(**trigger).start().awaitTermination()


if __name__ == "__main__":
    main()
