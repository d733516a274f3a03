"""The vector unit's rules against their formulas in float64, and at their edges."""

from __future__ import annotations

import math

import numpy as np
import pytest

from spikeloom.chip import learn_rules as rules

F = np.float32
ULP = 2.0**-23


def draws(count: int, seed: int = 1) -> list[np.float32]:
    return list(np.random.default_rng(seed).normal(0, 1, count).astype(np.float32))


def assert_near(value: np.float32, expected: float, size: float, operations: int) -> None:
    """Within half a unit of the last place an operation, of the largest value on the way."""
    assert np.asarray(value).dtype == np.float32
    assert abs(float(value) - expected) <= operations * 0.5 * ULP * 2 * size


def test_membranes_leak_unless_they_fired():
    for x, u in zip(draws(50), draws(50, 2), strict=True):
        assert rules.membrane(x, u, True, F(0.25)) == x
        assert_near(rules.membrane(x, u, False, F(0.25)), 0.25 * float(u) + float(x), 4, 2)


def test_comparisons_are_strict():
    above, below = np.nextafter(F(0.25), F(1)), np.nextafter(F(0.25), F(0))
    assert [bool(rules.spikes(u, F(0.25))) for u in (below, F(0.25), above)] == [False, False, True]
    inside = [rules.in_window(F(u), F(0.25), F(0.5)) for u in (-0.25, -0.2499, 0.25, 0.7499, 0.75)]
    assert [bool(i) for i in inside] == [False, True, True, True, False]


@pytest.mark.parametrize("spiked", [False, True])
@pytest.mark.parametrize("inside", [False, True])
def test_gradients_through_a_neuron(spiked, inside):
    height, leak = 0.75, 0.5
    for g, u, after in zip(draws(50), draws(50, 2), draws(50, 3), strict=True):
        value = rules.membrane_gradient(g, u, spiked, inside, after, F(leak), F(height))
        expected = height * inside * (float(g) - leak * float(u) * float(after))
        expected += leak * (1 - spiked) * float(after)
        assert_near(F(value), expected, 8, 5)


def test_norms():
    for y, mean, inverse in zip(draws(50), draws(50, 2), draws(50, 3), strict=True):
        expected = (float(y) - float(mean)) * float(inverse)
        assert_near(rules.normalised(y, mean, inverse), expected, 16, 2)
        value = rules.norm_gradient(y, mean, inverse, F(0.3), F(-0.2))
        expected = float(inverse) * (float(y) - float(F(0.3)) - float(mean) * float(F(-0.2)))
        assert_near(value, expected, 16, 4)


def test_the_exponential_is_within_two_units():
    values = np.concatenate([-np.geomspace(1e-8, 87, 3000), [0.0], -np.arange(1, 60) * math.log(2)])
    for x in values.astype(np.float32):
        expected = math.exp(float(x))
        assert abs(float(rules.exponential(x)) - expected) <= 2 * ULP * expected, x
    assert rules.exponential(F(0)) == 1
    assert rules.exponential(F(-1000)) == rules.exponential(F(-87)) > 0


def test_momentum_decays_and_takes_the_gradient():
    for m, g, w in zip(draws(50), draws(50, 2), draws(50, 3), strict=True):
        value = rules.momentum_step(m, g, w, F(0.125), F(0.0625), F(0.75))
        expected = 0.75 * float(m) + 0.125 * float(g) + 0.0625 * float(w)
        assert_near(value, expected, 4, 5)
        alone = rules.momentum_step(F(0), F(0), w, F(0.125), F(0.0625), F(0.75))
        assert alone == F(0.0625) * w
