"""Cycles of compute in closed form: `ManyCoreConfig.compute_cycles` and `retire_cycle` for the kernels."""

from __future__ import annotations

from ...chip.config import SOMA_STAGES
from ..jit import jit_inline


@jit_inline
def retire_offset(stages: int, active: int, lanes: int, n: int) -> int:
    """Return the cycle, from the first compute cycle on, in which neuron ``n`` retires.

    ``stages`` are the dendrite's, ``active`` the axons that it walks, ``lanes`` the neurons of a group.
    """
    group = n // lanes
    return (
        stages + active + 1 + group * max(active + 1, lanes) + n - group * lanes + SOMA_STAGES - 1
    )


@jit_inline
def compute_cycles(stages: int, active: int, lanes: int, neurons: int) -> int:
    """Return the cycles from the first compute cycle to the retirement of the last, whole group."""
    groups = (neurons + lanes - 1) // lanes
    return retire_offset(stages, active, lanes, groups * lanes - 1) + 1
