"""Energy of a many-core run: counts x costs = rows, which add up to components, layers and the total."""

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
from .costs import CostError, CostTable, Status, worst_status
from .prices import FREE_EVENTS, Price, leakage_w, memories, prices

Ints = NDArray[np.int64]

# Components whose energy belongs to the whole chip rather than to the cores of a layer.
SHARED_COMPONENTS = ("router", "host", "clock", "leakage", "leakage_unused")

_ROUTER_EVENT_INDEX = {event.name: index for index, event in enumerate(ROUTER_EVENTS)}


@dataclass(frozen=True)
class EnergyRow:
    """One kind of event of one component: ``count`` a sample, ``cost_j`` joules each, ``energy_j`` joules a sample.

    ``event`` names events of `chip.events`, or ``seconds`` for leakage, whose cost is watts.
    """

    component: str
    event: str
    count: float
    cost_j: float
    energy_j: float
    unit: str
    source: str
    status: Status


@dataclass(frozen=True)
class EnergyReport:
    """Mean energy a sample, in joules: rows, and their sums.

    ``by_layer`` holds what the cores of each layer did, ``shared`` the components of the whole chip; together they are
    the total. ``synops`` and ``seconds`` are those of a mean sample.
    """

    rows: tuple[EnergyRow, ...]
    by_component: dict[str, float]
    by_layer: dict[str, float]
    shared: dict[str, float]
    total: float
    synops: float
    seconds: float

    @property
    def pj_per_synop(self) -> float | None:
        """All energy over the synaptic operations, in pJ; None where there were none."""
        return self.total / self.synops * 1e12 if self.synops else None

    @property
    def average_power_w(self) -> float:
        """Energy over time, in watts."""
        return self.total / self.seconds

    def result_fields(self) -> dict[str, Any]:
        """Return the fields of a `result.RunResult`."""
        return {
            "energy_j": self.by_component | {"total": self.total},
            "energy_rows": [asdict(row) for row in self.rows],
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
    per_core = np.zeros(len(core_counters))
    for price in priced:
        count = 0
        for event in price.events:
            if event in CORE_EVENT_INDEX:
                column = core_counters[:, CORE_EVENT_INDEX[event]]
                count += int(column.sum())
                per_core += column * (price.cost_j / samples)
            elif event in _ROUTER_EVENT_INDEX:
                count += int(router_counters[:, _ROUTER_EVENT_INDEX[event]].sum())
            else:
                count += int(chip_counters[event])
        rows.append(_row(price, count / samples))
    seconds = chip_counters["cycles"] / config.clock_hz / samples
    rows += _leakage(config, costs, len(core_counters), seconds)
    synops = int(core_counters[:, CORE_EVENT_INDEX["synops"]].sum()) / samples
    return _sum_up(tuple(rows), per_core, core_layers, synops, seconds)


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


def _sum_up(
    rows: tuple[EnergyRow, ...],
    per_core: NDArray[np.float64],
    core_layers: Sequence[str],
    synops: float,
    seconds: float,
) -> EnergyReport:
    by_component = {
        name: fsum(row.energy_j for row in rows if row.component == name)
        for name in dict.fromkeys(row.component for row in rows)
    }
    by_layer = {
        name: fsum(
            e for e, layer in zip(per_core.tolist(), core_layers, strict=True) if layer == name
        )
        for name in dict.fromkeys(core_layers)
    }
    shared = {name: by_component[name] for name in SHARED_COMPONENTS if name in by_component}
    total = fsum(row.energy_j for row in rows)
    for what, parts in (
        ("components", by_component.values()),
        ("layers and what they share", (*by_layer.values(), *shared.values())),
    ):
        if not isclose(fsum(parts), total, rel_tol=1e-9):
            raise ArithmeticError(f"{what} add up to {fsum(parts)!r} J, the rows to {total!r} J")
    return EnergyReport(rows, by_component, by_layer, shared, total, synops, seconds)
