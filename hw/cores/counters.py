"""Counters of a tile: the events of chip/events.py that its units raise, in the order in which the host reads them."""

from __future__ import annotations

from amaranth.hdl import Array, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ...chip.config import ManyCoreConfig
from ...chip.events import CORE_EVENTS, ROUTER_EVENTS
from ...chip.memory_map import COUNTER_BITS, CoreMemories, index_bits

__all__ = ["COUNTED", "Counters"]

COUNTED = tuple(event.name for event in (*CORE_EVENTS, *ROUTER_EVENTS))
_BY_LANES = ("synops", "multiplies")  # grow by the lanes at work, the others by 1


class Counters(wiring.Component):
    """One register of `COUNTER_BITS` bits an event, which wraps. They count from the loading of the core's registers.

    Members
    -------
    <event> : In
        By how much the event's count grows in this cycle.
    clear : In
        Set all to 0.
    index : In; count : Out
        Which one to read; it stands in the next cycle.
    """

    clear: Signal
    index: Signal
    count: Signal

    def __init__(self, config: ManyCoreConfig) -> None:
        lanes = CoreMemories(config).most_lanes
        super().__init__(
            {name: In(range(lanes + 1)) if name in _BY_LANES else In(1) for name in COUNTED}
            | {"clear": In(1), "index": In(index_bits(len(COUNTED))), "count": Out(COUNTER_BITS)}
        )

    def elaborate(self, platform: object) -> Module:
        """Build the registers; what arrives is registered first, so that no unit's path ends in an adder."""
        m = Module()
        counts = []
        for name in COUNTED:
            growth = Signal.like(getattr(self, name), name=f"{name}_growth")
            count = Signal(COUNTER_BITS, name=f"{name}_count")
            m.d.sync += [growth.eq(getattr(self, name)), count.eq(count + growth)]
            with m.If(self.clear):
                m.d.sync += count.eq(0)
            counts.append(count)
        m.d.sync += self.count.eq(Array(counts)[self.index])
        return m
