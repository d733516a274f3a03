"""What must hold after each pass of the compiler; a failure is a bug of ours and names pass, place and rule."""

from __future__ import annotations

import numpy as np

from ..chip.config import ChipConfig
from ..chip.packet import FlitKind
from .axons import FanIn
from .partition import Core, Partition, fan_out
from .place import Placement
from .quantised import QuantisedNetwork
from .route import Routing
from .schedule import Schedule


class CompilerError(RuntimeError):
    """A pass broke an invariant: a bug of the compiler, not of the network."""

    def __init__(self, pass_name: str, where: str, rule: str) -> None:
        self.pass_name = pass_name
        self.where = where
        self.rule = rule
        super().__init__(
            f"after pass {pass_name}, {where}: {rule}; please report this as a bug of the compiler"
        )


def check_quantised(network: QuantisedNetwork, config: ChipConfig) -> None:
    """Check that shapes agree with the network and that weights are within their mode's range."""
    sizes = {i.name: int(np.prod(i.shape)) for i in network.inputs} | {
        p.name: p.size for p in network.populations
    }
    if tuple(p.name for p in network.populations) != tuple(
        p.name for p in network.network.populations
    ):
        raise CompilerError("quantise", "the network", "populations must keep their order")
    for population in network.populations:
        for name in (
            "v_threshold",
            "v_reset",
            "v_init",
            "i_init",
            "bias",
            "decay_mem",
            "decay_syn",
            "scale",
        ):
            if getattr(population, name).shape != (population.size,):
                raise CompilerError(
                    "quantise", population.name, f"{name} must have a value for each neuron"
                )
        if population.weight_mode_bits > config.many_core.core.weight_bits:
            raise CompilerError(
                "quantise", population.name, "weights must not be wider than the core's"
            )
    for projection in network.projections:
        where = f"{projection.source} -> {projection.target}"
        if projection.weight.shape != (sizes[projection.target], sizes[projection.source]):
            raise CompilerError(
                "quantise", where, "the weight must be (target neurons, source neurons)"
            )
        half = 1 << (network.population(projection.target).weight_mode_bits - 1)
        values = projection.weight.data
        if len(values) and (values.min() < -half or values.max() >= half):
            raise CompilerError("quantise", where, f"weights must be within {-half}..{half - 1}")


def check_partition(network: QuantisedNetwork, plan: Partition, config: ChipConfig) -> None:
    """Check capacity, that every neuron has one place, and that the cores together compute the network's sums.

    The sums are compared on two random integer vectors of source values, exactly.
    """
    limits = config.many_core.core
    for index, population in enumerate(network.populations):
        fan_in = plan.fan_in[index]
        owned = np.zeros(population.size, dtype=np.int64)
        values = np.random.default_rng(7).integers(-(1 << 15), 1 << 15, (len(fan_in.node), 2))
        sums = np.zeros((population.size, 2), dtype=np.int64)
        for number in plan.cores_of(index):
            core = plan.cores[number]
            where = f"core {number} of {population.name}"
            axons, neurons = core.weights.shape
            if axons > limits.axons or neurons > limits.neurons or neurons != len(core.neurons):
                raise CompilerError(
                    "partition", where, f"{axons} axons, {neurons} neurons exceed the core"
                )
            if core.main == number:
                owned[core.neurons] += 1
            elif not np.array_equal(plan.cores[core.main].neurons[core.target], core.neurons):
                raise CompilerError(
                    "partition", where, "sums must go to the same neurons of the main core"
                )
            _check_axons(core, fan_in, where)
            driven = np.zeros((axons, 2), dtype=np.int64)
            np.add.at(driven, core.axon, values[core.column])
            sums[core.neurons] += core.weights.T.astype(np.int64) @ driven
        if np.any(owned != 1):
            neuron = int(np.argmax(owned != 1))
            raise CompilerError(
                "partition", f"neuron {neuron} of {population.name}", "must have one place"
            )
        if not np.array_equal(sums, fan_in.weight.astype(np.int64) @ values):
            raise CompilerError(
                "partition", population.name, "the cores must compute the sums of the network"
            )


