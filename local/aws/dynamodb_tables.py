"""Definitions of tables: checked, described, and what they demand of keys and items."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from local.aws import dynamodb_keys as keys
from local.aws.dynamodb_errors import InvalidValuesError, ValidationError
from local.aws.dynamodb_values import Item, Value, kind_of
from local.aws.settings import ACCOUNT, REGION

Definition = dict[str, Any]
Schema = list[tuple[str, str]]

THROTTLED_SHARE = "local:throttled-share"

_MAXIMUM_GLOBAL, _MAXIMUM_LOCAL = 20, 5
_KEY_BYTES = {"HASH": 2048, "RANGE": 1024}
_EMPTY: tuple[Value, ...] = ({"S": ""}, {"B": ""})


@dataclass(frozen=True)
class Index:
    """A secondary index.

    Attributes:
        name: Of the index.
        number: Of its rows' table in the store.
        schema: Name and type of the partition key and, if there is one, of the sort key.
        is_global: Whether its partition key is its own.
        projected: Attributes that it has; ``None`` for all.
    """

    name: str
    number: int
    schema: Schema
    is_global: bool
    projected: frozenset[str] | None

    def place(self, item: Item, primary: bytes) -> bytes | None:
        """Where an item is in this index, or ``None`` when it isn't there because it lacks a key of it."""
        values = [item.get(name) for name, _ in self.schema]
        if None in values:
            return None
        return _place(values) + primary  # type: ignore[arg-type]

    def project(self, item: Item) -> Item:
        """What the index has of an item."""
        if self.projected is None:
            return item
        return {name: value for name, value in item.items() if name in self.projected}


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        number: Of its items' table in the store.
        definition: What CreateTable and later calls said, as the store keeps it.
    """

    number: int
    definition: Definition

    @property
    def name(self) -> str:
        """The table's name."""
        return str(self.definition["TableName"])

    @property
    def arn(self) -> str:
        """The table's ARN."""
        return arn(self.name)

    @cached_property
    def schema(self) -> Schema:
        """Name and type of the partition key and, if there is one, of the sort key."""
        return _schema(self.definition["KeySchema"], self.definition["AttributeDefinitions"])

    @cached_property
    def key_attributes(self) -> frozenset[str]:
        """Names of the primary key's attributes."""
        return frozenset(name for name, _ in self.schema)

    @cached_property
    def indexes(self) -> dict[str, Index]:
        """The secondary indexes by name."""
        return {index.name: index for index in self._indexes()}

    @cached_property
    def expiry_attribute(self) -> str | None:
        """The attribute with the time, in seconds since 1970, after which an item expires."""
        ttl = self.definition.get("TimeToLive", {})
        return ttl["AttributeName"] if ttl.get("Enabled") else None

    @cached_property
    def throttled_share(self) -> float:
        """The share of requests to answer with ProvisionedThroughputExceededException: the tag of that name."""
        return float(self.definition.get("Tags", {}).get(THROTTLED_SHARE, 0))

    def index(self, name: str) -> Index:
        """The index of a name.

        Raises:
            ValidationError: There is none.
        """
        if name not in self.indexes:
            raise ValidationError(f"The table does not have the specified index: {name}")
        return self.indexes[name]

    def _indexes(self) -> Iterator[Index]:
        for parameter in ("GlobalSecondaryIndexes", "LocalSecondaryIndexes"):
            for index in self.definition.get(parameter, []):
                schema = _schema(index["KeySchema"], self.definition["AttributeDefinitions"])
                projected = None
                if index["Projection"]["ProjectionType"] != "ALL":
                    included = index["Projection"].get("NonKeyAttributes", [])
                    projected = self.key_attributes | {name for name, _ in schema} | set(included)
                yield Index(index["IndexName"], index["Number"], schema, parameter.startswith("G"), projected)

    # -- keys and items

    def place(self, key: Item) -> bytes:
        """Where the item of a key is.

        Raises:
            ValidationError: It is no key of this table.
        """
        if key.keys() != self.key_attributes or any(kind_of(key[name]) != kind for name, kind in self.schema):
            raise ValidationError("The provided key element does not match the schema")
        self._check_primary(key)
        return _place([key[name] for name, _ in self.schema])

    def place_of(self, item: Item) -> bytes:
        """Where an item belongs.

        Raises:
            ValidationError: It lacks a key, or has one of another type, or one that an index can't have.
        """
        for name, kind in self.schema:
            if name not in item:
                raise InvalidValuesError(f"Missing the key {name} in the item")
            if kind_of(item[name]) != kind:
                raise InvalidValuesError(f"Type mismatch for key {name} expected: {kind} actual: {kind_of(item[name])}")
        self._check_primary(item)
        for index in self.indexes.values():
            self._check_index(index, item)
        return _place([item[name] for name, _ in self.schema])

    def _check_primary(self, item: Item) -> None:
        for role, (name, _) in zip(_KEY_BYTES, self.schema, strict=False):
            if item[name] in _EMPTY:
                what = "string" if "S" in item[name] else "binary"
                raise ValidationError(
                    "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain "
                    f"an empty {what} value. Key: {name}"
                )
            if _key_size(item[name]) > _KEY_BYTES[role]:
                what = "Size of hashkey" if role == "HASH" else "Aggregated size of all range keys"
                limit = "maximum size limit of" if role == "HASH" else "size limit of "
                raise InvalidValuesError(f"{what} has exceeded the {limit}{_KEY_BYTES[role]} bytes")

    def _check_index(self, index: Index, item: Item) -> None:
        for role, (name, kind) in zip(_KEY_BYTES, index.schema, strict=False):
            if name not in item:
                continue
            if kind_of(item[name]) != kind:
                raise InvalidValuesError(
                    f"Type mismatch for Index Key {name} Expected: {kind} Actual: {kind_of(item[name])} IndexName: "
                    f"{index.name}"
                )
            if item[name] in _EMPTY:
                raise ValidationError(
                    "One or more parameter values are not valid. A value specified for a secondary index key is not "
                    "supported. The AttributeValue for a key attribute cannot contain an empty string value. "
                    f"IndexName: {index.name}, IndexKey: {name}"
                )
            if _key_size(item[name]) > _KEY_BYTES[role]:
                raise InvalidValuesError(
                    f"Size of the key {name} of index {index.name} exceeds {_KEY_BYTES[role]} bytes"
                )

    # -- description

    def describe(self, count: int, size: int) -> dict[str, Any]:
        """The table as DescribeTable writes it.

        Args:
            count: Of its items.
            size: Of all of them, in bytes.
        """
        definition = self.definition
        throughput = {"ReadCapacityUnits": 0, "WriteCapacityUnits": 0, **definition.get("ProvisionedThroughput", {})}
        described = {
            **{name: definition[name] for name in ("TableName", "AttributeDefinitions", "KeySchema")},
            "TableStatus": "ACTIVE",
            "TableArn": self.arn,
            "TableId": definition["TableId"],
            "CreationDateTime": definition["CreationDateTime"],
            "ItemCount": count,
            "TableSizeBytes": size,
            "ProvisionedThroughput": {**throughput, "NumberOfDecreasesToday": 0},
            "DeletionProtectionEnabled": definition.get("DeletionProtectionEnabled", False),
        }
        if definition["BillingMode"] == "PAY_PER_REQUEST":
            described["BillingModeSummary"] = {"BillingMode": "PAY_PER_REQUEST"}
        if "TableClass" in definition:
            described["TableClassSummary"] = {"TableClass": definition["TableClass"]}
        if definition.get("SSESpecification", {}).get("Enabled"):
            described["SSEDescription"] = {
                "Status": "ENABLED",
                "SSEType": "KMS",
                "KMSMasterKeyArn": definition["SSESpecification"].get(
                    "KMSMasterKeyId", f"arn:aws:kms:{REGION}:{ACCOUNT}:alias/aws/dynamodb"
                ),
            }
        for parameter in ("GlobalSecondaryIndexes", "LocalSecondaryIndexes"):
            if definition.get(parameter):
                described[parameter] = [self._described(index, parameter) for index in definition[parameter]]
        return described

    def _described(self, index: dict[str, Any], parameter: str) -> dict[str, Any]:
        described = {
            **{name: index[name] for name in ("IndexName", "KeySchema", "Projection")},
            "IndexArn": f"{self.arn}/index/{index['IndexName']}",
        }
        if parameter.startswith("L"):
            return described
        throughput = {"ReadCapacityUnits": 0, "WriteCapacityUnits": 0, **index.get("ProvisionedThroughput", {})}
        return {**described, "IndexStatus": "ACTIVE", "ProvisionedThroughput": throughput}


