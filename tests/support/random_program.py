"""Random many-core programs that use every mode of the chip: stimulus for the machines that must agree."""

from __future__ import annotations

from typing import Any

import numpy as np

from spikeloom.chip.arithmetic import NeuronKind
from spikeloom.chip.config import ChipConfig, load_config
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
            "accumulator_bits": int(rng.integers(12, 25)),
            "membrane_bits": int(rng.integers(11, 25)),
            "decay_bits": int(rng.integers(4, 13)),
            "route_entries": 100,
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
    """Draw a program: random weights, registers, memories and routes on random places of the mesh."""
    config = config or small_config(rng)
    chip = config.many_core
    core, mesh = chip.core, chip.network
    count = int(rng.integers(1, chip.core_count + 1))
    places = rng.permutation(chip.core_count)[:count]
    x, y = places % mesh.columns, places // mesh.columns
    top = (1 << (core.membrane_bits - 1)) - 1
    registers = np.zeros((count, len(CORE_REGISTERS)), dtype=np.int64)
    memories: dict[str, Any] = {
        name: np.zeros((count, core.neurons), dtype=np.int64) for name in NEURON_MEMORIES
    }
    weights = np.zeros((count, core.axons, core.neurons), dtype=weight_dtype(core.weight_bits))
    routes: list[list[Any]] = []
    route_offset = [0]
    lines: list[list[int]] = []
    layout = FlitLayout.of(chip)
    for c in range(count):
        mode = int(rng.choice([8, 4, 2]))
        half = 1 << (mode - 1)
        weights[c] = rng.integers(-half, half, weights[c].shape) * (
            rng.random(weights[c].shape) < 0.8
        )
        kind = int(rng.integers(0, 7))
        spiking = kind <= NeuronKind.CUBA_LIF
        many = bool(spiking and rng.random() < 0.3)
        timing = int(rng.integers(0, 2)) if not many else 0
        most = 5 if many else int(rng.integers(1, 256)) if kind == NeuronKind.RELU else 1
        fields = {
            "x": x[c], "y": y[c], "kind": kind, "neurons": rng.integers(1, core.neurons + 1),
            "weight_mode_bits": mode, "axon_signed": rng.integers(0, 2), "i_shift": rng.integers(0, 4),
            "requant_shift": rng.integers(0, 14), "reset_mode": 2 if many else rng.integers(0, 4),
            "reset_timing": timing, "compare": rng.integers(0, 2), "max_output": most,
            "floor": rng.integers(0, 2), "depth": rng.integers(1, 4), "refractory": rng.integers(0, 3),
            "random_mask": 0 if timing or many else rng.choice([0, 0, 7]), "random_seed": rng.integers(1, 1 << 32),
        }  # fmt: skip
        registers[c] = [int(fields[name]) for name, _, _ in CORE_REGISTERS]
        n = core.neurons
        threshold = rng.integers(-5, min(200, top), n)
        memories["v_threshold"][c] = 1 << rng.integers(0, 8, n) if many else threshold
        memories["v_reset"][c] = rng.integers(-9, 9, n)
        memories["v_init"][c] = rng.integers(-20, 20, n)
        memories["i_init"][c] = rng.integers(-20, 20, n)
        memories["bias"][c] = rng.integers(-30, 30, n)
        memories["decay_mem"][c] = rng.integers(0, (1 << core.decay_bits) + 1, n)
        memories["decay_syn"][c] = rng.integers(0, (1 << core.decay_bits) + 1, n)
        own = 0
        wide = kind in (NeuronKind.INTEGRATOR, NeuronKind.CUBA_INTEGRATOR, NeuronKind.PARTIAL)
        for i in range(n):
            fan = int(rng.integers(0, fan_out + 1))
            memories["route_base"][c, i] = own
            memories["route_count"][c, i] = fan
            for _ in range(fan):
                if rng.random() < 0.2 and len(lines) < layout.output_lines:
                    column = int(rng.integers(0, len(mesh.host_columns)))
                    line = len(lines)
                    lines.append([column, line, line, 0])
                    target = line & ((1 << layout.target_bits) - 1)
                    routes.append(
                        [
                            0,
                            mesh.host_columns[column] - x[c],
                            -(y[c] + 1),
                            target,
                            line >> layout.target_bits,
                        ]
                    )
                else:
                    to = int(rng.integers(0, count))
                    kind_of = FlitKind.SUM if wide or rng.random() < 0.2 else FlitKind.AXON
                    size = core.neurons if kind_of == FlitKind.SUM else core.axons
                    routes.append(
                        [
                            kind_of,
                            x[to] - x[c],
                            y[to] - y[c],
                            rng.integers(0, size),
                            rng.integers(1, core.delay_slots),
                        ]
                    )
                own += 1
        route_offset.append(route_offset[-1] + own)
    input_offset, input_routes = [0], []
    for _ in range(inputs):
        for _ in range(int(rng.integers(0, 3))):
            to, port = int(rng.integers(0, count)), int(rng.integers(0, len(mesh.host_rows)))
            input_routes.append(
                [
                    port,
                    x[to],
                    y[to] - mesh.host_rows[port],
                    rng.integers(0, core.axons),
                    rng.integers(1, core.delay_slots),
                ]
            )
        input_offset.append(len(input_routes))
    has_table = bool(np.any(registers[:, 2] == NeuronKind.TABLE))
    program = ManyCoreProgram(
        config=config, registers=registers, weights=weights, **memories,
        table=rng.integers(-128, 128, (count if has_table else 0, 256)).astype(np.int32),
        route_offset=np.array(route_offset, dtype=np.int64),
        routes=np.array(routes, dtype=np.int32).reshape(-1, 5),
        core_layer=np.arange(count, dtype=np.int32),
        neuron_index=np.tile(np.arange(core.neurons, dtype=np.int32), (count, 1)),
        neuron_scale=np.ones((count, core.neurons)),
        input_offset=np.array(input_offset, dtype=np.int64),
        input_routes=np.array(input_routes, dtype=np.int32).reshape(-1, 5),
        output_lines=np.array(lines, dtype=np.int32).reshape(-1, 4),
        output_scale=np.ones(len(lines)),
        inputs=(InputInfo("input", (inputs,), 1.0, False, 255),),
        layers=tuple(LayerInfo(f"core{c}", "mixed", (core.neurons,), False, 0, (c,)) for c in range(count)),
        outputs=("core0",), steps_per_timestep=int(rng.integers(1, 3)),
    )  # fmt: skip
    check_program(program)
    return program
