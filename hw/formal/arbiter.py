"""What holds of an arbiter: it chooses as the simulator does, one at a time, and nobody waits longer than a round."""

from __future__ import annotations

from collections.abc import Sequence

from amaranth.hdl import Const, Module, ResetSignal, Signal, Value
from amaranth.hdl._ast import Property
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from ..cores.arbiter import Arbiter
from .claims import always, given, sometimes

__all__ = ["ArbiterProperties", "at_most_one", "order_is_right"]

PORTS = 5


def at_most_one(bits: Value) -> Value:
    """Return whether at most one bit is set."""
    return (bits & (bits - 1)) == 0


def order_is_right(arbiter: Arbiter) -> list[Property]:
    """Return what makes the pairs of an arbiter one order, so that inductions start from states that make sense.

    That order follows from some turn: those at or after it overtake the first input, and all that it is not yet at.
    """
    overtakes = arbiter.overtakes
    at_or_after = [Const(0), *(overtakes[0, b] for b in range(1, arbiter.inputs))]
    claims = [
        always(pair == (at_or_after[b] & ~at_or_after[a])) for (a, b), pair in overtakes.items()
    ]
    claims += [always(at_or_after[b] | ~at_or_after[b - 1]) for b in range(1, arbiter.inputs)]
    return claims


class ArbiterProperties(wiring.Component):
    """An arbiter whose inputs ask and are served at will, beside the simulator's turn.

    Behaviour
    ---------
    ``turn`` counts through all five ports as in ``router_decide`` of ``sim/cores/router.py``. Asserted:

    - what is chosen is what the simulator chooses; at most one, an asking one, and one if any asks;
    - while an input goes on asking, others are served ``inputs - 1`` times at most.

    The second is inductive with what it rests on: those before the input in turn, and those served before it, are
    together no more than the others.

    Parameters
    ----------
    design : type[Arbiter]
        The arbiter, or one with a seeded fault.
    places : Sequence[int]
        Where its inputs stand among the five ports of a router, ascending.

    Members
    -------
    asks, served, restart : as the arbiter's
    """

    asks: Signal
    served: Signal
    restart: Signal

    def __init__(self, design: type[Arbiter], places: Sequence[int]) -> None:
        self.places = places
        self.arbiter = design(len(places))
        super().__init__({"asks": In(len(places)), "served": In(1), "restart": In(1)})

    def elaborate(self, platform: object) -> Module:
        """Build the simulator's turn and a count for each input, then assert and cover."""
        m = Module()
        m.d.comb += given(~ResetSignal())
        m.submodules.arbiter = arbiter = self.arbiter
        inputs = range(len(self.places))
        chosen = arbiter.chosen
        m.d.comb += [
            arbiter.asks.eq(self.asks),
            arbiter.served.eq(self.served),
            arbiter.restart.eq(self.restart),
            *order_is_right(arbiter),
            always(at_most_one(chosen)),
            always((chosen & ~self.asks) == 0),
            always(chosen.any() == self.asks.any()),
        ]

        turn = Signal(range(PORTS))
        expected = Signal(len(self.places))
        others_served = [Signal(range(len(self.places) + 1), name=f"passed_{n}") for n in inputs]
        m.d.comb += [always(turn < PORTS), always(chosen == expected)]
        with m.Switch(turn):
            for t in range(PORTS):
                with m.Case(t):
                    self._claims_of_turn(m, t, expected, others_served)
        for n in inputs:
            with m.If(expected[n] & self.served):
                m.d.sync += turn.eq((self.places[n] + 1) % PORTS)
            with m.If(~self.asks[n] | (chosen[n] & self.served) | self.restart):
                m.d.sync += others_served[n].eq(0)
            with m.Elif(self.served):
                m.d.sync += others_served[n].eq(others_served[n] + 1)
            m.d.comb += [
                always(others_served[n] < len(self.places)),
                sometimes(others_served[n] == len(self.places) - 1),
            ]
        with m.If(self.restart):
            m.d.sync += turn.eq(0)
        return m

    def _claims_of_turn(
        self, m: Module, turn: int, expected: Signal, others_served: list[Signal]
    ) -> None:
        """Add what holds while the simulator's turn is ``turn``."""
        places = self.places
        order = sorted(range(len(places)), key=lambda n: (places[n] - turn) % PORTS)
        for position, n in enumerate(order):
            asks_before = [self.asks[other] for other in order[:position]]
            is_first: Value = self.asks[n]
            for asks in asks_before:
                is_first = is_first & ~asks
            m.d.comb += [
                expected[n].eq(is_first),
                always(others_served[n] + position < len(places)),
            ]
        m.d.comb += [
            always(overtakes == (places[a] < turn <= places[b]))
            for (a, b), overtakes in self.arbiter.overtakes.items()
        ]
