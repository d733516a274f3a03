"""Energy of a many-core run: counts x costs = rows, which add up to components, layers and the total."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import fsum, isclose
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..chip.config import ChipConfig
from ..chip.events import CORE_EVENT_INDEX
from ..chip.packet import FlitLayout
from .costs import CostTable, Status

Ints = NDArray[np.int64]

# Events that cost nothing of their own, and why.
FREE_EVENTS = {
    "updates": "a timestep's share is in the clock",
    "compute_cycles": "a cycle's share is in the clock",
    "saturations": "a clipped result costs what another costs",
    "send_stalls": "a waiting flit moves nothing",
}


@dataclass(frozen=True)
class EnergyRow:
    """One kind of event of one component: ``count`` a sample at ``cost_pj`` each; energy in joules a sample."""

    component: str
    event: str
    count: float
    cost_pj: float
    energy_j: float
    formula: str
    source: str
    status: Status


@dataclass(frozen=True)
class EnergyReport:
    """Energy a sample, in joules: rows, and their sums by component and by layer."""

    rows: tuple[EnergyRow, ...]
    by_component: dict[str, float]
    by_layer: dict[str, float]
    total: float

    def result_fields(self) -> dict[str, Any]:
        """Return the fields that a result holds."""
        return {
            "energy_j": self.by_component | {"total": self.total},
            "energy_rows": [asdict(row) for row in self.rows],
        }


@dataclass(frozen=True)
class _Price:
    """What one event of a core's unit costs, and where the figure comes from."""

    component: str
    event: str
    pj: float
    formula: str
    source: str
    status: Status


def _prices(config: ChipConfig, costs: CostTable) -> tuple[_Price, ...]:
    """Price every event of a core from the sizes of its memories and the widths of its units."""
    chip = config.many_core
    core = chip.core
    add, multiply, register = (costs.operation(n) for n in ("add_bit", "multiply_bit2", "register_bit"))
    sram = costs.sram
    flit = FlitLayout.of(chip).bits
    axon_bytes = core.axons * core.delay_slots * core.activation_bits / 8
    sum_bytes = core.neurons * core.delay_slots * core.accumulator_bits / 8
    weight_bytes = core.axons * core.neurons * core.weight_bits / 8
    state_bits = 2 * core.membrane_bits
    parameter_bits = 5 * core.membrane_bits + 2 * (core.decay_bits + 1)
    state_bytes = core.neurons * (state_bits + parameter_bits) / 8
    route_bytes = core.route_entries * flit / 8

    def access(size: float, bits: float) -> float:
        return sram.read_pj(size, bits / 8)

    axon = access(axon_bytes, core.activation_bits)
    sums = access(sum_bytes, core.accumulator_bits)
    weights = access(weight_bytes, core.lanes * core.weight_bits)
    product = multiply.value * core.weight_bits * core.activation_bits
    neuron = (
        access(state_bytes, state_bits) * 2
        + access(state_bytes, parameter_bits)
        + multiply.value * core.membrane_bits * (core.decay_bits + 1)
        + add.value * core.membrane_bits * 3
    )
    logic = f"{add.source}; {multiply.source}"
    return (
        _Price("axon", "axon_writes", 2 * axon, "read and write of an axon's value", sram.source, "derived"),
        _Price("axon", "active_axons", axon, "read of an axon's value", sram.source, "derived"),
        _Price("synapse", "weight_reads", weights, "read of a word of weights", sram.source, "derived"),
        _Price("dendrite", "synops", (add.value + register.value) * core.accumulator_bits,
               "add into an accumulator and its register", f"{add.source}; {register.source}", "assumed"),
        _Price("dendrite", "multiplies", product, "weight x activation", multiply.source, "derived"),
        _Price("dendrite", "sum_writes", 2 * sums + add.value * core.accumulator_bits,
               "read, add and write of an incoming sum", f"{sram.source}; {add.source}", "derived"),
        _Price("soma", "neuron_updates", neuron, "state read and written, parameters read, a product and three adds",
               f"{sram.source}; {logic}", "derived"),
        _Price("soma", "spikes", register.value * (core.membrane_bits + 8), "a word of the outbox", register.source, "assumed"),
        _Price("sender", "flits_sent", access(route_bytes, flit) + register.value * flit,
               "read of a routing word, flit register", f"{sram.source}; {register.source}", "assumed"),
    )  # fmt: skip


