"""GetItem, BatchGetItem, TransactGetItems, Query and Scan.

An answer is a dict of JSON values, in which ``bytes`` are JSON already: items go from the store to the client unparsed
unless an expression needs to look at them.
"""

from typing import Any

from local.aws import dynamodb_capacity as capacity
from local.aws import dynamodb_keys as keys
from local.aws.dynamodb_conditions import KeyRange, condition, key_range, paths
from local.aws.dynamodb_errors import DynamoDBError, InvalidValuesError, ThroughputError, ValidationError
from local.aws.dynamodb_expressions import Scope, Steps
from local.aws.dynamodb_store import Page, Row, Store, dump, load
from local.aws.dynamodb_tables import Index, Table
from local.aws.dynamodb_updates import project, projection
from local.aws.dynamodb_values import Item, canonical

Request = dict[str, Any]
Answer = dict[str, Any]

PAGE_BYTES = 2**20

_MAXIMUM_BATCH = 100
_BATCH_BYTES = 16 * 2**20
_MAXIMUM_SEGMENTS = 1_000_000
_PROJECTION = ("ProjectionExpression",)
_SELECTS = ("SPECIFIC_ATTRIBUTES", "COUNT", "ALL_ATTRIBUTES", "ALL_PROJECTED_ATTRIBUTES")


def get_item(store: Store, request: Request) -> Answer:
    """One item by its key."""
    table = store.table(request["TableName"])
    get = _Get(table, request["Key"], request)
    store.sweep(table)
    row = store.get(table, get.place)
    answer: Answer = {"Item": get.rendered(row)} if row else {}
    if capacity.wanted(request):
        units = capacity.read_units(row.size if row else 0, request.get("ConsistentRead", False))
        answer["ConsumedCapacity"] = capacity.consumed(request, table.name, units)
    return answer


def batch_get_item(store: Store, request: Request) -> Answer:
    """Up to 100 items by their keys; what doesn't fit 16 MB, or is throttled, is handed back as unprocessed."""
    asked = request["RequestItems"]
    if sum(len(part["Keys"]) for part in asked.values()) > _MAXIMUM_BATCH:
        raise ValidationError("Too many items requested for the BatchGetItem call")
    gets = {name: _gets(store.table(name), part) for name, part in asked.items()}
    responses: dict[str, list[bytes]] = {name: [] for name in asked}
    unprocessed: dict[str, Any] = {}
    consumed = []
    budget = _BATCH_BYTES
    for name, part in asked.items():
        table, units = store.table(name), 0.0
        store.sweep(table)
        for key, get in zip(part["Keys"], gets[name], strict=True):
            row = store.get(table, get.place)
            budget -= row.size if row else 0
            if budget < 0 or capacity.throttles(table):
                unprocessed.setdefault(name, {**part, "Keys": []})["Keys"].append(key)
                continue
            units += capacity.read_units(row.size if row else 0, part.get("ConsistentRead", False))
            if row:
                responses[name].append(get.rendered(row))
        consumed.append((table.name, units))
    if sum(len(part["Keys"]) for part in unprocessed.values()) == sum(map(len, gets.values())):
        raise ThroughputError
    answer: Answer = {"Responses": responses, "UnprocessedKeys": unprocessed}
    if capacity.wanted(request):
        answer["ConsumedCapacity"] = [capacity.consumed(request, name, units) for name, units in consumed]
    return answer


def transact_get_items(store: Store, request: Request) -> Answer:
    """Up to 100 items by their keys, as they are at one moment."""
    asked = [_only(operation, "Get") for operation in request["TransactItems"]]
    if len(asked) > _MAXIMUM_BATCH:
        raise ValidationError(
            "1 validation error detected: Value at 'transactItems' failed to satisfy constraint: Member must have "
            f"length less than or equal to {_MAXIMUM_BATCH}"
        )
    gets = [_Get(store.table(part["TableName"]), part["Key"], part) for part in asked]
    check_throttling([get.table for get in gets])
    for table in {get.table.name: get.table for get in gets}.values():
        store.sweep(table)
    with store.alone():
        rows = [store.get(get.table, get.place) for get in gets]
    answer: Answer = {
        "Responses": [{"Item": get.rendered(row)} if row else {} for get, row in zip(gets, rows, strict=True)]
    }
    if capacity.wanted(request):
        units: dict[str, float] = {}
        for get, row in zip(gets, rows, strict=True):
            reads = 2 * capacity.read_units(row.size if row else 0, consistent=True)
            units[get.table.name] = units.get(get.table.name, 0) + reads
        answer["ConsumedCapacity"] = [capacity.consumed(request, name, read) for name, read in units.items()]
    return answer


