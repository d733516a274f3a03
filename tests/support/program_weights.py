"""The connections that a program holds, read back from its routes and memories alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spikeloom.chip.arithmetic import NeuronKind
from spikeloom.chip.packet import FlitKind, FlitLayout
from spikeloom.chip.program import ManyCoreProgram
from spikeloom.compiler.quantised import QuantisedNetwork

Connections = dict[tuple[str, str, int], np.ndarray]


@dataclass(frozen=True)
class ReadBack:
    """``weights[source, target, network delay]`` dense int64; payload sources of each (core, axon); outputs by line."""

    weights: Connections
    axon_sources: dict[tuple[int, int], list[str]]
    outputs: dict[int, tuple[str, int]]


def read_back(program: ManyCoreProgram) -> ReadBack:
    """Follow every route from inputs and neurons over axons, weights and partial sums to neurons and the host."""
    at = {
        (int(x), int(y)): core
        for core, (x, y) in enumerate(
            zip(program.register("x"), program.register("y"), strict=True)
        )
    }
    sizes = {item.name: int(np.prod(item.shape)) for item in (*program.inputs, *program.layers)}
    found: Connections = {}
    axon_sources: dict[tuple[int, int], list[str]] = {}
    outputs: dict[int, tuple[str, int]] = {}
    layout = FlitLayout.of(program.config.many_core)
    lines = {(int(c), int(line)): int(index) for c, line, index, _ in program.output_lines}
    host_columns = program.config.many_core.network.host_columns

    def follow(source: str, neuron: int, depth: int, core: int, axon: int, delay: int) -> None:
        axon_sources.setdefault((core, axon), []).append(source)
        used = int(program.register("neurons")[core])
        partial = program.register("kind")[core] == NeuronKind.PARTIAL
        steps, rest = divmod(
            delay + depth - int(program.register("depth")[core]), program.steps_per_timestep
        )
        assert rest == 0, "a flit arrives in a chip timestep in which its core does not compute"
        target_layer = program.layers[program.core_layer[core]]
        matrix = found.setdefault(
            (source, target_layer.name, steps),
            np.zeros((sizes[target_layer.name], sizes[source]), np.int64),
        )
        for n in range(used):
            if not partial:
                matrix[program.neuron_index[core, n], neuron] += int(program.weights[core, axon, n])
                continue
            routes = routes_of(core, n)
            assert len(routes) == 1
            kind, x, y, target, wait = routes[0]
            assert kind == FlitKind.SUM
            main = at[x, y]
            assert wait + program.register("depth")[core] == program.register("depth")[main]
            assert program.core_layer[main] == program.core_layer[core]
            matrix[program.neuron_index[main, target], neuron] += int(
                program.weights[core, axon, n]
            )

    def routes_of(core: int, n: int) -> list[tuple[int, int, int, int, int]]:
        first = int(program.route_offset[core] + program.route_base[core, n])
        rows = program.routes[first : first + int(program.route_count[core, n])].tolist()
        x, y = int(program.register("x")[core]), int(program.register("y")[core])
        return [(kind, x + dx, y + dy, target, delay) for kind, dx, dy, target, delay in rows]

    flat = [(item.name, i) for item in program.inputs for i in range(sizes[item.name])]
    for index, (name, neuron) in enumerate(flat):
        for port, dx, dy, axon, delay in program.input_routes[
            program.input_offset[index] : program.input_offset[index + 1]
        ].tolist():
            row = program.config.many_core.network.host_rows[port]
            follow(name, neuron, 0, at[dx, row + dy], axon, delay)
    for core in range(program.core_count):
        if program.register("kind")[core] == NeuronKind.PARTIAL:
            continue
        name = program.layers[program.core_layer[core]].name
        for n in range(int(program.register("neurons")[core])):
            neuron = int(program.neuron_index[core, n])
            for kind, x, y, target, delay in routes_of(core, n):
                assert kind == FlitKind.AXON
                if y == -1:
                    line = (delay << layout.target_bits) | target
                    outputs[lines.pop((host_columns.index(x), line))] = (name, neuron)
                else:
                    follow(
                        name, neuron, int(program.register("depth")[core]), at[x, y], target, delay
                    )
    assert not lines, "an output line that no neuron sends to"
    return ReadBack(found, axon_sources, outputs)


def assert_holds(program: ManyCoreProgram, network: QuantisedNetwork) -> ReadBack:
    """Assert that the program's connections are the network's, axons hold their payloads, outputs are in order."""
    back = read_back(program)
    wanted: Connections = {}
    for p in network.projections:
        key = (p.source, p.target, p.delay)
        wanted[key] = wanted.get(key, 0) + p.weight.toarray().astype(np.int64)
    for key in [*wanted, *back.weights]:
        zero = np.zeros_like(wanted.get(key, back.weights.get(key)))
        np.testing.assert_array_equal(
            back.weights.get(key, zero), wanted.get(key, zero), err_msg=str(key)
        )
    payload = {item.name: item.max_payload for item in (*network.inputs, *network.populations)}
    bits = program.config.many_core.core.activation_bits
    for (core, axon), sources in back.axon_sources.items():
        signed = int(program.register("axon_signed")[core])
        assert sum(payload[name] for name in sources) < 1 << (bits - signed), (core, axon)
    order = [
        (name, i) for name in network.network.outputs for i in range(network.network.size_of(name))
    ]
    assert [back.outputs[i] for i in range(len(order))] == order
    return back
