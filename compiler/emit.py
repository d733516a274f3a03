"""The program: registers, memories, routes and the host's tables, from the plan of all passes."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from ..chip.arithmetic import Compare, NeuronKind, ResetMode, ResetTiming
from ..chip.config import ChipConfig
from ..chip.program import (
    CORE_REGISTERS,
    REGISTER_INDEX,
    InputInfo,
    LayerInfo,
    ManyCoreProgram,
    check_program,
    weight_dtype,
)
from .partition import Partition
from .place import Placement
from .quantised import QuantisedNetwork, QuantisedPopulation
from .route import Routing
from .schedule import Schedule

_SOMA_MEMORIES = ("v_threshold", "v_reset", "v_init", "i_init", "bias", "decay_mem", "decay_syn")


def emit(
    network: QuantisedNetwork,
    plan: Partition,
    times: Schedule,
    placement: Placement,
    routing: Routing,
    config: ChipConfig,
    meta: dict[str, Any],
) -> ManyCoreProgram:
    """Assemble and check the program."""
    core = config.many_core.core
    count = len(plan.cores)
    shape = (count, core.neurons)
    weights = np.zeros((count, core.axons, core.neurons), dtype=weight_dtype(core.weight_bits))
    memories = {name: np.zeros(shape, dtype=np.int64) for name in _SOMA_MEMORIES}
    memories["v_threshold"][:] = 1
    neuron_index = np.full(shape, -1, dtype=np.int32)
    neuron_scale = np.ones(shape, dtype=np.float64)
    has_table = any(p.source.kind == NeuronKind.TABLE for p in network.populations)
    table = np.zeros((count if has_table else 0, 256), dtype=np.int32)
    registers = np.zeros((count, len(CORE_REGISTERS)), dtype=np.int64)
    for index, item in enumerate(plan.cores):
        population = network.populations[item.population]
        axons, neurons = item.weights.shape
        weights[index, :axons, :neurons] = item.weights
        values = {
            "x": int(placement.x[index]),
            "y": int(placement.y[index]),
            "neurons": neurons,
            "depth": times.core_depth(plan, index),
        }
        if plan.is_partial(index):
            values |= _partial_registers(population)
        else:
            values |= _soma_registers(population)
            for name in _SOMA_MEMORIES:
                memories[name][index, :neurons] = getattr(population, name)[item.neurons]
            neuron_index[index, :neurons] = item.neurons
            neuron_scale[index, :neurons] = population.scale[item.neurons]
            if population.table is not None:
                table[index] = population.table
        for name, value in values.items():
            registers[index, REGISTER_INDEX[name]] = value
    program = ManyCoreProgram(
        config=config,
        registers=registers,
        weights=weights,
        **memories,
        route_base=routing.route_base,
        route_count=routing.route_count,
        table=table,
        route_offset=routing.route_offset,
        routes=routing.routes,
        core_layer=np.array([item.population for item in plan.cores], dtype=np.int32),
        neuron_index=neuron_index,
        neuron_scale=neuron_scale,
        input_offset=routing.input_offset,
        input_routes=routing.input_routes,
        output_lines=routing.output_lines,
        output_scale=np.concatenate(
            [network.population(name).output_scale for name in network.network.outputs]
            or [np.empty(0)]
        ).astype(np.float64),
        inputs=tuple(
            InputInfo(i.name, i.shape, float(i.scale), i.signed, i.max_payload)
            for i in network.inputs
        ),
        layers=tuple(
            _layer(network, plan, times, index) for index in range(len(network.populations))
        ),
        outputs=network.network.outputs,
        steps_per_timestep=times.steps,
        meta=meta,
    )
    check_program(program)
    return program


def _soma_registers(population: QuantisedPopulation) -> dict[str, int]:
    source = population.source
    return {
        "kind": int(source.kind),
        "weight_mode_bits": population.weight_mode_bits,
        "axon_signed": int(population.axon_signed),
        "i_shift": population.i_shift,
        "requant_shift": population.requant_shift,
        "reset_mode": int(source.reset_mode),
        "reset_timing": int(source.reset_timing),
        "compare": int(source.compare),
        "max_output": population.max_payload
        if source.spiking or source.kind == NeuronKind.RELU
        else 1,
        "floor": int(source.floor),
    }


def _partial_registers(population: QuantisedPopulation) -> dict[str, int]:
    return {
        "kind": int(NeuronKind.PARTIAL),
        "weight_mode_bits": population.weight_mode_bits,
        "axon_signed": int(population.axon_signed),
        "reset_mode": int(ResetMode.ZERO),
        "reset_timing": int(ResetTiming.SAME),
        "compare": int(Compare.GT),
        "max_output": 1,
    }


def _layer(network: QuantisedNetwork, plan: Partition, times: Schedule, index: int) -> LayerInfo:
    population = network.populations[index]
    cores = plan.cores_of(index)
    notes: dict[str, Any] = {}
    for loss in network.losses:
        if loss.name == population.name:
            # NaN is no JSON: what was not measured is left null.
            notes |= {k: None if v != v else v for k, v in asdict(loss).items() if k != "name"}
    notes["sources"] = sorted(
        {plan.nodes[edge.source] for edge in times.edges if edge.target == plan.input_count + index}
    )
    if population.source.activation:
        notes["activation"] = population.source.activation
    return LayerInfo(
        name=population.name,
        kind=population.source.kind.name,
        shape=population.source.shape,
        spiking=population.source.kind not in (NeuronKind.INTEGRATOR, NeuronKind.CUBA_INTEGRATOR),
        depth=times.depth[plan.input_count + index],
        cores=cores,
        partial_cores=tuple(core for core in cores if plan.is_partial(core)),
        notes=notes,
    )
