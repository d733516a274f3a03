"""Training from end to end: it learns, goes on bit for bit after a stop, and refuses what it cannot use."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from spikeloom.chip.learn_network import (
    INPUT,
    InputFormat,
    LearnNetwork,
    Neuron,
    Recipe,
    Stage,
    initial_parameters,
)
from spikeloom.errors import InputError, StoppedError
from spikeloom.learning import load_task, train
from spikeloom.models.datasets import load_mnist
from spikeloom.training import (
    DivergedError,
    LearnData,
    Options,
    prepare_data,
    train_network,
    train_step,
)

from .test_cli import run

CHIP = "h2learn_small"


def small_network(inputs: int = 12) -> LearnNetwork:
    return LearnNetwork(
        InputFormat((1, 1, inputs)),
        (
            Stage("hidden", (1, 1, inputs), (1, 1, 10), (INPUT,), bias=True, neuron=Neuron()),
            Stage("out", (1, 1, 10), (1, 1, 3), (0,), bias=True),
        ),
        "small",
    )


def three_classes(count: int = 90, seed: int = 0) -> LearnData:
    """Images in which a third of the pixels is bright, one third for each class."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    images = rng.integers(0, 120, (count, 1, 1, 1, 12)).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[..., label * 4 : label * 4 + 4] += 100
    return LearnData(images, labels, InputFormat((1, 1, 12)))


RECIPE = Recipe(timesteps=3, batch=16, learning_rate=0.1)


def same(one, other) -> bool:
    arrays = zip(
        [*one.weights, *one.weight_momentum], [*other.weights, *other.weight_momentum], strict=True
    )
    return all(np.array_equal(a, b) for a, b in arrays)


def test_it_learns_and_counts_its_cycles():
    network = small_network()
    parameters = initial_parameters(network, 1)
    seen = []
    done = train_network(
        network, parameters, three_classes(), RECIPE, CHIP, options=Options(epochs=6, seed=1),
        test=three_classes(60, 5),
        progress=seen.append,
    )  # fmt: skip
    assert (done.epochs[-1].test_accuracy or 0.0) >= 0.9 > done.epochs[0].accuracy
    assert done.epochs[-1].loss < 0.5 * done.epochs[0].loss
    assert len(seen) == 6 * 6  # 90 samples in batches of 16: five and a smaller one
    assert all(epoch.cycles > 0 and epoch.steps == 6 for epoch in done.epochs)
    assert done.epochs[0].simulated_s == pytest.approx(done.epochs[0].cycles / 1e8)
    assert 0 < done.epochs[-1].spike_rate["hidden"] < 1


@pytest.mark.parametrize("stop_after", [2, 6, 9])
def test_after_a_stop_the_weights_are_those_of_a_run_without_one(tmp_path, stop_after):
    network, data = small_network(), three_classes()
    options = Options(epochs=2, seed=3)
    whole = initial_parameters(network, 3)
    uninterrupted = train_network(network, whole, data, RECIPE, CHIP, options=options)
    stopped = initial_parameters(network, 3)
    steps = 0

    def interrupt(_):
        nonlocal steps
        steps += 1
        if steps == stop_after:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(StoppedError, match="go on with --resume"):
        train_network(
            network,
            stopped,
            data,
            RECIPE,
            CHIP,
            options=options,
            checkpoint=tmp_path / "c",
            progress=interrupt,
        )
    assert not same(stopped, whole)
    fresh = initial_parameters(network, 3)
    resumed = train_network(
        network,
        fresh,
        data,
        RECIPE,
        CHIP,
        options=options,
        checkpoint=tmp_path / "c",
        resume=True,
        threads=1,
    )
    assert same(fresh, whole)
    keep = lambda epoch: replace(epoch, wall_s=0.0)  # noqa: E731
    assert [keep(e) for e in resumed.epochs] == [keep(e) for e in uninterrupted.epochs]


