"""The FIFO of the routers against a deque: every word, every level, every cycle."""

from __future__ import annotations

import gc
from collections import Counter, deque

import pytest
from amaranth.sim._async import SimulatorContext
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeloom.hw.cores.fifo import Fifo

from .support.bench import Bench

WIDTH = 9
DEPTHS = (1, 2, 3, 4, 5, 7, 64)

# By cycle: the word that the producer offers or None, and whether the consumer is ready.
Script = list[tuple[int | None, bool]]


class FifoBench:
    """A FIFO in Amaranth's simulator beside a deque."""

    def __init__(self, depth: int) -> None:
        self.dut = Fifo(WIDTH, depth)
        self.script: Script = []
        self.seen: Counter[str] = Counter()
        self.bench = Bench(self.dut)

    def run(self, script: Script) -> None:
        self.script = script
        self.bench.run(self.testbench)

    async def testbench(self, ctx: SimulatorContext) -> None:
        dut, model = self.dut, deque[int]()
        for word, is_ready in self.script:
            ctx.set(dut.i.valid, word is not None)
            ctx.set(dut.i.payload, word or 0)
            ctx.set(dut.o.ready, is_ready)
            has_room = len(model) < dut.depth
            assert ctx.get(dut.level) == len(model)
            assert ctx.get(dut.i.ready) == has_room
            assert ctx.get(dut.o.valid) == bool(model)
            if model:
                assert ctx.get(dut.o.payload) == model[0]
            self.seen["full"] += not has_room
            self.seen["full, offered and taken"] += not has_room and is_ready and word is not None
            self.seen["empty and taken"] += not model and is_ready
            self.seen["both ways"] += bool(model) and has_room and is_ready and word is not None
            if model and is_ready:
                model.popleft()
            if word is not None and has_room:
                model.append(word)
                self.seen["words"] += 1
            await ctx.tick()


@st.composite
def scripts(draw: st.DrawFn, depth: int) -> Script:
    """Draw phases in which producer and consumer are mostly busy or mostly not, so that the FIFO fills and drains."""
    script: Script = []
    for _ in range(draw(st.integers(1, 6))):
        offers, takes = draw(st.sampled_from([(3, 1), (1, 3), (3, 3), (3, 0), (0, 3), (1, 1)]))
        for _ in range(draw(st.integers(1, min(2 * depth + 3, 40)))):
            offered, word, taken = draw(
                st.tuples(st.integers(0, 2), st.integers(0, (1 << WIDTH) - 1), st.integers(0, 2))
            )
            script.append((word if offered < offers else None, taken < takes))
    return script


@pytest.mark.parametrize("depth", DEPTHS)
def test_words_and_levels_agree_with_a_deque(depth):
    bench = FifoBench(depth)
    fill = [(n % (1 << WIDTH), n > 2 * depth) for n in range(4 * depth + 3)]
    bench.run([*fill, *[(None, True)] * (depth + 2)])  # whatever the draws: full once, then drained

    @settings(max_examples=20)
    @given(script=scripts(depth))
    def check(script: Script) -> None:
        bench.run(script)

    check()
    expected = {"words", "full", "full, offered and taken", "empty and taken"}
    expected |= {"both ways"} if depth > 1 else set()
    assert {name for name, count in bench.seen.items() if count} == expected
    assert bench.seen["words"] > 3 * depth


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
@pytest.mark.parametrize(
    ("width", "depth", "message"),
    [
        (0, 1, "^width of a FIFO must be at least 1, not 0$"),
        (1, 0, "^depth of a FIFO must be at least 1, not 0$"),
    ],
)
def test_sizes_below_one_are_refused(width, depth, message):
    with pytest.raises(ValueError, match=message):
        Fifo(width, depth)
    gc.collect()  # the FIFO that was not built, while its warning is ignored
