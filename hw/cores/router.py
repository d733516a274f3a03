"""The router of a mesh's place: input FIFOs, X-then-Y routing, round-robin per output, one hop a cycle."""

from __future__ import annotations

from collections.abc import Sequence

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ...chip.config import ManyCoreConfig
from ...chip.events import PORTS
from ...chip.packet import FlitLayout
from .arbiter import Arbiter
from .fifo import Fifo
from .layouts import flit_struct

__all__ = ["INPUTS", "TURNS", "Decoder", "Router"]

# Input -> outputs that its flits may ask for. X comes before Y and nothing turns back, so a flit that came in the Y
# direction goes on or leaves. Both are in the order of PORTS.
TURNS: dict[str, tuple[str, ...]] = {
    "local": ("local", "north", "east", "south", "west"),
    "north": ("local", "south"),
    "east": ("local", "north", "south", "west"),
    "south": ("local", "north"),
    "west": ("local", "north", "east", "south"),
}

# Output -> inputs that may ask for it.
INPUTS = {output: [port for port in PORTS if output in TURNS[port]] for output in PORTS}


class Decoder(wiring.Component):
    """Find the output that an arriving flit asks for, and count down its distance for the hop that it will make.

    Behaviour
    ---------
    As ``router_output`` of ``sim/cores/router.py``, on relative distances: X first, then Y, then the core. East of here
    ``dx`` is above 0, south of here ``dy`` is. A flit from the north or the south has no X distance left, and none
    turns back, so each input compares only what can differ.

    A distance that points back where the flit came from cannot arise in the mesh, only in what a faulty host sends to
    the west input. Such a flit goes on east and leaves the mesh at its edge.

    Timing
    ------
    Combinational.

    Parameters
    ----------
    layout : FlitLayout
        Widths of a flit.
    port : str
        The input, one of ``PORTS``.

    Members
    -------
    arrives : In(flit)
        The flit as it comes in.
    leaves : Out(flit)
        The flit as it will go out: ``dx`` or ``dy`` one nearer to 0 if it goes on.
    asks : Out(len(TURNS[port]))
        One-hot: the output, among ``TURNS[port]``.
    """

    arrives: data.View[data.StructLayout]
    leaves: data.View[data.StructLayout]
    asks: Signal

    def __init__(self, layout: FlitLayout, port: str) -> None:
        self.port = port
        flit = flit_struct(layout)
        super().__init__({"arrives": In(flit), "leaves": Out(flit), "asks": Out(len(TURNS[port]))})

    def elaborate(self, platform: object) -> Module:
        """Build the comparisons of this input."""
        m = Module()
        dx, dy = self.arrives.dx, self.arrives.dy
        goes_x: Value = Const(0) if self.port in ("north", "south") else dx != 0
        goes_y: Value = ~goes_x & (dy != 0)
        # What comes in one direction goes on in it; otherwise the sign tells.
        is_east: Value = Const(self.port == "west") if self.port in ("east", "west") else dx > 0
        is_south: Value = Const(self.port == "north") if self.port in ("north", "south") else dy > 0
        asks = {
            "local": ~goes_x & ~goes_y,
            "north": goes_y & ~is_south,
            "east": goes_x & is_east,
            "south": goes_y & is_south,
            "west": goes_x & ~is_east,
        }
        m.d.comb += [
            self.asks.eq(Cat(asks[output] for output in TURNS[self.port])),
            self.leaves.eq(self.arrives),
            self.leaves.dx.eq(_count_down(dx, goes_x, is_east)),
            self.leaves.dy.eq(_count_down(dy, goes_y, is_south)),
        ]
        return m


