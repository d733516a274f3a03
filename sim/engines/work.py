"""What the backward engine does in each task of a step: its cycles follow the data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...chip.learn_network import Floats
from ...chip.learn_program import LearnProgram, Queue
from ...chip.learn_timing import backward_fill
from . import backward
from .parallel import Threads

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class BackwardWork:
    """What the backward engine did in one task: cycles; inputs there were, and taken; products."""

    cycles: int
    inputs: int
    taken: int
    products: int


def backward_work(
    program: LearnProgram,
    part: int,
    dx: Sequence[Floats],
    wanted: Callable[[int], Bytes],
    threads: Threads,
) -> tuple[BackwardWork, ...]:
    """Work out what the backward engine does in each of its tasks of a micro-batch.

    Parameters
    ----------
    program, part
        The step, and the number of the micro-batch.
    dx : sequence of (frames * positions, channels) float32
        Gradients at each stage's synapses.
    wanted : callable
        Gives which input gradients of a stage are used: (frames, positions, channels) uint8.
    threads
        That share the counting.
    """
    config, engine = program.config.learn, program.config.learn.backward
    timesteps, samples = program.recipe.timesteps, program.parts[part][1]
    chosen = (program.column("queue") == Queue.BACKWARD) & (program.column("part") == part)
    counts: dict[tuple[int, int], NDArray[np.int32]] = {}
    marks: dict[int, Bytes] = {}
    # The engine takes frames as the backward pass makes them.
    order = np.arange(samples * timesteps).reshape(samples, timesteps)[:, ::-1].reshape(-1)
    rows = program.tasks[chosen].tolist()
    for _, _, index, _, _, _, channel, _, _ in rows:
        stage = program.network.stages[index]
        g = channel // stage.in_channels
        if (index, g) not in counts:
            columns = dx[index][:, g * stage.out_channels : (g + 1) * stage.out_channels]
            blocks = -(-stage.out_channels // engine.depth)
            found = np.empty((len(columns), blocks), np.int32)
            threads.run(
                len(columns),
                lambda a, b, d=columns, c=found: backward.count_nonzeros(d, engine.depth, a, b, c),
            )
            ordered = found.reshape(samples * timesteps, -1)[order]
            counts[index, g] = np.ascontiguousarray(ordered.reshape(len(columns), blocks))
        if index not in marks:
            marks[index] = wanted(index)
    work: list[BackwardWork | None] = [None] * len(rows)

    def work_out(first_task: int, last_task: int) -> None:
        for at in range(first_task, last_task):
            _, _, index, _, first, frames, channel, channels, _ = rows[at]
            stage = program.network.stages[index]
            taken_frames = order[first : first + frames]
            of_tile = marks[index][taken_frames, :, channel : channel + channels]
            cycles, inputs, taken, products = backward.backward_cycles(
                config, stage, counts[index, channel // stage.in_channels], of_tile.sum(axis=2, dtype=np.int32),
                channels, first,
            )  # fmt: skip
            fill = backward_fill(config, channels, frames * stage.in_positions)
            work[at] = BackwardWork(cycles + fill, inputs, taken, products)

    threads.run(len(rows), work_out)
    return tuple(item for item in work if item is not None)
