"""The host port's frames from the host: does what they ask for, and answers READ and STATUS."""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ...chip.config import ChipConfig
from ...chip.host_link import ERROR_BITS, HostLink, HostOp
from ...chip.memory_map import WRITABLE
from .flit_account import FlitAccount
from .host_frames import FrameInHand, add_answering, add_loading, add_running
from .host_judge import HostJudge, end_shape
from .host_layouts import beat_struct, chain_struct, header_struct, step_struct
from .host_status import HostStatus
from .load_check import LoadCheck
from .load_root import LoadRoot

__all__ = ["HostDecoder"]


class HostDecoder(wiring.Component):
    """Take the host's frames one after the other; a frame in error changes nothing but the error register.

    Behaviour
    ---------
    docs/host_protocol.md. A frame is judged by its header (`HostJudge`); one that is refused is skipped to its last
    beat. BEGIN, COMMIT and STEP act when their last beat has come and is marked as the last. The rows of a WRITE and
    the flits of FLITS pass as they come, no more than the header says.

    READ and COMMIT wait until the load chain is empty: then all rows before are written.

    Timing
    ------
    *Latency*: a header takes 3 cycles; then a beat a cycle passes. *Throughput*: a frame at a time. *Back-pressure*:
    a FLITS frame waits for room in its port's queue and holds up all frames behind it, as does a SAMPLE or a STEP
    that waits for a place among the commands, and a READ until it is answered.

    FLITS with two flits::

        cycle          0    1    2    3    4    5
        beats          H    f0   f0   f0   f1   H'
        beats.ready    1    0    0    1    1    1
        flit           -    -    -    f0   f1   -

    Reset
    -----
    Between two frames; no program, no errors.

    Parameters
    ----------
    config : ChipConfig
        Its hash is a constant of the design; the many-core gives all ranges.

    Members
    -------
    beats : In(stream of `beat_struct`), answer : Out(stream of `beat_struct`)
        Frames from the host; answers to READ and STATUS.
    chain_out : Out(stream of `chain_struct`), chain_in : In(stream of `chain_struct`)
        The ring of the load chain.
    command : Out(stream of `step_struct`)
        Samples and timesteps.
    flit : Out(stream of flit bits), flit_port : Out
        A flit, and the host port that it is for.
    is_busy : In(1)
        Commands run or wait.
    raised : In(ERROR_BITS)
        Errors found elsewhere.

    Not modelled
    ------------
    The simulator knows no link.
    """

    beats: stream.Interface
    answer: stream.Interface
    chain_out: stream.Interface
    chain_in: stream.Interface
    command: stream.Interface
    flit: stream.Interface
    flit_port: Signal
    is_busy: Signal
    raised: Signal

    def __init__(self, config: ChipConfig) -> None:
        self.config = config
        self.link = link = HostLink(config.many_core)
        super().__init__(
            {
                "beats": In(stream.Signature(beat_struct(link))),
                "answer": Out(stream.Signature(beat_struct(link))),
                "chain_out": Out(stream.Signature(chain_struct(link))),
                "chain_in": In(stream.Signature(chain_struct(link))),
                "command": Out(stream.Signature(step_struct(link))),
                "flit": Out(stream.Signature(link.flit.bits)),
                "flit_port": Out(range(link.ports)),
                "is_busy": In(1),
                "raised": In(ERROR_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build what all frames share, then the states of each kind."""
        m = Module()
        beats = self.beats
        frame = self._build_shared(m)
        end = Signal(end_shape())
        error = self._build_judge(m, frame, end)
        coming = data.View(header_struct(), beats.payload.data[: header_struct().size])
        with m.FSM():
            with m.State("Header"):
                m.d.comb += beats.ready.eq(1)
                m.d.sync += [
                    frame.first.eq(beats.payload.data),
                    frame.is_single.eq(beats.payload.last),
                    frame.place.eq(0),
                    end.eq(coming.row + coming.count),
                ]
                with m.If(beats.valid):
                    m.next = "Judge"
            with m.State("Judge"):
                m.next = "Judged"
            with m.State("Judged"):
                _go_by_judgement(frame, error)
            with m.State("Skip"):
                m.d.comb += beats.ready.eq(1)
                with m.If(frame.takes & beats.payload.last):
                    m.next = "Header"
            add_loading(frame)
            add_answering(frame)
            add_running(frame)
        return m

    def _build_shared(self, m: Module) -> FrameInHand:
        """Build the frame's header, the places in it, and the parts."""
        beats, link, many_core = self.beats, self.link, self.config.many_core
        first = Signal(link.beat_bits)
        header = data.View(header_struct(), first[: header_struct().size])
        places = max(*(link.beats_per_row(memory) for memory in WRITABLE), link.ports)
        m.submodules.check = check = LoadCheck(link.beat_bits)
        m.submodules.root = root = LoadRoot(many_core)
        m.submodules.status = status = HostStatus(self.config)
        m.submodules.account = account = FlitAccount(link)
        frame = FrameInHand(
            m=m, link=link,
            beats=beats, answer=self.answer, command=self.command, flit=self.flit,
            first=first, header=header, is_single=Signal(name="is_single"),
            takes=Signal(name="takes"), found=Signal(ERROR_BITS, name="found"),
            left=Signal(header.count.shape(), name="left"),
            is_one_left=Signal(name="is_one_left"), is_none_left=Signal(name="is_none_left"),
            place=Signal(range(places), name="place"),
            check=check, root=root, status=status, account=account,
        )  # fmt: skip
        found = Signal.like(frame.found)
        m.d.sync += found.eq(frame.found)
        wiring.connect(m, root.chain_out, wiring.flipped(self.chain_out))
        wiring.connect(m, root.chain_in, wiring.flipped(self.chain_in))
        m.d.comb += [
            frame.takes.eq(beats.valid & beats.ready),
            self.flit_port.eq(header.hops),
            self.flit.payload.eq(beats.payload.data),
            check.data.eq(beats.payload.data),
            check.is_ours.eq(beats.payload.data == int(self.config.config_hash, 16)),
            check.spoil.eq(found.any()),
            root.header.eq(first),
            status.raised.eq(found | check.error | self.raised),
            status.is_loaded.eq(check.is_loaded),
            status.is_busy.eq(self.is_busy),
            status.clears.eq(header.row[0]),
            account.place.eq(frame.place),
            account.count.eq(beats.payload.data),
            account.port.eq(self.flit_port),
        ]
        return frame

    def _build_judge(self, m: Module, frame: FrameInHand, end: Signal) -> Signal:
        """Build the judge, and return the error that it finds in the header."""
        m.submodules.judge = judge = HostJudge(self.config.many_core)
        m.d.comb += [
            judge.header.eq(frame.header),
            judge.end.eq(end),
            judge.is_last.eq(frame.is_single),
            judge.is_busy.eq(self.is_busy),
            judge.is_loading.eq(frame.check.is_loading),
            judge.is_loaded.eq(frame.check.is_loaded),
            judge.owed.eq(frame.account.owed),
        ]
        return judge.error


def _go_by_judgement(frame: FrameInHand, error: Signal) -> None:
    """Note an error and skip the frame, or go to the state of its kind."""
    m, header = frame.m, frame.header
    m.d.sync += [
        frame.left.eq(header.count),
        frame.is_one_left.eq(header.count == 1),
        frame.is_none_left.eq(header.count == 0),
    ]
    m.d.comb += frame.found.eq(error)
    with m.If(error.any()):
        frame.leave(frame.is_single)
    with m.Switch(header.op):
        for op, state in (
            (HostOp.BEGIN, "Hash"),
            (HostOp.WRITE, "Write header"),
            (HostOp.COMMIT, "Check sum"),
            (HostOp.SAMPLE, "Command"),
            (HostOp.STEP, "Counts"),
            (HostOp.FLITS, "Flits"),
        ):
            with m.Case(op):
                with m.If(~error.any()):
                    m.next = state
        # These two are answered in any case, lest somebody wait in vain.
        with m.Case(HostOp.READ):
            m.next = "No rows"
            with m.If(~error.any() & (header.count != 0)):
                m.next = "Read header"
        with m.Case(HostOp.STATUS):
            m.next = "Status"
