"""The router of the RTL against the simulator's: every transfer, every FIFO level, every cycle, under back-pressure."""

from __future__ import annotations

import random
from collections import Counter, deque
from dataclasses import dataclass

import pytest
from amaranth.sim._async import SimulatorContext
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeloom.chip.config import CoreConfig, ManyCoreConfig, NetworkOnChipConfig
from spikeloom.chip.events import PORTS
from spikeloom.chip.packet import FlitLayout
from spikeloom.hw.cores.router import TURNS, Router
from spikeloom.sim.cores.state import (
    DELAY_MASK,
    DELAY_SHIFT,
    KIND_MASK,
    KIND_SHIFT,
    TARGET_SHIFT,
    X_MASK,
    Y_MASK,
    Y_SHIFT,
)

from .support.bench import Bench
from .support.router_model import EAST, LOCAL, NORTH, SOUTH, WEST, RouterModel

LEGAL = {(i, PORTS.index(o)) for i, port in enumerate(PORTS) for o in TURNS[port]}
STEP = {LOCAL: (0, 0), NORTH: (0, 1), EAST: (-1, 0), SOUTH: (0, -1), WEST: (1, 0)}

# Columns, rows, place of the router under test, depth of its FIFOs. The place has four neighbours.
BENCHES = [
    (3, 3, (1, 1), 4),
    (7, 4, (2, 1), 1),
    (3, 6, (1, 4), 2),
    (16, 3, (14, 1), 3),
]


@dataclass(frozen=True)
class Flit:
    """One flit of the stimulus: it waits ``gap`` cycles behind the one before it at its input."""

    port: int
    gap: int
    x: int  # destination; row -1 is the host
    y: int
    kind: int
    target: int
    delay: int
    payload: int


@dataclass(frozen=True)
class Stimulus:
    """Flits, and for each output but the local one a pattern, repeated, of cycles in which its neighbour is full."""

    flits: list[Flit]
    stalls: dict[int, list[bool]]


