"""One chip timestep and one sample: compute, then the network on chip cycle by cycle until all is quiet."""

from __future__ import annotations

from ...chip.events import CORE_EVENT_INDEX as EVENT
from ...chip.packet import FlitKind
from ...chip.program import REGISTER_INDEX
from ..jit import jit
from .axon import axon_add, axon_clear, axon_hold, axon_skip, axon_walk
from .dendrite import dendrite_accumulate, dendrite_clear, dendrite_skip, sum_add
from .observe import observe_retires, observe_send, observe_transfer
from .router import EAST, LOCAL, NORTH, SOUTH, WEST, busy_sweep, fifo_pop, fifo_push, router_decide
from .sender import sender_advance, sender_flit, sender_order, sender_start
from .soma import soma_update
from .state import (
    DELAY_MASK,
    DELAY_SHIFT,
    EVENTS,
    HOST_CYCLES,
    HOST_IN,
    HOST_OUT,
    HOST_STALLS,
    KIND_MASK,
    KIND_SHIFT,
    OVERRUNS,
    SIGNATURES,
    TARGET_SHIFT,
    Array,
    HostMemory,
    HostState,
    Params,
    Program,
    Results,
    State,
)
from .timing import compute_cycles

AXON, HOLD, SUM = int(FlitKind.AXON), int(FlitKind.HOLD), int(FlitKind.SUM)

X = REGISTER_INDEX["x"]
Y = REGISTER_INDEX["y"]
NEURONS = REGISTER_INDEX["neurons"]
MODE_BITS = REGISTER_INDEX["weight_mode_bits"]
DEPTH = REGISTER_INDEX["depth"]
SIGNED = REGISTER_INDEX["axon_signed"]

UPDATES = EVENT["updates"]
COMPUTE_CYCLES = EVENT["compute_cycles"]
AXON_WRITES = EVENT["axon_writes"]
ACTIVE_AXONS = EVENT["active_axons"]
WEIGHT_READS = EVENT["weight_reads"]
SYNOPS = EVENT["synops"]
MULTIPLIES = EVENT["multiplies"]
SUM_WRITES = EVENT["sum_writes"]
NEURON_UPDATES = EVENT["neuron_updates"]
SPIKES = EVENT["spikes"]
SATURATIONS = EVENT["saturations"]
FLITS_SENT = EVENT["flits_sent"]
SEND_STALLS = EVENT["send_stalls"]


@jit
def run_sample(
    p: Params,
    g: Program,
    s: State,
    q: Results,
    sample: int,
    payload: Array,
    held: bool,
    timesteps: int,
) -> None:
    """Run one sample from rest. ``payload`` is (timesteps, inputs) int32, or (1, inputs) if ``held``.

    Fills row ``sample`` of the per-sample results and adds to the counters.
    """
    axon_clear(s.axon)
    dendrite_clear(s.dendrite)
    s.router.turn[:] = 0
    s.signature.value[:] = 0
    for k in range(q.cycles.shape[1]):
        sending = _compute(p, g, s, q, sample, k, timesteps)
        _host_queue(p, g.host, s.host, payload, held, k, timesteps)
        length = _exchange(p, g, s, q, sample, k, sending) + p.barrier_cycles
        if p.fixed_period > 0:
            if length > p.fixed_period:
                q.host_counters[OVERRUNS] += 1
            length = max(length, p.fixed_period)
        q.cycles[sample, k] = length
        if p.observe & SIGNATURES != 0:
            q.signatures[sample, k] = s.signature.value
    q.cycles[sample, 0] += p.sample_reset_cycles


