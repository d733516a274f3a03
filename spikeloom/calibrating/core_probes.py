"""Programs that load every core of a many-core in a known way, and what one of their timesteps gives.

No network is compiled and no host takes part: neurons fire, or are silent, by their bias alone, and keep the axons of
their partners active. So activity, traffic and the kind of values are what was asked for, on any mesh.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..chip.arithmetic import NeuronKind
from ..chip.config import ChipConfig
from ..chip.events import CORE_EVENT_INDEX
from ..chip.packet import FlitKind
from ..chip.program import (
    CORE_REGISTERS,
    NEURON_MEMORIES,
    REGISTER_INDEX,
    LayerInfo,
    ManyCoreProgram,
    check_program,
)
from ..reports.costs import CostTable, load_costs
from ..reports.energy import EnergyReport, energy
from ..sim.run import ManyCoreRun, run_many_core

__all__ = [
    "PATTERNS", "Steady", "Traffic", "load_program_of", "neighbours", "one_flit", "scatter", "steady", "traffic",
]  # fmt: skip

Ints = NDArray[np.int64]

# Of RELU cores: outputs stand at 2**22 / 2**15 = 128, moved by the sums; of LIF cores: beyond any sum of a core.
_RELU_BIAS, _RELU_SHIFT = 1 << 22, 15
_SURE = 1 << 22


@dataclass(frozen=True)
class Steady:
    """Counters of ``timesteps`` timesteps in a steady state; fill and reset are not among them.

    ``core_counters`` (cores, events) and ``router_counters`` (routers, ports) as `sim.run.ManyCoreRun` has them.
    """

    config: ChipConfig
    timesteps: int
    core_counters: Ints
    router_counters: Ints
    chip_counters: dict[str, int]

    @property
    def cycles(self) -> float:
        """Cycles of a timestep."""
        return self.chip_counters["cycles"] / self.timesteps

    @property
    def seconds(self) -> float:
        """Seconds of a timestep."""
        return self.cycles / self.config.clock_hz

    def total(self, event: str) -> float:
        """Return how often a core event happened in a timestep, all cores together."""
        return int(self.core_counters[:, CORE_EVENT_INDEX[event]].sum()) / self.timesteps

    def rate(self, event: str) -> float:
        """Return how often a core event happened in a second."""
        return self.total(event) / self.seconds

    def energy(self, costs: CostTable | None = None) -> EnergyReport:
        """Return the energy of these timesteps by the cost table of the chip's node, or by another table."""
        return energy(
            self.config,
            self.core_counters,
            self.router_counters,
            self.chip_counters,
            samples=1,
            core_layers=["all"] * len(self.core_counters),
            costs=costs or load_costs(self.config.node_nm),
        )


@dataclass(frozen=True)
class Traffic:
    """A burst that all cores send at once: cycles until the last flit is ejected, and bounds on them.

    ``bound`` is the largest of what one core sends, one core receives and one link carries.
    """

    flits: int
    ejected: int
    written: int
    drain_cycles: int
    bound: int


