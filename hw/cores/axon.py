"""The axon unit: values that arrive, held or for one timestep, and the walk over those that are active."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ...chip.config import ManyCoreConfig
from ...chip.memory_map import CoreMemories, index_bits
from ...chip.packet import FlitKind, FlitLayout
from ..memory import Ram
from .accumulate import Accumulate
from .layouts import flit_struct
from .valid_ring import ValidRing

__all__ = ["Axon"]

_CHUNK = (
    16  # axons among which the walk finds the lowest in one step; chunks are searched in a second
)


class Axon(wiring.Component):
    """Keep the values of a core's inputs, and walk the active ones in ascending order.

    The rules are those of docs/blocks/axon.md: a flit of kind AXON adds to the slot ``delay`` timesteps ahead, one of
    kind HOLD to the axon's held value; the walk of a timestep reads the sum of the slot's and the held value, as they
    stood at the swap. The slot that is read is never written, so it needs no copy. Held values may arrive while the
    walk reads them: each has two versions, and the first arrival after a swap writes to the one that is not read
    (``held_bank``, ``held_written``).

    Three copies of memory: one that arrivals add to, one for the slot and one for the held value of the axon at work.

    Timing
    ------
    *Arrivals*: one a cycle, never waiting; three cycles from ``arrive`` to a value that a swap sees. *Walk*: an axon a
    cycle, in ascending order; three stages from its turn to its value::

        cycle           0      1      2         (of one axon)
        step, more      1
        axon                   a
        value                         v

    Reset
    -----
    ``clear`` (the start of a sample) empties all slots and held values. Power-up does the same.

    Members
    -------
    arrive, arrival, slot : In
        A flit for this unit (kind AXON or HOLD), already registered; the current slot.
    swap, next_slot : In
        The swap of slots: the walk's axons are taken from ``next_slot``, which is emptied.
    clear : In
        Start of a sample.
    is_signed : In
        Register ``axon_signed``.
    restart : In
        Walk from the first axon again; it is at turn in the next cycle.
    step : In
        Take the axon at turn, if there is one.
    more : Out
        There is an axon at turn.
    axon : Out
        In the cycle after ``step``: which one it was.
    value : Out
        Two cycles after ``step``: its value.
    """

    arrive: Signal
    arrival: data.View
    slot: Signal
    swap: Signal
    next_slot: Signal
    clear: Signal
    is_signed: Signal
    restart: Signal
    step: Signal
    more: Signal
    axon: Signal
    value: Signal

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
                "is_signed": In(1),
                "restart": In(1),
                "step": In(1),
                "more": Out(1),
                "axon": Out(self._axon_bits),
                "value": Out(signed(core.activation_bits + 1)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build arrivals, then the walk."""
        m = Module()
        core, axon_bits = self._core, self._axon_bits
        slots, bits = core.delay_slots, core.activation_bits
        held_bank = Signal(core.axons)  # the version that the walk reads
        held_written = Signal(core.axons)  # the other version is newer
        held_active = Signal(core.axons)  # of the newest version
        m.submodules.ring = ring = ValidRing(slots, core.axons)
        # Words: slots in order, then the two versions of held values. The key names held values as one more slot.
        m.submodules.values = values = Accumulate(
            bits, (slots + 2) << axon_bits, index_bits(slots + 1) + axon_bits
        )
        m.submodules.slot_copy = slot_copy = Ram(bits, slots << axon_bits)
        m.submodules.held_copy = held_copy = Ram(bits, 2 << axon_bits)

        # Arrivals: the slot is known, look up and read.
        target = Signal(axon_bits)
        is_hold = Signal()
        to_slot = Signal(range(2 * slots))
        newest = Signal()
        m.d.comb += [
            target.eq(self.arrival.target),
            is_hold.eq(self.arrival.kind == FlitKind.HOLD),
            to_slot.eq(_wrapped(self.slot + self.arrival.delay, slots)),
            newest.eq((held_bank ^ held_written).bit_select(target, 1)),
            ring.find_slot.eq(to_slot),
            ring.find_index.eq(target),
            values.add.eq(self.arrive),
            values.value.eq(self.arrival.payload[:bits]),
            values.key.eq(Cat(target, Mux(is_hold, slots, to_slot))),
            values.read_at.eq(Cat(target, Mux(is_hold, slots + newest, to_slot))),
            values.fresh.eq(Mux(is_hold, ~held_active.bit_select(target, 1), ~ring.found)),
        ]

        # One cycle later: the sum is written, to a slot or to the version that the walk does not read.
        stored_axon, stored_slot = Signal(axon_bits), Signal(range(slots + 1))
        stored_hold, bank = Signal(), Signal()
        one_hot = Signal(core.axons)
        m.d.comb += [
            Cat(stored_axon, stored_slot).eq(values.store_key),
            stored_hold.eq(stored_slot == slots),
            bank.eq(~held_bank.bit_select(stored_axon, 1)),
            values.write_at.eq(
                Cat(stored_axon, Mux(stored_hold, slots + bank, stored_slot)),
            ),
            ring.insert.eq(values.store & ~stored_hold),
            ring.insert_slot.eq(stored_slot),
            ring.insert_index.eq(stored_axon),
            slot_copy.w_en.eq(values.store & ~stored_hold),
            slot_copy.w_addr.eq(Cat(stored_axon, stored_slot)),
            slot_copy.w_data.eq(values.store_value),
            held_copy.w_en.eq(values.store & stored_hold),
            held_copy.w_addr.eq(Cat(stored_axon, bank)),
            held_copy.w_data.eq(values.store_value),
            one_hot.eq(1 << stored_axon),
        ]
        with m.If(values.store & stored_hold):
            m.d.sync += [
                held_written.eq(held_written | one_hot),
                held_active.eq(Mux(values.store_value == 0, held_active & ~one_hot, held_active | one_hot)),
            ]  # fmt: skip

        # The swap: what the walk will read.
        in_slot, in_held = Signal(core.axons), Signal(core.axons)
        m.d.comb += [
            ring.row_slot.eq(self.next_slot),
            ring.empty_row.eq(self.swap),
            ring.clear.eq(self.clear),
        ]
        with m.If(self.swap):
            m.d.sync += [
                in_slot.eq(ring.row),
                in_held.eq(held_active),
                held_bank.eq(held_bank ^ held_written),
                held_written.eq(0),
            ]
        with m.If(self.clear):
            m.d.sync += [held_active.eq(0), held_written.eq(0)]

        # The walk: the lowest chunk with an axon left, its lowest axon.
        left = Signal(core.axons)
        chunks = -(-core.axons // _CHUNK)
        parts = [left[i * _CHUNK : (i + 1) * _CHUNK] for i in range(chunks)]
        some, chunk = Signal(chunks), Signal(chunks)
        chosen, lowest = Signal(_CHUNK), Signal(_CHUNK)
        m.d.comb += [
            some.eq(Cat(part.any() for part in parts)),
            chunk.eq(some & -some),
            chosen.eq(_selected(parts, chunk)),
            lowest.eq(chosen & -chosen),
            self.more.eq(some.any()),
        ]
        with m.If(self.swap):
            m.d.sync += left.eq(ring.row | held_active)
        with m.Elif(self.restart):
            m.d.sync += left.eq(in_slot | in_held)
        with m.Elif(self.step):
            m.d.sync += Cat(parts).eq(
                Cat(part & ~Mux(chunk[i], lowest[: len(part)], 0) for i, part in enumerate(parts))
            )

        # One cycle later: its number, and where its values are.
        at_chunk, at_axon = Signal(chunks), Signal(_CHUNK)
        reads_slot, reads_held = Signal(), Signal()
        m.d.sync += [at_chunk.eq(chunk), at_axon.eq(lowest)]
        m.d.comb += [
            self.axon.eq(_encoded(at_axon, _CHUNK) + (_encoded(at_chunk, chunks) * _CHUNK)),
            slot_copy.r_en.eq(1),
            slot_copy.r_addr.eq(Cat(self.axon, self.slot)),
            held_copy.r_en.eq(1),
            held_copy.r_addr.eq(Cat(self.axon, held_bank.bit_select(self.axon, 1))),
        ]
        m.d.sync += [
            reads_slot.eq(in_slot.bit_select(self.axon, 1)),
            reads_held.eq(in_held.bit_select(self.axon, 1)),
        ]

        # Two cycles later: the value.
        total = Signal(bits)
        m.d.comb += [
            total.eq(Mux(reads_slot, slot_copy.r_data, 0) + Mux(reads_held, held_copy.r_data, 0)),
            self.value.eq(Cat(total, total[-1] & self.is_signed)),
        ]
        return m


def _wrapped(slot: Value, slots: int) -> Value:
    """Return a sum of two slots modulo their number."""
    return Mux(slot >= slots, slot - slots, slot)


def _selected(parts: list[Value], one_hot: Value) -> Value:
    """Return the part that a one-hot word chooses, 0 if none."""
    result: Value = Const(0)
    for i, part in enumerate(parts):
        result = result | Mux(one_hot[i], part, 0)
    return result


def _encoded(one_hot: Value, count: int) -> Value:
    """Return the index of the bit that is set, 0 if none is."""
    return Cat(
        Cat(one_hot[i] for i in range(count) if (i >> place) & 1).any()
        for place in range(index_bits(count))
    )
