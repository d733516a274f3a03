"""What each integer format costs: the sample networks in the integer reference, against the frameworks' stored outputs.

Usage: PYTHONPATH=. python benchmarks/quantisation.py DATA [--samples N] [--chip mesh32] [--only NAME ...]
           [--formats FORMAT ...]

DATA holds a .nir and a .npz each, as for agreement.py, which runs the chip itself. The first stored inputs calibrate;
predictions are also given for the others alone, which the quantiser never saw.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from agreement import CASES, Case, Stored, load_stored

from spikeloom.chip.config import ChipConfig, load_config
from spikeloom.compiler.frontend import load_network
from spikeloom.compiler.graph import Network
from spikeloom.compiler.quantise import quantise
from spikeloom.compiler.reference_integer import run_integer

CALIBRATION_SAMPLES = 32
BATCH = 40  # samples run at once, which bounds memory


@dataclass(frozen=True)
class Format:
    """Changes of the chip's core, and the bits of a packed weight (None: the core's)."""

    core: dict[str, int]
    weight_bits: int | None = None


_WIDE = {
    "weight_bits": 24,
    "activation_bits": 20,
    "accumulator_bits": 56,
    "membrane_bits": 56,
    "decay_bits": 28,
}
FORMATS = {
    "2 bits": Format({}, 2),
    "4 bits": Format({}, 4),
    "8 bits": Format({}),
    "wide": Format(_WIDE),
    "widest": Format(_WIDE | {"weight_bits": 30}),
}


def run(
    stored: Stored, network: Network, config: ChipConfig, weight_bits: int | None
) -> np.ndarray:
    """Quantise, run every stored input, and return the outputs (samples, timesteps, outputs) in the network's units."""
    calibration = stored.inputs[:CALIBRATION_SAMPLES]
    quantised = quantise(network, config, calibration, weight_bits=weight_bits)
    scale = np.concatenate([quantised.population(n).output_scale for n in network.outputs])
    parts = [
        run_integer(quantised, config, stored.inputs[start : start + BATCH]).outputs
        for start in range(0, len(stored.inputs), BATCH)
    ]
    return np.concatenate(parts) * scale


def describe(stored: Stored, got: np.ndarray) -> str:
    """Return one line: predictions, those of inputs not calibrated with, and output spikes or membranes."""
    want = stored.membranes if stored.spikes is None else stored.spikes
    want_sums, got_sums = want.sum(axis=1), got.sum(axis=1)
    equal = got_sums.argmax(axis=1) == want_sums.argmax(axis=1)
    unseen = equal[CALIBRATION_SAMPLES:]
    share = f"{unseen.mean():6.1%}" if unseen.size else "  none"
    line = f"predictions {equal.mean():6.1%}, unseen {share}"
    if stored.spikes is None:
        error = np.abs(got_sums - want_sums).max() / np.abs(want_sums).max()
        return f"{line}, largest error of summed membranes {error:.1e}"
    differ = int(np.abs(got - want).sum())
    counts = np.mean(got_sums == want_sums)
    return f"{line}, counts {counts:7.2%}, output spikes {differ} of {int(want.sum())} differ"


def measure(case: Case, data: Path, base: ChipConfig, labels: list[str], samples: int) -> None:
    """Print the lines of one network."""
    file = next(iter(sorted(data.rglob(f"{case.name}.nir"))), None)
    if file is None:
        print(f"{case.name}: not found")
        return
    stored = load_stored(file.with_suffix(".npz"), samples)
    network = load_network(file, **case.options)
    for label in labels:
        form = FORMATS[label]
        got = run(stored, network, base.replace(core=form.core), form.weight_bits)
        print(f"{case.name:44s} {label:7s} {describe(stored, got)}", flush=True)


def main() -> None:
    """Parse the command line and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--chip", default="mesh32")
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--formats", nargs="*", default=list(FORMATS), choices=FORMATS)
    options = parser.parse_args()
    base = load_config(options.chip)
    for case in CASES:
        if not options.only or any(word in case.name for word in options.only):
            measure(case, options.data, base, options.formats, options.samples)


if __name__ == "__main__":
    main()
