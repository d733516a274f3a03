"""What `train` is given, made into what the engines take: networks by name or file, data, chips."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from .chip.config import ChipConfig, load_config
from .chip.learn_network import LearnNetwork, Norm, Parameters, Recipe, initial_parameters
from .compiler.conventions import resolve
from .compiler.learn_nir import Surrogate, import_learn_network, save_learn_network
from .compiler.nir_file import read_nir
from .data import load_arrays
from .errors import InputError
from .models.datasets import load_fashion_mnist, load_mnist
from .models.learn_zoo import LEARN_ZOO, build_learn_network
from .training import Epoch, LearnData, Options, Progress, Training, prepare_data, train_network

NORMS = ("none", "batch", "frozen")


@dataclass(frozen=True)
class Task:
    """All that a training needs: what, from where, how, on which chip."""

    network: LearnNetwork
    parameters: Parameters
    recipe: Recipe
    chip: ChipConfig
    data: LearnData
    test: LearnData | None
    notes: tuple[str, ...]


def load_task(
    network: str | Path,
    data: str | Path | dict[str, NDArray[Any]] | None = None,
    *,
    test: str | Path | dict[str, NDArray[Any]] | None = None,
    chip: str | Path | ChipConfig = "h2learn",
    norm: str | None = None,
    accumulators: str | None = None,
    samples: int | None = None,
    keep_weights: bool = False,
    convention: str = "auto",
    dt: float | None = None,
    reset: str | None = None,
    reset_timing: str | None = None,
    compare: str | None = None,
    seed: int = 0,
    recipe: dict[str, Any] | None = None,
) -> Task:
    """Bring together what is to be trained.

    Parameters
    ----------
    network
        A name of the learning zoo, or a NIR file; its weights are drawn anew by ``seed`` unless ``keep_weights``.
    data, test
        Files or arrays as `prepare_data` takes them. A zoo network has its own where the project ships or finds them.
    chip
        A preset, file or configuration with learning engines.
    norm
        ``none``, ``batch`` or ``frozen`` statistics behind every layer but the readout; a zoo network has a default.
    accumulators
        ``fp32``, ``fp16`` or ``bf16`` instead of the chip's.
    samples
        Use the first so many of the training data.
    convention, dt, reset, reset_timing, compare
        How a file's neurons are to be read.
    recipe
        Fields of `Recipe` that differ from the network's default.

    Raises
    ------
    InputError, NetworkError, LearnError, ConfigError
        Sentences: what is wrong, where, what to do.
    """
    config = chip if isinstance(chip, ChipConfig) else load_config(chip)
    if accumulators not in (None, config.learn.accumulators):
        config = config.replace(learn={"accumulators": accumulators})
    if norm is not None and norm not in NORMS:
        raise InputError(f"norm must be one of {', '.join(NORMS)}, not {norm!r}")
    changes = {key: value for key, value in (recipe or {}).items() if value is not None}
    notes: tuple[str, ...] = ()
    if str(network) in LEARN_ZOO:
        entry = LEARN_ZOO[str(network)]
        stages = build_learn_network(entry.name, cast(Any, norm or "default"))
        chosen = _recipe(entry.recipe, changes)
        parameters = None
        arrays = None if data is not None else _own_data(entry.dataset, "train")
        tests = None if test is not None or data is not None else _own_data(entry.dataset, "test")
    else:
        if not Path(network).is_file():
            raise InputError(
                f"{str(network)!r} is neither a network of the learning zoo ({', '.join(LEARN_ZOO)}) nor a .nir file"
            )
        graph = read_nir(network)
        read, assumed = resolve(
            graph, convention, dt=dt, reset=reset, reset_timing=reset_timing, compare=compare
        )
        kind = _kind(norm or "none")
        imported = import_learn_network(
            graph,
            read,
            norm=None if kind is None else Norm(kind),
            surrogate=Surrogate(),
            name=Path(network).stem,
        )
        stages, notes = imported.network, (*assumed, *imported.notes)
        leak = imported.readout_leak
        chosen = (
            Recipe()
            if leak is None or leak == 0.0
            else Recipe(readout="membrane", readout_leak=leak)
        )
        chosen = _recipe(chosen, changes)
        parameters = imported.parameters if keep_weights else None
        arrays = tests = None
    if data is not None:
        arrays = data if isinstance(data, dict) else load_arrays(data)
    if test is not None:
        tests = test if isinstance(test, dict) else load_arrays(test)
    if arrays is None:
        raise InputError(
            f"there is no data for {network} here; give a .npz with inputs and labels (--data)"
        )
    if samples is not None:
        if samples < 1:
            raise InputError(f"samples must be at least 1, not {samples}")
        arrays = {name: value[:samples] for name, value in arrays.items()}
    where = str(data) if isinstance(data, (str, Path)) else "the data"
    prepared = prepare_data(arrays, stages.input.shape, chosen.timesteps, where=where)
    tested = (
        None
        if tests is None
        else prepare_data(tests, stages.input.shape, chosen.timesteps, where="the test data")
    )
    if tested is not None and tested.format != prepared.format:
        raise InputError(
            "the test data differs from the training data in the range or the kind of its numbers"
        )
    final = LearnNetwork(prepared.format, stages.stages, stages.name)
    return Task(
        final, parameters or initial_parameters(final, seed), chosen, config, prepared, tested, notes
    )  # fmt: skip


def _own_data(dataset: str, split: str) -> dict[str, NDArray[Any]] | None:
    """Return a split of a zoo network's own data; None for data that does not ship."""
    loaders = {"mnist": load_mnist, "fashion_mnist": load_fashion_mnist}
    if dataset not in loaders:
        return None
    found = loaders[dataset](split)
    return {"inputs": found.inputs, "labels": found.labels}


