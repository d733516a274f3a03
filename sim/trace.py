"""Every event of one sample: which flit left which router when, and which neuron retired when, with its values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..chip.program import ManyCoreProgram
from .cores.setup import kernel_params, kernel_program, new_events, new_state
from .cores.state import EVENTS, RETIRE_COLUMNS, SEND_COLUMNS, TRANSFER_COLUMNS
from .cores.timestep import run_sample
from .run import Ints, SimulationError, check_inputs, new_results

__all__ = ["RETIRE_COLUMNS", "SEND_COLUMNS", "TRANSFER_COLUMNS", "EventRecord", "record_sample"]

# Events of each kind that are made room for at first; a sample with more is run again, with room for all of them.
_CAPACITY = 1 << 14


@dataclass(frozen=True)
class EventRecord:
    """The events of some chip timesteps of a sample, in ascending order of their columns.

    cycles : (K,) int64, length of every chip timestep of the sample; its reset is in the first

    transfers : (events, 10) int64, columns `TRANSFER_COLUMNS`: a flit leaves ``router`` (``y * columns + x``) by
        ``output`` (its place in `chip.events.PORTS`) in ``cycle`` of chip timestep ``k``. ``dx`` and ``dy`` are what
        it then has left to go: 0 where it is ejected; ``dy`` is 0 where it leaves for the host.
    retires : (events, 6) int64, columns `RETIRE_COLUMNS`: ``neuron`` of ``core`` (its place in the program) is
        written with its ``output`` and its membrane; ``v_mem`` is 0 for the kinds that have none.
    sends : (events, 3) int64, columns `SEND_COLUMNS`: a router takes a flit of core ``sender``, or of the host's input
        port ``-1 - sender``.
    """

    cycles: Ints
    transfers: Ints
    retires: Ints
    sends: Ints

    def transfer(self, name: str) -> Ints:
        """Return one column of the transfers."""
        return self.transfers[:, TRANSFER_COLUMNS.index(name)]

    def retire(self, name: str) -> Ints:
        """Return one column of the retirements."""
        return self.retires[:, RETIRE_COLUMNS.index(name)]

    def send(self, name: str) -> Ints:
        """Return one column of the sends."""
        return self.sends[:, SEND_COLUMNS.index(name)]


def record_sample(
    program: ManyCoreProgram,
    payload: NDArray[np.integer],
    timesteps: int,
    from_timestep: int = 0,
    to_timestep: int | None = None,
) -> EventRecord:
    """Run one sample and return its events of chip timesteps ``from_timestep`` <= k < ``to_timestep``.

    Parameters
    ----------
    program
        A checked program.
    payload
        (timesteps, inputs) integers, what the host injects each timestep; or (1, inputs), held over all.
    timesteps
        Network timesteps of the sample.
    from_timestep, to_timestep
        The chip timesteps to record, the fill included; all by default.

    Raises
    ------
    SimulationError
        If shapes do not match, or the chip timesteps are none of the sample's.
    """
    if payload.ndim != 2:
        raise SimulationError(
            f"the inputs of a sample must be (timesteps, values), not {payload.shape}"
        )
    held = check_inputs(program, payload[None], timesteps)
    last = program.chip_timesteps(timesteps)
    end = last if to_timestep is None else to_timestep
    if not 0 <= from_timestep <= end <= last:
        raise SimulationError(
            f"recorded timesteps must be within 0..{last} and ascending, not {from_timestep}..{end}"
        )
    no_probes = np.full(program.core_count, -1, dtype=np.int64)
    params, memories = kernel_params(program, EVENTS), kernel_program(program)
    row = np.ascontiguousarray(payload, dtype=np.int32)
    state = new_state(program)
    room = (_CAPACITY, _CAPACITY, _CAPACITY)
    while True:
        events = new_events(*room, from_timestep, end)
        results = new_results(program, 1, timesteps, False, False, no_probes)
        run_sample(
            params, memories, state._replace(events=events), results, 0, row, held, timesteps
        )
        found = (int(events.counts[0]), int(events.counts[1]), int(events.counts[2]))
        if all(size <= had for size, had in zip(found, room, strict=True)):
            return EventRecord(
                results.cycles[0],
                _ascending(events.transfer[: found[0]]),
                _ascending(events.retire[: found[1]]),
                _ascending(events.send[: found[2]]),
            )
        room = found


def _ascending(rows: Ints) -> Ints:
    """Return rows sorted by their first columns, four or all, which no two events share."""
    return rows[np.lexsort(rows[:, :4].T[::-1])]
