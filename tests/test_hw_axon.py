"""The axon of the RTL against the simulator's kernels: which axons a walk visits, with which values, in which cycle."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeloom.chip.config import ChipConfig, load_config
from spikeloom.chip.packet import FlitKind
from spikeloom.hw.cores.axon import Axon
from spikeloom.sim.cores.axon import axon_add, axon_clear, axon_hold, axon_walk
from spikeloom.sim.cores.state import AxonState

from .support.bench import Bench

# Axons, slots, bits: within a chunk of the walk, over several, no powers of two.
SIZES = [(5, 2, 8), (16, 3, 4), (37, 6, 9)]
# Cycles between the last arrival and a swap, and between a reset and a swap: the fewest that the barrier leaves.
SETTLE, SETTLE_RESET = 5, 4


def config_of(axons: int, slots: int, bits: int) -> ChipConfig:
    return load_config("tiny").replace(
        core={"axons": axons, "delay_slots": slots, "activation_bits": bits}
    )


@cache
def bench_of(size: tuple[int, int, int]) -> Bench[Axon]:
    return Bench(Axon(config_of(*size).many_core))


def empty_state(axons: int, slots: int) -> AxonState:
    def zeros(*shape: int, dtype: type[np.generic] = np.int64):
        return np.zeros(shape, dtype=dtype)

    return AxonState(
        value=zeros(1, slots, axons, dtype=np.int32),
        active=zeros(1, slots, axons, dtype=np.uint8),
        active_count=zeros(1, slots),
        held_value=zeros(1, axons, dtype=np.int32),
        held_active=zeros(1, axons, dtype=np.uint8),
        held_count=zeros(1),
        walk_axon=zeros(axons),
        walk_value=zeros(axons),
    )


@st.composite
def stimuli(draw, size):
    """Draw timesteps: flits (kind, axon, delay, payload, gap) that arrive during the walk, groups, a reset."""
    axons, slots, bits = size
    top = 1 << bits
    # Few axons and small gaps, so that flits of one axon follow each other closely.
    axon = st.integers(0, axons - 1) | st.integers(0, min(2, axons - 1))
    flit = st.tuples(
        st.sampled_from([FlitKind.AXON, FlitKind.AXON, FlitKind.HOLD]),
        axon,
        st.integers(1, slots - 1),
        st.integers(-top, top) | st.sampled_from([-1, 1, -top // 2, top - 1]),
        st.integers(0, 3) | st.just(0),
    )
    timestep = st.tuples(st.lists(flit, max_size=3 * axons), st.integers(1, 3), st.booleans())
    steps = draw(st.lists(timestep, min_size=2, max_size=2 * slots + 2))
    resets = draw(st.sets(st.integers(1, len(steps)), max_size=1))
    return steps, resets, draw(st.integers(0, 1))


def expected_walks(size, steps, resets, is_signed):
    axons, slots, bits = size
    state = empty_state(axons, slots)
    walks = []
    for k, (flits, _, _) in enumerate(steps):
        if k in resets:
            axon_clear(state)
        count = axon_walk(state, 0, k % slots, bits, is_signed)
        walks.append(
            list(
                zip(
                    state.walk_axon[:count].tolist(), state.walk_value[:count].tolist(), strict=True
                )
            )
        )
        for kind, a, delay, payload, _ in flits:
            if kind == FlitKind.AXON:
                axon_add(state, 0, (k + delay) % slots, a, payload, bits, is_signed)
            else:
                axon_hold(state, 0, a, payload, bits, is_signed)
    return walks


@pytest.mark.parametrize("size", SIZES)
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_walks_agree_in_axons_values_and_cycles(size, data):
    steps, resets, is_signed = data.draw(stimuli(size))
    walks = expected_walks(size, steps, resets, is_signed)
    bench = bench_of(size)
    dut, slots = bench.dut, size[1]
    seen = []

    async def body(ctx):
        ctx.set(dut.is_signed, is_signed)
        for k, (flits, groups, _) in enumerate(steps):
            if k in resets:
                ctx.set(dut.clear, 1)
                await ctx.tick()
                ctx.set(dut.clear, 0)
                await ctx.tick().repeat(SETTLE_RESET - 1)
            ctx.set(dut.start, 1)
            await ctx.tick()
            ctx.set(dut.start, 0)
            ctx.set(dut.swap, 1)
            await ctx.tick()
            ctx.set(dut.swap, 0)
            ctx.set(dut.slot, k % slots)
            ctx.set(dut.next_slot, (k + 1) % slots)
            arrivals: list[tuple[int, int, int, int] | None] = [None]
            for kind, a, delay, payload, gap in flits:
                arrivals += [None] * gap + [(kind, a, delay, payload)]
            turns, restarts_left, history, walking = [], groups - 1, [False, False], True
            while arrivals or walking:
                flit = arrivals.pop(0) if arrivals else None
                ctx.set(dut.arrive, flit is not None)
                if flit is not None:
                    kind, a, delay, payload = flit
                    ctx.set(
                        dut.arrival,
                        {"kind": kind, "target": a, "delay": delay, "payload": payload},
                    )
                walking = walking and (restarts_left > 0 or bool(ctx.get(dut.more)) or any(history))
                ctx.set(dut.walking, walking)
                more = walking and bool(ctx.get(dut.more))
                ctx.set(dut.step, more)
                restart = walking and not more and restarts_left > 0
                ctx.set(dut.restart, restart)
                restarts_left -= restart
                if history[0]:
                    turns.append([ctx.get(dut.walk_axon), None])
                if history[1]:
                    turns[-1 - history[0]][1] = ctx.get(dut.walk_value)
                history = [more, history[0]]
                await ctx.tick()
            ctx.set(dut.arrive, 0)
            ctx.set(dut.step, 0)
            ctx.set(dut.restart, 0)
            ctx.set(dut.walking, 0)
            for _ in range(SETTLE - 1):
                await ctx.tick()
            seen.append([tuple(turn) for turn in turns])

    bench.run(body)
    assert len(seen) == len(steps)
    assert seen == [walk * groups for walk, (_, groups, _) in zip(walks, steps, strict=True)]
