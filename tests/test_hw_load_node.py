"""The load chain's node: rows written, rows read, everything passed on, under random stalls."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.sim import Simulator

from spikeloom.chip.config import ManyCoreConfig, load_config
from spikeloom.chip.host_link import Header, HostLink, HostOp
from spikeloom.chip.memory_map import READABLE, WRITABLE, Memory
from spikeloom.hw.cores.load_node import LoadNode

Word = tuple[int, int]  # data, header

CONFIGS = {
    64: {"axons": 11, "neurons": 13, "lanes": 5, "membrane_bits": 21},  # weights of 40 bits: 1 beat
    128: {"axons": 5, "neurons": 20, "lanes": 17, "membrane_bits": 60, "accumulator_bits": 12},
}


def config_of(beat_bits: int) -> ManyCoreConfig:
    config = load_config("tiny").replace(core=CONFIGS[beat_bits]).many_core
    assert HostLink(config).beat_bits == beat_bits
    return config


@dataclass
class Chain:
    """Nodes in a row, and what their cores saw."""

    config: ManyCoreConfig
    nodes: int
    written: list[list[tuple[int, int, int]]] = field(default_factory=list)  # memory, row, data
    asked: list[list[tuple[int, int]]] = field(default_factory=list)

    def row(self, node: int, memory: int, row: int) -> int:
        """What node's core holds in a readable row."""
        bits = HostLink(self.config).memories.layouts[Memory(memory)].bits
        return Random(f"{node} {memory} {row}").getrandbits(bits)

    def run(
        self, words: list[Word], expected: int, seed: int, busy: float
    ) -> list[tuple[Word, int]]:
        """Send words, with stalls of probability ``busy`` on both sides; return what comes out, and when."""
        m = Module()
        nodes = [LoadNode(self.config) for _ in range(self.nodes)]
        for i, node in enumerate(nodes):
            m.submodules[f"node_{i}"] = node
            if i:
                wiring.connect(m, nodes[i - 1].chain_out, node.chain_in)
        self.written = [[] for _ in nodes]
        self.asked = [[] for _ in nodes]
        got: list[tuple[Word, int]] = []

        async def send(ctx):
            rng, port = Random(seed), nodes[0].chain_in
            for data, header in words:
                while rng.random() < busy:
                    await ctx.tick()
                ctx.set(port.payload, {"data": data, "header": header})
                ctx.set(port.valid, 1)
                await ctx.tick().until(port.ready)
                ctx.set(port.valid, 0)

        async def receive(ctx):
            rng, port = Random(seed + 1), nodes[-1].chain_out
            was_waiting = None
            for cycle in range(20_000):
                is_ready = rng.random() >= busy
                ctx.set(port.ready, is_ready)
                valid, word = ctx.get(port.valid), ctx.get(port.payload)
                seen = (word.data, word.header)
                if was_waiting is not None:
                    assert valid
                    assert seen == was_waiting, "a word changed while it waited"
                was_waiting = seen if valid and not is_ready else None
                if valid and is_ready:
                    got.append((seen, cycle))
                await ctx.tick()
                if len(got) == expected and cycle > got[-1][1] + 20:
                    return
            raise AssertionError(f"{len(got)} of {expected} words came")

        def core(i):
            async def process(ctx):
                node, answers = nodes[i], []
                while True:
                    _, _, w_en, w_memory, w_row, w_data, r_en, r_memory, r_row = (
                        await ctx.tick().sample(
                            node.w_en, node.w_memory, node.w_row, node.w_data,
                            node.r_en, node.r_memory, node.r_row,
                        )
                    )  # fmt: skip
                    if w_en:
                        bits = HostLink(self.config).memories.layouts[Memory(w_memory)].bits
                        self.written[i].append((w_memory, w_row, w_data & ((1 << bits) - 1)))
                    if r_en:
                        assert len(answers) == 0, "asked again before the last answer"
                        self.asked[i].append((r_memory, r_row))
                        ctx.set(node.r_data, 0)  # not there yet
                        answers.append(self.row(i, r_memory, r_row))
                    elif answers:
                        ctx.set(node.r_data, answers.pop())

            return process

        sim = Simulator(m)
        sim.add_clock(1e-6)
        sim.add_testbench(send, background=True)
        sim.add_testbench(receive)
        for i in range(self.nodes):
            sim.add_process(core(i))
        sim.run()
        return got


def write(link: HostLink, header: Header, rows: list[int]) -> list[Word]:
    """Return the words of a WRITE of whole rows."""
    words = [(header.pack(), 1)]
    size = link.beats_per_row(Memory(header.memory))
    mask = (1 << link.beat_bits) - 1
    words += [((row >> (i * link.beat_bits)) & mask, 0) for row in rows for i in range(size)]
    return words


