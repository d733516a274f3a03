"""`run`: samples through a program on the simulated chip, to a result with accuracy, latency and energy."""

from __future__ import annotations

import hashlib
import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from math import prod
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from .chip.events import CORE_EVENTS, PORTS
from .chip.program import ManyCoreProgram
from .chip.program_file import load_program
from .data import Samples, input_shapes, load_arrays, shape_samples, to_payloads
from .errors import InputError
from .reports.area_summary import area_summary
from .reports.costs import tables_of
from .reports.energy import EnergyReport, energy
from .reports.flow import edges
from .reports.learn_area import LearnTables, load_learn_tables
from .reports.neurobench import neurobench_metrics
from .reports.result import Decide, LayerModel, RunResult, Spread
from .sim.jit import NUMBA_VERSION
from .sim.run import ManyCoreRun, run_many_core

# What the account does not know is said, since a figure that is left out reads as 0.
_LOGIC_LEAKAGE = (
    "Static energy is that of the memories; what the logic of the cores leaks is not in it."
)
_OTHER_HALF = "Energy is that of the many-core; the learning engines on the chip are not in it."
DECISIONS: tuple[Decide, ...] = ("count", "membrane", "first")


def run(
    program: str | Path | ManyCoreProgram,
    data: str | Path | dict[str, NDArray[Any]],
    *,
    timesteps: int | None = None,
    encode: str = "none",
    samples: int | None = None,
    decide: str | None = None,
    threads: int | None = None,
    seed: int = 0,
    costs: str | Path | None = None,
    checkpoint: str | Path | None = None,
    progress: Callable[[int], None] | None = None,
    command: str = "spikeloom.run",
) -> RunResult:
    """Run samples through a program, every cycle simulated.

    Parameters
    ----------
    program
        A program file or a program.
    data
        A data.npz or its arrays: ``inputs`` (samples, timesteps, *shape), or with ``timesteps`` (samples, *shape);
        optionally ``labels``.
    timesteps, encode, samples, seed
        How the data is presented, see `spikeloom.data.shape_samples`.
    decide
        ``count`` most output spikes (default for spiking outputs), ``membrane`` largest membrane summed over the
        timesteps (default for
        others), ``first`` earliest spike. Ties go to the lowest index.
    threads
        Worker threads; the result does not depend on them.
    costs
        A cost table of one's own over ours of the chip's node: docs/costs.md.
    checkpoint
        File that keeps the finished samples of a long run, and from which it goes on.
    progress
        Called with the number of samples finished since the last call.

    Raises
    ------
    InputError, ProgramError, ValueError
        Sentences: what is wrong, where, what to do.
    """
    if not isinstance(program, ManyCoreProgram):
        program = load_program(program)
    arrays = data if isinstance(data, dict) else load_arrays(data)
    where = "the data" if isinstance(data, dict) else str(data)
    shaped = shape_samples(
        arrays, input_shapes(program.inputs), timesteps=timesteps, encoder=encode, samples=samples, seed=seed,
        where=where
    )  # fmt: skip
    choice = decision_of(program, decide)
    tables = load_learn_tables(tables_of(program.config, costs))
    payloads, clipped = to_payloads(program, shaped)
    fingerprint = _program_sha256(program)
    probes = program.outputs if choice == "membrane" and program.output_spiking else ()
    start = time.perf_counter()
    simulated = run_many_core(
        program,
        payloads,
        shaped.timesteps,
        threads=threads,
        probes=probes,
        checkpoint=checkpoint,
        checkpoint_key=" ".join(
            map(
                str,
                (
                    fingerprint,
                    shaped.sha256,
                    shaped.values.shape,
                    shaped.timesteps,
                    encode,
                    seed,
                    choice,
                ),
            )
        ),
        progress=progress,
    )
    wall_s = time.perf_counter() - start
    notes = [str(note) for note in program.meta.get("notes", [])]
    if clipped:
        notes.append(
            f"{clipped:.2%} of the input values lie beyond the range that the program was calibrated for "
            "and were clipped; compile with --calibrate on such data"
        )
    provenance = {
        "spikeloom": _version(),
        "command": command,
        "config_hash": program.config.config_hash,
        "program_sha256": fingerprint,
        "data_sha256": shaped.sha256,
        "seed": seed,
        "encode": encode,
        "threads": threads or os.cpu_count() or 1,
        "wall_s": round(wall_s, 3),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numba": NUMBA_VERSION,
    }
    return make_result(program, shaped, simulated, choice, notes, provenance, tables)


