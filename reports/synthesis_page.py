"""The HTML pages of synthesis: the chip on an FPGA, and its area. One file each that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import fsum
from typing import Any

from .area import AreaResult, AreaRow
from .costs import STATUSES
from .page_parts import Column, PageTable, Row, Tile, render, style
from .units import count, share

__all__ = ["area_page", "fpga_page"]


def fpga_page(result: Mapping[str, Any], parts: Sequence[Mapping[str, Any]]) -> str:
    """Return the page of an FPGA run.

    Parameters
    ----------
    result
        What `hw.fpga_result.FpgaResult` holds, as plain data.
    parts
        Its critical path by component, as plain data.
    """
    fmax, target, problem = result["fmax_mhz"], result["target_mhz"], result["problem"]
    if problem:
        clock = Tile("clock", "none", problem)
    elif fmax is None:
        clock = Tile("clock", "unknown", "synthesised only, not placed and routed")
    else:
        verdict = "reaches" if fmax >= target else "misses"
        clock = Tile(
            "clock",
            f"{fmax:.1f} MHz",
            f"{verdict} the {target:g} MHz aimed for; best of {len(result['seeds'])} seeds",
        )
    what = ("cores", count(result["cores"])) if result["cores"] else ("engines", "learning")
    tiles = [
        Tile(*what, f"with host port, on {result['part']}"),
        clock,
        *(Tile(f"{item['name']}s", count(item["used"]), _of(item)) for item in result["resources"]),
    ]
    return render(
        "synthesis.html.j2",
        css=style(),
        title=f"{result['chip']} on {result['part']}",
        about="The chip's Verilog through open tools. Nothing ran on a board; pins are where the tool put them.",
        tiles=tiles,
        notes=[problem] if problem else [],
        tables=[
            table for table in (_components(result), _path(parts), _seeds(result)) if table.rows
        ],
        facts=[
            ("configuration", result["config_hash"]),
            ("Verilog", result["verilog_sha256"][:16]),
            ("tools", ", ".join(result["tools"])),
            ("options", result["options"]),
            ("synthesis took", f"{result['synthesis_s']:.0f} s"),
        ],
    )


def area_page(result: AreaResult) -> str:
    """Return the page of an area estimate."""
    core, router, chip = result.totals
    tiles = [
        Tile("area", f"{result.area_mm2:.2f} mm2", f"{result.cores} cores at {result.node_nm} nm, without pads"),
        Tile("a core", _mm2(core.each_mm2), f"memories {share(core.memory_mm2 / core.each_mm2)} of it"),
        Tile("a router", _mm2(router.each_mm2), "with its FIFOs"),
        Tile("once a chip", _mm2(chip.each_mm2), "what is neither core nor router"),
        Tile(
            "to observe it",
            share(result.observing_mm2 / result.area_mm2),
            "signatures and event counters, of the whole",
        ),
    ]  # fmt: skip
    return render(
        "synthesis.html.j2",
        css=style(),
        title=f"Area of {result.chip}",
        about=f"Gate equivalents from synthesis and memories, times a table of costs at {result.node_nm} nm.",
        tiles=tiles,
        notes=result.notes,
        tables=[_area_rows(result), _published(result)],
        facts=[("configuration", result.config_hash), *result.provenance.items()],
    )


def _components(result: Mapping[str, Any]) -> PageTable:
    names = [item["name"] for item in result["resources"]]
    rows = [
        Row((part["component"], *(count(part["uses"].get(name, 0)) for name in names)))
        for part in result["components"]
    ]
    sums = (sum(p["uses"].get(name, 0) for p in result["components"]) for name in names)
    return PageTable(
        "What uses it",
        (Column("component"), *(Column(f"{name}s", number=True) for name in names)),
        [*rows, Row(("all, after synthesis", *map(count, sums)), sum=True)],
        "All tiles together. LUTs with those of carry chains and small memories; at the seams between components some "
        "are counted on the other side. Placement adds or merges a few, so the summary above differs a little.",
    )


def _path(parts: Sequence[Mapping[str, Any]]) -> PageTable:
    rows = [
        Row(
            (
                part["component"],
                str(part["levels"]),
                f"{part['logic_ns']:.2f}",
                f"{part['routing_ns']:.2f}",
            )
        )
        for part in parts
    ]
    logic = fsum(part["logic_ns"] for part in parts)
    routing = fsum(part["routing_ns"] for part in parts)
    if rows:
        levels = sum(part["levels"] for part in parts)
        rows.append(Row(("all", str(levels), f"{logic:.2f}", f"{routing:.2f}"), sum=True))
    return PageTable(
        "The critical path",
        (Column("component"), *(Column(n, True) for n in ("levels", "logic, ns", "wires, ns"))),
        rows,
        f"From register to register, {logic + routing:.2f} ns, by the components that it passes in its order.",
    )


def _seeds(result: Mapping[str, Any]) -> PageTable:
    rows = [
        Row(
            (
                str(run["seed"]),
                "failed" if run["fmax_mhz"] is None else f"{run['fmax_mhz']:.1f}",
                f"{run['seconds']:.0f}",
            )
        )
        for run in result["seeds"]
    ]
    columns = (Column("seed"), Column("clock, MHz", number=True), Column("took, s", number=True))
    return PageTable("Runs of place and route", columns, rows)


def _area_rows(result: AreaResult) -> PageTable:
    sources = {
        source: number
        for number, source in enumerate(
            dict.fromkeys(s for row in result.rows for s in row.source.split(" | ")), 1
        )
    }
    lines: list[Row] = []
    for total in result.totals:
        here = (row for row in result.rows if row.place == total.place)
        lines.extend(Row(_area_cells(row, sources)) for row in here)
        name = {"core": "a core", "router": "a router", "chip": "once a chip"}[total.place]
        cells = ("", "", "", _mm2(total.each_mm2), str(total.count))
        area = f"{total.each_mm2 * total.count:.3f} mm2"
        lines.append(Row((name, *cells, area, "", ""), sum=True))
    by_status = {s: fsum(r.area_mm2 for r in result.rows if r.status == s) for s in STATUSES}
    statuses = ", ".join(f"{s} {share(v / result.area_mm2)}" for s, v in by_status.items() if v)
    lines.append(Row(("chip", "", "", "", "", "", f"{result.area_mm2:.3f} mm2", "", ""), sum=True))
    return PageTable(
        "Where each square millimetre comes from",
        (
            Column("component"), Column("part"), Column("what"), Column("quantity of one", number=True),
            Column("area of one", number=True), Column("of them", number=True), Column("area", number=True),
            Column("status"), Column("source"),
        ),
        lines,
        f"Of the area rest on figures that are: {statuses}. Sources:",
        list(sources),
    )  # fmt: skip


def _area_cells(row: AreaRow, sources: Mapping[str, int]) -> tuple[str, ...]:
    unit = "GE" if row.unit == "gate equivalents" else "bits"
    numbers = sorted({sources[source] for source in row.source.split(" | ")})
    return (
        row.component, row.part, row.what, f"{row.quantity:,.0f} {unit}", _mm2(row.each_mm2), str(row.count),
        f"{row.area_mm2:.3f} mm2", row.status, ", ".join(map(str, numbers)),
    )  # fmt: skip


def _published(result: AreaResult) -> PageTable:
    rows = [
        Row(
            (
                chip["name"],
                chip["shape"],
                f"{chip['area_mm2']:.2f} mm2",
                _mm2(chip["a_core_mm2"]),
                _mm2(chip["ours_a_core_mm2"]),
                f"{chip['its_sram_by_our_table_mm2']:.2f} mm2",
                chip["source"],
            )
        )
        for chip in result.published
    ]
    return PageTable(
        "Beside chips that exist",
        (
            Column("chip"), Column("shape"), Column("die", number=True), Column("die a core", number=True),
            Column("ours a core", number=True), Column("its SRAM by our table", number=True), Column("source"),
        ),
        rows,
        f"Our core holds {result.memory_bits_a_core / 8192:.1f} KiB in memories.",
    )  # fmt: skip


def _of(item: Mapping[str, Any]) -> str:
    if item["available"] is None:
        return "no device chosen"
    return f"{share(item['used'] / item['available'])} of {count(item['available'])}"


def _mm2(value: float) -> str:
    return f"{value:.4f} mm2"
