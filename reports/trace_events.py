"""Events of Chrome's trace format, which ui.perfetto.dev and chrome://tracing open, and their file.

The format: "Trace Event Format" by Google. Used of it are metadata (``M``), complete slices (``X``) and counters
(``C``). Slices of one thread may lie within each other but not overlap, so what overlaps goes to threads side by side.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from pathlib import Path
from typing import Any

from .result import write_whole


@dataclass
class TraceWriter:
    """Collects events; times go in as cycles of a clock and come out as microseconds of it."""

    clock_hz: float
    events: list[dict[str, Any]] = field(default_factory=list)

    def process(self, pid: int, name: str) -> None:
        """Name a group of tracks; groups stand in the order of their numbers."""
        self._meta(pid, 0, "process_name", {"name": name})
        self._meta(pid, 0, "process_sort_index", {"sort_index": pid})

    def thread(self, pid: int, tid: int, name: str, place: int | None = None) -> None:
        """Name a track; ``place`` is where it stands in its group, in the order of their numbers if not given."""
        self._meta(pid, tid, "thread_name", {"name": name})
        index = tid if place is None else place
        self._meta(pid, tid, "thread_sort_index", {"sort_index": index})

    def slice(
        self, pid: int, tid: int, name: str, start: int, end: int, args: Mapping[str, Any]
    ) -> None:
        """Add what a track does from cycle ``start`` until ``end``."""
        self.events.append(
            {
                "ph": "X", "pid": pid, "tid": tid, "name": name, "cat": name, "ts": self._micros(start),
                "dur": self._micros(end - start), "args": dict(args),
            }
        )  # fmt: skip

    def counter(self, pid: int, name: str, cycle: int, values: Mapping[str, float]) -> None:
        """Say what a counter stands at from a cycle on."""
        self.events.append(
            {
                "ph": "C", "pid": pid, "tid": 0, "name": name, "ts": self._micros(cycle),
                "args": dict(values),
            }
        )  # fmt: skip

    def trace(self, about: Mapping[str, Any]) -> dict[str, Any]:
        """Return the trace; ``about`` says where it comes from."""
        return {"traceEvents": self.events, "displayTimeUnit": "ns", "otherData": dict(about)}

    def _meta(self, pid: int, tid: int, name: str, args: dict[str, Any]) -> None:
        self.events.append({"ph": "M", "pid": pid, "tid": tid, "name": name, "args": args})

    def _micros(self, cycles: int) -> float:
        return cycles * 1e6 / self.clock_hz


def lanes(starts: Sequence[int], ends: Sequence[int]) -> list[int]:
    """Return for each interval a lane in which it overlaps no other: the lowest that is free when it starts."""
    found = [0] * len(starts)
    busy: list[tuple[int, int]] = []  # end, lane
    free: list[int] = []
    for i in sorted(range(len(starts)), key=lambda i: (starts[i], ends[i])):
        while busy and busy[0][0] <= starts[i]:
            heappush(free, heappop(busy)[1])
        found[i] = heappop(free) if free else len(busy)
        heappush(busy, (ends[i], found[i]))
    return found


def runs(cycles: Iterable[int], gap: int) -> list[tuple[int, int, int]]:
    """Return (first, end, count) of runs of ascending cycles whose neighbours are at most ``gap`` apart."""
    found: list[tuple[int, int, int]] = []
    for cycle in cycles:
        if found and cycle - (found[-1][1] - 1) <= gap:
            first, _, count = found[-1]
            found[-1] = first, cycle + 1, count + 1
        else:
            found.append((cycle, cycle + 1, 1))
    return found


def save_trace(trace: dict[str, Any], path: str | Path) -> None:
    """Write a trace; raises OSError if that cannot be done."""
    write_whole(path, json.dumps(trace, separators=(",", ":")))
