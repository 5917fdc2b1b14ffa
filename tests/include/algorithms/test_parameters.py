from dataclasses import dataclass

import pytest

from include.algorithms.outcome import InputError
from include.algorithms.parameters import fill


@dataclass(frozen=True)
class Parameters:
    months: int = 12
    share: float = 0.5
    strict: bool = False
    groups: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.months < 1:
            raise InputError(f"parameter months is {self.months}; it must be 1 or more")


def test_defaults_then_contract_then_command_line():
    filled = fill(Parameters, {"months": 6, "share": 1}, ["months=3"], "a.yaml")
    assert filled == Parameters(months=3, share=1.0)
    assert isinstance(filled.share, float)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("strict=true", Parameters(strict=True)),
        ("strict=False", Parameters(strict=False)),
        ("share=1e-5", Parameters(share=1e-5)),
        ("groups=a, b c,", Parameters(groups=("a", "b c"))),
        ("groups=none", Parameters()),
    ],
)
def test_an_override_has_the_type_of_its_field(override, expected):
    assert fill(Parameters, {}, [override], "a.yaml") == expected


@pytest.mark.parametrize(
    ("contracted", "overrides", "message"),
    [
        ({"month": 1}, [], "a.yaml: unknown parameter 'month'; did you mean months?"),
        ({}, ["x=1"], "--parameter: unknown parameter 'x'; there are months, share, strict, groups"),
        ({}, ["months"], "--parameter months: write name=value; the names are months"),
        ({}, ["months=ten"], "parameter months='ten': Input should be a valid integer"),
        ({"months": 1.5}, [], "parameter months=1.5: Input should be a valid integer"),
        ({}, ["months=0"], "parameter months is 0; it must be 1 or more (a.yaml, or --parameter)"),
    ],
)
def test_what_cannot_be_used_is_named(contracted, overrides, message):
    with pytest.raises(InputError) as error:
        fill(Parameters, contracted, overrides, "a.yaml")
    assert message in str(error.value)
