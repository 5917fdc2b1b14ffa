"""What the generated marketplace is made of before anyone orders: places, zip prefixes, sellers and products."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

_FOLDER = Path(__file__).parent
_SPREAD_KM = 9.0
"""Standard deviation of the zip prefixes around the centre of their city."""
_KM_PER_DEGREE = 111.2
_HEX = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)
_KINDS = ("order", "customer", "person", "seller", "product", "review", "zip")

ZIPS, SELLERS, PRODUCTS = 3_000, 1_200, 3_900
"""Numbers of zip prefixes, sellers and products at scale 1."""


@dataclass(frozen=True)
class World:
    """The fixed part of a marketplace. Arrays are indexed by place, zip prefix, seller or product.

    Attributes:
        seed: Of everything random.
        places: Cities: state, city (with accents), plain_city, latitude, longitude.
        zips: Prefix numbers, ascending in each place.
        zip_place: Place of each.
        zip_point: Latitude and longitude, in degrees.
        zip_weight: Cumulative share of customers.
        seller_zip: Zip prefix of each seller.
        product_seller: Seller of each product.
        product_cents: List price.
        product_grams: Weight.
        product_weight: Cumulative share of sales.
        categories: category, english.
        product_category: Category of each product; -1 has none.
    """

    seed: int
    places: pl.DataFrame
    zips: np.ndarray
    zip_place: np.ndarray
    zip_point: np.ndarray
    zip_weight: np.ndarray
    seller_zip: np.ndarray
    product_seller: np.ndarray
    product_cents: np.ndarray
    product_grams: np.ndarray
    product_weight: np.ndarray
    categories: pl.DataFrame
    product_category: np.ndarray

    def ids(self, kind: str, numbers: np.ndarray) -> pl.Series:
        """Identifiers of 32 hexadecimal digits, one to one with the numbers and different from kind to kind."""
        key = np.uint64(self.seed * len(_KINDS) + _KINDS.index(kind)) << np.uint64(40)
        first = scrambled(key + numbers.astype(np.uint64))
        octets = np.stack([first, scrambled(first)], axis=1).astype(">u8").view(np.uint8).reshape(-1, 16)
        digits = np.empty((len(octets), 32), dtype=np.uint8)
        digits[:, 0::2], digits[:, 1::2] = _HEX[octets >> 4], _HEX[octets & 15]
        offsets = np.arange(len(octets) + 1, dtype=np.int32) * 32
        text = pa.StringArray.from_buffers(len(octets), pa.py_buffer(offsets), pa.py_buffer(digits.ravel()))
        return pl.Series(pl.from_arrow(text))

    def zip_of(self, kind: str, numbers: np.ndarray) -> np.ndarray:
        """Zip prefix (its index) where each person lives; the same whenever asked."""
        key = np.uint64(self.seed * len(_KINDS) + _KINDS.index(kind)) << np.uint64(40)
        share = scrambled(scrambled(~(key + numbers.astype(np.uint64)))) / 2.0**64
        return np.minimum(np.searchsorted(self.zip_weight, share), len(self.zips) - 1)

    def km(self, from_zip: np.ndarray, to_zip: np.ndarray) -> np.ndarray:
        """Rough distances between zip prefixes, good enough for freight."""
        (lat1, lng1), (lat2, lng2) = self.zip_point[from_zip].T, self.zip_point[to_zip].T
        return _KM_PER_DEGREE * np.hypot(lat2 - lat1, (lng2 - lng1) * np.cos(np.radians((lat1 + lat2) / 2)))

    def addresses(self, role: str, zips: np.ndarray) -> dict[str, pl.Series]:
        """Columns of the address of customers or sellers. The prefix is a number: its leading zeros are lost."""
        places = self.places[self.zip_place[zips]]
        return {
            f"{role}_zip_code_prefix": pl.Series(self.zips[zips], dtype=pl.Int64),
            f"{role}_city": places["plain_city"],
            f"{role}_state": places["state"],
        }

    def sellers(self) -> pl.DataFrame:
        """The sellers' file."""
        numbers = np.arange(len(self.seller_zip))
        return pl.DataFrame({"seller_id": self.ids("seller", numbers), **self.addresses("seller", self.seller_zip)})

    def products(self) -> pl.DataFrame:
        """The products' file; what has no category has no description either."""
        rng = np.random.default_rng([self.seed, 2])
        count = len(self.product_cents)
        described = pl.Series(self.product_category >= 0)
        name = self.categories["category"][np.maximum(self.product_category, 0)]
        sides = np.clip(np.cbrt(self.product_grams)[:, None] * rng.lognormal(0.6, 0.35, (count, 3)), 2, 105)
        lengths = pl.DataFrame(
            {
                "product_name_lenght": rng.integers(20, 64, count),
                "product_description_lenght": np.clip(rng.lognormal(6.4, 0.7, count), 30, 3990).astype(np.int64),
                "product_photos_qty": 1 + rng.binomial(8, 0.15, count),
            }
        )
        return pl.DataFrame(
            {
                "product_id": self.ids("product", np.arange(count)),
                "product_category_name": name,
                **lengths.to_dict(),
                "product_weight_g": self.product_grams,
                "product_length_cm": sides.max(axis=1).astype(np.int64),
                "product_height_cm": sides.min(axis=1).astype(np.int64),
                "product_width_cm": np.median(sides, axis=1).astype(np.int64),
            }
        ).with_columns(pl.when(described).then(pl.col("product_category_name", *lengths.columns)))

    def category_translation(self) -> pl.DataFrame:
        """The translations' file; two categories have none."""
        return self.categories.select(
            product_category_name="category", product_category_name_english="english"
        ).drop_nulls()

    def geolocation(self) -> pl.DataFrame:
        """The geolocation file: points of each zip prefix, cities with accents or without, and some points abroad."""
        rng = np.random.default_rng([self.seed, 3])
        zips = np.repeat(np.arange(len(self.zips)), rng.geometric(0.22, len(self.zips)))
        points = self.zip_point[zips] + rng.normal(0, 0.006, (len(zips), 2))
        abroad = rng.random(len(zips)) < 0.0005
        points[abroad] = [38.71, -9.14]
        places = self.places[self.zip_place[zips]]
        accented = pl.Series(rng.random(len(zips)) < 0.5)
        return places.select(
            geolocation_zip_code_prefix=pl.Series(self.zips[zips]),
            geolocation_lat=pl.Series(points[:, 0].round(8)),
            geolocation_lng=pl.Series(points[:, 1].round(8)),
            geolocation_city=pl.when(accented).then("city").otherwise("plain_city"),
            geolocation_state="state",
        )


