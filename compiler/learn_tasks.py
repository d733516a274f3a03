"""The tasks of a training step: what each engine does, in pieces that fit its buffers, and what each waits for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from ..chip.config import ChipConfig
from ..chip.learn_config import LearnConfig
from ..chip.learn_memory import SUM_BYTES, Layout
from ..chip.learn_network import INPUT, LearnError, LearnNetwork, Recipe, Stage
from ..chip.learn_program import ENGINES, LearnProgram, Operation, Queue, check_learn_program
from ..chip.learn_timing import forward_cycles, update_cycles

# What the tasks of a queue fill, or empty; loads of the engines say it themselves, but for sums that go on.
_BUFFERS: dict[Queue, str] = {
    Queue.FORWARD: "forward_results", Queue.BACKWARD: "backward_results", Queue.UPDATE: "update_results",
    Queue.VECTOR: "vector_results", Queue.LOAD_FORWARD: "forward_inputs", Queue.LOAD_BACKWARD: "backward_inputs",
    Queue.LOAD_UPDATE: "update_results", Queue.LOAD_VECTOR: "vector_inputs", Queue.STORE_BACKWARD: "backward_results",
    Queue.STORE_UPDATE: "update_results", Queue.STORE_VECTOR: "vector_results",
}  # fmt: skip

# Bytes of one frame of so many channels.
FrameBytes = Callable[[int], int]


@dataclass
class _Buffer:
    """A buffer that is there twice: filling one half waits for whoever used it last."""

    size: int
    users: list[list[int]] = field(default_factory=lambda: [[], []])
    turn: int = 0

    def fill(self) -> list[int]:
        """Take the half whose turn it is; returns the tasks that must have ended."""
        self.turn ^= 1
        before, self.users[self.turn] = self.users[self.turn], []
        return before

    def used_by(self, task: int) -> None:
        """Note a user of the half filled last."""
        self.users[self.turn].append(task)


@dataclass
class _Made:
    """Which tasks made the frames of something in memory."""

    pieces: list[tuple[int, int, int]] = field(default_factory=list)

    def add(self, first: int, frames: int, task: int) -> None:
        self.pieces.append((first, frames, task))

    def of(self, first: int, frames: int) -> list[int]:
        return [
            t for start, count, t in self.pieces if start < first + frames and first < start + count
        ]


@dataclass
class _Part:
    """A micro-batch at work: the stage whose tasks are given out, and by stage what lies in memory."""

    number: int = 0
    samples: int = 0
    stage: int = 0
    spikes: dict[int, _Made] = field(default_factory=dict)
    shortcuts: dict[int, _Made] = field(default_factory=dict)
    input_gradients: dict[int, _Made] = field(default_factory=dict)
    gradients: dict[int, _Made] = field(default_factory=dict)


@dataclass
class _Stream:
    """The tasks of a pass of a micro-batch as they are given out; each step yields the cycles that it stands for."""

    part: _Part
    steps: Iterator[float]
    total: float
    done: float = 0.0


def learn_tasks(
    config: ChipConfig, network: LearnNetwork, recipe: Recipe, batch: int | None = None
) -> LearnProgram:
    """Compile one training step.

    Parameters
    ----------
    config : ChipConfig
        A chip with learning engines.
    network, recipe
        What is trained, and how.
    batch : int, optional
        Samples of this step, for the last one of an epoch; the recipe's otherwise.

    Raises
    ------
    LearnError
        If a piece of a layer does not fit a buffer: which, how much it needs, how much there is.
    """
    size = recipe.batch if batch is None else batch
    return _Compiler(config, network, recipe, size).program()


class _Compiler:
    def __init__(
        self, config: ChipConfig, network: LearnNetwork, recipe: Recipe, batch: int
    ) -> None:
        self._chip, self._network, self._recipe, self._batch = config, network, recipe, batch
        self._config: LearnConfig = config.learn
        self._layout = Layout.of(self._config)
        self._tasks: list[tuple[int, ...]] = []
        self._waits: list[list[int]] = []
        self._places: list[tuple[int, int]] = []
        # Of each task: its queue, and how many stand in it up to it.
        self._number: list[tuple[int, int]] = []
        self._counts = [0] * len(Queue)
        self._buffers = {name: _Buffer(size) for name, size in self._config.buffers.sizes.items()}
        self._numbers = {name: number for number, name in enumerate(self._buffers)}
        self._at = _Part()

    def program(self) -> LearnProgram:
        """Emit all parts, the forward pass of each merged with the backward pass of the one before; then optimise."""
        stages = self._network.stages
        weight_gradients: dict[int, list[int]] = {i: [] for i in range(len(stages))}
        before: list[_Stream] = []
        for number, (_, samples) in enumerate(self._recipe.parts(self._batch)):
            part = _Part(number, samples)
            self._at = part
            forward = _Stream(
                part, self._forward_pass(), sum(self._forward_cost(s) for s in stages)
            )
            self._merge([*before, forward])
            before = [
                _Stream(
                    part,
                    self._backward_pass(weight_gradients),
                    sum(self._update_cost(s) for s in stages),
                )
            ]
        self._merge(before)
        for self._at.stage, made in weight_gradients.items():
            self._optimise(stages[self._at.stage], made)
        program = LearnProgram(
            config=self._chip, network=self._network, recipe=self._recipe, batch=self._batch,
            tasks=np.array(self._tasks, np.int64), waits=np.array(self._waits, np.int64),
            places=np.array(self._places, np.int64),
        )  # fmt: skip
        check_learn_program(program)
        return program

    def _merge(self, streams: list[_Stream]) -> None:
        """Run streams to their ends, always the one that is least far: queues are in order, so engines overlap so."""
        while streams:
            stream = min(streams, key=lambda s: s.done / s.total)
            self._at = stream.part
            cycles = next(stream.steps, None)
            if cycles is None:
                streams.remove(stream)
            else:
                stream.done += cycles

    def _forward_pass(self) -> Iterator[float]:
        part = self._at
        for part.stage, stage in enumerate(self._network.stages):
            yield from self._forward(stage)

    def _backward_pass(self, weight_gradients: dict[int, list[int]]) -> Iterator[float]:
        part, stages = self._at, self._network.stages
        for part.stage in reversed(range(len(stages))):
            stage = stages[part.stage]
            if part.stage < len(stages) - 1:
                yield from self._neuron_gradients(stage)
            has_backward = INPUT not in stage.sources
            if has_backward:
                yield from self._backward(stage)
            made: list[int] = []
            for cycles in self._update(stage, weight_gradients[part.stage], made):
                yield 0.0 if has_backward else cycles
            weight_gradients[part.stage] = made

    def _forward_cost(self, stage: Stage) -> float:
        frames = self._at.samples * self._timesteps(stage)
        return forward_cycles(self._config, self._network, stage, stage.out_shape[2], frames)

    def _update_cost(self, stage: Stage) -> float:
        frames = self._at.samples * self._timesteps(stage)
        return update_cycles(self._config, self._network, stage, stage.out_shape[2], frames)

    # ------------------------------------------------------------------------------------------------ pieces and tasks

    def _emit(
        self, queue: Queue, operation: Operation, frames: tuple[int, int], channels: tuple[int, int], size: int = 0,
        after: Iterable[int] = (), buffer: str | None = None,
    ) -> int:  # fmt: skip
        """Append a task; ``buffer`` is what it fills or empties, if that is not its queue's own."""
        waits = [0] * len(Queue)
        for task in after:
            of, number = self._number[task]
            if of != queue or queue not in ENGINES:
                waits[of] = max(waits[of], number)
        self._tasks.append(
            (queue, operation, self._at.stage, self._at.number, *frames, *channels, size)
        )
        self._waits.append(waits)
        name = None if operation == Operation.NORM_FINISH else buffer or _BUFFERS[queue]
        self._places.append(
            (-1, -1) if name is None else (self._numbers[name], self._buffers[name].turn)
        )
        self._counts[queue] += 1
        self._number.append((queue, self._counts[queue]))
        return len(self._tasks) - 1

    def _load(
        self, queue: Queue, buffer: str, size: int, frames: tuple[int, int], channels: tuple[int, int],
        after: Iterable[int] = (),
    ) -> int:  # fmt: skip
        half = self._buffers[buffer]
        before = [*half.fill(), *after]
        return self._emit(queue, Operation.TRANSFER, frames, channels, size, before, buffer)

    @property
    def _frames(self) -> int:
        """Frames of the part for a stage whose input varies."""
        return self._at.samples * self._recipe.timesteps

    def _timesteps(self, stage: Stage) -> int:
        return 1 if self._network.is_constant(stage) else self._recipe.timesteps

    def _fitting(self, stage: Stage, what: str, most: int, needs: dict[str, int]) -> int:
        """Return how many of ``what`` fit the buffers at once, ``most`` at most; each needs so many bytes of them.

        Raises
        ------
        LearnError
            If not one fits.
        """
        fits = most
        for name, size in needs.items():
            if size:
                fits = min(fits, self._buffers[name].size // size)
            if fits < 1:
                raise LearnError(
                    f"layer {stage.name}: {what} needs {size:,} bytes of {name}, which holds "
                    f"{self._buffers[name].size:,}; choose a chip with larger buffers"
                )
        return fits

    def _pieces(
        self, stage: Stage, needs: dict[str, int], align: int = 1, timesteps: int | None = None
    ) -> list[tuple[int, int]]:
        """Cut the part's frames so that ``needs`` bytes a frame fit the buffers named; whole samples where possible.

        Within a sample the pieces are cut evenly, and end with it. With ``align`` each piece's frames are a multiple of
        it, or it is the last; then pieces of less than a sample may reach into the next.
        """
        timesteps = self._timesteps(stage) if timesteps is None else timesteps
        total = self._at.samples * timesteps
        fits = self._fitting(stage, "one timestep", total, needs)
        if fits < total:
            whole = int(np.lcm(timesteps, align))
            if fits >= whole:
                fits -= fits % whole
            elif align > 1:
                fits -= fits % align
            else:
                fits = -(-timesteps // -(-timesteps // fits))
            if fits < 1:
                raise LearnError(
                    f"layer {stage.name}: {align} timesteps at a time do not fit {' and '.join(needs)}; "
                    f"choose a chip with larger buffers"
                )
        pieces = []
        bound = timesteps if fits < timesteps and align == 1 else total
        for start in range(0, total, bound):
            end = min(total, start + bound)
            pieces += [(first, min(fits, end - first)) for first in range(start, end, fits)]
        return pieces

    def _cuts(
        self, stage: Stage, frames: tuple[int, int], channels: tuple[int, int], needs: dict[str, FrameBytes]
    ) -> list[tuple[tuple[int, int], tuple[int, int]]]:  # fmt: skip
        """Cut a task of the vector unit so that ``needs`` of its frames and channels fit: first channels, then samples.

        Channels are cut so far that all timesteps of a sample stay together, if one word of them does.
        """
        first, count = frames
        together = min(count, self._recipe.timesteps)
        word = self._layout.word
        width, fits = channels[1], 0
        for parts in range(1, -(-channels[1] // word) + 1):
            width = min(channels[1], self._layout.padded(-(-channels[1] // parts)))
            fits = min(
                (self._buffers[name].size // size(width) for name, size in needs.items() if size(width)),
                default=count,
            )  # fmt: skip
            if fits >= together:
                break
        if fits < 1:
            self._fitting(
                stage, "one word of channels of a timestep", 1, {name: size(width) for name, size in needs.items()}
            )  # fmt: skip
        length = min(fits, count)
        if length < count:
            length = length - length % together if length >= together else length
        return [
            ((at, min(length, end - at)), (channel, min(width, sum(channels) - channel)))
            for channel in range(channels[0], sum(channels), width)
            for start in range(first, first + count, max(length, together))
            for end in [min(first + count, start + max(length, together))]
            for at in range(start, end, length)
        ]

    def _channel_parts(
        self, stage: Stage, rows: int, needs: dict[str, FrameBytes]
    ) -> list[tuple[int, int]]:
        """Cut output channels so that ``needs`` bytes of so many channels fit; into multiples of ``rows`` if it can."""
        total = stage.out_shape[2]
        word = self._layout.word
        fits = total
        while any(size(fits) > self._buffers[name].size for name, size in needs.items()):
            if fits <= word:
                self._fitting(
                    stage, "one word of channels", 1, {name: size(fits) for name, size in needs.items()}
                )  # fmt: skip
            fits = (fits - 1) // word * word
        if rows < fits < total:
            fits -= fits % rows
        return [(first, min(fits, total - first)) for first in range(0, total, fits)]

    def _input_bytes(self, stage: Stage) -> int:
        """Bytes of a frame of a stage's input: a bit a spike and source, or the bit planes of the image."""
        rows, columns, channels = self._network.output_shape(stage.sources[0])
        planes = self._network.input.bits if INPUT in stage.sources else 1
        return self._layout.bits(rows * columns, channels, planes) * len(stage.sources)

    def _made_inputs(self, stage: Stage, first: int, frames: int) -> Iterator[int]:
        for source in stage.sources:
            if source != INPUT:
                yield from self._at.spikes[source].of(first, frames)

    # --------------------------------------------------------------------------------------------------------- forward

    def _forward(self, stage: Stage) -> Iterator[float]:
        positions, layout = stage.out_positions, self._layout
        is_readout = self._at.stage == len(self._network.stages) - 1
        has_statistics = stage.norm is not None and stage.norm.kind == "batch"
        shortcut = stage.shortcut
        spikes = _Made()
        for channels in self._channel_parts(
            stage, self._config.forward.rows,
            {"forward_weights": lambda c: layout.weights(stage, c, layout.operand),
             "forward_results": lambda c: layout.sums(positions, c)},
        ):  # fmt: skip
            count = channels[1]
            weights = self._load(
                Queue.LOAD_FORWARD, "forward_weights", layout.weights(stage, count, layout.operand), (0, 0), channels
            )  # fmt: skip
            repeats = self._recipe.timesteps // self._timesteps(stage)
            needs = {
                "forward_inputs": self._input_bytes(stage),
                "forward_results": layout.sums(positions, count),
            }
            kept: dict[str, FrameBytes] = {"vector_results": self._kept(stage, is_readout)}
            if is_readout:
                kept["vector_inputs"] = lambda c: layout.bits(positions, c)
            elif shortcut is not None:
                kept["vector_inputs"] = lambda c: layout.operands(positions, c)
            sums: list[int] = []
            raw = _Made()
            for piece in self._pieces(stage, needs):
                first, frames = piece
                inputs_load = self._load(
                    Queue.LOAD_FORWARD, "forward_inputs", self._input_bytes(stage) * frames, piece, channels,
                    self._made_inputs(stage, first, frames),
                )  # fmt: skip
                after = [weights, inputs_load, *self._buffers["forward_results"].fill()]
                forward = self._emit(
                    Queue.FORWARD, Operation.FORWARD_SUMS, piece, channels, 0, after
                )
                for name in ("forward_inputs", "forward_weights"):
                    self._buffers[name].used_by(forward)
                if has_statistics:
                    for span, some in self._cuts(
                        stage, piece, channels, {"vector_results": lambda c: layout.operands(positions, c)}
                    ):  # fmt: skip
                        vector = self._vector(Operation.NORM_SUMS, span, some, [forward])
                        self._buffers["forward_results"].used_by(vector)
                        sums.append(vector)
                        raw.add(
                            *span,
                            self._store(
                                span, some, layout.operands(positions, some[1]) * span[1], vector
                            ),
                        )
                    yield forward_cycles(self._config, self._network, stage, count, frames)
                    continue
                operation = Operation.NORM_NEURONS if stage.norm else Operation.NEURONS
                if is_readout:
                    operation = Operation.READOUT
                covered = (first * repeats, frames * repeats)
                for span, some in self._cuts(stage, covered, channels, kept):
                    after = [forward]
                    size = self._kept(stage)(some[1]) * span[1]
                    if is_readout:
                        samples = -(-span[1] // self._recipe.timesteps)
                        size += layout.sums(positions, some[1]) * samples
                        after.append(
                            self._load(
                                Queue.LOAD_VECTOR, "vector_inputs", layout.bits(positions, some[1]) * samples, span,
                                some,
                            )
                        )  # fmt: skip
                    vector = self._vector(operation, span, some, after, shortcut)
                    self._buffers["forward_results"].used_by(vector)
                    store = self._store(span, some, size, vector)
                    made = span
                    if is_readout:  # a sample's gradients are there when its last timestep is
                        steps, of_sample = self._recipe.timesteps, self._timesteps(stage)
                        sample, end = span[0] // steps, -(-sum(span) // steps)
                        made = (sample * of_sample, (end - sample) * of_sample)
                    spikes.add(*made, store)
                yield forward_cycles(self._config, self._network, stage, count, frames)
            if has_statistics:
                finish = self._vector(Operation.NORM_FINISH, (0, 0), channels, sums)
                kept["vector_inputs"] = lambda c: (
                    layout.operands(positions, c) * (1 if shortcut is None else 2)
                )
                whole = (0, self._at.samples * self._recipe.timesteps)
                for span, some in self._cuts(stage, whole, channels, kept):
                    at, length = span[0] // repeats, span[1] // repeats or 1
                    load = self._load(
                        Queue.LOAD_VECTOR, "vector_inputs", layout.operands(positions, some[1]) * length, span, some,
                        raw.of(at, length),
                    )  # fmt: skip
                    vector = self._vector(
                        Operation.NORM_NEURONS,
                        span,
                        some,
                        [finish, load],
                        shortcut,
                        own_input=False,
                    )
                    size = self._kept(stage)(some[1]) * span[1]
                    spikes.add(*span, self._store(span, some, size, vector))
                    yield 0.0
        if is_readout:
            self._at.gradients[self._at.stage] = spikes
        self._at.spikes[self._at.stage] = spikes

    def _kept(self, stage: Stage, with_logits: bool = False) -> FrameBytes:
        """Return the bytes of a frame of what is stored: membranes, spikes, masks; of a frozen norm its input too.

        Of the readout it is the gradients, and the logits (of a sample) if they are to be counted too.
        """
        layout, positions = self._layout, stage.out_positions
        if stage is self._network.stages[-1]:
            return lambda c: (
                layout.operands(positions, c) + (layout.sums(positions, c) if with_logits else 0)
            )
        values = 2 if stage.norm is not None and stage.norm.kind == "frozen" else 1
        bits = 0 if stage.neuron is None else 2
        return lambda c: values * layout.operands(positions, c) + bits * layout.bits(positions, c)

    def _vector(
        self, operation: Operation, frames: tuple[int, int], channels: tuple[int, int], after: list[int],
        shortcut: int | None = None, *, own_input: bool = True,
    ) -> int:  # fmt: skip
        """Emit a task of the vector unit, with the load of a shortcut's values before it."""
        if shortcut is not None:
            stage = self._network.stages[shortcut]
            of_frame = self._layout.bits if stage.neuron is not None else self._layout.operands
            size = frames[1] * of_frame(stage.out_positions, channels[1])
            made = self._at.spikes[shortcut].of(*frames)
            if own_input:
                load = self._load(Queue.LOAD_VECTOR, "vector_inputs", size, frames, channels, made)
            else:  # behind the load of the norm's input, into the same half
                load = self._emit(
                    Queue.LOAD_VECTOR, Operation.TRANSFER, frames, channels, size, made
                )
            after = [*after, load]
        task = self._emit(
            Queue.VECTOR, operation, frames, channels, 0, [*after, *self._result_half(operation)]
        )
        self._buffers["vector_inputs"].used_by(task)
        return task

    def _result_half(self, operation: Operation) -> list[int]:
        return [] if operation == Operation.NORM_FINISH else self._buffers["vector_results"].fill()

    def _store(
        self, frames: tuple[int, int], channels: tuple[int, int], size: int, after: int
    ) -> int:
        task = self._emit(Queue.STORE_VECTOR, Operation.TRANSFER, frames, channels, size, [after])
        self._buffers["vector_results"].used_by(task)
        return task

    # -------------------------------------------------------------------------------------------------------- backward

    def _neuron_gradients(self, stage: Stage) -> Iterator[float]:
        """Gradients of the stage's sums from those of its output."""
        network, layout, positions = self._network, self._layout, stage.out_positions
        channels = (0, stage.out_shape[2])
        whole = (0, self._at.samples * self._recipe.timesteps)
        users = network.consumers(self._at.stage)
        pools = [network.stages[user].pool if port == "input" else 1 for user, port in users]
        own = int(stage.neuron is not None) + int(stage.norm is not None)

        def reads(count: int) -> int:
            """Return the bytes of a frame: gradients of all users, membranes (which tell spikes), a norm's input."""
            size = sum(layout.operands(-(-positions // pool**2), count) for pool in pools)
            return size + own * layout.operands(positions, count)

        def writes(count: int) -> int:
            return layout.operands(positions, count)

        has_statistics = stage.norm is not None and stage.norm.kind == "batch"
        constant = network.is_constant(stage)
        made, sums = _Made(), []
        needs: dict[str, FrameBytes] = {"vector_inputs": reads, "vector_results": writes}
        for span, some in self._cuts(stage, whole, channels, needs):
            after = [
                task
                for user, port in users
                for task in (self._at.input_gradients if port == "input" else self._at.shortcuts)[
                    user
                ].of(*span)
            ]
            load = self._load(
                Queue.LOAD_VECTOR, "vector_inputs", reads(some[1]) * span[1], span, some, after
            )
            vector = self._vector(Operation.NEURON_GRADIENTS, span, some, [load])
            sums.append(vector)
            made.add(*span, self._store(span, some, writes(some[1]) * span[1], vector))
            yield 0.0
        # What a shortcut hands on are the gradients of the sums with their norm, before the norm's own.
        self._at.shortcuts[self._at.stage] = made
        if has_statistics or constant:
            after_sums = (
                [self._vector(Operation.NORM_FINISH, (0, 0), channels, sums)]
                if has_statistics
                else []
            )
            operation = Operation.TIME_SUMS if constant else Operation.NORM_GRADIENTS
            arrays = 2 if has_statistics else 1
            final = _Made()
            needs = {"vector_inputs": lambda c: arrays * writes(c), "vector_results": writes}
            for span, some in self._cuts(stage, whole, channels, needs):
                load = self._load(
                    Queue.LOAD_VECTOR,
                    "vector_inputs",
                    arrays * writes(some[1]) * span[1],
                    span,
                    some,
                    made.of(*span),
                )
                vector = self._vector(operation, span, some, [load, *after_sums])
                repeats = self._recipe.timesteps if constant else 1
                frames = -(-span[1] // repeats)
                store = self._store(span, some, writes(some[1]) * frames, vector)
                final.add(span[0] // repeats, frames, store)
                yield 0.0
            made = final
        self._at.gradients[self._at.stage] = made

    def _backward(self, stage: Stage) -> Iterator[float]:
        """Gradients of the stage's input."""
        layout = self._layout
        gradients = layout.operands(stage.out_positions, stage.out_channels)
        made = _Made()
        for group in range(stage.groups):
            # Fewer channels at a time rather than no frame at all.
            tile = self._backward_tile(stage)
            for start in range(0, stage.in_channels, tile):
                count = min(tile, stage.in_channels - start)
                channels = (group * stage.in_channels + start, count)
                size = self._backward_weights(stage, count)
                weights = self._load(
                    Queue.LOAD_BACKWARD, "backward_weights", size, (0, 0), channels
                )
                masks = layout.bits(stage.in_positions, count)
                results = layout.operands(stage.in_positions, count)
                needs = {
                    "backward_inputs": gradients + masks,
                    "backward_results": results,
                }
                for piece in self._pieces(stage, needs):
                    load = self._load(
                        Queue.LOAD_BACKWARD, "backward_inputs", (gradients + masks) * piece[1], piece, channels,
                        self._at.gradients[self._at.stage].of(*piece),
                    )  # fmt: skip
                    after = [weights, load, *self._buffers["backward_results"].fill()]
                    task = self._emit(
                        Queue.BACKWARD, Operation.INPUT_GRADIENTS, piece, channels, 0, after
                    )
                    for name in ("backward_inputs", "backward_weights"):
                        self._buffers[name].used_by(task)
                    store = self._emit(
                        Queue.STORE_BACKWARD, Operation.TRANSFER, piece, channels, results * piece[1], [task],
                    )  # fmt: skip
                    self._buffers["backward_results"].used_by(store)
                    made.add(*piece, store)
                    share = (
                        piece[1]
                        * count
                        / (self._at.samples * self._timesteps(stage) * stage.in_shape[2])
                    )
                    yield self._update_cost(stage) * share
        self._at.input_gradients[self._at.stage] = made

    def _backward_weights(self, stage: Stage, count: int) -> int:
        """Return the bytes of the weights of so many input channels of a group."""
        layout = self._layout
        return layout.whole(
            stage.taps * layout.padded(stage.out_channels) * layout.padded(count) * layout.operand
        )

    def _backward_tile(self, stage: Stage) -> int:
        """Return how many input channels the backward engine takes at a time."""
        layout, buffers = self._layout, self._buffers
        tile = min(self._config.backward.channels, stage.in_channels)
        while True:
            weights = self._backward_weights(stage, tile)
            results = layout.operands(stage.in_positions, tile)
            fits = (
                weights <= buffers["backward_weights"].size
                and results <= buffers["backward_results"].size
            )
            if fits:
                return tile
            if tile <= layout.word:
                needs = {"backward_weights": weights, "backward_results": results}
                self._fitting(stage, "one word of input channels", 1, needs)
            tile = (tile - 1) // layout.word * layout.word

    # ---------------------------------------------------------------------------------------------- update, optimiser

    def _update(self, stage: Stage, before: list[int], stores: list[int]) -> Iterator[float]:
        """Gradients of the weights; ``before`` are the stores of the micro-batch before, ``stores`` take this one's."""
        layout, group = self._layout, self._config.update.group
        for channels in self._channel_parts(
            stage, self._config.update.rows,
            {"update_results": lambda c: layout.weights(stage, c, SUM_BYTES),
             "update_gradients": lambda c: layout.operands(stage.out_positions, c)},
        ):  # fmt: skip
            gradients = layout.operands(stage.out_positions, channels[1])
            size = layout.weights(stage, channels[1], SUM_BYTES)
            results = self._buffers["update_results"].fill()
            if before:
                results.append(
                    self._emit(
                        Queue.LOAD_UPDATE,
                        Operation.TRANSFER,
                        (0, 0),
                        channels,
                        size,
                        [*results, *before],
                    )
                )
            task = -1
            needs = {"update_gradients": gradients, "update_inputs": self._input_bytes(stage)}
            align = group // int(np.gcd(group, stage.out_positions))
            for piece in self._pieces(stage, needs, align):
                load = self._load(
                    Queue.LOAD_UPDATE, "update_gradients", gradients * piece[1], piece, channels,
                    self._at.gradients[self._at.stage].of(*piece),
                )  # fmt: skip
                inputs = self._load(
                    Queue.LOAD_UPDATE, "update_inputs", self._input_bytes(stage) * piece[1], piece, channels,
                    self._made_inputs(stage, 0, self._frames),
                )  # fmt: skip
                task = self._emit(
                    Queue.UPDATE,
                    Operation.WEIGHT_GRADIENTS,
                    piece,
                    channels,
                    0,
                    [load, inputs, *results],
                )
                for name in ("update_gradients", "update_inputs"):
                    self._buffers[name].used_by(task)
                yield update_cycles(self._config, self._network, stage, channels[1], piece[1])
            store = self._emit(
                Queue.STORE_UPDATE, Operation.TRANSFER, (0, 0), channels, size, [task]
            )
            self._buffers["update_results"].used_by(store)
            stores.append(store)

    def _optimise(self, stage: Stage, gradients: list[int]) -> None:
        """Move weights: three words read an element, two and a copy for the engines written."""
        layout = self._layout
        a_channel = stage.taps * layout.padded(stage.in_channels)

        def sizes(elements: int) -> tuple[int, int]:
            """Return the bytes read and written for so many weights."""
            masters = layout.whole(elements * SUM_BYTES)
            return 3 * masters, 2 * masters + layout.whole(elements * layout.operand)

        def fits(elements: int) -> bool:
            reads, writes = sizes(elements)
            inputs, results = self._buffers["vector_inputs"], self._buffers["vector_results"]
            return reads <= inputs.size and writes <= results.size

        # Words of channels, as many as fit; one whose weights do not fit at once passes in pieces.
        total = stage.out_shape[2]
        rows, pieces = total, 1
        while rows > layout.word and not fits(a_channel * layout.padded(rows)):
            rows = (rows - 1) // layout.word * layout.word
        elements = a_channel * layout.padded(rows)
        while not fits(-(-elements // pieces)):
            if pieces >= elements:
                reads, writes = sizes(1)
                needs = {"vector_inputs": reads, "vector_results": writes}
                self._fitting(stage, "one weight", 1, needs)
            pieces += 1
        for first in range(0, total, rows):
            channels = (first, min(rows, total - first))
            for piece in range(pieces):
                reads, writes = sizes(-(-a_channel * layout.padded(channels[1]) // pieces))
                load = self._load(
                    Queue.LOAD_VECTOR, "vector_inputs", reads, (piece, pieces), channels, gradients
                )
                vector = self._vector(Operation.OPTIMISE, (piece, pieces), channels, [load])
                self._store((piece, pieces), channels, writes, vector)
