import json
import re
import shutil

import boto3
import jsonschema
import pytest
import yaml

from include.tables import contract
from include.tables.contract import FOLDER, ContractError
from tests.athena import query

LAYERS = ("raw", "silver", "gold", "products", "streams", "geo", "operations")
DATABASES = {"silver": "vitrine_silver"}
MARKETPLACE = [table.name for table in contract.of_layer("silver")]


@pytest.mark.parametrize("name", contract.names())
def test_every_contract_is_valid_and_complete(name):
    table = contract.load(name)
    assert table.name == name
    assert table.layer in LAYERS
    if table.layer == "streams":
        assert table.database in ("vitrine", "vitrine_bronze", "vitrine_silver", "vitrine_quarantine")
        assert [key.name for key in table.partition_keys][-2:] == ["dt", "hour"]
    elif table.layer == "geo":
        assert table.database in ("vitrine", "vitrine_bronze", "vitrine_silver", "vitrine_quarantine")
        assert {key.name for key in table.partition_keys} <= {"month", "load_date", "table_name"}
    else:
        assert table.database == DATABASES.get(table.layer, "vitrine")
    assert table.owner
    assert table.purpose
    assert table.columns
    assert bool(table.partition_keys) == (table.layer != "silver" and name != "customer_rfm")
    assert not {c.name for c in table.columns} & {k.name for k in table.partition_keys}
    assert set(table.primary_key) <= {column.name for column in table.properties}
    assert set(table.reads) <= set(contract.names())
    if table.layer in ("silver", "gold", "operations"):
        assert table.primary_key
        assert table.granularity


def test_each_layer_has_its_tables():
    assert sorted(table.name for layer in LAYERS for table in contract.of_layer(layer)) == contract.names()
    assert MARKETPLACE == [
        "category_translation",
        "customers",
        "geolocation",
        "order_items",
        "order_payments",
        "order_reviews",
        "orders",
        "products",
        "sellers",
    ]
    assert [table.name for table in contract.of_layer("gold")] == ["customer_rfm", "daily_sales", "wide_sales"]
    assert [table.name for table in contract.of_layer("operations")] == ["deliveries", "quality"]


def test_every_product_has_its_tables():
    assert [table.name for table in contract.of_product("mba")] == [
        "mba_carousel",
        "mba_excluded",
        "mba_rules",
        "mba_store",
    ]
    others = ("clv", "anomalies", "recommender")
    assert {table.name for product in others for table in contract.of_product(product)} == {
        "clv_customers",
        "clv_missing_products",
        "anomaly_days",
        "anomaly_suspects",
        "anomaly_transactions",
        "recommendations",
        "recommender_metrics",
        "similar_products",
    }


class TestShapes:
    def test_glue_input_separates_partition_keys_from_columns(self):
        table = contract.load("mba_rules").glue_input("s3://lake/mba/mba_rules/")
        assert [key["Name"] for key in table["PartitionKeys"]] == ["client", "report_date"]
        assert "client" not in [column["Name"] for column in table["StorageDescriptor"]["Columns"]]
        assert table["StorageDescriptor"]["Location"] == "s3://lake/mba/mba_rules/"

    def test_a_snapshot_has_no_partition_keys(self):
        table = contract.load("customer_rfm").glue_input("s3://lake/gold/customer_rfm/v=1/")
        assert table["PartitionKeys"] == []
        assert table["StorageDescriptor"]["Columns"][0]["Name"] == "customer_unique_id"

    def test_a_candidate_has_every_column_and_no_partition_key(self):
        table = contract.load("wide_sales")
        candidate = table.candidate("wide_sales__v1")
        assert candidate.relation == "vitrine_audit.wide_sales__v1"
        assert candidate.partition_keys == []
        assert [(c.name, c.physicalType) for c in candidate.columns] == [
            (c.name, c.physicalType) for c in table.properties
        ]
        assert "order_date" in [column.name for column in candidate.columns]

    def test_bronze_has_the_columns_of_the_source_typed(self):
        bronze = contract.load("orders").bronze()
        assert (bronze.relation, bronze.layer) == ("vitrine_bronze.orders", "bronze")
        assert [(column.name, column.physicalType) for column in bronze.columns] == [
            ("order_id", "string"),
            ("customer_id", "string"),
            ("order_status", "string"),
            ("order_purchase_timestamp", "timestamp"),
            ("order_approved_at", "timestamp"),
            ("order_delivered_carrier_date", "timestamp"),
            ("order_delivered_customer_date", "timestamp"),
            ("order_estimated_delivery_date", "timestamp"),
            ("source_file", "string"),
            ("row_number", "bigint"),
            ("load_time", "timestamp"),
        ]
        assert [(key.name, key.physicalType) for key in bronze.partition_keys] == [("load_date", "date")]
        assert bronze.primary_key == []

    def test_quarantine_has_the_columns_of_the_source_as_text_and_the_reason(self):
        quarantine = contract.load("order_payments").quarantine()
        assert (quarantine.relation, quarantine.layer) == ("vitrine_quarantine.order_payments", "quarantine")
        *sources, file, row, load, reason = [(column.name, column.physicalType) for column in quarantine.columns]
        assert {kind for _, kind in sources} == {"string"}
        assert ("payment_value", "string") in sources
        assert [file, row, load] == [("source_file", "string"), ("row_number", "bigint"), ("load_time", "timestamp")]
        assert reason == ("reason", "string")
        assert [key.name for key in quarantine.partition_keys] == ["layer", "delivery"]

    @pytest.mark.parametrize("name", MARKETPLACE)
    def test_what_a_file_may_lack_is_the_same_in_bronze(self, name):
        table = contract.load(name)
        lacking = {column.transformSourceObjects[0] for column in table.columns if column.optional}
        for of_source in (table.bronze(), table.quarantine()):
            assert {column.name for column in of_source.columns if column.optional} == lacking

    def test_only_a_table_that_is_read_from_a_source_has_bronze(self):
        with pytest.raises(ContractError, match=r"wide_sales\.yaml:\d+: wide_sales has no column with a kind"):
            contract.load("wide_sales").bronze()


