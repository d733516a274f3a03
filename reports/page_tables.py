"""The rows of the page's tables and bars, as text ready to print."""

from __future__ import annotations

from dataclasses import dataclass
from math import fsum
from typing import Any

from .costs import STATUSES
from .mesh_map import layer_colour
from .result import RunResult
from .units import count, interval, share, si

_BINS = 30

# Notes of a layer that say what quantisation lost: name, heading of the column, whether it is a share.
_LOSSES = (
    ("weight_bits", "weight bits", False),
    ("weight_error", "weight error", True),
    ("decay_error", "decay error", False),
    ("membrane_error", "membrane error", True),
    ("output_mismatch", "outputs that differ", True),
    ("clipped_inputs", "inputs clipped", True),
)

_COMPONENT_NAMES = {
    "axon": "axon memory", "synapse": "weight memory", "dendrite": "multiply and add", "soma": "neuron updates",
    "sender": "sender", "router": "network on chip", "host": "host port", "clock": "clock", "leakage": "leakage",
    "leakage_unused": "leakage of unused cores",
}  # fmt: skip


@dataclass(frozen=True)
class Tile:
    """One figure of the summary."""

    name: str
    value: str
    detail: str


def tiles(result: RunResult) -> list[Tile]:
    """Return the figures that come first."""
    latency, cycles = result.latency_s, result.cycles_per_sample
    if result.accuracy is None:
        accuracy = Tile("accuracy", "unknown", "the data has no labels")
    else:
        low, high = (100 * bound for bound in interval(result.accuracy, result.samples))
        accuracy = Tile(
            "accuracy",
            share(result.accuracy),
            f"of {result.samples:,} samples; 95 % interval {low:.1f} to {high:.1f} %",
        )
    synop = result.pj_per_synop
    return [
        accuracy,
        Tile(
            "latency",
            si(latency.median, "s"),
            f"median; {si(latency.min, 's')} to {si(latency.max, 's')}; {count(cycles.median)} cycles at "
            f"{si(result.clock_hz, 'Hz')}",
        ),
        Tile("throughput", f"{count(result.throughput_per_s)} /s", "samples, one after the other"),
        Tile(
            "energy",
            si(result.energy_j["total"], "J"),
            f"a sample, by the cost table; {si(result.average_power_w, 'W')} on average",
        ),
        Tile(
            "energy a synaptic operation",
            "unknown" if synop is None else si(synop * 1e-12, "J"),
            "no synaptic operations"
            if synop is None
            else f"all energy; {si(_events_j(result) * result.samples / result.synops, 'J')} without "
            "leakage and clock",
        ),
        Tile(
            "synaptic operations",
            count(result.synops / result.samples),
            f"a sample; {count(result.packets / result.samples)} packets, "
            f"{count(result.hops / result.samples)} hops",
        ),
    ]


def _events_j(result: RunResult) -> float:
    """Return the joules a sample of what was done, without those of time passing."""
    passing = ("total", "leakage", "leakage_unused", "clock")
    return fsum(value for name, value in result.energy_j.items() if name not in passing)


