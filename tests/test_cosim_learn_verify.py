"""The commands: a step is compiled from a .nir file and verified on the Verilog; what is wrong is a sentence."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from spikeloom.chip.config import load_config
from spikeloom.chip.learn_network import (
    INPUT,
    InputFormat,
    LearnError,
    LearnNetwork,
    Neuron,
    Stage,
)
from spikeloom.chip.learn_program_file import load_learn_program
from spikeloom.compiler.learn_nir import save_learn_network
from tests.support.learn_rtl import start

from .test_cli import run

NETWORK = LearnNetwork(
    InputFormat((1, 1, 12), bits=1, scale=1.0, constant=False),
    (
        Stage("hidden", (1, 1, 12), (1, 1, 16), (INPUT,), neuron=Neuron()),
        Stage("readout", (1, 1, 16), (1, 1, 3), (0,)),
    ),
    "tiny",
)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A network and data for it."""
    rng = np.random.default_rng(0)
    save_learn_network(NETWORK, start(NETWORK, 3), tmp_path / "tiny.nir")
    np.savez(
        tmp_path / "d.npz", inputs=rng.integers(0, 2, (16, 3, 12)).astype(np.uint8), labels=rng.integers(0, 3, 16)
    )  # fmt: skip
    return tmp_path / "tiny.nir", tmp_path / "d.npz"


def compile_step(capsys, files, out: Path, *options: object) -> tuple[int, str, str]:
    network, data = files
    return run(
        capsys, "train", network, "--convention", "nir", "--data", data, "--chip", "h2learn_small", "--batch", 4,
        "--timesteps", 3, "--program", out, *options,
    )  # fmt: skip


def test_a_step_is_compiled_and_verified(capsys, files, tmp_path):
    step = tmp_path / "step.learn"
    code, told, _ = compile_step(capsys, files, step, "--keep-weights", "--json")
    assert code == 0
    assert json.loads(told)["tasks"] == 32
    program, parameters = load_learn_program(step, load_config("h2learn_small"))
    assert program.network.stages[0].in_shape == (1, 1, 12)
    assert np.array_equal(parameters.weights[1], start(NETWORK, 3).weights[1])
    compile_step(capsys, files, tmp_path / "again.learn", "--keep-weights")
    assert (tmp_path / "again.learn").read_bytes() == step.read_bytes()

    code, told, _ = run(capsys, "verify", step, files[1], "--steps", 3, "--stalls", 50, "--json")
    found = json.loads(told)
    assert code == 0
    assert found["difference"] is None
    assert (found["steps"], found["tasks"]) == (3, 96)
    assert found["cycles"] > 10_000
    assert "verdict" in run(capsys, "verify", step, files[1])[1]


def test_what_is_wrong_is_a_sentence(capsys, files, tmp_path):
    step, data = tmp_path / "step.learn", files[1]
    compile_step(capsys, files, step)
    other = tmp_path / "other.npz"
    np.savez(other, inputs=np.full((16, 3, 12), 7, np.uint8), labels=np.zeros(16, int))
    cut = tmp_path / "cut.learn"
    cut.write_bytes(step.read_bytes()[:900])
    for arguments, sentence in (
        ((step, data, "--steps", 5), "5 steps of 4 samples need 20, it holds 16"),
        ((step, data, "--steps", 0), "steps must be at least 1"),
        ((step, data, "--stalls", 256), "stalls must be within 0..255"),
        ((step, data, "--waves", tmp_path / "w"), "--waves goes with a NET.chip"),
        ((step, other), "differs in the range or the kind of its numbers"),
        ((cut, data), "is not a whole program file"),
        (
            (tmp_path / "none.learn", data),
            "does not exist; make it with `spikeloom train --program`",
        ),
    ):
        code, _, err = run(capsys, "verify", *arguments)
        assert code == 2
        assert sentence in err
    with pytest.raises(LearnError, match="was compiled for chip 'h2learn_small'"):
        load_learn_program(step, load_config("h2learn"))
    compile_step(capsys, files, step, "--micro-batches", 2)
    assert "one micro-batch a step" in run(capsys, "verify", step, data)[2]


def test_biases_are_left_out_on_request(capsys, tmp_path):
    rng = np.random.default_rng(1)
    data = tmp_path / "d.npz"
    np.savez(
        data,
        inputs=rng.integers(0, 256, (8, 28, 28)).astype(np.uint8),
        labels=rng.integers(0, 10, 8),
    )
    for options, has_bias in (((), True), (("--no-biases",), False)):
        out = tmp_path / "x.learn"
        code, _, err = run(
            capsys, "train", "mnist_mlp", "--data", data, "--chip", "h2learn", "--batch", 4, "--program", out, *options
        )  # fmt: skip
        assert code == 0, err
        program, parameters = load_learn_program(out)
        assert program.network.stages[0].bias == has_bias
        assert ("bias" in parameters.vectors[0]) == has_bias
