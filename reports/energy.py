"""Energy of a many-core run: counts x costs = rows, which add up to components, units, cores, layers and the total."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import fsum, isclose
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..chip.config import ChipConfig
from ..chip.events import CHIP_EVENTS, CORE_EVENT_INDEX, CORE_EVENTS, ROUTER_EVENTS
from .accounts import SUM_TOLERANCE, Kind, Split, by_component, split_by_unit
from .costs import CostError, CostTable, Status, worst_status
from .prices import (
    FREE_EVENTS,
    Price,
    leakage_w,
    leakage_w_by_unit,
    memories,
    prices,
    register_bits_by_unit,
)

Ints = NDArray[np.int64]

# Components whose energy belongs to the whole chip rather than to the cores of a layer.
SHARED_COMPONENTS = ("router", "host", "clock", "leakage_unused")

_ROUTER_EVENT_INDEX = {event.name: index for index, event in enumerate(ROUTER_EVENTS)}


@dataclass(frozen=True)
class EnergyRow:
    """One kind of event of one component: ``count`` a sample, ``cost_j`` joules each, ``energy_j`` joules a sample.

    ``event`` names events of `chip.events`, or ``seconds`` for leakage, whose cost is watts; ``kind`` tells what
    switches from what time alone costs.
    """

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
class EnergyReport:
    """Mean energy a sample, in joules: rows, and their sums.

    ``by_layer`` holds the components of each layer's cores: what happened in them, and what their memories leaked;
    ``shared`` the components of the whole chip; together they are the total. ``by_core`` is in the order of the
    counters. ``by_unit`` has no clock and no leakage: they are laid to the unit whose registers and memories they are.
    ``synops`` and ``seconds`` are those of a mean sample.
    """

    rows: tuple[EnergyRow, ...]
    by_component: dict[str, float]
    by_core: tuple[Split, ...]
    by_layer: dict[str, dict[str, float]]
    by_unit: dict[str, Split]
    shared: dict[str, float]
    total: float
    synops: float
    seconds: float

    @property
    def pj_per_synop(self) -> float | None:
        """All energy over the synaptic operations, in pJ; None where there were none."""
        return self.total / self.synops * 1e12 if self.synops else None

    @property
    def power_w(self) -> Split:
        """Energy over time, in watts."""
        joules = {
            kind: fsum(row.energy_j for row in self.rows if row.kind == kind)
            for kind in ("dynamic", "static")
        }
        return Split(**{kind: value / self.seconds for kind, value in joules.items()})

    @property
    def average_power_w(self) -> float:
        """All energy over time, in watts."""
        return self.total / self.seconds

    def layer_j(self, name: str) -> float:
        """Return the energy of a layer's cores; 0 for a layer that has none."""
        return fsum(self.by_layer.get(name, {}).values())

    def result_fields(self, layers: Sequence[str]) -> dict[str, Any]:
        """Return the fields of a `result.RunResult` whose layers are called ``layers``."""
        return {
            "energy_j": self.by_component | {"total": self.total},
            "energy_rows": [asdict(row) for row in self.rows],
            "energy_by_core_j": list(self.by_core),
            "energy_by_layer": {name: self.by_layer.get(name, {}) for name in layers},
            "energy_shared_j": self.shared,
            "energy_by_unit_j": self.by_unit,
            "power_w": self.power_w,
        }


def energy(
    config: ChipConfig,
    core_counters: Ints,
    router_counters: Ints,
    chip_counters: Mapping[str, int],
    *,
    samples: int,
    core_layers: Sequence[str],
    costs: CostTable,
) -> EnergyReport:
    """Return the mean energy of a sample.

    Parameters
    ----------
    core_counters
        (cores in use, events) totals over the samples, columns as `chip.events.CORE_EVENTS`.
    router_counters
        (routers, ports) totals, columns as `chip.events.PORTS`.
    chip_counters
        Totals of `chip.events.CHIP_EVENTS`; others are ignored.
    samples
        Number of samples, at least 1.
    core_layers
        The layer of each core in use.
    costs
        The table of the chip's node.

    Raises
    ------
    ValueError
        If the counters do not fit each other.
    CostError
        If the table is of another node.
    ArithmeticError
        If the parts do not add up, or an event is charged twice or not at all: a fault of ours.
    """
    _check(config, core_counters, router_counters, chip_counters, samples, core_layers, costs)
    priced = prices(config, costs)
    check_events(priced)
    rows: list[EnergyRow] = []
    per_core: dict[str, NDArray[np.float64]] = {}  # of each component that belongs to cores
    for price in priced:
        count = 0
        for event in price.events:
            if event in CORE_EVENT_INDEX:
                column = core_counters[:, CORE_EVENT_INDEX[event]]
                count += int(column.sum())
                own = per_core.setdefault(price.component, np.zeros(len(core_counters)))
                own += column * (price.cost_j / samples)
            elif event in _ROUTER_EVENT_INDEX:
                count += int(router_counters[:, _ROUTER_EVENT_INDEX[event]].sum())
            else:
                count += int(chip_counters[event])
        rows.append(_row(price, count / samples))
    seconds = chip_counters["cycles"] / config.clock_hz / samples
    rows += _leakage(config, costs, len(core_counters), seconds)
    per_core["leakage"] = np.full(len(core_counters), leakage_w(config, costs) * seconds)
    total = fsum(row.energy_j for row in rows)
    components = by_component(rows, "energy_j")
    report = EnergyReport(
        rows=tuple(rows),
        by_component=components,
        by_core=_by_core(per_core, len(core_counters)),
        by_layer=_by_layer(per_core, core_layers),
        by_unit=_by_unit(config, costs, rows),
        shared={name: components[name] for name in SHARED_COMPONENTS if name in components},
        total=total,
        synops=int(core_counters[:, CORE_EVENT_INDEX["synops"]].sum()) / samples,
        seconds=seconds,
    )
    _check_sums(report)
    return report


