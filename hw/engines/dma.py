"""The DMA: a transfer at a time between DRAM and buffers, a row a cycle, answers in flight behind."""

from __future__ import annotations

from amaranth.hdl import Array, Module, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ...chip.learn_command import SEGMENTS, TRANSFER_FIELDS
from ...chip.learn_config import LearnConfig
from ...chip.learn_program import Queue
from ..cores.fifo import Fifo
from .layouts import (
    BUFFER_ROW_BITS,
    DRAM_ROW_BITS,
    memory_request,
    memory_response,
    row_bits,
    task_struct,
    write_struct,
)

__all__ = ["Dma"]


class _Walk:
    """Registers that step through a transfer's segments, row by row."""

    def __init__(self, m: Module, task: data.View, name: str) -> None:
        self._m, self._task = m, task
        self.segment = Signal(range(SEGMENTS), name=f"{name}_segment")
        self.offset = Signal(BUFFER_ROW_BITS, name=f"{name}_offset")
        self.ends_segment, self.is_last = Signal(), Signal()
        m.d.comb += [
            self.ends_segment.eq(self.offset + 1 == self.of("rows")),
            self.is_last.eq(self.ends_segment & (self.segment + 1 == task.segments)),
        ]

    def of(self, field: str) -> Value:
        """Return a field of the segment at work."""
        return Value.cast(Array(self._task[f"{field}_{n}"] for n in range(SEGMENTS))[self.segment])

    def restart(self) -> None:
        """Go back to the first row; called within a condition."""
        self._m.d.sync += [self.segment.eq(0), self.offset.eq(0)]

    def step(self) -> None:
        """Go on by a row; called within a condition."""
        m = self._m
        with m.If(self.ends_segment):
            m.d.sync += [self.segment.eq(self.segment + 1), self.offset.eq(0)]
        with m.Else():
            m.d.sync += self.offset.eq(self.offset + 1)


