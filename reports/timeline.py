"""The timeline of a training step as lanes of blocks, however many tasks there are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .learn_result import StepTasks

__all__ = ["Block", "Lane", "lanes"]

# A lane with more tasks than this is drawn as columns of time, each as high as the share in which it was busy.
_MOST_TASKS = 150
_COLUMNS = 300


@dataclass(frozen=True)
class Block:
    """Part of a lane: cycles ``start`` to ``end``, the layer's index, and the share of them that were busy."""

    start: float
    end: float
    layer: int
    share: float


@dataclass(frozen=True)
class Lane:
    """A queue: its name, tasks and cycles of work, and blocks; ``drawn`` says whether each is a task."""

    name: str
    tasks: int
    busy: int
    drawn: bool
    blocks: tuple[Block, ...]


def lanes(tasks: StepTasks, columns: int = _COLUMNS, most: int = _MOST_TASKS) -> tuple[Lane, ...]:
    """Return a lane for each queue that has tasks.

    A queue of at most ``most`` tasks has a block for each of them. Another has a block for each of ``columns`` equal
    stretches of the step in which it worked; its layer is the one that worked longest in it.
    """
    queue = np.array(tasks.queue, np.int64)
    layer = np.array(tasks.layer, np.int64)
    start = np.array(tasks.start, np.float64)
    end = np.array(tasks.end, np.float64)
    made: list[Lane] = []
    for number, name in enumerate(tasks.queues):
        own = np.flatnonzero(queue == number)
        if not len(own):
            continue
        drawn = len(own) <= most
        blocks = (
            tuple(Block(float(start[i]), float(end[i]), int(layer[i]), 1.0) for i in own)
            if drawn
            else _columns(start[own], end[own], layer[own], tasks.cycles, columns)
        )
        busy = int((end[own] - start[own]).sum())
        made.append(Lane(name.replace("_", " "), len(own), busy, drawn, blocks))
    return tuple(made)


def _columns(
    start: NDArray[np.float64],
    end: NDArray[np.float64],
    layer: NDArray[np.int64],
    cycles: int,
    columns: int,
) -> tuple[Block, ...]:
    edges = np.linspace(0.0, cycles, columns + 1)
    present = np.unique(layer)
    work = np.stack([_work(start[layer == i], end[layer == i], edges) for i in present])
    share = np.minimum(work.sum(axis=0) * columns / cycles, 1.0)
    longest = present[work.argmax(axis=0)]
    return tuple(
        Block(float(edges[i]), float(edges[i + 1]), int(longest[i]), float(share[i]))
        for i in range(columns)
        if share[i] > 0
    )


def _work(
    start: NDArray[np.float64], end: NDArray[np.float64], edges: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the cycles of work between neighbouring edges: tasks may overlap, and reach over several."""
    return np.diff(_since(start, edges) - _since(end, edges))


def _since(times: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return for each edge the sum, over the times before it, of how long ago they are."""
    times = np.sort(times)
    before = np.searchsorted(times, edges)
    sums = np.concatenate(([0.0], np.cumsum(times)))
    return before * edges - sums[before]
