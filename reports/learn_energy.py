"""Energy of training: counts x prices = rows, which add up to components, units, layers and the total."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from math import fsum, isclose
from typing import Any

from ..chip.config import ChipConfig
from ..chip.learn_config import LearnConfig, LookupConfig
from .accounts import SUM_TOLERANCE, Kind, Split, by_component, split_by_unit
from .costs import Constant, CostError, Status, worst_status
from .learn_area import (
    LearnAreaResult,
    LearnTables,
    dram_gb_s,
    estimate_learn_area,
    load_learn_tables,
)
from .learn_counts import BUFFER_EVENTS, EVENTS, StepCounts

__all__ = ["LearnEnergy", "LearnEnergyRow", "LearnPrice", "learn_energy", "learn_prices"]

# Events that are charged nothing of their own, and why.
FREE_EVENTS = {
    ("forward", "inputs"): "charged as lookups",
    ("forward", "tables"): "charged as additions that build them",
    ("update", "inputs"): "charged as lookups",
    ("update", "tables"): "charged as additions that build them",
    ("backward", "inputs"): "charged as those taken",
    ("backward", "skipped"): "a zero gradient is a bit of a bitmap: neglected",
    ("backward", "masked"): "a product that is left out moves nothing",
    ("vector", "elements"): "charged as operations",
}
WRITES = ("filled_bytes", "written_bytes")  # of a buffer's events; the others read
SHARED = ("clock", "leakage", "dram background")  # of the whole chip rather than of a layer


@dataclass(frozen=True)
class LearnPrice:
    """What one event of a component costs."""

    component: str
    event: str
    cost_j: float
    what: str
    source: str
    status: Status


@dataclass(frozen=True)
class LearnEnergyRow:
    """One kind of event of one component: ``count`` of ``cost_j`` joules each; ``unit`` says what one consists of."""

    component: str
    event: str
    kind: Kind
    count: float
    cost_j: float
    energy_j: float
    unit: str
    source: str
    status: Status


@dataclass(frozen=True)
class LearnEnergy:
    """Energy of a training step, or of several, in joules: rows, and their sums.

    ``by_layer`` holds what each layer made each component do, ``shared`` what does not belong to a layer; together the
    total. ``by_unit`` has no clock and no leakage: they are laid to the unit whose registers, memory cells and logic
    they are, by the estimate of area.
    """

    rows: tuple[LearnEnergyRow, ...]
    by_component: dict[str, float]
    by_layer: dict[str, dict[str, float]]
    by_unit: dict[str, Split]
    shared: dict[str, float]
    total: float
    seconds: float
    macs: int

    @property
    def power_w(self) -> float:
        """Mean power, the memory beside the chip included."""
        return self.total / self.seconds

    @property
    def power(self) -> Split:
        """Mean power by what causes it, in watts."""
        joules = {
            kind: fsum(row.energy_j for row in self.rows if row.kind == kind)
            for kind in ("dynamic", "static")
        }
        return Split(**{kind: value / self.seconds for kind, value in joules.items()})

    def layer_j(self, name: str) -> float:
        """Return the energy of a layer, without what is shared."""
        return fsum(self.by_layer.get(name, {}).values())

    def result_fields(self) -> dict[str, Any]:
        """Return the fields of a `learn_result.LearnResult`."""
        return {
            "energy_j": self.by_component | {"total": self.total},
            "energy_rows": [asdict(row) for row in self.rows],
            "energy_by_layer": self.by_layer,
            "energy_shared_j": self.shared,
            "energy_by_unit_j": self.by_unit,
            "power_w": self.power,
        }

    @property
    def pj_per_operation(self) -> float:
        """All energy over the operations if everything were dense, two a multiply-accumulate."""
        return self.total / (2 * self.macs) * 1e12


def learn_energy(
    config: ChipConfig,
    counts: StepCounts,
    tables: LearnTables | None = None,
    area: LearnAreaResult | None = None,
) -> LearnEnergy:
    """Return the energy of a step, or of several whose counts were added up.

    docs/learn_reports.md says what each event consists of.

    Raises
    ------
    CostError
        If the tables are not of the chip's node.
    ArithmeticError
        If an event has no price or two, or the parts do not add up: a fault of ours.
    """
    tables = tables or load_learn_tables(config.node_nm)
    area = area or estimate_learn_area(config, tables)
    prices = {(p.component, p.event): p for p in learn_prices(config, tables, area)}
    _check_events(prices, counts)
    rows = [
        _row(price, counts.total(component, event)) for (component, event), price in prices.items()
    ]
    laid: defaultdict[str, defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))
    for row in counts.rows:
        if (row.component, row.event) in prices:
            joules = row.count * prices[row.component, row.event].cost_j
            laid[row.layer][row.component] += joules
    rows += _shared(config, tables, area, counts)
    components = by_component(rows, "energy_j")
    result = LearnEnergy(
        rows=tuple(rows),
        by_component=components,
        by_layer={layer: dict(parts) for layer, parts in laid.items()},
        by_unit=_by_unit(config, area, rows),
        shared={name: components[name] for name in SHARED},
        total=fsum(row.energy_j for row in rows),
        seconds=counts.seconds,
        macs=counts.macs,
    )
    _check_sums(result)
    return result


def _by_unit(
    config: ChipConfig, area: LearnAreaResult, rows: Iterable[LearnEnergyRow]
) -> dict[str, Split]:
    """Lay clock and leakage to units, by their register bits, memory cells and logic."""
    registers, cells, logic = (defaultdict[str, float](float) for _ in range(3))
    for row in area.rows:
        if row.part == "logic":
            registers[row.component] += row.bits
            logic[row.component] += row.area_mm2
        elif row.part == "memory":
            cells[row.component] += row.bits
    weights = {
        ("clock", "cycles"): registers,
        ("leakage", "memory seconds"): cells,
        ("leakage", "logic seconds"): logic,
        ("dram background", "seconds"): {"dram": 1.0},
    }
    buffers = config.learn.buffers.sizes

    def laid(row: LearnEnergyRow) -> dict[str, float]:
        own = "buffers" if row.component in buffers else row.component
        by_unit = weights.get((row.component, row.event), {own: 1.0})
        return {unit: weight for unit, weight in by_unit.items() if weight}

    return split_by_unit((row, laid(row)) for row in rows)


def _check_sums(result: LearnEnergy) -> None:
    """Add the account up in every other way; ArithmeticError if one differs."""
    layers = [joules for layer in result.by_layer.values() for joules in layer.values()]
    for what, parts in (
        ("components", list(result.by_component.values())),
        ("layers and what they share", [*layers, *result.shared.values()]),
        ("units", [unit.total for unit in result.by_unit.values()]),
    ):
        if len(parts) < 2 or not isclose(fsum(parts), result.total, rel_tol=SUM_TOLERANCE):
            raise ArithmeticError(
                f"{what} add up to {fsum(parts)!r} J, the rows to {result.total!r} J"
            )


def learn_prices(
    config: ChipConfig, tables: LearnTables, area: LearnAreaResult
) -> tuple[LearnPrice, ...]:
    """Return the price of every event that has one; CostError if the tables are not of the chip's node."""
    if tables.learn.node_nm != config.node_nm:
        raise CostError(
            f"the cost tables are of {tables.learn.node_nm} nm, "
            f"the chip {config.name!r} is built in {config.node_nm} nm"
        )
    return tuple(_Prices(config.learn, tables, area).all())


