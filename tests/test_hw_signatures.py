"""The signature register of the RTL against the bit-by-bit rule of chip/signature.py."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeloom.chip.signature import STATE_BITS, absorb
from spikeloom.hw.cores.signatures import Signature

from .support.bench import Bench

WIDTHS = [17, 41, 90]  # about a cycle alone, a flit, a wide one


@cache
def bench_of(bits: int) -> Bench[Signature]:
    return Bench(Signature(bits))


@pytest.mark.parametrize("bits", WIDTHS)
@given(data=st.data())
@settings(max_examples=25)
def test_words_are_absorbed_in_the_next_cycle_and_a_sample_starts_at_0(bits, data):
    word = st.integers(0, (1 << bits) - 1)
    # Each cycle: a word, whether it is valid, whether a sample starts, at which no unit has an event on its way.
    cycles = data.draw(st.lists(st.tuples(word, st.booleans()), min_size=4, max_size=40))
    clears = data.draw(st.sets(st.integers(0, len(cycles) - 1), max_size=2))
    bench = bench_of(bits)
    dut = bench.dut
    seen, expected = [], []

    async def body(ctx):
        state, waiting = 0, None
        for cycle, (value, valid) in enumerate(cycles):
            is_quiet = bool({cycle, cycle + 1} & clears)
            ctx.set(dut.word, value)
            ctx.set(dut.valid, valid and not is_quiet)
            ctx.set(dut.clear, cycle in clears)
            seen.append(ctx.get(dut.state))
            expected.append(state)
            if waiting is not None:
                state = absorb(state, waiting, bits)
            if cycle in clears:
                state = 0
            waiting = value if valid and not is_quiet else None
            await ctx.tick()

    bench.run(body)
    assert seen == expected
    assert max(seen).bit_length() <= STATE_BITS