def check_throttling(tables: list[Table]) -> None:
    """Cancel a transaction when one of its tables throttles.

    Raises:
        DynamoDBError: One does.
    """
    error = ThroughputError()
    throttled = [capacity.throttles(table) for table in tables]
    if any(throttled):
        raise cancelled(
            [{"Code": "ProvisionedThroughputExceeded", "Message": error.message} if it else None for it in throttled]
        )


def cancelled(reasons: list[dict[str, Any] | None]) -> DynamoDBError:
    """A transaction did not happen.

    Args:
        reasons: For each of its operations, ``None`` where it was not its fault.
    """
    told = [reason or {"Code": "None"} for reason in reasons]
    return DynamoDBError(
        "TransactionCanceledException",
        "Transaction cancelled, please refer cancellation reasons for specific reasons "
        f"[{', '.join(reason['Code'] for reason in told)}]",
        CancellationReasons=told,
    )


class _Get:
    """A key to look up, and what to give of its item."""

    def __init__(self, table: Table, key: Item, parameters: Request) -> None:
        scope = Scope(parameters, _PROJECTION)
        self.table = table
        self._paths = projection(parameters, scope)
        scope.check_all_used()
        self.place = table.place(canonical(key)[0])

    def rendered(self, row: Row) -> bytes:
        return row.item if self._paths is None else dump(project(load(row.item), self._paths))


def _gets(table: Table, part: Request) -> list[_Get]:
    gets = [_Get(table, key, part) for key in part["Keys"]]
    if len({get.place for get in gets}) < len(gets):
        raise ValidationError("Provided list of item keys contains duplicates")
    return gets


def _only(operation: dict[str, Any], name: str) -> dict[str, Any]:
    if set(operation) != {name}:
        raise ValidationError(f"TransactItems can only contain {name}, found {sorted(operation)}")
    part: dict[str, Any] = operation[name]
    return part


# ------------------------------------------------------------------------------------------------------- query and scan


def query(store: Store, request: Request) -> Answer:
    """The items of one partition, in the order of their sort keys."""
    table, index = _source(store, request)
    scope = Scope(request, ("KeyConditionExpression", "FilterExpression", "ProjectionExpression"))
    schema = (index or table).schema
    if "KeyConditionExpression" not in request:
        raise ValidationError("The parameter KeyConditionExpression is required but was not present in the request")
    wanted = key_range(request["KeyConditionExpression"], scope, schema)
    listing = _Listing(table, index, request, scope)
    listing.refuse_key_filter(request, scope)
    scope.check_all_used()
    low, high = wanted.low, wanted.high
    forward = request.get("ScanIndexForward", True)
    if "ExclusiveStartKey" in request:
        start = _start(table, index, request["ExclusiveStartKey"])
        _check_start(start, wanted)
        low, high = (max(low, start + b"\x00"), high) if forward else (low, min(high, start))
    return listing.answer(store, low, high, forward)


def scan(store: Store, request: Request) -> Answer:
    """All items, or those of one segment of a parallel scan."""
    table, index = _source(store, request)
    scope = Scope(request, ("FilterExpression", "ProjectionExpression"))
    listing = _Listing(table, index, request, scope)
    scope.check_all_used()
    low, high = _segment(request)
    if "ExclusiveStartKey" in request:
        start = _start(table, index, request["ExclusiveStartKey"])
        if not low <= start < high:
            raise ValidationError("The provided starting key is invalid: Invalid ExclusiveStartKey for this Segment")
        low = start + b"\x00"
    return listing.answer(store, low, high, forward=True)


def _source(store: Store, request: Request) -> tuple[Table, Index | None]:
    table = store.table(request["TableName"])
    index = table.index(request["IndexName"]) if "IndexName" in request else None
    if index and index.is_global and request.get("ConsistentRead"):
        raise ValidationError("Consistent reads are not supported on global secondary indexes")
    if request.get("Limit", 1) < 1:
        raise ValidationError(
            f"1 validation error detected: Value '{request['Limit']}' at 'limit' failed to satisfy constraint: Member "
            "must have value greater than or equal to 1"
        )
    return table, index


def _segment(request: Request) -> tuple[bytes, bytes]:
    if "Segment" not in request and "TotalSegments" not in request:
        return keys.EVERYTHING
    if "TotalSegments" not in request:
        raise ValidationError(
            "The TotalSegments parameter is required but was not present in the request when Segment parameter is "
            "present"
        )
    if "Segment" not in request:
        raise ValidationError(
            "The Segment parameter is required but was not present in the request when parameter TotalSegments is "
            "present"
        )
    number, total = request["Segment"], request["TotalSegments"]
    if not 1 <= total <= _MAXIMUM_SEGMENTS:
        raise ValidationError(f"TotalSegments is {total}: it must be between 1 and {_MAXIMUM_SEGMENTS}")
    if not 0 <= number < total:
        raise ValidationError("The Segment parameter is zero-based and must be less than parameter TotalSegments")
    return keys.segment(number, total)


