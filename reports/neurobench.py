"""NeuroBench's algorithm metrics of a run, as its harness defines them: footprint, sparsities, synaptic operations."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ..chip.arithmetic import NeuronKind
from ..chip.events import CORE_EVENT_INDEX
from ..chip.memory_map import CoreMemories, Memory
from ..chip.packet import FlitKind
from ..chip.program import ManyCoreProgram
from .model import ReportModel

Ints = NDArray[np.int64]

_FLOAT_BYTES = 4  # a parameter of a framework's network: a 32-bit float


class SynapticOperations(ReportModel):
    """Synaptic operations a sample; biases are none."""

    dense: float | None = Field(
        ge=0, description="every connection in every timestep; null: not known to the program"
    )
    effective_macs: float = Field(
        ge=0, description="nonzero value x nonzero weight, of values beside -1, 0 and 1"
    )
    effective_acs: float = Field(ge=0, description="nonzero weight, of values that are spikes")


class NeuroBench(ReportModel):
    """NeuroBench's metrics; what begins with chip_ is the chip's notion of the same, beside the harness's."""

    footprint_bytes: int | None = Field(
        ge=0,
        description="weights and biases of the network's file as 32-bit floats; null: not known to the program",
    )
    chip_footprint_bytes: int = Field(
        ge=0, description="memory rows that the program fills, at the chip's widths"
    )
    connection_sparsity: float | None = Field(
        ge=0,
        le=1,
        description="share of zeros among the weights of the network's file; null: not known",
    )
    chip_connection_sparsity: float | None = Field(
        ge=0,
        le=1,
        description="share of connections whose weight is 0 once quantised; null: not known",
    )
    activation_sparsity: float = Field(
        ge=0, le=1, description="share of zeros among the outputs of neurons, over all timesteps"
    )
    synaptic_operations: SynapticOperations
    chip_synops: float = Field(
        ge=0, description="a sample: weights that cores applied, zero weights included"
    )
    notes: list[str] = Field(description="where the harness would count otherwise")


def neurobench_metrics(
    program: ManyCoreProgram,
    payloads: NDArray[np.integer[Any]],
    neuron_outputs: Ints,
    core_counters: Ints,
    timesteps: int,
) -> NeuroBench:
    """Return NeuroBench's metrics of a run, a mean sample, the run taken as one batch.

    Parameters
    ----------
    program
        What ran.
    payloads
        (samples, timesteps, inputs), or (samples, 1, inputs) held over all timesteps: what the host injected.
    neuron_outputs, core_counters
        Of the run, as `sim.run.ManyCoreRun` says: (2, cores, neurons) and (cores, events).
    timesteps
        Network timesteps of a sample.

    Notes
    -----
    The definitions are those of the harness, neurobench 2.3.0. A synaptic operation is a value that is not 0 times a
    weight that is not 0; biases are none. It counts as an accumulate where all values that a layer takes in a timestep
    are -1, 0 or 1, else as a multiply-accumulate; here neurons that may emit other values than 0 and 1 always count as
    the latter. Spikes of the last timestep have no recurrent effect and count as none.
    """
    samples = len(payloads)
    fan_out = _FanOut(program)
    graded = _graded_cores(program)
    macs, acs, late = 0, 0, False
    for delay, of_neuron, of_input in fan_out.by_delay():
        outputs = neuron_outputs[0] if delay == 0 else neuron_outputs[0] - neuron_outputs[1]
        late = late or (delay > 1 and bool(of_neuron.any()))
        operations = (outputs * of_neuron).sum(axis=1)
        values, spikes = _shown(program, payloads, timesteps, delay)
        macs += int(operations[graded].sum() + values @ of_input)
        acs += int(operations[~graded].sum() + spikes @ of_input)
    known: dict[str, Any] = program.meta.get("parameters", {})
    folded = list(known.get("folded", []))
    connections: int | None = known.get("connections")
    return NeuroBench(
        footprint_bytes=_FLOAT_BYTES * (known["weights"] + known["biases"]) if known else None,
        chip_footprint_bytes=chip_footprint_bytes(program),
        connection_sparsity=_share(known["zero_weights"], known["weights"]) if known else None,
        chip_connection_sparsity=_share(connections - fan_out.connections, connections)
        if connections and not folded
        else None,
        activation_sparsity=_activation_sparsity(program, core_counters),
        synaptic_operations=SynapticOperations(
            dense=None if connections is None else connections * timesteps,
            effective_macs=macs / samples,
            effective_acs=acs / samples,
        ),
        chip_synops=float(core_counters[:, CORE_EVENT_INDEX["synops"]].sum() / samples),
        notes=_notes(bool(known), folded, late),
    )


