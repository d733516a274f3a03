"""The float64 oracle: run a Network by the equations of its populations, many samples at a time."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from ..chip.arithmetic import Compare, NeuronKind, ResetMode, ResetTiming
from .graph import Network, Population

Floats = NDArray[np.float64]
_TABLES = {"sigmoid": lambda x: 1.0 / (1.0 + np.exp(-x)), "tanh": np.tanh}
_DENSE_SHARE = 0.25  # above this share of nonzeros a dense product is faster
_DENSE_SIZE = 1 << 24


@dataclass(frozen=True)
class Activity:
    """What a population did over all samples and timesteps, per neuron; every array (neurons,).

    ``mean`` is the mean output; ``max_input`` the largest absolute sum x; ``max_current`` the
    largest absolute synaptic current (0 where there is none); ``low`` and ``high`` bound the
    membrane before its reset.
    """

    mean: Floats
    max_input: Floats
    max_current: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True)
class FloatRun:
    """The result of a run.

    Attributes
    ----------
    counts
        (samples, outputs): the outputs summed over the timesteps.
    spikes
        (samples, timesteps, outputs): spikes, or the membrane of integrators.
    membrane_sums
        (samples, outputs): the stored membrane of the output neurons summed over the timesteps.
    activity
        By population.
    recorded
        By recorded population, (samples, timesteps, neurons) outputs.
    """

    counts: Floats
    spikes: Floats
    membrane_sums: Floats
    activity: dict[str, Activity]
    recorded: dict[str, Floats]

    @property
    def predictions(self) -> NDArray[np.int64]:
        """The output with the largest count, (samples,); the first of equals."""
        return self.counts.argmax(axis=1)


def run_float(network: Network, inputs: ArrayLike, record: Collection[str] = ()) -> FloatRun:
    """Run ``network`` on ``inputs`` from its initial state.

    Parameters
    ----------
    inputs
        (samples, timesteps, values): the values of all inputs, one input after the other.
    record
        Names of populations whose outputs are kept.

    Raises
    ------
    ValueError
        ``inputs`` does not fit the network, or ``record`` names no population of it.
    """
    values = np.asarray(inputs, dtype=np.float64)
    width = sum(node.size for node in network.inputs)
    if values.ndim != 3 or values.shape[2] != width:
        raise ValueError(f"inputs must be (samples, timesteps, {width}), not {values.shape}")
    known = [population.name for population in network.populations]
    missing = [name for name in record if name not in known]
    if missing:
        raise ValueError(f"record names {missing!r}; the populations are {known!r}")
    samples, timesteps, _ = values.shape
    states = [_State(network, population, samples) for population in network.populations]
    by_name = {state.population.name: state for state in states}
    reach = max((p.delay for p in network.projections), default=0) + 1
    # outputs by source and timestep, as far back as the longest delay reaches
    past: dict[str, dict[int, Floats]] = {
        name: {} for name in (*(i.name for i in network.inputs), *by_name)
    }
    columns = np.cumsum([0, *(node.size for node in network.inputs)])
    recorded = {name: np.empty((samples, timesteps, by_name[name].size)) for name in record}
    spikes = np.empty((samples, timesteps, network.output_size))
    membrane_sums = np.zeros((samples, network.output_size))
    for t in range(timesteps):
        for node, first, last in zip(network.inputs, columns, columns[1:], strict=False):
            past[node.name][t] = np.ascontiguousarray(values[:, t, first:last].T)
        for state in states:
            past[state.population.name][t] = state.step(t, past)
        spikes[:, t] = np.concatenate([past[name][t] for name in network.outputs]).T
        membrane_sums += np.concatenate([by_name[name].v_mem for name in network.outputs]).T
        for name, kept in recorded.items():
            kept[:, t] = past[name][t].T
        for history in past.values():
            history.pop(t - reach + 1, None)
    activity = {state.population.name: state.activity(timesteps) for state in states}
    return FloatRun(spikes.sum(axis=1), spikes, membrane_sums, activity, recorded)


class _State:
    """A population's state over all samples; arrays are (neurons, samples)."""

    def __init__(self, network: Network, population: Population, samples: int) -> None:
        self.population = population
        self.size = population.size
        self.incoming = [
            (p.source, p.delay, _fast(p.weight)) for p in network.into(population.name)
        ]
        self.v_mem = np.repeat(population.v_init[:, None], samples, axis=1)
        self.i_syn = np.repeat(population.i_init[:, None], samples, axis=1)
        self.total = np.zeros(self.size)
        self.max_input = np.zeros(self.size)
        self.max_current = np.zeros(self.size)
        self.low = np.full(self.size, np.inf)
        self.high = np.full(self.size, -np.inf)

    def step(self, t: int, past: dict[str, dict[int, Floats]]) -> Floats:
        """Advance to timestep ``t`` and return the outputs (neurons, samples)."""
        population = self.population
        x = np.repeat(population.bias[:, None], self.v_mem.shape[1], axis=1)
        for source, delay, weight in self.incoming:
            if t - delay in past[source]:
                x += weight @ past[source][t - delay]
        output, u = self._respond(x)
        if x.size:
            self.total += output.sum(axis=1)
            np.maximum(self.max_input, np.abs(x).max(axis=1), out=self.max_input)
            np.maximum(self.max_current, np.abs(self.i_syn).max(axis=1), out=self.max_current)
            np.minimum(self.low, u.min(axis=1), out=self.low)
            np.maximum(self.high, u.max(axis=1), out=self.high)
        return output

    def _respond(self, x: Floats) -> tuple[Floats, Floats]:
        """Return the outputs and the membrane before its reset."""
        population = self.population
        if population.kind == NeuronKind.RELU:
            self.v_mem = x
            return np.maximum(x, 0.0), x
        if population.kind == NeuronKind.TABLE:
            self.v_mem = x
            return _TABLES[population.activation](x), x
        if population.kind in (NeuronKind.CUBA_LIF, NeuronKind.CUBA_INTEGRATOR):
            self.i_syn = population.decay_syn[:, None] * self.i_syn + x
            x = self.i_syn
        decay = population.decay_mem[:, None]
        if not population.spiking:
            self.v_mem = decay * self.v_mem + x
            return self.v_mem, self.v_mem
        if population.reset_timing == ResetTiming.NEXT:
            self.v_mem = self._delayed_reset(x, decay)
            return self._fires(self.v_mem).astype(np.float64), self.v_mem
        u = decay * self.v_mem + x
        output = self._fires(u).astype(np.float64)
        self.v_mem, output = self._reset(u, output)
        return output, u

    def _fires(self, membrane: Floats) -> NDArray[np.bool_]:
        threshold = self.population.threshold[:, None]
        if self.population.compare == Compare.GE:
            return membrane >= threshold
        return membrane > threshold

    def _delayed_reset(self, x: Floats, decay: Floats) -> Floats:
        population = self.population
        fired = self._fires(self.v_mem)
        if population.reset_mode == ResetMode.SUBTRACT:
            return decay * self.v_mem + x - population.threshold[:, None] * fired
        if population.reset_mode == ResetMode.WIPE:
            return np.where(fired, 0.0, decay * self.v_mem + x)
        value = population.v_reset[:, None] if population.reset_mode == ResetMode.VALUE else 0.0
        return decay * np.where(fired, value, self.v_mem) + x

    def _reset(self, u: Floats, output: Floats) -> tuple[Floats, Floats]:
        """Return the membrane after the reset and the number of spikes."""
        population = self.population
        threshold = population.threshold[:, None]
        if population.max_spikes > 1:
            output = np.clip(np.floor(u / threshold), 0, population.max_spikes)
        if population.reset_mode == ResetMode.SUBTRACT:
            membrane = u - threshold * output
        elif population.reset_mode == ResetMode.VALUE:
            membrane = np.where(output > 0, population.v_reset[:, None], u)
        else:
            membrane = np.where(output > 0, 0.0, u)
        if population.floor:
            membrane = np.maximum(membrane, -threshold)
        return membrane, output

    def activity(self, timesteps: int) -> Activity:
        """Return what happened over ``timesteps``."""
        updates = max(1, timesteps * self.v_mem.shape[1])
        return Activity(self.total / updates, self.max_input, self.max_current, self.low, self.high)


def _fast(weight: sparse.csr_array) -> sparse.csr_array | Floats:
    size = prod(weight.shape or ())
    if size <= _DENSE_SIZE and weight.nnz > _DENSE_SHARE * size:
        return weight.toarray()
    return weight
