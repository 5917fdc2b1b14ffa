"""The market of the generated retail world: stores, products, and what the customers' tastes have in common."""

from __future__ import annotations

import calendar
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import polars as pl

from local.data import catalogue

_UNLISTED = 0.15  # share of the less popular products that a store does not sell
_LEANING = 0.7  # deviation of the logarithm of a profile's interest in a product
_SURGE_DAYS = (12, 26, 61)  # before the end, one for each surging group


def months_before(day: date, months: int) -> date:
    """The same day so many months earlier, or the last day of that month where it has no such day."""
    year, month = divmod(day.year * 12 + day.month - 1 - months, 12)
    return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))


@dataclass(frozen=True)
class Market:
    """What all customers share. Indices are rows of `products` and `stores`; days are counted from the start."""

    start: date
    until: date
    stores: pl.DataFrame
    products: pl.DataFrame
    store_weights: np.ndarray
    taste: np.ndarray
    """(profiles × products) flattened cumulative probabilities, profile i in (i, i + 1]."""
    substitute: np.ndarray
    """(stores × products): the product a store sells when asked for one."""
    pairs: list[tuple[int, int, float]]
    """Two products, and how often who buys the first adds the second."""
    surges: list[tuple[str, int, np.ndarray]]
    """An ATC group, a day, and the products of the group."""

    @property
    def days(self) -> int:
        """How many days there are."""
        return (self.until - self.start).days

    @property
    def last_month(self) -> int:
        """The first day of the last month."""
        return (months_before(self.until, 1) - self.start).days


def build(rng: np.random.Generator, scale: float, start: date, until: date) -> Market:
    """A market with twelve stores at scale 1, from `start` to `until` (exclusive)."""
    stores, store_weights = _stores(rng, max(3, round(12 * scale**0.5)))
    products = _products(rng)
    kind = products["kind"].to_numpy()
    leader = products["leader"].to_numpy()
    popularity = products["popularity"].to_numpy()
    affinity = np.array(
        [[p.affinity.get(group, 1.0) for group in products["product_group"]] for p in catalogue.PROFILES]
    )
    share = popularity * affinity * rng.lognormal(0.0, _LEANING, affinity.shape)
    cumulative = np.cumsum(share / share.sum(axis=1, keepdims=True), axis=1)
    cumulative[:, -1] = 1.0
    # What a store doesn't list, it replaces by the leading product of the kind, which all stores sell.
    unlisted = (rng.random((len(stores), len(products))) < _UNLISTED) & ~leader
    leader_of_kind = {k: i for i, k in enumerate(kind) if leader[i]}
    own = np.arange(len(products))
    leaders = {name: i for i, name in enumerate(products["kind"]) if leader[i]}
    atc = products["product_atclevel4_description"].to_numpy()
    days = (until - start).days
    return Market(
        start=start,
        until=until,
        stores=stores,
        products=products,
        store_weights=store_weights,
        taste=(cumulative + np.arange(len(cumulative))[:, None]).ravel(),
        substitute=np.where(unlisted, np.array([leader_of_kind[k] for k in kind]), own),
        pairs=[(leaders[a], leaders[b], attach) for a, b, attach in catalogue.PAIRS],
        surges=[
            (group, days - offset, np.flatnonzero(atc == group))
            for group, offset in zip(catalogue.SURGES, _SURGE_DAYS, strict=True)
        ],
    )


def _stores(rng: np.random.Generator, number: int) -> tuple[pl.DataFrame, np.ndarray]:
    weights = np.array([city.weight for city in catalogue.CITIES])
    rows: list[dict[str, Any]] = []
    for i in range(number):
        city = (
            catalogue.CITIES[i]
            if i < len(weights)
            else catalogue.CITIES[rng.choice(len(weights), p=weights / weights.sum())]
        )
        north, east = rng.normal(0.0, 0.02, 2)
        rows.append(
            {
                "store_id": str(101 + i),
                "store_name": f"Drogaria Vitrine {city.name} {sum(r['city'] == city.name for r in rows) + 1:02d}",
                "city": city.name,
                "state": city.state,
                "latitude": round(city.latitude + north, 6),
                "longitude": round(city.longitude + east, 6),
            }
        )
    size = 1.0 / np.arange(2, number + 2) ** 0.6
    return pl.DataFrame(rows), size / size.sum()


def _products(rng: np.random.Generator) -> pl.DataFrame:
    """All products, most popular first; popularity follows Zipf-Mandelbrot over the ranks."""
    rows = []
    for kind in catalogue.kinds():
        for b, brand in enumerate(catalogue.BRANDS[kind.group]):
            for p, presentation in enumerate(kind.presentations):
                is_leader = b == p == 0
                noise = 1.0 if is_leader else rng.lognormal(0.0, 0.4)
                medicine = kind.group.startswith("Medicamentos")
                rows.append(
                    {
                        "kind": kind.name,
                        "leader": is_leader,
                        "score": kind.popularity * (b + 1) ** -1.1 * (p + 1) ** -0.6 * noise,
                        "product_name": f"{kind.name} {presentation} {brand}",
                        "product_group": kind.group,
                        "product_atclevel4_description": kind.atc,
                        "product_brand": brand,
                        "product_class": _product_class(brand, medicine, b),
                        "product_presentation": presentation,
                        "product_sub_family": kind.sub_family,
                        "product_family": kind.family,
                        "price": round(kind.price * (1 + 0.8 * p) * (1 - 0.08 * b), 2),
                    }
                )
    rank = pl.int_range(1, pl.len() + 1)
    return (
        pl.DataFrame(rows)
        .sort("score", descending=True, maintain_order=True)
        .drop("score")
        .select(
            (rank + 10_000).cast(pl.String).alias("product_id"),
            pl.all(),
            ((rank + 25.0) ** -1.8).alias("popularity"),
        )
    )


def _product_class(brand: str, medicine: bool, position: int) -> str:
    if brand == "Vitrine":
        return "Marca própria"
    if medicine:
        return "Genérico" if brand.startswith("Genérico") else "Referência" if position == 0 else "Similar"
    return "Marca líder" if position == 0 else "Marca"
