"""The neuron and rounding rules in plain integers: the definition that simulator and RTL both reproduce.

Every function takes and returns Python ints (the simulator compiles these same functions with Numba).

Decided once, here:

- Accumulators, partial sums and axon values are two's complement and wrap. Addition modulo a power of two is
  associative, so a sum does not depend on the order in which packets arrive.
- The membrane and the synaptic current saturate.
- A decay is a fixed-point factor with ``decay_bits`` fractional bits; the product is rounded to nearest, half up.
- Order within a neuron's update: synaptic current, delayed reset and decay, integration, compare, reset, floor.
"""

from __future__ import annotations

from enum import IntEnum


class NeuronKind(IntEnum):
    """What a core's soma does with the incoming sum; the number is the register's encoding."""

    LIF = 0  # leaky integrate-and-fire; IF is decay 1, a stateless threshold is decay 0
    CUBA_LIF = 1  # current-based LIF: a second decaying state, the synaptic current
    INTEGRATOR = 2  # non-spiking leaky integrator; emits its membrane each timestep
    CUBA_INTEGRATOR = 3  # the same behind a decaying synaptic current
    RELU = 4  # max(x, 0), requantised to an activation; no state
    TABLE = 5  # 256-entry table of the requantised sum; no state
    PARTIAL = 6  # hands its sum on to a neuron of another core


class ResetMode(IntEnum):
    """What a spike does to the membrane."""

    ZERO = 0
    VALUE = 1  # to v_reset
    SUBTRACT = 2  # minus the threshold
    WIPE = 3  # the whole update is lost: membrane 0, input ignored


class ResetTiming(IntEnum):
    """When the reset acts: in the timestep of the spike, or in the next from the stored membrane."""

    SAME = 0
    NEXT = 1


class Compare(IntEnum):
    """Whether the membrane must exceed the threshold or may equal it."""

    GT = 0
    GE = 1


def wrap(value: int, bits: int) -> int:
    """Return ``value`` modulo 2**bits as a signed two's complement number."""
    half = 1 << (bits - 1)
    return ((value + half) & ((1 << bits) - 1)) - half


def saturate(value: int, bits: int) -> int:
    """Return ``value`` clipped to the range of a signed number of ``bits`` bits."""
    high = (1 << (bits - 1)) - 1
    return max(-high - 1, min(high, value))


def scale_round(value: int, factor: int, shift: int) -> int:
    """Return ``value * factor / 2**shift`` rounded to nearest, half towards plus infinity.

    ``factor >= 0``. The high part is multiplied apart, so that no intermediate exceeds
    ``max(bits(value) + bits(factor) - shift, shift + bits(factor)) + 1`` bits; the result is the same.
    """
    if shift == 0:
        return value * factor
    high = value >> shift
    low = value - (high << shift)
    return high * factor + ((low * factor + (1 << (shift - 1))) >> shift)


def fires(v_mem: int, v_threshold: int, compare: int) -> bool:
    """Return whether the membrane crosses the threshold, by ``>`` or ``>=``."""
    return v_mem >= v_threshold if compare == 1 else v_mem > v_threshold


def integrate(
    v_mem: int,
    i_in: int,
    decay_mem: int,
    v_threshold: int,
    v_reset: int,
    reset_mode: int,
    reset_timing: int,
    compare: int,
    decay_bits: int,
    membrane_bits: int,
) -> int:
    """Return the membrane after decay, delayed reset and integration of ``i_in``, before the compare.

    ``u = round(decay_mem * v) + i_in``, saturated. With a reset of the next timestep, the reset that the stored
    ``v_mem`` asks for acts first: ZERO and VALUE replace ``v`` before the decay, SUBTRACT subtracts the undecayed
    threshold afterwards, WIPE gives 0.
    """
    fired = reset_timing == 1 and fires(v_mem, v_threshold, compare)
    if fired and reset_mode == 3:
        return 0
    if fired and reset_mode == 0:
        v_mem = 0
    if fired and reset_mode == 1:
        v_mem = v_reset
    u = scale_round(v_mem, decay_mem, decay_bits) + i_in
    if fired and reset_mode == 2:
        u -= v_threshold
    return saturate(u, membrane_bits)


def reset_same(u: int, v_threshold: int, v_reset: int, reset_mode: int) -> int:
    """Return the membrane of a neuron that fired, after a reset in the same timestep."""
    if reset_mode == 1:
        return v_reset
    if reset_mode == 2:
        return u - v_threshold
    return 0


def spike_count(u: int, v_threshold: int, max_output: int) -> int:
    """Return how many thresholds ``u`` holds, 0 to ``max_output``; a threshold of a power of two makes it a shift."""
    if u <= 0:
        return 0
    return min(u // v_threshold, max_output)


def requantise(value: int, factor: int, shift: int, max_output: int) -> int:
    """Return ``max(value, 0) * factor / 2**shift`` rounded, at most ``max_output``."""
    if value <= 0:
        return 0
    return min(scale_round(value, factor, shift), max_output)


def table_index(value: int, factor: int, shift: int) -> int:
    """Return the 8-bit table address of ``value``: the rounded product clipped to -128..127, as its unsigned byte."""
    return saturate(scale_round(value, factor, shift), 8) & 255


def lfsr_next(state: int) -> int:
    """Return the next state of the 32-bit linear feedback register of the stochastic threshold.

    The new top bit is x0 ^ x1 ^ x2 ^ x3 ^ x5 ^ x7 and the register shifts right, as TianjicX's P08 primitive does
    (github openBII/BiMap, prim_08).
    """
    bit = (state ^ (state >> 1) ^ (state >> 2) ^ (state >> 3) ^ (state >> 5) ^ (state >> 7)) & 1
    return (state >> 1) | (bit << 31)
