"""Gate equivalents of three rows of lanes that take as many inputs a cycle: lookups, gated adders, multiply-adds.

Usage: PYTHONPATH=. python benchmarks/lookup_area.py [--columns 4 16 72] [--formats fp32 fp16] [--group 4]

A row is an output channel, a column an output of it a cycle, and each takes ``group`` inputs a cycle with the same
``interleave`` sums in turn:

- *lookup*: hw/engines/lookup_row.py, a table and an adder a lane; beside it the same with its planes of images taken
  away (``amount`` and ``negative`` tied), which spikes do not need and the others do not have,
- *gated adders*: a tree of ``group`` adders a lane, the operands gated by spikes,
- *multiply-adds*: the same tree behind ``group`` multipliers of 16 bits.

All hold a row's operands twice, as the next ones come one a cycle. Synthesis is hw/gates.py's: a lane of the two arrays
once, times the columns; the lookup row as it stands, with all its lanes. Where columns are more than ``--largest``
a lookup row is what two smaller ones say, a lane being the same everywhere.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from spikeloom.chip.formats import BF16, FP16, FP32, FloatFormat
from spikeloom.hw.cores.pipeline import delayed
from spikeloom.hw.engines.lookup_row import LookupRow
from spikeloom.hw.fp.adder import FloatAdder
from spikeloom.hw.fp.multiplier import FloatMultiplier
from spikeloom.hw.gates import component_gates

FORMATS = {form.name: form for form in (FP32, FP16, BF16)}
MULTIPLIER_STAGES = 2
ADDER_STAGES = 3
PUBLISHED = {"multiply-adds": 3000.0, "gated adders": 1360.0, "lookup": 340.0 + 96.0}
PUBLISHED_OF = "um2 at 45 nm an input a cycle, 16 bits, from units alone: 1640 + 1360; 1360; 1360 / 4 and a table of 96"


class SpikeRow(wiring.Component):
    """A `LookupRow` for spikes alone: no planes of images, so nothing is scaled or changes its sign.

    Members
    -------
    start, operand, addresses, first, sums
        As of `LookupRow`.
    """

    start: Signal
    operand: Signal
    addresses: data.View[data.ArrayLayout]
    first: Signal
    sums: data.View[data.ArrayLayout]

    def __init__(self, form: FloatFormat, columns: int, group: int, interleave: int) -> None:
        self.row = LookupRow(form, columns, group, interleave, ADDER_STAGES)
        super().__init__(
            {
                "start": In(1),
                "operand": In(form.bits),
                "addresses": In(data.ArrayLayout(group, columns)),
                "first": In(1),
                "sums": Out(data.ArrayLayout(form.bits, columns)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Tie what planes need."""
        m = Module()
        m.submodules.row = row = self.row
        m.d.comb += [
            row.start.eq(self.start),
            row.operand.eq(self.operand),
            row.addresses.eq(self.addresses),
            row.first.eq(self.first),
            self.sums.eq(row.sums),
        ]
        return m


