"""The host port's frames from the host: does what they ask for, and answers READ and STATUS."""

from __future__ import annotations

from amaranth.hdl import Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ...chip.config import ChipConfig
from ...chip.host_link import ERROR_BITS, HostError, HostLink, HostOp
from ...chip.memory_map import WRITABLE
from .flit_account import FlitAccount
from .host_judge import HostJudge
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
    *Latency*: a header takes 2 cycles; then a beat a cycle passes. *Throughput*: a frame at a time. *Back-pressure*:
    a FLITS frame waits for room in its port's queue and holds up all frames behind it, as does a SAMPLE or a STEP
    that waits for a place among the commands, and a READ until it is answered.

    FLITS with two flits::

        cycle          0    1    2    3    4
        beats          H    f0   f0   f1   H'
        beats.ready    1    0    1    1    1
        flit           -    -    f0   f1   -

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
        self._build_shared(m)
        with m.FSM():
            with m.State("Header"):
                m.d.comb += beats.ready.eq(1)
                m.d.sync += [
                    self._first.eq(beats.payload.data),
                    self._is_single.eq(beats.payload.last),
                    self._place.eq(0),
                ]
                with m.If(beats.valid):
                    m.next = "Judge"
            with m.State("Judge"):
                self._go_by_judgement(m)
            with m.State("Skip"):
                m.d.comb += beats.ready.eq(1)
                with m.If(self._takes & beats.payload.last):
                    m.next = "Header"
            self._build_loading(m)
            self._build_answering(m)
            self._build_running(m)
        return m

    def _build_shared(self, m: Module) -> None:
        """Build the frame's header, the places in it, and the parts."""
        beats, link, many_core = self.beats, self.link, self.config.many_core
        self._first = first = Signal(link.beat_bits)
        self._header = header = data.View(header_struct(), first[: header_struct().size])
        self._is_single = Signal()  # the header is the frame's only beat
        self._takes = Signal()
        self._found = Signal(ERROR_BITS)  # by this frame, in this cycle
        self._left = Signal.like(header.count)  # rows or flits to come
        places = max(*(link.beats_per_row(memory) for memory in WRITABLE), link.ports)
        self._place = Signal(range(places))  # of the next beat in its row or in a STEP

        m.submodules.judge = self._judge = judge = HostJudge(many_core)
        m.submodules.check = self._check = check = LoadCheck(link.beat_bits)
        m.submodules.root = self._root = root = LoadRoot(many_core)
        m.submodules.status = self._status = status = HostStatus(self.config)
        m.submodules.account = self._account = account = FlitAccount(link)
        wiring.connect(m, root.chain_out, wiring.flipped(self.chain_out))
        wiring.connect(m, root.chain_in, wiring.flipped(self.chain_in))
        m.d.comb += [
            self._takes.eq(beats.valid & beats.ready),
            self.flit_port.eq(header.hops),
            self.flit.payload.eq(beats.payload.data),
            judge.header.eq(header),
            judge.is_last.eq(self._is_single),
            judge.is_busy.eq(self.is_busy),
            judge.is_loading.eq(check.is_loading),
            judge.is_loaded.eq(check.is_loaded),
            judge.owed.eq(account.owed),
            check.data.eq(beats.payload.data),
            check.is_ours.eq(beats.payload.data == int(self.config.config_hash, 16)),
            check.spoil.eq(self._found.any()),
            root.header.eq(first),
            status.raised.eq(self._found | self.raised),
            status.is_loaded.eq(check.is_loaded),
            status.is_busy.eq(self.is_busy),
            status.clears.eq(header.row[0]),
            account.place.eq(self._place),
            account.count.eq(beats.payload.data),
            account.port.eq(self.flit_port),
        ]

    def _go_by_judgement(self, m: Module) -> None:
        """Note an error and skip the frame, or go to the state of its kind."""
        header = self._header
        m.d.sync += self._left.eq(header.count)
        m.d.comb += self._found.eq(self._judge.error)
        with m.If(self._judge.error.any()):
            self._leave(m, self._is_single)
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
                    with m.If(~self._judge.error.any()):
                        m.next = state
            # These two are answered in any case, lest somebody wait in vain.
            with m.Case(HostOp.READ):
                m.next = "No rows"
                with m.If(~self._judge.error.any() & (header.count != 0)):
                    m.next = "Read header"
            with m.Case(HostOp.STATUS):
                m.next = "Status"

    def _leave(self, m: Module, is_last: Value) -> None:
        """Go on with the next frame, behind the rest of this one if the beat just read was not its last."""
        with m.If(is_last):
            m.next = "Header"
        with m.Else():
            m.next = "Skip"

    def _end_at(self, m: Module, is_final: Value) -> None:
        """Leave the frame at its end, as marked or as the header tells it, which is now if ``is_final``."""
        last = self.beats.payload.last
        with m.If(self._takes & is_final & ~last):
            m.d.comb += self._found.eq(HostError.OVERLONG)
        with m.If(self._takes & ~is_final & last):
            m.d.comb += self._found.eq(HostError.TRUNCATED)
        with m.If(self._takes & (is_final | last)):
            self._leave(m, last)

    def _build_loading(self, m: Module) -> None:
        """Add the states of BEGIN, WRITE and COMMIT."""
        beats, check, words = self.beats, self._check, self._root.words
        acts = self._takes & beats.payload.last
        with m.State("Hash"):
            m.d.comb += [beats.ready.eq(1), check.begin.eq(acts)]
            self._end_at(m, Const(1))
            with m.If(acts & ~check.is_ours):
                m.d.comb += self._found.eq(HostError.WRONG_CHIP)
        with m.State("Check sum"):
            m.d.comb += [beats.ready.eq(self._root.is_empty), check.commit.eq(acts)]
            self._end_at(m, Const(1))
            with m.If(acts & ~check.is_good):
                m.d.comb += self._found.eq(HostError.BAD_PROGRAM)
        with m.State("Write header"):
            m.d.comb += [
                words.valid.eq(1),
                words.payload.header.eq(1),
                words.payload.data.eq(self._first),
                check.data.eq(self._first),
                check.absorb.eq(words.ready),
            ]
            with m.If(words.ready):
                m.next = "Rows"
                with m.If(self._left == 0):
                    m.next = "Header"
        with m.State("Rows"):
            m.d.comb += [
                words.valid.eq(beats.valid),
                words.payload.data.eq(beats.payload.data),
                beats.ready.eq(words.ready),
                check.absorb.eq(self._takes),
            ]
            ends_row = Signal()
            with m.Switch(self._header.memory):
                for memory in WRITABLE:
                    with m.Case(memory):
                        m.d.comb += ends_row.eq(self._place == self.link.beats_per_row(memory) - 1)
            with m.If(self._takes):
                m.d.sync += [
                    self._place.eq(Mux(ends_row, 0, self._place + 1)),
                    self._left.eq(self._left - ends_row),
                ]
            self._end_at(m, ends_row & (self._left == 1))

    def _build_answering(self, m: Module) -> None:
        """Add the states of READ and STATUS."""
        root, answer = self._root, self.answer
        with m.State("Read header"):
            m.d.comb += [
                root.words.valid.eq(root.is_empty),
                root.words.payload.header.eq(1),
                root.words.payload.data.eq(self._first),
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
                header.eq(self._header),
                header.count.eq(0),
                answer.valid.eq(1),
                answer.payload.data.eq(header),
                answer.payload.last.eq(1),
            ]
            with m.If(answer.ready):
                self._leave(m, self._is_single)
        with m.State("Status"):
            m.d.comb += [
                self._status.is_asked.eq(1),
                answer.valid.eq(self._status.answer.valid),
                answer.payload.eq(self._status.answer.payload),
                self._status.answer.ready.eq(answer.ready),
            ]
            with m.If(answer.valid & answer.ready & answer.payload.last):
                self._leave(m, self._is_single)

    def _build_running(self, m: Module) -> None:
        """Add the states of SAMPLE, STEP and FLITS."""
        beats, command, flit, account = self.beats, self.command, self.flit, self._account
        is_sample = self._header.op == HostOp.SAMPLE
        m.d.comb += [
            command.payload.is_sample.eq(is_sample),
            command.payload.counts.eq(account.counts),
        ]
        with m.State("Counts"):
            is_final = self._place == self.link.ports - 1
            m.d.comb += [beats.ready.eq(1), account.announce.eq(self._takes)]
            with m.If(self._takes):
                m.d.sync += self._place.eq(self._place + 1)
            self._end_at(m, is_final)
            with m.If(self._takes & is_final & beats.payload.last):
                m.next = "Command"
        with m.State("Command"):
            with m.If(~is_sample & account.is_too_many):
                m.d.comb += self._found.eq(HostError.BAD_ADDRESS)
                m.next = "Header"
            with m.Else():
                m.d.comb += command.valid.eq(1)
                with m.If(command.ready):
                    m.d.comb += account.book.eq(~is_sample)
                    m.next = "Header"
        with m.State("Flits"):
            with m.If(self._left == 0):  # a frame of none
                m.next = "Header"
            with m.Else():
                m.d.comb += [
                    flit.valid.eq(beats.valid),
                    beats.ready.eq(flit.ready),
                    account.arrives.eq(self._takes),
                ]
                with m.If(self._takes):
                    m.d.sync += self._left.eq(self._left - 1)
                self._end_at(m, self._left == 1)
