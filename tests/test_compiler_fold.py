"""Folding: linear nodes against loops written out, sums of paths, delays, cycles."""

import time
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from spikeloom.chip.arithmetic import NeuronKind
from spikeloom.compiler.frontend import check_network, load_network, load_with_records
from spikeloom.compiler.graph import Input, Network, Projection, uniform_population
from spikeloom.compiler.linear_nodes import linear_map, output_shape
from spikeloom.compiler.nir_fields import FIELDS
from spikeloom.compiler.nir_file import NetworkError, NirNode
from spikeloom.compiler.recurrence import cut_cycles, order
from spikeloom.compiler.reference_float import run_float

from .support.nir_builder import Node, chain, graph, lif, node, write

Shape = tuple[int, ...]


def nir_node(kind: str, **fields: object) -> NirNode:
    optional = {k: v for k, v in FIELDS[kind][1].items() if v is not None}
    return NirNode("n", kind, {k: np.asarray(v) for k, v in {**optional, **fields}.items()})


def applied(made: NirNode, x: np.ndarray) -> np.ndarray:
    """Return what ``made`` gives for ``x``, by its matrix and bias."""
    matrix, bias = linear_map(made, x.shape)
    flat = x.ravel() if matrix is None else matrix @ x.ravel()
    return (flat if bias is None else flat + bias).reshape(output_shape(made, x.shape))


def loop_conv(
    x: np.ndarray, w: np.ndarray, b: np.ndarray, stride: int, pad: int, dilation: int, groups: int
) -> np.ndarray:
    """Return a convolution of any number of spatial axes, written as a loop over outputs."""
    axes = x.ndim - 1
    x = np.pad(x, [(0, 0), *[(pad, pad)] * axes])
    kernel = w.shape[2:]
    sizes = [
        (n - dilation * (k - 1) - 1) // stride + 1 for n, k in zip(x.shape[1:], kernel, strict=True)
    ]
    out = np.zeros((w.shape[0], *sizes))
    for o, *place in product(*map(range, out.shape)):
        first = o // (w.shape[0] // groups) * w.shape[1]
        for c, *tap in product(range(w.shape[1]), *map(range, kernel)):
            at = tuple(p * stride + t * dilation for p, t in zip(place, tap, strict=True))
            out[(o, *place)] += w[(o, c, *tap)] * x[(first + c, *at)]
    return out + b.reshape(-1, *[1] * axes)


@settings(max_examples=60, deadline=None)
@given(
    axes=st.integers(1, 2),
    groups=st.integers(1, 2),
    per_group=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    kernel=st.integers(1, 3),
    extra=st.integers(0, 4),
    stride=st.integers(1, 3),
    pad=st.integers(0, 2),
    dilation=st.integers(1, 2),
    seed=st.integers(0, 99),
)
def test_convolution_against_a_loop(
    axes: int, groups: int, per_group: tuple[int, int], kernel: int, extra: int, stride: int,
    pad: int, dilation: int, seed: int,
) -> None:  # fmt: skip
    rng = np.random.default_rng(seed)
    size = dilation * (kernel - 1) + 1 + extra
    x = rng.normal(size=(groups * per_group[0], *range(size, size + axes)))
    w = rng.normal(size=(groups * per_group[1], per_group[0], *[kernel] * axes))
    b = rng.normal(size=w.shape[0])
    made = nir_node(
        f"Conv{axes}d", weight=w, bias=b, stride=stride, padding=[pad] * axes,
        dilation=[dilation] * axes, groups=groups,
    )  # fmt: skip
    wanted = loop_conv(x, w, b, stride, pad, dilation, groups)
    np.testing.assert_allclose(applied(made, x), wanted, atol=1e-12)


