"""What the benches of the learning engines share: a task's fields in, cycles, faults and writes out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spikeloom.chip.bit_fields import Fields, bits_of, pack_fields

Words = NDArray[np.uint32]


@dataclass(frozen=True)
class Done:
    """Cycles from start to done; faults; of each write: cycle, row, four words."""

    cycles: int
    faults: int
    writes: Words


def task_words(fields: Fields) -> int:
    """Words of 32 bits that a task's fields take."""
    return -(-bits_of(fields) // 32)


def task_bytes(fields: Fields, values: dict[str, int]) -> bytes:
    """A task's fields, all of which must be given, as the bench's program reads them."""
    given = {name: values[name] for name, _ in fields}
    return pack_fields(fields, given, "a task").to_bytes(4 * task_words(fields), "little")


def read_done(output: bytes, tasks: int) -> list[Done]:
    """What the bench's program says of so many tasks."""
    words = np.frombuffer(output, np.uint32)
    results, at = [], 0
    for _ in range(tasks):
        cycles, faults, count = (int(word) for word in words[at : at + 3])
        at += 3
        results.append(Done(cycles, faults, words[at : at + 6 * count].reshape(count, 6)))
        at += 6 * count
    assert at == len(words)
    return results
