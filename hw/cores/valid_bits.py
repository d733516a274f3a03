"""Valid bits of a ring of slots, kept in a small memory: which words have been written since a slot was emptied."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from ...chip.memory_map import index_bits
from .pick import CHUNK, words_of

__all__ = ["ValidBits"]


class ValidBits(wiring.Component):
    """``slots`` rows of ``size`` bits: look one up and set it, read 16 of them; empty a row, or all, at once.

    The bits stand in a memory in words of 16. Emptying must take one cycle, which no memory can: so a register
    beside each word tells whether it counts, and only these are emptied. A word that counts has a bit that is set.

    Timing
    ------
    A bit that is looked up (``find``) is there in the next cycle, and may be set then; what is set in the cycle of a
    look-up is found. What is set shows to ``see`` and ``row`` in the next cycle. A row is emptied in the cycle after
    ``empty`` or ``clear``, which shows in the one after that, to all; in it must not be looked up in between. ::

        cycle          0    1    2
        find           a    a
        insert              1
        found               0    1

    Parameters
    ----------
    slots, size
        Rows, and bits of each.
    hidden
        So many rows at the end are only looked up: ``see_slot`` and ``row_slot`` cannot name them.

    Members
    -------
    find_slot, find_index : In; found : Out
        Look a bit up.
    insert : In
        Set the bit that was looked up one cycle before.
    see, see_slot, see_word : In; seen : Out
        Read a word; it is there in the next cycle, and stays while ``see`` is 0.
    row_slot : In; row : Out
        Which words of a row have a bit that is set, in the same cycle.
    empty, empty_slot : In
        Empty a row.
    clear : In
        Empty all rows.
    """

    find_slot: Signal
    find_index: Signal
    found: Signal
    insert: Signal
    see: Signal
    see_slot: Signal
    see_word: Signal
    seen: Signal
    row_slot: Signal
    row: Signal
    empty: Signal
    empty_slot: Signal
    clear: Signal

    def __init__(self, slots: int, size: int, *, hidden: int = 0) -> None:
        self._slots, self._words = slots, words_of(size)
        self._shown = slots - hidden
        slot, index = In(index_bits(slots)), In(index_bits(size))
        super().__init__(
            {
                "find_slot": slot, "find_index": index, "found": Out(1), "insert": In(1),
                "see": In(1), "see_slot": In(index_bits(self._shown)), "see_word": In(index_bits(self._words)),
                "seen": Out(CHUNK), "row_slot": In(index_bits(self._shown)), "row": Out(self._words),
                "empty": In(1), "empty_slot": slot, "clear": In(1),
            }
        )  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        """Build the memory, the registers beside it, and the look-ups."""
        m = Module()
        low, high = index_bits(CHUNK), index_bits(self._words)
        m.submodules.words = words = memory.Memory(shape=CHUNK, depth=self._slots << high, init=[])
        counts = [Signal(self._words, name=f"counts_{slot}") for slot in range(self._slots)]

        def word_at(slot: Value, place: Value, rows: list[Signal]) -> tuple[Value, Value]:
            """Return a word, and whether it counts."""
            port = words.read_port(domain="comb")
            m.d.comb += port.addr.eq(Cat(place, slot))
            return port.data, Array(rows)[slot].bit_select(place, 1)

        # The bit that is looked up, and its word.
        place, slot = Signal(high), Signal.like(self.find_slot)
        word, word_counts, bit = Signal(CHUNK), Signal(), Signal(low)
        find_place = Signal(high)
        changed, goes_on = Signal(CHUNK), Signal()  # the bit set; the next look-up is of that word
        m.d.comb += [
            find_place.eq(self.find_index[low:]),
            self.found.eq(word_counts & word.bit_select(bit, 1)),
            changed.eq(Mux(word_counts, word, 0) | (Const(1, CHUNK) << bit)),
            goes_on.eq(self.insert & (Cat(place, slot) == Cat(find_place, self.find_slot))),
        ]
        found_word, found_counts = word_at(self.find_slot, find_place, counts)
        m.d.sync += [
            place.eq(find_place),
            slot.eq(self.find_slot),
            bit.eq(self.find_index[:low]),
            word.eq(Mux(goes_on, changed, found_word)),
            word_counts.eq(goes_on | found_counts),
        ]
        write = words.write_port()
        m.d.comb += [
            write.en.eq(self.insert),
            write.addr.eq(Cat(place, slot)),
            write.data.eq(changed),
        ]
        for index, row in enumerate(counts):
            empties = Signal(name=f"empties_{index}")
            m.d.sync += empties.eq(self.clear | (self.empty & (self.empty_slot == index)))
            with m.If(self.insert & (slot == index)):
                m.d.sync += row.eq(row | (Const(1, self._words) << place)[: self._words])
            with m.If(empties):
                m.d.sync += row.eq(0)

        shown = counts[: self._shown]
        m.d.comb += self.row.eq(Array(shown)[self.row_slot])
        seen, counts_seen = Signal(CHUNK), Signal()
        seen_word, seen_counts = word_at(self.see_slot, self.see_word, shown)
        with m.If(self.see):
            m.d.sync += [seen.eq(seen_word), counts_seen.eq(seen_counts)]
        m.d.comb += self.seen.eq(Mux(counts_seen, seen, 0))
        return m
