"""The backward engine's RTL against the simulator: every sum of random tasks, and the cycle in which they end."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from spikeloom.chip.learn_config import (
    BackwardConfig,
    BufferConfig,
    DramConfig,
    LearnConfig,
    VectorConfig,
)
from spikeloom.chip.learn_network import Neuron, Stage
from spikeloom.chip.learn_timing import backward_fill
from spikeloom.sim.engines import backward

from .support.backward_bench import GRADIENTS, MASKS, WEIGHTS, BackwardBench, Done, Task

pytestmark = pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT", "0") != "0", reason="vector instructions need the compiler"
)

WIDTH = 4
PART = 2 * WIDTH
ROW_BITS = 16 * PART
Words = NDArray[np.uint32]


def config_of(
    rows: int, lanes: int, contexts: int, channels: int, depth: int, **others: object
) -> LearnConfig:
    """Buffers are no larger than tasks need, and no powers of two."""
    sizes = {"backward_inputs": 3200, "backward_weights": 45 * WIDTH * channels * 2}
    return LearnConfig.model_validate(
        {
            "backward": BackwardConfig(rows=rows, lanes=lanes, contexts=contexts, channels=channels, depth=depth),
            "vector": VectorConfig(width=WIDTH), "dram": DramConfig(bytes_per_cycle=16),
            "buffers": BufferConfig(**sizes),
            **others,
        }
    )  # fmt: skip


CONFIGS = {
    "small": config_of(2, 2, 2, 16, 8),
    "odd": config_of(3, 3, 3, 8, 16, operands="bf16", adder_stages=1, multiplier_stages=1),
    "one": config_of(
        1, 4, 1, 16, 8, operands="bf16", accumulators="bf16", adder_stages=4, multiplier_stages=3
    ),
    "many rows": config_of(9, 1, 2, 16, 16, accumulators="fp16", adder_stages=2),
}


@cache
def bench_of(name: str) -> BackwardBench:
    return BackwardBench(CONFIGS[name])


# ---------------------------------------------------------------------------------------------- 16-bit floats


def values_of(words: Words, form: str) -> NDArray[np.float32]:
    if form == "bf16":
        return (words.astype(np.uint32) << 16).view(np.float32)
    return words.astype(np.uint16).view(np.float16).astype(np.float32)


def words_of(values: NDArray[np.float32], form: str) -> Words:
    """Round to the nearest; all NaN are one word."""
    bits = values.astype(np.float32).view(np.uint32)
    if form == "bf16":
        words = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
        return np.where(np.isnan(values), 0x7FC0, words).astype(np.uint32)
    words = values.astype(np.float16).view(np.uint16)
    return np.where(np.isnan(values), 0x7E00, words).astype(np.uint32)


def rounded(values: NDArray[np.float32], form: str) -> NDArray[np.float32]:
    return values if form == "fp32" else values_of(words_of(values, form), form)


# ------------------------------------------------------------------------------------------------------ tasks


@dataclass(frozen=True)
class Case:
    """A task: geometry; words of weights (taps, in, out), gradients (slots, positions, out); masks."""

    stage: Stage
    weights: Words
    gradients: Words
    masks: NDArray[np.bool_]
    half: int
    first_row: int
    slack: int  # rows between frames


def padded(channels: int) -> int:
    return -(-channels // PART) * PART


def pair(rng: np.random.Generator, first: int, last: int) -> tuple[int, int]:
    return int(rng.integers(first, last)), int(rng.integers(first, last))


def draw_case(rng: np.random.Generator, config: LearnConfig, half: int) -> Case:
    """Draw shapes that fit the buffers, densities, and numbers: mostly plain ones, sometimes of all kinds."""
    kind = rng.integers(4)
    while True:
        if kind == 0:  # dense
            shape, kernel, stride, padding = (1, 1), (1, 1), (1, 1), (0, 0)
        else:
            shape, kernel = pair(rng, 1, 8), pair(rng, 1, 4)
            stride = pair(rng, 1, 4 if kind > 1 else 2)
            padding = int(rng.integers(0, kernel[0] + 1)), int(rng.integers(0, kernel[1] + 1))
        ins, outs = (
            int(n) for n in (rng.integers(1, config.backward.channels + 1), rng.integers(1, 41))
        )
        spans = [n + 2 * p for n, p in zip(shape, padding, strict=True)]
        out = (spans[0] - kernel[0]) // stride[0] + 1, (spans[1] - kernel[1]) // stride[1] + 1
        frames = int(rng.integers(1, 9 if kind == 0 else 4))
        if kernel[0] > spans[0] or kernel[1] > spans[1]:
            continue
        rows = out[0] * out[1] * padded(outs) // PART
        if frames * rows <= 170 and padded(outs) // WIDTH * kernel[0] * kernel[1] <= 45:
            break
    stage = Stage(
        "task", (*shape, ins), (*out, outs), (0,), kernel=kernel, stride=stride, padding=padding, neuron=Neuron()
    )  # fmt: skip
    form = config.operands
    density, mask = (
        rng.choice([0.0, 0.1, 0.4, 1.0], p=[0.1, 0.3, 0.4, 0.2]),
        rng.choice([0.1, 0.4, 1.0]),
    )
    of_weights = (stage.taps, padded(ins), padded(outs))
    of_gradients = (frames, stage.out_positions, padded(outs))
    if rng.random() < 0.25:  # any words: subnormal, infinite, NaN
        weights, gradients = (rng.integers(0, 1 << 16, size) for size in (of_weights, of_gradients))
    else:
        weights, gradients = (
            words_of(rng.normal(size=size).astype(np.float32), form)
            for size in (of_weights, of_gradients)
        )
    weights = np.where(np.arange(padded(ins))[:, None] < ins, weights, 0)
    weights = np.where(np.arange(padded(outs)) < outs, weights, 0)
    zero = np.where(rng.random(of_gradients) < 0.5, 0, 0x8000)  # of both signs
    gradients = np.where(rng.random(of_gradients) < density, gradients, zero)
    gradients = np.where(np.arange(padded(outs)) < outs, gradients, 0)
    masks = rng.random((frames, stage.in_positions, padded(ins))) < mask
    masks &= rng.random((frames, stage.in_positions, 1)) < 0.9
    masks &= np.arange(padded(ins)) < ins
    return Case(
        stage, weights.astype(np.uint32), gradients.astype(np.uint32), masks, half,
        200 * half + int(rng.integers(0, 3)), int(rng.integers(0, 2)),
    )  # fmt: skip


def rows_of(words: Words, bits: int) -> Words:
    """Pack words of so many bits, the first lowest, into rows of four words of 32 bits."""
    each = ROW_BITS // bits
    flat = np.pad(words.reshape(-1), (0, -words.size % each)).reshape(-1, 4, each // 4)
    return (
        (flat.astype(np.uint64) << (bits * np.arange(each // 4, dtype=np.uint64)))
        .sum(axis=2)
        .astype(np.uint32)
    )


def frame_rows(case: Case) -> tuple[int, int, int]:
    """Rows of a frame of gradients, masks and results."""
    stage = case.stage
    ins, outs = padded(stage.in_shape[2]), padded(stage.out_shape[2])
    return (
        stage.out_positions * outs // PART + case.slack,
        -(-stage.in_positions * ins // ROW_BITS) + case.slack,
        stage.in_positions * ins // PART + case.slack,
    )


def fields_of(case: Case) -> dict[str, int]:
    stage = case.stage
    gradient_rows, mask_rows, result_rows = frame_rows(case)
    axes = {
        "in": stage.in_shape, "out": stage.out_shape, "kernel": stage.kernel, "stride": stage.stride,
        "pad": stage.padding,
    }  # fmt: skip
    geometry = {
        f"{name}_{axis}": sizes[n]
        for name, sizes in axes.items()
        for n, axis in enumerate(("rows", "columns"))
    }
    return geometry | {
        "frames": len(case.masks), "in_words": padded(stage.in_shape[2]) // WIDTH,
        "out_words": padded(stage.out_shape[2]) // WIDTH, "weight_half": case.half,
        "gradient_row": case.first_row, "gradient_frame_rows": gradient_rows,
        "mask_row": case.first_row, "mask_frame_rows": mask_rows,
        "result_row": 7 * case.first_row, "result_frame_rows": result_rows,
    }  # fmt: skip


def loads_of(case: Case) -> Words:
    """Beats of weights as they lie in memory, rows of gradients and of masks."""
    loads: list[list[int]] = []
    taps, ins, outs = case.weights.shape
    # [out word][tap][in channel][W]
    lying = (
        case.weights.transpose(2, 0, 1)
        .reshape(outs // WIDTH, WIDTH, taps, ins)
        .transpose(0, 2, 3, 1)
    )
    beats = rows_of(lying, 16)
    for n, beat in enumerate(beats.tolist()):
        outer, inner = divmod(n, ins // 2)
        loads.append([WEIGHTS, case.half, outer, inner, *beat])
    gradient_rows, mask_rows, _ = frame_rows(case)
    for slot, (gradients, masks) in enumerate(zip(case.gradients, case.masks, strict=True)):
        for kind, rows, pitch in (
            (GRADIENTS, rows_of(gradients, 16), gradient_rows),
            (MASKS, rows_of(masks, 1), mask_rows),
        ):
            first = case.first_row + slot * pitch
            loads += [[kind, 0, first + n, 0, *row] for n, row in enumerate(rows.tolist())]
    return np.array(loads, np.uint32)


def expected_writes(config: LearnConfig, case: Case) -> dict[int, list[int]]:
    """Row and words of each write: products and sums in order, rounded each to the accumulator's format."""
    stage, form, wide = case.stage, config.operands, config.accumulators
    taps = stage.backward_taps
    with np.errstate(all="ignore"):
        weights, gradients = values_of(case.weights, form), values_of(case.gradients, form)
        sums = np.zeros(case.masks.shape, np.float32)
        for tap in range(stage.taps):
            at = taps[:, tap]
            for k in range(weights.shape[2]):
                gradient = np.where(at >= 0, gradients[:, at, k], 0)[:, :, None]
                product = rounded(gradient * weights[tap, :, k], wide)
                sums = np.where(gradient != 0, rounded(sums + product, wide), sums)
        words = np.where(case.masks, words_of(sums, form), 0)
    _, _, pitch = frame_rows(case)
    rows = {}
    for slot, frame in enumerate(words):
        first = 7 * case.first_row + slot * pitch
        rows |= {first + n: row for n, row in enumerate(rows_of(frame, 16).tolist())}
    return rows


