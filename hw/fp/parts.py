"""Parts of floating-point units: words taken apart, leading zeros, shifts with a sticky bit, rounding, steps.

Functions that take a module add signals to it, all combinational: what is read twice is a signal, else Amaranth would
write it down twice.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, ValueLike

from ...chip.formats import FloatFormat
from ..cores.arithmetic import named

__all__ = [
    "MOST_STAGES",
    "Flags",
    "Move",
    "Steps",
    "Unpacked",
    "check",
    "check_format",
    "count_steps",
    "finish",
    "leading_zeros",
    "pack",
    "shift_left",
    "shift_right",
    "unpack",
]

MOST_STAGES = 16


def check(stages: int, *forms: FloatFormat) -> None:
    """Raise ValueError if a unit can have no such number of stages, or cannot work on one of the formats."""
    if not 1 <= stages <= MOST_STAGES:
        raise ValueError(f"stages must be from 1 to {MOST_STAGES}, not {stages}")
    for form in forms:
        check_format(form)


def check_format(form: FloatFormat) -> None:
    """Raise ValueError if the units cannot work on a format."""
    if form.exponent_bits < 2 or form.mantissa_bits < 1:
        raise ValueError(
            f"a format must have an exponent of at least 2 bits and a mantissa of at least 1, "
            f"not {form.exponent_bits} and {form.mantissa_bits}"
        )


@dataclass(frozen=True)
class Unpacked:
    """A word taken apart. ``exponent`` is biased; subnormal numbers have that of the smallest normal ones, 1."""

    sign: Value
    exponent: Value
    mantissa: Value  # with the leading bit
    is_special: Value  # infinite or NaN
    is_nan: Value
    is_zero: Value

    @property
    def is_infinite(self) -> Value:
        """Whether the value is an infinity."""
        return self.is_special & ~self.is_nan


def unpack(m: Module, word: Value, form: FloatFormat) -> Unpacked:
    """Take ``word`` apart."""
    fraction, exponent = word[: form.mantissa_bits], word[form.mantissa_bits : form.bits - 1]
    is_normal = named(m, "is_normal", exponent.any())
    has_fraction = named(m, "has_fraction", fraction.any())
    is_special = named(m, "is_special", exponent.all())
    return Unpacked(
        sign=word[form.bits - 1],
        exponent=Cat(exponent[0] | ~is_normal, exponent[1:]),
        mantissa=Cat(fraction, is_normal),
        is_special=is_special,
        is_nan=named(m, "is_nan", is_special & has_fraction),
        is_zero=named(m, "is_zero", ~is_normal & ~has_fraction),
    )


def leading_zeros(m: Module, value: Value) -> Signal:
    """Return how many zeros stand above the highest 1 of ``value``; of 0, any number below twice the true one."""
    size = 1 << (len(value) - 1).bit_length()
    return named(m, "zeros", _leading_zeros(m, Cat(Const(0, size - len(value)), value))[0])


def _leading_zeros(m: Module, value: Value) -> tuple[Value, Value]:
    """Return the count and whether ``value``, of 2**n bits, is 0: the count's highest digit is decided first."""
    if len(value) == 1:
        return Const(0, 0), ~value
    half = len(value) // 2
    low, low_empty = _leading_zeros(m, value[:half])
    high, high_empty = _leading_zeros(m, value[half:])
    high_empty = named(m, f"empty_{half}", high_empty)
    return Cat(Mux(high_empty, low, high), high_empty), high_empty & low_empty


def shift_left(m: Module, value: Value, amount: Value) -> Value:
    """Return ``value << amount`` in the width of ``value``; the amount's highest bit, known first, shifts first."""
    for place in reversed(range(len(amount))):
        by = min(1 << place, len(value))
        shifted = Cat(Const(0, by), value[: len(value) - by])
        value = named(m, f"left_{by}", Mux(amount[place], shifted, value))
    return value


