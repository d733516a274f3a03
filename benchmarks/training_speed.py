"""Time of a simulated training step over PyTorch's own step of the same network, batch and timesteps, on this machine.

    pip install '.[train]'
    python benchmarks/training_speed.py [--networks mnist_mlp,fashion_conv,cifar_conv] [--repeats 5] [--save]

The two take turns, so that whatever else the machine does meets both; the ratio is that of the medians. Random images:
the time of neither depends much on them. ``--save`` keeps the figures in reports/measured/, where `spikeloom compare`
finds them.
"""

from __future__ import annotations

import argparse
import datetime
import platform
import resource
import sys
import time
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from spikeloom.chip.config import load_config
from spikeloom.chip.learn_network import initial_parameters
from spikeloom.compiler.learn_tasks import learn_tasks
from spikeloom.models.learn_zoo import LEARN_ZOO, build_learn_network
from spikeloom.models.training.learn_torch import TorchNetwork
from spikeloom.reports.measured import Measurement
from spikeloom.sim.engines.training import TrainingMachine

BATCHES = {"mnist_mlp": 64, "fashion_conv": 64, "cifar_conv": 16}


def main() -> None:
    """Print a line a network."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", default=",".join(BATCHES))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--norm", default="default", choices=("default", "none", "batch", "frozen"))
    parser.add_argument("--save", action="store_true", help="keep the figures in reports/measured/")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"torch {torch.__version__}, {options.threads} threads, medians of {options.repeats}")
    for name in options.networks.split(","):
        compare(name, options.repeats, options.threads, options.norm, save=options.save)


def compare(name: str, repeats: int, threads: int, norm: str, *, save: bool) -> None:
    """Time both on one network."""
    network = build_learn_network(name, cast(Any, norm))
    recipe = LEARN_ZOO[name].recipe
    batch = BATCHES[name]
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (batch, 1, *network.input.shape)).astype(np.uint8)
    labels = rng.integers(0, network.classes, batch)
    program = learn_tasks(load_config("h2learn"), network, recipe, batch)
    machine = TrainingMachine(program, initial_parameters(network, 0), threads=threads)
    module = TorchNetwork(network, initial_parameters(network, 0), recipe)
    optimiser = module.optimiser()
    inputs, targets = torch.from_numpy(images), torch.from_numpy(labels)

    def ours() -> None:
        machine.step(images, labels, program=program)

    def theirs() -> None:
        optimiser.zero_grad()
        module.loss(module(inputs), targets).backward()
        optimiser.step()

    times: dict[str, list[float]] = {"ours": [], "theirs": []}
    ours()
    theirs()
    for _ in range(repeats):
        for key, step in (("theirs", theirs), ("ours", ours)):
            start = time.perf_counter()
            step()
            times[key].append(time.perf_counter() - start)
    mine, other = (float(np.median(times[key])) for key in ("ours", "theirs"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(
        f"{name:14s} batch {batch:3d}  T {recipe.timesteps}  simulated step {mine * 1e3:8.1f} ms  "
        f"PyTorch {other * 1e3:8.1f} ms  ratio {mine / other:5.2f}  peak of both {peak:.2f} GB",
        flush=True,
    )
    if not save:
        return
    kinds = {stage.norm.kind for stage in network.stages if stage.norm is not None}
    measurement = Measurement(
        network=name, norm=" and ".join(sorted(kinds)) or "none", batch=batch, timesteps=recipe.timesteps,
        framework=f"PyTorch {torch.__version__}", device=processor(), threads=threads, step_s=other, simulated_s=mine,
        repeats=repeats, date=datetime.date.today().isoformat(), command=" ".join(["python", *sys.argv]),
    )  # fmt: skip
    print(f"wrote {measurement.save()}")


def processor() -> str:
    """Return the processor's name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next(
        (line.split(":")[1].strip() for line in lines if line.startswith("model name")),
        platform.machine(),
    )


if __name__ == "__main__":
    main()
