"""Searches: every point once, the same by seed, towards the front; and what a front is."""

from __future__ import annotations

import itertools
import random
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikeloom.sweeping.front import crowding, dominates, fronts, pareto_front
from spikeloom.sweeping.search import planned

from .support.sweep_spaces import INFERENCE, space_of, walk

VARY = {
    "many_core.core.lanes": list(range(1, 13)),
    "many_core.core.route_entries": list(range(1, 13)),
    "many_core.network.fifo_depth": list(range(1, 13)),
}


def space(method, points=None, population=None, seed=0, vary=VARY):
    search = {"method": method, "points": points, "population": population}
    search = {key: value for key, value in search.items() if value is not None}
    return space_of(INFERENCE, search=search, seed=seed, vary=vary)


def costs_of(point):
    """Return two objectives that contradict each other; a third of the space has no result."""
    a, b, c = (value - 1 for value in point.values.values())
    return None if (a + b + c) % 3 == 2 else (float(a + abs(b - 5)), float((11 - a) + abs(c - 3)))


def values(points):
    return [tuple(point.values.values()) for point in points]


def test_grid_is_the_product_in_order():
    found = walk(space("grid"), costs_of)
    assert values(found) == list(itertools.product(*VARY.values()))
    assert [point.number for point in found] == list(range(12**3))


def test_random_draws_without_repetition_and_by_seed():
    found = walk(space("random", 200), costs_of)
    assert len(set(values(found))) == 200
    assert values(found) == values(walk(space("random", 200), costs_of))
    assert values(found) != values(walk(space("random", 200, seed=1), costs_of))


def test_random_takes_all_where_there_are_no_more():
    small = {"many_core.core.lanes": [1, 2], "many_core.network.fifo_depth": [1, 2, 3]}
    asked = space("random", 50, vary=small)
    assert planned(asked) == 6
    assert sorted(values(walk(asked, costs_of_two))) == sorted(itertools.product(*small.values()))


def costs_of_two(point):
    a, b = point.values.values()
    return float(a), float(b)


def test_pareto_finds_most_of_the_front_with_a_part_of_the_points():
    everything = [costs for p in walk(space("grid"), costs_of) if (costs := costs_of(p))]
    best = {everything[i] for i in pareto_front(everything)}
    assert len(best) > 5
    shares = {}
    for method, population in (("pareto", 20), ("random", None)):
        found = walk(space(method, 240, population), costs_of)
        assert len(set(values(found))) == 240
        shares[method] = len(best & {costs_of(point) for point in found}) / len(best)
    assert shares["pareto"] >= 0.8
    assert shares["pareto"] > shares["random"]


def test_pareto_depends_on_space_seed_and_results_alone():
    asked = space("pareto", 60, 12)
    found = values(walk(asked, costs_of))
    assert found == values(walk(asked, costs_of))
    assert found != values(walk(space("pareto", 60, 12, seed=1), costs_of))
    assert found != values(walk(asked, lambda point: tuple(-x for x in costs_of(point) or (0, 0))))


def test_pareto_ends_where_nothing_is_left_and_where_nothing_works():
    small = {"many_core.core.lanes": [1, 2, 4], "many_core.network.fifo_depth": [1, 2, 3]}
    found = walk(space("pareto", 50, 4, vary=small), costs_of_two)
    assert sorted(values(found)) == sorted(itertools.product(*small.values()))
    assert len(walk(space("pareto", 30, 10), lambda _point: None)) == 30


def test_dominance():
    assert dominates((1.0, 2.0), (1.0, 3.0))
    assert not dominates((1.0, 2.0), (1.0, 2.0))
    assert not dominates((1.0, 3.0), (2.0, 2.0))


@given(st.lists(st.tuples(*[st.integers(0, 5)] * 3), min_size=1, max_size=40))
def test_fronts_equal_their_definition(points):
    costs = [tuple(map(float, point)) for point in points]
    left, expected = set(range(len(costs))), []
    while left:
        front = [i for i in left if not any(dominates(costs[j], costs[i]) for j in left)]
        expected.append(sorted(front))
        left -= set(front)
    assert fronts(costs) == expected
    assert pareto_front(costs) == expected[0]


def test_crowding_is_infinite_at_the_ends_and_larger_where_it_is_lonely():
    distance = crowding([(0.0, 10.0), (1.0, 9.0), (2.0, 8.0), (8.0, 2.0), (10.0, 0.0)])
    assert distance[0] == distance[4] == inf
    assert distance[1] == pytest.approx(2 * 2 / 10)
    assert distance[3] == pytest.approx(2 * 8 / 10)
    assert crowding([]) == []
    assert crowding([(1.0, 1.0)] * 3)[1] == 0.0


def test_fronts_do_not_depend_on_order():
    draw = random.Random(5)
    costs = [(draw.random(), draw.random()) for _ in range(60)]
    best = {costs[i] for i in pareto_front(costs)}
    draw.shuffle(costs)
    assert {costs[i] for i in pareto_front(costs)} == best
