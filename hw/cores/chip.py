"""The chip's top: the mesh and the host port, with an AXI4-Stream in and one out."""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring

from ...chip.config import ChipConfig
from ...chip.host_link import HostLink
from ..axis import axis_ports
from ..carried import check_carried
from .host import HostPort
from .mesh import Mesh

__all__ = ["Chip"]


class Chip(wiring.Component):
    """A many-core with its host port; docs/host_protocol.md says what the streams carry.

    Raises
    ------
    ConfigError
        If the RTL cannot carry the configuration.

    Members
    -------
    s_axis_tdata, s_axis_tvalid, s_axis_tlast : In; s_axis_tready : Out
        Commands, inputs and programs from the host.
    m_axis_tdata, m_axis_tvalid, m_axis_tlast : Out; m_axis_tready : In
        Outputs and answers to the host.
    """

    s_axis_tdata: Signal
    s_axis_tvalid: Signal
    s_axis_tready: Signal
    s_axis_tlast: Signal
    m_axis_tdata: Signal
    m_axis_tvalid: Signal
    m_axis_tready: Signal
    m_axis_tlast: Signal

    def __init__(self, config: ChipConfig) -> None:
        check_carried(config)
        self._config = config
        beat = HostLink(config.many_core).beat_bits
        super().__init__(
            {
                **axis_ports(beat),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Connect mesh and host port."""
        m = Module()
        m.submodules.mesh = mesh = Mesh(self._config.many_core)
        m.submodules.host = host = HostPort(self._config)
        network = self._config.many_core.network
        for side in ("s_axis", "m_axis"):
            for name in ("tdata", "tvalid", "tready", "tlast"):
                outer, inner = getattr(self, f"{side}_{name}"), getattr(host, f"{side}_{name}")
                outwards = (side == "m_axis") != (name == "tready")
                m.d.comb += outer.eq(inner) if outwards else inner.eq(outer)
        for i in range(len(network.host_rows)):
            wiring.connect(m, getattr(host, f"flit_out_{i}"), getattr(mesh, f"flit_in_{i}"))
        for j in range(len(network.host_columns)):
            wiring.connect(m, getattr(mesh, f"flit_out_{j}"), getattr(host, f"flit_in_{j}"))
        wiring.connect(m, host.chain_out, mesh.chain_in)
        wiring.connect(m, mesh.chain_out, host.chain_in)
        m.d.comb += [
            mesh.start.eq(host.start),
            mesh.sample.eq(host.sample),
            host.all_quiet.eq(mesh.all_quiet),
            host.off_mesh.eq(mesh.off_mesh),
        ]
        return m
