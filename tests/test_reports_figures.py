"""Rooflines, timeline and graph of the page: what they show is what the result counts."""

from __future__ import annotations

import re

import pytest

from spikeloom.chip.config import load_config
from spikeloom.reports.ceilings import chip_of
from spikeloom.reports.charts import bins_of, confusion_svg, curves_svg
from spikeloom.reports.learn_result import StepTasks
from spikeloom.reports.network_map import network_svg, ranks
from spikeloom.reports.result import ResultError
from spikeloom.reports.roofline import Point, Roofline, Slope, core_rooflines, engine_rooflines
from spikeloom.reports.roofline_chart import roofline_svg
from spikeloom.reports.scales import linear_ticks, log_bounds, log_ticks
from spikeloom.reports.timeline import lanes
from spikeloom.reports.timeline_chart import timeline_svg
from tests.support.learn_result_builder import make_step
from tests.support.result_builder import make_result

CONFIG = load_config("tianjic")


def test_a_layer_stands_where_its_counters_put_it():
    result = make_result()
    weights, port, host = core_rooflines(result, CONFIG)
    cycles, clock = result.counters["chip"]["cycles"], CONFIG.clock_hz
    for number, layer in enumerate(result.layers, 1):
        own = [core for core in result.counters["cores"] if core["layer"] == layer.name]
        synops = sum(core["synops"] for core in own)
        words = sum(core["weight_reads"] for core in own)
        flits_in = sum(core["axon_writes"] + core["sum_writes"] for core in own)
        flits_out = sum(core["flits_sent"] for core in own)
        busy = sum(core["compute_cycles"] for core in own)
        (point,) = [point for point in weights.points if point.number == number]
        assert point.intensity == pytest.approx(synops / (words * 16))
        assert point.rate == pytest.approx(synops / len(own) / cycles * clock)
        assert point.while_busy == pytest.approx(synops / busy * clock)
        (point,) = [point for point in port.points if point.number == number]
        assert point.intensity == pytest.approx(synops / max(flits_in, flits_out))
    (chip,) = host.points
    assert chip.intensity == pytest.approx(result.synops / (40 * result.samples))
    assert chip.rate == pytest.approx(result.synops / cycles * clock)
    assert host.peaks[0][1] == pytest.approx(40 * 16 * clock)
    assert weights.peaks == (("16 lanes, 8-bit weights", 16 * clock),)


def test_no_point_is_above_its_ceiling():
    for roofline in core_rooflines(make_result(), CONFIG):
        for point in roofline.points:
            ceiling, _ = roofline.attainable(point)
            assert max(point.rate, point.while_busy or 0) <= ceiling * (1 + 1e-9)
    step = make_step("cifar_conv")
    config = chip_of(step)
    assert config is not None
    rooflines = engine_rooflines(step, config)
    assert [r.title for r in rooflines] == [
        "forward engine", "backward engine", "update engine", "vector unit",
    ]  # fmt: skip
    for roofline in rooflines:
        for point in (
            roofline.points
        ):  # the channel is shared, and stores lag behind: only the lanes bind strictly
            assert max(point.rate, point.while_busy or 0) <= roofline.peaks[0][1] * (1 + 1e-9)


def test_narrow_weights_raise_the_lanes():
    layers = [layer.model_dump() for layer in make_result().layers]
    layers[0]["notes"]["weight_bits"] = 2
    weights = core_rooflines(make_result(layers=layers), CONFIG)[0]
    assert [name for name, _ in weights.peaks] == [
        "16 lanes, 8-bit weights",
        "64 lanes, 2-bit weights",
    ]


