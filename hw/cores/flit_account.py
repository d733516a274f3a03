"""How many flits the host has announced for each port, and how many of them are still to come."""

from __future__ import annotations

from amaranth.hdl import Array, Module, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ...chip.host_link import STEP_COUNT_BITS, HostLink
from .host_judge import OWED_BITS

__all__ = ["FlitAccount"]


class FlitAccount(wiring.Component):
    """Collect the numbers of a STEP, and subtract the flits that come from those announced.

    Timing
    ------
    ``owed`` is combinational in ``port``; all else acts with the next cycle.

    Reset
    -----
    Nothing announced, nothing owed.

    Parameters
    ----------
    link : HostLink
        Gives the ports.

    Members
    -------
    announce : In(1), place : In, count : In(beat bits)
        The number of flits for the port ``place``, ports in ascending order.
    counts : Out(array of STEP_COUNT_BITS per port), is_too_many : Out(1)
        The numbers announced last; one of them did not fit.
    book : In(1)
        ``counts`` are owed from now on. Not in one cycle with ``arrives``.
    port : In, owed : Out(OWED_BITS)
        Flits that the port waits for.
    arrives : In(1)
        One for ``port`` has come.
    """

    announce: Signal
    place: Signal
    count: Signal
    counts: data.View[data.ArrayLayout]
    is_too_many: Signal
    book: Signal
    port: Signal
    owed: Signal
    arrives: Signal

    def __init__(self, link: HostLink) -> None:
        self.ports = link.ports
        super().__init__(
            {
                "announce": In(1),
                "place": In(range(self.ports)),
                "count": In(link.beat_bits),
                "counts": Out(data.ArrayLayout(STEP_COUNT_BITS, self.ports)),
                "is_too_many": Out(1),
                "book": In(1),
                "port": In(range(self.ports)),
                "owed": Out(OWED_BITS),
                "arrives": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build two numbers a port."""
        m = Module()
        owed = Array(Signal(OWED_BITS, name=f"owed_{port}") for port in range(self.ports))
        of_port: Value = owed[self.port]
        m.d.comb += self.owed.eq(of_port)
        with m.If(self.announce):
            was_too_many = self.is_too_many & (self.place != 0)
            m.d.sync += [
                self.counts[self.place].eq(self.count),
                self.is_too_many.eq(self.count[STEP_COUNT_BITS:].any() | was_too_many),
            ]
        with m.If(self.book):
            m.d.sync += [
                owed[port].eq(owed[port] + self.counts[port]) for port in range(self.ports)
            ]
        with m.Elif(self.arrives):
            m.d.sync += of_port.eq(of_port - 1)
        return m
