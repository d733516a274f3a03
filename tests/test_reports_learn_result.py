"""Results of the learning half: files written and read, damage refused, unknown kept unknown; `train --result`."""

from __future__ import annotations

import json
import signal
from copy import deepcopy

import numpy as np
import pytest

import spikeloom
from spikeloom.chip.config import load_config
from spikeloom.chip.learn_network import initial_parameters
from spikeloom.errors import StoppedError
from spikeloom.models.zoo import load_zoo_samples
from spikeloom.reports.learn_result import LearnResult, StepTasks, learn_result_schema
from spikeloom.reports.result import ResultError, load_result, save_result
from spikeloom.showing import show
from spikeloom.training import Options, train_network

from .test_cli import run
from .test_training import RECIPE, small_network, three_classes

CHIP = load_config("h2learn_small")


def train_small(chip=CHIP, **options):
    network = small_network()
    return train_network(
        network,
        initial_parameters(network, 3),
        three_classes(),
        RECIPE,
        chip,
        options=Options(epochs=2, seed=3),
        **options,
    )


@pytest.fixture(scope="module")
def training() -> LearnResult:
    return spikeloom.training_result(train_small(test=three_classes(20, 5)))


@pytest.fixture(scope="module")
def step() -> LearnResult:
    priced = spikeloom.dry_run("mnist_mlp", recipe={"batch": 4})
    return spikeloom.step_result(priced, with_ablations=True, with_gpu=True)


def test_what_is_written_is_read(training, step, tmp_path):
    for result in (training, step):
        save_result(result, tmp_path / "r.json")
        assert load_result(tmp_path / "r.json") == result


def test_the_schema_names_every_field(step):
    schema = learn_result_schema()
    assert schema["additionalProperties"] is False
    assert set(schema["properties"]) == set(json.loads(step.model_dump_json()))
    for name in ("kind", "energy_j", "area", "tasks", "counts", "densities"):
        assert name in schema["required"]
        assert name == "kind" or schema["properties"][name]


def test_a_step_holds_what_was_asked_for(training, step):
    assert [gpu.gpu for gpu in step.gpu or ()] == ["V100 fp32", "V100 tensor"]
    assert [table.title for table in step.ablations or ()] == [
        "lookup tables against adders",
        "inputs of a table",
        "sparsity of the backward engine",
        "engines in turn or together",
    ]
    for table in step.ablations or ():
        assert all(len(row) == len(table.columns) for row in table.rows)
    assert training.gpu is None
    assert training.ablations is None
    assert training.area is not None
    assert training.area.basis == "units"


def test_a_timeline_is_that_of_the_program(step):
    tasks = step.tasks
    busy = dict.fromkeys(tasks.queues, 0)
    for queue, first, last in zip(tasks.queue, tasks.start, tasks.end, strict=True):
        assert 0 <= first < last <= tasks.cycles
        busy[tasks.queues[queue]] += last - first
    for name in ("forward", "backward", "update", "vector"):
        assert busy[name] >= step.engines[name].busy > 0
    moved = sum(tasks.bytes)
    assert moved == step.count("dram", "read_bytes") + step.count("dram", "written_bytes")


@pytest.mark.parametrize("stop_after", [3, 6, 12])
def test_after_a_break_the_result_is_that_of_a_training_without_one(training, tmp_path, stop_after):
    steps = 0

    def interrupt(_):
        nonlocal steps
        steps += 1
        if steps == stop_after:
            signal.raise_signal(signal.SIGINT)

    checkpoint = tmp_path / "c"
    options = {"test": three_classes(20, 5), "checkpoint": checkpoint}
    with pytest.raises(StoppedError):
        train_small(**options, progress=interrupt)
    train_small(**options, resume=True)
    resumed = train_small(
        **options, resume=True
    )  # of a training that is over: nothing is left to do
    again = spikeloom.training_result(resumed)
    for name in set(LearnResult.model_fields) - {"provenance", "epochs"}:
        assert getattr(again, name) == getattr(training, name), name


