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
        _save(GTKWSave(file), case.program.config)
    return [folder / WAVES, folder / SAVE]


def _save(save: GTKWSave, config: ChipConfig) -> None:
    """Group the signals by tile; those with a core in use first seen, the others closed."""
    network = config.many_core.network
    save.dumpfile(WAVES)
    save.treeopen("TOP.")
    with save.group("chip"):
        for name in _OF_CHIP:
            save.trace(f"TOP.spikeloom_chip.{name}")
    for y in range(network.rows):
        for x in range(network.columns):
            with save.group(f"tile {x}, {y}", closed=(x, y) != (0, 0)):
                for name in (*_OF_TILE, *(f"router.{port}_out__valid" for port in PORTS)):
                    save.trace(f"TOP.spikeloom_chip.mesh.tile_{x}_{y}.{name}")
