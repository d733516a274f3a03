"""Energy of a training step: counts x prices = rows, which add up to components, layers and the total."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import fsum, isclose

from ..chip.config import ChipConfig
from ..chip.learn_config import LearnConfig, LookupConfig
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
    """One kind of event of one component in a step: ``count`` of ``cost_j`` joules each."""

    component: str
    event: str
    count: float
    cost_j: float
    energy_j: float
    what: str
    source: str
    status: Status


@dataclass(frozen=True)
class LearnEnergy:
    """Energy of a training step of a batch, in joules: rows, and their sums.

    ``by_layer`` holds what each layer made the chip do, ``shared`` what does not belong to one; together the total.
    """

    rows: tuple[LearnEnergyRow, ...]
    by_component: dict[str, float]
    by_layer: dict[str, float]
    shared: dict[str, float]
    total: float
    seconds: float
    macs: int

    @property
    def power_w(self) -> float:
        """Mean power, the memory beside the chip included."""
        return self.total / self.seconds

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
    """Return the energy of a step; docs/learn_reports.md says what each event consists of.

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
    by_layer = dict.fromkeys((row.layer for row in counts.rows), 0.0)
    for row in counts.rows:
        if (row.component, row.event) in prices:
            by_layer[row.layer] += row.count * prices[row.component, row.event].cost_j
    rows += _shared(config, tables, area, counts)
    by_component = {
        name: fsum(row.energy_j for row in rows if row.component == name)
        for name in dict.fromkeys(row.component for row in rows)
    }
    shared = {name: by_component[name] for name in SHARED}
    total = fsum(row.energy_j for row in rows)
    for what, parts in (
        ("components", by_component),
        ("layers and what they share", {**by_layer, **shared}),
    ):
        if len(parts) < 2 or not isclose(fsum(parts.values()), total, rel_tol=1e-9):
            raise ArithmeticError(
                f"{what} add up to {fsum(parts.values())!r} J, the rows to {total!r} J"
            )
    return LearnEnergy(
        tuple(rows), by_component, by_layer, shared, total, counts.seconds, counts.macs
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
        self._scale = self._costs.constant("logic_45_to_28")
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
        return unit.value * self._scale.value, [unit, self._scale]

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
        sums = (
            2 * sram.read_pj(engine.contexts * engine.channels * self._sum / 8, word) / engine.lanes
        )
        yield self._price(
            "backward", "products", multiply + add + choice + sums,
            f"choice of a weight, product of {self._operand} bits, add of {self._sum} bits, sum read and written",
            [*used, *more, self._multiplexer], memory=True,
        )  # fmt: skip
        weight_word = engine.channels * self._operand / 8
        row_memory = sram.read_pj(engine.depth * weight_word, weight_word)
        gradient = sram.read_pj(
            2 * engine.contexts * engine.depth * self._operand / 8, self._operand / 8
        )
        yield self._price(
            "backward", "taken", row_memory + gradient, f"read of a gradient and of {engine.channels} weights", [],
            memory=True,
        )  # fmt: skip
        yield self._price(
            "backward",
            "word_writes",
            row_memory,
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
            access = self._costs.sram.read_pj(min(size, bank.value), word.value) / word.value
            way = 8 * wire.value * share.value * self._side_mm
            for event in BUFFER_EVENTS:
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
        "clock", "cycles", counts.cycles, pj * 1e-12, counts.cycles * pj * 1e-12,
        f"a cycle of {area.register_bits:,.0f} register bits", clock.source, worst_status(clock.status),
    )  # fmt: skip
    names = ("temperature_k", "logic_leakage_w")
    here, logic = (learn.constant(name) for name in names)
    there, halving = (costs.constant(name) for name in ("sram_temperature_k", "leakage_halving_k"))
    bank = learn.value("bank_bytes")
    cells = fsum(row.bits for row in area.rows if row.part == "memory") / 8
    sram_w = cells / bank * costs.sram.leakage_mw(bank) * 1e-3
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
            "leakage", event, seconds, watts, seconds * watts, what,
            " | ".join([costs.sram.source, *(constant.source for constant in used)]),
            worst_status(*statuses),
        )  # fmt: skip
    idle = learn.constant("dram_background_w")
    watts = idle.value * dram_gb_s(config)
    yield LearnEnergyRow(
        "dram background", "seconds", seconds, watts, seconds * watts,
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
