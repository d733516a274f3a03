"""Pictures of a result for documents: the network's layers on the mesh beside the traffic of its routers."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import mesh_map
from .result import RunResult, write_whole
from .units import share, si

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

_EMPTY = "#e9ebee"
_FORMATS = ("svg", "png", "pdf")
_LONGEST_NAME = 22
_LEFT, _MAP_WIDTH, _LEGEND_LINE, _LEGEND_COLUMNS = 0.35, 4.0, 0.2, 3


def mesh_picture(result: RunResult, path: str | Path) -> None:
    """Draw the layers on the mesh and the flits of its routers into a .svg, .png or .pdf file.

    The same result gives the same file.

    Raises
    ------
    ValueError
        If the file's name ends otherwise.
    """
    save_figure(lambda: draw_mesh(result), path)


def save_figure(draw: Callable[[], Figure], path: str | Path) -> None:
    """Write what ``draw`` gives into a .svg, .png or .pdf file; the same figure gives the same file.

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

    # parse_math off: a dollar sign in a name is a dollar sign.
    options: dict[Any, Any] = {
        "svg.hashsalt": "spikeloom",
        "svg.fonttype": "path",
        "text.parse_math": False,
        "font.size": 9,
    }
    with rc_context(options):
        figure = draw()
        buffer = BytesIO()
        figure.savefig(
            buffer,
            format=kind,
            dpi=200,
            facecolor="white",
            metadata={"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind),
        )
    write_whole(path, buffer.getvalue())


def draw_mesh(result: RunResult) -> Figure:
    """Return the figure of `mesh_picture`."""
    from matplotlib.figure import Figure

    columns, rows = result.mesh["columns"], result.mesh["rows"]
    # In inches, so that the maps stand side by side whatever is below them.
    map_height = min(_MAP_WIDTH * rows / columns, 1.5 * _MAP_WIDTH)
    below = 0.45 + _LEGEND_LINE * max(2, -(-len(result.layers) // _LEGEND_COLUMNS))
    width, height = 9.0, below + map_height + 0.85
    figure = Figure(figsize=(width, height))
    figure.suptitle(_title(result), fontsize=10, y=1 - 0.08 / height, va="top")

    def place(left: float, bottom: float, wide: float, high: float) -> Axes:
        return figure.add_axes((left / width, bottom / height, wide / width, high / height))

    layers = place(_LEFT, below, _MAP_WIDTH, map_height)
    traffic = place(width / 2 + _LEFT, below, _MAP_WIDTH, map_height)
    bar = place(width / 2 + _LEFT + 0.15 * _MAP_WIDTH, below - 0.5, 0.7 * _MAP_WIDTH, 0.1)
    _frame(layers, result, "layer of each core")
    for cell in mesh_map.cells(result):
        colour = mesh_map.layer_colour(cell.layer) if cell.layer else _EMPTY
        _square(layers, cell.x, cell.y, colour)
        if cell.layer and columns <= 20:
            layers.text(cell.x, cell.y, str(cell.layer), ha="center", va="center", fontsize=8)
    handles = [
        _square(layers, -9, -9, mesh_map.layer_colour(number))
        for number, _ in enumerate(result.layers, 1)
    ]
    names = [f"{number} {_short(layer.name)}" for number, layer in enumerate(result.layers, 1)]
    layers.legend(
        handles, names, loc="upper center", bbox_to_anchor=(0.5, -0.3 / map_height),
        ncols=min(_LEGEND_COLUMNS, max(1, len(names))), frameon=False, fontsize=8, handlelength=1, handleheight=1,
        columnspacing=1.2, borderaxespad=0
    )  # fmt: skip
    _heat(traffic, bar, result, "flits forwarded by each router, a sample")
    return figure


def _title(result: RunResult) -> str:
    accuracy = "unknown" if result.accuracy is None else share(result.accuracy)
    return (
        f"{_short(result.network)} on {_short(result.chip)}\n"
        f"accuracy {accuracy} of {result.samples:,} samples,  "
        f"{si(result.energy_j['total'], 'J')} and {si(result.latency_s.median, 's')} a sample"
    )


def _short(name: str) -> str:
    """Return a name on one line that is not too long."""
    name = " ".join(name.split())
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}\u2026"


def _frame(axes: Axes, result: RunResult, title: str) -> None:
    columns, rows = result.mesh["columns"], result.mesh["rows"]
    axes.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5), aspect="equal")
    axes.set_title(title, fontsize=9)
    axes.set_xticks(range(0, columns, 1 if columns <= 20 else 4))
    axes.set_yticks(range(0, rows, 1 if rows <= 20 else 4))
    axes.tick_params(length=0, labelsize=7, colors="#59626c")
    for spine in axes.spines.values():
        spine.set_visible(False)


def _heat(axes: Axes, bar: Axes, result: RunResult, title: str) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize

    _frame(axes, result, title)
    values = mesh_map.router_totals(result)
    colours = mesh_map.HEAT_COLOURS[::-1]
    top = max(values, default=0.0)
    for cell, value in zip(mesh_map.cells(result), values, strict=True):
        step = mesh_map.heat_step(value, top)
        _square(axes, cell.x, cell.y, _EMPTY if step is None else colours[step])
    scale = ScalarMappable(Normalize(0, top or 1.0), ListedColormap(colours))
    axes.figure.colorbar(scale, cax=bar, orientation="horizontal")
    bar.tick_params(labelsize=7)
    for spine in bar.spines.values():
        spine.set_visible(False)


def _square(axes: Axes, x: int, y: int, colour: str) -> Rectangle:
    from matplotlib.patches import Rectangle

    square = Rectangle((x - 0.46, y - 0.46), 0.92, 0.92, facecolor=colour, linewidth=0)
    axes.add_patch(square)
    return square
