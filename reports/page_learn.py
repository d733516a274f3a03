"""The page of a training, or of a step that was priced."""

from __future__ import annotations

from typing import Any

from .ceilings import chip_of
from .charts import curves_svg
from .learn_result import LearnResult
from .mesh_map import layer_colour
from .page_area import area_values
from .page_learn_tables import (
    ablation_tables,
    engine_bars,
    epoch_table,
    gpu_table,
    layer_table,
    per_table,
    stall_table,
    tiles,
)
from .page_parts import Section, render, style
from .page_tables import bars, component_bars, energy_table, facts, roofline_table, status_shares
from .roofline import engine_rooflines
from .roofline_chart import roofline_svg
from .timeline_chart import timeline_svg
from .units import si

__all__ = ["learn_page"]


def learn_page(result: LearnResult) -> str:
    """Return the page: summary, epochs, time, energy, area, rooflines, layers, GPU, ablations, provenance."""
    config = chip_of(result)
    rooflines = () if config is None else engine_rooflines(result, config)
    gpu, ablations = gpu_table(result), ablation_tables(result)
    sections = (
        ("training", "Training", bool(result.epochs)), ("time", "Time", True), ("energy", "Energy", True),
        ("area", "Area", True), ("roofline", "Rooflines", True), ("layers", "Layers", True),
        ("gpu", "Beside a GPU", gpu is not None), ("ablations", "Ablations", bool(ablations)),
        ("recipe", "Recipe", True),
        ("provenance", "Provenance", True),
    )  # fmt: skip
    return render(
        "page_learn.html.j2",
        css=style(),
        title=f"{result.network} {'trained' if result.kind == 'training' else 'priced'} on {result.chip}",
        sections=[Section(anchor, name) for anchor, name, there in sections if there],
        result=result,
        tiles=tiles(result),
        curves=_curves(result),
        epochs=epoch_table(result),
        per=per_table(result),
        engines=engine_bars(result),
        stalls=stall_table(result),
        timeline=timeline_svg(result.tasks, result.clock_hz),
        legend=[(i, name, layer_colour(i)) for i, name in enumerate(result.tasks.layers, 1)],
        task_count=len(result.tasks.queue),
        energy=_energy(result),
        area=area_values(result.area),
        config_known=config is not None,
        rooflines=[(roofline_svg(r), roofline_table(r)) for r in rooflines],
        layers=layer_table(result),
        gpu=gpu,
        ablations=ablations,
        recipe=facts(result.recipe),
        facts=[
            ("chip", f"{result.chip}, {si(result.clock_hz, 'Hz')}, configuration {result.config_hash}"),
            *facts(result.provenance),
        ],
    )  # fmt: skip


def _curves(result: LearnResult) -> list[tuple[str, Any]]:
    if not result.epochs:
        return []
    test = [e.test_accuracy for e in result.epochs]
    accuracy: list[tuple[str, list[float | None]]] = [
        ("training", [e.accuracy for e in result.epochs])
    ]
    if any(value is not None for value in test):
        accuracy.append(("test", test))
    return [
        ("Accuracy", curves_svg("Accuracy", accuracy, unit="%", zero=False)),
        ("Loss", curves_svg("Loss", [("loss", [e.loss for e in result.epochs])])),
    ]


def _energy(result: LearnResult) -> dict[str, Any] | None:
    """Return what the section of the energy needs, joules a step; None if the energy is unknown."""
    if result.energy_j is None or result.power_w is None:
        return None
    total, steps = result.energy_j["total"], result.steps
    return {
        "total": total / steps,
        "power": result.power_w,
        "statuses": status_shares([(row.status, row.energy_j) for row in result.energy_rows]),
        "components": component_bars(result.energy_rows, total, steps),
        "units": bars(result.energy_by_unit_j, "J", total),
        "table": energy_table(
            result.energy_rows, total, "of the run" if steps > 1 else "of the step"
        ),
    }
