"""Space files: what they say, and that wrong ones are refused by name before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from spikeloom.errors import InputError
from spikeloom.reports.learn_result import LearnResult
from spikeloom.reports.result import RunResult
from spikeloom.sweeping.paths import check_result_path, config_paths, number_at, number_paths
from spikeloom.sweeping.space import load_space, space_from_dict

from .support.sweep_spaces import INFERENCE, TRAINING, space_of

EXAMPLES = sorted((Path(__file__).parent.parent / "docs" / "examples").glob("sweep_*.yaml"))


def test_axes_and_points():
    vary = {
        "many_core.core.lanes": {"from": 4, "to": 32, "factor": 2},
        "many_core.core.axons": {"from": 128, "to": 256, "step": 64},
        "many_core.network": [{"columns": 3, "rows": 4}, {"columns": 4, "rows": 4}],
    }
    space = space_of(INFERENCE, vary=vary)
    assert [axis.values for axis in space.axes[:2]] == [(4, 8, 16, 32), (128, 192, 256)]
    assert space.size == 24
    assert [axis.is_ordered for axis in space.axes] == [True, True, False]
    point = space.point(7, (1, 2, 0))
    assert point.values["many_core.network"] == {"columns": 3, "rows": 4}
    assert space.settings(point)["chip"] == "tianjic"
    assert point.key != space.point(7, (1, 2, 1)).key


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_whole(path):
    assert load_space(path).size >= 200


def test_the_document_shows_the_example():
    text = (EXAMPLES[0].parent.parent / "sweep.md").read_text(encoding="utf-8")
    assert f"```yaml\n{EXAMPLES[0].read_text(encoding='utf-8').rstrip()}\n```" in text


def test_there_are_examples():
    assert {path.stem for path in EXAMPLES} == {"sweep_cores", "sweep_engines"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vary": {"many_core.core.lanse": [4]}}, "core.lanse is no field of a sweep; the nearest .*core.lanes"),
        ({"vary": {"core.lanes": [4]}}, "the nearest (is|are) many_core.core.lanes"),
        ({"vary": {"compile.weight_bit": [4]}}, "the nearest .*compile.weight_bits"),
        ({"vary": {"learn.forward.rows": [4]}}, "learn.forward.rows is no field of a sweep"),
        ({"vary": {"many_core.core.lanes": [0]}}, "many_core.core.lanes: .*greater than or equal to 1"),
        ({"vary": {"many_core.core.lanes": ["8"]}}, "many_core.core.lanes: .*valid integer"),
        ({"vary": {"clock_hz": ["1e8"]}}, "YAML reads 1e8 as text"),
        ({"vary": {"many_core.core.lanes": [4, 4]}}, "has a value twice"),
        ({"vary": {"many_core.core.lanes": []}}, "has no values"),
        ({"vary": {}}, "vary"),
        ({"vary": {"many_core.network": [{"colums": 4}]}}, "many_core.network.colums .*many_core.network.columns"),
        ({"vary": {"many_core.network": [4]}}, "many_core.network is a section; .*columns, rows"),
        (
            {"vary": {"many_core.network": [{"rows": 2}], "many_core.network.rows": [3]}},
            "vary.many_core.network and vary.many_core.network.rows contradict",
        ),
        ({"set": {"many_core.core.lanes": 4}}, "set.many_core.core.lanes and vary.many_core.core.lanes contradict"),
        ({"set": {"chip": "tiny"}}, "say `chip: tiny` without set"),
        ({"vary": {"chip": ["tianjik"]}}, "neither a preset"),
        ({"vary": {"chip": ["h2learn"]}}, "h2learn has no many_core"),
        ({"vary": {"network": ["mnist_mpl"]}}, "network mnist_mpl is neither shipped .mnist_mlp"),
        ({"vary": {"run.encode": ["rat"]}}, "run.encode must be one of .*rate"),
        ({"set": {"compile.calibrate": "none.npz"}}, "none.npz does not exist"),
        ({"data": "none.npz"}, "none.npz does not exist"),
        ({"samples": 0}, "samples: .*greater than or equal to 1"),
        ({"objectives": {"latency": "min"}}, "latency is no field of a result; the nearest .*latency_s.median"),
        ({"objectives": {"latency_s": "min"}}, "latency_s is no single number .*latency_s.median"),
        ({"objectives": {"energy_rows": "min"}}, "no single number"),
        ({"objectives": {"accuracy": "most"}}, "objectives.accuracy: .*'min' or 'max'"),
        ({"measures": ["hop"]}, "hop is no field of a result; the nearest .*hops"),
        ({"search": {"method": "pareto", "points": 4}}, "population"),
        ({"search": {"method": "grid", "points": 4}}, "takes no points"),
        ({"search": {"method": "random"}}, "takes points"),
        ({"sweep": 2}, "must begin with `sweep: 1`"),
        ({"vari": {}}, "vari is no field of a space file; the nearest is vary"),
    ],
)  # fmt: skip
def test_refused(changes, message):
    with pytest.raises(InputError, match=message) as raised:
        space_of(INFERENCE, **changes)
    assert str(raised.value).startswith("space.yaml")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vary": {"many_core.core.lanes": [4]}}, "no field of a sweep"),
        ({"vary": {"compile.weight_bits": [4]}}, "no field of a sweep"),
        ({"chip": "tianjic"}, "tianjic has no learning engines for learn.forward.columns"),
        ({"samples": 10}, "samples: a sweep of training prices a step"),
        ({"vary": {"train.recipe.batch": [0]}}, "train.recipe.batch: .*at least 1"),
        ({"vary": {"train.recipe.bach": [1]}}, "the nearest .*train.recipe.batch"),
        ({"vary": {"train.norm": ["most"]}}, "train.norm must be one of none, batch, frozen"),
    ],
)
def test_training_refused(changes, message):
    with pytest.raises(InputError, match=message):
        space_of(TRAINING, **changes)


@pytest.mark.parametrize(
    ("vary", "message"),
    [
        ({"from": 4, "to": 8}, "step or factor"),
        (4, "must be a list, or a range"),
        ({"from": 0, "to": 8, "factor": 2}, "must start above 0"),
        ({"from": 8, "to": 4, "step": 1}, "must not end before"),
    ],
)
def test_ranges_refused(vary, message):
    with pytest.raises(InputError, match=message):
        space_of(INFERENCE, vary={"many_core.core.lanes": vary})


def test_files_refused(tmp_path):
    with pytest.raises(InputError, match=r"cannot be read"):
        load_space(tmp_path / "none.yaml")
    path = tmp_path / "space.yaml"
    for text, message in (("a: [", "is not a YAML file"), ("- 1", "must hold a mapping")):
        path.write_text(text)
        with pytest.raises(InputError, match=message):
            load_space(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot be read"):
        load_space(path)


def test_files_are_seen_from_the_space_file(tmp_path):
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"name": "mine", "clock_hz": 1.0e8}))
    space = space_from_dict(INFERENCE | {"chip": "mine.yaml"}, tmp_path, "space.yaml")
    assert space.place("chip", "mine.yaml") == str(tmp_path / "mine.yaml")
    assert space.place("chip", "tiny") is None
    assert space.place("network", "mnist_mlp") is None


def test_identity_changes_with_content_and_with_the_files(tmp_path):
    chip = tmp_path / "mine.yaml"
    chip.write_text(yaml.safe_dump({"name": "mine", "clock_hz": 1.0e8}))
    fields = INFERENCE | {"chip": "mine.yaml"}
    first = space_from_dict(fields, tmp_path, "space.yaml").identity_hash
    assert space_from_dict(dict(reversed(fields.items())), tmp_path, "").identity_hash == first
    assert space_from_dict(fields | {"seed": 1}, tmp_path, "").identity_hash != first
    chip.write_text(yaml.safe_dump({"name": "mine", "clock_hz": 2.0e8}))
    assert space_from_dict(fields, tmp_path, "").identity_hash != first


def test_every_field_of_the_configuration_is_a_path():
    paths = config_paths()
    assert {
        "many_core.core.lanes",
        "learn.forward.columns",
        "learn.buffers.forward_weights",
        "clock_hz",
    } <= set(paths)
    assert "name" not in paths


@pytest.mark.parametrize("result", [RunResult, LearnResult])
def test_paths_of_numbers_are_accepted(result):
    paths = number_paths(result)
    assert "area.area_mm2" in paths
    for path in paths:
        check_result_path(path.replace("KEY", "any"), result)


def test_numbers_are_found_or_named():
    result = {"a": {"b": 1, "c": None, "d": "text"}}
    assert number_at(result, "a.b") == 1.0
    assert number_at(result, "a.c") is None
    assert number_at(result, "a.c.x") is None
    with pytest.raises(InputError, match=r"a\.bb is no field of a result; the nearest is a.b"):
        number_at(result, "a.bb")
    with pytest.raises(InputError, match=r"a\.d is no single number"):
        number_at(result, "a.d")
