"""A user's cost table: it changes what it says and no more, and every mistake in it is one sentence."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from spikeloom.chip.config import load_config
from spikeloom.compiling import compile_nir
from spikeloom.errors import InputError
from spikeloom.learn_results import training_result
from spikeloom.learning import dry_run, train
from spikeloom.models.zoo import load_zoo_samples
from spikeloom.models.zoo import path as network
from spikeloom.reports.area_costs import load_area_costs
from spikeloom.reports.cost_overlay import SRAM_UNITS
from spikeloom.reports.costs import CostError, load_costs, tables_of
from spikeloom.reports.learn_area import load_learn_tables
from spikeloom.reports.learn_costs import load_learn_costs
from spikeloom.running import run
from tests.support.command import run_command

BOOK = "page 7 of a book on our process"


def figure(value, unit, **more):
    return {"value": value, "unit": unit, "source": BOOK} | more


def written(tmp_path, fields, name="mine.yaml") -> Path:
    path = tmp_path / name
    path.write_text(yaml.safe_dump(fields))
    return path


def macros(scale):
    rows = [[s, w, scale, scale, scale, scale, 1] for s in (1024, 65536) for w in (1, 32)]
    return {
        "units": SRAM_UNITS, "temperature_k": 320, "source": BOOK, "points": {"1rw": rows, "1r1w": rows}
    }  # fmt: skip


def test_single_figures_stand_over_those_of_a_node(tmp_path):
    path = written(
        tmp_path,
        {
            "base": 16,
            "many_core": {"host_bit": figure(3.5, "pJ a bit", status="measured", known="measured")},
            "learn": {"fp32_add_pj": figure(0.3, "pJ")},
            "area": {"nand2_um2": figure(0.2, "um2")},
        },
    )
    ours, theirs = load_learn_tables(16), load_learn_tables(path)
    assert theirs.many_core.node_nm == theirs.learn.node_nm == theirs.area.node_nm == 16
    own = theirs.many_core.constant("host_bit")
    assert (own.value, own.source, own.status, own.node_nm) == (3.5, BOOK, "measured", 16)
    add = theirs.learn.constant("fp32_add_pj")
    assert (add.value, add.status, add.known) == (0.3, "assumed", "reasoned")
    assert theirs.area.constants.nand2_um2.value == 0.2
    changed = {"host_bit"}
    assert {
        n for n, c in theirs.many_core.constants.items() if c != ours.many_core.constants[n]
    } == changed
    assert theirs.many_core.sram == ours.many_core.sram
    assert theirs.many_core.name == "mine over many_core_16nm"
    assert theirs.many_core.table_hash != ours.many_core.table_hash


def test_curves_macros_and_the_memory_beside_the_chip_can_be_changed(tmp_path):
    path = written(
        tmp_path,
        {
            "base": 28, "name": "own process", "memory": "ddr4", "sram": macros(2.0),
            "curves": {"add": {"points": [[8, 0.1], [16, 0.2]], "unit": "pJ", "source": BOOK}},
        },
    )  # fmt: skip
    costs, learn = load_costs(path), load_learn_costs(path)
    assert costs.curve("add").at(16) == pytest.approx(0.2)
    assert costs.curve("multiply") == load_costs(28).curve("multiply")
    assert costs.sram.read_pj(1024, 1) == pytest.approx(2)
    assert (costs.sram.source, costs.sram.status) == (BOOK, "assumed")
    assert costs.constant("sram_temperature_k").value == 320
    assert costs.name.startswith("own process over")
    assert learn.value("dram_bit_pj") == 18
    assert load_learn_costs(28).value("dram_bit_pj") == 6
    assert load_area_costs(path).constants == load_area_costs(28).constants


def test_a_table_of_another_node_than_the_chips_is_refused(tmp_path):
    chip = load_config("tianjic")
    path = written(tmp_path, {"base": 22})
    with pytest.raises(CostError, match=r"base is 22 nm, but the chip 'tianjic' is built in 28 nm"):
        tables_of(chip, path)
    assert tables_of(chip.replace(chip={"node_nm": 22}), path) == path
    assert tables_of(chip) == 28


def test_the_example_of_the_docs_is_right_and_changes_every_part(tmp_path):
    page = Path(__file__).resolve().parent.parent / "docs" / "costs.md"
    (example,) = re.findall(r"```yaml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    path = tmp_path / "mine.yaml"
    path.write_text(example)
    ours, theirs = load_learn_tables(28), load_learn_tables(path)
    assert theirs.many_core.constant("host_bit").value == 3.5
    assert theirs.learn.value("dram_bit_pj") != ours.learn.value("dram_bit_pj")
    assert theirs.area.constants.nand2_um2 != ours.area.constants.nand2_um2
    assert theirs.many_core.curves != ours.many_core.curves
    assert theirs.many_core.sram.read_pj(1024, 4) == pytest.approx(0.9)


MISTAKES = [
    ({"colour": "red"}, "colour is no part of a cost table; it may have base, name"),
    ({"base": None}, "base must be one of the nodes 45, 32, 28, 22, 16, 12, not None"),
    ({"base": 7}, "base must be one of the nodes 45, 32, 28, 22, 16, 12, not 7"),
    ({"name": 3}, "name must be a text, not 3"),
    ({"memory": "sdram"}, "memory must be one of hbm2, gddr5, ddr4, lpddr4, not 'sdram'"),
    ({"many_core": {"hots_bit": figure(1, "pJ a bit")}}, "many_core.hots_bit: there is no such cost; many_core has"),
    ({"learn": {"host_bit": figure(1, "pJ a bit")}}, "learn.host_bit: there is no such cost; learn has bank_bytes"),
    ({"many_core": {"host_bit": figure(-1, "pJ a bit")}}, "must be a number of at least 0 pJ a bit, not -1"),
    ({"many_core": {"host_bit": figure("1", "pJ a bit")}}, "must be a number of at least 0 pJ a bit, not '1'"),
    ({"many_core": {"host_bit": figure(True, "pJ a bit")}}, "must be a number of at least 0 pJ a bit, not True"),
    ({"many_core": {"host_bit": figure(float("nan"), "pJ a bit")}}, "at least 0 pJ a bit, not nan"),
    ({"many_core": {"host_bit": figure(1, "fJ")}}, "many_core.host_bit.unit must be 'pJ a bit', not 'fJ'"),
    ({"many_core": {"host_bit": {"value": 1, "source": BOOK}}}, "host_bit has no unit; it must say 'pJ a bit'"),
    ({"many_core": {"host_bit": {"unit": "pJ a bit", "source": BOOK}}}, "many_core.host_bit has no value"),
    ({"many_core": {"host_bit": {"value": 1, "unit": "pJ a bit"}}}, "many_core.host_bit.source must say in 10"),
    ({"many_core": {"host_bit": 2}}, "many_core.host_bit must have value, unit and source, and is only 2"),
    ({"many_core": [1]}, "many_core must be a mapping of names to figures, not [1]"),
    ({"learn": {"fp32_add_pj": figure(1, "pJ", status="known")}}, "status must be one of measured, derived, assumed"),
    ({"learn": {"fp32_add_pj": figure(1, "pJ", colour=1)}}, "colour is no field of a figure; it may have value"),
    ({"learn": {"fp32_add_pj": figure(1, "pJ", voltage_v=0)}}, "voltage_v must be a number of volts above 0"),
    ({"curves": {"add": {"points": [[8, 1], [4, 2]], "unit": "pJ", "source": BOOK}}}, "both positive and ascending"),
    ({"sram": 3}, "sram must have units, temperature_k, points and source, and is only 3"),
    ({"sram": macros(1) | {"units": ["bytes"]}}, "sram.units must be [bytes, bytes, pJ, pJ, mW, mm2, ns]"),
    ({"sram": macros(1) | {"temperature_k": "hot"}}, "sram.temperature_k must be the temperature of the leakage in K"),
    ({"sram": macros(1) | {"points": {"1rw": []}}}, "sram.points must have a list of macros for 1rw and one for 1r1w"),
    ({"sram": macros(1) | {"points": {"1rw": [[8, 1, -1, 1, 1, 1, 1]], "1r1w": []}}}, "positive numbers, not [8"),
    ({"sram": macros(1) | {"points": {"1rw": macros(1)["points"]["1rw"], "1r1w": []}}}, "needs at least two sizes"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "words"), MISTAKES, ids=[words[:40] for _, words in MISTAKES])
def test_every_mistake_is_one_sentence_with_its_place(tmp_path, change, words):
    path = written(tmp_path, {"base": 28} | change)
    for load in (load_costs, load_learn_costs, load_area_costs):
        with pytest.raises(CostError) as error:
            load(path)
        assert words in str(error.value)
        assert str(error.value).startswith(f"{path}: ")
        assert len(str(error.value).splitlines()) == 1


def test_all_mistakes_are_told_at_once_and_a_missing_base_is_one(tmp_path):
    path = written(tmp_path, {"colour": 1, "learn": {"fp32_add_pj": figure(-1, "J")}})
    with pytest.raises(CostError) as error:
        load_costs(path)
    assert len(str(error.value).splitlines()) == 4
    assert "base is missing: the node in nm" in str(error.value)


def test_files_that_are_no_table(tmp_path):
    for name, text, words in (
        ("list.yaml", "- 1\n", "must hold a mapping of fields, not list"),
        ("broken.yaml", "a: [", "is no readable YAML file"),
    ):
        path = tmp_path / name
        path.write_text(text)
        with pytest.raises(CostError, match=words):
            load_costs(path)
    with pytest.raises(CostError, match="is no readable YAML file"):
        load_costs(tmp_path / "none.yaml")


# ------------------------------------------------------------------------------------------------------ commands


@pytest.fixture(scope="module")
def digits():
    return load_zoo_samples("mnist_mlp", 2)


@pytest.fixture(scope="module")
def program(tmp_path_factory, digits):
    out = tmp_path_factory.mktemp("program") / "net.chip"
    data = {"inputs": digits.inputs}
    compile_nir(
        network("mnist_mlp"), "tianjic", convention="nir", calibrate=data, timesteps=4, encode="direct"
    ).save(out)  # fmt: skip
    return out


def samples(digits):
    return {"data": {"inputs": digits.inputs}, "timesteps": 4, "encode": "direct", "samples": 1}


@pytest.mark.parametrize(
    "command",
    [
        ("costs",), ("train", "mnist_mlp", "--dry-run"), ("compare", "mnist_mlp"),
        ("area", "--chip", "h2learn", "--quick"), ("area", "--chip", "tianjic", "--quick"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_commands_refuse_bad_costs_with_exit_code_2(command, tmp_path, capsys):
    path = written(tmp_path, {"base": 28, "many_core": {"hots_bit": figure(1, "pJ a bit")}})
    done = run_command(capsys, *command, "--costs", path)
    assert done.code == 2
    assert done.err.startswith(f"spikeloom: {path}: many_core.hots_bit: there is no such cost")
    assert len(done.err.strip().splitlines()) == 1


def test_run_refuses_bad_costs_before_it_runs(program, digits, tmp_path, capsys):
    out, data = tmp_path / "result.json", tmp_path / "data.npz"
    np.savez(data, inputs=digits.inputs)
    path = written(tmp_path, {"base": 16})
    done = run_command(
        capsys, "run", program, data, "--timesteps", 4, "--encode", "direct", "--costs", path, "--out", out
    )  # fmt: skip
    assert done.code == 2
    assert "base is 16 nm, but the chip" in done.err
    assert not out.exists()


def test_a_run_is_priced_with_ones_own_table(program, digits, tmp_path):
    ours = run(program, **samples(digits))
    path = written(tmp_path, {"base": 28, "many_core": {"host_bit": figure(10.0, "pJ a bit")}})
    theirs = run(program, **samples(digits), costs=path)
    assert theirs.energy_j["host"] == pytest.approx(10 * ours.energy_j["host"])
    assert theirs.energy_j["soma"] == ours.energy_j["soma"]
    assert theirs.provenance["costs"] == "mine over many_core_28nm"
    assert theirs.provenance["costs_hash"] != ours.provenance["costs_hash"]
    (row,) = [row for row in theirs.energy_rows if row.component == "host"]
    assert row.source == BOOK


def test_a_step_is_priced_with_ones_own_table(tmp_path):
    path = written(tmp_path, {"base": 28, "memory": "lpddr4"})
    ours, theirs = dry_run("mnist_mlp"), dry_run("mnist_mlp", costs=path)
    assert theirs.counts.cycles == ours.counts.cycles
    ratio = theirs.energy.by_component["dram"] / ours.energy.by_component["dram"]
    assert ratio == pytest.approx(14 / 6)
    assert theirs.tables.learn.name == "mine over learn_28nm"


def test_a_training_is_priced_with_ones_own_table_and_goes_on_with_no_other(tmp_path):
    path = written(tmp_path, {"base": 28, "memory": "lpddr4"})
    rng = np.random.default_rng(0)
    data = {"inputs": rng.random((4, 28, 28)), "labels": np.arange(4)}
    options: dict[str, Any] = {
        "recipe": {"batch": 4, "timesteps": 2}, "epochs": 1, "checkpoint": tmp_path / "run.ckpt",
    }  # fmt: skip
    training = train("mnist_mlp", data, costs=path, **options)
    (row,) = {
        row.cost_j
        for row in training_result(training).energy_rows
        if (row.component, row.event) == ("dram", "read_bytes")
    }
    assert row == pytest.approx(8 * 14e-12)
    assert "mine over learn_28nm" in training_result(training).provenance["costs"]
    with pytest.raises(InputError, match="belongs to another training"):
        train("mnist_mlp", data, resume=True, **options)


@pytest.mark.parametrize("node", [45, 22, 12])
def test_chips_of_other_nodes_are_priced(node):
    chip = load_config("h2learn").replace(chip={"node_nm": node})
    own, other = (dry_run("mnist_mlp", chip=c).energy.total for c in ("h2learn", chip))
    assert (other > own) == (node > 28)


def test_the_command_shows_figures_with_their_sources(tmp_path, capsys):
    shown = run_command(capsys, "costs", "--node", 16, "--json")
    assert shown.code == 0
    told = json.loads(shown.out)
    assert (told["node_nm"], told["voltage_v"]) == (16, 0.8)
    names = {row["name"] for row in told["figures"]}
    assert {"host_bit", "fp32_add_pj", "nand2_um2", "dram_bit_pj"} <= names
    assert all(row["source"] for row in told["figures"])
    path = written(tmp_path, {"base": 16, "many_core": {"host_bit": figure(0.25, "pJ a bit")}})
    table = run_command(capsys, "costs", "--costs", path)
    assert table.code == 0
    assert "0.25" in table.out
    assert "costs at 16 nm and 0.8 V" in table.out
    assert run_command(capsys, "costs", "--node", 7).code == 2
