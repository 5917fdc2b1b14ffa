"""The contract with a client: where its sales are, what its columns mean, and how its products are tuned.

`include/clients/<client>.yaml` is checked as a whole when it is read: every error names the file, the line and the fix.
Needs only pydantic and PyYAML, because the algorithms image reads contracts too.

`python -m include.clients.contract` prints the JSON schema editors use (`contract.schema.json`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from include import yaml_lines
from include.yaml_lines import Problem, YamlFile
from include.yaml_lines import nearest as nearest  # for those who read sales files by a contract

FOLDER = Path(__file__).parent
ROOT = yaml_lines.ROOT

ROLES = (
    "product_id",
    "product_name",
    "product_group",
    "sale_date",
    "quantity",
    "order_id",
    "amount",
    "customer_id",
    "store",
    "anomaly_group",
)
"""The roles every contract maps; the extract has one column for each."""

ATTRIBUTE = re.compile(r"(customer|product)_[a-z][a-z0-9_]*")
"""Optional roles: attributes of the customer or of the product that are carried along."""

Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_$]*$")]
"""A Snowflake identifier that needs no quotes."""


class ContractError(ValueError):
    """A contract that is missing or wrong; the message has one line per problem."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, allow_inf_nan=False)


class Column(_Strict):
    """A column of the client's sales view."""

    type: Literal["string", "integer", "decimal", "timestamp", "date"] = "string"
    required: bool = Field(
        default=True, description="A file has the column and, where it is a date, a value in every row"
    )
    formats: tuple[str, ...] = Field(
        default=(), description="strptime formats of a timestamp or date in text files, tried in turn, before ISO 8601"
    )

    @model_validator(mode="after")
    def _formats_are_for_dates(self) -> Column:
        if self.formats and self.type not in ("timestamp", "date"):
            raise ValueError(f"formats belong to a timestamp or a date, this column is of type {self.type}")
        moment = datetime(2001, 2, 3, 4, 5, 6)
        for text in self.formats:
            if "%" not in text or datetime.strptime(moment.strftime(text), text).date() != moment.date():
                raise ValueError(f"{text!r} is not the format of a whole date, as %Y-%m-%d is")
        return self


class Source(_Strict):
    """The sales view in Snowflake, and its columns."""

    database: Name
    schema_: Name = Field(alias="schema")
    view: Name
    decimal_separator: Literal[".", ","] = Field(default=".", description="Between units and decimals in text files")
    columns: dict[Name, Column] = Field(min_length=1)


class Categories(_Strict):
    """Which product groups take part in the market basket: an allow-list, or everything but a deny-list."""

    allow: tuple[str, ...] | None = None
    deny: tuple[str, ...] | None = None

    @model_validator(mode="after")
    def _one_list(self) -> Categories:
        if self.allow is not None and self.deny is not None:
            raise ValueError("give allow or deny, not both")
        return self

    def allows(self, group: str | None) -> bool:
        """Whether products of this group take part; with an allow-list, a product without group doesn't."""
        if self.allow is not None:
            return group in self.allow
        return self.deny is None or group not in self.deny


class MbaParameters(_Strict):
    """Market basket analysis."""

    min_support: float = Field(
        default=0.00005, gt=0, le=1, description="Least share of the baskets an item set appears in"
    )
    max_length: int = Field(default=2, ge=2, le=10, description="Most items in a set")
    min_lift: float = Field(default=1.0, ge=0, description="Least lift of a rule")
    min_confidence: float = Field(default=0.0, ge=0, le=1, description="Least confidence of a rule")
    max_q_value: float = Field(
        default=1.0, gt=0, le=1, description="Greatest Benjamini-Hochberg q-value of a rule; 1 keeps all"
    )
    top_products: int = Field(default=300, ge=1, le=1_000_000, description="How many are kept, by quantity sold")
    store_max: int = Field(
        default=4, ge=1, le=1000, description="Up to so many recommendations, a product is in the store plan"
    )
    carousel_max: int = Field(
        default=14, ge=1, le=1000, description="Most recommendations of a product in the online carousel"
    )

    @model_validator(mode="after")
    def _carousel_holds_more(self) -> Self:
        if self.carousel_max < self.store_max:
            raise ValueError(f"carousel_max ({self.carousel_max}) is less than store_max ({self.store_max})")
        return self


class ClvParameters(_Strict):
    """Customer lifetime value."""

    history_months: int = Field(default=12, ge=1, le=120, description="Months of sales the model is fitted on")
    horizon_months: int = Field(
        default=12, ge=1, le=120, description="Months of 30 days from the report date the value is summed over"
    )
    discount_rate: float = Field(default=0.0, ge=0, lt=1, description="Per month")


