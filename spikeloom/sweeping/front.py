"""Which of several points nobody beats: dominance, fronts, and how crowded a point's surroundings are.

All functions take one tuple of numbers a point, every number the smaller the better.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

Costs = tuple[float, ...]


def dominates(a: Costs, b: Costs) -> bool:
    """Return whether ``a`` is nowhere worse than ``b`` and somewhere better."""
    return a != b and all(x <= y for x, y in zip(a, b, strict=True))


def fronts(costs: Sequence[Costs]) -> list[list[int]]:
    """Sort points into fronts: the first holds those that nobody dominates, the next those that only it dominates.

    Fast non-dominated sorting of NSGA-II (Deb et al., IEEE Trans. Evol. Comput. 6(2), 2002), O(objectives x points^2).
    Equal points share a front. Within a front indices ascend.
    """
    beats: list[list[int]] = [[] for _ in costs]
    beaten_by = [0] * len(costs)
    for i, a in enumerate(costs):
        for j in range(i + 1, len(costs)):
            if dominates(a, costs[j]):
                beats[i].append(j)
                beaten_by[j] += 1
            elif dominates(costs[j], a):
                beats[j].append(i)
                beaten_by[i] += 1
    sorted_fronts = []
    front = [i for i, count in enumerate(beaten_by) if count == 0]
    while front:
        sorted_fronts.append(front)
        following = []
        for i in front:
            for j in beats[i]:
                beaten_by[j] -= 1
                if beaten_by[j] == 0:
                    following.append(j)
        front = sorted(following)
    return sorted_fronts


def crowding(costs: Sequence[Costs]) -> list[float]:
    """Return each point's crowding distance within a front: large where it stands alone, infinite at the ends."""
    distance = [0.0] * len(costs)
    if not costs:
        return distance
    for objective in range(len(costs[0])):
        order = sorted(range(len(costs)), key=lambda i: costs[i][objective])
        low, high = costs[order[0]][objective], costs[order[-1]][objective]
        distance[order[0]] = distance[order[-1]] = inf
        if high > low:
            for before, here, after in zip(order, order[1:], order[2:], strict=False):
                step = costs[after][objective] - costs[before][objective]
                distance[here] += step / (high - low)
    return distance


def pareto_front(costs: Sequence[Costs]) -> list[int]:
    """Return the indices of the points that nobody dominates, ascending; points x front comparisons.

    In lexicographic order whoever dominates a point comes before it.
    """
    best: list[int] = []
    for i in sorted(range(len(costs)), key=lambda i: costs[i]):
        if not any(dominates(costs[j], costs[i]) for j in best):
            best.append(i)
    return sorted(best)