class Dma(wiring.Component):
    """Move the rows of a transfer's segments between DRAM and a buffer.

    Behaviour
    ---------
    A row is asked for, or handed over, in each cycle in which the memory accepts one; the memory answers each request
    in its order. The next transfer may begin while answers to the one before are in flight. A transfer has ended when
    its last answer has come. As the channel of ``sim/engines/timeline.py``.

    Timing
    ------
    With a memory that is always ready and answers ``latency_cycles`` after it accepted a request (2 here)::

        cycle      0    1    2    3    4    5    6
        prepare    1    0    0    0    0    0    0      # a store reads its first row
        start      0    1    0    0    0    0    0
        request    -    r0   r1   r2   -    -    -
        issued     0    0    0    1    0    0    0
        response   -    -    -    a0   a1   a2   -
        ends       0    0    0    0    0    1    0

    *Back-pressure*: a request stays until it is accepted; as many may be in flight as a channel without stalls needs.

    Reset
    -----
    Idle; nothing in flight.

    Parameters
    ----------
    config : LearnConfig

    Members
    -------
    task : In(TRANSFER_FIELDS), queue : In(4)
        The transfer, stable from ``prepare`` to ``issued``.
    prepare, start, clear : In(1)
        In the cycle before the first request, and in its cycle; forget what is at work.
    issued : Out(1)
        The last row is asked for in this cycle.
    ends, ends_queue : Out
        A transfer's last answer comes in this cycle.
    in_flight : Out(1)
        Answers are due.
    request : Out(stream of `memory_request`)
    response_valid, response : In
    read_en, read_row : Out; read_data : In
        The buffer that a store empties: that of ``queue``.
    write_en, write : Out
        A row that comes, for the buffer that it names.
    address_error, memory_error : Out(1)
        A row beyond the memory, which is not asked for; an answer that says error. Pulses.
    """

    task: data.View
    queue: Signal
    prepare: Signal
    start: Signal
    clear: Signal
    issued: Signal
    ends: Signal
    ends_queue: Signal
    in_flight: Signal
    request: stream.Interface
    response_valid: Signal
    response: data.View
    read_en: Signal
    read_row: Signal
    read_data: Signal
    write_en: Signal
    write: data.View
    address_error: Signal
    memory_error: Signal

    def __init__(self, config: LearnConfig) -> None:
        self._config = config
        bits = row_bits(config)
        super().__init__(
            {
                "task": In(task_struct(TRANSFER_FIELDS)),
                "queue": In(4),
                "prepare": In(1),
                "start": In(1),
                "clear": In(1),
                "issued": Out(1),
                "ends": Out(1),
                "ends_queue": Out(4),
                "in_flight": Out(1),
                "request": Out(memory_request(config)),
                "response_valid": In(1),
                "response": In(memory_response(config)),
                "read_en": Out(1),
                "read_row": Out(BUFFER_ROW_BITS),
                "read_data": In(bits),
                "write_en": Out(1),
                "write": Out(write_struct(config)),
                "address_error": Out(1),
                "memory_error": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the two walks, the requests and what remembers them until they are answered."""
        m = Module()
        config, task = self._config, self.task
        asks, reads = _Walk(m, task, "asks"), _Walk(m, task, "reads")
        is_store = Signal()
        m.d.comb += is_store.eq(self.queue >= Queue.STORE_BACKWARD)

        written = self.write.shape()
        note = data.StructLayout(
            {"is_store": 1, "queue": 4, "is_last": 1}
            | {name: written[name].shape for name in ("buffer", "segment", "row", "inner", "outer")}
        )
        m.submodules.notes = notes = Fifo(note.size, config.dram.latency_cycles + 2)
        inner, outer = Signal(written["inner"].shape), Signal(written["outer"].shape)
        pushed = data.View(note, notes.i.payload)
        dram_row = Signal(DRAM_ROW_BITS + 1)
        is_inside, is_busy, works, accepted = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            dram_row.eq(asks.of("dram_row") + asks.offset),
            is_inside.eq(dram_row < config.dram.rows),
            works.eq(is_busy | self.start),
            self.request.payload.is_write.eq(is_store),
            self.request.payload.row.eq(dram_row),
            self.request.payload.data.eq(self.read_data),
            self.request.valid.eq(works & is_inside & notes.i.ready),
            accepted.eq(self.request.valid & self.request.ready),
            self.issued.eq(accepted & asks.is_last),
            self.address_error.eq(works & ~is_inside),
            pushed.is_store.eq(is_store),
            pushed.queue.eq(self.queue),
            pushed.is_last.eq(asks.is_last),
            pushed.buffer.eq(task.buffer),
            pushed.segment.eq(asks.segment),
            pushed.row.eq(asks.of("buffer_row") + asks.offset),
            pushed.inner.eq(inner),
            pushed.outer.eq(outer),
            notes.i.valid.eq(accepted),
        ]
        with m.If(self.prepare):
            asks.restart()
            m.d.sync += [inner.eq(0), outer.eq(0)]
        with m.If(self.start):
            m.d.sync += is_busy.eq(1)
        with m.If(accepted):
            asks.step()
            with m.If(asks.ends_segment):
                m.d.sync += [inner.eq(0), outer.eq(0)]
            with m.Elif(inner + 1 == asks.of("inner")):
                m.d.sync += [inner.eq(0), outer.eq(outer + 1)]
            with m.Else():
                m.d.sync += inner.eq(inner + 1)
        with m.If(self.issued | self.clear):
            m.d.sync += is_busy.eq(0)

        # A store reads a row ahead: the first one when it is prepared.
        m.d.comb += [
            self.read_en.eq(self.prepare | accepted),
            self.read_row.eq(reads.of("buffer_row") + reads.offset),
        ]
        with m.If(self.read_en):
            reads.step()
        with m.If(self.issued | self.clear):
            reads.restart()

        answered = data.View(note, notes.o.payload)
        m.d.comb += [
            notes.o.ready.eq(self.response_valid),
            self.in_flight.eq(notes.o.valid),
            self.ends.eq(self.response_valid & answered.is_last),
            self.ends_queue.eq(answered.queue),
            self.memory_error.eq(self.response_valid & self.response.error),
        ]
        m.d.sync += self.write_en.eq(self.response_valid & ~answered.is_store)
        m.d.sync += self.write.data.eq(self.response.data)
        for name in ("buffer", "segment", "row", "inner", "outer"):
            m.d.sync += self.write[name].eq(answered[name])
        return m
