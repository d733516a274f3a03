"""A training step on a V100, as a roofline: a kernel takes the longer of its arithmetic and its bytes, and a launch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import fsum, isclose, prod
from typing import Literal

from ..chip.learn_network import INPUT, LearnNetwork, Stage
from .learn_costs import GpuCosts, load_gpu_costs

__all__ = [
    "PUBLISHED", "Comparison", "GpuResult", "GpuRow", "Published", "Variant", "compare_with_gpu", "gpu_step",
]  # fmt: skip

Variant = Literal["fp32", "tensor"]
Pass = Literal["forward", "backward", "update"]

_MASTER_BYTES = 4
# Tensors of a layer's outputs, over all timesteps, that a kernel reads or writes; and how many kernels that are.
FIRE_FORWARD = (2, 1)  # reads x, writes spikes; one kernel runs through time
RECOMPUTE = (2, 1)  # reads x, writes membranes: the published code stores only x
FIRE_BACKWARD = (4, 1)  # reads the gradient, membranes and spikes, writes du
NORM_FORWARD = {"batch": (3, 2), "frozen": (2, 1)}  # statistics read once; then read and write
NORM_BACKWARD = {
    "batch": (5, 2),
    "frozen": (4, 2),
}  # sums of du and du y; then read (both, or du) and write
SHORTCUT = (3, 1)  # reads both, writes the sum
BIAS_GRADIENT = (1, 1)
OPTIMISER_WORDS = 5  # reads weight, momentum, gradient; writes weight, momentum


@dataclass(frozen=True)
class GpuRow:
    """The kernels of one kind of a layer in a pass."""

    layer: str
    step: Pass
    kernel: str
    operations: float
    bytes: float
    kernels: int
    seconds: float
    joules: float


@dataclass(frozen=True)
class GpuResult:
    """A training step: rows, and their sums in seconds and joules."""

    variant: Variant
    rows: tuple[GpuRow, ...]
    seconds: float
    joules: float
    by_pass: dict[str, tuple[float, float]]
    by_layer: dict[str, tuple[float, float]]
    die_mm2: float
    table: str

    @property
    def power_w(self) -> float:
        """Mean power."""
        return self.joules / self.seconds


@dataclass(frozen=True)
class Published:
    """What H2Learn's abstract says, each as (lowest, highest)."""

    speedup: tuple[float, float] = (5.74, 10.20)
    energy: tuple[float, float] = (5.25, 7.12)
    area: float = 7.38


PUBLISHED = Published()
# Within these a comparison counts as like the published one, since the sizes are ours: h2learn_facts.md, item 10.
ACCEPTED_SPEEDUP = (4.0, 14.0)
ACCEPTED_ENERGY = (4.0, 10.0)


@dataclass(frozen=True)
class Comparison:
    """A step of ours beside the GPU's."""

    speedup: float
    energy_gain: float
    area_ratio: float
    power_ratio: float

    @property
    def speed_is_like_published(self) -> bool:
        """Whether the speedup lies in the accepted range."""
        return ACCEPTED_SPEEDUP[0] <= self.speedup <= ACCEPTED_SPEEDUP[1]

    @property
    def energy_is_like_published(self) -> bool:
        """Whether the energy gain lies in the accepted range and below the speedup."""
        low, high = ACCEPTED_ENERGY
        return low <= self.energy_gain <= high and self.energy_gain < self.speedup


def compare_with_gpu(seconds: float, joules: float, area_mm2: float, gpu: GpuResult) -> Comparison:
    """Return how much faster, smaller and cheaper a step of ours is than the GPU's."""
    return Comparison(
        speedup=gpu.seconds / seconds,
        energy_gain=gpu.joules / joules,
        area_ratio=gpu.die_mm2 / area_mm2,
        power_ratio=(joules / seconds) / gpu.power_w,
    )


