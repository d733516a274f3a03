"""The timeline of a training step as a Chrome trace, for ui.perfetto.dev or chrome://tracing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..chip.learn_program import LearnProgram, Operation, Queue
from .trace_events import TraceWriter, lanes, save_trace


def step_trace(program: LearnProgram, start: NDArray[Any], end: NDArray[Any]) -> dict[str, Any]:
    """Return a trace with a track for each queue and a slice for each task.

    Transfers whose latencies overlap lie on tracks side by side.

    Parameters
    ----------
    program : LearnProgram
    start, end : (tasks,) int64
        Cycles, from the step's timeline. A microsecond of the trace is one of the chip's clock.
    """
    writer = TraceWriter(program.config.clock_hz)
    writer.process(0, program.config.name)
    queues = program.column("queue")
    lane = np.zeros(len(queues), dtype=np.int64)
    for queue in Queue:
        own = queues == queue
        lane[own] = lanes(start[own].tolist(), end[own].tolist())
    tracks = int(lane.max(initial=0)) + 1
    for queue in Queue:
        name = queue.name.lower().replace("_", " ")
        for place in range(int(lane[queues == queue].max(initial=0)) + 1):
            title = f"{name} {place + 1}" if place else name
            writer.thread(0, _track(queue, place), title, int(queue) * tracks + place)
    stages = program.network.stages
    rows = zip(program.tasks.tolist(), start.tolist(), end.tolist(), lane.tolist(), strict=True)
    for (
        queue,
        operation,
        stage,
        part,
        first,
        frames,
        channel,
        channels,
        size,
    ), begin, stop, place in rows:
        what = Operation(operation).name.lower().replace("_", " ")
        arguments = {
            "micro batch": part, "frames": f"{first} to {first + frames}",
            "channels": f"{channel} to {channel + channels}",
            "cycles": stop - begin,
        }  # fmt: skip
        if operation == Operation.TRANSFER:
            arguments["bytes"] = size
        title = f"{stages[stage].name}: {what}"
        writer.slice(0, _track(queue, place), title, begin, stop, arguments)
    about = {
        "network": program.network.name,
        "chip": program.config.name,
        "config_hash": program.config.config_hash,
        "clock_hz": program.config.clock_hz,
        "batch": program.batch,
    }
    return writer.trace(about)


def _track(queue: int, lane: int) -> int:
    """Return the number of a track: the queue's own for its first lane."""
    return int(queue) + lane * len(Queue)


def save_step_trace(
    program: LearnProgram, start: NDArray[Any], end: NDArray[Any], path: str | Path
) -> None:
    """Write the trace of a step; raises OSError if that cannot be done."""
    save_trace(step_trace(program, start, end), path)
