"""A made-up run of a made-up network, with counters that fit each other: for tests of the reports."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from spikeloom.chip.config import ChipConfig, load_config
from spikeloom.chip.events import CORE_EVENT_INDEX, CORE_EVENTS, PORTS
from spikeloom.reports.costs import load_costs
from spikeloom.reports.energy import EnergyReport, energy
from spikeloom.reports.result import RunResult


def make_counters(
    config: ChipConfig,
    *,
    cores: int,
    active: int,
    samples: int = 1,
    seed: int = 0,
    multiply: int = 0,
) -> dict[str, Any]:
    """Return the counters of `energy` for one timestep a sample, ``active`` axons of every core in use."""
    chip = config.many_core
    core = chip.core
    rng = np.random.default_rng(seed)
    spikes = rng.integers(0, core.neurons // 2 + 1, cores) if active < core.axons else core.neurons
    counts = {
        "updates": 1,
        "compute_cycles": chip.compute_cycles(active, core.neurons, core.weight_bits),
        "axon_writes": active,
        "active_axons": active,
        "weight_reads": active * -(-core.neurons // core.lanes),
        "synops": active * core.neurons,
        "multiplies": active * core.neurons * multiply,
        "neuron_updates": core.neurons,
        "spikes": spikes,
        "flits_sent": spikes,
    }
    table = np.zeros((cores, len(CORE_EVENTS)), dtype=np.int64)
    for name, value in counts.items():
        table[:, CORE_EVENT_INDEX[name]] = np.asarray(value) * samples
    routers = np.zeros((chip.core_count, len(PORTS)), dtype=np.int64)
    routers[:cores, 0] = table[:, CORE_EVENT_INDEX["flits_sent"]]
    routers[:cores, 2] = 2 * table[:, CORE_EVENT_INDEX["flits_sent"]]
    cycles = chip.start_cycles + counts["compute_cycles"] + core.neurons + chip.barrier_cycles
    chip_counters = {
        "cycles": cycles * samples,
        "timesteps": samples,
        "host_flits_in": 40 * samples,
        "host_flits_out": 7 * samples,
        "host_stalls": 0,
        "overruns": 0,
        "host_cycles": 40 * samples,
    }
    return {"core_counters": table, "router_counters": routers, "chip_counters": chip_counters}


def make_energy(config: ChipConfig, *, samples: int = 1, **options: Any) -> EnergyReport:
    """Return the energy of `make_counters`, all cores of one layer."""
    counters = make_counters(config, samples=samples, **options)
    return energy(
        config, **counters, samples=samples, core_layers=["all"] * options["cores"], costs=load_costs(config.node_nm)
    )  # fmt: skip


def make_result(
    chip: str | ChipConfig = "tianjic",
    *,
    network: str = "digits",
    layer_names: tuple[str, ...] = ("conv1", "conv2", "fc1", "out"),
    cores: int = 40,
    chip_timesteps: int = 12,
    samples: int = 200,
    seed: int = 0,
    **changes: Any,
) -> RunResult:
    """Return a whole result on a preset or a configuration; ``changes`` replace fields."""
    rng = np.random.default_rng(seed)
    config = load_config(chip) if isinstance(chip, str) else chip
    mesh = config.many_core.network
    places = rng.permutation(config.many_core.core_count)[:cores]
    layer_of = np.sort(rng.integers(0, len(layer_names), cores))
    counters = make_counters(config, cores=cores, active=26, samples=samples, seed=seed)
    table, routers = counters["core_counters"], counters["router_counters"]
    spent = energy(
        config,
        **counters,
        samples=samples,
        core_layers=[layer_names[i] for i in layer_of],
        costs=load_costs(config.node_nm),
    )
    share = rng.dirichlet(np.ones(chip_timesteps))
    cycles = rng.normal(9000, 400, samples).astype(int)
    labels = rng.integers(0, 10, samples)
    predictions = np.where(rng.random(samples) < 0.97, labels, (labels + 1) % 10)
    names = [event.name for event in CORE_EVENTS]
    core_rows = [
        {"x": int(p % mesh.columns), "y": int(p // mesh.columns), "layer": layer_names[i]}
        | dict(zip(names, row, strict=True))
        for p, i, row in zip(places, layer_of, table.tolist(), strict=True)
    ]
    router_rows = [
        {"x": r % mesh.columns, "y": r // mesh.columns}
        | {f"hops_{port}": n for port, n in zip(PORTS, row, strict=True)}
        for r, row in enumerate(routers.tolist())
        if any(row)
    ]
    layers = [
        {
            "name": name,
            "kind": "LIF",
            "shape": [8, 14, 14] if name.startswith("conv") else [128],
            "cores": int((layer_of == i).sum()),
            "partial_cores": 0,
            "depth": i + 1,
            "spikes": int(table[layer_of == i, CORE_EVENT_INDEX["spikes"]].sum()),
            "synops": int(table[layer_of == i, CORE_EVENT_INDEX["synops"]].sum()),
            "energy_j": spent.layer_j(name),
            "notes": {"weight_bits": 8, "weight_error": 0.0042 * (i + 1), "decay_error": 0.0, "clipped_inputs": 0.0,
                      "membrane_error": 0.013, "output_mismatch": None if i == 0 else 0.0031, "sources": ["in"]},
        }
        for i, name in enumerate(layer_names)
    ]  # fmt: skip
    fields: dict[str, Any] = {
        "network": network,
        "chip": config.name,
        "config_hash": config.config_hash,
        "accuracy": float(np.mean(predictions == labels)),
        "predictions": predictions.tolist(),
        "labels": labels.tolist(),
        "decide": "count",
        "output_counts": rng.integers(0, 12, (samples, 10)).tolist(),
        "output_membrane": None,
        "timesteps": max(1, chip_timesteps - 3),
        "chip_timesteps": chip_timesteps,
        "samples": samples,
        "cycles_per_sample": spread(cycles),
        "cycles_per_timestep": spread(cycles / chip_timesteps),
        "sample_cycles": cycles.tolist(),
        "latency_s": spread(cycles / config.clock_hz),
        "throughput_per_s": 1.0 / spent.seconds,
        "host_input_share": 0.318,
        "synops": int(table[:, CORE_EVENT_INDEX["synops"]].sum()),
        "packets": int(table[:, CORE_EVENT_INDEX["flits_sent"]].sum()) + 40 * samples,
        "hops": int(routers.sum()),
        **spent.result_fields(layer_names),
        "area": None,
        "graph": [
            {"source": a, "target": b, "what": "values", "routes": 10, "flits": 3.5, "status": "measured"}
            for a, b in pairwise(("input", *layer_names))
        ],
        "counters": {"cores": core_rows, "routers": router_rows, "chip": counters["chip_counters"]},
        "layers": layers,
        "steps": {
            "router_flits": (share[:, None] * routers.sum(axis=1)).astype(int).tolist(),
            "core_spikes": (share[:, None] * table[:, CORE_EVENT_INDEX["spikes"]]).astype(int).tolist(),
        },
        "mesh": {"columns": mesh.columns, "rows": mesh.rows},
        "clock_hz": config.clock_hz,
        "placement": {"naive_cost": 5321.5, "start_cost": 4120.0, "final_cost": 3218.25, "saved_percent": 39.5,
                      "unit": "flit hops a network timestep, estimated"},
        "convention": {"producer": "snntorch", "reset": "subtract, next timestep", "compare": "gt"},
        "notes": ["weights are per neuron scaled to 8 bits"],
        "provenance": {"spikeloom": "0.1.0", "command": "spikeloom run net.chip data.npz", "seed": 0,
                       "program_sha256": "0123456789abcdef", "threads": 2, "wall_s": 12.3,
                       "costs_hash": load_costs(config.node_nm).table_hash},
    }  # fmt: skip
    return RunResult.model_validate(fields | changes)


def spread(values: Any) -> dict[str, float]:
    """Return smallest, median and largest."""
    return {
        "min": float(np.min(values)),
        "median": float(np.median(values)),
        "max": float(np.max(values)),
    }
