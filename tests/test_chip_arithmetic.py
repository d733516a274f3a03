"""The chip's arithmetic: boundaries, rounding, every reset, against exact rationals."""

from __future__ import annotations

from fractions import Fraction
from math import floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikeloom.chip import arithmetic as rules
from spikeloom.chip.arithmetic import Compare, ResetMode, ResetTiming
from spikeloom.sim.jit import arithmetic as compiled

BITS = st.integers(4, 40)
VALUES = st.integers(-(2**39), 2**39)


@given(VALUES, BITS)
def test_wrap_is_the_residue_in_the_signed_range(value, bits):
    wrapped = rules.wrap(value, bits)
    assert -(2 ** (bits - 1)) <= wrapped < 2 ** (bits - 1)
    assert (wrapped - value) % 2**bits == 0


@given(VALUES, BITS)
def test_saturate_is_the_nearest_value_in_range(value, bits):
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    assert rules.saturate(value, bits) == min(max(value, low), high)


@given(VALUES, st.integers(0, 2**20), st.integers(0, 20))
def test_scale_round_is_the_exact_product_rounded_half_up(value, factor, shift):
    exact = Fraction(value * factor, 2**shift)
    assert rules.scale_round(value, factor, shift) == floor(exact + Fraction(1, 2))


@given(VALUES, st.integers(0, 2**20), st.integers(0, 20), st.integers(2, 30))
def test_compiled_twins_agree(value, factor, shift, bits):
    assert compiled.scale_round(value, factor, shift) == rules.scale_round(value, factor, shift)
    assert compiled.wrap(value, bits) == rules.wrap(value, bits)
    assert compiled.saturate(value, bits) == rules.saturate(value, bits)
    assert compiled.table_index(value, factor, shift) == rules.table_index(value, factor, shift)
    assert compiled.requantise(value, factor, shift, 255) == rules.requantise(
        value, factor, shift, 255
    )


@pytest.mark.parametrize(
    ("v", "compare", "expected"),
    [(9, 0, False), (10, 0, False), (11, 0, True), (9, 1, False), (10, 1, True)],
)
def test_the_threshold_itself(v, compare, expected):
    assert rules.fires(v, 10, compare) is expected


def neuron(v, i_in, mode, timing, *, threshold=100, v_reset=7, decay=8, compare=Compare.GT):
    """Update with decay 8/16; return (u, stored membrane, fired)."""
    u = rules.integrate(v, i_in, decay, threshold, v_reset, mode, timing, compare, 4, 16)
    fired = rules.fires(u, threshold, compare)
    if fired and timing == ResetTiming.SAME:
        return u, rules.reset_same(u, threshold, v_reset, mode), fired
    return u, u, fired


@pytest.mark.parametrize(
    ("mode", "after"),
    [(ResetMode.ZERO, 0), (ResetMode.VALUE, 7), (ResetMode.SUBTRACT, 30), (ResetMode.WIPE, 0)],
)
def test_resets_of_the_same_timestep(mode, after):
    assert neuron(100, 80, mode, ResetTiming.SAME) == (130, after, True)


@pytest.mark.parametrize(
    ("mode", "u"),
    [
        (ResetMode.ZERO, 20),
        (ResetMode.VALUE, 4 + 20),
        (ResetMode.SUBTRACT, 65 + 20 - 100),
        (ResetMode.WIPE, 0),
    ],
)
def test_resets_of_the_next_timestep_act_on_the_stored_membrane(mode, u):
    assert neuron(130, 20, mode, ResetTiming.NEXT) == (
        u,
        u,
        False,
    )  # 130 fired; half of 7 rounds to 4


def test_a_delayed_reset_needs_a_membrane_that_fired():
    assert neuron(100, 0, ResetMode.ZERO, ResetTiming.NEXT)[0] == 50
    assert neuron(100, 0, ResetMode.ZERO, ResetTiming.NEXT, compare=Compare.GE)[0] == 0


def test_membranes_saturate():
    assert rules.integrate(32_000, 10_000, 16, 100, 0, 0, 0, 0, 4, 16) == 32_767


@given(st.integers(-500, 500), st.sampled_from([1, 4, 16]), st.integers(1, 9))
def test_spike_count_is_the_whole_number_of_thresholds(u, threshold, most):
    assert rules.spike_count(u, threshold, most) == min(max(u // threshold, 0), most)


def test_lfsr_has_a_long_period_and_known_states():
    state, seen = 1, set()
    for _ in range(50_000):
        assert state not in seen
        seen.add(state)
        assert 0 < state < 2**32
        state = rules.lfsr_next(state)
    assert rules.lfsr_next(1) == 1 << 31
    assert rules.lfsr_next(0b11) == 1
