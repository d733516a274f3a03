"""What differs between two results: row by row, matched by their keys, sorted by the size of the change."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, isfinite
from typing import Literal

import numpy as np
from pydantic import Field

from .learn_result import LearnResult
from .model import ReportModel
from .result import ResultError, RunResult
from .rows import Row, Value, rows_of_result

Verdict = Literal["changed", "within", "missing", "told"]

# How and when a result came about, not what it says: told, and no reason to fail.
TOLD = (
    "provenance",
    "notes",
    "area.provenance",
    "area.notes",
    "neurobench.notes",
    "epochs.wall_s",
)


class DiffRow(ReportModel):
    """One row that differs; a list of numbers is one row, whose change is that of its entry that changed most."""

    field: str
    a: float | str | None = Field(description="null where the first result lacks it")
    b: float | str | None = Field(description="null where the second result lacks it")
    absolute: float | None = Field(description="b - a; null for text and missing rows")
    relative: float | None = Field(
        description="(b - a) / |a|; null where a is 0, for text and missing rows"
    )
    verdict: Verdict


class Difference(ReportModel):
    """What `spikeloom diff` gives; ``rows`` are sorted: missing ones, then by the size of the change."""

    kind: str
    tolerance: float
    compared: int = Field(description="rows of both results, those told left out")
    equal: int
    within: int = Field(description="differ by no more than the tolerance")
    changed: int
    missing: int = Field(description="rows that one of them lacks, or does not know")
    rows: list[DiffRow]

    @property
    def is_equal(self) -> bool:
        """Whether every row is in both, and equal within the tolerance."""
        return not self.changed and not self.missing


def compare_results(
    a: RunResult | LearnResult,
    b: RunResult | LearnResult,
    *,
    tolerance: float = 0.0,
    only: Sequence[str] = (),
) -> Difference:
    """Compare two results of one kind.

    Parameters
    ----------
    a, b
        The results; changes are relative to ``a``.
    tolerance
        Largest |b - a| / |a| that counts as equal, of each number and each entry of a list of numbers.
    only
        Fields to compare, as `energy_j`, `layers.spikes` or `layers[fc1].spikes`; all if empty. Those of `TOLD` fail
        only if named here.

    Raises
    ------
    ResultError
        The results are of different kinds, or a field is in neither.
    ValueError
        The tolerance is negative or not finite.
    """
    if a.kind != b.kind:
        raise ResultError(
            f"results of different kinds cannot be compared: the first is of a {a.kind}, the second of a {b.kind}"
        )
    if not (isfinite(tolerance) and tolerance >= 0):
        raise ValueError(f"the tolerance must be 0 or more, not {tolerance!r}")
    rows_a, rows_b = rows_of_result(a), rows_of_result(b)
    names = list(dict.fromkeys((*rows_a, *rows_b)))
    chosen = {name: rows_a.get(name) or rows_b[name] for name in names}
    if only:
        for field in only:
            if not any(row.is_part_of(field) for row in chosen.values()):
                known = ", ".join(dict.fromkeys(n.split(".")[0].split("[")[0] for n in names))
                raise ResultError(f"no field {field!r} in either result; fields are {known}")
        chosen = {n: r for n, r in chosen.items() if any(r.is_part_of(f) for f in only)}
    found: list[DiffRow] = []
    compared = 0
    for name, row in chosen.items():
        told = not only and any(row.is_part_of(field) for field in TOLD)
        compared += not told
        differs = _compare(name, rows_a.get(name), rows_b.get(name), tolerance)
        if differs is not None:
            found.append(differs.model_copy(update={"verdict": "told"}) if told else differs)
    found.sort(key=_size, reverse=True)
    counts = {v: sum(row.verdict == v for row in found) for v in ("within", "changed", "missing")}
    return Difference(
        kind=a.kind,
        tolerance=tolerance,
        compared=compared,
        equal=compared - sum(counts.values()),
        **counts,
        rows=found,
    )


def _compare(name: str, row_a: Row | None, row_b: Row | None, tolerance: float) -> DiffRow | None:
    """Return how a row differs; None if it does not."""
    a, b = (None if row is None else row.value for row in (row_a, row_b))
    shown_a, shown_b = _shown(a), _shown(b)
    if a is None or b is None:
        return None if a is b else _row(name, shown_a, shown_b, "missing")
    if isinstance(a, str | bool) or isinstance(b, str | bool):
        return None if shown_a == shown_b else _row(name, shown_a, shown_b, "changed")
    before, after = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if before.shape != after.shape:
        return _row(name, shown_a, shown_b, "missing")
    change = after - before
    if not change.any():
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.where(change == 0, 0.0, change / np.abs(before))
    most = np.unravel_index(int(np.abs(relative).argmax()), relative.shape)
    worst = float(relative[most])
    verdict: Verdict = "within" if abs(worst) <= tolerance else "changed"
    if isinstance(a, np.ndarray):
        shown_b = f"{np.count_nonzero(change)} differ"
    return DiffRow(
        field=name,
        a=shown_a,
        b=shown_b,
        absolute=float(change[most]),
        relative=worst if isfinite(worst) else None,
        verdict=verdict,
    )


def _row(name: str, a: float | str | None, b: float | str | None, verdict: Verdict) -> DiffRow:
    return DiffRow(field=name, a=a, b=b, absolute=None, relative=None, verdict=verdict)


def _shown(value: Value) -> float | str | None:
    """Return a value as a table shows it: a list of numbers by its shape."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, np.ndarray):
        return " x ".join(str(size) for size in value.shape) + " numbers"
    return str(value).lower() if isinstance(value, bool) else float(value)


def _size(row: DiffRow) -> tuple[int, float, float]:
    """Order rows: what is missing, text, numbers by relative and absolute change, and last what is told."""
    if row.absolute is None:
        return (-1 if row.verdict == "told" else 2 if row.verdict == "missing" else 1, 0.0, 0.0)
    relative = inf if row.relative is None else abs(row.relative)
    return -1 if row.verdict == "told" else 0, relative, abs(row.absolute)
