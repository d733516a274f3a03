"""What a bad host does to the Verilog: an error bit is set, nothing else is harmed, a good program runs after it."""

from __future__ import annotations

import numpy as np
import pytest

from spikeloom.chip.host_link import Header, HostError, HostOp
from spikeloom.chip.memory_map import Memory
from spikeloom.comparing import Case, compare_samples
from spikeloom.hw.cosim.verilated import VerilatedTransport
from spikeloom.hw.driver import HostDriver
from spikeloom.sim.run import run_many_core

from .support.cosim_chips import build, chip
from .support.random_program import random_program

TIMESTEPS = 4
CONFIG = chip("single")
HASH = int(CONFIG.config_hash, 16)


def frame(op: HostOp, *beats: int, **fields: int) -> list[int]:
    return [Header(op, **fields).pack(), *beats]


BEGIN = frame(HostOp.BEGIN, HASH)
ROW = [0, 0, 0]  # beats of a REGISTERS row

# What is sent, and the bits that it sets.
BAD = {
    "a wrong word": ([[0xF]], HostError.BAD_OP),
    "no such tile": ([BEGIN, frame(HostOp.WRITE, *ROW, hops=9, count=1)], HostError.BAD_ADDRESS),
    "no such row": ([BEGIN, frame(HostOp.WRITE, *ROW, row=5, count=1)], HostError.BAD_ADDRESS),
    "a read-only memory": (
        [BEGIN, frame(HostOp.WRITE, 0, memory=Memory.STATE, count=1)],
        HostError.BAD_ADDRESS,
    ),
    "a truncated program": ([BEGIN, frame(HostOp.WRITE, 0, count=1)], HostError.TRUNCATED),
    "a frame too long": ([frame(HostOp.SAMPLE, 1, 2, 3)], HostError.OVERLONG),
    "another chip's program": ([frame(HostOp.BEGIN, HASH ^ 1)], HostError.WRONG_CHIP),
    "a damaged program": ([BEGIN, frame(HostOp.COMMIT, 1234)], HostError.BAD_PROGRAM),
    "a step without a program": ([BEGIN, frame(HostOp.STEP, 0)], HostError.NOT_LOADED),
}


@pytest.fixture(scope="module")
def case() -> Case:
    rng = np.random.default_rng(102)
    program = random_program(rng, CONFIG)
    payloads = rng.integers(0, 256, (2, TIMESTEPS, program.input_size)).astype(np.int32)
    return Case(program, payloads, TIMESTEPS)


def run_all(driver: HostDriver, case: Case) -> list[tuple[list[int], list[object]]]:
    records = [driver.run_sample(payload, held=False) for payload in case.payloads]
    return [(record.lengths, list(record.outputs)) for record in records]


@pytest.mark.parametrize("bad", BAD)
def test_errors_are_told_and_harm_nothing(bad, case):
    frames, error = BAD[bad]
    simulated = run_many_core(
        case.program, case.payloads, TIMESTEPS, signatures=True, record_outputs=True
    )
    assert compare_samples(case, simulated, build("single")) is None
    with VerilatedTransport(build("single")) as transport:
        driver = HostDriver(CONFIG, transport)
        driver.load(case.program, TIMESTEPS)
        before = run_all(driver, case)
        assert sum(len(outputs) for _, outputs in before) or sum(sum(n) for n, _ in before)
        transport.send(frames)
        status = driver.status()
        assert error in status.errors
        assert not driver.status().errors & ~HostError.OVERRUN  # told once, then forgotten
        driver.load(case.program, TIMESTEPS)
        assert run_all(driver, case) == before
        assert np.array_equal(driver.read_signatures(), simulated.signatures[-1, -1])


def test_writes_and_reads_while_timesteps_run_are_refused(case):
    with VerilatedTransport(build("single")) as transport:
        driver = HostDriver(CONFIG, transport)
        driver.load(case.program, TIMESTEPS)
        before = run_all(driver, case)
        transport.send([frame(HostOp.SAMPLE), frame(HostOp.STEP, 0)])
        transport.send(
            [
                BEGIN,
                frame(HostOp.WRITE, *ROW, count=1),
                frame(HostOp.READ, memory=Memory.COUNTERS, count=1),
            ]
        )
        assert Header.unpack(transport.receive()[0]).count == 0  # the READ, refused
        while transport.receive()[0] & 0xF != HostOp.STEP_END:
            pass
        status = driver.status()
        assert HostError.BUSY in status.errors
        assert status.is_loaded  # the program is as it was
        assert run_all(driver, case) == before
