"""The grammar of DynamoDB's expressions: text to syntax trees, which know neither items nor values.

A tree depends on the text alone and is kept, so a client that sends the same expression again has it parsed once.
"""

import functools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from moto.dynamodb.parsing.reserved_keywords import ReservedKeywords

from local.aws.dynamodb_errors import ValidationError
from local.aws.dynamodb_values import Item, Value, canonical

_MAXIMUM_LENGTH = 4096
_TOKEN = re.compile(
    r"(?P<word>[A-Za-z_]\w*)|(?P<name>#\w+)|(?P<value>:\w+)|(?P<number>\d+)|(?P<symbol><>|<=|>=|[=<>(),.\[\]+-])"
    r"|(?P<space>\s+)|(?P<other>.)",
    re.ASCII | re.DOTALL,
)
_COMPARATORS = ("=", "<>", "<", "<=", ">", ">=")
_CONDITIONS = ("attribute_exists", "attribute_not_exists", "attribute_type", "begins_with", "contains")
_SECTIONS = ("SET", "REMOVE", "ADD", "DELETE")

Steps = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Path:
    """A document path; steps are names, placeholders of names, and places in lists."""

    steps: Steps


@dataclass(frozen=True, slots=True)
class Placeholder:
    """A value that comes with the request."""

    name: str


@dataclass(frozen=True, slots=True)
class Call:
    """A function, a comparison, ``BETWEEN``, ``IN``, ``NOT``, ``AND`` or ``OR``, or ``+`` or ``-`` of an update."""

    operator: str
    operands: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Group:
    """A condition in parentheses."""

    condition: "Node"


Node = Path | Placeholder | Call | Group


@dataclass(frozen=True, slots=True)
class Action:
    """One action of an update expression.

    Attributes:
        section: ``SET``, ``REMOVE``, ``ADD`` or ``DELETE``.
        path: What it changes.
        operand: What with; ``None`` for ``REMOVE``.
    """

    section: str
    path: Path
    operand: Node | None


@functools.lru_cache(maxsize=1024)
def parse_condition(text: str, kind: str) -> Node:
    """Parse a condition, filter or key condition.

    Args:
        text: The expression.
        kind: The parameter it came in, for messages.

    Raises:
        ValidationError: It is not a condition.
    """
    return _Parser(text, kind).condition_alone()


@functools.lru_cache(maxsize=1024)
def parse_update(text: str) -> tuple[Action, ...]:
    """Parse an update expression.

    Raises:
        ValidationError: It is none.
    """
    return _Parser(text, "UpdateExpression").update()


@functools.lru_cache(maxsize=1024)
def parse_projection(text: str) -> tuple[Path, ...]:
    """Parse a projection expression.

    Raises:
        ValidationError: It is none.
    """
    return _Parser(text, "ProjectionExpression").projection()


# --------------------------------------------------------------------------------------------------------- placeholders


