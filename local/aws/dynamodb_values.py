"""Attribute values in DynamoDB's JSON, e.g. ``{"N": "1"}``: checked, measured, and brought to one form.

Equal values have the same canonical form (numbers without superfluous digits, sets sorted), so that ``==`` compares.
"""

import base64
import binascii
import re
from decimal import Context, Decimal, DecimalException
from typing import Any

from local.aws.dynamodb_errors import DynamoDBError, InvalidValuesError, ValidationError

Value = dict[str, Any]
Item = dict[str, Value]

MAXIMUM_SIZE = 400 * 1024
KINDS = ("B", "BOOL", "BS", "L", "M", "N", "NS", "NULL", "S", "SS")

_MAXIMUM_DEPTH = 32
_MAXIMUM_DIGITS = 38
_LARGEST_EXPONENT, _SMALLEST_EXPONENT = 125, -130
_CANONICAL_NUMBER = re.compile(r"0|-?[1-9][0-9]{0,37}|-?(?:0|[1-9][0-9]{0,17})\.[0-9]{0,18}[1-9]")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_EXACT = Context(prec=400)  # a sum of two numbers has at most 256 digits


def canonical(item: Item) -> tuple[Item, int]:
    """Check the attributes of an item, key or map of expression values.

    Args:
        item: Attribute names and values, as a client sends them.

    Returns:
        The item in canonical form, and its size in bytes by DynamoDB's rules.

    Raises:
        DynamoDBError: A value is none that DynamoDB can store.
    """
    result, size = {}, 0
    for name, value in item.items():
        result[name], measured = _value(value, 1)
        size += measured + _bytes(name)
    return result, size


def stored(item: Item, too_large: str = "Item size has exceeded the maximum allowed size") -> tuple[Item, int]:
    """The same as :func:`canonical`, for what is to become an item.

    Raises:
        DynamoDBError: ``too_large`` where the item is larger than 400 KB; a value that can't be stored.
    """
    result, size = canonical(item)
    if size > MAXIMUM_SIZE:
        raise ValidationError(too_large)
    return result, size


def kind_of(value: Value) -> str:
    """The type of a value, e.g. ``"N"``."""
    return next(iter(value))


def decimal(value: Value) -> Decimal:
    """A number to reckon with."""
    return Decimal(value["N"])


def added(left: Value, right: Value, sign: int = 1) -> Value:
    """The sum, or the difference with ``sign=-1``, of two numbers."""
    addend = decimal(right) if sign > 0 else -decimal(right)
    return {"N": number(format(_EXACT.add(decimal(left), addend), "f"))}


def ordered(value: Value) -> Any:
    """What a string, number or binary value sorts by among its like; ``None`` for a type without an order."""
    kind = kind_of(value)
    if kind == "S":
        return value["S"]  # code points sort as their UTF-8 does
    if kind == "N":
        return decimal(value)
    return base64.b64decode(value["B"]) if kind == "B" else None


def elements(kind: str, members: list[str]) -> list[str]:
    """The members of a set in canonical order."""
    if kind == "NS":
        return sorted(members, key=Decimal)
    return sorted(members)


def number(text: Any) -> str:
    """The canonical form of a number.

    Raises:
        DynamoDBError: It isn't one, has more than 38 digits, or is too large or too small.
    """
    if not isinstance(text, str):
        raise _serialization(text, "a number as a string")
    if _CANONICAL_NUMBER.fullmatch(text):
        return text
    if not _NUMBER.fullmatch(text):
        raise ValidationError(f"The parameter cannot be converted to a numeric value: {text}")
    try:
        parsed = Decimal(text)
    except DecimalException:  # an exponent beyond all bounds
        parsed = Decimal("1E-999" if re.search("[eE]-", text) else "1E999")
    if not parsed:
        return "0"
    if parsed.adjusted() > _LARGEST_EXPONENT:
        raise ValidationError(
            "Number overflow. Attempting to store a number with magnitude larger than supported range"
        )
    if parsed.adjusted() < _SMALLEST_EXPONENT:
        raise ValidationError(
            "Number underflow. Attempting to store a number with magnitude smaller than supported range"
        )
    digits = "".join(map(str, parsed.as_tuple().digits)).strip("0")
    if len(digits) > _MAXIMUM_DIGITS:
        raise ValidationError("Attempting to store more than 38 significant digits in a Number")
    plain = format(parsed, "f")
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def _value(value: Any, depth: int) -> tuple[Value, int]:
    if not isinstance(value, dict):
        raise _serialization(value, "an attribute value")
    if len(value) != 1:
        state = "has more than one datatypes set" if value else "is empty"
        raise ValidationError(f"Supplied AttributeValue {state}, must contain exactly one of the supported datatypes")
    ((kind, content),) = value.items()
    if kind == "S":
        return value, _bytes(content)
    if kind == "N":
        text = number(content)
        return {"N": text}, _number_size(text)
    if kind in ("M", "L"):
        if depth >= _MAXIMUM_DEPTH:
            raise ValidationError("Nesting Levels have exceeded supported limits")
        return _document(kind, content, depth + 1)
    if kind in ("SS", "NS", "BS"):
        return _set(kind, content)
    if kind == "B":
        data = _binary(content)
        return {"B": base64.b64encode(data).decode()}, len(data)
    if kind in ("BOOL", "NULL"):
        if not isinstance(content, bool):
            raise _serialization(content, "a boolean")
        if kind == "NULL" and not content:
            raise InvalidValuesError("Null attribute value types must have the value of true")
        return value, 1
    raise ValidationError("Supplied AttributeValue is empty, must contain exactly one of the supported datatypes")


def _document(kind: str, content: Any, depth: int) -> tuple[Value, int]:
    if kind == "L" and isinstance(content, list):
        members = [_value(member, depth) for member in content]
        return {"L": [member for member, _ in members]}, 3 + len(content) + sum(measured for _, measured in members)
    if kind == "L" or not isinstance(content, dict):
        raise _serialization(content, "a list" if kind == "L" else "a map")
    result, size = {}, 3 + len(content)
    for name, member in content.items():
        result[name], measured = _value(member, depth)
        size += measured + _bytes(name)
    return {"M": result}, size


def _set(kind: str, content: Any) -> tuple[Value, int]:
    if not isinstance(content, list):
        raise _serialization(content, "a list of a set's members")
    if not content:
        raise InvalidValuesError(
            {"SS": "An string set  may not be empty", "NS": "An number set  may not be empty"}.get(
                kind, "Binary sets should not be empty"
            )
        )
    values = [_value({kind[0]: member}, 1) for member in content]
    members = [value[kind[0]] for value, _ in values]
    if len(set(members)) < len(members):
        raise InvalidValuesError(f"Input collection {content} contains duplicates.".replace("'", ""))
    return {kind: elements(kind, members)}, sum(measured for _, measured in values)


def _binary(content: Any) -> bytes:
    try:
        return base64.b64decode(content, validate=True)
    except (binascii.Error, TypeError, ValueError) as error:
        raise _serialization(content, "Base64") from error


def _bytes(text: Any) -> int:
    if not isinstance(text, str):
        raise _serialization(text, "a string")
    if text.isascii():
        return len(text)
    try:
        return len(text.encode())
    except UnicodeEncodeError as error:
        raise _serialization(text, "Unicode text") from error


def _number_size(text: str) -> int:
    digits = len(text.lstrip("-").replace(".", "").strip("0"))
    return (digits + 1) // 2 + 1 + text.startswith("-")


def _serialization(found: Any, wanted: str) -> DynamoDBError:
    return DynamoDBError("SerializationException", f"{found!r:.100} is not {wanted}")
