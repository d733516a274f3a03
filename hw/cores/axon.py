"""The axon unit: values that arrive, held or for one timestep, and the walk over those that are active."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ...chip.config import ManyCoreConfig
from ...chip.memory_map import CoreMemories, index_bits
from ...chip.packet import FlitKind, FlitLayout
from ..memory import Ram
from .accumulate import Accumulate, slot_ahead
from .held_bits import HeldBits
from .layouts import flit_struct
from .pick import CHUNK, at_least, encoded, lowest, words_of
from .pipeline import delayed, unlike
from .synapse import early_stages
from .valid_bits import ValidBits

__all__ = ["Axon"]


class Axon(wiring.Component):
    """Keep the values of a core's inputs, and walk the active ones in ascending order.

    The rules are those of docs/blocks/axon.md: a flit of kind AXON adds to the slot ``delay`` timesteps ahead, one of
    kind HOLD to the axon's held value; the walk of a timestep reads the sum of the slot's and the held value, as they
    stood at the swap.

    Three memories: ``values`` that arrivals add to, and copies for the axon at work, of its slot and of its held value.
    The slot that is read is never written. A held value may be, so its copy has two versions: `HeldBits`.

    The walk goes from word to word of 16 axons, of those that have an active one: one is found ``ahead`` while the word
    before it is read and the axons of the one before that, ``left``, take their turns, one a cycle. Behind the last
    word stands an end, behind it the first word again. While no walk is on, the first word is found again and again;
    with ``start`` it is read, so that it is there when the swap comes.

    Timing
    ------
    *Arrivals*: one a cycle, never waiting; the last one is in a cycle that lies 7 before the first axon's turn: the
    trees of the barrier see to that. *Walk*: an axon a cycle, ascending, from the cycle after the swap on::

        cycle           -1     0      1      2         (of one axon)
        swap            1
        more, step             1
        walk_axon                     a
        walk_value                           v

    From a held value's arrival to the earliest swap::

        cycle            0      1      2      3      4      5      6
        arrive           1
        values.store                   1
        held.write                            1
        held.row                                     1
        ahead, start                                        1
        seen, swap                                                 1

    Reset
    -----
    ``clear`` (the start of a sample) empties all slots and held values. Power-up does the same.

    Members
    -------
    arrive, arrival, slot : In
        A flit for this unit (kind AXON or HOLD), already registered; the current slot, as it was a cycle before, too.
    start, swap, next_slot : In
        A timestep starts, and one cycle later the swap of slots: the walk's axons are taken from ``next_slot``, the
        current slot is left behind and emptied.
    clear : In
        Start of a sample.
    walking : In
        A walk is on: from the cycle after its swap to the end of compute.
    is_signed : In
        Register ``axon_signed``.
    more : Out
        There is an axon at turn; else the walk's end is.
    step : In
        Take the axon at turn, if there is one.
    restart : In
        At the end: walk from the first axon again; it is at turn in the next cycle.
    walk_axon : Out
        One cycle after ``step``: which one it was.
    walk_value : Out
        Two cycles after ``step``: its value. One more, if there are `early_stages`.
    """

    arrive: Signal
    arrival: data.View
    slot: Signal
    start: Signal
    swap: Signal
    next_slot: Signal
    clear: Signal
    walking: Signal
    is_signed: Signal
    more: Signal
    step: Signal
    restart: Signal
    walk_axon: Signal
    walk_value: Signal

    def __init__(self, config: ManyCoreConfig) -> None:
        self._core = core = config.core
        self._axon_bits = CoreMemories(config).axon_bits
        self._slot_bits = index_bits(core.delay_slots)
        super().__init__(
            {
                "arrive": In(1),
                "arrival": In(flit_struct(FlitLayout.of(config))),
                "slot": In(self._slot_bits),
                "start": In(1),
                "swap": In(1),
                "next_slot": In(self._slot_bits),
                "clear": In(1),
                "walking": In(1),
                "is_signed": In(1),
                "more": Out(1),
                "step": In(1),
                "restart": In(1),
                "walk_axon": Out(self._axon_bits),
                "walk_value": Out(signed(core.activation_bits + 1)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build arrivals, then the walk."""
        m = Module()
        core = self._core
        # Behind the rows of the slots stands one of the held values: those written since the sample began.
        m.submodules.valid_bits = bits = ValidBits(core.delay_slots + 1, core.axons, hidden=1)
        m.submodules.held = held = HeldBits(core.axons)
        m.submodules.slot_copy = slot_copy = Ram(
            core.activation_bits, core.delay_slots << self._axon_bits
        )
        m.submodules.held_copy = held_copy = Ram(core.activation_bits, 2 << self._axon_bits)
        self._arrivals(m, bits, held, slot_copy, held_copy)
        self._walk(m, bits, held, slot_copy, held_copy)
        return m

    def _arrivals(
        self, m: Module, bits: ValidBits, held: HeldBits, slot_copy: Ram, held_copy: Ram
    ) -> None:
        """Add what arrives: look it up and read, add two cycles later, copy the sum in those that follow."""
        axon_bits, slots = self._axon_bits, self._core.delay_slots
        value_bits = self._core.activation_bits
        # Words of the slots in order, then the held values: these are kept as one slot more.
        m.submodules.values = values = Accumulate(value_bits, (slots + 1) << axon_bits)
        target = Signal(axon_bits)
        place_slot, is_hold = Signal(range(slots + 1)), Signal()
        slot_before = delayed(m, self.slot, 1)  # a register of its own
        m.d.comb += [
            target.eq(self.arrival.target),
            is_hold.eq(self.arrival.kind == FlitKind.HOLD),
            place_slot.eq(Mux(is_hold, slots, slot_ahead(slot_before, self.arrival.delay, slots))),
            bits.find_slot.eq(place_slot),
            bits.find_index.eq(target),
            bits.insert.eq(delayed(m, self.arrive & (target < self._core.axons), 1)),
            values.add.eq(self.arrive),
            values.value.eq(self.arrival.payload[:value_bits]),
            values.place.eq(Cat(target, place_slot)),
            values.fresh.eq(~bits.found),
        ]

        # A cycle after the sum: the slot's copy, and whether a held value is not 0.
        axon, slot, value = Signal(axon_bits), Signal(range(slots + 1)), Signal(value_bits)
        stores, stores_hold = Signal(), Signal()
        m.d.sync += [
            stores.eq(values.store & (values.store_place[axon_bits:] != slots)),
            stores_hold.eq(values.store & (values.store_place[axon_bits:] == slots)),
            Cat(axon, slot).eq(values.store_place),
            value.eq(values.store_value),
        ]
        m.d.comb += [
            slot_copy.w_en.eq(stores),
            slot_copy.w_addr.eq(Cat(axon, slot)),
            slot_copy.w_data.eq(value),
            held.write.eq(stores_hold & (axon < self._core.axons)),
            held.write_index.eq(axon),
            held.write_active.eq(value.any()),
            held.walking.eq(self.walking),
            held.clear.eq(self.clear),
        ]

        # Two cycles after it: the held value's copy.
        m.d.sync += held_copy.w_addr.eq(Cat(axon, held.write_version))
        m.d.comb += [
            held_copy.w_en.eq(delayed(m, held.write, 1)),
            held_copy.w_data.eq(delayed(m, value, 1)),
        ]

    def _walk(
        self, m: Module, bits: ValidBits, held: HeldBits, slot_copy: Ram, held_copy: Ram
    ) -> None:
        """Find the active axons, word by word, and their values."""
        count = words_of(self._core.axons)
        # The slot that the walk reads, from before the swap on: a register for its words, one for which have an axon.
        slots = unlike("walk_slot", self.slot.shape(), 2)
        with m.If(~self.walking):
            m.d.sync += [slot.eq(self.next_slot) for slot in slots]
        m.d.comb += [
            bits.see_slot.eq(slots[0]),
            bits.row_slot.eq(slots[1]),
            # The slot that the timestep reads stays whole until the next swap.
            bits.empty.eq(self.start),
            bits.empty_slot.eq(self.slot),
            bits.clear.eq(self.clear),
        ]

        # Words with an active axon, one-hot: the first and the others, the one ahead (0 for the end), those behind it.
        first, others, ahead, behind = (Signal(count) for _ in range(4))
        advance, moves = Signal(), Signal()
        m.d.comb += moves.eq(advance | self.start)
        now = bits.row | held.row
        with m.If(moves):
            m.d.sync += [
                ahead.eq(Mux(ahead.any(), lowest(behind), first)),
                behind.eq(Mux(ahead.any(), behind & ~lowest(behind), others)),
            ]
        with m.Elif(~self.walking):
            m.d.sync += [
                first.eq(lowest(now)),
                others.eq(now & ~lowest(now)),
                ahead.eq(lowest(now)),
                behind.eq(now & ~lowest(now)),
            ]

        # It is read: its number, and whether there is one.
        seen_word, is_end = Signal(index_bits(count)), Signal()
        m.d.comb += [
            bits.see.eq(moves),
            bits.see_word.eq(encoded(ahead, count)),
            held.see.eq(bits.see),
            held.see_word.eq(bits.see_word),
        ]
        with m.If(moves):
            m.d.sync += [seen_word.eq(bits.see_word), is_end.eq(~ahead.any())]

        # The word at work.
        left, of_slot, of_held, of_version = (Signal(CHUNK) for _ in range(4))
        word = Signal.like(seen_word)
        turn, comes = Signal(CHUNK), Signal(CHUNK)
        is_last = Signal()  # one axon at most is left
        m.d.comb += [
            turn.eq(lowest(left)),
            comes.eq(bits.seen | held.seen_active),
            advance.eq(Mux(self.more, self.step & is_last, self.restart) | self.swap),
        ]
        any_comes, several_come, _ = at_least(comes)
        _, _, several_stay = at_least(left)
        with m.If(advance):
            m.d.sync += [
                left.eq(Mux(is_end, 0, comes)),
                self.more.eq(~is_end & any_comes),
                is_last.eq(~several_come),
                of_slot.eq(bits.seen),
                of_held.eq(held.seen_active),
                of_version.eq(held.seen_version),
                word.eq(seen_word),
            ]
        with m.Elif(self.step):
            m.d.sync += [left.eq(left & ~turn), is_last.eq(~several_stay)]

        # One cycle later: its number, and where its values are.
        reads_slot, reads_held, version = Signal(), Signal(), Signal()
        number = Signal(CHUNK.bit_length() - 1 + len(word))
        m.d.sync += [
            number.eq(Cat(encoded(turn, CHUNK), word)),
            reads_slot.eq((of_slot & turn).any()),
            reads_held.eq((of_held & turn).any()),
            version.eq((of_version & turn).any()),
        ]
        m.d.comb += [
            self.walk_axon.eq(number),
            slot_copy.r_en.eq(1),
            slot_copy.r_addr.eq(Cat(self.walk_axon, self.slot)),
            held_copy.r_en.eq(1),
            held_copy.r_addr.eq(Cat(self.walk_axon, version)),
        ]

        # Two cycles later: the value. Memories show their data late: behind them stands the first early register.
        early = min(early_stages(self._core), 1)
        of_slot_copy = delayed(m, Mux(delayed(m, reads_slot, 1), slot_copy.r_data, 0), early)
        of_held_copy = delayed(m, Mux(delayed(m, reads_held, 1), held_copy.r_data, 0), early)
        total = Signal(self._core.activation_bits)
        m.d.comb += [
            total.eq(of_slot_copy + of_held_copy),
            self.walk_value.eq(Cat(total, total[-1] & self.is_signed)),
        ]
