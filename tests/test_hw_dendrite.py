"""Synapse and dendrite of the RTL against the simulator's kernel: every sum of every group, in its cycle."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeloom.chip.arithmetic import wrap
from spikeloom.chip.config import ChipConfig, load_config
from spikeloom.chip.memory_map import CoreMemories, Memory
from spikeloom.chip.packet import FlitKind
from spikeloom.hw.cores.dendrite import Dendrite
from spikeloom.hw.cores.synapse import Synapse, early_stages
from spikeloom.sim.cores.dendrite import dendrite_accumulate, dendrite_clear, sum_add
from spikeloom.sim.cores.state import AxonState, DendriteState

from .support.bench import Bench

# Axons, neurons, lanes, slots, weight bits, accumulator bits, pipeline stages.
SIZES = [
    (6, 11, 3, 3, 8, 24, 4),
    (5, 7, 2, 2, 8, 13, 6),
    (9, 4, 4, 5, 4, 10, 4),
    (3, 5, 2, 4, 6, 17, 5),
]


def config_of(size) -> ChipConfig:
    axons, neurons, lanes, slots, weight, accumulator, stages = size
    return load_config("tiny").replace(
        core={
            "axons": axons, "neurons": neurons, "lanes": lanes, "delay_slots": slots, "weight_bits": weight,
            "accumulator_bits": accumulator, "pipeline_stages": stages,
        }
    )  # fmt: skip


class Pair(wiring.Component):
    """Synapse and dendrite as a core wires them: an axon's turn is one cycle before its address."""

    step: Signal
    ends: Signal
    axon: Signal
    value: Signal
    group: Signal
    total: Signal

    def __init__(self, config: ChipConfig) -> None:
        core = config.many_core
        self.core = core.core
        self.synapse, self.dendrite = Synapse(core), Dendrite(core)
        super().__init__(
            {"step": In(1), "ends": In(1), "axon": In(16), "value": In(32)}
            | {"group": In(16), "total": Out(self.dendrite.total.shape())}
        )  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        m.submodules.synapse, m.submodules.dendrite = synapse, dendrite = (
            self.synapse,
            self.dendrite,
        )

        def delayed(value, cycles):
            for _ in range(cycles):
                register = Signal(value.shape())
                m.d.sync += register.eq(value)
                value = register
            return value

        m.d.comb += [
            synapse.axon_idx.eq(delayed(self.axon, 1)),
            synapse.group.eq(delayed(self.group, 1)),
            dendrite.valid.eq(delayed(self.step, 2)),
            dendrite.ends.eq(delayed(self.ends, 2)),
            dendrite.value.eq(delayed(self.value, 2 + min(early_stages(self.core), 1))),
            dendrite.weights.eq(synapse.weights),
            self.total.eq(dendrite.total),
        ]
        return m


@cache
def bench_of(size) -> Bench[Pair]:
    return Bench(Pair(config_of(size)))


