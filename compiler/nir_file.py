"""Import pass: read a .nir file tolerantly and flatten it into named nodes and edges.

The reader goes to the HDF5 file itself: ``nir.read`` refuses much of what frameworks write (scalar
parameters, batch axes, unchecked types, edges into nested graphs). A file is hostile until proven
otherwise: sizes are summed before anything is read, links out of the file are refused, and nothing
in it is evaluated.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from .nir_fields import FIELDS, MAY_BE_INFINITE, TEXT_FIELDS

MAX_BYTES = 4 << 30
MAX_NODES = 1 << 16
MAX_DEPTH = 16


class NetworkError(ValueError):
    """A network that cannot be compiled: what is wrong, at which node, and what to do about it."""


@dataclass(frozen=True)
class NirNode:
    """One node of the file: its flattened name, its NIR type and its fields as arrays."""

    name: str
    type: str
    params: dict[str, NDArray[np.generic]]

    def floats(self, field: str) -> NDArray[np.float64]:
        """Return the field ``field`` as float64, of the shape it has in the file."""
        return np.asarray(self.params[field], dtype=np.float64)


@dataclass(frozen=True)
class NirGraph:
    """A flat graph: nodes by name (in the file's order), edges (source, target) without doubles.

    ``version`` is the nir version that wrote the file, "" where it says none; ``notes`` tells what
    the import had to decide.
    """

    nodes: dict[str, NirNode]
    edges: tuple[tuple[str, str], ...]
    version: str = ""
    notes: tuple[str, ...] = ()

    def sources_by_node(self) -> dict[str, list[str]]:
        """Return, for each node, the nodes with an edge into it, sorted by name."""
        found: dict[str, list[str]] = {name: [] for name in self.nodes}
        for source, target in sorted(self.edges):
            found[target].append(source)
        return found

    def of_type(self, *types: str) -> list[NirNode]:
        """Return the nodes of one of ``types``, in the file's order."""
        return [node for node in self.nodes.values() if node.type in types]


def read_nir(path: str | Path) -> NirGraph:
    """Read the NIR file ``path`` into a flat graph.

    Nested NIRGraph nodes are flattened: inner nodes are called ``outer.inner``, inner Inputs and
    Outputs become identities, and an edge may name the nested graph or a node within it. An edge
    that is written twice counts once (NIR's edges are a set).

    Raises
    ------
    NetworkError
        The file is not a readable NIR graph, or holds a node that is not supported.
    """
    path = Path(path)
    if not path.is_file():
        raise NetworkError(f"{path}: there is no such file.")
    try:
        with h5py.File(path, "r") as file:
            reader = _Reader(path)
            return reader.graph(file)
    except NetworkError:
        raise
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise NetworkError(
            f"{path}: this is not a readable HDF5 file (truncated, damaged or another format: "
            f"{error}); export it again with nir.write."
        ) from error


class _Reader:
    """Reads one file; holds what is summed over it (bytes, nodes) and what it collects."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.bytes_read = 0
        self.nodes: dict[str, NirNode] = {}
        self.edges: dict[tuple[str, str], None] = {}
        self.notes: list[str] = []
        self.ports: dict[str, tuple[list[str], list[str]]] = {}  # nested graph: inputs, outputs

    def graph(self, file: h5py.File) -> NirGraph:
        root = self._child(file, "node")
        if not isinstance(root, h5py.Group):
            raise NetworkError(f"{self.path}: HDF5, but not NIR: it has no group called 'node'.")
        if self._text(root, "type", "the top level") != "NIRGraph":
            raise NetworkError(f"{self.path}: the top level must be a NIRGraph, not a single node.")
        self._read_graph(root, prefix="", depth=0)
        graph_inputs = [n for n in self.nodes.values() if n.type == "Input"]
        graph_outputs = [n for n in self.nodes.values() if n.type == "Output"]
        if not self.nodes:
            raise NetworkError(f"{self.path}: the graph is empty.")
        for what, found in (("Input", graph_inputs), ("Output", graph_outputs)):
            if not found:
                raise NetworkError(
                    f"{self.path}: the graph has no {what} node; NIR needs one to say where values "
                    f"{'enter' if what == 'Input' else 'leave'}. Add it before exporting."
                )
        if not self.edges:
            raise NetworkError(f"{self.path}: the graph has nodes but no edges.")
        version = self._text(file, "version", "the file") if "version" in file else ""
        return NirGraph(self.nodes, tuple(self.edges), version, tuple(self.notes))

    def _read_graph(self, group: h5py.Group, prefix: str, depth: int) -> None:
        where = f"nested graph {prefix[:-1]!r}" if prefix else "the graph"
        if depth > MAX_DEPTH:
            raise NetworkError(f"{where}: graphs are nested more than {MAX_DEPTH} deep.")
        nodes = self._child(group, "nodes")
        if not isinstance(nodes, h5py.Group):
            raise NetworkError(f"{where}: a NIRGraph needs a group 'nodes', and this has none.")
        before = len(self.nodes)
        for name, item in self._named_nodes(nodes, ""):
            self._read_node(item, prefix + name, depth)
        inner = list(self.nodes.values())[before:]
        if prefix:
            own = [n for n in inner if "." not in n.name[len(prefix) :]]
            self.ports[prefix[:-1]] = (
                [n.name for n in own if n.type == "Input"],
                [n.name for n in own if n.type == "Output"],
            )
            for node in own:
                if node.type in ("Input", "Output"):
                    self.nodes[node.name] = NirNode(node.name, "Identity", {})
        edges = self._edge_list(group, where)
        if prefix:
            edges = self._repaired(edges, prefix)
        for source, target in edges:
            edge = (self._end(prefix, source, 1, where), self._end(prefix, target, 0, where))
            if edge in self.edges:
                self.notes.append(
                    f"The edge {edge[0]} -> {edge[1]} is written more than once and counts once."
                )
            self.edges[edge] = None

    def _repaired(self, edges: list[tuple[str, str]], prefix: str) -> list[tuple[str, str]]:
        """Return the edges with the one name put right that the published subgraph files get wrong.

        There the node is called ``lif1`` and its edges say ``lif``. Only where one edge name has no
        node, one node has no edge, and one is the beginning of the other.
        """
        own = [n[len(prefix) :] for n in self.nodes if n.startswith(prefix)]
        own += [n[len(prefix) :] for n in self.ports if n.startswith(prefix)]
        ends = list(dict.fromkeys(end for edge in edges for end in edge))
        unknown = [end for end in ends if end not in own]
        unused = [name for name in own if name not in ends and "." not in name]
        if len(unknown) == 1 and len(unused) == 1:
            (wrong,), (right,) = unknown, unused
            if right.startswith(wrong) or wrong.startswith(right):
                self.notes.append(
                    f"In {prefix[:-1]}, edges name {wrong!r}, which does not exist; read as "
                    f"{right!r}, the one node without an edge."
                )
                return [(right if a == wrong else a, right if b == wrong else b) for a, b in edges]
        return edges

    def _named_nodes(self, group: h5py.Group, prefix: str) -> list[tuple[str, h5py.Group]]:
        """Return the nodes of ``group``; a '/' in a node's name has made groups without a type."""
        found: list[tuple[str, h5py.Group]] = []
        for key in map(str, group):
            item = self._child(group, key)
            if not isinstance(item, h5py.Group):
                raise NetworkError(f"node {prefix + key!r}: must be an HDF5 group with a 'type'.")
            if "type" in item:
                found.append((prefix + key, item))
            elif prefix.count("/") < MAX_DEPTH and len(item) > 0:
                found += self._named_nodes(item, f"{prefix}{key}/")
            else:
                raise NetworkError(f"node {prefix + key!r}: has no 'type'.")
        return found

    def _read_node(self, group: h5py.Group, name: str, depth: int) -> None:
        if len(self.nodes) >= MAX_NODES:
            raise NetworkError(f"{self.path}: more than {MAX_NODES} nodes.")
        kind = self._text(group, "type", f"node {name!r}")
        if kind == "NIRGraph":
            self._read_graph(group, prefix=name + ".", depth=depth + 1)
            return
        if kind not in FIELDS:
            raise NetworkError(
                f"node {name!r}: the type {kind!r} is not supported; supported are "
                f"{', '.join([*FIELDS, 'NIRGraph'])}."
            )
        if name in self.nodes:
            raise NetworkError(f"node {name!r}: two nodes have this name after flattening.")
        required, optional = FIELDS[kind]
        params: dict[str, NDArray[np.generic]] = {}
        for field in (*required, *optional):
            value = self._array(group, field, name)
            if value is None and field == "shape":  # Input and Output of other nir versions
                value = self._array(group, f"{kind.lower()}_type", name)
            if value is None and field in required:
                raise NetworkError(f"node {name!r}: a {kind} needs the field {field!r}.")
            if value is None and optional[field] is not None:
                value = np.asarray(optional[field])
            if value is not None:
                params[field] = value
        self.nodes[name] = NirNode(name, kind, params)

    def _end(self, prefix: str, end: str, port: int, where: str) -> str:
        """Return the flat node that an edge's end names; ``port`` 0 is a target, 1 a source."""
        name = prefix + end
        if name in self.nodes:
            return name
        if name in self.ports:
            found = self.ports[name][port]
            if len(found) == 1:
                return found[0]
            kind = ("Input", "Output")[port]
            raise NetworkError(
                f"{where}: an edge names the nested graph {end!r}, which has {len(found)} {kind} "
                f"nodes; name the node itself, as in '{end}.node'."
            )
        raise NetworkError(f"{where}: an edge names the node {end!r}, which does not exist.")

    def _edge_list(self, group: h5py.Group, where: str) -> list[tuple[str, str]]:
        item = self._child(group, "edges")
        if not isinstance(item, h5py.Dataset):
            raise NetworkError(f"{where}: a NIRGraph needs 'edges', and this has none.")
        if item.size in (0, None):
            return []
        self._charge(item, where)
        if len(item.shape) != 2 or item.shape[1] != 2 or item.dtype.kind not in "OSU":
            raise NetworkError(f"{where}: 'edges' must be pairs of names, not {item.shape}.")
        return [(_decode(a, where), _decode(b, where)) for a, b in item[()]]

    def _text(self, group: h5py.Group, field: str, where: str) -> str:
        item = self._child(group, field)
        if not isinstance(item, h5py.Dataset) or item.size != 1 or item.dtype.kind not in "OSU":
            raise NetworkError(f"{where}: the field {field!r} must be a text.")
        self._charge(item, where)
        return _decode(np.asarray(item[()]).ravel()[0], where)

    def _array(self, group: h5py.Group, field: str, name: str) -> NDArray[np.generic] | None:
        """Return the field as an array of numbers (or text where NIR allows it), None if absent."""
        item = self._child(group, field) if field in group else None
        if isinstance(item, h5py.Group):  # input_type = {"input": shape}
            keys = list(item)
            item = self._child(item, keys[0]) if len(keys) == 1 else None
        if not isinstance(item, h5py.Dataset) or item.shape is None:
            return None
        where = f"node {name!r}, field {field!r}"
        self._charge(item, where)
        if field in TEXT_FIELDS and item.dtype.kind in "OSU" and item.size == 1:
            return np.asarray(_decode(np.asarray(item[()]).ravel()[0], where))
        if item.dtype.kind not in "iufb":
            raise NetworkError(f"{where}: must hold real numbers, not {item.dtype}.")
        value = np.asarray(item[()])
        if np.isnan(value).any():
            raise NetworkError(f"{where}: holds NaN; the training diverged or the export failed.")
        if field not in MAY_BE_INFINITE and np.isinf(value).any():
            raise NetworkError(f"{where}: holds infinite values; check the export.")
        return value

    def _child(self, group: h5py.Group, key: str) -> object:
        """Return a member of ``group`` that lies in this file, None if there is none."""
        link = group.get(key, getlink=True)
        if link is None:
            return None
        if isinstance(link, h5py.ExternalLink):
            raise NetworkError(f"{self.path}: {key!r} links to another file, which is refused.")
        item = group.get(key)
        if isinstance(item, h5py.Dataset) and (item.is_virtual or item.external):
            raise NetworkError(f"{self.path}: {key!r} is stored in another file; refused.")
        return item

    def _charge(self, item: h5py.Dataset, where: str) -> None:
        self.bytes_read += prod(item.shape) * item.dtype.itemsize
        if self.bytes_read > MAX_BYTES:
            raise NetworkError(
                f"{where}: the file holds more than {MAX_BYTES >> 30} GiB of parameters."
            )


def _decode(value: object, where: str) -> str:
    if isinstance(value, bytes):
        try:
            return value.decode("utf8")
        except UnicodeDecodeError as error:
            raise NetworkError(f"{where}: a name is not UTF-8 text.") from error
    if isinstance(value, str):
        return value
    raise NetworkError(f"{where}: expected a text, not {type(value).__name__}.")
