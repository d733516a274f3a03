"""A buffer whose rows are written in part: words of bits, of operands and whole rows lie in one memory."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..memory import Ram

__all__ = ["MaskedRam"]


class MaskedRam(wiring.Component):
    """A `Ram` whose rows have ``lanes`` parts that are written each for itself: a memory a lane.

    Timing
    ------
    As `Ram`.

    Parameters
    ----------
    width
        Bits of a row.
    depth
        Rows.
    lanes
        Parts of a row; a divisor of ``width``.

    Members
    -------
    w_en, w_addr, w_data, w_mask
        In. Write the lanes of ``w_mask``.
    r_en, r_addr : In; r_data : Out
        Read a row.

    Raises
    ------
    ValueError
        If the lanes do not divide the row.
    """

    w_en: Signal
    w_addr: Signal
    w_data: Signal
    w_mask: Signal
    r_en: Signal
    r_addr: Signal
    r_data: Signal

    def __init__(self, width: int, depth: int, lanes: int) -> None:
        if width % lanes:
            raise ValueError(f"{lanes} lanes must divide a row of {width} bits")
        self._parts = [Ram(width // lanes, depth) for _ in range(lanes)]
        address = self._parts[0].addr_bits
        super().__init__(
            {
                "w_en": In(1),
                "w_addr": In(address),
                "w_data": In(width),
                "w_mask": In(lanes),
                "r_en": In(1),
                "r_addr": In(address),
                "r_data": Out(width),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build a memory for each lane."""
        m = Module()
        bits = len(self.w_data) // len(self._parts)
        for lane, part in enumerate(self._parts):
            m.submodules[f"lane_{lane}"] = part
            m.d.comb += [
                part.w_en.eq(self.w_en & self.w_mask[lane]),
                part.w_addr.eq(self.w_addr),
                part.w_data.eq(self.w_data.word_select(lane, bits)),
                part.r_en.eq(self.r_en),
                part.r_addr.eq(self.r_addr),
            ]
        m.d.comb += self.r_data.eq(Cat(part.r_data for part in self._parts))
        return m
