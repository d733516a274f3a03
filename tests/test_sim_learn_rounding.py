"""Rounding and vector instructions of the engines against the formats' exact arithmetic, element by element."""

from __future__ import annotations

import os

import numpy as np
import pytest

from spikeloom.chip.formats import FORMATS
from spikeloom.sim import simd
from spikeloom.sim.engines.rounding import FORM, round_array, rounded
from spikeloom.sim.jit import jit
from tests.support.golden_learn import Adder, bits_of, value_of, word_of
from tests.support.golden_learn import rounded as golden_rounded

# What LLVM is told directly has no interpreted twin.
pytestmark = pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT", "0") != "0", reason="vector instructions need the compiler"
)
NAMES = list(FORMATS)
LANES = simd.LANES


def words_of(values: np.ndarray) -> list[int]:
    return bits_of(values).ravel().tolist()


def edges(name: str) -> np.ndarray:
    """Values of a 16-bit format, those half way between two, and their neighbours in 32 bits."""
    form = FORMATS[name]
    ones = 1 << form.mantissa_bits
    tops = (0, 1, 2, ones, form.bias * ones, form.bias * ones + 1, form.infinity - 2)
    low = np.array([form.decode(word) for word in tops] + [form.largest], np.float32)
    high = np.array([form.decode(word + 1) for word in tops], np.float32)
    # What rounds to infinity begins half a unit of the last place above the largest.
    above = np.float32(form.largest * (1 + 2.0 ** -(form.mantissa_bits + 2)))
    middle = np.append((low[:-1].astype(np.float64) + high) / 2, above).astype(np.float32)
    with np.errstate(over="ignore", under="ignore"):
        near = [np.nextafter(middle, np.float32(np.inf)), np.nextafter(middle, np.float32(0))]
    values = np.concatenate([low, middle, *near])
    return np.concatenate(
        [values, -values, np.array([np.inf, -np.inf, np.nan, 65519.996, 65520.0], np.float32)]
    )


