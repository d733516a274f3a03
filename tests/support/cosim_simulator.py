"""What the simulator says of a sample, to compare the Verilog with: events, states, lengths, outputs, counters."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from spikeloom.chip.events import PORTS
from spikeloom.chip.memory_map import SIGNATURE_UNITS
from spikeloom.chip.program import ManyCoreProgram
from spikeloom.comparing import simulator_events
from spikeloom.sim.cores.setup import kernel_params, kernel_program, new_state
from spikeloom.sim.cores.timestep import run_sample
from spikeloom.sim.run import ManyCoreRun, new_results, run_many_core
from spikeloom.sim.trace import EventRecord, record_sample

STATE = ("v_mem", "i_syn", "refractory_left")

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class UnitEvents:
    """Events of one kind of unit: when (timestep, cycle), where (tile), what (the word that a monitor prints)."""

    time: Ints  # (events, 3): timestep, cycle, tile
    word: NDArray[np.object_]

    def in_order(self) -> UnitEvents:
        """Return them in the order of time, then tile: a unit has one event a cycle, so there is only one order."""
        order = np.lexsort(self.time.T[::-1])
        return UnitEvents(self.time[order], self.word[order])

    def without_cycles(self) -> list[tuple[int, int, int]]:
        """Return (timestep, tile, word) of all, sorted."""
        return sorted(
            zip(self.time[:, 0].tolist(), self.time[:, 2].tolist(), self.word.tolist(), strict=True)
        )


@dataclass(frozen=True)
class Simulated:
    """Samples of a program on the simulator; payloads are (samples, timesteps or 1, inputs)."""

    program: ManyCoreProgram
    payloads: NDArray[np.int32]
    timesteps: int

    @property
    def held(self) -> bool:
        """Whether inputs are held."""
        return self.payloads.shape[1] == 1 and self.timesteps > 1

    @cached_property
    def run(self) -> ManyCoreRun:
        """All samples, with signatures and outputs."""
        return run_many_core(
            self.program, self.payloads, self.timesteps, signatures=True, record_outputs=True, threads=1
        )  # fmt: skip

    @cached_property
    def lengths(self) -> Ints:
        """(samples, chip timesteps), without the samples' resets."""
        lengths = self.run.cycles.copy()
        lengths[:, 0] -= self.program.config.many_core.sample_reset_cycles
        return lengths

    def record(self, sample: int) -> EventRecord:
        """Return every event of a sample."""
        return record_sample(self.program, self.payloads[sample], self.timesteps)

    def events(self, record: EventRecord) -> dict[str, UnitEvents]:
        """Return a record as what monitors print, by unit."""
        found = simulator_events(self.program, record)
        of_unit = {}
        for name in SIGNATURE_UNITS:
            if name == "core":
                k = record.retire("k")
            else:
                k = record.transfer("k")[record.transfer("output") == PORTS.index(name)]
            rows = found[name]
            word = np.empty(len(rows), dtype=object)
            word[:] = [row[2] for row in rows]
            time = [
                (step, cycle, tile) for step, (cycle, tile, _) in zip(k.tolist(), rows, strict=True)
            ]
            of_unit[name] = UnitEvents(
                np.array(time, dtype=np.int64).reshape(-1, 3), word
            ).in_order()
        return of_unit

    def states(self, sample: int) -> list[dict[str, Ints]]:
        """Return the (cores, neurons) states after each chip timestep: the sample is run anew up to each of them."""
        program = self.program
        params, memories = kernel_params(program), kernel_program(program)
        state = new_state(program)
        no_probes = np.full(program.core_count, -1, dtype=np.int64)
        results = new_results(program, 1, self.timesteps, False, False, no_probes)
        row = np.ascontiguousarray(self.payloads[sample], dtype=np.int32)
        found = []
        for steps in range(1, program.chip_timesteps(self.timesteps) + 1):
            part = results._replace(cycles=np.zeros((1, steps), dtype=np.int64))
            run_sample(params, memories, state, part, 0, row, self.held, self.timesteps)
            found.append({name: getattr(state.soma, name).copy() for name in STATE})
        return found
