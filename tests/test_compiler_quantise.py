"""The quantiser: scales of weights, thresholds, inputs and membranes, what it refuses, and what it says is lost."""

from __future__ import annotations

from dataclasses import astuple, replace
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from spikeloom.chip import arithmetic as rules
from spikeloom.chip.arithmetic import Compare, NeuronKind, ResetMode, scale_round
from spikeloom.chip.config import load_config
from spikeloom.compiler.graph import Input, Network, Projection, uniform_population
from spikeloom.compiler.quantise import QuantiseError, quantise
from spikeloom.compiler.quantised import QuantisedNetwork
from spikeloom.compiler.reference_float import run_float
from spikeloom.compiler.reference_integer import quantise_inputs, run_integer

CONFIG = load_config("tiny")
CORE = CONFIG.many_core.core
TOP = (1 << (CORE.membrane_bits - 1)) - 1
MANY: dict[str, Any] = {
    "max_spikes": 7, "floor": True, "reset_mode": ResetMode.SUBTRACT, "compare": Compare.GE,
}  # fmt: skip


def layer(weight, kind: NeuronKind = NeuronKind.LIF, **fields: Any) -> Network:
    """Return one input of as many values as ``weight`` has columns, and one population, ``p``."""
    matrix = sparse.csr_array(np.atleast_2d(np.asarray(weight, dtype=float)))
    rows, columns = np.atleast_2d(weight).shape
    population = uniform_population("p", kind, (rows,), **fields)
    return Network(
        (Input("in", (columns,)),), (population,), (Projection("in", "p", matrix),), ("p",)
    )


def binary(columns: int, samples: int = 6, timesteps: int = 10) -> np.ndarray:
    """Return zeros and ones of both kinds, for calibration."""
    values = (np.random.default_rng(5).random((samples, timesteps, columns)) < 0.4).astype(float)
    values[0, 0] = 1.0
    return values


def normal(rows: int, columns: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.4, (rows, columns))


def integers(made: QuantisedNetwork) -> np.ndarray:
    return made.projections[0].weight.toarray()


def units(made: QuantisedNetwork) -> np.ndarray:
    """Return what one unit of each neuron's weights is worth."""
    p = made.population("p")
    return p.scale * 2.0**p.i_shift


# ---------------------------------------------------------------------------------------------------------------------
# Weights


def test_every_neuron_has_its_own_scale_that_its_largest_weight_fills():
    weight = normal(6, 9) * np.array([[1.0], [30.0], [0.01], [1.0], [5.0], [0.3]])
    made = quantise(layer(weight), CONFIG, binary(9))
    assert np.abs(integers(made)).max(axis=1).tolist() == [127] * 6
    np.testing.assert_allclose(units(made), np.abs(weight).max(axis=1) / 127, rtol=1e-12)
    assert np.all(
        np.abs(integers(made) * units(made)[:, None] - weight) <= 0.5001 * units(made)[:, None]
    )


def test_weights_on_a_grid_of_powers_of_two_stay_exact():
    weight = np.random.default_rng(1).integers(-96, 97, (5, 8)) / 64.0
    weight[:, 0] = 96 / 64
    weight[2] *= 2.0**-7
    weight[4] = 0.0
    made = quantise(layer(weight, threshold=[1.0, 0.5, 2.0**-6, 1.25, 1.0]), CONFIG, binary(8))
    assert np.array_equal(integers(made) * units(made)[:, None], weight)
    p = made.population("p")
    assert (p.v_threshold * p.scale)[:4].tolist() == [1.0, 0.5, 2.0**-6, 1.25]


