"""What a training step leaves in memory, array by array, as the memory's map names them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ...chip.learn_network import INPUT, Floats, LearnNetwork, Neuron
from ...chip.learn_rules import in_window

__all__ = ["Contents", "memory_contents"]

# By name and stage: (frames, positions, channels), frames in the memory's order; weights (taps, inputs, outputs).
Contents = dict[tuple[str, int], NDArray[Any]]


class _Run(Protocol):
    """What a stage leaves for the backward pass (`training._Run`)."""

    u: Floats
    spikes: NDArray[np.uint8]
    du: Floats
    dx: Floats
    input_gradient: Floats


def memory_contents(
    network: LearnNetwork, runs: Sequence[_Run], logits: Floats, gradients: Sequence[Floats]
) -> Contents:
    """Return what a step of one micro-batch has written, but for what the optimiser moves.

    Of gradients at a stage's input those outside the mask are 0, as the backward engine leaves them.
    """
    samples = len(logits)
    contents: Contents = {("logits", INPUT): logits.reshape(samples, 1, -1)}
    for index, (stage, run) in enumerate(zip(network.stages, runs, strict=True)):
        shape = (stage.out_positions, stage.out_shape[2])

        def frames(values: NDArray[Any], shape: tuple[int, int] = shape) -> NDArray[Any]:
            """Return a stage's values with the last timestep of each sample first."""
            ordered = values.reshape(samples, -1, *shape)[:, ::-1]
            return ordered.reshape(-1, *shape)

        contents["gradients", index] = frames(run.du)
        if network.is_constant(stage):
            contents["time_sums", index] = run.dx.reshape(samples, *shape)
        if stage.neuron is not None:
            contents["membranes", index] = frames(run.u)
            contents["spikes", index] = frames(run.spikes[:-1])
            contents["masks", index] = frames(_masks(stage.neuron, run.u))
        if INPUT not in stage.sources:
            (source,) = stage.sources
            neuron = network.stages[source].neuron
            assert neuron is not None
            wanted = _masks(neuron, runs[source].u).reshape(run.input_gradient.shape)
            values = np.where(wanted, run.input_gradient, np.float32(0.0))
            places = (stage.in_positions, stage.in_shape[2])
            contents["input_gradients", index] = frames(values, places)
        contents["weight_gradients", index] = gradients[index][0]
    return contents


def _masks(neuron: Neuron, u: Floats) -> NDArray[np.uint8]:
    inside: Any = in_window(u, np.float32(neuron.threshold), np.float32(neuron.half_width))
    return inside.astype(np.uint8)
