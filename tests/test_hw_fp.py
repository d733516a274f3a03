"""Floating-point units against NumPy and the definition: whole formats of 8 bits, corners and draws of the others."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator
from amaranth.sim._async import SimulatorContext
from numpy.typing import NDArray

from spikeloom.chip.formats import BF16, FP16, FP32, FloatFormat
from spikeloom.hw.cosim.fp_bench import FpBench
from spikeloom.hw.fp.adder import FloatAdder
from spikeloom.hw.fp.compare import greater, is_finite, is_zero
from spikeloom.hw.fp.converter import FloatConverter, convert, scale_down
from spikeloom.hw.fp.divider import FloatDivider, divide_cycles
from spikeloom.hw.fp.multiplier import FloatMultiplier
from spikeloom.hw.fp.root import FloatRoot, root_cycles

FP8 = FloatFormat("fp8", 4, 3)
FP8_WIDE = FloatFormat("fp8e5", 5, 2)
NARROW = (FP8, FP8_WIDE)
FORMATS = (*NARROW, FP16, BF16, FP32)
DRAWS = 60_000

Words = NDArray[np.uint32]
NATIVE: dict[FloatFormat, tuple[Any, Any]] = {
    FP16: (np.float16, np.uint16),
    FP32: (np.float32, np.uint32),
}
OPERATIONS: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "multiply": np.multiply,
    "divide": np.divide,
    "root": np.sqrt,
}

# ---------------------------------------------------------------------------------------------------------------------
# References: NumPy where it knows the format; else in float64, whose second rounding does no harm (53 bits are more
# than twice those of a narrow format and 2).


def decode(words: Words, form: FloatFormat) -> NDArray[Any]:
    """Return the values, of NumPy's type for the format, or float64."""
    if form in NATIVE:
        value_type, word_type = NATIVE[form]
        return words.astype(word_type).view(value_type)
    if form == BF16:
        with np.errstate(invalid="ignore"):  # a signalling NaN
            return (words << np.uint32(16)).view(np.float32).astype(np.float64)
    return np.array([form.decode(word) for word in range(1 << form.bits)])[words]


def encode(values: NDArray[Any], form: FloatFormat) -> Words:
    """Return the nearest words."""
    if form in NATIVE:
        value_type, word_type = NATIVE[form]
        words = values.astype(value_type).view(word_type).astype(np.uint32)
    else:
        size = np.abs(values.astype(np.float64))
        exponents = np.maximum(np.frexp(size)[1] - 1, 1 - form.bias)
        units = np.rint(np.ldexp(size, form.mantissa_bits - exponents))
        finite = ((exponents - 1 + form.bias) << form.mantissa_bits) + units
        sign = np.signbit(values).astype(np.uint32) << np.uint32(form.bits - 1)
        size_words = np.where(size == 0, 0, np.fmin(finite, form.infinity))
        words = size_words.astype(np.uint32) | sign
    return np.where(np.isnan(values), np.uint32(form.nan), words)


def expected(
    name: str, form: FloatFormat, *operands: Words, result: FloatFormat | None = None
) -> Words:
    """Return what an operation must give, in another format if told."""
    values = [decode(words, form) for words in operands]
    if result is not None:
        values = [value.astype(decode(np.zeros(1, np.uint32), result).dtype) for value in values]
    with np.errstate(all="ignore"):
        return encode(OPERATIONS[name](*values), result or form)


def converted(words: Words, source: FloatFormat, target: FloatFormat) -> Words:
    """Return what a conversion must give."""
    with np.errstate(all="ignore"):
        return encode(decode(words, source), target)


# ---------------------------------------------------------------------------------------------------------------------
# Operands.


