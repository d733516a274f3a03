"""The presets that have a many-core."""

from __future__ import annotations

from spikeloom.chip.config import load_config, preset_names

MANY_CORE_PRESETS = tuple(n for n in preset_names() if load_config(n).many_core_half is not None)