@jit
def _compute(
    p: Params, g: Program, s: State, q: Results, sample: int, k: int, timesteps: int
) -> int:
    """Let every core whose turn it is compute chip timestep ``k``. Returns how many have something to send.

    A layer at depth d computes network timestep t in chip timestep steps_per_timestep * t + d. The others only let
    their slot go by.
    """
    slot = k % p.delay_slots
    sending = 0
    for c in range(g.registers.shape[0]):
        r = g.registers[c]
        neurons = r[NEURONS]
        s.sender.cycle[c] = p.start_cycles
        since = k - r[DEPTH]
        t = since // p.steps_per_timestep
        if since < 0 or since != t * p.steps_per_timestep or t >= timesteps or neurons == 0:
            axon_skip(s.axon, c, slot)
            dendrite_skip(s.dendrite, c, slot)
            continue
        active = axon_walk(s.axon, c, slot, p.activation_bits, r[SIGNED])
        multiplied = dendrite_accumulate(s.dendrite, s.axon, g.weights, c, slot, active, neurons)
        outputs, limited = soma_update(
            p, g.soma, s.soma, s.sender, s.dendrite.accumulator, r, c, t == 0, neurons
        )
        lanes = p.lanes * (p.weight_bits // r[MODE_BITS])
        if p.observe != 0:
            observe_retires(p, s.signature, s.events, s.soma, r, c, k, active, lanes, neurons)
        cycles = compute_cycles(p.pipeline_stages, active, lanes, neurons)
        count = q.core_counters[c]
        count[UPDATES] += 1
        count[COMPUTE_CYCLES] += cycles
        count[ACTIVE_AXONS] += active
        count[WEIGHT_READS] += active * ((neurons + lanes - 1) // lanes)
        count[SYNOPS] += active * neurons
        count[MULTIPLIES] += multiplied * neurons
        count[NEURON_UPDATES] += neurons
        count[SPIKES] += outputs
        count[SATURATIONS] += limited
        q.step_core_outputs[k, c] += outputs
        _count_outputs(s, q, c, t == timesteps - 1)
        if q.probe_of_core[c] >= 0:
            _probe(s, q, sample, t, c, neurons)
        s.sender.cycle[c] += cycles
        if s.sender.filled[c] != 0:
            sender_start(s.sender, c)
            s.sender.cycle[c] += p.send_latency_cycles
            s.sender.order[sending] = c
            sending += 1
    sender_order(s.sender, sending)
    return sending


@jit
def _count_outputs(s: State, q: Results, c: int, is_last: bool) -> None:
    """Count the outbox by neuron; ``is_last`` marks the sample's last network timestep."""
    of_all, of_last = q.neuron_outputs[0, c], q.neuron_outputs[1, c]
    for i in range(s.sender.filled[c]):
        of_all[s.sender.neuron[c, i]] += 1
        if is_last:
            of_last[s.sender.neuron[c, i]] += 1


@jit
def _probe(s: State, q: Results, sample: int, t: int, c: int, neurons: int) -> None:
    """Keep the membranes and routed outputs of a probed core."""
    place = q.probe_of_core[c]
    for n in range(neurons):
        q.probe_v_mem[sample, t, place, n] = s.soma.v_mem[c, n]
    for i in range(s.sender.filled[c]):
        q.probe_output[sample, t, place, s.sender.neuron[c, i]] = s.sender.payload[c, i]


@jit
def _host_queue(
    p: Params, g: HostMemory, s: HostState, payload: Array, held: bool, k: int, timesteps: int
) -> None:
    """Queue the host's flits of chip timestep ``k``, ascending by input.

    Inputs of network timestep t enter in chip timestep steps_per_timestep * t. A held value acts from the next
    timestep on, so that
    its flit leaves delay - 1 timesteps later.
    """
    s.filled[:] = 0
    s.next[:] = 0
    t = k // p.steps_per_timestep
    if not held and (t >= timesteps or t * p.steps_per_timestep != k):
        return
    if held and k >= p.delay_slots:
        return
    row = payload[0] if held else payload[t]
    for i in range(row.shape[0]):
        value = row[i]
        if value == 0:
            continue
        for f in range(g.input_offset[i], g.input_offset[i + 1]):
            word = g.input_words[f]
            if held:
                if (word >> DELAY_SHIFT) & DELAY_MASK != k + 1:
                    continue
                word |= HOLD << KIND_SHIFT
            port = g.input_port[f]
            place = s.filled[port]
            s.word[port, place] = word
            s.payload[port, place] = value
            s.filled[port] = place + 1


# One cycle: the routers decide, then host and senders look for room, both from the state at its start; then the
# transfers happen.
@jit
def _exchange(
    p: Params, g: Program, s: State, q: Results, sample: int, k: int, sending: int
) -> int:
    """Step the network on chip until nobody sends and all FIFOs are empty. Returns that cycle within the timestep.

    Cycle 0 raises the start; the host's first flit asks in cycle ``host_start_cycles``, a core's
    ``send_latency_cycles`` after its last soma cycle.
    """
    axon, dendrite, sender, router, host = s.axon, s.dendrite, s.sender, s.router, s.host
    registers, core_counters, router_counters = g.registers, q.core_counters, q.router_counters
    signature, events, observe = s.signature, s.events, p.observe
    columns, depth, delay_slots = p.columns, p.fifo_depth, p.delay_slots
    ports = host.filled.shape[0]
    quiet: int = p.start_cycles
    for c in range(registers.shape[0]):
        quiet = max(quiet, sender.cycle[c])
    host_left = host.filled.sum()
    q.host_counters[HOST_IN] += host_left
    first, started = 0, 0  # order[first:started] are at work, those before are done
    cycle: int = p.host_start_cycles
    while True:
        if host_left == 0 and router.busy_count[0] == 0:
            if first == sending:
                break
            if first == started:
                cycle = max(cycle, int(sender.cycle[sender.order[first]]))
        while started < sending and sender.cycle[sender.order[started]] <= cycle:
            started += 1
        moves = router_decide(router, columns)

        if host_left != 0:
            q.host_counters[HOST_CYCLES] += 1
            for port in range(ports):
                place = host.next[port]
                if place == host.filled[port]:
                    continue
                r = g.host.router[port]
                if router.fill[r, WEST] < depth:
                    fifo_push(router, r, WEST, host.word[port, place], host.payload[port, place])
                    host.next[port] = place + 1
                    host_left -= 1
                    if observe & EVENTS != 0:
                        observe_send(events, k, cycle, -1 - port)
                else:
                    q.host_counters[HOST_STALLS] += 1

        for i in range(first, started):
            c = sender.order[i]
            r = registers[c, Y] * columns + registers[c, X]
            if router.fill[r, LOCAL] < depth:
                payload = sender.payload[c, sender.next[c]]
                fifo_push(router, r, LOCAL, sender_flit(g.routes, sender, c), payload)
                core_counters[c, FLITS_SENT] += 1
                if observe & EVENTS != 0:
                    observe_send(events, k, cycle, c)
                if not sender_advance(g.routes, sender, c):
                    sender.order[i] = sender.order[first]
                    sender.order[first] = c
                    first += 1
            else:
                core_counters[c, SEND_STALLS] += 1

        for i in range(moves):
            r, port, output = router.moves[i, 0], router.moves[i, 1], router.moves[i, 2]
            place = router.first[r, port]
            word, payload = router.word[r, port, place], router.payload[r, port, place]
            fifo_pop(router, r, port)
            router_counters[r, output] += 1
            if observe != 0:
                observe_transfer(
                    observe, signature, events, router.x[r], router.y[r], r, output, k, cycle, word, payload
                )  # fmt: skip
            if output == LOCAL:
                c = g.core_at[r]
                if c >= 0:  # a place without a core in use swallows what it gets
                    slot = (k + ((word >> DELAY_SHIFT) & DELAY_MASK)) % delay_slots
                    kind, target = (word >> KIND_SHIFT) & KIND_MASK, word >> TARGET_SHIFT
                    if kind == SUM:
                        sum_add(dendrite, c, slot, target, payload)
                        core_counters[c, SUM_WRITES] += 1
                    else:
                        core_counters[c, AXON_WRITES] += 1
                        if kind == AXON:
                            axon_add(
                                axon,
                                c,
                                slot,
                                target,
                                payload,
                                p.activation_bits,
                                registers[c, SIGNED],
                            )
                        else:
                            axon_hold(
                                axon, c, target, payload, p.activation_bits, registers[c, SIGNED]
                            )
            elif output == EAST:
                fifo_push(router, r + 1, WEST, word, payload)
            elif output == SOUTH:
                fifo_push(router, r + columns, NORTH, word, payload)
            elif output == WEST:
                fifo_push(router, r - 1, EAST, word, payload)
            elif r >= columns:
                fifo_push(router, r - columns, SOUTH, word, payload)
            else:
                _receive_at_host(p, g.host, q, sample, k, r, word, payload)
        for i in range(moves):
            q.step_router_flits[k, router.moves[i, 0]] += 1
        busy_sweep(router)
        cycle += 1
    return int(max(quiet, cycle))


@jit
def _receive_at_host(
    p: Params, g: HostMemory, q: Results, sample: int, k: int, r: int, word: int, payload: int
) -> None:
    """Take an output: add it to its count, note its first timestep, record it if asked for."""
    q.host_counters[HOST_OUT] += 1
    line = (((word >> DELAY_SHIFT) & DELAY_MASK) << g.line_bits) | (word >> TARGET_SHIFT)
    output = g.output_of_line[g.column[r], line]
    if output < 0:
        return
    t = (k - g.output_depth[output]) // p.steps_per_timestep
    q.output_count[sample, output] += payload
    if q.first_spike[sample, output] < 0:
        q.first_spike[sample, output] = t
    if 0 <= t < q.output_record.shape[1]:
        q.output_record[sample, t, output] += payload
