"""What a bad host does to the Verilog: an error bit is set, nothing else is harmed, a good program runs after it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from spikeloom.chip.host_link import Header, HostError, HostLink, HostOp, Status, op_of
from spikeloom.chip.memory_map import Memory
from spikeloom.comparing import Case, compare_samples
from spikeloom.hw.cosim.verilated import VerilatedTransport
from spikeloom.hw.driver import HostDriver, HostLinkError
from spikeloom.hw.transport import Transport

from .support.cosim_chips import build, chip
from .support.cosim_simulator import Simulated
from .support.cosim_stimulus import draw

NAME = "single"
CONFIG = chip(NAME)
LINK = HostLink(CONFIG.many_core)
HASH = int(CONFIG.config_hash, 16)

Frame = list[int]


def frame(op: HostOp, *beats: int, **fields: int) -> Frame:
    return [Header(op, **fields).pack(), *beats]


BEGIN = frame(HostOp.BEGIN, HASH)
ROW = [0, 0, 0]  # beats of a REGISTERS row
ASTRAY = LINK.flit.pack(
    kind=0, dx=1, dy=0, target=0, delay=1, payload=1
)  # to the east of the only tile

# What is sent to a chip with a program in it, and the bits that it sets.
BAD: dict[str, tuple[list[Frame], HostError]] = {
    "a wrong word": ([[0xF]], HostError.BAD_OP),
    "wrong words": ([[0, 1, 2], [(1 << 64) - 1, 7], frame(HostOp.OUTPUT)], HostError.BAD_OP),
    "no such tile": ([BEGIN, frame(HostOp.WRITE, *ROW, hops=9, count=1)], HostError.BAD_ADDRESS),
    "no such row": ([BEGIN, frame(HostOp.WRITE, *ROW, row=5, count=1)], HostError.BAD_ADDRESS),
    "more rows than there are": (
        [BEGIN, frame(HostOp.WRITE, *ROW, *ROW, count=2)],
        HostError.BAD_ADDRESS,
    ),
    "a read-only memory": (
        [BEGIN, frame(HostOp.WRITE, 0, memory=Memory.STATE, count=1)],
        HostError.BAD_ADDRESS,
    ),
    "no such host port": ([frame(HostOp.FLITS, 0, hops=1, count=1)], HostError.BAD_ADDRESS),
    "a step of too many flits": ([frame(HostOp.STEP, 1 << 24)], HostError.BAD_ADDRESS),
    "a truncated program": ([BEGIN, frame(HostOp.WRITE, 0, count=1)], HostError.TRUNCATED),
    "a truncated begin": ([frame(HostOp.BEGIN)], HostError.TRUNCATED),
    "a truncated step": ([frame(HostOp.STEP)], HostError.TRUNCATED),
    "a frame too long": ([frame(HostOp.SAMPLE, 1, 2, 3)], HostError.OVERLONG),
    "rows too long": ([BEGIN, frame(HostOp.WRITE, *ROW, 9, count=1)], HostError.OVERLONG),
    "another chip's program": ([frame(HostOp.BEGIN, HASH ^ 1)], HostError.WRONG_CHIP),
    "rows outside of a program": ([frame(HostOp.WRITE, *ROW, count=1)], HostError.WRONG_CHIP),
    "a damaged program": ([BEGIN, frame(HostOp.COMMIT, 1234)], HostError.BAD_PROGRAM),
    "a spoiled program": (
        [BEGIN, frame(HostOp.WRITE, hops=9), frame(HostOp.COMMIT, 0)],
        HostError.BAD_ADDRESS | HostError.BAD_PROGRAM,
    ),
    "a step without a program": ([BEGIN, frame(HostOp.STEP, 0)], HostError.NOT_LOADED),
    "a sample without a program": ([BEGIN, frame(HostOp.SAMPLE)], HostError.NOT_LOADED),
    "flits without a program": ([BEGIN, frame(HostOp.FLITS, 0, count=1)], HostError.NOT_LOADED),
    "flits that no step announced": ([frame(HostOp.FLITS, 0, count=1)], HostError.UNASKED),
    "more flits than announced": (
        [
            frame(HostOp.STEP, 1),
            frame(HostOp.FLITS, 1, 2, count=2),
            frame(HostOp.FLITS, 0, count=1),
        ],
        HostError.UNASKED,
    ),
    "a flit astray": (
        [frame(HostOp.STEP, 1), frame(HostOp.FLITS, ASTRAY, count=1)],
        HostError.OFF_MESH,
    ),
    "a read while running": (
        [frame(HostOp.STEP, 0), frame(HostOp.READ, memory=Memory.COUNTERS, count=1)],
        HostError.BUSY,
    ),
    "a program while running": (
        [frame(HostOp.STEP, 0), BEGIN, frame(HostOp.WRITE, *ROW, count=1), frame(HostOp.COMMIT, 0)],
        HostError.BUSY,
    ),
}


@cache
def good() -> Simulated:
    """Return a program with samples of much traffic, which also overrun the chip's timesteps."""
    return draw(CONFIG, 102, (30, 16))


def check_good(driver: HostDriver) -> None:
    """Run the good program's samples; every signature and length must be the simulator's."""
    simulated = good()
    for sample, payload in enumerate(simulated.payloads):
        record = driver.run_sample(payload, held=False)
        assert record.lengths == simulated.lengths[sample].tolist()
        assert np.array_equal(driver.read_signatures(), simulated.run.signatures[sample, -1])


def test_the_good_program_is_equal():
    simulated = good()
    assert not simulated.held
    case = Case(simulated.program, simulated.payloads, simulated.timesteps)
    assert compare_samples(case, simulated.run, build(NAME)) is None


