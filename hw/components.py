"""The components by which area and timing are reported, and which of them a part of the netlist belongs to."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

__all__ = ["COMPONENTS", "TILE_MODULE", "Component", "component_of", "component_of_module"]

TILE_MODULE = "spikeloom_tile"  # as `Mesh` names it

Place = Literal["core", "router", "chip"]


class Component(NamedTuple):
    """A component: its name, where it stands, how often (in every tile or once a chip), what it is."""

    name: str
    place: Place
    what: str

    @property
    def in_tile(self) -> bool:
        """Whether every tile has one."""
        return self.place != "chip"


# In the order of a flit's way; the names of submodules on the left, in Tile and Core.
_IN_CORE = {
    "axon": Component("axon", "core", "values of the inputs, and the walk over the active ones"),
    "synapse": Component("synapse", "core", "weights of a row, by the lane"),
    "dendrite": Component("dendrite", "core", "multipliers, accumulators, sums of other cores"),
    "soma": Component("soma", "core", "neuron updates"),
    "sender": Component("sender", "core", "outbox, routes, flits"),
    "schedule": Component("schedule", "core", "timesteps, groups, the soma's rhythm"),
    "counters": Component("counters", "core", "event counters"),
}
_CORE_REST = Component("core control", "core", "registers of the core, wiring of its units")
_LOAD = Component("load node", "core", "loading and reading of memories")
_SIGNATURES = Component("signatures", "core", "check sums over outputs and updates")
_TILE_REST = Component("tile wiring", "core", "what core, router and load node exchange")
_ROUTER = Component("router", "router", "FIFOs, arbiters, crossbar")
_BARRIER = Component("barrier", "chip", "start tree, quiet tree")
_HOST = Component("host port", "chip", "decoder, step queue, flit FIFOs, answers")
_TOP = Component("top", "chip", "what stands in none of them")

COMPONENTS = (
    *_IN_CORE.values(), _CORE_REST, _LOAD, _SIGNATURES, _TILE_REST, _ROUTER, _BARRIER, _HOST, _TOP,
)  # fmt: skip

_NUMBERED = re.compile(r"[_$]\d+$")  # Amaranth's ending where two things have one name
_TILE = re.compile(r"tile(_\d+_\d+)?$")


def component_of(path: str) -> Component:
    """Return the component of a cell or net by its flattened name, instances joined by dots.

    Names of what synthesis makes derive from a neighbour's, so at seams between components a few go to the other side.
    """
    parts = path.split(".")
    for index, part in enumerate(parts):
        if _TILE.fullmatch(part):
            return _in_tile(parts[index + 1 :])
        if part == "barrier":
            return _BARRIER
        if part == "host":
            return _HOST
    return _TOP


def component_of_module(module: str) -> Component | None:
    """Return the component whose module this is, None for a module inside a component, or around components."""
    path = module.removeprefix("spikeloom_")
    if path == "chip_host":
        return _HOST
    if path == "chip_mesh_barrier":
        return _BARRIER
    if not path.startswith("tile_"):
        return None
    parts = path.removeprefix("tile_").split("_", 1)
    if parts[0] == "core" and len(parts) == 2:
        name = _NUMBERED.sub("", parts[1])
        return _IN_CORE.get(name, _SIGNATURES if name == "signature" else None)
    return {"router": _ROUTER, "load_node": _LOAD}.get(
        path.removeprefix("tile_"),
        _SIGNATURES if re.fullmatch(r"tile_[a-z]+_signature", path) else None,
    )


def _in_tile(parts: list[str]) -> Component:
    """Return the component of a path below a tile."""
    first = parts[0] if parts else ""
    if first == "core":
        name = _NUMBERED.sub("", parts[1]) if len(parts) > 2 else ""
        return _IN_CORE.get(name, _CORE_REST)
    if first == "router":
        return _ROUTER
    if first == "load_node":
        return _LOAD
    return _SIGNATURES if first.endswith("_signature") else _TILE_REST
