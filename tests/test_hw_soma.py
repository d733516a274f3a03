"""The soma's RTL against the simulator's kernel: every retire in its cycle, every row of state, drawn at random."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
from amaranth.sim import Simulator
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from spikeloom.chip.arithmetic import Compare, NeuronKind, ResetMode, ResetTiming
from spikeloom.chip.config import CoreConfig, ManyCoreConfig
from spikeloom.chip.memory_map import CoreMemories, Memory
from spikeloom.chip.program import CORE_REGISTERS
from spikeloom.hw.cores import soma_update as soma_update_rtl
from spikeloom.hw.cores.soma import Soma
from spikeloom.sim.cores.soma import soma_update
from spikeloom.sim.cores.state import Params, SenderState, SomaMemory, SomaState

RETIRE_LATENCY = 11
SPIKING = (NeuronKind.LIF, NeuronKind.CUBA_LIF)
STATELESS = (NeuronKind.RELU, NeuronKind.TABLE, NeuronKind.PARTIAL)

# Sizes off powers of two; widths at both ends of their ranges, and where products need one or several multipliers.
CORES = {
    "default": CoreConfig(neurons=7, axons=9, route_entries=5),
    "narrow": CoreConfig(
        neurons=5, lanes=2, weight_bits=2, activation_bits=2, accumulator_bits=8, membrane_bits=8, decay_bits=4
    ),
    "wide membrane": CoreConfig(
        neurons=3, lanes=3, activation_bits=24, accumulator_bits=26, membrane_bits=50, decay_bits=11
    ),
    "wide sum": CoreConfig(
        neurons=1, lanes=1, activation_bits=11, accumulator_bits=50, membrane_bits=9, decay_bits=4, route_entries=1
    ),
    "fine decay": CoreConfig(
        neurons=6, activation_bits=5, accumulator_bits=24, membrane_bits=31, decay_bits=30, route_entries=100
    ),
}  # fmt: skip

# (kind, reset mode, reset timing, compare); -1 where the kind must not care, so that it is drawn.
CASES = [
    (kind, mode, timing, compare)
    for kind in SPIKING
    for mode in ResetMode
    for timing in ResetTiming
    for compare in Compare
] + [(kind, -1, -1, -1) for kind in NeuronKind if kind not in SPIKING]


@dataclass(frozen=True)
class Step:
    """A timestep of a core: whether it is the first of a sample, the sums, and the cycles before each fetch."""

    is_first: bool
    sums: list[int]
    gaps: list[int]


@dataclass(frozen=True)
class Life:
    """What a core loads, and the timesteps it then runs."""

    registers: dict[str, int]
    memories: dict[str, list[int]]
    table: list[int]
    steps: list[Step]


@st.composite
def lives(draw, core: CoreConfig, kind: NeuronKind, mode: int, timing: int, compare: int) -> Life:
    """Draw a legal program (chip.program.check_program) and its timesteps; equal and extreme values are likely."""
    top = (1 << (core.membrane_bits - 1)) - 1
    sum_top = (1 << (core.accumulator_bits - 1)) - 1
    most = (1 << core.activation_bits) - 1
    one = 1 << core.decay_bits
    neurons = draw(st.integers(1, core.neurons))
    common = draw(
        st.lists(st.one_of(st.integers(-9, 9), st.integers(-top, top)), min_size=1, max_size=2)
    )

    def number(low: int, high: int, *likely: int):
        ends = {
            low,
            low + 1,
            high - 1,
            high,
            0,
            1,
            -1,
            *likely,
            *common,
            *(-value for value in common),
        }
        inside = sorted(value for value in ends if low <= value <= high)
        return st.one_of(st.sampled_from(inside), st.integers(low, high))

    def column(strategy):
        return draw(st.lists(strategy, min_size=neurons, max_size=neurons))

    mode = draw(st.integers(0, 3)) if mode < 0 else mode
    timing = draw(st.integers(0, 1)) if timing < 0 else timing
    compare = draw(st.integers(0, 1)) if compare < 0 else compare
    spiking = kind in SPIKING
    several = (
        spiking
        and mode == ResetMode.SUBTRACT
        and timing == ResetTiming.SAME
        and draw(st.booleans())
    )
    random = not several and not (spiking and timing == ResetTiming.NEXT)
    shift_top = 7 if kind in STATELESS else min(31, 62 - core.accumulator_bits)
    registers = dict.fromkeys((name for name, _, _ in CORE_REGISTERS), 0) | {
        "kind": int(kind),
        "neurons": neurons,
        "i_shift": draw(st.one_of(st.just(0), number(0, shift_top, core.membrane_bits))),
        "requant_shift": draw(st.one_of(st.integers(0, core.decay_bits), number(0, 62))),
        "reset_mode": mode,
        "reset_timing": timing,
        "compare": compare,
        "max_output": draw(number(2, most) if several else st.just(1) if spiking else number(1, most)),
        "floor": draw(st.integers(0, 1)),
        "refractory": draw(st.sampled_from((0, 0, 0, 1, 2, 255))),
        "random_mask": draw(number(0, (1 << 31) - 1, 7)) if random else 0,
        "random_seed": draw(number(0, (1 << 32) - 1)),
    }  # fmt: skip
    power = st.integers(0, core.membrane_bits - 2).map(lambda place: 1 << place)
    activates = kind in (NeuronKind.RELU, NeuronKind.TABLE)
    factor_top = min(one, (1 << (62 - registers["requant_shift"])) - 1) if activates else one
    decay = number(0, factor_top, one // 2)
    thresholds = column(power if several else number(-top, top))
    memories = {
        "v_threshold": thresholds,
        "decay_mem": column(decay),
        "decay_syn": column(decay),
        "route_base": column(number(0, core.route_entries - 1)),
        "route_count": column(number(0, core.route_entries)),
    } | {
        name: [draw(st.one_of(st.just(value), number(-top - 1, top))) for value in thresholds]
        for name in ("v_reset", "v_init", "i_init", "bias")
    }
    table = []
    if kind == NeuronKind.TABLE:
        size = 1 << (core.activation_bits - 1)
        rng = np.random.default_rng(draw(st.integers(0, 1 << 20)))
        table = rng.integers(-size, most + 1, 256).tolist()
    steps = [
        Step(
            is_first=first,
            sums=column(st.one_of(st.just(0), number(-sum_top - 1, sum_top))),
            gaps=column(st.sampled_from((0, 0, 0, 1, 2, 9))),
        )
        for first in draw(st.sampled_from(((True, False, False, False), (False,), (True, True))))
    ]
    return Life(registers, memories, table, steps)


class Reference:
    """The kernel with the arrays of one core."""

    def __init__(self, core: CoreConfig) -> None:
        def zeros(*shape: int):
            return np.zeros(shape, dtype=np.int64)

        size = core.neurons
        widths = ("activation_bits", "accumulator_bits", "membrane_bits", "decay_bits")
        plain = dict.fromkeys(Params._fields, 0) | {name: getattr(core, name) for name in widths}
        self.params = Params(**plain)
        row_names = [name for name in SomaMemory._fields if name != "table"]
        self.memory = SomaMemory(
            **{name: zeros(1, size) for name in row_names}, table=zeros(1, 256).astype(np.int32)
        )
        self.state = SomaState(
            zeros(1, size), zeros(1, size), zeros(1, size), zeros(1), zeros(size)
        )
        self.outbox = SenderState(zeros(1, size), zeros(1, size), *(zeros(1) for _ in range(5)))

    def load(self, life: Life) -> None:
        self.registers = np.array([life.registers[name] for name, _, _ in CORE_REGISTERS])
        for name, values in life.memories.items():
            if name != "route_base":
                getattr(self.memory, name)[0, : len(values)] = values
        if life.table:
            self.memory.table[0] = life.table

    def step(self, step: Step) -> tuple[int, int]:
        """Run a timestep; return how many outputs are not 0, and how many states stand at a limit."""
        sums = np.array(step.sums, dtype=np.int64)
        return soma_update(
            self.params, self.memory, self.state, self.outbox, sums, self.registers, 0, step.is_first, len(sums)
        )  # fmt: skip

    def rows(self, neurons: int) -> list[dict[str, int]]:
        s = self.state
        return [
            {"v_mem": v, "i_syn": i, "refractory_left": left}
            for v, i, left in zip(
                s.v_mem[0, :neurons].tolist(),
                s.i_syn[0, :neurons].tolist(),
                s.refractory_left[0, :neurons].tolist(),
                strict=True,
            )
        ]


OUTPUTS = (
    "retire_neuron",
    "retire_output",
    "retire_v_mem",
    "fired",
    "saturated",
    "send",
    "route_base",
    "route_count",
)


class Bench:
    """The component in Amaranth's simulator, built once; `run` plays lives on it from power-up."""

    def __init__(self, core: CoreConfig) -> None:
        config = ManyCoreConfig(core=core)
        self.core = core
        self.layouts = CoreMemories(config).layouts
        self.soma = Soma(config)
        self.simulator = Simulator(self.soma)
        self.simulator.add_clock(1e-6)
        self.simulator.add_testbench(self._play)
        self.fresh = True

    def run(self, played: list[Life]) -> tuple[list[list[tuple[int, dict[str, int]]]], list]:
        """Return per timestep what retired, as (cycle, outputs) from the first fetch on, and the rows of state."""
        self.played, self.retired, self.rows = played, [], []
        if not self.fresh:
            self.simulator.reset()
        self.fresh = False
        self.simulator.run()
        return self.retired, self.rows

    def _row(self, memory: Memory, columns: dict[str, int]) -> int:
        layout = self.layouts[memory]
        values = {field.name: [columns.get(field.name, 0)] for field in layout.fields}
        return int.from_bytes(layout.image(values).tobytes(), "little")

    async def _play(self, ctx) -> None:
        for life in self.played:
            await self._load(ctx, life)
            for step in life.steps:
                self.retired.append(await self._step(ctx, step))
                self.rows.append([await self._read(ctx, n) for n in range(len(step.sums))])

    async def _load(self, ctx, life: Life) -> None:
        soma = self.soma
        ctx.set(soma.registers.as_value(), self._row(Memory.REGISTERS, life.registers))
        for n in range(life.registers["neurons"]):
            row = {name: values[n] for name, values in life.memories.items()}
            ctx.set(soma.neurons_w_en, 1)
            ctx.set(soma.neurons_w_addr, n)
            ctx.set(soma.neurons_w_data, self._row(Memory.NEURONS, row))
            await ctx.tick()
        ctx.set(soma.neurons_w_en, 0)
        for address, output in enumerate(life.table):
            ctx.set(soma.table_w_en, 1)
            ctx.set(soma.table_w_addr, address)
            ctx.set(soma.table_w_data, self._row(Memory.TABLE, {"output": output}))
            await ctx.tick()
        ctx.set(soma.table_w_en, 0)
        await ctx.tick().repeat(2)

    async def _step(self, ctx, step: Step) -> list[tuple[int, dict[str, int]]]:
        soma = self.soma
        ctx.set(soma.begin, 1)
        ctx.set(soma.is_first, step.is_first)
        await ctx.tick()
        ctx.set(soma.begin, 0)
        fetches, cycle = {}, -1
        for n, gap in enumerate(step.gaps):
            cycle += 1 + gap
            fetches[cycle] = n
        totals = {cycle + 5: step.sums[n] for cycle, n in fetches.items()}
        retired = []
        for cycle in range(max(fetches) + RETIRE_LATENCY + 1):
            fetched = fetches.get(cycle)
            ctx.set(soma.fetch, fetched is not None)
            ctx.set(soma.fetch_neuron, 0 if fetched is None else fetched)
            ctx.set(soma.total, totals.get(cycle, -1))
            if ctx.get(soma.retire):
                retired.append((cycle, {name: ctx.get(getattr(soma, name)) for name in OUTPUTS}))
            else:
                assert not ctx.get(soma.send)
                assert not ctx.get(soma.fired)
                assert not ctx.get(soma.saturated)
            await ctx.tick()
        return retired

    async def _read(self, ctx, n: int) -> dict[str, int]:
        ctx.set(self.soma.state_r_en, 1)
        ctx.set(self.soma.state_r_addr, n)
        await ctx.tick()
        ctx.set(self.soma.state_r_en, 0)
        return self.layouts[Memory.STATE].unpack(ctx.get(self.soma.state_r_data))


