"""The host port's frames to the host: outputs, ends of timesteps, answers."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ...chip.config import ManyCoreConfig
from ...chip.host_link import COLUMN_BITS, TAG_SHIFT, HostLink, HostOp
from .arbiter import Arbiter
from .fifo import Fifo
from .host_layouts import beat_struct, end_struct, output_struct

__all__ = ["HostEncoder"]


class HostEncoder(wiring.Component):
    """Choose what the host gets next, frame by frame.

    Behaviour
    ---------
    Frames as in docs/host_protocol.md. A STEP_END goes first, but only in the cycle after all OUTPUTs of its timestep
    have gone; then OUTPUTs, the columns in turn; then answers. So a host that has read a STEP_END has all outputs of
    the timestep.

    Timing
    ------
    *Latency*: 1 cycle, 2 of a STEP_END. *Throughput*: a beat a cycle. *Back-pressure*: everything waits; ``beats``
    comes from registers.

    Two outputs of timestep k, and its end, which has three beats::

        cycle          0    1    2    3    4    5    6
        output.valid   1    1    0    0    0    0    0
        end.valid      1    1    1    1    1    1    0
        end.ready      0    0    0    0    0    1    0
        beats          -    O    O    -    E0   E1   E2

    Reset
    -----
    Between two frames; column 0 is next.

    Parameters
    ----------
    config : ManyCoreConfig
        Gives columns and widths.

    Members
    -------
    output_0, output_1, ... : In(stream of `output_struct`)
        From each column's queue.
    has_output : In(columns)
        The column's queue holds something, be it on its way to ``output``.
    end : In(stream of `end_struct`)
        Timesteps that have ended. Tags of those that wait, and of queued outputs, differ if the timesteps do.
    answer : In(stream of `beat_struct`)
        Frames of the decoder.
    beats : Out(stream of `beat_struct`)
        To the host.
    """

    has_output: Signal
    end: stream.Interface
    answer: stream.Interface
    beats: stream.Interface

    def __init__(self, config: ManyCoreConfig) -> None:
        self.link = link = HostLink(config)
        output = stream.Signature(output_struct(link))
        super().__init__(
            {f"output_{column}": In(output) for column in range(link.columns)}
            | {
                "has_output": In(link.columns),
                "end": In(stream.Signature(end_struct())),
                "answer": In(stream.Signature(beat_struct(link))),
                "beats": Out(stream.Signature(beat_struct(link))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the choice, the frames, and the register slice behind them."""
        m = Module()
        shape = beat_struct(self.link)
        m.submodules.slice = out = Fifo(shape.size, 2)
        beat = Signal(shape)
        m.d.comb += out.i.payload.eq(beat)
        m.d.comb += [
            self.beats.valid.eq(out.o.valid),
            self.beats.payload.eq(out.o.payload),
            out.o.ready.eq(self.beats.ready),
        ]

        outputs: list[stream.Interface] = [
            getattr(self, f"output_{column}") for column in range(self.link.columns)
        ]
        end = self.end.payload
        asks = Cat(output.valid for output in outputs)
        chosen = Signal(len(outputs))
        takes_output = Signal()
        m.d.comb += chosen.eq(asks)
        if len(outputs) > 1:
            m.submodules.arbiter = arbiter = Arbiter(len(outputs))
            m.d.comb += [
                arbiter.asks.eq(asks),
                arbiter.served.eq(takes_output),
                chosen.eq(arbiter.chosen),
            ]
        # Once all outputs of a timestep have gone, no more come: so a register may say it, until the end has gone, too.
        may_end = Signal()
        m.d.sync += may_end.eq(
            self.end.valid
            & ~self.end.ready
            & Cat(
                ~held | (output.valid & (output.payload.tag != end.tag))
                for held, output in zip(self.has_output, outputs, strict=True)
            ).all()
        )

        # What is chosen may change while the slice has no room: it takes a beat only in the cycle in which it has.
        with m.FSM():
            with m.State("Choose"):
                with m.If(may_end):
                    m.d.comb += [out.i.valid.eq(1), beat.data.eq(_end_header(end))]
                    with m.If(out.i.ready):
                        m.next = "Times"
                with m.Elif(asks.any()):
                    m.d.comb += [out.i.valid.eq(1), takes_output.eq(out.i.ready), beat.last.eq(1)]
                    for column, output in enumerate(outputs):
                        with m.If(chosen[column]):
                            m.d.comb += [
                                beat.data.eq(_output_beat(column, output.payload)),
                                output.ready.eq(out.i.ready),
                            ]
                with m.Else():
                    self._pass_answer(m, out, beat)
                    with m.If(self.answer.valid & out.i.ready & ~self.answer.payload.last):
                        m.next = "Answer"
            with m.State("Times"):
                m.d.comb += [out.i.valid.eq(1), beat.data.eq(Cat(end.start_cycle, end.length))]
                with m.If(out.i.ready):
                    m.next = "Waits"
            with m.State("Waits"):
                m.d.comb += [
                    out.i.valid.eq(1),
                    beat.data.eq(end.host_waits),
                    beat.last.eq(1),
                    self.end.ready.eq(out.i.ready),
                ]
                with m.If(out.i.ready):
                    m.next = "Choose"
            with m.State("Answer"):
                self._pass_answer(m, out, beat)
                with m.If(self.answer.valid & out.i.ready & self.answer.payload.last):
                    m.next = "Choose"
        return m

    def _pass_answer(self, m: Module, out: Fifo, beat: data.View) -> None:
        m.d.comb += [
            out.i.valid.eq(self.answer.valid),
            beat.eq(self.answer.payload),
            self.answer.ready.eq(out.i.ready),
        ]


def _end_header(end: data.View) -> Cat:
    return Cat(Const(HostOp.STEP_END, TAG_SHIFT), end.tag, end.outputs)


def _output_beat(column: int, output: data.View) -> Cat:
    op = Const(HostOp.OUTPUT, TAG_SHIFT - COLUMN_BITS)
    return Cat(op, Const(column, COLUMN_BITS), output.tag, output.line_and_payload)
