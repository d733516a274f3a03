"""The commands as a user runs them: output, exit codes, files; bad input leaves one message and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys

import h5py
import numpy as np
import pytest

from spikeloom.models.zoo import load_zoo_samples, path

from .support.command import run_command as run

NET = str(path("mnist_mlp"))


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits")
    drawn = load_zoo_samples("mnist_mlp", 30)
    np.savez(folder / "digits.npz", inputs=drawn.inputs, labels=drawn.labels)
    return folder / "digits.npz"


@pytest.fixture(scope="module")
def program(tmp_path_factory, digits):
    out = tmp_path_factory.mktemp("program") / "net.chip"
    command = [sys.executable, "-m", "spikeloom.cli", "compile", NET, "--chip", "tianjic", "-o", str(out),
               "--convention", "nir", "--calibrate", str(digits), "--timesteps", "8", "--encode", "direct"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "wrote" in done.stdout
    return out


def test_compile_as_json_and_the_same_bytes_again(capsys, program, digits, tmp_path):
    code, out, _ = run(
        capsys, "compile", NET, "--chip", "tianjic", "-o", tmp_path / "again.chip", "--convention", "nir",
        "--calibrate", digits, "--timesteps", 8, "--encode", "direct", "--json",
    )  # fmt: skip
    assert code == 0
    told = json.loads(out)
    assert {
        "import",
        "convention",
        "fold",
        "quantise",
        "partition",
        "schedule",
        "place",
        "route",
        "emit",
    } <= set(told["passes"])
    assert (tmp_path / "again.chip").read_bytes() == program.read_bytes()


def test_run_writes_result_and_page(capsys, program, digits, tmp_path):
    result, page = tmp_path / "result.json", tmp_path / "page.html"
    code, out, err = run(
        capsys, "run", program, digits, "--timesteps", 8, "--encode", "direct", "--out", result, "--report", page
    )  # fmt: skip
    assert code == 0, err
    assert "accuracy" in out
    assert "wrote" in out
    fields = json.loads(result.read_text())
    assert fields["accuracy"] > 0.8
    assert len(fields["predictions"]) == 30
    assert np.array(fields["output_counts"]).shape == (30, 10)
    assert fields["latency_s"]["median"] > 0
    assert sum(v for k, v in fields["energy_j"].items() if k != "total") == pytest.approx(
        fields["energy_j"]["total"]
    )
    assert page.read_text().startswith("<!DOCTYPE html>")
    code, out, _ = run(capsys, "show", result)
    assert code == 0
    assert "accuracy" in out


def test_run_as_json_on_fewer_samples_and_by_first_spike(capsys, program, digits):
    code, out, _ = run(
        capsys, "run", program, digits, "--timesteps", 8, "--encode", "direct", "--samples", 5,
        "--decide", "first", "--json",
    )  # fmt: skip
    assert code == 0
    assert json.loads(out)["samples"] == 5


def test_check_tells_fit_and_misfit(capsys):
    code, out, _ = run(capsys, "check", NET, "--chip", "tianjic", "--convention", "nir", "--json")
    assert code == 0
    assert json.loads(out)["ok"] is True
    code, out, _ = run(capsys, "check", NET, "--chip", "fpga_ecp5", "--convention", "nir", "--json")
    assert code == 1
    assert "needs 5 cores, the chip has 4; it would fit with" in json.loads(out)["problems"][0]


@pytest.mark.parametrize("thing", ["tiny", "mesh32", NET])
def test_show(capsys, thing):
    code, out, _ = run(capsys, "show", thing, "--convention", "nir", "--json")
    assert code == 0
    assert json.loads(out)["tables"]


def test_show_a_program(capsys, program):
    code, out, _ = run(capsys, "show", program)
    assert code == 0
    assert "lif1" in out
    assert "partition" in out


def test_demo(capsys, tmp_path):
    code, out, err = run(capsys, "demo", "--folder", tmp_path / "demo", "--samples", 40)
    assert code == 0, err
    assert "page.html" in out
    names = {p.name for p in (tmp_path / "demo").iterdir()}
    assert names == {"mnist_mlp.chip", "result.json", "page.html", "mesh.svg"}


def damaged(tmp_path, change):
    copy = tmp_path / "net.nir"
    copy.write_bytes(path("mnist_mlp").read_bytes())
    with h5py.File(copy, "r+") as file:
        change(file["node/nodes"])
    return copy


def nan_weight(nodes):
    weight = nodes["fc1"]["weight"][...]
    weight[3, 4] = np.nan
    nodes["fc1"]["weight"][...] = weight


def foreign_node(nodes):
    del nodes["lif1"]["type"]
    nodes["lif1"]["type"] = "Transformer"


def wrong_shape(nodes):
    del nodes["fc2"]["weight"]
    nodes["fc2"]["weight"] = np.zeros((10, 77), np.float32)


@pytest.mark.parametrize(
    ("change", "message"),
    [(nan_weight, "fc1"), (foreign_node, "Transformer"), (wrong_shape, "fc2")],
)
def test_bad_networks_leave_one_message_and_no_file(capsys, tmp_path, change, message):
    network = damaged(tmp_path, change)
    code, out, err = run(
        capsys,
        "compile",
        network,
        "--chip",
        "tianjic",
        "-o",
        tmp_path / "net.chip",
        "--convention",
        "nir",
    )
    assert code == 2
    assert message in err
    assert "Traceback" not in err + out
    assert [p.name for p in tmp_path.iterdir()] == ["net.nir"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compile", "no.nir", "--chip", "tianjic", "-o", "x.chip"], "no.nir"),
        (["compile", NET, "--chip", "nochip", "-o", "x.chip"], "neither a preset"),
        (["compile", NET, "--chip", "tianjic", "-o", "x.chip"], "State the producer"),
        (
            ["compile", NET, "--chip", "tianjic", "-o", "x.chip", "--convention", "brian"],
            "convention must be one of",
        ),
        (
            [
                "compile",
                NET,
                "--chip",
                "tianjic",
                "-o",
                "x.chip",
                "--convention",
                "nir",
                "--reset",
                "maybe",
            ],
            "reset must be one of",
        ),
        (
            [
                "compile",
                NET,
                "--chip",
                "tianjic",
                "-o",
                "x.chip",
                "--convention",
                "nir",
                "--dt",
                "-1",
            ],
            "dt must be",
        ),
        (
            [
                "compile",
                NET,
                "--chip",
                "tianjic",
                "-o",
                "x.chip",
                "--convention",
                "nir",
                "--weight-bits",
                "3",
            ],
            "weight_bits must be",
        ),
        (
            ["compile", NET, "--chip", "fpga_ecp5", "-o", "x.chip", "--convention", "nir"],
            "needs 5 cores",
        ),
        (
            ["compile", NET, "--chip", "tianjic", "-o", "no/x.chip", "--convention", "nir"],
            "no/x.chip",
        ),
        (["run", "no.chip", "no.npz"], "no.chip does not exist"),
        (["run", "README.md", "no.npz"], "README.md"),
        (["show", "nothing"], "neither a preset"),
        (["demo", "--network", "gpt"], "there is no shipped network 'gpt'"),
    ],
)
def test_bad_arguments_leave_one_message(capsys, tmp_path, monkeypatch, arguments, message):
    (tmp_path / "README.md").write_text("no program")
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, *arguments)
    assert code == 2
    assert message in err
    assert "Traceback" not in err + out
    assert [p.name for p in tmp_path.iterdir()] == ["README.md"] or arguments[0] == "demo"


@pytest.mark.parametrize(
    ("arrays", "options", "message"),
    [
        ({"inputs": np.zeros((2, 5, 5))}, ["--timesteps", "8"], "the network takes"),
        ({"inputs": np.zeros((0, 28, 28))}, ["--timesteps", "8"], "is empty"),
        ({"inputs": np.zeros((2, 28, 28))}, [], "say --timesteps"),
        ({"other": np.zeros((2, 28, 28))}, ["--timesteps", "8"], "holds no array 'inputs'"),
        ({"inputs": np.full((2, 28, 28), np.inf)}, ["--timesteps", "8"], "finite"),
        (
            {"inputs": np.zeros((2, 28, 28))},
            ["--timesteps", "8", "--decide", "coin"],
            "decide must be one of",
        ),
        (
            {"inputs": np.zeros((2, 28, 28))},
            ["--timesteps", "8", "--encode", "morse"],
            "unknown encoder",
        ),
        (
            {"inputs": np.zeros((2, 28, 28))},
            ["--timesteps", "8", "--out", "no/result.json"],
            "does not exist",
        ),
    ],
)
def test_bad_data_leaves_one_message_and_no_result(
    capsys, program, tmp_path, monkeypatch, arrays, options, message
):
    monkeypatch.chdir(tmp_path)
    np.savez("data.npz", **arrays)
    code, out, err = run(capsys, "run", program, "data.npz", *options)
    assert code == 2
    assert message in err
    assert "Traceback" not in err + out
    assert [p.name for p in tmp_path.iterdir()] == ["data.npz"]


def test_inputs_beyond_the_calibrated_range_are_told(capsys, program, tmp_path):
    np.savez(tmp_path / "loud.npz", inputs=np.full((2, 28, 28), 9.0))
    code, out, _ = run(capsys, "run", program, tmp_path / "loud.npz", "--timesteps", 8, "--json")
    assert code == 0
    assert any("clipped" in note for note in json.loads(out)["notes"])


def test_help_names_every_command(capsys):
    code, out, _ = run(capsys, "--help")
    assert code == 0
    assert all(name in out for name in ("compile", "check", "run", "show", "demo"))


def test_import_is_quick_and_needs_no_torch():
    code = "import sys, spikeloom; assert 'numba' not in sys.modules and 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
