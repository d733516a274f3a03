"""The lookup engine: sums of operands that binary inputs choose. Forward pass and weight update are one component."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value, ValueCastable
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ...chip.formats import FP32
from ...chip.learn_command import LOOKUP_FIELDS
from ...chip.learn_config import LearnConfig
from ...chip.learn_timing import table_schedule
from ..cores.pipeline import delayed
from ..fp.converter import convert
from ..memory import ByName
from .layouts import task_struct
from .lookup_row import LookupRow
from .lookup_walk import ADDRESS_BITS, Geometry, Place, PositionWalk, TapWalk

__all__ = ["LookupEngine"]

ROW_BITS = 16
COUNT_BITS = 16
OPERAND_STAGES = 2  # from an operand's row to the table: the memory's, a register
FETCH_STAGES = 4  # from an input's place to a table's address: place, row, the memory's, word


class LookupEngine(wiring.Component):
    """Work out one task of FORWARD_SUMS, or of WEIGHT_GRADIENTS: docs/blocks/learning.md.

    Behaviour
    ---------
    As ``forward_sums`` or ``update_sums`` of ``sim/engines/lookup.py``, with frames in the order of memory, and padded
    channels as all others. A row is an output channel of a word. Lane ``c``'s sum ``k`` of a tile is

    - *forward*: the position ``tile C I + c I + k`` of all frames. Each cycle a column reads one word of its sum's
      position: the address of a table.
    - *update*: the channel ``k`` of the pair ``tile C + c`` of tap and input word. In a plane's ``I`` cycles a column
      reads the words of a group's positions; turned by 90 degrees, they are the addresses of its ``I`` sums.

    An input word's place is the sum of two walks: one runs (forward: taps and input words; update: positions), the
    other one lists a tile's outputs while the tile before is worked on (forward: positions; update: taps and input
    words). A sequencer goes ahead of the inputs by the time that it takes to build a table.

    Timing
    ------
    As `spikeloom.chip.learn_timing.forward_cycles` and ``update_cycles``, whatever the data. Buffers are read with the
    timing of `Ram`. Every column reads a copy of the input buffer of its own. Results are a word of sums a cycle, in
    bursts while the next tile runs, without gaps in the memory::

        cycle        s    s+1  s+2  s+3       ...           s+busy-1   s+busy
        start        1    0    0    0                       0          1
        task         T    T    T    T         T             T          U
        operand_en                  1 of the first tile ...
        result_en                             ...           1
        done         0    0    0    0                       1          0

    Reset
    -----
    Idle.

    Parameters
    ----------
    config : LearnConfig
        With `check_carried` passed.
    is_update : bool
        Which of the two engines.

    Members
    -------
    start : In(1)
        Of a task, no earlier than the cycle after ``done``.
    task : In(LOOKUP_FIELDS)
        Stable from ``start`` to ``done``.
    done : Out(1)
        In the task's last cycle.
    operand_en, operand_row, operand_data
        Out, Out, In. Read port of the weights or gradients.
    inputs : array of (en, row, data)
        Read ports of the inputs, one a column.
    result_en, result_row, result_data
        Out. Write port of the results: a word of 32-bit sums.

    Raises
    ------
    ValueError
        If sizes differ that must be one, or operands and sums are of different 16-bit formats: rounding then is twice.
    """

    start: Signal
    task: data.View[data.StructLayout]
    done: Signal
    operand_en: Signal
    operand_row: Signal
    operand_data: Signal
    inputs: list[Any]
    result_en: Signal
    result_row: Signal
    result_data: Signal

    def __init__(self, config: LearnConfig, *, is_update: bool) -> None:
        engine = config.update if is_update else config.forward
        width = engine.rows
        if not engine.group == engine.interleave == width or width < 2 or width & (width - 1):
            raise ValueError(
                f"rows, group and interleave must be one power of two from 2 on, not {width}, {engine.group} and "
                f"{engine.interleave}"
            )
        if config.operand_format.bits != 16:
            raise ValueError(f"operands must be of 16 bits, not {config.operands}")
        if config.accumulators not in ("fp32", config.operands):
            raise ValueError(
                f"accumulators must be fp32 or {config.operands} as the operands, not {config.accumulators}"
            )
        self.config = config
        self.engine = engine
        self.is_update = is_update
        self.width = width
        self.columns = engine.columns
        self.schedule = table_schedule(width, width, config.adder_stages)
        row = 32 * width
        read_port = wiring.Signature({"en": Out(1), "row": Out(ROW_BITS), "data": In(row)})
        super().__init__(
            {
                "start": In(1),
                "task": In(task_struct(LOOKUP_FIELDS)),
                "done": Out(1),
                "operand_en": Out(1),
                "operand_row": Out(ROW_BITS),
                "operand_data": In(row),
                "inputs": Out(read_port).array(self.columns),
                "result_en": Out(1),
                "result_row": Out(ROW_BITS),
                "result_data": Out(row),
            }
        )

    @property
    def ahead(self) -> int:
        """Cycles from the sequencer to an input's place."""
        turn = self.width if self.is_update else 0
        return self.schedule.length + OPERAND_STAGES + 1 - FETCH_STAGES - turn

    @property
    def listed(self) -> int:
        """Outputs of a tile that are listed."""
        return self.columns * (1 if self.is_update else self.width)

    def elaborate(self, platform: object) -> Module:
        """Build set-up, sequencer, operands, inputs, rows and the results' way out."""
        m = Module()
        geometry, counts = self._set_up(m)
        go = delayed(m, self.start, 2)  # the set-up is through
        item = self._sequencer(m, go, counts)
        operands = self._operands(m, go, item, counts)

        here = item.later(self.ahead)  # for the inputs
        running = self._running(m, go, here, geometry)
        listed = self._listed(m, go, here, geometry)
        words = self._fetch(m, running, listed)
        turn = self.width if self.is_update else 0
        addresses = self._turned(m, here, words) if self.is_update else words

        look_up = here.later(FETCH_STAGES + turn)
        scale = look_up.later(1)
        add = scale.later(1)
        rows: list[LookupRow] = []
        for number in range(self.width):
            row = LookupRow(
                self.config.accumulator_format, self.columns, self.width, self.width, self.config.adder_stages,
            )  # fmt: skip
            m.submodules[f"row_{number}"] = ByName(row, row.module)
            rows.append(row)
            m.d.comb += [
                row.start.eq(delayed(m, item.group_starts, OPERAND_STAGES)),
                row.operand.eq(operands[number]),
                row.addresses.eq(Cat(addresses)),
                row.amount.eq(scale.amount),
                row.negative.eq(scale.negative),
                row.first.eq(add.is_first),
            ]
        stages = self.config.adder_stages
        after = FETCH_STAGES - 1 + turn + 2 + stages  # from an input's place with its output's
        valid = [delayed(m, place.valid, after) for place in listed]
        self._results(m, go, add.later(stages), rows, valid)

        # The last word is written so long after the sequencer's last cycle.
        last = self.schedule.length + stages + 6 + (self.columns - 1) * self.width
        left = Signal(range(last + 1))
        m.d.comb += self.done.eq(left == 1)
        with m.If(item.ends_task):
            m.d.sync += left.eq(last)
        with m.Elif(left != 0):
            m.d.sync += left.eq(left - 1)
        return m

    def _set_up(self, m: Module) -> tuple[data.View[data.StructLayout], _Counts]:
        """Work out what the walks count by, in two steps: products of two fields, then of three."""
        task = self.task
        geometry = Signal(Geometry)
        row_words, column_step, row_step, first = (Signal(ADDRESS_BITS) for _ in range(4))
        positions, taps = Signal(COUNT_BITS), Signal(8)
        side = Signal(16)  # words of the padding's columns
        m.d.sync += [
            row_words.eq(task.in_columns * task.in_words),
            positions.eq(task.out_rows * task.out_columns),
            taps.eq(task.kernel_rows * task.kernel_columns),
            side.eq(task.pad_columns * task.in_words),
            column_step.eq(task.stride_columns * task.in_words),
        ]
        counts = _Counts(positions, Signal(COUNT_BITS), Signal(COUNT_BITS))
        place_bits = (32 - 1).bit_length()
        m.d.sync += [
            first.eq((task.input_row << place_bits) - task.pad_rows * row_words - side),
            row_step.eq(task.stride_rows * row_words),
            counts.all_positions.eq(task.frames * positions),
            counts.pairs.eq(taps * task.in_words),
        ]
        m.d.comb += [
            geometry.first_y.eq(-task.pad_rows),
            geometry.first_x.eq(-task.pad_columns),
            geometry.frame_step.eq(task.input_frame_rows << place_bits),
            geometry.in_row_step.eq(row_words),
            geometry.first.eq(first),
            geometry.column_step.eq(column_step),
            geometry.row_step.eq(row_step),
        ]
        m.d.comb += [
            geometry[name].eq(task[name])
            for name in (
                "frames", "out_rows", "out_columns", "stride_rows", "stride_columns", "kernel_rows", "kernel_columns",
                "in_words",
            )
        ]  # fmt: skip
        return geometry, counts

    def _sequencer(self, m: Module, go: Value, counts: _Counts) -> _Item:
        """Count output words, tiles, groups, planes and sums."""
        task, width = self.task, self.width
        wait = max(self.listed - self.ahead, 0)  # the first tile's outputs are listed before
        groups = Signal(COUNT_BITS)  # of a tile
        outputs = Signal(COUNT_BITS)  # of an output word: positions, or pairs of tap and input word
        if self.is_update:
            m.d.comb += [
                groups.eq((counts.all_positions + (width - 1)) >> (width - 1).bit_length()),
                outputs.eq(counts.pairs),
            ]
        else:
            m.d.comb += [groups.eq(counts.pairs), outputs.eq(counts.all_positions)]

        is_active = Signal()
        is_through = Signal()  # with the tile's groups; its results need longer
        k = Signal(range(width))
        plane = Signal(4)
        groups_left, outputs_left = Signal(COUNT_BITS), Signal(COUNT_BITS)
        is_first_group, is_first_tile = Signal(), Signal()
        words_left = Signal(12)
        spare = Signal(range(self.columns))

        ends_period = is_active & (k == width - 1)
        is_last_plane = plane == task.planes - 1
        is_last_group = groups_left == 1
        ends_tile = ends_period & (is_through | (is_last_plane & is_last_group)) & (spare == 0)
        is_last_tile = outputs_left <= self.listed
        ends_word = ends_tile & is_last_tile
        ends_task = ends_word & (words_left == 1)
        valid = is_active & ~is_through

        with m.If(is_active):
            m.d.sync += k.eq(k + 1)
        with m.If(ends_period):
            m.d.sync += spare.eq(Mux(spare == 0, 0, spare - 1))
            with m.If(~is_last_plane):
                m.d.sync += plane.eq(plane + 1)
            with m.Else():
                m.d.sync += [plane.eq(0), is_first_group.eq(0), groups_left.eq(groups_left - 1)]
                with m.If(is_last_group):
                    m.d.sync += is_through.eq(1)
        starts_tile = ends_tile | delayed(m, go, wait)
        with m.If(ends_tile):
            m.d.sync += [outputs_left.eq(outputs_left - self.listed), is_first_tile.eq(0)]
        with m.If(ends_word | go):
            m.d.sync += [outputs_left.eq(outputs), is_first_tile.eq(1)]
        with m.If(ends_word):
            m.d.sync += words_left.eq(words_left - 1)
        with m.If(go):
            m.d.sync += words_left.eq(task.out_words)
        with m.If(starts_tile):
            m.d.sync += [
                is_active.eq(1), is_through.eq(0), k.eq(0), plane.eq(0), groups_left.eq(groups), is_first_group.eq(1),
                spare.eq(self.columns - 1),
            ]  # fmt: skip
        with m.If(ends_task):
            m.d.sync += is_active.eq(0)

        is_first_period = is_first_group & (plane == 0)
        is_last_period = is_last_group & is_last_plane
        m.submodules.said = said = Module()
        values = {
            "valid": valid,
            "k": k,
            "is_first_plane": plane == 0,
            "ends_plane": valid & ends_period,
            "ends_group": valid & ends_period & is_last_plane,
            "is_first": is_first_period,  # of the entries of its sum
            "is_last": valid & is_last_period,
            "starts_tile": valid & is_first_period & (k == 0),
            "ends_inputs": valid & is_last_period & ends_period,  # of a tile
            "is_first_tile": is_first_tile,  # of an output word
            "amount": (task.planes - 1 - plane)[:3],
            "negative": task.signed & is_last_plane,
            "group_starts": valid & (plane == 0) & (k == 0),
            "ends_tile": ends_tile,
            "ends_word": ends_word,
            "ends_task": ends_task,
        }
        return _Item(said, {name: [value] for name, value in values.items()})

    def _operands(self, m: Module, go: Value, item: _Item, counts: _Counts) -> list[Value]:
        """Read a group's operands, a word a cycle; return those of the rows, as they go to the tables."""
        task, width = self.task, self.width
        fetches = item.valid & item.is_first_plane
        row, row_of_word = Signal(ROW_BITS), Signal(ROW_BITS)
        is_upper = Signal()  # the word in the row
        m.d.comb += self.operand_row.eq(row)
        if self.is_update:
            position, frame = Signal(COUNT_BITS), Signal(COUNT_BITS)  # left, this one too
            row_of_frame, next_frame = Signal(ROW_BITS), Signal(ROW_BITS)
            odd = Signal()  # output word
            is_there = Signal()  # the position; behind the last one operands may be any, for no input bit chooses them
            next_word = Signal(ROW_BITS)
            m.d.comb += [
                self.operand_en.eq(fetches & is_there),
                is_upper.eq(odd),
                next_frame.eq(row_of_frame + task.operand_frame_rows),
                next_word.eq(row_of_word + (item.ends_word & odd)),
            ]
            with m.If(fetches):
                m.d.sync += [position.eq(position - 1), row.eq(row + task.out_words[1:])]
                with m.If(position == 1):
                    m.d.sync += [
                        position.eq(counts.positions), frame.eq(frame - 1), row_of_frame.eq(next_frame),
                        row.eq(next_frame),
                    ]  # fmt: skip
                    with m.If(frame == 1):
                        m.d.sync += is_there.eq(0)
            with m.If(item.ends_tile | go):
                first = Mux(go, task.operand_row, next_word)
                m.d.sync += [
                    position.eq(counts.positions), frame.eq(task.frames), is_there.eq(1), row.eq(first),
                    row_of_frame.eq(first), row_of_word.eq(first), odd.eq(~go & (odd ^ item.ends_word)),
                ]  # fmt: skip
        else:
            next_row = Signal(ROW_BITS)
            m.d.comb += [
                self.operand_en.eq(fetches & ~item.k[0]),
                is_upper.eq(item.k[0]),
                next_row.eq(row + (fetches & item.k[0])),
            ]
            m.d.sync += row.eq(next_row)
            with m.If(item.ends_word):
                m.d.sync += row_of_word.eq(next_row)
            with m.Elif(item.ends_tile):
                m.d.sync += row.eq(row_of_word)
            with m.If(go):
                m.d.sync += [row.eq(task.operand_row), row_of_word.eq(task.operand_row)]

        config, half = self.config, 16 * width
        word = Signal(half, reset_less=True)
        chosen = Mux(delayed(m, is_upper, 1), self.operand_data[half:], self.operand_data[:half])
        m.d.sync += word.eq(chosen)
        operands: list[Value] = []
        for number in range(width):
            value = word.word_select(number, 16)
            value = Cat(value[:-1], value[-1] & value[:-1].any())  # +0 + -0 is +0
            operands.append(
                convert(m, value, config.operand_format, config.accumulator_format)
                if config.operands != config.accumulators
                else value  # whatever NaN it is: sums of it are the one NaN
            )
        return operands

    def _running(
        self, m: Module, go: Value, here: _Item, geometry: data.View[data.StructLayout]
    ) -> data.View[data.StructLayout]:
        """Return the part of an input's place that all columns share, a cycle after ``here``."""
        walk = PositionWalk() if self.is_update else TapWalk()
        m.submodules.running = walk
        advances = here.valid & here.is_first_plane if self.is_update else here.ends_group
        m.d.comb += [
            walk.geometry.eq(geometry),
            walk.advance.eq(advances),
            walk.restart.eq(go | here.ends_inputs),
        ]
        place = Signal(Place)
        m.d.comb += place.eq(walk.place)
        if self.is_update:
            # Planes behind the first one are of the same positions.
            ring = [Signal(Place, name=f"position_{n}", reset_less=True) for n in range(self.width)]
            with m.If(~here.is_first_plane):
                m.d.comb += place.eq(ring[-1])
            with m.If(here.valid):
                m.d.sync += [into.eq(out) for into, out in zip(ring, [place, *ring], strict=False)]

        of_plane = Signal.like(place.address)
        running = Signal(Place, reset_less=True)
        m.d.sync += [
            running.eq(place),
            running.address.eq(place.address + of_plane),
            running.valid.eq(place.valid & here.valid),
        ]
        with m.If(here.ends_plane):
            m.d.sync += of_plane.eq(Mux(here.ends_group, 0, of_plane + self.task.plane_words))
        return running

    def _listed(
        self, m: Module, go: Value, here: _Item, geometry: data.View[data.StructLayout]
    ) -> list[data.View[data.StructLayout]]:
        """List the outputs of the next tile; return for each column the part of an input's place that is its own.

        It is that of an item a cycle after ``here``.
        """
        walk = TapWalk() if self.is_update else PositionWalk()
        m.submodules.listing = walk
        count, share = self.listed, self.listed // self.columns
        number = Signal(range(count + 1), init=count)  # of the next output to list
        now = Mux(here.starts_tile, 0, number)  # the list before is taken in this very cycle
        lists = now != count
        m.d.comb += [
            walk.geometry.eq(geometry),
            walk.advance.eq(lists),
            walk.restart.eq(go | ((now == count - 1) & walk.ends)),
        ]
        with m.If(lists):
            m.d.sync += number.eq(now + 1)
        with m.If(go):
            m.d.sync += number.eq(0)

        places: list[data.View[data.StructLayout]] = []
        is_next = here.later(1).valid
        for column in range(self.columns):
            following = [Signal(Place, name=f"next_{column}_{n}", reset_less=True) for n in range(share)]  # fmt: skip
            current = [Signal(Place, name=f"output_{column}_{n}", reset_less=True) for n in range(share)]  # fmt: skip
            with m.If(lists & (now >> (share - 1).bit_length() == column)):
                m.d.sync += _shift(following, walk.place)
            with m.If(here.starts_tile):
                m.d.sync += [into.eq(out) for into, out in zip(current, following, strict=True)]
            with m.Elif(is_next):
                m.d.sync += _shift(current, current[0])
            places.append(current[0])
        return places

    def _fetch(
        self, m: Module, running: data.View[data.StructLayout], listed: list[data.View[data.StructLayout]]
    ) -> list[Value]:  # fmt: skip
        """Read a word for each column, 0 outside of the frame; return them three cycles later."""
        task, width = self.task, self.width
        words: list[Value] = []
        for column, (own, port) in enumerate(zip(listed, self.inputs, strict=True)):
            y, x = Signal.like(own.y), Signal.like(own.x)
            is_inside = Signal(name=f"is_inside_{column}")
            address = Signal(own.address.shape(), name=f"address_{column}", reset_less=True)
            m.d.comb += [y.eq(own.y + running.y), x.eq(own.x + running.x)]
            m.d.sync += [
                address.eq(own.address + running.address),
                is_inside.eq(
                    (y < task.in_rows) & (x < task.in_columns) & own.valid & running.valid
                ),
            ]
            word = Signal(width, name=f"word_{column}", reset_less=True)
            m.d.comb += [port.en.eq(is_inside), port.row.eq(address[5:])]
            chosen = port.data.word_select(delayed(m, address[:5], 1), width)
            m.d.sync += word.eq(Mux(delayed(m, is_inside, 1), chosen, 0))
            words.append(word)
        return words

    def _turned(self, m: Module, here: _Item, words: list[Value]) -> list[Value]:
        """Turn words of channels, a position a cycle, into words of a group's positions, a channel a cycle."""
        is_complete = delayed(m, here.ends_plane, FETCH_STAGES)
        addresses: list[Value] = []
        for column, word in enumerate(words):
            before = [Signal.like(word, name=f"before_{column}_{n}") for n in range(self.width - 1)]
            held = [Signal.like(word, name=f"held_{column}_{n}") for n in range(self.width)]
            m.d.sync += _shift(before, word)
            for into, out in zip(held, [*before, word], strict=True):
                m.d.sync += into.eq(Mux(is_complete, out, into >> 1))
            addresses.append(Cat(bits[0] for bits in held))
        return addresses

    def _results(
        self, m: Module, go: Value, here: _Item, rows: list[LookupRow], valid: list[Value]
    ) -> None:
        """Write words of sums: the first column's as they come, the others' behind, through registers."""
        form, width = self.config.accumulator_format, self.width
        layout = data.StructLayout({"sums": width * form.bits, "valid": 1})
        following: Value | None = None
        for column in reversed(range(self.columns)):
            word = Signal(layout, name=f"word_{column}")
            own = Cat(Cat(row.sums[column] for row in rows), valid[column])
            m.d.comb += word.eq(Mux(here.is_last, own, 0 if following is None else following))
            if column > 0:
                chain = [Signal(layout, name=f"leaving_{column}_{n}") for n in range(width)]
                m.d.sync += _shift(chain, word)
                following = chain[0].as_value()
            else:
                self._write(m, go, here, word)

    def _write(self, m: Module, go: Value, here: _Item, word: data.View[data.StructLayout]) -> None:
        task, form = self.task, self.config.accumulator_format
        row, now = Signal(ROW_BITS), Signal(ROW_BITS)
        m.d.comb += now.eq(row)
        if self.is_update:
            m.d.sync += row.eq(now + word.valid)
        else:
            first = Signal(ROW_BITS)  # of the output word
            with m.If(here.is_last & here.is_first_tile & (here.k == 0)):
                m.d.comb += now.eq(first)
                m.d.sync += first.eq(first + 1)
            m.d.sync += row.eq(Mux(word.valid, now + task.out_words, now))
            with m.If(go):
                m.d.sync += first.eq(task.result_row)
        with m.If(go):
            m.d.sync += row.eq(task.result_row)
        m.d.sync += [
            self.result_en.eq(word.valid),
            self.result_row.eq(now),
            self.result_data.eq(
                Cat(
                    convert(m, word.sums.word_select(number, form.bits), form, FP32)
                    if form != FP32
                    else word.sums.word_select(number, form.bits)
                    for number in range(self.width)
                )
            ),
        ]