def expected_cycles(config: LearnConfig, case: Case) -> int:
    stage, engine = case.stage, config.backward
    channels = stage.in_shape[2]
    values = values_of(case.gradients, config.operands)[:, :, : stage.out_shape[2]]
    rows = np.ascontiguousarray(values.reshape(-1, stage.out_shape[2]))
    counts = np.zeros((len(rows), -(-rows.shape[1] // engine.depth)), np.int32)
    backward.count_nonzeros(rows, engine.depth, 0, len(rows), counts)
    masked = case.masks.sum(axis=2).astype(np.int32)
    cycles = backward.backward_cycles(config, stage, counts, masked, channels)[0]
    return cycles + backward_fill(config, channels, masked.size)


# ------------------------------------------------------------------------------------------------------ tests


def check(config: LearnConfig, case: Case, done: Done) -> None:
    writes = {row: words for _, row, *words in done.writes.tolist()}
    assert len(writes) == len(done.writes)
    assert writes == expected_writes(config, case)
    assert done.cycles == expected_cycles(config, case)
    assert done.faults == 0


@pytest.mark.parametrize("name", list(CONFIGS))
def test_tasks_agree_with_the_simulator(name):
    config = CONFIGS[name]
    rng = np.random.default_rng(list(CONFIGS).index(name))
    cases = [draw_case(rng, config, n % 2) for n in range(40)]
    loads = [loads_of(case) for case in cases]
    # Every other task's data come while the task before it runs.
    tasks = []
    for n, case in enumerate(cases):
        room = expected_cycles(config, case) if n % 3 == 0 and n + 1 < len(cases) else 0
        during = loads[n + 1][:room] if room else loads[n][:0]
        tasks.append(Task(fields_of(case), loads[n], int(rng.integers(0, 3)), during))
        if room:
            loads[n + 1] = loads[n + 1][room:]
    for case, done in zip(cases, bench_of(name).run(tasks), strict=True):
        check(config, case, done)
    seen = Counter(
        what
        for case in cases
        for what, holds in {
            "strides": max(case.stage.stride) > 1,
            "fewer rows than the stride": case.stage.in_shape[0] < case.stage.stride[0],
            "several tiles": case.masks[..., 0].size > config.backward.rows * config.backward.contexts,
            "several blocks": padded(case.stage.out_shape[2]) > config.backward.depth,
        }.items()
        if holds
    )  # fmt: skip
    assert min(seen.values()) > 0
    assert len(seen) == 4
