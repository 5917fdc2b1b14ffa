"""A day in the generated city: who goes where, what their phones record of it, and which ads they see and click."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from local.data import city_map, city_world
from local.data.city_world import CATEGORIES, World

ZONE = "America/Fortaleza"
"""The city's time zone; it has had no summer time since 2002."""

_WAKE, _SLEEP = 5.5 * 60, 23.5 * 60  # minutes of the local day between which phones record
_OUTINGS = (0.75, 0.35)  # chances of a first and a second outing
_SPEED = 400.0  # metres a minute
_STAY_EVERY, _SHOP_EVERY, _MOVE_EVERY = 40.0, 4.0, 2.0  # minutes between records
_NOISE_M, _POOR_NOISE_M, _POOR = 6.0, 25.0, 0.04
_VIEWS, _PANEL_VIEWS = 3.0, 8.0  # a day
_REACTION = (25.0, 200.0)  # minutes from the view of an ad to the visit that it brings
_LAST_OUTING = 22 * 60.0
_RECORDS_PER_PERSON = 48  # fewer than on any day


@dataclass(frozen=True)
class Day:
    """What was recorded on a day.

    Attributes:
        locations: user_id, latitude, longitude, moment (UTC, without a zone), consent; in the order of time.
        interactions: user_id, campaign_id, ad_id, establishment_id, category, action, moment, consent; likewise.
        people: Number of people with records.
        brought: Visits that each campaign brought, before the day was cut to its number of records.
    """

    locations: pl.DataFrame
    interactions: pl.DataFrame
    people: int
    brought: np.ndarray


@dataclass(frozen=True)
class _Views:
    """Views of ads by active people. Arrays are indexed by view; times are minutes of the local day."""

    person: np.ndarray
    at: np.ndarray
    campaign: np.ndarray
    ad: np.ndarray
    clicked: np.ndarray


@dataclass(frozen=True)
class _Outing:
    """An outing of each active person, in minutes: `at` is infinite for who stays."""

    at: np.ndarray
    shop: np.ndarray
    stay: np.ndarray


def of(world: World, number: int, day: date, records: int) -> Day:
    """What is recorded on a day of the local calendar: exactly so many location records.

    Args:
        world: The city.
        number: Of the day, from 0; the same number, day and records give the same rows.
        day: Its date.
        records: Location records.

    Raises:
        ValueError: all people together don't make so many records.
    """
    rng = np.random.default_rng([world.seed, 1, number])
    others = rng.permutation(np.arange(world.panel, len(world.users)))
    wanted = records // _RECORDS_PER_PERSON + 20
    active = np.concatenate([np.arange(world.panel), others])[: max(wanted, world.panel + 1)]
    views = _views(rng, world, active)
    outings = [_brought(rng, world, len(active), views)]
    outings += [_outing(rng, world, active, day, chance) for chance in _OUTINGS]
    person, minute, points = _records(rng, world, active, day.weekday() < 5, outings)
    if len(person) < records:
        raise ValueError(
            f"{day} has {len(person)} location records of {len(active)} people, {records} are wanted; "
            "ask for more people or fewer records"
        )
    person, minute, points = person[:records], minute[:records], points[:records]
    people = int(person[-1]) + 1 if records else 0
    brought = outings[0].shop[np.isfinite(outings[0].at)]
    start = datetime.combine(day, time(), ZoneInfo(ZONE)).astimezone(UTC).replace(tzinfo=None)
    return Day(
        _located(world, active, start, person, minute, points),
        _interacted(world, active, start, views, people),
        people,
        np.bincount(brought, minlength=len(world.category))[world.campaign_establishment],
    )


