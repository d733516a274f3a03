"""Selections from wide vectors, cut in two stages, and the lowest bit of a narrow one."""

from __future__ import annotations

from collections.abc import Sequence

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value

from ...chip.memory_map import index_bits

__all__ = ["CHUNK", "chunks_of", "decoded", "encoded", "lowest", "picked", "selected"]

CHUNK = 16  # bits that one stage searches or selects from


def chunks_of(vector: Value) -> list[Value]:
    """Return ``vector`` in pieces of `CHUNK` bits, the last one perhaps shorter."""
    return [vector[i : i + CHUNK] for i in range(0, len(vector), CHUNK)]


def picked(m: Module, vectors: Sequence[Value], which: Value, index: Value) -> Value:
    """Return the bit ``index`` of the vector ``which`` (all of one width) as it is now, one cycle later; 0 beyond it.

    The piece that holds the bit is selected in this cycle, the bit in the next.
    """
    low, high = index[: index_bits(CHUNK)], index[index_bits(CHUNK) :]
    at, piece = Signal(low.shape()), Signal(CHUNK)
    m.d.sync += [
        at.eq(low),
        piece.eq(_chosen([_chosen(chunks_of(v), high) for v in vectors], which)),
    ]
    return piece.bit_select(at, 1)


def _chosen(values: Sequence[Value], index: Value) -> Value:
    return Array(values)[index] if len(values) > 1 else values[0]


def decoded(m: Module, index: Value, count: int, enable: Value) -> Value:
    """Return ``count`` bits of which the one at ``index`` is set, if ``enable`` is and there is one.

    The index is decoded in two halves, whose product costs an FPGA no cell of its own where a register takes it in.
    """
    low, high = Signal(CHUNK), Signal(-(-count // CHUNK))
    m.d.comb += low.eq(1 << index[: index_bits(CHUNK)])
    with m.If(enable):
        m.d.comb += high.eq(1 << index[index_bits(CHUNK) :])
    return Cat(low[i % CHUNK] & high[i // CHUNK] for i in range(count))


def lowest(bits: Value) -> Value:
    """Return ``bits`` without all but the lowest bit that is set."""
    return bits & (~bits + 1)[: len(bits)]


def selected(parts: Sequence[Value], one_hot: Value) -> Value:
    """Return the part that a one-hot word chooses, 0 if none."""
    result: Value = Const(0)
    for i, part in enumerate(parts):
        result = result | Mux(one_hot[i], part, 0)
    return result


def encoded(one_hot: Value, count: int) -> Value:
    """Return the index of the bit that is set among ``count``, 0 if none is."""
    return Cat(
        Cat(one_hot[i] for i in range(count) if (i >> place) & 1).any()
        for place in range(index_bits(count))
    )