def check_events(priced: Iterable[Price]) -> None:
    """Check that every event is charged once or is free with a reason; ArithmeticError names those that are not."""
    known = {event.name for event in (*CORE_EVENTS, *ROUTER_EVENTS, *CHIP_EVENTS)}
    times = Counter(event for price in priced for event in price.events) + Counter(
        list(FREE_EVENTS)
    )
    wrong = sorted(name for name in known | set(times) if times[name] != 1 or name not in known)
    if wrong:
        raise ArithmeticError(f"events that are not charged exactly once: {', '.join(wrong)}")


def _check(
    config: ChipConfig,
    core_counters: Ints,
    router_counters: Ints,
    chip_counters: Mapping[str, int],
    samples: int,
    core_layers: Sequence[str],
    costs: CostTable,
) -> None:
    if costs.node_nm != config.node_nm:
        raise CostError(
            f"the cost table is for {costs.node_nm} nm, the chip {config.name!r} is built in {config.node_nm} nm"
        )
    if samples < 1:
        raise ValueError(f"samples must be at least 1, not {samples!r}")
    shapes = (
        ("core_counters", core_counters.shape, (len(core_layers), len(CORE_EVENTS))),
        (
            "router_counters",
            router_counters.shape,
            (config.many_core.core_count, len(ROUTER_EVENTS)),
        ),
    )
    for name, got, want in shapes:
        if got != want:
            raise ValueError(f"{name} must have shape {want}, not {got}")
    missing = [event.name for event in CHIP_EVENTS if event.name not in chip_counters]
    if missing:
        raise ValueError(f"chip_counters lack {', '.join(missing)}")
    if chip_counters["cycles"] < 1:
        raise ValueError(f"cycles must be at least 1, not {chip_counters['cycles']!r}")


def _row(price: Price, count: float) -> EnergyRow:
    return EnergyRow(
        component=price.component,
        event=", ".join(price.events),
        kind="dynamic",
        count=count,
        cost_j=price.cost_j,
        energy_j=count * price.cost_j,
        unit=price.unit,
        source=price.source,
        status=price.status,
    )


def _leakage(config: ChipConfig, costs: CostTable, used: int, seconds: float) -> list[EnergyRow]:
    watts = leakage_w(config, costs)
    size = sum(memory.size_bytes for memory in memories(config).values()) / 1024
    factors = [costs.constant("temperature_k"), costs.constant("leakage_halving_k")]
    source = " | ".join([costs.sram.source, *(item.source for item in factors)])
    status = worst_status(costs.sram.status, factors[0].status, factors[1].status)
    idle = config.many_core.core_count - used
    at = f"with {size:.3g} KiB each, at {factors[0].value:g} K"
    return [
        EnergyRow(
            component=component,
            event="seconds",
            kind="static",
            count=seconds,
            cost_j=watts * cores,
            energy_j=seconds * watts * cores,
            unit=f"a second of {cores} {what} {'core' if cores == 1 else 'cores'} {at}",
            source=source,
            status=status,
        )
        for component, cores, what in (
            ("leakage", used, "used"),
            ("leakage_unused", idle, "unused"),
        )
        if cores
    ]


def _by_core(per_core: Mapping[str, NDArray[np.float64]], cores: int) -> tuple[Split, ...]:
    dynamic = [values.tolist() for name, values in per_core.items() if name != "leakage"]
    static = per_core["leakage"].tolist()
    return tuple(
        Split(dynamic=fsum(values[core] for values in dynamic), static=static[core])
        for core in range(cores)
    )


def _by_layer(
    per_core: Mapping[str, NDArray[np.float64]], core_layers: Sequence[str]
) -> dict[str, dict[str, float]]:
    names = np.array(core_layers, dtype=object)
    return {
        layer: {
            component: fsum(values[names == layer].tolist())
            for component, values in per_core.items()
        }
        for layer in dict.fromkeys(core_layers)
    }


def _by_unit(config: ChipConfig, costs: CostTable, rows: Iterable[EnergyRow]) -> dict[str, Split]:
    """Lay clock and leakage to units, by their register bits and by what their memories leak."""
    weights = {
        "clock": {n: float(bits) for n, bits in register_bits_by_unit(config).items()},
        "leakage": leakage_w_by_unit(config, costs),
    }
    weights["leakage_unused"] = weights["leakage"]
    return split_by_unit((row, weights.get(row.component, {row.component: 1.0})) for row in rows)


def _check_sums(report: EnergyReport) -> None:
    """Add the account up in every other way; ArithmeticError if one differs."""
    layers = [joules for layer in report.by_layer.values() for joules in layer.values()]
    cores = [core.total for core in report.by_core]
    shared = list(report.shared.values())
    for what, parts in (
        ("components", report.by_component.values()),
        ("layers and what they share", [*layers, *shared]),
        ("cores and what they share", [*cores, *shared]),
        ("units", [unit.total for unit in report.by_unit.values()]),
    ):
        if not isclose(fsum(parts), report.total, rel_tol=SUM_TOLERANCE):
            raise ArithmeticError(
                f"{what} add up to {fsum(parts)!r} J, the rows to {report.total!r} J"
            )
