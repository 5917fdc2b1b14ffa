import pytest
import yaml

from include.tables import contract


@pytest.fixture(autouse=True)
def _fresh():
    contract.load.cache_clear()
    yield
    contract.load.cache_clear()


@pytest.mark.parametrize("name", contract.names())
def test_every_contract_is_valid_and_complete(name):
    table = contract.load(name)
    assert table.name == name
    assert table.database == "vitrine"
    assert table.columns
    assert table.partition_keys
    assert not {c.name for c in table.columns} & {k.name for k in table.partition_keys}
    assert set(table.primary_key) <= {column.name for column in table.columns}


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


def test_glue_input_separates_partition_keys_from_columns():
    table = contract.load("mba_rules").glue_input("s3://lake/mba/mba_rules/")
    assert [key["Name"] for key in table["PartitionKeys"]] == ["client", "report_date"]
    assert "client" not in [column["Name"] for column in table["StorageDescriptor"]["Columns"]]
    assert table["StorageDescriptor"]["Location"] == "s3://lake/mba/mba_rules/"


def test_an_unknown_table_lists_the_known_ones():
    with pytest.raises(contract.ContractError, match=r"no table contract named 'sails'.*mba_rules"):
        contract.load("sails")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("kind",), "Contract", "kind"),
        (("name",), "other", "must be the contract's name"),
        (("schema", 0, "properties", 0, "logicalType"), "text", r"properties\.0\.logicalType"),
        (("schema", 0, "properties", 0, "descripton"), "typo", r"descripton"),
        (("team",), [], "team"),
    ],
)
def test_a_broken_contract_names_the_file_and_the_field(tmp_path, monkeypatch, path, value, message):
    document = yaml.safe_load((contract.FOLDER / "mba_rules.yaml").read_text())
    *parents, last = path
    part = document
    for key in parents:
        part = part[key]
    part[last] = value
    (tmp_path / "mba_rules.yaml").write_text(yaml.safe_dump(document))
    monkeypatch.setattr(contract, "FOLDER", tmp_path)
    with pytest.raises(contract.ContractError, match=rf"mba_rules\.yaml: .*{message}"):
        contract.load("mba_rules")