def test_an_engine_stands_where_its_events_put_it():
    step = make_step()
    config = chip_of(step)
    assert config is not None
    forward = engine_rooflines(step, config)[0]
    whole = forward.points[-1]
    inputs = step.count("forward", "inputs")
    moved = sum(
        row.count
        for row in step.counts
        if row.component.startswith("forward_") and row.event in ("filled_bytes", "drained_bytes")
    )
    assert whole.intensity == pytest.approx(inputs / moved)
    assert whole.rate == pytest.approx(inputs / step.seconds)
    assert whole.while_busy == pytest.approx(
        inputs / (step.engines["forward"].busy / step.clock_hz)
    )
    # A layer's operations over its part of the time: together they are the engine's.
    done = {
        r.layer: r.count for r in step.counts if (r.component, r.event) == ("forward", "inputs")
    }
    seconds = sum(done[point.name] / point.rate for point in forward.points[:-1])
    assert seconds == pytest.approx(step.engines["forward"].busy / step.clock_hz)


def test_a_roofline_names_the_lowest_ceiling():
    roofline = Roofline(
        "t", "operation", "byte", (("lanes", 100.0),), (Slope("a", 10.0), Slope("b", 5.0)), (), ""
    )  # fmt: skip
    assert roofline.attainable(Point("p", 1, 4.0, 1.0)) == (20.0, "b")
    assert roofline.attainable(Point("p", 1, 40.0, 1.0)) == (100.0, "lanes")
    assert roofline.attainable(Point("p", 1, None, 1.0)) == (100.0, "lanes")


def test_a_roofline_is_drawn_inside_its_frame():
    result = make_result(cores=100, layer_names=tuple("abcdefghij"))
    for roofline in core_rooflines(result, CONFIG):
        drawing = str(roofline_svg(roofline))
        for x, y in re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', drawing):
            assert 60 <= float(x) <= 420
            assert 0 <= float(y) <= 320
        assert drawing.count("<circle") == sum(2 if p.while_busy else 1 for p in roofline.points)


def make_tasks(starts: list[int], ends: list[int], layer: list[int]) -> StepTasks:
    none = [0] * len(starts)
    return StepTasks(
        queues=["forward", "load_forward"], operations=["sums"], layers=["a", "b"], queue=none, operation=none,
        layer=layer, bytes=none, start=starts, end=ends, cycles=max(ends),
    )  # fmt: skip


def test_few_tasks_are_drawn_one_by_one():
    (lane,) = lanes(make_tasks([0, 10], [8, 20], [0, 1]))
    assert (lane.name, lane.tasks, lane.busy, lane.drawn) == ("forward", 2, 18, True)
    assert [(b.start, b.end, b.layer, b.share) for b in lane.blocks] == [
        (0, 8, 0, 1),
        (10, 20, 1, 1),
    ]


