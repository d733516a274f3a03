"""The counters of the RTL: each counts its own event, by as much as that grows; loading registers clears all."""

from __future__ import annotations

import numpy as np
import pytest

from spikeloom.chip.config import load_config
from spikeloom.chip.memory_map import CoreMemories
from spikeloom.hw.cores.counters import COUNTED, Counters

from .support.bench import Bench

BY_LANES = {"synops", "multiplies"}


@pytest.mark.parametrize(("lanes", "weight_bits"), [(1, 2), (5, 8)])
def test_every_event_is_counted_and_read_by_its_index(lanes, weight_bits):
    config = load_config("tiny").replace(core={"lanes": lanes, "weight_bits": weight_bits})
    chip = config.many_core
    most = CoreMemories(chip).most_lanes
    bench = Bench(Counters(chip))
    dut, rng = bench.dut, np.random.default_rng(lanes)
    counts = np.zeros(len(COUNTED), dtype=np.int64)
    read = []

    async def body(ctx):
        for cycles in (50, 0, 30):
            for _ in range(cycles):
                for place, name in enumerate(COUNTED):
                    growth = int(rng.integers(0, (most if name in BY_LANES else 1) + 1))
                    ctx.set(getattr(dut, name), growth)
                    counts[place] += growth
                await ctx.tick()
            for name in COUNTED:
                ctx.set(getattr(dut, name), 0)
            await ctx.tick()
            for index, count in enumerate(counts.tolist()):
                ctx.set(dut.index, index)
                await ctx.tick()
                assert ctx.get(dut.count) == count, COUNTED[index]
                read.append(count)
            ctx.set(dut.clear, 1)
            await ctx.tick()
            ctx.set(dut.clear, 0)
            counts[:] = 0

    bench.run(body)
    assert len(read) == 3 * len(COUNTED)
    assert len(set(read[: len(COUNTED)])) > 5
    assert read[len(COUNTED) : 2 * len(COUNTED)] == [0] * len(COUNTED)
