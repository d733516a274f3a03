"""Spaces for the tests of sweeps: small, of each kind, and results that are worked out without a chip."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from spikeloom.sweeping.search import search
from spikeloom.sweeping.space import Point, Space, space_from_dict
from spikeloom.sweeping.units import Job, Outcome

# A training step of the smallest network: some hundredths of a second a point.
TRAINING: dict[str, Any] = {
    "sweep": 1,
    "kind": "training",
    "chip": "h2learn",
    "network": "mnist_mlp",
    "set": {"train.recipe.batch": 16},
    "vary": {"learn.forward.columns": [32, 64, 128], "learn.dram.bytes_per_cycle": [256, 1024]},
    "objectives": {"seconds": "min", "energy_j.total": "min"},
    "measures": ["area.area_mm2"],
}

INFERENCE: dict[str, Any] = {
    "sweep": 1,
    "chip": "tianjic",
    "network": "mnist_mlp",
    "samples": 5,
    "vary": {"many_core.core.lanes": [8, 16]},
    "objectives": {"latency_s.median": "min", "energy_j.total": "min"},
    "measures": ["accuracy"],
}


def space_of(fields: dict[str, Any], folder: Path = Path(), **changes: Any) -> Space:
    """Return the space of a dict with some of its fields changed; those that become None are left out."""
    merged = fields | changes
    return space_from_dict({k: v for k, v in merged.items() if v is not None}, folder, "space.yaml")


def walk(space: Space, evaluate: Callable[[Point], tuple[float, ...] | None]) -> list[Point]:
    """Return all points of a search, told what a function makes of them."""
    steps, tried = search(space), []
    batch: Iterable[Point] | None = next(steps)
    while batch is not None:
        points = list(batch)
        tried += points
        results = {p.key: costs for p in points if (costs := evaluate(p)) is not None}
        try:
            batch = steps.send(results)
        except StopIteration:
            batch = None
    return tried


class FakePool:
    """Outcomes from a function, in order."""

    def __init__(self, evaluate: Callable[[Job], Outcome]) -> None:
        self.evaluate = evaluate
        self.jobs: list[Job] = []

    def outcomes(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Outcome]]:
        """Yield each job with its outcome."""
        for job in jobs:
            self.jobs.append(job)
            yield job, self.evaluate(job)