class _Prices:
    """Prices in pJ of one chip."""

    def __init__(self, config: LearnConfig, tables: LearnTables, area: LearnAreaResult) -> None:
        self._config, self._learn, self._costs = config, tables.learn, tables.many_core
        self._operand, self._sum = config.operand_format.bits, config.accumulator_format.bits
        self._register = self._costs.constant("register_bit")
        self._multiplexer = self._learn.constant("multiplexer_bit_pj")
        self._side_mm = area.area_mm2**0.5

    def all(self) -> Iterator[LearnPrice]:
        for name, engine in (("forward", self._config.forward), ("update", self._config.update)):
            yield from self._lookup(name, engine)
        yield from self._backward()
        for event, kind in (("multiplies", "multiply"), ("adds", "add"), ("divides", "multiply")):
            pj, used = self._operation(kind, 32)
            times = (
                10.0 if event == "divides" else 1.0
            )  # a serial division: ten multiplications' worth
            yield self._price(
                "vector",
                event,
                times * pj,
                f"{kind} of 32 bits{' x 10' if times > 1 else ''}",
                used,
            )
        yield from self._buffers()
        dram = self._learn.constant("dram_bit_pj")
        for event in EVENTS["dram"]:
            yield self._price(
                "dram", event, 8 * dram.value, "8 bits between memory and chip", [dram]
            )

    def _operation(self, kind: str, bits: int) -> tuple[float, list[Constant]]:
        """Return the energy of a floating-point operation; 16-bit formats take that of fp16."""
        unit = self._learn.constant(f"fp{bits}_{kind}_pj")
        return unit.value, [unit]

    def _lookup(self, name: str, engine: LookupConfig) -> Iterator[LearnPrice]:
        add, used = self._operation("add", self._sum)
        write = self._sum * self._register.value
        entries = 1 << engine.group
        read = (entries - 1) * self._sum * self._multiplexer.value
        yield self._price(
            name, "lookups", read + add + write,
            f"read of 1 of {entries} entries, add and accumulator of {self._sum} bits",
            [*used, self._register, self._multiplexer],
        )  # fmt: skip
        yield self._price(
            name,
            "table_adds",
            add + write,
            f"add and table entry of {self._sum} bits",
            [*used, self._register],
        )

    def _backward(self) -> Iterator[LearnPrice]:
        engine, sram = self._config.backward, self._costs.sram
        multiply, used = self._operation("multiply", self._operand)
        add, more = self._operation("add", self._sum)
        choice = (engine.channels - 1) * self._operand * self._multiplexer.value
        word = engine.lanes * self._sum / 8
        row_sums = engine.contexts * engine.channels * self._sum / 8
        sums = sram.read_pj(row_sums, word, "1r1w") + sram.write_pj(row_sums, word, "1r1w")
        sums /= engine.lanes
        yield self._price(
            "backward", "products", multiply + add + choice + sums,
            f"choice of a weight, product of {self._operand} bits, add of {self._sum} bits, sum read and written",
            [*used, *more, self._multiplexer], memory=True,
        )  # fmt: skip
        weight_word = engine.channels * self._operand / 8
        weights = sram.read_pj(engine.depth * weight_word, weight_word)
        gradient = sram.read_pj(
            2 * engine.contexts * engine.depth * self._operand / 8, self._operand / 8, "1r1w"
        )
        yield self._price(
            "backward", "taken", weights + gradient, f"read of a gradient and of {engine.channels} weights", [],
            memory=True,
        )  # fmt: skip
        yield self._price(
            "backward",
            "word_writes",
            sram.write_pj(engine.depth * weight_word, weight_word),
            f"write of {engine.channels} weights into a row's memory",
            [],
            memory=True,
        )

    def _buffers(self) -> Iterator[LearnPrice]:
        bank, word, share = (
            self._learn.constant(n) for n in ("bank_bytes", "bank_word_bytes", "wire_share")
        )
        wire = self._costs.constant("wire_bit_mm")
        for name, size in self._config.buffers.model_dump().items():
            shape = min(size, bank.value), word.value
            read, write = self._costs.sram.read_pj(*shape), self._costs.sram.write_pj(*shape)
            way = 8 * wire.value * share.value * self._side_mm
            for event in BUFFER_EVENTS:
                access = (write if event in WRITES else read) / word.value
                yield self._price(
                    name, event, access + way, f"a byte of a bank and over {share.value * self._side_mm:.2f} mm",
                    [bank, word, share, wire], memory=True,
                )  # fmt: skip

    def _price(
        self, component: str, event: str, pj: float, what: str, used: list[Constant], *, memory: bool = False
    ) -> LearnPrice:  # fmt: skip
        sources = [self._costs.sram.source] if memory else []
        sources += [constant.source.replace(" | ", ", ") for constant in used]
        statuses: list[Status] = [constant.status for constant in used]
        if memory:
            statuses.append(self._costs.sram.status)
        return LearnPrice(
            component,
            event,
            pj * 1e-12,
            what,
            " | ".join(dict.fromkeys(sources)),
            worst_status(*statuses),
        )


