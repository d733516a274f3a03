"""Configurations: presets, files, messages, hash, derived latencies; and the flit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikeloom.chip.config import (
    SOMA_STAGES,
    ConfigError,
    config_from_dict,
    config_schema,
    load_config,
    preset_names,
)
from spikeloom.chip.packet import FlitLayout

from .support.presets import MANY_CORE_PRESETS


def test_presets_load_and_differ():
    names = preset_names()
    assert set(names) >= {"tiny", "tianjic", "fpga_ecp5", "mesh32"}
    assert len({load_config(name).config_hash for name in names}) == len(names)


def test_tianjic_has_the_published_capacity():
    chip = load_config("tianjic").many_core
    assert (chip.network.columns, chip.network.rows) == (12, 13)
    assert chip.core_count * chip.core.neurons == 39_936
    assert chip.core_count * chip.core.neurons * chip.core.axons == 10_223_616


@pytest.mark.parametrize(
    ("active", "cycles"), [(0, 268), (16, 299), (26, 459), (64, 1067), (128, 2091), (256, 4139)]
)
def test_compute_cycles_of_a_tianjic_core(active, cycles):
    assert load_config("tianjic").many_core.compute_cycles(active, 256, 8) == cycles


def test_packed_weights_take_fewer_cycles_and_no_neurons_none():
    chip = load_config("tianjic").many_core
    assert chip.compute_cycles(256, 256, 4) == 4 + 257 + 7 * 257 + 32 + SOMA_STAGES - 1
    assert chip.compute_cycles(256, 0, 8) == 0


@pytest.mark.parametrize(("active", "mode"), [(0, 8), (3, 8), (16, 8), (256, 8), (5, 4), (40, 2)])
def test_neurons_retire_one_a_cycle_within_a_group_and_the_last_ends_compute(active, mode):
    chip = load_config("tianjic").many_core
    lanes, first = chip.effective_lanes(mode), chip.start_cycles
    cycles = [chip.retire_cycle(n, active, mode) for n in range(256)]
    assert cycles[0] == first + chip.core.pipeline_stages + active + 1 + SOMA_STAGES - 1
    for n in range(1, 256):
        step = 1 if n % lanes else max(active + 1, lanes) - lanes + 1
        assert cycles[n] - cycles[n - 1] == step
    assert cycles[-1] + 1 == first + chip.compute_cycles(active, 256, mode)


def test_the_host_starts_with_the_swap():
    for name in MANY_CORE_PRESETS:
        chip = load_config(name).many_core
        assert chip.host_start_cycles == chip.start_cycles - 1


@pytest.mark.parametrize(
    ("cores", "stages"),
    [((1, 1), 2), ((2, 2), 2), ((4, 4), 2), ((17, 1), 3), ((12, 13), 4), ((32, 32), 5)],
)
def test_tree_stages_are_the_radix_4_logarithm(cores, stages):
    config = load_config("tiny").replace(network={"columns": cores[0], "rows": cores[1]})
    assert config.many_core.tree_stages == stages


def test_yaml_round_trip_keeps_the_hash(tmp_path):
    config = load_config("tianjic")
    path = tmp_path / "mine.yaml"
    path.write_text(config.to_yaml())
    assert load_config(path) == config


def test_the_hash_ignores_the_name_and_nothing_else():
    config = load_config("tiny")
    assert config.replace(chip={"name": "other"}).config_hash == config.config_hash
    assert config.replace(core={"axons": 15}).config_hash != config.config_hash
    assert config.replace(chip={"clock_hz": 1e6}).config_hash != config.config_hash


@pytest.mark.parametrize(
    ("section", "change", "message"),
    [
        ("core", {"lanes": 99}, "many_core.core: lanes must be at most neurons (16), not 99"),
        (
            "core",
            {"axons": 0},
            "many_core.core.axons: Input should be greater than or equal to 1 (given: 0)",
        ),
        ("core", {"speed": 1}, "many_core.core.speed: is no field of a chip configuration"),
        ("core", {"accumulator_bits": 8}, "accumulator_bits must exceed weight_bits (8), not 8"),
        (
            "network",
            {"host_rows": [2]},
            "host_rows must be ascending, without repetition, within 0..1, not [2]",
        ),
        (
            "network",
            {"host_queue_flits": 1},
            "host_queue_flits: Input should be greater than or equal to 2 (given: 1)",
        ),
        (
            "timestep",
            {"mode": "slow"},
            "many_core.timestep.mode: Input should be 'adaptive' or 'fixed' (given: 'slow')",
        ),
        ("chip", {"clock_hz": "fast"}, "clock_hz: Input should be a valid number (given: 'fast')"),
    ],
)
def test_wrong_fields_are_named(section, change, message):
    with pytest.raises(ConfigError) as error:
        load_config("tiny").replace(**{section: change})
    assert message in str(error.value)


def test_files_that_are_no_configuration(tmp_path):
    with pytest.raises(ConfigError, match=r"neither a preset .* nor a YAML file"):
        load_config("nothing")
    path = tmp_path / "x.yaml"
    path.write_text("a: [")
    with pytest.raises(ConfigError, match="is not a YAML file"):
        load_config(path)
    path.write_text("- 1")
    with pytest.raises(ConfigError, match="must hold a mapping of fields, not list"):
        load_config(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="is not a YAML file"):
        load_config(path)
    with pytest.raises(ConfigError, match="no number, text, list or mapping"):
        config_from_dict({"name": {1, 2}}, "here")


def test_schema_documents_every_field():
    schema = config_schema()
    core = schema["$defs"]["CoreConfig"]["properties"]
    assert all(field["description"] for field in core.values())


@given(
    st.integers(0, 2),
    st.integers(-12, 11),
    st.integers(-13, 12),
    st.integers(0, 255),
    st.integers(0, 15),
    st.integers(-(2**23), 2**23 - 1),
)
def test_flits_round_trip(kind, dx, dy, target, delay, payload):
    layout = FlitLayout.of(load_config("tianjic").many_core)
    values = {
        "kind": kind,
        "dx": dx,
        "dy": dy,
        "target": target,
        "delay": delay,
        "payload": payload,
    }
    word = layout.pack(**values)
    assert 0 <= word < 2**layout.bits
    assert layout.unpack(word) == values


def test_a_flit_refuses_what_does_not_fit():
    layout = FlitLayout.of(load_config("tiny").many_core)
    good = {"kind": 0, "dx": 0, "dy": 0, "target": 0, "delay": 0, "payload": 0}
    with pytest.raises(ValueError, match=r"target must be within 0\.\.15, not 16"):
        layout.pack(**(good | {"target": 16}))
    with pytest.raises(ValueError, match="a flit has no field colour"):
        layout.pack(**good, colour=1)


def test_every_distance_on_the_mesh_fits_the_flit():
    for name in MANY_CORE_PRESETS:
        chip = load_config(name).many_core
        layout = FlitLayout.of(chip)
        for dx, dy in (
            (chip.network.columns - 1, chip.network.rows - 1),
            (1 - chip.network.columns, -chip.network.rows),
        ):
            layout.pack(kind=0, dx=dx, dy=dy, target=0, delay=0, payload=0)
