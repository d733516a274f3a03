"""The result of training on the learning engines, or of a step that was priced: a file with a published schema."""

from __future__ import annotations

from math import fsum, isclose
from typing import Any, Literal

from pydantic import Field, model_validator

from .accounts import SUM_TOLERANCE, AreaSummary, EnergyRowModel, Split, check_energy, check_sum
from .model import ReportModel

__all__ = [
    "LEARN_SCHEMA_VERSION", "AblationTable", "CountModel", "EngineUse", "EpochModel", "Figures", "GpuModel",
    "LearnResult", "StepTasks", "learn_result_schema",
]  # fmt: skip

LEARN_SCHEMA_VERSION = 1


class Figures(ReportModel):
    """What one sample, step or epoch takes on the chip, on average."""

    cycles: float = Field(ge=0)
    seconds: float = Field(ge=0)
    macs: float = Field(ge=0, description="if everything were dense, all passes")
    energy_j: float | None = Field(ge=0, description="null: no cost table, so unknown")


class EngineUse(ReportModel):
    """What a queue of tasks did, over the run; the memory's queues share one channel."""

    busy: int = Field(
        ge=0, description="cycles for which its engine, or the memory's channel, was held"
    )
    stalls: dict[str, int] = Field(
        description="cycles for which the engine stood idle until a task of the queue named ended; empty for "
        "queues of the memory"
    )


class CountModel(ReportModel):
    """How often one event happened in one component for one layer, over the run."""

    component: str
    layer: str
    event: str
    count: int = Field(ge=0)


class EpochModel(ReportModel):
    """One pass over the data."""

    epoch: int = Field(ge=0)
    loss: float
    accuracy: float = Field(ge=0, le=1, description="on the way")
    test_accuracy: float | None = Field(default=None, ge=0, le=1, description="at its end")
    steps: int = Field(ge=1)
    skipped_steps: int = Field(
        ge=0, description="whose gradients overflowed, so that nothing moved"
    )
    cycles: int = Field(ge=1)
    seconds: float = Field(gt=0, description="of the chip")
    energy_j: float | None = Field(ge=0, description="null: no cost table, so unknown")
    wall_s: float = Field(ge=0, description="that the simulation took")
    spike_rate: dict[str, float] = Field(description="by layer")
    mask_density: dict[str, float] = Field(description="by layer")
    gradient_density: dict[str, float] = Field(description="by layer")


class StepTasks(ReportModel):
    """The timeline of one step, a column an entry: of a training, its last whole step."""

    queues: list[str] = Field(description="names that `queue` counts")
    operations: list[str] = Field(description="names that `operation` counts")
    layers: list[str] = Field(description="names that `layer` counts")
    queue: list[int]
    operation: list[int]
    layer: list[int]
    bytes: list[int] = Field(description="that a transfer moves; 0 for others")
    start: list[int] = Field(description="cycle of the step")
    end: list[int] = Field(description="cycle of the step")
    cycles: int = Field(ge=1, description="of the step")

    @model_validator(mode="after")
    def _check(self) -> StepTasks:
        for name in ("queue", "operation", "layer", "bytes", "start", "end"):
            if len(getattr(self, name)) != len(self.queue):
                raise ValueError(f"tasks.{name} must have {len(self.queue)} entries")
        for name, names in (
            ("queue", self.queues), ("operation", self.operations), ("layer", self.layers),
        ):  # fmt: skip
            column = getattr(self, name)
            if column and not (min(column) >= 0 and max(column) < len(names)):
                raise ValueError(f"tasks.{name} must be within 0..{len(names) - 1}")
        if self.end and max(self.end) != self.cycles:
            raise ValueError(f"tasks end in cycle {max(self.end)}, the step in {self.cycles}")
        return self


class GpuModel(ReportModel):
    """The step beside a modelled GPU's."""

    gpu: str
    gpu_ms: float = Field(gt=0, description="a step")
    gpu_w: float = Field(gt=0)
    milliseconds: float = Field(
        gt=0, description="a step of the chip, of the fastest split of the batch"
    )
    watts: float = Field(gt=0)
    speedup: float = Field(gt=0)
    energy_gain: float = Field(gt=0)
    area_ratio: float = Field(gt=0)
    like_published: str = Field(description="which of speed and energy are as the published chip's")


class AblationTable(ReportModel):
    """One table of what an idea of the engines contributes."""

    title: str
    columns: list[str]
    rows: list[list[Any]] = Field(description="of numbers and text, as `columns`")


