"""A training step on both machines, the simulator and the RTL behind a link: what is equal, and where it is not."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from .chip.learn_memory import Bytes, MemoryMap
from .chip.learn_network import Parameters
from .chip.learn_program import LearnProgram, Queue
from .chip.learn_signature import memory_signature, queue_signature
from .chip.learn_stalls import NO_STALLS, stall_pattern
from .compiler.learn_commands import learn_commands
from .hw.cosim.dram import stalls_row
from .hw.cosim.errors import CosimError
from .hw.cosim.learn_bench import BENCH_ROWS
from .hw.cosim.verilated import MOST_CYCLES
from .hw.fusion_link import FusionLink
from .hw.learn_driver import LearnDriver, LearnStatus, StepRecord
from .hw.transport import WatchedTransport
from .learn_image import Arrays, MemoryImage
from .sim.engines.training import StepResult, TrainingMachine

__all__ = ["Batches", "LearnDifference", "Stalls", "StepComparison"]

Batches = Sequence[tuple[Bytes, NDArray[np.int64]]]
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Stalls:
    """Of the memory: a seed of 1..65535, and of 256 cycles how many it accepts nothing in."""

    seed: int = 1
    rate: int = 0


class LearnDifference(BaseModel):
    """The first difference: in which step, of what, where, and what each machine says."""

    model_config = ConfigDict(frozen=True)

    step: int
    what: str
    simulator: str
    rtl: str

    def __str__(self) -> str:
        return f"step {self.step}, {self.what}: simulator {self.simulator}, RTL {self.rtl}"


class StepComparison:
    """Both machines, step by step, with what has been compared so far.

    Parameters
    ----------
    program : LearnProgram
        That the RTL carries, in `BENCH_ROWS` of memory.
    parameters : Parameters
        Weights to start from; moved in place, by the simulator.
    transport : WatchedTransport
        To the RTL of `LearnBench`.
    stalls : Stalls, optional
        Of the memory; none by default.
    most_cycles : int
        That a step may take.

    Attributes
    ----------
    driver : LearnDriver
    steps, cycles, stored : int
        Compared: steps, their cycles, rows of memory.
    rtl_s, simulator_s : float
        Time that each machine took.
    """

    def __init__(
        self,
        program: LearnProgram,
        parameters: Parameters,
        transport: WatchedTransport,
        stalls: Stalls | None = None,
        most_cycles: int = MOST_CYCLES,
    ) -> None:
        config, stalls = program.config, stalls or Stalls()
        pattern = stall_pattern(stalls.seed, stalls.rate) if stalls.rate else NO_STALLS
        self._program, self._transport, self._most_cycles = program, transport, most_cycles
        self._memory = MemoryMap(config.learn, program.network, program.recipe, program.batch)
        self._image = MemoryImage(program, self._memory)
        self._machine = TrainingMachine(program, parameters, threads=1, stalls=pattern)
        has_cores = config.many_core_half is not None
        self.driver = LearnDriver(config, FusionLink(transport).engines if has_cores else transport)
        self.driver.identify()
        self.driver.write(BENCH_ROWS, stalls_row(config, stalls.seed, stalls.rate))
        self.steps = self.cycles = self.stored = 0
        self.rtl_s = self.simulator_s = 0.0

    def run(self, batches: Batches, tell: Progress = lambda _: None) -> LearnDifference | None:
        """Train on all batches, to the first difference.

        Raises
        ------
        CosimError, HostLinkError
            If a step does not end, with the state of every queue, or the chip reports an error.
        """
        self._write(self._image.parameters(self._machine.parameters))
        for number, (inputs, labels) in enumerate(batches):
            is_last = number == len(batches) - 1
            difference = self._step(number, inputs, labels, reads=is_last)
            if difference is not None:
                return difference
            tell(f"step {number + 1} of {len(batches)} is equal")
        return None

    def _write(self, arrays: Arrays) -> None:
        for (name, stage), data in arrays.items():
            self.driver.write(self._memory.of(name, stage).row, data)

    def _step(
        self, number: int, inputs: Bytes, labels: NDArray[np.int64], *, reads: bool
    ) -> LearnDifference | None:
        program, machine = self._program, self._machine
        commands = learn_commands(program, loss_scale=machine.loss_scale)
        began = time.perf_counter()
        simulated = machine.step(inputs, labels, keep_contents=True)
        self.simulator_s += time.perf_counter() - began
        began = time.perf_counter()
        self.driver.load(commands)
        self._write(self._image.batch(inputs, labels))
        record = self._run_step()
        status = self.driver.status()
        self.rtl_s += time.perf_counter() - began
        self.steps += 1
        self.cycles += simulated.cycles
        expected = self._image.after(simulated, machine.parameters)
        rows = self._image.stored(commands, simulated.timeline, expected)
        self.stored += len(rows)
        queues, timeline = program.column("queue"), simulated.timeline
        signatures = [
            queue_signature(timeline.start[queues == queue], timeline.end[queues == queue])
            for queue in Queue
        ]
        signatures.append(memory_signature(rows))
        is_equal = program.config.learn.signatures and list(status.signatures) == signatures
        difference = None
        if reads or not is_equal:
            difference = self._read(number, expected)
        return difference or _compare_step(number, simulated, record, status, signatures, program)

    def _run_step(self) -> StepRecord:
        """Run the RTL's step; CosimError with the state of every queue if it does not end in time."""
        transport = self._transport
        usual, transport.most_cycles = transport.most_cycles, self._most_cycles
        try:
            try:
                return self.driver.step()
            finally:
                transport.most_cycles = usual
        except CosimError as error:
            status = self.driver.status(clear_errors=False)
            ended = ", ".join(
                f"{q.name.lower()} {n}" for q, n in zip(Queue, status.ended, strict=True)
            )
            raise CosimError(
                f"the step did not end: {error}; cycle {status.cycles}, tasks ended: {ended}"
            ) from None

    def _read(self, step: int, expected: Arrays) -> LearnDifference | None:
        """Read the memory, array by array as they were made, to the first difference."""
        for (name, stage), data in expected.items():
            array = self._memory.of(name, stage)
            found = self.driver.read(array.row, array.rows).reshape(data.shape)
            if not np.array_equal(found, data):
                what, ours, its = self._image.first(name, stage, data, found)
                return LearnDifference(step=step, what=what, simulator=ours, rtl=its)
        return None


def _compare_step(
    step: int, simulated: StepResult, record: StepRecord, status: LearnStatus, signatures: list[int],
    program: LearnProgram,
) -> LearnDifference | None:  # fmt: skip
    """Compare what the step tells of itself."""
    queues = np.bincount(program.column("queue"), minlength=len(Queue)).tolist()
    told: list[tuple[str, object, object]] = [
        ("cycles", simulated.cycles, record.cycles),
        ("overflow", simulated.skipped is not None, record.overflow),
        ("tasks ended, by queue", queues, list(status.ended)),
    ]
    if program.config.learn.signatures:
        names = [
            *(f"start and end of the tasks of queue {q.name.lower()}" for q in Queue),
            "rows stored",
        ]
        told += [
            (f"signature: {name}", f"{ours:08x}", f"{its:08x}")
            for name, ours, its in zip(names, signatures, status.signatures, strict=True)
        ]
    for what, ours, its in told:
        if ours != its:
            return LearnDifference(step=step, what=what, simulator=str(ours), rtl=str(its))
    return None
