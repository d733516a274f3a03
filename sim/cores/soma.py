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
MAX_SPIKES = REGISTER_INDEX["max_spikes"]
FLOOR = REGISTER_INDEX["floor"]
REFRACTORY = REGISTER_INDEX["refractory"]
RANDOM_MASK = REGISTER_INDEX["random_mask"]
RANDOM_SEED = REGISTER_INDEX["random_seed"]


@jit
def soma_update(
    p: Params, g: SomaMemory, s: SomaState, outbox: SenderState, sums: Array, r: Array, c: int, is_first: bool,
    neurons: int
) -> tuple[int, int]:  # fmt: skip
    """Update neurons 0 .. ``neurons`` - 1 of core ``c`` in order, by the rules of chip/arithmetic.py.

    ``sums`` (neurons,) are the dendrite's accumulators, ``r`` the core's registers. ``is_first`` marks the core's
    first update in a
    sample, which starts from ``v_init`` and ``i_init``. Outputs that are not 0 and have routes go to the outbox.
    Returns how many outputs were not 0, and how many neurons' states stand at a limit.
    """
    kind = r[KIND]
    if is_first:
        s.lfsr[c] = r[RANDOM_SEED]
        for n in range(neurons):
            s.v_mem[c, n] = g.v_init[c, n]
            s.i_syn[c, n] = g.i_init[c, n]
            s.refractory_left[c, n] = 0
    outputs = 0
    limited = 0
    place = 0
    for n in range(neurons):
        payload = _wrap(sums[n], p.accumulator_bits)
        if kind != 6:  # not PARTIAL
            i_in = (payload << r[I_SHIFT]) + g.bias[c, n]
            if kind == 4:  # RELU
                payload = _requantise(i_in, g.decay_mem[c, n], r[REQUANT_SHIFT], p.activation_bits)
            elif kind == 5:  # TABLE
                payload = int(g.table[c, _table_index(i_in, g.decay_mem[c, n], r[REQUANT_SHIFT])])
            else:
                payload, at_limit = _membrane_update(p, g, s, r, c, n, i_in)
                limited += at_limit
        if payload != 0:
            outputs += 1
            if g.route_count[c, n] != 0:
                outbox.neuron[c, place] = n
                outbox.payload[c, place] = payload
                place += 1
    outbox.count[c] = place
    return outputs, limited


@jit
def _at_limit(value: int, bits: int) -> int:
    top = (1 << (bits - 1)) - 1
    return 1 if value == top or value == -top - 1 else 0


@jit
def _membrane_update(
    p: Params, g: SomaMemory, s: SomaState, r: Array, c: int, n: int, i_in: int
) -> tuple[int, int]:
    """Update one neuron that has a membrane. Returns its output, and 1 if a state stands at its limit."""
    kind = r[KIND]
    at_limit = 0
    if s.refractory_left[c, n] > 0:
        s.refractory_left[c, n] -= 1
        return 0, 0
    if kind == 1 or kind == 3:  # CUBA_LIF, CUBA_INTEGRATOR
        i_syn = _scale_round(s.i_syn[c, n], g.decay_syn[c, n], p.decay_bits) + i_in
        i_in = _saturate(i_syn, p.membrane_bits)
        at_limit = _at_limit(i_in, p.membrane_bits)
        s.i_syn[c, n] = i_in
    threshold = g.v_threshold[c, n]
    if r[RANDOM_MASK] != 0:
        s.lfsr[c] = _lfsr_next(s.lfsr[c])
        threshold += s.lfsr[c] & r[RANDOM_MASK]
    spiking = kind <= 1
    timing = r[RESET_TIMING] if spiking else 0
    u = _integrate(
        s.v_mem[c, n], i_in, g.decay_mem[c, n], threshold, g.v_reset[c, n], r[RESET_MODE], timing, r[COMPARE],
        p.decay_bits, p.membrane_bits,
    )  # fmt: skip
    at_limit |= _at_limit(u, p.membrane_bits)
    if not spiking:
        s.v_mem[c, n] = u
        return u, at_limit
    v_next = u
    if r[MAX_SPIKES] > 1:
        payload = _spike_count(u, threshold, r[MAX_SPIKES])
        v_next = u - payload * threshold
    else:
        payload = 1 if _fires(u, threshold, r[COMPARE]) else 0
        if payload == 1 and timing == 0:
            v_next = _saturate(
                _reset_same(u, threshold, g.v_reset[c, n], r[RESET_MODE]), p.membrane_bits
            )
    if r[FLOOR] == 1:
        v_next = max(v_next, -threshold)
    s.v_mem[c, n] = v_next
    if payload != 0:
        s.refractory_left[c, n] = r[REFRACTORY]
    return payload, at_limit
