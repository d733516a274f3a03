"""The import pass: what frameworks write is read, and what cannot be read is explained."""

from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spikeloom.compiler import nir_file
from spikeloom.compiler.frontend import load_network
from spikeloom.compiler.nir_file import NetworkError, read_nir

from .support.nir_builder import Node, chain, graph, lif, node, write


def affine(outputs: int, inputs: int, seed: int = 0) -> Node:
    rng = np.random.default_rng(seed)
    return node("Affine", weight=rng.normal(size=(outputs, inputs)), bias=rng.normal(size=outputs))


def test_reads_what_the_nir_package_writes(tmp_path: Path) -> None:
    weight = np.arange(6.0).reshape(2, 3)
    ones = np.ones(2)
    written = nir.NIRGraph(
        nodes={
            "input": nir.Input({"input": np.array([3])}),
            "fc": nir.Affine(weight, np.array([1.0, 2.0])),
            "lif": nir.LIF(tau=ones, r=ones, v_leak=0 * ones, v_threshold=ones),
            "output": nir.Output({"output": np.array([2])}),
        },
        edges=[("input", "fc"), ("fc", "lif"), ("lif", "output")],
    )
    nir.write(tmp_path / "net.nir", written)
    read = read_nir(tmp_path / "net.nir")
    assert {name: n.type for name, n in read.nodes.items()} == {
        "fc": "Affine", "input": "Input", "lif": "LIF", "output": "Output",
    }  # fmt: skip
    assert set(read.edges) == {("input", "fc"), ("fc", "lif"), ("lif", "output")}
    np.testing.assert_array_equal(read.nodes["fc"].floats("weight"), weight)
    assert read.version == nir.version


@pytest.mark.parametrize(
    ("shape", "out", "middle"),
    [
        pytest.param((3,), (2,), {"fc": affine(2, 3), "n": lif()}, id="scalar parameters"),
        pytest.param((1, 3), (1, 2), {"fc": affine(2, 3), "n": lif((1, 2))}, id="batch of one"),
        pytest.param((1, 3), (2,), {"fc": affine(2, 3), "n": lif(2)}, id="batch on the input only"),
        pytest.param((3,), (2,), {"a.b": affine(2, 3), "a.b.c": lif(2)}, id="dots in names"),
        pytest.param((3,), (2,), {"a/b": affine(2, 3), "a/c": lif(2)}, id="slashes in names"),
        pytest.param(
            (2, 4, 4),
            (2, 2, 2),
            {"p": node("AvgPool2d", kernel_size=2, stride=2, padding=0), "n": lif()},
            id="scalar pool",
        ),
    ],
)
def test_tolerates(
    tmp_path: Path, shape: tuple[int, ...], out: tuple[int, ...], middle: dict[str, dict]
) -> None:
    network = load_network(write(tmp_path / "n.nir", chain(shape, out, **middle)), "snntorch")
    assert [p.size for p in network.populations] == [int(np.prod(out))]
    assert network.projections[0].weight.shape == (np.prod(out), np.prod(shape))


def test_any_name_for_the_input_and_missing_optional_fields(tmp_path: Path) -> None:
    neuron = lif(2)
    del neuron["v_reset"]
    root = graph(
        {"x": node("Input", shape=[3]), "f": affine(2, 3), "n": neuron, "y": node("Output")},
        [("x", "f"), ("f", "n"), ("n", "y")],
    )
    network = load_network(write(tmp_path / "n.nir", root), "nir")
    assert network.inputs[0].name == "x"
    assert network.outputs == ("n",)
    np.testing.assert_array_equal(network.populations[0].v_reset, 0.0)


def test_a_double_edge_counts_once_and_is_noted(tmp_path: Path) -> None:
    root = chain((3,), (2,), f=affine(2, 3), n=lif(2))
    root["edges"] = [*root["edges"], ("f", "n")]
    read = read_nir(write(tmp_path / "n.nir", root))
    assert len(read.edges) == 3
    assert "f -> n is written more than once" in read.notes[0]


def nested(outer_in: str, outer_out: str, inner_name: str = "lif") -> Node:
    inner = graph(
        {
            "input": node("Input", shape=[2]),
            inner_name: lif(2),
            "rec": affine(2, 2, seed=1),
            "output": node("Output", shape=[2]),
        },
        [("input", "lif"), ("lif", "rec"), ("rec", "lif"), ("lif", "output")],
    )
    nodes = {
        "in": node("Input", shape=[3]), "fc": affine(2, 3), "cell": inner,
        "out": node("Output", shape=[2]),
    }  # fmt: skip
    return graph(nodes, [("in", "fc"), ("fc", outer_in), (outer_out, "out")])


@pytest.mark.parametrize(
    ("outer_in", "outer_out"),
    [("cell", "cell"), ("cell.input", "cell.output"), ("cell.lif", "cell.lif")],
)
def test_nested_graphs_are_flattened(tmp_path: Path, outer_in: str, outer_out: str) -> None:
    network = load_network(write(tmp_path / "n.nir", nested(outer_in, outer_out)), "nir")
    assert [p.name for p in network.populations] == ["cell.lif"]
    assert [(p.source, p.delay) for p in network.into("cell.lif")] == [("in", 0), ("cell.lif", 1)]
    np.testing.assert_allclose(
        network.into("cell.lif")[1].weight.toarray(), affine(2, 2, seed=1)["weight"]
    )


