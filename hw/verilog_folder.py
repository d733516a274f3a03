"""A folder of Verilog for hand-over: the files, a file list, a README with ports and memories, a program's images."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path

from ..chip.config import ChipConfig
from ..chip.memory_map import CoreMemories
from ..chip.program import ManyCoreProgram
from .memory import RAM_MODULE, FlatPort
from .verilog import CHIP_MODULE, chip_ports, emit_chip
from .verilog_text import Netlist

__all__ = ["write_verilog"]

FILE_LIST = "filelist.f"
README = "README.md"
IMAGES = "images"
MARK = "// Verilog of a spikeloom chip, in the order of the hierarchy.\n"  # begins our file lists

MEANINGS = {
    "clk": "clock; everything is registered at its rising edge",
    "rst": "synchronous reset, active high: one cycle at least",
    "s_axis_tdata": "from the host: a beat",
    "s_axis_tvalid": "from the host: the beat is valid",
    "s_axis_tready": "to the host: the beat is taken in this cycle if it is valid",
    "s_axis_tlast": "from the host: the beat ends its frame",
    "m_axis_tdata": "to the host: a beat",
    "m_axis_tvalid": "to the host: the beat is valid",
    "m_axis_tready": "from the host: the beat is taken in this cycle if it is valid",
    "m_axis_tlast": "to the host: the beat ends its frame",
    "memory_request__payload": "to the memory, lowest first: write (1 bit), row (24 bits), the row's data",
    "memory_request__valid": "to the memory: the request is valid",
    "memory_request__ready": "from the memory: the request is taken in this cycle if it is valid",
    "memory_response_valid": "from the memory: an answer, in the order of the requests; writes are answered too",
    "memory_response": "from the memory, lowest first: the row's data, error (1 bit)",
    "is_running": "a training step runs",
}


def write_verilog(
    config: ChipConfig,
    folder: Path,
    *,
    program: ManyCoreProgram | None = None,
    timesteps: int = 1,
    trace: bool = False,
) -> list[Path]:
    """Write the chip's Verilog, ``filelist.f`` and ``README.md`` to ``folder``; return the files, sorted.

    All or nothing: the files are made in a new folder beside, which then takes the place of ``folder``.

    Parameters
    ----------
    config
        The chip.
    folder
        New, empty, or written by this function before; then it is replaced.
    program
        If given, ``images/tile_<x>_<y>/<memory>.hex`` for ``$readmemh``: what the host would load.
    timesteps
        Of a sample, which the images hold.
    trace
        As for `emit_chip`.

    Raises
    ------
    ValueError
        When the program is of another configuration, or its images do not fit it.
    FileExistsError
        When ``folder`` holds something that is not ours, or is a file.
    OSError
        When it cannot be written; then nothing of it is left.
    """
    if program is not None and program.config.config_hash != config.config_hash:
        raise ValueError(
            f"the program is for configuration {program.config.config_hash}, "
            f"the Verilog for {config.config_hash}"
        )
    folder = folder.absolute()
    _refuse_foreign(folder)
    texts = emit_chip(config, trace=trace)
    files = texts | {
        FILE_LIST: MARK + "".join(f"{name}\n" for name in texts),
        README: _readme(config, texts, has_images=program is not None),
    }
    if program is not None:
        files |= _images(config, program, timesteps)
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        made = work / "new"
        for name, text in files.items():
            path = made / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
        if folder.exists():
            folder.rename(work / "old")
        try:
            made.rename(folder)
        except OSError:
            with contextlib.suppress(OSError):
                (work / "old").rename(folder)
            raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return sorted(folder / name for name in files)


def _refuse_foreign(folder: Path) -> None:
    """Raise unless ``folder`` is new, empty, or holds what `write_verilog` writes and nothing else."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise FileExistsError(f"{folder} is a file: give a folder for the Verilog")
    names = {path.name for path in folder.iterdir()}
    if not names:
        return
    listing = folder / FILE_LIST
    text = listing.read_text(encoding="utf-8", errors="replace") if listing.is_file() else ""
    ours = {FILE_LIST, README, IMAGES, *text.splitlines()[1:]} if text.startswith(MARK) else set()
    foreign = sorted(names - ours)
    if foreign:
        raise FileExistsError(
            f"{folder} holds {foreign[0]!r}, which is not from here: give a new or empty folder, "
            "or one of Verilog written before"
        )


