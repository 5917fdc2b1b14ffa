"""What is true of a generated retail world: the planted facts as they are in what was written."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import polars as pl

from local.data.market import Market
from local.data.shoppers import BG_NBD, GAMMA_GAMMA

WRONG_IDS = ("", "0", "-1")


@dataclass
class Tally:
    """What is counted while chunks are written."""

    rows: int = 0
    orders: int = 0
    baskets: int = 0
    units: Any = 0
    cents: Any = 0
    dirt: Counter[str] = field(default_factory=Counter)
    pairs: Counter[tuple[int, str]] = field(default_factory=Counter)
    surges: Counter[str] = field(default_factory=Counter)
    suspects: list[dict[str, Any]] = field(default_factory=list)

    def add(self, market: Market, lines: pl.DataFrame, sales: pl.DataFrame) -> None:
        """Counts a chunk: its lines by index and its sales as written, row for row."""
        self.rows += len(lines)
        self.orders += lines["number"].n_unique()
        self.units += lines["units"].sum()
        self.cents += lines["cents"].sum()
        returned = (lines["units"] < 0).sum()
        self.dirt.update(
            {
                "returns": returned,
                "null_customer": sales["cod_dim_customer"].null_count(),
                "invalid_customer": sales["cod_dim_customer"].is_in(WRONG_IDS).sum(),
                "invalid_product": (~lines["known"]).sum(),
                "null_store": sales["store_name"].null_count(),
            }
        )
        bought = lines.filter((pl.col("units") > 0) & pl.col("known"))
        self.baskets += bought["order"].n_unique()
        for i, (first, second, _) in enumerate(market.pairs):
            with_first = bought.filter(pl.col("product") == first)["order"]
            with_second = bought.filter(pl.col("product") == second)["order"]
            both = with_first.is_in(with_second.implode()).sum()
            self.pairs.update({(i, "first"): len(with_first), (i, "second"): len(with_second), (i, "both"): both})
        for group, day, products in market.surges:
            on_day = bought.filter((pl.col("day") == day) & pl.col("product").is_in(products))
            self.surges[group] += int(on_day["units"].sum())

    def suspect(self, market: Market, sales: pl.DataFrame, customer_id: str, group: str) -> None:
        """Notes what a planted customer bought of the group in the last month, as written."""
        last_month = market.start + timedelta(market.last_month)
        bought = sales.filter(
            (pl.col("cod_dim_customer") == customer_id)
            & (pl.col("product_atclevel4_description") == group)
            & (pl.col("sale_date") >= last_month)
        )
        units, orders = bought["sale_unity"].sum(), bought["sale_order_id"].n_unique()
        self.suspects.append({"customer_id": customer_id, "anomaly_group": group, "units": units, "orders": orders})


def facts(market: Market, tally: Tally) -> dict[str, Any]:
    """What `truth.json` says of a world that was written."""
    return {
        "rows": tally.rows,
        "orders": tally.orders,
        "units": tally.units,
        "amount": tally.cents / 100,
        "models": {"bg_nbd": BG_NBD, "gamma_gamma": GAMMA_GAMMA},
        "pairs": [_pair(market, tally, i) for i in range(len(market.pairs))],
        "suspects": tally.suspects,
        "surges": [
            {"anomaly_group": group, "sale_date": str(market.start + timedelta(day)), "units": tally.surges[group]}
            for group, day, _ in market.surges
        ],
        "dirt": dict(tally.dirt),
    }


def _pair(market: Market, tally: Tally, i: int) -> dict[str, Any]:
    """A planted pair with the measures it has in the whole of the sales, over all baskets with a known product."""
    first, second, both = (tally.pairs[i, part] for part in ("first", "second", "both"))
    a, b, _ = market.pairs[i]
    return {
        "antecedent": market.products["product_id"][a],
        "antecedent_name": market.products["product_name"][a],
        "consequent": market.products["product_id"][b],
        "consequent_name": market.products["product_name"][b],
        "baskets": tally.baskets,
        "antecedent_baskets": first,
        "consequent_baskets": second,
        "both_baskets": both,
        "confidence": both / first if first else None,
        "lift": both * tally.baskets / (first * second) if first and second else None,
    }
