"""Cycles a second of the simulator over those of Verilator: one program, the same samples, one thread each, one run.

Usage: PYTHONPATH=. python benchmarks/rtl_speed.py [--chip tiny] [--samples 20] [--timesteps 20] [--seed 0]

The program is drawn at random and uses the chip's every mode. Building the Verilog's model is not counted, nor is
loading; the simulator runs the samples once before, so that its kernels are there.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from spikeloom.chip.config import load_config
from spikeloom.hw.cosim.build import build_model
from spikeloom.hw.cosim.verilated import VerilatedTransport
from spikeloom.hw.driver import HostDriver
from spikeloom.hw.verilog import emit_chip
from spikeloom.sim.run import run_many_core
from tests.support.random_program import random_program


def main() -> None:
    """Run both machines and print the rates."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--chip", default="tiny")
    parser.add_argument("--samples", type=int, default=20)
    parser.add_argument("--timesteps", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    config, rng = load_config(options.chip), np.random.default_rng(options.seed)
    program = random_program(rng, config, inputs=config.many_core.core.axons)
    top = 1 << config.many_core.core.activation_bits
    payloads = rng.integers(0, top, (options.samples, options.timesteps, program.input_size))
    payloads = (payloads * (rng.random(payloads.shape) < 0.3)).astype(np.int32)

    build = build_model(emit_chip(config))
    with VerilatedTransport(build) as transport:
        driver = HostDriver(config, transport)
        driver.load(program, options.timesteps)
        began = time.perf_counter()
        lengths = [sum(driver.run_sample(payload, held=False).lengths) for payload in payloads]
        rtl_s = time.perf_counter() - began
    run_many_core(program, payloads, options.timesteps, threads=1)
    began = time.perf_counter()
    run = run_many_core(program, payloads, options.timesteps, threads=1)
    simulator_s = time.perf_counter() - began
    resets = len(payloads) * config.many_core.sample_reset_cycles
    cycles = int(run.cycles.sum()) - resets
    assert cycles == sum(lengths), "the machines differ: run `spikeloom verify`"
    print(
        f"{config.name}: {program.core_count} cores in use, {cycles:,} cycles; simulator {cycles / simulator_s:,.0f} "
        f"cycles/s, Verilator {cycles / rtl_s:,.0f} cycles/s (built in {build.seconds:.0f} s): "
        f"ratio {rtl_s / simulator_s:,.0f}"
    )


if __name__ == "__main__":
    main()
