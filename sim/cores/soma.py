"""The soma: one pass over a core's neurons, from sums to membranes, outputs and the outbox."""

from __future__ import annotations

from ...chip.program import REGISTER_INDEX
from ..jit import arithmetic, jit
from .state import Array, Params, SenderState, SomaMemory, SomaState

_wrap = arithmetic.wrap
_saturate = arithmetic.saturate
_scale_round = arithmetic.scale_round
_integrate = arithmetic.integrate
_fires = arithmetic.fires
_reset_same = arithmetic.reset_same
_spike_count = arithmetic.spike_count
_requantise = arithmetic.requantise
_table_index = arithmetic.table_index
_lfsr_next = arithmetic.lfsr_next

KIND = REGISTER_INDEX["kind"]
I_SHIFT = REGISTER_INDEX["i_shift"]
REQUANT_SHIFT = REGISTER_INDEX["requant_shift"]
RESET_MODE = REGISTER_INDEX["reset_mode"]
RESET_TIMING = REGISTER_INDEX["reset_timing"]
COMPARE = REGISTER_INDEX["compare"]
MAX_OUTPUT = REGISTER_INDEX["max_output"]
FLOOR = REGISTER_INDEX["floor"]
REFRACTORY = REGISTER_INDEX["refractory"]
RANDOM_MASK = REGISTER_INDEX["random_mask"]
RANDOM_SEED = REGISTER_INDEX["random_seed"]


@jit
def soma_update(
    p: Params,
    g: SomaMemory,
    s: SomaState,
    outbox: SenderState,
    sums: Array,
    r: Array,
    c: int,
    is_first: bool,
    neurons: int,
) -> tuple[int, int]:
    """Update neurons 0 .. ``neurons`` - 1 of core ``c`` in order, by the rules of chip/arithmetic.py.

    ``sums`` (neurons,) are the dendrite's accumulators, ``r`` the core's registers. ``is_first`` marks the core's
    first update in a sample, which starts from ``v_init`` and ``i_init``. Outputs that are not 0 and have routes go
    to the outbox. Returns how many outputs were not 0, and how many neurons' states stand at a limit.
    """
    kind = r[KIND]
    limited = 0
    if kind == 6:  # PARTIAL
        for n in range(neurons):
            s.output[n] = _wrap(sums[n], p.accumulator_bits)
    elif kind == 4 or kind == 5:  # RELU, TABLE
        _activate(p, g, s.output, sums, r, c, neurons)
    else:
        if is_first:
            s.lfsr[c] = r[RANDOM_SEED]
            s.v_mem[c, :neurons] = g.v_init[c, :neurons]
            s.i_syn[c, :neurons] = g.i_init[c, :neurons]
            s.refractory_left[c, :neurons] = 0
        limited = _update_membranes(p, g, s, sums, r, c, neurons)
    outputs = 0
    place = 0
    output, routes, box_neuron, box_payload = (
        s.output,
        g.route_count[c],
        outbox.neuron[c],
        outbox.payload[c],
    )
    for n in range(neurons):
        if output[n] != 0:
            outputs += 1
            if routes[n] != 0:
                box_neuron[place] = n
                box_payload[place] = output[n]
                place += 1
    outbox.filled[c] = place
    return outputs, limited


@jit
def _activate(
    p: Params, g: SomaMemory, output: Array, sums: Array, r: Array, c: int, neurons: int
) -> None:
    """Turn sums into activations: requantised and clipped at 0, or looked up."""
    bias, factor = g.bias[c], g.decay_mem[c]
    for n in range(neurons):
        i_in = (_wrap(sums[n], p.accumulator_bits) << r[I_SHIFT]) + bias[n]
        if r[KIND] == 4:  # RELU
            output[n] = _requantise(i_in, factor[n], r[REQUANT_SHIFT], r[MAX_OUTPUT])
        else:  # TABLE
            output[n] = g.table[c, _table_index(i_in, factor[n], r[REQUANT_SHIFT])]


@jit
def _at_limit(value: int, bits: int) -> int:
    top = (1 << (bits - 1)) - 1
    return 1 if value == top or value == -top - 1 else 0


# Rows and registers are taken out of their tuples before the loop: measured 5 times as fast as reading them inside.
@jit
def _update_membranes(
    p: Params, g: SomaMemory, s: SomaState, sums: Array, r: Array, c: int, neurons: int
) -> int:
    """Update neurons that have a membrane. Returns how many leave a state at its limit."""
    decay_bits, membrane_bits, accumulator_bits = p.decay_bits, p.membrane_bits, p.accumulator_bits
    v_mem, i_syn, refractory_left, output = s.v_mem[c], s.i_syn[c], s.refractory_left[c], s.output
    v_threshold, v_reset, bias = g.v_threshold[c], g.v_reset[c], g.bias[c]
    decay_mem, decay_syn = g.decay_mem[c], g.decay_syn[c]
    i_shift, reset_mode, compare, max_output = r[I_SHIFT], r[RESET_MODE], r[COMPARE], r[MAX_OUTPUT]
    has_floor, refractory, random_mask = r[FLOOR] == 1, r[REFRACTORY], r[RANDOM_MASK]
    spiking = r[KIND] <= 1  # LIF, CUBA_LIF
    current_based = r[KIND] == 1 or r[KIND] == 3  # CUBA_LIF, CUBA_INTEGRATOR
    timing = r[RESET_TIMING] if spiking else 0
    lfsr = s.lfsr[c]
    limited = 0
    for n in range(neurons):
        output[n] = 0
        if refractory_left[n] > 0:
            refractory_left[n] -= 1
            continue
        at_limit = 0
        i_in = (_wrap(sums[n], accumulator_bits) << i_shift) + bias[n]
        if current_based:
            i_in = _saturate(_scale_round(i_syn[n], decay_syn[n], decay_bits) + i_in, membrane_bits)
            at_limit = _at_limit(i_in, membrane_bits)
            i_syn[n] = i_in
        threshold = v_threshold[n]
        if random_mask != 0:
            lfsr = _lfsr_next(lfsr)
            threshold += lfsr & random_mask
        u = _integrate(
            v_mem[n], i_in, decay_mem[n], threshold, v_reset[n], reset_mode, timing, compare, decay_bits, membrane_bits
        )  # fmt: skip
        limited += at_limit | _at_limit(u, membrane_bits)
        v_next = u
        payload = u
        if spiking:
            if max_output > 1:
                payload = _spike_count(u, threshold, max_output)
                v_next = u - payload * threshold
            else:
                payload = 1 if _fires(u, threshold, compare) else 0
                if payload == 1 and timing == 0:
                    v_next = _saturate(
                        _reset_same(u, threshold, v_reset[n], reset_mode), membrane_bits
                    )
            if has_floor:
                v_next = max(v_next, -threshold)
            if payload != 0:
                refractory_left[n] = refractory
        v_mem[n] = v_next
        output[n] = payload
    s.lfsr[c] = lfsr
    return limited
