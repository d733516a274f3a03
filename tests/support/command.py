"""One command of the command line, run in this process."""

from __future__ import annotations

import sys
from typing import NamedTuple

import pytest

from spikeloom import cli


class Done(NamedTuple):
    """What a command left: its exit code, standard output and standard error."""

    code: int
    out: str
    err: str


def run_command(capsys: pytest.CaptureFixture[str], *arguments: object) -> Done:
    """Run ``spikeloom`` with these arguments."""
    old = sys.argv
    sys.argv = ["spikeloom", *map(str, arguments)]
    try:
        cli.main()
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    finally:
        sys.argv = old
    out = capsys.readouterr()
    return Done(code, out.out, out.err)
