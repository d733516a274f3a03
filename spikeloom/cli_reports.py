"""The command of the reports: `report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .console import JsonOption, errors, print_text, writable


def report_command(
    result: Annotated[
        Path,
        typer.Argument(metavar="result.json", help="Written by `run --out` or `train --result`."),
    ],
    page: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="page.html", help="Write the page.")
    ] = None,
    csv: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write the tables, a CSV file each.")
    ] = None,
    plots: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Draw the figures, a file each.")
    ] = None,
    format: Annotated[str, typer.Option(metavar="svg|png|pdf", help="Of the figures.")] = "svg",
    json: JsonOption = False,
) -> None:
    """Write a saved result as a page, as tables for a spreadsheet, as figures for a paper.

    Example: `spikeloom report result.json -o page.html --csv tables --plots figures --format png`
    """
    from .reporting import report
    from .showing import to_json

    for path in (page, csv, plots):
        writable(path)
    with errors.status("report") as status:
        written = report(result, page=page, csv=csv, plots=plots, format=format, tell=status.update)
    if json:
        print_text(to_json(written.to_dict()))
        return
    for path in written.files:
        print_text(f"wrote {path}")
