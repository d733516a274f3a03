"""`compile` and `check`: from a .nir file to a program, or to the list of what stands in its way."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .chip.config import ChipConfig, ConfigError, load_config
from .chip.program import ManyCoreProgram
from .chip.program_file import save_program
from .compiler.fit import DoesNotFit, Resources
from .compiler.frontend import Loaded, load_with_records
from .compiler.nir_file import NetworkError
from .compiler.pipeline import compile_network
from .data import load_arrays, shape_samples
from .errors import InputError

CONVENTIONS = ("auto", "nir", "snntorch", "spikingjelly", "norse", "sinabs")

# Samples of the calibration data that are used: drawn by the seed if there are more.
CALIBRATION_SAMPLES = 128


@dataclass(frozen=True)
class PassReport:
    """What one pass did: its name, one line, and details, a line each."""

    name: str
    summary: str
    details: tuple[str, ...]


@dataclass(frozen=True)
class Compilation:
    """A compiled network: the program, the report of each pass, the resources asked and had."""

    program: ManyCoreProgram
    passes: tuple[PassReport, ...]
    resources: Resources

    def save(self, path: str | Path) -> None:
        """Write the program file at once; an earlier file stays until the new one is complete."""
        save_program(self.program, path)


@dataclass(frozen=True)
class CheckReport:
    """Whether a network can be compiled for a chip, and if not, why. Nothing is written.

    ``problems`` are sentences; ``notes`` say what was assumed and what is lossy; ``resources`` is None where the
    check did not get
    that far.
    """

    network: str
    chip: str
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    convention: dict[str, str]
    resources: Resources | None

    @property
    def ok(self) -> bool:
        """Whether nothing stands in the way."""
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return {
            "ok": self.ok,
            "network": self.network,
            "chip": self.chip,
            "problems": list(self.problems),
            "notes": list(self.notes),
            "convention": self.convention,
            "resources": None if self.resources is None else self.resources.to_list(),
        }


def resolve_chip(chip: str | Path | ChipConfig) -> ChipConfig:
    """Return the configuration that a preset's name, a YAML file or a configuration stands for."""
    return chip if isinstance(chip, ChipConfig) else load_config(chip)


