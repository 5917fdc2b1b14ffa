"""What conditions, filters and key conditions mean: functions of an item."""

import base64
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from local.aws import dynamodb_keys as keys
from local.aws.dynamodb_errors import InvalidValuesError, ValidationError
from local.aws.dynamodb_expressions import Call, Group, Node, Path, Placeholder, Scope, Steps, parse_condition
from local.aws.dynamodb_values import KINDS, Item, Value, kind_of, ordered

Condition = Callable[[Item], bool]
_Operand = Callable[[Item], Value | None]

_ARITY = {"attribute_exists": 1, "attribute_not_exists": 1, "size": 1}
_MIRRORED = {"=": "=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_SETS = {"SS": "S", "NS": "N", "BS": "B"}


def condition(request: dict[str, Any], parameter: str, scope: Scope) -> Condition | None:
    """The condition or filter of a request.

    Args:
        request: Its parameters.
        parameter: Which of them has the expression.
        scope: Its placeholders.

    Returns:
        A function of an item (``{}`` where there is none), or ``None`` when the request has no such parameter.

    Raises:
        ValidationError: The expression is wrong.
    """
    text = request.get(parameter)
    if text is None:
        return None
    return _Binder(scope, parameter).condition(parse_condition(text, parameter))


def paths(request: dict[str, Any], parameter: str, scope: Scope) -> list[Steps]:
    """All document paths of a condition or filter."""
    text = request.get(parameter)
    return [] if text is None else [scope.steps(path, parameter) for path in _paths(parse_condition(text, parameter))]


def _paths(node: Node) -> Iterator[Path]:
    if isinstance(node, Path):
        yield node
    for child in node.operands if isinstance(node, Call) else [node.condition] if isinstance(node, Group) else []:
        yield from _paths(child)


def find(item: Item, steps: Steps) -> Value | None:
    """The value at a document path, or ``None``."""
    value = item.get(steps[0])  # type: ignore[arg-type]
    for step in steps[1:]:
        if value is None:
            return None
        if isinstance(step, int):
            members = value.get("L", ())
            value = members[step] if step < len(members) else None
        else:
            value = value.get("M", {}).get(step)
    return value


class _Binder:
    """Turns a syntax tree into a function, once the request's placeholders are known."""

    def __init__(self, scope: Scope, kind: str) -> None:
        self._scope, self._kind = scope, kind

    def condition(self, node: Node) -> Condition:
        if isinstance(node, Group):
            return self.condition(node.condition)
        if not isinstance(node, Call):
            raise self._invalid(f"Syntax error; a condition is missing at {node}")
        operator, operands = node.operator, node.operands
        if operator == "NOT":
            inner = self.condition(operands[0])
            return lambda item: not inner(item)
        if operator in ("AND", "OR"):
            first, second = map(self.condition, operands)
            if operator == "AND":
                return lambda item: first(item) and second(item)
            return lambda item: first(item) or second(item)
        if operator in ("=", "<>", "<", "<=", ">", ">="):
            return self._comparison(operator, operands)
        return {"BETWEEN": self._between, "IN": self._in}.get(operator, self._function)(operator, operands)

    def _operand(self, node: Node) -> _Operand:
        if isinstance(node, Placeholder):
            value = self._scope.value(node, self._kind)
            return lambda item: value
        if isinstance(node, Path):
            steps = self._scope.steps(node, self._kind)
            if len(steps) == 1:
                name = steps[0]
                return lambda item: item.get(name)  # type: ignore[arg-type]
            return lambda item: find(item, steps)
        if not isinstance(node, Call) or node.operator != "size":
            raise self._invalid("Only size can be an operand; all other functions are conditions by themselves")
        self._check_arity(node.operator, node.operands)
        measured = self._operand(node.operands[0])
        return lambda item: _size(measured(item))

    def _comparison(self, operator: str, operands: tuple[Node, ...]) -> Condition:
        if isinstance(operands[0], Path) and operands[0] == operands[1]:
            path = self._scope.steps(operands[0], self._kind)
            raise self._invalid(
                "The first operand must be distinct from the remaining operands for this operator or function; "
                f"operator: {operator}, first operand: [{', '.join(map(str, path))}]"
            )
        left, right = map(self._operand, operands)
        if operator == "=":
            return lambda item: (value := left(item)) is not None and value == right(item)
        if operator == "<>":
            return lambda item: left(item) != right(item)
        for node in operands:
            self._check_sortable(operator, node)
        compare = _ORDER[operator]

        def holds(item: Item) -> bool:
            one, other = left(item), right(item)
            if one is None or other is None or kind_of(one) != kind_of(other):
                return False
            key = ordered(one)
            return key is not None and compare(key, ordered(other))

        return holds

    def _between(self, operator: str, operands: tuple[Node, ...]) -> Condition:
        for node in operands:
            self._check_sortable(operator, node)
        if isinstance(operands[1], Placeholder) and isinstance(operands[2], Placeholder):
            low, high = (self._scope.value(bound, self._kind) for bound in operands[1:])  # type: ignore[arg-type]
            check_bounds(low, high, self._kind)
        above = self._comparison(">=", (operands[0], operands[1]))
        below = self._comparison("<=", (operands[0], operands[2]))
        return lambda item: above(item) and below(item)

    def _in(self, operator: str, operands: tuple[Node, ...]) -> Condition:
        value, *options = map(self._operand, operands)
        if len(options) > 100:
            raise self._invalid(
                "Invalid operand count for operator or function; operator or function: IN, number of operands: "
                f"{len(options)}"
            )
        return lambda item: (found := value(item)) is not None and any(found == option(item) for option in options)

    def _function(self, name: str, operands: tuple[Node, ...]) -> Condition:
        self._check_arity(name, operands)
        if not isinstance(operands[0], Path) and name.startswith("attribute_"):
            raise self._invalid(f"Operator or function requires a document path; operator or function: {name}")
        subject = self._operand(operands[0])
        if name == "attribute_exists":
            return lambda item: subject(item) is not None
        if name == "attribute_not_exists":
            return lambda item: subject(item) is None
        if isinstance(operands[1], Placeholder):
            self._check_argument(name, self._scope.value(operands[1], self._kind))
        argument = self._operand(operands[1])
        test = {"attribute_type": _is_of_type, "begins_with": _begins, "contains": _contains}[name]

        def holds(item: Item) -> bool:
            value, other = subject(item), argument(item)
            return value is not None and other is not None and test(value, other)

        return holds

    def _check_argument(self, name: str, value: Value) -> None:
        kind = kind_of(value)
        if (name == "begins_with" and kind not in ("S", "B")) or (name == "attribute_type" and kind != "S"):
            raise self._wrong_operand(name, kind)
        if name == "attribute_type" and value["S"] not in KINDS:
            raise self._invalid(
                f"Invalid attribute type name found; type: {value['S']}, valid types: {{{','.join(KINDS)}}}"
            )

    def _check_sortable(self, operator: str, node: Node) -> None:
        if isinstance(node, Placeholder):
            kind = kind_of(self._scope.value(node, self._kind))
            if kind not in ("S", "N", "B"):
                raise self._wrong_operand(operator, kind)

    def _check_arity(self, name: str, operands: tuple[Node, ...]) -> None:
        if len(operands) != _ARITY.get(name, 2):
            raise self._invalid(
                f"Incorrect number of operands for operator or function; operator or function: {name}, number of "
                f"operands: {len(operands)}"
            )

    def _wrong_operand(self, operator: str, kind: str) -> ValidationError:
        return self._invalid(
            f"Incorrect operand type for operator or function; operator or function: {operator}, operand type: {kind}"
        )

    def _invalid(self, reason: str) -> ValidationError:
        return ValidationError(f"Invalid {self._kind}: {reason}")


def check_bounds(low: Value, high: Value, kind: str) -> None:
    """Refuse bounds of BETWEEN that nothing can be between.

    Raises:
        ValidationError: They are of different types, or the lower one is higher.
    """
    kinds = kind_of(low), kind_of(high)
    if kinds[0] == kinds[1] and ordered(low) <= ordered(high):
        return
    rule = "upper bound to be greater than or equal to lower bound"
    if kinds[0] != kinds[1]:
        rule = "same data type for lower and upper bounds"
    bounds = [f"{{{kind_of(value)}:{value[kind_of(value)]}}}" for value in (low, high)]
    raise ValidationError(
        f"Invalid {kind}: The BETWEEN operator requires {rule}; lower bound operand: AttributeValue: {bounds[0]}, "
        f"upper bound operand: AttributeValue: {bounds[1]}"
    )


_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "<": lambda one, other: one < other,
    "<=": lambda one, other: one <= other,
    ">": lambda one, other: one > other,
    ">=": lambda one, other: one >= other,
}


