"""The training machine against the plain-Python model of its contract: every bit, and every cycle."""

from __future__ import annotations

import os
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from spikeloom.chip.learn_network import (
    INPUT,
    InputFormat,
    LearnNetwork,
    Neuron,
    Norm,
    Recipe,
    Stage,
)
from spikeloom.chip.learn_timing import DISPATCH_CYCLES, FETCH_CYCLES
from spikeloom.compiler.learn_tasks import learn_tasks
from spikeloom.sim.engines.training import StepResult, TrainingMachine
from tests.support.golden_learn import GoldenStep, GoldenTraining, bits_of, golden_timeline
from tests.support.learn_networks import Case, cases, learn_chip

pytestmark = pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT", "0") != "0", reason="vector instructions need the compiler"
)
FORMATS = ("fp16", "bf16", "fp32")


def assert_same(ours: Any, golden: Any, what: str) -> None:
    ours, golden = np.asarray(ours, np.float32), np.asarray(golden, np.float32)
    assert ours.shape == golden.shape, what
    different = np.argwhere(bits_of(ours) != bits_of(golden))
    assert not len(different), f"{what}: {len(different)} differ, the first at {different[0]}"


def check(case: Case, gain: float = 1.5) -> list[tuple[StepResult, GoldenStep]]:
    """Run two steps, the second of a smaller batch, on both; returns what both say."""
    ours = case.parameters(gain)
    golden = deepcopy(ours)
    machine = TrainingMachine(learn_tasks(case.chip, case.network, case.recipe), ours, threads=2)
    model = GoldenTraining(case.chip, case.network, case.recipe, golden)
    results = []
    for nth, size in enumerate((case.recipe.batch, case.last_batch)):
        program = learn_tasks(case.chip, case.network, case.recipe, size)
        inputs, labels = case.batch(size, nth)
        step = machine.step(inputs, labels, program=program, keep_gradients=True, keep_spikes=True)
        wanted = model.step(inputs, labels, program)
        check_values(case, step, wanted)
        for i, stage in enumerate(case.network.stages):
            where = f"step {nth}, {stage.name}"
            assert_same(ours.weights[i], golden.weights[i], f"{where}: weights")
            assert_same(ours.weight_momentum[i], golden.weight_momentum[i], f"{where}: momentum")
            for mine, theirs in (
                (ours.vectors[i], golden.vectors[i]),
                (ours.vector_momentum[i], golden.vector_momentum[i]),
            ):
                assert mine.keys() == theirs.keys()
                for name in mine:
                    assert_same(mine[name], theirs[name], f"{where}: {name}")
        assert machine.loss_scale == model.loss_scale
        done = [(w.cycles, w.inputs, w.taken, w.products) for w in step.backward]
        assert done == wanted.work
        start, end = golden_timeline(
            program.column("queue").tolist(), program.waits.tolist(), step.timeline.busy.tolist(),
            case.chip.learn.dram.latency_cycles, DISPATCH_CYCLES, FETCH_CYCLES,
        )  # fmt: skip
        assert step.timeline.start.tolist() == start
        assert step.timeline.end.tolist() == end
        assert step.cycles == max(end)
        results.append((step, wanted))
    return results


def check_values(case: Case, step: StepResult, wanted: GoldenStep) -> None:
    assert_same(step.logits, wanted.logits, "logits")
    assert step.skipped == wanted.skipped
    for i, stage in enumerate(case.network.stages):
        assert_same(step.gradients[i], wanted.gradients[i], f"{stage.name}: weight gradients")
        assert step.vector_gradients[i].keys() == wanted.vector_gradients[i].keys()
        for name, values in step.vector_gradients[i].items():
            assert_same(values, wanted.vector_gradients[i][name], f"{stage.name}: {name}")
        dx = np.concatenate([layers[i].dx.ravel() for layers in wanted.layers])
        assert step.gradient_density[i] == pytest.approx(np.count_nonzero(dx) / dx.size)
        if stage.neuron is None:
            assert np.isnan(step.spike_rate[i])
            continue
        spikes = np.concatenate([layers[i].s for layers in wanted.layers])
        u = np.concatenate([layers[i].u for layers in wanted.layers])
        assert np.array_equal(step.spikes[i].reshape(spikes.shape), spikes)
        assert step.spike_rate[i] == pytest.approx(spikes.mean())
        inside = np.abs(u - np.float32(stage.neuron.threshold)) < np.float32(
            stage.neuron.half_width
        )
        assert step.mask_density[i] == pytest.approx(inside.mean())


