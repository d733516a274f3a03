"""Result files: what is written is read, the schema is published, damaged files get sentences."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from spikeloom.reports.result import (
    ResultError,
    RunResult,
    load_result,
    result_schema,
    save_result,
    write_whole,
)
from tests.support.result_builder import make_result

RESULT = make_result("tiny", cores=3, layer_names=("a", "b"), samples=20)


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "result.json"
    save_result(RESULT, path)
    assert load_result(path) == RESULT
    assert [item.name for item in tmp_path.iterdir()] == ["result.json"]


def test_optional_fields_may_be_missing():
    fields = json.loads(RESULT.model_dump_json())
    del fields["sample_cycles"], fields["labels"]
    fields["accuracy"] = None
    assert RunResult.model_validate(fields).sample_cycles is None


def test_the_schema_names_every_field():
    schema = result_schema()
    assert schema["additionalProperties"] is False
    assert set(schema["properties"]) == set(json.loads(RESULT.model_dump_json()))
    for name in ("network", "energy_rows", "cycles_per_sample", "provenance", "mesh"):
        assert name in schema["required"]
    json.dumps(schema)


def test_the_schema_describes_what_a_name_does_not_say():
    schema = result_schema()
    for name in ("accuracy", "decide", "latency_s", "host_input_share", "synops", "packets", "hops", "energy_j",
                 "counters", "steps", "chip_timesteps", "mesh"):  # fmt: skip
        assert len(schema["properties"][name]["description"]) > 5, name
    for name in ("unit", "source", "cost_j", "count"):
        assert schema["$defs"]["EnergyRowModel"]["properties"][name]["description"]


def test_a_truncated_file_is_refused(tmp_path):
    whole = RESULT.model_dump_json()
    path = tmp_path / "result.json"
    for length in (0, 1, len(whole) // 2, len(whole) - 1):
        path.write_text(whole[:length])
        with pytest.raises(ResultError, match="is no readable JSON result"):
            load_result(path)


def test_results_do_not_change():
    with pytest.raises(ValidationError, match="frozen"):
        RESULT.network = "other"  # pyright: ignore[reportAttributeAccessIssue]


def test_derived_figures():
    total = RESULT.energy_j["total"]
    assert RESULT.pj_per_synop == pytest.approx(total * 20 / RESULT.synops * 1e12)
    assert RESULT.average_power_w == pytest.approx(total * RESULT.throughput_per_s)
    assert make_result("tiny", cores=1, layer_names=("a",), synops=0).pj_per_synop is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: f.pop("network"), "network: Field required"),
        (lambda f: f.update(colour="red"), "colour: Extra inputs are not permitted"),
        (lambda f: f.update(schema_version=99), "has result version 99, this spikeloom reads 2; run the program again"),
        (lambda f: f.pop("schema_version"), "it does not say its schema_version"),
        (lambda f: f.update(samples=21), "predictions must have 21 entries, not 20"),
        (lambda f: f.update(schema_version=1), "has result version 1, this spikeloom reads 2"),
        (lambda f: f.update(kind="dream"), "its kind is 'dream'"),
        (lambda f: f["energy_j"].update(total=1.0), "energy_rows add up to"),
        (lambda f: f["energy_rows"].pop(), "energy_rows add up to"),
        (lambda f: f["energy_rows"][0].update(count=3.0), "energy row axon, axon_writes: 3.0 x"),
        (lambda f: f["energy_rows"][0].update(component="mystery"), "energy_j must have the components of energy_rows"),
        (lambda f: f["energy_j"].update(axon=0.0), "the components add up to"),
        (lambda f: f["energy_by_layer"]["a"].update(axon=1.0), "energy_by_layer and energy_shared_j add up to"),
        (lambda f: f["energy_by_layer"].update(c={}), "energy_by_layer must have the names of the layers"),
        (lambda f: f["energy_shared_j"].update(host=1.0), "energy_by_layer and energy_shared_j add up to"),
        (lambda f: f["energy_by_unit_j"]["axon"].update(static=1.0), "energy_by_unit_j add up to"),
        (lambda f: f["energy_by_core_j"].pop(), "energy_by_core_j must have 3 entries"),
        (lambda f: f["energy_by_core_j"][0].update(dynamic=1.0), "energy_by_core_j of"),
        (lambda f: f["layers"][0].update(energy_j=1.0), "energy_by_layer of a add up to"),
        (lambda f: f["power_w"].update(static=0.0), "energy over time, static, add up to"),
        (lambda f: f.update(throughput_per_s=2 * f["throughput_per_s"]), "energy over time, dynamic, add up to"),
        (lambda f: f["steps"]["core_spikes"].pop(), "steps.core_spikes must be 12 rows of 3"),
        (lambda f: f["steps"]["router_flits"][0].pop(), "steps.router_flits must be 12 rows of 4"),
        (lambda f: f["mesh"].update(columns=0), "mesh must say columns"),
        (lambda f: f.update(accuracy=1.5), "accuracy"),
    ],
)  # fmt: skip
def test_damaged_results_are_refused(tmp_path, change, words):
    fields = json.loads(RESULT.model_dump_json())
    change(fields)
    path = tmp_path / "result.json"
    path.write_text(json.dumps(fields))
    with pytest.raises(ResultError) as error:
        load_result(path)
    assert words in str(error.value)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[1]", b"[" * 100_000])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "result.json"
    path.write_bytes(content)
    with pytest.raises(ResultError, match="is no "):
        load_result(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ResultError, match="is no readable JSON result"):
        load_result(tmp_path / "none.json")


def test_a_failed_write_keeps_the_earlier_file(tmp_path):
    path = tmp_path / "file"
    write_whole(path, "earlier")
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "\ud800")
    assert path.read_text() == "earlier"
    assert len(list(tmp_path.iterdir())) == 1
