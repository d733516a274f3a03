"""Gates and memories of a many-core without any synthesis tool: from stored syntheses, or a fit to them."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from ..chip.config import ChipConfig
from ..chip.host_link import TAG_BITS
from ..chip.memory_map import CoreMemories, Memory
from ..chip.packet import FlitLayout
from .model import ReportModel

__all__ = [
    "FEATURES",
    "GateTable",
    "StoredChip",
    "features",
    "gates_of",
    "load_gate_table",
    "memories_of",
]

_FILE = Path(__file__).parent / "synthesised" / "many_core.json"

# What a component's gates grow with; coefficients are in the table. A name is a product of the configuration's widths
# and depths, written in `features`; `one` is what is there at any size.
FEATURES: dict[str, tuple[str, ...]] = {
    "axon": ("valid bits of axons", "axons", "activation bits", "one"),
    "synapse": ("lane weight bits", "late weight bits", "one"),
    "dendrite": (
        "accumulator bits", "product bits", "product register bits", "valid bits of sums", "sum bits", "one",
    ),
    "soma": ("decay product bits", "membrane bits", "sum bits", "activation bits", "one"),
    "sender": ("outbox bits", "flit bits", "one"),
    "schedule": ("neuron index bits", "axon index bits", "one"),
    "counters": ("index bits of events", "one"),
    "core control": ("register bits", "signatures", "one"),
    "load node": ("weight word bits", "neuron word bits", "flit bits", "one"),
    "signatures": ("flit bits", "membrane bits", "one"),
    "router": ("fifo bits", "flit bits", "one"),
    "barrier": ("cores", "one"),
    "host port": ("input ports x flit bits", "output ports x output bits", "queue index bits", "one"),
    "top": ("cores", "one"),
}  # fmt: skip


class StoredRam(ReportModel):
    """Memories of one size in a component."""

    width: int = Field(ge=1)
    depth: int = Field(ge=1)
    count: int = Field(ge=1)


class StoredComponent(ReportModel):
    """What synthesis found of a component; figures are of one of ``count``."""

    component: str
    place: Literal["core", "router", "chip"]
    count: int = Field(ge=1)
    flip_flops: int = Field(ge=0)
    gate_equivalents: float = Field(ge=0)
    rams: list[StoredRam]


class StoredChip(ReportModel):
    """A chip that was synthesised: the many-core's configuration, and its components."""

    chip: str
    many_core: dict[str, Any]
    verilog_sha256: str
    components: list[StoredComponent]


class Error(ReportModel):
    """How far the fit is off, each chip being predicted from the others: shares of the gates."""

    chips: int
    median: float
    largest: float


class GateTable(ReportModel):
    """Chips that were synthesised, and a fit to them; `command` makes it."""

    version: Literal[1]
    command: str
    tools: list[str]
    cell_source: str
    coefficients: dict[str, dict[str, float]] = Field(description="gates of one of each feature")
    errors: dict[str, Error] = Field(description="by component; tile: of a core and its router")
    chips: list[StoredChip]


@cache
def load_gate_table() -> GateTable:
    """Load our table of syntheses."""
    try:
        return GateTable.model_validate_json(_FILE.read_bytes())
    except ValidationError as error:
        raise ValueError(f"{_FILE} is damaged: {error.errors()[0]['msg']}") from None


