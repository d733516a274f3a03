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
from .layouts import flit_struct
from .pick import CHUNK, chunks_of, decoded, encoded, lowest, picked, selected
from .valid_ring import ValidRing

__all__ = ["Axon"]


class Axon(wiring.Component):
    """Keep the values of a core's inputs, and walk the active ones in ascending order.

    The rules are those of docs/blocks/axon.md: a flit of kind AXON adds to the slot ``delay`` timesteps ahead, one of
    kind HOLD to the axon's held value; the walk of a timestep reads the sum of the slot's and the held value, as they
    stood at the swap.

    Three memories: ``values`` that arrivals add to, and copies for the axon at work, of its slot and of its held value.
    The slot that is read is never written. A held value may be, so its copy has two versions: the walk reads the one
    that ``held_bank`` says, arrivals write the other and mark it ``held_written``; while no walk is on, the newer one
    becomes the one to read.

    The walk searches chunks of axons: ``next_chunk`` is found while the axons of the chunk before take their turns, one
    a cycle. Behind the last chunk stands an end, behind it the first chunk again. While no walk is on, the first chunk
    is searched for again and again, so that it is there when the swap comes.

    Timing
    ------
    *Arrivals*: one a cycle, never waiting; the last one is in a cycle that lies 5 before the first axon's turn: the
    trees of the barrier see to that. *Walk*: an axon a cycle, ascending, from the cycle after the swap on::

        cycle           -1     0      1      2         (of one axon)
        swap            1
        more, step             1
        walk_axon                     a
        walk_value                           v

    Reset
    -----
    ``clear`` (the start of a sample) empties all slots and held values. Power-up does the same.

    Members
    -------
    arrive, arrival, slot : In
        A flit for this unit (kind AXON or HOLD), already registered; the current slot.
    swap, next_slot : In
        The swap of slots; the walk's axons are taken from ``next_slot``, which is emptied.
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
        Two cycles after ``step``: its value.
    """

    arrive: Signal
    arrival: data.View
    slot: Signal
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
        held_bank = Signal(core.axons)  # the version that a walk reads
        held_written = Signal(core.axons)  # the other version is newer
        held_active = Signal(core.axons)  # the newest version is not 0
        m.submodules.ring = ring = ValidRing(core.delay_slots, core.axons)
        m.submodules.slot_copy = slot_copy = Ram(
            core.activation_bits, core.delay_slots << self._axon_bits
        )
        m.submodules.held_copy = held_copy = Ram(core.activation_bits, 2 << self._axon_bits)
        self._arrivals(m, ring, slot_copy, held_copy, held_bank, held_written, held_active)
        self._walk(m, ring, slot_copy, held_copy, held_bank, held_active)
        return m

    def _arrivals(
        self,
        m: Module,
        ring: ValidRing,
        slot_copy: Ram,
        held_copy: Ram,
        held_bank: Signal,
        held_written: Signal,
        held_active: Signal,
    ) -> None:
        """Add what arrives: look it up and read in one cycle, write in the next."""
        axon_bits, slots = self._axon_bits, self._core.delay_slots
        bits = self._core.activation_bits
        # Words of the slots in order, then the held values: these are kept as one slot more.
        m.submodules.values = values = Accumulate(bits, (slots + 1) << axon_bits)
        target = Signal(axon_bits)
        place_slot, is_hold = Signal(range(slots + 1)), Signal()
        m.d.comb += [
            target.eq(self.arrival.target),
            is_hold.eq(self.arrival.kind == FlitKind.HOLD),
            place_slot.eq(Mux(is_hold, slots, slot_ahead(self.slot, self.arrival.delay, slots))),
            ring.find_slot.eq(place_slot),
            ring.find_index.eq(target),
            values.add.eq(self.arrive),
            values.value.eq(self.arrival.payload[:bits]),
            values.place.eq(Cat(target, place_slot)),
        ]
        was_active = picked(m, [held_active], is_hold, target)
        bank = picked(m, [held_bank], is_hold, target)

        stored_axon, stored_slot = Signal(axon_bits), Signal(range(slots + 1))
        stores_hold = Signal()
        at = decoded(m, stored_axon, self._core.axons, stores_hold)
        is_active = values.store_value != 0
        m.d.comb += [
            Cat(stored_axon, stored_slot).eq(values.store_place),
            stores_hold.eq(values.store & (stored_slot == slots)),
            values.fresh.eq(~Mux(stored_slot == slots, was_active, ring.found)),
            ring.insert.eq(values.store & ~stores_hold),
            ring.insert_slot.eq(stored_slot),
            ring.insert_index.eq(stored_axon),
            slot_copy.w_en.eq(values.store & ~stores_hold),
            slot_copy.w_addr.eq(Cat(stored_axon, stored_slot)),
            slot_copy.w_data.eq(values.store_value),
            held_copy.w_en.eq(stores_hold),
            held_copy.w_addr.eq(Cat(stored_axon, ~bank)),
            held_copy.w_data.eq(values.store_value),
        ]
        m.d.sync += [
            held_written.eq(held_written | at),
            held_active.eq((held_active & ~at) | Mux(is_active, at, 0)),
        ]
        with m.If(~self.walking & ~self.arrive & ~values.store):
            m.d.sync += [held_bank.eq(held_bank ^ held_written), held_written.eq(0)]
        with m.If(self.clear):
            m.d.sync += [held_active.eq(0), held_written.eq(0)]

    def _walk(
        self,
        m: Module,
        ring: ValidRing,
        slot_copy: Ram,
        held_copy: Ram,
        held_bank: Signal,
        held_active: Signal,
    ) -> None:
        """Find the active axons, chunk by chunk, and their values."""
        axons, bits = self._core.axons, self._core.activation_bits
        in_slot, in_held = Signal(axons), Signal(axons)  # as of the swap
        m.d.comb += [
            ring.row_slot.eq(self.next_slot),
            ring.empty_row.eq(self.swap),
            ring.clear.eq(self.clear),
        ]
        with m.If(~self.walking):
            m.d.sync += [in_slot.eq(ring.row), in_held.eq(held_active)]

        # The chunk after the one at work: a one-hot word, 0 for the end.
        slot_chunks, held_chunks, bank_chunks = map(chunks_of, (in_slot, in_held, held_bank))
        count = len(slot_chunks)
        some, next_chunk, gone, passed = (Signal(count) for _ in range(4))
        advance = Signal()
        m.d.comb += [
            some.eq(Cat((a | b).any() for a, b in zip(slot_chunks, held_chunks, strict=True))),
            passed.eq(Mux(next_chunk.any(), gone | next_chunk, 0)),  # behind the end all come again
        ]
        with m.If(advance):
            m.d.sync += [gone.eq(passed), next_chunk.eq(lowest(some & ~passed))]
        with m.Elif(~self.walking):
            m.d.sync += [gone.eq(0), next_chunk.eq(lowest(some))]

        # The chunk at work.
        left, of_slot, of_held, of_bank = (Signal(CHUNK) for _ in range(4))
        chunk = Signal(index_bits(count))
        turn, after = Signal(CHUNK), Signal(CHUNK)
        m.d.comb += [
            turn.eq(lowest(left)),
            after.eq(left & ~turn),
            self.more.eq(left.any()),
            advance.eq(Mux(self.more, self.step & (after == 0), self.restart) | self.swap),
        ]
        with m.If(advance):
            slot_part, held_part = (
                selected(slot_chunks, next_chunk),
                selected(held_chunks, next_chunk),
            )
            m.d.sync += [
                left.eq(slot_part | held_part),
                of_slot.eq(slot_part),
                of_held.eq(held_part),
                of_bank.eq(selected(bank_chunks, next_chunk)),
                chunk.eq(encoded(next_chunk, count)),
            ]
        with m.Elif(self.step):
            m.d.sync += left.eq(after)

        # One cycle later: its number, and where its values are.
        reads_slot, reads_held, bank = Signal(), Signal(), Signal()
        number = Signal(CHUNK.bit_length() - 1 + len(chunk))
        m.d.sync += [
            number.eq(Cat(encoded(turn, CHUNK), chunk)),
            reads_slot.eq((of_slot & turn).any()),
            reads_held.eq((of_held & turn).any()),
            bank.eq((of_bank & turn).any()),
        ]
        m.d.comb += [
            self.walk_axon.eq(number),
            slot_copy.r_en.eq(1),
            slot_copy.r_addr.eq(Cat(self.walk_axon, self.slot)),
            held_copy.r_en.eq(1),
            held_copy.r_addr.eq(Cat(self.walk_axon, bank)),
        ]

        # Two cycles later: the value.
        slot_counts, held_counts, total = Signal(), Signal(), Signal(bits)
        m.d.sync += [slot_counts.eq(reads_slot), held_counts.eq(reads_held)]
        m.d.comb += [
            total.eq(Mux(slot_counts, slot_copy.r_data, 0) + Mux(held_counts, held_copy.r_data, 0)),
            self.walk_value.eq(Cat(total, total[-1] & self.is_signed)),
        ]
