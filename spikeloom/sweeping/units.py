"""The units of work of a sweep: a shard of a point's samples, their sum, or a priced training step.

They run in any process: what they need is in a `Job`, what they found in an `Outcome`. Files are read where they run.
"""

from __future__ import annotations

import os
import socket
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..chip.config import ChipConfig, config_from_dict, load_config
from ..chip.program import ManyCoreProgram
from ..compiling import compile_nir
from ..data import Samples, input_shapes, load_arrays, shape_samples, to_payloads
from ..errors import InputError
from ..learn_results import step_result
from ..learning import dry_run
from ..models.datasets import load_mnist
from ..models.zoo import ZOO, load_zoo_samples, path
from ..reports.costs import tables_of
from ..reports.learn_area import load_learn_tables
from ..reports.learn_result import LearnResult
from ..reports.result import Decide, RunResult
from ..running import decision_of, make_result
from ..sim.run import ManyCoreRun, merge_runs, run_many_core
from .paths import number_at
from .space import DEFAULT_SAMPLES, Kind, Point, Space

# Points whose program and data a process keeps: the shards of a point need the same ones, and few points are under way
# at a time.
_KEPT = 2

# Training digits that show the ranges of a shipped network's membranes, as in `spikeloom demo`.
_CALIBRATION_DIGITS = 128

Status = Literal["done", "refused", "failed"]


@dataclass(frozen=True)
class Job:
    """A point as a worker needs it: plain values only.

    ``settings`` maps paths to values; ``files`` maps those paths whose value names a file to where it lies. A pilot is
    refused if its result lacks a measure; of other points, whose network may have other layers, it is unknown then.
    """

    space: str
    number: int
    key: str
    kind: Kind
    settings: dict[str, Any]
    files: dict[str, str]
    data: str | None
    samples: int
    shard: int
    measures: tuple[str, ...]
    is_pilot: bool = False

    def source(self, path: str) -> str:
        """Return what a setting names: where its file lies, or the name of something that ships."""
        return self.files.get(path) or str(self.settings[path])

    @property
    def shards(self) -> list[range]:
        """The samples of each unit of work; training has one unit without samples."""
        if self.kind == "training":
            return []
        return [
            range(start, min(start + self.shard, self.samples))
            for start in range(0, self.samples, self.shard)
        ]


@dataclass(frozen=True)
class Outcome:
    """What became of a point.

    ``refused`` is an answer: the chip cannot be built so, or the network does not fit; ``failed`` is none.
    """

    status: Status
    reason: str = ""
    measures: dict[str, float | None] | None = None
    provenance: dict[str, Any] | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class Prepared:
    """A point's program and what the host injects: (samples, timesteps or 1, inputs)."""

    program: ManyCoreProgram
    shaped: Samples
    payloads: NDArray[np.int32]
    decide: Decide

    @property
    def probes(self) -> tuple[str, ...]:
        """Layers whose membranes are to be kept, since the class is read from them."""
        spiking = self.decide == "membrane" and self.program.output_spiking
        return self.program.outputs if spiking else ()


@dataclass(frozen=True)
class Shard:
    """What the simulator counted for some samples of a point, and how long that took."""

    run: ManyCoreRun
    seconds: float


@dataclass(frozen=True)
class Refusal:
    """Why a point has no result: a sentence."""

    reason: str
    seconds: float


def make_job(space: Space, point: Point, samples: int) -> Job:
    """Return a point as a unit of work needs it; ``samples`` of each are run."""
    settings = space.settings(point)
    places = {name: space.place(name, value) for name, value in settings.items()}
    files = {name: place for name, place in places.items() if place is not None}
    return Job(
        space=space.identity_hash,
        number=point.number,
        key=point.key,
        kind=space.kind,
        settings=settings,
        files=files,
        data=space.data,
        samples=samples,
        shard=space.file.shard,
        measures=space.measures,
    )


def count_samples(space: Space) -> int:
    """Return how many samples each point runs; 0 for a sweep of training.

    Raises
    ------
    InputError
        The data cannot be read, or holds fewer samples than are asked for.
    """
    if space.kind == "training":
        return 0
    asked = space.file.samples
    if space.data is None:
        had, count = len(load_mnist("test").labels), asked or DEFAULT_SAMPLES
    else:
        arrays = load_arrays(space.data)
        had = max((len(array) for array in arrays.values() if array.ndim), default=0)
        count = asked or had
    if count > had or had == 0:
        raise InputError(f"samples: {count} are asked for, the data has {had}")
    return count


def run_shard(job: Job, samples: range) -> Shard | Refusal:
    """Simulate some samples of a point."""
    start = time.perf_counter()
    try:
        prepared = _prepared(job)
        counted = run_many_core(
            prepared.program,
            prepared.payloads[samples.start : samples.stop],
            prepared.shaped.timesteps,
            threads=1,
            probes=prepared.probes,
        )
    except ValueError as error:
        return Refusal(str(error), time.perf_counter() - start)
    return Shard(counted, time.perf_counter() - start)


