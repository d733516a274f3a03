"""A FIFO in block RAM for the host's queues."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..memory import Ram
from .fifo import Fifo

__all__ = ["BlockFifo"]

OUT_WORDS = (
    3  # the least with which a word a cycle leaves: one there, one on its way, one for a stall
)


class BlockFifo(wiring.Component):
    """Hold up to ``depth`` words and hand them out in the order in which they came.

    Behaviour
    ---------
    Like `Fifo`, for depths at which a block RAM is worth its cycles. Words leave the RAM through a small `Fifo`,
    since its output is slow on an FPGA and no place for logic. A word is fetched as soon as it has a place there,
    counting the one that is on its way; so no path leads from ``o.ready`` to the RAM. A word is fetched at the
    earliest in the cycle after the one that wrote it, and its place is not written again before it has left: the RAM
    never reads and writes one place in one cycle.

    Timing
    ------
    *Latency*: 3 cycles from an accepted word to the same word at the output. *Throughput*: a word a cycle, for depths
    from 4 on. *Back-pressure*: ``o.payload`` holds while ``o.valid`` is high and ``o.ready`` low. All outputs come from
    registers::

        cycle      0    1    2    3    4    5
        i.valid    A    B    -    -    -    -
        level      0    1    2    2    2    1
        o.valid    -    -    -    A    A    B
        o.ready    0    0    0    0    1    1

    Reset
    -----
    Empty. The RAM keeps what it holds, which does not matter.

    Parameters
    ----------
    width : int
        Bits of a word.
    depth : int
        Words held at most.

    Members
    -------
    i : In(stream of width bits), o : Out(stream of width bits)
        Words to hold; the oldest word.
    level : Out(range(depth + 1))
        Words held at the start of the cycle, those on their way to the output included; ``i.ready`` is
        ``level < depth``.
    has_word : Out
        ``level != 0``.

    Raises
    ------
    ValueError
        If ``width`` or ``depth`` is below 1 (`Ram`).
    """

    i: stream.Interface
    o: stream.Interface
    level: Signal
    has_word: Signal

    def __init__(self, width: int, depth: int) -> None:
        self._ram = Ram(width, depth)
        self.depth = depth
        super().__init__(
            {
                "i": In(stream.Signature(width)),
                "o": Out(stream.Signature(width)),
                "level": Out(range(depth + 1)),
                "has_word": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the RAM and its two places, the FIFO behind it, and the counts of words held and not yet fetched."""
        m = Module()
        m.submodules.ram = ram = self._ram
        m.submodules.out = out = Fifo(len(self.o.payload), OUT_WORDS)
        w_place = Signal(range(self.depth))
        r_place = Signal(range(self.depth))
        unfetched = Signal.like(self.level)
        is_coming = Signal()  # a word leaves the RAM in this cycle
        has_room = Signal(init=1)

        push = Signal()
        pop = Signal()
        fetch = Signal()
        m.d.comb += [
            push.eq(self.i.valid & has_room),
            pop.eq(self.o.valid & self.o.ready),
            fetch.eq((unfetched != 0) & (out.level + is_coming < OUT_WORDS)),
            self.i.ready.eq(has_room),
            ram.w_en.eq(push),
            ram.w_addr.eq(w_place),
            ram.w_data.eq(self.i.payload),
            ram.r_en.eq(fetch),
            ram.r_addr.eq(r_place),
            out.i.valid.eq(is_coming),
            out.i.payload.eq(ram.r_data),
            self.o.valid.eq(out.o.valid),
            self.o.payload.eq(out.o.payload),
            out.o.ready.eq(self.o.ready),
        ]
        m.d.sync += [
            is_coming.eq(fetch),
            self.has_word.eq(push | (self.level > 1) | (self.has_word & ~pop)),
            has_room.eq(
                pop | (self.level < self.depth - 1) | ((self.level == self.depth - 1) & ~push)
            ),
        ]
        for moves, place in ((push, w_place), (fetch, r_place)):
            with m.If(moves):
                m.d.sync += place.eq(Mux(place == self.depth - 1, 0, place + 1))
        for count, rises, falls in ((self.level, push, pop), (unfetched, push, fetch)):
            with m.If(rises & ~falls):
                m.d.sync += count.eq(count + 1)
            with m.Elif(falls & ~rises):
                m.d.sync += count.eq(count - 1)
        return m
