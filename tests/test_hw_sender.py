"""The sender of the RTL against the simulator's kernels: every flit, in its cycle, while the router stalls."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeloom.chip.config import ChipConfig, load_config
from spikeloom.chip.packet import FlitLayout
from spikeloom.hw.cores.sender import Sender
from spikeloom.sim.cores.sender import sender_advance, sender_flit, sender_start
from spikeloom.sim.cores.state import RouteMemory, SenderState

from .support.bench import Bench

SIZES = [(5, 7), (16, 40), (9, 64)]  # neurons, routes


def config_of(size) -> ChipConfig:
    return load_config("tiny").replace(
        core={"neurons": size[0], "lanes": 2, "route_entries": size[1]}
    )


@cache
def bench_of(size) -> Bench[Sender]:
    return Bench(Sender(config_of(size).many_core))


def kernel_sequence(routes: int, timestep: list[tuple[int, int, int]], neurons: int):
    """Return (route, payload) in the order of the kernels, a word of the routing memory being its own index."""
    zeros = np.zeros((1, neurons), dtype=np.int64)
    memory = RouteMemory(
        zeros.copy(), zeros.copy(), np.arange(routes), np.array([0, routes], dtype=np.int64)
    )
    state = SenderState(
        zeros.copy(), zeros.copy(), *(np.zeros(1, dtype=np.int64) for _ in range(5))
    )
    for n, (payload, base, count) in enumerate(timestep):
        state.neuron[0, n], state.payload[0, n] = n, payload
        memory.base[0, n], memory.fan_out[0, n] = base, count
    state.filled[0] = len(timestep)
    if not timestep:
        return []
    sender_start(state, 0)
    sequence = []
    while True:
        payload = int(state.payload[0, state.next[0]])
        sequence.append((sender_flit(memory, state, 0), payload))
        if not sender_advance(memory, state, 0):
            return sequence


@pytest.mark.parametrize("size", SIZES)
@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_flits_agree_in_order_and_cycles(size, data):
    neurons, routes = size
    config = config_of(size)
    latency = config.many_core.send_latency_cycles
    flit = FlitLayout.of(config.many_core)
    top = 1 << (flit.payload_bits - 1)

    @st.composite
    def word(draw):
        base = draw(st.integers(0, routes - 1))
        count = draw(st.integers(1, min(routes - base, 5)))
        return draw(st.integers(-top, top - 1)), base, count

    timesteps = data.draw(
        st.lists(st.lists(word(), max_size=neurons), min_size=1, max_size=4).filter(any)
    )
    pattern = data.draw(st.lists(st.booleans(), min_size=1, max_size=7).filter(any))
    route_bits = flit.bits - flit.payload_bits
    rows = np.random.default_rng(3).integers(0, 1 << route_bits, routes).tolist()
    bench = bench_of(size)
    dut = bench.dut
    seen, expected = [], []

    async def body(ctx):
        ctx.set(dut.w_en, 1)
        for index, row in enumerate(rows):
            ctx.set(dut.w_addr, index)
            ctx.set(dut.w_data, row)
            await ctx.tick()
        ctx.set(dut.w_en, 0)
        for timestep in timesteps:
            for payload, base, count in timestep:
                ctx.set(dut.put, 1)
                ctx.set(dut.payload, payload)
                ctx.set(dut.route_base, base)
                ctx.set(dut.route_count, count)
                await ctx.tick()
            ctx.set(dut.put, 0)
            ctx.set(dut.done, 1)
            await ctx.tick()  # cycle e; the next is compute's end, 0 below
            ctx.set(dut.done, 0)
            cycle, got = 0, []
            while ctx.get(dut.busy):
                ready = pattern[cycle % len(pattern)]
                ctx.set(dut.o.ready, ready)
                if ctx.get(dut.o.valid) and ready:
                    got.append((cycle, ctx.get(dut.o.payload)))
                await ctx.tick()
                cycle += 1
                assert cycle < 5000
            ctx.set(dut.o.ready, 0)
            seen.append(got)
            await ctx.tick()
            assert not ctx.get(dut.o.valid)

    bench.run(body)
    for timestep in timesteps:
        at, flits = latency, []
        for route, payload in kernel_sequence(routes, timestep, neurons):
            while not pattern[at % len(pattern)]:
                at += 1
            flits.append(
                (at, rows[route] | (payload & ((1 << flit.payload_bits) - 1)) << route_bits)
            )
            at += 1
        expected.append(flits)
    assert seen == expected
