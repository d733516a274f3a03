"""The cost table of the many-core at one node: SRAM, curves and constants, each with its source."""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

from pydantic import Field

from .cost_figures import STATUSES, Constant, CostError, Curve, Known, Status, worst_status
from .cost_files import place, tables_of
from .model import ReportModel
from .scaling import load_scaling
from .sram import SramTable

__all__ = [
    "STATUSES", "Constant", "CostError", "CostTable", "Curve", "Known", "SramTable", "Status", "Table", "load_costs",
    "named", "tables_of", "worst_status",
]  # fmt: skip

_T = TypeVar("_T")


class Table(ReportModel):
    """A table of one node; ``kind`` is what messages call it."""

    kind: ClassVar[str]

    version: Any  # which one a table is, it says itself
    name: str = Field(min_length=1)
    node_nm: int = Field(ge=3, le=250)

    @cached_property
    def table_hash(self) -> str:
        """Sixteen hexadecimal digits of the table's SHA-256, sources included."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]


class CostTable(Table):
    """All costs of the many-core at one node."""

    kind = "cost"

    version: Literal[3]
    voltage_v: float = Field(gt=0, le=5)
    sram: SramTable
    curves: dict[str, Curve]
    constants: dict[str, Constant]

    def constant(self, name: str) -> Constant:
        """Return a constant; CostError names those there are."""
        return named(self.constants, name, "cost table", "constant")

    def curve(self, name: str) -> Curve:
        """Return a curve; CostError names those there are."""
        return named(self.curves, name, "cost table", "curve")


def load_costs(node_nm_or_path: int | str | Path) -> CostTable:
    """Return the table of a technology node, or a user's over it: docs/costs.md.

    Raises
    ------
    CostError
        No such node, no YAML, or a figure that is unknown, lacks unit or source, or is out of range.
    """
    where = place(node_nm_or_path)
    sram, heat = where.sram()
    return CostTable(
        version=3,
        name=where.name("many_core"),
        node_nm=where.node_nm,
        voltage_v=load_scaling().voltage_v(where.node_nm),
        sram=sram,
        curves=where.curves("many_core"),
        constants={**heat, **where.constants("many_core")},
    )


def named(table: dict[str, _T], name: str, kind: str, what: str) -> _T:
    """Return an entry; CostError names those there are."""
    if name not in table:
        raise CostError(
            f"the {kind} has no {what} {name!r}; it has {', '.join(sorted(table)) or 'none'}"
        )
    return table[name]
