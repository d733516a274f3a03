"""A FIFO whose head is a register: what enters in one cycle can leave in the next."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Fifo"]


class Fifo(wiring.Component):
    """Hold up to ``depth`` words and hand them out in the order in which they came.

    Behaviour
    ---------
    As ``fifo_push`` and ``fifo_pop`` of ``sim/cores/router.py``. Room is counted at the start of a cycle: a full FIFO
    that gives a word in a cycle takes none in the same cycle. So with depth 1 a stream moves every other cycle.

    Hardware holds the oldest word in a register (the head). Behind it stands a ring of ``depth`` words, a memory with
    an asynchronous read port: LUT RAM on an FPGA. Each word takes a place of the ring, even one that goes to the head
    at once, so that ``w_place`` moves with each word that enters, and ``r_place``, which is one behind the head's
    place, with each that leaves. The head loads from the ring if a word waits there, else from the input. No place is
    read for the head in the cycle in which it is written: then no word waits. Depth 1 has no ring.

    Timing
    ------
    *Latency*: 1 cycle from an accepted word to the same word at the output, if no other is before it. *Throughput*: a
    word a cycle for depths from 2 on. *Back-pressure*: ``o.payload`` holds while ``o.valid`` is high and ``o.ready``
    low. ``i.ready``, ``o.valid``, ``o.payload`` and ``level`` are registers: no path leads through the FIFO within a
    cycle.

    Depth 2, with a consumer that waits::

        cycle      0    1    2    3    4    5
        i.valid    A    B    C    C    C    -
        i.ready    1    1    0    0    1    1     # cycle 3: A leaves, but level was 2 at its start
        level      0    1    2    2    1    1
        o.valid    -    A    A    A    B    C
        o.ready    0    0    0    1    1    1

    Reset
    -----
    Empty: ``level`` 0, ``o.valid`` 0, ``i.ready`` 1, flags 0. Head and ring hold 0, and what else they hold does not
    matter.

    Parameters
    ----------
    width : int
        Bits of a word.
    depth : int
        Words held at most, 1 or more; need not be a power of two.
    flags : int
        So many upper bits of ``o.payload`` are 0 while ``o.valid`` is 0. Who looks at them only need not look at
        ``o.valid``.

    Members
    -------
    i : In(stream of width bits)
        Words to hold.
    o : Out(stream of width bits)
        The oldest word.
    level : Out(range(depth + 1))
        Words held at the start of the cycle; ``i.ready`` is ``level < depth``, ``o.valid`` is ``level != 0``.

    Raises
    ------
    ValueError
        If ``width`` or ``depth`` is below 1.
    """

    i: stream.Interface
    o: stream.Interface
    level: Signal

    def __init__(self, width: int, depth: int, *, flags: int = 0) -> None:
        for name, value in (("width", width), ("depth", depth)):
            if value < 1:
                raise ValueError(f"{name} of a FIFO must be at least 1, not {value}")
        self.width = width
        self.depth = depth
        self.flags = flags
        self.w_place = Signal(range(depth))
        self.r_place = Signal(range(depth), init=1 % depth)
        super().__init__(
            {
                "i": In(stream.Signature(width)),
                "o": Out(stream.Signature(width)),
                "level": Out(range(depth + 1)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the head, its ring and the three registers that describe how full they are."""
        m = Module()
        level = self.level
        # Registers beside the level, so that neighbours need not compare it first.
        has_room = Signal(init=1)
        has_word = Signal()

        push = Signal()
        pop = Signal()
        head_loads = Signal()
        m.d.comb += [
            push.eq(self.i.valid & has_room),
            pop.eq(has_word & self.o.ready),
            head_loads.eq(~has_word | pop),
            self.i.ready.eq(has_room),
            self.o.valid.eq(has_word),
        ]

        head = Signal(self.width)
        data_bits = self.width - self.flags
        oldest: Value = Cat(self.i.payload[:data_bits], Mux(push, self.i.payload[data_bits:], 0))
        if self.depth > 1:
            ring_has_word = Signal()
            m.d.comb += ring_has_word.eq(level > 1)
            from_ring = self._build_ring(m, push, pop)
            oldest = Mux(ring_has_word, from_ring, oldest)
        m.d.comb += self.o.payload.eq(head)
        with m.If(head_loads):
            m.d.sync += head.eq(oldest)

        with m.If(push & ~pop):
            m.d.sync += level.eq(level + 1)
        with m.Elif(pop & ~push):
            m.d.sync += level.eq(level - 1)
        m.d.sync += [
            has_room.eq(pop | (level < self.depth - 1) | ((level == self.depth - 1) & ~push)),
            has_word.eq(push | (level > 1) | (has_word & ~pop)),
        ]
        return m

    def _build_ring(self, m: Module, push: Value, pop: Value) -> Value:
        """Add the memory behind the head and its places; return the word behind the head's."""
        m.submodules.ring = ring = memory.Memory(shape=self.width, depth=self.depth, init=[])
        w_port = ring.write_port()
        r_port = ring.read_port(domain="comb")
        m.d.comb += [
            w_port.en.eq(push),
            w_port.addr.eq(self.w_place),
            w_port.data.eq(self.i.payload),
            r_port.addr.eq(self.r_place),
        ]
        for moves, place in ((push, self.w_place), (pop, self.r_place)):
            with m.If(moves):
                m.d.sync += place.eq(Mux(place == self.depth - 1, 0, place + 1))
        return r_port.data
