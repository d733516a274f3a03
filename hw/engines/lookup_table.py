"""A row's table of a lookup engine: the subset sums of its operands, built while the table before serves."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ...chip.formats import FloatFormat
from ...chip.learn_timing import table_schedule
from ..fp.adder import FloatAdder

__all__ = ["LookupTable"]


class LookupTable(wiring.Component):
    """Build tables of ``2 ** group`` subset sums of ``group`` operands.

    Behaviour
    ---------
    Entry ``e`` is the entry without the highest bit of ``e``, plus that bit's operand; entry 0 is +0. The additions
    begin as `spikeloom.chip.learn_timing.table_schedule` says, driven by a pulse that runs with the table.

    A value stays in a register for ``interleave`` cycles, and moves on to the next if it is needed for longer, so that
    the next table's may have the first. A table that comes later leaves it there for longer, which does no harm.

    Timing
    ------
    ``start`` is high in the cycle in which operand 0 is at ``operand``; the others follow, one a cycle. The table
    serves from ``length + 1`` cycles after ``start`` until the next one does. Starts are a multiple of ``interleave``
    cycles apart::

        cycle    0    1    2    3    4    5   ...  12   13      # length 11
        start    1    0    0    0    1    0
        operand  A0   A1   A2   A3   B0   B1
        entries  -    -    -    -    -    -        A    A

    Reset
    -----
    Nothing is being built. Values are not reset.

    Parameters
    ----------
    form : FloatFormat
        Of operands and entries.
    group, interleave, adder_stages : int
        As of a `LookupConfig`; ``group`` at most ``interleave``.

    Members
    -------
    start : In(1)
    operand : In(form.bits)
        Never -0.
    entries : Out(ArrayLayout(form.bits, 2 ** group))

    Raises
    ------
    ValueError
        If ``group`` is more than ``interleave``.
    """

    start: Signal
    operand: Signal
    entries: data.View[data.ArrayLayout]

    def __init__(self, form: FloatFormat, group: int, interleave: int, adder_stages: int) -> None:
        if group > interleave:
            raise ValueError(
                f"group must be at most interleave ({interleave}), not {group}: an operand comes a cycle"
            )
        self.form = form
        self.group = group
        self.interleave = interleave
        self.adder_stages = adder_stages
        self.schedule = table_schedule(group, interleave, adder_stages)
        super().__init__(
            {
                "start": In(1),
                "operand": In(form.bits),
                "entries": Out(data.ArrayLayout(form.bits, 1 << group)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build registers and adders around the schedule."""
        m = Module()
        schedule, bits = self.schedule, self.form.bits

        # load[c] is high in the cycle before cycle c of a table, whose registers are loaded at its end.
        later = Signal(schedule.length)
        m.d.sync += later.eq(Cat(self.start, later))
        load = Cat(self.start, later)

        adders: list[FloatAdder] = []
        terms: list[tuple[list[Value], list[Value]]] = []
        for number in range(1 + max((adder for _, adder in schedule.additions.values()), default=-1)):  # fmt: skip
            m.submodules[f"adder_{number}"] = adder = FloatAdder(self.form, self.adder_stages)
            adders.append(adder)
            terms.append(([], []))

        values: dict[int, _Value] = {}  # by entry
        for bit, cycle in enumerate(schedule.operands):
            name = f"operand_{bit}"
            values[1 << bit] = _Value(name, self.operand, cycle, self.interleave)
        for entry, (cycle, number) in sorted(schedule.additions.items()):
            high = 1 << (entry.bit_length() - 1)
            now = load[cycle + 1].replicate(bits)
            for place, value in enumerate((values[entry - high], values[high])):
                terms[number][place].append(now & value.at(cycle))
            values[entry] = _Value(
                f"sum_{entry}",
                adders[number].result,
                cycle + self.adder_stages + 1,
                self.interleave,
            )
        for adder, (a, b) in zip(adders, terms, strict=True):
            m.d.comb += [adder.a.eq(_any(a, bits)), adder.b.eq(_any(b, bits))]

        m.d.comb += self.entries[0].eq(0)
        for entry, value in values.items():
            serving = Signal(bits, name=f"entry_{entry}", reset_less=True)
            with m.If(load[schedule.length]):
                m.d.sync += serving.eq(value.at(schedule.length - 1))
            m.d.comb += self.entries[entry].eq(serving)
        for value in values.values():
            value.build(m, load)
        return m


class _Value:
    """An operand or entry on its way: at its source in the cycle before ``born``, then in registers."""

    def __init__(self, name: str, source: Value, born: int, interleave: int) -> None:
        self._name = name
        self._source = source
        self._born = born
        self._interleave = interleave
        self._registers: list[Signal] = []

    def at(self, cycle: int) -> Value:
        """Return where the value is in a cycle of its table."""
        age = cycle - self._born
        if age < 0:
            assert age == -1
            return self._source
        place = age // self._interleave
        while len(self._registers) <= place:
            name = f"{self._name}_{len(self._registers)}"
            self._registers.append(Signal(self._source.shape(), name=name, reset_less=True))
        return self._registers[place]

    def build(self, m: Module, load: Value) -> None:
        """Load the registers that were asked for."""
        value = self._source
        for place, register in enumerate(self._registers):
            with m.If(load[self._born + place * self._interleave]):
                m.d.sync += register.eq(value)
            value = register


def _any(terms: list[Value], bits: int) -> Value:
    """Return the bitwise or of ``terms``."""
    result: Value = Const(0, bits)
    for term in terms:
        result |= term
    return result
