"""A floating-point adder: one addition a cycle."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ...chip.formats import FloatFormat
from .parts import Flags, Steps, check, leading_zeros, pack, shift_left, shift_right, unpack

__all__ = ["FloatAdder"]

# Levels of gates of fp32, about: swap, align, add, count zeros, normalise, round.
DELAYS = (24, 10, 26, 13, 16, 18)


class FloatAdder(wiring.Component):
    """Add two numbers.

    Behaviour
    ---------
    ``result`` is ``form.add(a, b)`` for every pair of words.

    The operand of the larger magnitude comes first, so that a difference is never negative. The other one is moved to
    its exponent; two bits below the last place and a sticky bit are all that rounding needs of it. The sum has one bit
    more than an operand at its top, and is moved left until its highest bit is 1 or the exponent is that of subnormal
    numbers; what then stands at its top is the mantissa. So neither a carry nor a subnormal number is a case of its
    own.

    Timing
    ------
    *Latency*: ``stages`` cycles. *Throughput*: an addition a cycle. *Back-pressure*: none; nothing says which results
    are valid, so users delay their own bit::

        cycle    0    1    2    3    4      # stages 3
        a, b     P    Q    -    -    -
        result   -    -    -    P    Q

    With 3 stages: align | add, count leading zeros | normalise, round.

    Reset
    -----
    Nothing is reset.

    Parameters
    ----------
    form : FloatFormat
        Of operands and result.
    stages : int
        Registers between operands and result, 1 to 16.

    Members
    -------
    a, b : In(form.bits)
        Operands.
    result : Out(form.bits)
        Their sum, ``stages`` cycles later.

    Raises
    ------
    ValueError
        If ``stages`` is out of range, or the format has no exponent or mantissa to speak of.
    """

    a: Signal
    b: Signal
    result: Signal

    def __init__(self, form: FloatFormat, stages: int) -> None:
        check(stages, form)
        self.form = form
        self.stages = stages
        super().__init__({"a": In(form.bits), "b": In(form.bits), "result": Out(form.bits)})

    def elaborate(self, platform: object) -> Module:
        """Build the six steps."""
        m = Module()
        form = self.form
        s = Steps(m, self.stages, DELAYS)

        a, b = unpack(m, self.a, form), unpack(m, self.b, form)
        s.put(is_swapped=self.a[:-1] < self.b[:-1])
        # Both differences, beside the comparison, not one after it.
        distances = a.exponent - b.exponent, b.exponent - a.exponent
        s.put(
            sign=Mux(s.is_swapped, b.sign, a.sign),
            subtracts=a.sign ^ b.sign,
            exponent=Mux(s.is_swapped, b.exponent, a.exponent),
            mantissa=Mux(s.is_swapped, b.mantissa, a.mantissa),
            lesser=Mux(s.is_swapped, a.mantissa, b.mantissa),
            distance=Mux(s.is_swapped, distances[1], distances[0])[: form.exponent_bits],
        )
        s.put(
            is_special=a.is_special | b.is_special,
            is_nan=a.is_nan | b.is_nan | (a.is_special & b.is_special & s.subtracts),
        )
        s.end()

        bits = form.mantissa_bits + 3  # with the leading one and two below the last place
        digits = min(bits.bit_length(), form.exponent_bits)
        is_far = s.distance[digits:].any()
        near, lost = shift_right(m, Cat(Const(0, 2), s.lesser), s.distance[:digits], bits)
        s.put(aligned=Mux(is_far, 0, Cat(lost, near)))  # what is far changes no digit
        s.end()

        first = Cat(Const(0, 3), s.mantissa)
        addend = Cat(s.aligned, Const(0, 1)) ^ s.subtracts.replicate(bits + 2)
        s.put(total=(first + addend + s.subtracts)[: bits + 2])
        s.end()

        s.put(zeros=leading_zeros(m, s.total), above=s.exponent + 1)
        s.put(is_limited=s.zeros > s.exponent, is_empty=~s.total.any())
        s.end()

        # The exponent of the highest bit is ``above``; moving left as far as it would be 1, or 0 left of a 1.
        places = len(s.zeros)
        s.put(moved=shift_left(m, s.total, Mux(s.is_limited, s.exponent, s.zeros)[:places]))
        s.put(
            field=(s.above - s.zeros)[: form.exponent_bits]
            & s.moved[-1].replicate(form.exponent_bits)
        )
        s.end()

        flags = Flags(
            sign=s.sign & ~(s.is_empty & s.subtracts),
            is_nan=s.is_nan,
            is_infinite=s.is_special,
            is_zero=Const(0, 1),
        )
        s.put(word=pack(m, form, flags, s.field, s.moved[3:-1], s.moved[:3].any()))
        s.end()
        m.d.comb += self.result.eq(s.word)
        return m
