"""Where a producer stands, in a small file, so that another can go on after the last record that was acknowledged."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from local.producer.injection import Emission, Place


class PositionError(ValueError):
    """A run cannot be resumed as asked; the message says how it can."""


@dataclass
class Position:
    """A run of a producer.

    Attributes:
        options: What makes its records; they must be the same when it is resumed.
        first: Index of its first record.
        until: Index after its last one; null when it has no end.
        floor: Lowest index of which something may be unsent.
        last: Place of the last thing that was acknowledged.
        finished: Whether all of it was sent.
    """

    options: dict[str, Any]
    first: int = 0
    until: int | None = None
    floor: int = 0
    last: Place | None = None
    finished: bool = False
    _file: Path | None = field(default=None, repr=False)

    def following(self, emissions: Iterator[Emission]) -> Iterator[Emission]:
        """Leaves out what was acknowledged: all that stands before the last of it."""
        last = self.last
        return (emission for emission in emissions if last is None or emission.place > last)

    def acknowledge(self, emission: Emission) -> None:
        """Everything up to this was taken."""
        self.floor, self.last = emission.floor, emission.place
        self.save()

    def save(self) -> None:
        """Writes the file, in one step."""
        if self._file is None:
            return
        self._file.parent.mkdir(parents=True, exist_ok=True)
        staged = self._file.with_suffix(".new")
        staged.write_text(json.dumps({name: value for name, value in asdict(self).items() if name[0] != "_"}))
        staged.replace(self._file)


def begin(file: Path, options: dict[str, Any], until: int | None) -> Position:
    """A new run, from the first record on."""
    position = Position(options, until=until, _file=file)
    position.save()
    return position


def resume(file: Path, given: dict[str, Any], count: int | None) -> Position:
    """The run of a file: the rest of it, or more of the same when it is finished.

    Args:
        file: What `begin` wrote.
        given: The options that the user names; they must be the run's.
        count: How many records more; null for the rest of an unfinished run.

    Raises:
        PositionError: There is no run, it has other options, or `count` doesn't go with how it stands.
    """
    if not file.exists():
        raise PositionError("--resume: nothing was sent yet from this state, so there is nothing to go on from")
    held = json.loads(file.read_text())
    last = held.pop("last")
    position = Position(**held, last=Place(*last) if last else None, _file=file)
    for name, value in given.items():
        if position.options[name] != value:
            was = position.options[name]
            option = name.replace("_", "-")
            raise PositionError(f"--{option} is {value}, the run to resume has {was}: leave it out, or don't --resume")
    if not position.finished:
        if count is not None:
            raise PositionError(
                f"--count: the last run stopped at record {position.floor} before its end: "
                "send the rest with --resume alone first"
            )
        return position
    if count is None:
        raise PositionError("--resume: the last run was sent whole: say how many more with --count")
    first = position.until or 0
    more = Position(position.options, first, first + count, first, None, False, file)
    more.save()
    return more