@pytest.mark.parametrize("name", ["mba_rules", "wide_sales", "customer_rfm", "orders"])
def test_the_statement_makes_the_table_that_the_api_makes(stack, name):
    glue = boto3.client("glue")
    table, location = contract.load(name), f"s3://vitrine-lake/scratch/{name}/"
    made = []
    for database in ("contract_by_api", "contract_by_statement"):
        glue.create_database(DatabaseInput={"Name": f"{database}_{name}"})
    glue.create_table(DatabaseName=f"contract_by_api_{name}", TableInput=table.glue_input(location))
    statement = table.ddl(location).replace(f"`{table.database}`", f"`contract_by_statement_{name}`", 1)
    query(statement)
    for database in ("contract_by_api", "contract_by_statement"):
        found = glue.get_table(DatabaseName=f"{database}_{name}", Name=name)["Table"]
        storage = found["StorageDescriptor"]
        made.append(
            (
                found["TableType"],
                found["Parameters"]["classification"],
                [(key["Name"], key["Type"]) for key in found["PartitionKeys"]],
                [(column["Name"], column["Type"], column["Comment"]) for column in storage["Columns"]],
                storage["Location"],
                storage["InputFormat"],
                storage["SerdeInfo"]["SerializationLibrary"],
            )
        )
    assert made[0] == made[1]


def test_an_unknown_table_lists_the_known_ones():
    with pytest.raises(ContractError, match=r"no table contract named 'sails'.*mba_rules"):
        contract.load("sails")
    with pytest.raises(ContractError, match="did you mean 'orders'"):
        contract.load("order")


@pytest.fixture
def folder(tmp_path):
    """The contracts in a folder where they can be broken."""
    for file in FOLDER.glob("*.yaml"):
        shutil.copy(file, tmp_path)
    return tmp_path


def broken(folder, name, old, new):
    """The line of the file at which `old` is replaced, and what reading the file then says."""
    text = (folder / f"{name}.yaml").read_text()
    assert old in text
    at = text[: text.index(old)].count("\n") + 1
    (folder / f"{name}.yaml").write_text(text.replace(old, new, 1))
    with pytest.raises(ContractError) as caught:
        contract.load(name, folder)
    return at, str(caught.value)


PRODUCT = "- property: product\n"
KIND = "customProperties: [{property: kind, value: text}]"


