"""The learning engines in plain Python: every sum word by word in `FloatFormat`, every task event by event.

Slow, and obvious. Nothing here is shared with `sim/engines`: geometry is worked out from kernel, stride and padding,
sums are kept as words, time is stepped cycle by cycle (backward engine) or event by event (queues).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from functools import cache
from heapq import heappop, heappush
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeloom.chip import learn_rules as rules
from spikeloom.chip.config import ChipConfig
from spikeloom.chip.formats import FORMATS, FP32
from spikeloom.chip.learn_config import LearnConfig
from spikeloom.chip.learn_network import INPUT, LearnNetwork, Parameters, Recipe, Stage
from spikeloom.chip.learn_program import ENGINES, LearnProgram, Queue

F = np.float32
ZERO = 0  # the word of +0
Place = tuple[int, int]


def word_of(value: Any) -> int:
    return int(np.float32(value).view(np.uint32))


def value_of(word: int) -> np.float32:
    return np.uint32(word).view(np.float32)


@cache
def _narrowed(word: int, name: str) -> int:
    """A 32-bit word rounded to a format, as a 32-bit word again."""
    return FP32.encode(FORMATS[name].round(FP32.decode(word)))


@cache
def _add(a: int, b: int, name: str) -> int:
    return _narrowed(FP32.add(a, b), name)


@cache
def _multiply(a: int, b: int, name: str) -> int:
    return _narrowed(FP32.multiply(a, b), name)


def rounded(value: Any, name: str) -> np.float32:
    return value_of(_narrowed(word_of(value), name))


class Adder:
    """Operations on words of 32 bits whose results are rounded to 32 bits, and then to the accumulators' format.

    Of operands that are both of 16 bits and of one format, that is a single rounding: `test_chip_formats` shows it.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def add(self, a: int, b: int) -> int:
        return _add(a, b, self.name)

    def multiply(self, a: int, b: int) -> int:
        return _multiply(a, b, self.name)

    def table(self, operands: list[int]) -> list[int]:
        """All subset sums: entry e is the entry without its highest bit, plus that bit's operand."""
        entries = [ZERO]
        for e in range(1, 1 << len(operands)):
            high = e.bit_length() - 1
            entries.append(self.add(entries[e - (1 << high)], operands[high]))
        return entries

    def scaled(self, entry: int, plane: int, planes: int, signed: bool) -> int:
        """An entry of one bit plane; the highest counts as it stands, each below it half of the one above."""
        if planes == 1:
            return entry
        sign = -1.0 if signed and plane == planes - 1 else 1.0
        return self.multiply(entry, word_of(sign * 2.0 ** (plane - planes + 1)))


def geometry(stage: Stage) -> list[list[int | None]]:
    """Return, for each output position and tap, the input position under it."""
    rows, columns, _ = stage.in_shape
    table = []
    for oy in range(stage.out_shape[0]):
        for ox in range(stage.out_shape[1]):
            line: list[int | None] = []
            for ky in range(stage.kernel[0]):
                for kx in range(stage.kernel[1]):
                    y = oy * stage.stride[0] + ky - stage.padding[0]
                    x = ox * stage.stride[1] + kx - stage.padding[1]
                    line.append(y * columns + x if 0 <= y < rows and 0 <= x < columns else None)
            table.append(line)
    return table


def planes_of(network: LearnNetwork, stage: Stage) -> int:
    largest = 2**network.input.bits - 1 if INPUT in stage.sources else len(stage.sources)
    largest *= stage.pool**2
    planes = 0
    while 2**planes <= largest:
        planes += 1
    return planes


@dataclass
class Layer:
    """What a stage leaves behind in a micro-batch; arrays start with (samples, timesteps or 1)."""

    inputs: NDArray[np.int64]  # (..., in positions, in channels), integers as they are stored
    y: NDArray[np.float32]  # (..., positions, channels), a norm's input
    x: NDArray[np.float32]  # (..., positions, channels), what enters the membranes or is read out
    u: NDArray[np.float32]  # (samples, timesteps, positions, channels)
    s: NDArray[np.bool_]
    mean: NDArray[np.float32]
    inverse: NDArray[np.float32]
    du: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, F))
    dx: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, F))
    g_input: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, F))


