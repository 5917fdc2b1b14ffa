from datetime import date, datetime

import pytest

from include.reports import tracks
from include.streams.establishments import Ad, Establishment
from include.streams.sphere import vector
from tests.geography import haversine, moved
from tests.include.reports.world import OTHER, USER, ZONE, walk

AT = (-3.73, -38.5)
SHOP = Establishment("E1", "Café", "cafés", *AT, vector(*AT), Ad("C1-A", "C1", 0.1))


def towards(metres, step=60.0, count=8):
    """On the way to the shop from the west, so many metres before it and nearer by each step."""
    return [moved(AT, 270, metres - step * n) for n in range(count)]


def test_an_offer_fires_at_the_first_record_within_the_radius():
    steps = towards(500)
    (track,) = tracks.tracks(walk(USER, steps), [SHOP], ZONE, 1)
    (offer,) = track.offers
    # 500, 440, 380, 320 and 260 m: the fifth is the first within 300 m.
    assert (offer["latitude"], offer["longitude"]) == steps[4]
    assert offer["metres"] == pytest.approx(haversine(steps[4], AT), abs=0.05) == pytest.approx(260, abs=0.1)
    assert (offer["establishment_id"], offer["campaign_id"]) == ("E1", "C1")
    assert (offer["place_latitude"], offer["place_longitude"]) == AT
    assert offer["time"] == "09:08"  # 12:00 UTC and four times two minutes, three hours to the west
    assert [point["said"] for point in track.points][:2] == ["09:00:00", "09:02:00"]


@pytest.mark.parametrize(
    ("steps", "minutes"),
    [(towards(500), 6), (towards(500)[::-1], 2), (towards(2_000), 2)],
    ids=["records-too-far-apart", "going-away", "too-far"],
)
def test_nothing_is_offered(steps, minutes):
    (track,) = tracks.tracks(walk(USER, steps, minutes=minutes), [SHOP], ZONE, 1)
    assert track.offers == []
    assert len(track.points) == len(steps)


def test_the_day_is_the_one_with_most_offers_and_days_are_local():
    quiet = walk(USER, towards(2_000, step=1, count=30), datetime(2026, 7, 10, 12))
    # 02:50 UTC on the 15th is the evening of the 14th.
    evening = walk(USER, towards(500), datetime(2026, 7, 15, 2, 40))
    (track,) = tracks.tracks([*evening, *quiet], [SHOP], ZONE, 1)
    assert track.day == date(2026, 7, 14)
    assert track.named == "Tue 2026-07-14"
    assert [point["hour"] for point in track.points] == pytest.approx(
        [23 + (40 + 2 * n) / 60 for n in range(8)], abs=1e-3
    )


def test_offers_of_the_days_before_count():
    """Within a day of an offer, its establishment is not offered again, whichever day that is."""
    first = walk(USER, towards(500), datetime(2026, 7, 14, 20))
    again = walk(USER, towards(500), datetime(2026, 7, 15, 12))
    (track,) = tracks.tracks([*first, *again], [SHOP], ZONE, 1)
    assert (track.day, len(track.offers)) == (date(2026, 7, 14), 1)


def test_those_with_most_offers_come_first():
    records = [*walk(OTHER, towards(2_000, count=20)), *walk(USER, towards(500)), *walk("c" * 32, towards(2_000))]
    assert [track.user for track in tracks.tracks(records, [SHOP], ZONE, 2)] == [USER, OTHER]
    assert tracks.tracks(records[::-1], [SHOP], ZONE, 3) == tracks.tracks(records, [SHOP], ZONE, 3)
    assert tracks.tracks([], [SHOP], ZONE, 3) == []
