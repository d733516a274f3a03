"""The files that cost tables are made of: figures by node, brought to one node by cited rules; and a user's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from math import log, log2
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import yaml
from pydantic import Field, ValidationError

from ..chip.config import ChipConfig
from .cost_figures import Constant, CostError, Curve, Sourced, Status, worst_status
from .cost_overlay import SECTIONS, Changeable, Overlay, read_overlay
from .model import ReportModel
from .scaling import Rule, Scaling, load_scaling, nodes_nm
from .sram import Ports, SramPoint, SramTable

__all__ = [
    "FOLDER",
    "Place",
    "at_node",
    "figure_file",
    "place",
    "read_yaml",
    "sram_at_node",
    "tables_of",
    "validated",
]

FOLDER = Path(__file__).parent / "costs"

# Both are safe; the one in C, where it is built, reads the table of SRAM ten times as fast.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_Model = TypeVar("_Model", bound=ReportModel)
_Figure = TypeVar("_Figure", bound=Sourced)


class _ValueAt(Sourced):
    value: float = Field(ge=0)


class _PointsAt(Sourced):
    points: tuple[tuple[float, float], ...] = Field(min_length=2)


class ConstantFigures(ReportModel):
    """A constant: its unit, how it goes from node to node, and the figures that were found, each of a node."""

    unit: str = Field(min_length=1)
    scaling: Rule
    figures: tuple[_ValueAt, ...] = Field(min_length=1)

    def at(self, node_nm: int, rules: Scaling) -> Constant:
        """Return the constant at a node: its own figure there, or that of the nearest node, scaled."""
        figure, factor, fields = at_node(self.figures, self.scaling, node_nm, rules)
        return Constant(value=figure.value * factor, unit=self.unit, **fields)


class CurveFigures(ReportModel):
    """A curve: as a constant, but points in place of a value."""

    x: str = Field(min_length=1)
    unit: Literal["pJ"]
    scaling: Rule
    figures: tuple[_PointsAt, ...] = Field(min_length=1)

    def at(self, node_nm: int, rules: Scaling) -> Curve:
        """Return the curve at a node."""
        figure, factor, fields = at_node(self.figures, self.scaling, node_nm, rules)
        points = tuple((x, y * factor) for x, y in figure.points)
        return Curve(x=self.x, unit=self.unit, points=points, **fields)


class _Macros(ReportModel):
    """Macros of one node and kind of ports, as benchmarks/cacti_tables.py writes them."""

    node_nm: int
    ports: Ports
    voltage_v: float = Field(gt=0)
    temperature_k: float
    cold_temperature_k: float
    cold_leakage: float = Field(gt=0, lt=1)
    source: str = Field(min_length=10)
    points: tuple[tuple[float, ...], ...]


class _SramFile(ReportModel):
    version: Literal[1]
    name: str
    tables: tuple[_Macros, ...]


class FigureFile(ReportModel):
    """The figures of one kind of table, at the nodes that they were found for."""

    version: Literal[3]
    name: str
    constants: dict[str, ConstantFigures]
    curves: dict[str, CurveFigures] = Field(default={})
    memories: dict[str, dict[str, ConstantFigures]] = Field(
        default={}, description="constants of each kind of memory beside the chip"
    )
    published: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class Place:
    """Where a table comes from: a node of ours, and what a user's file changes of it, if there is one."""

    node_nm: int
    overlay: Overlay | None

    def name(self, kind: str) -> str:
        """Return what a table is called."""
        ours = f"{kind}_{self.node_nm}nm"
        return ours if self.overlay is None else f"{self.overlay.name} over {ours}"

    def constants(
        self, section: str, more: Mapping[str, ConstantFigures] | None = None
    ) -> dict[str, Constant]:
        """Return the constants of a section at the node, a user's in place of ours."""
        rules = load_scaling()
        figures = {**figure_file(section).constants, **(more or {})}
        ours = {name: figure.at(self.node_nm, rules) for name, figure in figures.items()}
        return ours if self.overlay is None else {**ours, **self.overlay.constants[section]}

    def curves(self, section: str) -> dict[str, Curve]:
        """Return the curves of a section at the node, a user's in place of ours."""
        rules = load_scaling()
        found = {
            name: figure.at(self.node_nm, rules)
            for name, figure in figure_file(section).curves.items()
        }
        theirs = {} if self.overlay is None else self.overlay.curves
        return {
            name: curve if name not in theirs else Curve(x=curve.x, unit=curve.unit, **theirs[name])
            for name, curve in found.items()
        }

    def memory(self) -> Mapping[str, ConstantFigures]:
        """Return the constants of the memory beside the chip: the first kind's unless a user's file names one."""
        kinds = figure_file("learn").memories
        asked = None if self.overlay is None else self.overlay.memory
        return kinds[asked or next(iter(kinds))]

    def sram(self) -> tuple[SramTable, dict[str, Constant]]:
        """Return the macros of the node, or a user's, and the constants of their leakage's temperature."""
        table, constants = sram_at_node(self.node_nm, load_scaling())
        own = None if self.overlay is None else self.overlay.sram
        if own is None:
            return table, constants
        hot = constants["sram_temperature_k"]
        changed = {
            "value": own.temperature_k,
            "source": own.source,
            "status": own.status,
            "known": own.known,
        }
        return own, {**constants, "sram_temperature_k": hot.model_copy(update=changed)}


