"""A floating-point multiplier: one product a cycle, in the operands' format or another."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ...chip.formats import FloatFormat
from .parts import Flags, Move, Steps, check, finish, leading_zeros, unpack

__all__ = ["FloatMultiplier"]

# Levels of gates of fp32, about: multiply halves, add them, move, round.
DELAYS = (39, 22, 19, 21)


class FloatMultiplier(wiring.Component):
    """Multiply two numbers.

    Behaviour
    ---------
    The product is rounded once, to ``output``: with the operands' own format, ``result`` is ``form.multiply(a, b)`` for
    every pair of words. In a format of twice the digits and more exponents it is exact.

    By how much the product has to move is known beside the multiplication: left by the zeros before the operands'
    leading ones, but not below the smallest exponent; right to reach that. What moves out on the right is sticky. A
    last place to the left, if the product of the mantissas is below 2, goes with the rounding.

    Timing
    ------
    *Latency*: ``stages`` cycles. *Throughput*: a product a cycle. *Back-pressure*: none; nothing says which results are
    valid, so users delay their own bit::

        cycle    0    1    2    3    4      # stages 3
        a, b     P    Q    -    -    -
        result   -    -    -    P    Q

    With 3 stages: multiply by both halves of ``b``, count leading zeros | add | move, round.

    Reset
    -----
    Nothing is reset.

    Parameters
    ----------
    form : FloatFormat
        Of the operands.
    stages : int
        Registers between operands and result, 1 to 16.
    result : FloatFormat, optional
        Of the result; by default ``form``.

    Members
    -------
    a, b : In(form.bits)
        Operands.
    result : Out(output.bits)
        Their product, ``stages`` cycles later.

    Raises
    ------
    ValueError
        If ``stages`` is out of range, or a format has no exponent or mantissa to speak of.
    """

    a: Signal
    b: Signal
    result: Signal

    def __init__(self, form: FloatFormat, stages: int, result: FloatFormat | None = None) -> None:
        self.form = form
        self.output = output = form if result is None else result
        self.stages = stages
        check(stages, form, output)
        super().__init__({"a": In(form.bits), "b": In(form.bits), "result": Out(output.bits)})

    def elaborate(self, platform: object) -> Module:
        """Build the four steps."""
        m = Module()
        form, output = self.form, self.output
        s = Steps(m, self.stages, DELAYS)

        a, b = unpack(m, self.a, form), unpack(m, self.b, form)
        digits = output.mantissa_bits + 3  # of the product, to round
        spare = max(digits - 2 * (form.mantissa_bits + 1), 0)
        offset = output.bias - 2 * form.bias + 1
        lowest, most_zeros = 2 + offset, 2 * form.mantissa_bits
        move = Move.plan(
            m,
            a.exponent + b.exponent + offset,
            leading_zeros(m, a.mantissa) + leading_zeros(m, b.mantissa),
            lowest=lowest,
            most_zeros=most_zeros,
            # With zeros in both operands, the exponent is the lowest.
            room=max(form.mantissa_bits, min(most_zeros, lowest - 1)),
            bits=digits,
        )
        half = len(b.mantissa) // 2
        s.put(
            lower=a.mantissa * b.mantissa[:half],
            upper=a.mantissa * b.mantissa[half:],
            places=move.amount,
            exponent=move.exponent,
            sign=a.sign ^ b.sign,
            is_nan=a.is_nan | b.is_nan | (a.is_special & b.is_zero) | (a.is_zero & b.is_special),
            is_infinite=a.is_special | b.is_special,
            is_zero=a.is_zero | b.is_zero,
        )
        s.end()

        product = (s.lower + (s.upper << half))[: 2 * (form.mantissa_bits + 1)]
        s.put(product=Cat(Const(0, spare), product))
        s.end()

        moved, sticky = Move(move.room, s.places, s.exponent).apply(m, s.product, digits)
        s.put(digits=moved, sticky=sticky)
        s.end()

        flags = Flags(s.sign, s.is_nan, s.is_infinite, s.is_zero)
        s.put(word=finish(m, output, flags, s.exponent, s.digits, s.sticky))
        s.end()
        m.d.comb += self.result.eq(s.word)
        return m
