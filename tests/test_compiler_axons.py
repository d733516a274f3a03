"""Axon sharing: equal columns, the payload bound, pruned columns, and hash collisions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from spikeloom.compiler import axons
from spikeloom.compiler.axons import collect_fan_in, equal_columns, group_axons
from spikeloom.compiler.fit import DoesNotFit

from .support.quantised_builder import QuantisedBuilder


def groups(weight, payload=1, signed=False, bits=8):
    b = QuantisedBuilder()
    weight = np.asarray(weight)
    b.input("in", (weight.shape[1],), max_payload=payload, signed=signed)
    b.population("p", (weight.shape[0],), axon_signed=signed)
    b.connect("in", "p", weight)
    fan_in = collect_fan_in(b.build("p"), "p", bits)
    return group_axons(fan_in, sparse.csc_array(fan_in.weight))


def test_equal_columns_share_an_axon_and_zero_columns_need_none():
    found = groups([[1, 2, 1, 0, 2], [3, 0, 3, 0, 0]])
    assert found.column.tolist() == [0, 1, 2, 4]
    assert found.axon.tolist() == [0, 1, 0, 1]
    assert found.representative.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("payload", "signed", "bits", "count"),
    [
        (1, False, 8, 1),
        (85, False, 8, 4),
        (86, False, 8, 5),
        (127, True, 8, 10),
        (63, True, 8, 5),
        (1, False, 2, 4),
        (1, True, 2, 10),
    ],
)
def test_the_payloads_of_an_axon_stay_within_its_bound(payload, signed, bits, count):
    found = groups(np.full((3, 10), 7), payload, signed, bits)
    assert found.count == count


def test_a_payload_beyond_the_axon_does_not_fit():
    with pytest.raises(
        DoesNotFit, match=r"^in -> p needs 9 activation bits, the chip has 8"
    ) as caught:
        groups([[1]], payload=256)
    assert caught.value.resource == "activation_bits"
    with pytest.raises(DoesNotFit, match=r"^in -> p needs 9 activation bits, the chip has 8"):
        groups([[1]], payload=128, signed=True)


def test_parallel_projections_of_one_delay_are_added_where_weights_stay_in_range():
    b = QuantisedBuilder()
    b.input("in", (3,))
    b.population("p", (2,))
    b.connect("in", "p", [[100, 1, 0], [0, 0, 5]])
    b.connect("in", "p", [[20, -1, 0], [0, 0, 5]])
    b.connect("in", "p", [[8, 0, 0], [0, 0, 0]])  # 128 would be one too many
    b.connect("in", "p", [[7, 0, 0], [0, 0, 0]])
    b.connect("in", "p", [[1, 1, 0], [0, 0, 5]], delay=1)
    fan_in = collect_fan_in(b.build("p"), "p", 8)
    expected = [[127, 0, 0, 8, 0, 0, 1, 1, 0], [0, 0, 10, 0, 0, 0, 0, 0, 5]]
    np.testing.assert_array_equal(fan_in.weight.toarray(), expected)
    assert fan_in.delay.tolist() == [0] * 6 + [1] * 3


@given(st.integers(0, 1000))
def test_grouping_equals_a_naive_grouping(seed):
    rng = np.random.default_rng(seed)
    weight = rng.integers(-1, 2, (rng.integers(1, 4), rng.integers(1, 30)))
    found = groups(weight)
    columns = [tuple(column) for column in weight.T]
    assert found.column.tolist() == [i for i, column in enumerate(columns) if any(column)]
    assert found.count == len({column for column in columns if any(column)})
    for column, axon in zip(found.column, found.axon, strict=True):
        assert columns[column] == columns[found.representative[axon]]


def test_columns_whose_hashes_collide_stay_apart(monkeypatch):
    class NoKeys:
        def integers(self, *args, **kwargs):
            return np.zeros(
                2, dtype=np.uint64
            )  # keys of 1: a column's hash is the sum of its weights

    monkeypatch.setattr(axons.np.random, "default_rng", lambda seed: NoKeys())
    block = sparse.csc_array(np.array([[1, 2, 3, 1, 0], [2, 1, 0, 2, 3]]))
    assert equal_columns(block, np.arange(5)).tolist() == [0, 1, 2, 0, 4]
    block = sparse.csc_array(np.array([[3, 0, 3], [0, 3, 0]]))  # equal values in other rows
    assert equal_columns(block, np.arange(3)).tolist() == [0, 1, 0]
