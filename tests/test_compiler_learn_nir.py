"""Networks for the learning engines from NIR files, and back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from spikeloom.chip.learn_network import (
    INPUT,
    InputFormat,
    LearnNetwork,
    Neuron,
    Norm,
    Stage,
    initial_parameters,
)
from spikeloom.compiler.conventions import DEFAULTS
from spikeloom.compiler.learn_nir import import_learn_network, save_learn_network
from spikeloom.compiler.nir_file import NetworkError, NirGraph, NirNode, read_nir
from spikeloom.models.zoo import path

from .support.nir_builder import chain, lif, node, write

NIR = DEFAULTS["nir"]
LIF = Neuron()


def mixed_network(norm: Norm | None = None) -> LearnNetwork:
    stages = (
        Stage("a", (6, 6, 2), (6, 6, 4), (INPUT,), kernel=(3, 3), padding=(1, 1), bias=True, neuron=LIF, norm=norm),
        Stage("b", (6, 6, 4), (3, 3, 6), (0,), kernel=(3, 3), stride=(2, 2), padding=(1, 1), groups=2, neuron=LIF),
        Stage("down", (6, 6, 4), (3, 3, 6), (0,), stride=(2, 2), norm=norm),
        Stage("c", (3, 3, 6), (3, 3, 6), (1,), kernel=(3, 3), padding=(1, 1), neuron=LIF, shortcut=2, norm=norm),
        Stage("d", (3, 3, 6), (3, 3, 6), (1, 3), kernel=(1, 1), neuron=LIF, shortcut=1),
        Stage("out", (1, 1, 6), (1, 1, 5), (4,), pool=3, bias=True),
    )  # fmt: skip
    return LearnNetwork(InputFormat((6, 6, 2)), stages, "mixed")


def test_a_network_comes_back_as_it_was_written(tmp_path):
    network = mixed_network()
    parameters = initial_parameters(network, seed=3)
    save_learn_network(network, parameters, tmp_path / "net.nir")
    back = import_learn_network(read_nir(tmp_path / "net.nir"), NIR, name="mixed")
    assert len(back.network.stages) == len(network.stages)
    names = [stage.name for stage in back.network.stages]
    order = [names.index(stage.name) for stage in network.stages]
    for old, new in enumerate(order):
        was, found = network.stages[old], back.network.stages[new]
        sources = tuple(sorted(s if s == INPUT else order[s] for s in was.sources))
        assert (found.kernel, found.stride, found.padding, found.groups, found.pool, found.in_shape) == (
            was.kernel, was.stride, was.padding, was.groups, was.pool, was.in_shape
        )  # fmt: skip
        assert found.sources == sources
        assert (found.shortcut is None) == (was.shortcut is None)
        if was.neuron is not None:
            assert found.neuron is not None
            assert found.neuron.leak == pytest.approx(was.neuron.leak, abs=1e-12)
            assert found.neuron.threshold == was.neuron.threshold
        np.testing.assert_allclose(back.parameters.weights[new], parameters.weights[old], rtol=1e-6)
    np.testing.assert_array_equal(
        back.parameters.vectors[order[0]]["bias"], parameters.vectors[0]["bias"]
    )
    assert back.readout_leak == 0.0


def test_norms_are_folded_when_a_network_is_written(tmp_path):
    network = mixed_network(Norm("batch", scale=0.5))
    parameters = initial_parameters(network, seed=4)
    rng = np.random.default_rng(0)
    for vectors in parameters.vectors:
        for name in ("gamma", "beta", "running_mean"):
            if name in vectors:
                vectors[name] += rng.normal(size=vectors[name].shape).astype(np.float32)
    save_learn_network(network, parameters, tmp_path / "net.nir")
    back = import_learn_network(read_nir(tmp_path / "net.nir"), NIR)
    index = [stage.name for stage in back.network.stages].index("a")
    v = parameters.vectors[0]
    factor = v["gamma"] * 0.5 / np.sqrt(v["running_var"] + 1e-5)
    np.testing.assert_allclose(
        back.parameters.weights[index],
        parameters.weights[0] * factor.reshape(1, 1, 1, -1),
        rtol=1e-5,
    )
    np.testing.assert_allclose(
        back.parameters.vectors[index]["bias"],
        v["beta"] + factor * (v["bias"] - v["running_mean"]),
        rtol=1e-5,
    )


def test_a_dense_layer_takes_its_inputs_in_the_file_s_order():
    """Files flatten channels first, the engines channels last."""
    imported = import_learn_network(read_nir(path("mnist_conv")), NIR)
    fc = imported.network.stages[-1]
    graph = read_nir(path("mnist_conv"))
    weight = graph.nodes["fc"].floats("weight").reshape(10, 15, 4, 4)
    found = imported.parameters.weights[-1].reshape(4, 4, 15, 10)
    gain = found[0, 0, 0, 0] / weight[0, 0, 0, 0]  # that of the output neurons
    np.testing.assert_allclose(found[2, 1, 7], weight[:, 7, 2, 1] * gain, rtol=1e-6)
    assert fc.neuron is None
    assert any("spike" in note for note in imported.notes)


def test_input_gains_go_into_the_weights():
    graph = read_nir(path("mnist_mlp"))
    lif = next(node for node in graph.nodes.values() if node.type == "LIF")
    gain = float(np.unique(lif.floats("r") * NIR.dt / lif.floats("tau"))[0])
    imported = import_learn_network(graph, NIR)
    first = next(node for node in graph.nodes.values() if node.type in ("Affine", "Linear"))
    np.testing.assert_allclose(
        imported.parameters.weights[0][0, 0], first.floats("weight").T * gain, rtol=1e-6
    )


def _changed(graph: NirGraph, name: str, **fields: object) -> NirGraph:
    node = graph.nodes[name]
    params = {**node.params, **{k: np.asarray(v) for k, v in fields.items()}}
    return replace(graph, nodes={**graph.nodes, name: NirNode(name, node.type, params)})


def _typed(graph: NirGraph, name: str, kind: str) -> NirGraph:
    return replace(
        graph, nodes={**graph.nodes, name: NirNode(name, kind, graph.nodes[name].params)}
    )


def test_what_cannot_be_trained_is_named():
    graph = read_nir(path("mnist_conv"))
    cases = [
        (_typed(graph, "lif1", "CubaLIF"), NIR, "node 'lif1': CubaLIF cannot be trained"),
        (_changed(graph, "lif1", v_threshold=np.linspace(1, 2, 8 * 144).reshape(8, 12, 12)), NIR,
        "differ in v_threshold"),
        (_changed(graph, "lif1", v_leak=np.full((8, 12, 12), 0.5)), NIR, "v_leak must be 0"),
        (graph, DEFAULTS["snntorch"], "node 'lif1': the learning engines train neurons that fire above"),
        (replace(graph, edges=(*graph.edges, ("lif2", "lif1"))), NIR, "lif1"),
    ]  # fmt: skip
    for changed, convention, message in cases:
        with pytest.raises(NetworkError, match=message):
            import_learn_network(changed, convention)


def test_a_dilated_convolution_is_refused(tmp_path):
    conv = node(
        "Conv2d",
        weight=np.ones((2, 1, 3, 3)),
        bias=np.zeros(2),
        stride=1,
        padding=0,
        dilation=np.array([2, 2]),
        groups=1,
    )
    file = write(tmp_path / "net.nir", chain((1, 8, 8), (2, 4, 4), conv=conv, lif=lif((2, 4, 4))))
    with pytest.raises(NetworkError, match="node 'conv': dilated convolutions cannot be trained"):
        import_learn_network(read_nir(file), NIR)
