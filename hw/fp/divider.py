"""A floating-point divider: one bit of the quotient a cycle."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ...chip.formats import FloatFormat
from ..cores.arithmetic import named
from .parts import (
    Flags,
    Move,
    check_format,
    count_steps,
    finish,
    leading_zeros,
    shift_left,
    unpack,
)

__all__ = ["FloatDivider", "divide_cycles"]


def divide_cycles(form: FloatFormat) -> int:
    """Return the cycles from ``start`` to ``done`` of a `FloatDivider`: 31 for fp32."""
    return _Plan(form).round + 1


class _Plan:
    """Which step does what."""

    def __init__(self, form: FloatFormat) -> None:
        self.quotient_bits = form.mantissa_bits + 3
        self.take_dividend = 1
        self.take_divisor = 2
        self.move = self.take_divisor + self.quotient_bits + 1
        self.round = self.move + 1


class FloatDivider(wiring.Component):
    """Divide two numbers.

    Behaviour
    ---------
    ``result`` is the number nearest to ``a / b``, ties to the even one. A non-zero number over 0 is infinite; 0 / 0 and
    infinity over infinity are NaN.

    Operands are normalised one after the other, subnormal ones to exponents below the format's. The division restores:
    a trial subtraction a cycle, whose sign is a bit of the quotient. Of its bits, one more than for rounding, the first
    or second is 1; what remains is sticky.

    Timing
    ------
    *Latency*: `divide_cycles` of the format, whatever the operands: 8 more than its mantissa bits. *Throughput*: one
    division in as many cycles. *Back-pressure*: none: ``done`` is high for a cycle, and ``result`` holds until the next
    division is done. A start while ``busy`` is high is not taken; in the cycle of ``done`` it is::

        cycle    0    1    2   ...   30   31   32     # fp32
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
        Of operands and result.

    Members
    -------
    start : In(1)
        Take the operands.
    a, b : In(form.bits)
        Dividend and divisor, read in the cycle of the start.
    busy : Out(1)
        Steps are on.
    done : Out(1)
        High in the first cycle of a result.
    result : Out(form.bits)
        The last quotient.

    Raises
    ------
    ValueError
        If the format has no exponent or mantissa to speak of.
    """

    start: Signal
    a: Signal
    b: Signal
    busy: Signal
    done: Signal
    result: Signal

    def __init__(self, form: FloatFormat) -> None:
        check_format(form)
        self.form = form
        super().__init__(
            {
                "start": In(1),
                "a": In(form.bits),
                "b": In(form.bits),
                "busy": Out(1),
                "done": Out(1),
                "result": Out(form.bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the normaliser, the division and the rounding, a register between."""
        m = Module()
        form = self.form
        plan = _Plan(form)
        step = count_steps(m, self.start, self.busy, self.done, plan.round)
        digits = form.mantissa_bits + 1

        def register(name: str, bits: int) -> Signal:
            return Signal(bits, name=name, reset_less=True)

        # The dividend, then the divisor, which waits a cycle.
        operand, waiting = register("operand", form.bits), register("waiting", form.bits)
        m.d.sync += [
            operand.eq(Mux(self.busy, waiting, self.a)),
            waiting.eq(self.b),
        ]
        parts = unpack(m, operand, form)
        zeros = leading_zeros(m, parts.mantissa)
        mantissa = shift_left(m, parts.mantissa, zeros)

        highest = (1 << form.exponent_bits) - 1
        lowest = 1 - form.mantissa_bits  # of operands
        spread = range(lowest - highest + form.bias, highest - lowest + form.bias + 1)
        exponent = Signal(spread, reset_less=True)
        sign, sticky = register("sign", 1), register("sticky", 1)
        is_nan, is_infinite = register("is_nan", 1), register("is_infinite", 1)
        is_zero = register("is_zero", 1)
        remainder = register("remainder", digits + 1)  # below twice the divisor
        divisor = register("divisor", digits)
        quotient = register("quotient", plan.quotient_bits)

        trial = named(m, "trial", remainder - divisor)
        is_less = trial[-1]
        left = Mux(is_less, remainder[:digits], trial[:digits])
        move = Move.plan(
            m,
            exponent,
            Const(0, 0),
            lowest=spread.start,
            most_zeros=0,
            room=0,
            bits=plan.quotient_bits,
        )
        moved, lost = move.apply(m, quotient, plan.quotient_bits)
        flags = Flags(sign, is_nan, is_infinite, is_zero)

        with m.If(step == plan.take_dividend):
            m.d.sync += [
                remainder.eq(mantissa),
                exponent.eq(parts.exponent - zeros),
                sign.eq(parts.sign),
                is_nan.eq(parts.is_nan),
                is_infinite.eq(parts.is_infinite),
                is_zero.eq(parts.is_zero),
            ]
        with m.Elif(step == plan.take_divisor):
            both = (is_infinite & parts.is_infinite) | (is_zero & parts.is_zero)
            m.d.sync += [
                divisor.eq(mantissa),
                exponent.eq(exponent - parts.exponent + zeros + form.bias),
                sign.eq(sign ^ parts.sign),
                is_nan.eq(is_nan | parts.is_nan | both),
                is_infinite.eq(is_infinite | parts.is_zero),
                is_zero.eq(is_zero | parts.is_infinite),
            ]
        with m.Elif(step == plan.move):
            m.d.sync += [
                quotient.eq(moved),
                sticky.eq(lost | remainder.any()),
                exponent.eq(move.exponent),
            ]
        with m.Elif(step == plan.round):
            word = finish(m, form, flags, exponent.as_unsigned()[:-1], quotient, sticky)
            m.d.sync += self.result.eq(word)
        with m.Else():
            m.d.sync += [
                remainder.eq(Cat(Const(0, 1), left)),
                quotient.eq(Cat(~is_less, quotient[:-1])),
            ]
        return m
