"""A day's way of a person, and the offers that the live stream's own rule would have made on it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from include.reports.charts import WEEKDAYS, Rows
from include.streams.approach import ApproachRule
from include.streams.assigners import MINUTE
from include.streams.establishments import Establishment
from include.streams.offers import Advisor, Offer, OfferRule, Point, State

APPROACH = ApproachRule(fixes=2, gap=5 * MINUTE)
"""The live rule, for records that come every two to four minutes: two are a walk, five minutes apart at most."""

_EPOCH = datetime(1970, 1, 1)


@dataclass(frozen=True)
class Track:
    """A person's day.

    Attributes:
        user: Pseudonym.
        day: Local date.
        points: In the order of time: longitude, latitude, hour (local, with its fraction), order, said.
        offers: In the order of time: number (from 1), longitude, latitude, place_longitude, place_latitude,
            establishment_id, label, said, metres, time (local HH:MM), campaign_id, category.
    """

    user: str
    day: date
    points: list[dict[str, Any]]
    offers: list[dict[str, Any]]

    @property
    def named(self) -> str:
        """The day as people say it."""
        return f"{WEEKDAYS[self.day.weekday()]} {self.day.isoformat()}"


def tracks(records: Rows, advertisers: Sequence[Establishment], zone: str, count: int) -> list[Track]:
    """A day of some people: of each the one with most offers, then with most records, then the first.

    Offers depend on those before, so they are made over all of a person's records, not over the day's.

    Args:
        records: user_id, latitude, longitude, moment (UTC, without a zone); all of some people.
        advertisers: What may be offered, each with its best ad.
        zone: IANA name of the time zone that days are of.
        count: People, at most: those with most offers on their day, then with most records, then by user_id.
    """
    advisor = Advisor(OfferRule(APPROACH, zone=zone), advertisers)
    walks: dict[str, list[Mapping[str, Any]]] = {}
    for row in records:
        walks.setdefault(row["user_id"], []).append(row)
    found = []
    for user in sorted(walks):
        mine = sorted(walks[user], key=lambda row: (row["moment"], row["latitude"], row["longitude"]))
        points = [Point(_micros(row["moment"]), n, row["latitude"], row["longitude"]) for n, row in enumerate(mine)]
        step = advisor.advance(user, State(), points)
        offers = step.offers + advisor.end(user, step.state).offers
        found.append(_track(user, points, offers, ZoneInfo(zone)))
    return sorted(found, key=lambda one: (-len(one.offers), -len(one.points), one.user))[:count]


def _track(user: str, points: Sequence[Point], offers: Sequence[Offer], zone: ZoneInfo) -> Track:
    days: dict[date, tuple[list[Point], list[Offer]]] = {}
    for point in points:
        days.setdefault(_local(point.time, zone).date(), ([], []))[0].append(point)
    for offer in offers:
        days[_local(offer.time, zone).date()][1].append(offer)
    day, (mine, made) = min(days.items(), key=lambda one: (-len(one[1][1]), -len(one[1][0]), one[0]))
    return Track(
        user,
        day,
        [_point(number, point, _local(point.time, zone)) for number, point in enumerate(mine)],
        [_offer(number, offer, _local(offer.time, zone)) for number, offer in enumerate(made, start=1)],
    )


def _point(number: int, point: Point, at: datetime) -> dict[str, Any]:
    return {
        "longitude": point.longitude,
        "latitude": point.latitude,
        "hour": round(at.hour + at.minute / 60 + at.second / 3600, 4),
        "order": number,
        "said": f"{at:%H:%M:%S}",
    }


def _offer(number: int, offer: Offer, at: datetime) -> dict[str, Any]:
    one = offer.establishment
    return {
        "number": str(number),
        "longitude": offer.longitude,
        "latitude": offer.latitude,
        "place_longitude": one.longitude,
        "place_latitude": one.latitude,
        "establishment_id": one.establishment_id,
        "label": one.name,
        "category": one.category,
        "campaign_id": one.ad.campaign_id,
        "metres": round(offer.metres, 1),
        "time": f"{at:%H:%M}",
        "said": f"Offer {number} at {at:%H:%M}: {one.name}, {offer.metres:.0f} m away, campaign {one.ad.campaign_id}",
    }


def _micros(moment: datetime) -> int:
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _local(micros: int, zone: ZoneInfo) -> datetime:
    return datetime.fromtimestamp(micros // 1_000_000, UTC).astimezone(zone)
