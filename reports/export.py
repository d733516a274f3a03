"""A result as tables of plain numbers: one CSV file each, a header with units, for spreadsheets and notebooks."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from .accounts import AreaSummary, EnergyRowModel, Split
from .ceilings import chip_of
from .learn_result import LearnResult
from .mesh_map import core_totals
from .result import RunResult, write_whole
from .roofline import Roofline, core_rooflines, engine_rooflines

__all__ = ["DataTable", "data_tables", "write_csv"]


@dataclass(frozen=True)
class DataTable:
    """A table: ``name`` of its file, headings with the unit behind a comma, rows of numbers and text."""

    name: str
    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]

    def to_csv(self) -> str:
        """Return the table as CSV text; what is unknown is an empty cell."""
        text = StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows(self.rows)
        return text.getvalue()


def data_tables(result: RunResult | LearnResult) -> list[DataTable]:
    """Return the tables of a result; those that it has nothing for are left out."""
    tables = _of_run(result) if isinstance(result, RunResult) else _of_learning(result)
    return [table for table in tables if table.rows]


def write_csv(result: RunResult | LearnResult, folder: str | Path) -> list[Path]:
    """Write the tables into a folder, which is made if need be; return the files.

    Raises
    ------
    OSError
        If that cannot be done; files of the same names stay whole.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for table in data_tables(result):
        path = folder / f"{table.name}.csv"
        write_whole(path, table.to_csv())
        written.append(path)
    return written


def _of_run(result: RunResult) -> list[DataTable]:
    config = chip_of(result)
    cores = result.counters["cores"]
    events = [name for name in (cores[0] if cores else {}) if name not in ("x", "y", "layer")]
    ports = [n for n in (result.counters["routers"] or [{}])[0] if n.startswith("hops_")]
    n = result.samples
    return [
        DataTable("summary", ("figure", "value", "unit"), _run_summary(result)),
        DataTable(
            "samples", ("sample", "prediction", "label", "cycles", "latency, s"),
            [
                (
                    i, prediction, _at(result.labels, i), _at(result.sample_cycles, i),
                    None if result.sample_cycles is None else result.sample_cycles[i] / result.clock_hz,
                )
                for i, prediction in enumerate(result.predictions)
            ],
        ),
        *_energy_tables(result.energy_rows, result.energy_by_unit_j, "a sample"),
        _by_layer(result.energy_by_layer, result.energy_shared_j, "J a sample"),
        DataTable(
            "layers",
            (
                "layer", "kind", "shape", "cores", "partial-sum cores", "depth, chip timesteps", "outputs a sample",
                "synaptic operations a sample", "energy, J a sample",
            ),
            [
                (
                    of.name, of.kind, " x ".join(map(str, of.shape)), of.cores, of.partial_cores, of.depth,
                    of.spikes / n,
                    of.synops / n, of.energy_j,
                )
                for of in result.layers
            ],
        ),
        DataTable(
            "cores",
            (
                "x", "y", "layer", *(f"{event}, a sample" for event in events), "dynamic energy, J a sample",
                "static energy, J a sample",
            ),
            [
                (
                    core["x"], core["y"], core["layer"], *(core[event] / n for event in events), spent.dynamic,
                    spent.static,
                )
                for core, spent in zip(cores, result.energy_by_core_j, strict=True)
            ],
        ),
        DataTable(
            "routers", ("x", "y", *(f"{port}, flits a sample" for port in ports)),
            [
                (router["x"], router["y"], *(router[port] / n for port in ports))
                for router in result.counters["routers"]
            ],
        ),
        DataTable(
            "timesteps", ("chip timestep", "flits forwarded, a sample", "outputs of cores, a sample"),
            [
                (step, sum(flits) / n, sum(spikes) / n)
                for step, (flits, spikes) in enumerate(
                    zip(result.steps["router_flits"], result.steps["core_spikes"], strict=True)
                )
            ],
        ),
        DataTable(
            "edges", ("source", "target", "what", "routes", "flits a sample", "status"),
            [(e.source, e.target, e.what, e.routes, e.flits, e.status) for e in result.graph],
        ),
        _area(result.area),
        _rooflines(() if config is None else core_rooflines(result, config)),
        DataTable("neurobench", ("metric", "value"), _neurobench(result)),
    ]  # fmt: skip


