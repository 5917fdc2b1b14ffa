import math
import random

import pytest

from include.streams.encoding import canonical, hash64
from include.streams.sketch import HyperLogLog


def sketch_of(hashes, precision=14):
    sketch = HyperLogLog(precision)
    for hashed in hashes:
        sketch.add(hashed)
    return sketch


@pytest.mark.parametrize("precision", [10, 14])
@pytest.mark.parametrize("n", [1, 100, 3_000, 30_000])
def test_estimates_are_within_the_error_of_the_paper(precision, n):
    # The mean square of 20 independent sketches' errors: 1.04 / sqrt(m), but for the chance of so few.
    errors = []
    for seed in range(20):
        hashes = random.Random(seed * 1_000_003 + n)
        errors.append(sketch_of((hashes.getrandbits(64) for _ in range(n)), precision).estimate() / n - 1)
    root_mean_square = math.sqrt(sum(error * error for error in errors) / len(errors))
    assert root_mean_square <= 1.4 * 1.04 / math.sqrt(1 << precision)
    assert abs(sum(errors) / len(errors)) <= 1.04 / math.sqrt(1 << precision)  # No bias, at no size.


def test_hashes_of_consecutive_numbers_are_as_good_as_random_ones():
    sketch = sketch_of(hash64(canonical(custid)) for custid in range(100_000))
    assert sketch.estimate() == pytest.approx(100_000, rel=0.025)  # Three standard errors.


def test_an_empty_sketch_has_seen_nothing():
    assert HyperLogLog().estimate() == 0


def test_hashes_at_the_ends_have_a_register():
    sketch = sketch_of([0, 2**64 - 1], precision=4)
    assert list(sketch.registers) == [61, *[0] * 14, 1]
    assert sketch.estimate() == 2


def test_full_registers_are_all_hashes_there_are():
    sketch = HyperLogLog(4)
    sketch.registers[:] = bytes([61]) * 16
    assert sketch.estimate() == 2**64


def test_merging_is_the_sketch_of_the_union():
    hashes = [hash64(canonical(n)) for n in range(3_000)]
    left, right = sketch_of(hashes[:2_000]), sketch_of(hashes[1_000:])
    left.merge(right)
    assert left == sketch_of(hashes)
    assert right == sketch_of(hashes[1_000:])


def test_a_dump_loads():
    sketch = sketch_of(hash64(canonical(n)) for n in range(50))
    dumped = sketch.dump()
    assert len(dumped) == 1 + 2**14
    assert dumped[0] == 14
    assert HyperLogLog.load(dumped) == sketch


@pytest.mark.parametrize("dumped", [b"", b"\x0e", HyperLogLog(6).dump()[:-1], HyperLogLog(6).dump() + b"\0"])
def test_a_dump_that_was_cut_off_is_refused(dumped):
    with pytest.raises(ValueError, match="cut off"):
        HyperLogLog.load(dumped)


@pytest.mark.parametrize("precision", [3, 19])
def test_a_precision_out_of_range_is_refused(precision):
    with pytest.raises(ValueError, match="from 4 to 18"):
        HyperLogLog(precision)


def test_different_precisions_do_not_merge():
    with pytest.raises(ValueError, match="precision 5 does not merge into 4"):
        HyperLogLog(4).merge(HyperLogLog(5))
