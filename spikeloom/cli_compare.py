"""Commands that lay two results side by side, and a run out in time."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .console import (
    EncodeOption,
    JsonOption,
    SeedOption,
    TimestepsOption,
    print_table,
    print_text,
    progress_bar,
    writable,
)

ResultArg = Annotated[
    Path, typer.Argument(metavar="RESULT.json", help="Of `spikeloom run` or `train`.")
]


def diff_command(
    first: ResultArg,
    second: ResultArg,
    tolerance: Annotated[
        str,
        typer.Option(
            metavar="1%|0.01", help="Largest change, relative to the first, that counts as equal."
        ),
    ] = "0",
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FIELD", help="Compare this field and what is below; may be given again."
        ),
    ] = None,
    rows: Annotated[
        int, typer.Option(metavar="N", min=1, help="Show the N rows that changed most.")
    ] = 40,
    json: JsonOption = False,
) -> None:
    """Say what changed between two results, and by how much, the largest change first.

    Rows are matched by the names of layers, components, events and cores. Exit code 0: every row is in both and equal
    within the tolerance; 1: a row changed by more, or one of the results lacks it or does not know it; 2: a file
    cannot be compared. Provenance, notes and times of the simulation are shown and never fail, unless named by --only.

    Example: `spikeloom diff before.json after.json --tolerance 1% --only energy_j --only layers.spikes`
    """
    from .diffing import diff, difference_table

    found = diff(first, second, tolerance=tolerance, only=only or ())
    if json:
        print_text(found.model_dump_json(indent=1))
    else:
        print_table(difference_table(found, rows))
    if not found.is_equal:
        raise typer.Exit(1)


def trace_command(
    program: Annotated[
        Path, typer.Argument(metavar="NET.chip", help="A program made by `spikeloom compile`.")
    ],
    data: Annotated[
        Path, typer.Argument(metavar="data.npz", help="`inputs`, as for `spikeloom run`.")
    ],
    out: Annotated[
        Path,
        typer.Option("-o", "--out", metavar="trace.json", help="Write the trace, for Perfetto."),
    ],
    timesteps: TimestepsOption = None,
    encode: EncodeOption = "none",
    sample: Annotated[int, typer.Option(metavar="I", help="The first sample to trace.")] = 0,
    samples: Annotated[int, typer.Option(metavar="N", help="How many.")] = 1,
    window: Annotated[
        str | None,
        typer.Option(metavar="A:B", help="Chip timesteps A to B - 1 of each sample; all."),
    ] = None,
    waves: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Write a VCD of the window of the first sample, and a save file for GTKWave.",
        ),
    ] = None,
    seed: SeedOption = 0,
    json: JsonOption = False,
) -> None:
    """Lay out in time what cores, links and host do, cycle by cycle; open the trace in ui.perfetto.dev.

    The waves have the names of the generated Verilog, and need no Verilator: they are made from the simulator's events.

    Example: `spikeloom trace net.chip digits.npz --timesteps 8 --encode direct --window 0:4 --waves w -o trace.json`
    """
    from .showing import to_json
    from .tracing import parse_window, trace

    writable(out)
    writable(waves)
    with progress_bar("samples") as advance:
        traced = trace(
            program,
            data,
            out,
            timesteps=timesteps,
            encode=encode,
            sample=sample,
            samples=samples,
            window=None if window is None else parse_window(window),
            waves=waves,
            seed=seed,
            progress=advance,
        )
    if json:
        print_text(to_json(traced.to_dict()))
        return
    print_text(f"wrote {out}: {traced.slices:,} slices; open it in ui.perfetto.dev")
    for path in traced.files[1:]:
        print_text(f"wrote {path}")
