"""From a program to what the kernels take: parameters, memories in their order, and a worker's state at rest."""

from __future__ import annotations

import numpy as np

from ...chip.events import PORTS
from ...chip.memory_map import SIGNATURE_UNITS
from ...chip.packet import FlitLayout
from ...chip.program import ManyCoreProgram
from ...chip.signature import byte_table
from .state import (
    DELAY_SHIFT,
    KIND_SHIFT,
    RETIRE_COLUMNS,
    SEND_COLUMNS,
    TARGET_SHIFT,
    TRANSFER_COLUMNS,
    Y_SHIFT,
    Array,
    AxonState,
    DendriteState,
    EventState,
    HostMemory,
    HostState,
    Params,
    Program,
    RouteMemory,
    RouterState,
    SenderState,
    SignatureState,
    SomaMemory,
    SomaState,
    State,
)


def flit_words(x: Array, y: Array, kind: Array, delay: Array, target: Array) -> Array:
    """Pack destination column ``x`` and row ``y`` (-1 is the host), kind, delay and target into int64 words."""
    fields = [np.asarray(field, dtype=np.int64) for field in (x, y + 1, kind, delay, target)]
    shifts = (0, Y_SHIFT, KIND_SHIFT, DELAY_SHIFT, TARGET_SHIFT)
    word = np.zeros(len(fields[0]), dtype=np.int64)
    for field, shift in zip(fields, shifts, strict=True):
        word |= field << shift
    return word


def kernel_params(program: ManyCoreProgram, observe: int = 0) -> Params:
    """Derive the kernels' parameters from the program's configuration; ``observe`` says what to observe."""
    chip = program.config.many_core
    core, mesh = chip.core, chip.network
    return Params(
        columns=mesh.columns, rows=mesh.rows, fifo_depth=mesh.fifo_depth, axons=core.axons, neurons=core.neurons,
        delay_slots=core.delay_slots, lanes=core.lanes, weight_bits=core.weight_bits,
        activation_bits=core.activation_bits, accumulator_bits=core.accumulator_bits,
        membrane_bits=core.membrane_bits, decay_bits=core.decay_bits, pipeline_stages=core.pipeline_stages,
        start_cycles=chip.start_cycles, host_start_cycles=chip.host_start_cycles,
        send_latency_cycles=chip.send_latency_cycles,
        barrier_cycles=chip.barrier_cycles, sample_reset_cycles=chip.sample_reset_cycles,
        fixed_period=chip.timestep.period_cycles if chip.timestep.mode == "fixed" else 0,
        steps_per_timestep=program.steps_per_timestep, observe=observe,
    )  # fmt: skip


def kernel_program(program: ManyCoreProgram) -> Program:
    """Arrange a checked program for the kernels."""
    chip = program.config.many_core
    mesh = chip.network
    routers = mesh.columns * mesh.rows
    x, y = program.register("x"), program.register("y")
    kind, dx, dy, target, delay = program.routes.astype(np.int64).reshape(-1, 5).T
    source = np.repeat(np.arange(program.core_count), np.diff(program.route_offset))
    core_at = np.full(routers, -1, dtype=np.int64)
    core_at[y * mesh.columns + x] = np.arange(program.core_count)
    port, in_dx, in_dy, axon, in_delay = program.input_routes.astype(np.int64).reshape(-1, 5).T
    host_rows = np.array(mesh.host_rows, dtype=np.int64)
    layout = FlitLayout.of(chip)
    output_of_line = np.full((len(mesh.host_columns), layout.output_lines), -1, dtype=np.int64)
    output_depth = np.zeros(program.output_size, dtype=np.int64)
    column, line, index, layer = program.output_lines.astype(np.int64).T
    output_of_line[column, line] = index
    output_depth[index] = np.array([item.depth for item in program.layers], dtype=np.int64)[layer]
    host_column = np.full(mesh.columns, -1, dtype=np.int64)
    host_column[list(mesh.host_columns)] = np.arange(len(mesh.host_columns))
    return Program(
        registers=_plain(program.registers),
        weights=_plain(program.weights),
        core_at=_plain(core_at),
        soma=SomaMemory(*(_plain(getattr(program, name)) for name in SomaMemory._fields)),
        routes=RouteMemory(
            base=_plain(program.route_base),
            fan_out=_plain(program.route_count),
            words=_plain(flit_words(x[source] + dx, y[source] + dy, kind, delay, target)),
            offset=_plain(program.route_offset),
        ),
        host=HostMemory(
            input_offset=_plain(program.input_offset),
            input_words=_plain(
                flit_words(in_dx, host_rows[port] + in_dy, np.zeros_like(port), in_delay, axon)
            ),
            input_port=_plain(port),
            router=_plain(host_rows * mesh.columns),
            output_of_line=_plain(output_of_line),
            output_depth=_plain(output_depth),
            column=_plain(host_column),
            line_bits=layout.target_bits,
        ),
    )


