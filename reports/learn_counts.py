"""What a training step makes the learning engines do: events of each engine, buffer and layer, in closed forms."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..chip.learn_config import LookupConfig
from ..chip.learn_network import Stage
from ..chip.learn_program import ENGINES, FIELD, LOADS, LearnProgram, Operation, Queue
from ..chip.learn_timing import input_groups

__all__ = [
    "BUFFER_EVENTS", "EVENTS", "BackwardCounts", "CountRow", "StepCounts", "TimelineCounts", "VectorWork",
    "adds_per_input", "count_step", "dense_macs", "vector_work",
]  # fmt: skip

Ints = NDArray[np.int64]

# Events of each component, and what one is.
EVENTS: dict[str, dict[str, str]] = {
    "forward": {
        "inputs": "a binary input of an output, every bit plane of it",
        "lookups": "a table entry read and added to an accumulator",
        "tables": "a table of subset sums built",
        "table_adds": "an addition that builds a table",
    },
    "backward": {
        "inputs": "a gradient of a position, tap and channel tile, zeros included",
        "taken": "a gradient that is not zero at a position with a masked-in output",
        "skipped": "any other gradient",
        "products": "a multiplication and an addition",
        "masked": "a product left out because its output is outside the mask",
        "word_writes": "a weight word written into a row's own memory",
    },
    "vector": {
        "elements": "an element through the unit",
        "multiplies": "a multiplication of 32 bits",
        "adds": "an addition, subtraction or comparison of 32 bits",
        "divides": "a division or root of 32 bits",
    },
    "dram": {"read_bytes": "a byte to the chip", "written_bytes": "a byte from the chip"},
}
EVENTS["update"] = EVENTS["forward"]
# Of each buffer, under its own name.
BUFFER_EVENTS = {
    "filled_bytes": "a byte that a load wrote",
    "read_bytes": "a byte that an engine read",
    "written_bytes": "a byte that an engine wrote",
    "drained_bytes": "a byte that a store read",
}

# Multiplications, additions and comparisons of an exponential: chip/learn_rules.py.
_EXPONENTIAL = (11, 10)


class BackwardCounts(Protocol):
    """What is needed of `sim.engines.work.BackwardWork`."""

    @property
    def cycles(self) -> int: ...  # noqa: D102
    @property
    def inputs(self) -> int: ...  # noqa: D102
    @property
    def taken(self) -> int: ...  # noqa: D102
    @property
    def products(self) -> int: ...  # noqa: D102


class TimelineCounts(Protocol):
    """What is needed of `sim.engines.timeline.Timeline`."""

    @property
    def busy(self) -> Ints: ...  # noqa: D102
    @property
    def stalls(self) -> Ints: ...  # noqa: D102
    @property
    def cycles(self) -> int: ...  # noqa: D102


@dataclass(frozen=True)
class CountRow:
    """How often one event happened in one component for one layer."""

    component: str
    layer: str
    event: str
    count: int


@dataclass(frozen=True)
class StepCounts:
    """A training step of a batch.

    rows : events by component and layer. macs : multiply-accumulates of all passes if everything were dense
    busy : cycles for which each queue's engine, or the channel, was held; stalls : cycles for which an engine (first)
    stood idle until a task of a queue (second) ended
    """

    rows: tuple[CountRow, ...]
    cycles: int
    clock_hz: float
    batch: int
    macs: int
    busy: dict[str, int]
    stalls: dict[str, dict[str, int]]

    @property
    def seconds(self) -> float:
        """Time of the step."""
        return self.cycles / self.clock_hz

    @property
    def serial_cycles(self) -> int:
        """Cycles if the four engines worked one after the other and never waited for memory."""
        return sum(self.busy[name] for name in ("forward", "backward", "update", "vector"))

    def total(self, component: str, event: str) -> int:
        """Return how often an event happened."""
        return sum(r.count for r in self.rows if r.component == component and r.event == event)

    def of_layer(self, layer: str) -> dict[tuple[str, str], int]:
        """Return a layer's events by component and event."""
        return {(r.component, r.event): r.count for r in self.rows if r.layer == layer}


@dataclass(frozen=True)
class VectorWork:
    """Operations of an element in the vector unit; comparisons count as additions."""

    multiplies: float
    adds: float
    divides: float = 0.0


def adds_per_input(group: int, outputs: int) -> float:
    """Return additions per binary input: a lookup for ``group`` of them, and the table shared by ``outputs``."""
    return (1 + ((1 << group) - group - 1) / outputs) / group


