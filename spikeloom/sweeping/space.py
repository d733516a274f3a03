"""The space of a sweep: a YAML file of what varies, how it is searched and for what; checked before anything runs."""

from __future__ import annotations

import hashlib
import inspect
import json
import typing
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import combinations
from math import prod
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from ..chip.config import load_config, preset_names
from ..chip.frozen import FrozenModel
from ..chip.learn_network import Recipe
from ..compiling import CONVENTIONS, compile_nir
from ..errors import InputError
from ..learning import NORMS, dry_run
from ..models.encoders import ENCODERS
from ..models.learn_zoo import LEARN_ZOO
from ..models.zoo import ZOO
from ..models.zoo import path as zoo_path
from ..reports.learn_result import LearnResult
from ..reports.result import RunResult
from ..running import DECISIONS, run
from .paths import check_result_path, check_value, config_paths, unknown

SPACE_VERSION = 1

Kind = Literal["inference", "training"]
Direction = Literal["min", "max"]

# Options of the functions that a space may set and vary, by the first name of their paths. What is left out is not the
# network's or the chip's: files, progress, threads, and `samples`, which the space says for all points.
_COMPILE = ("calibrate", "compare", "convention", "dt", "recurrent_bias", "reset", "reset_timing", "seed", "ternary",
            "weight_bits")  # fmt: skip
_RUN = ("costs", "decide", "encode", "seed", "timesteps")
_TRAIN = ("accumulators", "compare", "convention", "costs", "dt", "gradient_density", "mask_density", "norm", "reset",
          "reset_timing", "seed")  # fmt: skip
_CHOICES = {
    "compile.convention": CONVENTIONS,
    "train.convention": CONVENTIONS,
    "run.encode": tuple(ENCODERS),
    "run.decide": DECISIONS,
    "train.norm": NORMS,
}
# Options that name a file, and all paths that can; files are looked for beside the space file.
_FILES = ("compile.calibrate", "run.costs", "train.costs")
FILE_PATHS = ("chip", "network", *_FILES)

# Digits that are run where the space names neither data nor their number.
DEFAULT_SAMPLES = 200


class Search(FrozenModel):
    """How a space is searched."""

    method: Literal["grid", "random", "pareto"]
    points: int | None = Field(default=None, ge=1, description="to try at most; grid: all")
    population: int | None = Field(default=None, ge=2, description="pareto: points a generation")

    @model_validator(mode="after")
    def _check(self) -> Search:
        if (self.points is None) != (self.method == "grid"):
            wanted = (
                "no points, it tries all" if self.method == "grid" else "points, how many to try"
            )
            raise ValueError(f"search.method {self.method} takes {wanted}")
        if (self.population is None) == (self.method == "pareto"):
            raise ValueError("population, points a generation, belongs to search.method pareto")
        return self


class Steps(FrozenModel):
    """Numbers from one to another, by adding a step or by multiplying with a factor."""

    first: float | int = Field(alias="from")
    last: float | int = Field(alias="to")
    step: float | int | None = Field(default=None, gt=0)
    factor: float | int | None = Field(default=None, gt=1)

    @model_validator(mode="after")
    def _check(self) -> Steps:
        if (self.step is None) == (self.factor is None):
            raise ValueError("a range takes from, to, and either step or factor")
        if self.factor is not None and self.first <= 0:
            raise ValueError("a range with a factor must start above 0")
        if self.last < self.first:
            raise ValueError("a range must not end before it starts")
        return self

    def values(self) -> tuple[float | int, ...]:
        """Return the numbers, the last one included where a step meets it."""
        found: list[float | int] = []
        while True:
            at = len(found)
            grown = self.first * (self.factor or 1) ** at
            value = grown if self.step is None else self.first + at * self.step
            if value > self.last * (1 + 1e-12):
                return tuple(found)
            found.append(value)


