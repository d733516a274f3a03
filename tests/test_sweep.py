"""Sweeps in one process: units and their sum, answers, going on, tables, plots and the command."""

from __future__ import annotations

import json
import re
import sys
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import yaml

import spikeloom
from spikeloom import cli
from spikeloom.chip.config import load_config
from spikeloom.errors import InputError, StoppedError
from spikeloom.models.datasets import load_mnist
from spikeloom.models.zoo import load_zoo_samples, path
from spikeloom.sweeping import cluster as sweep_cluster
from spikeloom.sweeping import sweep as sweeping
from spikeloom.sweeping.cluster import run_job
from spikeloom.sweeping.space import load_space
from spikeloom.sweeping.sweep import sweep
from spikeloom.sweeping.units import Outcome, build_chip, count_samples, make_job

from .support.sweep_spaces import INFERENCE, TRAINING, FakePool, space_of


def first_job(space):
    return make_job(space, space.point(0, (0,) * len(space.axes)), count_samples(space))


def write(folder, fields):
    file = folder / "space.yaml"
    file.write_text(yaml.safe_dump(fields, sort_keys=False))
    return file


def test_shards_add_up_to_the_whole_run():
    space = space_of(
        INFERENCE,
        shard=2,
        measures=["accuracy", "hops", "synops", "cycles_per_sample.max", "host_input_share"],
    )
    job = first_job(space)
    assert [len(shard) for shard in job.shards] == [2, 2, 1]
    outcome = run_job(job)
    digits = load_zoo_samples("mnist_mlp", 5)
    program = spikeloom.compile(
        path("mnist_mlp"), load_config("tianjic").replace(core={"lanes": 8}), convention="nir",
        calibrate={"inputs": load_mnist("train").inputs[:128].reshape(-1, 28, 28)}, timesteps=8, encode="direct",
    ).program  # fmt: skip
    whole = spikeloom.run(
        program, {"inputs": digits.inputs, "labels": digits.labels}, timesteps=8, encode="direct"
    )
    assert outcome.status == "done"
    assert outcome.measures == {
        "latency_s.median": whole.latency_s.median,
        "energy_j.total": whole.energy_j["total"],
        "accuracy": whole.accuracy,
        "hops": whole.hops,
        "synops": whole.synops,
        "cycles_per_sample.max": whole.cycles_per_sample.max,
        "host_input_share": whole.host_input_share,
    }
    assert outcome.provenance is not None
    assert outcome.provenance["config_hash"] == whole.config_hash
    assert outcome.provenance["data_sha256"] == whole.provenance["data_sha256"]


def test_own_data_and_options(tmp_path):
    digits = load_mnist("test").inputs[:6].reshape(-1, 28, 28)
    np.savez(tmp_path / "mine.npz", inputs=digits)
    (tmp_path / "chip.yaml").write_text(load_config("tianjic").to_yaml())
    file = write(
        tmp_path,
        INFERENCE
        | {
            "chip": "chip.yaml",
            "data": "mine.npz",
            "samples": 4,
            "set": {"run.timesteps": 3, "run.decide": "first", "compile.calibrate": "mine.npz"},
            "vary": {"compile.weight_bits": [2, 8], "compile.seed": [0, 1]},
            "measures": ["accuracy", "timesteps", "samples"],
        },
    )
    space = load_space(file)
    outcome = run_job(first_job(space))
    assert outcome.status == "done"
    assert outcome.measures is not None
    assert outcome.measures["timesteps"] == 3
    assert outcome.measures["samples"] == 4
    assert outcome.measures["accuracy"] is None  # unknown, since the data has no labels


def test_a_step_is_priced_as_by_dry_run():
    space = space_of(TRAINING)
    outcome = run_job(first_job(space))
    chip = load_config("h2learn").replace(forward={"columns": 32}, dram={"bytes_per_cycle": 256})
    step = spikeloom.dry_run("mnist_mlp", chip=chip, recipe={"batch": 16})
    assert outcome.measures is not None
    assert outcome.measures["seconds"] == step.counts.seconds
    assert outcome.measures["energy_j.total"] == pytest.approx(step.energy.total, rel=1e-12)
    assert (outcome.measures["area.area_mm2"] or 0) > 1


