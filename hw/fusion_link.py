"""Two transports over one: the cores' and the engines' ends of a chip of both halves."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from ..chip.learn_link import FUSION_OP, OP_BITS
from .transport import Transport

__all__ = ["FusionLink"]


class FusionLink:
    """Sorts the frames of a chip's link.

    Parameters
    ----------
    transport
        The way to the chip.

    Attributes
    ----------
    cores, engines : Transport
        For `HostDriver` and `LearnDriver`.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.cores: Transport = _Side(self, is_engines=False)
        self.engines: Transport = _Side(self, is_engines=True)
        self._waiting: dict[bool, deque[list[int]]] = {False: deque(), True: deque()}

    def send(self, frames: Sequence[Sequence[int]], *, is_engines: bool) -> None:
        """Send a half's frames."""
        front = [FUSION_OP] if is_engines else []
        self._transport.send([[*front, *frame] for frame in frames])

    def receive(self, *, is_engines: bool) -> list[int]:
        """Return a half's next frame; frames of the other wait until they are asked for."""
        waiting = self._waiting[is_engines]
        while not waiting:
            frame = self._transport.receive()
            of_engines = frame[0] & ((1 << OP_BITS) - 1) == FUSION_OP
            self._waiting[of_engines].append(frame[1:] if of_engines else frame)
        return waiting.popleft()


class _Side:
    def __init__(self, link: FusionLink, *, is_engines: bool) -> None:
        self._link, self._is_engines = link, is_engines

    def send(self, frames: Sequence[Sequence[int]]) -> None:
        self._link.send(frames, is_engines=self._is_engines)

    def receive(self) -> list[int]:
        return self._link.receive(is_engines=self._is_engines)
