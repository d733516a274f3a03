"""The Verilated chip as a program beside us: frames of beats in and out through pipes."""

from __future__ import annotations

import contextlib
import signal
import struct
import subprocess
import tempfile
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from .build import Build
from .errors import CosimError

__all__ = ["MOST_CYCLES", "VerilatedTransport"]

MOST_CYCLES = 10_000_000  # that an answer may take
CLOSE_SECONDS = 10.0  # that the program may take to end when told so
STALL_RATE = 64  # of 256 cycles


class VerilatedTransport:
    """A `Transport` of the host's driver to a simulator that `build_model` has built.

    The chip's clock runs only while an answer is waited for, or as `run` says, so nothing is simulated in vain.

    Parameters
    ----------
    build
        The simulator.
    stalls_seed
        If given, the host's side offers no beat and accepts none in a quarter of the cycles each, drawn from the seed.
    most_cycles
        Cycles after which a missing answer is an error; can be set later.
    random_memories
        If given, the seed of what the memories hold at power-up; else they hold 0.
    trace_file
        Where monitors print (a chip emitted with ``trace``), switched on by `trace`.
    waves_file
        Where waves go, a VCD (a build with ``waves``), switched on by `waves`.

    Raises
    ------
    CosimError
        By every method, when the simulator cannot start, has died, or has no answer in time.
    """

    def __init__(
        self,
        build: Build,
        stalls_seed: int | None = None,
        *,
        most_cycles: int = MOST_CYCLES,
        random_memories: int | None = None,
        trace_file: Path | None = None,
        waves_file: Path | None = None,
    ) -> None:
        self._beat_bytes = build.beat_bytes
        self.most_cycles = most_cycles
        self._answers: deque[list[int]] = deque()
        self._partial: list[int] = []
        command = [str(build.program)]
        if random_memories is not None:
            command += ["+ram_random", f"+verilator+seed+{random_memories % 0x7FFFFFFF + 1}"]
        if trace_file is not None:
            command.append(f"+print_to={trace_file}")
        if waves_file is not None:
            command.append(f"+waves={waves_file}")
        with contextlib.ExitStack() as on_failure:
            self._errors = on_failure.enter_context(tempfile.TemporaryFile())
            try:
                self._process = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors
                )
            except OSError as error:
                raise CosimError(f"the simulator {build.program} does not start: {error}") from None
            on_failure.pop_all()
        if stalls_seed is not None:
            self.stall(stalls_seed, STALL_RATE, STALL_RATE)

    def send(self, frames: Sequence[Sequence[int]]) -> None:
        """Queue frames, each a sequence of beats; the last beat of each ends it."""
        size = self._beat_bytes
        parts = [
            bytes((place == len(frame) - 1,)) + beat.to_bytes(size, "little")
            for frame in frames
            for place, beat in enumerate(frame)
        ]
        self._write(b"B" + struct.pack("<I", len(parts)), *parts)

    def receive(self) -> list[int]:
        """Return the next frame that comes out of the chip; run it until there is one."""
        while not self._answers:
            self._write(b"R" + struct.pack("<IQ", 1, self.most_cycles))
            self._collect()
        return self._answers.popleft()

    def run(self, cycles: int) -> None:
        """Run so many cycles, whatever happens."""
        self._write(b"W" + struct.pack("<Q", cycles))
        self._collect()

    def drain(self) -> None:
        """Run until the chip has accepted all beats sent."""
        self._write(b"R" + struct.pack("<IQ", 0, self.most_cycles))
        self._collect()

    @property
    def cycles(self) -> int:
        """Cycles since reset."""
        self._write(b"C")
        self._read_kind()
        (cycles,) = struct.unpack("<Q", self._read(8))
        return cycles

    def stall(self, seed: int, offer_rate: int, accept_rate: int) -> None:
        """From now on offer no beat, and accept none, in so many of 256 cycles, at random."""
        self._write(b"S" + struct.pack("<QBB", seed, offer_rate, accept_rate))

    def trace(self, enabled: bool) -> None:
        """Let monitors print from now on, or not."""
        self._write(b"T" + struct.pack("<B", enabled))

    def waves(self, enabled: bool) -> None:
        """Write waves from now on, or not."""
        self._write(b"V" + struct.pack("<B", enabled))

    def close(self) -> None:
        """End the simulator. A closed transport may be closed again."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended before
            process.stdin.close()  # the end of the input ends the program
        try:
            process.wait(CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
        self._errors.close()

    def __enter__(self) -> VerilatedTransport:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self._process.kill()  # it may be in the middle of a long run
        self.close()

    def _collect(self) -> None:
        kind = self._read_kind()
        (count,) = struct.unpack("<I", self._read(4))
        if kind == b"E":
            raise CosimError(f"the simulated chip gave {self._read(count).decode()}")
        size = self._beat_bytes + 1
        raw = self._read(count * size)
        for place in range(0, len(raw), size):
            self._partial.append(int.from_bytes(raw[place + 1 : place + size], "little"))
            if raw[place] & 1:
                self._answers.append(self._partial)
                self._partial = []

    def _write(self, *parts: bytes) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        if stdin.closed:
            raise CosimError("the simulator has been closed")
        try:
            stdin.write(b"".join(parts))
            stdin.flush()
        except OSError:  # broken pipe
            raise self._death() from None

    def _read_kind(self) -> bytes:
        return self._read(1)

    def _read(self, size: int) -> bytes:
        stdout = self._process.stdout
        assert stdout is not None
        raw = stdout.read(size)
        if len(raw) < size:
            raise self._death()
        return raw

    def _death(self) -> CosimError:
        code = self._process.wait()
        how = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace").strip()[-2000:]
        return CosimError(f"the simulator ended {how}" + (f", saying: {said}" if said else ""))
