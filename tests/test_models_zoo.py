"""Shipped networks: a plain float replay of each file gives the accuracy that its record states."""

import json
from collections.abc import Callable

import nir
import numpy as np
import pytest

from spikeloom.models.datasets import load_mnist
from spikeloom.models.encoders import encode
from spikeloom.models.zoo import NETWORK_FOLDER, ZOO, load_zoo_samples, path

DT_S = 1e-4
NAMES = list(ZOO)

Layer = Callable[[np.ndarray], np.ndarray]


def record_of(name: str) -> dict:
    return json.loads((NETWORK_FOLDER / f"{name}.json").read_text())


def chain_of(name: str) -> list[nir.NIRNode]:
    """Return the nodes from input to output, and check that the graph is one chain."""
    graph = nir.read(path(name))
    following = dict(graph.edges)
    assert len(following) == len(graph.edges) == len(graph.nodes) - 1
    names = ["input"]
    while names[-1] in following:
        names.append(following[names[-1]])
    assert names[-1] == "output"
    assert len(names) == len(graph.nodes)
    return [graph.nodes[key] for key in names]


def convolve(node: nir.Conv2d, x: np.ndarray) -> np.ndarray:
    """Samples (s, c, y, x) with kernel (o, c, i, j): no padding, equal strides."""
    assert np.all(np.asarray(node.padding) == 0)
    assert np.all(np.asarray(node.dilation) == 1)
    assert node.groups == 1
    stride_y, stride_x = np.asarray(node.stride)
    windows = np.lib.stride_tricks.sliding_window_view(x, node.weight.shape[2:], axis=(2, 3))
    windows = windows[:, :, ::stride_y, ::stride_x]
    out = np.tensordot(windows, node.weight, axes=([1, 4, 5], [1, 2, 3]))
    return np.moveaxis(out + node.bias, 3, 1)


def stateless(node: nir.NIRNode) -> Layer:
    if isinstance(node, nir.Conv2d):
        return lambda x: convolve(node, x)
    if isinstance(node, nir.Affine):
        return lambda x: x @ node.weight.T + node.bias
    assert isinstance(node, nir.Flatten)
    assert node.start_dim == 0  # the file has no sample axis
    return lambda x: x.reshape(len(x), -1)


def replay(name: str, inputs: np.ndarray) -> tuple[np.ndarray, list[float]]:
    """Return output spike counts (samples, 10) and each LIF layer's spikes per neuron and timestep.

    The record's convention, written out once more: v = beta v + i, `>`, same-step reset to 0.
    """
    train = encode(ZOO[name].encoder, inputs, ZOO[name].timesteps)
    layers = chain_of(name)[1:-1]
    signals = [train[:, t] for t in range(train.shape[1])]
    rates = []
    for node in layers:
        if not isinstance(node, nir.LIF):
            signals = [stateless(node)(signal) for signal in signals]
            continue
        beta = (1 - DT_S / node.tau).astype(np.float32)
        gain = (node.r * DT_S / node.tau).astype(np.float32)
        v_mem = np.zeros((len(inputs), *node.tau.shape), np.float32)
        assert node.v_reset is not None
        spikes = []
        for signal in signals:
            v_mem = beta * v_mem + gain * signal
            spike = v_mem > node.v_threshold
            v_mem = np.where(spike, node.v_reset, v_mem)
            spikes.append(spike.astype(np.float32))
        signals = spikes
        rates.append(float(np.mean(spikes)))
    return np.sum(signals, axis=0), rates


@pytest.mark.parametrize("name", NAMES)
def test_replay_reaches_the_recorded_accuracy(name: str) -> None:
    test = load_mnist("test")
    counts, rates = replay(name, test.inputs.reshape(-1, *ZOO[name].input_shape))
    accuracy = float((counts.argmax(1) == test.labels).mean())
    # sums in another order move a v across the threshold now and then: two digits of 2,000
    assert accuracy == pytest.approx(ZOO[name].accuracy, abs=0.001)
    record = record_of(name)
    assert rates[:-1] == pytest.approx(record["hidden_rates"], abs=0.001)
    assert counts.sum() / len(counts) == pytest.approx(record["output_spikes"], rel=0.01)


@pytest.mark.parametrize("name", NAMES)
def test_entry_agrees_with_its_record_and_its_file(name: str) -> None:
    entry, record, nodes = ZOO[name], record_of(name), chain_of(name)
    for key in ("name", "task", "timesteps", "encoder", "accuracy"):
        assert getattr(entry, key) == record[key], key
    assert tuple(nodes[0].input_type["input"]) == entry.input_shape
    assert record["test_samples"] == 2000
    assert record["convention"]["dt"] == DT_S
    assert abs(record["accuracy_weights_8_bits"] - record["accuracy"]) < 0.01


@pytest.mark.parametrize(("name", "least"), [("mnist_mlp", 0.95), ("mnist_conv", 0.97)])
def test_networks_are_as_good_as_promised(name: str, least: float) -> None:
    assert ZOO[name].accuracy >= least
    assert max(record_of(name)["hidden_rates"]) < 0.15


@pytest.mark.parametrize("name", NAMES)
def test_neurons_follow_the_convention(name: str) -> None:
    neurons = [node for node in chain_of(name) if isinstance(node, nir.LIF)]
    assert len(neurons) >= 2
    for node in neurons:
        assert node.tau.dtype == np.float32
        np.testing.assert_allclose(1 - DT_S / node.tau, record_of(name)["beta"], rtol=1e-6)
        assert np.all(node.r == 1)
        assert np.all(node.v_threshold == 1)
        assert not np.any(node.v_leak)
        assert not np.any(node.v_reset)


def test_conv_network_is_small() -> None:
    nodes = chain_of("mnist_conv")
    neurons = sum(node.tau.size for node in nodes if isinstance(node, nir.LIF))
    assert neurons == 1402
    fan_in = [node.weight[0].size for node in nodes if isinstance(node, nir.Conv2d | nir.Affine)]
    assert fan_in == [25, 200, 240]  # each below a core's 256 axons


@pytest.mark.parametrize("name", NAMES)
def test_samples_come_from_the_test_split(name: str) -> None:
    drawn = load_zoo_samples(name, 50, seed=3)
    assert drawn.inputs.shape == (50, *ZOO[name].input_shape)
    assert drawn.inputs.dtype == np.uint8
    test = load_mnist("test")
    known = {image.tobytes(): label for image, label in zip(*test, strict=True)}
    keys = [image.tobytes() for image in drawn.inputs]
    assert len(set(keys)) == 50
    assert [known[key] for key in keys] == drawn.labels.tolist()
    np.testing.assert_array_equal(load_zoo_samples(name, 20, seed=3).inputs, drawn.inputs[:20])
    assert not np.array_equal(load_zoo_samples(name, 50, seed=4).labels, drawn.labels)


def test_bad_arguments_are_refused() -> None:
    message = r"^no shipped network is called 'vgg'; choose one of mnist_mlp, mnist_conv\.$"
    for call in (lambda: path("vgg"), lambda: load_zoo_samples("vgg", 1)):
        with pytest.raises(ValueError, match=message):
            call()
    for samples in (0, 2001):
        with pytest.raises(ValueError, match=rf"samples must be in 1..2000, .* not {samples}\."):
            load_zoo_samples("mnist_mlp", samples)
