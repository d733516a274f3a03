"""The cost table of area: gates, layout, published chips; sourced constants from YAML, checked."""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .costs import Constant, CostError, Known, Status

__all__ = ["AreaCosts", "PublishedChip", "area_costs_from_dict", "load_area_costs"]

_FOLDER = Path(__file__).parent / "costs"


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class PublishedChip(_Model):
    """A chip that exists: its die and its memory, as published."""

    name: str
    shape: str
    area_mm2: float = Field(gt=0)
    cores: int = Field(ge=1)
    sram_bytes_a_core: int = Field(gt=0)
    source: str = Field(min_length=10)
    status: Status
    known: Known


class Constants(_Model):
    """The figures that an area is made of."""

    nand2_um2: Constant
    logic_utilisation: Constant
    macro_utilisation: Constant
    two_port_factor: Constant
    latch_bit_gates: Constant
    smallest_sram_bytes: Constant


class AreaCosts(_Model):
    """What logic and layout take at one node."""

    version: Literal[1]
    name: str = Field(min_length=1)
    node_nm: int = Field(ge=3, le=250)
    constants: Constants
    published: tuple[PublishedChip, ...]

    @cached_property
    def table_hash(self) -> str:
        """Sixteen hexadecimal digits of the table's SHA-256, sources included."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]


def load_area_costs(node_nm_or_path: int | str | Path) -> AreaCosts:
    """Load the table of a technology node, or one from a file.

    Raises
    ------
    CostError
        No such table, no YAML, or a field that is unknown, missing or out of range.
    """
    if isinstance(node_nm_or_path, int):
        path = _FOLDER / f"area_{node_nm_or_path}nm.yaml"
        if not path.is_file():
            there = ", ".join(
                sorted(p.stem.removeprefix("area_") for p in _FOLDER.glob("area_*.yaml"))
            )
            raise CostError(
                f"there is no area table for {node_nm_or_path} nm, only for {there}; "
                "set node_nm in the chip's configuration to one of these"
            )
    else:
        path = Path(node_nm_or_path)
    try:
        fields = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise CostError(
            f"{path} is no readable YAML file: {' '.join(str(error).split())}"
        ) from None
    return area_costs_from_dict(fields, str(path))


def area_costs_from_dict(fields: Any, where: str) -> AreaCosts:
    """Validate ``fields`` into a table; ``where`` names their origin in messages.

    Raises
    ------
    CostError
        One line per wrong field.
    """
    if not isinstance(fields, dict):
        raise CostError(f"{where} must hold a mapping of fields, not {type(fields).__name__}")
    try:
        return AreaCosts.model_validate(fields)
    except ValidationError as error:
        lines = [
            f"{'.'.join(map(str, item['loc'])) or 'the table'}: {item['msg']}"
            for item in error.errors()
        ]
        raise CostError(f"{where} is no valid area table:\n  " + "\n  ".join(lines)) from None
