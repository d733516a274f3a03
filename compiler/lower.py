"""Lowering pass: NIR neurons and a convention become populations with explicit decays and gains."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import numpy as np
from numpy.typing import NDArray

from ..chip.arithmetic import Compare, NeuronKind, ResetMode, ResetTiming
from .conventions import Convention
from .graph import Population, uniform_population
from .linear_nodes import Shape, spread
from .nir_fields import LINEAR_TYPES, NEURON_TYPES
from .nir_file import NetworkError, NirGraph, NirNode

Floats = NDArray[np.float64]
_TOLERANCE = 1e-6  # single precision writes dt/tau = 1 as a little more or less than 1
_RESETS = {
    "value": ResetMode.VALUE,
    "zero": ResetMode.ZERO,
    "subtract": ResetMode.SUBTRACT,
    "wipe": ResetMode.WIPE,
}


@dataclass(frozen=True)
class LoweredNeuron:
    """A population and the gain (neurons,) that its incoming sums are multiplied by."""

    population: Population
    gain: Floats


@dataclass(frozen=True)
class Lowered:
    """The neurons of a graph in the normal form's units, by node name, and notes for the user."""

    neurons: dict[str, LoweredNeuron]
    notes: tuple[str, ...]


def lower(graph: NirGraph, shapes: dict[str, Shape], convention: Convention) -> Lowered:
    """Turn every neuron node of ``graph`` into a population under ``convention``.

    Raises
    ------
    NetworkError
        A parameter is impossible under the convention (a decay below 0, a threshold of 0 where
        several spikes are allowed, a leak that the chip cannot hold).
    """
    notes: list[str] = []
    looped = _self_recurrent(graph)
    neurons: dict[str, LoweredNeuron] = {}
    wiped: list[str] = []
    for node in graph.of_type(*NEURON_TYPES):
        neuron = _lower_node(node, shapes[node.name], convention, notes)
        population = neuron.population
        zeroed_next = (
            convention.producer == "snntorch"
            and population.reset_timing == ResetTiming.NEXT
            and population.reset_mode == ResetMode.ZERO
        )
        if zeroed_next and (population.kind == NeuronKind.CUBA_LIF or node.name in looped):
            neuron = replace(neuron, population=replace(population, reset_mode=ResetMode.WIPE))
            wiped.append(node.name)
        neurons[node.name] = neuron
    if wiped:
        notes.append(
            f"snnTorch's delayed reset to zero loses the whole update in {', '.join(wiped)} "
            "(recurrent or current-based), so these are wiped."
        )
    return Lowered(neurons, tuple(notes))


def _self_recurrent(graph: NirGraph) -> set[str]:
    """Return the neuron nodes that feed themselves through linear nodes alone."""
    after: dict[str, list[str]] = {name: [] for name in graph.nodes}
    for source, target in graph.edges:
        after[source].append(target)
    found: set[str] = set()
    for node in graph.of_type(*NEURON_TYPES):
        seen: set[str] = set()
        work = list(after[node.name])
        while work:
            name = work.pop()
            if name == node.name:
                found.add(name)
                break
            if name not in seen and graph.nodes[name].type in LINEAR_TYPES:
                seen.add(name)
                work += after[name]
    return found


def _lower_node(
    node: NirNode, shape: Shape, convention: Convention, notes: list[str]
) -> LoweredNeuron:
    size = prod(shape)
    if node.type == "Threshold":
        population = uniform_population(
            node.name,
            NeuronKind.LIF,
            shape,
            decay_mem=0.0,
            threshold=spread(node, "threshold", shape),
            compare=Compare[convention.compare.upper()],
        )
        return LoweredNeuron(population, np.ones(size))
    decay, gain, leak = _membrane(node, shape, convention, notes)
    decay_syn = np.zeros(size)
    if node.type in ("CubaLIF", "CubaLI"):
        decay_syn, gain_syn = _synapse(node, shape, convention)
        gain = gain * gain_syn
    kind = {
        "LIF": NeuronKind.LIF,
        "IF": NeuronKind.LIF,
        "CubaLIF": NeuronKind.CUBA_LIF,
        "CubaLI": NeuronKind.CUBA_INTEGRATOR,
    }.get(node.type, NeuronKind.INTEGRATOR)
    # A constant drive c into the membrane behind a synaptic current: a current that stays at c.
    population = uniform_population(
        node.name,
        kind,
        shape,
        decay_mem=decay,
        decay_syn=decay_syn,
        bias=leak * (1.0 - decay_syn),
        i_init=leak if kind in (NeuronKind.CUBA_LIF, NeuronKind.CUBA_INTEGRATOR) else 0.0,
        v_init=_initial(node, shape, convention),
    )
    if kind in (NeuronKind.LIF, NeuronKind.CUBA_LIF):
        population = _with_reset(population, node, shape, convention)
    return LoweredNeuron(population, gain)


