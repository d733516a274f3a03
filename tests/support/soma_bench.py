"""The soma's RTL in Amaranth's simulator, and the simulator's kernel beside it, both playing the same programs."""

from __future__ import annotations

import numpy as np
from amaranth.sim import Simulator

from spikeloom.chip.config import CoreConfig, ManyCoreConfig
from spikeloom.chip.memory_map import CoreMemories, Memory
from spikeloom.chip.program import CORE_REGISTERS
from spikeloom.hw.cores.soma import Soma
from spikeloom.sim.cores.soma import soma_update
from spikeloom.sim.cores.state import Params, SenderState, SomaMemory, SomaState

from .soma_programs import Life, Step

RETIRE_LATENCY = 11


class Reference:
    """The kernel with the arrays of one core."""

    def __init__(self, core: CoreConfig) -> None:
        def zeros(*shape: int):
            return np.zeros(shape, dtype=np.int64)

        size = core.neurons
        widths = ("activation_bits", "accumulator_bits", "membrane_bits", "decay_bits")
        plain = dict.fromkeys(Params._fields, 0) | {name: getattr(core, name) for name in widths}
        self.params = Params(**plain)
        row_names = [name for name in SomaMemory._fields if name != "table"]
        self.memory = SomaMemory(
            **{name: zeros(1, size) for name in row_names}, table=zeros(1, 256).astype(np.int32)
        )
        self.state = SomaState(
            zeros(1, size), zeros(1, size), zeros(1, size), zeros(1), zeros(size)
        )
        self.outbox = SenderState(zeros(1, size), zeros(1, size), *(zeros(1) for _ in range(5)))

    def load(self, life: Life) -> None:
        self.registers = np.array([life.registers[name] for name, _, _ in CORE_REGISTERS])
        for name, values in life.memories.items():
            if name != "route_base":
                getattr(self.memory, name)[0, : len(values)] = values
        if life.table:
            self.memory.table[0] = life.table

    def step(self, step: Step) -> tuple[int, int]:
        """Run a timestep; return how many outputs are not 0, and how many states stand at a limit."""
        sums = np.array(step.sums, dtype=np.int64)
        return soma_update(
            self.params, self.memory, self.state, self.outbox, sums, self.registers, 0, step.is_first, len(sums)
        )  # fmt: skip

    def rows(self, neurons: int) -> list[dict[str, int]]:
        s = self.state
        return [
            {"v_mem": v, "i_syn": i, "refractory_left": left}
            for v, i, left in zip(
                s.v_mem[0, :neurons].tolist(),
                s.i_syn[0, :neurons].tolist(),
                s.refractory_left[0, :neurons].tolist(),
                strict=True,
            )
        ]


OUTPUTS = (
    "retire_neuron",
    "retire_output",
    "retire_v_mem",
    "fired",
    "saturated",
    "send",
    "route_base",
    "route_count",
)


class Bench:
    """The component in Amaranth's simulator, built once; `run` plays lives on it from power-up."""

    def __init__(self, core: CoreConfig) -> None:
        config = ManyCoreConfig(core=core)
        self.core = core
        self.layouts = CoreMemories(config).layouts
        self.soma = Soma(config)
        self.simulator = Simulator(self.soma)
        self.simulator.add_clock(1e-6)
        self.simulator.add_testbench(self._play)
        self.fresh = True

    def run(self, played: list[Life]) -> tuple[list[list[tuple[int, dict[str, int]]]], list]:
        """Return per timestep what retired, as (cycle, outputs) from the first fetch on, and the rows of state."""
        self.played, self.retired, self.rows = played, [], []
        if not self.fresh:
            self.simulator.reset()
        self.fresh = False
        self.simulator.run()
        return self.retired, self.rows

    def _row(self, memory: Memory, columns: dict[str, int]) -> int:
        layout = self.layouts[memory]
        values = {field.name: [columns.get(field.name, 0)] for field in layout.fields}
        return int.from_bytes(layout.image(values).tobytes(), "little")

    async def _play(self, ctx) -> None:
        for life in self.played:
            await self._load(ctx, life)
            for step in life.steps:
                self.retired.append(await self._step(ctx, step))
                self.rows.append([await self._read(ctx, n) for n in range(len(step.sums))])

    async def _load(self, ctx, life: Life) -> None:
        soma = self.soma
        ctx.set(soma.registers.as_value(), self._row(Memory.REGISTERS, life.registers))
        for n in range(life.registers["neurons"]):
            row = {name: values[n] for name, values in life.memories.items()}
            ctx.set(soma.neurons_w_en, 1)
            ctx.set(soma.neurons_w_addr, n)
            ctx.set(soma.neurons_w_data, self._row(Memory.NEURONS, row))
            await ctx.tick()
        ctx.set(soma.neurons_w_en, 0)
        for address, output in enumerate(life.table):
            ctx.set(soma.table_w_en, 1)
            ctx.set(soma.table_w_addr, address)
            ctx.set(soma.table_w_data, self._row(Memory.TABLE, {"output": output}))
            await ctx.tick()
        ctx.set(soma.table_w_en, 0)
        await ctx.tick().repeat(2)

    async def _step(self, ctx, step: Step) -> list[tuple[int, dict[str, int]]]:
        soma = self.soma
        ctx.set(soma.begin, 1)
        ctx.set(soma.is_first, step.is_first)
        await ctx.tick()
        ctx.set(soma.begin, 0)
        fetches, cycle = {}, -1
        for n, gap in enumerate(step.gaps):
            cycle += 1 + gap
            fetches[cycle] = n
        totals = {cycle + 5: step.sums[n] for cycle, n in fetches.items()}
        retired = []
        for cycle in range(max(fetches) + RETIRE_LATENCY + 1):
            fetched = fetches.get(cycle)
            ctx.set(soma.fetch, fetched is not None)
            ctx.set(soma.fetch_neuron, 0 if fetched is None else fetched)
            ctx.set(soma.total, totals.get(cycle, -1))
            if ctx.get(soma.retire):
                retired.append((cycle, {name: ctx.get(getattr(soma, name)) for name in OUTPUTS}))
            else:
                assert not ctx.get(soma.send)
                assert not ctx.get(soma.fired)
                assert not ctx.get(soma.saturated)
            await ctx.tick()
        return retired

    async def _read(self, ctx, n: int) -> dict[str, int]:
        ctx.set(self.soma.state_r_en, 1)
        ctx.set(self.soma.state_r_addr, n)
        await ctx.tick()
        ctx.set(self.soma.state_r_en, 0)
        return self.layouts[Memory.STATE].unpack(ctx.get(self.soma.state_r_data))
