"""YAML files that know the line of each key, so that a mistake in one is told with the line to change.

Needs only pydantic and PyYAML, because the algorithms image reads contracts too.
"""

import difflib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

ROOT = Path(__file__).parents[1]

Location = tuple[str | int, ...]
"""A path of keys in a YAML file, as in ("source", "columns", "sale_date")."""
Problem = tuple[Location, str]
"""Where a mistake is, and what it is."""

_LOADER: type = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's is ten times as fast


class YamlError(ValueError):
    """A file is not YAML, or not a mapping of keys; the message begins with its name and the line."""


@dataclass(frozen=True)
class YamlFile:
    """A YAML file.

    Attributes:
        path: Where it is.
        data: What it says.
        lines: The line of each key and of each item of a list, from 1.
        repeated: The keys that are there twice, which YAML readers let pass.
    """

    path: Path
    data: dict[str, Any]
    lines: dict[Location, int]
    repeated: tuple[Problem, ...]

    def line(self, location: Location) -> int:
        """The line of a key, or of the nearest key above it that the file has."""
        here: Location = ()
        for part in location:  # pydantic names the branches of a union, which the file doesn't have
            if (*here, part) in self.lines:
                here = (*here, part)
        return self.lines.get(here, 1)

    def where(self, location: Location) -> str:
        """The file and line to change for a key, as in `include/clients/drogaria.yaml:12`."""
        return f"{shown(self.path)}:{self.line(location)}"

    def report(self, problems: Iterable[Problem]) -> str:
        """A line `file:line: problem` for each, in the order of the file."""
        located = sorted((self.line(location), message) for location, message in problems)
        return "\n".join(f"{shown(self.path)}:{line}: {message}" for line, message in located)


def read(path: Path, example: str) -> YamlFile:
    """Reads a YAML file that is a mapping of keys.

    Args:
        path: Where it is.
        example: What such a file holds, for the message where it isn't one: "a contract is …, as in client: shop".

    Raises:
        YamlError: the file isn't YAML, or no mapping.
    """
    try:
        loader = _LOADER(path.read_text(encoding="utf-8"))
        try:
            root = loader.get_single_node()
            data = loader.construct_document(root) if root else None
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise YamlError(f"{shown(path)}:{line}: not YAML: {error.problem}") from error
    if not isinstance(data, dict):
        raise YamlError(f"{shown(path)}:1: {example}")
    lines: dict[Location, int] = {}
    repeated = tuple(_number(root, (), lines))
    return YamlFile(path, data, lines, repeated)


def _number(node: yaml.Node, location: Location, lines: dict[Location, int]) -> Iterator[Problem]:
    """Notes the line of every key; yields the keys that are there twice."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*location, key.value)
            if here in lines:
                yield here, f"key {key.value!r} is there twice, first in line {lines[here]}"
            lines[here] = key.start_mark.line + 1
            yield from _number(value, here, lines)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            lines[*location, index] = value.start_mark.line + 1
            yield from _number(value, (*location, index), lines)


def explained(error: ValidationError, model: type[BaseModel]) -> Iterator[Problem]:
    """What is wrong with a file that doesn't fit a model, in words that name the key.

    An error that carries `problems` in its context (a PydanticCustomError) stands for those.
    """
    for problem in error.errors(include_url=False):
        location, key = problem["loc"], ".".join(map(str, problem["loc"]))
        match problem["type"]:
            case _ if "problems" in problem.get("ctx", {}):
                yield from ((location + inner, message) for inner, message in problem["ctx"]["problems"])
            case "extra_forbidden":
                known = _known_keys(model, location[:-1])
                hint = nearest(str(location[-1]), known) or (f"; the keys here are {', '.join(known)}" if known else "")
                yield location, f"unknown key {key!r}{hint}"
            case "missing":
                yield location, f"key {key!r} is missing"
            case "value_error":
                yield location, f"{key}: {problem['ctx']['error']}"
            case _:
                yield location, f"{key}: {problem['msg']}, it is {problem['input']!r}"


def _known_keys(model: type[BaseModel], location: Location) -> list[str]:
    """The keys that a file may have below a location."""
    schema = model.model_json_schema()
    node = schema
    for part in location:
        if isinstance(part, int):
            node = node.get("items", {})
        else:
            node = node.get("properties", {}).get(part) or node.get("additionalProperties", {})
        while reference := node.get("$ref"):
            node = schema["$defs"][reference.rsplit("/", 1)[-1]]
    return list(node.get("properties", {}))


def nearest(name: str, known: Collection[str]) -> str:
    """`; did you mean 'x'?`, or nothing when no known name is near."""
    by_lower = {candidate.lower(): candidate for candidate in known}
    near = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return f"; did you mean {by_lower[near[0]]!r}?" if near else ""


def shown(path: Path) -> str:
    """The path as messages name it: from the repository's root, for a file in it."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)
