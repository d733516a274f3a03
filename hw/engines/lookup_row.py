"""A row of a lookup engine: an output channel's tables, and the lanes that add their entries."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ...chip.formats import FloatFormat
from ..cores.pipeline import delayed
from ..fp.adder import FloatAdder
from ..fp.converter import scale_down
from .lookup_table import LookupTable

__all__ = ["LookupRow"]


class LookupRow(wiring.Component):
    """Add a table entry a cycle to one of ``interleave`` sums in each of ``columns`` lanes.

    Behaviour
    ---------
    An entry is scaled by ``2 ** -amount`` and changes its sign if ``negative``, then it is added to its sum, or to +0
    if ``first``. Sums take turns: that of a cycle comes again ``interleave`` cycles later. They run around in the adder
    and the registers behind it.

    Timing
    ------
    An address that comes in cycle c goes to the table that serves then; its ``amount`` and ``negative`` come in c + 1,
    its ``first`` in c + 2, and ``sums`` shows the sum with it in c + 2 + adder_stages::

        cycle      0    1    2    3    4    5    # adder_stages 3
        addresses  A
        amount          A
        first                A
        sums                                A

    Reset
    -----
    As `LookupTable`; sums are not reset.

    Parameters
    ----------
    form : FloatFormat
        Of the sums.
    columns, group, interleave, adder_stages : int
        As of a `LookupConfig`.

    Members
    -------
    start, operand
        In. As of `LookupTable`.
    addresses : In(ArrayLayout(group, columns))
    amount : In(3)
    negative, first : In(1)
    sums : Out(ArrayLayout(form.bits, columns))
    """

    start: Signal
    operand: Signal
    addresses: data.View[data.ArrayLayout]
    amount: Signal
    negative: Signal
    first: Signal
    sums: data.View[data.ArrayLayout]

    def __init__(
        self, form: FloatFormat, columns: int, group: int, interleave: int, adder_stages: int
    ) -> None:
        self.form = form
        self.columns = columns
        self.group = group
        self.interleave = interleave
        self.adder_stages = adder_stages
        super().__init__(
            {
                "start": In(1),
                "operand": In(form.bits),
                "addresses": In(data.ArrayLayout(group, columns)),
                "amount": In(3),
                "negative": In(1),
                "first": In(1),
                "sums": Out(data.ArrayLayout(form.bits, columns)),
            }
        )

    @property
    def module(self) -> str:
        """Name of the row's Verilog module."""
        sizes = f"{self.columns}x{self.interleave}_{self.adder_stages}"
        return f"spikeloom_lookup_row_{self.form.name}_{sizes}"

    def elaborate(self, platform: object) -> Module:
        """Build the table, and a lane for each column."""
        m = Module()
        form = self.form
        table = LookupTable(form, self.group, self.interleave, self.adder_stages)
        m.submodules.table = table
        m.d.comb += [table.start.eq(self.start), table.operand.eq(self.operand)]
        entries = Array(table.entries[number] for number in range(1 << self.group))
        for column in range(self.columns):
            entry = Signal(form.bits, name=f"entry_{column}", reset_less=True)
            scaled = Signal(form.bits, name=f"scaled_{column}", reset_less=True)
            m.d.sync += entry.eq(entries[self.addresses[column]])
            value = scale_down(m, entry, form, self.amount)
            m.d.sync += scaled.eq(Cat(value[:-1], value[-1] ^ self.negative))

            m.submodules[f"adder_{column}"] = adder = FloatAdder(form, self.adder_stages)
            before = delayed(m, adder.result, self.interleave - self.adder_stages)
            m.d.comb += [
                adder.a.eq(Mux(self.first, 0, before)),
                adder.b.eq(scaled),
                self.sums[column].eq(adder.result),
            ]
        return m
