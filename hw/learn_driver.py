"""The host's side of the learning engines: memory, commands and steps, over any transport of frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..chip.config import ChipConfig
from ..chip.learn_link import LINK_MAGIC, STATUS_WORDS, LearnHostError, LearnHostOp, header
from ..chip.learn_program import Queue
from .transport import HostLinkError, Transport

__all__ = ["LearnDriver", "LearnStatus", "StepRecord"]

ROWS_PER_FRAME = 4096


@dataclass(frozen=True)
class LearnStatus:
    """What the chip tells of itself: the answer to a STATUS.

    ended : tasks of each queue that have ended in the last step
    signatures : of each queue's tasks, then of the memory (chip/learn_signature.py); 0 in a chip without
    """

    config_hash: int
    errors: LearnHostError
    cycles: int
    overflow: bool
    ended: tuple[int, ...]
    signatures: tuple[int, ...]


@dataclass(frozen=True)
class StepRecord:
    """What a step did: its cycles; whether gradients overflowed, so that nothing moved."""

    cycles: int
    overflow: bool


class LearnDriver:
    """Drives one learning chip.

    Parameters
    ----------
    config
        The configuration that the chip was made for.
    transport
        The way to it; its beats are words of 32 bits.
    """

    def __init__(self, config: ChipConfig, transport: Transport) -> None:
        self.config = config
        self._transport = transport
        self._row_words = config.learn.dram.bytes_per_cycle // 4

    def status(self, *, clear_errors: bool = True) -> LearnStatus:
        """Ask the chip how it is; its errors are forgotten then, unless told otherwise."""
        frame = self._ask([header(LearnHostOp.STATUS, int(clear_errors))], LearnHostOp.STATUS)
        fixed, queues = len(STATUS_WORDS), len(Queue)
        if len(frame) != 2 + fixed + 2 * queues or frame[1] != LINK_MAGIC:
            raise HostLinkError("the link must lead to a learning chip; is it another device?")
        told = dict(zip(STATUS_WORDS, frame[1:], strict=False))
        return LearnStatus(
            config_hash=told["hash_low"] | told["hash_high"] << 32,
            errors=LearnHostError(told["errors"]),
            cycles=told["cycles"],
            overflow=bool(told["flags"] & 1),
            ended=tuple(frame[1 + fixed : 1 + fixed + queues]),
            signatures=tuple(frame[1 + fixed + queues :]),
        )

    def identify(self) -> LearnStatus:
        """Make sure that the right chip is at the other end, and return its status; its errors are forgotten.

        Raises
        ------
        HostLinkError
            If it is another one.
        """
        status = self.status()
        if status.config_hash != int(self.config.config_hash, 16):
            raise HostLinkError(
                f"the chip's configuration must be {self.config.name} ({self.config.config_hash}), "
                f"not {status.config_hash:016x}"
            )
        return status

    def load(self, commands: dict[Queue, NDArray[np.uint32]]) -> None:
        """Give each queue its commands of a step: (commands, words)."""
        self._transport.send(
            [
                [header(LearnHostOp.COMMANDS, len(words)), int(queue), *words.reshape(-1).tolist()]
                for queue, words in commands.items()
            ]
        )
        self._check("the commands were refused")

    def write(self, row: int, data: NDArray[np.uint8]) -> None:
        """Write bytes, whole rows of them, to memory from a row on."""
        words = np.ascontiguousarray(data).reshape(-1).view("<u4").reshape(-1, self._row_words)
        for first in range(0, len(words), ROWS_PER_FRAME):
            part = words[first : first + ROWS_PER_FRAME]
            head = [header(LearnHostOp.WRITE, len(part)), row + first]
            self._transport.send([[*head, *part.reshape(-1).tolist()]])
        self._check("memory was not written")

    def read(self, row: int, rows: int) -> NDArray[np.uint8]:
        """Read rows of memory: (rows, bytes)."""
        found = []
        for first in range(row, row + rows, ROWS_PER_FRAME):
            count = min(ROWS_PER_FRAME, row + rows - first)
            frame = self._ask([header(LearnHostOp.READ, count), first], LearnHostOp.READ)
            found.append(np.array(frame[1:], "<u4").view(np.uint8).reshape(count, -1))
        return np.concatenate(found)

    def step(self) -> StepRecord:
        """Run a step.

        Raises
        ------
        HostLinkError
            If the engines stopped: why, and how far each queue had come.
        """
        _, errors, cycles, flags = self._ask([header(LearnHostOp.RUN)], LearnHostOp.RUN)
        if errors:
            status = self.status()
            ended = ", ".join(
                f"{queue.name.lower()} {count}"
                for queue, count in zip(Queue, status.ended, strict=True)
            )
            raise _refusal(
                f"the step did not end (cycle {cycles}; tasks ended: {ended})", status.errors
            )
        return StepRecord(cycles, bool(flags & 1))

    def _check(self, what: str) -> None:
        status = self.status()
        if status.errors:
            raise _refusal(what, status.errors)

    def _ask(self, frame: list[int], answer: LearnHostOp) -> list[int]:
        self._transport.send([frame])
        found = self._transport.receive()
        if not found or found[0] & 0xF != answer:
            raise HostLinkError(f"the chip did not answer a {answer.name} but sent {found[:1]}")
        return found


def _refusal(what: str, errors: LearnHostError) -> HostLinkError:
    return HostLinkError(f"{what}: {'; '.join(errors.sentences)}")