def merge_shards(job: Job, *shards: Shard | Refusal) -> Outcome:
    """Return what a point's shards are together: counts added, samples in their order."""
    start = time.perf_counter()
    spent = sum(shard.seconds for shard in shards)
    runs = [shard.run for shard in shards if isinstance(shard, Shard)]
    if len(runs) < len(shards):
        reasons = [shard.reason for shard in shards if isinstance(shard, Refusal)]
        return Outcome("refused", reasons[0], seconds=spent)

    def result() -> RunResult:
        made = _prepared(job)
        costs = _options(job, "run").get("costs")
        return make_result(
            made.program,
            made.shaped,
            merge_runs(runs),
            made.decide,
            [],
            {"data_sha256": made.shaped.sha256},
            load_learn_tables(tables_of(made.program.config, costs)),
        )

    return _outcome(job, result, start - spent)


def price(job: Job) -> Outcome:
    """Price a training step."""

    def result() -> LearnResult:
        options: dict[str, Any] = {"recipe": {}}
        for name, value in _options(job, "train").items():
            head, _, field = name.partition(".")
            if field:
                options[head][field] = value
            else:
                options[head] = value
        return step_result(dry_run(job.source("network"), chip=build_chip(job), **options))

    return _outcome(job, result, time.perf_counter())


def build_chip(job: Job) -> ChipConfig:
    """Return the configuration of a point: the preset's, with the point's fields.

    Raises
    ------
    ConfigError
        If the fields contradict each other.
    """
    config = load_config(job.source("chip"))
    content = config.to_dict()
    for place, value in job.settings.items():
        head, *inner = place.split(".")
        if head in ("chip", "network", "compile", "run", "train"):
            continue
        section, names = content, [head, *inner]
        for part in names[:-1]:
            section = section[part]
        if isinstance(value, dict):
            _update(section[names[-1]], value)
        else:
            section[names[-1]] = value
    return config_from_dict(content, where="the point")


def _update(section: dict[str, Any], changes: dict[str, Any]) -> None:
    for name, value in changes.items():
        if isinstance(value, dict):
            _update(section[name], value)
        else:
            section[name] = value


def _outcome(job: Job, make: Callable[[], RunResult | LearnResult], start: float) -> Outcome:
    """Return the measures of a result, or why there is none."""
    try:
        result = make()
    except ValueError as error:
        return Outcome("refused", str(error), seconds=time.perf_counter() - start)
    measures = {name: _measure(job, result, name) for name in job.measures}
    provenance = {
        "config_hash": result.config_hash,
        **{key: result.provenance[key] for key in _PROVENANCE if key in result.provenance},
        "worker": f"{socket.gethostname()}:{os.getpid()}",
    }
    return Outcome("done", "", measures, provenance, time.perf_counter() - start)


def _measure(job: Job, result: RunResult | LearnResult, name: str) -> float | None:
    try:
        return number_at(result, name)
    except InputError:
        if job.is_pilot:
            raise
        return None


# What a point keeps of its result's provenance; the rest is the same for the whole sweep and stands there.
_PROVENANCE = ("data_sha256", "costs", "costs_hash")


def _prepared(job: Job) -> Prepared:
    """Return the program and the data of a point, made once in a process."""
    key = f"{job.space} {job.key} {job.samples}"
    if key not in _points:
        _points[key] = _prepare(job, _compile(job))
        while len(_points) > _KEPT:
            _points.popitem(last=False)
    _points.move_to_end(key)
    return _points[key]


_points: OrderedDict[str, Prepared] = OrderedDict()


def _options(job: Job, prefix: str) -> dict[str, Any]:
    """Return the options of a function: those settings whose path begins with its name; files at their places."""
    return {
        place.removeprefix(f"{prefix}."): job.files.get(place, value)
        for place, value in job.settings.items()
        if place.startswith(f"{prefix}.")
    }


def _compile(job: Job) -> ManyCoreProgram:
    name = job.settings["network"]
    shown = {k: v for k, v in _options(job, "run").items() if k in ("timesteps", "encode")}
    options = shown | _options(job, "compile")
    network: str | Path = job.source("network")
    if "network" not in job.files:
        item, network = ZOO[name], path(name)
        digits: NDArray[Any] = load_mnist("train").inputs[:_CALIBRATION_DIGITS]
        given = {
            "convention": "nir", "timesteps": item.timesteps, "encode": item.encoder,
            "calibrate": {"inputs": digits.reshape(-1, *item.input_shape)},
        }  # fmt: skip
        options = given | options
    return compile_nir(network, build_chip(job), **options).program


def _prepare(job: Job, program: ManyCoreProgram) -> Prepared:
    options, name = _options(job, "run"), job.settings["network"]
    if "network" not in job.files:
        item = ZOO[name]
        options = {"timesteps": item.timesteps, "encode": item.encoder} | options
    if job.data is None:
        digits = load_zoo_samples(name, job.samples)
        arrays = {"inputs": digits.inputs, "labels": digits.labels}
    else:
        arrays = load_arrays(job.data)
    shaped = shape_samples(
        arrays, input_shapes(program.inputs), timesteps=options.get("timesteps"),
        encoder=options.get("encode", "none"), samples=job.samples, seed=options.get("seed", 0),
    )  # fmt: skip
    payloads, _ = to_payloads(program, shaped)
    return Prepared(program, shaped, payloads, decision_of(program, options.get("decide")))
