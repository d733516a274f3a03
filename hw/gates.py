"""Gate equivalents of the chip's components, by Yosys' generic synthesis; memories are listed beside, not counted."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from math import fsum
from pathlib import Path
from typing import Literal

from amaranth.lib import wiring
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..chip.config import ChipConfig
from .components import COMPONENTS, TILE_MODULE, Place, component_of_module
from .memory import RAM_MODULE
from .verilog import CHIP_MODULE, FIXED, emit, emit_chip
from .verilog_text import Netlist
from .yosys import YOSYS, ToolError, run_yosys

__all__ = [
    "CELL_GATES",
    "CELL_SOURCE",
    "GateComponent",
    "GatesResult",
    "RamUse",
    "component_gates",
    "count_gates",
]

# Area of a cell over that of a NAND of two inputs: widths in sites of 0.19 um, a NAND2_X1 being 3 wide.
CELL_SOURCE = (
    "Nangate 45 nm open cell library, widths of the X1 cells in its LEF file over that of NAND2_X1 (NAND2, AND2, XOR2, "
    "XNOR2 and DFF read there, the others recalled); ratios are taken to hold at any node"
)
_SITES = {
    "NOT": 2, "BUF": 3, "NAND": 3, "NOR": 3, "AND": 4, "OR": 4, "XOR": 6, "XNOR": 6, "MUX": 7,
    "AOI3": 4, "OAI3": 4, "AOI4": 5, "OAI4": 5, "DFF_P": 17,
}  # fmt: skip
CELL_GATES = {f"$_{name}_": sites / _SITES["NAND"] for name, sites in _SITES.items()}
_GATES = ",".join(name for name in _SITES if name not in ("NOT", "BUF", "DFF_P"))

# Every component stays a module of its own; flip-flops become plain ones, enables and resets gates in front of them.
_SCRIPT = """
read_verilog -sv {source}
{boxes}
hierarchy -top {top}
{kept}
synth -flatten -noabc -top {top}
setattr -unset init w:*
dfflegalize -cell $_DFF_P_ 01
techmap
opt_expr -full
opt_merge
opt_clean
abc -g {gates}
opt_clean -purge
tee -o stat.json stat -json
"""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class RamUse(_Model):
    """Memories of one size in a component: bits of a row, rows, how many."""

    width: int = Field(ge=1)
    depth: int = Field(ge=1)
    count: int = Field(ge=1)


class GateComponent(_Model):
    """One component: its logic in gate equivalents, its memories. Figures are of one of ``count``."""

    component: str
    what: str
    place: Place
    count: int = Field(ge=1, description="of them on the chip")
    cells: dict[str, int] = Field(description="cells of Yosys' gate library")
    flip_flops: int = Field(ge=0)
    gate_equivalents: float = Field(ge=0, description="NANDs of two inputs, memories apart")
    rams: list[RamUse]


class GatesResult(_Model):
    """The logic of a chip in gate equivalents, and its memories."""

    kind: Literal["gates"] = "gates"
    schema_version: Literal[1] = 1
    chip: str
    config_hash: str
    cores: int = Field(ge=0, description="0: learning engines alone")
    verilog_sha256: str
    tools: list[str]
    cell_source: str = CELL_SOURCE
    components: list[GateComponent]
    gate_equivalents: float = Field(description="of the whole chip, memories apart")

    @model_validator(mode="after")
    def _check(self) -> GatesResult:
        total = fsum(part.gate_equivalents * part.count for part in self.components)
        if abs(total - self.gate_equivalents) > 0.01:
            raise ValueError(f"components sum to {total}, not to {self.gate_equivalents}")
        return self


def count_gates(
    config: ChipConfig,
    *,
    cache: Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> GatesResult:
    """Synthesise the chip to gates, a module a component; seconds to minutes, so results are kept by their input.

    Parameters
    ----------
    config
        The chip. A tile is synthesised once, however many there are, and so is a row of an engine.
    cache
        Folder for results, named by a hash of the Verilog, the script and the tool's version; by default
        ``$XDG_CACHE_HOME/spikeloom``, or ``~/.cache/spikeloom``.
    progress
        Called with what is being done.

    Raises
    ------
    ToolError
        When Yosys is not installed.
    """
    tell = progress or (lambda _: None)
    tell("Verilog")
    texts = emit_chip(config)
    tools = [YOSYS.version]
    digest = hashlib.sha256("".join(texts.values()).encode()).hexdigest()
    key = hashlib.sha256(
        "\n".join([digest, *tools, _SCRIPT, str(CELL_GATES), config.config_hash]).encode()
    ).hexdigest()
    file = (cache or _cache_folder()) / f"gates-{key[:24]}.json"
    kept = _read(file)
    if kept is not None:
        return kept
    cores = 0 if config.many_core_half is None else config.many_core.core_count
    parts = _components(texts, cores, tell)
    result = GatesResult(
        chip=config.name,
        config_hash=config.config_hash,
        cores=cores,
        verilog_sha256=digest,
        tools=tools,
        components=parts,
        gate_equivalents=fsum(part.gate_equivalents * part.count for part in parts),
    )
    _write(file, result.model_dump_json())
    return result


def component_gates(component: wiring.Component, name: str) -> float:
    """Return the gate equivalents of a component by itself, memories apart.

    What stands in it `ByName` is synthesised once, whatever flows into it being anything.

    Raises
    ------
    ToolError
        When Yosys is not installed.
    """
    texts = emit(component, name)
    netlist = Netlist(texts)
    return fsum(
        netlist.count(part, name) * _equivalents(cells)
        for part in _parts(texts)
        for cells in _synthesise(part, texts, (), lambda _: None).values()
    )


def _components(
    texts: Mapping[str, str], cores: int, tell: Callable[[str], None]
) -> list[GateComponent]:
    """Synthesise what has files of its own, and lay each module's cells and memories to its component."""
    netlist = Netlist(dict(texts))
    parts = _parts(texts)
    cells = {component.name: Counter[str]() for component in COMPONENTS}
    rams = {component.name: Counter[tuple[int, int]]() for component in COMPONENTS}
    for part in parts:
        names = [name for name in netlist.inside if _part_of(name, parts) == part]
        kept = [name for name in names if component_of_module(name)]
        for module, found in _synthesise(part, texts, kept, tell).items():
            for owner, times in _owners(module, netlist, parts).items():
                for kind, number in found.items():
                    cells[owner][kind] += times * number
        for module in names:
            for instance in netlist.inside[module]:
                if instance.module == RAM_MODULE:
                    size = instance.parameters["WIDTH"], instance.parameters["DEPTH"]
                    for owner, times in _owners(module, netlist, parts, instance.name).items():
                        rams[owner][size] += times
    return [
        GateComponent(
            component=component.name,
            what=component.what,
            place=component.place,
            count=cores if component.in_tile else 1,
            cells=dict(sorted(found.items())),
            flip_flops=found["$_DFF_P_"],
            gate_equivalents=_equivalents(found),
            rams=[
                RamUse(width=width, depth=depth, count=number)
                for (width, depth), number in sorted(rams[component.name].items())
            ],
        )
        for component, found in zip(COMPONENTS, cells.values(), strict=True)
        if found or rams[component.name]
    ]