def _check_axons(core: Core, fan_in: FanIn, where: str) -> None:
    load = np.bincount(core.axon, fan_in.payload[core.column], minlength=len(core.weights))
    if np.any(load > fan_in.axon_bound):
        raise CompilerError(
            "partition", where, "the payloads of an axon must stay within what it holds"
        )
    if len(load) and load.min() == 0:
        raise CompilerError("partition", where, "every axon must have a source")


def check_schedule(plan: Partition, times: Schedule, config: ChipConfig) -> None:
    """Check every delay of every flit, and that inputs are at depth 0 and cores at 1 or more."""
    if any(times.depth[: plan.input_count]):
        raise CompilerError("schedule", "the inputs", "must be at depth 0")
    slots = config.many_core.core.delay_slots
    for number in range(len(plan.cores)):
        if times.core_depth(plan, number) < 1:
            raise CompilerError("schedule", f"core {number}", "must be at depth 1 or more")
        delay = times.column_delay(plan, number)
        if len(delay) and (delay.min() < 1 or delay.max() >= slots):
            raise CompilerError(
                "schedule", f"core {number}", f"delays must be within 1..{slots - 1}"
            )


def check_placement(plan: Partition, placement: Placement, config: ChipConfig) -> None:
    """Check that every core has a place of its own on the mesh, and that the cost is no worse than naive."""
    mesh = config.many_core.network
    sites = placement.y * mesh.columns + placement.x
    if len(sites) != len(plan.cores) or len(np.unique(sites)) != len(sites):
        raise CompilerError("place", "the cores", "must have one place each")
    if np.any(
        (placement.x < 0)
        | (placement.x >= mesh.columns)
        | (placement.y < 0)
        | (placement.y >= mesh.rows)
    ):
        raise CompilerError("place", "the cores", "must lie on the mesh")
    if placement.final_cost > placement.naive_cost:
        raise CompilerError("place", "the cost", "must not exceed that of the naive placement")


def check_routing(
    network: QuantisedNetwork,
    plan: Partition,
    placement: Placement,
    routing: Routing,
    config: ChipConfig,
) -> None:
    """Check that every flit of the plan has its route, and every route ends at an axon, neuron or line in use."""
    copies = fan_out(network, plan)
    asked = np.concatenate([*copies[: plan.input_count], np.zeros(0, dtype=np.int64)])
    if not np.array_equal(np.diff(routing.input_offset), asked):
        raise CompilerError(
            "route", "the inputs", "must have one route for each axon that they drive"
        )
    for index, counts in enumerate(copies[plan.input_count :]):
        if not np.array_equal(
            routing.route_count[plan.core_of[index], plan.place_of[index]], counts
        ):
            raise CompilerError(
                "route", plan.nodes[plan.input_count + index], "must have one route for each copy"
            )
    mesh = config.many_core.network
    core_at = np.full((mesh.rows, mesh.columns), -1, dtype=np.int64)
    core_at[placement.y, placement.x] = np.arange(len(plan.cores))
    owner = np.repeat(np.arange(len(plan.cores)), np.diff(routing.route_offset))
    kind, dx, dy, target, _ = routing.routes.T
    x, y = placement.x[owner] + dx, placement.y[owner] + dy
    inside = (x >= 0) & (x < mesh.columns) & (y >= -1) & (y < mesh.rows)
    here = inside & (y >= 0)
    reached = np.full(len(x), -1, dtype=np.int64)
    reached[here] = core_at[y[here], x[here]]
    lost = np.flatnonzero(~inside | (here & (reached < 0)))
    if len(lost):
        place = f"place ({x[lost[0]]}, {y[lost[0]]})"
        raise CompilerError("route", place, "has no core but is a route's destination")
    sizes = np.array([core.weights.shape for core in plan.cores], dtype=np.int64).reshape(-1, 2)
    bound = np.where(kind == FlitKind.SUM, sizes[reached, 1], sizes[reached, 0])
    wrong = np.flatnonzero(here & (target >= bound))
    if len(wrong):
        place = f"core ({x[wrong[0]]}, {y[wrong[0]]})"
        raise CompilerError("route", place, "is sent to an axon or neuron not in use")
