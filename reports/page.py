"""The HTML page of a result: one file that needs nothing else, for screen, phone and paper."""

from __future__ import annotations

from pathlib import Path

from .learn_result import LearnResult
from .page_learn import learn_page
from .page_run import run_page
from .result import RunResult, write_whole

__all__ = ["render_page", "save_page"]


def render_page(result: RunResult | LearnResult) -> str:
    """Return the page of a result of either kind; docs/page.md says what each part shows.

    Raises
    ------
    ResultError
        If the result keeps a configuration of its chip that is none.
    """
    return run_page(result) if isinstance(result, RunResult) else learn_page(result)


def save_page(result: RunResult | LearnResult, path: str | Path) -> None:
    """Write the page as one HTML file; an earlier file stays until the new one is complete."""
    write_whole(path, render_page(result))
