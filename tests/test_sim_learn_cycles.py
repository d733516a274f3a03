"""Cycles of the learning engines: the backward engine step by step, queues event by event, closed forms by counting."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeloom.chip.learn_config import LookupConfig
from spikeloom.chip.learn_network import (
    INPUT,
    InputFormat,
    LearnNetwork,
    Neuron,
    Norm,
    Recipe,
    Stage,
)
from spikeloom.chip.learn_program import ENGINES, LearnProgram, Operation, Queue
from spikeloom.chip.learn_timing import (
    DISPATCH_CYCLES,
    FETCH_CYCLES,
    LOOKUP_STAGES,
    backward_drain,
    backward_fill,
    backward_prepare,
    backward_tiles,
    backward_used,
    forward_cycles,
    lookup_cycles,
    table_schedule,
    transfer_cycles,
    update_cycles,
)
from spikeloom.chip.learn_vector import DIVIDE_CYCLES, ROOT_CYCLES, vector_cycles
from spikeloom.sim.engines import backward
from spikeloom.sim.engines.timeline import run_timeline
from tests.support.golden_learn import backward_task, golden_timeline
from tests.support.learn_networks import learn_chip

pytestmark = pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT", "0") != "0", reason="vector instructions need the compiler"
)


# -------------------------------------------------------------------------------- backward engine


def conv(side: int, kernel: int, stride: int, channels: tuple[int, int]) -> Stage:
    out = (side + 2 * (kernel // 2) - kernel) // stride + 1
    return Stage(
        "conv", (side, side, channels[0]), (out, out, channels[1]), (0,), kernel=(kernel, kernel),
        stride=(stride, stride), padding=(kernel // 2, kernel // 2), neuron=Neuron(),
    )  # fmt: skip


def run_engine(config: Any, stage: Stage, inputs: Any, masks: Any) -> tuple[int, int, int, int]:
    """The simulator's count for all frames of ``inputs`` (frames, positions, channels) as one task."""
    engine = config.backward
    rows = np.ascontiguousarray(inputs.reshape(-1, stage.out_shape[2]).astype(np.float32))
    counts = np.zeros((len(rows), -(-stage.out_shape[2] // engine.depth)), np.int32)
    backward.count_nonzeros(rows, engine.depth, 0, len(rows), counts)
    channels = masks.shape[2]
    cycles, seen, taken, products = backward.backward_cycles(
        config, stage, counts, masks.sum(axis=2).astype(np.int32), channels
    )
    fill = backward_fill(config, channels, masks.shape[0] * masks.shape[1])
    return cycles + fill, seen, taken, products


@settings(max_examples=60)
@given(data=st.data())
def test_backward_engine_step_by_step(data):
    draw = data.draw
    stage = conv(
        draw(st.integers(2, 4)), draw(st.sampled_from([1, 3])), draw(st.integers(1, 2)),
        (draw(st.integers(1, 9)), draw(st.integers(1, 9))),
    )  # fmt: skip
    chip = learn_chip(
        backward={
            "rows": draw(st.integers(1, 4)), "lanes": draw(st.integers(1, 5)), "contexts": draw(st.integers(1, 4)),
            "channels": stage.in_shape[2], "depth": draw(st.integers(1, 10)),
        },
        adder_stages=draw(st.integers(1, 4)), multiplier_stages=draw(st.integers(1, 4)),
    )  # fmt: skip
    config = chip.learn
    rng = np.random.default_rng(draw(st.integers(0, 1 << 20)))
    frames = draw(st.integers(1, 3))
    inputs = rng.random((frames, stage.out_positions, stage.out_shape[2])) < rng.random()
    masks = rng.random((frames, stage.in_positions, stage.in_shape[2])) < rng.random()
    golden = backward_task(config, stage, list(inputs), list(masks))
    assert run_engine(config, stage, inputs, masks) == golden
    # Every product of a nonzero gradient with a wanted output under one of its taps, once.
    products = sum(
        int(inputs[f, p].sum()) * int(masks[f, q].sum())
        for f in range(frames)
        for p, line in enumerate(stage.forward_taps.tolist())
        for q in line
        if q >= 0
    )
    assert golden[3] == products


def test_backward_engine_by_hand():
    """One row, two lanes, one context; two of three inputs are not 0; three outputs, all wanted: two turns each."""
    config = learn_chip(
        backward={"rows": 1, "lanes": 2, "contexts": 1, "channels": 3, "depth": 8}, adder_stages=3, multiplier_stages=2
    ).learn  # fmt: skip
    stage = Stage("dense", (1, 1, 3), (1, 1, 3), (0,))
    inputs, masks = np.array([[[1, 0, 1]]]), np.ones((1, 1, 3), bool)
    # Two cycles to start; a row with positions, its 8 masks and 4 cycles on the way; a tap's question, eight words, two
    # cycles on the way, two turns, two more once the sums can be read again, the last sums' way; 8 results, and out.
    assert run_engine(config, stage, inputs, masks) == (
        2 + (1 + 1 + 4) + (1 + 8 + 2 + 5 + 2 + 7) + (8 + 1 + 2), 3, 2, 6
    )  # fmt: skip
    # Nothing wanted: the words pass all the same.
    assert run_engine(config, stage, inputs, masks & False) == (
        2 + (1 + 1 + 4) + (1 + 8 + 2 + 7) + (8 + 1 + 2), 3, 0, 0
    )  # fmt: skip


def random_work(density: float, mask: float, seed: int = 0) -> tuple[float, float]:
    """Cycles of random work over those of dense work: simulated, and ideal."""
    config = learn_chip(
        backward={"rows": 8, "lanes": 16, "contexts": 4, "channels": 128, "depth": 128}
    ).learn
    stage = conv(8, 3, 1, (128, 128))
    rng = np.random.default_rng(seed)
    shape = (4, stage.out_positions, 128)
    dense = run_engine(config, stage, np.ones(shape, bool), np.ones(shape, bool))
    inputs, masks = rng.random(shape) < density, rng.random(shape) < mask
    work = run_engine(config, stage, inputs, masks)
    return work[0] / dense[0], work[3] / dense[3]


def test_backward_engine_never_beats_the_ideal_and_reaches_most_of_it():
    before = 0.0
    for density in (0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0):
        cycles, ideal = random_work(density, density)
        # Sparser work waits for weights: a word a cycle passes, wanted or not: spikeloom calibrate --only H7.
        assert ideal <= cycles <= (ideal / 0.6 if density > 0.2 else 1.0)
        assert cycles > before
        before = cycles
    assert before == 1.0
    assert (
        random_work(0.4, 1.0)[0] < random_work(0.5, 1.0)[0] < random_work(0.5, 1.0)[0] + 1e-9 <= 0.6
    )
    assert random_work(1.0, 0.4)[0] < random_work(1.0, 0.6)[0]


def test_dense_work_takes_the_products_over_the_multipliers():
    config = learn_chip(
        backward={"rows": 8, "lanes": 16, "contexts": 4, "channels": 128, "depth": 32}
    ).learn
    stage = conv(8, 1, 1, (128, 128))
    ones = np.ones((16, 64, 128), bool)
    cycles, seen, taken, products = run_engine(config, stage, ones, ones)
    assert seen == taken == 16 * 64 * 128
    assert products == 128 * taken
    ideal = products / (8 * 16)
    assert ideal <= cycles <= 1.02 * ideal


# ----------------------------------------------------------------------------------------- queues


def program_of(tasks: list[tuple[int, int]], waits: list[list[int]], chip: Any) -> LearnProgram:
    """Transfers of so many bytes, in any queues: what a task does is nothing to the queues."""
    network = LearnNetwork(InputFormat((1, 1, 1)), (Stage("only", (1, 1, 1), (1, 1, 2), (INPUT,)),))
    rows = [(queue, Operation.TRANSFER, 0, 0, 0, 0, 0, 0, size) for queue, size in tasks]
    return LearnProgram(
        config=chip, network=network, recipe=Recipe(timesteps=1, batch=1), batch=1,
        tasks=np.array(rows, np.int64).reshape(-1, 9), waits=np.array(waits, np.int64).reshape(-1, len(Queue)),
        places=np.full((len(tasks), 2), -1),
    )  # fmt: skip


@st.composite
def graphs(draw: st.DrawFn) -> LearnProgram:
    rng = np.random.default_rng(draw(st.integers(0, 1 << 24)))
    count = draw(st.integers(1, 60))
    few = draw(st.booleans())
    queues = rng.integers(0, len(Queue), count) if not few else rng.choice([0, 2, 4, 8, 10], count)
    before = np.zeros(len(Queue), np.int64)
    tasks, waits = [], []
    for queue in queues.tolist():
        # Tokens of tasks that stand before; most of recent ones.
        needs = np.maximum(before - rng.integers(0, 4, len(Queue)), 0) * (
            rng.random(len(Queue)) < 0.3
        )
        tasks.append((queue, int(rng.integers(0, 40))))
        waits.append(needs.tolist())
        before[queue] += 1
    dram = {
        "bytes_per_cycle": draw(st.integers(1, 3)),
        "latency_cycles": draw(st.sampled_from([0, 1, 5, 30])),
    }
    return program_of(tasks, waits, learn_chip(dram=dram))


@settings(max_examples=150)
@given(graphs())
def test_queues_event_by_event(program):
    timeline = run_timeline(program, np.zeros(0, np.int64))
    dram = program.config.learn.dram
    sizes = program.column("bytes").tolist()
    busy = [-(-size // dram.bytes_per_cycle) for size in sizes]
    queues = program.column("queue").tolist()
    assert timeline.busy.tolist() == busy
    start, end = golden_timeline(
        queues, program.waits.tolist(), busy, dram.latency_cycles, DISPATCH_CYCLES, FETCH_CYCLES
    )
    assert timeline.start.tolist() == start
    assert timeline.end.tolist() == end
    check_stalls(program, timeline)
    check_order(program, timeline)


def check_stalls(program: LearnProgram, timeline: Any) -> None:
    """What an engine waits for the tokens of its tasks is blamed once, on the queue whose token came last."""
    expected = np.zeros((len(Queue), len(Queue)), np.int64)
    queues = program.column("queue").tolist()
    for engine in ENGINES:
        free = 0
        for task in [i for i, q in enumerate(queues) if q == engine]:
            before, free = free, int(timeline.end[task])
            blamed: list[tuple[int, int]] = [(before, 0)]
            for queue, needed in enumerate(program.waits[task].tolist()):
                if needed:
                    of_queue = [i for i, q in enumerate(queues) if q == queue]
                    blamed.append((int(timeline.end[of_queue[needed - 1]]), -queue))
            latest, cause = max(blamed)
            assert latest <= int(timeline.start[task]) - DISPATCH_CYCLES
            expected[engine, -cause] += latest - before
    assert np.array_equal(timeline.stalls, expected)


def check_order(program: LearnProgram, timeline: Any) -> None:
    """Nothing runs twice at a time in an engine or on the channel, and nothing before its tokens."""
    queues = program.column("queue")
    ends = {q: timeline.end[queues == q] for q in Queue}
    for task, needs in enumerate(program.waits.tolist()):
        for queue, needed in enumerate(needs):
            if needed:
                assert ends[Queue(queue)][needed - 1] <= timeline.start[task] - DISPATCH_CYCLES
    shared = [queues == engine for engine in ENGINES] + [queues >= len(ENGINES)]
    for chosen in shared:
        order = np.argsort(timeline.start[chosen], kind="stable")
        start, busy = timeline.start[chosen][order], timeline.busy[chosen][order]
        assert np.all(start[1:] >= (start + busy)[:-1] + DISPATCH_CYCLES)


def test_queues_by_hand():
    """A load, the engine that waits for it, and a second load beside it on the one channel."""
    none = [0] * len(Queue)
    after_load = list(none)
    after_load[Queue.LOAD_FORWARD] = 1
    program = program_of(
        [(Queue.LOAD_FORWARD, 10), (Queue.FORWARD, 7), (Queue.LOAD_UPDATE, 3)], [none, after_load, none],
        learn_chip(dram={"bytes_per_cycle": 1, "latency_cycles": 5}),
    )  # fmt: skip
    timeline = run_timeline(program, np.zeros(0, np.int64))
    # The channel is free at 12, the first load has ended at 17, counted from where the first commands are there.
    assert (timeline.start - FETCH_CYCLES).tolist() == [2, 19, 14]
    assert (timeline.end - FETCH_CYCLES).tolist() == [17, 26, 22]
    assert timeline.cycles == FETCH_CYCLES + 26
    waited = timeline.stalls[Queue.FORWARD, Queue.LOAD_FORWARD]
    assert waited == timeline.stalls.sum() == FETCH_CYCLES + 17


def test_commands_are_fetched_one_after_the_other():
    """A queue of short transfers goes no faster than its commands are read."""
    none = [0] * len(Queue)
    chip = learn_chip(dram={"bytes_per_cycle": 1, "latency_cycles": 5})
    timeline = run_timeline(
        program_of([(Queue.LOAD_UPDATE, 1)] * 3, [none] * 3, chip), np.zeros(0, np.int64)
    )
    assert (timeline.start - DISPATCH_CYCLES).tolist() == [FETCH_CYCLES * n for n in (1, 2, 3)]


# ----------------------------------------------------------------------------------- closed forms


@settings(max_examples=60)
@given(
    rows=st.integers(1, 9), columns=st.integers(1, 40), groups=st.integers(1, 7), planes=st.integers(1, 3),
    engine_rows=st.integers(1, 4), engine_columns=st.integers(1, 4), interleave=st.integers(3, 5),
)  # fmt: skip
def test_lookup_cycles_count_tiles(
    rows, columns, groups, planes, engine_rows, engine_columns, interleave
):
    sizes = {"rows": engine_rows, "columns": engine_columns, "interleave": interleave}
    config = learn_chip(forward=sizes, adder_stages=3).learn
    total = 0
    for _ in range(0, rows, engine_rows):
        for _ in range(0, columns, engine_columns * interleave):
            work = sum(interleave for _ in range(groups) for _ in range(planes))
            leave = sum(1 for _ in range(engine_columns) for _ in range(interleave))
            total += max(work, leave)
    # Set-up and operands' way; the first table, or the list of the first tile's outputs; entry, scale, sum; the last
    # tile's columns leave one after the other, and a register.
    table = table_schedule(4, interleave, 3).length
    for ahead in (0, 50):
        fill = 3 + 3 + max(table - 1, ahead) + (1 + 1 + 3) + (engine_columns - 1) * interleave + 2
        counted = lookup_cycles(config, config.forward, rows, columns, groups, planes, ahead)
        assert counted == total + fill


@given(group=st.integers(1, 6), interleave=st.integers(1, 9), stages=st.integers(1, 9))
def test_tables_are_built_one_after_the_other(group, interleave, stages):
    schedule = table_schedule(group, interleave, stages)
    ready = {1 << bit: cycle for bit, cycle in enumerate(schedule.operands)}
    assert max(schedule.operands) < interleave
    taken = set()
    for entry, (cycle, adder) in sorted(schedule.additions.items()):
        high = 1 << (entry.bit_length() - 1)
        assert cycle >= max(ready[entry - high], ready[high])
        ready[entry] = cycle + stages
        taken.add((cycle % interleave, adder))
    assert sorted(ready) == list(range(1, 1 << group))
    assert len(taken) == len(schedule.additions)  # also with another table behind it
    sizes = LookupConfig(group=group, interleave=interleave)
    assert all(adder < sizes.build_adders for _, adder in taken)
    assert schedule.length > max(ready.values())


def test_forward_and_update_count_their_groups():
    stage = Stage(
        "conv",
        (5, 5, 6),
        (5, 5, 10),
        (INPUT,),
        kernel=(3, 3),
        padding=(1, 1),
        groups=2,
        neuron=Neuron(),
    )
    network = LearnNetwork(
        InputFormat((5, 5, 6), bits=3), (stage, Stage("readout", (1, 1, 250), (1, 1, 2), (0,)))
    )
    config = learn_chip(
        forward={"group": 2, "rows": 2, "columns": 2, "interleave": 4},
        update={"group": 3, "rows": 3, "columns": 1, "interleave": 5},
    ).learn  # fmt: skip
    # 9 taps, 3 channels, as 4, in tables of 2, 3 planes; 10 channels, as 12, in tiles of 2, 50 positions in tiles of 8.
    # The 8 positions of a tile are listed before its first table serves, which takes longer.
    assert table_schedule(2, 4, 3).length == 5
    assert forward_cycles(config, network, stage, 10, 2) == (
        6 * 7 * 4 * (9 * 2 * 3) + 8 + 3 + LOOKUP_STAGES + 4
    )
    # 50 positions in tables of 3 3 planes; 10 (12) channels in tiles of 3; 9 taps of 3 channels, as 6, in tiles of 5.
    assert table_schedule(3, 5, 3).length == 8
    assert update_cycles(config, network, stage, 10, 2) == (
        4 * 11 * 5 * (17 * 3) + 7 + 3 + LOOKUP_STAGES
    )


@settings(max_examples=60)
@given(
    samples=st.integers(1, 30), timesteps=st.integers(1, 4), channels=st.integers(1, 30),
    width=st.sampled_from([1, 3, 8, 64]), adder=st.integers(1, 4), multiplier=st.integers(1, 3),
    loss=st.sampled_from(["cross_entropy", "mse"]), norm=st.sampled_from([None, "batch", "frozen"]),
)  # fmt: skip
def test_vector_cycles_count_instructions(
    samples, timesteps, channels, width, adder, multiplier, loss, norm
):
    """Instructions by hand: of a group of slots before and after the timesteps, and in each."""
    kind = None if norm is None else Norm(norm)
    layers = (
        Stage("conv", (3, 3, 2), (3, 3, channels), (INPUT,), kernel=(3, 3), padding=(1, 1), norm=kind, neuron=Neuron()),
        Stage("readout", (1, 1, 9 * channels), (1, 1, channels + 1), (0,)),
    )  # fmt: skip
    network = LearnNetwork(InputFormat((3, 3, 2), constant=False), layers)
    config = learn_chip(
        vector={"width": width, "partials": 8, "sums": 200}, forward={"group": 4}, adder_stages=adder,
        multiplier_stages=multiplier,
    ).learn  # fmt: skip
    slots = adder + multiplier + 3
    recipe = Recipe(timesteps=timesteps, batch=samples, loss=loss)
    frames, padded = samples * timesteps, -(-channels // 8) * 8

    def cycles(operation: Operation, index: int = 0, count: int = frames) -> int:
        of_stage = layers[index].out_shape[2]
        return vector_cycles(config, network, recipe, operation, index, of_stage, count)

    def groups(count: int) -> int:
        return sum(1 for _ in range(0, count, slots))

    def words(elements: int) -> int:
        return sum(1 for _ in range(0, elements, width))

    fill = slots + 5
    of_frames = groups(samples * words(9 * padded))
    # Sums of channels: positions go to partial sums, as many side by side as channels fit into a word.
    beside = max(1, width // padded)
    partials = min(8, 200 // channels)
    of_parts = words(padded) * groups(-(-partials // beside)) * slots
    chunks = len(range(0, 9 * frames, partials))
    spread = of_frames * slots
    if norm is None:
        assert cycles(Operation.NEURONS) == spread * (1 + 4 * timesteps) + fill
        assert cycles(Operation.NEURON_GRADIENTS) == spread * (1 + 5 * timesteps) + fill
        assert cycles(Operation.TIME_SUMS) == spread * (2 + timesteps) + fill
    else:
        own = 7 if norm == "frozen" else 6
        assert cycles(Operation.NORM_NEURONS) == spread * (5 + own * timesteps) + fill
        gradients = spread * (2 + 6 * timesteps if norm == "frozen" else 1 + 5 * timesteps)
        assert (
            cycles(Operation.NEURON_GRADIENTS) == gradients + of_parts * (2 + 4 + 4 * chunks) + fill
        )
        assert cycles(Operation.NORM_GRADIENTS) == spread * (5 + 5 * timesteps) + fill
        assert cycles(Operation.NORM_SUMS) == of_parts * (4 + 3 * chunks) + fill
        of_channels = groups(words(padded)) * slots
        finish = 2 + 2 * partials + 7 + ROOT_CYCLES + DIVIDE_CYCLES
        assert cycles(Operation.NORM_FINISH) == of_channels * finish + fill
    # Nine taps of eight input channels, in two pieces.
    assert cycles(Operation.OPTIMISE, count=2) == groups(words(36 * padded)) * slots * 6 + fill

    of_classes = words(-(-(channels + 1) // 8) * 8)
    lanes = sum(max(1, min(width, channels + 1 - word * width)) for word in range(of_classes))
    logits = 1 + 2 * timesteps
    if loss == "mse":
        count = of_classes * (logits + 5 + 2 * timesteps)
    else:
        exponential = 16
        count = 2 + of_classes * (
            (logits + 1)
            + (logits + exponential + 1)
            + (logits + exponential + DIVIDE_CYCLES + 3 + 2 * timesteps)
        )
        count += 3 * lanes
    assert cycles(Operation.READOUT, 1) == groups(samples) * slots * count + fill


def test_engine_forms():
    config = LookupConfig(rows=3, columns=5, group=4, interleave=6)
    assert config.lanes == 15
    assert config.outputs == 30
    assert config.table_adds == sum(1 for e in range(16) if e.bit_count() > 1) == 11
    assert config.build_adders == 2
    learn = learn_chip(
        backward={"rows": 12, "channels": 10, "lanes": 4, "contexts": 3},
        dram={"bytes_per_cycle": 16},
    ).learn
    assert [backward_used(learn, n) for n in (1, 12, 13, 36)] == [1, 1, 2, 3]
    # A row a cycle; eight masks of a context a cycle, two cycles for ten channels; in the second case two contexts in
    # each of six rows, one in the seventh. A word of eight from twelve rows takes twelve beats.
    assert backward_prepare(learn, 10, 36) == 12 + 3 * 2 + 4
    assert backward_prepare(learn, 10, 13) == 7 + 2 * 2 + 4
    assert backward_drain(learn, 10, 36) == 3 * 2 * 12 + 8 + 2
    assert backward_tiles(learn, 80) == [36, 36, 8]
    assert [transfer_cycles(learn, n) for n in (0, 1, 16, 17)] == [0, 1, 1, 2]
