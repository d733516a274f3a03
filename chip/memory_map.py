"""A core's memories as the host loads and reads them: numbers, rows, fields of a row, and a program's images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .config import ManyCoreConfig
from .events import CORE_EVENTS, PORTS
from .packet import FlitLayout
from .program import ManyCoreProgram
from .signature import STATE_BITS

COUNTER_BITS = 32  # counters wrap
SIGNATURE_UNITS = (
    "core",
    *PORTS,
)  # rows of SIGNATURES: the soma's retires, then each output of the router
WORD_BITS = 64  # images are arrays of words of this width, a row's least significant word first


class Memory(IntEnum):
    """Number of a core's memory on the load chain."""

    REGISTERS = 0
    WEIGHTS = 1  # row: group of neurons, then axon
    NEURONS = 2  # row: neuron
    STATE = 3  # row: neuron; read only
    ROUTES = 4
    TABLE = 5
    COUNTERS = 6  # events of a core, then hops of each port; read only
    SIGNATURES = 7  # read only


WRITABLE = (Memory.REGISTERS, Memory.WEIGHTS, Memory.NEURONS, Memory.ROUTES, Memory.TABLE)
READABLE = (Memory.STATE, Memory.COUNTERS, Memory.SIGNATURES)


@dataclass(frozen=True)
class Field:
    """A field of a row: ``name``, width in ``bits``, and whether it ``is_signed`` (two's complement)."""

    name: str
    bits: int
    is_signed: bool = False


