"""The components by which area and timing are reported, and which of them a part of the netlist belongs to."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

__all__ = ["COMPONENTS", "TILE_MODULE", "Component", "component_of", "component_of_module"]

TILE_MODULE = "spikeloom_tile"  # as `Mesh` names it

Place = Literal["core", "router", "chip"]


class Component(NamedTuple):
    """A component: its name, where it stands, how often (in every tile or once a chip), what it is.

    The learning engines stand once on a chip.
    """

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
# Submodules of LearnChip.
_ENGINES = {
    "forward": Component("forward", "chip", "tables of weights, and lanes that add their entries"),
    "backward": Component(
        "backward", "chip", "weights, gradients, masks, and what multiplies them"
    ),
    "update": Component("update", "chip", "tables of gradients, and lanes that add their entries"),
    "vector": Component("vector", "chip", "microprograms and lanes: neurons, readout, optimiser"),
    "dma": Component("dma", "chip", "transfers between buffers and the memory beside the chip"),
    "sequencer": Component("sequencer", "chip", "command queues, tokens"),
}
_BUFFERS = Component("buffers", "chip", "what DMA and engines hand each other")
_TASK_SIGNATURES = Component("task signatures", "chip", "check sums over tasks and stores")
_HOST = Component("host port", "chip", "decoder, queues, answers; of each half")
_TOP = Component("top", "chip", "what stands in none of them")

COMPONENTS = (
    *_IN_CORE.values(), _CORE_REST, _LOAD, _SIGNATURES, _TILE_REST, _ROUTER, _BARRIER,
    *_ENGINES.values(), _BUFFERS, _TASK_SIGNATURES, _HOST, _TOP,
)  # fmt: skip

_NUMBERED = re.compile(r"[_$]\d+$")  # Amaranth's ending where two things have one name
_TILE = re.compile(r"tile(_\d+_\d+)?$")
_BUFFER = re.compile(
    r"(forward|backward|update|vector)_(weights|gradients|inputs|results)"
)  # and a number where each column has its own
_HALVES = ("cores", "engines")  # as FusionChip names them


def component_of(path: str) -> Component:
    """Return the component of a cell or net by its flattened name, instances joined by dots.

    Names of what synthesis makes derive from a neighbour's, so at seams between components a few go to the other side.
    """
    parts = path.split(".")
    if parts[0] in _HALVES:
        del parts[0]
    for index, part in enumerate(parts):
        if _TILE.fullmatch(part):
            return _in_tile(parts[index + 1 :])
        if part == "barrier":
            return _BARRIER
        if part == "host":
            return _HOST
    return (_once(parts[0]) if len(parts) > 1 else None) or _TOP


def component_of_module(module: str) -> Component | None:
    """Return the component whose module this is, None for a module inside a component, or around components."""
    path = module.removeprefix("spikeloom_")
    if path.startswith("chip_"):
        name = path.removeprefix("chip_")
        for half in _HALVES:
            name = name.removeprefix(f"{half}_")
        return _BARRIER if name == "mesh_barrier" else _once(name)
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


def _once(name: str) -> Component | None:
    """Return the component that a submodule of the chip, or of one of its halves, is."""
    name = _NUMBERED.sub("", name)
    if name == "host":
        return _HOST
    if _BUFFER.fullmatch(name):
        return _BUFFERS
    return _ENGINES.get(name, _TASK_SIGNATURES if name.startswith("signature_") else None)


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
