"""Tiny networks that the RTL of the learning engines carries, and batches for them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spikeloom.chip.learn_network import (
    INPUT,
    InputFormat,
    LearnNetwork,
    Neuron,
    Parameters,
    Stage,
    initial_parameters,
)


def tiny_mlp(bits: int = 4, *, signed: bool = False, constant: bool = True) -> LearnNetwork:
    """12 inputs, 16 and 8 hidden neurons, 3 classes."""
    image = InputFormat(
        (1, 1, 12), bits=bits, signed=signed, scale=1 / (1 << bits), constant=constant
    )
    return LearnNetwork(
        image,
        (
            Stage("hidden", (1, 1, 12), (1, 1, 16), (INPUT,), neuron=Neuron()),
            Stage("second", (1, 1, 16), (1, 1, 8), (0,), neuron=Neuron(leak=0.5, threshold=0.5)),
            Stage("readout", (1, 1, 8), (1, 1, 3), (1,)),
        ),
        "tiny_mlp",
    )


def tiny_conv() -> LearnNetwork:
    """Two convolutions, one with a stride, and two dense layers."""
    return LearnNetwork(
        InputFormat((6, 6, 2), bits=3, scale=1 / 8, constant=False),
        (
            Stage("first", (6, 6, 2), (6, 6, 8), (INPUT,), kernel=(3, 3), padding=(1, 1), neuron=Neuron()),
            Stage(
                "second", (6, 6, 8), (3, 3, 8), (0,), kernel=(3, 3), stride=(2, 2), padding=(1, 1), neuron=Neuron()
            ),
            Stage("third", (3, 3, 8), (1, 1, 8), (1,), kernel=(3, 3), neuron=Neuron()),
            Stage("readout", (1, 1, 8), (1, 1, 3), (2,)),
        ),
        "tiny_conv",
    )  # fmt: skip


def start(network: LearnNetwork, seed: int, gain: float = 2.5) -> Parameters:
    """Weights that let neurons fire."""
    parameters = initial_parameters(network, seed)
    for weights in parameters.weights:
        np.multiply(weights, np.float32(gain), out=weights)
    return parameters


def batches(
    network: LearnNetwork, steps: int, batch: int, timesteps: int, seed: int
) -> list[tuple[NDArray[np.uint8], NDArray[np.int64]]]:
    """Random images and labels, a batch for each step."""
    rng = np.random.default_rng(seed)
    frames = 1 if network.input.constant else timesteps
    shape = (batch, frames, *network.input.shape)
    return [
        (
            rng.integers(0, 1 << network.input.bits, shape).astype(np.uint8),
            rng.integers(0, network.classes, batch),
        )
        for _ in range(steps)
    ]