def _membrane(
    node: NirNode, shape: Shape, convention: Convention, notes: list[str]
) -> tuple[Floats, Floats, Floats]:
    """Return decay, input gain and constant drive of the membrane, each (neurons,)."""
    r = spread(node, "r", shape)
    if node.type in ("IF", "I"):
        if not np.isfinite(r).all():
            raise NetworkError(f"node {node.name!r}: r must be finite.")
        gain = r if convention.if_gain == "r" else r * convention.dt
        if node.type == "IF" and not np.allclose(gain, 1.0, rtol=1e-4):
            notes.append(
                f"{node.name} ({node.type}) multiplies its input by {_range(gain)} "
                f"({convention.if_gain}, dt {convention.dt:g}); frameworks mean 1."
            )
        return np.ones_like(r), gain, np.zeros_like(r)
    field = "tau" if "tau" in node.params else "tau_mem"
    tau = spread(node, field, shape)
    v_leak = spread(node, "v_leak", shape)
    if (tau <= 0).any():
        raise NetworkError(f"node {node.name!r}: {field} must be above 0, not {_range(tau)}.")
    if convention.leak == "exponential":
        if not np.isfinite(r).all():
            raise NetworkError(f"node {node.name!r}: r must be finite.")
        decay = np.exp(-convention.dt / tau)
        return decay, r, (1.0 - decay) * v_leak
    rate = _rate(node, field, tau, convention)
    endless = np.isinf(tau)
    if endless.any():
        notes.append(
            f"{node.name}: {field} is infinite (a beta of 1); the membrane does not decay and the "
            "input gain is taken as 1."
        )
        r = np.where(endless, 1.0, r)
    if not np.isfinite(r).all():
        raise NetworkError(f"node {node.name!r}: r must be finite where {field} is.")
    return 1.0 - rate, np.where(endless, 1.0, r * rate), rate * v_leak


def _synapse(node: NirNode, shape: Shape, convention: Convention) -> tuple[Floats, Floats]:
    """Return decay and gain of the synaptic current, each (neurons,)."""
    if convention.leak == "exponential":
        raise NetworkError(
            f"node {node.name!r}: {convention.producer} writes no {node.type}, so its meaning with "
            "an exponential leak is not known; state another producer."
        )
    tau = spread(node, "tau_syn", shape)
    w_in = spread(node, "w_in", shape)
    if not np.isfinite(tau).all() or not np.isfinite(w_in).all() or (tau <= 0).any():
        raise NetworkError(f"node {node.name!r}: tau_syn and w_in must be finite, tau_syn above 0.")
    rate = _rate(node, "tau_syn", tau, convention)
    return 1.0 - rate, w_in if convention.cuba_gain == "w_in" else w_in * rate


def _rate(node: NirNode, field: str, tau: Floats, convention: Convention) -> Floats:
    """Return dt/tau, refusing what cannot be a decay."""
    rate = convention.dt / tau
    if (rate > 1.0 + _TOLERANCE).any():
        raise NetworkError(
            f"node {node.name!r}: dt/{field} is {rate.max():.4g}, so its decay would be below 0 "
            f"(dt {convention.dt:g}, {field} {_range(tau)}). dt does not fit this file: Norse "
            "writes tau = dt/tau_inv and needs dt 1e-6 (producer norse); otherwise state the dt "
            "that the network was trained with."
        )
    return np.where(np.abs(rate - 1.0) <= _TOLERANCE, 1.0, rate)


def _initial(node: NirNode, shape: Shape, convention: Convention) -> Floats:
    field = convention.initial
    if field == "zero" or field not in node.params:
        return np.zeros(prod(shape))
    return spread(node, field, shape)


def _with_reset(
    population: Population, node: NirNode, shape: Shape, convention: Convention
) -> Population:
    threshold = spread(node, "v_threshold", shape)
    v_reset = spread(node, "v_reset", shape)
    mode = _RESETS[convention.reset]
    if mode == ResetMode.VALUE and not v_reset.any():
        mode = ResetMode.ZERO
    if convention.max_spikes > 1 and (threshold <= 0).any():
        raise NetworkError(
            f"node {node.name!r}: several spikes a timestep need a threshold above 0, not "
            f"{_range(threshold)}."
        )
    return replace(
        population,
        threshold=threshold,
        v_reset=v_reset if mode == ResetMode.VALUE else np.zeros_like(v_reset),
        reset_mode=mode,
        reset_timing=ResetTiming[convention.reset_timing.upper()],
        compare=Compare[convention.compare.upper()],
        max_spikes=convention.max_spikes,
        floor=convention.floor and node.type == "IF",
    )


def _range(values: Floats) -> str:
    low, high = float(values.min()), float(values.max())
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"