def _row(price: LearnPrice, count: int) -> LearnEnergyRow:
    return LearnEnergyRow(
        price.component,
        price.event,
        "dynamic",
        count,
        price.cost_j,
        count * price.cost_j,
        price.what,
        price.source,
        price.status,
    )


def _shared(
    config: ChipConfig, tables: LearnTables, area: LearnAreaResult, counts: StepCounts
) -> Iterator[LearnEnergyRow]:
    """Yield clock, leakage and the memory's background: what time costs, whatever is done in it."""
    learn, costs, seconds = tables.learn, tables.many_core, counts.seconds
    clock = costs.constant("clock_bit")
    pj = area.register_bits * clock.value
    yield LearnEnergyRow(
        "clock", "cycles", "dynamic", counts.cycles, pj * 1e-12, counts.cycles * pj * 1e-12,
        f"a cycle of {area.register_bits:,.0f} register bits", clock.source, worst_status(clock.status),
    )  # fmt: skip
    names = ("temperature_k", "logic_leakage_w")
    here, logic = (learn.constant(name) for name in names)
    there, halving = (costs.constant(name) for name in ("sram_temperature_k", "leakage_halving_k"))
    bank, word = learn.value("bank_bytes"), learn.value("bank_word_bytes")
    cells = fsum(row.bits for row in area.rows if row.part == "memory") / 8
    sram_w = cells / bank * costs.sram.leakage_mw(bank, word) * 1e-3
    sram_w *= 2 ** ((here.value - there.value) / halving.value)
    used = (here, logic, there, halving)
    statuses: list[Status] = [constant.status for constant in used]
    for event, watts, what in (
        ("memory seconds", sram_w, f"a second of {cells / 2**20:.1f} MiB at {here.value:g} K"),
        (
            "logic seconds",
            logic.value * area.logic_mm2,
            f"a second of {area.logic_mm2:.0f} mm2 of logic",
        ),
    ):
        yield LearnEnergyRow(
            "leakage", event, "static", seconds, watts, seconds * watts, what,
            " | ".join([costs.sram.source, *(constant.source for constant in used)]),
            worst_status(*statuses),
        )  # fmt: skip
    idle = learn.constant("dram_background_w")
    watts = idle.value * dram_gb_s(config)
    yield LearnEnergyRow(
        "dram background", "seconds", "static", seconds, watts, seconds * watts,
        f"a second of {dram_gb_s(config):.0f} GB/s of HBM2", idle.source, worst_status(idle.status),
    )  # fmt: skip


def _check_events(prices: dict[tuple[str, str], LearnPrice], counts: StepCounts) -> None:
    """Check that every event that was counted, or can be, has one price or a reason to be free."""
    known = {(component, event) for component, events in EVENTS.items() for event in events}
    known |= {(row.component, row.event) for row in counts.rows}
    unpriced = sorted(known - set(prices) - set(FREE_EVENTS))
    twice = sorted(set(prices) & set(FREE_EVENTS))
    if unpriced or twice:
        raise ArithmeticError(f"events without a price: {unpriced}; free and priced: {twice}")
