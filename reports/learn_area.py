"""Area of the learning engines: units and memories of each, by their sizes, x costs = rows that add up to the chip."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import ceil, fsum, isclose
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from ..chip.config import ChipConfig
from ..chip.learn_command import COMMAND_WORDS, COMMANDS, WORD_BITS
from ..chip.learn_config import LookupConfig
from ..chip.learn_microcode import REGISTERS
from ..chip.learn_program import Queue
from .area import AreaResult, estimate_area
from .area_costs import AreaCosts, load_area_costs
from .costs import Constant, CostError, CostTable, Status, load_costs, worst_status
from .learn_costs import LearnCosts, PublishedDie, load_learn_costs
from .model import ReportModel

__all__ = [
    "LearnAreaResult",
    "LearnAreaRow",
    "LearnTables",
    "SynthesisedPart",
    "estimate_learn_area",
    "load_learn_tables",
]

VECTOR_PORTS = 3  # of a lane's registers: reads of an instruction, each of a copy
VECTOR_MACRO_LANES = 16  # whose registers share a macro
POSITION_BITS = 83  # of a position in a backward row: phase, coordinates, rows of its gradients, masks and results
TILES = (
    3  # whose positions a backward row holds: the next one's, the current one's, the previous one's
)

Component = Literal[
    "forward", "backward", "update", "vector", "buffers", "dram interface", "control"
]
COMPONENTS: tuple[Component, ...] = (
    "forward", "backward", "update", "vector", "buffers", "dram interface", "control",
)  # fmt: skip


class LearnTables(ReportModel):
    """The three cost tables that area and energy of the learning engines read, of one node."""

    learn: LearnCosts
    area: AreaCosts
    many_core: CostTable

    @model_validator(mode="after")
    def _check(self) -> LearnTables:
        nodes = {table.name: table.node_nm for table in (self.learn, self.area, self.many_core)}
        if len(set(nodes.values())) != 1:
            raise ValueError(f"cost tables must be of one node, not {nodes}")
        return self


def load_learn_tables(node_nm_or_path: int | str | Path) -> LearnTables:
    """Return the tables of a node, or a user's over them (docs/costs.md); CostError if they cannot be had."""
    return LearnTables(
        learn=load_learn_costs(node_nm_or_path),
        area=load_area_costs(node_nm_or_path),
        many_core=load_costs(node_nm_or_path),
    )


class LearnAreaRow(ReportModel):
    """One row of the area account: so many units of an area each, utilisation included."""

    component: Component
    part: Literal["logic", "memory", "interface"]
    what: str
    count: float = Field(ge=0, description="of the units on the chip")
    each_mm2: float = Field(ge=0, description="of one, utilisation included")
    area_mm2: float = Field(ge=0, description="of all")
    bits: float = Field(ge=0, description="of all registers or memory cells in it")
    status: Status
    source: str = Field(description="of each figure in it, separated by ' | '")


class SynthesisedPart(ReportModel):
    """A component's logic and memory, as estimated from units and as synthesised from its RTL."""

    component: Component
    estimate_logic_mm2: float
    estimate_memory_mm2: float
    gate_equivalents: float = Field(ge=0, description="of its logic, by synthesis")
    logic_mm2: float
    memory_mm2: float


class LearnAreaResult(ReportModel):
    """The area of a learning chip: an estimate from sizes of units, without a layout; synthesis beside it."""

    chip: str
    config_hash: str
    node_nm: int
    rows: tuple[LearnAreaRow, ...] = Field(min_length=1)
    by_component: dict[str, float]
    area_mm2: float = Field(gt=0, description="of the chip")
    published: tuple[PublishedDie, ...]
    tables: tuple[str, ...]
    synthesised: AreaResult | None = Field(
        default=None,
        description="the chip by its RTL, which has no PHY; null where the RTL does not carry it",
    )

    @model_validator(mode="after")
    def _check(self) -> LearnAreaResult:
        for name, value in (
            ("rows", fsum(row.area_mm2 for row in self.rows)),
            ("components", fsum(self.by_component.values())),
        ):
            if not isclose(value, self.area_mm2, rel_tol=1e-9):
                raise ValueError(f"the {name} sum to {value} mm2, the chip to {self.area_mm2}")
        for row in self.rows:
            if not isclose(row.each_mm2 * row.count, row.area_mm2, rel_tol=1e-9, abs_tol=1e-15):
                raise ValueError(f"{row.component}, {row.what}: {row.count} times {row.each_mm2}")
        return self

    @property
    def beside(self) -> tuple[SynthesisedPart, ...]:
        """The estimate beside synthesis, by component; empty without synthesis."""
        if self.synthesised is None:
            return ()
        mine = {(name, part): 0.0 for name in COMPONENTS for part in ("logic", "memory")}
        for row in self.rows:
            if row.part != "interface":
                mine[row.component, row.part] += row.area_mm2
        theirs = dict.fromkeys(mine, 0.0)
        gates = dict.fromkeys(COMPONENTS, 0.0)
        for row in self.synthesised.rows:
            name = _component_of(row.component)
            theirs[name, row.part] += row.area_mm2
            if row.part == "logic":
                gates[name] += row.quantity * row.count
        return tuple(
            SynthesisedPart(
                component=name,
                estimate_logic_mm2=mine[name, "logic"],
                estimate_memory_mm2=mine[name, "memory"],
                gate_equivalents=gates[name],
                logic_mm2=theirs[name, "logic"],
                memory_mm2=theirs[name, "memory"],
            )
            for name in COMPONENTS
            if name != "dram interface"
        )

    @property
    def logic_mm2(self) -> float:
        """Area of logic."""
        return fsum(row.area_mm2 for row in self.rows if row.part == "logic")

    @property
    def register_bits(self) -> float:
        """Bits of registers and latches, which the clock reaches; not those that stand for a small memory."""
        return fsum(row.bits for row in self.rows if row.part == "logic")

    @property
    def interface_mm2(self) -> float:
        """Area of the DRAM's PHY and controller."""
        return fsum(row.area_mm2 for row in self.rows if row.part == "interface")


