"""What each idea of the learning engines contributes, and how they stand beside a GPU: tables and plots."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .chip.config import ChipConfig
from .chip.learn_network import LearnNetwork, Recipe
from .chip.learn_program import ENGINES, LearnProgram
from .chip.learn_timing import forward_cycles, update_cycles
from .compiler.learn_tasks import learn_tasks
from .reports.gpu_baseline import PUBLISHED, GpuResult, Variant, compare_with_gpu, gpu_step
from .reports.learn_area import LearnTables, estimate_learn_area, load_learn_tables
from .reports.learn_counts import StepCounts, adds_per_input, count_step
from .reports.learn_energy import LearnEnergy, learn_energy, learn_prices
from .reports.result import write_whole
from .sim.engines.estimate import Density, estimate_backward
from .sim.engines.timeline import Timeline, run_timeline

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "Ablations", "GpuRow", "GroupRow", "LookupRow", "OverlapRow", "PricedStep", "SparsityRow", "ablation_tables",
    "ablations", "against_gpu", "gpu_table", "price_step", "save_ablation_plots",
]  # fmt: skip

GROUPS = range(1, 9)
SHARED_OUTPUTS = (64, 256, 1024)  # outputs that share a table, R, beside the chip's own
MICRO_BATCHES = (1, 2, 4, 8)
_PLOTS = ("lookup", "groups", "sparsity", "overlap")
_FORMATS = ("svg", "png", "pdf")


@dataclass(frozen=True)
class PricedStep:
    """A training step from densities: when its tasks run, what they do, what that costs."""

    input_density: Density
    mask_density: Density
    seed: int
    program: LearnProgram
    timeline: Timeline
    counts: StepCounts
    energy: LearnEnergy
    tables: LearnTables


@dataclass(frozen=True)
class LookupRow:
    """The forward and update engines of one kind, on the whole network; ``relative`` times are to the chip's own."""

    engine: str
    lanes: int
    area_mm2: float
    milliseconds: float
    relative_time: float
    adds: float
    joules: float


@dataclass(frozen=True)
class GroupRow:
    """The forward engine with tables of ``group`` inputs, shared by ``outputs`` outputs; products relative to g = 1."""

    group: int
    outputs: int
    adds_per_input: float
    area_um2: float
    energy_pj: float
    area_delay: float
    area_delay_energy: float


@dataclass(frozen=True)
class SparsityRow:
    """The backward engine with zeros skipped on no, one or both sides."""

    skips: str
    input_density: float
    mask_density: float
    backward_ms: float
    speedup: float
    ideal_speedup: float
    of_ideal: float
    step_ms: float


@dataclass(frozen=True)
class OverlapRow:
    """A step in so many micro-batches; ``gain`` is over the engines one after the other."""

    order: str
    micro_batches: int
    milliseconds: float
    gain: float
    busiest: str
    busiest_ms: float


@dataclass(frozen=True)
class GpuRow:
    """A step beside a modelled GPU's."""

    network: str
    norm: str
    gpu: str
    gpu_ms: float
    gpu_w: float
    milliseconds: float
    watts: float
    speedup: float
    energy_gain: float
    area_ratio: float
    like_published: str


@dataclass(frozen=True)
class Ablations:
    """The four tables, and what they were made with."""

    network: str
    chip: str
    recipe: Recipe
    spike_density: float
    lookup: tuple[LookupRow, ...]
    groups: tuple[GroupRow, ...]
    sparsity: tuple[SparsityRow, ...]
    overlap: tuple[OverlapRow, ...]
    notes: tuple[str, ...]


def price_step(
    program: LearnProgram,
    input_density: Density,
    mask_density: Density,
    *,
    seed: int = 0,
    tables: LearnTables | None = None,
) -> PricedStep:
    """Return time, events and energy of a step that is not run: only the backward engine's work is drawn at random.

    ``tables`` are the costs, by default ours of the chip's node.
    """
    tables = tables or load_learn_tables(program.config.node_nm)
    work = estimate_backward(program, input_density, mask_density, seed)
    timeline = run_timeline(program, np.array([item.cycles for item in work], np.int64))
    counts = count_step(program, work, timeline)
    spent = learn_energy(program.config, counts, tables)
    return PricedStep(input_density, mask_density, seed, program, timeline, counts, spent, tables)


