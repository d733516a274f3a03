"""Cycles a second of the simulator over those of Verilator: one program, the same samples, one thread each, one run.

Usage: PYTHONPATH=. python benchmarks/rtl_speed.py [--chip tiny] [--samples 20] [--timesteps 20] [--seed 0]
       PYTHONPATH=. python benchmarks/rtl_speed.py --chip tianjic --network mnist_mlp --samples 3

The program is drawn at random and uses the chip's every mode, or is a shipped network's, on real digits. Building the
Verilog's model is not counted, nor is loading; the simulator runs the samples once before, so that its kernels are
there.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from numpy.typing import NDArray

from spikeloom.chip.config import ChipConfig, load_config
from spikeloom.chip.program import ManyCoreProgram
from spikeloom.compiling import compile_nir
from spikeloom.data import input_shapes, shape_samples, to_payloads
from spikeloom.hw.cosim.build import build_model
from spikeloom.hw.cosim.verilated import VerilatedTransport
from spikeloom.hw.driver import HostDriver
from spikeloom.hw.verilog import emit_chip
from spikeloom.models.zoo import ZOO, load_zoo_samples, path
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
    parser.add_argument(
        "--network", choices=sorted(ZOO), help="a shipped network instead of a random program"
    )
    options = parser.parse_args()
    config = load_config(options.chip)
    if options.network is None:
        program, payloads, timesteps = random_work(config, options)
    else:
        program, payloads, timesteps = shipped_work(config, options)
    held = payloads.shape[1] == 1
    build = build_model(emit_chip(config))
    with VerilatedTransport(build) as transport:
        driver = HostDriver(config, transport)
        driver.load(program, timesteps)
        began = time.perf_counter()
        lengths = [sum(driver.run_sample(payload, held=held).lengths) for payload in payloads]
        rtl_s = time.perf_counter() - began
    run_many_core(program, payloads, timesteps, threads=1)
    began = time.perf_counter()
    run = run_many_core(program, payloads, timesteps, threads=1)
    simulator_s = time.perf_counter() - began
    resets = len(payloads) * config.many_core.sample_reset_cycles
    cycles = int(run.cycles.sum()) - resets
    assert cycles == sum(lengths), "the machines differ: run `spikeloom verify`"
    print(
        f"{config.name}: {program.core_count} cores in use, {cycles:,} cycles; simulator {cycles / simulator_s:,.0f} "
        f"cycles/s, Verilator {cycles / rtl_s:,.0f} cycles/s (built in {build.seconds:.0f} s): "
        f"ratio {rtl_s / simulator_s:,.0f}"
    )


Work = tuple[ManyCoreProgram, NDArray[np.int32], int]


def random_work(config: ChipConfig, options: argparse.Namespace) -> Work:
    """Draw a program and its inputs."""
    rng = np.random.default_rng(options.seed)
    program = random_program(rng, config, inputs=config.many_core.core.axons)
    top = 1 << config.many_core.core.activation_bits
    payloads = rng.integers(0, top, (options.samples, options.timesteps, program.input_size))
    return (
        program,
        (payloads * (rng.random(payloads.shape) < 0.3)).astype(np.int32),
        options.timesteps,
    )


def shipped_work(config: ChipConfig, options: argparse.Namespace) -> Work:
    """Compile a shipped network, and take digits for it."""
    network = ZOO[options.network]
    digits = load_zoo_samples(network.name, options.samples, options.seed)
    arrays = {"inputs": digits.inputs, "labels": digits.labels}
    presented = {"timesteps": network.timesteps, "encode": network.encoder}
    program = compile_nir(
        path(network.name), config, convention="nir", calibrate=arrays, **presented
    ).program
    shaped = shape_samples(
        arrays, input_shapes(program.inputs), timesteps=network.timesteps, encoder=network.encoder
    )
    return program, to_payloads(program, shaped)[0], network.timesteps


if __name__ == "__main__":
    main()
