"""What holds of a FIFO: nothing is lost, doubled, changed or overtaken, and the level is right."""

from __future__ import annotations

from amaranth.hdl import Array, Module, Mux, ResetSignal, Signal
from amaranth.hdl._ast import Property
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In

from ..cores.fifo import Fifo
from .claims import always, given, sometimes

__all__ = ["FifoProperties", "level_is_right", "open_ring"]


def open_ring(fifo: Fifo) -> list[Signal]:
    """Add a port for each row of the ring to a FIFO that is not yet elaborated; return what the rows hold."""
    rows = [Signal(fifo.width, name=f"row_{n}") for n in range(fifo.depth if fifo.depth > 1 else 0)]
    closed = fifo.elaborate

    def elaborate(platform: object) -> Module:
        m = closed(platform)
        for n, row in enumerate(rows):
            port = m.submodules.ring.read_port(domain="comb")
            m.d.comb += [port.addr.eq(n), row.eq(port.data)]
        return m

    fifo.elaborate = elaborate
    return rows


def level_is_right(fifo: Fifo) -> list[Property]:
    """Return what ties the registers of a FIFO to its level, so that inductions start from states that make sense."""
    depth = fifo.depth
    claims = [
        always(fifo.level <= depth),
        always(fifo.i.ready == (fifo.level < depth)),
        always(fifo.o.valid == (fifo.level != 0)),
        always(fifo.o.valid | ~fifo.o.payload[fifo.width - fifo.flags :].any()),
    ]
    if depth > 1:
        claims += [
            always(fifo.r_place < depth),
            always(fifo.w_place < depth),
            always(fifo.w_place == (fifo.r_place + fifo.level + depth - 1) % depth),
        ]
    return claims


class FifoProperties(wiring.Component):
    """A FIFO between a free producer and a free consumer, with a word that is watched.

    Behaviour
    ---------
    ``watch`` is free, so the word that it picks stands for any. ``before`` counts the words that were in the FIFO
    before it and have not left. Asserted: the watched word stands at its place behind the head (so that the
    proof is by induction over one step), and when nothing is before it, it is what the output shows. With
    the level equal to words in less words out, it follows that the n-th word out is the n-th word in.

    Parameters
    ----------
    design : type[Fifo]
        The FIFO, or one with a seeded fault.
    width, depth : int
        Its sizes.

    Members
    -------
    i, o : as the FIFO's, seen from outside
    watch : In(1)
        Watch the word that enters now, unless one is watched.
    """

    i: stream.Interface
    o: stream.Interface
    watch: Signal

    def __init__(self, design: type[Fifo], width: int, depth: int) -> None:
        self.fifo = design(width, depth, flags=1)
        self.rows = open_ring(self.fifo)
        words = stream.Signature(width)
        super().__init__({"i": In(words), "o": In(words.flip()), "watch": In(1)})

    def elaborate(self, platform: object) -> Module:
        """Build the watch, then assert and cover."""
        m = Module()
        m.d.comb += given(~ResetSignal())
        fifo, depth = self.fifo, self.fifo.depth
        m.submodules.fifo = fifo
        wiring.connect(m, wiring.flipped(self.i), fifo.i)
        m.d.comb += fifo.o.ready.eq(self.o.ready)

        push = fifo.i.valid & fifo.i.ready
        pop = fifo.o.valid & fifo.o.ready
        word = Signal(fifo.width)
        is_watched = Signal()
        before = Signal(range(depth))
        held = Signal(range(depth + 2))
        m.d.sync += held.eq(held + push - pop)
        with m.If(push & self.watch & ~is_watched):
            m.d.sync += [
                is_watched.eq(1),
                word.eq(fifo.i.payload),
                before.eq(fifo.level - pop),
            ]
        with m.If(pop & is_watched):
            m.d.sync += before.eq(before - 1)
            with m.If(before == 0):
                m.d.sync += is_watched.eq(0)

        m.d.comb += [*level_is_right(fifo), always(fifo.level == held)]
        with m.If(is_watched):
            m.d.comb += always(before < fifo.level)
            with m.If(before == 0):
                m.d.comb += always(fifo.o.payload == word)
        if self.rows:
            place = fifo.r_place + before - 1
            with m.If(is_watched & (before != 0)):
                m.d.comb += always(
                    Array(self.rows)[Mux(place >= depth, place - depth, place)] == word
                )

        delivered = Signal()
        was_full = Signal()
        with m.If(is_watched & pop & (before == 0)):
            m.d.sync += delivered.eq(1)
        with m.If(fifo.level == depth):
            m.d.sync += was_full.eq(1)
        m.d.comb += [
            sometimes(fifo.level == depth),
            sometimes(was_full & (fifo.level == 0)),
            sometimes(is_watched & (before == depth - 1)),
            sometimes(delivered & was_full),
            sometimes(delivered & ~is_watched),
        ]
        return m
