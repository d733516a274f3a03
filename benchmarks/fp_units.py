"""Floating-point units under Verilator against NumPy: how many results of random operands differ. None may.

Usage: PYTHONPATH=. python benchmarks/fp_units.py [--pairs 10000000] [--serial 1000000] [--seed 0]

Operands are drawn as the tests' are: many sums cancel or tie, many results are subnormal or barely finite. Sums,
products and conversions are ``--pairs``, quotients and roots, a bit a cycle, ``--serial``. Seconds are the model's.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeloom.chip.formats import BF16, FP16, FP32, FloatFormat
from spikeloom.hw.cosim.fp_bench import FpBench
from spikeloom.hw.fp.adder import FloatAdder
from spikeloom.hw.fp.converter import FloatConverter
from spikeloom.hw.fp.divider import FloatDivider
from spikeloom.hw.fp.multiplier import FloatMultiplier
from spikeloom.hw.fp.root import FloatRoot
from tests.test_hw_fp import converted, draw, expected

FORMATS = (FP16, BF16, FP32)
STAGES = 3
CHUNK = 1_000_000


@dataclass(frozen=True)
class Case:
    """A unit, its operands, and what must come of them."""

    operation: str
    format: str
    unit: Any
    source: FloatFormat
    operands: int
    reference: Callable[..., NDArray[np.uint32]]


def cases() -> list[Case]:
    """Return what is compared, in the order of the table."""
    found: list[Case] = []
    for name, unit in (("add", FloatAdder), ("multiply", FloatMultiplier)):
        for form in FORMATS:
            reference = partial(expected, name, form)
            found.append(Case(name, form.name, unit(form, STAGES), form, 2, reference))
    for form in (FP16, BF16):
        unit = FloatMultiplier(form, STAGES, result=FP32)
        reference = partial(expected, "multiply", form, result=FP32)
        found.append(Case("multiply", f"{form.name} to fp32", unit, form, 2, reference))
    for source in FORMATS:
        for target in FORMATS:
            unit = FloatConverter(source, target, 1)
            reference = partial(converted, source=source, target=target)
            kinds = f"{source.name} to {target.name}"
            found.append(Case("convert", kinds, unit, source, 1, reference))
    for form in FORMATS:
        reference = partial(expected, "divide", form)
        found.append(Case("divide", form.name, FloatDivider(form), form, 2, reference))
    for form in FORMATS:
        reference = partial(expected, "root", form)
        found.append(Case("root", form.name, FloatRoot(form), form, 1, reference))
    return found


def main() -> int:
    """Print the table; return 1 if anything differs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=10_000_000)
    parser.add_argument("--serial", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    every = cases()
    bench = FpBench({f"{case.operation} {case.format}": case.unit for case in every})
    print(f"built in {bench.build.seconds:.0f} s; seed {options.seed}")
    print(f"{'operation':10} {'format':13} {'operands':>12} {'differences':>12} {'seconds':>8}")
    wrong = 0
    for number, case in enumerate(every):
        is_serial = case.operation in ("divide", "root")
        rng = np.random.default_rng((options.seed, number))
        count = options.serial if is_serial else options.pairs
        differences, seconds = compare(bench, case, rng, count)
        wrong += differences
        print(
            f"{case.operation:10} {case.format:13} {count:12,} {differences:12,} {seconds:8.1f}",
            flush=True,
        )
    return int(wrong > 0)


def compare(bench: FpBench, case: Case, rng: np.random.Generator, count: int) -> tuple[int, float]:
    """Return how many of ``count`` results differ, and the seconds that the model took for them."""
    differences, seconds = 0, 0.0
    for start in range(0, count, CHUNK):
        given = draw(rng, case.source, min(CHUNK, count - start))[: case.operands]
        began = time.perf_counter()
        words = bench.run(f"{case.operation} {case.format}", *given).words
        seconds += time.perf_counter() - began
        differences += int((words != case.reference(*given)).sum())
    return differences, seconds


if __name__ == "__main__":
    sys.exit(main())
