"""The chip on an FPGA: synthesis, and for Lattice ECP5 place and route; what it needs, how fast it runs, and why."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..chip.config import ChipConfig
from .components import COMPONENTS, component_of
from .fpga_floor_plan import Blocks, floor_plan
from .fpga_harness import HARNESS, INSTANCE, harness
from .fpga_result import ComponentUse, FpgaResult, PathStep, Resource, SeedRun
from .memory import FlatPort
from .verilog import CHIP_MODULE, FIXED, chip_ports, emit_chip
from .yosys import NEXTPNR_ECP5, YOSYS, ToolError, ToolRun, run_tool, run_yosys

__all__ = ["PARTS", "Part", "place_and_route"]

Progress = Callable[[str], None]

# Tiles are equal, and so are rows of an engine: one is synthesised, then all are put in.
_SCRIPT = """
read_verilog -sv {files}
hierarchy -top {top}
{keep}
{synthesis} -top {top}
{dissolve}
flatten
clean
write_json netlist.json
"""


@dataclass(frozen=True)
class Part:
    """A device: how it is called, what synthesis calls its family, nextpnr's options for it, its hard blocks."""

    name: str
    title: str
    synthesis: str
    device: tuple[str, ...] = ()  # empty: synthesis only
    blocks: Blocks | None = None


PARTS = {
    part.name: part
    for part in (
        Part(
            "25k", "Lattice LFE5U-25F", "synth_ecp5", ("--25k", "--package", "CABGA381"),
            Blocks((3, 4), (25, 37), (13,)),
        ),
        Part(
            "45k", "Lattice LFE5U-45F", "synth_ecp5", ("--45k", "--package", "CABGA554"),
            Blocks((4, 5), (10, 34, 58), (22, 46)),
        ),
        Part(
            "85k", "Lattice LFE5U-85F", "synth_ecp5", ("--85k", "--package", "CABGA756"),
            Blocks((7, 6), (22, 46, 70, 82), (10, 34, 58)),
        ),
        Part("xc7", "AMD (Xilinx) 7 series", "synth_xilinx -family xc7 -flatten"),
    )
}  # fmt: skip
SPEED_GRADE = "8"  # the fastest
MARGIN = 1.05  # nextpnr is asked for so much more than the clock: its router stops once it finds nothing slower
# Of the placer: four cores were routed with this weight, learning engines with nextpnr's own, 10 (docs/fpga.md).
TIMING_WEIGHTS = {"cores": "30", "engines": "10"}

