"""Signatures of the learning engines: what each register absorbs, by the CRC of chip/signature.py.

A register for each queue, and one for the memory. All are 0 at the start of a step. Words, lowest field first:

    a queue, in each cycle in which a task of it starts or ends    cycle 32 | starts 1 | ends 1
    the memory, for each row that a store hands over               row 24 | the row's bits

A task ends in its last cycle: one before the cycle from which its tokens count, the timeline's ``end``. Rows count in
the order in which they are handed over, whichever queue they are of. So two machines whose registers agree after a step
agreed in the start and end of every task, and in everything that was written to memory.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from .learn_command import TRANSFER_FIELDS
from .signature import absorb, byte_table

__all__ = ["EVENT_BITS", "ROW_BITS", "memory_signature", "queue_signature"]

CYCLE_BITS = 32
EVENT_BITS = CYCLE_BITS + 2
ROW_BITS = dict(TRANSFER_FIELDS)["dram_row_0"]


def queue_signature(start: Iterable[int], end: Iterable[int]) -> int:
    """Return a queue's register after tasks with these start and end cycles of the timeline."""
    events: dict[int, int] = {}
    for bit, cycles in ((0, start), (1, (cycle - 1 for cycle in end))):
        for cycle in cycles:
            events[cycle] = events.get(cycle, 0) | 1 << bit
    state = 0
    for cycle in sorted(events):
        state = absorb(state, cycle | events[cycle] << CYCLE_BITS, EVENT_BITS)
    return state


def memory_signature(rows: Iterable[tuple[int, NDArray[np.uint8]]]) -> int:
    """Return the memory's register after rows (number, bytes) in the order in which they were handed over."""
    table, state = byte_table(), 0
    for number, data in rows:
        for byte in number.to_bytes(ROW_BITS // 8, "little") + data.tobytes():
            state = (state >> 8) ^ table[(state ^ byte) & 255]
    return state