def compare(bench: Bench, played: list[Life], seen: Counter) -> None:
    """Play lives on both and compare all there is to see; count in ``seen`` what was exercised."""
    retired, rows = bench.run(played)
    reference = Reference(bench.core)
    results = iter(zip(retired, rows, strict=True))
    for life in played:
        reference.load(life)
        for step in life.steps:
            before = reference.rows(len(step.sums))
            fired, saturated = reference.step(step)
            got, got_rows = next(results)
            after = reference.rows(len(step.sums))
            assert got_rows == after
            stateless = life.registers["kind"] in STATELESS
            sent = reference.outbox.neuron[0, : reference.outbox.filled[0]].tolist()
            cycle = RETIRE_LATENCY - 1
            for n, (at, outputs) in enumerate(got):
                cycle += 1 + step.gaps[n]
                output = int(reference.state.output[n])
                is_saturated = outputs.pop("saturated")
                saturated -= is_saturated
                assert (at, outputs) == (
                    cycle,
                    {
                        "retire_neuron": n,
                        "retire_output": output,
                        "retire_v_mem": 0 if stateless else after[n]["v_mem"],
                        "fired": int(output != 0),
                        "send": int(n in sent),
                        "route_base": life.memories["route_base"][n],
                        "route_count": life.memories["route_count"][n],
                    },
                )
                note(seen, life, n, output, before[n], after[n], is_saturated)
            assert len(got) == len(step.sums)
            assert fired == sum(outputs["fired"] for _, outputs in got)
            assert saturated == 0
    assert next(results, None) is None


