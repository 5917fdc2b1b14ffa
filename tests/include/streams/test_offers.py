import json
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from include.streams import offer_items
from include.streams.approach import ApproachRule
from include.streams.assigners import MINUTE, SECOND
from include.streams.establishments import Ad, Establishment
from include.streams.fields import RecordError, iso, micros
from include.streams.offers import DAY, Advisor, Fix, OfferRule, State, parse_fix, rule_of
from include.streams.sphere import vector
from tests.geography import bearing, haversine, moved

PATIENT = settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.too_slow])  # Busy machines.

CENTRE = (-3.73, -38.52)
NOON = micros("2026-03-01T15:00:00")
"""Of Fortaleza."""
OFTEN = OfferRule(cooldown=5 * MINUTE, pause=MINUTE, daily=4)


def shop(name, place):
    return Establishment(name, name, "games", *place, vector(*place), Ad(f"ad of {name}", "c1", 0.1))


def fix(time, place, user="u1", consent=True):
    record = {"user_id": user, "latitude": place[0], "longitude": place[1], "moment": iso(time), "consent": consent}
    return parse_fix(json.dumps(record))


def walk(start, *metres, place=CENTRE, seconds=20, user="u1"):
    """Fixes of somebody who comes from the south, so many metres before a place."""
    return [fix(start + number * seconds * SECOND, moved(place, 180, far), user) for number, far in enumerate(metres)]


def made(offers):
    return [(offer.establishment.establishment_id, offer.time) for offer in offers]


SHOPS = [shop(f"s{number:02}", moved(CENTRE, 37 * number, 60 + 35 * number)) for number in range(25)]


def wander(seed, fixes):
    """Somebody who goes from shop to shop in two days and rests at times; some fixes are far apart."""
    rng = random.Random(seed)
    time, here, found = micros("2026-03-02T02:00:00"), moved(CENTRE, rng.uniform(0, 360), 600), []
    goal = rng.choice(SHOPS)
    for _ in range(fixes):
        target = (goal.latitude, goal.longitude)
        if haversine(here, target) < 40 or rng.random() < 0.05:
            goal = rng.choice(SHOPS)
        here = moved(here, bearing(here, target) + rng.uniform(-30, 30), rng.uniform(0, 50))
        time += rng.choice([5, 20, 20, 60, 119, 121, 3600]) * SECOND + rng.randrange(SECOND)
        found.append(fix(time, here))
    return found


def by_definition(rule, fixes):
    """The offers of one user, each fix with all that went before looked at anew."""
    offers, points = [], sorted({one.point for one in fixes})
    seen, points = points, []
    for one in seen:
        if not points or one.time - points[-1].time >= rule.approach.every:
            points.append(one)
    n = rule.approach.fixes
    for last in range(n - 1, len(points)):
        track = points[last - n + 1 : last + 1]
        if any(b.time - a.time > rule.approach.gap for a, b in pairwise(track)):
            continue
        places, now = [(one.latitude, one.longitude) for one in track], track[-1].time
        near = []
        for one in SHOPS:
            far = [haversine(place, (one.latitude, one.longitude)) for place in places]
            way = bearing(places[-1], places[0]) + 180
            angle = abs((way - bearing(places[-1], (one.latitude, one.longitude)) + 180) % 360 - 180)
            falls = all(a > b for a, b in pairwise(far))
            if falls and far[-1] <= rule.approach.radius and far[0] - far[-1] >= rule.approach.closing:
                near += [(far[-1], one.establishment_id)] if angle <= rule.approach.angle else []
        for _, name in sorted(near):
            today = [time for _, time in offers if local_day(rule, time) == local_day(rule, now)]
            if len(today) >= rule.daily or any(now - time < rule.pause for _, time in offers):
                break
            if all(now - time >= rule.cooldown for other, time in offers if other == name):
                offers.append((name, now))
    return offers


def local_day(rule, time):
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time)).astimezone(ZoneInfo(rule.zone)).date()


RULES = st.builds(
    OfferRule,
    approach=st.builds(
        ApproachRule,
        radius=st.sampled_from([80.0, 300.0]),
        fixes=st.integers(2, 4),
        every=st.sampled_from([1, 10 * SECOND, 30 * SECOND]),
    ),
    cooldown=st.sampled_from([MINUTE, 10 * MINUTE, DAY]),
    pause=st.sampled_from([0, MINUTE, 5 * MINUTE]),
    daily=st.integers(1, 6),
)


