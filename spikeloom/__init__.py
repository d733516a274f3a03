"""spikeloom: trained spiking networks on a simulated neuromorphic chip, cycle for cycle.

    import spikeloom
    program = spikeloom.compile("net.nir", "tianjic", convention="snntorch").program
    result = spikeloom.run(program, "digits.npz", timesteps=8)
    print(result.accuracy, result.latency_s, result.energy_j["total"])

Each command has a function of the same name here; they are imported when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .calibrating import calibrate
    from .chip.config import load_config
    from .chip.program_file import load_program
    from .compiling import check
    from .compiling import compile_nir as compile
    from .demonstration import demo
    from .diffing import diff
    from .emitting import verilog
    from .learn_results import step_result, training_result
    from .learning import compare, dry_run, train
    from .reporting import report
    from .running import run
    from .showing import show
    from .sweeping.sweep import sweep
    from .synthesising import area, fpga
    from .tracing import trace
    from .training import train_step
    from .verifying import verify

_PLACES = {
    "area": ("synthesising", "area"),
    "calibrate": ("calibrating", "calibrate"),
    "check": ("compiling", "check"),
    "compare": ("learning", "compare"),
    "compile": ("compiling", "compile_nir"),
    "dry_run": ("learning", "dry_run"),
    "demo": ("demonstration", "demo"),
    "diff": ("diffing", "diff"),
    "fpga": ("synthesising", "fpga"),
    "load_config": ("chip.config", "load_config"),
    "load_program": ("chip.program_file", "load_program"),
    "report": ("reporting", "report"),
    "run": ("running", "run"),
    "show": ("showing", "show"),
    "step_result": ("learn_results", "step_result"),
    "sweep": ("sweeping.sweep", "sweep"),
    "trace": ("tracing", "trace"),
    "train": ("learning", "train"),
    "train_step": ("training", "train_step"),
    "training_result": ("learn_results", "training_result"),
    "verify": ("verifying", "verify"),
    "verilog": ("emitting", "verilog"),
}

__all__ = [
    "area",
    "calibrate",
    "check",
    "compare",
    "compile",
    "demo",
    "diff",
    "dry_run",
    "fpga",
    "load_config",
    "load_program",
    "report",
    "run",
    "show",
    "step_result",
    "sweep",
    "trace",
    "train",
    "train_step",
    "training_result",
    "verify",
    "verilog",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'spikeloom' has no attribute {name!r}")
    module, attribute = _PLACES[name]
    value = getattr(import_module(f".{module}", __name__), attribute)
    globals()[name] = value
    return value