@pytest.mark.parametrize("accumulators", FORMATS)
@pytest.mark.parametrize("operands", FORMATS)
def test_two_steps_of_every_format(operands, accumulators):
    seen = {"steps": 0, "spikes": 0, "products": 0, "hidden gradients": 0, "overflows": 0}

    @settings(
        max_examples=10, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
    )
    @given(cases(operands, accumulators))
    def run(case: Case) -> None:
        for step, _ in check(case):
            seen["steps"] += 1
            seen["spikes"] += sum(int(s.sum()) for s in step.spikes)
            seen["products"] += sum(w.products for w in step.backward)
            seen["hidden gradients"] += sum(int(np.count_nonzero(g)) for g in step.gradients[:-1])
            seen["overflows"] += step.skipped is not None

    run()
    # Cases in which nothing fires, or no gradient arrives, would agree whatever the engines did.
    assert seen["steps"] - seen["overflows"] >= 6, seen
    assert min(seen["spikes"], seen["products"], seen["hidden gradients"]) > 0, seen


def wide_network() -> LearnNetwork:
    """More channels than a vector instruction takes, and more tables than it adds at once."""
    image = InputFormat((1, 2, 35), bits=2, scale=0.25, constant=False)
    neuron = Neuron()
    return LearnNetwork(
        image,
        (
            Stage("wide", (1, 2, 35), (1, 2, 33), (INPUT,), bias=True, neuron=neuron),
            Stage("wider", (1, 1, 66), (1, 1, 34), (0,), norm=Norm("frozen"), neuron=neuron),
            Stage("readout", (1, 1, 34), (1, 1, 35), (1,)),
        ),
    )


def tall_network() -> LearnNetwork:
    """More positions than the engines' kernels keep sums of at once, in frames that do not divide them."""
    image = InputFormat((13, 11, 1), bits=1, scale=1.0, constant=False)
    neuron = Neuron()
    return LearnNetwork(
        image,
        (
            Stage("first", (13, 11, 1), (13, 11, 2), (INPUT,), kernel=(3, 3), padding=(1, 1), neuron=neuron),
            Stage("second", (13, 11, 2), (6, 5, 2), (0,), kernel=(3, 3), stride=(2, 2), norm=Norm(), neuron=neuron),
            Stage("readout", (1, 1, 12), (1, 1, 3), (1,), pool=2),
        ),
    )  # fmt: skip


@pytest.mark.parametrize("group", [3, 4])
@pytest.mark.parametrize("network", [wide_network, tall_network])
def test_more_than_a_kernel_takes_at_once(network, group):
    recipe = Recipe(timesteps=2, batch=2, micro_batches=1, weight_decay=0.01)
    engine = {"group": group}
    chip = learn_chip(forward=engine, update=engine, backward={"depth": 24, "channels": 33})
    (step, _), _ = check(Case(chip, network(), recipe, 7, 1), gain=2.0)
    assert all(0.05 < rate < 0.95 for rate in step.spike_rate[:-1])
    assert all(np.count_nonzero(g) for g in step.gradients)


def shortcut_network() -> LearnNetwork:
    """Shortcuts on spikes, on membranes with their own convolution, and a sum of spikes, two of them into one layer."""
    neuron, shape = Neuron(), (3, 3, 2)
    conv: dict[str, Any] = {"kernel": (3, 3), "padding": (1, 1)}
    return LearnNetwork(
        InputFormat((3, 3, 2), bits=4, scale=0.125, signed=True, constant=True),
        (
            Stage("stem", shape, shape, (INPUT,), **conv, norm=Norm("batch"), neuron=neuron),
            Stage("beside", shape, shape, (0,), groups=2, norm=Norm("batch"), neuron=None),
            Stage("main", shape, shape, (0,), **conv, norm=Norm("frozen"), shortcut=1, neuron=neuron),
            Stage("again", shape, shape, (0, 2), **conv, shortcut=0, neuron=neuron),
            Stage("last", shape, shape, (2, 3), bias=True, shortcut=1, neuron=neuron),
            Stage("readout", (1, 1, 2), (1, 1, 3), (3, 4), pool=3, bias=True),
        ),
    )  # fmt: skip


