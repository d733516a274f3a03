"""The floor plan: a site a block, equal shares of the device, neighbours in order; none where it would not help."""

import json
from itertools import pairwise

import pytest

from spikeloom.hw.fpga import NEXTPNR_ECP5, PARTS
from spikeloom.hw.fpga_floor_plan import floor_plan
from spikeloom.hw.yosys import run_tool, run_yosys

# Block RAMs and multipliers of each device, from the ECP5 family's data sheet (FPGA-DS-02012).
DEVICES = {"25k": (56, 28), "45k": (108, 72), "85k": (208, 156)}
RAM, MULTIPLIER = "DP16KD", "MULT18X18D"


def cells_of(mesh, rams, multipliers):
    columns, rows = mesh
    tiles = [f"mesh.tile_{c}_{r}.core" for c in range(columns) for r in range(rows)]
    cells = [(f"{tile}.synapse.ram.memory.0.{n}", RAM) for tile in tiles for n in range(rams)]
    cells += [
        (f"{tile}.dendrite.n{n}_{MULTIPLIER}_P", MULTIPLIER)
        for tile in tiles
        for n in range(multipliers)
    ]
    return [*cells, ("host.input_0.ram", RAM), ("mesh.tile_0_0.core.soma.v", "TRELLIS_FF")]


def place(text):
    x, y, name = text.split("/")
    return int(x.removeprefix("X")), int(y.removeprefix("Y")), name


@pytest.mark.parametrize("part", DEVICES)
def test_sites_are_those_of_the_data_sheet(part):
    blocks = PARTS[part].blocks
    assert blocks is not None
    assert list(blocks.sites) == [RAM, MULTIPLIER]
    for sites, count in zip(blocks.sites.values(), DEVICES[part], strict=True):
        assert len(set(sites)) == len(sites) == count


@pytest.mark.parametrize("mesh", [(2, 2), (4, 1), (1, 4), (3, 1)])
def test_each_tile_has_its_own_part_of_the_device(mesh):
    cells = cells_of(mesh, 48, 36)
    blocks = PARTS["85k"].blocks
    assert blocks is not None
    plan = floor_plan(cells, blocks)
    assert set(plan) == {name for name, kind in cells if kind != "TRELLIS_FF"} - {
        "host.input_0.ram"
    }
    assert len(set(plan.values())) == len(plan)
    for kind in (RAM, MULTIPLIER):
        sites = set(blocks.sites[kind])
        for column in range(mesh[0]):
            for row in range(mesh[1]):
                at = [
                    place(plan[name])
                    for name, k in cells
                    if k == kind and f"tile_{column}_{row}." in name
                ]
                assert set(at) <= sites
                xs, ys = [a[0] for a in at], [a[1] for a in at]
                assert max(xs) - min(xs) < 127 / mesh[0]
                if kind == RAM and mesh == (2, 2):
                    assert set(ys) == ({22, 46} if row == 0 else {70, 82})
                assert all(a <= b for a, b in pairwise(xs))  # names in order, 2 before 10
    firsts = [plan[f"mesh.tile_{c}_0.core.synapse.ram.memory.0.0"] for c in range(mesh[0])]
    assert [place(first)[0] for first in firsts] == sorted(place(first)[0] for first in firsts)


def test_components_stand_in_the_order_of_a_flits_way():
    cells = cells_of((2, 2), 30, 36)
    cells += [
        (f"mesh.tile_{c}_{r}.core.{name}.ram.memory.0.{n}", RAM)
        for c in range(2)
        for r in range(2)
        for name in ("sender", "axon")
        for n in range(3)
    ]
    plan = floor_plan(cells, PARTS["85k"].blocks)
    xs = {
        name: [place(plan[f"mesh.tile_1_1.core.{name}.ram.memory.0.{n}"])[0] for n in range(3)]
        for name in ("axon", "synapse", "sender")
    }
    assert max(xs["axon"]) <= min(xs["synapse"]) <= max(xs["synapse"]) <= min(xs["sender"])


@pytest.mark.parametrize(
    ("mesh", "rams", "multipliers"),
    [
        ((1, 1), 48, 36),  # a quarter of the device: nextpnr does better alone
        ((2, 2), 53, 36),  # more than a quarter each
        ((2, 2), 48, 40),
        ((3, 2), 48, 20),
    ],
)
def test_where_it_would_not_help_there_is_none(mesh, rams, multipliers):
    assert floor_plan(cells_of(mesh, rams, multipliers), PARTS["85k"].blocks) == {}
    assert floor_plan([], PARTS["85k"].blocks) == {}
    assert floor_plan(cells_of((2, 2), 48, 36), PARTS["xc7"].blocks) == {}


def test_nextpnr_puts_blocks_where_the_plan_says():
    """All block RAMs and multipliers of the smallest device, of two tiles."""
    rams, multipliers = DEVICES["25k"]
    tile = f"""
module tile(input clk, input a, output q);
wire [{rams // 2}:0] r;
wire [{multipliers // 2}:0] p;
assign r[0] = a;
assign p[0] = r[{rams // 2}];
assign q = p[{multipliers // 2}];
genvar i;
generate
for (i = 0; i < {rams // 2}; i = i + 1)
  DP16KD ram(.CLKA(clk), .CLKB(clk), .CEA(1'b1), .CEB(1'b1), .OCEB(1'b1), .WEA(1'b1), .DIA0(r[i]), .DOB0(r[i + 1]));
for (i = 0; i < {multipliers // 2}; i = i + 1)
  MULT18X18D mult(.A0(p[i]), .B0(a), .P0(p[i + 1]));
endgenerate
endmodule
module top(input clk, input a, output q);
wire b;
tile tile_0_0(.clk(clk), .a(a), .q(b));
tile tile_1_0(.clk(clk), .a(b), .q(q));
endmodule
"""
    run = run_yosys(
        "read_verilog a.v\nsynth_ecp5 -top top\nwrite_json a.json\n", {"a.v": tile}, ["a.json"]
    )
    netlist = json.loads(run.files["a.json"])
    cells = netlist["modules"]["top"]["cells"]
    plan = floor_plan(((name, cell["type"]) for name, cell in cells.items()), PARTS["25k"].blocks)
    assert len(plan) == rams + multipliers
    for name, site in plan.items():
        cells[name]["attributes"]["BEL"] = site
    options = [*PARTS["25k"].device, "--json", "a.json", "--write", "b.json", "--no-route", "-q"]
    placed = run_tool(
        NEXTPNR_ECP5,
        [*options, "--lpf-allow-unconstrained"],
        {"a.json": json.dumps(netlist).encode()},
        ["b.json"],
    )
    assert placed.code == 0, placed.error
    found = json.loads(placed.files["b.json"])["modules"]["top"]["cells"]
    assert {name: found[name]["attributes"]["NEXTPNR_BEL"] for name in plan} == plan
