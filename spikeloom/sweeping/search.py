"""The order in which the points of a space are tried: all, some at random, or after NSGA-II towards the Pareto front.

A search is a generator. It yields batches of points and is sent what became of them, so that a search that is run
again over results that are already there goes the same way: it depends on the space, the seed and the results alone.
Own code and no library of optimisers: the spaces are finite, and a point that was tried must not be tried again.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Generator, Iterable, Mapping
from math import prod

from .front import Costs, crowding, fronts
from .space import Point, Space

# Index of the chosen value on every axis.
Genes = tuple[int, ...]
# Costs of the points of a batch that gave a result, by the point's key; all the smaller the better.
Results = Mapping[str, Costs]
Batches = Generator[Iterable[Point], Results, None]

# Chance that a pair of parents mixes its values; each axis then comes from either with the same chance.
CROSSOVER = 0.9
# Chance that a number moves to a neighbour instead of to any value, when it mutates.
NEIGHBOUR = 0.5
# Children that are bred in the hope of one that was not tried before, until one is drawn at random.
ATTEMPTS = 20


def search(space: Space) -> Batches:
    """Return the search that a space asks for."""
    return {"grid": _grid, "random": _random, "pareto": _pareto}[space.search.method](space)


def planned(space: Space) -> int:
    """Return the most points that the search will try."""
    size = prod(len(axis.values) for axis in space.axes)
    return size if space.search.points is None else min(size, space.search.points)


def _grid(space: Space) -> Batches:
    """Yield every point, the last axis running fastest."""
    choices = itertools.product(*(range(len(axis.values)) for axis in space.axes))
    yield (space.point(number, genes) for number, genes in enumerate(choices))


def _random(space: Space) -> Batches:
    """Yield points drawn without repetition."""
    draw = _Draw(space)
    genes = [draw.unseen() for _ in range(planned(space))]
    yield (space.point(number, each) for number, each in enumerate(genes))


class _Draw:
    """Random genes of a space, none of them twice."""

    def __init__(self, space: Space) -> None:
        self.random = random.Random(space.seed)
        self.sizes = [len(axis.values) for axis in space.axes]
        self.seen: set[Genes] = set()

    def any(self) -> Genes:
        return tuple(self.random.randrange(size) for size in self.sizes)

    def unseen(self) -> Genes:
        """Return genes that were not drawn before; where few are left, the next ones in the order of the grid."""
        genes = self.any()
        for _ in range(ATTEMPTS):
            if genes not in self.seen:
                break
            genes = self.any()
        while genes in self.seen:
            genes = self._next(genes)
        self.seen.add(genes)
        return genes

    def _next(self, genes: Genes) -> Genes:
        counter = list(genes)
        for axis in reversed(range(len(counter))):
            counter[axis] = (counter[axis] + 1) % self.sizes[axis]
            if counter[axis]:
                break
        return tuple(counter)


def _pareto(space: Space) -> Batches:
    """Yield generations of NSGA-II (Deb et al., IEEE Trans. Evol. Comput. 6(2), 2002) on the axes' indices.

    Parents are chosen by tournament, mixed axis by axis, and mutated on one axis on average; a number moves to its
    neighbour every other time. Of parents and children together the best fronts survive, the last of them by crowding
    distance. A point without a result loses against every point with one. No point is bred twice.
    """
    draw, total = _Draw(space), planned(space)
    wanted = space.search.population or total
    parents: list[Genes] = []
    costs: dict[Genes, Costs | None] = {}
    number = 0
    while number < total:
        size = min(wanted, total - number)
        ranks = _ranks(parents, costs)
        children = [_child(space, draw, parents, ranks) for _ in range(size)]
        points = [space.point(number + i, genes) for i, genes in enumerate(children)]
        results = yield points
        number += size
        costs |= {
            genes: results.get(point.key) for genes, point in zip(children, points, strict=True)
        }
        everyone = [*parents, *children]
        ranks = _ranks(everyone, costs)
        parents = sorted(everyone, key=lambda genes: ranks[genes])[:wanted]


def _ranks(
    everyone: list[Genes], costs: Mapping[Genes, Costs | None]
) -> dict[Genes, tuple[int, float]]:
    """Return (front, minus crowding distance) of each, the smaller the better; those without a result come last."""
    valued = [(genes, cost) for genes in everyone if (cost := costs[genes]) is not None]
    ranks: dict[Genes, tuple[int, float]] = {}
    layers = fronts([cost for _, cost in valued])
    for layer, members in enumerate(layers):
        distances = crowding([valued[i][1] for i in members])
        for i, distance in zip(members, distances, strict=True):
            ranks[valued[i][0]] = (layer, -distance)
    return {genes: ranks.get(genes, (len(layers), 0.0)) for genes in everyone}


def _child(
    space: Space, draw: _Draw, parents: list[Genes], ranks: Mapping[Genes, tuple[int, float]]
) -> Genes:
    """Return genes that were not tried before: bred from two parents, or drawn if there are none or none is new."""
    for _ in range(ATTEMPTS if parents else 0):
        mother, father = (
            min(draw.random.choices(parents, k=2), key=lambda genes: ranks[genes]) for _ in "mf"
        )
        genes = list(mother)
        if draw.random.random() < CROSSOVER:
            genes = [draw.random.choice(pair) for pair in zip(mother, father, strict=True)]
        for axis, size in enumerate(draw.sizes):
            if draw.random.random() < 1 / len(draw.sizes):
                genes[axis] = _mutated(genes[axis], size, space.axes[axis].is_ordered, draw.random)
        child = tuple(genes)
        if child not in draw.seen:
            draw.seen.add(child)
            return child
    return draw.unseen()


def _mutated(gene: int, size: int, ordered: bool, chance: random.Random) -> int:
    if ordered and chance.random() < NEIGHBOUR:
        return min(max(gene + chance.choice((-1, 1)), 0), size - 1)
    return chance.randrange(size)
