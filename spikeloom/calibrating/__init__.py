"""`calibrate`: presets beside the chips that they follow, and the acceptance checks of both halves, run.

Nothing is taken from a file but what others published: every number of ours is simulated, compiled or priced when the
command runs.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import cast

from ..chip.config import ChipConfig
from ..errors import InputError
from ..reports.calibration import (
    PUBLISHED_TABLES,
    Beside,
    Calibration,
    Check,
    Half,
    load_published,
)
from ..reports.calibration_page import calibration_markdown, calibration_page
from ..reports.learn_area import load_learn_tables
from ..reports.result import write_whole

__all__ = ["HALVES", "calibrate", "check_names", "check_page_name", "save_calibration"]

HALVES: tuple[Half, ...] = ("many_core", "learn")
_WRITERS = {".html": calibration_page, ".md": calibration_markdown}
_NOTES = (
    "Where a number that binds misses its bounds the command leaves with exit code 1; the reason stands beside it.",
    "A number that does not bind is within or outside what is published, and no verdict follows.",
    "The full texts of the papers were not available: figures are those of abstracts, notes and pages, as each says.",
)


def calibrate(
    half: str | None = None,
    *,
    only: Sequence[str] = (),
    steps: int = 40,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
    command: str = "spikeloom.calibrate",
) -> Calibration:
    """Run the acceptance checks of a half of the chip, or of both, and lay the presets beside published figures.

    Parameters
    ----------
    half
        ``many_core`` (preset ``tianjic``), ``learn`` (preset ``h2learn``), or None for both.
    only
        Names of checks, such as ``T3``; then figures are not laid beside each other.
    steps
        Training steps of check H8, at least 1.
    seed
        Of everything that is drawn at random.
    progress
        Called with what is being done.

    Returns
    -------
    Calibration
        ``ok`` is false where a check that binds was missed.

    Raises
    ------
    InputError, CalibrationError, CostError
        Sentences: no such half or check, a table of published figures or costs that is wrong.
    """
    if half is not None and half not in HALVES:
        raise InputError(f"half must be one of {', '.join(HALVES)}, not {half!r}")
    if steps < 1:
        raise InputError(f"steps must be at least 1, not {steps!r}")
    halves = HALVES if half is None else (cast(Half, half),)
    wanted = _wanted(halves, only)
    say = progress or (lambda _what: None)
    checks: list[Check] = []
    beside: dict[Half, tuple[Beside, ...]] = {}
    hashes: dict[str, str] = {}
    costs: dict[str, str] = {}
    for name in halves:
        side = _side(name, seed, steps, say)
        hashes[PUBLISHED_TABLES[name][1]] = side.config.config_hash
        tables = load_learn_tables(side.config.node_nm)
        for table in (tables.many_core, tables.area, tables.learn):
            costs[table.name] = table.table_hash
        for check_name in (known for known in side.checks if known in wanted):
            say(f"{check_name}, check {len(checks) + 1} of {len(wanted)}")
            started = time.perf_counter()
            found = side.checks[check_name]()
            checks.append(found.model_copy(update={"seconds": time.perf_counter() - started}))
        if not only:
            say(f"{name}: published figures")
            beside[name] = side.beside()
    return Calibration(
        beside=beside,
        checks=tuple(checks),
        notes=_NOTES,
        provenance={
            "spikeloom": _version(), "command": command, "config_hash": hashes, "costs": costs, "seed": seed,
            "steps": steps,
            "python": platform.python_version(),
        },
    )  # fmt: skip


def check_names(half: str | None = None) -> tuple[str, ...]:
    """Return the names of the checks of a half, or of both, in their order."""
    from .cores import CORE_CHECKS
    from .engines import ENGINE_CHECKS

    names = {"many_core": tuple(CORE_CHECKS), "learn": tuple(ENGINE_CHECKS)}
    return names[half] if half is not None else names["many_core"] + names["learn"]


def save_calibration(result: Calibration, path: str | Path) -> None:
    """Write a page: HTML, or Markdown where the file's name ends in ``.md``.

    Raises
    ------
    InputError
        For another ending.
    """
    check_page_name(path)
    write_whole(path, _WRITERS[Path(path).suffix](result))


def check_page_name(path: str | Path) -> None:
    """Check that a page can be written under a name; InputError says which endings there are."""
    if Path(path).suffix not in _WRITERS:
        raise InputError(
            f"a page's name must end in {' or '.join(_WRITERS)}, not {Path(path).name!r}"
        )


@dataclass(frozen=True)
class _Side:
    """What is to be run for one half."""

    config: ChipConfig
    checks: dict[str, Callable[[], Check]]
    beside: Callable[[], tuple[Beside, ...]]


def _side(half: Half, seed: int, steps: int, say: Callable[[str], None]) -> _Side:
    """Import what a half needs, and no more: the other half's kernels stay where they are."""
    published = load_published(PUBLISHED_TABLES[half][0])
    if half == "many_core":
        from .cores import CORE_CHECKS, CoreProbes, beside_tianjic

        cores = CoreProbes(published, seed)
        checks = {name: partial(check, cores) for name, check in CORE_CHECKS.items()}
        return _Side(cores.adaptive, checks, partial(beside_tianjic, cores))
    from .engines import ENGINE_CHECKS, EngineRuns, beside_h2learn

    engines = EngineRuns(published, seed, steps, say)
    checks = {name: partial(check, engines) for name, check in ENGINE_CHECKS.items()}
    return _Side(engines.chip, checks, partial(beside_h2learn, engines))


def _wanted(halves: Sequence[Half], only: Sequence[str]) -> set[str]:
    """Return the names of the checks to run; InputError names those there are."""
    known = [name for half in halves for name in check_names(half)]
    unknown = sorted(set(only) - set(known))
    if unknown:
        raise InputError(f"there is no check {', '.join(unknown)}; there are {', '.join(known)}")
    return set(only or known)


def _version() -> str:
    try:
        return version("spikeloom")
    except PackageNotFoundError:
        return "unknown"
