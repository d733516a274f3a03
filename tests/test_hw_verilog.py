import re
from pathlib import Path

import numpy as np
import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from spikeloom.chip.config import load_config
from spikeloom.hw import verilog_folder
from spikeloom.hw.verilog import CHIP_MODULE, chip_ports, emit, emit_chip
from spikeloom.hw.verilog_folder import write_verilog
from spikeloom.hw.verilog_text import Netlist, tidy
from tests.support.random_program import random_program
from tests.support.toy_chip import ToyChip

TINY = load_config("tiny").replace(network={"columns": 2, "rows": 1}, core={"neurons": 8})


class Gate(wiring.Component):
    """No clock inside; a keyword and signals of one name, one without bits."""

    a: Signal
    case: Signal

    def __init__(self) -> None:
        super().__init__({"a": In(2), "case": Out(2)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        x = [Signal(2, name="x") for _ in range(3)]
        none = Signal(0)
        m.d.comb += [x[0].eq(~self.a), x[1].eq(x[0] + 1), x[2].eq(x[1] ^ self.a)]
        m.d.comb += [self.case.eq(x[2]), none.eq(x[1])]
        return m


@pytest.fixture(scope="module")
def chip() -> dict[str, str]:
    return emit_chip(TINY)


def test_each_module_by_name_is_emitted_once_whatever_the_number_of_instances() -> None:
    few, many = emit(ToyChip(2), "toy"), emit(ToyChip(16), "toy")
    assert list(few) == list(many) == ["toy.v", "spikeloom_cell.v", "spikeloom_ram.v"]
    assert few["spikeloom_cell.v"] == many["spikeloom_cell.v"]
    netlist = Netlist(many)
    assert netlist.count("spikeloom_cell", "toy") == netlist.count("spikeloom_ram", "toy") == 16
    ((user, ram),) = netlist.instances_of("spikeloom_ram")
    assert (user, ram.name) == ("spikeloom_cell", "counts")
    assert ram.parameters == {"ADDR_BITS": 10, "DEPTH": 1024, "WIDTH": 64}


def test_monitors_are_emitted_only_for_a_trace() -> None:
    assert "spikeloom_monitor.v" not in emit(ToyChip(1), "toy")
    traced = emit(ToyChip(1), "toy", trace=True)
    assert "spikeloom_monitor.v" in traced
    assert Netlist(traced).count("spikeloom_monitor", "toy") == 1


def test_names_are_plain_and_clock_and_reset_are_always_there() -> None:
    text = emit(Gate(), "gate")["gate.v"]
    assert "module gate (\n    clk,\n    rst,\n    a,\n    case_\n);" in text
    assert "\\" not in text
    assert "[-1:0]" not in text
    assert len(set(re.findall(r"wire \[1:0\] (x\w*);", text))) == 3


def test_a_plain_name_that_is_taken_is_not_given_twice() -> None:
    text = tidy("/* x */\nmodule m(a_1, \\a$1 );\n  wire a_1;\n  wire \\a$1 ;\nendmodule\n")
    assert text == "module m (\n    a_1,\n    a_1_\n);\n  wire a_1;\n  wire a_1_;\nendmodule\n"


def test_the_chip_is_plain_verilog(chip: dict[str, str]) -> None:
    assert next(iter(chip)) == f"{CHIP_MODULE}.v"
    assert "spikeloom_tile.v" in chip
    modules = [m for text in chip.values() for m in re.findall(r"^module (\w+)", text, re.M)]
    assert len(modules) == len(set(modules)) > 10
    assert all(module.startswith("spikeloom_") for module in modules)
    for text in chip.values():
        for word in ("\\", "src =", "[-1:0]", "always_ff", "logic "):
            assert word not in text
    assert Netlist(chip).count("spikeloom_tile", CHIP_MODULE) == TINY.many_core.core_count


@pytest.mark.parametrize("slots", [2, 3, 4, 5, 8])
def test_no_choice_looks_at_a_bit_that_is_always_0(slots: int) -> None:
    # Of such a choice only the cases are left that can be, and Verilator takes it for a latch.
    config = TINY.replace(core={"delay_slots": slots, "axons": 40, "neurons": 40})
    choices = re.findall(r"casez? \(.*\)", "".join(emit_chip(config).values()))
    assert choices
    assert [choice for choice in choices if "'h0," in choice] == []


def test_emission_is_the_same_every_time(chip: dict[str, str]) -> None:
    assert emit_chip(TINY) == chip


def test_the_folder_has_all_files_and_says_what_they_are(
    tmp_path: Path, chip: dict[str, str]
) -> None:
    folder = tmp_path / "out" / "verilog"
    files = write_verilog(TINY, folder)
    assert {path.name for path in files} == {*chip, "filelist.f", "README.md"}
    assert {path for path in folder.rglob("*") if path.is_file()} == set(files)
    assert (folder / "filelist.f").read_text().splitlines()[1:] == list(chip)
    for name, text in chip.items():
        assert (folder / name).read_text() == text
    readme = (folder / "README.md").read_text()
    for port in chip_ports(TINY):
        assert f"| `{port.name}` | {'input' if port.is_input else 'output'} |" in readme
    assert f"configuration `{TINY.config_hash}`" in readme
    assert re.search(
        r"\| `spikeloom_tile_core_soma` \| `neurons` \| \d+ \| 8 \| .* \| 2 \|", readme
    )
    assert list(folder.parent.iterdir()) == [folder]


def test_images_are_rows_of_the_memories(
    tmp_path: Path, chip: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verilog_folder, "emit_chip", lambda *_, **__: chip)
    program = random_program(np.random.default_rng(1), TINY)
    write_verilog(TINY, tmp_path / "v", program=program, timesteps=5)
    images = tmp_path / "v" / "images"
    places = zip(program.register("x").tolist(), program.register("y").tolist(), strict=True)
    names = [f"tile_{x}_{y}" for x, y in places]
    assert sorted(path.name for path in images.iterdir()) == sorted(names)
    mask = (1 << TINY.many_core.core.membrane_bits) - 1
    for c, name in enumerate(names):
        rows = (images / name / "neurons.hex").read_text().split()
        thresholds = [v & mask for v in program.v_threshold[c].tolist()]
        assert [int(row, 16) & mask for row in rows] == thresholds


def test_an_own_folder_is_replaced_and_a_foreign_one_refused(
    tmp_path: Path, chip: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verilog_folder, "emit_chip", lambda *_, **__: chip)
    folder = tmp_path / "v"
    write_verilog(TINY, folder)
    write_verilog(TINY, folder)
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"holds 'notes.txt', which is not from here"):
        write_verilog(TINY, folder)
    assert (folder / "notes.txt").read_text() == "mine"
    with pytest.raises(FileExistsError, match=r"is a file: give a folder"):
        write_verilog(TINY, folder / "notes.txt")


def test_a_full_disk_leaves_what_was_there(
    tmp_path: Path, chip: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verilog_folder, "emit_chip", lambda *_, **__: chip)
    folder = tmp_path / "v"
    write_verilog(TINY, folder)
    before = {path: path.read_bytes() for path in folder.rglob("*")}

    def full(path: Path, text: str, **options: str) -> int:
        if path.name == "README.md":
            raise OSError(28, "No space left on device")
        return path.write_bytes(text.encode())

    monkeypatch.setattr(verilog_folder.Path, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        write_verilog(TINY, folder)
    assert {path: path.read_bytes() for path in folder.rglob("*")} == before
    assert list(tmp_path.iterdir()) == [folder]
