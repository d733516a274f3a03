"""Cost tables: sourced constants from YAML, checked; energies interpolated between measured points."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cached_property
from itertools import pairwise
from math import exp, log
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

import yaml
from pydantic import Field, ValidationError, model_validator

from .model import ReportModel

_FOLDER = Path(__file__).parent / "costs"

_T = TypeVar("_T")

Status = Literal["measured", "derived", "assumed"]
Known = Literal["measured", "read", "recalled", "reasoned"]

# How good a figure is, worst last: what is made of several figures is as good as the worst of them.
STATUSES: tuple[Status, ...] = ("measured", "derived", "assumed")


class CostError(ValueError):
    """A cost table that is missing or wrong; the message is a sentence for the user."""


class _Sourced(ReportModel):
    """Where a figure comes from.

    ``status`` says what was made of it, ``known`` how we came by it; ``voltage_v`` is null where it has no meaning.
    """

    source: str = Field(min_length=10)
    node_nm: int = Field(ge=3, le=250)
    voltage_v: float | None = Field(gt=0, le=5)
    status: Status
    known: Known


class Constant(_Sourced):
    """One figure with its unit."""

    value: float = Field(ge=0)
    unit: str = Field(min_length=1)


class Curve(_Sourced):
    """Energy over a width, a straight line in the logarithms of both between (and beyond) the points."""

    x: str = Field(min_length=1, description="what the first number of a point is")
    points: tuple[tuple[float, float], ...] = Field(min_length=2)
    unit: Literal["pJ"]

    @model_validator(mode="after")
    def _check(self) -> Curve:
        _ascending([x for x, _ in self.points], "x of the points")
        _ascending([y for _, y in self.points], "energy of the points")
        return self

    def at(self, x: float) -> float:
        """Return the energy in pJ at the curve's own node."""
        return _interpolate([(p, q) for p, q in self.points], x)


class SramPoint(ReportModel):
    """One SRAM macro: size and word in bytes, energy of a read, leakage, area and access time."""

    size_bytes: int = Field(gt=0)
    word_bytes: int = Field(gt=0)
    read_pj: float = Field(gt=0)
    leakage_mw: float = Field(gt=0)
    area_mm2: float = Field(gt=0)
    access_ns: float = Field(gt=0)


class SramTable(_Sourced):
    """SRAM macros of one technology, and the rule between them.

    The energy of a read is ``f(size) * word ** word_exponent``, with ``f`` a straight line in logarithms between the
    points, and beyond them. Leakage and area follow the size alone.
    """

    word_exponent: Constant
    points: tuple[SramPoint, ...] = Field(min_length=2)

    @model_validator(mode="after")
    def _check(self) -> SramTable:
        _ascending(sorted({point.size_bytes for point in self.points}), "sizes of the SRAM")
        for name, curve in self._curves.items():
            _ascending([value for _, value in curve], f"{name} over the size of the SRAM")
        return self

    @cached_property
    def _curves(self) -> dict[str, list[tuple[float, float]]]:
        sizes = sorted({point.size_bytes for point in self.points})
        columns: dict[str, Callable[[SramPoint], float]] = {
            "read_pj": lambda p: p.read_pj / p.word_bytes**self.word_exponent.value,
            "leakage_mw": lambda p: p.leakage_mw,
            "area_mm2": lambda p: p.area_mm2,
        }
        curves: dict[str, list[tuple[float, float]]] = {}
        for name, column in columns.items():
            curves[name] = []
            for size in sizes:
                logs = [log(column(point)) for point in self.points if point.size_bytes == size]
                curves[name].append((size, exp(sum(logs) / len(logs))))
        return curves

    def read_pj(self, size_bytes: float, word_bytes: float) -> float:
        """Return the energy of reading (or writing) one word, in pJ."""
        return (
            _interpolate(self._curves["read_pj"], size_bytes) * word_bytes**self.word_exponent.value
        )

    def leakage_mw(self, size_bytes: float) -> float:
        """Return the leakage at the table's temperature, in mW."""
        return _interpolate(self._curves["leakage_mw"], size_bytes)

    def area_mm2(self, size_bytes: float) -> float:
        """Return the area in mm2."""
        return _interpolate(self._curves["area_mm2"], size_bytes)


