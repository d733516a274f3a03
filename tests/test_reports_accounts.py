"""Parts equal totals: energy, area and traffic of every shipped network, on both halves of the chip."""

from __future__ import annotations

from functools import cache
from math import fsum
from typing import Any

import numpy as np
import pytest

import spikeloom
from spikeloom.chip.config import load_config
from spikeloom.chip.events import CORE_EVENT_INDEX
from spikeloom.chip.learn_network import Recipe
from spikeloom.chip.program import ManyCoreProgram
from spikeloom.compiler.frontend import load_network
from spikeloom.compiler.pipeline import compile_network
from spikeloom.compiling import compile_nir
from spikeloom.models.datasets import load_mnist
from spikeloom.models.learn_zoo import LEARN_ZOO
from spikeloom.models.zoo import ZOO, path
from spikeloom.reports.accounts import AreaSummary, Split
from spikeloom.reports.area_summary import area_summary
from spikeloom.reports.flow import edges
from spikeloom.reports.learn_result import LearnResult
from spikeloom.reports.result import RunResult, load_result, save_result
from spikeloom.sim.run import run_many_core

from .test_compiler_networks import CASES, files, inputs

TRAINED = ("snntorch_synaptic_digits", "norse_mlp_lifbox_li_mnist", "sj_sew_resnet_mnist")
TIGHT = 1e-9


def adds_up(parts, total) -> None:
    assert fsum(parts) == pytest.approx(total, rel=TIGHT)


def check_energy(result: RunResult | LearnResult) -> None:
    """Add an account up in every way, from the fields of the file alone."""
    assert result.energy_j is not None
    total = result.energy_j["total"]
    assert total > 0
    adds_up((row.count * row.cost_j for row in result.energy_rows), total)
    adds_up((joules for name, joules in result.energy_j.items() if name != "total"), total)
    layers = [joules for layer in result.energy_by_layer.values() for joules in layer.values()]
    adds_up([*layers, *result.energy_shared_j.values()], total)
    units = result.energy_by_unit_j
    adds_up((unit.dynamic + unit.static for unit in units.values()), total)
    for kind in ("dynamic", "static"):
        rows = fsum(row.energy_j for row in result.energy_rows if row.kind == kind)
        assert rows > 0
        adds_up((getattr(unit, kind) for unit in units.values()), rows)
    for component in result.energy_j:
        own = [layer.get(component, 0.0) for layer in result.energy_by_layer.values()]
        own.append(result.energy_shared_j.get(component, 0.0))
        if component != "total":
            adds_up(own, result.energy_j[component])
    assert all(len(row.source) > 10 and row.unit for row in result.energy_rows)
    assert {row.status for row in result.energy_rows} <= {"measured", "derived", "assumed"}


def check_area(area: AreaSummary | None) -> None:
    assert area is not None
    adds_up((row.each_mm2 * row.count for row in area.rows), area.area_mm2)
    adds_up(area.by_component.values(), area.area_mm2)
    places = [area.place_mm2(place) for place in ("core", "router", "chip")]
    adds_up([(places[0] + places[1]) * area.cores, places[2]], area.area_mm2)


def check_run(result: RunResult) -> None:
    check_energy(result)
    check_area(result.area)
    total, shared = result.energy_j["total"], fsum(result.energy_shared_j.values())
    adds_up([*(core.total for core in result.energy_by_core_j), shared], total)
    for layer in result.layers:
        own = [
            split.total
            for core, split in zip(result.counters["cores"], result.energy_by_core_j, strict=True)
            if core["layer"] == layer.name
        ]
        adds_up(own, layer.energy_j)
        adds_up(result.energy_by_layer[layer.name].values(), layer.energy_j)
    adds_up([total * result.throughput_per_s], result.power_w.total)
    adds_up((edge.flits for edge in result.graph), result.packets / result.samples)
    names = {layer.name for layer in result.layers}
    assert {edge.target for edge in result.graph} <= names | {"host"}
    assert any(edge.target == "host" for edge in result.graph)
    assert result.neurobench is not None
    assert any("logic of the cores leaks" in note for note in result.notes)


@pytest.mark.parametrize("name", ZOO)
def test_sums_of_the_shipped_networks(name, tmp_path):
    training = {"inputs": load_mnist("train").inputs[:20]}
    made = compile_nir(
        path(name), "tianjic", convention="nir", calibrate=training, timesteps=8, encode="direct"
    )
    digits = {"inputs": load_mnist("test").inputs[:4]}
    result = spikeloom.run(made.program, digits, timesteps=8, encode="direct")
    check_run(result)
    assert all(edge.status == "measured" for edge in result.graph)
    assert result.area is not None
    assert result.area.basis == "synthesis"
    save_result(result, tmp_path / "r.json")
    assert load_result(tmp_path / "r.json") == result


@cache
def compiled(name: str) -> tuple[ManyCoreProgram, np.ndarray]:
    """Return a network of a framework on the chip, and some of its inputs."""
    convention, _ = CASES[name]
    file, stored = files(name)
    network = load_network(file, **convention)
    values = inputs(stored, 2)
    return compile_network(network, load_config("tianjic"), calibration=values).program, values


@pytest.mark.parametrize("name", TRAINED)
def test_sums_of_networks_from_frameworks(name):
    program, values = compiled(name)
    check_run(spikeloom.run(program, {"inputs": values.reshape(*values.shape[:2], -1)}))


