import importlib

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from include.algorithms.__main__ import PRODUCTS
from include.algorithms.outcome import InputError
from include.algorithms.parameters import fill
from include.clients import contract


class Parameters(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    months: int = Field(default=12, ge=1)
    share: float = 0.5
    strict: bool = False
    groups: tuple[str, ...] | None = None

    @model_validator(mode="after")
    def _agree(self):
        if self.strict and self.share == 1:
            raise ValueError("strict wants a share below 1")
        return self


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
        ({}, ["months=ten"], "parameter months is 'ten': Input should be a valid integer"),
        ({"months": 1.5}, [], "parameter months is 1.5: Input should be a valid integer"),
        (
            {"months": 0},
            [],
            "parameter months is 0: Input should be greater than or equal to 1 (a.yaml, or --parameter)",
        ),
        ({"share": 1}, ["strict=yes"], "parameter strict wants a share below 1 (a.yaml, or --parameter)"),
    ],
)
def test_what_cannot_be_used_is_named(contracted, overrides, message):
    with pytest.raises(InputError) as error:
        fill(Parameters, contracted, overrides, "a.yaml")
    assert message in str(error.value)


FROM_CATEGORIES = {"categories", "denied_categories"}
OUT_OF_RANGE = {
    "mba": {
        "min_support": (0, 1.5, float("nan")),
        "max_length": (1, 11),
        "min_lift": (-1, float("inf")),
        "min_confidence": (-0.1, 2),
        "max_q_value": (0, 1.1),
        "top_products": (0, 99999999999999999999),
        "store_max": (0, 1001),
        "carousel_max": (3, 1001),
    },
    "clv": {"history_months": (0, 121), "horizon_months": (0, 121), "discount_rate": (-0.1, 1, 1e308, float("nan"))},
    "anomalies": {"history_months": (0, 30000), "sigmas": (0, 101), "day_score": (0, 101, float("inf"))},
    "recommender": {
        "per_customer": (0, 2_000_000_000),
        "similar": (0, 1001),
        "exclude_bought": ("perhaps",),
        "test_months": (0, 30000),
        "min_customers": (0, 1_000_001),
        "ease_products": (0, 1_000_001),
        "ease_regularization": (0, 1e10),
        "als_factors": (0, 1_000_000),
        "als_confidence": (0, 1e7),
        "als_regularization": (0, 1e7),
        "als_iterations": (0, 1001),
        "neighbours": (0, 99999999999),
        "shrinkage": (-1, 1e7),
        "seed": (-1, 2**32),
    },
}


@pytest.mark.parametrize("product", PRODUCTS)
def test_a_contract_sets_every_parameter_of_a_product_to_the_same_default(product):
    kind = importlib.import_module(f"include.algorithms.{PRODUCTS[product][0]}").Parameters
    defaults = contract.Parameters().of(product)
    assert set(defaults) == set(OUT_OF_RANGE[product])
    assert {name: value for name, value in kind() if name not in FROM_CATEGORIES} == defaults


@pytest.mark.parametrize(
    ("product", "name", "value"),
    [(product, name, value) for product, of in OUT_OF_RANGE.items() for name, values in of.items() for value in values],
)
def test_contract_and_product_refuse_the_same_values(product, name, value):
    kind = importlib.import_module(f"include.algorithms.{PRODUCTS[product][0]}").Parameters
    with pytest.raises(ValidationError, match=name):
        contract.Parameters.model_validate({product: {name: value}})
    for contracted, overrides in (({name: value}, []), ({}, [f"{name}={value}"])):
        with pytest.raises(InputError, match=f"parameter {name} .*a.yaml"):
            fill(kind, contracted, overrides, "a.yaml")
