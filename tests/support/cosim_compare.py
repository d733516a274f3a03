"""Run samples on the Verilog and on the simulator, and demand that they agree in everything, cycle by cycle."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np

from spikeloom.chip.config import ChipConfig
from spikeloom.chip.events import CORE_EVENTS
from spikeloom.chip.host_link import HostError, Status
from spikeloom.chip.memory_map import SIGNATURE_UNITS
from spikeloom.comparing import Case, received_outputs
from spikeloom.hw.cosim.build import Build
from spikeloom.hw.cosim.events import read_events
from spikeloom.hw.cosim.verilated import VerilatedTransport
from spikeloom.hw.driver import HostDriver, SampleRecord
from spikeloom.hw.inputs import HostInputs
from spikeloom.hw.transport import Transport

from .cosim_observed import MEMBRANE_KINDS, Observed
from .cosim_simulator import STATE, Simulated, UnitEvents

_LINK_CYCLES = 8  # what a STEP takes beside its beats: slices, judgement, queues


class WatchedDriver(HostDriver):
    """A driver that remembers the errors which it lets pass: overruns."""

    def __init__(self, config: ChipConfig, transport: Transport) -> None:
        super().__init__(config, transport)
        self.seen = HostError(0)

    def status(self, *, clear_errors: bool = True) -> Status:
        """Ask the chip, and remember its errors."""
        status = super().status(clear_errors=clear_errors)
        self.seen |= status.errors
        return status


@dataclass(frozen=True)
class _Traced:
    """A sample whose events the monitors have printed, and what the host saw of it."""

    simulated: Simulated
    sample: int
    record: SampleRecord


class Comparison:
    """A Verilated chip with monitors, next to the simulator; programs are loaded one after the other.

    A context manager: when it is left without an error, the events of all samples are compared.

    Parameters
    ----------
    config, build
        The chip.
    folder
        Where the monitors may print.
    observed
        Counts what is compared.
    stalls_seed
        As for `VerilatedTransport`: the host waits at random.
    random_memories
        Seed of the memories' contents at power-up.
    around
        Puts something between driver and chip.
    """

    def __init__(
        self,
        config: ChipConfig,
        build: Build,
        folder: Path,
        observed: Observed,
        *,
        stalls_seed: int | None = None,
        random_memories: int | None = None,
        around: Callable[[Transport], Transport] = lambda transport: transport,
    ) -> None:
        self.config, self.observed, self.stalls_seed = config, observed, stalls_seed
        self._trace_file = folder / f"events-{config.name}-{stalls_seed}"
        self.transport = VerilatedTransport(
            build, stalls_seed, random_memories=random_memories, trace_file=self._trace_file
        )
        self.driver = WatchedDriver(config, around(self.transport))
        self._traced: list[_Traced] = []

    def __enter__(self) -> Comparison:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.transport.__exit__(kind, error, trace)
        if error is None:
            self._compare_events()
        self._trace_file.unlink(missing_ok=True)

    def compare(self, simulated: Simulated, *, states: Sequence[int] = ()) -> None:
        """Run a program's samples: once undisturbed, and those of ``states`` with a look into the chip in between."""
        self.driver.seen = HostError(0)
        self.driver.load(simulated.program, simulated.timesteps)
        for sample in range(len(simulated.payloads)):
            self._compare_sample(simulated, sample)
        self._compare_counters(simulated)
        overruns = bool(self.driver.seen & HostError.OVERRUN)
        if self.stalls_seed is None:
            assert overruns == (simulated.run.chip_counters["overruns"] > 0)
        for sample in states:
            self._compare_states(simulated, sample)

    def _compare_sample(self, simulated: Simulated, sample: int) -> None:
        """Compare lengths, starts and outputs of an undisturbed sample; keep its events for later."""
        self.transport.trace(True)
        record = self.driver.run_sample(simulated.payloads[sample], held=simulated.held)
        self.transport.trace(False)
        gaps = self._compare_times(simulated, sample, record)
        if self.stalls_seed is None and not any(record.host_waits):
            self._compare_gaps(simulated, sample, record, gaps)
        case = Case(simulated.program, simulated.payloads, simulated.timesteps)
        expected = simulated.run.output_record[sample]
        assert received_outputs(case, record).tolist() == expected.tolist()
        self._traced.append(_Traced(simulated, sample, record))

    def _compare_times(self, simulated: Simulated, sample: int, record: SampleRecord) -> list[int]:
        """Compare the lengths; return the cycles between the end of each timestep and the next one's start."""
        lengths, waits = simulated.lengths[sample].tolist(), record.host_waits
        # Once the host was late, flits have met elsewhere, and the routers' turns stay others until the sample ends.
        exact = next((k for k, wait in enumerate(waits) if wait), len(waits))
        assert record.lengths[:exact] == lengths[:exact]
        assert len(record.lengths) == len(lengths)
        ends = np.add(record.start_cycles, record.lengths)[:-1]
        gaps = (np.array(record.start_cycles[1:]) - ends).tolist()
        assert min(gaps, default=0) >= 0
        self.observed.add("host waits", times=sum(waits))
        return gaps

    def _compare_gaps(
        self, simulated: Simulated, sample: int, record: SampleRecord, gaps: list[int]
    ) -> None:
        """Demand that timesteps follow each other at once, but for one whose flits take longer than what runs before.

        The driver has sent a timestep's frames before the one before it starts, and the link takes a beat a cycle, if
        the queues have room for both timesteps' flits.
        """
        inputs, payload = HostInputs.of(simulated.program), simulated.payloads[sample]
        counts = [
            list(map(len, inputs.flits(payload, simulated.held, k, simulated.timesteps)))
            for k in range(len(record.lengths))
        ]
        for k, gap in enumerate(gaps):
            beats = sum(counts[k + 1]) + 3 * len(counts[k + 1]) + _LINK_CYCLES
            both = np.add(counts[k], counts[k + 1])
            if both.max() <= self.driver.link.queue_flits:
                assert gap <= max(0, beats - record.lengths[k]), f"timestep {k + 1} starts late"
            self.observed.add("back to back", gap == 0)

    def _compare_counters(self, simulated: Simulated) -> None:
        """Compare all counters after all samples; with a late host only those that do not count cycles' accidents."""
        program, columns = simulated.program, self.config.many_core.network.columns
        tiles = program.register("y") * columns + program.register("x")
        counted = self.driver.read_counters()
        expected = np.zeros_like(counted)
        expected[tiles, : len(CORE_EVENTS)] = simulated.run.core_counters
        expected[:, len(CORE_EVENTS) :] = simulated.run.router_counters
        was_late = any(any(t.record.host_waits) for t in self._traced if t.simulated is simulated)
        for place, event in enumerate(CORE_EVENTS):
            if was_late and event.name == "send_stalls":
                expected[:, place] = counted[:, place]
        unused = np.setdiff1d(np.arange(len(counted)), tiles)
        counted[unused, : len(CORE_EVENTS)] = 0
        assert counted.tolist() == expected.tolist()
        self.observed.add("counters", times=counted.size)

    def _compare_states(self, simulated: Simulated, sample: int) -> None:
        """Compare signatures and every membrane, current and refractory count after each timestep."""
        program, columns = simulated.program, self.config.many_core.network.columns
        of_simulator = simulated.states(sample)
        signatures = simulated.run.signatures[sample]
        registers = [
            {"tile": int(y * columns + x), "neurons": int(n), "depth": int(depth), "kind": int(kind)}
            for x, y, n, depth, kind in zip(
                *(program.register(name) for name in ("x", "y", "neurons", "depth", "kind")), strict=True
            )
        ]  # fmt: skip
        is_exact = True

        def after(k: int) -> None:
            if is_exact:
                assert self.driver.read_signatures().tolist() == signatures[k].tolist(), (
                    f"timestep {k}"
                )
            for c, own in enumerate(registers):
                if own["kind"] not in MEMBRANE_KINDS or k < own["depth"] or not own["neurons"]:
                    continue
                state = self.driver.read_state(own["tile"], own["neurons"])
                for name in STATE:
                    expected = of_simulator[k][name][c, : own["neurons"]]
                    assert state[name].tolist() == expected.tolist(), (
                        f"{name} of core {c}, timestep {k}"
                    )
                    self.observed.states += len(expected)

        # Where the host will be late, flits meet elsewhere in the mesh, and signatures are others.
        late = [
            t.sample for t in self._traced if t.simulated is simulated and any(t.record.host_waits)
        ]
        is_exact = sample not in late and self.stalls_seed is None
        record = self.driver.run_sample(
            simulated.payloads[sample], held=simulated.held, after_timestep=after
        )
        self._compare_times(simulated, sample, record)
        self.observed.state_cycles += sum(record.lengths)

    def _compare_events(self) -> None:
        """Compare what the monitors have printed of all samples: every event, in its cycle."""
        columns = self.config.many_core.network.columns
        with self._trace_file.open(encoding="utf-8") as lines:
            printed = read_events(lines, columns)
        done: Counter[str] = Counter()
        for traced in self._traced:
            simulated, sample = traced.simulated, traced.sample
            record = simulated.record(sample)
            is_exact = not any(traced.record.host_waits)
            for unit, expected in simulated.events(record).items():
                found = UnitEvents(np.empty((0, 3), dtype=np.int64), np.empty(0, dtype=object))
                if unit in printed:
                    all_events = printed[unit]
                    part = slice(done[unit], done[unit] + len(expected.word))
                    time = np.stack(
                        [all_events.timestep[part], all_events.cycle[part], all_events.tile[part]],
                        axis=1,
                    )
                    found = UnitEvents(time, all_events.data[part]).in_order()
                _assert_equal(found, expected, is_exact, f"{unit} events of sample {sample}")
                done[unit] += len(expected.word)
                self.observed.events += len(expected.word)
            cycles = sum(traced.record.lengths)
            if is_exact and self.stalls_seed is None:
                self.observed.cycles += cycles
            else:
                self.observed.stalled_cycles += cycles
            if self.stalls_seed is None:
                self.observed.observe(simulated, sample, record)
        for unit in SIGNATURE_UNITS:
            assert done[unit] == len(printed.get(unit, ())), (
                f"more {unit} events than the simulator has"
            )


def _assert_equal(found: UnitEvents, expected: UnitEvents, is_exact: bool, what: str) -> None:
    """Fail with the first event that differs; without cycles if not ``is_exact``."""
    if not is_exact:
        assert found.without_cycles() == expected.without_cycles(), what
        return
    if np.array_equal(found.time, expected.time) and np.array_equal(found.word, expected.word):
        return
    rows = (
        [(*time, hex(word)) for time, word in zip(of.time.tolist(), of.word.tolist(), strict=True)]
        for of in (found, expected)
    )
    wrong = [(ours, theirs) for ours, theirs in zip(*rows, strict=False) if ours != theirs]
    raise AssertionError(
        f"{what}: (timestep, cycle, tile, word) of RTL and simulator differ first in {wrong[:1]}"
    )