def _of_learning(result: LearnResult) -> list[DataTable]:
    config = chip_of(result)
    layers = result.tasks.layers
    tasks = result.tasks
    return [
        DataTable("summary", ("figure", "value", "unit"), _learn_summary(result)),
        DataTable(
            "epochs",
            (
                "epoch", "loss", "accuracy", "test accuracy", "steps", "skipped steps", "cycles", "chip time, s",
                "energy, J",
                "simulated in, s",
            ),
            [
                (
                    e.epoch + 1, e.loss, e.accuracy, e.test_accuracy, e.steps, e.skipped_steps, e.cycles, e.seconds,
                    e.energy_j, e.wall_s,
                )
                for e in result.epochs
            ],
        ),
        DataTable(
            "engines", ("queue", "busy, cycles", *(f"waiting for {queue}, cycles" for queue in result.engines)),
            [
                (name, use.busy, *(use.stalls.get(queue, 0) for queue in result.engines))
                for name, use in result.engines.items()
            ],
        ),
        DataTable(
            "tasks", ("queue", "operation", "layer", "bytes", "start, cycle", "end, cycle"),
            [
                (tasks.queues[queue], tasks.operations[operation], layers[layer], size, start, end)
                for queue, operation, layer, size, start, end in zip(
                    tasks.queue, tasks.operation, tasks.layer, tasks.bytes, tasks.start, tasks.end, strict=True
                )
            ],
        ),
        DataTable(
            "counts", ("component", "layer", "event", "count, of the run"),
            [(c.component, c.layer, c.event, c.count) for c in result.counts],
        ),
        *_energy_tables(result.energy_rows, result.energy_by_unit_j, "of the run"),
        _by_layer(result.energy_by_layer, result.energy_shared_j, "J of the run"),
        DataTable(
            "densities", ("layer", *result.densities),
            [(layer, *(result.densities[kind].get(layer) for kind in result.densities)) for layer in layers],
        ),
        _area(result.area),
        _rooflines(() if config is None else engine_rooflines(result, config)),
        DataTable(
            "gpu",
            (
                "GPU", "its step, ms", "its power, W", "our step, ms", "our power, W", "speedup", "energy gain",
                "area ratio",
            ),
            [
                (g.gpu, g.gpu_ms, g.gpu_w, g.milliseconds, g.watts, g.speedup, g.energy_gain, g.area_ratio)
                for g in result.gpu or []
            ],
        ),
        *(
            DataTable(f"ablation_{number}", tuple(table.columns), [tuple(row) for row in table.rows])
            for number, table in enumerate(result.ablations or [], 1)
        ),
    ]  # fmt: skip


def _run_summary(result: RunResult) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = [
        ("accuracy", result.accuracy, ""), ("samples", result.samples, ""),
        ("median latency", result.latency_s.median, "s"), ("shortest latency", result.latency_s.min, "s"),
        ("longest latency", result.latency_s.max, "s"), ("median cycles a sample", result.cycles_per_sample.median, ""),
        ("throughput", result.throughput_per_s, "samples/s"), ("energy a sample", result.energy_j["total"], "J"),
        ("dynamic power", result.power_w.dynamic, "W"), ("static power", result.power_w.static, "W"),
        ("synaptic operations a sample", result.synops / result.samples, ""),
        ("energy a synaptic operation", result.pj_per_synop, "pJ"),
        ("packets a sample", result.packets / result.samples, ""),
        ("hops a sample", result.hops / result.samples, ""), ("clock", result.clock_hz, "Hz"),
        ("area", None if result.area is None else result.area.area_mm2, "mm2"),
        ("host input", result.host_input_share, "share of the cycles"),
        ("outputs of cores a sample", sum(core_totals(result)), ""),
    ]  # fmt: skip
    return rows


