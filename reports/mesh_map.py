"""Maps of the mesh: which layer a core belongs to, and frames of activity and traffic over chip timesteps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .result import RunResult

# Okabe and Ito's colours, which the colour-blind can tell apart; layers beyond them start again, their numbers do not.
LAYER_COLOURS = (
    "#56b4e9", "#e69f00", "#009e73", "#f0e442", "#cc79a7", "#d55e00", "#5b8fd6", "#b0b0b0",
)  # fmt: skip

# Cividis (Nunez, Anderton and Renslow, 2018), dark to light: ordered in lightness, for the colour-blind too.
HEAT_COLOURS = (
    "#00224e", "#06316f", "#27406d", "#3c4d6e", "#4d5b6f", "#5d6972", "#6d7776", "#7c8578",
    "#8d9475", "#9fa36e", "#b1b365", "#c4c459", "#d8d54a", "#ebe438", "#fdea45",
)  # fmt: skip
HEAT_STEPS = len(HEAT_COLOURS)

# Values in the page's frames at most; longer runs put several timesteps into a frame.
_FRAME_VALUES = 80_000


@dataclass(frozen=True)
class Cell:
    """One place of the mesh: number of its ``core`` or -1, number of its ``layer`` or 0, the layer's ``name``."""

    x: int
    y: int
    core: int
    layer: int
    name: str


@dataclass(frozen=True)
class Frames:
    """Values over chip timesteps, means a sample: ``steps`` names the timesteps of each frame."""

    steps: tuple[str, ...]
    routers: tuple[tuple[float, ...], ...]
    cores: tuple[tuple[float, ...], ...]

    @property
    def traffic(self) -> tuple[float, ...]:
        """Flits of all routers in each frame."""
        return tuple(sum(frame) for frame in self.routers)


def layer_number(result: RunResult, name: str) -> int:
    """Return the number of a layer, from 1 on; 0 if there is none of that name."""
    return next((i for i, layer in enumerate(result.layers, 1) if layer.name == name), 0)


def layer_colour(number: int) -> str:
    """Return the colour of a layer's number."""
    return LAYER_COLOURS[(number - 1) % len(LAYER_COLOURS)]


def heat_step(value: float, top: float) -> int | None:
    """Return the step of the heat scale of a value between 0 and ``top``; None for 0, which is drawn empty."""
    if value <= 0 or top <= 0:
        return None
    return min(int(value / top * HEAT_STEPS), HEAT_STEPS - 1)


def cells(result: RunResult) -> tuple[Cell, ...]:
    """Return the places of the mesh, row by row."""
    columns, rows = result.mesh["columns"], result.mesh["rows"]
    used: dict[tuple[int, int], tuple[int, str]] = {}
    for number, core in enumerate(_cores(result)):
        used[int(core["x"]), int(core["y"])] = number, str(core["layer"])
    made: list[Cell] = []
    for y in range(rows):
        for x in range(columns):
            core, name = used.get((x, y), (-1, ""))
            made.append(Cell(x, y, core, layer_number(result, name), name))
    return tuple(made)


def core_totals(result: RunResult) -> tuple[float, ...]:
    """Return the outputs of each core in use, means a sample."""
    return tuple(int(core["spikes"]) / result.samples for core in _cores(result))


def router_totals(result: RunResult) -> tuple[float, ...]:
    """Return the flits that each router forwarded, means a sample, ejected ones included."""
    columns = result.mesh["columns"]
    totals = [0.0] * (columns * result.mesh["rows"])
    for router in result.counters.get("routers", ()):
        hops = sum(int(n) for name, n in router.items() if name.startswith("hops_"))
        totals[int(router["y"]) * columns + int(router["x"])] += hops / result.samples
    return tuple(totals)


def frames(result: RunResult) -> Frames:
    """Return the maps of each chip timestep, or of a few together where they would make the page heavy."""
    routers, cores = result.steps["router_flits"], result.steps["core_spikes"]
    width = max(1, len(routers[0]) + len(cores[0]))
    together = -(-len(routers) * width // _FRAME_VALUES)
    starts = range(0, len(routers), together)
    names: list[str] = []
    for start in starts:
        last = min(start + together, len(routers)) - 1
        names.append(str(start) if last == start else f"{start} to {last}")
    return Frames(
        tuple(names),
        tuple(_mean(routers[start : start + together], result.samples) for start in starts),
        tuple(_mean(cores[start : start + together], result.samples) for start in starts),
    )


def _mean(rows: list[list[int]], samples: int) -> tuple[float, ...]:
    return tuple(float(f"{sum(column) / samples:.4g}") for column in zip(*rows, strict=True))


def _cores(result: RunResult) -> list[dict[str, Any]]:
    return list(result.counters.get("cores", ()))