# Resource -> (name in nextpnr's table, cells of synthesis that need one, and how many).
_ECP5: dict[str, tuple[str, dict[str, int]]] = {
    "LUT4": ("TRELLIS_COMB", {"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 4}),
    "flip-flop": ("TRELLIS_FF", {"TRELLIS_FF": 1}),
    "block RAM": ("DP16KD", {"DP16KD": 1, "PDPW16KD": 1}),
    "multiplier": ("MULT18X18D", {"MULT18X18D": 1}),
}
_XC7: dict[str, tuple[str, dict[str, int]]] = {
    "LUT6": ("", {f"LUT{n}": 1 for n in range(1, 7)} | {"RAM32M": 4, "RAM64M": 4, "RAM32X1D": 2}),
    "flip-flop": ("", {f"FD{kind}": 1 for kind in ("RE", "SE", "CE", "PE")}),
    "block RAM": ("", {"RAMB36E1": 2, "RAMB18E1": 1}),
    "multiplier": ("", {"DSP48E1": 1}),
}


def place_and_route(
    config: ChipConfig,
    part: str = "85k",
    *,
    seeds: Sequence[int] = (1,),
    freq_mhz: float | None = None,
    progress: Progress | None = None,
) -> FpgaResult:
    """Synthesise the chip for ``part``, and for an ECP5 place and route it with each seed.

    There is no board. Pins are left to the tool, and paths from and to them are not constrained; on an ECP5 the ports
    of a chip with learning engines, which are more than the pads, end in registers that a scan fills and reads
    (`fpga_harness`). A design that does not fit, or cannot be routed, is an answer: `FpgaResult.problem` says why.

    Parameters
    ----------
    config
        The chip.
    part
        A name of `PARTS`; ``xc7`` is synthesised only, its block RAMs counted in halves of 18 Kbit.
    seeds
        Of the placer; the result is that of the fastest.
    freq_mhz
        The clock that the tool aims for; by default the configuration's.
    progress
        Called with what is being done.

    Raises
    ------
    ToolError
        When a tool is not installed, or fails where it should not.
    ValueError
        When there is no such part, or no seed.
    """
    if part not in PARTS:
        raise ValueError(f"there is no part {part!r}, only {', '.join(PARTS)}")
    if not seeds:
        raise ValueError("seeds must hold one at least")
    chosen = PARTS[part]
    target = config.clock_hz / 1e6 if freq_mhz is None else freq_mhz
    tell = progress or (lambda _: None)
    _tools(chosen)  # missing ones are told at once
    tell("Verilog")
    texts = emit_chip(config)
    result, netlist = _synthesise(config, texts, chip_ports(config), chosen, target, tell)
    if not chosen.device:
        return result
    tried = [
        _route(result, chosen, netlist, seed, lambda text, s=seed: tell(f"seed {s}: {text}"))
        for seed in seeds
    ]
    best = max(tried, key=lambda found: found.fmax_mhz or 0)
    return best.model_copy(update={"seeds": [run for found in tried for run in found.seeds]})


def _tools(part: Part) -> list[str]:
    """Return names and versions of the tools that ``part`` needs."""
    return [tool.version for tool in ((YOSYS, NEXTPNR_ECP5) if part.device else (YOSYS,))]


def _synthesise(
    config: ChipConfig,
    texts: Mapping[str, str],
    ports: Sequence[FlatPort],
    part: Part,
    target_mhz: float,
    tell: Progress,
) -> tuple[FpgaResult, bytes]:
    """Run synthesis of ``texts``, whose top has ``ports``; return what it says, and its netlist with the floor plan."""
    is_around = part.device and config.learn_half is not None
    around = {f"{HARNESS}.v": harness(CHIP_MODULE, ports)} if is_around else {}
    equal = " ".join(
        name for file in texts if (name := file.removesuffix(".v")) not in (CHIP_MODULE, *FIXED)
    )
    script = _SCRIPT.format(
        files=" ".join((*texts, *around)),
        synthesis=part.synthesis,
        top=HARNESS if is_around else CHIP_MODULE,
        keep=f"setattr -mod -set keep_hierarchy 1 {equal}" if equal else "",
        dissolve=f"setattr -mod -unset keep_hierarchy {equal}" if equal else "",
    )
    run = run_yosys(
        script,
        {**texts, **around},
        ["netlist.json"],
        progress=lambda text: tell(f"synthesis: {text}"),
    )
    netlist = json.loads(run.files["netlist.json"])
    found = _cells(netlist)
    plan = floor_plan(((name, cell["type"]) for name, cell in found.items()), part.blocks)
    for name, place in plan.items():
        found[name]["attributes"]["BEL"] = place
    if plan:
        tell(f"floor plan of {len(plan)} block RAMs and multipliers")
    cells = [(_in_chip(name), cell["type"]) for name, cell in found.items()]
    table = _ECP5 if part.device else _XC7
    result = FpgaResult(
        chip=config.name,
        config_hash=config.config_hash,
        cores=0 if config.many_core_half is None else config.many_core.core_count,
        verilog_sha256=hashlib.sha256("".join(texts.values()).encode()).hexdigest(),
        part=part.title,
        options=f"{part.synthesis} {' '.join(part.device)}".strip(),
        target_mhz=target_mhz,
        tools=_tools(part),
        synthesis_s=run.seconds,
        resources=_resources(cells, table),
        components=_components(cells, table),
        planned_blocks=len(plan),
    )
    return result, json.dumps(netlist).encode()


def _route(result: FpgaResult, part: Part, netlist: bytes, seed: int, tell: Progress) -> FpgaResult:
    """Place and route with one seed."""
    options = [
        *part.device, "--speed", SPEED_GRADE, "--freq", f"{result.target_mhz * MARGIN:g}", "--seed", str(seed),
        "--placer-heap-timingweight", TIMING_WEIGHTS["cores" if result.cores else "engines"],
        "--router", "router2",
        "--lpf-allow-unconstrained", "--timing-allow-fail", "-q",
        "--json", "netlist.json", "--report", "report.json",
    ]  # fmt: skip
    seconds = 0.0
    for timed in (["--tmg-ripup"], []):  # connections that are too slow are routed again
        watch = _Watch()
        run = run_tool(
            NEXTPNR_ECP5,
            [*options, *timed],
            {"netlist.json": netlist},
            ["report.json"],
            progress=lambda line: (
                tell(line.removeprefix("Info:").strip()) if line.strip() else None
            ),
            give_up=watch,
        )
        seconds += run.seconds
        if not watch.is_too_slow:
            break
        tell(f"{result.target_mhz:g} MHz are out of reach; once more, for what can be reached")
    resources = _used_and_there(run.log) or result.resources
    options = [
        o
        for o in (*options, *timed)
        if not o.endswith(".json") and o not in ("--json", "--report", "-q")
    ]
    update: dict[str, Any] = {
        "options": f"{part.synthesis}; {' '.join(options)}",
        "resources": resources,
    }
    if run.code or "report.json" not in run.files:
        problem = _problem(run, resources)
        update |= {"problem": problem, "seeds": [SeedRun(seed=seed, seconds=seconds)]}
        return result.model_copy(update=update)
    report = json.loads(run.files["report.json"])
    clocks = [clock["achieved"] for name, clock in report["fmax"].items() if "clk" in name]
    fmax = min(clocks) if clocks else None
    update |= {
        "fmax_mhz": fmax,
        "path": _critical_path(report),
        "seeds": [SeedRun(seed=seed, seconds=seconds, fmax_mhz=fmax)],
    }
    return result.model_copy(update=update)


class _Watch:
    """Watches the router's log: whether it makes things worse, or does not get nearer to the clock, for hours."""

    _ITERATION = re.compile(r"iter=(\d+) .*overused=(\d+)(?:.*tmgfail=(\d+))?")
    _PATIENCE, _FEW = 15, 1000  # iterations in any case; wires that it may yet get rid of
    _PATIENCE_WITH_TIME = 60  # iterations with as many connections that are too slow as ever

    def __init__(self) -> None:
        self._best: int | None = None
        self._least_slow: int | None = None
        self._since = 0
        self.is_too_slow = False  # it was given up for the clock

    def __call__(self, line: str) -> bool:
        match = self._ITERATION.search(line)
        if match is None:
            return False
        iteration, overused, slow = (int(found or 0) for found in match.groups())
        self._best = overused if self._best is None else min(self._best, overused)
        if slow == 0 or self._least_slow is None or slow < self._least_slow:
            self._least_slow, self._since = slow, iteration
        self.is_too_slow = slow > 0 and iteration - self._since >= self._PATIENCE_WITH_TIME
        late = iteration >= self._PATIENCE and overused > self._FEW
        return self.is_too_slow or (late and overused > 2 * self._best)


def _problem(run: ToolRun, resources: Sequence[Resource]) -> str:
    """Say why a design was not placed or routed."""
    if run.code < 0:
        cells = next((r for r in resources if r.name == "LUT4" and r.available), None)
        full = f", {cells.used:,} of {cells.available:,} LUT4s being used" if cells else ""
        return f"the design was placed but cannot be routed: wires crowd more and more{full}"
    short = [r for r in resources if r.available is not None and r.used > r.available]
    if short:
        needs = ", ".join(f"{r.used:,} of {r.available:,} {r.name}s" for r in short)
        return f"the design does not fit: it needs {needs}"
    if not run.error:
        raise ToolError(f"nextpnr-ecp5 failed with exit code {run.code} and said nothing")
    return f"the design was not placed and routed: {run.error}"


def _cells(netlist: Mapping[str, Any]) -> dict[str, Any]:
    """Return the cells of the top by their flattened names."""
    tops = [m for m in netlist["modules"].values() if int(m["attributes"].get("top", "0"), 2)]
    return tops[0]["cells"]


def _in_chip(name: str) -> str:
    """Return a name without the harness's part of it."""
    return name.removeprefix(f"{INSTANCE}.")


def _resources(
    cells: Sequence[tuple[str, str]], table: Mapping[str, tuple[str, Mapping[str, int]]]
) -> list[Resource]:
    """Return what synthesis asks for."""
    kinds = Counter(kind for _, kind in cells)
    return [
        Resource(name=name, used=sum(kinds[kind] * each for kind, each in needs.items()))
        for name, (_, needs) in table.items()
    ]


def _components(
    cells: Sequence[tuple[str, str]], table: Mapping[str, tuple[str, Mapping[str, int]]]
) -> list[ComponentUse]:
    """Return what each component needs, all tiles together."""
    kinds: dict[str, Counter[str]] = {component.name: Counter() for component in COMPONENTS}
    for name, kind in cells:
        kinds[component_of(name).name][kind] += 1
    if kinds["signatures"]:  # their trees of XOR begin in the tile, with what they watch
        kinds["signatures"] += kinds.pop("tile wiring")
    rows = []
    for name, found in kinds.items():
        uses = {
            resource: sum(found[kind] * each for kind, each in needs.items())
            for resource, (_, needs) in table.items()
        }
        if any(uses.values()):
            rows.append(ComponentUse(component=name, uses=uses))
    return rows


def _used_and_there(log: str) -> list[Resource]:
    """Return nextpnr's table of what is used and what the device has; empty if it did not come to that."""
    found: dict[str, tuple[int, int]] = {}
    for name, used, there in re.findall(r"Info:\s+(\w+):\s+(\d+)/\s*(\d+)\s+\d+%", log):
        found.setdefault(name, (int(used), int(there)))
    return [
        Resource(name=name, used=found[bel][0], available=found[bel][1])
        for name, (bel, _) in _ECP5.items()
        if bel in found
    ]


def _critical_path(report: Mapping[str, Any]) -> list[PathStep]:
    """Return the slowest path between two registers, a step a delay."""
    paths = [
        path["path"]
        for path in report["critical_paths"]
        if path["from"].startswith("posedge") and path["from"] == path["to"]
    ]
    if not paths:
        return []
    slowest = max(paths, key=lambda steps: sum(step["delay"] for step in steps))
    return [
        PathStep(
            component=component_of(_in_chip(step["to"]["cell"])).name,
            cell=_in_chip(step["to"]["cell"]),
            net=step.get("net", ""),
            kind=step["type"],
            delay_ns=step["delay"],
        )
        for step in slowest
    ]
