"""A memory to whose words values are added, one a cycle: where axon values and incoming sums wait their time."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ...chip.memory_map import index_bits
from ..memory import Ram

__all__ = ["Accumulate"]


class Accumulate(wiring.Component):
    """Add a value to a word of a memory, modulo ``2**width``, one read-modify-write a cycle, never waiting.

    A word that the owner calls ``fresh`` counts as 0, whatever the memory holds; so nothing ever clears the memory.
    The owner may let the sum be written to another place than the one that was read (held values are kept in two
    versions); ``key`` then names the thing itself: of two adds in consecutive cycles with one key, the second
    continues from the first, whose write it could not have read yet.

    Timing
    ------
    Latency 1: read in the cycle of ``add``, sum and write in the next, visible to adds from the one after that. ::

        cycle          0    1    2
        add            A    B         # B has A's key: continues from A's sum
        store               A    B

    Parameters
    ----------
    width
        Bits of a word.
    depth
        Words.
    key_bits
        Width of ``key``.

    Members
    -------
    add, key, read_at, value, fresh : In
        An add; ``value`` is its low ``width`` bits.
    write_at : In
        Where the sum goes, one cycle after ``add``.
    store, store_key, store_value : Out
        The write, in the cycle in which it happens; for owners that keep a second copy and valid bits.
    """

    add: Signal
    key: Signal
    read_at: Signal
    value: Signal
    fresh: Signal
    write_at: Signal
    store: Signal
    store_key: Signal
    store_value: Signal

    def __init__(self, width: int, depth: int, key_bits: int) -> None:
        self._width, self._depth = width, depth
        address_bits = index_bits(depth)
        super().__init__(
            {
                "add": In(1),
                "key": In(key_bits),
                "read_at": In(address_bits),
                "value": In(width),
                "fresh": In(1),
                "write_at": In(address_bits),
                "store": Out(1),
                "store_key": Out(key_bits),
                "store_value": Out(width),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the memory and the two stages."""
        m = Module()
        m.submodules.ram = ram = Ram(self._width, self._depth)
        m.d.comb += [ram.r_en.eq(self.add), ram.r_addr.eq(self.read_at)]

        value = Signal(self._width)
        fresh, continues = Signal(), Signal()
        last_value = Signal(self._width)
        before = Signal(self._width)
        m.d.sync += [
            self.store.eq(self.add),
            self.store_key.eq(self.key),
            value.eq(self.value),
            fresh.eq(self.fresh),
            continues.eq(self.store & (self.store_key == self.key)),
            last_value.eq(self.store_value),
        ]
        m.d.comb += [
            before.eq(Mux(continues, last_value, Mux(fresh, 0, ram.r_data))),
            self.store_value.eq(before + value),
            ram.w_en.eq(self.store),
            ram.w_addr.eq(self.write_at),
            ram.w_data.eq(self.store_value),
        ]
        return m
