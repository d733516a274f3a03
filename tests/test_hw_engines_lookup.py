"""The lookup engine in RTL against the simulator: every word written, every cycle counted."""

from __future__ import annotations

import functools
import os
import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from spikeloom.chip.formats import FP16
from spikeloom.chip.learn_config import LearnConfig
from spikeloom.chip.learn_network import INPUT, InputFormat, LearnNetwork, Neuron, Stage
from spikeloom.chip.learn_timing import forward_cycles, table_schedule, update_cycles
from spikeloom.hw.engines.lookup import LookupEngine
from spikeloom.hw.engines.lookup_table import LookupTable
from spikeloom.sim.engines.engines import Engines
from spikeloom.sim.engines.parallel import Threads
from spikeloom.sim.engines.rounding import round_array
from tests.support.bench import Bench
from tests.support.golden_learn import Adder, bits_of, value_of, word_of
from tests.support.learn_networks import learn_chip
from tests.support.lookup_bench import Done, LookupBench, Task

WIDTH = 4
ROW_OPERANDS = 2 * WIDTH
TASKS = 30  # of a machine

Floats = NDArray[np.float32]

needs_compiler = pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT", "0") != "0", reason="vector instructions need the compiler"
)


@dataclass(frozen=True)
class Machine:
    """What an engine's RTL depends on."""

    is_update: bool
    columns: int
    stages: int
    operands: str
    accumulators: str

    @property
    def config(self) -> LearnConfig:
        sizes = {"columns": self.columns}
        return learn_chip(
            forward={} if self.is_update else sizes, update=sizes if self.is_update else {},
            adder_stages=self.stages, operands=self.operands, accumulators=self.accumulators,
        ).learn  # fmt: skip


MACHINES = (
    Machine(False, 4, 3, "fp16", "fp32"),
    Machine(True, 4, 3, "fp16", "fp32"),
    Machine(False, 1, 2, "bf16", "bf16"),
    Machine(True, 3, 4, "fp16", "fp16"),
    Machine(False, 3, 4, "fp16", "fp16"),
    Machine(True, 2, 1, "bf16", "bf16"),
    Machine(False, 2, 1, "bf16", "fp32"),
    Machine(True, 1, 2, "bf16", "fp32"),
)
QUICK = 4  # the others are built only with --runslow


# --------------------------------------------------------------------------------------- one task


@dataclass(frozen=True)
class Work:
    """A layer, and what runs through it: integers (frames, positions, channels), operands of the task."""

    network: LearnNetwork
    frames: int
    inputs: NDArray[np.uint8]
    operands: Floats  # weights (taps, in, out), or gradients (frames, positions, out)

    @property
    def stage(self) -> Stage:
        return self.network.stages[0]

    @property
    def planes(self) -> int:
        return self.network.planes(self.stage)