def build(scale: float, seed: int) -> World:
    """The world of a scale: the catalogue grows slower than the orders, as it did in the real marketplace."""
    rng = np.random.default_rng([seed, 0])
    places = pl.read_csv(_FOLDER / "marketplace_places.csv")
    plain = ["".join(c for c in unicodedata.normalize("NFD", city) if c.isascii()) for city in places["city"]]
    places = places.with_columns(plain_city=pl.Series(plain))
    share = places["weight"].to_numpy() / places["weight"].sum()
    zips, zip_place = _zips(places, share * max(round(ZIPS * min(scale, 20) ** 0.5), len(places)))
    centre = places.select("latitude", "longitude").to_numpy()[zip_place]
    zip_weight = share[zip_place] / np.bincount(zip_place)[zip_place] * rng.gamma(2.0, size=len(zips))

    categories = pl.read_csv(_FOLDER / "marketplace_categories.csv")
    products, sellers = max(round(PRODUCTS * scale**0.7), 50), max(round(SELLERS * scale**0.3), 10)
    category_share = categories["weight"].to_numpy() / categories["weight"].sum()
    category = rng.choice(len(categories), products, p=category_share)
    dear = rng.lognormal(0, 0.7, products)
    cents = np.maximum(100 * (categories["price"].to_numpy()[category] * dear).astype(np.int64), 500) - 10
    seller_share = 1 / np.arange(1, sellers + 1) ** 0.7
    return World(
        seed=seed,
        places=places,
        zips=zips,
        zip_place=zip_place,
        zip_point=centre + rng.normal(0, _SPREAD_KM / _KM_PER_DEGREE, (len(zips), 2)),
        zip_weight=_cumulative(zip_weight),
        seller_zip=np.searchsorted(
            _cumulative(zip_weight * np.where(places["state"].to_numpy()[zip_place] == "SP", 3, 1)), rng.random(sellers)
        ),
        product_seller=rng.choice(sellers, products, p=seller_share / seller_share.sum()),
        product_cents=cents,
        product_grams=np.clip(
            categories["grams"].to_numpy()[category] * dear * rng.lognormal(0, 0.5, products), 50, 30e3
        ).astype(np.int64),
        product_weight=_cumulative(rng.lognormal(0, 1.5, products)),
        categories=categories.select("category", "english"),
        product_category=np.where(rng.random(products) < 0.015, -1, category),
    )


def scrambled(numbers: np.ndarray) -> np.ndarray:
    """64-bit integers to random-looking ones, one to one (SplitMix64; Steele, Lea and Flood, 2014)."""
    mixed = numbers.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def _zips(places: pl.DataFrame, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Zip prefixes spread evenly over the range of each place, and the place of each."""
    spread = [
        np.unique(np.linspace(first, last, max(int(number), 1)).astype(np.int64))
        for first, last, number in zip(places["first_zip"], places["last_zip"], wanted, strict=True)
    ]
    return np.concatenate(spread), np.repeat(np.arange(len(places)), [len(own) for own in spread])


def _cumulative(weights: np.ndarray) -> np.ndarray:
    sums = np.cumsum(weights)
    return sums / sums[-1]