@dataclass(frozen=True)
class _Counts:
    """Positions of a frame and of all frames; pairs of tap and input word."""

    positions: Signal
    all_positions: Signal
    pairs: Signal


class _Item:
    """What the sequencer says of a cycle: it is a lookup in each lane if ``valid``. Values are attributes.

    Later cycles have them by `later`, in registers of ``registers`` that are made when first asked for: a module of
    their own, so that none ends up inside a condition.
    """

    def __init__(self, registers: Module, chains: dict[str, list[Value]], age: int = 0) -> None:
        self._registers = registers
        self._chains = chains
        self._age = age

    def later(self, cycles: int) -> _Item:
        """Return what was said so many cycles before."""
        return _Item(self._registers, self._chains, self._age + cycles)

    def __getattr__(self, name: str) -> Value:
        """Return one of the values."""
        chain = self._chains[name]
        while len(chain) <= self._age:
            register = Signal(chain[-1].shape(), name=f"{name}_{len(chain)}")
            self._registers.d.sync += register.eq(chain[-1])
            chain.append(register)
        return chain[self._age]


def _shift(registers: Sequence[ValueCastable | Value], value: ValueCastable | Value) -> list[Any]:
    """Return the assignments that shift ``value`` into the last register, towards the first."""
    following = [*registers[1:], value]
    return [
        Value.cast(into).eq(Value.cast(out)) for into, out in zip(registers, following, strict=True)
    ]