def vector_work(
    stage: Stage, operation: Operation, users: Sequence[int], timesteps: int, *, constant: bool
) -> VectorWork:
    """Return what one element of an operation takes: chip/learn_rules.py, operation by operation.

    ``users`` are the pooling sides of the inputs that the stage's output goes to, 1 for a shortcut.
    """
    bias, shortcut = int(stage.bias), int(stage.shortcut is not None)
    kind = None if stage.norm is None else stage.norm.kind
    neuron = (1, 1 + 3 + shortcut)  # leak; sum, threshold and window
    if operation == Operation.NEURONS:
        return VectorWork(1 + neuron[0], bias + neuron[1])
    if operation == Operation.NORM_SUMS:
        return VectorWork(2, 2 + bias)
    if operation == Operation.NORM_FINISH:
        return VectorWork(4, 4, 3)
    if operation == Operation.NORM_NEURONS:
        own = (1, bias) if kind == "frozen" else (0, 0)
        spikes = neuron if stage.neuron is not None else (0, 0)
        return VectorWork(2 + own[0] + spikes[0], 2 + own[1] + spikes[1])
    if operation == Operation.READOUT:
        return VectorWork(
            3 + (_EXPONENTIAL[0] + 1) / timesteps,
            1 + bias + (_EXPONENTIAL[1] + 2) / timesteps,
            1 / timesteps,
        )
    if operation == Operation.NEURON_GRADIENTS:
        multiplies, adds = sum(pool > 1 for pool in users), max(len(users) - 1, 0)
        if stage.neuron is not None:
            multiplies, adds = multiplies + 4, adds + 2 + 3
        if kind is not None:
            multiplies, adds = multiplies + 2, adds + 3
        if kind == "frozen":
            multiplies += 1
        return VectorWork(multiplies, adds + bias)
    if operation == Operation.NORM_GRADIENTS:
        return VectorWork(3, 3)
    if operation == Operation.TIME_SUMS:
        return VectorWork(3, 4) if kind == "batch" and constant else VectorWork(0, 1)
    if operation == Operation.OPTIMISE:
        return VectorWork(4, 3)
    raise ValueError(f"{operation.name} is not an operation of the vector unit")


def count_step(
    program: LearnProgram, backward: Sequence[BackwardCounts], timeline: TimelineCounts
) -> StepCounts:
    """Count the events of a step; docs/learn_reports.md has the closed forms.

    Parameters
    ----------
    program : LearnProgram
    backward : sequence
        What each task of the backward engine did, in the program's order: of a step that ran, or estimated.
    timeline
        When the tasks ran.

    Raises
    ------
    ValueError
        If ``backward`` or the timeline is of another program.
    ArithmeticError
        If the parts do not add up: a fault of ours.
    """
    queues = program.column("queue")
    if len(timeline.busy) != len(program.tasks):
        raise ValueError(
            f"the timeline has {len(timeline.busy)} tasks, the program {len(program.tasks)}"
        )
    if len(backward) != np.count_nonzero(queues == Queue.BACKWARD):
        raise ValueError(
            f"there are {np.count_nonzero(queues == Queue.BACKWARD)} tasks of the backward engine, but counts of "
            f"{len(backward)}"
        )
    counter = _Counter(program)
    counter.transfers()
    counter.engines(backward)
    stages = program.network.stages
    rows = tuple(
        CountRow(component, stages[index].name, event, count)
        for (component, index, event), count in sorted(counter.counts.items())
    )
    busy = {queue.name.lower(): int(timeline.busy[queues == queue].sum()) for queue in Queue}
    stalls = {
        queue.name.lower(): {
            cause.name.lower(): int(timeline.stalls[queue, cause])
            for cause in Queue
            if timeline.stalls[queue, cause]
        }
        for queue in ENGINES
    }
    result = StepCounts(
        rows,
        timeline.cycles,
        program.config.clock_hz,
        program.batch,
        dense_macs(program),
        busy,
        stalls,
    )
    _check(program, backward, result)
    return result


def dense_macs(program: LearnProgram) -> int:
    """Return multiply-accumulates of forward, backward and update if everything were dense; images once a sample."""
    total = 0
    for stage in program.network.stages:
        constant = program.network.is_constant(stage)
        frames = program.batch * (1 if constant else program.recipe.timesteps)
        from_input = any(source < 0 for source in stage.sources)
        total += stage.macs * frames * (2 if from_input else 3)
    return total


