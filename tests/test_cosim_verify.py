"""`verify`: equal machines are equal; a planted difference is found, and located to unit, timestep and cycle."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

import spikeloom
from spikeloom.chip.program_file import save_program
from spikeloom.cli import app
from spikeloom.comparing import Case, compare_samples
from spikeloom.hw.cores.dendrite import Dendrite
from spikeloom.hw.cosim import build as building
from spikeloom.hw.cosim.errors import ToolError
from spikeloom.hw.verilog import emit_chip
from spikeloom.sim.trace import record_sample

from .support.cosim_chips import build, chip, verilog
from .support.cosim_observed import MEMBRANE_KINDS
from .support.cosim_simulator import Simulated
from .support.cosim_stimulus import draw
from .support.wires import wire_program

INPUTS = np.array([[[0], [1], [1]], [[1], [0], [1]]])  # samples, timesteps, inputs


@pytest.fixture
def program():
    return wire_program(chip("single"), [((0, 0), (0, 0))], copies=2, tell_host=True)


def test_equal_machines_are_equal_on_the_command_line(program, tmp_path):
    save_program(program, tmp_path / "net.chip")
    np.savez(tmp_path / "data.npz", inputs=INPUTS.astype(float))
    done = CliRunner().invoke(
        app, ["verify", str(tmp_path / "net.chip"), str(tmp_path / "data.npz"), "--json"]
    )
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["difference"] is None
    assert found["samples"] == 2
    assert min(found[name] for name in ("cycles", "retires", "transfers", "signatures")) > 0


def test_a_planted_difference_is_located(program, monkeypatch):
    original = Dendrite._incoming
    monkeypatch.setattr(Dendrite, "_incoming", lambda self, m: original(self, m) + 1)
    found = spikeloom.verify(
        program, {"inputs": INPUTS.astype(float)}, verilog=emit_chip(program.config, trace=True)
    )
    assert not found.ok
    difference = found.difference
    assert difference is not None
    # Every sum is one too large: the first neuron that retires at all is the first to differ.
    record = record_sample(program, INPUTS[0], INPUTS.shape[1])
    k, cycle, _, neuron, output, v_mem = record.retires[0].tolist()
    assert (difference.sample, difference.timestep, difference.cycle) == (0, k, cycle)
    assert (difference.unit, difference.x, difference.y) == ("core", 0, 0)
    assert difference.layer == "wires"
    assert difference.simulator == f"neuron {neuron} with output {output}, v_mem {v_mem}"
    assert difference.rtl.startswith(f"neuron {neuron} with output ")
    assert f"cycle {cycle}, core at (0, 0)" in str(difference)


def test_one_wrong_weight_is_found_where_it_first_acts():
    simulated = draw(chip("square"), 107)
    program, weights = simulated.program, simulated.program.weights.copy()
    c, axon = _first_active_axon(simulated)
    weights[c, axon, 0] ^= 1
    other = replace(simulated, program=replace(program, weights=weights))
    case = Case(program, simulated.payloads, simulated.timesteps)
    difference = compare_samples(case, other.run, build("square"))
    ours, theirs = (one.record(0).retires for one in (simulated, other))
    k, _, core = ours[np.flatnonzero((ours != theirs).any(axis=1))[0], :3].tolist()
    assert core == c
    assert difference is not None
    assert (difference.sample, difference.timestep) == (0, k)
    assert compare_samples(case, simulated.run, build("square")) is None


def _first_active_axon(simulated: Simulated) -> tuple[int, int]:
    """Return a core with a membrane, and an axon of it to which the host sends in the first timestep."""
    program, mesh = simulated.program, simulated.program.config.many_core.network
    for i, value in enumerate(simulated.payloads[0, 0].tolist()):
        first, last = program.input_offset[i : i + 2].tolist()
        for port, dx, dy, axon, _ in program.input_routes[first:last].tolist() if value else ():
            place = (dx, mesh.host_rows[port] + dy)
            for c, own in enumerate(zip(program.register("x"), program.register("y"), strict=True)):
                if own == place and program.register("kind")[c] in MEMBRANE_KINDS:
                    return c, axon
    raise AssertionError("no core with a membrane has an input")


@pytest.mark.parametrize("tool", ["g++", "make", "perl"])
def test_a_missing_tool_is_named(program, tool, monkeypatch):
    found = building.shutil.which
    monkeypatch.setattr(
        building.shutil, "which", lambda name: None if name == tool else found(name)
    )
    with pytest.raises(ToolError, match=rf"needs {tool.replace('+', '[+]')}.*apt-get install"):
        spikeloom.verify(program, {"inputs": INPUTS.astype(float)}, verilog=verilog("single"))


def test_a_foreign_or_missing_program_is_refused(tmp_path):
    np.savez(tmp_path / "data.npz", inputs=INPUTS.astype(float))
    (tmp_path / "net.chip").write_bytes(b"no program")
    for name in ("net.chip", "none.chip"):
        done = CliRunner().invoke(
            app, ["verify", str(tmp_path / name), str(tmp_path / "data.npz")], catch_exceptions=True
        )
        assert isinstance(done.exception, ValueError)


def test_configurations_that_the_rtl_cannot_carry_are_refused(tmp_path):
    config = chip("single").replace(core={"accumulator_bits": 50, "decay_bits": 12})
    with pytest.raises(
        ValueError, match=r"accumulator_bits \+ decay_bits must be at most 54, not 50 \+ 12"
    ):
        spikeloom.verilog(config, tmp_path / "rtl")
    assert not (tmp_path / "rtl").exists()


def test_verilog_is_written_whole_or_not_at_all(tmp_path):
    emitted = spikeloom.verilog(chip("single"), tmp_path / "rtl")
    assert emitted.top == "spikeloom_chip"
    assert {path.name for path in (tmp_path / "rtl").iterdir()} == set(emitted.files)
    assert {"filelist.f", "README.md", "spikeloom_tile.v"} <= set(emitted.files)
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("not Verilog")
    with pytest.raises(OSError, match=r"thesis\.txt"):
        spikeloom.verilog(chip("single"), mine)
    assert [path.name for path in mine.iterdir()] == ["thesis.txt"]


def test_a_host_that_cannot_keep_up_is_no_fault_of_the_chip():
    simulated = draw(chip("ports"), 200, (40, 4))  # more flits a timestep than its queues hold
    case = Case(simulated.program, simulated.payloads, simulated.timesteps)
    difference = compare_samples(case, simulated.run, build("ports"))
    assert difference is not None
    assert (difference.unit, difference.x, difference.cycle) == ("host", None, None)
    assert "network.host_queue_flits, 5; give the chip longer queues" in difference.rtl
