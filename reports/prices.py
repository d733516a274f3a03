"""What one event of the many-core consists of, and so what it costs on a chip of given sizes and widths."""

from __future__ import annotations

from dataclasses import dataclass
from math import fsum

from ..chip.config import ChipConfig
from ..chip.packet import FlitLayout
from .costs import CostTable, Status, worst_status
from .sram import Ports

# Events that are charged nothing of their own, and why.
FREE_EVENTS = {
    "updates": "what a core does in an update is counted by other events; its waiting is leakage and clock",
    "compute_cycles": "the clock is charged for every cycle of the chip",
    "saturations": "a result at its limit costs what another costs",
    "send_stalls": "a flit that waits moves nothing; the clock is charged anyhow",
    "timesteps": "starting and ending a timestep switches some hundred registers of the trees: neglected",
    "host_stalls": "a flit that waits moves nothing",
    "overruns": "a flag",
}

# Bits of the counter of refractory timesteps: `chip.program.CORE_REGISTERS`.
_REFRACTORY_BITS = 8
_TABLE_ENTRIES = 256
_MESH_HOPS = ("hops_north", "hops_east", "hops_south", "hops_west")


@dataclass(frozen=True)
class Memory:
    """One memory of a core: the unit that has it, its size, and the bits of a word."""

    unit: str
    name: str
    words: int
    word_bits: int

    @property
    def size_bytes(self) -> float:
        """Size in bytes."""
        return self.words * self.word_bits / 8

    @property
    def word_bytes(self) -> float:
        """Word in bytes."""
        return self.word_bits / 8

    @property
    def shape(self) -> tuple[float, float, Ports]:
        """Size and word in bytes, and ports: the weights have one, all others one to read and one to write."""
        return self.size_bytes, self.word_bytes, "1rw" if self.name == "weights" else "1r1w"


@dataclass(frozen=True)
class Price:
    """Joules of one of ``events``, which belong to ``component``; ``unit`` says what one of them consists of."""

    component: str
    events: tuple[str, ...]
    cost_j: float
    unit: str
    source: str
    status: Status


