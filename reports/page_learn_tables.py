"""The tables and the summary of a training's page, as text ready to print."""

from __future__ import annotations

from collections.abc import Mapping
from math import fsum

from .learn_result import LearnResult
from .page_parts import PageTable, Row, Tile, columns
from .page_tables import NAMES, Bar, plain, weakest
from .units import count, share, si

__all__ = [
    "ablation_tables", "engine_bars", "epoch_table", "gpu_table", "layer_table", "per_table", "stall_table", "tiles",
]  # fmt: skip

ENGINES = ("forward", "backward", "update", "vector")
_COUNTED = "counted"


def tiles(result: LearnResult) -> list[Tile]:
    """Return the figures that come first."""
    step, sample, epoch = result.per_step, result.per_sample, result.per_epoch
    time_status = _COUNTED if result.densities_status == "measured" else "assumed"
    made = [_accuracy(result)]
    made.append(
        Tile(
            "time of a step",
            si(step.seconds, "s"),
            f"{result.batch} samples, {count(step.cycles)} cycles at {si(result.clock_hz, 'Hz')}; "
            f"{si(sample.seconds, 's')} a sample"
            + ("" if epoch is None else f", {si(epoch.seconds, 's')} an epoch"),
            time_status,
        )
    )
    estimate = weakest([row.status for row in result.energy_rows])
    made += _energy_tiles(result, estimate)
    made.append(
        Tile(
            "rate",
            f"{si(2 * step.macs / step.seconds, 'op/s')}",
            "two a multiply-accumulate, as many as if everything were dense",
            time_status,
        )
    )
    busiest = max(ENGINES, key=lambda name: result.engines[name].busy)
    made.append(
        Tile(
            "busiest engine",
            share(result.engines[busiest].busy / result.cycles),
            f"of the time: {NAMES[busiest]}",
            time_status,
        )
    )
    area = result.area
    made.append(
        Tile("area", "unknown", "see the notes")
        if area is None
        else Tile(
            "area", f"{area.area_mm2:.3g} mm²", f"at {area.node_nm} nm, without pads",
            weakest([r.status for r in area.rows])
        )
    )  # fmt: skip
    if result.gpu:
        best = min(result.gpu, key=lambda row: row.speedup)
        made.append(
            Tile(
                f"beside a {best.gpu}", f"{best.speedup:.3g} times as fast",
                f"{best.energy_gain:.3g} times less energy; the "
                "GPU is modelled", "assumed",
            )
        )  # fmt: skip
    return made


def _accuracy(result: LearnResult) -> Tile:
    if result.kind == "step":
        return Tile("accuracy", "none", "one step was priced from densities, nothing was trained")
    last = result.epochs[-1]
    if result.accuracy is not None:
        return Tile(
            "accuracy", share(result.accuracy),
            f"on the test data, after {len(result.epochs)} {'epoch' if len(result.epochs) == 1 else 'epochs'}; "
            f"{share(last.accuracy)} on the training data on the way", _COUNTED,
        )  # fmt: skip
    return Tile(
        "training accuracy", share(last.accuracy), "on the way through the last epoch; no test data", _COUNTED
    )  # fmt: skip


def _energy_tiles(result: LearnResult, estimate: str) -> list[Tile]:
    step, sample, epoch, power = (
        result.per_step,
        result.per_sample,
        result.per_epoch,
        result.power_w,
    )
    if step.energy_j is None or sample.energy_j is None or power is None:
        return [Tile("energy", "unknown", "there are no costs for the chip's technology")]
    more = (
        "" if epoch is None or epoch.energy_j is None else f", {si(epoch.energy_j, 'J')} an epoch"
    )
    operation = result.pj_per_operation
    return [
        Tile(
            "energy of a step", si(step.energy_j, "J"),
            f"{si(sample.energy_j, 'J')} a sample{more}; with the memory", estimate
        ),
        Tile(
            "power", si(power.total, "W"),
            f"average; {si(power.dynamic, 'W')} dynamic, {si(power.static, 'W')} static", estimate,
        ),
        Tile(
            "energy an operation", "unknown" if operation is None else si(operation * 1e-12, "J"),
            "all energy over the operations if everything were dense", estimate,
        ),
    ]  # fmt: skip


def per_table(result: LearnResult) -> PageTable:
    """Return what a sample, a step and an epoch take."""
    lines = [
        Row(
            (
                name, count(of.cycles), si(of.seconds, "s"), si(of.macs, "MAC"),
                "unknown" if of.energy_j is None else si(of.energy_j, "J"),
            )
        )
        for name, of in result.figures.items()
    ]  # fmt: skip
    return PageTable(
        "What it takes",
        columns("", ">cycles", ">time", ">multiply-accumulates if dense", ">energy"),
        lines,
    )


def epoch_table(result: LearnResult) -> PageTable:
    """Return a row for each epoch."""
    lines = [
        Row(
            (
                str(e.epoch + 1), f"{e.loss:.4f}", share(e.accuracy),
                "unknown" if e.test_accuracy is None else share(e.test_accuracy), count(e.steps),
                count(e.skipped_steps),
                count(e.cycles / e.steps), si(e.seconds, "s"), "unknown" if e.energy_j is None else si(e.energy_j, "J"),
                si(e.wall_s, "s"),
            )
        )
        for e in result.epochs
    ]  # fmt: skip
    return PageTable(
        "Epochs",
        columns(
            ">epoch", ">loss", ">accuracy", ">test accuracy", ">steps", ">of them skipped", ">cycles a step",
            ">chip time",
            ">energy", ">simulated in",
        ),
        lines,
        "Accuracy on the training data is that on the way through it. A skipped step's gradients overflowed: the "
        "loss scale was halved, and nothing moved.",
    )  # fmt: skip


