"""The host port's error register, and the answer to STATUS."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ...chip.config import ChipConfig
from ...chip.host_link import ERROR_BITS, IDENTITY, LOADED_BIT, Header, HostLink, HostOp
from .host_layouts import beat_struct

__all__ = ["HostStatus"]


class HostStatus(wiring.Component):
    """Keep each error until a STATUS that clears has reported it.

    Behaviour
    ---------
    docs/host_protocol.md. The error bits are those of the cycle in which the answer's last beat leaves; what is
    raised in that cycle stays, even if the register is cleared.

    Timing
    ------
    A beat a cycle from the cycle on in which ``is_asked`` is high. *Back-pressure*: beats wait; the last one may
    change while it does.

    Reset
    -----
    No errors; the answer's first beat is next.

    Parameters
    ----------
    config : ChipConfig
        Its hash is a constant of the design.

    Members
    -------
    raised : In(ERROR_BITS)
        Errors of this cycle.
    is_loaded, is_busy : In(1)
        What else is reported.
    is_asked : In(1)
        Answer; high until the last beat has left.
    clears : In(1)
        Clear the errors that were reported.
    answer : Out(stream of `beat_struct`)
        The answer.
    """

    raised: Signal
    is_loaded: Signal
    is_busy: Signal
    is_asked: Signal
    clears: Signal
    answer: stream.Interface

    def __init__(self, config: ChipConfig) -> None:
        self.hash = int(config.config_hash, 16)
        super().__init__(
            {
                "raised": In(ERROR_BITS),
                "is_loaded": In(1),
                "is_busy": In(1),
                "is_asked": In(1),
                "clears": In(1),
                "answer": Out(stream.Signature(beat_struct(HostLink(config.many_core)))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the register and the choice of beats."""
        m = Module()
        errors = Signal(ERROR_BITS)
        flags = Cat(self.is_loaded, self.is_busy)
        state = Cat(errors, Const(0, LOADED_BIT - ERROR_BITS), flags)
        beats = [Const(Header(HostOp.STATUS).pack()), Const(IDENTITY), Const(self.hash), state]
        place = Signal(range(len(beats)))
        leaves = Signal()
        m.d.comb += [
            self.answer.valid.eq(self.is_asked),
            self.answer.payload.data.eq(Array(beats)[place]),
            self.answer.payload.last.eq(place == len(beats) - 1),
            leaves.eq(self.answer.valid & self.answer.ready),
        ]
        m.d.sync += errors.eq(errors | self.raised)
        with m.If(leaves):
            m.d.sync += place.eq(Mux(self.answer.payload.last, 0, place + 1))
            with m.If(self.answer.payload.last & self.clears):
                m.d.sync += errors.eq(self.raised)
        return m
