"""Start and barrier: each way takes exactly ``tree_stages`` cycles, for every core."""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from amaranth.hdl import ClockDomain, Module
from amaranth.sim import Simulator
from amaranth.sim._async import SimulatorContext

from spikeloom.chip.config import ManyCoreConfig, NetworkOnChipConfig
from spikeloom.hw.cores.barrier import Barrier

CYCLES = 60
MESHES = {(1, 1): 2, (2, 1): 2, (2, 2): 2, (5, 1): 2, (4, 4): 2, (17, 1): 3, (12, 13): 4}


def simulate(
    dut: Barrier, testbench: Callable[[SimulatorContext], Coroutine[Any, Any, None]]
) -> None:
    top = Module()
    top.submodules.dut = dut
    top.domains.sync = (
        ClockDomain()
    )  # with one core the barrier has no register, so no clock of its own
    simulator = Simulator(top)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()


@pytest.mark.parametrize(("mesh", "stages"), MESHES.items())
def test_both_ways_take_the_stages_of_the_tree(mesh, stages):
    columns, rows = mesh
    config = ManyCoreConfig(network=NetworkOnChipConfig(columns=columns, rows=rows))
    cores, dut = columns * rows, Barrier(config)
    everyone = (1 << cores) - 1
    rng = random.Random(cores)
    starts = [rng.getrandbits(1) for _ in range(CYCLES)]
    samples = [rng.getrandbits(1) for _ in range(CYCLES)]
    # All quiet, or all but one: each core in turn, so that none is left out of the AND.
    quiets = [everyone & ~(rng.getrandbits(1) << c) for c in range(cores) for _ in range(2)]
    quiets += [everyone] * max(CYCLES - len(quiets), stages + 1)
    starts += [0] * (len(quiets) - CYCLES)
    samples += [0] * (len(quiets) - CYCLES)

    async def testbench(ctx: SimulatorContext) -> None:
        for cycle, (start, sample, quiet) in enumerate(zip(starts, samples, quiets, strict=True)):
            ctx.set(dut.start, start)
            ctx.set(dut.sample, sample)
            ctx.set(dut.core_quiet, quiet)
            then = cycle - stages
            assert ctx.get(dut.core_start) == (everyone if then >= 0 and starts[then] else 0)
            assert ctx.get(dut.core_sample) == (everyone if then >= 0 and samples[then] else 0)
            assert ctx.get(dut.all_quiet) == (then >= 0 and quiets[then] == everyone)
            await ctx.tick()

    assert config.tree_stages == stages
    assert 0 < sum(starts) < CYCLES
    assert everyone in quiets
    simulate(dut, testbench)


@pytest.mark.parametrize("mesh", [(5, 1), (4, 4)])
def test_one_core_that_is_not_quiet_is_enough(mesh):
    config = ManyCoreConfig(network=NetworkOnChipConfig(columns=mesh[0], rows=mesh[1]))
    cores, dut = mesh[0] * mesh[1], Barrier(config)
    everyone = (1 << cores) - 1

    async def testbench(ctx: SimulatorContext) -> None:
        for busy in range(cores):
            ctx.set(dut.core_quiet, everyone)
            await ctx.tick().repeat(config.tree_stages)
            assert ctx.get(dut.all_quiet) == 1
            ctx.set(dut.core_quiet, everyone & ~(1 << busy))
            await ctx.tick().repeat(config.tree_stages)
            assert ctx.get(dut.all_quiet) == 0

    simulate(dut, testbench)