def estimate_learn_area(
    config: ChipConfig, tables: LearnTables | None = None, gates: Mapping[str, Any] | None = None
) -> LearnAreaResult:
    """Return the area of a chip's learning engines; docs/learn_reports.md says what each row is made of.

    ``gates`` is what `hw.gates.GatesResult` holds, as plain data: then synthesis stands beside the estimate.

    Raises
    ------
    CostError
        If the tables are not of the chip's node.
    """
    tables = tables or load_learn_tables(config.node_nm)
    if tables.learn.node_nm != config.node_nm:
        raise CostError(
            f"the cost tables are of {tables.learn.node_nm} nm, "
            f"the chip {config.name!r} is built in {config.node_nm} nm"
        )
    account = _Account(config, tables)
    rows = tuple(account.rows())
    return LearnAreaResult(
        chip=config.name,
        config_hash=config.config_hash,
        node_nm=config.node_nm,
        rows=rows,
        by_component={
            name: fsum(row.area_mm2 for row in rows if row.component == name) for name in COMPONENTS
        },
        area_mm2=fsum(row.area_mm2 for row in rows),
        published=tables.learn.published,
        tables=tuple(
            f"{table.name} {table.table_hash}"
            for table in (tables.learn, tables.area, tables.many_core)
        ),
        synthesised=None if gates is None else estimate_area(gates, tables.area, tables.many_core),
    )


def _component_of(component: str) -> Component:
    """Return what a component of the RTL is part of here."""
    names: dict[str, Component] = {name: name for name in COMPONENTS}
    return names.get(component, "control")


