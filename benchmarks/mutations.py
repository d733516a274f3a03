"""The checks themselves: plant a fault, and see whether the tests that must turn red do.

Usage: python benchmarks/mutations.py [--only WORD ...] [--list]

The tree is copied to a temporary folder, so that nothing is changed here; faults are those of planted_faults.py. A
fault is caught if a test fails; one that keeps the tests from being collected or that outlasts them is not. The exit
code is 1 if a fault is not caught.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from planted_faults import FAULTS, Fault

ROOT = Path(__file__).resolve().parents[1]
TIMEOUT_SECONDS = 900
SOME_FAILED = 1  # pytest's exit code; others say that it could not run them

# Loaded before the tests' own profile, which inherits from it: the first failure is enough, nobody reads it.
PLUGIN = "first_failure"
PLUGIN_TEXT = """
from hypothesis import Phase, settings

settings.register_profile(
    "first failure", phases=(Phase.explicit, Phase.generate), database=None, report_multiple_bugs=False
)
settings.load_profile("first failure")
"""


@dataclass(frozen=True)
class Outcome:
    """How pytest ended: its exit code (None: too late), the seconds, the first failure or the last line."""

    code: int | None
    seconds: float
    line: str


class Copy:
    """A copy of the tree, in which one fault at a time can be planted."""

    def __init__(self, folder: Path) -> None:
        self.tree, cache = folder / "tree", folder / "cache"
        _copy_tree(self.tree)
        (self.tree / f"{PLUGIN}.py").write_text(PLUGIN_TEXT, encoding="utf-8")
        # "CI" makes the tests draw the same examples every time. The cache is for kernels and simulators.
        self._environment = os.environ | {
            "PYTHONPATH": str(self.tree), "XDG_CACHE_HOME": str(cache), "CI": "1", "PYTHONDONTWRITEBYTECODE": "1",
        }  # fmt: skip
        # Installed as editable, the package would come from the original: the path must go first.
        found = self._python("-c", "import spikeloom.hw as p; print(p.__file__)", seconds=60).stdout
        if Path(found.strip()).resolve() != (self.tree / "hw" / "__init__.py").resolve():
            raise RuntimeError(
                f"the tests must import the copy in {self.tree}, but import {found.strip()}"
            )

    def test(self, arguments: tuple[str, ...]) -> Outcome:
        """Run pytest up to the first failure."""
        began = time.perf_counter()
        options = ("-x", "-q", "-p", PLUGIN, "-p", "no:cacheprovider", "--tb=no")
        try:
            run = self._python("-m", "pytest", *options, *arguments, seconds=TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            return Outcome(None, time.perf_counter() - began, f"no end after {TIMEOUT_SECONDS} s")
        seconds = time.perf_counter() - began
        failures = re.findall(r"^FAILED (.*)$", run.stdout, re.MULTILINE)
        last = (run.stdout + run.stderr).strip().splitlines()[-1:]
        return Outcome(run.returncode, seconds, (failures or last or [""])[0])

    def test_with(self, fault: Fault) -> Outcome:
        """Run the tests of a fault with the fault in its place."""
        path = self.tree / fault.file
        text = path.read_text(encoding="utf-8")
        path.write_text(planted(text, fault), encoding="utf-8")
        try:
            return self.test(fault.tests)
        finally:
            path.write_text(text, encoding="utf-8")

    def _python(self, *arguments: str, seconds: float) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments], cwd=self.tree, env=self._environment, timeout=seconds,
            capture_output=True, text=True, check=False,
        )  # fmt: skip


def planted(text: str, fault: Fault) -> str:
    """Return ``text`` with the fault.

    Raises
    ------
    ValueError
        If its place is not there exactly once: the list is out of date.
    """
    count = text.count(fault.old)
    if count != 1:
        raise ValueError(f"{fault.old!r} must stand once in {fault.file}, not {count} times")
    return text.replace(fault.old, fault.new)


def _copy_tree(target: Path) -> None:
    """Copy what git knows or would take, links as links."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for name in filter(None, listed.split("\0")):
        source = ROOT / name
        if source.exists() or source.is_symlink():  # a file removed and not yet committed is not
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name, follow_symlinks=False)


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


def check(faults: list[Fault]) -> int:
    """Plant one fault after the other; return how many are not caught, or -1 if the tests fail without any."""
    with tempfile.TemporaryDirectory(prefix="spikeloom-mutations-") as folder:
        copy = Copy(Path(folder))
        for tests in dict.fromkeys(fault.tests for fault in faults):
            outcome = copy.test(tests)
            if outcome.code != 0:
                say(f"without a fault, {' '.join(tests)} must pass: {outcome.line}")
                return -1
            say(f"without a fault, {' '.join(tests)}: {outcome.line}")
        survivors = 0
        for fault in faults:
            outcome = copy.test_with(fault)
            is_caught = outcome.code == SOME_FAILED
            survivors += not is_caught
            verdict = "caught" if is_caught else "NOT CAUGHT"
            say(f"{verdict}, {outcome.seconds:.1f} s: {fault.file}: {fault.name}: {outcome.line}")
    return survivors


def main(of: Sequence[Fault] = FAULTS, description: str | None = __doc__) -> int:
    """Parse the command line and run those faults that it names; return the exit code."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="WORD", help="of a fault's name or file"
    )
    parser.add_argument("--list", action="store_true", help="name the faults, plant none")
    options = parser.parse_args()
    words: list[str] = options.only
    faults = [
        fault
        for fault in of
        if not words or any(word in f"{fault.file}: {fault.name}" for word in words)
    ]
    if not faults:
        parser.error(f"no fault has one of the words {', '.join(words)} in its name or file")
    for fault in of:  # of all, chosen or not: a list out of date must not pass
        planted((ROOT / fault.file).read_text(encoding="utf-8"), fault)
    if options.list:
        for fault in faults:
            say(f"{fault.file}: {fault.name} ({' '.join(fault.tests)})")
        return 0
    survivors = check(faults)
    if survivors >= 0:
        say(f"{len(faults) - survivors} of {len(faults)} faults caught")
    return int(survivors != 0)


if __name__ == "__main__":
    sys.exit(main())
