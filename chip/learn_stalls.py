"""A memory that does not accept a request in every cycle: one rule for the simulator and the memory beside the RTL."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["NO_STALLS", "STALL_PERIOD", "STALL_TAPS", "stall_pattern"]

# A Galois register of 16 bits, of the primitive polynomial x^16 + x^14 + x^13 + x^11 + 1.
STALL_TAPS = 0xB400
STALL_PERIOD = (1 << 16) - 1
NO_STALLS = np.zeros(1, np.uint8)


@cache
def stall_pattern(seed: int, rate: int) -> NDArray[np.uint8]:
    """Return in which cycles of a step, from cycle 1 on, the memory accepts nothing; it repeats.

    Parameters
    ----------
    seed : int
        What the register holds in cycle 1, 1..65535.
    rate : int
        The memory stalls if the register's lowest 8 bits are below; 0..255.

    Raises
    ------
    ValueError
        If one of them is out of range.
    """
    if not 0 < seed <= STALL_PERIOD or not 0 <= rate <= 255:
        raise ValueError(
            f"a memory's stalls need a seed of 1..65535 and a rate of 0..255, not {seed}, {rate}"
        )
    pattern = np.empty(STALL_PERIOD, np.uint8)
    state = seed
    for place in range(STALL_PERIOD):
        pattern[place] = (state & 0xFF) < rate
        state = state >> 1 ^ (STALL_TAPS if state & 1 else 0)
    pattern.flags.writeable = False
    return pattern
