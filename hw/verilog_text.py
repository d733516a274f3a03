"""Make Amaranth's Verilog readable: plain names, one port a line, no attributes of the converter; and read it back."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

__all__ = ["Instance", "Netlist", "tidy"]

_ESCAPED = re.compile(r"\\(\S+) ")
_PLAIN = re.compile(r"(?<!\\)\b[A-Za-z_]\w*")
_ATTRIBUTE = re.compile(r"^ *\(\* (?:init|enum_\w+|keep_hierarchy) = .*\*\)\n", re.MULTILINE)
_NO_BITS = re.compile(
    r"^ *wire \[-1:0\] \S+ ?;\n", re.MULTILINE
)  # a signal without bits; Verilog would give it two
_HEADER = re.compile(r"^module (\S+) ?\(([^)]*)\);", re.MULTILINE)
_TRIGGER = "$auto$verilog_backend"  # Yosys' register that starts `always @*` blocks at time 0


def tidy(text: str) -> str:
    r"""Return the Verilog ``text`` of Amaranth with plain identifiers, and without what only the converter reads.

    An escaped identifier becomes a plain one, the same one everywhere in the text: ``\$12`` is ``n12``,
    ``\payload$7`` is ``payload_7``, the module ``\tile.router`` is ``tile_router``.
    """
    text = text[text.index("\nmodule ") + 1 :]
    text = _NO_BITS.sub("", _ATTRIBUTE.sub("", text))
    taken = set(_PLAIN.findall(text))
    names: dict[str, str] = {}
    trigger = _unused("at_start", taken)

    def plain(match: re.Match[str]) -> str:
        escaped = match[1]
        if escaped not in names:
            # Every module has its own trigger, all of one name.
            name = trigger if escaped.startswith(_TRIGGER) else _unused(_plain_name(escaped), taken)
            names[escaped] = name
            taken.add(name)
        return names[escaped]

    text = _ESCAPED.sub(plain, text)
    return _HEADER.sub(_split_header, text).strip() + "\n"


def _plain_name(escaped: str) -> str:
    name = re.sub(r"\W+", "_", escaped).strip("_")
    if not name or name[0].isdigit():
        return f"n{name}"
    return f"{name}_" if name == escaped else name  # escaped though plain: a keyword


def _unused(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    return name


def _split_header(match: re.Match[str]) -> str:
    ports = sorted(match[2].replace("\n", " ").replace(" ", "").split(","))
    first = [name for name in ("clk", "rst") if name in ports]
    lines = ",\n".join(f"    {name}" for name in (*first, *(p for p in ports if p not in first)))
    return f"module {match[1]} (\n{lines}\n);"


@dataclass(frozen=True)
class Instance:
    """A module inside a module: ``name`` of the instance, the ``module`` it is of, its integer ``parameters``."""

    name: str
    module: str
    parameters: dict[str, int]


class Netlist:
    """Which module holds which instances, read from tidy Verilog ``texts``."""

    _MODULE = re.compile(r"^module (\w+)\b(.*?)^endmodule", re.MULTILINE | re.DOTALL)
    _INSTANCE = re.compile(
        r"^  (\w+) (?:#\(\n(.*?)\n  \) )?(\w+) \(\n    \.", re.MULTILINE | re.DOTALL
    )
    _PARAMETER = re.compile(r"\.(\w+)\(32'(?:s?)d(\d+)\)")

    def __init__(self, texts: dict[str, str]) -> None:
        self.inside: dict[str, list[Instance]] = {}
        for text in texts.values():
            for module, body in self._MODULE.findall(text):
                self.inside[module] = [
                    Instance(name, of, {k: int(v) for k, v in self._PARAMETER.findall(parameters)})
                    for of, parameters, name in self._INSTANCE.findall(body)
                ]

    @cached_property
    def users(self) -> dict[str, list[str]]:
        """Module -> the module of each instance of it."""
        users: dict[str, list[str]] = {}
        for module, instances in self.inside.items():
            for instance in instances:
                users.setdefault(instance.module, []).append(module)
        return users

    def count(self, module: str, top: str) -> int:
        """Return how many instances of ``module`` there are below ``top``, ``top`` itself being one."""
        if module == top:
            return 1
        return sum(self.count(user, top) for user in self.users.get(module, ()))

    def instances_of(self, module: str) -> Iterator[tuple[str, Instance]]:
        """Yield (module around it, instance) for each instance of ``module`` in the texts."""
        for user, instances in self.inside.items():
            for instance in instances:
                if instance.module == module:
                    yield user, instance
