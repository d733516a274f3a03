"""What is observed beside the results, if asked for: signatures and lists of events, of retirements and transfers."""

from __future__ import annotations

from ...chip.program import REGISTER_INDEX
from ..jit import jit, jit_inline
from .router import EAST, NORTH, SOUTH, WEST
from .signature import signature_retire, signature_transfer
from .state import (
    DELAY_MASK,
    DELAY_SHIFT,
    EVENTS,
    KIND_MASK,
    KIND_SHIFT,
    SIGNATURES,
    TARGET_SHIFT,
    X_MASK,
    Y_MASK,
    Y_SHIFT,
    Array,
    EventState,
    Params,
    SignatureState,
    SomaState,
)
from .timing import retire_offset

X = REGISTER_INDEX["x"]
Y = REGISTER_INDEX["y"]
KIND = REGISTER_INDEX["kind"]


@jit_inline
def _in_window(s: EventState, k: int) -> bool:
    return s.window[0] <= k and k < s.window[1]


@jit
def observe_retires(
    p: Params,
    signature: SignatureState,
    events: EventState,
    soma: SomaState,
    r: Array,
    c: int,
    k: int,
    active: int,
    lanes: int,
    neurons: int,
) -> None:
    """Observe every neuron in use of core ``c`` (registers ``r``), which has just computed chip timestep ``k``."""
    place = r[Y] * p.columns + r[X]
    has_membrane = r[KIND] < 4  # not RELU, TABLE, PARTIAL
    for n in range(neurons):
        cycle = p.start_cycles + retire_offset(p.pipeline_stages, active, lanes, n)
        output, v_mem = soma.output[n], soma.v_mem[c, n] if has_membrane else 0
        if p.observe & SIGNATURES != 0:
            signature_retire(signature, place, cycle, n, output, v_mem, p.membrane_bits)
        if p.observe & EVENTS != 0 and _in_window(events, k):
            at = events.counts[1]
            events.counts[1] = at + 1
            if at < events.retire.shape[0]:
                row = events.retire[at]
                row[0], row[1], row[2], row[3], row[4], row[5] = k, cycle, c, n, output, v_mem


@jit
def observe_transfer(
    observe: int,
    signature: SignatureState,
    events: EventState,
    x: int,
    y: int,
    r: int,
    output: int,
    k: int,
    cycle: int,
    word: int,
    payload: int,
) -> None:
    """Observe a flit that leaves router ``r`` at column ``x``, row ``y``; it carries the distance from there on."""
    dx = (word & X_MASK) - x
    dy = ((word >> Y_SHIFT) & Y_MASK) - 1 - y
    if output == EAST:
        dx -= 1
    elif output == WEST:
        dx += 1
    elif output == SOUTH:
        dy -= 1
    elif output == NORTH:
        dy += 1
    kind, delay = (word >> KIND_SHIFT) & KIND_MASK, (word >> DELAY_SHIFT) & DELAY_MASK
    target = word >> TARGET_SHIFT
    if observe & SIGNATURES != 0:
        signature_transfer(signature, r, output, cycle, kind, dx, dy, target, delay, payload)
    if observe & EVENTS != 0 and _in_window(events, k):
        at = events.counts[0]
        events.counts[0] = at + 1
        if at < events.transfer.shape[0]:
            row = events.transfer[at]
            row[0], row[1], row[2], row[3] = k, cycle, r, output
            row[4], row[5], row[6], row[7], row[8], row[9] = kind, dx, dy, target, delay, payload


@jit
def observe_send(events: EventState, k: int, cycle: int, sender: int) -> None:
    """Observe a flit that a router takes from ``sender``: its core, or -1 - i for the host's input port ``i``."""
    if _in_window(events, k):
        at = events.counts[2]
        events.counts[2] = at + 1
        if at < events.send.shape[0]:
            row = events.send[at]
            row[0], row[1], row[2] = k, cycle, sender
