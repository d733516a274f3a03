"""The backward engine's walk over input positions: phase of the stride by phase, a row of the engine a cycle."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..cores.arithmetic import named
from ..cores.pipeline import delayed
from .backward_sizes import PART_BITS, PARTS_OF_A_ROW, Q_BITS, ROW_BITS, BackwardSizes, bits_for

__all__ = ["BackwardPlaces"]

View = data.View

COORDINATE_BITS = 10
STRIDE_BITS = 4
PHASES = 1 << STRIDE_BITS


class _Axis:
    """Phases of one axis: which there are, where each begins. Registers are set by ``start``, from the task."""

    def __init__(
        self, m: Module, name: str, start: Value, *, size: Value, stride: Value, padding: Value
    ) -> None:
        self._m, self._name = m, name
        self.size, self.stride = size, stride
        rest: Value = Const(0, STRIDE_BITS)
        digits: list[Value] = []
        for place in reversed(range(STRIDE_BITS)):  # a division of four bits, digit by digit
            longer = named(m, f"{name}_longer_{place}", Cat(padding[place], rest))
            digits.append(longer >= stride)
            rest = named(
                m,
                f"{name}_rest_{place}",
                Mux(longer >= stride, longer - stride, longer)[:STRIDE_BITS],
            )
        self._quotient = Signal(STRIDE_BITS, name=f"{name}_quotient")
        self._rest = Signal(STRIDE_BITS, name=f"{name}_rest")
        with m.If(start):
            m.d.sync += [self._quotient.eq(Cat(*reversed(digits))), self._rest.eq(rest)]
        self.exists = named(
            m, f"{name}_exists",
            Cat(
                (stride > phase) & (size > self.offset(Const(phase, STRIDE_BITS), f"of_{phase}"))
                for phase in range(PHASES)
            ),
        )  # fmt: skip

    def offset(self, phase: Value, suffix: str) -> Signal:
        """Return the first coordinate of a phase."""
        borrow = Mux(phase < self._rest, self.stride, 0)
        return named(
            self._m, f"{self._name}_offset_{suffix}", (phase + borrow - self._rest)[:STRIDE_BITS]
        )

    def quotient(self, phase: Value) -> Value:
        """Return the first coordinate of a phase, padding added, over the stride."""
        return self._quotient + (phase < self._rest)

    def lowest(self, phases: Value, suffix: str) -> Signal:
        """Return the first of some phases."""
        result = Signal(STRIDE_BITS, name=f"{self._name}_lowest_{suffix}")
        for phase in reversed(range(PHASES)):
            with self._m.If(phases[phase]):
                self._m.d.comb += result.eq(phase)
        return result

    def above(self, phase: Value, suffix: str) -> Signal:
        """Return which phases there are above one."""
        mask = Signal(PHASES, name=f"{self._name}_above_{suffix}")
        for other in range(PHASES):
            self._m.d.comb += mask[other].eq(self.exists[other] & (phase < other))
        return mask


# Where the walk is: phases, frame by the first rows of its arrays, coordinates left and over the stride.
_State = data.StructLayout(
    {
        "phase_y": STRIDE_BITS,
        "phase_x": STRIDE_BITS,
        "slot": 16,
        "gradient": ROW_BITS,
        "mask": ROW_BITS,
        "result": ROW_BITS,
        "left_y": COORDINATE_BITS,
        "left_x": COORDINATE_BITS,
        "y": Q_BITS,
        "x": Q_BITS,
    }
)


class BackwardPlaces(wiring.Component):
    """Hand each row of the engine the positions of its next tile, then count through their masks.

    Behaviour
    ---------
    Positions come phase by phase of the stride, in each frame by frame in the order of their slots, in each of these
    by rows and columns. A tile is the next ``rows x contexts`` positions, or what is left; it is spread over all rows:
    each takes ``used``, the fewest contexts that are enough.

    A cycle gives the positions of one row: as many steps of the walk, one behind the other. No address needs a
    division: phases are counted up, and the place in a frame is multiplied out in the two stages that follow.

    Then, for each context in use, the parts of its masks are read, in all rows at once.

    Timing
    ------
    ``begin`` in cycle 0; ``remains`` (in the same cycle) says whether there is a tile to prepare. With ``n`` rows in
    use and ``k`` parts of masks in all::

        cycle      0    1   ...   n    n+1  n+2  n+3       n+k+2 n+k+3 n+k+4
        begin      1
        walk            0         n-1
        take                           0 ...  n-1
        scan                                       0  ...   k-1
        ready      -    -    -    -    -    -    -           -     -     1

    ``take`` names the row whose places are at ``places``; ``scan`` reads a part of a context's masks.

    Reset
    -----
    Idle.

    Members
    -------
    task : In(task)
        Stable from ``start`` on.
    start, begin : In(1)
        A task starts, at least a cycle before its first ``begin``; prepare the next tile.
    remains : Out(1)
    take : Out(1), take_row : Out(range(rows)), places : Out(array of places)
    scan, scan_last, scan_context, scan_part : Out
        ``scan_last`` marks the last part of a context.
    used : Out(range(contexts + 1))
        Contexts of the tile that is prepared, valid from the cycle after ``begin``.
    ready : Out(1)
    """

    task: data.View[data.StructLayout]
    start: Signal
    begin: Signal
    remains: Signal
    take: Signal
    take_row: Signal
    places: data.View[data.ArrayLayout]
    scan: Signal
    scan_last: Signal
    scan_context: Signal
    scan_part: Signal
    used: Signal
    ready: Signal

    def __init__(self, sizes: BackwardSizes) -> None:
        self._sizes = sizes
        super().__init__(
            {
                "task": In(sizes.task),
                "start": In(1),
                "begin": In(1),
                "remains": Out(1),
                "take": Out(1),
                "take_row": Out(bits_for(sizes.rows)),
                "places": Out(data.ArrayLayout(sizes.place, sizes.contexts)),
                "scan": Out(1),
                "scan_last": Out(1),
                "scan_context": Out(sizes.context_bits),
                "scan_part": Out(bits_for(sizes.parts)),
                "used": Out(range(sizes.contexts + 1)),
                "ready": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the walk, the two stages behind it and the count of masks."""
        m = Module()
        walking, ends, left = self._tiles(m)
        self._walk(m, walking, left)
        self._scan(m, walking & ends)
        return m

    def _tiles(self, m: Module) -> tuple[Signal, Value, Signal]:
        """Count positions and rows; return whether the walk is on, whether in its last cycle, and positions left."""
        sizes, task = self._sizes, self.task
        tile = sizes.rows * sizes.contexts
        remaining = Signal(32)  # in the task, behind this tile
        frame_positions = Signal(2 * COORDINATE_BITS)
        first = Signal()  # the task's first tile is yet to come
        whole = Signal(32)
        m.d.comb += [
            whole.eq(Mux(first, frame_positions * task.frames, remaining)),
            self.remains.eq(whole != 0),
        ]
        with m.If(self.start):
            m.d.sync += [
                frame_positions.eq(task.in_rows * task.in_columns),
                first.eq(1),
            ]
        left = Signal(range(tile + 1))  # in the tile, this row's too
        walking = Signal()
        row = Signal(bits_for(sizes.rows))
        ends = left <= self.used
        with m.If(walking):
            m.d.sync += [left.eq(left - self.used), row.eq(row + 1)]
            with m.If(ends):
                m.d.sync += walking.eq(0)
        with m.If(self.begin & self.remains):
            m.d.sync += [
                first.eq(0),
                walking.eq(1),
                row.eq(0),
                left.eq(Mux(whole > tile, tile, whole)),
                remaining.eq(Mux(whole > tile, whole - tile, 0)),
                self.used.eq(sizes.contexts),
            ]
            for count in reversed(range(1, sizes.contexts)):
                with m.If(whole <= count * sizes.rows):
                    m.d.sync += self.used.eq(count)
        m.d.comb += [self.take.eq(delayed(m, walking, 2)), self.take_row.eq(delayed(m, row, 2))]
        return walking, ends, left

    def _walk(self, m: Module, walking: Signal, left: Signal) -> None:
        """Step through positions, as many a cycle as a row takes."""
        sizes, task = self._sizes, self.task
        y = _Axis(
            m, "y", self.start, size=task.in_rows, stride=task.stride_rows, padding=task.pad_rows
        )
        x = _Axis(
            m, "x", self.start, size=task.in_columns, stride=task.stride_columns, padding=task.pad_columns
        )  # fmt: skip
        first_y, first_x = y.lowest(y.exists, "first"), x.lowest(x.exists, "first")
        at = [Signal(_State, name=f"at_{n}") for n in range(sizes.contexts + 1)]

        def column(state: View, phase: Value, name: str) -> list[Any]:
            """Go to the first position of a line."""
            return [
                state.left_x.eq(task.in_columns - 1 - x.offset(phase, name)),
                state.x.eq(x.quotient(phase)),
            ]

        def frame(state: View, phases: tuple[Value, Value], name: str) -> list[Any]:
            """Go to the first position of a frame."""
            return [
                state.left_y.eq(task.in_rows - 1 - y.offset(phases[0], name)),
                state.y.eq(y.quotient(phases[0])),
                *column(state, phases[1], name),
            ]

        def enter(state: View, phases: tuple[Value, Value], name: str) -> list[Any]:
            """Go to the first position of phases."""
            return [
                state.phase_y.eq(phases[0]),
                state.phase_x.eq(phases[1]),
                state.slot.eq(0),
                state.gradient.eq(task.gradient_row),
                state.mask.eq(task.mask_row),
                state.result.eq(task.result_row),
                *frame(state, phases, name),
            ]

        entry = Signal(_State, name="entry")
        m.d.comb += enter(entry, (first_y, first_x), "entry")
        for n in range(sizes.contexts):
            now, after = at[n], at[n + 1]
            above_y, above_x = y.above(now.phase_y, f"{n}"), x.above(now.phase_x, f"{n}")
            wraps = ~above_x.any()
            next_x = Mux(wraps, first_x, x.lowest(above_x, f"next_{n}"))
            next_y = Mux(wraps, y.lowest(above_y, f"next_{n}"), now.phase_y)
            phases = named(m, f"next_y_{n}", next_y), named(m, f"next_x_{n}", next_x)
            m.d.comb += after.eq(now)
            with m.If(now.left_x >= task.stride_columns):
                m.d.comb += [
                    after.left_x.eq(now.left_x - task.stride_columns),
                    after.x.eq(now.x + 1),
                ]
            with m.Elif(now.left_y >= task.stride_rows):
                m.d.comb += [
                    after.left_y.eq(now.left_y - task.stride_rows),
                    after.y.eq(now.y + 1),
                    *column(after, now.phase_x, f"line_{n}"),
                ]
            with m.Elif(now.slot != task.frames - 1):
                m.d.comb += [
                    after.slot.eq(now.slot + 1),
                    after.gradient.eq(now.gradient + task.gradient_frame_rows),
                    after.mask.eq(now.mask + task.mask_frame_rows),
                    after.result.eq(now.result + task.result_frame_rows),
                    *frame(after, (now.phase_y, now.phase_x), f"frame_{n}"),
                ]
            with m.Else():
                m.d.comb += enter(after, phases, f"phase_{n}")
        is_new = Signal()
        with m.If(self.start):
            m.d.sync += is_new.eq(1)
        with m.If(self.begin & is_new):
            m.d.sync += [is_new.eq(0), at[0].eq(entry)]
        with m.If(walking):
            for count in range(1, sizes.contexts + 1):
                with m.If(self.used == count):
                    m.d.sync += at[0].eq(at[count])
        for n in range(sizes.contexts):
            self._places(m, at[n], n, (left > n) & (self.used > n))

    def _places(self, m: Module, at: View, n: int, valid: Value) -> None:
        """Multiply out where a position's gradients, masks and results lie, in two stages."""
        task, place = self.task, self.places[n]
        pairs_in, pairs_out = task.in_words[1:], task.out_words[1:]
        in_place, out_place = (
            Signal(ROW_BITS, name=f"in_place_{n}"),
            Signal(ROW_BITS, name=f"out_place_{n}"),
        )
        held = Signal(_State, name=f"held_{n}")
        is_valid = Signal(name=f"is_valid_{n}")
        m.d.sync += [
            held.eq(at),
            is_valid.eq(valid),
            in_place.eq(
                (task.in_rows - 1 - at.left_y) * task.in_columns + (task.in_columns - 1 - at.left_x)
            ),
            out_place.eq(at.y * task.out_columns + at.x),
        ]
        parts = named(m, f"parts_{n}", (in_place * pairs_in)[:PART_BITS])
        m.d.sync += [
            place.valid.eq(is_valid),
            place.phase_y.eq(held.phase_y),
            place.phase_x.eq(held.phase_x),
            place.y.eq(held.y),
            place.x.eq(held.x),
            place.gradient.eq(held.gradient + out_place * pairs_out),
            place.mask.eq(held.mask * PARTS_OF_A_ROW + parts),
            place.result.eq(held.result + parts),
        ]

    def _scan(self, m: Module, walk_ends: Value) -> None:
        """Count through the parts of all contexts in use."""
        is_last = Signal()
        m.d.comb += [
            self.scan_last.eq(self.scan & (self.scan_part == self.task.in_words[1:] - 1)),
            is_last.eq(self.scan_last & (self.scan_context == self.used - 1)),
        ]
        with m.If(self.scan):
            m.d.sync += self.scan_part.eq(self.scan_part + 1)
            with m.If(self.scan_last):
                m.d.sync += [self.scan_part.eq(0), self.scan_context.eq(self.scan_context + 1)]
            with m.If(is_last):
                m.d.sync += [self.scan.eq(0), self.scan_context.eq(0)]
        with m.If(delayed(m, walk_ends, 2)):
            m.d.sync += self.scan.eq(1)
        with m.If(delayed(m, is_last, 1)):
            m.d.sync += self.ready.eq(1)
        with m.If(self.begin):
            m.d.sync += self.ready.eq(0)
