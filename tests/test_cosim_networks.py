"""The shipped networks on real digits: the Verilog and the simulator agree in every event and cycle."""

from __future__ import annotations

import pytest

import spikeloom
from spikeloom.models.datasets import load_mnist
from spikeloom.models.zoo import ZOO, load_zoo_samples, path

from .support.cosim_chips import chip

DIGITS = 3


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
