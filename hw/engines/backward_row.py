"""A row of the backward engine: positions, their masks and gradients, and the multiply-adds of what is not 0."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..cores.arithmetic import named
from ..cores.pipeline import delayed
from ..fp.adder import FloatAdder
from ..fp.compare import is_zero
from ..fp.converter import convert
from ..fp.multiplier import FloatMultiplier
from ..memory import Ram
from .backward_sizes import PARTS_OF_A_ROW, ROW_BITS, BackwardSizes, bits_for

__all__ = ["BackwardRow"]

View = data.View


class BackwardRow(wiring.Component):
    """Hold up to ``contexts`` positions and work out their input gradients.

    Behaviour
    ---------
    Three tiles are in a row at a time.

    - *Next*: its positions come (``take``). Their masks are read part by part (``scan``); the numbers of the channels
      that a mask lets through are packed into turns of ``lanes``, in a list in memory.
    - *Current*: for each block of weights, the gradients under the tap are fetched for all contexts, those of the next
      block while this one is worked on. A round takes the next gradient that is not 0 of each context; a cycle is a
      turn of one context: ``lanes`` weights are picked from the word of that gradient's channel, by the list,
      multiplied and added to the sums of the context. Sums lie in each lane's memory by context and turn, as the list
      says. A context's next input waits until its sums can be read again, and those behind it wait with it.
    - *Previous*: its sums are unpacked, a channel a cycle (``drain``), rounded to operands, 0 where the mask is.

    Sums have two memories a lane, for the current tile and the previous one.

    Timing
    ------
    Multiply-add, with ``M`` and ``A`` stages; the same sum may be read again from cycle ``A + 2`` on::

        cycle      0      1       2      1+M    2+M    2+M+A
        turn       T
        memories  (T)     T                                     # gradient, word of weights, list
        multiply                  T
        sum                              (T)     T              # memory, adder
        write                                             T

    Drain: a part of ``part`` channels begins with ``drain_first``; three cycles after its last channel it is at
    ``result``, until the next part is. The cycles of the rest are given in `BackwardPlaces` and `BackwardWords`.

    Reset
    -----
    Idle. Memories hold anything.

    Members
    -------
    begin, swap : In(1)
        The next tile is prepared from now on; it becomes the current one.
    take : In(1), places : In(array of places)
    scan, scan_last, scan_context, scan_part, scan_tile : In
        ``scan_tile`` tells the masks of three tiles apart.
    used : In(range(contexts + 1))
        Contexts of the current tile.
    out_rows, out_columns : In(10)
        Of a frame of gradients.
    tap : In(tap), under : Out(1)
        Whether a position of the current tile lies under the tap.
    announce : In(1), announced, sent : In(2), infos : In, word : In
        From `BackwardWords`.
    has_room, idle : Out(1)
        All blocks announced are done but one; all are.
    drain, drain_first, drain_last, drain_context, drain_part, drain_place, drain_tile : In
        A channel to unpack, ``drain_place`` within its part; the first of a context, the last of a part.
    result_valid : Out(1), result_row, result : Out
    gradients_write, masks_write : In(write)
    """

    begin: Signal
    swap: Signal
    take: Signal
    places: data.View[data.ArrayLayout]
    scan: Signal
    scan_last: Signal
    scan_context: Signal
    scan_part: Signal
    scan_tile: Signal
    used: Signal
    out_rows: Signal
    out_columns: Signal
    tap: View
    under: Signal
    announce: Signal
    announced: Signal
    sent: Signal
    infos: data.View[data.ArrayLayout]
    word: View
    has_room: Signal
    idle: Signal
    drain: Signal
    drain_first: Signal
    drain_last: Signal
    drain_context: Signal
    drain_part: Signal
    drain_place: Signal
    drain_tile: Signal
    result_valid: Signal
    result_row: Signal
    result: Signal
    gradients_write: View
    masks_write: View

    def __init__(self, sizes: BackwardSizes) -> None:
        self._sizes = sizes
        super().__init__(
            {
                "begin": In(1),
                "swap": In(1),
                "take": In(1),
                "places": In(data.ArrayLayout(sizes.place, sizes.contexts)),
                "scan": In(1),
                "scan_last": In(1),
                "scan_context": In(sizes.context_bits),
                "scan_part": In(bits_for(sizes.parts)),
                "scan_tile": In(2),
                "used": In(range(sizes.contexts + 1)),
                "out_rows": In(10),
                "out_columns": In(10),
                "tap": In(sizes.tap),
                "under": Out(1),
                "announce": In(1),
                "announced": In(2),
                "sent": In(2),
                "infos": In(data.ArrayLayout(sizes.info, 2)),
                "word": In(sizes.word),
                "has_room": Out(1),
                "idle": Out(1),
                "drain": In(1),
                "drain_first": In(1),
                "drain_last": In(1),
                "drain_context": In(sizes.context_bits),
                "drain_part": In(bits_for(sizes.parts)),
                "drain_place": In(bits_for(sizes.part)),
                "drain_tile": In(2),
                "result_valid": Out(1),
                "result_row": Out(ROW_BITS),
                "result": Out(sizes.row_bits),
                "gradients_write": In(sizes.write),
                "masks_write": In(sizes.write),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build what happens to a position, from its masks to its results."""
        m = Module()
        sizes = self._sizes
        m.submodules.masks = Ram(sizes.part, 3 * sizes.contexts * sizes.parts)
        current, previous = self._positions(m)
        ping = Signal()  # which memories are the current tile's
        with m.If(self.swap):
            m.d.sync += ping.eq(~ping)
        lists = Ram(sizes.turns * sizes.lanes * bits_for(sizes.channels), 2 * sizes.contexts)
        m.submodules.lists = lists
        turns = self._pack(m, lists, ~ping)

        under = self._under(m, current)
        m.d.comb += self.under.eq(under.any())
        flags, values, load, ready = self._fetch(m, current, under)
        touched = self._work(m, turns, flags, values, lists, load, ready, ping)
        self._drain(m, previous, touched)
        return m

    # -------------------------------------------------------------------------------- next positions

    def _positions(self, m: Module) -> tuple[list[View], list[View]]:
        """Keep the positions of three tiles; return the current ones and the previous."""
        generations = [
            [Signal(self._sizes.place, name=f"{name}_{c}") for c in range(self._sizes.contexts)]
            for name in ("next", "current", "previous")
        ]
        for c, (place, current, previous) in enumerate(zip(*generations, strict=True)):
            with m.If(self.take):
                m.d.sync += place.eq(self.places[c])
            with m.If(self.begin):
                m.d.sync += place.valid.eq(0)
            with m.If(self.swap):
                m.d.sync += [current.eq(place), previous.eq(current)]
        self._next = generations[0]
        return generations[1], generations[2]

    def _pack(self, m: Module, lists: Ram, half: Value) -> list[Signal]:
        """Read masks, list the channels that they let through; return each current context's turns."""
        sizes = self._sizes
        part, channel_bits = sizes.part, bits_for(sizes.channels)
        m.submodules.mask_rows = rows = Ram(sizes.row_bits, sizes.buffer_rows)
        place = Signal(sizes.place)
        for c, candidate in enumerate(self._next):
            with m.If(self.scan_context == c):
                m.d.comb += place.eq(candidate)
        at = named(m, "mask_at", place.mask + self.scan_part)
        m.d.comb += [
            rows.w_en.eq(self.masks_write.en),
            rows.w_addr.eq(self.masks_write.row),
            rows.w_data.eq(self.masks_write.data),
            rows.r_en.eq(self.scan),
            rows.r_addr.eq(at[bits_for(PARTS_OF_A_ROW) :]),
        ]
        # A cycle later.
        scan, is_valid = delayed(m, self.scan, 1), delayed(m, place.valid, 1)
        number, context = delayed(m, self.scan_part, 1), delayed(m, self.scan_context, 1)
        is_first, is_last = number == 0, delayed(m, self.scan_last, 1)
        chosen = delayed(m, at[: bits_for(PARTS_OF_A_ROW)], 1)
        bits = named(
            m, "mask_bits", rows.r_data.word_select(chosen, part) & is_valid.replicate(part)
        )
        masks = m.submodules.masks
        m.d.comb += [
            masks.w_en.eq(scan),
            masks.w_addr.eq(self._mask_address(delayed(m, self.scan_tile, 1), context, number)),
            masks.w_data.eq(bits),
        ]
        counted = Signal(range(sizes.channels + 1))
        count: Value = named(m, "counted_before", Mux(is_first, 0, counted))
        entries = [
            Signal(channel_bits, name=f"entry_{n}") for n in range(sizes.turns * sizes.lanes)
        ]
        for n in range(part):
            with m.If(scan & bits[n]):
                for rank, entry in enumerate(entries):
                    with m.If(count == rank):
                        m.d.sync += entry.eq(number * part + n)
            count = named(m, f"counted_{n}", (count + bits[n])[: len(counted)])
        with m.If(scan):
            m.d.sync += counted.eq(count)
        m.d.comb += [
            lists.w_en.eq(delayed(m, scan & is_last, 1)),
            lists.w_addr.eq(delayed(m, context, 1) + Mux(half, sizes.contexts, 0)),
            lists.w_data.eq(Cat(*entries)),
        ]
        current = []
        for c in range(sizes.contexts):
            following = Signal(range(sizes.turns + 1), name=f"next_turns_{c}")
            turns = Signal(range(sizes.turns + 1), name=f"turns_{c}")
            with m.If(scan & is_last & (context == c)):
                m.d.sync += following.eq(sum((count > t * sizes.lanes) for t in range(sizes.turns)))
            with m.If(self.begin):
                m.d.sync += following.eq(0)
            with m.If(self.swap):
                m.d.sync += turns.eq(following)
            current.append(turns)
        return current

    def _mask_address(self, tile: Value, context: Value, part: Value) -> Value:
        sizes = self._sizes
        return (tile * sizes.contexts + context) * sizes.parts + part

    # ------------------------------------------------------------------------------ current gradients

    def _under(self, m: Module, current: list[View]) -> Signal:
        """Return which contexts have a position under the tap."""
        under = Signal(len(current))
        for c, place in enumerate(current):
            y, x = place.y - self.tap.y, place.x - self.tap.x
            m.d.comb += under[c].eq(
                place.valid
                & (place.phase_y == self.tap.phase_y)
                & (place.phase_x == self.tap.phase_x)
                & (y >= 0)
                & (y < self.out_rows)
                & (x >= 0)
                & (x < self.out_columns)
            )
        return under

    def _fetch(
        self, m: Module, current: list[View], under: Signal
    ) -> tuple[list[Signal], Ram, Signal, Signal]:
        """Read the gradients of the block that comes next.

        Returns which of them are not 0, by context; the memory with their values; a signal for the user to set when it
        takes them over, and one that says whether they are there.
        """
        sizes = self._sizes
        m.submodules.gradient_rows = rows = Ram(sizes.row_bits, sizes.buffer_rows)
        depth_parts = sizes.depth // sizes.part
        m.submodules.values = values = Ram(sizes.row_bits, 2 * sizes.contexts * depth_parts)
        unders = [Signal(sizes.contexts, name=f"under_{n}") for n in range(2)]
        for n, kept in enumerate(unders):
            with m.If(self.announce & (self.announced[0] == n)):
                m.d.sync += kept.eq(under)

        begun = Signal(2)
        reads, reading, ready, load = Signal(), Signal(), Signal(), Signal()
        context, part = Signal(sizes.context_bits), Signal(bits_for(depth_parts))
        half = begun[0]
        info, is_under = self.infos[half], Mux(half, unders[1], unders[0])
        is_last_part = part == info.parts - 1
        is_last = named(m, "fetch_ends", reads & is_last_part & (context == self.used - 1))
        base = Signal(ROW_BITS)
        for c, place in enumerate(current):
            with m.If(context == c):
                m.d.comb += base.eq(place.gradient)
        m.d.comb += [
            reads.eq(reading | (~ready & (self.announced != begun) & ~delayed(m, is_last, 1))),
            rows.w_en.eq(self.gradients_write.en),
            rows.w_addr.eq(self.gradients_write.row),
            rows.w_data.eq(self.gradients_write.data),
            rows.r_en.eq(reads),
            rows.r_addr.eq(base + info.gradient + part),
        ]
        with m.If(reads):
            m.d.sync += [part.eq(part + 1), reading.eq(~is_last)]
            with m.If(is_last_part):
                m.d.sync += [part.eq(0), context.eq(context + 1)]
            with m.If(is_last):
                m.d.sync += context.eq(0)

        # A cycle later.
        came, of, number = delayed(m, reads, 1), delayed(m, context, 1), delayed(m, part, 1)
        is_of_tap = delayed(m, is_under.bit_select(context, 1), 1)
        flags = [Signal(sizes.depth, name=f"next_flags_{c}") for c in range(sizes.contexts)]
        found = Cat(
            ~is_zero(rows.r_data.word_select(n, sizes.form.bits), sizes.form) & is_of_tap
            for n in range(sizes.part)
        )
        for c, kept in enumerate(flags):
            for p in range(depth_parts):
                with m.If(came & (of == c) & (number == p)):
                    m.d.sync += kept[p * sizes.part : (p + 1) * sizes.part].eq(found)
            with m.If(load):
                m.d.sync += kept.eq(0)
        m.d.comb += [
            values.w_en.eq(came),
            values.w_addr.eq((half * sizes.contexts + of) * depth_parts + number),
            values.w_data.eq(rows.r_data),
        ]
        with m.If(delayed(m, is_last, 1)):
            m.d.sync += ready.eq(1)
        with m.If(load):
            m.d.sync += [ready.eq(0), begun.eq(begun + 1)]
        self._begun = begun
        return flags, values, load, ready

    # ------------------------------------------------------------------------------------------- work

    def _work(
        self, m: Module, turns: list[Signal], flags: list[Signal], values: Ram, lists: Ram, load: Signal,
        ready: Signal, ping: Signal,
    ) -> Signal:  # fmt: skip
        """Go through blocks, rounds and turns; return which contexts of the previous tile have sums."""
        sizes = self._sizes
        contexts, depth = sizes.contexts, sizes.depth
        left = [Signal(depth, name=f"flags_{c}") for c in range(contexts)]  # inputs to take
        pending = Signal(contexts)  # contexts whose turns of this round are to come
        busy, half = Signal(), Signal()
        turn = Signal(bits_for(sizes.turns))
        # From a context's input to its next, whose turns read the same sums.
        spacing = sizes.adder_stages + 2
        waits = [Signal(range(spacing), name=f"wait_{c}") for c in range(contexts)]

        # The lowest pending context, and its lowest input.
        context, index = Signal(sizes.context_bits), Signal(bits_for(depth))
        chosen, last_turn = Signal(depth), Signal(range(sizes.turns + 1))
        is_readable = Signal()
        for c in reversed(range(contexts)):
            with m.If(pending[c]):
                m.d.comb += [
                    context.eq(c),
                    chosen.eq(left[c]),
                    last_turn.eq(turns[c] - 1),
                    is_readable.eq((turn != 0) | (waits[c] == 0)),
                ]
        for k in reversed(range(depth)):
            with m.If(chosen[k]):
                m.d.comb += index.eq(k)
        rest = named(m, "rest", chosen & (chosen - 1)[:depth])
        issue, is_last_turn = Signal(), Signal()
        m.d.comb += [
            issue.eq(is_readable),
            is_last_turn.eq(issue & (turn == last_turn)),
        ]
        still, more = Signal(contexts), Signal(contexts)  # pending after this cycle; with inputs
        for c in range(contexts):
            is_taken = is_last_turn & (context == c)
            m.d.comb += [
                still[c].eq(pending[c] & ~is_taken),
                more[c].eq(Mux(is_taken, rest.any(), left[c].any())),
            ]
            with m.If(is_taken):
                m.d.sync += left[c].eq(rest)
        round_ends = Signal()
        m.d.comb += [
            round_ends.eq(is_last_turn & ~still.any()),
            busy.eq(pending.any()),
            load.eq(ready & (self.sent != self._begun) & (~busy | (round_ends & ~more.any()))),
        ]
        with m.If(issue):
            m.d.sync += turn.eq(Mux(is_last_turn, 0, turn + 1))
        m.d.sync += pending.eq(still)
        with m.If(round_ends):
            m.d.sync += pending.eq(more)
        for c, wait in enumerate(waits):
            with m.If(issue & (turn == 0) & (context == c)):
                m.d.sync += wait.eq(spacing - 1)
            with m.Elif(wait != 0):
                m.d.sync += wait.eq(wait - 1)
        with m.If(load):
            m.d.sync += half.eq(self._begun[0])
            for c, (kept, taken) in enumerate(zip(left, flags, strict=True)):
                is_wanted = turns[c] != 0
                m.d.sync += [
                    kept.eq(Mux(is_wanted, taken, 0)),
                    pending[c].eq(is_wanted & taken.any()),
                ]
        behind = (self.announced - (self._begun - busy))[:2]
        m.d.comb += [self.has_room.eq(behind <= 1), self.idle.eq(behind == 0)]

        touched, touched_before = Signal(contexts), Signal(contexts)
        for c in range(contexts):
            with m.If(is_last_turn & (context == c)):
                m.d.sync += touched[c].eq(1)
        with m.If(self.swap):
            m.d.sync += [touched.eq(0), touched_before.eq(touched)]

        # Memories: gradient, word of weights, list.
        depth_parts = depth // sizes.part
        m.submodules.words = words = Ram(sizes.word_bits, 2 * depth)
        m.d.comb += [
            words.w_en.eq(self.word.en),
            words.w_addr.eq(self.word.index + Mux(self.word.half, depth, 0)),
            words.w_data.eq(self.word.data),
            words.r_en.eq(issue),
            words.r_addr.eq(index + Mux(half, depth, 0)),
            values.r_en.eq(issue),
            values.r_addr.eq((half * contexts + context) * depth_parts + (index // sizes.part)),
            lists.r_en.eq(issue),
            lists.r_addr.eq(context + Mux(ping, contexts, 0)),
        ]
        gradient = Signal(sizes.form.bits)
        place = delayed(m, index % sizes.part, 1)
        m.d.sync += gradient.eq(values.r_data.word_select(place, sizes.form.bits))
        now = delayed(m, turn, 1)
        channel_bits = bits_for(sizes.channels)
        listed = named(m, "listed", lists.r_data.word_select(now, sizes.lanes * channel_bits))
        valid, is_fresh = issue, ~touched.bit_select(context, 1)
        address = named(m, "sum_at", context * sizes.turns + turn)
        self._sums = []
        before, add = sizes.multiplier_stages + 1, sizes.multiplier_stages + 2
        write = add + sizes.adder_stages
        timed = {
            "read": (delayed(m, valid, before), delayed(m, address, before)),
            "write": (delayed(m, valid, write), delayed(m, address, write)),
        }
        fresh = delayed(m, is_fresh, add)
        for lane in range(sizes.lanes):
            weight = Signal(sizes.form.bits, name=f"weight_{lane}")
            channel = listed.word_select(lane, channel_bits)
            m.d.sync += weight.eq(words.r_data.word_select(channel, sizes.form.bits))
            multiplier = FloatMultiplier(
                sizes.form, sizes.multiplier_stages, result=sizes.accumulator
            )
            adder = FloatAdder(sizes.accumulator, sizes.adder_stages)
            m.submodules[f"multiplier_{lane}"], m.submodules[f"adder_{lane}"] = multiplier, adder
            pair = [Ram(sizes.accumulator.bits, sizes.contexts * sizes.turns) for _ in range(2)]
            m.submodules[f"sums_{lane}_0"], m.submodules[f"sums_{lane}_1"] = pair
            m.d.comb += [
                multiplier.a.eq(gradient),
                multiplier.b.eq(weight),
                adder.a.eq(Mux(fresh, 0, Mux(ping, pair[1].r_data, pair[0].r_data))),
                adder.b.eq(multiplier.result),
            ]
            for n, ram in enumerate(pair):
                m.d.comb += [
                    ram.w_en.eq(timed["write"][0] & (ping == n)),
                    ram.w_addr.eq(timed["write"][1]),
                    ram.w_data.eq(adder.result),
                    ram.r_en.eq(timed["read"][0]),
                    ram.r_addr.eq(timed["read"][1]),
                ]
            self._sums.append(pair)
        self._ping = ping
        return touched_before

    # ------------------------------------------------------------------------------------------ drain

    def _drain(self, m: Module, previous: list[View], touched: Signal) -> None:
        """Unpack the sums of the previous tile."""
        sizes = self._sizes
        masks = m.submodules.masks
        m.d.comb += [
            masks.r_en.eq(self.drain & (self.drain_place == 0)),
            masks.r_addr.eq(
                self._mask_address(self.drain_tile, self.drain_context, self.drain_part)
            ),
        ]
        # A cycle later: the mask, and the place of the sum.
        active, place = delayed(m, self.drain, 1), delayed(m, self.drain_place, 1)
        context, is_first = delayed(m, self.drain_context, 1), delayed(m, self.drain_first, 1)
        is_wanted = named(m, "is_wanted", active & masks.r_data.bit_select(place, 1))
        lane, turn = Signal(bits_for(sizes.lanes)), Signal(bits_for(sizes.turns))
        lane_now = named(m, "lane_now", Mux(is_first, 0, lane))
        turn_now = named(m, "turn_now", Mux(is_first, 0, turn))
        with m.If(active):
            m.d.sync += [lane.eq(lane_now), turn.eq(turn_now)]
        with m.If(is_wanted):
            m.d.sync += lane.eq(lane_now + 1)
            with m.If(lane_now == sizes.lanes - 1):
                m.d.sync += [lane.eq(0), turn.eq(turn_now + 1)]
        for pair in self._sums:
            for n, ram in enumerate(pair):
                with m.If(self._ping != n):
                    m.d.comb += [
                        ram.r_en.eq(is_wanted),
                        ram.r_addr.eq(context * sizes.turns + turn_now),
                    ]
        # And a cycle later: the sum.
        read = [Mux(self._ping, pair[0].r_data, pair[1].r_data) for pair in self._sums]
        kept = delayed(m, lane_now, 1)
        value = Signal(sizes.accumulator.bits)
        for n, word in enumerate(read):
            with m.If(kept == n):
                m.d.comb += value.eq(word)
        is_there = delayed(m, is_wanted & touched.bit_select(context, 1), 1)
        operand = named(
            m, "operand",
            Mux(is_there, convert(m, value, sizes.accumulator, sizes.form), 0)[: sizes.form.bits],
        )  # fmt: skip
        whole = [Signal(sizes.form.bits, name=f"whole_{n}") for n in range(sizes.part - 1)]
        number = delayed(m, place, 1)
        for n, kept_word in enumerate(whole):
            with m.If(number == n):
                m.d.sync += kept_word.eq(operand)
        of, part = delayed(m, context, 1), delayed(m, self.drain_part, 2)
        with m.If(delayed(m, self.drain_last, 2)):
            m.d.sync += self.result.eq(Cat(*whole, operand))
            for c, position in enumerate(previous):
                with m.If(of == c):
                    m.d.sync += [
                        self.result_valid.eq(position.valid),
                        self.result_row.eq(position.result + part),
                    ]
