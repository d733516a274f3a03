"""`report`: a saved result again as a page, as tables for a spreadsheet, as figures for a paper."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .errors import InputError
from .reports.export import write_csv
from .reports.learn_result import LearnResult
from .reports.page import save_page
from .reports.plots import save_plots
from .reports.result import RunResult, load_result

__all__ = ["FORMATS", "Report", "report"]

FORMATS = ("svg", "png", "pdf")


@dataclass(frozen=True)
class Report:
    """What was written: the ``page``, the ``tables`` and the ``plots``; None and empty for what was not asked for."""

    page: Path | None
    tables: tuple[Path, ...]
    plots: tuple[Path, ...]

    @property
    def files(self) -> tuple[Path, ...]:
        """All files."""
        return (*(() if self.page is None else (self.page,)), *self.tables, *self.plots)

    def to_dict(self) -> dict[str, object]:
        """Return plain values, for JSON."""
        return {
            "page": None if self.page is None else str(self.page),
            "tables": [str(path) for path in self.tables],
            "plots": [str(path) for path in self.plots],
        }


def report(
    result: str | Path | RunResult | LearnResult,
    *,
    page: str | Path | None = None,
    csv: str | Path | None = None,
    plots: str | Path | None = None,
    format: str = "svg",
    tell: Callable[[str], None] | None = None,
) -> Report:
    """Write a result of `run` or `train` as a page, tables and figures.

    Parameters
    ----------
    result
        A result, or its file.
    page
        HTML file to write.
    csv, plots
        Folders for one CSV file a table, and one figure a file; made if need be.
    format
        Of the figures: ``svg``, ``png`` or ``pdf``.
    tell
        Called with what is being written.

    Raises
    ------
    InputError
        If nothing is asked for, or there is no such format.
    ResultError
        If the file is no result.
    OSError
        If something cannot be written.
    """
    if page is None and csv is None and plots is None:
        raise InputError(
            "nothing to write: give a page (-o), a folder for tables (--csv) or for figures (--plots)"
        )
    if format not in FORMATS:
        raise InputError(f"format must be one of {', '.join(FORMATS)}, not {format!r}")
    loaded = result if isinstance(result, RunResult | LearnResult) else load_result(result)
    say = tell or (lambda _what: None)
    if page is not None:
        say(f"write {page}")
        save_page(loaded, page)
    tables: list[Path] = []
    if csv is not None:
        say(f"write tables into {csv}")
        tables = write_csv(loaded, csv)
    figures: list[Path] = []
    if plots is not None:
        figures = save_plots(loaded, plots, format, tell=lambda path: say(f"draw {path}"))
    return Report(None if page is None else Path(page), tuple(tables), tuple(figures))
