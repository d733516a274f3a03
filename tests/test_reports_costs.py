"""Cost tables: figures have their sources, nodes follow cited rules, SRAM is interpolated by size, word and ports."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from math import sqrt

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from spikeloom.chip.config import load_config
from spikeloom.costing import cost_rows, cost_tables, sram_rows
from spikeloom.errors import InputError
from spikeloom.reports.cost_files import FOLDER, figure_file, read_yaml
from spikeloom.reports.costs import STATUSES, CostError, load_costs, tables_of, worst_status
from spikeloom.reports.learn_area import load_learn_tables
from spikeloom.reports.scaling import load_scaling, nodes_nm
from spikeloom.reports.sram import FIELDS, SramPoint, SramTable

COSTS = load_costs(28)
SRAM = COSTS.sram
RULES = load_scaling()
PORTS = st.sampled_from(["1rw", "1r1w"])


@cache
def raw_sram():
    return read_yaml(FOLDER / "sram.yaml")["tables"]


# ----------------------------------------------------------------------------------------------------------- figures


@pytest.mark.parametrize("section", ["many_core", "learn", "area"])
def test_every_figure_as_found_has_unit_source_node_and_status(section):
    file = figure_file(section)
    found = [*file.constants.values(), *file.curves.values()]
    found += [constant for kind in file.memories.values() for constant in kind.values()]
    assert len(found) >= 5
    for constant in found:
        assert constant.unit
        for figure in constant.figures:
            assert len(figure.source) > 20
            assert figure.node_nm in (28, 32, 45)
            if figure.known in ("recalled", "reasoned"):
                assert figure.status != "measured", figure.source
            if constant.scaling == "energy" and figure.known == "read":
                assert figure.voltage_v is not None or figure.status != "measured"


def test_every_figure_of_every_node_says_where_it_comes_from():
    for node in nodes_nm():
        tables = load_learn_tables(node)
        assert (tables.many_core.voltage_v, tables.many_core.node_nm) == (
            RULES.voltage_v(node),
            node,
        )
        rows = cost_rows(tables)
        assert len(rows) == 40
        for row in rows:
            assert row.unit
            assert len(row.source) > 20
            assert row.status in STATUSES
            if "nm at" in row.source:
                assert row.status != "measured", row
                assert row.node_nm == node
                assert "by Stillmaker and Baas" in row.source or "C V^2" in row.source


def test_the_hash_covers_sources(tmp_path):
    def hashed(source):
        path = tmp_path / "mine.yaml"
        item = {"value": 1.0, "unit": "pJ a bit", "source": source}
        path.write_text(yaml.safe_dump({"base": 28, "many_core": {"host_bit": item}}))
        return load_costs(path).table_hash

    assert hashed("as one book says") == hashed("as one book says")
    assert hashed("as one book says") != hashed("as another book says")
    assert load_costs(28).table_hash == COSTS.table_hash


def test_a_mixed_figure_is_as_good_as_its_worst_part():
    assert worst_status("measured") == "derived"
    assert worst_status("measured", "assumed", "derived") == "assumed"
    for better, worse in pairwise(STATUSES):
        assert worst_status(better, worse) == worse


@given(st.floats(1, 128), st.floats(1.001, 4))
def test_wider_operations_cost_more(width, factor):
    for curve in COSTS.curves.values():
        assert curve.at(width * factor) > curve.at(width)
        assert curve.at(0) == 0


def test_curves_go_through_the_published_points_at_their_node():
    at_45 = load_costs(45)
    assert [at_45.curve("add").at(bits) for bits in (8, 16, 32)] == pytest.approx([0.03, 0.05, 0.1])
    assert at_45.curve("multiply").at(32 * 32) == pytest.approx(3.1)
    assert at_45.curve("add").status == "measured"
    assert COSTS.curve("add").status == "derived"


def test_unknown_names_list_those_there_are():
    with pytest.raises(CostError, match=r"no constant 'moon'; it has .*host_bit"):
        COSTS.constant("moon")
    with pytest.raises(CostError, match="no curve 'divide'; it has add, multiply"):
        COSTS.curve("divide")


# ------------------------------------------------------------------------------------------------------------- nodes


def test_the_rule_of_energy_is_the_published_one():
    # The corrigendum's example: 32 nm at 0.9 V.
    assert RULES.rules.energy.at(32, 0.9) == pytest.approx(0.4571, abs=1e-4)
    assert 0.45 < RULES.factor("energy", 45, 0.9, 28, 0.9) < 0.55
    assert RULES.factor("area", 45, 0.9, 32, 0.9) == pytest.approx(0.46)
    assert RULES.factor("area", 32, 0.9, 16, 0.8) == pytest.approx(0.19 / 0.46)
    assert RULES.factor("voltage", 28, 1.0, 16, 0.8) == pytest.approx(0.64)
    assert RULES.factor("cell_leakage", 22, 0.8, 16, 0.8) == pytest.approx(sqrt(0.074 / 0.092))
    assert RULES.factor("none", 45, 0.9, 12, 0.8) == RULES.factor("kept", 45, 0.9, 12, 0.8) == 1


@given(st.integers(8, 44), st.integers(8, 44), st.sampled_from(["energy", "area"]))
def test_rules_chain(one, other, rule):
    there = RULES.factor(rule, 45, 0.9, one, 0.8)
    assert there * RULES.factor(rule, one, 0.8, other, 0.7) == pytest.approx(
        RULES.factor(rule, 45, 0.9, other, 0.7)
    )


def test_smaller_nodes_cost_less():
    tables = [load_learn_tables(node) for node in nodes_nm()]
    assert [table.many_core.node_nm for table in tables] == [45, 32, 28, 22, 16, 12]
    for larger, smaller in pairwise(tables):
        for name in ("fp16_add_pj", "fp32_multiply_pj", "fp32_add_um2", "multiplexer_bit_pj"):
            assert smaller.learn.value(name) < larger.learn.value(name)
        assert smaller.area.constants.nand2_um2.value < larger.area.constants.nand2_um2.value
        for name in ("register_bit", "clock_bit", "crossbar_bit", "logic_area_mm2"):
            assert smaller.many_core.constant(name).value < larger.many_core.constant(name).value
        wires = [table.many_core.constant("wire_bit_mm").value for table in (smaller, larger)]
        assert wires[0] <= wires[1]
        for size, word, ports in ((1024, 4, "1rw"), (32768, 32, "1rw"), (65536, 8, "1r1w")):
            for figure in ("read_pj", "write_pj", "area_mm2"):
                little, much = (
                    getattr(table.many_core.sram, figure)(size, word, ports) for table in (smaller, larger)
                )  # fmt: skip
                assert little < much, (figure, size, smaller.many_core.node_nm)


def test_a_figure_of_the_node_itself_stands_before_a_scaled_one():
    at = {node: load_learn_tables(node).area.constants.nand2_um2 for node in nodes_nm()}
    assert (at[45].value, at[45].status) == (0.798, "measured")
    assert (at[28].value, at[28].node_nm) == (0.378, 28)
    assert at[16].value == pytest.approx(0.378 * RULES.factor("area", 28, 0.9, 16, 0.8))
    assert at[32].value == pytest.approx(
        0.378 * RULES.factor("area", 28, 0.9, 32, 0.9)
    )  # the nearer one
    kept = load_learn_tables(12).learn.constant("logic_leakage_w")
    assert (kept.value, kept.status) == (0.03, "assumed")
    assert kept.source.endswith("taken for 12 nm as it is")


def test_sram_is_measured_at_a_node_and_supply_of_cacti_and_no_better_elsewhere():
    statuses = {node: load_costs(node).sram.status for node in nodes_nm()}
    assert statuses == {
        45: "derived", 32: "derived", 28: "derived", 22: "measured", 16: "assumed", 12: "assumed",
    }  # fmt: skip
    assert "from 22 nm to 16 nm" in load_costs(16).sram.source


def test_nodes_without_a_table_are_refused():
    with pytest.raises(
        CostError, match=r"no cost tables for 7 nm, only for 45, 32, 28, 22, 16, 12"
    ):
        load_costs(7)


@pytest.mark.parametrize("node", [45, 32, 28, 22, 16, 12])
def test_a_chip_chooses_its_node(node):
    chip = load_config("tianjic").replace(chip={"node_nm": node})
    assert load_costs(tables_of(chip)).node_nm == node


# -------------------------------------------------------------------------------------------------------------- SRAM


def test_the_table_is_what_cacti_said_at_every_node_and_kind_of_ports():
    tables = raw_sram()
    assert {(t["node_nm"], t["ports"]) for t in tables} == {
        (node, ports) for node in (45, 32, 28, 22) for ports in ("1rw", "1r1w")
    }
    for table in tables:
        assert len(table["points"]) >= 80
        assert "CACTI 7" in table["source"]
        assert all(len(point) == len(FIELDS) for point in table["points"])


def plain(points):
    """Return a table of made-up macros: size, word, and one figure for all."""
    macros = tuple(
        SramPoint(size_bytes=s, word_bytes=w, read_pj=v, write_pj=v, leakage_mw=v, area_mm2=v, access_ns=v)
        for s, w, v in points
    )  # fmt: skip
    return SramTable(
        points={"1rw": macros, "1r1w": macros}, temperature_k=350, source="made up for this test", node_nm=28,
        status="assumed", known="reasoned",
    )  # fmt: skip


def test_points_are_met_and_between_them_is_a_straight_line_in_logarithms():
    table = plain([(1024, 1, 1), (1024, 2, 1.2), (4096, 1, 2), (4096, 2, 2.4)])
    assert table.read_pj(1024, 1) == pytest.approx(1)
    assert table.read_pj(4096, 2) == pytest.approx(2.4)
    assert table.read_pj(2048, 1) == pytest.approx(sqrt(2))
    assert table.read_pj(2048, sqrt(2)) == pytest.approx(sqrt(2) * sqrt(1.2))
    assert table.area_mm2(16384, 1) == pytest.approx(4)  # as between the last two
    assert table.area_mm2(100, 1) == pytest.approx(1)  # below the smallest it stays


def test_a_macro_is_never_dearer_than_a_larger_one():
    table = plain([(1024, 1, 5), (1024, 2, 6), (4096, 1, 4), (4096, 2, 4.5)])
    assert table.read_pj(1024, 1) == pytest.approx(4)
    assert table.read_pj(1024, 2) == pytest.approx(4.5)


def test_wide_words_are_macros_side_by_side_where_that_is_cheaper():
    dear = plain([(1024, 8, 1), (1024, 32, 10), (65536, 8, 2), (65536, 32, 20)])
    assert dear.read_pj(4096, 32) == pytest.approx(4 * dear.read_pj(1024, 8))
    assert dear.area_mm2(4096, 32) == pytest.approx(4)
    assert dear.access_ns(4096, 32) == pytest.approx(1)
    cheap = plain([(1024, 8, 1), (1024, 32, 1.1), (65536, 8, 2), (65536, 32, 2.2)])
    assert cheap.read_pj(1024, 32) == pytest.approx(1.1)
    assert cheap.read_pj(2048, 64) == pytest.approx(2 * 1.1)  # no macro is wider than 32 bytes


@given(st.floats(256, 5e5), st.floats(1.001, 4), st.floats(1, 32), PORTS)
def test_more_memory_or_wider_words_never_cost_less(size, factor, word, ports):
    def both(size_bytes, word_bytes):
        return SRAM.read_pj(size_bytes, word_bytes, ports) + SRAM.write_pj(
            size_bytes, word_bytes, ports
        )

    assert both(size * factor, word) >= both(size, word) * (1 - 1e-9)
    assert both(size, word * factor) >= both(size, word) * (1 - 1e-9)
    assert SRAM.area_mm2(size * 8, word, ports) >= SRAM.area_mm2(size, word, ports)
    assert SRAM.leakage_mw(size * 8, word, ports) >= SRAM.leakage_mw(size, word, ports)


@given(st.floats(256, 4e6), st.floats(1, 64))
def test_a_second_port_costs(size, word):
    assert SRAM.area_mm2(size, word, "1r1w") > 1.3 * SRAM.area_mm2(size, word)
    one, two = (
        SRAM.read_pj(size, word, ports) + SRAM.write_pj(size, word, ports) for ports in ("1rw", "1r1w")
    )  # fmt: skip
    assert two > one


def test_energies_are_of_the_supply_of_the_node():
    for table in raw_sram():
        node, volts = table["node_nm"], table["voltage_v"]
        point = next(p for p in table["points"] if p[:2] == [262144, 1])
        got = load_costs(node).sram.read_pj(262144, 1, table["ports"])
        assert got <= point[2] * (RULES.voltage_v(node) / volts) ** 2 * (1 + 1e-9)
    # Without a rule: CACTI's own figure at 22 nm, whose supply is that of the table.
    (own,) = [t for t in raw_sram() if (t["node_nm"], t["ports"]) == (22, "1rw")]
    point = next(p for p in own["points"] if p[:2] == [32768, 1])
    assert load_costs(22).sram.read_pj(32768, 1) == pytest.approx(point[2])


def test_a_memory_of_no_bytes_costs_nothing():
    assert SRAM.leakage_mw(0, 1) == SRAM.read_pj(0, 1) == SRAM.area_mm2(64, 0) == 0


def test_leakage_halves_as_cacti_says():
    (table,) = [t for t in raw_sram() if (t["node_nm"], t["ports"]) == (28, "1rw")]
    halving = COSTS.constant("leakage_halving_k")
    assert 2 ** (-40 / halving.value) == pytest.approx(table["cold_leakage"])
    assert COSTS.constant("sram_temperature_k").value == SRAM.temperature_k == 350


@pytest.mark.parametrize(
    ("points", "words"),
    [
        ([(1024, 1, 1), (4096, 1, 4)], "at least two sizes and two words"),
        ([(1024, 1, 1), (1024, 1, 2), (4096, 2, 4)], "a size and word twice"),
        ([(1024, 1, 1), (1024, 2, 2), (4096, 1, 4)], r"lacks the largest size with the widest word, \(4096, 2\)"),
    ],
)  # fmt: skip
def test_a_table_that_cannot_be_interpolated_is_refused(points, words):
    with pytest.raises(ValueError, match=words):
        plain(points)


# ----------------------------------------------------------------------------------------------------------- showing


def test_costs_are_shown_as_they_are_named_in_a_file():
    tables = cost_tables(16)
    rows = {(row.section, row.name): row for row in cost_rows(tables)}
    assert rows["learn", "fp32_add_pj"].value == tables.learn.value("fp32_add_pj")
    assert rows["area", "nand2_um2"].to_dict()["unit"] == "um2"
    for macro in sram_rows(tables):
        assert 0 < macro["read_pj"] < 100
        assert 0 < macro["area_mm2"] < 1
    assert cost_tables().learn.node_nm == 28
    with pytest.raises(InputError, match="not both"):
        cost_tables(28, "mine.yaml")
