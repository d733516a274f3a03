"""The vector unit's RTL against the simulator's kernels, bit for bit, and against the closed form of its cycles."""

from __future__ import annotations

import os

import numpy as np
import pytest

from spikeloom.chip.formats import FP32
from spikeloom.chip.learn_microcode import Serial, assemble, neurons, norm_finish
from spikeloom.chip.learn_program import Operation
from spikeloom.chip.learn_vector import DIVIDE_CYCLES, ROOT_CYCLES, program_cycles, vector_fill
from spikeloom.hw.engines.vector import VectorEngine, instruction_word
from spikeloom.hw.fp.divider import divide_cycles
from spikeloom.hw.fp.root import root_cycles
from tests.support.golden_learn import bits_of
from tests.support.learn_networks import learn_chip
from tests.support.vector_bench import VectorBench
from tests.support.vector_cases import ARRAYS, Case, Cases
from tests.support.vector_machine import VectorMachine

pytestmark = pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT", "0") != "0", reason="vector instructions need the compiler"
)

# A format, and stages of multiplier and adder; the first is a chip's default.
FORMS = [("fp16", 2, 3), pytest.param(("bf16", 1, 1), marks=pytest.mark.slow)]


@pytest.fixture(scope="module", params=FORMS, ids=str)
def bench(request):
    operands, multiplier, adder = request.param
    return VectorBench(
        learn_chip(
            vector={"width": 4}, operands=operands, multiplier_stages=multiplier, adder_stages=adder
        ).learn
    )


def check(bench: VectorBench, cases: list[Case], seed: int = 0) -> None:
    """All arrays, nothing else, in so many cycles."""
    for case, done in zip(cases, bench.run(cases, seed), strict=True):
        work = case.work
        what = f"{case.operation.name}, {work.samples} samples, {work.timesteps} timesteps, "
        what += f"{work.positions} positions, {work.channels} channels"
        for n, wanted in enumerate(case.outs):
            np.testing.assert_array_equal(
                bits_of(done.outs[n]), bits_of(wanted), f"{what}: array {n}"
            )
        assert done.is_clean, what
        cycles = program_cycles(
            bench.config, case.program, work.samples, work.timesteps, work.positions, work.channels
        )
        assert done.cycles == cycles + vector_fill(bench.config), what


@pytest.mark.parametrize("operation", list(ARRAYS))
def test_operations_equal_the_kernels(bench, operation):
    is_readout: bool = operation == Operation.READOUT  # of which the kernels define no NaN
    drawn = [Cases([seed, operation], bench.config.operands) for seed in range(60)]
    cases = [each.draw(operation, specials=not is_readout) for each in drawn]
    check(bench, cases, seed=operation)


def test_frames_of_many_rows_and_many_classes(bench):
    drawn = Cases(5, bench.config.operands)
    cases = [
        drawn.draw(operation, samples=3, timesteps=5, positions=49, channels=13)
        for operation in ARRAYS
        if operation != Operation.READOUT
    ]
    # More samples than slots; classes that leave a word without any, and fill the last.
    cases += [
        drawn.draw(Operation.READOUT, specials=False, samples=19, channels=n) for n in (1, 4, 10, 100, 128)
    ]  # fmt: skip
    cases += [drawn.draw(Operation.NEURONS, samples=70, positions=1, channels=n) for n in (8, 9)]
    check(bench, cases)


def test_a_readout_of_infinities_equals_the_interpreter(bench):
    config, cases = bench.config, []
    for seed in range(40):
        case = Cases([seed, 1], config.operands).draw(Operation.READOUT)
        machine = VectorMachine(4, config.vector_slots, config.vector.partials, config.operands)
        outs = {n: np.zeros_like(array) for n, array in enumerate(case.outs)}
        machine.run(case.program, case.work, outs)
        case.outs = list(outs.values())
        cases.append(case)
    assert any(np.isnan(case.outs[0]).any() for case in cases)
    check(bench, cases)


def test_serial_units_take_what_the_closed_form_counts():
    assert divide_cycles(FP32) == DIVIDE_CYCLES
    assert root_cycles(FP32) == ROOT_CYCLES


def test_what_the_rtl_does_not_carry_is_refused():
    with pytest.raises(ValueError, match="operands of 16 bits, not fp32"):
        VectorEngine(learn_chip(vector={"width": 4}, operands="fp32").learn)
    # Words of a channel's vector; a root.
    for step, what in (
        (assemble(neurons(bias=True))[1], "no vectors of channels"),
        (
            next(s for s in assemble(norm_finish()) if s.instruction.serial == Serial.ROOT),
            "nor roots",
        ),
    ):
        with pytest.raises(ValueError, match=what):
            instruction_word(step, 0, is_last=False)
