"""The runner: threads, held inputs, probes, checkpoints, bad input; and the network on chip's own laws."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from spikeloom.chip.config import load_config
from spikeloom.sim.checkpoint import CheckpointError
from spikeloom.sim.run import SimulationError, run_many_core

from .support.random_program import random_program
from .support.wires import wire_program
from .test_sim_many_core import draw_payloads

ARRAYS = (
    "cycles",
    "output_count",
    "first_spike",
    "core_counters",
    "router_counters",
    "step_router_flits",
    "step_core_outputs",
)


def assert_equal_runs(one, other):
    for name in ARRAYS:
        assert np.array_equal(getattr(one, name), getattr(other, name)), name
    assert one.chip_counters == other.chip_counters


def some_run(samples=100, timesteps=4):
    rng = np.random.default_rng(7)
    program = random_program(rng)
    return program, draw_payloads(rng, program, samples, timesteps, held=False), timesteps


def test_any_number_of_threads_gives_the_same_result():
    program, payloads, timesteps = some_run()
    alone = run_many_core(program, payloads, timesteps, threads=1)
    assert alone.output_count.any()
    for threads in (2, 3, 7):
        assert_equal_runs(alone, run_many_core(program, payloads, timesteps, threads=threads))


def test_progress_counts_every_sample():
    program, payloads, timesteps = some_run()
    done = []
    run_many_core(program, payloads, timesteps, threads=2, progress=done.append)
    assert sum(done) == len(payloads)


def test_samples_do_not_depend_on_those_before():
    program, payloads, timesteps = some_run(samples=5)
    together = run_many_core(program, payloads, timesteps, threads=1)
    for sample in range(5):
        alone = run_many_core(program, payloads[sample : sample + 1], timesteps, threads=1)
        assert alone.cycles[0].tolist() == together.cycles[sample].tolist()
        assert alone.output_count[0].tolist() == together.output_count[sample].tolist()


def test_a_held_input_acts_as_one_sent_every_timestep():
    program = wire_program(load_config("tiny"), [((0, 0), (1, 1))], tell_host=True)
    timesteps = 4
    row = np.ones((1, 1, program.input_size), dtype=np.int64)
    held = run_many_core(program, row, timesteps, record_outputs=True)
    sent = run_many_core(program, np.repeat(row, timesteps, axis=1), timesteps, record_outputs=True)
    assert held.output_record.tolist() == sent.output_record.tolist()
    assert held.output_record.sum() > 0
    assert held.chip_counters["host_flits_in"] * timesteps == sent.chip_counters["host_flits_in"]


@pytest.mark.parametrize(
    ("start", "end"), [((0, 0), (0, 0)), ((0, 0), (3, 0)), ((3, 4), (0, 0)), ((1, 4), (3, 1))]
)
def test_zero_load_latency_is_hops_plus_two(start, end):
    config = load_config("tiny").replace(network={"columns": 4, "rows": 5})
    chip = config.many_core
    program = wire_program(config, [(start, end)])
    run = run_many_core(program, np.ones((1, 1, program.input_size), dtype=np.int64), 1)
    hops = abs(start[0] - end[0]) + abs(start[1] - end[1])
    # Chip timestep 1: the source core computes with one active axon and one neuron, then sends one flit.
    first_flit = chip.start_cycles + chip.compute_cycles(1, 1, 8) + chip.send_latency_cycles
    assert run.cycles[0, 1] == first_flit + hops + 2 + chip.barrier_cycles


def test_an_idle_timestep_takes_the_trees_and_the_soma():
    config = load_config("tianjic")
    chip = config.many_core
    program = wire_program(config, [((0, 0), (1, 1))])
    run = run_many_core(program, np.zeros((1, 1, program.input_size), dtype=np.int64), 1)
    assert (
        run.cycles[0, 1] == chip.start_cycles + chip.compute_cycles(0, 1, 8) + chip.barrier_cycles
    )


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_saturated_network_loses_and_doubles_nothing(depth):
    config = load_config("tiny").replace(network={"columns": 5, "rows": 3, "fifo_depth": depth})
    rng = np.random.default_rng(depth)
    places = [(x, y) for x in range(5) for y in range(3)]
    wires = [(start, places[i]) for start, i in zip(places, rng.permutation(15), strict=True)]
    program = wire_program(config, wires, copies=16)
    run = run_many_core(program, np.ones((2, 1, program.input_size), dtype=np.int64), 3, threads=1)
    sent = int(run.core_counters[:, 11].sum())
    assert sent > 500
    received = int(run.core_counters[:, 2].sum()) + run.chip_counters["host_flits_out"]
    assert received == sent + run.chip_counters["host_flits_in"]


def test_fixed_timesteps_have_their_length_and_flag_overruns():
    program, payloads, timesteps = some_run(samples=3)
    for period, overruns in ((100_000, 0), (5, 3 * program.chip_timesteps(timesteps))):
        fixed = program.config.replace(timestep={"mode": "fixed", "period_cycles": period})
        run = run_many_core(replace(program, config=fixed), payloads, timesteps)
        assert run.chip_counters["overruns"] == overruns
        assert run.cycles[:, 1:].min() >= period


def test_a_timestep_as_long_as_its_period_is_no_overrun():
    program, payloads, timesteps = some_run(samples=3)
    lengths = run_many_core(program, payloads, timesteps).cycles
    lengths[:, 0] -= program.config.many_core.sample_reset_cycles
    longest = int(lengths.max())
    for period, overruns in ((longest, 0), (longest - 1, (lengths == longest).sum())):
        fixed = program.config.replace(timestep={"mode": "fixed", "period_cycles": period})
        run = run_many_core(replace(program, config=fixed), payloads, timesteps)
        assert run.chip_counters["overruns"] == overruns


def test_checkpoint_goes_on_where_it_stopped(tmp_path):
    program, payloads, timesteps = some_run(samples=700)
    whole = run_many_core(program, payloads, timesteps, threads=2)
    path = tmp_path / "run.checkpoint"

    class StopError(Exception):
        pass

    calls = []

    def interrupt(done):
        calls.append(done)
        if len(calls) > 18:
            raise StopError

    with pytest.raises(StopError):
        run_many_core(
            program,
            payloads,
            timesteps,
            threads=2,
            checkpoint=path,
            checkpoint_key="k",
            progress=interrupt,
        )
    assert path.exists()
    again = []
    resumed = run_many_core(
        program,
        payloads,
        timesteps,
        threads=1,
        checkpoint=path,
        checkpoint_key="k",
        progress=again.append,
    )
    assert again[0] == 512
    assert_equal_runs(whole, resumed)


def test_foreign_and_damaged_checkpoints_are_refused(tmp_path):
    program, payloads, timesteps = some_run(samples=3)
    path = tmp_path / "run.checkpoint"
    run_many_core(program, payloads, timesteps, checkpoint=path, checkpoint_key="k")
    with pytest.raises(CheckpointError, match="another program, other data or other options"):
        run_many_core(program, payloads, timesteps, checkpoint=path, checkpoint_key="other")
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(CheckpointError, match="no whole checkpoint"):
        run_many_core(program, payloads, timesteps, checkpoint=path, checkpoint_key="k")


def test_bad_inputs_are_refused():
    program, payloads, timesteps = some_run(samples=2)
    with pytest.raises(SimulationError, match="timesteps must be at least 1"):
        run_many_core(program, payloads, 0)
    with pytest.raises(SimulationError, match=r"inputs must be \(samples, 4 or 1 timesteps"):
        run_many_core(program, payloads[:, :, :-1], timesteps)
    with pytest.raises(SimulationError, match="there are no samples"):
        run_many_core(program, payloads[:0], timesteps)
    with pytest.raises(SimulationError, match="is no layer of the program; its layers are core0"):
        run_many_core(program, payloads, timesteps, probes=["nothing"])
