"""Networks that learn: geometry, planes, parameters, and the sentences about what does not fit together."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from spikeloom.chip.learn_network import (
    INPUT,
    InputFormat,
    LearnError,
    LearnNetwork,
    Neuron,
    Norm,
    Parameters,
    Recipe,
    Stage,
    initial_parameters,
)
from tests.support.golden_learn import geometry, planes_of
from tests.support.learn_networks import Case, cases

IMAGE = InputFormat((4, 4, 2), bits=4)
HIDDEN = Stage("hidden", (4, 4, 2), (4, 4, 2), (INPUT,), neuron=Neuron())
READOUT = Stage("readout", (1, 1, 32), (1, 1, 3), (0,))


def network(*stages: Stage, image: InputFormat = IMAGE) -> LearnNetwork:
    return LearnNetwork(image, stages)


@settings(max_examples=80)
@given(cases())
def test_taps_are_those_of_the_kernel(case: Case):
    for stage in case.network.stages:
        forward, backward = stage.forward_taps, stage.backward_taps
        table = geometry(stage)
        assert forward.tolist() == [[-1 if q is None else q for q in line] for line in table]
        under = {
            (q, tap): p
            for p, line in enumerate(table)
            for tap, q in enumerate(line)
            if q is not None
        }
        assert backward.shape == (stage.in_positions, stage.taps)
        for (q, tap), p in np.ndenumerate(backward):
            assert under.get((q, tap), -1) == p
        assert np.count_nonzero(forward >= 0) == np.count_nonzero(backward >= 0) == len(under)
        assert case.network.planes(stage) == planes_of(case.network, stage)
        assert stage.macs == stage.out_positions * np.prod(stage.weight_shape)


def test_planes_and_scales():
    two = Stage("two", (4, 4, 2), (4, 4, 2), (0, 1), neuron=Neuron())
    pool = Stage("pool", (2, 2, 2), (2, 2, 2), (2,), pool=2, neuron=Neuron())
    both = Stage("both", (1, 1, 8), (1, 1, 3), (1, 2), pool=2)
    signed = replace(IMAGE, signed=True, scale=0.125)
    found = network(
        HIDDEN, replace(HIDDEN, name="again", sources=(0,)), two, pool, both, image=signed
    )
    assert [found.planes(stage) for stage in found.stages] == [4, 1, 2, 3, 4]
    assert [found.input_scale(stage) for stage in found.stages] == [0.125, 1.0, 1.0, 0.25, 0.25]
    assert [found.is_signed(stage) for stage in found.stages] == [True, False, False, False, False]
    assert [found.is_constant(stage) for stage in found.stages] == [
        True,
        False,
        False,
        False,
        False,
    ]
    assert found.consumers(0) == ((1, "input"), (2, "input"))
    assert found.consumers(1) == ((2, "input"), (4, "input"))
    assert found.classes == 3


def test_shortcuts_are_consumers():
    user = replace(HIDDEN, name="user", sources=(0,), shortcut=0)
    found = network(HIDDEN, user, replace(READOUT, sources=(1,)))
    assert found.consumers(0) == ((1, "input"), (1, "shortcut"))


def test_parameters_mirror_the_network():
    stages = (
        replace(HIDDEN, bias=True),
        replace(
            HIDDEN,
            name="normed",
            sources=(0,),
            groups=2,
            kernel=(3, 3),
            padding=(1, 1),
            norm=Norm(),
        ),
        replace(READOUT, sources=(1,)),
    )
    parameters = initial_parameters(network(*stages), 5)
    assert [w.shape for w in parameters.weights] == [(1, 1, 2, 2), (2, 9, 1, 1), (1, 1, 32, 3)]
    assert [sorted(v) for v in parameters.vectors] == [
        ["bias"], ["beta", "gamma", "running_mean", "running_var"], [],
    ]  # fmt: skip
    assert [sorted(v) for v in parameters.vector_momentum] == [["bias"], ["beta", "gamma"], []]
    for stage, weights in zip(stages, parameters.weights, strict=True):
        assert weights.dtype == np.float32
        assert 0.3 < np.abs(weights).max() * np.sqrt(stage.taps * stage.in_channels) <= 1.0
    again = initial_parameters(network(*stages), 5)
    assert all(np.array_equal(a, b) for a, b in zip(parameters.weights, again.weights, strict=True))
    other = initial_parameters(network(*stages), 6)
    assert not np.array_equal(parameters.weights[0], other.weights[0])
    kept = Parameters(
        parameters.weights, parameters.vectors, again.weights, [{} for _ in parameters.weights]
    )
    assert kept.weight_momentum is again.weights


WRONG: dict[str, tuple[Any, str]] = {
    "nothing to train": (network, "network has no layers with weights: there is nothing to train"),
    "spiking readout": (
        lambda: network(HIDDEN),
        "the last layer, hidden, must be a readout without spiking neurons: its sums are the logits",
    ),
    "readout with a norm": (
        lambda: network(HIDDEN, replace(READOUT, norm=Norm())),
        "the last layer, readout, must be a readout of shape (1, 1, classes) without a norm: its sums are the logits",
    ),
    "readout of positions": (
        lambda: network(HIDDEN, replace(READOUT, in_shape=(4, 4, 2), out_shape=(4, 4, 3))),
        "the last layer, readout, must be a readout of shape (1, 1, classes) without a norm: its sums are the logits",
    ),
    "later source": (
        lambda: network(replace(HIDDEN, sources=(0,)), READOUT),
        "layer hidden needs spikes of earlier layers as its input",
    ),
    "source that does not spike": (
        lambda: network(replace(HIDDEN, neuron=None), READOUT),
        "layer readout needs spikes of earlier layers as its input",
    ),
    "shape": (
        lambda: network(HIDDEN, replace(READOUT, in_shape=(1, 1, 31))),
        "layer readout takes (1, 1, 31), but its source gives (4, 4, 2)",
    ),
    "shape after pooling": (
        lambda: network(HIDDEN, replace(READOUT, pool=2)),
        "layer readout takes (1, 1, 32), but its source gives (2, 2, 2) when pooled by 2",
    ),
    "no source": (
        lambda: network(HIDDEN, replace(READOUT, sources=())),
        "layer readout needs sources, and the network's input cannot be added to spikes",
    ),
    "input beside spikes": (
        lambda: network(HIDDEN, replace(READOUT, sources=(INPUT, 0))),
        "layer readout needs sources, and the network's input cannot be added to spikes",
    ),
    "source twice": (
        lambda: network(HIDDEN, replace(READOUT, sources=(0, 0))),
        "layer readout takes a source twice",
    ),
    "kernel": (
        lambda: network(replace(HIDDEN, kernel=(3, 3)), READOUT),
        "layer hidden: a kernel of 3 with stride 1 and padding 0 over 4 does not give 4",
    ),
    "kernel of nothing": (
        lambda: network(replace(HIDDEN, kernel=(0, 1)), READOUT),
        "layer hidden: kernel, stride, pool, groups and shapes must be at least 1, and padding 0",
    ),
    "groups": (
        lambda: network(replace(HIDDEN, groups=3), READOUT),
        "layer hidden: 3 groups must divide both its 2 input and its 2 output channels",
    ),
    "shortcut of another shape": (
        lambda: network(HIDDEN, replace(HIDDEN, name="next", out_shape=(4, 4, 1), sources=(0,), shortcut=0), READOUT),
        "layer next: its shortcut must be an earlier layer of the same shape",
    ),
    "shortcut to itself": (
        lambda: network(replace(HIDDEN, shortcut=0), READOUT),
        "layer hidden: its shortcut must be an earlier layer of the same shape",
    ),
    "shortcut without neurons": (
        lambda: network(HIDDEN, replace(HIDDEN, name="sums", sources=(0,), shortcut=0, neuron=None), READOUT),
        "layer sums has no neurons that its shortcut could be added to",
    ),
    "image of too many bits when pooled": (
        lambda: network(replace(HIDDEN, in_shape=(2, 2, 2), out_shape=(2, 2, 2), pool=2), image=InputFormat((4, 4, 2))),
        "layer hidden adds up to 10 bits in a window of its input, and the engines take 8; pool less at a time",
    ),
    "signed image pooled": (
        lambda: network(
            replace(HIDDEN, in_shape=(2, 2, 2), out_shape=(2, 2, 2), pool=2), image=replace(IMAGE, signed=True)
        ),
        "layer hidden cannot pool a signed input; pool the images beforehand",
    ),
    "bits": (
        lambda: network(HIDDEN, READOUT, image=replace(IMAGE, bits=9)),
        "the input must be a frame of integers of 1 to 8 bits, of 2 to 8 if signed, not 9 bits of shape (4, 4, 2)",
    ),
    "signed bit": (
        lambda: network(HIDDEN, READOUT, image=replace(IMAGE, bits=1, signed=True)),
        "the input must be a frame of integers of 1 to 8 bits, of 2 to 8 if signed, not 1 bits of shape (4, 4, 2)",
    ),
    "timesteps": (lambda: Recipe(timesteps=0), "the recipe's timesteps must be at least 1, not 0"),
    "batch": (lambda: Recipe(batch=0), "the recipe's batch must be at least 1, not 0"),
    "micro-batches": (
        lambda: Recipe(micro_batches=-1),
        "the recipe's micro_batches must be at least 1, not -1",
    ),
    "loss": (
        lambda: Recipe(loss="hinge"),  # pyright: ignore[reportArgumentType]
        "the recipe's loss must be cross_entropy or mse, not 'hinge'",
    ),
    "readout": (
        lambda: Recipe(readout="rate"),  # pyright: ignore[reportArgumentType]
        "the recipe's readout must be mean or membrane, not 'rate'",
    ),
    "loss scale": (
        lambda: Recipe(loss_scale=1000.0),
        "the recipe's loss_scale must be a power of two, not 1000.0",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit_is_said_in_a_sentence(name):
    build, sentence = WRONG[name]
    with pytest.raises(LearnError, match=f"^{re.escape(sentence)}$"):
        build()
