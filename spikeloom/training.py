"""`train`: a network trained on the simulated learning engines, with checkpoints that go on bit for bit."""

from __future__ import annotations

import hashlib
import json
import math
import os
import signal
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import asdict, dataclass, field, fields, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .chip.config import ChipConfig
from .chip.learn_network import (
    Floats,
    InputFormat,
    LearnError,
    LearnNetwork,
    Parameters,
    Recipe,
    initial_parameters,
)
from .chip.learn_program import LearnProgram
from .compiler.learn_tasks import learn_tasks
from .compiling import resolve_chip
from .data import check_finite, load_arrays
from .errors import InputError, StoppedError
from .reports.costs import CostError, tables_of
from .reports.learn_area import estimate_learn_area, load_learn_tables
from .reports.learn_counts import StepCounts, count_step
from .reports.learn_energy import learn_energy
from .reports.learn_totals import Totals
from .sim.engines.training import StepResult, TrainingMachine

Ints = NDArray[np.int64]
Bytes = NDArray[np.uint8]
_CHECKPOINT_VERSION = 2
_SMALLEST_SCALE = 2.0**-14


class DivergedError(LearnError):
    """Training whose numbers have left what the formats hold."""


@dataclass(frozen=True)
class LearnData:
    """Inputs (samples, timesteps or 1, rows, columns, channels) uint8, integers of ``format``; labels (samples,)."""

    inputs: Bytes
    labels: Ints
    format: InputFormat

    @property
    def sha256(self) -> str:
        """Sixteen digits that identify the data."""
        digest = hashlib.sha256(self.inputs.tobytes())
        digest.update(self.labels.tobytes())
        return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Options:
    """How long and at which rate to train, beside the recipe of a step.

    ``schedule`` is ``constant``, ``cosine`` (down to 0), or ``step:A,B`` (a tenth from epoch A, a hundredth from B on).
    ``costs`` is a cost table of one's own over ours of the chip's node: docs/costs.md.
    """

    epochs: int = 10
    schedule: str = "cosine"
    seed: int = 0
    costs: str | Path | None = None


@dataclass(frozen=True)
class Epoch:
    """One pass over the data: mean loss and accuracy on the way, test accuracy at its end, simulated time and energy.

    ``energy_j`` is None on a chip for whose technology there is no cost table.
    """

    epoch: int
    loss: float
    accuracy: float
    test_accuracy: float | None
    steps: int
    skipped_steps: int
    cycles: int
    simulated_s: float
    energy_j: float | None
    wall_s: float
    spike_rate: dict[str, float]
    mask_density: dict[str, float]
    gradient_density: dict[str, float]


@dataclass
class Training:
    """A network after training, and how it went.

    ``totals`` are the counts of all steps, also of those before a break. ``backward`` are the cycles of each task of
    the backward engine in the last step of a whole batch.
    """

    network: LearnNetwork
    parameters: Parameters
    recipe: Recipe
    chip: ChipConfig
    options: Options
    data_sha256: str
    epochs: list[Epoch] = field(default_factory=list)
    totals: Totals = field(default_factory=Totals)
    backward: list[int] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return {
            "network": self.network.name,
            "chip": self.chip.name,
            "config_hash": self.chip.config_hash,
            "recipe": asdict(self.recipe),
            "epochs": [asdict(epoch) for epoch in self.epochs],
        }


@dataclass(frozen=True)
class Progress:
    """Where training stands after a step; losses and accuracies are those of the epoch so far."""

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    accuracy: float
    simulated_s: float
    energy_j: float | None