def test_sections_change_only_what_they_name():
    space = space_of(INFERENCE, vary={"many_core.network": [{"columns": 5, "host_rows": [1]}]})
    chip = build_chip(first_job(space)).many_core
    assert (chip.network.columns, chip.network.rows, chip.network.host_rows) == (5, 13, (1,))
    assert chip.core == load_config("tianjic").many_core.core


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"vary": {"many_core.network": [{"columns": 1, "rows": 1}]}}, "cores"),
        ({"vary": {"many_core.core.neurons": [8]}}, "lanes must be at most neurons"),
        (
            TRAINING | {"samples": None, "chip": "h2learn_small", "vary": {"clock_hz": [1.0e8]}},
            "choose a chip with larger buffers",
        ),
    ],
)
def test_what_cannot_be_built_is_an_answer(changes, reason):
    outcome = run_job(first_job(space_of(INFERENCE, **changes)))
    assert outcome.status == "refused"
    assert reason in outcome.reason
    assert outcome.measures is None


def test_too_few_samples(tmp_path):
    np.savez(tmp_path / "few.npz", inputs=np.zeros((3, 28, 28), np.uint8))
    space = load_space(write(tmp_path, INFERENCE | {"data": "few.npz"}))
    with pytest.raises(InputError, match="5 are asked for, the data has 3"):
        count_samples(space)
    with pytest.raises(InputError, match="the data has 2000"):
        count_samples(space_of(INFERENCE, samples=3000))


# --- whole sweeps, their points worked out by a function -------------------------------------------------------------

SWEPT = TRAINING | {
    "vary": {"learn.forward.columns": [8, 16, 32, 64], "learn.backward.lanes": [1, 2, 4, 8]},
    "measures": [],
}


def quick(job):
    """Answer at once: wider is faster and hungrier; the widest cannot be built."""
    a, b = job.settings["learn.forward.columns"], job.settings["learn.backward.lanes"]
    if (a, b) == (64, 8):
        return Outcome("refused", "too wide")
    return Outcome("done", "", {"seconds": 1 / a + 1 / b, "energy_j.total": a * b + a}, {}, 0.1)


@pytest.fixture
def pool(monkeypatch):
    fake = FakePool(quick)

    @contextmanager
    def opened(_workers, _scheduler):
        yield fake, "a test"

    monkeypatch.setattr(sweeping, "open_pool", opened)
    monkeypatch.setattr(sweeping, "run_job", quick)
    return fake


def test_measures_of_another_networks_layers_are_unknown_but_in_the_pilot():
    space = space_of(TRAINING, measures=["energy_by_layer.conv9.forward"])
    job = first_job(space)
    outcome = run_job(job)
    assert outcome.measures is not None
    assert outcome.measures["energy_by_layer.conv9.forward"] is None
    with pytest.raises(InputError, match=r"energy_by_layer\.conv9\.forward is no field"):
        run_job(replace(job, is_pilot=True))


def test_it_is_told_that_no_point_can_be_built(tmp_path, pool, monkeypatch):
    monkeypatch.setattr(sweeping, "run_job", lambda _job: Outcome("refused", "too wide"))
    told = []
    sweep(space_of(SWEPT), tmp_path / "r.sqlite", tell=told.append)
    assert "none of the first points can be built, the last of them since: too wide" in told


def test_a_stopped_sweep_goes_on(tmp_path, pool):
    out = tmp_path / "r.sqlite"

    def stop(at):
        if at.done == 5:
            raise KeyboardInterrupt

    with pytest.raises(StoppedError, match=r"5 of 16 points are in .*the same command goes on"):
        sweep(space_of(SWEPT), out, progress=stop)
    told, seen = [], []
    result = sweep(space_of(SWEPT), out, progress=seen.append, tell=told.append)
    assert told[0].startswith("5 points are in")
    assert [job.number for job in pool.jobs] == list(range(16))
    assert [record.number for record in result.records] == list(range(16))
    assert (seen[0].done, seen[0].total, seen[0].per_minute) == (5, 16, None)
    assert (seen[-1].done, seen[-1].refused, seen[-1].seconds_left) == (16, 1, 0.0)
    assert result.count("done") == 15
    again = sweep(space_of(SWEPT), out)
    assert len(pool.jobs) == 16
    assert again.records == result.records


def test_a_stopped_search_goes_the_same_way(tmp_path, pool):
    space = space_of(SWEPT, search={"method": "pareto", "points": 12, "population": 4}, seed=2)
    whole = sweep(space, tmp_path / "whole.sqlite")

    def stop(at):
        if at.done == 6:
            raise KeyboardInterrupt

    with pytest.raises(StoppedError):
        sweep(space, tmp_path / "parts.sqlite", progress=stop)
    parts = sweep(space, tmp_path / "parts.sqlite")
    assert len(whole.records) == 12
    assert [(r.key, r.measures) for r in parts.records] == [
        (r.key, r.measures) for r in whole.records
    ]


