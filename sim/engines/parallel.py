"""Ranges of a kernel's work on threads. Kernels release the lock; no result depends on how the work is cut."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor


class Threads:
    """A pool of threads that runs ``function(first, last)`` over pieces of a range."""

    def __init__(self, count: int | None = None) -> None:
        self.count = count or len(os.sched_getaffinity(0))
        self._pool = ThreadPoolExecutor(self.count) if self.count > 1 else None

    def run(self, total: int, function: Callable[[int, int], object]) -> None:
        """Cut ``range(total)`` into a piece a thread, and wait for all; raises what a piece raised."""
        if self._pool is None or total < 2:
            if total:
                function(0, total)
            return
        size = -(-total // self.count)
        pieces = [(first, min(first + size, total)) for first in range(0, total, size)]
        for future in [self._pool.submit(function, *piece) for piece in pieces]:
            future.result()
