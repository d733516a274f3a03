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
        Set all to 0, what grows in the same cycle included.
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
        clears = Signal()
        m.d.sync += clears.eq(self.clear)
        for name in COUNTED:
            growth = Signal.like(getattr(self, name), name=f"{name}_growth")
            count = Signal(COUNTER_BITS, name=f"{name}_count")
            m.d.sync += [growth.eq(getattr(self, name)), count.eq(count + growth)]
            with m.If(clears):
                m.d.sync += count.eq(0)
            counts.append(count)
        # A count is chosen in two steps, before and behind a register.
        low = 2
        groups = [counts[i : i + (1 << low)] for i in range(0, len(counts), 1 << low)]
        chosen = [Signal(COUNTER_BITS, name=f"chosen_{i}") for i in range(len(groups))]
        high = Signal.like(self.index[low:], name="high")
        m.d.sync += [
            one.eq(Array(group)[self.index[:low]])
            for one, group in zip(chosen, groups, strict=True)
        ]
        m.d.sync += high.eq(self.index[low:])
        m.d.comb += self.count.eq(Array(chosen)[high])
        return m