def padded(channels: int) -> int:
    return -(-channels // ROW_OPERANDS) * ROW_OPERANDS


def draw_stage(draw: random.Random) -> Stage:
    """A dense layer, or a convolution with any kernel, stride and padding, not square."""
    channels = draw.choice([1, 3, 8, 9, 17]), draw.choice([1, 4, 8, 11])
    if draw.random() < 0.2:
        shapes = (1, 1, draw.randint(1, 70)), (1, 1, draw.randint(1, 30))
        return Stage("dense", *shapes, (INPUT,), neuron=Neuron())
    ins, outs, kernels, strides, pads = [], [], [], [], []
    for _ in range(2):
        kernel, stride, pad = draw.randint(1, 3), draw.randint(1, 3), draw.randint(0, 3)
        side = draw.randint(max(kernel - 2 * pad, 1), 6)
        ins.append(side)
        kernels.append(kernel)
        strides.append(stride)
        pads.append(pad)
        outs.append((side + 2 * pad - kernel) // stride + 1)
    return Stage(
        "conv", (ins[0], ins[1], channels[0]), (outs[0], outs[1], channels[1]), (INPUT,), neuron=Neuron(),
        kernel=(kernels[0], kernels[1]), stride=(strides[0], strides[1]), padding=(pads[0], pads[1]),
    )  # fmt: skip


def draw_work(machine: Machine, seed: int) -> Work:
    draw, rng = random.Random(seed), np.random.default_rng(seed)
    stage = draw_stage(draw)
    planes = draw.choice([1, 1, 1, 2, 3, 5, 8])
    image = InputFormat(
        stage.in_shape, bits=planes, signed=planes > 1 and draw.random() < 0.5, constant=False
    )
    readout = Stage("readout", stage.out_shape, (1, 1, 2), (0,), kernel=stage.out_shape[:2])
    network = LearnNetwork(image, (stage, readout))
    frames = draw.randint(1, 3)
    shape = (frames, stage.in_positions, stage.in_shape[2])
    inputs = rng.integers(0, 1 << planes, shape).astype(np.uint8)
    inputs[rng.random(shape) < draw.choice([0.0, 0.5, 0.9])] = 0
    of_operands: tuple[int, ...] = (
        (frames, stage.out_positions, stage.out_shape[2])
        if machine.is_update
        else stage.weight_shape[1:]
    )
    operands = rng.standard_normal(of_operands) * 2.0 ** rng.integers(-12, 4, of_operands)
    kind = draw.choice(["normal"] * 4 + ["small", "large", "special"])
    if kind == "small":
        operands *= 2.0**-14 if machine.operands == "fp16" else 2.0**-126
    elif kind == "large":
        operands *= 2.0**12 if machine.operands == "fp16" else 2.0**124
    elif kind == "special":
        special = rng.random(of_operands) < 0.02
        operands[special] = rng.choice([np.inf, -np.inf, np.nan, -0.0], of_operands)[special]
    operands[rng.random(of_operands) < 0.1] = -0.0
    with np.errstate(over="ignore"):  # the largest become infinite
        rounded = round_array(operands.astype(np.float32), machine.operands, Threads(1))
    return Work(network, frames, inputs, rounded)


def operand_words(machine: Machine, values: Floats) -> NDArray[np.uint16]:
    if machine.operands == "fp16":
        return values.astype(np.float16).view(np.uint16)
    return (np.ascontiguousarray(values).view(np.uint32) >> 16).astype(np.uint16)


def place(rng: Any, arrays: list[NDArray[np.uint8]]) -> tuple[NDArray[np.uint32], int, int]:
    """Put frames of bytes into a memory of noise: the memory, its first row, rows from one frame to the next."""
    first = int(rng.choice([rng.integers(0, 20), rng.integers(0, 1 << 15)]))
    step = -(-max(len(array) for array in arrays) // 16) + int(rng.integers(0, 3))
    memory = rng.integers(0, 256, (first + step * len(arrays)) * 16).astype(np.uint8)
    for number, array in enumerate(arrays):
        at = (first + step * number) * 16
        memory[at : at + len(array)] = array
    return memory.view(np.uint32).reshape(-1, 4), first, step


def task_of(machine: Machine, work: Work, seed: int) -> Task:
    """Lay a task out in memory: docs/blocks/learning.md."""
    rng = np.random.default_rng([seed, 1])
    stage, planes = work.stage, work.planes
    ins, outs = padded(stage.in_shape[2]), padded(stage.out_shape[2])
    values = np.zeros((work.frames, stage.in_positions, ins), np.uint8)
    values[:, :, : stage.in_shape[2]] = work.inputs
    plane_words = stage.in_positions * ins // WIDTH
    bits = [
        np.packbits([frame >> plane & 1 for plane in range(planes)], bitorder="little")
        for frame in values
    ]
    inputs, input_row, input_frame_rows = place(rng, bits)
    if machine.is_update:
        gradients = np.zeros((work.frames, stage.out_positions, outs), np.float32)
        gradients[:, :, : stage.out_shape[2]] = work.operands
        frames = [operand_words(machine, frame).reshape(-1).view(np.uint8) for frame in gradients]
    else:
        weights = np.zeros((stage.taps, ins, outs), np.float32)
        weights[:, : stage.in_shape[2], : stage.out_shape[2]] = work.operands
        blocks = weights.reshape(stage.taps, ins, -1, WIDTH).transpose(2, 0, 1, 3)
        frames = [operand_words(machine, blocks).reshape(-1).view(np.uint8)]
    operands, operand_row, operand_frame_rows = place(rng, frames)
    fields = {
        "frames": work.frames, "in_rows": stage.in_shape[0], "in_columns": stage.in_shape[1],
        "out_rows": stage.out_shape[0], "out_columns": stage.out_shape[1], "kernel_rows": stage.kernel[0],
        "kernel_columns": stage.kernel[1], "stride_rows": stage.stride[0], "stride_columns": stage.stride[1],
        "pad_rows": stage.padding[0], "pad_columns": stage.padding[1], "in_words": ins // WIDTH,
        "out_words": outs // WIDTH, "planes": planes, "signed": int(work.network.is_signed(stage)),
        "plane_words": plane_words, "input_row": input_row, "input_frame_rows": input_frame_rows,
        "operand_row": operand_row, "operand_frame_rows": operand_frame_rows,
        "result_row": int(rng.integers(0, 1 << 15)),
    }  # fmt: skip
    return Task(fields, operands, inputs, int(rng.choice([0, 0, 1, 40])))


def expected_words(machine: Machine, work: Work) -> NDArray[np.uint32]:
    """The simulator's sums as rows of memory: (rows, WIDTH)."""
    stage = work.stage
    engines = Engines(machine.config, work.network, Threads(1))
    rows = work.inputs.reshape(-1, stage.in_shape[2])
    inputs = np.concatenate(
        [rows, np.zeros_like(rows[:1])]
    )  # the last row: taps outside of the frame
    ins, outs = padded(stage.in_shape[2]), padded(stage.out_shape[2])
    if machine.is_update:
        sums = engines.new_sums(stage)
        gradients = work.operands.reshape(-1, stage.out_shape[2])
        engines.add_weight_gradients(stage, inputs, gradients, sums, work.frames)
        values = np.zeros((stage.taps, ins, outs), np.float32)
        values[:, : stage.in_shape[2], : stage.out_shape[2]] = engines.weights_of(stage, sums)[0]
        arranged = values.reshape(stage.taps, ins, -1, WIDTH).transpose(2, 0, 1, 3)
    else:
        arranged = np.zeros((work.frames * stage.out_positions, outs), np.float32)
        arranged[:, : stage.out_shape[2]] = engines.forward_sums(
            stage, inputs, work.operands[None], work.frames
        )
    return bits_of(arranged).reshape(-1, WIDTH)


def cycles_of(machine: Machine, work: Work) -> int:
    count = update_cycles if machine.is_update else forward_cycles
    return count(machine.config, work.network, work.stage, work.stage.out_shape[2], work.frames)


def check(machine: Machine, work: Work, task: Task, done: Done) -> None:
    words = expected_words(machine, work)
    first = task.fields["result_row"]
    rows = done.writes[:, 1].astype(np.int64) - first
    assert done.faults == 0
    assert sorted(rows.tolist()) == list(range(len(words)))  # each once, nothing beside them
    found = np.empty_like(words)
    found[rows] = done.writes[:, 2:]
    different = np.argwhere(found != words)
    assert not len(different), (
        len(different), different[0], hex(found[tuple(different[0])]), hex(words[tuple(different[0])])
    )  # fmt: skip
    assert done.cycles == cycles_of(machine, work)
    assert done.writes[:, 0].max() < done.cycles


@functools.cache
def bench_of(machine: Machine) -> LookupBench:
    return LookupBench(machine.config, is_update=machine.is_update)


def run(machine: Machine, works: list[Work], seed: int) -> None:
    """Run tasks one after the other, and compare."""
    tasks = [task_of(machine, work, seed + n) for n, work in enumerate(works)]
    answers = bench_of(machine).run(tasks)
    for work, task, done in zip(works, tasks, answers, strict=True):
        check(machine, work, task, done)


@needs_compiler
@pytest.mark.parametrize(
    "machine", [*MACHINES[:QUICK], *(pytest.param(m, marks=pytest.mark.slow) for m in MACHINES[QUICK:])]
)  # fmt: skip
def test_words_and_cycles_are_the_simulators(machine):
    first = 1000 * MACHINES.index(machine)
    works = [draw_work(machine, first + n) for n in range(TASKS)]
    assert {work.planes for work in works} >= {1, 2, 5, 8}
    assert {work.network.is_signed(work.stage) for work in works} == {False, True}
    assert {work.frames for work in works} == {1, 2, 3}
    assert any(work.stage.out_shape[2] > 2 * WIDTH for work in works)
    run(machine, works, first)


@needs_compiler
@pytest.mark.parametrize("machine", MACHINES[:2])
def test_a_frame_of_many_positions(machine):
    """Counters with more than a few bits, several tiles of every output word."""
    stage = Stage(
        "conv", (24, 19, 12), (24, 10, 9), (INPUT,), kernel=(3, 2), stride=(1, 2), padding=(1, 1), neuron=Neuron()
    )  # fmt: skip
    image = InputFormat(stage.in_shape, bits=1, constant=False)
    network = LearnNetwork(image, (stage, Stage("readout", (24, 10, 9), (1, 1, 1), (0,), kernel=(24, 10))))  # fmt: skip
    rng = np.random.default_rng(5)
    shape = (3, 240, 9) if machine.is_update else stage.weight_shape[1:]
    operands = rng.standard_normal(shape).astype(np.float16).astype(np.float32)
    inputs = (rng.random((3, stage.in_positions, 12)) < 0.3).astype(np.uint8)
    run(machine, [Work(network, 3, inputs, operands)], 1)


def test_cycles_by_hand():
    """One tile; the outputs' list, or the first table, is what it waits for."""
    forward, update = (machine.config for machine in MACHINES[:2])
    stage = Stage("dense", (1, 1, 8), (1, 1, 8), (INPUT,), neuron=Neuron())
    image = InputFormat(stage.in_shape, bits=3, constant=False)
    network = LearnNetwork(image, (stage, Stage("readout", (1, 1, 8), (1, 1, 2), (0,))))
    assert table_schedule(4, 4, 3).length == 11
    # Two output words, a tile of 4 x 4 positions each, of which there are 5; two groups of three planes.
    assert forward_cycles(forward, network, stage, 8, 5) == 2 * 4 * 6 + 16 + 3 + 10 + 3 * 4
    # Two output words, a tile of 4 pairs each, of which there are 2; two groups of positions.
    assert update_cycles(update, network, stage, 8, 5) == 2 * 4 * 6 + 10 + 3 + 10 + 3 * 4


# ---------------------------------------------------------------------------------------- a table


@pytest.mark.parametrize(("group", "stages"), [(2, 1), (2, 2), (4, 1), (4, 2), (4, 3), (4, 4)])
def test_tables_follow_one_another(group, stages):
    """Tables of the definition's sums, as close to one another as they may come, or not."""
    table = LookupTable(FP16, group, group, stages)
    bench = Bench(table)
    rng = random.Random(group + 10 * stages)
    adder = Adder("fp16")
    seen = 0

    async def body(ctx: Any) -> None:
        nonlocal seen
        starts = [3]
        while len(starts) < 30:
            starts.append(starts[-1] + group * rng.choice([1, 1, 1, 2, 3, 8]))
        words = [[FP16.encode(rng.uniform(-9, 9)) for _ in range(group)] for _ in starts]
        coming = {s + b: w for s, of in zip(starts, words, strict=True) for b, w in enumerate(of)}
        serving = {s + 1 + table.schedule.length: of for s, of in zip(starts, words, strict=True)}
        entries: list[int] = []
        for cycle in range(max(serving) + group):
            ctx.set(table.start, cycle in starts)
            ctx.set(table.operand, coming.get(cycle, 0x7E00))
            if cycle in serving:
                exact = [word_of(FP16.decode(word)) for word in serving[cycle]]
                sums = adder.table(exact)
                entries = [FP16.encode(float(value_of(word))) for word in sums]
            for number, entry in enumerate(entries):
                assert ctx.get(table.entries[number]) == entry
                seen += 1
            await ctx.tick()

    bench.run(body)
    assert seen >= 30 * group << group


# --------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"forward": {"group": 2}},
            "rows, group and interleave must be one power of two from 2 on, not 4, 2 and 4",
        ),
        (
            {"forward": {"rows": 6, "group": 6, "interleave": 6}},
            "rows, group and interleave must be one power of two from 2 on, not 6, 6 and 6",
        ),
        ({"operands": "fp32"}, "operands must be of 16 bits, not fp32"),
        (
            {"accumulators": "bf16"},
            "accumulators must be fp32 or fp16 as the operands, not bf16",
        ),
    ],
)
def test_what_cannot_be_built_is_refused(fields, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        LookupEngine(learn_chip(**fields).learn, is_update=False)


def test_a_table_needs_a_cycle_for_each_operand():
    with pytest.raises(ValueError, match=r"^group must be at most interleave \(2\), not 4: "):
        LookupTable(FP16, 4, 2, 1)
