"""`sweep`: many chips, options or networks, compiled and run or priced, to a table that says which is best at what."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from ..errors import InputError, StoppedError
from .cluster import Pool, open_pool, run_job
from .front import Costs, pareto_front
from .search import planned, search
from .space import Point, Space, load_space
from .store import Record, Store, open_store
from .units import Job, count_samples, make_job

# Points that are tried for a first result before the sweep starts, and samples of it.
_PILOTS, _PILOT_SAMPLES = 8, 1


@dataclass(frozen=True)
class Progress:
    """How far a sweep is: points ended, of at most; of them refused and failed; points a minute of this start."""

    done: int
    total: int
    refused: int
    failed: int
    per_minute: float | None
    seconds_left: float | None


@dataclass(frozen=True)
class Sweep:
    """The points of a sweep, in the order of the search."""

    space: Space
    records: tuple[Record, ...]

    def costs(self, record: Record) -> Costs | None:
        """Return a point's objectives, each the smaller the better; None where one is unknown."""
        return _costs(self.space, record)

    @cached_property
    def front(self) -> tuple[Record, ...]:
        """The Pareto set: points that no other beats, those with the best first objective first."""
        valued = [(r, costs) for r in self.records if (costs := self.costs(r)) is not None]
        best = [valued[i] for i in pareto_front([costs for _, costs in valued])]
        return tuple(record for record, _ in sorted(best, key=lambda item: item[1]))

    def count(self, status: str) -> int:
        """Return how many points have a status: done, refused or failed."""
        return sum(record.status == status for record in self.records)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return {
            "kind": self.space.kind,
            "space_hash": self.space.identity_hash,
            "objectives": self.space.file.objectives,
            "points": len(self.records),
            **{status: self.count(status) for status in ("done", "refused", "failed")},
            "pareto": [_plain(record) for record in self.front],
        }


def sweep(
    space: str | Path | Space,
    out: str | Path,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    retry_failed: bool = False,
    progress: Callable[[Progress], None] | None = None,
    tell: Callable[[str], None] | None = None,
    command: str = "spikeloom.sweep",
) -> Sweep:
    """Try the points of a space and keep what they gave in an SQLite file; go on where an earlier start stopped.

    With several processes the caller's module must not start the sweep when it is imported: put the call under
    ``if __name__ == "__main__":``.

    Parameters
    ----------
    space
        A space file (docs/sweep.md) or what `load_space` made of it.
    out
        The results file: made if it is missing.
    workers, scheduler
        Where the points run, see `cluster.open_pool`.
    retry_failed
        Try those points again whose workers died too often.
    progress, tell
        Called after each point; with a line about what is being done.

    Raises
    ------
    InputError
        A sentence: what is wrong with the space, the file or the cluster, and what to do. Points in the file stay.
    StoppedError
        The user stopped it; the same call goes on.
    """
    if not isinstance(space, Space):
        space = load_space(space)
    if workers is not None and (workers < 0 or scheduler is not None):
        reason = "goes without --scheduler" if scheduler else "must not be negative"
        raise InputError(f"--workers {reason}")
    say = tell or (lambda _line: None)
    samples = count_samples(space)
    with open_store(out, space) as store:
        if retry_failed and (forgotten := store.forget_failed()):
            say(f"{forgotten} points that failed are tried again")
        records = {record.key: record for record in store.records()}
        if records:
            say(f"{len(records)} points are in {out} already")
        run = _Run(space, samples, store, records, progress)
        if run.is_complete():
            return Sweep(space, tuple(store.records()))
        say("try the first point with one sample")
        _pilot(space, samples, say)
        try:
            with open_pool(workers, scheduler) as (pool, where):
                say(f"sweep on {where}")
                store.begin(command, where)
                run.all(pool)
                store.end()
        except KeyboardInterrupt:
            raise StoppedError(
                f"stopped; {len(store.records())} of {planned(space)} points are in {out}, the same command goes on"
            ) from None
        return Sweep(space, tuple(store.records()))


class _Run:
    """One start of a sweep."""

    def __init__(
        self,
        space: Space,
        samples: int,
        store: Store,
        records: dict[str, Record],
        progress: Callable[[Progress], None] | None,
    ) -> None:
        self.space = space
        self.samples = samples
        self.store = store
        self.records = records
        self._progress = progress
        self._begun = time.perf_counter()
        self._before = len(records)
        self._statuses = Counter(record.status for record in records.values())

    def is_complete(self) -> bool:
        """Return whether all points of the search are there, so that no pool is needed."""
        return next(self._missing(), None) is None

    def all(self, pool: Pool) -> None:
        """Go through the search; what is recorded already is not run again."""
        self._begun = time.perf_counter()
        self._tell()
        for batch in self._batches():
            points: dict[str, Point] = {}
            for job, outcome in pool.outcomes(self._jobs(batch, points)):
                record = self.store.add(points.pop(job.key), outcome)
                self.records[record.key] = record
                self._statuses[record.status] += 1
                self._tell()

    def _jobs(self, batch: Iterable[Point], points: dict[str, Point]) -> Iterator[Job]:
        for point in batch:
            if point.key not in self.records:
                points[point.key] = point
                yield make_job(self.space, point, self.samples)

    def _batches(self) -> Iterator[Iterable[Point]]:
        """Yield the batches of the search, and tell it what became of them."""
        steps = search(self.space)
        batch = next(steps, None)
        while batch is not None:
            listed = list(batch) if self.space.search.method == "pareto" else batch
            yield listed
            known = [self.records.get(p.key) for p in listed] if isinstance(listed, list) else []
            results = {
                r.key: costs
                for r in known
                if r is not None and (costs := _costs(self.space, r)) is not None
            }
            try:
                batch = steps.send(results)
            except StopIteration:
                batch = None

    def _missing(self) -> Iterator[Point]:
        """Yield the points that are not recorded, as far as the search can be followed."""
        for batch in self._batches():
            missing = [point for point in batch if point.key not in self.records]
            yield from missing
            if missing:
                return

    def _tell(self) -> None:
        if self._progress is None:
            return
        done, total = len(self.records), planned(self.space)
        elapsed, new = time.perf_counter() - self._begun, done - self._before
        rate = new / elapsed if new and elapsed > 0 else None
        self._progress(
            Progress(
                done=done,
                total=total,
                refused=self._statuses["refused"],
                failed=self._statuses["failed"],
                per_minute=None if rate is None else 60 * rate,
                seconds_left=None if rate is None else (total - done) / rate,
            )
        )


def _pilot(space: Space, samples: int, say: Callable[[str], None]) -> None:
    """Run one sample of the first point that can be built, so that measures that are not there are refused at once.

    It also compiles the kernels into their cache, from which workers on this machine load them.
    """
    reason = ""
    for point in islice(next(search(space)), _PILOTS):
        job = make_job(space, point, min(samples, _PILOT_SAMPLES))
        outcome = run_job(replace(job, is_pilot=True))
        if outcome.status == "done":
            return
        reason = outcome.reason
    say(f"none of the first points can be built, the last of them since: {reason}")


def _costs(space: Space, record: Record) -> Costs | None:
    """Return the objectives of a point, each the smaller the better; None without a result or where one is unknown."""
    costs = []
    for name, direction in space.file.objectives.items():
        value = record.measures.get(name)
        if value is None:
            return None
        costs.append(value if direction == "min" else -value)
    return tuple(costs)


def _plain(record: Record) -> dict[str, Any]:
    return {
        "number": record.number,
        "parameters": record.parameters,
        "measures": record.measures,
        "provenance": record.provenance,
    }
