"""A host port with a model of the chip around it: a ring of load nodes with memories, and a mesh that follows plans."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Any

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.sim import Simulator

from spikeloom.chip.config import ChipConfig, load_config
from spikeloom.chip.host_link import Header, HostLink, HostOp, Output, Status, StepEnd, op_of
from spikeloom.chip.memory_map import Memory
from spikeloom.hw.cores.host import HostPort
from spikeloom.hw.cores.load_node import LoadNode

PATIENCE = 3000  # cycles that a frame is waited for

Frame = list[int]


def host_config(
    *, columns: int = 3, rows: int = 2, queue: int = 4, period: int = 0, wide: bool = False
) -> ChipConfig:
    return load_config("tiny").replace(
        core={"axons": 11, "neurons": 13, "lanes": 5}
        | ({"membrane_bits": 60, "accumulator_bits": 12} if wide else {}),
        network={
            "columns": columns,
            "rows": rows,
            "host_rows": list(range(rows)),
            "host_columns": sorted({0, columns - 1}),
            "host_queue_flits": queue,
        },
        timestep={"mode": "fixed", "period_cycles": period} if period else {"mode": "adaptive"},
    )


@dataclass
class Plan:
    """What the mesh does in a timestep: earliest quiet cycle, and outputs (from cycle, column, line, payload)."""

    quiet: int = 0
    outputs: list[tuple[int, int, int, int]] = field(default_factory=list)
    off_mesh: bool = False


@dataclass
class Step:
    """What the mesh saw of a timestep."""

    start: int
    flits: list[tuple[int, int, int]] = field(default_factory=list)  # cycle, port, flit
    outputs: list[int] = field(default_factory=list)  # cycles in which one was taken
    quiet: int = -1


class Host:
    """The far end of the link: sends frames, keeps those that come."""

    def __init__(self, ctx: Any, dut: HostPort, rng: Random, busy: float) -> None:
        self.ctx, self.dut, self.rng, self.busy = ctx, dut, rng, busy
        self.link = dut.link
        self.came: deque[Frame] = deque()
        self.cycles: list[int] = []  # in which a beat came
        self.reads = True

    async def send(self, *frames: Frame) -> None:
        ctx, dut = self.ctx, self.dut
        for frame in frames:
            for place, beat in enumerate(frame):
                while self.rng.random() < self.busy:
                    await ctx.tick()
                ctx.set(dut.s_axis_tdata, beat)
                ctx.set(dut.s_axis_tlast, place == len(frame) - 1)
                ctx.set(dut.s_axis_tvalid, 1)
                await ctx.tick().until(dut.s_axis_tready)
                ctx.set(dut.s_axis_tvalid, 0)

    async def receive(self, op: HostOp | None = None) -> Frame:
        for _ in range(PATIENCE):
            if self.came:
                frame = self.came.popleft()
                assert op is None or op_of(frame) == op, f"a frame {op_of(frame)} came"
                return frame
            await self.ctx.tick()
        raise AssertionError("no frame came")

    async def status(self, clear: bool = True) -> Status:
        await self.send([Header(HostOp.STATUS, row=int(clear)).pack()])
        return Status.unpack(await self.receive(HostOp.STATUS))

    async def read(
        self, memory: Memory, tile: int, row: int, count: int, to_all: bool = False
    ) -> Frame:
        header = Header(HostOp.READ, int(to_all), tile, memory, row, count)
        await self.send([header.pack()])
        return await self.receive(HostOp.READ)

    async def load(self, *writes: Frame) -> None:
        await self.send(*self.program(*writes))

    def program(self, *writes: Frame) -> list[Frame]:
        crc = self.link.crc(0, [beat for frame in writes for beat in frame])
        begin = [Header(HostOp.BEGIN).pack(), int(self.dut.config.config_hash, 16)]
        return [begin, *writes, [Header(HostOp.COMMIT).pack(), crc]]

    async def step_end(self) -> tuple[list[Output], StepEnd]:
        outputs = []
        while op_of(frame := await self.receive()) == HostOp.OUTPUT:
            assert len(frame) == 1
            outputs.append(self.link.unpack_output(frame[0]))
        assert op_of(frame) == HostOp.STEP_END
        end = StepEnd.unpack(frame)
        assert end.outputs == len(outputs)
        assert {output.k for output in outputs} <= {end.tag}
        return outputs, end


Dialogue = Callable[[Host], Awaitable[None]]
SAMPLE = [Header(HostOp.SAMPLE).pack()]


def step(*counts: int) -> Frame:
    return [Header(HostOp.STEP).pack(), *counts]


def flits(port: int, *words: int) -> Frame:
    return [Header(HostOp.FLITS, hops=port, count=len(words)).pack(), *words]


class Bench:
    """A host port, a ring of load nodes with memories, and a mesh that follows plans."""

    def __init__(self, config: ChipConfig, plans: list[Plan] | None = None, seed: int = 1) -> None:
        self.config, self.link = config, HostLink(config.many_core)
        self.plans = plans or []
        self.rng = Random(seed)
        self.memory: dict[tuple[int, int, int], int] = {}  # node, memory, row
        self.steps: list[Step] = []
        self.samples: list[int] = []
        self.dut = HostPort(config)
        self.holds_ring = Signal()  # nothing comes back from the load chain
        self.nodes = [LoadNode(config.many_core) for _ in range(config.many_core.core_count)]

    def run(
        self, dialogue: Dialogue, *, busy: float = 0.0, reading: float = 0.0, mesh_busy: float = 0.0
    ) -> None:
        """Run until ``dialogue`` ends; probabilities of a stall of the host's sending, its reading, and the mesh."""
        sim, host = self._simulator(busy, reading, mesh_busy)

        async def talk(ctx):
            host.ctx = ctx
            await dialogue(host)

        sim.add_testbench(talk)
        sim.run()

    def transport(self, *, busy: float = 0.0, reading: float = 0.0) -> SimulatedTransport:
        """Return a `Transport` for the driver."""
        sim, host = self._simulator(busy, reading, 0.0)
        return SimulatedTransport(sim, host)

    def _simulator(self, busy: float, reading: float, mesh_busy: float) -> tuple[Simulator, Host]:
        m = Module()
        m.submodules.dut = self.dut
        source = self.dut.chain_out
        for i, node in enumerate(self.nodes):
            m.submodules[f"node_{i}"] = node
            wiring.connect(m, source, node.chain_in)
            source = node.chain_out
        m.d.comb += [
            self.dut.chain_in.payload.eq(source.payload),
            self.dut.chain_in.valid.eq(source.valid & ~self.holds_ring),
            source.ready.eq(self.dut.chain_in.ready & ~self.holds_ring),
        ]
        host = Host(None, self.dut, Random(self.rng.random()), busy)

        async def listen(ctx):
            dut, rng, frame, waited = self.dut, Random(self.rng.random()), [], None
            for now in count():
                is_ready = host.reads and rng.random() >= reading
                ctx.set(dut.m_axis_tready, is_ready)
                _, _, valid, data, last = await ctx.tick().sample(
                    dut.m_axis_tvalid, dut.m_axis_tdata, dut.m_axis_tlast
                )
                seen = (valid, data, last)
                assert waited is None or seen == waited, "a beat changed while it waited"
                waited = seen if valid and not is_ready else None
                if valid and is_ready:
                    host.cycles.append(now)
                    frame.append(data)
                    if last:
                        host.came.append(frame)
                        frame = []

        async def mesh(ctx):
            await self._mesh(ctx, mesh_busy)

        sim = Simulator(m)
        sim.add_clock(1e-6)
        sim.add_testbench(listen, background=True)
        sim.add_testbench(mesh, background=True)
        for i in range(len(self.nodes)):
            sim.add_process(self._core(i))
        return sim, host

    def _core(self, i: int):
        async def process(ctx):
            node, answers = self.nodes[i], []
            while True:
                _, _, w_en, w_memory, w_row, w_data, r_en, r_memory, r_row = await ctx.tick().sample(
                    node.w_en, node.w_memory, node.w_row, node.w_data,
                    node.r_en, node.r_memory, node.r_row,
                )  # fmt: skip
                if w_en:
                    bits = self.link.memories.layouts[Memory(w_memory)].bits
                    self.memory[i, w_memory, w_row] = w_data & ((1 << bits) - 1)
                if r_en:
                    answers.append(self.memory.get((i, r_memory, r_row), 0))
                elif answers:
                    ctx.set(node.r_data, answers.pop())

        return process

    async def _mesh(self, ctx: Any, mesh_busy: float) -> None:
        dut, link, rng = self.dut, self.link, Random(self.rng.random())
        outs = [getattr(dut, f"flit_out_{i}") for i in range(link.ports)]
        ins = [getattr(dut, f"flit_in_{i}") for i in range(link.columns)]
        tree = deque([1] * self.config.many_core.tree_stages)
        since, plan, now = 0, Plan(), 0
        waiting: list[deque[tuple[int, int]]] = [deque() for _ in ins]
        while True:
            is_quiet = since >= plan.quiet and not any(waiting)
            tree.append(is_quiet)
            ctx.set(dut.all_quiet, tree.popleft())
            ctx.set(dut.off_mesh, plan.off_mesh and since == 1)
            for out in outs:
                ctx.set(out.ready, rng.random() >= mesh_busy)
            for queue, port in zip(waiting, ins, strict=True):
                asks = bool(queue) and queue[0][0] <= since
                ctx.set(port.valid, asks)
                ctx.set(port.payload, queue[0][1] if asks else 0)
            _, _, start, sample, *signals = await ctx.tick().sample(
                dut.start, dut.sample,
                *(s for port in (*outs, *ins) for s in (port.valid, port.ready, port.payload)),
            )  # fmt: skip
            triples = [tuple(signals[i : i + 3]) for i in range(0, len(signals), 3)]
            for i, (valid, ready, payload) in enumerate(triples[: len(outs)]):
                if valid and ready:
                    self.steps[-1].flits.append((since, i, payload))
            for i, (valid, ready, _) in enumerate(triples[len(outs) :]):
                if valid and ready:
                    waiting[i].popleft()
                    self.steps[-1].outputs.append(since)
            if sample:
                self.samples.append(now)
            if start:
                plan = self.plans[len(self.steps)] if len(self.steps) < len(self.plans) else Plan()
                self.steps.append(Step(now))
                since = 0
                for cycle, column, line, payload in plan.outputs:
                    waiting[column].append((cycle, self._output_flit(line, payload)))
            since += 1
            now += 1

    def _output_flit(self, line: int, payload: int) -> int:
        flit = self.link.flit
        return flit.pack(
            kind=1, dx=1, dy=-1, payload=payload,
            target=line % (1 << flit.target_bits), delay=line >> flit.target_bits,
        )  # fmt: skip

    def length_of(self, k: int) -> int:
        """The length of a timestep by the rule, from what the mesh saw."""
        chip, seen = self.config.many_core, self.steps[k]
        plan = self.plans[k] if k < len(self.plans) else Plan()
        handed = [cycle + 1 for cycle, _, _ in seen.flits] + [cycle + 1 for cycle in seen.outputs]
        return max(chip.start_cycles, plan.quiet, *handed, 0) + chip.barrier_cycles


