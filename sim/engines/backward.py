"""The backward engine: gradients of the inputs, with zero gradients skipped; and the cycles that its rows take."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...chip.learn_config import LearnConfig
from ...chip.learn_network import Stage
from ...chip.learn_timing import (
    backward_drain,
    backward_flush,
    backward_prepare,
    backward_spacing,
    backward_tiles,
)
from ..jit import jit, jit_inline
from ..simd import (
    BF16,
    FP16,
    LANES,
    POSITIONS,
    multiply_add_dense_bf16,
    multiply_add_dense_exact,
    multiply_add_dense_fp16,
    multiply_add_dense_fp32,
    multiply_add_rows_bf16,
    multiply_add_rows_exact,
    multiply_add_rows_fp16,
    multiply_add_rows_fp32,
)

__all__ = [
    "BLOCK",
    "backward_cycles",
    "count_nonzeros",
    "input_gradients",
    "input_gradients_dense",
    "list_nonzeros",
    "task_places",
]

BLOCK = 256  # positions whose sums stay in the first-level cache


@jit
def count_nonzeros(gradients, depth, first, last, counts):
    """Count each row's nonzero gradients in blocks of ``depth`` channels: (rows, channels) -> (rows, blocks) int32."""
    channels = gradients.shape[1]
    for row in range(first, last):
        for block in range(counts.shape[1]):
            total = 0
            for channel in range(block * depth, min(channels, (block + 1) * depth)):
                total += gradients[row, channel] != 0.0
            counts[row, block] = total


@jit
def list_nonzeros(gradients, starts, channels, values, first, last):
    """List each row's nonzero gradients, ascending: their channels and values from ``starts[row]`` on."""
    for row in range(first, last):
        at = starts[row]
        for channel in range(gradients.shape[1]):
            value = gradients[row, channel]
            if value != 0.0:
                channels[at] = channel
                values[at] = value
                at += 1


@jit_inline
def _multiply_add_rows(form, exact, out, at, weights, base, rows, values, first, count):
    if form == FP16:
        multiply_add_rows_fp16(out, at, weights, base, rows, values, first, count)
    elif form == BF16:
        multiply_add_rows_bf16(out, at, weights, base, rows, values, first, count)
    elif exact:
        multiply_add_rows_exact(out, at, weights, base, rows, values, first, count)
    else:
        multiply_add_rows_fp32(out, at, weights, base, rows, values, first, count)


@jit
def input_gradients(
    form,
    exact,
    starts,
    channels,
    values,
    taps,
    out_positions,
    weights,
    out,
    channel,
    in_channels,
    first,
    last,
):
    """Work out the gradients of input positions ``first`` to ``last`` for one group of channels of a convolution.

    starts, channels, values : the lists of `list_nonzeros`, a row an output position of a frame
    taps : (in_positions, taps) int32, output position of each tap, -1 for none
    weights : (blocks, taps, out channels, LANES) float32, input channels in blocks, padded with 0
    out : (positions, channels) float32; ``in_channels`` of them from ``channel`` on are written

    Sums run over taps, then output channels, ascending. Outputs outside the mask are worked out here and not by the
    hardware, which leaves them 0; the neuron's backward step drops them.
    """
    in_positions, tap_count = taps.shape
    blocks, _, out_channels, _ = weights.shape
    flat = weights.reshape(-1)
    sums = np.empty(BLOCK * LANES, np.float32)
    for start in range(first, last, BLOCK):
        count = min(BLOCK, last - start)
        for block in range(blocks):
            sums[: count * LANES] = np.float32(0.0)
            for tap in range(tap_count):
                base = (block * tap_count + tap) * out_channels
                for p in range(count):
                    frame, place = divmod(start + p, in_positions)
                    at = taps[place, tap]
                    if at >= 0:
                        row = frame * out_positions + at
                        _multiply_add_rows(
                            form, exact, sums, p * LANES, flat, base, channels, values, starts[row],
                            starts[row + 1] - starts[row],
                        )  # fmt: skip
            width = min(LANES, in_channels - block * LANES)
            for p in range(count):
                for lane in range(width):
                    out[start + p, channel + block * LANES + lane] = sums[p * LANES + lane]


