"""`verify`: the generated Verilog and the simulator run the same samples; every event and every cycle must be equal."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from .chip.events import CORE_EVENT_INDEX
from .chip.program import ManyCoreProgram
from .chip.program_file import load_program
from .comparing import HOST, Case, Difference, compare_samples, locate
from .data import input_shapes, load_arrays, shape_samples, to_payloads
from .hw.cosim.build import build_model, find_tools
from .hw.verilog import emit_chip
from .sim.run import run_many_core
from .waves import write_waves

Progress = Callable[[str], None]
WAVE_TIMESTEPS = 4


class Verification(BaseModel):
    """What a comparison found: the first ``difference`` or None, and how much was compared.

    ``cycles`` are chip cycles of the samples compared, up to and with the one that differs; ``signatures`` the
    registers compared in them, one per unit and chip timestep. ``retires`` (neuron updates) and ``transfers`` (flits
    at outputs of routers) are what those of all samples have absorbed.
    """

    model_config = ConfigDict(frozen=True)

    network: str
    chip: str
    config_hash: str
    samples: int
    timesteps: int
    cycles: int
    retires: int
    transfers: int
    signatures: int
    build_s: float
    rtl_s: float
    simulator_s: float
    difference: Difference | None = None

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
            ("samples", f"{self.samples}, {self.timesteps} timesteps each"),
            ("cycles compared", f"{self.cycles:,}"),
            ("neuron updates", f"{self.retires:,}"),
            ("flits at router outputs", f"{self.transfers:,}"),
            ("signatures", f"{self.signatures:,}, one per unit and chip timestep"),
            ("time", f"build {self.build_s:.1f} s, RTL {self.rtl_s:.1f} s, simulator {self.simulator_s:.2f} s"),
        )  # fmt: skip


def verify(
    program: str | Path | ManyCoreProgram,
    data: str | Path | dict[str, NDArray[Any]],
    *,
    timesteps: int | None = None,
    encode: str = "none",
    samples: int = 4,
    seed: int = 0,
    verilog: dict[str, str] | None = None,
    waves: str | Path | None = None,
    progress: Progress | None = None,
) -> Verification:
    """Run samples on the generated Verilog, simulated by Verilator, and on the simulator, and compare them.

    Each unit's signature (chip/signature.py) is read after every chip timestep, so that every retired neuron, every
    flit at every output of a router, and their cycles are compared; beside them the length of every timestep, every
    output and every counter. A chip without signature registers is given them for this. Where something differs,
    both machines run again and record the events of that timestep.

    Parameters
    ----------
    program, data, timesteps, encode, seed
        As for `spikeloom.run`.
    samples
        How many of the data's samples to run.
    verilog
        Verilog to verify instead of what is generated here: file name -> text, as `spikeloom.hw.verilog.emit_chip`
        returns it, monitors included.
    waves
        Folder for waves (VCD, with a save file for GTKWave) of the timestep with the first difference, and the one
        before; of the first `WAVE_TIMESTEPS` of the first sample if there is none.
    progress
        Called with a sentence now and then.

    Raises
    ------
    ProgramError, ValueError
        The input is wrong, or the RTL cannot carry the chip's configuration.
    CosimError
        A tool is missing, or the Verilog could not be built or run.
    """
    tell = progress or (lambda _: None)
    if not isinstance(program, ManyCoreProgram):
        program = load_program(program)
    if not program.config.many_core.signatures:
        tell("the chip is given signature registers, which change nothing else")
        signed = program.config.replace(many_core={"signatures": True})
        program = dataclasses.replace(program, config=signed)
    config = program.config
    arrays = data if isinstance(data, dict) else load_arrays(data)
    shaped = shape_samples(
        arrays, input_shapes(program.inputs), timesteps=timesteps, encoder=encode, samples=samples, seed=seed,
        where="the data" if isinstance(data, dict) else str(data),
    )  # fmt: skip
    payloads, _ = to_payloads(program, shaped)
    case = Case(program, payloads, shaped.timesteps)

    find_tools()
    tell("the Verilog is generated")
    verilog = verilog or emit_chip(config, trace=True)
    build = build_model(verilog, progress=progress)
    tell("the simulator runs")
    began = time.perf_counter()
    simulated = run_many_core(
        program, payloads, case.timesteps, signatures=True, record_outputs=True
    )
    simulator_s = time.perf_counter() - began
    began = time.perf_counter()
    difference = compare_samples(
        case, simulated, build, sample_done=lambda s: tell(f"sample {s + 1} of {len(payloads)} is equal")
    )  # fmt: skip
    rtl_s = time.perf_counter() - began
    if difference is not None and difference.unit != HOST:
        tell("the machines differ: both run again to the first event that does")
        difference = locate(case, build, difference)
    if waves is not None:
        tell("the Verilog is built again and run for its waves")
        sample, last = (
            (0, WAVE_TIMESTEPS - 1)
            if difference is None
            else (difference.sample, difference.timestep)
        )
        first = 0 if difference is None else max(last - 1, 0)
        write_waves(case, verilog, Path(waves), sample, first, last)
    done = len(payloads) if difference is None else difference.sample + 1
    return Verification(
        network=str(program.meta.get("network", "network")),
        chip=config.name,
        config_hash=config.config_hash,
        samples=done,
        timesteps=case.timesteps,
        cycles=int(simulated.cycles[:done].sum()),
        retires=int(simulated.core_counters[:, CORE_EVENT_INDEX["neuron_updates"]].sum()),
        transfers=int(simulated.router_counters.sum()),
        signatures=simulated.signatures[:done].size,
        build_s=build.seconds,
        rtl_s=rtl_s,
        simulator_s=simulator_s,
        difference=difference,
    )