class Lane(wiring.Component):
    """Add ``group`` inputs a cycle to one of ``interleave`` sums: gated operands, or products.

    Members
    -------
    operands : In(ArrayLayout(bits, group))
        Of the sums' format where gated, of 16 bits where multiplied.
    inputs : In(ArrayLayout(1 or 16, group))
        Spikes, or values.
    first : In(1)
        Begin a sum, in the cycle in which the tree's result comes.
    sum : Out(form.bits)
    """

    operands: data.View[data.ArrayLayout]
    inputs: data.View[data.ArrayLayout]
    first: Signal
    sum: Signal

    def __init__(
        self, form: FloatFormat, group: int, interleave: int, multiplied: FloatFormat | None
    ) -> None:
        self._form, self._group, self._interleave = form, group, interleave
        self._multiplied = multiplied
        bits = form.bits if multiplied is None else multiplied.bits
        super().__init__(
            {
                "operands": In(data.ArrayLayout(bits, group)),
                "inputs": In(data.ArrayLayout(1 if multiplied is None else bits, group)),
                "first": In(1),
                "sum": Out(form.bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build gates or multipliers, the tree, and the adder that sums run around in."""
        m = Module()
        terms: list[Value] = []
        for n in range(self._group):
            if self._multiplied is None:
                gated = Signal(self._form.bits, name=f"gated_{n}", reset_less=True)
                m.d.sync += gated.eq(Mux(self.inputs[n], self.operands[n], 0))
                terms.append(gated)
                continue
            unit = FloatMultiplier(self._multiplied, MULTIPLIER_STAGES, result=self._form)
            m.submodules[f"multiplier_{n}"] = unit
            m.d.comb += [unit.a.eq(self.operands[n]), unit.b.eq(self.inputs[n])]
            terms.append(unit.result)
        while len(terms) > 1:
            pairs = list(zip(terms[::2], terms[1::2], strict=False))
            odd = [delayed(m, term, ADDER_STAGES) for term in terms[2 * len(pairs) :]]
            terms = [self._add(m, f"tree_{len(terms)}_{n}", a, b) for n, (a, b) in enumerate(pairs)]
            terms += odd
        before = Signal(self._form.bits)
        total = self._add(m, "total", Mux(self.first, 0, before), terms[0])
        m.d.comb += [
            before.eq(delayed(m, total, self._interleave - ADDER_STAGES)),
            self.sum.eq(total),
        ]
        return m

    def _add(self, m: Module, name: str, a: Value, b: Value) -> Value:
        m.submodules[name] = adder = FloatAdder(self._form, ADDER_STAGES)
        m.d.comb += [adder.a.eq(a), adder.b.eq(b)]
        return adder.result


class Operands(wiring.Component):
    """A row's operands, twice: those that serve, and the next ones, which come one a cycle.

    Members
    -------
    start : In(1)
        The next ones serve.
    operand : In(bits)
    serving : Out(ArrayLayout(bits, group))
    """

    start: Signal
    operand: Signal
    serving: data.View[data.ArrayLayout]

    def __init__(self, bits: int, group: int) -> None:
        super().__init__(
            {
                "start": In(1),
                "operand": In(bits),
                "serving": Out(data.ArrayLayout(bits, group)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build a shift register and its copy."""
        m = Module()
        later = Signal.like(self.serving.as_value(), reset_less=True)
        held = Signal.like(later)
        m.d.sync += later.eq((later << len(self.operand)) | self.operand)
        with m.If(self.start):
            m.d.sync += held.eq(later)
        m.d.comb += self.serving.as_value().eq(held)
        return m


class Gates:
    """Gate equivalents of a row by columns, synthesised where they are asked for first."""

    def __init__(self, form: FloatFormat, group: int, interleave: int, largest: int) -> None:
        self._form, self._group, self._interleave = form, group, interleave
        self._largest = largest
        self._known: dict[tuple[str, int], float] = {}

    def row(self, kind: str, columns: int) -> float:
        """Return those of a row of ``columns`` lanes."""
        if kind.startswith("lookup"):
            return self._lookup(kind, columns)
        operand = self._form if kind == "gated adders" else self._multiplied
        held = self._count(f"operands of {kind}", 0, lambda: Operands(operand.bits, self._group))
        multiplied = None if kind == "gated adders" else self._multiplied
        lane = self._count(
            f"lane of {kind}",
            0,
            lambda: Lane(self._form, self._group, self._interleave, multiplied),
        )
        return held + columns * lane

    @property
    def _multiplied(self) -> FloatFormat:
        return self._form if self._form.bits == FP16.bits else FP16

    def _lookup(self, kind: str, columns: int) -> float:
        if columns > self._largest:
            few, many = self._largest // 2, self._largest
            base, more = self._lookup(kind, few), self._lookup(kind, many)
            return more + (more - base) * (columns - many) / (many - few)
        sizes = self._form, columns, self._group, self._interleave
        return self._count(
            kind,
            columns,
            lambda: SpikeRow(*sizes) if kind == "lookup" else LookupRow(*sizes, ADDER_STAGES),
        )

    def _count(self, what: str, columns: int, component: Callable[[], wiring.Component]) -> float:
        key = what, columns
        if key not in self._known:
            started = time.monotonic()
            self._known[key] = component_gates(component(), "spikeloom_row")
            of = f" of {columns} columns" if columns else ""
            print(f"  {what}{of}: {self._known[key]:,.0f}, {time.monotonic() - started:.0f} s")
        return self._known[key]


def main() -> None:
    """Print a table for each format."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--columns", type=int, nargs="+", default=[1, 2, 4, 8, 16, 72])
    parser.add_argument("--formats", choices=FORMATS, nargs="+", default=["fp32", "fp16"])
    parser.add_argument("--group", type=int, default=4)
    parser.add_argument("--interleave", type=int, default=4)
    parser.add_argument("--largest", type=int, default=16, help="lookup row to synthesise")
    options = parser.parse_args()
    kinds = ("lookup", "lookup with planes", "gated adders", "multiply-adds")
    for name in options.formats:
        gates = Gates(FORMATS[name], options.group, options.interleave, options.largest)
        print(f"sums of {name}, {options.group} inputs a lane and cycle; gate equivalents")
        table = {
            columns: {kind: gates.row(kind, columns) for kind in kinds}
            for columns in sorted(options.columns)
        }
        print(f"{'columns':>8}" + "".join(f"{kind:>20}" for kind in kinds) + "   MAC : adder : lookup")  # fmt: skip
        for columns, rows in table.items():
            inputs = columns * options.group
            each = {kind: gate / inputs for kind, gate in rows.items()}
            print(f"{columns:8}" + "".join(f"{rows[kind]:20,.0f}" for kind in kinds))
            ratios = (each[kind] / each["lookup"] for kind in ("multiply-adds", "gated adders"))
            print(f"{'an input':>8}" + "".join(f"{each[kind]:20,.0f}" for kind in kinds) + "   "
                  + " : ".join(f"{ratio:.2f}" for ratio in ratios) + " : 1")  # fmt: skip
    base = PUBLISHED["lookup"]
    ratios = " : ".join(f"{value / base:.2f}" for value in PUBLISHED.values())
    print(f"calculated, {PUBLISHED_OF}: {ratios}")


if __name__ == "__main__":
    main()
