"""`verify` for the learning engines: the generated Verilog and the simulator train the same steps, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from .chip.config import ChipConfig
from .chip.learn_memory import MemoryMap
from .chip.learn_network import LearnError, Parameters
from .chip.learn_program import LearnProgram
from .chip.learn_program_file import load_learn_program
from .chip.learn_stalls import STALL_PERIOD
from .compiler.learn_commands import learn_commands
from .data import load_arrays
from .errors import InputError
from .hw.cosim.build import Build, build_model
from .hw.cosim.learn_bench import BENCH_ROWS, LearnBench
from .hw.cosim.verilated import MOST_CYCLES, VerilatedTransport
from .hw.verilog import emit
from .learn_comparing import Batches, LearnDifference, Stalls, StepComparison
from .training import prepare_data

__all__ = [
    "BENCH_MODULE", "LearnVerification", "build_learn_bench", "emit_learn_bench", "is_learn_program", "verify_steps",
    "verify_training",
]  # fmt: skip

BENCH_MODULE = "spikeloom_learn_bench"
Progress = Callable[[str], None]


class LearnVerification(BaseModel):
    """What a comparison found: the first ``difference`` or None, and how much was compared."""

    model_config = ConfigDict(frozen=True)

    network: str
    chip: str
    config_hash: str
    steps: int
    tasks: int
    cycles: int
    rows_stored: int
    build_s: float
    rtl_s: float
    simulator_s: float
    difference: LearnDifference | None = None

    @property
    def ok(self) -> bool:
        """Whether the machines agreed in everything."""
        return self.difference is None

    @property
    def rows(self) -> tuple[tuple[str, str], ...]:
        """The verdict as rows to print."""
        verdict = "equal" if self.difference is None else f"DIFFERENT: {self.difference}"
        return (
            ("what", "value"),
            ("verdict", verdict),
            ("network on chip", f"{self.network} on {self.chip} ({self.config_hash})"),
            ("training steps", f"{self.steps}"),
            ("tasks", f"{self.tasks:,}, each by its start and its end"),
            ("cycles compared", f"{self.cycles:,}"),
            ("rows stored", f"{self.rows_stored:,}, each by its place, its content and its turn"),
            ("time", f"build {self.build_s:.1f} s, RTL {self.rtl_s:.1f} s, simulator {self.simulator_s:.2f} s"),
        )  # fmt: skip


def emit_learn_bench(config: ChipConfig) -> dict[str, str]:
    """Return the Verilog of a chip with `BENCH_ROWS` of memory beside it, of the top `BENCH_MODULE`."""
    title = f"{config.name}, configuration {config.config_hash}"
    return emit(LearnBench(config), BENCH_MODULE, title)


def build_learn_bench(config: ChipConfig, progress: Progress | None = None) -> Build:
    """Return a simulator of `emit_learn_bench`, built unless it is cached."""
    return build_model(emit_learn_bench(config), BENCH_MODULE, progress=progress)


def is_learn_program(path: str | Path) -> bool:
    """Return whether a file is a training step's, by its name."""
    return Path(path).suffix == ".learn"


def verify_training(
    program: str | Path,
    data: str | Path | dict[str, NDArray[Any]],
    *,
    steps: int = 2,
    stalls: int = 0,
    seed: int = 0,
    progress: Progress | None = None,
) -> LearnVerification:
    """Verify a training step's file on the first samples of some data; see `verify_steps`.

    Parameters
    ----------
    program
        A file of `spikeloom train --program`.
    data
        File or arrays as for `train`; they must hold enough for all steps, in the range of the file's.
    steps
        To train.
    stalls, seed
        In how many of 256 cycles the memory accepts nothing, drawn from the seed.

    Raises
    ------
    InputError, ConfigError, LearnError
        What is given is wrong, or the RTL does not carry it.
    CosimError, HostLinkError
        The Verilog could not be built or run, or the chip reported an error.
    """
    if steps < 1:
        raise InputError(f"steps must be at least 1, not {steps}")
    if not 0 <= stalls <= 255:
        raise InputError(f"stalls must be within 0..255 of 256 cycles, not {stalls}")
    step, parameters = load_learn_program(program)
    where = "the data" if isinstance(data, dict) else str(data)
    arrays = data if isinstance(data, dict) else load_arrays(data)
    prepared = prepare_data(arrays, step.network.input.shape, step.recipe.timesteps, where=where)
    if prepared.format != step.network.input:
        raise InputError(
            f"{where} differs in the range or the kind of its numbers from what the step was compiled for"
        )
    needed = steps * step.batch
    if len(prepared.labels) < needed:
        raise InputError(
            f"{where}: {steps} steps of {step.batch} samples need {needed}, it holds {len(prepared.labels)}"
        )
    batches = [
        (prepared.inputs[first : first + step.batch], prepared.labels[first : first + step.batch])
        for first in range(0, needed, step.batch)
    ]
    pauses = Stalls(seed % STALL_PERIOD + 1, stalls)
    return verify_steps(step, parameters, batches, stalls=pauses, progress=progress)


def verify_steps(
    program: LearnProgram,
    parameters: Parameters,
    batches: Batches,
    *,
    stalls: Stalls | None = None,
    stalls_seed: int | None = None,
    build: Build | None = None,
    most_cycles: int = MOST_CYCLES,
    progress: Progress | None = None,
) -> LearnVerification:
    """Train steps on the generated Verilog, simulated by Verilator, and on the simulator, and compare them.

    After each step signatures are compared (chip/learn_signature.py): of every queue, by which each task has started
    and ended in the same cycle, and of the memory, by which every row that was stored is the same: membranes, spikes,
    masks, logits, all gradients, momenta and weights. Where they differ the memory is read, and the first value that
    differs is named; so it is after the last step, and where the chip has no signatures.

    Parameters
    ----------
    program : LearnProgram
        That the RTL carries (`learn_commands`).
    parameters : Parameters
        Weights to start from; moved in place, by the simulator.
    batches : sequence of (inputs, labels)
        A step each, as for `TrainingMachine.step`.
    stalls : Stalls, optional
        Of the memory, modelled on both sides; none by default.
    stalls_seed : int, optional
        Of the host's pauses, on both streams.
    build : Build, optional
        A simulator of `build_learn_bench` with `BENCH_ROWS`.
    most_cycles : int
        That a step may take; then the state of every queue is told.
    progress : callable, optional
        Called with a sentence now and then.

    Raises
    ------
    ConfigError, LearnError
        The RTL does not carry this.
    CosimError, HostLinkError
        The Verilog could not be built or run, or the chip reported an error.
    """
    needed = MemoryMap(program.config.learn, program.network, program.recipe, program.batch).rows
    learn_commands(program)  # refused before anything is built
    if needed > BENCH_ROWS:
        raise LearnError(
            f"a step needs {needed} rows of memory, and the bench has {BENCH_ROWS}; take a smaller batch"
        )
    build = build or build_learn_bench(program.config, progress)
    with VerilatedTransport(build, stalls_seed) as transport:
        comparison = StepComparison(program, parameters, transport, stalls, most_cycles)
        difference = comparison.run(batches, progress or (lambda _: None))
    return LearnVerification(
        network=program.network.name, chip=program.config.name, config_hash=program.config.config_hash,
        steps=comparison.steps, tasks=comparison.steps * len(program.tasks), cycles=comparison.cycles,
        rows_stored=comparison.stored, build_s=build.seconds, rtl_s=comparison.rtl_s,
        simulator_s=comparison.simulator_s, difference=difference,
    )  # fmt: skip
