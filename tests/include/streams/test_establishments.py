import gzip
import json

import pytest

from include.streams.establishments import Ad, ReferenceDataError, best, parse

SHOP = {
    "establishment_id": "e1",
    "name": "Farmácia Sol",
    "category": "pharmacies",
    "latitude": -3.73,
    "longitude": -38.52,
    "ads": [{"ad_id": "a1", "campaign_id": "c1", "ctr_low": 0.02}],
}


def file(*shops):
    return b"".join(json.dumps(shop).encode() + b"\n" for shop in shops)


def test_the_best_ad_is_the_one_whose_rate_is_surely_high():
    ads = [
        {"ad_id": "few views", "campaign_id": "c1", "ctr_low": 0.012},
        {"ad_id": "b", "campaign_id": "c2", "ctr_low": 0.031},
        {"ad_id": "a", "campaign_id": "c3", "ctr_low": 0.031},
        {"ad_id": "0, never seen", "campaign_id": "c4", "ctr_low": None},
    ]
    (found,) = parse(file({**SHOP, "ads": ads}))
    assert found.ad == Ad("a", "c3", 0.031)
    assert best([Ad("b", "c", 0.0), Ad("a", "c", 0.0)]) == Ad("a", "c", 0.0)
    assert best([]) is None


def test_only_who_advertises_is_there():
    data = file(SHOP, {**SHOP, "establishment_id": "e2", "ads": []})
    assert [one.establishment_id for one in parse(data)] == ["e1"]
    assert parse(gzip.compress(data)) == parse(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (file(SHOP, SHOP), "line 2: establishment_id is 'e1' again: write it once"),
        (file(SHOP, {**SHOP, "latitude": 91}), "line 2: latitude is 91: a number from -90 to 90 is expected"),
        (file({**SHOP, "ads": None}), "line 1: ads is no list"),
        (file({**SHOP, "ads": [{"ad_id": "a", "campaign_id": "c"}]}), "line 1: ctr_low is missing: add it"),
        (file({**SHOP, "ads": ["a1"]}), "line 1: record is a JSON str"),
        (file({**SHOP, "ads": []}), "no establishment with an ad"),
        (b"", "no establishment with an ad"),
        (gzip.compress(file(SHOP), mtime=0)[:40], "it is not whole"),
        (b"establishment_id,name\n", "line 1: record is not JSON"),
    ],
)
def test_what_cannot_be_used_is_said(data, message):
    with pytest.raises(ReferenceDataError, match=message):
        parse(data)