def ablations(
    network: LearnNetwork,
    recipe: Recipe,
    chip: ChipConfig,
    *,
    spike_density: float = 0.4,
    input_density: Density = 0.4,
    mask_density: Density = 0.34,
    seed: int = 0,
    tables: LearnTables | None = None,
    progress: Callable[[str], None] | None = None,
) -> Ablations:
    """Work out what tables, skipping and overlap contribute to a training step of a network on a chip.

    Parameters
    ----------
    network, recipe, chip
        As for a training; ``recipe.micro_batches`` holds for the table of sparsity.
    spike_density
        Share of neurons that fire: what an engine that skips zeros would profit from.
    input_density, mask_density
        Nonzero gradients and open masks, one number or one a layer, as `StepResult` reports them. With batch
        statistics gradients are dense: give 1.
    seed
        Of the random gradients and masks.
    tables
        The costs, by default ours of the chip's node.
    progress
        Called with what is being done.

    Raises
    ------
    LearnError, ConfigError, CostError
        Sentences: densities out of range, a chip without learning engines or without a cost table, a layer that does
        not fit.
    """
    if not 0.0 <= spike_density <= 1.0:
        raise ValueError(f"spike_density must be within 0..1, not {spike_density!r}")
    say = progress or (lambda _: None)
    tables = tables or load_learn_tables(chip.node_nm)
    say("lookup against adders")
    lookup = _lookup(network, recipe, chip, spike_density, tables)
    say("size of the tables' groups")
    groups = _groups(chip, tables)
    say("sparsity of the backward engine")
    sparsity = _sparsity(network, recipe, chip, input_density, mask_density, seed)
    say("overlap of the engines")
    overlap = _overlap(network, recipe, chip, input_density, mask_density, seed)
    return Ablations(
        network.name,
        chip.name,
        recipe,
        spike_density,
        lookup,
        groups,
        sparsity,
        overlap,
        _notes(chip),
    )


def against_gpu(
    network: LearnNetwork,
    recipe: Recipe,
    chip: ChipConfig,
    *,
    input_density: Density = 0.4,
    mask_density: Density = 0.34,
    variants: Sequence[Variant] = ("fp32", "tensor"),
    micro_batches: Sequence[int] = MICRO_BATCHES,
    seed: int = 0,
    tables: LearnTables | None = None,
) -> tuple[GpuRow, ...]:
    """Return a row for each GPU variant: the fastest of the splits into micro-batches beside a modelled V100."""
    norms = {stage.norm.kind for stage in network.stages if stage.norm is not None}
    splits = [count for count in micro_batches if count <= recipe.batch]
    steps = [
        price_step(
            learn_tasks(chip, network, replace(recipe, micro_batches=count)),
            input_density,
            mask_density,
            seed=seed,
            tables=tables,
        )
        for count in splits
    ]
    step = min(steps, key=lambda item: item.counts.cycles)
    area = estimate_learn_area(chip, tables).area_mm2
    norm = " and ".join(sorted(norms)) or "none"
    gpus = [gpu_step(network, recipe.batch, recipe.timesteps, variant) for variant in variants]
    return tuple(_gpu_row(network.name, norm, step, area, gpu) for gpu in gpus)


def _gpu_row(name: str, norm: str, step: PricedStep, area_mm2: float, gpu: GpuResult) -> GpuRow:
    seconds, energy = step.counts.seconds, step.energy
    result = compare_with_gpu(seconds, energy.total, area_mm2, gpu)
    like = [
        word
        for word, holds in (
            ("speed", result.speed_is_like_published), ("energy", result.energy_is_like_published),
        )
        if holds
    ]  # fmt: skip
    return GpuRow(
        name, norm, f"V100 {gpu.variant}", gpu.seconds * 1e3, gpu.power_w, seconds * 1e3, energy.power_w,
        result.speedup, result.energy_gain, result.area_ratio, ", ".join(like) or "neither",
    )  # fmt: skip


# --------------------------------------------------------------------------------------------------------------- parts