@pytest.mark.parametrize("kind", ["Conv1d", "Conv2d"])
@pytest.mark.parametrize(("kernel", "dilation"), [(3, 1), (3, 2), (2, 1), (4, 1)])
def test_padding_as_a_word(kind: str, kernel: int, dilation: int) -> None:
    axes = int(kind[4])
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(1, *[7] * axes)), rng.normal(size=(1, 1, *[kernel] * axes))
    same = nir_node(kind, weight=w, padding="same", dilation=dilation)
    total = dilation * (kernel - 1)
    padded = np.pad(x, [(0, 0), *[(total // 2, total - total // 2)] * axes])
    wanted = loop_conv(padded, w, np.zeros(1), 1, 0, dilation, 1)
    assert wanted.shape == x.shape
    np.testing.assert_allclose(applied(same, x), wanted, atol=1e-12)
    valid = nir_node(kind, weight=w, padding="valid", dilation=dilation)
    wanted = loop_conv(x, w, np.zeros(1), 1, 0, dilation, 1)
    np.testing.assert_allclose(applied(valid, x), wanted, atol=1e-12)


@pytest.mark.parametrize(("kernel", "stride", "pad"), [(2, 2, 0), (3, 2, 1), (2, 1, 0), (3, 3, 0)])
@pytest.mark.parametrize("kind", ["SumPool2d", "AvgPool2d"])
def test_pools(kind: str, kernel: int, stride: int, pad: int) -> None:
    x = np.random.default_rng(1).normal(size=(3, 6, 7))
    w = np.zeros((3, 3, kernel, kernel))
    w[range(3), range(3)] = 1.0 if kind == "SumPool2d" else 1.0 / kernel**2
    wanted = loop_conv(x, w, np.zeros(3), stride, pad, 1, 1)
    made = nir_node(kind, kernel_size=kernel, stride=[stride, stride], padding=pad)
    np.testing.assert_allclose(applied(made, x), wanted, atol=1e-12)


def test_scale_affine_and_last_axis() -> None:
    rng = np.random.default_rng(2)
    x, s, w = rng.normal(size=(2, 3)), rng.normal(size=(2, 1)), rng.normal(size=(4, 3))
    np.testing.assert_allclose(applied(nir_node("Scale", scale=s), x), s * x)
    made = nir_node("Affine", weight=w, bias=np.arange(4.0))
    np.testing.assert_allclose(applied(made, x), x @ w.T + np.arange(4))


@pytest.mark.parametrize(
    ("fields", "shape", "wanted"),
    [
        ({"start_dim": 0, "end_dim": -1}, (2, 3, 4), (24,)),
        ({"start_dim": 1, "end_dim": 2}, (2, 3, 4), (2, 12)),
        ({"start_dim": 0, "end_dim": 1}, (2, 3, 4), (6, 4)),
        ({"start_dim": 1, "end_dim": -1, "input_type": [1, 2, 3, 4]}, (2, 3, 4), (24,)),
        ({"start_dim": 1, "end_dim": -1}, (24,), (24,)),
    ],
)
def test_flatten(fields: dict[str, object], shape: Shape, wanted: Shape) -> None:
    assert output_shape(nir_node("Flatten", **fields), shape) == wanted


@pytest.mark.parametrize(
    ("made", "shape", "message"),
    [
        (nir_node("Conv2d", weight=np.ones((2, 3, 3, 3))), (2, 5, 5), "takes 3 channels"),
        (nir_node("Conv2d", weight=np.ones((2, 2, 3, 3))), (2, 2, 2), "does not fit an input"),
        (nir_node("Conv2d", weight=np.ones((2, 2, 3))), (2, 5, 5), "weight has 4 axes"),
        (nir_node("Conv2d", weight=np.ones((2, 2, 3, 3))), (50,), "takes .channels, height"),
        (nir_node("Conv1d", weight=np.ones((2, 1, 3)), groups=3), (2, 5), "3 groups do not divide"),
        (
            nir_node("Conv1d", weight=np.ones((2, 2, 3)), stride=0),
            (2, 5),
            "stride must be at least",
        ),
        (
            nir_node("Conv2d", weight=np.ones((2, 2, 3, 3)), padding="same", stride=2),
            (2, 5, 5),
            "'same' needs stride 1",
        ),
        (
            nir_node("Conv2d", weight=np.ones((2, 2, 3, 3)), input_shape=[6, 6]),
            (2, 5, 5),
            r"input_shape says \(6, 6\)",
        ),
        (nir_node("Conv1d", weight=np.ones((2, 2, 3)), bias=np.ones(3)), (2, 5), "bias has 3"),
        (nir_node("Scale", scale=np.ones(4)), (5,), "'scale' has shape"),
        (nir_node("SumPool2d", kernel_size=2, padding=1 << 18), (1, 4, 4), "the limit is"),
    ],
)
def test_impossible_linear_nodes(made: NirNode, shape: Shape, message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        applied(made, np.zeros(shape))


def test_pool_and_convolution_fold_into_one_projection(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    w, b = rng.normal(size=(3, 2, 3, 3)), rng.normal(size=3)
    middle = {
        "pool": node("AvgPool2d", kernel_size=[2, 2], stride=[2, 2], padding=[0, 0]),
        "conv": node("Conv2d", weight=w, bias=b, stride=1, padding=1, dilation=1, groups=1),
        "gain": node("Scale", scale=np.array([2.0, 3.0, 4.0]).reshape(3, 1, 1)),
        "flat": node("Flatten", start_dim=0, end_dim=-1, input_type=[3, 2, 2]),
        "n": lif(12),
    }
    network = load_network(write(tmp_path / "n.nir", chain((2, 4, 4), (12,), **middle)), "nir")
    (projection,) = network.projections
    x = rng.normal(size=(2, 4, 4))
    pooled = x.reshape(2, 2, 2, 2, 2).mean(axis=(2, 4))
    wanted = loop_conv(pooled, w, b, 1, 1, 1, 1) * np.array([2.0, 3, 4]).reshape(3, 1, 1)
    got = projection.weight @ x.ravel() + network.populations[0].bias
    np.testing.assert_allclose(got, wanted.ravel(), atol=1e-12)
    assert (projection.source, projection.target, projection.delay) == ("input", "n", 0)


def test_a_large_pool_and_convolution_unroll_quickly() -> None:
    rng = np.random.default_rng(5)
    pool, _ = linear_map(nir_node("AvgPool2d", kernel_size=2), (24, 28, 28))
    made = nir_node("Conv2d", weight=rng.normal(size=(48, 24, 3, 3)), padding=1)
    begin = time.perf_counter()
    matrix, _ = linear_map(made, (24, 14, 14))
    assert matrix is not None
    assert pool is not None
    assert sparse.csr_array(matrix @ pool).nnz == 48 * 24 * (14 * 3 - 2) ** 2 * 4
    assert time.perf_counter() - begin < 3


def residual(tmp_path: Path, extra_edges: list[tuple[str, str]]) -> Network:
    eye = np.eye(2)
    nodes: dict[str, Node] = {
        "in": node("Input", shape=[2]), "a": lif(2), "b": lif(2), "c": lif(2),
        "w": node("Affine", weight=3 * eye, bias=[0.5, 0.25]),
        "u": node("Linear", weight=5 * eye), "out": node("Output", shape=[2]),
    }  # fmt: skip
    edges = [("in", "a"), ("a", "w"), ("w", "b"), ("b", "c"), ("c", "out"), *extra_edges]
    return load_network(write(tmp_path / "n.nir", graph(nodes, edges)), "nir")


def test_several_inputs_into_a_node_are_added(tmp_path: Path) -> None:
    # c = b + a + w(a), and u(a + b) reaches it as well: two sources, one projection each
    network = residual(tmp_path, [("a", "c"), ("w", "c"), ("a", "u"), ("b", "u"), ("u", "c")])
    found = {p.source: p.weight.toarray() for p in network.into("c")}
    np.testing.assert_allclose(found["a"], (1 + 3 + 5) * np.eye(2))
    np.testing.assert_allclose(found["b"], (1 + 5) * np.eye(2))
    np.testing.assert_allclose(network.population("c").bias, [0.5, 0.25])
    assert [p.name for p in network.populations] == ["a", "b", "c"]


def test_dead_nodes_are_dropped_with_a_note(tmp_path: Path) -> None:
    network = residual(tmp_path, [("b", "u")])
    assert any("Dropped u (Linear): no Output depends on it" in note for note in network.notes)


def test_the_recurrent_edge_is_the_one_back_to_the_input_side(tmp_path: Path) -> None:
    network = residual(tmp_path, [("c", "u"), ("u", "a"), ("b", "w")])
    delays = {(p.source, p.target): p.delay for p in network.projections}
    assert delays == {
        ("in", "a"): 0, ("c", "a"): 1, ("a", "b"): 0, ("b", "b"): 1, ("b", "c"): 0,
    }  # fmt: skip
    assert any("b -> b, c -> a" in note for note in network.notes)
    x = np.random.default_rng(6).random((2, 20, 2))
    run = run_float(network, x, record=["a", "b", "c"])
    a, b, c = (run.recorded[k] for k in "abc")
    fed = np.concatenate([np.zeros((2, 1, 2)), c[:, :-1]], axis=1)
    v = np.zeros((2, 2))
    for t in range(20):
        v = 0.9 * v + x[:, t] + 5 * fed[:, t]
        np.testing.assert_array_equal(a[:, t], v > 1)
        v = np.where(v > 1, 0, v)
    assert b.any()


def test_a_delay_is_split_by_its_entries_and_delays(tmp_path: Path) -> None:
    middle = {"d": node("Delay", delay=[0.0, 2e-4, 2.02e-4]), "n": lif(3, tau=1e-4, r=1.0)}
    network = load_network(write(tmp_path / "n.nir", chain((3,), (3,), **middle)), "nir")
    assert [p.delay for p in network.projections] == [0, 2]
    assert any("rounded by up to 0.02 timesteps" in note for note in network.notes)
    x = np.zeros((1, 5, 3))
    x[0, 1] = 2
    spikes = run_float(network, x).spikes[0]
    np.testing.assert_array_equal(np.argwhere(spikes), [[1, 0], [3, 1], [3, 2]])


def test_a_delay_on_a_cycle_is_its_delay(tmp_path: Path) -> None:
    root = graph(
        {
            "i": node("Input", shape=[1]), "n": lif(1, tau=1e-4, r=1.0),
            "d": node("Delay", delay=[3e-4]), "o": node("Output", shape=[1]),
        },
        [("i", "n"), ("n", "d"), ("d", "n"), ("n", "o")],
    )  # fmt: skip
    network = load_network(write(tmp_path / "n.nir", root), "nir", compare="ge")
    assert [p.delay for p in network.into("n")] == [0, 3]
    x = np.zeros((1, 10, 1))
    x[0, 0] = 1
    spikes = run_float(network, x).spikes[0, :, 0]
    np.testing.assert_array_equal(np.flatnonzero(spikes), [0, 3, 6, 9])


def test_a_transform_into_the_output_is_read_from_an_integrator(tmp_path: Path) -> None:
    w = np.arange(6.0).reshape(3, 2)
    middle = {"n": lif(2), "fc": node("Affine", weight=w, bias=[1.0, 2.0, 3.0])}
    network = load_network(write(tmp_path / "n.nir", chain((2,), (3,), **middle)), "nir")
    assert network.outputs == ("output",)
    assert network.population("output").kind == NeuronKind.INTEGRATOR
    x = np.random.default_rng(7).random((3, 12, 2))
    run = run_float(network, x, record=["n"])
    np.testing.assert_allclose(run.spikes, run.recorded["n"] @ w.T + [1, 2, 3])
    np.testing.assert_allclose(run.counts, run.spikes.sum(axis=1))


def test_two_populations_into_one_output_are_added_and_two_outputs_stay_two(
    tmp_path: Path,
) -> None:
    nodes: dict[str, Node] = {
        "i": node("Input", shape=[2]), "j": node("Input", shape=[2]), "a": lif(2), "b": lif(2),
        "o": node("Output", shape=[2]), "p": node("Output", shape=[2]),
    }  # fmt: skip
    edges = [("i", "a"), ("j", "b"), ("a", "o"), ("b", "o"), ("b", "p")]
    network = load_network(write(tmp_path / "n.nir", graph(nodes, edges)), "nir")
    assert network.outputs == ("o", "b")
    x = np.random.default_rng(8).random((2, 9, 4)) * 2
    run = run_float(network, x, record=["a", "b"])
    both = run.recorded["a"] + run.recorded["b"]
    np.testing.assert_array_equal(run.spikes, np.concatenate([both, run.recorded["b"]], axis=2))
    assert run.recorded["a"].any()
    assert not np.array_equal(run.recorded["a"], run.recorded["b"])


def test_an_integrator_in_the_middle_is_refused(tmp_path: Path) -> None:
    li = node("LI", tau=[1e-3], r=[10.0], v_leak=[0.0])
    root = chain((1,), (1,), li=li, fc=node("Linear", weight=[[2.0]]), n=lif(1))
    with pytest.raises(NetworkError, match=r"node 'li': an integrator .* feeds 'n'"):
        load_network(write(tmp_path / "n.nir", root), "nir")


def test_a_cycle_without_a_neuron_is_refused(tmp_path: Path) -> None:
    root = chain((1,), (1,), a=node("Scale", scale=[2.0]), b=node("Scale", scale=[3.0]), n=lif(1))
    root["edges"] = [*root["edges"], ("b", "a")]
    with pytest.raises(NetworkError, match="form a cycle without a neuron"):
        load_network(write(tmp_path / "n.nir", root), "nir")


def test_inputs_of_different_shape_are_refused(tmp_path: Path) -> None:
    root = chain((2,), (3,), n=lif(2), fc=node("Linear", weight=np.ones((3, 2))), m=lif(3))
    root["edges"] = [*root["edges"], ("n", "m")]
    with pytest.raises(NetworkError, match=r"node 'm': its inputs differ in shape"):
        load_network(write(tmp_path / "n.nir", root), "nir")


def test_a_recurrent_bias_that_cannot_be_held_back_is_refused(tmp_path: Path) -> None:
    root = graph(
        {
            "i": node("Input", shape=[1]), "n": lif(1, tau=1e-4, r=1.0),
            "rec": node("Affine", weight=[[1.0]], bias=[0.5]), "o": node("Output", shape=[1]),
        },
        [("i", "n"), ("n", "rec"), ("rec", "n"), ("n", "o")],
    )  # fmt: skip
    path = write(tmp_path / "n.nir", root)
    with pytest.raises(NetworkError, match="recurrent bias must not act in the first timestep"):
        load_network(path, "nir", recurrent_bias_at_start=False)
    assert load_network(path, "nir").populations[0].bias == [0.5]


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=20))
def test_cutting_leaves_no_cycle_and_cuts_nothing_without_one(pairs: list) -> None:
    nodes = [f"n{i}" for i in range(6)]
    edges = [(f"n{a}", f"n{b}") for a, b in dict.fromkeys(pairs)]
    cut = cut_cycles(nodes, edges, ["n0"])
    place = {n: i for i, n in enumerate(order(nodes, [e for e in edges if e not in cut]))}
    assert all(place[a] < place[b] for a, b in edges if (a, b) not in cut)
    forward = [(a, b) for a, b in edges if a < b]
    assert cut_cycles(nodes, forward, ["n0"]) == set()


def test_records_name_every_pass(tmp_path: Path) -> None:
    loaded = load_with_records(write(tmp_path / "n.nir", chain((2,), (2,), n=lif(2))), "nir")
    assert [record.name for record in loaded.passes] == [
        "import", "convention", "shapes", "lower", "fold",
    ]  # fmt: skip
    assert all(record.summary for record in loaded.passes)
    assert "n: LIF 2 neurons, decay 0.9, gain 1, threshold 1, ZERO" in loaded.passes[3].details


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"outputs": ()}, "has no output"),
        ({"outputs": ("i",)}, "the output 'i' is not a population"),
        ({"inputs": (Input("a", (2,)),)}, "two nodes have the same name"),
        ({"projections": (Projection("x", "a", sparse.csr_array(np.eye(2))),)}, "does not exist"),
        ({"projections": (Projection("i", "a", sparse.csr_array((2, 3))),)}, "weights are"),
        ({"projections": (Projection("i", "a", sparse.csr_array(np.eye(2)), -1),)}, "negative"),
        ({"projections": (Projection("b", "a", sparse.csr_array(np.eye(2))),)}, "must come before"),
        (
            {"projections": (Projection("i", "a", sparse.csr_array(np.full((2, 2), np.inf))),)},
            "not finite",
        ),
        (
            {"populations": (uniform_population("a", NeuronKind.LIF, (2,), decay_mem=1.5),)},
            "decay_mem must lie in 0 to 1",
        ),
    ],
)
def test_the_invariants_are_checked(change: dict[str, Any], message: str) -> None:
    parts: dict[str, Any] = {
        "inputs": (Input("i", (2,)),),
        "populations": tuple(uniform_population(n, NeuronKind.LIF, (2,)) for n in "ab"),
        "projections": (Projection("i", "a", sparse.csr_array(np.eye(2))),),
        "outputs": ("a",),
    }
    check_network(Network(**parts))
    with pytest.raises(NetworkError, match=message):
        check_network(Network(**{**parts, **change}))


