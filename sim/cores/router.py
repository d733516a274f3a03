"""The routers of the mesh: input FIFOs, X-then-Y routing, round-robin per output, one hop a cycle."""

from __future__ import annotations

from ..jit import jit_inline
from .state import X_MASK, Y_MASK, Y_SHIFT, RouterState

# Ports in the order of chip/events.py: local, north, east, south, west.
LOCAL, NORTH, EAST, SOUTH, WEST = range(5)


@jit_inline
def router_output(s: RouterState, r: int, word: int) -> int:
    """Return the output that a flit asks for at router ``r``: X first, then Y, then the core; row -1 is the host."""
    x = word & X_MASK
    y = ((word >> Y_SHIFT) & Y_MASK) - 1
    if x != s.x[r]:
        return EAST if x > s.x[r] else WEST
    if y != s.y[r]:
        return SOUTH if y > s.y[r] else NORTH
    return LOCAL


@jit_inline
def fifo_push(s: RouterState, r: int, port: int, word: int, payload: int) -> None:
    """Append a flit to an input FIFO that has room."""
    depth = s.word.shape[2]
    count = s.fill[r, port]
    place = s.first[r, port] + count
    if place >= depth:
        place -= depth
    s.word[r, port, place] = word
    s.payload[r, port, place] = payload
    s.fill[r, port] = count + 1
    if count == 0:
        s.asks[r, port] = router_output(s, r, word)
    if s.listed[r] == 0:
        s.listed[r] = 1
        s.busy_list[s.busy_count[0]] = r
        s.busy_count[0] += 1
    s.busy[r] += 1


@jit_inline
def fifo_pop(s: RouterState, r: int, port: int) -> None:
    """Remove the first flit of an input FIFO."""
    first = s.first[r, port] + 1
    if first == s.word.shape[2]:
        first = 0
    s.first[r, port] = first
    s.fill[r, port] -= 1
    if s.fill[r, port] != 0:
        s.asks[r, port] = router_output(s, r, s.word[r, port, first])
    s.busy[r] -= 1


@jit_inline
def router_decide(s: RouterState, columns: int) -> int:
    """Decide this cycle's transfers from the state at its start. Returns their number; they stand in ``moves``.

    Each output takes the asking input that comes first at or after its turn, if the FIFO behind it has room
    (``ready`` is its registered occupancy below the depth); the turn then goes to the input after the one served.
    Outputs to a core or to the host are always ready.
    """
    depth = s.word.shape[2]
    fill, asks, turn, moves = s.fill, s.asks, s.turn, s.moves
    count = 0
    for i in range(s.busy_count[0]):
        r = s.busy_list[i]
        asked = 0
        for port in range(5):
            if fill[r, port] != 0:
                asked |= 1 << (asks[r, port] * 5 + port)
        for output in range(5):
            asking = (asked >> (output * 5)) & 31
            if asking == 0:
                continue
            if output == NORTH:
                ready = r < columns or fill[r - columns, SOUTH] < depth
            elif output == EAST:
                ready = fill[r + 1, WEST] < depth
            elif output == SOUTH:
                ready = fill[r + columns, NORTH] < depth
            elif output == WEST:
                ready = fill[r - 1, EAST] < depth
            else:
                ready = True
            if not ready:
                continue
            port = turn[r, output]
            while (asking >> port) & 1 == 0:
                port = port + 1 if port < 4 else 0
            turn[r, output] = port + 1 if port < 4 else 0
            moves[count, 0] = r
            moves[count, 1] = port
            moves[count, 2] = output
            count += 1
    return count


@jit_inline
def busy_sweep(s: RouterState) -> None:
    """Drop the routers without flits from the busy list."""
    kept = 0
    for i in range(s.busy_count[0]):
        r = s.busy_list[i]
        if s.busy[r] != 0:
            s.busy_list[kept] = r
            kept += 1
        else:
            s.listed[r] = 0
    s.busy_count[0] = kept
