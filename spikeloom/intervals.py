"""When cores compute and send, and when the host injects, from the events of a sample."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .chip.program import ManyCoreProgram
from .sim.trace import EventRecord

Ints = NDArray[np.int64]


def compute_intervals(program: ManyCoreProgram, record: EventRecord) -> Ints:
    """Return (n, 5): k, core, first cycle, cycle after the last, outputs that are not 0; by k and core.

    A core computes until the last lane of its last group would retire, whether that lane has a neuron or not.
    """
    chip = program.config.many_core
    neurons, modes = program.register("neurons"), program.register("weight_mode_bits").tolist()
    lanes = np.array([chip.effective_lanes(bits) for bits in modes], dtype=np.int64)
    keys, place = _grouped(record.retire("k"), record.retire("core"))
    last, outputs = np.zeros((2, len(keys)), dtype=np.int64)
    np.maximum.at(last, place, record.retire("cycle"))
    np.add.at(outputs, place, record.retire("output") != 0)
    core = keys[:, 1]
    end = last + 1 + -neurons[core] % lanes[core]
    return np.column_stack([keys, np.full(len(keys), chip.start_cycles), end, outputs])


def send_intervals(program: ManyCoreProgram, record: EventRecord) -> Ints:
    """Return (n, 5): k, sender, first cycle in which a flit asks, cycle after the last is taken, flits.

    The sender is a core, or -1 - i for the host's input port i.
    """
    chip = program.config.many_core
    ends = {(k, core): end for k, core, _, end, _ in compute_intervals(program, record).tolist()}
    keys, place = _grouped(record.send("k"), record.send("sender"))
    last, flits = np.zeros((2, len(keys)), dtype=np.int64)
    np.maximum.at(last, place, record.send("cycle"))
    np.add.at(flits, place, 1)
    asks = [
        chip.host_start_cycles if sender < 0 else ends[k, sender] + chip.send_latency_cycles
        for k, sender in keys.tolist()
    ]
    return np.column_stack([keys, np.array(asks, dtype=np.int64), last + 1, flits])


def _grouped(k: Ints, unit: Ints) -> tuple[Ints, Ints]:
    """Return the pairs of timestep and unit that occur, and the place of each event's pair among them."""
    keys, place = np.unique(np.stack([k, unit], axis=1), axis=0, return_inverse=True)
    return keys, place.ravel()
