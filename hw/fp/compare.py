"""Comparisons of floating-point words; combinational."""

from __future__ import annotations

from amaranth.hdl import Cat, Value

from ...chip.formats import FloatFormat

__all__ = ["greater", "is_finite", "is_zero"]


def greater(a: Value, b: Value, form: FloatFormat) -> Value:
    """Return whether ``a > b``: never with a NaN, and +0 is -0."""
    both_zero = is_zero(a, form) & is_zero(b, form)
    return (_ordered(a) > _ordered(b)) & ~(both_zero | _is_nan(a, form) | _is_nan(b, form))


def _ordered(word: Value) -> Value:
    """Return an integer that is in order as the numbers are: ones' complement instead of sign and magnitude."""
    sign = word[-1]
    return Cat(word[:-1] ^ sign.replicate(len(word) - 1), sign).as_signed()


def _is_nan(word: Value, form: FloatFormat) -> Value:
    return ~is_finite(word, form) & word[: form.mantissa_bits].any()


def is_zero(word: Value, form: FloatFormat) -> Value:
    """Return whether ``word`` is +0 or -0."""
    return ~word[: form.bits - 1].any()


def is_finite(word: Value, form: FloatFormat) -> Value:
    """Return whether ``word`` is neither infinite nor NaN."""
    return ~word[form.mantissa_bits : form.bits - 1].all()