def load_program_of(
    config: ChipConfig,
    *,
    active: int,
    destination: Ints,
    activations: bool = False,
    senders: int | None = None,
    seed: int = 0,
) -> ManyCoreProgram:
    """Return a program in which ``active`` neurons of every core fire in every timestep.

    Parameters
    ----------
    config
        A chip with cores; all of them are used, with all their neurons.
    active
        Neurons 0 .. active - 1 fire; each drives the axon of its own number.
    destination
        (cores, neurons) the core that each neuron's flit goes to, by its place ``y * columns + x``.
    activations
        Conventional neurons (RELU) that give activations of many bits, in place of spikes.
    senders
        Only neurons below it have a route; all by default.
    seed
        Of the weights.
    """
    chip = config.many_core
    core, columns, count = chip.core, chip.network.columns, chip.core_count
    at = np.arange(count)
    registers = np.zeros((count, len(CORE_REGISTERS)), dtype=np.int64)
    values = {
        "x": at % columns, "y": at // columns, "neurons": core.neurons, "weight_mode_bits": core.weight_bits,
        "max_output": 1, "depth": 1,
    }  # fmt: skip
    if activations:
        top = (1 << core.activation_bits) - 1
        values |= {"kind": NeuronKind.RELU, "requant_shift": _RELU_SHIFT, "max_output": top}
    for name, value in values.items():
        registers[:, REGISTER_INDEX[name]] = value
    memories: dict[str, Any] = {
        name: np.zeros((count, core.neurons), dtype=np.int64) for name in NEURON_MEMORIES
    }
    fires = np.arange(core.neurons) < active
    if activations:
        memories["decay_mem"][:] = 1  # the factor of the requantisation
        memories["bias"][:] = np.where(fires, _RELU_BIAS, -_SURE)
    else:
        memories["bias"][:] = np.where(fires, _SURE, -_SURE)
    memories["route_base"][:] = np.arange(core.neurons)
    sends = np.arange(core.neurons) < (core.neurons if senders is None else senders)
    memories["route_count"][:] = sends
    here, there = np.repeat(at, core.neurons), destination.reshape(-1)
    axon = np.tile(np.arange(core.neurons) % core.axons, count)
    routes = np.stack(
        [0 * here + FlitKind.AXON, there % columns - here % columns, there // columns - here // columns, axon,
         0 * here + 1], axis=1,
    ).astype(np.int32)  # fmt: skip
    top = (1 << (core.weight_bits - 1)) - 1
    rng = np.random.default_rng(seed)
    weights = rng.integers(-top, top + 1, (count, core.axons, core.neurons), dtype=np.int8)
    program = ManyCoreProgram(
        config=config, registers=registers, weights=weights, **memories,
        table=np.zeros((0, 256), np.int32), route_offset=np.arange(count + 1) * core.neurons, routes=routes,
        core_layer=np.zeros(count, np.int32), neuron_index=np.full((count, core.neurons), -1, np.int32),
        neuron_scale=np.ones((count, core.neurons)), input_offset=np.zeros(1, np.int64),
        input_routes=np.zeros((0, 5), np.int32), output_lines=np.zeros((0, 4), np.int32), output_scale=np.zeros(0),
        inputs=(), layers=(LayerInfo("all", "relu" if activations else "lif", (count, core.neurons), True, 1,
                                     tuple(range(count))),),
        outputs=(),
    )  # fmt: skip
    check_program(program)
    return program


def steady(program: ManyCoreProgram, timesteps: int = 4) -> Steady:
    """Run a program without inputs, and return what ``timesteps`` of its steady state count.

    Two runs are subtracted, so that the sample's reset, the pipeline's fill and the first timestep, whose axons are
    still empty, are not in it.
    """
    short, long = _run(program, 2), _run(program, 2 + timesteps)
    return Steady(
        program.config,
        timesteps,
        long.core_counters - short.core_counters,
        long.router_counters - short.router_counters,
        {name: value - short.chip_counters[name] for name, value in long.chip_counters.items()},
    )


def _run(program: ManyCoreProgram, timesteps: int) -> ManyCoreRun:
    return run_many_core(program, np.zeros((1, timesteps, 0), np.int32), timesteps, threads=1)


# ------------------------------------------------------------------------------------------------- traffic


def neighbours(config: ChipConfig, rng: np.random.Generator | None = None) -> Ints:
    """Return destinations (cores, neurons): all flits to a core's partner in its row, or to itself if it has none."""
    chip = config.many_core
    columns, at = chip.network.columns, np.arange(chip.core_count)
    x = at % columns
    partner = np.where((x ^ 1) < columns, at - x + (x ^ 1), at)
    return np.repeat(partner[:, None], chip.core.neurons, axis=1)


def scatter(config: ChipConfig, seed: int = 0) -> Ints:
    """Return destinations (cores, neurons) at random, but so that every axon of every core gets one flit."""
    chip, rng = config.many_core, np.random.default_rng(seed)
    rows = [rng.permutation(chip.core_count) for _ in range(chip.core.neurons)]
    return np.stack(rows, axis=1)


def _uniform(config: ChipConfig, rng: np.random.Generator) -> Ints:
    chip = config.many_core
    return rng.integers(0, chip.core_count, (chip.core_count, chip.core.neurons))


