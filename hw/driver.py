"""The host's side of the chip's link: loads programs, runs samples, reads memories, over any transport of frames."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..chip.config import ChipConfig
from ..chip.events import CORE_EVENTS, ROUTER_EVENTS
from ..chip.host_link import (
    IDENTITY,
    TAG_BITS,
    Header,
    HostError,
    HostLink,
    HostOp,
    Output,
    Status,
    StepEnd,
    op_of,
)
from ..chip.memory_map import SIGNATURE_UNITS, Memory
from ..chip.program import ManyCoreProgram
from .inputs import HostInputs
from .transport import HostLinkError, SampleRecord, Transport

__all__ = ["HostDriver", "HostLinkError", "SampleRecord", "Transport"]

ROWS_PER_FRAME = 4096
STEPS_AHEAD = 2  # timesteps sent while one runs: as many as the chip queues


class HostDriver:
    """Drives one chip.

    Parameters
    ----------
    config
        The configuration that the chip was made for.
    transport
        The way to it.
    """

    def __init__(self, config: ChipConfig, transport: Transport) -> None:
        self.config = config
        self.link = HostLink(config.many_core)
        self.transport = transport
        self._program: ManyCoreProgram | None = None
        self._inputs: HostInputs | None = None
        self._timesteps = 0

    def status(self, *, clear_errors: bool = True) -> Status:
        """Ask the chip how it is; its errors are forgotten then, unless told otherwise."""
        self._send([Header(HostOp.STATUS, row=int(clear_errors)).pack()])
        frame = self._receive(HostOp.STATUS)
        if len(frame) != 4:
            raise HostLinkError(
                f"a STATUS must have 4 beats, not {len(frame)}; is this the chip's link?"
            )
        return Status.unpack(frame)

    def identify(self) -> Status:
        """Make sure that the right chip is at the other end, and return its status; its errors are forgotten.

        Raises
        ------
        HostLinkError
            If it is no chip, speaks another version of the protocol, or has another configuration.
        """
        status = self.status()
        if status.identity != IDENTITY:
            raise HostLinkError(
                f"the link must lead to a chip that says {IDENTITY:#x}, not {status.identity:#x}; "
                "is it another device, or another version?"
            )
        if status.config_hash != int(self.config.config_hash, 16):
            raise HostLinkError(
                f"the chip's configuration must be {self.config.name} ({self.config.config_hash}), "
                f"not {status.config_hash:016x}"
            )
        return status

    def load(self, program: ManyCoreProgram, timesteps: int) -> None:
        """Load a checked program, for samples of ``timesteps`` network timesteps; cores that it does not use are off.

        Raises
        ------
        HostLinkError
            If the chip does not say that the program is complete.
        ValueError
            If the program is for another configuration.
        """
        if program.config.config_hash != self.config.config_hash:
            raise ValueError(
                f"the program must be for the configuration {self.config.config_hash}, "
                f"not {program.config.config_hash}"
            )
        self._program = None
        self.identify()
        memories = self.link.memories
        crc = 0
        begin = [Header(HostOp.BEGIN).pack(), int(self.config.config_hash, 16)]
        self._send(begin)
        # No neurons in use: such a core does not compute.
        registers = memories.layouts[Memory.REGISTERS]
        off = registers.image({f.name: [0] for f in registers.fields})
        crc = self._write(crc, Memory.REGISTERS, 0, off, to_all=True)
        columns = self.config.many_core.network.columns
        tiles = program.register("y") * columns + program.register("x")
        for c, tile in enumerate(tiles.tolist()):
            for memory, image in memories.images(program, c, timesteps).items():
                crc = self._write(crc, memory, tile, image)
        self._send([Header(HostOp.COMMIT).pack(), crc])
        status = self.status()
        if status.errors or not status.is_loaded:
            raise _refusal("the program was not loaded", status.errors)
        self._program, self._timesteps = program, timesteps
        self._inputs = HostInputs.of(program)

    def run_sample(
        self,
        payload: NDArray[np.integer],
        *,
        held: bool,
        after_timestep: Callable[[int], None] | None = None,
    ) -> SampleRecord:
        """Run one sample from rest.

        Parameters
        ----------
        payload
            (timesteps, inputs), or (1, inputs) if ``held``: integers, 0 for nothing.
        held
            The inputs are sent once and act in every timestep.
        after_timestep
            Called with each chip timestep when it has ended; the next one is sent only then, so that memories can be
            read. Costs waiting, which no timestep counts.

        Raises
        ------
        HostLinkError
            If the chip reports an error other than an overrun, or answers what it must not.
        ValueError
            If nothing is loaded, or the payload has another shape.
        """
        program, inputs = self._program, self._inputs
        if program is None or inputs is None:
            raise ValueError("a program must be loaded before a sample can run")
        shape = (1 if held else self._timesteps, program.input_size)
        if payload.shape != shape:
            raise ValueError(f"payload must have the shape {shape}, not {payload.shape}")
        steps = program.chip_timesteps(self._timesteps)
        ahead = 0 if after_timestep else STEPS_AHEAD
        record, early = SampleRecord(), defaultdict[int, list[Output]](list)
        self._send([Header(HostOp.SAMPLE).pack()])
        sent = 0
        for k in range(steps):
            while sent < min(k + ahead + 1, steps):
                self.transport.send(
                    self._step_frames(inputs.flits(payload, held, sent, self._timesteps))
                )
                sent += 1
            self._finish_step(k, sent, early, record)
            if after_timestep:
                after_timestep(k)
        errors = self.status().errors & ~HostError.OVERRUN
        if errors:
            raise _refusal("the sample went wrong", errors)
        return record

    def read(self, memory: Memory, tile: int | None, row: int, count: int) -> list[dict[str, int]]:
        """Return the fields of rows of a readable memory of one tile, or of all tiles one after the other.

        Raises
        ------
        HostLinkError
            If the chip refuses: there are no such rows, or timesteps run.
        """
        header = Header(HostOp.READ, int(tile is None), tile or 0, memory, row, count)
        self._send([header.pack()])
        answer = self._receive(HostOp.READ)
        tiles = self.config.many_core.core_count if tile is None else 1
        beats = tiles * count * self.link.beats_per_row(memory)
        if answer[0] != header.pack() or len(answer) != 1 + beats:
            raise _refusal(f"{memory.name} was not read", self.status().errors)
        return self.link.rows(memory, answer[1:])

    def read_state(self, tile: int, neurons: int) -> dict[str, NDArray[np.int64]]:
        """Return the state of a tile's first neurons: name of `Memory.STATE`'s field -> (neurons,)."""
        rows = self.read(Memory.STATE, tile, 0, neurons)
        names = [f.name for f in self.link.memories.layouts[Memory.STATE].fields]
        return {name: np.array([row[name] for row in rows], dtype=np.int64) for name in names}

    def read_signatures(self) -> NDArray[np.int64]:
        """Return (tiles, units) signatures, the units as in `chip.memory_map.SIGNATURE_UNITS`."""
        return self._read_all(Memory.SIGNATURES, len(SIGNATURE_UNITS))

    def read_counters(self) -> NDArray[np.int64]:
        """Return (tiles, events) counters: core events, then hops, as in `chip.events`; they wrap at 32 bits."""
        return self._read_all(Memory.COUNTERS, len(CORE_EVENTS) + len(ROUTER_EVENTS))

    def _read_all(self, memory: Memory, count: int) -> NDArray[np.int64]:
        rows = self.read(memory, None, 0, count)
        (name,) = (f.name for f in self.link.memories.layouts[memory].fields)
        return np.array([row[name] for row in rows], dtype=np.int64).reshape(-1, count)

    def _write(
        self,
        crc: int,
        memory: Memory,
        tile: int,
        image: NDArray[np.uint64],
        *,
        to_all: bool = False,
    ) -> int:
        """Write the rows of an image, from row 0 on; return the CRC that includes them."""
        for first in range(0, len(image), ROWS_PER_FRAME):
            rows = image[first : first + ROWS_PER_FRAME]
            header = Header(HostOp.WRITE, int(to_all), tile, memory, first, len(rows))
            frame = [header.pack(), *self.link.row_beats(memory, rows)]
            crc = self.link.crc(crc, frame)
            self._send(frame)
        return crc

    def _step_frames(self, flits: list[list[int]]) -> list[list[int]]:
        """Return the frames of a timestep, in an order that cannot get stuck.

        A timestep starts when every queue has its first flits, so these go first, port by port: they find room
        because the timestep before takes all of its own. The rest goes in turns, so that no queue waits for a flit
        behind those that wait for another queue.
        """
        frames = [[Header(HostOp.STEP).pack(), *map(len, flits)]]
        size = self.link.queue_flits
        waiting = [deque(_chunks(own[size:], max(size // 2, 1))) for own in flits]
        frames += [_flits(port, own[:size]) for port, own in enumerate(flits) if own]
        while any(waiting):
            frames += [
                _flits(port, chunks.popleft()) for port, chunks in enumerate(waiting) if chunks
            ]
        return frames

    def _finish_step(
        self, k: int, sent: int, early: defaultdict[int, list[Output]], record: SampleRecord
    ) -> None:
        """Take outputs until timestep ``k`` has ended; keep those of later ones, up to ``sent``, in ``early``."""
        tags = 1 << TAG_BITS
        while op_of(frame := self._receive(HostOp.OUTPUT, HostOp.STEP_END)) == HostOp.OUTPUT:
            output = self.link.unpack_output(frame[0])
            behind = (output.k - k) % tags
            if behind >= sent - k:
                raise HostLinkError(
                    f"outputs must be of timesteps {k} to {sent - 1}, not of one with the tag {output.k}"
                )
            early[k + behind].append(Output(k + behind, output.column, output.line, output.payload))
        end = StepEnd.unpack(frame)
        outputs = early.pop(k, [])
        if (end.tag, end.outputs) != (k % tags, len(outputs)):
            raise HostLinkError(
                f"timestep {k} must end with the tag {k % tags} and {len(outputs)} outputs, "
                f"not with {end.tag} and {end.outputs}"
            )
        start = end.start_cycle
        if record.start_cycles:
            last = record.start_cycles[-1]
            start = last + (start - last) % (1 << 32)
        record.start_cycles.append(start)
        record.lengths.append(end.length)
        record.host_waits.append(end.host_waits)
        record.outputs += outputs

    def _send(self, frame: list[int]) -> None:
        self.transport.send([frame])

    def _receive(self, *ops: HostOp) -> list[int]:
        frame = self.transport.receive()
        if not frame or op_of(frame) not in ops:
            names = " or ".join(op.name for op in ops)
            given = f"a frame with opcode {op_of(frame)}" if frame else "an empty frame"
            raise HostLinkError(f"the chip must answer {names}, not {given}")
        return frame


def _refusal(what: str, errors: HostError) -> HostLinkError:
    why = "; ".join(errors.sentences) or "the chip gives no reason"
    return HostLinkError(f"{what}: {why}", errors)


def _chunks(items: list[int], size: int) -> list[list[int]]:
    return [items[i : i + size] for i in range(0, len(items), size)]


def _flits(port: int, words: list[int]) -> list[int]:
    return [Header(HostOp.FLITS, hops=port, count=len(words)).pack(), *words]
