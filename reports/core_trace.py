"""What cores, links and host of a many-core do over time, as a Chrome trace for ui.perfetto.dev or chrome://tracing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..chip.events import PORTS
from ..chip.program import ManyCoreProgram
from .trace_events import TraceWriter

Ints = NDArray[np.int64]

MOST_SLICES = 100_000  # of a trace: 15 MB, which viewers still open at once
_CHIP, _CORES, _LINKS = 0, 1, 2


class TraceError(ValueError):
    """A trace that would be too large; the message is a sentence for the user."""


@dataclass(frozen=True)
class SampleActivity:
    """What happened in the chip timesteps ``first`` <= k < ``end`` of a sample; cycles are within the timestep.

    cycles : (K,) int64, length of every chip timestep of the sample; its reset is in the first
    computes : (n, 5) int64: k, core, first cycle, cycle after the last, outputs that are not 0
    sends : (n, 5) int64: k, core (or -1 - i for the host's input port i), first cycle in which a flit asks, cycle after
        the last flit is taken, flits
    transfers : (n, 4) int64: k, cycle, router, output: a flit leaves a router
    """

    cycles: Ints
    first: int
    end: int
    computes: Ints
    sends: Ints
    transfers: Ints


def core_trace(
    program: ManyCoreProgram,
    activities: Sequence[SampleActivity],
    first_sample: int = 0,
    most_slices: int = MOST_SLICES,
) -> dict[str, Any]:
    """Return a trace: timesteps and host, a track for each core and for each link in use.

    A core's track has a slice ``compute`` and a slice ``send`` a timestep, a link's one for each run of flits. Where
    the slices are more than ``most_slices``, runs of flits with short gaps between them become one, and the trace says
    of what length. A microsecond is one of the chip's clock; samples follow each other without a pause.

    Raises
    ------
    TraceError
        The slices of cores and host alone are more than ``most_slices``.
    """
    config = program.config
    writer = TraceWriter(config.clock_hz)
    starts = _starts(program, activities)
    fixed = sum(len(a.computes) + len(a.sends) + a.end - a.first for a in activities)
    links, cycles, samples = _link_times(activities, starts)
    left = most_slices - fixed
    gap = _gap(links, cycles, left)
    if gap is None:
        raise TraceError(
            f"the trace would have {fixed:,} slices of cores and host and more of links, of {most_slices:,} at most; "
            "give fewer samples, or a window of timesteps"
        )
    _write_chip(writer, program, activities, starts, first_sample)
    _write_cores(writer, program, activities, starts)
    _write_links(writer, program, links, cycles, samples + first_sample, gap)
    about = {
        "network": program.meta.get("network", "network"),
        "chip": config.name,
        "config_hash": config.config_hash,
        "clock_hz": config.clock_hz,
        "samples": len(activities),
        "first_sample": first_sample,
        "link_gap_cycles": gap,
    }
    return writer.trace(about)


def _starts(program: ManyCoreProgram, activities: Sequence[SampleActivity]) -> list[Ints]:
    """Return for each sample the cycle in which each of its chip timesteps starts."""
    reset = program.config.many_core.sample_reset_cycles
    found, base = [], 0
    for activity in activities:
        before = base + np.concatenate([[0], np.cumsum(activity.cycles)])
        base = int(before[-1])
        before[0] += reset
        found.append(before[:-1])
    return found


def _link_times(
    activities: Sequence[SampleActivity], starts: Sequence[Ints]
) -> tuple[Ints, Ints, Ints]:
    """Return link (router x ports + output), cycle of the trace and sample of every transfer, by link and cycle."""
    link = [a.transfers[:, 2] * len(PORTS) + a.transfers[:, 3] for a in activities]
    cycle = [
        start[a.transfers[:, 0]] + a.transfers[:, 1]
        for a, start in zip(activities, starts, strict=True)
    ]
    sample = [np.full(len(a.transfers), i) for i, a in enumerate(activities)]
    links, cycles, samples = (np.concatenate(parts) for parts in (link, cycle, sample))
    order = np.lexsort((cycles, links))
    return links[order], cycles[order], samples[order]


def _breaks(links: Ints, cycles: Ints, gap: int) -> NDArray[np.bool_]:
    """Return where a run begins: at another link, or more than ``gap`` cycles after the flit before."""
    return (np.diff(links, prepend=-1) != 0) | (np.diff(cycles, prepend=-1) > gap)


def _gap(links: Ints, cycles: Ints, most: int) -> int | None:
    """Return the shortest gap, a power of two, that leaves at most so many runs; None if there is none."""
    gap, longest = 1, int(cycles.max(initial=0)) + 1
    while int(_breaks(links, cycles, gap).sum()) > most:
        if gap > longest:
            return None
        gap *= 2
    return gap if most >= 0 else None


def _write_chip(
    writer: TraceWriter,
    program: ManyCoreProgram,
    activities: Sequence[SampleActivity],
    starts: Sequence[Ints],
    first_sample: int,
) -> None:
    writer.process(_CHIP, f"{program.config.name}: timesteps and host")
    writer.thread(_CHIP, 0, "timesteps")
    ports = program.config.many_core.network.host_rows
    for port, row in enumerate(ports):
        writer.thread(_CHIP, 1 + port, f"host input {port}, row {row}")
    for i, (activity, start) in enumerate(zip(activities, starts, strict=True)):
        flits = np.bincount(activity.transfers[:, 0], minlength=activity.end)
        for k in range(activity.first, activity.end):
            at = int(start[k])
            end = int(start[k + 1]) if k + 1 < len(start) else int(start[0] + activity.cycles.sum())
            if k + 1 == len(start):
                end -= program.config.many_core.sample_reset_cycles
            name = f"timestep {k}"
            writer.slice(_CHIP, 0, name, at, end, {"sample": first_sample + i, "cycles": end - at})
            writer.counter(_CHIP, "flits forwarded", at, {"flits": int(flits[k])})
        for k, sender, begin, end, count in activity.sends[activity.sends[:, 1] < 0].tolist():
            at = int(start[k])
            args = {"timestep": k, "flits": count, "stalls": end - begin - count}
            writer.slice(_CHIP, -sender, "inject", at + begin, at + end, args)


def _write_cores(
    writer: TraceWriter,
    program: ManyCoreProgram,
    activities: Sequence[SampleActivity],
    starts: Sequence[Ints],
) -> None:
    writer.process(_CORES, "cores")
    columns = program.config.many_core.network.columns
    x, y = program.register("x").tolist(), program.register("y").tolist()
    place = [b * columns + a for a, b in zip(x, y, strict=True)]
    for c, tid in enumerate(place):
        layer = program.layers[int(program.core_layer[c])].name
        writer.thread(_CORES, tid, f"core {x[c]}, {y[c]}: {layer}")
    for activity, start in zip(activities, starts, strict=True):
        for k, c, begin, end, outputs in activity.computes.tolist():
            at, args = int(start[k]), {"timestep": k, "outputs": outputs}
            writer.slice(_CORES, place[c], "compute", at + begin, at + end, args)
        for k, c, begin, end, flits in activity.sends[activity.sends[:, 1] >= 0].tolist():
            at, args = int(start[k]), {"timestep": k, "flits": flits, "stalls": end - begin - flits}
            writer.slice(_CORES, place[c], "send", at + begin, at + end, args)


def _write_links(
    writer: TraceWriter,
    program: ManyCoreProgram,
    links: Ints,
    cycles: Ints,
    samples: Ints,
    gap: int,
) -> None:
    writer.process(_LINKS, "links")
    columns = program.config.many_core.network.columns
    for link in np.unique(links).tolist():
        router, output = divmod(link, len(PORTS))
        x, y = router % columns, router // columns
        way = "to its core" if PORTS[output] == "local" else PORTS[output]
        if PORTS[output] == "north" and y == 0:
            way = "north, to the host"
        writer.thread(_LINKS, link, f"router {x}, {y}: {way}")
    firsts = np.flatnonzero(_breaks(links, cycles, gap))
    for first, end in zip(firsts.tolist(), [*firsts[1:].tolist(), len(links)], strict=True):
        flits, start = end - first, int(cycles[first])
        stop = int(cycles[end - 1]) + 1
        args = {
            "flits": flits,
            "busy": round(flits / (stop - start), 4),
            "sample": int(samples[first]),
        }
        writer.slice(_LINKS, int(links[first]), "flits", start, stop, args)
