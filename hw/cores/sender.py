"""The sender: the outbox that the soma fills, and its flits, one a cycle while the router's local input has room."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ...chip.config import ManyCoreConfig
from ...chip.memory_map import CoreMemories, Memory
from ...chip.packet import FlitLayout
from ..memory import Ram
from .layouts import flit_struct, row_struct

__all__ = ["Sender"]


class Sender(wiring.Component):
    """Keep what the neurons of a timestep have to send; after the last one send a flit per route.

    An outbox word is a payload and where its routes stand. Words leave in the order in which they came (neurons
    ascending), the routes of each in the order of the routing memory.

    Timing
    ------
    `ManyCoreConfig.send_latency_cycles` from the cycle after ``done`` to the first flit; then a flit in every cycle in
    which the router takes it. ::

        cycle             e      e + 1      e + 2     e + 3     e + 4
        done              1
        outbox                   address    word
        routing memory                      address   route
        o.valid                                       1         1          # held while o.ready is low
        busy              (outbox filled) 1 until the last flit is taken

    Members
    -------
    put, payload, route_base, route_count : In
        The soma's output for a neuron with routes.
    done : In
        The last cycle of compute.
    o : Out
        Flits to the router's local input.
    busy : Out
        Something is left to send.
    w_en, w_addr, w_data : In
        Loading of the routing memory.
    """

    put: Signal
    payload: Signal
    route_base: Signal
    route_count: Signal
    done: Signal
    o: stream.Interface
    busy: Signal
    w_en: Signal
    w_addr: Signal
    w_data: Signal

    def __init__(self, config: ManyCoreConfig) -> None:
        self._core = config.core
        self._flit = FlitLayout.of(config)
        memories = CoreMemories(config)
        self._neuron_bits = memories.neuron_bits
        self._route = memories.layouts[Memory.ROUTES]
        count_bits = config.core.route_entries.bit_length()
        self._word = data.StructLayout(
            {
                "payload": signed(self._flit.payload_bits),
                "base": memories.route_bits,
                "has_one": 1,
                "has_two": 1,
                "behind": count_bits,  # routes behind the second
            }
        )
        super().__init__(
            {
                "put": In(1),
                "payload": In(signed(self._flit.payload_bits)),
                "route_base": In(memories.route_bits),
                "route_count": In(count_bits),
                "done": In(1),
                "o": Out(stream.Signature(self._flit.bits)),
                "busy": Out(1),
                "w_en": In(1),
                "w_addr": In(memories.route_bits),
                "w_data": In(self._route.bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build outbox, routing memory and the two stages between them and the router."""
        m = Module()
        m.submodules.outbox = outbox = Ram(self._word.size, self._core.neurons)
        m.submodules.routes = routes = Ram(self._route.bits, self._route.rows)
        filled = Signal(range(self._core.neurons + 1))  # words of the outbox
        go = Signal()
        m.d.sync += go.eq(self.done)
        m.d.comb += [
            self.busy.eq(filled != 0),
            outbox.w_en.eq(self.put),
            outbox.w_addr.eq(filled),
            outbox.w_data.eq(
                Cat(
                    self.payload,
                    self.route_base,
                    self.route_count == 1,
                    self.route_count == 2,
                    (self.route_count - 2)[: len(self.route_count)],
                )
            ),
            routes.w_en.eq(self.w_en),
            routes.w_addr.eq(self.w_addr),
            routes.w_data.eq(self.w_data),
        ]

        # A word of the outbox stands at its read port while its routes are read one by one. A block RAM shows it late
        # in the cycle, so all but a word's first route is prepared in registers.
        word = data.View(self._word, outbox.r_data)
        has_word = Signal()
        place = Signal(range(self._core.neurons + 1))  # of the word after the one at the port
        is_first = Signal()
        route = Signal(range(self._route.rows))  # the next one, if it is not the word's first
        comes_last = Signal()  # that one is the last
        left = Signal.like(word.behind)  # behind that one
        address = Signal.like(route)
        read_route, is_last, next_word = Signal(), Signal(), Signal()
        m.d.comb += [
            read_route.eq(has_word & (~self.o.valid | self.o.ready)),
            address.eq(Mux(is_first, word.base, route)),
            is_last.eq(Mux(is_first, word.has_one, comes_last)),
            next_word.eq(go | (read_route & is_last)),
            outbox.r_en.eq(next_word),
            outbox.r_addr.eq(place),
            routes.r_en.eq(read_route),
            routes.r_addr.eq(address),
        ]
        with m.If(next_word):
            m.d.sync += [has_word.eq(place != filled), place.eq(place + 1), is_first.eq(1)]
        with m.Elif(read_route):
            m.d.sync += [
                is_first.eq(0),
                route.eq(address + 1),
                left.eq(Mux(is_first, word.behind, left - 1)),
                comes_last.eq(Mux(is_first, word.has_two, left == 1)),
            ]

        # The flit that asks the router.
        payload = Signal(signed(self._flit.payload_bits))
        flit = data.View(flit_struct(self._flit), self.o.payload)
        path = data.View(row_struct(self._route), routes.r_data)
        with m.If(self.o.ready | ~self.o.valid):
            m.d.sync += self.o.valid.eq(read_route)
        with m.If(read_route):
            m.d.sync += payload.eq(word.payload)
        m.d.comb += flit.payload.eq(payload)
        for field in self._route.fields:
            m.d.comb += flit[field.name].eq(path[field.name])

        with m.If(self.put):
            m.d.sync += filled.eq(filled + 1)
        with m.Elif(self.o.valid & self.o.ready & ~has_word):
            m.d.sync += [filled.eq(0), place.eq(0)]
        with m.If(go & (filled == 0)):
            m.d.sync += place.eq(0)
        return m
