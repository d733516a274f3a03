"""Valid bits of a ring of slots, kept in a small memory: which words have been written since a slot was emptied."""

from __future__ import annotations

from amaranth.hdl import Array, Const, Module, Mux, Signal, Value
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from ...chip.memory_map import index_bits
from .pick import CHUNK

__all__ = ["ValidBits"]


class ValidBits(wiring.Component):
    """``slots`` rows of ``size`` bits: set one and look two up a cycle; empty a row, or all, at once.

    The bits stand in a memory in words of 16. Emptying must take one cycle, which no memory can: so a register
    beside each word tells whether it counts, and only these are emptied. `ValidRing` shows whole rows and costs more.

    Timing
    ------
    A bit that is looked up (``find``, ``see``) is there in the next cycle, as it was in this one. What is set or
    emptied in a cycle shows to look-ups in the next. A row must not be emptied while a bit of it is set.

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
    see_slot, see_index : In; seen : Out
        Look another one up.
    empty, empty_slot : In
        Empty a row.
    clear : In
        Empty all rows.
    """

    insert: Signal
    insert_slot: Signal
    insert_index: Signal
    find_slot: Signal
    find_index: Signal
    found: Signal
    see_slot: Signal
    see_index: Signal
    seen: Signal
    empty: Signal
    empty_slot: Signal
    clear: Signal

    def __init__(self, slots: int, size: int) -> None:
        self._slots, self._words = slots, -(-size // CHUNK)
        slot, index = In(index_bits(slots)), In(index_bits(size))
        super().__init__(
            {
                "insert": In(1), "insert_slot": slot, "insert_index": index,
                "find_slot": slot, "find_index": index, "found": Out(1),
                "see_slot": slot, "see_index": index, "seen": Out(1),
                "empty": In(1), "empty_slot": slot, "clear": In(1),
            }
        )  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        """Build the memory, the registers beside it, and the look-ups."""
        m = Module()
        size = self._slots * self._words
        m.submodules.words = words = memory.Memory(shape=CHUNK, depth=size, init=[])
        counts = [Signal(self._words, name=f"counts_{slot}") for slot in range(self._slots)]
        low = index_bits(CHUNK)

        def word_at(slot: Value, index: Value) -> Value:
            """Return the word that holds a bit, 0 if it does not count."""
            place = Signal(range(self._words))
            m.d.comb += place.eq(index[low:])
            port = words.read_port(domain="comb")
            m.d.comb += port.addr.eq(place + slot * self._words)
            counted = Array(counts)[slot].bit_select(place, 1)
            return Mux(counted, port.data, 0)

        write = words.write_port()
        place, bit = Signal(range(self._words)), Signal(CHUNK)
        m.d.comb += [
            place.eq(self.insert_index[low:]),
            bit.eq(Const(1, CHUNK) << self.insert_index[:low]),
            write.en.eq(self.insert),
            write.addr.eq(place + self.insert_slot * self._words),
            write.data.eq(word_at(self.insert_slot, self.insert_index) | bit),
        ]
        for slot, row in enumerate(counts):
            with m.If(self.insert & (self.insert_slot == slot)):
                m.d.sync += row.eq(row | (Const(1, self._words) << place))
            with m.If(self.clear | (self.empty & (self.empty_slot == slot))):
                m.d.sync += row.eq(0)
        for slot, index, result in (
            (self.find_slot, self.find_index, self.found),
            (self.see_slot, self.see_index, self.seen),
        ):
            word, at = Signal(CHUNK), Signal(low)
            m.d.sync += [word.eq(word_at(slot, index)), at.eq(index[:low])]
            m.d.comb += result.eq(word.bit_select(at, 1))
        return m
