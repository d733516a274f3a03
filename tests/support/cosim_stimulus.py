"""Random programs and inputs for the chips of `cosim_chips`, from a seed."""

from __future__ import annotations

import numpy as np

from spikeloom.chip.config import ChipConfig

from .cosim_simulator import Simulated
from .random_program import random_program

# (inputs, fan-out): little traffic, some, more than the network on chip can carry at once.
TRAFFIC = ((6, 3), (14, 5), (40, 16))
SAMPLES = 2


def draw(config: ChipConfig, seed: int, traffic: tuple[int, int] | None = None) -> Simulated:
    """Draw a program and samples for it; every third seed holds its inputs."""
    rng = np.random.default_rng(seed)
    inputs, fan_out = traffic or TRAFFIC[seed % len(TRAFFIC)]
    program = random_program(rng, config, inputs, fan_out)
    timesteps = int(rng.integers(3, 8))
    held = bool(rng.random() < 1 / 3)
    top = 1 << config.many_core.core.activation_bits
    shape = (SAMPLES, 1 if held else timesteps, inputs)
    payloads = rng.integers(0, top, shape) * (rng.random(shape) < rng.choice([0.2, 0.6, 1.0]))
    return Simulated(program, payloads.astype(np.int32), timesteps)