@pytest.mark.parametrize("size", SIZES)
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_sums_agree_in_values_and_cycles(size, data):
    axons, neurons, _, slots, _, bits, stages = size
    config = config_of(size)
    core, memories = config.many_core.core, CoreMemories(config.many_core)
    rng = np.random.default_rng(data.draw(st.integers(0, 1 << 32)))
    mode = data.draw(st.integers(0, len(memories.weight_modes) - 1))
    weight_bits = memories.weight_modes[mode]
    used = data.draw(st.integers(1, neurons))
    half, top = 1 << (weight_bits - 1), 1 << core.activation_bits
    weights = rng.integers(-half, half, (1, axons, neurons))
    is_extreme = data.draw(
        st.booleans()
    )  # every axon, its value and every weight as far from 0 as they go
    if is_extreme:
        weights[:] = -half
    image = memories._weight_image(weights[0], weight_bits)
    lanes = config.many_core.effective_lanes(weight_bits)
    steps = data.draw(
        st.lists(
            st.tuples(
                st.sets(st.integers(0, axons - 1)),
                st.lists(st.tuples(st.integers(1, slots - 1), st.integers(0, neurons - 1)), max_size=6),
            ),
            min_size=1,
            max_size=slots + 2,
        )
    )  # fmt: skip

    resets = data.draw(st.sets(st.integers(1, len(steps)), max_size=1))  # samples that start then

    state = DendriteState(
        np.zeros((1, slots, neurons), dtype=np.int64), np.zeros(neurons, dtype=np.int64)
    )
    axon = AxonState(*(np.zeros(axons, dtype=np.int64) for _ in AxonState._fields))
    walks, arrivals, expected = [], [], []
    for k, (drawn, sums) in enumerate(steps):
        if k in resets:
            dendrite_clear(state)
        active = set(range(axons)) if is_extreme else drawn
        values = rng.choice([1, 1, -top // 2, top - 1, 3, 0], len(active))
        if is_extreme:
            values[:] = top - 1
        for place, (a, value) in enumerate(zip(sorted(active), values, strict=True)):
            axon.walk_axon[place], axon.walk_value[place] = a, value
        multiplied = dendrite_accumulate(state, axon, weights, 0, k % slots, len(active), used)
        walks.append(list(zip(sorted(active), values.tolist(), strict=True)))
        expected.append((multiplied, [wrap(int(v), bits) for v in state.accumulator[:used]]))
        flits = [(d, n, int(rng.integers(-(1 << 30), 1 << 30))) for d, n in sums]
        # Neurons beyond those in use may get sums, which nobody reads.
        for delay, n, payload in flits:
            sum_add(state, 0, (k + delay) % slots, n, payload)
        state.sum_value[0, k % slots] = 0
        arrivals.append(flits)

    bench = bench_of(size)
    dut = bench.dut
    seen = []

    async def body(ctx):
        synapse, dendrite = dut.synapse, dut.dendrite
        ctx.set(synapse.mode, mode)
        ctx.set(synapse.w_en, 1)
        for row, words in enumerate(image.tolist()):
            ctx.set(synapse.w_addr, row)
            ctx.set(synapse.w_data, sum(word << (64 * i) for i, word in enumerate(words)))
            await ctx.tick()
        ctx.set(synapse.w_en, 0)
        ctx.set(dendrite.clear, 1)
        ctx.set(dendrite.slot, slots - 1)
        await ctx.tick()
        ctx.set(dendrite.clear, 0)
        for k, (walk, flits) in enumerate(zip(walks, arrivals, strict=True)):
            if k in resets:
                ctx.set(dendrite.clear, 1)
                await ctx.tick()
                ctx.set(dendrite.clear, 0)
            ctx.set(dendrite.start, 1)
            await ctx.tick()
            ctx.set(dendrite.start, 0)
            await ctx.tick()
            ctx.set(dendrite.slot, k % slots)
            await ctx.tick()
            length = max(len(walk) + 1, lanes)
            groups = -(-used // lanes)
            fetch_at = {}
            for n in range(used):
                start = n // lanes * length + len(walk) + 1 + stages
                fetch_at[start + n % lanes - 4] = n
            takes = {
                g * length + len(walk) + 1 + stages + j for g in range(groups) for j in range(lanes)
            }
            totals, multiplied = [], 0
            waiting = list(flits)
            for cycle in range(max(takes) + 6):
                group, place = divmod(cycle, length)
                working = group < groups
                ctx.set(dut.step, working and place < len(walk))
                ctx.set(dut.ends, working and place == len(walk))
                ctx.set(dut.group, group if working else 0)
                if working and place < len(walk):
                    ctx.set(dut.axon, walk[place][0])
                    ctx.set(dut.value, walk[place][1] & 0xFFFFFFFF)
                ctx.set(dendrite.fetch_neuron, fetch_at.get(cycle, 0))
                ctx.set(dendrite.take, cycle + 1 in takes)
                if cycle - 5 in fetch_at:
                    totals.append(ctx.get(dut.total))
                multiplied += ctx.get(dendrite.multiplies)
                flit = waiting.pop(0) if waiting else None
                ctx.set(dendrite.arrive, flit is not None)
                if flit is not None:
                    ctx.set(
                        dendrite.arrival,
                        {"kind": FlitKind.SUM, "delay": flit[0], "target": flit[1], "payload": flit[2]},
                    )  # fmt: skip
                await ctx.tick()
            ctx.set(dendrite.arrive, 0)
            for _ in range(4):
                await ctx.tick()
            seen.append((multiplied // groups, totals))

    bench.run(body)
    assert seen == expected
    assert image.shape[0] <= memories.layouts[Memory.WEIGHTS].rows
