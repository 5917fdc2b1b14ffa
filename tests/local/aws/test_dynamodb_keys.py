"""Places sort as DynamoDB sorts keys."""

import base64
from decimal import Decimal
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from local.aws import dynamodb_keys as keys
from local.aws.dynamodb_values import Value, number

numbers = st.builds(
    lambda digits, exponent: number(f"{digits}E{exponent}"),
    st.integers(-(10**38) + 1, 10**38 - 1),
    st.integers(-130, 87),
)
texts = st.text(max_size=6)
binaries = st.binary(max_size=6)


def binary(data: bytes) -> Value:
    return {"B": base64.b64encode(data).decode()}


def sign(one: Any, other: Any) -> int:
    return (one > other) - (one < other)


@given(numbers, numbers)
@example("-1", "-10")
@example("0", "-0.5")
@example("99", "990")
def test_numbers_sort_as_numbers(one: str, other: str) -> None:
    encoded = keys.encode({"N": one}), keys.encode({"N": other})
    assert sign(*encoded) == sign(Decimal(one), Decimal(other))


@given(texts, texts)
@example("a", "a\0")
@example("a\0b", "a\x01")
def test_strings_sort_as_their_utf8(one: str, other: str) -> None:
    encoded = keys.encode({"S": one}), keys.encode({"S": other})
    assert sign(*encoded) == sign(one.encode(), other.encode())


@given(binaries, binaries)
def test_binaries_sort_as_bytes(one: bytes, other: bytes) -> None:
    assert sign(keys.encode(binary(one)), keys.encode(binary(other))) == sign(one, other)


@given(texts, texts, numbers, numbers)
def test_encoded_values_can_follow_each_other(first: str, second: str, one: str, other: str) -> None:
    left, right = ((first, Decimal(one)), (second, Decimal(other)))
    encoded = [
        keys.encode({"S": text}) + keys.encode({"N": digits}) for text, digits in ((first, one), (second, other))
    ]
    assert sign(*encoded) == sign((left[0].encode(), left[1]), (right[0].encode(), right[1]))


@given(binaries, binaries)
@example(b"\xff", b"\xff\xff")
@example(b"\x00", b"\x00\x01")
def test_what_begins_alike_lies_together(prefix: bytes, other: bytes) -> None:
    start = keys.place({"S": "partition"})
    low = start + keys.beginning(binary(prefix))
    inside = low <= start + keys.encode(binary(other)) < keys.after(low)
    assert inside == other.startswith(prefix)


@given(st.integers(1, 1000), st.lists(texts, min_size=1, max_size=20))
def test_every_partition_is_in_one_segment(total: int, partitions: list[str]) -> None:
    segments = [keys.segment(at, total) for at in range(total)]
    assert segments[0][0] == b"\0\0\0\0"
    assert [high for _, high in segments[:-1]] == [low for low, _ in segments[1:]]
    for partition in partitions:
        place = keys.place({"S": partition})
        assert sum(low <= place < high for low, high in segments) == 1
        assert keys.EVERYTHING[0] <= place < keys.EVERYTHING[1]
