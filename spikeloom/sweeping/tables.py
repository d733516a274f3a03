"""A sweep as text: the table of its Pareto set, a CSV file of all points, numbers with their units."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from typing import Any

from ..reports.units import count, share, si
from ..showing import Table
from .store import Record
from .sweep import Sweep

# Names that say nothing without the one before.
_VAGUE = ("min", "median", "max", "total")
# Units by the end of a name in a path; the first name that has one decides.
_UNITS = {"_s": "s", "seconds": "s", "_j": "J", "_w": "W", "_hz": "Hz"}


def front_table(sweep: Sweep) -> Table:
    """Return the Pareto set: a row a point, its choice on every axis, its objectives and measures."""
    axes = [axis.path for axis in sweep.space.axes]
    goals = sweep.space.file.objectives
    names = short_names([*axes, *sweep.space.measures])
    header = ("point", *names[: len(axes)])
    header += tuple(
        f"{name} ({goals[path]})" if path in goals else name
        for path, name in zip(sweep.space.measures, names[len(axes) :], strict=True)
    )
    rows = [
        (
            str(record.number),
            *(text_of(path, record.parameters[path]) for path in axes),
            *(text_of(path, record.measures.get(path)) for path in sweep.space.measures),
        )
        for record in sweep.front
    ]
    title = f"Pareto set: {len(rows)} of {sweep.count('done')} points that nobody beats in all objectives"
    return Table(title, (header, *rows))


def csv_text(sweep: Sweep) -> str:
    """Return all points as CSV: place in the search, status, on the front or not, choices, measures, reason."""
    axes = [axis.path for axis in sweep.space.axes]
    front = {record.number for record in sweep.front}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["point", "status", "pareto", *axes, *sweep.space.measures, "reason"])
    for record in sweep.records:
        choices = [_cell(record.parameters[path]) for path in axes]
        values = [record.measures.get(path) for path in sweep.space.measures]
        is_best = int(record.number in front)
        writer.writerow([record.number, record.status, is_best, *choices, *values, record.reason])
    return text.getvalue()


def reasons(records: Iterable[Record], status: str) -> list[tuple[str, int]]:
    """Return why points have a status, with how many of them, the most frequent first."""
    counted: dict[str, int] = {}
    for record in records:
        if record.status == status:
            counted[record.reason] = counted.get(record.reason, 0) + 1
    return sorted(counted.items(), key=lambda item: -item[1])


def short_names(paths: Iterable[str]) -> list[str]:
    """Return each path's last names, as many as tell it from the others."""
    paths = list(paths)
    shown = []
    for path in paths:
        parts = path.split(".")
        least = 2 if parts[-1] in _VAGUE else 1
        names = [".".join(parts[-length:]) for length in range(least, len(parts) + 1)]
        own = [n for n in names if sum(p == n or p.endswith(f".{n}") for p in paths) == 1]
        shown.append((own or [path])[0])
    return shown


def text_of(path: str, value: Any) -> str:
    """Return a value as text, with the unit that its path's names tell."""
    if value is None:
        return "unknown"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {text_of(f'{path}.{name}', v)}" for name, v in value.items())
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    parts = path.split(".")
    if "accuracy" in parts[-1] or parts[-1].endswith("_share"):
        return share(value)
    if parts[-1].endswith("_mm2"):
        return f"{value:.4g} mm2"
    for part in parts:
        for end, unit in _UNITS.items():
            if part.endswith(end):
                return si(value, unit)
    return count(value) if abs(value) >= 100 or float(value).is_integer() else f"{value:.4g}"


def _cell(value: Any) -> Any:
    if isinstance(value, Mapping):
        return " ".join(f"{name}={inner}" for name, inner in value.items())
    return value
