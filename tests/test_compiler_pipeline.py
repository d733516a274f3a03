"""The pipeline: its passes in order, what their records say, resources, determinism, a loop of two chip timesteps."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from spikeloom.chip.arithmetic import NeuronKind
from spikeloom.chip.config import load_config
from spikeloom.chip.program import PROGRAM_ARRAYS
from spikeloom.compiler.graph import Input, Network, Projection, uniform_population
from spikeloom.compiler.pipeline import PASSES, compile_network, compile_quantised
from spikeloom.compiler.quantised import LayerLoss
from spikeloom.compiler.verify import CompilerError

from .support.program_weights import assert_holds
from .support.quantised_builder import QuantisedBuilder

CONFIG = load_config("tiny").replace(core={"delay_slots": 8}, network={"columns": 5, "rows": 6})


def network():
    b, rng = QuantisedBuilder(), np.random.default_rng(0)
    b.input("in", (3, 4))
    b.input("other", (6,), max_payload=7)
    b.population("a", (18,))
    b.population("b", (9,))
    b.connect("in", "a", rng.integers(-9, 9, (18, 12)))
    b.connect("other", "a", rng.integers(-9, 9, (18, 6)))
    b.connect("a", "b", rng.integers(-9, 9, (9, 18)))
    b.connect("b", "a", rng.integers(-9, 9, (18, 9)), delay=1)
    return b.build("b")


def test_the_passes_have_names_in_order():
    assert [step.name for step in PASSES] == [
        "quantise",
        "partition",
        "schedule",
        "place",
        "route",
        "emit",
    ]


def test_a_loop_compiles_to_several_steps_and_says_so():
    told: list[str] = []
    made = compile_quantised(network(), CONFIG, progress=told.append)
    assert told == ["partition", "schedule", "place", "route", "emit"]
    # a -> b passes b's partial sums (18 axons on cores of 16): 2 + 1 chip timesteps a loop
    assert made.program.steps_per_timestep == 3
    records = {record.name: record for record in made.records}
    assert "the loop" in records["schedule"].details["explanation"]
    assert (
        records["partition"].summary
        == f"{made.program.core_count} cores, 3 of them for partial sums; 0 axons saved by sharing"
    )
    assert records["emit"].details["cores"] == made.program.core_count
    assert_holds(made.program, network())
    json.dumps([record.details for record in made.records], allow_nan=False)


def test_the_program_is_the_same_for_the_same_seed():
    first, again, other = (
        compile_quantised(network(), CONFIG, seed=seed).program for seed in (4, 4, 5)
    )
    for name in PROGRAM_ARRAYS:
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    assert first.meta == again.meta
    assert other.meta["seed"] == 5


def test_meta_carries_what_a_report_needs():
    loss = LayerLoss("a", 8, 0.01, 0.0, 0.0, float("nan"), 0.0)
    made = compile_quantised(replace(network(), losses=(loss,), notes=("a note",)), CONFIG)
    meta = made.program.meta
    assert meta["notes"] == ["a note"]
    assert meta["losses"][0]["membrane_error"] is None
    assert made.program.layer("a").notes["weight_error"] == 0.01
    assert meta["placement"]["final_cost"] <= meta["placement"]["naive_cost"]
    assert meta["resources"] == made.resources.to_list()
    json.dumps(meta, allow_nan=False)


def test_resources_add_up():
    made = compile_quantised(network(), CONFIG)
    rows = made.resources
    assert all(row.fits for row in rows.rows)
    assert (
        rows.total("cores").asked
        == made.program.core_count
        == sum(row.asked for row in rows.rows if row.resource == "cores" and row.where)
    )
    assert rows.total("neurons").asked == 27
    assert rows.total("output_lines").asked == 9
    delays = [*made.program.routes[:, 4], *made.program.input_routes[:, 4]]
    assert rows.total("delay_slots").asked == max(delays) + 1
    with pytest.raises(KeyError):
        rows.total("volts")


def test_integers_that_do_not_match_the_network_are_caught():
    made = network()
    wide = replace(
        made, populations=tuple(replace(p, weight_mode_bits=4) for p in made.populations)
    )
    with pytest.raises(
        CompilerError, match=r"after pass quantise, in -> a: weights must be within -8\.\.7"
    ):
        compile_quantised(wide, CONFIG)


def test_a_population_without_sources_runs_on_its_bias():
    b = QuantisedBuilder()
    b.input("in", (2,))
    b.population("p", (3,), bias=5)
    program = compile_quantised(b.build("p"), CONFIG).program
    assert program.core_count == 1
    assert len(program.input_routes) == 0
    assert program.register("depth").tolist() == [1]


def test_a_network_of_real_numbers_runs_through_all_passes():
    rng = np.random.default_rng(0)
    weight = sparse.csr_array(rng.normal(size=(5, 6)))
    lif = uniform_population("p", NeuronKind.LIF, (5,), decay_mem=0.9)
    real = Network(
        (Input("in", (2, 3)),), (lif,), (Projection("in", "p", weight),), ("p",), ("seen",)
    )
    told: list[str] = []
    samples = rng.random((2, 3, 6))
    made = compile_network(real, CONFIG, calibration=samples, seed=3, progress=told.append)
    assert told == [step.name for step in PASSES]
    assert [record.name for record in made.records] == told
    assert made.records[0].summary == "1 populations, 30 weights of 8 bits"
    assert made.program.meta["notes"][0] == "seen"
    assert made.program.meta["losses"][0]["name"] == "p"
    assert_holds(made.program, made.quantised)
    packed = compile_network(real, CONFIG, ternary=True)
    assert packed.program.register("weight_mode_bits").tolist() == [2]
    json.dumps(packed.program.meta, allow_nan=False)
