"""The customers of the generated retail world: who they are, when they buy, and what is in their baskets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
import polars as pl
import pyarrow as pa

from local.data import catalogue
from local.data.market import Market

# Purchases per day ~ Gamma(r, alpha), drop-out after a repeat purchase ~ Beta(a, b) (Fader, Hardie, Lee 2005).
BG_NBD = {"r": 0.9, "alpha_days": 60.0, "a": 0.8, "b": 4.0}
# The budget of a basket, in reais, ~ Gamma(p, v) with v ~ Gamma(q, gamma) (Fader, Hardie 2013).
GAMMA_GAMMA = {"p": 4.0, "q": 4.0, "gamma": 45.0}

_WALK_INS = 0.06  # baskets of nobody known, relative to those of customers
_AWAY = 0.1  # share of the baskets bought in another store than the customer's
_FAVOURITES = 4
_FAVOURITE = 0.4  # share of the lines that are one of the customer's favourites
_SURGE = 0.8  # share of a surge day's baskets that get a product of the surging group
_WEEKDAYS = np.array([1.05, 0.95, 0.95, 1.0, 1.15, 1.2, 0.7])  # from Monday
_UNITS = (0.85, 0.11, 0.04)  # share of the lines with one, two, three units

SCHEMA = pa.schema(
    [
        ("customer_id", pa.string()),
        ("customer_type", pa.string()),
        ("customer_group", pa.string()),
        ("customer_category", pa.string()),
        ("customer_salary", pa.decimal128(18, 4)),
        ("customer_city", pa.string()),
        ("customer_gender", pa.string()),
        ("customer_age", pa.int64()),
        ("customer_family", pa.string()),
        ("purchases_per_day", pa.float64()),
        ("drop_out", pa.float64()),
        ("budget", pa.float64()),
        ("active", pa.bool_()),
    ]
)
"""Of `customers.parquet`: attributes, then the truth that no client would know."""


def people_of(rng: np.random.Generator, market: Market, first: int, number: int) -> pl.DataFrame:
    """So many customers: who they are, how they buy, and from which day on."""
    profile = rng.choice(len(catalogue.PROFILES), number, p=[p.share for p in catalogue.PROFILES])
    home = rng.choice(len(market.stores), number, p=market.store_weights)
    youngest, oldest = np.array([p.age for p in catalogue.PROFILES])[profile].T
    age = rng.integers(youngest, oldest + 1)
    gender = np.where(rng.random(number) < np.where(profile == 3, 0.8, 0.54), "Feminino", "Masculino")
    family = np.where(
        profile == 1,
        "Casal com filhos",
        rng.choice(["Solteiro", "Casal", "Casal com filhos"], number, p=[0.4, 0.3, 0.3]),
    )
    salary = np.round(rng.lognormal(8.1, 0.5, number), 2)
    # Half of the customers come in the first two months, the others one by one until the end.
    first_day = rng.random(number) * np.where(rng.random(number) < 0.5, 60.0, market.days)
    private = pl.Series(rng.random(number) < 0.05)  # who didn't fill in the form of the loyalty club
    return pl.DataFrame(
        {
            "customer_id": (first + np.arange(number) + 100_001).astype(str),
            "customer_type": np.where(rng.random(number) < 0.02, "Pessoa jurídica", "Pessoa física"),
            "customer_group": rng.choice(
                ["Clube Ouro", "Clube Prata", "Clube Bronze", "Sem clube"], number, p=[0.1, 0.2, 0.35, 0.35]
            ),
            "customer_category": np.array([p.name for p in catalogue.PROFILES])[profile],
            "customer_salary": salary,
            "customer_city": market.stores["city"].to_numpy()[home],
            "customer_gender": gender,
            "customer_age": age,
            "customer_family": family,
            "purchases_per_day": rng.gamma(BG_NBD["r"], 1 / BG_NBD["alpha_days"], number),
            "drop_out": rng.beta(BG_NBD["a"], BG_NBD["b"], number),
            "budget": GAMMA_GAMMA["p"] * GAMMA_GAMMA["gamma"] / rng.gamma(GAMMA_GAMMA["q"], 1.0, number),
            "profile": profile,
            "home": home,
            "first_day": first_day,
        }
    ).with_columns(
        pl.when(~private).then(pl.col(name)) for name in ("customer_salary", "customer_gender", "customer_family")
    )


@dataclass
class Orders:
    """Baskets without their contents; nobody known is customer -1."""

    customer: np.ndarray
    store: np.ndarray
    day: np.ndarray
    second: np.ndarray
    budget: np.ndarray
    """In reais; NaN for planted orders, which pay list prices and stay clean."""

    def __len__(self) -> int:
        return len(self.customer)

    @property
    def planted(self) -> np.ndarray:
        """Which of the orders are planted."""
        return np.isnan(self.budget)

    def extended(self, other: Orders) -> Orders:
        """These orders, then the others."""
        return Orders(*(np.concatenate([getattr(self, f.name), getattr(other, f.name)]) for f in fields(self)))


def orders_of(rng: np.random.Generator, market: Market, people: pl.DataFrame) -> tuple[Orders, np.ndarray]:
    """All orders of these people and of walk-ins, and for each of the people whether still active in the end."""
    customer, day, active = _purchases(rng, market, people)
    walk_ins = rng.poisson(_WALK_INS * len(customer))
    customer = np.concatenate([customer, np.full(walk_ins, -1)])
    day = _on_weekdays(rng, market, np.concatenate([day, rng.random(walk_ins) * market.days]))
    anywhere = rng.choice(len(market.stores), len(customer), p=market.store_weights)
    away = (rng.random(len(customer)) < _AWAY) | (customer < 0)
    budgets = people["budget"].to_numpy()
    budget = np.where(customer < 0, budgets.mean(), budgets[customer])
    orders = Orders(
        customer=customer,
        store=np.where(away, anywhere, people["home"].to_numpy()[customer]),
        day=day,
        second=_seconds(rng, len(customer)),
        budget=rng.gamma(GAMMA_GAMMA["p"], budget / GAMMA_GAMMA["p"]),
    )
    return orders, active


def _purchases(rng: np.random.Generator, market: Market, people: pl.DataFrame) -> tuple[np.ndarray, ...]:
    """Lets customers buy until they drop out or the world ends.

    Returns:
        The customer (row of `people`) and day (with fraction) of each purchase, and for each customer whether active.
    """
    rate, drop_out = people["purchases_per_day"].to_numpy(), people["drop_out"].to_numpy()
    customer, day = np.arange(len(people)), people["first_day"].to_numpy()
    active = np.zeros(len(people), bool)
    customers, days = [customer], [day]
    while len(customer):
        day = day + rng.exponential(1 / np.maximum(rate[customer], 1e-9))
        over = day >= market.days
        active[customer[over]] = True
        customer, day = customer[~over], day[~over]
        customers.append(customer)
        days.append(day)
        stays = rng.random(len(customer)) >= drop_out[customer]
        customer, day = customer[stays], day[stays]
    return np.concatenate(customers), np.concatenate(days), active


def _on_weekdays(rng: np.random.Generator, market: Market, day: np.ndarray) -> np.ndarray:
    """Whole days, moved within their week so that Saturdays are busy and Sundays quiet."""
    whole = day.astype(int)
    weights = np.roll(_WEEKDAYS, -market.start.weekday())
    moved = whole // 7 * 7 + rng.choice(7, len(whole), p=weights / weights.sum())
    return np.where(whole < market.days // 7 * 7, moved, whole)


def _seconds(rng: np.random.Generator, number: int) -> np.ndarray:
    """Seconds of the day, from seven to ten at night."""
    return (7 * 3600 + rng.beta(2.2, 1.8, number) * 15 * 3600).astype(int)


def baskets_of(rng: np.random.Generator, market: Market, people: pl.DataFrame, orders: Orders) -> np.ndarray:
    """What is in each basket: (lines × 3) of order, product and units; no product is twice in a basket."""
    profile = np.where(orders.customer < 0, 0, people["profile"].to_numpy()[orders.customer])
    size = 1 + rng.poisson(np.clip(orders.budget / 30 - 0.6, 0, 14))
    order = np.repeat(np.arange(len(orders)), size)
    favourites = _wanted(rng, market, np.repeat(people["profile"].to_numpy(), _FAVOURITES)).reshape(-1, _FAVOURITES)
    favourite = favourites[orders.customer[order], rng.integers(0, _FAVOURITES, len(order))]
    is_favourite = (rng.random(len(order)) < _FAVOURITE) & (orders.customer[order] >= 0)
    product = np.where(is_favourite, favourite, _wanted(rng, market, profile[order]))
    lines = [np.stack([order, product], axis=1)]
    for _, day, products in market.surges:
        hit = np.flatnonzero((orders.day == day) & (rng.random(len(orders)) < _SURGE))
        lines.append(np.stack([hit, rng.choice(products, len(hit))], axis=1))
    bought = np.concatenate(lines)
    bought[:, 1] = market.substitute[orders.store[bought[:, 0]], bought[:, 1]]
    for first, second, attach in market.pairs:
        baskets = np.unique(bought[bought[:, 1] == first, 0])
        attached = baskets[rng.random(len(baskets)) < attach]
        bought = np.concatenate([bought, np.stack([attached, np.full(len(attached), second)], axis=1)])
    bought = np.unique(bought, axis=0)
    return np.column_stack([bought, rng.choice(np.arange(1, 4), len(bought), p=_UNITS)])


def _wanted(rng: np.random.Generator, market: Market, profile: np.ndarray) -> np.ndarray:
    """A product for each profile in the array, by popularity and the profile's taste."""
    return np.searchsorted(market.taste, profile + rng.random(len(profile)), side="right") % len(market.products)


@dataclass
class Suspect:
    """A customer with a planted last month."""

    customer: int
    group: str
    orders: Orders
    lines: np.ndarray
    """(lines × 3): order (of these), product, units."""


def suspects_of(rng: np.random.Generator, market: Market, orders: Orders) -> Iterator[Suspect]:
    """Regular customers who in the last month buy far more of an ATC group than anybody."""
    known = orders.customer >= 0
    early = np.unique(orders.customer[known & (orders.day < market.days // 2)])
    atc = market.products["product_atclevel4_description"].to_numpy()
    chosen = rng.choice(early, min(len(early), len(catalogue.SUSPICIOUS)), replace=False)
    for customer, group in zip(chosen, catalogue.SUSPICIOUS, strict=False):
        number = int(rng.integers(4, 8))
        lines = np.stack(
            [np.arange(number), rng.choice(np.flatnonzero(atc == group), number), rng.integers(7, 15, number)], axis=1
        )
        planted = Orders(
            customer=np.full(number, customer),
            store=rng.integers(0, len(market.stores), number),
            day=rng.integers(market.last_month, market.days, number),
            second=_seconds(rng, number),
            budget=np.full(number, np.nan),
        )
        yield Suspect(int(customer), group, planted, lines)
