"""Programs of plain wires: one core a place, one neuron per copy that passes a spike on to another place."""

from __future__ import annotations

from typing import Any

import numpy as np

from spikeloom.chip.config import ChipConfig
from spikeloom.chip.packet import FlitLayout
from spikeloom.chip.program import (
    CORE_REGISTERS,
    NEURON_MEMORIES,
    REGISTER_INDEX,
    InputInfo,
    LayerInfo,
    ManyCoreProgram,
    check_program,
)

Place = tuple[int, int]


def wire_program(
    config: ChipConfig, wires: list[tuple[Place, Place]], copies: int = 1, tell_host: bool = False
) -> ManyCoreProgram:
    """Make a core at each start (depth 1) that fires on its input and sends ``copies`` spikes a wire to the end's
    axon 0.

    An end that is no start gets a core of depth 2 with a silent neuron. With ``tell_host`` the first start's neuron
    also tells the host.
    """
    chip = config.many_core
    core, mesh = chip.core, chip.network
    places = list(dict.fromkeys([start for start, _ in wires] + [end for _, end in wires]))
    starts = {start for start, _ in wires}
    ends = dict(wires)
    count = len(places)
    registers = np.zeros((count, len(CORE_REGISTERS)), dtype=np.int64)
    memories: dict[str, Any] = {
        name: np.zeros((count, core.neurons), dtype=np.int64) for name in NEURON_MEMORIES
    }
    weights = np.zeros((count, core.axons, core.neurons), dtype=np.int8)
    routes, offset, inputs, input_offset, lines = [], [0], [], [0], []
    for c, (x, y) in enumerate(places):
        is_start = (x, y) in starts
        values = {"x": x, "y": y, "neurons": copies if is_start else 1, "weight_mode_bits": 8, "max_output": 1,
                  "depth": 1 if is_start else 2}  # fmt: skip
        for name, value in values.items():
            registers[c, REGISTER_INDEX[name]] = value
        memories["v_threshold"][c] = 0 if is_start else 1000
        if not is_start:
            offset.append(len(routes))
            continue
        weights[c, 1, :copies] = 1
        end = ends[x, y]
        for n in range(copies):
            memories["route_base"][c, n] = n
            memories["route_count"][c, n] = 1
            routes.append([0, end[0] - x, end[1] - y, 0, 1])
        offset.append(len(routes))
        inputs.append([0, x, y - mesh.host_rows[0], 1, 1])
        input_offset.append(len(inputs))
    if tell_host:  # the first wire's neuron also reaches the host, through a second route
        x, y = wires[0][0]
        memories["route_count"][0, 0] = 2
        routes.insert(1, [0, -x, -(y + 1), 0, 0])
        offset = [0, *(at + 1 for at in offset[1:])]
        lines.append([0, 0, 0, 0])
    layout = FlitLayout.of(chip)
    assert len(lines) <= layout.output_lines
    program = ManyCoreProgram(
        config=config, registers=registers, weights=weights, **memories,
        table=np.zeros((0, 256), dtype=np.int32),
        route_offset=np.array(offset, dtype=np.int64), routes=np.array(routes, dtype=np.int32),
        core_layer=np.zeros(count, dtype=np.int32),
        neuron_index=np.full((count, core.neurons), -1, dtype=np.int32),
        neuron_scale=np.ones((count, core.neurons)),
        input_offset=np.array(input_offset, dtype=np.int64), input_routes=np.array(inputs, dtype=np.int32),
        output_lines=np.array(lines, dtype=np.int32).reshape(-1, 4), output_scale=np.ones(len(lines)),
        inputs=(InputInfo("input", (len(inputs),), 1.0, False, 255),),
        layers=(LayerInfo("wires", "lif", (core.neurons,), True, 1, tuple(range(count))),), outputs=("wires",),
    )  # fmt: skip
    check_program(program)
    return program
