"""The chip's two AXI4-Streams, by the names that FPGA tools expect."""

from __future__ import annotations

from amaranth.lib.wiring import In, Member, Out

__all__ = ["axis_ports"]


def axis_ports(bits: int) -> dict[str, Member]:
    """Return the members of a stream from the host and of one to it, with beats of so many bits."""
    return {
        "s_axis_tdata": In(bits),
        "s_axis_tvalid": In(1),
        "s_axis_tready": Out(1),
        "s_axis_tlast": In(1),
        "m_axis_tdata": Out(bits),
        "m_axis_tvalid": Out(1),
        "m_axis_tready": In(1),
        "m_axis_tlast": Out(1),
    }