@pytest.mark.parametrize("bits", [4, 2])
def test_few_bits_clip_large_weights_where_that_loses_less(bits):
    weight = np.random.default_rng(2).standard_t(3, (12, 16))
    made = quantise(layer(weight), CONFIG, binary(16), weight_bits=bits)
    limit = (1 << (bits - 1)) - 1
    assert made.population("p").weight_mode_bits == bits
    assert np.abs(integers(made)).max() == limit
    unit = np.abs(weight).max(axis=1, keepdims=True) / limit
    of_largest = np.square(np.rint(weight / unit) * unit - weight).sum(axis=1)
    got = np.square(integers(made) * units(made)[:, None] - weight).sum(axis=1)
    assert np.all(got <= of_largest * (1 + 1e-9))
    assert got.sum() < {4: 0.95, 2: 0.8}[bits] * of_largest.sum()


def test_ternary_weights_are_minus_one_zero_and_one():
    made = quantise(layer(normal(6, 16)), CONFIG, binary(16), ternary=True)
    assert np.unique(integers(made)).tolist() == [-1, 0, 1]
    assert made.population("p").weight_mode_bits == 2
    exact = np.random.default_rng(3).integers(-1, 2, (4, 8)) * np.array([[0.7], [3.0], [0.1], [1]])
    exact[:, 0] = [0.7, 3.0, 0.1, 1.0]
    made = quantise(layer(exact), CONFIG, binary(8), ternary=True)
    np.testing.assert_allclose(integers(made) * units(made)[:, None], exact, rtol=1e-12)


# ---------------------------------------------------------------------------------------------------------------------
# Membranes, thresholds, decays


@pytest.mark.parametrize("bits", [20, 24, 30])
def test_the_membrane_takes_the_fractional_bits_that_its_range_leaves(bits):
    config = CONFIG.replace(core={"membrane_bits": bits})
    network, values = layer(normal(4, 8), decay_mem=0.9, bias=0.1), binary(8)
    made = quantise(network, config, values)
    p = made.population("p")
    activity = run_float(network, values).activity["p"]
    seen = np.maximum.reduce([np.abs(activity.low), np.abs(activity.high), np.ones(4)])
    twice = 2 * float((seen / p.scale).max())
    top = (1 << (bits - 1)) - 1
    assert top / 2 < twice <= top
    run = run_integer(made, config, values, record=["p"])
    assert 0 < np.abs(run.membranes["p"]).max() < top


def test_thresholds_biases_and_resets_are_rounded_in_the_membranes_unit():
    fields: dict[str, Any] = {
        "threshold": [0.3, 0.7, 1.9],
        "bias": [0.11, -0.2, 0.0],
        "v_reset": [-0.1, 0.0, 0.05],
    }
    network = layer(normal(3, 8), reset_mode=ResetMode.VALUE, decay_mem=0.77, **fields)
    p = quantise(network, CONFIG, binary(8)).population("p")
    for name, values in zip(("v_threshold", "bias", "v_reset"), fields.values(), strict=True):
        assert getattr(p, name).tolist() == np.rint(np.array(values) / p.scale).tolist()
        np.testing.assert_allclose(getattr(p, name) * p.scale, values, atol=1e-4)
    assert set(p.decay_mem.tolist()) == {round(0.77 * 4096)}


def test_thresholds_far_above_the_weights_still_fit_the_membrane():
    p = quantise(layer([[1e-9, -1e-9]]), CONFIG).population("p")
    assert TOP // 4 <= p.v_threshold[0] <= TOP
    assert p.v_threshold[0] * p.scale[0] == pytest.approx(1.0, rel=1e-6)


@pytest.mark.parametrize("factor", [0.01, 1.0, 1000.0])
def test_thresholds_of_several_spikes_are_powers_of_two(factor):
    threshold = np.random.default_rng(4).uniform(0.2, 3.0, 9)
    weight = normal(9, 8) * factor
    made = quantise(layer(weight, threshold=threshold, **MANY), CONFIG, binary(8))
    p = made.population("p")
    assert all(v > 0 and v & (v - 1) == 0 for v in p.v_threshold.tolist())
    np.testing.assert_allclose(p.v_threshold * p.scale, threshold, rtol=1e-12)
    largest = np.abs(integers(made)).max(axis=1)
    assert np.all(largest <= 127)
    if factor >= 1.0:  # tiny weights are bound by the threshold, which must fit the membrane
        assert np.all(largest >= 63)