def note(seen, life, n, output, before, after, is_saturated) -> None:
    """Count what an update exercised."""
    r, threshold = life.registers, life.memories["v_threshold"][n]
    spiking = r["kind"] in SPIKING
    seen[NeuronKind(r["kind"]).name] += output != 0
    if spiking and output:
        seen[r["kind"], r["reset_mode"], r["reset_timing"], r["compare"]] += 1
        seen["random"] += r["random_mask"] != 0
        seen["several"] += output > 1
        seen["floor"] += r["floor"] == 1 and after["v_mem"] == -threshold
        seen["most"] += r["max_output"] > 1 and output == r["max_output"]
    if r["kind"] not in STATELESS:
        seen["refractory"] += before["refractory_left"] == after["refractory_left"] + 1
        seen["high"] += is_saturated and after["v_mem"] > 0
        seen["low"] += is_saturated and after["v_mem"] < 0


def covered(kind: NeuronKind) -> set:
    """Return the events that the stimulus of ``kind`` must have caused."""
    events = {kind.name}
    if kind not in STATELESS:
        events |= {"refractory", "high", "low"}
    if kind in SPIKING:
        events |= {case for case in CASES if case[0] == kind} | {
            "random",
            "several",
            "most",
            "floor",
        }
    return events


@cache
def bench_of(name: str) -> Bench:
    return Bench(CORES[name])