@cache
def figure_file(kind: str) -> FigureFile:
    """Return the figures of a kind of table: many_core, learn or area."""
    path = FOLDER / f"{kind}.yaml"
    return validated(FigureFile, read_yaml(path), str(path), kind)


@cache
def _changeable() -> Changeable:
    files = {section: figure_file(section) for section in SECTIONS}
    units = {
        section: {name: figure.unit for name, figure in file.constants.items()}
        for section, file in files.items()
    }
    units["many_core"]["leakage_halving_k"] = "K"  # ours is CACTI's: sram_at_node
    kinds = files["learn"].memories
    for of_kind in kinds.values():
        units["learn"] |= {name: figure.unit for name, figure in of_kind.items()}
    curves = {name: curve.unit for name, curve in files["many_core"].curves.items()}
    return Changeable(nodes_nm(), units, curves, tuple(kinds))


def at_node(
    figures: tuple[_Figure, ...], rule: Rule, node_nm: int, rules: Scaling
) -> tuple[_Figure, float, dict[str, Any]]:
    """Return the figure that serves a node, its factor, and the fields of `Sourced` of the result.

    A figure of the node itself stands as it is, but for its supply. Of the others the nearest (in logarithms) is
    multiplied by what the rule says; the result is derived at best, and its source tells from where and by what.
    """
    figure = min(figures, key=lambda item: abs(log(item.node_nm / node_nm)))
    fields: dict[str, Any] = {
        "source": figure.source, "node_nm": figure.node_nm, "voltage_v": figure.voltage_v, "status": figure.status,
        "known": figure.known,
    }  # fmt: skip
    if rule == "none":
        return figure, 1.0, fields
    from_v = figure.voltage_v or rules.voltage_v(figure.node_nm)
    to_v = rules.voltage_v(node_nm)
    factor = rules.factor(rule, figure.node_nm, from_v, node_nm, to_v)
    fields["node_nm"] = node_nm
    if figure.voltage_v is not None:
        fields["voltage_v"] = to_v
    if rule == "kept":
        if figure.node_nm != node_nm:
            fields["source"] = f"{figure.source}; taken for {node_nm} nm as it is"
            fields["status"] = "assumed"
    elif factor != 1.0:
        fields["source"] = (
            f"{figure.source}; x {factor:.3g} from {figure.node_nm} nm at {from_v:g} V to {node_nm} nm at {to_v:g} V "
            f"({rules.cite(rule)})"
        )
        fields["status"] = worst_status(figure.status)
    return figure, factor, fields


@cache
def _sram_file() -> _SramFile:
    return validated(_SramFile, read_yaml(FOLDER / "sram.yaml"), str(FOLDER / "sram.yaml"), "SRAM")


