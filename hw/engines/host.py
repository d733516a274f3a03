"""The host port of the learning engines: commands, rows of memory, steps and answers over one AXI4-Stream each way."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Array, C, Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ...chip.config import ChipConfig
from ...chip.learn_command import COMMAND_WORDS, WORD_BITS
from ...chip.learn_link import (
    COUNT_BITS,
    ERROR_BITS,
    LINK_MAGIC,
    OP_BITS,
    STATUS_WORDS,
    LearnHostError,
    LearnHostOp,
)
from ...chip.learn_program import Queue
from .layouts import DRAM_ROW_BITS, memory_request, memory_response, row_bits
from .sequencer import COUNT_BITS as DONE_BITS
from .sequencer import CYCLE_BITS

__all__ = ["LearnHost"]


class LearnHost(wiring.Component):
    """Serve the host's frames, one after the other.

    Behaviour
    ---------
    chip/learn_link.py says what the words mean. A STATUS that comes while a step runs is answered, and clears nothing;
    any other frame waits until the step has ended. Writes to memory may be in flight behind one another; reads are not.
    An error leaves everything else as it is.

    Timing
    ------
    A word a cycle in; a row of memory takes its words. An answer follows within a few cycles, rows within the memory's
    latency each. A step begins in the cycle after its RUN was taken, if no write is in flight::

        cycle      0    1    2   ...  E    E+1  E+2        E: the step's length, from 1 on
        s_axis     RUN  -    -        -    -    -
        begin      0    1    0        0    0    0
        is_running 0    0    1        1    0    0
        m_axis     -    -    -        -    -    RUN

    Reset
    -----
    No errors; waits for a header.

    Parameters
    ----------
    config : ChipConfig
    depth
        Commands of a queue.

    Members
    -------
    s_axis, m_axis
        Streams of words with a mark on a frame's last.
    w_en, w_queue, w_place, w_data, set_count, count, begin
        Out. To the sequencer.
    is_running, cycle, overflow, done_0 ..., signature_0 ..., signature_memory
        In. What a STATUS tells.
    errors_in
        In. Pulses, by the bits of `LearnHostError`.
    stop
        Out. An error that stops the engines is set.
    request : Out(stream of `memory_request`); response_valid, response : In
        The memory, while no step runs; answers to the host's own requests.
    """

    s_axis: stream.Interface
    m_axis: stream.Interface
    w_en: Signal
    w_queue: Signal
    w_place: Signal
    w_data: Signal
    set_count: Signal
    count: Signal
    begin: Signal
    is_running: Signal
    cycle: Signal
    overflow: Signal
    errors_in: Signal
    stop: Signal
    request: stream.Interface
    response_valid: Signal
    response: data.View
    signature_memory: Signal

    def __init__(self, config: ChipConfig, depth: int) -> None:
        self._config, self._learn, self._depth = config, config.learn, depth
        words = stream.Signature(data.StructLayout({"word": WORD_BITS, "is_last": 1}))
        members: dict[str, Any] = {
            "s_axis": In(words), "m_axis": Out(words),
            "w_en": Out(1), "w_queue": Out(range(len(Queue))), "w_place": Out(range(depth * COMMAND_WORDS)),
            "w_data": Out(WORD_BITS), "set_count": Out(1), "count": Out(range(depth + 1)), "begin": Out(1),
            "is_running": In(1), "cycle": In(CYCLE_BITS), "overflow": In(1), "errors_in": In(ERROR_BITS),
            "stop": Out(1), "request": Out(memory_request(self._learn)), "response_valid": In(1),
            "response": In(memory_response(self._learn)),
        }  # fmt: skip
        for queue in Queue:
            members[f"done_{queue}"] = In(DONE_BITS)
            members[f"signature_{queue}"] = In(32)
        members["signature_memory"] = In(32)
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        """Build the state machine and the registers that it fills."""
        m = Module()
        beats = row_bits(self._learn) // WORD_BITS
        op, left, row = Signal(OP_BITS), Signal(COUNT_BITS), Signal(DRAM_ROW_BITS + 1)
        place, beat = Signal.like(self.w_place), Signal(range(max(beats, COMMAND_WORDS) + 1))
        queue, total, is_whole = Signal.like(self.w_queue), Signal.like(self.count), Signal()
        buffer = Signal(row_bits(self._learn))
        in_flight = Signal(8)
        errors = Signal(ERROR_BITS)
        raised = Signal(ERROR_BITS)
        clears, runs = Signal(), Signal()
        inp, out = self.s_axis, self.m_axis
        word, is_last = inp.payload.word, inp.payload.is_last
        takes = Signal()
        m.d.comb += takes.eq(inp.valid & inp.ready)
        stopping = sum(int(bit) for bit in LearnHostError if bit >= LearnHostError.BAD_COMMAND)
        m.d.comb += self.stop.eq((errors & C(stopping, ERROR_BITS)).any())
        m.d.sync += errors.eq(Mux(clears, 0, errors) | raised | self.errors_in)

        answered = self.response_valid
        pushes = Signal()
        m.d.comb += pushes.eq(self.request.valid & self.request.ready)
        m.d.sync += in_flight.eq(in_flight + pushes - answered)

        m.d.comb += [
            self.w_queue.eq(queue),
            self.w_place.eq(place),
            self.w_data.eq(word),
            self.count.eq(total),
            self.request.payload.row.eq(row),
            self.request.payload.data.eq(buffer),
        ]

        def fail(error: LearnHostError, at_end: Value) -> None:
            """Raise an error; skip what is left of the frame."""
            m.d.comb += raised.eq(error)
            m.next = "skip"
            with m.If(at_end):
                m.next = "header"

        def ends(after: str) -> None:
            """Go on behind the word that should be the frame's last."""
            m.next = after
            with m.If(~is_last):
                m.d.comb += raised.eq(LearnHostError.OVERLONG)
                m.next = "skip"

        with m.FSM(name="host"):
            with m.State("header"):
                m.d.comb += inp.ready.eq(~self.is_running)
                m.d.sync += [
                    op.eq(word[:OP_BITS]),
                    left.eq(word[OP_BITS:]),
                    total.eq(word[OP_BITS:]),
                    place.eq(0),
                    beat.eq(0),
                ]
                with m.If(takes):
                    with m.Switch(word[:OP_BITS]):
                        with m.Case(LearnHostOp.COMMANDS, LearnHostOp.WRITE, LearnHostOp.READ):
                            m.next = "where"
                            with m.If(is_last):
                                m.d.comb += raised.eq(LearnHostError.TRUNCATED)
                                m.next = "header"
                        with m.Case(LearnHostOp.RUN):
                            ends("settle")
                        with m.Case(LearnHostOp.STATUS):
                            ends("answer")
                        with m.Default():
                            fail(LearnHostError.BAD_OP, is_last)
            with m.State("where"):
                m.d.comb += inp.ready.eq(1)
                m.d.sync += [queue.eq(word), row.eq(word)]
                with m.If(takes):
                    last_row = Signal(WORD_BITS + 1)
                    m.d.comb += last_row.eq(word + left)
                    with m.Switch(op):
                        with m.Case(LearnHostOp.COMMANDS):
                            with m.If((word >= len(Queue)) | (left > self._depth)):
                                fail(LearnHostError.BAD_ADDRESS, is_last)
                            with m.Elif(left == 0):
                                ends("no_commands")
                            with m.Elif(is_last):
                                fail(LearnHostError.TRUNCATED, is_last)
                            with m.Else():
                                m.next = "commands"
                        with m.Default():
                            with m.If(last_row > self._learn.dram.rows):
                                fail(LearnHostError.BAD_ADDRESS, is_last)
                            with m.Elif(op == LearnHostOp.READ):
                                ends("read_header")
                            with m.Elif(left == 0):
                                ends("header")
                            with m.Elif(is_last):
                                fail(LearnHostError.TRUNCATED, is_last)
                            with m.Else():
                                m.next = "write"
            with m.State("no_commands"):
                m.d.comb += self.set_count.eq(1)
                m.next = "header"
            with m.State("commands"):
                m.d.comb += [inp.ready.eq(1), self.w_en.eq(takes)]
                with m.If(takes):
                    m.d.sync += [place.eq(place + 1), beat.eq(beat + 1)]
                    with m.If(beat == COMMAND_WORDS - 1):
                        m.d.sync += [beat.eq(0), left.eq(left - 1)]
                    with m.If((beat == COMMAND_WORDS - 1) & (left == 1)):
                        m.d.comb += self.set_count.eq(1)
                        ends("header")
                    with m.Elif(is_last):
                        fail(LearnHostError.TRUNCATED, is_last)
            with m.State("write"):
                m.d.comb += inp.ready.eq(1)
                with m.If(takes):
                    m.d.sync += [
                        buffer.eq(Cat(buffer[WORD_BITS:], word)),
                        beat.eq(beat + 1),
                        is_whole.eq(is_last),
                    ]
                    with m.If(beat == beats - 1):
                        m.next = "store"
                    with m.Elif(is_last):
                        fail(LearnHostError.TRUNCATED, is_last)
            with m.State("store"):
                m.d.comb += [
                    self.request.valid.eq(~in_flight.all()),
                    self.request.payload.is_write.eq(1),
                ]
                with m.If(pushes):
                    m.d.sync += [row.eq(row + 1), left.eq(left - 1), beat.eq(0)]
                    m.next = "write"
                    with m.If(is_whole):
                        m.next = "header"
                        with m.If(left != 1):
                            m.d.comb += raised.eq(LearnHostError.TRUNCATED)
                    with m.Elif(left == 1):
                        m.d.comb += raised.eq(LearnHostError.OVERLONG)
                        m.next = "skip"
            with m.State("skip"):
                m.d.comb += inp.ready.eq(1)
                with m.If(takes & is_last):
                    m.next = "header"
            with m.State("read_header"):
                m.d.comb += [
                    out.valid.eq(1),
                    out.payload.word.eq(Cat(op, left)),
                    out.payload.is_last.eq(left == 0),
                ]
                with m.If(out.ready):
                    m.next = "read"
                    with m.If(left == 0):
                        m.next = "header"
            with m.State("read"):
                m.d.comb += self.request.valid.eq(in_flight == 0)
                with m.If(pushes):
                    m.next = "wait"
            with m.State("wait"):
                with m.If(answered):
                    m.d.sync += [buffer.eq(self.response.data), beat.eq(0)]
                    m.next = "rows"
            with m.State("rows"):
                m.d.comb += [
                    out.valid.eq(1),
                    out.payload.word.eq(buffer[:WORD_BITS]),
                    out.payload.is_last.eq((beat == beats - 1) & (left == 1)),
                ]
                with m.If(out.ready):
                    m.d.sync += [buffer.eq(buffer >> WORD_BITS), beat.eq(beat + 1)]
                    with m.If(beat == beats - 1):
                        m.d.sync += [row.eq(row + 1), left.eq(left - 1)]
                        m.next = "read"
                        with m.If(left == 1):
                            m.next = "header"
            with m.State("settle"):
                with m.If(in_flight == 0):
                    m.d.comb += self.begin.eq(1)
                    m.next = "begun"
            with m.State("begun"):
                m.d.sync += runs.eq(1)
                m.next = "running"
            with m.State("running"):
                asks = (word[:OP_BITS] == LearnHostOp.STATUS) & is_last
                m.d.comb += inp.ready.eq(self.is_running & asks)
                with m.If(~self.is_running):
                    m.next = "answer"
                with m.Elif(takes):
                    m.d.sync += op.eq(LearnHostOp.STATUS)
                    m.d.sync += total.eq(0)
                    m.next = "answer"
            with m.State("answer"):
                self._answer(m, op, errors, total, clears, runs)
        return m

    def _answer(
        self, m: Module, op: Signal, errors: Signal, total: Signal, clears: Signal, runs: Signal
    ) -> None:
        """Send the words of a RUN or STATUS; the FSM's state "answer"."""
        told = {
            "magic": C(LINK_MAGIC, WORD_BITS),
            "hash_low": C(int(self._config.config_hash, 16) & 0xFFFFFFFF, WORD_BITS),
            "hash_high": C(int(self._config.config_hash, 16) >> 32, WORD_BITS),
            "errors": errors,
            "cycles": self.cycle,
            "flags": self.overflow,
        }
        status = [
            op,
            *(told[name] for name in STATUS_WORDS),
            *(getattr(self, f"done_{queue}") for queue in Queue),
            *(getattr(self, f"signature_{queue}") for queue in Queue),
            self.signature_memory,
        ]
        run = [op, errors, self.cycle, self.overflow]
        at, is_run, is_end = Signal(range(len(status))), Signal(), Signal()
        out = self.m_axis
        m.d.comb += [
            is_run.eq(op == LearnHostOp.RUN),
            is_end.eq(at == Mux(is_run, len(run) - 1, len(status) - 1)),
            out.valid.eq(1),
            out.payload.is_last.eq(is_end),
            out.payload.word.eq(Mux(is_run, Array(run)[at[:2]], Array(status)[at])),
        ]
        with m.If(out.ready):
            m.d.sync += at.eq(at + 1)
            with m.If(is_end):
                m.d.sync += at.eq(0)
                m.d.comb += clears.eq(~is_run & (total == 1))
                m.next = "header"
                with m.If(runs & ~is_run):
                    m.d.sync += op.eq(LearnHostOp.RUN)
                    m.next = "running"
                with m.Else():
                    m.d.sync += runs.eq(0)
