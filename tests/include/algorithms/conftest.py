"""The published data sets that the algorithms are checked against; they live beside the repository."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

DATA = Path(__file__).parents[4] / "shared" / "data"


def _published(name: str) -> Path:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"published data set absent: {path}")
    return path


@pytest.fixture(scope="session")
def groceries() -> tuple[np.ndarray, np.ndarray, int]:
    """Basket code and item code of every line of the 9 835 grocery baskets, and their number."""
    baskets = [line.split(",") for line in _published("groceries.csv").read_text().splitlines()]
    codes = {item: code for code, item in enumerate(sorted({item for basket in baskets for item in basket}))}
    assert (len(baskets), len(codes)) == (9835, 169)
    lines = [(number, codes[item]) for number, basket in enumerate(baskets) for item in basket]
    numbers, items = np.array(lines).T
    return numbers, items, len(baskets)


@pytest.fixture(scope="session")
def cdnow() -> pl.DataFrame:
    """x, t_x, T (weeks) and mean repeat spend of the CDNOW customers in the calibration period, to 1997-09-30."""
    lines = [line.split() for line in _published("CDNOW_sample.txt").read_text().splitlines() if line.strip()]
    end = date(1997, 9, 30)
    days = (
        pl.DataFrame(
            {"id": [x[0] for x in lines], "day": [x[2] for x in lines], "amount": [float(x[4]) for x in lines]}
        )
        .with_columns(pl.col("day").str.to_date("%Y%m%d"))
        .filter(pl.col("day") <= end)
        .group_by("id", "day")
        .agg(pl.col("amount").sum())
        .sort("id", "day")
    )
    first = pl.col("day").min()
    return (
        days.group_by("id", maintain_order=True)
        .agg(
            x=pl.len().cast(pl.Float64) - 1,
            t_x=(pl.col("day").max() - first).dt.total_days() / 7,
            T=(pl.lit(end) - first).dt.total_days() / 7,
            m=pl.col("amount").slice(1).mean(),
        )
        .sort("id")
    )


@pytest.fixture(scope="session")
def online_retail() -> pl.DataFrame:
    """The UCI Online Retail lines under the roles of an extract."""
    code = pl.col("StockCode")
    amount = (pl.col("Quantity") * pl.col("UnitPrice")).cast(pl.Decimal(18, 4))
    return pl.read_parquet(_published("online_retail.parquet")).select(
        product_id=code,
        product_name="Description",
        product_group=pl.when(code.str.contains(r"^\d{5}"))
        .then(code.str.slice(0, 2) + "xxx")
        .otherwise(pl.lit("service")),
        sale_date="InvoiceDate",
        quantity=pl.col("Quantity").cast(pl.Float64),
        order_id="InvoiceNo",
        amount=amount,
        customer_id=pl.col("CustomerID").cast(pl.Int64).cast(pl.String),
        store="Country",
    )