def static_power_w(config: ChipConfig, costs: CostTable) -> tuple[float, float]:
    """Return leakage and clock power of the whole chip, cores that are not in use included, in watts."""
    chip = config.many_core
    core = chip.core
    weight_bytes = core.axons * core.neurons * core.weight_bits / 8
    rest_bytes = (
        core.axons * core.delay_slots * core.activation_bits
        + core.neurons * core.delay_slots * core.accumulator_bits
        + core.neurons * (7 * core.membrane_bits + 2 * (core.decay_bits + 1))
        + core.route_entries * FlitLayout.of(chip).bits
    ) / 8
    leak = costs.sram.leakage_mw(weight_bytes) + costs.sram.leakage_mw(rest_bytes)
    leak_w = leak * costs.constant("sram_leakage_factor").value * chip.core_count * 1e-3
    clock_w = costs.constant("clock_mw_per_core").value * 1e-3 * chip.core_count * config.clock_hz / 300e6
    return leak_w, clock_w


def energy(
    config: ChipConfig,
    core_counters: Ints,
    router_counters: Ints,
    chip_counters: dict[str, int],
    *,
    samples: int,
    core_layers: Sequence[str],
    costs: CostTable,
) -> EnergyReport:
    """Return the mean energy of a sample.

    Parameters
    ----------
    core_counters : (cores in use, events) int64, totals over the samples, columns as `chip.events.CORE_EVENTS`
    router_counters : (routers, ports) int64, totals
    chip_counters : totals of `chip.events.CHIP_EVENTS`
    samples : number of samples
    core_layers : the layer of each core in use
    costs : the cost table

    Raises
    ------
    AssertionError
        If the parts do not add up to the total, however they are grouped: a fault of ours.
    """
    rows, shares = [], np.zeros(len(core_layers))
    for price in _prices(config, costs):
        counts = core_counters[:, CORE_EVENT_INDEX[price.event]]
        shares += counts * price.pj * 1e-12 / samples
        rows.append(_row(price.component, price.event, counts.sum() / samples, price))
    layout = FlitLayout.of(config.many_core)
    register, wire, pitch = (costs.operation(n) for n in ("register_bit", "wire_bit_mm", "core_pitch_mm"))
    hop = _Price("router", "hops", layout.bits * (2 * register.value + wire.value * pitch.value),
                 "FIFO written and read, a link of one core's pitch", f"{register.source}; {wire.source}; {pitch.source}",
                 "assumed")  # fmt: skip
    rows.append(_row("router", "hops", router_counters.sum() / samples, hop))
    host = costs.operation("host_bit")
    port = _Price("host", "host_flits", layout.bits * host.value, "a flit over the host's link", host.source, host.status)
    flits = chip_counters["host_flits_in"] + chip_counters["host_flits_out"]
    rows.append(_row("host", "host_flits", flits / samples, port))
    leak_w, clock_w = static_power_w(config, costs)
    cycles = chip_counters["cycles"] / samples
    for name, watts, source in (
        ("leakage", leak_w, f"{costs.sram.source}; {costs.constant('sram_leakage_factor').source}"),
        ("clock", clock_w, costs.constant("clock_mw_per_core").source),
    ):
        price = _Price(name, "cycles", watts / config.clock_hz * 1e12, f"{watts * 1e3:.3g} mW of the whole chip", source, "assumed")
        rows.append(_row(name, "cycles", cycles, price))
    return _sum_up(tuple(rows), shares, core_layers)


def _row(component: str, event: str, count: float, price: _Price) -> EnergyRow:
    return EnergyRow(
        component, event, float(count), price.pj, float(count) * price.pj * 1e-12, price.formula, price.source, price.status
    )  # fmt: skip


def _sum_up(rows: tuple[EnergyRow, ...], shares: NDArray[np.float64], core_layers: Sequence[str]) -> EnergyReport:
    by_component: dict[str, float] = {}
    for row in rows:
        by_component[row.component] = by_component.get(row.component, 0.0) + row.energy_j
    by_layer: dict[str, float] = {}
    for name, share in zip(core_layers, shares, strict=True):
        by_layer[name] = by_layer.get(name, 0.0) + float(share)
    total = fsum(row.energy_j for row in rows)
    shared = fsum(row.energy_j for row in rows if row.component in ("router", "host", "leakage", "clock"))
    assert isclose(fsum(by_component.values()), total, rel_tol=1e-9), "components do not add up"
    assert isclose(fsum(by_layer.values()) + shared, total, rel_tol=1e-9), "layers do not add up"
    return EnergyReport(rows, by_component, by_layer, total)
