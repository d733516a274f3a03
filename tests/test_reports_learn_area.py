"""Area of the learning engines: rows add up, scale as the sizes do, and the preset is what it says."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from spikeloom import synthesising
from spikeloom.chip.config import load_config
from spikeloom.reports.costs import STATUSES, CostError
from spikeloom.reports.learn_area import (
    COMPONENTS,
    LearnAreaResult,
    dram_gb_s,
    estimate_learn_area,
    load_learn_tables,
)
from spikeloom.reports.learn_costs import load_gpu_costs, load_learn_costs
from spikeloom.reports.scaling import load_scaling
from spikeloom.synthesising import area_rows

CHIP = load_config("h2learn")
RESULT = estimate_learn_area(CHIP)


def component(name, **changes):
    return estimate_learn_area(CHIP.replace(**changes)).by_component[name]


def test_the_preset_is_a_die_near_the_published_size():
    (die,) = RESULT.published
    assert die.area_mm2 == pytest.approx(815 / 7.38, rel=1e-3)
    assert RESULT.area_mm2 == pytest.approx(die.area_mm2, rel=0.12)


def test_every_component_has_rows_and_every_row_its_sources():
    assert set(RESULT.by_component) == set(COMPONENTS)
    assert all(area > 0 for area in RESULT.by_component.values())
    for row in RESULT.rows:
        assert row.status in STATUSES
        assert row.status != "measured"
        assert all(len(source) > 10 for source in row.source.split(" | "))


def test_engines_grow_with_their_lanes():
    own = RESULT.by_component["forward"]
    assert component("forward", forward={"columns": 144}) == pytest.approx(2 * own, rel=0.03)
    assert component("backward", backward={"rows": 96}) == pytest.approx(
        RESULT.by_component["backward"] / 2
    )
    fixed = sum(row.area_mm2 for row in RESULT.rows if row.what.startswith("32,768 partial sums"))
    assert component("vector", vector={"width": 1024}) - fixed == pytest.approx(
        2 * (RESULT.by_component["vector"] - fixed)
    )


def test_narrow_formats_are_smaller():
    small = estimate_learn_area(CHIP.replace(learn={"accumulators": "fp16"}))
    assert small.by_component["forward"] < 0.6 * RESULT.by_component["forward"]
    wide = estimate_learn_area(CHIP.replace(learn={"operands": "fp32"}))
    assert wide.by_component["backward"] > 1.3 * RESULT.by_component["backward"]


def test_the_adder_of_a_lane_is_the_published_one_scaled():
    (row,) = [
        r for r in RESULT.rows if r.component == "forward" and r.what.startswith("adder of a lane")
    ]
    assert row.count == CHIP.learn.forward.lanes
    factor = load_scaling().factor("area", 45, 0.9, 28, 0.9)
    assert factor == pytest.approx(0.368, rel=1e-3)
    assert row.each_mm2 == pytest.approx(4184e-6 * factor / 0.7)


def test_a_lookup_lane_does_the_work_of_g_adders_in_a_third_of_their_area():
    # h2learn_facts, item 6: 2.5 to 4 times smaller an input and cycle than gated adders.
    lane = RESULT.by_component["forward"] / CHIP.learn.forward.lanes
    plain_chip = CHIP.replace(forward={"group": 1})
    plain = estimate_learn_area(plain_chip).by_component["forward"] / plain_chip.learn.forward.lanes
    assert 2.5 <= plain / (lane / CHIP.learn.forward.group) <= 4


def test_the_interface_follows_the_bandwidth():
    assert dram_gb_s(CHIP) == pytest.approx(384)
    assert RESULT.interface_mm2 == pytest.approx(384 * 0.04)


def test_a_result_whose_parts_do_not_sum_is_refused():
    fields = RESULT.model_dump()
    with pytest.raises(ValidationError, match="sum to"):
        LearnAreaResult.model_validate(fields | {"area_mm2": 1.0})
    with pytest.raises(ValidationError, match="sum to"):
        LearnAreaResult.model_validate(fields | {"by_component": {"forward": 1.0}})
    rows = [dict(row) for row in fields["rows"]]
    rows[0]["count"] += 1
    with pytest.raises(ValidationError, match="times"):
        LearnAreaResult.model_validate(fields | {"rows": rows})


GATES = {
    "chip": "h2learn_small",
    "config_hash": "0" * 16,
    "cores": 0,
    "verilog_sha256": "f" * 64,
    "tools": ["a tool 1"],
    "cell_source": "a library",
    "components": [
        {
            "component": name,
            "what": "something",
            "place": "chip",
            "count": 1,
            "flip_flops": 1,
            "gate_equivalents": gates,
            "rams": [{"width": 32, "depth": depth, "count": 2}] if depth else [],
        }
        for name, gates, depth in (
            ("forward", 1000.0, 0),
            ("backward", 500.0, 256),
            ("buffers", 0.0, 1024),
            ("dma", 200.0, 0),
            ("sequencer", 300.0, 0),
            ("top", 50.0, 0),
        )
    ],
}


def test_synthesis_stands_beside_the_estimate_by_component():
    small = load_config("h2learn_small")
    alone = estimate_learn_area(small)
    assert alone.beside == ()
    result = estimate_learn_area(small, gates=GATES)
    assert result.synthesised is not None
    assert result.rows == alone.rows
    assert result.area_mm2 == alone.area_mm2
    parts = {part.component: part for part in result.beside}
    assert set(parts) == set(COMPONENTS) - {"dram interface"}
    assert parts["forward"].gate_equivalents == 1000
    assert parts["control"].gate_equivalents == 550  # what is no engine
    assert parts["forward"].logic_mm2 == pytest.approx(2 * parts["backward"].logic_mm2)
    assert parts["vector"].logic_mm2 == parts["vector"].memory_mm2 == 0
    assert parts["buffers"].memory_mm2 > parts["backward"].memory_mm2 > 0
    for name, whole, of in (
        ("estimate", alone.area_mm2 - alone.interface_mm2, ("estimate_logic_mm2", "estimate_memory_mm2")),
        ("synthesis", result.synthesised.area_mm2, ("logic_mm2", "memory_mm2")),
    ):  # fmt: skip
        total = sum(getattr(part, field) for part in parts.values() for field in of)
        assert total == pytest.approx(whole), name
    assert result.synthesised.published == []
    tables = area_rows(result)
    (beside,) = [rows for title, rows in tables.items() if title.startswith("the estimate beside")]
    assert beside[1][3] == "1,000"
    assert LearnAreaResult.model_validate_json(result.model_dump_json()) == result


def test_only_chips_that_the_rtl_carries_are_synthesised(monkeypatch):
    calls = []

    class Found:
        def model_dump(self):
            return GATES

    monkeypatch.setattr(synthesising, "count_gates", lambda *_, **__: calls.append(1) or Found())
    for chip, is_carried in (("h2learn", False), ("h2learn_small", True)):
        result = synthesising.area(chip)
        assert isinstance(result, LearnAreaResult)
        assert (result.synthesised is not None) == is_carried
        assert len(calls) == is_carried


def test_a_small_memory_of_latches_is_memory():
    small = estimate_learn_area(load_config("h2learn_small"))
    (row,) = [r for r in small.rows if r.what.startswith("sums of a row")]
    assert row.part == "memory"
    assert row.what.endswith("latches")
    assert row.count == 2 * load_config("h2learn_small").learn.backward.rows


def test_json_comes_back_equal():
    assert LearnAreaResult.model_validate_json(RESULT.model_dump_json()) == RESULT


def test_tables_of_another_node_are_refused():
    tables = load_learn_tables(28)
    with pytest.raises(ValidationError, match="of one node"):
        type(tables)(
            learn=tables.learn.model_copy(update={"node_nm": 45}),
            area=tables.area,
            many_core=tables.many_core,
        )
    with pytest.raises(CostError, match="no cost tables for 14 nm, only for 45"):
        estimate_learn_area(CHIP.replace(chip={"node_nm": 14}))


@pytest.mark.parametrize("table", [load_learn_costs(28), load_gpu_costs()])
def test_every_constant_has_its_source(table):
    assert len(table.constants) > 5
    for name, constant in table.constants.items():
        assert len(constant.source) > 20, name
        if constant.known == "reasoned":
            assert constant.status != "measured", name
    with pytest.raises(CostError, match="no constant 'nothing'; it has "):
        table.constant("nothing")
