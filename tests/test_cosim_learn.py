"""Training steps on the Verilog of the learning engines: the simulator's values, bit for bit, and its cycles."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from spikeloom.chip.config import load_config
from spikeloom.chip.learn_command import COMMAND_WORDS, WORD_BITS
from spikeloom.chip.learn_link import LearnHostError, LearnHostOp, header
from spikeloom.chip.learn_network import (
    INPUT,
    InputFormat,
    LearnError,
    LearnNetwork,
    Neuron,
    Recipe,
    Stage,
)
from spikeloom.chip.learn_program import FIELD, Operation, Queue
from spikeloom.compiler.learn_commands import learn_commands
from spikeloom.compiler.learn_tasks import learn_tasks
from spikeloom.hw.cosim.build import Build
from spikeloom.hw.cosim.errors import CosimError
from spikeloom.hw.cosim.learn_bench import BENCH_ROWS
from spikeloom.hw.cosim.verilated import VerilatedTransport
from spikeloom.hw.learn_driver import LearnDriver
from spikeloom.hw.transport import HostLinkError
from spikeloom.learn_comparing import Stalls
from spikeloom.learn_verifying import build_learn_bench, verify_steps
from tests.support.learn_rtl import batches, random_case, start, tiny_conv, tiny_mlp

pytestmark = pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in ("g++", "make", "perl")),
    reason="building the Verilog's simulator needs g++, make and perl",
)
RECIPE = Recipe(timesteps=3, batch=4)


@pytest.fixture(scope="module")
def build() -> Build:
    return build_learn_bench(load_config("h2learn_small"))


CASES: dict[str, tuple[LearnNetwork, dict[str, Any], Stalls]] = {
    "mlp": (tiny_mlp(), {}, Stalls()),
    "mlp, signed images": (tiny_mlp(5, signed=True), {"loss": "mse"}, Stalls(7, 100)),
    "mlp, spikes in": (
        tiny_mlp(1, constant=False), {"readout": "membrane", "readout_leak": 0.5}, Stalls(4711, 30),
    ),
    "mlp, weight decay": (
        tiny_mlp(8), {"timesteps": 1, "batch": 1, "weight_decay": 0.01, "momentum": 0.0}, Stalls(1, 200),
    ),
    "conv": (tiny_conv(), {}, Stalls(3, 60)),
    "conv, mse": (tiny_conv(), {"timesteps": 2, "batch": 2, "loss": "mse", "readout": "membrane"}, Stalls()),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_two_steps_are_the_simulators(build, name):
    """Every row of memory, every task's start and end."""
    network, changes, stalls = CASES[name]
    recipe = replace(RECIPE, **changes)
    program = learn_tasks(load_config("h2learn_small"), network, recipe)
    given = batches(network, 2, recipe.batch, recipe.timesteps, seed=5)
    verification = verify_steps(program, start(network, 3), given, stalls=stalls, build=build)
    assert verification.ok, verification.difference
    assert verification.steps == 2
    assert verification.cycles > 1000
    assert verification.rows_stored > 100


@pytest.mark.parametrize("seed", range(12))
def test_steps_of_random_networks_are_the_simulators(build, seed):
    """Few of very many; benchmarks/learn_equality.py takes more of them, on other chips too."""
    case = random_case(np.random.default_rng(seed), load_config("h2learn_small"), side=3)
    verification = verify_steps(
        case.program,
        case.parameters,
        case.batches,
        stalls=case.stalls,
        stalls_seed=seed,
        build=build,
    )
    assert verification.ok, f"{verification.difference}; {case}"
    assert verification.steps == len(case.batches)


def test_sums_of_a_task_may_be_of_several_tasks_of_the_vector_unit(build):
    """Of an image that is the same in every timestep there are few sums, but membranes of all timesteps."""
    network = LearnNetwork(
        InputFormat((6, 3, 3), bits=2, scale=0.25),
        (
            Stage("hidden", (6, 3, 3), (6, 3, 10), (INPUT,), neuron=Neuron()),
            Stage(
                "second", (6, 3, 10), (2, 1, 8), (0,), kernel=(3, 3), stride=(3, 3), neuron=Neuron()
            ),
            Stage("readout", (1, 1, 16), (1, 1, 3), (1,)),
        ),
    )
    program = learn_tasks(load_config("h2learn_small"), network, Recipe(timesteps=5, batch=5))
    of_first = program.tasks[program.column("stage") == 0]
    operations = of_first[:, FIELD["operation"]].tolist()
    assert operations.count(Operation.FORWARD_SUMS) == 1
    assert operations.count(Operation.NEURONS) == 2
    found = verify_steps(program, start(network, 3), batches(network, 1, 5, 5, seed=5), build=build)
    assert found.ok, found.difference