def prepare_data(
    arrays: dict[str, NDArray[Any]], shape: tuple[int, int, int], timesteps: int, *, bits: int = 8,
    where: str = "the data",
) -> LearnData:  # fmt: skip
    """Bring data to the engines' integers.

    Parameters
    ----------
    arrays
        ``inputs``: (samples, *shape) for the same input in every timestep, or (samples, timesteps, *shape); the axes of
        one timestep as the network file has them: (channels, rows, columns), (rows, columns) or flat. uint8 images are
        taken as they are, 255 being 1; binary values as spikes; other numbers in ``bits`` bits. ``labels``: (samples,).
    shape
        Rows, columns, channels of the network's input.

    Raises
    ------
    InputError
        Missing arrays, shapes or types that do not fit, numbers that are not finite, no samples,
        labels that do not fit.
    """
    for name in ("inputs", "labels"):
        if name not in arrays:
            raise InputError(
                f"{where} holds no array {name!r}, only {', '.join(sorted(arrays)) or 'nothing'}"
            )
    inputs, labels = arrays["inputs"], arrays["labels"]
    if inputs.dtype.kind not in "buif" or inputs.size == 0 or inputs.ndim < 2:
        raise InputError(
            f"{where}: inputs must hold numbers of at least one sample, not {inputs.dtype} {inputs.shape}"
        )
    check_finite(inputs, "inputs", where)
    if labels.shape != (len(inputs),) or labels.dtype.kind not in "iu":
        raise InputError(
            f"{where}: labels must be ({len(inputs)},) whole numbers, not {labels.dtype} {labels.shape}"
        )
    rows, columns, channels = shape
    size = prod(shape)
    per_sample = inputs.size // len(inputs)
    if per_sample not in (size, size * timesteps):
        raise InputError(
            f"{where}: a sample of shape {inputs.shape[1:]} is neither one input {(channels, rows, columns)} nor "
            f"{timesteps} timesteps of it"
        )
    constant = per_sample == size
    ordered = inputs.reshape(len(inputs), -1, channels, rows, columns).transpose(0, 1, 3, 4, 2)
    integers, found = _quantised(ordered, bits)
    layout = InputFormat(shape, constant=constant, **found)
    return LearnData(np.ascontiguousarray(integers), labels.astype(np.int64), layout)


def _quantised(values: NDArray[Any], bits: int) -> tuple[Bytes, dict[str, Any]]:
    if values.dtype == np.uint8 and values.max() > 1:
        return values, {"bits": 8, "signed": False, "scale": 1.0 / 255.0}
    low, high = float(values.min()), float(values.max())
    if values.dtype.kind == "b" or (low >= 0 and np.array_equal(values, values.astype(bool))):
        return values.astype(np.uint8), {"bits": 1, "signed": False, "scale": 1.0}
    signed = low < 0
    top = (1 << (bits - signed)) - 1
    scale = max(abs(low), abs(high)) / top
    words = np.rint(values / scale).astype(np.int64) & ((1 << bits) - 1)
    return words.astype(np.uint8), {"bits": bits, "signed": signed, "scale": scale}


def check_labels(data: LearnData, classes: int, where: str) -> None:
    """Raise InputError if a label is out of range."""
    wrong = np.flatnonzero((data.labels < 0) | (data.labels >= classes))
    if len(wrong):
        raise InputError(
            f"{where}: label {int(data.labels[wrong[0]])} of sample {int(wrong[0])} is out of range; the network has "
            f"{classes} classes, 0..{classes - 1}"
        )