def _kind(norm: str) -> Literal["batch", "frozen"] | None:
    return None if norm == "none" else "batch" if norm == "batch" else "frozen"


def _recipe(recipe: Recipe, changes: dict[str, Any]) -> Recipe:
    made = replace(recipe, **changes)
    for name in ("timesteps", "batch", "micro_batches"):
        if getattr(made, name) < 1:
            raise InputError(f"{name} must be at least 1, not {getattr(made, name)}")
    if made.micro_batches > made.batch:
        raise InputError(
            f"micro_batches must be at most the batch ({made.batch}), not {made.micro_batches}"
        )
    if not made.learning_rate > 0 or not np.isfinite(made.learning_rate):
        raise InputError(f"learning_rate must be a positive number, not {made.learning_rate}")
    if not (0 <= made.momentum < 1 and made.weight_decay >= 0):
        raise InputError(
            "momentum must be within 0..1 (not 1), and weight_decay must not be negative"
        )
    if made.loss_scale <= 0 or np.frexp(made.loss_scale)[0] != 0.5:
        raise InputError(f"loss_scale must be a power of two, not {made.loss_scale}")
    if made.readout not in ("mean", "membrane") or made.loss not in ("cross_entropy", "mse"):
        raise InputError("readout must be mean or membrane, and loss cross_entropy or mse")
    return made


def train(
    network: str | Path,
    data: str | Path | dict[str, NDArray[Any]] | None = None,
    *,
    epochs: int = 10,
    schedule: str = "cosine",
    seed: int = 0,
    out: str | Path | None = None,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    threads: int | None = None,
    progress: Callable[[Progress], None] | None = None,
    after_epoch: Callable[[Epoch], None] | None = None,
    **options: Any,
) -> Training:
    """Train a network on the simulated learning engines; `load_task` tells the other options.

    Parameters
    ----------
    epochs, schedule, seed
        Passes over the data; the learning rate's course (`training.Options`); of weights and of the samples' order.
    out
        A .nir file to write the trained network to, for `compile`.
    checkpoint, resume, threads, progress, after_epoch
        As in `training.train_network`.

    Raises
    ------
    InputError, NetworkError, LearnError, ConfigError, StoppedError
        Sentences: what is wrong, where, what to do.
    """
    task = load_task(network, data, seed=seed, **options)
    training = train_network(
        task.network, task.parameters, task.data, task.recipe, task.chip,
        options=Options(epochs, schedule, seed), test=task.test, checkpoint=checkpoint, resume=resume, threads=threads,
        progress=progress, after_epoch=after_epoch,
    )  # fmt: skip
    if out is not None:
        save(training, out)
    return training


def save(training: Training, path: str | Path) -> None:
    """Write the trained network as a NIR file."""
    recipe = training.recipe
    leak = recipe.readout_leak if recipe.readout == "membrane" else None
    save_learn_network(training.network, training.parameters, path, leak)


__all__ = ["NORMS", "Task", "load_task", "save", "train"]
