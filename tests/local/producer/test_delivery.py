import pytest

from local.producer.delivery import RECORD_BYTES, Batches, Delivery, DeliveryError
from local.producer.injection import Emission, Place
from tests.local.producer.kinesis import Kinesis

NO_PAUSE = {"sleep": lambda _: None}


def emission(number, data=b"x"):
    return Emission(Place(number, number, 0), "record", False, str(number), data, number)


def test_only_what_failed_is_sent_again():
    # A third of each request, by place, in the first three requests.
    kinesis = Kinesis(lambda request, number: request <= 3 and number % 3 == 0)
    delivery = Delivery(kinesis, "vitrine-orders", **NO_PAUSE)
    delivery.put([emission(number) for number in range(90)])
    assert kinesis.requests == [90, 30, 10, 4]
    assert sorted(int(key) for key, _ in kinesis.taken) == list(range(90))
    assert delivery.retried == 44


def test_a_stream_that_never_takes_it_is_named_with_the_reason():
    delivery = Delivery(Kinesis(lambda *_: True), "vitrine-orders", **NO_PAUSE)
    with pytest.raises(DeliveryError, match=r"vitrine-orders did not take 1 records.*slow down.*--rate"):
        delivery.put([emission(1)])


def test_batches_are_as_large_as_a_request_may_be():
    batches = Batches(iter([emission(number) for number in range(1200)]))
    assert [len(batches.take(10_000)) for _ in range(4)] == [500, 500, 200, 0]
    data = b"x" * 1_000_000
    batches = Batches(iter([emission(number, data) for number in range(12)]))
    sizes = [[e.place.number for e in batches.take(500)] for _ in range(4)]
    assert sizes == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [10, 11], []]


def test_a_record_that_no_stream_takes_is_named():
    with pytest.raises(DeliveryError, match="record 3 has 1,048,577 bytes"):
        Batches(iter([emission(3, b"x" * RECORD_BYTES)])).take(1)
