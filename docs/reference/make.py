"""Write the API reference beside this file from the docstrings: python docs/reference/make.py."""

from __future__ import annotations

import dataclasses
import enum
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import BaseModel

import spikeloom

FOLDER = Path(__file__).parent

# By page: the modules that users and extensions meet; what is not listed may change without a word.
PAGES: dict[str, tuple[str, ...]] = {
    "chip": (
        "config", "learn_config", "formats", "arithmetic", "packet", "events", "program", "program_file",
        "learn_network", "learn_program", "learn_program_file",
    ),
    "compiler": ("frontend", "conventions", "pipeline", "fit", "learn_nir", "learn_tasks"),
    "models": ("zoo", "learn_zoo", "datasets", "encoders"),
    "sim": ("run", "trace", "engines.training", "engines.timeline", "engines.estimate"),
    "hw": ("verilog", "driver", "fpga", "gates"),
    "reports": (
        "result", "learn_result", "costs", "energy", "area", "learn_counts", "learn_energy", "learn_area",
        "gpu_baseline", "neurobench", "diff", "core_trace", "calibration",
    ),
}  # fmt: skip
_SECTION = re.compile(
    r"^(Parameters|Attributes|Returns|Yields|Raises|Members|Notes|Examples)\n-+$", re.MULTILINE
)


def pages() -> dict[str, str]:
    """Return the text of every page by file name."""
    result = {"README.md": _index(), "spikeloom.md": _commands()}
    for name, modules in PAGES.items():
        lines = [
            f"# spikeloom.{name}",
            "",
            f"[All pages](README.md). Made by `python {_self()}`.",
            "",
        ]
        for module in modules:
            lines += _module(importlib.import_module(f"spikeloom.{name}.{module}"))
        result[f"{name}.md"] = "\n".join(lines).rstrip() + "\n"
    return result


def _self() -> str:
    return "docs/reference/make.py"


def _index() -> str:
    lines = [
        "# API reference",
        "",
        f"Made from the docstrings by `python {_self()}`; a test compares. Modules that are not listed are internal.",
        "",
        "| page | what it holds |",
        "|---|---|",
        "| [spikeloom](spikeloom.md) | the functions that the commands call |",
    ]
    for name, modules in PAGES.items():
        package = _first_line(importlib.import_module(f"spikeloom.{name}"))
        named = ", ".join(f"`{module}`" for module in modules)
        lines.append(f"| [spikeloom.{name}]({name}.md) | {package} {named} |")
    return "\n".join(lines) + "\n"


def _commands() -> str:
    lines = [
        "# spikeloom",
        "",
        f"[All pages](README.md). Made by `python {_self()}`.",
        "",
        *_prose(spikeloom),
        "",
    ]
    for name in spikeloom.__all__:
        lines += _member(name, getattr(spikeloom, name), "spikeloom")
    return "\n".join(lines).rstrip() + "\n"


def _module(module: ModuleType) -> Iterator[str]:
    yield from (f"## {module.__name__}", "", *_prose(module), "")
    for name, member in _public(module):
        yield from _member(name, member, module.__name__)


