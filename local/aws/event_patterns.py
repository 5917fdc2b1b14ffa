"""Event patterns: what EventBridge rules, and the filters of event-source mappings, let pass.

https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-event-patterns-content-based-filtering.html
"""

import ipaddress
import json
import operator
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

type Matcher = Callable[[Any], bool]

_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_ABSENT = object()


class PatternError(ValueError):
    """The pattern is none, or has something that is not done here; the message says where."""


@lru_cache(maxsize=256)
def compiled(pattern: str) -> Matcher:
    """A function that tells whether an event matches.

    Args:
        pattern: As JSON: keys of the event to lists of what is allowed there.

    Raises:
        PatternError: It is not a pattern.
    """
    try:
        parsed = json.loads(pattern)
    except ValueError as error:
        raise PatternError(f"The event pattern is not JSON: {error}") from None
    return _object(parsed, "the event pattern")


def _object(pattern: Any, where: str) -> Matcher:
    if not isinstance(pattern, dict) or not pattern:
        raise PatternError(f"{where} must be an object with at least one key")
    checks: list[Matcher] = []
    for key, part in pattern.items():
        place = f"{where}.{key}"
        if key == "$or":
            if not isinstance(part, list) or len(part) < 2:
                raise PatternError(f"{place} must be a list of two or more patterns")
            choices = [_object(choice, place) for choice in part]
            checks.append(lambda event, choices=choices: any(choice(event) for choice in choices))  # type: ignore[misc]
        else:
            matcher = _object(part, place) if isinstance(part, dict) else _leaf(part, place)
            checks.append(lambda event, key=key, matcher=matcher: _under(event, key, matcher))  # type: ignore[misc]
    return lambda event: all(check(event) for check in checks)


def _under(event: Any, key: str, matcher: Matcher) -> bool:
    """Whether what is under a key matches; of a list of objects, one that does is enough."""
    if isinstance(event, list):
        return any(_under(part, key, matcher) for part in event)
    return matcher(event.get(key, _ABSENT) if isinstance(event, dict) else _ABSENT)


def _leaf(alternatives: Any, where: str) -> Matcher:
    if not isinstance(alternatives, list) or not alternatives:
        raise PatternError(f"{where} must be a list of what is allowed there")
    matchers = [_alternative(alternative, where) for alternative in alternatives]

    def matches(value: Any) -> bool:
        values = value if isinstance(value, list) else [value]
        return any(matcher(one) for matcher in matchers for one in values or [_ABSENT])

    return matches


def _alternative(alternative: Any, where: str) -> Matcher:
    if not isinstance(alternative, dict):
        if isinstance(alternative, list):
            raise PatternError(f"{where}: a list within a list")
        return lambda value: _equal(value, alternative)
    if len(alternative) != 1:
        raise PatternError(f"{where}: an alternative has exactly one operator, not {', '.join(alternative) or 'none'}")
    ((name, operand),) = alternative.items()
    if name not in _OPERATORS:
        raise PatternError(f"{where}: the operator {name} is not done here; {', '.join(_OPERATORS)} are")
    return _OPERATORS[name](operand, where)


def _equal(value: Any, wanted: Any) -> bool:
    if isinstance(value, bool) or isinstance(wanted, bool):  # 1 is not true
        return value is wanted
    return value is not _ABSENT and value == wanted


def _text(operand: Any, where: str, name: str) -> str:
    if not isinstance(operand, str):
        raise PatternError(f"{where}: {name} wants text")
    return operand


def _affix(name: str, at_start: bool) -> Callable[[Any, str], Matcher]:
    def build(operand: Any, where: str) -> Matcher:
        folded = isinstance(operand, dict) and set(operand) == {"equals-ignore-case"}
        affix = _text(operand["equals-ignore-case"] if folded else operand, where, name)

        def matches(value: Any) -> bool:
            if not isinstance(value, str):
                return False
            text, wanted = (value.casefold(), affix.casefold()) if folded else (value, affix)
            return text.startswith(wanted) if at_start else text.endswith(wanted)

        return matches

    return build


def _ignore_case(operand: Any, where: str) -> Matcher:
    wanted = _text(operand, where, "equals-ignore-case").casefold()
    return lambda value: isinstance(value, str) and value.casefold() == wanted


def _wildcard(operand: Any, where: str) -> Matcher:
    parts = re.findall(r"\\.|\*|[^*\\]+", _text(operand, where, "wildcard"))
    expression = re.compile("".join(".*" if part == "*" else re.escape(part.removeprefix("\\")) for part in parts))
    return lambda value: isinstance(value, str) and expression.fullmatch(value) is not None


def _exists(operand: Any, where: str) -> Matcher:
    if not isinstance(operand, bool):
        raise PatternError(f"{where}: exists wants true or false")
    return lambda value: (value is not _ABSENT) is operand


def _numeric(operand: Any, where: str) -> Matcher:
    if not isinstance(operand, list) or len(operand) not in (2, 4):
        raise PatternError(f'{where}: numeric wants one or two comparisons, as in [">", 0, "<=", 5]')
    comparisons = list(zip(operand[::2], operand[1::2], strict=True))
    for sign, bound in comparisons:
        if sign not in _COMPARISONS or isinstance(bound, bool) or not isinstance(bound, int | float):
            raise PatternError(f"{where}: numeric can't compare with {sign!r} {bound!r}")

    def matches(value: Any) -> bool:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and all(_COMPARISONS[sign](value, bound) for sign, bound in comparisons)

    return matches


def _cidr(operand: Any, where: str) -> Matcher:
    try:
        network = ipaddress.ip_network(_text(operand, where, "cidr"), strict=False)
    except ValueError as error:
        raise PatternError(f"{where}: {error}") from None

    def matches(value: Any) -> bool:
        try:
            return isinstance(value, str) and ipaddress.ip_address(value) in network
        except ValueError:
            return False

    return matches


def _anything_but(operand: Any, where: str) -> Matcher:
    refused = operand if isinstance(operand, list) else [operand]
    if isinstance(operand, dict):
        ((name, parts),) = operand.items() if len(operand) == 1 else ((None, None),)
        if name not in ("prefix", "suffix", "equals-ignore-case", "wildcard"):
            raise PatternError(f"{where}: anything-but can't be combined with {', '.join(operand)} here")
        refused = [{name: part} for part in (parts if isinstance(parts, list) else [parts])]
    matchers = [_alternative(one, where) for one in refused]
    return lambda value: value is not _ABSENT and not any(matcher(value) for matcher in matchers)


_OPERATORS: dict[str, Callable[[Any, str], Matcher]] = {
    "anything-but": _anything_but,
    "cidr": _cidr,
    "equals-ignore-case": _ignore_case,
    "exists": _exists,
    "numeric": _numeric,
    "prefix": _affix("prefix", at_start=True),
    "suffix": _affix("suffix", at_start=False),
    "wildcard": _wildcard,
}
