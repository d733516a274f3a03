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

    A word that the owner calls ``fresh`` counts as 0, whatever the memory holds; so nothing ever clears the memory. Of
    two adds to one word in consecutive cycles the second continues from the first, whose write it could not read yet.

    Timing
    ------
    Latency 1: read in the cycle of ``add``, sum and write in the next, visible to adds from the one after that. ::

        cycle          0    1    2
        add            A    A         # the second continues from the first one's sum
        fresh               A    A    # whatever it says of the second
        store               A    A

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
        The write, in the cycle in which it happens; for owners that keep a second copy and valid bits.
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
        """Build the memory and the two stages."""
        m = Module()
        m.submodules.ram = ram = Ram(self._width, self._depth)
        value, before = Signal(self._width), Signal(self._width)
        continues, last_value = Signal(), Signal(self._width)
        m.d.sync += [
            self.store.eq(self.add),
            self.store_place.eq(self.place),
            value.eq(self.value),
            continues.eq(self.store & (self.store_place == self.place)),
            last_value.eq(self.store_value),
        ]
        m.d.comb += [
            ram.r_en.eq(self.add),
            ram.r_addr.eq(self.place),
            before.eq(Mux(continues, last_value, Mux(self.fresh, 0, ram.r_data))),
            self.store_value.eq(before + value),
            ram.w_en.eq(self.store),
            ram.w_addr.eq(self.store_place),
            ram.w_data.eq(self.store_value),
        ]
        return m
