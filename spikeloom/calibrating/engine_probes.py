"""Small networks and tasks that show what the learning engines do: sums, additions, skipped zeros, densities."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..chip.config import ChipConfig, load_config
from ..chip.formats import FORMATS, FP32
from ..chip.learn_network import (
    INPUT,
    InputFormat,
    LearnNetwork,
    Neuron,
    Norm,
    Recipe,
    Stage,
    initial_parameters,
)
from ..chip.learn_timing import backward_fill
from ..compiler.learn_tasks import learn_tasks
from ..models.datasets import load_mnist
from ..reports.learn_counts import count_step
from ..sim.engines import backward
from ..sim.engines.estimate import estimate_backward
from ..sim.engines.timeline import run_timeline
from ..sim.engines.training import StepResult, TrainingMachine
from .float64_step import reference_step

__all__ = [
    "Densities", "Sums", "adds_per_input", "gradient_distance", "reached", "square_convolution", "sums_beside_plain",
    "train_digits",
]  # fmt: skip

_MARGIN = 1e-4  # of a membrane from what decides about it, so that rounding does not


@dataclass(frozen=True)
class Sums:
    """Sums of the forward engine beside plain accumulation in the same order.

    ``unlike`` of ``count`` differ with tables of one input; with tables of ``group`` inputs sums are ``ulps`` units of
    the last place of the largest partial sum apart, at most.
    """

    count: int
    unlike: int
    group: int
    groups: int
    ulps: float


def sums_beside_plain(accumulators: str, seed: int = 0) -> Sums:
    """Run a readout of 96 binary inputs, 40 outputs and 20 samples; one weight after the other in `chip/formats.py`."""
    rng = np.random.default_rng(seed)
    inputs, outputs, samples, group = 96, 40, 20, 4
    spikes = rng.random((samples, inputs)) < 0.4
    weights = rng.normal(0, 0.1, (inputs, outputs)).astype(np.float16).astype(np.float32)
    plain, largest = _plain_sums(spikes, weights, accumulators)
    by_one = _engine_sums(1, accumulators, spikes, weights)
    by_four = _engine_sums(group, accumulators, spikes, weights)
    ulp = np.spacing(largest.astype(accumulators.replace("fp", "float"))).astype(np.float64)
    apart = np.abs(by_four.astype(np.float64) - plain) / ulp
    unlike = int(np.count_nonzero(by_one != plain))
    return Sums(plain.size, unlike, group, inputs // group, float(apart.max()))


def _engine_sums(
    group: int, accumulators: str, spikes: NDArray[np.bool_], weights: NDArray[np.float32]
) -> NDArray[np.float32]:
    inputs, outputs = weights.shape
    chip = load_config("h2learn_small").replace(
        learn={"accumulators": accumulators}, forward={"group": group}
    )
    readout = Stage("sums", (1, 1, inputs), (1, 1, outputs), (INPUT,))
    network = LearnNetwork(InputFormat((1, 1, inputs), bits=1, scale=1.0), (readout,))
    parameters = initial_parameters(network, 0)
    parameters.weights[0][:] = weights
    recipe = Recipe(timesteps=1, batch=len(spikes))
    machine = TrainingMachine(learn_tasks(chip, network, recipe), parameters)
    return machine.infer(spikes.reshape(len(spikes), 1, 1, 1, -1).astype(np.uint8))


def _plain_sums(
    spikes: NDArray[np.bool_], weights: NDArray[np.float32], accumulators: str
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return sums, and the largest partial sum of each."""
    plain = np.zeros((len(spikes), weights.shape[1]), np.float32)
    largest = np.zeros_like(plain)
    words, format_ = weights.view(np.uint32), FORMATS[accumulators]
    for (s, c), _ in np.ndenumerate(plain):
        total = 0
        for k in np.flatnonzero(spikes[s]):
            exact = FP32.add(total, int(words[k, c]))
            total = FP32.encode(format_.round(FP32.decode(exact)))
            largest[s, c] = max(largest[s, c], abs(np.uint32(total).view(np.float32)))
        plain[s, c] = np.uint32(total).view(np.float32)
    return plain, largest


