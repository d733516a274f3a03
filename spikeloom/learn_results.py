"""Results of the learning half: what a training, or a priced step, did and cost, for files and pages."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from .ablations import Ablations, GpuRow, PricedStep, ablations, against_gpu
from .chip.config import ChipConfig
from .chip.learn_network import LearnNetwork, Recipe
from .chip.learn_program import LearnProgram, Operation, Queue
from .compiler.learn_tasks import learn_tasks
from .reports.area_summary import area_summary
from .reports.costs import CostError, tables_of
from .reports.learn_area import LearnTables, load_learn_tables
from .reports.learn_counts import StepCounts
from .reports.learn_energy import LearnEnergy, learn_energy
from .reports.learn_result import (
    AblationTable,
    CountModel,
    EngineUse,
    EpochModel,
    Figures,
    GpuModel,
    LearnResult,
    StepTasks,
)
from .sim.engines.timeline import Timeline, run_timeline
from .sim.jit import NUMBA_VERSION
from .training import Training

_OTHER_HALF = "Energy is that of the learning engines; the many-core on the chip is not in it."

__all__ = ["step_result", "training_result"]


def step_result(
    step: PricedStep,
    *,
    with_ablations: bool = False,
    with_gpu: bool = False,
    progress: Callable[[str], None] | None = None,
    command: str = "spikeloom.step_result",
) -> LearnResult:
    """Return the result of a step that was priced and not run.

    Parameters
    ----------
    step
        Of `dry_run`.
    with_ablations, with_gpu
        Also work out what each idea of the engines contributes; also lay the step beside a modelled V100.
    progress
        Called with what is being done.
    command
        For the result's provenance.
    """
    say = progress or (lambda _: None)
    program, counts = step.program, step.counts
    names = [stage.name for stage in program.network.stages]
    notes = [
        (
            "A step that was priced, not run: which gradients and masks are zero was drawn at random with the "
            "densities given; nothing else depends on data."
        )
    ]
    of_step = program.network, program.recipe, program.config
    drawn: dict[str, Any] = {
        "input_density": step.input_density, "mask_density": step.mask_density, "seed": step.seed,
    }  # fmt: skip
    tables = gpus = None
    if with_ablations:
        tables = _ablation_tables(
            ablations(*of_step, **drawn, tables=step.tables, progress=progress)
        )
    if with_gpu:
        say("beside a GPU")
        gpus = [_gpu(row) for row in against_gpu(*of_step, **drawn, tables=step.tables)]
    return _result(
        *of_step,
        counts,
        step.energy,
        step.tables,
        _tasks(program, step.timeline),
        notes,
        kind="step",
        batch=program.batch,
        samples=program.batch,
        steps=1,
        epochs=[],
        per_epoch=None,
        densities={
            "gradient_density": _by_stage(names, step.input_density),
            "mask_density": _by_stage(names, step.mask_density),
        },
        densities_status="assumed",
        gpu=gpus,
        ablations=tables,
        provenance=_provenance(command, step.seed),
    )


def last_step(training: Training) -> tuple[LearnProgram, Timeline]:
    """Return the tasks of a training's last whole step, and when each of them ran."""
    program = learn_tasks(training.chip, training.network, training.recipe)
    return program, run_timeline(program, np.array(training.backward, np.int64))


def training_result(
    training: Training, *, command: str = "spikeloom.training_result"
) -> LearnResult:
    """Return the result of a training: every step that its epochs took, also those before a break."""
    config, totals = training.chip, training.totals
    counts = totals.counts(config.clock_hz)
    tables, energy, notes = None, None, list[str]()
    try:
        tables = load_learn_tables(tables_of(config, training.options.costs))
        energy = learn_energy(config, counts, tables)
    except CostError as error:
        notes.append(f"Energy is unknown: {error}.")
    program, timeline = last_step(training)
    last, epochs = training.epochs[-1], len(training.epochs)
    notes.append("Test accuracy is found beside the training; its time and energy are not counted.")
    return _result(
        training.network,
        training.recipe,
        config,
        counts,
        energy,
        tables,
        _tasks(program, timeline),
        notes,
        kind="training",
        batch=training.recipe.batch,
        samples=totals.samples,
        steps=totals.steps,
        epochs=[_epoch(epoch) for epoch in training.epochs],
        per_epoch=_figures(counts, energy, epochs),
        accuracy=last.test_accuracy,
        densities={
            name: getattr(last, name) for name in ("spike_rate", "mask_density", "gradient_density")
        },
        densities_status="measured",
        provenance=_provenance(command, training.options.seed)
        | {
            "data_sha256": training.data_sha256,
            "schedule": training.options.schedule,
            "wall_s": round(sum(epoch.wall_s for epoch in training.epochs), 3),
        },
    )