def shift_right(m: Module, value: Value, amount: Value, bits: int) -> tuple[Value, Value]:
    """Return the lower ``bits`` bits of ``value >> amount``, and whether a 1 was shifted out.

    What is left above them is dropped. So bits that no later shift can bring down have no multiplexers.
    """
    lost: Value = Const(0, 1)
    for place in reversed(range(len(amount))):
        by = 1 << place
        lost |= amount[place] & value[:by].any()
        moved = Mux(amount[place], value[by:], value)
        value = named(m, f"right_{by}", moved[: bits + by - 1])
    return value, named(m, "lost", lost)


@dataclass(frozen=True)
class Move:
    """How far digits have to move so that their highest bit is 1, or has the exponent of subnormal numbers.

    Attributes
    ----------
    room : int
        Places they may move to the left.
    amount : Value
        Places to the right, from ``room`` to the left on.
    exponent : Value
        Of the highest bit afterwards, biased; at least 1.
    """

    room: int
    amount: Value
    exponent: Value

    @classmethod
    def plan(
        cls,
        m: Module,
        exponent: Value,
        zeros: Value,
        *,
        lowest: int,
        most_zeros: int,
        room: int,
        bits: int,
    ) -> Move:
        """Return the move of digits with ``exponent``, biased, and ``zeros`` before their leading 1.

        Parameters
        ----------
        exponent, zeros : Value
            Of the digits. Those that are all 0 may have any zeros.
        lowest : int
            Of the exponents.
        most_zeros : int
            Of the zeros.
        room : int
            The most places to move left: of all digits, the least of zeros and exponent less 1.
        bits : int
            To keep.
        """
        exponent = named(m, "exponent", exponent)
        excess = named(m, "excess", exponent - zeros)
        if lowest > most_zeros:
            return cls(room, (room - zeros)[: room.bit_length()], excess[:-1])
        is_limited = named(m, "is_limited", excess < 1)
        amount = named(m, "amount", Mux(is_limited, room + 1 - exponent, room - zeros))
        digits = (room + bits).bit_length()
        is_far = amount[digits:].any()  # so far, or farther, nothing is left
        return cls(
            room,
            named(m, "places", amount[:digits] | is_far.replicate(digits)),
            named(m, "highest", Mux(is_limited, 1, excess[:-1])),
        )

    def apply(self, m: Module, value: Value, bits: int) -> tuple[Value, Value]:
        """Return the upper ``bits`` of ``value`` once moved, and whether there is a 1 below them."""
        below = len(value) - bits - self.room
        window = value[below:] if below >= 0 else Cat(Const(0, -below), value)
        moved, lost = shift_right(m, window, self.amount, bits)
        return moved, lost | value[: max(below, 0)].any()


@dataclass(frozen=True)
class Flags:
    """What a result is, whatever its digits: NaN before infinite before zero; only a NaN has its sign forced."""

    sign: Value
    is_nan: Value
    is_infinite: Value
    is_zero: Value


def pack(
    m: Module, form: FloatFormat, flags: Flags, exponent: Value, units: Value, sticky: Value
) -> Value:
    """Return the word of ``exponent`` and ``units``, rounded to the nearest, ties to the even one.

    Parameters
    ----------
    m : Module
        Gets the signals between.
    form : FloatFormat
        Of the word.
    flags : Flags
        Of the result.
    exponent : Value
        The field, 0 of a subnormal number; all ones, or more, is infinite.
    units : Value
        Bits of the mantissa field, and one below them. A carry out of rounding counts the exponent up.
    sticky : Value
        Whether anything non-zero is below ``units``.
    """
    field, beyond = exponent[: form.exponent_bits], exponent[form.exponent_bits :]
    up = units[0] & (sticky | units[1])
    rounded = (Cat(units[1:], field) + up)[: form.bits - 1]
    is_infinite = flags.is_infinite | ((beyond.any() | field.all()) & ~flags.is_zero)
    infinite = Cat(Const(0, form.mantissa_bits - 1), flags.is_nan, Const(-1, form.exponent_bits))
    finite = Mux(flags.is_zero, 0, rounded)
    size = Mux(flags.is_nan | is_infinite, infinite, finite)
    return Cat(named(m, "size", size), flags.sign & ~flags.is_nan)