def compile_nir(
    network: str | Path,
    chip: str | Path | ChipConfig,
    *,
    convention: str = "auto",
    reset: str | None = None,
    reset_timing: str | None = None,
    compare: str | None = None,
    dt: float | None = None,
    recurrent_bias: bool | None = None,
    calibrate: str | Path | dict[str, NDArray[Any]] | None = None,
    timesteps: int | None = None,
    encode: str = "none",
    weight_bits: int | None = None,
    ternary: bool = False,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> Compilation:
    """Compile a NIR file for a chip.

    Parameters
    ----------
    network
        The .nir file.
    chip
        A preset's name, a YAML file, or a configuration.
    convention, reset, reset_timing, compare, dt, recurrent_bias
        How the file's neurons are to be read, see `compiler.conventions.Convention`; None keeps its default.
        ``recurrent_bias`` tells whether the bias of a recurrent transform acts in the first timestep.
    calibrate
        Samples that show the ranges of inputs and membranes: a data.npz or its arrays; ``timesteps`` and ``encode``
        say how they are
        presented, as for `run`.
    weight_bits, ternary
        Narrower weights: 4 or 2 bits, or -1, 0, 1 in 2 bits; by default the chip's full width.
    seed
        Of placement and of the choice of calibration samples.
    progress
        Called with the name of each pass as it begins.

    Raises
    ------
    InputError, NetworkError, ConfigError, DoesNotFit, ValueError
        Sentences: what is wrong, where, what to do.
    """
    config = resolve_chip(chip)
    _tell(progress, "import")
    loaded = load_nir(network, convention, reset, reset_timing, compare, dt, recurrent_bias)
    calibration = None
    if calibrate is not None:
        calibration = calibration_values(loaded, calibrate, timesteps, encode, seed)
    compiled = compile_network(
        loaded.network,
        config,
        calibration=calibration,
        weight_bits=weight_bits,
        ternary=ternary,
        seed=seed,
        progress=progress,
    )
    about = {
        "network": Path(network).stem,
        "network_sha256": _sha256(network),
        "parameters": loaded.parameters.to_dict(),
        "seed": seed,
    }
    program = replace(compiled.program, meta=compiled.program.meta | about)
    passes = tuple(PassReport(p.name, p.summary, p.details) for p in loaded.passes) + tuple(
        PassReport(p.name, p.summary, tuple(f"{k}: {_plain(v)}" for k, v in p.details.items()))
        for p in compiled.records
    )
    return Compilation(program, passes, compiled.resources)


def check(
    network: str | Path,
    chip: str | Path | ChipConfig,
    *,
    convention: str = "auto",
    reset: str | None = None,
    reset_timing: str | None = None,
    compare: str | None = None,
    dt: float | None = None,
    recurrent_bias: bool | None = None,
    seed: int = 0,
) -> CheckReport:
    """Say whether a NIR file compiles for a chip, what is assumed or lossy, and the resources asked and had.

    Raises
    ------
    InputError, ConfigError
        If the file or the chip's configuration cannot be read at all.
    """
    config = resolve_chip(chip)
    name = Path(network).stem
    if not Path(network).is_file():
        raise InputError(f"{network} does not exist or is no file; give a .nir file")
    try:
        loaded = load_nir(network, convention, reset, reset_timing, compare, dt, recurrent_bias)
    except NetworkError as error:
        return CheckReport(name, config.name, (str(error),), (), {}, None)
    network_notes, stated = loaded.network.notes, loaded.network.convention
    try:
        compiled = compile_network(loaded.network, config, seed=seed)
    except ConfigError:
        raise
    except ValueError as error:
        return CheckReport(name, config.name, (str(error),), network_notes, stated, None)
    notes = tuple(dict.fromkeys((*network_notes, *compiled.quantised.notes)))
    return CheckReport(name, config.name, (), notes, stated, compiled.resources)


def calibration_values(
    loaded: Loaded,
    calibrate: str | Path | dict[str, NDArray[Any]],
    timesteps: int | None,
    encode: str,
    seed: int,
) -> NDArray[np.float64]:
    """Return up to `CALIBRATION_SAMPLES` samples as (samples, timesteps, inputs), drawn by the seed."""
    arrays = calibrate if isinstance(calibrate, dict) else load_arrays(calibrate)
    where = "the calibration data" if isinstance(calibrate, dict) else str(calibrate)
    count = max((len(a) for a in arrays.values() if a.ndim), default=0)
    if count > CALIBRATION_SAMPLES:
        pick = np.sort(np.random.default_rng(seed).permutation(count)[:CALIBRATION_SAMPLES])
        arrays = {name: a[pick] for name, a in arrays.items() if a.ndim and len(a) == count}
    shapes = tuple((item.name, item.shape) for item in loaded.network.inputs)
    return shape_samples(
        arrays, shapes, timesteps=timesteps, encoder=encode, seed=seed, where=where
    ).unfolded()


def load_nir(
    network: str | Path,
    convention: str = "auto",
    reset: str | None = None,
    reset_timing: str | None = None,
    compare: str | None = None,
    dt: float | None = None,
    recurrent_bias: bool | None = None,
) -> Loaded:
    """Read a NIR file to the compiler's normal form; the options are those of `compile_nir`."""
    if convention not in CONVENTIONS:
        raise InputError(f"convention must be one of {', '.join(CONVENTIONS)}, not {convention!r}")
    return load_with_records(
        network,
        convention,
        reset=reset,
        reset_timing=reset_timing,
        compare=compare,
        dt=dt,
        recurrent_bias_at_start=recurrent_bias,
    )


def _sha256(path: str | Path) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]


def _tell(progress: Callable[[str], None] | None, name: str) -> None:
    if progress is not None:
        progress(name)


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        return ", ".join(f"{k} {_plain(v)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return "; ".join(_plain(v) for v in value)
    return str(value)


__all__ = [
    "CONVENTIONS",
    "CheckReport",
    "Compilation",
    "DoesNotFit",
    "PassReport",
    "check",
    "compile_nir",
    "load_nir",
    "resolve_chip",
]
