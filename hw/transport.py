"""What the host's driver needs and gives: the way to a chip, the error of the link, the record of a sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ..chip.host_link import HostError, Output

__all__ = ["HostLinkError", "SampleRecord", "Transport", "WatchedTransport"]

NO_ERRORS = HostError(0)


class Transport(Protocol):
    """Carries frames, each a sequence of beats, between driver and chip.

    `send` may return before the chip has taken the frames. It must not wait for the chip to take them while it does not
    take what the chip sends: a chip that cannot get rid of its outputs takes no inputs.
    """

    def send(self, frames: Sequence[Sequence[int]]) -> None:
        """Send frames to the chip, in order."""
        ...

    def receive(self) -> list[int]:
        """Return the next frame from the chip; wait for it."""
        ...


class WatchedTransport(Transport, Protocol):
    """A transport to a simulated chip, which gives up after so many cycles without an answer."""

    most_cycles: int


class HostLinkError(RuntimeError):
    """The chip refused or did not understand something; the message is a sentence. ``errors`` are the chip's bits."""

    def __init__(self, message: str, errors: HostError = NO_ERRORS) -> None:
        self.errors = errors
        super().__init__(message)


@dataclass
class SampleRecord:
    """What one sample did. One entry per chip timestep, except in ``outputs``.

    Attributes
    ----------
    start_cycles
        The chip's cycle counter in cycle 0 of each timestep, counted on beyond 32 bits from the first one.
    lengths
        Cycles of each timestep. Before the host's first waits these are the simulator's, where the first one also holds
        the cycles of the sample's reset: see `simulator_cycles`.
    outputs
        In the order of their timesteps; within one, of their arrival.
    host_waits
        Cycles in which the chip waited for the host, or might have.
    """

    start_cycles: list[int] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)
    host_waits: list[int] = field(default_factory=list)

    def simulator_cycles(self, sample_reset_cycles: int) -> list[int]:
        """Return the lengths as the simulator reports them: the reset is part of the first timestep."""
        return [self.lengths[0] + sample_reset_cycles, *self.lengths[1:]]