def engine_bars(result: LearnResult) -> list[Bar]:
    """Return busy and waiting time of each engine in percent of the run; the rest it had nothing to do."""
    made: list[Bar] = []
    for name in ENGINES:
        use = result.engines[name]
        waits = sum(use.stalls.values())
        made.append(
            Bar(
                NAMES[name],
                f"busy {share(use.busy / result.cycles)}",
                f"waiting {share(waits / result.cycles)}",
                100 * use.busy / result.cycles,
                100 * waits / result.cycles,
            )
        )
    return made


def stall_table(result: LearnResult) -> PageTable:
    """Return for how long each engine waited for the tasks of each queue."""
    causes = [q for q in result.engines if any(result.engines[e].stalls.get(q) for e in ENGINES)]
    lines = [
        Row(
            (
                NAMES[name], count(result.engines[name].busy),
                *(share(result.engines[name].stalls.get(q, 0) / result.cycles) for q in causes),
            )
        )
        for name in ENGINES
    ]  # fmt: skip
    return PageTable(
        "What the engines wait for",
        columns(
            "engine", ">busy, cycles", *(f">for {cause.replace('_', ' ')}" for cause in causes)
        ),
        lines,
        f"In percent of the run's {result.cycles:,} cycles. An engine waits for a queue if a task of it was the last "
        "that its own next task needed.",
    )


def layer_table(result: LearnResult) -> PageTable:
    """Return operations, memory traffic, energy and densities of each layer."""
    sums: dict[tuple[str, str, str], int] = {}
    for row in result.counts:
        sums[row.layer, row.component, row.event] = (
            sums.get((row.layer, row.component, row.event), 0) + row.count
        )
    steps = result.steps

    def of(layer: str, component: str, *events: str) -> str:
        found = [
            sums[layer, component, event] for event in events if (layer, component, event) in sums
        ]
        unit = "B" if component == "dram" else ""
        return si(sum(found) / steps, unit).rstrip() if found else ""

    lines = [
        Row(
            (
                f"{number} {layer}", of(layer, "forward", "inputs"), of(layer, "backward", "products"),
                of(layer, "update", "inputs"), of(layer, "vector", "elements"),
                of(layer, "dram", "read_bytes", "written_bytes"),
                "unknown" if result.energy_j is None else si(result.layer_energy_j(layer) / steps, "J"),
                *(_density(result.densities.get(kind, {}), layer) for kind in _DENSITIES),
            )
        )
        for number, layer in enumerate(result.tasks.layers, 1)
    ]  # fmt: skip
    if result.energy_j is not None:
        shared = ", ".join(NAMES.get(name, name) for name in result.energy_shared_j)
        rest = fsum(result.energy_shared_j.values()) / steps
        blank = ("",) * len(_DENSITIES)
        lines.append(Row((f"shared: {shared}", "", "", "", "", "", si(rest, "J"), *blank)))
        whole = si(result.energy_j["total"] / steps, "J")
        lines.append(Row(("total", "", "", "", "", "", whole, *blank), sum=True))
    return PageTable(
        "Layers",
        columns(
            "layer", ">forward: binary inputs", ">backward: multiply-adds", ">update: binary inputs",
            ">vector: elements",
            ">from and to DRAM", ">energy", *(f">{name}" for name in _DENSITIES.values()),
        ),
        lines,
        f"A step. Spikes: share of neurons that fire in a timestep; open masks: share inside the surrogate's window; "
        f"gradients: share that is not zero. Densities are {result.densities_status}.",
    )  # fmt: skip


_DENSITIES = {"spike_rate": "spikes", "mask_density": "open masks", "gradient_density": "gradients"}


def _density(values: Mapping[str, float], layer: str) -> str:
    return share(values[layer]) if layer in values else ""


def gpu_table(result: LearnResult) -> PageTable | None:
    """Return the step beside a modelled GPU; None if that was not asked for."""
    if not result.gpu:
        return None
    lines = [
        Row(
            (
                row.gpu, f"{row.gpu_ms:,.4g} ms", si(row.gpu_w, "W"), f"{row.milliseconds:,.4g} ms", si(row.watts, "W"),
                f"{row.speedup:.3g}", f"{row.energy_gain:.3g}", f"{row.area_ratio:.3g}", row.like_published,
            )
        )
        for row in result.gpu
    ]  # fmt: skip
    return PageTable(
        "Beside a GPU",
        columns(
            "GPU", ">its step", ">its power", ">our step", ">our power", ">times as fast", ">times less energy",
            ">times less area", "like the published chip in",
        ),
        lines,
        "The GPU is modelled: a kernel takes the longer of its arithmetic and its bytes, and a launch.",
    )  # fmt: skip


def ablation_tables(result: LearnResult) -> list[PageTable]:
    """Return what each idea of the engines contributes; empty if that was not asked for."""
    made: list[PageTable] = []
    for table in result.ablations or []:
        numbers = [
            all(isinstance(row[i], int | float) for row in table.rows)
            for i in range(len(table.columns))
        ]
        heads = [
            f">{_words(n)}" if is_number else _words(n)
            for n, is_number in zip(table.columns, numbers, strict=True)
        ]
        rows = [Row(tuple(plain(cell) for cell in row)) for row in table.rows]
        made.append(PageTable(table.title, columns(*heads), rows))
    return made


def _words(name: str) -> str:
    return name.replace("_", " ")