def finish(
    m: Module, form: FloatFormat, flags: Flags, exponent: Value, digits: Value, sticky: Value
) -> Value:
    """Return the word of a product or quotient: moved by a last place, then as `pack` rounds it.

    Parameters
    ----------
    m : Module
        Gets the signals between.
    form : FloatFormat
        Of the word.
    flags : Flags
        Of the result.
    exponent : Value
        Biased, of the highest of the digits; at least 1.
    digits : Value
        The mantissa with its leading bit, and two bits more. The leading 1 is the highest or the second bit, unless the
        exponent is 1 (the number is subnormal then) or the result zero.
    sticky : Value
        Whether anything non-zero is below ``digits``.
    """
    top = digits[-1]
    stays = named(m, "stays", top | (exponent == 1))
    units = named(m, "units", Mux(stays, digits[1:-1], digits[:-2]))
    field = named(m, "field", Mux(top, exponent, (exponent - 1)[: len(exponent)]))
    return pack(m, form, flags, field, units, sticky | (stays & digits[0]))


def count_steps(m: Module, start: Value, busy: Signal, done: Signal, last: int) -> Signal:
    """Return the number of a serial unit's step, from 1 to ``last``, or 0 between calculations.

    A start is taken if no step is on. ``done`` is high in the cycle after the last step; a start is taken again in it.
    """
    step = Signal(range(last + 1))
    m.d.comb += busy.eq(step != 0)
    m.d.sync += [
        step.eq(Mux(busy, Mux(step == last, 0, step + 1), start)),
        done.eq(step == last),
    ]
    return step


class Steps:
    """A unit's calculation in steps, with registers behind some of them.

    A value is put in the step that computes it and read in the same step or any later one; it is then as many cycles
    old as registers lie between::

        steps.put(total=a + b)
        steps.end()
        steps.put(half=steps.total >> 1)

    The registers are made when a value is asked for; none is reset.

    Parameters
    ----------
    m : Module
        Of the unit; not inside a condition.
    stages : int
        Registers on the way through all steps; the last step always has one behind it.
    delays : sequence of int
        About how long each step takes, in any unit: the stages are cut so that the longest is as short as can be. With
        more stages than steps, the last step has the registers that are left.
    """

    def __init__(self, m: Module, stages: int, delays: Sequence[int]) -> None:
        self._m = m
        cuts = _cuts(min(stages, len(delays)), delays)
        self._registers = [int(step in cuts) for step in range(len(delays))]
        self._registers[-1] += stages - len(cuts)
        self._step = 0
        self._values: dict[str, tuple[int, list[Signal]]] = {}

    def put(self, **values: ValueLike) -> None:
        """Name values that this step computes; KeyError if a name is taken."""
        for name, value in values.items():
            if name in self._values:
                raise KeyError(f"the steps have a value {name!r} already")
            self._values[name] = (self._age, [named(self._m, name, Value.cast(value))])

    def end(self) -> None:
        """End a step."""
        self._step += 1

    @property
    def _age(self) -> int:
        """Registers behind the steps before this one."""
        return sum(self._registers[: self._step])

    def __getattr__(self, name: str) -> Signal:
        """Return the value ``name`` of the item that is in this step; KeyError if no step before has it."""
        first, signals = self._values[name]
        while first + len(signals) <= self._age:
            before = signals[-1]
            register = Signal(before.shape(), name=f"{name}_{len(signals)}", reset_less=True)
            self._m.d.sync += register.eq(before)
            signals.append(register)
        return signals[self._age - first]


def _cuts(stages: int, delays: Sequence[int]) -> tuple[int, ...]:
    """Return the steps that have a register behind them, the last among them, so that the longest stage is short."""
    last = len(delays) - 1

    def longest(cuts: tuple[int, ...]) -> int:
        starts = (0, *(cut + 1 for cut in cuts))
        return max(sum(delays[a:b]) for a, b in itertools.pairwise((*starts, last + 1)))

    return (*min(itertools.combinations(range(last), stages - 1), key=longest), last)
