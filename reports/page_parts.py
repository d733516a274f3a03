"""What the pages are made of: figures of the summary, tables, the style, the templates."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from .mesh_map import HEAT_COLOURS
from .units import count, share, si

__all__ = [
    "Column",
    "PageTable",
    "Row",
    "Section",
    "Tile",
    "columns",
    "render",
    "script_json",
    "script_text",
    "style",
]

_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Tile:
    """One figure of the summary; ``status`` says what it rests on: counted, or as the costs in it."""

    name: str
    value: str
    detail: str
    status: str = ""


@dataclass(frozen=True)
class Column:
    """A column: its heading, whether it holds numbers, whether words may be broken anywhere."""

    name: str
    number: bool = False
    long: bool = False


@dataclass(frozen=True)
class Row:
    """A row of cells as text; ``sum`` sets it off."""

    cells: tuple[str, ...]
    sum: bool = False


@dataclass(frozen=True)
class PageTable:
    """A table with what is to be said below it."""

    title: str
    columns: tuple[Column, ...]
    rows: list[Row]
    note: str = ""
    sources: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Section:
    """An entry of the page's contents: the anchor and the heading."""

    anchor: str
    name: str


def columns(*names: str) -> tuple[Column, ...]:
    """Return columns by their headings; ``>`` in front means that the column holds numbers."""
    return tuple(Column(name.removeprefix(">"), number=name.startswith(">")) for name in names)


def render(template: str, **values: Any) -> str:
    """Return a page from its template, with the style and script that all pages share."""
    return _environment().get_template(template).render(**values)


@cache
def style() -> str:
    """Return the style of all pages, with the heat scale: much is dark on light paper, and light on dark paper."""
    dark = "".join(f"--h{i}:{colour};" for i, colour in enumerate(HEAT_COLOURS))
    light = "".join(f"--h{i}:{colour};" for i, colour in enumerate(HEAT_COLOURS[::-1]))
    scale = f":root{{{light}}}\n@media screen and (prefers-color-scheme: dark){{:root{{{dark}}}}}\n"
    return (_FOLDER / "page.css").read_text(encoding="utf-8") + scale


@cache
def script_text() -> str:
    """Return the script of the page with maps."""
    return (_FOLDER / "page.js").read_text(encoding="utf-8")


def script_json(value: Any) -> str:
    """Return JSON that cannot end the script element it stands in."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace(".0,", ",").replace(".0]", "]").replace("<", "\\u003c")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Any] = {"si": si, "count": count, "share": share}
    environment.filters.update(filters)
    return environment
