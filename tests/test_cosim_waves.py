"""Waves made from the simulator's events are those that Verilator writes of the Verilog, cycle by cycle."""

from __future__ import annotations

from pathlib import Path

from spikeloom.comparing import Case
from spikeloom.event_waves import TOP, signals, write_event_waves
from spikeloom.sim.trace import record_sample
from spikeloom.waves import write_waves
from tests.support.cosim_chips import chip, verilog
from tests.support.cosim_stimulus import draw
from tests.support.vcd_file import VcdFile

TIMESTEPS = 3
SEEDS = (101, 103, 106)  # activations, spikes, and membranes of an input that is held


def test_every_known_value_is_that_of_the_verilog(tmp_path):
    seen: set[str] = set()
    for seed in SEEDS:
        seen |= compare(seed, tmp_path / str(seed))
    active = {name.rpartition(".")[2] for name in seen}
    assert {"start", "slot", "computing", "retire", "busy", "hops"} <= active
    assert {"retire_neuron", "retire_output", "retire_v_mem"} <= active
    assert {"local_out__payload", "north_out__payload"} <= active


def compare(seed: int, folder: Path) -> set[str]:
    """Hold the first timesteps of a random sample against the Verilog; return the signals that were not always 0."""
    drawn = draw(chip("single"), seed)
    case = Case(drawn.program, drawn.payloads, drawn.timesteps)
    rtl_file, _ = write_waves(case, verilog("single"), folder / "rtl", 0, 0, TIMESTEPS - 1)
    record = record_sample(drawn.program, drawn.payloads[0], drawn.timesteps, 0, TIMESTEPS)
    our_file, _ = write_event_waves(drawn.program, record, folder / "ours", 0, 0, TIMESTEPS)
    rtl, ours = VcdFile(rtl_file), VcdFile(our_file)
    names = [f"{TOP}.{name}" for name in signals(drawn.program)]
    assert {name: rtl.widths[name] for name in names} == {name: ours.widths[name] for name in names}
    starts = rtl.rises(f"{TOP}.mesh.start"), ours.rises(f"{TOP}.mesh.start")
    assert len(starts[0]) == len(starts[1]) == TIMESTEPS
    lengths = record.cycles[:TIMESTEPS].copy()
    lengths[0] -= drawn.program.config.many_core.sample_reset_cycles
    seen: set[str] = set()
    for in_rtl, in_ours, length in zip(*starts, lengths.tolist(), strict=True):
        for time in range(0, 2 * length, 2):
            for name in names:
                value = ours.at(name, in_ours + time)
                if value is not None:
                    assert rtl.at(name, in_rtl + time) == value, (name, in_ours + time)
                    seen |= {name} if value else set()
    return seen
