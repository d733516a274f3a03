"""The command `sweep`: many points, a table of the best, plots."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar

from .console import JsonOption, errors, print_table, print_text, writable

if TYPE_CHECKING:
    from .sweeping.sweep import Progress

# Seconds between two lines of progress where standard error is no terminal.
_LINE_S = 30.0


def sweep_command(
    space: Annotated[
        Path,
        typer.Argument(metavar="SPACE.yaml", help="What varies, how it is searched, for what."),
    ],
    out: Annotated[
        Path,
        typer.Option("-o", "--out", metavar="RESULTS.sqlite", help="Made, or gone on with."),
    ],
    workers: Annotated[
        int | None,
        typer.Option(metavar="N", help="Processes here; all processors by default, 0: this one."),
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(metavar="tcp://HOST:PORT", help="A Dask cluster instead.")
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try points again whose workers died.")
    ] = False,
    plots: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write the Pareto front and parallel coordinates."),
    ] = None,
    picture_format: Annotated[
        str, typer.Option("--format", metavar="svg|png", help="Of the plots.")
    ] = "svg",
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE.csv", help="Write all points.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Try many chips, options or networks, and say which are best at what: grid, random, or towards the Pareto front.

    Each point is compiled and run on samples, or a training step of it is priced. Results are kept point by point:
    after a stop the same command goes on. docs/sweep.md describes the space file.

    Example: `spikeloom sweep cores.yaml -o cores.sqlite --workers 2 --plots plots --csv cores.csv`

    Exit code 1 if a point has no answer since its workers died; a chip that cannot be built so is an answer.
    """
    from .reports.result import write_whole
    from .showing import Table, to_json
    from .sweeping.plots import FORMATS, save_plots
    from .sweeping.sweep import sweep
    from .sweeping.tables import csv_text, front_table, reasons

    if picture_format not in FORMATS:
        raise typer.BadParameter(f"must be {' or '.join(FORMATS)}", param_hint="--format")
    for path in (csv, plots):
        writable(path)
    with _bar() as progress:
        result = sweep(
            space,
            out,
            workers=workers,
            scheduler=scheduler,
            retry_failed=retry_failed,
            progress=progress,
            tell=lambda line: errors.print(line, markup=False, soft_wrap=True),
            command=" ".join(["spikeloom", *sys.argv[1:]]),
        )
    written: tuple[Path, ...] = ()
    if csv is not None:
        write_whole(csv, csv_text(result))
        written += (csv,)
    if plots is not None:
        written += save_plots(result, plots, picture_format)
    if json:
        print_text(to_json(result.to_dict()))
    else:
        if result.front:
            print_table(front_table(result))
        for status, what in (("refused", "cannot be built so"), ("failed", "failed")):
            found = reasons(result.records, status)
            if found:
                rows = [("points", "reason"), *((str(count), text) for text, count in found[:5])]
                number = result.count(status)
                title = f"{number} point{'s' if number > 1 else ''} {what}"
                print_table(Table(title, tuple(rows)))
        for path in (out, *written):
            print_text(f"wrote {path}")
    if result.count("failed"):
        raise typer.Exit(1)


@contextmanager
def _bar() -> Iterator[Callable[[Progress], None]]:
    """Show points, points a minute and the time left on standard error: a bar, or a line now and then in a file."""
    columns = (
        TextColumn("points"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[state]}"),
    )
    with Bar(*columns, console=errors, disable=not errors.is_terminal) as bar:
        task = bar.add_task("points", total=None, state="")
        told = -_LINE_S

        def show(at: Progress) -> None:
            nonlocal told
            state = _state(at)
            bar.update(task, total=at.total, completed=at.done, state=state)
            now = bar.get_time()
            if not errors.is_terminal and (now - told >= _LINE_S or at.done == at.total):
                told = now
                errors.print(
                    f"{at.done} of {at.total} points; {state}", markup=False, soft_wrap=True
                )

        yield show


def _state(at: Progress) -> str:
    """Return rate, time left and what went wrong, as text."""
    if at.per_minute is None or at.seconds_left is None:
        state = "no rate yet"
    else:
        minutes, seconds = divmod(round(at.seconds_left), 60)
        state = f"{at.per_minute:,.0f} a minute, {minutes}:{seconds:02} left"
    if at.refused:
        state += f", {at.refused} cannot be built"
    if at.failed:
        state += f", {at.failed} failed"
    return state
