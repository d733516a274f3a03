"""Random many-core programs that use every mode of the chip: stimulus for the machines that must agree."""

from __future__ import annotations

from typing import Any

import numpy as np

from spikeloom.chip.arithmetic import NeuronKind, ResetMode
from spikeloom.chip.config import ChipConfig, ManyCoreConfig, load_config
from spikeloom.chip.memory_map import CoreMemories
from spikeloom.chip.packet import FlitKind, FlitLayout
from spikeloom.chip.program import (
    CORE_REGISTERS,
    NEURON_MEMORIES,
    InputInfo,
    LayerInfo,
    ManyCoreProgram,
    check_program,
    weight_dtype,
)

ACTIVATES = (NeuronKind.RELU, NeuronKind.TABLE)
WIDE = (NeuronKind.INTEGRATOR, NeuronKind.CUBA_INTEGRATOR, NeuronKind.PARTIAL)


def small_config(rng: np.random.Generator) -> ChipConfig:
    """Draw a small chip whose sizes are no powers of two and differ from each other."""
    rows, columns = int(rng.integers(1, 4)), int(rng.integers(1, 5))
    neurons = int(rng.integers(3, 14))
    return load_config("tiny").replace(
        core={
            "axons": int(rng.integers(3, 12)),
            "neurons": neurons,
            "lanes": int(rng.integers(1, min(neurons, 5) + 1)),
            "delay_slots": int(rng.integers(2, 7)),
            "weight_bits": int(rng.choice([8, 8, 8, 6, 4])),
            "activation_bits": int(rng.choice([8, 8, 3, 9])),
            "accumulator_bits": int(rng.integers(12, 25)),
            "membrane_bits": int(rng.integers(8, 25)),
            "decay_bits": int(rng.integers(4, 13)),
            "route_entries": int(rng.integers(10, 100)),
            "pipeline_stages": int(rng.integers(4, 7)),
        },
        network={
            "rows": rows,
            "columns": columns,
            "fifo_depth": int(rng.integers(1, 5)),
            "host_rows": sorted({0, int(rng.integers(0, rows))}),
            "host_columns": sorted({0, int(rng.integers(0, columns))}),
        },
        timestep={"mode": str(rng.choice(["adaptive", "fixed"])), "period_cycles": 60},
    )


