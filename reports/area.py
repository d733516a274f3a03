"""Area of a chip: gate equivalents and memories x costs = rows, which add up to core, router and chip."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import fsum, isclose
from typing import Any, Literal

from pydantic import Field, model_validator

from .area_costs import AreaCosts, PublishedChip
from .costs import Constant, CostError, CostTable, Status, worst_status
from .model import ReportModel

__all__ = ["AreaResult", "AreaRow", "Total", "estimate_area"]

PLACES = ("core", "router", "chip")
PUBLISHED_WORD_BYTES = 16  # of the memories of published chips, which say only how much they have
OBSERVING = ("signatures", "counters")  # what only verification and reports need
_SYNTHESIS = "generic synthesis of our Verilog by Yosys"

Place = Literal["core", "router", "chip"]


class AreaRow(ReportModel):
    """One row of the area account: a quantity x an area each, over a utilisation, so many times on the chip."""

    place: Place
    component: str
    part: Literal["logic", "memory"]
    what: str
    quantity: float = Field(ge=0, description="of one: gate equivalents, or bits")
    unit: Literal["gate equivalents", "bits"]
    each_mm2: float = Field(ge=0, description="of one, utilisation included")
    count: int = Field(ge=1, description="of them on the chip")
    area_mm2: float = Field(ge=0, description="of all")
    status: Status
    source: str = Field(description="of each figure in it, separated by ' | '")


class Total(ReportModel):
    """Logic and memory of a place: of one core, one router, or what the chip has once."""

    place: Place
    logic_mm2: float
    memory_mm2: float
    count: int

    @property
    def each_mm2(self) -> float:
        """Area of one."""
        return self.logic_mm2 + self.memory_mm2


class AreaResult(ReportModel):
    """The area of a chip by components: an estimate from synthesis, without pads, and no layout was made."""

    kind: Literal["area"] = "area"
    schema_version: Literal[1] = 1
    chip: str
    config_hash: str
    cores: int = Field(ge=0, description="0: learning engines alone")
    node_nm: int
    rows: list[AreaRow] = Field(min_length=1)
    totals: list[Total]
    area_mm2: float = Field(gt=0, description="of the chip, without pads")
    observing_mm2: float = Field(ge=0, description="of it signatures and event counters")
    memory_bits_a_core: int
    published: list[dict[str, Any]] = Field(description="chips to hold it against")
    notes: list[str]
    provenance: dict[str, str]

    @model_validator(mode="after")
    def _check(self) -> AreaResult:
        parts = fsum(row.area_mm2 for row in self.rows)
        totals = fsum(total.each_mm2 * total.count for total in self.totals)
        for name, value in (("rows", parts), ("totals", totals)):
            if not isclose(value, self.area_mm2, rel_tol=1e-9):
                raise ValueError(f"the {name} sum to {value} mm2, the chip to {self.area_mm2}")
        for row in self.rows:
            if not isclose(row.each_mm2 * row.count, row.area_mm2, rel_tol=1e-9, abs_tol=1e-15):
                raise ValueError(f"{row.component}, {row.part}: {row.count} times {row.each_mm2}")
        return self


def estimate_area(gates: Mapping[str, Any], costs: AreaCosts, memories: CostTable) -> AreaResult:
    """Return the area of the chip whose components ``gates`` lists: what `hw.gates.GatesResult` holds, as plain data.

    Raises
    ------
    CostError
        When the two tables are of different nodes.
    """
    if costs.node_nm != memories.node_nm:
        raise CostError(
            f"the area table is of {costs.node_nm} nm, that of the memories of {memories.node_nm} nm"
        )
    rows = [
        row
        for part in gates["components"]
        for row in (*_logic(part, gates, costs), *_memories(part, costs, memories))
    ]
    totals = [_total(place, rows) for place in PLACES]
    area = fsum(row.area_mm2 for row in rows)
    observing = fsum(row.area_mm2 for row in rows if row.component in OBSERVING)
    return AreaResult(
        chip=gates["chip"],
        config_hash=gates["config_hash"],
        cores=gates["cores"],
        node_nm=costs.node_nm,
        rows=rows,
        totals=totals,
        area_mm2=area,
        observing_mm2=observing,
        memory_bits_a_core=int(
            sum(row.quantity for row in rows if row.place == "core" and row.part == "memory")
        ),
        published=[
            _beside(chip, area, gates["cores"], costs, memories)
            for chip in costs.published
            if gates["cores"]
        ],
        notes=_notes(costs),
        provenance={
            "tools": ", ".join(gates["tools"]),
            "verilog": gates["verilog_sha256"][:16],
            "area table": f"{costs.name} {costs.table_hash}",
            "memory table": f"{memories.name} {memories.table_hash}",
        },
    )


def _logic(
    part: Mapping[str, Any], gates: Mapping[str, Any], costs: AreaCosts
) -> Iterable[AreaRow]:
    """Yield the row of a component's gates."""
    constants = costs.constants
    each = part["gate_equivalents"] * constants.nand2_um2.value * 1e-6
    each /= constants.logic_utilisation.value
    if part["gate_equivalents"]:
        yield AreaRow(
            place=part["place"],
            component=part["component"],
            part="logic",
            what=part["what"] + _flip_flops(part["flip_flops"]),
            quantity=part["gate_equivalents"],
            unit="gate equivalents",
            each_mm2=each,
            count=part["count"],
            area_mm2=each * part["count"],
            status=worst_status(constants.nand2_um2.status, constants.logic_utilisation.status),
            source=_sources(
                f"{gates.get('basis', _SYNTHESIS)}; {gates['cell_source']}",
                constants.nand2_um2.source,
                constants.logic_utilisation.source,
            ),
        )


