"""The chip that a result is of: from the result itself, or the preset that has its name and its hash."""

from __future__ import annotations

from ..chip.config import ChipConfig, ConfigError, config_from_dict, load_config, preset_names
from .learn_result import LearnResult
from .result import ResultError, RunResult

__all__ = ["chip_of"]


def chip_of(result: RunResult | LearnResult) -> ChipConfig | None:
    """Return the chip's configuration; None if the result does not keep it and no preset is the same.

    Raises
    ------
    ResultError
        If the result keeps a configuration that is none, or that is not the one of its hash.
    """
    if result.configuration is not None:
        try:
            found = config_from_dict(result.configuration, where="the result's configuration")
        except ConfigError as error:
            raise ResultError(str(error)) from None
        if found.config_hash != result.config_hash:
            raise ResultError(
                f"the result's configuration has the hash {found.config_hash}, the result says {result.config_hash}; "
                "run the program again"
            )
        return found
    if result.chip not in preset_names():
        return None
    preset = load_config(result.chip)
    return preset if preset.config_hash == result.config_hash else None
