"""Random small things to train: strategies over chips, networks, recipes; parameters and batches from a seed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from spikeloom.chip.config import ChipConfig, config_from_dict
from spikeloom.chip.learn_network import (
    INPUT,
    InputFormat,
    LearnError,
    LearnNetwork,
    Neuron,
    Norm,
    Parameters,
    Recipe,
    Stage,
    initial_parameters,
)
from spikeloom.compiler.learn_tasks import learn_tasks

BUFFERS = (
    "forward_weights", "forward_inputs", "forward_results", "backward_weights", "backward_inputs", "backward_results",
    "update_gradients", "update_inputs", "update_results", "vector_inputs", "vector_results",
)  # fmt: skip


def learn_chip(**sections: Any) -> ChipConfig:
    """A small chip with learning engines: the defaults, with fields changed."""
    learn = {key: value for key, value in sections.items() if value}
    return config_from_dict({"name": "test", "clock_hz": 1e8, "learn": learn}, "the test's chip")


@dataclass(frozen=True)
class Case:
    """What is trained, on what, and the seed of its numbers."""

    chip: ChipConfig
    network: LearnNetwork
    recipe: Recipe
    seed: int
    last_batch: int

    def parameters(self, gain: float = 1.5) -> Parameters:
        """Weights that let some neurons fire; norms away from the identity."""
        rng = np.random.default_rng(self.seed)
        parameters = initial_parameters(self.network, self.seed)
        for weights, vectors in zip(parameters.weights, parameters.vectors, strict=True):
            np.multiply(weights, np.float32(gain), out=weights)
            if "gamma" in vectors:
                channels = len(vectors["gamma"])
                vectors["gamma"][:] = rng.uniform(0.5, 1.5, channels)
                vectors["beta"][:] = rng.uniform(-0.2, 0.3, channels)
                vectors["running_mean"][:] = rng.uniform(-0.2, 0.2, channels)
                vectors["running_var"][:] = rng.uniform(0.2, 1.0, channels)
        return parameters

    def batch(self, samples: int, nth: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Inputs and labels."""
        rng = np.random.default_rng([self.seed, nth])
        steps = 1 if self.network.input.constant else self.recipe.timesteps
        shape = (samples, steps, *self.network.input.shape)
        inputs = rng.integers(0, 1 << self.network.input.bits, shape).astype(np.uint8)
        return inputs, rng.integers(0, self.network.classes, samples)


