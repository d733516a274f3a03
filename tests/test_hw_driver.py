"""The host's driver: against a chip in plain Python, and against the host port of the RTL."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from random import Random

import numpy as np
import pytest

from spikeloom.chip.config import ChipConfig, load_config
from spikeloom.chip.host_link import (
    IDENTITY,
    Header,
    HostError,
    HostLink,
    HostOp,
    Output,
    Status,
    StepEnd,
    op_of,
)
from spikeloom.chip.memory_map import CoreMemories, Memory
from spikeloom.chip.program import ManyCoreProgram
from spikeloom.hw.driver import HostDriver, HostLinkError
from spikeloom.hw.inputs import HostInputs
from spikeloom.sim.cores import timestep
from spikeloom.sim.cores.setup import kernel_params, kernel_program, new_state
from spikeloom.sim.cores.state import (
    DELAY_MASK,
    DELAY_SHIFT,
    KIND_MASK,
    KIND_SHIFT,
    TARGET_SHIFT,
    X_MASK,
    Y_MASK,
    Y_SHIFT,
)

from .support.host_bench import Bench, Plan
from .support.random_program import random_program

Frame = list[int]


class FakeChip:
    """What docs/host_protocol.md says, in plain Python, as a transport. A timestep runs when it can, at once.

    ``outputs[k]`` are the outputs of timestep k, counted over all samples.
    """

    def __init__(self, config: ChipConfig, outputs: dict[int, list[Output]] | None = None) -> None:
        self.config, self.link = config, HostLink(config.many_core)
        self.outputs = outputs or {}
        self.status = Status(IDENTITY, int(config.config_hash, 16), HostError(0), False, False)
        self.memory: dict[tuple[int, Memory, int], dict[str, int]] = {}
        self.answers: deque[Frame] = deque()
        self.commands: deque[list[int] | None] = deque()
        self.queues: list[deque[int]] = [deque() for _ in range(self.link.ports)]
        self.lacking: list[int] = []  # flits of the running timestep that have not come
        self.steps: list[list[list[int]]] = []
        self.crc = self.now = self.tag = 0
        self.samples = 0
        self.damages = False

    def receive(self) -> Frame:
        assert self.answers, "the driver waits for what will never come"
        return self.answers.popleft()

    def send(self, frames: Sequence[Sequence[int]]) -> None:
        for frame in map(list, frames):
            header = Header.unpack(frame[0])
            getattr(self, f"_{HostOp(header.op).name.lower()}")(header, frame)
            self._run()

    def _begin(self, _: Header, frame: Frame) -> None:
        assert not self.commands
        self.crc = 0
        self.status = replace(self.status, is_loaded=False)
        assert frame[1] == self.status.config_hash

    def _write(self, header: Header, frame: Frame) -> None:
        self.crc = self.link.crc(self.crc, frame) ^ self.damages
        memory = Memory(header.memory)
        rows = self.link.rows(memory, frame[1:])
        assert len(rows) == header.count > 0
        tiles = range(self.config.many_core.core_count) if header.broadcast else [header.hops]
        for tile in tiles:
            for place, row in enumerate(rows, header.row):
                self.memory[tile, memory, place] = row

    def _commit(self, _: Header, frame: Frame) -> None:
        is_good = frame[1] == self.crc
        self.status = replace(
            self.status,
            is_loaded=is_good,
            errors=self.status.errors | (0 if is_good else HostError.BAD_PROGRAM),
        )

    def _status(self, header: Header, frame: Frame) -> None:
        self.answers.append(self.status.pack())
        if header.row:
            self.status = replace(self.status, errors=HostError(0))

    def _read(self, header: Header, frame: Frame) -> None:
        layout = self.link.memories.layouts[Memory(header.memory)]
        if header.row + header.count > layout.rows or self.commands:
            self.status = replace(self.status, errors=HostError.BAD_ADDRESS)
            self.answers.append([replace(header, count=0).pack()])
            return
        tiles = range(self.config.many_core.core_count) if header.broadcast else [header.hops]
        beats = [
            beat
            for tile in tiles
            for row in range(header.row, header.row + header.count)
            for beat in self.link.row_beats(layout.memory, self.image(tile, layout.memory, row))
        ]
        self.answers.append([frame[0], *beats])

    def image(self, tile: int, memory: Memory, row: int):
        layout = self.link.memories.layouts[memory]
        return layout.image({f.name: [self.value(tile, f.name, row)] for f in layout.fields})

    @staticmethod
    def value(tile: int, name: str, row: int) -> int:
        return len(name) + 10 * row - 3 * tile if name in ("v_mem", "i_syn") else tile + 5 * row

    def _sample(self, _: Header, frame: Frame) -> None:
        self.commands.append(None)

    def _step(self, _: Header, frame: Frame) -> None:
        assert self.status.is_loaded
        assert len(self.commands) < 2, (
            "the chip cannot take this STEP before it has what is behind it"
        )
        self.commands.append(frame[1:])

    def _flits(self, header: Header, frame: Frame) -> None:
        assert len(frame) == 1 + header.count > 1
        for word in frame[1:]:
            queue = self.queues[header.hops]
            assert len(queue) < self.link.queue_flits, "a flit waits for ever"
            queue.append(word)
            self._run()

    def _run(self) -> None:
        """Let flits leave, end the timestep, start the next, as long as something can happen."""
        while True:
            for port, (queue, lack) in enumerate(zip(self.queues, self.lacking, strict=False)):
                taken = [queue.popleft() for _ in range(min(lack, len(queue)))]
                self.steps[-1][port] += taken
                self.lacking[port] -= len(taken)
            if any(self.lacking):
                return
            if self.lacking:
                self._end()
            if not self.commands:
                return
            counts = self.commands[0]
            if counts is None:
                self.tag, self.samples = 0, self.samples + 1
            elif all(
                len(queue) >= min(count, self.link.queue_flits)
                for queue, count in zip(self.queues, counts, strict=True)
            ):
                self.lacking = list(counts)
                self.steps.append([[] for _ in counts])
            else:
                return
            self.commands.popleft()

    def _end(self) -> None:
        self.lacking = []
        own = self.outputs.get(len(self.steps) - 1, [])
        length = 100 + len(self.steps)
        self.answers += [[self.link.pack_output(output)] for output in own]
        now = (self.now + (1 << 32) - 250) % (1 << 32)  # so that the counter wraps
        self.answers.append(StepEnd(self.tag % 64, len(own), now, length, 0).pack())
        self.now += length
        self.tag += 1


def program_of(seed: int, queue: int = 4) -> ManyCoreProgram:
    config = load_config("tiny").replace(
        core={"axons": 11, "neurons": 13, "lanes": 5, "delay_slots": 5},
        network={
            "columns": 3,
            "rows": 2,
            "host_rows": [0, 1],
            "host_columns": [0, 2],
            "host_queue_flits": queue,
        },
    )
    return random_program(np.random.default_rng(seed), config, inputs=30)


def payload_of(program: ManyCoreProgram, timesteps: int, seed: int = 0):
    rng = np.random.default_rng(seed)
    drawn = rng.integers(-99, 100, (timesteps, program.input_size))
    return (drawn * (rng.random(drawn.shape) < 0.6)).astype(np.int32)


@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_flits_are_those_of_the_simulator(held, seed):
    program, timesteps = program_of(seed), 4
    mesh, inputs = program.config.many_core.network, HostInputs.of(program)
    payload = payload_of(program, 1 if held else timesteps, seed)
    p, g, s = kernel_params(program), kernel_program(program), new_state(program)
    total = 0
    for k in range(program.chip_timesteps(timesteps) + 2):
        timestep._host_queue(p, g.host, s.host, payload, held, k, timesteps)
        flits = inputs.flits(payload, held, k, timesteps)
        for port, words in enumerate(flits):
            expected = [
                {
                    "kind": (word >> KIND_SHIFT) & KIND_MASK,
                    "dx": word & X_MASK,
                    "dy": ((word >> Y_SHIFT) & Y_MASK) - 1 - mesh.host_rows[port],
                    "target": word >> TARGET_SHIFT,
                    "delay": (word >> DELAY_SHIFT) & DELAY_MASK,
                    "payload": value,
                }
                for word, value in zip(
                    s.host.word[port, : s.host.filled[port]].tolist(),
                    s.host.payload[port, : s.host.filled[port]].tolist(),
                    strict=True,
                )
            ]
            assert [inputs.layout.unpack(word) for word in words] == expected
            total += len(words)
    assert total > 10


def test_load_clears_all_tiles_and_writes_those_in_use():
    program = program_of(1)
    chip = FakeChip(program.config)
    HostDriver(program.config, chip).load(program, timesteps=7)
    assert chip.status.is_loaded
    memories = CoreMemories(program.config.many_core)
    columns = program.config.many_core.network.columns
    tiles = program.register("y") * columns + program.register("x")
    assert 1 < len(tiles) < 6
    expected = {(tile, Memory.REGISTERS, 0): 0 for tile in range(6)}
    for c, tile in enumerate(tiles.tolist()):
        for memory, image in memories.images(program, c, 7).items():
            for row, words in enumerate(image.tolist()):
                value = sum(word << (64 * i) for i, word in enumerate(words))
                expected[tile, memory, row] = value
    assert {
        place: memories.layouts[place[1]].unpack(v) for place, v in expected.items()
    } == chip.memory
    assert {chip.memory[int(tile), Memory.REGISTERS, 0]["timesteps"] for tile in tiles} == {7}


def outputs_of(link: HostLink, steps: int, first: int = 0) -> dict[int, list[Output]]:
    rng = Random(steps)
    half = 1 << (link.flit.payload_bits - 1)
    return {
        first + k: [
            Output(
                k,
                rng.randrange(2),
                rng.randrange(link.flit.output_lines),
                rng.randrange(-half, half),
            )
            for _ in range(rng.randrange(4))
        ]
        for k in range(steps)
    }


@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("queue", [2, 5, 512])
@pytest.mark.parametrize("watched", [False, True])
def test_samples(held, queue, watched):
    program, timesteps = program_of(2, queue), 70
    steps = program.chip_timesteps(timesteps)
    assert steps > 64  # tags repeat
    chip = FakeChip(program.config)
    driver = HostDriver(program.config, chip)
    driver.load(program, timesteps)
    inputs = HostInputs.of(program)
    seen: list[int] = []

    def after(k: int) -> None:
        assert not chip.commands
        assert len(chip.steps) == steps + k + 1  # none ahead
        seen.append(k)

    for number in range(2):
        payload = payload_of(program, 1 if held else timesteps, number)
        chip.outputs = outputs_of(driver.link, steps, number * steps)
        record = driver.run_sample(
            payload, held=held, after_timestep=after if number and watched else None
        )
        expected = [inputs.flits(payload, held, k, timesteps) for k in range(steps)]
        assert chip.steps[number * steps :] == expected
        assert sum(len(own) for ports in expected for own in ports) > 10
        assert record.outputs == [o for own in chip.outputs.values() for o in own]
        assert len(record.outputs) > 20
        assert record.lengths == [101 + number * steps + k for k in range(steps)]
        assert record.host_waits == [0] * steps
        starts = [start - record.start_cycles[0] for start in record.start_cycles]
        assert starts == np.cumsum([0, *record.lengths[:-1]]).tolist()
        assert record.simulator_cycles(6)[:2] == [record.lengths[0] + 6, record.lengths[1]]
    assert seen == (list(range(steps)) if watched else [])
    assert chip.samples == 2
    assert not chip.answers


def test_reads():
    program = program_of(3)
    chip = FakeChip(program.config)
    driver = HostDriver(program.config, chip)
    state = driver.read_state(tile=4, neurons=13)
    assert {name: values.tolist() for name, values in state.items()} == {
        name: [chip.value(4, name, row) for row in range(13)]
        for name in ("v_mem", "i_syn", "refractory_left")
    }
    assert driver.read_signatures().tolist() == [[t + 5 * u for u in range(6)] for t in range(6)]
    assert driver.read_counters().tolist() == [[t + 5 * e for e in range(18)] for t in range(6)]
    with pytest.raises(
        HostLinkError, match=r"^STATE was not read: a frame named a memory, row, .*$"
    ) as caught:
        driver.read_state(tile=4, neurons=14)
    assert caught.value.errors == HostError.BAD_ADDRESS


def test_wrong_chips_are_refused():
    program = program_of(0)
    other = program.config.replace(core={"axons": 12})
    chip = FakeChip(other)
    with pytest.raises(
        HostLinkError, match=rf"^the chip's configuration must be tiny .*, not {other.config_hash}$"
    ):
        HostDriver(program.config, chip).load(program, 3)
    chip.status = replace(chip.status, identity=7)
    with pytest.raises(
        HostLinkError, match=r"^the link must lead to a chip that says 0x.*, not 0x7; .*$"
    ):
        HostDriver(other, chip).identify()
    with pytest.raises(ValueError, match=r"^the program must be for the configuration .*$"):
        HostDriver(other, FakeChip(other)).load(program, 3)


def test_what_the_chip_refuses_is_told():
    program = program_of(0)
    chip = FakeChip(program.config)
    driver = HostDriver(program.config, chip)
    payload = payload_of(program, 3)
    with pytest.raises(ValueError, match=r"^a program must be loaded before a sample can run$"):
        driver.run_sample(payload, held=False)
    driver.load(program, 3)
    with pytest.raises(ValueError, match=r"^payload must have the shape \(3, 30\), not \(1, 30\)$"):
        driver.run_sample(payload[:1], held=False)

    chip.status = replace(chip.status, errors=HostError.OFF_MESH | HostError.OVERRUN)
    with pytest.raises(
        HostLinkError, match=r"^the sample went wrong: a flit left the mesh where .*$"
    ) as caught:
        driver.run_sample(payload, held=False)
    assert caught.value.errors == HostError.OFF_MESH
    chip.status = replace(chip.status, errors=HostError.OVERRUN)
    driver.run_sample(payload, held=False)

    chip.damages = True
    with pytest.raises(
        HostLinkError, match=r"^the program was not loaded: the program arrived damaged: .*$"
    ):
        driver.load(program, 3)
    with pytest.raises(ValueError, match=r"^a program must be loaded before a sample can run$"):
        driver.run_sample(payload, held=False)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        ([3], r"^the chip must answer OUTPUT or STEP_END, not a frame with opcode 3$"),
        ([], r"^the chip must answer OUTPUT or STEP_END, not an empty frame$"),
        (
            StepEnd(1, 0, 0, 5, 0).pack(),
            r"^timestep 0 must end with the tag 0 and 0 outputs, not with 1 and 0$",
        ),
        (
            StepEnd(0, 2, 0, 5, 0).pack(),
            r"^timestep 0 must end with the tag 0 and 0 outputs, not with 0 and 2$",
        ),
        (
            [int(HostOp.OUTPUT) | 9 << 10],
            r"^outputs must be of timesteps 0 to 2, not of one with the tag 9$",
        ),
    ],
)
def test_wrong_answers_are_noticed(frame, message):
    program = program_of(0)
    chip = FakeChip(program.config)
    driver = HostDriver(program.config, chip)
    driver.load(program, 3)
    chip.answers.append(frame)
    with pytest.raises(HostLinkError, match=message):
        driver.run_sample(payload_of(program, 3), held=False)


def test_the_driver_and_the_host_port_of_the_rtl():
    program, timesteps = program_of(4, queue=3), 5
    steps = program.chip_timesteps(timesteps)
    link = HostLink(program.config.many_core)
    outputs = outputs_of(link, steps)
    plans = [Plan(9, [(5, o.column, o.line, o.payload) for o in outputs[k]]) for k in range(steps)]
    bench = Bench(program.config, plans)
    driver = HostDriver(program.config, bench.transport(reading=0.1))
    driver.load(program, timesteps)
    payload = payload_of(program, timesteps)
    record = driver.run_sample(payload, held=False)

    fake = FakeChip(program.config)
    HostDriver(program.config, fake).load(program, timesteps)
    layouts = link.memories.layouts
    assert {
        (t, m, r): layouts[Memory(m)].unpack(v) for (t, m, r), v in bench.memory.items()
    } == fake.memory
    assert record.lengths == [bench.length_of(k) for k in range(steps)]
    assert len(bench.steps) == steps
    inputs = HostInputs.of(program)
    for k, seen in enumerate(bench.steps):
        expected = inputs.flits(payload, False, k, timesteps)
        assert [[w for _, to, w in seen.flits if to == port] for port in range(2)] == expected
        for column in range(2):
            own = [o for o in record.outputs if (o.k, o.column) == (k, column)]
            assert own == [o for o in outputs[k] if o.column == column]
    bench.memory[2, Memory.COUNTERS, 17] = 4242
    assert driver.read_counters()[2, 17] == 4242


def test_opcodes_fit_a_header():
    assert max(HostOp) < 16
    assert [op_of([Header(op).pack()]) for op in HostOp] == list(HostOp)