def test_an_edge_is_derived_where_outputs_do_not_tell_what_a_core_sent():
    program, values = compiled("sj_sew_resnet_mnist")
    payloads = np.rint(values / program.inputs[0].scale).astype(np.int32)
    ran = run_many_core(program, payloads, values.shape[1])
    sent = ran.core_counters[:, CORE_EVENT_INDEX["flits_sent"]].sum()
    arguments = (ran.chip_counters["host_flits_in"], ran.samples)
    known = edges(program, ran.core_counters, ran.neuron_outputs[0], *arguments)
    unknown = edges(program, ran.core_counters, np.zeros_like(ran.neuron_outputs[0]), *arguments)
    assert len(known) == len(unknown) > len(program.layers)
    assert {edge.status for edge in known} == {"measured"}
    assert {edge.status for edge in unknown} == {"measured", "derived"}
    into = ran.chip_counters["host_flits_in"]
    for found in (known, unknown):
        adds_up((edge.flits for edge in found), (sent + into) / ran.samples)
    assert [e.flits for e in known] != [e.flits for e in unknown]


@pytest.mark.parametrize("name", LEARN_ZOO)
def test_sums_of_a_step_of_every_network_of_the_learning_zoo(name):
    norm = "frozen" if name.startswith("fashion") else None
    step = spikeloom.dry_run(name, norm=norm, recipe={"batch": 2})
    result = spikeloom.step_result(step)
    check_energy(result)
    check_area(result.area)
    assert result.cycles == result.tasks.cycles == max(result.tasks.end)
    assert len(result.tasks.queue) == len(step.program.tasks)
    assert result.per_step.cycles == 2 * result.per_sample.cycles
    for component in ("forward", "backward", "dram"):
        assert result.count(component, _EVENT[component]) == step.counts.total(
            component, _EVENT[component]
        )
    assert result.densities_status == "assumed"
    assert set(result.densities["gradient_density"]) == set(result.tasks.layers)


_EVENT = {"forward": "lookups", "backward": "products", "dram": "read_bytes"}


@pytest.fixture(scope="module")
def digits() -> dict[str, Any]:
    found = load_mnist("train")
    return {"inputs": found.inputs[:80], "labels": found.labels[:80]}


def test_sums_of_a_training(digits):
    training = spikeloom.train(
        "mnist_mlp", digits, test=digits, epochs=2, recipe={"batch": 32, "timesteps": 4}
    )
    result = spikeloom.training_result(training)
    check_energy(result)
    check_area(result.area)
    assert (result.kind, result.steps, result.samples) == ("training", 6, 160)
    assert result.accuracy == training.epochs[-1].test_accuracy
    assert result.energy_j is not None
    total = result.energy_j["total"]
    adds_up((e.energy_j or 0.0 for e in training.epochs), total)
    assert sum(e.cycles for e in result.epochs) == result.cycles
    per_epoch = result.per_epoch
    assert per_epoch is not None
    for figures, number in ((result.per_sample, 160), (result.per_step, 6), (per_epoch, 2)):
        assert figures.energy_j is not None
        adds_up([figures.energy_j * number], total)
        adds_up([figures.cycles * number], result.cycles)
    assert result.densities["spike_rate"] == training.epochs[-1].spike_rate
    # The timeline shown is that of a whole batch, not of the epoch's last and smaller one.
    steps = [e.cycles for e in result.epochs]
    assert result.tasks.cycles > steps[0] / 3


def test_a_training_on_a_convolution_adds_up_too():
    rng = np.random.default_rng(0)
    data = {"inputs": rng.integers(0, 256, (8, 28, 28), np.uint8), "labels": rng.integers(0, 10, 8)}
    training = spikeloom.train(
        "fashion_conv", data, epochs=1, norm="frozen", recipe={"batch": 4, "timesteps": 2}
    )
    check_energy(spikeloom.training_result(training))


def test_a_chip_of_both_halves_has_the_area_of_both():
    both = load_config("fusion_tiny")
    cores, _ = area_summary(both.model_copy(update={"learn_half": None}))
    engines, _ = area_summary(both.model_copy(update={"many_core_half": None}))
    whole, notes = area_summary(both)
    check_area(whole)
    assert cores is not None
    assert engines is not None
    assert whole is not None
    assert notes == []
    adds_up([cores.area_mm2, engines.area_mm2], whole.area_mm2)
    assert {"axon", "forward"} <= set(whole.by_component)


def test_the_area_is_unknown_without_tables_and_not_zero():
    old = load_config("tianjic").replace(chip={"node_nm": 180})
    area, notes = area_summary(old)
    assert area is None
    assert len(notes) == 1
    assert notes[0].startswith("The area is unknown: ")
    assert "180" in notes[0]
    assert "--costs" in notes[0]


def test_a_split_has_no_negative_part():
    with pytest.raises(ValueError, match="static"):
        Split(dynamic=1.0, static=-1.0)


def test_recipes_reach_the_result():
    step = spikeloom.dry_run("mnist_mlp", recipe={"batch": 8, "timesteps": 3})
    result = spikeloom.step_result(step)
    assert Recipe(**result.recipe) == step.program.recipe
    assert (result.batch, result.samples, result.steps) == (8, 8, 1)