def chip_footprint_bytes(program: ManyCoreProgram) -> int:
    """Return the bytes of the rows that a program fills in its cores' memories; no state, no unused rows.

    Weights: a row of lanes for each group of neurons in use and each axon up to the last with a weight.
    """
    memories = CoreMemories(program.config.many_core)
    bits = {memory: layout.bits for memory, layout in memories.layouts.items()}
    neurons = program.register("neurons")
    lanes = np.array(
        [memories.config.effective_lanes(int(b)) for b in program.register("weight_mode_bits")]
    )
    used = np.count_nonzero(program.weights, axis=2) > 0
    axons = (used * np.arange(1, used.shape[1] + 1)).max(axis=1, initial=0)
    tables = np.count_nonzero(program.register("kind") == NeuronKind.TABLE)
    total = (
        int((-(-neurons // lanes) * axons).sum()) * bits[Memory.WEIGHTS]
        + int(neurons.sum()) * bits[Memory.NEURONS]
        + len(program.routes) * bits[Memory.ROUTES]
        + program.core_count * bits[Memory.REGISTERS]
        + int(tables) * memories.layouts[Memory.TABLE].rows * bits[Memory.TABLE]
    )
    return -(-total // 8)


class _FanOut:
    """Weights that are not 0 behind each neuron's output and each input value, by network delay."""

    def __init__(self, program: ManyCoreProgram) -> None:
        self._program = program
        mesh = program.config.many_core.network
        core_at = np.full(mesh.columns * mesh.rows, -1)
        x, y = program.register("x"), program.register("y")
        core_at[y * mesh.columns + x] = np.arange(program.core_count)
        nonzero = np.count_nonzero(program.weights, axis=2)
        depth, steps = program.register("depth"), program.steps_per_timestep

        def behind(to_x: Ints, to_y: Ints, axon: Ints, sent: Ints) -> tuple[Ints, Ints]:
            """Return weights and network delay of flits to axons; ``sent``: their delay after network timestep 0."""
            core = core_at[to_y * mesh.columns + to_x]
            count = np.where(core >= 0, nonzero[core, axon], 0)
            return count, (sent - depth[core]) // steps

        kind, dx, dy, target, delay = program.routes.astype(np.int64).T
        source = np.repeat(np.arange(program.core_count), np.diff(program.route_offset))
        to_axon = (kind != FlitKind.SUM) & (y[source] + dy >= 0)
        s = source[to_axon]
        self._routes = np.zeros((2, len(kind)), dtype=np.int64)
        self._routes[:, to_axon] = behind(
            x[s] + dx[to_axon], y[s] + dy[to_axon], target[to_axon], depth[s] + delay[to_axon]
        )
        port, dx, dy, axon, delay = program.input_routes.astype(np.int64).T
        self._inputs = np.stack(behind(dx, np.asarray(mesh.host_rows)[port] + dy, axon, delay))

    @property
    def connections(self) -> int:
        """All weights that are not 0, each as often as a source leads there."""
        return sum(int(n.sum() + i.sum()) for _, n, i in self.by_delay())

    def by_delay(self) -> Iterator[tuple[int, Ints, Ints]]:
        """Yield network delay, weights behind each neuron (cores, neurons) and behind each input (inputs,)."""
        p = self._program
        for delay in np.unique(np.concatenate([self._routes[1], self._inputs[1]])).tolist():
            of_route = np.where(self._routes[1] == delay, self._routes[0], 0)
            before = np.concatenate([[0], np.cumsum(of_route)])
            first = p.route_offset[:-1, None] + p.route_base
            of_neuron = before[np.minimum(first + p.route_count, len(of_route))] - before[first]
            of_input = np.where(self._inputs[1] == delay, self._inputs[0], 0)
            ends = np.concatenate([[0], np.cumsum(of_input)])[p.input_offset]
            yield delay, of_neuron, np.diff(ends)


def _shown(
    program: ManyCoreProgram, payloads: NDArray[np.integer[Any]], timesteps: int, delay: int
) -> tuple[Ints, Ints]:
    """Count how often each input acts, (inputs,): in timesteps in which its input has graded values, and in others."""
    held = payloads.shape[1] == 1
    rows = payloads if held else payloads[:, : max(timesteps - delay, 0)]
    times = max(timesteps - delay, 0) if held else 1
    values, spikes = np.zeros((2, payloads.shape[2]), dtype=np.int64)
    start = 0
    for item in program.inputs:
        part = slice(start, start := start + prod(item.shape))
        shown = rows[:, :, part]
        active = shown != 0
        graded = (active & ~np.isclose(np.abs(shown) * item.scale, 1.0)).any(axis=(0, 2))
        values[part] = active[:, graded].sum(axis=(0, 1)) * times
        spikes[part] = active[:, ~graded].sum(axis=(0, 1)) * times
    return values, spikes


def _graded_cores(program: ManyCoreProgram) -> NDArray[np.bool_]:
    """Return which cores may emit other values than 0 and 1."""
    fires = program.register("kind") <= NeuronKind.CUBA_LIF
    return ~fires | (program.register("max_output") > 1)


def _activation_sparsity(program: ManyCoreProgram, core_counters: Ints) -> float:
    """Return the share of zeros among the outputs of all layers but readouts, whose membranes are no activations."""
    counted = np.zeros(program.core_count, dtype=bool)
    for layer in program.layers:
        if layer.spiking:
            counted[[c for c in layer.cores if c not in layer.partial_cores]] = True
    emitted, updates = (
        int(core_counters[counted, CORE_EVENT_INDEX[name]].sum())
        for name in ("spikes", "neuron_updates")
    )
    return _share(updates - emitted, updates) or 0.0


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _notes(known: bool, folded: list[str], late: bool) -> list[str]:
    notes = []
    if not known:
        notes.append(
            "the program does not say what the network's file held; compile the network again for footprint, "
            "connection sparsity and dense operations"
        )
    if folded:
        notes.append(
            f"{', '.join(folded)} became part of weights; effective operations are those of the folded network, "
            "which the harness would count before folding"
        )
    if late:
        notes.append(
            "connections of two timesteps' delay or more count spikes that come too late to act"
        )
    return notes
