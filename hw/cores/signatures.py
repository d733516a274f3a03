"""Signature registers: each absorbs every transfer of one unit, with its cycle, so that equality is cheap to check."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ...chip.signature import STATE_BITS, matrix

__all__ = ["Signature"]


class Signature(wiring.Component):
    """Absorb words into a register by the rule of chip/signature.py.

    The rule is linear over bits, so a word is absorbed in one cycle by a network of exclusive ors.

    Timing
    ------
    A word offered in a cycle is absorbed in the next, and read in the one after.

    Parameters
    ----------
    word_bits
        Width of a word.

    Members
    -------
    valid, word : In
        A word to absorb.
    clear : In
        Start of a sample.
    state : Out
        The register.
    """

    valid: Signal
    word: Signal
    clear: Signal
    state: Signal

    def __init__(self, word_bits: int) -> None:
        self._word_bits = word_bits
        super().__init__(
            {
                "valid": In(1),
                "word": In(word_bits),
                "clear": In(1),
                "state": Out(STATE_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the network and the register."""
        m = Module()
        valid, word = Signal(), Signal(self._word_bits)
        m.d.sync += [valid.eq(self.valid), word.eq(self.word)]
        inputs = Cat(self.state, word)
        columns = matrix(self._word_bits)
        absorbed: list[Value] = []
        for bit in range(STATE_BITS):
            taken = [inputs[i] for i, column in enumerate(columns) if (column >> bit) & 1]
            absorbed.append(Cat(taken).xor())
        with m.If(self.clear):
            m.d.sync += self.state.eq(0)
        with m.Elif(valid):
            m.d.sync += self.state.eq(Cat(absorbed))
        return m
