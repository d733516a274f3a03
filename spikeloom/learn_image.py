"""The memory beside the learning engines as bytes: of parameters, of a batch, of what a step leaves; and back."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .chip.formats import FP32
from .chip.learn_command import decode_command
from .chip.learn_memory import (
    Bytes,
    MemoryMap,
    operand_words,
    pack_bits,
    pack_weights,
    pack_words,
    unpack_weights,
    unpack_words,
)
from .chip.learn_network import INPUT, Parameters
from .chip.learn_program import LearnProgram, Queue
from .compiler.learn_commands import LearnCommands
from .sim.engines.timeline import Timeline
from .sim.engines.training import StepResult

__all__ = ["Arrays", "MemoryImage"]

Arrays = dict[tuple[str, int], Bytes]  # by name and stage, as `MemoryMap` has them

# The order in which a step writes what the memory holds.
_ORDER = (
    "membranes", "spikes", "masks", "logits", "gradients", "input_gradients", "time_sums", "weight_gradients",
    "momenta", "masters", "weights",
)  # fmt: skip


class MemoryImage:
    """Bytes of the memory's arrays, from values and back."""

    def __init__(self, program: LearnProgram, memory: MemoryMap) -> None:
        self._program, self._network = program, program.network
        self._memory, self._layout = memory, memory.layout
        self._form = program.config.learn.operand_format
        self._width = program.config.learn.vector.width

    def parameters(self, parameters: Parameters) -> Arrays:
        """Return the arrays that hold a network's parameters and the optimiser's state."""
        found: Arrays = {}
        for index in range(len(self._network.stages)):
            weights = parameters.weights[index][0]
            for name, values, form in (
                ("momenta", parameters.weight_momentum[index][0], FP32),
                ("masters", weights, FP32),
                ("weights", weights, self._form),
            ):
                found[name, index] = pack_weights(
                    operand_words(values, form), self._width, self._layout
                )
        return found

    def batch(self, inputs: Bytes, labels: NDArray[np.int64]) -> Arrays:
        """Return the arrays of a batch: the last timestep of each sample first; labels as one of all classes."""
        image, classes = self._network.input, self._network.classes
        rows, columns, channels = image.shape
        frames = inputs[:, ::-1].reshape(-1, rows * columns, channels)
        one_hot = (labels[:, None] == np.arange(classes)).astype(np.uint8)[:, None, :]
        return {
            ("images", INPUT): pack_bits(frames, image.bits, self._layout),
            ("targets", INPUT): pack_bits(one_hot, 1, self._layout),
        }

    def after(self, result: StepResult, parameters: Parameters) -> Arrays:
        """Return what memory must hold after a step, in the order in which it was made."""
        found = self.parameters(parameters) | {
            key: self._pack(key[0], values) for key, values in result.contents.items()
        }
        return dict(sorted(found.items(), key=lambda item: self._place(*item[0])))

    def stored(
        self, commands: LearnCommands, timeline: Timeline, expected: Arrays
    ) -> list[tuple[int, Bytes]]:
        """Return the rows that a step stores, in the order in which they are handed over: numbers and bytes."""
        memory = np.zeros((self._memory.rows, self._layout.row), np.uint8)
        for (name, stage), data in expected.items():
            array = self._memory.of(name, stage)
            memory[array.row : array.row + array.rows] = data.reshape(-1, self._layout.row)
        queues = self._program.column("queue")
        transfers: list[tuple[int, dict[str, int]]] = []
        for queue in (Queue.STORE_BACKWARD, Queue.STORE_UPDATE, Queue.STORE_VECTOR):
            starts = timeline.start[queues == queue].tolist()
            fields = (decode_command(queue, words) for words in commands[queue].tolist())
            transfers += zip(starts, fields, strict=True)
        rows: list[tuple[int, Bytes]] = []
        for _, task in sorted(transfers, key=lambda item: item[0]):
            for n in range(task["segments"]):
                first = task[f"dram_row_{n}"]
                rows += [(row, memory[row]) for row in range(first, first + task[f"rows_{n}"])]
        return rows

    def _place(self, name: str, stage: int) -> tuple[int, int, int]:
        order = _ORDER.index(name)
        if name in ("membranes", "spikes", "masks"):
            return 0, stage, order
        if name == "logits":
            return 1, 0, 0
        if name in ("momenta", "masters", "weights"):
            return 3, stage, order
        return 2, -stage, order

    def _pack(self, name: str, values: NDArray[np.generic]) -> Bytes:
        if name in ("spikes", "masks"):
            return pack_bits(values.astype(np.uint8), 1, self._layout)
        if name == "weight_gradients":
            return pack_weights(
                operand_words(values.astype(np.float32), FP32), self._width, self._layout
            )
        form = FP32 if name == "logits" else self._form
        return pack_words(operand_words(values.astype(np.float32), form), self._layout)

    def first(self, name: str, stage: int, ours: Bytes, its: Bytes) -> tuple[str, str, str]:
        """Return where two contents of an array differ first, and both values."""
        shape = (
            self._network.stages[stage].out_shape
            if stage != INPUT
            else (1, 1, self._network.classes)
        )
        label = "" if stage == INPUT else f" of layer {self._network.stages[stage].name}"
        if name in ("momenta", "masters", "weights", "weight_gradients"):
            of = self._network.stages[stage]
            dtype = np.uint16 if name == "weights" else np.uint32
            places = (of.taps, of.in_channels, of.out_channels)
            a, b = (
                unpack_weights(data, places, dtype, self._width, self._layout)
                for data in (ours, its)
            )
            axes = ("tap", "input channel", "output channel")
        elif name in ("spikes", "masks"):
            a, b = (np.unpackbits(data, axis=1, bitorder="little") for data in (ours, its))
            axes = ("frame", "bit")
        else:
            if name == "input_gradients":
                shape = self._network.stages[stage].in_shape
            dtype = np.uint32 if name == "logits" else np.uint16
            a, b = (
                unpack_words(data, shape[0] * shape[1], shape[2], dtype, self._layout)
                for data in (ours, its)
            )
            axes = ("frame", "position", "channel")
        differs = np.argwhere(a != b)
        if not len(differs):
            return f"padding of {name}{label}", "0", "something else"
        place = tuple(differs[0].tolist())
        where = ", ".join(f"{axis} {at}" for axis, at in zip(axes, place, strict=True))
        count = f"{len(differs):,} of {a.size:,} differ"
        return f"{name}{label}, {where} ({count})", f"{int(a[place]):#x}", f"{int(b[place]):#x}"
