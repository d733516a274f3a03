"""Rooflines: how much an engine did a second, beside what its lanes and what the traffic to it allow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..chip.config import ChipConfig
from .learn_result import LearnResult
from .result import RunResult

__all__ = ["Point", "Roofline", "Slope", "core_rooflines", "engine_rooflines"]


@dataclass(frozen=True)
class Slope:
    """A ceiling of traffic: ``per_second`` units of it at most, so that rate <= per_second x intensity."""

    name: str
    per_second: float


@dataclass(frozen=True)
class Point:
    """One layer or engine: ``intensity`` operations a unit of traffic, ``rate`` operations a second.

    ``while_busy`` is the rate over the time in which it worked, None where that time is not known. ``intensity`` is
    None where there was no traffic: then only the lanes bind.
    """

    name: str
    number: int
    intensity: float | None
    rate: float
    while_busy: float | None = None


@dataclass(frozen=True)
class Roofline:
    """Points under ceilings.

    Attributes
    ----------
    title, operation, traffic : str
        What is shown; what an operation is; the unit of traffic: an intensity is in operations a ``traffic``.
    peaks : tuple of (name, operations a second)
        Flat ceilings, the first one binds the points.
    slopes : tuple of Slope
    points : tuple of Point
    note : str
        What rate and ceilings refer to.
    """

    title: str
    operation: str
    traffic: str
    peaks: tuple[tuple[str, float], ...]
    slopes: tuple[Slope, ...]
    points: tuple[Point, ...]
    note: str

    def attainable(self, point: Point) -> tuple[float, str]:
        """Return the lowest ceiling above a point: operations a second, and the ceiling's name."""
        ceilings = [(self.peaks[0][1], self.peaks[0][0])]
        if point.intensity is not None:
            ceilings += [(slope.per_second * point.intensity, slope.name) for slope in self.slopes]
        return min(ceilings)


def core_rooflines(result: RunResult, config: ChipConfig) -> tuple[Roofline, ...]:
    """Return the rooflines of a many-core: synaptic operations against weight memory, network on chip and host.

    The first two are of one core, a point for each layer: the mean of its cores, over the whole run. The third is of
    the chip. ``config`` gives the ceilings: lanes, a weight word a cycle, a flit a cycle each way at a core's router
    port, a flit a cycle at each port of the host. A run without synaptic operations has none.
    """
    chip, clock = config.many_core, config.clock_hz
    cycles = result.counters["chip"]["cycles"]
    sums = _by_layer(result)
    widths = {
        layer.name: int(layer.notes.get("weight_bits", chip.core.weight_bits))
        for layer in result.layers
        if layer.name in sums
    }
    full = chip.core.weight_bits
    peaks = tuple(
        (f"{chip.effective_lanes(bits)} lanes, {bits}-bit weights", chip.effective_lanes(bits) * clock)
        for bits in sorted({full, *(b for b in widths.values() if b in (full, 4, 2))}, reverse=True)
    )  # fmt: skip
    word = chip.core.lanes * full / 8
    weights, flits = [], []
    for number, layer in enumerate(result.layers, 1):
        of = sums.get(layer.name, {})
        if not of.get("synops"):
            continue
        rate = of["synops"] / (of["cores"] * cycles) * clock
        busy = of["synops"] / of["compute_cycles"] * clock if of["compute_cycles"] else None
        read = of["weight_reads"] * word
        port = max(of["axon_writes"] + of["sum_writes"], of["flits_sent"])
        weights.append(Point(layer.name, number, _over(of["synops"], read), rate, busy))
        flits.append(Point(layer.name, number, _over(of["synops"], port), rate, busy))
    if not weights:
        return ()
    used = sum(int(of["cores"]) for of in sums.values())
    synops = sum(of["synops"] for of in sums.values())
    host = result.counters["chip"]["host_flits_in"]
    ports = len(chip.network.host_rows)
    of_a_core = (
        "Of one core, the mean of a layer's cores. Filled: over the whole run, with the waiting for other cores; "
        "hollow: over the cycles in which the core computes."
    )
    return (
        Roofline(
            "A core and its weight memory", "synaptic operation", "byte of weights read", peaks,
            (Slope("weight memory", word * clock),), tuple(weights),
            f"{of_a_core} A word of {word:g} bytes a cycle; a last group of neurons that does not fill the lanes moves "
            "a point to the left.",
        ),
        Roofline(
            "A core and its router port", "synaptic operation", "flit through the port", peaks,
            (Slope("network on chip", clock),), tuple(flits),
            f"{of_a_core} A flit a cycle each way; counted is the busier direction.",
        ),
        Roofline(
            "The chip and its host", "synaptic operation", "flit from the host",
            ((f"lanes of the {used} cores in use", used * peaks[0][1]),),
            (Slope("host port" if ports == 1 else f"{ports} host ports", ports * clock),),
            (Point(result.network, 0, _over(synops, host), synops / cycles * clock),),
            "Of the whole chip, over the whole run.",
        ),
    )  # fmt: skip


