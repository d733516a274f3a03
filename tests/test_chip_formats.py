"""Formats of the learning engines against NumPy, against bit tricks, and against their definition."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left
from fractions import Fraction

import numpy as np
import pytest

from spikeloom.chip.formats import BF16, FORMATS, FP16, FP32, FloatFormat

FP8 = FloatFormat("fp8", 4, 3)


def corners(form: FloatFormat) -> list[int]:
    """Words about every edge: zeros, subnormals, one, the largest, infinity; of both signs."""
    one = form.bias << form.mantissa_bits
    middles = (0, 1 << form.mantissa_bits, one, form.infinity - 1)
    found = {m + d for m in middles for d in (-2, -1, 0, 1, 2) if 0 <= m + d <= form.infinity}
    return sorted({w | s << (form.bits - 1) for w in found for s in (0, 1)} | {form.nan})


def pairs(form: FloatFormat, count: int, seed: int) -> list[tuple[int, int]]:
    rng = np.random.default_rng(seed)
    edge = corners(form)
    drawn = rng.integers(0, 1 << form.bits, (count, 2), dtype=np.uint64)
    # Of similar exponents, so that bits cancel and sticky bits matter.
    near = drawn.copy()
    near[:, 1] = (
        near[:, 0] + rng.integers(0, 3 << form.mantissa_bits, count).astype(np.uint64)
    ) % (1 << form.bits)
    mixed = [*itertools.product(edge, edge), *drawn.tolist(), *near.tolist()]
    return [(int(a), int(b)) for a, b in mixed]


def canonical(form: FloatFormat, word: int) -> int:
    """All NaN are one."""
    magnitude = word & ((1 << (form.bits - 1)) - 1)
    return form.nan if magnitude > form.infinity else word


def nearest(values: np.ndarray, mantissa_bits: int, bias: int, largest: float) -> np.ndarray:
    """Round float64 to a narrower format, by scaling to integers; exact, since a power of two scales exactly."""
    _, exponent = np.frexp(values)
    unit = np.ldexp(1.0, np.maximum(exponent - 1, 1 - bias) - mantissa_bits)
    result = np.rint(values / unit) * unit
    return np.where(np.abs(result) > largest, np.copysign(np.inf, values), result)


# ------------------------------------------------------------------------ eight bits, all of them


def magnitudes(form: FloatFormat) -> list[Fraction]:
    """Values of the words from 0 up to infinity, which stands where the next value would be."""
    found = []
    for word in range(form.infinity):
        exponent, mantissa = word >> form.mantissa_bits, word % (1 << form.mantissa_bits)
        ulp = Fraction(2) ** (max(exponent, 1) - form.bias - form.mantissa_bits)
        found.append(ulp * (mantissa + (1 << form.mantissa_bits if exponent else 0)))
    return [*found, 2 * Fraction(2) ** form.bias]


def defined(values: list[Fraction], exact: Fraction) -> int:
    """The word whose value is nearest to a magnitude; of two as near, the even word."""
    above = min(bisect_left(values, exact), len(values) - 1)
    candidates = [w for w in (above - 1, above) if w >= 0]
    return min(candidates, key=lambda w: (abs(values[w] - exact), w & 1))


@pytest.mark.parametrize("operation", ["add", "multiply"])
def test_every_pair_of_eight_bits_gives_the_nearest_value(operation):
    values = magnitudes(FP8)
    sign_bit = 1 << (FP8.bits - 1)
    finite = [w | s for w in range(FP8.infinity) for s in (0, sign_bit)]
    exact = {w: values[w & ~sign_bit] * (-1 if w & sign_bit else 1) for w in finite}
    checked = 0
    for a, b in itertools.product(finite, finite):
        if operation == "add":
            total = exact[a] + exact[b]
            negative = bool(a & b & sign_bit) if total == 0 else total < 0
        else:
            total = exact[a] * exact[b]
            negative = bool((a ^ b) & sign_bit)
        expected = defined(values, abs(total)) | (sign_bit if negative else 0)
        assert getattr(FP8, operation)(a, b) == expected, (a, b)
        checked += 1
    assert checked == (2 * FP8.infinity) ** 2 == 240**2


@pytest.mark.parametrize("form", [FP8, FP16, BF16, FP32], ids=lambda f: f.name)
def test_infinities_and_nan(form):
    minus = 1 << (form.bits - 1)
    one, infinity, nan = form.bias << form.mantissa_bits, form.infinity, form.nan
    assert form.add(infinity, one | minus) == infinity
    assert form.add(infinity, infinity | minus) == nan
    assert form.add(infinity | minus, infinity | minus) == infinity | minus
    assert form.multiply(infinity, one | minus) == infinity | minus
    assert form.multiply(infinity, minus) == nan
    for other in (0, one, infinity, nan):
        assert form.add(nan, other) == form.add(other, nan) == nan
        assert form.multiply(nan, other) == form.multiply(other, nan) == nan
    assert form.add(infinity - 1, infinity - 1) == infinity
    assert form.multiply(infinity - 1, infinity - 1 | minus) == infinity | minus


@pytest.mark.parametrize("form", [FP8, FP16, BF16, FP32], ids=lambda f: f.name)
def test_signs_of_zero(form):
    minus = 1 << (form.bits - 1)
    one = form.bias << form.mantissa_bits
    assert form.add(0, minus) == form.add(minus, 0) == 0
    assert form.add(minus, minus) == minus
    assert form.add(one, one | minus) == 0
    assert form.multiply(minus, one) == minus
    assert form.multiply(1, 1 | minus) == minus  # underflow keeps its sign
    assert form.encode(-0.0) == minus


def test_sizes_of_the_formats():
    assert [(f.name, f.bits, f.bytes, f.bias) for f in FORMATS.values()] == [
        ("fp16", 16, 2, 15), ("bf16", 16, 2, 127), ("fp32", 32, 4, 127),
    ]  # fmt: skip
    assert FP16.largest == 65504.0
    assert BF16.largest == float(np.uint32(0x7F7F0000).view(np.float32))
    assert FP32.largest == float(np.finfo(np.float32).max)


# ------------------------------------------------------------------------------------------ NumPy


@pytest.mark.parametrize(
    ("form", "float_type", "word_type"),
    [(FP16, np.float16, np.uint16), (FP32, np.float32, np.uint32)],
    ids=["fp16", "fp32"],
)
@pytest.mark.parametrize("operation", ["add", "multiply"])
def test_arithmetic_is_numpys(form, float_type, word_type, operation):
    drawn = pairs(form, 2000, 1)
    a, b = (np.array(column, word_type).view(float_type) for column in zip(*drawn, strict=True))
    with np.errstate(all="ignore"):
        expected = (a + b if operation == "add" else a * b).view(word_type).tolist()
    for (x, y), word in zip(drawn, expected, strict=True):
        assert getattr(form, operation)(x, y) == canonical(form, word), (x, y)
    assert len(drawn) > 4500


@pytest.mark.parametrize(
    ("form", "float_type", "word_type"),
    [(FP16, np.float16, np.uint16), (FP32, np.float32, np.uint32)],
    ids=["fp16", "fp32"],
)
def test_encoding_is_numpys(form, float_type, word_type):
    rng = np.random.default_rng(2)
    size = np.ldexp(rng.uniform(-2, 2, 4000), rng.integers(-form.bias - 15, form.bias + 2, 4000))
    words = rng.integers(0, form.infinity, 2000).astype(word_type)
    halfway = words.view(float_type).astype(np.float64)
    halfway = (halfway + (words + word_type(1)).view(float_type).astype(np.float64)) / 2
    above, below = np.nextafter(halfway, np.inf), np.nextafter(halfway, -np.inf)
    values = np.concatenate([size, halfway, above, below, [0.0, -0.0, np.inf, -np.inf, np.nan]])
    with np.errstate(all="ignore"):
        expected = values.astype(float_type).view(word_type).tolist()
    for value, word in zip(values.tolist(), expected, strict=True):
        assert form.encode(value) == canonical(form, word), value


@pytest.mark.parametrize("operation", ["add", "multiply"])
def test_bf16_arithmetic_is_that_of_float64_rounded(operation):
    """A float64 holds any product of two bf16 exactly, and any sum with more than 2 x 8 + 2 bits."""
    drawn = [(a, b) for a, b in pairs(BF16, 2000, 3) if not {a, b} & {BF16.nan}]
    drawn = [p for p in drawn if all(w & 0x7FFF < BF16.infinity for w in p)]
    a, b = (
        (np.array(c, np.uint32) << 16).view(np.float32).astype(np.float64)
        for c in zip(*drawn, strict=True)
    )
    exact = a + b if operation == "add" else a * b
    expected = nearest(exact, 7, 127, BF16.largest).astype(np.float32).view(np.uint32) >> 16
    for (x, y), word in zip(drawn, expected.tolist(), strict=True):
        assert getattr(BF16, operation)(x, y) == word, (x, y)
    assert len(drawn) > 3500


def test_bf16_encoding_is_that_of_the_bits():
    """Half of the last place less one, plus the last bit kept, then cut."""
    rng = np.random.default_rng(4)
    bits = rng.integers(0, 1 << 32, 5000, dtype=np.uint64)
    ties = (rng.integers(0, BF16.infinity, 2000, dtype=np.uint64) << 16) | 0x8000
    words = np.concatenate([bits, ties, ties - 1, ties + 1]).astype(np.uint32)
    words = words[~np.isnan(words.view(np.float32))]
    expected = (words.astype(np.uint64) + 0x7FFF + ((words >> 16) & 1)) >> 16
    for word, wanted in zip(words.view(np.float32).tolist(), expected.tolist(), strict=True):
        assert BF16.encode(word) == wanted
    assert len(words) > 10000


@pytest.mark.parametrize(("form", "step"), [(FP8, 1), (FP16, 7), (BF16, 7), (FP32, 1 << 20 | 1)])
def test_words_survive_decoding(form, step):
    words = [canonical(form, w) for w in (*range(0, 1 << form.bits, step), *corners(form))]
    assert [form.encode(form.decode(word)) for word in words] == words
    assert [math.isnan(form.decode(word)) for word in words] == [w == form.nan for w in words]


# ------------------------------------------------------ sums of 32 bits that are rounded to fewer


@pytest.mark.parametrize("form", [FP16, BF16], ids=lambda f: f.name)
@pytest.mark.parametrize("operation", ["add", "multiply"])
def test_rounding_twice_is_rounding_once_for_operands_of_one_format(form, operation):
    """The engines add in 32 bits and round the sum to the accumulators' 16: the same bits as an adder of 16."""
    checked = 0
    for a, b in pairs(form, 2500, 5):
        x, y = (FP32.encode(form.decode(w)) for w in (a, b))
        twice = form.encode(FP32.decode(getattr(FP32, operation)(x, y)))
        once = getattr(form, operation)(a, b)
        # Not so for products of two bf16 that are subnormal in 32 bits already, below 2**-126.
        if (
            operation == "multiply"
            and form is BF16
            and abs(form.decode(a) * form.decode(b)) < 2.0**-126
        ):
            continue
        assert twice == once, (a, b)
        checked += 1
    assert checked > 3500
