"""`verilog`: a chip's Verilog in a folder."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .chip.config import ChipConfig
from .chip.program_file import load_program
from .compiling import resolve_chip
from .hw.verilog import CHIP_MODULE
from .hw.verilog_folder import write_verilog


@dataclass(frozen=True)
class EmittedVerilog:
    """What was written: name of each file in ``folder`` -> its lines; ``top`` is the top module."""

    chip: str
    config_hash: str
    folder: str
    top: str
    files: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return asdict(self)


def verilog(
    chip: str | Path | ChipConfig,
    folder: str | Path,
    *,
    program: str | Path | None = None,
    timesteps: int = 1,
    trace: bool = False,
) -> EmittedVerilog:
    """Write the Verilog of a chip, with a file list and a README; all of it or nothing.

    Parameters
    ----------
    chip
        A preset, a YAML file or a configuration.
    folder
        New, empty, or written by this function before; then it is replaced.
    program
        A program file for this chip: its memory images are added, for samples of ``timesteps``.
    trace
        Add monitors, which print events in simulation.

    Raises
    ------
    ConfigError, ProgramError, ValueError
        The chip or the program is wrong, or the RTL cannot carry the configuration.
    OSError
        The folder holds something else, or cannot be written.
    """
    config = resolve_chip(chip)
    loaded = None if program is None else load_program(program, config)
    paths = write_verilog(config, Path(folder), program=loaded, timesteps=timesteps, trace=trace)
    root = Path(folder).absolute()
    lines = {
        str(path.relative_to(root)): path.read_text(encoding="utf-8").count("\n") for path in paths
    }
    return EmittedVerilog(config.name, config.config_hash, str(folder), CHIP_MODULE, lines)
