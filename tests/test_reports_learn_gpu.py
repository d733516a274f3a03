"""The V100 as a roofline, and ours beside it: sums, bounds, and where the comparison stands."""

from __future__ import annotations

from dataclasses import replace

import pytest

from spikeloom.ablations import (
    ablation_tables,
    ablations,
    against_gpu,
    gpu_table,
    save_ablation_plots,
)
from spikeloom.chip.config import load_config
from spikeloom.models.learn_zoo import LEARN_ZOO, build_learn_network
from spikeloom.reports.gpu_baseline import PUBLISHED, compare_with_gpu, gpu_step
from spikeloom.reports.learn_costs import load_gpu_costs

COSTS = load_gpu_costs()
CHIP = load_config("h2learn")


def test_rows_sum_to_passes_and_layers():
    gpu = gpu_step(build_learn_network("resnet34_like"), 32, 6)
    assert gpu.seconds == pytest.approx(sum(row.seconds for row in gpu.rows))
    for parts in (gpu.by_pass, gpu.by_layer):
        assert gpu.seconds == pytest.approx(sum(seconds for seconds, _ in parts.values()))
        assert gpu.joules == pytest.approx(sum(joules for _, joules in parts.values()))
    assert len(gpu.by_layer) == 38


@pytest.mark.parametrize(
    ("name", "batch"), [("cifar_conv", 64), ("alexnet_like", 32), ("resnet34_like", 32)]
)
def test_large_networks_are_bound_by_arithmetic(name, batch):
    net = build_learn_network(name, "frozen")
    operations = 2 * 3 * 6 * batch * sum(stage.macs for stage in net.stages)
    bound = operations / (COSTS.value("fp32_efficiency") * COSTS.value("fp32_flops"))
    gpu = gpu_step(net, batch, 6)
    # Less for the image, which is multiplied once and has no gradient; more for what streams.
    assert 0.9 * bound < gpu.seconds < 1.3 * bound
    assert 100 < gpu.power_w < 270
    fast = gpu_step(net, batch, 6, "tensor")
    assert 2.5 < gpu.seconds / fast.seconds < 5


def test_a_small_network_waits_for_launches():
    gpu = gpu_step(build_learn_network("mnist_mlp"), 64, 4)
    launches = sum(row.kernels for row in gpu.rows) * COSTS.value("launch_s")
    assert launches > 0.7 * gpu.seconds
    assert gpu.power_w < 100


def test_batch_statistics_stream_more_than_frozen_ones():
    times = [
        gpu_step(build_learn_network("cifar_conv", norm), 64, 6).seconds
        for norm in ("none", "frozen", "batch")
    ]
    assert times == sorted(times)
    assert times[0] < times[2]


def test_bad_arguments_get_sentences():
    net = build_learn_network("mnist_mlp")
    with pytest.raises(ValueError, match="at least 1, not 0 and 4"):
        gpu_step(net, 0, 4)
    with pytest.raises(ValueError, match="fp32 or tensor, not 'int8'"):
        gpu_step(net, 1, 4, "int8")  # pyright: ignore[reportArgumentType]


def test_a_comparison_is_what_it_says():
    gpu = gpu_step(build_learn_network("cifar_conv"), 64, 6)
    same = compare_with_gpu(gpu.seconds, gpu.joules, gpu.die_mm2, gpu)
    assert (same.speedup, same.energy_gain, same.area_ratio, same.power_ratio) == pytest.approx(
        (1, 1, 1, 1)
    )
    assert not same.speed_is_like_published
    like = compare_with_gpu(gpu.seconds / 7, gpu.joules / 6, 110.4, gpu)
    assert like.speed_is_like_published
    assert like.energy_is_like_published
    assert like.area_ratio == pytest.approx(PUBLISHED.area, rel=1e-3)


