"""Differences of two results: rows by their keys, sizes, what fails and what is only told."""

from __future__ import annotations

import json

import pytest

import spikeloom
from spikeloom.diffing import diff, difference_table, parse_share
from spikeloom.errors import InputError
from spikeloom.reports.diff import compare_results
from spikeloom.reports.result import ResultError, RunResult, save_result
from spikeloom.reports.rows import rows_of_result
from tests.support.command import run_command
from tests.support.result_builder import make_result

RESULT = make_result("tiny", cores=3, layer_names=("a", "b"), samples=20)
RESULT.steps["core_spikes"][0][:2] = [3, 4]  # the made-up ones are all alike
FIELDS = RESULT.model_dump()


def changed(**changes) -> RunResult:
    return RunResult.model_validate(FIELDS | changes)


@pytest.fixture(scope="module")
def step():
    """A priced training step."""
    return spikeloom.step_result(spikeloom.dry_run("mnist_mlp"))


def test_a_result_equals_itself(step):
    for result in (RESULT, step):
        found = diff(result, result)
        assert found.is_equal
        assert found.rows == []
        assert found.compared == found.equal > 50


def test_changes_are_sorted_by_their_size_and_relative_to_the_first():
    other = changed(
        accuracy=FIELDS["accuracy"] / 2, packets=FIELDS["packets"] + 1, host_input_share=0.9
    )
    found = diff(RESULT, other)
    assert [row.field for row in found.rows] == ["host_input_share", "accuracy", "packets"]
    assert found.rows[0].relative == pytest.approx(0.9 / 0.318 - 1)
    assert found.rows[1].absolute == pytest.approx(-FIELDS["accuracy"] / 2)
    assert found.rows[2].relative == 1 / FIELDS["packets"]
    assert (found.changed, found.missing, found.within) == (3, 0, 0)


