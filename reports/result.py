"""The result of a run: what was counted on the simulated chip, as a file with a published schema."""

from __future__ import annotations

import json
import os
from math import fsum
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from .accounts import AreaSummary, EnergyRowModel, Split, check_energy, check_sum
from .learn_result import LEARN_SCHEMA_VERSION, LearnResult
from .model import ReportModel
from .neurobench import NeuroBench

SCHEMA_VERSION = 2

Decide = Literal["count", "membrane", "first"]


class ResultError(ValueError):
    """A result file that cannot be read; the message is a sentence for the user."""


class Spread(ReportModel):
    """Smallest, middle and largest of a quantity."""

    min: float
    median: float
    max: float


class LayerModel(ReportModel):
    """One layer on the chip; spikes and synops are totals over the samples, energy is that of its cores."""

    name: str
    kind: str
    shape: list[int]
    cores: int = Field(ge=0, description="partial-sum cores included")
    partial_cores: int = Field(ge=0)
    depth: int = Field(ge=0, description="chip timesteps behind the host")
    spikes: int = Field(ge=0)
    synops: int = Field(ge=0)
    energy_j: float = Field(ge=0, description="joules a sample, without what the whole chip shares")
    notes: dict[str, Any] = Field(
        description="what quantisation lost, null where it was not measured, and more"
    )


class Edge(ReportModel):
    """What flows from one layer, or the host, to another in the network's graph."""

    source: str = Field(description="a layer, or an input of the network")
    target: str = Field(description="a layer, or host")
    what: Literal["values", "sums", "outputs"] = Field(
        description="values for axons, partial sums for neurons, outputs for the host"
    )
    routes: int = Field(ge=0, description="entries of routing memories, or of the host's table")
    flits: float = Field(ge=0, description="a sample")
    status: Literal["measured", "derived"] = Field(
        description="derived: a core's, or the host's, flits split by its routes among several targets"
    )


class RunResult(ReportModel):
    """What `spikeloom run` gives; counters are totals over the samples, energies joules a mean sample."""

    kind: Literal["run"] = "run"
    schema_version: Literal[2] = SCHEMA_VERSION
    network: str
    chip: str
    config_hash: str
    configuration: dict[str, Any] | None = Field(
        default=None,
        description="of the chip, as in its YAML file: what ceilings follow from; null: not kept",
    )
    accuracy: float | None = Field(
        ge=0, le=1, description="share of predictions equal to the labels; null without labels"
    )
    predictions: list[int] = Field(description="(samples)")
    labels: list[int] | None = Field(default=None, description="(samples)")
    decide: Decide = Field(description="how a class is read")
    output_counts: list[list[int]] | None = Field(
        description="(samples, outputs); null where outputs do not spike"
    )
    output_membrane: list[list[float]] | None = Field(
        description="(samples, outputs), summed over the timesteps; null where it is not read"
    )
    timesteps: int = Field(ge=1, description="of the network, a sample")
    chip_timesteps: int = Field(
        ge=1, description="a sample takes on the chip, the pipeline's fill included"
    )
    samples: int = Field(ge=1)
    cycles_per_sample: Spread
    cycles_per_timestep: Spread
    sample_cycles: list[int] | None = Field(
        default=None, description="(samples), cycles of each; null if not kept"
    )
    latency_s: Spread = Field(description="from the start of a sample to its last output")
    throughput_per_s: float = Field(gt=0, description="samples, one after the other")
    host_input_share: float = Field(
        ge=0, le=1, description="share of the cycles in which the host was injecting"
    )
    synops: int = Field(ge=0, description="weights applied to a neuron, zero weights included")
    packets: int = Field(ge=0, description="flits injected by cores and host")
    hops: int = Field(ge=0, description="flits forwarded by router outputs, ejection included")
    energy_j: dict[str, float] = Field(description="joules a mean sample by component, and total")
    energy_rows: list[EnergyRowModel] = Field(min_length=1)
    energy_by_core_j: list[Split] = Field(
        description="joules a sample of each core, as counters.cores: its events, and its memories' leakage"
    )
    energy_by_layer: dict[str, dict[str, float]] = Field(
        description="joules a sample by layer and component: those of its cores"
    )
    energy_shared_j: dict[str, float] = Field(
        description="joules a sample by component of what the whole chip shares; with the layers, the total"
    )
    energy_by_unit_j: dict[str, Split] = Field(
        description="joules a sample by unit; clock and leakage laid to the unit that has registers and cells"
    )
    power_w: Split = Field(description="mean, while samples follow each other")
    area: AreaSummary | None = Field(description="null: unknown, and a note says why")
    graph: list[Edge] = Field(description="of the network as mapped")
    neurobench: NeuroBench | None = Field(default=None, description="null: not worked out")
    counters: dict[str, Any] = Field(
        description="cores: x, y, layer and chip.events.CORE_EVENTS; routers: x, y and ROUTER_EVENTS, those without "
        "traffic left out; chip: CHIP_EVENTS"
    )
    layers: list[LayerModel]
    steps: dict[str, list[list[int]]] = Field(
        description="by chip timestep, totals over the samples: router_flits (routers, y x columns + x), core_spikes "
        "(cores in use, as in counters)"
    )
    mesh: dict[str, int] = Field(description="columns, rows")
    clock_hz: float = Field(gt=0)
    placement: dict[str, Any]
    convention: dict[str, str]
    notes: list[str]
    provenance: dict[str, Any]

    @model_validator(mode="after")
    def _check(self) -> RunResult:
        per_sample = ("predictions", "labels", "output_counts", "output_membrane", "sample_cycles")
        for name in per_sample:
            values = getattr(self, name)
            if values is not None and len(values) != self.samples:
                raise ValueError(f"{name} must have {self.samples} entries, not {len(values)}")
        for name in ("columns", "rows"):
            if self.mesh.get(name, 0) < 1:
                raise ValueError(f"mesh must say {name}, at least 1")
        widths = {
            "router_flits": self.mesh["columns"] * self.mesh["rows"],
            "core_spikes": len(self.counters.get("cores", ())),
        }
        for name, width in widths.items():
            wrong = [len(row) for row in self.steps.get(name, ()) if len(row) != width]
            if wrong or len(self.steps.get(name, ())) != self.chip_timesteps:
                raise ValueError(f"steps.{name} must be {self.chip_timesteps} rows of {width}")
        self._check_energy()
        return self

    def _check_energy(self) -> None:
        check_energy(
            self.energy_rows,
            self.energy_j,
            self.energy_by_layer,
            self.energy_shared_j,
            self.energy_by_unit_j,
        )
        cores = self.counters.get("cores", ())
        if len(self.energy_by_core_j) != len(cores):
            raise ValueError(f"energy_by_core_j must have {len(cores)} entries")
        if set(self.energy_by_layer) != {layer.name for layer in self.layers}:
            raise ValueError("energy_by_layer must have the names of the layers")
        for layer in self.layers:
            parts = self.energy_by_layer[layer.name].values()
            check_sum(f"energy_by_layer of {layer.name}", parts, layer.energy_j)
            own = [
                split.total
                for core, split in zip(cores, self.energy_by_core_j, strict=True)
                if core.get("layer") == layer.name
            ]
            check_sum(f"energy_by_core_j of {layer.name}", own, layer.energy_j)
        for kind in ("dynamic", "static"):
            joules = fsum(row.energy_j for row in self.energy_rows if row.kind == kind)
            power = getattr(self.power_w, kind)
            check_sum(f"energy over time, {kind},", [joules * self.throughput_per_s], power)

    @property
    def pj_per_synop(self) -> float | None:
        """All energy over the synaptic operations, in pJ; None where there were none."""
        return self.energy_j["total"] * self.samples / self.synops * 1e12 if self.synops else None

    @property
    def average_power_w(self) -> float:
        """Energy over time, in watts."""
        return self.energy_j["total"] * self.throughput_per_s


