"""Waves of a window, made from the simulator's events under the names of the generated Verilog: no Verilator needed.

Only what the events determine is in them. A value that the RTL holds between two events, and that nothing reads then,
is unknown (x). Cycles are those of `verify --waves`: two units of time each, the clock's rise at the first.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from vcd import VCDWriter
from vcd.gtkw import GTKWSave
from vcd.writer import Variable

from .chip.config import ManyCoreConfig
from .chip.events import PORTS
from .chip.memory_map import CoreMemories, index_bits
from .chip.packet import FlitLayout
from .chip.program import ManyCoreProgram
from .errors import InputError
from .intervals import compute_intervals
from .sim.trace import EventRecord
from .waves import SAVE, TOP, WAVES

MOST_CHANGES = 2_000_000  # of a window: some 40 MB

Change = tuple[int, int | None]  # cycle, value from then on; None: unknown


def event_changes(
    program: ManyCoreProgram, record: EventRecord, first: int, end: int
) -> dict[str, list[Change]]:
    """Return for each signal the cycles in which it takes a value, in the window ``first`` <= k < ``end``.

    Cycles count from the start of timestep ``first``, whose cycle 0 is the one in which `mesh.start` is high.
    Signals stand below `TOP`.
    """
    chip = program.config.many_core
    begins = np.concatenate([[0], np.cumsum(record.cycles[first:end])])
    begins[1:] -= chip.sample_reset_cycles if first == 0 else 0
    found: dict[str, list[Change]] = {name: [] for name in signals(program)}

    def pulse(
        name: str, cycle: int, value: int = 1, *, idle: int | None = 0, cycles: int = 1
    ) -> None:
        found[name] += [(cycle, value), (cycle + cycles, idle)]

    for k in range(first, end):
        pulse("mesh.start", int(begins[k - first]))
    for tile in _tiles(chip):
        for k in range(first, end):
            at = int(begins[k - first])
            pulse(f"{tile}.core.schedule.start", at + chip.tree_stages)
            slot = k % chip.core.delay_slots
            name = f"{tile}.core.schedule.slot"
            found[name].append((at + chip.start_cycles, slot))
    of_core = [
        f"mesh.tile_{x}_{y}.core"
        for x, y in zip(program.register("x"), program.register("y"), strict=True)
    ]
    filled: dict[tuple[int, int], int] = {}
    for k, cycle, core, neuron, output, v_mem in record.retires.tolist():
        at, soma = int(begins[k - first]) + cycle, f"{of_core[core]}.soma"
        pulse(f"{soma}.retire", at)
        for name, value in (("neuron", neuron), ("output", output), ("v_mem", v_mem)):
            pulse(f"{soma}.retire_{name}", at, value, idle=None)
        if output and program.route_count[core, neuron]:
            filled.setdefault((k, core), cycle + 1)
    for k, core, start, stop, _ in compute_intervals(program, record).tolist():
        at = int(begins[k - first]) + start
        pulse(f"{of_core[core]}.schedule.computing", at, cycles=stop - start)
    empty = {(k, sender): cycle + 1 for k, cycle, sender in record.sends.tolist()}
    for (k, core), cycle in filled.items():
        at = int(begins[k - first]) + cycle
        pulse(f"{of_core[core]}.sender.busy", at, cycles=empty[k, core] - cycle)
    _add_transfers(program, record, begins, first, found)
    return found


def _add_transfers(
    program: ManyCoreProgram,
    record: EventRecord,
    begins: NDArray[np.int64],
    first: int,
    found: dict[str, list[Change]],
) -> None:
    """Add the flits that leave routers: which outputs pass one, and the flit."""
    chip = program.config.many_core
    layout, columns = FlitLayout.of(chip), chip.network.columns
    hops: dict[tuple[int, int], int] = {}
    fields = ("kind", "dx", "dy", "target", "delay", "payload")
    for k, cycle, router, output, *values in record.transfers.tolist():
        at = int(begins[k - first]) + cycle
        tile = f"mesh.tile_{router % columns}_{router // columns}"
        name = f"{tile}.router.{PORTS[output]}_out__payload"
        flit = layout.pack(**dict(zip(fields, values, strict=True)))
        found[name] += [(at, flit), (at + 1, None)]
        hops[router, at] = hops.get((router, at), 0) | 1 << output
    for (router, at), ways in hops.items():
        name = f"mesh.tile_{router % columns}_{router // columns}.core.hops"
        found[name] += [(at, ways), (at + 1, 0)]


def signals(program: ManyCoreProgram) -> dict[str, int]:
    """Return the signals of the waves, below `TOP`, and their widths."""
    chip = program.config.many_core
    layout, memories = FlitLayout.of(chip), CoreMemories(chip)
    widths = {"mesh.start": 1}
    for tile in _tiles(chip):
        widths |= {
            f"{tile}.core.schedule.start": 1,
            f"{tile}.core.schedule.slot": index_bits(chip.core.delay_slots),
            f"{tile}.core.schedule.computing": 1,
            f"{tile}.core.soma.retire": 1,
            f"{tile}.core.soma.retire_neuron": memories.neuron_bits,
            f"{tile}.core.soma.retire_output": layout.payload_bits,
            f"{tile}.core.soma.retire_v_mem": chip.core.membrane_bits,
            f"{tile}.core.sender.busy": 1,
            f"{tile}.core.hops": len(PORTS),
        }
        widths |= {f"{tile}.router.{port}_out__payload": layout.bits for port in PORTS}
    return widths


def _tiles(chip: ManyCoreConfig) -> Iterator[str]:
    for y in range(chip.network.rows):
        for x in range(chip.network.columns):
            yield f"mesh.tile_{x}_{y}"


def write_event_waves(
    program: ManyCoreProgram, record: EventRecord, folder: Path, sample: int, first: int, end: int
) -> list[Path]:
    """Write ``waves.vcd`` and ``waves.gtkw`` of chip timesteps ``first`` <= k < ``end``; return the files.

    Raises
    ------
    InputError
        The window has more than `MOST_CHANGES` changes.
    OSError
        The folder cannot be written.
    """
    widths = signals(program)
    changes = event_changes(program, record, first, end)
    count = sum(len(found) for found in changes.values())
    if count > MOST_CHANGES:
        raise InputError(
            f"the waves of the window {first}:{end} would have {count:,} changes, of {MOST_CHANGES:,} at most; "
            "give fewer timesteps"
        )
    folder.mkdir(parents=True, exist_ok=True)
    clock = program.config.clock_hz
    comment = (
        f"spikeloom, from the simulator's events: sample {sample}, chip timesteps {first}:{end}; "
        f"a cycle of {clock / 1e6:g} MHz is 2 units of time"
    )
    length = int(record.cycles[first:end].sum())
    length -= program.config.many_core.sample_reset_cycles if first == 0 else 0
    part = folder / f"{WAVES}.part"
    try:
        with part.open("w", encoding="ascii") as file:
            _write(file, comment, widths, changes, length)
        part.replace(folder / WAVES)
    finally:
        part.unlink(missing_ok=True)
    with (folder / SAVE).open("w", encoding="utf-8") as file:
        _save(GTKWSave(file), folder / WAVES, program, widths)
    return [folder / WAVES, folder / SAVE]


def settled(changes: list[Change], idle: int | None) -> list[Change]:
    """Return one change a cycle, ascending, none that keeps the value: what comes later in the list holds.

    A value that ends in the cycle in which another begins gives way to it.
    """
    at: dict[int, int | None] = {}
    for cycle, value in sorted(changes, key=lambda change: change[0]):
        if cycle not in at or value != idle:
            at[cycle] = value
    found: list[Change] = []
    before: int | str | None = "none yet"
    for cycle, value in at.items():
        if value != before:
            found.append((cycle, value))
            before = value
    return found


def _write(
    file: IO[str],
    comment: str,
    widths: dict[str, int],
    changes: dict[str, list[Change]],
    length: int,
) -> None:
    with VCDWriter(file, timescale="1 ns", comment=comment, date="") as writer:
        clock = writer.register_var(TOP, "clk", "wire", size=1, init=1)
        variables: dict[str, Variable] = {}
        ordered: list[tuple[int, str, int | None]] = []
        for name, bits in widths.items():
            scope, _, leaf = f"{TOP}.{name}".rpartition(".")
            idle = idle_value(name)
            init = "x" if idle is None or name.endswith(".slot") else idle
            variables[name] = writer.register_var(scope, leaf, "wire", size=bits, init=init)
            ordered += [(cycle, name, value) for cycle, value in settled(changes[name], idle)]
        ordered.sort(key=lambda change: change[0])
        place = 0
        for cycle in range(length):
            writer.change(clock, 2 * cycle, 1)
            while place < len(ordered) and ordered[place][0] == cycle:
                _, name, value = ordered[place]
                bits = widths[name]
                masked = "x" if value is None else value & ((1 << bits) - 1)
                writer.change(variables[name], 2 * cycle, masked)
                place += 1
            writer.change(clock, 2 * cycle + 1, 0)


def idle_value(name: str) -> int | None:
    """Return what a signal is between events: 0, or None where nobody reads it."""
    return None if name.split("_")[-1] in ("neuron", "output", "mem", "payload") else 0


def _save(save: GTKWSave, waves: Path, program: ManyCoreProgram, widths: dict[str, int]) -> None:
    """Write a group of signals for the chip and one for each tile in use, of which only the first is open."""
    save.dumpfile(str(waves.absolute()))
    save.dumpfile_size(waves.stat().st_size)
    save.trace(f"{TOP}.clk")
    save.trace(f"{TOP}.mesh.start")
    places = zip(program.register("x").tolist(), program.register("y").tolist(), strict=True)
    for number, (x, y) in enumerate(places):
        layer = program.layers[int(program.core_layer[number])].name
        with save.group(f"tile {x}, {y}: {layer}", closed=number > 0):
            for name, bits in widths.items():
                if name.startswith(f"mesh.tile_{x}_{y}."):
                    save.trace(f"{TOP}.{name}" + (f"[{bits - 1}:0]" if bits > 1 else ""))
