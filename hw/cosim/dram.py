"""The memory beside the learning engines, in simulation: answers after a fixed latency, and stalls by a known rule."""

from __future__ import annotations

import numpy as np
from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from numpy.typing import NDArray

from ...chip.config import ChipConfig
from ...chip.learn_stalls import STALL_TAPS
from ..cores.pipeline import delayed
from ..engines.layouts import DRAM_ROW_BITS, memory_request, memory_response, row_bits
from ..memory import Ram

__all__ = ["Dram", "stalls_row"]


def stalls_row(config: ChipConfig, seed: int, rate: int) -> NDArray[np.uint8]:
    """Return the bytes of the row that makes a `Dram` stall as `stall_pattern` of the same seed and rate."""
    row = np.zeros(config.learn.dram.bytes_per_cycle, np.uint8)
    row[:3] = seed & 0xFF, seed >> 8, rate
    return row


class Dram(wiring.Component):
    """Answer each request ``latency_cycles`` after it was accepted; accept none in the cycles of `stall_pattern`.

    A write to the row behind the last sets the stalls of what follows: `stalls_row`. Until then there are none.

    Parameters
    ----------
    config : ChipConfig
    rows
        Rows that there are; a request beyond is answered with an error.

    Members
    -------
    request : In(stream), response_valid, response : Out
    is_running : In(1)
        A step runs; the stalls' register is at its seed else.
    """

    request: stream.Interface
    response_valid: Signal
    response: data.View
    is_running: Signal

    def __init__(self, config: ChipConfig, rows: int) -> None:
        self._config, self._rows = config.learn, rows
        super().__init__(
            {
                "request": In(memory_request(self._config)),
                "response_valid": Out(1),
                "response": Out(memory_response(self._config)),
                "is_running": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build memory, register of the stalls, and the way back."""
        m = Module()
        asked, config = self.request.payload, self._config
        m.submodules.rows = rows = Ram(row_bits(config), self._rows)
        state, taken, is_inside = Signal(16, init=1), Signal(), Signal()
        seed, rate = Signal(16, init=1), Signal(8)
        m.d.comb += [
            self.request.ready.eq(~self.is_running | (state[:8] >= rate)),
            taken.eq(self.request.valid & self.request.ready),
            is_inside.eq(asked.row < self._rows),
            rows.w_en.eq(taken & is_inside & asked.is_write),
            rows.w_addr.eq(asked.row),
            rows.w_data.eq(asked.data),
            rows.r_en.eq(taken),
            rows.r_addr.eq(asked.row),
        ]
        with m.If(taken & asked.is_write & (asked.row == self._rows)):
            m.d.sync += Cat(seed, rate).eq(asked.data)
        m.d.sync += state.eq(
            Mux(self.is_running, (state >> 1) ^ Mux(state[0], STALL_TAPS, 0), seed)
        )
        later = config.dram.latency_cycles - 1
        m.d.comb += [
            self.response_valid.eq(delayed(m, taken, later + 1)),
            self.response.error.eq(delayed(m, ~is_inside, later + 1)),
            self.response.data.eq(delayed(m, rows.r_data, later)),
        ]
        assert len(asked.row) == DRAM_ROW_BITS
        return m