def test_thresholds_of_several_spikes_below_a_unit_are_refused_until_the_membrane_is_wider():
    network = layer(normal(4, 8) * 1e6, **MANY)
    with pytest.raises(QuantiseError, match=r"p: a threshold is .* widen membrane_bits \(24\)"):
        quantise(network, CONFIG, binary(8))
    wider = CONFIG.replace(core={"membrane_bits": 40})
    assert quantise(network, wider, binary(8)).population("p").v_threshold.min() >= 1


@pytest.mark.parametrize("bits", [0, 1, 3, 5, 16])
def test_weights_of_bits_that_the_core_cannot_pack_are_refused(bits):
    with pytest.raises(QuantiseError, match=f"must be 8, 4 or 2 on this chip, not {bits}"):
        quantise(layer(normal(3, 4)), CONFIG, weight_bits=bits)


@pytest.mark.parametrize("seed", range(3))
def test_initial_states_that_cancel_a_bias_cancel_it_exactly(seed):
    rng = np.random.default_rng(seed)
    rows = 200
    bias, decay = rng.normal(0, 0.3, rows), rng.uniform(0.02, 1.0, rows)
    bias[0], decay[0] = 0.0, 1.0
    weight = normal(rows, 8, seed)
    lif = layer(weight, bias=bias, decay_mem=decay, v_init=-bias / decay)
    p = quantise(lif, CONFIG, binary(8)).population("p")
    for start, factor, b in zip(
        p.v_init.tolist(), p.decay_mem.tolist(), p.bias.tolist(), strict=True
    ):
        assert scale_round(start, factor, CORE.decay_bits) + b == 0
    states = {"decay_syn": decay, "decay_mem": 0.5, "i_init": -bias / decay}
    cuba = layer(weight, NeuronKind.CUBA_LIF, bias=bias, **states)
    p = quantise(cuba, CONFIG, binary(8)).population("p")
    for start, factor, b in zip(
        p.i_init.tolist(), p.decay_syn.tolist(), p.bias.tolist(), strict=True
    ):
        assert scale_round(start, factor, CORE.decay_bits) + b == 0


# ---------------------------------------------------------------------------------------------------------------------
# Inputs


COUNTS = np.arange(6.0)
PIXELS = np.arange(256.0) / 255
REAL = np.linspace(0.0, 0.83, 50) ** 1.7


@pytest.mark.parametrize(
    ("values", "scale", "signed", "most"),
    [
        (np.array([0.0, 1.0]), 1.0, False, 255),
        (COUNTS, 1.0, False, 255),
        (-COUNTS, 1.0, True, 127),
        (np.zeros(4), 1.0, False, 255),
        (PIXELS, 1 / 255, False, 255),
        (np.array([0.0, 0.5, 1.0]), 1 / 16, False, 255),
        (np.arange(16.0) / 15, 1 / 255, False, 255),
        (np.arange(-127.0, 128.0) / 127, 1 / 127, True, 127),
        (REAL, REAL[-1] / 255, False, 255),
        (-REAL, REAL[-1] / 127, True, 127),
    ],
)
def test_inputs_take_the_grid_of_their_values(values, scale, signed, most):
    made = quantise(layer([[0.5, 0.25]]), CONFIG, np.stack([values, values], axis=-1)[None])
    (got,) = made.inputs
    assert (got.scale, got.signed, got.max_payload) == (pytest.approx(scale), signed, most)
    assert made.population("p").axon_signed is signed
    assert not made.notes
    assert made.losses[0].clipped_inputs == 0.0


def test_an_inputs_scale_is_folded_into_the_weights_behind_it():
    weight = normal(3, 4)
    made = quantise(layer(weight), CONFIG, np.stack([PIXELS] * 4, axis=-1)[None])
    np.testing.assert_allclose(units(made), np.abs(weight).max(axis=1) / 255 / 127, rtol=1e-12)


