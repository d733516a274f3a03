"""The record of a sample's events against the golden model's log, whole and in part."""

from __future__ import annotations

import numpy as np
import pytest

from spikeloom.chip.events import CORE_EVENT_INDEX
from spikeloom.sim import trace
from spikeloom.sim.run import SimulationError, run_many_core
from spikeloom.sim.trace import record_sample

from .support.golden_many_core import GoldenManyCore
from .support.random_program import random_program
from .test_sim_many_core import draw_payloads


def golden_events(program, payload, held, timesteps):
    golden = GoldenManyCore(program)
    golden.run(payload, held, timesteps)
    columns = program.config.many_core.network.columns
    transfers = [(k, cycle, y * columns + x, *rest) for k, cycle, x, y, *rest in golden.log]
    return sorted(transfers), sorted(golden.retires)


def rows(array):
    return [tuple(row) for row in array.tolist()]


@pytest.mark.parametrize("seed", range(20))
def test_every_event_is_the_golden_model_s(seed):
    rng = np.random.default_rng(seed)
    program = random_program(rng)
    timesteps, held = 4, seed % 3 == 0
    payload = draw_payloads(rng, program, 1, timesteps, held)[0]
    record = record_sample(program, payload, timesteps)
    transfers, retires = golden_events(program, payload, held, timesteps)
    assert rows(record.transfers) == transfers
    assert rows(record.retires) == retires
    assert transfers or retires


def busy_sample():
    rng = np.random.default_rng(7)
    program = random_program(rng)
    return program, draw_payloads(rng, program, 1, 4, held=False)[0], 4


@pytest.mark.parametrize("capacity", [0, 1, 50])
def test_a_sample_with_more_events_than_room_is_run_again(monkeypatch, capacity):
    program, payload, timesteps = busy_sample()
    whole = record_sample(program, payload, timesteps)
    assert min(len(whole.transfers), len(whole.retires)) > 50
    monkeypatch.setattr(trace, "_CAPACITY", capacity)
    again = record_sample(program, payload, timesteps)
    assert np.array_equal(whole.transfers, again.transfers)
    assert np.array_equal(whole.retires, again.retires)


@pytest.mark.parametrize("seed", range(6))
def test_sends_are_the_flits_that_routers_take(seed):
    rng = np.random.default_rng(seed)
    program = random_program(rng)
    payload = draw_payloads(rng, program, 1, 4, held=seed % 2 == 0)
    record = record_sample(program, payload[0], 4)
    run = run_many_core(program, payload, 4)
    senders = record.send("sender")
    sent = [int((senders == c).sum()) for c in range(program.core_count)]
    assert sent == run.core_counters[:, CORE_EVENT_INDEX["flits_sent"]].tolist()
    assert int((senders < 0).sum()) == run.chip_counters["host_flits_in"]
    assert len(np.unique(record.sends, axis=0)) == len(record.sends)  # one a cycle
    assert record.cycles.tolist() == run.cycles[0].tolist()
    # A core sends nothing before its last neuron has retired.
    for k, cycle, sender in record.sends[senders >= 0].tolist():
        own = (record.retire("k") == k) & (record.retire("core") == sender)
        assert cycle > record.retire("cycle")[own].max()


def test_part_of_a_sample():
    program, payload, timesteps = busy_sample()
    whole = record_sample(program, payload, timesteps)
    part = record_sample(program, payload, timesteps, 2, 4)
    for name in ("transfers", "retires"):
        every, some = getattr(whole, name), getattr(part, name)
        assert len(some) > 0
        assert np.array_equal(some, every[(every[:, 0] >= 2) & (every[:, 0] < 4)])
    assert len(record_sample(program, payload, timesteps, 3, 3).transfers) == 0


def test_the_record_adds_up_to_the_counters():
    program, payload, timesteps = busy_sample()
    record = record_sample(program, payload, timesteps)
    run = run_many_core(program, payload[None], timesteps, threads=1)
    hops = np.zeros_like(run.router_counters)
    np.add.at(hops, (record.transfer("router"), record.transfer("output")), 1)
    assert np.array_equal(hops, run.router_counters)
    outputs = record.retire("output")
    spikes = np.bincount(record.retire("core")[outputs != 0], minlength=program.core_count)
    assert spikes.tolist() == run.core_counters[:, 9].tolist()


def test_what_cannot_be_recorded_is_refused():
    program, payload, timesteps = busy_sample()
    last = program.chip_timesteps(timesteps)
    with pytest.raises(SimulationError, match=rf"within 0..{last} and ascending, not 3..2"):
        record_sample(program, payload, timesteps, 3, 2)
    with pytest.raises(SimulationError, match=rf"not 0..{last + 1}"):
        record_sample(program, payload, timesteps, 0, last + 1)
    with pytest.raises(SimulationError, match=r"must be \(timesteps, values\)"):
        record_sample(program, payload[None], timesteps)
    with pytest.raises(SimulationError, match="inputs must be"):
        record_sample(program, payload[:, :-1], timesteps)