class SpaceFile(FrozenModel):
    """The fields of a space file."""

    version: Literal[1] = Field(alias="sweep", description="of the format")
    kind: Kind = "inference"
    chip: str = Field(description="a preset or a YAML file to start from")
    network: str = Field(description="a shipped network or a .nir file")
    data: str | None = Field(default=None, description="a .npz; by default a shipped network's own")
    samples: int | None = Field(default=None, ge=1, description="the first so many of the data")
    shard: int = Field(default=512, ge=1, description="samples that a unit of work runs at most")
    seed: int = Field(default=0, ge=0, description="of the search")
    search: Search = Search(method="grid")
    set: dict[str, Any] = Field(default={}, description="path: value, for all points")
    vary: dict[str, Any] = Field(min_length=1, description="path: a list of values, or `Steps`")
    objectives: dict[str, Direction] = Field(
        min_length=1, description="path in the result: min, max"
    )
    measures: list[str] = Field(default=[], description="further paths in the result to keep")


@dataclass(frozen=True)
class Axis:
    """A path and the values that it takes."""

    path: str
    values: tuple[Any, ...]

    @cached_property
    def is_ordered(self) -> bool:
        """Whether the values are ascending numbers, so that neighbours are alike."""
        numbers = [v for v in self.values if isinstance(v, int | float) and not isinstance(v, bool)]
        return len(numbers) == len(self.values) and sorted(numbers) == numbers


@dataclass(frozen=True)
class Point:
    """One choice of a value on every axis; ``number`` is its place in the order of the search."""

    number: int
    values: dict[str, Any]

    @cached_property
    def key(self) -> str:
        """Sixteen hexadecimal digits that identify the choice."""
        return _hash(self.values)


@dataclass(frozen=True)
class Space:
    """A checked space; ``files`` maps what it names (presets, networks, files beside it) to hashes of their content."""

    file: SpaceFile
    folder: Path
    axes: tuple[Axis, ...]
    files: dict[str, str]

    @property
    def kind(self) -> Kind:
        """Inference or training."""
        return self.file.kind

    @property
    def search(self) -> Search:
        """How it is searched."""
        return self.file.search

    @property
    def seed(self) -> int:
        """Seed of the search."""
        return self.file.seed

    @property
    def size(self) -> int:
        """Points that the grid has."""
        return prod(len(axis.values) for axis in self.axes)

    @property
    def measures(self) -> tuple[str, ...]:
        """Paths of the result that are kept: objectives first."""
        return tuple(dict.fromkeys([*self.file.objectives, *self.file.measures]))

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What makes this space another one if it changes: the file's fields, and the files that it names."""
        return {
            **json.loads(self.file.model_dump_json(by_alias=True, exclude_none=True)),
            "files": self.files,
        }

    @property
    def identity_hash(self) -> str:
        """Sixteen hexadecimal digits of the identity; the axes' order is part of it, since it numbers the points."""
        return hashlib.sha256(json.dumps(self.identity).encode()).hexdigest()[:16]

    def point(self, number: int, genes: tuple[int, ...]) -> Point:
        """Return the point with the given index on every axis."""
        values = {axis.path: axis.values[gene] for axis, gene in zip(self.axes, genes, strict=True)}
        return Point(number, values)

    def settings(self, point: Point) -> dict[str, Any]:
        """Return path -> value of a point: what the file sets for all, and the point's own choice."""
        common: dict[str, Any] = {"chip": self.file.chip, "network": self.file.network}
        return common | self.file.set | point.values

    def place(self, path: str, name: str) -> str | None:
        """Return where the file lies that a setting names, as seen from here; None for what ships, and for no file."""
        shipped: dict[str, Any] = {"chip": preset_names(), "network": shipped_networks(self.kind)}
        return (
            None
            if path not in FILE_PATHS or name in shipped.get(path, ())
            else str(self.folder / name)
        )

    @property
    def data(self) -> str | None:
        """Where the data lies, as seen from here; None for a shipped network's own."""
        return None if self.file.data is None else str(self.folder / self.file.data)


def shipped_networks(kind: Kind) -> tuple[str, ...]:
    """Return the names of the shipped networks that a sweep of a kind can take."""
    return tuple(ZOO if kind == "inference" else LEARN_ZOO)


def load_space(path: str | Path) -> Space:
    """Read a space file.

    Raises
    ------
    InputError
        It is missing or no YAML; a field, path or value does not exist, is out of range or contradicts another: the
        sentence names it, and the nearest that exist.
    """
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not a YAML file: {' '.join(str(error).split())}") from None
    return space_from_dict(content, path.parent, str(path))