def make_result(
    program: ManyCoreProgram,
    shaped: Samples,
    simulated: ManyCoreRun,
    decide: Decide,
    notes: list[str],
    provenance: dict[str, Any],
    tables: LearnTables,
) -> RunResult:
    """Turn what the simulator counted into a result: decisions, times, energy, maps."""
    config = program.config
    chip = config.many_core
    spiking = program.output_spiking
    spent = energy(
        config,
        simulated.core_counters,
        simulated.router_counters,
        simulated.chip_counters,
        samples=simulated.samples,
        core_layers=[program.layers[int(i)].name for i in program.core_layer],
        costs=tables.many_core,
    )
    membrane = _membranes(program, simulated, decide)
    predictions = _predictions(simulated, membrane, decide)
    per_sample = simulated.cycles.sum(axis=1)
    counters = _counters(program, simulated)
    area, why = area_summary(config, tables)
    totals = dict(
        zip(
            (e.name for e in CORE_EVENTS), simulated.core_counters.sum(axis=0).tolist(), strict=True
        )
    )
    return RunResult(
        network=str(program.meta.get("network", "network")),
        chip=config.name,
        config_hash=config.config_hash,
        configuration=config.to_dict(),
        accuracy=None if shaped.labels is None else float(np.mean(predictions == shaped.labels)),
        predictions=predictions.tolist(),
        labels=None if shaped.labels is None else shaped.labels.tolist(),
        decide=decide,
        output_counts=simulated.output_count.tolist() if spiking else None,
        output_membrane=None if membrane is None else membrane.tolist(),
        timesteps=simulated.timesteps,
        chip_timesteps=simulated.cycles.shape[1],
        samples=simulated.samples,
        cycles_per_sample=_spread(per_sample),
        sample_cycles=per_sample.tolist(),
        cycles_per_timestep=_spread(simulated.cycles),
        latency_s=_spread(per_sample / config.clock_hz),
        throughput_per_s=float(config.clock_hz / per_sample.mean()),
        host_input_share=simulated.chip_counters["host_cycles"] / simulated.chip_counters["cycles"],
        synops=totals["synops"],
        packets=totals["flits_sent"] + simulated.chip_counters["host_flits_in"],
        hops=int(simulated.router_counters.sum()),
        **spent.result_fields([layer.name for layer in program.layers]),
        area=area,
        graph=edges(
            program,
            simulated.core_counters,
            simulated.neuron_outputs[0],
            simulated.chip_counters["host_flits_in"],
            simulated.samples,
        ),
        neurobench=neurobench_metrics(
            program,
            to_payloads(program, shaped)[0],
            simulated.neuron_outputs,
            simulated.core_counters,
            simulated.timesteps,
        ),
        counters=counters,
        layers=_layers(program, simulated, spent),
        steps={
            "router_flits": simulated.step_router_flits.tolist(),
            "core_spikes": simulated.step_core_outputs.tolist(),
        },
        mesh={"columns": chip.network.columns, "rows": chip.network.rows},
        clock_hz=config.clock_hz,
        placement=dict(program.meta.get("placement", {})),
        convention={k: str(v) for k, v in program.meta.get("convention", {}).items()},
        notes=[*notes, _LOGIC_LEAKAGE, *([_OTHER_HALF] if config.learn_half else []), *why],
        provenance=provenance
        | {"costs": tables.many_core.name, "costs_hash": tables.many_core.table_hash},
    )