def result_schema() -> dict[str, Any]:
    """Return the JSON schema of a result file."""
    return RunResult.model_json_schema()


def write_whole(path: str | Path, content: str | bytes) -> None:
    """Write a file at once: an earlier file stays until the new one is complete."""
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def save_result(result: RunResult | LearnResult, path: str | Path) -> None:
    """Write a result of either kind as JSON."""
    indent = 1 if isinstance(result, RunResult) else None  # a step may have 100,000 tasks
    write_whole(path, result.model_dump_json(indent=indent))


def load_result(path: str | Path) -> RunResult | LearnResult:
    """Read a result: a `RunResult` of `run`, or a `LearnResult` of `train`, as its ``kind`` says.

    Raises
    ------
    ResultError
        The file is missing, no JSON, of another kind or version, or not whole: one line per wrong field.
    """
    try:
        fields = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ResultError(f"{path} is no readable JSON result: {error}") from None
    if not isinstance(fields, dict) or "schema_version" not in fields:
        raise ResultError(
            f"{path} is no result of `spikeloom run` or `train`: it does not say its schema_version"
        )
    kind = fields.get("kind", "run")
    if kind not in ("run", "step", "training"):
        raise ResultError(
            f"{path} is no result of `spikeloom run` or `train`: its kind is {kind!r}"
        )
    model: type[RunResult | LearnResult] = RunResult if kind == "run" else LearnResult
    version = SCHEMA_VERSION if kind == "run" else LEARN_SCHEMA_VERSION
    if fields["schema_version"] != version:
        raise ResultError(
            f"{path} has result version {fields['schema_version']!r}, this spikeloom reads {version}; "
            "run the program again"
        )
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        lines: list[str] = []
        for item in error.errors()[:5]:
            place = ".".join(str(part) for part in item["loc"]) or "the result"
            lines.append(f"{place}: {item['msg'].removeprefix('Value error, ')}")
        raise ResultError(f"{path} is no whole result:\n  " + "\n  ".join(lines)) from None