class RouterBench:
    """A router in Amaranth's simulator beside the model."""

    def __init__(self, columns: int, rows: int, place: tuple[int, int], depth: int) -> None:
        self.config = ManyCoreConfig(
            core=CoreConfig(axons=40, neurons=16, delay_slots=8, accumulator_bits=18),
            network=NetworkOnChipConfig(columns=columns, rows=rows, fifo_depth=depth),
        )
        self.place = place
        self.depth = depth
        self.layout = FlitLayout.of(self.config)
        self.dut = Router(self.config)
        self.rounds: list[Stimulus] = []
        self.turns: Counter[tuple[int, int]] = Counter()
        self.seen: Counter[str] = Counter()
        self.bench = Bench(self.dut)

    def run(self, rounds: list[Stimulus]) -> None:
        """Run one stimulus after another, with a ``sample`` between."""
        self.rounds = rounds
        self.bench.run(self.testbench)

    async def testbench(self, ctx: SimulatorContext) -> None:
        model = RouterModel(self.config, self.place)
        for stimulus in self.rounds:
            await self.exchange(ctx, model, stimulus)
            model.state.turn[:] = 0
            ctx.set(self.dut.sample, 1)
            await ctx.tick()
            ctx.set(self.dut.sample, 0)

    async def exchange(self, ctx: SimulatorContext, model: RouterModel, stimulus: Stimulus) -> None:
        """Drive flits and stalls until all flits have left; compare in every cycle."""
        dut = self.dut
        queues: list[deque[Flit]] = [deque() for _ in PORTS]
        for flit in stimulus.flits:
            queues[flit.port].append(flit)
        since = [0] * 5
        left, cycle = 0, 0
        while left < len(stimulus.flits) or cycle == 0:
            assert cycle < 40 * len(stimulus.flits) + 10, "a flit never left"
            stalled = {o: p[cycle % len(p)] for o, p in stimulus.stalls.items()}
            levels = model.levels
            arrivals: dict[int, tuple[int, int]] = {}
            for port, queue in enumerate(queues):
                offered = bool(queue) and since[port] >= queue[0].gap
                since[port] += 1
                link = dut.link(PORTS[port], "in")
                ctx.set(link.valid, offered)
                ctx.set(link.payload, self.as_rtl(queue[0]) if offered else 0)
                assert ctx.get(dut.fifos[PORTS[port]].level) == levels[port], (cycle, port)
                assert ctx.get(link.ready) == (levels[port] < self.depth), (cycle, port)
                if offered and levels[port] < self.depth:
                    arrivals[port] = self.as_model(queue.popleft())
                    since[port] = 0
                self.seen["full"] += levels[port] == self.depth
                self.seen["refused"] += offered and levels[port] == self.depth
            assert ctx.get(dut.empty) == (sum(levels) == 0), cycle

            asking = [ctx.get(dut.link(port, "out").valid) for port in PORTS]
            for output, name in enumerate(PORTS):
                ctx.set(dut.link(name, "out").ready, not stalled.get(output, False))
                assert ctx.get(dut.link(name, "out").valid) == asking[output], "valid waits"
            actual = {
                output: ctx.get(dut.link(name, "out").payload)
                for output, name in enumerate(PORTS)
                if asking[output] and not stalled.get(output, False)
            }
            self.seen["stalled"] += any(asking[o] and stalled[o] for o in stalled)
            self.seen["2 at once"] += len(actual) >= 2

            transfers = model.step(stalled, arrivals)
            expected = {o: self.after_hop(o, word, payload) for _, o, word, payload in transfers}
            assert actual == expected, cycle
            self.turns.update((port, output) for port, output, _, _ in transfers)
            left += len(transfers)
            cycle += 1
            await ctx.tick()
        for port in PORTS:
            ctx.set(dut.link(port, "in").valid, 0)
        assert ctx.get(dut.empty) == 1
        assert not any(queues)
        self.seen["flits"] += left

    def as_rtl(self, flit: Flit) -> int:
        """Pack a flit with the distance from this place."""
        return self.layout.pack(
            kind=flit.kind,
            dx=flit.x - self.place[0],
            dy=flit.y - self.place[1],
            target=flit.target,
            delay=flit.delay,
            payload=flit.payload,
        )

    def as_model(self, flit: Flit) -> tuple[int, int]:
        """Pack a flit as the simulator does, with its destination."""
        word = flit.x | (flit.y + 1) << Y_SHIFT | flit.kind << KIND_SHIFT
        return word | flit.delay << DELAY_SHIFT | flit.target << TARGET_SHIFT, flit.payload

    def after_hop(self, output: int, word: int, payload: int) -> int:
        """Translate a flit of the simulator that leaves by ``output`` into the RTL's, a step nearer."""
        x, y = word & X_MASK, ((word >> Y_SHIFT) & Y_MASK) - 1
        step_x, step_y = STEP[output]
        return self.layout.pack(
            kind=(word >> KIND_SHIFT) & KIND_MASK,
            dx=x - self.place[0] + step_x,
            dy=y - self.place[1] + step_y,
            target=word >> TARGET_SHIFT,
            delay=(word >> DELAY_SHIFT) & DELAY_MASK,
            payload=payload,
        )

    def flit(
        self, port: int, gap: int, u: int, v: int, contents: tuple[int, int, int, int]
    ) -> Flit:
        """Make a flit that can arrive at ``port``; ``u`` and ``v`` choose among the destinations that lie ahead."""
        x, y = self.place
        mesh = self.config.network
        xs, ys = range(mesh.columns), range(-1, mesh.rows)
        if port in (NORTH, SOUTH):
            xs = range(x, x + 1)
            ys = range(y, mesh.rows) if port == NORTH else range(-1, y + 1)
        elif port in (EAST, WEST):
            xs = range(x + 1) if port == EAST else range(x, mesh.columns)
        kind, target, delay, payload = contents
        return Flit(port, gap, xs[u % len(xs)], ys[v % len(ys)], kind, target, delay, payload)

    def contents(self) -> tuple[range, range, range, range]:
        """Return the values of kind, target, delay and payload."""
        layout = self.layout
        half = 1 << (layout.payload_bits - 1)
        return (
            range(3),
            range(1 << layout.target_bits),
            range(1 << layout.delay_bits),
            range(-half, half),
        )


def drawn(bench: RouterBench) -> st.SearchStrategy[Stimulus]:
    """Draw what shrinks well: few flits, in any order of inputs."""
    contents = st.tuples(*[st.integers(v[0], v[-1]) for v in bench.contents()])
    flits = st.builds(
        bench.flit,
        st.integers(0, 4),
        st.sampled_from([0, 0, 0, 1, 2, 5]),
        st.integers(0, 15),
        st.integers(0, 15),
        contents,
    )
    pattern = st.lists(st.booleans(), max_size=8).map(lambda stalls: [*stalls, False])
    return st.builds(
        Stimulus,
        st.lists(flits, max_size=24),
        st.fixed_dictionaries(dict.fromkeys((NORTH, EAST, SOUTH, WEST), pattern)),
    )


