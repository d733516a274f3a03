"""Events of a training step: closed forms against counting, and against a step that ran; energy adds up."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import pytest

from spikeloom.chip.config import load_config
from spikeloom.chip.learn_network import (
    INPUT,
    InputFormat,
    LearnError,
    LearnNetwork,
    Neuron,
    Norm,
    Recipe,
    Stage,
    initial_parameters,
)
from spikeloom.chip.learn_program import Operation, Queue
from spikeloom.compiler.learn_tasks import learn_tasks
from spikeloom.reports import learn_counts
from spikeloom.reports.learn_area import estimate_learn_area
from spikeloom.reports.learn_counts import (
    EVENTS,
    adds_per_input,
    count_step,
    dense_macs,
    tiles_under,
    vector_work,
)
from spikeloom.reports.learn_energy import FREE_EVENTS, learn_energy
from spikeloom.sim.engines.backward import task_places
from spikeloom.sim.engines.estimate import estimate_backward, wanted_density
from spikeloom.sim.engines.timeline import run_timeline
from spikeloom.sim.engines.training import TrainingMachine

CHIP = load_config("h2learn_small")


def network(norm=None):
    kind = None if norm is None else Norm(norm)
    same = {
        "kernel": (3, 3),
        "padding": (1, 1),
        "neuron": Neuron(),
        "norm": kind,
        "bias": norm is None,
    }
    return LearnNetwork(
        InputFormat((8, 8, 2)),
        (
            Stage("a", (8, 8, 2), (8, 8, 8), (INPUT,), **same),
            Stage("b", (8, 8, 8), (4, 4, 16), (0,), stride=(2, 2), **same),
            Stage("c", (4, 4, 16), (4, 4, 16), (1,), shortcut=1, **same),
            Stage("out", (1, 1, 64), (1, 1, 5), (2,), pool=2, bias=True),
        ),
        "small",
    )


def estimated(chip, net, recipe, inputs=0.4, masks=0.34):
    program = learn_tasks(chip, net, recipe)
    work = estimate_backward(program, inputs, masks)
    return program, work, run_timeline(program, np.array([item.cycles for item in work], np.int64))


@dataclass(frozen=True)
class Ran:
    program: object
    result: object


@pytest.fixture(scope="module", params=[(None, 1), ("batch", 2), ("frozen", 3)], ids=str)
def ran(request):
    norm, parts = request.param
    net = network(norm)
    recipe = Recipe(timesteps=4, batch=6, micro_batches=parts)
    program = learn_tasks(CHIP, net, recipe)
    parameters = initial_parameters(net, 3)
    parameters.weights[:] = [weights * 3 for weights in parameters.weights]  # so that neurons fire
    machine = TrainingMachine(program, parameters, threads=1)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (6, 1, 8, 8, 2)).astype(np.uint8)
    return Ran(program, machine.step(images, rng.integers(0, 5, 6)))


def test_a_step_that_ran_is_counted(ran):
    counts = count_step(ran.program, ran.result.backward, ran.result.timeline)
    assert counts.cycles == ran.result.cycles
    assert counts.busy["backward"] == sum(work.cycles for work in ran.result.backward)
    for component, events in EVENTS.items():
        for event in events:
            if event != "masked":
                assert (
                    counts.total(component, event) > 0 or event == "divides" or component == "dram"
                ), (component, event)
    assert counts.total("backward", "taken") <= counts.total("backward", "inputs")
    assert {row.layer for row in counts.rows} == {"a", "b", "c", "out"}
    assert ("backward", "products") not in counts.of_layer("a")  # images have no gradient


def test_every_buffer_gives_what_it_got(ran):
    counts = count_step(ran.program, ran.result.backward, ran.result.timeline)
    for name in CHIP.learn.buffers.model_dump():
        got = counts.total(name, "filled_bytes") + counts.total(name, "written_bytes")
        given = counts.total(name, "read_bytes") + counts.total(name, "drained_bytes")
        assert got > 0, name
        assert given > 0, name


def test_lookups_are_those_of_a_loop_over_outputs_and_groups():
    net, recipe = network(), Recipe(timesteps=3, batch=2)
    counts = count_step(*estimated(CHIP, net, recipe))
    group = CHIP.learn.forward.group
    expected = 0
    for index, stage in enumerate(net.stages):
        frames = 2 * (1 if index == 0 else 3)
        for _ in product(range(frames), range(stage.out_positions), range(stage.out_shape[2])):
            expected += stage.taps * len(range(0, stage.in_channels, group)) * net.planes(stage)
    assert counts.total("forward", "lookups") == expected


@pytest.mark.parametrize(("group", "columns"), [(2, 4), (4, 4), (4, 16), (5, 8)])
def test_additions_per_input_follow_the_law(group, columns):
    # h2learn_facts, item 2: whole groups and whole tiles.
    chip = CHIP.replace(forward={"group": group, "columns": columns})
    outputs = chip.learn.forward.outputs
    channels = group * 8
    stage = Stage("wide", (1, 1, channels), (1, 1, 12), (0,))
    net = LearnNetwork(
        InputFormat((1, 1, 4)),
        (Stage("in", (1, 1, 4), (1, 1, channels), (INPUT,), neuron=Neuron()), stage),
        "law",
    )
    counts = count_step(*estimated(chip, net, Recipe(timesteps=1, batch=outputs)))
    layer = counts.of_layer("wide")
    found = (layer["forward", "lookups"] + layer["forward", "table_adds"]) / layer[
        "forward", "inputs"
    ]
    assert found == pytest.approx(adds_per_input(group, outputs), rel=1e-9)


def test_the_law_at_published_points():
    assert adds_per_input(4, 1024) == pytest.approx(0.2527, abs=1e-4)
    assert adds_per_input(6, 64) == pytest.approx(0.315, abs=1e-3)


def test_dense_operations_of_the_cifar_network():
    from spikeloom.models.learn_zoo import build_learn_network

    # h2learn_facts, item 11: 4.378 G forward and 13.1 G in all, but for what is left out: gradients of the images, and
    # the first layer's sums in five of six timesteps.
    net = build_learn_network("cifar_conv")
    program = learn_tasks(load_config("h2learn"), net, Recipe(timesteps=6, batch=1))
    first = net.stages[0].macs
    assert sum(stage.macs for stage in net.stages) * 6 == pytest.approx(4.378e9, rel=1e-3)
    assert dense_macs(program) == 3 * 6 * (sum(s.macs for s in net.stages) - first) + 2 * first
    assert dense_macs(program) == pytest.approx(13.13e9, rel=6e-3)


def test_dense_masks_skip_nothing():
    counts = count_step(*estimated(CHIP, network(), Recipe(timesteps=2, batch=2), 1.0, 1.0))
    assert counts.total("backward", "skipped") == counts.total("backward", "masked") == 0
    net = network()
    expected = sum(
        4 * int(np.count_nonzero(stage.backward_taps >= 0)) * stage.out_channels * stage.in_channels
        for stage in net.stages[1:]
    )
    assert counts.total("backward", "products") == expected


@pytest.mark.parametrize("stage", network().stages[1:3], ids=lambda stage: stage.name)
def test_words_are_sent_to_tiles_with_a_position_under_the_tap(stage):
    places = task_places(stage, 5)[:, 1]
    for tile in (4, 6, 100):
        found = [set(tiles.tolist()) for tiles in tiles_under(stage, 5, tile)]
        for tap in range(stage.taps):
            needed = {
                at // tile
                for at, place in enumerate(places)
                if stage.backward_taps[place, tap] >= 0
            }
            assert found[tap] == needed
            assert needed


def test_every_operation_of_the_vector_unit_has_a_price():
    others = {
        Operation.TRANSFER,
        Operation.FORWARD_SUMS,
        Operation.INPUT_GRADIENTS,
        Operation.WEIGHT_GRADIENTS,
    }
    for norm in (None, "batch", "frozen"):
        stage = network(norm).stages[2]
        for operation in set(Operation) - others:
            work = vector_work(stage, operation, [1], 4, constant=False)
            assert work.adds > 0
    with pytest.raises(ValueError, match="FORWARD_SUMS is not an operation of the vector unit"):
        vector_work(network().stages[0], Operation.FORWARD_SUMS, [], 4, constant=False)


def test_counts_of_another_program_are_refused():
    program, work, timeline = estimated(CHIP, network(), Recipe(timesteps=2, batch=2))
    with pytest.raises(ValueError, match="but counts of"):
        count_step(program, work[:-1], timeline)
    other = learn_tasks(CHIP, network(), Recipe(timesteps=2, batch=2, micro_batches=2))
    with pytest.raises(ValueError, match="the timeline has"):
        count_step(other, work, timeline)


def test_parts_that_do_not_add_up_are_noticed(monkeypatch):
    program, work, timeline = step = estimated(CHIP, network(), Recipe(timesteps=2, batch=2))
    places = program.places.copy()
    places[program.column("queue") == Queue.STORE_VECTOR] = (0, 0)
    count_step(
        replace(program, places=places), work, timeline
    )  # still adds up: bytes only moved to another name
    monkeypatch.setattr(learn_counts, "input_groups", lambda stage, group: 1 + stage.taps)
    monkeypatch.setattr(learn_counts._Counter, "transfers", lambda self: None)
    with pytest.raises(ArithmeticError, match="bytes of the memory"):
        count_step(*step)


# ------------------------------------------------------------------------------------------------------------ estimates


def test_an_estimate_is_near_what_ran(ran):
    result = ran.result
    work = estimate_backward(ran.program, result.gradient_density, result.mask_density)
    for name, allowed in (("cycles", 0.15), ("inputs", 1e-9), ("products", 0.35)):
        real = sum(getattr(item, name) for item in result.backward)
        assert sum(getattr(item, name) for item in work) == pytest.approx(real, rel=allowed), name


def test_estimates_are_monotone_and_repeatable():
    program = learn_tasks(CHIP, network(), Recipe(timesteps=4, batch=4))

    def cycles(inputs, masks, seed=0):
        return sum(item.cycles for item in estimate_backward(program, inputs, masks, seed))

    assert cycles(0.4, 0.3) == cycles(0.4, 0.3)
    assert cycles(0.1, 0.3) < cycles(0.4, 0.3) < cycles(0.4, 0.9) <= cycles(1.0, 1.0)
    assert cycles(0.4, 0.3, seed=1) == pytest.approx(cycles(0.4, 0.3), rel=0.05)


def test_large_tasks_are_sampled_and_scaled():
    chip = CHIP.replace(buffers={"backward_inputs": 1 << 22, "backward_results": 1 << 22})
    net = network()
    work = estimate_backward(learn_tasks(chip, net, Recipe(timesteps=4, batch=64)), 0.4, 0.34)
    dense = [
        256 * np.count_nonzero(stage.backward_taps >= 0) * stage.out_channels * stage.in_channels
        for stage in net.stages[1:]
    ]
    shares = [0.4 * wanted_density(stage, (0.34,) * 4) for stage in net.stages[1:]]
    expected = sum(count * share for count, share in zip(dense, shares, strict=True))
    assert sum(item.products for item in work) == pytest.approx(expected, rel=0.03)


def test_pooled_and_added_spikes_are_wanted_if_any_mask_is():
    pooled = Stage("p", (1, 1, 4), (1, 1, 4), (0,), pool=2)
    assert wanted_density(pooled, [0.3]) == pytest.approx(1 - 0.7**4)
    added = Stage("s", (1, 1, 4), (1, 1, 4), (0, 1))
    assert wanted_density(added, [0.3, 0.5]) == pytest.approx(1 - 0.7 * 0.5)


def test_wrong_densities_get_sentences():
    program = learn_tasks(CHIP, network(), Recipe(timesteps=2, batch=2))
    with pytest.raises(
        LearnError, match=r"mask_density of layer a \(number 0\) must be within 0..1, not 1.5"
    ):
        estimate_backward(program, 0.4, 1.5)
    with pytest.raises(
        LearnError, match="input_density must be one number or 4, one a layer, not 2"
    ):
        estimate_backward(program, (0.4, 0.4), 0.3)
    nan = float("nan")
    with pytest.raises(LearnError, match="layer b"):
        estimate_backward(program, (nan, nan, 0.4, 0.4), 0.3)
    assert estimate_backward(program, (nan, 0.4, 0.4, 0.4), (0.3, 0.3, 0.3, nan))


# --------------------------------------------------------------------------------------------------------------- energy


def test_energy_adds_up_in_both_ways(ran):
    counts = count_step(ran.program, ran.result.backward, ran.result.timeline)
    energy = learn_energy(CHIP, counts)
    assert energy.total == pytest.approx(sum(row.energy_j for row in energy.rows))
    layers = sum(energy.layer_j(name) for name in energy.by_layer)
    assert energy.total == pytest.approx(layers + sum(energy.shared.values()))
    assert energy.total == pytest.approx(sum(unit.total for unit in energy.by_unit.values()))
    assert energy.power.total == pytest.approx(energy.power_w)
    static = sum(row.energy_j for row in energy.rows if row.kind == "static")
    assert energy.power.static * energy.seconds == pytest.approx(static)
    assert {row.component for row in energy.rows if row.kind == "static"} == {
        "leakage", "dram background",
    }  # fmt: skip
    assert energy.total == pytest.approx(sum(energy.by_component.values()))
    assert all(row.status in ("derived", "assumed") for row in energy.rows)
    assert all(energy.layer_j(name) > 0 for name in energy.by_layer)


def test_an_event_without_a_price_is_noticed():
    counts = count_step(*estimated(CHIP, network(), Recipe(timesteps=2, batch=2)))
    odd = replace(counts, rows=(*counts.rows, learn_counts.CountRow("forward", "a", "sneezes", 1)))
    with pytest.raises(ArithmeticError, match="sneezes"):
        learn_energy(CHIP, odd)
    assert all(len(reason) > 10 for reason in FREE_EVENTS.values())


def test_energy_an_operation_is_near_that_of_peers():
    # 0.86 pJ an operation in the closest published processor, at 40 nm: within 0.3 to 3 times that.
    from spikeloom.models.learn_zoo import build_learn_network

    chip = load_config("h2learn")
    net = build_learn_network("cifar_conv", "frozen")
    counts = count_step(*estimated(chip, net, Recipe(timesteps=6, batch=64, micro_batches=4)))
    energy = learn_energy(chip, counts, area=estimate_learn_area(chip))
    assert 0.3 * 0.86 <= energy.pj_per_operation <= 3 * 0.86
    assert 10 < energy.power_w < 100
