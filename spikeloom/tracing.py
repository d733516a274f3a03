"""`trace`: what each core and link of a many-core does cycle by cycle, as a Chrome trace, and as waves of a window."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from .chip.program import ManyCoreProgram
from .chip.program_file import load_program
from .data import input_shapes, load_arrays, shape_samples, to_payloads
from .errors import InputError
from .event_waves import write_event_waves
from .intervals import compute_intervals, send_intervals
from .reports.core_trace import SampleActivity, core_trace
from .reports.trace_events import save_trace
from .sim.trace import EventRecord, record_sample


@dataclass(frozen=True)
class Traced:
    """What `trace` wrote: the trace, how many slices it has, and the files of waves."""

    trace: dict[str, Any]
    files: tuple[Path, ...]

    @property
    def slices(self) -> int:
        """Slices of the trace."""
        return sum(event["ph"] == "X" for event in self.trace["traceEvents"])

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        about: dict[str, Any] = self.trace["otherData"]
        return about | {"slices": self.slices, "files": [str(path) for path in self.files]}


def trace(
    program: str | Path | ManyCoreProgram,
    data: str | Path | dict[str, NDArray[Any]],
    out: str | Path | None = None,
    *,
    timesteps: int | None = None,
    encode: str = "none",
    sample: int = 0,
    samples: int = 1,
    window: tuple[int, int] | None = None,
    waves: str | Path | None = None,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Traced:
    """Run samples and lay out in time what cores, links and host did.

    Parameters
    ----------
    program, data, timesteps, encode, seed
        As for `spikeloom.run`.
    out
        The trace file to write.
    sample, samples
        The first sample to trace, and how many.
    window
        Chip timesteps ``first`` <= k < ``end`` of each sample to trace; all by default.
    waves
        Folder for the waves of the window in the first of the samples: a VCD with the names of the generated Verilog,
        and a save file for GTKWave. It needs a window.
    progress
        Called with the number of samples finished since the last call.

    Raises
    ------
    InputError, ProgramError, SimulationError, TraceError
        Sentences: what is wrong, where, what to do.
    """
    if not isinstance(program, ManyCoreProgram):
        program = load_program(program)
    if sample < 0 or samples < 1:
        raise InputError(
            f"sample must be at least 0 and samples at least 1, not {sample} and {samples}"
        )
    if waves is not None and window is None:
        raise InputError("waves need a window of chip timesteps; give --window A:B")
    arrays = data if isinstance(data, dict) else load_arrays(data)
    where = "the data" if isinstance(data, dict) else str(data)
    shaped = shape_samples(
        arrays, input_shapes(program.inputs), timesteps=timesteps, encoder=encode, samples=sample + samples, seed=seed,
        where=where
    )  # fmt: skip
    payloads, _ = to_payloads(program, shaped)
    if len(payloads) < sample + samples:
        raise InputError(
            f"{where} has {len(payloads)} samples, too few for {samples} from sample {sample} on"
        )
    last = program.chip_timesteps(shaped.timesteps)
    first, end = check_window(window or (0, last), last)
    activities: list[SampleActivity] = []
    files: list[Path] = []
    for place, payload in enumerate(payloads[sample:]):
        record = record_sample(program, payload, shaped.timesteps, first, end)
        activities.append(activity(program, record, first, end))
        if waves is not None and place == 0:
            files += write_event_waves(program, record, Path(waves), sample, first, end)
        if progress is not None:
            progress(1)
    made = core_trace(program, activities, sample)
    if out is not None:
        save_trace(made, out)
        files.insert(0, Path(out))
    return Traced(made, tuple(files))


def parse_window(text: str) -> tuple[int, int]:
    """Return the chip timesteps that ``A:B`` stands for.

    Raises
    ------
    InputError
        It is no pair of whole numbers.
    """
    first, colon, end = text.partition(":")
    if not (colon and first.isdecimal() and end.isdecimal()):
        raise InputError(f"the window must be two chip timesteps A:B such as 0:4, not {text!r}")
    return int(first), int(end)


def check_window(window: tuple[int, int], last: int) -> tuple[int, int]:
    """Return a window of chip timesteps if a sample of ``last`` of them has it.

    Raises
    ------
    InputError
        It is empty, or not within the sample.
    """
    first, end = window
    if not 0 <= first < end <= last:
        raise InputError(
            f"the window {first}:{end} must be ascending and within the sample's chip timesteps, 0:{last}"
        )
    return first, end


def activity(program: ManyCoreProgram, record: EventRecord, first: int, end: int) -> SampleActivity:
    """Turn the events of a sample into intervals of cores and host."""
    return SampleActivity(
        cycles=record.cycles,
        first=first,
        end=end,
        computes=compute_intervals(program, record),
        sends=send_intervals(program, record),
        transfers=record.transfers[:, :4],
    )
