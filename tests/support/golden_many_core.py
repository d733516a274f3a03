"""A many-core in plain Python objects: every router in every cycle, the chip's own arithmetic. Slow, and obvious."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from spikeloom.chip import arithmetic as rules
from spikeloom.chip.packet import FlitLayout
from spikeloom.chip.program import CORE_REGISTERS, ManyCoreProgram

STEP = {"local": (0, 0), "north": (0, -1), "east": (1, 0), "south": (0, 1), "west": (-1, 0)}
BACK = {"north": "south", "south": "north", "east": "west", "west": "east"}
PORTS = list(STEP)


@dataclass
class Flit:
    x: int
    y: int
    kind: int
    target: int
    delay: int
    payload: int


@dataclass
class Core:
    c: int
    reg: dict[str, int]
    axons: dict[int, dict[int, int]] = field(default_factory=dict)  # timestep -> axon -> value
    held: dict[int, int] = field(default_factory=dict)
    sums: dict[int, dict[int, int]] = field(default_factory=dict)  # timestep -> neuron -> value
    v: dict[int, int] = field(default_factory=dict)
    i: dict[int, int] = field(default_factory=dict)
    silent: dict[int, int] = field(default_factory=dict)
    lfsr: int = 0
    outbox: deque[Flit] = field(default_factory=deque)
    send_at: int = 0


class GoldenManyCore:
    """One sample, and every event of it.

    ``log`` holds (chip timestep, cycle, x, y, output port, kind, dx, dy, target, delay, payload) of every flit that
    leaves a router, dx and dy being what is left to go then; ``retires`` holds (chip timestep, cycle, core, neuron,
    output, membrane) of every neuron that is updated.
    """

    def __init__(self, program: ManyCoreProgram) -> None:
        self.g = program
        self.chip = program.config.many_core
        self.cores = [
            Core(
                c,
                {name: int(value) for (name, _, _), value in zip(CORE_REGISTERS, row, strict=True)},
            )
            for c, row in enumerate(program.registers)
        ]
        mesh = self.chip.network
        self.fifos = {
            (x, y): {port: deque() for port in PORTS}
            for x in range(mesh.columns)
            for y in range(mesh.rows)
        }
        self.turns = {place: dict.fromkeys(PORTS, 0) for place in self.fifos}
        self.log: list[tuple[int, ...]] = []
        self.retires: list[tuple[int, ...]] = []
        self.outputs: list[tuple[int, int, int]] = []  # chip timestep, output, payload
        self.counts = [
            dict.fromkeys(("sent", "spikes", "active", "saturations"), 0) for _ in self.cores
        ]

    def axon_value(self, core: Core, value: int) -> int:
        bits = self.chip.core.activation_bits
        return rules.wrap(value, bits) if core.reg["axon_signed"] else value % (1 << bits)

    def update(self, core: Core, k: int, first: bool) -> int:
        g, cfg, reg, c = self.g, self.chip.core, core.reg, core.c
        values = {a: v for a, v in core.held.items() if v}
        for a, v in core.axons.pop(k, {}).items():
            values[a] = self.axon_value(core, values.get(a, 0) + v)
        sums = core.sums.pop(k, {})
        if first:
            core.lfsr = reg["random_seed"]
        core.outbox.clear()
        for n in range(reg["neurons"]):
            total = sums.get(n, 0) + sum(int(g.weights[c, a, n]) * v for a, v in values.items())
            y = self.neuron(core, n, rules.wrap(total, cfg.accumulator_bits), first)
            cycle = self.chip.retire_cycle(n, len(values), reg["weight_mode_bits"])
            has_membrane = reg["kind"] < rules.NeuronKind.RELU
            self.retires.append((k, cycle, c, n, y, core.v[n] if has_membrane else 0))
            self.counts[c]["spikes"] += y != 0
            for f in range(int(g.route_count[c, n])) if y else ():
                kind, dx, dy, target, delay = g.routes[
                    g.route_offset[c] + g.route_base[c, n] + f
                ].tolist()
                core.outbox.append(Flit(reg["x"] + dx, reg["y"] + dy, kind, target, delay, y))
        self.counts[c]["active"] += len(values)
        return self.chip.compute_cycles(len(values), reg["neurons"], reg["weight_mode_bits"])

    def neuron(self, core: Core, n: int, total: int, first: bool) -> int:
        g, cfg, reg, c = self.g, self.chip.core, core.reg, core.c
        kind = rules.NeuronKind(reg["kind"])
        decay = int(g.decay_mem[c, n])
        if first:
            core.v[n], core.i[n], core.silent[n] = int(g.v_init[c, n]), int(g.i_init[c, n]), 0
        if kind == rules.NeuronKind.PARTIAL:
            return total
        x = (total << reg["i_shift"]) + int(g.bias[c, n])
        if kind == rules.NeuronKind.RELU:
            return rules.requantise(x, decay, reg["requant_shift"], reg["max_output"])
        if kind == rules.NeuronKind.TABLE:
            return int(g.table[c, rules.table_index(x, decay, reg["requant_shift"])])
        if core.silent[n]:
            core.silent[n] -= 1
            return 0
        top = (1 << (cfg.membrane_bits - 1)) - 1
        limited = False
        if kind in (rules.NeuronKind.CUBA_LIF, rules.NeuronKind.CUBA_INTEGRATOR):
            x = rules.saturate(
                rules.scale_round(core.i[n], int(g.decay_syn[c, n]), cfg.decay_bits) + x,
                cfg.membrane_bits,
            )
            core.i[n] = x
            limited = x in (top, -top - 1)
        threshold = int(g.v_threshold[c, n])
        if reg["random_mask"]:
            core.lfsr = rules.lfsr_next(core.lfsr)
            threshold += core.lfsr & reg["random_mask"]
        spiking = kind in (rules.NeuronKind.LIF, rules.NeuronKind.CUBA_LIF)
        timing = reg["reset_timing"] if spiking else 0
        u = rules.integrate(core.v[n], x, decay, threshold, int(g.v_reset[c, n]), reg["reset_mode"], timing,
                            reg["compare"], cfg.decay_bits, cfg.membrane_bits)  # fmt: skip
        limited |= u in (top, -top - 1)
        self.counts[c]["saturations"] += limited
        core.v[n] = u
        if not spiking:
            return u
        if reg["max_output"] > 1:
            y = rules.spike_count(u, threshold, reg["max_output"])
            core.v[n] = u - y * threshold
        else:
            y = int(rules.fires(u, threshold, reg["compare"]))
            if y and timing == 0:
                after = rules.reset_same(u, threshold, int(g.v_reset[c, n]), reg["reset_mode"])
                core.v[n] = rules.saturate(after, cfg.membrane_bits)
        if reg["floor"]:
            core.v[n] = max(core.v[n], -threshold)
        if y:
            core.silent[n] = reg["refractory"]
        return y

    def host_flits(self, payload, held: bool, k: int, timesteps: int) -> list[deque[Flit]]:
        mesh, m = self.chip.network, self.g.steps_per_timestep
        queues = [deque() for _ in mesh.host_rows]
        if not held and (k % m or k // m >= timesteps):
            return queues
        for i, value in enumerate(payload[0] if held else payload[k // m]):
            for f in range(self.g.input_offset[i], self.g.input_offset[i + 1]) if value else ():
                port, dx, dy, axon, delay = self.g.input_routes[f].tolist()
                if not held or delay == k + 1:
                    queues[port].append(
                        Flit(dx, mesh.host_rows[port] + dy, int(held), axon, delay, int(value))
                    )
        return queues

    def output_port(self, place: tuple[int, int], flit: Flit) -> str:
        x, y = place
        if flit.x != x:
            return "east" if flit.x > x else "west"
        if flit.y != y:
            return "south" if flit.y > y else "north"
        return "local"

    def timestep(self, k: int, payload, held: bool, timesteps: int) -> int:
        m, chip, depth = self.g.steps_per_timestep, self.chip, self.chip.network.fifo_depth
        for core in self.cores:
            since = k - core.reg["depth"]
            active = (
                since >= 0 and since % m == 0 and since // m < timesteps and core.reg["neurons"] > 0
            )
            cycles = self.update(core, k, since == 0) if active else 0
            if not active:
                core.axons.pop(k, None)
                core.sums.pop(k, None)
                core.outbox.clear()
            core.send_at = (
                chip.start_cycles + cycles + (chip.send_latency_cycles if core.outbox else 0)
            )
        host = self.host_flits(payload, held, k, timesteps)
        cycle = chip.host_start_cycles - 1
        while True:
            cycle += 1
            if all(cycle >= core.send_at and not core.outbox for core in self.cores) and not any(host) and not any(
                queue for ports in self.fifos.values() for queue in ports.values()
            ):  # fmt: skip
                break
            self.network_cycle(k, cycle, host, depth)
        length = max(cycle, chip.start_cycles) + chip.barrier_cycles
        return max(length, chip.timestep.period_cycles) if chip.timestep.mode == "fixed" else length

    def network_cycle(self, k: int, cycle: int, host: list[deque[Flit]], depth: int) -> None:
        room = {
            (p, port): len(q) < depth
            for p, ports in self.fifos.items()
            for port, q in ports.items()
        }
        arrivals: list[tuple[deque[Flit], Flit]] = []
        for place, ports in self.fifos.items():
            wanted = {
                port: self.output_port(place, queue[0]) for port, queue in ports.items() if queue
            }
            for output in PORTS:
                asking = [port for port in PORTS if wanted.get(port) == output]
                beyond = (place[0] + STEP[output][0], place[1] + STEP[output][1])
                if not asking or (
                    output != "local" and beyond in self.fifos and not room[beyond, BACK[output]]
                ):
                    continue
                turn = self.turns[place][output]
                port = min(asking, key=lambda p: (PORTS.index(p) - turn) % 5)
                self.turns[place][output] = (PORTS.index(port) + 1) % 5
                flit = ports[port].popleft()
                left = (flit.x - beyond[0], flit.y - beyond[1])
                fields = (flit.kind, *left, flit.target, flit.delay, flit.payload)
                self.log.append((k, cycle, *place, PORTS.index(output), *fields))
                if output == "local":
                    self.deliver(place, k, flit)
                elif beyond in self.fifos:
                    arrivals.append((self.fifos[beyond][BACK[output]], flit))
                else:
                    self.host_receives(place, k, flit)
        for row, queue in zip(self.chip.network.host_rows, host, strict=True):
            if queue and room[(0, row), "west"]:
                arrivals.append((self.fifos[0, row]["west"], queue.popleft()))
        for core in self.cores:
            place = (core.reg["x"], core.reg["y"])
            if core.outbox and cycle >= core.send_at and room[place, "local"]:
                arrivals.append((self.fifos[place]["local"], core.outbox.popleft()))
                self.counts[core.c]["sent"] += 1
        for queue, flit in arrivals:
            queue.append(flit)

    def deliver(self, place: tuple[int, int], k: int, flit: Flit) -> None:
        for core in self.cores:
            if (core.reg["x"], core.reg["y"]) != place:
                continue
            if flit.kind == 0:
                values = core.axons.setdefault(k + flit.delay, {})
                values[flit.target] = self.axon_value(
                    core, values.get(flit.target, 0) + flit.payload
                )
            elif flit.kind == 1:
                core.held[flit.target] = self.axon_value(
                    core, core.held.get(flit.target, 0) + flit.payload
                )
            else:
                values = core.sums.setdefault(k + flit.delay, {})
                values[flit.target] = values.get(flit.target, 0) + flit.payload

    def host_receives(self, place: tuple[int, int], k: int, flit: Flit) -> None:
        column = self.chip.network.host_columns.index(place[0])
        line = flit.delay << FlitLayout.of(self.chip).target_bits | flit.target
        for at, number, output, _ in self.g.output_lines.tolist():
            if (at, number) == (column, line):
                self.outputs.append((k, output, flit.payload))

    def run(self, payload, held: bool, timesteps: int) -> list[int]:
        """Run a sample; return the cycles of each chip timestep, the sample's reset in the first."""
        cycles = [
            self.timestep(k, payload, held, timesteps)
            for k in range(self.g.chip_timesteps(timesteps))
        ]
        cycles[0] += self.chip.sample_reset_cycles
        return cycles
