"""Cost tables: sourced constants from YAML, checked; SRAM energies interpolated from measured points."""

from __future__ import annotations

import hashlib
from functools import cached_property
from math import log
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

_FOLDER = Path(__file__).parent / "costs"

Status = Literal["measured", "derived", "assumed"]


class CostError(ValueError):
    """A cost table that is missing or wrong; the message is a sentence for the user."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Cost(_Model):
    """One constant: its value, unit, how well it is known, and where it comes from."""

    value: float = Field(ge=0, allow_inf_nan=False)
    unit: str = Field(min_length=1)
    status: Status
    source: str = Field(min_length=1)


class SramPoint(_Model):
    """One SRAM macro as a memory compiler or model gave it."""

    bytes: int = Field(gt=0)
    word_bytes: int = Field(gt=0)
    read_pj: float = Field(gt=0)
    leakage_mw: float = Field(gt=0)
    area_mm2: float = Field(gt=0)


class SramTable(_Model):
    """Measured SRAM macros, and the rule between them."""

    status: Status
    source: str
    points: tuple[SramPoint, ...] = Field(min_length=2)

    def read_pj(self, size_bytes: float, word_bytes: float) -> float:
        """Return the energy of reading (or writing) one word, in pJ.

        Log-log interpolation over sizes among the points with the widest words of each size; the energy of a word is then scaled
        with its width by an exponent of 0.5, which is what the two 2 KB points (2 and 32 bytes a word: 0.41 and 1.63 pJ) show.
        """
        energy, word = self._interpolate(size_bytes, "read_pj"), self._interpolate(size_bytes, "word_bytes")
        return energy * (word_bytes / word) ** 0.5

    def leakage_mw(self, size_bytes: float) -> float:
        """Return the leakage of a macro, in mW."""
        return self._interpolate(size_bytes, "leakage_mw")

    def _interpolate(self, size_bytes: float, field: str) -> float:
        widest = {point.bytes: point for point in sorted(self.points, key=lambda p: p.word_bytes)}
        points = [widest[size] for size in sorted(widest)]
        size = max(size_bytes, 1.0)
        low, high = points[0], points[1]
        for low, high in zip(points, points[1:], strict=False):  # noqa: B007 - the last pair extends upwards
            if size <= high.bytes:
                break
        share = (log(size) - log(low.bytes)) / (log(high.bytes) - log(low.bytes))
        a, b = log(getattr(low, field)), log(getattr(high, field))
        return float(2.718281828459045 ** (a + share * (b - a)))


class CostTable(_Model):
    """All costs of one half of the chip at one node."""

    version: Literal[1]
    node_nm: int
    voltage_v: float
    sram: SramTable
    operations: dict[str, Cost]
    static: dict[str, Cost]

    def operation(self, name: str) -> Cost:
        """Return an operation's cost; CostError names those there are."""
        return _named(self.operations, name, "operations")

    def constant(self, name: str) -> Cost:
        """Return a static cost; CostError names those there are."""
        return _named(self.static, name, "static")

    @cached_property
    def table_hash(self) -> str:
        """Sixteen hexadecimal digits of the table's SHA-256."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]


def _named(table: dict[str, Cost], name: str, section: str) -> Cost:
    if name not in table:
        raise CostError(f"the cost table has no {section} cost {name!r}; it has {', '.join(sorted(table))}")
    return table[name]


def load_costs(node_nm_or_path: int | str | Path) -> CostTable:
    """Load the table of a technology node, or one from a file.

    Raises
    ------
    CostError
        No such table, no YAML, or a constant without unit, source or a non-negative value.
    """
    if isinstance(node_nm_or_path, int):
        path = _FOLDER / f"many_core_{node_nm_or_path}nm.yaml"
        if not path.is_file():
            there = ", ".join(sorted(p.stem.split("_")[-1] for p in _FOLDER.glob("many_core_*.yaml")))
            raise CostError(f"there is no cost table for {node_nm_or_path} nm, only {there}; set node_nm in the chip's configuration")
    else:
        path = Path(node_nm_or_path)
    try:
        fields = yaml.safe_load(path.read_text(encoding="utf-8"))
        return CostTable.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise CostError(f"{path}: {place}: {first['msg']} (given: {first['input']!r})") from None
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise CostError(f"{path} is no readable YAML cost table: {' '.join(str(error).split())}") from None