@dataclass
class GoldenStep:
    logits: NDArray[np.float32]
    skipped: str | None
    gradients: list[NDArray[np.float32]]
    vector_gradients: list[dict[str, NDArray[np.float32]]]
    layers: list[list[Layer]]  # micro-batch, stage
    work: list[tuple[int, int, int, int]]  # of each task of the backward engine


class GoldenTraining:
    """A training machine; moves ``parameters`` in place."""

    def __init__(
        self,
        chip: ChipConfig,
        network: LearnNetwork,
        recipe: Recipe,
        parameters: Parameters,
    ) -> None:
        self.network, self.recipe, self.parameters = network, recipe, parameters
        self.config = chip.learn
        self.adder = Adder(self.config.accumulators)
        self.operands = self.config.operands
        self.loss_scale = recipe.loss_scale

    def step(
        self, inputs: NDArray[np.uint8], labels: NDArray[np.int64], program: LearnProgram
    ) -> GoldenStep:
        with np.errstate(all="ignore"):
            return self._step(inputs, labels, program)

    def _step(
        self, inputs: NDArray[np.uint8], labels: NDArray[np.int64], program: LearnProgram
    ) -> GoldenStep:
        stages, count = self.network.stages, len(labels)
        self.weights = [
            [[[[word_of(rounded(v, self.operands)) for v in c] for c in b] for b in a] for a in w]
            for w in self.parameters.weights
        ]
        self.geometry = [geometry(stage) for stage in stages]
        self.sums = [np.zeros(stage.weight_shape, np.int64) for stage in stages]
        self.vector_sums: list[dict[str, Any]] = [{} for _ in stages]
        self.logits = np.zeros((count, self.network.classes), F)
        self.batch = count
        all_layers: list[list[Layer]] = []
        work: list[tuple[int, int, int, int]] = []
        size = -(-count // self.recipe.micro_batches)
        for part, first in enumerate(range(0, count, size)):
            last = min(first + size, count)
            layers: list[Layer] = []
            for i in range(len(stages)):
                layers.append(self._forward(i, layers, inputs[first:last]))
            self._loss(layers[-1], labels[first:last], first)
            for i in reversed(range(len(stages))):
                self._backward(i, layers)
            all_layers.append(layers)
            work += self._backward_engine(program, part, layers)
        scaled = [
            np.array([value_of(int(w)) for w in s.ravel()], F).reshape(s.shape) for s in self.sums
        ]
        skipped = next(
            (
                stage.name
                for i, stage in enumerate(stages)
                if not all(np.isfinite(a).all() for a in (scaled[i], *self.vector_sums[i].values()))
            ),
            None,
        )
        unscale = [
            F(
                self.network.input_scale(stage)
                * 2.0 ** (planes_of(self.network, stage) - 1)
                / self.loss_scale
            )
            for stage in stages
        ]
        unscale_vectors = F(1.0 / self.loss_scale)
        result = GoldenStep(
            self.logits, skipped, [a * u for a, u in zip(scaled, unscale, strict=True)],
            [{n: v * unscale_vectors for n, v in d.items()} for d in self.vector_sums], all_layers, work,
        )  # fmt: skip
        if skipped is not None:
            self.loss_scale /= 2
            return result
        for i in range(len(stages)):
            self._move(
                self.parameters.weights[i],
                self.parameters.weight_momentum[i],
                scaled[i],
                unscale[i],
            )
            for name, gradient in self.vector_sums[i].items():
                self._move(
                    self.parameters.vectors[i][name], self.parameters.vector_momentum[i][name],
                    gradient, unscale_vectors,
                )  # fmt: skip
        return result

    def _move(self, weight: Any, momentum: Any, gradient: Any, unscale: np.float32) -> None:
        recipe = self.recipe
        for at in np.ndindex(weight.shape):
            momentum[at] = rules.momentum_step(
                momentum[at],
                gradient[at],
                weight[at],
                unscale,
                F(recipe.weight_decay),
                F(recipe.momentum),
            )
            weight[at] = weight[at] - F(recipe.learning_rate) * momentum[at]

    # ------------------------------------------------------------------------------------- forward

    def _inputs(self, i: int, layers: list[Layer], images: Any) -> NDArray[np.int64]:
        """Return the integers of a stage's input, added over sources and windows."""
        network, stage = self.network, self.network.stages[i]
        rows, columns, channels = network.output_shape(stage.sources[0])
        total: Any = 0
        for source in stage.sources:
            frames: Any = (
                images.astype(np.int64)
                if source == INPUT
                else layers[source]
                .s.astype(np.int64)
                .reshape(*layers[source].s.shape[:2], rows, columns, channels)
            )
            pooled: Any = np.zeros(
                (*frames.shape[:2], rows // stage.pool, columns // stage.pool, channels), np.int64
            )
            for y in range(pooled.shape[2]):
                for x in range(pooled.shape[3]):
                    for dy in range(stage.pool):
                        for dx in range(stage.pool):
                            pooled[:, :, y, x] += frames[
                                :, :, y * stage.pool + dy, x * stage.pool + dx
                            ]
            total = total + pooled
        return total.reshape(*total.shape[:2], stage.in_positions, stage.in_shape[2])

    def _forward(self, i: int, layers: list[Layer], images: Any) -> Layer:
        network, stage, recipe = self.network, self.network.stages[i], self.recipe
        vectors = self.parameters.vectors[i]
        inputs = self._inputs(i, layers, images)
        samples, steps = inputs.shape[:2]
        shape: tuple[int, ...] = (samples, steps, stage.out_positions, stage.out_shape[2])
        y = np.zeros(shape, F)
        scale = F(network.input_scale(stage) * 2.0 ** (planes_of(network, stage) - 1))
        is_last = i == len(network.stages) - 1
        for sample in range(samples):
            for t in range(steps):
                sums = self._forward_sums(i, inputs[sample, t])
                for p in range(shape[2]):
                    for c in range(shape[3]):
                        value = value_of(sums[p][c]) * scale
                        if stage.bias:
                            value = value + vectors["bias"][c]
                        if stage.norm is not None or (stage.neuron is None and not is_last):
                            value = rounded(value, self.operands)
                        y[sample, t, p, c] = value
        repeats = recipe.timesteps // steps
        x, mean, inverse = y, np.zeros(0, F), np.zeros(0, F)
        if stage.norm is not None:
            x, mean, inverse = self._normalise(stage, vectors, y, repeats)
        layer = Layer(inputs, y, x, np.zeros(0, F), np.zeros(0, bool), mean, inverse)
        if stage.neuron is None:
            return layer
        n = stage.neuron
        layer.u = np.zeros((samples, recipe.timesteps, *shape[2:]), F)
        layer.s = np.zeros(layer.u.shape, bool)
        for sample, t, p, c in np.ndindex(layer.u.shape):
            value = x[sample, t if steps > 1 else 0, p, c]
            if stage.shortcut is not None:
                other = layers[stage.shortcut]
                if self.network.stages[stage.shortcut].neuron is not None:
                    value = value + F(1.0 if other.s[sample, t, p, c] else 0.0)
                else:
                    value = value + other.x[sample, t if other.x.shape[1] > 1 else 0, p, c]
            if t > 0:
                value = rules.membrane(
                    value,
                    layer.u[sample, t - 1, p, c],
                    bool(layer.s[sample, t - 1, p, c]),
                    F(n.leak),
                )
            u = rounded(value, self.operands)
            layer.u[sample, t, p, c] = u
            layer.s[sample, t, p, c] = rules.spikes(u, F(n.threshold))
        return layer

    def _forward_sums(self, i: int, frame: NDArray[np.int64]) -> list[list[int]]:
        stage, group = self.network.stages[i], self.config.forward.group
        planes, signed = (
            planes_of(self.network, stage),
            INPUT in stage.sources and self.network.input.signed,
        )
        result = [[ZERO] * stage.out_shape[2] for _ in range(stage.out_positions)]
        for c in range(stage.out_shape[2]):
            part, within = divmod(c, stage.out_channels)
            weights = self.weights[i][part]
            for tap in range(stage.taps):
                for start in range(0, stage.in_channels, group):
                    chosen = range(start, min(start + group, stage.in_channels))
                    table = self.adder.table([weights[tap][k][within] for k in chosen])
                    for p in range(stage.out_positions):
                        at = self.geometry[i][p][tap]
                        if at is None:
                            continue
                        for plane in range(planes):
                            address = 0
                            for bit, k in enumerate(chosen):
                                value = int(frame[at, part * stage.in_channels + k])
                                address |= (value >> plane & 1) << bit
                            entry = self.adder.scaled(table[address], plane, planes, signed)
                            result[p][c] = self.adder.add(result[p][c], entry)
        return result

    def _channel_sums(self, values: Any, others: Any) -> tuple[Any, Any]:
        """Sum (frames * positions, channels), and products with others, in the vector unit's order."""
        vector, channels = self.config.vector, values.shape[1]
        partials = max(1, min(vector.partials, vector.sums // channels))
        sums, products = np.zeros(channels, F), np.zeros(channels, F)
        for c in range(channels):
            part, part_products = [F(0)] * partials, [F(0)] * partials
            for p in range(len(values)):
                part[p % partials] = part[p % partials] + values[p, c]
                part_products[p % partials] = (
                    part_products[p % partials] + values[p, c] * others[p, c]
                )
            for a, b in zip(part, part_products, strict=True):
                sums[c] = sums[c] + a
                products[c] = products[c] + b
        return sums, products

    def _normalise(self, stage: Stage, vectors: Any, y: Any, repeats: int) -> tuple[Any, Any, Any]:
        norm = stage.norm
        assert norm is not None
        flat = y.reshape(-1, y.shape[-1])
        channels = flat.shape[1]
        mean, inverse = np.zeros(channels, F), np.zeros(channels, F)
        sums, squares = self._channel_sums(flat, flat)
        for c in range(channels):
            if norm.kind == "batch":
                part = F(1) / F(len(flat))
                mean[c] = sums[c] * part
                variance = max(squares[c] * part - mean[c] * mean[c], F(0))
                if np.isnan(squares[c]):
                    variance = F(np.nan)
                count = len(flat) * repeats
                keep, take = F(1.0 - norm.momentum), F(norm.momentum)
                vectors["running_mean"][c] = keep * vectors["running_mean"][c] + take * mean[c]
                unbiased = variance * F(count / max(count - 1, 1))
                vectors["running_var"][c] = keep * vectors["running_var"][c] + take * unbiased
            else:
                mean[c], variance = vectors["running_mean"][c], vectors["running_var"][c]
            inverse[c] = F(1) / np.sqrt(variance + F(norm.epsilon))
        x = np.zeros_like(flat)
        for p, c in np.ndindex(flat.shape):
            gain = vectors["gamma"][c] * F(norm.scale)
            x[p, c] = gain * rules.normalised(flat[p, c], mean[c], inverse[c]) + vectors["beta"][c]
            if stage.neuron is None:
                x[p, c] = rounded(x[p, c], self.operands)
        return x.reshape(y.shape), mean, inverse

    # ---------------------------------------------------------------------------------------- loss

    def _loss(self, layer: Layer, labels: NDArray[np.int64], first: int) -> None:
        recipe, classes = self.recipe, self.network.classes
        steps = recipe.timesteps
        is_mse, is_membrane = recipe.loss == "mse", recipe.readout == "membrane"
        terms = self.batch * (classes if is_mse else 1)
        scale = F((2.0 if is_mse else 1.0) * self.loss_scale / terms)
        share, leak = F(1) / F(steps), F(recipe.readout_leak)
        layer.du = np.zeros((len(labels), steps, 1, classes), F)
        for sample, label in enumerate(labels):
            logits = []
            for c in range(classes):
                value = F(0)
                for t in range(steps):
                    term = layer.x[sample, t if layer.x.shape[1] > 1 else 0, 0, c]
                    value = leak * value + term if is_membrane else value + term
                logits.append(value if is_membrane else value * share)
            self.logits[first + sample] = logits
            if is_mse:
                errors = [v - F(c == label) for c, v in enumerate(logits)]
            else:
                largest = logits[0]
                for value in logits[1:]:
                    largest = max(largest, value)
                powers = [rules.exponential(v - largest) for v in logits]
                total = F(0)
                for value in powers:
                    total = total + value
                errors = [v / total - F(c == label) for c, v in enumerate(powers)]
            for c, error in enumerate(errors):
                value = error * scale
                if not is_membrane:
                    value = value * share
                for t in reversed(range(steps)):
                    layer.du[sample, t, 0, c] = rounded(value, self.operands)
                    if is_membrane:
                        value = leak * value

    # ------------------------------------------------------------------------------------ backward

    def _backward(self, i: int, layers: list[Layer]) -> None:
        network, stage, layer = self.network, self.network.stages[i], layers[i]
        if i < len(network.stages) - 1:
            self._neuron_gradients(i, layers)
        layer.dx = layer.du
        if network.is_constant(stage):
            layer.dx = np.zeros((layer.du.shape[0], 1, *layer.du.shape[2:]), F)
            for sample, _, p, c in np.ndindex(layer.dx.shape):
                value = F(0)
                for t in reversed(range(self.recipe.timesteps)):
                    value = value + layer.du[sample, t, p, c]
                layer.dx[sample, 0, p, c] = rounded(value, self.operands)
        if stage.norm is not None:
            self._norm_gradients(i, layer)
        if stage.bias:
            flat = layer.dx.reshape(-1, stage.out_shape[2])
            self._gather(i, "bias", self._channel_sums(flat, flat)[0])
        if INPUT not in stage.sources:
            layer.g_input = self._input_gradients(i, layer.dx)
        self._weight_gradients(i, layer)

    def _gather(self, i: int, name: str, values: Any) -> None:
        sums = self.vector_sums[i]
        sums[name] = sums[name] + values if name in sums else values

    def _neuron_gradients(self, i: int, layers: list[Layer]) -> None:
        network, stage, layer = self.network, self.network.stages[i], layers[i]
        samples, steps = layers[-1].du.shape[:2]
        rows, columns, channels = stage.out_shape
        layer.du = np.zeros((samples, steps, rows * columns, channels), F)
        for sample, y, x, c in np.ndindex(samples, rows, columns, channels):
            p = y * columns + x
            du_next = F(0)
            for t in reversed(range(steps)):
                g: Any = None
                for user, other in enumerate(network.stages):
                    if i in other.sources:
                        term, pool = F(0), other.pool
                        py, px = y // pool, x // pool
                        if py < rows // pool and px < columns // pool:
                            flat = layers[user].g_input[sample, t].reshape(-1)
                            value = flat[(py * (columns // pool) + px) * channels + c]
                            term = value * F(1.0 / (pool * pool))
                        g = term if g is None else g + term
                    if other.shortcut == i:
                        term = layers[user].du[sample, t, p, c]
                        g = term if g is None else g + term
                g = F(0) if g is None else g
                if stage.neuron is None:
                    layer.du[sample, t, p, c] = rounded(g, self.operands)
                    continue
                n, u = stage.neuron, layer.u[sample, t, p, c]
                inside = rules.in_window(u, F(n.threshold), F(n.half_width))
                value = rules.membrane_gradient(
                    g, u, bool(layer.s[sample, t, p, c]), bool(inside), du_next, F(n.leak), F(n.height)
                )  # fmt: skip
                du_next = rounded(value, self.operands)
                layer.du[sample, t, p, c] = du_next

    def _norm_gradients(self, i: int, layer: Layer) -> None:
        norm, vectors = self.network.stages[i].norm, self.parameters.vectors[i]
        assert norm is not None
        du, y = (a.reshape(-1, a.shape[-1]) for a in (layer.dx, layer.y))
        hats = np.zeros_like(y)
        for p, c in np.ndindex(y.shape):
            hats[p, c] = rules.normalised(y[p, c], layer.mean[c], layer.inverse[c])
        totals, products = self._channel_sums(du, hats)
        self._gather(i, "beta", totals)
        self._gather(i, "gamma", products * F(norm.scale))
        part = F(1.0 / len(du))
        result = np.zeros_like(du)
        for p, c in np.ndindex(du.shape):
            factor = vectors["gamma"][c] * F(norm.scale) * layer.inverse[c]
            value = factor * du[p, c]  # with frozen statistics the norm is a factor
            if norm.kind == "batch":
                value = rules.norm_gradient(
                    du[p, c], hats[p, c], factor, totals[c] * part, products[c] * part
                )
            result[p, c] = rounded(value, self.operands)
        layer.dx = result.reshape(layer.dx.shape)

    def _input_gradients(self, i: int, dx: Any) -> Any:
        stage = self.network.stages[i]
        result = np.zeros((*dx.shape[:2], stage.in_positions, stage.in_shape[2]), F)
        for sample, t in np.ndindex(*dx.shape[:2]):
            words = [[word_of(v) for v in row] for row in dx[sample, t]]
            for q, c in np.ndindex(stage.in_positions, stage.in_shape[2]):
                part, within = divmod(c, stage.in_channels)
                total = ZERO
                for tap in range(stage.taps):
                    for p in range(stage.out_positions):  # at most one has q under this tap
                        if self.geometry[i][p][tap] != q:
                            continue
                        for k in range(stage.out_channels):
                            gradient = words[p][part * stage.out_channels + k]
                            if value_of(gradient) == 0:
                                continue
                            weight = self.weights[i][part][tap][within][k]
                            product = self.adder.multiply(gradient, weight)
                            total = self.adder.add(total, product)
                result[sample, t, q, c] = rounded(value_of(total), self.operands)
        return result

    def _weight_gradients(self, i: int, layer: Layer) -> None:
        stage, group = self.network.stages[i], self.config.update.group
        planes = planes_of(self.network, stage)
        signed = INPUT in stage.sources and self.network.input.signed
        samples, steps = layer.dx.shape[:2]
        order = [
            (sample, t, p)
            for sample in range(samples)
            for t in reversed(range(steps))
            for p in range(stage.out_positions)
        ]
        for start in range(0, len(order), group):
            places = order[start : start + group]
            for c in range(stage.out_shape[2]):
                part, within = divmod(c, stage.out_channels)
                table = self.adder.table([word_of(layer.dx[(*place, c)]) for place in places])
                for tap, k in np.ndindex(stage.taps, stage.in_channels):
                    for plane in range(planes):
                        address = 0
                        for bit, (sample, t, p) in enumerate(places):
                            at = self.geometry[i][p][tap]
                            if at is not None:
                                value = int(
                                    layer.inputs[sample, t, at, part * stage.in_channels + k]
                                )
                                address |= (value >> plane & 1) << bit
                        entry = self.adder.scaled(table[address], plane, planes, signed)
                        at_sum = (part, tap, k, within)
                        self.sums[i][at_sum] = self.adder.add(int(self.sums[i][at_sum]), entry)

    # --------------------------------------------------------------- cycles of the backward engine

    def _backward_engine(
        self, program: LearnProgram, part: int, layers: list[Layer]
    ) -> list[tuple[int, int, int, int]]:
        work = []
        for queue, _, i, of_part, first, frames, channel, channels, _ in program.tasks.tolist():
            if queue != Queue.BACKWARD or of_part != part:
                continue
            stage = self.network.stages[i]
            steps = self.recipe.timesteps
            # Frames are counted sample by sample, in descending time.
            places = [(f // steps, steps - 1 - f % steps) for f in range(first, first + frames)]
            masks = [
                self._wanted(i, layers, place)[:, channel : channel + channels] for place in places
            ]
            part_of = channel // stage.in_channels
            columns = slice(part_of * stage.out_channels, (part_of + 1) * stage.out_channels)
            inputs = [layers[i].dx[place][:, columns] != 0 for place in places]
            work.append(backward_task(self.config, stage, inputs, masks))
        return work

    def _wanted(self, i: int, layers: list[Layer], place: Place) -> NDArray[np.bool_]:
        """Return which gradients of a stage's input some neuron uses: (positions, channels)."""
        stage = self.network.stages[i]
        rows, columns, channels = self.network.output_shape(stage.sources[0])
        pool = stage.pool
        result = np.zeros((rows // pool, columns // pool, channels), bool)
        for source in stage.sources:
            n = self.network.stages[source].neuron
            assert n is not None
            u = layers[source].u[place].reshape(rows, columns, channels)
            for y, x, c in np.ndindex(rows // pool * pool, columns // pool * pool, channels):
                if abs(u[y, x, c] - F(n.threshold)) < F(n.half_width):
                    result[y // pool, x // pool, c] = True
        return result.reshape(stage.in_positions, stage.in_shape[2])


@dataclass
class _Row:
    """A row of the backward engine: its positions, and what it does at the moment."""

    positions: list[Place]
    begun: int = 0  # blocks it has begun with
    # Cycles until the next block's gradients are there; -1 while none are being fetched.
    fetching: int = -1
    contexts: dict[int, tuple[deque[int], list[int]]] = field(default_factory=dict)
    # Of this round, still to come: context, products, and whether it is the context's first turn.
    turns: deque[tuple[int, int, bool]] = field(default_factory=deque)
    # When each context's sums can be read again.
    readable: dict[int, int] = field(default_factory=dict)

    @property
    def ended(self) -> int:
        return self.begun - bool(self.turns)


def backward_task(
    config: LearnConfig,
    stage: Stage,
    inputs: list[NDArray[np.bool_]],
    masks: list[NDArray[np.bool_]],
) -> tuple[int, int, int, int]:
    """Step one task of the backward engine cycle by cycle: (cycles, inputs, inputs taken, products).

    inputs : of each frame, (output positions, output channels): gradients that are not 0
    masks : of each frame, (input positions, channels of the tile): outputs that are wanted
    """
    engine, columns = config.backward, stage.in_shape[1]
    phases: dict[Place, list[int]] = {}
    for q in range(stage.in_positions):
        y, x = q // columns + stage.padding[0], q % columns + stage.padding[1]
        phases.setdefault((y % stage.stride[0], x % stage.stride[1]), []).append(q)
    places = [(f, q) for phase in sorted(phases) for f in range(len(masks)) for q in phases[phase]]
    tile = engine.rows * engine.contexts
    tiles = [places[start : start + tile] for start in range(0, len(places), tile)]
    parts = len(range(0, masks[0].shape[1], config.channel_word))

    def preparation(here: list[Place]) -> int:
        share = -(-len(here) // engine.rows)  # contexts of a row
        now = len(range(0, len(here), share))  # a row a cycle
        for _ in range(share):
            now += parts
        return now + 4

    def drain(here: list[Place]) -> int:
        """Unpack word by word in all rows; each row's words leave once they are whole, in whole beats."""
        word, size = config.channel_word, 4 if config.operands == "fp32" else 2
        beats = -(-engine.rows * word // max(1, config.dram.bytes_per_cycle // size))
        now = left = 0
        for _ in range(-(-len(here) // engine.rows)):
            for _ in range(parts):
                now = max(now + word, left)  # the last ones make room for these
                left = now + beats
        return left + 2

    total = [0, 0, 0]
    now = 2 + preparation(tiles[0])
    for n, here in enumerate(tiles):
        cycles, counts = _backward_tile(config, stage, here, inputs, masks)
        total = [a + b for a, b in zip(total, counts, strict=True)]
        ends = [cycles]
        ends += [drain(tiles[n - 1])] if n > 0 else []
        ends += [preparation(tiles[n + 1])] if n + 1 < len(tiles) else []
        now += max(ends)
    seen, taken, products = total
    return now + drain(tiles[-1]), seen, taken, products


def _backward_tile(
    config: LearnConfig, stage: Stage, here: list[Place], inputs: list[NDArray[np.bool_]],
    masks: list[NDArray[np.bool_]],
) -> tuple[int, tuple[int, int, int]]:  # fmt: skip
    """Step one tile, from the first tap's question to the last sum's being written."""
    engine, word = config.backward, config.channel_word
    under = {
        (q, tap): p
        for p, line in enumerate(geometry(stage))
        for tap, q in enumerate(line)
        if q is not None
    }
    share = -(-len(here) // engine.rows)
    rows = [_Row(here[r * share : (r + 1) * share]) for r in range(engine.rows)]
    outputs = -(-stage.out_channels // word) * word
    asked = 0  # taps
    pieces: deque[range] = deque()  # of the tap asked last, not yet announced
    announced: list[tuple[int, range]] = []
    words_left = 0
    sent_at: list[int] = []  # the cycle from which each block can be worked on
    seen = taken = products = now = 0
    while True:
        # What everybody sees at the start of the cycle.
        ended = min(row.ended for row in rows)
        known = len(announced)
        is_over = asked == stage.taps and not pieces and not words_left
        if is_over and ended == known:
            break
        # The broadcast: a word or a question a cycle.
        if not words_left and pieces and ended >= known - 1:  # a half of the rows' memories is free
            piece = pieces.popleft()
            announced.append((asked - 1, piece))
            words_left = len(piece)
        if words_left:
            words_left -= 1
            if not words_left:
                sent_at.append(now + 3)
        elif not pieces and asked < stage.taps:
            if any((q, asked) in under for _, q in here):
                pieces.extend(
                    range(k, min(k + engine.depth, outputs))
                    for k in range(0, outputs, engine.depth)
                )
            asked += 1
        for row in rows:
            # Gradients of the block after the one that is worked on, for all contexts in use.
            if row.fetching < 0 and row.begun < known:
                tap, piece = announced[row.begun]
                row.fetching = share * len(range(0, len(piece), word)) + 2
            # Work.
            if row.turns:
                context, count, is_first = row.turns[0]
                if not is_first or now >= row.readable.get(context, 0):
                    products += count
                    row.turns.popleft()
                    if is_first:
                        row.readable[context] = now + config.adder_stages + 2
                    if not row.turns:
                        taken += _next_round(row, engine.lanes)
            # The next block: beginning in the next cycle.
            if row.fetching > 0:
                row.fetching -= 1
            is_sent = len(sent_at) > row.begun and sent_at[row.begun] <= now + 1
            if row.fetching == 0 and is_sent and not row.turns:
                tap, piece = announced[row.begun]
                row.contexts = {}
                for context, (f, q) in enumerate(row.positions):
                    if (q, tap) not in under:
                        continue
                    real = [k for k in piece if k < stage.out_channels]
                    seen += len(real)
                    wanted = [int(c) for c in np.flatnonzero(masks[f][q])]
                    if wanted:
                        nonzero = [k for k in real if inputs[f][under[q, tap], k]]
                        row.contexts[context] = (deque(nonzero), wanted)
                row.begun += 1
                row.fetching = -1
                taken += _next_round(row, engine.lanes)
        now += 1
    return now + config.multiplier_stages + config.adder_stages + 2, (seen, taken, products)


def _next_round(row: _Row, lanes: int) -> int:
    """Let each context take its next input, in turns of so many products; return how many did."""
    taken = 0
    for context, (queue, wanted) in row.contexts.items():
        if queue:
            queue.popleft()
            taken += 1
            for n in range(0, len(wanted), lanes):
                row.turns.append((context, len(wanted[n : n + lanes]), n == 0))
    return taken


# --------------------------------------------------------------------------------------- timeline


def golden_timeline(
    queues: list[int],
    waits: list[list[int]],
    busy: list[int],
    latency: int,
    dispatch: int,
    fetch: int,
) -> tuple[list[int], list[int]]:
    """Return when each task starts and ends, from event to event.

    An engine takes its next task as soon as the one before has ended and its tokens are there; of the transfers whose
    tokens are there, the channel takes one of the next queue in turn. Each start costs ``dispatch`` cycles more. A
    queue's command is there ``fetch`` cycles after the one before was taken, its first after as many.
    """
    todo = [deque(i for i, q in enumerate(queues) if q == queue) for queue in Queue]
    ended = dict.fromkeys(Queue, 0)
    start, end = [0] * len(queues), [0] * len(queues)
    working: set[int] = set()  # engines
    channel_works = False
    turn = deque(queue for queue in Queue if queue not in ENGINES)
    fetched = dict.fromkeys(Queue, False)
    events: list[tuple[int, int, str, int]] = [(fetch, -1, "fetch", int(queue)) for queue in Queue]
    number = 0
    while events:
        now = events[0][0]
        while events and events[0][0] == now:
            _, _, kind, task = heappop(events)
            if kind == "end":
                ended[Queue(queues[task])] += 1
                working.discard(queues[task])
            elif kind == "free":
                channel_works = False
            elif kind == "fetch":
                fetched[Queue(task)] = True

        def may_start(queue: Queue) -> bool:
            if not todo[queue] or not fetched[queue]:
                return False
            needs = waits[todo[queue][0]]
            return all(ended[other] >= needs[other] for other in Queue)

        for engine in ENGINES:
            if engine not in working and may_start(engine):
                task = todo[engine].popleft()
                working.add(engine)
                start[task] = now + dispatch
                end[task] = start[task] + busy[task]
                number += 2
                heappush(events, (end[task], number - 1, "end", task))
                fetched[engine] = False
                heappush(events, (now + fetch, number, "fetch", int(engine)))
        if not channel_works:
            for queue in list(turn):
                if may_start(queue):
                    while (
                        turn[-1] != queue
                    ):  # the one served goes to the back, those before it keep their places
                        turn.rotate(-1)
                    task = todo[queue].popleft()
                    channel_works = True
                    start[task] = now + dispatch
                    end[task] = start[task] + busy[task] + latency
                    number += 3
                    heappush(events, (start[task] + busy[task], number - 2, "free", task))
                    heappush(events, (end[task], number - 1, "end", task))
                    fetched[queue] = False
                    heappush(events, (now + fetch, number, "fetch", int(queue)))
                    break
    assert not any(todo), "tasks are left that wait for ever"
    return start, end


def bits_of(values: Any) -> NDArray[np.uint32]:
    """The words of 32-bit floats, all NaN as one."""
    values = np.ascontiguousarray(values, np.float32)
    return np.where(np.isnan(values), np.uint32(0x7FC00000), values.view(np.uint32))
