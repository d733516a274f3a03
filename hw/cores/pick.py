"""Words of valid bits, and one-hot words: the lowest bit that is set, its index, what it selects."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Value

from ...chip.memory_map import index_bits

__all__ = ["CHUNK", "at_least", "encoded", "lowest", "words_of"]

CHUNK = 16  # bits of a word: as many as one cycle searches


def words_of(bits: int) -> int:
    """Return how many words of `CHUNK` bits hold ``bits``."""
    return -(-bits // CHUNK)


def lowest(bits: Value) -> Value:
    """Return ``bits`` without all but the lowest bit that is set."""
    return bits & (~bits + 1)[: len(bits)]


def at_least(bits: Value) -> tuple[Value, Value, Value]:
    """Return whether one, two, three of ``bits`` are set at least."""
    if len(bits) == 1:
        return bits[0], Const(0, 1), Const(0, 1)
    half = len(bits) // 2
    (a_1, a_2, a_3), (b_1, b_2, b_3) = at_least(bits[:half]), at_least(bits[half:])
    return a_1 | b_1, a_2 | b_2 | (a_1 & b_1), a_3 | b_3 | (a_1 & b_2) | (a_2 & b_1)


def encoded(one_hot: Value, count: int) -> Value:
    """Return the index of the bit that is set among ``count``, 0 if none is."""
    return Cat(
        Cat(one_hot[i] for i in range(count) if (i >> place) & 1).any()
        for place in range(index_bits(count))
    )