def decision_of(program: ManyCoreProgram, decide: str | None) -> Decide:
    """Return how a class is read, by default as the outputs allow; InputError if they do not allow it."""
    spiking = program.output_spiking
    if decide is None:
        return "count" if spiking else "membrane"
    if decide not in DECISIONS:
        raise InputError(f"decide must be one of {', '.join(DECISIONS)}, not {decide!r}")
    if decide != "membrane" and not spiking:
        raise InputError(
            f"the outputs do not spike, so that {decide!r} has nothing to read; use --decide membrane"
        )
    return cast(Decide, decide)


def _membranes(
    program: ManyCoreProgram, simulated: ManyCoreRun, decide: str
) -> NDArray[np.float64] | None:
    """Return the output membranes summed over the timesteps, (samples, outputs), in the network's units."""
    if not program.output_spiking:
        return simulated.output_count * program.output_scale
    if decide != "membrane":
        return None
    parts = []
    for name in program.outputs:
        scale = np.zeros(prod(program.layer(name).shape))
        for c in program.layer(name).cores:
            used = program.neuron_index[c] >= 0
            scale[program.neuron_index[c][used]] = program.neuron_scale[c][used]
        parts.append(simulated.probe_v_mem[name].sum(axis=1) * scale)
    return np.concatenate(parts, axis=1)


def _predictions(
    simulated: ManyCoreRun, membrane: NDArray[np.float64] | None, decide: str
) -> NDArray[np.int64]:
    if decide == "membrane":
        assert membrane is not None
        return membrane.argmax(axis=1)
    if decide == "count":
        return simulated.output_count.argmax(axis=1)
    first = np.where(simulated.first_spike < 0, simulated.timesteps, simulated.first_spike)
    return first.argmin(axis=1)


def _spread(values: NDArray[Any]) -> Spread:
    return Spread(min=float(values.min()), median=float(np.median(values)), max=float(values.max()))


def _counters(program: ManyCoreProgram, simulated: ManyCoreRun) -> dict[str, Any]:
    columns = program.config.many_core.network.columns
    cores = [
        {"x": int(x), "y": int(y), "layer": program.layers[int(layer)].name}
        | dict(zip((e.name for e in CORE_EVENTS), row, strict=True))
        for x, y, layer, row in zip(
            program.register("x"), program.register("y"), program.core_layer, simulated.core_counters.tolist(),
            strict=True
        )
    ]  # fmt: skip
    routers = [
        {"x": r % columns, "y": r // columns}
        | {f"hops_{port}": n for port, n in zip(PORTS, row, strict=True)}
        for r, row in enumerate(simulated.router_counters.tolist())
        if any(row)
    ]
    return {"cores": cores, "routers": routers, "chip": simulated.chip_counters}


def _layers(
    program: ManyCoreProgram, simulated: ManyCoreRun, spent: EnergyReport
) -> list[LayerModel]:
    place = {event.name: i for i, event in enumerate(CORE_EVENTS)}
    layers = []
    for layer in program.layers:
        own = [c for c in layer.cores if c not in layer.partial_cores]
        layers.append(
            LayerModel(
                name=layer.name,
                kind=layer.kind,
                shape=list(layer.shape),
                cores=len(layer.cores),
                partial_cores=len(layer.partial_cores),
                depth=layer.depth,
                spikes=int(simulated.core_counters[own, place["spikes"]].sum()),
                synops=int(simulated.core_counters[list(layer.cores), place["synops"]].sum()),
                energy_j=spent.layer_j(layer.name),
                notes=layer.notes,
            )
        )
    return layers


def _program_sha256(program: ManyCoreProgram) -> str:
    digest = hashlib.sha256(program.config.config_hash.encode())
    for array in (program.registers, program.weights, program.bias, program.v_threshold, program.decay_mem,
                  program.routes, program.input_routes, program.output_lines):  # fmt: skip
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


def _version() -> str:
    try:
        return version("spikeloom")
    except PackageNotFoundError:
        return "unknown"
