"""Pictures of a result for documents: the network's cores on the mesh beside their activity and the traffic."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from . import mesh_map
from .result import RunResult, write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

_EMPTY = "#e9ebee"
_FORMATS = ("svg", "png", "pdf")


def mesh_picture(result: RunResult, path: str | Path) -> None:
    """Draw the layers on the mesh, the outputs of cores and the flits of routers into a .svg, .png or .pdf file.

    Raises
    ------
    ValueError
        If the file's name ends otherwise.
    """
    path = Path(path)
    kind = path.suffix.removeprefix(".").lower()
    if kind not in _FORMATS:
        raise ValueError(f"a picture's name must end in .{', .'.join(_FORMATS)}, not {path.name!r}")
    from matplotlib import rc_context  # takes most of a second: only who draws pays for it

    with rc_context({"svg.hashsalt": "spikeloom", "svg.fonttype": "path", "font.size": 9}):
        figure = draw_mesh(result)
        buffer = BytesIO()
        figure.savefig(
            buffer,
            format=kind,
            dpi=160,
            facecolor="white",
            bbox_inches="tight",
            metadata={"Date": None} if kind == "svg" else None,
        )
    write_whole(path, buffer.getvalue())


def draw_mesh(result: RunResult) -> Figure:
    """Return the figure of `mesh_picture`."""
    from matplotlib.figure import Figure

    columns, rows = result.mesh["columns"], result.mesh["rows"]
    figure = Figure(
        figsize=(11, 0.8 + 3.4 * min(max(rows / columns, 0.3), 2.0)), layout="constrained"
    )
    layers, activity, traffic = figure.subplots(1, 3)
    cells = mesh_map.cells(result)
    spikes = mesh_map.core_totals(result)
    _frame(layers, result, f"{result.network} on {result.chip}: layers")
    for cell in cells:
        colour = mesh_map.layer_colour(cell.layer) if cell.layer else _EMPTY
        _square(layers, cell.x, cell.y, colour)
        if cell.layer and columns <= 20:
            layers.text(cell.x, cell.y, str(cell.layer), ha="center", va="center", fontsize=7)
    handles = [
        _square(layers, -9, -9, mesh_map.layer_colour(number))
        for number, _ in enumerate(result.layers, 1)
    ]
    names = [f"{number} {layer.name}" for number, layer in enumerate(result.layers, 1)]
    layers.legend(
        handles, names, loc="upper center", bbox_to_anchor=(0.5, -0.06), ncols=3, frameon=False, fontsize=8
    )  # fmt: skip
    per_core = [spikes[cell.core] if cell.core >= 0 else 0.0 for cell in cells]
    _heat(activity, result, "outputs of cores a sample", per_core)
    _heat(traffic, result, "flits of routers a sample", list(mesh_map.router_totals(result)))
    return figure


def _frame(axes: Axes, result: RunResult, title: str) -> None:
    columns, rows = result.mesh["columns"], result.mesh["rows"]
    axes.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5), aspect="equal")
    axes.set_title(title, fontsize=9)
    axes.set_xticks(range(0, columns, 1 if columns <= 20 else 4))
    axes.set_yticks(range(0, rows, 1 if rows <= 20 else 4))
    axes.tick_params(length=0, labelsize=7)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _heat(axes: Axes, result: RunResult, title: str, values: list[float]) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize

    _frame(axes, result, title)
    colours = mesh_map.HEAT_COLOURS[::-1]
    top = max(values, default=0.0)
    for cell, value in zip(mesh_map.cells(result), values, strict=True):
        step = mesh_map.heat_step(value, top)
        _square(axes, cell.x, cell.y, _EMPTY if step is None else colours[step])
    scale = ScalarMappable(Normalize(0, top or 1.0), ListedColormap(colours))
    bar = axes.figure.colorbar(
        scale, ax=axes, orientation="horizontal", shrink=0.7, aspect=30, pad=0.03
    )
    bar.ax.tick_params(labelsize=7)


def _square(axes: Axes, x: int, y: int, colour: str) -> Rectangle:
    from matplotlib.patches import Rectangle

    square = Rectangle((x - 0.46, y - 0.46), 0.92, 0.92, facecolor=colour, linewidth=0)
    axes.add_patch(square)
    return square
