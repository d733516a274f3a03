"""The chip against the frameworks: the sample networks on their stored inputs, at 8 bits and in a wide format.

Usage: python benchmarks/agreement.py DATA [--samples N] [--chip mesh32] [--only NAME ...]

DATA holds a .nir and a .npz each, stored inputs and the framework's outputs, at its top or in folders below it;
tests/data holds five. The published networks are those of the NIR paper (github neuromorphs/NIR, paper/).
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from spikeloom.chip.config import ChipConfig, load_config
from spikeloom.compiler.frontend import load_network
from spikeloom.compiler.pipeline import compile_network
from spikeloom.compiler.reference_integer import quantise_inputs, run_integer
from spikeloom.sim.run import run_many_core

# As wide as 64-bit integers carry: every output spike should be the framework's.
WIDE = {
    "weight_bits": 24,
    "activation_bits": 20,
    "accumulator_bits": 56,
    "membrane_bits": 56,
    "decay_bits": 28,
}


@dataclass(frozen=True)
class Case:
    """One network: its file without suffix, and how it is to be read where `auto` refuses."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)


_BRAILLE = {"producer": "snntorch", "reset_timing": "same", "recurrent_bias_at_start": False}
CASES = (
    Case("snntorch_mlp_mnist"),
    Case("snntorch_synaptic_digits"),
    Case("norse_mlp_lifbox_li_mnist"),
    Case("sj_conv_stbp_fashion"),
    Case("sj_sew_resnet_mnist", {"producer": "spikingjelly"}),
    Case("thirdparty_braille_noDelay_bias_zero", _BRAILLE | {"reset": "zero"}),
    Case("thirdparty_braille_noDelay_noBias_subtract", _BRAILLE),
    Case("thirdparty_sinabs_cnn_nmnist", {"producer": "sinabs"}),
)


@dataclass(frozen=True)
class Stored:
    """Stored inputs (samples, timesteps, values) and the framework's outputs (samples, timesteps, outputs)."""

    inputs: np.ndarray
    spikes: np.ndarray | None
    membranes: np.ndarray


def load_stored(path: Path, samples: int) -> Stored:
    """Read the arrays beside a network; they are stored timestep first."""
    with np.load(path) as file:
        if "events_tms_x_y_p" in file:
            x = _frames(file["events_tms_x_y_p"], file["event_offsets"], int(file["T"]), samples)
        elif "x" in file:
            x = np.moveaxis(file["x"], 0, 1)[:samples]
        else:
            x = np.repeat(file["x_const"][:samples, None], int(file["T"]), axis=1)
        spikes = np.moveaxis(file["out_spikes"], 0, 1)[:samples] if "out_spikes" in file else None
        membranes = (
            np.moveaxis(file["out_v"], 0, 1)[:samples] if "out_v" in file else np.zeros((0, 0, 0))
        )
    return Stored(x.reshape(*x.shape[:2], -1).astype(np.float64), spikes, membranes)


def _frames(events: np.ndarray, offsets: np.ndarray, timesteps: int, samples: int) -> np.ndarray:
    """Count events of 1 ms: (samples, timesteps, 2, 34, 34), the channel being the polarity."""
    frames = np.zeros((samples, timesteps, 2, 34, 34), dtype=np.uint8)
    for sample in range(samples):
        t, x, y, polarity = events[offsets[sample] : offsets[sample + 1]].T.astype(np.int64)
        np.add.at(frames[sample], (t, polarity, y, x), 1)
    return frames


def compare(case: Case, data: Path, config: ChipConfig, samples: int) -> str:
    """Compile, run on the chip and return one line of the table."""
    file = next(iter(sorted(data.rglob(f"{case.name}.nir"))), None)
    if file is None:
        return "not found"
    stored = load_stored(file.with_suffix(".npz"), samples)
    network = load_network(file, **case.options)
    start = time.perf_counter()
    compiled = compile_network(network, config, calibration=stored.inputs[:32])
    compile_s = time.perf_counter() - start
    program = compiled.program
    payloads = quantise_inputs(compiled.quantised, stored.inputs).astype(np.int32)
    timesteps = payloads.shape[1]
    held = timesteps > 1 and bool((payloads == payloads[:, :1]).all())
    start = time.perf_counter()
    run = run_many_core(
        program, payloads[:, :1] if held else payloads, timesteps, record_outputs=True
    )
    seconds = time.perf_counter() - start
    reference = run_integer(compiled.quantised, config, stored.inputs)
    same = "equal" if np.array_equal(reference.outputs, run.output_record) else "DIFFERENT"
    if stored.spikes is None:
        got = run.output_count * program.output_scale
        want = stored.membranes.sum(axis=1)
        error = np.abs(got - want).max() / np.abs(want).max()
        outcome = f"largest membrane error {error:.1e}"
    else:
        got, want = run.output_count, stored.spikes.sum(axis=1)
        wrong = int(np.abs(run.output_record - stored.spikes).sum())
        outcome = (
            f"{wrong} of {int(stored.spikes.sum())} output spikes differ, "
            f"{np.mean(got == want):.2%} of the counts equal"
        )
    agree = np.mean(got.argmax(axis=1) == want.argmax(axis=1))
    return (
        f"{agree:.1%} of predictions equal, {outcome}; integer reference {same}; {program.core_count} cores, "
        f"compiled in {compile_s:.1f} s, {run.cycles.sum(axis=1).mean():,.0f} cycles a sample, "
        f"{run.chip_counters['cycles'] / seconds / 1e6:.1f} M cycles/s"
    )


def main() -> None:
    """Parse the command line and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--chip", default="mesh32")
    parser.add_argument("--only", nargs="*", default=[])
    options = parser.parse_args()
    base = load_config(options.chip)
    for case in CASES:
        if options.only and not any(word in case.name for word in options.only):
            continue
        for label, config in (("8 bits", base), ("wide", base.replace(core=WIDE))):
            line = compare(case, options.data, config, options.samples)
            sys.stdout.write(f"{case.name}, {label}: {line}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
