"""Partition: few cores, balanced partial sums, recurrent sources in main cores, blocks small enough to route."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy import sparse

from spikeloom.chip.config import load_config
from spikeloom.compiler.axons import collect_fan_in
from spikeloom.compiler.fit import DoesNotFit
from spikeloom.compiler.partition import fan_out, partition
from spikeloom.compiler.tiles import CostModel, Cut, choose_cut
from spikeloom.compiler.verify import CompilerError, check_partition

from .support.quantised_builder import QuantisedBuilder


def chip(axons=16, neurons=16, mesh=(8, 8), **core):
    columns, rows = mesh
    return load_config("tiny").replace(
        core={"axons": axons, "neurons": neurons, "lanes": 2, "delay_slots": 8, **core},
        network={"columns": columns, "rows": rows},
    )


def convolution(channels, height, width, out_channels, kernel, pool=1, seed=0):
    """Return the matrix of a padded convolution after sum pooling, and its output shape."""
    rng = np.random.default_rng(seed)
    kernels = rng.integers(1, 100, (out_channels, channels, kernel, kernel))
    h, w = height // pool, width // pool
    o, y, x, c, ky, kx, py, px = np.ogrid[
        :out_channels, :h, :w, :channels, :kernel, :kernel, :pool, :pool
    ]
    at_y, at_x = y + ky - kernel // 2, x + kx - kernel // 2
    inside = (at_y >= 0) & (at_y < h) & (at_x >= 0) & (at_x < w)
    row, column = (o * h + y) * w + x, (c * height + at_y * pool + py) * width + at_x * pool + px
    full = np.broadcast_shapes(row.shape, column.shape)
    chosen = np.broadcast_to(inside, full)
    entries = [np.broadcast_to(part, full)[chosen] for part in (kernels[o, c, ky, kx], row, column)]
    shape = (out_channels * h * w, channels * height * width)
    return sparse.csr_array((entries[0], (entries[1], entries[2])), shape=shape), (
        out_channels,
        h,
        w,
    )


def layer(weight, shape=None, **source):
    b = QuantisedBuilder()
    b.input("in", (weight.shape[1],), **source)
    b.population("p", shape or (weight.shape[0],))
    b.connect("in", "p", weight)
    return b.build("p")


def test_a_dense_layer_takes_the_fewest_cores():
    network = layer(np.random.default_rng(0).integers(1, 9, (40, 50)))
    plan = partition(network, chip())
    check_partition(network, plan, chip())
    assert len(plan.cores) == 3 * 4  # 40 neurons in 3 blocks, 50 axons on 4 cores each
    assert sorted({len(core.neurons) for core in plan.cores}) == [13, 14]
    assert max(len(core.weights) for core in plan.cores) == 13  # balanced, not 16 + 16 + 16 + 2


def test_pruned_weights_save_cores():
    weight = np.random.default_rng(0).integers(1, 9, (16, 64))
    assert len(partition(layer(weight), chip()).cores) == 4
    weight[:, 10:] = 0
    assert len(partition(layer(weight), chip()).cores) == 1


def test_pooling_costs_no_axons():
    weight = np.random.default_rng(0).integers(1, 9, (16, 16)).repeat(4, axis=1)
    assert len(partition(layer(weight), chip()).cores) == 1


def test_a_convolution_is_cut_into_tiles_and_channels():
    weight, shape = convolution(4, 12, 12, 8, 3)
    network = layer(weight, shape)
    config = chip(axons=64, neurons=32, mesh=(16, 16), route_entries=500)
    plan = partition(network, config)
    check_partition(network, plan, config)
    fan_in = collect_fan_in(network, "p", 8)
    whole_rows = CostModel(fan_in, 64).cut_cost(Cut(shape, (8, 6, 1)), exact=True)[0]
    assert 36 <= len(plan.cores) < whole_rows


def test_the_cost_model_counts_what_the_plan_takes():
    weight, shape = convolution(3, 10, 10, 5, 3, pool=2)
    network = layer(weight, shape)
    config = chip(axons=20, neurons=24, mesh=(16, 16))
    plan = partition(network, config)
    fan_in = collect_fan_in(network, "p", 8)
    cut = choose_cut(shape, fan_in, 20, 24)
    assert CostModel(fan_in, 20).cut_cost(cut, exact=True) == (
        len(plan.cores),
        sum(len(c.column) for c in plan.cores),
    )


def test_cuts_cover_every_neuron_once():
    cut = Cut((5, 7, 3), (2, 3, 2))
    assert sorted(np.concatenate(list(cut.blocks())).tolist()) == list(range(105))
    assert max(len(block) for block in cut.blocks()) == cut.largest_block
    assert sum(count for _, count in cut.sample()) == cut.block_count


def test_delayed_sources_stay_in_the_main_core():
    b, rng = QuantisedBuilder(), np.random.default_rng(0)
    b.input("in", (40,))
    b.population("p", (10,))
    b.connect("in", "p", rng.integers(1, 9, (10, 40)))
    b.connect("p", "p", rng.integers(1, 9, (10, 10)), delay=1)
    network = b.build("p")
    plan = partition(network, chip())
    check_partition(network, plan, chip())
    assert len(plan.cores) == 4
    for core in plan.cores:
        delayed = plan.fan_in[0].delay[core.column] > 0
        assert delayed.sum() == (10 if core.main == 0 and core is plan.cores[0] else 0)


def test_a_partial_core_keeps_only_the_neurons_that_it_feeds():
    weight = np.zeros((8, 24), dtype=int)
    weight[:, :12] = np.random.default_rng(0).integers(1, 99, (8, 12))
    weight[:3, 12:] = np.random.default_rng(1).integers(1, 99, (3, 12))
    plan = partition(layer(weight), chip(axons=12))
    assert [core.target.tolist() for core in plan.cores] == [list(range(8)), [0, 1, 2]]


def test_blocks_shrink_until_their_routes_fit():
    b, rng = QuantisedBuilder(), np.random.default_rng(0)
    b.input("in", (8,))
    b.population("a", (16,))
    b.population("b", (60,))
    b.connect("in", "a", rng.integers(1, 9, (16, 8)))
    b.connect("a", "b", rng.integers(1, 99, (60, 16)))  # each neuron of a goes to 4 cores
    network = b.build("b")
    config = chip(route_entries=30)
    plan = partition(network, config)
    check_partition(network, plan, config)
    assert plan.smaller_blocks == {"a": 7}
    assert [core.population for core in plan.cores] == [0, 0, 0, 1, 1, 1, 1]
    assert max(fan_out(network, plan)[1]) == 4


def refused(network, config) -> DoesNotFit:
    with pytest.raises(DoesNotFit) as caught:
        partition(network, config)
    assert str(caught.value.asked) in str(caught.value)
    assert caught.value.asked > caught.value.available
    assert caught.value.levers
    return caught.value


def test_too_many_cores_do_not_fit():
    weight = np.random.default_rng(0).integers(1, 99, (40, 50))
    error = refused(layer(weight), chip(mesh=(2, 2)))
    assert (error.resource, error.asked, error.available) == ("cores", 12, 4)
    assert str(error) == (
        "the network (most of all p: 12) needs 12 cores, the chip has 4; it would fit with a mesh of at least "
        "12 cores, or more axons and neurons a core, or a smaller network"
    )


def test_too_great_a_fan_out_does_not_fit():
    b, rng = QuantisedBuilder(), np.random.default_rng(0)
    b.input("in", (8,))
    b.population("a", (16,))
    b.population("b", (60,))
    b.connect("in", "a", rng.integers(1, 9, (16, 8)))
    b.connect("a", "b", rng.integers(1, 99, (60, 16)))
    network = b.build("b")
    error = refused(network, chip(route_entries=3))
    assert (error.resource, error.where, error.asked, error.available) == (
        "route_entries",
        "a neuron of a",
        4,
        3,
    )
    error = refused(
        network, chip(route_entries=16, mesh=(2, 3))
    )  # a on 4 cores of 4 neurons, each sends to 4 of b
    assert (error.resource, error.asked, error.available) == ("cores", 8, 6)
    assert error.levers[0] == "more route_entries"


def test_a_wrong_plan_is_caught():
    network = layer(np.random.default_rng(0).integers(1, 9, (8, 8)))
    plan = partition(network, chip())
    plan.cores[0].weights[3, 2] += 1
    with pytest.raises(
        CompilerError, match="after pass partition, p: the cores must compute the sums"
    ):
        check_partition(network, plan, chip())


def test_a_large_convolution_is_cut_in_seconds():
    weight, shape = convolution(24, 28, 28, 48, 3, pool=2)
    assert weight.nnz > 7_000_000
    network = layer(weight, shape)
    start = time.process_time()
    plan = partition(network, load_config("tianjic"))
    assert time.process_time() - start < 8
    assert len(plan.cores) <= 84  # 37 blocks of 256 neurons at the very least, two cores each
