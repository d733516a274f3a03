"""The whole chip's Verilog under Verilator against the simulator: every event, every cycle, every state."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from spikeloom.chip.arithmetic import Compare, NeuronKind, ResetMode, ResetTiming
from spikeloom.chip.events import PORTS
from spikeloom.chip.memory_map import CoreMemories
from spikeloom.chip.packet import FlitKind

from .support.cosim_chips import build, chip
from .support.cosim_compare import Comparison
from .support.cosim_observed import TURNS, Observed
from .support.cosim_stimulus import draw

SEEDS = {
    "single": range(60),
    "square": range(100, 150),
    "ports": range(200, 245),
    "grid": range(300, 330),
}
STALLED = 12  # seeds of each chip that run with a stalling host, too
LOOKED_INTO = 3  # seeds of each chip whose router FIFOs are looked into
AT_LEAST = 100_000  # cycles in which every event is compared


def compare(name: str, seeds: Iterable[int], **options: Any) -> Observed:
    """Compare random programs, one after the other on one chip, and return what was seen."""
    observed = Observed()
    with (
        tempfile.TemporaryDirectory(prefix="spikeloom-cosim-") as folder,
        Comparison(chip(name), build(name), Path(folder), observed, **options) as comparison,
    ):
        for seed in seeds:
            simulated = draw(chip(name), seed)
            try:
                comparison.compare(simulated, states=[seed % len(simulated.payloads)])
            except BaseException as error:
                error.add_note(f"chip {name!r}, seed {seed}")
                raise
            observed.observe_run(simulated)
    return observed


@cache
def undisturbed(name: str) -> Observed:
    """Compare all programs of a chip with a host that is always ready."""
    observed = compare(name, SEEDS[name], random_memories=len(name))
    for seed in SEEDS[name][2 : 3 * LOOKED_INTO : 3]:  # those of much traffic
        observed.observe_full_fifos(draw(chip(name), seed), 0)
    return observed


@cache
def stalled(name: str) -> Observed:
    """Compare some programs of a chip with a host that stalls at random."""
    return compare(name, SEEDS[name][:STALLED], stalls_seed=1, random_memories=2)


@cache
def all_that_was_seen() -> Observed:
    """Return what all chips have seen with a host that is always ready."""
    whole = Observed()
    for name in SEEDS:
        whole += undisturbed(name)
    return whole


@pytest.mark.parametrize("name", SEEDS)
def test_every_event_state_and_cycle_agrees(name):
    observed = undisturbed(name)
    assert observed.events > 1000
    assert observed.states > 1000
    assert observed.facts["back to back", True] > 9 * observed.facts["back to back", False]


@pytest.mark.parametrize("name", SEEDS)
def test_values_agree_whatever_the_host_does_and_cycles_until_it_is_late(name):
    observed = stalled(name)
    assert observed.stalled_cycles > 5000
    # A timestep starts when the queues hold its flits, so a host can be late within it only if they cannot.
    has_small_queues = chip(name).many_core.network.host_queue_flits < 40
    assert (observed.facts["host waits",] > 100) == has_small_queues


@pytest.mark.parametrize("seed", [None, 1, 99])
def test_what_memories_hold_at_power_up_does_not_matter(seed):
    assert compare("square", range(400, 404), random_memories=seed).cycles > 1000


def test_so_many_cycles_were_compared():
    seen = all_that_was_seen()
    late = sum(stalled(name).stalled_cycles for name in SEEDS)
    sys.stdout.write(
        f"{seen.cycles} cycles with every event ({seen.events}), {seen.state_cycles} with every signature "
        f"and state ({seen.states}), {late + seen.stalled_cycles} with a late host; no difference\n"
    )
    assert seen.cycles >= AT_LEAST


def test_the_neurons_did_everything_they_can():
    modes = [("reset", int(mode), int(timing)) for mode in ResetMode for timing in ResetTiming]
    flags = [
        (name, value)
        for name in ("floor", "axon_signed", "refractory", "random threshold")
        for value in (0, 1)
    ]
    expected = [("kind", kind) for kind in NeuronKind] + modes + flags
    expected += [("compare", int(compare)) for compare in Compare]
    expected += [
        ("several spikes",),
        ("saturations",),
        ("held sample",),
        ("sample after a sample",),
    ]
    assert not all_that_was_seen().missing(expected)


def test_every_width_of_weights_worked_in_every_chip():
    expected = [
        ("weight mode", chip(name).many_core.core.weight_bits, mode)
        for name in SEEDS
        for mode in CoreMemories(chip(name).many_core).weight_modes
    ]
    assert {bits for _, bits, _ in expected} == {4, 6, 8}
    assert not all_that_was_seen().missing(expected)


def test_every_delay_led_to_every_slot():
    slots = [chip(name).many_core.core.delay_slots for name in SEEDS]
    assert len(set(slots)) == len(slots)
    for kind in (FlitKind.AXON, FlitKind.SUM):
        expected = [("slot", count, kind, slot) for count in slots for slot in range(count)]
        expected += [("delay", count, kind, delay) for count in slots for delay in range(1, count)]
        assert not all_that_was_seen().missing(expected)
    assert not all_that_was_seen().missing([("arrival", kind) for kind in FlitKind])


def test_flits_took_every_turn():
    observed = undisturbed("grid")
    assert len(TURNS) == 17
    assert not observed.missing(("turn", *turn) for turn in TURNS)
    assert {fact[1:] for fact in observed.facts if fact[0] == "turn"} == TURNS


def test_every_queue_was_full():
    seen = all_that_was_seen()
    full = {fact[2] for fact in seen.facts if fact[0] == "full FIFO"}
    assert full == set(PORTS)
    assert not seen.missing([("send_stalls",), ("host_stalls",)])


def test_timesteps_of_fixed_length_were_overrun_and_not():
    seen = undisturbed("single")
    assert (
        0
        < seen.facts["overruns",]
        < sum(times for fact, times in seen.facts.items() if fact[0] == "back to back")
    )