def test_many_tasks_are_drawn_as_columns_with_the_same_work():
    starts = list(range(0, 9000, 10))
    layer = [i // 450 for i in range(900)]
    (lane,) = lanes(make_tasks(starts, [s + 7 for s in starts], layer))
    assert not lane.drawn
    assert len(lane.blocks) <= 300
    work = sum((block.end - block.start) * block.share for block in lane.blocks)
    assert work == pytest.approx(lane.busy, rel=1e-9)
    assert [block.layer for block in lane.blocks] == sorted(block.layer for block in lane.blocks)
    assert {block.layer for block in lane.blocks} == {0, 1}


def test_a_long_task_reaches_over_columns_and_overlaps_do_not_overflow():
    starts = [0, *range(0, 2000, 10)]
    ends = [2000, *(s + 10 for s in starts[1:])]
    (lane,) = lanes(make_tasks(starts, ends, [0] * 201))
    assert all(block.share == pytest.approx(1.0) for block in lane.blocks)
    assert lane.blocks[0].start == 0
    assert lane.blocks[-1].end == 2000


@pytest.mark.parametrize("count", [100, 100_000])
def test_the_timeline_stays_small(count):
    starts = [3 * i for i in range(count)]
    tasks = make_tasks(starts, [s + 2 for s in starts], [i % 2 for i in range(count)])
    assert len(str(timeline_svg(tasks, 1e9))) < 15_000


def test_the_graph_has_inputs_first_and_the_host_last():
    edges = [
        {"source": a, "target": b, "what": what, "routes": 10, "flits": flits, "status": "measured"}
        for a, b, what, flits in (
            ("image", "conv1", "values", 12.0), ("conv1", "conv1", "sums", 300.0), ("conv1", "conv2", "values", 7.0),
            ("conv1", "fc1", "values", 8.0), ("conv2", "fc1", "values", 9.0), ("fc1", "out", "values", 5.0),
            ("out", "host", "outputs", 2.0),
        )
    ]  # fmt: skip
    result = make_result(graph=edges)
    assert ranks(result) == [["image"], ["conv1"], ["conv2"], ["fc1"], ["out"], ["host"]]
    drawing = str(network_svg(result))
    assert drawing.count('class="flow') == len(edges)
    for edge in edges:
        assert (
            f"{edge['source']} to {edge['target']}, {edge['what']}: {edge['flits']:.0f} flits"
            in drawing
        )
    for core in result.counters["cores"][:3]:
        assert f"core ({core['x']}, {core['y']})" in drawing
    widths = {
        w: float(width)
        for w, width in re.findall(r'"flow (\w+)"[^>]*stroke-width:([\d.]+)', drawing)
    }
    assert widths["sums"] == pytest.approx(7.0)
    assert widths["outputs"] < widths["sums"]


def test_the_chip_of_a_result_is_its_own_or_the_preset_of_its_hash():
    result = make_result()
    config = load_config("tianjic").replace(core={"lanes": 8})
    own = result.model_copy(
        update={"configuration": config.to_dict(), "config_hash": config.config_hash}
    )
    assert chip_of(own) == config
    assert chip_of(result.model_copy(update={"configuration": None})) == load_config("tianjic")
    assert chip_of(result.model_copy(update={"configuration": None, "config_hash": "0"})) is None
    assert chip_of(result.model_copy(update={"configuration": None, "chip": "mine"})) is None
    with pytest.raises(ResultError, match=r"has the hash \w{16}, the result says"):
        chip_of(result.model_copy(update={"configuration": config.to_dict()}))
    with pytest.raises(ResultError, match="the result's configuration is not a valid chip"):
        chip_of(result.model_copy(update={"configuration": {"name": "x"}}))


def test_a_confusion_matrix_counts_every_sample():
    drawing = str(confusion_svg([0, 0, 1, 2], [0, 1, 1, 2]))
    assert "class 0, taken for 1: 1 of 2 samples" in drawing
    assert "class 2, taken for 2: 1 of 1 samples" in drawing
    assert "class 2, taken for 0: 0 of 1 samples" in drawing


def test_curves_leave_out_what_is_unknown():
    drawing = str(curves_svg("Accuracy", [("a", [0.5, None, 0.75])], unit="%", zero=False))
    assert drawing.count("<circle") == 2
    assert "a, epoch 1: 50%" in drawing
    assert "a, epoch 3: 75%" in drawing
    assert str(curves_svg("Loss", [("loss", [2.0])])).count("<circle") == 1


def test_histograms():
    assert bins_of([]) == []
    assert bins_of([5, 5]) == []
    assert [number for _, _, number in bins_of([1, 2, 2, 3])] == [1, 2, 1]
    assert sum(number for _, _, number in bins_of(list(range(1000)))) == 1000


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(0, 10, [0, 2, 4, 6, 8, 10]), (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1.0]), (4681, 9927, [5000, 6000, 7000, 8000, 9000]),
     (3, 3, [3])],
)  # fmt: skip
def test_linear_ticks(low, high, ticks):
    assert linear_ticks(low, high, 5) == pytest.approx(ticks)


def test_logarithmic_axes():
    assert log_bounds([3.0, 200.0]) == (0, 3)
    assert log_bounds([10.0]) == (1, 2)
    assert log_bounds([0.0]) == (0, 1)
    assert log_ticks(0, 3) == [0, 1, 2, 3]
    assert log_ticks(-12, 12, 6) == [-12, -8, -4, 0, 4, 8, 12]