@pytest.mark.parametrize("micro_batches", [1, 2])
@pytest.mark.parametrize(("readout", "loss"), [("mean", "mse"), ("membrane", "cross_entropy")])
def test_shortcuts_of_every_kind(readout, loss, micro_batches):
    recipe = Recipe(
        timesteps=3, batch=4, micro_batches=micro_batches, readout=readout, readout_leak=0.5, loss=loss
    )  # fmt: skip
    results = check(Case(learn_chip(), shortcut_network(), recipe, 3, 3))
    for step, _ in results:
        assert all(rate > 0 for rate in step.spike_rate[:-1] if not np.isnan(rate))
        assert all(np.count_nonzero(g) for g in step.gradients)


def test_membranes_at_the_edges():
    """On the threshold nothing fires, on the edge of the window nothing passes: comparisons are strict."""
    # One input of 1 and weights that put u on the threshold, and on both edges, and just beside each.
    edges = np.array([0.25, -0.25, 0.75], np.float16)
    weights = np.concatenate(
        [edges, np.nextafter(edges, np.float16(1)), np.nextafter(edges, np.float16(-1))]
    )
    network = LearnNetwork(
        InputFormat((1, 1, 1), bits=1, scale=1.0, constant=True),
        (
            Stage("edges", (1, 1, 1), (1, 1, 9), (INPUT,), neuron=Neuron()),
            Stage("readout", (1, 1, 9), (1, 1, 2), (0,)),
        ),
    )
    chip = learn_chip()
    case = Case(chip, network, Recipe(timesteps=1, batch=1), 0, 1)
    parameters = case.parameters()
    parameters.weights[0][:] = weights.reshape(1, 1, 1, 9)
    golden = deepcopy(parameters)
    program = learn_tasks(chip, network, case.recipe)
    inputs, labels = np.ones((1, 1, 1, 1, 1), np.uint8), np.zeros(1, np.int64)
    step = TrainingMachine(program, parameters).step(
        inputs, labels, keep_gradients=True, keep_spikes=True
    )
    assert step.spikes[0].ravel().tolist() == [0, 0, 1, 1, 0, 1, 0, 0, 1]
    passes = [True, False, False, True, True, False, True, False, True]
    assert (step.gradients[0].ravel() != 0).tolist() == passes
    assert step.mask_density[0] == pytest.approx(5 / 9)
    check_values(
        case, step, GoldenTraining(chip, network, case.recipe, golden).step(inputs, labels, program)
    )


def test_membranes_are_rounded_before_they_are_compared():
    """Beside the threshold, or an edge of the window, by less than 16 bits can say is on it."""
    beside = np.array([[0.25, 0.75, -0.25], [2.0**-14, -(2.0**-14), 2.0**-15]], np.float32)
    network = LearnNetwork(
        InputFormat((1, 1, 2), bits=1, scale=1.0, constant=True),
        (
            Stage("beside", (1, 1, 2), (1, 1, 3), (INPUT,), neuron=Neuron()),
            Stage("readout", (1, 1, 3), (1, 1, 2), (0,)),
        ),
    )
    chip, recipe = learn_chip(), Recipe(timesteps=1, batch=1)
    parameters = Case(chip, network, recipe, 0, 1).parameters()
    parameters.weights[0][:] = beside.reshape(1, 1, 2, 3)
    step = TrainingMachine(learn_tasks(chip, network, recipe), parameters).step(
        np.ones((1, 1, 1, 1, 2), np.uint8),
        np.zeros(1, np.int64),
        keep_gradients=True,
        keep_spikes=True,
    )
    assert step.spikes[0].ravel().tolist() == [0, 1, 0]
    assert (step.gradients[0][0, 0, 0] != 0).tolist() == [True, False, False]


def test_an_overflow_skips_the_step_and_halves_the_scale():
    """Gradients beyond a 16-bit accumulator leave weights and momenta where they were; the step names the layer."""
    recipe = Recipe(timesteps=2, batch=2, loss_scale=2.0**24)
    case = Case(learn_chip(accumulators="fp16"), tall_network(), recipe, 7, 2)
    parameters = case.parameters()
    before = deepcopy(parameters)
    machine = TrainingMachine(learn_tasks(case.chip, case.network, recipe), parameters)
    golden = GoldenTraining(case.chip, case.network, recipe, deepcopy(before))
    inputs, labels = case.batch(2)
    scales = []
    for _ in range(3):
        step = machine.step(inputs, labels)
        assert step.skipped == golden.step(inputs, labels, machine.program).skipped != None  # noqa: E711
        scales.append(machine.loss_scale)
    assert scales == [2.0**23, 2.0**22, 2.0**21]
    for mine, theirs in zip(parameters.weights, before.weights, strict=True):
        assert np.array_equal(mine, theirs)
    while machine.step(inputs, labels).skipped is not None:
        assert machine.loss_scale > 1e-3
    assert not np.array_equal(parameters.weights[0], before.weights[0])


