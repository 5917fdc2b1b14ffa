"""Live offers: who approaches an establishment gets its best ad, once in a while. Pure; ADR 20 has the reasons.

    advisor = Advisor(OfferRule(), establishments.parse(data))
    step = advisor.advance(State(), fixes)     # of one user, as they come
    step.offers, step.state

Times are int microseconds since the epoch, UTC.

A fix is *decided*: it becomes part of its user's walk, and what is approached then is offered. The fixes of a user are
decided in the order of their times, each as soon as one has come that is later by the rule's patience; with a patience
of 0, which is usual, at once. One that is not later than the last decided fix is *stale* and changes nothing. Whatever
comes again is stale, or among those that wait. So

- the state after some fixes, and all offers, do not depend on how they were cut into batches, nor on duplicates;
- nor on their order, as long as each comes before any other of its user that is later by the patience or more;
- what is left out for its age changes only the walk it was part of: no offer is taken back, none is made twice.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from include.streams.approach import ApproachRule, approached
from include.streams.assigners import MINUTE, SECOND
from include.streams.establishments import Establishment
from include.streams.fields import Fields, identity, iso
from include.streams.grid import Grid
from include.streams.sphere import vector

DAY = 24 * 60 * MINUTE
LONGEST_USER = 256
"""Bytes of a user's name."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Point(NamedTuple):
    """Where a user was.

    Attributes:
        time: when.
        identity: which fix it is, in [0, 2**64).
        latitude: degrees.
        longitude: degrees.
    """

    time: int
    identity: int
    latitude: float
    longitude: float


class Fix(NamedTuple):
    """A record of the positions that keeps the schema.

    Attributes:
        user: whose.
        point: where and when.
        consent: whether the user lets us use it.
    """

    user: str
    point: Point
    consent: bool


def parse_fix(record: bytes | str) -> Fix:
    """The fix in a record, UTF-8 JSON: user_id, latitude, longitude, moment (UTC, ISO 8601) and consent.

    Raises:
        RecordError: it is no such JSON, or a field is missing, unknown, of a wrong type or out of its range.
    """
    fields = Fields(record)
    user, time = fields.text("user_id", LONGEST_USER), fields.time("moment")
    latitude, longitude = fields.number("latitude", -90, 90), fields.number("longitude", -180, 180)
    consent = fields.flag("consent")
    fields.no_others("a position")
    same = {"user_id": user, "moment": iso(time), "latitude": latitude, "longitude": longitude, "consent": consent}
    return Fix(user, Point(time, identity(same), latitude, longitude), consent)


