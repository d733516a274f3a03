"""The file of a many-core's program."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from .archive import Archive, ArchiveKind, read_archive, write_archive
from .config import ChipConfig
from .program import (
    PROGRAM_ARRAYS,
    InputInfo,
    LayerInfo,
    ManyCoreProgram,
    ProgramError,
    check_program,
    weight_dtype,
)

FORMAT = "spikeloom-many-core-program"
VERSION = 1
_KIND = ArchiveKind(FORMAT, VERSION, "a many-core program", "spikeloom compile", ProgramError)


def save_program(program: ManyCoreProgram, path: str | Path) -> None:
    """Write ``program`` to ``path`` at once: a temporary file beside it is renamed when it is complete.

    The same program gives the same bytes. Raises OSError if the folder cannot be written.
    """
    check_program(program)
    fields = {
        "inputs": [asdict(item) for item in program.inputs],
        "layers": [asdict(item) for item in program.layers],
        "outputs": list(program.outputs),
        "steps_per_timestep": program.steps_per_timestep,
        "meta": program.meta,
    }
    arrays = {
        name: np.ascontiguousarray(getattr(program, name), dtype=dtype)
        for name, dtype in PROGRAM_ARRAYS.items()
    }
    write_archive(path, _KIND, program.config, arrays, fields)


def load_program(path: str | Path, config: ChipConfig | None = None) -> ManyCoreProgram:
    """Read and check a program file.

    Parameters
    ----------
    path
        File written by `save_program`.
    config
        If given, the chip that is to run it: a program for another configuration is refused.

    Raises
    ------
    ProgramError
        If the file is missing, truncated, altered, of another version or for another chip.
    """
    return read_archive(path, _KIND, _assemble, config)


def _assemble(archive: Archive) -> ManyCoreProgram:
    config, manifest = archive.config, archive.manifest
    arrays: dict[str, Any] = {
        name: archive.array(name, dtype or weight_dtype(config.many_core.core.weight_bits))
        for name, dtype in PROGRAM_ARRAYS.items()
    }
    program = ManyCoreProgram(
        config=config,
        **arrays,
        inputs=tuple(
            InputInfo(
                str(item["name"]), _ints(item["shape"]), float(item["scale"]), bool(item["signed"]),
                int(item["max_payload"]),
            )
            for item in manifest["inputs"]
        ),
        layers=tuple(
            LayerInfo(
                str(item["name"]), str(item["kind"]), _ints(item["shape"]), bool(item["spiking"]), int(item["depth"]),
                _ints(item["cores"]), _ints(item["partial_cores"]), dict(item["notes"]),
            )
            for item in manifest["layers"]
        ),
        outputs=tuple(str(name) for name in manifest["outputs"]),
        steps_per_timestep=int(manifest["steps_per_timestep"]),
        meta=dict(manifest["meta"]),
    )  # fmt: skip
    check_program(program)
    return program


def _ints(values: Any) -> tuple[int, ...]:
    return tuple(int(value) for value in values)