def after(words: list[Word], nodes: int) -> list[Word]:
    """Return what ``words`` are behind ``nodes`` nodes: a header's hops count down."""
    out = []
    for data, is_header in words:
        if is_header:
            header = Header.unpack(data)
            hops = (header.hops - nodes) % 4096
            out.append((data >> 64 << 64 | Header(**{**vars(header), "hops": hops}).pack(), 1))
        else:
            out.append((data, 0))
    return out


@pytest.mark.parametrize("beat_bits", [64, 128])
@pytest.mark.parametrize("busy", [0.0, 0.5])
def test_rows_reach_the_nodes_meant_and_nobody_else(beat_bits, busy):
    config = config_of(beat_bits)
    link, chain, rng = HostLink(config), Chain(config, 3), Random(beat_bits)
    words: list[Word] = []
    expected: list[list[tuple[int, int, int]]] = [[], [], []]
    for number in range(14):
        memory = WRITABLE[number % len(WRITABLE)]
        layout = link.memories.layouts[memory]
        rows = [rng.getrandbits(layout.bits) for _ in range(rng.randrange(0, 4))]
        first = rng.randrange(layout.rows)
        to_all, node = rng.random() < 0.3, rng.randrange(4)  # node 3 is none of these
        words += write(link, Header(HostOp.WRITE, to_all, node, memory, first, len(rows)), rows)
        for i in range(3):
            if to_all or i == node:
                expected[i] += [(memory, first + j, row) for j, row in enumerate(rows)]
    got = chain.run(words, len(words), 7, busy)
    assert [word for word, _ in got] == after(words, 3)
    assert chain.written == expected
    assert min(len(rows) for rows in expected) > 3
    if not busy:  # a word a cycle, each node one cycle
        assert [cycle - got[0][1] for _, cycle in got] == list(range(len(words)))


def test_an_incomplete_row_is_not_written_and_stray_data_does_nothing():
    config = config_of(64)
    link, chain = HostLink(config), Chain(config, 1)
    memory = Memory.NEURONS
    assert link.beats_per_row(memory) == 3
    cut = write(link, Header(HostOp.WRITE, 0, 0, memory, 2, 2), [1 << 100, 1 << 101])[:-1]
    whole = write(link, Header(HostOp.WRITE, 0, 0, memory, 5, 1), [(1 << 130) + 5])
    words = [*cut, *whole, (9, 0), (9, 0), (9, 0), (Header(15).pack(), 1), (4, 0)]
    got = chain.run(words, len(words), 3, 0.3)
    assert [word for word, _ in got] == after(words, 1)
    assert chain.written == [[(memory, 2, 1 << 100), (memory, 5, (1 << 130) + 5)]]


@pytest.mark.parametrize("beat_bits", [64, 128])
@pytest.mark.parametrize("busy", [0.0, 0.5])
def test_reads_bring_the_rows_of_each_node_meant_and_then_their_header(beat_bits, busy):
    config = config_of(beat_bits)
    link, chain = HostLink(config), Chain(config, 3)
    words: list[Word] = []
    expected: list[Word] = []
    for memory in READABLE:
        for to_all, node, count in ((0, 1, 2), (1, 0, 3), (0, 2, 1), (0, 0, 0)):
            header = Header(HostOp.READ, to_all, node, memory, 2, count)
            write_between = write(link, Header(HostOp.WRITE, 0, 1, Memory.TABLE, 7, 1), [5])
            for i in range(3):
                if to_all or i == node:
                    rows = [chain.row(i, memory, row) for row in range(2, 2 + count)]
                    expected += write(link, header, rows)[1:]
            expected += after([(header.pack(), 1), *write_between], 3)
            words += [(header.pack(), 1), *write_between]
    got = chain.run(words, len(expected), 5, busy)
    assert [word for word, _ in got] == expected
    assert [len(rows) for rows in chain.asked] == [9, 15, 12]
    assert chain.written[1] == [(Memory.TABLE, 7, 5)] * 12
    assert chain.written[0] == chain.written[2] == []


def test_timing_of_the_docstring():
    config = config_of(64)
    link, chain = HostLink(config), Chain(config, 1)
    size = link.beats_per_row(Memory.COUNTERS)
    header = Header(HostOp.READ, 0, 0, Memory.COUNTERS, 0, 3)
    got = chain.run([(header.pack(), 1)], 3 * size + 1, 0, 0.0)
    assert [cycle for _, cycle in got] == [4, 7, 10, 11]
