"""Cores to places on the mesh: traffic between cores and the host's ports, a good start, then annealing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from ..chip.arithmetic import NeuronKind
from ..chip.config import ChipConfig, NetworkOnChipConfig
from .anneal import anneal
from .partition import Partition
from .quantised import Ints, QuantisedNetwork

DEFAULT_ACTIVITY = 0.1  # flits a route and timestep, where no estimate is given
_UNIT = 1024  # traffic is counted in integers of 1/1024 flit a timestep, so that costs add exactly


@dataclass(frozen=True)
class Traffic:
    """Expected flits a network timestep, in units of 1/1024.

    ``between`` is CSR int64 (cores, cores), sender by receiver; ``from_host`` and ``to_host`` are (cores,).
    """

    between: sparse.csr_array
    from_host: Ints
    to_host: Ints


@dataclass(frozen=True)
class Placement:
    """The column and row of each core, and cost = flits x hops a network timestep: naive, of the start, final."""

    x: Ints
    y: Ints
    naive_cost: float
    start_cost: float
    final_cost: float
    start_curve: str

    @property
    def saved_percent(self) -> float:
        """How far the cost is below that of the naive placement."""
        return 100.0 * (1.0 - self.final_cost / self.naive_cost) if self.naive_cost else 0.0


def estimate_traffic(
    network: QuantisedNetwork, plan: Partition, activity: Mapping[str, float] | None = None
) -> Traffic:
    """Estimate who sends how much to whom; ``activity`` maps nodes to flits a neuron and timestep (0.1 if absent)."""
    rates = [round(_UNIT * (activity or {}).get(name, DEFAULT_ACTIVITY)) for name in plan.nodes]
    for index, population in enumerate(network.populations):
        if population.source.kind in (NeuronKind.INTEGRATOR, NeuronKind.CUBA_INTEGRATOR):
            rates[plan.input_count + index] = _UNIT
    count = len(plan.cores)
    from_host, to_host = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    senders, receivers, flits = [], [], []
    for index, core in enumerate(plan.cores):
        fan_in = plan.fan_in[core.population]
        node, neuron = fan_in.node[core.column], fan_in.neuron[core.column]
        amounts = np.zeros(count, dtype=np.int64)
        for source in np.unique(node).tolist():
            here = neuron[node == source]
            if source < plan.input_count:
                from_host[index] += rates[source] * len(here)
            else:
                owner = plan.core_of[source - plan.input_count][here]
                amounts += rates[source] * np.bincount(owner, minlength=count)
        sender = np.flatnonzero(amounts)
        senders.append(sender)
        receivers.append(np.full(len(sender), index))
        flits.append(amounts[sender])
        if core.main != index:
            senders.append(np.array([index]))
            receivers.append(np.array([core.main]))
            flits.append(np.array([_UNIT * len(core.neurons)]))
    for name in network.network.outputs:
        node = plan.nodes.index(name)
        to_host += rates[node] * np.bincount(plan.core_of[node - plan.input_count], minlength=count)
    entries = (np.concatenate(flits), (np.concatenate(senders), np.concatenate(receivers)))
    between = sparse.coo_array(entries, shape=(count, count)).tocsr()
    return Traffic(sparse.csr_array(between), from_host, to_host)


def place(
    network: QuantisedNetwork,
    plan: Partition,
    config: ChipConfig,
    *,
    seed: int = 0,
    activity: Mapping[str, float] | None = None,
) -> Placement:
    """Place the cores so that traffic x hops is small; never worse than row by row in the order of creation.

    The result depends on nothing but the arguments.
    """
    mesh = config.many_core.network
    traffic = estimate_traffic(network, plan, activity)
    count = len(plan.cores)
    hops_in, hops_out = host_hops(mesh)
    naive = np.arange(count)
    naive_cost = placement_cost(traffic, mesh, naive)
    starts = {name: curve(mesh)[:count] for name, curve in _CURVES.items()}
    costs = {name: placement_cost(traffic, mesh, sites) for name, sites in starts.items()}
    best = min(costs, key=lambda name: costs[name])
    symmetric = sparse.csr_array(traffic.between + traffic.between.T)
    symmetric.sort_indices()
    sites = anneal(
        starts[best],
        mesh.columns,
        mesh.rows,
        symmetric.indptr.astype(np.int64),
        symmetric.indices.astype(np.int64),
        symmetric.data.astype(np.int64),
        traffic.from_host[:, None] * hops_in[None, :]
        + traffic.to_host[:, None] * hops_out[None, :],
        seed,
    )
    final_cost = placement_cost(traffic, mesh, sites)
    if final_cost > naive_cost:
        sites, final_cost = naive, naive_cost
    return Placement(
        x=sites % mesh.columns,
        y=sites // mesh.columns,
        naive_cost=naive_cost / _UNIT,
        start_cost=costs[best] / _UNIT,
        final_cost=final_cost / _UNIT,
        start_curve=best,
    )


def host_hops(mesh: NetworkOnChipConfig) -> tuple[Ints, Ints]:
    """Return for each place, row by row, the hops from the nearest host row and to the nearest host column."""
    site = np.arange(mesh.columns * mesh.rows)
    x, y = site % mesh.columns, site // mesh.columns
    hops_in = x + 1 + np.abs(y[:, None] - np.array(mesh.host_rows)).min(axis=1)
    hops_out = y + 1 + np.abs(x[:, None] - np.array(mesh.host_columns)).min(axis=1)
    return hops_in.astype(np.int64), hops_out.astype(np.int64)


def placement_cost(traffic: Traffic, mesh: NetworkOnChipConfig, sites: Ints) -> int:
    """Return traffic x hops of a placement, in 1/1024 flit hops a network timestep."""
    x, y = sites % mesh.columns, sites // mesh.columns
    edges = traffic.between.tocoo()
    a, b = edges.coords
    hops = np.abs(x[a] - x[b]) + np.abs(y[a] - y[b])
    hops_in, hops_out = host_hops(mesh)
    return int(
        (edges.data * hops).sum()
        + (traffic.from_host * hops_in[sites]).sum()
        + (traffic.to_host * hops_out[sites]).sum()
    )


def _rows_snake(mesh: NetworkOnChipConfig) -> Ints:
    grid = np.arange(mesh.columns * mesh.rows).reshape(mesh.rows, mesh.columns)
    grid[1::2] = grid[1::2, ::-1]
    return grid.ravel()


def _columns_snake(mesh: NetworkOnChipConfig) -> Ints:
    grid = np.arange(mesh.columns * mesh.rows).reshape(mesh.rows, mesh.columns).T.copy()
    grid[1::2] = grid[1::2, ::-1]
    return grid.ravel()


def _hilbert(mesh: NetworkOnChipConfig) -> Ints:
    """Return the places in the order of a Hilbert curve over the smallest power-of-two square around the mesh."""
    order = (max(mesh.columns, mesh.rows) - 1).bit_length()
    sites = []
    for index in range(4**order):
        x = y = 0
        rest, side = index, 1
        while side < 1 << order:
            right, up = 1 & (rest // 2), 1 & (rest ^ (rest // 2))
            if not up:
                if right:
                    x, y = side - 1 - x, side - 1 - y
                x, y = y, x
            x, y = x + side * right, y + side * up
            rest, side = rest // 4, side * 2
        if x < mesh.columns and y < mesh.rows:
            sites.append(y * mesh.columns + x)
    return np.array(sites, dtype=np.int64)


_CURVES: dict[str, Callable[[NetworkOnChipConfig], Ints]] = {
    "columns": _columns_snake,
    "rows": _rows_snake,
    "hilbert": _hilbert,
}
