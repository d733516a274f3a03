"""The cost tables of the learning engines and of the GPU beside them; constants with their sources."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from .cost_figures import Constant, Known, Status
from .cost_files import FOLDER, figure_file, place, read_yaml, validated
from .costs import Table, named
from .model import ReportModel

__all__ = ["GpuCosts", "LearnCosts", "PublishedDie", "load_gpu_costs", "load_learn_costs"]


class PublishedDie(ReportModel):
    """A die that exists or was claimed, as published."""

    name: str
    shape: str
    area_mm2: float = Field(gt=0)
    source: str = Field(min_length=10)
    status: Status
    known: Known


class _Constants(Table):
    constants: dict[str, Constant]

    def constant(self, name: str) -> Constant:
        """Return a constant; CostError names those there are."""
        return named(self.constants, name, f"{self.kind} table", "constant")

    def value(self, name: str) -> float:
        """Return a constant's value."""
        return self.constant(name).value


class LearnCosts(_Constants):
    """What operations, memories and layout of the learning engines take at one node."""

    kind = "learning"

    version: Literal[2]
    published: tuple[PublishedDie, ...]


class GpuCosts(_Constants):
    """Rates, overheads and power of a GPU."""

    kind = "GPU"

    version: Literal[1]


def load_learn_costs(node_nm_or_path: int | str | Path) -> LearnCosts:
    """Return the table of a technology node, or a user's over it: docs/costs.md.

    Raises
    ------
    CostError
        No such node, no YAML, or a figure that is unknown, lacks unit or source, or is out of range.
    """
    where = place(node_nm_or_path)
    dies = figure_file("learn").published
    return LearnCosts(
        version=2,
        name=where.name("learn"),
        node_nm=where.node_nm,
        constants=where.constants("learn", where.memory()),
        published=tuple(PublishedDie.model_validate(die) for die in dies),
    )


def load_gpu_costs(path: str | Path | None = None) -> GpuCosts:
    """Load the V100's table, or one from a file.

    Raises
    ------
    CostError
        No YAML, or a field that is unknown, missing or out of range.
    """
    path = FOLDER / "v100.yaml" if path is None else Path(path)
    return validated(GpuCosts, read_yaml(path), str(path), "GPU")
