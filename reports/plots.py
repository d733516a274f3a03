"""The figures of a result for papers: SVG, PNG or PDF by matplotlib, one file each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from .accounts import EnergyRowModel, Split
from .ceilings import chip_of
from .charts import bins_of
from .figures import draw_mesh, save_figure
from .learn_result import LearnResult, StepTasks
from .mesh_map import LAYER_COLOURS, frames, layer_colour
from .page_tables import NAMES
from .result import RunResult
from .roofline import Roofline, core_rooflines, engine_rooflines
from .scales import log_bounds
from .timeline import lanes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["save_plots"]

_DYNAMIC, _STATIC, _INK = "#2f6fb0", "#b3702a", "#1b1f24"
_WIDTH = 4.6  # inches: a column and a half of a paper
_ENGINES = ("forward", "backward", "update", "vector")

_Draw = Callable[[], "Figure"]


def save_plots(
    result: RunResult | LearnResult,
    folder: str | Path,
    kind: str = "svg",
    tell: Callable[[Path], None] | None = None,
) -> list[Path]:
    """Write the figures into a folder, which is made if need be; return the files.

    ``kind`` is svg, png or pdf. ``tell`` is called with each file before it is drawn.

    Raises
    ------
    ValueError
        If there is no such kind.
    """
    figures = _of_run(result) if isinstance(result, RunResult) else _of_learning(result)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for name, draw in figures:
        path = folder / f"{name}.{kind}"
        if tell is not None:
            tell(path)
        save_figure(draw, path)
        written.append(path)
    return written


def _of_run(result: RunResult) -> Iterator[tuple[str, _Draw]]:
    if bins_of(result.sample_cycles or []):
        yield "latency", partial(_latency, result)
    yield "energy", partial(_energy, result.energy_rows, 1.0, "energy a sample, J")
    yield "energy_by_unit", partial(_stacked, result.energy_by_unit_j, "energy a sample, J")
    if result.area is not None:
        yield "area", partial(_stacked, result.area.by_component, "area, mm²")
    yield "mesh", partial(draw_mesh, result)
    yield "traffic", partial(_traffic, result)
    config = chip_of(result)
    if config is not None:
        for number, roofline in enumerate(core_rooflines(result, config), 1):
            yield f"roofline_{number}", partial(_roofline, roofline)


def _of_learning(result: LearnResult) -> Iterator[tuple[str, _Draw]]:
    if result.epochs:
        yield "training", partial(_training, result)
    yield "engines", partial(_engines, result)
    yield "timeline", partial(_timeline, result.tasks, result.clock_hz)
    if result.energy_rows:
        yield "energy", partial(_energy, result.energy_rows, result.steps, "energy a step, J")
    if result.area is not None:
        yield "area", partial(_stacked, result.area.by_component, "area, mm²")
    config = chip_of(result)
    if config is not None:
        for roofline in engine_rooflines(result, config):
            yield f"roofline_{roofline.title.split()[0]}", partial(_roofline, roofline)


def _axes(height: float) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _latency(result: RunResult) -> Figure:
    figure, axes = _axes(2.6)
    bins = bins_of(result.sample_cycles or [])
    starts = [start / result.clock_hz * 1e6 for start, _, _ in bins]
    widths = [(end - start) / result.clock_hz * 1e6 for start, end, _ in bins]
    axes.bar(
        starts,
        [n for _, _, n in bins],
        widths,
        align="edge",
        color=_DYNAMIC,
        edgecolor="white",
        linewidth=0.4,
    )
    axes.axvline(result.latency_s.median * 1e6, color=_INK, linewidth=1, linestyle="--")
    axes.set(xlabel="latency of a sample, µs (dashed: median)", ylabel="samples")
    return figure


def _energy(rows: Sequence[EnergyRowModel], per: float, label: str) -> Figure:
    parts: dict[str, Split] = {}
    for name in dict.fromkeys(row.component for row in rows):
        own = [row for row in rows if row.component == name]
        parts[name] = Split(
            dynamic=sum(r.energy_j for r in own if r.kind == "dynamic") / per,
            static=sum(r.energy_j for r in own if r.kind == "static") / per,
        )
    return _stacked(parts, label)


def _stacked(parts: Mapping[str, Split | float], label: str) -> Figure:
    from matplotlib.ticker import EngFormatter

    split = {
        n: v if isinstance(v, Split) else Split(dynamic=v, static=0.0) for n, v in parts.items()
    }
    order = sorted(split, key=lambda name: split[name].total)
    figure, axes = _axes(0.9 + 0.24 * len(order))
    names = [NAMES.get(name, name.replace("_", " ")) for name in order]
    dynamic = [split[name].dynamic for name in order]
    is_split = any(isinstance(value, Split) for value in parts.values())
    axes.barh(names, dynamic, color=_DYNAMIC, label="dynamic")
    if is_split:
        axes.barh(
            names, [split[n].static for n in order], left=dynamic, color=_STATIC, label="static"
        )
        axes.legend(frameon=False, loc="lower right")
    axes.set_xlabel(label)
    if label.endswith("J"):
        axes.xaxis.set_major_formatter(EngFormatter("J"))
        axes.set_xlabel(label.removesuffix(", J"))
    return figure


def _traffic(result: RunResult) -> Figure:
    figure, axes = _axes(2.2)
    made = frames(result)
    axes.bar(range(len(made.steps)), made.traffic, color=_DYNAMIC)
    axes.set(xlabel="chip timestep", ylabel="flits a sample")
    if any(" " in name for name in made.steps):
        axes.set_xlabel(f"frame of chip timesteps, {made.steps[0]} first")
    return figure


def _roofline(roofline: Roofline) -> Figure:
    from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, NullFormatter

    figure, axes = _axes(3.4)
    peak = roofline.peaks[0][1]
    known = [p.intensity for p in roofline.points if p.intensity]
    knees = [peak / slope.per_second for slope in roofline.slopes]
    low, high = log_bounds([*known, *(k / 3 for k in knees), *(3 * k for k in knees)])
    x_low, x_high = 10.0**low, 10.0**high
    top = max(rate for _, rate in roofline.peaks)
    rates = [rate for p in roofline.points for rate in (p.rate, p.while_busy) if rate]
    bottom = 10.0 ** log_bounds([*rates, top / 10])[0]
    axes.set(
        xscale="log", yscale="log", xlim=(x_low, x_high), ylim=(bottom, 3 * top), title=roofline.title,
        xlabel=f"{roofline.operation}s a {roofline.traffic}", ylabel=f"{roofline.operation}s a second"
    )  # fmt: skip
    _ceilings(axes, roofline, x_low, x_high, bottom)
    for point in roofline.points:
        x = point.intensity or x_high
        colour = layer_colour(point.number) if point.number else _DYNAMIC
        if point.while_busy:
            axes.plot(x, point.while_busy, "o", markersize=5, markerfacecolor="white", color=colour)
        edge = {"markeredgecolor": _INK, "markeredgewidth": 0.4}
        axes.plot(x, point.rate, "o", markersize=7, color=colour, **edge)
        if len(roofline.points) <= 2 * len(LAYER_COLOURS):
            axes.annotate(
                point.name, (x, point.rate), (6, -3), textcoords="offset points", fontsize=7
            )
    # Texts of their own: matplotlib's are formulas, which names of layers must not become.
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_major_formatter(EngFormatter(sep="\u00a0"))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(numticks=8))
        axis.set_minor_formatter(NullFormatter())
    axes.grid(alpha=0.25, linewidth=0.6)
    return figure


def _ceilings(axes: Axes, roofline: Roofline, x_low: float, x_high: float, bottom: float) -> None:
    for name, rate in roofline.peaks:
        start = max((rate / slope.per_second for slope in roofline.slopes), default=x_low)
        axes.plot([start, x_high], [rate, rate], color=_INK, linewidth=1.2)
        axes.annotate(
            name, (x_high, rate), (0, 3), textcoords="offset points", ha="right", fontsize=8
        )
    for slope in roofline.slopes:
        first = max(x_low, bottom / slope.per_second)
        knee = max(rate for _, rate in roofline.peaks) / slope.per_second
        ends = [first, knee]
        axes.plot(ends, [x * slope.per_second for x in ends], color=_INK, linewidth=1.2)
        middle = (first * knee**2) ** (1 / 3)
        axes.annotate(
            slope.name, (middle, middle * slope.per_second), (-4, 4), textcoords="offset points", ha="right", fontsize=8
        )  # fmt: skip


def _training(result: LearnResult) -> Figure:
    from matplotlib.ticker import MaxNLocator

    figure, axes = _axes(2.8)
    epochs = [e.epoch + 1 for e in result.epochs]
    axes.plot(
        epochs,
        [100 * e.accuracy for e in result.epochs],
        "o-",
        markersize=3.5,
        color=_DYNAMIC,
        label="training",
    )
    tested = [
        (e.epoch + 1, 100 * e.test_accuracy) for e in result.epochs if e.test_accuracy is not None
    ]
    if tested:
        axes.plot(*zip(*tested, strict=True), "s--", markersize=3.5, color=_STATIC, label="test")
        axes.legend(frameon=False)
    axes.set(xlabel="epoch", ylabel="accuracy, %")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def _engines(result: LearnResult) -> Figure:
    figure, axes = _axes(1.9)
    names = [NAMES[name] for name in _ENGINES][::-1]
    uses = [result.engines[name] for name in _ENGINES][::-1]
    busy = [100 * use.busy / result.cycles for use in uses]
    axes.barh(names, busy, color=_DYNAMIC, label="busy")
    waits = [100 * sum(use.stalls.values()) / result.cycles for use in uses]
    axes.barh(names, waits, left=busy, color=_STATIC, label="waiting")
    axes.set(xlabel="share of the time, %", xlim=(0, 100))
    axes.legend(frameon=False, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return figure


def _timeline(tasks: StepTasks, clock_hz: float) -> Figure:
    figure, axes = _axes(0.9 + 0.24 * len(tasks.queues))
    made = lanes(tasks)
    scale = 1e3 / clock_hz
    for row, lane in enumerate(made):
        blocks = [(b.start * scale, (b.end - b.start) * scale) for b in lane.blocks]
        colours = [(layer_colour(b.layer + 1), 0.25 + 0.75 * b.share) for b in lane.blocks]
        axes.broken_barh(blocks, (len(made) - row - 0.85, 0.7), facecolors=colours)
    axes.set_yticks(
        [len(made) - row - 0.5 for row in range(len(made))], [lane.name for lane in made]
    )
    axes.set(xlabel="time in the step, ms", xlim=(0, tasks.cycles * scale))
    return figure
