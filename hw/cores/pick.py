"""Words of valid bits, and one-hot words: the lowest bit that is set, its index, what it selects."""

from __future__ import annotations

from amaranth.hdl import Cat, Value

from ...chip.memory_map import index_bits

__all__ = ["CHUNK", "encoded", "lowest", "words_of"]

CHUNK = 16  # bits of a word: as many as one cycle searches


def words_of(bits: int) -> int:
    """Return how many words of `CHUNK` bits hold ``bits``."""
    return -(-bits // CHUNK)


def lowest(bits: Value) -> Value:
    """Return ``bits`` without all but the lowest bit that is set."""
    return bits & (~bits + 1)[: len(bits)]


def encoded(one_hot: Value, count: int) -> Value:
    """Return the index of the bit that is set among ``count``, 0 if none is."""
    return Cat(
        Cat(one_hot[i] for i in range(count) if (i >> place) & 1).any()
        for place in range(index_bits(count))
    )