def _lookup(
    network: LearnNetwork, recipe: Recipe, chip: ChipConfig, density: float, tables: LearnTables
) -> tuple[LookupRow, ...]:
    """Compare engines for the two passes with a binary operand; the first row is the chip's own."""
    own_area = _lookup_area(chip, tables)
    plain = _regrouped(chip, 1)
    plain_area = _lookup_area(plain, tables)
    lanes = chip.learn.forward.lanes + chip.learn.update.lanes
    scale = own_area / plain_area
    own_cycles, own_adds, own_joules = _lookup_work(network, recipe, chip, tables)
    cycles, inputs, _ = _lookup_work(network, recipe, plain, tables)
    price = {
        (p.component, p.event): p.cost_j
        for p in learn_prices(plain, tables, estimate_learn_area(plain, tables))
    }["forward", "lookups"]
    spikes = inputs * density
    rows = [
        (f"lookup, g = {chip.learn.forward.group}", lanes, own_area, own_cycles, own_adds, own_joules),
        ("spike-gated adders, as many lanes", lanes, plain_area, cycles, spikes, spikes * price),
        ("spike-gated adders, as large", round(lanes * scale), own_area, cycles / scale, spikes, spikes * price),
        ("ideal skipping adders, as many lanes", lanes, plain_area, cycles * density, spikes, spikes * price),
        (
            "ideal skipping adders, as large", round(lanes * scale), own_area, cycles * density / scale, spikes,
            spikes * price,
        ),
    ]  # fmt: skip
    return tuple(
        LookupRow(name, count, area, busy / chip.clock_hz * 1e3, busy / own_cycles, adds, joules)
        for name, count, area, busy, adds, joules in rows
    )


def _regrouped(chip: ChipConfig, group: int) -> ChipConfig:
    return chip.replace(forward={"group": group}, update={"group": group})


def _lookup_area(chip: ChipConfig, tables: LearnTables) -> float:
    parts = estimate_learn_area(chip, tables).by_component
    return parts["forward"] + parts["update"]


def _lookup_work(
    network: LearnNetwork, recipe: Recipe, chip: ChipConfig, tables: LearnTables
) -> tuple[float, float, float]:
    """Return cycles of both passes one after the other, additions, and their energy in joules."""
    program = learn_tasks(chip, network, replace(recipe, micro_batches=1))
    cycles = 0
    for stage in network.stages:
        frames = recipe.batch * (1 if network.is_constant(stage) else recipe.timesteps)
        cycles += forward_cycles(chip.learn, network, stage, stage.out_shape[2], frames)
        cycles += update_cycles(chip.learn, network, stage, stage.out_shape[2], frames)
    counts = price_step(program, 1.0, 1.0, tables=tables)
    adds = sum(
        counts.counts.total(name, event)
        for name in ("forward", "update")
        for event in ("lookups", "table_adds")
    )
    energy = counts.energy.by_component
    return cycles, adds, energy["forward"] + energy["update"]


