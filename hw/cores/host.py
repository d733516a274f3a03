"""The host port: the chip's one link to the world, and the root that starts its timesteps."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ...chip.config import ChipConfig
from ...chip.host_link import STEP_COUNT_BITS, HostError, HostLink
from ..axis import axis_ports
from .block_fifo import BlockFifo
from .fifo import Fifo
from .host_decoder import HostDecoder
from .host_encoder import HostEncoder
from .host_layouts import beat_struct, chain_struct, end_struct, output_struct, step_struct
from .load_node import SLICE_WORDS
from .sequencer import Sequencer

__all__ = ["HostPort"]

COMMANDS = 2  # samples and timesteps that wait
ENDS = 4  # ended timesteps whose STEP_END waits; with fewer, the next could not start while two do


class HostPort(wiring.Component):
    """Load programs, run samples and timesteps, hand flits in and out, all over one AXI4-Stream each way.

    Behaviour
    ---------
    docs/host_protocol.md tells what the beats mean, docs/blocks/host.md what happens in a timestep. A timestep starts
    once the one before has ended and each port's queue holds its first flits: all of them or as many as it can hold.
    The flits of a timestep leave in the order in which they came, a flit a cycle and port. A sample starts once all
    that belongs to the one before has left the chip.

    With ``host_waits`` 0 a timestep has the length of the simulator's. The counter counts cycles of the timestep in
    which a port's queue was empty while flits of the timestep were to come, or a column's was full.

    Timing
    ------
    Cycle 0 of a timestep is the one in which ``start`` is high. *Latency*: the first flits ask in cycle
    ``host_start_cycles = tree_stages + 1``; an output's beat comes 4 cycles after its flit at the earliest.
    *Throughput*: a flit a cycle and port, a beat a cycle and direction. *Back-pressure*: a column takes flits while
    its queue is not full, see ``host_waits``; a queue that is full holds up the frames of the host.

    A timestep of one flit, ``tree_stages`` = 2, quiet in cycle 5::

        cycle            0    1    2    3    4    5    6    7    0'   1'   2'   3'   4'
        start            1    0    0    0    0    0    0    0    1    -    -    -    -
        flit_out_0       -    -    -    f    -    -    -    -    -    -    -    -    -
        flit_in_0        -    -    -    -    f    -    -    -    -    -    -    -    -
        all_quiet        -    -    -    -    -    -    -    1    -    -    -    -    -
        m_axis           -    -    -    -    -    -    -    -    f    -    E    E    E     # output, STEP_END

    Reset
    -----
    No program, queues empty, no errors. Queued flits of a broken-off sample go only with a reset.

    Parameters
    ----------
    config : ChipConfig
        Ports, widths and depths of queues, tree, mode; its hash is a constant of the design.

    Members
    -------
    s_axis_tdata, s_axis_tvalid, s_axis_tlast : In; s_axis_tready : Out
        Frames from the host, AXI4-Stream.
    m_axis_tdata, m_axis_tvalid, m_axis_tlast : Out; m_axis_tready : In
        Frames to the host, AXI4-Stream.
    chain_out : Out(stream of `chain_struct`), chain_in : In(stream of `chain_struct`)
        The ring of the load chain.
    flit_out_0, flit_out_1, ... : Out(stream of flit bits)
        Into the mesh, in the order of ``host_rows``.
    flit_in_0, flit_in_1, ... : In(stream of flit bits)
        From the mesh, in the order of ``host_columns``.
    start, sample : Out(1)
        To the barrier's tree.
    all_quiet : In(1)
        From the barrier's tree.
    off_mesh : In(1)
        A flit leaves the mesh where nothing is.

    Events
    ------
    ``host_flits_in``, ``host_flits_out``, ``overruns``; ``cycles`` and ``timesteps`` follow from the STEP_ENDs.

    Not modelled
    ------------
    In the simulator the host is never late.
    """

    s_axis_tdata: Signal
    s_axis_tvalid: Signal
    s_axis_tready: Signal
    s_axis_tlast: Signal
    m_axis_tdata: Signal
    m_axis_tvalid: Signal
    m_axis_tready: Signal
    m_axis_tlast: Signal
    chain_out: stream.Interface
    chain_in: stream.Interface
    start: Signal
    sample: Signal
    all_quiet: Signal
    off_mesh: Signal

    def __init__(self, config: ChipConfig) -> None:
        self.config = config
        self.link = link = HostLink(config.many_core)
        flits = stream.Signature(link.flit.bits)
        super().__init__(
            {f"flit_out_{port}": Out(flits) for port in range(link.ports)}
            | {f"flit_in_{column}": In(flits) for column in range(link.columns)}
            | {
                **axis_ports(link.beat_bits),
                "chain_out": Out(stream.Signature(chain_struct(link))),
                "chain_in": In(stream.Signature(chain_struct(link))),
                "start": Out(1),
                "sample": Out(1),
                "all_quiet": In(1),
                "off_mesh": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build link, decoder and encoder, the queues, and the root between them."""
        m = Module()
        m.submodules.decoder = decoder = HostDecoder(self.config)
        m.submodules.encoder = encoder = HostEncoder(self.config.many_core)
        m.submodules.sequencer = sequencer = Sequencer(self.config.many_core)
        m.submodules.commands = commands = Fifo(step_struct(self.link).size, COMMANDS)
        m.submodules.ends = ends = Fifo(end_struct().size, ENDS)
        # The tiles stand apart from the host port: a slice at both ends of the ring.
        m.submodules.sent = sent = Fifo(chain_struct(self.link).size, SLICE_WORDS)
        m.submodules.returned = returned = Fifo(chain_struct(self.link).size, SLICE_WORDS)
        m.d.comb += [
            sent.i.valid.eq(decoder.chain_out.valid),
            sent.i.payload.eq(decoder.chain_out.payload),
            decoder.chain_out.ready.eq(sent.i.ready),
            self.chain_out.valid.eq(sent.o.valid),
            self.chain_out.payload.eq(sent.o.payload),
            sent.o.ready.eq(self.chain_out.ready),
            returned.i.valid.eq(self.chain_in.valid),
            returned.i.payload.eq(self.chain_in.payload),
            self.chain_in.ready.eq(returned.i.ready),
            decoder.chain_in.valid.eq(returned.o.valid),
            decoder.chain_in.payload.eq(returned.o.payload),
            returned.o.ready.eq(decoder.chain_in.ready),
        ]
        # The encoder chooses late in a cycle; no answer, and so not the ring of the load chain, waits for it to choose.
        shape = beat_struct(self.link)
        m.submodules.answers = answers = Fifo(shape.size, 2)
        m.d.comb += [
            answers.i.valid.eq(decoder.answer.valid),
            answers.i.payload.eq(decoder.answer.payload),
            decoder.answer.ready.eq(answers.i.ready),
            encoder.answer.valid.eq(answers.o.valid),
            encoder.answer.payload.eq(answers.o.payload),
            answers.o.ready.eq(encoder.answer.ready),
        ]
        self._build_link(m, decoder, encoder)

        command = data.View(step_struct(self.link), commands.o.payload)
        m.d.comb += [
            commands.i.valid.eq(decoder.command.valid),
            commands.i.payload.eq(decoder.command.payload),
            decoder.command.ready.eq(commands.i.ready),
            decoder.is_busy.eq(sequencer.is_busy | commands.o.valid),
            decoder.raised.eq(
                Mux(sequencer.overrun, int(HostError.OVERRUN), 0)
                | Mux(self.off_mesh, int(HostError.OFF_MESH), 0)
            ),
            self.start.eq(sequencer.start),
            self.sample.eq(sequencer.sample),
            sequencer.all_quiet.eq(self.all_quiet),
        ]

        starts = Signal()  # a timestep, with the next cycle
        tag = Signal.like(data.View(end_struct(), ends.i.payload).tag)
        port_waits, is_filled = self._build_inputs(m, decoder, sequencer, command, starts)
        column_waits, has_output, arrives = self._build_outputs(m, encoder, tag)

        # A place for the end of the timestep that ends now, if one does, and one for the next one's.
        has_room = ends.level < ENDS - 1
        all_has_left = ~has_output.any() & (ends.level == 0) & ~sequencer.ended
        m.d.comb += [
            sequencer.command.valid.eq(
                commands.o.valid & Mux(command.is_sample, all_has_left, is_filled & has_room)
            ),
            sequencer.command.payload.eq(command.is_sample),
            commands.o.ready.eq(sequencer.command.valid & sequencer.command.ready),
            starts.eq(commands.o.ready & ~command.is_sample),
        ]
        next_tag = Signal.like(tag)
        with m.If(starts):
            m.d.sync += [tag.eq(next_tag), next_tag.eq(next_tag + 1)]
        with m.Elif(commands.o.ready):
            m.d.sync += next_tag.eq(0)

        self._build_ends(m, sequencer, ends, encoder, tag, arrives, port_waits | column_waits)
        return m

    def _build_link(self, m: Module, decoder: HostDecoder, encoder: HostEncoder) -> None:
        """Put a register slice between the host's stream and the decoder; the encoder has its own."""
        shape = beat_struct(self.link)
        m.submodules.slice = words = Fifo(shape.size, 2)
        m.d.comb += [
            words.i.payload.eq(Cat(self.s_axis_tdata, self.s_axis_tlast)),
            words.i.valid.eq(self.s_axis_tvalid),
            self.s_axis_tready.eq(words.i.ready),
            decoder.beats.payload.eq(words.o.payload),
            decoder.beats.valid.eq(words.o.valid),
            words.o.ready.eq(decoder.beats.ready),
            self.m_axis_tdata.eq(encoder.beats.payload.data),
            self.m_axis_tlast.eq(encoder.beats.payload.last),
            self.m_axis_tvalid.eq(encoder.beats.valid),
            encoder.beats.ready.eq(self.m_axis_tready),
        ]

    def _build_inputs(
        self,
        m: Module,
        decoder: HostDecoder,
        sequencer: Sequencer,
        command: data.View,
        starts: Value,
    ) -> tuple[Value, Value]:
        """Build the queues into the mesh. Returns whether one is empty too early, and whether all can start."""
        lefts, waits, filled, readies = [], [], [], []
        for port in range(self.link.ports):
            out: stream.Interface = getattr(self, f"flit_out_{port}")
            queue = BlockFifo(self.link.flit.bits, self.link.queue_flits)
            m.submodules[f"input_{port}"] = queue
            left = Signal(STEP_COUNT_BITS, name=f"left_{port}")  # of this timestep
            is_open = sequencer.is_open & (left != 0)
            m.d.comb += [
                queue.i.payload.eq(decoder.flit.payload),
                queue.i.valid.eq(decoder.flit.valid & (decoder.flit_port == port)),
                out.payload.eq(queue.o.payload),
                out.valid.eq(queue.o.valid & is_open),
                queue.o.ready.eq(out.ready & is_open),
            ]
            with m.If(starts):
                m.d.sync += left.eq(command.counts[port])
            with m.Elif(out.valid & out.ready):
                m.d.sync += left.eq(left - 1)
            lefts.append(left != 0)
            waits.append(is_open & ~queue.o.valid)
            filled.append(
                (queue.level >= command.counts[port]) | (queue.level == self.link.queue_flits)
            )
            readies.append(queue.i.ready & (decoder.flit_port == port))
        m.d.comb += [
            decoder.flit.ready.eq(Cat(readies).any()),
            sequencer.ports_quiet.eq(~Cat(lefts).any()),
        ]
        return Cat(waits).any(), Cat(filled).all()

    def _build_outputs(
        self, m: Module, encoder: HostEncoder, tag: Value
    ) -> tuple[Value, Value, Value]:
        """Build the queues out of the mesh. Returns whether one is full, which hold something, which get a flit."""
        flit = self.link.flit
        shape = output_struct(self.link)
        waits, held, arrives = [], [], []
        for column in range(self.link.columns):
            flits: stream.Interface = getattr(self, f"flit_in_{column}")
            output: stream.Interface = getattr(encoder, f"output_{column}")
            queue = BlockFifo(shape.size, self.link.queue_flits)
            m.submodules[f"output_{column}"] = queue
            target_at = flit.kind_bits + flit.dx_bits + flit.dy_bits
            m.d.comb += [
                queue.i.payload.eq(Cat(tag, flits.payload[target_at:])),
                queue.i.valid.eq(flits.valid),
                flits.ready.eq(queue.i.ready),
                output.payload.eq(queue.o.payload),
                output.valid.eq(queue.o.valid),
                queue.o.ready.eq(output.ready),
            ]
            waits.append(~queue.i.ready)
            held.append(queue.has_word)
            arrives.append(flits.valid & flits.ready)
        m.d.comb += encoder.has_output.eq(Cat(held))
        return Cat(waits).any(), Cat(held), Cat(arrives)

    def _build_ends(
        self,
        m: Module,
        sequencer: Sequencer,
        ends: Fifo,
        encoder: HostEncoder,
        tag: Value,
        arrives: Value,
        waits: Value,
    ) -> None:
        """Count outputs and waits of a timestep, and keep them when it ends until the encoder has sent them."""
        end = Signal(end_struct())
        outputs = Signal.like(end.outputs)
        host_waits = Signal.like(end.host_waits)
        m.d.comb += [
            end.tag.eq(tag),
            end.outputs.eq(outputs + sum(arrives)),
            end.start_cycle.eq(sequencer.start_cycle),
            end.length.eq(sequencer.length),
            end.host_waits.eq(host_waits + waits),
            ends.i.payload.eq(end),
            ends.i.valid.eq(sequencer.ended),
            encoder.end.payload.eq(ends.o.payload),
            encoder.end.valid.eq(ends.o.valid),
            ends.o.ready.eq(encoder.end.ready),
        ]
        m.d.sync += [outputs.eq(end.outputs), host_waits.eq(end.host_waits)]
        with m.If(sequencer.ended | ~sequencer.is_timestep):
            m.d.sync += [outputs.eq(0), host_waits.eq(0)]
