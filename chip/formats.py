"""Floating-point formats of the learning engines, and their arithmetic in exact rational numbers: the definition."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

__all__ = ["BF16", "FORMATS", "FP16", "FP32", "FloatFormat"]


@dataclass(frozen=True)
class FloatFormat:
    """A binary format of IEEE 754's kind: sign, exponent, mantissa; subnormals, infinities and NaN.

    Results are rounded to the nearest value, ties to the one with an even mantissa. Words are integers of `bits` bits,
    sign first. There is one NaN, `nan`: no operation gives another.

    Attributes
    ----------
    name : str
    exponent_bits, mantissa_bits : int
        Of the fields; the leading 1 of normal numbers is not stored.
    """

    name: str
    exponent_bits: int
    mantissa_bits: int

    @property
    def bits(self) -> int:
        """Bits of a word."""
        return 1 + self.exponent_bits + self.mantissa_bits

    @property
    def bytes(self) -> int:
        """Bytes of a word in memory."""
        return -(-self.bits // 8)

    @property
    def bias(self) -> int:
        """What the exponent field exceeds the exponent by."""
        return (1 << (self.exponent_bits - 1)) - 1

    @property
    def infinity(self) -> int:
        """The word of +infinity."""
        return ((1 << self.exponent_bits) - 1) << self.mantissa_bits

    @property
    def nan(self) -> int:
        """The word of NaN: quiet, positive."""
        return self.infinity | (1 << (self.mantissa_bits - 1))

    @property
    def largest(self) -> float:
        """The largest finite value."""
        return self.decode(self.infinity - 1)

    def decode(self, word: int) -> float:
        """Return the value of a word; exact as long as the format is no wider than a Python float."""
        exponent = (word >> self.mantissa_bits) & ((1 << self.exponent_bits) - 1)
        mantissa = word & ((1 << self.mantissa_bits) - 1)
        sign = -1.0 if word >> (self.bits - 1) else 1.0
        if exponent == (1 << self.exponent_bits) - 1:
            return math.nan if mantissa else sign * math.inf
        if exponent:
            mantissa |= 1 << self.mantissa_bits
        return sign * math.ldexp(mantissa, max(exponent, 1) - self.bias - self.mantissa_bits)

    def encode(self, value: float) -> int:
        """Return the word nearest to ``value``."""
        if math.isnan(value):
            return self.nan
        sign = int(math.copysign(1.0, value) < 0)
        if math.isinf(value):
            return (sign << (self.bits - 1)) | self.infinity
        return self._rounded(Fraction(value), sign)

    def round(self, value: float) -> float:
        """Return the value of the format that is nearest to ``value``."""
        return self.decode(self.encode(value))

    def add(self, a: int, b: int) -> int:
        """Return the word of ``a + b``, for words of this format."""
        x, y = self.decode(a), self.decode(b)
        if not (math.isfinite(x) and math.isfinite(y)):
            return self.encode(x + y)
        total = Fraction(x) + Fraction(y)
        # An exact 0 is +0, unless both are -0.
        sign = (a >> (self.bits - 1)) & (b >> (self.bits - 1)) if total == 0 else int(total < 0)
        return self._rounded(total, sign)

    def multiply(self, a: int, b: int) -> int:
        """Return the word of ``a * b``, for words of this format."""
        x, y = self.decode(a), self.decode(b)
        sign = (a ^ b) >> (self.bits - 1)
        if math.isnan(x) or math.isnan(y):
            return self.nan
        if math.isinf(x) or math.isinf(y):
            return self.nan if x == 0 or y == 0 else (sign << (self.bits - 1)) | self.infinity
        return self._rounded(Fraction(x) * Fraction(y), sign)

    def _rounded(self, value: Fraction, sign: int) -> int:
        """Return the word nearest to an exact value; ``sign`` is that of a result of 0."""
        size = abs(value)
        if size == 0:
            return sign << (self.bits - 1)
        lowest = 1 - self.bias  # exponent of the subnormals and of the smallest normal numbers
        exponent = size.numerator.bit_length() - size.denominator.bit_length()
        if Fraction(2) ** exponent > size:
            exponent -= 1
        exponent = max(exponent, lowest)
        # In units of the last place; round() of a fraction goes to the even neighbour.
        units = round(size / Fraction(2) ** (exponent - self.mantissa_bits))
        # A carry out of the mantissa adds to the exponent field, as does the leading 1 of a normal number.
        word = ((exponent - lowest) << self.mantissa_bits) + units
        return (int(value < 0) << (self.bits - 1)) | min(word, self.infinity)


FP16 = FloatFormat("fp16", 5, 10)
BF16 = FloatFormat("bf16", 8, 7)
FP32 = FloatFormat("fp32", 8, 23)
FORMATS = {item.name: item for item in (FP16, BF16, FP32)}