def test_weights_that_the_backward_engine_cannot_keep_are_refused():
    """Each word of its weights has room for all channels, however few the layer has."""
    network = LearnNetwork(
        InputFormat((3, 3, 4), bits=2, scale=0.25),
        (
            Stage("hidden", (3, 3, 4), (3, 3, 8), (INPUT,), neuron=Neuron()),
            Stage("readout", (3, 3, 8), (1, 1, 16), (0,), kernel=(3, 3)),
        ),
    )
    recipe = Recipe(timesteps=2, batch=2)
    small, enough = (
        learn_tasks(
            load_config("h2learn_small").replace(buffers={"backward_weights": size}),
            network,
            recipe,
        )
        for size in (4096, 4608)
    )
    with pytest.raises(LearnError, match="at most 32 words of weights for the backward engine"):
        learn_commands(small)
    assert learn_commands(enough)


def test_an_overflow_moves_nothing(build):
    """A loss scale beyond what 16-bit gradients hold: the step is skipped on both sides."""
    network = tiny_mlp()
    recipe = replace(RECIPE, loss_scale=2.0**30)
    program = learn_tasks(load_config("h2learn_small"), network, recipe)
    parameters = start(network, 3)
    before = [weights.copy() for weights in parameters.weights]
    verification = verify_steps(program, parameters, batches(network, 2, 4, 3, seed=5), build=build)
    assert verification.ok, verification.difference
    for weights, old in zip(parameters.weights, before, strict=True):
        assert np.array_equal(weights, old)


def test_a_difference_is_found_and_named(build, monkeypatch):
    """A simulator that rounds differently in one place."""
    from spikeloom.sim.engines import vector

    network = tiny_mlp()
    program = learn_tasks(load_config("h2learn_small"), network, RECIPE)
    real = vector.time_sums

    def wrong(du: Any, form: Any, sums: Any, first: int, last: int) -> None:
        real(du, form, sums, first, last)
        sums[first:last] *= np.float32(2.0)

    monkeypatch.setattr(vector, "time_sums", wrong)
    found = verify_steps(program, start(network, 3), batches(network, 1, 4, 3, 5), build=build)
    assert not found.ok
    assert "time_sums of layer hidden, frame 0" in str(found.difference)
    assert found.rows[1][1].startswith("DIFFERENT: step 0")


def test_a_step_that_takes_too_long_tells_its_queues(build):
    network = tiny_mlp()
    program = learn_tasks(load_config("h2learn_small"), network, RECIPE)
    with pytest.raises(CosimError, match=r"did not end: .*cycle \d+, tasks ended: forward \d+"):
        verify_steps(
            program, start(network, 3), batches(network, 1, 4, 3, 5), build=build, most_cycles=900
        )


# ------------------------------------------------------------------------------------------- errors


class Chip:
    """A chip with the commands of a step in its queues."""

    def __init__(self, transport: VerilatedTransport) -> None:
        self.config = load_config("h2learn_small")
        self.transport = transport
        self.driver = LearnDriver(self.config, self.transport)
        self.commands = learn_commands(learn_tasks(self.config, tiny_mlp(), RECIPE))

    def load(self, queue: Queue, number: int, shift: int, bits: int, value: int) -> None:
        """Load the step with one field of a command changed."""
        commands = {q: words.copy() for q, words in self.commands.items()}
        word = sum(int(w) << WORD_BITS * n for n, w in enumerate(commands[queue][number]))
        word = word & ~(((1 << bits) - 1) << shift) | value << shift
        commands[queue][number] = [word >> WORD_BITS * n & 0xFFFFFFFF for n in range(COMMAND_WORDS)]
        self.driver.load(commands)

    def expect(self, error: LearnHostError, sentence: str) -> None:
        """The step stops and says why; then a good one runs."""
        with pytest.raises(HostLinkError, match=sentence):
            self.driver.step()
        assert self.driver.status().errors == 0
        self.driver.load(self.commands)
        assert self.driver.step().cycles > 1000


