"""Cost tables: every constant has its source, interpolation keeps the measured points, mistakes get sentences."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from spikeloom.reports.costs import (
    STATUSES,
    CostError,
    costs_from_dict,
    load_costs,
    worst_status,
)

COSTS = load_costs(28)
FILE = Path(__file__).resolve().parent.parent / "reports" / "costs" / "many_core_28nm.yaml"


def fields():
    return yaml.safe_load(FILE.read_text(encoding="utf-8"))


def test_every_figure_has_unit_source_node_and_status():
    figures = [*COSTS.constants.values(), *COSTS.curves.values(), COSTS.sram.word_exponent]
    assert len(figures) > 10
    for figure in figures:
        assert figure.unit
        assert len(figure.source) > 20
        assert figure.node_nm in (28, 45)
        assert figure.status in STATUSES


def test_what_is_recalled_or_reasoned_is_not_called_measured():
    for figure in (*COSTS.constants.values(), *COSTS.curves.values(), COSTS.sram):
        if figure.known in ("recalled", "reasoned"):
            assert figure.status != "measured", figure.source


def test_interpolation_goes_through_the_measured_points():
    assert len(COSTS.sram.points) == 11
    for point in COSTS.sram.points:
        got = COSTS.sram.read_pj(point.size_bytes, point.word_bytes)
        assert got == pytest.approx(point.read_pj, rel=1e-3)
        assert COSTS.sram.leakage_mw(point.size_bytes) == pytest.approx(point.leakage_mw, rel=0.02)
        assert COSTS.sram.area_mm2(point.size_bytes) > 0
    for curve in COSTS.curves.values():
        for x, energy in curve.points:
            assert curve.at(x) == pytest.approx(energy)


@given(st.floats(16, 4e6), st.floats(1.001, 4), st.floats(1, 64))
def test_interpolation_is_monotone(size, factor, word):
    sram = COSTS.sram
    assert sram.read_pj(size * factor, word) > sram.read_pj(size, word)
    assert sram.read_pj(size, word * factor) > sram.read_pj(size, word)
    assert sram.leakage_mw(size * factor) > sram.leakage_mw(size)
    assert sram.area_mm2(size * factor) > sram.area_mm2(size)


@given(st.floats(1, 128), st.floats(1.001, 4))
def test_wider_operations_cost_more(width, factor):
    for curve in COSTS.curves.values():
        assert curve.at(width * factor) > curve.at(width)


def test_a_memory_of_no_bytes_costs_nothing():
    assert COSTS.sram.leakage_mw(0) == 0


def test_the_hash_covers_sources():
    changed = fields()
    changed["constants"]["host_bit"]["source"] += " (changed)"
    assert costs_from_dict(changed, "x").table_hash != COSTS.table_hash
    assert costs_from_dict(fields(), "x").table_hash == COSTS.table_hash


def test_a_mixed_figure_is_as_good_as_its_worst_part():
    assert worst_status("measured") == "derived"
    assert worst_status("measured", "assumed", "derived") == "assumed"
    for better, worse in pairwise(STATUSES):
        assert worst_status(better, worse) == worse


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: f["constants"]["host_bit"].pop("source"), "constants.host_bit.source: Field required"),
        (lambda f: f["constants"]["host_bit"].pop("unit"), "constants.host_bit.unit: Field required"),
        (lambda f: f["curves"]["add"].pop("unit"), "curves.add.unit: Field required"),
        (lambda f: f["constants"]["host_bit"].update(value=-1), "constants.host_bit.value"),
        (lambda f: f["sram"]["points"][0].update(leakage_mw=-0.1), "sram.points.0.leakage_mw"),
        (lambda f: f["constants"]["host_bit"].update(value=float("nan")), "constants.host_bit.value"),
        (lambda f: f["constants"]["host_bit"].update(status="known"), "constants.host_bit.status"),
        (lambda f: f.update(colour="red"), "colour: is no field of a cost table"),
        (lambda f: f.update(version=1), "version"),
        (lambda f: f["sram"]["points"].clear(), "sram.points"),
        (lambda f: f["sram"]["points"][3].update(read_pj=0.1), "must be at least two, positive and ascending"),
        (lambda f: f["curves"]["add"].update(points=[[8, 0.1], [8, 0.2]]), "curves.add: x of the points"),
    ],
)  # fmt: skip
def test_wrong_tables_are_refused_with_the_place(change, words):
    changed = fields()
    change(changed)
    with pytest.raises(CostError, match=r"^x is no valid cost table:\n") as error:
        costs_from_dict(changed, "x")
    assert words in str(error.value)


def test_files_that_are_no_table(tmp_path):
    for name, text, words in (
        ("list.yaml", "- 1\n", "must hold a mapping of fields, not list"),
        ("broken.yaml", "a: [", "is no readable YAML file"),
    ):
        path = tmp_path / name
        path.write_text(text)
        with pytest.raises(CostError, match=words):
            load_costs(path)
    with pytest.raises(CostError, match="is no readable YAML file"):
        load_costs(tmp_path / "none.yaml")
    with pytest.raises(CostError, match=r"no cost table for 7 nm, only for 28nm; set node_nm"):
        load_costs(7)


def test_unknown_names_list_those_there_are():
    with pytest.raises(CostError, match=r"no constant 'moon'; it has .*host_bit"):
        COSTS.constant("moon")
    with pytest.raises(CostError, match="no curve 'divide'; it has add, multiply"):
        COSTS.curve("divide")
