"""Checkpoints of a long run: the samples finished so far and the counters up to them, in one file replaced at once."""

from __future__ import annotations

import os
import zipfile
import zlib
from pathlib import Path

import numpy as np

from .cores.state import Results

PER_SAMPLE = (
    "cycles",
    "output_count",
    "first_spike",
    "output_record",
    "probe_v_mem",
    "probe_output",
    "signatures",
)
TOTALS = (
    "core_counters",
    "router_counters",
    "host_counters",
    "step_router_flits",
    "step_core_outputs",
    "neuron_outputs",
)


class CheckpointError(ValueError):
    """A checkpoint that belongs to another run or is damaged; the message is a sentence for the user."""


def save_checkpoint(path: Path, key: str, done: int, results: Results) -> None:
    """Write the first ``done`` samples and the totals, which must cover just those samples."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            np.savez(
                file,
                key=np.array(key),
                done=np.array(done),
                **{name: getattr(results, name)[:done] for name in PER_SAMPLE},
                **{name: getattr(results, name) for name in TOTALS},
            )
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def load_checkpoint(path: Path, key: str, results: Results) -> int:
    """Fill ``results`` from a checkpoint and return how many samples are done; 0 if there is no file.

    Raises
    ------
    CheckpointError
        If it is damaged, or was written by a run of another program, other data or other options.
    """
    if not path.exists():
        return 0
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            if str(file["key"]) != key:
                raise CheckpointError(
                    f"{path} is the checkpoint of another program, other data or other options; "
                    "name another file or delete it"
                )
            done = int(file["done"])
            for name in PER_SAMPLE:
                array = getattr(results, name)
                array[:done] = file[name]
            for name in TOTALS:
                getattr(results, name)[:] = file[name]
    except (
        OSError,
        KeyError,
        EOFError,
        zipfile.BadZipFile,
        zlib.error,
        ValueError,
        IndexError,
    ) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(
            f"{path} is no whole checkpoint ({error}); delete it to start anew"
        ) from None
    return done
