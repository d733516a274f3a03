"""The chip's Verilog against the simulator, timestep by timestep; the first event in which they differ."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from .chip.events import CORE_EVENTS, PORTS, ROUTER_EVENTS
from .chip.memory_map import COUNTER_BITS, SIGNATURE_UNITS
from .chip.packet import FlitLayout
from .chip.program import ManyCoreProgram
from .hw.cosim.build import Build
from .hw.cosim.events import Events, read_events
from .hw.cosim.verilated import VerilatedTransport
from .hw.driver import HostDriver, SampleRecord
from .sim.run import ManyCoreRun
from .sim.trace import EventRecord, record_sample

Event = tuple[int, int, int]  # cycle, tile, word
HOST = "host"  # the unit of a difference that is not the chip's: its host was late


class Difference(BaseModel):
    """The first place where the machines differ; ``cycle`` is within the timestep, None where only a sum differs."""

    model_config = ConfigDict(frozen=True)

    sample: int
    timestep: int
    unit: str
    x: int | None = None
    y: int | None = None
    layer: str | None = None
    cycle: int | None = None
    simulator: str
    rtl: str

    def __str__(self) -> str:
        """Return the difference as a sentence."""
        cycle = "" if self.cycle is None else f", cycle {self.cycle}"
        at = "" if self.x is None else f" at ({self.x}, {self.y})"
        layer = "" if self.layer is None else f" (layer {self.layer!r})"
        return (
            f"sample {self.sample}, chip timestep {self.timestep}{cycle}, {self.unit}{at}{layer}: "
            f"the simulator has {self.simulator}, the RTL has {self.rtl}"
        )


@dataclass(frozen=True)
class Case:
    """What both machines run: ``payloads`` (samples, timesteps or 1, inputs) for ``timesteps`` network timesteps."""

    program: ManyCoreProgram
    payloads: NDArray[np.int32]
    timesteps: int

    @property
    def held(self) -> bool:
        """Whether inputs are held over a sample."""
        return self.payloads.shape[1] == 1 and self.timesteps > 1


def compare_samples(
    case: Case,
    simulated: ManyCoreRun,
    build: Build,
    stalls_seed: int | None = None,
    sample_done: Callable[[int], None] = lambda _: None,
    *,
    every_timestep: bool = True,
) -> Difference | None:
    """Run all samples on the Verilog and return the first difference to what was ``simulated`` with signatures.

    Compared after each chip timestep: every unit's signature and the timestep's length, unless the host was late,
    which ends the comparison, since the simulator's never is. After each sample: every output. After the last: every
    counter. Without ``every_timestep`` signatures are read once a sample: as no event is forgotten until then, as much
    is compared in less time, and timesteps follow each other without a gap. Only in which timestep the first event
    differs stays unknown; the difference says the last.
    """
    with VerilatedTransport(build, stalls_seed) as transport:
        driver = HostDriver(case.program.config, transport)
        return compare_driven(case, simulated, driver, sample_done, every_timestep=every_timestep)


def compare_driven(
    case: Case,
    simulated: ManyCoreRun,
    driver: HostDriver,
    sample_done: Callable[[int], None] = lambda _: None,
    *,
    every_timestep: bool = True,
) -> Difference | None:
    """Do as `compare_samples` on a chip that is there already."""
    driver.load(case.program, case.timesteps)
    for sample, payload in enumerate(case.payloads):
        found: list[NDArray[np.int64]] = []

        def read(_: int, found: list[NDArray[np.int64]] = found) -> None:
            found.append(driver.read_signatures())

        record = driver.run_sample(
            payload, held=case.held, after_timestep=read if every_timestep else None
        )
        if not every_timestep:
            read(-1)
        difference = _first_timestep(case, simulated, sample, record, np.array(found))
        if difference is not None:
            return difference
        sample_done(sample)
    return _first_counter(case, simulated, driver)


def _first_timestep(
    case: Case,
    simulated: ManyCoreRun,
    sample: int,
    record: SampleRecord,
    signatures: NDArray[np.int64],
) -> Difference | None:
    """Return the first difference of a sample, by unit and timestep; ``signatures`` are those after the last ones."""
    chip = case.program.config.many_core
    lengths = simulated.cycles[sample].copy()
    lengths[0] -= chip.sample_reset_cycles
    first = len(lengths) - len(signatures)
    for k, length in enumerate(lengths.tolist()):
        if record.host_waits[k]:
            return Difference(
                sample=sample, timestep=k, unit=HOST, simulator="a host that is never late",
                rtl=f"waited {record.host_waits[k]} cycles for it: the link is too slow for more flits of a timestep "
                f"than network.host_queue_flits, {chip.network.host_queue_flits}; give the chip longer queues",
            )  # fmt: skip
        expected = simulated.signatures[sample, k]
        wrong = np.argwhere(signatures[k - first] != expected) if k >= first else np.empty((0, 2))
        if len(wrong):
            tile, unit = (int(i) for i in wrong[0])
            return _difference(
                case, sample, k, tile, unit, None,
                f"signature {expected[tile, unit]:08x}", f"{signatures[k - first, tile, unit]:08x}",
            )  # fmt: skip
        if record.lengths[k] != length:
            return Difference(
                sample=sample, timestep=k, unit="barrier", simulator=f"{length} cycles",
                rtl=f"{record.lengths[k]} cycles",
            )  # fmt: skip
    outputs = received_outputs(case, record)
    wrong = np.argwhere(outputs != simulated.output_record[sample])
    if len(wrong):
        t, output = (int(i) for i in wrong[0])
        return Difference(
            sample=sample, timestep=t * case.program.steps_per_timestep, unit=f"host, output {output}",
            simulator=str(simulated.output_record[sample, t, output]), rtl=str(outputs[t, output]),
        )  # fmt: skip
    return None


def received_outputs(case: Case, record: SampleRecord) -> NDArray[np.int64]:
    """Return what the host received, (timesteps, outputs), payloads of one timestep and output added up."""
    program = case.program
    depths = [layer.depth for layer in program.layers]
    output_of = {
        (column, line): (output, depths[layer])
        for column, line, output, layer in program.output_lines.tolist()
    }
    received = np.zeros((case.timesteps, program.output_size), dtype=np.int64)
    for flit in record.outputs:
        output, depth = output_of[flit.column, flit.line]
        t = (flit.k - depth) // program.steps_per_timestep
        if 0 <= t < case.timesteps:
            received[t, output] += flit.payload
    return received


def _first_counter(case: Case, simulated: ManyCoreRun, driver: HostDriver) -> Difference | None:
    """Return the first counter, in the order of tiles, that differs after all samples."""
    program, columns = case.program, case.program.config.many_core.network.columns
    counted = driver.read_counters()
    expected = counted.copy()
    place = program.register("y") * columns + program.register("x")
    cores = len(CORE_EVENTS)
    expected[place, :cores] = simulated.core_counters
    expected[:, cores:] = simulated.router_counters
    wrong = np.argwhere(counted != expected % (1 << COUNTER_BITS))
    if not len(wrong):
        return None
    tile, event = (int(i) for i in wrong[0])
    name = (*CORE_EVENTS, *ROUTER_EVENTS)[event].name
    return Difference(
        sample=len(case.payloads) - 1, timestep=simulated.cycles.shape[1] - 1, unit=f"counter {name}",
        x=tile % columns, y=tile // columns, simulator=str(expected[tile, event]), rtl=str(counted[tile, event]),
    )  # fmt: skip


def _difference(
    case: Case,
    sample: int,
    k: int,
    tile: int,
    unit: int,
    cycle: int | None,
    simulator: str,
    rtl: str,
) -> Difference:
    program, columns = case.program, case.program.config.many_core.network.columns
    place = program.register("y") * columns + program.register("x")
    cores = np.flatnonzero(place == tile)
    layer = program.layers[int(program.core_layer[cores[0]])].name if len(cores) else None
    name = SIGNATURE_UNITS[unit]
    return Difference(
        sample=sample, timestep=k, unit="core" if unit == 0 else f"router, {name} output", x=tile % columns,
        y=tile // columns, layer=layer, cycle=cycle, simulator=simulator, rtl=rtl,
    )  # fmt: skip


def locate(case: Case, build: Build, rough: Difference) -> Difference:
    """Run both machines again to a ``rough`` difference, record that timestep's events, return the first that differs.

    If the events agree, or the Verilog has no monitors, ``rough`` is all that there is to say.
    """
    k = rough.timestep
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "events"
        with VerilatedTransport(build, trace_file=trace) as transport:
            driver = HostDriver(case.program.config, transport)
            driver.load(case.program, case.timesteps)
            for payload in case.payloads[: rough.sample]:
                driver.run_sample(payload, held=case.held)
            transport.trace(k == 0)
            driver.run_sample(
                case.payloads[rough.sample],
                held=case.held,
                after_timestep=lambda done: transport.trace(done + 1 == k),
            )
        with trace.open(encoding="utf-8") as lines:
            of_rtl = read_events(lines, case.program.config.many_core.network.columns)
    if not of_rtl:
        return rough
    record = record_sample(case.program, case.payloads[rough.sample], case.timesteps, k, k + 1)
    of_simulator = simulator_events(case.program, record)
    first: tuple[int, int, int, int | None, int | None] | None = None
    for unit, name in enumerate(SIGNATURE_UNITS):
        expected = _by_time(of_simulator[name])
        seen = _by_time(_rows(of_rtl[name])) if name in of_rtl else {}
        for time in sorted(seen.keys() | expected.keys()):
            if seen.get(time) != expected.get(time):
                if first is None or (*time, unit) < first[:3]:
                    first = (*time, unit, expected.get(time), seen.get(time))
                break
    if first is None:
        return rough
    cycle, tile, unit, *words = first
    texts = [_describe(case.program, unit, word) for word in words]
    return _difference(case, rough.sample, k, tile, unit, cycle, *texts)


def simulator_events(program: ManyCoreProgram, record: EventRecord) -> dict[str, list[Event]]:
    """Return the simulator's events by unit, as the words that the RTL's monitors print."""
    chip = program.config.many_core
    layout, core = FlitLayout.of(chip), chip.core
    place = program.register("y") * chip.network.columns + program.register("x")
    events: dict[str, list[Event]] = {name: [] for name in SIGNATURE_UNITS}
    for _, cycle, c, neuron, output, v_mem in record.retires.tolist():
        word = neuron | (output & _ones(layout.payload_bits)) << layout.target_bits
        word |= (v_mem & _ones(core.membrane_bits)) << (layout.target_bits + layout.payload_bits)
        events["core"].append((cycle, int(place[c]), word))
    names = [name for name, _ in layout.fields]
    for _, cycle, router, output, *fields in record.transfers.tolist():
        word = layout.pack(**dict(zip(names, fields, strict=True)))
        events[PORTS[output]].append((cycle, router, word))
    return events


def _rows(events: Events) -> list[Event]:
    return list(zip(events.cycle.tolist(), events.tile.tolist(), events.data.tolist(), strict=True))


def _by_time(events: Iterable[Event]) -> dict[tuple[int, int], int]:
    return {(cycle, tile): word for cycle, tile, word in events}


def _describe(program: ManyCoreProgram, unit: int, word: int | None) -> str:
    """Return an event's word as a phrase."""
    if word is None:
        return "nothing"
    chip = program.config.many_core
    layout = FlitLayout.of(chip)
    if unit:
        fields = layout.unpack(word)
        return "a flit of " + ", ".join(f"{name} {value}" for name, value in fields.items())
    neuron = word & _ones(layout.target_bits)
    output = _signed(word >> layout.target_bits, layout.payload_bits)
    v_mem = _signed(word >> (layout.target_bits + layout.payload_bits), chip.core.membrane_bits)
    return f"neuron {neuron} with output {output}, v_mem {v_mem}"


def _ones(bits: int) -> int:
    return (1 << bits) - 1


def _signed(value: int, bits: int) -> int:
    value &= _ones(bits)
    return value - (value >> (bits - 1) << bits)
