"""What `train` is given, made into what the engines take: networks by name or file, data, chips."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from .ablations import Ablations, GpuRow, PricedStep, ablations, against_gpu, price_step
from .chip.config import ChipConfig
from .chip.learn_network import LearnNetwork, Norm, Parameters, Recipe, initial_parameters
from .chip.learn_program import LearnProgram
from .chip.learn_program_file import save_learn_program
from .compiler.conventions import resolve
from .compiler.learn_nir import import_learn_network, save_learn_network
from .compiler.learn_tasks import learn_tasks
from .compiler.nir_file import read_nir
from .compiling import resolve_chip
from .data import load_arrays
from .errors import InputError
from .models.datasets import load_fashion_mnist, load_mnist
from .models.learn_zoo import LEARN_ZOO, build_learn_network
from .reports.costs import tables_of
from .reports.learn_area import load_learn_tables
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
    biases: bool = True,
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
    biases
        Whether layers keep their biases; the RTL carries none.
    convention, dt, reset, reset_timing, compare
        How a file's neurons are to be read.
    recipe
        Fields of `Recipe` that differ from the network's default.

    Raises
    ------
    InputError, NetworkError, LearnError, ConfigError
        Sentences: what is wrong, where, what to do.
    """
    config = _learning_chip(chip, accumulators)
    found = _load_network(network, norm, recipe, convention, dt, reset, reset_timing, compare)
    arrays = tests = None
    if data is not None:
        arrays = data if isinstance(data, dict) else load_arrays(data)
    elif found.dataset is not None:
        arrays = _own_data(found.dataset, "train")
        tests = _own_data(found.dataset, "test") if arrays is not None else None
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
    shape, timesteps = found.network.input.shape, found.recipe.timesteps
    prepared = prepare_data(arrays, shape, timesteps, where=where)
    tested = None if tests is None else prepare_data(tests, shape, timesteps, where="the test data")
    if tested is not None and tested.format != prepared.format:
        raise InputError(
            "the test data differs from the training data in the range or the kind of its numbers"
        )
    final = LearnNetwork(prepared.format, found.network.stages, found.network.name)
    parameters = (
        found.parameters if keep_weights and found.parameters else initial_parameters(final, seed)
    )
    if not biases:
        stages = tuple(replace(stage, bias=False) for stage in final.stages)
        final = LearnNetwork(final.input, stages, final.name)
        vectors = [{k: v for k, v in of.items() if k != "bias"} for of in parameters.vectors]
        parameters = Parameters(parameters.weights, vectors)
    return Task(final, parameters, found.recipe, config, prepared, tested, found.notes)


@dataclass(frozen=True)
class _Found:
    """A network by name or file: what it is, its recipe, its own weights and data if it has any."""

    network: LearnNetwork
    recipe: Recipe
    parameters: Parameters | None
    dataset: str | None
    notes: tuple[str, ...]


def _learning_chip(chip: str | Path | ChipConfig, accumulators: str | None) -> ChipConfig:
    config = resolve_chip(chip)
    if accumulators in (None, config.learn.accumulators):
        return config
    return config.replace(learn={"accumulators": accumulators})


def _load_network(
    network: str | Path, norm: str | None, recipe: dict[str, Any] | None, convention: str, dt: float | None,
    reset: str | None, reset_timing: str | None, compare: str | None,
) -> _Found:  # fmt: skip
    if norm is not None and norm not in NORMS:
        raise InputError(f"norm must be one of {', '.join(NORMS)}, not {norm!r}")
    changes = {key: value for key, value in (recipe or {}).items() if value is not None}
    if str(network) in LEARN_ZOO:
        entry = LEARN_ZOO[str(network)]
        built = build_learn_network(entry.name, cast(Any, norm or "default"))
        return _Found(built, _recipe(entry.recipe, changes), None, entry.dataset, ())
    if not Path(network).is_file():
        raise InputError(
            f"{str(network)!r} is neither a network of the learning zoo ({', '.join(LEARN_ZOO)}) nor a .nir file"
        )
    graph = read_nir(network)
    read, assumed = resolve(
        graph, convention, dt=dt, reset=reset, reset_timing=reset_timing, compare=compare
    )
    imported = import_learn_network(
        graph,
        read,
        norm=None if norm in (None, "none") else Norm(cast(Any, norm)),
        name=Path(network).stem,
    )
    leak = imported.readout_leak
    default = (
        Recipe() if leak is None or leak == 0.0 else Recipe(readout="membrane", readout_leak=leak)
    )
    return _Found(
        imported.network,
        _recipe(default, changes),
        imported.parameters,
        None,
        (*assumed, *imported.notes),
    )