def corners(form: FloatFormat) -> list[int]:
    """Return words at which something changes: ends of the ranges, powers of two and their neighbours, not a number."""
    one, ulp, top = form.bias << form.mantissa_bits, 1 << form.mantissa_bits, form.infinity
    middle = ulp >> 1
    sizes = {
        0,
        1,
        2,
        3,
        middle - 1,
        middle,
        middle + 1,
        ulp - 2,
        ulp - 1,
        ulp,
        ulp + 1,
        2 * ulp,
        2 * ulp - 1,
    }
    sizes |= {
        one - ulp,
        one - 1,
        one,
        one + 1,
        one + middle,
        one + ulp - 1,
        one + ulp,
        one + ulp + 1,
    }
    for places in (form.mantissa_bits, form.mantissa_bits + 1):
        sizes |= {
            one + places * ulp,
            one - places * ulp,
            one + places * ulp - 1,
            one - places * ulp + 1,
        }
    sizes |= {top - ulp, top - 2, top - 1, top, top + 1, top | middle, top | (ulp - 1)}
    within = sorted(size for size in sizes if 0 <= size < 1 << (form.bits - 1))
    return [size | sign << (form.bits - 1) for sign in (0, 1) for size in within]


def pairs_of(words: list[int] | range) -> tuple[Words, Words]:
    """Return all pairs."""
    every = np.array(list(itertools.product(words, words)), np.uint32)
    return every[:, 0].copy(), every[:, 1].copy()


def draw(rng: np.random.Generator, form: FloatFormat, count: int) -> tuple[Words, Words]:
    """Draw pairs of operands; many cancel or tie, or have a product or quotient that is subnormal or barely finite."""
    bits, top = form.mantissa_bits, (1 << form.exponent_bits) - 1

    def mantissas() -> NDArray[np.int64]:
        drawn = rng.integers(0, 1 << bits, count)
        # Zeros, or ones, from some place on: ties, carries.
        cut = (1 << rng.integers(0, bits + 1, count)) - 1
        few = np.where(rng.random(count) < 0.5, drawn & ~cut, drawn | cut)
        return np.where(rng.random(count) < 0.4, few, drawn)

    first = rng.integers(0, top + 1, count)
    first = np.where(rng.random(count) < 0.2, rng.integers(0, 3, count), first)
    near = rng.integers(-bits - 4, bits + 5, count)
    close = rng.integers(-2, 3, count)
    rules = [
        rng.integers(0, top + 1, count),  # anything
        first + close,  # sums that cancel
        first + near,  # sums of which one operand is below the other
        form.bias - first + near,  # products about the smallest number
        form.bias + top - first + close,  # ... and the largest
        first + form.bias + near,  # quotients about the smallest number
        first - form.bias + close,  # ... and the largest
    ]
    second = np.choose(rng.integers(0, len(rules), count), rules)
    one, other = mantissas(), mantissas()
    other = np.where(rng.random(count) < 0.2, one ^ rng.integers(0, 4, count) % (1 << bits), other)

    def words(exponents: NDArray[Any], fractions: NDArray[Any]) -> Words:
        sign = rng.integers(0, 2, count) << (form.bits - 1)
        return (sign | np.clip(exponents, 0, top) << bits | fractions).astype(np.uint32)

    a, b = words(first, one), words(second, other)
    swapped = rng.random(count) < 0.5
    return np.where(swapped, b, a), np.where(swapped, a, b)


@functools.cache
def operands(form: FloatFormat) -> tuple[Words, Words]:
    """Return the pairs that all operations of a format are tested with: all of 8 bits, else corners and draws."""
    if form.bits <= 8:
        return pairs_of(range(1 << form.bits))
    drawn = draw(np.random.default_rng(form.bits), form, DRAWS)
    a, b = (np.concatenate(both) for both in zip(pairs_of(corners(form)), drawn, strict=True))
    return a, b


def words_of(form: FloatFormat) -> Words:
    """Return every word, or corners and draws."""
    return np.arange(1 << form.bits, dtype=np.uint32) if form.bits <= 16 else operands(form)[0]


# ---------------------------------------------------------------------------------------------------------------------
# Units.


class Combinational(wiring.Component):
    """A function of words as a unit."""

    a: Signal
    b: Signal
    result: Signal
    stages = 0

    def __init__(
        self, bits: tuple[int, int, int], function: Callable[[Module, Value, Value], Value]
    ) -> None:
        self._function = function
        super().__init__({"a": In(bits[0]), "b": In(bits[1]), "result": Out(bits[2])})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.comb += self.result.eq(self._function(m, self.a, self.b))
        return m