def arn(name: str) -> str:
    """The ARN of a table."""
    return f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{name}"


def _place(values: list[Value]) -> bytes:
    return keys.place(values[0]) + b"".join(map(keys.encode, values[1:]))


def _key_size(value: Value) -> int:
    kind = kind_of(value)
    return 0 if kind == "N" else len(value[kind].encode()) if kind == "S" else len(value["B"]) * 3 // 4


def _schema(key_schema: list[dict[str, str]], attributes: list[dict[str, str]]) -> Schema:
    kinds = {attribute["AttributeName"]: attribute["AttributeType"] for attribute in attributes}
    return [(key["AttributeName"], kinds[key["AttributeName"]]) for key in key_schema]


# ------------------------------------------------------------------------------------------------------------- checking


def check(definition: Definition) -> None:
    """Refuse a definition that no table can have.

    Args:
        definition: As CreateTable gets it.

    Raises:
        ValidationError: It contradicts itself or DynamoDB's rules.
    """
    _check_throughput(definition)
    _check_key_schema(definition["KeySchema"])
    table_key = definition["KeySchema"][0]["AttributeName"]
    used = {key["AttributeName"] for key in definition["KeySchema"]}
    names: set[str] = set()
    for parameter, most in (("GlobalSecondaryIndexes", _MAXIMUM_GLOBAL), ("LocalSecondaryIndexes", _MAXIMUM_LOCAL)):
        indexes = definition.get(parameter)
        if indexes == []:
            raise InvalidValuesError(f"List of {parameter} is empty")
        if len(indexes or []) > most:
            raise InvalidValuesError(f"{parameter} count exceeds the per-table limit of {most}")
        for index in indexes or []:
            _check_index_definition(index, parameter, names)
            if parameter.startswith("L") and index["KeySchema"][0]["AttributeName"] != table_key:
                raise InvalidValuesError(
                    "Index KeySchema does not have the same leading hash key as table KeySchema for index: "
                    f"{index['IndexName']}. index hash key: {index['KeySchema'][0]['AttributeName']}, table hash key: "
                    f"{table_key}"
                )
            used |= {key["AttributeName"] for key in index["KeySchema"]}
    _check_attributes(definition, used, indexed=bool(names))