def space_from_dict(content: Any, folder: Path, where: str) -> Space:
    """Check the fields of a space file; the arguments and errors are those of `load_space`."""
    if not isinstance(content, dict):
        raise InputError(f"{where} must hold a mapping of fields, not {type(content).__name__}")
    if content.get("sweep") != SPACE_VERSION:
        raise InputError(
            f"{where} must begin with `sweep: {SPACE_VERSION}`, the version of its format, "
            f"not {content.get('sweep')!r}"
        )
    known = [field.alias or name for name, field in SpaceFile.model_fields.items()]
    for name in content:
        if name not in known:
            raise InputError(f"{where}: {unknown(str(name), known, 'a space file')}")
    try:
        file = SpaceFile.model_validate_json(json.dumps(content))
    except ValidationError as error:
        place = ".".join(map(str, error.errors()[0]["loc"]))
        raise InputError(f"{where}: {place}: {_reason(error)}") from None
    except TypeError as error:
        raise InputError(f"{where} holds a value that is no number or text: {error}") from None
    try:
        return _checked(file, folder)
    except ValueError as error:
        raise InputError(f"{where}: {error}") from None


def _checked(file: SpaceFile, folder: Path) -> Space:
    axes = tuple(Axis(path, _values(path, given)) for path, given in file.vary.items())
    known = known_paths(file.kind)
    for path, value in file.set.items():
        if path in ("chip", "network"):
            raise InputError(f"set.{path}: say `{path}: {value}` without set")
        _check_setting(path, value, known, folder)
    for axis in axes:
        if not axis.values:
            raise InputError(f"vary.{axis.path} has no values")
        if len({_hash(value) for value in axis.values}) < len(axis.values):
            raise InputError(f"vary.{axis.path} has a value twice: {list(axis.values)}")
        for value in axis.values:
            _check_setting(axis.path, value, known, folder)
    _check_overlap(file, axes)
    result = RunResult if file.kind == "inference" else LearnResult
    for name in (*file.objectives, *file.measures):
        check_result_path(name, result)
    by_path = {axis.path: axis.values for axis in axes}
    chips = by_path.get("chip", (file.chip,))
    networks = by_path.get("network", (file.network,))
    _check_chips(file, chips, folder, [*file.set, *by_path])
    for network in networks:
        _check_network(network, file.kind, folder)
    _check_data(file, networks, folder)
    names = [
        *(v for path in _FILES for v in by_path.get(path, ())),
        *(file.set.get(p) for p in _FILES),
    ]
    return Space(
        file, folder, axes, _file_hashes(file.kind, [*chips, *networks, file.data, *names], folder)
    )


def _values(path: str, given: Any) -> tuple[Any, ...]:
    """Return the values of an axis."""
    if isinstance(given, list):
        return tuple(given)
    if not isinstance(given, dict):
        raise InputError(
            f"vary.{path} must be a list, or a range of from, to and step or factor, not {given!r}"
        )
    try:
        return Steps.model_validate_json(json.dumps(given)).values()
    except ValidationError as error:
        raise InputError(f"vary.{path}: {_reason(error)}") from None


def _reason(error: ValidationError) -> str:
    return error.errors()[0]["msg"].removeprefix("Value error, ")


def known_paths(kind: Kind) -> dict[str, Any]:
    """Return path -> type of everything that a space of a kind may set or vary."""
    half, other = ("many_core", "learn") if kind == "inference" else ("learn", "many_core")
    paths = {p: t for p, t in config_paths().items() if p.partition(".")[0] != other and p != half}
    paths |= {"chip": str, "network": str}
    if kind == "inference":
        return paths | _options("compile", compile_nir, _COMPILE) | _options("run", run, _RUN)
    hints = typing.get_type_hints(Recipe)
    recipe = {f"train.recipe.{field.name}": hints[field.name] for field in fields(Recipe)}
    return paths | _options("train", dry_run, _TRAIN) | recipe