class AnomaliesParameters(_Strict):
    """Anomalous consumption."""

    history_months: int = Field(
        default=12, ge=1, le=120, description="Months before the last the mean and deviation are taken over"
    )
    sigmas: float = Field(
        default=2.0, gt=0, le=100, description="Standard deviations above the mean that make a suspect"
    )
    day_score: float = Field(
        default=4.0, gt=0, le=100, description="Errors of a day, in its scale, that make an anomaly"
    )


class RecommenderParameters(_Strict):
    """Recommendations per customer, and similar products."""

    per_customer: int = Field(default=10, ge=1, le=1000, description="Recommendations per customer")
    similar: int = Field(default=10, ge=1, le=1000, description="Similar products per product")
    exclude_bought: bool = Field(default=True, description="Never recommend what the customer already bought")
    test_months: int = Field(
        default=2, ge=1, le=120, description="Months before the report date that quality is tested on"
    )
    min_customers: int = Field(
        default=2, ge=1, le=1_000_000, description="Least customers of a product that EASE or ALS learn"
    )
    ease_products: int = Field(
        default=15_000, ge=1, le=1_000_000, description="Most products that engine auto gives to EASE"
    )
    ease_regularization: float = Field(default=500.0, gt=0, le=1e9, description="λ of EASE, in customers")
    als_factors: int = Field(default=64, ge=1, le=1024, description="Latent factors of ALS")
    als_confidence: float = Field(
        default=1.0, gt=0, le=1e6, description="Weight of a bought product in ALS, where one not bought weighs 1"
    )
    als_regularization: float = Field(
        default=1.0, gt=0, le=1e6, description="λ of ALS, in units of the noise that purchases by chance have"
    )
    als_iterations: int = Field(default=15, ge=1, le=1000, description="Alternations of ALS")
    neighbours: int = Field(default=50, ge=1, le=1000, description="Most similar products that item-item scores by")
    shrinkage: float = Field(
        default=20.0,
        ge=0,
        le=1e6,
        description="Added to the denominator of the cosine: products few customers bought are less similar",
    )
    seed: int = Field(default=0, ge=0, le=2**32 - 1, description="Of the start values of ALS")


class Parameters(_Strict):
    """The parameters of each product; what is left out has its default."""

    mba: MbaParameters = MbaParameters()
    clv: ClvParameters = ClvParameters()
    anomalies: AnomaliesParameters = AnomaliesParameters()
    recommender: RecommenderParameters = RecommenderParameters()

    def of(self, product: str) -> dict[str, Any]:
        """The parameters of one product by name, defaults filled in.

        Raises:
            KeyError: there is no such product.
        """
        if product not in type(self).model_fields:
            raise KeyError(f"no product {product!r}; there are {', '.join(type(self).model_fields)}")
        return getattr(self, product).model_dump()


def _roles_schema() -> dict[str, Any]:
    expression = {"type": "string", "minLength": 1}
    return {
        "type": "object",
        "description": "A SQL expression over the source's columns for each role",
        "properties": dict.fromkeys(ROLES, expression),
        "patternProperties": {f"^{ATTRIBUTE.pattern}$": expression},
        "required": list(ROLES),
        "additionalProperties": False,
    }


class Contract(_Strict):
    """Everything the pipelines know about a client."""

    client: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    title: Annotated[str, Field(min_length=1)]
    language: Literal["en", "es", "pt"] = Field(description="Of the Excel headings")
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = Field(description="ISO 4217")
    source: Source
    roles: Annotated[dict[str, Annotated[str, Field(min_length=1)]], WithJsonSchema(_roles_schema())]
    schedule: Literal["monthly", "none"] = Field(
        default="monthly", description="none: only when asked for, as where the data do not grow"
    )
    history_months: int = Field(
        default=13, ge=1, le=120, description="Months of sales before the report date in an extract"
    )
    categories: Categories = Categories()
    parameters: Parameters = Parameters()

    _file: YamlFile | None = PrivateAttr(None)

    @property
    def relation(self) -> str:
        """The sales view's full name in Snowflake, as in RETAIL.DROGARIA.SALES."""
        return f"{self.source.database}.{self.source.schema_}.{self.source.view}"

    def where(self, *location: str | int) -> str:
        """The file and line to change for a key, as in `include/clients/drogaria.yaml:12`."""
        return self._file.where(location) if self._file else ".".join(map(str, location))

    @model_validator(mode="after")
    def _parts_agree(self) -> Contract:
        problems = [*_role_problems(self.roles, self.source.columns), *_history_problems(self)]
        if problems:
            message = "; ".join(message for _, message in problems)
            raise PydanticCustomError("contract", "{message}", {"message": message, "problems": problems})
        return self


