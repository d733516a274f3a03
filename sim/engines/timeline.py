"""When each task of a training step starts and ends: queues in order, tokens, and one DRAM channel that seven share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...chip.learn_program import ENGINES, LearnProgram, Operation, Queue
from ...chip.learn_stalls import NO_STALLS
from ...chip.learn_timing import (
    DISPATCH_CYCLES,
    FETCH_CYCLES,
    forward_cycles,
    transfer_cycles,
    update_cycles,
)
from ...chip.learn_vector import vector_cycles
from ..jit import jit, jit_inline

Ints = NDArray[np.int64]
_ENGINES = len(ENGINES)
_QUEUES = len(Queue)


@dataclass(frozen=True)
class Timeline:
    """Cycles of n tasks, in the program's order.

    start, end : (n,) int64; a task's tokens come in its end cycle
    busy : (n,) int64, cycles for which the task held its engine, or the DRAM's channel
    stalls : (queues, queues) int64, cycles for which an engine (row) stood idle until a task of a queue (column) ended
    """

    start: Ints
    end: Ints
    busy: Ints
    stalls: Ints

    @property
    def cycles(self) -> int:
        """Cycles of the step."""
        return int(self.end.max(initial=0))


def task_cycles(program: LearnProgram, backward: Ints) -> Ints:
    """Return for how many cycles each task holds its engine or the channel; ``backward`` has those of its tasks."""
    config, network = program.config.learn, program.network
    cycles = np.zeros(len(program.tasks), np.int64)
    known: dict[tuple[int, ...], int] = {}
    nth = 0
    for index, row in enumerate(program.tasks.tolist()):
        _, operation, stage_index, _, _, frames, _, channels, size = row
        if operation == Operation.INPUT_GRADIENTS:
            cycles[index] = backward[nth]
            nth += 1
            continue
        key = (operation, stage_index, frames, channels, size)
        if key not in known:
            stage = network.stages[stage_index]
            if operation == Operation.TRANSFER:
                known[key] = transfer_cycles(config, size)
            elif operation == Operation.FORWARD_SUMS:
                known[key] = forward_cycles(config, network, stage, channels, frames)
            elif operation == Operation.WEIGHT_GRADIENTS:
                known[key] = update_cycles(config, network, stage, channels, frames)
            else:
                known[key] = vector_cycles(
                    config,
                    network,
                    program.recipe,
                    Operation(operation),
                    stage_index,
                    channels,
                    frames,
                )
        cycles[index] = known[key]
    return cycles


@jit_inline
def _is_ready(waits, index, done):
    """Tell whether a task's tokens are there, by how many tasks of each queue have ended."""
    ready = True
    for queue in range(_QUEUES):
        ready &= done[queue] >= waits[index, queue]
    return ready


@jit
def _run(queues, waits, busy, latency, dispatch, fetch, stalls, start, end):
    """Step from event to event. Engines run a task at a time; transfers hold the channel in turn, then take latency.

    A queue's first command is there after ``fetch`` cycles, each other one so many after the one before was taken. The
    channel carries nothing in the cycles that ``stalls`` marks, of which ``busy`` then counts them too.
    """
    count = len(queues)
    place = np.zeros(_QUEUES + 1, np.int64)
    for index in range(count):
        place[queues[index] + 1] += 1
    place = np.cumsum(place)
    order = np.empty(count, np.int64)
    filled = place.copy()
    for index in range(count):
        order[filled[queues[index]]] = index
        filled[queues[index]] += 1
    head, done = np.zeros(_QUEUES, np.int64), np.zeros(_QUEUES, np.int64)
    fetched = np.full(_QUEUES, fetch, np.int64)  # when the command at the head is there
    channel_free = 0
    last_served = _QUEUES - 1
    now = 0
    left = count
    while left > 0:
        for queue in range(_QUEUES):
            while done[queue] < head[queue] and end[order[place[queue] + done[queue]]] <= now:
                done[queue] += 1
                left -= 1
        next_time = np.int64(1) << 62
        for queue in range(_ENGINES):
            at = place[queue] + head[queue]
            if at == place[queue + 1] or done[queue] < head[queue] or fetched[queue] > now:
                continue
            index = order[at]
            if _is_ready(waits, index, done):
                start[index] = now + dispatch
                end[index] = start[index] + busy[index]
                head[queue] += 1
                fetched[queue] = now + fetch
        if channel_free <= now:
            for step in range(1, _QUEUES + 1):
                queue = (last_served + step) % _QUEUES
                at = place[queue] + head[queue]
                if queue < _ENGINES or at == place[queue + 1] or fetched[queue] > now:
                    continue
                index = order[at]
                if _is_ready(waits, index, done):
                    start[index] = now + dispatch
                    channel_free = start[index]
                    rows = busy[index]
                    while rows > 0:
                        rows -= 1 - np.int64(stalls[(channel_free - 1) % len(stalls)])
                        channel_free += 1
                    busy[index] = channel_free - start[index]
                    end[index] = channel_free + latency
                    head[queue] += 1
                    fetched[queue] = now + fetch
                    last_served = queue
                    break
        if channel_free > now:
            next_time = channel_free
        for queue in range(_QUEUES):
            if done[queue] < head[queue]:
                next_time = min(next_time, end[order[place[queue] + done[queue]]])
            if fetched[queue] > now:
                next_time = min(next_time, fetched[queue])
        now = next_time


@jit
def _stalls(queues, waits, end, result):
    """Blame the cycles that each engine stood idle until a task's tokens were there on the queue whose came last."""
    count = len(queues)
    ends = np.zeros((_QUEUES, count + 1), np.int64)
    numbers = np.zeros(_QUEUES, np.int64)
    for index in range(count):
        queue = queues[index]
        numbers[queue] += 1
        ends[queue, numbers[queue]] = end[index]
    free = np.zeros(_QUEUES, np.int64)
    for index in range(count):
        queue = queues[index]
        if queue < _ENGINES:
            cause, latest = 0, free[queue]
            for other in range(_QUEUES):
                needed = waits[index, other]
                if needed > 0 and ends[other, needed] > latest:
                    latest = ends[other, needed]
                    cause = other
            result[queue, cause] += latest - free[queue]
        free[queue] = end[index]


def run_timeline(
    program: LearnProgram, backward: Ints, stalls: NDArray[np.uint8] = NO_STALLS
) -> Timeline:
    """Work out when every task of a step starts and ends; ``backward`` as in `task_cycles`.

    ``stalls`` marks the cycles, from cycle 1 on and repeated, in which the memory accepts nothing.
    """
    busy = task_cycles(program, backward)
    start, end = np.zeros_like(busy), np.zeros_like(busy)
    queues = np.ascontiguousarray(program.column("queue"))
    _run(
        queues,
        program.waits,
        busy,
        program.config.learn.dram.latency_cycles,
        DISPATCH_CYCLES,
        FETCH_CYCLES,
        stalls,
        start,
        end,
    )
    blamed = np.zeros((_QUEUES, _QUEUES), np.int64)
    _stalls(queues, program.waits, end, blamed)
    return Timeline(start, end, busy, blamed)
