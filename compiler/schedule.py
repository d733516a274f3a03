"""When each population computes: the smallest number of chip timesteps a network timestep takes, and every depth."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NoReturn

import numpy as np

from ..chip.config import ChipConfig
from .fit import DoesNotFit
from .partition import Partition
from .quantised import Ints


@dataclass(frozen=True)
class Edge:
    """Sources of one node at one network delay, into the main or the partial cores of a population."""

    source: int
    target: int
    delay: int
    partial: bool

    def flit_delay(self, depth: tuple[int, ...], steps: int) -> int:
        """Return the chip timesteps from sending to use; ``depth`` counts nodes, inputs first."""
        return steps * self.delay + depth[self.target] - int(self.partial) - depth[self.source]


@dataclass(frozen=True)
class Schedule:
    """``steps`` chip timesteps a network timestep; ``depth`` of each node, inputs (0) first.

    ``explanation`` says which loop asks for more than one step; empty if ``steps`` is 1.
    """

    steps: int
    depth: tuple[int, ...]
    edges: tuple[Edge, ...]
    explanation: str = ""

    def core_depth(self, plan: Partition, core: int) -> int:
        """Return the depth register of a core: a partial core computes one step before its main core."""
        item = plan.cores[core]
        return self.depth[plan.input_count + item.population] - int(plan.is_partial(core))

    def column_delay(self, plan: Partition, core: int) -> Ints:
        """Return the flit delay of each of a core's source columns."""
        item = plan.cores[core]
        fan_in = plan.fan_in[item.population]
        depth = np.array(self.depth, dtype=np.int64)
        return (
            self.steps * fan_in.delay[item.column]
            + self.core_depth(plan, core)
            - depth[fan_in.node[item.column]]
        )


class _EndlessError(Exception):
    """Constraints that no depths satisfy; ``cycle`` are the nodes of one contradiction."""

    def __init__(self, cycle: list[int]) -> None:
        super().__init__(cycle)
        self.cycle = cycle


def schedule(plan: Partition, config: ChipConfig) -> Schedule:
    """Find the smallest steps and depths for which every flit's delay is within 1 .. delay_slots - 1.

    Depths are the least that satisfy all constraints (longest paths), so the pipeline is as short as can be.

    Raises
    ------
    DoesNotFit
        If a delay exceeds the slots.
    ValueError
        If a loop has no delay at all.
    """
    edges = _edges(plan)
    lowest = [0] * plan.input_count + [1] * (len(plan.nodes) - plan.input_count)
    for index, core in enumerate(plan.cores):
        if plan.is_partial(index):
            lowest[plan.input_count + core.population] = 2
    steps, explanation = 1, ""
    while True:
        try:
            depth = _longest_paths(plan.input_count, lowest, edges, steps, None)
            break
        except _EndlessError as error:
            loop = " -> ".join(plan.nodes[node] for node in error.cycle)
            if not _cycle_delay(edges, error.cycle):
                raise ValueError(
                    f"the loop {loop} has no delay; a recurrent connection needs one of at least 1"
                ) from None
            steps += 1
            explanation = (
                f"{steps} chip timesteps a network timestep: the loop {loop} passes more cores in a row "
                f"than its delay has chip timesteps at {steps - 1}"
            )
    slots = config.many_core.core.delay_slots
    try:
        depth = _longest_paths(plan.input_count, lowest, edges, steps, slots)
    except _EndlessError:
        _refuse(plan, lowest, edges, steps, slots)
    return Schedule(steps, depth, edges, explanation)


def _edges(plan: Partition) -> tuple[Edge, ...]:
    found: dict[Edge, None] = {}
    for index, core in enumerate(plan.cores):
        fan_in = plan.fan_in[core.population]
        pairs = np.unique(np.stack([fan_in.node[core.column], fan_in.delay[core.column]]), axis=1)
        for source, delay in pairs.T:
            edge = Edge(
                int(source), plan.input_count + core.population, int(delay), plan.is_partial(index)
            )
            found[edge] = None
    return tuple(found)


def _longest_paths(
    inputs: int, lowest: list[int], edges: tuple[Edge, ...], steps: int, slots: int | None
) -> tuple[int, ...]:
    """Return the least depths with every flit delay >= 1, and < ``slots`` if given; inputs stay at 0."""
    arcs = []  # (a, b, length): depth[b] >= depth[a] + length
    for e in edges:
        arcs.append((e.source, e.target, 1 + int(e.partial) - steps * e.delay))
        if slots is not None:
            arcs.append((e.target, e.source, steps * e.delay - int(e.partial) - (slots - 1)))
    depth = list(lowest)
    came_from = [-1] * len(depth)
    moved = -1
    for _ in range(len(depth) + 1):
        moved = -1
        for a, b, length in arcs:
            if depth[a] + length > depth[b]:
                if b < inputs or a == b:
                    raise _EndlessError([a, b])
                depth[b], came_from[b] = depth[a] + length, a
                moved = b
        if moved < 0:
            return tuple(depth)
    raise _EndlessError(_cycle(came_from, moved))


def _cycle(came_from: list[int], node: int) -> list[int]:
    for _ in came_from:
        node = came_from[node]
    cycle = [node]
    while (node := came_from[node]) != cycle[0]:
        cycle.append(node)
    return [cycle[0], *cycle[:0:-1], cycle[0]]


def _cycle_delay(edges: tuple[Edge, ...], cycle: list[int]) -> int:
    return sum(
        min(e.delay for e in edges if e.source == a and e.target == b) for a, b in pairwise(cycle)
    )


def _refuse(
    plan: Partition, lowest: list[int], edges: tuple[Edge, ...], steps: int, slots: int
) -> NoReturn:
    asked = slots
    while True:
        asked += 1
        try:
            depth = _longest_paths(plan.input_count, lowest, edges, steps, asked)
            break
        except _EndlessError:
            continue
    worst = max(edges, key=lambda edge: (edge.flit_delay(depth, steps), edge.delay))
    raise DoesNotFit(
        resource="delay_slots",
        where=f"the path {plan.nodes[worst.source]} -> {plan.nodes[worst.target]}",
        asked=asked,
        available=slots,
        levers=(
            f"delay_slots of at least {asked}",
            "a shorter delay",
            "fewer layers beside a skip connection",
        ),
    )
