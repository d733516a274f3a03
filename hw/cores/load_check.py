"""Whether a program is being loaded, is complete, and arrived as it was sent."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ...chip.signature import STATE_BITS, matrix

__all__ = ["LoadCheck"]


class LoadCheck(wiring.Component):
    """Follow a program from BEGIN to COMMIT.

    Behaviour
    ---------
    A CRC (`chip.signature.absorb`, whole beats) absorbs the WRITE frames. A COMMIT makes the program loaded if the
    CRC is the one that it brings and no frame was refused or cut short in between: a CRC alone knows nothing about
    the ends of frames. A BEGIN ends what was loaded, and so does nothing else. After a COMMIT, good or bad, rows
    count only after another BEGIN.

    Timing
    ------
    All outputs but ``is_good`` are registers; ``is_good`` belongs to the cycle of ``commit``. A beat a cycle is
    absorbed, a cycle later: at least two cycles lie between ``absorb`` and ``commit``, which a frame's header takes
    anyway.

    Reset
    -----
    Nothing is loaded, nothing is being loaded.

    Parameters
    ----------
    beat_bits : int
        Bits of a beat.

    Members
    -------
    data : In(beat_bits)
        The beat.
    begin, is_ours : In(1)
        A BEGIN; ``is_ours`` with it: its hash is this chip's.
    absorb : In(1)
        ``data`` belongs to a WRITE.
    spoil : In(1)
        A frame was refused or cut short.
    commit : In(1)
        ``data`` is the CRC of a COMMIT.
    is_good : Out(1)
        With ``commit``: the program is complete.
    is_loading : Out(1)
        Between a BEGIN for this chip and the COMMIT.
    is_loaded : Out(1)
        The program is complete: samples may run.
    """

    data: Signal
    begin: Signal
    is_ours: Signal
    absorb: Signal
    spoil: Signal
    commit: Signal
    is_good: Signal
    is_loading: Signal
    is_loaded: Signal

    def __init__(self, beat_bits: int) -> None:
        super().__init__(
            {
                "data": In(beat_bits),
                "begin": In(1),
                "is_ours": In(1),
                "absorb": In(1),
                "spoil": In(1),
                "commit": In(1),
                "is_good": Out(1),
                "is_loading": Out(1),
                "is_loaded": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the CRC and the three flags."""
        m = Module()
        crc = Signal(STATE_BITS)
        is_spoiled = Signal()
        data = Signal.like(self.data)
        absorbs = Signal()
        spoils = Signal()
        m.d.sync += [
            data.eq(self.data),
            absorbs.eq(self.absorb),
            spoils.eq(self.spoil & ~self.begin),
        ]
        inputs = Cat(crc, data)
        masks = [
            sum((column >> bit & 1) << place for place, column in enumerate(matrix(len(self.data))))
            for bit in range(STATE_BITS)
        ]
        absorbed = Cat((inputs & mask).xor() for mask in masks)
        m.d.comb += self.is_good.eq((self.data == crc) & ~is_spoiled)
        with m.If(absorbs):
            m.d.sync += crc.eq(absorbed)
        with m.If(spoils):
            m.d.sync += is_spoiled.eq(1)
        with m.If(self.commit):
            m.d.sync += [self.is_loading.eq(0), self.is_loaded.eq(self.is_good)]
        with m.If(self.begin):
            m.d.sync += [
                crc.eq(0),
                is_spoiled.eq(0),
                self.is_loading.eq(self.is_ours),
                self.is_loaded.eq(0),
            ]
        return m