class Table(ReportModel):
    """A table of one node; ``kind`` is what messages call it."""

    kind: ClassVar[str]

    version: Any  # which one a table reads, it says itself
    name: str = Field(min_length=1)
    node_nm: int = Field(ge=3, le=250)

    @cached_property
    def table_hash(self) -> str:
        """Sixteen hexadecimal digits of the table's SHA-256, sources included."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]


_Table = TypeVar("_Table", bound=Table)


class CostTable(Table):
    """All costs of the many-core at one node."""

    kind = "cost"

    version: Literal[2]
    voltage_v: float = Field(gt=0, le=5)
    sram: SramTable
    curves: dict[str, Curve]
    constants: dict[str, Constant]

    def constant(self, name: str) -> Constant:
        """Return a constant; CostError names those there are."""
        return _named(self.constants, name, "constant")

    def curve(self, name: str) -> Curve:
        """Return a curve; CostError names those there are."""
        return _named(self.curves, name, "curve")


def worst_status(*statuses: Status) -> Status:
    """Return the status of a figure made of several: that of the worst, and never better than derived."""
    return STATUSES[max(STATUSES.index(status) for status in ("derived", *statuses))]


def load_costs(node_nm_or_path: int | str | Path) -> CostTable:
    """Load the table of a technology node, or one from a file.

    Raises
    ------
    CostError
        No such table, no YAML, or a field that is unknown, missing or out of range.
    """
    return load_table(CostTable, "many_core", node_nm_or_path)


def costs_from_dict(fields: Any, where: str) -> CostTable:
    """Validate ``fields`` into a cost table; ``where`` names their origin in messages.

    Raises
    ------
    CostError
        One line per wrong field.
    """
    return table_from_dict(CostTable, fields, where)


def load_table(model: type[_Table], prefix: str, node_nm_or_path: int | str | Path) -> _Table:
    """Load a table of the kind ``model``: ``<prefix>_<node>nm.yaml`` of ours, or a file; CostError if there is none."""
    if isinstance(node_nm_or_path, int):
        path = _FOLDER / f"{prefix}_{node_nm_or_path}nm.yaml"
        if not path.is_file():
            there = sorted(
                p.stem.removeprefix(f"{prefix}_") for p in _FOLDER.glob(f"{prefix}_*.yaml")
            )
            raise CostError(
                f"there is no {model.kind} table for {node_nm_or_path} nm, only for {', '.join(there)}; "
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
    return table_from_dict(model, fields, str(path))


def table_from_dict(model: type[_Table], fields: Any, where: str) -> _Table:
    """Validate ``fields`` into a table; CostError with a line per wrong field, ``where`` naming their origin."""
    if not isinstance(fields, dict):
        raise CostError(f"{where} must hold a mapping of fields, not {type(fields).__name__}")
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        lines: list[str] = []
        for item in error.errors():
            place = ".".join(str(part) for part in item["loc"]) or "the table"
            message = item["msg"].removeprefix("Value error, ")
            given = item["input"]
            tail = "" if isinstance(given, dict | list) else f" (given: {given!r})"
            if item["type"] == "extra_forbidden":
                message, tail = f"is no field of a {model.kind} table", ""
            lines.append(f"{place}: {message}{tail}")
        raise CostError(
            f"{where} is no valid {model.kind} table:\n  " + "\n  ".join(lines)
        ) from None


def _named(table: dict[str, _T], name: str, kind: str) -> _T:
    if name not in table:
        raise CostError(
            f"the cost table has no {kind} {name!r}; it has {', '.join(sorted(table)) or 'none'}"
        )
    return table[name]


def _ascending(values: list[Any], what: str) -> None:
    if len(values) < 2 or values[0] <= 0 or any(b <= a for a, b in pairwise(values)):
        raise ValueError(f"{what} must be at least two, positive and ascending, not {values}")


def _interpolate(curve: list[tuple[float, float]], x: float) -> float:
    if x <= 0:
        return 0.0
    place = next((i for i in range(1, len(curve) - 1) if x <= curve[i][0]), len(curve) - 1)
    (x0, y0), (x1, y1) = curve[place - 1], curve[place]
    share = (log(x) - log(x0)) / (log(x1) - log(x0))
    return exp(log(y0) + share * (log(y1) - log(y0)))