def cycle_bins(result: RunResult) -> list[dict[str, Any]]:
    """Return the histogram of cycles a sample, empty if they were not kept or are all the same."""
    cycles = result.sample_cycles or []
    low, high = min(cycles, default=0), max(cycles, default=0)
    if low == high:
        return []
    bins = min(_BINS, high - low + 1)
    counts = [0] * bins
    for value in cycles:
        counts[min((value - low) * bins // (high - low), bins - 1)] += 1
    edges = [low + i * (high - low) / bins for i in range(bins + 1)]
    top = max(counts)
    return [
        {
            "left": 600 * i / bins,
            "width": 600 / bins - 1,
            "height": 120 * number / top,
            "count": number,
            "low": f"{edges[i]:,.0f}",
            "high": f"{edges[i + 1]:,.0f}",
        }
        for i, number in enumerate(counts)
    ]


def component_bars(result: RunResult) -> list[dict[str, Any]]:
    """Return the components with their share of the energy, largest first."""
    parts = {name: value for name, value in result.energy_j.items() if name != "total"}
    total, top = result.energy_j["total"], max(parts.values())
    return [
        {
            "name": _COMPONENT_NAMES.get(name, name),
            "energy": si(value, "J"),
            "share": share(value / total) if total else "-",
            "width": 100 * value / top if top else 0.0,
        }
        for name, value in sorted(parts.items(), key=lambda item: -item[1])
    ]


def source_numbers(result: RunResult) -> dict[str, int]:
    """Return the sources of the rows with the numbers by which the table names them."""
    sources = dict.fromkeys(part for row in result.energy_rows for part in row.source.split(" | "))
    return {source: number for number, source in enumerate(sources, 1)}


def energy_lines(result: RunResult) -> list[dict[str, Any]]:
    """Return the rows of the energy account."""
    numbers = source_numbers(result)
    return [
        {
            "component": _COMPONENT_NAMES.get(row.component, row.component),
            "event": row.event,
            "unit": row.unit,
            "count": si(row.count, "s") if row.event == "seconds" else count(row.count),
            "cost": si(row.cost_j, "W" if row.event == "seconds" else "J"),
            "energy": si(row.energy_j, "J"),
            "source": ", ".join(map(str, sorted({numbers[s] for s in row.source.split(" | ")}))),
            "status": row.status,
        }
        for row in result.energy_rows
    ]


def status_shares(result: RunResult) -> list[tuple[str, str]]:
    """Return how much of the energy rests on measured, derived and assumed figures."""
    total = result.energy_j["total"]
    sums = {s: fsum(r.energy_j for r in result.energy_rows if r.status == s) for s in STATUSES}
    return [(name, share(value / total) if total else "-") for name, value in sums.items()]


def layer_lines(result: RunResult) -> dict[str, Any]:
    """Return the table of layers: headings of the losses, rows, and what the whole chip shares."""
    there = [loss for loss in _LOSSES if any(loss[0] in layer.notes for layer in result.layers)]
    known = {name for name, _, _ in _LOSSES}
    rows: list[dict[str, Any]] = []
    for number, layer in enumerate(result.layers, 1):
        others = {k: v for k, v in layer.notes.items() if k not in known}
        rows.append(
            {
                "number": number,
                "colour": layer_colour(number),
                "layer": layer,
                "shape": " x ".join(map(str, layer.shape)) or "1",
                "spikes": count(layer.spikes / result.samples),
                "synops": count(layer.synops / result.samples),
                "energy": si(layer.energy_j, "J"),
                "losses": [_loss(layer.notes.get(name), is_share) for name, _, is_share in there],
                "others": "; ".join(f"{key}: {_plain(value)}" for key, value in others.items()),
            }
        )
    total = result.energy_j["total"]
    rest = total - fsum(layer.energy_j for layer in result.layers)
    return {
        "headings": [heading for _, heading, _ in there],
        "rows": rows,
        "shared": si(max(rest, 0.0), "J"),
        "total": si(total, "J"),
        "others": any(row["others"] for row in rows),
    }


def placement_lines(result: RunResult) -> list[tuple[str, str]]:
    """Return what the placer reached, one figure a row."""
    unit = str(result.placement.get("unit", ""))
    lines: list[tuple[str, str]] = []
    for name, value in result.placement.items():
        if name.endswith("_percent"):
            lines.append((name.removesuffix("_percent"), f"{_plain(value)} %"))
        elif name.endswith("_cost") and unit:
            lines.append((name, f"{_plain(value)} {unit}"))
        elif name != "unit":
            lines.append((name, _plain(value)))
    return [(name.replace("_", " "), text) for name, text in lines]


def _loss(value: Any, is_share: bool) -> str:
    if value is None:
        return "not measured"
    if is_share and isinstance(value, int | float):
        return share(value)
    return _plain(value)


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list | tuple):
        return ", ".join(_plain(item) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(item)}" for key, item in value.items())
    return "unknown" if value is None else str(value)
