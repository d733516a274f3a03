"""The HTML page of a result: one file that needs nothing else, for screen, phone and paper."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from . import mesh_map
from .page_tables import (
    Tile,
    component_bars,
    cycle_bins,
    energy_lines,
    layer_lines,
    placement_lines,
    source_numbers,
    status_shares,
    tiles,
)
from .result import RunResult, write_whole
from .units import count, share, si

_FOLDER = Path(__file__).parent
_CELL, _GAP, _MARGIN = 26, 2, 20

# What every cell of the maps has in common is said once: a large mesh has thousands of them.
_LAYOUT_CSS = f"""
svg .c {{ width: {_CELL}px; height: {_CELL}px; rx: 2px; }}
@media (min-width: 60rem) {{ .tiles {{ grid-template-columns: repeat(4, 1fr); }} }}
"""


def render_page(result: RunResult) -> str:
    """Return the page: summary, time, energy, mesh, layers, placement, conventions, provenance."""
    return _template().render(
        css=_text("page.css") + _LAYOUT_CSS + _heat_css(),
        script=_text("page.js"),
        result=result,
        tiles=[*tiles(result), *_more_tiles(result)],
        bins=cycle_bins(result),
        components=component_bars(result),
        energy=energy_lines(result),
        sources=source_numbers(result),
        statuses=status_shares(result),
        mesh=_mesh(result),
        layers=layer_lines(result),
        placement=placement_lines(result),
    )


def save_page(result: RunResult, path: str | Path) -> None:
    """Write the page as one HTML file; an earlier file stays until the new one is complete."""
    write_whole(path, render_page(result))


def _more_tiles(result: RunResult) -> list[Tile]:
    return [
        Tile(
            "average power", si(result.average_power_w, "W"), "energy over time, by the cost table"
        ),
        Tile("host input", share(result.host_input_share), "of the cycles the host was injecting"),
    ]


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Any] = {"si": si, "count": count, "share": share}
    environment.filters.update(filters)
    return environment.get_template("template.html.j2")


@cache
def _text(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


def _heat_css() -> str:
    """Return the heat scale as CSS variables: much is dark on light paper, and light on dark paper."""
    dark = "".join(f"--h{i}:{colour};" for i, colour in enumerate(mesh_map.HEAT_COLOURS))
    light = "".join(f"--h{i}:{colour};" for i, colour in enumerate(mesh_map.HEAT_COLOURS[::-1]))
    return f":root{{{light}}}\n@media screen and (prefers-color-scheme: dark){{:root{{{dark}}}}}"


def _mesh(result: RunResult) -> dict[str, Any]:
    """Return all that the maps need: places in drawing units, colours, totals, frames as JSON."""
    columns, rows = result.mesh["columns"], result.mesh["rows"]
    made = mesh_map.frames(result)
    spikes, flits = mesh_map.core_totals(result), mesh_map.router_totals(result)
    spike_top, flit_top = max(spikes, default=0.0), max(flits, default=0.0)
    places: list[dict[str, Any]] = []
    for number, cell in enumerate(mesh_map.cells(result)):
        spike = spikes[cell.core] if cell.core >= 0 else 0.0
        places.append(
            asdict(cell)
            | {
                "left": _MARGIN + cell.x * (_CELL + _GAP),
                "top": _MARGIN + cell.y * (_CELL + _GAP),
                "colour": mesh_map.layer_colour(cell.layer) if cell.layer else None,
                "spikes": spike,
                "spike_step": mesh_map.heat_step(spike, spike_top),
                "flits": flits[number],
                "flit_step": mesh_map.heat_step(flits[number], flit_top),
            }
        )
    traffic, most = made.traffic, max(made.traffic, default=0.0)
    step = 100.0 / max(1, len(traffic))
    return {
        "cells": places,
        "size": _CELL,
        "width": _MARGIN + columns * (_CELL + _GAP),
        "height": _MARGIN + rows * (_CELL + _GAP),
        "axis_x": [(x, _MARGIN + x * (_CELL + _GAP) + _CELL / 2) for x in _ticks(columns)],
        "axis_y": [(y, _MARGIN + y * (_CELL + _GAP) + _CELL / 2) for y in _ticks(rows)],
        "spike_top": spike_top,
        "flit_top": flit_top,
        "heat_steps": mesh_map.HEAT_STEPS,
        "legend": [
            (number, layer.name, mesh_map.layer_colour(number), layer.cores)
            for number, layer in enumerate(result.layers, 1)
        ],
        "steps": made.steps,
        "traffic": [
            (name, i * step, step * 0.85, 40 * value / most if most else 0.0, value)
            for i, (name, value) in enumerate(zip(made.steps, traffic, strict=True))
        ],
        "traffic_top": most,
        "frames": _json(
            {
                "steps": made.steps,
                "heatSteps": mesh_map.HEAT_STEPS,
                "totals": {"cores": _short(spikes), "routers": _short(flits)},
                "cores": made.cores,
                "routers": made.routers,
            }
        ),
    }


def _ticks(size: int) -> range:
    return range(0, size, 1 if size <= 20 else 4)


def _short(values: tuple[float, ...]) -> list[float]:
    return [float(f"{value:.4g}") for value in values]


def _json(value: Any) -> str:
    """Return JSON that cannot end the script element it stands in."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace(".0,", ",").replace(".0]", "]").replace("<", "\\u003c")
