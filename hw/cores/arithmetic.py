"""Combinational pieces of the neuron's arithmetic: saturation, shifts that saturate, multipliers in two halves."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed

__all__ = [
    "at_limit",
    "exceeds",
    "log2_one_hot",
    "named",
    "partial_products",
    "saturate",
    "shift_left_saturate",
    "weighted_sum",
]

PIECE_BITS = 17  # what an input of an 18 x 18 multiplier holds beside a sign


def named(m: Module, name: str, expression: Value) -> Signal:
    """Return a signal that shows ``expression`` in the same cycle, exactly as wide."""
    signal = Signal(expression.shape(), name=name)
    m.d.comb += signal.eq(expression)
    return signal


def limits(negative: Value, bits: int) -> Value:
    """Return the lowest value of ``bits`` signed bits where ``negative``, else the highest."""
    return Cat((~negative).replicate(bits - 1), negative).as_signed()


def saturate(value: Signal, bits: int) -> Value:
    """Return the signed ``value`` clipped to ``bits`` signed bits (chip.arithmetic.saturate)."""
    if len(value) <= bits:
        return Cat(value, value[-1].replicate(bits - len(value))).as_signed()
    beyond = value[bits - 1 :]
    fits = beyond.all() | ~beyond.any()
    return Mux(fits, value[:bits].as_signed(), limits(value[-1], bits))


def at_limit(value: Value) -> Value:
    """Return whether the signed ``value`` is the lowest or the highest of its width."""
    rest = value[:-1]
    return Mux(value[-1], ~rest.any(), rest.all())


def exceeds(value: Value, threshold: Value, or_equal: Value) -> Value:
    """Return whether ``value`` crosses ``threshold`` (chip.arithmetic.fires)."""
    return (value > threshold) | (or_equal & (value == threshold))


def shift_left_saturate(m: Module, name: str, value: Value, shift: Value, bits: int) -> Signal:
    """Return the signed ``value << shift`` clipped to ``bits`` signed bits; ``shift`` stands since the cycle before.

    Whether it fits is seen before the shifter: bit ``i`` moves to ``i + shift`` and must equal the sign from place
    ``bits - 1`` on; where even the lowest bit moves beyond, only 0 fits.
    """
    sign, rest = value[-1], value[:-1]
    checked = Signal(len(rest), name=f"{name}_checked")
    only_zero = Signal(name=f"{name}_only_zero")
    m.d.sync += [
        checked.eq(Cat(shift >= max(bits - 1 - i, 0) for i in range(len(rest)))),
        only_zero.eq(shift >= bits),
    ]
    differs = (rest ^ sign.replicate(len(rest))) & checked
    fits = ~differs.any() & ~(only_zero & sign)
    shifted = Signal(signed(bits), name=f"{name}_unclipped")
    m.d.comb += shifted.eq(value << shift)
    return named(m, name, Mux(fits, shifted, limits(sign, bits)))


def log2_one_hot(value: Value) -> Value:
    """Return the place of the only bit of ``value`` that is set; ``value`` has at least two bits."""
    digits = (len(value) - 1).bit_length()
    return Cat(
        Cat(bit for place, bit in enumerate(value) if place >> digit & 1).any()
        for digit in range(digits)
    )


def _pieces(value: Value) -> list[tuple[Value, int]]:
    """Cut ``value`` into unsigned pieces of `PIECE_BITS` bits and a last one with its sign: (piece, place)."""
    is_signed = value.shape().signed
    pieces: list[tuple[Value, int]] = []
    place = 0
    while len(value) - place > PIECE_BITS + is_signed:
        pieces.append((value[place : place + PIECE_BITS], place))
        place += PIECE_BITS
    last = value[place:]
    return [*pieces, (last.as_signed() if is_signed else last, place)]


def partial_products(m: Module, name: str, a: Value, b: Value) -> list[tuple[Signal, int]]:
    """Return registers that hold the partial products of ``a`` and ``b`` a cycle later: (product, place).

    Each is as large as one 18 x 18 multiplier makes it; `weighted_sum` adds them up.
    """
    parts = []
    for i, (piece_a, place_a) in enumerate(_pieces(a)):
        for j, (piece_b, place_b) in enumerate(_pieces(b)):
            part = Signal((piece_a * piece_b).shape(), name=f"{name}_{i}_{j}")
            m.d.sync += part.eq(piece_a * piece_b)
            parts.append((part, place_a + place_b))
    return parts


def weighted_sum(
    m: Module, name: str, parts: list[tuple[Signal, int]], addend: Value, bits: int
) -> Signal:
    """Return ``addend`` plus the product whose ``parts`` these are, as a signed number of ``bits`` bits."""
    total = Signal(signed(bits), name=name)
    m.d.comb += total.eq(sum((part.shift_left(place) for part, place in parts), addend))
    return total
