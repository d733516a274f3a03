"""What the learning engines train: stages of synapses, normalisation and neurons, and the recipe of the training."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from math import frexp, prod
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
INPUT = -1  # index of the network's input among the sources of a stage


class LearnError(ValueError):
    """A network, data or a program that the learning engines cannot take; the message is a sentence for the user."""


@dataclass(frozen=True)
class Neuron:
    """The iterative LIF of STBP with its rectangular surrogate: docs/blocks/learning.md gives the equations.

    Defaults are those of the first author's code of H2Learn (github.com/liangling76/snn_gpu_training_bptt).
    """

    leak: float = 0.25
    threshold: float = 0.25
    half_width: float = 0.5
    height: float = 1.0


@dataclass(frozen=True)
class Norm:
    """Threshold-dependent batch normalisation: ``scale * gamma * (y - mean) / sqrt(variance + epsilon) + beta``.

    ``batch`` takes mean and variance of the batch over samples, timesteps and positions, and keeps running ones;
    ``frozen`` uses the running ones and leaves them. ``scale`` is tdBN's alpha times the threshold.
    """

    kind: Literal["batch", "frozen"] = "batch"
    epsilon: float = 1e-5
    momentum: float = 0.1
    scale: float = 1.0


@dataclass(frozen=True)
class Stage:
    """One layer: a convolution, then neurons. A dense layer is a convolution over one position.

    Attributes
    ----------
    name : str
    in_shape, out_shape : (rows, columns, channels)
        Of one timestep; ``in_shape`` after pooling. ``(1, 1, n)`` takes all n values of its source as channels.
    sources : tuple of int
        Stages whose spikes are added up as the input; `INPUT` for the network's input.
    pool : int
        Side of the windows that the input is averaged over before the synapses; 1 for none.
    kernel, stride, padding : (rows, columns)
    groups : int
        Of channels, as in a grouped convolution.
    bias : bool
    norm : Norm or None
    shortcut : int or None
        A stage whose output (its spikes, or its sums if it has no neurons) is added to the membranes' input.
    neuron : Neuron or None
        None for a stage that only adds to others, and for the readout.
    """

    name: str
    in_shape: tuple[int, int, int]
    out_shape: tuple[int, int, int]
    sources: tuple[int, ...]
    pool: int = 1
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    groups: int = 1
    bias: bool = False
    norm: Norm | None = None
    shortcut: int | None = None
    neuron: Neuron | None = None

    @property
    def taps(self) -> int:
        """Positions of the kernel."""
        return self.kernel[0] * self.kernel[1]

    @property
    def in_positions(self) -> int:
        """Positions of a frame of the input."""
        return self.in_shape[0] * self.in_shape[1]

    @property
    def out_positions(self) -> int:
        """Positions of a frame of the output."""
        return self.out_shape[0] * self.out_shape[1]

    @property
    def in_channels(self) -> int:
        """Input channels of a group."""
        return self.in_shape[2] // self.groups

    @property
    def out_channels(self) -> int:
        """Output channels of a group."""
        return self.out_shape[2] // self.groups

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        """Shape of the weights: (groups, taps, input channels, output channels)."""
        return (self.groups, self.taps, self.in_channels, self.out_channels)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of a frame if everything were dense, border taps included."""
        return self.out_positions * self.taps * self.in_channels * self.out_shape[2]

    @cached_property
    def forward_taps(self) -> NDArray[np.int32]:
        """(out_positions, taps): the input position under each tap, -1 outside."""
        (rows, columns, _), (out_rows, out_columns, _) = self.in_shape, self.out_shape
        y = (
            np.arange(out_rows)[:, None] * self.stride[0]
            + np.arange(self.kernel[0])
            - self.padding[0]
        )
        x = (
            np.arange(out_columns)[:, None] * self.stride[1]
            + np.arange(self.kernel[1])
            - self.padding[1]
        )
        at = y[:, None, :, None] * columns + x[None, :, None, :]
        inside = ((y >= 0) & (y < rows))[:, None, :, None] & ((x >= 0) & (x < columns))[
            None, :, None, :
        ]
        return np.where(inside, at, -1).reshape(self.out_positions, self.taps).astype(np.int32)

    @cached_property
    def backward_taps(self) -> NDArray[np.int32]:
        """(in_positions, taps): the output position that each tap of an input position belongs to, -1 for none."""
        result = np.full((self.in_positions, self.taps), -1, np.int32)
        out, tap = np.nonzero(self.forward_taps >= 0)
        result[self.forward_taps[out, tap], tap] = out
        return result

    @cached_property
    def backward_phases(self) -> tuple[NDArray[np.int32], ...]:
        """Input positions by phase of the stride, ascending in each: those of a phase lie under the same taps."""
        rows, columns = self.in_shape[:2]
        y = (np.arange(rows) + self.padding[0]) % self.stride[0]
        x = (np.arange(columns) + self.padding[1]) % self.stride[1]
        phase = (y[:, None] * self.stride[1] + x[None, :]).reshape(-1)
        return tuple(
            np.flatnonzero(phase == number).astype(np.int32) for number in np.unique(phase)
        )


