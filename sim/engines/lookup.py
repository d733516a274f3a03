"""The lookup engine: sums of operands that binary inputs choose, by tables of subset sums. Forward and weight update.

The order of every sum is that of docs/blocks/learning.md: tables are built from the lowest operand up, an output adds
its tables' entries in the order of the groups, and, where inputs have several bit planes, plane by plane in a group.
"""

from __future__ import annotations

import numpy as np

from ..jit import jit, jit_inline
from ..simd import (
    BF16,
    FP16,
    GROUPS,
    LANES,
    add_planes_bf16,
    add_planes_fp16,
    add_planes_fp32,
    add_rows_bf16,
    add_rows_fp16,
    add_rows_fp32,
    add_tables_bf16,
    add_tables_fp16,
    add_tables_fp32,
)

__all__ = ["BLOCK", "forward_sums", "pack_groups", "update_sums"]

BLOCK = 256  # positions whose sums stay in the first-level cache


@jit_inline
def _add_rows(form, out, at, first, first_at, second, second_at):
    if form == FP16:
        add_rows_fp16(out, at, first, first_at, second, second_at)
    elif form == BF16:
        add_rows_bf16(out, at, first, first_at, second, second_at)
    else:
        add_rows_fp32(out, at, first, first_at, second, second_at)


@jit_inline
def _add_tables(form, out, at, tables, entries, indices, first, step):
    if form == FP16:
        add_tables_fp16(out, at, tables, entries, indices, first, step)
    elif form == BF16:
        add_tables_bf16(out, at, tables, entries, indices, first, step)
    else:
        add_tables_fp32(out, at, tables, entries, indices, first, step)


@jit_inline
def _add_planes(
    form, out, at, tables, entries, count, indices, first, step, plane_step, planes, sign
):
    if form == FP16:
        add_planes_fp16(
            out, at, tables, entries, count, indices, first, step, plane_step, planes, sign
        )
    elif form == BF16:
        add_planes_bf16(
            out, at, tables, entries, count, indices, first, step, plane_step, planes, sign
        )
    else:
        add_planes_fp32(
            out, at, tables, entries, count, indices, first, step, plane_step, planes, sign
        )


@jit
def _build_table(form, group, tables, table, operands, first, stride):
    """Build one table of subset sums: entry e is the entry without its highest bit, plus that bit's operand."""
    entries = 1 << group
    base = table * entries * LANES
    for lane in range(LANES):
        tables[base + lane] = np.float32(0.0)
    for bit in range(group):
        high = 1 << bit
        for low in range(high):
            _add_rows(
                form,
                tables,
                base + (high + low) * LANES,
                tables,
                base + low * LANES,
                operands,
                first + bit * stride,
            )


