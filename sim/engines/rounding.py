"""Rounding to the formats of operands and accumulators, chosen by a number that kernels take."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..jit import jit, jit_inline
from ..simd import BF16, FP16, FP32, round_bf16, round_fp16
from .parallel import Threads

__all__ = ["FORM", "round_array", "rounded"]

FORM = {"fp32": FP32, "fp16": FP16, "bf16": BF16}


@jit_inline
def rounded(value, form):
    """Return a 32-bit float rounded to a format."""
    if form == FP16:
        return round_fp16(value)
    if form == BF16:
        return round_bf16(value)
    return value


@jit
def _round_flat(values, result, form, first, last):
    for i in range(first, last):
        result[i] = rounded(values[i], form)


def round_array(
    values: NDArray[np.float32], name: str, threads: Threads | None = None
) -> NDArray[np.float32]:
    """Return values rounded to the format called ``name``, as 32-bit floats of the same shape."""
    values = np.ascontiguousarray(values, np.float32)
    result = np.empty_like(values)
    source, target, form = values.reshape(-1), result.reshape(-1), FORM[name]
    if threads is None:
        _round_flat(source, target, form, 0, source.size)
    else:
        threads.run(source.size, lambda a, b: _round_flat(source, target, form, a, b))
    return result