@dataclass(frozen=True)
class InputFormat:
    """The network's input: integers of ``bits`` bits, times ``scale``; one image a sample, or one a timestep.

    ``signed`` integers are two's complement. A binary input has one bit and is not signed.
    """

    shape: tuple[int, int, int]
    bits: int = 8
    signed: bool = False
    scale: float = 1.0 / 255.0
    constant: bool = True


@dataclass(frozen=True)
class Recipe:
    """How the network is trained: loss, optimiser, and what is part of a step's arithmetic.

    Attributes
    ----------
    timesteps, batch : int
    micro_batches : int
        Parts of a batch that follow one another through the engines, so that they overlap; batch normalisation takes
        its statistics of each part.
    readout : {"mean", "membrane"}
        Logits are the last stage's sums averaged over time, or the last membrane of integrators with ``readout_leak``.
    loss : {"cross_entropy", "mse"}
    learning_rate, momentum, weight_decay : float
    loss_scale : float
        What the loss gradient is multiplied with, a power of two; halved when a step overflows.
    """

    timesteps: int = 6
    batch: int = 64
    micro_batches: int = 1
    readout: Literal["mean", "membrane"] = "mean"
    readout_leak: float = 1.0
    loss: Literal["cross_entropy", "mse"] = "cross_entropy"
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 0.0
    loss_scale: float = 1024.0

    def __post_init__(self) -> None:
        for name in ("timesteps", "batch", "micro_batches"):
            if getattr(self, name) < 1:
                raise LearnError(
                    f"the recipe's {name} must be at least 1, not {getattr(self, name)}"
                )
        for name, allowed in (
            ("readout", ("mean", "membrane")),
            ("loss", ("cross_entropy", "mse")),
        ):
            if getattr(self, name) not in allowed:
                raise LearnError(
                    f"the recipe's {name} must be {' or '.join(allowed)}, not {getattr(self, name)!r}"
                )
        if not 0 < self.loss_scale < float("inf") or frexp(self.loss_scale)[0] != 0.5:
            raise LearnError(
                f"the recipe's loss_scale must be a power of two, not {self.loss_scale}"
            )

    def parts(self, batch: int) -> tuple[tuple[int, int], ...]:
        """Return first sample and samples of every micro-batch of a step of ``batch`` samples."""
        size = -(-batch // self.micro_batches)
        return tuple((first, min(size, batch - first)) for first in range(0, batch, size))


@dataclass(frozen=True)
class LearnNetwork:
    """Stages in the order in which they run; the last one is the readout, without neurons.

    Raises LearnError if a source comes later than its user, shapes do not fit, or there is nothing to train.
    """

    input: InputFormat
    stages: tuple[Stage, ...]
    name: str = "network"

    def __post_init__(self) -> None:
        if not self.stages:
            raise LearnError(f"{self.name} has no layers with weights: there is nothing to train")
        image = self.input
        if not int(image.signed) + 1 <= image.bits <= 8 or min(image.shape) < 1:
            raise LearnError(
                f"the input must be a frame of integers of 1 to 8 bits, of 2 to 8 if signed, not "
                f"{image.bits} bits of shape {image.shape}"
            )
        for index, stage in enumerate(self.stages):
            self._check(index, stage)
        last = self.stages[-1]
        if last.neuron is not None:
            raise LearnError(
                f"the last layer, {last.name}, must be a readout without spiking neurons: its sums are the logits"
            )
        if last.norm is not None or last.out_shape[:2] != (1, 1):
            raise LearnError(
                f"the last layer, {last.name}, must be a readout of shape (1, 1, classes) without a norm: "
                f"its sums are the logits"
            )

    def _check(self, index: int, stage: Stage) -> None:
        sizes = (
            *stage.kernel,
            *stage.stride,
            stage.pool,
            stage.groups,
            *stage.in_shape,
            *stage.out_shape,
        )
        if min(sizes) < 1 or min(stage.padding) < 0:
            raise LearnError(
                f"layer {stage.name}: kernel, stride, pool, groups and shapes must be at least 1, and padding 0"
            )
        for source in stage.sources:
            if not (source == INPUT or 0 <= source < index) or (
                source != INPUT and self.stages[source].neuron is None
            ):
                raise LearnError(f"layer {stage.name} needs spikes of earlier layers as its input")
            shape = self.pooled_shape(stage, source)
            if stage.in_shape not in (shape, (1, 1, prod(shape))):
                raise LearnError(
                    f"layer {stage.name} takes {stage.in_shape}, but its source gives {shape}"
                    + (f" when pooled by {stage.pool}" if stage.pool > 1 else "")
                )
        if not stage.sources or (INPUT in stage.sources and len(stage.sources) > 1):
            raise LearnError(
                f"layer {stage.name} needs sources, and the network's input cannot be added to spikes"
            )
        if len(set(stage.sources)) < len(stage.sources):
            raise LearnError(f"layer {stage.name} takes a source twice")
        if stage.pool > 1 and self.is_signed(stage):
            raise LearnError(
                f"layer {stage.name} cannot pool a signed input; pool the images beforehand"
            )
        if self.planes(stage) > 8:
            raise LearnError(
                f"layer {stage.name} adds up to {self.planes(stage)} bits in a window of its input, and the engines "
                f"take 8; pool less at a time"
            )
        for side, kernel, stride, padding, size in zip(
            stage.in_shape,
            stage.kernel,
            stage.stride,
            stage.padding,
            stage.out_shape[:2],
            strict=False,
        ):
            if (side + 2 * padding - kernel) // stride + 1 != size or kernel > side + 2 * padding:
                raise LearnError(
                    f"layer {stage.name}: a kernel of {kernel} with stride {stride} and padding {padding} "
                    f"over {side} does not give {size}"
                )
        if stage.in_shape[2] % stage.groups or stage.out_shape[2] % stage.groups:
            raise LearnError(
                f"layer {stage.name}: {stage.groups} groups must divide both its {stage.in_shape[2]} input and its "
                f"{stage.out_shape[2]} output channels"
            )
        if stage.shortcut is not None and stage.neuron is None:
            raise LearnError(
                f"layer {stage.name} has no neurons that its shortcut could be added to"
            )
        if stage.shortcut is not None and (
            not 0 <= stage.shortcut < index
            or self.stages[stage.shortcut].out_shape != stage.out_shape
        ):
            raise LearnError(
                f"layer {stage.name}: its shortcut must be an earlier layer of the same shape"
            )

    def output_shape(self, index: int) -> tuple[int, int, int]:
        """Return the shape of a frame of a stage's output, or of the input."""
        return self.input.shape if index == INPUT else self.stages[index].out_shape

    def pooled_shape(self, stage: Stage, source: int | None = None) -> tuple[int, int, int]:
        """Return the shape of a stage's input after pooling, before a dense layer takes it as one row of channels."""
        rows, columns, channels = self.output_shape(stage.sources[0] if source is None else source)
        return (rows // stage.pool, columns // stage.pool, channels)

    @property
    def classes(self) -> int:
        """Logits of a sample."""
        return prod(self.stages[-1].out_shape)

    def is_constant(self, stage: Stage) -> bool:
        """Whether a stage's input is the same in every timestep, so that its sums are worked out once."""
        return INPUT in stage.sources and self.input.constant

    def planes(self, stage: Stage) -> int:
        """Return the bit planes of a stage's input: 1 for spikes, more for pooled or added ones and for images."""
        largest = (1 << self.input.bits) - 1 if INPUT in stage.sources else len(stage.sources)
        return (largest * stage.pool**2).bit_length()

    def is_signed(self, stage: Stage) -> bool:
        """Whether the highest plane of a stage's input subtracts."""
        return INPUT in stage.sources and self.input.signed

    def input_scale(self, stage: Stage) -> float:
        """Return what one unit of a stage's integer input is worth."""
        return (self.input.scale if INPUT in stage.sources else 1.0) / stage.pool**2

    def consumers(self, index: int) -> tuple[tuple[int, str], ...]:
        """Return who uses a stage's output, ascending: pairs of a stage and ``"input"`` or ``"shortcut"``."""
        return tuple(
            (user, port)
            for user, stage in enumerate(self.stages)
            for port, used in (
                ("input", index in stage.sources),
                ("shortcut", stage.shortcut == index),
            )
            if used
        )


@dataclass
class Parameters:
    """What is trained, and the optimiser's state, stage by stage, float32; weights as `Stage.weight_shape`.

    ``vectors`` holds per stage the arrays of shape (output channels of all groups,): ``bias``, or ``gamma``, ``beta``,
    ``running_mean`` and ``running_var``; ``weight_momentum`` and ``vector_momentum`` mirror what the optimiser moves.
    """

    weights: list[Floats]
    vectors: list[dict[str, Floats]]
    weight_momentum: list[Floats] = field(default_factory=list)
    vector_momentum: list[dict[str, Floats]] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.weight_momentum:
            self.weight_momentum = [np.zeros_like(w) for w in self.weights]
            self.vector_momentum = [
                {name: np.zeros_like(v) for name, v in vectors.items() if name in TRAINED_VECTORS}
                for vectors in self.vectors
            ]


TRAINED_VECTORS = ("bias", "gamma", "beta")


def initial_parameters(network: LearnNetwork, seed: int) -> Parameters:
    """Draw weights as PyTorch's layers do by default, and start norms at the identity.

    Weights and biases are uniform within ``1 / sqrt(fan_in)`` (Kaiming with a = sqrt(5)).
    """
    rng = np.random.default_rng(seed)
    weights, vectors = [], []
    for stage in network.stages:
        bound = 1.0 / np.sqrt(stage.taps * stage.in_channels)
        weights.append(rng.uniform(-bound, bound, stage.weight_shape).astype(np.float32))
        channels = stage.out_shape[2]
        entry: dict[str, Floats] = {}
        if stage.bias:
            entry["bias"] = rng.uniform(-bound, bound, channels).astype(np.float32)
        if stage.norm is not None:
            entry["gamma"] = np.ones(channels, np.float32)
            entry["beta"] = np.zeros(channels, np.float32)
            entry["running_mean"] = np.zeros(channels, np.float32)
            entry["running_var"] = np.ones(channels, np.float32)
        vectors.append(entry)
    return Parameters(weights, vectors)
