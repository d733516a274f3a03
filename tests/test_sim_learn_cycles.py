"""Cycles of the learning engines: the backward engine step by step, queues event by event, closed forms by counting."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeloom.chip.learn_config import LookupConfig
from spikeloom.chip.learn_network import INPUT, InputFormat, LearnNetwork, Neuron, Recipe, Stage
from spikeloom.chip.learn_program import ENGINES, LearnProgram, Operation, Queue
from spikeloom.chip.learn_timing import (
    DISPATCH_CYCLES,
    DIVIDE_CYCLES,
    VECTOR_STAGES,
    backward_drain,
    backward_fill,
    forward_cycles,
    lookup_cycles,
    transfer_cycles,
    update_cycles,
    vector_cycles,
)
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
    cycles, seen, taken, products = backward.backward_cycles(
        counts, masks.sum(axis=2).astype(np.int32), backward.task_places(stage, len(inputs)),
        stage.backward_taps, stage.out_positions, engine.rows, engine.lanes,
        engine.contexts, engine.depth, stage.out_shape[2], config.adder_stages, backward_drain(config), 0,
    )  # fmt: skip
    return int(cycles) + backward_fill(config), int(seen), int(taken), int(products)


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
    golden = backward_task(
        config.backward,
        config.adder_stages,
        config.multiplier_stages,
        stage,
        list(inputs),
        list(masks),
    )
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
    # Three words come, then two rounds, each as long as the adder: 6 cycles. Behind them 2 and 3 stages and 2 cycles.
    assert run_engine(config, stage, inputs, masks) == (3 + 6 + 2 + 3 + 2, 3, 2, 6)
    # Nothing wanted: the words pass all the same.
    assert run_engine(config, stage, inputs, masks & False) == (3 + 2 + 3 + 2, 3, 0, 0)


def random_work(density: float, mask: float, seed: int = 0) -> tuple[float, float]:
    """Cycles of random work over those of dense work: simulated, and ideal."""
    config = learn_chip(
        backward={"rows": 8, "lanes": 16, "contexts": 4, "channels": 128, "depth": 128}
    ).learn
    stage = conv(8, 3, 1, (128, 128))
    rng = np.random.default_rng(seed)
    shape = (1, stage.out_positions, 128)
    dense = run_engine(config, stage, np.ones(shape, bool), np.ones(shape, bool))
    inputs, masks = rng.random(shape) < density, rng.random(shape) < mask
    work = run_engine(config, stage, inputs, masks)
    return work[0] / dense[0], work[3] / dense[3]


def test_backward_engine_never_beats_the_ideal_and_reaches_most_of_it():
    before = 0.0
    for density in (0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0):
        cycles, ideal = random_work(density, density)
        # Sparser work waits for weights: a word a cycle passes, wanted or not. benchmarks/learn_laws.py tells how much.
        assert ideal <= cycles <= (ideal / 0.6 if density > 0.1 else 1.0)
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
    ones = np.ones((4, 64, 128), bool)
    cycles, seen, taken, products = run_engine(config, stage, ones, ones)
    assert seen == taken == 4 * 64 * 128
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
        queues, program.waits.tolist(), busy, dram.latency_cycles, DISPATCH_CYCLES
    )
    assert timeline.start.tolist() == start
    assert timeline.end.tolist() == end
    check_stalls(program, timeline)
    check_order(program, timeline)


def check_stalls(program: LearnProgram, timeline: Any) -> None:
    """An engine's idle cycles before its tasks are blamed once each, on the queue whose token came last."""
    expected = np.zeros((len(Queue), len(Queue)), np.int64)
    queues = program.column("queue").tolist()
    for engine in ENGINES:
        free = 0
        for task in [i for i, q in enumerate(queues) if q == engine]:
            idle = int(timeline.start[task]) - DISPATCH_CYCLES - free
            free = int(timeline.end[task])
            if idle == 0:
                continue
            blamed: list[tuple[int, int]] = []
            for queue, needed in enumerate(program.waits[task].tolist()):
                if needed:
                    of_queue = [i for i, q in enumerate(queues) if q == queue]
                    blamed.append((int(timeline.end[of_queue[needed - 1]]), -queue))
            latest, cause = max(blamed)
            assert (
                latest == int(timeline.start[task]) - DISPATCH_CYCLES
            )  # it started when the token came
            expected[engine, -cause] += idle
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
    assert timeline.start.tolist() == [
        2,
        19,
        14,
    ]  # the channel is free at 12, the first load has ended at 17
    assert timeline.end.tolist() == [17, 26, 22]
    assert timeline.cycles == 26
    assert timeline.stalls[Queue.FORWARD, Queue.LOAD_FORWARD] == timeline.stalls.sum() == 17


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
    fill = interleave + 3 + 2  # the first table; the adder; the way in and out
    assert lookup_cycles(config, config.forward, rows, columns, groups, planes) == total + fill


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
    # 9 taps, 3 channels of a group in tables of 2, 3 planes; 10 channels in tiles of 2, 50 positions in tiles of 8.
    assert forward_cycles(config, network, stage, 10, 2) == 5 * 7 * 4 * (9 * 2 * 3) + (4 + 3 + 2)
    # 50 positions in tables of 3, 3 planes; 10 channels in tiles of 3, 27 columns in tiles of 5.
    assert update_cycles(config, network, stage, 10, 2) == 4 * 6 * 5 * (17 * 3) + (5 + 3 + 2)


@given(
    samples=st.integers(1, 5), timesteps=st.integers(1, 4), elements=st.integers(1, 90), width=st.integers(1, 16)
)  # fmt: skip
def test_vector_cycles_count_elements(samples, timesteps, elements, width):
    config = learn_chip(vector={"width": width}).learn
    at_once = sum(1 for _ in range(0, samples * timesteps * elements, width))
    assert (
        vector_cycles(config, Operation.NORM_SUMS, samples, timesteps, elements)
        == at_once + VECTOR_STAGES
    )
    now = 0
    for _ in range(timesteps):  # the next timestep needs what leaves the pipeline
        now += max(sum(1 for _ in range(0, samples * elements, width)), VECTOR_STAGES)
    assert (
        vector_cycles(config, Operation.NEURONS, samples, timesteps, elements)
        == now + VECTOR_STAGES
    )
    finish = sum(3 * DIVIDE_CYCLES for _ in range(0, elements, width)) + VECTOR_STAGES
    assert vector_cycles(config, Operation.NORM_FINISH, 1, 1, elements) == finish


def test_engine_forms():
    config = LookupConfig(rows=3, columns=5, group=4, interleave=6)
    assert config.lanes == 15
    assert config.outputs == 30
    assert config.table_adds == sum(1 for e in range(16) if e.bit_count() > 1) == 11
    assert config.build_adders == 2
    learn = learn_chip(
        backward={"channels": 10, "lanes": 4, "contexts": 3}, dram={"bytes_per_cycle": 16}
    ).learn
    assert backward_drain(learn) == 3 * 3
    assert [transfer_cycles(learn, n) for n in (0, 1, 16, 17)] == [0, 1, 1, 2]