def _check_throughput(definition: Definition) -> None:
    on_demand = definition.get("BillingMode", "PROVISIONED") == "PAY_PER_REQUEST"
    if on_demand and "ProvisionedThroughput" in definition:
        raise InvalidValuesError(
            "Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode is PAY_PER_REQUEST"
        )
    if not on_demand and "ProvisionedThroughput" not in definition:
        raise InvalidValuesError(
            "ReadCapacityUnits and WriteCapacityUnits must both be specified when BillingMode is PROVISIONED"
        )


def _check_key_schema(schema: list[dict[str, str]], index: str = "") -> None:
    roles = [key["KeyType"] for key in schema]
    if roles not in (["HASH"], ["HASH", "RANGE"]):
        where = f" of index {index}" if index else ""
        raise ValidationError(f"Invalid KeySchema{where}: one HASH key, then at most one RANGE key; found {roles}")
    if len({key["AttributeName"] for key in schema}) < len(schema):
        raise InvalidValuesError("Both the Hash Key and the Range Key element in the KeySchema have the same name")


def _check_index_definition(index: dict[str, Any], parameter: str, names: set[str]) -> None:
    name = index["IndexName"]
    if name in names:
        raise InvalidValuesError(f"Duplicate index name: {name}")
    names.add(name)
    _check_key_schema(index["KeySchema"], name)
    if parameter.startswith("L") and len(index["KeySchema"]) < 2:
        raise InvalidValuesError(f"Index KeySchema does not have a range key for index: {name}")
    kind, included = index["Projection"].get("ProjectionType"), index["Projection"].get("NonKeyAttributes")
    if kind not in ("ALL", "KEYS_ONLY", "INCLUDE"):
        raise InvalidValuesError(f"Unknown ProjectionType: {kind}")
    if (kind == "INCLUDE") != bool(included):
        rule = "NonKeyAttributes must be specified" if kind == "INCLUDE" else "NonKeyAttributes must not be specified"
        raise InvalidValuesError(f"ProjectionType is {kind}, so {rule}")


def _check_attributes(definition: Definition, used: set[str], indexed: bool) -> None:
    defined = [attribute["AttributeName"] for attribute in definition["AttributeDefinitions"]]
    for attribute in definition["AttributeDefinitions"]:
        if attribute["AttributeType"] not in ("S", "N", "B"):
            raise InvalidValuesError(
                f"AttributeType {attribute['AttributeType']} of {attribute['AttributeName']}: keys are S, N or B"
            )
    missing = sorted(used - set(defined))
    if missing:
        if not indexed:
            raise ValidationError("Invalid KeySchema: Some index key attribute have no definition")
        raise InvalidValuesError(
            f"Some index key attributes are not defined in AttributeDefinitions. Keys: [{', '.join(missing)}], "
            f"AttributeDefinitions: [{', '.join(sorted(defined))}]"
        )
    if len(defined) > len(used):
        if not indexed:
            raise InvalidValuesError(
                "Number of attributes in KeySchema does not exactly match number of attributes defined in "
                "AttributeDefinitions"
            )
        raise InvalidValuesError(
            f"Some AttributeDefinitions are not used. AttributeDefinitions: [{', '.join(sorted(defined))}], keys used: "
            f"[{', '.join(sorted(used))}]"
        )
