"""The host's end of the load chain: sends words around the ring, and keeps what answers a read."""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ...chip.config import ManyCoreConfig
from ...chip.host_link import HostLink
from .host_layouts import beat_struct, chain_struct
from .load_node import SLICE_WORDS

__all__ = ["LoadRoot"]


class LoadRoot(wiring.Component):
    """Hand words to the ring and take them back, counting those on their way.

    Behaviour
    ---------
    All words that are sent come back (`LoadNode`) and are dropped. While ``is_reading``, data that comes back is the
    answer, and the header that comes back ends it. A read must not begin before ``is_empty``: then all data answers
    it. Which data is the last is known only when the header comes; so an answer, whose first beat is the header as
    sent, is handed out one beat late.

    Timing
    ------
    *Latency*: none on the way out and for all but the last beat of an answer. *Throughput*: a word a cycle.
    *Back-pressure*: words come back freely unless ``is_reading``, when ``chain_in.ready`` follows ``answer.ready``.

    A read of two beats ``a`` and ``b``; the ring takes two cycles::

        cycle          0    1    2    3    4    5
        words          H    -    -    -    -    -
        is_reading     0    1    1    1    1    0
        chain_in       -    -    a    b    H'   -
        answer         -    -    H    a    b    -     # b: last

    Reset
    -----
    Nothing on the ring.

    Parameters
    ----------
    config : ManyCoreConfig
        Gives the ring's size.

    Members
    -------
    words : In(stream of `chain_struct`)
        To send.
    chain_out : Out(stream of `chain_struct`), chain_in : In(stream of `chain_struct`)
        The ring.
    header : In(beat bits)
        The header of the next read: valid in the cycle before ``is_reading``.
    is_reading : In(1)
        From the cycle after a READ's header was sent to the last beat of ``answer``.
    answer : Out(stream of `beat_struct`)
        The answer to a read.
    is_empty : Out(1)
        No word was on the ring in the cycle before, and none was sent.
    """

    words: stream.Interface
    chain_out: stream.Interface
    chain_in: stream.Interface
    header: Signal
    is_reading: Signal
    answer: stream.Interface
    is_empty: Signal

    def __init__(self, config: ManyCoreConfig) -> None:
        link = HostLink(config)
        # A slice in each tile, one before and one behind them.
        self.ring_words = SLICE_WORDS * (config.core_count + 2)
        words = stream.Signature(chain_struct(link))
        super().__init__(
            {
                "words": In(words),
                "chain_out": Out(words),
                "chain_in": In(words),
                "header": In(link.beat_bits),
                "is_reading": In(1),
                "answer": Out(stream.Signature(beat_struct(link))),
                "is_empty": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the count of words on the ring and the beat held back."""
        m = Module()
        words, chain_out, chain_in, answer = self.words, self.chain_out, self.chain_in, self.answer
        on_ring = Signal(range(self.ring_words + 1))
        held = Signal.like(self.header)
        sent = Signal()
        was_empty = Signal(init=1)
        returned = Signal()
        m.d.comb += [
            chain_out.valid.eq(words.valid),
            chain_out.payload.eq(words.payload),
            words.ready.eq(chain_out.ready),
            chain_in.ready.eq(~self.is_reading | answer.ready),
            answer.valid.eq(self.is_reading & chain_in.valid),
            answer.payload.data.eq(held),
            answer.payload.last.eq(chain_in.payload.header),
            sent.eq(words.valid & words.ready),
            returned.eq(
                chain_in.valid & chain_in.ready & (~self.is_reading | chain_in.payload.header)
            ),
            self.is_empty.eq(was_empty),
        ]
        m.d.sync += [
            on_ring.eq(on_ring + sent - returned),
            was_empty.eq((on_ring == 0) & ~sent),
        ]
        with m.If(~self.is_reading):
            m.d.sync += held.eq(self.header)
        with m.Elif(answer.valid & answer.ready):
            m.d.sync += held.eq(chain_in.payload.data)
        return m