def test_the_cifar_network_beside_the_gpu():
    entry = LEARN_ZOO["cifar_conv"]
    net = entry.build("frozen")
    fp32, tensor = against_gpu(net, entry.recipe, CHIP, micro_batches=(4,))
    assert 4 <= fp32.speedup <= 14
    assert fp32.like_published == "speed"  # our power is far below the GPU's: docs/learn_reports.md
    assert tensor.speedup < fp32.speedup
    dense, _ = against_gpu(
        entry.build("batch"), entry.recipe, CHIP, input_density=1.0, micro_batches=(4,)
    )
    assert dense.speedup < fp32.speedup
    assert gpu_table([fp32])[-1][7] == "5.74 to 10.2"


@pytest.fixture(scope="module")
def result():
    entry = LEARN_ZOO["cifar_conv"]
    return ablations(entry.build("frozen"), replace(entry.recipe, batch=16), CHIP)


def test_lookup_against_adders(result):
    own, gated, as_large, skipping, _ = result.lookup
    assert own.relative_time == 1
    # h2learn_facts, item 4: g times faster at as many lanes, less what is ragged.
    assert 3.4 <= gated.relative_time <= 4.1
    assert gated.area_mm2 < own.area_mm2 == pytest.approx(as_large.area_mm2)
    assert 2.5 < as_large.relative_time < gated.relative_time
    # Item 5: skipping costs the density, a lookup 1 / g.
    assert skipping.relative_time == pytest.approx(0.4 * gated.relative_time)


def test_groups_have_their_optima_where_the_facts_say(result):
    # Item 3: additions alone are fewest at larger and larger g; area, delay and energy together at 3 to 5.
    for outputs, expected in ((64, {5}), (256, {6}), (1024, {7, 8})):
        rows = [row for row in result.groups if row.outputs == outputs]
        assert min(rows, key=lambda row: row.adds_per_input).group in expected
        assert min(rows, key=lambda row: row.area_delay_energy).group in {3, 4, 5}
        assert min(rows, key=lambda row: row.area_delay).group in {3, 4, 5}
    assert {row.outputs for row in result.groups} == {64, 256, 288, 1024}


def test_each_side_of_sparsity_helps_and_none_beats_the_ideal(result):
    nothing, one, both = result.sparsity
    assert nothing.backward_ms > one.backward_ms > both.backward_ms
    assert nothing.step_ms > one.step_ms > both.step_ms
    assert 1.5 < one.speedup <= one.ideal_speedup == pytest.approx(2.5, rel=0.01)
    assert 3 < both.speedup <= both.ideal_speedup == pytest.approx(7.35, rel=0.02)
    assert all(0 < row.of_ideal <= 1 for row in result.sparsity)


def test_engines_gain_by_overlapping(result):
    serial, *together = result.overlap
    assert serial.gain == 1
    assert [row.micro_batches for row in together] == [1, 2, 4, 8]
    assert max(row.gain for row in together) > 1.4
    assert all(row.milliseconds > row.busiest_ms for row in together)
    assert all(row.gain < 3 for row in together)


def test_tables_and_plots(result, tmp_path):
    tables = ablation_tables(result)
    assert len(tables) == 4
    for rows in tables.values():
        assert len({len(row) for row in rows}) == 1
        assert len(rows) > 3
    first = save_ablation_plots(result, tmp_path / "a")
    second = save_ablation_plots(result, tmp_path / "b")
    assert [path.name for path in first] == [
        "lookup.svg",
        "groups.svg",
        "sparsity.svg",
        "overlap.svg",
    ]
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()
        assert one.stat().st_size > 5000
    with pytest.raises(ValueError, match=r"svg, png, pdf, not 'gif'"):
        save_ablation_plots(result, tmp_path, "gif")


def test_bad_spike_density_gets_a_sentence():
    entry = LEARN_ZOO["mnist_mlp"]
    with pytest.raises(ValueError, match=r"spike_density must be within 0\.\.1, not 2"):
        ablations(entry.build(None), entry.recipe, CHIP, spike_density=2)