@pytest.fixture
def chip(build) -> Iterator[Chip]:
    with VerilatedTransport(build) as transport:
        yield Chip(transport)


DRAM_ROW = 4 + 12 * len(Queue) + 4 + 3  # behind the header, the buffer and the count of segments


def test_a_command_of_another_queue_stops_the_engines(chip):
    chip.load(Queue.UPDATE, 1, 0, 4, 1)
    chip.expect(LearnHostError.BAD_COMMAND, "came to a command of another queue")


def test_a_token_that_never_comes_is_noticed(chip):
    chip.load(Queue.VECTOR, 2, 4 + 12 * Queue.FORWARD, 12, 99)
    chip.expect(LearnHostError.NO_TOKEN, "wait for tokens that nobody is left to give")


def test_a_transfer_beyond_the_memory_is_not_asked_for(chip):
    chip.load(Queue.LOAD_FORWARD, 0, DRAM_ROW, 24, chip.config.learn.dram.rows - 1)
    chip.expect(LearnHostError.BEYOND_MEMORY, "reached beyond the memory")


def test_an_error_of_the_memory_stops_the_engines(chip):
    chip.load(Queue.LOAD_FORWARD, 0, DRAM_ROW, 24, BENCH_ROWS + 5)
    chip.expect(LearnHostError.MEMORY_ERROR, "the memory answered with an error")


def test_frames_that_are_wrong_harm_nothing(chip):
    """Each sets its bit, and is skipped to its end."""
    words = [1, 2, 3, 4]
    rows = chip.config.learn.dram.rows
    chip.driver.write(7, np.arange(16, dtype=np.uint8))
    for frame, error in (
        ([0], LearnHostError.BAD_OP),
        ([9, 1, 2], LearnHostError.BAD_OP),
        ([header(LearnHostOp.COMMANDS, 1), len(Queue), *words], LearnHostError.BAD_ADDRESS),
        ([header(LearnHostOp.COMMANDS, 65), 0, *words], LearnHostError.BAD_ADDRESS),
        ([header(LearnHostOp.COMMANDS, 1)], LearnHostError.TRUNCATED),
        ([header(LearnHostOp.COMMANDS, 1), 0], LearnHostError.TRUNCATED),
        ([header(LearnHostOp.COMMANDS, 1), 0, *words], LearnHostError.TRUNCATED),
        ([header(LearnHostOp.COMMANDS, 1), 0, *range(COMMAND_WORDS), 5], LearnHostError.OVERLONG),
        ([header(LearnHostOp.COMMANDS, 0), 0, 5], LearnHostError.OVERLONG),
        ([header(LearnHostOp.WRITE, 1), rows, *words], LearnHostError.BAD_ADDRESS),
        ([header(LearnHostOp.WRITE, 2), rows - 1, *words, *words], LearnHostError.BAD_ADDRESS),
        ([header(LearnHostOp.WRITE, 1), 9, 1, 2], LearnHostError.TRUNCATED),
        ([header(LearnHostOp.WRITE, 2), 9, *words], LearnHostError.TRUNCATED),
        ([header(LearnHostOp.WRITE, 1), 9, *words, 5, 6], LearnHostError.OVERLONG),
        ([header(LearnHostOp.READ, 1), rows, 3], LearnHostError.BAD_ADDRESS),
        ([header(LearnHostOp.RUN), 3, 4], LearnHostError.OVERLONG),
    ):
        chip.transport.send([frame])
        assert chip.driver.status().errors == error, frame
        assert chip.driver.status().errors == 0
    assert np.array_equal(chip.driver.read(7, 1)[0], np.arange(16))
    assert chip.driver.read(9, 1).view("<u4").tolist() == [words]
    chip.driver.load(chip.commands)
    assert chip.driver.step().cycles > 1000


def test_another_chip_is_refused(build):
    other = load_config("h2learn_small").replace(dram={"latency_cycles": 21})
    with VerilatedTransport(build) as transport, pytest.raises(HostLinkError, match="must be"):
        LearnDriver(other, transport).identify()
