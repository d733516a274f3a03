"""Walks of a lookup engine over positions, and over taps and input words: addresses by addition only."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

__all__ = [
    "ADDRESS_BITS", "COORDINATE_BITS", "Geometry", "Place", "PositionWalk", "TapWalk",
]  # fmt: skip

ADDRESS_BITS = 16 + 5  # of a word: row of the buffer, word in the row
COORDINATE_BITS = 12  # two's complement; as an unsigned number one below 0 is beyond any frame
COUNT_BITS = 16

# A part of an input word's place; two of them add up: a position, and a tap with its input word.
Place = data.StructLayout(
    {"address": ADDRESS_BITS, "y": COORDINATE_BITS, "x": COORDINATE_BITS, "valid": 1}
)

# What the walks count by, worked out once a task.
Geometry = data.StructLayout(
    {
        "first": ADDRESS_BITS,  # of the first position, which may lie outside of the frame
        "first_y": COORDINATE_BITS,
        "first_x": COORDINATE_BITS,
        "column_step": ADDRESS_BITS,  # from a position to the next in its row
        "row_step": ADDRESS_BITS,
        "frame_step": ADDRESS_BITS,
        "in_row_step": ADDRESS_BITS,  # words of a row of the input
        "frames": COUNT_BITS,
        "out_rows": 10,
        "out_columns": 10,
        "stride_rows": 4,
        "stride_columns": 4,
        "kernel_rows": 4,
        "kernel_columns": 4,
        "in_words": 12,
    }
)


class _Walk(wiring.Component):
    """The ports of a walk."""

    geometry: data.View[data.StructLayout]
    restart: Signal
    advance: Signal
    place: data.View[data.StructLayout]
    ends: Signal

    def __init__(self) -> None:
        super().__init__(
            {
                "geometry": In(Geometry),
                "restart": In(1),
                "advance": In(1),
                "place": Out(Place),
                "ends": Out(1),
            }
        )


class PositionWalk(_Walk):
    """Visit the output positions of all frames: frames, rows, columns.

    Behaviour
    ---------
    ``place`` is where the first tap of the position lies: address of its first input word, coordinates. It is not
    ``valid`` behind the last position, from where only ``restart`` leads back.

    Timing
    ------
    ``place`` is a register. It is at the next position in the cycle after ``advance``, at the first one after
    ``restart``, which takes precedence. ``ends`` says that the next position is none.

    Members
    -------
    geometry : In(Geometry)
        Stable from the cycle of the first ``restart`` on.
    restart, advance : In(1)
    place : Out(Place)
    ends : Out(1)
    """

    def elaborate(self, platform: object) -> Module:
        """Build three counters, and an address for each."""
        m = Module()
        geometry, place = self.geometry, self.place
        of_frame, of_row = Signal(ADDRESS_BITS), Signal(ADDRESS_BITS)
        columns, rows, frames = Signal(10), Signal(10), Signal(COUNT_BITS)  # left, this one too
        last_column, last_row, last_frame = columns == 1, rows == 1, frames == 1
        m.d.comb += self.ends.eq((last_column & last_row & last_frame) | ~place.valid)

        next_row = Signal(ADDRESS_BITS)
        next_frame = Signal(ADDRESS_BITS)
        m.d.comb += [
            next_row.eq(of_row + geometry.row_step),
            next_frame.eq(of_frame + geometry.frame_step),
        ]
        with m.If(self.advance):
            m.d.sync += [
                columns.eq(columns - 1),
                place.address.eq(place.address + geometry.column_step),
                place.x.eq(place.x + geometry.stride_columns),
            ]
            with m.If(last_column):
                m.d.sync += [
                    columns.eq(geometry.out_columns),
                    place.x.eq(geometry.first_x),
                    rows.eq(rows - 1),
                    place.y.eq(place.y + geometry.stride_rows),
                    of_row.eq(next_row),
                    place.address.eq(next_row),
                ]
                with m.If(last_row):
                    m.d.sync += [
                        rows.eq(geometry.out_rows),
                        place.y.eq(geometry.first_y),
                        of_frame.eq(next_frame),
                        of_row.eq(next_frame),
                        place.address.eq(next_frame),
                        frames.eq(frames - 1),
                    ]
                    with m.If(last_frame):
                        m.d.sync += place.valid.eq(0)
        with m.If(self.restart):
            m.d.sync += [
                columns.eq(geometry.out_columns),
                rows.eq(geometry.out_rows),
                frames.eq(geometry.frames),
                of_frame.eq(geometry.first),
                of_row.eq(geometry.first),
                place.address.eq(geometry.first),
                place.y.eq(geometry.first_y),
                place.x.eq(geometry.first_x),
                place.valid.eq(1),
            ]
        return m


class TapWalk(_Walk):
    """Visit the input words under all taps: rows and columns of the kernel, words.

    Behaviour
    ---------
    ``place`` is the word's address and coordinates relative to those of a position. It is not ``valid`` behind the
    last word, from where only ``restart`` leads back.

    Timing
    ------
    As `PositionWalk`.

    Members
    -------
    geometry : In(Geometry)
    restart, advance : In(1)
    place : Out(Place)
    ends : Out(1)
    """

    def elaborate(self, platform: object) -> Module:
        """Build three counters; within a row of the kernel the words of all taps follow one another."""
        m = Module()
        geometry, place = self.geometry, self.place
        of_row = Signal(ADDRESS_BITS)
        words = Signal(12)  # left, this one too
        last_word = words == 1
        last_column = place.x == geometry.kernel_columns - 1
        last_row = place.y == geometry.kernel_rows - 1
        m.d.comb += self.ends.eq((last_word & last_column & last_row) | ~place.valid)

        next_row = Signal(ADDRESS_BITS)
        m.d.comb += next_row.eq(of_row + geometry.in_row_step)
        with m.If(self.advance):
            m.d.sync += [
                words.eq(Mux(last_word, geometry.in_words, words - 1)),
                place.address.eq(place.address + 1),
            ]
            with m.If(last_word):
                m.d.sync += place.x.eq(place.x + 1)
                with m.If(last_column):
                    m.d.sync += [
                        place.x.eq(0),
                        place.y.eq(place.y + 1),
                        of_row.eq(next_row),
                        place.address.eq(next_row),
                    ]
                    with m.If(last_row):
                        m.d.sync += place.valid.eq(0)
        with m.If(self.restart):
            m.d.sync += [
                words.eq(geometry.in_words),
                of_row.eq(0),
                place.eq(0),
                place.valid.eq(1),
            ]
        return m
