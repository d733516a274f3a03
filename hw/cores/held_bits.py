"""Which axons hold a value, and in which of its two versions: the newest, and as it was before a walk."""

from __future__ import annotations

from amaranth.hdl import Const, Module, Mux, Signal, Value
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from ...chip.memory_map import index_bits
from .pick import CHUNK, words_of

__all__ = ["HeldBits"]


class HeldBits(wiring.Component):
    """Two bits an axon: it holds a value that is not 0, and which of two versions of it is the newest.

    A held value may arrive while a walk reads it. So the walk sees bits and versions as they were when it began, and
    what arrives is written to the version that the walk does not read.

    The bits stand in memories in words of 16 axons. All of them would have to be copied when a walk begins, which no
    memory can. So a word is copied when it is written for the first time after that: the walk reads the copy of words
    that have ``changed``, a register a word, and the newest of the others.

    Timing
    ------
    A write shows to the next one, to ``row`` in the next cycle, and while ``walking`` is 0 to ``see``, too. What is
    seen is there in the next cycle, and stays while ``see`` is 0. A cycle at least lies between the last write before a
    walk and the first cycle of ``walking``. ::

        cycle          0    1    2
        write          a
        row                 a          # its word has one
        see                 a
        seen_active              a

    Parameters
    ----------
    size
        Axons.

    Members
    -------
    write, write_index, write_active : In
        A held value is written: whether it is not 0.
    write_version : Out
        Where, in the same cycle: the version that no walk reads.
    walking : In
        What is seen stays as it was before the first cycle of this.
    see, see_word : In; seen_active, seen_version : Out
        Read a word: its axons with a held value, and their versions.
    row : Out
        Which words have an axon with a held value: the newest.
    clear : In
        No axon holds a value.
    """

    write: Signal
    write_index: Signal
    write_active: Signal
    write_version: Signal
    walking: Signal
    see: Signal
    see_word: Signal
    seen_active: Signal
    seen_version: Signal
    row: Signal
    clear: Signal

    def __init__(self, size: int) -> None:
        self._words = words_of(size)
        super().__init__(
            {
                "write": In(1), "write_index": In(index_bits(size)), "write_active": In(1), "write_version": Out(1),
                "walking": In(1), "see": In(1), "see_word": In(index_bits(self._words)), "seen_active": Out(CHUNK),
                "seen_version": Out(CHUNK), "row": Out(self._words), "clear": In(1),
            }
        )  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        """Build the two memories, what is written to them, and what a walk sees."""
        m = Module()
        count, low = self._words, index_bits(CHUNK)
        shape = data.StructLayout({"active": CHUNK, "version": CHUNK})
        m.submodules.newest = newest = memory.Memory(shape=shape, depth=count, init=[])
        m.submodules.before = before = memory.Memory(shape=shape, depth=count, init=[])
        changed, row_before = Signal(count), Signal(count)

        def read(words: memory.Memory, place: Value) -> data.View:
            port = words.read_port(domain="comb")
            m.d.comb += port.addr.eq(place)
            return port.data

        # A write: the newest word changes, and becomes the walk's first if it is the word's first since.
        place, bit, at = Signal(index_bits(count)), Signal(CHUNK), Signal(count)
        m.d.comb += [
            place.eq(self.write_index[low:]),
            bit.eq(Const(1, CHUNK) << self.write_index[:low]),
            at.eq(Mux(self.write, Const(1, count) << place, 0)),
        ]
        word = read(newest, place)
        has_changed = changed.bit_select(place, 1)
        of_walk = Mux(has_changed, read(before, place).version, word.version)
        write_newest, write_before = newest.write_port(), before.write_port()
        others = Signal(CHUNK)  # the other axons of the word that hold a value
        m.d.comb += [
            self.write_version.eq(~(of_walk & bit).any()),
            others.eq(Mux(self.row.bit_select(place, 1), word.active & ~bit, 0)),
            write_newest.en.eq(self.write),
            write_newest.addr.eq(place),
            write_newest.data.active.eq(others | Mux(self.write_active, bit, 0)),
            write_newest.data.version.eq((word.version & ~bit) | (~of_walk & bit)),
            write_before.en.eq(self.write & ~has_changed),
            write_before.addr.eq(place),
            write_before.data.eq(word),
        ]
        m.d.sync += changed.eq(changed | at)
        with m.If(others.any() | self.write_active):
            m.d.sync += self.row.eq(self.row | at)
        with m.Else():
            m.d.sync += self.row.eq(self.row & ~at)

        # Between walks they see the newest.
        with m.If(~self.walking):
            m.d.sync += [changed.eq(0), row_before.eq(self.row)]
        with m.If(self.clear):
            m.d.sync += self.row.eq(0)
        seen = Mux(
            changed.bit_select(self.see_word, 1),
            Value.cast(read(before, self.see_word)),
            Value.cast(read(newest, self.see_word)),
        )
        counts = Mux(self.walking, row_before, self.row).bit_select(self.see_word, 1)
        active, counts_active = Signal(CHUNK), Signal()
        with m.If(self.see):
            m.d.sync += [
                active.eq(shape(seen).active),
                counts_active.eq(counts),
                self.seen_version.eq(shape(seen).version),
            ]
        m.d.comb += self.seen_active.eq(Mux(counts_active, active, 0))
        return m
