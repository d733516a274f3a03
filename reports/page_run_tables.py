"""The tables and the summary of a many-core run's page, as text ready to print."""

from __future__ import annotations

from math import fsum
from typing import Any

from .mesh_map import layer_colour
from .page_parts import PageTable, Row, Tile, columns
from .page_tables import NAMES, plain, weakest
from .result import RunResult
from .units import count, interval, share, si

__all__ = ["layer_energy_table", "layer_lines", "neurobench_table", "placement_lines", "tiles"]

# Notes of a layer that say what quantisation lost: name, heading of the column, whether it is a share.
_LOSSES = (
    ("weight_bits", "weight bits", False),
    ("weight_error", "weight error", True),
    ("decay_error", "decay error", False),
    ("membrane_error", "membrane error", True),
    ("output_mismatch", "outputs that differ", True),
    ("clipped_inputs", "inputs clipped", True),
)
_COUNTED = "counted"


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
            f"of {result.samples:,} samples; 95\u00a0% interval {low:.1f} to {high:.1f}\u00a0%",
            _COUNTED,
        )
    synop = result.pj_per_synop
    estimate = weakest([row.status for row in result.energy_rows])
    power = result.power_w
    made = [
        accuracy,
        Tile(
            "latency",
            si(latency.median, "s"),
            f"median; {si(latency.min, 's')} to {si(latency.max, 's')}; {count(cycles.median)} cycles at "
            f"{si(result.clock_hz, 'Hz')}",
            _COUNTED,
        ),
        Tile(
            "throughput", f"{count(result.throughput_per_s)} /s", "samples, one after the other", _COUNTED
        ),
        Tile(
            "energy",
            si(result.energy_j["total"], "J"),
            f"a sample; {si(fsum(r.energy_j for r in result.energy_rows if r.kind == 'static'), 'J')} of it static",
            estimate,
        ),
        Tile(
            "power",
            si(power.total, "W"),
            f"average; {si(power.dynamic, 'W')} dynamic, {si(power.static, 'W')} static",
            estimate,
        ),
        Tile(
            "energy a synaptic operation",
            "unknown" if synop is None else si(synop * 1e-12, "J"),
            "no synaptic operations"
            if synop is None
            else f"all energy; {si(_events_j(result) * result.samples / result.synops, 'J')} without "
            "leakage and clock",
            "" if synop is None else estimate,
        ),
        Tile(
            "synaptic operations",
            count(result.synops / result.samples),
            f"a sample; {count(result.packets / result.samples)} packets, "
            f"{count(result.hops / result.samples)} hops",
            _COUNTED,
        ),
    ]  # fmt: skip
    area = result.area
    made.append(
        Tile("area", "unknown", "see the notes")
        if area is None
        else Tile(
            "area",
            f"{area.area_mm2:.3g} mm²",
            f"{area.cores} cores at {area.node_nm} nm, without pads",
            weakest([row.status for row in area.rows]),
        )
    )
    return made


def _events_j(result: RunResult) -> float:
    """Return the joules a sample of what was done, without those of time passing."""
    passing = ("total", "leakage", "leakage_unused", "clock")
    return fsum(value for name, value in result.energy_j.items() if name not in passing)


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
                "others": "; ".join(f"{key}: {plain(value)}" for key, value in others.items()),
            }
        )
    total = result.energy_j["total"]
    return {
        "headings": [heading for _, heading, _ in there],
        "rows": rows,
        "shared": si(fsum(result.energy_shared_j.values()), "J"),
        "shared_what": ", ".join(NAMES.get(name, name) for name in result.energy_shared_j),
        "total": si(total, "J"),
        "others": any(row["others"] for row in rows),
    }


def layer_energy_table(result: RunResult) -> PageTable:
    """Return the energy of each layer by component, joules a sample, with what the whole chip shares."""
    total = result.energy_j["total"]
    names = [n for n in result.energy_j if any(n in of for of in result.energy_by_layer.values())]
    lines = [
        Row(
            (
                layer,
                *(si(of[name], "J") if name in of else "" for name in names),
                si(fsum(of.values()), "J"),
                share(fsum(of.values()) / total) if total else "-",
            )
        )
        for layer, of in result.energy_by_layer.items()
    ]
    for name, joules in result.energy_shared_j.items():
        cells = (f"shared: {NAMES.get(name, name)}", *("" for _ in names), si(joules, "J"))
        lines.append(Row((*cells, share(joules / total) if total else "-")))
    sums = (si(result.energy_j[name], "J") for name in names)
    lines.append(Row(("total", *sums, si(total, "J"), "100 %"), sum=True))
    return PageTable(
        "Energy of each layer",
        columns("layer", *(f">{NAMES.get(name, name)}" for name in names), ">all", ">share"),
        lines,
        "Joules a sample. A layer has what happened in its cores, and the leakage of their memories.",
    )


def placement_lines(result: RunResult) -> list[tuple[str, str]]:
    """Return what the placer reached, one figure a row."""
    unit = str(result.placement.get("unit", ""))
    lines: list[tuple[str, str]] = []
    for name, value in result.placement.items():
        if name.endswith("_percent"):
            lines.append((name.removesuffix("_percent"), f"{plain(value)} %"))
        elif name.endswith("_cost") and unit:
            lines.append((name, f"{plain(value)} {unit}"))
        elif name != "unit":
            lines.append((name, plain(value)))
    return [(name.replace("_", " "), text) for name, text in lines]


def _loss(value: Any, is_share: bool) -> str:
    if value is None:
        return "unknown"
    if is_share and isinstance(value, int | float):
        return share(value)
    return plain(value)


def neurobench_table(result: RunResult) -> PageTable | None:
    """Return NeuroBench's metrics, None where the result has none."""
    found = result.neurobench
    if found is None:
        return None
    fields = found.model_dump()
    operations: dict[str, Any] = fields["synaptic_operations"]

    def part(value: float | None) -> str:
        return "unknown" if value is None else share(value)

    def number(value: float | None, unit: str) -> str:
        return "unknown" if value is None else f"{count(value)} {unit}"

    lines = [
        ("footprint", number(fields["footprint_bytes"], "bytes"), number(fields["chip_footprint_bytes"], "bytes")),
        ("connection sparsity", part(fields["connection_sparsity"]), part(fields["chip_connection_sparsity"])),
        ("activation sparsity", part(fields["activation_sparsity"]), ""),
        ("synaptic operations if dense", number(operations["dense"], "a sample"), ""),
        ("effective multiply-accumulates", number(operations["effective_macs"], "a sample"), ""),
        ("effective accumulates", number(operations["effective_acs"], "a sample"), ""),
        (
            "both together", number(operations["effective_macs"] + operations["effective_acs"], "a sample"),
            number(fields["chip_synops"], "a sample"),
        ),
    ]  # fmt: skip
    notes = " ".join(note if note.endswith(".") else f"{note}." for note in fields["notes"])
    return PageTable(
        "NeuroBench",
        columns("metric", ">as its harness defines it", ">as the chip counts it"),
        [Row(line) for line in lines],
        f"The chip's synaptic operations count weights that are zero. {notes}",
    )
