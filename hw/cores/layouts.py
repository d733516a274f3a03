"""Rows of a core's memories as Amaranth structures, with the field names of chip/memory_map.py."""

from __future__ import annotations

from amaranth.hdl import Shape, signed, unsigned
from amaranth.lib import data

from ...chip.memory_map import RowLayout
from ...chip.packet import FlitLayout


def row_struct(layout: RowLayout) -> data.StructLayout:
    """Return the structure of a row, least significant field first."""
    return data.StructLayout(
        {f.name: signed(f.bits) if f.is_signed else unsigned(f.bits) for f in layout.fields}
    )


def flit_struct(layout: FlitLayout) -> data.StructLayout:
    """Return the structure of a flit; ``dx``, ``dy`` and ``payload`` are signed."""
    shapes: dict[str, Shape] = {
        name: signed(bits) if name in ("dx", "dy", "payload") else unsigned(bits)
        for name, bits in layout.fields
    }
    return data.StructLayout(shapes)
