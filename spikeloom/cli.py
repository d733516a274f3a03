"""The command line: parse, call one function, print, set the exit code."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from .cli_calibrate import calibrate_command
from .cli_compare import diff_command, trace_command
from .cli_costs import costs_command
from .cli_hardware import area_command, fpga_command, verify_command, verilog_command
from .cli_learn import compare_command, train_command
from .cli_reports import report_command
from .cli_sweep import sweep_command
from .console import (
    BiasOption,
    ChipOption,
    CompareOption,
    ConventionOption,
    CostsOption,
    DtOption,
    EncodeOption,
    JsonOption,
    NetworkArg,
    ResetOption,
    SeedOption,
    TimestepsOption,
    TimingOption,
    errors,
    fail,
    print_table,
    print_text,
    progress_bar,
    writable,
)
from .errors import StoppedError

app = typer.Typer(
    name="spikeloom",
    help="Trained spiking networks on a simulated neuromorphic chip, cycle for cycle.\n\n"
    "First steps: `spikeloom demo`; then `spikeloom check NET.nir --chip tianjic`, `compile`, `run`.\n\n"
    "Exit codes: 0 good, 1 the checked thing failed, 2 the input was wrong.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="markdown",
)
_switches = {"debug": False}


@app.callback()
def _options(debug: Annotated[bool, typer.Option(help="Show tracebacks.")] = False) -> None:
    _switches["debug"] = debug


@app.command("compile")
def compile_command(
    network: NetworkArg,
    chip: ChipOption,
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="NET.chip", help="The program file to write.")
    ],
    convention: ConventionOption = "auto",
    reset: ResetOption = None,
    reset_timing: TimingOption = None,
    compare: CompareOption = None,
    dt: DtOption = None,
    recurrent_bias: BiasOption = None,
    calibrate: Annotated[
        Path | None,
        typer.Option(
            metavar="data.npz", help="Samples that show the ranges of inputs and membranes."
        ),
    ] = None,
    timesteps: TimestepsOption = None,
    encode: EncodeOption = "none",
    weight_bits: Annotated[
        int | None, typer.Option(metavar="8|4|2", help="Narrower weights; packed, more a cycle.")
    ] = None,
    ternary: Annotated[bool, typer.Option(help="Weights of -1, 0 and 1 in 2 bits.")] = False,
    seed: SeedOption = 0,
    json: JsonOption = False,
) -> None:
    """Compile a trained network for a chip.

    Example: `spikeloom compile net.nir --chip tianjic -o net.chip --convention snntorch --calibrate digits.npz
    --timesteps 10`
    """
    from .compiling import compile_nir
    from .showing import Table, to_json

    with errors.status("compile") as status:
        compilation = compile_nir(
            network,
            chip,
            convention=convention,
            reset=reset,
            reset_timing=reset_timing,
            compare=compare,
            dt=dt,
            recurrent_bias=recurrent_bias,
            calibrate=calibrate,
            timesteps=timesteps,
            encode=encode,
            weight_bits=weight_bits,
            ternary=ternary,
            seed=seed,
            progress=lambda name: status.update(f"compile: {name}"),
        )
        compilation.save(out)
    if json:
        print_text(
            to_json(
                {
                    "program": str(out),
                    "passes": {p.name: p.summary for p in compilation.passes},
                    "resources": compilation.resources.to_list(),
                    "notes": compilation.program.meta.get("notes", []),
                }
            )
        )
        return
    rows = [("pass", "what it did"), *((p.name, p.summary) for p in compilation.passes)]
    rows += [("note", str(note)) for note in compilation.program.meta.get("notes", [])]
    print_table(Table(f"{network.name} for {chip}", tuple(rows)))
    print_text(f"wrote {out}")


@app.command("check")
def check_command(
    network: NetworkArg,
    chip: ChipOption,
    convention: ConventionOption = "auto",
    reset: ResetOption = None,
    reset_timing: TimingOption = None,
    compare: CompareOption = None,
    dt: DtOption = None,
    recurrent_bias: BiasOption = None,
    json: JsonOption = False,
) -> None:
    """Say whether a network compiles: what is unsupported, assumed or lossy, what it asks and what there is."""
    from .compiling import check
    from .showing import Table, to_json

    with errors.status("check"):
        report = check(
            network,
            chip,
            convention=convention,
            reset=reset,
            reset_timing=reset_timing,
            compare=compare,
            dt=dt,
            recurrent_bias=recurrent_bias,
        )
    if json:
        print_text(to_json(report.to_dict()))
    else:
        rows = [("what", "finding")]
        rows += [("problem", problem) for problem in report.problems]
        rows += [(f"convention: {name}", value) for name, value in report.convention.items()]
        rows += [("note", note) for note in report.notes]
        print_table(
            Table(
                f"{report.network} for {report.chip}: {'compiles' if report.ok else 'does not compile'}",
                tuple(rows),
            )
        )
        if report.resources is not None:
            asked = [("resource", "where", "asked", "had")]
            asked += [
                (r.resource, r.where or "chip", f"{r.asked:,}", f"{r.had:,}")
                for r in report.resources.rows
            ]
            print_table(Table("resources", tuple(asked)))
    if not report.ok:
        raise typer.Exit(1)


@app.command("run")
def run_command(
    program: Annotated[
        Path, typer.Argument(metavar="NET.chip", help="A program made by `spikeloom compile`.")
    ],
    data: Annotated[
        Path, typer.Argument(metavar="data.npz", help="`inputs`, and `labels` for an accuracy.")
    ],
    timesteps: TimestepsOption = None,
    encode: EncodeOption = "none",
    samples: Annotated[int | None, typer.Option(metavar="N", help="Run the first so many.")] = None,
    decide: Annotated[
        str | None, typer.Option(metavar="count|membrane|first", help="How a class is read.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(metavar="N", help="Worker threads; all cores by default.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="result.json", help="Write the result.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="page.html", help="Write the page.")
    ] = None,
    costs: CostsOption = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Keep finished samples, and go on from them."),
    ] = None,
    seed: SeedOption = 0,
    json: JsonOption = False,
) -> None:
    """Run samples through a program: accuracy, latency, energy.

    `inputs` is (samples, timesteps, *shape), or with --timesteps (samples, *shape), repeated or encoded.
    """
    from .reports.page import save_page
    from .reports.result import save_result
    from .running import run
    from .showing import Table, result_rows

    for path in (out, report):
        writable(path)
    with progress_bar("samples") as advance:
        result = run(
            program,
            data,
            timesteps=timesteps,
            encode=encode,
            samples=samples,
            decide=decide,
            threads=threads,
            seed=seed,
            costs=costs,
            checkpoint=checkpoint,
            progress=advance,
            command=" ".join(["spikeloom", *sys.argv[1:]]),
        )
    if out is not None:
        save_result(result, out)
    if report is not None:
        save_page(result, report)
    if json:
        print_text(result.model_dump_json(indent=1))
        return
    print_table(Table("result", result_rows(result)))
    for path in (out, report):
        if path is not None:
            print_text(f"wrote {path}")


@app.command("show")
def show_command(
    thing: Annotated[
        str,
        typer.Argument(metavar="X", help="A preset, or a .yaml, .nir, .chip or result .json file."),
    ],
    convention: ConventionOption = "auto",
    reset: ResetOption = None,
    reset_timing: TimingOption = None,
    compare: CompareOption = None,
    dt: DtOption = None,
    recurrent_bias: BiasOption = None,
    json: JsonOption = False,
) -> None:
    """Show a preset, a network with its passes, a program, or a result."""
    from .showing import show, to_json

    shown = show(
        thing,
        convention=convention,
        reset=reset,
        reset_timing=reset_timing,
        compare=compare,
        dt=dt,
        recurrent_bias=recurrent_bias,
    )
    if json:
        print_text(to_json(shown.to_dict()))
        return
    for table in shown.tables:
        print_table(table, f"{shown.kind} {shown.name}")


@app.command("demo")
def demo_command(
    folder: Annotated[Path, typer.Option(help="Where to write.")] = Path("demo"),
    network: Annotated[str, typer.Option(help="mnist_mlp or mnist_conv.")] = "mnist_mlp",
    samples: Annotated[
        int, typer.Option(metavar="N", help="Test digits to run, at most 2,000.")
    ] = 1000,
    threads: Annotated[int | None, typer.Option(metavar="N", help="Worker threads.")] = None,
    json: JsonOption = False,
) -> None:
    """Compile a shipped network, run real digits, write a page."""
    from .demonstration import demo
    from .showing import Table, result_rows

    with progress_bar("digits") as advance:
        result = demo(
            folder,
            network=network,
            samples=samples,
            threads=threads,
            tell=errors.print,
            progress=advance,
        )
    if json:
        print_text(result.model_dump_json(indent=1))
        return
    print_table(Table("result", result_rows(result)))
    print_text(f"wrote {folder / 'page.html'}: open it in a browser")


app.command("report")(report_command)
app.command("train")(train_command)
app.command("compare")(compare_command)
app.command("diff")(diff_command)
app.command("trace")(trace_command)
app.command("sweep")(sweep_command)
app.command("verilog")(verilog_command)
app.command("verify")(verify_command)
app.command("fpga")(fpga_command)
app.command("area")(area_command)
app.command("costs")(costs_command)
app.command("calibrate")(calibrate_command)


def main() -> None:
    """Run the command line; errors of the input become one message and exit code 2."""
    try:
        app()
    except (ValueError, OSError) as error:
        if _switches["debug"]:
            raise
        fail(str(error))
    except (KeyboardInterrupt, StoppedError) as stop:
        errors.print(f"spikeloom: {str(stop) or 'stopped'}", markup=False, soft_wrap=True)
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
