"""From a .nir file to a result: the chip equals the integer reference, and the commands do what they say."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

import spikeloom
from spikeloom.chip.arithmetic import Compare, NeuronKind, ResetMode, ResetTiming
from spikeloom.chip.config import load_config
from spikeloom.compiler.frontend import load_network
from spikeloom.compiler.graph import Input, Network, Projection, uniform_population
from spikeloom.compiler.pipeline import compile_network
from spikeloom.compiler.quantise import quantise
from spikeloom.compiler.reference_float import run_float
from spikeloom.compiler.reference_integer import quantise_inputs, run_integer
from spikeloom.models.zoo import ZOO, load_zoo_samples, path
from spikeloom.sim.run import run_many_core

SMALL = load_config("tiny").replace(
    core={"axons": 20, "neurons": 13, "lanes": 4, "delay_slots": 9, "route_entries": 200},
    network={"columns": 8, "rows": 6},
)
WIDE = {
    "weight_bits": 24,
    "activation_bits": 16,
    "accumulator_bits": 50,
    "membrane_bits": 52,
    "decay_bits": 26,
}


def dense(rng, targets, sources, density=0.7):
    weight = rng.normal(0, 0.6, (targets, sources)) * (rng.random((targets, sources)) < density)
    return sparse.csr_array(weight)


def random_network(seed: int) -> Network:
    """Draw a network of three populations with skips, a loop, a delay, and every kind and reset."""
    rng = np.random.default_rng(seed)
    sizes = [int(n) for n in rng.integers(4, 40, 3)]
    inputs = (Input("in", (int(rng.integers(3, 50)),)),)
    populations, projections = [], []
    names = ["in"]
    for i, size in enumerate(sizes):
        last = i == len(sizes) - 1
        kinds = [NeuronKind.LIF, NeuronKind.CUBA_LIF]
        kinds += (
            [NeuronKind.INTEGRATOR, NeuronKind.CUBA_INTEGRATOR]
            if last
            else [NeuronKind.RELU, NeuronKind.TABLE]
        )
        kind = NeuronKind(int(rng.choice(kinds)))
        many = kind == NeuronKind.LIF and rng.random() < 0.25
        timing = ResetTiming.SAME if many else ResetTiming(int(rng.integers(0, 2)))
        populations.append(
            uniform_population(
                f"p{i}", kind, (size,), decay_mem=rng.uniform(0.5, 1.0), decay_syn=rng.uniform(0.3, 0.9),
                threshold=rng.uniform(0.4, 1.2, size), v_reset=rng.uniform(-0.2, 0.1), bias=rng.normal(0, 0.05, size),
                v_init=rng.uniform(-0.1, 0.1), reset_mode=ResetMode.SUBTRACT if many else
                ResetMode(int(rng.integers(0, 4))),
                reset_timing=timing, compare=Compare.GE if many else Compare(int(rng.integers(0, 2))),
                max_spikes=7 if many else 1, floor=bool(many), activation="tanh" if kind == NeuronKind.TABLE else "",
            )
        )  # fmt: skip
        for source in names if rng.random() < 0.5 else names[-1:]:
            columns = inputs[0].size if source == "in" else sizes[int(source[1])]
            projections.append(
                Projection(source, f"p{i}", dense(rng, size, columns), int(rng.random() < 0.2))
            )
        if rng.random() < 0.5 and kind <= NeuronKind.CUBA_LIF and size <= 13:
            projections.append(Projection(f"p{i}", f"p{i}", dense(rng, size, size), 1))
        names.append(f"p{i}")
    return Network(inputs, tuple(populations), tuple(projections), ("p2",))


def run_both(network, config, values, **options):
    """Return the chip's run and the integer reference's, of the same quantised network."""
    compiled = compile_network(network, config, calibration=values, **options)
    payloads = quantise_inputs(compiled.quantised, values)
    chip = run_many_core(
        compiled.program, payloads, values.shape[1], record_outputs=True,
        probes=[layer.name for layer in compiled.program.layers],
    )  # fmt: skip
    names = [population.name for population in network.populations]
    return compiled, chip, run_integer(compiled.quantised, config, values, record=names)


@pytest.mark.parametrize("seed", range(25))
def test_the_chip_equals_the_integer_reference_on_random_networks(seed):
    network = random_network(seed)
    rng = np.random.default_rng(100 + seed)
    values = rng.random((3, 6, network.inputs[0].size)) * (
        rng.random((3, 6, network.inputs[0].size)) < 0.5
    )
    _, chip, reference = run_both(network, SMALL, values)
    assert chip.output_record.tolist() == reference.outputs.tolist()
    assert chip.first_spike.tolist() == reference.first.tolist()
    for population in network.populations:
        if population.kind not in (NeuronKind.RELU, NeuronKind.TABLE):
            assert (
                chip.probe_v_mem[population.name].tolist()
                == reference.membranes[population.name].tolist()
            )


@pytest.mark.parametrize("seed", range(12))
def test_a_wide_chip_gives_every_spike_of_the_float_network(seed):
    network = random_network(200 + seed)
    plain = tuple(
        p
        if p.kind not in (NeuronKind.RELU, NeuronKind.TABLE)
        else replace(p, kind=NeuronKind.LIF, activation="")
        for p in network.populations
    )
    network = replace(network, populations=plain)
    rng = np.random.default_rng(300 + seed)
    values = (rng.random((4, 8, network.inputs[0].size)) < 0.4).astype(float)
    _, chip, reference = run_both(network, SMALL.replace(core=WIDE), values)
    real = run_float(network, values)
    assert chip.output_record.tolist() == reference.outputs.tolist()
    if network.populations[-1].spiking:
        assert chip.output_record.tolist() == real.spikes.tolist()
    else:
        scale = compile_network(
            network, SMALL.replace(core=WIDE), calibration=values
        ).program.output_scale
        assert np.allclose(chip.output_record * scale, real.spikes, atol=1e-4)


@pytest.mark.parametrize("compare", list(Compare))
def test_exact_hits_of_the_threshold_are_decided_as_the_framework_does(compare):
    rng = np.random.default_rng(int(compare))
    weight = sparse.csr_array(rng.integers(-8, 12, (12, 10)) / 16.0)
    population = uniform_population(
        "p", NeuronKind.LIF, (12,), decay_mem=0.5, threshold=1.0, compare=compare
    )
    network = Network(
        (Input("in", (10,)),), (population,), (Projection("in", "p", weight),), ("p",)
    )
    values = (rng.random((20, 6, 10)) < 0.5).astype(float)
    other = replace(network, populations=(replace(population, compare=Compare(1 - compare)),))
    real = run_float(network, values).spikes
    assert real.tolist() != run_float(other, values).spikes.tolist()  # there are exact hits
    _, chip, _ = run_both(network, SMALL, values)
    assert chip.output_record.tolist() == real.tolist()


@pytest.mark.parametrize("name", sorted(ZOO))
def test_shipped_networks_equal_the_reference_and_keep_their_accuracy(name):
    item = ZOO[name]
    network = load_network(path(name), "nir")
    digits = load_zoo_samples(name, 200)
    values = np.repeat(digits.inputs.reshape(200, 1, -1) / 255.0, item.timesteps, axis=1)
    compiled = compile_network(network, load_config("tianjic"), calibration=values[:64])
    payloads = quantise_inputs(compiled.quantised, values[:, :1])
    chip = run_many_core(compiled.program, payloads, item.timesteps)
    reference = run_integer(compiled.quantised, load_config("tianjic"), values)
    assert chip.output_count.tolist() == reference.counts.tolist()
    accuracy = np.mean(chip.output_count.argmax(axis=1) == digits.labels)
    real = np.mean(run_float(network, values).counts.argmax(axis=1) == digits.labels)
    assert abs(accuracy - real) <= 0.01
    assert accuracy > 0.93


SAMPLES = Path(__file__).parent / "data"
WIDEST = {
    "weight_bits": 24,
    "activation_bits": 20,
    "accumulator_bits": 56,
    "membrane_bits": 56,
    "decay_bits": 28,
}


@pytest.mark.parametrize(
    ("name", "producer", "samples"),
    [
        ("snntorch_mlp_mnist", "auto", 40),
        ("snntorch_synaptic_digits", "auto", 200),
        ("sj_sew_resnet_mnist", "spikingjelly", 20),
        ("sj_conv_stbp_fashion", "auto", 4),
    ],
)
def test_a_wide_chip_gives_every_output_spike_of_the_framework(name, producer, samples):
    with np.load(SAMPLES / f"{name}.npz") as stored:
        spikes = np.moveaxis(stored["out_spikes"], 0, 1)[:samples]
        x = (
            stored["x_const"][:samples, None]
            if "x_const" in stored
            else np.moveaxis(stored["x"], 0, 1)[:samples]
        )
    values = (
        np.broadcast_to(x, (samples, spikes.shape[1], *x.shape[2:]))
        .reshape(*spikes.shape[:2], -1)
        .astype(float)
    )
    network = load_network(SAMPLES / f"{name}.nir", producer)
    _, chip, reference = run_both(network, load_config("mesh32").replace(core=WIDEST), values)
    assert spikes.sum() > 10
    assert chip.output_record.tolist() == spikes.tolist()
    assert chip.output_record.tolist() == reference.outputs.tolist()
    _, chip, reference = run_both(network, load_config("mesh32"), values)
    assert chip.output_record.tolist() == reference.outputs.tolist()
    agree = chip.output_count.argmax(axis=1) == spikes.sum(axis=1).argmax(axis=1)
    assert np.mean(agree) >= 0.97


@pytest.mark.parametrize(("bits", "ternary"), [(4, False), (2, False), (None, True)])
def test_packed_weights_run_as_their_reference_and_faster(bits, ternary):
    network = random_network(3)
    values = (np.random.default_rng(0).random((2, 5, network.inputs[0].size)) < 0.5).astype(float)
    compiled, chip, reference = run_both(network, SMALL, values, weight_bits=bits, ternary=ternary)
    assert chip.output_record.tolist() == reference.outputs.tolist()
    _, full, _ = run_both(network, SMALL, values)
    assert chip.core_counters[:, 1].sum() < full.core_counters[:, 1].sum()
    if ternary:
        assert set(np.unique(compiled.program.weights)) <= {-1, 0, 1}


def mixed_network(activation: str) -> Network:
    """Return an input, a RELU and a table that all feed one layer, so that its axons may be signed."""
    rng = np.random.default_rng(9)
    return Network(
        (Input("a", (4,)), Input("b", (4,))),
        (
            uniform_population("r", NeuronKind.RELU, (4,)),
            uniform_population("t", NeuronKind.TABLE, (4,), activation=activation),
            uniform_population("p", NeuronKind.INTEGRATOR, (3,)),
        ),
        (
            Projection("a", "r", dense(rng, 4, 4)), Projection("a", "t", dense(rng, 4, 4)),
            Projection("r", "p", dense(rng, 3, 4)), Projection("t", "p", dense(rng, 3, 4)),
            Projection("b", "p", dense(rng, 3, 4)),
        ),
        ("p",),
    )  # fmt: skip


@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("calibrated", [True, False])
def test_values_beyond_calibration_next_to_signed_ones_are_clipped_alike(
    activation, sign, calibrated
):
    network = mixed_network(activation)
    rng = np.random.default_rng(3)
    seen = rng.random((4, 5, 8)) * np.array([0.3] * 4 + [sign * 0.3] * 4)
    compiled = compile_network(network, SMALL, calibration=seen if calibrated else None)
    loud = 4.0 * seen
    payloads = quantise_inputs(compiled.quantised, loud)
    chip = run_many_core(compiled.program, payloads, 5, record_outputs=True)
    reference = run_integer(compiled.quantised, SMALL, loud)
    assert chip.output_record.tolist() == reference.outputs.tolist()
    assert compiled.quantised.population("p").axon_signed == (
        activation == "tanh" or (calibrated and sign < 0)
    )


def test_sums_fit_a_narrow_accumulator_after_rounding():
    narrow = SMALL.replace(core={"accumulator_bits": 12})
    weight = sparse.csr_array(np.full((2, 15), 0.3))
    population = uniform_population("p", NeuronKind.INTEGRATOR, (2,))
    network = Network(
        (Input("in", (15,)),), (population,), (Projection("in", "p", weight),), ("p",)
    )
    values = np.ones((1, 2, 15))
    quantised = quantise(network, narrow, None)
    assert np.abs(quantised.projections[0].weight.toarray()).sum(axis=1).max() * 255 <= 2047
    _, chip, reference = run_both(network, narrow, values)
    assert chip.output_record.tolist() == reference.outputs.tolist()


def test_quantisation_refuses_what_it_cannot_do():
    network = random_network(1)
    with pytest.raises(ValueError, match="calibration data must be"):
        quantise(network, SMALL, np.zeros((1, 2, 3)))
    bad = np.zeros((1, 2, network.inputs[0].size))
    bad[0, 1, 0] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        quantise(network, SMALL, bad)
    with pytest.raises(ValueError, match="weight_bits must be 8, 4 or 2 on this chip, not 5"):
        quantise(network, SMALL, None, weight_bits=5)


def test_the_python_functions_have_the_commands_shape(tmp_path):
    digits = load_zoo_samples("mnist_mlp", 40)
    data = {"inputs": digits.inputs, "labels": digits.labels}
    compilation = spikeloom.compile(
        path("mnist_mlp"), "tianjic", convention="nir", calibrate=data, timesteps=8, encode="direct"
    )
    compilation.save(tmp_path / "net.chip")
    result = spikeloom.run(tmp_path / "net.chip", data, timesteps=8, encode="direct", threads=1)
    again = spikeloom.run(compilation.program, data, timesteps=8, encode="direct", threads=2)
    assert result.output_counts == again.output_counts
    assert result.cycles_per_sample == again.cycles_per_sample
    assert result.accuracy is not None
    assert result.accuracy > 0.85
    assert sum(v for k, v in result.energy_j.items() if k != "total") == pytest.approx(
        result.energy_j["total"]
    )
    for decide in ("first", "membrane"):
        other = spikeloom.run(
            compilation.program, data, timesteps=8, encode="direct", decide=decide
        )
        assert other.decide == decide
        assert len(other.predictions) == 40
    assert spikeloom.show(tmp_path / "net.chip").kind == "program"
    json.dumps(spikeloom.show("tianjic").to_dict())
    assert spikeloom.check(path("mnist_mlp"), "tianjic", convention="nir").ok
