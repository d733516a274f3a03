"""The three engines on whole layers: operands and tables laid out for the kernels, work shared by threads."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...chip.learn_config import LearnConfig
from ...chip.learn_network import Floats, LearnNetwork, Stage
from ..simd import GROUPS, LANES
from . import backward, lookup
from .parallel import Threads
from .rounding import FORM, round_array

Bytes = NDArray[np.uint8]

# Density of gradients from which on skipping zeros takes longer than adding them.
_DENSE = 0.5


class Engines:
    """Forward, backward and update engine of one chip, for the layers of one network.

    Weights and their gradients are (groups, taps, input channels, output channels) float32, rounded to operands. Sums
    of the update are (groups, blocks, columns, LANES), columns being pairs of tap and input channel.
    """

    def __init__(self, config: LearnConfig, network: LearnNetwork, threads: Threads) -> None:
        self._config, self._network, self._threads = config, network, threads
        self._sum_form = FORM[config.accumulators]
        # Products of two 16-bit floats with 5-bit exponents are exact in 32 bits, whatever they are.
        self._exact = config.operands == "fp16" and config.accumulators == "fp32"

    def forward_sums(self, stage: Stage, inputs: Bytes, operands: Floats, frames: int) -> Floats:
        """Run the forward engine on integer inputs (input rows, channels): (frames * positions, channels)."""
        group = self._config.forward.group
        planes, signed = self._network.planes(stage), self._network.is_signed(stage)
        tables = -(-stage.in_channels // group)
        padded = -(-stage.taps * tables // GROUPS) * GROUPS
        out = np.empty((frames * stage.out_positions, stage.out_shape[2]), np.float32)
        packed = np.zeros((planes, len(inputs), tables), np.uint8)
        blocks = -(-stage.out_channels // LANES)
        for g in range(stage.groups):
            channels = inputs[:, g * stage.in_channels : (g + 1) * stage.in_channels]
            for plane in range(planes):
                self._threads.run(
                    len(inputs),
                    lambda a, b, p=plane, c=channels: lookup.pack_groups(
                        c, p, group, packed[p], a, b
                    ),
                )
            filled = np.zeros((stage.taps, tables * group, stage.out_channels), np.float32)
            filled[:, : stage.in_channels] = operands[g]
            arranged = np.zeros((blocks, 1, padded * group, LANES), np.float32)
            _into_blocks(arranged, filled.reshape(1, -1, stage.out_channels))
            arranged = arranged.reshape(blocks, padded, group, LANES)
            self._threads.run(
                len(out),
                lambda a, b, w=arranged, c=g * stage.out_channels: lookup.forward_sums(
                    self._sum_form, group, packed, planes, signed, stage.forward_taps, stage.in_positions, w,
                    out, c, stage.out_channels, a, b,
                ),
            )  # fmt: skip
        return out

    def input_gradients(self, stage: Stage, dx: Floats, operands: Floats) -> Floats:
        """Run the backward engine on gradients (output rows, channels): (input rows, channels), rounded to operands.

        They are the gradients of the stage's real input, after pooling.
        """
        frames = len(dx) // stage.out_positions
        out = np.empty((frames * stage.in_positions, stage.in_shape[2]), np.float32)
        blocks = -(-stage.in_channels // LANES)
        for g in range(stage.groups):
            gradients = np.zeros((len(dx) + 1, stage.out_channels), np.float32)
            gradients[:-1] = dx[:, g * stage.out_channels : (g + 1) * stage.out_channels]
            arranged = np.zeros((blocks, stage.taps, stage.out_channels, LANES), np.float32)
            _into_blocks(arranged, operands[g].transpose(0, 2, 1))
            self._of_group(stage, g, gradients, arranged, out)
        return round_array(out, self._config.operands, self._threads)

    def _of_group(
        self, stage: Stage, g: int, gradients: Floats, weights: Floats, out: Floats
    ) -> None:
        """Work out one group's input gradients, by the kernel that is faster for their density."""
        counts = np.empty((len(gradients), 1), np.int32)
        self._threads.run(
            len(gradients),
            lambda a, b: backward.count_nonzeros(gradients, gradients.shape[1], a, b, counts),
        )
        starts = np.concatenate([[0], np.cumsum(counts[:, 0], dtype=np.int64)])
        form, exact, channel = self._sum_form, self._exact, g * stage.in_channels
        taps, positions = stage.backward_taps, stage.out_positions
        if starts[-1] > _DENSE * gradients.size and np.isfinite(weights).all():
            order = np.concatenate(stage.backward_phases)
            self._threads.run(
                len(out),
                lambda a, b: backward.input_gradients_dense(
                    form, exact, gradients, taps, order, positions, weights, out, channel, stage.in_channels, a, b
                ),
            )  # fmt: skip
            return
        channels, values = np.empty(starts[-1], np.uint16), np.empty(starts[-1], np.float32)
        self._threads.run(
            len(gradients),
            lambda a, b: backward.list_nonzeros(gradients, starts, channels, values, a, b),
        )
        self._threads.run(
            len(out),
            lambda a, b: backward.input_gradients(
                form, exact, starts, channels, values, taps, positions, weights, out, channel,
                stage.in_channels, a, b,
            ),
        )  # fmt: skip

    def new_sums(self, stage: Stage) -> Floats:
        """Return sums of the update that stand at 0."""
        blocks = -(-stage.out_channels // LANES)
        return np.zeros((stage.groups, blocks, stage.taps * stage.in_channels, LANES), np.float32)

    def add_weight_gradients(
        self, stage: Stage, inputs: Bytes, dx: Floats, sums: Floats, samples: int
    ) -> None:
        """Run the update engine on inputs and gradients as above, of ``samples`` samples: add to ``sums``."""
        group = self._config.update.group
        frames = len(dx) // stage.out_positions
        timesteps = frames // samples
        # Samples in order, in each the timesteps as the backward pass makes them.
        order = np.arange(frames).reshape(samples, timesteps)[:, ::-1].reshape(-1).copy()
        positions = frames * stage.out_positions
        padded = -(-positions // (GROUPS * group)) * GROUPS * group
        ordered = dx.reshape(frames, stage.out_positions, -1)[order].reshape(positions, -1)
        planes, signed = self._network.planes(stage), self._network.is_signed(stage)
        for g in range(stage.groups):
            arranged = np.zeros((sums.shape[1], padded, LANES), np.float32)
            for block in range(len(arranged)):
                start = g * stage.out_channels + block * LANES
                width = min(LANES, stage.out_channels - block * LANES)
                arranged[block, :positions, :width] = ordered[:, start : start + width]
            self._threads.run(
                sums.shape[2],
                lambda a, b, d=arranged, s=sums[g], c=g * stage.in_channels: lookup.update_sums(
                    self._sum_form, group, inputs, planes, signed, stage.forward_taps, stage.in_positions, order, d,
                    s, c, stage.in_channels, a, b,
                ),
            )  # fmt: skip

    @staticmethod
    def weights_of(stage: Stage, sums: Floats) -> Floats:
        """Return sums of the update laid out as weights."""
        flat = sums.transpose(0, 2, 1, 3).reshape(stage.groups, stage.taps, stage.in_channels, -1)
        return np.ascontiguousarray(flat[..., : stage.out_channels])


def _into_blocks(target: Floats, source: Floats) -> None:
    """Copy (taps, rows, columns) into (blocks, taps, rows or more, LANES), the last axis in blocks of LANES."""
    rows, columns = source.shape[1:]
    for block in range(len(target)):
        width = min(LANES, columns - block * LANES)
        target[block, :, :rows, :width] = source[:, :, block * LANES : block * LANES + width]
