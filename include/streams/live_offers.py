"""Lambda handler of the positions: who approaches an establishment gets its best ad.

All fixes of a user are in one shard, in their order, and what is known of the user is one item; so users don't wait for
each other, and nothing that comes again changes anything. See `offers` for what is offered, `offer_items` for how it is
kept and told.
"""

import json
import os
from functools import cache
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from include.streams import establishments, offer_items, records, state_items
from include.streams.aws import client
from include.streams.establishments import ReferenceDataError
from include.streams.fields import RecordError
from include.streams.items import Items
from include.streams.offer_items import Offered, Sent, Walk, offer_place, state_place
from include.streams.offers import Advisor, OfferRule, Point, parse_fix, rule_of
from include.streams.records import Record

FUNCTION = "live_offers"


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Takes the fixes of a batch, makes offers and tells them; what is no fix goes to quarantine.

    Fixes without consent are counted and forgotten.

    Args:
        event: of a Kinesis event source. Environment: ``WINDOWS_TABLE``, ``OFFERS_TABLE``, ``OFFERS_TOPIC_ARN``,
            ``OFFERS_REFERENCE`` (s3:// URI of a file of establishments), ``QUARANTINE``; and what `rule_of` reads.
        context: of Lambda; how much time is left.

    Returns:
        ``batchItemFailures``: the records that DynamoDB, SNS or S3 would not take now.

    Raises:
        ReferenceDataError: the file of establishments is not there, or cannot be used.
    """
    advisor = _advisor(os.environ["OFFERS_REFERENCE"], rule_of(os.environ))
    batch = records.decoded(event)
    good, poison = records.sorted_out(batch, lambda record: parse_fix(record.data), RecordError)
    fixes: dict[str, list[tuple[Record, Point]]] = {}
    for record, fix in good:
        if fix.consent:
            fixes.setdefault(fix.user, []).append((record, fix.point))
    walks = {
        user: Walk(advisor, user, [point for _, point in mine], mine[-1][0].arrival) for user, mine in fixes.items()
    }
    deadline = records.deadline(context)
    states = Items(client("dynamodb"), os.environ["WINDOWS_TABLE"], state_items.KEYS, deadline)
    table = Items(client("dynamodb"), os.environ["OFFERS_TABLE"], offer_items.KEYS, deadline)
    undone = states.change({state_place(user): walk for user, walk in walks.items()})
    done = {user: walk for user, walk in walks.items() if state_place(user) not in undone}
    untold = _tell(states, table, {user: walk for user, walk in done.items() if walk.outbox})
    failed = [record for user, mine in fixes.items() if user in untold or user not in done for record, _ in mine]
    return records.answer(
        FUNCTION,
        batch,
        failed + records.put_aside(FUNCTION, poison),
        offers=sum(walk.offers for walk in done.values()),
        stale=sum(walk.stale for walk in done.values()),
        without_consent=sum(not fix.consent for _, fix in good),
        quarantined=len(poison),
    )


@cache
def _advisor(uri: str, rule: OfferRule) -> Advisor:
    """The advisor of this worker, whose first invocation reads the establishments."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not bucket or not key:
        raise ReferenceDataError(
            f"OFFERS_REFERENCE is {uri!r}: set it to s3://<bucket>/<key> of a file of establishments"
        )
    try:
        data = client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
        return Advisor(rule, establishments.parse(data))
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("NoSuchKey", "NoSuchBucket", "AccessDenied", "404", "403"):
            raise
        raise ReferenceDataError(
            f"OFFERS_REFERENCE names {uri}, which is not there, or may not be read: the Glue job "
            "vitrine-offer-reference writes it, in a run of the DAG geo_advertising: run it, or correct the variable"
        ) from error
    except ReferenceDataError as error:
        raise ReferenceDataError(f"{uri}: {error}") from error


def _tell(states: Items, table: Items, walks: dict[str, Walk]) -> set[str]:
    """Puts what is in outboxes into the table, publishes it and empties them; the users where that was not possible."""
    changes = {offer_place(one): Offered(one, walk.arrival) for walk in walks.values() for one in walk.outbox.values()}
    failed = {user for user, _ in table.change(changes, known=False)}
    sent = {}
    for user, walk in walks.items():
        if user not in failed:
            try:
                for one in walk.outbox.values():
                    _publish(one)
                sent[state_place(user)] = Sent(list(walk.outbox))
            except (BotoCoreError, ClientError) as error:
                print(json.dumps({"error": f"not published: {error}", "id": one["id"]}))
                failed.add(user)
    unemptied = states.change(sent)
    return failed | {user for user in walks if state_place(user) in unemptied}


def _publish(message: dict[str, Any]) -> None:
    """To the topic; subscribers may choose by user, establishment or category."""
    client("sns").publish(
        TopicArn=os.environ["OFFERS_TOPIC_ARN"],
        Subject="Offer",
        Message=json.dumps(message, ensure_ascii=False),
        MessageAttributes={
            name: {"DataType": "String", "StringValue": message[name]}
            for name in ("user_id", "establishment_id", "category")
        },
    )
