"""The chips whose Verilog the tests simulate, each generated once a run and built once a machine."""

from __future__ import annotations

from functools import cache
from typing import Any

from spikeloom.chip.config import ChipConfig, load_config
from spikeloom.hw.cosim.build import Build, build_model
from spikeloom.hw.verilog import emit_chip

# Small, since what a build costs is a core's lanes and ports. No two agree in a size, and few sizes are powers of two.
SIZES: dict[str, dict[str, dict[str, Any]]] = {
    "single": {  # one core, no tree; timesteps of a fixed length, which some of them exceed
        "core": {
            "axons": 9, "neurons": 7, "lanes": 3, "delay_slots": 2, "weight_bits": 8, "activation_bits": 8,
            "accumulator_bits": 24, "membrane_bits": 24, "decay_bits": 12, "route_entries": 37, "pipeline_stages": 4,
        },
        "network": {"columns": 1, "rows": 1, "fifo_depth": 4},
        "timestep": {"mode": "fixed", "period_cycles": 50},
    },
    "square": {  # FIFOs of one flit, narrow membranes
        "core": {
            "axons": 11, "neurons": 13, "lanes": 2, "delay_slots": 3, "weight_bits": 6, "activation_bits": 3,
            "accumulator_bits": 13, "membrane_bits": 10, "decay_bits": 5, "route_entries": 90, "pipeline_stages": 6,
        },
        "network": {"columns": 2, "rows": 2, "fifo_depth": 1, "host_rows": [1], "host_columns": [1]},
    },
    "ports": {  # beats of 128 bits, two host ports each way with queues that are soon full
        "core": {
            "axons": 14, "neurons": 10, "lanes": 5, "delay_slots": 5, "weight_bits": 4, "activation_bits": 9,
            "accumulator_bits": 44, "membrane_bits": 43, "decay_bits": 10, "route_entries": 101, "pipeline_stages": 5,
        },
        "network": {
            "columns": 3, "rows": 2, "fifo_depth": 3, "host_rows": [0, 1], "host_columns": [0, 2],
            "host_queue_flits": 5,
        },
    },
    "grid": {  # many tiles, tiny cores
        "core": {
            "axons": 8, "neurons": 6, "lanes": 1, "delay_slots": 6, "weight_bits": 8, "activation_bits": 8,
            "accumulator_bits": 20, "membrane_bits": 16, "decay_bits": 8, "route_entries": 60, "pipeline_stages": 4,
        },
        "network": {"columns": 4, "rows": 4, "fifo_depth": 2, "host_rows": [0, 2], "host_columns": [1, 3]},
    },
    "networks": {  # holds the networks that ship with spikeloom
        "core": {
            "axons": 256, "neurons": 128, "lanes": 8, "delay_slots": 4, "weight_bits": 8, "route_entries": 4096,
        },
        "network": {"columns": 4, "rows": 4, "fifo_depth": 4, "host_rows": [0, 1, 2, 3]},
    },
}  # fmt: skip


@cache
def chip(name: str) -> ChipConfig:
    """Return one of the configurations of `SIZES`."""
    return load_config("tiny").replace(chip={"name": name}, **SIZES[name])


@cache
def verilog(name: str) -> dict[str, str]:
    """Return its Verilog, with monitors."""
    return emit_chip(chip(name), trace=True)


@cache
def build(name: str) -> Build:
    """Return its simulator; the first time on a machine this takes half a minute."""
    return build_model(verilog(name))