def heavy(bench: RouterBench, seed: int, *, flits: int, load: float, stall: float) -> Stimulus:
    """Make traffic of a given load an input and share of stalled cycles, with every turn as likely as any other."""
    rng = random.Random(seed)
    (x, y), mesh = bench.place, bench.config.network
    chosen = []
    for _ in range(flits):
        port, output = rng.choice(sorted(LEGAL))
        xs, ys = {
            LOCAL: (range(x, x + 1), range(y, y + 1)),
            NORTH: (range(x, x + 1), range(-1, y)),
            EAST: (range(x + 1, mesh.columns), range(-1, mesh.rows)),
            SOUTH: (range(x, x + 1), range(y + 1, mesh.rows)),
            WEST: (range(x), range(-1, mesh.rows)),
        }[output]
        gap = 0 if rng.random() < load else rng.randrange(1, 9)
        kind, target, delay, payload = (rng.choice(values) for values in bench.contents())
        chosen.append(Flit(port, gap, rng.choice(xs), rng.choice(ys), kind, target, delay, payload))
    sides = (NORTH, EAST, SOUTH, WEST)
    return Stimulus(
        chosen, {side: [*(rng.random() < stall for _ in range(37)), False] for side in sides}
    )


@pytest.mark.parametrize("shape", BENCHES)
def test_transfers_and_levels_agree_with_the_simulator(shape):
    bench = RouterBench(*shape)

    # Whatever Hypothesis draws, these reach every turn, full FIFOs and refused flits.
    for seed, load, stall in ((1, 0.9, 0.5), (2, 1.0, 0.0), (3, 0.3, 0.2), (4, 1.0, 0.9)):
        bench.run([heavy(bench, seed, flits=120, load=load, stall=stall)])

    @settings(max_examples=15)
    @given(rounds=st.lists(drawn(bench), min_size=1, max_size=2))
    def check(rounds: list[Stimulus]) -> None:
        bench.run(rounds)

    check()
    assert set(bench.turns) == LEGAL
    assert len(LEGAL) == 17
    assert min(bench.turns.values()) >= 10
    for what in ("full", "refused", "stalled", "2 at once"):
        assert bench.seen[what] > 20, what
    assert bench.seen["flits"] >= 480


def test_a_sample_returns_the_turns():
    # Two inputs ask for the core again and again; without the reset the second round would go on with the other one.
    bench = RouterBench(*BENCHES[0])
    x, y = bench.place

    def stimulus(ports: list[int]) -> Stimulus:
        flits = [Flit(port, 0, x, y, 0, n, 0, n) for n, port in enumerate(ports)]
        return Stimulus(flits, {output: [False] for output in (NORTH, EAST, SOUTH, WEST)})

    bench.run([stimulus([NORTH]), stimulus([NORTH, SOUTH]), stimulus([NORTH, SOUTH, SOUTH])])
    assert bench.turns[SOUTH, LOCAL] == 3


def test_a_stalled_output_may_change_its_mind():
    # What the docstring says of links: the payload of a flit that waits may change.
    bench = RouterBench(*BENCHES[0])
    dut, layout = bench.dut, bench.layout
    fields = {"kind": 0, "target": 1, "delay": 1}
    late = layout.pack(dx=1, dy=0, payload=1, **fields)
    early = layout.pack(dx=1, dy=0, payload=2, **fields)

    async def testbench(ctx: SimulatorContext) -> None:
        ctx.set(dut.west_in.payload, early)
        ctx.set(dut.west_in.valid, 1)
        await ctx.tick()
        ctx.set(dut.west_in.valid, 0)
        ctx.set(dut.local_in.payload, late)
        ctx.set(dut.local_in.valid, 1)
        assert ctx.get(dut.east_out.valid) == 1
        assert layout.unpack(ctx.get(dut.east_out.payload))["payload"] == 2
        await ctx.tick()
        assert ctx.get(dut.east_out.valid) == 1
        assert layout.unpack(ctx.get(dut.east_out.payload))["payload"] == 1

    bench.bench.run(testbench)
