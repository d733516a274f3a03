"""The vector unit's arithmetic, element by element, in 32-bit floats; the simulator compiles these same functions.

Every argument and every result is a 32-bit float, each operation rounds once, and nothing is fused. Results that go to
memory are rounded to the operand format by the caller; so are membranes before they are compared, so that the backward
pass finds the masks and spikes of the forward pass.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Real = Any  # np.float32, or a compiled float

_LOG2_E = np.float32(1.4426950408889634)
_LN2_HIGH = np.float32(0.693359375)  # nine bits, so that its products with small integers are exact
_LN2_LOW = np.float32(-2.12194440e-4)
_LOWEST = np.float32(-87.0)
_ONE = np.float32(1.0)
# 1/n! for n from 7 down to 2: the Taylor series on |r| <= ln(2) / 2 is below an ulp from there on.
_C7, _C6, _C5 = np.float32(1 / 5040), np.float32(1 / 720), np.float32(1 / 120)
_C4, _C3, _C2 = np.float32(1 / 24), np.float32(1 / 6), np.float32(1 / 2)
_ZERO = np.float32(0.0)


def membrane(x: Real, u: Real, spiked: bool, leak: Real) -> Real:
    """Return ``leak * u * (1 - s) + x``: the membrane before it is rounded for the comparison (F1)."""
    return x if spiked else leak * u + x


def spikes(u: Real, threshold: Real) -> bool:
    """Return whether a rounded membrane fires: strictly above (F2)."""
    return u > threshold


def in_window(u: Real, threshold: Real, half_width: Real) -> bool:
    """Return the mask of the rectangular surrogate: strictly within (B1)."""
    return abs(u - threshold) < half_width


def membrane_gradient(
    g: Real, u: Real, spiked: bool, masked_in: bool, du_next: Real, leak: Real, height: Real
) -> Real:
    """Return ``height * m * (g - leak * u * du') + leak * (1 - s) * du'`` (B2, B3), the sum in this order."""
    spike_part = height * (g - leak * u * du_next) if masked_in else _ZERO
    leak_part = _ZERO if spiked else leak * du_next
    return spike_part + leak_part


def normalised(y: Real, mean: Real, inverse_deviation: Real) -> Real:
    """Return ``(y - mean) * inverse_deviation``."""
    return (y - mean) * inverse_deviation


def norm_gradient(du: Real, y_hat: Real, factor: Real, mean_du: Real, mean_product: Real) -> Real:
    """Return ``factor * (du - mean(du) - y_hat * mean(du * y_hat))``; with frozen statistics it is ``factor * du``."""
    return factor * ((du - mean_du) - y_hat * mean_product)


def exponential(x: Real) -> Real:
    """Return e to the ``x``, for ``x <= 0``: two-part reduction by ln 2, then seven terms; below -87 as at -87."""
    x = max(x, _LOWEST)
    n = np.rint(x * _LOG2_E)
    r = (x - n * _LN2_HIGH) - n * _LN2_LOW
    p = _C7
    p = p * r + _C6
    p = p * r + _C5
    p = p * r + _C4
    p = p * r + _C3
    p = p * r + _C2
    p = p * r + _ONE
    p = p * r + _ONE
    return p * np.float32(math.ldexp(1.0, int(n)))


def momentum_step(
    momentum: Real, gradient: Real, weight: Real, unscale: Real, decay: Real, keep: Real
) -> Real:
    """Return the new momentum: ``keep * momentum + (unscale * gradient + decay * weight)``."""
    return keep * momentum + (unscale * gradient + decay * weight)
