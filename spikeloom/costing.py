"""`costs`: the tables of a node, or a user's over it, figure by figure with its source."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .errors import InputError
from .reports.cost_figures import Sourced
from .reports.learn_area import LearnTables, load_learn_tables
from .reports.sram import Ports

__all__ = ["CostRow", "cost_rows", "cost_tables", "sram_rows"]

# Macros that `costs` shows: size and word in bytes.
_SHOWN: tuple[tuple[int, int, Ports], ...] = (
    (1024, 4, "1rw"), (8192, 8, "1rw"), (32768, 32, "1rw"), (65536, 16, "1rw"), (262144, 32, "1rw"), (8192, 4, "1r1w"),
    (32768, 4, "1r1w"),
)  # fmt: skip


@dataclass(frozen=True)
class CostRow:
    """A constant, or a point of a curve: what a user's file calls it, and what it is worth."""

    section: str
    name: str
    value: float
    unit: str
    status: str
    known: str
    node_nm: int
    voltage_v: float | None
    source: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return asdict(self)


def cost_tables(node_nm: int | None = None, costs: str | Path | None = None) -> LearnTables:
    """Return the tables of a node (28 nm by default), or those of a user's file over the node that it names.

    Raises
    ------
    InputError
        Both are given.
    CostError
        There are no tables for the node, or the file is wrong; a sentence for every mistake.
    """
    if node_nm is not None and costs is not None:
        raise InputError("give a node or a file of costs, not both: the file says its node (base)")
    return load_learn_tables(costs if costs is not None else 28 if node_nm is None else node_nm)


def cost_rows(tables: LearnTables) -> list[CostRow]:
    """Return every constant and every point of every curve."""
    rows: list[CostRow] = []
    sections = {
        "many_core": tables.many_core.constants,
        "learn": tables.learn.constants,
        "area": {name: getattr(tables.area.constants, name) for name in type(tables.area.constants).model_fields},
    }  # fmt: skip
    for name, curve in tables.many_core.curves.items():
        rows += [
            _row("curves", f"{name}, {x:g} {curve.x}", y, curve.unit, curve)
            for x, y in curve.points
        ]
    for section, constants in sections.items():
        rows += [_row(section, name, c.value, c.unit, c) for name, c in constants.items()]
    return rows


def _row(section: str, name: str, value: float, unit: str, of: Sourced) -> CostRow:
    return CostRow(
        section, name, value, unit, of.status, of.known, of.node_nm, of.voltage_v, of.source
    )


def sram_rows(tables: LearnTables) -> Iterator[dict[str, Any]]:
    """Yield some macros: energies in pJ, leakage in mW at the table's temperature, mm2 and ns."""
    sram = tables.many_core.sram
    for size, word, ports in _SHOWN:
        yield {
            "size_bytes": size, "word_bytes": word, "ports": ports, "read_pj": sram.read_pj(size, word, ports),
            "write_pj": sram.write_pj(size, word, ports), "leakage_mw": sram.leakage_mw(size, word, ports),
            "area_mm2": sram.area_mm2(size, word, ports), "access_ns": sram.access_ns(size, word, ports),
        }  # fmt: skip
