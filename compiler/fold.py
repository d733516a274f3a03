"""Fold pass: chains of linear nodes become one sparse projection per source, target and delay."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from graphlib import CycleError, TopologicalSorter
from math import prod

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ..chip.arithmetic import NeuronKind, ResetTiming
from .conventions import Convention
from .graph import Input, Network, Population, Projection, uniform_population
from .linear_nodes import MAX_NONZEROS, Shape, linear_map, spread
from .lower import Lowered
from .nir_fields import LINEAR_TYPES
from .nir_file import NetworkError, NirGraph, NirNode
from .recurrence import cut_cycles, order

Floats = NDArray[np.float64]
Tap = tuple[str, int]  # a source (input or population) and a delay in timesteps
_INTEGRATORS = (NeuronKind.INTEGRATOR, NeuronKind.CUBA_INTEGRATOR)


@dataclass
class _Value:
    """What a node emits, as a linear function of delayed sources.

    ``terms`` maps a tap to its matrix (None is the identity). ``biases`` keeps each bias with the
    taps that feed the transform it belongs to, since a recurrent one may not act at the start.
    """

    size: int
    terms: dict[Tap, sparse.csr_array | None] = field(default_factory=dict)
    biases: dict[frozenset[Tap], Floats] = field(default_factory=dict)

    @property
    def identity_of(self) -> str | None:
        """The source that this value merely repeats, if it does."""
        if len(self.terms) != 1 or any(bias.any() for bias in self.biases.values()):
            return None
        ((source, delay), matrix) = next(iter(self.terms.items()))
        return source if matrix is None and delay == 0 else None

    def add(self, tap: Tap, matrix: sparse.csr_array | None) -> None:
        """Add ``matrix`` to what the value takes from ``tap``."""
        if tap in self.terms:
            known = _explicit(self.terms[tap], self.size)
            self.terms[tap] = sparse.csr_array(known + _explicit(matrix, self.size))
        else:
            self.terms[tap] = matrix

    def bias(self) -> Floats:
        """Return the whole constant part, (size,)."""
        return sum(self.biases.values(), start=np.zeros(self.size))


def fold(
    graph: NirGraph, shapes: dict[str, Shape], lowered: Lowered, convention: Convention
) -> Network:
    """Return the network in its normal form: every path of linear nodes composed.

    Parallel paths of equal delay are added. An edge that closes a cycle is delayed by one
    timestep. What reaches an Output through a linear node is read from an INTEGRATOR without
    memory, called as the Output.

    Raises
    ------
    NetworkError
        A cycle without a neuron in it; an integrator that feeds other nodes; weights that unroll
        beyond the limit; a recurrent bias that cannot be held back in the first timestep.
    """
    notes = [*graph.notes, *lowered.notes]
    before = graph.sources_by_node()
    values = _values(graph, shapes, before, convention, notes)
    populations = {name: neuron.population for name, neuron in lowered.neurons.items()}
    sums = {name: _sum(values, before[name], name) for name in populations}
    for name, value in sums.items():
        sums[name] = _scaled(value, lowered.neurons[name].gain)
    outputs: list[str] = []
    for node in graph.of_type("Output"):
        value = _sum(values, before[node.name], node.name)
        source = value.identity_of
        if source is None or source not in populations:
            source = node.name
            shape = shapes[node.name]
            populations[source] = uniform_population(
                source, NeuronKind.INTEGRATOR, shape, decay_mem=0.0
            )
            sums[source] = value
        outputs.append(source)
    _refuse_fed_integrators(populations, sums)

    inputs = tuple(Input(node.name, shapes[node.name]) for node in graph.of_type("Input"))
    edges = [
        (source, target) for target, value in sums.items()
        for source, delay in value.terms if delay == 0 and source in populations
    ]  # fmt: skip
    entries = [t for t, v in sums.items() if any(s not in populations for s, _ in v.terms)]
    cut = cut_cycles(list(populations), edges, entries)
    if cut:
        closed = ", ".join(f"{a} -> {b}" for a, b in sorted(cut))
        notes.append(f"Recurrent, so delayed by one timestep: {closed}.")
    projections: list[Projection] = []
    for name, value in sums.items():
        delayed = {source for source, target in cut if target == name}
        late, terms = _delay_cut(value, delayed)
        for (source, delay), matrix in sorted(terms.items(), key=lambda item: item[0]):
            projections.append(Projection(source, name, _explicit(matrix, value.size), delay))
        population = replace(populations[name], bias=populations[name].bias + value.bias())
        if late is not None and not convention.recurrent_bias_at_start:
            population = _without_bias_at_start(population, late)
        populations[name] = population
    ranked = order(list(populations), [edge for edge in edges if edge not in cut])
    position = {name: place for place, name in enumerate(ranked)}
    projections.sort(key=lambda p: (position[p.target], p.delay, p.source))
    return Network(
        inputs=inputs,
        populations=tuple(populations[name] for name in ranked),
        projections=tuple(projections),
        outputs=tuple(dict.fromkeys(outputs)),
        notes=tuple(notes),
        convention=convention.as_text(),
    )


def _values(
    graph: NirGraph,
    shapes: dict[str, Shape],
    before: dict[str, list[str]],
    convention: Convention,
    notes: list[str],
) -> dict[str, _Value]:
    """Return the value of every node that others may read, linear nodes composed."""
    values: dict[str, _Value] = {}
    linear = {n.name for n in graph.of_type(*LINEAR_TYPES)}
    for name, node in graph.nodes.items():
        if name not in linear and node.type != "Output":
            values[name] = _Value(prod(shapes[name]), {(name, 0): None})
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for name in graph.nodes:
        if name in linear:
            sorter.add(name, *[source for source in before[name] if source in linear])
    try:
        ordered = list(sorter.static_order())
    except CycleError as error:
        raise NetworkError(
            f"The nodes {' -> '.join(error.args[1])} form a cycle without a neuron in it; a "
            "recurrent path needs a LIF, IF or CubaLIF."
        ) from None
    for name in ordered:
        node = graph.nodes[name]
        coming = _sum(values, before[name], name)
        shape = shapes[before[name][0]]
        if node.type == "Delay":
            values[name] = _delayed(node, coming, shape, convention, notes)
            continue
        matrix, bias = linear_map(node, shape)
        values[name] = _apply(name, coming, matrix, bias)
    return values


def _sum(values: dict[str, _Value], sources: list[str], name: str) -> _Value:
    total = _Value(values[sources[0]].size)
    for source in sources:
        value = values[source]
        for tap, matrix in value.terms.items():
            total.add(tap, matrix)
        for taps, bias in value.biases.items():
            total.biases[taps] = total.biases.get(taps, 0.0) + bias
    if sum(m.nnz for m in total.terms.values() if m is not None) > MAX_NONZEROS:
        raise NetworkError(f"node {name!r}: more than {MAX_NONZEROS} unrolled weights come in.")
    return total


def _apply(
    name: str, value: _Value, matrix: sparse.csr_array | None, bias: Floats | None
) -> _Value:
    if matrix is None:
        return value
    terms: dict[Tap, sparse.csr_array | None] = {}
    for tap, inner in value.terms.items():
        if inner is not None and _product_size(matrix, inner) > MAX_NONZEROS:
            raise NetworkError(f"node {name!r}: composing it unrolls more than {MAX_NONZEROS}.")
        terms[tap] = matrix if inner is None else sparse.csr_array(matrix @ inner)
    result = _Value(len(matrix.indptr) - 1, terms, {k: matrix @ b for k, b in value.biases.items()})
    if bias is not None and bias.any():
        taps = frozenset(value.terms)
        result.biases[taps] = result.biases.get(taps, 0.0) + bias
    return result


def _product_size(left: sparse.csr_array, right: sparse.csr_array) -> int:
    """Return an upper bound of the multiplications (so of the nonzeros) of left @ right."""
    return min(
        int(np.diff(right.indptr).astype(np.int64)[left.indices].sum()),
        (len(left.indptr) - 1) * prod((right.shape or (0,))[1:]),
    )


def _scaled(value: _Value, gain: Floats) -> _Value:
    if (gain == 1.0).all():
        return value
    return _apply("", value, sparse.csr_array(sparse.diags_array(gain)), None)


def _delayed(
    node: NirNode, value: _Value, shape: Shape, convention: Convention, notes: list[str]
) -> _Value:
    exact = spread(node, "delay", shape) / convention.dt
    steps = np.rint(exact).astype(np.int64)
    if (steps < 0).any() or (steps > 1 << 20).any():
        raise NetworkError(
            f"node {node.name!r}: delays of {exact.min():g} to {exact.max():g} timesteps (dt "
            f"{convention.dt:g}); they must lie between 0 and {1 << 20}."
        )
    if np.abs(exact - steps).max() > 1e-3:
        notes.append(
            f"{node.name}: delays are not whole timesteps of {convention.dt:g}; rounded by up to "
            f"{np.abs(exact - steps).max():.3g} timesteps."
        )
    if any(bias.any() for bias in value.biases.values()) and steps.any():
        notes.append(f"{node.name}: the constant part (bias) of a delayed value is not delayed.")
    late = [int(d) for d in np.unique(steps)]
    result = _Value(value.size)
    for d in late:
        mask = sparse.csr_array(sparse.diags_array((steps == d).astype(np.float64)))
        mask.eliminate_zeros()
        for (source, delay), inner in value.terms.items():
            kept = inner if len(late) == 1 else mask if inner is None else mask @ inner
            result.add((source, delay + d), kept)
    for taps, bias in value.biases.items():
        moved = frozenset((source, delay + d) for source, delay in taps for d in late)
        result.biases[moved] = result.biases.get(moved, 0.0) + bias
    return result


def _explicit(matrix: sparse.csr_array | None, size: int) -> sparse.csr_array:
    return sparse.csr_array(sparse.eye_array(size)) if matrix is None else matrix


def _refuse_fed_integrators(populations: dict[str, Population], sums: dict[str, _Value]) -> None:
    for target, value in sums.items():
        for source, _ in value.terms:
            if source in populations and populations[source].kind in _INTEGRATORS:
                raise NetworkError(
                    f"node {source!r}: an integrator (LI, CubaLI, I) feeds {target!r}. The chip's "
                    "integrators are read by the host only; let it lead to the Output directly, "
                    "or follow it with a neuron that spikes in its place."
                )


def _delay_cut(
    value: _Value, delayed: set[str]
) -> tuple[Floats | None, dict[Tap, sparse.csr_array | None]]:
    """Return the bias of the transforms that only cut edges feed, and the terms with them late."""
    late = [
        bias for taps, bias in value.biases.items()
        if taps and all(delay == 0 and source in delayed for source, delay in taps)
    ]  # fmt: skip
    moved = _Value(value.size)
    for (source, delay), matrix in value.terms.items():
        is_cut = delay == 0 and source in delayed
        moved.add((source, 1 if is_cut else delay), matrix)
    return (sum(late, start=np.zeros(value.size)) if late else None), moved.terms


def _without_bias_at_start(population: Population, late: Floats) -> Population:
    """Return the population with an initial state that cancels the bias ``late`` once."""
    current = population.kind in (NeuronKind.CUBA_LIF, NeuronKind.CUBA_INTEGRATOR)
    decay = population.decay_syn if current else population.decay_mem
    start = population.i_init if current else population.v_init
    if ((late != 0) & (decay == 0)).any():
        raise NetworkError(
            f"node {population.name!r}: its recurrent bias must not act in the first timestep, "
            "which a state that does not last (decay 0) cannot express; state "
            "recurrent_bias_at_start=True to accept it there."
        )
    safe = np.where(decay == 0, 1.0, decay)
    start = start - np.where(late != 0, late / safe, 0.0)
    if current:
        return replace(population, i_init=start)
    if population.reset_timing == ResetTiming.NEXT and (start >= population.threshold).any():
        raise NetworkError(
            f"node {population.name!r}: holding back its recurrent bias in the first timestep "
            "would make it reset at the start; state recurrent_bias_at_start=True."
        )
    return replace(population, v_init=start)
