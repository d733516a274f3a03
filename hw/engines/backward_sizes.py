"""Sizes and structures of the backward engine's parts."""

from __future__ import annotations

from amaranth.lib import data

from ...chip.learn_command import BACKWARD_FIELDS
from ...chip.learn_config import LearnConfig

__all__ = ["PART_BITS", "ROW_BITS", "BackwardSizes", "bits_for"]

ROW_BITS = 16  # of a buffer's row
PARTS_OF_A_ROW = 16  # of masks: a row of operands is two words, a row of bits 32
PART_BITS = ROW_BITS + 4  # of the place of two words of mask bits
Q_BITS = 11  # of a padded coordinate over the stride


def bits_for(count: int) -> int:
    """Return the bits of a number below ``count``, at least 1."""
    return max(1, (count - 1).bit_length())


class BackwardSizes:
    """What follows from a configuration.

    Attributes
    ----------
    width, part : int
        Channels of a word; of two words, which are a row of operands.
    rows, lanes, contexts, channels, depth : int
        As in `BackwardConfig`.
    parts, turns : int
        Parts and turns of ``lanes`` that ``channels`` are.
    buffer_rows : int
        Rows of the inputs' buffer, both halves.
    weight_rows : int
        Output words times taps whose weights a half holds.
    task : StructLayout
        Of a command.
    place : StructLayout
        Of a position: its phase of the stride and its coordinates over the stride, padding included; the row of
        gradients under tap 0, the part of the masks, the row of its results.
    write, weights_write, info, word : StructLayout
        A row for a buffer; a beat of weights; a block of words that is announced; a word of weights on its way.
    """

    def __init__(self, config: LearnConfig) -> None:
        engine = config.backward
        self.form = config.operand_format
        self.accumulator = config.accumulator_format
        self.multiplier_stages = config.multiplier_stages
        self.adder_stages = config.adder_stages
        self.width = config.vector.width
        self.part = 2 * self.width
        self.rows, self.lanes, self.contexts = engine.rows, engine.lanes, engine.contexts
        self.channels, self.depth = engine.channels, engine.depth
        self.parts = self.channels // self.part
        self.turns = -(-self.channels // self.lanes)
        self.row_bits = self.part * self.form.bits
        self.buffer_rows = 2 * config.buffers.backward_inputs * 8 // self.row_bits
        weights = self.width * self.channels * self.form.bytes
        self.weight_rows = max(1, config.buffers.backward_weights // weights)
        self.word_bits = self.channels * self.form.bits
        self.context_bits = bits_for(self.contexts)
        self.task = data.StructLayout(dict(BACKWARD_FIELDS))
        self.place = data.StructLayout(
            {
                "valid": 1,
                "phase_y": 4,
                "phase_x": 4,
                "y": Q_BITS,
                "x": Q_BITS,
                "gradient": ROW_BITS,
                "mask": PART_BITS,
                "result": ROW_BITS,
            }
        )
        self.tap = data.StructLayout(
            {"phase_y": 4, "phase_x": 4, "y": 4, "x": 4}
        )  # of an offset in the kernel: its remainder and its quotient by the stride
        self.write = data.StructLayout({"en": 1, "row": ROW_BITS, "data": self.row_bits})
        self.weights_write = data.StructLayout(
            {"en": 1, "half": 1, "outer": 16, "inner": 16, "data": self.row_bits}
        )
        self.info = data.StructLayout(
            {"gradient": ROW_BITS, "parts": range(self.depth // self.part + 1)}
        )
        self.word = data.StructLayout(
            {"en": 1, "half": 1, "index": bits_for(self.depth), "data": self.word_bits}
        )
