"""Signature registers: per tile and unit, a CRC of what retires or leaves; chip/signature.py says which words."""

from __future__ import annotations

from ...chip.signature import CYCLE_BITS
from ..jit import jit, jit_inline
from .state import Array, SignatureState

CORE_UNIT = 0  # then the router's outputs, in the order of chip/events.py
CYCLE_MASK = (1 << CYCLE_BITS) - 1


@jit_inline
def absorb(table: Array, state: int, word: int, bits: int) -> int:
    """Return ``state`` after the low ``bits`` bits (at most 63) of ``word``, least significant first."""
    while bits >= 8:
        state = (state >> 8) ^ table[(state ^ word) & 255]
        word >>= 8
        bits -= 8
    if (
        bits > 0
    ):  # the table's entry for bits moved to the top of the byte passes 8 - bits zeros first: no change
        low = (state ^ word) & ((1 << bits) - 1)
        state = (state >> bits) ^ table[low << (8 - bits)]
    return state


@jit
def signature_transfer(
    s: SignatureState,
    r: int,
    output: int,
    cycle: int,
    kind: int,
    dx: int,
    dy: int,
    target: int,
    delay: int,
    payload: int,
) -> None:
    """Absorb a flit that leaves router ``r``. All fields but the payload fit one word: 16 + 36 bits at most."""
    head = cycle & CYCLE_MASK
    bits = CYCLE_BITS
    head |= kind << bits
    bits += 2
    head |= (dx & ((1 << s.dx_bits) - 1)) << bits
    bits += s.dx_bits
    head |= (dy & ((1 << s.dy_bits) - 1)) << bits
    bits += s.dy_bits
    head |= target << bits
    bits += s.target_bits
    head |= delay << bits
    bits += s.delay_bits
    state = absorb(s.table, s.value[r, CORE_UNIT + 1 + output], head, bits)
    s.value[r, CORE_UNIT + 1 + output] = absorb(s.table, state, payload, s.payload_bits)


@jit
def signature_retire(
    s: SignatureState, r: int, cycle: int, n: int, output: int, v_mem: int, membrane_bits: int
) -> None:
    """Absorb neuron ``n`` of the core at router ``r``, which retires with ``output`` and ``v_mem``."""
    head = (cycle & CYCLE_MASK) | (n << CYCLE_BITS)
    state = absorb(s.table, s.value[r, CORE_UNIT], head, CYCLE_BITS + s.target_bits)
    state = absorb(s.table, state, output, s.payload_bits)
    s.value[r, CORE_UNIT] = absorb(s.table, state, v_mem, membrane_bits)
