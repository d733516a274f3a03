"""Pictures of a sweep: the Pareto front, two objectives at a time, and parallel coordinates of all that varied."""

from __future__ import annotations

import json
from io import BytesIO
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..reports.result import write_whole
from .store import Record
from .sweep import Sweep
from .tables import short_names, text_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = ("svg", "png")
# More objectives than these are not drawn against each other: six panels can be read.
_MOST_OBJECTIVES = 4
# Values of an axis that are all labelled; of more only the ends are.
_MOST_LABELS = 8

_FRONT, _OTHER = "#b3261e", "#8a94a0"


def save_plots(sweep: Sweep, folder: str | Path, kind: str = "svg") -> tuple[Path, ...]:
    """Write ``pareto.svg`` and ``parallel.svg`` (or .png) into a folder, which is made; the same sweep, the same files.

    Raises
    ------
    InputError
        Another format; no point with a result, or fewer than two objectives for a front.
    """
    if kind not in FORMATS:
        raise InputError(f"--format must be {' or '.join(FORMATS)}, not {kind!r}")
    if not sweep.front:
        raise InputError("no point has a result, so that there is nothing to plot")
    from matplotlib import rc_context  # takes most of a second: only who draws pays for it

    options: dict[Any, Any] = {
        "svg.hashsalt": "spikeloom", "svg.fonttype": "path", "text.parse_math": False, "font.size": 9,
    }  # fmt: skip
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    with rc_context(options):
        figures = {"parallel": draw_parallel(sweep)}
        if len(sweep.space.file.objectives) > 1:
            figures = {"pareto": draw_front(sweep), **figures}
        for name, figure in figures.items():
            buffer = BytesIO()
            metadata = {"Date": None} if kind == "svg" else {}
            figure.savefig(buffer, format=kind, dpi=200, facecolor="white", metadata=metadata)
            path = folder / f"{name}.{kind}"
            write_whole(path, buffer.getvalue())
            written.append(path)
    return tuple(written)


def draw_front(sweep: Sweep) -> Figure:
    """Return every pair of objectives: all points, and those of the Pareto set in front, joined where there are two."""
    from matplotlib.figure import Figure

    goals = list(sweep.space.file.objectives.items())[:_MOST_OBJECTIVES]
    pairs = list(combinations(goals, 2))
    columns = min(3, len(pairs))
    rows = -(-len(pairs) // columns)
    figure = Figure(figsize=(4.6 * columns, 3.8 * rows + 0.3), layout="constrained")
    front = sweep.front
    shown = {record.number for record in front}
    others = [r for r in sweep.records if sweep.costs(r) is not None and r.number not in shown]
    for place, ((x, x_goal), (y, y_goal)) in enumerate(pairs, 1):
        axes: Axes = figure.add_subplot(rows, columns, place)
        for records, colour, size, label in (
            (others, _OTHER, 14, f"{len(others)} points that another beats"),
            (front, _FRONT, 26, f"Pareto set, {len(front)} points"),
        ):
            axes.scatter(_column(records, x), _column(records, y), s=size, c=colour, label=label)
        if len(goals) == 2:
            axes.step(
                _column(front, x), _column(front, y), where="post", color=_FRONT, lw=0.8, alpha=0.6
            )
        names = short_names([x, y])
        _label(axes.xaxis, x, f"{names[0]} ({x_goal})")
        _label(axes.yaxis, y, f"{names[1]} ({y_goal})")
        axes.grid(color="#e4e7ea", lw=0.6)
        axes.set_axisbelow(True)
        if place == 1:
            axes.legend(frameon=False, fontsize=8)
    figure.suptitle(_title(sweep), fontsize=10)
    return figure


def draw_parallel(sweep: Sweep) -> Figure:
    """Return parallel coordinates: an axis for each path that varies and each measure, a line for each point."""
    from matplotlib.figure import Figure

    records = [record for record in sweep.records if sweep.costs(record) is not None]
    front = {record.number for record in sweep.front}
    varied = [axis.path for axis in sweep.space.axes if len(axis.values) > 1]
    paths = [*varied, *sweep.space.measures]
    scales = [_Scale(sweep, path, records) for path in paths]
    figure = Figure(figsize=(max(6.0, 1.5 * len(paths)), 4.6), layout="constrained")
    axes: Axes = figure.add_subplot()
    for record in sorted(records, key=lambda r: r.number in front):
        best = record.number in front
        axes.plot(
            range(len(paths)), [scale.place(record) for scale in scales], color=_FRONT if best else _OTHER,
            lw=1.3 if best else 0.6, alpha=0.9 if best else 0.35, zorder=3 if best else 2,
        )  # fmt: skip
    for x, scale in enumerate(scales):
        axes.axvline(x, color="#2b333b", lw=0.8, zorder=1)
        for height, text in scale.labels():
            axes.text(
                x + 0.03, height, text, fontsize=7, va="center", zorder=4,
                bbox={"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.8},
            )  # fmt: skip
    goals = sweep.space.file.objectives
    names = [
        f"{name}\n({goals[path]})" if path in goals else name
        for path, name in zip(paths, short_names(paths), strict=True)
    ]
    axes.set_xticks(range(len(paths)), names, fontsize=8)
    axes.set(xlim=(-0.15, len(paths) - 0.35), ylim=(-0.06, 1.06))
    axes.set_yticks([])
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    figure.suptitle(f"{_title(sweep)}; in red the Pareto set", fontsize=10)
    return figure


class _Scale:
    """Where a path's values stand on its axis, from 0 to 1: numbers by size, choices evenly."""

    def __init__(self, sweep: Sweep, path: str, records: list[Record]) -> None:
        self.path = path
        self._axis = next((axis for axis in sweep.space.axes if axis.path == path), None)
        known = [v for record in records if (v := record.measures.get(path)) is not None]
        self._low, self._high = (min(known), max(known)) if known else (0.0, 0.0)

    def place(self, record: Record) -> float:
        """Return a point's height; NaN, a gap in its line, where the value is unknown."""
        if self._axis is not None:
            values = [_key(value) for value in self._axis.values]
            return values.index(_key(record.parameters[self.path])) / max(1, len(values) - 1)
        value = record.measures.get(self.path)
        return float("nan") if value is None else self._at(value)

    def labels(self) -> list[tuple[float, str]]:
        """Return heights and texts to write beside the axis."""
        if self._axis is None:
            ends = [self._low] if self._low == self._high else [self._low, self._high]
            return [(self._at(value), text_of(self.path, value)) for value in ends]
        values = list(enumerate(self._axis.values))
        shown = values if len(values) <= _MOST_LABELS else [values[0], values[-1]]
        top = max(1, len(values) - 1)
        return [(place / top, text_of(self.path, value)) for place, value in shown]

    def _at(self, value: float) -> float:
        span = self._high - self._low
        return 0.5 if span == 0 else (value - self._low) / span


def _key(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _column(records: Any, path: str) -> list[float]:
    return [record.measures[path] for record in records]


def _label(axis: Any, path: str, text: str) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.set_label_text(text)
    axis.set_major_locator(MaxNLocator(5))
    axis.set_major_formatter(FuncFormatter(lambda value, _: text_of(path, value)))


def _title(sweep: Sweep) -> str:
    file = sweep.space.file
    varied = {axis.path for axis in sweep.space.axes}
    network = "several networks" if "network" in varied else file.network
    chip = "several chips" if "chip" in varied else file.chip
    what = "inference" if sweep.space.kind == "inference" else "a training step"
    return f"{network} on variants of {chip}: {what}, {len(sweep.records)} points"