def agreement(bench: Bench, case, seen: Counter, **options):
    """Return a property: both agree in programs drawn for ``case``."""
    # A kind without state must leave that of the kind before alone; an integrator may find neurons refractory.
    before = (NeuronKind.CUBA_LIF, ResetMode.ZERO, ResetTiming.SAME, Compare.GT)
    cases = [case] if case[0] in SPIKING else [before, case]
    played = st.tuples(*(lives(bench.core, *c) for c in cases))

    @settings(suppress_health_check=[HealthCheck.too_slow], database=None, **options)
    @given(played)
    def agree(played):
        compare(bench, list(played), seen)

    return agree


@pytest.mark.parametrize("kind", NeuronKind, ids=lambda kind: kind.name)
def test_every_update_equals_the_simulators(kind):
    seen = Counter()
    for name in CORES:
        for case in CASES:
            if case[0] == kind:
                # Kinds with many cases need few programs each; several spikes occur in one case only.
                rich = kind not in SPIKING or case[1:3] == (ResetMode.SUBTRACT, ResetTiming.SAME)
                agreement(bench_of(name), case, seen, max_examples=8 if rich else 3)()
    assert {event for event in covered(kind) if not seen[event]} == set()


# What a fault replaces in hw/cores/soma_update.py, and the comparison under which it shows.
FAULTS = {
    "GE is GT": (Compare.GE, "exceeds", lambda value, threshold, or_equal: value > threshold),
    "GT is GE": (Compare.GT, "exceeds", lambda value, threshold, or_equal: value >= threshold),
    "saturation wraps": (Compare.GT, "saturate", lambda value, bits: value[:bits].as_signed()),
    "no limit is seen": (Compare.GT, "at_limit", lambda value: value.any() & ~value.any()),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_seen(fault, monkeypatch):
    comparing, name, function = FAULTS[fault]
    monkeypatch.setattr(soma_update_rtl, name, function)
    case = (NeuronKind.LIF, ResetMode.VALUE, ResetTiming.NEXT, comparing)
    bench = Bench(CORES["narrow"])
    agree = agreement(bench, case, Counter(), max_examples=300, phases=[Phase.generate])
    with pytest.raises(AssertionError):
        agree()
