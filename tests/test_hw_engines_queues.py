"""Queues, tokens and the memory's channel in RTL: every task starts and ends when the simulator says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.sim import Simulator

from spikeloom.chip.config import ChipConfig, load_config
from spikeloom.chip.learn_command import encode_command
from spikeloom.chip.learn_network import INPUT, InputFormat, LearnNetwork, Recipe, Stage
from spikeloom.chip.learn_program import ENGINES, LearnProgram, Operation, Queue
from spikeloom.chip.learn_stalls import NO_STALLS, STALL_PERIOD, stall_pattern
from spikeloom.hw.cosim.dram import Dram
from spikeloom.hw.engines.dma import Dma
from spikeloom.hw.engines.sequencer import Sequencer, connect_dma
from spikeloom.sim.engines import timeline
from spikeloom.sim.engines.timeline import run_timeline

DEPTH = 16
ROWS = 256
OPERATION = {
    Queue.FORWARD: Operation.FORWARD_SUMS, Queue.BACKWARD: Operation.INPUT_GRADIENTS,
    Queue.UPDATE: Operation.WEIGHT_GRADIENTS, Queue.VECTOR: Operation.OPTIMISE,
}  # fmt: skip


class Toy(wiring.Component):
    """Sequencer, DMA and memory, with engines that take as many cycles as their task's first field says."""

    def __init__(self, config: ChipConfig) -> None:
        self.sequencer, self.dma = Sequencer(DEPTH), Dma(config.learn)
        self.dram = Dram(config, ROWS)
        self.stalls = Signal(24)
        super().__init__({})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules += [self.sequencer, self.dma, self.dram]
        sequencer, dma, dram = self.sequencer, self.dma, self.dram
        for queue in ENGINES:
            name = queue.name.lower()
            task = getattr(sequencer, f"task_{name}")
            start, ends = (
                getattr(sequencer, f"start_{name}"),
                getattr(sequencer, f"ends_{name}"),
            )
            left = Signal(16, name=f"left_{name}")
            frames = task.samples if queue == Queue.VECTOR else task.frames
            m.d.sync += left.eq(Mux(start, frames - 1, Mux(left != 0, left - 1, 0)))
            m.d.comb += ends.eq(Mux(start, frames == 1, left == 1))
        connect_dma(m, sequencer, dma)
        m.d.comb += [
            dma.response_valid.eq(dram.response_valid),
            dma.response.eq(dram.response),
            dram.is_running.eq(sequencer.is_running),
        ]
        sets = Signal()
        m.d.comb += sets.eq((self.stalls != 0) & ~sequencer.is_running)
        m.d.comb += [
            dram.request.valid.eq(dma.request.valid | sets),
            dram.request.payload.eq(dma.request.payload),
            dma.request.ready.eq(dram.request.ready),
        ]
        with m.If(sets):
            m.d.comb += [
                dram.request.payload.is_write.eq(1),
                dram.request.payload.row.eq(ROWS),
                dram.request.payload.data.eq(self.stalls),
            ]
        return m


def random_program(chip: ChipConfig, rng: np.random.Generator) -> LearnProgram:
    """Tasks in any queues with tokens of tasks before them; engines' lengths stand in ``frames``."""
    network = LearnNetwork(InputFormat((1, 1, 1)), (Stage("only", (1, 1, 1), (1, 1, 2), (INPUT,)),))
    before = np.zeros(len(Queue), np.int64)
    rows, waits = [], []
    for queue in rng.integers(0, len(Queue), 50).tolist():
        if before[queue] == DEPTH:
            continue
        needs = np.maximum(before - rng.integers(0, 4, len(Queue)), 0) * (
            rng.random(len(Queue)) < 0.3
        )
        operation = OPERATION.get(Queue(queue), Operation.TRANSFER)
        length = int(rng.integers(1, 40))
        size = length * chip.learn.dram.bytes_per_cycle if operation == Operation.TRANSFER else 0
        rows.append((queue, operation, 0, 0, 0, length, 0, 0, size))
        waits.append(needs.tolist())
        before[queue] += 1
    return LearnProgram(
        config=chip, network=network, recipe=Recipe(timesteps=1, batch=1), batch=1,
        tasks=np.array(rows, np.int64), waits=np.array(waits, np.int64), places=np.full((len(rows), 2), -1),
    )  # fmt: skip