@dataclass
class Scope:
    """What the placeholders of a request's expressions stand for.

    Args:
        request: With ``ExpressionAttributeNames`` and ``ExpressionAttributeValues``, if any.
        expressions: Names of the parameters which may use them.

    Raises:
        DynamoDBError: There are placeholders, but no expressions; or a value is none.
    """

    request: dict[str, Any]
    expressions: tuple[str, ...]
    values: Item = field(init=False)
    names: dict[str, str] = field(init=False)
    _used: set[str] = field(init=False, default_factory=set)

    def __post_init__(self) -> None:
        self.names = self._placeholders("Names", "#")
        self.values, _ = canonical(self._placeholders("Values", ":"))

    def _placeholders(self, what: str, mark: str) -> dict[str, Any]:
        parameter = f"ExpressionAttribute{what}"
        given = self.request.get(parameter)
        if given is None:
            return {}
        if not any(expression in self.request for expression in self.expressions):
            raise ValidationError(
                f"{parameter} can only be specified when using expressions: {' and '.join(self.expressions)} "
                f"{'are' if self.expressions[1:] else 'is'} null"
            )
        if not given:
            raise ValidationError(f"{parameter} must not be empty")
        for key in given:
            if not re.fullmatch(mark + r"\w+", key, re.ASCII):
                raise ValidationError(f'{parameter} contains invalid key: Syntax error; key: "{key}"')
        return dict(given)

    def steps(self, path: Path, kind: str) -> Steps:
        """A path's steps without placeholders.

        Raises:
            ValidationError: A placeholder stands for nothing.
        """
        return tuple(
            self._name(step, kind) if isinstance(step, str) and step.startswith("#") else step for step in path.steps
        )

    def _name(self, placeholder: str, kind: str) -> str:
        if placeholder not in self.names:
            raise ValidationError(
                f"Invalid {kind}: An expression attribute name used in the document path is not defined; attribute "
                f"name: {placeholder}"
            )
        self._used.add(placeholder)
        return self.names[placeholder]

    def value(self, placeholder: Placeholder, kind: str) -> Value:
        """What a placeholder of a value stands for.

        Raises:
            ValidationError: It stands for nothing.
        """
        if placeholder.name not in self.values:
            raise ValidationError(
                f"Invalid {kind}: An expression attribute value used in expression is not defined; attribute value: "
                f"{placeholder.name}"
            )
        self._used.add(placeholder.name)
        return self.values[placeholder.name]

    def check_all_used(self) -> None:
        """Refuse placeholders that no expression uses.

        Raises:
            ValidationError: There are some.
        """
        for what, given in (("Names", self.names), ("Values", self.values)):
            unused = [name for name in given if name not in self._used]
            if unused:
                raise ValidationError(
                    f"Value provided in ExpressionAttribute{what} unused in expressions: keys: {{{', '.join(unused)}}}"
                )


def check_paths(paths: list[Steps], kind: str) -> None:
    """Refuse paths of which one is inside another, or which want the same thing to be a map and a list.

    Raises:
        ValidationError: There are such paths.
    """
    for at, one in enumerate(paths):
        for other in paths[at + 1 :]:
            common = 0
            while common < min(len(one), len(other)) and one[common] == other[common]:
                common += 1
            if common == min(len(one), len(other)):
                problem = "overlap"
            elif common and type(one[common]) is not type(other[common]):
                problem = "conflict"
            else:
                continue
            raise ValidationError(
                f"Invalid {kind}: Two document paths {problem} with each other; must remove or rewrite one of these "
                f"paths; path one: {_listed(one)}, path two: {_listed(other)}"
            )


def _listed(steps: Steps) -> str:
    return f"[{', '.join(f'[{step}]' if isinstance(step, int) else step for step in steps)}]"


# -------------------------------------------------------------------------------------------------------------- grammar


class _Token(NamedTuple):
    kind: str
    text: str
    start: int
    end: int


