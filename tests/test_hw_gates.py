"""Gates: modules lead to components, counts of a known design, nothing is lost or counted twice, results are kept."""

from __future__ import annotations

from math import fsum

import pytest
from pydantic import ValidationError

from spikeloom.chip.config import load_config
from spikeloom.hw import gates
from spikeloom.hw.components import COMPONENTS, component_of_module
from spikeloom.hw.gates import CELL_GATES, GatesResult, count_gates
from spikeloom.hw.memory import RAM_MODULE
from spikeloom.hw.verilog import CHIP_MODULE, emit_chip, fixed_text
from spikeloom.hw.verilog_text import Netlist

SMALL = load_config("tiny").replace(
    core={"axons": 8, "neurons": 4, "lanes": 2, "delay_slots": 2, "route_entries": 8},
    network={"columns": 1, "rows": 1, "host_rows": [0], "host_columns": [0]},
)


@pytest.mark.parametrize(
    ("module", "component"),
    [
        ("spikeloom_tile_core_axon", "axon"),
        ("spikeloom_tile_core_axon_160", "axon"),
        ("spikeloom_tile_core_soma", "soma"),
        ("spikeloom_tile_router", "router"),
        ("spikeloom_tile_load_node", "load node"),
        ("spikeloom_tile_core_signature", "signatures"),
        ("spikeloom_tile_north_signature", "signatures"),
        ("spikeloom_chip_host", "host port"),
        ("spikeloom_chip_mesh_barrier", "barrier"),
    ],
)
def test_modules_lead_to_components(module, component):
    found = component_of_module(module)
    assert found is not None
    assert found.name == component
    assert gates._owner(f"{module}_inside") == component


@pytest.mark.parametrize(
    ("module", "owner"),
    [
        ("spikeloom_tile", "core control"),
        ("spikeloom_tile_core", "core control"),
        ("spikeloom_chip", "top"),
        ("spikeloom_chip_mesh", "top"),
    ],
)
def test_what_stands_around_components_is_control_or_top(module, owner):
    assert component_of_module(module) is None
    assert gates._owner(module) == owner


def test_cells_are_counted_against_a_nand():
    assert CELL_GATES["$_NAND_"] == 1
    assert CELL_GATES["$_DFF_P_"] == pytest.approx(17 / 3)
    assert CELL_GATES["$_NOT_"] < CELL_GATES["$_AND_"] < CELL_GATES["$_XOR_"] < CELL_GATES["$_MUX_"]


TILE = """
module spikeloom_tile(input clk, input rst, input a, input b, output y, output reg [3:0] q);
  spikeloom_tile_router router(.clk(clk), .a(a), .b(b), .y(y));
  always @(posedge clk) if (rst) q <= 0; else if (a) q <= {q[2:0], b};
endmodule
module spikeloom_tile_router(input clk, input a, input b, output y);
  wire [7:0] row;
  spikeloom_ram #(
    .ADDR_BITS(32'd1),
    .DEPTH(32'd2),
    .WIDTH(32'd8)
  ) rows (
    .clk(clk), .w_en(a), .w_addr(b), .w_data({8{a}}), .r_en(b), .r_addr(a), .r_data(row)
  );
  assign y = ~(row[0] & b);
endmodule
"""
CHIP = """
module spikeloom_chip(input clk, input rst, input a, input b, output y, output z);
  wire [3:0] q;
  spikeloom_tile tile_0_0(.clk(clk), .rst(rst), .a(a), .b(b), .y(y), .q(q));
  assign z = ^q;
endmodule
"""


def test_counts_of_a_design_that_is_known():
    texts = {
        "spikeloom_chip.v": CHIP,
        "spikeloom_tile.v": TILE,
        f"{RAM_MODULE}.v": fixed_text(RAM_MODULE),
    }
    parts = {part.component: part for part in gates._components(texts, 6, lambda _: None)}
    assert set(parts) == {"router", "core control", "top"}
    assert parts["router"].cells == {"$_NAND_": 1}
    assert parts["router"].gate_equivalents == 1
    assert [(r.width, r.depth, r.count) for r in parts["router"].rams] == [(8, 2, 1)]
    assert parts["core control"].flip_flops == 4
    assert parts["core control"].count == 6
    assert parts["top"].gate_equivalents == 6  # three gates of XOR or XNOR
    assert parts["top"].count == 1


def whole(parts, total):
    return GatesResult(
        chip="toy",
        config_hash="0" * 16,
        cores=4,
        verilog_sha256="f" * 64,
        tools=["a tool 1"],
        components=parts,
        gate_equivalents=total,
    )


def test_a_result_whose_components_do_not_sum_is_refused():
    part = gates.GateComponent(
        component="axon",
        what="x",
        place="core",
        count=4,
        cells={"$_NAND_": 5},
        flip_flops=0,
        gate_equivalents=5,
        rams=[],
    )
    assert whole([part], 20).gate_equivalents == 20
    with pytest.raises(ValidationError, match=r"components sum to 20\.0, not to 19"):
        whole([part], 19)


def test_results_are_kept_by_what_they_were_made_of(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(gates, "_components", lambda *_: calls.append(1) or [])
    monkeypatch.setattr(gates, "emit_chip", lambda config: {"a.v": config.to_yaml()})
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first = count_gates(SMALL)
    assert count_gates(SMALL) == first
    assert len(calls) == 1
    (kept,) = (tmp_path / "spikeloom").iterdir()
    kept.write_text("no JSON", encoding="utf-8")
    assert count_gates(SMALL) == first  # a damaged file is made anew
    assert len(calls) == 2
    count_gates(SMALL.replace(core={"route_entries": 16}))
    assert len(calls) == 3
    blocked = tmp_path / "file"
    blocked.write_text("", encoding="utf-8")
    assert count_gates(SMALL, cache=blocked) == first  # and one that cannot be written is no error


@pytest.mark.slow
def test_a_chip_by_its_components(tmp_path):
    result = count_gates(SMALL, cache=tmp_path)
    parts = {part.component: part for part in result.components}
    expected = {component.name for component in COMPONENTS} - {"tile wiring"}
    assert expected - {"top", "barrier"} <= set(parts)
    assert result.gate_equivalents == pytest.approx(
        fsum(part.gate_equivalents * part.count for part in result.components)
    )
    # Every memory of the Verilog belongs to one component.
    netlist = Netlist(emit_chip(SMALL))
    assert sum(r.count * p.count for p in parts.values() for r in p.rams) == netlist.count(
        RAM_MODULE, CHIP_MODULE
    )
    assert [(r.width, r.depth) for r in parts["synapse"].rams] == [(16, 16)]
    assert parts["signatures"].gate_equivalents > 1000
    quiet = count_gates(SMALL.replace(many_core={"signatures": False}), cache=tmp_path)
    assert "signatures" not in {part.component for part in quiet.components}
    assert quiet.gate_equivalents < result.gate_equivalents
