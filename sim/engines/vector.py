"""The vector unit: neurons, norms, readout and optimiser, element by element, in 32-bit floats.

Kernels take a range of samples or of channels, so that threads share the work; no result depends on how it is cut.
Arrays of frames are (samples, timesteps, elements) unless said otherwise; element position * channels + channel.
"""

from __future__ import annotations

import numpy as np

from ...chip import learn_rules as _rules
from ...chip.learn_network import Floats
from ..jit import compile_rules, jit, jit_inline
from .rounding import rounded

__all__ = [
    "add_pooled", "channel_sums", "count_inside", "finish_sums", "loss_gradient", "momentum_update", "neuron_backward",
    "neuron_forward", "norm_backward", "norm_forward", "norm_hats", "pool_spikes", "time_sums", "wanted_gradients",
]  # fmt: skip


_compiled = compile_rules(_rules, jit_inline)
_membrane, _spikes, _in_window = _compiled.membrane, _compiled.spikes, _compiled.in_window
_membrane_gradient, _normalised = _compiled.membrane_gradient, _compiled.normalised
_norm_gradient, _exponential = _compiled.norm_gradient, _compiled.exponential
_momentum_step = _compiled.momentum_step


@jit
def finish_sums(sums, scale, bias, has_bias, form, rounds, first, last):
    """Scale sums (positions, channels) in place, add the bias, and round them if ``rounds``, to go to memory."""
    for p in range(first, last):
        row = sums[p]
        for c in range(row.size):
            value = row[c] * scale
            if has_bias:
                value = value + bias[c]
            row[c] = rounded(value, form) if rounds else value


@jit
def channel_sums(values, others, has_others, partials, first, last, sums, products):
    """Sum channels ``first`` to ``last`` of (positions, channels) over positions, and products with ``others``.

    Position p goes to partial sum p mod ``partials``; these are added in order. Without others products are squares.
    """
    part, part_products = (
        np.empty((partials, last - first), np.float32),
        np.empty((partials, last - first), np.float32),
    )
    part[:] = np.float32(0.0)
    part_products[:] = np.float32(0.0)
    for p in range(values.shape[0]):
        row, other = values[p], others[p] if has_others else values[p]
        a, b = part[p % partials], part_products[p % partials]
        for c in range(first, last):
            a[c - first] += row[c]
            b[c - first] += row[c] * other[c]
    for c in range(first, last):
        total, product = np.float32(0.0), np.float32(0.0)
        for i in range(partials):
            total += part[i, c - first]
            product += part_products[i, c - first]
        sums[c], products[c] = total, product


@jit
def norm_forward(y, mean, inverse, gain, beta, x, first, last):
    """Give ``gain * y_hat + beta`` of positions ``first`` to ``last``; arrays (positions, channels)."""
    for p in range(first, last):
        source, target = y[p], x[p]
        for c in range(source.size):
            target[c] = gain[c] * _normalised(source[c], mean[c], inverse[c]) + beta[c]


@jit
def norm_hats(y, mean, inverse, hats, first, last):
    """Give ``y_hat`` of positions ``first`` to ``last``; arrays (positions, channels)."""
    for p in range(first, last):
        source, target = y[p], hats[p]
        for c in range(source.size):
            target[c] = _normalised(source[c], mean[c], inverse[c])


@jit
def norm_backward(du, hats, factor, mean_du, mean_product, form, first, last):
    """Turn gradients of the norm's output into those of its input, in place; arrays (positions, channels)."""
    for p in range(first, last):
        target, hat = du[p], hats[p]
        for c in range(target.size):
            target[c] = rounded(
                _norm_gradient(target[c], hat[c], factor[c], mean_du[c], mean_product[c]), form
            )