@PATIENT
@given(rule=RULES, seed=st.integers(0, 10_000))
def test_offers_are_those_of_the_definition(rule, seed):
    fixes = wander(seed, 60)
    assert made(Advisor(rule, SHOPS).offers(fixes)) == by_definition(rule, fixes)


def test_wandering_makes_offers():
    """Or the test above would compare nothing with nothing."""
    found = [len(by_definition(OFTEN, wander(seed, 60))) for seed in range(5)]
    assert sum(found) > 10


@PATIENT
@given(seed=st.integers(0, 1_000), patience=st.sampled_from([0, 30 * SECOND, 5 * MINUTE]), data=st.data())
def test_any_order_within_the_patience_any_duplicates_and_batches_give_the_same(seed, patience, data):
    rng = random.Random(data.draw(st.integers(0, 1_000)))
    advisor = Advisor(replace(OFTEN, patience=patience), SHOPS)
    fixes = wander(seed, 40)
    # Each comes before any that is later by the patience or more; copies come whenever they like.
    arrivals = [(one.point.time + rng.randrange(max(patience, 1)), one.point) for one in fixes]
    arrivals += [(time + rng.randrange(DAY), point) for time, point in arrivals if rng.random() < 0.5]
    points = [point for _, point in sorted(arrivals)]
    state, offers, stale = State(), [], 0
    while points:
        size = rng.randint(1, 9)
        for again in (False, True):  # The whole batch is delivered twice.
            step = advisor.advance("u1", state, points[:size])
            assert not again or (step.offers == [] and step.state is state)
            state, offers = offer_items.load(offer_items.dump(step.state)), offers + step.offers
            state = step.state if again else state
            stale += step.stale if not again else 0
        points = points[size:]
    offers += advisor.end("u1", state).offers
    assert offers == advisor.offers(fixes)
    assert stale == len(arrivals) - len(fixes)


def test_one_offer_for_each_establishment_and_cooldown():
    advisor = Advisor(replace(OFTEN, cooldown=DAY), [shop("a", CENTRE)])
    first = walk(NOON, 200, 150, 100, 80, 60)
    assert made(advisor.offers(first)) == [("a", NOON + 40 * SECOND)]
    early, late = (walk(NOON + DAY + extra, 200, 150, 100) for extra in (-1, 0))
    assert len(advisor.offers([*first, *early])) == 1
    assert made(advisor.offers([*first, *late]))[1:] == [("a", NOON + 40 * SECOND + DAY)]


def test_the_nearest_is_offered_and_then_there_is_a_pause():
    shops = [shop("far", CENTRE), shop("b", moved(CENTRE, 180, 20)), shop("a", moved(CENTRE, 180, 20))]
    advisor = Advisor(OFTEN, shops)
    fixes = walk(NOON, 280, 250, 220, 190, 160, 130, 100)
    assert made(advisor.offers(fixes)) == [("a", NOON + 40 * SECOND), ("b", NOON + 100 * SECOND)]
    (offer,) = advisor.offers(fixes[:3])
    assert offer.metres == pytest.approx(200)
    assert offer.establishment.ad.ad_id == "ad of a"


def test_a_day_is_the_local_one():
    """In Fortaleza, it is midnight at 03:00 UTC."""
    midnight = micros("2026-03-02T03:00:00")
    rule = replace(OFTEN, daily=1, pause=0)
    shops = [shop(name, moved(CENTRE, 0, 10 * number)) for number, name in enumerate("abc")]
    fixes = walk(midnight - 40 * SECOND, 200, 150, 100, 80, 60, seconds=10)
    assert made(Advisor(rule, shops).offers(fixes)) == [("a", midnight - 20 * SECOND), ("b", midnight)]


def test_walks_that_are_apart_are_two():
    advisor = Advisor(OFTEN, [shop("a", CENTRE)])
    assert advisor.offers(walk(NOON, 200, 150, 100, seconds=120))
    assert not advisor.offers(walk(NOON, 200, 150, 100, seconds=121))


def test_a_phone_that_tells_its_place_every_second_is_heard_every_ten():
    advisor = Advisor(OFTEN, [shop("a", CENTRE)])
    fixes = walk(NOON, *(200 - 2 * number for number in range(40)), seconds=1)
    (offer,) = advisor.offers(fixes)
    assert (offer.time, offer.metres) == (NOON + 20 * SECOND, pytest.approx(160))