def _groups(chip: ChipConfig, tables: LearnTables) -> tuple[GroupRow, ...]:
    """Sweep g; area and energy of the forward engine a lane, with R outputs to a table."""
    interleave = chip.learn.forward.interleave
    rows: list[GroupRow] = []
    for outputs in sorted({*SHARED_OUTPUTS, chip.learn.forward.outputs}):
        base: tuple[float, float] | None = None
        for group in GROUPS:
            changed = chip.replace(
                forward={"group": group, "columns": max(1, outputs // interleave)}
            )
            area = estimate_learn_area(changed, tables)
            price = {(p.component, p.event): p.cost_j for p in learn_prices(changed, tables, area)}
            engine = changed.learn.forward
            each = area.by_component["forward"] / engine.lanes * 1e6
            shared = price["forward", "table_adds"] * engine.table_adds / engine.outputs
            energy = (price["forward", "lookups"] + shared) / group * 1e12
            delay = each / group
            base = base or (delay, delay * energy)
            rows.append(
                GroupRow(
                    group,
                    engine.outputs,
                    adds_per_input(group, engine.outputs),
                    each,
                    energy,
                    delay / base[0],
                    delay * energy / base[1],
                )
            )
    return tuple(rows)


def _sparsity(
    network: LearnNetwork, recipe: Recipe, chip: ChipConfig, inputs: Density, masks: Density, seed: int
) -> tuple[SparsityRow, ...]:  # fmt: skip
    program = learn_tasks(chip, network, recipe)
    engine = chip.learn.backward
    rows: list[SparsityRow] = []
    dense = 0
    dense_products = 0
    for name, d, m in (
        ("nothing", 1.0, 1.0),
        ("zero gradients", inputs, 1.0),
        ("both", inputs, masks),
    ):
        step = price_step(program, d, m, seed=seed)
        cycles, products = step.counts.busy["backward"], step.counts.total("backward", "products")
        dense, dense_products = dense or cycles, dense_products or products
        reached = products / (cycles * engine.rows * engine.lanes) if cycles else 0.0
        rows.append(
            SparsityRow(
                name,
                _mean(d),
                _mean(m),
                cycles / chip.clock_hz * 1e3,
                dense / cycles if cycles else 1.0,
                dense_products / products if products else 1.0,
                reached,
                step.counts.seconds * 1e3,
            )
        )
    return tuple(rows)


def _mean(density: Density) -> float:
    values = [density] if isinstance(density, int | float) else density
    return float(np.nanmean(np.asarray(values, np.float64)))


def _overlap(
    network: LearnNetwork, recipe: Recipe, chip: ChipConfig, inputs: Density, masks: Density, seed: int
) -> tuple[OverlapRow, ...]:  # fmt: skip
    rows: list[OverlapRow] = []
    serial = 0
    for count in (n for n in MICRO_BATCHES if n <= recipe.batch):
        program = learn_tasks(chip, network, replace(recipe, micro_batches=count))
        counts = price_step(program, inputs, masks, seed=seed).counts
        names = [queue.name.lower() for queue in ENGINES]
        busiest = max(names, key=lambda name: counts.busy[name])
        most = counts.busy[busiest] / chip.clock_hz * 1e3
        if not serial:
            serial = counts.serial_cycles
            rows.append(
                OverlapRow(
                    "engines one after the other",
                    1,
                    serial / chip.clock_hz * 1e3,
                    1.0,
                    busiest,
                    most,
                )
            )
        rows.append(
            OverlapRow(
                "overlapped by tokens",
                count,
                counts.seconds * 1e3,
                serial / counts.cycles,
                busiest,
                most,
            )
        )
    return tuple(rows)


def _notes(chip: ChipConfig) -> tuple[str, ...]:
    rows = chip.learn.forward.rows
    return (
        "Sizes of the chip are ours; those of the published one are not known.",
        (
            "Gated adders add nothing where there is no spike, but take the cycle; ideal skipping adders take a cycle "
            "a spike, have no imbalance, and their skipping logic costs no area: a bound, not a design."
        ),
        (
            "Tables of groups: the clock is the same for all, so delay is 1 / g an input; area and energy are those of "
            f"the forward engine with {rows} rows."
        ),
        "Gradients and masks are drawn independently; ideal is the number of products over all multipliers.",
        "One after the other: cycles of the four engines added up, without any waiting for memory.",
    )


# -------------------------------------------------------------------------------------------------------------- tables


def ablation_tables(result: Ablations) -> dict[str, tuple[tuple[str, ...], ...]]:
    """Return the tables by title, the first row naming the columns."""
    densities = result.sparsity[-1]
    return {
        f"lookup tables against adders, {result.network}, spikes {result.spike_density:.0%} dense": _table(
            result.lookup
        ),
        "inputs of a table": _table(result.groups),
        (
            f"backward engine, gradients {densities.input_density:.0%} and masks {densities.mask_density:.0%} dense"
        ): _table(result.sparsity),
        f"engines in turn or together, batch {result.recipe.batch}": _table(result.overlap),
    }


def gpu_table(rows: Sequence[GpuRow]) -> tuple[tuple[str, ...], ...]:
    """Return rows of `against_gpu` as text, the published figures last."""
    speed, energy = PUBLISHED.speedup, PUBLISHED.energy
    text = dict.fromkeys([field.name for field in fields(GpuRow)], "") | {
        "network": "published (H2Learn, abstract)",
        "gpu": "V100",
        "speedup": f"{speed[0]:g} to {speed[1]:g}",
        "energy_gain": f"{energy[0]:g} to {energy[1]:g}",
        "area_ratio": f"{PUBLISHED.area:g}",
    }
    return (*_table(rows), tuple(text.values()))


def _table(rows: Sequence[Any]) -> tuple[tuple[str, ...], ...]:
    names = [field.name for field in fields(rows[0])]
    return (
        tuple(name.replace("_", " ") for name in names),
        *(tuple(_text(value) for value in asdict(row).values()) for row in rows),
    )


def _text(value: float | str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


# --------------------------------------------------------------------------------------------------------------- plots


def save_ablation_plots(
    result: Ablations, folder: str | Path, kind: str = "svg"
) -> tuple[Path, ...]:
    """Draw each table into ``<folder>/<name>.<kind>``; returns the files. The same result gives the same files.

    Raises
    ------
    ValueError
        If the kind is none of svg, png, pdf.
    """
    if kind not in _FORMATS:
        raise ValueError(f"a plot's kind must be one of {', '.join(_FORMATS)}, not {kind!r}")
    from matplotlib import rc_context  # takes most of a second: only who draws pays for it
    from matplotlib.figure import Figure

    options: dict[Any, Any] = {
        "svg.hashsalt": "spikeloom", "svg.fonttype": "path", "text.parse_math": False, "font.size": 9,
        "axes.spines.top": False, "axes.spines.right": False,
    }  # fmt: skip
    drawers = {
        "lookup": _draw_lookup,
        "groups": _draw_groups,
        "sparsity": _draw_sparsity,
        "overlap": _draw_overlap,
    }
    paths: list[Path] = []
    Path(folder).mkdir(parents=True, exist_ok=True)
    for name in _PLOTS:
        with rc_context(options):
            figure = Figure(figsize=(7.0, 3.6), layout="constrained")
            drawers[name](figure.add_subplot(), result)
            buffer = BytesIO()
            metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
            figure.savefig(buffer, format=kind, dpi=200, facecolor="white", metadata=metadata)
        path = Path(folder) / f"{name}.{kind}"
        write_whole(path, buffer.getvalue())
        paths.append(path)
    return tuple(paths)


def _bars(axes: Axes, names: list[str], values: list[float], label: str, title: str) -> None:
    places = range(len(names))
    bars = axes.barh(list(places), values, color="#4c78a8")
    axes.bar_label(bars, [_text(value) for value in values], padding=3)
    axes.set_yticks(list(places), names)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlabel(label)
    axes.set_title(title, fontsize=10)


def _draw_lookup(axes: Axes, result: Ablations) -> None:
    names = [f"{row.engine}\n{row.lanes:,} lanes, {row.area_mm2:.1f} mm2" for row in result.lookup]
    times = [row.milliseconds for row in result.lookup]
    title = f"{result.network}: forward and update, spikes {result.spike_density:.0%} dense"
    _bars(axes, names, times, "ms a step, both passes", title)


def _draw_groups(axes: Axes, result: Ablations) -> None:
    for outputs in sorted({row.outputs for row in result.groups}):
        rows = [row for row in result.groups if row.outputs == outputs]
        at = [row.group for row in rows]
        axes.plot(
            at,
            [row.adds_per_input for row in rows],
            marker="o",
            label=f"additions an input, R = {outputs:,}",
        )
    own = [row for row in result.groups if row.outputs == result.groups[-1].outputs]
    axes.plot(
        [row.group for row in own], [row.area_delay_energy for row in own], marker="s", color="black", linestyle="--",
        label=f"area x delay x energy, R = {own[0].outputs:,}",
    )  # fmt: skip
    axes.set_ylim(0, 1.05)
    axes.set_xlabel("inputs of a table, g")
    axes.set_ylabel("relative to g = 1")
    axes.legend(frameon=False, fontsize=8)
    axes.set_title("what a larger table saves and costs", fontsize=10)


def _draw_sparsity(axes: Axes, result: Ablations) -> None:
    names = [f"skips {row.skips}\n{row.of_ideal:.0%} of the ideal" for row in result.sparsity]
    times = [row.backward_ms for row in result.sparsity]
    _bars(
        axes, names, times, "ms a step in the backward engine", f"{result.network}: backward engine"
    )


def _draw_overlap(axes: Axes, result: Ablations) -> None:
    names = [f"{row.order}\n{row.micro_batches} micro-batches" for row in result.overlap]
    times = [row.milliseconds for row in result.overlap]
    _bars(axes, names, times, "ms a step", f"{result.network}: engines in turn or together")
