"""A host that also sends what it must not, in the middle of a sample; the driver does not notice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from spikeloom.chip.host_link import Header, HostError, HostOp, Status, op_of
from spikeloom.hw.transport import Transport

Frame = list[int]


class Interference:
    """A `Transport` around another: behind each STEP's frames go bad ones, whose answers and errors it keeps.

    Parameters
    ----------
    chip
        The way to the chip.
    bad
        Returns the frames, given how many STEPs have been sent.
    """

    def __init__(self, chip: Transport, bad: Callable[[int], list[Frame]]) -> None:
        self.chip, self.bad = chip, bad
        self.is_on = False
        self.steps = 0
        self.errors = HostError(0)
        self.refused: list[Header] = []

    def send(self, frames: Sequence[Sequence[int]]) -> None:
        """Send frames, and bad ones behind a STEP's."""
        self.chip.send(frames)
        if self.is_on and Header.unpack(frames[0][0]).op == HostOp.STEP:
            self.steps += 1
            self.chip.send(self.bad(self.steps))

    def receive(self) -> Frame:
        """Return the next frame that the driver expects, without the errors that are ours."""
        while self.is_on and op_of(frame := self.chip.receive()) == HostOp.READ:
            self.refused.append(Header.unpack(frame[0]))
            assert len(frame) == 1
        if not self.is_on:
            return self.chip.receive()
        if op_of(frame) == HostOp.STATUS:
            status = Status.unpack(frame)
            self.errors |= status.errors
            return replace(status, errors=HostError(0)).pack()
        return frame
