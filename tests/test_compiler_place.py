"""Placement: traffic, cost, never worse than naive, the same by seed; compiled and interpreted annealing agree."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from spikeloom.chip.arithmetic import NeuronKind
from spikeloom.chip.config import load_config
from spikeloom.compiler.anneal import _compiled, _interpreted, anneal
from spikeloom.compiler.partition import partition
from spikeloom.compiler.place import (
    _CURVES,
    _UNIT,
    Traffic,
    estimate_traffic,
    host_hops,
    place,
    placement_cost,
)
from spikeloom.compiler.verify import check_placement

from .support.quantised_builder import QuantisedBuilder

CONFIG = load_config("tiny").replace(
    core={"delay_slots": 16, "route_entries": 500},
    network={"columns": 7, "rows": 9, "host_rows": [1, 6], "host_columns": [3]},
)


def network(layers=6, width=48):
    b, rng = QuantisedBuilder(), np.random.default_rng(1)
    b.input("in", (30,))
    source, size = "in", 30
    for i in range(layers):
        b.population(f"p{i}", (width,))
        distance = np.arange(width)[:, None] * size / width - np.arange(size)
        b.connect(source, f"p{i}", rng.integers(1, 99, (width, size)) * (np.abs(distance) < 5))
        source, size = f"p{i}", width
    b.population("out", (5,), kind=NeuronKind.INTEGRATOR)
    b.connect(source, "out", rng.integers(1, 99, (5, size)))
    return b.build("out", "p0")


def test_traffic_is_counted_by_hand():
    b = QuantisedBuilder()
    b.input("in", (20,))
    b.population("a", (3,))
    b.population("out", (2,), kind=NeuronKind.INTEGRATOR)
    b.connect("in", "a", np.random.default_rng(0).integers(1, 99, (3, 20)))
    b.connect("a", "out", [[1, 2, 3], [4, 5, 6]])
    n = b.build("out")
    plan = partition(n, CONFIG)  # cores: a, a's partial sums, out
    traffic = estimate_traffic(n, plan, {"in": 0.5, "a": 0.25})
    assert traffic.from_host.tolist() == [10 * _UNIT // 2, 10 * _UNIT // 2, 0]
    assert traffic.between.toarray().tolist() == [
        [0, 0, 3 * _UNIT // 4],
        [3 * _UNIT, 0, 0],
        [0, 0, 0],
    ]
    assert traffic.to_host.tolist() == [0, 0, 2 * _UNIT]


def test_cost_is_counted_by_hand():
    mesh = CONFIG.many_core.network
    between = sparse.csr_array(np.array([[0, 5], [0, 0]]))
    traffic = Traffic(between, np.array([1, 0]), np.array([0, 2]))
    sites = np.array([2 * 7 + 1, 4 * 7 + 5])  # (1, 2) and (5, 4)
    # 5 flits over 4 + 2; 1 from the edge of row 1: 2 + 1; 2 to column 3 and beyond row 0: 2 + 5
    assert placement_cost(traffic, mesh, sites) == 5 * 6 + 1 * 3 + 2 * 7
    assert host_hops(mesh)[0].reshape(9, 7)[6].tolist() == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("name", sorted(_CURVES))
def test_curves_visit_every_place_once(name):
    sites = _CURVES[name](CONFIG.many_core.network)
    assert sorted(sites.tolist()) == list(range(63))


def test_placement_beats_naive_and_is_repeatable():
    n = network()
    plan = partition(n, CONFIG)
    first, again, other = (place(n, plan, CONFIG, seed=seed) for seed in (0, 0, 1))
    check_placement(plan, first, CONFIG)
    assert first.final_cost < 0.8 * first.naive_cost
    assert first.final_cost <= first.start_cost
    assert 20 < first.saved_percent < 100
    np.testing.assert_array_equal(first.x, again.x)
    np.testing.assert_array_equal(first.y, again.y)
    assert other.final_cost < 0.8 * other.naive_cost
    sites = first.y * 7 + first.x
    traffic = estimate_traffic(n, plan)
    assert placement_cost(traffic, CONFIG.many_core.network, sites) == first.final_cost * _UNIT


def random_problem(cores, columns, rows, seed=0):
    rng = np.random.default_rng(seed)
    dense = np.triu(rng.integers(1, 1000, (cores, cores)) * (rng.random((cores, cores)) < 0.2), 1)
    graph = sparse.csr_array(dense + dense.T)
    fixed = rng.integers(0, 500, (cores, columns * rows))
    return graph, fixed


def cost(graph, fixed, sites, columns):
    x, y = sites % columns, sites // columns
    hops = np.abs(x[:, None] - x) + np.abs(y[:, None] - y)
    return int((graph.toarray() * hops).sum()) // 2 + int(fixed[np.arange(len(sites)), sites].sum())


def test_compiled_and_interpreted_annealing_agree():
    graph, fixed = random_problem(12, 4, 5)
    found = []
    for run, kind in ((_compiled, np.array), (_interpreted, np.ndarray.tolist)):
        at = np.append(np.arange(12), np.full(8, -1))
        arrays = (
            np.arange(12),
            at,
            np.arange(12),
            graph.indptr,
            graph.indices,
            graph.data,
            fixed.ravel(),
        )
        given = [kind(array.astype(np.int64)) for array in arrays]
        run(4, 20_000, 12345, *given)
        found.append(np.array(given[2]))
    np.testing.assert_array_equal(*found)
    assert cost(graph, fixed, found[0], 4) < cost(graph, fixed, np.arange(12), 4)
    assert len(np.unique(found[0])) == 12


def test_a_thousand_cores_are_placed_in_seconds():
    rng = np.random.default_rng(0)
    count = 1024
    near = sparse.coo_array(
        (rng.integers(1, 99, 40 * count),
         (np.arange(40 * count) // 40, (np.arange(40 * count) // 40 + rng.integers(1, 60, 40 * count)) % count)),
        shape=(count, count),
    ).tocsr()  # fmt: skip
    graph = sparse.csr_array(near + near.T)
    fixed = np.zeros((count, count), dtype=np.int64)
    start = rng.permutation(count)
    indptr, indices, data = (a.astype(np.int64) for a in (graph.indptr, graph.indices, graph.data))
    sites = anneal(start, 32, 32, indptr, indices, data, fixed, seed=0)
    assert cost(graph, fixed, sites, 32) < 0.6 * cost(graph, fixed, start, 32)