def _flip_flops(number: int | None) -> str:
    """Return text that tells of them; nothing where they are unknown."""
    return "" if number is None else f"; {number:,} flip-flops"


def _memories(part: Mapping[str, Any], costs: AreaCosts, memories: CostTable) -> Iterable[AreaRow]:
    """Yield a row for each size of memory in a component."""
    constants = costs.constants
    for ram in part["rams"]:
        bits = ram["width"] * ram["depth"]
        size = bits / 8
        one_port = part["component"] == "synapse"
        used: list[Constant] = [constants.macro_utilisation]
        sources = [memories.sram.source]
        if size < constants.smallest_sram_bytes.value:
            used = [constants.latch_bit_gates, constants.nand2_um2, constants.logic_utilisation]
            sources = []
            each = bits * constants.latch_bit_gates.value * constants.nand2_um2.value * 1e-6
            each /= constants.logic_utilisation.value
            kind = "latches"
        else:
            ports = "1rw" if one_port else "1r1w"
            each = memories.sram.area_mm2(size, ram["width"] / 8, ports)
            each /= constants.macro_utilisation.value
            kind = f"SRAM, {'one port' if one_port else 'two ports'}"
        sources += [constant.source for constant in used]
        statuses: list[Status] = [constant.status for constant in used]
        each *= ram["count"]
        number = f"{ram['count']} of " if ram["count"] > 1 else ""
        yield AreaRow(
            place=part["place"],
            component=part["component"],
            part="memory",
            what=f"{number}{ram['depth']:,} x {ram['width']} bits; {kind}",
            quantity=bits * ram["count"],
            unit="bits",
            each_mm2=each,
            count=part["count"],
            area_mm2=each * part["count"],
            status=worst_status(*statuses),
            source=_sources(*sources),
        )


def _total(place: Place, rows: Iterable[AreaRow]) -> Total:
    """Return what one core, one router, or the rest of the chip takes."""
    here = [row for row in rows if row.place == place]
    return Total(
        place=place,
        logic_mm2=fsum(row.each_mm2 for row in here if row.part == "logic"),
        memory_mm2=fsum(row.each_mm2 for row in here if row.part == "memory"),
        count=max((row.count for row in here), default=1),
    )


def _beside(
    chip: PublishedChip, area: float, cores: int, costs: AreaCosts, memories: CostTable
) -> dict[str, Any]:
    """Return a published chip, and what our tables say of its memory."""
    macro = memories.sram.area_mm2(chip.sram_bytes_a_core, PUBLISHED_WORD_BYTES)
    macro /= costs.constants.macro_utilisation.value
    return chip.model_dump() | {
        "a_core_mm2": chip.area_mm2 / chip.cores,
        "ours_a_core_mm2": area / cores,
        "its_sram_by_our_table_mm2": macro * chip.cores,
    }


def _notes(costs: AreaCosts) -> list[str]:
    """Return what a reader must know."""
    c = costs.constants
    return [
        (
            "An estimate: synthesis, not layout. Clock tree, buffers and fillers are in the utilisation of "
            f"{c.logic_utilisation.value:.0%}, channels around macros in that of {c.macro_utilisation.value:.0%}; "
            "pads, PLL and test logic are not in it."
        ),
        "Synthesis knows no clock: at the speed of the fastest chips gates are larger.",
        "Memories are macros by CACTI, by size, word and ports; of two ports they have a second one in every cell.",
        "Yosys' generic gates have no cells for full adders, enables or resets: a library with them is denser.",
    ]


def _sources(*sources: str) -> str:
    return " | ".join(dict.fromkeys(source.replace(" | ", ", ") for source in sources))
