"""The chip of both halves: cores and learning engines behind one host port."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..chip.config import ChipConfig
from ..chip.host_link import HostLink
from ..chip.learn_command import WORD_BITS
from ..chip.learn_link import FUSION_OP, OP_BITS
from .axis import axis_ports
from .cores.chip import Chip
from .engines.chip import LearnChip
from .engines.layouts import memory_ports

__all__ = ["FusionChip", "HostSplit"]


class HostSplit(wiring.Component):
    """Hand each frame of the host to the half that it is for, and the halves' frames to the host.

    Behaviour
    ---------
    A frame whose first beat has `FUSION_OP` in its lowest bits goes to the engines, without that beat, a word a beat;
    every other one goes to the cores as it is. Frames of the engines get such a beat in front. Neither direction mixes
    frames; of two that are to leave at once the cores' goes first.

    Timing
    ------
    No cycle is added to beats within a frame; a frame's first beat waits a cycle for the choice.

    Reset
    -----
    Between frames.

    Parameters
    ----------
    beat_bits
        Of the host's streams.

    Members
    -------
    host_in, cores_out, host_out, cores_in : streams of beats with a mark on a frame's last
    engines_out, engines_in : streams of words
    """

    host_in: stream.Interface
    host_out: stream.Interface
    cores_out: stream.Interface
    cores_in: stream.Interface
    engines_out: stream.Interface
    engines_in: stream.Interface

    def __init__(self, beat_bits: int) -> None:
        beats, words = (
            stream.Signature(data.StructLayout({"data": bits, "last": 1}))
            for bits in (beat_bits, WORD_BITS)
        )
        super().__init__(
            {
                "host_in": In(beats),
                "host_out": Out(beats),
                "cores_out": Out(beats),
                "cores_in": In(beats),
                "engines_out": Out(words),
                "engines_in": In(words),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build a state machine for each direction."""
        m = Module()
        self._inwards(m)
        self._outwards(m)
        return m

    def _inwards(self, m: Module) -> None:
        host, cores, engines = self.host_in, self.cores_out, self.engines_out
        m.d.comb += [
            cores.payload.eq(host.payload),
            engines.payload.data.eq(host.payload.data),
            engines.payload.last.eq(host.payload.last),
        ]
        ends = Signal()
        m.d.comb += ends.eq(host.valid & host.ready & host.payload.last)
        with m.FSM(name="inwards"):
            with m.State("choose"):
                with m.If(host.valid):
                    m.next = "cores"
                    with m.If(host.payload.data[:OP_BITS] == FUSION_OP):
                        m.d.comb += host.ready.eq(1)
                        m.next = "engines"
                        with m.If(host.payload.last):
                            m.next = "choose"
            with m.State("cores"):
                m.d.comb += [cores.valid.eq(host.valid), host.ready.eq(cores.ready)]
                with m.If(ends):
                    m.next = "choose"
            with m.State("engines"):
                m.d.comb += [engines.valid.eq(host.valid), host.ready.eq(engines.ready)]
                with m.If(ends):
                    m.next = "choose"

    def _outwards(self, m: Module) -> None:
        host, cores, engines = self.host_out, self.cores_in, self.engines_in
        ends = Signal()
        m.d.comb += ends.eq(host.valid & host.ready & host.payload.last)
        with m.FSM(name="outwards"):
            with m.State("choose"):
                with m.If(cores.valid):
                    m.next = "cores"
                with m.Elif(engines.valid):
                    m.d.comb += [host.valid.eq(1), host.payload.data.eq(FUSION_OP)]
                    with m.If(host.ready):
                        m.next = "engines"
            with m.State("cores"):
                m.d.comb += [
                    host.valid.eq(cores.valid),
                    host.payload.eq(cores.payload),
                    cores.ready.eq(host.ready),
                ]
                with m.If(ends):
                    m.next = "choose"
            with m.State("engines"):
                m.d.comb += [
                    host.valid.eq(engines.valid),
                    host.payload.data.eq(engines.payload.data),
                    host.payload.last.eq(engines.payload.last),
                    engines.ready.eq(host.ready),
                ]
                with m.If(ends):
                    m.next = "choose"


class FusionChip(wiring.Component):
    """A many-core and learning engines on one host port; the engines' memory port is the chip's.

    Raises
    ------
    ConfigError
        If a half is missing, or the RTL does not carry it.

    Members
    -------
    s_axis_tdata, s_axis_tvalid, s_axis_tlast : In; s_axis_tready : Out
        Frames from the host: `HostSplit`.
    m_axis_tdata, m_axis_tvalid, m_axis_tlast : Out; m_axis_tready : In
        Frames to the host.
    memory_request, memory_response_valid, memory_response, is_running
        As of `LearnChip`.
    """

    s_axis_tdata: Signal
    s_axis_tvalid: Signal
    s_axis_tready: Signal
    s_axis_tlast: Signal
    m_axis_tdata: Signal
    m_axis_tvalid: Signal
    m_axis_tready: Signal
    m_axis_tlast: Signal
    memory_request: stream.Interface
    memory_response_valid: Signal
    memory_response: data.View
    is_running: Signal

    def __init__(self, config: ChipConfig) -> None:
        self._cores, self._engines = Chip(config), LearnChip(config)
        self._beat = HostLink(config.many_core).beat_bits
        super().__init__(
            {
                **axis_ports(self._beat),
                **memory_ports(config.learn),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Connect both halves, the split and the memory's port."""
        m = Module()
        m.submodules.cores = cores = self._cores
        m.submodules.engines = engines = self._engines
        m.submodules.split = split = HostSplit(self._beat)
        for half, out, into in (
            (cores, split.cores_out, split.cores_in),
            (engines, split.engines_out, split.engines_in),
        ):
            _connect(m, half, out, into)
        m.d.comb += [
            split.host_in.valid.eq(self.s_axis_tvalid),
            split.host_in.payload.data.eq(self.s_axis_tdata),
            split.host_in.payload.last.eq(self.s_axis_tlast),
            self.s_axis_tready.eq(split.host_in.ready),
            self.m_axis_tvalid.eq(split.host_out.valid),
            self.m_axis_tdata.eq(split.host_out.payload.data),
            self.m_axis_tlast.eq(split.host_out.payload.last),
            split.host_out.ready.eq(self.m_axis_tready),
            self.is_running.eq(engines.is_running),
            engines.memory_response_valid.eq(self.memory_response_valid),
            engines.memory_response.eq(self.memory_response),
            self.memory_request.valid.eq(engines.memory_request.valid),
            self.memory_request.payload.eq(engines.memory_request.payload),
            engines.memory_request.ready.eq(self.memory_request.ready),
        ]
        return m


def _connect(m: Module, half: Chip | LearnChip, out: Any, into: Any) -> None:
    """Lead a stream of frames into a half, and its frames into another."""
    m.d.comb += [
        half.s_axis_tvalid.eq(out.valid),
        half.s_axis_tdata.eq(out.payload.data),
        half.s_axis_tlast.eq(out.payload.last),
        out.ready.eq(half.s_axis_tready),
        into.valid.eq(half.m_axis_tvalid),
        into.payload.data.eq(half.m_axis_tdata),
        into.payload.last.eq(half.m_axis_tlast),
        half.m_axis_tready.eq(into.ready),
    ]