def _over(count: float, traffic: float) -> float | None:
    return count / traffic if traffic else None


def _by_layer(result: RunResult) -> dict[str, dict[str, float]]:
    """Return the counters of each layer, added up over its cores, and how many ``cores`` these are."""
    sums: dict[str, dict[str, float]] = {}
    for core in result.counters["cores"]:
        _add(sums.setdefault(str(core["layer"]), {"cores": 0}), core)
    return sums


def _add(into: dict[str, float], core: dict[str, Any]) -> None:
    into["cores"] += 1
    for name, value in core.items():
        if name not in ("x", "y", "layer"):
            into[name] = into.get(name, 0) + value


def engine_rooflines(result: LearnResult, config: ChipConfig) -> tuple[Roofline, ...]:
    """Return the rooflines of the learning engines: their operations against the bytes that they move from and to DRAM.

    An engine's bytes are those that its own buffers were filled with and drained of. Its time is that for which it was
    held; a layer's is its part of it, by the tasks of the step that the result keeps. The DRAM's ceiling is that of
    the channel, which all engines share.
    """
    learn, clock = config.learn, config.clock_hz
    dram = Slope("DRAM channel", learn.dram.bytes_per_cycle * clock)
    forward, update = learn.forward, learn.update
    kinds = (
        ("forward", "inputs", "binary input", forward.lanes * forward.group,
         f"{forward.lanes:,} lanes x {forward.group} inputs"),
        ("backward", "products", "multiply-add", learn.backward.rows * learn.backward.lanes,
         f"{learn.backward.rows * learn.backward.lanes:,} multiply-adds"),
        ("update", "inputs", "binary input", update.lanes * update.group,
         f"{update.lanes:,} lanes x {update.group} inputs"),
        ("vector", "elements", "element", learn.vector.width, f"{learn.vector.width:,} elements wide"),
    )  # fmt: skip
    counts = _engine_counts(result)
    made: list[Roofline] = []
    for engine, event, operation, a_cycle, peak in kinds:
        busy = result.engines[engine].busy / clock
        done = {layer: of.get(event, 0.0) for layer, of in counts[engine].items()}
        total, moved = (
            sum(done.values()),
            sum(of.get("bytes", 0.0) for of in counts[engine].values()),
        )
        if not total or not busy:
            continue
        points = [
            Point(
                layer,
                number,
                _over(done[layer], counts[engine][layer].get("bytes", 0.0)),
                done[layer] / (share * busy),
            )
            for number, layer, share in _layer_shares(result, engine)
            if done.get(layer)
        ]
        whole = Point(
            f"{engine}, the whole run", 0, _over(total, moved), total / result.seconds, total / busy
        )
        made.append(
            Roofline(
                f"{engine} engine" if engine != "vector" else "vector unit", operation, "byte from or to DRAM",
                ((peak, a_cycle * clock),), (dram,), (*points, whole),
                "Numbered: a layer, over the time for which it held the engine. Blue: the engine, filled over the "
                "whole run, hollow over the time for which it was held. All engines share the channel.",
            )
        )  # fmt: skip
    return tuple(made)


def _engine_counts(result: LearnResult) -> dict[str, dict[str, dict[str, float]]]:
    """Return events by engine and layer, with the ``bytes`` between the engine's buffers and DRAM."""
    counts: dict[str, dict[str, dict[str, float]]] = {
        name: {} for name in ("forward", "backward", "update", "vector")
    }
    for row in result.counts:
        engine = row.component.split("_")[0]
        if engine not in counts:
            continue
        event = "bytes" if row.event in ("filled_bytes", "drained_bytes") else row.event
        of = counts[engine].setdefault(row.layer, {})
        if event == "bytes" or row.component == engine:
            of[event] = of.get(event, 0.0) + row.count
    return counts


def _layer_shares(result: LearnResult, engine: str) -> list[tuple[int, str, float]]:
    """Return number, name and share of the engine's time of each layer that has tasks on it."""
    tasks = result.tasks
    times = [0] * len(tasks.layers)
    number = tasks.queues.index(engine)
    for queue, layer, start, end in zip(
        tasks.queue, tasks.layer, tasks.start, tasks.end, strict=True
    ):
        if queue == number:
            times[layer] += end - start
    whole = sum(times)
    return [
        (i, name, time / whole)
        for i, (name, time) in enumerate(zip(tasks.layers, times, strict=True), 1)
        if time
    ]
