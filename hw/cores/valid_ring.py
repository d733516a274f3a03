"""Valid bits of a ring of slots: which words of each slot have been written since the slot was emptied."""

from __future__ import annotations

from amaranth.hdl import Array, Const, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ...chip.memory_map import index_bits

__all__ = ["ValidRing"]


class ValidRing(wiring.Component):
    """``slots`` rows of ``size`` bits: set one a cycle, look one up, read a row, empty a row or all of them at once.

    Registers, since rows are emptied in one cycle: a memory could not. An index beyond ``size`` sets nothing.

    Timing
    ------
    Look-ups are combinational; what is set or emptied in a cycle shows in the next. Setting a bit of a row that is
    emptied in the same cycle leaves it empty: users never do both.

    Parameters
    ----------
    slots, size
        Rows, and bits of each.

    Members
    -------
    insert, insert_slot, insert_index : In
        Set a bit.
    find_slot, find_index : In; found : Out
        Look a bit up.
    row_slot : In; row : Out
        Read a row.
    empty_row : In
        Empty the row ``row_slot``.
    clear : In
        Empty all rows.
    """

    insert: Signal
    insert_slot: Signal
    insert_index: Signal
    find_slot: Signal
    find_index: Signal
    found: Signal
    row_slot: Signal
    row: Signal
    empty_row: Signal
    clear: Signal

    def __init__(self, slots: int, size: int) -> None:
        self._slots, self._size = slots, size
        slot, index = index_bits(slots), index_bits(size)
        super().__init__(
            {
                "insert": In(1),
                "insert_slot": In(slot),
                "insert_index": In(index),
                "find_slot": In(slot),
                "find_index": In(index),
                "found": Out(1),
                "row_slot": In(slot),
                "row": Out(size),
                "empty_row": In(1),
                "clear": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the rows, a decoder that they share, and the look-ups."""
        m = Module()
        rows = [Signal(self._size, name=f"row_{slot}") for slot in range(self._slots)]
        mask = Signal(self._size)
        m.d.comb += mask.eq(Const(1, self._size) << self.insert_index)
        for slot, row in enumerate(rows):
            with m.If(self.clear | (self.empty_row & (self.row_slot == slot))):
                m.d.sync += row.eq(0)
            with m.Elif(self.insert & (self.insert_slot == slot)):
                m.d.sync += row.eq(row | mask)
        looked_up = Signal(self._size)
        m.d.comb += [
            looked_up.eq(Array(rows)[self.find_slot]),
            self.found.eq(looked_up.bit_select(self.find_index, 1)),
            self.row.eq(Array(rows)[self.row_slot]),
        ]
        return m