def train_network(
    network: LearnNetwork,
    parameters: Parameters,
    data: LearnData,
    recipe: Recipe,
    chip: str | Path | ChipConfig = "h2learn",
    *,
    options: Options | None = None,
    test: LearnData | None = None,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    threads: int | None = None,
    progress: Callable[[Progress], None] | None = None,
    after_epoch: Callable[[Epoch], None] | None = None,
) -> Training:
    """Train on the simulated engines; ``parameters`` are moved in place.

    Parameters
    ----------
    network, parameters, recipe
        What is trained, from where, and the arithmetic of a step.
    data, test
        Samples to learn from; samples whose accuracy is measured after each epoch.
    chip
        A preset's name, a YAML file, or a configuration, with learning engines.
    options
        Epochs, schedule, seed.
    checkpoint, resume
        A file that is written after each epoch and when training is interrupted (Ctrl-C ends at the step's end); with
        ``resume`` training goes on from it, with the same weights as without the break.
    threads
        Neither weights nor cycles depend on it.
    progress, after_epoch
        Called after each step and each epoch.

    Raises
    ------
    InputError, LearnError, ConfigError
        Sentences about what does not fit.
    DivergedError
        The loss is no number any more; the checkpoint holds the last good epoch.
    StoppedError
        Interrupted; the checkpoint, if any, is written.
    """
    options = options or Options()
    config = resolve_chip(chip)
    if options.epochs < 1:
        raise InputError(f"epochs must be at least 1, not {options.epochs}")
    check_labels(data, network.classes, "the training data")
    if test is not None:
        check_labels(test, network.classes, "the test data")
    count = len(data.labels)
    if recipe.batch > count:
        raise InputError(f"a batch of {recipe.batch} needs as many samples; the data has {count}")
    programs = {recipe.batch: learn_tasks(config, network, recipe)}
    if count % recipe.batch:
        programs[count % recipe.batch] = learn_tasks(config, network, recipe, count % recipe.batch)
    rates = _Schedule(options, recipe, -(-count // recipe.batch))
    machine = TrainingMachine(programs[recipe.batch], parameters, threads=threads)
    run = Training(network, parameters, recipe, config, options, data.sha256)
    state = _State(loss_scale=recipe.loss_scale)
    prices = _Prices(config, options.costs)
    key = _fingerprint(network, recipe, config, options, data, test)
    if resume:
        if checkpoint is None:
            raise InputError("to resume, say from which checkpoint")
        state = _load_checkpoint(Path(checkpoint), key, parameters)
        run.epochs = [Epoch(**epoch) for epoch in state.epochs]
        machine.loss_scale = state.loss_scale
    with _interruptible() as interrupted:
        for epoch in range(state.epoch, options.epochs):
            order = np.random.default_rng([options.seed, epoch]).permutation(count)
            started = time.perf_counter() - state.wall_s
            for step in range(state.step, rates.steps):
                chosen = order[step * recipe.batch : (step + 1) * recipe.batch]
                result = machine.step(
                    data.inputs[chosen], data.labels[chosen], program=programs[len(chosen)],
                    learning_rate=rates.at(epoch, step),
                )  # fmt: skip
                _check_divergence(result, machine.loss_scale, epoch, step)
                program = programs[len(chosen)]
                counts = count_step(program, result.backward, result.timeline)
                state.add(result, counts, prices.of(counts))
                if len(chosen) == recipe.batch:
                    state.backward = [work.cycles for work in result.backward]
                if progress is not None:
                    progress(
                        Progress(
                            epoch, options.epochs, step + 1, rates.steps, state.loss / state.samples,
                            state.correct / state.samples, state.cycles / config.clock_hz, state.energy_j,
                        )
                    )  # fmt: skip
                if interrupted.is_set() and (epoch, step + 1) != (options.epochs, rates.steps):
                    state.epoch, state.step = epoch, step + 1
                    state.loss_scale, state.wall_s = (
                        machine.loss_scale,
                        time.perf_counter() - started,
                    )
                    raise _stopped(checkpoint, state, key, parameters)
            summary = state.summary(
                network, epoch, rates.steps, config.clock_hz, time.perf_counter() - started,
                None if test is None else accuracy(machine, test),
            )  # fmt: skip
            run.epochs.append(summary)
            state = _State(
                loss_scale=machine.loss_scale,
                epoch=epoch + 1,
                epochs=[asdict(item) for item in run.epochs],
                totals=state.totals,
                backward=state.backward,
            )
            if checkpoint is not None:
                _save_checkpoint(Path(checkpoint), state, key, parameters)
            if after_epoch is not None:
                after_epoch(summary)
    run.totals, run.backward = state.totals, state.backward
    return run


def rates_of(options: Options, recipe: Recipe, samples: int) -> list[float]:
    """Return the learning rate of every step of a training on so many samples."""
    schedule = _Schedule(options, recipe, -(-samples // recipe.batch))
    return [
        schedule.at(epoch, step)
        for epoch in range(options.epochs)
        for step in range(schedule.steps)
    ]


def accuracy(machine: TrainingMachine, data: LearnData) -> float:
    """Return the share of samples that the network, as it stands on the engines, gets right."""
    size = machine.program.batch
    right = 0
    for first in range(0, len(data.labels), size):
        logits = machine.infer(data.inputs[first : first + size])
        right += int(np.count_nonzero(logits.argmax(axis=1) == data.labels[first : first + size]))
    return right / len(data.labels)


@dataclass
class _State:
    """Where training stands within an epoch."""

    loss_scale: float
    epoch: int = 0
    step: int = 0
    samples: int = 0
    correct: int = 0
    loss: float = 0.0
    cycles: int = 0
    energy_j: float | None = 0.0
    skipped: int = 0
    wall_s: float = 0.0
    densities: list[list[float]] = field(default_factory=list)
    epochs: list[dict[str, Any]] = field(default_factory=list)
    totals: Totals = field(default_factory=Totals)  # of all epochs
    backward: list[int] = field(default_factory=list)

    def add(self, result: StepResult, counts: StepCounts, energy_j: float | None) -> None:
        samples = counts.batch
        self.totals.add(counts)
        self.samples += samples
        self.correct += result.correct
        self.loss += result.loss * samples
        self.cycles += result.cycles
        self.energy_j = (
            None if self.energy_j is None or energy_j is None else self.energy_j + energy_j
        )
        self.skipped += result.skipped is not None
        found = (result.spike_rate, result.mask_density, result.gradient_density)
        before = self.densities or [[0.0] * len(row) for row in found]
        self.densities = [
            [total + value * samples for total, value in zip(old, new, strict=True)]
            for old, new in zip(before, found, strict=True)
        ]

    def summary(
        self,
        network: LearnNetwork,
        epoch: int,
        steps: int,
        clock_hz: float,
        wall_s: float,
        test: float | None,
    ) -> Epoch:
        rates, masks, gradients = (
            {
                stage.name: total / self.samples
                for stage, total in zip(network.stages, row, strict=True)
                if not math.isnan(total)
            }
            for row in self.densities
        )
        return Epoch(
            epoch=epoch, loss=self.loss / self.samples, accuracy=self.correct / self.samples,
            test_accuracy=test, steps=steps,
            skipped_steps=self.skipped, cycles=self.cycles, simulated_s=self.cycles / clock_hz,
            energy_j=self.energy_j, wall_s=wall_s,
            spike_rate=rates, mask_density=masks, gradient_density=gradients,
        )  # fmt: skip


class _Schedule:
    """The learning rate of every step."""

    def __init__(self, options: Options, recipe: Recipe, steps: int) -> None:
        self.steps, self._total, self._rate = steps, steps * options.epochs, recipe.learning_rate
        kind, _, numbers = options.schedule.partition(":")
        self._drops: list[int] = []
        if kind == "step":
            try:
                self._drops = [int(number) for number in numbers.split(",")]
            except ValueError:
                kind = ""
        if kind not in ("constant", "cosine", "step") or (numbers and kind != "step"):
            raise InputError(
                f"schedule must be constant, cosine, or step:A,B with whole epochs A, B, not {options.schedule!r}"
            )
        self._kind = kind

    def at(self, epoch: int, step: int) -> float:
        if self._kind == "cosine":
            return (
                self._rate
                * 0.5
                * (1.0 + math.cos(math.pi * (epoch * self.steps + step) / self._total))
            )
        return self._rate * 0.1 ** sum(epoch >= drop for drop in self._drops)


class _Prices:
    """Energy of steps on one chip."""

    def __init__(self, config: ChipConfig, costs: str | Path | None) -> None:
        self._config = config
        try:
            self._tables = load_learn_tables(tables_of(config, costs))
        except CostError:
            if costs is not None:
                raise
            self._tables = None
            return
        self._area = estimate_learn_area(config, self._tables)

    def of(self, counts: StepCounts) -> float | None:
        """Return the joules of a step, None without a cost table."""
        if self._tables is None:
            return None
        return learn_energy(self._config, counts, self._tables, self._area).total


def _check_divergence(result: StepResult, loss_scale: float, epoch: int, step: int) -> None:
    if result.overflowed is not None:
        raise DivergedError(
            f"the loss is no number any more, in epoch {epoch}, step {step}: the sums of layer {result.overflowed} "
            f"overflowed; train at a lower learning rate"
        )
    if loss_scale < _SMALLEST_SCALE:
        raise DivergedError(
            f"gradients of layer {result.skipped} overflow at every loss scale, in epoch {epoch}, step {step}; "
            f"train at a lower learning rate"
        )


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C into an event, so that a step is never left half done; the second one ends at once."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    before = signal.getsignal(signal.SIGINT)

    def stop(number: int, frame: Any) -> None:
        event.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, stop)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, before)


def _stopped(
    checkpoint: str | Path | None, state: _State, key: str, parameters: Parameters
) -> StoppedError:
    where = f"epoch {state.epoch}, step {state.step}"
    if checkpoint is None:
        return StoppedError(
            f"stopped in {where}; nothing was kept, since no --checkpoint was given"
        )
    _save_checkpoint(Path(checkpoint), state, key, parameters)
    return StoppedError(f"stopped in {where}; go on with --resume --checkpoint {checkpoint}")


# --------------------------------------------------------------------------------------------------------- checkpoints


def _fingerprint(
    network: LearnNetwork,
    recipe: Recipe,
    config: ChipConfig,
    options: Options,
    data: LearnData,
    test: LearnData | None,
) -> str:
    parts = {
        "network": asdict(network),
        "recipe": asdict(recipe),
        "config": config.config_hash,
        "options": asdict(replace(options, costs=None)) | {"costs": _costs_hash(config, options)},
        "data": data.sha256,
        "test": None if test is None else test.sha256,
    }
    text = json.dumps(parts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _costs_hash(config: ChipConfig, options: Options) -> str | None:
    """Return what tells cost tables apart: energies of epochs must not be of two. None where there is no table."""
    try:
        tables = load_learn_tables(tables_of(config, options.costs))
    except CostError:
        if options.costs is not None:
            raise
        return None
    return " ".join(table.table_hash for table in (tables.learn, tables.area, tables.many_core))


def _arrays(parameters: Parameters) -> dict[str, Floats]:
    """Return every array of the parameters under a name of its own."""
    found: dict[str, Floats] = {}
    for index in range(len(parameters.weights)):
        found[f"weights.{index}"] = parameters.weights[index]
        found[f"weight_momentum.{index}"] = parameters.weight_momentum[index]
        found |= {
            f"vectors.{index}.{name}": value for name, value in parameters.vectors[index].items()
        }
        found |= {
            f"vector_momentum.{index}.{name}": value
            for name, value in parameters.vector_momentum[index].items()
        }
    return found


def _save_checkpoint(path: Path, state: _State, key: str, parameters: Parameters) -> None:
    """Write all at once: a temporary file beside the checkpoint is renamed when it is complete."""
    own = {item.name: getattr(state, item.name) for item in fields(state)}
    own["totals"] = state.totals.to_dict()
    manifest = {"version": _CHECKPOINT_VERSION, "key": key, "state": own}
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            text = np.frombuffer(json.dumps(manifest).encode(), np.uint8)
            np.savez(file, manifest=text, **_arrays(parameters))  # pyright: ignore[reportArgumentType]
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _load_checkpoint(path: Path, key: str, parameters: Parameters) -> _State:
    """Read a checkpoint into ``parameters``, or leave them as they are."""
    loaded = load_arrays(path)
    try:
        manifest = json.loads(loaded.pop("manifest").tobytes())
        version, found, state = manifest["version"], manifest["key"], manifest["state"]
    except (KeyError, ValueError, TypeError, zipfile.BadZipFile):
        raise InputError(f"{path} is no checkpoint of a training") from None
    if version != _CHECKPOINT_VERSION:
        raise InputError(
            f"{path} is a checkpoint of version {version}; this spikeloom reads {_CHECKPOINT_VERSION}"
        )
    if found != key:
        raise InputError(
            f"{path} belongs to another training: network, recipe, chip, data, epochs, schedule, seed and costs must "
            "be as they were"
        )
    own = _arrays(parameters)
    if set(own) != set(loaded) or any(own[name].shape != loaded[name].shape for name in own):
        raise InputError(f"{path} does not hold this network's weights")
    for name, value in own.items():
        value[:] = loaded[name]
    return _State(**state | {"totals": Totals.from_dict(state["totals"])})


# ------------------------------------------------------------------------------------------------------------ one step


def train_step(
    network: LearnNetwork,
    inputs: NDArray[Any],
    labels: NDArray[np.integer],
    recipe: Recipe,
    chip: str | Path | ChipConfig = "h2learn",
    *,
    parameters: Parameters | None = None,
    seed: int = 0,
    threads: int | None = None,
    keep_gradients: bool = False,
    keep_spikes: bool = False,
) -> tuple[StepResult, Parameters, LearnProgram]:
    """Run one training step on the engines, to be laid beside another framework's.

    Parameters
    ----------
    inputs, labels
        A batch as in `prepare_data`: (samples, *shape), or (samples, timesteps, *shape).
    parameters
        Weights to start from, not changed; drawn by ``seed`` if there are none.
    keep_gradients, keep_spikes
        Also return every layer's weight gradients, and spikes.

    Returns
    -------
    result, parameters, program
        Loss, cycles, densities and what was asked for; the parameters after the step; the tasks behind the cycles.

    Raises
    ------
    InputError, LearnError, ConfigError
        Sentences about what does not fit.
    """
    config = resolve_chip(chip)
    data = prepare_data(
        {"inputs": inputs, "labels": np.asarray(labels)}, network.input.shape, recipe.timesteps
    )
    network = LearnNetwork(data.format, network.stages, network.name)
    check_labels(data, network.classes, "the batch")
    start = initial_parameters(network, seed) if parameters is None else parameters
    moved = deepcopy(start)
    program = learn_tasks(config, network, recipe, len(data.labels))
    machine = TrainingMachine(program, moved, threads=threads)
    result = machine.step(
        data.inputs,
        data.labels,
        program=program,
        keep_gradients=keep_gradients,
        keep_spikes=keep_spikes,
    )
    return result, moved, program


__all__ = [
    "DivergedError", "Epoch", "LearnData", "Options", "Progress", "Training", "accuracy", "check_labels",
    "prepare_data", "rates_of", "train_network", "train_step",
]  # fmt: skip
