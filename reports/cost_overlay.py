"""A user's cost table: a file that puts single figures in place of ours, over one of our nodes.

Every mistake in it is one sentence, with its place in the file and what is allowed there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, cast, get_args

from pydantic import ValidationError

from .cost_figures import Constant, CostError, Curve, Known, Status
from .sram import FIELDS, SramPoint, SramTable

__all__ = ["SECTIONS", "SRAM_UNITS", "Changeable", "Overlay", "read_overlay"]

SECTIONS = ("many_core", "learn", "area")  # of constants
FIELDS_ALLOWED = ("base", "name", "memory", *SECTIONS, "curves", "sram")
FIGURE_FIELDS = ("value", "unit", "source", "status", "known", "voltage_v")
CURVE_FIELDS = ("points", *FIGURE_FIELDS[1:])
SRAM_FIELDS = ("units", "temperature_k", "points", *FIGURE_FIELDS[2:])
SRAM_UNITS = ["bytes", "bytes", "pJ", "pJ", "mW", "mm2", "ns"]
LEAST_SOURCE = 10  # characters


@dataclass(frozen=True)
class Changeable:
    """What there is to be changed: nodes, units of the constants by section, of the curves, kinds of memory."""

    nodes_nm: tuple[int, ...]
    units: Mapping[str, Mapping[str, str]]
    curves: Mapping[str, str]
    memories: tuple[str, ...]


@dataclass(frozen=True)
class Overlay:
    """What a user's file changes: constants by section, curves, the SRAM, the kind of memory beside the chip."""

    base: int
    name: str
    constants: Mapping[str, Mapping[str, Constant]]
    curves: Mapping[str, dict[str, Any]]
    sram: SramTable | None
    memory: str | None


def read_overlay(fields: Any, where: str, name: str, known: Changeable) -> Overlay:
    """Return what a file asks for.

    Parameters
    ----------
    fields
        What the file holds.
    where
        The file, for messages.
    name
        What the table is called unless the file says.

    Raises
    ------
    CostError
        One sentence for every mistake, all at once.
    """
    if not isinstance(fields, dict):
        raise CostError(f"{where} must hold a mapping of fields, not {type(fields).__name__}")
    wrong = list(_mistakes(fields, known))
    if wrong:
        raise CostError("\n".join(f"{where}: {sentence}" for sentence in wrong))
    base = fields["base"]
    constants = {
        section: {
            key: Constant(value=item["value"], unit=item["unit"], **_sourced(item, base))
            for key, item in fields.get(section, {}).items()
        }
        for section in SECTIONS
    }
    curves = {
        key: {"points": item["points"], **_sourced(item, base)}
        for key, item in fields.get("curves", {}).items()
    }
    sram = None if "sram" not in fields else _sram(fields["sram"], base, where)
    return Overlay(base, fields.get("name", name), constants, curves, sram, fields.get("memory"))


def _sourced(item: Mapping[str, Any], node_nm: int) -> dict[str, Any]:
    return {
        "source": item["source"], "node_nm": node_nm, "voltage_v": item.get("voltage_v"),
        "status": item.get("status", "assumed"), "known": item.get("known", "reasoned"),
    }  # fmt: skip


def _mistakes(fields: Mapping[Any, Any], known: Changeable) -> Iterator[str]:
    """Yield a sentence for everything that is wrong."""
    for key in fields:
        if key not in FIELDS_ALLOWED:
            yield f"{key} is no part of a cost table; it may have {', '.join(FIELDS_ALLOWED)}"
    nodes = ", ".join(map(str, known.nodes_nm))
    if "base" not in fields:
        yield f"base is missing: the node in nm whose figures are to be changed, one of {nodes}"
    elif isinstance(fields["base"], bool) or fields["base"] not in known.nodes_nm:
        yield f"base must be one of the nodes {nodes}, not {fields['base']!r}"
    if not isinstance(fields.get("name", "x"), str) or not fields.get("name", "x"):
        yield f"name must be a text, not {fields['name']!r}"
    if "memory" in fields and fields["memory"] not in known.memories:
        yield f"memory must be one of {', '.join(known.memories)}, not {fields['memory']!r}"
    for section in SECTIONS:
        yield from _section(fields, section, known.units[section], FIGURE_FIELDS)
    yield from _section(fields, "curves", known.curves, CURVE_FIELDS)
    if "sram" in fields:
        yield from _sram_mistakes(fields["sram"])


