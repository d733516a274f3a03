"""Simulated annealing of a placement, compiled: swaps of two cores and moves to free places."""

from __future__ import annotations

from math import exp

import numba
import numpy as np

from .quantised import Ints

# Work is counted in visits of neighbours: about 100 million a second compiled, 2 million interpreted.
_SMALL_WORK = 500_000  # below this, compiling takes longer than it saves
_SMALL_MOVES = 2_000  # moves a core
_MOVES = 12_000  # moves a core; 20% lower cost than with 2,000 on a mesh of 200 cores
_MOST_WORK = 200_000_000


def anneal(
    start: Ints,
    columns: int,
    rows: int,
    indptr: Ints,
    indices: Ints,
    data: Ints,
    fixed: Ints,
    seed: int,
) -> Ints:
    """Return the best placement found from ``start``; it is never worse than ``start``.

    Parameters
    ----------
    start
        (cores,) place of each core, ``y * columns + x``.
    columns, rows
        Size of the mesh.
    indptr, indices, data
        Symmetric CSR traffic between cores.
    fixed
        (cores, places) cost of a core's traffic with the host.
    seed
        Of the sequence of moves; the same arguments give the same placement.
    """
    cores, sites = len(start), columns * rows
    if sites < 2 or not cores:
        return start.copy()
    visits = 4 + 2 * len(data) // cores
    small = _SMALL_MOVES * cores * visits <= _SMALL_WORK
    moves = _SMALL_MOVES * cores if small else min(_MOVES * cores, _MOST_WORK // visits)
    state = ((seed + 1) * 0x9E3779B97F4B) & 0xFFFFFFFFFFFF
    core_at = np.full(sites, -1, dtype=np.int64)
    core_at[start] = np.arange(cores)
    site_of, best = start.astype(np.int64), start.astype(np.int64)
    arrays = (site_of, core_at, best, indptr, indices, data, fixed.ravel())
    if small:
        lists = [array.tolist() for array in arrays]
        _interpreted(columns, moves, state, *lists)
        return np.array(lists[2], dtype=np.int64)
    _compiled(columns, moves, state, *arrays)
    return best


def _interpreted(  # type: ignore[no-untyped-def]
    columns, moves, state, site_of, core_at, best, indptr, indices, data, fixed
):
    # site_of, best = (cores,) place of each core; core_at = (places,) core or -1; fixed = (cores * places,)
    # a = the core that moves to place s, b = the core there or -1; d = a core that a or b talks to
    cores, sites = len(site_of), len(core_at)
    gain = 0  # cost now minus cost of the start, both integers
    best_gain = 0
    temperature = 0.0
    cooling = 1.0
    trials = min(1000, moves)
    size_sum = 0.0
    for step in range(-trials, moves):
        if step == 0:  # the trials measured the typical change of cost
            temperature = 0.3 * size_sum / trials
            cooling = exp(-9.0 / moves)
        # Linear congruential generator modulo 2**48, high bits used.
        state = (state * 25214903917 + 11) & 0xFFFFFFFFFFFF
        a = (state >> 16) % cores
        state = (state * 25214903917 + 11) & 0xFFFFFFFFFFFF
        s = (state >> 16) % sites
        here = site_of[a]
        if s == here:
            continue
        b = core_at[s]
        xa, ya = here % columns, here // columns
        xb, yb = s % columns, s // columns
        delta = fixed[a * sites + s] - fixed[a * sites + here]
        for k in range(indptr[a], indptr[a + 1]):
            d = indices[k]
            if d not in (a, b):
                x, y = site_of[d] % columns, site_of[d] // columns
                delta += data[k] * (abs(x - xb) + abs(y - yb) - abs(x - xa) - abs(y - ya))
        if b >= 0:
            delta += fixed[b * sites + here] - fixed[b * sites + s]
            for k in range(indptr[b], indptr[b + 1]):
                d = indices[k]
                if d not in (a, b):
                    x, y = site_of[d] % columns, site_of[d] // columns
                    delta += data[k] * (abs(x - xa) + abs(y - ya) - abs(x - xb) - abs(y - yb))
        if step < 0:
            size_sum += abs(delta)
            continue
        temperature *= cooling
        state = (state * 25214903917 + 11) & 0xFFFFFFFFFFFF
        if delta > 0 and (
            delta >= 40.0 * temperature or (state >> 16) / 4294967296.0 >= exp(-delta / temperature)
        ):
            continue
        site_of[a] = s
        core_at[s] = a
        core_at[here] = b
        if b >= 0:
            site_of[b] = here
        gain += delta
        if gain < best_gain:
            best_gain = gain
            best[:] = site_of


# No divisor is zero: without the check for it the loop takes a sixth less time.
_compiled = numba.njit(nogil=True, error_model="numpy")(_interpreted)