def features(config: ChipConfig) -> dict[str, float]:
    """Return every size that a component's gates may grow with, by name."""
    chip = config.many_core
    core, mesh = chip.core, chip.network
    memories, flit = CoreMemories(chip), FlitLayout.of(chip)
    layouts = memories.layouts
    modes = memories.weight_modes
    lanes = {bits: core.lanes * (core.weight_bits // bits) for bits in modes}
    wide = [bits for bits in modes if bits > 2]  # lanes of 2 bits have no multiplier
    # Lanes of a narrower mode that a wider one has not.
    own: dict[int, int] = {}
    before = 0
    for bits in modes:
        own[bits], before = lanes[bits] - before, lanes[bits]
    products = sum(own[bits] * bits * core.activation_bits for bits in wide)
    row, chosen = core.lanes * core.weight_bits, sum(own[bits] * bits for bits in modes)
    early = min(
        core.pipeline_stages - 4, 2
    )  # registers behind the weights; further ones are behind products
    late = 2 + core.pipeline_stages - 4 - early
    words = mesh.fifo_depth + (
        mesh.fifo_depth > 1
    )  # of a FIFO: its ring, and a head where it has a ring
    return {
        "one": 1.0,
        "axons": core.axons,
        "cores": chip.core_count,
        "activation bits": core.activation_bits,
        "membrane bits": core.membrane_bits,
        "flit bits": flit.bits,
        "axon index bits": memories.axon_bits,
        "neuron index bits": memories.neuron_bits,
        "index bits of events": memories.axon_bits + memories.neuron_bits,
        "valid bits of axons": core.axons * (core.delay_slots + 1),
        "valid bits of sums": core.neurons * core.delay_slots,
        "sum bits": core.accumulator_bits,
        "weight word bits": core.lanes * core.weight_bits,
        "accumulator bits": 2 * memories.most_lanes * core.accumulator_bits,
        "product bits": products,
        "product register bits": late
        * sum(own[bits] * (bits + core.activation_bits) for bits in modes),
        "lane weight bits": chosen,
        "late weight bits": row * (early > 0) + chosen * (early > 1),
        "signatures": float(chip.signatures),
        "decay product bits": 2 * core.membrane_bits * (core.decay_bits + 1),
        "outbox bits": _outbox_bits(config),
        "register bits": layouts[Memory.REGISTERS].bits,
        "neuron word bits": layouts[Memory.NEURONS].bits + layouts[Memory.STATE].bits,
        "fifo bits": 5 * words * flit.bits,
        "input ports x flit bits": len(mesh.host_rows) * flit.bits,
        "output ports x output bits": len(mesh.host_columns) * _output_bits(flit),
        "queue index bits": (len(mesh.host_rows) + len(mesh.host_columns))
        * mesh.host_queue_flits.bit_length(),
    }


def _outbox_bits(config: ChipConfig) -> int:
    memories = CoreMemories(config.many_core)
    count_bits = config.many_core.core.route_entries.bit_length()
    return FlitLayout.of(config.many_core).payload_bits + memories.route_bits + 2 + count_bits


def _output_bits(flit: FlitLayout) -> int:
    return TAG_BITS + flit.target_bits + flit.delay_bits + flit.payload_bits


def memories_of(config: ChipConfig) -> dict[str, list[StoredRam]]:
    """Return the memories of every component that has some, as the RTL declares them."""
    chip = config.many_core
    core, mesh = chip.core, chip.network
    memories, flit = CoreMemories(chip), FlitLayout.of(chip)
    layouts = memories.layouts
    slots, value = core.delay_slots, core.activation_bits
    sizes: dict[str, list[tuple[int, int]]] = {
        "axon": [(value, depth << memories.axon_bits) for depth in (2, slots, slots + 1)],
        "synapse": [(layouts[Memory.WEIGHTS].bits, layouts[Memory.WEIGHTS].rows)],
        "dendrite": 2 * [(core.accumulator_bits, slots << memories.neuron_bits)],
        "soma": [
            (layouts[memory].bits, layouts[memory].rows)
            for memory in (Memory.TABLE, Memory.STATE, Memory.NEURONS)
        ],
        "sender": [
            (layouts[Memory.ROUTES].bits, layouts[Memory.ROUTES].rows),
            (_outbox_bits(config), core.neurons),
        ],
        "host port": [
            *len(mesh.host_rows) * [(flit.bits, mesh.host_queue_flits)],
            *len(mesh.host_columns) * [(_output_bits(flit), mesh.host_queue_flits)],
        ],
    }
    return {
        name: [
            StoredRam(width=size[0], depth=size[1], count=found.count(size))
            for size in sorted(set(found))
        ]
        for name, found in sizes.items()
    }


def gates_of(config: ChipConfig) -> tuple[dict[str, Any], Literal["synthesis", "fit"]]:
    """Return a many-core's components as `area.estimate_area` takes them, and what they rest on.

    A chip whose many-core is in the table, but for the length of its timesteps, has what synthesis found; another has
    what the fit says, its flip-flops being unknown.
    """
    table = load_gate_table()
    components, basis = _stored(config, table)
    fields: dict[str, Any] = {
        "chip": config.name,
        "config_hash": config.config_hash,
        "cores": config.many_core.core_count,
        "verilog_sha256": "",
        "tools": table.tools,
        "cell_source": table.cell_source,
        "components": components,
    }
    if basis == "fit":
        fields["basis"] = f"fit to {len(table.chips)} generic syntheses of our Verilog by Yosys"
    return fields, basis


def _stored(
    config: ChipConfig, table: GateTable
) -> tuple[list[dict[str, Any]], Literal["synthesis", "fit"]]:
    wanted = _key(config.to_dict()["many_core"])
    for chip in table.chips:
        if _key(chip.many_core) == wanted:
            return [
                part.model_dump() | {"what": part.component} for part in chip.components
            ], "synthesis"
    return _fitted(config, table), "fit"


def _key(many_core: dict[str, Any]) -> str:
    timestep = {**many_core["timestep"], "period_cycles": 0}
    return json.dumps(many_core | {"timestep": timestep}, sort_keys=True)


def _fitted(config: ChipConfig, table: GateTable) -> list[dict[str, Any]]:
    sizes, rams = features(config), memories_of(config)
    places = {part.component: part.place for chip in table.chips for part in chip.components}
    chip = config.many_core
    made: list[dict[str, Any]] = []
    for component, coefficients in table.coefficients.items():
        if component == "signatures" and not chip.signatures:
            continue
        place = places[component]
        made.append(
            {
                "component": component,
                "what": component,
                "place": place,
                "count": 1 if place == "chip" else chip.core_count,
                "gate_equivalents": sum(sizes[name] * each for name, each in coefficients.items()),
                "flip_flops": None,
                "rams": [ram.model_dump() for ram in rams.get(component, ())],
            }
        )
    return made
