"""The backward engine: gradients of a layer's inputs, zeros skipped on both sides."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ...chip.learn_config import LearnConfig
from ..memory import ByName
from .backward_places import BackwardPlaces
from .backward_row import BackwardRow
from .backward_sizes import ROW_BITS, BackwardSizes, bits_for
from .backward_words import BackwardWords

__all__ = ["BackwardEngine"]


class BackwardEngine(wiring.Component):
    """Run INPUT_GRADIENTS: docs/blocks/learning.md.

    Behaviour
    ---------
    `BackwardPlaces` prepares the next tile of positions while the rows work on the current one, with the weights that
    `BackwardWords` sends, and unpack the results of the previous one. All three end before the tiles move on.

    Results leave row by row of the engine once every row has a part of a position's channels. Those of a position
    whose mask is 0, of no nonzero gradient, and of padding, are +0.

    Timing
    ------
    ``chip.learn_timing`` and ``sim.engines.backward.backward_cycles`` say what a task takes, from ``start`` to ``done``
    and with both. Two tiles::

        start   1
        prepare    [ 0     ][ 1     ]
        work                [ 0            ][ 1         ]
        drain                               [ 0     ]    [ 1     ]
        done                                                     1

    Reset
    -----
    Idle; memories hold anything.

    Parameters
    ----------
    config : LearnConfig
        That `check_carried` takes.

    Members
    -------
    start : In(1)
        A task starts.
    task : In(fields of `BACKWARD_FIELDS`)
        Stable from ``start`` to ``done``.
    done : Out(1)
        In the last cycle, that of the last write.
    weights_write : In(en, half, outer, inner, data)
        Two words of weights: those of the output word and tap ``outer`` (output word times taps, plus tap) for input
        channels ``2 inner`` and ``2 inner + 1``.
    gradients_write, masks_write : In(en, row, data)
        A row of the inputs' buffer.
    result_en : Out(1), result_row, result_data : Out
        A row of results.
    """

    start: Signal
    task: data.View[data.StructLayout]
    done: Signal
    weights_write: data.View[data.StructLayout]
    gradients_write: data.View[data.StructLayout]
    masks_write: data.View[data.StructLayout]
    result_en: Signal
    result_row: Signal
    result_data: Signal

    def __init__(self, config: LearnConfig) -> None:
        self._sizes = sizes = BackwardSizes(config)
        super().__init__(
            {
                "start": In(1),
                "task": In(sizes.task),
                "done": Out(1),
                "weights_write": In(sizes.weights_write),
                "gradients_write": In(sizes.write),
                "masks_write": In(sizes.write),
                "result_en": Out(1),
                "result_row": Out(ROW_BITS),
                "result_data": Out(sizes.row_bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Connect the parts, and move tiles on."""
        m = Module()
        sizes = self._sizes
        m.submodules.places = places = BackwardPlaces(sizes)
        m.submodules.words = words = BackwardWords(sizes)
        rows = [BackwardRow(sizes) for _ in range(sizes.rows)]

        started = Signal()
        prepares, works, drains = Signal(), Signal(), Signal()  # a tile is prepared, ...
        used, used_before = Signal.like(places.used), Signal.like(places.used)
        tile = Signal(range(3))  # whose masks are being read
        flush = sizes.multiplier_stages + sizes.adder_stages + 1
        flushed = Signal(range(flush + 1))
        drained = self._drain(m, rows, drains, used_before, tile)
        swap, begin = Signal(), Signal()
        with m.If(words.over & Cat(row.idle for row in rows).all() & (flushed != flush)):
            m.d.sync += flushed.eq(flushed + 1)
        m.d.comb += [
            swap.eq(
                (prepares | works)
                & (~prepares | places.ready)
                & (~works | (flushed == flush))
                & (~drains | drained)
            ),
            begin.eq(started | swap),
            self.done.eq(drained & ~works & ~prepares),
        ]
        m.d.sync += started.eq(self.start)
        with m.If(drained):
            m.d.sync += drains.eq(0)
        with m.If(begin):
            m.d.sync += prepares.eq(places.remains)
        with m.If(swap):
            m.d.sync += [
                works.eq(prepares),
                drains.eq(works),
                used.eq(places.used),
                used_before.eq(used),
                flushed.eq(0),
                tile.eq(Mux(tile == 2, 0, tile + 1)),
            ]

        m.d.comb += [
            places.task.eq(self.task),
            places.start.eq(self.start),
            places.begin.eq(begin),
            words.task.eq(self.task),
            words.start.eq(self.start),
            words.begin.eq(swap & prepares),
            words.under.eq(Cat(row.under for row in rows).any()),
            words.room.eq(Cat(row.has_room for row in rows).all()),
            words.weights.eq(self.weights_write),
        ]
        for number, row in enumerate(rows):
            m.submodules[f"row_{number}"] = ByName(row, "spikeloom_backward_row")
            m.d.comb += [
                row.begin.eq(begin),
                row.swap.eq(swap),
                row.take.eq(places.take & (places.take_row == number)),
                row.places.eq(places.places),
                row.scan.eq(places.scan),
                row.scan_last.eq(places.scan_last),
                row.scan_context.eq(places.scan_context),
                row.scan_part.eq(places.scan_part),
                row.scan_tile.eq(tile),
                row.used.eq(used),
                row.out_rows.eq(self.task.out_rows),
                row.out_columns.eq(self.task.out_columns),
                row.tap.eq(words.tap),
                row.announce.eq(words.announce),
                row.announced.eq(words.announced),
                row.sent.eq(words.sent),
                row.infos.eq(words.infos),
                row.word.eq(words.word),
                row.gradients_write.eq(self.gradients_write),
                row.masks_write.eq(self.masks_write),
            ]
        return m

    def _drain(
        self, m: Module, rows: list[BackwardRow], drains: Signal, used: Signal, tile: Signal
    ) -> Signal:
        """Count through the channels of the previous tile and let them leave; return whether the last ones do."""
        sizes = self._sizes
        period = max(sizes.part, sizes.rows)  # cycles of a part
        ended = Signal()  # all channels have been read
        context, part = Signal(sizes.context_bits), Signal(bits_for(sizes.parts))
        place = Signal(range(period))
        active, is_last = Signal(), Signal()
        ends_part, ends_context = Signal(), Signal()
        m.d.comb += [
            active.eq(drains & ~ended & (place < sizes.part)),
            ends_part.eq(active & (place == sizes.part - 1)),
            ends_context.eq(part == self.task.in_words[1:] - 1),
            is_last.eq(ends_part & ends_context & (context == used - 1)),
        ]
        with m.If(drains & ~ended):
            m.d.sync += place.eq(place + 1)
            with m.If(place == period - 1):
                m.d.sync += [place.eq(0), part.eq(part + 1)]
                with m.If(ends_context):
                    m.d.sync += [part.eq(0), context.eq(context + 1)]
        with m.If(is_last):
            m.d.sync += [ended.eq(1), place.eq(0), part.eq(0), context.eq(0)]

        # Two cycles later a part is whole; from the third on the rows' parts leave.
        whole, whole_last = Signal(2), Signal(2)
        leaves, leaves_last = Signal(), Signal()
        row = Signal(bits_for(sizes.rows))
        m.d.sync += [
            whole.eq(Cat(ends_part, whole)),
            whole_last.eq(Cat(is_last, whole_last)),
            row.eq(row + 1),
        ]
        drained = Signal()
        with m.If(row == sizes.rows - 1):
            m.d.sync += leaves.eq(0)
        with m.If(whole[1]):
            m.d.sync += [leaves.eq(1), leaves_last.eq(whole_last[1]), row.eq(0)]
        m.d.comb += [
            drained.eq(leaves & leaves_last & (row == sizes.rows - 1)),
            self.result_en.eq(leaves & Array([r.result_valid for r in rows])[row]),
            self.result_row.eq(Array([r.result_row for r in rows])[row]),
            self.result_data.eq(Array([r.result for r in rows])[row]),
        ]
        with m.If(drained):
            m.d.sync += ended.eq(0)
        for engine_row in rows:
            m.d.comb += [
                engine_row.drain.eq(active),
                engine_row.drain_first.eq((part == 0) & (place == 0)),
                engine_row.drain_last.eq(ends_part),
                engine_row.drain_context.eq(context),
                engine_row.drain_part.eq(part),
                engine_row.drain_place.eq(place),
                engine_row.drain_tile.eq(Mux(tile == 2, 0, tile + 1)),
            ]
        return drained