class Router(wiring.Component):
    """Pass each flit on towards its core, one hop a cycle.

    Behaviour
    ---------
    As ``router_decide`` of ``sim/cores/router.py``; docs/blocks/router.md has the rule and why the network cannot
    deadlock. In each cycle, from the registers at its start, each output takes, among the inputs whose first flit asks
    for it, the one that comes first at or after its turn, if what is behind the output is ready. Outputs do not
    compete: a flit asks for one of them. Only the 17 turns in ``TURNS`` exist.

    Hardware decodes a flit and counts down its distance as it *enters* (``Decoder``), and keeps the flit as it will
    leave beside the output that it asks for, one-hot. So the way from a FIFO's head to the next FIFO is an arbiter, the
    crossbar and a decoder. A router does not know where it stands.

    Timing
    ------
    *Latency*: 1 cycle from an accepted flit to the same flit at its output, plus the cycles in which it waits: for the
    flits before it in its FIFO, for its turn (each other input is served at most once before it), and for ``ready``.
    *Throughput*: a flit a cycle through each output; with FIFOs of depth 1 one every other cycle from each input.
    *Back-pressure*: an input's ``ready`` is a register, the ``level < fifo_depth`` of its FIFO.

    Four flits to the core here, whose turn stands at ``local``::

        cycle          0    1    2    3    4    5
        south_in       a    b    -    -    -    -
        west_in        c    d    -    -    -    -
        south level    0    1    1    1    0    0
        west level     0    1    2    1    1    0
        local_out      -    a    c    b    d    -     # behind the south comes the west, behind the west local

    *Links are not streams in full.* ``valid`` waits for no ``ready``, and once high stays high until a flit is taken.
    But while ``ready`` is low the payload may change: an input that begins to ask later, and comes earlier in turn,
    takes the place of the one shown. The simulator decides in the cycle of the transfer, and so does this. A consumer
    must look at the payload only in a cycle with ``valid`` and ``ready``.

    Reset
    -----
    FIFOs empty, each turn at the first input. ``sample`` restores the turns; the FIFOs are empty at that time anyway.

    Parameters
    ----------
    config : ManyCoreConfig
        ``network.fifo_depth`` is the depth of each of the five FIFOs; the widths of a flit follow from the rest.

    Members
    -------
    local_in, north_in, east_in, south_in, west_in : In(stream of unsigned(FlitLayout.bits))
        From the sender and from the neighbours; ``north_in`` comes from the router to the north.
    local_out, north_out, east_out, south_out, west_out : Out(stream of unsigned(FlitLayout.bits))
        To the core and to the neighbours, distance counted down. Their ``ready`` must come from registers.
    sample : In(1)
        A sample starts from rest: the turns go back.
    empty : Out(1)
        All five FIFOs were empty at the start of the cycle.

    Events
    ------
    ``hops_<port>``: a cycle with ``valid`` and ``ready`` of that output.
    """

    local_in: stream.Interface
    north_in: stream.Interface
    east_in: stream.Interface
    south_in: stream.Interface
    west_in: stream.Interface
    local_out: stream.Interface
    north_out: stream.Interface
    east_out: stream.Interface
    south_out: stream.Interface
    west_out: stream.Interface
    sample: Signal
    empty: Signal

    def __init__(self, config: ManyCoreConfig) -> None:
        self.layout = FlitLayout.of(config)
        self.fifos = {
            port: Fifo(
                self.layout.bits + len(outputs), config.network.fifo_depth, flags=len(outputs)
            )
            for port, outputs in TURNS.items()
        }
        self.arbiters = {output: Arbiter(len(inputs)) for output, inputs in INPUTS.items()}
        flits = stream.Signature(unsigned(self.layout.bits))
        super().__init__(
            {f"{port}_in": In(flits) for port in PORTS}
            | {f"{port}_out": Out(flits) for port in PORTS}
            | {"sample": In(1), "empty": Out(1)}
        )

    def elaborate(self, platform: object) -> Module:
        """Build the inputs, then an arbiter and a multiplexer per output."""
        m = Module()
        bits = self.layout.bits
        leaves: dict[str, Value] = {}  # by input: its first flit
        asks: dict[tuple[str, str], Value] = {}  # by input and output
        taken: dict[tuple[str, str], Value] = {}

        for port in PORTS:
            m.submodules[f"{port}_decoder"] = decoder = Decoder(self.layout, port)
            m.submodules[f"{port}_fifo"] = fifo = self.fifos[port]
            arrives = self.link(port, "in")
            m.d.comb += [
                decoder.arrives.eq(arrives.payload),
                fifo.i.payload.eq(Cat(decoder.leaves, decoder.asks)),
                fifo.i.valid.eq(arrives.valid),
                arrives.ready.eq(fifo.i.ready),
            ]
            leaves[port] = fifo.o.payload[:bits]
            for n, output in enumerate(TURNS[port]):
                asks[port, output] = fifo.o.payload[bits + n]  # a flag: 0 without a flit

        for output in PORTS:
            inputs = INPUTS[output]
            m.submodules[f"{output}_arbiter"] = arbiter = self.arbiters[output]
            link = self.link(output, "out")
            m.d.comb += [
                arbiter.asks.eq(Cat(asks[port, output] for port in inputs)),
                arbiter.served.eq(link.ready),
                arbiter.restart.eq(self.sample),
                link.valid.eq(arbiter.asks.any()),
                link.payload.eq(_any_of(arbiter.chosen, [leaves[port] for port in inputs])),
            ]
            for n, port in enumerate(inputs):
                taken[port, output] = arbiter.chosen[n] & link.ready

        for port in PORTS:
            m.d.comb += self.fifos[port].o.ready.eq(
                Cat(taken[port, output] for output in TURNS[port]).any()
            )
        m.d.comb += self.empty.eq(~Cat(fifo.o.valid for fifo in self.fifos.values()).any())
        return m

    def link(self, port: str, way: str) -> stream.Interface:
        """Return the stream of a port, for example of ``("north", "in")``."""
        return getattr(self, f"{port}_{way}")


def _count_down(distance: Value, goes: Value, is_positive: Value) -> Value:
    """Return ``distance`` one nearer to 0 if ``goes``.

    A bit flips if those below it are all 0, or all 1 where it counts up. So few bits are faster without the carry chain
    that an adder becomes, and this is in the longest path of a mesh.
    """
    bits = distance.as_unsigned()
    ends = Mux(is_positive, bits, ~bits)
    return bits ^ Cat(goes & ~ends[:n].any() for n in range(len(bits)))


def _any_of(chosen: Value, words: Sequence[Value]) -> Value:
    """Return the word whose bit of one-hot ``chosen`` is set, 0 if none is."""
    result: Value = Const(0, len(words[0]))
    for n, word in enumerate(words):
        result = result | Mux(chosen[n], word, 0)
    return result
