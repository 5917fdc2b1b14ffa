"""Establishments and the best of their ads: the reference data of the live offers.

One JSON object a line, perhaps gzipped:

    {"establishment_id": "e17", "name": "Farmácia Sol", "category": "pharmacies", "latitude": -3.73,
     "longitude": -38.52, "ads": [{"ad_id": "a1", "campaign_id": "c1", "ctr_low": 0.021}]}

`ctr_low` is the lower bound of Wilson's interval of the click-through rate of the ad's campaign: a few lucky clicks
make no ad the best. It is null where too few have seen it. `include/jobs/offer_reference.py` writes the file.
"""

import gzip
import zlib
from collections.abc import Iterable
from typing import NamedTuple

from include.streams.encoding import canonical
from include.streams.fields import Fields, RecordError
from include.streams.sphere import Vector, vector

_GZIP = b"\x1f\x8b"


class ReferenceDataError(ValueError):
    """Reference data that cannot be used; the message names line, field and fix."""


class Ad(NamedTuple):
    """An ad.

    Attributes:
        ad_id: which.
        campaign_id: of which campaign.
        ctr_low: lower bound of its click-through rate; 0 if it was never seen.
    """

    ad_id: str
    campaign_id: str
    ctr_low: float


class Establishment(NamedTuple):
    """An establishment that advertises.

    Attributes:
        establishment_id: which.
        name: of it.
        category: of its business.
        latitude: degrees.
        longitude: degrees.
        at: where it is, on the unit sphere.
        ad: the best of its ads.
    """

    establishment_id: str
    name: str
    category: str
    latitude: float
    longitude: float
    at: Vector
    ad: Ad


def best(ads: Iterable[Ad]) -> Ad | None:
    """The ad with the greatest lower bound; of equal ones, the first by name. None of none."""
    return min(ads, key=lambda ad: (-ad.ctr_low, ad.ad_id), default=None)


def parse(data: bytes) -> list[Establishment]:
    """The establishments of a file that have an ad.

    Raises:
        ReferenceDataError: the file is not of this form, or has an establishment twice, or none that has an ad.
    """
    try:
        lines = (gzip.decompress(data) if data.startswith(_GZIP) else data).splitlines()
    except (OSError, EOFError, zlib.error) as error:
        raise ReferenceDataError(f"it is not whole: {error}; write it again") from error
    found: dict[str, Establishment] = {}
    for number, line in enumerate(lines, start=1):
        try:
            one = _establishment(line)
        except RecordError as error:
            raise ReferenceDataError(f"line {number}: {error}") from error
        if one and one.establishment_id in found:
            raise ReferenceDataError(
                f"line {number}: establishment_id is {one.establishment_id!r} again: write it once"
            )
        if one:
            found[one.establishment_id] = one
    if not found:
        raise ReferenceDataError("it has no establishment with an ad: nothing could ever be offered")
    return list(found.values())


def _establishment(line: bytes) -> Establishment | None:
    fields = Fields(line)
    name, category = fields.text("name"), fields.text("category")
    establishment_id = fields.text("establishment_id", longest=256)
    latitude, longitude = fields.number("latitude", -90, 90), fields.number("longitude", -180, 180)
    if not isinstance(fields.values.get("ads"), list):
        raise RecordError("ads", "is no list: give the ads of the establishment, or []")
    ad = best([_ad(values) for values in fields.values["ads"]])
    if ad is None:
        return None
    return Establishment(establishment_id, name, category, latitude, longitude, vector(latitude, longitude), ad)


def _ad(values: object) -> Ad:
    fields = Fields(canonical(values))
    ctr_low = 0.0 if fields.values.get("ctr_low", 0) is None else fields.number("ctr_low", 0, 1)
    return Ad(fields.text("ad_id", longest=256), fields.text("campaign_id", longest=256), ctr_low)