@jit_inline
def _multiply_add_dense(form, exact, out, at, weights, base, values, first, count):
    if form == FP16:
        multiply_add_dense_fp16(out, at, weights, base, values, first, count)
    elif form == BF16:
        multiply_add_dense_bf16(out, at, weights, base, values, first, count)
    elif exact:
        multiply_add_dense_exact(out, at, weights, base, values, first, count)
    else:
        multiply_add_dense_fp32(out, at, weights, base, values, first, count)


@jit
def input_gradients_dense(
    form,
    exact,
    gradients,
    taps,
    order,
    out_positions,
    weights,
    out,
    channel,
    in_channels,
    first,
    last,
):
    """Work out what `input_gradients` does without skipping zeros: faster where few gradients are 0.

    A product of 0 changes no sum, as long as weights are finite. gradients : (rows + 1, out channels) float32, the
    last row 0. order : (in_positions,) int32, the positions of a frame phase by phase of the stride, so that those
    worked on at a time lie under the same taps; taps that none lies under are left out.
    """
    in_positions, tap_count = taps.shape
    blocks, _, out_channels, _ = weights.shape
    flat, values = weights.reshape(-1), gradients.reshape(-1)
    nothing = (gradients.shape[0] - 1) * out_channels
    sums = np.empty((BLOCK + POSITIONS) * LANES, np.float32)
    rows = np.empty((tap_count, BLOCK + POSITIONS), np.int64)
    places = np.empty(BLOCK, np.int64)
    for start in range(first, last, BLOCK):
        count = min(BLOCK, last - start)
        rows[:] = nothing
        for p in range(count):
            frame, nth = divmod(start + p, in_positions)
            place = order[nth]
            places[p] = frame * in_positions + place
            for tap in range(tap_count):
                at = taps[place, tap]
                if at >= 0:
                    rows[tap, p] = (frame * out_positions + at) * out_channels
        for block in range(blocks):
            sums[:] = np.float32(0.0)
            for tap in range(tap_count):
                base = (block * tap_count + tap) * out_channels
                line = rows[tap]
                for p in range(0, count, POSITIONS):
                    under = False
                    for i in range(POSITIONS):
                        under |= line[p + i] != nothing
                    if under:
                        firsts = (
                            line[p], line[p + 1], line[p + 2], line[p + 3], line[p + 4], line[p + 5], line[p + 6],
                            line[p + 7],
                        )  # fmt: skip
                        _multiply_add_dense(
                            form, exact, sums, p * LANES, flat, base, values, firsts, out_channels
                        )
            width = min(LANES, in_channels - block * LANES)
            for p in range(count):
                for lane in range(width):
                    out[places[p], channel + block * LANES + lane] = sums[p * LANES + lane]


@jit
def _finish(begin, left, turns, contexts, last, spacing):
    """Return when a row is through with one block: rounds in which each context with an input left takes its turns.

    Parameters
    ----------
    begin : int
        When the row begins.
    left, turns : (contexts,) int64
        Inputs, and the cycles of each.
    last : (contexts,) int64
        When each context took its last input; moved on here. Its next is ``spacing`` cycles later at the earliest,
        and the contexts after it wait with it.
    """
    now = begin
    done = 0
    while True:
        fewest = -1
        round_cycles = 0
        for c in range(contexts):
            if turns[c] > 0 and left[c] > done:
                round_cycles += turns[c]
                if fewest < 0 or left[c] < fewest:
                    fewest = left[c]
        if fewest < 0:
            return now
        # From the second round of the same contexts on, each is as long as their turns, or the spacing.
        for _ in range(min(fewest - done, 2)):
            for c in range(contexts):
                if turns[c] > 0 and left[c] > done:
                    last[c] = max(now, last[c] + spacing)
                    now = last[c] + turns[c]
        more = max(fewest - done - 2, 0) * max(round_cycles, spacing)
        for c in range(contexts):
            if turns[c] > 0 and left[c] > done:
                last[c] += more
        now += more
        done = fewest


def task_places(stage: Stage, frames: int) -> NDArray[np.int32]:
    """Return the positions of a task as the engine takes them, (positions, 2): frame, position in it.

    Phase of the stride by phase, frame by frame, so that the positions of a tile lie under the same taps.
    """
    return np.concatenate(
        [
            np.stack([np.repeat(np.arange(frames), len(phase)), np.tile(phase, frames)], axis=1)
            for phase in stage.backward_phases
        ]
    ).astype(np.int32)


