"""The signature's CRC: a published value, linearity, and the two ways to absorb more than a bit at a time."""

from __future__ import annotations

from functools import reduce

from hypothesis import given
from hypothesis import strategies as st

from spikeloom.chip.signature import STATE_BITS, absorb, byte_table, matrix

states = st.integers(0, (1 << STATE_BITS) - 1)
words = st.integers(0, (1 << 112) - 1)


def test_it_is_crc_32c():
    # The check value of CRC-32/ISCSI in the catalogue of parametrised CRC algorithms.
    state = reduce(lambda s, byte: absorb(s, byte, 8), b"123456789", 0xFFFFFFFF)
    assert state ^ 0xFFFFFFFF == 0xE3069283


@given(states, states, words, words, st.integers(0, 112))
def test_absorbing_is_linear(one, other, word, another, bits):
    together = absorb(one ^ other, word ^ another, bits)
    assert together == absorb(one, word, bits) ^ absorb(other, another, bits)


@given(states, words, st.integers(0, 112), st.integers(0, 112))
def test_fields_in_turn_are_the_whole_word(state, word, bits, cut):
    cut = min(cut, bits)
    assert absorb(absorb(state, word, cut), word >> cut, bits - cut) == absorb(state, word, bits)


@given(states, st.integers(-(1 << 40), (1 << 40) - 1))
def test_a_negative_word_is_its_two_s_complement(state, word):
    assert absorb(state, word, 41) == absorb(state, word % (1 << 41), 41)


@given(states, words, st.integers(1, 112))
def test_the_matrix_gives_the_next_state(state, word, bits):
    columns = matrix(bits)
    assert len(columns) == STATE_BITS + bits
    inputs = state | (word % (1 << bits)) << STATE_BITS
    chosen = (column for place, column in enumerate(columns) if (inputs >> place) & 1)
    assert reduce(int.__xor__, chosen, 0) == absorb(state, word, bits)


@given(states, st.integers(0, 255))
def test_the_byte_table_gives_the_next_state(state, byte):
    assert (state >> 8) ^ byte_table()[(state ^ byte) & 255] == absorb(state, byte, 8)


@given(states, st.integers(0, 6), st.integers(0, 111))
def test_any_changed_bit_is_seen(state, word, place):
    assert absorb(state, word, 112) != absorb(state, word ^ (1 << place), 112)
