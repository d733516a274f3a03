"""What the kernels read and change: parameters, program, state and results as tuples of arrays."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...chip.events import PORTS
from ...chip.packet import FlitLayout
from ...chip.program import ManyCoreProgram

Array = NDArray[Any]

# A flit in the simulator: one word that names destination, kind, delay and target, and its payload beside it.
X_MASK, Y_SHIFT, Y_MASK, KIND_SHIFT, KIND_MASK = 255, 8, 255, 16, 3
DELAY_SHIFT, DELAY_MASK, TARGET_SHIFT = 18, 63, 24


class Params(NamedTuple):
    """Sizes, widths and latencies of the chip."""

    columns: int
    rows: int
    fifo_depth: int
    axons: int
    neurons: int
    delay_slots: int
    lanes: int
    weight_bits: int
    activation_bits: int
    accumulator_bits: int
    membrane_bits: int
    decay_bits: int
    pipeline_stages: int
    start_cycles: int
    send_latency_cycles: int
    barrier_cycles: int
    sample_reset_cycles: int
    fixed_period: int  # 0: adaptive
    steps_per_timestep: int


class SomaMemory(NamedTuple):
    """A neuron's parameters; c core, n neuron."""

    v_threshold: Array  # c, n
    v_reset: Array  # c, n
    v_init: Array  # c, n
    i_init: Array  # c, n
    bias: Array  # c, n
    decay_mem: Array  # c, n
    decay_syn: Array  # c, n
    route_count: Array  # c, n
    table: Array  # c, byte; (0, 256) without TABLE cores


class RouteMemory(NamedTuple):
    """The senders' routing memories; f flit."""

    base: Array  # c, n
    fan_out: Array  # c, n
    words: Array  # f: see `flit_words`
    offset: Array  # c + 1


class HostMemory(NamedTuple):
    """The host's tables of inputs and outputs."""

    input_offset: Array  # input + 1
    input_words: Array  # f
    input_port: Array  # f
    router: Array  # input port: its router
    output_of_line: Array  # host column, line: place in the outputs, or -1
    output_depth: Array  # output: depth of its layer
    column: Array  # column of the mesh: its place in host_columns, or -1
    line_bits: int  # bits of the target field at the host


class Program(NamedTuple):
    """The program's memories as the kernels use them."""

    registers: Array  # c, register
    weights: Array  # c, a, n
    core_at: Array  # router: the core in use there, or -1
    soma: SomaMemory
    routes: RouteMemory
    host: HostMemory


class AxonState(NamedTuple):
    """Values that arrive; c core, d slot, a axon."""

    value: Array  # c, d, a
    active: Array  # c, d, a
    active_count: Array  # c, d
    held_value: Array  # c, a
    held_active: Array  # c, a
    held_count: Array  # c
    walk_axon: Array  # a: active axons of the core at work
    walk_value: Array  # a: their values


class DendriteState(NamedTuple):
    """Incoming sums, and the accumulators of the core at work."""

    sum_value: Array  # c, d, n
    accumulator: Array  # n


class SomaState(NamedTuple):
    """A neuron's state between timesteps."""

    v_mem: Array  # c, n
    i_syn: Array  # c, n
    refractory_left: Array  # c, n
    lfsr: Array  # c
    output: Array  # n: of the core at work


class SenderState(NamedTuple):
    """Outboxes, and the order in which the cores start to send."""

    neuron: Array  # c, place
    payload: Array  # c, place
    filled: Array  # c: places of the outbox in use
    next: Array  # c: place in the outbox
    route: Array  # c: routes of that neuron already sent
    cycle: Array  # c: of the first flit, or of the end of compute where there is none
    order: Array  # c: cores with something to send


class RouterState(NamedTuple):
    """Input FIFOs and arbiters; r router, p port."""

    x: Array  # r: column of the mesh
    y: Array  # r: row
    word: Array  # r, p, place
    payload: Array  # r, p, place
    first: Array  # r, p
    fill: Array  # r, p: flits
    asks: Array  # r, p: output that the first flit asks for
    turn: Array  # r, output: input that has priority
    busy: Array  # r: flits in all inputs
    listed: Array  # r: whether it stands in busy_list
    busy_list: Array  # routers with flits
    busy_count: Array  # (1,)
    moves: Array  # move, (router, input, output)


class HostState(NamedTuple):
    """The host's input queues of a timestep."""

    word: Array  # input port, flit
    payload: Array  # input port, flit
    filled: Array  # input port
    next: Array  # input port


class State(NamedTuple):
    """Everything that changes while a sample runs, unit by unit."""

    axon: AxonState
    dendrite: DendriteState
    soma: SomaState
    sender: SenderState
    router: RouterState
    host: HostState


class Results(NamedTuple):
    """What a worker adds up over samples, and what it writes per sample; s sample, k chip timestep, o output."""

    cycles: Array  # s, k
    output_count: Array  # s, o: sum of the payloads received
    first_spike: Array  # s, o: network timestep, -1 for none
    output_record: Array  # s, t, o; empty unless asked for
    probe_v_mem: Array  # s, t, probed core, n; empty unless asked for
    probe_output: Array  # s, t, probed core, n
    probe_of_core: Array  # c: place among the probed cores, or -1
    core_counters: Array  # c, event
    router_counters: Array  # r, port
    host_counters: Array  # flits in, flits out, stalls, overruns, cycles with the host at work
    step_router_flits: Array  # k, r
    step_core_outputs: Array  # k, c


HOST_IN, HOST_OUT, HOST_STALLS, OVERRUNS, HOST_CYCLES = range(5)


def flit_words(x: Array, y: Array, kind: Array, delay: Array, target: Array) -> Array:
    """Pack destination column ``x`` and row ``y`` (-1 is the host), kind, delay and target into int64 words."""
    fields = [np.asarray(field, dtype=np.int64) for field in (x, y + 1, kind, delay, target)]
    shifts = (0, Y_SHIFT, KIND_SHIFT, DELAY_SHIFT, TARGET_SHIFT)
    word = np.zeros(len(fields[0]), dtype=np.int64)
    for field, shift in zip(fields, shifts, strict=True):
        word |= field << shift
    return word


def kernel_params(program: ManyCoreProgram) -> Params:
    """Derive the kernels' parameters from the program's configuration."""
    chip = program.config.many_core
    core, mesh = chip.core, chip.network
    return Params(
        columns=mesh.columns, rows=mesh.rows, fifo_depth=mesh.fifo_depth, axons=core.axons, neurons=core.neurons,
        delay_slots=core.delay_slots, lanes=core.lanes, weight_bits=core.weight_bits,
        activation_bits=core.activation_bits, accumulator_bits=core.accumulator_bits,
        membrane_bits=core.membrane_bits, decay_bits=core.decay_bits, pipeline_stages=core.pipeline_stages,
        start_cycles=chip.start_cycles, send_latency_cycles=chip.send_latency_cycles,
        barrier_cycles=chip.barrier_cycles, sample_reset_cycles=chip.sample_reset_cycles,
        fixed_period=chip.timestep.period_cycles if chip.timestep.mode == "fixed" else 0,
        steps_per_timestep=program.steps_per_timestep,
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


def new_state(program: ManyCoreProgram) -> State:
    """Allocate the state of one worker, at rest."""
    chip = program.config.many_core
    core, mesh = chip.core, chip.network
    count, axons, neurons, slots = program.core_count, core.axons, core.neurons, core.delay_slots
    routers, ports = mesh.columns * mesh.rows, len(PORTS)
    inputs = len(mesh.host_rows)
    flits = max(len(program.input_routes), 1)
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
    )