def _plain(array: Array) -> Array:
    """Return ``array`` contiguous and writable, so that the kernels are compiled for one kind of array only."""
    return np.require(array, requirements=["C", "W"])


def new_events(
    transfers: int = 0, retires: int = 0, sends: int = 0, first: int = 0, end: int = 0
) -> EventState:
    """Allocate lists for so many events of the chip timesteps ``first`` <= k < ``end``."""
    return EventState(
        transfer=np.zeros((transfers, len(TRANSFER_COLUMNS)), dtype=np.int64),
        retire=np.zeros((retires, len(RETIRE_COLUMNS)), dtype=np.int64),
        send=np.zeros((sends, len(SEND_COLUMNS)), dtype=np.int64),
        counts=np.zeros(3, dtype=np.int64),
        window=np.array([first, end], dtype=np.int64),
    )


def new_state(program: ManyCoreProgram) -> State:
    """Allocate the state of one worker, at rest."""
    chip = program.config.many_core
    core, mesh = chip.core, chip.network
    count, axons, neurons, slots = program.core_count, core.axons, core.neurons, core.delay_slots
    routers, ports = mesh.columns * mesh.rows, len(PORTS)
    inputs = len(mesh.host_rows)
    flits = max(len(program.input_routes), 1)
    layout = FlitLayout.of(chip)
    narrow = np.int32 if core.accumulator_bits <= 32 else np.int64

    def zeros(*shape: int, dtype: type[np.generic] = np.int64) -> Array:
        return np.zeros(shape, dtype=dtype)

    return State(
        axon=AxonState(
            value=zeros(count, slots, axons, dtype=np.int32),
            active=zeros(count, slots, axons, dtype=np.uint8),
            active_count=zeros(count, slots),
            held_value=zeros(count, axons, dtype=np.int32),
            held_active=zeros(count, axons, dtype=np.uint8),
            held_count=zeros(count),
            walk_axon=zeros(axons),
            walk_value=zeros(axons),
        ),
        dendrite=DendriteState(
            sum_value=zeros(count, slots, neurons, dtype=narrow),
            accumulator=zeros(neurons, dtype=narrow),
        ),
        soma=SomaState(
            v_mem=zeros(count, neurons),
            i_syn=zeros(count, neurons),
            refractory_left=zeros(count, neurons),
            lfsr=zeros(count),
            output=zeros(neurons),
        ),
        sender=SenderState(
            neuron=zeros(count, neurons),
            payload=zeros(count, neurons),
            filled=zeros(count),
            next=zeros(count),
            route=zeros(count),
            cycle=zeros(count),
            order=zeros(count),
        ),
        router=RouterState(
            x=np.arange(routers) % mesh.columns,
            y=np.arange(routers) // mesh.columns,
            word=zeros(routers, ports, mesh.fifo_depth),
            payload=zeros(routers, ports, mesh.fifo_depth),
            first=zeros(routers, ports),
            fill=zeros(routers, ports),
            asks=zeros(routers, ports),
            turn=zeros(routers, ports),
            busy=zeros(routers),
            listed=zeros(routers, dtype=np.uint8),
            busy_list=zeros(routers),
            busy_count=zeros(1),
            moves=zeros(routers * ports, 3),
        ),
        host=HostState(
            word=zeros(inputs, flits),
            payload=zeros(inputs, flits),
            filled=zeros(inputs),
            next=zeros(inputs),
        ),
        signature=SignatureState(
            value=zeros(routers, len(SIGNATURE_UNITS)),
            table=np.array(byte_table(), dtype=np.int64),
            dx_bits=layout.dx_bits,
            dy_bits=layout.dy_bits,
            target_bits=layout.target_bits,
            delay_bits=layout.delay_bits,
            payload_bits=layout.payload_bits,
        ),
        events=new_events(),
    )
