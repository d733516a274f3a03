"""Held bits: which axons hold a value and in which version, the newest and as a walk sees them, against plain sets."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeloom.hw.cores.held_bits import HeldBits
from spikeloom.hw.cores.pick import CHUNK, words_of

from .support.bench import Bench

SIZES = [5, 16, 37]  # within a word, over several, no power of two
WALKS = 12


@cache
def bench_of(size: int) -> Bench[HeldBits]:
    return Bench(HeldBits(size))


class Model:
    """What `HeldBits` promises: values in two versions, of which a walk's stay as they were when it began."""

    def __init__(self, size: int) -> None:
        self.newest: dict[int, int] = {}  # axon -> value, of those that hold one
        self.walk: dict[int, int] = {}
        self.copies: dict[
            tuple[int, int], int
        ] = {}  # (axon, version) -> value: what the owner keeps
        self.words = words_of(size)

    def row(self) -> int:
        return sum(1 << w for w in range(self.words) if any(a // CHUNK == w for a in self.newest))


@pytest.mark.parametrize("size", SIZES)
@given(seed=st.integers(0, 1 << 32))
@settings(max_examples=25, deadline=None)
def test_a_walk_sees_what_was_held_when_it_began(size, seed):
    rng = np.random.default_rng(seed)
    bench = bench_of(size)
    dut, model = bench.dut, Model(size)
    few = rng.permutation(size)[:4]
    written, seen = [], []  # axons; those that a walk saw

    async def write(ctx) -> None:
        """Write a held value, or do not; few axons and values, so that they are written again, and back to 0."""
        axon = int(rng.choice(few) if rng.random() < 0.7 else rng.integers(size))
        value = int(rng.integers(0, 3))
        is_write = rng.random() < 0.5
        ctx.set(dut.write, is_write)
        ctx.set(dut.write_index, axon)
        ctx.set(dut.write_active, value != 0)
        assert ctx.get(dut.row) == model.row()
        if is_write:
            model.copies[axon, ctx.get(dut.write_version)] = value
            model.newest.pop(axon, None)
            if value:
                model.newest[axon] = value
            written.append(axon)

    async def body(ctx) -> None:
        for walk in range(WALKS):
            for _ in range(int(rng.integers(0, 12))):  # between walks
                await write(ctx)
                await ctx.tick()
            if rng.random() < 0.2:
                ctx.set(dut.write, 0)
                ctx.set(dut.clear, 1)
                model.newest.clear()
                await ctx.tick()
                ctx.set(dut.clear, 0)
            ctx.set(dut.write, 0)
            await ctx.tick()  # what was written last shows
            model.walk = dict(model.newest)
            ctx.set(dut.walking, walk % 4 != 3)  # or a timestep without a walk
            for _ in range(int(rng.integers(1, 20))):
                await write(ctx)
                word = int(rng.integers(model.words))
                ctx.set(dut.see, 1)
                ctx.set(dut.see_word, word)
                await ctx.tick()
                if walk % 4 != 3:
                    check(ctx, word)
                    ctx.set(dut.see, 0)
                    ctx.set(dut.see_word, int(rng.integers(model.words)))
                    await write(ctx)
                    await ctx.tick()
                    check(ctx, word)  # as long as nothing else is asked for
            ctx.set(dut.write, 0)
            ctx.set(dut.walking, 0)
            await ctx.tick()

    def check(ctx, word: int) -> None:
        active, version = ctx.get(dut.seen_active), ctx.get(dut.seen_version)
        axons = [word * CHUNK + i for i in range(CHUNK) if active >> i & 1]
        values = {a: model.copies[a, version >> (a % CHUNK) & 1] for a in axons}
        assert values == {a: v for a, v in model.walk.items() if a // CHUNK == word}
        seen.extend(axons)

    bench.run(body)
    assert written
    assert size > CHUNK or seen


def test_a_value_is_written_again_and_again_within_a_walk():
    bench = bench_of(16)
    dut = bench.dut
    versions = []

    async def body(ctx) -> None:
        async def write(axon: int, is_active: int) -> None:
            ctx.set(dut.write, 1)
            ctx.set(dut.write_index, axon)
            ctx.set(dut.write_active, is_active)
            versions.append(ctx.get(dut.write_version))
            await ctx.tick()
            ctx.set(dut.write, 0)

        async def see() -> tuple[int, int]:
            ctx.set(dut.see, 1)
            await ctx.tick()
            ctx.set(dut.see, 0)
            return ctx.get(dut.seen_active), ctx.get(dut.seen_version) & ctx.get(dut.seen_active)

        await write(3, 1)
        await ctx.tick()
        ctx.set(dut.walking, 1)
        before = await see()
        assert before == (1 << 3, versions[0] << 3)
        for axon, is_active in ((3, 1), (3, 0), (5, 1), (3, 1), (3, 0)):
            await write(axon, is_active)
            assert await see() == before
        # Within a walk always the version that it does not read.
        assert {versions[i] for i in (1, 2, 4, 5)} == {1 - versions[0]}
        ctx.set(dut.walking, 0)
        await ctx.tick()
        assert await see() == (1 << 5, versions[3] << 5)
        ctx.set(dut.walking, 1)
        await write(3, 1)
        assert versions[-1] == versions[0]  # the other one of what the walk before left

    bench.run(body)
