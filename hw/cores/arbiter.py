"""The round-robin arbiter of a router's output."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Arbiter"]


class Arbiter(wiring.Component):
    """Choose one of the asking inputs of an output, in turn.

    Behaviour
    ---------
    As the loop over outputs in ``router_decide`` of ``sim/cores/router.py``: the asking input that comes first at or
    after the turn is chosen; once it is served, the turn goes to the input behind it. Inputs that may not ask for this
    output have no place here, which changes nothing: they would be passed over.

    The turn is a thermometer: bit ``n`` of ``at_or_after`` says that input ``n`` is at or after the turn. No bit set
    stands for the first input's turn, since then no input is preferred to those before it.

    Timing
    ------
    ``chosen`` follows ``asks`` within the cycle and does not look at ``served``. An input that goes on asking is
    chosen at the latest when every other one has been served once::

        cycle      0    1    2    3    4
        asks       ab   ab   ab   b    ab
        served     1    0    1    1    1
        chosen     a    b    b    b    a      # cycle 1: not served, the turn stays at b

    Reset
    -----
    The first input's turn; so does ``restart``.

    Parameters
    ----------
    inputs : int
        Inputs that may ask, 2 or more.

    Members
    -------
    asks : In(inputs)
        Bit ``n``: input ``n`` asks.
    served : In(1)
        What is chosen in this cycle is served in it. Counts only while an input asks.
    restart : In(1)
        Back to the first input's turn; goes before ``served``.
    chosen : Out(inputs)
        One-hot, or 0 if no input asks.
    """

    asks: Signal
    served: Signal
    restart: Signal
    chosen: Signal

    def __init__(self, inputs: int) -> None:
        self.inputs = inputs
        self.at_or_after = Signal(inputs)  # thermometer
        super().__init__(
            {"asks": In(inputs), "served": In(1), "restart": In(1), "chosen": Out(inputs)}
        )

    def elaborate(self, platform: object) -> Module:
        """Build two priority chains, one over the inputs at or after the turn, and the turn."""
        m = Module()
        preferred = Signal(self.inputs)
        m.d.comb += [
            preferred.eq(self.asks & self.at_or_after),
            self.chosen.eq(Mux(preferred.any(), _first(preferred), _first(self.asks))),
        ]
        behind_chosen = Cat(self.chosen[:n].any() for n in range(self.inputs))
        with m.If(self.restart):
            m.d.sync += self.at_or_after.eq(0)
        with m.Elif(self.served & self.asks.any()):
            m.d.sync += self.at_or_after.eq(behind_chosen)
        return m


def _first(asks: Value) -> Value:
    """Return one-hot the lowest bit that is set."""
    return Cat(asks[n] & ~asks[:n].any() for n in range(len(asks)))
