"""Where the units of work of a sweep run: on a Dask cluster, of processes here by default, or in this process.

The scheduler gives the units of a lost worker to others. A unit that takes down `DEATHS` workers, also when it runs
alone, is given up, and its point is recorded as failed.
"""

from __future__ import annotations

import logging
import os
import platform
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import InputError
from .units import Job, Outcome, merge_shards, price, run_shard

if TYPE_CHECKING:
    from distributed import Client, Future, as_completed

# Workers that a unit of work may take down before it is given up; elsewhere the cluster's own settings say how many.
DEATHS = 3
# Points under way for each worker: enough that none waits for the next one.
POINTS_A_WORKER = 3
# Seconds to wait for a scheduler to answer, and for its first worker.
ANSWER_S, WORKERS_S = 5, 20
# Seconds between looks at a running sweep, and those that it may be without any worker: a process starts in some.
LOOK_S, GONE_S = 0.05, 60.0

# Run by workers here as they start: Ctrl-C reaches them, too, and would end them in the middle of a task.
_LEAVE_CTRL_C_TO_US = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"

INSTALL = "pip install 'spikeloom[sweep]'"


class Pool(Protocol):
    """A place where jobs run."""

    def outcomes(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Outcome]]:
        """Yield each job with its outcome, as they end; ``jobs`` is drawn from as there is room."""
        ...


class InProcess:
    """One job after the other, in this process."""

    def outcomes(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Outcome]]:
        """Yield each job with its outcome, in order."""
        for job in jobs:
            yield job, run_job(job)


def run_job(job: Job) -> Outcome:
    """Run all units of a job here."""
    if job.kind == "training":
        return price(job)
    return merge_shards(job, *(run_shard(job, samples) for samples in job.shards))


class OnCluster:
    """Jobs on a Dask cluster, a task for each shard and one for their sum."""

    def __init__(self, client: Client, workers: int) -> None:
        self._client = client
        self._window = POINTS_A_WORKER * workers
        self._seen = self._asked = time.monotonic()  # there were workers; we asked

    def outcomes(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Outcome]]:
        """Yield each job with its outcome, as they end.

        When a worker dies, the scheduler blames all tasks that it had. So those that it gives up are not believed to be
        guilty until they have been run again at the end, each alone.
        """
        from distributed import as_completed

        waiting = iter(jobs)
        by_key: dict[Any, Job] = {}
        suspects: list[Job] = []

        def submit(job: Job) -> Future:
            future = self._submit(job)
            by_key[future.key] = job
            return future

        first = [submit(job) for job in islice(waiting, self._window)]
        ended = as_completed(first, raise_errors=False)
        while not ended.is_empty():
            future = self._next(ended)
            job = by_key.pop(future.key)
            outcome = self._outcome(future)
            future.release()
            for following in islice(waiting, 1):
                ended.add(submit(following))
            if outcome is None:
                suspects.append(job)
            else:
                yield job, outcome
        for job in suspects:
            reason = f"{DEATHS} workers died at it, one after the other; out of memory?"
            yield job, self._outcome(self._submit(job)) or Outcome("failed", reason)

    def _next(self, ended: as_completed) -> Future:
        while not ended.has_ready():
            self._look()
        return next(ended)

    def _look(self) -> None:
        """Wait a little; raise InputError when there has been no worker for `GONE_S`."""
        time.sleep(LOOK_S)
        now = time.monotonic()
        if now - self._asked < 1:
            return
        self._asked = now
        if self._client.nthreads():
            self._seen = now
        elif now - self._seen > GONE_S:
            raise InputError(
                f"all workers are gone, and none has come for {GONE_S:g} seconds; finished points are kept: "
                "start the same command again"
            )

    def _submit(self, job: Job) -> Future:
        if job.kind == "training":
            return self._client.submit(price, job, pure=False)
        shards = [self._client.submit(run_shard, job, part, pure=False) for part in job.shards]
        return self._client.submit(merge_shards, job, *shards, pure=False)

    def _outcome(self, future: Future) -> Outcome | None:
        """Return a task's outcome, None if too many workers died that had it.

        A result that is lost with its worker is waited for until it is made again.
        """
        from distributed import CancelledError, KilledWorker, TimeoutError

        while True:
            try:
                error: Any = future.exception(timeout=LOOK_S)
                if error is None:
                    return future.result(timeout=LOOK_S)
                return None if isinstance(error, KilledWorker) else _failed(error)
            except TimeoutError:
                self._look()
            except KilledWorker:
                return None
            except CancelledError:
                raise InputError(
                    "the connection to the scheduler is lost; finished points are kept: start the same command again"
                ) from None


