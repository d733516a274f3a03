"""Tasks of a training step: complete, within the buffers, and never before what they need, however long each takes."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from spikeloom.chip.config import load_config
from spikeloom.chip.learn_network import (
    INPUT,
    InputFormat,
    LearnError,
    LearnNetwork,
    Neuron,
    Norm,
    Recipe,
    Stage,
)
from spikeloom.chip.learn_program import (
    ENGINES,
    FIELD,
    LearnProgram,
    Operation,
    Queue,
    check_learn_program,
)
from spikeloom.compiler.learn_tasks import learn_tasks
from tests.support.learn_networks import BUFFERS, Case, cases, learn_chip

STATE = (Operation.NEURONS, Operation.NORM_NEURONS, Operation.READOUT)
GRADIENTS = (Operation.NEURON_GRADIENTS, Operation.NORM_GRADIENTS, Operation.TIME_SUMS)


@dataclass(frozen=True)
class Task:
    """A row of the program, and what the vector unit or an engine had made that a store writes."""

    index: int
    queue: Queue
    operation: Operation
    stage: int
    part: int
    frames: range
    channels: range
    size: int
    number: int  # in its queue, from 1 on
    stores: Operation | None = None

    def meets(self, frames: range, channels: range | None = None) -> bool:
        """Whether frames and channels overlap."""
        return overlap(self.frames, frames) and (
            channels is None or overlap(self.channels, channels)
        )


def overlap(a: range, b: range) -> bool:
    return max(a.start, b.start) < min(a.stop, b.stop)


def tasks_of(program: LearnProgram) -> list[Task]:
    counts: dict[Queue, int] = defaultdict(int)
    tasks: list[Task] = []
    by_number: dict[tuple[Queue, int], Task] = {}
    for index, row in enumerate(program.tasks.tolist()):
        queue, operation, stage, part, first, frames, channel, channels, size = row
        counts[Queue(queue)] += 1
        stores = None
        if queue == Queue.STORE_VECTOR:
            stores = by_number[Queue.VECTOR, int(program.waits[index, Queue.VECTOR])].operation
        task = Task(
            index, Queue(queue), Operation(operation), stage, part, range(first, first + frames),
            range(channel, channel + channels), size, counts[Queue(queue)], stores,
        )  # fmt: skip
        tasks.append(task)
        by_number[task.queue, task.number] = task
    return tasks


def ended_before(program: LearnProgram, tasks: list[Task]) -> list[np.ndarray]:
    """How many tasks of each queue have ended when a task starts, whatever the times: from tokens and order alone."""
    known: list[np.ndarray] = []
    last: dict[Queue, Task] = {}
    by_number = {(t.queue, t.number): t for t in tasks}
    for task in tasks:
        counts = np.zeros(len(Queue), np.int64)
        before = last.get(task.queue)
        if before is not None:
            counts = known[before.index].copy()
            if (
                task.queue in ENGINES
            ):  # transfers start in order, and may overlap in their latencies
                counts[task.queue] = before.number
        for queue, needed in enumerate(program.waits[task.index].tolist()):
            if needed:
                counts = np.maximum(counts, known[by_number[Queue(queue), needed].index])
                counts[queue] = max(counts[queue], needed)
        known.append(counts)
        last[task.queue] = task
    return known


class Checker:
    """All that a program must keep."""

    def __init__(self, program: LearnProgram) -> None:
        self.program, self.network = program, program.network
        self.tasks = tasks_of(program)
        self.known = ended_before(program, self.tasks)
        self.steps = program.recipe.timesteps
        self.checked: dict[str, int] = defaultdict(int)
        self.by: dict[tuple[Queue, int, int], list[Task]] = defaultdict(list)
        for task in self.tasks:
            self.by[task.queue, task.part, task.stage].append(task)

    def of(self, queue: Queue, part: int, stage: int) -> list[Task]:
        return self.by[queue, part, stage]

    def needs(self, name: str, task: Task, makers: list[Task]) -> None:
        for maker in makers:
            has = self.known[task.index][maker.queue] >= maker.number
            assert has, f"{name}: {task} may start before {maker} has ended"
            self.checked[name] += 1

    def steps_of(self, stage: int) -> int:
        return 1 if self.network.is_constant(self.network.stages[stage]) else self.steps

    def samples(self, frames: range) -> range:
        """Frames of all samples that some of ``frames`` belong to."""
        steps = self.steps
        return range(frames.start // steps * steps, -(-frames.stop // steps) * steps)

    def run(self) -> None:
        for task in self.tasks:
            check = {
                Queue.LOAD_FORWARD: self.load_forward, Queue.FORWARD: self.forward, Queue.VECTOR: self.vector,
                Queue.LOAD_BACKWARD: self.load_backward, Queue.BACKWARD: self.backward,
                Queue.LOAD_UPDATE: self.load_update, Queue.UPDATE: self.update,
                Queue.STORE_UPDATE: self.store_update,
                Queue.STORE_BACKWARD: self.store_backward,
            }.get(task.queue)  # fmt: skip
            if check is not None:
                check(task)

    def states(
        self, task: Task, stage: int, frames: range, channels: range | None = None
    ) -> list[Task]:
        """Stores of a stage's membranes and spikes, or of its sums."""
        found = [
            t for t in self.of(Queue.STORE_VECTOR, task.part, stage) if t.stores in STATE and t.meets(frames, channels)
        ]  # fmt: skip
        assert found, f"nothing stores what {task} reads"
        return found

    def final_gradients(self, task: Task, stage: int, frames: range) -> list[Task]:
        """Stores of the gradients that the backward and update engines read."""
        if stage == len(self.network.stages) - 1:
            return self.states(
                task, stage, self.samples(frames) if self.steps_of(stage) > 1 else range(10**9)
            )
        norm = self.network.stages[stage].norm
        last = Operation.NEURON_GRADIENTS
        if norm is not None and norm.kind == "batch":
            last = Operation.NORM_GRADIENTS
        if (self.steps_of(stage) == 1 and self.steps > 1) or self.network.is_constant(
            self.network.stages[stage]
        ):
            last = Operation.TIME_SUMS
            frames = range(frames.start * self.steps, frames.stop * self.steps)
        found = [
            t
            for t in self.of(Queue.STORE_VECTOR, task.part, stage)
            if t.stores == last and t.meets(frames)
        ]
        assert found, f"nothing stores the gradients that {task} reads"
        return found

    def load_forward(self, task: Task) -> None:
        if len(task.frames) == 0:
            return
        for source in self.network.stages[task.stage].sources:
            if source != INPUT:
                self.needs("spikes", task, self.states(task, source, task.frames))

    def forward(self, task: Task) -> None:
        loads = self.of(Queue.LOAD_FORWARD, task.part, task.stage)
        mine = [
            t
            for t in loads
            if t.channels == task.channels and (t.frames == task.frames or not len(t.frames))
        ]
        assert len(mine) == 2
        self.needs("forward loads", task, mine)

    def vector(self, task: Task) -> None:
        stage = self.network.stages[task.stage]
        repeats = self.steps // self.steps_of(task.stage)
        inputs = range(task.frames.start // repeats, -(-task.frames.stop // repeats))
        vectors = self.of(Queue.VECTOR, task.part, task.stage)
        sums = self.of(Queue.FORWARD, task.part, task.stage)
        if task.operation == Operation.NORM_SUMS:
            self.needs("sums", task, [t for t in sums if t.meets(task.frames, task.channels)])
        elif task.operation in STATE:
            made = [t for t in sums if t.meets(inputs, task.channels)]
            assert made
            self.needs("sums", task, made)
            if stage.norm is not None and stage.norm.kind == "batch":
                finish = [
                    t for t in vectors
                    if t.operation == Operation.NORM_FINISH
                    and overlap(t.channels, task.channels) and t.index < task.index
                ]  # fmt: skip
                assert finish
                self.needs("statistics", task, finish)
                raw = [
                    t for t in self.of(Queue.STORE_VECTOR, task.part, task.stage)
                    if t.stores == Operation.NORM_SUMS and t.meets(inputs, task.channels)
                ]  # fmt: skip
                assert raw
                self.needs("norm input", task, raw)
            if stage.shortcut is not None:
                self.needs(
                    "shortcut", task, self.states(task, stage.shortcut, task.frames, task.channels)
                )
        elif task.operation == Operation.NORM_FINISH:
            of = (Operation.NORM_SUMS, Operation.NEURON_GRADIENTS)
            made = [
                t
                for t in vectors
                if t.operation in of and t.index < task.index and overlap(t.channels, task.channels)
            ]
            assert made
            self.needs("sums of statistics", task, made)
        elif task.operation == Operation.NEURON_GRADIENTS:
            self.neuron_gradients(task)
        elif task.operation in GRADIENTS:
            before = [
                t for t in vectors if t.operation == Operation.NORM_FINISH and t.index < task.index
            ]
            if stage.norm is not None and stage.norm.kind == "batch":
                assert len(before) >= 2  # of the forward pass, and of this one
                self.needs("gradient statistics", task, before)
            made = [
                t for t in self.of(Queue.STORE_VECTOR, task.part, task.stage)
                if t.stores == Operation.NEURON_GRADIENTS and t.meets(task.frames, task.channels)
            ]  # fmt: skip
            assert made
            self.needs("gradients", task, made)
        elif task.operation == Operation.OPTIMISE:
            last = len(self.program.parts) - 1
            made = self.of(Queue.STORE_UPDATE, last, task.stage)
            assert made
            self.needs("weight gradients", task, made)
            # The engines' copies of the weights are overwritten.
            for part in range(last + 1):
                self.needs("weights read", task, self.of(Queue.FORWARD, part, task.stage))
                self.needs("weights read", task, self.of(Queue.BACKWARD, part, task.stage))
                self.needs("gradients read", task, self.of(Queue.UPDATE, part, task.stage))

    def neuron_gradients(self, task: Task) -> None:
        for user, port in self.network.consumers(task.stage):
            if port == "input":
                made = [
                    t
                    for t in self.of(Queue.STORE_BACKWARD, task.part, user)
                    if t.meets(task.frames)
                ]
                channels = self.network.stages[user].in_shape[2]
                assert {c for t in made for c in t.channels} == set(range(channels))
            else:
                made = [
                    t for t in self.of(Queue.STORE_VECTOR, task.part, user)
                    if t.stores == Operation.NEURON_GRADIENTS and t.meets(task.frames, task.channels)
                ]  # fmt: skip
                assert made
            self.needs("gradients of the output", task, made)
        if self.network.stages[task.stage].neuron is not None:
            own = self.states(task, task.stage, self.samples(task.frames), task.channels)
            self.needs("membranes", task, own)

    def load_backward(self, task: Task) -> None:
        if len(task.frames):
            self.needs("gradients", task, self.final_gradients(task, task.stage, task.frames))

    def backward(self, task: Task) -> None:
        loads = self.of(Queue.LOAD_BACKWARD, task.part, task.stage)
        mine = [
            t
            for t in loads
            if t.channels == task.channels and (t.frames == task.frames or not len(t.frames))
        ]
        assert len(mine) == 2
        self.needs("backward loads", task, mine)

    def store_backward(self, task: Task) -> None:
        made = self.of(Queue.BACKWARD, task.part, task.stage)
        self.needs(
            "backward stores",
            task,
            [t for t in made if (t.frames, t.channels) == (task.frames, task.channels)],
        )

    def load_update(self, task: Task) -> None:
        if len(task.frames) == 0:
            before = self.of(Queue.STORE_UPDATE, task.part - 1, task.stage)
            made = [t for t in before if overlap(t.channels, task.channels)]
            assert made
            self.needs("partial weight gradients", task, made)
            return
        # Which of the two loads of a piece it is, bytes do not tell: what both wait for is checked at their user.

    def update(self, task: Task) -> None:
        loads = self.of(Queue.LOAD_UPDATE, task.part, task.stage)
        mine = [t for t in loads if t.channels == task.channels and t.frames == task.frames]
        assert len(mine) == 2
        self.needs("update loads", task, mine)
        self.needs("gradients", task, self.final_gradients(task, task.stage, task.frames))
        for source in self.network.stages[task.stage].sources:
            if source != INPUT:
                self.needs(
                    "update inputs", task, self.states(task, source, self.samples(task.frames))
                )
        if task.part:
            partial = [t for t in loads if not len(t.frames) and overlap(t.channels, task.channels)]
            assert partial
            self.needs("partial sums", task, partial)

    def store_update(self, task: Task) -> None:
        made = [
            t
            for t in self.of(Queue.UPDATE, task.part, task.stage)
            if overlap(t.channels, task.channels)
        ]
        assert made
        self.needs("update stores", task, made)


def check_coverage(program: LearnProgram, tasks: list[Task]) -> None:
    """Every frame and channel of every stage is worked on once, in order."""
    network, steps = program.network, program.recipe.timesteps
    done: dict[tuple[int, int, Operation], Any] = defaultdict(list)
    for task in tasks:
        done[task.part, task.stage, task.operation].append(task)
    for part, (_, samples) in enumerate(program.parts):
        for i, stage in enumerate(network.stages):
            mine = samples * (1 if network.is_constant(stage) else steps)
            expected = {
                Operation.FORWARD_SUMS: (mine, stage.out_shape[2]),
                Operation.WEIGHT_GRADIENTS: (mine, stage.out_shape[2]),
            }
            if INPUT not in stage.sources:
                expected[Operation.INPUT_GRADIENTS] = (mine, stage.in_shape[2])
            if i < len(network.stages) - 1:
                expected[Operation.NEURON_GRADIENTS] = (samples * steps, stage.out_shape[2])
                has_norm = stage.norm is not None
                expected[Operation.NORM_NEURONS if has_norm else Operation.NEURONS] = (
                    samples * steps,
                    stage.out_shape[2],
                )
            else:
                expected[Operation.READOUT] = (samples * steps, stage.out_shape[2])
            for operation, shape in expected.items():
                seen = np.zeros(shape, int)
                for task in done[part, i, operation]:
                    seen[
                        task.frames.start : task.frames.stop,
                        task.channels.start : task.channels.stop,
                    ] += 1
                assert np.all(seen == 1), (part, i, operation)
    for i, stage in enumerate(network.stages):
        optimised = done[len(program.parts) - 1, i, Operation.OPTIMISE]
        assert {c for t in optimised for c in t.channels} == set(range(stage.out_shape[2]))


def check_groups(program: LearnProgram, tasks: list[Task]) -> None:
    """Tables of the update run over whole groups of positions: a piece that is not the last ends with one."""
    group = program.config.learn.update.group
    pieces: dict[Any, list[Task]] = defaultdict(list)
    for task in tasks:
        if task.queue == Queue.UPDATE:
            pieces[task.part, task.stage, task.channels].append(task)
    for of in pieces.values():
        positions = program.network.stages[of[0].stage].out_positions
        for task in of[:-1]:
            assert len(task.frames) * positions % group == 0, task


def check_buffers(program: LearnProgram, tasks: list[Task]) -> None:
    """What a task brings or makes fits the buffer, and a half is filled again only when nobody uses it."""
    sizes = program.config.learn.buffers
    limits = {
        Queue.LOAD_FORWARD: max(sizes.forward_weights, sizes.forward_inputs),
        Queue.LOAD_BACKWARD: max(sizes.backward_weights, sizes.backward_inputs),
        Queue.LOAD_UPDATE: max(sizes.update_gradients, sizes.update_inputs, sizes.update_results),
        Queue.LOAD_VECTOR: sizes.vector_inputs, Queue.STORE_BACKWARD: sizes.backward_results,
        Queue.STORE_UPDATE: sizes.update_results, Queue.STORE_VECTOR: sizes.vector_results,
    }  # fmt: skip
    operand, total = (
        program.config.learn.operand_format.bytes,
        program.config.learn.accumulator_format.bytes,
    )
    known = ended_before(program, tasks)
    for task in tasks:
        stage = program.network.stages[task.stage]
        if task.queue in limits:
            assert task.size <= limits[task.queue], task
            is_used = (
                program.network.consumers(task.stage)
                or task.stage == len(program.network.stages) - 1
            )
            assert task.size > 0 or not is_used, task
        if task.queue == Queue.FORWARD:
            assert (
                len(task.frames) * stage.out_positions * len(task.channels) * total
                <= sizes.forward_results
            )
            assert (
                stage.taps * stage.in_channels * len(task.channels) * operand
                <= sizes.forward_weights
            )
    # (who fills, who uses): uses of half k - 2 have ended when k is filled.
    halves = {
        "forward_results": (
            Queue.FORWARD, lambda t: t.queue == Queue.VECTOR and t.operation in (Operation.NORM_SUMS, *STATE),
        ),
        "backward_results": (Queue.BACKWARD, lambda t: t.queue == Queue.STORE_BACKWARD),
        "vector_results": (Queue.VECTOR, lambda t: t.queue == Queue.STORE_VECTOR),
    }  # fmt: skip
    for name, (fills, uses) in halves.items():
        filled = [t for t in tasks if t.queue == fills and t.operation != Operation.NORM_FINISH]
        users: dict[int, list[Task]] = defaultdict(list)
        latest = -1
        order = {t.index: n for n, t in enumerate(filled)}
        for task in tasks:
            if task.index in order:
                latest = order[task.index]
            elif uses(task) and latest >= 0:
                # Of a norm of batch statistics the second visit reads what was stored.
                norm = program.network.stages[task.stage].norm
                if (
                    name == "forward_results"
                    and task.operation in STATE
                    and norm is not None
                    and norm.kind == "batch"
                ):
                    continue
                users[latest].append(task)
        assert not filled or users
        for n, task in enumerate(filled[2:], start=2):
            for user in users[n - 2]:
                assert known[task.index][user.queue] >= user.number, (
                    f"{name}: {task} may overwrite what {user} reads"
                )


def check_all(program: LearnProgram) -> dict[str, int]:
    check_learn_program(program)
    checker = Checker(program)
    checker.run()
    check_coverage(program, checker.tasks)
    check_groups(program, checker.tasks)
    check_buffers(program, checker.tasks)
    return checker.checked


def test_tasks_of_any_network():
    checked: dict[str, int] = defaultdict(int)

    @settings(
        max_examples=100, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
    )
    @given(cases())
    def run(case: Case) -> None:
        for batch in {case.recipe.batch, case.last_batch}:
            for name, count in check_all(
                learn_tasks(case.chip, case.network, case.recipe, batch)
            ).items():
                checked[name] += count

    run()
    assert len(checked) == 21, sorted(checked)
    assert min(checked.values()) >= 5, dict(checked)


def small_chip(**buffers: int) -> Any:
    """Buffers so small that layers are cut within a sample."""
    return learn_chip(buffers={**dict.fromkeys(BUFFERS, 1 << 14), **buffers})


def deep_network(norm: str | None) -> LearnNetwork:
    kind = None if norm is None else Norm("batch" if norm == "batch" else "frozen")
    shape, conv = (
        (4, 4, 12),
        {"kernel": (3, 3), "padding": (1, 1), "norm": kind, "neuron": Neuron()},
    )
    return LearnNetwork(
        InputFormat((4, 4, 2), bits=3, constant=False),
        (
            Stage("first", (4, 4, 2), shape, (INPUT,), **conv),  # pyright: ignore[reportArgumentType]
            Stage("second", shape, shape, (0,), **conv),  # pyright: ignore[reportArgumentType]
            Stage("third", shape, shape, (0, 1), shortcut=0, **conv),  # pyright: ignore[reportArgumentType]
            Stage("beside", shape, shape, (1,), norm=kind),
            Stage("fourth", shape, shape, (2,), shortcut=3, **conv),  # pyright: ignore[reportArgumentType]
            Stage("readout", (1, 1, 48), (1, 1, 3), (4,), pool=2),
        ),
    )


@pytest.mark.parametrize("norm", [None, "batch", "frozen"])
@pytest.mark.parametrize(
    "buffers",
    [
        {"vector_results": 600, "vector_inputs": 1400}, {"forward_results": 600}, {"forward_weights": 2400},
        {"backward_weights": 2400}, {"backward_inputs": 560}, {"update_gradients": 260, "update_inputs": 130},
        {"update_results": 4700},
    ],
    ids=lambda b: next(iter(b)),
)  # fmt: skip
def test_layers_that_are_cut(buffers, norm):
    """Within samples and within channels."""
    recipe = Recipe(timesteps=5, batch=3, micro_batches=2)
    whole = learn_tasks(small_chip(), deep_network(norm), recipe)
    program = learn_tasks(small_chip(**buffers), deep_network(norm), recipe)
    assert len(program.tasks) > len(whole.tasks)
    check_all(program)


@pytest.mark.parametrize("steps", [4, 6])
def test_the_readout_waits_for_a_sample_to_be_whole(steps):
    """The loss of a sample is known at its last timestep, however small the pieces of the readout are."""
    network = deep_network(None)
    program = learn_tasks(
        small_chip(vector_results=300, forward_inputs=64), network, Recipe(timesteps=steps, batch=2)
    )
    readouts = [t for t in tasks_of(program) if t.operation == Operation.READOUT]
    assert len(readouts) > 0
    check_all(program)


@pytest.mark.parametrize("inputs", [64, 96, 100, 128, 140, 192, 256, 300, 10000])
@pytest.mark.parametrize("group", [3, 4, 8])
def test_pieces_of_the_update_are_whole_groups(group, inputs):
    """Also where several timesteps of one position make a group, and where a sample is no multiple of it."""
    stage = Stage("readout", (1, 1, 192), (1, 1, 3), (0,))
    first = Stage("first", (4, 4, 6), (4, 4, 12), (INPUT,), neuron=Neuron())
    network = LearnNetwork(InputFormat((4, 4, 6), bits=1, constant=False), (first, stage))
    chip = learn_chip(update={"group": group}, buffers={"update_inputs": inputs})
    recipe = Recipe(timesteps=9, batch=3)
    if inputs < 32 * group:
        with pytest.raises(
            LearnError,
            match=f"layer readout: {group} timesteps at a time do not fit update_gradients",
        ):
            learn_tasks(chip, network, recipe)
        return
    program = learn_tasks(chip, network, recipe)
    check_all(program)
    pieces = [t for t in tasks_of(program) if t.queue == Queue.UPDATE and t.stage == 1]
    assert len(pieces) == -(-27 // len(pieces[0].frames))
    assert (len(pieces) > 1) == (inputs < 24 * 27)


def test_loads_run_beside_the_work_before():
    """Buffers are there twice: a load waits for the last user but one, and no other."""
    program = learn_tasks(
        small_chip(forward_inputs=64), deep_network(None), Recipe(timesteps=12, batch=2)
    )
    tasks = tasks_of(program)
    known = ended_before(program, tasks)
    loads = [t for t in tasks if t.queue == Queue.LOAD_FORWARD and t.stage == 0 and len(t.frames)]
    work = [t for t in tasks if t.queue == Queue.FORWARD and t.stage == 0]
    assert len(loads) == len(work) > 3
    for k, load in enumerate(loads[1:], start=1):
        ended = known[load.index][Queue.FORWARD]
        assert ended < work[k - 1].number
        assert k == 1 or ended == work[k - 2].number


def test_presets_take_small_networks():
    for preset in ("h2learn", "h2learn_small"):
        assert check_all(
            learn_tasks(load_config(preset), deep_network("batch"), Recipe(timesteps=2, batch=2))
        )


@pytest.mark.parametrize(
    ("buffers", "sentence"),
    [
        ({"forward_weights": 100}, "layer first: one word of channels needs 1,152 bytes of forward_weights, which"),
        ({"forward_inputs": 64}, None),
        ({"backward_weights": 100}, "layer readout: one word of input channels needs 128 bytes of backward_weights"),
        ({"update_results": 200}, "layer readout: one word of channels needs 1,536 bytes of update_results, which"),
        ({"backward_inputs": 100}, "of backward_inputs, which holds 100; choose a chip with larger buffers"),
    ],
)  # fmt: skip
def test_buffers_that_are_too_small(buffers, sentence):
    recipe = Recipe(timesteps=2, batch=1)
    if sentence is None:
        learn_tasks(small_chip(**buffers), deep_network(None), recipe)
        return
    with pytest.raises(LearnError) as caught:
        learn_tasks(small_chip(**buffers), deep_network(None), recipe)
    assert sentence in str(caught.value)
    assert "choose a chip with larger buffers" in str(caught.value)


def test_a_smaller_last_batch_is_cut_anew():
    recipe = Recipe(timesteps=3, batch=7, micro_batches=3)
    found = [learn_tasks(small_chip(), deep_network(None), recipe, n).parts for n in (7, 5, 2, 1)]
    assert found == [
        ((0, 3), (3, 3), (6, 1)), ((0, 2), (2, 2), (4, 1)), ((0, 1), (1, 1)), ((0, 1),),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("queue", "queue must be within 0..10, not 11"), ("operation", "operation must be within 0..12, not 13"),
        ("stage", "stage must be within 0..5, not 6"), ("part", "part must be within 0..0, not 1"),
        ("token", "task 0 waits for a task that does not come before it"), ("shape", "do not have the shape"),
    ],
)  # fmt: skip
def test_programs_that_cannot_run_are_refused(change, sentence):
    program = learn_tasks(small_chip(), deep_network(None), Recipe(timesteps=2, batch=2))
    tasks, waits = program.tasks.copy(), program.waits.copy()
    if change == "token":
        waits[0, Queue.FORWARD] = 1
    elif change == "shape":
        tasks = tasks[:, :-1]
    else:
        tasks[1, FIELD[change]] = {"queue": 11, "operation": 13, "stage": 6, "part": 1}[change]
    broken = LearnProgram(
        config=program.config, network=program.network, recipe=program.recipe, batch=program.batch,
        tasks=tasks, waits=waits, places=program.places,
    )  # fmt: skip
    with pytest.raises(LearnError, match=sentence.replace(".", r"\.")):
        check_learn_program(broken)


def test_buffers_are_filled_half_by_half_and_emptied_where_they_were_filled():
    program = learn_tasks(small_chip(), deep_network(None), Recipe(timesteps=2, batch=4))
    buffers = program.config.learn.buffers
    names, sizes = list(buffers.sizes), list(buffers.sizes.values())
    assert [buffers.address(n, h) for n in (0, 1) for h in (0, 1)] == [
        0, sizes[0], 2 * sizes[0], 2 * sizes[0] + sizes[1]
    ]  # fmt: skip
    assert buffers.address(len(names) - 1, 1) + sizes[-1] == buffers.total
    last: dict[str, tuple[int, ...]] = {}
    emptied = 0
    for (queue, operation, *_), (number, half) in zip(
        program.tasks.tolist(), program.places.tolist(), strict=True
    ):
        if operation == Operation.NORM_FINISH:
            assert number == -1
            continue
        name = names[number]
        if queue >= Queue.STORE_BACKWARD:
            assert last[name] == (half,)
            emptied += 1
            continue
        goes_on = queue == Queue.UPDATE or (queue == Queue.LOAD_UPDATE and name == "update_results")
        if name in last and not goes_on:
            assert last[name] != (half,)
        last[name] = (half,)
    assert emptied > 10
    places = program.places.copy()
    places[3] = (len(names), 0)
    with pytest.raises(LearnError, match=r"task 3: .* do not fit copy 0 of buffer 11"):
        check_learn_program(replace(program, places=places))
