"""Which configurations the RTL carries: those whose every product the simulator holds in 64 bits."""

from __future__ import annotations

from ..chip.config import ChipConfig, ConfigError

# A sum shifted by up to 7 (RELU and TABLE, chip/program.py) with a bias, times a factor; a membrane times a decay.
_SHIFTED_SUM_BITS = 9
_MEMBRANE_BITS = 2
_MOST_BITS = 63


def check_carried(config: ChipConfig) -> None:
    """Raise `ConfigError` with a sentence if the RTL cannot be built so that it equals the simulator."""
    core = config.many_core.core
    for name, bits, extra in (
        ("accumulator_bits", core.accumulator_bits, _SHIFTED_SUM_BITS),
        ("membrane_bits", core.membrane_bits, _MEMBRANE_BITS),
    ):
        most = _MOST_BITS - extra
        if bits + core.decay_bits > most:
            raise ConfigError(
                f"the RTL cannot carry {config.name}: {name} + decay_bits must be at most {most}, "
                f"not {bits} + {core.decay_bits}; products beyond would exceed the simulator's 64 bits"
            )
