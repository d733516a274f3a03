"""The simulator against a slow many-core in plain Python: every value, every cycle, every counter."""

from __future__ import annotations

import numpy as np
import pytest

from spikeloom.chip.arithmetic import NeuronKind
from spikeloom.chip.events import CORE_EVENT_INDEX
from spikeloom.chip.program import REGISTER_INDEX
from spikeloom.sim.run import run_many_core

from .support.golden_many_core import GoldenManyCore
from .support.random_program import random_program

SEEDS = range(40)
STATELESS = (NeuronKind.RELU, NeuronKind.TABLE, NeuronKind.PARTIAL)


def draw_payloads(rng, program, samples, timesteps, held):
    """Draw inputs over the whole range of an axon, a third of them 0."""
    top = 1 << program.config.many_core.core.activation_bits
    shape = (samples, 1 if held else timesteps, program.input_size)
    return rng.integers(0, top, shape) * (rng.random(shape) < 0.6)


@pytest.mark.parametrize("seed", SEEDS)
def test_random_programs_agree_in_values_cycles_and_counters(seed):
    rng = np.random.default_rng(seed)
    program = random_program(rng)
    timesteps, held = 5, seed % 3 == 0
    payloads = draw_payloads(rng, program, 2, timesteps, held)
    run = run_many_core(program, payloads, timesteps, threads=1)

    columns = program.config.many_core.network.columns
    hops = np.zeros_like(run.router_counters)
    totals = {
        name: np.zeros(program.core_count, dtype=np.int64)
        for name in ("flits_sent", "spikes", "active_axons", "saturations")
    }
    for sample, payload in enumerate(payloads):
        golden = GoldenManyCore(program)
        assert run.cycles[sample].tolist() == golden.run(payload, held, timesteps)
        count = np.zeros(program.output_size, dtype=np.int64)
        for _, output, value in golden.outputs:
            count[output] += value
        assert run.output_count[sample].tolist() == count.tolist()
        for _, _, x, y, port, *_ in golden.log:
            hops[y * columns + x, port] += 1
        for c, counts in enumerate(golden.counts):
            for name, key in zip(totals, ("sent", "spikes", "active", "saturations"), strict=True):
                totals[name][c] += counts[key]
    assert run.router_counters.tolist() == hops.tolist()
    assert run.step_router_flits.sum() == hops.sum()
    for name, expected in totals.items():
        assert run.core_counters[:, CORE_EVENT_INDEX[name]].tolist() == expected.tolist(), name
    assert hops.sum() > 0 or run.chip_counters["host_flits_in"] == 0


@pytest.mark.parametrize("seed", range(12))
def test_membranes_agree_after_every_timestep(seed):
    rng = np.random.default_rng(1000 + seed)
    program = random_program(rng)
    timesteps = 4
    payloads = draw_payloads(rng, program, 1, timesteps, held=False)
    names = [layer.name for layer in program.layers]
    run = run_many_core(program, payloads, timesteps, probes=names, threads=1)
    golden = GoldenManyCore(program)
    golden.run(payloads[0], False, timesteps)
    compared = 0
    for name, core in zip(names, golden.cores, strict=True):
        for n, value in core.v.items():
            if core.reg["kind"] not in STATELESS:
                assert run.probe_v_mem[name][0, -1, n] == value
                compared += 1
    assert compared or all(core.reg["kind"] in STATELESS for core in golden.cores)


def test_the_stimulus_covers_every_mode():
    seen = {
        name: set()
        for name in (
            "kind",
            "reset_mode",
            "reset_timing",
            "compare",
            "weight_mode_bits",
            "axon_signed",
            "floor",
        )
    }
    ports, stalls, overruns, multi, random, refractory = set(), 0, 0, 0, 0, 0
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        program = random_program(rng)
        for name, values in seen.items():
            values.update(program.register(name).tolist())
        multi += int(((program.register("max_output") > 1) & (program.register("kind") <= 1)).sum())
        random += int((program.register("random_mask") > 0).sum())
        refractory += int((program.register("refractory") > 0).sum())
        run = run_many_core(program, draw_payloads(rng, program, 1, 5, held=False), 5, threads=1)
        ports.update(np.flatnonzero(run.router_counters.sum(axis=0)).tolist())
        stalls += int(run.core_counters[:, CORE_EVENT_INDEX["send_stalls"]].sum())
        overruns += run.chip_counters["overruns"]
    assert seen["kind"] == set(range(7))
    assert seen["reset_mode"] == set(range(4))
    assert seen["weight_mode_bits"] >= {2, 4, 6, 8}
    assert all(seen[name] == {0, 1} for name in ("reset_timing", "compare", "axon_signed", "floor"))
    assert ports == set(range(5))
    assert min(stalls, overruns, multi, random, refractory) > 0


@pytest.mark.parametrize("register", ["compare", "reset_timing", "axon_signed", "floor"])
def test_a_planted_difference_is_seen(register):
    seen = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        program = random_program(rng)
        payloads = draw_payloads(rng, program, 1, 5, held=False)
        golden = GoldenManyCore(program)
        golden.run(payloads[0], False, 5)
        single = program.register("max_output") == 1
        program.registers[single, REGISTER_INDEX[register]] ^= 1
        run = run_many_core(program, payloads, 5, threads=1)
        spikes = run.core_counters[:, CORE_EVENT_INDEX["spikes"]].tolist()
        seen += spikes != [counts["spikes"] for counts in golden.counts]
    assert seen > 0
