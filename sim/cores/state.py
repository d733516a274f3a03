"""What the kernels read and change: parameters, program, state and results as tuples of arrays."""

from __future__ import annotations

from typing import Any, NamedTuple

from numpy.typing import NDArray

Array = NDArray[Any]

# A flit in the simulator: one word that names destination, kind, delay and target, and its payload beside it.
X_MASK, Y_SHIFT, Y_MASK, KIND_SHIFT, KIND_MASK = 255, 8, 255, 16, 3
DELAY_SHIFT, DELAY_MASK, TARGET_SHIFT = 18, 63, 24

# What the kernels observe beside the results: bits of ``Params.observe``.
SIGNATURES, EVENTS = 1, 2

# Columns of the event lists. dx and dy are those of the flit as it leaves.
TRANSFER_COLUMNS = (
    "k",
    "cycle",
    "router",
    "output",
    "kind",
    "dx",
    "dy",
    "target",
    "delay",
    "payload",
)
RETIRE_COLUMNS = ("k", "cycle", "core", "neuron", "output", "v_mem")
SEND_COLUMNS = ("k", "cycle", "sender")  # a core, or -1 - i for the host's input port i


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
    host_start_cycles: int
    send_latency_cycles: int
    barrier_cycles: int
    sample_reset_cycles: int
    fixed_period: int  # 0: adaptive
    steps_per_timestep: int
    observe: int  # SIGNATURES, EVENTS


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


class SignatureState(NamedTuple):
    """Signature registers, and the widths of what they absorb."""

    value: Array  # r, unit
    table: Array  # byte: chip/signature.py's byte_table
    dx_bits: int
    dy_bits: int
    target_bits: int
    delay_bits: int
    payload_bits: int


class EventState(NamedTuple):
    """Lists of events of the chip timesteps first <= k < end; what no longer fits a list is counted only."""

    transfer: Array  # event, TRANSFER_COLUMNS
    retire: Array  # event, RETIRE_COLUMNS
    send: Array  # event, SEND_COLUMNS
    counts: Array  # transfers, retires, sends
    window: Array  # first, end


class State(NamedTuple):
    """Everything that changes while a sample runs, unit by unit."""

    axon: AxonState
    dendrite: DendriteState
    soma: SomaState
    sender: SenderState
    router: RouterState
    host: HostState
    signature: SignatureState
    events: EventState


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
    neuron_outputs: (
        Array  # 2, c, n: outputs of neurons with routes, of all timesteps and of the last
    )
    signatures: Array  # s, k, r, unit: at the end of each chip timestep; empty unless asked for


HOST_IN, HOST_OUT, HOST_STALLS, OVERRUNS, HOST_CYCLES = range(5)
