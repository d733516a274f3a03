"""A floating-point square root: one bit of the root a cycle."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ...chip.formats import FloatFormat
from ..cores.arithmetic import named
from .parts import Flags, check_format, count_steps, leading_zeros, pack, shift_left, unpack

__all__ = ["FloatRoot", "root_cycles"]


def root_cycles(form: FloatFormat) -> int:
    """Return the cycles from ``start`` to ``done`` of a `FloatRoot`: 28 for fp32."""
    return _Plan(form).round + 1


class _Plan:
    """Which step does what."""

    def __init__(self, form: FloatFormat) -> None:
        self.root_bits = form.mantissa_bits + 2
        self.take = 1
        self.round = self.take + self.root_bits + 1


class FloatRoot(wiring.Component):
    """Extract a square root.

    Behaviour
    ---------
    ``result`` is the number nearest to the root of ``a``. That of -0 is -0, that of any other negative number is NaN.

    Two digits of the normalised mantissa, of an even exponent, come down a cycle; a trial subtraction decides a bit of
    the root. A root is never subnormal, nor half way between two numbers.

    Timing
    ------
    *Latency*: `root_cycles` of the format, whatever the operand: 5 more than its mantissa bits. *Throughput*: one root
    in as many cycles. *Back-pressure*: none: ``done`` is high for a cycle, and ``result`` holds until the next root is
    done. A start while ``busy`` is high is not taken; in the cycle of ``done`` it is::

        cycle    0    1    2   ...   27   28   29     # fp32
        start    1    -    -          -    1    -
        busy     0    1    1          1    0    1
        done     0    0    0          0    1    0
        result   ?    ?    ?          ?    P    P

    Reset
    -----
    Not busy; ``done`` is 0. ``result`` is not reset.

    Parameters
    ----------
    form : FloatFormat
        Of operand and result.

    Members
    -------
    start : In(1)
        Take the operand.
    a : In(form.bits)
        Operand, read in the cycle of the start.
    busy : Out(1)
        Steps are on.
    done : Out(1)
        High in the first cycle of a result.
    result : Out(form.bits)
        The last root.

    Raises
    ------
    ValueError
        If the format has no exponent or mantissa to speak of, or so small an exponent that roots can be subnormal.
    """

    start: Signal
    a: Signal
    busy: Signal
    done: Signal
    result: Signal

    def __init__(self, form: FloatFormat) -> None:
        check_format(form)
        if form.bias <= form.mantissa_bits:
            raise ValueError(
                f"the bias of a format must exceed its mantissa bits for roots, not {form.bias} "
                f"with {form.mantissa_bits} bits: else roots can be subnormal"
            )
        self.form = form
        super().__init__(
            {
                "start": In(1),
                "a": In(form.bits),
                "busy": Out(1),
                "done": Out(1),
                "result": Out(form.bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the normaliser, the extraction and the rounding, a register between."""
        m = Module()
        form = self.form
        plan = _Plan(form)
        step = count_steps(m, self.start, self.busy, self.done, plan.round)
        bits = plan.root_bits

        def register(name: str, bits: int) -> Signal:
            return Signal(bits, name=name, reset_less=True)

        operand = register("operand", form.bits)
        with m.If(~self.busy):
            m.d.sync += operand.eq(self.a)
        parts = unpack(m, operand, form)
        zeros = leading_zeros(m, parts.mantissa)
        mantissa = shift_left(m, parts.mantissa, zeros)
        doubled = named(m, "doubled", parts.exponent - zeros + form.bias)
        is_odd = doubled[0]  # of the exponent without bias: the radicand is from 2 to 4 then

        radicand = register("radicand", bits)
        remainder = register("remainder", bits + 1)  # at most twice the root
        root = register("root", bits)
        trial = named(m, "trial", Cat(radicand[-2:], remainder) - Cat(Const(1, 2), root))
        is_less = trial[-1]
        left = Mux(is_less, Cat(radicand[-2:], remainder), trial)

        with m.If(step == plan.take):
            m.d.sync += [
                radicand.eq(Mux(is_odd, Cat(Const(0, 1), mantissa), mantissa)),
                remainder.eq(0),
                root.eq(0),
            ]
        with m.Elif(step == plan.round):
            is_number = ~parts.is_zero & ~parts.is_nan
            flags = Flags(
                sign=parts.sign,
                is_nan=parts.is_nan | (parts.sign & is_number),
                is_infinite=parts.is_special,
                is_zero=parts.is_zero,
            )
            exponent = doubled.as_unsigned()[1:-1]
            word = pack(m, form, flags, exponent, root[:-1], remainder.any())
            m.d.sync += self.result.eq(word)
        with m.Else():
            m.d.sync += [
                radicand.eq(radicand << 2),
                remainder.eq(left),
                root.eq(Cat(~is_less, root[:-1])),
            ]
        return m
