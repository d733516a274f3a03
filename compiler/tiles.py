"""Ways to cut a population into blocks of neurons, and the cut that takes the fewest cores."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import prod

import numpy as np
from numpy.typing import NDArray

from .axons import FanIn, equal_columns
from .quantised import Ints

_EXACT_BLOCKS = 512  # cuts of at most this many blocks are counted block by block
_FINALISTS = 6


@dataclass(frozen=True)
class Cut:
    """A cut of a (channels, height, width) shape into ``parts`` equal ranges along each axis."""

    shape: tuple[int, int, int]
    parts: tuple[int, int, int]

    @property
    def block_count(self) -> int:
        """Blocks of the cut."""
        return prod(self.parts)

    @property
    def largest_block(self) -> int:
        """Neurons of the largest block."""
        return prod(-(-size // parts) for size, parts in zip(self.shape, self.parts, strict=True))

    def block(self, place: tuple[int, ...]) -> Ints:
        """Return the neurons of the block at ``place``, ascending."""
        c, y, x = (
            np.arange(size * i // parts, size * (i + 1) // parts)
            for size, parts, i in zip(self.shape, self.parts, place, strict=True)
        )
        _, height, width = self.shape
        return ((c[:, None, None] * height + y[:, None]) * width + x).ravel().astype(np.int64)

    def blocks(self) -> Iterator[Ints]:
        """Yield all blocks, channels slowest."""
        for place in product(*(range(parts) for parts in self.parts)):
            yield self.block(place)

    def sample(self) -> list[tuple[tuple[int, ...], int]]:
        """Return places of blocks with how many blocks each stands for: first, middle and last along each axis."""
        axes = [
            [(0, 1), (parts // 2, parts - 2), (parts - 1, 1)]
            if parts > 2
            else [(i, 1) for i in range(parts)]
            for parts in self.parts
        ]
        return [
            (tuple(place for place, _ in choice), prod(count for _, count in choice))
            for choice in product(*axes)
        ]


class CostModel:
    """Counts the cores of a cut: columns that are equal over the whole population share axons in every block.

    Exact but for columns that are equal only within a block; those save a few axons more later.
    """

    def __init__(self, fan_in: FanIn, axons: int) -> None:
        self.axons = axons
        weight = fan_in.weight
        by_column = weight.tocsc()
        self.klass = np.full(len(fan_in.node), -1, dtype=np.int32)
        used = np.flatnonzero(np.diff(by_column.indptr))
        kept_class = np.zeros(0, dtype=np.int64)
        if len(used):
            group = equal_columns(by_column, used)
            kept = np.lexsort((used, fan_in.payload[used], group))
            change = (np.diff(group[kept], prepend=-1) != 0) | (
                np.diff(fan_in.payload[used][kept], prepend=-1) != 0
            )
            self.klass[used[kept]] = np.cumsum(change) - 1
            kept_class = used[kept][change]
        sizes = np.bincount(self.klass[used], minlength=len(kept_class))
        per_axon = np.maximum(fan_in.axon_bound // fan_in.payload[kept_class], 1)
        self.axons_of_class = -(-sizes // per_axon)
        self.copies_of_class = sizes
        # One column a class is enough to see which classes feed a block.
        keep = np.zeros(len(fan_in.node), dtype=bool)
        keep[kept_class] = True
        keep_entry = keep[weight.indices]
        self.row_start = np.append(0, np.cumsum(keep_entry))[weight.indptr]
        self.class_of_entry = self.klass[weight.indices[keep_entry]]

    def block_cost(self, neurons: Ints) -> tuple[int, int]:
        """Return the cores that a block takes and the source values that are sent to it."""
        feeds = np.zeros(len(self.axons_of_class), dtype=bool)
        # Neurons come in runs of consecutive numbers: their entries are slices.
        breaks = np.flatnonzero(np.diff(neurons) != 1) + 1
        for run in np.split(neurons, breaks):
            feeds[self.class_of_entry[self.row_start[run[0]] : self.row_start[run[-1] + 1]]] = True
        axons = int(self.axons_of_class[feeds].sum())
        return max(1, -(-axons // self.axons)), int(self.copies_of_class[feeds].sum())

    def cut_cost(self, cut: Cut, *, exact: bool) -> tuple[int, int]:
        """Return (cores, copies of source values) of a cut, counted on all blocks or estimated from a sample."""
        if exact:
            costs = [self.block_cost(block) for block in cut.blocks()]
            return sum(cores for cores, _ in costs), sum(copies for _, copies in costs)
        cores = copies = 0
        for place, count in cut.sample():
            block_cores, block_copies = self.block_cost(cut.block(place))
            cores += count * block_cores
            copies += count * block_copies
        return cores, copies


def choose_cut(shape: tuple[int, ...], fan_in: FanIn, axons: int, neurons: int) -> Cut:
    """Choose the cut into blocks of at most ``neurons`` that takes fewest cores, then sends fewest copies."""
    cuts = list(_candidates(_three_axes(shape), neurons))
    if len(cuts) == 1:
        return cuts[0]
    model = CostModel(fan_in, axons)
    cuts.sort(key=lambda cut: (cut.block_count, cut.parts))
    scored: list[tuple[int, int, int, Cut]] = []
    fewest = 1 << 60
    for index, cut in enumerate(cuts):
        if cut.block_count > fewest:  # every block takes a core: no later cut can be better
            break
        cores, copies = model.cut_cost(cut, exact=False)
        scored.append((cores, copies, index, cut))
        fewest = min(fewest, cores)
    scored.sort(key=lambda item: item[:3])
    finalists = [item[3] for item in scored[:_FINALISTS]]
    exact = [
        (*model.cut_cost(cut, exact=cut.block_count <= _EXACT_BLOCKS), index)
        for index, cut in enumerate(finalists)
    ]
    return finalists[min(exact)[2]]


def _three_axes(shape: tuple[int, ...]) -> tuple[int, int, int]:
    if len(shape) == 3:
        return shape[0], shape[1], shape[2]
    if len(shape) == 2:
        return shape[0], 1, shape[1]
    return 1, 1, prod(shape)


def _candidates(shape: tuple[int, int, int], neurons: int) -> Iterator[Cut]:
    """Yield the sensible cuts: each number of parts with another part size, blocks neither too large nor too small."""
    choices = [_part_counts(size) for size in shape]
    for channels, rows in product(choices[0], choices[1]):
        taken = -(-shape[0] // channels) * -(-shape[1] // rows)
        fitting = [p for p in choices[2] if taken * -(-shape[2] // p) <= neurons]
        for columns in fitting[:8]:  # from the widest that fits to an eighth of it or so
            yield Cut(shape, (channels, rows, columns))


def _part_counts(size: int) -> NDArray[np.int64]:
    """Return the smallest number of parts for each part size, ascending; all of them up to 64, then geometric."""
    counts = np.unique(-(-size // np.arange(1, size + 1)))
    if len(counts) <= 64:
        return counts
    places = np.unique(np.geomspace(1, len(counts), 64).astype(np.int64)) - 1
    return counts[places]
