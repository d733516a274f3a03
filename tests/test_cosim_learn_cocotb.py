"""Training steps on the Verilog behind AXI4-Stream models that are not ours, cocotbext-axi, which pause at random."""

from __future__ import annotations

import pytest

from spikeloom.chip.config import load_config
from spikeloom.hw.cosim.bench import run_bench
from spikeloom.learn_verifying import BENCH_MODULE, emit_learn_bench


@pytest.mark.parametrize(
    ("name", "pause_rate"), [("mlp", 0.3), pytest.param("conv", 0.3, marks=pytest.mark.slow)]
)
def test_steps_are_the_simulators(name, pause_rate):
    found = run_bench(
        emit_learn_bench(load_config("h2learn_small")), "tests.support.learn_rtl:steps_under_cocotb", name, 77,
        top=BENCH_MODULE, pause_rate=pause_rate, seed=3,
    )  # fmt: skip
    assert found["difference"] is None
    assert found["steps"] == 2
    assert found["cycles"] > 5000
    assert found["stored"] > 500