def _views(rng: np.random.Generator, world: World, active: np.ndarray) -> _Views:
    """Who sees which ad does not depend on where he goes, so those who don't see it are what he would have been."""
    looking, shares = city_world.hours("looking"), city_world.shares("looking")
    by_hour = shares[:, None] * looking
    count = rng.poisson(np.where(active < world.panel, _PANEL_VIEWS, _VIEWS))
    person = np.repeat(np.arange(len(active)), count)
    hour = rng.choice(24, len(person), p=by_hour.sum(axis=0))
    usual = np.cumsum(by_hour / by_hour.sum(axis=0), axis=0).T
    category = city_world.taste(rng, world.looks_at[active[person], hour // 6], usual[hour])
    campaign = _pick(rng, world.category[world.campaign_establishment], world.campaign_weight, category)
    ad = np.searchsorted(world.ad_share(), rng.random(len(person)) * world.ad_share()[-1])
    clicked = rng.random(len(person)) < world.ad_ctr()[campaign, ad]
    return _Views(person, hour * 60 + rng.uniform(0, 59.5, len(person)), campaign, ad, clicked)


def _pick(rng: np.random.Generator, kinds: np.ndarray, weights: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """For each wanted kind, the index of one of this kind by weight; `kinds` ascend."""
    total = np.bincount(kinds, weights)
    sums = np.cumsum(weights / total[kinds])
    return np.searchsorted(sums, wanted + rng.random(len(wanted)) * (1 - 1e-9)).clip(max=len(kinds) - 1)


def _outing(rng: np.random.Generator, world: World, active: np.ndarray, day: date, chance: float) -> _Outing:
    usual = np.cumsum(city_world.shares("going"))
    category = city_world.taste(rng, world.goes_to[active, day.weekday()], usual)
    sums = np.cumsum(city_world.hours("going"), axis=1) + np.arange(len(CATEGORIES))[:, None]
    place = np.searchsorted(sums.ravel(), category + rng.random(len(active)) * (1 - 1e-9))
    at = (place % 24) * 60 + rng.uniform(0, 60, len(active))
    at[rng.random(len(active)) >= chance] = np.inf
    return _Outing(at, _pick(rng, world.category, world.popularity, category), _stay(rng, category))


def _stay(rng: np.random.Generator, category: np.ndarray) -> np.ndarray:
    usual = CATEGORIES["stay_minutes"].to_numpy()[category]
    return np.clip(usual * rng.lognormal(0, 0.3, len(category)), 8, 180)


def _brought(rng: np.random.Generator, world: World, people: int, views: _Views) -> _Outing:
    """The visit that an ad brings: of the first view of the day that works."""
    then = views.at + rng.uniform(*_REACTION, len(views.at))
    works = rng.random(len(views.at)) < world.campaign_effect[views.campaign]
    works &= (views.at > _WAKE) & (then < _LAST_OUTING)
    order = np.flatnonzero(works)[np.argsort(views.at[works], kind="stable")]
    person, first = np.unique(views.person[order], return_index=True)
    at, shop = np.full(people, np.inf), np.zeros(people, dtype=np.int64)
    at[person] = then[order[first]]
    shop[person] = world.campaign_establishment[views.campaign[order[first]]]
    return _Outing(at, shop, _stay(rng, world.category[shop]))


def _records(
    rng: np.random.Generator, world: World, active: np.ndarray, working_day: bool, outings: list[_Outing]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Person, minute of the local day and point of each record, person by person; what doesn't fit in is cancelled."""
    people = len(active)
    home, work = world.home[active], world.work[active]
    works = ~np.isnan(work[:, 0]) & working_day
    begins = np.where(works, rng.normal(8.3 * 60, 40, people), np.inf)
    ends = np.where(works, np.maximum(rng.normal(17.3 * 60, 45, people), begins + 60), np.inf)
    commute = np.where(works, _travel(home, work), 0)
    arrivals, places = [np.full(people, _WAKE), begins, ends], [home, work, home]
    taken = [(begins - commute, begins), (ends - commute, ends)]
    for outing in outings:
        shop = world.points[outing.shop]
        busy = (begins < outing.at + outing.stay) & (outing.at + outing.stay < ends)
        after = np.where(busy[:, None], work, home)
        way = _travel(shop, after)
        back = outing.at + outing.stay + way
        clash = np.any([(outing.at - way < end) & (start < back + way) for start, end in taken], axis=0)
        outing.at[clash] = back[clash] = np.inf
        taken.append((outing.at - way, back))
        arrivals += [outing.at, back]
        places += [shop, after]
    shops = np.array([False, False, False] + [True, False] * len(outings))

    arrival = np.stack(arrivals, axis=1)
    order = np.argsort(arrival, axis=1, kind="stable")
    arrival = np.take_along_axis(arrival, order, axis=1)
    place = np.take_along_axis(np.stack(places, axis=1), order[..., None], axis=1)
    place = np.where(np.isfinite(arrival)[..., None], place, home[:, None])
    arrival = np.minimum(arrival, _SLEEP)
    following = np.concatenate([arrival[:, 1:], np.full((people, 1), _SLEEP)], axis=1)
    towards = np.concatenate([place[:, 1:], place[:, -1:]], axis=1)
    departure = np.maximum(following - _travel(place, towards), arrival)
    last = following >= _SLEEP  # nobody sets out for what comes after the end of the day
    departure, towards = np.where(last, following, departure), np.where(last[..., None], place, towards)

    stay, move, in_shop = departure - arrival, following - departure, shops[order]
    stays = np.where(in_shop, np.ceil(stay / _SHOP_EVERY), np.floor(stay / _STAY_EVERY))
    legs = np.stack([stays, np.floor(move / _MOVE_EVERY)], axis=2).astype(np.int64).ravel()

    def each(of_stay: np.ndarray, of_move: np.ndarray) -> np.ndarray:
        both = np.stack([of_stay, of_move], axis=2)
        return np.repeat(both.reshape(-1, *both.shape[3:]), legs, axis=0)

    person = np.repeat(np.arange(people), legs.reshape(people, -1).sum(axis=1))
    nth = np.arange(len(person)) - np.repeat(np.cumsum(legs) - legs, legs)
    part = (nth + rng.random(len(person))) / np.repeat(legs, legs)
    minute = each(arrival, departure) + part * each(stay, move)
    start = each(place, place)
    points = start + part[:, None] * (each(place, towards) - start)
    return person, minute, _measured(rng, points)


def _travel(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Minutes from one point to another."""
    distance = city_map.metres(start, end)
    return np.where(distance > 1, distance / _SPEED + 1, 0.0)


def _measured(rng: np.random.Generator, points: np.ndarray) -> np.ndarray:
    """Points as a phone reports them, to the sixth decimal."""
    off = np.where(rng.random(len(points)) < _POOR, _POOR_NOISE_M, _NOISE_M)[:, None]
    north_east = rng.standard_normal(points.shape) * off / city_map.METRES_PER_DEGREE
    north_east[:, 1] /= np.cos(np.radians(points[:, 0]))
    return (points + north_east).round(6)


def _moments(start: datetime, minutes: np.ndarray) -> pl.Series:
    micros = int(start.replace(tzinfo=UTC).timestamp()) * 1_000_000 + (minutes * 60e6).astype(np.int64)
    return pl.Series(micros).cast(pl.Datetime("us"))


def _located(
    world: World, active: np.ndarray, start: datetime, person: np.ndarray, minute: np.ndarray, points: np.ndarray
) -> pl.DataFrame:
    order = np.argsort(minute, kind="stable")
    who = active[person[order]]
    return pl.DataFrame(
        {
            "user_id": world.users.gather(who),
            "latitude": points[order, 0],
            "longitude": points[order, 1],
            "moment": _moments(start, minute[order]),
            "consent": world.consent[who],
        }
    )


def _interacted(world: World, active: np.ndarray, start: datetime, views: _Views, people: int) -> pl.DataFrame:
    """A row for each view, and one for each click some seconds after its view."""
    mine = np.flatnonzero(views.person < people)
    clicked = mine[views.clicked[mine]]
    row = np.concatenate([mine, clicked])
    # The same whole seconds for the same views, however the day is cut: 2 to 24.
    delay = (2 + (views.at[clicked] * 6e4).astype(np.int64) % 23) / 60
    minute = views.at[row] + np.concatenate([np.zeros(len(mine)), delay])
    who = active[views.person[row]]
    ads = world.campaigns[views.campaign[row] * world.ad_ctr().shape[1] + views.ad[row]]
    return ads.select("campaign_id", "ad_id", "establishment_id", "category").select(
        pl.Series("user_id", world.users.gather(who)),
        pl.all(),
        pl.Series("action", np.repeat(["view", "click"], [len(mine), len(clicked)])),
        _moments(start, minute).alias("moment"),
        pl.Series("consent", world.consent[who]),
    )[np.argsort(minute, kind="stable")]