def _start(table: Table, index: Index | None, key: Item) -> bytes:
    key, _ = canonical(key)
    attributes = table.key_attributes | {name for name, _ in (index.schema if index else [])}
    if key.keys() != attributes:
        raise ValidationError(
            "The provided starting key is invalid: The provided key element does not match the schema"
        )
    primary = table.place({name: key[name] for name in table.key_attributes})
    return (index.place(key, primary) if index else None) or primary


def _check_start(start: bytes, wanted: KeyRange) -> None:
    partition = keys.place(wanted.partition)
    if not start.startswith(partition):
        raise ValidationError("The provided starting key is outside query boundaries based on provided conditions")
    if not wanted.low <= start < wanted.high:
        raise ValidationError("The provided starting key does not match the range key predicate")


class _Listing:
    """What a query or a scan gives of the items it meets."""

    def __init__(self, table: Table, index: Index | None, request: Request, scope: Scope) -> None:
        self._table, self._index, self._request = table, index, request
        self._filter = condition(request, "FilterExpression", scope)
        self._paths = projection(request, scope)
        self._select = _select(table, index, request)
        self._narrowed = bool(index and index.projected is not None and self._select != "ALL_ATTRIBUTES")
        if index and index.is_global:
            _check_projected(index, self._paths)
        elif self._paths is not None:
            self._narrowed = False  # a local index fetches from the table what it lacks

    def refuse_key_filter(self, request: Request, scope: Scope) -> None:
        for path in paths(request, "FilterExpression", scope):
            if path[0] in {name for name, _ in (self._index or self._table).schema}:
                raise ValidationError(
                    f"Filter Expression can only contain non-primary key attributes: Primary key attribute: {path[0]}"
                )

    def answer(self, store: Store, low: bytes, high: bytes, forward: bool) -> Answer:
        request = self._request
        store.sweep(self._table)
        page = Page([], ended=True)
        if low < high:
            page = store.page(self._table, self._index, low, high, forward, request.get("Limit"), PAGE_BYTES)
        items = [rendered for row in page.rows if (rendered := self._rendered(row.item)) is not None]
        answer: Answer = {"Count": len(items), "ScannedCount": len(page.rows)}
        if self._select != "COUNT":
            answer["Items"] = items
        if not page.ended:
            answer["LastEvaluatedKey"] = self._key(load(page.rows[-1].item))
        if capacity.wanted(request):
            size = sum(row.size for row in page.rows)
            units = capacity.read_units(size, request.get("ConsistentRead", False))
            answer["ConsumedCapacity"] = capacity.consumed(request, self._table.name, units)
        return answer

    def _rendered(self, stored: bytes) -> bytes | None:
        if self._filter is None and self._paths is None and not self._narrowed:
            return stored
        item = load(stored)
        if self._narrowed and self._index:
            item = self._index.project(item)
        if self._filter is not None and not self._filter(item):
            return None
        if self._paths is not None:
            item = project(item, self._paths)
        elif not self._narrowed:
            return stored
        return dump(item)

    def _key(self, item: Item) -> Item:
        schemas = [*self._table.schema, *(self._index.schema if self._index else [])]
        return {name: item[name] for name, _ in schemas}


def _select(table: Table, index: Index | None, request: Request) -> str | None:
    select: str | None = request.get("Select")
    projected = "ProjectionExpression" in request
    if select is None:
        return None
    if select not in _SELECTS:
        raise ValidationError(
            f"1 validation error detected: Value '{select}' at 'select' failed to satisfy constraint: Member must "
            f"satisfy enum value set: [{', '.join(_SELECTS)}]"
        )
    if select == "SPECIFIC_ATTRIBUTES" and not projected:
        raise ValidationError(
            "Must specify the AttributesToGet or ProjectionExpression when choosing to get SPECIFIC_ATTRIBUTES"
        )
    if select != "SPECIFIC_ATTRIBUTES" and projected:
        what = "only the Count" if select == "COUNT" else select
        raise ValidationError(f"Cannot specify the ProjectionExpression when choosing to get {what}")
    if select == "ALL_PROJECTED_ATTRIBUTES" and index is None:
        raise ValidationError("ALL_PROJECTED_ATTRIBUTES can be used only when Querying using an IndexName")
    if select == "ALL_ATTRIBUTES" and index and index.is_global and index.projected is not None:
        raise InvalidValuesError(
            f"Select type ALL_ATTRIBUTES is not supported for global secondary index {index.name} because its "
            "projection type is not ALL"
        )
    return select


def _check_projected(index: Index, wanted: list[Steps] | None) -> None:
    if wanted is None or index.projected is None:
        return
    missing = sorted({str(path[0]) for path in wanted} - index.projected)
    if missing:
        raise InvalidValuesError(f"Global secondary index {index.name} does not project [{', '.join(missing)}]")
