"""`fpga` and `area`: the chip's Verilog through synthesis, as figures of an FPGA and of silicon."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

from .chip.config import ChipConfig, ConfigError
from .chip.learn_carried import check_carried
from .compiling import resolve_chip
from .errors import InputError
from .hw.fpga import PARTS, place_and_route
from .hw.fpga_result import FpgaResult
from .hw.gates import count_gates
from .reports.accounts import AreaSummary
from .reports.area import AreaResult, estimate_area
from .reports.area_summary import area_summary, summary_of_learn, summary_of_synthesis
from .reports.costs import Status, tables_of, worst_status
from .reports.floor_plan import floor_plan_svg
from .reports.learn_area import LearnAreaResult, estimate_learn_area, load_learn_tables
from .reports.result import write_whole
from .reports.synthesis_page import area_page, fpga_page

__all__ = [
    "PARTS", "area", "area_rows", "fpga", "fpga_rows", "quick_area", "save_area", "save_fpga",
]  # fmt: skip

Rows = tuple[tuple[str, ...], ...]


def fpga(
    chip: str | Path | ChipConfig,
    *,
    part: str = "85k",
    seeds: Sequence[int] = (1,),
    freq_mhz: float | None = None,
    progress: Callable[[str], None] | None = None,
) -> FpgaResult:
    """Synthesise a chip for an FPGA; for a Lattice ECP5 also place and route it, with each seed.

    Parameters
    ----------
    chip
        A preset's name, a YAML file, or a configuration.
    part
        ``25k``, ``45k`` or ``85k``: Lattice ECP5; ``xc7``: AMD 7 series, synthesis only.
    seeds
        Of the placer; the result is that of the fastest.
    freq_mhz
        The clock to aim for; by default the chip's.
    progress
        Called with what is being done.

    Returns
    -------
    FpgaResult
        ``ok`` is false where the design does not fit (``problem``) or misses the clock.

    Raises
    ------
    ToolError, ConfigError, ValueError
        Sentences: a tool is missing, the configuration or an option is wrong.
    """
    return place_and_route(
        resolve_chip(chip), part, seeds=seeds, freq_mhz=freq_mhz, progress=progress
    )


def area(
    chip: str | Path | ChipConfig,
    *,
    costs: str | Path | None = None,
    cache: Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> AreaResult | LearnAreaResult:
    """Estimate a chip's area: gate equivalents of its components and its memories, times a table of costs.

    The first time a chip is asked for it is synthesised, which takes minutes; ``cache`` is where that is kept, by
    default the user's cache folder. Learning engines are counted unit by unit, and synthesised beside that if the RTL
    carries them. Of a chip with both halves everything is synthesised, and nothing counted. ``costs`` is a table of
    one's own over ours of the chip's node: docs/costs.md.

    Raises
    ------
    ToolError, CostError, ConfigError
        Sentences: Yosys is missing, there is no table for the chip's node, the configuration is wrong.
    """
    config = resolve_chip(chip)
    tables = load_learn_tables(tables_of(config, costs))
    if config.many_core_half is None:
        if not _is_carried(config):
            return estimate_learn_area(config, tables)
        gates = count_gates(config, cache=cache, progress=progress)
        return estimate_learn_area(config, tables, gates=gates.model_dump())
    gates = count_gates(config, cache=cache, progress=progress)
    return estimate_area(gates.model_dump(), tables.area, tables.many_core)


def quick_area(chip: str | Path | ChipConfig, *, costs: str | Path | None = None) -> AreaSummary:
    """Estimate a chip's area at once, without a synthesis tool: as a result of `run` or `train` tells it.

    Raises
    ------
    InputError, ConfigError, CostError
        Sentences: there is no table for the chip's node, the configuration is wrong.
    """
    config = resolve_chip(chip)
    tables = None if costs is None else load_learn_tables(tables_of(config, costs))
    summary, notes = area_summary(config, tables)
    if summary is None:
        raise InputError(" ".join(notes))
    return summary


def _is_carried(config: ChipConfig) -> bool:
    """Return whether the RTL carries the learning engines of a chip."""
    try:
        check_carried(config)
    except ConfigError:
        return False
    return True


def save_fpga(
    result: FpgaResult, *, out: Path | None = None, page: Path | None = None
) -> tuple[Path, ...]:
    """Write a result as JSON and as a page; return the files."""
    parts = [part.model_dump() for part in result.path_parts]
    return _save(result, out, page, lambda: fpga_page(result.model_dump(), parts))


def save_area(
    result: AreaResult | LearnAreaResult | AreaSummary,
    *,
    out: Path | None = None,
    page: Path | None = None,
    plot: Path | None = None,
) -> tuple[Path, ...]:
    """Write a result as JSON, as a page, and as a floor plan (SVG); return the files.

    Raises
    ------
    InputError
        For a page of what was not synthesised as a whole chip.
    """
    if page is not None and not isinstance(result, AreaResult):
        raise InputError(
            "the page of an area tells of a chip that was synthesised as a whole; "
            "write this one as JSON (--out) or as a floor plan (--plot)"
        )
    written = _save(result, out, page, lambda: area_page(cast(AreaResult, result)))
    if plot is None:
        return written
    if isinstance(result, AreaResult):
        summary = summary_of_synthesis(result)
    else:
        summary = summary_of_learn(result) if isinstance(result, LearnAreaResult) else result
    write_whole(plot, floor_plan_svg(summary))
    return (*written, plot)


def fpga_rows(result: FpgaResult) -> dict[str, Rows]:
    """Return the tables of a result by title, the first row naming the columns."""
    clock = "not placed and routed" if result.fmax_mhz is None else f"{result.fmax_mhz:.1f} MHz"
    summary = [
        ("what", "value"),
        ("part", result.part),
        ("clock", f"{clock}, {result.target_mhz:g} MHz asked for"),
    ]
    for item in result.resources:
        of = "" if item.available is None else f" of {item.available:,}"
        share = "" if not item.available else f", {item.used / item.available:.0%}"
        summary.append((f"{item.name}s", f"{item.used:,}{of}{share}"))
    if result.problem is not None:
        summary.append(("problem", result.problem))
    names = [item.name for item in result.resources]
    tables: dict[str, Rows] = {
        "FPGA": tuple(summary),
        "by component, after synthesis": (
            ("component", *(f"{name}s" for name in names)),
            *(
                (part.component, *(f"{part.uses.get(name, 0):,}" for name in names))
                for part in result.components
            ),
        ),
    }
    if result.path:
        tables["critical path"] = (
            ("component", "levels", "logic, ns", "wires, ns"),
            *(
                (p.component, str(p.levels), f"{p.logic_ns:.2f}", f"{p.routing_ns:.2f}")
                for p in result.path_parts
            ),
        )
    return tables


def area_rows(result: AreaResult | LearnAreaResult | AreaSummary) -> dict[str, Rows]:
    """Return the tables of a result by title, the first row naming the columns."""
    if isinstance(result, AreaSummary):
        return _summary_rows(result)
    if isinstance(result, LearnAreaResult):
        return _learn_area_rows(result)
    rows = [
        (
            row.component,
            "logic" if row.part == "logic" else row.what,
            f"{row.quantity:,.0f} {row.unit}",
            f"{row.each_mm2:.5f}",
            str(row.count),
            f"{row.area_mm2:.3f}",
            row.status,
        )
        for row in result.rows
    ]
    names = {"core": "a core", "router": "a router", "chip": "once a chip"}
    sums = [
        (names[t.place], f"{t.logic_mm2:.4f}", f"{t.memory_mm2:.4f}", f"{t.each_mm2:.4f}", str(t.count))
        for t in result.totals
    ]  # fmt: skip
    observed = result.observing_mm2 / result.area_mm2
    return {
        f"area at {result.node_nm} nm, mm2": (
            ("component", "part", "of one", "mm2 of one", "of them", "mm2", "status"),
            *rows,
        ),
        "sums, mm2": (
            ("of", "logic", "memory", "both", "of them"),
            *sums,
            ("the chip", "", "", f"{result.area_mm2:.3f}", ""),
            ("of it signatures and counters", "", "", f"{observed:.1%}", ""),
            *((f"published: {c['name']}, {c['shape']}", "", "", f"{c['area_mm2']:.2f}", "") for c in result.published),
        ),
    }  # fmt: skip


def _summary_rows(result: AreaSummary) -> dict[str, Rows]:
    rows = [
        (r.place, r.component, r.part, r.what, f"{r.count:,.0f}", f"{r.area_mm2:.4f}", r.status)
        for r in result.rows
    ]
    sums = [(name, f"{mm2:.3f}") for name, mm2 in result.by_component.items()]
    return {
        f"area at {result.node_nm} nm, mm2": (
            ("of", "component", "part", "what", "of them", "mm2", "status"), *rows,
        ),
        "sums": (("of", "mm2"), *sums, ("the chip", f"{result.area_mm2:.3f}")),
        "notes": (("note",), *((note,) for note in result.notes)),
    }  # fmt: skip


def _learn_area_rows(result: LearnAreaResult) -> dict[str, Rows]:
    rows = [
        (
            r.component,
            r.part,
            r.what,
            f"{r.count:,.0f}",
            f"{r.each_mm2 * 1e6:,.1f}",
            f"{r.area_mm2:.3f}",
            r.status,
        )
        for r in result.rows
    ]
    sums = [(name, f"{area:.3f}") for name, area in result.by_component.items()]
    published = [(f"published: {die.name}", f"{die.area_mm2:.1f}") for die in result.published]
    tables: dict[str, Rows] = {
        f"area at {result.node_nm} nm": (
            ("component", "part", "what", "of them", "um2 of one", "mm2", "status"),
            *rows,
        ),
        "sums": (("of", "mm2"), *sums, ("the chip", f"{result.area_mm2:.3f}"), *published),
    }
    if result.synthesised is None:
        return tables
    beside = [
        (
            part.component,
            f"{part.estimate_logic_mm2:.4f}",
            f"{part.logic_mm2:.4f}",
            f"{part.gate_equivalents:,.0f}",
            f"{part.estimate_memory_mm2:.4f}",
            f"{part.memory_mm2:.4f}",
        )
        for part in result.beside
    ]
    statuses: list[Status] = [row.status for row in result.synthesised.rows]
    status = worst_status(*statuses)
    tables[f"the estimate beside synthesis of the RTL ({status}), mm2"] = (
        ("component", "logic, estimate", "synthesised", "gate equivalents", "memory, estimate", "synthesised"),
        *beside,
    )  # fmt: skip
    tables["synthesised"] = (
        ("component", "part", "of one", "mm2", "status"),
        *(
            (
                row.component,
                "logic" if row.part == "logic" else row.what,
                f"{row.quantity:,.0f} {row.unit}",
                f"{row.area_mm2:.4f}",
                row.status,
            )
            for row in result.synthesised.rows
        ),
    )
    return tables


def _save(
    result: Any, out: Path | None, page: Path | None, render: Callable[[], str]
) -> tuple[Path, ...]:
    """Write what is wanted."""
    if out is not None:
        write_whole(out, result.model_dump_json(indent=1))
    if page is not None:
        write_whole(page, render())
    return tuple(path for path in (out, page) if path is not None)
