"""Compiled networks on the simulated chip give the spikes and membranes of a direct evaluation in integers."""

from __future__ import annotations

import numpy as np
import pytest

from spikeloom.chip.arithmetic import NeuronKind
from spikeloom.chip.config import load_config
from spikeloom.compiler.pipeline import compile_quantised
from spikeloom.sim.run import run_many_core

from .support.quantised_builder import QuantisedBuilder

CONFIG = load_config("tiny").replace(
    core={"axons": 11, "neurons": 7, "delay_slots": 16, "route_entries": 99},
    network={"columns": 9, "rows": 8, "host_rows": [2], "host_columns": [1, 7]},
)


def network(rng):
    """A residual and recurrent network with pooling, fan-in beyond one core and a loop over two populations."""
    b = QuantisedBuilder()
    b.input("in", (24,))
    for name, size in (("a", 15), ("b", 9), ("c", 9)):
        b.population(name, (size,), threshold=30, bias=2)
    b.population("read", (3,), kind=NeuronKind.INTEGRATOR)
    b.connect("in", "a", rng.integers(-9, 20, (15, 12)).repeat(2, axis=1))
    b.connect("a", "b", rng.integers(-9, 20, (9, 15)))
    b.connect("b", "c", np.eye(9, dtype=int) * 25)
    b.connect("a", "c", rng.integers(-9, 20, (9, 15)) * (rng.random((9, 15)) < 0.4))
    b.connect("c", "c", rng.integers(-20, 9, (9, 9)), delay=1)
    b.connect("c", "a", rng.integers(-20, 9, (15, 9)), delay=1)
    b.connect("in", "b", rng.integers(-9, 9, (9, 24)), delay=2)
    b.connect("c", "read", rng.integers(-9, 9, (3, 9)))
    return b.build("read", "c")


def evaluate(net, inputs):
    """Integrate and fire without leak: u = v + sum + bias; a spike above the threshold resets to zero."""
    sizes = {i.name: int(np.prod(i.shape)) for i in net.inputs} | {
        p.name: p.size for p in net.populations
    }
    past = {name: [np.zeros(size, dtype=np.int64)] * 4 for name, size in sizes.items()}
    v = {p.name: np.zeros(p.size, dtype=np.int64) for p in net.populations}
    rows = []
    for row in inputs:
        past["in"].append(row)
        for p in net.populations:
            u = v[p.name] + p.bias
            for q in net.projections:
                if q.target == p.name:
                    ready = past[q.source]
                    done = q.source == "in" or len(ready) > len(past[p.name])
                    u = u + q.weight.toarray() @ ready[-1 - q.delay + (0 if done else 1)]
            if p.source.kind == NeuronKind.INTEGRATOR:
                v[p.name], out = u, u
            else:
                out = (u > p.v_threshold).astype(np.int64)
                v[p.name] = np.where(out, 0, u)
            past[p.name].append(out)
        rows.append(np.concatenate([past[name][-1] for name in net.network.outputs]))
    return np.array(rows)


@pytest.mark.parametrize("seed", range(3))
def test_the_chip_computes_the_network(seed):
    rng = np.random.default_rng(seed)
    net = network(rng)
    compiled = compile_quantised(net, CONFIG, seed=seed)
    inputs = (rng.random((2, 12, 24)) < 0.4).astype(np.int64)
    run = run_many_core(compiled.program, inputs, 12, threads=1, record_outputs=True)
    expected = np.array([evaluate(net, sample) for sample in inputs])
    assert compiled.program.steps_per_timestep > 1
    assert expected[:, :, 3:].sum() > 10
    np.testing.assert_array_equal(run.output_record, expected)


def test_held_inputs_act_as_repeated_ones_where_axons_are_shared():
    rng = np.random.default_rng(5)
    net = network(rng)
    program = compile_quantised(net, CONFIG).program
    row = (rng.random((1, 1, 24)) < 0.4).astype(np.int64)
    run = run_many_core(program, row, 10, threads=1, record_outputs=True)
    np.testing.assert_array_equal(
        run.output_record[0], evaluate(net, np.repeat(row[0], 10, axis=0))
    )
