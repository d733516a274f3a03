"""The network's graph as it is mapped: which layer sends to which, over how many routes, with how many flits."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from ..chip.events import CORE_EVENT_INDEX
from ..chip.packet import FlitKind
from ..chip.program import ManyCoreProgram
from .result import Edge

__all__ = ["edges"]

Ints = NDArray[np.int64]

_HOST = "host"


def edges(
    program: ManyCoreProgram,
    core_counters: Ints,
    neuron_outputs: Ints,
    host_flits_in: int,
    samples: int,
) -> list[Edge]:
    """Return the edges of the graph, with the flits of a mean sample.

    A neuron's outputs times its routes to a target are the flits of an edge. Where these do not add up to what the core
    sent, as with outputs outside the network's timesteps, the core's flits are split in their proportion and the edge
    says *derived*. So do those of the host where it feeds several layers: its flits are split by its routes.

    Parameters
    ----------
    core_counters
        (cores in use, events) totals over the samples, columns as `chip.events.CORE_EVENTS`.
    neuron_outputs
        (cores in use, neurons) outputs that are not 0, totals over the samples.
    host_flits_in
        Total over the samples.
    """
    mesh = program.config.many_core.network
    x, y = program.register("x"), program.register("y")
    layer_at = np.full(mesh.rows * mesh.columns, -1, np.int64)
    layer_at[y * mesh.columns + x] = program.core_layer
    names = [layer.name for layer in program.layers]
    sums: defaultdict[tuple[str, str, str], list[float]] = defaultdict(lambda: [0, 0.0])
    split: set[tuple[str, str, str]] = set()
    for core in range(program.core_count):
        used, neurons = _routes_in_use(program, core)
        if not len(used):
            continue
        kind, dx, dy, _, _ = program.routes[used].astype(np.int64).T
        row, column = y[core] + dy, x[core] + dx
        is_out = row < 0
        target = np.where(is_out, -1, layer_at[np.maximum(row, 0) * mesh.columns + column])
        pairs, which, routes = np.unique(
            np.stack([target, kind == FlitKind.SUM]),
            axis=1,
            return_inverse=True,
            return_counts=True,
        )
        found = np.bincount(which.reshape(-1), neuron_outputs[core, neurons], len(routes))
        sent = int(core_counters[core, CORE_EVENT_INDEX["flits_sent"]])
        is_exact = len(routes) == 1 or int(found.sum()) == sent
        if not is_exact:
            found = found if found.any() else routes
        shares = found / found.sum() if found.any() else found
        for (place, is_sum), number, share in zip(
            pairs.T.tolist(), routes.tolist(), shares.tolist(), strict=True
        ):
            what = "outputs" if place < 0 else "sums" if is_sum else "values"
            key = (names[program.core_layer[core]], _HOST if place < 0 else names[place], what)
            sums[key][0] += number
            sums[key][1] += (sent if len(routes) == 1 else sent * share) / samples
            if not is_exact:
                split.add(key)
    _inputs(program, layer_at, names, host_flits_in / samples, sums, split)
    return [
        Edge(
            source=source,
            target=target,
            what=what,  # pyright: ignore[reportArgumentType]
            routes=int(routes),
            flits=flits,
            status="derived" if (source, target, what) in split else "measured",
        )
        for (source, target, what), (routes, flits) in sums.items()
    ]


def _routes_in_use(program: ManyCoreProgram, core: int) -> tuple[Ints, Ints]:
    """Return the places in ``program.routes`` of a core's neurons' routes, one an entry and neuron, and the neurons."""
    base, count = program.route_base[core], program.route_count[core]
    first = np.repeat(base - np.concatenate([[0], np.cumsum(count)[:-1]]), count)
    places = program.route_offset[core] + first + np.arange(int(count.sum()))
    return places, np.repeat(np.arange(len(count)), count)


def _inputs(
    program: ManyCoreProgram,
    layer_at: Ints,
    names: list[str],
    flits: float,
    sums: defaultdict[tuple[str, str, str], list[float]],
    split: set[tuple[str, str, str]],
) -> None:
    """Add what the host injects, by the network's inputs."""
    mesh = program.config.many_core.network
    port, dx, dy, _, _ = program.input_routes.astype(np.int64).reshape(-1, 5).T
    if not len(port):
        return
    target = layer_at[(np.array(mesh.host_rows, np.int64)[port] + dy) * mesh.columns + dx]
    sizes = [int(np.prod(item.shape)) for item in program.inputs]
    own = np.repeat(np.repeat(np.arange(len(sizes)), sizes), np.diff(program.input_offset))
    pairs, routes = np.unique(np.stack([own, target]), axis=1, return_counts=True)
    for (item, place), number in zip(pairs.T.tolist(), routes.tolist(), strict=True):
        key = (program.inputs[item].name, names[place], "values")
        sums[key][0] += number
        sums[key][1] += flits * number / len(port)
        if len(routes) > 1:
            split.add(key)
