"""The parameters of a network's file: how many, how many are zero, and the connections that they make unrolled."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .linear_nodes import Shape, connection_count
from .nir_file import NirGraph

_CONNECTING = ("Affine", "Linear", "Conv1d", "Conv2d")
_FOLDED = ("Scale", "SumPool2d", "AvgPool2d", "Delay")


@dataclass(frozen=True)
class ParameterCount:
    """What the nodes with weights hold; a kernel's weights count once, ``connections`` count them at every place.

    weights, zero_weights : weights, and those of them that are 0
    biases : values added by those nodes
    connections : of one timestep, those of zero weight included, those to a convolution's padding not
    folded : nodes of other kinds that became part of weights, so that the chip's connections are not the file's
    """

    weights: int
    zero_weights: int
    biases: int
    connections: int
    folded: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for a program's manifest."""
        return asdict(self) | {"folded": list(self.folded)}


def count_parameters(graph: NirGraph, shapes: dict[str, Shape]) -> ParameterCount:
    """Count the parameters of ``graph``, whose nodes emit ``shapes``."""
    weights, zeros, biases, connections = 0, 0, 0, 0
    before = graph.sources_by_node()
    for node in graph.of_type(*_CONNECTING):
        weight = node.floats("weight")
        weights += weight.size
        zeros += int(np.count_nonzero(weight == 0))
        biases += node.params["bias"].size if "bias" in node.params else 0
        connections += connection_count(node, shapes[before[node.name][0]])
    folded = tuple(node.name for node in graph.of_type(*_FOLDED))
    return ParameterCount(weights, zeros, biases, connections, folded)