def gradient_distance(seed: int = 0) -> tuple[float, float, int]:
    """Train a step of a small network with operands of 32 bits, beside the equations in float64.

    Returns the largest difference of the logits and of the weights' gradients, each over the largest value, and how
    many weights that were. A batch in which a membrane lies so near its threshold that rounding decides is left.
    """
    chip = load_config("h2learn_small").replace(learn={"operands": "fp32"})
    network = LearnNetwork(
        InputFormat((6, 6, 2)),
        (
            square_convolution(6, 8, inputs=2, name="a", source=INPUT),
            square_convolution(6, 8, name="b"),
            Stage("out", (1, 1, 288), (1, 1, 5), (1,)),
        ),
        "small",
    )
    recipe = Recipe(timesteps=4, batch=4)
    for attempt in range(100):
        rng = np.random.default_rng((seed, attempt))
        parameters = initial_parameters(network, seed + attempt)
        inputs = rng.integers(0, 256, (4, 1, 6, 6, 2)).astype(np.uint8)
        labels = rng.integers(0, 5, 4)
        wanted = reference_step(network, recipe, parameters, inputs, labels)
        if wanted.margin < _MARGIN or not wanted.weights[1].any():
            continue
        machine = TrainingMachine(learn_tasks(chip, network, recipe), parameters)
        got = machine.step(inputs, labels, keep_gradients=True)
        pairs = list(zip(got.gradients, wanted.weights, strict=True))
        worst = max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in pairs)
        logits = float(np.abs(got.logits - wanted.logits).max() / np.abs(wanted.logits).max())
        return logits, worst, sum(b.size for _, b in pairs)
    raise ArithmeticError("no batch of a hundred keeps its membranes away from the threshold")


def adds_per_input(group: int, outputs: int) -> float:
    """Compile a layer of whole groups and whole tiles, and count its step: additions over binary inputs of outputs."""
    preset = load_config("h2learn")  # whose buffers hold whole tiles
    columns = outputs // preset.learn.forward.interleave
    chip = preset.replace(forward={"group": group, "columns": columns})
    channels = group * 4
    network = LearnNetwork(
        InputFormat((1, 1, 4)),
        (
            Stage("in", (1, 1, 4), (1, 1, channels), (INPUT,), neuron=Neuron()),
            Stage("wide", (1, 1, channels), (1, 1, 8), (0,)),
        ),
        "law",
    )
    recipe = Recipe(timesteps=1, batch=chip.learn.forward.outputs)
    program = learn_tasks(chip, network, recipe)
    work = estimate_backward(program, 1.0, 1.0)
    timeline = run_timeline(program, np.array([item.cycles for item in work], np.int64))
    layer = count_step(program, work, timeline).of_layer("wide")
    adds = layer["forward", "lookups"] + layer["forward", "table_adds"]
    return adds / layer["forward", "inputs"]


def square_convolution(
    side: int, channels: int, *, inputs: int | None = None, name: str = "conv", source: int = 0
) -> Stage:
    """Return a convolution of 3 x 3 that keeps its side, with neurons."""
    shape = (side, side, inputs or channels)
    return Stage(
        name, shape, (side, side, channels), (source,), kernel=(3, 3), padding=(1, 1), neuron=Neuron()
    )  # fmt: skip