STAGES = {
    "add": {FP8: (3,), FP8_WIDE: (2,), FP16: (1, 2, 3, 4, 5, 6, 16), BF16: (3,), FP32: (2, 3)},
    "multiply": {FP8: (3,), FP8_WIDE: (2,), FP16: (1, 2, 3, 5, 16), BF16: (3,), FP32: (2, 3)},
}
WIDENED = ((FP8, FP16), (FP8_WIDE, FP32), (FP16, FP32), (BF16, FP32), (FP16, FP8), (FP8_WIDE, FP8))
CONVERSIONS = (
    (FP16, FP8, 1), (FP16, FP8_WIDE, 0), (BF16, FP16, 2), (FP16, FP32, 0), (FP16, BF16, 0), (BF16, FP32, 0),
    (FP32, FP16, 3), (FP32, BF16, 0), (FP8, FP16, 0), (FP8_WIDE, FP8, 0), (FP16, FP16, 0), (BF16, FP8_WIDE, 0),
)  # fmt: skip
SCALED = ((FP8, None), (FP16, None), (BF16, None), (FP32, None), (FP8, 0), (FP16, 1), (FP8, 7))


def converter(source: FloatFormat, target: FloatFormat, stages: int) -> Any:
    if stages:
        return FloatConverter(source, target, stages)
    return Combinational(
        (source.bits, 1, target.bits), lambda m, a, _: convert(m, a, source, target)
    )


def scaler(form: FloatFormat, amount: int | None) -> Any:
    return Combinational(
        (form.bits, 3, form.bits),
        lambda m, a, b: scale_down(m, a, form, b if amount is None else amount),
    )


def comparer(form: FloatFormat) -> Any:
    return Combinational((form.bits, form.bits, 1), lambda _, a, b: greater(a, b, form))


def classifier(form: FloatFormat) -> Any:
    """Bit 0: zero; bit 1: finite."""
    return Combinational(
        (form.bits, 1, 2), lambda _, a, b: is_zero(a, form) | is_finite(a, form) << 1
    )


@pytest.fixture(scope="module")
def bench() -> FpBench:
    """One model of all units: most of the time goes to starting the compiler."""
    units: dict[str, Any] = {}
    for kind, unit in (("add", FloatAdder), ("multiply", FloatMultiplier)):
        for form, several in STAGES[kind].items():
            units |= {f"{kind} {form.name} {stages}": unit(form, stages) for stages in several}
    for form, wide in WIDENED:
        units[f"multiply {form.name} {wide.name}"] = FloatMultiplier(form, 3, result=wide)
    for source, target, stages in CONVERSIONS:
        units[f"convert {source.name} {target.name}"] = converter(source, target, stages)
    for form, amount in SCALED:
        units[f"scale {form.name} {amount}"] = scaler(form, amount)
    for form in FORMATS:
        units[f"divide {form.name}"] = FloatDivider(form)
        units[f"root {form.name}"] = FloatRoot(form)
    for form in (FP8, FP16, FP32):
        units[f"greater {form.name}"] = comparer(form)
        units[f"class {form.name}"] = classifier(form)
    return FpBench(units)


def assert_same(found: Words, right: Words, *given: Words) -> None:
    """Compare words; a failure names the first operands."""
    assert len(found) == len(right)
    wrong = np.nonzero(found != right)[0]
    shown = [
        ", ".join(f"{int(words[place]):#x}" for words in (*given, found, right))
        for place in wrong[:5]
    ]
    assert not shown, (
        f"{len(wrong)} of {len(found)} differ; operands, found, right: {'; '.join(shown)}"
    )


# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
def test_the_references_are_the_definition(form):
    a, b = (words[::50] for words in operands(form))
    for name in ("add", "multiply"):
        right = [getattr(form, name)(int(x), int(y)) for x, y in zip(a, b, strict=True)]
        assert_same(expected(name, form, a, b), np.array(right, np.uint32), a, b)
    for target in FORMATS:
        right = [target.encode(form.decode(int(x))) for x in a]
        assert_same(converted(a, form, target), np.array(right, np.uint32), a)


