"""Run samples on a many-core program: arrays in, values, cycles and counters out; in parallel, with checkpoints."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..chip.events import CORE_EVENTS, PORTS
from ..chip.memory_map import SIGNATURE_UNITS
from ..chip.program import ManyCoreProgram
from .checkpoint import PER_SAMPLE, TOTALS, load_checkpoint, save_checkpoint
from .cores.setup import kernel_params, kernel_program, new_state
from .cores.state import SIGNATURES, Results, State
from .cores.timestep import run_sample

Ints = NDArray[np.int64]

# Samples that a thread takes at a time, after which progress is told; and how many of these each thread does
# between checkpoints.
_CHUNK = 32
_CHUNKS_A_CHECKPOINT = 8


class SimulationError(ValueError):
    """Inputs that cannot be run; the message is a sentence for the user."""


@dataclass(frozen=True)
class ManyCoreRun:
    """What a run of S samples gave; T network timesteps, K chip timesteps, C cores in use, O outputs.

    cycles : (S, K) int64, length of every chip timestep; the sample's reset is in the first
    output_count : (S, O) int64, payloads received per output (spikes, or raw membranes added up)
    first_spike : (S, O) int64, network timestep of the first output, -1 for none
    output_record : (S, T, O) int64, payload per timestep; (S, 0, O) unless recorded
    probe_v_mem, probe_output : layer -> (S, T, neurons) int64, membranes and outputs at the end of each timestep
    core_counters : (C, events) int64, columns as `chip.events.CORE_EVENTS`, added up over samples
    router_counters : (routers, ports) int64, router ``y * columns + x``, ports as `chip.events.PORTS`
    chip_counters : the counters of `chip.events.CHIP_EVENTS`, and ``host_cycles``, those with the host injecting
    step_router_flits : (K, routers) int64; step_core_outputs : (K, C) int64, added up over samples
    neuron_outputs : (2, C, N) int64, outputs that are not 0 of each neuron with routes, added up over samples: of all
        network timesteps, and of the last one, of which nothing recurrent comes to act
    signatures : (S, K, routers, units) uint32, the registers after every chip timestep, units as
        `chip.memory_map.SIGNATURE_UNITS`; (S, 0, 0, 0) unless asked for
    """

    timesteps: int
    cycles: Ints
    output_count: Ints
    first_spike: Ints
    output_record: Ints
    probe_v_mem: dict[str, Ints]
    probe_output: dict[str, Ints]
    core_counters: Ints
    router_counters: Ints
    chip_counters: dict[str, int]
    step_router_flits: Ints
    step_core_outputs: Ints
    neuron_outputs: Ints
    signatures: NDArray[np.uint32]

    @property
    def samples(self) -> int:
        """Samples that were run."""
        return len(self.cycles)


def run_many_core(
    program: ManyCoreProgram,
    payloads: NDArray[np.integer],
    timesteps: int,
    *,
    threads: int | None = None,
    record_outputs: bool = False,
    signatures: bool = False,
    probes: Sequence[str] = (),
    checkpoint: str | Path | None = None,
    checkpoint_key: str = "",
    progress: Callable[[int], None] | None = None,
) -> ManyCoreRun:
    """Simulate every cycle of every sample; the result does not depend on ``threads``.

    Parameters
    ----------
    program
        A checked program.
    payloads
        (samples, timesteps, inputs) integers, what the host injects each timestep; or (samples, 1, inputs), held
        over all timesteps.
    timesteps
        Network timesteps of a sample. The pipeline's fill is added.
    threads
        Worker threads; all processor cores by default.
    record_outputs
        Keep every output of every timestep.
    signatures
        Keep the signature registers after every chip timestep: what chip/signature.py says.
    probes
        Layers whose membranes and outputs are kept.
    checkpoint, checkpoint_key
        File to which finished samples are saved and from which they are taken up; the key (of program and data)
        must match.
    progress
        Called with the number of samples finished since the last call.

    Raises
    ------
    SimulationError
        If shapes do not match, a probe is unknown, or the chip has no signature registers to keep.
    """
    held = check_inputs(program, payloads, timesteps)
    _check_options(program, probes, signatures)
    samples = len(payloads)
    threads = max(1, min(threads or os.cpu_count() or 1, -(-samples // _CHUNK)))
    params = kernel_params(program, SIGNATURES if signatures else 0)
    memories = kernel_program(program)
    rows = np.ascontiguousarray(payloads, dtype=np.int32)
    probed = [(name, _cores_with_neurons(program, name)) for name in probes]
    probe_of_core = np.full(program.core_count, -1, dtype=np.int64)
    for place, c in enumerate(c for _, cores in probed for c in cores):
        probe_of_core[c] = place
    whole = new_results(program, samples, timesteps, record_outputs, signatures, probe_of_core)
    workers = [_Worker(new_state(program), _totals(whole)) for _ in range(threads)]

    def work(worker: _Worker, chunks: Iterator[range]) -> None:
        for chunk in chunks:
            for sample in chunk:
                run_sample(
                    params,
                    memories,
                    worker.state,
                    worker.results,
                    sample,
                    rows[sample],
                    held,
                    timesteps,
                )
            if progress is not None:
                progress(len(chunk))

    path = None if checkpoint is None else Path(checkpoint)
    done = 0 if path is None else load_checkpoint(path, checkpoint_key, whole)
    if progress is not None and done:
        progress(done)
    block = samples if path is None else threads * _CHUNK * _CHUNKS_A_CHECKPOINT
    with ThreadPoolExecutor(threads) as pool:
        while done < samples:
            end = min(done + block, samples)
            chunks = _Shared(
                range(start, min(start + _CHUNK, end)) for start in range(done, end, _CHUNK)
            )
            for job in [pool.submit(work, worker, chunks) for worker in workers]:
                job.result()
            for worker in workers:
                _take_totals(whole, worker.results)
            done = end
            if path is not None:
                save_checkpoint(path, checkpoint_key, done, whole)
    return _collect(program, whole, timesteps, probed)


class _Shared:
    """An iterator that several threads may draw from."""

    def __init__(self, items: Iterable[range]) -> None:
        self._items = iter(list(items))
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[range]:
        return self

    def __next__(self) -> range:
        with self._lock:
            return next(self._items)


@dataclass(frozen=True)
class _Worker:
    state: State
    results: Results


def merge_runs(runs: Sequence[ManyCoreRun]) -> ManyCoreRun:
    """Return one run of all samples of several: what is kept a sample follows one another, totals are added."""
    if len(runs) == 1:
        return runs[0]
    merged: dict[str, Any] = {"timesteps": runs[0].timesteps}
    for field in fields(ManyCoreRun):
        parts = [getattr(run, field.name) for run in runs]
        if field.name in TOTALS:
            merged[field.name] = np.sum(parts, axis=0)
        elif field.name == "chip_counters":
            merged[field.name] = {name: sum(part[name] for part in parts) for name in parts[0]}
        elif field.name in PER_SAMPLE and isinstance(parts[0], dict):
            merged[field.name] = {n: np.concatenate([p[n] for p in parts]) for n in parts[0]}
        elif field.name in PER_SAMPLE:
            merged[field.name] = np.concatenate(parts)
    return ManyCoreRun(**merged)


def check_inputs(program: ManyCoreProgram, payloads: NDArray[np.integer], timesteps: int) -> bool:
    """Raise `SimulationError` if inputs and timesteps cannot be run. Returns whether the inputs are held."""
    if timesteps < 1:
        raise SimulationError(f"timesteps must be at least 1, not {timesteps}")
    if (
        payloads.ndim != 3
        or payloads.shape[2] != program.input_size
        or payloads.shape[1] not in (1, timesteps)
    ):
        raise SimulationError(
            f"inputs must be (samples, {timesteps} or 1 timesteps, {program.input_size} values), not {payloads.shape}"
        )
    if len(payloads) == 0:
        raise SimulationError("there are no samples to run; give at least one")
    return payloads.shape[1] == 1 and timesteps > 1


def _check_options(program: ManyCoreProgram, probes: Sequence[str], signatures: bool) -> None:
    for name in probes:
        if name not in [layer.name for layer in program.layers]:
            known = ", ".join(layer.name for layer in program.layers)
            raise SimulationError(
                f"probe {name!r} is no layer of the program; its layers are {known}"
            )
    if signatures and not program.config.many_core.signatures:
        raise SimulationError(
            "the chip has no signature registers; set many_core.signatures in its configuration"
        )


def _cores_with_neurons(program: ManyCoreProgram, name: str) -> list[int]:
    layer = program.layer(name)
    return [c for c in layer.cores if c not in layer.partial_cores]


def new_results(
    program: ManyCoreProgram,
    samples: int,
    timesteps: int,
    record: bool,
    signatures: bool,
    probe_of_core: Ints,
) -> Results:
    """Allocate the results of so many samples; ``probe_of_core`` numbers the cores to probe, -1 for the others."""
    chip_timesteps = program.chip_timesteps(timesteps)
    mesh = program.config.many_core.network
    routers, outputs = mesh.columns * mesh.rows, program.output_size
    probed = int(probe_of_core.max(initial=-1)) + 1
    kept = samples if probed else 0
    neurons = int(program.register("neurons")[probe_of_core >= 0].max(initial=0))
    return Results(
        cycles=np.zeros((samples, chip_timesteps), dtype=np.int64),
        output_count=np.zeros((samples, outputs), dtype=np.int64),
        first_spike=np.full((samples, outputs), -1, dtype=np.int64),
        output_record=np.zeros((samples, timesteps if record else 0, outputs), dtype=np.int64),
        probe_v_mem=np.zeros((kept, timesteps, probed, neurons), dtype=np.int64),
        probe_output=np.zeros((kept, timesteps, probed, neurons), dtype=np.int64),
        probe_of_core=probe_of_core,
        core_counters=np.zeros((program.core_count, len(CORE_EVENTS)), dtype=np.int64),
        router_counters=np.zeros((routers, len(PORTS)), dtype=np.int64),
        host_counters=np.zeros(5, dtype=np.int64),
        step_router_flits=np.zeros((chip_timesteps, routers), dtype=np.int64),
        step_core_outputs=np.zeros((chip_timesteps, program.core_count), dtype=np.int64),
        neuron_outputs=np.zeros(
            (2, program.core_count, program.config.many_core.core.neurons), dtype=np.int64
        ),
        signatures=np.zeros(
            (samples, chip_timesteps, routers, len(SIGNATURE_UNITS))
            if signatures
            else (samples, 0, 0, 0),
            dtype=np.uint32,
        ),
    )


def _totals(whole: Results) -> Results:
    """Return the results of a worker: the same per-sample arrays, totals of its own."""
    return whole._replace(**{name: np.zeros_like(getattr(whole, name)) for name in TOTALS})


def _take_totals(whole: Results, part: Results) -> None:
    """Add a worker's totals to the whole, and empty them."""
    for name in TOTALS:
        total, share = getattr(whole, name), getattr(part, name)
        total += share
        share[:] = 0


