"""The root: the cycle of every start, the length of every timestep, samples, fixed periods."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from amaranth.sim import Simulator

from spikeloom.chip.config import ManyCoreConfig, load_config
from spikeloom.hw.cores.sequencer import Sequencer

STEP, SAMPLE = 0, 1


def config_of(columns: int, rows: int, period: int = 0) -> ManyCoreConfig:
    return (
        load_config("tiny")
        .replace(
            network={"columns": columns, "rows": rows},
            timestep={"mode": "fixed", "period_cycles": period} if period else {"mode": "adaptive"},
        )
        .many_core
    )


@dataclass
class Log:
    """Cycles (counted from 0) in which something was high."""

    start: list[int] = field(default_factory=list)
    sample: list[int] = field(default_factory=list)
    ended: list[int] = field(default_factory=list)
    overrun: list[int] = field(default_factory=list)
    length: list[int] = field(default_factory=list)
    start_cycle: list[int] = field(default_factory=list)
    opened: list[int] = field(default_factory=list)


def run(
    config: ManyCoreConfig,
    commands: list[tuple[int, int]],
    core_quiet: list[int],
    port_quiet: list[int],
    cycles: int,
) -> Log:
    """Offer ``commands`` (cycle from which on it waits, kind); timestep k is quiet from its given cycles on."""
    dut, log = Sequencer(config), Log()
    waiting = deque(commands)
    tree: deque[int] = deque([0] * config.tree_stages)  # what the tree holds, oldest first

    async def bench(ctx):
        number, since = -1, 0
        for now in range(cycles):
            if ctx.get(dut.start):
                number, since = number + 1, 0
            quiet = number < 0 or since >= core_quiet[number]
            tree.append(quiet)
            ctx.set(dut.all_quiet, tree.popleft())
            ctx.set(dut.ports_quiet, number < 0 or since >= port_quiet[number])
            offers = bool(waiting) and waiting[0][0] <= now
            ctx.set(dut.command.valid, offers)
            ctx.set(dut.command.payload, waiting[0][1] if offers else 0)
            for name in ("start", "sample", "ended", "overrun"):
                if ctx.get(getattr(dut, name)):
                    getattr(log, name).append(now)
            if ctx.get(dut.ended):
                log.length.append(ctx.get(dut.length))
                log.start_cycle.append(ctx.get(dut.start_cycle))
            if ctx.get(dut.is_open) and len(log.opened) <= number:
                log.opened.append(since)
            assert ctx.get(dut.is_busy) >= ctx.get(dut.is_timestep)
            if offers and ctx.get(dut.command.ready):
                waiting.popleft()
            since += 1
            await ctx.tick()

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    assert not waiting
    assert len(log.ended) == len(log.start) == len(core_quiet)
    return log


@pytest.mark.parametrize("mesh", [(1, 1), (2, 2), (3, 2), (5, 4)])
def test_steps_that_wait_follow_each_other_without_a_gap(mesh):
    config = config_of(*mesh)
    stages, first = config.tree_stages, config.start_cycles
    quiet = [first, first + 7, first + 1, first, first + 30]
    log = run(config, [(5, SAMPLE)] + [(5, STEP)] * 5, quiet, [0] * 5, 200)
    lengths = [cycle + config.barrier_cycles for cycle in quiet]
    assert log.sample == [6]
    assert log.start[0] == 6 + config.sample_reset_cycles == 6 + stages + 2
    assert log.length == lengths
    assert [b - a for a, b in pairwise(log.start)] == lengths[:-1]
    assert log.ended == [start + n - 1 for start, n in zip(log.start, lengths, strict=True)]
    assert log.start_cycle == log.start
    assert log.opened == [config.host_start_cycles] * 5
    assert log.overrun == []


def test_the_root_believes_no_answer_from_before_the_timestep():
    # Quiet is high until the start reaches the cores; the tree tells so for `tree_stages` cycles more.
    config = config_of(4, 4)
    for quiet in range(config.start_cycles + 1):
        log = run(config, [(0, STEP)], [quiet], [quiet], 40)
        assert log.length == [config.start_cycles + config.barrier_cycles]


@pytest.mark.parametrize("mesh", [(1, 1), (3, 2)])
@pytest.mark.parametrize("late", [0, 1, 2, 9])
def test_the_ports_count_in_the_cycle_of_the_cores(mesh, late):
    config = config_of(*mesh)
    quiet = config.start_cycles + late
    for core, port in ((config.start_cycles, quiet), (quiet, config.start_cycles)):
        log = run(config, [(0, STEP)] * 2, [core] * 2, [port] * 2, 80)
        assert log.length == [quiet + config.barrier_cycles] * 2


def test_a_step_that_comes_late_starts_a_cycle_after_it_came():
    config = config_of(2, 2)
    log = run(config, [(3, STEP), (50, STEP), (70, SAMPLE), (90, STEP)], [5, 6, 7], [0] * 3, 130)
    assert log.start == [4, 51, 91]
    assert log.sample == [71]
    assert log.length == [
        5 + config.barrier_cycles,
        6 + config.barrier_cycles,
        7 + config.barrier_cycles,
    ]


def test_a_sample_follows_the_last_step_and_steps_follow_the_sample():
    config = config_of(2, 2)
    log = run(
        config, [(0, STEP), (0, SAMPLE), (0, STEP), (0, SAMPLE), (0, SAMPLE)], [9, 4], [0, 0], 80
    )
    first = log.start[0] + 9 + config.barrier_cycles
    assert log.sample[0] == first
    assert log.start[1] == first + config.sample_reset_cycles
    assert log.sample[1] == log.start[1] + 4 + config.barrier_cycles
    assert log.sample[2] == log.sample[1] + config.sample_reset_cycles


@pytest.mark.parametrize("mesh", [(1, 1), (2, 2), (3, 2)])
def test_fixed_periods_and_what_overruns_them(mesh):
    period = 20
    config = config_of(*mesh, period=period)
    just_in_time = period - config.barrier_cycles
    quiet = [
        config.start_cycles,
        just_in_time,
        just_in_time + 1,
        just_in_time + 9,
        just_in_time - 1,
    ]
    log = run(config, [(0, STEP)] * 5, quiet, [0] * 5, 200)
    assert log.length == [period, period, period + 1, period + 9, period]
    assert [b - a for a, b in pairwise(log.start)] == log.length[:-1]
    assert log.overrun == [log.ended[2], log.ended[3]]


@pytest.mark.parametrize("period", [1, 2, 5, 6, 7])
def test_periods_about_as_short_as_a_timestep(period):
    config = config_of(2, 2, period=period)
    shortest = config.start_cycles + config.barrier_cycles
    log = run(config, [(0, STEP)] * 3, [0] * 3, [0] * 3, 60)
    assert log.length == [max(shortest, period)] * 3
    assert len(log.overrun) == (3 if shortest > period else 0)
