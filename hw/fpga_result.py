"""What an FPGA run found, as a file: resources, components, clock, critical path."""

from __future__ import annotations

from itertools import groupby
from math import fsum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = ["ComponentUse", "FpgaResult", "PathStep", "Resource", "SeedRun"]

SCHEMA_VERSION = 1


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Resource(_Model):
    """One kind of resource: how many are used, and how many the device has (null: no device was chosen)."""

    name: str
    used: int = Field(ge=0)
    available: int | None = Field(default=None, ge=0)


class ComponentUse(_Model):
    """What a component uses after synthesis, all tiles together; carry chains and small memories count as LUTs."""

    component: str
    uses: dict[str, int]


class PathStep(_Model):
    """One delay on the critical path, up to ``cell``."""

    component: str
    cell: str
    net: str
    kind: str = Field(description="clk-to-q, routing, logic or setup")
    delay_ns: float = Field(ge=0)


class SeedRun(_Model):
    """One run of place and route; without a clock if it failed."""

    seed: int
    seconds: float = Field(ge=0)
    fmax_mhz: float | None = Field(default=None, gt=0)


class PathPart(_Model):
    """Consecutive steps of the critical path in one component."""

    component: str
    logic_ns: float
    routing_ns: float
    levels: int = Field(description="LUTs, carry chains and blocks passed")


class FpgaResult(_Model):
    """The chip on an FPGA. Everything is of the emitted Verilog, by open tools; nothing ran on a board."""

    kind: Literal["fpga"] = "fpga"
    schema_version: Literal[1] = SCHEMA_VERSION
    chip: str
    config_hash: str
    cores: int = Field(ge=0, description="0: learning engines alone")
    verilog_sha256: str
    part: str
    options: str = Field(description="of synthesis and of place and route")
    target_mhz: float = Field(gt=0)
    tools: list[str] = Field(description="name and version")
    synthesis_s: float = Field(ge=0)
    resources: list[Resource] = Field(description="of place and route, or of synthesis without it")
    components: list[ComponentUse]
    planned_blocks: int = Field(
        default=0,
        ge=0,
        description="block RAMs and multipliers that stand where our floor plan says",
    )
    fmax_mhz: float | None = Field(
        default=None, description="of the best seed; null: not placed and routed"
    )
    path: list[PathStep] = Field(default=[], description="the critical path of the best seed")
    seeds: list[SeedRun] = Field(default=[])
    problem: str | None = Field(default=None, description="why it was not placed and routed")

    @model_validator(mode="after")
    def _check(self) -> FpgaResult:
        if self.problem is not None and self.fmax_mhz is not None:
            raise ValueError("a design with a problem has no clock")
        return self

    @property
    def ok(self) -> bool:
        """Whether the design fits, and runs at the clock asked for if it was placed and routed."""
        if self.problem is not None:
            return False
        return self.fmax_mhz is None or self.fmax_mhz >= self.target_mhz

    @property
    def path_ns(self) -> float:
        """Length of the critical path."""
        return fsum(step.delay_ns for step in self.path)

    @property
    def path_parts(self) -> list[PathPart]:
        """The critical path as the components that it passes through; they sum to its length."""
        parts = []
        for component, group in groupby(self.path, key=lambda step: step.component):
            steps = list(group)
            routing = fsum(step.delay_ns for step in steps if step.kind == "routing")
            logic = fsum(step.delay_ns for step in steps if step.kind != "routing")
            parts.append(
                PathPart(
                    component=component,
                    logic_ns=logic,
                    routing_ns=routing,
                    levels=sum(step.kind == "logic" for step in steps),
                )
            )
        assert abs(fsum(p.logic_ns + p.routing_ns for p in parts) - self.path_ns) < 1e-6
        return parts
