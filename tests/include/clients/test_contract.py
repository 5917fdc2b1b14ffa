import json
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import sqlglot
import yaml
from sqlglot import exp

from include.clients import contract
from include.clients.contract import FOLDER, Categories, ContractError

VALID = """\
client: shop
title: A shop
language: es
currency: EUR
source:
  database: RETAIL
  schema: SHOP
  view: SALES
  columns:
    item: {type: string}
    sold: {type: timestamp, formats: ["%d/%m/%Y"]}
    units: {type: integer}
    price: {type: decimal}
roles:
  product_id: item
  product_name: item
  product_group: item
  sale_date: sold
  quantity: units
  order_id: item
  amount: units * price
  customer_id: item
  store: item
  anomaly_group: item
"""


def written(folder: Path, text: str) -> Path:
    (folder / "shop.yaml").write_text(text, encoding="utf-8")
    return folder


def error(folder: Path, text: str) -> str:
    with pytest.raises(ContractError) as caught:
        contract.load("shop", written(folder, text))
    return str(caught.value)


def line(message: str) -> int:
    return int(re.search(r"shop\.yaml:(\d+): ", message)[1])


@pytest.mark.parametrize("client", contract.names())
def test_shipped_contracts_are_valid(client: str) -> None:
    shipped = contract.load(client)
    assert shipped.client == client
    assert set(contract.ROLES) <= set(shipped.roles)


def test_the_shipped_clients() -> None:
    assert contract.names() == ["drogaria", "online_retail"]
    assert contract.load("drogaria").relation == "RETAIL.DROGARIA.SALES"
    assert contract.load("online_retail").relation == "RETAIL.ONLINE_RETAIL.SALES"


@pytest.mark.parametrize("client", contract.names())
def test_role_expressions_are_snowflake_sql_over_declared_columns(client: str) -> None:
    shipped = contract.load(client)
    known = {name.lower() for name in shipped.source.columns}
    for expression in shipped.roles.values():
        parsed = sqlglot.parse_one(expression, dialect="snowflake")
        used = {column.name.lower() for column in parsed.find_all(exp.Column)}
        assert used
        assert used <= known
        # The light scan of the contract sees what the parser sees.
        assert {name.lower() for name in contract.column_names(expression)} == used


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("units * price", ["units", "price"]),
        ("case when kind = 'it''s name' then a else b end", ["kind", "a", "b"]),
        ("cast(a as decimal(18, 4)) + b::number(38, 0)", ["a", "b"]),
        ("coalesce(a, upper(b), 'none')", ["a", "b"]),
        ('"Odd Name" || x', ["Odd Name", "x"]),
        ("date_trunc('month', sold) is not null and a between 1 and 2.5", ["sold", "a"]),
    ],
)
def test_column_names_of_an_expression(expression: str, names: list[str]) -> None:
    assert contract.column_names(expression) == names


def test_what_is_left_out_has_its_default(tmp_path: Path) -> None:
    shop = contract.load("shop", written(tmp_path, VALID))
    assert shop.history_months == 13
    assert shop.source.decimal_separator == "."
    assert shop.parameters.of("mba") == {
        "min_support": 0.00005,
        "max_length": 2,
        "min_lift": 1.0,
        "min_confidence": 0.0,
        "max_q_value": 1.0,
        "top_products": 300,
        "store_max": 4,
        "carousel_max": 14,
    }
    assert shop.parameters.of("clv") == {"history_months": 12, "horizon_months": 12, "discount_rate": 0.0}
    assert shop.parameters.of("anomalies") == {"history_months": 12, "sigmas": 2.0, "day_score": 4.0}
    assert shop.parameters.of("recommender").items() >= {"per_customer": 10, "exclude_bought": True, "seed": 0}.items()
    with pytest.raises(KeyError, match="no product 'mbaa'; there are mba, clv"):
        shop.parameters.of("mbaa")


def test_a_contract_knows_its_lines(tmp_path: Path) -> None:
    shop = contract.load("shop", written(tmp_path, VALID))
    assert shop.where("source", "columns", "units") == f"{tmp_path}/shop.yaml:12"
    assert shop.where("source", "decimal_separator") == f"{tmp_path}/shop.yaml:5", "the nearest key above"
    assert contract.load("drogaria").where("client").startswith("include/clients/drogaria.yaml:")


def test_categories() -> None:
    assert Categories(allow=("a",)).allows("a")
    assert not Categories(allow=("a",)).allows(None)
    assert Categories(deny=("a",)).allows("b")
    assert not Categories(deny=("a",)).allows("a")
    assert Categories().allows(None)


def test_unknown_client_lists_the_known() -> None:
    with pytest.raises(ContractError, match=r"'drogari'; did you mean 'drogaria'\?; there are drogaria, online_retail"):
        contract.load("drogari")


@pytest.mark.parametrize("client", ["../clients/drogaria", "", "drogaria.yaml"])
def test_a_client_is_a_name_and_no_path(client: str) -> None:
    with pytest.raises(ContractError, match="unknown client"):
        contract.load(client)


