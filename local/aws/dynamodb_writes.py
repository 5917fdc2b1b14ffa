"""PutItem, UpdateItem, DeleteItem, BatchWriteItem and TransactWriteItems."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from local.aws import dynamodb_capacity as capacity
from local.aws.dynamodb_conditions import Condition, condition
from local.aws.dynamodb_errors import ConditionFailedError, DynamoDBError, ThroughputError, ValidationError
from local.aws.dynamodb_expressions import Scope
from local.aws.dynamodb_reads import Answer, Request, cancelled, check_throttling
from local.aws.dynamodb_store import Store, load
from local.aws.dynamodb_tables import Table
from local.aws.dynamodb_updates import Update, project
from local.aws.dynamodb_values import Item, canonical, stored

_MAXIMUM_BATCH, _MAXIMUM_TRANSACTION = 25, 100
_TRANSACTION_BYTES = 4 * 2**20
_RETURNS = ("ALL_NEW", "UPDATED_OLD", "ALL_OLD", "NONE", "UPDATED_NEW")
_TOO_LARGE = "Item size to update has exceeded the maximum allowed size"

_Measured = tuple[Item, int]
_Change = Callable[[Item], _Measured | None]


@dataclass(frozen=True)
class _Write:
    """One change of one item.

    Attributes:
        table: Where.
        place: Of the item.
        condition: What the item must fulfil.
        change: From the item (``{}`` for none) to what it becomes, and its size; ``None`` deletes it.
        returns_on_failure: Whether a failed condition hands the item back.
    """

    table: Table
    place: bytes
    condition: Condition | None
    change: _Change | None
    returns_on_failure: bool = False

    def apply(self, store: Store, *, reading: bool = True) -> tuple[Item, _Measured | None]:
        """Carry it out, in a transaction.

        Args:
            store: Where to.
            reading: Whether somebody wants to know what was there.

        Returns:
            What was there (``{}`` for nothing), and what is there now.

        Raises:
            DynamoDBError: The condition doesn't hold, or the change doesn't fit the item.
        """
        old: Item = {}
        if reading or self.condition or self.table.indexes:
            row = store.get(self.table, self.place)
            old = load(row.item if row else None)
        if self.condition and not self.condition(old):
            raise ConditionFailedError(old if self.returns_on_failure else None)
        if self.change is None:
            return old, None
        changed = self.change(old)
        if changed:
            store.put(self.table, self.place, *changed, old)
        elif old or not reading:
            store.delete(self.table, self.place, old)
        return old, changed


def put_item(store: Store, request: Request) -> Answer:
    """Write an item, in place of the one with its key."""
    _check_returns(request, ("NONE", "ALL_OLD"))
    write = _put(store, request)
    reading = "ReturnValues" in request or capacity.wanted(request)
    with store.transaction():
        old, new = write.apply(store, reading=reading)
    return _answer(request, write, old, new)


def delete_item(store: Store, request: Request) -> Answer:
    """Delete the item of a key, if there is one."""
    _check_returns(request, ("NONE", "ALL_OLD"))
    write = _delete(store, request)
    with store.transaction():
        old, new = write.apply(store)
    return _answer(request, write, old, new)


def update_item(store: Store, request: Request) -> Answer:
    """Change the item of a key, or make one."""
    _check_returns(request, _RETURNS)
    write, update = _update(store, request)
    with store.transaction():
        old, new = write.apply(store)
    answer = _answer(request, write, old, new)
    after = new[0] if new else {}
    returned: Item = {}
    choice = request.get("ReturnValues")
    if choice == "ALL_NEW":
        returned = after
    elif choice == "UPDATED_OLD" and update:
        returned = project(old, update.paths)
    elif choice == "UPDATED_NEW" and update:
        returned = project(after, update.written)
    return {**answer, "Attributes": returned} if returned else answer


def batch_write_item(store: Store, request: Request) -> Answer:
    """Up to 25 writes and deletions, each for itself; what is throttled is handed back as unprocessed."""
    asked = [(name, operation) for name, part in request["RequestItems"].items() for operation in part]
    if len(asked) > _MAXIMUM_BATCH:
        raise ValidationError("Too many items requested for the BatchWriteItem call")
    writes = [_of_batch(store, name, operation) for name, operation in asked]
    if len({(write.table.number, write.place) for write in writes}) < len(writes):
        raise ValidationError("Provided list of item keys contains duplicates")
    unprocessed: dict[str, list[Any]] = {}
    units: dict[str, float] = {}
    with store.transaction():
        for (name, operation), write in zip(asked, writes, strict=True):
            if capacity.throttles(write.table):
                unprocessed.setdefault(name, []).append(operation)
                continue
            _, new = write.apply(store, reading=False)
            units[write.table.name] = units.get(write.table.name, 0) + capacity.write_units(new[1] if new else 0)
    if sum(map(len, unprocessed.values())) == len(asked):
        raise ThroughputError
    answer: Answer = {"UnprocessedItems": unprocessed}
    if capacity.wanted(request):
        answer["ConsumedCapacity"] = [capacity.consumed(request, name, written) for name, written in units.items()]
    return answer


def transact_write_items(store: Store, request: Request) -> Answer:
    """Up to 100 writes, deletions and checks, all or none; once for each idempotency token."""
    operations = request["TransactItems"]
    if len(operations) > _MAXIMUM_TRANSACTION:
        raise ValidationError(
            "1 validation error detected at 'transactItems' failed to satisfy constraint: Member must have length "
            f"less than or equal to {_MAXIMUM_TRANSACTION}."
        )
    writes = [_of_transaction(store, operation) for operation in operations]
    if len({(write.table.number, write.place) for write in writes}) < len(writes):
        raise ValidationError("Transaction request cannot include multiple operations on one item")
    check_throttling([write.table for write in writes])
    token = request.get("ClientRequestToken")
    digest = hashlib.sha256(json.dumps(operations, sort_keys=True).encode()).digest()
    with store.transaction():
        before = store.remembered(token) if token else None
        if before is None:
            units = _apply_all(store, writes)
            if token:
                store.remember(token, digest)
        elif before == digest:
            units = {write.table.name: 0.0 for write in writes}
        else:
            raise DynamoDBError(
                "IdempotentParameterMismatchException",
                f"ClientRequestToken {token} came with another request in the last ten minutes: use a new one",
            )
    if not capacity.wanted(request):
        return {}
    return {"ConsumedCapacity": [capacity.consumed(request, name, written) for name, written in units.items()]}


def _apply_all(store: Store, writes: list[_Write]) -> dict[str, float]:
    reasons: list[dict[str, Any] | None] = []
    units: dict[str, float] = {}
    size = 0
    for write in writes:
        try:
            _, new = write.apply(store)
        except ConditionFailedError as error:
            reasons.append({"Code": "ConditionalCheckFailed", "Message": error.message, **error.members})
            continue
        except ValidationError as error:
            reasons.append({"Code": "ValidationError", "Message": error.message})
            continue
        reasons.append(None)
        size += new[1] if new else 0
        written = 2 * capacity.write_units(new[1] if new else 0)
        units[write.table.name] = units.get(write.table.name, 0) + written
    if any(reasons):
        raise cancelled(reasons)
    if size > _TRANSACTION_BYTES:
        raise ValidationError("The items of the transaction exceed the maximum of 4 MB")
    return units


# --------------------------------------------------------------------------------------------------- requests to writes


def _put(store: Store, request: Request) -> _Write:
    table = store.table(request["TableName"])
    scope = Scope(request, ("ConditionExpression",))
    wanted = condition(request, "ConditionExpression", scope)
    scope.check_all_used()
    measured = stored(request["Item"])
    return _Write(table, table.place_of(measured[0]), wanted, lambda old: measured, _returns_on_failure(request))


def _delete(store: Store, request: Request) -> _Write:
    table = store.table(request["TableName"])
    scope = Scope(request, ("ConditionExpression",))
    wanted = condition(request, "ConditionExpression", scope)
    scope.check_all_used()
    place = table.place(canonical(request["Key"])[0])
    return _Write(table, place, wanted, lambda old: None, _returns_on_failure(request))


def _check(store: Store, request: Request) -> _Write:
    table = store.table(request["TableName"])
    scope = Scope(request, ("ConditionExpression",))
    wanted = condition(request, "ConditionExpression", scope)
    if wanted is None:
        raise ValidationError("The parameter ConditionExpression of a ConditionCheck is missing")
    scope.check_all_used()
    place = table.place(canonical(request["Key"])[0])
    return _Write(table, place, wanted, None, _returns_on_failure(request))


def _update(store: Store, request: Request) -> tuple[_Write, Update | None]:
    table = store.table(request["TableName"])
    key, _ = canonical(request["Key"])
    place = table.place(key)
    scope = Scope(request, ("UpdateExpression", "ConditionExpression"))
    wanted = condition(request, "ConditionExpression", scope)
    text = request.get("UpdateExpression")
    update = Update(text, scope, table.key_attributes) if text is not None else None
    scope.check_all_used()

    def change(old: Item) -> _Measured | None:
        if not old and update and update.only_removes:
            return None
        new = old or key
        measured = stored(update.apply(new) if update else new, _TOO_LARGE)
        table.place_of(measured[0])
        return measured

    return _Write(table, place, wanted, change, _returns_on_failure(request)), update


def _of_batch(store: Store, table: str, operation: dict[str, Any]) -> _Write:
    ((kind, parameters),) = operation.items()
    if kind == "PutRequest":
        return _put(store, {"TableName": table, "Item": parameters["Item"]})
    if kind == "DeleteRequest":
        return _delete(store, {"TableName": table, "Key": parameters["Key"]})
    raise ValidationError(f"RequestItems of {table}: {kind} is neither PutRequest nor DeleteRequest")


def _of_transaction(store: Store, operation: dict[str, Any]) -> _Write:
    if len(operation) != 1:
        raise ValidationError("TransactItems can only contain one of Check, Put, Update or Delete")
    ((kind, parameters),) = operation.items()
    if kind == "Update":
        return _update(store, parameters)[0]
    prepare = {"Put": _put, "Delete": _delete, "ConditionCheck": _check}.get(kind)
    if prepare is None:
        raise ValidationError(f"TransactItems: {kind} is none of ConditionCheck, Put, Update and Delete")
    return prepare(store, parameters)


def _returns_on_failure(request: Request) -> bool:
    choice = request.get("ReturnValuesOnConditionCheckFailure", "NONE")
    if choice not in ("ALL_OLD", "NONE"):
        raise ValidationError(
            f"1 validation error detected: Value '{choice}' at 'returnValuesOnConditionCheckFailure' failed to satisfy "
            "constraint: Member must satisfy enum value set: [ALL_OLD, NONE]"
        )
    return bool(choice == "ALL_OLD")


def _check_returns(request: Request, allowed: tuple[str, ...]) -> None:
    choice = request.get("ReturnValues", "NONE")
    if choice not in _RETURNS:
        raise ValidationError(
            f"1 validation error detected: Value '{choice}' at 'returnValues' failed to satisfy constraint: Member "
            f"must satisfy enum value set: [{', '.join(_RETURNS)}]"
        )
    if choice not in allowed:
        raise ValidationError("Return values set to invalid value")


def _answer(request: Request, write: _Write, old: Item, new: _Measured | None) -> Answer:
    answer: Answer = {}
    if request.get("ReturnValues") == "ALL_OLD" and old:
        answer["Attributes"] = old
    if capacity.wanted(request):
        size = max(canonical(old)[1], new[1] if new else 0)
        answer["ConsumedCapacity"] = capacity.consumed(request, write.table.name, capacity.write_units(size))
    return answer
