"""Unsigned fields of a word, the first one lowest: packed into it, and read from it."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["Fields", "bits_of", "pack_fields", "unpack_fields"]

Fields = tuple[tuple[str, int], ...]  # names and bits


def bits_of(fields: Fields) -> int:
    """Return the bits of all fields."""
    return sum(bits for _, bits in fields)


def pack_fields(fields: Fields, values: Mapping[str, int], what: str) -> int:
    """Return the word that holds ``values``; a field without one is 0.

    Raises
    ------
    ValueError
        Naming a field of ``what`` whose value does not fit.
    """
    word, shift = 0, 0
    for name, bits in fields:
        value = int(values.get(name, 0))
        if not 0 <= value < 1 << bits:
            raise ValueError(f"{name} of {what} must be within 0..{(1 << bits) - 1}, not {value}")
        word |= value << shift
        shift += bits
    return word


def unpack_fields(fields: Fields, word: int) -> dict[str, int]:
    """Return the fields of a word; bits above the last one are left out."""
    values: dict[str, int] = {}
    for name, bits in fields:
        values[name] = word & ((1 << bits) - 1)
        word >>= bits
    return values
