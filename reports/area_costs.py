"""The cost table of area: gates, layout, published chips; constants with their sources."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from .cost_figures import Constant, Known, Status
from .cost_files import figure_file, place
from .costs import Table
from .model import ReportModel

__all__ = ["AreaCosts", "PublishedChip", "load_area_costs"]


class PublishedChip(ReportModel):
    """A chip that exists: its node, its die and its memory, as published."""

    name: str
    shape: str
    node_nm: int
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
    latch_bit_gates: Constant
    smallest_sram_bytes: Constant


class AreaCosts(Table):
    """What logic and layout take at one node; ``published`` are chips of the same node."""

    kind = "area"

    version: Literal[2]
    constants: Constants
    published: tuple[PublishedChip, ...]


def load_area_costs(node_nm_or_path: int | str | Path) -> AreaCosts:
    """Return the table of a technology node, or a user's over it: docs/costs.md.

    Raises
    ------
    CostError
        No such node, no YAML, or a figure that is unknown, lacks unit or source, or is out of range.
    """
    where = place(node_nm_or_path)
    chips = [PublishedChip.model_validate(chip) for chip in figure_file("area").published]
    return AreaCosts(
        version=2,
        name=where.name("area"),
        node_nm=where.node_nm,
        constants=Constants(**where.constants("area")),
        published=tuple(chip for chip in chips if chip.node_nm == where.node_nm),
    )
