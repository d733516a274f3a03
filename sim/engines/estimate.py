"""What the backward engine would do in a training step of which only densities are known: random masks, sampled."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...chip.learn_network import INPUT, LearnError, LearnNetwork, Stage
from ...chip.learn_program import LearnProgram, Operation
from ...chip.learn_timing import backward_fill
from .backward import backward_cycles
from .work import BackwardWork

__all__ = ["SAMPLED_TILES", "estimate_backward", "wanted_density"]

SAMPLED_TILES = 6  # tiles of positions that stand for the rest of a task ...
SAMPLED_POSITIONS = 4096  # ... and no fewer positions than these

Density = float | Sequence[float]


def estimate_backward(
    program: LearnProgram, input_density: Density, mask_density: Density, seed: int = 0
) -> tuple[BackwardWork, ...]:
    """Estimate each task of the backward engine, in the program's order, from densities.

    Nonzero gradients and masks are drawn independently. Of tasks that differ only in which frames or channels they
    take, one is worked out, on so many of its frames that they fill `SAMPLED_TILES` tiles; cycles are scaled by tiles,
    the rest by positions. What is clustered in real gradients is not seen.

    Parameters
    ----------
    program : LearnProgram
    input_density : float or sequence
        Share of nonzero gradients at each stage's sums, as `StepResult.gradient_density`.
    mask_density : float or sequence
        Share of each stage's neurons inside the surrogate's window, as `StepResult.mask_density`.
    seed : int

    Raises
    ------
    LearnError
        If a density is missing or outside 0..1.
    """
    network = program.network
    inputs = _per_stage(network, "input_density", input_density)
    masks = _per_stage(network, "mask_density", mask_density)
    known: dict[tuple[int, int, int], BackwardWork] = {}
    work: list[BackwardWork] = []
    rng = np.random.default_rng(seed)
    for _, operation, index, _, _, frames, _, channels, _ in program.tasks.tolist():
        if operation != Operation.INPUT_GRADIENTS:
            continue
        key = (index, frames, channels)
        if key not in known:
            stage = network.stages[index]
            wanted = wanted_density(stage, masks)
            known[key] = _estimate(program, stage, frames, channels, inputs[index], wanted, rng)
        work.append(known[key])
    return tuple(work)


def wanted_density(stage: Stage, masks: Sequence[float]) -> float:
    """Return the share of a stage's input gradients that are wanted: of pooled or added spikes, if any mask is 1."""
    unwanted = 1.0
    for source in stage.sources:
        unwanted *= (1.0 - masks[source]) ** (stage.pool**2)
    return 1.0 - unwanted


def _per_stage(network: LearnNetwork, name: str, density: Density) -> tuple[float, ...]:
    """Return a density for each stage; those that are never asked for may be nan."""
    count = len(network.stages)
    values = (float(density),) * count if isinstance(density, int | float) else tuple(density)
    if len(values) != count:
        raise LearnError(f"{name} must be one number or {count}, one a layer, not {len(values)}")
    for index, (stage, value) in enumerate(zip(network.stages, values, strict=True)):
        asked = INPUT not in stage.sources if name == "input_density" else stage.neuron is not None
        if asked and not 0.0 <= value <= 1.0:
            raise LearnError(
                f"{name} of layer {stage.name} (number {index}) must be within 0..1, not {value!r}"
            )
    return values


def _estimate(
    program: LearnProgram,
    stage: Stage,
    frames: int,
    channels: int,
    density: float,
    wanted: float,
    rng: np.random.Generator,
) -> BackwardWork:
    config, engine = program.config.learn, program.config.learn.backward
    tile = engine.rows * engine.contexts
    drawn = min(frames, -(-max(SAMPLED_TILES * tile, SAMPLED_POSITIONS) // stage.in_positions))
    depths = [
        min(engine.depth, stage.out_channels - start)
        for start in range(0, stage.out_channels, engine.depth)
    ]
    counts = np.empty((drawn * stage.out_positions, len(depths)), np.int32)
    for block, depth in enumerate(depths):
        counts[:, block] = rng.binomial(depth, density, len(counts))
    masked = rng.binomial(channels, wanted, (drawn, stage.in_positions)).astype(np.int32)
    cycles, *rest = backward_cycles(config, stage, counts, masked, channels)
    tiles = -(-frames * stage.in_positions // tile) / -(-drawn * stage.in_positions // tile)
    inputs, taken, products = (round(int(value) * frames / drawn) for value in rest)
    products = min(products, taken * channels)  # each was rounded by itself
    fill = backward_fill(config, channels, frames * stage.in_positions)
    return BackwardWork(round(cycles * tiles) + fill, inputs, taken, products)
