"""A training step as the RTL is told it: the words of every queue's commands, with buffers' rows and DRAM's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..chip.learn_carried import check_carried, check_carried_network
from ..chip.learn_command import COMMAND_WORDS, COMMANDS, encode_command
from ..chip.learn_memory import Array, MemoryMap
from ..chip.learn_network import INPUT, LearnError, Stage
from ..chip.learn_program import FIELD, LearnProgram, Operation, Queue

__all__ = ["LearnCommands", "learn_commands"]

LearnCommands = dict[Queue, NDArray[np.uint32]]
Segment = tuple[int, int, int]  # the first row in DRAM, rows, rows of an output word and tap


def learn_commands(
    program: LearnProgram, *, loss_scale: float | None = None, learning_rate: float | None = None
) -> LearnCommands:
    """Encode a program for the RTL: (commands, words) of every queue.

    Parameters
    ----------
    program : LearnProgram
        Of whole layers and whole samples: buffers must hold them.
    loss_scale, learning_rate : float, optional
        As they stand; the recipe's by default.

    Raises
    ------
    ConfigError, LearnError
        If the RTL does not carry the chip, the network or a task.
    """
    encoder = _Encoder(
        program,
        program.recipe.loss_scale if loss_scale is None else loss_scale,
        program.recipe.learning_rate if learning_rate is None else learning_rate,
    )
    found: dict[Queue, list[tuple[int, ...]]] = {queue: [] for queue in Queue}
    for index in range(len(program.tasks)):
        queue, words = encoder.command(index)
        found[queue].append(words)
    for queue, words in found.items():
        if len(words) > COMMANDS:
            raise LearnError(
                f"queue {queue.name.lower()} would hold {len(words)} commands, and the RTL's hold {COMMANDS}; take "
                f"fewer layers or larger buffers"
            )
    return {
        queue: np.array(words, np.uint32).reshape(-1, COMMAND_WORDS)
        for queue, words in found.items()
    }


class _Encoder:
    def __init__(self, program: LearnProgram, loss_scale: float, learning_rate: float) -> None:
        self._config = check_carried(program.config)
        check_carried_network(self._config, program.network, program.recipe)
        self._program, self._network, self._recipe = program, program.network, program.recipe
        self._loss_scale, self._rate = loss_scale, learning_rate
        self._map = MemoryMap(self._config, program.network, program.recipe, program.batch)
        if self._map.rows > self._config.dram.rows:
            raise LearnError(
                f"a step needs {self._map.rows} rows of memory, and the chip's has {self._config.dram.rows}; take a "
                f"smaller batch or raise dram.size_mib"
            )
        self._row = self._config.dram.bytes_per_cycle
        self._width = self._config.vector.width
        sizes = self._config.buffers.sizes
        self._numbers = {name: number for number, name in enumerate(sizes)}
        self._names = tuple(sizes)
        # The half of each buffer that was filled last.
        self._half = dict.fromkeys(sizes, 0)
        self._summed = 0  # the first frame that the forward engine's last task has summed
        self._vector_tasks = np.flatnonzero(program.column("queue") == Queue.VECTOR)
        self._check_whole()

    def command(self, index: int) -> tuple[Queue, tuple[int, ...]]:
        """Return a task's queue and its command; tasks must be asked for in their order."""
        program = self._program
        queue_number, operation, stage_index, _, first, frames, _, channels, size = program.tasks[
            index
        ].tolist()
        queue, operation = Queue(queue_number), Operation(operation)
        number, half = program.places[index].tolist()
        self._half[self._names[number]] = half
        if operation == Operation.TRANSFER:
            segments = self._segments(index, queue, self._names[number], stage_index, first, frames)
            rows = sum(segment[1] for segment in segments)
            if rows * self._row != size:
                raise AssertionError(f"task {index}: {rows} rows are not {size} bytes")
            values = self._transfer(number, half, segments)
        elif queue in (Queue.FORWARD, Queue.UPDATE):
            if queue == Queue.FORWARD:
                self._summed = first
            values = self._lookup(stage_index, frames, is_update=queue == Queue.UPDATE)
        elif queue == Queue.BACKWARD:
            values = self._backward(stage_index, frames)
        else:
            values = self._vector(operation, stage_index, first, frames, channels)
        waits = dict(zip(Queue, program.waits[index].tolist(), strict=True))
        return queue, encode_command(queue, operation, waits, values)

    def _check_whole(self) -> None:
        """Check that engines take all channels, and whole samples, at once; LearnError if not."""
        for row in self._program.tasks.tolist():
            _, operation, index, _, first, frames, channel, channels, _ = row
            if operation == Operation.TRANSFER:
                continue
            stage = self._network.stages[index]
            side = stage.in_shape if operation == Operation.INPUT_GRADIENTS else stage.out_shape
            steps = self._recipe.timesteps
            sums = (Operation.FORWARD_SUMS, Operation.WEIGHT_GRADIENTS)
            if operation in sums and self._network.is_constant(stage):
                steps = 1
            if operation == Operation.OPTIMISE:  # frames says in how many pieces
                first, frames, steps = frames - 1, 0, frames
            is_continued = operation == Operation.WEIGHT_GRADIENTS and first > 0
            is_cut = first % steps or frames % steps or (channel, channels) != (0, side[2])
            if is_cut or is_continued:
                raise LearnError(
                    f"layer {stage.name} is cut to fit the buffers, and the RTL carries whole layers; choose a chip "
                    f"with larger buffers or a smaller batch"
                )

    # ----------------------------------------------------------------------------------------------------- transfers

    def _segments(
        self, index: int, queue: Queue, buffer: str, stage_index: int, first: int, frames: int
    ) -> list[Segment]:
        """Return which rows of DRAM a transfer moves, array by array."""
        of = self._map.of
        stage = self._network.stages[stage_index]
        source = stage.sources[0]
        inputs = of("images") if source == INPUT else of("spikes", source)
        gradients = "time_sums" if self._network.is_constant(stage) else "gradients"
        if buffer == "forward_weights":
            return [_whole(of("weights", stage_index))]
        if buffer == "backward_weights":
            pairs = self._words(stage.in_channels) * self._width // 2
            return [_whole(of("weights", stage_index), pairs)]
        if buffer in ("forward_inputs", "update_inputs"):
            return [_frames(inputs, first, frames)]
        if buffer == "backward_inputs":
            return [
                _frames(of("gradients", stage_index), first, frames),
                _frames(of("masks", source), first, frames),
            ]
        if buffer == "update_gradients":
            return [_frames(of(gradients, stage_index), first, frames)]
        if buffer == "backward_results":
            return [_frames(of("input_gradients", stage_index), first, frames)]
        if buffer == "update_results":
            return [_whole(of("weight_gradients", stage_index))]
        return self._vector_segments(index, queue, stage_index, first, frames)

    def _vector_segments(
        self, index: int, queue: Queue, stage_index: int, first: int, frames: int
    ) -> list[Segment]:
        """Return what the vector unit's next task reads, or its last one made."""
        of, steps = self._map.of, self._recipe.timesteps
        place = int(np.searchsorted(self._vector_tasks, index))
        user = self._vector_tasks[place if queue == Queue.LOAD_VECTOR else place - 1]
        operation = Operation(self._program.tasks[user, FIELD["operation"]])
        arrays: dict[tuple[Operation, bool], Sequence[str]] = {
            (Operation.NEURONS, False): ("membranes", "spikes", "masks"),
            (Operation.NEURON_GRADIENTS, True): ("membranes",),
            (Operation.NEURON_GRADIENTS, False): ("gradients",),
            (Operation.TIME_SUMS, True): ("gradients",),
            (Operation.OPTIMISE, True): ("masters", "momenta", "weight_gradients"),
            (Operation.OPTIMISE, False): ("masters", "momenta", "weights"),
        }
        is_load = queue == Queue.LOAD_VECTOR
        samples = (first // steps, frames // steps)
        if operation == Operation.READOUT:
            if is_load:
                return [_frames(of("targets"), *samples)]
            return [
                _frames(of("gradients", stage_index), first, frames),
                _frames(of("logits"), *samples),
            ]
        if operation == Operation.TIME_SUMS and not is_load:
            return [_frames(of("time_sums", stage_index), *samples)]
        found = [of(name, stage_index) for name in arrays[operation, is_load]]
        if operation == Operation.OPTIMISE:
            return [_whole(array) for array in found]
        if operation == Operation.NEURON_GRADIENTS and is_load:
            ((user_index, _),) = self._network.consumers(stage_index)
            found.insert(0, of("input_gradients", user_index))
        return [_frames(array, first, frames) for array in found]

    def _transfer(self, number: int, half: int, segments: list[Segment]) -> dict[str, int]:
        values = {"buffer": number, "segments": len(segments)}
        row = self._base(self._names[number], half)
        for n, (dram_row, rows, inner) in enumerate(segments):
            values |= {
                f"dram_row_{n}": dram_row,
                f"buffer_row_{n}": row,
                f"rows_{n}": rows,
                f"inner_{n}": inner,
            }
            # Masks have a memory of their own.
            row += rows if self._names[number] != "backward_inputs" else 0
        return values

    def _base(self, buffer: str, half: int | None = None) -> int:
        """Return the first row of a half of a buffer, of the one filled last by default."""
        rows = self._config.buffers.sizes[buffer] // self._row
        return (self._half[buffer] if half is None else half) * rows

    def _words(self, channels: int) -> int:
        return self._map.layout.padded(channels) // self._width

    # ------------------------------------------------------------------------------------------------------- engines

    def _geometry(self, stage: Stage, frames: int) -> dict[str, int]:
        return {
            "frames": frames,
            "in_rows": stage.in_shape[0], "in_columns": stage.in_shape[1],
            "out_rows": stage.out_shape[0], "out_columns": stage.out_shape[1],
            "kernel_rows": stage.kernel[0], "kernel_columns": stage.kernel[1],
            "stride_rows": stage.stride[0], "stride_columns": stage.stride[1],
            "pad_rows": stage.padding[0], "pad_columns": stage.padding[1],
            "in_words": self._words(stage.in_shape[2]), "out_words": self._words(stage.out_shape[2]),
        }  # fmt: skip

    def _lookup(self, index: int, frames: int, *, is_update: bool) -> dict[str, int]:
        network, stage = self._network, self._network.stages[index]
        source = stage.sources[0]
        inputs = self._map.of("images") if source == INPUT else self._map.of("spikes", source)
        engine = "update" if is_update else "forward"
        gradients = self._map.of("gradients", index)
        return {
            **self._geometry(stage, frames),
            "planes": network.planes(stage),
            "signed": int(network.is_signed(stage)),
            "plane_words": stage.in_positions * self._words(stage.in_shape[2]),
            "input_row": self._base(f"{engine}_inputs"),
            "input_frame_rows": inputs.frame_rows,
            "operand_row": self._base("update_gradients" if is_update else "forward_weights"),
            "operand_frame_rows": gradients.frame_rows if is_update else 0,
            "result_row": self._base(f"{engine}_results"),
        }

    def _backward(self, index: int, frames: int) -> dict[str, int]:
        stage, of = self._network.stages[index], self._map.of
        inputs = self._base("backward_inputs")
        return {
            **self._geometry(stage, frames),
            "weight_half": self._half["backward_weights"],
            "gradient_row": inputs,
            "gradient_frame_rows": of("gradients", index).frame_rows,
            "mask_row": inputs,
            "mask_frame_rows": of("masks", stage.sources[0]).frame_rows,
            "result_row": self._base("backward_results"),
            "result_frame_rows": of("input_gradients", index).frame_rows,
        }

    def _vector(
        self, operation: Operation, index: int, first: int, frames: int, channels: int
    ) -> dict[str, int]:
        network, recipe, stage = self._network, self._recipe, self._network.stages[index]
        of, steps = self._map.of, recipe.timesteps
        samples = max(frames // steps, 1)
        words = stage.out_positions * self._words(channels)
        inputs, results = self._base("vector_inputs"), self._base("vector_results")
        # Samples of a task of the forward engine may be several tasks of the vector unit.
        behind = (first // steps if network.is_constant(stage) else first) - self._summed
        sums = self._base("forward_results") + behind * words
        own = of("gradients", index).frame_rows
        constants: tuple[float, ...]
        ins: tuple[tuple[int, int], ...]  # first row, rows of a frame
        outs: tuple[tuple[int, int], ...]
        scale = network.input_scale(stage) * 2.0 ** (network.planes(stage) - 1)
        neuron = stage.neuron
        if operation == Operation.NEURONS:
            assert neuron is not None
            bits = of("spikes", index).frame_rows
            ins = ((sums, words),)
            outs = _after(results, (own, frames), (bits, frames), (bits, frames))
            constants = (scale, neuron.leak, neuron.threshold, neuron.half_width)
        elif operation == Operation.READOUT:
            terms = self._program.batch * (channels if recipe.loss == "mse" else 1)
            share = float(np.float32(1.0) / np.float32(steps))
            loss = (2.0 if recipe.loss == "mse" else 1.0) * self._loss_scale / terms
            ins = ((sums, words), (inputs, of("targets").frame_rows))
            outs = _after(results, (own, frames), (of("logits").frame_rows, samples))
            constants = (scale, share, loss, recipe.readout_leak)
        elif operation == Operation.NEURON_GRADIENTS:
            assert neuron is not None
            ((user, _),) = network.consumers(index)
            ins = _after(inputs, (of("input_gradients", user).frame_rows, frames), (own, frames))
            outs = _after(results, (own, frames))
            constants = (neuron.leak, neuron.threshold, neuron.half_width, neuron.height)
        elif operation == Operation.TIME_SUMS:
            ins, outs = _after(inputs, (own, frames)), _after(results, (own, samples))
            constants = ()
        else:
            masters, copy = of("masters", index).frame_rows, of("weights", index).frame_rows
            samples, steps, words = 1, 1, masters
            ins = _after(inputs, (masters, 1), (masters, 1), (masters, 1))
            outs = _after(results, (masters, 1), (masters, 1), (copy, 1))
            unscale = scale / self._loss_scale
            constants = (unscale, recipe.weight_decay, recipe.momentum, self._rate)
        values = {
            "operation": operation,
            "is_membrane": int(recipe.readout == "membrane"),
            "is_mse": int(recipe.loss == "mse"),
            "constant": int(network.is_constant(stage)),
            "samples": samples,
            "timesteps": steps,
            "frame_words": words,
            # All channels of an array of weights are real, padding included: any whole number of words says so.
            "channels": 2 * self._width if operation == Operation.OPTIMISE else channels,
        }
        for way, arrays in (("in", ins), ("out", outs)):
            for n, (row, frame_rows) in enumerate(arrays):
                values |= {f"{way}_row_{n}": row, f"{way}_frame_rows_{n}": frame_rows}
        for n, value in enumerate(constants):
            values[f"constant_{n}"] = int(np.float32(value).view(np.uint32))
        return values


def _whole(array: Array, inner: int = 0) -> Segment:
    return array.row, array.rows, inner


def _frames(array: Array, first: int, frames: int) -> Segment:
    return array.row + first * array.frame_rows, frames * array.frame_rows, 0


def _after(row: int, *arrays: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    """Return first row and rows of a frame of arrays (rows of a frame, frames) that follow one another."""
    found = []
    for frame_rows, frames in arrays:
        found.append((row, frame_rows))
        row += frame_rows * frames
    return tuple(found)