def test_energy_is_unknown_without_a_cost_table_and_not_zero(tmp_path):
    result = spikeloom.training_result(train_small(CHIP.replace(chip={"node_nm": 180})))
    assert (result.energy_j, result.power_w, result.area, result.energy_rows) == (None,) * 3 + ([],)
    assert result.per_sample.energy_j is None
    assert [epoch.energy_j for epoch in result.epochs] == [None, None]
    assert result.pj_per_operation is None
    assert result.cycles > 0
    assert {"Energy is unknown", "The area is unknown"} <= {
        note.split(":")[0] for note in result.notes
    }
    save_result(result, tmp_path / "r.json")
    assert load_result(tmp_path / "r.json") == result
    told = {row[0]: row[1] for row in show(tmp_path / "r.json").tables[0].rows}
    assert told["power"] == told["area"] == "unknown"
    assert "energy unknown" in told["a step"]


def test_a_training_on_a_chip_of_both_halves_says_whose_energy_it_is(training):
    both = spikeloom.training_result(train_small(load_config("fusion_tiny")))
    assert any("the many-core on the chip is not in it" in note for note in both.notes)
    assert not any("many-core" in note for note in training.notes)
    assert both.area is not None
    assert both.area.cores == 4


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: f.pop("network"), "network: Field required"),
        (lambda f: f.update(colour="red"), "colour: Extra inputs are not permitted"),
        (lambda f: f.update(schema_version=2), "has result version 2, this spikeloom reads 1"),
        (lambda f: f.update(kind="step"), "a step has one step and no epochs"),
        (lambda f: f["epochs"][0].update(steps=1), "steps of the epochs add up to"),
        (lambda f: f["epochs"][0].update(energy_j=1.0), "energy_j of the epochs add up to"),
        (lambda f: f["energy_rows"][0].update(energy_j=1.0), "energy row forward, lookups"),
        (lambda f: f["energy_j"].update(total=1.0), "energy_rows add up to"),
        (lambda f: f["energy_by_layer"]["out"].update(dram=1.0), "energy_by_layer and energy_shared_j"),
        (lambda f: f["energy_by_unit_j"]["dram"].update(dynamic=1.0), "energy_by_unit_j add up to"),
        (lambda f: f["power_w"].update(dynamic=1.0), "power_w times seconds"),
        (lambda f: f.update(power_w=None), "must all be known, or none"),
        (lambda f: f.update(seconds=1.0), "seconds is 1.0"),
        (lambda f: f["per_step"].update(energy_j=1.0), "energy a sample or step"),
        (lambda f: f["per_sample"].update(energy_j=None), "energy a sample and a step must be known"),
        (lambda f: f["tasks"]["start"].pop(), "tasks.start must have"),
        (lambda f: f["tasks"]["queue"].__setitem__(0, 11), "tasks.queue must be within 0..10"),
        (lambda f: f["tasks"].update(cycles=1), "the step in 1"),
        (lambda f: f["area"]["rows"].pop(), "area: the rows add up to"),
        (lambda f: f["area"]["by_component"].update(forward=0.0), "area: the components add up to"),
        (lambda f: f["area"]["rows"][0].update(count=1.0), "area: forward, adder of a lane"),
        (lambda f: f["counts"][0].update(count=-1), "counts.0.count"),
    ],
)  # fmt: skip
def test_damaged_results_are_refused(training, tmp_path, change, words):
    fields = deepcopy(json.loads(training.model_dump_json()))
    change(fields)
    path = tmp_path / "r.json"
    path.write_text(json.dumps(fields))
    with pytest.raises(ResultError) as error:
        load_result(path)
    assert words in str(error.value)


def test_a_timeline_of_nothing_is_none():
    empty = {name: [] for name in ("queue", "operation", "layer", "bytes", "start", "end")}
    tasks = StepTasks(queues=["a"], operations=["b"], layers=["c"], cycles=1, **empty)
    assert tasks.end == []


