"""The axon unit: values that arrive, held or for one timestep, and the walk over those that are active."""

from __future__ import annotations

from ..jit import arithmetic, jit, jit_inline
from .state import AxonState

_wrap = arithmetic.wrap


@jit_inline
def axon_value_of(value: int, activation_bits: int, is_signed: int) -> int:
    """Return ``value`` as an axon holds it: modulo 2**activation_bits, signed where the core's register says so."""
    if is_signed == 1:
        return _wrap(value, activation_bits)
    return value & ((1 << activation_bits) - 1)


@jit_inline
def axon_add(
    s: AxonState, c: int, slot: int, a: int, payload: int, bits: int, is_signed: int
) -> None:
    """Add a flit's payload to axon ``a`` of core ``c`` in ``slot``: one read-modify-write a cycle."""
    if s.active[c, slot, a] == 0:
        s.active[c, slot, a] = 1
        s.active_count[c, slot] += 1
        s.value[c, slot, a] = axon_value_of(payload, bits, is_signed)
    else:
        s.value[c, slot, a] = axon_value_of(s.value[c, slot, a] + payload, bits, is_signed)


@jit_inline
def axon_hold(s: AxonState, c: int, a: int, payload: int, bits: int, is_signed: int) -> None:
    """Add a flit's payload to the held value of axon ``a``, which is inactive at 0."""
    before = s.held_value[c, a] if s.held_active[c, a] != 0 else 0
    value = axon_value_of(before + payload, bits, is_signed)
    active = 1 if value != 0 else 0
    s.held_count[c] += active - int(s.held_active[c, a])
    s.held_active[c, a] = active
    s.held_value[c, a] = value


@jit
def axon_walk(s: AxonState, c: int, slot: int, bits: int, is_signed: int) -> int:
    """List the active axons of ``slot`` and their values, ascending, and empty the slot. Returns how many there are.

    An axon reads the sum of its value in the slot and its held value; one with neither is skipped.
    """
    count = 0
    if s.active_count[c, slot] == 0 and s.held_count[c] == 0:
        return 0
    for a in range(s.active.shape[2]):
        if s.active[c, slot, a] != 0:
            s.walk_axon[count] = a
            value = s.value[c, slot, a]
            if s.held_active[c, a] != 0:
                value = axon_value_of(value + s.held_value[c, a], bits, is_signed)
            s.walk_value[count] = value
            s.active[c, slot, a] = 0
            count += 1
        elif s.held_active[c, a] != 0:
            s.walk_axon[count] = a
            s.walk_value[count] = s.held_value[c, a]
            count += 1
    s.active_count[c, slot] = 0
    return count


@jit
def axon_skip(s: AxonState, c: int, slot: int) -> None:
    """Empty a slot whose timestep the core does not compute."""
    if s.active_count[c, slot] != 0:
        s.active[c, slot, :] = 0
        s.active_count[c, slot] = 0


@jit
def axon_clear(s: AxonState) -> None:
    """Empty all slots and held values, as the start of a sample does."""
    for c in range(s.active_count.shape[0]):
        for slot in range(s.active_count.shape[1]):
            axon_skip(s, c, slot)
        if s.held_count[c] != 0:
            s.held_active[c, :] = 0
            s.held_count[c] = 0