@pytest.mark.parametrize(
    ("old", "new", "at", "says"),
    [
        ("language: es", "language: de", 3, "language: Input should be 'en', 'es' or 'pt', it is 'de'"),
        ("currency: EUR", "currency: euro", 4, "currency"),
        ("title: A shop", "titel: A shop", 2, "unknown key 'titel'; did you mean 'title'?"),
        ("    units: {type: integer}", "    units: {typ: integer}", 12, "unknown key 'source.columns.units.typ'"),
        ("type: integer", "type: int", 12, "source.columns.units.type"),
        (
            "  quantity: units",
            "  quantity: unit",
            19,
            "role 'quantity' uses 'unit', no column of the source; did you mean 'units'?",
        ),
        ("  store: item\n", "", 14, "role 'store' is missing"),
        ("  store: item", "  store: item\n  shop: item", 24, "unknown role 'shop'"),
        ("  store: item", "  store: item\n  store: item", 24, "key 'store' is there twice, first in line 23"),
        ('["%d/%m/%Y"]', '["dd/mm/yyyy"]', 11, "'dd/mm/yyyy' is not the format of a whole date"),
        ("{type: decimal}", '{type: decimal, formats: ["%Y-%m-%d"]}', 13, "formats belong to a timestamp or a date"),
        ("client: shop", "client: store", 1, "client is 'store', the file is named 'shop'"),
        ("language: es", "language: [es", 4, "not YAML"),
        ("  database: RETAIL", "  database: RE TAIL", 6, "source.database"),
    ],
)
def test_an_error_names_line_and_fix(tmp_path: Path, old: str, new: str, at: int, says: str) -> None:
    assert old in VALID
    message = error(tmp_path, VALID.replace(old, new, 1))
    assert at in [line(part) for part in message.splitlines() if says in part]


@pytest.mark.parametrize(
    ("addition", "says"),
    [
        (
            "parameters: {mba: {min_suport: 0.1}}",
            "unknown key 'parameters.mba.min_suport'; did you mean 'min_support'?",
        ),
        ("parameters: {mba: {min_support: 0}}", "parameters.mba.min_support"),
        ("parameters: {mba: {max_length: 1}}", "parameters.mba.max_length"),
        ("parameters: {mba: {store_max: 20}}", "carousel_max (14) is less than store_max (20)"),
        ("parameters: {clv: {discount_rate: 1.0}}", "parameters.clv.discount_rate"),
        ("parameters: {anomalies: {sigmas: -1}}", "parameters.anomalies.sigmas"),
        ("parameters: {recommender: {similar: 0}}", "parameters.recommender.similar"),
        ("parameters: {churn: {}}", "unknown key 'parameters.churn'"),
        ("history_months: 12", "anomalies needs 13 months of sales, history_months gives it 12"),
        ("categories: {allow: [a], deny: [b]}", "give allow or deny, not both"),
    ],
)
def test_parameters_out_of_range(tmp_path: Path, addition: str, says: str) -> None:
    message = error(tmp_path, f"{VALID}{addition}\n")
    assert says in message
    assert line(message) == 25


def test_all_mistakes_are_reported_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = VALID.replace("amount: units * price", "amount: unit * prise").replace("language: es", "language: fr")
    assert [line(part) for part in error(tmp_path, text).splitlines()] == [3], "the form first"
    message = error(tmp_path, text.replace("language: fr", "language: es"))
    assert [line(part) for part in message.splitlines()] == [21, 21]


@pytest.mark.parametrize("text", ["", "- a list\n", "just text\n"])
def test_a_contract_is_a_mapping(tmp_path: Path, text: str) -> None:
    assert "a contract is a mapping of keys" in error(tmp_path, text)


def test_the_editors_schema_is_current() -> None:
    current = (FOLDER / "contract.schema.json").read_text(encoding="utf-8")
    assert current == contract.json_schema() + "\n", (
        "write it again: python -m include.clients.contract > include/clients/contract.schema.json"
    )


@pytest.mark.parametrize("client", contract.names())
def test_shipped_contracts_fit_the_editors_schema(client: str) -> None:
    schema = json.loads((FOLDER / "contract.schema.json").read_text(encoding="utf-8"))
    data = yaml.safe_load((FOLDER / f"{client}.yaml").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(data, schema, cls=jsonschema.Draft202012Validator)
    del data["roles"]["amount"]
    with pytest.raises(jsonschema.ValidationError, match="'amount' is a required property"):
        jsonschema.validate(data, schema, cls=jsonschema.Draft202012Validator)


def test_only_pydantic_and_yaml_are_needed() -> None:
    code = """if True:
        import sys
        from include.clients import contract
        contract.load("drogaria")
        foreign = {"airflow", "duckdb", "local", "pandas", "polars", "snowflake.connector"} & set(sys.modules)
        sys.exit(f"imports {foreign}" if foreign else 0)"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=contract.ROOT)
