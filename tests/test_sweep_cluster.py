"""Sweeps on real clusters of processes: a killed worker costs a retry, and what kills every worker is given up."""

from __future__ import annotations

import os
import signal
import socket
import time
from typing import Any

import pytest
from distributed import Client, LocalCluster

from spikeloom.errors import InputError
from spikeloom.sweeping import cluster as sweep_cluster
from spikeloom.sweeping.cluster import DEATHS, OnCluster, open_pool
from spikeloom.sweeping.search import search
from spikeloom.sweeping.sweep import sweep
from spikeloom.sweeping.units import Outcome, make_job, price

from .support.sweep_spaces import TRAINING, space_of

psutil = pytest.importorskip("psutil")  # comes with distributed

VARY = {
    "learn.forward.columns": [32, 48, 64, 96, 128],
    "learn.dram.bytes_per_cycle": [128, 256, 512, 1024],
}


def workers():
    """Return the processes that are workers of a cluster in this one."""
    children = psutil.Process().children(recursive=True)
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]


def found(result):
    return [
        (r.number, r.key, r.status, r.parameters, r.measures, r.provenance["config_hash"])
        for r in result.records
    ]


def test_a_killed_worker_costs_a_retry(tmp_path):
    """Half way through a sweep of 20 points one of two workers is killed: nothing is lost, none is there twice."""
    space, killed = space_of(TRAINING, vary=VARY), []

    def kill(at):
        if at.done >= at.total // 2 and not killed:
            victim = workers()[0]
            killed.append(victim.pid)
            victim.send_signal(signal.SIGKILL)

    result = sweep(space, tmp_path / "killed.sqlite", workers=2, progress=kill)
    assert len(killed) == 1
    assert [record.number for record in result.records] == list(range(20))
    assert result.count("done") == 20
    calm = sweep(space, tmp_path / "calm.sqlite", workers=0)
    assert found(result) == found(calm)
    ran = {record.provenance["worker"] for record in result.records}
    assert len(ran) >= 2  # the killed one, the other, perhaps the one that took its place
    assert str(os.getpid()) not in {worker.rpartition(":")[2] for worker in ran}


def price_or_die(job):
    """Price a step; the one with two bytes a cycle takes its worker with it."""
    if job.settings["learn.dram.bytes_per_cycle"] == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    if job.settings["learn.dram.bytes_per_cycle"] == 4:
        raise MemoryError("no room")
    return price(job)


class Deadly(OnCluster):
    def _submit(self, job):
        return self._client.submit(price_or_die, job, pure=False)


def test_what_kills_every_worker_is_given_up_and_the_rest_goes_on():
    space = space_of(TRAINING, vary={"learn.dram.bytes_per_cycle": [2, 4, 256]})
    jobs = [make_job(space, point, 0) for point in next(search(space))]
    with open_pool(1, None) as (pool, where):
        assert where.startswith("1 processes here")
        assert isinstance(pool, OnCluster)
        outcomes = {job.number: outcome for job, outcome in Deadly(pool._client, 1).outcomes(jobs)}
    assert outcomes[0] == Outcome(
        "failed", f"{DEATHS} workers died at it, one after the other; out of memory?"
    )
    assert outcomes[1] == Outcome("failed", "MemoryError: no room")
    assert outcomes[2].status == "done"


def test_a_cluster_without_workers_is_told(monkeypatch):
    monkeypatch.setattr(sweep_cluster, "GONE_S", 0.5)
    options: Any = {"processes": False, "dashboard_address": None}
    options["scheduler_kwargs"] = {"dashboard_address": "127.0.0.1:0"}
    cluster: Any = LocalCluster(n_workers=0, **options)
    space = space_of(TRAINING)
    jobs = [make_job(space, point, 0) for point in next(search(space))]
    with cluster, Client(cluster) as client:
        with pytest.raises(InputError, match="all workers are gone"):
            list(OnCluster(client, 1).outcomes(jobs))
        pool = OnCluster(client, 1)
        with pytest.raises(InputError, match="all workers are gone"):
            pool._outcome(pool._submit(jobs[0]))


def test_a_scheduler_elsewhere_and_none(tmp_path):
    space = space_of(TRAINING)
    options: Any = {
        "processes": False,
        "dashboard_address": None,
        "scheduler_kwargs": {"dashboard_address": "127.0.0.1:0"},
    }
    cluster: Any = LocalCluster(n_workers=1, threads_per_worker=1, **options)
    with cluster:
        result = sweep(space, tmp_path / "r.sqlite", scheduler=cluster.scheduler.address)
    assert result.count("done") == 6
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for address in (f"tcp://127.0.0.1:{port}", "tcp://no.such.host.invalid:8786", "nonsense://x"):
        start = time.monotonic()
        with (
            pytest.raises(InputError, match=f"no Dask scheduler answers at {address}"),
            open_pool(None, address),
        ):
            pass
        assert time.monotonic() - start < 20
