"""Compilation of kernels: the only place that imports numba, and the compiled twins of the chip's arithmetic."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from types import FunctionType, ModuleType, SimpleNamespace
from typing import Any

import numba
from numba.core import config as _config

from ..chip import arithmetic as _rules

NUMBA_VERSION: str = numba.__version__

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def _use_cache() -> bool:
    """Point numba's disk cache to a folder named after the sources. Returns whether there is one.

    Numba does not notice that a kernel which another file calls has changed; a folder per state of chip/ and sim/
    cannot be stale.
    """
    if _config.DISABLE_JIT:  # pyright: ignore[reportAttributeAccessIssue] - numba sets it when it is imported
        return False
    if "NUMBA_CACHE_DIR" in os.environ:
        return True
    here = Path(__file__).resolve().parent
    digest = hashlib.sha256()
    for path in sorted([*here.rglob("*.py"), *Path(_rules.__file__).resolve().parent.glob("*.py")]):
        digest.update(path.read_bytes())
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = base / "spikeloom" / f"kernels-{digest.hexdigest()[:16]}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):
        return False
    _config.CACHE_DIR = str(folder)  # pyright: ignore[reportAttributeAccessIssue] - as above
    return os.access(folder, os.W_OK)


# No fast maths. Kernels release the lock, so that Python threads run samples in parallel.
_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "cache": _use_cache()}

jit: Decorator = numba.njit(**_OPTIONS)

# For the small functions of the innermost loops: inlined, since passing a tuple of arrays costs more than they do
# (measured: 10 times the cycles a second of the whole simulator).
jit_inline: Decorator = numba.njit(inline="always", **_OPTIONS)


def compile_rules(rules: ModuleType, compiler: Decorator = jit) -> SimpleNamespace:
    """Compile every function of a module of chip/, calls between them included."""
    namespace = dict(vars(rules))
    for name, function in vars(rules).items():
        if isinstance(function, FunctionType):
            twin = FunctionType(function.__code__, namespace, name, function.__defaults__)
            twin.__module__ = __name__
            twin.__qualname__ = name
            namespace[name] = compiler(twin)
    return SimpleNamespace(**namespace)


arithmetic = compile_rules(_rules)
