"""Valid bits of a ring of slots, in whole rows: which words of each slot have been written since it was emptied."""

from __future__ import annotations

from amaranth.hdl import Array, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ...chip.memory_map import index_bits
from .pick import decoded, picked

__all__ = ["ValidRing"]


class ValidRing(wiring.Component):
    """``slots`` rows of ``size`` bits: set one and look one up a cycle; read a row; empty a row, or all, at once.

    Registers, since whole rows are read; where none are, `ValidBits` needs less. An index beyond ``size`` sets nothing.

    Timing
    ------
    ``found`` is a bit as it was one cycle before, ``row`` is combinational. What is set or emptied in a cycle shows in
    the next. A row must not be emptied in the cycle in which a bit of it is set.

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
        slot, index = In(index_bits(slots)), In(index_bits(size))
        super().__init__(
            {
                "insert": In(1), "insert_slot": slot, "insert_index": index,
                "find_slot": slot, "find_index": index, "found": Out(1),
                "row_slot": slot, "row": Out(size), "empty_row": In(1), "clear": In(1),
            }
        )  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        """Build the rows, a decoder that they share, and the look-ups."""
        m = Module()
        rows = [Signal(self._size, name=f"row_{slot}") for slot in range(self._slots)]
        for slot, row in enumerate(rows):
            inserts = self.insert & (self.insert_slot == slot)
            m.d.sync += row.eq(row | decoded(m, self.insert_index, self._size, inserts))
            with m.If(self.clear | (self.empty_row & (self.row_slot == slot))):
                m.d.sync += row.eq(0)
        m.d.comb += [
            self.found.eq(picked(m, rows, self.find_slot, self.find_index)),
            self.row.eq(Array(rows)[self.row_slot]),
        ]
        return m
