"""The dendrite: lanes that sum weights times values, and the sums that other cores send."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ...chip.config import ManyCoreConfig
from ...chip.memory_map import CoreMemories, index_bits
from ...chip.packet import FlitLayout
from ..memory import Ram
from .accumulate import Accumulate
from .layouts import flit_struct
from .pipeline import delayed
from .synapse import weight_lanes
from .valid_ring import ValidRing

__all__ = ["Dendrite"]


class Dendrite(wiring.Component):
    """Sum weight times value for a group of neurons, hand the sums to the soma one by one, add what other cores sent.

    One accumulator a lane, modulo ``2**accumulator_bits``. When the walk of a group ends its accumulators are copied to
    a shift register, which the soma empties while the lanes work on the next group. The value 1, a spike, needs no
    multiplier: the weight goes round it, and its operands stay as they were.

    Timing
    ------
    The cycle in which a weight row and its value are here is 1; with ``p`` = ``pipeline_stages`` (4 shown) ::

        cycle               0       1       2         3          4        p + 1
        synapse's address   a
        weights, value              w, v
        operands                            w, v
        product                                       w v
        accumulator                                              + w v
        end of the group    end                                  copy     first sum at the shift register's head

    A sum leaves the register when ``take`` is high; ``total``, with what other cores sent, stands a cycle later.
    Sums that arrive never wait; three cycles pass before they can be read.

    Reset
    -----
    ``clear`` (the start of a sample) empties the incoming sums. Accumulators need none: the first axon of a group
    overwrites them, and an empty group hands on 0.

    Members
    -------
    valid, weights, value : In
        An axon's row of weights and its value.
    first : In
        With ``valid``: the group's first axon.
    ends, empty : In
        One cycle after the last axon's ``valid``: the group ends; it had no axon.
    multiplies : Out
        One cycle after ``valid``: the value was not 1.
    fetch, fetch_neuron : In
        The neuron whose sum is taken 4 cycles later.
    take : In
        The sum at the head is taken.
    total : Out
        One cycle after ``take``.
    arrive, arrival, slot : In
        A flit of kind SUM, already registered; the current slot.
    swap : In
        The swap of slots: the current one is left behind and emptied.
    clear : In
        Start of a sample.
    """

    valid: Signal
    weights: data.View
    value: Signal
    first: Signal
    ends: Signal
    empty: Signal
    multiplies: Signal
    fetch: Signal
    fetch_neuron: Signal
    take: Signal
    total: Signal
    arrive: Signal
    arrival: data.View
    slot: Signal
    swap: Signal
    clear: Signal

    def __init__(self, config: ManyCoreConfig) -> None:
        self._core = core = config.core
        self._memories = memories = CoreMemories(config)
        super().__init__(
            {
                "valid": In(1),
                "weights": In(weight_lanes(memories)),
                "value": In(signed(core.activation_bits + 1)),
                "first": In(1),
                "ends": In(1),
                "empty": In(1),
                "multiplies": Out(1),
                "fetch": In(1),
                "fetch_neuron": In(memories.neuron_bits),
                "take": In(1),
                "total": Out(signed(core.accumulator_bits)),
                "arrive": In(1),
                "arrival": In(flit_struct(FlitLayout.of(config))),
                "slot": In(index_bits(core.delay_slots)),
                "swap": In(1),
                "clear": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the lanes, the shift register and the incoming sums."""
        m = Module()
        heads = self._lanes(m)
        incoming = self._incoming(m)
        with m.If(self.take):
            m.d.sync += Cat(heads).eq(Cat(*heads[1:], heads[-1]))
        self._hand_over(m, heads)
        m.d.sync += self.total.eq(heads[0] + incoming)
        return m

    def _lanes(self, m: Module) -> list[Signal]:
        """Build operands, products and accumulators; return the shift register."""
        core, lanes = self._core, range(self._memories.most_lanes)
        weights = [self.weights[f"lane_{lane}"] for lane in lanes]
        is_one = Signal()
        m.d.comb += is_one.eq(self.value == 1)
        m.d.sync += self.multiplies.eq(self.valid & ~is_one)

        # Operands, then product: the multiplier's registers move only when it works.
        valid = delayed(m, self.valid, 1)
        first = delayed(m, self.first, 1)
        value = Signal.like(self.value)
        with m.If(self.valid & ~is_one):
            m.d.sync += value.eq(self.value)
        extra = core.pipeline_stages - 4
        adds = delayed(m, valid, 1 + extra)
        starts = delayed(m, first, 1 + extra)
        bypass = delayed(m, ~self.multiplies, 1 + extra)
        self._accumulators = [
            Signal(signed(core.accumulator_bits), name=f"accumulator_{lane}") for lane in lanes
        ]
        for lane, weight in zip(lanes, weights, strict=True):
            operand = Signal(weight.shape(), name=f"operand_{lane}")
            spike = Signal(weight.shape(), name=f"spike_{lane}")
            with m.If(self.valid & ~is_one):
                m.d.sync += operand.eq(weight)
            m.d.sync += spike.eq(weight)
            product = Signal(signed(len(weight) + len(value)), name=f"product_{lane}")
            m.d.sync += product.eq(operand * value)
            addend = Mux(bypass, delayed(m, spike, 1 + extra), delayed(m, product, extra))
            accumulator = self._accumulators[lane]
            with m.If(adds):
                m.d.sync += accumulator.eq(Mux(starts, 0, accumulator) + addend)
        return [Signal(signed(core.accumulator_bits), name=f"head_{lane}") for lane in lanes]

    def _hand_over(self, m: Module, heads: list[Signal]) -> None:
        """Copy the accumulators to the shift register when a group ends."""
        delay = self._core.pipeline_stages - 2
        ends, empty = delayed(m, self.ends, delay), delayed(m, self.empty, delay)
        with m.If(ends):
            for head, accumulator in zip(heads, self._accumulators, strict=True):
                m.d.sync += head.eq(Mux(empty, 0, accumulator))

    def _incoming(self, m: Module) -> Value:
        """Build the ring of incoming sums; return the sum for the neuron at the head."""
        core, neuron_bits = self._core, self._memories.neuron_bits
        slots = core.delay_slots
        m.submodules.ring = ring = ValidRing(slots, core.neurons)
        m.submodules.sums = sums = Accumulate(
            core.accumulator_bits, slots << neuron_bits, index_bits(slots) + neuron_bits
        )
        m.submodules.copy = copy = Ram(core.accumulator_bits, slots << neuron_bits)
        ahead = Signal(range(2 * slots))
        to_slot = Signal(range(slots))
        target = Signal(neuron_bits)
        stored_neuron, stored_slot = Signal(neuron_bits), Signal(range(slots))
        m.d.comb += [
            ahead.eq(self.slot + self.arrival.delay),
            to_slot.eq(Mux(ahead >= slots, ahead - slots, ahead)),
            target.eq(self.arrival.target),
            ring.find_slot.eq(to_slot),
            ring.find_index.eq(target),
            sums.add.eq(self.arrive),
            sums.key.eq(Cat(target, to_slot)),
            sums.read_at.eq(sums.key),
            sums.value.eq(self.arrival.payload[: core.accumulator_bits]),
            sums.fresh.eq(~ring.found),
            sums.write_at.eq(sums.store_key),
            Cat(stored_neuron, stored_slot).eq(sums.store_key),
            ring.insert.eq(sums.store),
            ring.insert_slot.eq(stored_slot),
            ring.insert_index.eq(stored_neuron),
            copy.w_en.eq(sums.store),
            copy.w_addr.eq(sums.store_key),
            copy.w_data.eq(sums.store_value),
            # The slot that the timestep reads stays whole until the next swap.
            ring.row_slot.eq(self.slot),
            ring.empty_row.eq(self.swap),
            ring.clear.eq(self.clear),
            copy.r_en.eq(1),
            copy.r_addr.eq(Cat(self.fetch_neuron, self.slot)),
        ]
        reads = delayed(m, ring.row.bit_select(self.fetch_neuron, 1), 1)
        return delayed(m, Mux(reads, copy.r_data, 0), 3)
