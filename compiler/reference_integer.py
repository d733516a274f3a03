"""The integer reference: a quantised network run layer by layer, without cores or packets. The chip must equal it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..chip.arithmetic import Compare, NeuronKind, ResetMode, ResetTiming
from ..chip.config import ChipConfig
from .quantised import QuantisedNetwork, QuantisedPopulation

Ints = NDArray[np.int64]

# Products are summed in float64 while every sum is exact there, in int64 beyond.
_EXACT_BITS = 52


@dataclass(frozen=True)
class IntegerRun:
    """What a run gave; S samples, T timesteps, O outputs.

    counts : (S, O) int64, outputs added up over the timesteps: spikes, activations or raw membranes
    outputs : (S, T, O) int64
    first : (S, O) int64, timestep of the first output that is not 0, -1 for none
    recorded : population -> (S, T, neurons) int64 outputs
    membranes : population -> (S, T, neurons) int64 at the end of each timestep, of those recorded
    """

    counts: Ints
    outputs: Ints
    first: Ints
    recorded: dict[str, Ints]
    membranes: dict[str, Ints]


def wrap(values: Ints, bits: int) -> Ints:
    """Return ``values`` modulo 2**bits as signed numbers; `chip.arithmetic.wrap` over arrays."""
    half = np.int64(1) << (bits - 1)
    return ((values + half) & ((np.int64(1) << bits) - 1)) - half


def saturate(values: Ints, bits: int) -> Ints:
    """Return ``values`` clipped to ``bits`` signed bits; `chip.arithmetic.saturate` over arrays."""
    high = (1 << (bits - 1)) - 1
    return np.clip(values, -high - 1, high)


def scale_round(values: Ints, factor: Ints, shift: int) -> Ints:
    """Return ``values * factor / 2**shift``, rounded half up; `chip.arithmetic.scale_round` over arrays."""
    if shift == 0:
        return values * factor
    high = values >> shift
    low = values - (high << shift)
    return high * factor + ((low * factor + (np.int64(1) << (shift - 1))) >> shift)


def quantise_inputs(quantised: QuantisedNetwork, inputs: NDArray[Any]) -> Ints:
    """Return the payloads (S, T, values) of real inputs of the same shape."""
    payloads = np.empty(inputs.shape, dtype=np.int64)
    start = 0
    for item in quantised.inputs:
        stop = start + int(np.prod(item.shape))
        low = -item.max_payload if item.signed else 0
        payloads[..., start:stop] = np.clip(
            np.rint(inputs[..., start:stop] / item.scale), low, item.max_payload
        )
        start = stop
    return payloads


def run_integer(
    quantised: QuantisedNetwork,
    config: ChipConfig,
    inputs: NDArray[Any],
    record: Collection[str] = (),
) -> IntegerRun:
    """Run a quantised network on real ``inputs`` (samples, timesteps, values) from rest.

    ``record`` names populations whose outputs and membranes are kept. Raises ValueError if shapes do not match.
    """
    width = sum(int(np.prod(item.shape)) for item in quantised.inputs)
    if inputs.ndim != 3 or inputs.shape[2] != width:
        raise ValueError(f"inputs must be (samples, timesteps, {width}), not {inputs.shape}")
    payloads = quantise_inputs(quantised, inputs)
    samples, timesteps, _ = payloads.shape
    states = {p.name: _State(quantised, p, config, samples) for p in quantised.populations}
    columns = np.cumsum([0, *(int(np.prod(item.shape)) for item in quantised.inputs)])
    past: dict[str, dict[int, Ints]] = {item.name: {} for item in quantised.inputs} | {
        name: {} for name in states
    }
    reach = max((p.delay for p in quantised.projections), default=0) + 1
    names = quantised.network.outputs
    outputs = np.empty((samples, timesteps, quantised.network.output_size), dtype=np.int64)
    kept = {
        name: np.empty((samples, timesteps, states[name].size), dtype=np.int64) for name in record
    }
    membranes = {name: np.empty_like(array) for name, array in kept.items()}
    for t in range(timesteps):
        for item, first, last in zip(quantised.inputs, columns, columns[1:], strict=False):
            past[item.name][t] = np.ascontiguousarray(payloads[:, t, first:last].T)
        for name, state in states.items():
            past[name][t] = state.step(t, past)
        outputs[:, t] = np.concatenate([past[name][t] for name in names]).T
        for name in kept:
            kept[name][:, t] = past[name][t].T
            membranes[name][:, t] = states[name].v_mem.T
        for history in past.values():
            history.pop(t - reach + 1, None)
    came = outputs != 0
    first_output = np.where(came.any(axis=1), came.argmax(axis=1), -1)
    return IntegerRun(outputs.sum(axis=1), outputs, first_output, kept, membranes)


class _State:
    """A population's state; arrays are (neurons, samples)."""

    def __init__(
        self,
        quantised: QuantisedNetwork,
        population: QuantisedPopulation,
        config: ChipConfig,
        samples: int,
    ) -> None:
        self.p = population
        self.core = config.many_core.core
        self.size = population.size
        self.incoming = []
        for projection in quantised.projections:
            if projection.target == population.name:
                weight = projection.weight
                bound = (
                    float(abs(weight).sum(axis=1).max(initial=0)) * 2.0**self.core.activation_bits
                )
                exact = bound < 2.0**_EXACT_BITS
                weight = weight.astype(np.float64 if exact else np.int64)
                if exact and weight.nnz > 0.2 * self.size * quantised.network.size_of(
                    projection.source
                ):
                    weight = weight.toarray()
                self.incoming.append((projection.source, projection.delay, weight, exact))
        self.v_mem = np.repeat(population.v_init[:, None], samples, axis=1)
        self.i_syn = np.repeat(population.i_init[:, None], samples, axis=1)

    def step(self, t: int, past: dict[str, dict[int, Ints]]) -> Ints:
        """Advance to timestep ``t`` and return the outputs (neurons, samples)."""
        total = np.zeros(self.v_mem.shape, dtype=np.int64)
        for source, delay, weight, exact in self.incoming:
            if t - delay in past[source]:
                values = past[source][t - delay]
                total += (
                    (weight @ values.astype(np.float64)).astype(np.int64)
                    if exact
                    else weight @ values
                )
        i_in = (wrap(total, self.core.accumulator_bits) << self.p.i_shift) + self.p.bias[:, None]
        return self._respond(i_in)

    def _respond(self, i_in: Ints) -> Ints:
        p, core, kind = self.p, self.core, self.p.source.kind
        factor = p.decay_mem[:, None]
        if kind == NeuronKind.RELU:
            self.v_mem = i_in
            scaled = scale_round(np.maximum(i_in, 0), factor, p.requant_shift)
            return np.minimum(scaled, p.max_payload)
        if kind == NeuronKind.TABLE:
            assert p.table is not None
            self.v_mem = i_in
            return p.table[saturate(scale_round(i_in, factor, p.requant_shift), 8) & 255].astype(
                np.int64
            )
        if kind in (NeuronKind.CUBA_LIF, NeuronKind.CUBA_INTEGRATOR):
            decayed = scale_round(self.i_syn, p.decay_syn[:, None], core.decay_bits)
            i_in = self.i_syn = saturate(decayed + i_in, core.membrane_bits)
        if not p.source.spiking:
            self.v_mem = saturate(
                scale_round(self.v_mem, factor, core.decay_bits) + i_in, core.membrane_bits
            )
            return self.v_mem
        return self._spike(i_in)

    def _fires(self, membrane: Ints) -> NDArray[np.bool_]:
        threshold = self.p.v_threshold[:, None]
        return (
            membrane >= threshold if self.p.source.compare == Compare.GE else membrane > threshold
        )

    def _spike(self, i_in: Ints) -> Ints:
        p, core, mode = self.p, self.core, self.p.source.reset_mode
        threshold, v_reset = p.v_threshold[:, None], p.v_reset[:, None]
        delayed = p.source.reset_timing == ResetTiming.NEXT
        fired = self._fires(self.v_mem) if delayed else np.zeros(self.v_mem.shape, dtype=bool)
        before = self.v_mem
        if mode in (ResetMode.ZERO, ResetMode.VALUE):
            before = np.where(fired, v_reset if mode == ResetMode.VALUE else 0, before)
        u = scale_round(before, p.decay_mem[:, None], core.decay_bits) + i_in
        if mode == ResetMode.SUBTRACT:
            u = u - threshold * fired
        u = saturate(u, core.membrane_bits)
        if mode == ResetMode.WIPE:
            u = np.where(fired, 0, u)
        if p.source.max_spikes > 1:
            output = np.clip(u // np.maximum(threshold, 1), 0, p.max_payload)
            v_next = u - output * threshold
        else:
            output = self._fires(u).astype(np.int64)
            after = (
                u - threshold
                if mode == ResetMode.SUBTRACT
                else v_reset
                if mode == ResetMode.VALUE
                else 0
            )
            v_next = u if delayed else saturate(np.where(output > 0, after, u), core.membrane_bits)
        self.v_mem = np.maximum(v_next, -threshold) if p.source.floor else v_next
        return output
