"""Random tasks of the vector unit, and what the simulator's kernels make of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from spikeloom.chip.learn_microcode import (
    Program,
    neuron_gradients,
    neurons,
    optimise,
    readout,
    time_sums,
)
from spikeloom.chip.learn_program import Operation
from spikeloom.sim.engines import vector
from spikeloom.sim.engines.rounding import FORM, round_array
from tests.support.vector_machine import Floats, Work

F = np.float32
# The form of each array: in, then out; sums are floats.
ARRAYS: dict[Operation, tuple[str, str]] = {
    Operation.NEURONS: ("F", "OBB"),
    Operation.READOUT: ("FB", "OF"),
    Operation.NEURON_GRADIENTS: ("OOB", "O"),
    Operation.TIME_SUMS: ("O", "O"),
    Operation.OPTIMISE: ("FFF", "FFO"),
}


@dataclass
class Case:
    """A task, and the arrays that it must leave."""

    operation: Operation
    program: Program
    work: Work
    outs: list[Floats]
    is_mse: bool = False
    is_membrane: bool = False


class Cases:
    """Draws tasks; operands are of the format ``operands``; ``word`` is what channels are padded to."""

    def __init__(self, seed: Any, operands: str, word: int = 8) -> None:
        self.rng, self.operands, self.word = np.random.default_rng(seed), operands, word

    def draw(self, operation: Operation, *, specials: bool = True, **sizes: int) -> Case:
        """Return a case; ``specials`` has infinities and NaN where the kernels define what becomes of them."""
        self.specials = specials
        rng = self.rng
        size = {
            "samples": int(rng.integers(1, 5)), "timesteps": int(rng.integers(1, 5)),
            "positions": int(rng.integers(1, 6)), "channels": int(rng.integers(1, 20)),
        } | sizes  # fmt: skip
        with np.errstate(all="ignore"):
            return getattr(self, f"_{operation.name.lower()}")(**size)

    def values(self, *shape: int, operand: bool = True) -> Floats:
        """Return numbers of all sizes, among them zeros of both signs, and perhaps infinities and NaN."""
        rng = self.rng
        found = rng.normal(size=shape) * 2.0 ** rng.integers(-3, 2, shape)
        kinds = rng.random(shape)
        found = np.where(kinds < 0.1, rng.choice([0.0, -0.0, 0.25, -0.25, 0.5, 1.0], shape), found)
        found = np.where(kinds > 0.95, found * 2.0 ** rng.integers(-30, 5, shape), found)
        if self.specials:
            odd = rng.choice([np.inf, -np.inf, np.nan, 6e4, -6e4, 1e-7], shape)
            found = np.where(rng.random(shape) < 0.02, odd, found)
        values = found.astype(F)
        return round_array(values, self.operands) if operand else values

    def _padded(self, channels: int) -> int:
        return -(-channels // self.word) * self.word

    def memory(self, values: Floats, channels: int) -> Floats:
        """Return frames as they stand in memory, of (samples, timesteps, positions * channels)."""
        samples, steps, elements = values.shape
        found = np.zeros((samples, steps, elements // channels, self._padded(channels)), F)
        found[..., :channels] = values[:, ::-1].reshape(samples, steps, -1, channels)
        return found.reshape(samples * steps, -1)

    def _work(
        self, samples: int, timesteps: int, positions: int, channels: int, **rest: Any
    ) -> Work:
        return Work(samples, timesteps, positions, channels, self._padded(channels), **rest)

    def _neurons(self, samples: int, timesteps: int, positions: int, channels: int) -> Case:
        rng, form = self.rng, FORM[self.operands]
        constant = bool(rng.random() < 0.3)
        scale, leak = F(rng.choice([1.0, 0.3, 1 / 255])), F(rng.choice([0.25, 0.9]))
        threshold, half = F(rng.choice([0.25, 0.5])), F(rng.choice([0.5, 0.4]))
        elements = positions * channels
        raw = self.values(samples, 1 if constant else timesteps, elements, operand=False) / scale
        x = raw.copy()
        vector.finish_sums(
            x.reshape(-1, channels),
            scale,
            np.zeros(0, F),
            False,
            form,
            False,
            0,
            x.size // channels,
        )
        u = np.zeros((samples, timesteps, elements), F)
        s = np.zeros(u.shape, np.uint8)
        vector.neuron_forward(
            x, constant, np.zeros((0, 0, 0), F), False, leak, threshold, form, u, s, 0, samples
        )
        inside = np.abs(u - threshold) < half
        work = self._work(
            samples, timesteps, positions, channels, constant=constant, sums=self.memory(raw, channels),
            constants=(scale, leak, threshold, half),
        )  # fmt: skip
        outs = [self.memory(a.astype(F), channels) for a in (u, s, inside)]
        return Case(Operation.NEURONS, neurons(), work, outs)

    def _neuron_gradients(
        self, samples: int, timesteps: int, positions: int, channels: int
    ) -> Case:
        rng = self.rng
        leak, threshold = F(rng.choice([0.25, 0.9])), F(rng.choice([0.25, 0.5]))
        half, height = F(rng.choice([0.5, 0.4])), F(rng.choice([1.0, 0.75]))
        g, u = (self.values(samples, timesteps, positions * channels) for _ in range(2))
        du = np.zeros_like(g)
        vector.neuron_backward(
            g, u, threshold, half, leak, height, FORM[self.operands], du, 0, samples
        )
        ins = {n: self.memory(a, channels) for n, a in enumerate((g, u, (u > threshold).astype(F)))}
        work = self._work(
            samples,
            timesteps,
            positions,
            channels,
            ins=ins,
            constants=(leak, threshold, half, height),
        )
        outs = [self.memory(du, channels)]
        return Case(Operation.NEURON_GRADIENTS, neuron_gradients(), work, outs)

    def _time_sums(self, samples: int, timesteps: int, positions: int, channels: int) -> Case:
        du = self.values(samples, timesteps, positions * channels)
        sums = np.zeros((samples, positions * channels), F)
        vector.time_sums(du, FORM[self.operands], sums, 0, samples)
        work = self._work(
            samples, timesteps, positions, channels, ins={0: self.memory(du, channels)}
        )
        outs = [self.memory(sums[:, None], channels)]
        return Case(Operation.TIME_SUMS, time_sums(), work, outs)

    def _optimise(self, samples: int, timesteps: int, positions: int, channels: int) -> Case:
        rng = self.rng
        count = positions * self.word * int(rng.integers(1, 4))
        weight, momentum, gradient = (self.values(1, count, operand=False) for _ in range(3))
        rates = tuple(
            F(v) for v in (rng.choice([0.5, 2.0**-10]), rng.choice([0.0, 0.01]), 0.9, 0.1)
        )
        skip = bool(rng.random() < 0.3)
        ins = {0: weight, 1: momentum, 2: gradient}
        w, m = weight.copy(), momentum.copy()
        if not skip:
            vector.momentum_update(w[0], m[0], gradient[0], *rates, 0, count)
        work = Work(1, 1, count // self.word, self.word, self.word, rates, skip=skip, ins=ins)
        outs = [w, m, round_array(w, self.operands)]
        return Case(Operation.OPTIMISE, optimise(), work, outs)

    def _readout(self, samples: int, timesteps: int, positions: int, channels: int) -> Case:
        rng = self.rng
        is_membrane, is_mse, constant = (bool(rng.random() < 0.5) for _ in range(3))
        scale, leak = F(rng.choice([1.0, 0.3])), F(0.5)
        gradient_scale = F(1024.0 / rng.integers(1, 64))
        raw = self.values(samples, 1 if constant else timesteps, channels, operand=False) / scale
        raw *= F(
            rng.choice([1.0, 60.0])
        )  # differences beyond what an exponential tells from 0, too
        labels = rng.integers(0, channels, samples)
        x = raw * scale
        logits, du = np.zeros((samples, channels), F), np.zeros((samples, timesteps, channels), F)
        vector.loss_gradient(
            x,
            constant,
            timesteps,
            labels,
            is_membrane,
            leak,
            is_mse,
            gradient_scale,
            FORM[self.operands],
            logits,
            du,
        )
        share = F(1) if is_membrane else F(1) / F(timesteps)
        target = (np.arange(channels) == labels[:, None]).astype(F)
        work = self._work(
            samples, timesteps, 1, channels, constant=constant, sums=self.memory(raw, channels),
            ins={1: self.memory(target[:, None], channels)},
            constants=(scale, share, gradient_scale, leak if is_membrane else F(1)),
        )  # fmt: skip
        outs = [self.memory(du, channels), self.memory(logits[:, None], channels)]
        program = readout(is_mse=is_mse)
        return Case(Operation.READOUT, program, work, outs, is_mse, is_membrane)
