"""The sender: the outbox's flits, one a cycle while the router's local input has room."""

from __future__ import annotations

from ..jit import jit, jit_inline
from .state import RouteMemory, SenderState


@jit
def sender_start(s: SenderState, c: int) -> None:
    """Point to the first flit of a filled outbox."""
    s.next[c] = 0
    s.route[c] = 0


@jit_inline
def sender_flit(g: RouteMemory, s: SenderState, c: int) -> int:
    """Return the word of the flit that core ``c`` has at its output; its payload is the outbox's."""
    n = s.neuron[c, s.next[c]]
    return int(g.words[g.offset[c] + g.base[c, n] + s.route[c]])


@jit_inline
def sender_advance(g: RouteMemory, s: SenderState, c: int) -> bool:
    """Step to the next flit after a transfer; False if there is none."""
    s.route[c] += 1
    if s.route[c] == g.fan_out[c, s.neuron[c, s.next[c]]]:
        s.route[c] = 0
        s.next[c] += 1
    return s.next[c] < s.filled[c]


@jit
def sender_order(s: SenderState, count: int) -> None:
    """Sort the first ``count`` cores of ``order`` by the cycle of their first flit (insertion sort: mostly sorted)."""
    for i in range(1, count):
        c = s.order[i]
        j = i - 1
        while j >= 0 and s.cycle[s.order[j]] > s.cycle[c]:
            s.order[j + 1] = s.order[j]
            j -= 1
        s.order[j + 1] = c
