"""Valid bits in a memory: what is looked up, set, read in words and emptied, against a table of booleans."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeloom.hw.cores.pick import CHUNK, words_of
from spikeloom.hw.cores.valid_bits import ValidBits

from .support.bench import Bench

SIZES = [(2, 5), (3, 16), (5, 37)]  # slots, bits: within a word, over several, no powers of two
CYCLES = 60


@cache
def bench_of(size: tuple[int, int]) -> Bench:
    return Bench(ValidBits(*size))


@pytest.mark.parametrize("size", SIZES)
@given(seed=st.integers(0, 1 << 32))
@settings(max_examples=25)
def test_bits_are_those_set_since_their_row_was_emptied(size, seed):
    slots, bits = size
    rng = np.random.default_rng(seed)
    bench = bench_of(size)
    dut = bench.dut
    words = words_of(bits)
    table = np.zeros((slots, words * CHUNK), dtype=bool)
    inserted = []

    async def body(ctx):
        find_slot = find = was_found = seen = coming = 0
        emptied = None  # the row that is emptied in this cycle
        for _ in range(CYCLES):
            # Few places, so that look-ups meet what has just been set or emptied.
            slot, index, was_there = find_slot, find, was_found
            find_slot = coming
            coming, see_slot, row_slot, empty_slot = rng.integers(0, slots, 4).tolist()
            find = int(rng.choice(rng.permutation(bits)[:3]))
            see_word = int(rng.integers(words))
            inserts, clears = rng.random() < 0.7, rng.random() < 0.05
            empties, sees = rng.random() < 0.15, rng.random() < 0.8
            if empties and empty_slot in (find_slot, coming):
                empties = False  # a look-up or what follows it is on its way
            if clears:
                inserts = False
            ctx.set(dut.insert, inserts)
            ctx.set(dut.find_slot, find_slot)
            ctx.set(dut.find_index, find)
            ctx.set(dut.see, sees)
            ctx.set(dut.see_slot, see_slot)
            ctx.set(dut.see_word, see_word)
            ctx.set(dut.row_slot, row_slot)
            ctx.set(dut.empty, empties)
            ctx.set(dut.empty_slot, empty_slot)
            ctx.set(dut.clear, clears)
            assert ctx.get(dut.found) == was_there
            assert ctx.get(dut.seen) == seen
            row = table[see_slot].reshape(words, CHUNK)
            shown = table[row_slot].reshape(words, CHUNK)
            assert ctx.get(dut.row) == packed(np.any(shown, axis=1))
            if sees:
                seen = packed(row[see_word])
            table[slot, index] |= inserts
            if emptied is not None:
                table[emptied] = False
            emptied = empty_slot if empties else None
            was_found = bool(table[find_slot, find])
            if clears:
                table[:] = False
                emptied = None
                await ctx.tick()  # nothing is looked up then, nor set in the cycle behind
                ctx.set(dut.clear, 0)
                ctx.set(dut.insert, 0)
                ctx.set(dut.empty, 0)
                ctx.set(dut.see, 0)
                await ctx.tick()
                was_found = bool(table[find_slot, find])
            inserted.append(inserts)
            await ctx.tick()

    bench.run(body)
    assert 0 < sum(inserted) < CYCLES


def packed(bits: np.ndarray | np.bool_) -> int:
    return sum(1 << int(i) for i in np.flatnonzero(bits))