def backward_cycles(
    config: LearnConfig,
    stage: Stage,
    counts: NDArray[np.int32],
    masked: NDArray[np.int32],
    channels: int,
    first_frame: int = 0,
) -> tuple[int, int, int, int]:
    """Return (cycles, inputs, inputs taken, products) of a task's tiles; `backward_fill` comes on top of the cycles.

    Parameters
    ----------
    config : LearnConfig
    stage : Stage
    counts : (frames * out_positions, blocks) int32
        From `count_nonzeros`.
    masked : (the task's frames, in_positions) int32
        Outputs of the tile of channels that the mask lets through.
    channels : int
        Of the tile.
    first_frame : int
        Of the task, among those of ``counts``.
    """
    engine, word = config.backward, config.channel_word
    places = task_places(stage, len(masked))
    tiles = backward_tiles(config, len(places))
    cycles, inputs, taken, products = _cycles(
        counts, masked, places, stage.backward_taps, stage.out_positions, engine.rows, engine.lanes,
        engine.contexts, engine.depth, stage.out_channels, -(-stage.out_channels // word) * word, word,
        backward_spacing(config), backward_flush(config),
        np.array([*(backward_prepare(config, channels, n) for n in tiles), 0]),
        np.array([0, *(backward_drain(config, channels, n) for n in tiles)]), first_frame,
    )  # fmt: skip
    return int(cycles), int(inputs), int(taken), int(products)


@jit
def _cycles(
    counts, masked, places, taps, out_positions, rows, lanes, contexts, depth, out_channels, outputs, word, spacing,
    flush, prepare, drain, first_frame,
):  # fmt: skip
    """Follow the blocks of weights through all rows, tile by tile: see `backward_cycles`, and the docs for the rules.

    outputs : output channels with their padding, of whose gradients each row reads ``word`` a cycle
    spacing, flush : cycles between inputs of a context at least, and from a tile's work to the next
    prepare, drain : cycles of each tile, behind the work of the tile before, or after
    """
    tap_count = taps.shape[1]
    tile = rows * contexts
    positions = len(places)
    blocks = -(-outputs // depth)
    left, turns = np.zeros(contexts, np.int64), np.zeros(contexts, np.int64)
    begin, finish = np.zeros(rows, np.int64), np.zeros(rows, np.int64)
    last = np.zeros((rows, contexts), np.int64)
    cycles = 0
    inputs = 0
    taken = 0
    products = 0
    for start in range(0, positions, tile):
        here = min(tile, positions - start)
        used = -(-here // rows)
        begin[:] = 0  # when each row began with its newest block, and will be through with it
        finish[:] = 0
        last[:] = -spacing
        now = 0  # of the broadcast
        done = 0  # when all rows are through with the newest block
        done_before = 0  # with the one before: its half of the rows' memories is free
        for tap in range(tap_count):
            now += 1  # to ask whether a position lies under the tap
            if not _any_under(places, taps, tap, start, start + here):
                continue  # weights that no position needs are not sent
            for block in range(blocks):
                words = min(depth, outputs - block * depth)
                announced = max(now, done_before)
                now = announced + words
                fetch = used * -(-words // word) + 2
                newest = 0
                for row in range(rows):
                    for c in range(used):
                        left[c] = 0
                        turns[c] = 0
                        p = row * used + c
                        if p >= here or block >= counts.shape[1]:
                            continue
                        frame, place = places[start + p]
                        at = taps[place, tap]
                        if at < 0:
                            continue
                        wanted = masked[frame, place]
                        inputs += min(words, out_channels - block * depth)
                        left[c] = counts[(first_frame + frame) * out_positions + at, block]
                        turns[c] = -(-wanted // lanes)
                        if wanted > 0:
                            taken += left[c]
                            products += left[c] * wanted
                    fetched = max(begin[row], announced + 1) + fetch
                    begin[row] = max(finish[row], fetched, now + 2)
                    finish[row] = _finish(begin[row], left, turns, used, last[row], spacing)
                    newest = max(newest, finish[row])
                done_before = done
                done = newest
        nth = start // tile
        cycles += max(max(now, done) + flush, drain[nth], prepare[nth + 1])
    return cycles, inputs, taken, products


@jit
def _any_under(places, taps, tap, first, last):
    """Tell whether a position of a tile lies under a tap."""
    for p in range(first, last):  # noqa: SIM110 - compiled
        if taps[places[p, 1], tap] >= 0:
            return True
    return False
