"""Tiny networks that the RTL of the learning engines carries, and batches for them."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeloom.chip.config import ChipConfig, load_config
from spikeloom.chip.learn_memory import MemoryMap
from spikeloom.chip.learn_network import (
    INPUT,
    InputFormat,
    LearnError,
    LearnNetwork,
    Neuron,
    Parameters,
    Recipe,
    Stage,
    initial_parameters,
)
from spikeloom.chip.learn_program import LearnProgram
from spikeloom.compiler.learn_commands import learn_commands
from spikeloom.compiler.learn_tasks import learn_tasks
from spikeloom.hw.cosim.learn_bench import BENCH_ROWS
from spikeloom.hw.transport import WatchedTransport
from spikeloom.learn_comparing import Stalls, StepComparison


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


def steps_under_cocotb(transport: WatchedTransport, name: str, stalls: int) -> dict[str, Any]:
    """Train two steps of a tiny network behind the streams of cocotbext-axi; what differs, and how much ran."""
    network = {"mlp": tiny_mlp, "conv": tiny_conv}[name]()
    recipe = Recipe(timesteps=3, batch=4)
    program = learn_tasks(load_config("h2learn_small"), network, recipe)
    comparison = StepComparison(program, start(network, 3), transport, Stalls(stalls, 80))
    difference = comparison.run(batches(network, 2, 4, 3, seed=5))
    return {
        "difference": None if difference is None else str(difference),
        "steps": comparison.steps,
        "cycles": comparison.cycles,
        "stored": comparison.stored,
    }


# ------------------------------------------------------------------------------------------------- random ones


@dataclass(frozen=True)
class RandomCase:
    """A step that a chip's RTL carries, what to start from and to train on, and the memory's pauses."""

    program: LearnProgram
    parameters: Parameters
    batches: list[tuple[NDArray[np.uint8], NDArray[np.int64]]]
    stalls: Stalls

    def __str__(self) -> str:
        network, recipe = self.program.network, self.program.recipe
        image = network.input
        stages = "; ".join(
            f"{s.in_shape} -> {s.out_shape}, kernel {s.kernel}, stride {s.stride}, padding {s.padding}"
            for s in network.stages
        )
        return (
            f"{'signed ' if image.signed else ''}{image.bits} bits, {'constant' if image.constant else 'varying'}: "
            f"{stages}; batch {self.program.batch}, {recipe}, {self.stalls}"
        )


def random_case(rng: np.random.Generator, config: ChipConfig, side: int = 6) -> RandomCase:
    """Draw a network of one to four layers, a recipe, weights, batches and stalls; again where they do not fit.

    Images have up to ``side`` rows and columns.
    """
    # Drawn once, or networks that always fit would be most of them.
    hidden, is_dense = int(rng.choice([0, 1, 1, 2, 2, 3])), bool(rng.random() < 0.2)
    while True:
        try:
            network = _random_network(rng, config, hidden, 1 if is_dense else side)
            recipe = _random_recipe(rng)
            batch = recipe.batch if rng.random() < 0.7 else int(rng.integers(1, recipe.batch + 1))
            program = learn_tasks(config, network, recipe, batch)
            learn_commands(program)
        except LearnError:
            continue
        if MemoryMap(config.learn, network, recipe, batch).rows <= BENCH_ROWS:
            break
    seed = int(rng.integers(1 << 30))
    gain = float(rng.choice([0.5, 1.5, 3.0, 6.0]))
    steps = int(rng.integers(2, 5))
    rate = int(rng.choice([0, 10, 60, 200]))
    return RandomCase(
        program, start(network, seed, gain), batches(network, steps, batch, recipe.timesteps, seed),
        Stalls(int(rng.integers(1, 1 << 16)), rate),
    )  # fmt: skip


def _random_recipe(rng: np.random.Generator) -> Recipe:
    return Recipe(
        timesteps=int(rng.integers(1, 6)),
        batch=int(rng.integers(1, 7)),
        readout="membrane" if rng.random() < 0.5 else "mean",
        readout_leak=float(rng.choice([1.0, 0.5, 0.3])),
        loss="mse" if rng.random() < 0.5 else "cross_entropy",
        learning_rate=float(rng.choice([0.01, 0.1, 1.0])),
        momentum=float(rng.choice([0.0, 0.9])),
        weight_decay=float(rng.choice([0.0, 0.01])),
        loss_scale=2.0 ** int(rng.choice([0, 10, 10, 14, 24])),
    )


def _random_network(
    rng: np.random.Generator, config: ChipConfig, hidden: int, side: int
) -> LearnNetwork:
    signed = bool(rng.random() < 0.3)
    sides = int(rng.integers(1, side + 1)), int(rng.integers(1, side + 1))
    bits = int(rng.integers(2, 9)) if signed else int(rng.choice([1, 1, *range(2, 9)]))
    image = InputFormat(
        (*sides, int(rng.integers(1, 30 if side == 1 else 12))),
        bits=bits,
        signed=signed,
        scale=float(rng.choice([2.0**-bits, 1.5 / 2**bits])),
        constant=hidden > 0 and bool(rng.random() < 0.5),
    )
    stages: list[Stage] = []
    for index in range(hidden):
        shape = stages[-1].out_shape if stages else image.shape
        stages.append(_random_stage(rng, config, index, shape))
    shape = stages[-1].out_shape if stages else image.shape
    classes = int(rng.integers(1, 12))
    # Over a frame either all its values are channels, or the kernel is as large as the frame.
    is_flat = rng.random() < 0.5
    stages.append(
        Stage(
            "readout", (1, 1, prod(shape)) if is_flat else shape, (1, 1, classes), (hidden - 1,),
            kernel=(1, 1) if is_flat else shape[:2],
        )
    )  # fmt: skip
    return LearnNetwork(image, tuple(stages), "random")


def _random_stage(
    rng: np.random.Generator, config: ChipConfig, index: int, shape: tuple[int, int, int]
) -> Stage:
    """Draw a convolution, now and then one that skips inputs or lies beyond them."""
    kernel: list[int] = []
    stride: list[int] = []
    padding: list[int] = []
    sides: list[int] = []
    for side in shape[:2]:
        size, pad = int(rng.integers(1, 5)), int(rng.choice([0, 0, 1, 1, 2, 3]))
        size = min(size, side + 2 * pad)
        step = int(rng.choice([1, 1, 2, 3]))
        kernel.append(size)
        stride.append(step)
        padding.append(pad)
        sides.append((side + 2 * pad - size) // step + 1)
    # Those of a layer that feeds another must fit the words of the backward engine; more are drawn again.
    channels = int(rng.integers(1, config.learn.backward.channels + 8))
    neuron = Neuron(
        leak=float(rng.choice([0.25, 0.0, 1.0, 0.7])),
        threshold=float(rng.choice([0.25, 0.5, 0.0, -0.1])),
        half_width=float(rng.choice([0.5, 0.1, 2.0])),
        height=float(rng.choice([1.0, 0.6])),
    )
    return Stage(
        f"layer{index}", shape, (sides[0], sides[1], channels), (index - 1,),
        kernel=(kernel[0], kernel[1]), stride=(stride[0], stride[1]), padding=(padding[0], padding[1]), neuron=neuron,
    )  # fmt: skip
