"""Speed and memory of the simulator: the shipped MLP over every shipped digit, and a full `mesh32` program.

Usage: python benchmarks/many_core.py [--samples 10000] [--network mnist_mlp] [--mesh32]
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from spikeloom.chip.config import load_config
from spikeloom.chip.events import CORE_EVENT_INDEX
from spikeloom.chip.program import (
    CORE_REGISTERS,
    NEURON_MEMORIES,
    REGISTER_INDEX,
    InputInfo,
    LayerInfo,
    ManyCoreProgram,
)
from spikeloom.chip.program_file import load_program, save_program
from spikeloom.compiling import compile_nir
from spikeloom.data import input_shapes, shape_samples, to_payloads
from spikeloom.models.datasets import load_mnist
from spikeloom.models.zoo import ZOO, path
from spikeloom.sim.run import ManyCoreRun, run_many_core


def peak_mb() -> float:
    """Return the largest resident memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def time_run(
    program: ManyCoreProgram, payloads: np.ndarray, timesteps: int, threads: int
) -> tuple[ManyCoreRun, float]:
    """Return a run and its seconds."""
    start = time.perf_counter()
    run = run_many_core(program, payloads, timesteps, threads=threads)
    return run, time.perf_counter() - start


def mnist(network: str, samples: int) -> None:
    """Run the shipped digits through a shipped network with 1 and 2 threads."""
    item = ZOO[network]
    digits = load_mnist("all")
    training = load_mnist("train").inputs[:128].reshape(-1, *item.input_shape)
    program = compile_nir(
        path(network), "tianjic", convention="nir", calibrate={"inputs": training},
        timesteps=item.timesteps, encode=item.encoder,
    ).program  # fmt: skip
    shaped = shape_samples(
        {"inputs": digits.inputs[:samples].reshape(-1, *item.input_shape)}, input_shapes(program.inputs),
        timesteps=item.timesteps, encoder=item.encoder,
    )  # fmt: skip
    payloads, _ = to_payloads(program, shaped)
    start = time.perf_counter()
    run_many_core(program, payloads[:1], item.timesteps, threads=1)
    say(f"first sample, kernels compiled or loaded: {time.perf_counter() - start:.2f} s")
    for threads in (1, 2):
        run, seconds = time_run(program, payloads, item.timesteps, threads)
        cycles, synops = (
            run.chip_counters["cycles"],
            int(run.core_counters[:, CORE_EVENT_INDEX["synops"]].sum()),
        )
        say(
            f"{network}, {len(payloads)} digits, {item.timesteps} timesteps, {threads} thread(s): {seconds:.2f} s, "
            f"{cycles / seconds / 1e6:.1f} M cycles/s, {synops / seconds / 1e9:.2f} G synops/s, peak {peak_mb():.0f} MB"
        )


def full_mesh32(folder: Path) -> None:
    """Save, load and run one sample of a program that fills every synapse of `mesh32`."""
    config = load_config("mesh32")
    chip = config.many_core
    core, mesh, count = chip.core, chip.network, chip.core_count
    rng, at = np.random.default_rng(0), np.arange(count)
    registers = np.zeros((count, len(CORE_REGISTERS)), dtype=np.int64)
    values = {"x": np.arange(count) % mesh.columns, "y": np.arange(count) // mesh.columns, "neurons": core.neurons,
              "weight_mode_bits": 8, "max_output": 1, "depth": 1}  # fmt: skip
    for name, value in values.items():
        registers[:, REGISTER_INDEX[name]] = value
    memories: dict[str, Any] = {
        name: np.zeros((count, core.neurons), dtype=np.int64) for name in NEURON_MEMORIES
    }
    memories["v_threshold"][:] = 300
    memories["decay_mem"][:] = 3686
    memories["route_base"][:] = np.arange(core.neurons)
    memories["route_count"][:] = 1
    here = np.repeat(np.arange(count), core.neurons)
    there = rng.integers(0, count, len(here))
    routes = np.stack(
        [0 * here, there % mesh.columns - here % mesh.columns, there // mesh.columns - here // mesh.columns,
         rng.integers(0, core.axons, len(here)), 0 * here + 1], axis=1,
    ).astype(np.int32)  # fmt: skip
    inputs = np.stack(
        [0 * at, at % mesh.columns, at // mesh.columns, 0 * at, 0 * at + 1], axis=1
    ).astype(np.int32)  # fmt: skip
    program = ManyCoreProgram(
        config=config, registers=registers,
        weights=rng.integers(-127, 128, (count, core.axons, core.neurons), dtype=np.int8), **memories,
        table=np.zeros((0, 256), np.int32), route_offset=np.arange(count + 1) * core.neurons, routes=routes,
        core_layer=np.zeros(count, np.int32), neuron_index=np.full((count, core.neurons), -1, np.int32),
        neuron_scale=np.ones((count, core.neurons)), input_offset=np.arange(count + 1), input_routes=inputs,
        output_lines=np.zeros((0, 4), np.int32), output_scale=np.zeros(0),
        inputs=(InputInfo("input", (count,), 1.0, False, 255),),
        layers=(LayerInfo("all", "lif", (core.neurons,), True, 1, tuple(range(count))),), outputs=(),
    )  # fmt: skip
    save_program(program, folder / "mesh32.chip")
    del program, memories, routes
    start = time.perf_counter()
    program = load_program(folder / "mesh32.chip")
    say(
        f"mesh32, 1,024 cores, {program.weights.size:,} synapses: loaded in {time.perf_counter() - start:.2f} s"
    )
    run, seconds = time_run(program, np.ones((1, 1, count), dtype=np.int32), 10, 1)
    say(
        f"mesh32, one sample of 10 timesteps: {seconds:.2f} s, {run.chip_counters['cycles']:,} cycles, "
        f"{run.router_counters.sum():,} hops, peak {peak_mb():.0f} MB"
    )


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--network", default="mnist_mlp", choices=sorted(ZOO))
    parser.add_argument("--mesh32", action="store_true", help="the full mesh32 program instead")
    options = parser.parse_args()
    if options.mesh32:
        with tempfile.TemporaryDirectory() as folder:
            full_mesh32(Path(folder))
    else:
        mnist(options.network, options.samples)


if __name__ == "__main__":
    main()
