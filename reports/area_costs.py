"""The cost table of area: gates, layout, published chips; sourced constants from YAML, checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from .costs import Constant, Known, Status, Table, load_table, table_from_dict
from .model import ReportModel

__all__ = ["AreaCosts", "PublishedChip", "area_costs_from_dict", "load_area_costs"]


class PublishedChip(ReportModel):
    """A chip that exists: its die and its memory, as published."""

    name: str
    shape: str
    area_mm2: float = Field(gt=0)
    cores: int = Field(ge=1)
    sram_bytes_a_core: int = Field(gt=0)
    source: str = Field(min_length=10)
    status: Status
    known: Known


class Constants(ReportModel):
    """The figures that an area is made of."""

    nand2_um2: Constant
    logic_utilisation: Constant
    macro_utilisation: Constant
    two_port_factor: Constant
    latch_bit_gates: Constant
    smallest_sram_bytes: Constant


class AreaCosts(Table):
    """What logic and layout take at one node."""

    kind = "area"

    version: Literal[1]
    constants: Constants
    published: tuple[PublishedChip, ...]


def load_area_costs(node_nm_or_path: int | str | Path) -> AreaCosts:
    """Load the table of a technology node, or one from a file.

    Raises
    ------
    CostError
        No such table, no YAML, or a field that is unknown, missing or out of range.
    """
    return load_table(AreaCosts, "area", node_nm_or_path)


def area_costs_from_dict(fields: Any, where: str) -> AreaCosts:
    """Validate ``fields`` into a table; ``where`` names their origin in messages.

    Raises
    ------
    CostError
        One line per wrong field.
    """
    return table_from_dict(AreaCosts, fields, where)
