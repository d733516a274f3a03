"""A learning chip with its memory, for simulation: what is left are the chip's streams to the host."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from ...chip.config import ChipConfig
from ..verilog import chip_top
from .dram import Dram

__all__ = ["BENCH_ROWS", "LearnBench"]

BENCH_ROWS = 1 << 16  # of the memory beside the RTL


class LearnBench(wiring.Component):
    """A chip with learning engines and its memory; the ports are the chip's streams to the host."""

    s_axis_tdata: Signal
    s_axis_tvalid: Signal
    s_axis_tready: Signal
    s_axis_tlast: Signal
    m_axis_tdata: Signal
    m_axis_tvalid: Signal
    m_axis_tready: Signal
    m_axis_tlast: Signal

    def __init__(self, config: ChipConfig) -> None:
        self.chip: Any = chip_top(config)
        self._dram = Dram(config, BENCH_ROWS)
        super().__init__(
            {
                name: member
                for name, member in self.chip.signature.members.items()
                if "_axis_" in name
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Connect them."""
        m = Module()
        m.submodules.chip = chip = self.chip
        m.submodules.dram = dram = self._dram
        for name, member in self.signature.members.items():
            outer, inner = getattr(self, name), getattr(chip, name)
            m.d.comb += outer.eq(inner) if member.flow == Out else inner.eq(outer)
        wiring.connect(m, chip.memory_request, dram.request)
        m.d.comb += [
            chip.memory_response_valid.eq(dram.response_valid),
            chip.memory_response.eq(dram.response),
            dram.is_running.eq(chip.is_running),
        ]
        return m
