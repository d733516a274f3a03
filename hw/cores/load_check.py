"""Whether a program is being loaded, is complete, and arrived as it was sent."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ...chip.host_link import ERROR_BITS, HostError
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
    What comes in is registered: ``error`` tells a cycle later, the other outputs change after that. A beat a cycle is
    absorbed; a cycle at least lies between ``absorb`` and ``commit``, which a frame's header takes anyway.

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
    commit : In(1)
        ``data`` is the CRC of a COMMIT.
    spoil : In(1)
        A frame was refused or cut short one cycle ago.
    error : Out(ERROR_BITS)
        One cycle after ``begin`` or ``commit``: the chip is another one, or the program is not complete; else 0.
    is_loading : Out(1)
        Between a BEGIN for this chip and the COMMIT.
    is_loaded : Out(1)
        The program is complete: samples may run.
    """

    data: Signal
    begin: Signal
    is_ours: Signal
    absorb: Signal
    commit: Signal
    spoil: Signal
    error: Signal
    is_loading: Signal
    is_loaded: Signal

    def __init__(self, beat_bits: int) -> None:
        super().__init__(
            {
                "data": In(beat_bits),
                "begin": In(1),
                "is_ours": In(1),
                "absorb": In(1),
                "commit": In(1),
                "spoil": In(1),
                "error": Out(ERROR_BITS),
                "is_loading": Out(1),
                "is_loaded": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Register what comes in; build the CRC and the three flags behind it."""
        m = Module()
        crc = Signal(STATE_BITS)
        is_spoiled, is_good = Signal(), Signal()
        data, is_ours = Signal.like(self.data), Signal()
        begins, absorbs, commits = Signal(), Signal(), Signal()
        m.d.sync += [
            data.eq(self.data),
            is_ours.eq(self.is_ours),
            begins.eq(self.begin),
            absorbs.eq(self.absorb),
            commits.eq(self.commit),
        ]
        inputs = Cat(crc, data)
        masks = [
            sum((column >> bit & 1) << place for place, column in enumerate(matrix(len(self.data))))
            for bit in range(STATE_BITS)
        ]
        absorbed = Cat((inputs & mask).xor() for mask in masks)
        m.d.comb += [
            is_good.eq((data == crc) & ~is_spoiled),
            self.error.eq(
                Mux(begins & ~is_ours, int(HostError.WRONG_CHIP), 0)
                | Mux(commits & ~is_good, int(HostError.BAD_PROGRAM), 0)
            ),
        ]
        with m.If(absorbs):
            m.d.sync += crc.eq(absorbed)
        with m.If(self.spoil):
            m.d.sync += is_spoiled.eq(1)
        with m.If(commits):
            m.d.sync += [self.is_loading.eq(0), self.is_loaded.eq(is_good)]
        with m.If(begins):
            m.d.sync += [
                crc.eq(0),
                is_spoiled.eq(0),
                self.is_loading.eq(is_ours),
                self.is_loaded.eq(0),
            ]
        return m
