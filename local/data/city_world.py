"""What the generated city is made of before anyone moves: establishments, campaigns, and people with their tastes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from local.data import city_map
from local.data.marketplace_world import scrambled

CATEGORIES = pl.read_csv(Path(__file__).parent / "city_categories.csv")
"""By name: share of establishments, of outings and of interactions; usual stay; weight of each hour for both."""
PERIODS = ("night", "morning", "afternoon", "evening")
"""Of six hours each, from midnight."""

USERS_PER_MILLION = 2_000
"""People for each million location records."""
PANEL_SHARE = 0.01
"""People who are seen every day and look at far more ads than others: their profiles say something."""
REFUSING = 0.08
"""Share of the people who have not consented to the use of their data."""
AT_WORK = 0.75

_CAMPAIGNS_PER_CATEGORY = 3
_ADS = (0.5, 0.3, 0.2)  # shares of a campaign's views
_AD_APPEAL = (1.2, 0.9, 0.65)  # of their click-through rate; on average 1
_CTR = (0.02, 0.12)
_EFFECT = (0.10, 0.18)
_IN_A_MALL = 0.06
_QUIET_M = 150.0
_TASTES = 3.0


@dataclass(frozen=True)
class World:
    """The fixed part of a city. Arrays are indexed by establishment, campaign or person.

    Points are latitude and longitude.

    Attributes:
        seed: Of everything random.
        establishments: establishment_id, name, category, latitude, longitude.
        campaigns: A row for each ad: campaign_id, ad_id, establishment_id, category.
        category: Number of the category of each establishment, a row of `CATEGORIES`.
        popularity: Relative number of visitors of each establishment.
        campaign_establishment: Establishment of each campaign.
        campaign_weight: Relative number of views of each campaign.
        campaign_ctr: Probability of a click on a view, over the campaign's ads.
        campaign_effect: Probability that a view brings a visit that would not have been; 0 where none is planted.
        users: user_id of each person.
        panel: The first so many people are the panel.
        consent: Whether each person consents.
        home: Points.
        work: Points; NaN for who doesn't work.
        looks_at: (people × 4) favourite category of each period of the day, in ads.
        goes_to: (people × 7) favourite category of each weekday from Monday, for outings.
    """

    seed: int
    establishments: pl.DataFrame
    campaigns: pl.DataFrame
    category: np.ndarray
    popularity: np.ndarray
    campaign_establishment: np.ndarray
    campaign_weight: np.ndarray
    campaign_ctr: np.ndarray
    campaign_effect: np.ndarray
    users: pl.Series
    panel: int
    consent: np.ndarray
    home: np.ndarray
    work: np.ndarray
    looks_at: np.ndarray
    goes_to: np.ndarray

    @property
    def points(self) -> np.ndarray:
        """Where the establishments are."""
        return self.establishments.select("latitude", "longitude").to_numpy()

    def ad_ctr(self) -> np.ndarray:
        """(campaigns × ads) probability of a click on a view."""
        return self.campaign_ctr[:, None] * np.array(_AD_APPEAL)

    def ad_share(self) -> np.ndarray:
        """Cumulative share of each ad in the views of its campaign."""
        return np.cumsum(_ADS)


def hours(purpose: str) -> np.ndarray:
    """(categories × 24) probability of each local hour, for `going` there or `looking` at ads."""
    weights = np.array([[float(weight) for weight in row.split()] for row in CATEGORIES[f"hours_{purpose}"]])
    return weights / weights.sum(axis=1, keepdims=True)


def shares(column: str) -> np.ndarray:
    """Probability of each category in a column of `CATEGORIES`."""
    weights = CATEGORIES[column].to_numpy()
    return weights / weights.sum()


def build(seed: int, users: int, establishments: int) -> World:
    """A city with so many people and establishments; where ads are shown has nothing to do with where people go."""
    rng = np.random.default_rng([seed, 0])
    places = city_map.neighbourhoods()
    category = np.sort(
        np.concatenate(
            [  # every category has its campaigns, however few establishments there are
                np.repeat(np.arange(len(CATEGORIES)), _CAMPAIGNS_PER_CATEGORY),
                rng.choice(
                    len(CATEGORIES), establishments - len(CATEGORIES) * _CAMPAIGNS_PER_CATEGORY, p=shares("places")
                ),
            ]
        )
    )
    points = city_map.scattered(rng, places, "shops", establishments)
    mall = rng.random(establishments) < _IN_A_MALL
    points[mall] = points[rng.integers(0, establishments, int(mall.sum()))]
    names = CATEGORIES["category"].to_numpy()[category]
    number = np.concatenate([np.arange(1, size + 1) for size in np.bincount(category)])
    frame = pl.DataFrame(
        {
            "establishment_id": [f"E{index:05d}" for index in range(1, establishments + 1)],
            "name": [f"{noun} {n}" for noun, n in zip(CATEGORIES["noun"].to_numpy()[category], number, strict=True)],
            "category": names,
            "latitude": points[:, 0],
            "longitude": points[:, 1],
        }
    )
    popularity = rng.lognormal(0.0, 0.8, establishments)
    advertised = np.concatenate(
        [
            rng.choice(np.flatnonzero(category == kind), _CAMPAIGNS_PER_CATEGORY, replace=False)
            for kind in range(len(CATEGORIES))
        ]
    )
    campaigns = len(advertised)
    effective = np.arange(campaigns) % 2 == 0
    return World(
        seed=seed,
        establishments=frame,
        campaigns=_ads(frame, advertised),
        category=category,
        popularity=popularity,
        campaign_establishment=advertised,
        campaign_weight=rng.uniform(0.6, 1.4, campaigns),
        campaign_ctr=rng.uniform(*_CTR, campaigns),
        campaign_effect=np.where(effective, rng.uniform(*_EFFECT, campaigns), 0.0),
        **_people(rng, places, points, users, seed),
    )


def _ads(establishments: pl.DataFrame, advertised: np.ndarray) -> pl.DataFrame:
    rows = [
        {
            "campaign_id": f"C{campaign:03d}",
            "ad_id": f"C{campaign:03d}-{letter}",
            "establishment_id": establishments["establishment_id"][int(place)],
            "category": establishments["category"][int(place)],
        }
        for campaign, place in enumerate(advertised, start=1)
        for letter in "ABC"[: len(_ADS)]
    ]
    return pl.DataFrame(rows)


def _people(
    rng: np.random.Generator, places: list[city_map.Neighbourhood], shops: np.ndarray, users: int, seed: int
) -> dict[str, Any]:
    ids = scrambled(np.uint64(seed << 32) + np.arange(users, dtype=np.uint64))
    work = _quiet(rng, places, "workplaces", shops, users)
    work[rng.random(users) >= AT_WORK] = np.nan
    return {
        "users": pl.Series([f"{number:016x}" for number in ids]),
        "panel": max(3, round(users * PANEL_SHARE)),
        "consent": rng.random(users) >= REFUSING,
        "home": _quiet(rng, places, "homes", shops, users),
        "work": work,
        "looks_at": rng.choice(len(CATEGORIES), (users, len(PERIODS)), p=shares("looking")),
        "goes_to": rng.choice(len(CATEGORIES), (users, 7), p=shares("going")),
    }


def _quiet(
    rng: np.random.Generator, places: list[city_map.Neighbourhood], share: str, shops: np.ndarray, count: int
) -> np.ndarray:
    """Points away from all establishments: whoever lives above a shop would visit it every night."""
    points = city_map.scattered(rng, places, share, count)
    loud = np.arange(count)
    while len(loud):
        loud = loud[_beside(points[loud], shops)]
        points[loud] = city_map.scattered(rng, places, share, len(loud))
    return points


def _beside(points: np.ndarray, shops: np.ndarray) -> np.ndarray:
    near = [
        (city_map.metres(some[:, None], shops[None]) < _QUIET_M).any(axis=1)
        for some in np.array_split(points, len(points) // 5_000 + 1)
    ]
    return np.concatenate(near)


def taste(rng: np.random.Generator, favourite: np.ndarray, usual: np.ndarray) -> np.ndarray:
    """Draws a category for each person: the favourite with three chances in four, else as usual.

    Args:
        rng: Source of chance.
        favourite: Category of each.
        usual: (n × categories) or (categories,) cumulative probabilities.
    """
    count, sums = len(favourite), np.broadcast_to(usual, (len(favourite), usual.shape[-1]))
    other = np.minimum((sums < rng.random((count, 1))).sum(axis=1), usual.shape[-1] - 1)
    return np.where(rng.random(count) < _TASTES / (1 + _TASTES), favourite, other)