@jit
def neuron_forward(x, repeats, shortcut, has_shortcut, leak, threshold, form, u, s, first, last):
    """Run neurons through time for samples ``first`` to ``last``.

    x : sums; of one timestep for all if ``repeats``. shortcut : what is added to them. u, s : membranes (rounded,
    before the reset) and spikes (uint8) of every timestep.
    """
    elements = x.shape[2]
    for sample in range(first, last):
        for t in range(u.shape[1]):
            source = x[sample, 0 if repeats else t]
            now, fired = u[sample, t], s[sample, t]
            before, fired_before = u[sample, t - 1 if t else 0], s[sample, t - 1 if t else 0]
            for i in range(elements):
                value = source[i]
                if has_shortcut:
                    value = value + shortcut[sample, t, i]
                if t:
                    value = _membrane(value, before[i], fired_before[i] != 0, leak)
                value = rounded(value, form)
                now[i] = value
                fired[i] = _spikes(value, threshold)


@jit
def neuron_backward(g, u, threshold, half_width, leak, height, form, du, first, last):
    """Run gradients back through time for samples ``first`` to ``last``: ``du`` from ``g`` and membranes ``u``."""
    elements = g.shape[2]
    timesteps = g.shape[1]
    for sample in range(first, last):
        for t in range(timesteps - 1, -1, -1):
            source, membrane, target = g[sample, t], u[sample, t], du[sample, t]
            if t == timesteps - 1:
                for i in range(elements):
                    inside = _in_window(membrane[i], threshold, half_width)
                    fired = _spikes(membrane[i], threshold)
                    zero = np.float32(0.0)
                    target[i] = rounded(
                        _membrane_gradient(
                            source[i], membrane[i], fired, inside, zero, leak, height
                        ),
                        form,
                    )
            else:
                after = du[sample, t + 1]
                for i in range(elements):
                    inside = _in_window(membrane[i], threshold, half_width)
                    fired = _spikes(membrane[i], threshold)
                    target[i] = rounded(
                        _membrane_gradient(
                            source[i], membrane[i], fired, inside, after[i], leak, height
                        ),
                        form,
                    )


