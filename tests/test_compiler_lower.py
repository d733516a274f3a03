"""Lowering: each neuron, run in its normal form, against a scalar replay written from its text."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikeloom.chip.arithmetic import NeuronKind, ResetMode
from spikeloom.compiler.frontend import load_network
from spikeloom.compiler.graph import Network
from spikeloom.compiler.nir_file import NetworkError
from spikeloom.compiler.reference_float import run_float

from .support.nir_builder import Node, chain, cuba, graph, lif, node, write

STEPS = 60
DRIVE = np.random.default_rng(3).normal(0.25, 0.5, size=STEPS)
Replay = Callable[[float, dict[str, float]], float]


def one_neuron(tmp_path: Path, neuron: Node, producer: str, **options: Any) -> Network:
    path = write(tmp_path / "n.nir", chain((1,), (1,), n=neuron))
    return load_network(path, producer, **options)


def replayed(step: Replay, **initial: float) -> np.ndarray:
    state = dict(initial)
    return np.array([step(x, state) for x in DRIVE.tolist()])


def leaky(x: float, s: dict[str, float]) -> float:  # snn.Leaky, subtract, reset_delay=True
    reset = float(s["v"] > 1)
    s["v"] = 0.9 * s["v"] + x - reset
    return float(s["v"] > 1)


def leaky_zero(x: float, s: dict[str, float]) -> float:  # snn.Leaky, zero, reset_delay=True
    reset = float(s["v"] > 1)
    s["v"] = 0.9 * s["v"] + x - reset * 0.9 * s["v"]
    return float(s["v"] > 1)


def leaky_same(x: float, s: dict[str, float]) -> float:  # snn.Leaky, subtract, reset_delay=False
    s["v"] = 0.9 * s["v"] + x
    spike = float(s["v"] > 1)
    s["v"] -= spike
    return spike


def synaptic(x: float, s: dict[str, float]) -> float:  # snn.Synaptic, subtract
    reset = float(s["v"] > 1)
    s["i"] = 0.8 * s["i"] + x
    s["v"] = 0.9 * s["v"] + s["i"] - reset
    return float(s["v"] > 1)


def synaptic_zero(x: float, s: dict[str, float]) -> float:  # snn.Synaptic, zero: all is lost
    reset = float(s["v"] > 1)
    s["i"] = 0.8 * s["i"] + x
    s["v"] = (0.9 * s["v"] + s["i"]) * (1 - reset)
    return float(s["v"] > 1)


def jelly_decay_input(x: float, s: dict[str, float]) -> float:  # LIFNode(tau=2, v_reset=-0.25)
    s["v"] += (x - (s["v"] + 0.25)) / 2
    spike = float(s["v"] >= 0.25)
    s["v"] = -0.25 if spike else s["v"]
    return spike


def jelly_plain(x: float, s: dict[str, float]) -> float:  # LIFNode(tau=2, decay_input=False)
    s["v"] += x - s["v"] / 2
    spike = float(s["v"] >= 1)
    s["v"] = 0.0 if spike else s["v"]
    return spike


def norse_lif(x: float, s: dict[str, float]) -> float:  # LIFBoxCell, tau_mem_inv 200, dt 1 ms
    s["v"] += 0.001 * 200 * (0.1 - s["v"] + x)
    spike = float(s["v"] > 0.3)
    s["v"] = -0.1 if spike else s["v"]
    return spike


def norse_cuba(x: float, s: dict[str, float]) -> float:  # LIFCell: current, membrane, then decay
    s["i"] += x
    s["v"] += 0.1 * (0.1 - s["v"] + s["i"])
    s["i"] -= 0.2 * s["i"]
    spike = float(s["v"] > 0.3)
    s["v"] = 0.0 if spike else s["v"]
    return spike


def nir_cuba(x: float, s: dict[str, float]) -> float:  # the NIR text, Euler, dt 1e-4
    s["i"] += 1e-4 / 5e-4 * (-s["i"] + 3.0 * x)
    s["v"] += 1e-4 / 1e-3 * (0.2 - s["v"] + 10.0 * s["i"])
    spike = float(s["v"] > 1)
    s["v"] = 0.5 if spike else s["v"]
    return spike


def sinabs_iaf(x: float, s: dict[str, float]) -> float:  # IAFSqueeze from_nir
    s["v"] += x
    spikes = max(0, math.trunc(s["v"] / 0.25))
    s["v"] = max(s["v"] - 0.25 * spikes, -0.25)
    return float(spikes)


def sinabs_lif(x: float, s: dict[str, float]) -> float:  # LIFSqueeze(tau_mem=10, norm_input=False)
    s["v"] = math.exp(-1 / 10) * s["v"] + x
    spikes = max(0, math.trunc(s["v"] / 0.5))
    s["v"] -= 0.5 * spikes
    return float(spikes)


def integrate_and_fire(x: float, s: dict[str, float]) -> float:
    s["v"] += x
    spike = float(s["v"] >= 1)
    s["v"] = 0.0 if spike else s["v"]
    return spike


def threshold(x: float, s: dict[str, float]) -> float:
    return float(x > 0.4)


BUT_ZERO = {"reset": "zero"}
JELLY = {"tau": 2e-4, "r": 1.0, "v_threshold": 0.25, "v_leak": -0.25, "v_reset": -0.25}
NORSE = {"tau": 5e-6, "r": 1.0, "v_threshold": 0.3, "v_leak": 0.1, "v_reset": -0.1}
NORSE_CUBA = {"tau_mem": 1e-5, "tau_syn": 5e-6, "r": 1.0, "w_in": 1.0}


@pytest.mark.parametrize(
    ("neuron", "producer", "options", "step", "initial"),
    [
        (lif(1), "snntorch", {}, leaky, {"v": 0}),
        (lif(1), "snntorch", BUT_ZERO, leaky_zero, {"v": 0}),
        (lif(1), "snntorch", {"reset_timing": "same"}, leaky_same, {"v": 0}),
        (cuba(1), "snntorch", {}, synaptic, {"v": 0, "i": 0}),
        (cuba(1), "snntorch", BUT_ZERO, synaptic_zero, {"v": 0, "i": 0}),
        (lif(1, **JELLY), "spikingjelly", {}, jelly_decay_input, {"v": -0.25}),
        (lif(1, tau=2e-4, r=2.0), "spikingjelly", {}, jelly_plain, {"v": 0}),
        (lif(1, **NORSE), "norse", {}, norse_lif, {"v": 0.1}),
        (
            cuba(1, **NORSE_CUBA, v_threshold=0.3, v_leak=0.1), "norse", {}, norse_cuba,
            {"v": 0.1, "i": 0},
        ),
        (
            cuba(1, w_in=3.0, v_leak=0.2, v_reset=0.5), "nir", {}, nir_cuba, {"v": 0, "i": 0},
        ),
        (node("IF", r=[1.0], v_threshold=[0.25]), "sinabs", {}, sinabs_iaf, {"v": 0}),
        (lif(1, tau=10.0, r=1.0, v_threshold=0.5), "sinabs", {}, sinabs_lif, {"v": 0}),
        (node("IF", r=[1e4], v_threshold=[1.0]), "spikingjelly", {}, integrate_and_fire, {"v": 0}),
        (node("Threshold", threshold=[0.4]), "nir", {}, threshold, {}),
    ],
)  # fmt: skip
def test_neuron_follows_its_framework(
    tmp_path: Path,
    neuron: Node,
    producer: str,
    options: dict[str, Any],
    step: Replay,
    initial: dict[str, float],
) -> None:
    network = one_neuron(tmp_path, neuron, producer, **options)
    run = run_float(network, DRIVE.reshape(1, STEPS, 1))
    wanted = replayed(step, **initial)
    assert wanted.any()
    np.testing.assert_array_equal(run.spikes[0, :, 0], wanted)


@pytest.mark.parametrize(
    ("neuron", "step", "initial"),
    [
        (
            node("LI", tau=[1e-3], r=[10.0], v_leak=[0.5]),
            lambda x, s: s.update(v=s["v"] + 0.1 * (0.5 - s["v"] + 10 * x)) or s["v"],
            {"v": 0.0},
        ),
        (
            node("CubaLI", tau_mem=[1e-3], tau_syn=[5e-4], r=[10.0], w_in=[5.0], v_leak=[0.0]),
            lambda x, s: (
                s.update(i=0.8 * s["i"] + x) or s.update(v=0.9 * s["v"] + s["i"]) or s["v"]
            ),
            {"v": 0.0, "i": 0.0},
        ),
        (node("I", r=[1e4]), lambda x, s: s.update(v=s["v"] + x) or s["v"], {"v": 0.0}),
    ],
)
def test_integrators(tmp_path: Path, neuron: Node, step: Replay, initial: dict) -> None:
    network = one_neuron(tmp_path, neuron, "nir")
    assert not network.populations[0].spiking
    run = run_float(network, DRIVE.reshape(1, STEPS, 1))
    wanted = replayed(step, **initial)
    np.testing.assert_allclose(run.spikes[0, :, 0], wanted, rtol=1e-12)
    np.testing.assert_allclose(run.membrane_sums[0, 0], wanted.sum(), rtol=1e-12)


def test_an_exact_hit_fires_by_ge_only(tmp_path: Path) -> None:
    path = write(tmp_path / "n.nir", chain((1,), (1,), n=lif(1, tau=1e-4, r=1.0)))
    hit = np.array([[[1.0], [0.5], [1.0]]])
    assert run_float(load_network(path, "nir"), hit).counts[0, 0] == 0
    assert run_float(load_network(path, "nir", compare="ge"), hit).counts[0, 0] == 2


@pytest.mark.parametrize("bias_acts", [True, False])
@pytest.mark.parametrize("neuron", ["lif", "cuba"])
def test_recurrent_neuron_and_its_bias_at_the_start(
    tmp_path: Path, neuron: str, bias_acts: bool
) -> None:
    made = lif(1) if neuron == "lif" else cuba(1)
    root = graph(
        {
            "i": node("Input", shape=[1]), "n": made, "o": node("Output", shape=[1]),
            "rec": node("Affine", weight=[[-0.7]], bias=[0.4]),
        },
        [("i", "n"), ("n", "rec"), ("rec", "n"), ("n", "o")],
    )  # fmt: skip
    network = load_network(
        write(tmp_path / "n.nir", root),
        "snntorch",
        reset="subtract",
        reset_timing="same",
        recurrent_bias_at_start=bias_acts,
    )
    v = i = spike = 0.0
    wanted = []
    for t, x in enumerate(DRIVE.tolist()):
        total = x - 0.7 * spike + (0.4 if t > 0 or bias_acts else 0.0)
        i = 0.8 * i + total
        v = 0.9 * v + (total if neuron == "lif" else i)
        spike = float(v > 1)
        v -= spike
        wanted.append(spike)
    run = run_float(network, DRIVE.reshape(1, STEPS, 1))
    np.testing.assert_array_equal(run.spikes[0, :, 0], wanted)


def test_recurrent_snntorch_reset_to_zero_wipes(tmp_path: Path) -> None:
    root = graph(
        {
            "i": node("Input", shape=[1]), "r": lif(1), "p": lif(1),
            "rec": node("Linear", weight=[[-0.7]]), "o": node("Output", shape=[1]),
        },
        [("i", "r"), ("r", "rec"), ("rec", "r"), ("r", "p"), ("p", "o")],
    )  # fmt: skip
    network = load_network(write(tmp_path / "n.nir", root), "snntorch", reset="zero")
    assert network.population("r").reset_mode == ResetMode.WIPE
    assert network.population("p").reset_mode == ResetMode.ZERO
    assert any("loses the whole update in r (" in note for note in network.notes)
    v = spike = 0.0
    wanted = []
    for x in DRIVE.tolist():  # snn.RLeaky: (beta v + x + W spike) * (1 - reset)
        v = (0.9 * v + x - 0.7 * spike) * (1.0 - float(v > 1))
        spike = float(v > 1)
        wanted.append(spike)
    run = run_float(network, DRIVE.reshape(1, STEPS, 1), record=["r"])
    np.testing.assert_array_equal(run.recorded["r"][0, :, 0], wanted)


def test_an_infinite_time_constant_is_a_beta_of_one(tmp_path: Path) -> None:
    network = one_neuron(tmp_path, lif(1, tau=np.inf, r=np.inf), "snntorch")
    assert network.populations[0].decay_mem[0] == 1.0
    assert network.projections[0].weight.toarray() == [[1.0]]
    assert any("a beta of 1" in note for note in network.notes)


def test_the_gain_of_a_literal_if_is_noted(tmp_path: Path) -> None:
    network = one_neuron(tmp_path, node("IF", r=[1.0], v_threshold=[1.0]), "nir")
    np.testing.assert_allclose(network.projections[0].weight.toarray(), 1e-4)
    assert any("multiplies its input by 0.0001" in note for note in network.notes)


@pytest.mark.parametrize(
    ("neuron", "producer", "message"),
    [
        (lif(1, tau=0.0), "nir", "node 'n': tau must be above 0, not 0"),
        (lif(1, tau=-1e-3), "nir", "tau must be above 0"),
        (lif(1, tau=5e-5), "nir", "dt/tau is 2, so its decay would be below 0"),
        (cuba(1, tau_syn=5e-5), "nir", "dt/tau_syn is 2"),
        (cuba(1), "sinabs", "sinabs writes no CubaLIF"),
        (lif(1, r=np.inf), "nir", "r must be finite"),
        (lif(1, v_threshold=0.0), "sinabs", "several spikes a timestep need a threshold above 0"),
    ],
)
def test_impossible_parameters(tmp_path: Path, neuron: Node, producer: str, message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        one_neuron(tmp_path, neuron, producer)


def test_per_neuron_parameters_broadcast(tmp_path: Path) -> None:
    neuron = lif(3)
    neuron["v_threshold"] = np.array([1.0, 2.0, 3.0])
    neuron["tau"] = np.array(1e-3)
    path = write(tmp_path / "n.nir", chain((3,), (3,), n=neuron))
    population = load_network(path, "nir").populations[0]
    np.testing.assert_array_equal(population.threshold, [1, 2, 3])
    np.testing.assert_allclose(population.decay_mem, [0.9] * 3)
    assert population.kind == NeuronKind.LIF
