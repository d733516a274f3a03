"""`diff`: what changed between two result files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .errors import InputError
from .reports.diff import Difference, DiffRow, compare_results
from .reports.learn_result import LearnResult
from .reports.result import RunResult, load_result
from .showing import Table

Result = RunResult | LearnResult


def diff(
    a: str | Path | Result,
    b: str | Path | Result,
    *,
    tolerance: float | str = 0.0,
    only: Sequence[str] = (),
) -> Difference:
    """Compare two results of `run`, or two of `train`; rows are matched by the names of layers, cores and events.

    Parameters
    ----------
    a, b
        Result files, or results; changes are relative to ``a``.
    tolerance
        Largest relative change that counts as equal: a number, or text as ``"1%"``.
    only
        Fields to compare, as ``"energy_j"``, ``"layers.spikes"`` or ``"layers[fc1].spikes"``; all by default.

    Raises
    ------
    InputError, ResultError
        A file cannot be read or is of another version, the results are of different kinds, a field does not exist,
        or the tolerance is no share.
    """
    share = tolerance if isinstance(tolerance, float | int) else parse_share(tolerance)
    results = [item if isinstance(item, Result) else load_result(item) for item in (a, b)]
    return compare_results(results[0], results[1], tolerance=share, only=only)


def parse_share(text: str) -> float:
    """Return the number that ``1%`` or ``0.01`` stands for.

    Raises
    ------
    InputError
        It is neither, or negative.
    """
    try:
        share = float(text.removesuffix("%")) / (100.0 if text.endswith("%") else 1.0)
    except ValueError:
        share = -1.0
    if not 0 <= share < float("inf"):
        raise InputError(f"the tolerance must be a share such as 1% or 0.01, not {text!r}")
    return share


def difference_table(found: Difference, most: int) -> Table:
    """Return the rows that differ, at most so many."""
    rows = [("field", "first", "second", "change", "relative", "")]
    rows += [_cells(row) for row in found.rows[:most]]
    if len(found.rows) > most:
        rows.append((f"and {len(found.rows) - most} more", "", "", "", "", ""))
    verdict = "equal" if found.is_equal else "different"
    title = (
        f"{verdict}: {found.compared} rows compared, {found.changed} changed, {found.missing} missing, "
        f"{found.within} within {found.tolerance:.3g}, {found.equal} equal"
    )
    return Table(title, tuple(rows))


def _cells(row: DiffRow) -> tuple[str, ...]:
    relative = "" if row.absolute is None else "from 0"
    if row.relative is not None:
        relative = f"{row.relative:+.2%}"
    verdict = row.verdict
    if verdict == "missing":
        lacking = [name for name, value in (("first", row.a), ("second", row.b)) if value is None]
        verdict = f"missing in the {lacking[0]}" if lacking else "of another length"
    change = "" if row.absolute is None else f"{row.absolute:+.6g}"
    return row.field, _text(row.a), _text(row.b), change, relative, verdict


def _text(value: float | str | None) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else f"{value:.9g}"
    return text if len(text) <= 60 else f"{text[:57]}..."
