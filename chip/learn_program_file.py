"""The file of a training step for the learning engines, with the parameters to start from."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .archive import Archive, ArchiveKind, read_archive, write_archive
from .config import ChipConfig
from .learn_network import (
    InputFormat,
    LearnError,
    LearnNetwork,
    Neuron,
    Norm,
    Parameters,
    Recipe,
    Stage,
)
from .learn_program import LearnProgram, check_learn_program

__all__ = ["load_learn_program", "save_learn_program"]

_KIND = ArchiveKind(
    "spikeloom-learn-program", 1, "a training step", "spikeloom train --program", LearnError
)
_TASK_ARRAYS = ("tasks", "waits", "places")


def save_learn_program(program: LearnProgram, parameters: Parameters, path: str | Path) -> None:
    """Write a step and its parameters to ``path`` at once; the same content gives the same bytes.

    Raises OSError if the folder cannot be written.
    """
    check_learn_program(program)
    arrays: dict[str, NDArray[Any]] = {
        name: np.asarray(getattr(program, name), np.int64) for name in _TASK_ARRAYS
    }
    for index, weights in enumerate(parameters.weights):
        arrays[f"weights_{index}"] = weights.astype(np.float32)
        for name, values in parameters.vectors[index].items():
            arrays[f"vector_{index}_{name}"] = values.astype(np.float32)
    fields = {
        "network": asdict(program.network),
        "recipe": asdict(program.recipe),
        "batch": program.batch,
    }
    write_archive(path, _KIND, program.config, arrays, fields)


def load_learn_program(
    path: str | Path, config: ChipConfig | None = None
) -> tuple[LearnProgram, Parameters]:
    """Read and check a step and its parameters; the optimiser starts at rest.

    Parameters
    ----------
    path
        File written by `save_learn_program`.
    config
        If given, the chip that is to run it: a program for another configuration is refused.

    Raises
    ------
    LearnError
        If the file is missing, truncated, altered, of another version or for another chip.
    """
    return read_archive(path, _KIND, _assemble, config)


def _assemble(archive: Archive) -> tuple[LearnProgram, Parameters]:
    manifest = archive.manifest
    network = manifest["network"]
    image = network["input"]
    stages = tuple(_stage(fields) for fields in network["stages"])
    program = LearnProgram(
        config=archive.config,
        network=LearnNetwork(
            InputFormat(**{**image, "shape": tuple(image["shape"])}), stages, str(network["name"])
        ),
        recipe=Recipe(**manifest["recipe"]),
        batch=int(manifest["batch"]),
        **{name: archive.array(name, np.int64) for name in _TASK_ARRAYS},
    )
    if not 1 <= program.batch <= program.recipe.batch:
        raise LearnError(f"a step's batch must be within 1..{program.recipe.batch}")
    check_learn_program(program)
    weights, vectors = [], []
    for index, stage in enumerate(stages):
        values = archive.array(f"weights_{index}", np.float32, most_axes=4)
        if values.shape != stage.weight_shape:
            raise LearnError(
                f"the weights of layer {stage.name} must be of shape {stage.weight_shape}, not {values.shape}"
            )
        weights.append(values)
        prefix = f"vector_{index}_"
        found = [name for name in manifest["arrays"] if name.startswith(prefix)]
        vectors.append(
            {name.removeprefix(prefix): archive.array(name, np.float32) for name in found}
        )
        for name, vector in vectors[-1].items():
            if vector.shape != (stage.out_shape[2],):
                raise LearnError(
                    f"{name} of layer {stage.name} must be of {stage.out_shape[2]} values"
                )
    return program, Parameters(weights, vectors)


def _stage(fields: dict[str, Any]) -> Stage:
    pairs = ("in_shape", "out_shape", "sources", "kernel", "stride", "padding")
    values: dict[str, Any] = {**fields, **{name: tuple(fields[name]) for name in pairs}}
    if values["norm"] is not None:
        values["norm"] = Norm(**values["norm"])
    if values["neuron"] is not None:
        values["neuron"] = Neuron(**values["neuron"])
    return Stage(**values)