def test_without_calibration_inputs_lie_within_0_and_1_and_a_note_says_so():
    made = quantise(layer(normal(3, 4)), CONFIG)
    (got,) = made.inputs
    assert (got.scale, got.signed, got.max_payload) == (1 / 255, False, 255)
    assert len(made.notes) == 1
    assert "input in: without calibration data" in made.notes[0]
    made = quantise(layer(normal(3, 4), NeuronKind.RELU), CONFIG)
    assert "p: without calibration data activations are taken to reach 1" in made.notes[1]


# ---------------------------------------------------------------------------------------------------------------------
# Accumulators


def test_weights_are_coarser_where_their_sums_would_leave_the_accumulator():
    config = CONFIG.replace(core={"accumulator_bits": 16})
    weight = normal(4, 8)
    weight[2, 1:] = 0.0  # one weight of 127 times 255 fits
    made = quantise(layer(weight), config)
    largest = np.abs(integers(made)).max(axis=1)
    assert largest[2] == 127
    assert np.all(largest[[0, 1, 3]] < 127)
    sums = np.maximum(integers(made).clip(0), -integers(made).clip(max=0))
    room = (1 << 15) - 1
    one_sided = np.maximum(
        integers(made).clip(0).sum(axis=1), -integers(made).clip(max=0).sum(axis=1)
    )
    assert np.all(one_sided * 255 <= room + 0.5 * 255 * (sums > 0).sum(axis=1))  # less rounding
    assert any("weights of 3 neurons are coarser" in note for note in made.notes)


def test_sums_that_calibration_never_comes_near_keep_their_weights():
    config = CONFIG.replace(core={"accumulator_bits": 16})
    values = np.zeros((1, 20, 8))
    values[0, np.arange(8), np.arange(8)] = 1.0
    made = quantise(layer(np.full((2, 8), 0.3)), config, values)
    assert np.abs(integers(made)).max() == 127
    assert any("2 sums could leave the accumulator's 16 bits" in note for note in made.notes)


def test_several_spikes_need_the_accumulator_that_their_sums_ask_for():
    config = CONFIG.replace(core={"accumulator_bits": 16})
    with pytest.raises(QuantiseError, match="p: sums need more than 16 accumulator_bits"):
        quantise(layer(normal(4, 8), **MANY), config)


# ---------------------------------------------------------------------------------------------------------------------
# Against the float network


def test_relu_stays_close_to_float():
    rng = np.random.default_rng(6)
    network = layer(normal(8, 12), NeuronKind.RELU, bias=rng.normal(0, 0.1, 8))
    values = rng.random((20, 3, 12))
    made = quantise(network, CONFIG, values)
    got = run_integer(made, CONFIG, values).outputs * made.population("p").output_scale
    want = run_float(network, values).spikes
    assert np.abs(got - want).max() < 0.02 * want.max()
    assert run_integer(made, CONFIG, values).outputs.max() >= 250


@pytest.mark.parametrize(("activation", "most"), [("sigmoid", 255), ("tanh", 127)])
def test_tables_stay_close_to_float(activation, most):
    rng = np.random.default_rng(7)
    network = layer(normal(8, 12), NeuronKind.TABLE, activation=activation, bias=0.05)
    values = rng.random((20, 3, 12))
    made = quantise(network, CONFIG, values)
    p = made.population("p")
    assert p.max_payload == most
    assert p.table is not None
    assert np.abs(p.table).max() <= most
    got = run_integer(made, CONFIG, values).outputs * p.output_scale
    assert np.abs(got - run_float(network, values).spikes).max() < 0.03


WIDE = {
    "weight_bits": 24,
    "activation_bits": 20,
    "accumulator_bits": 56,
    "membrane_bits": 56,
    "decay_bits": 28,
}