@pytest.mark.parametrize("form", NARROW, ids=lambda form: form.name)
def test_references_of_quotients_and_roots_are_the_nearest_numbers(form):
    numbers = [Fraction(form.decode(word)) for word in range(form.infinity)]
    positive = np.arange(1, form.infinity, dtype=np.uint32)
    for y in positive[::5]:
        quotients = expected("divide", form, positive, np.full_like(positive, y))
        for x, word in zip(positive, quotients, strict=True):
            exact = numbers[x] / numbers[y]
            below, above = (_middle(numbers, int(word) + step, form) for step in (-1, 0))
            assert below <= exact <= above
            assert word % 2 == 0 or below < exact < above
    for x, word in zip(positive, expected("root", form, positive), strict=True):
        below, above = (_middle(numbers, int(word) + step, form) for step in (-1, 0))
        assert below**2 < numbers[x] < above**2


def _middle(numbers: list[Fraction], word: int, form: FloatFormat) -> Fraction:
    """Return what is half way between the number of ``word`` and the next."""
    if word < 0:
        return Fraction(-1)
    if word >= form.infinity:
        return Fraction(2) ** 999
    step = numbers[1] if word + 1 < form.infinity else Fraction(0)
    following = numbers[word + 1] if step else 2 * numbers[word] - numbers[word - 1]
    return (numbers[word] + following) / 2


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
@pytest.mark.parametrize("name", OPERATIONS)
def test_operands_reach_all_kinds_of_results(name, form):
    given = operands(form)[: 1 if name == "root" else 2]
    words = expected(name, form, *given)
    size = words & ((1 << (form.bits - 1)) - 1)
    assert {0, form.infinity - 1, form.infinity, form.nan} <= set(size.tolist()) or name == "root"
    subnormal = (size > 0) & (size < 1 << form.mantissa_bits)
    assert subnormal.any() == (name != "root")
    assert (words == 1 << (form.bits - 1)).any()  # -0
    if name in ("add", "multiply"):
        with np.errstate(all="ignore"):
            exact = OPERATIONS[name](*(decode(words, form).astype(np.float64) for words in given))
            lower, upper = (encode(np.nextafter(exact, way * np.inf), form) for way in (-1, 1))
        ties = lower != upper  # the exact result is on the border
        assert (ties & (words == lower)).sum() > 100
        assert (ties & (words == upper)).sum() > 100


@pytest.mark.parametrize(
    ("name", "form", "stages"),
    [
        (name, form, stages)
        for name, forms in STAGES.items()
        for form, several in forms.items()
        for stages in several
    ],
    ids=lambda item: str(getattr(item, "name", item)),
)
def test_sums_and_products(bench, name, form, stages):
    a, b = operands(form)
    result = bench.run(f"{name} {form.name} {stages}", a, b)
    assert_same(result.words, expected(name, form, a, b), a, b)


@pytest.mark.parametrize(("form", "wide"), WIDENED, ids=lambda form: form.name)
def test_products_in_another_format(bench, form, wide):
    a, b = operands(form)
    result = bench.run(f"multiply {form.name} {wide.name}", a, b)
    if wide.bits < 16:  # in float64, rounded once
        with np.errstate(all="ignore"):
            exact = decode(a, form).astype(np.float64) * decode(b, form).astype(np.float64)
        right = encode(exact, wide)
    else:
        right = expected("multiply", form, a, b, result=wide)
    assert_same(result.words, right, a, b)


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
def test_quotients(bench, form):
    a, b = operands(form)
    every = 1 if form.bits <= 8 else 4
    a, b = a[::every], b[::every]
    result = bench.run(f"divide {form.name}", a, b)
    assert_same(result.words, expected("divide", form, a, b), a, b)
    assert result.cycles == divide_cycles(form)


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
def test_roots(bench, form):
    a = words_of(form)
    result = bench.run(f"root {form.name}", a)
    assert_same(result.words, expected("root", form, a), a)
    assert result.cycles == root_cycles(form)


def test_serial_units_are_fast_enough():
    assert divide_cycles(FP32) <= 32
    assert root_cycles(FP32) <= 32


@pytest.mark.parametrize(
    ("source", "target"), [item[:2] for item in CONVERSIONS], ids=lambda form: form.name
)
def test_conversions(bench, source, target):
    a = words_of(source)
    result = bench.run(f"convert {source.name} {target.name}", a)
    assert_same(result.words, converted(a, source, target), a)