def _failed(error: BaseException) -> Outcome:
    return Outcome("failed", f"{type(error).__name__}: {error}")


@contextmanager
def open_pool(workers: int | None, scheduler: str | None) -> Iterator[tuple[Pool, str]]:
    """Give a place to run jobs, and its description.

    Parameters
    ----------
    workers
        Processes here, of one thread each; by default as many as there are processors; 0: this process alone.
    scheduler
        Address of a Dask scheduler to use instead.

    Raises
    ------
    InputError
        Dask is not installed; the scheduler does not answer, has no workers, or they have another spikeloom.
    """
    if workers == 0:
        yield InProcess(), "this process"
        return
    if find_spec("distributed") is None:
        raise InputError(
            f"a sweep on several processes needs dask.distributed: {INSTALL}; "
            "or run it in this process: --workers 0"
        )
    with ExitStack() as stack, _quiet():
        if scheduler is None:
            count = workers or os.cpu_count() or 1
            client = stack.enter_context(_local_client(count))
            what = f"{count} processes here"
        else:
            client = stack.enter_context(_remote_client(scheduler))
            count = len(_versions(client, scheduler))
            what = f"{count} workers of {scheduler}"
        yield OnCluster(client, count), f"{what}, dask.distributed {version('distributed')}"


@contextmanager
def _local_client(workers: int) -> Iterator[Client]:
    from dask.config import set as set_config
    from distributed import Client, LocalCluster

    # Without a dashboard the scheduler still opens a port for HTTP: 8787, of all interfaces, unless told otherwise.
    options: dict[str, Any] = {
        "dashboard_address": None,
        "scheduler_kwargs": {"dashboard_address": "127.0.0.1:0"},
        "silence_logs": logging.CRITICAL,
        "preload": _LEAVE_CTRL_C_TO_US,
    }
    with ExitStack() as stack:
        stack.enter_context(set_config({"distributed.scheduler.allowed-failures": DEATHS - 1}))
        cluster = LocalCluster(n_workers=workers, threads_per_worker=1, processes=True, **options)
        yield stack.enter_context(Client(stack.enter_context(cluster)))


@contextmanager
def _remote_client(scheduler: str) -> Iterator[Client]:
    from distributed import Client

    try:
        client = Client(scheduler, timeout=ANSWER_S)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"no Dask scheduler answers at {scheduler} ({str(error) or type(error).__name__}); "
            "start one with `dask scheduler`, and give its address as tcp://HOST:PORT"
        ) from None
    with client:
        yield client


def _versions(client: Client, scheduler: str) -> dict[str, str]:
    """Return address -> spikeloom's version of the workers, all of them ours."""
    try:
        client.wait_for_workers(1, timeout=WORKERS_S)
    except TimeoutError:
        raise InputError(
            f"the scheduler at {scheduler} has no workers; start some with `dask worker {scheduler}`"
        ) from None
    found: Any = client.run(_version)
    for address, theirs in found.items():
        if theirs != _version():
            raise InputError(
                f"worker {address} has {theirs}, this machine {_version()}; they must have the same"
            )
    return found


def _version() -> str:
    """Return what must be the same on all workers."""
    try:
        ours = version("spikeloom")
    except PackageNotFoundError:
        ours = "of a checkout"
    return f"spikeloom {ours}, Python {platform.python_version()}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Dask's log of lost workers and connections off the terminal: what matters is in the points' reasons."""
    log = logging.getLogger("distributed")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(before)