def _images(config: ChipConfig, program: ManyCoreProgram, timesteps: int) -> dict[str, str]:
    """Return file name -> rows in hexadecimal, one a line, for each memory of each core that the host would load."""
    memories = CoreMemories(config.many_core)
    places = zip(program.register("x").tolist(), program.register("y").tolist(), strict=True)
    files = {}
    for c, (x, y) in enumerate(places):
        place = f"{IMAGES}/tile_{x}_{y}"
        for memory, rows in memories.images(program, c, timesteps).items():
            layout = memories.layouts[memory]
            digits = -(-layout.bits // 4)
            lines = [f"{int.from_bytes(row.tobytes(), 'little'):0{digits}x}\n" for row in rows]
            files[f"{place}/{memory.name.lower()}.hex"] = "".join(lines)
    return files


def _readme(config: ChipConfig, texts: dict[str, str], *, has_images: bool) -> str:
    ports = "\n".join(_port_row(port) for port in chip_ports(config))
    halves, links = [], []
    if config.many_core_half is not None:
        network = config.many_core.network
        halves.append(f"{network.columns} x {network.rows} cores, each an instance of one module")
        links.append("docs/host_protocol.md")
    if config.learn_half is not None:
        halves.append("engines for training")
        links.append("docs/learn_rtl.md")
    text = f"""# Verilog of {config.name}

{" and ".join(halves)}; configuration `{config.config_hash}`, written by spikeloom.
Verilog-2005; the top is `{CHIP_MODULE}` in `{CHIP_MODULE}.v`. All memories but small FIFOs are instances of
`{RAM_MODULE}`.

## Ports of {CHIP_MODULE}

| port | direction | bits | meaning |
|---|---|---|---|
{ports}

Both streams are AXI4-Stream. `s_axis_tvalid` may not wait for `s_axis_tready`; a beat that is offered stays until it is
taken. {" and ".join(links)} of spikeloom say what the frames mean; spikeloom's drivers speak it.

## Memories

{_memory_table(texts)}

`{RAM_MODULE}` is the place for the macros of an ASIC: replace its text by one that chooses a macro by WIDTH and DEPTH.
Its contract, which is all that the chip relies on, is written in it. Contents at power-up do not matter.

## Simulate

    iverilog -g2005 -c {FILE_LIST} your_testbench.v
    verilator --binary --timing -Wno-fatal -f {FILE_LIST} your_testbench.v

The plusarg `+ram_random` fills memories with anything at the start.

## Synthesise

    yosys -p "read_verilog {" ".join(texts)}; synth_ecp5 -top {CHIP_MODULE} -json chip.json"

`SYNTHESIS` must be defined (Yosys defines it): it leaves out what is for simulation. The clock that was asked for is
{config.clock_hz / 1e6:g} MHz.
"""
    if has_images:
        text += f"""
## Images

`{IMAGES}/tile_<x>_<y>/<memory>.hex` is what the host writes to a core's memory, from row 0 on: one row a line, for
`$readmemh`. `weights`, `neurons`, `routes` and `table` are each one instance of `{RAM_MODULE}` in a core, the array
`memory` inside it; `registers` are flip-flops, which the host writes even where the rest is preloaded.
"""
    return text


def _port_row(port: FlatPort) -> str:
    direction = "input" if port.is_input else "output"
    return f"| `{port.name}` | {direction} | {len(port.value)} | {MEANINGS[port.name]} |"


def _memory_table(texts: dict[str, str]) -> str:
    netlist = Netlist(texts)
    rows = ["| module | instance | bits | rows | KiB | on the chip |", "|---|---|---|---|---|---|"]
    total = 0
    for module, instance in netlist.instances_of(RAM_MODULE):
        width, depth = instance.parameters["WIDTH"], instance.parameters["DEPTH"]
        count = netlist.count(module, CHIP_MODULE)
        total += width * depth * count
        kib = width * depth / 8192
        rows.append(f"| `{module}` | `{instance.name}` | {width} | {depth} | {kib:.2f} | {count} |")
    return "\n".join(rows) + f"\n\nTogether {total / 8192:,.1f} KiB."
