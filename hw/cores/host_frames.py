"""What the host port does with each kind of frame: the states of `HostDecoder`, by group."""

from __future__ import annotations

from dataclasses import dataclass

from amaranth.hdl import Array, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream

from ...chip.host_link import HostError, HostLink, HostOp
from ...chip.memory_map import WRITABLE, Memory
from .flit_account import FlitAccount
from .host_layouts import header_struct
from .host_status import HostStatus
from .load_check import LoadCheck
from .load_root import LoadRoot

__all__ = ["FrameInHand", "add_answering", "add_loading", "add_running"]


@dataclass(frozen=True)
class FrameInHand:
    """What all states share: the frame that is being read, the decoder's streams and its parts.

    Attributes
    ----------
    m, link
        The decoder's module, and the link.
    beats, answer, command, flit
        Its streams.
    first, header, is_single
        The frame's first beat; the same as a header; it is the only beat.
    takes, found
        A beat is taken in this cycle; errors found in it.
    left, is_one_left, is_none_left, place
        Rows or flits to come, and whether it is so many; place of the next beat in its row or in a STEP.
    check, root, status, account
        The decoder's parts.
    """

    m: Module
    link: HostLink
    beats: stream.Interface
    answer: stream.Interface
    command: stream.Interface
    flit: stream.Interface
    first: Signal
    header: data.View
    is_single: Signal
    takes: Signal
    found: Signal
    left: Signal
    is_one_left: Signal
    is_none_left: Signal
    place: Signal
    check: LoadCheck
    root: LoadRoot
    status: HostStatus
    account: FlitAccount

    def leave(self, is_last: Value) -> None:
        """Go on with the next frame, behind the rest of this one if the beat just read was not its last."""
        m = self.m
        with m.If(is_last):
            m.next = "Header"
        with m.Else():
            m.next = "Skip"

    def count_down(self) -> None:
        """Note that a row or flit has come."""
        self.m.d.sync += [
            self.left.eq(self.left - 1),
            self.is_one_left.eq(self.left == 2),
            self.is_none_left.eq(self.is_one_left),
        ]

    def end_at(self, is_final: Value) -> None:
        """Leave the frame at its end, as marked or as the header tells it, which is now if ``is_final``."""
        m, last = self.m, self.beats.payload.last
        with m.If(self.takes & is_final & ~last):
            m.d.comb += self.found.eq(HostError.OVERLONG)
        with m.If(self.takes & ~is_final & last):
            m.d.comb += self.found.eq(HostError.TRUNCATED)
        with m.If(self.takes & (is_final | last)):
            self.leave(last)


def add_loading(f: FrameInHand) -> None:
    """Add the states of BEGIN, WRITE and COMMIT."""
    m = f.m
    beats, check, words = f.beats, f.check, f.root.words
    acts = f.takes & beats.payload.last
    last, ends_row = (
        Signal.like(f.place),
        Signal(),
    )  # place of a row's last beat; the next beat is that
    m.d.comb += last.eq(
        Array(f.link.beats_per_row(memory) - 1 if memory in WRITABLE else 0 for memory in Memory)[
            f.header.memory
        ]
    )
    with m.State("Hash"):
        m.d.comb += [beats.ready.eq(1), check.begin.eq(acts)]
        f.end_at(Const(1))
    with m.State("Check sum"):
        m.d.comb += [beats.ready.eq(f.root.is_empty), check.commit.eq(acts)]
        f.end_at(Const(1))
    with m.State("Write header"):
        m.d.comb += [
            words.valid.eq(1),
            words.payload.header.eq(1),
            words.payload.data.eq(f.first),
            check.data.eq(f.first),
            check.absorb.eq(words.ready),
        ]
        with m.If(words.ready):
            m.d.sync += ends_row.eq(last == 0)
            m.next = "Rows"
            with m.If(f.is_none_left):
                m.next = "Header"
    with m.State("Rows"):
        m.d.comb += [
            words.valid.eq(beats.valid),
            words.payload.data.eq(beats.payload.data),
            beats.ready.eq(words.ready),
            check.absorb.eq(f.takes),
        ]
        with m.If(f.takes):
            m.d.sync += [
                f.place.eq(Mux(ends_row, 0, f.place + 1)),
                ends_row.eq(Mux(ends_row, last == 0, f.place + 1 == last)),
            ]
            with m.If(ends_row):
                f.count_down()
        f.end_at(ends_row & f.is_one_left)


def add_answering(f: FrameInHand) -> None:
    """Add the states of READ and STATUS."""
    m = f.m
    root, answer = f.root, f.answer
    with m.State("Read header"):
        m.d.comb += [
            root.words.valid.eq(root.is_empty),
            root.words.payload.header.eq(1),
            root.words.payload.data.eq(f.first),
        ]
        with m.If(root.words.valid & root.words.ready):
            m.next = "Read"
    with m.State("Read"):
        m.d.comb += [
            root.is_reading.eq(1),
            answer.valid.eq(root.answer.valid),
            answer.payload.eq(root.answer.payload),
            root.answer.ready.eq(answer.ready),
        ]
        with m.If(answer.valid & answer.ready & answer.payload.last):
            m.next = "Header"
    with m.State("No rows"):
        header = Signal(header_struct())
        m.d.comb += [
            header.eq(f.header),
            header.count.eq(0),
            answer.valid.eq(1),
            answer.payload.data.eq(header),
            answer.payload.last.eq(1),
        ]
        with m.If(answer.ready):
            f.leave(f.is_single)
    with m.State("Status"):
        m.d.comb += [
            f.status.is_asked.eq(1),
            answer.valid.eq(f.status.answer.valid),
            answer.payload.eq(f.status.answer.payload),
            f.status.answer.ready.eq(answer.ready),
        ]
        with m.If(answer.valid & answer.ready & answer.payload.last):
            f.leave(f.is_single)


def add_running(f: FrameInHand) -> None:
    """Add the states of SAMPLE, STEP and FLITS."""
    m = f.m
    beats, command, flit, account = f.beats, f.command, f.flit, f.account
    is_sample = f.header.op == HostOp.SAMPLE
    m.d.comb += [
        command.payload.is_sample.eq(is_sample),
        command.payload.counts.eq(account.counts),
    ]
    with m.State("Counts"):
        is_final = f.place == f.link.ports - 1
        m.d.comb += [beats.ready.eq(1), account.announce.eq(f.takes)]
        with m.If(f.takes):
            m.d.sync += f.place.eq(f.place + 1)
        f.end_at(is_final)
        with m.If(f.takes & is_final & beats.payload.last):
            m.next = "Command"
    with m.State("Command"):
        with m.If(~is_sample & account.is_too_many):
            m.d.comb += f.found.eq(HostError.BAD_ADDRESS)
            m.next = "Header"
        with m.Else():
            m.d.comb += command.valid.eq(1)
            with m.If(command.ready):
                m.d.comb += account.book.eq(~is_sample)
                m.next = "Header"
    with m.State("Flits"):
        with m.If(f.is_none_left):  # a frame of none
            m.next = "Header"
        with m.Else():
            m.d.comb += [
                flit.valid.eq(beats.valid),
                beats.ready.eq(flit.ready),
                account.arrives.eq(f.takes),
            ]
            with m.If(f.takes):
                f.count_down()
            f.end_at(f.is_one_left)