def _size(value: Value | None) -> Value | None:
    if value is None:
        return None
    kind = kind_of(value)
    if kind in ("N", "BOOL", "NULL"):
        return None
    return {"N": str(len(base64.b64decode(value["B"]) if kind == "B" else value[kind]))}


def _is_of_type(value: Value, wanted: Value) -> bool:
    return kind_of(value) == wanted.get("S")


def _begins(value: Value, prefix: Value) -> bool:
    kind = kind_of(value)
    return kind in ("S", "B") and kind == kind_of(prefix) and bool(ordered(value).startswith(ordered(prefix)))


def _contains(value: Value, part: Value) -> bool:
    kind, other = kind_of(value), kind_of(part)
    if kind == "L":
        return part in value["L"]
    if kind in _SETS:
        return other == _SETS[kind] and part[other] in value[kind]
    return kind in ("S", "B") and kind == other and ordered(part) in ordered(value)


# ------------------------------------------------------------------------------------------------------- key conditions


@dataclass(frozen=True)
class KeyRange:
    """What a key condition selects.

    Attributes:
        partition: The partition key's value.
        low: The first place.
        high: The first place behind it.
    """

    partition: Value
    low: bytes
    high: bytes


def key_range(text: str, scope: Scope, schema: list[tuple[str, str]]) -> KeyRange:
    """Where in a table or index the items of a key condition are.

    Args:
        text: The expression.
        scope: The request's placeholders.
        schema: Name and type of the partition key and, if there is one, of the sort key.

    Raises:
        ValidationError: The expression is no condition on these keys.
    """
    by_name: dict[str, tuple[str, list[Value]]] = {}
    for operator, path, values in _key_conditions(parse_condition(text, "KeyConditionExpression"), scope):
        name = path[0]
        if name in by_name:
            raise ValidationError("KeyConditionExpressions must only contain one condition per key")
        by_name[str(name)] = operator, values
    _check_key_conditions(by_name, schema)
    (partition,) = by_name[schema[0][0]][1]
    start = keys.place(partition)
    if len(by_name) == 1:
        return KeyRange(partition, start, keys.after(start))
    operator, values = by_name[schema[1][0]]
    return KeyRange(partition, *_bounds(start, operator, values))