def random_floats(rng: np.random.Generator, count: int, name: str) -> np.ndarray:
    """Values of a format: any words, and sizes that meet in a sum."""
    words = rng.integers(0, 1 << 32, count // 4, dtype=np.uint64).astype(np.uint32).view(np.float32)
    near = np.ldexp(rng.uniform(-2, 2, count - count // 4), rng.integers(-8, 8, count - count // 4))
    with np.errstate(all="ignore"):
        values = np.concatenate([words, near.astype(np.float32)])
    values = values[rng.permutation(count)]
    return np.array([golden_rounded(v, name) for v in values], np.float32)


@pytest.mark.parametrize("name", NAMES)
def test_rounding_is_that_of_the_format(name):
    rng = np.random.default_rng(1)
    words = rng.integers(0, 1 << 32, 3000, dtype=np.uint64).astype(np.uint32).view(np.float32)
    values = np.concatenate(
        [words, rng.normal(0, 1e-4, 1000).astype(np.float32), edges("fp16"), edges("bf16")]
    )
    expected = [FORMATS[name].round(float(v)) for v in values]
    with np.errstate(all="ignore"):
        assert words_of(round_array(values, name)) == words_of(np.array(expected))


def test_rounding_keeps_shape_and_argument():
    values = (np.arange(24) / 3).astype(np.float32).reshape(2, 3, 4)[:, ::-1]
    before = values.copy()
    result = round_array(values, "bf16")
    assert result.shape == values.shape
    assert np.array_equal(values, before)
    assert np.array_equal(result, round_array(values.copy(), "bf16"))


@jit
def _round_one(value, form):
    return rounded(value, form)


@pytest.mark.parametrize("name", NAMES)
def test_scalars_round_as_arrays(name):
    for value in edges("fp16"):
        assert words_of(np.array([_round_one(value, FORM[name])])) == words_of(
            round_array(np.array([value]), name)
        )


@pytest.mark.parametrize("name", NAMES)
def test_rows_add_with_one_rounding_each(name):
    add_rows = getattr(simd, f"add_rows_{name}")

    @jit
    def run(out, first, second):
        add_rows(out, LANES, first, 0, second, LANES)

    rng = np.random.default_rng(2)
    adder = Adder(name)
    for _ in range(20):
        first, second = random_floats(rng, LANES, name), random_floats(rng, 2 * LANES, name)
        out = np.zeros(3 * LANES, np.float32)
        run(out, first, second)
        expected = [
            value_of(adder.add(word_of(a), word_of(b)))
            for a, b in zip(first, second[LANES:], strict=True)
        ]
        assert words_of(out[LANES : 2 * LANES]) == words_of(np.array(expected))
        assert not out[:LANES].any()
        assert not out[2 * LANES :].any()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("step", [1, 3])
def test_tables_add_in_order(name, step):
    add_tables = getattr(simd, f"add_tables_{name}")

    @jit
    def run(out, tables, entries, indices, first, step):
        add_tables(out, LANES, tables, entries, indices, first, step)

    rng = np.random.default_rng(3)
    adder, entries = Adder(name), 4
    tables = random_floats(rng, simd.GROUPS * entries * LANES, name)
    indices = rng.integers(0, entries, 64).astype(np.uint8)
    out = random_floats(rng, 2 * LANES, name)
    sums = [word_of(v) for v in out[LANES:]]
    before = out[:LANES].copy()
    run(out, tables, entries, indices, 2, step)
    rows = tables.reshape(simd.GROUPS, entries, LANES)
    for k in range(simd.GROUPS):
        row = rows[k, indices[2 + k * step]]
        sums = [adder.add(total, word_of(v)) for total, v in zip(sums, row, strict=True)]
    assert words_of(out[LANES:]) == words_of(np.array([value_of(w) for w in sums]))
    assert words_of(out[:LANES]) == words_of(before)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("planes", "sign"), [(2, 1.0), (3, -1.0), (8, 1.0), (8, -1.0)])
def test_planes_add_scaled_entries_in_order(name, planes, sign):
    """Table by table, in each plane by plane from the lowest: a scaled entry is rounded, then the sum."""
    add_planes = getattr(simd, f"add_planes_{name}")

    @jit
    def run(out, tables, entries, count, indices, first, step, plane_step, planes, sign):
        add_planes(
            out, LANES, tables, entries, count, indices, first, step, plane_step, planes, sign
        )

    rng = np.random.default_rng(4)
    adder, entries, count, first, step, plane_step = Adder(name), 4, 5, 3, 2, 16
    tables = random_floats(rng, count * entries * LANES, name)
    tables[: 8 * LANES : 5] = FORMATS[name].decode(3)  # subnormal: a shift drops bits
    indices = rng.integers(0, entries, planes * plane_step).astype(np.uint8)
    out = random_floats(rng, 2 * LANES, name)
    sums, before = [word_of(v) for v in out[LANES:]], out[:LANES].copy()
    run(out, tables, entries, count, indices, first, step, plane_step, planes, np.float32(sign))
    for k in range(count):
        for plane in range(planes):
            entry = tables.reshape(count, entries, LANES)[
                k, indices[first + k * step + plane * plane_step]
            ]
            words = [adder.scaled(word_of(v), plane, planes, sign < 0) for v in entry]
            sums = [adder.add(total, w) for total, w in zip(sums, words, strict=True)]
    assert words_of(out[LANES:]) == words_of(np.array([value_of(w) for w in sums]))
    assert words_of(out[:LANES]) == words_of(before)


@pytest.mark.parametrize("name", [*NAMES, "exact"])
def test_dense_products_are_those_of_rows(name):
    """Of several positions at a time; a product with 0 changes no sum."""
    multiply_add = getattr(simd, f"multiply_add_dense_{name}")

    @jit
    def run(out, weights, values, first, count):
        multiply_add(out, LANES, weights, 2, values, first, count)

    rng = np.random.default_rng(6)
    count, operands = 5, "fp16" if name == "exact" else name
    adder = Adder("fp32" if name == "exact" else name)
    weights, values = random_floats(rng, 8 * LANES, operands), random_floats(rng, 40, operands)
    weights[~np.isfinite(weights)] = 1.0
    values[3::4] = 0.0
    first = (1, 30, 11, 7, 0, 21, 14, 33)
    assert len(first) == simd.POSITIONS
    out = np.zeros((1 + len(first)) * LANES, np.float32)
    run(out, weights, values, first, count)
    assert not out[:LANES].any()
    for i, start in enumerate(first):
        sums = [0] * LANES
        for j in range(count):
            if values[start + j] == 0:
                continue
            row = weights.reshape(-1, LANES)[2 + j]
            products = [adder.multiply(word_of(values[start + j]), word_of(w)) for w in row]
            sums = [adder.add(total, p) for total, p in zip(sums, products, strict=True)]
        got = out[(1 + i) * LANES : (2 + i) * LANES]
        assert words_of(got) == words_of(np.array([value_of(w) for w in sums]))


@pytest.mark.parametrize("name", [*NAMES, "exact"])
def test_products_round_and_add_in_order(name):
    multiply_add = getattr(simd, f"multiply_add_rows_{name}")

    @jit
    def run(out, weights, rows, values, first, count):
        multiply_add(out, LANES, weights, 1, rows, values, first, count)

    rng = np.random.default_rng(5)
    adder, operands = (
        Adder("fp32" if name == "exact" else name),
        "fp16" if name == "exact" else name,
    )
    weights, values = random_floats(rng, 6 * LANES, operands), random_floats(rng, 9, operands)
    rows = rng.integers(0, 5, 9).astype(np.uint16)
    out = np.zeros(2 * LANES, np.float32)
    run(out, weights, rows, values, 2, 6)
    sums = [0] * LANES
    for j in range(2, 8):
        row = weights.reshape(-1, LANES)[1 + rows[j]]
        products = [adder.multiply(word_of(values[j]), word_of(w)) for w in row]
        sums = [adder.add(total, p) for total, p in zip(sums, products, strict=True)]
    assert words_of(out[LANES:]) == words_of(np.array([value_of(w) for w in sums]))
