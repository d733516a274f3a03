"""Gradients with 32-bit operands against a float64 reference of the equations, and against PyTorch's autograd."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from spikeloom.calibrating.float64_step import reference_step
from spikeloom.chip.learn_network import (
    InputFormat,
    LearnNetwork,
    Neuron,
    Norm,
    Parameters,
    Recipe,
    Stage,
)
from spikeloom.compiler.learn_tasks import learn_tasks
from spikeloom.sim.engines.training import StepResult, TrainingMachine
from tests.support.learn_networks import Case, cases, learn_chip

pytestmark = pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT", "0") != "0", reason="vector instructions need the compiler"
)
TOLERANCE = 1e-5
MARGIN = 1e-4  # of a membrane from what decides about it
VECTORS = Path(__file__).parent / "data" / "learn_torch.npz"


def distance(ours: Any, reference: Any) -> float:
    """Largest difference over the largest value."""
    ours, reference = np.asarray(ours, np.float64), np.asarray(reference, np.float64)
    assert ours.shape == reference.shape
    assert np.isfinite(ours).all()
    return float(np.abs(ours - reference).max() / max(np.abs(reference).max(), 1e-12))


def assert_near(ours: Any, wanted: Any, bound: Any) -> None:
    """A sum that cancels is as good as its terms: a third of the tolerance for them."""
    assert ours.shape == wanted.shape
    scale = max(float(np.abs(wanted).max()), 0.3 * float(bound.max()), 1e-12)
    assert float(np.abs(ours - wanted).max()) < TOLERANCE * scale


def step_of(
    network: LearnNetwork, recipe: Recipe, parameters: Parameters, inputs: Any, labels: Any
) -> StepResult:
    chip = learn_chip(operands="fp32")
    machine = TrainingMachine(learn_tasks(chip, network, recipe), parameters)
    return machine.step(inputs, labels, keep_gradients=True)


def test_float64():
    seen = {"checked": 0, "rejected": 0, "hidden gradients": 0}

    @settings(
        max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
    )
    @given(cases("fp32", "fp32"))
    def run(case: Case) -> None:
        recipe = replace(case.recipe, micro_batches=1)
        parameters = case.parameters()
        inputs, labels = case.batch(recipe.batch)
        reference = reference_step(case.network, recipe, parameters, inputs, labels)
        # The variance is the mean square less the squared mean: digits are lost where it is small beside them.
        if reference.margin < MARGIN or reference.spread < 0.1:
            seen["rejected"] += 1
            return
        step = step_of(case.network, recipe, parameters, inputs, labels)
        seen["checked"] += 1
        assert distance(step.logits, reference.logits) < TOLERANCE
        assert step.loss == pytest.approx(reference.loss, rel=TOLERANCE)
        for i, stage in enumerate(case.network.stages):
            assert step.vector_gradients[i].keys() == reference.vectors[i].keys()
            assert_near(step.gradients[i], reference.weights[i], reference.weight_bounds[i])
            for name, ours in step.vector_gradients[i].items():
                assert_near(ours, reference.vectors[i][name], reference.vector_bounds[i][name])
            seen["hidden gradients"] += stage.name != "readout" and bool(reference.weights[i].any())

    run()
    assert seen["checked"] >= 20, seen
    assert seen["hidden gradients"] >= 20, seen


def network_of(fields: dict[str, Any]) -> LearnNetwork:
    """A network from the JSON that `models/training/learn_vectors.py` writes."""

    def tuples(value: Any) -> Any:
        return tuple(tuples(v) for v in value) if isinstance(value, list) else value

    stages = []
    for stage in fields["stages"]:
        parts = {name: tuples(value) for name, value in stage.items()}
        for name, kind in (("norm", Norm), ("neuron", Neuron)):
            if parts[name] is not None:
                parts[name] = kind(**parts[name])
        stages.append(Stage(**parts))
    image = InputFormat(**{name: tuples(value) for name, value in fields["input"].items()})
    return LearnNetwork(image, tuple(stages), fields["name"])


@pytest.fixture(scope="module")
def torch_vectors() -> dict[str, Any]:
    with np.load(VECTORS) as stored:
        return dict(stored)


def case_names() -> list[str]:
    with np.load(VECTORS) as stored:
        return json.loads(str(stored["cases"]))


@pytest.mark.parametrize("name", case_names())
def test_pytorch(name, torch_vectors):
    """Of a network whose membranes all keep their distance; the script that stored it has seen to that."""
    stored = {
        k.removeprefix(f"{name}/"): v for k, v in torch_vectors.items() if k.startswith(f"{name}/")
    }
    network = network_of(json.loads(str(stored["network"])))
    recipe = Recipe(**json.loads(str(stored["recipe"])))
    assert float(stored["margin"]) > MARGIN
    indices = range(len(network.stages))
    vectors = [
        {k.split("/")[1]: v.copy() for k, v in stored.items() if k.startswith(f"vector{i}/")}
        for i in indices
    ]
    parameters = Parameters([stored[f"weight{i}"].copy() for i in indices], vectors)
    reference = reference_step(network, recipe, parameters, stored["inputs"], stored["labels"])
    step = step_of(network, recipe, parameters, stored["inputs"], stored["labels"])
    assert distance(step.logits, stored["logits"]) < TOLERANCE
    assert step.loss == pytest.approx(float(stored["loss"]), rel=TOLERANCE)
    assert distance(reference.logits, stored["logits"]) < 1e-12
    checked = 0
    for i in indices:
        wanted = stored[f"weight_gradient{i}"]
        assert np.abs(wanted).max() > 1e-4
        assert distance(step.gradients[i], wanted) < TOLERANCE
        assert distance(reference.weights[i], wanted) < 1e-6  # stored in 32 bits
        for key, gradient in step.vector_gradients[i].items():
            assert distance(gradient, stored[f"vector_gradient{i}/{key}"]) < TOLERANCE, key
            checked += 1
        for key in ("running_mean", "running_var"):
            if key in parameters.vectors[i]:
                assert distance(parameters.vectors[i][key], stored[f"moved{i}/{key}"]) < TOLERANCE
    assert checked == sum(k.startswith("vector_gradient") for k in stored) > 0
