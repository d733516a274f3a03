"""Signatures: what each register of a tile absorbs, bit for bit, and the CRC-32C that absorbs it; plain integers.

A tile has a register per unit of `chip.memory_map.SIGNATURE_UNITS`: the core, then each output of its router. All are
0 at the start of a sample and absorb one word per event, so that two machines whose registers agree after a timestep
agreed in every event up to it, in its value and in its cycle. A word, least significant field first:

    core: a neuron retires         cycle 16 | neuron target_bits | output payload_bits | v_mem membrane_bits
    output: a flit leaves          cycle 16 | kind | dx | dy | target | delay | payload

- ``cycle`` counts within the timestep, modulo 2**16: the cycle of `ManyCoreConfig.retire_cycle`, or the one in which
  the flit leaves the router.
- Every neuron in use retires in every timestep in which its core computes, a refractory one with output 0 and its
  membrane as it was. ``v_mem`` is the membrane after the update; 0 for RELU, TABLE and PARTIAL, which have none.
- The flit is the word of `chip.packet.FlitLayout` as it leaves: ``dx`` and ``dy`` are those from the *next* router on.
  So they are 0 at the local output, and ``dy`` is 0 at the northern edge, where row -1 is reached.
- Signed values are two's complement of their field's width; ``target_bits`` and ``payload_bits`` are the flit's.

A CRC is linear over GF(2), so in hardware the next state is an XOR of the columns of `matrix`. Words are absorbed bit
by bit, least significant first: absorbing fields one after the other is absorbing the word.
"""

from __future__ import annotations

from functools import cache

# CRC-32C (Castagnoli), reflected. Neither an initial value nor a final inversion: the registers start at 0.
POLYNOMIAL = 0x82F63B78
STATE_BITS = 32
CYCLE_BITS = 16


def absorb(state: int, word: int, bits: int) -> int:
    """Return ``state`` after the low ``bits`` bits of ``word``, least significant first; ``word`` may be negative."""
    for place in range(bits):
        low = (state ^ (word >> place)) & 1
        state = (state >> 1) ^ (POLYNOMIAL if low else 0)
    return state


@cache
def matrix(word_bits: int) -> tuple[int, ...]:
    """Return what each input bit contributes to the next state: 32 state bits first, then ``word_bits`` word bits.

    The next state is the XOR of the columns whose input bit is 1.
    """
    of_state = (absorb(1 << place, 0, word_bits) for place in range(STATE_BITS))
    of_word = (absorb(0, 1 << place, word_bits) for place in range(word_bits))
    return (*of_state, *of_word)


@cache
def byte_table() -> tuple[int, ...]:
    """Return the 256 states that the bytes lead to from 0, for absorbing 8 bits at a time.

    ``absorb(state, byte, 8) == (state >> 8) ^ byte_table()[(state ^ byte) & 255]``.
    """
    return tuple(absorb(0, byte, 8) for byte in range(256))
