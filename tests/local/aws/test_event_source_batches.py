import json
import threading
import time
from typing import Any, NamedTuple

import pytest

from local.aws.event_source_batches import Batches, GivenUp, Rules, failed_items
from local.aws.lambda_workers import Ended


class Record(NamedTuple):
    sequence_number: str
    arrival: float


def records(*arrivals: float) -> list[Record]:
    return [Record(str(place), arrival) for place, arrival in enumerate(arrivals)]


class Trial:
    """A function that fails on some records, and what becomes of them."""

    def __init__(self, rules: Rules, *poison: str, partial: bool = False) -> None:
        self.poison, self.partial = poison, partial
        self.calls: list[list[str]] = []
        self.given_up: list[GivenUp] = []
        self.positions: list[str] = []
        self.batches = Batches[Record](rules, self._invoke, self._give_up, self._done, lambda _: len(self.calls) < 50)

    def _invoke(self, batch: Any) -> Ended:
        numbers = [record.sequence_number for record in batch]
        self.calls.append(numbers)
        failed = [number for number in numbers if number in self.poison]
        if failed and not self.partial:
            return Ended("id", b"{}", "failed", b"")
        reported = {"batchItemFailures": [{"itemIdentifier": number} for number in failed]}
        return Ended("id", json.dumps(reported).encode(), None, b"")

    def _give_up(self, given_up: GivenUp) -> bool:
        self.given_up.append(given_up)
        return True

    def _done(self, record: Record) -> None:
        self.positions.append(record.sequence_number)

    @property
    def lost(self) -> list[tuple[str, list[str]]]:
        return [(one.condition, [record.sequence_number for record in one.records]) for one in self.given_up]


def test_records_that_are_too_old_are_given_up() -> None:
    now = time.time()
    trial = Trial(Rules(max_age=60))
    assert trial.batches.process(records(now - 100, now - 61, now - 1, now))
    assert trial.lost == [("RecordAgeExceeded", ["0", "1"])]
    assert trial.calls == [["2", "3"]]
    assert trial.positions == ["1", "3"]


def test_a_batch_is_tried_until_it_is_too_old() -> None:
    trial = Trial(Rules(max_age=0.2), "1")
    pauses: list[float] = []

    def pause(seconds: float) -> bool:
        pauses.append(seconds)
        threading.Event().wait(0.05)
        return True

    trial.batches._pause = pause  # type: ignore[method-assign, assignment]
    now = time.time()
    assert trial.batches.process(records(now, now))
    assert trial.lost == [("RecordAgeExceeded", ["0", "1"])]
    assert len(trial.calls) > 1
    assert pauses == sorted(pauses)


def test_without_bisection_a_batch_is_given_up_as_a_whole() -> None:
    trial = Trial(Rules(retries=2), "1")
    assert trial.batches.process(records(0, 0, 0))
    assert len(trial.calls) == 3
    assert trial.lost == [("RetryAttemptsExhausted", ["0", "1", "2"])]
    assert trial.given_up[0].attempts == 3
    assert trial.positions == ["2"]


def test_bisection_does_not_count_as_a_retry() -> None:
    trial = Trial(Rules(bisect=True, retries=0), "2", "5")
    assert trial.batches.process(records(*[0] * 7))
    assert trial.lost == [("RetryAttemptsExhausted", ["2"]), ("RetryAttemptsExhausted", ["5"])]
    assert trial.positions == sorted(trial.positions)
    assert trial.positions[-1] == "6"


def test_a_partial_failure_with_bisection_goes_on_at_the_failed_record() -> None:
    trial = Trial(Rules(bisect=True, retries=0, partial=True), "3", partial=True)
    assert trial.batches.process(records(*[0] * 6))
    assert trial.calls[0] == ["0", "1", "2", "3", "4", "5"]
    assert trial.lost == [("RetryAttemptsExhausted", ["3"])]
    assert trial.positions[-1] == "5"


def test_with_default_rules_a_batch_is_never_given_up() -> None:
    trial = Trial(Rules(), "0")
    assert not trial.batches.process(records(0))
    assert len(trial.calls) == 50
    assert trial.lost == []
    assert trial.positions == []


@pytest.mark.parametrize(
    ("answer", "failed"),
    [
        (None, set()),
        ({}, set()),
        ({"batchItemFailures": []}, set()),
        ({"batchItemFailures": None}, set()),
        ({"batchItemFailures": [{"itemIdentifier": "1"}]}, {"1"}),
        ({"batchItemFailures": [{"itemIdentifier": ""}]}, {"1", "2"}),
        ({"batchItemFailures": [{"itemIdentifier": None}]}, {"1", "2"}),
        ({"batchItemFailures": [{"id": "1"}]}, {"1", "2"}),
        ({"batchItemFailures": [{"itemIdentifier": "9"}]}, {"1", "2"}),
        ("text", {"1", "2"}),
    ],
)
def test_an_answer_that_makes_no_sense_means_that_all_failed(answer: Any, failed: set[str]) -> None:
    assert failed_items(Ended("id", json.dumps(answer).encode(), None, b""), ["1", "2"]) == failed
