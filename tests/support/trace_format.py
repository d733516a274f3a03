"""What Chrome's trace format demands of a trace, as far as ours uses it."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

NAMES = {
    "process_name": "name",
    "thread_name": "name",
    "process_sort_index": "sort_index",
    "thread_sort_index": "sort_index",
}


def check_trace(trace: dict[str, Any]) -> dict[tuple[int, int], list[dict[str, Any]]]:
    """Check a trace against the format, and return the slices of each track, in order.

    Every event has a phase, a process, a thread and a name; slices a start and a length, counters numbers. Slices of
    one track lie apart or within each other. Every track with slices has a name.
    """
    assert set(trace) <= {"traceEvents", "displayTimeUnit", "otherData"}
    assert trace["displayTimeUnit"] in ("ms", "ns")
    json.dumps(trace, allow_nan=False)
    tracks: dict[tuple[int, int], list[dict[str, Any]]] = defaultdict(list)
    named = set()
    for event in trace["traceEvents"]:
        assert isinstance(event["pid"], int)
        assert isinstance(event["tid"], int)
        assert isinstance(event["name"], str)
        if event["ph"] == "M":
            value = event["args"][NAMES[event["name"]]]
            assert isinstance(value, int if event["name"].endswith("index") else str)
            if event["name"] == "thread_name":
                named.add((event["pid"], event["tid"]))
            continue
        assert event["ts"] >= 0
        if event["ph"] == "C":
            assert all(isinstance(value, int | float) for value in event["args"].values())
            continue
        assert event["ph"] == "X"
        assert event["dur"] >= 0
        tracks[event["pid"], event["tid"]].append(event)
    assert set(tracks) <= named
    for slices in tracks.values():
        slices.sort(key=lambda e: (e["ts"], -e["dur"]))
        open_until: list[float] = []
        for event in slices:
            while open_until and open_until[-1] <= event["ts"] + 1e-6:
                open_until.pop()
            assert not open_until or event["ts"] + event["dur"] <= open_until[-1] + 1e-6, event
            open_until.append(event["ts"] + event["dur"])
    return tracks
