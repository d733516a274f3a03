"""Waves of a few chip timesteps of the Verilog, and a save file for a viewer."""

from __future__ import annotations

from pathlib import Path

from vcd.gtkw import GTKWSave

from .chip.config import ChipConfig
from .chip.events import PORTS
from .comparing import Case
from .hw.cosim.build import build_model
from .hw.cosim.verilated import VerilatedTransport
from .hw.driver import HostDriver

WAVES, SAVE = "waves.vcd", "waves.gtkw"

TOP = "TOP.spikeloom_chip"

# Signals of the save file: of the chip, and of each tile.
_OF_CHIP = ("clk", "s_axis_tvalid", "s_axis_tready", "m_axis_tvalid", "m_axis_tready", "mesh.start")
_OF_TILE = (
    "core.schedule.start", "core.schedule.slot", "core.schedule.computing", "core.schedule.step", "core.soma.retire",
    "core.soma.retire_neuron", "core.soma.retire_output", "core.soma.retire_v_mem", "core.sender.busy", "quiet",
)  # fmt: skip


def write_waves(
    case: Case, verilog: dict[str, str], folder: Path, sample: int, first: int, last: int
) -> list[Path]:
    """Run the Verilog up to a sample and write the waves of its chip timesteps ``first`` to ``last``.

    Writes ``waves.vcd`` (a cycle is two units of time) and ``waves.gtkw``, which GTKWave opens. Every copy of a module
    is compiled for it, so this is for small chips. Returns the files.

    Raises
    ------
    OSError
        The folder cannot be written.
    CosimError
        A tool is missing, or the Verilog could not be built or run.
    """
    folder.mkdir(parents=True, exist_ok=True)
    build = build_model(verilog, waves=True)
    part = folder / f"{WAVES}.part"
    try:
        with VerilatedTransport(build, waves_file=part) as transport:
            driver = HostDriver(case.program.config, transport)
            driver.load(case.program, case.timesteps)
            for payload in case.payloads[:sample]:
                driver.run_sample(payload, held=case.held)
            transport.waves(first == 0)
            driver.run_sample(
                case.payloads[sample],
                held=case.held,
                after_timestep=lambda k: transport.waves(first <= k + 1 <= last),
            )
        part.replace(folder / WAVES)
    finally:
        part.unlink(missing_ok=True)
    with (folder / SAVE).open("w", encoding="utf-8") as file:
        _save(GTKWSave(file), folder / WAVES, case.program.config)
    return [folder / WAVES, folder / SAVE]


def _save(save: GTKWSave, waves: Path, config: ChipConfig) -> None:
    """Write a group of signals for the chip and one for each tile, of which only the first is open."""
    network = config.many_core.network
    signals = _signals(waves)
    save.dumpfile(str(waves.absolute()))
    save.dumpfile_size(waves.stat().st_size)
    groups = {"chip": [f"{TOP}.{name}" for name in _OF_CHIP]}
    for y in range(network.rows):
        for x in range(network.columns):
            names = (*_OF_TILE, *(f"router.{port}_out__valid" for port in PORTS))
            groups[f"tile {x}, {y}"] = [f"{TOP}.mesh.tile_{x}_{y}.{name}" for name in names]
    for place, (title, names) in enumerate(groups.items()):
        with save.group(title, closed=place > 1):
            for name in names:
                save.trace(signals[name])


def _signals(waves: Path) -> dict[str, str]:
    """Return path -> path with the range of its bits, as viewers name it, of every signal in a VCD."""
    found, scopes = {}, []
    with waves.open(encoding="utf-8") as lines:
        for line in lines:
            words = line.split()
            if words[:1] == ["$scope"]:
                scopes.append(words[2])
            elif words[:1] == ["$upscope"]:
                scopes.pop()
            elif words[:1] == ["$var"]:
                found[".".join((*scopes, words[4]))] = ".".join((*scopes, "".join(words[4:-1])))
            elif words[:1] == ["$enddefinitions"]:
                break
    return found
