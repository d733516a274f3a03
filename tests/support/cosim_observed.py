"""What a comparison has seen: counted, so that a test can demand that all of it was there."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable

import numpy as np

from spikeloom.chip.arithmetic import NeuronKind
from spikeloom.chip.events import CORE_EVENT_INDEX, PORTS
from spikeloom.chip.packet import FlitKind
from spikeloom.chip.program import ManyCoreProgram
from spikeloom.hw.inputs import HostInputs
from spikeloom.sim.trace import EventRecord

from .cosim_simulator import Simulated
from .golden_many_core import GoldenManyCore

BACK = {"north": "south", "east": "west", "south": "north", "west": "east"}
MEMBRANE_KINDS = (
    NeuronKind.LIF,
    NeuronKind.CUBA_LIF,
    NeuronKind.INTEGRATOR,
    NeuronKind.CUBA_INTEGRATOR,
)

# The pairs of a router's input and output that X-then-Y routing knows.
TURNS = {
    *(("local", output) for output in PORTS),
    *(("north", output) for output in ("south", "local")),
    *(("south", output) for output in ("north", "local")),
    *(("east", output) for output in ("west", "north", "south", "local")),
    *(("west", output) for output in ("east", "north", "south", "local")),
}

Fact = tuple[object, ...]


class Observed:
    """How often each fact was seen, and how much was compared."""

    def __init__(self) -> None:
        self.facts: Counter[Fact] = Counter()
        self.cycles = 0  # whose every event was compared
        self.state_cycles = 0  # whose signatures and states were compared after each timestep
        self.stalled_cycles = 0  # with a host that stalls: values, and cycles where it was not late
        self.events = 0
        self.states = 0

    def add(self, *fact: object, times: int = 1) -> None:
        """Count a fact; none if it was seen 0 times."""
        if times:
            self.facts[fact] += times

    def missing(self, expected: Iterable[Fact]) -> list[Fact]:
        """Return those of the facts that were not seen."""
        return [fact for fact in expected if not self.facts[fact]]

    def __iadd__(self, other: Observed) -> Observed:
        """Take what another has seen."""
        self.facts += other.facts
        for name in ("cycles", "state_cycles", "stalled_cycles", "events", "states"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        return self

    def observe(self, simulated: Simulated, sample: int, record: EventRecord) -> None:
        """Count what happened in a sample, from its events; the machines must have agreed in them."""
        program = simulated.program
        self._observe_cores(program, record)
        self._observe_arrivals(program, record)
        hops = Counter(
            turn for path in _paths(simulated, sample, record) for turn in path
        )  # fmt: skip
        assert sum(hops.values()) == len(record.transfers), (
            "the routes do not explain the transfers"
        )
        for turn, times in hops.items():
            self.add("turn", *turn, times=times)
        if simulated.held:
            self.add("held sample")
        if sample:
            self.add("sample after a sample")

    def observe_run(self, simulated: Simulated) -> None:
        """Count what the counters of all samples tell."""
        counters = simulated.run.core_counters
        for name in ("saturations", "send_stalls", "sum_writes", "multiplies"):
            self.add(name, times=int(counters[:, CORE_EVENT_INDEX[name]].sum()))
        modes = simulated.program.register("weight_mode_bits")
        for bits, synops in zip(
            modes.tolist(), counters[:, CORE_EVENT_INDEX["synops"]].tolist(), strict=True
        ):
            self.add(
                "weight mode",
                simulated.program.config.many_core.core.weight_bits,
                bits,
                times=synops,
            )
        self.add("host_stalls", times=simulated.run.chip_counters["host_stalls"])
        self.add("overruns", times=simulated.run.chip_counters["overruns"])

    def observe_full_fifos(self, simulated: Simulated, sample: int) -> None:
        """Count how often each router input was full; slow, since routers are looked into one by one."""
        golden = GoldenManyCore(simulated.program)
        depth = simulated.program.config.many_core.network.fifo_depth
        for ports in golden.fifos.values():
            for port in PORTS:
                ports[port] = _Watched(self, port, depth)
        lengths = golden.run(simulated.payloads[sample], simulated.held, simulated.timesteps)
        assert lengths == simulated.run.cycles[sample].tolist()

    def _observe_cores(self, program: ManyCoreProgram, record: EventRecord) -> None:
        """Count modes of neurons, where they had an effect: the mode of a reset where a neuron fired."""
        names = (
            "kind",
            "reset_mode",
            "reset_timing",
            "compare",
            "floor",
            "axon_signed",
            "refractory",
            "random_mask",
        )
        fired = record.retire("output") != 0
        for c in range(program.core_count):
            own = record.retire("core") == c
            updates, spikes = int(own.sum()), int((own & fired).sum())
            kind, mode, timing, compare, floor, signed, refractory, mask = (
                int(program.register(name)[c]) for name in names
            )
            self.add("kind", NeuronKind(kind), times=spikes)
            self.add("axon_signed", signed, times=updates)
            if kind <= NeuronKind.CUBA_LIF:
                self.add("reset", mode, timing, times=spikes)
                several = int(program.register("max_output")[c]) > 1
                if several:
                    self.add("several spikes", times=int((record.retire("output")[own] > 1).sum()))
                else:
                    self.add("compare", compare, times=spikes)
                self.add("floor", floor, times=updates)
                self.add("refractory", refractory > 0, times=spikes)
                self.add("random threshold", mask > 0, times=spikes)

    def _observe_arrivals(self, program: ManyCoreProgram, record: EventRecord) -> None:
        """Count the flits that came to cores in use, by kind, by delay and by the slot that they were for."""
        mesh, slots = program.config.many_core.network, program.config.many_core.core.delay_slots
        used = program.register("y") * mesh.columns + program.register("x")
        here = (record.transfer("output") == PORTS.index("local")) & np.isin(
            record.transfer("router"), used
        )
        columns = (record.transfer(name)[here].tolist() for name in ("k", "kind", "delay"))
        for (k, kind, delay), times in Counter(zip(*columns, strict=True)).items():
            self.add("arrival", FlitKind(kind), times=times)
            if kind != FlitKind.HOLD:
                self.add("delay", slots, FlitKind(kind), delay, times=times)
                self.add("slot", slots, FlitKind(kind), (k + delay) % slots, times=times)


class _Watched(deque):
    """A router's input that tells when it is full."""

    def __init__(self, observed: Observed, port: str, depth: int) -> None:
        super().__init__()
        self.observed, self.port, self.depth = observed, port, depth

    def append(self, flit: object) -> None:
        super().append(flit)
        if len(self) == self.depth:
            self.observed.add("full FIFO", self.depth, self.port)