def _section(
    fields: Mapping[Any, Any], section: str, units: Mapping[str, str], allowed: tuple[str, ...]
) -> Iterator[str]:
    items = fields.get(section, {})
    if not isinstance(items, dict):
        yield f"{section} must be a mapping of names to figures, not {items!r}"
        return
    for name, item in items.items():
        at = f"{section}.{name}"
        if name not in units:
            yield f"{at}: there is no such cost; {section} has {', '.join(sorted(units))}"
        elif not isinstance(item, dict):
            yield f"{at} must have {allowed[0]}, unit and source, and is only {item!r}"
        else:
            yield from _figure(at, item, units[name], allowed)


def _figure(at: str, item: Mapping[Any, Any], unit: str, allowed: tuple[str, ...]) -> Iterator[str]:
    """Yield what is wrong with a constant or a curve."""
    yield from _common(at, item, allowed)
    if "unit" not in item:
        yield f"{at} has no unit; it must say {unit!r}"
    elif item["unit"] != unit:
        yield f"{at}.unit must be {unit!r}, not {item['unit']!r}: convert the value"
    if allowed[0] not in item:
        yield f"{at} has no {allowed[0]}"
    elif allowed[0] == "value":
        if not _number(item["value"]) or item["value"] < 0:
            yield f"{at}.value must be a number of at least 0 {unit}, not {item['value']!r}"
    else:
        try:
            Curve.model_validate({"x": "x", "unit": unit, "points": item["points"], "source": "x" * 10, "node_nm": 28,
                                  "status": "assumed", "known": "reasoned"})  # fmt: skip
        except ValidationError:
            yield (
                f"{at}.points must be at least two pairs, [width, {unit}], both positive and ascending, "
                f"not {item['points']!r}"
            )


def _common(at: str, item: Mapping[Any, Any], allowed: tuple[str, ...]) -> Iterator[str]:
    """Yield what is wrong with the fields that every figure has."""
    for key in item:
        if key not in allowed:
            yield f"{at}.{key} is no field of a figure; it may have {', '.join(allowed)}"
    source = item.get("source")
    if not isinstance(source, str) or len(source.strip()) < LEAST_SOURCE:
        yield f"{at}.source must say in {LEAST_SOURCE} characters or more where the figure is from"
    for key, options in (("status", get_args(Status)), ("known", get_args(Known))):
        if key in item and item[key] not in options:
            yield f"{at}.{key} must be one of {', '.join(options)}, not {item[key]!r}"
    volts = item.get("voltage_v")
    if volts is not None and not (_number(volts) and 0 < volts <= 5):
        yield f"{at}.voltage_v must be a number of volts above 0 and at most 5, not {volts!r}"


def _sram_mistakes(item: Any) -> Iterator[str]:
    if not isinstance(item, dict):
        yield f"sram must have {', '.join(SRAM_FIELDS[:3])} and source, and is only {item!r}"
        return
    yield from _common("sram", item, SRAM_FIELDS)
    if item.get("units") != SRAM_UNITS:
        yield (
            f"sram.units must be [{', '.join(SRAM_UNITS)}], for {', '.join(FIELDS)} of every point, "
            f"not {item.get('units')!r}"
        )
    if not _number(item.get("temperature_k")):
        yield "sram.temperature_k must be the temperature of the leakage in K"
    points = item.get("points")
    if not isinstance(points, dict) or set(points) != {"1rw", "1r1w"}:
        yield "sram.points must have a list of macros for 1rw and one for 1r1w"
        return
    for ports, rows in points.items():
        for i, row in enumerate(rows if isinstance(rows, list) else [rows]):
            if (
                not isinstance(row, list)
                or len(row) != len(FIELDS)
                or not all(_number(number) and number > 0 for number in row)
            ):
                yield f"sram.points.{ports}.{i} must be {len(FIELDS)} positive numbers, not {row!r}"


def _sram(item: Mapping[str, Any], base: int, where: str) -> SramTable:
    points = {
        ports: [
            SramPoint(**dict(zip(FIELDS, (int(row[0]), int(row[1]), *row[2:]), strict=True)))
            for row in rows
        ]
        for ports, rows in item["points"].items()
    }
    try:
        return SramTable(
            points=cast(Any, points), temperature_k=item["temperature_k"], **_sourced(item, base)
        )
    except ValidationError as error:
        what = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise CostError(f"{where}: sram: {what}") from None


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