class LearnResult(ReportModel):
    """What `spikeloom train --result` writes; counts, cycles and energies are totals of the run."""

    kind: Literal["step", "training"] = Field(
        description="step: one step priced from densities; training: every step of a training that ran"
    )
    schema_version: Literal[1] = LEARN_SCHEMA_VERSION
    network: str
    chip: str
    config_hash: str
    configuration: dict[str, Any] | None = Field(
        default=None,
        description="of the chip, as in its YAML file: what ceilings follow from; null: not kept",
    )
    clock_hz: float = Field(gt=0)
    recipe: dict[str, Any]
    batch: int = Field(ge=1, description="samples of a whole step")
    samples: int = Field(ge=1, description="that went through the engines, each epoch anew")
    steps: int = Field(ge=1)
    epochs: list[EpochModel] = Field(description="empty for a step")
    accuracy: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="on the test data at the end; null where there was none, and for a step",
    )
    cycles: int = Field(ge=1)
    seconds: float = Field(gt=0)
    macs: int = Field(ge=0, description="multiply-accumulates if everything were dense, all passes")
    engines: dict[str, EngineUse] = Field(description="by queue")
    tasks: StepTasks
    counts: list[CountModel]
    energy_j: dict[str, float] | None = Field(
        description="joules by component, and total; null where the chip's node has no cost table: unknown"
    )
    energy_rows: list[EnergyRowModel] = Field(description="empty where unknown")
    energy_by_layer: dict[str, dict[str, float]] = Field(description="joules by layer, component")
    energy_shared_j: dict[str, float] = Field(description="joules by component of no layer")
    energy_by_unit_j: dict[str, Split] = Field(
        description="joules by unit; clock and leakage laid to the unit that has registers and cells"
    )
    power_w: Split | None = Field(description="mean, the memory beside the chip included")
    area: AreaSummary | None = Field(description="null: unknown, and a note says why")
    per_sample: Figures
    per_step: Figures
    per_epoch: Figures | None = Field(description="null for a step")
    densities: dict[str, dict[str, float]] = Field(
        description="spike_rate, mask_density, gradient_density by layer: of the last epoch, or those assumed"
    )
    densities_status: Literal["measured", "assumed"]
    gpu: list[GpuModel] | None = Field(default=None, description="null: not asked for")
    ablations: list[AblationTable] | None = Field(default=None, description="null: not asked for")
    notes: list[str]
    provenance: dict[str, Any]

    @model_validator(mode="after")
    def _check(self) -> LearnResult:
        if (self.energy_j is None) != (not self.energy_rows) or (self.energy_j is None) != (
            self.power_w is None
        ):
            raise ValueError("energy_j, energy_rows and power_w must all be known, or none")
        if not isclose(self.cycles / self.clock_hz, self.seconds, rel_tol=SUM_TOLERANCE):
            raise ValueError(
                f"seconds is {self.seconds!r}, {self.cycles} cycles take {self.cycles / self.clock_hz!r}"
            )
        self._check_energy()
        if self.kind == "step":
            if self.epochs or self.steps != 1 or self.per_epoch is not None:
                raise ValueError("a step has one step and no epochs")
            return self
        if not self.epochs or self.per_epoch is None:
            raise ValueError("a training has epochs, and figures per epoch")
        for name, total in (("steps", self.steps), ("cycles", self.cycles)):
            check_sum(f"{name} of the epochs", (getattr(e, name) for e in self.epochs), total)
        return self

    def _check_energy(self) -> None:
        if self.energy_j is None or self.power_w is None:
            return
        check_energy(
            self.energy_rows,
            self.energy_j,
            self.energy_by_layer,
            self.energy_shared_j,
            self.energy_by_unit_j,
        )
        total = self.energy_j["total"]
        check_sum("power_w times seconds", [self.power_w.total * self.seconds], total)
        for figures, number in ((self.per_sample, self.samples), (self.per_step, self.steps)):
            if figures.energy_j is None:
                raise ValueError("energy a sample and a step must be known where energy_j is")
            check_sum("energy a sample or step", [figures.energy_j * number], total)
        if self.epochs:
            joules = [epoch.energy_j for epoch in self.epochs]
            if all(value is not None for value in joules):
                check_sum("energy_j of the epochs", (v for v in joules if v is not None), total)

    @property
    def figures(self) -> dict[str, Figures]:
        """What a sample, a step and an epoch take, by that name; a step has no epoch."""
        named = {
            "a sample": self.per_sample,
            "a step": self.per_step,
            "an epoch": self.per_epoch,
        }
        return {name: figures for name, figures in named.items() if figures is not None}

    @property
    def pj_per_operation(self) -> float | None:
        """All energy over the operations if everything were dense, two a multiply-accumulate; None if unknown."""
        if self.energy_j is None or not self.macs:
            return None
        return self.energy_j["total"] / (2 * self.macs) * 1e12

    def count(self, component: str, event: str) -> int:
        """Return how often an event happened in all layers."""
        return sum(c.count for c in self.counts if c.component == component and c.event == event)

    def layer_energy_j(self, layer: str) -> float:
        """Return the joules of a layer, without what it shares."""
        return fsum(self.energy_by_layer.get(layer, {}).values())


def learn_result_schema() -> dict[str, Any]:
    """Return the JSON schema of a result file of the learning half."""
    return LearnResult.model_json_schema()
