"""The SRAM macros of reports/costs/sram.yaml, from CACTI 7: writes its configurations, runs it, keeps what it says.

Usage: python benchmarks/cacti_tables.py --cacti DIR [--out reports/costs/sram.yaml] [--jobs 2]

DIR holds CACTI's sources as HewlettPackard/cacti has them, built by ``make opt`` (g++ alone); its binary reads
``tech_params`` beside it, and so does this script, for the voltage. Nothing of it is copied here but its results.

What is asked of CACTI, for every size, word and number of ports:

- cells and periphery ``itrs-lstp``, which is a process of low standby power: it alone has a supply near that of the
  chips here (0.92 V at 28 nm; ``itrs-lop`` has 0.64 V, ``itrs-hp`` 0.86 V and leaks a thousand times as much),
- a plain memory (``cache type "ram"``) of one bank, its organisation the one of least energy x delay squared,
- leakage at 350 K, and for one macro at 310 K too. Not at 360 K: there CACTI's file of 22 nm has a current at odds
  with its neighbours by a factor of four.

Ports: ``1rw`` one for reading and writing, ``1r1w`` one of each. Words over 32 bytes are not asked for: such memories
are macros side by side. Where CACTI finds no organisation the point is left out.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import TextIO

NODES_NM = (45, 32, 28, 22)
SIZES = tuple(1 << bits for bits in range(8, 22))  # 256 bytes to 2 MiB
WORDS = (1, 2, 4, 8, 16, 32)  # bytes
LEAST_ROWS = 32  # words of a macro; of 16 CACTI finds no organisation
PORTS = {"1rw": (1, 0, 0), "1r1w": (0, 1, 1)}  # read-write, read, write
CELLS = "itrs-lstp"
HOT_K, COLD_K = 350, 310
PROBE = (32768, 32)  # the macro whose leakage is asked for at both temperatures

# CACTI asks for the description of a memory beside the chip even where there is none.
BESIDE_THE_CHIP = """
-dram_type "DDR3"
-io state "WRITE"
-addr_timing 1.0
-mem_density 4 Gb
-bus_freq 800 MHz
-duty_cycle 1.0
-activity_dq 1.0
-activity_ca 0.5
-num_dq 72
-num_dqs 18
-num_ca 25
-num_clk 2
-num_mem_dq 2
-mem_data_width 8
-num_bobs 1
-capacity 80
-num_channels_per_bob 1
-first metric "Cost"
-second metric "Bandwidth"
-third metric "Energy"
-DIMM model "ALL"
-low_power_permitted "F"
-load 1.0
-row_buffer_hit_rate 1.0
-rd_2_wr_ratio 2.0
-same_bw_in_bob "T"
-mirror_in_bob "F"
-total_power "F"
-verbose "F"
"""

CONFIGURATION = """
-size (bytes) {size}
-block size (bytes) {word}
-associativity 1
-read-write port {read_write}
-exclusive read port {read}
-exclusive write port {write}
-single ended read ports 0
-UCA bank count 1
-technology (u) {microns:.3f}
-page size (bits) 8192
-burst length 8
-internal prefetch width 8
-Data array cell type - "{cells}"
-Data array peripheral type - "{cells}"
-Tag array cell type - "{cells}"
-Tag array peripheral type - "{cells}"
-output/input bus width {bits}
-operating temperature (K) {kelvin}
-cache type "ram"
-tag size (b) "default"
-access mode (normal, sequential, fast) - "normal"
-design objective (weight delay, dynamic power, leakage power, cycle time, area) 0:100:0:0:0
-deviate (delay, dynamic power, leakage power, cycle time, area) 100:100000:100000:100000:1000000
-NUCAdesign objective (weight delay, dynamic power, leakage power, cycle time, area) 100:100:0:0:100
-NUCAdeviate (delay, dynamic power, leakage power, cycle time, area) 10:10000:10000:10000:10000
-Optimize ED or ED^2 (ED, ED^2, NONE): "ED^2"
-Cache model (NUCA, UCA) - "UCA"
-NUCA bank count 0
-Wire signaling (fullswing, lowswing, default) - "Global_30"
-Wire inside mat - "semi-global"
-Wire outside mat - "semi-global"
-Interconnect projection - "conservative"
-Core count 8
-Cache level (L2/L3) - "L3"
-Add ECC - "false"
-Print level (DETAILED, CONCISE) - "DETAILED"
-Print input parameters - "false"
-Force cache config - "false"
"""

NUMBER = r"\s*([-+\d.eE]+)"
FIELDS = {
    "read_nj": r"Total dynamic read energy per access \(nJ\):" + NUMBER,
    "write_nj": r"Total dynamic write energy per access \(nJ\):" + NUMBER,
    "leakage_mw": r"Total leakage power of a bank \(mW\):" + NUMBER,
    "gate_leakage_mw": r"Total gate leakage power of a bank \(mW\):" + NUMBER,
    "access_ns": r"Access time \(ns\):" + NUMBER,
    "height_mm": r"height x width \(mm\):" + NUMBER,
    "width_mm": r"height x width \(mm\):\s*[-+\d.eE]+\s*x" + NUMBER,
}


@dataclass(frozen=True)
class Macro:
    """A memory to ask CACTI about."""

    node_nm: int
    ports: str
    size_bytes: int
    word_bytes: int
    kelvin: int = HOT_K

    def configuration(self) -> str:
        """Return CACTI's configuration."""
        read_write, read, write = PORTS[self.ports]
        asked = CONFIGURATION.format(
            size=self.size_bytes, word=self.word_bytes, bits=8 * self.word_bytes, read_write=read_write, read=read,
            write=write, microns=self.node_nm / 1000, cells=CELLS, kelvin=self.kelvin,
        )  # fmt: skip
        return asked.lstrip() + BESIDE_THE_CHIP.lstrip()


