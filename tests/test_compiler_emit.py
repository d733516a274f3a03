"""Every weight of the network is on the chip, exactly once, at its delay: random networks on small odd chips."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spikeloom.chip.arithmetic import NeuronKind
from spikeloom.chip.config import load_config
from spikeloom.chip.program import PROGRAM_ARRAYS
from spikeloom.chip.program_file import load_program, save_program
from spikeloom.compiler.pipeline import compile_quantised
from spikeloom.compiler.quantised import QuantisedNetwork

from .support.program_weights import assert_holds
from .support.quantised_builder import QuantisedBuilder

CHIPS = {
    "narrow": {"core": {"axons": 7, "neurons": 5, "lanes": 3, "delay_slots": 16, "route_entries": 300},
               "network": {"columns": 23, "rows": 19, "host_rows": [2, 11], "host_columns": [0, 5, 21]}},
    "wide": {"core": {"axons": 11, "neurons": 13, "lanes": 4, "delay_slots": 13, "route_entries": 257},
             "network": {"columns": 11, "rows": 29}},
    "tall": {"core": {"axons": 64, "neurons": 3, "lanes": 2, "delay_slots": 9, "route_entries": 90},
             "network": {"columns": 31, "rows": 7, "host_rows": [6], "host_columns": [30]}},
}  # fmt: skip


def chip(name: str):
    return load_config("tiny").replace(**CHIPS[name])


def weights(rng: np.random.Generator, rows: int, columns: int, form: str) -> np.ndarray:
    full = rng.integers(-128, 128, (rows, columns))
    if form == "sparse":
        return full * (rng.random(full.shape) < 0.3)
    if form == "repeated":  # few values: many equal columns, many zero ones
        return rng.integers(-1, 2, (1, columns)) * rng.integers(0, 2, (rows, 1))
    if form == "band":
        distance = np.arange(rows)[:, None] * columns / rows - np.arange(columns)[None, :]
        return full * (np.abs(distance) < 3)
    if form == "pooled":
        return np.repeat(full[:, : -(-columns // 3)], 3, axis=1)[:, :columns]
    return full


FORMS = st.sampled_from(["dense", "sparse", "repeated", "band", "pooled"])


@st.composite
def networks(draw: st.DrawFn) -> QuantisedNetwork:
    rng = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    b = QuantisedBuilder()
    sizes: dict[str, int] = {}
    signed = draw(st.booleans())
    for i in range(draw(st.integers(1, 2))):
        shape = draw(st.sampled_from([(9,), (2, 3, 3), (17,)]))
        b.input(f"in{i}", shape, signed=signed, max_payload=draw(st.sampled_from([1, 3, 40, 127])))
        sizes[f"in{i}"] = int(np.prod(shape))
    sources = list(sizes)
    count = draw(st.integers(1, 4))
    for i in range(count):
        name = f"p{i}"
        shape = draw(st.sampled_from([(6,), (3, 4, 4), (2, 5), (19,), (5, 1, 3)]))
        kind = draw(st.sampled_from([NeuronKind.LIF, NeuronKind.CUBA_LIF, NeuronKind.RELU]))
        payload = 100 if kind == NeuronKind.RELU else 1
        b.population(name, shape, kind=kind, axon_signed=signed, max_payload=payload)
        sizes[name] = int(np.prod(shape))
        for source in draw(st.lists(st.sampled_from(sources), min_size=1, max_size=3)):
            delay = draw(st.sampled_from([0, 0, 0, 1]))
            b.connect(source, name, weights(rng, sizes[name], sizes[source], draw(FORMS)), delay)
        sources.append(name)
    for i in range(draw(st.integers(0, 2))):  # recurrent: from any population to any
        source = f"p{draw(st.integers(0, count - 1))}"
        target = f"p{draw(st.integers(0, count - 1))}"
        form = draw(st.sampled_from(["sparse", "band", "repeated"]))
        b.connect(source, target, weights(rng, sizes[target], sizes[source], form), 1 + i)
    outputs = draw(
        st.lists(
            st.sampled_from([f"p{i}" for i in range(count)]), min_size=1, max_size=2, unique=True
        )
    )
    return b.build(*outputs)


@settings(
    max_examples=70,
    deadline=None,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.filter_too_much,
    ],
)
@given(networks(), st.sampled_from(sorted(CHIPS)), st.data())
def test_every_weight_is_found_once(network, name, data):
    config = chip(name).replace(core={"delay_slots": 64})
    assert_holds(
        compile_quantised(network, config, seed=data.draw(st.integers(0, 9))).program, network
    )


def residual() -> QuantisedNetwork:
    b, rng = QuantisedBuilder(), np.random.default_rng(3)
    b.input("in", (20,))
    for name in ("a", "b", "c"):
        b.population(name, (20,))
    b.population("read", (4,), kind=NeuronKind.INTEGRATOR)
    b.connect("in", "a", rng.integers(-9, 9, (20, 20)))
    b.connect("a", "b", rng.integers(-9, 9, (20, 20)))
    b.connect("b", "c", np.eye(20, dtype=int) * 5)
    b.connect(
        "a", "c", np.eye(20, dtype=int) * 5
    )  # the skip connection is at other delays, on the same axons
    b.connect("c", "read", rng.integers(-9, 9, (4, 20)))
    return b.build("read", "b")


def test_a_residual_add_shares_axons():
    network = residual()
    program = compile_quantised(network, chip("wide")).program
    back = assert_holds(program, network)
    c = program.layer("c").cores
    shared = [sources for (core, _), sources in back.axon_sources.items() if core in c]
    assert len(shared) == 20
    assert all(sorted(sources) == ["a", "b"] for sources in shared)


def test_outputs_that_feed_others_and_membranes_reach_the_host():
    network = residual()
    program = compile_quantised(network, chip("narrow")).program
    assert len(program.output_lines) == 24
    assert program.outputs == ("read", "b")
    assert not program.layer("read").spiking
    assert program.layer("b").spiking


@pytest.mark.parametrize("name", sorted(CHIPS))
def test_registers_and_memories_hold_the_population(name):
    b = QuantisedBuilder()
    b.input("in", (30,), signed=True, max_payload=9)
    b.population(
        "p",
        (4, 2, 2),
        threshold=33,
        bias=-7,
        decay_mem=77,
        v_reset=5,
        i_shift=3,
        axon_signed=True,
        max_spikes=1,
    )
    values = np.arange(16) + 100
    b.replace_population("p", v_threshold=values, scale=values / 8.0, bias=-values)
    b.connect("in", "p", np.random.default_rng(0).integers(-128, 128, (16, 30)))
    program = compile_quantised(b.build("p"), chip(name)).program
    seen = np.zeros(16, dtype=int)
    for core in program.layer("p").cores:
        partial = core in program.layer("p").partial_cores
        assert program.register("kind")[core] == (NeuronKind.PARTIAL if partial else NeuronKind.LIF)
        assert program.register("axon_signed")[core] == 1
        assert program.register("i_shift")[core] == (0 if partial else 3)
        used = int(program.register("neurons")[core])
        index = program.neuron_index[core, :used]
        if partial:
            assert np.all(program.neuron_index[core] == -1)
            assert np.all(program.bias[core] == 0)
            continue
        np.testing.assert_array_equal(program.v_threshold[core, :used], values[index])
        np.testing.assert_array_equal(program.bias[core, :used], -values[index])
        np.testing.assert_array_equal(program.neuron_scale[core, :used], values[index] / 8.0)
        assert np.all(program.decay_mem[core, :used] == 77)
        assert np.all(program.neuron_index[core, used:] == -1)
        seen[index] += 1
    assert np.all(seen == 1)


def test_a_table_travels_with_its_cores():
    b = QuantisedBuilder()
    b.input("in", (3,))
    table = np.arange(-128, 128, dtype=np.int32)
    b.population("tanh", (4,), kind=NeuronKind.TABLE, table=table, activation="tanh")
    b.population("out", (2,), axon_signed=True)
    b.connect("in", "tanh", np.ones((4, 3), dtype=int))
    b.connect("tanh", "out", np.arange(1, 9).reshape(2, 4))
    program = compile_quantised(b.build("out"), chip("wide")).program
    assert program.table.shape == (2, 256)
    np.testing.assert_array_equal(program.table[program.layer("tanh").cores[0]], table)
    assert program.layer("tanh").notes["activation"] == "tanh"


def test_the_program_file_gives_the_program_back(tmp_path):
    program = compile_quantised(residual(), chip("wide")).program
    save_program(program, tmp_path / "p.slm")
    loaded = load_program(tmp_path / "p.slm", program.config)
    for name in PROGRAM_ARRAYS:
        np.testing.assert_array_equal(getattr(loaded, name), getattr(program, name))
    assert loaded.meta["passes"] == program.meta["passes"]
    assert loaded.layers == program.layers
