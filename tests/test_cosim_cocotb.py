"""The whole chip's Verilog behind AXI4-Stream models that are not ours, cocotbext-axi, which pause at random."""

from __future__ import annotations

import numpy as np
import pytest

from spikeloom.chip.host_link import Output
from spikeloom.comparing import Case, received_outputs
from spikeloom.hw.cosim.bench import run_bench
from spikeloom.hw.transport import SampleRecord

from .support.cosim_chips import chip, verilog
from .support.cosim_stimulus import draw

NAME = "square"


@pytest.mark.parametrize(("seed", "pause_rate"), [(101, 0.25), (107, 0.6), (110, 0.0)])
def test_samples_agree_and_the_streams_keep_their_rules(seed, pause_rate):
    simulated = draw(chip(NAME), seed)
    found = run_bench(
        verilog(NAME), "tests.support.cosim_bench:run_samples", NAME, seed, pause_rate=pause_rate, seed=seed
    )  # fmt: skip
    case = Case(simulated.program, simulated.payloads, simulated.timesteps)
    assert len(found["samples"]) == len(simulated.payloads)
    for sample, chip_said in enumerate(found["samples"]):
        assert not any(chip_said["waits"])  # the queues hold all flits of a timestep
        assert chip_said["lengths"] == simulated.lengths[sample].tolist()
        assert np.array_equal(chip_said["signatures"], simulated.run.signatures[sample])
        record = SampleRecord(outputs=[Output(*output) for output in chip_said["outputs"]])
        expected = simulated.run.output_record[sample]
        assert received_outputs(case, record).tolist() == expected.tolist()
    assert not found["faults"]
    assert min(found["beats"].values()) > 100
    if pause_rate:
        assert min(found["waits"].values()) > 10