def random_program(
    rng: np.random.Generator, config: ChipConfig | None = None, inputs: int = 9, fan_out: int = 4
) -> ManyCoreProgram:
    """Draw a program: random weights, registers, memories and routes on random places of the mesh.

    A quarter of the cores are extreme: their parameters fill the whole range that `check_program` allows, so that
    membranes and currents saturate. Neurons share routes now and then, and always once the routing memory is full;
    many inputs or a large ``fan_out`` saturate the network on chip.
    """
    config = config or small_config(rng)
    chip = config.many_core
    core, mesh = chip.core, chip.network
    count = int(rng.integers(1, chip.core_count + 1))
    places = rng.permutation(chip.core_count)[:count]
    x, y = places % mesh.columns, places // mesh.columns
    registers = np.zeros((count, len(CORE_REGISTERS)), dtype=np.int64)
    memories: dict[str, Any] = {
        name: np.zeros((count, core.neurons), dtype=np.int64) for name in NEURON_MEMORIES
    }
    weights = np.zeros((count, core.axons, core.neurons), dtype=weight_dtype(core.weight_bits))
    routes = _Routes(rng, chip, x, y)
    for c in range(count):
        extreme = rng.random() < 0.25
        fields = {"x": int(x[c]), "y": int(y[c]), **_registers(rng, chip, extreme)}
        registers[c] = [int(fields[name]) for name, _, _ in CORE_REGISTERS]
        half = 1 << (fields["weight_mode_bits"] - 1)
        weights[c] = rng.integers(-half, half, weights[c].shape) * (
            rng.random(weights[c].shape) < 0.8
        )
        for name, values in _neurons(rng, chip, fields, extreme).items():
            memories[name][c] = values
        base, fan = routes.of_core(c, fields["kind"] in WIDE, fan_out)
        memories["route_base"][c], memories["route_count"][c] = base, fan
    has_table = bool(np.any(registers[:, 2] == NeuronKind.TABLE))
    top = 1 << core.activation_bits
    input_offset, input_routes = _input_routes(rng, chip, x, y, inputs)
    program = ManyCoreProgram(
        config=config, registers=registers, weights=weights, **memories,
        table=rng.integers(-top // 2, top, (count if has_table else 0, 256)).astype(np.int32),
        route_offset=np.array(routes.offset, dtype=np.int64),
        routes=np.array(routes.words, dtype=np.int32).reshape(-1, 5),
        core_layer=np.arange(count, dtype=np.int32),
        neuron_index=np.tile(np.arange(core.neurons, dtype=np.int32), (count, 1)),
        neuron_scale=np.ones((count, core.neurons)),
        input_offset=np.array(input_offset, dtype=np.int64),
        input_routes=np.array(input_routes, dtype=np.int32).reshape(-1, 5),
        output_lines=np.array(routes.lines, dtype=np.int32).reshape(-1, 4),
        output_scale=np.ones(len(routes.lines)),
        inputs=(InputInfo("input", (inputs,), 1.0, False, top - 1),),
        layers=tuple(LayerInfo(f"core{c}", "mixed", (core.neurons,), False, 0, (c,)) for c in range(count)),
        outputs=("core0",), steps_per_timestep=int(rng.integers(1, 3)),
    )  # fmt: skip
    check_program(program)
    return program


def _registers(rng: np.random.Generator, chip: ManyCoreConfig, extreme: bool) -> dict[str, int]:
    """Draw the registers of a core; now and then it has no neuron in use."""
    core = chip.core
    kind = NeuronKind(int(rng.integers(0, 7)))
    spiking = kind <= NeuronKind.CUBA_LIF
    activation_top = (1 << core.activation_bits) - 1
    many = bool(spiking and rng.random() < 0.3)
    timing = 0 if many else int(rng.integers(0, 2))
    most = min(5, activation_top) if many else 1
    if kind == NeuronKind.RELU:
        most = int(rng.integers(1, activation_top + 1))
    shifts = 8 if kind in ACTIVATES else 32
    requant = 62 - core.decay_bits if extreme else 14
    return {
        "kind": int(kind),
        "neurons": 0 if rng.random() < 0.03 else int(rng.integers(1, core.neurons + 1)),
        "weight_mode_bits": int(rng.choice(CoreMemories(chip).weight_modes)),
        "axon_signed": int(rng.integers(0, 2)),
        "i_shift": int(rng.integers(0, min(shifts if extreme else 4, 63 - core.accumulator_bits))),
        "requant_shift": int(rng.integers(0, requant)),
        "reset_mode": int(ResetMode.SUBTRACT if many else rng.integers(0, 4)),
        "reset_timing": timing,
        "compare": int(rng.integers(0, 2)),
        "max_output": most,
        "floor": int(rng.integers(0, 2)),
        "depth": int(rng.integers(1, 4)),
        "refractory": int(rng.choice([0, 1, 255]) if extreme else rng.integers(0, 3)),
        "random_mask": int(0 if timing or many else rng.choice([0, 0, (1 << 31) - 1 if extreme else 7])),
        "random_seed": int(rng.integers(1, 1 << 32)),
    }  # fmt: skip


def _neurons(
    rng: np.random.Generator, chip: ManyCoreConfig, fields: dict[str, int], extreme: bool
) -> dict[str, Any]:
    """Draw the parameters of a core's neurons: small ones, or over their whole ranges."""
    core = chip.core
    n, top, one = core.neurons, (1 << (core.membrane_bits - 1)) - 1, 1 << core.decay_bits

    def within(size: int) -> Any:
        return rng.integers(-top - 1, top + 1, n) if extreme else rng.integers(-size, size, n)

    threshold = within(5) if extreme else rng.integers(-5, min(200, top), n)
    if fields["kind"] <= NeuronKind.CUBA_LIF and fields["max_output"] > 1:
        bits = core.membrane_bits - 1
        threshold = 1 << rng.integers(0, bits if extreme else min(bits, 8), n)
    return {
        "v_threshold": np.maximum(threshold, -top),
        "v_reset": within(9),
        "v_init": within(20),
        "i_init": within(20),
        "bias": within(30),
        "decay_mem": np.where(rng.random(n) < 0.1, one, rng.integers(0, one + 1, n)),
        "decay_syn": np.where(rng.random(n) < 0.1, one, rng.integers(0, one + 1, n)),
    }


class _Routes:
    """The routing memories of all cores, and the lines by which outputs reach the host."""

    def __init__(self, rng: np.random.Generator, chip: ManyCoreConfig, x: Any, y: Any) -> None:
        self.rng, self.chip, self.x, self.y = rng, chip, x, y
        self.layout = FlitLayout.of(chip)
        self.words: list[list[int]] = []
        self.offset = [0]
        self.lines: list[list[int]] = []

    def of_core(self, c: int, wide: bool, fan_out: int) -> tuple[list[int], list[int]]:
        """Draw the routes of a core's neurons; returns ``route_base`` and ``route_count`` of each."""
        bases, fans, own = [], [], 0
        for _ in range(self.chip.core.neurons):
            fan = min(int(self.rng.integers(0, fan_out + 1)), self.chip.core.route_entries)
            full = own + fan > self.chip.core.route_entries
            if full or (fan <= own and self.rng.random() < 0.1):
                fan = min(fan, own)
                base = int(self.rng.integers(0, own - fan + 1))
            else:
                base, own = own, own + fan
                self.words += [self._route(c, wide) for _ in range(fan)]
            bases.append(base)
            fans.append(fan)
        self.offset.append(len(self.words))
        return bases, fans

    def _route(self, c: int, wide: bool) -> list[int]:
        rng, core, mesh = self.rng, self.chip.core, self.chip.network
        if rng.random() < 0.2 and len(self.lines) < self.layout.output_lines:
            column, line = int(rng.integers(0, len(mesh.host_columns))), len(self.lines)
            self.lines.append([column, line, line, 0])
            target = line & ((1 << self.layout.target_bits) - 1)
            dx, dy = mesh.host_columns[column] - int(self.x[c]), -(int(self.y[c]) + 1)
            return [0, dx, dy, target, line >> self.layout.target_bits]
        to = int(rng.integers(0, len(self.x)))
        chances = (0.1, 0.0, 0.9) if wide else (0.75, 0.05, 0.2)
        kind = FlitKind(int(rng.choice(3, p=chances)))
        size = core.neurons if kind == FlitKind.SUM else core.axons
        dx, dy = int(self.x[to] - self.x[c]), int(self.y[to] - self.y[c])
        return [kind, dx, dy, int(rng.integers(0, size)), int(rng.integers(1, core.delay_slots))]


def _input_routes(
    rng: np.random.Generator, chip: ManyCoreConfig, x: Any, y: Any, inputs: int
) -> tuple[list[int], list[list[int]]]:
    """Draw up to two destinations for each input."""
    offset, routes, mesh = [0], [], chip.network
    for _ in range(inputs):
        for _ in range(int(rng.integers(0, 3))):
            to, port = int(rng.integers(0, len(x))), int(rng.integers(0, len(mesh.host_rows)))
            axon = int(rng.integers(0, chip.core.axons))
            delay = int(rng.integers(1, chip.core.delay_slots))
            routes.append([port, int(x[to]), int(y[to]) - mesh.host_rows[port], axon, delay])
        offset.append(len(routes))
    return offset, routes
