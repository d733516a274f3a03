"""Numbers as text: three digits, SI prefixes, shares, intervals."""

from __future__ import annotations

from math import floor, log10, sqrt

_PREFIXES = {-15: "f", -12: "p", -9: "n", -6: "µ", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T"}
_SPACE = "\u00a0"  # keeps number and unit on one line


def si(value: float, unit: str) -> str:
    """Return ``value`` with three digits, a prefix from f to T, and the unit."""
    if value == 0:
        return f"0{_SPACE}{unit}"
    power = min(max(3 * floor(log10(abs(value)) / 3), -15), 12)
    digits = _three_digits(value / 10.0**power)
    if digits == "1000" and power < 12:
        power, digits = power + 3, "1.00"
    return f"{digits}{_SPACE}{_PREFIXES[power]}{unit}"


def count(value: float) -> str:
    """Return a count: whole with separators, or three digits where it is a mean below 100."""
    if value == 0 or abs(value) >= 100 or float(value).is_integer():
        return f"{value:,.0f}"
    return _three_digits(value)


def share(value: float) -> str:
    """Return a share of 1 in percent, with three digits at most."""
    percent = 100 * value
    return f"{percent:.2f}{_SPACE}%" if 0 < abs(percent) < 10 else f"{percent:.1f}{_SPACE}%"


def interval(value: float, samples: int) -> tuple[float, float]:
    """Return the 95 % interval of a share that was found in ``samples`` independent samples (Wilson)."""
    z = 1.959964
    middle = value + z * z / (2 * samples)
    width = z * sqrt(value * (1 - value) / samples + z * z / (4 * samples * samples))
    scale = 1 + z * z / samples
    return max(0.0, (middle - width) / scale), min(1.0, (middle + width) / scale)


def _three_digits(value: float) -> str:
    size = abs(value)
    if size >= 99.95:
        return f"{value:.0f}"
    if size >= 9.995:
        return f"{value:.1f}"
    if size >= 0.9995:
        return f"{value:.2f}"
    return f"{value:.3g}"
