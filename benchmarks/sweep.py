"""A sweep's time and points a minute; and the same with one worker killed half way: nothing lost, none there twice.

Usage: python benchmarks/sweep.py [docs/examples/sweep_cores.yaml] [--workers 2] [--samples N]

Runs the space twice, in a temporary folder. It fails if the second sweep differs from the first in any value.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import yaml

from spikeloom.sweeping.space import Space, space_from_dict
from spikeloom.sweeping.sweep import Progress, Sweep, sweep

DEFAULT = Path(__file__).resolve().parent.parent / "docs" / "examples" / "sweep_cores.yaml"


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def timed(
    space: Space, out: Path, workers: int, progress: Callable[[Progress], None] | None = None
) -> tuple[Sweep, float, float]:
    """Return a sweep, its seconds, and those from the first point to the last, without the workers' start."""
    start, first = time.perf_counter(), 0.0

    def watch(at: Progress) -> None:
        nonlocal first
        if at.done == 1:
            first = time.perf_counter()
        if progress is not None:
            progress(at)

    result = sweep(space, out, workers=workers, progress=watch)
    end = time.perf_counter()
    return result, end - start, end - first


def kill_one_half_way(at: Progress) -> None:
    """Kill one worker when half of the points are there."""
    if at.done == at.total // 2:
        children = psutil.Process().children(recursive=True)
        victim = next(c for c in children if "spawn_main" in " ".join(c.cmdline()))
        os.kill(victim.pid, signal.SIGKILL)
        say(f"worker {victim.pid} killed after {at.done} of {at.total} points")


def main() -> None:
    """Parse the command line, run twice, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("space", type=Path, nargs="?", default=DEFAULT)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--samples", type=int, help="instead of the space's")
    options = parser.parse_args()
    fields = yaml.safe_load(options.space.read_text(encoding="utf-8"))
    if options.samples is not None:
        fields["samples"] = options.samples
    space = space_from_dict(fields, options.space.parent, str(options.space))
    load = os.getloadavg()[0]
    say(
        f"{options.space.name}, {options.workers} workers; {os.cpu_count()} processors, load {load:.1f} before"
    )
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for name, progress in (("undisturbed", None), ("one worker killed", kill_one_half_way)):
            result, seconds, working = timed(
                space, Path(folder) / f"{name}.sqlite", options.workers, progress
            )
            count = len(result.records)
            say(
                f"{name}: {count} points ({result.count('refused')} cannot be built, {result.count('failed')} failed) "
                f"in {seconds:.1f} s, {60 * count / seconds:.0f} a minute; {60 * (count - 1) / working:.0f} a minute "
                f"from the first point on; Pareto set {len(result.front)}"
            )
            results.append([(r.number, r.key, r.status, r.measures) for r in result.records])
    numbers = [row[0] for row in results[1]]
    if numbers != list(range(len(numbers))) or results[0] != results[1]:
        sys.exit("the sweeps differ")
    say(f"both have the same {len(numbers)} points, each once, with equal measures")


if __name__ == "__main__":
    main()
