"""A step of training on the learning engines: the values, bit for bit, and the cycles."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ...chip.learn_config import LearnConfig
from ...chip.learn_network import (
    INPUT,
    TRAINED_VECTORS,
    Floats,
    LearnError,
    LearnNetwork,
    Neuron,
    Norm,
    Parameters,
    Stage,
)
from ...chip.learn_program import LearnProgram
from ...chip.learn_stalls import NO_STALLS
from . import vector
from .contents import Contents, memory_contents
from .engines import Engines
from .parallel import Threads
from .rounding import FORM, round_array
from .timeline import Timeline, run_timeline
from .work import BackwardWork, backward_work

Ints = NDArray[np.int64]
Bytes = NDArray[np.uint8]

__all__ = ["StepResult", "TrainingMachine"]


@dataclass(frozen=True)
class StepResult:
    """One training step.

    loss : mean loss of the batch, in float64 from the logits; correct : samples that were right
    logits : (samples, classes) float32
    skipped : name of the first stage whose gradients overflowed, so that nothing moved; None if all is well
    overflowed : name of the first stage whose sums are no finite numbers, so that the loss is none; None if all is well
    timeline : when each task ran; backward : what each task of the backward engine did
    spike_rate, mask_density, gradient_density : of each stage's neurons (nan without), over samples and timesteps;
        the gradient's is that of what the backward and update engines read
    gradients : weight gradients of each stage in the engine's scale removed, if asked for
    spikes : spikes of each stage, (samples, timesteps, rows, columns, channels) uint8, if asked for
    contents : what the step left in memory (`memory_contents`), if asked for
    """

    loss: float
    correct: int
    logits: Floats
    skipped: str | None
    overflowed: str | None
    timeline: Timeline
    backward: tuple[BackwardWork, ...]
    spike_rate: tuple[float, ...]
    mask_density: tuple[float, ...]
    gradient_density: tuple[float, ...]
    gradients: tuple[Floats, ...] = ()
    vector_gradients: tuple[dict[str, Floats], ...] = ()
    spikes: tuple[Bytes, ...] = ()
    contents: Contents = field(default_factory=dict)

    @property
    def cycles(self) -> int:
        """Cycles of the step."""
        return self.timeline.cycles


@dataclass
class _Run:
    """What one stage leaves for the backward pass of a micro-batch; F frames, B samples, T timesteps."""

    inputs: Bytes  # (input rows, channels), integers; a frame of 0 stands behind the frames
    sums: Floats  # (B, T or 1, positions * channels)
    u: Floats  # (B, T, positions * channels)
    spikes: Bytes  # (F + 1, rows, columns, channels); the last frame is 0
    y: Floats  # (frames * positions, channels), a norm's input
    mean: Floats
    inverse: Floats
    du: Floats = field(
        default_factory=lambda: np.zeros(0, np.float32)
    )  # at the sums, before the norm
    dx: Floats = field(default_factory=lambda: np.zeros(0, np.float32))  # at the synapses' sums
    input_gradient: Floats = field(default_factory=lambda: np.zeros(0, np.float32))


_NONE = np.zeros(0, np.float32)
_NO_ROWS = np.zeros((0, 0), np.float32)
# Multiply-accumulates of a step's forward pass below which threads take longer to wake than they save.
_SMALL_STEP = 100_000_000
_NO_SPIKES = np.zeros((0, 0, 0, 0, 0), np.uint8)


class TrainingMachine:
    """The learning engines with their parameters in memory.

    Parameters
    ----------
    program : LearnProgram
        A step of the full batch; other sizes are given to `step`.
    parameters : Parameters
        Moved in place.
    loss_scale : float
        As it stands; halved by a step that overflows.
    threads : int, optional
        All processors by default. Neither values nor cycles depend on it.
    stalls : uint8 array, optional
        Cycles of a step in which the memory accepts nothing (chip/learn_stalls.py); none by default.
    """

    def __init__(
        self,
        program: LearnProgram,
        parameters: Parameters,
        *,
        loss_scale: float | None = None,
        threads: int | None = None,
        stalls: Bytes = NO_STALLS,
    ) -> None:
        self.program, self.parameters = program, parameters
        self._stalls = stalls
        self.loss_scale = program.recipe.loss_scale if loss_scale is None else loss_scale
        self._config: LearnConfig = program.config.learn
        self._network: LearnNetwork = program.network
        frames = program.batch * program.recipe.timesteps
        is_small = frames * sum(stage.macs for stage in self._network.stages) < _SMALL_STEP
        self._threads = Threads(1 if is_small else threads)
        self._operands = self._config.operands
        self._operand_form = FORM[self._operands]
        self._engines = Engines(self._config, self._network, self._threads)

    @np.errstate(over="ignore", invalid="ignore")  # a step that overflows says so in its result
    def step(
        self, inputs: Bytes, labels: Ints, *, program: LearnProgram | None = None, learning_rate: float | None = None,
        keep_gradients: bool = False, keep_spikes: bool = False, keep_contents: bool = False,
    ) -> StepResult:  # fmt: skip
        """Train on one batch.

        Parameters
        ----------
        inputs : (samples, timesteps or 1, rows, columns, channels) uint8
            Integers as the network's `InputFormat` says; one timestep if the input is constant.
        labels : (samples,) int64
        program : LearnProgram, optional
            That of a batch of another size.
        learning_rate : float, optional
            The recipe's by default.

        Raises
        ------
        LearnError
            If shapes or labels do not fit.
        """
        program = program or self.program
        self._check(program, inputs, labels)
        network, recipe = self._network, program.recipe
        stages = network.stages
        operands = [round_array(w, self._operands, self._threads) for w in self.parameters.weights]
        weight_sums = [self._engines.new_sums(stage) for stage in stages]
        vector_sums: list[dict[str, Floats]] = [{} for _ in stages]
        logits = np.empty((len(labels), network.classes), np.float32)
        work: list[tuple[BackwardWork, ...]] = []
        rates, masks, densities = np.zeros((3, len(stages)))
        spikes: list[list[Bytes]] = [[] for _ in stages]
        overflowed: str | None = None
        runs: list[_Run] = []
        for first, samples in program.parts:
            part = slice(first, first + samples)
            runs = []
            for index in range(len(stages)):
                runs.append(
                    self._forward(index, runs, inputs[part], operands[index], recipe.timesteps)
                )
            self._loss(runs[-1], labels[part], logits[part], program)
            for index in reversed(range(len(stages))):
                if index < len(stages) - 1:
                    self._neuron_gradients(index, runs, vector_sums[index])
                self._bias_gradient(index, runs, vector_sums[index])
                stage, run = stages[index], runs[index]
                if INPUT not in stage.sources:
                    run.input_gradient = self._engines.input_gradients(
                        stage, run.dx, operands[index]
                    )
                self._engines.add_weight_gradients(
                    stage, run.inputs, run.dx, weight_sums[index], samples
                )
            if overflowed is None and not np.isfinite(logits[part]).all():
                overflowed = next(
                    s.name
                    for s, r in zip(stages, runs, strict=True)
                    if not np.isfinite(r.sums).all()
                )
            wanted = partial(self._wanted, runs)
            work.append(
                backward_work(program, len(work), [r.dx for r in runs], wanted, self._threads)
            )
            share = samples / len(labels)
            for index, (stage, run) in enumerate(zip(stages, runs, strict=True)):
                densities[index] += share * float(np.count_nonzero(run.dx)) / run.dx.size
                if stage.neuron is not None:
                    rates[index] += share * float(run.spikes[:-1].mean())
                    masks[index] += share * self._inside(stage.neuron, run.u) / run.u.size
                else:
                    rates[index] = masks[index] = np.nan
                if keep_spikes and stage.neuron is not None:
                    frames = run.spikes[:-1].reshape(samples, recipe.timesteps, *stage.out_shape)
                    spikes[index].append(frames)
        backward_tasks = [item for part_work in work for item in part_work]
        timeline = run_timeline(
            program, np.array([item.cycles for item in backward_tasks], np.int64), self._stalls
        )
        scaled = [
            Engines.weights_of(stage, sums) for stage, sums in zip(stages, weight_sums, strict=True)
        ]
        skipped = self._overflowed(scaled, vector_sums)
        gradients: tuple[Floats, ...] = ()
        vectors: tuple[dict[str, Floats], ...] = ()
        if keep_gradients:
            gradients = tuple(
                g * np.float32(self._unscale(stages[i])) for i, g in enumerate(scaled)
            )
            unscale = np.float32(1.0 / self.loss_scale)
            vectors = tuple({name: g * unscale for name, g in sums.items()} for sums in vector_sums)
        if skipped is None:
            self._optimise(
                scaled,
                vector_sums,
                recipe.learning_rate if learning_rate is None else learning_rate,
            )
        else:
            self.loss_scale /= 2
        return StepResult(
            loss=loss_of(logits, labels, recipe.loss),
            correct=int(np.count_nonzero(logits.argmax(axis=1) == labels)),
            logits=logits,
            skipped=skipped,
            overflowed=overflowed,
            timeline=timeline,
            backward=tuple(backward_tasks),
            spike_rate=tuple(rates.tolist()),
            mask_density=tuple(masks.tolist()),
            gradient_density=tuple(densities.tolist()),
            gradients=gradients,
            vector_gradients=vectors,
            spikes=tuple(np.concatenate(s) if s else _NO_SPIKES for s in spikes)
            if keep_spikes
            else (),
            contents=memory_contents(network, runs, logits, scaled) if keep_contents else {},
        )

    def infer(self, inputs: Bytes) -> Floats:
        """Return the logits (samples, classes) of a forward pass; norms use their running statistics."""
        network, recipe = self._network, self.program.recipe
        runs: list[_Run] = []
        for index, weights in enumerate(self.parameters.weights):
            operands = round_array(weights, self._operands, self._threads)
            runs.append(
                self._forward(index, runs, inputs, operands, recipe.timesteps, trains=False)
            )
        logits = np.empty((len(inputs), network.classes), np.float32)
        self._loss(runs[-1], np.zeros(len(inputs), np.int64), logits, self.program)
        return logits

    # ------------------------------------------------------------------------------------------------------- checks

    def _check(self, program: LearnProgram, inputs: Bytes, labels: Ints) -> None:
        network = self._network
        timesteps = 1 if network.input.constant else program.recipe.timesteps
        expected = (program.batch, timesteps, *network.input.shape)
        if inputs.shape != expected or inputs.dtype != np.uint8:
            raise LearnError(
                f"a batch of inputs must be uint8 of shape {expected} (samples, timesteps, rows, columns, channels), "
                f"not {inputs.dtype} of shape {inputs.shape}"
            )
        if inputs.max(initial=0) >> network.input.bits:
            raise LearnError(
                f"inputs must be integers of {network.input.bits} bits, not {int(inputs.max())}: scale them beforehand"
            )
        if labels.shape != (program.batch,) or labels.dtype.kind not in "iu":
            raise LearnError(
                f"labels must be integers of shape ({program.batch},), not {labels.dtype} of shape {labels.shape}"
            )
        wrong = np.flatnonzero((labels < 0) | (labels >= network.classes))
        if len(wrong):
            raise LearnError(
                f"label {int(labels[wrong[0]])} of sample {int(wrong[0])} is out of range: the network has "
                f"{network.classes} classes, 0..{network.classes - 1}"
            )

    # ------------------------------------------------------------------------------------------------------ forward

    def _inputs(self, index: int, runs: list[_Run], images: Bytes) -> Bytes:
        """Return the integer inputs of a stage, (rows, channels), with a frame of 0 behind the frames."""
        stage = self._network.stages[index]
        channels = stage.in_shape[2]
        if len(stage.sources) == 1 and stage.pool == 1 and INPUT not in stage.sources:
            return runs[stage.sources[0]].spikes.reshape(-1, channels)
        shape = self._network.pooled_shape(stage)
        counts: Bytes | None = None
        for source in stage.sources:
            frames = (
                images.reshape(-1, *self._network.input.shape)
                if source == INPUT
                else runs[source].spikes[:-1]
            )
            if counts is None:
                counts = np.zeros((len(frames) + 1, *shape), np.uint8)
            into, is_first = counts, source == stage.sources[0]
            if stage.pool == 1 and is_first:
                into[:-1] = frames.reshape(len(frames), *shape)
                continue
            self._threads.run(
                len(frames),
                lambda a, b, f=frames, t=into, i=is_first: vector.pool_spikes(
                    f, stage.pool, i, t, a, b
                ),
            )
        assert counts is not None
        return counts.reshape(-1, channels)

    def _forward(
        self,
        index: int,
        runs: list[_Run],
        images: Bytes,
        operands: Floats,
        timesteps: int,
        *,
        trains: bool = True,
    ) -> _Run:
        stage, network = self._network.stages[index], self._network
        samples = len(images)
        inputs = self._inputs(index, runs, images)
        repeats = network.is_constant(stage)
        frames = samples * (1 if repeats else timesteps)
        sums = self._engines.forward_sums(stage, inputs, operands, frames)
        planes = network.planes(stage)
        scale = np.float32(network.input_scale(stage) * 2.0 ** (planes - 1))
        vectors = self.parameters.vectors[index]
        has_bias, rounds = (
            stage.bias,
            stage.norm is not None or (stage.neuron is None and index < len(network.stages) - 1),
        )
        bias = vectors.get("bias", _NONE)
        form = self._operand_form
        self._threads.run(
            len(sums),
            lambda a, b: vector.finish_sums(sums, scale, bias, has_bias, form, rounds, a, b),
        )
        y, mean, inverse = sums, _NONE, _NONE
        if stage.norm is not None:
            sums, mean, inverse = self._normalise(
                stage, stage.norm, vectors, y, 1 if not repeats else timesteps, trains
            )
            if stage.neuron is None:
                sums = round_array(sums, self._operands, self._threads)
        elements = stage.out_positions * stage.out_shape[2]
        u = np.empty((samples, timesteps, elements), np.float32) if stage.neuron else _NONE
        spikes = np.empty(
            (samples * timesteps + 1 if stage.neuron else 0, *stage.out_shape), np.uint8
        )
        x = sums.reshape(samples, -1, elements)
        if stage.neuron is not None:
            neuron = stage.neuron
            spikes[-1] = 0
            fired = spikes[:-1].reshape(samples, timesteps, elements)
            shortcut, has = self._shortcut(stage, runs, samples, timesteps)
            leak, threshold = np.float32(neuron.leak), np.float32(neuron.threshold)
            self._threads.run(
                samples,
                lambda a, b: vector.neuron_forward(
                    x, repeats, shortcut, has, leak, threshold, form, u, fired, a, b
                ),
            )
        return _Run(inputs=inputs, sums=x, u=u, spikes=spikes, y=y, mean=mean, inverse=inverse)

    def _shortcut(
        self, stage: Stage, runs: list[_Run], samples: int, timesteps: int
    ) -> tuple[Floats, bool]:
        """Return what is added to a stage's sums, (samples, timesteps, elements)."""
        if stage.shortcut is None:
            return np.zeros((0, 0, 0), np.float32), False
        source, run = self._network.stages[stage.shortcut], runs[stage.shortcut]
        if source.neuron is not None:
            return run.spikes[:-1].reshape(samples, timesteps, -1).astype(np.float32), True
        return np.broadcast_to(run.sums, (samples, timesteps, run.sums.shape[2])).copy(), True

    def _normalise(
        self,
        stage: Stage,
        norm: Norm,
        vectors: dict[str, Floats],
        y: Floats,
        repeats: int,
        trains: bool,
    ) -> tuple[Floats, Floats, Floats]:
        """Return the norm's output (rounded nowhere), its mean and inverse deviation; keeps running statistics."""
        if trains and norm.kind == "batch":
            sums, squares = self._channel_sums(y, None)
            mean, variance, inverse = vector.finish_statistics(sums, squares, len(y), norm.epsilon)
            count = len(y) * repeats
            keep, take = np.float32(1.0 - norm.momentum), np.float32(norm.momentum)
            vectors["running_mean"][:] = keep * vectors["running_mean"] + take * mean
            unbiased = variance * np.float32(count / max(count - 1, 1))
            vectors["running_var"][:] = keep * vectors["running_var"] + take * unbiased
        else:
            mean = vectors["running_mean"].copy()
            inverse = vector.inverse_deviation(vectors["running_var"], norm.epsilon)
        gain = vectors["gamma"] * np.float32(norm.scale)
        x = np.empty_like(y)
        beta = vectors["beta"]
        self._threads.run(
            len(y), lambda a, b: vector.norm_forward(y, mean, inverse, gain, beta, x, a, b)
        )
        return x, mean, inverse

    def _channel_sums(self, values: Floats, others: Floats | None) -> tuple[Floats, Floats]:
        channels = values.shape[1]
        sums, products = np.empty(channels, np.float32), np.empty(channels, np.float32)
        other = _NO_ROWS if others is None else others
        self._threads.run(
            channels,
            lambda a, b: vector.channel_sums(
                values,
                other,
                others is not None,
                self._config.vector.partials_of(channels),
                a,
                b,
                sums,
                products,
            ),
        )
        return sums, products

    def _loss(self, run: _Run, labels: Ints, logits: Floats, program: LearnProgram) -> None:
        recipe, network = program.recipe, self._network
        timesteps = recipe.timesteps
        samples, classes = logits.shape
        terms = program.batch * (classes if recipe.loss == "mse" else 1)
        scale = np.float32((2.0 if recipe.loss == "mse" else 1.0) * self.loss_scale / terms)
        run.du = np.empty((samples, timesteps, classes), np.float32)
        vector.loss_gradient(
            run.sums, network.is_constant(network.stages[-1]), timesteps, labels, recipe.readout == "membrane",
            np.float32(recipe.readout_leak), recipe.loss == "mse", scale, self._operand_form, logits, run.du,
        )  # fmt: skip
        run.dx = run.du.reshape(samples * timesteps, classes)
        if network.is_constant(network.stages[-1]):
            run.dx = self._time_sums(run.du).reshape(samples, classes)

    # ----------------------------------------------------------------------------------------------------- backward

    def _neuron_gradients(self, index: int, runs: list[_Run], sums: dict[str, Floats]) -> None:
        """Work out ``du`` at a stage's sums, and ``dx`` at its synapses."""
        stage, run = self._network.stages[index], runs[index]
        network = self._network
        shape = stage.out_shape
        samples, timesteps = self._extent(index, runs)
        g = np.empty((samples * timesteps, *shape), np.float32)
        is_first = True
        for user, port in network.consumers(index):
            target, pool = runs[user], network.stages[user].pool if port == "input" else 1
            if port == "input":
                source = target.input_gradient.reshape(
                    -1, *network.pooled_shape(network.stages[user])
                )
            else:
                source = target.du.reshape(-1, *shape)
            self._threads.run(
                len(g),
                lambda a, b, s=source, p=pool, f=is_first: vector.add_pooled(g, s, p, f, a, b),
            )
            is_first = False
        if is_first:
            g[:] = 0.0
        flat = g.reshape(samples, timesteps, -1)
        if stage.neuron is None:
            run.du = round_array(flat, self._operands, self._threads)
        else:
            n = stage.neuron
            threshold, half, leak, height = (
                np.float32(v) for v in (n.threshold, n.half_width, n.leak, n.height)
            )
            run.du = np.empty_like(flat)
            form, du = self._operand_form, run.du
            self._threads.run(
                samples,
                lambda a, b: vector.neuron_backward(
                    flat, run.u, threshold, half, leak, height, form, du, a, b
                ),
            )
        repeats = network.is_constant(stage)
        dx = self._time_sums(run.du) if repeats else run.du
        run.dx = dx.reshape(-1, shape[2])
        if stage.norm is not None:
            self._norm_gradients(stage, stage.norm, run, self.parameters.vectors[index], sums)

    def _extent(self, index: int, runs: list[_Run]) -> tuple[int, int]:
        """Return the samples and timesteps of the micro-batch."""
        return runs[-1].du.shape[0], runs[-1].du.shape[1]

    def _time_sums(self, du: Floats) -> Floats:
        sums = np.empty((du.shape[0], du.shape[2]), np.float32)
        self._threads.run(
            len(du), lambda a, b: vector.time_sums(du, self._operand_form, sums, a, b)
        )
        return sums

    def _norm_gradients(
        self,
        stage: Stage,
        norm: Norm,
        run: _Run,
        vectors: dict[str, Floats],
        sums: dict[str, Floats],
    ) -> None:
        dx = run.dx = run.dx.copy()
        hats = np.empty_like(run.y)
        self._threads.run(
            len(dx), lambda a, b: vector.norm_hats(run.y, run.mean, run.inverse, hats, a, b)
        )
        totals, products = self._channel_sums(dx, hats)
        scale = np.float32(norm.scale)
        _accumulate(sums, "beta", totals)
        _accumulate(sums, "gamma", products * scale)
        factor = vectors["gamma"] * scale * run.inverse
        if norm.kind == "frozen":
            run.dx = round_array(np.asarray(dx * factor, np.float32), self._operands, self._threads)
            return
        part = np.float32(1.0 / len(dx))
        mean_du, mean_product = totals * part, products * part
        self._threads.run(
            len(dx),
            lambda a, b: vector.norm_backward(
                dx, hats, factor, mean_du, mean_product, self._operand_form, a, b
            ),
        )

    def _bias_gradient(self, index: int, runs: list[_Run], sums: dict[str, Floats]) -> None:
        if self._network.stages[index].bias:
            totals, _ = self._channel_sums(runs[index].dx, None)
            _accumulate(sums, "bias", totals)

    def _inside(self, neuron: Neuron, u: Floats) -> int:
        """Return how many membranes lie in the surrogate's window."""
        threshold, half = np.float32(neuron.threshold), np.float32(neuron.half_width)
        found = np.zeros(len(u), np.int64)
        self._threads.run(len(u), lambda a, b: vector.count_inside(u, threshold, half, found, a, b))
        return int(found.sum())

    def _wanted(self, runs: list[_Run], index: int) -> Bytes:
        """Return which input gradients of a stage its sources' masks let through: (frames, positions, channels)."""
        stage = self._network.stages[index]
        flags: Bytes | None = None
        for source in stage.sources:
            origin = self._network.stages[source]
            assert origin.neuron is not None
            u = runs[source].u.reshape(-1, *origin.out_shape)
            if flags is None:
                flags = np.empty((len(u), *self._network.pooled_shape(stage)), np.uint8)
            threshold, half = (
                np.float32(origin.neuron.threshold),
                np.float32(origin.neuron.half_width),
            )
            adds, into = source != stage.sources[0], flags
            self._threads.run(
                len(u),
                lambda a, b, v=u, t=threshold, h=half, m=into, k=adds: vector.wanted_gradients(
                    v, t, h, stage.pool, m, k, a, b
                ),
            )
        assert flags is not None
        return flags.reshape(len(flags), stage.in_positions, stage.in_shape[2])

    # ---------------------------------------------------------------------------------------------------- optimiser

    def _unscale(self, stage: Stage) -> float:
        planes = self._network.planes(stage)
        return self._network.input_scale(stage) * 2.0 ** (planes - 1) / self.loss_scale

    def _overflowed(self, gradients: list[Floats], vectors: list[dict[str, Floats]]) -> str | None:
        for stage, gradient, sums in zip(self._network.stages, gradients, vectors, strict=True):
            if not all(np.isfinite(values).all() for values in (gradient, *sums.values())):
                return stage.name
        return None

    def _optimise(
        self, gradients: list[Floats], vectors: list[dict[str, Floats]], rate: float
    ) -> None:
        recipe, parameters = self.program.recipe, self.parameters
        decay, keep, step = (np.float32(v) for v in (recipe.weight_decay, recipe.momentum, rate))
        for index, stage in enumerate(self._network.stages):
            moved = [
                (
                    parameters.weights[index],
                    parameters.weight_momentum[index],
                    gradients[index],
                    self._unscale(stage),
                )
            ]
            moved += [
                (parameters.vectors[index][n], parameters.vector_momentum[index][n], vectors[index][n],
                1.0 / self.loss_scale)
                for n in TRAINED_VECTORS
                if n in parameters.vectors[index]
            ]  # fmt: skip
            for weight, momentum, gradient, unscale in moved:
                flat, state, change = weight.reshape(-1), momentum.reshape(-1), gradient.reshape(-1)
                factor = np.float32(unscale)
                self._threads.run(
                    flat.size,
                    lambda a, b, w=flat, m=state, g=change, u=factor: vector.momentum_update(
                        w, m, g, u, decay, keep, step, a, b
                    ),
                )


def _accumulate(sums: dict[str, Floats], name: str, values: Floats) -> None:
    """Add to a sum over micro-batches, in their order."""
    sums[name] = sums[name] + values if name in sums else values


def loss_of(logits: Floats, labels: Ints, kind: str) -> float:
    """Return the mean loss of logits (samples, classes), in float64; what is reported, no part of the arithmetic."""
    values = logits.astype(np.float64)
    if kind == "mse":
        target = np.zeros_like(values)
        target[np.arange(len(labels)), labels] = 1.0
        return float(np.mean((values - target) ** 2))
    largest = values.max(axis=1, keepdims=True)
    log_sums = np.log(np.exp(values - largest).sum(axis=1)) + largest[:, 0]
    return float(np.mean(log_sums - values[np.arange(len(labels)), labels]))