@pytest.mark.parametrize(
    ("form", "amount"), SCALED, ids=lambda item: str(getattr(item, "name", item))
)
def test_scaling_down(bench, form, amount):
    words = words_of(form)[:: 1 if form.bits <= 8 else 7]
    a = np.tile(words, 8)
    b = np.repeat(np.arange(8, dtype=np.uint32), len(words))
    places = b if amount is None else np.full_like(b, amount)
    result = bench.run(f"scale {form.name} {amount}", a, b)
    with np.errstate(all="ignore"):
        right = encode(np.ldexp(decode(a, form).astype(np.float64), -places.astype(np.int32)), form)
    assert_same(result.words, right, a, places)


@pytest.mark.parametrize("form", [FP8, FP16, FP32], ids=lambda form: form.name)
def test_comparisons_and_classes(bench, form):
    a, b = operands(form)
    right = decode(a, form) > decode(b, form)
    assert_same(bench.run(f"greater {form.name}", a, b).words, right.astype(np.uint32), a, b)
    values = decode(a, form)
    right = (values == 0) | np.isfinite(values).astype(np.uint32) << 1
    assert_same(bench.run(f"class {form.name}", a).words, right.astype(np.uint32), a)


@pytest.mark.parametrize("unit", [FloatDivider, FloatRoot], ids=lambda unit: unit.__name__)
def test_serial_units_take_no_start_while_busy_and_hold_their_result(unit):
    form = FP8
    dut = unit(form)
    cycles = divide_cycles(form) if unit is FloatDivider else root_cycles(form)
    four, nine = form.encode(4.0), form.encode(9.0)
    right = {
        word: form.encode(
            form.decode(word) / 4.0 if unit is FloatDivider else form.decode(word) ** 0.5
        )
        for word in (four, nine)
    }

    async def testbench(ctx: SimulatorContext) -> None:
        for word in (four, nine):  # the second starts in the cycle in which the first is done
            ctx.set(dut.start, 1)
            ctx.set(dut.a, word)
            if unit is FloatDivider:
                ctx.set(dut.b, four)
            for cycle in range(1, cycles + 1):
                before = ctx.get(dut.result)
                await ctx.tick()
                ctx.set(dut.start, cycle == cycles // 2)  # not taken
                ctx.set(dut.a, form.nan)
                assert ctx.get(dut.done) == (cycle == cycles)
                assert ctx.get(dut.busy) == (cycle != cycles)
                assert ctx.get(dut.result) == before or cycle == cycles
            assert ctx.get(dut.result) == right[word]
        for _ in range(2 * cycles):
            ctx.set(dut.start, 0)
            await ctx.tick()
            assert not ctx.get(dut.done)
            assert ctx.get(dut.result) == right[nine]

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(testbench)
    sim.run()


TINY = FloatFormat("tiny", 1, 3)
WHOLE = FloatFormat("whole", 4, 0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FloatAdder(FP16, 0), "^stages must be from 1 to 16, not 0$"),
        (lambda: FloatMultiplier(FP16, 17), "^stages must be from 1 to 16, not 17$"),
        (lambda: FloatConverter(FP16, FP32, -1), "^stages must be from 1 to 16, not -1$"),
        (lambda: FloatAdder(TINY, 1), "^a format must have an exponent of at least 2 bits and .*, not 1 and 3$"),
        (lambda: FloatMultiplier(FP16, 1, result=WHOLE), "^a format must have .* at least 1, not 4 and 0$"),
        (lambda: FloatConverter(WHOLE, FP16, 1), "^a format must have .*$"),
        (lambda: FloatDivider(TINY), "^a format must have .*$"),
        (lambda: FloatRoot(WHOLE), "^a format must have .*$"),
        (lambda: FloatRoot(FloatFormat("odd", 3, 3)), "^the bias of a format must exceed .*, not 3 with 3 bits: .*$"),
        (lambda: convert(Module(), Signal(8), TINY, FP16), "^a format must have .*$"),
        (lambda: scale_down(Module(), Signal(16), FP16, 8), "^amount must be from 0 to 7, not 8$"),
        (lambda: scale_down(Module(), Signal(16), FP16, Signal(4)), "^amount must be unsigned, .* 3 bits, not .*$"),
    ],
)  # fmt: skip
def test_wrong_parameters_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