@dataclass(frozen=True)
class OfferRule:
    """When something is offered.

    Attributes:
        approach: what approaching is.
        cooldown: after an offer of an establishment, its user gets no other of it for so many microseconds; the next
            may be exactly then.
        pause: nor one of any other for so many.
        daily: offers to a user on a day, at most.
        zone: whose days, an IANA name.
        patience: a fix is decided when its user has sent one that is later by so many microseconds.

    Raises:
        ValueError: one of them is not sound; the message names it.
    """

    approach: ApproachRule = field(default_factory=ApproachRule)
    cooldown: int = DAY
    pause: int = 10 * MINUTE
    daily: int = 5
    zone: str = "America/Fortaleza"
    patience: int = 0

    def __post_init__(self) -> None:
        for name, least in (("cooldown", 1), ("pause", 0), ("daily", 1), ("patience", 0)):
            value = getattr(self, name)
            if value.__class__ is not int or value < least:
                raise ValueError(f"{name} is {value!r}: give an int of {least} or more")
        try:
            ZoneInfo(self.zone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(
                f"zone is {self.zone!r}: give an IANA name, such as America/Fortaleza ({error})"
            ) from error

    def day(self, time: int) -> int:
        """The day of a moment: the ordinal of its local date."""
        return (_EPOCH + timedelta(microseconds=time)).astimezone(ZoneInfo(self.zone)).toordinal()


def rule_of(environment: Mapping[str, str]) -> OfferRule:
    """The rule that environment variables describe; those that aren't there have the rule's defaults.

    ``OFFER_RADIUS`` and ``OFFER_CLOSING`` (metres), ``OFFER_ANGLE`` (degrees), ``OFFER_FIXES``, ``OFFER_DAILY``,
    ``OFFER_ZONE``; and in seconds ``OFFER_EVERY_SECONDS``, ``OFFER_GAP_SECONDS``, ``OFFER_COOLDOWN_SECONDS``,
    ``OFFER_PAUSE_SECONDS``, ``OFFER_PATIENCE_SECONDS``.

    Raises:
        ValueError: one is not sound; the message names it.
    """

    def given(names: Iterable[str], suffix: str, scale: int, kind: type) -> dict[str, Any]:
        found = {}
        for name in names:
            variable = f"OFFER_{name.upper()}{suffix}"
            if variable in environment:
                try:
                    found[name] = kind(Decimal(environment[variable]) * scale)
                except (InvalidOperation, OverflowError, ValueError):
                    raise ValueError(f"{variable} is {environment[variable]!r}: give a number") from None
        return found

    approach = ApproachRule(
        **given(("radius", "closing", "angle"), "", 1, float),
        **given(("fixes",), "", 1, int),
        **given(("every", "gap"), "_SECONDS", SECOND, int),
    )
    zone: dict[str, Any] = {"zone": environment["OFFER_ZONE"]} if "OFFER_ZONE" in environment else {}
    times = given(("cooldown", "pause", "patience"), "_SECONDS", SECOND, int)
    return OfferRule(approach, **times, **given(("daily",), "", 1, int), **zone)


class Offer(NamedTuple):
    """An establishment's ad for a user who approaches it.

    Attributes:
        user: to whom.
        time: of the fix at which it is made.
        latitude: of that fix, degrees.
        longitude: of that fix, degrees.
        metres: from there to the establishment.
        establishment: whose, with its ad.
    """

    user: str
    time: int
    latitude: float
    longitude: float
    metres: float
    establishment: Establishment


@dataclass(frozen=True)
class State:
    """What is known of a user.

    Attributes:
        track: the last decided fixes of the present walk, oldest first: as many as approaching needs.
        waiting: the fixes to be decided, by time and identity.
        made: establishments to the times of their last offers, while these count.
        day: of the last offer, an ordinal.
        today: offers on that day.
        decided: the time of the last decided fix.
    """

    track: tuple[Point, ...] = ()
    waiting: tuple[Point, ...] = ()
    made: Mapping[str, int] = field(default_factory=dict)
    day: int = 0
    today: int = 0
    decided: int = -1


class Step(NamedTuple):
    """What fixes of a user come to.

    Attributes:
        state: after them; the same object if they change nothing.
        offers: in the order in which they are made.
        stale: how many of the fixes changed nothing.
    """

    state: State
    offers: list[Offer]
    stale: int


class Advisor:
    """Makes offers.

    Args:
        rule: when.
        establishments: of what; each of them once.
    """

    def __init__(self, rule: OfferRule, establishments: Iterable[Establishment]) -> None:
        self.rule = rule
        self._places = Grid(((one.at, one) for one in establishments), rule.approach.radius)

    def advance(self, user: str, state: State, points: Iterable[Point]) -> Step:
        """Takes fixes of a user, in the order in which they come."""
        offers: list[Offer] = []
        stale = 0
        for point in points:
            if point in state.waiting or point.time <= state.decided:
                stale += 1
                continue
            waiting = tuple(sorted((*state.waiting, point)))
            due = waiting[-1].time - self.rule.patience
            ready = sum(one.time <= due for one in waiting)
            state = replace(state, waiting=waiting[ready:])
            for one in waiting[:ready]:
                state = self._decide(user, state, one, offers)
        return Step(state, offers, stale)

    def end(self, user: str, state: State) -> Step:
        """Decides what waits: the user will send nothing more."""
        offers: list[Offer] = []
        waiting, state = state.waiting, replace(state, waiting=())
        for one in waiting:
            state = self._decide(user, state, one, offers)
        return Step(state, offers, 0)

    def offers(self, fixes: Iterable[Fix]) -> list[Offer]:
        """The offers that a finite number of fixes makes, in any order, with any duplicates.

        Returns:
            By user, and in the order in which they are made.
        """
        walks: dict[str, set[Point]] = {}
        for fix in fixes:
            if fix.consent:
                walks.setdefault(fix.user, set()).add(fix.point)
        found: list[Offer] = []
        for user in sorted(walks):
            step = self.advance(user, State(), sorted(walks[user]))
            found += step.offers + self.end(user, step.state).offers
        return found

    def _decide(self, user: str, state: State, point: Point, offers: list[Offer]) -> State:
        """The state after a fix that is decided; what is offered is added to the offers."""
        track, rule = state.track, self.rule
        if point.time <= state.decided:  # Two places at the same time: the first by identity stays.
            return state
        since = point.time - track[-1].time if track else rule.approach.gap + 1
        if since < rule.approach.every:
            return replace(state, decided=point.time)
        track = (*track, point)[-rule.approach.fixes :] if since <= rule.approach.gap else (point,)
        state = replace(state, track=track, decided=point.time)
        if self._rests(state, point.time):
            return state
        vectors = [vector(one.latitude, one.longitude) for one in track]
        for metres, one in approached(rule.approach, vectors, self._places):
            last = state.made.get(one.establishment_id)
            if last is None or point.time >= last + rule.cooldown:
                offers.append(Offer(user, point.time, point.latitude, point.longitude, metres, one))
                state = self._noted(state, point.time, one.establishment_id)
                if self._rests(state, point.time):
                    break
        return state

    def _rests(self, state: State, time: int) -> bool:
        """Whether a user gets no offer now, whatever is near."""
        if any(time < made + self.rule.pause for made in state.made.values()):
            return True
        return state.today >= self.rule.daily and self.rule.day(time) <= state.day

    def _noted(self, state: State, time: int, establishment_id: str) -> State:
        """The state after an offer."""
        day = max(self.rule.day(time), state.day)  # Where clocks go back over midnight, it was tomorrow already.
        counts = max(self.rule.cooldown, self.rule.pause)
        made = {name: last for name, last in state.made.items() if time < last + counts}
        today = state.today + 1 if day == state.day else 1
        return replace(state, made={**made, establishment_id: time}, day=day, today=today)