def test_the_published_subgraph_misnomer_is_repaired_and_noted(tmp_path: Path) -> None:
    path = write(tmp_path / "n.nir", nested("cell", "cell", inner_name="lif1"))
    network = load_network(path, "nir")
    assert [p.name for p in network.populations] == ["cell.lif1"]
    assert any("read as 'lif1'" in note for note in network.notes)


def test_an_ambiguous_end_in_a_nested_graph_is_refused(tmp_path: Path) -> None:
    root = nested("cell", "cell")
    root["nodes"]["cell"]["nodes"]["input2"] = node("Input", shape=[2])
    with pytest.raises(NetworkError, match=r"nested graph 'cell', which has 2 Input nodes"):
        read_nir(write(tmp_path / "n.nir", root))


def test_not_hdf5(tmp_path: Path) -> None:
    path = tmp_path / "n.nir"
    path.write_text("hello")
    with pytest.raises(NetworkError, match="not a readable HDF5 file"):
        read_nir(path)
    with pytest.raises(NetworkError, match="there is no such file"):
        read_nir(tmp_path / "missing.nir")


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.95])
def test_a_truncated_file(tmp_path: Path, share: float) -> None:
    data = write(tmp_path / "n.nir", chain((3,), (2,), f=affine(2, 3), n=lif(2))).read_bytes()
    path = tmp_path / "cut.nir"
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(NetworkError, match="not a readable HDF5 file"):
        read_nir(path)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.binary(max_size=400))
def test_random_bytes(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "n.nir"
    path.write_bytes(data)
    with pytest.raises(NetworkError):
        read_nir(path)


def broken(**changes: Any) -> Node:
    root = chain((3,), (2,), f=affine(2, 3), n=lif(2))
    root["nodes"]["f"].update(changes)
    return root


@pytest.mark.parametrize(
    ("root", "message"),
    [
        (graph({}, []), "the graph is empty"),
        (graph({"o": node("Output")}, []), "has no Input node"),
        (graph({"i": node("Input", shape=[1])}, []), "has no Output node"),
        (graph({"i": node("Input", shape=[1]), "o": node("Output")}, []), "no edges"),
        (node("LIF"), "top level must be a NIRGraph"),
        (broken(type="Conv3d"), r"node 'f': the type 'Conv3d' is not supported; supported are .*"),
        (broken(weight=np.full((2, 3), np.nan)), "node 'f', field 'weight': holds NaN"),
        (broken(weight=np.full((2, 3), -np.inf)), "field 'weight': holds infinite"),
        (broken(weight=np.ones((2, 3), complex)), "must hold real numbers"),
        (broken(weight="os.system('true')"), "must hold real numbers"),
        (broken(weight=None), "a Affine needs the field 'weight'"),
        (broken(weight=np.ones((2, 5))), r"its weight takes 5 values, but \(3,\)"),
        (broken(weight=np.ones((4, 3)), bias=np.ones(4)), r"LIF of shape \(2,\), but f gives"),
        (broken(weight=np.ones(3)), r"weight must be \(outputs, inputs\)"),
        (broken(bias=np.ones(7)), "bias has 7 values for 2 outputs"),
    ],
)
def test_a_bad_graph_is_explained(tmp_path: Path, root: dict, message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        load_network(write(tmp_path / "n.nir", root), "snntorch")


def test_edges_and_outputs_that_lead_nowhere(tmp_path: Path) -> None:
    root = chain((3,), (2,), f=affine(2, 3), n=lif(2))
    root["edges"] = [("input", "f"), ("f", "gone"), ("n", "output")]
    with pytest.raises(NetworkError, match="names the node 'gone', which does not exist"):
        read_nir(write(tmp_path / "a.nir", root))
    root["edges"] = [("input", "f"), ("n", "output")]
    with pytest.raises(NetworkError, match="No path of edges leads from an Input"):
        load_network(write(tmp_path / "b.nir", root), "nir")


def test_links_out_of_the_file_are_refused(tmp_path: Path) -> None:
    secret = tmp_path / "other.h5"
    with h5py.File(secret, "w") as file:
        file["weight"] = np.ones((2, 3))
    path = write(tmp_path / "n.nir", broken(weight=None))
    with h5py.File(path, "a") as file:
        file["node/nodes/f/weight"] = h5py.ExternalLink(str(secret), "/weight")
    with pytest.raises(NetworkError, match="links to another file"):
        read_nir(path)


def test_a_compressed_bomb_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "n.nir", broken(weight=None))
    with h5py.File(path, "a") as file:
        shape, chunks = (1 << 15, 1 << 15), (1 << 10, 1 << 10)
        file.create_dataset("node/nodes/f/weight", shape, chunks=chunks, dtype="f8")
    with pytest.raises(NetworkError, match="more than 4 GiB"):
        read_nir(path)


def test_nesting_has_a_limit(tmp_path: Path) -> None:
    inner: Node = graph({"i": node("Input", shape=[1])}, [])
    for _ in range(nir_file.MAX_DEPTH + 1):
        inner = graph({"g": inner}, [])
    with pytest.raises(NetworkError, match="nested more than 16 deep"):
        read_nir(write(tmp_path / "n.nir", inner))
