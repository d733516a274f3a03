"""A toy with the ports of the chip: identical cells in a row, each with a memory, that pass beats on and count them."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from spikeloom.hw.memory import ByName, Ram
from spikeloom.hw.monitor import Monitor


class ToyCell(wiring.Component):
    """Add to each beat how often its lowest bits were seen before; a register, so one cycle or more."""

    i: stream.Interface
    o: stream.Interface

    def __init__(self, beat_bits: int, depth: int) -> None:
        self.depth = depth
        self.beat_bits = beat_bits
        signature = stream.Signature(beat_bits + 1)  # tlast on top
        super().__init__({"i": In(signature), "o": Out(signature)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.counts = counts = Ram(self.beat_bits, self.depth)
        m.submodules.monitor = monitor = Monitor("core", self.beat_bits)
        cycle = Signal(32)
        last = Signal()
        word = Signal(self.beat_bits)
        m.d.sync += cycle.eq(cycle + 1)
        m.d.comb += [
            counts.r_addr.eq(self.i.payload[: counts.addr_bits]),
            counts.w_addr.eq(word[: counts.addr_bits]),
            counts.w_data.eq(counts.r_data + 1),
            self.o.payload.eq(Cat((word + counts.r_data)[: self.beat_bits], last)),
            monitor.valid.eq(self.o.valid & self.o.ready),
            monitor.data.eq(word),
            monitor.cycle.eq(cycle),
            monitor.timestep.eq(cycle[8:]),
        ]
        with m.FSM():
            with m.State("Empty"):
                m.d.comb += [self.i.ready.eq(1), counts.r_en.eq(self.i.valid)]
                with m.If(self.i.valid):
                    m.d.sync += Cat(word, last).eq(self.i.payload)
                    m.next = "Full"
            with m.State("Full"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready):
                    m.d.comb += counts.w_en.eq(1)
                    m.next = "Empty"
        return m


class ToyChip(wiring.Component):
    """``cells`` cells between the streams of the chip."""

    s_axis_tdata: Signal
    s_axis_tvalid: Signal
    s_axis_tready: Signal
    s_axis_tlast: Signal
    m_axis_tdata: Signal
    m_axis_tvalid: Signal
    m_axis_tready: Signal
    m_axis_tlast: Signal

    def __init__(self, cells: int, beat_bits: int = 64, depth: int = 1024) -> None:
        self.cells = cells
        self.beat_bits = beat_bits
        self.depth = depth
        super().__init__(
            {
                "s_axis_tdata": In(beat_bits),
                "s_axis_tvalid": In(1),
                "s_axis_tready": Out(1),
                "s_axis_tlast": In(1),
                "m_axis_tdata": Out(beat_bits),
                "m_axis_tvalid": Out(1),
                "m_axis_tready": In(1),
                "m_axis_tlast": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        data, valid, ready = Cat(self.s_axis_tdata, self.s_axis_tlast), self.s_axis_tvalid, Signal()
        m.d.comb += self.s_axis_tready.eq(ready)
        for x in range(self.cells):
            cell = ToyCell(self.beat_bits, self.depth)
            m.submodules[f"tile_{x}_0"] = ByName(cell, "spikeloom_cell")
            m.d.comb += [
                cell.i.payload.eq(data),
                cell.i.valid.eq(valid),
                ready.eq(cell.i.ready),
            ]
            data, valid, ready = cell.o.payload, cell.o.valid, cell.o.ready
        m.d.comb += [
            Cat(self.m_axis_tdata, self.m_axis_tlast).eq(data),
            self.m_axis_tvalid.eq(valid),
            ready.eq(self.m_axis_tready),
        ]
        return m


def toy_answer(beats: list[int], cells: int, beat_bits: int = 64, depth: int = 1024) -> list[int]:
    """Return what a fresh toy makes of ``beats``."""
    mask = (1 << beat_bits) - 1
    for _ in range(cells):
        seen = [0] * depth
        after = []
        for beat in beats:
            place = beat % depth
            after.append((beat + seen[place]) & mask)
            seen[place] += 1
        beats = after
    return beats


def ask_toy(transport: Any, frames: list[list[int]]) -> list[list[int]]:
    """Send frames through a transport and return what comes back; runs in a simulator's process, too."""
    transport.send(frames)
    return [transport.receive() for _ in frames]


def ask_toy_twice(transport: Any, frame: list[int]) -> list[list[int]]:
    """Wait for more answers than there are."""
    transport.send([frame])
    return [transport.receive(), transport.receive()]
