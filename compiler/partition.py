"""Populations to cores: blocks of neurons, and partial-sum cores where the fan-in exceeds one core's axons."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ..chip.config import ChipConfig
from ..chip.program import weight_dtype
from .axons import FanIn, collect_fan_in, group_axons, node_names
from .fit import DoesNotFit
from .quantised import Ints, QuantisedNetwork
from .tiles import choose_cut


@dataclass(frozen=True)
class Core:
    """One core of the plan, not yet placed.

    ``population`` is its place in the network. ``main`` is the core whose neurons it sums for, or its own number if it
    is no partial core. ``neurons`` (core's neurons,) are places in the population; ``target`` are the neurons of
    the main
    core that a partial core's sums go to. ``weights`` is (axons in use, neurons in use). Source ``column[i]`` of the
    population's fan-in drives axon ``axon[i]``.
    """

    population: int
    main: int
    neurons: Ints
    target: Ints
    weights: NDArray[np.signedinteger]
    column: Ints
    axon: Ints


@dataclass(frozen=True)
class Partition:
    """All cores in the order of the populations, each main core before its partial ones; the fan-in of each population.

    ``core_of[p]`` and ``place_of[p]`` say for each neuron of population ``p`` its main core and its place therein.
    """

    nodes: tuple[str, ...]
    input_count: int
    fan_in: tuple[FanIn, ...]
    cores: tuple[Core, ...]
    core_of: tuple[Ints, ...]
    place_of: tuple[Ints, ...]
    smaller_blocks: dict[str, int]

    def cores_of(self, population: int) -> tuple[int, ...]:
        """Return the cores of a population, partial ones included."""
        return tuple(i for i, core in enumerate(self.cores) if core.population == population)

    def is_partial(self, core: int) -> bool:
        """Whether a core only sums for another."""
        return self.cores[core].main != core


def partition(network: QuantisedNetwork, config: ChipConfig) -> Partition:
    """Cut every population into cores.

    A block's sources are its axons, equal ones shared. Axons beyond one core go to partial cores: sources of delay 0
    first, since a partial core takes one chip timestep more. Blocks whose neurons need more routes than a core
    holds are
    made smaller.

    Raises
    ------
    DoesNotFit
        If the cores exceed the mesh, or one neuron alone needs more routes than a core holds.
    """
    core = config.many_core.core
    fan_ins = tuple(
        collect_fan_in(network, p.name, core.activation_bits) for p in network.populations
    )
    limits = [core.neurons] * len(fan_ins)
    plans: list[list[Core] | None] = [None] * len(fan_ins)
    first_count = 0
    while True:  # limits only shrink, and a single neuron's routes fit or are refused: this ends
        for index, plan in enumerate(plans):
            if plan is None:
                plans[index] = _plan(network, index, fan_ins[index], limits[index], config)
        result = _assemble(network, fan_ins, [plan or [] for plan in plans], limits, core.neurons)
        first_count = first_count or len(result.cores)
        if first_count > config.many_core.core_count:
            _refuse_cores(network, result, config)
        if len(result.cores) > config.many_core.core_count:
            _refuse_routes(result, first_count, config)
        tight = _shrink(network, result, limits, core.route_entries)
        for index in tight:
            plans[index] = None
        if not tight:
            return result


def fan_out(network: QuantisedNetwork, plan: Partition) -> tuple[Ints, ...]:
    """Return for each node, inputs first, the flits that each of its neurons sends for one output value."""
    sizes = [
        *(int(np.prod(i.shape)) for i in network.inputs),
        *(p.size for p in network.populations),
    ]
    counts = [np.zeros(size, dtype=np.int64) for size in sizes]
    for core in plan.cores:
        fan_in = plan.fan_in[core.population]
        node, neuron = fan_in.node[core.column], fan_in.neuron[core.column]
        for source in np.unique(node):
            np.add.at(counts[source], neuron[node == source], 1)
    for name in network.network.outputs:
        counts[plan.nodes.index(name)] += 1
    return tuple(counts)


def _plan(
    network: QuantisedNetwork, index: int, fan_in: FanIn, limit: int, config: ChipConfig
) -> list[Core]:
    """Cut one population; ``main`` counts from the population's first core."""
    population = network.populations[index]
    core = config.many_core.core
    dtype = weight_dtype(core.weight_bits)
    cores: list[Core] = []
    for neurons in choose_cut(population.source.shape, fan_in, core.axons, limit).blocks():
        block = sparse.csc_array(fan_in.weight[neurons].tocsc())
        block.sort_indices()
        groups = group_axons(fan_in, block)
        delayed = np.zeros(groups.count, dtype=bool)
        delayed[groups.axon[fan_in.delay[groups.column] > 0]] = True
        main = len(cores)
        for part in _divide(delayed, core.axons):
            number = np.full(groups.count, -1, dtype=np.int64)
            number[part] = np.arange(len(part))
            weights = block[:, groups.representative[part]].toarray().T.astype(dtype)
            target = np.arange(len(neurons))
            if len(cores) > main:
                target = np.flatnonzero(weights.any(axis=0))
            here = number[groups.axon] >= 0
            cores.append(
                Core(
                    population=index,
                    main=main,
                    neurons=neurons[target],
                    target=target,
                    weights=np.ascontiguousarray(weights[:, target]),
                    column=groups.column[here],
                    axon=number[groups.axon[here]],
                )
            )
    return cores


def _divide(delayed: NDArray[np.bool_], axons: int) -> Iterable[Ints]:
    """Divide axons evenly over the cores that they need; the first, the main core, takes the delayed ones first."""
    count = len(delayed)
    parts = max(1, -(-count // axons))
    order = np.argsort(~delayed, kind="stable")
    main = min(axons, max(-(-count // parts), int(delayed.sum())))
    yield np.sort(order[:main])
    if parts > 1:
        yield from np.array_split(order[main:], parts - 1)


def _assemble(
    network: QuantisedNetwork,
    fan_ins: tuple[FanIn, ...],
    plans: list[list[Core]],
    limits: list[int],
    neurons: int,
) -> Partition:
    cores: list[Core] = []
    core_of, place_of = [], []
    for index, plan in enumerate(plans):
        base = len(cores)
        size = network.populations[index].size
        owner, place = np.full(size, -1, dtype=np.int64), np.full(size, -1, dtype=np.int64)
        for offset, item in enumerate(plan):
            if item.main == offset:
                owner[item.neurons] = base + offset
                place[item.neurons] = np.arange(len(item.neurons))
            cores.append(
                Core(
                    index,
                    base + item.main,
                    item.neurons,
                    item.target,
                    item.weights,
                    item.column,
                    item.axon,
                )
            )
        core_of.append(owner)
        place_of.append(place)
    names = [p.name for p in network.populations]
    return Partition(
        nodes=node_names(network),
        input_count=len(network.inputs),
        fan_in=fan_ins,
        cores=tuple(cores),
        core_of=tuple(core_of),
        place_of=tuple(place_of),
        smaller_blocks={
            n: limit for n, limit in zip(names, limits, strict=True) if limit < neurons
        },
    )


def _shrink(
    network: QuantisedNetwork, plan: Partition, limits: list[int], entries: int
) -> list[int]:
    """Lower the block limits of populations with too many routes in a core; return those populations."""
    changed = []
    for index, counts in enumerate(fan_out(network, plan)[plan.input_count :]):
        name = network.populations[index].name
        if counts.max(initial=0) > entries:
            raise DoesNotFit(
                resource="route_entries",
                where=f"a neuron of {name}",
                asked=int(counts.max()),
                available=entries,
                levers=(
                    f"route_entries of at least {int(counts.max())}",
                    "larger cores",
                    "a smaller fan-out",
                ),
            )
        routes = np.zeros(len(plan.cores), dtype=np.int64)
        np.add.at(routes, plan.core_of[index], counts)
        worst = int(np.argmax(routes))
        if routes[worst] > entries:
            size = len(plan.cores[worst].neurons)
            limits[index] = max(1, min(size - 1, size * entries // int(routes[worst])))
            changed.append(index)
    return changed


def _refuse_cores(network: QuantisedNetwork, plan: Partition, config: ChipConfig) -> NoReturn:
    counts = np.bincount(
        [core.population for core in plan.cores], minlength=len(network.populations)
    )
    largest = int(np.argmax(counts))
    raise DoesNotFit(
        resource="cores",
        where=f"the network (most of all {network.populations[largest].name}: {int(counts[largest])})",
        asked=len(plan.cores),
        available=config.many_core.core_count,
        levers=(
            f"a mesh of at least {len(plan.cores)} cores",
            "more axons and neurons a core",
            "a smaller network",
        ),
    )


def _refuse_routes(plan: Partition, before: int, config: ChipConfig) -> NoReturn:
    names = ", ".join(plan.smaller_blocks)
    raise DoesNotFit(
        resource="cores",
        where=f"the network with blocks of {names} made smaller for their routes ({before} without)",
        asked=len(plan.cores),
        available=config.many_core.core_count,
        levers=(
            "more route_entries",
            f"a mesh of at least {len(plan.cores)} cores",
            "a smaller fan-out",
        ),
    )
