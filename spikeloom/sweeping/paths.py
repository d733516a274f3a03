"""Names of fields by dotted path, of a configuration, of options, of a result; and the nearest ones to a typo."""

from __future__ import annotations

import difflib
import json
import types
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from ..chip.config import ChipConfig
from ..errors import InputError


def model_in(annotation: Any) -> type[BaseModel] | None:
    """Return the model that an annotation stands for, also where it may be missing (``Model | None``)."""
    if get_origin(annotation) in (Union, types.UnionType):
        models = [model_in(part) for part in get_args(annotation)]
        return next((model for model in models if model is not None), None)
    return (
        annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None
    )


@cache
def config_paths() -> dict[str, Any]:
    """Return path -> type of every field of a chip's configuration, sections included; its name is no field."""
    paths: dict[str, Any] = {}

    def walk(model: type[BaseModel], prefix: str) -> None:
        for name, field in model.model_fields.items():
            path = prefix + (field.alias or name)
            inner = model_in(field.annotation)
            paths[path] = inner or Annotated[field.annotation, *field.metadata, None]
            if inner is not None:
                walk(inner, f"{path}.")

    walk(ChipConfig, "")
    del paths["name"]
    return paths


def check_value(path: str, kind: Any, value: Any) -> None:
    """Raise InputError, naming the field, if a value is not of the field's type or out of its range."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        _check_section(path, value)
        return
    try:
        TypeAdapter(kind, config=ConfigDict(strict=True)).validate_json(json.dumps(value))
    except (ValidationError, TypeError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        hint = ""
        if isinstance(value, str) and _is_number(value):
            hint = f"; YAML reads {value} as text, write it with a point and a sign: 1.0e+8"
        raise InputError(f"{path}: {reason} (given: {value!r}){hint}") from None


def _check_section(path: str, value: Any) -> None:
    """Check a mapping of fields of a section, each by itself."""
    known = config_paths()
    fields = [name for name in known if name.rpartition(".")[0] == path]
    if not isinstance(value, Mapping) or not value:
        names = ", ".join(name.rpartition(".")[2] for name in fields)
        raise InputError(
            f"{path} is a section; give mappings of its fields ({names}), not {value!r}"
        )
    for name, inner in value.items():
        place = f"{path}.{name}"
        if place not in fields:
            raise unknown(place, fields)
        check_value(place, known[place], inner)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def check_result_path(path: str, result: type[BaseModel]) -> None:
    """Raise InputError if no number of a result can stand under a path; keys of its dicts are known only later."""
    kind: Any = result
    for part in path.split("."):
        model = model_in(kind)
        if model is None and not _holds_dict(kind):
            raise unknown(path, number_paths(result), "a result")
        if model is None:
            kind = _value_of(kind)
        elif part in model.model_fields:
            kind = model.model_fields[part].annotation
        elif part in _names(model):
            kind = float
        else:
            raise unknown(path, number_paths(result), "a result")
    if kind is not Any and not _holds(kind, (int, float)):
        inside = [name for name in number_paths(result) if name.startswith(f"{path}.")]
        hint = f"; its numbers are {', '.join(inside)}" if inside else ""
        raise InputError(f"{path} is no single number of a result{hint}")


def number_paths(result: type[BaseModel]) -> list[str]:
    """Return the paths of all single numbers of a result, keys of its dicts left open."""

    def inside(kind: Any, path: str) -> list[str]:
        model = model_in(kind)
        if model is not None:
            start = f"{path}." if path else ""
            kinds = {name: model.model_fields.get(name) for name in _names(model)}
            return [
                found
                for name, field in kinds.items()
                for found in inside(float if field is None else field.annotation, start + name)
            ]
        if kind is Any or _holds(kind, (int, float)):
            return [path]
        return inside(_value_of(kind), f"{path}.KEY") if _holds_dict(kind) else []

    return inside(result, "")


def number_at(result: Any, path: str) -> float | None:
    """Return the number under a path of a result, None where it is unknown.

    Raises
    ------
    InputError
        If nothing stands there, or no number; with the nearest names.
    """
    value: Any = result
    walked: list[str] = []
    for part in path.split("."):
        if value is None:
            return None
        names = (
            list(value)
            if isinstance(value, Mapping)
            else _names(type(value))
            if isinstance(value, BaseModel)
            else []
        )
        if part not in names:
            raise unknown(path, [".".join([*walked, name]) for name in map(str, names)], "a result")
        value = value[part] if isinstance(value, Mapping) else getattr(value, part)
        walked.append(part)
    if value is not None and not isinstance(value, int | float):
        raise InputError(f"{path} is no single number of a result, but {type(value).__name__}")
    return None if value is None else float(value)


def unknown(path: str, known: Iterable[str], of: str = "a sweep") -> InputError:
    """Return the error for a path that does not exist, with the nearest that do: last name first, then the whole."""
    paths = list(dict.fromkeys(known))
    last = path.rpartition(".")[2]

    def likeness(name: str) -> float:
        ends = max(_ratio(last, part) for part in name.split(".")[-2:])
        return 0.7 * ends + 0.3 * _ratio(path, name)

    nearest = sorted((name for name in paths if likeness(name) > 0.6), key=likeness, reverse=True)
    listed = nearest[:4] or sorted({name.partition(".")[0] for name in paths})
    which = "the nearest" if nearest else "there"
    verb = "is" if len(listed) == 1 else "are"
    return InputError(f"{path} is no field of {of}; {which} {verb} {', '.join(listed)}")


def _ratio(a: str, b: str) -> float:
    return difflib.SequenceMatcher(None, a, b).ratio()


def _names(model: type[BaseModel]) -> list[str]:
    """Return the fields of a model, and its properties that are numbers."""
    properties = [
        name
        for cls in model.__mro__
        if issubclass(cls, BaseModel) and cls is not BaseModel
        for name, value in vars(cls).items()
        if isinstance(value, property) and str(value.fget.__annotations__.get("return")) in _NUMBERS  # pyright: ignore
    ]
    return [*model.model_fields, *properties]


_NUMBERS = ("float", "float | None", "int", "int | None")


def _holds(kind: Any, wanted: tuple[type, ...]) -> bool:
    """Return whether an annotation allows one of some types."""
    if get_origin(kind) in (Union, types.UnionType):
        return any(_holds(part, wanted) for part in get_args(kind))
    return (get_origin(kind) or kind) in wanted


def _holds_dict(kind: Any) -> bool:
    return kind is Any or _holds(kind, (dict,))


def _value_of(kind: Any) -> Any:
    """Return the type of a dict's values, Any where it is open."""
    if get_origin(kind) in (Union, types.UnionType):
        return next(_value_of(part) for part in get_args(kind) if _holds_dict(part))
    arguments = get_args(kind)
    return arguments[1] if len(arguments) == 2 else Any