@jit
def pack_groups(values, plane, group, packed, first, last):
    """Pack bit ``plane`` of rows of (rows, channels) integers into table addresses (rows, groups) uint8."""
    channels = values.shape[1]
    for row in range(first, last):
        source, target = values[row], packed[row]
        target[:] = 0
        for bit in range(group):
            for k in range((channels - bit + group - 1) // group):
                target[k] |= ((source[k * group + bit] >> plane) & 1) << bit


@jit
def forward_sums(
    form,
    group,
    packed,
    planes,
    signed,
    taps,
    in_positions,
    operands,
    out,
    channel,
    channels,
    first,
    last,
):
    """Work out the sums of positions ``first`` to ``last`` for one group of channels of a convolution.

    packed : (planes, input rows, groups) uint8, table addresses; the last row is 0, for taps outside
    taps : (out_positions, taps) int32, input position within a frame, -1 outside
    operands : (blocks, taps * groups + padding, group, LANES) float32, weights, padded with 0 to whole GROUPS of tables
    out : (positions, channels) float32; ``channels`` of them from ``channel`` on are written
    """
    entries = 1 << group
    sign = np.float32(-1.0 if signed else 1.0)
    groups = packed.shape[2]
    nothing = packed.shape[1] - 1
    out_positions, tap_count = taps.shape
    blocks, tables_count = operands.shape[:2]
    flat_operands = operands.reshape(-1)
    tables = np.empty(GROUPS * entries * LANES, np.float32)
    sums = np.empty(BLOCK * LANES, np.float32)
    indices = np.zeros((planes, BLOCK, tables_count), np.uint8)
    flat_indices = indices.reshape(-1)
    for start in range(first, last, BLOCK):
        count = min(BLOCK, last - start)
        for plane in range(planes):
            for p in range(count):
                frame, place = divmod(start + p, out_positions)
                line = indices[plane, p]
                for tap in range(tap_count):
                    at = taps[place, tap]
                    source = packed[plane, nothing if at < 0 else frame * in_positions + at]
                    for k in range(groups):
                        line[tap * groups + k] = source[k]
        for block in range(blocks):
            sums[: count * LANES] = np.float32(0.0)
            for k in range(0, tables_count, GROUPS):
                for table in range(GROUPS):
                    base = (block * tables_count + k + table) * group * LANES
                    _build_table(form, group, tables, table, flat_operands, base, LANES)
                if planes == 1:
                    for p in range(count):
                        _add_tables(
                            form,
                            sums,
                            p * LANES,
                            tables,
                            entries,
                            flat_indices,
                            p * tables_count + k,
                            1,
                        )
                else:
                    real = min(GROUPS, tap_count * groups - k)
                    for p in range(count):
                        _add_planes(
                            form, sums, p * LANES, tables, entries, real, flat_indices, p * tables_count + k, 1,
                            BLOCK * tables_count, planes, sign,
                        )  # fmt: skip
            width = min(LANES, channels - block * LANES)
            for p in range(count):
                for lane in range(width):
                    out[start + p, channel + block * LANES + lane] = sums[p * LANES + lane]


@jit
def update_sums(
    form, group, values, planes, signed, taps, in_positions, frames, gradients, sums, in_channel, in_channels,
    first, last,
):  # fmt: skip
    """Add to the weight gradients of columns ``first`` to ``last`` of one group of channels of a convolution.

    values : (input rows, channels of all groups) uint8, the integer inputs
    frames : (F,) int64, frames in the order of the sum; a frame has the out_positions of ``taps``
    gradients : (blocks, F * out_positions + padding, LANES) float32, in that order, padded with 0 to whole table groups
    sums : (blocks, columns, LANES) float32, columns are ``tap * in_channels + channel``
    """
    entries = 1 << group
    sign = np.float32(-1.0 if signed else 1.0)
    out_positions = taps.shape[0]
    positions = len(frames) * out_positions
    blocks, padded, _ = gradients.shape
    columns = sums.shape[1]
    flat_gradients, flat_sums = gradients.reshape(-1), sums.reshape(-1)
    tables = np.empty(GROUPS * entries * LANES, np.float32)
    width = last - first
    indices = np.empty((planes, GROUPS, width), np.uint8)
    flat_indices = indices.reshape(-1)
    for start in range(0, padded, GROUPS * group):
        indices[:] = 0
        for table in range(GROUPS):
            for bit in range(group):
                position = start + table * group + bit
                if position >= positions:
                    continue
                order, place = divmod(position, out_positions)
                tap, channel = divmod(first, in_channels)
                column = 0
                while column < width:
                    run = min(in_channels - channel, width - column)
                    at = taps[place, tap]
                    if at >= 0:
                        row = frames[order] * in_positions + at
                        for plane in range(planes):
                            for i in range(run):
                                indices[plane, table, column + i] |= (
                                    (values[row, in_channel + channel + i] >> plane) & 1
                                ) << bit
                    column += run
                    channel = 0
                    tap += 1
        for block in range(blocks):
            for table in range(GROUPS):
                at = (block * padded + start + table * group) * LANES
                _build_table(form, group, tables, table, flat_gradients, at, LANES)
            if planes == 1:
                for column in range(width):
                    _add_tables(
                        form, flat_sums, (block * columns + first + column) * LANES, tables, entries,
                        flat_indices, column, width,
                    )  # fmt: skip
            else:
                for column in range(width):
                    _add_planes(
                        form, flat_sums, (block * columns + first + column) * LANES, tables, entries, GROUPS,
                        flat_indices, column, width, GROUPS * width, planes, sign,
                    )  # fmt: skip