def _collect(
    program: ManyCoreProgram, results: Results, timesteps: int, probed: list[tuple[str, list[int]]]
) -> ManyCoreRun:
    flits_in, flits_out, stalls, overruns, host_cycles = (
        int(value) for value in results.host_counters
    )
    probe_v_mem, probe_output = {}, {}
    for name, cores in probed:
        layer = program.layer(name)
        shape = (len(results.cycles), timesteps, int(np.prod(layer.shape)))
        probe_v_mem[name], probe_output[name] = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        for c in cores:
            index = program.neuron_index[c, : int(program.register("neurons")[c])]
            place, used = int(results.probe_of_core[c]), np.flatnonzero(index >= 0)
            probe_v_mem[name][:, :, index[used]] = results.probe_v_mem[:, :, place, used]
            probe_output[name][:, :, index[used]] = results.probe_output[:, :, place, used]
    return ManyCoreRun(
        timesteps=timesteps,
        cycles=results.cycles,
        output_count=results.output_count,
        first_spike=results.first_spike,
        output_record=results.output_record,
        probe_v_mem=probe_v_mem,
        probe_output=probe_output,
        core_counters=results.core_counters,
        router_counters=results.router_counters,
        chip_counters={
            "cycles": int(results.cycles.sum()),
            "timesteps": results.cycles.size,
            "host_flits_in": flits_in,
            "host_flits_out": flits_out,
            "host_stalls": stalls,
            "overruns": overruns,
            "host_cycles": host_cycles,
        },
        step_router_flits=results.step_router_flits,
        step_core_outputs=results.step_core_outputs,
        neuron_outputs=results.neuron_outputs,
        signatures=results.signatures,
    )
