"""A training step for the learning engines: tasks in queues, each with the tokens that it waits for."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from .config import ChipConfig
from .learn_network import LearnError, LearnNetwork, Recipe

Ints = NDArray[np.int64]


class Queue(IntEnum):
    """The command queues: each runs its tasks in order. The last seven share the DRAM's channel."""

    FORWARD = 0
    BACKWARD = 1
    UPDATE = 2
    VECTOR = 3
    LOAD_FORWARD = 4
    LOAD_BACKWARD = 5
    LOAD_UPDATE = 6
    LOAD_VECTOR = 7
    STORE_BACKWARD = 8
    STORE_UPDATE = 9
    STORE_VECTOR = 10


ENGINES = (Queue.FORWARD, Queue.BACKWARD, Queue.UPDATE, Queue.VECTOR)
LOADS = (Queue.LOAD_FORWARD, Queue.LOAD_BACKWARD, Queue.LOAD_UPDATE, Queue.LOAD_VECTOR)


class Operation(IntEnum):
    """What a task does."""

    TRANSFER = 0  # DRAM to a buffer, or back
    FORWARD_SUMS = 1
    INPUT_GRADIENTS = 2
    WEIGHT_GRADIENTS = 3
    NEURONS = 4  # scale, bias, shortcut, membranes, spikes, masks
    NORM_SUMS = 5  # scale and round, with the sums of the statistics
    NORM_FINISH = 6  # mean and deviation of each channel, or the means of the norm's gradient
    NORM_NEURONS = 7  # normalise, shortcut, membranes, spikes, masks
    READOUT = 8  # logits over time, and at the last frame of the batch the loss gradient
    NEURON_GRADIENTS = 9  # through surrogate and leak; with a norm also the sums of its gradient
    NORM_GRADIENTS = 10
    TIME_SUMS = 11  # a constant input's gradients, added up over time
    OPTIMISE = 12


# Columns of `LearnProgram.tasks`.
TASK_FIELDS = (
    "queue", "operation", "stage", "part", "first_frame", "frames", "first_channel", "channels", "bytes",
)  # fmt: skip
FIELD = {name: index for index, name in enumerate(TASK_FIELDS)}


@dataclass(frozen=True, kw_only=True)
class LearnProgram:
    """One training step of a batch.

    Attributes
    ----------
    config : ChipConfig
    network : LearnNetwork
    recipe : Recipe
    batch : int
        Samples of this step; at most the recipe's.
    tasks : (n, 9) int64
        Columns `TASK_FIELDS`, in the order in which the compiler gave them out. ``part`` is the micro-batch; frames
        are counted within the part, ``sample * timesteps + timestep``, in the backward pass in descending time. The
        channels are those of the engine's rows: output channels forward and in the update, input channels backward.
    waits : (n, 11) int64
        Tokens: how many tasks of each queue must have ended before this one starts.
    places : (n, 2) int64
        The buffer's number and its copy that a load or an engine fills, or a store empties; -1, -1 for none. Addresses
        are `BufferConfig.address`.
    """

    config: ChipConfig
    network: LearnNetwork
    recipe: Recipe
    batch: int
    tasks: Ints
    waits: Ints
    places: Ints

    def column(self, name: str) -> Ints:
        """Return one field of every task."""
        return self.tasks[:, FIELD[name]]

    @property
    def parts(self) -> tuple[tuple[int, int], ...]:
        """First sample and samples of every micro-batch."""
        return self.recipe.parts(self.batch)


def check_learn_program(program: LearnProgram) -> None:
    """Check that every task can run: fields within range, and no token that never comes.

    Raises
    ------
    LearnError
        Naming the first task that is wrong.
    """
    tasks, waits = program.tasks, program.waits
    if (
        tasks.ndim != 2
        or tasks.shape[1] != len(TASK_FIELDS)
        or waits.shape != (len(tasks), len(Queue))
        or program.places.shape != (len(tasks), 2)
    ):
        raise LearnError("the program's tasks do not have the shape of this version; compile again")
    limits = {
        "queue": (0, len(Queue) - 1),
        "operation": (0, len(Operation) - 1),
        "stage": (0, len(program.network.stages) - 1),
        "part": (0, len(program.parts) - 1),
    }
    for name, (low, high) in limits.items():
        column = program.column(name)
        wrong = np.flatnonzero((column < low) | (column > high))
        if len(wrong):
            raise LearnError(
                f"task {wrong[0]}: {name} must be within {low}..{high}, not {column[wrong[0]]}; compile again"
            )
    _check_places(program)
    # Tokens count tasks that stand before their waiter in the list, so the list itself is an order that can run.
    before = np.zeros(len(Queue), np.int64)
    for index, (queue, needs) in enumerate(zip(program.column("queue"), waits, strict=True)):
        if np.any(needs > before) or np.any(needs < 0):
            raise LearnError(
                f"task {index} waits for a task that does not come before it; compile again"
            )
        before[queue] += 1


def _check_places(program: LearnProgram) -> None:
    """Check that each task's buffer exists, and that a transfer fits it."""
    sizes = np.array([*program.config.learn.buffers.sizes.values(), np.iinfo(np.int64).max])
    number, half = program.places.T
    wrong = (
        (number < -1)
        | (number >= len(sizes) - 1)
        | (half < -1)
        | (half > 1)
        | ((number < 0) != (half < 0))
    )
    if not wrong.any():
        wrong = (program.column("operation") == Operation.TRANSFER) & (
            program.column("bytes") > sizes[number]
        )
    if wrong.any():
        at = int(np.argmax(wrong))
        raise LearnError(
            f"task {at}: {program.column('bytes')[at]:,} bytes do not fit copy {half[at]} of buffer {number[at]}; "
            f"compile again"
        )