@jit
def add_pooled(target, source, pool, is_first, first, last):
    """Add gradients of a pooled input to those of what was pooled: frames (frames, rows, columns, channels).

    Each value of a window takes ``1 / pool**2`` of its gradient. ``is_first`` overwrites.
    """
    rows, columns, channels = target.shape[1:]
    scale = np.float32(1.0 / (pool * pool))
    for frame in range(first, last):
        for y in range(rows):
            for x in range(columns):
                into = target[frame, y, x]
                inside = y // pool < source.shape[1] and x // pool < source.shape[2]
                if not inside:
                    if is_first:
                        into[:] = np.float32(0.0)
                    continue
                row = source[frame, y // pool, x // pool]
                if is_first:
                    for c in range(channels):
                        into[c] = row[c] * scale
                else:
                    for c in range(channels):
                        into[c] += row[c] * scale


@jit
def pool_spikes(spikes, pool, is_first, counts, first, last):
    """Count spikes in windows of frames (frames, rows, columns, channels) uint8; adds unless ``is_first``."""
    rows, columns, channels = counts.shape[1:]
    for frame in range(first, last):
        for y in range(rows):
            for x in range(columns):
                into = counts[frame, y, x]
                if is_first:
                    into[:] = 0
                for dy in range(pool):
                    for dx in range(pool):
                        row = spikes[frame, y * pool + dy, x * pool + dx]
                        for c in range(channels):
                            into[c] += row[c]


@jit
def wanted_gradients(u, threshold, half_width, pool, wanted, adds, first, last):
    """Mark the values whose gradient is used: membranes and marks (frames, rows, columns, channels).

    A pooled value's is if that of any in its window is. ``adds`` keeps the marks of another source.
    """
    rows, columns, channels = wanted.shape[1:]
    for frame in range(first, last):
        for y in range(rows):
            for x in range(columns):
                into = wanted[frame, y, x]
                if not adds:
                    into[:] = 0
                for dy in range(pool):
                    for dx in range(pool):
                        row = u[frame, y * pool + dy, x * pool + dx]
                        for c in range(channels):
                            into[c] |= _in_window(row[c], threshold, half_width)


@jit
def count_inside(u, threshold, half_width, found, first, last):
    """Count the membranes in the surrogate's window, for each of the samples ``first`` to ``last``."""
    for sample in range(first, last):
        total = 0
        for t in range(u.shape[1]):
            row = u[sample, t]
            for i in range(row.size):
                total += _in_window(row[i], threshold, half_width)
        found[sample] = total


@jit
def time_sums(du, form, sums, first, last):
    """Add up gradients over time, last timestep first: (samples, timesteps, elements) to (samples, elements)."""
    for sample in range(first, last):
        into = sums[sample]
        into[:] = np.float32(0.0)
        for t in range(du.shape[1] - 1, -1, -1):
            row = du[sample, t]
            for i in range(into.size):
                into[i] += row[i]
        for i in range(into.size):
            into[i] = rounded(into[i], form)


@jit
def loss_gradient(
    x, repeats, timesteps, labels, is_membrane, leak, is_mse, scale, form, logits, du
):
    """Read logits from the readout's sums, and give the gradient of the scaled loss for each timestep.

    x : (samples, timesteps, classes), or (samples, 1, classes) if ``repeats``; logits : (samples, classes);
    du : (samples, timesteps, classes). ``scale`` is the loss scale over the number of terms of the mean.
    """
    samples, classes = logits.shape
    share = np.float32(1.0) / np.float32(timesteps)
    gradient = np.empty(classes, np.float32)
    for sample in range(samples):
        for c in range(classes):
            value = np.float32(0.0)
            for t in range(timesteps):
                term = x[sample, 0 if repeats else t, c]
                value = leak * value + term if is_membrane else value + term
            logits[sample, c] = value if is_membrane else value * share
        if is_mse:
            for c in range(classes):
                target = np.float32(1.0) if c == labels[sample] else np.float32(0.0)
                gradient[c] = (logits[sample, c] - target) * scale
        else:
            largest = logits[sample, 0]
            for c in range(1, classes):
                largest = max(largest, logits[sample, c])
            total = np.float32(0.0)
            for c in range(classes):
                gradient[c] = _exponential(logits[sample, c] - largest)
                total += gradient[c]
            for c in range(classes):
                target = np.float32(1.0) if c == labels[sample] else np.float32(0.0)
                gradient[c] = (gradient[c] / total - target) * scale
        for c in range(classes):
            value = gradient[c] if is_membrane else gradient[c] * share
            for t in range(timesteps - 1, -1, -1):
                du[sample, t, c] = rounded(value, form)
                if is_membrane:
                    value = leak * value


@jit
def momentum_update(weight, momentum, gradient, unscale, decay, keep, rate, first, last):
    """Move weights ``first`` to ``last`` by SGD with momentum, in place; flat arrays."""
    for i in range(first, last):
        momentum[i] = _momentum_step(momentum[i], gradient[i], weight[i], unscale, decay, keep)
        weight[i] = weight[i] - rate * momentum[i]


def finish_statistics(
    sums: Floats, squares: Floats, count: int, epsilon: float
) -> tuple[Floats, Floats, Floats]:
    """Return each channel's mean, variance and inverse deviation, from sums and squares over ``count`` values."""
    part = np.float32(1.0) / np.float32(count)
    mean = sums * part
    variance = np.maximum(squares * part - mean * mean, np.float32(0.0))
    return mean, variance, inverse_deviation(variance, epsilon)


def inverse_deviation(variance: Floats, epsilon: float) -> Floats:
    """Return ``1 / sqrt(variance + epsilon)`` of each channel, each operation rounded once."""
    return (np.float32(1.0) / np.sqrt(variance + np.float32(epsilon))).astype(
        np.float32, copy=False
    )
