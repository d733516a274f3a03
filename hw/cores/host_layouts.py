"""What flows inside the host port and on the load chain, as Amaranth structures; widths from chip/host_link.py."""

from __future__ import annotations

from amaranth.hdl import unsigned
from amaranth.lib import data

from ...chip.host_link import HEADER_FIELDS, STEP_COUNT_BITS, TAG_BITS, HostLink

__all__ = [
    "beat_struct", "chain_struct", "end_struct", "header_struct", "output_struct", "step_struct",
]  # fmt: skip


def header_struct() -> data.StructLayout:
    """Return the header of a frame: the low bits of its first beat."""
    return data.StructLayout({name: unsigned(bits) for name, bits in HEADER_FIELDS})


def beat_struct(link: HostLink) -> data.StructLayout:
    """Return a beat of a frame, as the AXI streams carry it."""
    return data.StructLayout({"data": unsigned(link.beat_bits), "last": unsigned(1)})


def chain_struct(link: HostLink) -> data.StructLayout:
    """Return a word of the load chain: a beat, and whether it is a header."""
    return data.StructLayout({"data": unsigned(link.beat_bits), "header": unsigned(1)})


def step_struct(link: HostLink) -> data.StructLayout:
    """Return a queued command: a sample's start, or a timestep and its flits of each port."""
    return data.StructLayout(
        {
            "is_sample": unsigned(1),
            "counts": data.ArrayLayout(unsigned(STEP_COUNT_BITS), link.ports),
        }
    )


def output_struct(link: HostLink) -> data.StructLayout:
    """Return an entry of an output queue: the timestep's tag, then the flit's upper fields, from the target on."""
    flit = link.flit
    return data.StructLayout(
        {
            "tag": unsigned(TAG_BITS),
            "line_and_payload": unsigned(flit.target_bits + flit.delay_bits + flit.payload_bits),
        }
    )


def end_struct() -> data.StructLayout:
    """Return what is kept of an ended timestep until its STEP_END has left."""
    return data.StructLayout(
        {
            "tag": unsigned(TAG_BITS),
            "outputs": unsigned(32),
            "start_cycle": unsigned(32),
            "length": unsigned(32),
            "host_waits": unsigned(32),
        }
    )