def _learn_summary(result: LearnResult) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = [
        ("test accuracy", result.accuracy, ""), ("samples", result.samples, ""), ("steps", result.steps, ""),
        ("batch", result.batch, ""), ("cycles", result.cycles, ""), ("chip time", result.seconds, "s"),
        ("multiply-accumulates if dense", result.macs, ""), ("clock", result.clock_hz, "Hz"),
    ]  # fmt: skip
    for name, of in result.figures.items():
        rows += [(f"chip time {name}", of.seconds, "s"), (f"energy {name}", of.energy_j, "J")]
    power = result.power_w
    return [
        *rows, ("dynamic power", None if power is None else power.dynamic, "W"),
        ("static power", None if power is None else power.static, "W"),
        ("energy an operation if dense", result.pj_per_operation, "pJ"),
        ("area", None if result.area is None else result.area.area_mm2, "mm2"),
    ]  # fmt: skip


def _energy_tables(
    rows: Sequence[EnergyRowModel], units: Mapping[str, Split], of: str
) -> Iterable[DataTable]:
    yield DataTable(
        "energy_rows",
        (
            "component", "event", "kind", f"count {of}", "cost each, J or W", f"energy, J {of}", "status",
            "one of them is", "source",
        ),
        [(r.component, r.event, r.kind, r.count, r.cost_j, r.energy_j, r.status, r.unit, r.source) for r in rows],
    )  # fmt: skip
    yield DataTable(
        "energy_by_unit",
        ("unit", f"dynamic energy, J {of}", f"static energy, J {of}"),
        [(name, split.dynamic, split.static) for name, split in units.items()],
    )


def _by_layer(
    layers: Mapping[str, Mapping[str, float]], shared: Mapping[str, float], unit: str
) -> DataTable:
    rows = [(layer, name, joules) for layer, of in layers.items() for name, joules in of.items()]
    rows += [("shared", name, joules) for name, joules in shared.items()]
    return DataTable("energy_by_layer", ("layer", "component", f"energy, {unit}"), rows)


def _area(area: AreaSummary | None) -> DataTable:
    return DataTable(
        "area",
        ("where", "component", "part", "what", "of them", "area of one, mm2", "area, mm2", "status", "source"),
        []
        if area is None
        else [
            (r.place, r.component, r.part, r.what, r.count, r.each_mm2, r.area_mm2, r.status, r.source)
            for r in area.rows
        ],
    )  # fmt: skip


def _rooflines(rooflines: Sequence[Roofline]) -> DataTable:
    rows = [
        (
            roofline.title, point.name, roofline.operation, roofline.traffic, point.intensity, point.rate,
            point.while_busy,
            *roofline.attainable(point),
        )
        for roofline in rooflines
        for point in roofline.points
    ]  # fmt: skip
    return DataTable(
        "roofline",
        (
            "roofline", "point", "operation", "traffic", "intensity, operations a unit of traffic",
            "rate, operations/s",
            "rate while it works, operations/s", "lowest ceiling, operations/s", "ceiling",
        ),
        rows,
    )  # fmt: skip


def _neurobench(result: RunResult) -> list[tuple[Any, ...]]:
    found = result.neurobench
    if found is None:
        return []
    fields = found.model_dump()
    rows: list[tuple[Any, ...]] = []
    for name, value in fields.items():
        if isinstance(value, dict):
            rows += [(f"{name}.{part}", number) for part, number in value.items()]
        elif name != "notes":
            rows.append((name, value))
    return rows


def _at(values: Sequence[int] | None, index: int) -> int | None:
    return None if values is None else values[index]
