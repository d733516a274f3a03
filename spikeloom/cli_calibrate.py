"""The command `calibrate`: presets beside published figures, acceptance checks with their verdicts."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from .console import JsonOption, SeedOption, errors, print_table, print_text, writable


def calibrate_command(
    half: Annotated[
        str | None,
        typer.Option(metavar="many_core|learn", help="One half of the chip; both by default."),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="T3", help="One check, T for cores, H for engines; may be repeated."),
    ] = None,
    steps: Annotated[
        int, typer.Option(metavar="N", help="Training steps of check H8, most of the time.")
    ] = 40,
    report: Annotated[
        Path | None, typer.Option(metavar="page.html|page.md", help="Write the tables as a page.")
    ] = None,
    seed: SeedOption = 0,
    json: JsonOption = False,
) -> None:
    """Hold the presets `tianjic` and `h2learn` against what is published of their chips, by running them.

    Example: `spikeloom calibrate --half many_core --report calibration.html`. Exit code 1 if a check that binds is
    missed; the reasons stand in docs/calibration.md.
    """
    from .calibrating import calibrate, check_page_name, save_calibration
    from .reports.calibration_page import calibration_tables
    from .showing import Table, to_json

    if report is not None:
        check_page_name(report)
        writable(report)
    with errors.status("calibrate") as status:
        result = calibrate(
            half,
            only=only or (),
            steps=steps,
            seed=seed,
            progress=lambda what: status.update(f"calibrate: {what}"),
            command=" ".join(["spikeloom", *sys.argv[1:]]),
        )
    if report is not None:
        save_calibration(result, report)
    if json:
        print_text(to_json(result.to_dict()))
    else:
        for title, rows in calibration_tables(result).items():
            print_table(Table(title, rows))
        for check in result.checks:
            if check.verdict != "pass" and check.reason:
                print_text(f"{check.id}, {check.verdict}: {check.reason}")
        print_text(", ".join(f"{count} {verdict}" for verdict, count in result.counts.items()))
        if report is not None:
            print_text(f"wrote {report}")
    if not result.ok:
        raise SystemExit(1)
