"""Events that monitors print in a simulation of the Verilog, as arrays."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .errors import CosimError

__all__ = ["Events", "read_events"]

_LINE = re.compile(r"E (\S+) (\w+) +(\d+) +(\d+) ([0-9a-fA-FxXzZ]+)\s*")
_TILE = re.compile(r"\btile_(\d+)_(\d+)\b")


@dataclass(frozen=True)
class Events:
    """The events of one kind of unit, in the order in which they were printed.

    Attributes
    ----------
    tile
        ``y * columns + x`` of the tile.
    cycle, timestep
        When: the cycle within the timestep.
    data
        What, as Python integers (object array): words of signatures exceed 64 bits.
    """

    tile: NDArray[np.int64]
    cycle: NDArray[np.int64]
    timestep: NDArray[np.int64]
    data: NDArray[np.object_]

    def __len__(self) -> int:
        return len(self.tile)


def read_events(lines: Iterable[str], columns: int) -> dict[str, Events]:
    """Return monitor name -> events from what a simulator of a chip with ``columns`` columns printed.

    Lines that begin otherwise are not ours and are passed over.

    Raises
    ------
    CosimError
        When a line is of a monitor and cannot be read: cut off, undefined bits, or outside of a tile.
    """
    rows: dict[str, list[tuple[int, int, int, int]]] = {}
    for line in lines:
        if not line.startswith("E "):
            continue
        found = _LINE.fullmatch(line)
        place = _TILE.search(found[1]) if found else None
        if found is None or place is None:
            raise CosimError(f"this is no event of a tile: {line.strip()!r}")
        if re.search("[xXzZ]", found[5]):
            raise CosimError(f"this event has undefined bits: {line.strip()!r}")
        tile = int(place[2]) * columns + int(place[1])
        when = int(found[3]), int(found[4])
        rows.setdefault(found[2], []).append((tile, *when, int(found[5], 16)))
    return {name: _events(row) for name, row in rows.items()}


def _events(rows: list[tuple[int, int, int, int]]) -> Events:
    tile, cycle, timestep, data = zip(*rows, strict=True)
    words = np.empty(len(data), dtype=object)
    words[:] = data
    return Events(np.array(tile), np.array(cycle), np.array(timestep), words)