def _public(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """Yield classes and functions that are defined in a module, in its order."""
    listed = getattr(module, "__all__", None)
    for name, member in vars(module).items():
        own = getattr(member, "__module__", None) == module.__name__
        if (
            (inspect.isclass(member) or inspect.isfunction(member))
            and own
            and not name.startswith("_")
            and (listed is None or name in listed)
        ):
            yield name, member


def _member(name: str, member: Any, where: str) -> Iterator[str]:
    yield from (f"### {where}.{name}", "")
    if inspect.isclass(member):
        bases = ", ".join(base.__name__ for base in member.__bases__ if base is not object)
        yield from ("```python", f"class {name}({bases})" if bases else f"class {name}", "```", "")
        yield from (*_prose(member), "")
        yield from _fields(member)
        for method, function in vars(member).items():
            yield from _method(name, method, function)
    else:
        yield from ("```python", _signature(name, member), "```", "", *_prose(member), "")


def _method(owner: str, name: str, member: Any) -> Iterator[str]:
    function = member.__func__ if isinstance(member, classmethod | staticmethod) else member
    if name.startswith("_") or name == "model_config":
        return
    if inspect.isfunction(function):
        yield from (f"`{_signature(f'{owner}.{name}', function)}`", "", *_prose(function), "")
    elif isinstance(function, property) or type(function).__name__ == "cached_property":
        yield from (f"`{owner}.{name}`", "", *_prose(function), "")


def _fields(member: type) -> list[str]:
    """Return a table of what a model, a dataclass or an enumeration holds."""
    rows: list[tuple[str, ...]] = []
    if issubclass(member, enum.Enum):
        rows = [("member", "value"), *((f"`{item.name}`", f"`{item.value!r}`") for item in member)]
    elif issubclass(member, BaseModel):
        rows = [("field", "type", "default", "")]
        for name, field in member.model_fields.items():
            kind = str(inspect.get_annotations(member).get(name, ""))
            shown = (
                ""
                if field.is_required()
                else f"`{_plain(field.get_default(call_default_factory=True))}`"
            )
            rows.append((f"`{name}`", f"`{kind}`" if kind else "", shown, field.description or ""))
    elif dataclasses.is_dataclass(member):
        rows = [
            ("field", "type"),
            *((f"`{f.name}`", f"`{f.type}`") for f in dataclasses.fields(member)),
        ]
    if len(rows) < 2:
        return []
    header, *body = rows
    return [_row(header), _row(("---",) * len(header)), *map(_row, body), ""]


def _row(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _plain(value: Any) -> str:
    if isinstance(value, BaseModel):
        return f"{type(value).__name__}()"
    return repr(value)


def _signature(name: str, function: Any) -> str:
    """Return name, parameters and result as the source has them; self and cls are left out."""
    signature = inspect.signature(function)
    empty = inspect.Parameter.empty
    shown = [
        item.replace(
            default=empty if item.default is empty else _Text(_default(item.default)),
            annotation=empty if item.annotation is empty else _Text(str(item.annotation)),
        )
        for item in signature.parameters.values()
        if item.name not in ("self", "cls")
    ]
    result = signature.return_annotation
    returned = empty if result is inspect.Signature.empty else _Text(str(result))
    return name + str(signature.replace(parameters=shown, return_annotation=returned))


class _Text:
    """Text that stands in a signature as it is."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def _default(value: Any) -> str:
    if inspect.isfunction(value) or inspect.isclass(value):
        return value.__name__
    return _plain(value).replace("'", '"')


def _first_line(thing: Any) -> str:
    return (inspect.getdoc(thing) or "").partition("\n")[0]


def _prose(thing: Any) -> list[str]:
    """Return a docstring as Markdown: sections in bold, their entries as a list."""
    text = inspect.getdoc(thing) or ""
    parts = _SECTION.split(text)
    lines = _plain_text(parts[0])
    for title, body in zip(parts[1::2], parts[2::2], strict=True):
        lines += ["", f"**{title}**", ""]
        lines += _entries(body) if title != "Notes" else _plain_text(body)
    return lines


def _plain_text(text: str) -> list[str]:
    """Return paragraphs; indented blocks become code, and lines of the form ``name : text`` a list."""
    lines: list[str] = []
    for block in filter(str.strip, re.split(r"\n\s*\n", text.strip("\n"))):
        rows = block.splitlines()
        if all(row.startswith("    ") for row in rows):
            rows = ["```", *rows, "```"]
        elif all(row.startswith(" ") or re.match(r"[\w, ]+ : ", row) for row in rows):
            rows = [f"  {row.strip()}" if row.startswith(" ") else f"- {row}" for row in rows]
        lines += [*rows, ""]
    return lines[:-1]


def _entries(body: str) -> list[str]:
    """Return the entries of a section, each with what is indented below it."""
    lines: list[str] = []
    for line in body.strip("\n").splitlines():
        if line and not line.startswith(" "):
            lines.append(f"- `{line}`" if re.fullmatch(r"[\w, .:|\[\]*]+", line) else f"- {line}")
        elif line.strip():
            lines.append(f"  {line.strip()}")
    return lines


def main() -> None:
    """Write the pages, and remove those that are no longer made."""
    made = pages()
    for path in FOLDER.glob("*.md"):
        if path.name not in made:
            path.unlink()
    for name, text in made.items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
