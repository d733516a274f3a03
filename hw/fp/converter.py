"""Conversion between floating-point formats, and division by a small power of two."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ...chip.formats import FloatFormat
from ..cores.arithmetic import named
from .parts import Flags, Move, Steps, Unpacked, check, check_format, leading_zeros, pack, unpack

__all__ = ["MOST_SCALE", "FloatConverter", "convert", "scale_down"]

MOST_SCALE = 7


def convert(m: Module, word: Value, source: FloatFormat, target: FloatFormat) -> Value:
    """Return the word of ``target`` nearest to the value of ``word``: ``target.encode(source.decode(word))``.

    Combinational. What cannot happen between the two formats has no hardware: with exponents alike nothing moves, a
    wider range needs no shift to the right and a narrower one none to the left.

    Raises
    ------
    ValueError
        If a format has no exponent or mantissa to speak of.
    """
    check_format(source)
    check_format(target)
    parts = unpack(m, word, source)
    offset = target.bias - source.bias
    room = max(0, min(source.mantissa_bits, offset))
    zeros = leading_zeros(m, parts.mantissa) if room else Const(0, 0)
    most_zeros = source.mantissa_bits if room else 0
    return _moved(m, parts, parts.exponent + offset, zeros, 1 + offset, most_zeros, room, target)


def scale_down(m: Module, word: Value, form: FloatFormat, amount: int | Value) -> Value:
    """Return ``word`` times 2**-amount, rounded: ``form.encode(form.decode(word) * 2.0**-amount)``. Combinational.

    Raises
    ------
    ValueError
        If ``amount`` is not from 0 to 7, or a value of more than 3 bits, or the format has no exponent or mantissa to
        speak of.
    """
    check_format(form)
    if isinstance(amount, int):
        if not 0 <= amount <= MOST_SCALE:
            raise ValueError(f"amount must be from 0 to {MOST_SCALE}, not {amount}")
        most, places = amount, Const(amount)
    else:
        most, places = (1 << len(amount)) - 1, amount
        if most > MOST_SCALE or amount.shape().signed:
            raise ValueError(f"amount must be unsigned, of at most 3 bits, not {amount.shape()!r}")
    parts = unpack(m, word, form)
    return _moved(m, parts, parts.exponent - places, Const(0, 0), 1 - most, 0, 0, form)


def _moved(
    m: Module,
    parts: Unpacked,
    exponent: Value,
    zeros: Value,
    lowest: int,
    most_zeros: int,
    room: int,
    target: FloatFormat,
) -> Value:
    """Return the word of a number whose leading bit has ``exponent``, biased as ``target``; see `Move.plan`."""
    bits = target.mantissa_bits + 2
    move = Move.plan(m, exponent, zeros, lowest=lowest, most_zeros=most_zeros, room=room, bits=bits)
    value = Cat(Const(0, max(bits - len(parts.mantissa), 0)), parts.mantissa)
    moved, sticky = move.apply(m, value, bits)
    digits = named(m, "digits", moved)
    flags = Flags(parts.sign, parts.is_nan, parts.is_special, parts.is_zero)
    field = named(m, "field", Mux(digits[-1], move.exponent, 0))
    return pack(m, target, flags, field, digits[:-1], sticky)


class FloatConverter(wiring.Component):
    """Round numbers to another format.

    Behaviour
    ---------
    ``result`` is ``target.encode(source.decode(a))`` for every word; see `convert`.

    Timing
    ------
    *Latency*: ``stages`` cycles. *Throughput*: a number a cycle. *Back-pressure*: none; nothing says which results are
    valid, so users delay their own bit.

    Reset
    -----
    Nothing is reset.

    Parameters
    ----------
    source, target : FloatFormat
        Of operand and result.
    stages : int
        Registers between operand and result, 1 to 16; all of them at the end.

    Members
    -------
    a : In(source.bits)
        Operand.
    result : Out(target.bits)
        The nearest number, ``stages`` cycles later.

    Raises
    ------
    ValueError
        If ``stages`` is out of range, or a format has no exponent or mantissa to speak of.
    """

    a: Signal
    result: Signal

    def __init__(self, source: FloatFormat, target: FloatFormat, stages: int) -> None:
        check(stages, source, target)
        self.source = source
        self.target = target
        self.stages = stages
        super().__init__({"a": In(source.bits), "result": Out(target.bits)})

    def elaborate(self, platform: object) -> Module:
        """Build the one step."""
        m = Module()
        s = Steps(m, self.stages, (1,))
        s.put(word=convert(m, self.a, self.source, self.target))
        s.end()
        m.d.comb += self.result.eq(s.word)
        return m