def commands(program: LearnProgram, rng: np.random.Generator) -> dict[Queue, list[tuple[int, ...]]]:
    found: dict[Queue, list[tuple[int, ...]]] = {queue: [] for queue in Queue}
    for row, waits in zip(program.tasks.tolist(), program.waits.tolist(), strict=True):
        queue, length = Queue(row[0]), row[5]
        values = {"frames": length, "samples": length}
        if row[1] == Operation.TRANSFER:
            count = min(int(rng.integers(1, 5)), length)
            cuts = np.sort(rng.choice(np.arange(1, length), count - 1, replace=False)).tolist()
            values = {"segments": count}
            for n, (first, end) in enumerate(zip([0, *cuts], [*cuts, length], strict=True)):
                values |= {f"rows_{n}": end - first, f"dram_row_{n}": int(rng.integers(0, 200))}
        tokens = dict(zip(Queue, waits, strict=True))
        found[queue].append(encode_command(queue, Operation(row[1]), tokens, values))
    return found


def run_toy(
    toy: Toy, stalls: int, steps: list[dict[Queue, list[tuple[int, ...]]]]
) -> list[tuple[dict[Queue, list[int]], dict[Queue, list[int]], int]]:
    """Run steps; of each, the cycles in which tasks start, those from which they count as ended, and the length."""
    results = []

    async def drive(ctx: Any) -> None:
        sequencer = toy.sequencer
        ctx.set(toy.stalls, stalls)
        for step in steps:
            for queue, of_queue in step.items():
                ctx.set(sequencer.w_queue, int(queue))
                words = [word for command in of_queue for word in command]
                for place, word in enumerate(words):
                    ctx.set(sequencer.w_en, 1)
                    ctx.set(sequencer.w_place, place)
                    ctx.set(sequencer.w_data, word)
                    await ctx.tick()
                ctx.set(sequencer.w_en, 0)
                ctx.set(sequencer.count, len(of_queue))
                ctx.set(sequencer.set_count, 1)
                await ctx.tick()
                ctx.set(sequencer.set_count, 0)
            starts: dict[Queue, list[int]] = {queue: [] for queue in Queue}
            ends: dict[Queue, list[int]] = {queue: [] for queue in Queue}
            ctx.set(sequencer.begin, 1)
            await ctx.tick()
            ctx.set(sequencer.begin, 0)
            while not ctx.get(sequencer.has_ended):
                cycle = ctx.get(sequencer.cycle)
                assert cycle < 20_000
                assert not ctx.get(sequencer.no_token)
                assert not ctx.get(sequencer.bad_command)
                for queue in Queue:
                    if ctx.get(getattr(sequencer, f"starts_{queue}")):
                        starts[queue].append(cycle)
                await ctx.tick()
                for queue in Queue:
                    if ctx.get(getattr(sequencer, f"done_{queue}")) > len(ends[queue]):
                        ends[queue].append(cycle + 1)
            results.append((starts, ends, ctx.get(sequencer.cycle)))
            await ctx.tick()

    simulator = Simulator(toy)
    simulator.add_clock(1e-6)
    simulator.add_testbench(drive)
    simulator.run()
    return results


@pytest.mark.parametrize(("seed", "rate"), [(1, 0), (77, 60), (4711, 160)])
def test_tasks_start_and_end_as_in_the_simulator(seed, rate, monkeypatch):
    chip = load_config("h2learn_small")
    rng = np.random.default_rng(seed)
    programs = [random_program(chip, rng) for _ in range(3)]
    found = run_toy(Toy(chip), seed | rate << 16, [commands(program, rng) for program in programs])

    def toy_cycles(program: LearnProgram, _: Any) -> Any:
        return program.column("frames").copy()

    monkeypatch.setattr(timeline, "task_cycles", toy_cycles)
    stalls = stall_pattern(seed, rate) if rate else NO_STALLS
    for program, (starts, ends, cycles) in zip(programs, found, strict=True):
        expected = run_timeline(program, np.zeros(0, np.int64), stalls)
        for queue in Queue:
            chosen = program.column("queue") == queue
            assert starts[queue] == expected.start[chosen].tolist()
            assert ends[queue] == expected.end[chosen].tolist()
        assert cycles == expected.cycles


def test_stalls_repeat_and_keep_their_rate():
    pattern = stall_pattern(9, 64)
    assert len(pattern) == STALL_PERIOD
    assert abs(float(pattern.mean()) - 64 / 256) < 0.01
    assert not np.array_equal(pattern, stall_pattern(10, 64))
    for seed, rate in ((0, 1), (1 << 16, 1), (1, 256)):
        with pytest.raises(ValueError, match=r"seed of 1\.\.65535"):
            stall_pattern(seed, rate)
