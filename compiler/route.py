"""Routes: the flits that each neuron and each input value sends, and the lines on which outputs reach the host."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..chip.config import ChipConfig
from ..chip.packet import FlitKind, FlitLayout
from .fit import DoesNotFit
from .partition import Partition
from .place import Placement
from .quantised import Ints, QuantisedNetwork
from .schedule import Schedule


@dataclass(frozen=True)
class Routing:
    """The route arrays of `ManyCoreProgram`, in its layout."""

    route_offset: Ints
    route_base: Ints
    route_count: Ints
    routes: NDArray[np.int32]
    input_offset: Ints
    input_routes: NDArray[np.int32]
    output_lines: NDArray[np.int32]

    @property
    def fullest_core(self) -> int:
        """Routes of the core that has most."""
        return int(np.diff(self.route_offset).max(initial=0))


def route(
    network: QuantisedNetwork,
    plan: Partition,
    times: Schedule,
    placement: Placement,
    config: ChipConfig,
) -> Routing:
    """Write one route for each destination core of each neuron, in the order of cores, then the outputs.

    Raises
    ------
    DoesNotFit
        If the outputs exceed the lines of the host's ports, or a core's routes its memory.
    """
    core = config.many_core.core
    count = len(plan.cores)
    # Columns: sending core (or -1), its neuron (or the flat input), kind, x, y, target, delay.
    flits: list[Ints] = []
    sizes = [int(np.prod(i.shape)) for i in network.inputs]
    input_base = np.cumsum([0, *sizes])
    for index, item in enumerate(plan.cores):
        fan_in = plan.fan_in[item.population]
        node, neuron = fan_in.node[item.column], fan_in.neuron[item.column]
        delay = times.column_delay(plan, index)
        for source in np.unique(node).tolist():
            here = node == source
            if source < plan.input_count:
                owner, place = np.full(int(here.sum()), -1), input_base[source] + neuron[here]
            else:
                owner = plan.core_of[source - plan.input_count][neuron[here]]
                place = plan.place_of[source - plan.input_count][neuron[here]]
            flits.append(
                _rows(owner, place, FlitKind.AXON, placement, index, item.axon[here], delay[here])
            )
        if item.main != index:
            owner = np.full(len(item.target), index)
            place = np.arange(len(item.target))
            flits.append(
                _rows(
                    owner,
                    place,
                    FlitKind.SUM,
                    placement,
                    item.main,
                    item.target,
                    np.ones_like(place),
                )
            )
    lines, outgoing = _output_lines(network, plan, placement, config)
    table = np.concatenate([*flits, outgoing])
    order = np.lexsort((np.arange(len(table)), table[:, 1], table[:, 0]))
    table = table[order]
    from_host = table[:, 0] < 0
    inputs, table = table[from_host], table[~from_host]
    owner, place = table[:, 0], table[:, 1]
    offset = np.searchsorted(owner, np.arange(count + 1))
    used = np.diff(offset)
    worst = int(np.argmax(used)) if count else 0
    if count and used[worst] > core.route_entries:
        raise DoesNotFit(
            resource="route_entries",
            where=f"a core of {network.populations[plan.cores[worst].population].name}",
            asked=int(used[worst]),
            available=core.route_entries,
            levers=(f"route_entries of at least {int(used[worst])}", "fewer neurons a core"),
        )
    cells = np.bincount(owner * core.neurons + place, minlength=count * core.neurons)
    route_count = cells.reshape(count, core.neurons)
    route_base = np.cumsum(route_count, axis=1) - route_count
    routes = table[:, 2:].copy()
    routes[:, 1] -= placement.x[owner]
    routes[:, 2] -= placement.y[owner]
    return Routing(
        route_offset=offset.astype(np.int64),
        route_base=np.where(route_count > 0, route_base, 0).astype(np.int64),
        route_count=route_count.astype(np.int64),
        routes=routes.astype(np.int32),
        input_offset=np.searchsorted(inputs[:, 1], np.arange(input_base[-1] + 1)).astype(np.int64),
        input_routes=_input_routes(inputs, config),
        output_lines=lines,
    )


def _rows(
    owner: Ints,
    place: Ints,
    kind: FlitKind,
    placement: Placement,
    to: int,
    target: Ints,
    delay: Ints,
) -> Ints:
    """Return rows of the table: one flit from each owner's neuron to the core ``to``."""
    same = np.ones(len(owner), dtype=np.int64)
    return np.stack(
        [owner, place, same * kind, same * placement.x[to], same * placement.y[to], target, delay],
        axis=1,
    ).astype(np.int64)


def _input_routes(inputs: Ints, config: ChipConfig) -> NDArray[np.int32]:
    """Return input routes from absolute places: each enters at the nearest host row, the lower of two."""
    rows = np.array(config.many_core.network.host_rows)
    port = np.abs(inputs[:, 4, None] - rows).argmin(axis=1)
    return np.stack(
        [port, inputs[:, 3], inputs[:, 4] - rows[port], inputs[:, 5], inputs[:, 6]], axis=1
    ).astype(np.int32)


def _output_lines(
    network: QuantisedNetwork, plan: Partition, placement: Placement, config: ChipConfig
) -> tuple[NDArray[np.int32], Ints]:
    """Return the output lines, numbered for each host column, and the table's rows that lead there.

    A core's outputs leave at the nearest column that has lines left.
    """
    layout = FlitLayout.of(config.many_core)
    columns = config.many_core.network.host_columns
    free = [layout.output_lines] * len(columns)
    total = network.network.output_size
    if total > sum(free):
        raise DoesNotFit(
            resource="output_lines",
            where="the network",
            asked=total,
            available=sum(free),
            levers=("more host_columns", "more delay_slots or neurons a core", "fewer outputs"),
        )
    lines, rows, index = [], [], 0
    for name in network.network.outputs:
        node = plan.nodes.index(name)
        population = node - plan.input_count
        for owner, place in zip(
            plan.core_of[population].tolist(), plan.place_of[population].tolist(), strict=True
        ):
            x = int(placement.x[owner])
            port = min(
                (p for p in range(len(columns)) if free[p]), key=lambda p: (abs(columns[p] - x), p)
            )
            line = layout.output_lines - free[port]
            free[port] -= 1
            lines.append((port, line, index, population))
            target = line & ((1 << layout.target_bits) - 1)
            rows.append(
                (owner, place, FlitKind.AXON, columns[port], -1, target, line >> layout.target_bits)
            )
            index += 1
    return np.array(lines, dtype=np.int32).reshape(-1, 4), np.array(rows, dtype=np.int64).reshape(
        -1, 7
    )
