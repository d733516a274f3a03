"""Write small .nir files for tests, valid or not, straight to HDF5."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np

Node = dict[str, Any]


def node(kind: str, **fields: object) -> Node:
    """Return a node of the NIR type ``kind``."""
    return {"type": kind, **fields}


def graph(nodes: dict[str, Node], edges: list[tuple[str, str]]) -> Node:
    """Return a nested NIRGraph."""
    return {"type": "NIRGraph", "nodes": nodes, "edges": edges}


def lif(size: int | tuple[int, ...] = (), **fields: object) -> Node:
    """Return a LIF of ``size`` neurons, decay 0.9 and gain 1 at dt 1e-4 (scalar fields if ())."""
    shape = size if isinstance(size, tuple) else (size,)
    values = {"tau": 1e-3, "r": 10.0, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0, **fields}
    return node("LIF", **{k: np.full(shape, v, dtype=float) for k, v in values.items()})


def cuba(size: int, **fields: object) -> Node:
    """Return a CubaLIF, current decay 0.8, membrane decay 0.9, gains 1 at dt 1e-4."""
    values = {
        "tau_syn": 5e-4, "tau_mem": 1e-3, "r": 10.0, "w_in": 5.0, "v_leak": 0.0,
        "v_threshold": 1.0, "v_reset": 0.0, **fields,
    }  # fmt: skip
    return node("CubaLIF", **{k: np.full(size, v) for k, v in values.items()})


def chain(shape: tuple[int, ...], shape_out: tuple[int, ...], **middle: Node) -> Node:
    """Return Input -> the nodes of ``middle`` in order -> Output."""
    nodes = {"input": node("Input", shape=np.array(shape)), **middle}
    nodes["output"] = node("Output", shape=np.array(shape_out))
    names = list(nodes)
    return graph(nodes, list(pairwise(names)))


def write(path: Path, root: Node, version: str = "1.0.8") -> Path:
    """Write ``root`` to ``path`` as nir.write would and return ``path``."""
    with h5py.File(path, "w") as file:
        file.create_dataset("version", data=version)
        _write(file.create_group("node"), root)
    return path


def _write(group: h5py.Group, fields: Node) -> None:
    for key, value in fields.items():
        if key == "nodes":
            inner = group.create_group("nodes")
            for name, child in value.items():
                _write(inner.create_group(name), child)
        elif key == "edges":
            pairs = np.array(value, dtype=object).reshape(-1, 2)
            group.create_dataset("edges", data=pairs, dtype=h5py.string_dtype())
        elif isinstance(value, dict):
            _write(group.create_group(key), value)
        elif value is not None:
            group.create_dataset(key, data=value)
