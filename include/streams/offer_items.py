"""Live offers in DynamoDB: what is known of a user, what is to be told, and what was offered.

A user's state is one item of the windows' table (HASH `offers#<user>`, RANGE `state`). What is offered goes into its
`outbox`, by the same put that makes the fixes stale: neither is there without the other. From there it is put into the
table of offers, published, and taken out of the outbox; whoever handles the user next does what is left of that.
"""

import json
from collections.abc import Sequence
from typing import Any

from include.streams.encoding import canonical
from include.streams.fields import iso
from include.streams.items import Item, Place
from include.streams.offers import Advisor, Offer, Point, State

KEYS = ("user_id", "offer")
"""HASH and RANGE of the table of offers: the user, and `<moment>#<establishment>`."""
KEPT_SECONDS = 14 * 24 * 60 * 60
"""How long a state is kept after the arrival of its last fix, beyond the cooldown."""
OFFERS_KEPT_SECONDS = 90 * 24 * 60 * 60


def state_place(user: str) -> Place:
    """Where a user's state is."""
    return f"offers#{user}", "state"


def dump(state: State) -> bytes:
    """A state as bytes, equal for equal states."""
    return canonical([state.track, state.waiting, dict(state.made), state.day, state.today, state.decided])


def load(data: bytes) -> State:
    """What `dump` made."""
    track, waiting, made, day, today, decided = json.loads(data)
    return State(tuple(Point(*one) for one in track), tuple(Point(*one) for one in waiting), made, day, today, decided)


def message(offer: Offer) -> dict[str, Any]:
    """An offer as it is told, whose `id` is the same however often it is."""
    one = offer.establishment
    moment = iso(offer.time)
    return {
        "id": f"{offer.user}@{moment}#{one.establishment_id}",
        "user_id": offer.user,
        "moment": moment,
        "latitude": offer.latitude,
        "longitude": offer.longitude,
        "metres": round(offer.metres, 1),
        "establishment_id": one.establishment_id,
        "name": one.name,
        "category": one.category,
        "campaign_id": one.ad.campaign_id,
        "ad_id": one.ad.ad_id,
    }


def offer_place(told: dict[str, Any]) -> Place:
    """Where a message's offer is."""
    return told["user_id"], f"{told['moment']}#{told['establishment_id']}"


class Walk:
    """A user's state after more fixes: a change for `Items`.

    Args:
        advisor: makes offers.
        user: whose.
        points: the fixes, in the order in which they came.
        arrival: of the last of them, microseconds since the epoch.

    Attributes:
        arrival: as given.
        outbox: the messages to be sent, by id; also those of former batches.
        offers: how many of them are new.
        stale: how many fixes changed nothing.
    """

    def __init__(self, advisor: Advisor, user: str, points: Sequence[Point], arrival: int) -> None:
        self._advisor, self._user, self._points, self.arrival = advisor, user, points, arrival
        self.outbox: dict[str, dict[str, Any]] = {}
        self.offers = self.stale = 0

    def __call__(self, stored: Item | None) -> Item | None:
        """The state with the fixes, or None if they are all stale."""
        before = load(stored["state"]["B"]) if stored else State()
        step = self._advisor.advance(self._user, before, self._points)
        told = [message(offer) for offer in step.offers]
        self.outbox = _outbox(stored) | {one["id"]: one for one in told}
        self.offers, self.stale = len(told), step.stale
        if step.state is before:
            return None
        kept = KEPT_SECONDS + self._advisor.rule.cooldown // 1_000_000
        item: Item = {"state": {"B": dump(step.state)}, "expires": {"N": str(self.arrival // 1_000_000 + kept)}}
        return _with_outbox(item, self.outbox)


class Sent:
    """A user's state without messages that were sent: a change for `Items`.

    Args:
        ids: of the messages.
    """

    def __init__(self, ids: Sequence[str]) -> None:
        self._ids = set(ids)

    def __call__(self, stored: Item | None) -> Item | None:
        """The state with what is left to be sent, or None if these were sent before."""
        outbox = _outbox(stored)
        left = {name: one for name, one in outbox.items() if name not in self._ids}
        return _with_outbox(stored, left) if stored and len(left) < len(outbox) else None


class Offered:
    """An offer's item, which is put once: a change for `Items`.

    Args:
        told: its message.
        arrival: of the fix that it is told with, microseconds since the epoch. Not the fix's own time: what is replayed
            from long ago would be deleted while it is read.
    """

    def __init__(self, told: dict[str, Any], arrival: int) -> None:
        self._told, self._arrival = told, arrival

    def __call__(self, stored: Item | None) -> Item | None:
        """The item, or None if it is there."""
        if stored:
            return None
        texts = {name: value for name, value in self._told.items() if isinstance(value, str) and name != "user_id"}
        numbers = {name: self._told[name] for name in ("latitude", "longitude", "metres")}
        return {
            **{name: {"S": value} for name, value in texts.items()},
            **{name: {"N": repr(value)} for name, value in numbers.items()},
            "expires": {"N": str(self._arrival // 1_000_000 + OFFERS_KEPT_SECONDS)},
        }


def _outbox(stored: Item | None) -> dict[str, dict[str, Any]]:
    found = (stored or {}).get("outbox", {"M": {}})["M"]
    return {name: json.loads(value["S"]) for name, value in found.items()}


def _with_outbox(item: Item, outbox: dict[str, dict[str, Any]]) -> Item:
    """An item with these messages to be sent; without the attribute if there are none."""
    bare = {name: value for name, value in item.items() if name != "outbox"}
    if not outbox:
        return bare
    texts = {name: {"S": json.dumps(one, ensure_ascii=False)} for name, one in outbox.items()}
    return {**bare, "outbox": {"M": texts}}
