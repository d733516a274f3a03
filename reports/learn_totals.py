"""Counts of several training steps, added up: what a whole training made the engines do."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from .learn_counts import CountRow, StepCounts

__all__ = ["Totals"]


@dataclass
class Totals:
    """Sums over steps; ``samples`` is what the steps' batches held."""

    steps: int = 0
    samples: int = 0
    cycles: int = 0
    macs: int = 0
    events: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    busy: Counter[str] = field(default_factory=Counter)
    stalls: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, step: StepCounts) -> None:
        """Add a step."""
        self.steps += 1
        self.samples += step.batch
        self.cycles += step.cycles
        self.macs += step.macs
        for row in step.rows:
            self.events[row.component, row.layer, row.event] += row.count
        self.busy.update(step.busy)
        for engine, causes in step.stalls.items():
            for cause, cycles in causes.items():
                self.stalls[engine, cause] += cycles

    def counts(self, clock_hz: float) -> StepCounts:
        """Return the sums in the form of a step, whose batch is all samples."""
        stalls: dict[str, dict[str, int]] = {}
        for (engine, cause), cycles in self.stalls.items():
            stalls.setdefault(engine, {})[cause] = cycles
        return StepCounts(
            rows=tuple(CountRow(*key, count) for key, count in sorted(self.events.items())),
            cycles=self.cycles,
            clock_hz=clock_hz,
            batch=self.samples,
            macs=self.macs,
            busy=dict(self.busy),
            stalls=stalls,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return {
            "steps": self.steps,
            "samples": self.samples,
            "cycles": self.cycles,
            "macs": self.macs,
            "events": [[*key, count] for key, count in self.events.items()],
            "busy": dict(self.busy),
            "stalls": [[*key, cycles] for key, cycles in self.stalls.items()],
        }

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Totals:
        """Return what `to_dict` was made from."""
        return cls(
            steps=fields["steps"],
            samples=fields["samples"],
            cycles=fields["cycles"],
            macs=fields["macs"],
            events=Counter({(a, b, c): count for a, b, c, count in fields["events"]}),
            busy=Counter(fields["busy"]),
            stalls=Counter({(a, b): cycles for a, b, cycles in fields["stalls"]}),
        )
