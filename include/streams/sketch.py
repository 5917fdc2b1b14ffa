"""HyperLogLog: how many distinct values there were, in a fixed number of bytes.

Flajolet, Fusy, Gandouet, Meunier (2007), "HyperLogLog: the analysis of a near-optimal cardinality estimation
algorithm", with the estimator of Ertl (2017), "New cardinality estimation algorithms for HyperLogLog sketches",
algorithm 6, which needs neither tables of empirical bias nor a switch between formulas. The relative standard error is
1.04 / sqrt(2**precision).
"""

import math

_BITS = 64


class HyperLogLog:
    """A sketch of a set of 64-bit hashes. A join-semilattice: merging takes the greater of each pair of registers.

    Attributes:
        precision: p; there are 2**p registers of a byte. 14 makes 16 KiB, and 0.81 % standard error.
        registers: the greatest rank seen by each register, 0 where none was.
    """

    __slots__ = ("precision", "registers")

    def __init__(self, precision: int = 14) -> None:
        if not 4 <= precision <= 18:
            raise ValueError(f"precision is {precision}: give one from 4 to 18")
        self.precision = precision
        self.registers = bytearray(1 << precision)

    def add(self, hashed: int) -> None:
        """Adds a value by its hash, uniform over [0, 2**64).

        The top p bits choose the register; the rank is the place of the first 1 in the others, from 1.
        """
        rest = _BITS - self.precision
        register = hashed >> rest
        rank = rest - (hashed & ((1 << rest) - 1)).bit_length() + 1
        if rank > self.registers[register]:
            self.registers[register] = rank

    def merge(self, other: "HyperLogLog") -> None:
        """Takes in what the other has seen.

        Raises:
            ValueError: the precisions differ.
        """
        if self.precision != other.precision:
            raise ValueError(f"precision {other.precision} does not merge into {self.precision}: use one everywhere")
        self.registers = bytearray(map(max, self.registers, other.registers))

    def estimate(self) -> int:
        """The number of distinct values, rounded; 2**64, all there are, when every register is full."""
        m, rest = len(self.registers), _BITS - self.precision
        counts = [0] * (rest + 2)
        for rank in self.registers:
            counts[rank] += 1
        z = m * _tau(1 - counts[rest + 1] / m)
        for k in range(rest, 0, -1):
            z = (z + counts[k]) / 2
        z += m * _sigma(counts[0] / m)
        return round(m * m / (2 * math.log(2) * z)) if z else 1 << _BITS

    def dump(self) -> bytes:
        """The precision in a byte, then the registers."""
        return bytes([self.precision]) + self.registers

    @classmethod
    def load(cls, dumped: bytes) -> "HyperLogLog":
        """What `dump` gave.

        Raises:
            ValueError: the bytes are none of a sketch.
        """
        sketch = cls(dumped[0]) if dumped else cls()
        if len(dumped) != 1 + len(sketch.registers):
            raise ValueError(f"{len(dumped)} bytes are no sketch of precision {sketch.precision}: they were cut off")
        sketch.registers[:] = dumped[1:]
        return sketch

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HyperLogLog) and self.registers == other.registers

    __hash__ = None  # type: ignore[assignment]  # It changes.


def _sigma(x: float) -> float:
    """Ertl's equation 13: x + Σ x^(2^k) 2^(k-1), k = 1, 2, …; infinite at 1, where no register was hit."""
    if x == 1:
        return math.inf
    y, z = 1.0, x
    while True:
        x *= x
        before, z, y = z, z + x * y, 2 * y
        if z == before:
            return z


def _tau(x: float) -> float:
    """Ertl's equation 16: (1 - x - Σ (1 - x^(2^-k))² 2^-k) / 3, k = 1, 2, …."""
    if x in (0, 1):
        return 0.0
    y, z = 1.0, 1 - x
    while True:
        x = math.sqrt(x)
        y /= 2
        before, z = z, z - (1 - x) ** 2 * y
        if z == before:
            return z / 3
