"""What update and projection expressions do to an item."""

from collections.abc import Callable, Set
from itertools import pairwise
from typing import Any, cast

from local.aws.dynamodb_conditions import find
from local.aws.dynamodb_errors import DynamoDBError, InvalidValuesError, ValidationError
from local.aws.dynamodb_expressions import (
    Action,
    Call,
    Node,
    Path,
    Placeholder,
    Scope,
    Steps,
    check_paths,
    parse_projection,
    parse_update,
)
from local.aws.dynamodb_values import Item, Value, added, elements, kind_of

_KIND = "UpdateExpression"
_SETS = ("SS", "NS", "BS")
_NAMES = {"SS": "STRING_SET", "NS": "NUMBER_SET", "BS": "BINARY_SET", "S": "STRING", "N": "NUMBER", "B": "BINARY"}
_Operand = Callable[[Item], Value]


class Update:
    """An update expression with its values.

    Args:
        text: The expression.
        scope: The request's placeholders.
        key_attributes: What an update must leave alone.

    Attributes:
        paths: The document paths that it changes.
        written: Those that it doesn't remove.
        only_removes: Whether it can only take away.

    Raises:
        DynamoDBError: The expression is wrong.
    """

    def __init__(self, text: str, scope: Scope, key_attributes: Set[str]) -> None:
        self._scope = scope
        actions = parse_update(text)
        self.paths = [scope.steps(action.path, _KIND) for action in actions]
        self.only_removes = all(action.section in ("REMOVE", "DELETE") for action in actions)
        self.written = [path for action, path in zip(actions, self.paths, strict=True) if action.section != "REMOVE"]
        check_paths(self.paths, _KIND)
        for path in self.paths:
            if path[0] in key_attributes:
                raise InvalidValuesError(f"Cannot update attribute {path[0]}. This attribute is part of the key")
        self._actions = [
            (action.section, path, self._operand(action)) for action, path in zip(actions, self.paths, strict=True)
        ]

    def apply(self, item: Item) -> Item:
        """Carry the actions out.

        Args:
            item: As it is. It stays so.

        Returns:
            As it shall be; not checked yet.

        Raises:
            DynamoDBError: An action doesn't fit the item.
        """
        result = dict(item)
        # All see the item as it was; removals go last, the end of a list first, so that places keep their meaning.
        changes = [(section, path, operand(item) if operand else None) for section, path, operand in self._actions]
        for section, path, value in changes:
            if section == "SET":
                _put(result, path, value)
            elif section == "ADD":
                _put(result, path, _sum_of(find(item, path), value))  # type: ignore[arg-type]
            elif section == "DELETE":
                _subtract(result, path, value)  # type: ignore[arg-type]
        removed = [path for section, path, _ in changes if section == "REMOVE"]
        for path in sorted(removed, key=lambda path: path[-1] if isinstance(path[-1], int) else -1, reverse=True):
            _remove(result, path)
        return result

    def _operand(self, action: Action) -> _Operand | None:
        if action.operand is None:
            return None
        if action.section == "SET":
            return self._value(action.operand)
        value = self._scope.value(cast("Placeholder", action.operand), _KIND)
        allowed = _SETS if action.section == "DELETE" else (*_SETS, "N")
        if kind_of(value) not in allowed:
            raise _invalid(
                "Incorrect operand type for operator or function; operator: "
                f"{action.section}, operand type: {_NAMES.get(kind_of(value), kind_of(value))}, typeSet: ALLOWED_FOR_"
                f"{action.section}_OPERAND"
            )
        return lambda item: value

    def _value(self, node: Node) -> _Operand:
        if isinstance(node, Placeholder):
            value = self._scope.value(node, _KIND)
            return lambda item: value
        if isinstance(node, Path):
            steps = self._scope.steps(node, _KIND)
            return lambda item: _existing(item, steps)
        node = cast("Call", node)
        if node.operator in "+-":
            return self._arithmetic(node)
        if len(node.operands) != 2:
            raise _invalid(
                "Incorrect number of operands for operator or function; operator or function: "
                f"{node.operator}, number of operands: {len(node.operands)}"
            )
        if node.operator == "list_append":
            return self._appended(node)
        path, default = node.operands
        if not isinstance(path, Path):
            raise _invalid("Operator or function requires a document path; operator or function: if_not_exists")
        steps, otherwise = self._scope.steps(path, _KIND), self._value(default)
        return lambda item: found if (found := find(item, steps)) is not None else otherwise(item)

    def _arithmetic(self, node: Call) -> _Operand:
        left, right = (self._typed(operand, node.operator, "N") for operand in node.operands)
        sign = 1 if node.operator == "+" else -1
        return lambda item: added(_of("N", left(item)), _of("N", right(item)), sign)

    def _appended(self, node: Call) -> _Operand:
        left, right = (self._typed(operand, "list_append", "L") for operand in node.operands)
        return lambda item: {"L": [*_of("L", left(item))["L"], *_of("L", right(item))["L"]]}

    def _typed(self, node: Node, operator: str, kind: str) -> _Operand:
        if isinstance(node, Placeholder):
            found = kind_of(self._scope.value(node, _KIND))
            if found != kind:
                raise _invalid(
                    "Incorrect operand type for operator or function; operator or function: "
                    f"{operator}, operand type: {found}"
                )
        return self._value(node)


