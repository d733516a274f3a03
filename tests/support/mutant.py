"""Modules with one seeded fault: what a check must find, or it checks nothing."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType


def mutant(module: ModuleType, old: str, new: str) -> ModuleType:
    """Return ``module`` as it were if ``new`` stood in its text where ``old`` does, in one place."""
    assert module.__file__
    text = Path(module.__file__).read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {module.__name__}"
    copy = ModuleType(module.__name__)
    copy.__package__ = module.__package__
    copy.__file__ = module.__file__
    exec(compile(text.replace(old, new), module.__file__, "exec"), copy.__dict__)
    return copy
