"""The pipeline: a value is seen a stage after it is put, and as many cycles later as stages lie between."""

from __future__ import annotations

import pytest
from amaranth.hdl import Fragment, Module, Signal
from amaranth.sim import Simulator

from spikeloom.hw.cores.pipeline import Pipeline


def test_a_value_travels_a_stage_a_cycle_whatever_surrounds_its_use():
    m = Module()
    m.submodules.pipe = pipe = Pipeline()
    source, never, late, double = Signal(8), Signal(), Signal(8), Signal(9)
    pipe.stage(-2).put(valid=source[0], item=source)
    pipe.stage(0).put(double=pipe.stage(0).item << 1)
    with m.If(never):  # asked for here first, and yet it moves in every cycle
        m.d.comb += late.eq(pipe.stage(3).item)
    m.d.comb += double.eq(pipe.stage(3).double)
    seen = []

    async def bench(ctx):
        for cycle in range(12):
            ctx.set(source, 100 + cycle)
            ctx.set(never, 1)
            seen.append((ctx.get(pipe.stage(-1).item), ctx.get(late), ctx.get(double)))
            ctx.set(never, 0)
            await ctx.tick()

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert seen[6:] == [(99 + cycle, 95 + cycle, 2 * (95 + cycle)) for cycle in range(6, 12)]


def test_a_name_is_put_once_and_not_known_before():
    pipe = Pipeline()
    pipe.stage(2).put(item=Signal())
    with pytest.raises(KeyError, match="the pipeline has a value 'item' already"):
        pipe.stage(5).put(item=Signal())
    with pytest.raises(KeyError, match="'item' is known from stage 3 on, not in stage 2"):
        pipe.stage(2).item.eq(0)
    Fragment.get(pipe, None)  # Amaranth warns of what never becomes hardware
