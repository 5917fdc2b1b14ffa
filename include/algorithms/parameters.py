"""Fills a product's `Parameters` from the client's contract and from the command line, each value in its own type."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from include.algorithms.outcome import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def fill[P: BaseModel](kind: type[P], contracted: Mapping[str, Any], overrides: Iterable[str], where: str) -> P:
    """An instance of the model `kind`: its defaults, then the contract's values, then the overrides.

    Args:
        kind: the product's `Parameters`.
        contracted: name → value, from the contract.
        overrides: texts `name=value`; a value for a tuple is separated by commas, `none` stands for None.
        where: path of the contract, named in errors.

    Raises:
        InputError: an unknown name, a value of the wrong type, or out of its range.
    """
    known = list(kind.model_fields)
    values: dict[str, Any] = {}
    for name, value in contracted.items():
        _check_name(name, known, where)
        values[name] = value
    for override in overrides:
        name, equals, text = override.partition("=")
        if not equals:
            raise InputError(f"--parameter {override}: write name=value; the names are {', '.join(known)}")
        _check_name(name, known, "--parameter")
        values[name] = _parsed(text, kind.model_fields[name].annotation)
    try:
        return kind(**values)
    except ValidationError as error:
        problem = error.errors()[0]
        # What two parameters have to do with each other has no place of its own, and names both.
        which = f"{problem['loc'][0]} is {problem['input']!r}: " if problem["loc"] else ""
        message = problem["msg"].removeprefix("Value error, ")
        raise InputError(f"parameter {which}{message} ({where}, or --parameter)") from error


def _check_name(name: str, known: list[str], where: str) -> None:
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
        raise InputError(f"{where}: unknown parameter {name!r}; {hint}")


def _parsed(text: str, kind: Any) -> Any:
    """The text as pydantic wants it: it reads numbers and booleans from text, but not None or tuples."""
    kinds = (kind, *get_args(kind))
    if type(None) in kinds and text.lower() == "none":
        return None
    if any(get_origin(option) is tuple for option in kinds):
        return tuple(part.strip() for part in text.split(",") if part.strip())
    return text
