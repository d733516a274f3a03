"""The networks to train: sizes are those of the first author's code, and each compiles for the preset."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import pytest

from spikeloom.chip.config import load_config
from spikeloom.chip.learn_network import INPUT, LearnError
from spikeloom.compiler.learn_tasks import learn_tasks
from spikeloom.models.learn_zoo import LEARN_ZOO, build_learn_network

NAMES = tuple(LEARN_ZOO)


def macs(network):
    return sum(stage.macs for stage in network.stages)


@pytest.mark.parametrize("name", NAMES)
def test_entries_say_what_they_build(name):
    entry = LEARN_ZOO[name]
    network = entry.build(entry.norm)
    assert entry.name == network.name == name
    assert macs(network) == entry.macs
    assert network.stages[-1].neuron is None
    assert network.stages[-1].norm is None
    assert entry.description


@pytest.mark.parametrize(
    ("name", "per_timestep", "weights"),
    [
        ("cifar_conv", 729.7e6, 16.59e6),
        ("alexnet_like", 1048e6, 75.6e6),
        ("resnet34_like", 3677e6, 21.8e6),
    ],
)
def test_large_networks_have_the_published_sizes(name, per_timestep, weights):
    network = build_learn_network(name)
    assert macs(network) == pytest.approx(per_timestep, rel=5e-4)
    assert sum(prod(stage.weight_shape) for stage in network.stages) == pytest.approx(
        weights, rel=2e-3
    )


def test_cifar_layers_one_by_one():
    found = [stage.macs / 1e6 for stage in build_learn_network("cifar_conv").stages]
    expected = [3.54, 150.99, 37.75, 75.50, 150.99, 37.75, 75.50, 150.99, 37.75, 8.39, 0.52, 0.005]
    assert found == pytest.approx(expected, abs=0.006)


def test_resnet_adds_spikes_or_the_sums_of_a_one_by_one_convolution():
    network = build_learn_network("resnet34_like")
    added = [network.stages[s.shortcut] for s in network.stages if s.shortcut is not None]
    assert len(added) == 16
    sums = [stage for stage in added if stage.neuron is None]
    assert len(sums) == 4
    assert all(stage.kernel == (1, 1) for stage in sums)
    assert network.stages[-1].pool == 7


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("norm", ["none", "batch", "frozen"])
def test_every_norm_fits_every_layer_but_the_readout(name, norm):
    network = build_learn_network(name, norm)
    kinds = {None if stage.norm is None else stage.norm.kind for stage in network.stages[:-1]}
    assert kinds == {None if norm == "none" else norm}
    assert all(stage.bias or stage.norm is not None for stage in network.stages)
    assert network.stages[0].sources == (INPUT,)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("norm", "batch", "parts"), [("batch", 16, 1), ("frozen", 16, 4)])
def test_every_network_fits_the_preset(name, norm, batch, parts):
    recipe = replace(LEARN_ZOO[name].recipe, batch=batch, micro_batches=parts)
    program = learn_tasks(load_config("h2learn"), build_learn_network(name, norm), recipe)
    assert len(program.tasks) > 20


def test_unknown_names_get_a_sentence():
    with pytest.raises(
        LearnError, match="no network to train is called 'resnet'; choose one of mnist_mlp, "
    ):
        build_learn_network("resnet")