def test_activations_of_conventional_layers() -> None:
    relu = uniform_population("r", NeuronKind.RELU, (2,), bias=[0.5, -0.5])
    table = uniform_population("t", NeuronKind.TABLE, (2,), activation="tanh")
    eye = sparse.csr_array(np.eye(2))
    network = Network(
        (Input("i", (2,)),), (relu, table), (Projection("i", "r", eye), Projection("r", "t", eye)),
        ("t",),
    )  # fmt: skip
    x = np.array([[[1.0, 0.2], [-1.0, 2.0]]])
    run = run_float(network, x, record=["r"])
    np.testing.assert_allclose(run.recorded["r"], np.maximum(x + np.array([0.5, -0.5]), 0))
    np.testing.assert_allclose(run.spikes, np.tanh(run.recorded["r"]))
    np.testing.assert_allclose(run.activity["r"].max_input, [1.5, 1.5])
    np.testing.assert_allclose(run.activity["r"].mean, [0.75, 0.75])


def test_run_float_refuses_inputs_that_do_not_fit(tmp_path: Path) -> None:
    network = load_network(write(tmp_path / "n.nir", chain((2,), (2,), n=lif(2))), "nir")
    with pytest.raises(ValueError, match=r"inputs must be \(samples, timesteps, 2\)"):
        run_float(network, np.zeros((1, 4, 3)))
    with pytest.raises(ValueError, match="record names"):
        run_float(network, np.zeros((1, 4, 2)), record=["m"])
