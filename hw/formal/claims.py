"""The three kinds of property under the names in which they read, with the place where they stand."""

from __future__ import annotations

from amaranth.hdl import Assert, Assume, Cover
from amaranth.hdl._ast import Property, ValueLike

__all__ = ["always", "given", "sometimes"]


def always(test: ValueLike) -> Property:
    """Assert ``test`` in every cycle."""
    return Assert(test, None, src_loc_at=1)


def given(test: ValueLike) -> Property:
    """Assume ``test`` in every cycle."""
    return Assume(test, None, src_loc_at=1)


def sometimes(test: ValueLike) -> Property:
    """Cover: ask for a run in which ``test`` holds in some cycle."""
    return Cover(test, None, src_loc_at=1)