@pytest.mark.parametrize("bad", BAD)
def test_errors_are_told_and_harm_nothing(bad):
    frames, error = BAD[bad]
    case = good()
    unloads = (
        any(op_of(sent) == HostOp.BEGIN and len(sent) > 1 for sent in frames)
        and error != HostError.BUSY
    )
    with VerilatedTransport(build(NAME)) as transport:
        driver = HostDriver(CONFIG, transport)
        driver.load(case.program, case.timesteps)
        check_good(driver)
        transport.send(frames)
        answers = {op_of(sent) for sent in frames} & {HostOp.READ}
        if any(
            op_of(sent) == HostOp.STEP and sent[1:] < [1 << 24] for sent in frames if len(sent) > 1
        ):
            answers |= {HostOp.STEP_END} if not unloads else set()
        while answers:
            answer = transport.receive()
            answers.discard(HostOp(op_of(answer)))
            assert op_of(answer) != HostOp.READ or Header.unpack(answer[0]).count == 0
        status = driver.status()
        assert status.errors & ~HostError.OVERRUN == error
        assert status.is_loaded == (not unloads)
        assert not driver.status().errors  # told once, then forgotten
        if not unloads:
            check_good(driver)  # the program is as it was
        driver.load(case.program, case.timesteps)
        check_good(driver)


def test_every_error_bit_was_set():
    told = HostError(0)
    for _, error in BAD.values():
        told |= error
    case = good()
    assert case.run.chip_counters["overruns"] > 0
    with VerilatedTransport(build(NAME)) as transport:
        driver = HostDriver(CONFIG, transport)
        driver.load(case.program, case.timesteps)
        status = driver.status  # `run_sample` asks, too, and lets overruns pass
        seen: list[Status] = []
        driver.status = lambda **_: seen.append(status()) or seen[-1]
        check_good(driver)
        for one in seen:
            told |= one.errors
    assert told == sum(HostError, HostError(0))


class Between:
    """A `Transport` around another that changes what the driver sends, and keeps what is not for the driver."""

    def __init__(self, chip: Transport, change: Callable[[Frame], list[Frame]]) -> None:
        self.chip, self.change = chip, change
        self.is_on = True
        self.errors = HostError(0)
        self.refused = 0

    def send(self, frames: Sequence[Sequence[int]]) -> None:
        for sent in frames:
            self.chip.send(self.change(list(sent)) if self.is_on else [sent])

    def receive(self) -> Frame:
        """Return the next frame, but for refused READs; errors that the change made are kept from the driver."""
        while op_of(answer := self.chip.receive()) == HostOp.READ and self.is_on:
            assert len(answer) == 1
            self.refused += 1
        if self.is_on and op_of(answer) == HostOp.STATUS:
            status = Status.unpack(answer)
            self.errors |= status.errors
            return replace(status, errors=HostError(0)).pack()
        return answer


def test_a_bad_host_in_the_middle_of_a_sample_changes_nothing():
    case, steps = good(), 0
    bad = [
        BEGIN,
        frame(HostOp.WRITE, *ROW, count=1),
        frame(HostOp.READ, memory=Memory.STATE, count=1),
        frame(HostOp.COMMIT, 0),
        [0xB, 1, 2],
        frame(HostOp.STEP),
        frame(HostOp.SAMPLE, 0),
    ]

    def meddle(sent: Frame) -> list[Frame]:
        nonlocal steps
        if op_of(sent) != HostOp.STEP:
            return [sent]
        steps += 1
        return [
            sent,
            *bad,
            frame(HostOp.FLITS, *range(99), count=99),
        ]  # more than any step asks for

    with VerilatedTransport(build(NAME)) as transport:
        between = Between(transport, meddle)
        driver = HostDriver(CONFIG, between)
        between.is_on = False
        driver.load(case.program, case.timesteps)
        between.is_on = True
        for sample, payload in enumerate(case.payloads):
            record = driver.run_sample(payload, held=False)
            assert record.lengths == case.lengths[sample].tolist()
        between.is_on = False
        assert np.array_equal(driver.read_signatures(), case.run.signatures[-1, -1])
    assert between.refused == steps == case.run.cycles.size
    assert between.errors & ~HostError.OVERRUN == (
        HostError.BUSY
        | HostError.BAD_OP
        | HostError.TRUNCATED
        | HostError.OVERLONG
        | HostError.UNASKED
    )


@pytest.mark.parametrize("place", [1, 5, 40])
@pytest.mark.parametrize("fault", ["a bit", "a beat", "a frame"])
def test_a_program_that_arrives_damaged_is_not_run(fault, place):
    case = good()
    beats = 0

    def damage(sent: Frame) -> list[Frame]:
        nonlocal beats
        first, beats = beats, beats + len(sent) * (op_of(sent) == HostOp.WRITE)
        if op_of(sent) != HostOp.WRITE or not first <= place < beats:
            return [sent]
        at = max(place - first, 1)  # in its rows
        if fault == "a frame":
            return []
        changed = [] if fault == "a beat" else [sent[at] ^ 1 << place % 64]
        return [[*sent[:at], *changed, *sent[at + 1 :]]]

    with VerilatedTransport(build(NAME)) as transport:
        between = Between(transport, damage)
        driver = HostDriver(CONFIG, between)
        with pytest.raises(HostLinkError, match=r"the program was not loaded"):
            driver.load(case.program, case.timesteps)
        expected = HostError.BAD_PROGRAM | (
            HostError.TRUNCATED if fault == "a beat" else HostError(0)
        )
        assert between.errors == expected
        between.is_on = False
        assert not driver.status().is_loaded
        with pytest.raises(ValueError, match=r"a program must be loaded"):
            driver.run_sample(case.payloads[0], held=False)
        driver.load(case.program, case.timesteps)
        check_good(driver)