def test_failed_points_stay_until_asked_for(tmp_path, pool):
    out = tmp_path / "r.sqlite"
    pool.evaluate = lambda job: Outcome("failed", "died") if job.number == 3 else quick(job)
    assert sweep(space_of(SWEPT), out).count("failed") == 1
    pool.evaluate = quick
    assert sweep(space_of(SWEPT), out).count("failed") == 1
    assert sweep(space_of(SWEPT), out, retry_failed=True).count("failed") == 0


def test_measures_that_are_not_there_are_refused_before_anything_is_written(tmp_path):
    space = space_of(TRAINING, measures=["energy_j.forwrad"])
    with pytest.raises(
        InputError,
        match=r"energy_j.forwrad is no field of a result; the nearest .*energy_j.forward",
    ):
        sweep(space, tmp_path / "r.sqlite", workers=0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": -1}, "--workers must not be negative"),
        ({"workers": 1, "scheduler": "tcp://x:1"}, "--workers goes without --scheduler"),
    ],
)
def test_wrong_options(tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        sweep(space_of(SWEPT), tmp_path / "r.sqlite", **options)


def test_dask_that_is_missing_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(sweep_cluster, "find_spec", lambda _name: None)
    monkeypatch.setattr(sweeping, "run_job", quick)
    with pytest.raises(InputError, match=r"pip install 'spikeloom\[sweep\]'"):
        sweep(space_of(SWEPT), tmp_path / "r.sqlite", workers=2)
    assert not (tmp_path / "r.sqlite").exists()


# --- the command -----------------------------------------------------------------------------------------------------


def call(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["spikeloom", *map(str, arguments)])
    with pytest.raises(SystemExit) as left:
        cli.main()
    out, err = capsys.readouterr()
    return left.value.code or 0, out, err


def test_command(tmp_path, monkeypatch, capsys):
    file, out = write(tmp_path, TRAINING), tmp_path / "r.sqlite"
    options = ("--workers", 0, "--csv", tmp_path / "all.csv", "--plots", tmp_path / "plots")
    code, text, err = call(monkeypatch, capsys, "sweep", file, "-o", out, *options)
    assert code == 0
    assert "Pareto set" in text
    assert f"wrote {tmp_path / 'plots' / 'pareto.svg'}" in text
    assert "6 of 6 points; " in err
    assert len((tmp_path / "all.csv").read_text().splitlines()) == 7
    code, text, err = call(monkeypatch, capsys, "sweep", file, "-o", out, "--json")
    assert (code, json.loads(text)["done"]) == (0, 6)
    assert "6 points are in" in err


def test_command_says_which_points_cannot_be_built(tmp_path, monkeypatch, capsys):
    fields = TRAINING | {"vary": {"learn.forward.interleave": [2, 4], "learn.adder_stages": [3]}}
    file = write(tmp_path, fields)
    code, text, _ = call(
        monkeypatch, capsys, "sweep", file, "-o", tmp_path / "r.sqlite", "--workers", 0
    )
    assert code == 0
    assert "1 point cannot be built so" in text
    assert "interleave must be at least adder_stages" in text


@pytest.mark.parametrize(
    ("fields", "options", "message"),
    [
        ({"vary": {"learn.forward.column": [4]}}, (), "the nearest .*learn.forward.columns"),
        ({}, ("--csv", "no/such/folder.csv"), "the folder no/such does not exist"),
        ({}, ("-o", "no/such/r.sqlite"), "the folder no/such does not exist"),
    ],
)
def test_command_refuses(tmp_path, monkeypatch, capsys, fields, options, message):
    monkeypatch.chdir(tmp_path)
    file = write(tmp_path, TRAINING | fields)
    code, text, err = call(
        monkeypatch, capsys, "sweep", file, "-o", "r.sqlite", "--workers", 0, *options
    )
    assert (code, text) == (2, "")
    assert spikeloom_line(err, message)
    assert not (tmp_path / "r.sqlite").exists()


def spikeloom_line(err, message):
    return err.startswith("spikeloom: ") and re.search(message, err) and "Traceback" not in err


def test_command_leaves_with_1_where_points_failed(tmp_path, monkeypatch, capsys, pool):
    pool.evaluate = lambda job: (
        Outcome("failed", "3 workers died at it") if job.number == 3 else quick(job)
    )
    code, text, _ = call(
        monkeypatch, capsys, "sweep", write(tmp_path, SWEPT), "-o", tmp_path / "r.sqlite"
    )
    assert code == 1
    assert "3 workers died at it" in text