def reached(
    chip: ChipConfig, stage: Stage, density: float, mask: float, seed: int = 0
) -> tuple[float, float]:
    """Run the backward engine on random gradients and masks of so much density.

    Returns the cycles that all multipliers would take for the dense work, borders of zeros included, over those found;
    and the share of the multipliers' cycles in which they had a product to make.
    """
    engine = chip.learn.backward
    frames = max(2, 4 * engine.rows * engine.contexts // stage.in_positions)
    rng = np.random.default_rng(seed)
    inputs = rng.random((frames, stage.out_positions, stage.out_shape[2])) < density
    masks = rng.random((frames, stage.in_positions, stage.in_shape[2])) < mask
    rows = inputs.reshape(-1, inputs.shape[2]).astype(np.float32)
    counts = np.zeros((len(rows), -(-rows.shape[1] // engine.depth)), np.int32)
    backward.count_nonzeros(rows, engine.depth, 0, len(rows), counts)
    channels = masks.shape[2]
    wanted = masks.sum(axis=2).astype(np.int32)
    cycles, _, _, products = backward.backward_cycles(chip.learn, stage, counts, wanted, channels)
    cycles += backward_fill(chip.learn, channels, frames * stage.in_positions)
    places = cycles * engine.rows * engine.lanes
    return frames * stage.macs / places, products / places


@dataclass(frozen=True)
class Densities:
    """One batch of a training: loss, and by convolution spikes, masks and the membranes' gradients.

    ``with_norm`` are the gradients' densities behind a norm of batch statistics; ``used`` is the share of the
    multipliers' cycles that products take in the backward engine, with frozen and with batch statistics.
    """

    loss: float
    spikes: tuple[float, ...]
    masks: tuple[float, ...]
    gradients: tuple[float, ...]
    with_norm: tuple[float, ...]
    used: dict[str, float]


_CONVOLUTIONS = ((48, 1), (48, 1), (48, 2), (96, 1), (96, 2), (96, 1))


def _digits_network(kind: str) -> LearnNetwork:
    """Return six convolutions with norm and LIF neurons on digits of 16 x 16, read out over time."""
    # A momentum of 1 keeps the statistics of the last batch, so that freezing them changes nothing of that batch.
    norm = Norm("batch" if kind == "batch" else "frozen", momentum=1.0)
    stages, shape = list[Stage](), (16, 16, 1)
    for i, (channels, stride) in enumerate(_CONVOLUTIONS):
        out = (shape[0] // stride, shape[1] // stride, channels)
        stages.append(Stage(
            f"conv{i}", shape, out, (i - 1,), kernel=(3, 3), stride=(stride, stride), padding=(1, 1), norm=norm,
            neuron=Neuron(),
        ))  # fmt: skip
        shape = out
    flat = (1, 1, shape[0] * shape[1] * shape[2])
    stages.append(Stage("readout", flat, (1, 1, 10), (5,), bias=True))
    return LearnNetwork(InputFormat((16, 16, 1)), tuple(stages), "digits")


def train_digits(
    steps: int, seed: int = 0, progress: Callable[[str], None] | None = None
) -> tuple[Densities, Densities]:
    """Train on the shipped digits, two by two pixels averaged, batch 64, T = 6; return densities before and after."""
    chip, recipe = load_config("h2learn"), Recipe(timesteps=6, batch=64, learning_rate=0.01)
    parameters = initial_parameters(_digits_network("batch"), seed)
    trained = TrainingMachine(learn_tasks(chip, _digits_network("batch"), recipe), parameters)
    # With frozen statistics the engines read du itself, scaled by channel: its zeros are those of du.
    frozen = TrainingMachine(learn_tasks(chip, _digits_network("frozen"), recipe), parameters)
    data = load_mnist("train")
    images = data.inputs.reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4)).round().astype(np.uint8)
    inputs = np.pad(images, ((0, 0), (1, 1), (1, 1))).reshape(-1, 1, 16, 16, 1)
    rng = np.random.default_rng(seed)
    lanes = chip.learn.backward.rows * chip.learn.backward.lanes

    def observe(count: int) -> Densities:
        chosen = rng.choice(len(inputs), recipe.batch, replace=False)
        for step in range(count):
            chosen = rng.choice(len(inputs), recipe.batch, replace=False)
            trained.step(inputs[chosen], data.labels[chosen])
            if progress is not None:
                progress(f"step {step + 1} of {count}")
        batch = inputs[chosen], data.labels[chosen]
        result = trained.step(*batch, learning_rate=0.0)
        seen = frozen.step(*batch, learning_rate=0.0)
        used = {"frozen": _used(seen, lanes), "batch": _used(result, lanes)}
        return Densities(
            result.loss, result.spike_rate[:6], result.mask_density[:6], seen.gradient_density[:6],
            result.gradient_density[:6], used,
        )  # fmt: skip

    return observe(0), observe(steps)


def _used(step: StepResult, lanes: int) -> float:
    products = sum(work.products for work in step.backward)
    return products / (sum(work.cycles for work in step.backward) * lanes)
