"""`show`: a preset, a configuration, a network, a program or a result as tables to read."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from math import fsum
from pathlib import Path
from typing import Any

from .chip.config import ChipConfig, load_config, preset_names
from .chip.packet import FlitLayout
from .chip.program import ManyCoreProgram
from .chip.program_file import load_program
from .compiling import load_nir
from .errors import InputError
from .reports.accounts import AreaSummary, EnergyRowModel, Split
from .reports.learn_result import LearnResult
from .reports.result import RunResult, load_result
from .reports.units import count, share, si

Rows = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Table:
    """Rows under a title; the first row names the columns."""

    title: str
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Shown:
    """What `show` found out: the kind of thing, its name, tables."""

    kind: str
    name: str
    tables: tuple[Table, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return {
            "kind": self.kind,
            "name": self.name,
            "tables": {
                table.title: [dict(zip(table.rows[0], row, strict=True)) for row in table.rows[1:]]
                for table in self.tables
            },
        }


def show(thing: str | Path, **convention: Any) -> Shown:
    """Describe a preset's name, or a .yaml, .nir, .chip or result .json file.

    ``convention`` takes the options of `compile` for a .nir file.

    Raises
    ------
    InputError, ConfigError, NetworkError, ProgramError, ResultError
        If it is none of these or damaged.
    """
    text = str(thing)
    if text in preset_names():
        return _show_config(load_config(text))
    path = Path(thing)
    if not path.is_file():
        raise InputError(
            f"{text!r} is neither a preset ({', '.join(preset_names())}) nor a file; "
            "give a .yaml, .nir, .chip or result .json file"
        )
    if path.suffix in (".yaml", ".yml"):
        return _show_config(load_config(path))
    if path.suffix == ".json":
        return _show_result(load_result(path))
    if zipfile.is_zipfile(path):
        return _show_program(load_program(path), path.name)
    return _show_network(path, convention)


def _show_config(config: ChipConfig) -> Shown:
    tables = ()
    if config.many_core_half is not None:
        tables = _many_core_tables(config)
    if config.learn_half is not None:
        tables = (*tables, *_learn_tables(config))
    return Shown("chip", config.name, tables)


def _learn_tables(config: ChipConfig) -> tuple[Table, ...]:
    learn = config.learn
    rate = config.clock_hz / 1e12
    lookups = {name: getattr(learn, name) for name in ("forward", "update")}
    products = learn.backward.rows * learn.backward.lanes
    facts = (
        ("fact", "value"),
        ("configuration hash", config.config_hash),
        ("clock", f"{config.clock_hz / 1e6:g} MHz, {config.node_nm} nm"),
        *(
            (
                f"{name} engine",
                f"{e.lanes:,} lanes, {e.lanes * e.group * rate:.2f} T inputs/s, whatever their density",
            )
            for name, e in lookups.items()
        ),
        (
            "backward engine",
            f"{products:,} multiply-adds, {products * rate:.2f} T/s of those that no zero spares",
        ),
        ("buffers", f"{learn.buffers.total / 2**20:.1f} MiB, each twice"),
        ("DRAM", f"{learn.dram.bytes_per_cycle * config.clock_hz / 1e9:.0f} GB/s"),
    )
    fields = [("field", "value")]
    for name, value in learn.model_dump().items():
        parts = value.items() if isinstance(value, dict) else ()
        fields += [(f"{name}.{part}", str(number)) for part, number in parts] or [
            (name, str(value))
        ]
    return (
        Table("learning engines", facts),
        Table("fields of the learning engines", tuple(fields)),
    )


def _many_core_tables(config: ChipConfig) -> tuple[Table, ...]:
    chip = config.many_core
    core, mesh = chip.core, chip.network
    cores = chip.core_count
    dense = chip.compute_cycles(core.axons, core.neurons, core.weight_bits)
    layout = FlitLayout.of(chip)
    facts = (
        ("fact", "value"),
        ("configuration hash", config.config_hash),
        ("clock", f"{config.clock_hz / 1e6:g} MHz, {config.node_nm} nm"),
        ("mesh", f"{mesh.columns} x {mesh.rows} = {cores} cores"),
        ("neurons", f"{cores * core.neurons:,}"),
        ("synapses", f"{cores * core.axons * core.neurons:,} of {core.weight_bits} bits"),
        ("weight memory", f"{cores * core.axons * core.neurons * core.weight_bits / 8 / 2**20:.1f} MiB"),
        ("dense core", f"{dense:,} cycles a timestep"),
        ("idle core", f"{chip.compute_cycles(0, core.neurons, core.weight_bits):,} cycles a timestep"),
        ("dense rate", f"{cores * core.axons * core.neurons / dense * config.clock_hz / 1e9:.1f} GSyOPS of compute"),
    )  # fmt: skip
    fields = [("field", "value")]
    for section in ("core", "network", "timestep"):
        part = getattr(chip, section)
        fields += [(f"{section}.{name}", str(value)) for name, value in part.model_dump().items()]
    flit = (
        ("field", "bits"),
        *((name, str(bits)) for name, bits in layout.fields),
        ("all", str(layout.bits)),
    )
    return (Table("chip", facts), Table("fields", tuple(fields)), Table("flit", flit))


def _show_network(path: Path, convention: dict[str, Any]) -> Shown:
    loaded = load_nir(path, **convention)
    passes = [("pass", "what it did")]
    for record in loaded.passes:
        passes.append((record.name, record.summary))
        passes += [("", detail) for detail in record.details]
    populations = [("population", "kind", "shape", "reset", "compare")]
    for p in loaded.network.populations:
        reset = (
            f"{p.reset_mode.name.lower()}, {p.reset_timing.name.lower()} timestep"
            if p.spiking
            else "-"
        )
        populations.append(
            (
                p.name,
                p.kind.name,
                "x".join(map(str, p.shape)),
                reset,
                p.compare.name if p.spiking else "-",
            )
        )
    return Shown(
        "network",
        path.stem,
        (Table("passes", tuple(passes)), Table("populations", tuple(populations))),
    )


def _show_program(program: ManyCoreProgram, name: str) -> Shown:
    layers = [("layer", "kind", "shape", "depth", "cores", "partial sums")]
    layers += [
        (item.name, item.kind, "x".join(map(str, item.shape)),
         str(item.depth), str(len(item.cores)), str(len(item.partial_cores)))
        for item in program.layers
    ]  # fmt: skip
    facts = [
        ("fact", "value"),
        ("chip", f"{program.config.name} ({program.config.config_hash})"),
        ("cores in use", f"{program.core_count} of {program.config.many_core.core_count}"),
        (
            "inputs",
            ", ".join(f"{i.name} {i.shape}, one unit {i.scale:.6g}" for i in program.inputs),
        ),
        (
            "outputs",
            f"{program.output_size}, {'spiking' if program.output_spiking else 'membranes'}",
        ),
        (
            "pipeline",
            f"{program.depth} chip timesteps deep, {program.steps_per_timestep} a network timestep",
        ),
        (
            "routes",
            f"{len(program.routes):,} from cores, {len(program.input_routes):,} from the host",
        ),
    ]
    facts += [("note", str(note)) for note in program.meta.get("notes", [])]
    passes = [("pass", "what it did")]
    passes += [(item["name"], item["summary"]) for item in program.meta.get("passes", [])]
    loss = [("layer", "what", "value")]
    loss += [
        (item.name, k, f"{v:.4g}" if isinstance(v, float) else str(v))
        for item in program.layers
        for k, v in item.notes.items()
    ]
    return Shown(
        "program", name, (Table("program", tuple(facts)), Table("layers", tuple(layers)), Table("passes",
        tuple(passes)),
                          Table("per layer", tuple(loss)))
    )  # fmt: skip


def _show_result(result: RunResult | LearnResult) -> Shown:
    layers = {name: fsum(parts.values()) for name, parts in result.energy_by_layer.items()}
    tables: list[Table] = []
    if isinstance(result, LearnResult):
        tables += [Table("result", learn_result_rows(result)), Table("queues", _queues(result))]
        if result.epochs:
            tables.append(Table("epochs", _epochs(result)))
        what = "of the run"
    else:
        tables.append(Table("result", result_rows(result)))
        what = "a sample"
    if layers:
        tables.append(
            Table(f"energy by layer, {what}", _layer_energy(layers, result.energy_shared_j))
        )
        tables.append(Table(f"energy by unit, {what}", _unit_energy(result.energy_by_unit_j)))
        tables.append(Table(f"energy rows, {what}", _energy_rows(result.energy_rows)))
    if result.area is not None:
        tables.append(Table(f"area by component, {result.area.basis}", _area(result.area)))
    if isinstance(result, LearnResult):
        tables += [
            Table(
                table.title, (tuple(table.columns), *(tuple(map(_cell, row)) for row in table.rows))
            )
            for table in result.ablations or ()
        ]
    return Shown("result", result.network, tuple(tables))


def _layer_energy(layers: dict[str, float], shared: dict[str, float]) -> Rows:
    total = fsum([*layers.values(), *shared.values()])
    named = [*layers.items(), *((f"shared: {name}", value) for name, value in shared.items())]
    return (
        ("layer", "energy", "share"),
        *((name, si(value, "J"), share(value / total)) for name, value in named),
        ("total", si(total, "J"), share(1.0)),
    )


def _unit_energy(units: dict[str, Split]) -> Rows:
    dynamic, static = (
        fsum(getattr(unit, kind) for unit in units.values()) for kind in ("dynamic", "static")
    )
    return (
        ("unit", "dynamic", "static", "both"),
        *(
            (name, si(u.dynamic, "J"), si(u.static, "J"), si(u.total, "J"))
            for name, u in units.items()
        ),
        ("total", si(dynamic, "J"), si(static, "J"), si(dynamic + static, "J")),
    )


def _energy_rows(rows: list[EnergyRowModel]) -> Rows:
    return (
        ("component", "event", "kind", "count", "each", "energy", "status"),
        *(
            (
                row.component, row.event, row.kind, count(row.count),
                si(row.cost_j, "W" if row.event.endswith("seconds") else "J"), si(row.energy_j, "J"), row.status,
            )
            for row in rows
            if row.energy_j
        ),
    )  # fmt: skip


def _area(area: AreaSummary) -> Rows:
    return (
        ("component", "mm2", "share"),
        *(
            (name, f"{mm2:.4f}", share(mm2 / area.area_mm2))
            for name, mm2 in area.by_component.items()
        ),
        ("total", f"{area.area_mm2:.4f}", share(1.0)),
    )


def _queues(result: LearnResult) -> Rows:
    rows: list[tuple[str, ...]] = [("queue", "busy", "share of the cycles", "waits most for")]
    for name, use in result.engines.items():
        cause = max(use.stalls, key=lambda queue: use.stalls[queue], default="")
        waits = f"{cause}, {share(use.stalls[cause] / result.cycles)}" if cause else ""
        rows.append((name, f"{use.busy:,}", share(use.busy / result.cycles), waits))
    return tuple(rows)


def _epochs(result: LearnResult) -> Rows:
    return (
        ("epoch", "loss", "accuracy", "test", "cycles", "chip time", "energy"),
        *(
            (
                str(e.epoch + 1), f"{e.loss:.4f}", f"{e.accuracy:.2%}",
                "none" if e.test_accuracy is None else f"{e.test_accuracy:.2%}", f"{e.cycles:,}", si(e.seconds, "s"),
                _known(e.energy_j),
            )
            for e in result.epochs
        ),
    )  # fmt: skip


def learn_result_rows(result: LearnResult) -> Rows:
    """Return the summary of a result of the learning half as rows to print."""
    power = result.power_w
    operation = result.pj_per_operation
    rows = [
        ("what", "value"),
        ("network on chip", f"{result.network} on {result.chip} ({result.config_hash})"),
        ("kind", "one step, priced and not run" if result.kind == "step" else f"{len(result.epochs)} epochs"),
        ("steps, samples", f"{result.steps:,} of {result.batch:,}, {result.samples:,}"),
        ("accuracy", "not measured" if result.accuracy is None else f"{result.accuracy:.2%} of the test data"),
    ]  # fmt: skip
    for name, figures in result.figures.items():
        text = (
            f"{figures.cycles:,.0f} cycles, {si(figures.seconds, 's')}, {_known(figures.energy_j)}"
        )
        rows.append((name, text))
    rows += [
        ("power", "unknown" if power is None else f"{_power(power)}, with the memory"),
        ("energy an operation if dense", "unknown" if operation is None else f"{operation:.3f} pJ"),
        ("area", _area_text(result.area)),
    ]
    rows += [
        (
            f"beside a {gpu.gpu}",
            f"{gpu.speedup:.2f} times as fast, {gpu.energy_gain:.2f} times less energy, modelled",
        )
        for gpu in result.gpu or ()
    ]
    rows += [("note", note) for note in result.notes]
    return tuple(rows)


def _power(power: Split) -> str:
    parts = f"{si(power.dynamic, 'W')} dynamic, {si(power.static, 'W')} static"
    return f"{si(power.total, 'W')}: {parts}"


def _known(joules: float | None) -> str:
    return "energy unknown" if joules is None else si(joules, "J")


def _area_text(area: AreaSummary | None) -> str:
    return "unknown" if area is None else f"{area.area_mm2:.3g} mm2 at {area.node_nm} nm, estimated"


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def result_rows(result: RunResult) -> tuple[tuple[str, str], ...]:
    """Return the summary of a result as rows to print."""
    cycles, latency = result.cycles_per_sample, result.latency_s
    accuracy = (
        "no labels" if result.accuracy is None else f"{result.accuracy:.2%} of {result.samples}"
    )
    rows = [
        ("what", "value"),
        ("network on chip", f"{result.network} on {result.chip} ({result.config_hash})"),
        ("accuracy", f"{accuracy}, decided by {result.decide}"),
        ("timesteps", f"{result.timesteps} of the network, {result.chip_timesteps} of the chip"),
        ("cycles a sample", f"{cycles.median:,.0f} ({cycles.min:,.0f} to {cycles.max:,.0f})"),
        (
            "latency",
            f"{latency.median * 1e6:.1f} us ({latency.min * 1e6:.1f} to {latency.max * 1e6:.1f})",
        ),
        ("throughput", f"{result.throughput_per_s:,.0f} samples/s"),
        ("host injecting", f"{result.host_input_share:.1%} of the cycles"),
        ("synaptic operations", f"{result.synops / result.samples:,.0f} a sample"),
        (
            "packets, hops",
            f"{result.packets / result.samples:,.0f}, {result.hops / result.samples:,.0f} a sample",
        ),
    ]
    rows += [
        (f"energy: {name}", f"{value * 1e6:.3f} uJ a sample")
        for name, value in sorted(
            result.energy_j.items(), key=lambda item: (item[0] == "total", -item[1])
        )
    ]
    rows += [
        ("power", _power(result.power_w)),
        ("area", _area_text(result.area)),
    ]
    rows += [("note", note) for note in result.notes]
    return tuple(rows)


def to_json(value: Any) -> str:
    """Return ``value`` as indented JSON text."""
    return json.dumps(value, indent=1)
