"""Synthesise many-core chips of drawn sizes, and fit gates of components: reports/synthesised/many_core.json.

Usage: PYTHONPATH=. python benchmarks/area_gates.py [--designs 12] [--out reports/synthesised/many_core.json]

Needs `pip install 'spikeloom[hw]'`. About a minute a chip; what was synthesised once is kept (hw/gates.py), so that a
run that was stopped goes on. The presets are among the chips. The fit is by non-negative least squares on relative
errors, so that no part of a component has a negative size; its error is found by leaving out each chip in turn.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from spikeloom.chip.config import ChipConfig, load_config
from spikeloom.hw.gates import GatesResult, count_gates
from spikeloom.reports.gate_model import FEATURES, features
from spikeloom.reports.result import write_whole

PRESETS = ("tiny", "fpga_ecp5", "tianjic")
CHOICES: dict[str, dict[str, tuple[Any, ...]]] = {
    "core": {
        "axons": (16, 32, 64, 128), "neurons": (16, 32, 64, 128), "lanes": (2, 4, 8, 16), "delay_slots": (2, 4, 8, 16),
        "weight_bits": (4, 6, 8), "activation_bits": (4, 8, 10), "accumulator_bits": (16, 24, 32),
        "membrane_bits": (16, 24, 32), "decay_bits": (8, 12, 16), "route_entries": (64, 256, 1024),
        "pipeline_stages": (4, 5, 6),
    },
    "network": {
        "columns": (1, 2, 3, 5), "rows": (1, 2, 3, 5), "fifo_depth": (1, 2, 4, 8), "host_queue_flits": (16, 64, 512),
    },
    "many_core": {"signatures": (True, True, False)},
}  # fmt: skip


def designs(number: int) -> list[ChipConfig]:
    """Return the presets, and chips of sizes drawn with the seed 0."""
    rng = np.random.default_rng(0)
    chips = [load_config(name) for name in PRESETS]
    for index in range(number - len(chips)):
        drawn = {
            section: {
                name: values[int(rng.integers(len(values)))] for name, values in fields.items()
            }
            for section, fields in CHOICES.items()
        }
        for side, edge in (("rows", "host_rows"), ("columns", "host_columns")):
            ports = int(rng.integers(1, min(drawn["network"][side], 3) + 1))
            drawn["network"][edge] = list(range(ports))
        chips.append(load_config("tiny").replace(chip={"name": f"drawn{index}"}, **drawn))
    return chips


def fit(
    chips: list[ChipConfig], gates: list[GatesResult]
) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, float]]]:
    """Return coefficients of each component's features, and errors of each chip predicted from the others.

    Errors are relative; those of ``tile`` are of a core and its router as a whole.
    """
    coefficients: dict[str, dict[str, float]] = {}
    errors: dict[str, dict[str, float]] = {}
    tiles, predicted = np.zeros(len(chips)), np.zeros(len(chips))
    for component, names in FEATURES.items():
        found = [
            next((part for part in one.components if part.component == component), None)
            for one in gates
        ]
        where = [i for i, part in enumerate(found) if part is not None and part.gate_equivalents]
        sizes = [features(chips[i]) for i in where]
        matrix = np.array([[own[name] for name in names] for own in sizes])
        target = np.array(
            [part.gate_equivalents for part in found if part and part.gate_equivalents]
        )
        coefficients[component] = dict(zip(names, _solve(matrix, target).tolist(), strict=True))
        left = np.array(
            [
                matrix[i] @ _solve(np.delete(matrix, i, 0), np.delete(target, i))
                for i in range(len(target))
            ]
        )
        errors[component] = _errors(left / target - 1.0)
        if any(part is not None and part.place != "chip" for part in found):
            tiles[where] += target
            predicted[where] += left
    errors["tile"] = _errors(predicted / tiles - 1.0)
    return coefficients, errors


def _errors(relative: NDArray[np.float64]) -> dict[str, float]:
    found = np.abs(relative)
    return {
        "chips": len(found), "median": float(np.median(found)), "largest": float(found.max()),
    }  # fmt: skip


def _solve(matrix: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what minimises the sum of squared relative errors, none below 0."""
    scale = matrix.max(axis=0)
    scale[scale == 0] = 1.0
    found, _ = nnls(matrix / scale / target[:, None], np.ones(len(target)), maxiter=10_000)
    return found / scale


def main() -> None:
    """Synthesise, fit, write, and tell the errors."""
    parser = argparse.ArgumentParser(description="Synthesise many-core chips and fit gates.")
    parser.add_argument("--designs", type=int, default=12, help="chips, the presets included")
    parser.add_argument("--out", type=Path, default=Path("reports/synthesised/many_core.json"))
    options = parser.parse_args()
    chips = designs(options.designs)
    gates: list[GatesResult] = []
    for number, chip in enumerate(chips, 1):
        started = time.perf_counter()
        gates.append(count_gates(chip))
        print(
            f"{number} of {len(chips)}: {chip.name}, {gates[-1].gate_equivalents:,.0f} gates, "
            f"{time.perf_counter() - started:.1f} s",
            flush=True,
        )
    command = f"PYTHONPATH=. python benchmarks/area_gates.py --designs {options.designs}"
    table = make_table(chips, gates, command)
    for component, error in table["errors"].items():
        print(
            f"{component}: left out, median {error['median']:.1%}, largest {error['largest']:.1%}"
        )
    write_whole(options.out, json.dumps(table, indent=1) + "\n")
    print(f"wrote {options.out}")


def make_table(chips: list[ChipConfig], gates: list[GatesResult], command: str) -> dict[str, Any]:
    """Return what the file holds: `reports.gate_model.GateTable`."""
    coefficients, errors = fit(chips, gates)
    return {
        "version": 1,
        "command": command,
        "tools": gates[0].tools,
        "cell_source": gates[0].cell_source,
        "coefficients": coefficients,
        "errors": errors,
        "chips": [
            {
                "chip": chip.name,
                "many_core": chip.to_dict()["many_core"],
                "verilog_sha256": found.verilog_sha256,
                "components": [
                    part.model_dump(exclude={"cells", "what"}) for part in found.components
                ],
            }
            for chip, found in zip(chips, gates, strict=True)
        ],
    }


if __name__ == "__main__":
    main()
