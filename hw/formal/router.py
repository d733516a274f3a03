"""What holds of a router: flits go one way each, as the rule says, and none is lost or made."""

from __future__ import annotations

from collections.abc import Iterable

from amaranth.hdl import Const, Module, ResetSignal, Signal, Value
from amaranth.hdl._ast import Property
from amaranth.lib import stream, wiring
from amaranth.lib.data import View
from amaranth.lib.wiring import In

from ...chip.config import ManyCoreConfig
from ...chip.events import PORTS
from ..cores.layouts import flit_struct
from ..cores.router import TURNS, Router
from .arbiter import at_most_one, order_is_right
from .claims import always, given, sometimes
from .fifo import level_is_right, open_ring

__all__ = ["RouterProperties"]


class RouterProperties(wiring.Component):
    """A router whose neighbours send any flit that could come from there, and take at will.

    Behaviour
    ---------
    Asserted, in every cycle:

    - each flit that leaves an input leaves by the one output that it asks for, and is there what the input shows;
      as many flits leave inputs as leave by outputs (so an output takes one at most, and only what asks);
    - an output is valid if a first flit asks for it, and only then;
    - flits in, less flits out, is what the FIFOs hold; ``empty`` says whether that is none;
    - a flit that enters asks for the output of the rule X, then Y, then core, and is one step nearer there.

    What a FIFO keeps of its words is proved of the FIFO, whom an output serves of the arbiter.

    Parameters
    ----------
    design : type[Router]
        The router, or one with a seeded fault.
    config : ManyCoreConfig
        Narrow flits make short proofs.

    Members
    -------
    <port>_in, <port>_out, sample : as the router's, seen from outside
    """

    sample: Signal

    def __init__(self, design: type[Router], config: ManyCoreConfig) -> None:
        self.router = router = design(config)
        self.rows = {port: open_ring(fifo) for port, fifo in router.fifos.items()}
        flits = stream.Signature(router.layout.bits)
        super().__init__(
            {f"{port}_in": In(flits) for port in PORTS}
            | {f"{port}_out": In(flits.flip()) for port in PORTS}
            | {"sample": In(1)}
        )

    def elaborate(self, platform: object) -> Module:
        """Assert and cover what the class says."""
        m = Module()
        m.submodules.router = router = self.router
        m.d.comb += [given(~ResetSignal()), router.sample.eq(self.sample)]
        for port in PORTS:
            wiring.connect(m, wiring.flipped(getattr(self, f"{port}_in")), router.link(port, "in"))
            m.d.comb += router.link(port, "out").ready.eq(getattr(self, f"{port}_out").ready)
            self._claims_of_entry(m, port)
            self._claims_of_fifo(m, port)

        for arbiter in router.arbiters.values():
            m.d.comb += order_is_right(arbiter)
        bits, depth = router.layout.bits, router.fifos["local"].depth
        outs = {port: router.link(port, "out") for port in PORTS}
        asked: dict[str, Value] = dict.fromkeys(PORTS, Const(0))
        for port, fifo in router.fifos.items():
            asks = fifo.o.payload[bits:]
            pop = fifo.o.valid & fifo.o.ready
            for n, output in enumerate(TURNS[port]):
                out = outs[output]
                asked[output] = asked[output] | (fifo.o.valid & asks[n])
                with m.If(pop & asks[n]):
                    m.d.comb += [
                        always(out.valid & out.ready),
                        always(out.payload == fifo.o.payload[:bits]),
                    ]
                m.d.comb += sometimes(pop & asks[n])

        entered = _count(
            router.link(port, "in").valid & router.link(port, "in").ready for port in PORTS
        )
        popped = _count(fifo.o.valid & fifo.o.ready for fifo in router.fifos.values())
        left = _count(out.valid & out.ready for out in outs.values())
        levels = _count(fifo.level for fifo in router.fifos.values())
        held = Signal(range(5 * depth + 6))
        m.d.sync += held.eq(held + entered - left)
        m.d.comb += [
            always(popped == left),
            always(held == levels),
            always(router.empty == (levels == 0)),
            *(always(outs[output].valid == asked[output]) for output in PORTS),
        ]

        was_full = Signal()
        with m.If(levels == 5 * depth):
            m.d.sync += was_full.eq(1)
        m.d.comb += [sometimes(was_full & router.empty), sometimes(left == 5)]
        return m

    def _claims_of_entry(self, m: Module, port: str) -> None:
        """Assume that a flit at input ``port`` can have come there; assert what the FIFO gets of it."""
        router = self.router
        flit = flit_struct(router.layout)
        entry, kept = router.link(port, "in"), router.fifos[port].i
        arrives = View(flit, entry.payload)
        leaves = View(flit, kept.payload[: router.layout.bits])
        dx, dy = arrives.dx, arrives.dy
        can_come = {
            "local": Const(1),
            "north": (dx == 0) & (dy >= 0),
            "east": dx <= 0,
            "south": (dx == 0) & (dy <= 0),
            "west": dx >= 0,
        }
        rule = {
            "east": (dx > 0, (-1, 0)),
            "west": (dx < 0, (1, 0)),
            "south": ((dx == 0) & (dy > 0), (0, -1)),
            "north": ((dx == 0) & (dy < 0), (0, 1)),
            "local": ((dx == 0) & (dy == 0), (0, 0)),
        }
        with m.If(entry.valid):
            m.d.comb += given(can_come[port])
            for output, (asks, (step_x, step_y)) in rule.items():
                if output not in TURNS[port]:
                    m.d.comb += always(~asks)
                    continue
                with m.If(asks):
                    m.d.comb += [
                        always(
                            kept.payload[router.layout.bits :] == 1 << TURNS[port].index(output)
                        ),
                        always(leaves.dx == dx + step_x),
                        always(leaves.dy == dy + step_y),
                        always(leaves.kind == arrives.kind),
                        always(leaves.target == arrives.target),
                        always(leaves.delay == arrives.delay),
                        always(leaves.payload == arrives.payload),
                    ]

    def _claims_of_fifo(self, m: Module, port: str) -> None:
        """Assert that each word of a FIFO asks for one output: what the rest rests on."""
        fifo, rows, bits = self.router.fifos[port], self.rows[port], self.router.layout.bits
        m.d.comb += level_is_right(fifo)
        with m.If(fifo.level != 0):
            m.d.comb += _asks_for_one(fifo.o.payload[bits:])
        for n, row in enumerate(rows):
            behind_head = Signal(range(2 * len(rows)), name=f"{port}_behind_{n}")
            m.d.comb += behind_head.eq((n + len(rows) - fifo.r_place) % len(rows))
            with m.If(behind_head + 1 < fifo.level):
                m.d.comb += _asks_for_one(row[bits:])


def _asks_for_one(asks: Value) -> list[Property]:
    return [always(asks.any()), always(at_most_one(asks))]


def _count(values: Iterable[Value]) -> Value:
    total: Value = Const(0)
    for value in values:
        total = total + value
    return total
