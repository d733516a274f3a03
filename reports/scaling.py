"""The rules by which a figure goes from one technology node and supply to another: reports/costs/scaling.yaml."""

from __future__ import annotations

from functools import cache
from math import sqrt
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field

from .cost_figures import Known, interpolate
from .model import ReportModel

__all__ = ["Rule", "Scaling", "load_scaling", "nodes_nm"]

_FILE = Path(__file__).parent / "costs" / "scaling.yaml"

# ``none``: the node has no part in the figure. ``kept``: it has, but there is no rule, so the figure is taken as it is.
Rule = Literal["energy", "area", "voltage", "cell_area", "cell_leakage", "none", "kept"]


class _Cited(ReportModel):
    called: str = ""
    source: str = Field(min_length=10)
    known: Known


class _Nodes(_Cited):
    voltage_v: dict[int, float]


class _OfVoltage(_Cited):
    of_voltage: dict[int, tuple[float, float, float]]

    def at(self, node_nm: int, voltage_v: float) -> float:
        points = [
            (float(node), a * voltage_v**2 + b * voltage_v + c)
            for node, (a, b, c) in sorted(self.of_voltage.items())
        ]
        return interpolate(points, node_nm)


class _OfNode(_Cited):
    of_node: dict[int, float]

    def at(self, node_nm: int) -> float:
        points = [(float(node), value) for node, value in sorted(self.of_node.items())]
        return interpolate(points, node_nm)


class _OfSupply(_Cited):
    exponent: float = Field(gt=0)


class _Root(_Cited):
    root_of: Literal["cell_area"]


class _Rules(ReportModel):
    energy: _OfVoltage
    area: _OfNode
    voltage: _OfSupply
    cell_area: _OfNode
    cell_leakage: _Root


class Scaling(ReportModel):
    """All rules, and the supply that the table of each node is of."""

    version: Literal[1]
    name: str
    nodes: _Nodes
    rules: _Rules

    def voltage_v(self, node_nm: int) -> float:
        """Return the supply of a node's table; between nodes that have one, that of the larger."""
        above = [node for node in self.nodes.voltage_v if node >= node_nm]
        return self.nodes.voltage_v[min(above, default=max(self.nodes.voltage_v))]

    def factor(self, rule: Rule, from_nm: int, from_v: float, to_nm: int, to_v: float) -> float:
        """Return what a figure of one node and supply is multiplied by to be one of another."""
        if rule in ("none", "kept") or (from_nm, from_v) == (to_nm, to_v):
            return 1.0
        rules = self.rules
        if rule == "energy":
            return rules.energy.at(to_nm, to_v) / rules.energy.at(from_nm, from_v)
        if rule == "voltage":
            return (to_v / from_v) ** rules.voltage.exponent
        if rule == "area":
            return rules.area.at(to_nm) / rules.area.at(from_nm)
        cell = rules.cell_area.at(to_nm) / rules.cell_area.at(from_nm)
        return cell if rule == "cell_area" else sqrt(cell)

    def cite(self, rule: Rule) -> str:
        """Return what a rule is called in the sources of figures that it made."""
        return getattr(self.rules, rule).called


@cache
def load_scaling() -> Scaling:
    """Load our rules."""
    fields: Any = yaml.safe_load(_FILE.read_text(encoding="utf-8"))
    return Scaling.model_validate(fields)


def nodes_nm() -> tuple[int, ...]:
    """Return the nodes that there are tables for, largest first."""
    return tuple(sorted(load_scaling().nodes.voltage_v, reverse=True))
