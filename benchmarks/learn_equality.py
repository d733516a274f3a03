"""Learning chips' Verilog against the simulator over many training steps: every row stored, every task's cycles.

Usage: PYTHONPATH=. python benchmarks/learn_equality.py [--cycles 5000000] [--seed 0] [--only CHIP ...]

Each chip's Verilog is simulated by Verilator, with memories that hold noise at power-up; random networks follow each
other without a reset until the chip's share of the cycles is compared, each for two to four steps, with pauses of the
memory and of the host. A difference ends the run: it is named, with the network, and the exit code is 1.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from equality import main, say

from spikeloom.chip.config import ChipConfig, load_config
from spikeloom.hw.cosim.build import Build
from spikeloom.hw.cosim.errors import CosimError
from spikeloom.hw.cosim.verilated import VerilatedTransport
from spikeloom.hw.transport import HostLinkError
from spikeloom.learn_comparing import StepComparison
from spikeloom.learn_verifying import build_learn_bench
from tests.support.learn_rtl import random_case

# What is changed of h2learn_small. Between them every size and every kind of number that the engines allow for differs.
CHIPS: dict[str, dict[str, dict[str, Any]]] = {
    "h2learn_small": {},
    "uneven": {  # bf16, longer adders, a backward engine of which nothing is a power of two
        "learn": {"operands": "bf16", "adder_stages": 4, "multiplier_stages": 3},
        "forward": {"columns": 3},
        "update": {"columns": 5},
        "backward": {"rows": 3, "lanes": 3, "contexts": 3, "channels": 24, "depth": 16},
        "dram": {"latency_cycles": 1},
    },
    "narrow": {  # 16-bit sums, one of everything
        "learn": {"accumulators": "fp16", "adder_stages": 2, "multiplier_stages": 1},
        "forward": {"columns": 1},
        "update": {"columns": 1},
        "backward": {"rows": 1, "lanes": 5, "contexts": 1, "channels": 16, "depth": 8},
        "dram": {"latency_cycles": 55},
    },
}
PAUSE_RATES = (0, 64, 200)  # of 256 cycles, in which the host's streams pause


@dataclass
class Tally:
    """What was compared, and the seconds that the machines took for it."""

    counts: Counter[str] = field(default_factory=Counter)
    rtl_s: float = 0.0
    simulator_s: float = 0.0

    def add(self, comparison: StepComparison, tasks: int) -> None:
        """Add a network whose steps were equal."""
        self.rtl_s += comparison.rtl_s
        self.simulator_s += comparison.simulator_s
        self.counts.update(
            networks=1, steps=comparison.steps, tasks=comparison.steps * tasks,
            cycles=comparison.cycles, rows=comparison.stored,
        )  # fmt: skip

    def merge(self, other: Tally) -> None:
        """Add another chip's."""
        self.counts.update(other.counts)
        self.rtl_s += other.rtl_s
        self.simulator_s += other.simulator_s

    def __str__(self) -> str:
        c = self.counts
        return (
            f"{c['cycles']:,} cycles equal in {c['networks']:,} networks, {c['steps']:,} steps, {c['tasks']:,} tasks, "
            f"{c['rows']:,} rows stored; RTL {self.rtl_s:.1f} s, simulator {self.simulator_s:.1f} s"
        )


def chip(name: str) -> ChipConfig:
    """Return a chip of `CHIPS`."""
    return load_config("h2learn_small").replace(chip={"name": name}, **CHIPS[name])


def compare(
    config: ChipConfig, seed: int, transport: VerilatedTransport, tally: Tally
) -> str | None:
    """Compare a network's steps; return what differs or goes wrong."""
    rng = np.random.default_rng(seed)
    case = random_case(rng, config)
    rate = int(rng.choice(PAUSE_RATES))
    transport.stall(seed + 1, rate, rate)
    comparison = StepComparison(case.program, case.parameters, transport, case.stalls)
    try:
        difference = comparison.run(case.batches)
    except (CosimError, HostLinkError) as error:
        return f"{error}; {case}"
    if difference is not None:
        return f"{difference}; {case}"
    tally.add(comparison, len(case.program.tasks))
    return None


def run_chip(name: str, cycles: int, seed: int) -> Tally | None:
    """Compare networks on a chip until so many cycles are equal; None if something differs."""
    config = chip(name)
    began = time.perf_counter()
    build = build_learn_bench(config)
    say(f"{name}: Verilog and its simulator there after {time.perf_counter() - began:.1f} s")
    tally = Tally()
    with VerilatedTransport(build, random_memories=seed) as transport:
        while tally.counts["cycles"] < cycles:
            found = compare(config, seed, transport, tally)
            if found is not None:
                break
            seed += 1
        else:
            say(f"{name}: {tally}")
            return tally
    alone = "the same" if _alone(config, build, seed) == found else "not the same"
    say(
        f"{name}, seed {seed}: DIFFERENT: {found}; {alone} on a chip that did nothing before; before it {tally}"
    )
    return None


def _alone(config: ChipConfig, build: Build, seed: int) -> str | None:
    with VerilatedTransport(build, random_memories=seed) as transport:
        return compare(config, seed, transport, Tally())


if __name__ == "__main__":
    sys.exit(main(str(__doc__), CHIPS, 5_000_000, run_chip, Tally()))
