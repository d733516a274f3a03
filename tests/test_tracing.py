"""`trace`: intervals of cores, links and host that agree with the simulator's counters; the format; bad input."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

import spikeloom
from spikeloom import event_waves
from spikeloom.chip.events import CORE_EVENT_INDEX
from spikeloom.chip.program_file import save_program
from spikeloom.errors import InputError
from spikeloom.reports.core_trace import TraceError, core_trace
from spikeloom.reports.learn_trace import step_trace
from spikeloom.reports.trace_events import lanes
from spikeloom.sim.run import run_many_core
from spikeloom.sim.trace import record_sample
from spikeloom.tracing import activity, parse_window
from tests.support.command import run_command
from tests.support.cosim_chips import chip
from tests.support.cosim_stimulus import draw
from tests.support.trace_format import check_trace
from tests.support.vcd_file import VcdFile


@pytest.fixture(scope="module")
def drawn():
    """A random program on a chip of 4 cores, and payloads with traffic that stalls."""
    simulated = draw(chip("square"), 107)
    return simulated.program, simulated.payloads, simulated.timesteps


def traced_activities(drawn, first=0, end=None):
    program, payloads, timesteps = drawn
    end = program.chip_timesteps(timesteps) if end is None else end
    records = [record_sample(program, payload, timesteps, first, end) for payload in payloads]
    return [activity(program, record, first, end) for record in records]


def total(slices, name, what=None):
    """Add up an argument of the slices of one name, or their lengths."""
    chosen = [event for event in slices if event["name"] == name]
    return sum(e["dur"] if what is None else e["args"][what] for e in chosen)


def test_the_intervals_add_up_to_the_counters(drawn):
    program, payloads, timesteps = drawn
    trace = core_trace(program, traced_activities(drawn))
    tracks = check_trace(trace)
    run = run_many_core(program, payloads, timesteps)
    micros = 1e6 / program.config.clock_hz
    columns = program.config.many_core.network.columns
    for c in range(program.core_count):
        place = int(program.register("y")[c] * columns + program.register("x")[c])
        own = tracks.get((1, place), [])
        counters = run.core_counters[c]
        for name, event in (("flits", "flits_sent"), ("stalls", "send_stalls")):
            assert total(own, "send", name) == counters[CORE_EVENT_INDEX[event]]
        assert total(own, "compute", "outputs") == counters[CORE_EVENT_INDEX["spikes"]]
        cycles = counters[CORE_EVENT_INDEX["compute_cycles"]]
        assert total(own, "compute") == pytest.approx(cycles * micros)
    for link in range(run.router_counters.size):
        flits = total(tracks.get((2, link), []), "flits", "flits")
        assert flits == run.router_counters.ravel()[link]
    host = [e for (pid, tid), slices in tracks.items() if pid == 0 and tid for e in slices]
    assert total(host, "inject", "flits") == run.chip_counters["host_flits_in"]
    assert total(host, "inject", "stalls") == run.chip_counters["host_stalls"] > 0
    steps = tracks[0, 0]
    assert len(steps) == run.cycles.size
    resets = len(payloads) * program.config.many_core.sample_reset_cycles
    assert sum(e["args"]["cycles"] for e in steps) == run.cycles.sum() - resets
    end = steps[-1]["ts"] + steps[-1]["dur"]
    assert end == pytest.approx(run.cycles.sum() * micros)
    assert trace["otherData"]["link_gap_cycles"] == 1
    forwarded = [e["args"]["flits"] for e in trace["traceEvents"] if e["ph"] == "C"]
    assert sum(forwarded) == run.router_counters.sum()


def test_a_window_shows_its_timesteps_at_their_times(drawn):
    program = drawn[0]
    whole = check_trace(core_trace(program, traced_activities(drawn)))
    part = check_trace(core_trace(program, traced_activities(drawn, 1, 3)))
    assert {e["name"] for e in part[0, 0]} == {"timestep 1", "timestep 2"}
    for track, slices in part.items():
        assert all(event in whole[track] for event in slices)


def test_a_trace_is_bounded_by_joining_runs_of_flits(drawn):
    program = drawn[0]
    activities = traced_activities(drawn)
    whole = check_trace(core_trace(program, activities))
    count = sum(len(slices) for slices in whole.values())
    links = sum(len(slices) for track, slices in whole.items() if track[0] == 2)
    fewer = core_trace(program, activities, most_slices=count - links // 2)
    tracks = check_trace(fewer)
    assert fewer["otherData"]["link_gap_cycles"] > 1
    assert sum(len(slices) for slices in tracks.values()) <= count - links // 2
    for track, slices in tracks.items():
        if track[0] == 2:
            assert total(slices, "flits", "flits") == total(whole[track], "flits", "flits")
    with pytest.raises(TraceError, match="give fewer samples, or a window of timesteps"):
        core_trace(program, activities, most_slices=count - links)


def test_intervals_that_overlap_get_lanes_of_their_own():
    assert lanes([0, 5, 10, 5], [10, 8, 12, 6]) == [0, 2, 0, 1]
    assert lanes([], []) == []


def test_the_trace_of_a_training_step_keeps_to_the_format():
    step = spikeloom.dry_run("mnist_mlp")
    trace = step_trace(step.program, step.timeline.start, step.timeline.end)
    tracks = check_trace(trace)
    assert sum(len(slices) for slices in tracks.values()) == len(step.program.tasks)
    end = max(e["ts"] + e["dur"] for slices in tracks.values() for e in slices)
    assert end == pytest.approx(step.timeline.cycles * 1e6 / step.program.config.clock_hz)


def test_a_step_that_was_trained_has_a_trace_too(tmp_path, capsys):
    out = tmp_path / "step.json"
    done = run_command(
        capsys, "train", "mnist_mlp", "--epochs", 1, "--samples", 64, "--trace", out, "--json"
    )
    assert done.code == 0, done.err
    tracks = check_trace(json.loads(out.read_text()))
    (epoch,) = json.loads(done.out)["epochs"]
    end = max(e["ts"] + e["dur"] for slices in tracks.values() for e in slices)
    assert end == pytest.approx(epoch["cycles"] / epoch["steps"] / 1e3)  # at 1 GHz


def test_waves_hold_every_event_of_the_window(drawn, tmp_path):
    program, payloads, timesteps = drawn
    record = record_sample(program, payloads[0], timesteps, 1, 3)
    files = event_waves.write_event_waves(program, record, tmp_path / "w", 0, 1, 3)
    assert [path.name for path in files] == ["waves.vcd", "waves.gtkw"]
    waves = VcdFile(files[0])
    top = event_waves.TOP
    begin = {1: 0, 2: int(record.cycles[1])}
    assert waves.rises(f"{top}.mesh.start") == [0, 2 * begin[2]]
    assert waves.end == 2 * int(record.cycles[1:3].sum()) - 1
    mask = (1 << program.config.many_core.core.membrane_bits) - 1
    for k, cycle, core, neuron, _, v_mem in record.retires.tolist():
        x, y = (int(program.register(name)[core]) for name in "xy")
        soma, time = f"{top}.mesh.tile_{x}_{y}.core.soma", 2 * (begin[k] + cycle)
        assert waves.at(f"{soma}.retire", time) == 1
        assert waves.at(f"{soma}.retire_neuron", time) == neuron
        assert waves.at(f"{soma}.retire_v_mem", time) == v_mem & mask
    hops = 0
    for name in waves.widths:
        if name.endswith("core.hops"):
            hops += sum((waves.at(name, t) or 0).bit_count() for t in range(0, waves.end + 1, 2))
    assert hops == len(record.transfers) > 0
    assert "chip timesteps 1:3" in waves.comments[0]
    save = files[1].read_text()
    assert all(f"{name}" in save for name in (f"{top}.clk", str(files[0].absolute())))


def test_waves_too_large_are_refused_and_leave_nothing(drawn, tmp_path, monkeypatch):
    program, payloads, timesteps = drawn
    monkeypatch.setattr(event_waves, "MOST_CHANGES", 100)
    record = record_sample(program, payloads[0], timesteps, 0, 1)
    with pytest.raises(InputError, match="of 100 at most; give fewer timesteps"):
        event_waves.write_event_waves(program, record, tmp_path / "w", 0, 0, 1)
    assert not (tmp_path / "w").exists()


@pytest.fixture
def files(tmp_path, drawn):
    """A program file and data whose values are the payloads."""
    program, payloads, timesteps = drawn
    save_program(replace(program, meta={}), tmp_path / "net.chip")
    held = payloads.shape[1] == 1
    values = np.repeat(payloads, timesteps, axis=1) if held else payloads
    shape = program.inputs[0].shape
    inputs = values.reshape(*values.shape[:2], *shape) * program.inputs[0].scale
    np.savez(tmp_path / "data.npz", inputs=inputs)
    return tmp_path / "net.chip", tmp_path / "data.npz"


def test_the_command_writes_trace_and_waves(files, tmp_path, capsys):
    out = tmp_path / "trace.json"
    done = run_command(
        capsys, "trace", *files, "--samples", 2, "--window", "0:2", "--waves", tmp_path / "w", "-o", out, "--json"
    )  # fmt: skip
    assert done.code == 0, done.err
    told = json.loads(done.out)
    tracks = check_trace(json.loads(out.read_text()))
    assert told["slices"] == sum(len(slices) for slices in tracks.values())
    assert told["samples"] == 2
    assert len(tracks[0, 0]) == 4
    assert (tmp_path / "w" / "waves.vcd").stat().st_size > 1000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--window", "2:1"), "the window 2:1 must be ascending and within"),
        (("--window", "0:9999"), "within the sample's chip timesteps, 0:"),
        (("--window", "first"), "the window must be two chip timesteps A:B such as 0:4, not 'first'"),
        (("--waves", "w"), "waves need a window of chip timesteps; give --window A:B"),
        (("--sample", "7"), "has 2 samples, too few for 1 from sample 7 on"),
        (("--samples", "0"), "samples at least 1, not 0 and 0"),
        (("--timesteps", "3"), "timesteps"),
    ],
)  # fmt: skip
def test_bad_options_are_refused_and_leave_earlier_files(
    files, tmp_path, capsys, monkeypatch, options, message
):
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "trace.json"
    out.write_text("earlier")
    done = run_command(capsys, "trace", *files, "-o", out, *options)
    assert done.code == 2
    assert message in done.err
    assert out.read_text() == "earlier"
    assert not (tmp_path / "w").exists()


def test_bad_files_are_refused(files, tmp_path, capsys):
    (tmp_path / "bad.chip").write_bytes(b"no program")
    for arguments, message in (
        ((tmp_path / "bad.chip", files[1], "-o", tmp_path / "t.json"), "bad.chip"),
        ((files[0], tmp_path / "none.npz", "-o", tmp_path / "t.json"), "none.npz"),
        ((*files, "-o", tmp_path / "none" / "t.json"), "the folder"),
    ):
        done = run_command(capsys, "trace", *arguments)
        assert (done.code, message in done.err) == (2, True), done.err
    with pytest.raises(InputError, match="two chip timesteps"):
        parse_window("-1:3")