def _paths(
    simulated: Simulated, sample: int, record: EventRecord
) -> Iterable[list[tuple[str, str]]]:
    """Yield the turns of every flit of a sample: those that the host sent, those of the neurons that fired."""
    program = simulated.program
    inputs = HostInputs.of(program)
    for k in range(program.chip_timesteps(simulated.timesteps)):
        flits = inputs.flits(simulated.payloads[sample], simulated.held, k, simulated.timesteps)
        for words in flits:
            for word in words:
                fields = inputs.layout.unpack(word)
                yield _turns("west", fields["dx"], fields["dy"])
    for core, neuron, output in record.retires[:, 2:5].tolist():
        if output:
            first = program.route_offset[core] + program.route_base[core, neuron]
            for _, dx, dy, *_ in program.routes[
                first : first + program.route_count[core, neuron]
            ].tolist():
                turns = _turns("local", dx, dy)
                to_host = (
                    program.register("y")[core] + dy == -1
                )  # leaves the mesh by the last northern output
                yield turns[:-1] if to_host else turns


def _turns(port: str, dx: int, dy: int) -> list[tuple[str, str]]:
    """Return (input, output) of the routers on the way of a flit to a core."""
    outputs = ["east" if dx > 0 else "west"] * abs(dx) + ["south" if dy > 0 else "north"] * abs(dy)
    inputs = [port, *(BACK[output] for output in outputs)]
    return list(zip(inputs, [*outputs, "local"], strict=True))