class _Account:
    """Rows of one chip; areas of units in um2 before utilisation."""

    def __init__(self, config: ChipConfig, tables: LearnTables) -> None:
        self._chip, self._config, self._tables = config, config.learn, tables
        self._operand, self._sum = (
            config.learn.operand_format.bits,
            config.learn.accumulator_format.bits,
        )

    def rows(self) -> Iterator[LearnAreaRow]:
        rows = [
            *self._lookup("forward", self._config.forward),
            *self._backward(),
            *self._lookup("update", self._config.update),
            *self._vector(),
            *self._buffers(),
            self._interface(),
        ]
        yield from rows
        share = self._tables.learn.constant("control_share")
        area = share.value * fsum(row.area_mm2 for row in rows if row.part == "logic")
        yield self._memory(
            "control", f"{COMMANDS} commands of each queue", len(Queue), COMMANDS * COMMAND_WORDS * WORD_BITS / 8,
            WORD_BITS / 8, two_ports=True,
        )  # fmt: skip
        yield LearnAreaRow(
            component="control", part="logic", what="queues, tokens, addresses: a share of the logic",
            count=1, each_mm2=area, area_mm2=area, bits=0, status=worst_status(share.status), source=share.source,
        )  # fmt: skip

    # ------------------------------------------------------------------------------------------------------ engines

    def _lookup(self, name: Component, engine: LookupConfig) -> Iterator[LearnAreaRow]:
        bits, stages = self._sum, self._config.adder_stages
        entries = 1 << engine.group
        yield self._unit(name, "adder of a lane", engine.lanes, "add", bits)
        yield self._gates(
            name, f"port of a lane into its row's table: 1 of {entries}", engine.lanes, (entries - 1) * bits,
            "multiplexer_gates",
        )  # fmt: skip
        yield self._latches(
            name,
            f"{engine.interleave} accumulators of a lane",
            engine.lanes,
            engine.interleave * bits,
        )
        yield self._gates(
            name,
            "pipeline of a lane's adder",
            engine.lanes,
            2 * stages * bits,
            "flip_flop_gates",
            registers=True,
        )
        adders = engine.rows * engine.build_adders
        if adders:
            yield self._unit(
                name,
                f"{engine.build_adders} adders a row that build the next table",
                adders,
                "add",
                bits,
            )
        yield self._latches(
            name, f"two tables a row, {entries} entries", engine.rows, 2 * entries * bits
        )
        yield self._gates(
            name, "operands of a row's next table", engine.rows, engine.group * self._operand, "flip_flop_gates",
            registers=True,
        )  # fmt: skip
        yield self._gates(
            name, "addresses of a column", engine.columns, engine.group * engine.interleave, "flip_flop_gates",
            registers=True,
        )  # fmt: skip

    def _backward(self) -> Iterator[LearnAreaRow]:
        engine, stages = self._config.backward, self._config
        lanes = engine.rows * engine.lanes
        yield self._unit("backward", "multiplier of a lane", lanes, "multiply", self._operand)
        yield self._unit("backward", "adder of a lane", lanes, "add", self._sum)
        yield self._gates(
            "backward", f"a lane's choice of 1 of {engine.channels} weights", lanes,
            (engine.channels - 1) * self._operand, "multiplexer_gates",
        )  # fmt: skip
        pipeline = (
            2 * stages.multiplier_stages * self._operand + 2 * stages.adder_stages * self._sum
        )
        yield self._gates(
            "backward", "pipeline of a lane", lanes, pipeline, "flip_flop_gates", registers=True
        )
        yield self._gates(
            "backward",
            "priority encoders of a row",
            engine.rows,
            engine.depth + engine.channels,
            "encoder_gates",
        )
        yield self._latches(
            "backward", "bitmaps of a row's gradients, two", engine.rows, engine.contexts * 2 * engine.depth
        )  # fmt: skip
        yield self._gates(
            "backward", f"positions of a row, of {TILES} tiles", engine.rows, TILES * engine.contexts * POSITION_BITS,
            "flip_flop_gates", registers=True,
        )  # fmt: skip
        # What a mask lets through is listed as it is read, some channels a cycle, each of which may go anywhere.
        listed = engine.channels * max(1, (engine.channels - 1).bit_length())
        yield self._gates(
            "backward", "list of a row's channels on its way", engine.rows, listed, "flip_flop_gates", registers=True
        )  # fmt: skip
        yield self._gates(
            "backward", f"places of {stages.channel_word} channels a cycle in the list", engine.rows,
            stages.channel_word * listed, "multiplexer_gates",
        )  # fmt: skip
        yield self._memory(
            "backward", f"lists of a row's channels, {engine.contexts} positions, twice", engine.rows,
            2 * engine.contexts * listed / 8, engine.lanes * listed / engine.channels / 8,
            two_ports=True,
        )  # fmt: skip
        yield self._memory(
            "backward", f"masks of a row's positions, of {TILES} tiles", engine.rows,
            TILES * engine.contexts * engine.channels / 8, stages.channel_word / 8, two_ports=True,
        )  # fmt: skip
        yield self._memory(
            "backward", f"weights of a row, {engine.depth} words, twice", 2 * engine.rows,
            engine.depth * engine.channels * self._operand / 8, engine.channels * self._operand / 8,
        )  # fmt: skip
        yield self._memory(
            "backward", f"sums of a row, {engine.contexts} positions, twice", 2 * engine.rows,
            engine.contexts * engine.channels * self._sum / 8, engine.lanes * self._sum / 8, two_ports=True,
        )  # fmt: skip
        yield self._memory(
            "backward", f"gradients of a row, {engine.contexts} positions, twice", engine.rows,
            2 * engine.contexts * engine.depth * self._operand / 8, self._operand / 8, two_ports=True,
        )  # fmt: skip

    def _vector(self) -> Iterator[LearnAreaRow]:
        vector, config = self._config.vector, self._config
        yield self._unit("vector", "multipliers", vector.width, "multiply", 32)
        yield self._unit("vector", "adders", vector.width, "add", 32)
        yield self._unit(
            "vector",
            "serial dividers and roots, each pair taken as an adder",
            vector.width,
            "add",
            32,
        )
        # Operands and results of every stage, and an operand of the adder that waits for the product.
        words = 2 * config.multiplier_stages + 2 * config.adder_stages + 3
        yield self._gates(
            "vector",
            "pipeline of a lane",
            vector.width,
            32 * words,
            "flip_flop_gates",
            registers=True,
        )
        # A macro holds the registers of so many lanes that its rows are not narrow.
        lanes = min(vector.width, VECTOR_MACRO_LANES)
        yield self._memory(
            "vector", f"{REGISTERS} registers of {lanes} lanes, {config.vector_slots} slots, {VECTOR_PORTS} copies",
            VECTOR_PORTS * vector.width / lanes, lanes * REGISTERS * config.vector_slots * 4, 4 * lanes,
            two_ports=True,
        )  # fmt: skip
        yield self._memory(
            "vector",
            f"{vector.sums:,} partial sums of gradients, and of products",
            1,
            2 * 4 * vector.sums,
            4,
        )
        yield self._latches(
            "vector", "predicates of a lane, two", vector.width, 2 * config.vector_slots
        )

    def _buffers(self) -> Iterator[LearnAreaRow]:
        bank, word = (self._tables.learn.constant(n) for n in ("bank_bytes", "bank_word_bytes"))
        for name, size in self._config.buffers.model_dump().items():
            banks = max(1, ceil(size / bank.value))
            yield self._memory(
                "buffers",
                f"{name}: 2 x {banks} banks",
                2 * banks,
                size / banks,
                word.value,
                extra=(bank,),
            )

    def _interface(self) -> LearnAreaRow:
        each = self._tables.learn.constant("dram_phy_mm2")
        rate = dram_gb_s(self._chip)
        return LearnAreaRow(
            component="dram interface", part="interface", what="PHY and controller, a GB/s each",
            count=rate, each_mm2=each.value, area_mm2=rate * each.value, bits=0, status=worst_status(each.status),
            source=each.source,
        )  # fmt: skip

    # -------------------------------------------------------------------------------------------------------- kinds

    def _unit(
        self, component: Component, what: str, count: float, kind: str, bits: int
    ) -> LearnAreaRow:
        """Return the row of floating-point units; 16-bit formats take the area of fp16."""
        learn, used = self._tables.learn, self._tables.area.constants.logic_utilisation
        unit = learn.constant(f"fp{bits}_{kind}_um2")
        each = unit.value * 1e-6 / used.value
        return self._row(component, "logic", f"{what}, {bits} bits", count, each, 0, (unit, used))

    def _gates(
        self, component: Component, what: str, count: float, bits: float, kind: str, *, registers: bool = False
    ) -> LearnAreaRow:  # fmt: skip
        area = self._tables.area.constants
        gates = self._tables.learn.constant(kind)
        each = bits * gates.value * area.nand2_um2.value * 1e-6 / area.logic_utilisation.value
        held = bits * count if registers else 0.0
        return self._row(
            component,
            "logic",
            what,
            count,
            each,
            held,
            (gates, area.nand2_um2, area.logic_utilisation),
        )

    def _latches(self, component: Component, what: str, count: float, bits: float) -> LearnAreaRow:
        area = self._tables.area.constants
        gates = area.latch_bit_gates
        each = bits * gates.value * area.nand2_um2.value * 1e-6 / area.logic_utilisation.value
        return self._row(
            component,
            "logic",
            f"{what}; latches",
            count,
            each,
            bits * count,
            (gates, area.nand2_um2, area.logic_utilisation),
        )

    def _memory(
        self, component: Component, what: str, count: float, size_bytes: float, word_bytes: float, *,
        two_ports: bool = False, extra: tuple[Constant, ...] = (),
    ) -> LearnAreaRow:  # fmt: skip
        """Return the row of SRAM macros, or of latches where a macro would be too small."""
        area, sram = self._tables.area.constants, self._tables.many_core.sram
        if size_bytes < area.smallest_sram_bytes.value:
            latches = self._latches(component, what, count, 8 * size_bytes)
            return latches.model_copy(update={"part": "memory"})
        each = sram.area_mm2(size_bytes, word_bytes, "1r1w" if two_ports else "1rw")
        each /= area.macro_utilisation.value
        used = [area.macro_utilisation, *extra]
        row = self._row(
            component, "memory", f"{what}; SRAM of {size_bytes:,.0f} bytes{', two ports' if two_ports else ''}", count,
            each, 8 * size_bytes * count, used,
        )  # fmt: skip
        return row.model_copy(update={"source": f"{sram.source} | {row.source}"})

    def _row(
        self, component: Component, part: Literal["logic", "memory"], what: str, count: float, each: float, bits: float,
        used: tuple[Constant, ...] | list[Constant],
    ) -> LearnAreaRow:  # fmt: skip
        statuses: list[Status] = [constant.status for constant in used]
        return LearnAreaRow(
            component=component, part=part, what=what, count=count, each_mm2=each, area_mm2=each * count, bits=bits,
            status=worst_status(*statuses),
            source=" | ".join(dict.fromkeys(constant.source.replace(" | ", ", ") for constant in used)),
        )  # fmt: skip


def dram_gb_s(config: ChipConfig) -> float:
    """Return the bandwidth of the memory beside the chip."""
    return config.learn.dram.bytes_per_cycle * config.clock_hz * 1e-9
