"""One router of the simulator, stepped on its own: its neighbours are only full FIFOs or empty ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from spikeloom.chip.config import ManyCoreConfig
from spikeloom.sim.cores.router import (
    EAST,
    LOCAL,
    NORTH,
    SOUTH,
    WEST,
    busy_sweep,
    fifo_pop,
    fifo_push,
    router_decide,
)
from spikeloom.sim.cores.state import RouterState

__all__ = ["EAST", "LOCAL", "NORTH", "SOUTH", "WEST", "RouterModel"]


class RouterModel:
    """The simulator's router ``place`` of a mesh, stepped as ``_exchange`` of sim/cores/timestep.py does."""

    def __init__(self, config: ManyCoreConfig, place: tuple[int, int]) -> None:
        mesh = config.network
        self.columns, self.depth = mesh.columns, mesh.fifo_depth
        self.x, self.y = place
        self.r = self.y * self.columns + self.x
        self.behind = {
            NORTH: (self.r - self.columns, SOUTH),
            EAST: (self.r + 1, WEST),
            SOUTH: (self.r + self.columns, NORTH),
            WEST: (self.r - 1, EAST),
        }
        routers = mesh.columns * mesh.rows

        def zeros(*shape: int) -> np.ndarray[Any, Any]:
            return np.zeros(shape, dtype=np.int64)

        self.state = RouterState(
            x=np.arange(routers) % mesh.columns,
            y=np.arange(routers) // mesh.columns,
            word=zeros(routers, 5, self.depth),
            payload=zeros(routers, 5, self.depth),
            first=zeros(routers, 5),
            fill=zeros(routers, 5),
            asks=zeros(routers, 5),
            turn=zeros(routers, 5),
            busy=zeros(routers),
            listed=np.zeros(routers, dtype=np.uint8),
            busy_list=zeros(routers),
            busy_count=zeros(1),
            moves=zeros(routers * 5, 3),
        )

    @property
    def levels(self) -> list[int]:
        return self.state.fill[self.r].tolist()

    def step(
        self, stalled: dict[int, bool], arrivals: dict[int, tuple[int, int]]
    ) -> list[tuple[int, int, int, int]]:
        """Run a cycle. ``arrivals``: by input, word and payload. Returns (input, output, word, payload) that left."""
        s, r = self.state, self.r
        for output, (neighbour, port) in self.behind.items():
            s.fill[neighbour, port] = self.depth if stalled[output] else 0
        count = router_decide(s, self.columns)
        for port, (word, payload) in arrivals.items():
            fifo_push(s, r, port, word, payload)
        transfers = []
        for _, port, output in s.moves[:count].tolist():
            place = s.first[r, port]
            transfers.append(
                (port, output, int(s.word[r, port, place]), int(s.payload[r, port, place]))
            )
            fifo_pop(s, r, port)
        busy_sweep(s)
        return transfers