def _key_conditions(node: Node, scope: Scope) -> Iterator[tuple[str, Steps, list[Value]]]:
    kind = "KeyConditionExpression"
    if isinstance(node, Group):
        yield from _key_conditions(node.condition, scope)
        return
    if isinstance(node, Call) and node.operator == "AND":
        for operand in node.operands:
            yield from _key_conditions(operand, scope)
        return
    if not isinstance(node, Call) or node.operator not in (*_MIRRORED, "BETWEEN", "begins_with"):
        raise ValidationError(f"Invalid {kind}: Invalid operator used in {kind}: {getattr(node, 'operator', node)}")
    operator, operands = node.operator, node.operands
    if operator in _MIRRORED and isinstance(operands[0], Placeholder):
        operator, operands = _MIRRORED[operator], operands[::-1]
    path, *rest = operands
    if not isinstance(path, Path) or len(path.steps) > 1:
        raise ValidationError(f"Invalid {kind}: {kind}s must be conditions on the attributes of the key")
    if not all(isinstance(operand, Placeholder) for operand in rest):
        raise ValidationError(f"Invalid condition in {kind}: Multiple attribute names used in one condition")
    values = [scope.value(operand, kind) for operand in rest]  # type: ignore[arg-type]
    if operator == "BETWEEN":
        check_bounds(values[0], values[1], kind)
    yield operator, scope.steps(path, kind), values


def _check_key_conditions(by_name: dict[str, tuple[str, list[Value]]], schema: list[tuple[str, str]]) -> None:
    partition = schema[0][0]
    if partition not in by_name:
        raise ValidationError(f"Query condition missed key schema element: {partition}")
    if by_name[partition][0] != "=":
        raise ValidationError("Query key condition not supported")
    known = dict(schema)
    if set(by_name) - set(known):
        missed = [name for name, _ in schema[1:] if name not in by_name]
        if missed:
            raise ValidationError(f"Query condition missed key schema element: {missed[0]}")
        raise ValidationError("Query key condition not supported")
    for name, (operator, values) in by_name.items():
        for value in values:
            if kind_of(value) != known[name]:
                raise InvalidValuesError("Condition parameter type does not match schema type")
            if value in ({"S": ""}, {"B": ""}) and operator != "begins_with":
                what = "string" if "S" in value else "binary"
                raise ValidationError(
                    "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain "
                    f"an empty {what} value. Key: {name}"
                )
        if operator == "begins_with" and known[name] == "N":
            raise ValidationError(
                "Invalid KeyConditionExpression: Incorrect operand type for operator or function; operator or "
                "function: begins_with, operand type: N"
            )


def _bounds(start: bytes, operator: str, values: list[Value]) -> tuple[bytes, bytes]:
    if operator == "begins_with":
        prefix = start + keys.beginning(values[0])
        return prefix, keys.after(prefix)
    first, last = start + keys.encode(values[0]), start + keys.encode(values[-1])
    low = {"<": start, "<=": start, ">": keys.after(first)}.get(operator, first)
    high = {"<": first, ">": keys.after(start), ">=": keys.after(start)}.get(operator, keys.after(last))
    return low, high
