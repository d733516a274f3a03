"""Axons of a block of neurons: which sources feed it, and which may share an axon because their weights agree."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from .fit import DoesNotFit
from .quantised import Ints, QuantisedNetwork


@dataclass(frozen=True)
class FanIn:
    """All that feeds one population, as one matrix.

    ``weight`` is CSR int32, (neurons, columns), without stored zeros. A column is one source neuron seen at one network
    delay: ``node`` counts the network's inputs and then its populations, ``neuron`` is the source's place therein,
    ``delay`` the network delay and ``payload`` the largest magnitude that it sends. ``axon_bound`` is the largest
    sum that an
    axon of this population's cores holds.
    """

    weight: sparse.csr_array
    node: Ints
    neuron: Ints
    delay: Ints
    payload: Ints
    axon_bound: int


@dataclass(frozen=True)
class AxonGroups:
    """The axons of a block: ``axon[i]`` is the axon of the fan-in's column ``column[i]``; columns ascend.

    All columns of an axon hold equal weights into the block, and their payloads together stay within the bound.
    ``representative[a]`` is one column of axon ``a``.
    """

    column: Ints
    axon: Ints
    representative: Ints

    @property
    def count(self) -> int:
        """Axons of the block."""
        return len(self.representative)


def node_names(network: QuantisedNetwork) -> tuple[str, ...]:
    """Return the names of the network's nodes in the order in which `FanIn.node` counts them."""
    return (*(i.name for i in network.inputs), *(p.name for p in network.populations))


def axon_bound(signed: bool, activation_bits: int) -> int:
    """Return the largest magnitude that an axon holds for either sign that it may take."""
    return (1 << (activation_bits - 1)) - 1 if signed else (1 << activation_bits) - 1


def collect_fan_in(network: QuantisedNetwork, name: str, activation_bits: int) -> FanIn:
    """Join the projections into population ``name``; parallel ones of equal delay add where weights stay in range.

    Raises
    ------
    DoesNotFit
        If a source's payload exceeds what an axon holds.
    """
    target = network.population(name)
    names = node_names(network)
    size_of = [
        *(prod(i.shape) for i in network.inputs),
        *(p.size for p in network.populations),
    ]
    payload_of = [p.max_payload for p in (*network.inputs, *network.populations)]
    bound = axon_bound(target.axon_signed, activation_bits)
    limit = 1 << (target.weight_mode_bits - 1)
    parts: dict[tuple[str, int, int], sparse.csr_array] = {}
    for projection in network.projections:
        if projection.target != name:
            continue
        weight = _clean(projection.weight)
        copy = 0
        while (key := (projection.source, projection.delay, copy)) in parts:
            total = _clean(parts[key] + weight)
            if not total.nnz or (total.data.min() >= -limit and total.data.max() < limit):
                parts[key] = total
                break
            copy += 1
        else:
            parts[key] = weight
    columns: list[tuple[int, int, int, int]] = []  # node, size, delay, payload
    for (source, delay, _), weight in parts.items():
        node = names.index(source)
        payload = max(1, payload_of[node])
        if payload > bound and weight.nnz:
            raise DoesNotFit(
                resource="activation_bits",
                where=f"{source} -> {name}",
                asked=payload.bit_length() + int(target.axon_signed),
                available=activation_bits,
                levers=("more activation_bits", f"smaller outputs of {source}"),
            )
        columns.append((node, size_of[node], delay, payload))
    matrix = sparse.csr_array((target.size, 0), dtype=np.int32)
    if parts:
        matrix = sparse.csr_array(sparse.hstack(list(parts.values()), format="csr"))

    def spread(values: list[int]) -> Ints:
        return np.repeat(np.array(values, dtype=np.int64), [size for _, size, _, _ in columns])

    return FanIn(
        weight=matrix,
        node=spread([node for node, _, _, _ in columns]),
        neuron=np.concatenate(
            [np.arange(size) for _, size, _, _ in columns] or [np.empty(0, np.int64)]
        ),
        delay=spread([delay for _, _, delay, _ in columns]),
        payload=spread([payload for _, _, _, payload in columns]),
        axon_bound=bound,
    )


def _clean(weight: sparse.csr_array) -> sparse.csr_array:
    cleaned = sparse.csr_array(weight, dtype=np.int32, copy=True)
    cleaned.sum_duplicates()
    cleaned.eliminate_zeros()
    return cleaned


def group_axons(fan_in: FanIn, block: sparse.csc_array) -> AxonGroups:
    """Group the columns of ``block`` (rows of the fan-in's matrix, CSC, sorted) into axons; empty ones need none."""
    counts = np.diff(block.indptr)
    columns = np.flatnonzero(counts).astype(np.int64)
    if not len(columns):
        empty = np.empty(0, dtype=np.int64)
        return AxonGroups(empty, empty, empty)
    group = equal_columns(block, columns)
    payload = fan_in.payload[columns]
    # Members of one axon have equal weights and equal payloads: then packing is a division.
    order = np.lexsort((columns, payload, group))
    key_change = np.diff(group[order], prepend=-1) != 0
    key_change |= np.diff(payload[order], prepend=-1) != 0
    start = np.maximum.accumulate(np.where(key_change, np.arange(len(order)), 0))
    place = np.arange(len(order)) - start
    first = key_change | (place % (fan_in.axon_bound // payload[order]) == 0)
    axon = np.empty(len(columns), dtype=np.int64)
    axon[order] = np.cumsum(first) - 1
    representative = columns[order][first]
    rank = np.argsort(np.argsort(representative))  # axons in the order of their first column
    return AxonGroups(columns, rank[axon], np.sort(representative))


def equal_columns(block: sparse.csc_array, columns: Ints) -> Ints:
    """Return for each of the nonempty ``columns`` the position of the first column that equals it.

    Columns are hashed with fixed 64-bit keys; every match is then compared entry by entry.
    """
    rows = int(block.indices.max(initial=0)) + 1
    keys = np.random.default_rng(0x5917).integers(0, 1 << 63, rows, dtype=np.uint64) * 2 + 1
    products = block.data.astype(np.int64).view(np.uint64) * keys[block.indices]
    hashes = np.add.reduceat(products, block.indptr[columns])
    _, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    group = first[inverse]
    member = np.flatnonzero(group != np.arange(len(columns)))
    mine, other = columns[member], columns[group[member]]
    size = np.diff(block.indptr)
    same = size[mine] == size[other]
    at_mine = _ranges(block.indptr[mine[same]], size[mine[same]])
    at_other = _ranges(block.indptr[other[same]], size[mine[same]])
    differs = (block.indices[at_mine] != block.indices[at_other]) | (
        block.data[at_mine] != block.data[at_other]
    )
    owner = np.repeat(np.flatnonzero(same), size[mine[same]])
    same[owner[differs]] = False
    group[member[~same]] = member[
        ~same
    ]  # a collision of hashes: the column keeps an axon of its own
    return group


def _ranges(start: NDArray[np.integer], size: NDArray[np.integer]) -> Ints:
    """Concatenate the ranges ``start[i] .. start[i] + size[i] - 1``."""
    ends = np.cumsum(size, dtype=np.int64)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total) + np.repeat(np.asarray(start, dtype=np.int64) - (ends - size), size)