@pytest.mark.parametrize(
    ("name", "old", "new", "further", "message"),
    [
        ("mba_rules", "kind: DataContract", "kind: Contract", 0, "kind: Input should be 'DataContract'"),
        ("mba_rules", "name: mba_rules", "name: other", 0, "name is 'other', the file is named"),
        ("mba_rules", "- name: mba_rules", "- name: other", 0, "must be the contract's name, 'mba_rules'"),
        ("mba_rules", "logicalType: string", "logicalType: text", 0, "schema.0.properties.0.logicalType"),
        ("mba_rules", "    description:", "    descripton:", 0, "did you mean 'description'?"),
        ("mba_rules", "  role: owner", "  role: friend", -2, "nobody has the role 'owner'"),
        ("mba_rules", PRODUCT, "- property: produkt\n", 0, "customProperties.1"),
        ("mba_rules", "  value: products", "  value: bronze", 0, "customProperties.0.layer.value"),
        ("mba_rules", "- property: layer\n  value: products\n", "", -1, "property 'layer' is missing"),
        ("mba_rules", "- property: product\n  value: mba\n", "", -3, "property 'product' is missing"),
        ("mba_rules", "domain: retail", "domain: retail\ndomain: retail", 1, "key 'domain' is there twice"),
        ("orders", "domain: marketplace", "domain: [marketplace", 1, "not YAML"),
        (
            "orders",
            "element: orders.order_date",
            "element: orders.order_id",
            0,
            "'orders.order_id' is no date of orders",
        ),
        ("orders", "physicalType: timestamp", "physicalType: double", 0, "can't be 'double': it is of type date"),
        ("orders", "minimum: '2010-01-01T00:00:00'", "minimum: 2010", 0, "2010 is no minimum of a column of type date"),
        ("orders", "minimum: '2010-01-01T00:00:00'", "minimum: '2050-01-01'", -1, "minimum is above maximum"),
        (
            "orders",
            "transformSourceObjects: [customer_id]",
            "transformSourceObjects: [a, b]",
            0,
            "must name the one source",
        ),
        ("orders", "value: lowercase", "value: lowcase", 0, "kind.value: Input should be 'text'"),
        ("orders", "primaryKeyPosition: 1", "primaryKeyPosition: 2", None, "must count from 1, it is [2]"),
        ("orders", "  - name: customer_id", "  - name: order_id", 0, "column 'order_id' is there twice"),
        ("orders", "mustBe: 0", "mustbe: 0", 0, "did you mean 'mustBe'?"),
        (
            "orders",
            "${customers}",
            "${customer}",
            -3,
            "reads ${customer}, no table contract; did you mean 'customers'?",
        ),
        ("orders", "${customers}", "$ {customers}", -3, "has a $ that begins no ${name}"),
        (
            "order_items",
            "value: money",
            "value: integer",
            None,
            "price is 'decimal(18,2)', but kind integer is 'bigint'",
        ),
        ("order_items", "minimum: 1", "minimum: one", 0, "'one' is no minimum of a column of type integer"),
        (
            "order_reviews",
            "value: [created_at, answered_at]",
            "value: [created]",
            None,
            "standIn 'created' is no wall_time",
        ),
        ("geolocation", "value: [zip, latitude, longitude]", "value: [zip, lat]", None, "sourceKey 'lat' is no column"),
        (
            "wide_sales",
            "    description: Order.",
            f"    {KIND}\n    description: Order.",
            None,
            "which only columns of silver",
        ),
    ],
)
def test_a_broken_contract_names_the_line(folder, name, old, new, further, message):
    at, said = broken(folder, name, old, new)
    lines = [int(re.match(rf".*{name}\.yaml:(\d+): ", line)[1]) for line in said.splitlines() if message in line]
    assert lines, said
    if further is not None:
        assert lines == [at + further], said


def test_every_mistake_is_told_in_the_order_of_the_file(folder):
    text = (folder / "orders.yaml").read_text()
    (folder / "orders.yaml").write_text(
        text.replace("mustBe: 0", "mustBe: none").replace("status: active", "status: alive", 1)
    )
    with pytest.raises(ContractError) as caught:
        contract.load("orders", folder)
    lines = [int(re.match(r".*orders\.yaml:(\d+): ", line)[1]) for line in str(caught.value).splitlines()]
    assert len(lines) >= 3
    assert lines == sorted(lines)


@pytest.mark.parametrize("text", ["", "- a list\n", "just text\n"])
def test_a_contract_is_a_mapping(tmp_path, text):
    (tmp_path / "orders.yaml").write_text(text)
    with pytest.raises(ContractError, match=r"orders\.yaml:1: a contract is a mapping of keys, as in name: orders"):
        contract.load("orders", tmp_path)


def test_a_table_knows_the_lines_of_its_contract():
    table = contract.load("orders")
    line = int(table.where("schema", 0, "quality", 0).rpartition(":")[2])
    assert table.where("schema").startswith("include/tables/orders.yaml:")
    assert (FOLDER / "orders.yaml").read_text().splitlines()[line - 1] == "  - name: customer_id_unknown"


SCHEMA = FOLDER / "contract.schema.json"


def test_the_editors_schema_is_current():
    assert SCHEMA.read_text() == contract.json_schema() + "\n", (
        "write it again: python -m include.tables.contract > include/tables/contract.schema.json"
    )


@pytest.mark.parametrize("name", contract.names())
def test_every_contract_fits_the_editors_schema(name):
    schema = json.loads(SCHEMA.read_text())
    data = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(data, schema, cls=jsonschema.Draft202012Validator)
    data["schema"][0]["properties"][0]["logicalType"] = "text"
    with pytest.raises(jsonschema.ValidationError, match="'text' is not one of"):
        jsonschema.validate(data, schema, cls=jsonschema.Draft202012Validator)


@pytest.mark.parametrize("name", contract.names())
def test_every_contract_names_its_schema_for_editors(name):
    assert (FOLDER / f"{name}.yaml").read_text().startswith("# yaml-language-server: $schema=contract.schema.json\n")
