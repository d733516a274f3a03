"""Compiled networks on the Verilog: it agrees with the simulator, and so with the integer reference, in every cycle."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

import spikeloom
from spikeloom.chip.arithmetic import Compare, NeuronKind, ResetMode, ResetTiming
from spikeloom.compiler.graph import Input, Network, Projection, uniform_population
from spikeloom.compiler.pipeline import compile_network
from spikeloom.models.datasets import load_mnist
from spikeloom.models.zoo import ZOO, load_zoo_samples, path

from .support.cosim_chips import chip, verilog

DIGITS = 3


def small_network(rng: np.random.Generator) -> Network:
    """Draw a network for the tiny cores of the chip `grid`: more inputs than axons, a loop, a delay, a readout."""

    def dense(targets: int, sources: int) -> sparse.csr_array:
        return sparse.csr_array(
            rng.normal(0, 0.6, (targets, sources)) * (rng.random((targets, sources)) < 0.7)
        )

    sizes = {"first": 7, "second": 5, "readout": 3}
    kinds = {
        "first": NeuronKind.LIF,
        "second": NeuronKind.CUBA_LIF,
        "readout": NeuronKind.INTEGRATOR,
    }
    populations = tuple(
        uniform_population(
            name, kinds[name], (size,), decay_mem=0.8, decay_syn=0.6, threshold=rng.uniform(0.3, 0.8, size),
            bias=rng.normal(0, 0.05, size), reset_mode=ResetMode.SUBTRACT, reset_timing=ResetTiming.NEXT,
            compare=Compare.GT,
        )
        for name, size in sizes.items()
    )  # fmt: skip
    projections = (
        Projection("in", "first", dense(7, 13)),
        Projection("first", "second", dense(5, 7)),
        Projection("second", "second", dense(5, 5), 1),
        Projection("first", "readout", dense(3, 7), 1),
        Projection("second", "readout", dense(3, 5)),
    )
    return Network((Input("in", (13,)),), populations, projections, ("readout",))


@pytest.mark.parametrize("seed", range(3))
def test_small_networks_are_equal(seed):
    rng = np.random.default_rng(seed)
    values = rng.random((4, 12, 13)) * (rng.random((4, 12, 13)) < 0.5)
    program = compile_network(small_network(rng), chip("grid"), calibration=values).program
    assert program.core_count > 4
    assert any(layer.partial_cores for layer in program.layers)
    found = spikeloom.verify(program, {"inputs": values}, verilog=verilog("grid"))
    assert found.ok, str(found.difference)
    assert found.samples == 4
    assert found.transfers > 500


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(ZOO))
def test_shipped_networks_are_equal_on_real_digits(name):
    item = ZOO[name]
    training = load_mnist("train").inputs[:128].reshape(-1, *item.input_shape)
    compilation = spikeloom.compile(
        path(name), chip("networks"), convention="nir", calibrate={"inputs": training},
        timesteps=item.timesteps, encode=item.encoder,
    )  # fmt: skip
    found = spikeloom.verify(
        compilation.program, {"inputs": load_zoo_samples(name, DIGITS).inputs}, timesteps=item.timesteps,
        encode=item.encoder, samples=DIGITS,
    )  # fmt: skip
    assert found.ok, str(found.difference)
    assert found.samples == DIGITS
    assert found.cycles > 1000 * DIGITS
