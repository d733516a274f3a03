"""A result as rows: each number, word and list of numbers under a name made of keys, not of positions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..chip.events import ROUTER_EVENTS
from .learn_result import LearnResult
from .result import RunResult

Scalar = float | int | str | bool | None
Value = Scalar | NDArray[np.float64]

# What names an entry of a list of records, by the list's field.
_KEYS: dict[str, tuple[str, ...]] = {
    "layers": ("name",),
    "energy_rows": ("component", "event", "kind"),
    "graph": ("source", "target", "what"),
    "area.rows": ("place", "component", "part", "what"),
    "counters.cores": ("x", "y"),
    "counters.routers": ("x", "y"),
    "energy_by_core_j": ("x", "y"),
    "counts": ("component", "layer", "event"),
    "epochs": ("epoch",),
    "gpu": ("gpu",),
    "ablations": ("title",),
}


@dataclass(frozen=True)
class Row:
    """One value: ``name`` as `layers[fc1].energy_j`, ``field`` the same without keys."""

    name: str
    field: str
    value: Value

    def is_part_of(self, field: str) -> bool:
        """Return whether the row is ``field``, with or without keys, or stands below it."""
        return any(
            name == field or (name.startswith(field) and name[len(field)] in ".[")
            for name in (self.name, self.field)
        )


def rows_of_result(result: RunResult | LearnResult) -> dict[str, Row]:
    """Return the rows of a result by name, in the order of its fields."""
    fields = result.model_dump()
    if isinstance(result, RunResult):
        _name_cores(fields)
    else:
        _name_ablations(fields)
    return {row.name: row for row in _walk(fields, "", "")}


def _name_cores(fields: dict[str, Any]) -> None:
    """Give energies of cores the places of the counters beside them, silent routers zeros, spikes one order."""
    counters = fields["counters"]
    for core, energy in zip(counters["cores"], fields["energy_by_core_j"], strict=True):
        energy |= {"x": core["x"], "y": core["y"]}
    order = sorted(range(len(counters["cores"])), key=lambda c: _place(counters["cores"][c]))
    steps = fields["steps"]["core_spikes"]
    fields["steps"]["core_spikes"] = [[row[c] for c in order] for row in steps]
    silent = {event.name: 0 for event in ROUTER_EVENTS}
    known = {(router["x"], router["y"]) for router in counters["routers"]}
    counters["routers"] += [
        {"x": x, "y": y} | silent
        for y in range(fields["mesh"]["rows"])
        for x in range(fields["mesh"]["columns"])
        if (x, y) not in known
    ]


def _place(core: dict[str, Any]) -> tuple[int, int]:
    return core["y"], core["x"]


def _name_ablations(fields: dict[str, Any]) -> None:
    """Turn the rows of each table into records under their first cell."""
    for table in fields["ablations"] or []:
        first, *columns = table.pop("columns")
        names: dict[str, int] = {}
        table["rows"] = {
            _unlike(f"{first} {cells[0]}", names): dict(zip(columns, cells[1:], strict=True))
            for cells in table["rows"]
        }


def _walk(value: Any, name: str, field: str) -> Iterator[Row]:
    if isinstance(value, dict):
        for key, child in value.items():
            dot = "." if name else ""
            yield from _walk(child, f"{name}{dot}{key}", f"{field}{dot}{key}")
    elif isinstance(value, list) and field in _KEYS:
        names: dict[str, int] = {}
        for record in value:
            keys = _KEYS[field]
            label = _unlike(", ".join(str(record[key]) for key in keys), names)
            rest = {key: child for key, child in record.items() if key not in keys}
            yield from _walk(rest, f"{name}[{label}]", field)
    elif isinstance(value, list):
        yield Row(name, field, _array(value))
    else:
        yield Row(name, field, value)


def _unlike(label: str, names: dict[str, int]) -> str:
    """Return a label that no earlier entry of the list has: the second of a kind is `label #2`."""
    names[label] = names.get(label, 0) + 1
    return label if names[label] == 1 else f"{label} #{names[label]}"


def _array(values: Sequence[Any]) -> Value:
    """Return a list of numbers as an array, a list of anything else as text."""
    try:
        array = np.asarray(values)
    except ValueError:  # rows of unlike length
        return str(values)
    if array.dtype.kind not in "iuf":
        return "; ".join(str(value) for value in values)
    return array.astype(np.float64)
