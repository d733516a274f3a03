"""The result of a run: what was measured on the simulated chip, as a file with a published schema."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

SCHEMA_VERSION = 1


class ResultError(ValueError):
    """A result file that cannot be read; the message is a sentence for the user."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Spread(_Model):
    """Smallest, middle and largest of a quantity."""

    min: float
    median: float
    max: float


class EnergyRowModel(_Model):
    """One row of the energy account: count a sample x cost."""

    component: str
    event: str
    count: float
    cost_pj: float
    energy_j: float
    formula: str
    source: str
    status: Literal["measured", "derived", "assumed"]


class LayerModel(_Model):
    """One layer on the chip; spikes and synops are totals over the samples, energy is joules a sample of its cores."""

    name: str
    kind: str
    shape: list[int]
    cores: int
    partial_cores: int
    depth: int
    spikes: int
    synops: int
    energy_j: float
    notes: dict[str, Any]


class RunResult(_Model):
    """What `spikeloom run` gives; counters are totals over the samples, energies joules a sample."""

    schema_version: Literal[1] = SCHEMA_VERSION
    network: str
    chip: str
    config_hash: str
    accuracy: float | None = Field(description="share of predictions equal to the labels; null without labels")
    predictions: list[int] = Field(description="(samples)")
    labels: list[int] | None = None
    decide: Literal["count", "membrane", "first"]
    output_counts: list[list[int]] | None = Field(description="(samples, outputs); null where outputs do not spike")
    output_membrane: list[list[float]] | None = Field(description="(samples, outputs), summed over the timesteps")
    timesteps: int = Field(description="of the network")
    chip_timesteps: int = Field(description="a sample takes on the chip, the pipeline's fill included")
    samples: int
    cycles_per_sample: Spread
    cycles_per_timestep: Spread
    latency_s: Spread = Field(description="from the start of a sample to its last output")
    throughput_per_s: float
    host_input_share: float = Field(description="share of the cycles in which the host was injecting")
    synops: int = Field(description="weights applied to a neuron, zero weights included")
    packets: int = Field(description="flits injected by cores and host")
    hops: int = Field(description="flits forwarded by router outputs, ejection included")
    energy_j: dict[str, float] = Field(description="by component, and total")
    energy_rows: list[EnergyRowModel]
    counters: dict[str, Any]
    layers: list[LayerModel]
    steps: dict[str, list[list[int]]] = Field(
        description="by chip timestep: router_flits per router, core_spikes per core"
    )
    mesh: dict[str, int]
    clock_hz: float
    placement: dict[str, Any]
    convention: dict[str, str]
    notes: list[str]
    provenance: dict[str, Any]


def result_schema() -> dict[str, Any]:
    """Return the JSON schema of a result file."""
    return RunResult.model_json_schema()


def write_whole(path: str | Path, text: str) -> None:
    """Write a text file at once: an earlier file stays until the new one is complete."""
    path = Path(path)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def save_result(result: RunResult, path: str | Path) -> None:
    """Write a result as JSON."""
    write_whole(path, result.model_dump_json(indent=1))


def load_result(path: str | Path) -> RunResult:
    """Read a result.

    Raises
    ------
    ResultError
        The file is missing, no JSON, of another version, or lacks fields.
    """
    try:
        fields = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ResultError(f"{path} is no readable JSON result ({error})") from None
    version = fields.get("schema_version") if isinstance(fields, dict) else None
    if version != SCHEMA_VERSION:
        raise ResultError(
            f"{path} has result version {version!r}, this spikeloom reads {SCHEMA_VERSION}; run the program again"
        )
    try:
        return RunResult.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ResultError(f"{path} is no whole result: {place}: {first['msg']}") from None
