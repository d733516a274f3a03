"""A core's schedule in RTL against the closed forms of chip/config.py, and whose turn a timestep is."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeloom.chip.config import SOMA_STAGES, ChipConfig, load_config
from spikeloom.chip.memory_map import CoreMemories
from spikeloom.hw.cores.schedule import Schedule

from .support.bench import Bench

SIZES = [(11, 3, 3, 8, 4), (16, 4, 4, 8, 7), (5, 1, 2, 6, 5), (13, 5, 6, 4, 4)]


def config_of(size) -> ChipConfig:
    neurons, lanes, slots, weight, stages = size
    return load_config("tiny").replace(
        core={
            "neurons": neurons, "lanes": lanes, "delay_slots": slots, "weight_bits": weight,
            "pipeline_stages": stages,
        }
    )  # fmt: skip


@cache
def bench_of(size) -> Bench[Schedule]:
    return Bench(Schedule(config_of(size).many_core))


@pytest.mark.parametrize("size", SIZES)
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_every_cycle_of_a_timestep_follows_from_the_active_axons(size, data):
    chip = config_of(size).many_core
    modes = CoreMemories(chip).weight_modes
    mode = data.draw(st.integers(0, len(modes) - 1))
    neurons = data.draw(st.integers(0, chip.core.neurons))
    depth, steps = data.draw(st.integers(0, 3)), data.draw(st.integers(1, 3))
    timesteps = data.draw(st.integers(1, 3))
    actives = data.draw(st.lists(st.integers(0, 20), min_size=8, max_size=8))
    lanes = chip.effective_lanes(modes[mode])
    bench = bench_of(size)
    dut = bench.dut
    seen = []

    async def body(ctx):
        registers = {
            "mode": mode, "neurons": neurons, "depth": depth, "timesteps": timesteps, "steps_per_timestep": steps,
        }  # fmt: skip
        ctx.set(dut.registers, registers)
        ctx.set(dut.sample, 1)
        await ctx.tick()
        ctx.set(dut.sample, 0)
        for active in actives:
            ctx.set(dut.start, 1)
            await ctx.tick()
            ctx.set(dut.start, 0)
            assert ctx.get(dut.swap)
            begins, is_first = ctx.get(dut.begin), ctx.get(dut.is_first)
            await ctx.tick()  # the first axon's turn
            left, cycle, log = active, 0, {"step": [], "fetch": [], "take": [], "ends": []}
            while ctx.get(dut.computing):
                ctx.set(dut.more, left > 0)
                for name, entries in log.items():
                    if ctx.get(getattr(dut, name)):
                        entries.append(cycle)
                if ctx.get(dut.step):
                    assert ctx.get(dut.used_lanes) == min(
                        lanes, neurons - ctx.get(dut.group) * lanes
                    )
                    left -= 1
                elif ctx.get(dut.restart):
                    left = active
                await ctx.tick()
                cycle += 1
            seen.append((begins, is_first if begins else 0, ctx.get(dut.slot), cycle, log))
            ctx.set(dut.more, 0)
            await ctx.tick()

    bench.run(body)
    assert len(seen) == len(actives)
    for k, (active, (begins, is_first, slot, cycles, log)) in enumerate(
        zip(actives, seen, strict=True)
    ):
        t, phase = divmod(k - depth, steps)
        is_turn = neurons > 0 and phase == 0 and 0 <= t < timesteps
        assert (begins, is_first) == (is_turn, is_turn and t == 0)
        assert slot == k % chip.core.delay_slots
        assert cycles == (chip.compute_cycles(active, neurons, modes[mode]) if is_turn else 0)
        if not is_turn:
            continue
        groups, length = -(-neurons // lanes), max(active + 1, lanes)
        head = active + 1 + chip.core.pipeline_stages
        assert log["step"] == [g * length + i for g in range(groups) for i in range(active)]
        assert log["ends"] == [g * length + active for g in range(groups)]
        assert log["take"] == [
            g * length + head + j - 1 for g in range(groups) for j in range(lanes)
        ]
        assert log["fetch"] == [n // lanes * length + head + n % lanes - 4 for n in range(neurons)]
        assert cycles == log["take"][-1] + 1 + SOMA_STAGES