class _Counter:
    """Counts by component, stage and event."""

    def __init__(self, program: LearnProgram) -> None:
        self._program, self._network, self._config = program, program.network, program.config.learn
        self._operand = self._config.operand_format.bytes
        self._sum = self._config.accumulator_format.bytes
        self.counts: defaultdict[tuple[str, int, str], int] = defaultdict(int)

    def _add(self, component: str, index: int, **events: float) -> None:
        for event, count in events.items():
            self.counts[component, index, event] += round(count)

    # ---------------------------------------------------------------------------------------------------- transfers

    def transfers(self) -> None:
        """Count the bytes that pass between memory and buffers."""
        program = self._program
        names = list(self._config.buffers.sizes)
        chosen = program.column("operation") == Operation.TRANSFER
        for row, (number, _) in zip(
            program.tasks[chosen].tolist(), program.places[chosen].tolist(), strict=True
        ):
            queue, index, size = row[FIELD["queue"]], row[FIELD["stage"]], row[FIELD["bytes"]]
            if queue in LOADS:
                self._add(names[number], index, filled_bytes=size)
                self._add("dram", index, read_bytes=size)
            else:
                self._add(names[number], index, drained_bytes=size)
                self._add("dram", index, written_bytes=size)
            # The vector unit reads what is loaded for it, and writes what is stored from it, once.
            if queue == Queue.LOAD_VECTOR:
                self._add(names[number], index, read_bytes=size)
            elif queue == Queue.STORE_VECTOR:
                self._add(names[number], index, written_bytes=size)

    # ------------------------------------------------------------------------------------------------------ engines

    def engines(self, backward: Sequence[BackwardCounts]) -> None:
        """Count what the engines do; tasks that are alike are worked out once."""
        program = self._program
        alike: Counter[tuple[int, ...]] = Counter()
        done = iter(backward)
        for row in program.tasks.tolist():
            _, operation, index, part, first, frames, _, channels, _ = row
            if operation == Operation.TRANSFER:
                continue
            if operation == Operation.INPUT_GRADIENTS:
                work = next(done)
                self._add(
                    "backward", index, inputs=work.inputs, taken=work.taken, skipped=work.inputs - work.taken,
                    products=work.products, masked=work.taken * channels - work.products,
                )  # fmt: skip
            continues = int(operation == Operation.WEIGHT_GRADIENTS and (first > 0 or part > 0))
            alike[operation, index, frames, channels, continues] += 1
        for (operation, index, frames, channels, continues), times in alike.items():
            stage = self._network.stages[index]
            if operation == Operation.FORWARD_SUMS:
                self._forward(index, stage, frames, channels, times)
            elif operation == Operation.WEIGHT_GRADIENTS:
                self._update(index, stage, frames, channels, times, continues=bool(continues))
            elif operation == Operation.INPUT_GRADIENTS:
                self._backward(index, stage, frames, channels, times)
            else:
                self._vector(index, stage, Operation(operation), frames, channels, times)

    def _lookup(
        self,
        name: str,
        index: int,
        engine: LookupConfig,
        rows: int,
        columns: int,
        inputs: int,
        groups: int,
        planes: int,
        times: int,
    ) -> int:
        """Count tasks of ``rows x columns`` outputs of ``inputs`` in ``groups``; returns the tiles of columns."""
        tiles = -(-columns // engine.outputs)
        tables = rows * groups * tiles
        self._add(
            name, index,
            inputs=times * rows * columns * inputs * planes,
            lookups=times * rows * columns * groups * planes,
            tables=times * tables,
            table_adds=times * tables * engine.table_adds,
        )  # fmt: skip
        return tiles

    def _forward(self, index: int, stage: Stage, frames: int, channels: int, times: int) -> None:
        engine, planes = self._config.forward, self._network.planes(stage)
        positions, inputs = frames * stage.out_positions, stage.taps * stage.in_channels
        groups = input_groups(stage, engine.group)
        tiles = self._lookup(
            "forward", index, engine, channels, positions, inputs, groups, planes, times
        )
        self._add(
            "forward_weights", index, read_bytes=times * tiles * channels * inputs * self._operand
        )
        row_tiles = -(-channels // engine.rows)
        self._add(
            "forward_inputs",
            index,
            read_bytes=times * row_tiles * positions * groups * engine.group * planes / 8,
        )
        self._add("forward_results", index, written_bytes=times * positions * channels * self._sum)

    def _update(
        self, index: int, stage: Stage, frames: int, channels: int, times: int, *, continues: bool
    ) -> None:
        engine, planes = self._config.update, self._network.planes(stage)
        positions, columns = frames * stage.out_positions, stage.taps * stage.in_channels
        groups = -(-positions // engine.group)
        tiles = self._lookup(
            "update", index, engine, channels, columns, positions, groups, planes, times
        )
        self._add(
            "update_gradients",
            index,
            read_bytes=times * tiles * channels * positions * self._operand,
        )
        row_tiles = -(-channels // engine.rows)
        self._add(
            "update_inputs",
            index,
            read_bytes=times * row_tiles * columns * groups * engine.group * planes / 8,
        )
        size = times * columns * channels * self._sum
        self._add("update_results", index, written_bytes=size, read_bytes=size if continues else 0)

    def _backward(self, index: int, stage: Stage, frames: int, channels: int, times: int) -> None:
        engine = self._config.backward
        positions = frames * stage.in_positions
        tile = engine.rows * engine.contexts
        sent = writes = 0
        for tiles in tiles_under(stage, frames, tile):
            sent += len(tiles)
            left = np.minimum(tile, positions - tiles * tile)
            used = -(-left // engine.rows)  # positions of a row
            writes += int((-(-left // used)).sum())  # rows that have one
        self._add("backward", index, word_writes=times * writes * stage.out_channels)
        size = times * sent * stage.out_channels * channels * self._operand
        self._add("backward_weights", index, read_bytes=size)
        # Every gradient of a frame once a tap and position that it reaches, and its mask.
        reached = int(np.count_nonzero(stage.backward_taps >= 0)) * frames * stage.out_channels
        self._add(
            "backward_inputs",
            index,
            read_bytes=times * (reached * self._operand + positions * channels / 8),
        )
        self._add(
            "backward_results", index, written_bytes=times * positions * channels * self._operand
        )

    def _vector(
        self, index: int, stage: Stage, operation: Operation, frames: int, channels: int, times: int
    ) -> None:
        elements = frames * stage.out_positions * channels
        if operation == Operation.NORM_FINISH:
            elements = channels
        elif operation == Operation.OPTIMISE:  # frames says in how many pieces
            elements = -(-stage.taps * stage.in_channels * channels // frames)
        stages = self._network.stages
        users = [
            stages[user].pool if port == "input" else 1
            for user, port in self._network.consumers(index)
        ]
        work = vector_work(
            stage,
            operation,
            users,
            self._program.recipe.timesteps,
            constant=self._network.is_constant(stage),
        )
        count = times * elements
        self._add(
            "vector", index, elements=count, multiplies=count * work.multiplies, adds=count * work.adds,
            divides=count * work.divides,
        )  # fmt: skip
        from_engine = operation in (Operation.NEURONS, Operation.READOUT, Operation.NORM_SUMS) or (
            operation == Operation.NORM_NEURONS
            and stage.norm is not None
            and stage.norm.kind == "frozen"
        )
        if from_engine:
            self._add("forward_results", index, read_bytes=count * self._sum)


def tiles_under(stage: Stage, frames: int, tile: int) -> list[Ints]:
    """Return for each tap the tiles of positions that need its weights; in the engine's order of positions."""
    places = np.concatenate([np.tile(phase, frames) for phase in stage.backward_phases])
    under = stage.backward_taps[places] >= 0
    return [np.unique(np.flatnonzero(under[:, tap]) // tile) for tap in range(stage.taps)]


def _check(program: LearnProgram, backward: Sequence[BackwardCounts], counts: StepCounts) -> None:
    """Work the totals out in another way; ArithmeticError if they differ."""
    network, config, recipe = program.network, program.config.learn, program.recipe
    lookups = 0
    for stage in network.stages:
        frames = program.batch * (1 if network.is_constant(stage) else recipe.timesteps)
        groups = input_groups(stage, config.forward.group)
        lookups += frames * prod(stage.out_shape) * groups * network.planes(stage)
    products = sum(work.products for work in backward)
    moved = int(program.tasks[:, FIELD["bytes"]].sum())
    expected = {
        "lookups of the forward engine": (counts.total("forward", "lookups"), lookups),
        "products": (counts.total("backward", "products"), products),
        "bytes of the memory": (
            counts.total("dram", "read_bytes") + counts.total("dram", "written_bytes"), moved,
        ),
        "bytes of loads": (_buffers(counts.rows, "filled_bytes"), counts.total("dram", "read_bytes")),
        "bytes of stores": (_buffers(counts.rows, "drained_bytes"), counts.total("dram", "written_bytes")),
        "gradients taken and skipped": (
            counts.total("backward", "taken") + counts.total("backward", "skipped"),
            sum(work.inputs for work in backward),
        ),
    }  # fmt: skip
    for what, (got, want) in expected.items():
        if got != want:
            raise ArithmeticError(f"{what}: the rows sum to {got:,}, the step to {want:,}")
    if any(row.count < 0 for row in counts.rows):
        raise ArithmeticError("an event was counted less than no times")


def _buffers(rows: Iterable[CountRow], event: str) -> int:
    return sum(row.count for row in rows if row.event == event)
