"""The Verilog against the simulator over many cycles: every event by signatures, every length, output and counter.

Usage: PYTHONPATH=. python benchmarks/equality.py [--cycles 10000000] [--seed 0] [--only CHIP ...]

Each chip's Verilog is simulated by Verilator; programs are drawn until its share of the cycles is compared. Samples and
timesteps follow each other without a gap; signatures are read at the end of each sample. A difference ends the run: it
is sought timestep by timestep and then event by event, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from spikeloom.chip.config import ChipConfig, load_config
from spikeloom.chip.events import CORE_EVENT_INDEX
from spikeloom.comparing import Case, Difference, compare_samples, locate
from spikeloom.hw.cosim.build import Build, build_model
from spikeloom.hw.verilog import emit_chip
from spikeloom.sim.run import ManyCoreRun, run_many_core
from tests.support.random_program import random_program

# Few lanes, since these take the time, both of the build and of a cycle; many neurons and axons, since between two
# timesteps the host has work that compares nothing. No two agree in a size, and few sizes are powers of two.
CHIPS: dict[str, dict[str, dict[str, Any]]] = {
    "alone": {  # one core; timesteps of a fixed length, which some exceed
        "core": {
            "axons": 90, "neurons": 61, "lanes": 2, "delay_slots": 3, "weight_bits": 8, "activation_bits": 8,
            "accumulator_bits": 24, "membrane_bits": 24, "decay_bits": 12, "route_entries": 500, "pipeline_stages": 4,
        },
        "network": {"columns": 1, "rows": 1, "fifo_depth": 3},
        "timestep": {"mode": "fixed", "period_cycles": 900},
    },
    "pair": {  # narrow membranes, FIFOs of one flit
        "core": {
            "axons": 70, "neurons": 40, "lanes": 1, "delay_slots": 5, "weight_bits": 6, "activation_bits": 3,
            "accumulator_bits": 13, "membrane_bits": 10, "decay_bits": 5, "route_entries": 300, "pipeline_stages": 6,
        },
        "network": {"columns": 2, "rows": 1, "fifo_depth": 1},
    },
    "square": {  # much traffic, two host ports each way
        "core": {
            "axons": 33, "neurons": 26, "lanes": 1, "delay_slots": 4, "weight_bits": 8, "activation_bits": 9,
            "accumulator_bits": 20, "membrane_bits": 17, "decay_bits": 8, "route_entries": 400, "pipeline_stages": 5,
        },
        "network": {"columns": 2, "rows": 2, "fifo_depth": 2, "host_rows": [0, 1], "host_columns": [0, 1]},
    },
}  # fmt: skip
# (inputs, fan-out): from quiet to more than the network on chip can carry at once.
TRAFFIC = ((20, 3), (60, 5), (120, 12))
SAMPLES = 3
TIMESTEPS = 80


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


def draw(config: ChipConfig, seed: int) -> Case:
    """Draw a program and samples for it; every third or so holds its inputs."""
    rng = np.random.default_rng(seed)
    inputs, fan_out = TRAFFIC[seed % len(TRAFFIC)]
    program = random_program(rng, config, inputs, fan_out)
    top = 1 << config.many_core.core.activation_bits
    shape = (SAMPLES, 1 if rng.random() < 1 / 3 else TIMESTEPS, inputs)
    payloads = rng.integers(0, top, shape) * (rng.random(shape) < rng.choice([0.3, 0.7, 1.0]))
    return Case(program, payloads.astype(np.int32), TIMESTEPS)


@dataclass
class Tally:
    """What was compared on a chip, and the seconds that it took."""

    counts: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    def add(self, simulated: ManyCoreRun, seconds: float) -> None:
        """Add a program that was equal."""
        self.seconds += seconds
        self.counts.update(
            programs=1,
            timesteps=simulated.cycles.size,
            cycles=int(simulated.cycles.sum()),
            updates=int(simulated.core_counters[:, CORE_EVENT_INDEX["neuron_updates"]].sum()),
            axons=int(simulated.core_counters[:, CORE_EVENT_INDEX["active_axons"]].sum()),
            flits=int(simulated.router_counters.sum()),
            outputs=simulated.chip_counters["host_flits_out"],
        )

    def merge(self, other: Tally) -> None:
        """Add another chip's."""
        self.counts.update(other.counts)
        self.seconds += other.seconds

    def __str__(self) -> str:
        """Return a line of numbers."""
        c = self.counts
        return (
            f"{c['cycles']:,} cycles equal in {self.seconds:.1f} s, "
            f"{c['cycles'] / self.seconds / 1e3:,.0f} k cycles/s; "
            f"{c['programs']} programs, {c['timesteps']:,} timesteps, {c['updates']:,} neuron updates, "
            f"{c['axons']:,} active axons, {c['flits']:,} flits at router outputs, {c['outputs']:,} at the host"
        )


def compare(case: Case, build: Build) -> tuple[ManyCoreRun, Difference | None]:
    """Run a program on both machines; return what the simulator did, and the first difference."""
    simulated = run_many_core(
        case.program, case.payloads, case.timesteps, signatures=True, record_outputs=True, threads=1
    )
    rough = compare_samples(case, simulated, build, every_timestep=False)
    if rough is None:
        return simulated, None
    # Where it is not seen if the host reads after every timestep, the end of the sample is all that is known.
    rough = compare_samples(case, simulated, build) or rough
    return simulated, locate(case, build, rough)


def run_chip(name: str, cycles: int, seed: int) -> Tally | None:
    """Compare programs on a chip until so many cycles are equal; None if something differs."""
    config = load_config("tiny").replace(chip={"name": name}, **CHIPS[name])
    began = time.perf_counter()
    build = build_model(emit_chip(config, trace=True))
    say(f"{name}: Verilog and its simulator there after {time.perf_counter() - began:.1f} s")
    tally = Tally()
    while tally.counts["cycles"] < cycles:
        began = time.perf_counter()
        simulated, difference = compare(draw(config, seed), build)
        if difference is not None:
            say(
                f"{name}, seed {seed}: DIFFERENT: {difference}; before it {tally.counts['cycles']:,} cycles were equal"
            )
            return None
        tally.add(simulated, time.perf_counter() - began)
        seed += 1
    idle = [what for what in ("updates", "axons", "flits", "outputs") if not tally.counts[what]]
    if idle:
        raise RuntimeError(
            f"nothing was compared on chip {name}: there were no {' and no '.join(idle)}"
        )
    say(f"{name}: {tally}")
    return tally


def main(
    description: str,
    chips: Iterable[str],
    cycles: int,
    run_chip: Callable[[str, int, int], Any],
    whole: Any,
) -> int:
    """Parse the command line and run; return the exit code.

    ``run_chip(name, cycles, seed)`` returns what was compared, None where there was a difference; ``whole``, of the
    same kind and empty, takes all of it by ``merge``.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = list(chips)
    parser.add_argument("--cycles", type=int, default=cycles, help="in all, or a little more")
    parser.add_argument("--seed", type=int, default=0, help="of what each chip is given first")
    parser.add_argument("--only", nargs="+", default=names, choices=names)
    options = parser.parse_args()
    share = -(-options.cycles // len(options.only))
    for name in options.only:
        tally = run_chip(name, share, options.seed)
        if tally is None:
            return 1
        whole.merge(tally)
    say(f"in all: {whole}; no difference")
    return 0


if __name__ == "__main__":
    sys.exit(main(str(__doc__), CHIPS, 10_000_000, run_chip, Tally()))
