"""What the host port thinks of a frame when it has seen its header."""

from __future__ import annotations

from amaranth.hdl import Module, Shape, Signal, Value, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ...chip.config import ManyCoreConfig
from ...chip.host_link import ERROR_BITS, STEP_COUNT_BITS, HostError, HostLink, HostOp
from ...chip.memory_map import READABLE, WRITABLE
from .host_layouts import header_struct

__all__ = ["OWED_BITS", "HostJudge", "end_shape"]

STEPS_AHEAD = 3  # timesteps that can be announced and lack flits: two queued, one running
OWED_BITS = (STEPS_AHEAD * ((1 << STEP_COUNT_BITS) - 1)).bit_length()


def end_shape() -> Shape:
    """Return the shape of ``row`` plus ``count``."""
    header = header_struct()
    return unsigned(max(header["row"].width, header["count"].width) + 1)


class HostJudge(wiring.Component):
    """Find the one error that a frame is refused for, if any; the first that applies in the order of the table.

    Behaviour
    ---------
    The rules are those of docs/host_protocol.md. What only the rest of a frame can show (its end, the numbers in it)
    is not judged here.

    Timing
    ------
    *Latency*: 1 cycle, that of a table look-up and a comparison. What is judged must hold for it.

    Reset
    -----
    No error; it does not matter.

    Parameters
    ----------
    config : ManyCoreConfig
        Gives the ranges.

    Members
    -------
    header : In(`header_struct`), is_last : In(1)
        The header; it is the frame's only beat.
    end : In
        The header's ``row`` plus its ``count``.
    is_busy : In(1)
        Commands run or wait.
    is_loading, is_loaded : In(1)
        From `LoadCheck`.
    owed : In(OWED_BITS)
        Flits that the port still waits for, should the frame be FLITS.
    error : Out(ERROR_BITS)
        0, or the bit of the error in what was there a cycle ago.
    """

    header: data.View
    end: Signal
    is_last: Signal
    is_busy: Signal
    is_loading: Signal
    is_loaded: Signal
    owed: Signal
    error: Signal

    def __init__(self, config: ManyCoreConfig) -> None:
        self.link = HostLink(config)
        self.tiles = config.core_count
        super().__init__(
            {
                "header": In(header_struct()),
                "end": In(end_shape()),
                "is_last": In(1),
                "is_busy": In(1),
                "is_loading": In(1),
                "is_loaded": In(1),
                "owed": In(OWED_BITS),
                "error": Out(ERROR_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the ranges, then the rules of each opcode."""
        m = Module()
        header, is_last = self.header, self.is_last
        m.d.sync += self.error.eq(0)
        layouts = self.link.memories.layouts
        rows = Signal(range(max(layout.rows for layout in layouts.values()) + 1))
        is_writable, is_readable, is_within = Signal(), Signal(), Signal()
        with m.Switch(header.memory):
            for memory, layout in layouts.items():
                with m.Case(memory):
                    m.d.comb += [
                        rows.eq(layout.rows),
                        is_writable.eq(memory in WRITABLE),
                        is_readable.eq(memory in READABLE),
                    ]
        m.d.comb += is_within.eq(
            (self.end <= rows) & (header.broadcast | (header.hops < self.tiles))
        )
        busy = (self.is_busy, HostError.BUSY)
        not_loading = (~self.is_loading, HostError.WRONG_CHIP)
        not_loaded = (~self.is_loaded, HostError.NOT_LOADED)
        lacks_beats = (is_last, HostError.TRUNCATED)
        has_beats = (~is_last, HostError.OVERLONG)
        ends_wrong = (
            (is_last & (header.count != 0), HostError.TRUNCATED),
            (~is_last & (header.count == 0), HostError.OVERLONG),
        )
        rules: dict[HostOp, tuple[tuple[Value, HostError], ...]] = {
            HostOp.BEGIN: (busy, lacks_beats),
            HostOp.WRITE: (busy, not_loading, (~is_writable | ~is_within, HostError.BAD_ADDRESS), *ends_wrong),
            HostOp.READ: (busy, (~is_readable | ~is_within, HostError.BAD_ADDRESS), has_beats),
            HostOp.COMMIT: (busy, not_loading, lacks_beats),
            HostOp.STATUS: (has_beats,),
            HostOp.SAMPLE: (not_loaded, has_beats),
            HostOp.STEP: (not_loaded, lacks_beats),
            HostOp.FLITS: (
                not_loaded,
                (header.hops >= self.link.ports, HostError.BAD_ADDRESS),
                (header.count > self.owed, HostError.UNASKED),
                *ends_wrong,
            ),
        }  # fmt: skip
        with m.Switch(header.op):
            for op, tests in rules.items():
                with m.Case(op):
                    # Later assignments win, so the last rule comes first.
                    for applies, error in reversed(tests):
                        with m.If(applies):
                            m.d.sync += self.error.eq(error)
            with m.Default():
                m.d.sync += self.error.eq(HostError.BAD_OP)
        return m
