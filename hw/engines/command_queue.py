"""A command queue: its commands in a memory, the oldest one ahead in a register."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ...chip.learn_command import COMMAND_WORDS, WORD_BITS
from ...chip.learn_timing import FETCH_CYCLES
from ..memory import Ram

__all__ = ["CommandQueue"]


class CommandQueue(wiring.Component):
    """Hold a step's commands of one queue, and offer them one after the other.

    Behaviour
    ---------
    The host fills the memory, a command being `COMMAND_WORDS` words of 32 bits, lowest first. ``begin`` starts at the
    first one; ``take`` drops the command that is offered.

    Timing
    ------
    A command is offered `FETCH_CYCLES` after ``begin`` or ``take``: a word is read a cycle, and shifted in::

        cycle     0    1    2    3   ..   N+1  N+2      N = COMMAND_WORDS
        begin     1    0    0    0        0    0
        address   -    0    1    2        -    -
        data      -    -    w0   w1       wN-1 -
        valid     0    0    0    0        0    1

    Reset
    -----
    No command is offered. The memory keeps what it holds.

    Parameters
    ----------
    depth
        Commands that it can hold.

    Members
    -------
    w_en, w_place, w_data
        In. Write a word; a command's words follow one another.
    count
        In. Commands of the step, stable while it runs.
    begin, take
        In.
    valid, head
        Out. The command offered.
    is_empty
        Out. All commands have been taken.
    """

    w_en: Signal
    w_place: Signal
    w_data: Signal
    count: Signal
    begin: Signal
    take: Signal
    valid: Signal
    head: Signal
    is_empty: Signal

    def __init__(self, depth: int) -> None:
        self._depth = depth
        place_bits = (depth * COMMAND_WORDS - 1).bit_length()
        super().__init__(
            {
                "w_en": In(1),
                "w_place": In(place_bits),
                "w_data": In(WORD_BITS),
                "count": In(range(depth + 1)),
                "begin": In(1),
                "take": In(1),
                "valid": Out(1),
                "head": Out(COMMAND_WORDS * WORD_BITS),
                "is_empty": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the memory, its reader and the shift register."""
        m = Module()
        m.submodules.words = words = Ram(WORD_BITS, self._depth * COMMAND_WORDS)
        place, left = Signal.like(self.w_place), Signal.like(self.count)
        reads, comes = Signal(range(COMMAND_WORDS + 1)), Signal()
        m.d.comb += [
            words.w_en.eq(self.w_en),
            words.w_addr.eq(self.w_place),
            words.w_data.eq(self.w_data),
            words.r_en.eq(reads != 0),
            words.r_addr.eq(place),
            self.is_empty.eq(left == 0),
        ]
        m.d.sync += [comes.eq(reads != 0), self.valid.eq(self.valid & ~self.take)]
        with m.If(reads != 0):
            m.d.sync += [reads.eq(reads - 1), place.eq(place + 1)]
        with m.If(comes):
            m.d.sync += self.head.eq(Cat(self.head[WORD_BITS:], words.r_data))
            with m.If(reads == 0):
                m.d.sync += self.valid.eq(1)
        with m.If(self.take):
            m.d.sync += left.eq(left - 1)
            with m.If(left > 1):
                m.d.sync += reads.eq(COMMAND_WORDS)
        with m.If(self.begin):
            m.d.sync += [
                place.eq(0),
                left.eq(self.count),
                self.valid.eq(0),
                comes.eq(0),
                reads.eq(0),
            ]
            with m.If(self.count != 0):
                m.d.sync += reads.eq(COMMAND_WORDS)
        return m


assert FETCH_CYCLES == COMMAND_WORDS + 2
