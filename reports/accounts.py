"""What both kinds of result say of energy and area: rows, splits, sums, and the checks that parts equal totals."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from math import fsum, isclose
from typing import Any, Literal

from pydantic import Field, model_validator

from .model import ReportModel

__all__ = [
    "SUM_TOLERANCE", "AreaPart", "AreaSummary", "EnergyRowModel", "Kind", "Split", "by_component", "check_energy",
    "check_sum", "split_by_unit",
]  # fmt: skip

SUM_TOLERANCE = 1e-9  # relative; of sums of the same products in another order

Kind = Literal["dynamic", "static"]


class Split(ReportModel):
    """A quantity by what causes it: switching, which follows events and clock, or time alone (leakage, refresh)."""

    dynamic: float = Field(ge=0)
    static: float = Field(ge=0)

    @property
    def total(self) -> float:
        """Both together."""
        return self.dynamic + self.static


class EnergyRowModel(ReportModel):
    """One row of the energy account: count x cost."""

    component: str
    event: str = Field(description="names of events, or seconds, whose cost is W")
    kind: Kind = Field(description="static: what time alone costs")
    count: float = Field(ge=0, description="many-core: mean a sample; learning: of the whole run")
    cost_j: float = Field(ge=0, description="joules each")
    energy_j: float = Field(ge=0, description="count x cost")
    unit: str = Field(description="what one of them consists of")
    source: str = Field(description="of each figure in the cost, separated by ' | '")
    status: Literal["measured", "derived", "assumed"]


class AreaPart(ReportModel):
    """One row of the area account: so many of a unit, of an area each, utilisation included."""

    place: Literal["core", "router", "chip"] = Field(description="what has it: each core, or once")
    component: str
    part: Literal["logic", "memory", "interface"]
    what: str
    count: float = Field(ge=0, description="of them on the chip")
    each_mm2: float = Field(ge=0)
    area_mm2: float = Field(ge=0, description="of all")
    status: Literal["measured", "derived", "assumed"]
    source: str = Field(description="of each figure in it, separated by ' | '")


class AreaSummary(ReportModel):
    """The area of a chip as far as a result tells it; an estimate without pads, and no layout was made."""

    basis: Literal["synthesis", "fit", "units"] = Field(
        description="of the logic: synthesis of this chip's own components, a fit to syntheses of others, or "
        "units counted by size (learning engines)"
    )
    node_nm: int
    cores: int = Field(ge=0, description="0: learning engines alone")
    rows: list[AreaPart] = Field(min_length=1)
    by_component: dict[str, float] = Field(description="mm2 of all of them")
    area_mm2: float = Field(gt=0, description="of the chip")
    notes: list[str]
    provenance: dict[str, str]

    @model_validator(mode="after")
    def _check(self) -> AreaSummary:
        check_sum("area: the rows", (row.area_mm2 for row in self.rows), self.area_mm2)
        check_sum("area: the components", self.by_component.values(), self.area_mm2)
        for row in self.rows:
            if not isclose(
                row.each_mm2 * row.count, row.area_mm2, rel_tol=SUM_TOLERANCE, abs_tol=1e-15
            ):
                raise ValueError(
                    f"area: {row.component}, {row.what}: {row.count:g} times {row.each_mm2!r} mm2 is not "
                    f"{row.area_mm2!r}"
                )
        return self

    def place_mm2(self, place: str) -> float:
        """Return the area of one core, one router, or of what the chip has once."""
        here = [row for row in self.rows if row.place == place]
        return fsum(row.area_mm2 / self.cores if place != "chip" else row.area_mm2 for row in here)


def by_component(rows: Iterable[Any], quantity: str) -> dict[str, float]:
    """Return the sum of a field of the rows, say ``energy_j``, by their ``component``, in the order of the rows."""
    parts: dict[str, list[float]] = {}
    for row in rows:
        parts.setdefault(row.component, []).append(getattr(row, quantity))
    return {name: fsum(own) for name, own in parts.items()}


def split_by_unit(laid: Iterable[tuple[Any, Mapping[str, float]]]) -> dict[str, Split]:
    """Return the joules of units, dynamic and static: each row's are laid to units by the weights beside it."""
    parts: defaultdict[tuple[str, Kind], list[float]] = defaultdict(list)
    for row, weights in laid:
        whole = fsum(weights.values())
        for unit, weight in weights.items():
            parts[unit, row.kind].append(row.energy_j * (weight / whole))
    return {
        unit: Split(
            dynamic=fsum(parts.get((unit, "dynamic"), ())),
            static=fsum(parts.get((unit, "static"), ())),
        )
        for unit in dict.fromkeys(unit for unit, _ in parts)
    }


def check_sum(what: str, parts: Iterable[float], total: float) -> None:
    """Raise ValueError unless the parts add up to the total."""
    added = fsum(parts)
    if not isclose(added, total, rel_tol=SUM_TOLERANCE, abs_tol=1e-30):
        raise ValueError(f"{what} add up to {added!r}, the total is {total!r}")


def check_energy(
    rows: Sequence[EnergyRowModel],
    components: Mapping[str, float],
    layers: Mapping[str, Mapping[str, float]],
    shared: Mapping[str, float],
    units: Mapping[str, Split],
) -> None:
    """Check an energy account in every way that it can be added up.

    Parameters
    ----------
    rows
        Each must be its count times its cost.
    components
        Joules by component, and ``total``.
    layers, shared
        Joules by layer and component, and of what belongs to no layer.
    units
        Joules by unit of the chip; clock and leakage laid to the unit that has the registers and memories.

    Raises
    ------
    ValueError
        Names the sum that differs from its parts.
    """
    if "total" not in components:
        raise ValueError("energy_j must say its total")
    total = components["total"]
    for row in rows:
        if not isclose(row.count * row.cost_j, row.energy_j, rel_tol=SUM_TOLERANCE, abs_tol=1e-30):
            raise ValueError(
                f"energy row {row.component}, {row.event}: {row.count!r} x {row.cost_j!r} J is not {row.energy_j!r} J"
            )
    check_sum("energy_rows", (row.energy_j for row in rows), total)
    check_sum("energy_j: the components", (j for n, j in components.items() if n != "total"), total)
    names = {row.component for row in rows}
    if names != set(components) - {"total"}:
        raise ValueError("energy_j must have the components of energy_rows, and total")
    for name in sorted(names):
        own = (row.energy_j for row in rows if row.component == name)
        check_sum(f"energy_rows of {name}", own, components[name])
    parts = [joules for layer in layers.values() for joules in layer.values()]
    check_sum("energy_by_layer and energy_shared_j", [*parts, *shared.values()], total)
    check_sum("energy_by_unit_j", (unit.total for unit in units.values()), total)
    for kind in ("dynamic", "static"):
        check_sum(
            f"energy_by_unit_j, {kind}",
            (getattr(unit, kind) for unit in units.values()),
            fsum(row.energy_j for row in rows if row.kind == kind),
        )