class _Parser:
    """Recursive descent, one method for each rule."""

    def __init__(self, text: str, kind: str) -> None:
        self._text, self._kind, self._at = text, kind, 0
        if not text.strip():
            raise self._invalid("The expression can not be empty;")
        if len(text.encode()) > _MAXIMUM_LENGTH:
            raise self._invalid(
                f"Expression size has exceeded the maximum allowed size; expression size: {len(text.encode())}"
            )
        self._tokens = [token for token in self._scan() if token.kind != "space"]

    def _scan(self) -> Iterator[_Token]:
        for found in _TOKEN.finditer(self._text):
            yield _Token(found.lastgroup or "other", found[0], found.start(), found.end())
        yield _Token("end", "<EOF>", len(self._text), len(self._text))

    # -- conditions

    def condition_alone(self) -> Node:
        condition = self._or()
        self._expect_end()
        return condition

    def _or(self) -> Node:
        return self._joined("OR", self._and)

    def _and(self) -> Node:
        return self._joined("AND", self._not)

    def _joined(self, word: str, rule: Callable[[], Node]) -> Node:
        condition = rule()
        while self._take_word(word):
            condition = Call(word, (condition, rule()))
        return condition

    def _not(self) -> Node:
        if self._take_word("NOT"):
            return Call("NOT", (self._not(),))
        if self._take("("):
            condition = self._or()
            self._expect(")")
            if isinstance(condition, Group):
                raise self._invalid("The expression has redundant parentheses;")
            return Group(condition)
        return self._predicate()

    def _predicate(self) -> Node:
        left = self._operand(("size", *_CONDITIONS))
        if isinstance(left, Call) and left.operator != "size":
            return left
        token = self._next()
        if token.text in _COMPARATORS:
            return Call(token.text, (left, self._operand(("size",))))
        word = token.text.upper()
        if word == "BETWEEN":
            low = self._operand(("size",))
            self._expect_word("AND")
            return Call("BETWEEN", (left, low, self._operand(("size",))))
        if word == "IN":
            self._expect("(")
            return Call("IN", (left, *self._listed(lambda: self._operand(("size",)))))
        raise self._unexpected(token)

    def _operand(self, functions: tuple[str, ...]) -> Node:
        token = self._peek()
        if token.kind == "value":
            return Placeholder(self._next().text)
        if token.kind == "word" and self._tokens[self._at + 1].text == "(":
            if token.text not in functions:
                raise self._invalid(f"Invalid function name; function: {token.text}")
            self._at += 2
            return Call(token.text, tuple(self._listed(lambda: self._operand(functions))))
        return self._path()

    def _listed(self, rule: Callable[[], Node]) -> Iterator[Node]:
        yield rule()
        while self._take(","):
            yield rule()
        self._expect(")")

    def _path(self) -> Path:
        steps: list[str | int] = [self._step()]
        while True:
            if self._take("."):
                steps.append(self._step())
            elif self._take("["):
                token = self._next()
                if token.kind != "number":
                    raise self._unexpected(token)
                steps.append(int(token.text))
                self._expect("]")
            else:
                return Path(tuple(steps))

    def _step(self) -> str:
        token = self._next()
        if token.kind not in ("word", "name"):
            raise self._unexpected(token)
        if token.kind == "word" and token.text.upper() in ReservedKeywords.get_reserved_keywords():
            raise self._invalid(f"Attribute name is a reserved keyword; reserved keyword: {token.text}")
        return token.text

    # -- updates

    def update(self) -> tuple[Action, ...]:
        actions: list[Action] = []
        seen: set[str] = set()
        while self._peek().kind != "end":
            token = self._next()
            section = token.text.upper()
            if section not in _SECTIONS:
                raise self._unexpected(token)
            if section in seen:
                raise self._invalid(f'The "{section}" section can only be used once in an update expression;')
            seen.add(section)
            actions.append(self._action(section))
            while self._take(","):
                actions.append(self._action(section))
        return tuple(actions)

    def _action(self, section: str) -> Action:
        path = self._path()
        if section == "REMOVE":
            return Action(section, path, None)
        if section == "SET":
            self._expect("=")
            return Action(section, path, self._sum())
        token = self._next()
        if token.kind != "value":
            raise self._unexpected(token)
        return Action(section, path, Placeholder(token.text))

    def _sum(self) -> Node:
        left = self._term()
        for operator in "+-":
            if self._take(operator):
                return Call(operator, (left, self._term()))
        return left

    def _term(self) -> Node:
        if self._take("("):
            inner = self._sum()
            self._expect(")")
            return inner
        return self._operand(("if_not_exists", "list_append"))

    # -- projections

    def projection(self) -> tuple[Path, ...]:
        paths = [self._path()]
        while self._take(","):
            paths.append(self._path())
        self._expect_end()
        return tuple(paths)

    # -- tokens

    def _peek(self) -> _Token:
        return self._tokens[self._at]

    def _next(self) -> _Token:
        token = self._tokens[self._at]
        self._at = min(self._at + 1, len(self._tokens) - 1)
        return token

    def _take(self, text: str) -> bool:
        if self._peek().text != text:
            return False
        self._at += 1
        return True

    def _take_word(self, word: str) -> bool:
        token = self._peek()
        return token.kind == "word" and token.text.upper() == word and bool(self._next())

    def _expect(self, text: str) -> None:
        token = self._next()
        if token.text != text:
            raise self._unexpected(token)

    def _expect_word(self, word: str) -> None:
        if not self._take_word(word):
            raise self._unexpected(self._next())

    def _expect_end(self) -> None:
        if self._peek().kind != "end":
            raise self._unexpected(self._next())

    def _unexpected(self, token: _Token) -> ValidationError:
        at = self._tokens.index(token)
        near = self._text[self._tokens[max(at - 1, 0)].start : self._tokens[min(at + 1, len(self._tokens) - 1)].end]
        return self._invalid(f'Syntax error; token: "{token.text}", near: "{near}"')

    def _invalid(self, reason: str) -> ValidationError:
        return ValidationError(f"Invalid {self._kind}: {reason}")
