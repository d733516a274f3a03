"""The learning half's top: engines, buffers, sequencer, DMA and host port."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring

from ...chip.config import ChipConfig
from ...chip.formats import FP32
from ...chip.learn_carried import check_carried
from ...chip.learn_command import COMMANDS, WORD_BITS
from ...chip.learn_link import LearnHostError
from ...chip.learn_program import ENGINES, Queue
from ...chip.learn_signature import EVENT_BITS, ROW_BITS
from ..axis import axis_ports
from ..cores.signatures import Signature
from ..fp.compare import is_finite
from ..memory import Ram
from .backward import BackwardEngine
from .buffers import MaskedRam
from .dma import Dma
from .host import LearnHost
from .layouts import memory_ports, row_bits
from .lookup import LookupEngine
from .sequencer import Sequencer, connect_dma
from .vector import VectorEngine

__all__ = ["LearnChip"]


class LearnChip(wiring.Component):
    """Engines that train, with a port to their memory and one to the host; docs/learn_rtl.md.

    Raises
    ------
    ConfigError
        If the RTL does not carry the configuration.

    Members
    -------
    s_axis_tdata, s_axis_tvalid, s_axis_tlast : In; s_axis_tready : Out
        Words from the host (chip/learn_link.py).
    m_axis_tdata, m_axis_tvalid, m_axis_tlast : Out; m_axis_tready : In
        Words to the host.
    memory_request : Out(stream of `memory_request`)
        Rows to read and write.
    memory_response_valid, memory_response : In
        An answer to each, in order.
    is_running : Out(1)
        A step runs.
    """

    s_axis_tdata: Signal
    s_axis_tvalid: Signal
    s_axis_tready: Signal
    s_axis_tlast: Signal
    m_axis_tdata: Signal
    m_axis_tvalid: Signal
    m_axis_tready: Signal
    m_axis_tlast: Signal
    memory_request: stream.Interface
    memory_response_valid: Signal
    memory_response: data.View
    is_running: Signal

    def __init__(self, config: ChipConfig) -> None:
        self._config, self._learn = config, check_carried(config)
        super().__init__(
            {
                **axis_ports(WORD_BITS),
                **memory_ports(self._learn),
            }
        )
        self._sizes = self._learn.buffers.sizes
        self._numbers = {name: number for number, name in enumerate(self._sizes)}

    def elaborate(self, platform: object) -> Module:
        """Connect everything."""
        m = Module()
        learn = self._learn
        m.submodules.host = host = LearnHost(self._config, COMMANDS)
        m.submodules.sequencer = sequencer = Sequencer(COMMANDS)
        m.submodules.dma = dma = Dma(learn)
        m.submodules.forward = forward = LookupEngine(learn, is_update=False)
        m.submodules.backward = backward = BackwardEngine(learn)
        m.submodules.update = update = LookupEngine(learn, is_update=True)
        m.submodules.vector = vector = VectorEngine(learn)
        engines: dict[Queue, Any] = dict(
            zip(ENGINES, (forward, backward, update, vector), strict=True)
        )

        self._host(m, host, sequencer, dma)
        self._sequencer(m, sequencer, dma, engines)
        self._lookup(m, forward, "forward", dma)
        self._lookup(m, update, "update", dma)
        self._backward(m, backward, dma)
        self._vector(m, vector, dma)

        # Results: of the forward engine for the vector unit, the others for the DMA.
        sums = self._buffer("forward_results")
        m.submodules.forward_results = sums
        _writes(m, sums, forward.result_en, forward.result_row, forward.result_data)
        _reads(m, sums, vector.sums_en, vector.sums_row, vector.sums_data)
        stores: dict[Queue, Any] = {}
        for queue, engine, name in (
            (Queue.STORE_BACKWARD, backward, "backward_results"),
            (Queue.STORE_UPDATE, update, "update_results"),
        ):
            stores[queue] = buffer = self._buffer(name)
            m.submodules[name] = buffer
            _writes(m, buffer, engine.result_en, engine.result_row, engine.result_data)
        results = MaskedRam(
            row_bits(learn), self._rows("vector_results"), 8 * learn.channel_word // 2
        )
        m.submodules.vector_results = stores[Queue.STORE_VECTOR] = results
        # Words of a row are written in their order, so each may clear what is behind it: padding is 0.
        mask = vector.result_mask
        lane = row_bits(learn) // len(mask)
        kept = Cat(bit.replicate(lane) for bit in mask)
        _writes(m, results, vector.result_en, vector.result_row, vector.result_data & kept)
        m.d.comb += results.w_mask.eq(Cat(mask[: n + 1].any() for n in range(len(mask))))
        for queue, buffer in stores.items():
            m.d.comb += [
                buffer.r_en.eq(dma.read_en & (dma.queue == queue)),
                buffer.r_addr.eq(dma.read_row),
            ]
            with m.If(dma.queue == queue):
                m.d.comb += dma.read_data.eq(buffer.r_data)

        if learn.signatures:
            self._signatures(m, sequencer, dma, host)

        # A step whose weight gradients overflow moves nothing.
        overflow = Signal()
        words = [update.result_data.word_select(n, FP32.bits) for n in range(learn.vector.width)]
        with m.If(sequencer.begin):
            m.d.sync += overflow.eq(0)
        with m.Elif(update.result_en & ~Cat(is_finite(word, FP32) for word in words).all()):
            m.d.sync += overflow.eq(1)
        m.d.comb += [vector.skip.eq(overflow), host.overflow.eq(overflow)]
        return m

    def _rows(self, name: str) -> int:
        """Return the rows of both halves of a buffer."""
        return 2 * self._sizes[name] // self._learn.dram.bytes_per_cycle

    def _buffer(self, name: str) -> Ram:
        return Ram(row_bits(self._learn), self._rows(name))

    def _arrives(self, dma: Dma, name: str) -> Value:
        """Return whether the DMA writes to a buffer."""
        return dma.write_en & (dma.write.buffer == self._numbers[name])

    def _filled(self, m: Module, name: str, label: str, dma: Dma) -> Ram:
        """Return a buffer that the DMA fills."""
        buffer = self._buffer(name)
        m.submodules[label] = buffer
        _writes(m, buffer, self._arrives(dma, name), dma.write.row, dma.write.data)
        return buffer

    def _host(self, m: Module, host: LearnHost, sequencer: Sequencer, dma: Dma) -> None:
        """Connect the host's streams, the commands, errors, and the memory's port, which host and DMA share."""
        m.d.comb += [
            host.s_axis.valid.eq(self.s_axis_tvalid),
            host.s_axis.payload.word.eq(self.s_axis_tdata),
            host.s_axis.payload.is_last.eq(self.s_axis_tlast),
            self.s_axis_tready.eq(host.s_axis.ready),
            self.m_axis_tvalid.eq(host.m_axis.valid),
            self.m_axis_tdata.eq(host.m_axis.payload.word),
            self.m_axis_tlast.eq(host.m_axis.payload.is_last),
            host.m_axis.ready.eq(self.m_axis_tready),
            self.is_running.eq(sequencer.is_running),
            host.is_running.eq(sequencer.is_running),
            host.cycle.eq(sequencer.cycle),
            sequencer.stop.eq(host.stop),
        ]
        for name in ("w_en", "w_queue", "w_place", "w_data", "set_count", "count", "begin"):
            m.d.comb += getattr(sequencer, name).eq(getattr(host, name))
        for queue in Queue:
            m.d.comb += getattr(host, f"done_{queue}").eq(getattr(sequencer, f"done_{queue}"))
        for error, happens in (
            (LearnHostError.BAD_COMMAND, sequencer.bad_command),
            (LearnHostError.NO_TOKEN, sequencer.no_token),
            (LearnHostError.BEYOND_MEMORY, dma.address_error),
            (LearnHostError.MEMORY_ERROR, dma.memory_error),
        ):
            m.d.comb += host.errors_in[int(error).bit_length() - 1].eq(happens)
        ours = sequencer.is_running
        m.d.comb += [
            self.memory_request.valid.eq(Mux(ours, dma.request.valid, host.request.valid)),
            self.memory_request.payload.eq(
                Mux(ours, dma.request.payload.as_value(), host.request.payload.as_value())
            ),
            dma.request.ready.eq(self.memory_request.ready & ours),
            host.request.ready.eq(self.memory_request.ready & ~ours),
            dma.response_valid.eq(self.memory_response_valid & dma.in_flight),
            host.response_valid.eq(self.memory_response_valid & ~dma.in_flight),
            dma.response.eq(self.memory_response),
            host.response.eq(self.memory_response),
        ]

    def _sequencer(
        self, m: Module, sequencer: Sequencer, dma: Dma, engines: dict[Queue, Any]
    ) -> None:
        """Connect the sequencer to engines and DMA."""
        for queue, engine in engines.items():
            name = queue.name.lower()
            m.d.comb += [
                engine.start.eq(getattr(sequencer, f"start_{name}")),
                engine.task.eq(getattr(sequencer, f"task_{name}")),
                getattr(sequencer, f"ends_{name}").eq(engine.done),
            ]
        connect_dma(m, sequencer, dma)

    def _signatures(self, m: Module, sequencer: Sequencer, dma: Dma, host: LearnHost) -> None:
        """Add the registers of chip/learn_signature.py."""
        for queue in Queue:
            starts, stops = (getattr(sequencer, f"{what}_{queue}") for what in ("starts", "stops"))
            m.submodules[f"signature_{queue.name.lower()}"] = register = Signature(EVENT_BITS)
            m.d.comb += [
                register.valid.eq(sequencer.is_running & (starts | stops)),
                register.word.eq(Cat(sequencer.cycle, starts, stops)),
                register.clear.eq(sequencer.begin),
                getattr(host, f"signature_{queue}").eq(register.state),
            ]
        asked = dma.request.payload
        m.submodules.signature_memory = register = Signature(ROW_BITS + row_bits(self._learn))
        m.d.comb += [
            register.valid.eq(dma.request.valid & dma.request.ready & asked.is_write),
            register.word.eq(Cat(asked.row, asked.data)),
            register.clear.eq(sequencer.begin),
            host.signature_memory.eq(register.state),
        ]

    def _lookup(self, m: Module, engine: LookupEngine, name: str, dma: Dma) -> None:
        """Give a lookup engine its operands, and each of its columns a copy of its inputs."""
        operands = "forward_weights" if name == "forward" else "update_gradients"
        buffer = self._filled(m, operands, operands, dma)
        _reads(m, buffer, engine.operand_en, engine.operand_row, engine.operand_data)
        columns = getattr(self._learn, name).columns
        for column in range(columns):
            copy = self._filled(m, f"{name}_inputs", f"{name}_inputs_{column}", dma)
            port: Any = engine.inputs[column]
            _reads(m, copy, port.en, port.row, port.data)

    def _backward(self, m: Module, engine: BackwardEngine, dma: Dma) -> None:
        """Hand the backward engine what comes: it holds weights, gradients and masks itself."""
        weights, gradients, masks = engine.weights_write, engine.gradients_write, engine.masks_write
        rows = self._rows("backward_weights") // 2
        m.d.comb += [
            weights.en.eq(self._arrives(dma, "backward_weights")),
            weights.half.eq(dma.write.row >= rows),
            weights.outer.eq(dma.write.outer),
            weights.inner.eq(dma.write.inner),
            weights.data.eq(dma.write.data),
        ]
        for segment, port in enumerate((gradients, masks)):
            m.d.comb += [
                port.en.eq(self._arrives(dma, "backward_inputs") & (dma.write.segment == segment)),
                port.row.eq(dma.write.row),
                port.data.eq(dma.write.data),
            ]

    def _vector(self, m: Module, unit: VectorEngine, dma: Dma) -> None:
        inputs = self._filled(m, "vector_inputs", "vector_inputs", dma)
        _reads(m, inputs, unit.inputs_en, unit.inputs_row, unit.inputs_data)


def _writes(m: Module, buffer: Ram | MaskedRam, enable: Value, row: Value, word: Value) -> None:
    m.d.comb += [buffer.w_en.eq(enable), buffer.w_addr.eq(row), buffer.w_data.eq(word)]


def _reads(m: Module, buffer: Ram, enable: Value, row: Value, word: Signal) -> None:
    m.d.comb += [buffer.r_en.eq(enable), buffer.r_addr.eq(row), word.eq(buffer.r_data)]
