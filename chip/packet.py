"""The flit: the one packet of the network on chip, its fields, order and widths."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from .config import ManyCoreConfig


class FlitKind(IntEnum):
    """What a flit does where it is ejected."""

    AXON = 0  # add the payload to an axon's value in the slot of the timestep `delay` ahead
    HOLD = 1  # add the payload to an axon's held value, which acts in every later timestep of the sample
    SUM = 2  # add the payload to a neuron's incoming sum in the slot `delay` ahead


@dataclass(frozen=True)
class FlitLayout:
    """Widths of a flit's fields, least significant first: kind, dx, dy, target, delay, payload.

    ``dx`` and ``dy`` are signed distances to the destination, counted down by the routers; ``target`` is an axon or a
    neuron; ``delay`` counts timesteps from the sending one; ``payload`` is signed.
    A flit that leaves for the host has the destination row -1; there ``delay`` and ``target`` together number the
    output line.
    """

    kind_bits: int
    dx_bits: int
    dy_bits: int
    target_bits: int
    delay_bits: int
    payload_bits: int

    @classmethod
    def of(cls, config: ManyCoreConfig) -> FlitLayout:
        """Derive the widths from a configuration."""
        core, network = config.core, config.network
        return cls(
            kind_bits=2,
            dx_bits=network.columns.bit_length() + 1,
            dy_bits=network.rows.bit_length() + 1,
            target_bits=max((max(core.axons, core.neurons) - 1).bit_length(), 1),
            delay_bits=(core.delay_slots - 1).bit_length(),
            payload_bits=max(core.accumulator_bits, core.membrane_bits, core.activation_bits + 1),
        )

    @property
    def fields(self) -> tuple[tuple[str, int], ...]:
        """(name, bits) of each field, least significant first."""
        return (
            ("kind", self.kind_bits),
            ("dx", self.dx_bits),
            ("dy", self.dy_bits),
            ("target", self.target_bits),
            ("delay", self.delay_bits),
            ("payload", self.payload_bits),
        )

    @property
    def bits(self) -> int:
        """Width of the whole flit."""
        return sum(bits for _, bits in self.fields)

    @property
    def output_lines(self) -> int:
        """Output lines that one host column can tell apart."""
        return 1 << (self.target_bits + self.delay_bits)

    def pack(self, **values: int) -> int:
        """Pack one flit; a value that does not fit its field raises ValueError with the field's name."""
        word, shift = 0, 0
        for name, bits in self.fields:
            value = values.pop(name)
            signed = name in ("dx", "dy", "payload")
            low, high = (
                (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
            )
            if not low <= value <= high:
                raise ValueError(f"{name} must be within {low}..{high}, not {value}")
            word |= (value & ((1 << bits) - 1)) << shift
            shift += bits
        if values:
            raise ValueError(f"a flit has no field {', '.join(sorted(values))}")
        return word

    def unpack(self, word: int) -> dict[str, int]:
        """Return the fields of a packed flit."""
        values: dict[str, int] = {}
        for name, bits in self.fields:
            value = word & ((1 << bits) - 1)
            if name in ("dx", "dy", "payload") and value >> (bits - 1):
                value -= 1 << bits
            values[name] = value
            word >>= bits
        return values
