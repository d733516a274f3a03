"""The timeline of a training step as a Chrome trace, for ui.perfetto.dev or chrome://tracing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ..chip.learn_program import LearnProgram, Operation, Queue
from .result import write_whole


def step_trace(program: LearnProgram, start: NDArray[Any], end: NDArray[Any]) -> dict[str, Any]:
    """Return a trace with a track for each queue and a slice for each task.

    Parameters
    ----------
    program : LearnProgram
    start, end : (tasks,) int64
        Cycles, from the step's timeline. A microsecond of the trace is one of the chip's clock.
    """
    micros = 1e6 / program.config.clock_hz
    events: list[dict[str, Any]] = [
        {
            "ph": "M",
            "pid": 0,
            "tid": 0,
            "name": "process_name",
            "args": {"name": program.config.name},
        }
    ]
    for queue in Queue:
        name = queue.name.lower().replace("_", " ")
        events.append(
            {"ph": "M", "pid": 0, "tid": int(queue), "name": "thread_name", "args": {"name": name}}
        )
        events.append(
            {
                "ph": "M",
                "pid": 0,
                "tid": int(queue),
                "name": "thread_sort_index",
                "args": {"sort_index": int(queue)},
            }
        )
    stages = program.network.stages
    rows = zip(program.tasks.tolist(), start.tolist(), end.tolist(), strict=True)
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
    ), begin, stop in rows:
        what = Operation(operation).name.lower().replace("_", " ")
        arguments = {
            "micro batch": part, "frames": f"{first} to {first + frames}",
            "channels": f"{channel} to {channel + channels}",
            "cycles": stop - begin,
        }  # fmt: skip
        if operation == Operation.TRANSFER:
            arguments["bytes"] = size
        events.append(
            {
                "ph": "X", "pid": 0, "tid": queue, "name": f"{stages[stage].name}: {what}", "cat": what,
                "ts": begin * micros, "dur": (stop - begin) * micros, "args": arguments,
            }
        )  # fmt: skip
    return {"traceEvents": events, "displayTimeUnit": "ns"}


def save_step_trace(
    program: LearnProgram, start: NDArray[Any], end: NDArray[Any], path: str | Path
) -> None:
    """Write the trace of a step; raises OSError if that cannot be done."""
    write_whole(path, json.dumps(step_trace(program, start, end)))
