"""The integer reference against the chip's definition: arrays against scalars, one neuron against a plain replay."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikeloom.chip import arithmetic as rules
from spikeloom.chip.arithmetic import Compare, NeuronKind, ResetMode, ResetTiming
from spikeloom.chip.config import load_config
from spikeloom.compiler import reference_integer as vectorised
from spikeloom.compiler.reference_integer import quantise_inputs, run_integer

from .support.quantised_builder import QuantisedBuilder

CONFIG = load_config("tiny")
CORE = CONFIG.many_core.core
# Membranes of 10 bits saturate, and accumulators of 11 bits wrap, at the inputs drawn below.
NARROW = CONFIG.replace(core={"membrane_bits": 10, "accumulator_bits": 11})
HALF = 1 << (CORE.decay_bits - 1)

VALUES = st.lists(st.integers(-(2**39), 2**39), min_size=1, max_size=20)


@given(VALUES, st.integers(4, 60))
def test_arrays_wrap_and_saturate_as_scalars_do(values, bits):
    array = np.array(values, dtype=np.int64)
    assert vectorised.wrap(array, bits).tolist() == [rules.wrap(v, bits) for v in values]
    assert vectorised.saturate(array, bits).tolist() == [rules.saturate(v, bits) for v in values]


@given(VALUES, st.integers(0, 2**20), st.integers(0, 20))
def test_arrays_scale_and_round_as_scalars_do(values, factor, shift):
    array, factors = np.array(values, dtype=np.int64), np.full(len(values), factor, dtype=np.int64)
    got = vectorised.scale_round(array, factors, shift)
    assert got.tolist() == [rules.scale_round(v, factor, shift) for v in values]


def one_neuron(weight: int, kind: NeuronKind = NeuronKind.LIF, **fields):
    b = QuantisedBuilder()
    b.input("in", (1,), signed=True, max_payload=127)
    b.population("out", (1,), kind=kind, axon_signed=True, **fields)
    b.connect("in", "out", [[weight]])
    return b.build("out")


def replay(payloads, weight, config, *, threshold, v_reset, decay, bias, mode, timing, compare):
    """Return outputs and stored membranes of one LIF, timestep by timestep, by the scalar rules."""
    core = config.many_core.core
    v_mem, outputs, membranes = 0, [], []
    for payload in payloads:
        i_in = rules.wrap(payload * weight, core.accumulator_bits) + bias
        u = rules.integrate(
            v_mem, i_in, decay, threshold, v_reset, mode, timing, compare, core.decay_bits, core.membrane_bits
        )  # fmt: skip
        fired = rules.fires(u, threshold, compare)
        v_mem = u
        if fired and timing == ResetTiming.SAME:
            v_mem = rules.saturate(
                rules.reset_same(u, threshold, v_reset, mode), core.membrane_bits
            )
        outputs.append(int(fired))
        membranes.append(v_mem)
    return outputs, membranes


@pytest.mark.parametrize("config", [CONFIG, NARROW], ids=["wide", "narrow"])
@pytest.mark.parametrize("compare", list(Compare))
@pytest.mark.parametrize("timing", list(ResetTiming))
@pytest.mark.parametrize("mode", list(ResetMode))
def test_one_neuron_equals_its_scalar_replay(mode, timing, compare, config):
    rng = np.random.default_rng([mode, timing, compare])
    payloads = rng.integers(-60, 128, 300)
    fields: dict[str, Any] = {"threshold": 240, "v_reset": -19, "bias": 3}
    decay = 2 * HALF - HALF // 5
    network = one_neuron(
        12, decay_mem=decay, reset_mode=mode, reset_timing=timing, compare=compare, **fields
    )
    run = run_integer(network, config, payloads.reshape(1, -1, 1).astype(float), record=["out"])
    outputs, membranes = replay(
        payloads.tolist(), 12, config, decay=decay, mode=mode, timing=timing, compare=compare, **fields
    )  # fmt: skip
    assert run.outputs[0, :, 0].tolist() == outputs
    assert run.membranes["out"][0, :, 0].tolist() == membranes
    assert 20 < sum(outputs) < 280


@given(st.lists(st.integers(-127, 127), min_size=1, max_size=30), st.data())
def test_any_neuron_equals_its_scalar_replay(payloads, data):
    weight = data.draw(st.integers(-127, 127), "weight")
    fields = {
        "threshold": data.draw(st.integers(1, 500), "threshold"),
        "v_reset": data.draw(st.integers(-500, 500), "v_reset"),
        "bias": data.draw(st.integers(-50, 50), "bias"),
    }
    decay = data.draw(st.integers(0, 2 * HALF), "decay")
    rule = {
        "mode": data.draw(st.sampled_from(ResetMode), "mode"),
        "timing": data.draw(st.sampled_from(ResetTiming), "timing"),
        "compare": data.draw(st.sampled_from(Compare), "compare"),
    }
    network = one_neuron(
        weight, decay_mem=decay, reset_mode=rule["mode"], reset_timing=rule["timing"], compare=rule["compare"],
        **fields,
    )  # fmt: skip
    inputs = np.array(payloads, dtype=float).reshape(1, -1, 1)
    run = run_integer(network, NARROW, inputs, record=["out"])
    outputs, membranes = replay(payloads, weight, NARROW, decay=decay, **fields, **rule)
    assert run.outputs[0, :, 0].tolist() == outputs
    assert run.membranes["out"][0, :, 0].tolist() == membranes


def test_the_equality_boundary_of_both_compares():
    inputs = np.array([[[10.0]]])
    for compare, spikes in ((Compare.GT, 0), (Compare.GE, 1)):
        network = one_neuron(1, threshold=10, compare=compare)
        assert run_integer(network, CONFIG, inputs).counts.tolist() == [[spikes]]


def test_several_spikes_a_timestep_are_whole_thresholds():
    network = one_neuron(
        1, threshold=16, max_spikes=5, floor=True, reset_mode=ResetMode.SUBTRACT, compare=Compare.GE
    )
    values = [50, 0, 127, -100, 0]
    run = run_integer(
        network, CONFIG, np.array(values, dtype=float).reshape(1, -1, 1), record=["out"]
    )
    v_mem, outputs, membranes = 0, [], []
    for value in values:
        u = v_mem + value
        outputs.append(rules.spike_count(u, 16, 5))
        v_mem = max(u - 16 * outputs[-1], -16)
        membranes.append(v_mem)
    assert run.outputs[0, :, 0].tolist() == outputs == [3, 0, 5, 0, 0]
    assert run.membranes["out"][0, :, 0].tolist() == membranes


def test_currents_decay_before_the_membrane_takes_them():
    network = one_neuron(
        1, NeuronKind.CUBA_INTEGRATOR, decay_mem=HALF, decay_syn=HALF, max_payload=1 << 23
    )
    values = [100, 0, 0, 7, 0, 0]
    run = run_integer(network, CONFIG, np.array(values, dtype=float).reshape(1, -1, 1))
    i_syn = v_mem = 0
    wanted = []
    for value in values:
        i_syn = rules.scale_round(i_syn, HALF, CORE.decay_bits) + value
        v_mem = rules.scale_round(v_mem, HALF, CORE.decay_bits) + i_syn
        wanted.append(v_mem)
    assert run.outputs[0, :, 0].tolist() == wanted


def test_relu_and_table_follow_the_scalar_rules():
    values = np.arange(-127, 128)
    inputs = values.astype(float).reshape(-1, 1, 1)
    relu = one_neuron(3, NeuronKind.RELU, decay_mem=700, requant_shift=10)
    got = run_integer(relu, CONFIG, inputs).counts[:, 0]
    assert got.tolist() == [rules.requantise(3 * int(v), 700, 10, 255) for v in values]
    entries = np.random.default_rng(0).integers(-127, 128, 256).astype(np.int32)
    table = one_neuron(3, NeuronKind.TABLE, decay_mem=700, requant_shift=10, table=entries)
    got = run_integer(table, CONFIG, inputs).counts[:, 0]
    assert got.tolist() == [entries[rules.table_index(3 * int(v), 700, 10)] for v in values]


def test_delays_first_outputs_and_counts():
    b = QuantisedBuilder()
    b.input("in", (2,))
    b.population("out", (2,), threshold=0, decay_mem=0)
    b.connect("in", "out", [[1, 0], [0, 0]], delay=2)
    run = run_integer(b.build("out"), CONFIG, np.array([[[1, 1], [0, 0], [0, 0], [1, 0]]]))
    assert run.outputs[0].tolist() == [[0, 0], [0, 0], [1, 0], [0, 0]]
    assert run.first.tolist() == [[2, -1]]
    assert run.counts.tolist() == [[1, 0]]


def test_payloads_are_rounded_and_clipped_to_their_range():
    b = QuantisedBuilder()
    b.input("plain", (2,), max_payload=255)
    b.input("signed", (2,), signed=True, max_payload=127)
    b.population("out", (1,))
    network = b.build("out")
    network = replace(network, inputs=tuple(replace(i, scale=0.5) for i in network.inputs))
    got = quantise_inputs(
        network, np.array([[[1.2, -3.0, -3.0, -100.0], [500.0, 0.0, 100.0, 0.3]]])
    )
    assert got.tolist() == [[[2, 0, -6, -127], [255, 0, 127, 1]]]


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match=r"inputs must be \(samples, timesteps, 1\), not \(4, 1\)"):
        run_integer(one_neuron(1), CONFIG, np.zeros((4, 1)))
