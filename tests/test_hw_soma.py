"""The soma's RTL against the simulator's kernel: every retire in its cycle, every row of state, drawn at random."""

from __future__ import annotations

from collections import Counter
from functools import cache

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from spikeloom.chip.arithmetic import Compare, NeuronKind, ResetMode, ResetTiming
from spikeloom.chip.config import CoreConfig
from spikeloom.chip.program import CORE_REGISTERS, NEURON_MEMORIES
from spikeloom.hw.cores import soma_update as soma_update_rtl

from .support.soma_bench import RETIRE_LATENCY, Bench, Reference
from .support.soma_programs import SPIKING, STATELESS, Life, Step, lives

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


@pytest.mark.parametrize("floor", [0, 1])
@pytest.mark.parametrize("mode", ResetMode)
def test_the_floor_of_a_negative_threshold_acts_on_what_the_reset_leaves(mode, floor):
    # A membrane of -3 fires at -5, though it is far below the floor of 5; a reset to 20 is above it, one to 2 below.
    core = CORES["narrow"]
    registers = dict.fromkeys((name for name, _, _ in CORE_REGISTERS), 0) | {
        "kind": int(NeuronKind.LIF), "neurons": 2, "reset_mode": int(mode), "compare": int(Compare.GE),
        "max_output": 1, "floor": floor,
    }  # fmt: skip
    memories = {name: [0, 0] for name in NEURON_MEMORIES} | {
        "v_threshold": [-5, -5], "v_reset": [20, 2], "v_init": [-3, -3], "decay_mem": [1 << core.decay_bits] * 2,
    }  # fmt: skip
    seen = Counter()
    step = Step(is_first=True, sums=[0, 0], gaps=[0, 0])
    compare(bench_of("narrow"), [Life(registers, memories, [], [step])], seen)
    assert seen[NeuronKind.LIF, mode, ResetTiming.SAME, Compare.GE] == 2


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
