"""The Pareto set of a sweep as a table, all points as CSV, plots: whole, and the same each time."""

from __future__ import annotations

import csv
import io
import xml.etree.ElementTree as ET

import pytest

from spikeloom.errors import InputError
from spikeloom.sweeping.plots import save_plots
from spikeloom.sweeping.store import Record
from spikeloom.sweeping.sweep import Sweep
from spikeloom.sweeping.tables import csv_text, front_table, short_names, text_of
from spikeloom.sweeping.units import Status

from .support.sweep_spaces import TRAINING, space_of


def record(number: int, seconds: float, joules: float | None, status: Status = "done") -> Record:
    parameters = {
        "learn.forward.columns": 32 * 2 ** (number % 3),
        "learn.dram.bytes_per_cycle": 256 + 768 * (number // 3),
    }
    measures = {"seconds": seconds, "energy_j.total": joules, "area.area_mm2": 100.0 + number}
    reason = "" if status == "done" else "too wide"
    return Record(
        number,
        str(number),
        status,
        reason,
        parameters,
        measures if status == "done" else {},
        {},
        0.1,
        "now",
    )


@pytest.fixture
def result():
    records = (
        record(0, 4e-5, 1e-3), record(1, 2e-5, 2e-3), record(2, 3e-5, 3e-3), record(3, 1e-5, 4e-3),
        record(4, 5e-5, None), record(5, 0, 0, "refused"),
    )  # fmt: skip
    return Sweep(space_of(TRAINING), records)


def test_front_leaves_out_what_is_beaten_unknown_or_refused(result):
    assert [r.number for r in result.front] == [3, 1, 0]
    assert result.to_dict()["refused"] == 1
    assert [p["number"] for p in result.to_dict()["pareto"]] == [3, 1, 0]


def test_largest_is_best_where_it_is_asked_for(result):
    space = space_of(TRAINING, objectives={"seconds": "max", "energy_j.total": "min"})
    assert [r.number for r in Sweep(space, result.records).front] == [0]


def test_table_has_units(result):
    header, first, *_ = front_table(result).rows
    assert header == (
        "point",
        "columns",
        "bytes_per_cycle",
        "seconds (min)",
        "energy_j.total (min)",
        "area_mm2",
    )
    assert first == ("3", "32", "1,024", "10.0\u00a0µs", "4.00\u00a0mJ", "103 mm2")


def test_csv_has_every_point(result):
    rows = list(csv.DictReader(io.StringIO(csv_text(result))))
    assert len(rows) == 6
    assert [row["pareto"] for row in rows] == ["1", "1", "0", "1", "0", "0"]
    assert rows[1]["learn.forward.columns"] == "64"
    assert (rows[5]["status"], rows[5]["reason"], rows[5]["seconds"]) == ("refused", "too wide", "")


def test_names_are_as_short_as_they_can_be():
    assert short_names(["a.rows", "b.rows", "c.x", "e.total", "x.max"]) == [
        "a.rows",
        "b.rows",
        "c.x"[2:],
        "e.total",
        "x.max",
    ]


@pytest.mark.parametrize(
    ("path", "value", "text"),
    [
        ("accuracy", 0.975, "97.5\u00a0%"),
        ("clock_hz", 3e8, "300\u00a0MHz"),
        ("power_w.total", 0.5, "500\u00a0mW"),
        ("many_core.network", {"columns": 4, "rows": 3}, "columns 4, rows 3"),
        ("compile.ternary", True, "True"),
        ("hops", 123456, "123,456"),
        ("pj_per_synop", 1.23456, "1.235"),
        ("anything", None, "unknown"),
    ],
)
def test_texts(path, value, text):
    assert text_of(path, value) == text


def test_plots_are_whole_and_the_same_each_time(result, tmp_path):
    written = save_plots(result, tmp_path / "a")
    assert [p.name for p in written] == ["pareto.svg", "parallel.svg"]
    for p in written:
        assert ET.parse(p).getroot().tag.endswith("svg")
    again = save_plots(result, tmp_path / "b")
    assert [p.read_bytes() for p in written] == [p.read_bytes() for p in again]
    pictures = save_plots(result, tmp_path / "a", "png")
    assert all(p.read_bytes().startswith(b"\x89PNG") for p in pictures)


def test_plots_with_one_objective_or_many(result, tmp_path):
    one = Sweep(space_of(TRAINING, objectives={"seconds": "min"}), result.records)
    assert [p.name for p in save_plots(one, tmp_path)] == ["parallel.svg"]
    three = space_of(
        TRAINING,
        objectives={"seconds": "min", "energy_j.total": "min", "area.area_mm2": "max"},
        measures=[],
    )
    assert len(save_plots(Sweep(three, result.records), tmp_path)) == 2


def test_plots_refused(result, tmp_path):
    with pytest.raises(InputError, match="svg or png"):
        save_plots(result, tmp_path, "pdf")
    with pytest.raises(InputError, match="nothing to plot"):
        save_plots(Sweep(result.space, result.records[-1:]), tmp_path)
    assert list(tmp_path.iterdir()) == []
