"""What each pass of the compiler did: a line for people, details for machines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..chip.program import ManyCoreProgram
from .partition import Partition
from .place import Placement
from .quantised import QuantisedNetwork
from .route import Routing
from .schedule import Schedule

Description = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class PassRecord:
    """What one pass did: a line for people, details for machines (plain JSON values)."""

    name: str
    summary: str
    details: dict[str, Any] = field(default_factory=dict)


def describe_quantised(network: QuantisedNetwork) -> Description:
    """Say how many weights of how many bits."""
    modes = [p.weight_mode_bits for p in network.populations]
    weights = sum(p.weight.nnz for p in network.projections)
    summary = f"{len(modes)} populations, {weights} weights of {_bits(modes)} bits"
    details = {
        "weights": weights,
        "weight_mode_bits": dict(zip((p.name for p in network.populations), modes, strict=True)),
        "losses": [plain(vars(loss)) for loss in network.losses],
        "notes": list(network.notes),
    }
    return summary, details


def describe_partition(network: QuantisedNetwork, plan: Partition) -> Description:
    """Say how many cores each layer takes."""
    layers = []
    for index, population in enumerate(network.populations):
        cores = plan.cores_of(index)
        layers.append(
            {
                "layer": population.name,
                "cores": len(cores),
                "partial_cores": sum(plan.is_partial(c) for c in cores),
                "sources": int(sum(len(plan.cores[c].column) for c in cores)),
                "axons": int(sum(len(plan.cores[c].weights) for c in cores)),
            }
        )
    partial = sum(layer["partial_cores"] for layer in layers)
    shared = sum(layer["sources"] - layer["axons"] for layer in layers)
    summary = f"{len(plan.cores)} cores, {partial} of them for partial sums; {shared} axons saved by sharing"
    return summary, {"layers": layers, "smaller_blocks": dict(plan.smaller_blocks)}


def describe_schedule(plan: Partition, times: Schedule) -> Description:
    """Say how deep the pipeline is, and why a timestep takes several steps."""
    delays = [edge.flit_delay(times.depth, times.steps) for edge in times.edges]
    summary = (
        f"{times.steps} chip timesteps a network timestep, depth {max(times.depth)}, "
        f"delays up to {max(delays, default=0)}"
    )
    details = {
        "steps_per_timestep": times.steps,
        "depth": dict(zip(plan.nodes, times.depth, strict=True)),
        "explanation": times.explanation,
    }
    return summary, details


def describe_placement(made: Placement) -> Description:
    """Say what placement saved."""
    summary = (
        f"{made.final_cost:.1f} flit hops a timestep, {made.saved_percent:.0f}% below row by row "
        f"({made.naive_cost:.1f})"
    )
    details = {
        "naive_cost": made.naive_cost,
        "start_cost": made.start_cost,
        "start_curve": made.start_curve,
        "final_cost": made.final_cost,
        "saved_percent": made.saved_percent,
    }
    return summary, details


def describe_routing(made: Routing) -> Description:
    """Say how many routes there are."""
    summary = (
        f"{len(made.routes)} routes, at most {made.fullest_core} in a core; "
        f"{len(made.input_routes)} from the host"
    )
    details = {
        "routes": len(made.routes),
        "fullest_core": made.fullest_core,
        "input_routes": len(made.input_routes),
        "output_lines": len(made.output_lines),
    }
    return summary, details


def describe_program(program: ManyCoreProgram) -> Description:
    """Say what the program holds."""
    summary = (
        f"{program.core_count} cores, {len(program.layers)} layers, {program.output_size} outputs"
    )
    return summary, {"cores": program.core_count, "config_hash": program.config.config_hash}


def _bits(values: list[int]) -> str:
    low, high = min(values, default=0), max(values, default=0)
    return str(low) if low == high else f"{low} to {high}"


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return JSON values: what was not measured (NaN) is null."""
    return {key: None if isinstance(v, float) and v != v else v for key, v in values.items()}
