import subprocess
import sys
import zipfile
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from include.tables import contract
from include.tables.odcs import BRONZE_TYPES
from include.transforms import screening, silver
from include.transforms.local_time import END, FIRST

ROOT = Path(__file__).resolve().parents[3]
POLARS_TYPES = {
    "bigint": pl.Int64,
    "boolean": pl.Boolean,
    "date": pl.Date,
    "decimal(18,2)": pl.Decimal(18, 2),
    "double": pl.Float64,
    "string": pl.String,
    "timestamp": pl.Datetime("us"),
}
MARKETPLACE = [table.name for table in contract.of_layer("silver")]


def test_every_silver_contract_is_a_table():
    assert sorted(silver.TABLES) == MARKETPLACE
    assert set(screening.KINDS) == set(BRONZE_TYPES)


@pytest.mark.parametrize("name", MARKETPLACE)
def test_both_readers_of_a_contract_agree(name):
    table, promised = silver.TABLES[name], contract.load(name)
    read = [column for column in promised.columns if column.kind is not None]
    assert [(f.source, f.target, f.kind, f.optional, f.values) for f in table.fields] == [
        (c.transformSourceObjects[0], c.name, screening.KINDS[c.kind], c.optional, c.values) for c in read
    ]
    assert table.optional == promised.optional
    assert table.key == (promised.source_key or tuple(promised.primary_key))
    for field, column in zip(table.fields, read, strict=True):
        assert field.required == (column.required and not field.stand_in)
        limits = (column.logicalTypeOptions.minimum, column.logicalTypeOptions.maximum)
        if column.kind == "wall_time":
            assert (field.least, field.most) == tuple(map(datetime.fromisoformat, limits))
        else:
            assert (field.least, field.most) == limits


def test_times_that_are_accepted_can_be_converted():
    moments = [f for table in silver.TABLES.values() for f in table.fields if f.kind is screening.KINDS["wall_time"]]
    assert len(moments) >= 8
    assert all(f.least >= FIRST and f.most <= END for f in moments)


@pytest.mark.parametrize("name", [*MARKETPLACE, "wide_sales", "daily_sales", "customer_rfm"])
def test_what_is_made_has_the_columns_of_the_contract(generated, name):
    made = generated.gold[name] if name in generated.gold else generated.accepted[name]
    promised = {column.name: POLARS_TYPES[column.physicalType] for column in contract.load(name).properties}
    assert list(made.schema.items()) == list(promised.items())


def test_contracts_are_read_from_a_zip_without_pydantic(tmp_path):
    archive = tmp_path / "modules.zip"
    with zipfile.ZipFile(archive, "w") as modules:
        for pattern in (
            "include/__init__.py",
            "include/transforms/*.py",
            "include/tables/__init__.py",
            "include/tables/*.yaml",
        ):
            for file in ROOT.glob(pattern):
                modules.write(file, file.relative_to(ROOT))
    code = f"""if True:
        import sys
        sys.path.insert(0, {str(archive)!r})
        from include.transforms import silver
        assert silver.__file__.startswith({str(archive)!r}), silver.__file__
        assert silver.ORDERS.field("purchased_at").source == "order_purchase_timestamp"
        foreign = {{"airflow", "jinja2", "pydantic"}} & set(sys.modules)
        sys.exit(f"imports {{foreign}}" if foreign else 0)"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env={})


def test_a_field_is_found_by_its_name_in_silver():
    assert silver.PRODUCTS.field("category").source == "product_category_name"
    with pytest.raises(KeyError, match="products reads no 'colour'; it reads product_id"):
        silver.PRODUCTS.field("colour")