@dataclass(frozen=True)
class RowLayout:
    """One memory: how many ``rows``, and the ``fields`` of each, least significant first."""

    memory: Memory
    rows: int
    fields: tuple[Field, ...]

    @cached_property
    def bits(self) -> int:
        """Width of a row."""
        return sum(field.bits for field in self.fields)

    @property
    def words(self) -> int:
        """Words of `WORD_BITS` bits in the image of a row."""
        return -(-self.bits // WORD_BITS)

    def unpack(self, row: int) -> dict[str, int]:
        """Return the fields of a row."""
        values = {}
        for field in self.fields:
            value = row & ((1 << field.bits) - 1)
            if field.is_signed and value >> (field.bits - 1):
                value -= 1 << field.bits
            values[field.name] = value
            row >>= field.bits
        return values

    def image(self, columns: Mapping[str, Iterable[int]]) -> NDArray[np.uint64]:
        """Return (rows given, words) from one sequence of values per field."""
        rows: list[int] = []
        series = [columns[field.name] for field in self.fields]
        for values in zip(*series, strict=True):
            row, shift = 0, 0
            for field, value in zip(self.fields, values, strict=True):
                row |= (int(value) & ((1 << field.bits) - 1)) << shift
                shift += field.bits
            rows.append(row)
        size = self.words * WORD_BITS // 8
        raw = b"".join(row.to_bytes(size, "little") for row in rows)
        return np.frombuffer(raw, dtype="<u8").reshape(len(rows), self.words)


def index_bits(count: int) -> int:
    """Return the width of an index of ``count`` things, at least 1."""
    return max((count - 1).bit_length(), 1)


@dataclass(frozen=True)
class CoreMemories:
    """The memories of every core of a many-core, and the widths that follow from its configuration."""

    config: ManyCoreConfig

    @cached_property
    def weight_modes(self) -> tuple[int, ...]:
        """Bits of a weight in each mode, the register ``mode`` being the index: full width, then 4 and 2."""
        bits = self.config.core.weight_bits
        return (bits, *(mode for mode in (4, 2) if mode < bits and bits % mode == 0))

    @property
    def most_lanes(self) -> int:
        """Accumulators of a core: effective lanes of the narrowest mode."""
        return self.config.effective_lanes(self.weight_modes[-1])

    @property
    def axon_bits(self) -> int:
        """Width of an axon's index."""
        return index_bits(self.config.core.axons)

    @property
    def neuron_bits(self) -> int:
        """Width of a neuron's index."""
        return index_bits(self.config.core.neurons)

    @property
    def route_bits(self) -> int:
        """Width of an index into the routing memory."""
        return index_bits(self.config.core.route_entries)

    @property
    def weight_groups(self) -> int:
        """Groups of neurons at full weight width."""
        return -(-self.config.core.neurons // self.config.core.lanes)

    @cached_property
    def layouts(self) -> dict[Memory, RowLayout]:
        """The layout of each memory."""
        core = self.config.core
        membrane = core.membrane_bits
        flit = FlitLayout.of(self.config)
        registers = (
            Field("neurons", core.neurons.bit_length()), Field("mode", 2), Field("kind", 3),
            Field("axon_signed", 1), Field("i_shift", 5), Field("requant_shift", 6), Field("reset_mode", 2),
            Field("reset_timing", 1), Field("compare", 1), Field("max_output", core.activation_bits),
            Field("floor", 1), Field("refractory", 8), Field("random_mask", 31), Field("random_seed", 32),
            Field("depth", 21), Field("timesteps", 32), Field("steps_per_timestep", 17),
        )  # fmt: skip
        neurons = (
            *(Field(name, membrane, True) for name in ("v_threshold", "v_reset", "v_init", "i_init", "bias")),
            Field("decay_mem", core.decay_bits + 1), Field("decay_syn", core.decay_bits + 1),
            Field("route_base", self.route_bits), Field("route_count", core.route_entries.bit_length()),
        )  # fmt: skip
        state = (
            Field("v_mem", membrane, True),
            Field("i_syn", membrane, True),
            Field("refractory_left", 8),
        )
        route = tuple(
            Field(name, bits, name in ("dx", "dy")) for name, bits in flit.fields if name != "payload"
        )  # fmt: skip
        weights = (Field("weights", core.lanes * core.weight_bits),)
        table = (Field("output", core.activation_bits + 1, True),)
        shapes = (
            (Memory.REGISTERS, 1, registers),
            (Memory.WEIGHTS, ((self.weight_groups - 1) << self.axon_bits) + core.axons, weights),
            (Memory.NEURONS, core.neurons, neurons),
            (Memory.STATE, core.neurons, state),
            (Memory.ROUTES, core.route_entries, route),
            (Memory.TABLE, 256, table),
            (Memory.COUNTERS, len(CORE_EVENTS) + len(PORTS), (Field("count", COUNTER_BITS),)),
            (Memory.SIGNATURES, len(SIGNATURE_UNITS), (Field("signature", STATE_BITS),)),
        )
        return {memory: RowLayout(memory, rows, fields) for memory, rows, fields in shapes}

    def images(
        self, program: ManyCoreProgram, c: int, timesteps: int
    ) -> dict[Memory, NDArray[np.uint64]]:
        """Return what the host writes to core ``c``: memory -> (rows, words), from row 0 on.

        ``timesteps`` are the network timesteps of a sample, which a core counts.
        """
        layouts = self.layouts
        mode = self.weight_modes.index(int(program.register("weight_mode_bits")[c]))
        own = {
            "mode": mode,
            "timesteps": timesteps,
            "steps_per_timestep": program.steps_per_timestep,
        }
        registers = {
            f.name: [own[f.name] if f.name in own else int(program.register(f.name)[c])]
            for f in layouts[Memory.REGISTERS].fields
        }
        first, last = int(program.route_offset[c]), int(program.route_offset[c + 1])
        names = [f.name for f in layouts[Memory.ROUTES].fields]
        routes: dict[str, list[int]] = dict(
            zip(names, program.routes[first:last].T.tolist(), strict=True)
        )
        neurons = {
            f.name: getattr(program, f.name)[c].tolist() for f in layouts[Memory.NEURONS].fields
        }
        images = {
            Memory.REGISTERS: layouts[Memory.REGISTERS].image(registers),
            Memory.WEIGHTS: self._weight_image(program.weights[c], self.weight_modes[mode]),
            Memory.NEURONS: layouts[Memory.NEURONS].image(neurons),
            Memory.ROUTES: layouts[Memory.ROUTES].image(routes),
        }
        if len(program.table):
            images[Memory.TABLE] = layouts[Memory.TABLE].image(
                {"output": program.table[c].tolist()}
            )
        return images

    def _weight_image(self, weights: NDArray[np.integer], bits: int) -> NDArray[np.uint64]:
        """Pack (axons, neurons) weights of ``bits`` bits: row (group, axon) holds the group's, first neuron lowest."""
        layout, lanes = self.layouts[Memory.WEIGHTS], self.config.effective_lanes(bits)
        axons, neurons = weights.shape
        groups = -(-neurons // lanes)
        padded = np.zeros((1 << self.axon_bits, groups * lanes), dtype=np.int64)
        padded[:axons, :neurons] = weights
        rows = padded.reshape(-1, groups, lanes).swapaxes(0, 1).reshape(-1, lanes)
        places = (rows[:, :, None] >> np.arange(bits)) & 1
        flat = places.reshape(len(rows), -1).astype(np.uint8)
        image = np.zeros((len(rows), layout.words * WORD_BITS), dtype=np.uint8)
        image[:, : flat.shape[1]] = flat
        packed = np.packbits(image, axis=1, bitorder="little").view("<u8")
        return packed[: ((groups - 1) << self.axon_bits) + axons]