def test_the_tolerance_is_relative_and_counts_what_it_lets_pass():
    other = changed(packets=FIELDS["packets"] * 101 // 100, accuracy=FIELDS["accuracy"] * 0.98)
    found = diff(RESULT, other, tolerance="1%")
    assert [(row.field, row.verdict) for row in found.rows] == [
        ("accuracy", "changed"),
        ("packets", "within"),
    ]
    assert not found.is_equal
    assert diff(RESULT, other, tolerance=0.02001).is_equal


def test_rows_are_matched_by_keys_not_positions():
    reordered = changed(
        layers=FIELDS["layers"][::-1],
        energy_rows=FIELDS["energy_rows"][::-1],
        graph=FIELDS["graph"][::-1],
        counters=FIELDS["counters"] | {"cores": FIELDS["counters"]["cores"][::-1]},
        energy_by_core_j=FIELDS["energy_by_core_j"][::-1],
        steps=FIELDS["steps"] | {"core_spikes": [r[::-1] for r in FIELDS["steps"]["core_spikes"]]},
    )
    assert reordered.steps["core_spikes"] != RESULT.steps["core_spikes"]
    found = diff(RESULT, reordered)
    assert found.rows == []
    names = rows_of_result(RESULT)
    assert "layers[a].spikes" in names
    assert names["layers[b].spikes"].value == FIELDS["layers"][1]["spikes"]


def test_a_row_that_one_side_lacks_is_missing_and_fails():
    layers = [FIELDS["layers"][0] | {"notes": {}}, FIELDS["layers"][1]]
    for found, side in (
        (diff(RESULT, changed(layers=layers)), "b"),
        (diff(changed(layers=layers), RESULT), "a"),
    ):
        assert {row.verdict for row in found.rows} == {"missing"}
        assert all(getattr(row, side) is None for row in found.rows)
        assert "layers[a].notes.weight_bits" in {row.field for row in found.rows}
        assert not found.is_equal
    unknown = diff(RESULT, changed(labels=None, accuracy=None))
    assert {(row.field, row.verdict) for row in unknown.rows} == {
        ("accuracy", "missing"),
        ("labels", "missing"),
    }


def test_a_router_without_traffic_is_not_missing():
    counters = FIELDS["counters"] | {"routers": FIELDS["counters"]["routers"][1:]}
    first = FIELDS["counters"]["routers"][0]
    found = diff(RESULT, changed(counters=counters))
    assert found.missing == 0
    assert {row.b for row in found.rows} == {0.0}
    assert all(f"routers[{first['x']}, {first['y']}]" in row.field for row in found.rows)


def test_lists_of_numbers_are_one_row_with_their_largest_change():
    cycles = list(FIELDS["sample_cycles"])
    cycles[3] += 10
    cycles[5] *= 3
    (row,) = diff(RESULT, changed(sample_cycles=cycles)).rows
    assert (row.field, row.b, row.relative) == ("sample_cycles", "2 differ", 2.0)
    shorter = diff(RESULT, make_result("tiny", cores=3, layer_names=("a", "b"), samples=19))
    row = next(row for row in shorter.rows if row.field == "predictions")
    assert (row.verdict, row.a, row.b) == ("missing", "20 numbers", "19 numbers")


def test_provenance_is_told_and_fails_only_when_asked_for():
    other = changed(provenance=FIELDS["provenance"] | {"threads": 1}, notes=["another"])
    found = diff(RESULT, other)
    assert found.is_equal
    assert {(r.field, r.verdict) for r in found.rows} == {
        ("provenance.threads", "told"),
        ("notes", "told"),
    }
    assert not diff(RESULT, other, only=["provenance"]).is_equal


def test_only_narrows_to_fields_with_and_without_keys():
    other = changed(packets=1, layers=[x | {"spikes": 1} for x in FIELDS["layers"]])
    assert diff(RESULT, other, only=["energy_j", "accuracy"]).is_equal
    assert diff(RESULT, other, only=["layers.spikes"]).changed == 2
    assert diff(RESULT, other, only=["layers[a].spikes"]).changed == 1
    assert diff(RESULT, other, only=["layers"]).changed == 2
    with pytest.raises(ResultError, match="no field 'energy' in either result; fields are kind"):
        diff(RESULT, other, only=["energy"])


def test_results_of_training_have_rows_for_counts_and_queues(step):
    fields = step.model_dump()
    row = fields["counts"][0]
    row["count"] += 1
    name = f"counts[{row['component']}, {row['layer']}, {row['event']}].count"
    found = diff(step, type(step).model_validate(fields))
    assert [row.field for row in found.rows] == [name]
    with pytest.raises(ResultError, match="the first is of a run, the second of a step"):
        diff(RESULT, step)


@pytest.mark.parametrize("text", ["-1%", "nan", "much", "", "inf"])
def test_a_tolerance_that_is_no_share_is_refused(text):
    with pytest.raises(InputError, match=r"the tolerance must be a share such as 1% or 0\.01"):
        parse_share(text)
    with pytest.raises(ValueError, match="the tolerance must be 0 or more"):
        compare_results(RESULT, RESULT, tolerance=-1.0)


def test_the_table_names_the_side_that_lacks_a_row():
    table = difference_table(diff(RESULT, changed(accuracy=None, packets=1)), most=1)
    assert table.rows[1][0] == "accuracy"
    assert table.rows[1][-1] == "missing in the second"
    assert table.rows[2][0] == "and 1 more"
    assert table.title.startswith("different: ")


def test_the_command_gives_0_1_and_2(tmp_path, capsys):
    files = [tmp_path / name for name in ("a.json", "b.json", "old.json", "cut.json")]
    save_result(RESULT, files[0])
    save_result(changed(packets=FIELDS["packets"] + 1), files[1])
    files[2].write_text(json.dumps(FIELDS | {"schema_version": 1}))
    files[3].write_text(files[0].read_text()[:-99])
    assert run_command(capsys, "diff", files[0], files[0]).code == 0
    assert run_command(capsys, "diff", files[0], files[1], "--tolerance", "50%").code == 0
    different = run_command(capsys, "diff", files[0], files[1], "--json")
    assert different.code == 1
    (row,) = json.loads(different.out)["rows"]
    assert (row["field"], row["absolute"]) == ("packets", 1.0)
    for file, message in (
        (files[2], "has result version 1"),
        (files[3], "is no readable JSON result"),
        (tmp_path / "none.json", "is no readable JSON result"),
    ):
        refused = run_command(capsys, "diff", files[0], file)
        assert refused.code == 2
        assert message in refused.err
