"""Synapse and dendrite: rows of weights times axon values, summed into the accumulators of the neurons in use."""

from __future__ import annotations

from ..jit import jit, jit_inline
from .state import Array, AxonState, DendriteState


@jit_inline
def sum_add(s: DendriteState, c: int, slot: int, n: int, payload: int) -> None:
    """Add another core's partial sum to neuron ``n`` of core ``c``; it wraps to its width when it is read."""
    s.sum_value[c, slot, n] += payload


# c core, a axon, n neuron. Accumulators are int32 where accumulator_bits allows it: a sum modulo 2**32 is right
# modulo 2**bits.
@jit
def dendrite_accumulate(
    s: DendriteState, axon: AxonState, weights: Array, c: int, slot: int, active: int, neurons: int
) -> int:
    """Sum weight x value over the ``active`` axons of the walk, on top of the incoming sums of ``slot``.

    Empties the slot. Returns how many of the values were not 1: those for which the multipliers work.
    """
    accumulator = s.accumulator
    for n in range(neurons):
        accumulator[n] = s.sum_value[c, slot, n]
        s.sum_value[c, slot, n] = 0
    multiplied = 0
    for j in range(active):
        value = axon.walk_value[j]
        row = weights[c, axon.walk_axon[j]]
        if value == 1:
            for n in range(neurons):
                accumulator[n] += row[n]
        else:
            multiplied += 1
            for n in range(neurons):
                accumulator[n] += row[n] * value
    return multiplied


@jit
def dendrite_skip(s: DendriteState, c: int, slot: int) -> None:
    """Empty a slot of incoming sums whose timestep the core does not compute."""
    s.sum_value[c, slot, :] = 0


@jit
def dendrite_clear(s: DendriteState) -> None:
    """Empty the rings of incoming sums, as the start of a sample does."""
    s.sum_value[:] = 0