def _parts(texts: Mapping[str, str]) -> list[str]:
    """Return the modules that have a file of their own, but for those written by hand."""
    names = (file.removesuffix(".v") for file in texts)
    return [name for name in names if name not in FIXED]


def _synthesise(
    part: str, texts: Mapping[str, str], kept: Sequence[str], tell: Callable[[str], None]
) -> dict[str, Counter[str]]:
    """Return the cells of a part by module, ``kept`` ones for themselves; other parts and memories are boxes."""
    boxes = [
        f"{other}.v"
        for other in (*_parts(texts), RAM_MODULE)
        if other not in (part, CHIP_MODULE) and f"{other}.v" in texts
    ]
    script = _SCRIPT.format(
        source=f"{part}.v",
        boxes=f"read_verilog -sv -lib {' '.join(boxes)}" if boxes else "",
        top=part,
        kept=f"setattr -mod -set keep_hierarchy 1 {' '.join(kept)}" if kept else "",
        gates=_GATES,
    )
    run = run_yosys(script, texts, ["stat.json"], progress=lambda text: tell(f"{part}: {text}"))
    cells: dict[str, Counter[str]] = {}
    for module, found in json.loads(run.files["stat.json"])["modules"].items():
        cells[module.removeprefix("\\")] = kinds = Counter[str]()
        for kind, number in found["num_cells_by_type"].items():
            if kind in CELL_GATES:
                kinds[kind] = number
            elif kind.startswith("$"):
                raise ToolError(f"no gate equivalents are known for Yosys' cell {kind}")
    return cells


def _equivalents(cells: Mapping[str, int]) -> float:
    return fsum(CELL_GATES[kind] * number for kind, number in cells.items())


def _part_of(module: str, parts: list[str]) -> str | None:
    """Return the part in whose file a module is."""
    names = [part for part in parts if module == part or module.startswith(f"{part}_")]
    return max(names, key=len, default=None)


def _owners(module: str, netlist: Netlist, parts: list[str], inside: str = "") -> Counter[str]:
    """Return the components that have a module, or what is ``inside`` it, and how often; of a tile, of one."""
    part = _part_of(module, parts)
    if part in (None, CHIP_MODULE, TILE_MODULE):
        return Counter({_owner(f"{module}_{inside}" if inside else module): 1})
    owners = Counter[str]()
    for user in netlist.users[part]:
        owners += _owners(user, netlist, parts)
    return owners


def _owner(module: str) -> str:
    """Return the component that a module is, or is part of; what is around components is control, or the top."""
    parts = module.split("_")
    for end in range(len(parts), 0, -1):
        component = component_of_module("_".join(parts[:end]))
        if component is not None:
            return component.name
    return "core control" if module.startswith(TILE_MODULE) else "top"


def _cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "spikeloom"


def _read(file: Path) -> GatesResult | None:
    """Return a result that was kept; None if there is none, or it is damaged."""
    try:
        return GatesResult.model_validate_json(file.read_bytes())
    except (OSError, ValidationError):
        return None


def _write(file: Path, text: str) -> None:
    """Keep a result; a cache that cannot be written is no error."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=file.parent, delete=False, encoding="utf-8") as f:
            f.write(text)
        Path(f.name).replace(file)
    except OSError:
        return
