"""The dendrite: lanes that sum weights times values, and the sums that other cores send."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ...chip.config import ManyCoreConfig
from ...chip.memory_map import CoreMemories, index_bits
from ...chip.packet import FlitLayout
from ..memory import Ram
from .accumulate import Accumulate, slot_ahead
from .layouts import flit_struct
from .pick import CHUNK
from .pipeline import delayed, unlike
from .synapse import early_stages, weight_lanes
from .valid_bits import ValidBits

__all__ = ["Dendrite"]

COPIES = 4


class Dendrite(wiring.Component):
    """Sum weight times value for a group of neurons, hand the sums to the soma one by one, add what other cores sent.

    One accumulator a lane, modulo ``2**accumulator_bits``. When the walk of a group ends its accumulators are copied to
    a shift register, which the soma empties while the lanes work on the next group. The value 1, a spike, needs no
    multiplier: the weight goes round it, and its operands stay as they were.

    Lanes that only narrow weights use are narrow, too: their sums are exact in fewer bits. Those of 2-bit weights have
    no multiplier but select among -2, -1, 0 and 1 times the value.

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

    A sum leaves the register in the cycle after ``take``; ``total``, with what other cores sent, stands two after it.
    Sums that arrive never wait; three cycles pass before they can be read.

    Reset
    -----
    ``clear`` (the start of a sample) empties the incoming sums. Accumulators are 0 at power-up and after each copy.

    Members
    -------
    valid, weights, value : In
        An axon's row of weights and its value; the weights come `early_stages` later, the value one, if there are any.
    ends : In
        One cycle after the last axon's ``valid``, instead of another: the group ends.
    multiplies : Out
        Two cycles after ``valid``: the value was not 1.
    fetch_neuron : In
        The neuron whose sum is at the head 4 cycles later.
    take : In
        In the next cycle the sum at the head is taken.
    total : Out
        Two cycles after ``take``.
    arrive, arrival, slot : In
        A flit of kind SUM, already registered; the current slot, as it was a cycle before, too.
    start : In
        A timestep starts: in the next cycle the current slot is left behind and emptied.
    clear : In
        Start of a sample.
    """

    valid: Signal
    weights: data.View
    value: Signal
    ends: Signal
    multiplies: Signal
    fetch_neuron: Signal
    take: Signal
    total: Signal
    arrive: Signal
    arrival: data.View
    slot: Signal
    start: Signal
    clear: Signal

    def __init__(self, config: ManyCoreConfig) -> None:
        self._core = core = config.core
        self._memories = memories = CoreMemories(config)
        super().__init__(
            {
                "valid": In(1),
                "weights": In(weight_lanes(memories)),
                "value": In(signed(core.activation_bits + 1)),
                "ends": In(1),
                "multiplies": Out(1),
                "fetch_neuron": In(memories.neuron_bits),
                "take": In(1),
                "total": Out(signed(core.accumulator_bits)),
                "arrive": In(1),
                "arrival": In(flit_struct(FlitLayout.of(config))),
                "slot": In(index_bits(core.delay_slots)),
                "start": In(1),
                "clear": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the lanes, the shift register and the incoming sums."""
        m = Module()
        accumulators = self._lanes(m)
        heads = [Signal.like(a, name=f"head_{lane}") for lane, a in enumerate(accumulators)]
        ends = delayed(m, self.ends, self._core.pipeline_stages - 3)
        copies, moves = _copies(m, "copies", ends), _copies(m, "moves", ends | self.take)
        for lane, (head, accumulator) in enumerate(zip(heads, accumulators, strict=True)):
            behind = heads[lane + 1] if lane + 1 < len(heads) else head
            with m.If(moves[lane % COPIES]):
                m.d.sync += head.eq(Mux(copies[lane % COPIES], accumulator, behind))
            with m.If(copies[lane % COPIES]):
                m.d.sync += accumulator.eq(0)
        m.d.sync += self.total.eq(heads[0] + self._incoming(m))
        return m

    def _lanes(self, m: Module) -> list[Signal]:
        """Build operands, products and accumulators; return the accumulators."""
        core = self._core
        early = early_stages(core)
        extra = core.pipeline_stages - 4 - early
        # The value comes through the first register, if there is one; the second makes copies of what follows.
        valid, value = delayed(m, self.valid, min(early, 1)), self.value
        is_one, works = Signal(), Signal()
        m.d.comb += [is_one.eq(value == 1), works.eq(valid & ~is_one)]
        m.d.comb += self.multiplies.eq(delayed(m, works, 2 - min(early, 1)))
        if early > 1:
            read_values, loads = _copies(m, "read_value", value), _copies(m, "loads", works)
        else:
            read_values, loads = [value] * COPIES, [works] * COPIES
        values = [unlike(f"value_{n}", value.shape(), COPIES) for n in range(COPIES)]
        for load, copies, read_value in zip(loads, values, read_values, strict=True):
            with m.If(load):
                m.d.sync += [copy.eq(read_value) for copy in copies]
        behind = 2 + extra + max(early - 1, 0)
        adds = _copies(m, "adds", delayed(m, valid, behind - 1))
        passes = _copies(m, "passes", delayed(m, is_one, behind - 1))
        terms = index_bits(core.axons) - 1  # a product has a bit to spare
        accumulators = []
        for lane in range(self._memories.most_lanes):
            weight = self.weights[f"lane_{lane}"]
            n = lane % COPIES
            bits = min(core.accumulator_bits, len(weight) + len(value) + terms)
            accumulator = Signal(signed(bits), name=f"accumulator_{lane}")
            if len(weight) <= 2:
                addend, carry = _selected_product(m, weight, read_values[n], 1 + extra)
            else:
                operand = Signal(weight.shape(), name=f"operand_{lane}")
                product = Signal(signed(len(weight) + len(value)), name=f"product_{lane}")
                with m.If(loads[n]):
                    m.d.sync += operand.eq(weight)
                m.d.sync += product.eq(operand * values[n][lane // COPIES % COPIES])
                addend = Mux(passes[n], delayed(m, weight, 2 + extra), delayed(m, product, extra))
                carry = Const(0)
            # A bit below the lowest brings the carry in: one adder.
            total = (Cat(carry, accumulator).as_signed() + Cat(carry, addend).as_signed())[1:]
            with m.If(adds[n]):
                m.d.sync += accumulator.eq(total)
            accumulators.append(accumulator)
        return accumulators

    def _incoming(self, m: Module) -> Value:
        """Build the ring of incoming sums; return the sum for the neuron at the head."""
        core, neuron_bits = self._core, self._memories.neuron_bits
        slots = core.delay_slots
        m.submodules.valid_bits = bits = ValidBits(slots, core.neurons)
        m.submodules.sums = sums = Accumulate(core.accumulator_bits, slots << neuron_bits)
        m.submodules.copy = copy = Ram(core.accumulator_bits, slots << neuron_bits)
        to_slot, target, low = Signal(range(slots)), Signal(neuron_bits), index_bits(CHUNK)
        m.d.comb += [
            to_slot.eq(slot_ahead(delayed(m, self.slot, 1), self.arrival.delay, slots)),
            target.eq(self.arrival.target),
            bits.find_slot.eq(to_slot),
            bits.find_index.eq(target),
            sums.add.eq(self.arrive),
            sums.place.eq(Cat(target, to_slot)),
            sums.value.eq(self.arrival.payload[: core.accumulator_bits]),
            sums.fresh.eq(~bits.found),
            bits.insert.eq(delayed(m, self.arrive, 1)),
            copy.w_en.eq(sums.store),
            copy.w_addr.eq(sums.store_place),
            copy.w_data.eq(sums.store_value),
            # The slot that the timestep reads stays whole until the next swap.
            bits.empty.eq(self.start),
            bits.empty_slot.eq(self.slot),
            bits.clear.eq(self.clear),
            bits.see.eq(1),
            bits.see_slot.eq(self.slot),
            bits.see_word.eq(self.fetch_neuron[low:]),
            copy.r_en.eq(1),
            copy.r_addr.eq(Cat(self.fetch_neuron, self.slot)),
        ]
        is_valid = bits.seen.bit_select(delayed(m, self.fetch_neuron[:low], 1), 1)
        return delayed(m, Mux(is_valid, copy.r_data, 0), 3)


def _copies(m: Module, name: str, value: Value) -> list[Signal]:
    """Return registers that show ``value`` a cycle later, each for some of the lanes."""
    copies = unlike(name, value.shape(), COPIES)
    m.d.sync += [copy.eq(value) for copy in copies]
    return copies


def _selected_product(m: Module, weight: Value, value: Value, cycles: int) -> tuple[Value, Value]:
    """Return a 2-bit weight's product without multiplier: its ones' complement, and the carry that makes it exact.

    A register later than ``weight`` and ``value``, and ``cycles`` more.
    """
    shape = signed(len(value) + 1)
    product, is_negative = Signal(shape), Signal()
    magnitude = Mux(weight[0], value, 0)
    m.d.sync += [
        product.eq(Mux(weight[1], ~Mux(weight[0], value, value << 1), magnitude)),
        is_negative.eq(weight[1]),
    ]
    return delayed(m, product, cycles), delayed(m, is_negative, cycles)
