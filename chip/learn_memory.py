"""How training data lie in the memory beside the learning engines: rows, words of channels, the place of each array.

A *row* is what the channel carries in a cycle and what a buffer holds at an address. Channels are padded to whole
*words*, a frame's array to whole rows, so that frames of a piece follow one another and no row holds two. Padding is 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .formats import FloatFormat
from .learn_config import LearnConfig
from .learn_network import INPUT, LearnNetwork, Recipe, Stage

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

__all__ = [
    "SUM_BYTES", "Array", "Layout", "MemoryMap", "operand_words", "pack_bits", "pack_weights", "pack_words",
    "unpack_weights", "unpack_words",
]  # fmt: skip

SUM_BYTES = (
    4  # sums leave the engines as 32-bit floats; master weights, momenta and logits are such
)


@dataclass(frozen=True)
class Layout:
    """Bytes of arrays: row : bytes of a row; word : channels are padded to a multiple of it; operand : bytes of one."""

    row: int
    word: int
    operand: int

    @classmethod
    def of(cls, config: LearnConfig) -> Layout:
        """Return the layout of a chip's memory."""
        return cls(config.dram.bytes_per_cycle, config.channel_word, config.operand_format.bytes)

    def padded(self, channels: int) -> int:
        """Return so many channels, padded to whole words."""
        return -(-channels // self.word) * self.word

    def whole(self, size: int) -> int:
        """Return so many bytes, padded to whole rows."""
        return -(-size // self.row) * self.row

    def bits(self, positions: int, channels: int, planes: int = 1) -> int:
        """Return the bytes of a frame of spikes, masks or an image's bit planes."""
        return self.whole(-(-positions * self.padded(channels) * planes // 8))

    def operands(self, positions: int, channels: int) -> int:
        """Return the bytes of a frame of membranes or gradients."""
        return self.whole(positions * self.padded(channels) * self.operand)

    def sums(self, positions: int, channels: int) -> int:
        """Return the bytes of a frame of 32-bit floats."""
        return self.whole(positions * self.padded(channels) * SUM_BYTES)

    def weights(self, stage: Stage, channels: int, each: int) -> int:
        """Return the bytes of the weights of so many output channels, ``each`` bytes one."""
        return self.whole(
            stage.taps * self.padded(stage.in_channels) * self.padded(channels) * each
        )


@dataclass(frozen=True)
class Array:
    """An array in memory: its first row, the rows of a frame, and how many frames there are."""

    row: int
    frame_rows: int
    frames: int = 1

    @property
    def rows(self) -> int:
        """Rows of all frames."""
        return self.frames * self.frame_rows


@dataclass(frozen=True)
class MemoryMap:
    """Where everything of a training step stands, in rows; arrays follow one another in the order of `arrays`.

    Frames of arrays that vary over time stand sample by sample, in each the *last* timestep first: the order in which
    the backward pass makes them. Stage arrays have the names ``weights`` (the engines' copy), ``masters``, ``momenta``,
    ``weight_gradients``, ``membranes``, ``spikes``, ``masks``, ``gradients`` (at the stage's sums), ``time_sums`` and
    ``input_gradients``.
    """

    config: LearnConfig
    network: LearnNetwork
    recipe: Recipe
    batch: int

    @cached_property
    def layout(self) -> Layout:
        """Return the chip's layout."""
        return Layout.of(self.config)

    @cached_property
    def arrays(self) -> dict[tuple[str, int], Array]:
        """Return every array by its name and stage (`INPUT` for those of the network)."""
        found, row = {}, 0
        for name, stage, size, frames in self._sizes():
            found[name, stage] = array = Array(row, size // self.layout.row, frames)
            row += array.rows
        return found

    @property
    def rows(self) -> int:
        """Rows of memory that a step needs."""
        return max(array.row + array.rows for array in self.arrays.values())

    def of(self, name: str, stage: int = INPUT) -> Array:
        """Return an array."""
        return self.arrays[name, stage]

    def _sizes(self) -> Iterator[tuple[str, int, int, int]]:
        layout, network, image = self.layout, self.network, self.network.input
        frames = self.batch * self.recipe.timesteps
        images = self.batch if image.constant else frames
        rows, columns, channels = image.shape
        yield "images", INPUT, layout.bits(rows * columns, channels, image.bits), images
        yield "targets", INPUT, layout.bits(1, network.classes), self.batch
        yield "logits", INPUT, layout.sums(1, network.classes), self.batch
        for index, stage in enumerate(network.stages):
            outputs = stage.out_shape[2]
            yield "weights", index, layout.weights(stage, outputs, layout.operand), 1
            for name in ("masters", "momenta", "weight_gradients"):
                yield name, index, layout.weights(stage, outputs, SUM_BYTES), 1
            own = layout.operands(stage.out_positions, outputs)
            if stage.neuron is not None:
                yield "membranes", index, own, frames
                for name in ("spikes", "masks"):
                    yield name, index, layout.bits(stage.out_positions, outputs), frames
            yield "gradients", index, own, frames
            if network.is_constant(stage):
                yield "time_sums", index, own, self.batch
            if INPUT not in stage.sources:
                inputs = layout.operands(stage.in_positions, stage.in_shape[2])
                yield "input_gradients", index, inputs, frames


def pack_bits(values: NDArray[np.integer], planes: int, layout: Layout) -> Bytes:
    """Lay integers (frames, positions, channels) out as bit planes: (frames, bytes of a frame)."""
    frames, positions, channels = values.shape
    padded = np.zeros((frames, planes, positions, layout.padded(channels)), np.uint8)
    for plane in range(planes):
        padded[:, plane, :, :channels] = values >> plane & 1
    return _rows(np.packbits(padded.reshape(frames, -1), axis=1, bitorder="little"), layout)


def pack_words(words: NDArray[np.unsignedinteger], layout: Layout) -> Bytes:
    """Lay words of numbers (frames, positions, channels) out: (frames, bytes of a frame)."""
    frames, positions, channels = words.shape
    padded = np.zeros((frames, positions, layout.padded(channels)), words.dtype.newbyteorder("<"))
    padded[:, :, :channels] = words
    return _rows(padded.reshape(frames, -1).view(np.uint8), layout)


def unpack_words(
    data: Bytes, positions: int, channels: int, dtype: type[np.unsignedinteger], layout: Layout
) -> NDArray[np.unsignedinteger]:
    """Read what `pack_words` laid out: (frames, positions, channels)."""
    used = positions * layout.padded(channels) * np.dtype(dtype).itemsize
    words = np.ascontiguousarray(data[:, :used]).view(np.dtype(dtype).newbyteorder("<"))
    return words.reshape(len(data), positions, -1)[:, :, :channels].astype(dtype)


def operand_words(values: Floats, form: FloatFormat) -> NDArray[np.unsignedinteger]:
    """Return the words that 32-bit floats are rounded to, in a 16- or 32-bit format."""
    if form.name == "fp16":
        with np.errstate(over="ignore"):
            words = values.astype(np.float16).view(np.uint16)
        return np.where(np.isnan(values), form.nan, words).astype(np.uint16)
    words = np.ascontiguousarray(values, np.float32).view(np.uint32)
    if form.name != "bf16":
        return np.where(np.isnan(values), form.nan, words).astype(np.uint32)
    rounded = (words + 0x7FFF + (words >> 16 & 1)) >> 16
    return np.where(np.isnan(values), form.nan, rounded).astype(np.uint16)


def _rows(data: Bytes, layout: Layout) -> Bytes:
    """Pad each frame with 0 to whole rows."""
    missing = layout.whole(data.shape[1]) - data.shape[1]
    return np.pad(data, ((0, 0), (0, missing)))


def pack_weights(words: NDArray[np.unsignedinteger], width: int, layout: Layout) -> Bytes:
    """Lay weights (taps, input channels, output channels) out, output words of ``width`` channels first: (1, bytes)."""
    taps, inputs, outputs = words.shape
    padded = np.zeros(
        (taps, layout.padded(inputs), layout.padded(outputs)), words.dtype.newbyteorder("<")
    )
    padded[:, :inputs, :outputs] = words
    by_word = padded.reshape(taps, padded.shape[1], -1, width).transpose(2, 0, 1, 3)
    return _rows(np.ascontiguousarray(by_word).reshape(1, -1).view(np.uint8), layout)


def unpack_weights(
    data: Bytes, shape: tuple[int, int, int], dtype: type[np.unsignedinteger], width: int, layout: Layout
) -> NDArray[np.unsignedinteger]:  # fmt: skip
    """Read what `pack_weights` laid out: of ``shape`` (taps, input channels, output channels)."""
    taps, inputs, outputs = shape
    count = taps * layout.padded(inputs) * layout.padded(outputs)
    words = np.ascontiguousarray(data).reshape(-1)[: count * np.dtype(dtype).itemsize]
    by_word = words.view(np.dtype(dtype).newbyteorder("<")).reshape(
        -1, taps, layout.padded(inputs), width
    )
    values = by_word.transpose(1, 2, 0, 3).reshape(taps, layout.padded(inputs), -1)
    return np.ascontiguousarray(values[:, :inputs, :outputs]).astype(dtype)
