from __future__ import annotations

import warnings
from datetime import date, timedelta

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from include.algorithms import rfm

END = date(2024, 7, 1)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 4), st.integers(1, 40), st.integers(1, 10_000).map(lambda cents: cents / 100)),
        min_size=1,
        max_size=40,
    )
)
def test_summary_equals_that_of_lifetimes(rows):
    from lifetimes.utils import summary_data_from_transaction_data

    lines = pl.DataFrame(rows, schema=["customer_id", "before", "amount"], orient="row").with_columns(
        pl.col("customer_id").cast(pl.String), day=END - pl.duration(days="before")
    )
    lines = lines.with_columns(pl.col("day").cast(pl.Date))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frame = lines.select("customer_id", pl.col("day").cast(pl.Datetime("ns")), "amount").to_pandas()
        expected = summary_data_from_transaction_data(
            frame, "customer_id", "day", "amount", observation_period_end=END.isoformat(), freq="D"
        ).sort_index()
    found = rfm.summary(rfm.purchase_days(lines), END)
    assert found["customer_id"].to_list() == expected.index.to_list()
    for mine, theirs in (
        ("frequency", "frequency"),
        ("recency", "recency"),
        ("age", "T"),
        ("monetary", "monetary_value"),
    ):
        np.testing.assert_allclose(found[mine].to_numpy(), expected[theirs].to_numpy(), rtol=1e-12)


def test_a_day_is_one_purchase_with_its_net_amount():
    lines = pl.DataFrame(
        {"customer_id": ["a"] * 5, "day": [END - timedelta(d) for d in (9, 5, 5, 5, 2)], "amount": [1.0, 10, 5, -3, 8]}
    )
    days = rfm.purchase_days(lines)
    assert days["amount"].to_list() == [1, 12, 8]
    assert rfm.summary(days, END).rows() == [("a", 2, 7.0, 9.0, 10.0)]