def gpu_step(
    network: LearnNetwork,
    batch: int,
    timesteps: int,
    variant: Variant = "fp32",
    costs: GpuCosts | None = None,
) -> GpuResult:
    """Return time and energy of a training step on the V100.

    ``fp32`` computes and stores in 32 bits; ``tensor`` multiplies in tensor cores, keeps activations and gradients in
    16 bits and weights in 32. All timesteps of a layer run in one kernel; a layer whose input is the same image in
    every timestep is multiplied once. Dense arithmetic: cuDNN uses no spikes.

    Raises
    ------
    ValueError
        If batch or timesteps are below 1, or the variant is unknown.
    """
    if batch < 1 or timesteps < 1:
        raise ValueError(f"batch and timesteps must be at least 1, not {batch!r} and {timesteps!r}")
    if variant not in ("fp32", "tensor"):
        raise ValueError(f"variant must be fp32 or tensor, not {variant!r}")
    machine = _Machine(network, batch, timesteps, variant, costs or load_gpu_costs())
    rows = tuple(row for index in range(len(network.stages)) for row in machine.rows(index))
    seconds, joules = fsum(row.seconds for row in rows), fsum(row.joules for row in rows)
    by_pass = {
        name: _sums([r for r in rows if r.step == name])
        for name in ("forward", "backward", "update")
    }
    by_layer = {
        stage.name: _sums([r for r in rows if r.layer == stage.name]) for stage in network.stages
    }
    for what, parts in (("passes", by_pass), ("layers", by_layer)):
        for total, place in ((seconds, 0), (joules, 1)):
            if not isclose(fsum(part[place] for part in parts.values()), total, rel_tol=1e-9):
                raise ArithmeticError(f"the {what} do not add up to {total!r}")
    table = machine.costs
    return GpuResult(
        variant,
        rows,
        seconds,
        joules,
        by_pass,
        by_layer,
        table.value("die_mm2"),
        f"{table.name} {table.table_hash}",
    )


def _sums(rows: list[GpuRow]) -> tuple[float, float]:
    return fsum(row.seconds for row in rows), fsum(row.joules for row in rows)


class _Machine:
    def __init__(
        self, network: LearnNetwork, batch: int, timesteps: int, variant: Variant, costs: GpuCosts
    ) -> None:
        self._network, self._batch, self._timesteps, self._variant = (
            network,
            batch,
            timesteps,
            variant,
        )
        self.costs = costs
        self._value_bytes = 4 if variant == "fp32" else 2

    def rows(self, index: int) -> Iterator[GpuRow]:
        """Yield the kernels of a layer."""
        stage, network = self._network.stages[index], self._network
        norm = None if stage.norm is None else stage.norm.kind
        values = self._batch * self._timesteps * prod(stage.out_shape)
        yield self._product(stage, "forward")
        if norm is not None:
            yield self._stream(stage, "forward", "norm", NORM_FORWARD[norm], values)
        if stage.shortcut is not None:
            yield self._stream(stage, "forward", "shortcut", SHORTCUT, values)
        if stage.neuron is not None:
            yield self._stream(stage, "forward", "fire", FIRE_FORWARD, values)
            yield self._stream(stage, "backward", "recompute", RECOMPUTE, values)
            yield self._stream(stage, "backward", "fire", FIRE_BACKWARD, values)
        # Every user of the output but one adds its gradient to those before.
        for _ in network.consumers(index)[1:]:
            yield self._stream(stage, "backward", "add", SHORTCUT, values)
        if norm is not None:
            yield self._stream(stage, "backward", "norm", NORM_BACKWARD[norm], values)
        if INPUT not in stage.sources:
            yield self._product(stage, "backward")
        yield self._product(stage, "update")
        if stage.bias:
            yield self._stream(stage, "update", "bias", BIAS_GRADIENT, values)
        weights = prod(stage.weight_shape)
        yield self._row(
            stage, "update", "optimiser", 0.0, weights * OPTIMISER_WORDS * _MASTER_BYTES, 1
        )

    def _frames(self, stage: Stage) -> int:
        return self._batch * (1 if self._network.is_constant(stage) else self._timesteps)

    def _product(self, stage: Stage, step: Pass) -> GpuRow:
        frames = self._frames(stage)
        values = frames * (prod(stage.in_shape) + prod(stage.out_shape)) + prod(stage.weight_shape)
        return self._row(
            stage, step, "product", 2.0 * stage.macs * frames, values * self._value_bytes, 1
        )

    def _stream(
        self, stage: Stage, step: Pass, name: str, kind: tuple[int, int], values: int
    ) -> GpuRow:
        tensors, kernels = kind
        return self._row(
            stage, step, name, 0.0, float(tensors * values * self._value_bytes), kernels
        )

    def _row(
        self, stage: Stage, step: Pass, name: str, operations: float, size: float, kernels: int
    ) -> GpuRow:
        value = self.costs.value
        kind = "fp32" if self._variant == "fp32" else "tensor"
        arithmetic = operations / (value(f"{kind}_efficiency") * value(f"{kind}_flops"))
        streaming = size / (value("bandwidth_efficiency") * value("bandwidth"))
        share = (
            value(f"{kind}_efficiency") if arithmetic > streaming else value("bandwidth_efficiency")
        )
        busy, launch = max(arithmetic, streaming), kernels * value("launch_s")
        joules = value("idle_w") * (busy + launch) + value("busy_w") * share * busy
        return GpuRow(stage.name, step, name, operations, size, kernels, busy + launch, joules)