def memories(config: ChipConfig) -> dict[str, Memory]:
    """Return the memories of a core by name."""
    core = config.many_core.core
    flit = FlitLayout.of(config.many_core)
    index_bits = 2 * core.route_entries.bit_length()
    axon_bits = core.activation_bits + 1  # with the valid bit
    items = (
        Memory(
            "axon", "axons", core.axons * (core.delay_slots + 1), axon_bits
        ),  # the held values, too
        Memory(
            "synapse",
            "weights",
            core.axons * -(-core.neurons // core.lanes),
            core.lanes * core.weight_bits,
        ),
        Memory("dendrite", "sums", core.neurons * core.delay_slots, core.accumulator_bits + 1),
        Memory("soma", "state", core.neurons, 2 * core.membrane_bits + _REFRACTORY_BITS),
        Memory(
            "soma", "parameters", core.neurons, 3 * core.membrane_bits + 2 * (core.decay_bits + 1)
        ),
        Memory("soma", "initial", core.neurons, 2 * core.membrane_bits),
        Memory("soma", "table", _TABLE_ENTRIES, core.activation_bits),
        Memory(
            "sender", "outbox", core.neurons, flit.payload_bits + (core.neurons - 1).bit_length()
        ),
        Memory("sender", "route index", core.neurons, index_bits),
        Memory("sender", "routes", core.route_entries, flit.bits - flit.payload_bits),
    )
    return {item.name: item for item in items}


def register_bits_by_unit(config: ChipConfig) -> dict[str, int]:
    """Return the register bits of a core's units and its router; those of control are neglected."""
    chip = config.many_core
    core = chip.core
    accumulators = 2 * core.lanes * core.accumulator_bits
    pipeline = core.pipeline_stages * core.lanes * (core.weight_bits + core.activation_bits)
    return {
        "dendrite": accumulators + pipeline,
        "soma": 4 * core.membrane_bits,
        "router": 5 * chip.network.fifo_depth * FlitLayout.of(chip).bits,
    }


def register_bits(config: ChipConfig) -> int:
    """Return the register bits of a core and its router: accumulators, pipelines, FIFOs; control is neglected."""
    return sum(register_bits_by_unit(config).values())


def core_area_mm2(config: ChipConfig, costs: CostTable) -> float:
    """Return the area of a core and its router in mm2: memories by the SRAM table, and a constant for the rest."""
    area = sum(costs.sram.area_mm2(*memory.shape) for memory in memories(config).values())
    return area + costs.constant("logic_area_mm2").value


def leakage_w_by_unit(config: ChipConfig, costs: CostTable) -> dict[str, float]:
    """Return the leakage of the memories of a core's units at the table's ``temperature_k``, in watts."""
    names = ("temperature_k", "sram_temperature_k", "leakage_halving_k")
    here, there, halving = (costs.constant(name).value for name in names)
    factor = 1e-3 * 2 ** ((here - there) / halving)
    watts: dict[str, float] = {}
    for memory in memories(config).values():
        own = costs.sram.leakage_mw(*memory.shape) * factor
        watts[memory.unit] = watts.get(memory.unit, 0.0) + own
    return watts


def leakage_w(config: ChipConfig, costs: CostTable) -> float:
    """Return the leakage of a core's memories at the table's ``temperature_k``, in watts."""
    return fsum(leakage_w_by_unit(config, costs).values())


def prices(config: ChipConfig, costs: CostTable) -> tuple[Price, ...]:
    """Price the events of cores, routers, host and clock; leakage is power, not an event.

    A neuron's update is charged as that of the costliest kind, a current-based LIF; products as those of unpacked
    weights.
    """
    chip = config.many_core
    core, flit = chip.core, FlitLayout.of(chip).bits
    memory = memories(config)
    add_curve, multiply_curve = costs.curve("add"), costs.curve("multiply")
    register, crossbar = costs.constant("register_bit"), costs.constant("crossbar_bit")
    wire, host, clock = (costs.constant(n) for n in ("wire_bit_mm", "host_bit", "clock_bit"))

    def read(*names: str) -> float:
        return sum(costs.sram.read_pj(*memory[name].shape) for name in names)

    def write(name: str) -> float:
        return costs.sram.write_pj(*memory[name].shape)

    def says(*names: str) -> str:
        return ", ".join(
            f"{n} {_size(memory[n].size_bytes)} x {memory[n].word_bits} bit" for n in names
        )

    sram, logic = worst_status(costs.sram.status), worst_status(add_curve.status)
    decay = core.membrane_bits * (core.decay_bits + 1)
    soma_logic = 2 * multiply_curve.at(decay) + 4 * add_curve.at(core.membrane_bits)
    pitch = core_area_mm2(config, costs) ** 0.5
    through = flit * (2 * register.value + crossbar.value)
    link = flit * wire.value * pitch
    adds, products = add_curve.source, multiply_curve.source
    accumulate = add_curve.at(core.accumulator_bits)
    rows: tuple[tuple[str, tuple[str, ...], float, str, str, Status], ...] = (
        ("axon", ("axon_writes",), read("axons") + write("axons"), f"read and write of a value ({says('axons')})",
         costs.sram.source, sram),
        ("axon", ("active_axons",), write("axons"), f"write that empties a slot ({says('axons')})",
         costs.sram.source, sram),
        ("synapse", ("weight_reads",), read("weights", "axons"),
         f"read of {core.lanes} weights and of the axon's value ({says('weights', 'axons')})", costs.sram.source, sram),
        ("dendrite", ("synops",), accumulate + register.value * core.accumulator_bits,
         f"add of {core.accumulator_bits} bits and its register", f"{adds} | {register.source}",
         worst_status(logic, register.status)),
        ("dendrite", ("multiplies",), multiply_curve.at(core.weight_bits * core.activation_bits),
         f"product of {core.weight_bits} x {core.activation_bits} bits", products,
         worst_status(multiply_curve.status)),
        ("dendrite", ("sum_writes",), read("sums") + write("sums") + accumulate,
         f"read, add and write of an incoming sum ({says('sums')})", f"{costs.sram.source} | {adds}",
         worst_status(sram, logic)),
        ("soma", ("neuron_updates",),
         read("state", "parameters", "sums") + write("state") + write("sums") + soma_logic,
         (f"state read and written, parameters read, sum read and emptied ({says('state', 'parameters', 'sums')}), "
          f"two decays of {core.membrane_bits} x {core.decay_bits + 1} bits, four adds"),
         f"{costs.sram.source} | {products} | {adds}", worst_status(sram, logic, multiply_curve.status)),
        ("soma", ("spikes",), write("outbox"), f"write into the outbox ({says('outbox')})", costs.sram.source, sram),
        ("sender", ("flits_sent",), read("routes", "outbox", "route index") + flit * register.value,
         (f"read of route, outbox and index ({says('routes', 'outbox', 'route index')}), register of {flit} bits; "
          "outbox and index are read once a spike, charged once a flit"),
         f"{costs.sram.source} | {register.source}", worst_status(sram, register.status)),
        ("router", ("hops_local",), through, f"{flit} bits through a FIFO and the crossbar into the core",
         f"{register.source} | {crossbar.source}", worst_status(register.status, crossbar.status)),
        ("router", _MESH_HOPS, through + link, f"{flit} bits through a FIFO, the crossbar and {pitch:.2f} mm of wire",
         f"{register.source} | {crossbar.source} | {wire.source}",
         worst_status(register.status, crossbar.status, wire.status)),
        ("host", ("host_flits_in", "host_flits_out"), flit * host.value, f"{flit} bits over the host's link",
         host.source, worst_status(host.status)),
        ("clock", ("cycles",), chip.core_count * register_bits(config) * clock.value,
         f"a cycle of {chip.core_count} cores of {register_bits(config):,} register bits, unused cores included",
         clock.source, worst_status(clock.status)),
    )  # fmt: skip
    return tuple(
        Price(component, events, pj * 1e-12, unit, source, status)
        for component, events, pj, unit, source, status in rows
    )


def _size(size_bytes: float) -> str:
    return f"{size_bytes:.0f} B" if size_bytes < 1024 else f"{size_bytes / 1024:.3g} KiB"
