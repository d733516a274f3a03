"""NeuroBench's metrics of a run: equal to its harness's on the shipped networks, and to a plain count on others."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spikeloom.chip.config import load_config
from spikeloom.compiler.frontend import compile_graph, load_network
from spikeloom.compiler.nir_file import read_nir
from spikeloom.compiler.pipeline import compile_network
from spikeloom.compiling import compile_nir
from spikeloom.models.datasets import load_mnist
from spikeloom.models.zoo import ZOO, load_zoo_samples, path
from spikeloom.reports.neurobench import neurobench_metrics
from spikeloom.running import run
from spikeloom.sim.run import run_many_core
from tests.support.nir_builder import chain, graph, lif, node, write

HARNESS = json.loads((Path(__file__).parent / "data" / "neurobench.json").read_text())


@pytest.mark.parametrize("name", ZOO)
def test_shipped_networks_have_the_figures_of_the_harness(name):
    item, figures = ZOO[name], HARNESS["networks"][name]
    trained, quantised = figures["as trained"], figures["as the chip runs it"]
    shown = {"timesteps": item.timesteps, "encode": item.encoder}
    training = load_mnist("train").inputs[:128].reshape(-1, *item.input_shape)
    compilation = compile_nir(
        path(name), HARNESS["chip"], convention="nir", calibrate={"inputs": training}, **shown
    )
    digits = load_zoo_samples(name, HARNESS["samples"])
    ours = run(compilation.program, {"inputs": digits.inputs}, **shown).neurobench
    assert ours is not None
    assert ours.connection_sparsity is not None
    assert ours.chip_connection_sparsity is not None
    assert ours.footprint_bytes == trained["Footprint"] - trained["neuron_bytes"]
    assert round(ours.connection_sparsity, 4) == trained["ConnectionSparsity"]
    for operations in (trained["SynapticOperations"], quantised["SynapticOperations"]):
        assert ours.synaptic_operations.dense == operations["Dense"]
    assert ours.synaptic_operations.effective_macs == operations["Effective_MACs"]
    assert ours.synaptic_operations.effective_acs == operations["Effective_ACs"]
    assert ours.activation_sparsity == pytest.approx(quantised["ActivationSparsity"], rel=1e-12)
    if name == "mnist_mlp":  # where each weight is one connection
        assert round(ours.chip_connection_sparsity, 4) == quantised["ConnectionSparsity"]
    assert ours.notes == []


@pytest.fixture(scope="module")
def recurrent(tmp_path_factory):
    """A recurrent network with zero weights, compiled for `tiny`: the network in integers and the program."""
    rng = np.random.default_rng(4)

    def weights(*shape):
        return rng.normal(0, 0.8, shape) * (rng.random(shape) < 0.7)

    nodes = {
        "input": node("Input", shape=np.array([6])),
        "fc1": node("Linear", weight=weights(10, 6)),
        "lif1": lif(10),
        "back": node("Affine", weight=weights(10, 10), bias=np.zeros(10)),
        "fc2": node("Affine", weight=weights(4, 10), bias=weights(4)),
        "lif2": lif(4),
        "output": node("Output", shape=np.array([4])),
    }
    edges = [("input", "fc1"), ("fc1", "lif1"), ("lif1", "back"), ("back", "lif1"), ("lif1", "fc2"),
             ("fc2", "lif2"), ("lif2", "output")]  # fmt: skip
    file = write(tmp_path_factory.mktemp("nir") / "net.nir", graph(nodes, edges))
    calibrate = {"inputs": np.ones((1, 5, 6))}
    program = compile_nir(file, "tiny", convention="nir", calibrate=calibrate).program
    config = load_config("tiny")
    compiled = compile_network(load_network(file, "nir"), config, calibration=np.ones((1, 5, 6)))
    return nodes, compiled.quantised, program


def metrics(program, payloads, timesteps):
    simulated = run_many_core(program, payloads, timesteps)
    return neurobench_metrics(
        program, payloads, simulated.neuron_outputs, simulated.core_counters, timesteps
    )


def plain_count(quantised, program, payloads, timesteps):
    """Count nonzero values x nonzero weights projection by projection, from what each layer emitted."""
    simulated = run_many_core(program, payloads, timesteps, probes=("lif1", "lif2"))
    emitted = {"input": payloads} | simulated.probe_output
    total = {}
    for projection in quantised.projections:
        values = emitted[projection.source][:, : timesteps - projection.delay]
        fan_out = np.diff(projection.weight.tocsc().indptr)
        kind = "input" if projection.source == "input" else "neurons"
        total[kind] = total.get(kind, 0) + int(((values != 0).sum(axis=(0, 1)) * fan_out).sum())
    return total


def test_operations_of_a_recurrent_network_are_those_that_act(recurrent):
    nodes, quantised, program = recurrent
    payloads = np.random.default_rng(5).integers(0, 2, (7, 5, 6))
    counted = plain_count(quantised, program, payloads, 5)
    ours = metrics(program, payloads, 5)
    assert ours.synaptic_operations.effective_macs == 0  # inputs of 0 and 1 are spikes
    assert ours.synaptic_operations.effective_acs == sum(counted.values()) / 7
    assert counted["neurons"] > 0
    weights = [nodes[name]["weight"] for name in ("fc1", "back", "fc2")]
    size = sum(w.size for w in weights)
    assert ours.synaptic_operations.dense == 5 * size
    assert ours.footprint_bytes == 4 * (size + 10 + 4)
    assert ours.connection_sparsity == sum((w == 0).sum() for w in weights) / size
    kept = sum(p.weight.count_nonzero() for p in quantised.projections)
    assert ours.chip_connection_sparsity == (size - kept) / size


def test_graded_inputs_count_as_multiply_accumulates_in_their_timesteps(recurrent):
    _, quantised, program = recurrent
    payloads = np.zeros((2, 5, 6), dtype=np.int64)
    payloads[0, 1] = 1  # spikes in this timestep, graded values in that
    payloads[1, 3] = 2
    of_input = int(np.diff(quantised.projections[0].weight.tocsc().indptr).sum())
    assert quantised.projections[0].source == "input"
    ours = metrics(program, payloads, 5).synaptic_operations
    counted = plain_count(quantised, program, payloads, 5)
    assert ours.effective_macs == of_input / 2
    assert ours.effective_acs == (of_input + counted["neurons"]) / 2


def test_held_inputs_count_in_every_timestep(recurrent):
    _, _, program = recurrent
    held = np.random.default_rng(6).integers(0, 2, (3, 1, 6))
    assert metrics(program, held, 5) == metrics(program, np.repeat(held, 5, axis=1), 5)


def test_what_the_program_does_not_say_is_unknown(recurrent):
    _, _, program = recurrent
    bare = replace(program, meta={})
    ours = metrics(bare, np.ones((1, 5, 6), dtype=np.int64), 5)
    assert ours.footprint_bytes is ours.connection_sparsity is ours.chip_connection_sparsity is None
    assert ours.synaptic_operations.dense is None
    assert "compile the network again" in ours.notes[0]


def test_a_folded_pool_is_noted(tmp_path):
    pool = node(
        "AvgPool2d", kernel_size=np.array([2, 2]), stride=np.array([2, 2]), padding=np.array([0, 0])
    )
    weight = np.ones((2, 1, 3, 3))
    weight[0, 0, 0] = 0
    nodes = chain(
        (1, 8, 8), (2, 4, 4),
        conv=node("Conv2d", weight=weight, bias=np.zeros(2), stride=np.array([1, 1]), padding=np.array([1, 1]),
                  dilation=np.array([1, 1]), groups=1, input_shape=np.array([8, 8])),
        pool=pool, lif=lif((2, 4, 4)),
    )  # fmt: skip
    counts = compile_graph(read_nir(write(tmp_path / "net.nir", nodes)), "nir").parameters
    assert (counts.weights, counts.zero_weights, counts.biases) == (18, 3, 2)
    assert counts.connections == 2 * (3 * 8 - 2) ** 2  # taps inside: 22 a row, 22 a column
    assert counts.folded == ("pool",)
    program = compile_nir(tmp_path / "net.nir", "tianjic", convention="nir").program
    ours = metrics(program, np.ones((1, 2, 64), dtype=np.int64), 2)
    assert ours.chip_connection_sparsity is None
    assert ours.synaptic_operations.dense == 2 * counts.connections
    assert "pool became part of weights" in ours.notes[0]
