"""The simulator against a slow many-core in plain Python: every value, every cycle, every counter."""

from __future__ import annotations

import numpy as np
import pytest

from spikeloom.chip.events import CORE_EVENT_INDEX
from spikeloom.sim.run import SimulationError, run_many_core

from .support.golden_many_core import GoldenManyCore
from .support.random_program import random_program


@pytest.mark.parametrize("seed", range(60))
def test_random_programs_agree_in_values_cycles_and_counters(seed):
    rng = np.random.default_rng(seed)
    program = random_program(rng)
    timesteps, held = 5, seed % 3 == 0
    top = 1 << program.config.many_core.core.activation_bits
    shape = (2, 1 if held else timesteps, program.input_size)
    payloads = rng.integers(0, top, shape) * (rng.random(shape) < 0.6)
    run = run_many_core(program, payloads, timesteps, record_outputs=True, probes=["all"], threads=1)

    moved, sent = 0, 0
    hops = np.zeros_like(run.router_counters)
    for sample, payload in enumerate(payloads):
        golden = GoldenManyCore(program)
        assert run.cycles[sample].tolist() == golden.run(payload, held, timesteps)
        count = np.zeros(program.output_size, dtype=np.int64)
        for _, output, value in golden.outputs:
            count[output] += value
        assert run.output_count[sample].tolist() == count.tolist()
        for _, _, x, y, port, _, _ in golden.log:
            hops[y * program.config.many_core.network.columns + x, port] += 1
        moved += len(golden.log)
        sent += sum(c["sent"] for c in golden.counts)
    assert run.router_counters.tolist() == hops.tolist()
    assert run.step_router_flits.sum() == moved
    for name, key in (("flits_sent", "sent"),):
        assert run.core_counters[:, CORE_EVENT_INDEX[name]].sum() == sent, key
    assert moved > 0 or run.chip_counters["host_flits_in"] == 0