def _options(prefix: str, function: Any, names: tuple[str, ...]) -> dict[str, Any]:
    """Return path -> type of those options that the function has."""
    hints = typing.get_type_hints(function)
    known = inspect.signature(function).parameters
    paths = {f"{prefix}.{name}": hints[name] for name in names if name in known}
    return {path: str if path in _FILES else kind for path, kind in paths.items()}


def _check_setting(path: str, value: Any, known: Mapping[str, Any], folder: Path) -> None:
    if path not in known:
        raise unknown(path, known)
    if path in _CHOICES and value not in _CHOICES[path]:
        raise InputError(f"{path} must be one of {', '.join(_CHOICES[path])}, not {value!r}")
    check_value(path, known[path], value)
    if path in _FILES and not (folder / value).is_file():
        raise InputError(f"{path}: {folder / value} does not exist")
    if path.startswith("train.recipe."):
        try:
            Recipe(**{path.rpartition(".")[2]: value})
        except ValueError as error:
            raise InputError(f"{path}: {error}") from None


def _check_overlap(file: SpaceFile, axes: tuple[Axis, ...]) -> None:
    """Raise if a field is given twice: in set and vary, or by itself and as part of a section."""
    leaves: list[tuple[str, str]] = []
    for place, given in (*(("set", (p, [v])) for p, v in file.set.items()),
                         *(("vary", (axis.path, axis.values)) for axis in axes)):  # fmt: skip
        path, values = given
        names = {leaf for value in values for leaf in _leaves(path, value)}
        leaves += [(f"{place}.{path}", leaf) for leaf in sorted(names)]
    for (first, a), (second, b) in combinations(leaves, 2):
        if first != second and (a == b or a.startswith(f"{b}.") or b.startswith(f"{a}.")):
            raise InputError(f"{first} and {second} contradict: both say {max(a, b, key=len)}")


def _leaves(path: str, value: Any) -> list[str]:
    """Return the fields that a value decides: those of a section that it names, or the field itself."""
    if not isinstance(value, Mapping):
        return [path]
    return [leaf for name, inner in value.items() for leaf in _leaves(f"{path}.{name}", inner)]


def _check_chips(file: SpaceFile, chips: tuple[Any, ...], folder: Path, paths: list[str]) -> None:
    """Raise if a chip cannot be read, or lacks the half that the sweep is about."""
    wanted = "many_core" if file.kind == "inference" else "learn"
    for name in chips:
        config = load_config(name if name in preset_names() else folder / name)
        if config.many_core_half is None and wanted == "many_core":
            raise InputError(
                f"chip {name} has no many_core for a sweep of inference; "
                f"say `kind: training`, or start from a chip such as tianjic"
            )
        if config.learn_half is None and wanted == "learn":
            named = [path for path in paths if path.startswith("learn.")]
            raise InputError(
                f"chip {name} has no learning engines{f' for {named[0]}' if named else ''}; "
                f"start from a chip such as h2learn"
            )


def _check_network(name: str, kind: Kind, folder: Path) -> None:
    known = shipped_networks(kind)
    if name not in known and not (folder / name).is_file():
        raise InputError(
            f"network {name} is neither shipped ({', '.join(known)}) nor a file {folder / name}"
        )


def _check_data(file: SpaceFile, networks: tuple[Any, ...], folder: Path) -> None:
    if file.kind == "training":
        for name in ("data", "samples"):
            if getattr(file, name) is not None:
                raise InputError(f"{name}: a sweep of training prices a step and takes no data")
    elif file.data is not None:
        if not (folder / file.data).is_file():
            raise InputError(f"data: {folder / file.data} does not exist")
    elif foreign := [name for name in networks if name not in ZOO]:
        raise InputError(f"network {foreign[0]} has no data of its own; say `data: FILE.npz`")


def _file_hashes(kind: Kind, names: list[Any], folder: Path) -> dict[str, str]:
    """Return name -> hash of every file that the points depend on, presets and shipped networks included."""
    hashes = {}
    for name in names:
        if name is None or (kind == "training" and name in LEARN_ZOO):
            continue
        if name in preset_names():
            hashes[name] = load_config(name).config_hash
            continue
        path = zoo_path(name) if name in ZOO else folder / name
        if path.is_file():
            hashes[name] = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    return hashes


def _hash(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
