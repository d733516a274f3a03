"""A FIFO in block RAM for the host's queues: the RAM's output register is its head."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..memory import Ram

__all__ = ["BlockFifo"]


class BlockFifo(wiring.Component):
    """Hold up to ``depth`` words and hand them out in the order in which they came.

    Behaviour
    ---------
    Like `Fifo`, for depths at which a block RAM is worth its second cycle. The oldest word is fetched as soon as the
    one before it leaves. A word is read at the earliest in the cycle after the one that wrote it, and its place is not
    written again before it has left, so that the RAM never reads and writes one place in one cycle.

    Timing
    ------
    *Latency*: 2 cycles from an accepted word to the same word at the output. *Throughput*: a word a cycle.
    *Back-pressure*: ``o.payload`` holds while ``o.valid`` is high and ``o.ready`` low. ``i.ready``, ``o.valid`` and
    ``level`` come from registers::

        cycle      0    1    2    3    4
        i.valid    A    B    -    -    -
        level      0    1    2    2    1
        o.valid    -    -    A    A    B
        o.ready    0    0    0    1    1

    Reset
    -----
    Empty. The RAM keeps what it holds, which does not matter.

    Parameters
    ----------
    width : int
        Bits of a word.
    depth : int
        Words held at most, the head included.

    Members
    -------
    i : In(stream of width bits), o : Out(stream of width bits)
        Words to hold; the oldest word.
    level : Out(range(depth + 1))
        Words held at the start of the cycle, those on their way to the output included; ``i.ready`` is
        ``level < depth``.

    Raises
    ------
    ValueError
        If ``width`` or ``depth`` is below 1 (`Ram`).
    """

    i: stream.Interface
    o: stream.Interface
    level: Signal

    def __init__(self, width: int, depth: int) -> None:
        self._ram = Ram(width, depth)
        self.depth = depth
        super().__init__(
            {
                "i": In(stream.Signature(width)),
                "o": Out(stream.Signature(width)),
                "level": Out(range(depth + 1)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the RAM, its two places, and the counts of words held and not yet fetched."""
        m = Module()
        m.submodules.ram = ram = self._ram
        w_place = Signal(range(self.depth))
        r_place = Signal(range(self.depth))
        unfetched = Signal.like(self.level)
        has_room = Signal(init=1)

        push = Signal()
        pop = Signal()
        fetch = Signal()
        m.d.comb += [
            push.eq(self.i.valid & has_room),
            pop.eq(self.o.valid & self.o.ready),
            fetch.eq((unfetched != 0) & (pop | ~self.o.valid)),
            self.i.ready.eq(has_room),
            self.o.payload.eq(ram.r_data),
            ram.w_en.eq(push),
            ram.w_addr.eq(w_place),
            ram.w_data.eq(self.i.payload),
            ram.r_en.eq(fetch),
            ram.r_addr.eq(r_place),
        ]
        for moves, place in ((push, w_place), (fetch, r_place)):
            with m.If(moves):
                m.d.sync += place.eq(Mux(place == self.depth - 1, 0, place + 1))
        next_level = _count(m, self.level, up=push, down=pop)
        _count(m, unfetched, up=push, down=fetch)
        m.d.sync += has_room.eq(next_level != self.depth)
        with m.If(fetch | pop):
            m.d.sync += self.o.valid.eq(fetch)
        return m


def _count(m: Module, count: Signal, *, up: Value, down: Value) -> Signal:
    """Let ``count`` rise with ``up`` and fall with ``down``; return its next value."""
    next_count = Signal.like(count)
    m.d.comb += next_count.eq(count + up - down)
    m.d.sync += count.eq(next_count)
    return next_count
