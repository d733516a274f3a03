"""The vector unit's microprograms, interpreted, against the simulator's kernels bit for bit; their cycles, counted."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

from spikeloom.chip import learn_rules as rules
from spikeloom.chip.learn_config import LearnConfig
from spikeloom.chip.learn_microcode import (
    FIXED,
    Counter,
    Form,
    Loop,
    Program,
    Slots,
    assemble,
    channel_sums,
    neuron_gradients,
    neurons,
    norm_finish,
    norm_gradients,
    norm_sums,
    time_sums,
)
from spikeloom.chip.learn_program import Operation
from spikeloom.chip.learn_vector import program_cycles
from spikeloom.sim.engines import vector
from spikeloom.sim.engines.rounding import FORM, round_array
from tests.support.golden_learn import bits_of
from tests.support.learn_networks import learn_chip
from tests.support.vector_cases import ARRAYS, Cases
from tests.support.vector_machine import Floats, VectorMachine, Work

pytestmark = pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT", "0") != "0", reason="vector instructions need the compiler"
)

F = np.float32
NONE = np.zeros(0, F)


def run(config: LearnConfig, program: Program, work: Work, outs: dict[int, Floats]) -> None:
    """Interpret a program; its cycles must be what the closed form says."""
    machine = VectorMachine(
        config.vector.width, config.vector_slots, config.vector.partials, config.operands
    )
    machine.run(program, work, outs)
    assert machine.cycles == program_cycles(
        config,
        program,
        work.samples,
        work.timesteps,
        work.positions,
        work.channels,
        config.vector.partials,
    )


def assert_same(ours: Floats, wanted: Floats, what: str = "") -> None:
    np.testing.assert_array_equal(bits_of(ours), bits_of(wanted), err_msg=what)


def test_constants_are_those_of_the_rules():
    values = [
        1.0, -0.0, 0.0, rules._LOWEST, rules._LOG2_E, rules._LN2_HIGH, rules._LN2_LOW, 1.5 * 2**23,
        rules._C7, rules._C6, rules._C5, rules._C4, rules._C3, rules._C2, -np.inf,
    ]  # fmt: skip
    assert [int(np.float32(v).view(np.uint32)) for v in values] == list(FIXED)


def config_of(rng: np.random.Generator, operands: str, partials: int | None = None) -> LearnConfig:
    adder, multiplier = int(rng.integers(1, 5)), int(rng.integers(1, 4))
    some = {
        "width": int(rng.choice([1, 3, 4, 8, 64])),
        "partials": partials or int(rng.choice([1, 2, 8, 16])),
    }
    return learn_chip(
        vector=some, operands=operands, adder_stages=adder, multiplier_stages=multiplier
    ).learn


@pytest.mark.parametrize("operands", ["fp16", "bf16", "fp32"])
@pytest.mark.parametrize("operation", list(ARRAYS))
def test_programs_equal_the_kernels(operation, operands):
    for seed in range(15):
        cases = Cases([seed, operation], operands)
        case = cases.draw(operation, specials=operation != Operation.READOUT)
        outs = {n: np.full_like(array, -7) for n, array in enumerate(case.outs)}
        run(config_of(cases.rng, operands), case.program, case.work, outs)
        for n, wanted in enumerate(case.outs):
            assert_same(outs[n], wanted, f"seed {seed}, array {n}")


class Layer:
    """A layer with a norm, and what the kernels make of it; arrays (samples, timesteps, positions * channels)."""

    def __init__(self, seed: Any, operands: str) -> None:
        self.cases = cases = Cases(seed, operands)
        cases.specials = False
        rng = cases.rng
        self.config = config_of(rng, operands)
        self.operands, self.form = operands, FORM[operands]
        self.samples, self.timesteps, self.positions = (int(n) for n in rng.integers(1, 5, 3))
        self.channels = int(rng.integers(1, 20))
        self.padded = cases._padded(self.channels)
        self.shape = self.samples, self.timesteps, self.positions * self.channels
        self.frames = self.samples * self.timesteps
        # Of each channel: bias, mean, inverse deviation, gain, beta, factor, mean gradient, mean product.
        self.vectors = {n: cases.values(self.channels, operand=False) for n in range(8)}

    def values(self, *, operand: bool = True) -> Floats:
        return self.cases.values(*self.shape, operand=operand)

    def memory(self, values: Floats) -> Floats:
        return self.cases.memory(values, self.channels)

    def empty(self, frames: int | None = None) -> Floats:
        return np.full((frames or self.frames, self.positions * self.padded), -7, F)

    def vector(self, n: int) -> Floats:
        return np.pad(self.vectors[n], (0, self.padded - self.channels))[None]

    def work(self, constants: tuple[Any, ...] = (), **rest: Any) -> Work:
        return self.cases._work(
            self.samples, self.timesteps, self.positions, self.channels, constants=constants, **rest
        )

    def flat(self, values: Floats) -> Floats:
        return values.reshape(-1, self.channels)

    def rounded(self, values: Floats) -> Floats:
        return round_array(values, self.operands)


def layers(operands: str, count: int = 12) -> list[Layer]:
    return [Layer([seed, len(operands), ord(operands[0])], operands) for seed in range(count)]


@pytest.mark.parametrize("norm", [None, "frozen", "batch"])
@pytest.mark.parametrize("operands", ["fp16", "bf16"])
def test_neurons_behind_bias_norm_and_shortcut(operands, norm):
    for layer in layers(operands):
        rng = layer.cases.rng
        bias, fires = bool(rng.random() < 0.5), bool(rng.random() < 0.7)
        shortcut = [None, Form.BITS, Form.OPERANDS][int(rng.integers(3))] if fires else None
        scale, leak, threshold, half = F(0.3), F(0.25), F(0.25), F(0.5)
        raw = layer.values(operand=False)
        y = raw.copy()
        rounds = norm is not None or not fires
        vector.finish_sums(
            layer.flat(y),
            scale,
            layer.vectors[0],
            bias,
            layer.form,
            rounds,
            0,
            y.size // layer.channels,
        )
        x = y.copy()
        if norm is not None:
            mean, inverse, gain, beta = (layer.vectors[n] for n in range(1, 5))
            vector.norm_forward(
                layer.flat(y), mean, inverse, gain, beta, layer.flat(x), 0, y.size // layer.channels
            )
            if not fires:
                x = layer.rounded(x)
        other = layer.values()
        if shortcut == Form.BITS:
            other = (other > 0).astype(F)
        ins = {1: layer.vector(0), 2: layer.memory(other)} | {
            n: layer.vector(n - 2) for n in range(3, 7)
        }
        if norm == "batch":
            ins[0] = layer.memory(y)
        outs = {n: layer.empty() for n in range(4)}
        work = layer.work((scale, leak, threshold, half), sums=layer.memory(raw), ins=ins)
        run(layer.config, neurons(bias=bias, norm=norm, shortcut=shortcut, fires=fires), work, outs)
        if norm == "frozen":
            assert_same(outs[3], layer.memory(y))
        if not fires:
            assert_same(outs[0], layer.memory(x))
            continue
        u, s = np.zeros(layer.shape, F), np.zeros(layer.shape, np.uint8)
        vector.neuron_forward(
            x,
            False,
            other,
            shortcut is not None,
            leak,
            threshold,
            layer.form,
            u,
            s,
            0,
            layer.samples,
        )
        for n, wanted in enumerate((u, s.astype(F), np.abs(u - threshold) < half)):
            assert_same(outs[n], layer.memory(np.asarray(wanted, F)), f"array {n}")


@pytest.mark.parametrize("operands", ["fp16", "bf16"])
def test_gradients_of_several_users_and_through_a_frozen_norm(operands):
    for layer in layers(operands):
        rng = layer.cases.rng
        pools = [int(n) for n in rng.choice([1, 2], int(rng.integers(0, 4)))]
        fires, norm = bool(rng.random() < 0.7), bool(rng.random() < 0.5)
        leak, threshold, half, height = F(0.25), F(0.25), F(0.5), F(0.75)
        sizes = [F(1 / pool**2) for pool in pools]
        g = np.zeros(layer.shape, F)
        ins = {1: layer.memory(u := layer.values()), 3: layer.memory(layer.values())}
        ins |= {n: layer.vector(n - 3) for n in range(4, 6)} | {6: layer.vector(5)}
        for n, size in enumerate(sizes):
            term = layer.values()
            g = term * size if n == 0 else g + term * size
            ins[n + 7 if n else 0] = layer.memory(term)
        if fires:
            du = np.zeros_like(g)
            vector.neuron_backward(
                g, u, threshold, half, leak, height, layer.form, du, 0, layer.samples
            )
        else:
            du = layer.rounded(g)
        if norm:
            du = layer.rounded((layer.flat(du) * layer.vectors[5]).reshape(layer.shape))
        outs = {0: layer.empty()}
        constants = (leak, threshold, half, height, *sizes)
        run(
            layer.config,
            neuron_gradients(pools, fires=fires, norm=norm),
            layer.work(constants, ins=ins),
            outs,
        )
        assert_same(outs[0], layer.memory(du))


@pytest.mark.parametrize("operands", ["fp16", "bf16"])
def test_norm_gradients_also_of_time_sums(operands):
    for layer in layers(operands):
        du, y = layer.values(), layer.values()
        ins = {0: layer.memory(du), 3: layer.memory(y)}
        ins |= {n: layer.vector(n - 3) for n in (4, 5)} | {
            n: layer.vector(n - 1) for n in (6, 7, 8)
        }
        outs = {0: layer.empty()}
        run(layer.config, norm_gradients(), layer.work(ins=ins), outs)
        mean, inverse, factor, mean_du, mean_product = (layer.vectors[n] for n in (1, 2, 5, 6, 7))
        wanted, hats = du.copy(), np.zeros_like(y)
        positions = y.size // layer.channels
        vector.norm_hats(layer.flat(y), mean, inverse, layer.flat(hats), 0, positions)
        vector.norm_backward(
            layer.flat(wanted),
            layer.flat(hats),
            factor,
            mean_du,
            mean_product,
            layer.form,
            0,
            positions,
        )
        assert_same(outs[0], layer.memory(wanted))

        sums = np.zeros((layer.samples, layer.shape[2]), F)
        vector.time_sums(du, layer.form, sums, 0, layer.samples)
        through = layer.rounded((layer.flat(sums) * factor).reshape(sums.shape))
        hats = np.ascontiguousarray(hats[:, 0])  # of a constant input there is one frame
        positions = sums.size // layer.channels
        vector.norm_backward(
            layer.flat(sums),
            layer.flat(hats),
            factor,
            mean_du,
            mean_product,
            layer.form,
            0,
            positions,
        )
        ins[3] = layer.memory(y[:, :1])
        for norm, expected in (("batch", sums), ("frozen", through)):
            outs = {0: layer.empty(layer.samples)}
            run(layer.config, time_sums(norm=norm), layer.work(ins=ins), outs)
            assert_same(outs[0], layer.memory(expected[:, None]))


def in_order(parts: Floats, channels: int) -> Floats:
    total = np.zeros(parts.shape[1], F)
    for part in parts:
        total = total + part
    return total[:channels]


@pytest.mark.parametrize("operands", ["fp16", "bf16"])
def test_sums_of_channels(operands):
    for layer in layers(operands):
        du, y = layer.values(), layer.values()
        partials = layer.config.vector.partials
        parts = {n: np.zeros((partials, layer.padded), F) for n in (6, 7)}
        ins = {
            0: layer.memory(du),
            3: layer.memory(y),
            4: layer.vector(1),
            5: layer.vector(2),
            **parts,
        }
        for norm in (False, True):
            outs = {n: np.full((partials, layer.padded), -7, F) for n in (2, 3)}
            run(layer.config, channel_sums(norm=norm), layer.work(ins=ins), outs)
            hats, sums, products = np.zeros_like(y), *np.zeros((2, layer.channels), F)
            vector.norm_hats(
                layer.flat(y),
                layer.vectors[1],
                layer.vectors[2],
                layer.flat(hats),
                0,
                y.size // layer.channels,
            )
            vector.channel_sums(
                layer.flat(du), layer.flat(hats), True, partials, 0, layer.channels, sums, products
            )
            assert_same(in_order(outs[2], layer.channels), sums)
            if norm:
                assert_same(in_order(outs[3], layer.channels), products)


@pytest.mark.parametrize("operands", ["fp16", "bf16"])
def test_statistics_of_a_norm(operands):
    for layer in layers(operands):
        raw, scale = layer.values(operand=False), F(0.3)
        bias = bool(layer.cases.rng.random() < 0.5)
        partials, count = layer.config.vector.partials, raw.size // layer.channels
        y = raw.copy()
        vector.finish_sums(layer.flat(y), scale, layer.vectors[0], bias, layer.form, True, 0, count)
        sums, squares = np.zeros((2, layer.channels), F)
        vector.channel_sums(
            layer.flat(y), layer.flat(y), False, partials, 0, layer.channels, sums, squares
        )
        parts = {n: np.zeros((partials, layer.padded), F) for n in (6, 7)}
        outs = {0: layer.empty()} | {n: np.full((partials, layer.padded), -7, F) for n in (2, 3)}
        work = layer.work((scale,), sums=layer.memory(raw), ins={1: layer.vector(0), **parts})
        run(layer.config, norm_sums(bias=bias), work, outs)
        assert_same(outs[0], layer.memory(y))
        for n, wanted in ((2, sums), (3, squares)):
            assert_same(in_order(outs[n], layer.channels), wanted)

        finished = {n: np.full((1, layer.padded), -7, F) for n in range(3)}
        epsilon = 1e-5
        finish = Work(
            1,
            1,
            1,
            layer.channels,
            layer.padded,
            (F(1) / F(count), F(epsilon)),
            ins={0: outs[2], 1: outs[3]},
        )
        run(layer.config, norm_finish(), finish, finished)
        for n, wanted in enumerate(vector.finish_statistics(sums, squares, count, epsilon)):
            assert_same(finished[n][0, : layer.channels], wanted, f"array {n}")


def test_a_loop_that_ends_with_another_is_refused():
    step = assemble(neurons())[0].instruction
    inner = Loop(Counter.TIME, (step,))
    with pytest.raises(ValueError, match="a loop must end with an instruction of its own"):
        assemble(Program("wrong", (Loop(Counter.WORD, (step, inner)),), Slots.SAMPLES))
    with pytest.raises(ValueError, match="wrong: a loop must end"):
        assemble(Program("wrong", (Loop(Counter.WORD, ()),)))
