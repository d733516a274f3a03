"""A training step in float64, from the equations alone: forward F1 and F2, backward B1 to B3, norms, weights W1.

Nothing is rounded, summed in a given order or cut into tables; convolutions are sums over windows. What the engines
give with 32-bit operands must come close to it, unless a membrane lies so near a threshold that rounding decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..chip.learn_network import INPUT, LearnNetwork, Parameters, Recipe, Stage

__all__ = ["Reference", "reference_step"]

Array = NDArray[np.float64]


@dataclass
class Reference:
    """A step: logits, loss, gradients, and how near rounding comes to deciding something."""

    logits: Array
    loss: float
    weights: list[Array]  # gradients, shaped as the weights
    vectors: list[dict[str, Array]]
    weight_bounds: list[Array]  # the same of the absolute values of all terms
    vector_bounds: list[dict[str, Array]]
    spread: float  # least variance of a batch norm's channel, over the mean square
    margin: float  # least distance of a membrane from its threshold or an edge of its window


def windows(x: Array, stage: Stage) -> Array:
    """Return the inputs under each tap: (N, rows, columns, channels) -> (N, out rows, out columns, taps, channels)."""
    (py, px), (sy, sx), (ky, kx) = stage.padding, stage.stride, stage.kernel
    padded = np.pad(x, ((0, 0), (py, py), (px, px), (0, 0)))
    rows, columns, _ = stage.out_shape
    taps = [
        padded[:, dy : dy + sy * rows : sy, dx : dx + sx * columns : sx][:, :rows, :columns]
        for dy in range(ky)
        for dx in range(kx)
    ]
    return np.stack(taps, axis=3)


def unwindows(g: Array, stage: Stage) -> Array:
    """Return the transpose of `windows`."""
    (py, px), (sy, sx), (ky, kx) = stage.padding, stage.stride, stage.kernel
    rows, columns, channels = stage.in_shape
    out_rows, out_columns, _ = stage.out_shape
    padded = np.zeros((len(g), rows + 2 * py + sy, columns + 2 * px + sx, channels))
    for tap in range(ky * kx):
        dy, dx = divmod(tap, kx)
        for y in range(out_rows):
            for x in range(out_columns):
                padded[:, dy + sy * y, dx + sx * x] += g[:, y, x, tap]
    return padded[:, py : py + rows, px : px + columns]


def convolve(cols: Array, weights: Array) -> Array:
    """Return sums: (N, y, x, taps, channels), (groups, taps, in, out) -> (N, y, x, channels)."""
    split = cols.reshape(*cols.shape[:4], weights.shape[0], weights.shape[2])
    return np.einsum("nyxtgi,gtio->nyxgo", split, weights).reshape(*cols.shape[:3], -1)


def pooled(x: Array, pool: int) -> Array:
    """Average windows of (N, rows, columns, channels); what does not fill one is left out."""
    n, rows, columns, channels = x.shape
    cut = x[:, : rows // pool * pool, : columns // pool * pool]
    return cut.reshape(n, rows // pool, pool, columns // pool, pool, channels).mean(axis=(2, 4))


def unpooled(g: Array, pool: int, shape: tuple[int, int, int]) -> Array:
    """Return the transpose of `pooled`."""
    result = np.zeros((len(g), *shape))
    wide = g.repeat(pool, axis=1).repeat(pool, axis=2) / pool**2
    result[:, : wide.shape[1], : wide.shape[2]] = wide
    return result


def reference_step(
    network: LearnNetwork, recipe: Recipe, parameters: Parameters, inputs: Any, labels: Any
) -> Reference:
    """Return a step of one batch, in one micro-batch; parameters are not moved."""
    steps, samples = recipe.timesteps, len(labels)
    image = network.input
    values = inputs.astype(np.float64)
    if image.signed:
        values = np.where(values >= 2 ** (image.bits - 1), values - 2**image.bits, values)
    values = np.broadcast_to(values * image.scale, (samples, steps, *image.shape))
    frames: dict[int, Array] = {INPUT: values.reshape(-1, *image.shape)}
    saved: list[dict[str, Any]] = []
    margin = spread = np.inf
    weights = [w.astype(np.float64) for w in parameters.weights]
    vectors = [{n: v.astype(np.float64) for n, v in d.items()} for d in parameters.vectors]
    for i, stage in enumerate(network.stages):
        x: Any = sum(pooled(frames[source], stage.pool) for source in stage.sources)
        keep: dict[str, Any] = {"cols": windows(x.reshape(len(x), *stage.in_shape), stage)}
        y = convolve(keep["cols"], weights[i]) + vectors[i].get("bias", 0.0)
        if stage.norm is not None:
            if stage.norm.kind == "batch":
                mean, variance = y.mean(axis=(0, 1, 2)), y.var(axis=(0, 1, 2))
                spread = min(spread, float((variance / (mean**2 + variance + 1e-30)).min()))
            else:
                mean, variance = vectors[i]["running_mean"], vectors[i]["running_var"]
            keep["inverse"] = 1 / np.sqrt(variance + stage.norm.epsilon)
            keep["hat"] = (y - mean) * keep["inverse"]
            y = stage.norm.scale * vectors[i]["gamma"] * keep["hat"] + vectors[i]["beta"]
        if stage.neuron is not None:
            if stage.shortcut is not None:
                y = y + frames[stage.shortcut]
            n = stage.neuron
            current = y.reshape(samples, steps, *stage.out_shape)
            u, s = np.zeros_like(current), np.zeros_like(current)
            for t in range(steps):
                u[:, t] = current[:, t]
                if t:
                    u[:, t] += n.leak * u[:, t - 1] * (1 - s[:, t - 1])
                s[:, t] = u[:, t] > n.threshold
            distance = np.abs(u - n.threshold)
            margin = min(margin, distance.min(), np.abs(distance - n.half_width).min())
            keep |= {"u": u, "s": s}
            y = s.reshape(y.shape)
        frames[i] = y
        saved.append(keep)

    out = frames[len(network.stages) - 1].reshape(samples, steps, -1)
    factors = np.full(steps, 1 / steps)
    if recipe.readout == "membrane":
        factors = recipe.readout_leak ** np.arange(steps - 1, -1, -1.0)
    logits = np.einsum("btc,t->bc", out, factors)
    target = np.eye(logits.shape[1])[labels]
    if recipe.loss == "mse":
        loss = float(np.mean((logits - target) ** 2))
        terms, share = logits, 2 / logits.size
    else:
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        terms, share = powers / powers.sum(axis=1, keepdims=True), 1 / samples
        loss = float(-np.mean(np.log(terms[np.arange(samples), labels])))

    def backward(*, absolute: bool) -> tuple[list[Array], list[dict[str, Array]]]:
        """Return the gradients; or the sums of their terms' absolute values, which bound what cancels in them."""
        minus = 1.0 if absolute else -1.0

        def plain(values: Any) -> Any:
            return np.abs(values) if absolute else values

        weight_gradients: list[Array] = [np.zeros(0)] * len(weights)
        vector_gradients: list[dict[str, Array]] = [{} for _ in weights]
        arriving = {i: np.zeros_like(f) for i, f in frames.items()}
        error = (plain(terms) + minus * target) * share
        last = len(network.stages) - 1
        arriving[last] = (error[:, None] * factors[:, None]).reshape(frames[last].shape)
        for i in reversed(range(len(network.stages))):
            stage, keep, g = network.stages[i], saved[i], arriving[i]
            if stage.neuron is not None:
                n, u, s = stage.neuron, keep["u"], keep["s"]
                incoming = g.reshape(u.shape)
                du = np.zeros_like(u)
                after = np.zeros_like(u[:, 0])
                for t in reversed(range(steps)):
                    inside = np.abs(u[:, t] - n.threshold) < n.half_width
                    reset = minus * n.leak * plain(u[:, t]) * after
                    through = n.height * inside * (incoming[:, t] + reset)
                    after = du[:, t] = through + n.leak * (1 - s[:, t]) * after
                g = du.reshape(g.shape)
                if stage.shortcut is not None:
                    arriving[stage.shortcut] = arriving[stage.shortcut] + g
            if stage.norm is not None:
                hat, gain = plain(keep["hat"]), stage.norm.scale * plain(vectors[i]["gamma"])
                vector_gradients[i]["beta"] = g.sum(axis=(0, 1, 2))
                vector_gradients[i]["gamma"] = stage.norm.scale * (g * hat).sum(axis=(0, 1, 2))
                if stage.norm.kind == "batch":
                    g = g + minus * (g.mean(axis=(0, 1, 2)) + hat * (g * hat).mean(axis=(0, 1, 2)))
                g = gain * keep["inverse"] * g
            if stage.bias:
                vector_gradients[i]["bias"] = g.sum(axis=(0, 1, 2))
            groups, taps, ins, outs = weights[i].shape
            cols = plain(keep["cols"]).reshape(*g.shape[:3], taps, groups, ins)
            split = g.reshape(*g.shape[:3], groups, outs)
            weight_gradients[i] = np.einsum("nyxtgi,nyxgo->gtio", cols, split)
            back = np.einsum("nyxgo,gtio->nyxtgi", split, plain(weights[i]))
            back = unwindows(back.reshape(*g.shape[:3], taps, groups * ins), stage)
            for source in stage.sources:
                if source != INPUT:
                    shape = network.output_shape(source)
                    flat = back.reshape(len(back), *network.pooled_shape(stage, source))
                    arriving[source] = arriving[source] + unpooled(flat, stage.pool, shape)
        return weight_gradients, vector_gradients

    gradients, bounds = backward(absolute=False), backward(absolute=True)
    return Reference(logits, loss, *gradients, *bounds, spread=spread, margin=float(margin))
