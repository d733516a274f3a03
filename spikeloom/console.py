"""What the commands share: options, tables, progress, the way out with a message."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table as RichTable

errors = Console(stderr=True, highlight=False)

NetworkArg = Annotated[Path, typer.Argument(metavar="NET.nir", help="The trained network.")]
ChipOption = Annotated[
    str,
    typer.Option(
        "--chip", metavar="PRESET|FILE.yaml", help="tiny, tianjic, fpga_ecp5, mesh32, or a file."
    ),
]
ConventionOption = Annotated[
    str,
    typer.Option(
        metavar="auto|nir|snntorch|spikingjelly|norse|sinabs",
        help="How the file's neurons are to be read; auto refuses to guess.",
    ),
]
ResetOption = Annotated[
    str | None,
    typer.Option(metavar="zero|value|subtract|wipe", help="What a spike does to the membrane."),
]
TimingOption = Annotated[
    str | None, typer.Option(metavar="same|next", help="The timestep in which the reset acts.")
]
CompareOption = Annotated[
    str | None, typer.Option(metavar="gt|ge", help="Fire above the threshold, or at it too.")
]
DtOption = Annotated[float | None, typer.Option(metavar="SECONDS", help="Length of a timestep.")]
BiasOption = Annotated[
    bool | None,
    typer.Option(
        "--recurrent-bias/--no-recurrent-bias",
        help="Whether a recurrent transform's bias acts in the first timestep.",
    ),
]
SeedOption = Annotated[int, typer.Option(help="Of everything that is drawn at random.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
TimestepsOption = Annotated[
    int | None, typer.Option(metavar="T", help="Timesteps, for data without an axis for them.")
]
CostsOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.yaml", help="Costs of your own over those of the chip's node: docs/costs.md."
    ),
]
EncodeOption = Annotated[
    str,
    typer.Option(
        metavar="none|rate|latency|direct|saccade", help="How such data becomes values over time."
    ),
]


def print_text(text: str) -> None:
    """Print a result to standard output, unstyled."""
    sys.stdout.write(text + "\n")


def print_table(table: Any, title: str = "") -> None:
    """Print a table to standard output; no colour where it is no terminal."""
    header, *rows = table.rows
    shown = RichTable(
        title=f"{title}: {table.title}" if title else table.title, title_justify="left"
    )
    for name in header:
        shown.add_column(name, overflow="fold")
    for row in rows:
        shown.add_row(*(cell.replace("[", "\\[") for cell in row))
    width = None if sys.stdout.isatty() else 140
    Console(highlight=False, width=width).print(shown)


@contextmanager
def progress_bar(unit: str) -> Iterator[Callable[[int], None]]:
    """Show how many samples are done, on standard error and only on a terminal."""
    columns = (TextColumn(unit), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=errors, disable=not errors.is_terminal) as bar:
        task = bar.add_task(unit, total=None)
        yield lambda done: bar.advance(task, done)


def command_line() -> str:
    """Return the command as it was typed, for a result's provenance."""
    return " ".join(["spikeloom", *sys.argv[1:]])


def writable(path: Path | None) -> None:
    """Leave with a message if the folder of ``path`` does not exist."""
    if path is not None and not path.parent.is_dir():
        fail(f"the folder {path.parent} does not exist; make it, or write elsewhere")


def fail(message: str) -> NoReturn:
    """Print one message to standard error and leave with exit code 2."""
    errors.print(f"spikeloom: {message}", markup=False, soft_wrap=True)
    raise SystemExit(2)