@pytest.mark.parametrize("network", [shortcut_network, tall_network])
def test_bits_and_cycles_do_not_depend_on_threads(network):
    case = Case(learn_chip(), network(), Recipe(timesteps=2, batch=5, micro_batches=2), 5, 5)
    inputs, labels = case.batch(5)
    results = []
    for threads in (1, 2, 3):
        parameters = case.parameters()
        machine = TrainingMachine(
            learn_tasks(case.chip, case.network, case.recipe), parameters, threads=threads
        )
        steps = [machine.step(inputs, labels) for _ in range(2)]
        results.append(
            (steps[1].logits, steps[1].cycles, steps[1].timeline.start, *parameters.weights)
        )
    for other in results[1:]:
        for mine, theirs in zip(results[0], other, strict=True):
            assert np.array_equal(mine, theirs)


def test_bits_do_not_depend_on_the_sizes_of_the_chip():
    """Only groups and partial sums are part of the arithmetic."""
    recipe = Recipe(timesteps=3, batch=4)
    small = learn_chip(
        forward={"rows": 1, "columns": 2}, update={"rows": 3, "columns": 1},
        backward={"rows": 1, "lanes": 1, "depth": 1, "channels": 1},
        vector={"width": 1}, dram={"bytes_per_cycle": 1}, buffers={"forward_inputs": 160, "update_inputs": 256},
    )  # fmt: skip
    results = []
    for chip in (learn_chip(), small):
        case = Case(chip, shortcut_network(), recipe, 5, 4)
        parameters = case.parameters()
        machine = TrainingMachine(learn_tasks(chip, case.network, recipe), parameters)
        results.append((machine.step(*case.batch(4)), parameters))
    assert results[0][0].cycles < results[1][0].cycles
    for mine, theirs in zip(results[0][1].weights, results[1][1].weights, strict=True):
        assert np.array_equal(mine, theirs)


def test_micro_batches_change_only_what_they_say():
    """Without batch statistics a batch in parts is the batch, up to where groups of the update restart."""
    network = tall_network()
    frozen = replace(network.stages[1], norm=Norm("frozen"))
    network = replace(network, stages=(network.stages[0], frozen, network.stages[2]))
    results = []
    for parts in (1, 2):
        recipe = Recipe(timesteps=2, batch=4, micro_batches=parts)
        chip = learn_chip(update={"group": 1})  # groups of one restart nowhere
        case = Case(chip, network, recipe, 5, 4)
        machine = TrainingMachine(learn_tasks(case.chip, network, recipe), case.parameters())
        results.append(machine.step(*case.batch(4), keep_gradients=True))
    assert np.array_equal(results[0].logits, results[1].logits)
    for mine, theirs in zip(results[0].gradients, results[1].gradients, strict=True):
        assert np.array_equal(mine, theirs)


def test_inference_is_the_forward_pass_with_running_statistics():
    case = Case(learn_chip(), shortcut_network(), Recipe(timesteps=3, batch=4), 5, 4)
    inputs, labels = case.batch(4)
    stages = [
        replace(stage, norm=None if stage.norm is None else Norm("frozen"))
        for stage in case.network.stages
    ]
    frozen = replace(case.network, stages=tuple(stages))
    machine = TrainingMachine(learn_tasks(case.chip, case.network, case.recipe), case.parameters())
    before = deepcopy(machine.parameters)
    logits = machine.infer(inputs)
    for mine, theirs in zip(machine.parameters.vectors, before.vectors, strict=True):
        assert all(np.array_equal(mine[name], theirs[name]) for name in mine)
    trained = TrainingMachine(learn_tasks(case.chip, frozen, case.recipe), case.parameters())
    assert np.array_equal(logits, trained.step(inputs, labels).logits)
    assert np.array_equal(machine.infer(inputs[:1]), logits[:1])