def some(*values: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from(values)


@st.composite
def chips(
    draw: st.DrawFn, operands: str | None = None, accumulators: str | None = None
) -> ChipConfig:
    adder = draw(st.integers(1, 4))

    def lookup() -> dict[str, int]:
        return {
            "rows": draw(st.integers(1, 4)),
            "columns": draw(st.integers(1, 4)),
            "group": draw(some(4, 1, 2, 3, 5, 8)),
            "interleave": adder + draw(st.integers(0, 2)),
        }

    small = draw(st.booleans())
    return learn_chip(
        forward=lookup(),
        update=lookup(),
        backward={
            "rows": draw(st.integers(1, 3)),
            "lanes": draw(st.integers(1, 3)),
            "contexts": draw(st.integers(1, 3)),
            "channels": draw(st.integers(1, 6)),
            "depth": draw(st.integers(1, 5)),
        },
        vector={
            "width": draw(some(1, 3, 8, 64)),
            "partials": draw(some(1, 2, 3, 8)),
            "sums": draw(some(4096, 5)),
        },
        buffers=dict.fromkeys(BUFFERS, draw(some(200, 400, 2048))) if small else {},
        dram={
            "bytes_per_cycle": draw(some(1, 3, 16, 64)),
            "latency_cycles": draw(some(0, 1, 7, 40)),
        },
        operands=operands or draw(some("fp16", "fp32", "bf16")),
        accumulators=accumulators or draw(some("fp32", "fp16", "bf16")),
        adder_stages=adder,
        multiplier_stages=draw(st.integers(1, 3)),
    )


def _inputs(draw: st.DrawFn) -> InputFormat:
    side = st.integers(2, 5)
    bits, signed, constant = draw(
        some((1, False, False), (4, False, True), (8, False, True), (3, True, True), (4, True, False), (1, False, True))
    )  # fmt: skip
    return InputFormat(
        shape=(draw(side), draw(side), draw(st.integers(1, 3))),
        bits=bits,
        signed=signed,
        scale=draw(some(1.0 / 2 ** (bits - 1), 1.5 / 2**bits)),
        constant=constant,
    )


def _sources(
    draw: st.DrawFn, stages: list[Stage]
) -> tuple[tuple[int, ...], tuple[int, int, int] | None]:
    """Choose spikes of earlier stages, two of one shape where there are any; None stands for the input's shape."""
    spiking = [i for i, stage in enumerate(stages) if stage.neuron is not None]
    if not spiking:
        return (INPUT,), None
    first = draw(st.sampled_from([spiking[-1], *spiking]))
    others = [i for i in spiking if i != first and stages[i].out_shape == stages[first].out_shape]
    if others and draw(some(True, True, False)):
        return tuple(sorted((first, draw(st.sampled_from(others))))), stages[first].out_shape
    return (first,), stages[first].out_shape


def _norm(draw: st.DrawFn) -> Norm | None:
    kind = draw(some(None, "batch", "frozen"))
    return None if kind is None else Norm(kind, scale=draw(some(1.0, 0.5)))


def _neuron(draw: st.DrawFn) -> Neuron:
    return Neuron(
        leak=draw(some(0.25, 0.5, 0.9)),
        threshold=draw(some(0.25, 0.5)),
        half_width=draw(some(0.5, 0.4)),
        height=draw(some(1.0, 0.75)),
    )


def _hidden(draw: st.DrawFn, index: int, stages: list[Stage], image: InputFormat) -> Stage:
    if stages and stages[-1].neuron is None and draw(some(True, True, False)):
        # What has no neurons is there to be added to other sums.
        return replace(
            stages[-1],
            name=f"layer{index}",
            shortcut=index - 1,
            norm=_norm(draw),
            neuron=_neuron(draw),
        )
    sources, shape = _sources(draw, stages)
    if shape is None or (draw(some(0, 0, 0, 1)) and not image.constant):
        sources, shape = (INPUT,), image.shape
    pool = 1
    if min(shape[:2]) >= 2 and (sources != (INPUT,) or (image.bits <= 5 and not image.signed)):
        pool = draw(some(1, 1, 2))
    shape = (shape[0] // pool, shape[1] // pool, shape[2])
    alike = draw(
        some(True, True, False)
    )  # sides and channels stay, so that shortcuts and sums of sources fit
    kernel: list[int] = []
    stride: list[int] = []
    padding: list[int] = []
    for side in shape[:2]:
        size = draw(some(1, 3)) if alike else draw(st.integers(1, min(3, side)))
        kernel.append(size)
        padding.append((size - 1) // 2 if alike else draw(st.integers(0, size - 1)))
        stride.append(1 if alike else draw(some(1, 2)))
    channels = draw(st.integers(1, 3))
    if alike and stages:
        channels = stages[sources[0]].out_shape[2] if sources != (INPUT,) else channels
    groups = draw(st.sampled_from([n for n in (1, 2, 3) if not (shape[2] % n or channels % n)]))
    sides = [
        (n + 2 * p - k) // s + 1 for n, p, k, s in zip(shape, padding, kernel, stride, strict=False)
    ]
    out = (sides[0], sides[1], channels)
    shortcuts = [i for i, stage in enumerate(stages) if stage.out_shape == out]
    is_spiking = index == 0 or draw(some(True, True, False))
    shortcut = None
    if shortcuts and is_spiking and draw(some(True, True, False)):
        shortcut = draw(
            st.sampled_from([i for i in shortcuts if stages[i].neuron is None] or shortcuts)
        )
    return Stage(
        name=f"layer{index}",
        in_shape=shape,
        out_shape=out,
        sources=sources,
        pool=pool,
        kernel=(kernel[0], kernel[1]),
        stride=(stride[0], stride[1]),
        padding=(padding[0], padding[1]),
        groups=groups,
        bias=draw(st.booleans()),
        norm=_norm(draw),
        shortcut=shortcut,
        neuron=_neuron(draw) if is_spiking else None,
    )


@st.composite
def cases(draw: st.DrawFn, operands: str | None = None, accumulators: str | None = None) -> Case:
    """Draw a chip, a network of one to four stages, and a recipe."""
    image = _inputs(draw)
    stages: list[Stage] = []
    for index in range(draw(some(2, 3, 1, 3, 3, 0))):
        stages.append(_hidden(draw, index, stages, image))
    sources, shape = _sources(draw, stages)
    shape = image.shape if shape is None else shape
    pool = 1
    if sources != (INPUT,) and min(shape[:2]) >= 2:
        pool = draw(some(1, 2))
    features = (shape[0] // pool) * (shape[1] // pool) * shape[2]
    stages.append(
        Stage(
            name="readout",
            in_shape=(1, 1, features),
            out_shape=(1, 1, draw(st.integers(2, 4))),
            sources=sources,
            pool=pool,
            bias=draw(st.booleans()),
        )
    )
    batch = draw(st.integers(1, 4))
    recipe = Recipe(
        timesteps=draw(st.integers(1, 3)),
        batch=batch,
        micro_batches=draw(st.integers(1, 3)),
        readout=draw(some("mean", "membrane")),
        readout_leak=draw(some(1.0, 0.5)),
        loss=draw(some("cross_entropy", "mse")),
        learning_rate=draw(some(0.1, 0.5)),
        momentum=draw(some(0.9, 0.0)),
        weight_decay=draw(some(0.0, 0.01)),
        loss_scale=draw(some(1024.0, 1.0, 2.0**13)),
    )
    case = Case(
        chip=draw(chips(operands, accumulators)),
        network=LearnNetwork(input=image, stages=tuple(stages)),
        recipe=recipe,
        seed=draw(st.integers(0, 1 << 16)),
        last_batch=draw(st.integers(1, batch)),
    )
    try:
        for size in (case.recipe.batch, case.last_batch):
            learn_tasks(case.chip, case.network, recipe, size)
    except (
        LearnError
    ):  # small buffers cut layers into pieces; this one's do not hold the least piece
        roomy = case.chip.replace(buffers=dict.fromkeys(BUFFERS, 1 << 14))
        case = replace(case, chip=roomy)
    return case
