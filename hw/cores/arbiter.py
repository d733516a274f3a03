"""The round-robin arbiter of a router's output."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal
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

    Hardware keeps no turn but what follows from it, a register for each pair of inputs: ``overtakes[a, b]`` says that
    ``b``, though it stands behind ``a``, goes before it, because the turn is at one behind ``a`` and not behind ``b``.
    So each input looks at all others at once, which is two levels of logic; to count from a turn takes more.

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
        self.overtakes = {
            (a, b): Signal(name=f"{b}_overtakes_{a}") for b in range(inputs) for a in range(b)
        }
        super().__init__(
            {"asks": In(inputs), "served": In(1), "restart": In(1), "chosen": Out(inputs)}
        )

    def elaborate(self, platform: object) -> Module:
        """Build the choice of each input, and a register for each pair."""
        m = Module()
        for n in range(self.inputs):
            goes_before = [self.asks[a] & ~self.overtakes[a, n] for a in range(n)]
            goes_before += [self.asks[b] & self.overtakes[n, b] for b in range(n + 1, self.inputs)]
            m.d.comb += self.chosen[n].eq(self.asks[n] & ~Cat(goes_before).any())
        for (a, b), overtakes in self.overtakes.items():
            with m.If(self.restart):
                m.d.sync += overtakes.eq(0)
            with m.Elif(self.served & self.asks.any()):
                m.d.sync += overtakes.eq(self.chosen[a:b].any())
        return m