def _result(
    network: LearnNetwork,
    recipe: Recipe,
    config: ChipConfig,
    counts: StepCounts,
    energy: LearnEnergy | None,
    tables: LearnTables | None,
    tasks: StepTasks,
    notes: list[str],
    *,
    samples: int,
    steps: int,
    provenance: dict[str, Any],
    **rest: Any,
) -> LearnResult:
    area, more = area_summary(config, tables)
    unknown = {
        "energy_j": None, "energy_rows": [], "energy_by_layer": {}, "energy_shared_j": {}, "energy_by_unit_j": {},
        "power_w": None,
    }  # fmt: skip
    return LearnResult(
        network=network.name,
        chip=config.name,
        config_hash=config.config_hash,
        configuration=config.to_dict(),
        clock_hz=config.clock_hz,
        recipe=asdict(recipe),
        samples=samples,
        steps=steps,
        cycles=counts.cycles,
        seconds=counts.seconds,
        macs=counts.macs,
        engines={
            name: EngineUse(busy=busy, stalls=counts.stalls.get(name, {}))
            for name, busy in counts.busy.items()
        },
        tasks=tasks,
        counts=[CountModel(**asdict(row)) for row in counts.rows],
        area=area,
        per_sample=_figures(counts, energy, samples),
        per_step=_figures(counts, energy, steps),
        notes=[*notes, *([_OTHER_HALF] if config.many_core_half else []), *more],
        provenance=provenance | {} if tables is None else provenance | {"costs": _tables(tables)},
        **(unknown if energy is None else energy.result_fields()),
        **rest,
    )


def _figures(counts: StepCounts, energy: LearnEnergy | None, number: int) -> Figures:
    return Figures(
        cycles=counts.cycles / number,
        seconds=counts.seconds / number,
        macs=counts.macs / number,
        energy_j=None if energy is None else energy.total / number,
    )


def _tasks(program: LearnProgram, timeline: Timeline) -> StepTasks:
    return StepTasks(
        queues=[queue.name.lower() for queue in Queue],
        operations=[operation.name.lower() for operation in Operation],
        layers=[stage.name for stage in program.network.stages],
        queue=program.column("queue").tolist(),
        operation=program.column("operation").tolist(),
        layer=program.column("stage").tolist(),
        bytes=program.column("bytes").tolist(),
        start=timeline.start.tolist(),
        end=timeline.end.tolist(),
        cycles=timeline.cycles,
    )


def _epoch(epoch: Any) -> EpochModel:
    values = asdict(epoch)
    values["seconds"] = values.pop("simulated_s")
    return EpochModel(**values)


def _by_stage(names: Sequence[str], density: Any) -> dict[str, float]:
    values = np.broadcast_to(np.asarray(density, np.float64), (len(names),))
    return dict(zip(names, values.tolist(), strict=True))


def _gpu(row: GpuRow) -> GpuModel:
    values = asdict(row)
    return GpuModel(**{name: values[name] for name in GpuModel.model_fields})


def _ablation_tables(result: Ablations) -> list[AblationTable]:
    tables: Mapping[str, Sequence[Any]] = {
        "lookup tables against adders": result.lookup,
        "inputs of a table": result.groups,
        "sparsity of the backward engine": result.sparsity,
        "engines in turn or together": result.overlap,
    }
    return [
        AblationTable(
            title=title,
            columns=[field.name for field in fields(rows[0])],
            rows=[list(asdict(row).values()) for row in rows],
        )
        for title, rows in tables.items()
    ]


def _tables(tables: LearnTables) -> str:
    return ", ".join(
        f"{table.name} {table.table_hash}"
        for table in (tables.learn, tables.area, tables.many_core)
    )


def _provenance(command: str, seed: int) -> dict[str, Any]:
    try:
        own = version("spikeloom")
    except PackageNotFoundError:
        own = "unknown"
    return {
        "spikeloom": own,
        "command": command,
        "seed": seed,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numba": NUMBA_VERSION,
    }