def dry_run(
    network: str | Path,
    *,
    chip: str | Path | ChipConfig = "h2learn",
    norm: str | None = None,
    accumulators: str | None = None,
    gradient_density: float | None = None,
    mask_density: float = 0.34,
    convention: str = "auto",
    dt: float | None = None,
    reset: str | None = None,
    reset_timing: str | None = None,
    compare: str | None = None,
    recipe: dict[str, Any] | None = None,
    costs: str | Path | None = None,
    seed: int = 0,
) -> PricedStep:
    """Price one training step that is not run: cycles, events, energy; for networks too large to train here.

    Parameters
    ----------
    gradient_density
        Share of nonzero gradients; .4 by default, and 1 where norms take the batch's statistics, which make them
        dense. Measured on a network of this kind: docs/learn_reports.md.
    mask_density
        Share of neurons inside the surrogate's window.
    costs
        A cost table of one's own over ours of the chip's node: docs/costs.md.
    seed
        Of the random gradients and masks that stand for real ones.

    Raises
    ------
    InputError, NetworkError, LearnError, ConfigError, CostError
        Sentences: what is wrong, where, what to do.
    """
    config = _learning_chip(chip, accumulators)
    found = _load_network(network, norm, recipe, convention, dt, reset, reset_timing, compare)
    tables = load_learn_tables(tables_of(config, costs))
    program = learn_tasks(config, found.network, found.recipe)
    densities = _densities(found.network, gradient_density)
    return price_step(program, densities, mask_density, seed=seed, tables=tables)


def _densities(network: LearnNetwork, given: float | None) -> list[float]:
    """Return a density of gradients for each stage: as given, or what such networks show."""
    if given is not None:
        return [given] * len(network.stages)
    return [1.0 if s.norm is not None and s.norm.kind == "batch" else 0.4 for s in network.stages]


def compare(
    network: str | Path,
    *,
    chip: str | Path | ChipConfig = "h2learn",
    norm: str | None = None,
    recipe: dict[str, Any] | None = None,
    spike_density: float = 0.4,
    gradient_density: float | None = None,
    mask_density: float = 0.34,
    convention: str = "nir",
    costs: str | Path | None = None,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> tuple[Ablations, tuple[GpuRow, ...]]:
    """Work out what tables, sparsity and overlap contribute to a step, and set the step beside a modelled V100.

    The options are those of `dry_run`; ``spike_density`` is the share of neurons that fire.

    Raises
    ------
    InputError, NetworkError, LearnError, ConfigError, CostError
        Sentences: what is wrong, where, what to do.
    """
    config = _learning_chip(chip, None)
    tables = load_learn_tables(tables_of(config, costs))
    found = _load_network(network, norm, recipe, convention, None, None, None, None)
    densities = _densities(found.network, gradient_density)
    result = ablations(
        found.network, found.recipe, config, spike_density=spike_density, input_density=densities,
        mask_density=mask_density,
        seed=seed, tables=tables, progress=progress,
    )  # fmt: skip
    if progress is not None:
        progress("beside a GPU")
    against = against_gpu(
        found.network,
        found.recipe,
        config,
        input_density=densities,
        mask_density=mask_density,
        seed=seed,
        tables=tables,
    )
    return result, against


def _own_data(dataset: str, split: str) -> dict[str, NDArray[Any]] | None:
    """Return a split of a zoo network's own data; None for data that does not ship."""
    loaders = {"mnist": load_mnist, "fashion_mnist": load_fashion_mnist}
    if dataset not in loaders:
        return None
    found = loaders[dataset](split)
    return {"inputs": found.inputs, "labels": found.labels}


def _recipe(recipe: Recipe, changes: dict[str, Any]) -> Recipe:
    made = replace(recipe, **changes)
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
    return made


def train(
    network: str | Path,
    data: str | Path | dict[str, NDArray[Any]] | None = None,
    *,
    epochs: int = 10,
    schedule: str = "cosine",
    seed: int = 0,
    costs: str | Path | None = None,
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
    costs
        A cost table of one's own over ours of the chip's node: docs/costs.md.
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
        options=Options(epochs, schedule, seed, costs), test=task.test, checkpoint=checkpoint, resume=resume,
        threads=threads, progress=progress, after_epoch=after_epoch,
    )  # fmt: skip
    if out is not None:
        save(training, out)
    return training


def compile_step(
    network: str | Path,
    data: str | Path | dict[str, NDArray[Any]] | None = None,
    *,
    out: str | Path,
    **options: Any,
) -> LearnProgram:
    """Compile one training step and write it, with the weights to start from: for `verify`, or for a host of the RTL.

    Parameters
    ----------
    network, data, options
        As for `load_task`; data tell the range of the input's numbers.
    out
        A .learn file.

    Raises
    ------
    InputError, NetworkError, LearnError, ConfigError
        Sentences: what is wrong, where, what to do.
    """
    task = load_task(network, data, **options)
    program = learn_tasks(task.chip, task.network, task.recipe)
    save_learn_program(program, task.parameters, out)
    return program


def save(training: Training, path: str | Path) -> None:
    """Write the trained network as a NIR file."""
    recipe = training.recipe
    leak = recipe.readout_leak if recipe.readout == "membrane" else None
    save_learn_network(training.network, training.parameters, path, leak)


__all__ = ["NORMS", "Task", "compare", "compile_step", "dry_run", "load_task", "save", "train"]
