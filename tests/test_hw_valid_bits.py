"""Valid bits, in a memory and in registers: what is set, looked up and emptied, against a table of booleans."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeloom.hw.cores.valid_bits import ValidBits
from spikeloom.hw.cores.valid_ring import ValidRing

from .support.bench import Bench

SIZES = [(2, 5), (3, 16), (5, 37)]  # slots, bits: within a word, over several, no powers of two
CYCLES = 60


@cache
def bench_of(kind: type, size: tuple[int, int]) -> Bench:
    return Bench(kind(*size))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", [ValidBits, ValidRing])
@given(seed=st.integers(0, 1 << 32))
@settings(max_examples=15)
def test_bits_are_those_set_since_their_row_was_emptied(kind, size, seed):
    slots, bits = size
    rng = np.random.default_rng(seed)
    bench = bench_of(kind, size)
    dut = bench.dut
    table = np.zeros(size, dtype=bool)
    found_before = []

    async def body(ctx):
        was_found = was_seen = False
        for _ in range(CYCLES):
            # Few places, so that look-ups meet what has just been set or emptied.
            slot, find_slot, see_slot, empty_slot = rng.integers(0, slots, 4).tolist()
            index, find, see = rng.choice(rng.permutation(bits)[:3], 3).tolist()
            inserts, clears = rng.random() < 0.7, rng.random() < 0.05
            empties = rng.random() < 0.15
            if clears or (empties and empty_slot == slot):
                inserts = False
            ctx.set(dut.insert, inserts)
            ctx.set(dut.insert_slot, slot)
            ctx.set(dut.insert_index, index)
            ctx.set(dut.find_slot, find_slot)
            ctx.set(dut.find_index, find)
            ctx.set(dut.clear, clears)
            assert ctx.get(dut.found) == was_found
            was_found = bool(table[find_slot, find])
            found_before.append(was_found)
            if kind is ValidBits:
                ctx.set(dut.see_slot, see_slot)
                ctx.set(dut.see_index, see)
                ctx.set(dut.empty, empties)
                ctx.set(dut.empty_slot, empty_slot)
                assert ctx.get(dut.seen) == was_seen
                was_seen = bool(table[see_slot, see])
            else:
                ctx.set(dut.empty_row, empties)
                ctx.set(dut.row_slot, empty_slot)
                assert ctx.get(dut.row) == sum(
                    1 << int(i) for i in np.flatnonzero(table[empty_slot])
                )
            table[slot, index] |= inserts
            table[empty_slot] &= not empties
            table[:] &= not clears
            await ctx.tick()

    bench.run(body)
    assert len(found_before) == CYCLES
