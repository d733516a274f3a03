"""The host's queues: order, level, throughput and latency of the FIFO in block RAM."""

from __future__ import annotations

from collections import deque
from random import Random

import pytest
from amaranth.sim import Simulator

from spikeloom.hw.cores.block_fifo import BlockFifo


def run(
    depth: int, offers: list[bool], takes: list[bool]
) -> list[tuple[int, int, int, int | None]]:
    """Drive a FIFO; return (level, i.ready, o.valid, o.payload if valid) of each cycle. Words count up."""
    dut, log = BlockFifo(16, depth), []

    async def bench(ctx):
        held: deque[int] = deque()
        word = 0
        for offer, take in zip(offers, takes, strict=True):
            ctx.set(dut.i.valid, offer)
            ctx.set(dut.i.payload, word)
            ctx.set(dut.o.ready, take)
            ready, valid = ctx.get(dut.i.ready), ctx.get(dut.o.valid)
            assert ctx.get(dut.level) == len(held)
            assert ctx.get(dut.has_word) == bool(held)
            assert ready == (len(held) < depth)
            log.append((len(held), ready, valid, ctx.get(dut.o.payload) if valid else None))
            if valid:
                assert ctx.get(dut.o.payload) == held[0]
                if take:
                    held.popleft()
            if offer and ready:
                held.append(word)
                word += 1
            await ctx.tick()
        assert word > 3

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    return log


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("rates", [(0.9, 0.3), (0.3, 0.9), (0.6, 0.6)])
def test_words_come_in_order_and_the_level_is_right(depth, rates):
    rng = Random(depth)
    cycles = 400
    log = run(depth, *([rng.random() < rate for _ in range(cycles)] for rate in rates))
    assert max(level for level, *_ in log) == depth or rates[0] < rates[1]


def test_timing_of_the_docstring():
    log = run(8, [True, True] + [False] * 4 + [True, True], [False] * 4 + [True] * 4)
    assert [(level, word) for level, _, _, word in log][:6] == [
        (0, None), (1, None), (2, None), (2, 0), (2, 0), (1, 1),
    ]  # fmt: skip


@pytest.mark.parametrize("depth", [4, 5, 9])
def test_a_word_a_cycle(depth):
    log = run(depth, [True] * 50, [False] * 6 + [True] * 44)
    assert [word for *_, word in log[6:]] == list(range(44))