def test_users_are_apart_and_consent_is_asked_for():
    advisor = Advisor(OFTEN, [shop("a", CENTRE)])
    ours = [one for user in ("u2", "u1") for one in walk(NOON, 200, 150, 100, user=user)]
    assert [offer.user for offer in advisor.offers(ours)] == ["u1", "u2"]
    assert not advisor.offers(
        fix(one.point.time, (one.point.latitude, one.point.longitude), consent=False) for one in ours
    )


def test_a_fix_from_before_changes_nothing():
    advisor = Advisor(OFTEN, [shop("a", CENTRE)])
    a, b, c = (one.point for one in walk(NOON, 200, 150, 100))
    step = advisor.advance("u1", State(), [a, c, b])
    assert (step.offers, step.stale) == ([], 1)
    patient = Advisor(replace(OFTEN, patience=25 * SECOND), [shop("a", CENTRE)])
    step = patient.advance("u1", State(), [a, c, b])
    assert (step.offers, step.stale, step.state.waiting) == ([], 0, (b, c))
    assert made(patient.end("u1", step.state).offers) == [("a", c.time)]


RECORD = {"user_id": "u1", "latitude": -3.73, "longitude": 180, "moment": "2026-03-01T15:00:00.5", "consent": True}


def test_a_position_is_read():
    found = parse_fix(json.dumps(RECORD))
    same = parse_fix(json.dumps({**RECORD, "longitude": 180.0, "moment": "2026-03-01T15:00:00.500000"}).encode())
    assert found == same == Fix("u1", (NOON + 500_000, found.point.identity, -3.73, 180.0), True)
    assert parse_fix(json.dumps({**RECORD, "user_id": "u2"})).point.identity != found.point.identity


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"latitude": 90.1}, "latitude is 90.1: a number from -90 to 90 is expected"),
        ({"latitude": "3"}, 'latitude is "3": a number'),
        ({"longitude": True}, "longitude is true: a number"),
        ({"longitude": float("nan")}, "longitude is NaN: a number"),
        ({"consent": 1}, "consent is 1: true or false is expected"),
        ({"consent": None}, "consent is null: give it a value"),
        ({"user_id": ""}, "user_id is"),
        ({"moment": "2026-03-01 15:00"}, "moment is '2026-03-01 15:00': write UTC"),
        ({"speed": 3}, "speed is not a field of a position"),
    ],
)
def test_what_is_no_position_is_named(values, message):
    with pytest.raises(RecordError, match=message):
        parse_fix(json.dumps({**RECORD, **values}))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"cooldown": 0}, "cooldown is 0: give an int of 1 or more"),
        ({"daily": 0}, "daily is 0"),
        ({"pause": 1.5}, "pause is 1.5"),
        ({"patience": -1}, "patience is -1"),
        ({"zone": "Fortaleza"}, "zone is 'Fortaleza': give an IANA name"),
    ],
)
def test_an_unsound_rule_is_named(values, message):
    with pytest.raises(ValueError, match=message):
        OfferRule(**values)


def test_the_rule_is_the_environments():
    assert rule_of({}) == OfferRule()
    environment = {
        "OFFER_RADIUS": "120.5",
        "OFFER_CLOSING": "5",
        "OFFER_ANGLE": "60",
        "OFFER_FIXES": "4",
        "OFFER_EVERY_SECONDS": "2.5",
        "OFFER_GAP_SECONDS": "60",
        "OFFER_COOLDOWN_SECONDS": "3600",
        "OFFER_PAUSE_SECONDS": "0",
        "OFFER_PATIENCE_SECONDS": "3",
        "OFFER_DAILY": "2",
        "OFFER_ZONE": "Europe/Madrid",
    }
    approach = ApproachRule(120.5, 4, 5.0, 60.0, 2_500_000, 60 * SECOND)
    assert rule_of(environment) == OfferRule(approach, 3600 * SECOND, 0, 2, "Europe/Madrid", 3 * SECOND)


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("OFFER_RADIUS", "near", "OFFER_RADIUS is 'near': give a number"),
        ("OFFER_FIXES", "1", "fixes is 1"),
        ("OFFER_GAP_SECONDS", "NaN", "OFFER_GAP_SECONDS is 'NaN': give a number"),
        ("OFFER_ZONE", "Atlantis", "zone is 'Atlantis'"),
    ],
)
def test_a_setting_that_is_not_sound_is_named(variable, value, message):
    with pytest.raises(ValueError, match=message):
        rule_of({variable: value})