# ------------------------------------------------------------------------------------------------------------ commands


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    drawn = load_zoo_samples("mnist_mlp", 40)
    path = tmp_path_factory.mktemp("digits") / "digits.npz"
    np.savez(path, inputs=drawn.inputs, labels=drawn.labels)
    return path


def test_train_writes_a_result_that_show_tells(capsys, tmp_path, digits):
    out = tmp_path / "t.json"
    code, text, err = run(
        capsys, "train", "mnist_mlp", "--data", digits, "--epochs", 1, "--batch", 20, "--result", out
    )  # fmt: skip
    assert code == 0, err
    assert f"wrote {out}" in text
    result = load_result(out)
    assert isinstance(result, LearnResult)
    assert (result.kind, result.steps, result.samples) == ("training", 2, 40)
    assert result.provenance["command"].startswith("spikeloom train mnist_mlp")
    code, text, err = run(capsys, "show", out)
    assert code == 0, err
    for words in ("mnist_mlp on h2learn", "energy by layer", "epochs", "dram", "buffers"):
        assert words in text
    code, text, _ = run(capsys, "show", out, "--json")
    assert code == 0
    assert json.loads(text)["kind"] == "result"


def test_a_dry_run_writes_a_result_with_what_is_asked(capsys, tmp_path):
    out = tmp_path / "s.json"
    arguments = ("train", "mnist_mlp", "--dry-run", "--batch", 4, "--result", out)
    assert run(capsys, *arguments)[0] == 0
    plain = load_result(out)
    assert isinstance(plain, LearnResult)
    assert (plain.kind, plain.gpu, plain.ablations) == ("step", None, None)
    assert run(capsys, *arguments, "--gpu", "--ablations")[0] == 0
    full = load_result(out)
    assert isinstance(full, LearnResult)
    assert full.gpu is not None
    assert full.ablations is not None
    assert full.energy_j == plain.energy_j
    code, text, _ = run(capsys, "show", out)
    assert code == 0
    assert "beside a V100 fp32" in text
    assert "priced and not run" in text


def test_bad_input_of_a_result_leaves_a_sentence_and_no_file(capsys, tmp_path):
    out = tmp_path / "r.json"
    cases = [
        (("--result", tmp_path / "no" / "r.json"), "the folder"),
        (("--gpu",), "--ablations and --gpu go with --dry-run and --result"),
        (("--ablations", "--result", out), "--ablations and --gpu go with --dry-run and --result"),
        (("--result", out, "--program", tmp_path / "p.learn"), "--result goes with a training"),
        (("--dry-run", "--result", out, "--chip", "tiny"), "has no learning engines"),
        (("--dry-run", "--result", out, "--gradient-density", "1.5"), "density"),
    ]
    for arguments, words in cases:
        code, _, err = run(capsys, "train", "mnist_mlp", *arguments)
        assert code == 2, arguments
        assert words in err
        assert list(tmp_path.iterdir()) == []


def test_a_result_that_cannot_be_written_leaves_the_earlier_one(capsys, tmp_path, monkeypatch):
    out = tmp_path / "r.json"
    out.write_text("earlier")

    def full(self, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    code, _, err = run(capsys, "train", "mnist_mlp", "--dry-run", "--batch", 4, "--result", out)
    assert code == 2
    assert "No space left on device" in err
    assert out.read_text() == "earlier"


def test_show_refuses_a_result_of_another_version_or_kind(capsys, tmp_path, step):
    path = tmp_path / "r.json"
    fields = json.loads(step.model_dump_json())
    for change, words in (
        ({"schema_version": 7}, "has result version 7, this spikeloom reads 1"),
        ({"kind": "area"}, "its kind is 'area'"),
    ):
        path.write_text(json.dumps(fields | change))
        code, _, err = run(capsys, "show", path)
        assert code == 2
        assert words in err