def _transpose(config: ChipConfig, rng: np.random.Generator) -> Ints:
    chip = config.many_core
    columns, rows, at = chip.network.columns, chip.network.rows, np.arange(chip.core_count)
    x, y = at % columns, at // columns
    there = (x % rows) * columns + y % columns
    return np.repeat(there[:, None], chip.core.neurons, axis=1)


def _hotspot(config: ChipConfig, rng: np.random.Generator) -> Ints:
    """Return four sinks, the corners of the middle half of the mesh."""
    chip = config.many_core
    columns, rows = chip.network.columns, chip.network.rows
    xs, ys = (columns // 4, columns - 1 - columns // 4), (rows // 4, rows - 1 - rows // 4)
    sinks = np.array([y * columns + x for y in ys for x in xs])
    return sinks[rng.integers(0, 4, (chip.core_count, chip.core.neurons))]


# Name: destinations, and flits that each core sends; the sizes of the collected facts.
PATTERNS: dict[str, tuple[Callable[[ChipConfig, np.random.Generator], Ints], int]] = {
    "uniform, 256 flits a core": (_uniform, 256),
    "uniform, 64 flits a core": (_uniform, 64),
    "neighbour, 256 flits a core": (neighbours, 256),
    "transpose, 256 flits a core": (_transpose, 256),
    "four sinks, 64 flits a core": (_hotspot, 64),
}


def traffic(
    config: ChipConfig, destination: Ints, senders: int, *, only: int | None = None
) -> Traffic:
    """Let ``senders`` neurons of every core (or of core ``only``) send one flit each, all cores at the same cycle.

    The first timestep that computes is looked at: no axon is active, so that all cores end compute together. Drain is
    counted from the cycle in which the first flits are handed over to that of the last ejection, both included.
    """
    adaptive = config.replace(timestep={"mode": "adaptive"})
    chip = adaptive.many_core
    program = load_program_of(
        adaptive, active=chip.core.neurons, destination=destination, senders=senders
    )
    if only is not None:
        program.route_count[np.arange(chip.core_count) != only] = 0
    run = _run(program, 1)
    compute = chip.compute_cycles(0, chip.core.neurons, chip.core.weight_bits)
    first = chip.start_cycles + compute + chip.send_latency_cycles
    used = np.arange(chip.core.neurons) < senders
    source, neuron = np.nonzero(program.route_count > 0)
    there = destination[source, neuron]
    assert used[neuron].all()
    return Traffic(
        flits=len(source),
        ejected=int(run.router_counters[:, 0].sum()),
        written=int(run.core_counters[:, CORE_EVENT_INDEX["axon_writes"]].sum()),
        drain_cycles=int(run.cycles[0, 1]) - chip.barrier_cycles - first,
        bound=_bound(source, there, chip.network.columns, chip.core_count),
    )


def one_flit(config: ChipConfig, source: int, there: int) -> int:
    """Return the cycles of a single flit on an idle mesh, from hand-over to ejection, both included."""
    chip = config.many_core
    destination = np.full((chip.core_count, chip.core.neurons), source, np.int64)
    destination[source] = there
    safe = np.repeat(np.arange(chip.core_count)[:, None], chip.core.neurons, axis=1)
    safe[source] = there
    return traffic(config, safe, 1, only=source).drain_cycles


def _bound(source: Ints, there: Ints, columns: int, cores: int) -> int:
    """Return the most flits that a core sends, a core ejects or a link carries, X before Y."""
    most = max(
        np.bincount(source, minlength=cores).max(), np.bincount(there, minlength=cores).max()
    )
    links: dict[tuple[int, int], int] = {}
    pairs, counts = np.unique(np.stack([source, there]), axis=1, return_counts=True)
    for (a, b), count in zip(pairs.T.tolist(), counts.tolist(), strict=True):
        at = a
        while at != b:
            dx, dy = b % columns - at % columns, b // columns - at // columns
            step = (1 if dx > 0 else -1) if dx else (columns if dy > 0 else -columns)
            links[at, at + step] = links.get((at, at + step), 0) + count
            at += step
    return int(max(most, max(links.values(), default=0)))
