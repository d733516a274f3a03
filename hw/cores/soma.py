"""The soma: a pipeline that updates a neuron a cycle, from its sum to its membrane and its output."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ...chip.config import ManyCoreConfig
from ...chip.memory_map import CoreMemories, Memory
from ...chip.packet import FlitLayout
from ..memory import Ram
from .layouts import row_struct
from .pipeline import Pipeline
from .soma_update import (
    Settings,
    activation,
    choice,
    comparison,
    current,
    delayed_reset,
    membrane,
    scaling,
)

__all__ = ["RETIRE_STAGE", "Soma"]

FETCH_STAGE = -4
RETIRE_STAGE = 7


class Soma(wiring.Component):
    """Update neurons by the rules of chip/arithmetic.py, in the order of docs/blocks/soma.md.

    Timing
    ------
    A neuron a cycle, gaps allowed; never waits. ::

        cycle      0         5        11
        stage     -4         1         7
                  fetch      total     retire, and the outputs beside it

    A neuron's state is read with its ``fetch`` and written as it retires, so that it must not be fetched again within
    12 cycles: timesteps are further apart.

    Reset
    -----
    The stages become empty. Memories keep what they hold; ``begin`` with ``is_first`` starts a sample.

    Parameters
    ----------
    config
        The many-core; its widths as `ManyCoreConfig` allows them.

    Members
    -------
    registers : In
        The core's registers; constant from three cycles before ``begin`` on.
    begin, is_first : In
        Before the first fetch of a timestep: ``begin`` for a cycle; ``is_first`` from then on through the timestep, if
        it is the core's first of a sample.
    fetch, fetch_neuron : In
        The neuron that enters, ascending within a timestep.
    total : In
        Its sum, wrapped, five cycles later.
    retire, retire_neuron, retire_output, retire_v_mem : Out
        An update is done: the neuron's output and its membrane (0 for kinds without one).
    fired, saturated : Out
        With ``retire``: the output is not 0; the current or the membrane stands at a limit.
    send, route_base, route_count : Out
        With ``retire``: the output goes to the outbox; the neuron's routes.
    neurons_w_en, neurons_w_addr, neurons_w_data : In
        Loading a row of NEURONS.
    table_w_en, table_w_addr, table_w_data : In
        Loading a row of TABLE.
    state_r_en, state_r_addr : In; state_r_data : Out
        Reading a row of STATE, the next cycle; only while no neuron is fetched.
    """

    registers: data.View
    begin: Signal
    is_first: Signal
    fetch: Signal
    fetch_neuron: Signal
    total: Signal
    retire: Signal
    retire_neuron: Signal
    retire_output: Signal
    retire_v_mem: Signal
    fired: Signal
    saturated: Signal
    send: Signal
    route_base: Signal
    route_count: Signal
    neurons_w_en: Signal
    neurons_w_addr: Signal
    neurons_w_data: Signal
    table_w_en: Signal
    table_w_addr: Signal
    table_w_data: Signal
    state_r_en: Signal
    state_r_addr: Signal
    state_r_data: Signal

    def __init__(self, config: ManyCoreConfig) -> None:
        self._core = core = config.core
        memories = CoreMemories(config)
        self._layouts = layouts = memories.layouts
        neuron = memories.neuron_bits
        super().__init__(
            {
                "registers": In(row_struct(layouts[Memory.REGISTERS])),
                "begin": In(1),
                "is_first": In(1),
                "fetch": In(1),
                "fetch_neuron": In(neuron),
                "total": In(signed(core.accumulator_bits)),
                "retire": Out(1),
                "retire_neuron": Out(neuron),
                "retire_output": Out(signed(FlitLayout.of(config).payload_bits)),
                "retire_v_mem": Out(signed(core.membrane_bits)),
                "fired": Out(1),
                "saturated": Out(1),
                "send": Out(1),
                "route_base": Out(memories.route_bits),
                "route_count": Out(core.route_entries.bit_length()),
                "neurons_w_en": In(1),
                "neurons_w_addr": In(neuron),
                "neurons_w_data": In(layouts[Memory.NEURONS].bits),
                "table_w_en": In(1),
                "table_w_addr": In(8),
                "table_w_data": In(layouts[Memory.TABLE].bits),
                "state_r_en": In(1),
                "state_r_addr": In(neuron),
                "state_r_data": Out(layouts[Memory.STATE].bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the pipeline, stage by stage."""
        m = Module()
        m.submodules.pipe = pipe = Pipeline()
        settings = Settings.of(self._core, self.registers)
        state = self._read(m, pipe)
        self._start(m, pipe, settings)
        delayed_reset(m, pipe, settings)
        current(m, pipe, settings, self.total)
        shift = scaling(m, pipe, settings, self.total)
        membrane(m, pipe, settings)
        address = activation(m, pipe, settings, shift)
        comparison(m, pipe, settings)
        output = Signal.like(self.retire_output)
        choice(m, pipe, settings, self._look_up(m, pipe, address), output)
        self._retire(m, pipe, settings, state)
        return m

    def _read(self, m: Module, pipe: Pipeline) -> Ram:
        """Stages -4 and -3: the neuron's rows of NEURONS and STATE. Returns the memory of the latter."""
        layouts = self._layouts
        m.submodules.neurons = neurons = Ram(layouts[Memory.NEURONS].bits, self._core.neurons)
        m.submodules.state = state = Ram(layouts[Memory.STATE].bits, self._core.neurons)
        m.d.comb += [
            neurons.w_en.eq(self.neurons_w_en),
            neurons.w_addr.eq(self.neurons_w_addr),
            neurons.w_data.eq(self.neurons_w_data),
            neurons.r_en.eq(self.fetch),
            neurons.r_addr.eq(self.fetch_neuron),
            state.r_en.eq(self.fetch | self.state_r_en),
            state.r_addr.eq(Mux(self.fetch, self.fetch_neuron, self.state_r_addr)),
            self.state_r_data.eq(state.r_data),
        ]
        pipe.stage(FETCH_STAGE).put(valid=self.fetch, neuron=self.fetch_neuron)
        row = row_struct(layouts[Memory.NEURONS])(neurons.r_data)
        stored = row_struct(layouts[Memory.STATE])(state.r_data)
        pipe.stage(-3).put(
            **{field.name: row[field.name] for field in layouts[Memory.NEURONS].fields},
            **{f"stored_{f.name}": stored[f.name] for f in layouts[Memory.STATE].fields},
        )
        return state

    def _start(self, m: Module, pipe: Pipeline, settings: Settings) -> None:
        """Stage -2: the state to start from, whether the neuron is refractory, the random threshold."""
        s, registers = pipe.stage(-2), self.registers
        waits = ~self.is_first & (s.stored_refractory_left != 0)
        refractory = settings.has_membrane & waits
        # chip.arithmetic.lfsr_next, once for each neuron that is not refractory.
        lfsr = Signal(32)
        taps = Cat(lfsr[0], lfsr[1], lfsr[2], lfsr[3], lfsr[5], lfsr[7])
        lfsr_next = Cat(lfsr[1:], taps.xor())
        draws = s.valid & settings.has_membrane & ~waits & (registers.random_mask != 0)
        with m.If(self.begin & self.is_first):
            m.d.sync += lfsr.eq(registers.random_seed)
        with m.Elif(draws):
            m.d.sync += lfsr.eq(lfsr_next)
        s.put(
            v_mem=Mux(self.is_first, s.v_init, s.stored_v_mem),
            i_syn=Mux(self.is_first, s.i_init, s.stored_i_syn),
            refractory=refractory,
            left=Mux(refractory, s.stored_refractory_left - 1, 0)[:8],
            full_threshold=s.v_threshold + (lfsr_next & registers.random_mask),
        )

    def _look_up(self, m: Module, pipe: Pipeline, address: Value) -> Value:
        """Stage 5: the table is read. Returns the row, in stage 6."""
        layout = self._layouts[Memory.TABLE]
        m.submodules.table = table = Ram(layout.bits, layout.rows)
        m.d.comb += [
            table.w_en.eq(self.table_w_en),
            table.w_addr.eq(self.table_w_addr),
            table.w_data.eq(self.table_w_data),
            table.r_en.eq(pipe.stage(5).valid),
            table.r_addr.eq(address),
        ]
        return table.r_data.as_signed()

    def _retire(self, m: Module, pipe: Pipeline, settings: Settings, state: Ram) -> None:
        """Stage 7: the state is written, the output leaves."""
        s = pipe.stage(RETIRE_STAGE)
        m.d.comb += [
            state.w_en.eq(s.valid & settings.has_membrane),
            state.w_addr.eq(s.neuron),
            state.w_data.eq(Cat(s.v_next, s.i_syn_next, s.left_next)),
            self.retire.eq(s.valid),
            self.retire_neuron.eq(s.neuron),
            self.retire_output.eq(s.output),
            self.retire_v_mem.eq(Mux(settings.has_membrane, s.v_next, 0)),
            self.fired.eq(s.valid & s.output.any()),
            self.saturated.eq(s.valid & s.saturated),
            self.send.eq(self.fired & s.route_count.any()),
            self.route_base.eq(s.route_base),
            self.route_count.eq(s.route_count),
        ]