def rows_of(link: HostLink, memory: Memory, rows: list[int]) -> Frame:
    size, mask = link.beats_per_row(memory), (1 << link.beat_bits) - 1
    return [(row >> (i * link.beat_bits)) & mask for row in rows for i in range(size)]


def write(
    link: HostLink, memory: Memory, tile: int, row: int, rows: list[int], to_all: int = 0
) -> Frame:
    header = Header(HostOp.WRITE, to_all, tile, memory, row, len(rows))
    return [header.pack(), *rows_of(link, memory, rows)]


class SimulatedTransport:
    """Frames to and from a bench; its clock runs only while an answer is waited for."""

    def __init__(self, sim: Simulator, host: Host) -> None:
        self.sim, self.host = sim, host
        self.to_send: deque[Sequence[int]] = deque()

        async def feed(ctx):
            host.ctx = ctx
            while True:
                if self.to_send:
                    await host.send(list(self.to_send.popleft()))
                else:
                    await ctx.tick()

        sim.add_testbench(feed, background=True)

    def send(self, frames: Sequence[Sequence[int]]) -> None:
        self.to_send.extend(frames)

    def receive(self) -> Frame:
        for _ in range(20 * PATIENCE):
            if self.host.came:
                return self.host.came.popleft()
            self.sim.advance()
        raise AssertionError("no frame came")
