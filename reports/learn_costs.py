"""The cost tables of the learning engines and of the GPU beside them; sourced constants from YAML, checked."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from .costs import Constant, CostError, Known, Status, Table, load_table
from .model import ReportModel

__all__ = ["GpuCosts", "LearnCosts", "PublishedDie", "load_gpu_costs", "load_learn_costs"]

_FOLDER = Path(__file__).parent / "costs"


class PublishedDie(ReportModel):
    """A die that exists or was claimed, as published."""

    name: str
    shape: str
    area_mm2: float = Field(gt=0)
    source: str = Field(min_length=10)
    status: Status
    known: Known


class _Constants(Table):
    version: Literal[1]
    constants: dict[str, Constant]

    def constant(self, name: str) -> Constant:
        """Return a constant; CostError names those there are."""
        if name not in self.constants:
            raise CostError(
                f"the {self.kind} table has no constant {name!r}; it has {', '.join(sorted(self.constants)) or 'none'}"
            )
        return self.constants[name]

    def value(self, name: str) -> float:
        """Return a constant's value."""
        return self.constant(name).value


class LearnCosts(_Constants):
    """What operations, memories and layout of the learning engines take at one node."""

    kind = "learning"

    published: tuple[PublishedDie, ...]


class GpuCosts(_Constants):
    """Rates, overheads and power of a GPU."""

    kind = "GPU"


def load_learn_costs(node_nm_or_path: int | str | Path) -> LearnCosts:
    """Load the table of a technology node, or one from a file.

    Raises
    ------
    CostError
        No such table, no YAML, or a field that is unknown, missing or out of range.
    """
    return load_table(LearnCosts, "learn", node_nm_or_path)


def load_gpu_costs(path: str | Path | None = None) -> GpuCosts:
    """Load the V100's table, or one from a file.

    Raises
    ------
    CostError
        No YAML, or a field that is unknown, missing or out of range.
    """
    return load_table(GpuCosts, "gpu", str(_FOLDER / "v100.yaml" if path is None else path))
