"""The shipped networks on all 2,000 test digits: chip against integer reference and float network.

Usage: python benchmarks/shipped.py [--chip tianjic]
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

from spikeloom.chip.config import load_config
from spikeloom.compiler.frontend import load_network
from spikeloom.compiler.pipeline import compile_network
from spikeloom.compiler.reference_float import run_float
from spikeloom.compiler.reference_integer import quantise_inputs, run_integer
from spikeloom.models.datasets import load_mnist
from spikeloom.models.zoo import ZOO, path
from spikeloom.sim.run import run_many_core


def main() -> None:
    """Parse the command line and print a line per network."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--chip", default="tianjic")
    config = load_config(parser.parse_args().chip)
    test, train = load_mnist("test"), load_mnist("train")
    for name, item in ZOO.items():
        network = load_network(path(name), "nir")
        values = test.inputs.reshape(len(test.inputs), 1, -1) / 255.0
        seen = np.repeat(train.inputs[:128].reshape(128, 1, -1) / 255.0, item.timesteps, axis=1)
        compiled = compile_network(network, config, calibration=seen)
        chip = run_many_core(
            compiled.program, quantise_inputs(compiled.quantised, values), item.timesteps
        )
        unfolded = np.repeat(values, item.timesteps, axis=1)
        reference = run_integer(compiled.quantised, config, unfolded)
        real = run_float(network, unfolded)
        same = np.array_equal(chip.output_count, reference.counts) and np.array_equal(
            chip.first_spike, reference.first
        )
        right = [
            np.mean(counts.argmax(axis=1) == test.labels)
            for counts in (chip.output_count, real.counts)
        ]
        sys.stdout.write(
            f"{name}: {len(values)} digits, chip {right[0]:.2%}, float network {right[1]:.2%}, integer reference "
            f"{'equal in every output and first spike' if same else 'DIFFERENT'}, "
            f"{chip.cycles.sum(axis=1).mean():,.0f} cycles a digit\n"
        )


if __name__ == "__main__":
    main()