# The chip's kernels and the reference both count in int64: only integers without bounds show that nothing overflows.
@pytest.mark.parametrize("core", [{}, WIDE | {"activation_bits": 8}, WIDE], ids=["8", "24", "wide"])
@pytest.mark.parametrize(
    ("kind", "activation", "error"),
    [
        (NeuronKind.RELU, "", {8: 0.02, 20: 1e-5}),
        (NeuronKind.TABLE, "sigmoid", {8: 0.03, 20: 0.01}),
        (NeuronKind.TABLE, "tanh", {8: 0.03, 20: 0.03}),
    ],
)
def test_activations_stay_within_64_bits_on_every_chip(kind, activation, error, core):
    config = CONFIG.replace(core=core)
    values = np.random.default_rng(6).random((10, 2, 12))
    network = layer(normal(8, 12), kind, activation=activation, bias=0.02)
    made = quantise(network, config, values)
    p = made.population("p")
    run = run_integer(made, config, values, record=["p"])
    sums = quantise_inputs(made, values).astype(object) @ integers(made).T.astype(object)
    for neuron, (factor, bias) in enumerate(
        zip(p.decay_mem.tolist(), p.bias.tolist(), strict=True)
    ):
        for total, got in zip(
            sums[..., neuron].ravel(), run.outputs[..., neuron].ravel().tolist(), strict=True
        ):
            i_in = int(total) + bias
            if p.table is None:
                assert got == rules.requantise(i_in, factor, p.requant_shift, p.max_payload)
            else:
                assert got == p.table[rules.table_index(i_in, factor, p.requant_shift)]
    want = run_float(network, values).spikes
    bound = error[config.many_core.core.activation_bits] * np.abs(want).max()
    assert np.abs(run.outputs * p.output_scale - want).max() < bound


def test_a_layer_behind_tanh_reads_signed_axons():
    first = layer(normal(4, 6), NeuronKind.TABLE, activation="tanh")
    behind = uniform_population("q", NeuronKind.INTEGRATOR, (2,), decay_mem=0.5)
    network = replace(
        first,
        populations=(*first.populations, behind),
        projections=(*first.projections, Projection("p", "q", sparse.csr_array(normal(2, 4)))),
        outputs=("q",),
    )
    values = np.random.default_rng(8).random((6, 5, 6))
    made = quantise(network, CONFIG, values)
    assert [made.population(name).axon_signed for name in "pq"] == [False, True]
    got = run_integer(made, CONFIG, values).outputs * made.population("q").output_scale
    want = run_float(network, values).spikes
    assert np.abs(got - want).max() < 0.05 * np.abs(want).max()


# ---------------------------------------------------------------------------------------------------------------------
# Losses


def test_exact_networks_lose_nothing():
    weight = np.random.default_rng(9).integers(-8, 9, (6, 8)) / 8.0
    network = layer(weight, decay_mem=0.5, threshold=0.75, reset_mode=ResetMode.SUBTRACT)
    (loss,) = quantise(network, CONFIG, binary(8)).losses
    assert astuple(loss) == ("p", 8, 0.0, 0.0, 0.0, 0.0, 0.0)


def test_losses_are_finite_and_grow_as_bits_go():
    network = layer(normal(8, 16), decay_mem=0.813)
    by_bits = [quantise(network, CONFIG, binary(16), weight_bits=b).losses[0] for b in (8, 4, 2)]
    for loss in by_bits:
        assert np.isfinite(astuple(loss)[1:]).all()
        assert 0.0 < loss.decay_error <= 2.0**-13
        assert 0.0 <= loss.output_mismatch <= 1.0
    errors = [loss.weight_error for loss in by_bits]
    assert 0.0 < errors[0] < 0.01 < errors[1] < 0.2 < errors[2] < 1.0


def test_without_calibration_only_weights_and_decays_are_measured():
    (loss,) = quantise(layer(normal(4, 8)), CONFIG).losses
    assert 0.0 < loss.weight_error < 0.01
    assert np.isnan([loss.membrane_error, loss.output_mismatch]).all()
