"""The area that a result tells: of any chip, without a synthesis tool; None and a reason where it is not known."""

from __future__ import annotations

from collections.abc import Mapping
from math import fsum
from typing import Any

from ..chip.config import ChipConfig
from .accounts import AreaPart, AreaSummary, by_component
from .area import AreaResult, AreaRow, Place, estimate_area
from .costs import CostError
from .gate_model import gates_of, load_gate_table
from .learn_area import (
    LearnAreaResult,
    LearnAreaRow,
    LearnTables,
    estimate_learn_area,
    load_learn_tables,
)

__all__ = ["area_summary", "summary_of_learn", "summary_of_synthesis"]

_NO_PADS = "Area is an estimate: no layout was made; pads, PLL and test logic are not in it."


def area_summary(
    config: ChipConfig, tables: LearnTables | None = None
) -> tuple[AreaSummary | None, list[str]]:
    """Return a chip's area, and notes for the result: why it is unknown, if it is.

    The many-core's gates are those of a stored synthesis of the same many-core, or of a fit to such syntheses; learning
    engines are counted unit by unit. ``tables`` are by default ours of the node.
    """
    parts: list[AreaPart] = []
    notes: list[str] = [_NO_PADS]
    provenance: dict[str, str] = {}
    basis = "units"
    cores = 0
    try:
        tables = tables or load_learn_tables(config.node_nm)
        if config.many_core_half is not None:
            found = _many_core(config, tables)
            parts += found.rows
            notes += found.notes
            provenance |= found.provenance
            basis, cores = found.basis, found.cores
        if config.learn_half is not None:
            engines = summary_of_learn(estimate_learn_area(config, tables))
            parts += engines.rows
            notes += [note for note in engines.notes if note not in notes]
            provenance |= engines.provenance
    except CostError as error:
        return None, [
            f"The area is unknown: {error}. With a table of your own (--costs, docs/costs.md) it is told."
        ]
    return _summary(basis, config.node_nm, cores, parts, notes, provenance), []


def summary_of_synthesis(result: AreaResult) -> AreaSummary:
    """Return the summary of an area that synthesis of the whole chip gave."""
    return _summary(
        "synthesis",
        result.node_nm,
        result.cores,
        _parts(result),
        list(result.notes),
        result.provenance,
    )


def summary_of_learn(result: LearnAreaResult) -> AreaSummary:
    """Return the summary of the area of learning engines, counted unit by unit."""
    return _summary(
        "units",
        result.node_nm,
        0,
        [_part(row, "chip") for row in result.rows],
        [_NO_PADS, "Learning engines are counted unit by unit: docs/learn_reports.md."],
        {"area, learning engines": ", ".join(result.tables)},
    )


def _many_core(config: ChipConfig, tables: LearnTables) -> AreaSummary:
    gates, basis = gates_of(config)
    result = estimate_area(gates, tables.area, tables.many_core)
    table = load_gate_table()
    if basis == "synthesis":
        note = f"Gates of the cores are those of a stored synthesis ({', '.join(table.tools)})."
    else:
        error = table.errors["tile"]
        note = (
            f"Gates of the cores are a fit to {len(table.chips)} syntheses; a core that was left out of it is "
            f"predicted with an error of {error.median:.1%} (median) to {error.largest:.1%} (largest). "
            f"`spikeloom area --chip {config.name}` synthesises this one."
        )
    return _summary(
        basis,
        result.node_nm,
        result.cores,
        _parts(result),
        [note],
        {
            "gates": table.command,
            "area table": result.provenance["area table"],
            "memory table": result.provenance["memory table"],
        },
    )


def _parts(result: AreaResult) -> list[AreaPart]:
    return [_part(row, row.place) for row in result.rows]


def _part(row: AreaRow | LearnAreaRow, place: Place) -> AreaPart:
    return AreaPart(
        place=place,
        component=row.component,
        part=row.part,
        what=row.what,
        count=row.count,
        each_mm2=row.each_mm2,
        area_mm2=row.area_mm2,
        status=row.status,
        source=row.source,
    )


def _summary(
    basis: Any,
    node_nm: int,
    cores: int,
    parts: list[AreaPart],
    notes: list[str],
    provenance: Mapping[str, str],
) -> AreaSummary:
    return AreaSummary(
        basis=basis,
        node_nm=node_nm,
        cores=cores,
        rows=parts,
        by_component=by_component(parts, "area_mm2"),
        area_mm2=fsum(part.area_mm2 for part in parts),
        notes=notes,
        provenance=dict(provenance),
    )
