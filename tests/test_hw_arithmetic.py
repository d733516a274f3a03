"""The RTL's pieces of arithmetic against chip/arithmetic.py: small widths exhaustively, wide products at their ends."""

from __future__ import annotations

from itertools import product

import pytest
from amaranth.hdl import Const, Module, Signal, signed, unsigned
from amaranth.sim import Simulator

from spikeloom.chip import arithmetic as rules
from spikeloom.hw.cores.arithmetic import (
    at_limit,
    exceeds,
    log2_one_hot,
    partial_products,
    saturate,
    shift_left_saturate,
    weighted_sum,
)


def outputs(shapes, build, cases) -> list[int]:
    """Return what ``build(module, *inputs)`` makes of each case, two cycles after the inputs are set."""
    m = Module()
    inputs = [Signal(shape, name=f"input_{i}") for i, shape in enumerate(shapes)]
    result = build(m, *inputs)
    output = Signal(result.shape())
    m.d.comb += output.eq(result)
    m.d.sync += Signal().eq(1)  # a clock domain for those without one
    found = []

    async def bench(ctx):
        for values in cases:
            for signal, value in zip(inputs, values, strict=True):
                ctx.set(signal, value)
            await ctx.tick().repeat(2)
            found.append(ctx.get(output))

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return found


def span(bits: int) -> range:
    return range(-(1 << (bits - 1)), 1 << (bits - 1))


@pytest.mark.parametrize("bits", [2, 3, 5, 6, 7])
def test_saturate(bits):
    cases = [(value,) for value in span(6)]
    expected = [rules.saturate(value, bits) for (value,) in cases]
    assert outputs([signed(6)], lambda m, value: saturate(value, bits), cases) == expected


@pytest.mark.parametrize("bits", [2, 5])
def test_at_limit(bits):
    cases = [(value,) for value in span(bits)]
    expected = [int(value in (span(bits)[0], span(bits)[-1])) for (value,) in cases]
    assert outputs([signed(bits)], lambda m, value: at_limit(value), cases) == expected


def test_exceeds():
    cases = list(product(span(3), span(3), (0, 1)))
    expected = [int(rules.fires(a, b, compare)) for a, b, compare in cases]
    found = outputs(
        [signed(3), signed(3), 1], lambda m, a, b, or_equal: exceeds(a, b, or_equal), cases
    )
    assert found == expected


@pytest.mark.parametrize(("width", "bits"), [(5, 3), (5, 5), (5, 8), (3, 9), (2, 2)])
def test_shift_left_saturate(width, bits):
    cases = list(product(span(width), range(16)))
    expected = [rules.saturate(value << shift, bits) for value, shift in cases]
    found = outputs(
        [signed(width), 4],
        lambda m, value, shift: shift_left_saturate(m, "shifted", value, shift, bits),
        cases,
    )
    assert found == expected


@pytest.mark.parametrize("bits", [2, 3, 8, 9, 49])
def test_log2_one_hot(bits):
    cases = [(1 << place,) for place in range(bits)]
    assert outputs([bits], lambda m, value: log2_one_hot(value), cases) == list(range(bits))


@pytest.mark.parametrize(
    ("a_bits", "b_bits"), [(8, 5), (18, 17), (19, 18), (32, 13), (36, 31), (58, 5)]
)
def test_products(a_bits, b_bits):
    top = (1 << b_bits) - 1
    ends = (*span(a_bits)[:2], -1, 0, 1, 12345 % (1 << (a_bits - 1)), *span(a_bits)[-2:])
    cases = list(product(ends, (0, 1, top // 3, top - 1, top)))
    bits = a_bits + b_bits + 1

    def build(m, a, b):
        return weighted_sum(m, "total", partial_products(m, "part", a, b), Const(77), bits)

    found = outputs([signed(a_bits), unsigned(b_bits)], build, cases)
    assert found == [a * b + 77 for a, b in cases]
