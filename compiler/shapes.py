"""Shape pass: find the shape of every node's output, cycles included, and check that all agree."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from math import prod

from .linear_nodes import Shape, output_shape
from .nir_fields import LINEAR_TYPES, NEURON_TYPES
from .nir_file import NetworkError, NirGraph, NirNode

MAX_NEURONS = 1 << 26


def drop_dead_nodes(graph: NirGraph) -> NirGraph:
    """Return ``graph`` without the nodes that no Input reaches or that reach no Output, noted.

    Raises
    ------
    NetworkError
        No path leads from an Input to an Output.
    """
    inputs = [n.name for n in graph.of_type("Input")]
    outputs = [n.name for n in graph.of_type("Output")]
    fed = _reached(inputs, graph.edges)
    used = _reached(outputs, tuple((b, a) for a, b in graph.edges))
    if not any(name in fed for name in outputs):
        raise NetworkError(
            f"No path of edges leads from an Input ({', '.join(inputs)}) to an Output "
            f"({', '.join(outputs)}); check the edges of the graph."
        )
    notes = list(graph.notes)
    for name, node in graph.nodes.items():
        if name not in fed:
            notes.append(f"Dropped {name} ({node.type}): no Input reaches it.")
        elif name not in used:
            notes.append(f"Dropped {name} ({node.type}): no Output depends on it.")
    kept = {k: v for k, v in graph.nodes.items() if k in fed and k in used}
    edges = tuple((a, b) for a, b in graph.edges if a in kept and b in kept)
    return replace(graph, nodes=kept, edges=edges, notes=tuple(notes))


def infer_shapes(graph: NirGraph) -> dict[str, Shape]:
    """Return the shape that each node of ``graph`` emits.

    Raises
    ------
    NetworkError
        Shapes disagree, or a node's shape does not follow from the file.
    """
    shapes: dict[str, Shape] = {}
    after: dict[str, list[str]] = {name: [] for name in graph.nodes}
    for source, target in graph.edges:
        after[source].append(target)
    work: deque[str] = deque()
    for node in graph.nodes.values():
        shape = _own_shape(node)
        if shape is not None:
            shapes[node.name] = shape
            work.append(node.name)
    while work:
        source = work.popleft()
        for target in after[source]:
            if target not in shapes:
                shapes[target] = _follows(graph.nodes[target], shapes[source])
                work.append(target)
    for node in graph.nodes.values():
        if node.name not in shapes:
            raise NetworkError(
                f"node {node.name!r}: its shape does not follow from the file; give the Input "
                "a shape, or the neuron's parameters one value per neuron."
            )
        if not 0 < prod(shapes[node.name]) <= MAX_NEURONS:
            raise NetworkError(
                f"node {node.name!r}: the shape {shapes[node.name]} is empty or has more than "
                f"{MAX_NEURONS} values."
            )
    _check_edges(graph, shapes)
    return shapes


def _reached(start: list[str], edges: tuple[tuple[str, str], ...]) -> set[str]:
    after: dict[str, list[str]] = {}
    for source, target in edges:
        after.setdefault(source, []).append(target)
    seen, work = set(start), list(start)
    while work:
        for target in after.get(work.pop(), ()):
            if target not in seen:
                seen.add(target)
                work.append(target)
    return seen


def _stated(node: NirNode) -> Shape | None:
    """Return the shape field of an Input or Output, None if it says nothing."""
    value = node.params.get("shape")
    if value is None or value.size == 0 or value.dtype.kind not in "iuf":
        return None
    shape = tuple(int(n) for n in value.ravel())
    return shape if min(shape) > 0 else None


def _own_shape(node: NirNode) -> Shape | None:
    """Return the shape that the node's own fields state: Inputs, and neurons with arrays."""
    if node.type == "Input":
        shape = _stated(node)
        if shape is None:
            raise NetworkError(f"node {node.name!r}: the Input has no shape; add it to the file.")
        return shape
    if node.type in NEURON_TYPES:
        sizes = [v.shape for v in node.params.values() if v.size > 1]
        if sizes and len({prod(s) for s in sizes}) == 1 and 1 not in sizes[0]:
            return sizes[0]
    return None


def _follows(node: NirNode, shape: Shape) -> Shape:
    if node.type in LINEAR_TYPES:
        return output_shape(node, shape)
    return shape


def _check_edges(graph: NirGraph, shapes: dict[str, Shape]) -> None:
    before = graph.sources_by_node()
    for name, node in graph.nodes.items():
        coming = [(source, shapes[source]) for source in before[name]]
        for source, shape in coming:
            first = coming[0]
            if prod(shape) != prod(first[1]):
                raise NetworkError(
                    f"node {name!r}: its inputs differ in shape: {first[0]} gives {first[1]}, "
                    f"{source} gives {shape}."
                )
            if node.type in LINEAR_TYPES:
                output_shape(node, shape)
            wanted = _stated(node) if node.type == "Output" else shapes[name]
            same = node.type in (*NEURON_TYPES, "Output", "Identity", "Scale", "Delay")
            if same and wanted is not None and prod(wanted) != prod(shape):
                raise NetworkError(
                    f"node {name!r}: a {node.type} of shape {wanted}, but {source} gives {shape} "
                    f"({prod(shape)} values for {prod(wanted)})."
                )
