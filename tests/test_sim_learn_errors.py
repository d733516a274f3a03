"""What the training machine refuses: batches that are not the network's, in sentences."""

from __future__ import annotations

import os
import re
from copy import deepcopy

import numpy as np
import pytest

from spikeloom.chip.learn_network import (
    INPUT,
    InputFormat,
    LearnError,
    LearnNetwork,
    Neuron,
    Recipe,
    Stage,
)
from spikeloom.compiler.learn_tasks import learn_tasks
from spikeloom.sim.engines.training import TrainingMachine, loss_of
from tests.support.learn_networks import Case, learn_chip

pytestmark = pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT", "0") != "0", reason="vector instructions need the compiler"
)
SHAPE = "(samples, timesteps, rows, columns, channels)"


def case_of(*, bits: int = 4, constant: bool = True, batch: int = 3) -> Case:
    network = LearnNetwork(
        InputFormat((2, 3, 1), bits=bits, constant=constant),
        (
            Stage("hidden", (2, 3, 1), (2, 3, 2), (INPUT,), neuron=Neuron()),
            Stage("readout", (1, 1, 12), (1, 1, 4), (0,)),
        ),
    )
    return Case(learn_chip(), network, Recipe(timesteps=2, batch=batch), 1, 1)


def machine_of(case: Case) -> TrainingMachine:
    return TrainingMachine(learn_tasks(case.chip, case.network, case.recipe), case.parameters())


WRONG_INPUTS = {
    "samples": ((2, 1, 2, 3, 1), "uint8", "not uint8 of shape (2, 1, 2, 3, 1)"),
    "timesteps": ((3, 2, 2, 3, 1), "uint8", "not uint8 of shape (3, 2, 2, 3, 1)"),
    "order of axes": ((3, 1, 1, 2, 3), "uint8", "not uint8 of shape (3, 1, 1, 2, 3)"),
    "flat": ((3, 6), "uint8", "not uint8 of shape (3, 6)"),
    "floats": ((3, 1, 2, 3, 1), "float32", "not float32 of shape (3, 1, 2, 3, 1)"),
}


@pytest.mark.parametrize("name", WRONG_INPUTS)
def test_inputs_of_another_shape_or_kind(name):
    shape, kind, tail = WRONG_INPUTS[name]
    sentence = f"a batch of inputs must be uint8 of shape (3, 1, 2, 3, 1) {SHAPE}, {tail}"
    with pytest.raises(LearnError, match=f"^{re.escape(sentence)}$"):
        machine_of(case_of()).step(np.zeros(shape, kind), np.zeros(3, np.int64))


def test_inputs_that_vary_need_every_timestep():
    with pytest.raises(LearnError, match=re.escape("uint8 of shape (3, 2, 2, 3, 1)")):
        machine_of(case_of(constant=False)).step(
            np.zeros((3, 1, 2, 3, 1), np.uint8), np.zeros(3, np.int64)
        )


@pytest.mark.parametrize(("bits", "value"), [(1, 2), (4, 16), (7, 255)])
def test_inputs_of_more_bits(bits, value):
    machine = machine_of(case_of(bits=bits))
    inputs = np.zeros((3, 1, 2, 3, 1), np.uint8)
    inputs[-1, 0, 1, 2, 0] = (1 << bits) - 1
    machine.step(inputs, np.zeros(3, np.int64))
    inputs[-1, 0, 1, 2, 0] = value
    with pytest.raises(
        LearnError,
        match=f"^inputs must be integers of {bits} bits, not {value}: scale them beforehand$",
    ):
        machine.step(inputs, np.zeros(3, np.int64))


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        (
            np.array([0, 3, 4]),
            "label 4 of sample 2 is out of range: the network has 4 classes, 0..3",
        ),
        (
            np.array([-1, 3, 2]),
            "label -1 of sample 0 is out of range: the network has 4 classes, 0..3",
        ),
        (np.zeros(2, np.int64), "labels must be integers of shape (3,), not int64 of shape (2,)"),
        (
            np.zeros((3, 1), np.int64),
            "labels must be integers of shape (3,), not int64 of shape (3, 1)",
        ),
        (np.zeros(3), "labels must be integers of shape (3,), not float64 of shape (3,)"),
    ],
    ids=["high", "negative", "few", "axes", "floats"],
)
def test_labels_that_do_not_fit(labels, sentence):
    case = case_of()
    machine = machine_of(case)
    before = deepcopy(machine.parameters)
    with pytest.raises(LearnError, match=f"^{re.escape(sentence)}$"):
        machine.step(case.batch(3)[0], labels)
    for mine, theirs in zip(machine.parameters.weights, before.weights, strict=True):
        assert np.array_equal(mine, theirs)


def test_the_last_label_counts():
    case = case_of()
    machine = machine_of(case)
    step = machine.step(case.batch(3)[0], np.array([3, 3, 0]))
    assert step.skipped is None
    assert step.loss == pytest.approx(loss_of(step.logits, np.array([3, 3, 0]), "cross_entropy"))
    assert step.correct == int((step.logits.argmax(axis=1) == [3, 3, 0]).sum())


def test_losses_are_those_of_the_definitions():
    logits = np.array([[1.0, 2.0, 0.5], [0.0, -1.0, 3.0]], np.float32)
    labels = np.array([1, 0])
    chances = np.exp(logits.astype(np.float64))
    chances /= chances.sum(axis=1, keepdims=True)
    expected = -(np.log(chances[0, 1]) + np.log(chances[1, 0])) / 2
    assert loss_of(logits, labels, "cross_entropy") == pytest.approx(expected)
    assert loss_of(logits + 1000, labels, "cross_entropy") == pytest.approx(expected, rel=1e-4)
    assert loss_of(logits, labels, "mse") == pytest.approx((1 + 1 + 0.25 + 1 + 1 + 9) / 6)
