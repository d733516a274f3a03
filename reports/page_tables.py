"""Tables that the pages of both kinds of result have: energy, its sources, area, rooflines, provenance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from typing import Any

from .accounts import AreaSummary, EnergyRowModel, Split
from .costs import STATUSES
from .page_parts import PageTable, Row, columns
from .roofline import Roofline
from .units import count, share, si

__all__ = [
    "NAMES", "Bar", "area_bars", "area_table", "bars", "component_bars", "energy_table", "facts", "plain",
    "roofline_table", "status_shares", "weakest",
]  # fmt: skip

# What the components of the many-core and of the learning engines are called on the page.
NAMES = {
    "axon": "axon memory", "synapse": "weight memory", "dendrite": "multiply and add", "soma": "neuron updates",
    "sender": "sender", "router": "network on chip", "host": "host port", "clock": "clock", "leakage": "leakage",
    "leakage_unused": "leakage of unused cores", "forward": "forward engine", "backward": "backward engine",
    "update": "update engine", "vector": "vector unit", "dram": "DRAM",
}  # fmt: skip


@dataclass(frozen=True)
class Bar:
    """One bar: its parts in percent of the longest bar, dynamic (or all) first."""

    name: str
    value: str
    share: str
    width: float
    static_width: float = 0.0


def bars(parts: Mapping[str, Split | float], unit: str, total: float) -> list[Bar]:
    """Return a bar for each part, largest first; ``unit`` is J, W or mm2."""
    sizes = {
        name: (value.total if isinstance(value, Split) else value) for name, value in parts.items()
    }
    top = max(sizes.values(), default=0.0)
    made: list[Bar] = []
    for name, size in sorted(sizes.items(), key=lambda item: -item[1]):
        value = parts[name]
        still = value.static if isinstance(value, Split) else 0.0
        made.append(
            Bar(
                _name(name),
                _mm2(size) if unit == "mm2" else si(size, unit),
                share(size / total) if total else "-",
                100 * (size - still) / top if top else 0.0,
                100 * still / top if top else 0.0,
            )
        )
    return made


def component_bars(rows: Sequence[EnergyRowModel], total: float, per: float = 1.0) -> list[Bar]:
    """Return the components of an energy account, each split into dynamic and static; joules over ``per``."""
    parts = {
        name: Split(
            dynamic=fsum(r.energy_j for r in rows if r.component == name and r.kind == "dynamic")
            / per,
            static=fsum(r.energy_j for r in rows if r.component == name and r.kind == "static")
            / per,
        )
        for name in dict.fromkeys(row.component for row in rows)
    }
    return bars(parts, "J", total / per)


def energy_table(rows: Sequence[EnergyRowModel], total: float, of: str) -> PageTable:
    """Return where each joule comes from; ``of`` says what it is counted over: a sample, the run."""
    happened = [row for row in rows if row.count]
    numbers = _numbered(row.source for row in happened)
    lines = [
        Row(
            (
                _name(row.component), row.event, row.kind,
                si(row.count, "s") if row.event.endswith("seconds") else count(row.count),
                si(row.cost_j, "W" if row.event.endswith("seconds") else "J"), si(row.energy_j, "J"), row.status,
                _numbers(row.source, numbers), row.unit,
            )
        )
        for row in happened
    ]  # fmt: skip
    lines.append(Row(("total", "", "", "", "", si(total, "J"), "", "", ""), sum=True))
    none = len(rows) - len(happened)
    left_out = (
        f"{none} of {len(rows)} kinds of events did not happen and are left out. " if none else ""
    )
    return PageTable(
        "Where each joule comes from",
        columns(
            "component", "event", "kind", f">count {of}", ">cost each", f">energy {of}", "status", "source",
            "one of them is",
        ),
        lines,
        f"{left_out}dynamic: what switches, with events and clock; static: what time alone costs. measured: by the "
        "tool or publication named, as it stands; derived: by a rule from such a figure; assumed: at least one figure "
        "in it is reasoned. Sources:",
        list(numbers),
    )  # fmt: skip


def status_shares(values: Sequence[tuple[str, float]]) -> list[tuple[str, str]]:
    """Return how much of a total rests on measured, derived and assumed figures, from (status, value) of its rows."""
    total = fsum(value for _, value in values)
    sums = {s: fsum(value for status, value in values if status == s) for s in STATUSES}
    return [(name, share(value / total) if total else "-") for name, value in sums.items()]


def weakest(statuses: Sequence[str]) -> str:
    """Return the weakest status among rows: what a sum of them rests on."""
    return max(statuses, key=STATUSES.index) if statuses else ""


def area_bars(area: AreaSummary) -> list[Bar]:
    """Return the components of the chip's area."""
    return bars(area.by_component, "mm2", area.area_mm2)


def area_table(area: AreaSummary) -> PageTable:
    """Return where each square millimetre comes from."""
    numbers = _numbered(row.source for row in area.rows)
    lines = [
        Row(
            (
                {"core": "each core", "router": "each router", "chip": "once"}[row.place],
                _name(row.component), row.part, row.what, count(row.count),
                _mm2(row.each_mm2), _mm2(row.area_mm2), row.status, _numbers(row.source, numbers),
            )
        )
        for row in area.rows
    ]  # fmt: skip
    lines.append(Row(("chip", "", "", "", "", "", _mm2(area.area_mm2), "", ""), sum=True))
    return PageTable(
        "Where each square millimetre comes from",
        columns("where", "component", "part", "what", ">of them", ">area of one", ">area", "status", "source"),
        lines,
        "Without pads; no layout was made. Sources:",
        list(numbers),
    )  # fmt: skip


def roofline_table(roofline: Roofline) -> PageTable:
    """Return a roofline as numbers: what was reached, what is the lowest ceiling, and how much of it that is."""
    lines: list[Row] = []
    for point in roofline.points:
        ceiling, name = roofline.attainable(point)
        busy = point.while_busy
        lines.append(
            Row(
                (
                    f"{point.number} {point.name}" if point.number else point.name,
                    "no traffic" if point.intensity is None else count(point.intensity),
                    si(point.rate, "/s"),
                    "" if busy is None else si(busy, "/s"),
                    si(ceiling, "/s"),
                    name,
                    share(point.rate / ceiling),
                    "" if busy is None else share(busy / ceiling),
                )
            )
        )
    return PageTable(
        roofline.title,
        columns(
            "point", f">{roofline.operation}s a {roofline.traffic}", f">{roofline.operation}s a second",
            ">while it works",
            ">lowest ceiling", "which is", ">of it", ">while it works",
        ),
        lines,
    )  # fmt: skip


def facts(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return names and values of provenance, recipe and the like as text."""
    return [(name.replace("_", " "), plain(value)) for name, value in values.items()]


def plain(value: Any) -> str:
    """Return any value of a result as text: what is missing is unknown, not zero."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list | tuple):
        return ", ".join(plain(item) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {plain(item)}" for key, item in value.items())
    return "unknown" if value is None else str(value)


def _numbered(sources: Any) -> dict[str, int]:
    """Return the sources, split, with the numbers by which a table names them."""
    parts = dict.fromkeys(part for source in sources for part in source.split(" | "))
    return {source: number for number, source in enumerate(parts, 1)}


def _numbers(source: str, numbers: Mapping[str, int]) -> str:
    return ", ".join(map(str, sorted({numbers[part] for part in source.split(" | ")})))


def _name(component: str) -> str:
    return NAMES.get(component, component.replace("_", " "))


def _mm2(area: float) -> str:
    return f"{area:.3g}\u00a0mm²" if area >= 0.1 else f"{area * 1e6:,.0f}\u00a0µm²"