def parse(text: str) -> dict[str, float] | None:
    """Return the figures of CACTI's answer; None where it found no organisation.

    Raises
    ------
    ValueError
        If a figure is missing although there is an organisation.
    """
    if "no valid data array organizations found" in text:
        return None
    found: dict[str, float] = {}
    for name, pattern in FIELDS.items():
        match = re.search(pattern, text)
        if match is None:
            raise ValueError(f"CACTI's answer has no {name}: is this version 7?")
        found[name] = float(match[1])
    return found


def ask(folder: Path, macro: Macro) -> dict[str, float] | None:
    """Run CACTI for one macro; RuntimeError with its last words where it does not finish."""
    with tempfile.NamedTemporaryFile("w", suffix=".cfg") as file:
        file.write(macro.configuration())
        file.flush()
        done = subprocess.run(
            [str(folder / "cacti"), "-infile", file.name],
            cwd=folder, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
    answer = parse(done.stdout) if done.stdout else None
    if answer is None and "no valid data array" not in done.stdout:
        raise RuntimeError(
            f"{macro}: CACTI left with {done.returncode}: {done.stdout[-200:]} {done.stderr[-200:]}"
        )
    return answer


def voltage(folder: Path, node_nm: int) -> float:
    """Return the supply that CACTI takes: of its file, or between two as it goes between them itself."""
    files = {
        int(path.stem.removesuffix("nm")): path for path in (folder / "tech_params").glob("*nm.dat")
    }
    above = min(node for node in files if node >= node_nm)
    below = max(node for node in files if node <= node_nm)
    supply = {}
    for node in (above, below):
        match = re.search(r"^-Vdd \(V\)\s+\S+\s+(\S+)", files[node].read_text(), re.MULTILINE)
        assert match is not None, f"{files[node]} names no supply"
        supply[node] = float(match[1])
    if above == below:
        return supply[above]
    share = (node_nm - below) / (above - below)
    return share * supply[above] + (1 - share) * supply[below]


def macros() -> Iterator[Macro]:
    """Yield all that are asked for."""
    for node_nm in NODES_NM:
        for ports in PORTS:
            for size in SIZES:
                for word in WORDS:
                    if size // word >= LEAST_ROWS:
                        yield Macro(node_nm, ports, size, word)


def write(out: TextIO, folder: Path, answers: dict[Macro, dict[str, float] | None]) -> None:
    """Write the table as YAML, a line a macro."""
    sha = hashlib.sha256((folder / "technology.cc").read_bytes()).hexdigest()[:16]
    out.write(
        "# SRAM macros, written by `python benchmarks/cacti_tables.py --cacti DIR`, which says what it asks for.\n"
        "# A point: size and word in bytes; read, write in pJ; leakage in mW; area in mm2; access in ns.\n"
        "# docs/costs.md\n"
        "version: 1\n"
        "name: sram\n"
        "tables:\n"
    )
    for node_nm in NODES_NM:
        probe = [
            answers[Macro(node_nm, "1rw", *PROBE, kelvin=kelvin)] for kelvin in (HOT_K, COLD_K)
        ]
        hot, cold = (leakage(answer) for answer in probe if answer is not None)
        for ports in PORTS:
            out.write(
                f"  - node_nm: {node_nm}\n"
                f"    ports: {ports}\n"
                f"    voltage_v: {voltage(folder, node_nm):.3g}\n"
                f"    temperature_k: {HOT_K}\n"
                f"    cold_leakage: {cold / hot:.4g}  # at {COLD_K} K over {HOT_K} K, {PROBE[0]} bytes of {PROBE[1]}\n"
                f"    cold_temperature_k: {COLD_K}\n"
                f'    source: "CACTI 7 (technology.cc {sha}), {CELLS} cells and periphery, {ports}, run by us"\n'
                "    points:\n"
            )
            for macro, answer in answers.items():
                if (macro.node_nm, macro.ports, macro.kelvin) == (node_nm, ports, HOT_K) and answer:
                    out.write(f"      - {point(macro, answer)}\n")


def leakage(answer: dict[str, float]) -> float:
    """Return the leakage through channels and gates in mW."""
    return answer["leakage_mw"] + answer["gate_leakage_mw"]


def point(macro: Macro, answer: dict[str, float]) -> str:
    """Return a line of the table."""
    figures = (
        1e3 * answer["read_nj"],
        1e3 * answer["write_nj"],
        leakage(answer),
        answer["height_mm"] * answer["width_mm"],
        answer["access_ns"],
    )
    numbers = ", ".join(f"{float(f'{figure:.4g}')!r}" for figure in figures)
    return f"[{macro.size_bytes}, {macro.word_bytes}, {numbers}]"


def main() -> None:
    """Ask for all macros, then write the table in one go."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--cacti", type=Path, required=True, metavar="DIR", help="CACTI 7, built")
    parser.add_argument("--out", type=Path, default=Path("reports/costs/sram.yaml"))
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    if not (options.cacti / "cacti").is_file():
        parser.error(f"{options.cacti} holds no binary called cacti: build it there with make opt")
    asked = [*macros(), *(Macro(node, "1rw", *PROBE, kelvin=COLD_K) for node in NODES_NM)]
    answers: dict[Macro, dict[str, float] | None] = {}
    with ThreadPoolExecutor(options.jobs) as pool:
        for macro, answer in zip(
            asked, pool.map(lambda macro: ask(options.cacti.resolve(), macro), asked), strict=True
        ):
            answers[macro] = answer
            if len(answers) % 50 == 0:
                print(f"{len(answers)} of {len(asked)}", file=sys.stderr)
    lost = [macro for macro, answer in answers.items() if answer is None]
    text = StringIO()
    write(text, options.cacti, answers)
    options.out.write_text(text.getvalue(), encoding="utf-8")
    print(
        f"wrote {options.out}: {len(answers) - len(lost)} macros, without an organisation {len(lost)}"
    )
    for macro in lost:
        print(f"  {macro}")


if __name__ == "__main__":
    main()
