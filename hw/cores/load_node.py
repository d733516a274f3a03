"""A tile's node of the load chain: writes the rows that pass for its core, and answers reads."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ...chip.config import ManyCoreConfig
from ...chip.host_link import HostLink, HostOp
from ...chip.memory_map import READABLE, WRITABLE, Memory
from .fifo import Fifo
from .host_layouts import chain_struct, header_struct

__all__ = ["LoadNode"]

SLICE_WORDS = 2  # the least with which a word a cycle passes


class LoadNode(wiring.Component):
    """Pass the words of the load chain on, write those rows that are for this tile, insert the rows that are asked for.

    Behaviour
    ---------
    The chain is a ring: host port, tile 0, tile 1, ..., host port. Tile ``i`` stands at ``(i % columns, i //
    columns)``, which no node knows: each hands a header on with ``hops`` less by one (modulo 4096), and the one that
    finds 0 is meant, or all if ``broadcast``.

    A WRITE's header and data pass, all of them; ``count`` rows of the data, least significant beat first, are written
    in the node meant. A row is written when its last beat passes; the next header ends what is incomplete. A READ's
    header waits in the node meant until ``count`` rows of data have been sent ahead of it. So a READ for all tiles
    brings tile 0's rows first, and its header last. A node adds no other words and takes none away.

    Memories and rows are as the header says: the host port has checked them.

    Timing
    ------
    *Latency*: 1 cycle a node. *Throughput*: a word a cycle; a READ takes 2 cycles and its beats for every row.
    *Back-pressure*: ``chain_in.ready`` comes from a register, so that no path leads around the ring.

    A row of two beats ``a`` and ``b`` (``H`` is the header), and the first row of a read::

        cycle        0    1    2    3    4    5         cycle            0    1    2    3    4    5
        chain_in     H    a    b    -    -    -         chain_in         H    -    -    -    -    -
        chain_out    -    H'   a    b    -    -         r_en             0    1    0    0    0    0
        w_en         0    0    0    0    0    1         r_data           -    -    -    [row ...........
        w_data       -    -    -    -    -    ba        chain_out        -    -    -    a    b    H'

    Reset
    -----
    Nothing in the node, no write or read begun.

    Parameters
    ----------
    config : ManyCoreConfig
        Gives the beats of each memory's rows.

    Members
    -------
    chain_in : In(stream of `chain_struct`), chain_out : Out(stream of `chain_struct`)
        The ring.
    w_en : Out(1), w_memory : Out(3), w_row : Out(24), w_data : Out(widest row that is written)
        Write a row; a pulse per row. Of ``w_data``, only the bits of the memory's row count.
    r_en : Out(1), r_memory : Out(3), r_row : Out(24)
        Read a row; a pulse per row.
    r_data : In(widest row that is read)
        The row, from 2 cycles after ``r_en`` until the next one.

    Not modelled
    ------------
    Loading costs no cycles in the simulator.
    """

    chain_in: stream.Interface
    chain_out: stream.Interface
    w_en: Signal
    w_memory: Signal
    w_row: Signal
    w_data: Signal
    r_en: Signal
    r_memory: Signal
    r_row: Signal
    r_data: Signal

    def __init__(self, config: ManyCoreConfig) -> None:
        self.link = HostLink(config)
        layouts = self.link.memories.layouts
        self.w_bits = max(layouts[memory].bits for memory in WRITABLE)
        self.r_bits = max(layouts[memory].bits for memory in READABLE)
        header = header_struct()
        shape = chain_struct(self.link)
        super().__init__(
            {
                "chain_in": In(stream.Signature(shape)),
                "chain_out": Out(stream.Signature(shape)),
                "w_en": Out(1),
                "w_memory": Out(header["memory"].shape),
                "w_row": Out(header["row"].shape),
                "w_data": Out(self.w_bits),
                "r_en": Out(1),
                "r_memory": Out(header["memory"].shape),
                "r_row": Out(header["row"].shape),
                "r_data": In(self.r_bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the slice, then the way of a word through it, the rows written and the rows read."""
        m = Module()
        shape = chain_struct(self.link)
        # What a word is for this tile is found out as it enters, and stands in two flags behind it.
        m.submodules.slice = words = Fifo(shape.size + 2, SLICE_WORDS, flags=2)
        enters = data.View(shape, self.chain_in.payload.as_value())
        header = data.View(header_struct(), enters.data[: header_struct().size])
        onward, leaves = Signal(header_struct()), Signal(shape)
        is_meant, is_read, is_write = Signal(), Signal(), Signal()
        m.d.comb += [
            onward.eq(header),
            onward.hops.eq(header.hops - 1),
            leaves.eq(enters),
            is_meant.eq(enters.header & (header.broadcast | (header.hops == 0))),
            is_read.eq(is_meant & (header.op == HostOp.READ) & (header.count != 0)),
            is_write.eq(is_meant & (header.op == HostOp.WRITE)),
        ]
        with m.If(enters.header):
            m.d.comb += leaves.data[: header_struct().size].eq(onward)
        m.d.comb += [
            words.i.valid.eq(self.chain_in.valid),
            words.i.payload.eq(Cat(leaves, is_read, is_write)),
            self.chain_in.ready.eq(words.i.ready),
        ]

        word = data.View(shape, words.o.payload[: shape.size])
        is_asked, begins = words.o.payload[shape.size], words.o.payload[shape.size + 1]
        passes = Signal()
        m.d.comb += [
            passes.eq(words.o.valid & words.o.ready),
            self.chain_out.payload.eq(word),
        ]
        self._build_writes(m, word, passes & begins, passes)
        self._build_reads(m, words, word, is_asked)
        return m

    def _build_writes(self, m: Module, word: data.View, begins: Value, passes: Value) -> None:
        """Collect the data that has passed into rows while rows are left to write."""
        bits = self.link.beat_bits
        beat, write_begins, header_passed, data_passed = Signal(bits), Signal(), Signal(), Signal()
        header = data.View(header_struct(), beat[: header_struct().size])
        m.d.sync += [
            beat.eq(word.data),
            write_begins.eq(begins),
            header_passed.eq(passes & word.header),
            data_passed.eq(passes & ~word.header),
        ]
        beats = {memory: self.link.beats_per_row(memory) for memory in WRITABLE}
        places = max(beats.values())
        row = Signal(places * bits)
        place = Signal(range(places))
        rows_left = Signal.like(header.count)
        is_last = Signal()
        next_row = Signal.like(self.w_row)
        m.d.comb += [
            self.w_data.eq(row[: self.w_bits]),
            is_last.eq(place == _last_place(m, self.w_memory, beats)),
        ]
        m.d.sync += self.w_en.eq(0)
        with m.If(header_passed):
            m.d.sync += [rows_left.eq(0), place.eq(0)]
            with m.If(write_begins):
                m.d.sync += [
                    rows_left.eq(header.count),
                    next_row.eq(header.row),
                    self.w_memory.eq(header.memory),
                ]
        with m.Elif(data_passed & (rows_left != 0)):
            m.d.sync += [
                row.word_select(place, bits).eq(beat),
                place.eq(Mux(is_last, 0, place + 1)),
                self.w_en.eq(is_last),
                self.w_row.eq(next_row),
            ]
            with m.If(is_last):
                m.d.sync += [rows_left.eq(rows_left - 1), next_row.eq(next_row + 1)]

    def _build_reads(self, m: Module, words: Fifo, word: data.View, is_asked: Value) -> None:
        """Send the rows that the header in the slice asks for, then the header; pass everything else."""
        bits = self.link.beat_bits
        header = data.View(header_struct(), word.data[: header_struct().size])
        beats = {memory: self.link.beats_per_row(memory) for memory in READABLE}
        places = max(beats.values())
        place = Signal(range(places))
        rows_left = Signal.like(header.count)
        is_last = Signal()
        padded = Signal(places * bits)
        m.d.comb += [
            padded.eq(self.r_data),
            is_last.eq(place == _last_place(m, self.r_memory, beats)),
        ]
        with m.FSM():
            with m.State("Pass"):
                with m.If(is_asked):
                    # The header waits in the slice.
                    m.d.sync += [
                        self.r_memory.eq(header.memory),
                        self.r_row.eq(header.row),
                        rows_left.eq(header.count),
                    ]
                    m.next = "Read"
                with m.Else():
                    m.d.comb += [
                        self.chain_out.valid.eq(words.o.valid),
                        words.o.ready.eq(self.chain_out.ready),
                    ]
            with m.State("Read"):
                m.d.comb += self.r_en.eq(1)
                m.d.sync += [place.eq(0), rows_left.eq(rows_left - 1)]
                m.next = "Wait"
            with m.State("Wait"):
                m.next = "Answer"
            with m.State("Answer"):
                m.d.comb += [
                    self.chain_out.valid.eq(1),
                    self.chain_out.payload.header.eq(0),
                    self.chain_out.payload.data.eq(padded.word_select(place, bits)),
                ]
                with m.If(self.chain_out.ready):
                    m.d.sync += place.eq(place + 1)
                    with m.If(is_last):
                        m.d.sync += self.r_row.eq(self.r_row + 1)
                        m.next = "Read"
                        with m.If(rows_left == 0):
                            m.next = "Header"
            with m.State("Header"):
                m.d.comb += [
                    self.chain_out.valid.eq(words.o.valid),
                    words.o.ready.eq(self.chain_out.ready),
                ]
                with m.If(self.chain_out.ready):
                    m.next = "Pass"


def _last_place(m: Module, memory: Value, beats: dict[Memory, int]) -> Signal:
    """Return the place of the last beat of a row of ``memory``."""
    place = Signal(range(max(beats.values())))
    with m.Switch(memory):
        for each, count in beats.items():
            with m.Case(each):
                m.d.comb += place.eq(count - 1)
    return place