def _invalid(reason: str) -> ValidationError:
    return ValidationError(f"Invalid {_KIND}: {reason}")


def _wrong_type() -> DynamoDBError:
    return ValidationError("An operand in the update expression has an incorrect data type")


def _wrong_path() -> DynamoDBError:
    return ValidationError("The document path provided in the update expression is invalid for update")


def _existing(item: Item, steps: Steps) -> Value:
    value = find(item, steps)
    if value is None:
        raise ValidationError("The provided expression refers to an attribute that does not exist in the item")
    return value


def _of(kind: str, value: Value) -> Value:
    if kind_of(value) != kind:
        raise _wrong_type()
    return value


def _sum_of(current: Value | None, value: Value) -> Value:
    if current is None:
        return value
    kind = kind_of(value)
    _of(kind, current)
    if kind == "N":
        return added(current, value)
    return {kind: elements(kind, list({*current[kind], *value[kind]}))}


# ------------------------------------------------------------------------------------------------------- changing items


def _container(item: Item, path: Steps) -> dict[str, Any] | list[Any]:
    """What holds the last step of a path; everything on the way there is copied, because the old item has it too."""
    container: Any = item
    for step, following in pairwise(path):
        kind = "L" if isinstance(following, int) else "M"
        missing = step >= len(container) if isinstance(step, int) else step not in container
        if missing or kind not in container[step]:
            raise _wrong_path()
        copied = container[step][kind].copy()
        container[step] = {kind: copied}
        container = copied
    return container  # type: ignore[no-any-return]


def _put(item: Item, path: Steps, value: Any) -> None:
    container, last = _container(item, path), path[-1]
    if isinstance(container, list) and isinstance(last, int) and last >= len(container):
        container.append(value)
    else:
        container[last] = value  # type: ignore[index, call-overload]


def _remove(item: Item, path: Steps) -> None:
    container, last = _container(item, path), path[-1]
    if isinstance(container, dict):
        container.pop(str(last), None)
    elif isinstance(last, int) and last < len(container):
        del container[last]


def _subtract(item: Item, path: Steps, value: Value) -> None:
    current, kind = find(item, path), kind_of(value)
    if current is None:
        return
    left = [member for member in _of(kind, current)[kind] if member not in value[kind]]
    if left:
        _put(item, path, {kind: left})
    else:
        _remove(item, path)


# ---------------------------------------------------------------------------------------------------------- projections


def projection(request: dict[str, Any], scope: Scope) -> list[Steps] | None:
    """The document paths of a request's ``ProjectionExpression``, or ``None`` when it has none.

    Raises:
        ValidationError: The expression is wrong.
    """
    text = request.get("ProjectionExpression")
    if text is None:
        return None
    found = [scope.steps(path, "ProjectionExpression") for path in parse_projection(text)]
    check_paths(found, "ProjectionExpression")
    return found


def project(item: Item, paths: list[Steps]) -> Item:
    """What an item has at document paths, in maps and lists that have nothing else."""
    result: Item = {}
    wanted: dict[str | int, Any] = {}
    for path in paths:
        level = wanted
        for step in path:
            level = level.setdefault(step, {})
    for name, below in wanted.items():
        value = _projected(item.get(str(name)), below)
        if value is not None:
            result[str(name)] = value
    return result


def _projected(value: Value | None, wanted: dict[str | int, Any]) -> Value | None:
    if value is None or not wanted:
        return value
    if "M" in value:
        members = {name: _projected(value["M"].get(name), below) for name, below in wanted.items()}
        found = {name: member for name, member in members.items() if member is not None}
        return {"M": found} if found else None
    if "L" in value:
        places = sorted(step for step in wanted if isinstance(step, int) and step < len(value["L"]))
        listed = [_projected(value["L"][place], wanted[place]) for place in places]
        left = [member for member in listed if member is not None]
        return {"L": left} if left else None
    return None
