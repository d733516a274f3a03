"""Cycles between populations: which edges to delay, and the order of what remains."""

from __future__ import annotations

from collections import deque
from graphlib import TopologicalSorter

Edge = tuple[str, str]


def cut_cycles(nodes: list[str], edges: list[Edge], entries: list[str]) -> set[Edge]:
    """Return the edges to delay so that no cycle of undelayed edges remains.

    In every cycle the node fewest hops from an input (ties: by name) is where a timestep begins:
    the edges of the cycle into it are cut. This repeats until no cycle is left.

    Parameters
    ----------
    nodes, edges
        The graph of populations; only edges without delay.
    entries
        The nodes that an input feeds.
    """
    hops = _hops(nodes, edges, entries)
    cut: set[Edge] = set()
    while True:
        left = [edge for edge in edges if edge not in cut]
        components = [c for c in _components(nodes, left) if len(c) > 1 or (c[0], c[0]) in left]
        if not components:
            return cut
        for component in components:
            first = min(component, key=lambda name: (hops[name], name))
            members = set(component)
            cut |= {(a, b) for a, b in left if b == first and a in members}


def order(nodes: list[str], edges: list[Edge]) -> list[str]:
    """Return ``nodes`` so that every edge leads forward; graphlib.CycleError if none exists."""
    sorter: TopologicalSorter[str] = TopologicalSorter(dict.fromkeys(nodes, ()))
    for source, target in sorted(edges):
        sorter.add(target, source)
    return list(sorter.static_order())


def _hops(nodes: list[str], edges: list[Edge], entries: list[str]) -> dict[str, int]:
    after: dict[str, list[str]] = {name: [] for name in nodes}
    for source, target in edges:
        after[source].append(target)
    hops = dict.fromkeys(entries, 0)
    work = deque(entries)
    while work:
        name = work.popleft()
        for target in after[name]:
            if target not in hops:
                hops[target] = hops[name] + 1
                work.append(target)
    return {name: hops.get(name, len(nodes)) for name in nodes}


def _components(nodes: list[str], edges: list[Edge]) -> list[list[str]]:
    """Return the strongly connected components (Kosaraju, without recursion)."""
    after: dict[str, list[str]] = {name: [] for name in nodes}
    before: dict[str, list[str]] = {name: [] for name in nodes}
    for source, target in edges:
        after[source].append(target)
        before[target].append(source)
    finished: list[str] = []
    seen: set[str] = set()
    for root in nodes:
        if root in seen:
            continue
        seen.add(root)
        stack = [(root, iter(after[root]))]
        while stack:
            name, targets = stack[-1]
            fresh = next((t for t in targets if t not in seen), None)
            if fresh is None:
                finished.append(name)
                stack.pop()
            else:
                seen.add(fresh)
                stack.append((fresh, iter(after[fresh])))
    components: list[list[str]] = []
    placed: set[str] = set()
    for root in reversed(finished):
        if root in placed:
            continue
        placed.add(root)
        component, work = [], [root]
        while work:
            name = work.pop()
            component.append(name)
            for source in before[name]:
                if source not in placed:
                    placed.add(source)
                    work.append(source)
        components.append(component)
    return components
