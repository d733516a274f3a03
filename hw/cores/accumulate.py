"""A memory to whose words values are added, one a cycle: where axon values and incoming sums wait their time."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ...chip.memory_map import index_bits
from ..memory import Ram

__all__ = ["Accumulate", "slot_ahead"]


def slot_ahead(slot: Value, delay: Value, slots: int) -> Value:
    """Return the slot ``delay`` timesteps behind ``slot`` in a ring of ``slots``."""
    ahead = slot + delay
    return Mux(ahead >= slots, ahead - slots, ahead)


class Accumulate(wiring.Component):
    """Add a value to a word of a memory, modulo ``2**width``, one read-modify-write a cycle, never waiting.

    A word that the owner calls ``fresh`` counts as 0, whatever the memory holds; so nothing ever clears the memory. An
    add to the word of one of the two before it continues from their sum, whose write it could not read yet.

    Timing
    ------
    Latency 2: read in the cycle of ``add``, what was read in a register in the next, sum and write in the one after,
    visible to adds from the next on. ::

        cycle          0    1    2    3    4
        add            A    A    A              # each continues from the sum before
        fresh               A    A    A         # whatever it says of the second and third
        store                    A    A    A

    Parameters
    ----------
    width
        Bits of a word.
    depth
        Words.

    Members
    -------
    add, place, value : In
        Add ``value`` to the word ``place``.
    fresh : In
        One cycle after ``add``: the word counts as 0.
    store, store_place, store_value : Out
        The write, in the cycle in which it happens; for owners that keep a second copy.
    """

    add: Signal
    place: Signal
    value: Signal
    fresh: Signal
    store: Signal
    store_place: Signal
    store_value: Signal

    def __init__(self, width: int, depth: int) -> None:
        self._width, self._depth = width, depth
        place_bits = index_bits(depth)
        super().__init__(
            {
                "add": In(1),
                "place": In(place_bits),
                "value": In(width),
                "fresh": In(1),
                "store": Out(1),
                "store_place": Out(place_bits),
                "store_value": Out(width),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the memory and the three stages."""
        m = Module()
        m.submodules.ram = ram = Ram(self._width, self._depth)
        m.d.comb += [ram.r_en.eq(self.add), ram.r_addr.eq(self.place)]

        # What is read, or the sum of the add two before.
        read, read_place = Signal(), Signal(len(self.place))
        read_value, last_value = Signal(self._width), Signal(self._width)
        follows_first, follows_second = Signal(), Signal()
        m.d.sync += [
            read.eq(self.add),
            read_place.eq(self.place),
            read_value.eq(self.value),
            follows_first.eq(read & (read_place == self.place)),
            follows_second.eq(self.store & (self.store_place == self.place)),
            last_value.eq(self.store_value),
        ]

        # The sum, with the one before if it is of the same word.
        before, value, continues = Signal(self._width), Signal(self._width), Signal()
        m.d.sync += [
            self.store.eq(read),
            self.store_place.eq(read_place),
            before.eq(Mux(follows_second, last_value, Mux(self.fresh, 0, ram.r_data))),
            value.eq(read_value),
            continues.eq(follows_first),
        ]
        m.d.comb += [
            self.store_value.eq(Mux(continues, last_value, before) + value),
            ram.w_en.eq(self.store),
            ram.w_addr.eq(self.store_place),
            ram.w_data.eq(self.store_value),
        ]
        return m