def sram_at_node(node_nm: int, rules: Scaling) -> tuple[SramTable, dict[str, Constant]]:
    """Return the macros of a node, and the constants of their leakage's temperature.

    Energies go from CACTI's supply to the node's by its square, leakage by the supply. Below the smallest node of CACTI
    energies follow that of logic, area and leakage the cell.
    """
    tables = _sram_file().tables
    from_nm = min((t.node_nm for t in tables), key=lambda node: abs(log(node / node_nm)))
    of_ports = {table.ports: table for table in tables if table.node_nm == from_nm}
    one = of_ports["1rw"]
    own_v, to_v = rules.voltage_v(from_nm), rules.voltage_v(node_nm)
    dynamic = rules.factor("voltage", from_nm, one.voltage_v, from_nm, own_v)
    dynamic *= rules.factor("energy", from_nm, own_v, node_nm, to_v)
    scaled = node_nm != from_nm
    area = rules.factor("cell_area", from_nm, own_v, node_nm, to_v) if scaled else 1.0
    static = rules.factor("cell_leakage", from_nm, own_v, node_nm, to_v) if scaled else 1.0
    static *= to_v / one.voltage_v
    source = one.source.replace(", 1rw", "")
    status: Status = "measured"
    if own_v != one.voltage_v:
        status = "derived"
        source += f"; energies x {dynamic:.3g} from {one.voltage_v:g} V to {own_v:g} V ({rules.cite('voltage')})"
    if scaled:
        status = "assumed"
        source += (
            f"; from {from_nm} nm to {node_nm} nm at {to_v:g} V energies x {dynamic:.3g} ({rules.cite('energy')}), "
            f"area x {area:.3g} ({rules.cite('cell_area')}), leakage x {static:.3g} ({rules.cite('cell_leakage')})"
        )
    points = {
        ports: tuple(
            SramPoint(
                size_bytes=int(size), word_bytes=int(word), read_pj=read * dynamic, write_pj=write * dynamic,
                leakage_mw=leakage * static, area_mm2=mm2 * area, access_ns=ns,
            )
            for size, word, read, write, leakage, mm2, ns in table.points
        )
        for ports, table in of_ports.items()
    }  # fmt: skip
    halving = (one.temperature_k - one.cold_temperature_k) / log2(1 / one.cold_leakage)
    found: dict[str, Any] = {
        "node_nm": node_nm,
        "voltage_v": None,
        "unit": "K",
        "known": "measured",
    }
    constants = {
        "sram_temperature_k": Constant(
            value=one.temperature_k, status="measured", source="the temperature of the SRAM table", **found
        ),
        "leakage_halving_k": Constant(
            value=halving, status="derived", **found,
            source=f"{one.source}: leakage at {one.cold_temperature_k:g} K is {one.cold_leakage:g} of that at "
            f"{one.temperature_k:g} K; transistors of {from_nm} nm",
        ),
    }  # fmt: skip
    table = SramTable(
        points=cast(Any, points), temperature_k=one.temperature_k, source=source, node_nm=node_nm, voltage_v=to_v,
        status=status, known="measured",
    )  # fmt: skip
    return table, constants


def place(node_nm_or_path: int | str | Path) -> Place:
    """Return where a table comes from: a node, or a user's file over one; CostError for neither."""
    if isinstance(node_nm_or_path, int):
        if node_nm_or_path not in nodes_nm():
            raise CostError(
                f"there are no cost tables for {node_nm_or_path} nm, only for {', '.join(map(str, nodes_nm()))} nm; "
                "set node_nm in the chip's configuration to one of these"
            )
        return Place(node_nm_or_path, None)
    path = Path(node_nm_or_path)
    overlay = read_overlay(read_yaml(path), str(path), path.stem, _changeable())
    return Place(overlay.base, overlay)


def tables_of(config: ChipConfig, own: str | Path | None = None) -> int | Path:
    """Return what the tables of a chip are loaded from: its node, or a user's file, which must be over that node.

    Raises
    ------
    CostError
        The file is wrong, or its base is another node than the chip's.
    """
    if own is None:
        return config.node_nm
    base = place(Path(own)).node_nm
    if base != config.node_nm:
        raise CostError(
            f"{own}: base is {base} nm, but the chip {config.name!r} is built in {config.node_nm} nm; set base to "
            f"{config.node_nm}, or node_nm in the chip's configuration to {base}"
        )
    return Path(own)


def read_yaml(path: Path) -> Any:
    """Return what a YAML file holds; CostError if it cannot be read."""
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _LOADER)
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise CostError(
            f"{path} is no readable YAML file: {' '.join(str(error).split())}"
        ) from None


def validated(model: type[_Model], fields: Any, where: str, kind: str) -> _Model:
    """Validate ``fields`` into a model; CostError with a line per wrong field, ``where`` naming their origin."""
    if not isinstance(fields, dict):
        raise CostError(f"{where} must hold a mapping of fields, not {type(fields).__name__}")
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        lines: list[str] = []
        for item in error.errors():
            at = ".".join(str(part) for part in item["loc"]) or "the table"
            message = item["msg"].removeprefix("Value error, ")
            given = item["input"]
            tail = "" if isinstance(given, dict | list) else f" (given: {given!r})"
            if item["type"] == "extra_forbidden":
                message, tail = f"is no field of a {kind} table", ""
            lines.append(f"{at}: {message}{tail}")
        raise CostError(f"{where} is no valid {kind} table:\n  " + "\n  ".join(lines)) from None
