"""A core: axon, synapse, dendrite, soma and sender under one schedule, and the memories that the host loads."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ...chip.config import ManyCoreConfig
from ...chip.memory_map import COUNTER_BITS, WRITABLE, CoreMemories, Memory, index_bits
from ...chip.packet import FlitKind, FlitLayout
from .axon import Axon
from .counters import COUNTED, Counters
from .dendrite import Dendrite
from .layouts import flit_struct, row_struct
from .pipeline import delayed
from .schedule import Schedule
from .sender import Sender
from .soma import Soma
from .synapse import Synapse

__all__ = ["Core"]


class Core(wiring.Component):
    """One core of the mesh; docs/architecture.md says what it does in which cycle.

    What the router ejects is registered, then added to an axon or to an incoming sum: a flit a cycle, always ready.

    Members
    -------
    i : In
        Flits that the router ejects; always ready.
    o : Out
        Flits to the router's local input.
    hops : In
        Which outputs of the router forward a flit in this cycle, for the counters.
    sample, start : In
        One cycle: a sample, a timestep starts.
    busy : Out
        The core computes or has something to send.
    retire, retire_neuron, retire_output, retire_v_mem : Out
        A neuron's update is done.
    w_en, w_memory, w_row, w_data : In
        Loading a row; only while the chip is idle.
    r_en, r_memory, r_row : In; r_data : Out
        Reading a row of STATE or COUNTERS, two cycles later; only while the chip is idle.
    """

    i: stream.Interface
    o: stream.Interface
    hops: Signal
    sample: Signal
    start: Signal
    busy: Signal
    retire: Signal
    retire_neuron: Signal
    retire_output: Signal
    retire_v_mem: Signal
    w_en: Signal
    w_memory: Signal
    w_row: Signal
    w_data: Signal
    r_en: Signal
    r_memory: Signal
    r_row: Signal
    r_data: Signal

    def __init__(self, config: ManyCoreConfig) -> None:
        self._config = config
        self._flit = flit = FlitLayout.of(config)
        self._memories = memories = CoreMemories(config)
        self._layouts = layouts = memories.layouts
        row_bits = index_bits(max(layout.rows for layout in layouts.values()))
        super().__init__(
            {
                "i": In(stream.Signature(flit.bits)),
                "o": Out(stream.Signature(flit.bits)),
                "hops": In(5),
                "sample": In(1),
                "start": In(1),
                "busy": Out(1),
                "retire": Out(1),
                "retire_neuron": Out(memories.neuron_bits),
                "retire_output": Out(signed(flit.payload_bits)),
                "retire_v_mem": Out(signed(config.core.membrane_bits)),
                "w_en": In(1),
                "w_memory": In(3),
                "w_row": In(row_bits),
                "w_data": In(max(layouts[memory].bits for memory in WRITABLE)),
                "r_en": In(1),
                "r_memory": In(3),
                "r_row": In(row_bits),
                "r_data": Out(max(layouts[Memory.STATE].bits, COUNTER_BITS)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Wire the units together."""
        m = Module()
        registers = Signal(row_struct(self._layouts[Memory.REGISTERS]))
        m.submodules.schedule = schedule = Schedule(self._config)
        m.submodules.axon = axon = Axon(self._config)
        m.submodules.synapse = synapse = Synapse(self._config)
        m.submodules.dendrite = dendrite = Dendrite(self._config)
        m.submodules.soma = soma = Soma(self._config)
        m.submodules.sender = sender = Sender(self._config)
        m.submodules.counters = counters = Counters(self._config)

        # What arrives.
        arrived, arrival = Signal(), Signal(flit_struct(self._flit))
        is_sum = Signal()
        m.d.sync += [arrived.eq(self.i.valid), arrival.eq(self.i.payload)]
        m.d.comb += [
            self.i.ready.eq(1),
            is_sum.eq(arrival.kind == FlitKind.SUM),
            axon.arrive.eq(arrived & ~is_sum),
            dendrite.arrive.eq(arrived & is_sum),
        ]

        # The schedule drives everything else.
        m.d.comb += [
            schedule.registers.eq(registers),
            schedule.sample.eq(self.sample),
            schedule.start.eq(self.start),
            schedule.more.eq(axon.more),
            axon.swap.eq(schedule.swap),
            axon.next_slot.eq(schedule.next_slot),
            axon.is_signed.eq(registers.axon_signed),
            axon.walking.eq(schedule.computing),
            axon.step.eq(schedule.step),
            axon.restart.eq(schedule.restart),
            synapse.mode.eq(registers.mode),
            synapse.axon_idx.eq(axon.walk_axon),
            synapse.group.eq(schedule.group),  # the next one begins a cycle after the last address
            dendrite.valid.eq(delayed(m, schedule.step, 2)),
            dendrite.ends.eq(delayed(m, schedule.ends, 2)),
            dendrite.weights.eq(synapse.weights),
            dendrite.value.eq(axon.walk_value),
            dendrite.fetch_neuron.eq(schedule.fetch_neuron),
            dendrite.take.eq(schedule.take),
            soma.registers.eq(registers),
            soma.begin.eq(schedule.begin),
            soma.is_first.eq(schedule.is_first),
            soma.fetch.eq(schedule.fetch),
            soma.fetch_neuron.eq(schedule.fetch_neuron),
            soma.total.eq(dendrite.total),
            sender.put.eq(soma.send),
            sender.payload.eq(soma.retire_output),
            sender.route_base.eq(soma.route_base),
            sender.route_count.eq(soma.route_count),
            sender.done.eq(schedule.done),
            self.busy.eq(schedule.computing | sender.busy),
            self.retire.eq(soma.retire),
            self.retire_neuron.eq(soma.retire_neuron),
            self.retire_output.eq(soma.retire_output),
            self.retire_v_mem.eq(soma.retire_v_mem),
        ]
        wiring.connect(m, wiring.flipped(self.o), sender.o)
        for unit in (axon, dendrite):
            m.d.comb += [
                unit.arrival.eq(arrival),
                unit.slot.eq(schedule.slot),
                unit.start.eq(self.start),
                unit.clear.eq(self.sample),
            ]

        # What is counted.
        used = delayed(m, schedule.used_lanes, 4)
        events: dict[str, Value] = {
            "updates": schedule.begin,
            "compute_cycles": schedule.computing,
            "axon_writes": axon.arrive,
            "active_axons": schedule.step & (schedule.group == 0),
            "weight_reads": schedule.step,
            "synops": Mux(schedule.step, schedule.used_lanes, 0),
            "multiplies": Mux(dendrite.multiplies, used, 0),
            "sum_writes": dendrite.arrive,
            "neuron_updates": soma.retire,
            "spikes": soma.fired,
            "saturations": soma.saturated,
            "flits_sent": self.o.valid & self.o.ready,
            "send_stalls": self.o.valid & ~self.o.ready,
        }
        for name, value in zip(COUNTED, [*events.values(), *self.hops], strict=True):
            m.d.comb += getattr(counters, name).eq(value)
        assert list(events) == list(COUNTED[: len(events)])

        # What the host loads, behind a register: the memories stand far apart. And what it reads.
        writes = {
            memory: delayed(m, self.w_en & (self.w_memory == memory), 1) for memory in WRITABLE
        }
        w_row, w_data = delayed(m, self.w_row, 1), delayed(m, self.w_data, 1)
        for memory, unit, port in (
            (Memory.WEIGHTS, synapse, ""),
            (Memory.NEURONS, soma, "neurons_"),
            (Memory.TABLE, soma, "table_"),
            (Memory.ROUTES, sender, ""),
        ):
            m.d.comb += [
                getattr(unit, f"{port}w_en").eq(writes[memory]),
                getattr(unit, f"{port}w_addr").eq(w_row),
                getattr(unit, f"{port}w_data").eq(w_data),
            ]
        with m.If(writes[Memory.REGISTERS]):
            m.d.sync += registers.eq(w_data)
        m.d.comb += [
            counters.clear.eq(writes[Memory.REGISTERS]),
            soma.state_r_en.eq(self.r_en),
            soma.state_r_addr.eq(self.r_row),
            counters.index.eq(self.r_row),
        ]
        reads_state = delayed(m, self.r_memory == Memory.STATE, 1)
        m.d.sync += self.r_data.eq(Mux(reads_state, soma.state_r_data, counters.count))
        return m
