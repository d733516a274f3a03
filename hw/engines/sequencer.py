"""The sequencer: eleven command queues, the tokens between them, and who uses the memory's channel."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ...chip.learn_command import (
    COMMAND_WORDS,
    TRANSFER_FIELDS,
    WORD_BITS,
    bits_of,
    fields_of,
)
from ...chip.learn_program import ENGINES, Operation, Queue
from .command_queue import CommandQueue
from .dma import Dma
from .layouts import command_struct, task_struct

__all__ = ["COUNT_BITS", "CYCLE_BITS", "Sequencer", "connect_dma"]

COUNT_BITS = 12
CYCLE_BITS = 32
TRANSFERS = tuple(queue for queue in Queue if queue not in ENGINES)
_OPERATIONS: dict[Queue, tuple[Operation, ...]] = {
    Queue.FORWARD: (Operation.FORWARD_SUMS,),
    Queue.BACKWARD: (Operation.INPUT_GRADIENTS,),
    Queue.UPDATE: (Operation.WEIGHT_GRADIENTS,),
    Queue.VECTOR: (
        Operation.NEURONS, Operation.READOUT, Operation.NEURON_GRADIENTS, Operation.TIME_SUMS, Operation.OPTIMISE,
    ),
    **dict.fromkeys(TRANSFERS, (Operation.TRANSFER,)),
}  # fmt: skip


class Sequencer(wiring.Component):
    """Start each queue's tasks in order, as soon as their tokens are there.

    Behaviour
    ---------
    A task's tokens are there when as many tasks of each queue have ended as its command says. An engine takes its next
    task when the one before has ended; of the transfers, the channel takes one of the next queue in turn when all rows
    of the one before have been asked for. As ``_run`` of ``sim/engines/timeline.py``.

    A step ends when all its tasks have. It stops at an error: a command of another queue, or tokens that nobody is left
    to give (nothing runs, nothing is in flight, and every queue that is not empty waits); what runs then goes on to its
    end, and nothing starts any more.

    Timing
    ------
    Cycle 0 of a step is that of ``begin``. A task that is granted in cycle c starts in c + 2::

        cycle       c    c+1  c+2  ..   e-1  e
        grant       1    0    0         0    0
        prepare     0    1    0         0    0      # of a transfer
        start       0    0    1         0    0
        task        -    T    T         T    -
        ends        0    0    0         1    0
        done        n    n    n         n    n+1

    Reset
    -----
    No step; no errors.

    Parameters
    ----------
    depth
        Commands of a queue.

    Members
    -------
    w_en, w_queue, w_place, w_data
        In. Write a word of a queue's commands.
    set_count, count
        In. ``w_queue`` has so many commands.
    begin, stop
        In. Start a step; an error elsewhere.
    is_running, has_ended
        Out. From the cycle after ``begin`` to the last; in that last cycle.
    cycle
        Out. Of the step; its length once it has ended.
    start_forward ..., task_forward ..., ends_forward ...
        Of each engine.
    prepare, transfer_start, transfer, transfer_queue, issued, ends, ends_queue, in_flight
        To and from the DMA.
    done_0 ...
        Out. Tasks of each queue that have ended.
    starts_0 ..., stops_0 ...
        Out. A task of a queue starts, or is in its last cycle.
    bad_command, no_token
        Out. Pulses.
    """

    w_en: Signal
    w_queue: Signal
    w_place: Signal
    w_data: Signal
    set_count: Signal
    count: Signal
    begin: Signal
    stop: Signal
    is_running: Signal
    has_ended: Signal
    cycle: Signal
    prepare: Signal
    transfer_start: Signal
    transfer: data.View
    transfer_queue: Signal
    issued: Signal
    ends: Signal
    ends_queue: Signal
    in_flight: Signal
    bad_command: Signal
    no_token: Signal

    def __init__(self, depth: int) -> None:
        self._depth = depth
        members: dict[str, Any] = {
            "w_en": In(1), "w_queue": In(range(len(Queue))), "w_place": In(range(depth * COMMAND_WORDS)),
            "w_data": In(WORD_BITS), "set_count": In(1), "count": In(range(depth + 1)), "begin": In(1),
            "stop": In(1), "is_running": Out(1), "has_ended": Out(1), "cycle": Out(CYCLE_BITS),
            "prepare": Out(1), "transfer_start": Out(1), "transfer": Out(task_struct(TRANSFER_FIELDS)),
            "transfer_queue": Out(4), "issued": In(1), "ends": In(1), "ends_queue": In(4), "in_flight": In(1),
            "bad_command": Out(1), "no_token": Out(1),
        }  # fmt: skip
        for queue in Queue:
            members[f"done_{queue}"] = Out(COUNT_BITS)
            members[f"starts_{queue}"] = Out(1)
            members[f"stops_{queue}"] = Out(1)
        for queue in ENGINES:
            name = queue.name.lower()
            members[f"start_{name}"] = Out(1)
            members[f"task_{name}"] = Out(task_struct(fields_of(queue)))
            members[f"ends_{name}"] = In(1)
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        """Build the queues, the counters of ended tasks, the grants and the errors."""
        m = Module()
        queues = [CommandQueue(self._depth) for _ in Queue]
        done = [getattr(self, f"done_{queue}") for queue in Queue]
        counts = [Signal.like(self.count, name=f"count_{queue}") for queue in Queue]
        heads = [
            data.View(command_struct(fields_of(of)), queues[of].head[: self._head_bits(of)])
            for of in Queue
        ]
        may_start = Signal()
        ready = Signal(len(Queue))
        granted = Signal(len(Queue))
        busy = Signal(len(ENGINES))
        m.d.comb += may_start.eq(self.is_running & ~self.stop)

        for queue in Queue:
            m.submodules[f"queue_{queue.name.lower()}"] = own = queues[queue]
            header = heads[queue].header
            fits = Signal(name=f"fits_{queue}")
            m.d.comb += [
                own.w_en.eq(self.w_en & (self.w_queue == queue)),
                own.w_place.eq(self.w_place),
                own.w_data.eq(self.w_data),
                own.count.eq(counts[queue]),
                own.begin.eq(self.begin),
                own.take.eq(granted[queue]),
                fits.eq(Cat(header.operation == of for of in _OPERATIONS[queue]).any()),
                ready[queue].eq(
                    own.valid
                    & fits
                    & Cat(done[of] >= header[f"wait_{of.name.lower()}"] for of in Queue).all()
                ),
            ]
            with m.If(self.set_count & (self.w_queue == queue)):
                m.d.sync += counts[queue].eq(self.count)
            with m.If(own.valid & ~fits & may_start):
                m.d.comb += self.bad_command.eq(1)

        self._engines(m, heads, ready, granted, busy, may_start)
        channel = self._channel(m, heads, ready, granted, may_start)

        for queue in Queue:
            ended = getattr(self, f"stops_{queue}")
            if queue in ENGINES:
                m.d.comb += ended.eq(getattr(self, f"ends_{queue.name.lower()}"))
            else:
                m.d.comb += ended.eq(self.ends & (self.ends_queue == queue))
            with m.If(self.begin):
                m.d.sync += done[queue].eq(0)
            with m.Elif(ended):
                m.d.sync += done[queue].eq(done[queue] + 1)

        waits = Cat(own.valid | own.is_empty for own in queues).all()
        is_still = Signal(2)  # what a grant starts is seen a cycle later
        m.d.comb += self.has_ended.eq(
            self.is_running & Cat(d == c for d, c in zip(done, counts, strict=True)).all()
        )
        m.d.sync += is_still.eq(
            Cat(
                may_start & ~self.begin & waits & ~granted.any() & ~busy.any() & ~channel & ~self.in_flight
                & ~self.ends & ~self.has_ended,
                is_still[0],
            )
        )  # fmt: skip
        m.d.comb += self.no_token.eq(is_still.all() & may_start & ~self.has_ended)
        with m.If(self.begin):
            m.d.sync += [self.is_running.eq(1), self.cycle.eq(1), is_still.eq(0)]
        with m.Elif(self.has_ended | (self.is_running & self.stop)):
            m.d.sync += self.is_running.eq(0)
        with m.Elif(self.is_running):
            m.d.sync += self.cycle.eq(self.cycle + 1)
        return m

    @staticmethod
    def _head_bits(queue: Queue) -> int:
        return command_struct(fields_of(queue)).size

    def _engines(
        self, m: Module, heads: list[data.View], ready: Signal, granted: Signal, busy: Signal, may_start: Signal
    ) -> None:  # fmt: skip
        """Grant each engine its next task."""
        for queue in ENGINES:
            name = queue.name.lower()
            start, task = getattr(self, f"start_{name}"), getattr(self, f"task_{name}")
            prepares = Signal(name=f"prepares_{name}")
            m.d.comb += granted[queue].eq(ready[queue] & ~busy[queue] & may_start)
            m.d.sync += [prepares.eq(granted[queue]), start.eq(prepares)]
            m.d.comb += getattr(self, f"starts_{queue}").eq(start)
            with m.If(granted[queue]):
                m.d.sync += [task.eq(heads[queue].task), busy[queue].eq(1)]
            with m.If(getattr(self, f"ends_{name}") | self.begin):
                m.d.sync += busy[queue].eq(0)

    def _channel(
        self, m: Module, heads: list[data.View], ready: Signal, granted: Signal, may_start: Signal
    ) -> Signal:
        """Grant the channel to one transfer after the other, queue by queue in turn; returns whether it is taken."""
        is_taken = Signal()
        asks = Signal(len(TRANSFERS))
        first = TRANSFERS[0]
        last = Signal(range(len(TRANSFERS)), init=len(TRANSFERS) - 1)
        m.d.comb += asks.eq(Mux(is_taken | ~may_start, 0, Cat(ready[queue] for queue in TRANSFERS)))
        # The queues behind the one served last come first.
        chosen = Signal(range(len(TRANSFERS)))
        for n in reversed(range(len(TRANSFERS))):
            with m.If(asks[n]):
                m.d.comb += chosen.eq(n)
        for n in reversed(range(len(TRANSFERS))):
            with m.If(asks[n] & (n > last)):
                m.d.comb += chosen.eq(n)
        grants = Signal()
        m.d.comb += grants.eq(asks.any())
        for n, queue in enumerate(TRANSFERS):
            m.d.comb += granted[queue].eq(grants & (chosen == n))
            m.d.comb += getattr(self, f"starts_{queue}").eq(
                self.transfer_start & (self.transfer_queue == queue)
            )
        m.d.sync += [self.prepare.eq(grants), self.transfer_start.eq(self.prepare)]
        with m.If(grants):
            bits = bits_of(TRANSFER_FIELDS)
            tasks = Array(heads[queue].task.as_value() for queue in TRANSFERS)
            m.d.sync += [
                self.transfer.as_value().eq(Value.cast(tasks[chosen])[:bits]),
                self.transfer_queue.eq(chosen + first),
                last.eq(chosen),
                is_taken.eq(1),
            ]
        with m.If(self.issued | self.begin):
            m.d.sync += is_taken.eq(0)
        with m.If(self.begin):
            m.d.sync += last.eq(len(TRANSFERS) - 1)
        return is_taken


def connect_dma(m: Module, sequencer: Sequencer, dma: Dma) -> None:
    """Let the sequencer hand transfers to the DMA, and learn from it when they are through."""
    m.d.comb += [
        dma.task.eq(sequencer.transfer),
        dma.queue.eq(sequencer.transfer_queue),
        dma.prepare.eq(sequencer.prepare),
        dma.start.eq(sequencer.transfer_start),
        dma.clear.eq(sequencer.begin | sequencer.stop),
        sequencer.issued.eq(dma.issued),
        sequencer.ends.eq(dma.ends),
        sequencer.ends_queue.eq(dma.ends_queue),
        sequencer.in_flight.eq(dma.in_flight),
    ]