def _role_problems(roles: dict[str, str], columns: Collection[str]) -> Iterator[Problem]:
    for role in ROLES:
        if role not in roles:
            yield ("roles",), f"role {role!r} is missing: map it to a column, or to a SQL expression"
    known = {column.lower() for column in columns}
    for role, expression in roles.items():
        if role not in ROLES and not ATTRIBUTE.fullmatch(role):
            hint = nearest(role, ROLES) or " (other roles are named customer_… or product_…)"
            yield ("roles", role), f"unknown role {role!r}{hint}"
        for name in dict.fromkeys(column_names(expression)):
            if name.lower() not in known:
                hint = nearest(name, columns) or f"; the columns are {', '.join(columns)}"
                yield ("roles", role), f"role {role!r} uses {name!r}, no column of the source{hint}"


def _history_problems(contract: Contract) -> Iterator[Problem]:
    # The anomaly rule compares the last month with the months before it.
    clv, anomalies = contract.parameters.clv, contract.parameters.anomalies
    for product, parameters, more in (("clv", clv, 0), ("anomalies", anomalies, 1)):
        months = parameters.history_months + more
        if months > contract.history_months:
            stated = "history_months" in parameters.model_fields_set
            location = ("parameters", product, "history_months") if stated else ("history_months",)
            yield (
                location,
                f"{product} needs {months} months of sales, history_months gives it {contract.history_months}",
            )


_TOKENS = re.compile(
    r"""'(?:[^']|'')*'                                     # text
      | ::\s*[A-Za-z_]\w*(?:\s*\([\d\s,]*\))?              # x::decimal(18, 4)
      | \bas\s+[A-Za-z_]\w*(?:\s*\([\d\s,]*\))?\s*(?=\))   # cast(x as decimal(18, 4))
      | "(?P<quoted>[^"]+)"
      | (?P<name>[A-Za-z_][\w$]*)(?P<call>\s*\()?""",
    re.VERBOSE | re.IGNORECASE,
)
_KEYWORDS = re.compile(
    r"""and|asc|between|by|case|current_date|current_timestamp|date|desc|distinct|else|end|escape|false|from|ilike|in
      | interval|is|like|not|null|or|order|over|partition|regexp|rlike|similar|then|timestamp|to|true|when""",
    re.VERBOSE | re.IGNORECASE,
)


def column_names(expression: str) -> list[str]:
    """The column names in a SQL expression, in order: a light scan that knows texts, calls, casts and keywords.

    The SQL itself is judged by Snowflake; this catches the misspelt column before anything runs.
    """
    names = []
    for token in _TOKENS.finditer(expression):
        if token["quoted"]:
            names.append(token["quoted"])
        elif token["name"] and not token["call"] and not _KEYWORDS.fullmatch(token["name"]):
            names.append(token["name"])
    return names


def names(folder: Path = FOLDER) -> list[str]:
    """The clients that have a contract, sorted."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def load(client: str, folder: Path = FOLDER) -> Contract:
    """The contract of a client.

    Raises:
        ContractError: no such client (the message lists the known ones), or a contract with mistakes.
    """
    known = names(folder)
    if client not in known:
        raise ContractError(f"unknown client {client!r}{nearest(client, known)}; there are {', '.join(known)}")
    return read(folder / f"{client}.yaml")


def read(path: Path) -> Contract:
    """Reads and checks one contract file.

    Raises:
        ContractError: a line `file:line: problem` for each mistake.
    """
    try:
        file = yaml_lines.read(path, f"a contract is a mapping of keys, as in client: {path.stem}")
    except yaml_lines.YamlError as error:
        raise ContractError(str(error)) from error
    problems = list(file.repeated)
    try:
        contract = Contract.model_validate(file.data)
    except ValidationError as error:
        problems += yaml_lines.explained(error, Contract)
        raise ContractError(file.report(problems)) from error
    if contract.client != path.stem:
        problems.append((("client",), f"client is {contract.client!r}, the file is named {path.stem!r}"))
    if problems:
        raise ContractError(file.report(problems))
    contract._file = file
    return contract


def json_schema() -> str:
    """The JSON schema of a contract, for editors."""
    return json.dumps(
        {"$schema": "https://json-schema.org/draft/2020-12/schema"} | Contract.model_json_schema(), indent=2
    )


if __name__ == "__main__":
    print(json_schema())
