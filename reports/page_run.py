"""The page of a many-core run: what stands where, and the maps of the mesh."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from . import mesh_map
from .ceilings import chip_of
from .charts import bins_of, confusion_svg, histogram_svg
from .network_map import network_svg
from .page_area import area_values
from .page_parts import Section, render, script_json, script_text, style
from .page_run_tables import (
    layer_energy_table,
    layer_lines,
    neurobench_table,
    placement_lines,
    tiles,
)
from .page_tables import bars, component_bars, energy_table, facts, roofline_table, status_shares
from .result import RunResult
from .roofline import core_rooflines
from .roofline_chart import roofline_svg
from .units import si

__all__ = ["run_page"]

_CELL, _GAP, _MARGIN = 26, 2, 20
_NUMBERED_COLUMNS = 20  # of a mesh whose cells have room for the numbers of their layers
_MOST_CLASSES = 20

# What every cell of the maps has in common is said once: a large mesh has thousands of them.
_CELL_CSS = f".fig .c{{width:{_CELL}px;height:{_CELL}px;rx:2px}}"


def run_page(result: RunResult) -> str:
    """Return the page: summary, accuracy, time, energy, area, rooflines, mesh, graph, layers, provenance."""
    bins = bins_of(result.sample_cycles or [])
    config = chip_of(result)
    rooflines = () if config is None else core_rooflines(result, config)
    neurobench = neurobench_table(result)
    total = result.energy_j["total"]
    sections = (
        ("accuracy", "Accuracy", result.labels is not None), ("time", "Time", True), ("energy", "Energy", True),
        ("area", "Area", True), ("roofline", "Rooflines", True), ("mesh", "On the mesh", True),
        ("network", "Network and its mapping", bool(result.graph)), ("layers", "Layers", True),
        ("neurobench", "NeuroBench", neurobench is not None), ("placement", "Placement and conventions", True),
        ("provenance", "Provenance", True),
    )  # fmt: skip
    return render(
        "page_run.html.j2",
        css=style() + _CELL_CSS,
        script=script_text(),
        title=f"{result.network} on {result.chip}",
        sections=[Section(anchor, name) for anchor, name, there in sections if there],
        result=result,
        tiles=tiles(result),
        confusion=_confusion(result),
        histogram=histogram_svg(bins, result.clock_hz) if bins else None,
        components=component_bars(result.energy_rows, total),
        units=bars(result.energy_by_unit_j, "J", total),
        energy=energy_table(result.energy_rows, total, "a sample"),
        layer_energy=layer_energy_table(result),
        statuses=status_shares([(row.status, row.energy_j) for row in result.energy_rows]),
        area=area_values(result.area),
        config_known=config is not None,
        rooflines=[(roofline_svg(r), roofline_table(r)) for r in rooflines],
        mesh=_mesh(result),
        network=network_svg(result) if result.graph else None,
        derived_edges=any(edge.status == "derived" for edge in result.graph),
        layers=layer_lines(result),
        neurobench=neurobench,
        placement=placement_lines(result),
        facts=[
            (
                "chip",
                (
                    f"{result.chip}, {result.mesh['columns']} x {result.mesh['rows']} cores, "
                    f"{si(result.clock_hz, 'Hz')}, configuration {result.config_hash}"
                ),
            ),
            *facts(result.provenance),
        ],
    )


def _confusion(result: RunResult) -> Any:
    """Return the confusion matrix; None without labels, and for more classes than can be read."""
    labels = result.labels
    if not labels or max(*labels, *result.predictions) >= _MOST_CLASSES or min(*labels) < 0:
        return None
    return confusion_svg(labels, result.predictions)


def _mesh(result: RunResult) -> dict[str, Any]:
    """Return all that the maps need: places in drawing units, colours, totals, frames as JSON."""
    columns, rows = result.mesh["columns"], result.mesh["rows"]
    made = mesh_map.frames(result)
    spikes, flits = mesh_map.core_totals(result), mesh_map.router_totals(result)
    spike_top, flit_top = max(spikes, default=0.0), max(flits, default=0.0)
    # A large mesh is drawn smaller: its axes have larger numbers to stay readable.
    margin = max(_MARGIN, round(0.045 * columns * (_CELL + _GAP)))
    places: list[dict[str, Any]] = []
    for number, cell in enumerate(mesh_map.cells(result)):
        spike = spikes[cell.core] if cell.core >= 0 else 0.0
        places.append(
            asdict(cell)
            | {
                "left": margin + cell.x * (_CELL + _GAP),
                "top": margin + cell.y * (_CELL + _GAP),
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
        "margin": margin,
        "numbered": columns <= _NUMBERED_COLUMNS,
        "width": margin + columns * (_CELL + _GAP),
        "height": margin + rows * (_CELL + _GAP),
        "axis_x": [(x, margin + x * (_CELL + _GAP) + _CELL / 2) for x in _ticks(columns)],
        "axis_y": [(y, margin + y * (_CELL + _GAP) + _CELL / 2) for y in _ticks(rows)],
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
        "frames": script_json(
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
