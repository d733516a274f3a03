"""The backward engine's weights: banks that transpose them, and the walk over taps that sends them to all rows."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..cores.pipeline import delayed
from ..memory import Ram
from .backward_sizes import ROW_BITS, BackwardSizes, bits_for

__all__ = ["BackwardWords"]

TAP_BITS = 8


class BackwardWords(wiring.Component):
    """Ask for each tap whether a position of the tile lies under it, and send the weights of those, block by block.

    Behaviour
    ---------
    A block is up to ``depth`` words of one tap, a word the weights of all input channels for one output channel. It
    goes to one half of each row's memory, and so waits until all rows are through with the block before the last.

    Weights come with the output channels of a word side by side; each has a bank, and in it a memory for each pair of
    input channels. So a row of a bank is a word to send.

    Timing
    ------
    A cycle a question (``ask``, answered by ``under``), and a cycle a word, without a gap if ``room`` is high. A word
    is at ``word`` two cycles later. Two taps, a block of three words, the first tap has nobody under it::

        cycle      0    1    2    3    4    5    6    7
        begin      1
        ask             1    1
        under           0    1
        room                      1
        announce                  1
        (bank)                    A    B    C
        word.en                             A    B    C
        announced  n    n    n    n   n+1
        sent       n    n    n    n    n    n    n   n+1    # the last word can be read from cycle 8 on
        over                                     1    1

    Reset
    -----
    Idle, ``over``.

    Members
    -------
    task : In(task)
    start, begin : In(1)
        A task starts; a tile does, in the next cycle.
    tap : Out(tap)
        What is asked for, and sent.
    under : In(1)
        Whether a position lies under ``tap``, combinational.
    room : In(1)
        All rows are through with all blocks announced but one.
    announce : Out(1)
        A block begins.
    announced, sent : Out(2)
        Blocks, modulo 4.
    infos : Out(array of info)
        Of the last two blocks announced, by the lowest bit of their number.
    word : Out(word)
    over : Out(1)
        All words of the tile have been read.
    weights : In(weights_write)
    """

    task: data.View[data.StructLayout]
    start: Signal
    begin: Signal
    tap: data.View[data.StructLayout]
    under: Signal
    room: Signal
    announce: Signal
    announced: Signal
    sent: Signal
    infos: data.View[data.ArrayLayout]
    word: data.View[data.StructLayout]
    over: Signal
    weights: data.View[data.StructLayout]

    def __init__(self, sizes: BackwardSizes) -> None:
        self._sizes = sizes
        super().__init__(
            {
                "task": In(sizes.task),
                "start": In(1),
                "begin": In(1),
                "tap": Out(sizes.tap),
                "under": In(1),
                "room": In(1),
                "announce": Out(1),
                "announced": Out(2),
                "sent": Out(2),
                "infos": Out(data.ArrayLayout(sizes.info, 2)),
                "word": Out(sizes.word),
                "over": Out(1),
                "weights": In(sizes.weights_write),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the walk and the banks."""
        m = Module()
        sizes, task = self._sizes, self.task
        asks, sends = Signal(), Signal()
        row_step, taps = Signal(ROW_BITS), Signal(TAP_BITS)
        kernel_y, kernel_x = Signal(4), Signal(4)
        tap, number = self.tap, Signal(TAP_BITS)
        line, offset = Signal(ROW_BITS), Signal(ROW_BITS)  # rows of gradients before the tap's
        pairs = task.out_words[1:]
        with m.If(self.start):
            m.d.sync += [
                row_step.eq(task.out_columns * pairs),
                taps.eq(task.kernel_rows * task.kernel_columns),
            ]

        # The next tap.
        next_line = Signal(ROW_BITS)
        m.d.comb += next_line.eq(Mux(tap.phase_y + 1 == task.stride_rows, line + row_step, line))
        is_last_x = kernel_x + 1 == task.kernel_columns
        is_last = Signal()
        advance = Signal()
        m.d.comb += is_last.eq(is_last_x & (kernel_y + 1 == task.kernel_rows))
        with m.If(advance):
            m.d.sync += [number.eq(number + 1), kernel_x.eq(kernel_x + 1), asks.eq(1), sends.eq(0)]
            self._count(m, tap.phase_x, tap.x, task.stride_columns)
            with m.If(tap.phase_x + 1 == task.stride_columns):
                m.d.sync += offset.eq(offset + pairs)
            with m.If(is_last_x):
                m.d.sync += [
                    kernel_x.eq(0),
                    tap.phase_x.eq(0),
                    tap.x.eq(0),
                    kernel_y.eq(kernel_y + 1),
                    line.eq(next_line),
                    offset.eq(next_line),
                ]
                self._count(m, tap.phase_y, tap.y, task.stride_rows)
            with m.If(is_last):
                m.d.sync += asks.eq(0)

        # Words.
        part, word = sizes.part, Signal(bits_for(sizes.depth))
        left = Signal(12 + bits_for(sizes.width + 1))  # words of the tap, this one too
        bank, address = Signal(bits_for(sizes.width)), Signal(16)
        first_part = Signal(ROW_BITS)
        issue, ends = Signal(), Signal()
        m.d.comb += [
            self.over.eq(~asks & ~sends),
            issue.eq(sends & ((word != 0) | self.room)),
            ends.eq(issue & ((word == sizes.depth - 1) | (left == 1))),
            self.announce.eq(issue & (word == 0)),
            advance.eq((asks & ~self.under) | (issue & (left == 1))),
        ]
        with m.If(asks & self.under):
            m.d.sync += [
                asks.eq(0),
                sends.eq(1),
                word.eq(0),
                left.eq(task.out_words * sizes.width),
                bank.eq(0),
                address.eq(number),
                first_part.eq(0),
            ]
        with m.If(self.announce):
            info = self.infos[self.announced[0]]
            m.d.sync += [
                self.announced.eq(self.announced + 1),
                info.gradient.eq(first_part - offset),
                info.parts.eq(Mux(left > sizes.depth, sizes.depth, left) // part),
                first_part.eq(first_part + sizes.depth // part),
            ]
        with m.If(issue):
            m.d.sync += [word.eq(word + 1), left.eq(left - 1), bank.eq(bank + 1)]
            with m.If(ends):
                m.d.sync += word.eq(0)
            with m.If(bank == sizes.width - 1):
                m.d.sync += [bank.eq(0), address.eq(address + taps)]
        with m.If(delayed(m, ends, 1)):
            m.d.sync += self.sent.eq(self.sent + 1)
        with m.If(self.begin):
            m.d.sync += [
                asks.eq(1),
                number.eq(0),
                kernel_y.eq(0),
                kernel_x.eq(0),
                line.eq(0),
                offset.eq(0),
                tap.eq(0),
            ]

        half = Signal()  # of the rows' memories
        m.d.comb += half.eq(Mux(self.announce, self.announced[0], ~self.announced[0]))
        m.d.comb += [
            self.word.en.eq(delayed(m, issue, 2)),
            self.word.half.eq(delayed(m, half, 2)),
            self.word.index.eq(delayed(m, word, 2)),
            self.word.data.eq(self._banks(m, issue, bank, address)),
        ]
        return m

    def _count(self, m: Module, phase: Value, quotient: Value, stride: Value) -> None:
        """Count up a number that is kept as its remainder and its quotient by the stride."""
        m.d.sync += phase.eq(phase + 1)
        with m.If(phase + 1 == stride):
            m.d.sync += [phase.eq(0), quotient.eq(quotient + 1)]

    def _banks(self, m: Module, issue: Signal, bank: Signal, address: Signal) -> Signal:
        """Build the banks; return the word that was read two cycles ago."""
        sizes, write = self._sizes, self.weights
        bits = sizes.form.bits
        words: list[Value] = []
        for b in range(sizes.width):
            columns: list[Value] = []
            for pair in range(sizes.channels // 2):
                ram = Ram(2 * bits, 2 * sizes.weight_rows)
                m.submodules[f"bank_{b}_{pair}"] = ram
                m.d.comb += [
                    ram.w_en.eq(write.en & (write.inner == pair)),
                    ram.w_addr.eq(write.outer + Mux(write.half, sizes.weight_rows, 0)),
                    ram.w_data.eq(
                        Cat(
                            write.data.word_select(b, bits),
                            write.data.word_select(b + sizes.width, bits),
                        )
                    ),
                    ram.r_en.eq(issue & (bank == b)),
                    ram.r_addr.eq(address + Mux(self.task.weight_half, sizes.weight_rows, 0)),
                ]
                columns.append(ram.r_data)
            words.append(Cat(*columns))
        read, word = delayed(m, bank, 1), Signal(sizes.word_bits)
        m.d.sync += word.eq(Cat(*words).word_select(read, sizes.word_bits))
        return word
