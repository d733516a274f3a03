"""Conventions: defaults per producer, detection where the file gives it away, refusal elsewhere."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikeloom.chip.arithmetic import Compare, ResetMode, ResetTiming
from spikeloom.compiler.conventions import DEFAULTS, PRODUCERS, detect, resolve
from spikeloom.compiler.frontend import load_network
from spikeloom.compiler.nir_file import NetworkError, NirGraph, read_nir

from .support.nir_builder import Node, chain, cuba, lif, node, write


def graph_of(tmp_path: Path, neuron: Node, name: str = "n", size: int = 2) -> NirGraph:
    weight = np.ones((size, 3), dtype="f4")
    middle = {"_0": node("Linear", weight=weight), name: neuron}
    return read_nir(write(tmp_path / "n.nir", chain((3,), (size,), **middle)))


def single(neuron: Node) -> Node:
    return {k: v if isinstance(v, str) else np.asarray(v, "f4") for k, v in neuron.items()}


@pytest.mark.parametrize(
    ("neuron", "name", "producer"),
    [
        (single(lif(2)), "1", "snntorch"),
        (single(cuba(2)), "1", "snntorch"),
        (lif(2), "_2", "spikingjelly"),
        (node("IF", r=np.full(2, 1e4), v_threshold=np.ones(2)), "n", "spikingjelly"),
        (single(lif(2, tau=5e-6, r=1)), "1", "norse"),
        (single(cuba(2, tau_mem=1e-5, tau_syn=5e-6, r=1, w_in=1)), "1", "norse"),
    ],
)
def test_recognises(tmp_path: Path, neuron: Node, name: str, producer: str) -> None:
    found, reason = detect(graph_of(tmp_path, neuron, name))
    assert found == producer
    assert reason


@pytest.mark.parametrize(
    ("neuron", "name"),
    [
        pytest.param(lif(2), "n", id="r = tau/dt in double precision could be two frameworks"),
        pytest.param(single(lif(2, r=1)), "1", id="r = 1 with an ordinary tau"),
        pytest.param(single(lif(2, tau=1e-4, r=1)), "1", id="r = tau/dt, but all of them 1"),
        pytest.param(single(lif(2, tau=5e-6, r=2)), "1", id="a small tau, but a gain"),
        pytest.param(node("IF", r=np.ones(2), v_threshold=np.ones(2)), "n", id="IF, r = 1"),
        pytest.param(node("Threshold", threshold=np.ones(2)), "n", id="no decay at all"),
    ],
)
def test_refuses_to_guess(tmp_path: Path, neuron: Node, name: str) -> None:
    graph = graph_of(tmp_path, neuron, name)
    with pytest.raises(NetworkError, match="State the producer") as caught:
        resolve(graph)
    assert all(f"  {producer}: " in str(caught.value) for producer in PRODUCERS)


def test_assumptions_are_noted_and_echoed(tmp_path: Path) -> None:
    path = write(tmp_path / "n.nir", chain((2,), (2,), n=single(lif(2))))
    network = load_network(path)
    assert network.convention["producer"] == "snntorch"
    assert network.convention["reset"] == "subtract"
    assert any("Read as written by snntorch" in note for note in network.notes)
    assert any("reset subtract, reset_timing next" in note for note in network.notes)
    stated = load_network(path, "snntorch", reset="zero", reset_timing="same", dt=1e-4)
    assert any(n.endswith("snntorch's defaults: compare gt, max_spikes 1.") for n in stated.notes)


@pytest.mark.parametrize(
    ("producer", "mode", "timing", "compare", "most", "floor"),
    [
        ("nir", ResetMode.ZERO, ResetTiming.SAME, Compare.GT, 1, False),
        ("snntorch", ResetMode.SUBTRACT, ResetTiming.NEXT, Compare.GT, 1, False),
        ("spikingjelly", ResetMode.ZERO, ResetTiming.SAME, Compare.GE, 1, False),
        ("norse", ResetMode.ZERO, ResetTiming.SAME, Compare.GT, 1, False),
        ("sinabs", ResetMode.SUBTRACT, ResetTiming.SAME, Compare.GE, 255, True),
    ],
)
def test_defaults(
    tmp_path: Path,
    producer: str,
    mode: ResetMode,
    timing: ResetTiming,
    compare: Compare,
    most: int,
    floor: bool,
) -> None:
    neuron = node("IF", r=np.ones(2), v_threshold=np.ones(2))
    network = load_network(write(tmp_path / "n.nir", chain((2,), (2,), n=neuron)), producer)
    found = network.populations[0]
    assert (found.reset_mode, found.reset_timing, found.compare) == (mode, timing, compare)
    assert (found.max_spikes, found.floor) == (most, floor)


def test_single_options_override(tmp_path: Path) -> None:
    graph = graph_of(tmp_path, lif(2))
    convention, _ = resolve(graph, "snntorch", reset="zero", compare="ge", dt=2e-4, floor=None)
    assert (convention.reset, convention.compare, convention.dt) == ("zero", "ge", 2e-4)
    assert convention.reset_timing == DEFAULTS["snntorch"].reset_timing


def test_a_reset_value_in_the_file_wins_over_the_default(tmp_path: Path) -> None:
    graph = graph_of(tmp_path, lif(2, v_reset=-0.5))
    for producer in ("snntorch", "sinabs"):
        convention, notes = resolve(graph, producer)
        assert convention.reset == "value"
        assert convention.max_spikes == 1
        assert any("resets n to a v_reset other than 0" in note for note in notes)
    assert resolve(graph, "snntorch", reset="subtract")[0].reset == "subtract"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"producer": "brian"}, "producer must be auto or one of nir, snntorch"),
        ({"reset": "none"}, "reset must be one of value, zero, subtract, wipe, not 'none'"),
        ({"compare": ">"}, "compare must be one of gt, ge"),
        ({"dt": 0.0}, "dt must be a positive number"),
        ({"dt": float("nan")}, "dt must be a positive number"),
        ({"max_spikes": 0}, "max_spikes must be at least 1"),
        ({"max_spikes": 4}, "Several spikes in a timestep need reset=subtract"),
        ({"refractory": 1}, "no convention option refractory"),
    ],
)
def test_impossible_options(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    graph = graph_of(tmp_path, lif(2))
    with pytest.raises(NetworkError, match=message):
        resolve(graph, **{"producer": "nir", **options})


def test_a_step_longer_than_the_time_constant_names_the_norse_trap(tmp_path: Path) -> None:
    path = write(tmp_path / "n.nir", chain((2,), (2,), n=single(lif(2, tau=5e-6, r=1))))
    with pytest.raises(NetworkError, match=r"node 'n': dt/tau is 200, .* needs dt 1e-6"):
        load_network(path, "norse", dt=1e-3)
    np.testing.assert_allclose(load_network(path).populations[0].decay_mem, 0.8, rtol=1e-6)