def test_a_checkpoint_of_another_training_or_a_damaged_one_changes_nothing(tmp_path):
    network, data = small_network(), three_classes()
    parameters = initial_parameters(network, 3)
    checkpoint = tmp_path / "c"
    train_network(
        network, parameters, data, RECIPE, CHIP, options=Options(epochs=1), checkpoint=checkpoint
    )
    whole = checkpoint.read_bytes()
    before = initial_parameters(network, 3)
    cases = [
        (whole, replace(RECIPE, momentum=0.5), "belongs to another training"),
        (whole[: len(whole) // 2], RECIPE, "no whole .npz file"),
        (b"", RECIPE, "no whole .npz file"),
    ]
    for content, recipe, message in cases:
        checkpoint.write_bytes(content)
        fresh = initial_parameters(network, 3)
        with pytest.raises(InputError, match=message):
            train_network(
                network,
                fresh,
                data,
                recipe,
                CHIP,
                options=Options(epochs=1),
                checkpoint=checkpoint,
                resume=True,
            )
        assert same(fresh, before)
        assert checkpoint.read_bytes() == content
    np.savez(tmp_path / "other.npz", inputs=np.zeros(3))
    with pytest.raises(InputError, match="is no checkpoint"):
        train_network(
            network,
            before,
            data,
            RECIPE,
            CHIP,
            options=Options(epochs=1),
            checkpoint=tmp_path / "other.npz",
            resume=True,
        )


def test_a_loss_that_diverges_says_where_and_leaves_the_checkpoint(tmp_path):
    network, data = small_network(), three_classes()
    parameters = initial_parameters(network, 3)
    wild = replace(RECIPE, learning_rate=1e30, loss_scale=1.0)
    with pytest.raises(
        DivergedError, match=r"in epoch 0, step \d+: the sums of layer hidden overflowed"
    ):
        train_network(
            network,
            parameters,
            data,
            wild,
            CHIP,
            options=Options(epochs=2),
            checkpoint=tmp_path / "c",
        )
    assert not (tmp_path / "c").exists()


def test_a_step_that_overflows_moves_nothing_and_halves_the_scale():
    network = small_network()
    batch = three_classes(8)
    start = initial_parameters(network, 0)
    recipe = replace(RECIPE, batch=8, loss_scale=2.0**30)
    result, after, _ = train_step(
        network, batch.inputs.reshape(8, 12), batch.labels, recipe, CHIP, parameters=start
    )
    assert result.skipped is not None
    assert same(start, after)


def test_data_is_brought_to_the_engines_integers():
    images = np.arange(2 * 3 * 4 * 5, dtype=np.uint8).reshape(2, 3, 4, 5)
    labels = np.zeros(2, np.int64)
    data = prepare_data({"inputs": images, "labels": labels}, (4, 5, 3), 6)
    assert data.inputs.shape == (2, 1, 4, 5, 3)
    assert data.format == InputFormat((4, 5, 3))
    np.testing.assert_array_equal(data.inputs[1, 0, 2, 3], images[1, :, 2, 3])
    spikes = (images > 50).astype(np.float32)[:, None].repeat(6, axis=1)
    data = prepare_data({"inputs": spikes, "labels": labels}, (4, 5, 3), 6)
    assert (data.format.bits, data.format.constant, data.format.scale) == (1, False, 1.0)
    real = np.linspace(-2, 1, 60).reshape(1, 3, 4, 5)
    data = prepare_data({"inputs": real, "labels": labels[:1]}, (4, 5, 3), 6)
    assert data.format.signed
    signed = data.inputs.astype(np.int8).astype(np.float64) * data.format.scale
    np.testing.assert_allclose(signed[0, 0].transpose(2, 0, 1), real[0], atol=data.format.scale / 2)


def test_data_that_cannot_be_used_is_described():
    good = np.zeros((4, 12), np.float32)
    labels = np.zeros(4, np.int64)
    cases = [
        ({"x": good}, "holds no array 'inputs', only x"),
        ({"inputs": good}, "holds no array 'labels'"),
        ({"inputs": good[:0], "labels": labels[:0]}, "at least one sample"),
        (
            {"inputs": np.where(np.arange(12) == 5, np.nan, good), "labels": labels},
            r"inputs\[0, 5\] is nan",
        ),
        ({"inputs": good[:, :11], "labels": labels}, r"a sample of shape \(11,\) is neither"),
        ({"inputs": good, "labels": labels[:3]}, r"labels must be \(4,\) whole numbers"),
        ({"inputs": np.array([["a"] * 12] * 4), "labels": labels}, "must hold numbers"),
    ]
    for arrays, message in cases:
        with pytest.raises(InputError, match=message):
            prepare_data(arrays, (1, 1, 12), 3)
    data = three_classes()
    data.labels[7] = 3
    with pytest.raises(
        InputError, match=r"label 3 of sample 7 is out of range; the network has 3 classes, 0\.\.2"
    ):
        train_network(small_network(), initial_parameters(small_network(), 0), data, RECIPE, CHIP)


def test_options_that_cannot_be_used_are_described():
    cases = [
        ({"network": "nothing"}, "'nothing' is neither a network of the learning zoo"),
        ({"network": "cifar_conv"}, "there is no data for cifar_conv here"),
        ({"network": "mnist_mlp", "norm": "layer"}, "norm must be one of none, batch, frozen"),
        ({"network": "mnist_mlp", "recipe": {"momentum": 1.5}}, "momentum must be within"),
        (
            {"network": "mnist_mlp", "recipe": {"learning_rate": 0.0}},
            "learning_rate must be a positive number",
        ),
        (
            {"network": "mnist_mlp", "recipe": {"micro_batches": 99}},
            "micro_batches must be at most the batch",
        ),
        ({"network": "mnist_mlp", "samples": 0}, "samples must be at least 1"),
        ({"network": "mnist_mlp", "chip": "tiny"}, "has no learning engines"),
    ]
    for options, message in cases:
        with pytest.raises(ValueError, match=message):
            load_task(**options)
    with pytest.raises(InputError, match="schedule must be"):
        train("mnist_mlp", samples=64, schedule="warm")
    with pytest.raises(InputError, match="a batch of 64 needs as many samples"):
        train("mnist_mlp", samples=10)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    drawn = load_mnist("train")
    file = tmp_path_factory.mktemp("digits") / "digits.npz"
    np.savez(file, inputs=drawn.inputs[:192], labels=drawn.labels[:192])
    return file


def test_the_command_trains_and_what_it_writes_runs_on_the_many_core(capsys, tmp_path, digits):
    trained = tmp_path / "trained.nir"
    code, out, err = run(
        capsys, "train", "mnist_mlp", "--data", digits, "--test", digits, "--epochs", 4, "--batch", 32,
        "--timesteps", 4,
        "-o", trained, "--json",
    )  # fmt: skip
    assert code == 0, err
    told = json.loads(out)
    accuracy = told["epochs"][-1]["test_accuracy"]
    assert accuracy > 0.7
    assert "epoch 4: loss" in err
    program = tmp_path / "net.chip"
    assert (
        run(capsys, "compile", trained, "--chip", "tianjic", "--convention", "nir", "-o", program)[
            0
        ]
        == 0
    )
    arrays = np.load(digits)
    flat = tmp_path / "flat.npz"
    np.savez(flat, inputs=arrays["inputs"], labels=arrays["labels"])
    code, out, err = run(
        capsys,
        "run",
        program,
        flat,
        "--timesteps",
        4,
        "--encode",
        "direct",
        "--decide",
        "membrane",
        "--json",
    )
    assert code == 0, err
    assert abs(json.loads(out)["accuracy"] - accuracy) < 0.05


def test_a_nir_file_is_trained_and_written_back(capsys, tmp_path, digits):
    from spikeloom.models.zoo import path

    out = tmp_path / "again.nir"
    options = (
        "--convention",
        "nir",
        "--data",
        digits,
        "--epochs",
        1,
        "--batch",
        64,
        "--keep-weights",
        "--lr",
        0.001,
    )
    code, text, err = run(capsys, "train", path("mnist_mlp"), *options, "-o", out)
    assert code == 0, err
    assert "mnist_mlp trained on h2learn" in text
    assert out.exists()


def test_the_command_refuses_bad_input_and_writes_nothing(capsys, tmp_path, digits):
    out = tmp_path / "x.nir"
    cases = [
        (("nothing.nir",), "neither a network of the learning zoo"),
        (("mnist_mlp", "--data", tmp_path / "none.npz"), "does not exist"),
        (("mnist_mlp", "--chip", "tiny", "--data", digits), "has no learning engines"),
        (("mnist_mlp", "--data", digits, "--epochs", 0), "epochs must be at least 1"),
        (("mnist_mlp", "--data", digits, "--resume"), "to resume, say from which checkpoint"),
        (("mnist_mlp", "--data", digits, "-o", tmp_path / "no" / "x.nir"), "the folder"),
    ]
    for arguments, message in cases:
        code, _, err = run(capsys, "train", *arguments, *(() if "-o" in arguments else ("-o", out)))
        assert code == 2
        assert message in err
        assert not out.exists()


def test_ctrl_c_stops_at_the_end_of_a_step(tmp_path, digits):
    checkpoint = tmp_path / "run.ckpt"
    command = [sys.executable, "-m", "spikeloom.cli", "train", "mnist_mlp", "--data", str(digits), "--epochs", "100000",
               "--batch", "32", "--checkpoint", str(checkpoint)]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 120
        while not checkpoint.exists():
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert f"go on with --resume --checkpoint {checkpoint}" in err


def test_a_dry_run_prices_a_step_and_writes_its_timeline(capsys, tmp_path):
    trace = tmp_path / "trace.json"
    code, out, err = run(
        capsys,
        "train",
        "cifar_conv",
        "--dry-run",
        "--batch",
        4,
        "--norm",
        "frozen",
        "--trace",
        trace,
        "--json",
    )
    assert code == 0, err
    told = json.loads(out)
    assert told["batch"] == 4
    assert told["energy_j"] > 0
    assert told["macs"] > 3 * 4 * 6 * 700e6 * 0.99
    events = json.loads(trace.read_text())["traceEvents"]
    slices = [event for event in events if event["ph"] == "X"]
    assert max(e["ts"] + e["dur"] for e in slices) == pytest.approx(told["seconds"] * 1e6)
    # The tasks of a queue follow one another, but for transfers, whose latencies overlap.
    for queue in range(4):
        track = sorted((e["ts"], e["dur"]) for e in slices if e["tid"] == queue)
        assert len(track) > 3
        assert all(a + d <= b + 1e-6 for (a, d), (b, _) in pairwise(track))
    dense = json.loads(run(capsys, "train", "cifar_conv", "--dry-run", "--batch", 4, "--json")[1])
    assert dense["cycles"] > told["cycles"]  # batch statistics make gradients dense
    assert "busy" in run(capsys, "train", "mnist_mlp", "--dry-run")[1]
    step = trace.with_name("step.learn")
    code, _, err = run(capsys, "train", "mnist_mlp", "--trace", trace, "--program", step)
    assert (code, "--trace goes with a training or with --dry-run" in err) == (2, True)


def test_the_ideas_are_compared(capsys, tmp_path):
    code, out, err = run(capsys, "compare", "fashion_conv", "--batch", 8, "--plots", tmp_path)
    assert code == 0, err
    for text in (
        "lookup, g = 4",
        "zero gradients",
        "overlapped by tokens",
        "V100 fp32",
        "published",
    ):
        assert text in out
    assert len(list(tmp_path.glob("*.svg"))) == 4
    code, _, err = run(capsys, "compare", "fashion_conv", "--spike-density", 2)
    assert code == 2
    assert "within 0..1" in err


def test_learning_chips_are_shown_and_measured_and_run_nothing(capsys, tmp_path):
    assert "backward engine" in run(capsys, "show", "h2learn")[1]
    told = json.loads(run(capsys, "area", "--chip", "h2learn", "--json")[1])
    assert 100 < told["area_mm2"] < 130
    for command in (
        ("verilog", "--chip", "h2learn", "-o", tmp_path / "v"),
        ("fpga", "--chip", "h2learn"),
    ):
        code, _, err = run(capsys, *command)
        assert code == 2
        assert "the RTL cannot carry h2learn: forward.rows must be 512 as vector.width" in err
    assert not (tmp_path / "v").exists()


def test_the_example_of_the_documents_runs(tmp_path, monkeypatch, capsys):
    page = (Path(__file__).resolve().parent.parent / "docs" / "training.md").read_text(
        encoding="utf-8"
    )
    (example,) = re.findall(r"^```python\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "docs/training.md", "exec"), {})
    assert (tmp_path / "step.json").stat().st_size > 1000
    assert "(1, 1, 784, 128)" in capsys.readouterr().out
