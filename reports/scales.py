"""Axes of the page's figures: round ticks, linear and logarithmic."""

from __future__ import annotations

from math import ceil, floor, log10

__all__ = ["linear_ticks", "log_bounds", "log_ticks"]


def linear_ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Return round values between two bounds, about so many: steps of 1, 2 or 5 times a power of ten."""
    if high <= low:
        return [low]
    rough = (high - low) / max(1, about)
    power = 10.0 ** floor(log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.8)
    first = ceil(low / step - 1e-9)
    last = floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def log_bounds(values: list[float]) -> tuple[int, int]:
    """Return powers of ten that enclose positive values, at least one decade; (0, 1) where there are none."""
    positive = [value for value in values if value > 0]
    if not positive:
        return 0, 1
    low, high = floor(log10(min(positive)) + 1e-9), ceil(log10(max(positive)) - 1e-9)
    return low, max(high, low + 1)


def log_ticks(low: int, high: int, most: int = 7) -> list[int]:
    """Return the powers of ten from ``low`` to ``high`` to write at an axis, at most about so many."""
    step = -(-(high - low) // most) or 1
    return list(range(low, high + 1, step))
