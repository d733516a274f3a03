"""Gates and memories without synthesis: stored syntheses are found, others are fitted and say so."""

from __future__ import annotations

import json

import numpy as np
import pytest

from spikeloom.chip.config import ChipConfig, config_from_dict, load_config
from spikeloom.reports import gate_model
from spikeloom.reports.area_summary import area_summary
from spikeloom.reports.gate_model import FEATURES, features, gates_of, load_gate_table, memories_of
from tests.support.presets import MANY_CORE_PRESETS

TABLE = load_gate_table()
TIANJIC = load_config("tianjic")


def stored_chip(index: int) -> ChipConfig:
    chip = TABLE.chips[index]
    fields = {"name": chip.chip, "clock_hz": 1e8, "many_core": chip.many_core}
    return config_from_dict(fields, "the table")


CHIPS = [stored_chip(index) for index in range(len(TABLE.chips))]


def test_the_table_tells_how_it_was_made_and_how_good_it_is():
    assert "benchmarks/area_gates.py" in TABLE.command
    assert {"tiny", "fpga_ecp5", "tianjic"} <= {chip.chip for chip in TABLE.chips}
    assert set(TABLE.errors) == {*FEATURES, "tile"}
    assert TABLE.errors["tile"].chips == len(TABLE.chips)
    assert TABLE.errors["tile"].median < 0.03
    assert TABLE.errors["tile"].largest < 0.1
    for component, coefficients in TABLE.coefficients.items():
        assert tuple(coefficients) == FEATURES[component]
        assert all(value >= 0 for value in coefficients.values())


@pytest.mark.parametrize("config", CHIPS, ids=lambda config: config.name)
def test_memories_are_those_that_synthesis_found(config):
    chip = next(chip for chip in TABLE.chips if chip.chip == config.name)
    own = memories_of(config)
    for part in chip.components:
        assert own.get(part.component, []) == part.rams, part.component


@pytest.mark.parametrize("config", CHIPS, ids=lambda config: config.name)
def test_the_fit_is_near_what_synthesis_found(config, monkeypatch):
    gates, basis = gates_of(config)
    assert basis == "synthesis"
    monkeypatch.setattr(gate_model, "_key", lambda many_core: object())
    fitted, basis = gates_of(config)
    assert basis == "fit"
    totals = [
        sum(part["gate_equivalents"] for part in found["components"] if part["place"] != "chip")
        for found in (gates, fitted)
    ]
    assert totals[1] == pytest.approx(totals[0], rel=0.06)
    names = [{part["component"] for part in found["components"]} for found in (gates, fitted)]
    assert names[0] == names[1]
    assert [part["count"] for part in fitted["components"] if part["place"] == "core"] == [
        config.many_core.core_count
    ] * sum(part["place"] == "core" for part in fitted["components"])


def test_the_length_of_a_timestep_is_no_other_chip():
    assert gates_of(TIANJIC.replace(timestep={"period_cycles": 7000}))[1] == "synthesis"
    assert gates_of(TIANJIC.replace(chip={"clock_hz": 1e8, "name": "slow"}))[1] == "synthesis"
    assert gates_of(TIANJIC.replace(core={"delay_slots": 8}))[1] == "fit"


@pytest.mark.parametrize(
    "change",
    [
        {"core": {"axons": 512}}, {"core": {"neurons": 512}}, {"core": {"lanes": 32}}, {"core": {"delay_slots": 32}},
        {"core": {"weight_bits": 16}}, {"core": {"membrane_bits": 32}}, {"core": {"accumulator_bits": 40}},
        {"core": {"route_entries": 4096}}, {"core": {"pipeline_stages": 8}}, {"core": {"activation_bits": 12}},
        {"core": {"decay_bits": 16}}, {"network": {"fifo_depth": 16}}, {"network": {"columns": 20}},
        {"network": {"host_rows": [0, 1, 2, 3]}}, {"network": {"host_queue_flits": 4096}},
    ],
)  # fmt: skip
def test_more_of_anything_is_a_larger_chip(change):
    fitted = TIANJIC.replace(core={"delay_slots": 15, "axons": 255})  # of no stored synthesis
    before, _ = area_summary(fitted)
    after, _ = area_summary(fitted.replace(**change))
    assert before is not None
    assert after is not None
    assert before.basis == after.basis == "fit"
    assert after.area_mm2 > before.area_mm2


def test_a_chip_without_signatures_has_none():
    plain = TIANJIC.replace(core={"delay_slots": 8}, many_core={"signatures": False})
    names = {part["component"] for part in gates_of(plain)[0]["components"]}
    assert "signatures" not in names
    assert {"axon", "router", "host port"} <= names


@pytest.mark.parametrize("name", MANY_CORE_PRESETS)
def test_every_preset_has_an_area_and_says_on_what_it_rests(name):
    area, notes = area_summary(load_config(name))
    assert area is not None
    assert notes == []
    assert area.area_mm2 > 0
    assert any("synthes" in note for note in area.notes)
    assert "benchmarks/area_gates.py" in area.provenance["gates"]
    if area.basis == "fit":
        assert any(f"spikeloom area --chip {name}" in note for note in area.notes)
        assert any("fit to" in row.source for row in area.rows)
    assert {row.status for row in area.rows} <= {"derived", "assumed"}


def test_features_are_finite_and_named():
    sizes = features(TIANJIC)
    assert {name for names in FEATURES.values() for name in names} <= set(sizes)
    assert np.isfinite(list(sizes.values())).all()


def test_a_damaged_table_is_refused(tmp_path, monkeypatch):
    file = tmp_path / "many_core.json"
    fields = TABLE.model_dump()
    fields["chips"][0]["components"][0]["gate_equivalents"] = -1.0
    file.write_text(json.dumps(fields))
    monkeypatch.setattr(gate_model, "_FILE", file)
    load_gate_table.cache_clear()
    try:
        with pytest.raises(ValueError, match=r"many_core\.json is damaged"):
            load_gate_table()
    finally:
        load_gate_table.cache_clear()
