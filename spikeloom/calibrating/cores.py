"""The many-core's acceptance checks: preset `tianjic` run dense, idle and in bursts, beside what is published."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np

from ..chip.config import ChipConfig, load_config
from ..reports.calibration import Beside, Check, Finding, Published, bounded, exactly, near
from ..reports.costs import load_costs
from ..reports.prices import memories
from ..synthesising import quick_area
from .core_probes import (
    PATTERNS,
    Steady,
    load_program_of,
    neighbours,
    one_flit,
    scatter,
    steady,
    traffic,
)
from .neuron_probe import compare_with_arithmetic, compare_with_p08

__all__ = ["CORE_CHECKS", "CoreProbes", "beside_tianjic"]

_STATIC_FIT = (
    "one static term is chosen so that the dense ANN program draws exactly the published power; the costs themselves "
    "are not fitted"
)
_FACTS_DRAINS = {
    "uniform, 256 flits a core": 1276,
    "uniform, 64 flits a core": 328,
}
_UPDATES = 100_000


class CoreProbes:
    """The runs that several checks look at, each made once."""

    def __init__(self, published: Published, seed: int = 0) -> None:
        self.published, self.seed = published, seed
        self.adaptive = load_config("tianjic")
        self.fixed = self.adaptive.replace(timestep={"mode": "fixed"})
        self.costs = load_costs(self.adaptive.node_nm)

    def run(self, config: ChipConfig, active: int, *, activations: bool = False) -> Steady:
        """Return the steady state with so many active axons a core, spikes or activations to the neighbour."""
        program = load_program_of(
            config, active=active, destination=neighbours(config), activations=activations, seed=self.seed
        )  # fmt: skip
        return steady(program)

    @cached_property
    def dense_ann(self) -> Steady:
        """All axons active with activations, rounds of 5,050 cycles."""
        return self.run(self.fixed, 256, activations=True)

    @cached_property
    def dense_snn(self) -> Steady:
        """All neurons firing, rounds of 5,050 cycles."""
        return self.run(self.fixed, 256)

    @cached_property
    def static_fit_w(self) -> float:
        """Watts to be added to the priced power so that the dense ANN program reaches the published efficiency."""
        return self.published.figure("peak_w").low - self.power_w(self.dense_ann)

    def power_w(self, of: Steady) -> float:
        """Power by the cost table, nothing fitted."""
        return of.energy(self.costs).average_power_w

    @property
    def tops(self) -> float:
        """Tera-operations a second of the dense ANN program, two a multiplication."""
        return 2 * self.dense_ann.rate("multiplies") / 1e12

    @property
    def gsyops(self) -> float:
        """Giga synaptic operations a second of the dense SNN program."""
        return self.dense_snn.rate("synops") / 1e9

    @property
    def memory_gb_s(self) -> float:
        """Bytes of weights read a second, all cores together."""
        core = self.fixed.many_core.core
        word = core.lanes * core.weight_bits / 8
        return self.dense_snn.rate("weight_reads") * word / 1e9

    @cached_property
    def area_mm2(self) -> float:
        """Area by the stored synthesis of the RTL and SRAM macros."""
        return quick_area(self.adaptive).area_mm2


# ------------------------------------------------------------------------------------------------- checks


def capacity(probes: CoreProbes) -> Check:
    """Check 1."""
    chip = probes.adaptive.many_core
    neurons = chip.core_count * chip.core.neurons
    return Check(
        id="T1", half="many_core", title="Neurons and synapses of the chip", tolerance="exact", how="calculated",
        source="circuits magazine 2022; notes on Nature 572",
        findings=(
            bounded("neurons", neurons, probes.published.figure("neurons")),
            bounded("synapses", neurons * chip.core.axons, probes.published.figure("synapses")),
        ),
    )  # fmt: skip


def phase(probes: CoreProbes) -> Check:
    """Check 2."""
    figure, dense = probes.published.figure, probes.dense_snn
    adaptive = probes.run(probes.adaptive, 256)
    findings = [
        bounded("cycles of a round, all neurons firing", dense.cycles, figure("phase_cycles")),
        bounded("time of a round", dense.seconds * 1e6, figure("phase_us"), 1e-4),
        bounded("rounds a second", 1e-3 / dense.seconds, figure("phase_khz"), 1e-4),
        exactly("overruns of the period, flits to the neighbour", dense.chip_counters["overruns"], 0),
        Finding(
            what="cycles that such a round needs: compute, send, drain, barrier", got=adaptive.cycles, unit="cycles",
            high=figure("phase_cycles").high, expected="at most 5,050",
        ),
    ]  # fmt: skip
    scattered = load_program_of(
        probes.adaptive, active=256, destination=scatter(probes.adaptive, probes.seed)
    )
    findings.append(
        Finding(
            what="cycles that it needs with flits to random cores, one an axon",
            got=steady(scattered).cycles,
            unit="cycles",
        )
    )
    return Check(
        id="T2", half="many_core", title="A round of 5,050 cycles holds a dense core's work", tolerance="exact",
        how="simulated", source="circuits magazine 2022", findings=tuple(findings),
        fitted="the length of a round is set; that work, traffic and barrier fit into it is found",
        reason="It does for traffic between neighbours. What traffic across the mesh needs stands last: a core sends "
        "when its own compute has ended, so that compute and drain add up.",
    )  # fmt: skip


def dense_ann(probes: CoreProbes) -> Check:
    """Check 3."""
    figure, watts = probes.published.figure, probes.power_w(probes.dense_ann)
    fitted = probes.tops / (watts + probes.static_fit_w)
    return Check(
        id="T3", half="many_core", title="Dense ANN on all cores", tolerance="rate 1 %, efficiency 3 %",
        how="simulated", source="notes on Nature 572", fitted=f"efficiency: {_STATIC_FIT}",
        findings=(
            bounded("operations a second", probes.tops, figure("tops"), 0.01),
            bounded("efficiency with the fitted term", fitted, figure("tops_w"), 0.03),
            bounded("efficiency by the cost table alone", probes.tops / watts, figure("tops_w"), 0.03, binds=False),
            Finding(what="power by the cost table alone", got=watts, unit="W", expected="0.949"),
            Finding(what="static term that was fitted", got=probes.static_fit_w, unit="W"),
        ),
        reason="The rate follows from 5,050 cycles, and so do those of T4 and T5: one independent check, not three.",
    )  # fmt: skip


def dense_snn(probes: CoreProbes) -> Check:
    """Check 4."""
    figure, watts = probes.published.figure, probes.power_w(probes.dense_snn)
    with_term = watts + probes.static_fit_w
    return Check(
        id="T4", half="many_core", title="Dense SNN on all cores, all neurons firing",
        tolerance="rate 1 %, efficiency 3 %", how="simulated", source="notes on Nature 572; SENECA, table 3",
        fitted="efficiency: with the term fitted at T3, so only the difference between spikes and activations is found",
        reason="By the published figures spikes draw 13 mW less than activations, 1.4 %; by our prices the multipliers "
        "that idle are worth more than that.",
        findings=(
            bounded("synaptic operations a second", probes.gsyops, figure("gsyops"), 0.01),
            bounded("efficiency with the term of T3", probes.gsyops / with_term, figure("gsyops_w"), 0.03),
            bounded("energy of one with the term of T3", with_term / probes.gsyops * 1e3, figure("pj_sop"), 0.03),
            bounded("efficiency by the cost table alone", probes.gsyops / watts, figure("gsyops_w"), 0.03, binds=False),
            bounded("energy of one by the cost table alone", watts / probes.gsyops * 1e3, figure("pj_sop"), 0.03,
                    binds=False),
        ),
    )  # fmt: skip


def weight_traffic(probes: CoreProbes) -> Check:
    """Check 5."""
    chip = probes.fixed.many_core
    each = probes.memory_gb_s * 1e9 * probes.dense_snn.seconds / chip.core_count
    return Check(
        id="T5", half="many_core", title="Bytes of weights that a dense round reads", tolerance="2 %", how="simulated",
        source="notes on Nature 572; abstract of JSSC 2020",
        findings=(
            exactly("bytes a core and round", each, 65536, "B"),
            bounded("bandwidth", probes.memory_gb_s, probes.published.figure("memory_gb_s"), 0.02),
        ),
        reason="One byte a synapse: a consequence of the same 5,050 cycles.",
    )  # fmt: skip


def bicycle(probes: CoreProbes) -> Check:
    """Check 7."""
    figure = probes.published.figure("bicycle_w")
    findings = [
        bounded(
            f"power with the term of T3, {share} of the axons active",
            probes.power_w(probes.run(probes.fixed, axons)) + probes.static_fit_w, figure, 0.25, binds=False,
        )
        for axons, share in ((0, "none"), (26, "10 %"), (64, "25 %"))
    ]  # fmt: skip
    return Check(
        id="T7", half="many_core", title="Mean power at low activity", tolerance="25 %, plausibility only",
        how="simulated", source="circuits magazine 2022", findings=tuple(findings),
        fitted="the static term of T3",
        reason="Neither activity nor rate of that application is known. The chip simulated gates no clock and no "
        "supply, so that it idles on leakage and clock of all cores.",
    )  # fmt: skip


def zero_skip(probes: CoreProbes) -> Check:
    """Check 9."""
    chip, findings = probes.adaptive.many_core, list[Finding]()
    compute: dict[int, float] = {}
    for active in (0, 16, 26, 64, 128, 256):
        run = probes.run(probes.adaptive, active)
        compute[active] = run.total("compute_cycles") / chip.core_count
        law = chip.compute_cycles(active, chip.core.neurons, chip.core.weight_bits)
        findings.append(
            exactly(f"compute cycles, {active} active axons", compute[active], law, "cycles")
        )
        synops = run.total("synops") / chip.core_count
        findings.append(
            exactly(f"synaptic operations, {active} active axons", synops, active * 256)
        )
    findings.append(
        near("share of the dense cycles at 10 % spikes", compute[26] / compute[256], 0.11, 0.02)
    )
    return Check(
        id="T9", half="many_core", title="Zeros are skipped: work follows the active axons", tolerance="exact",
        how="simulated", source="docs/architecture.md", findings=tuple(findings),
        reason="The first proposal of such a core had a soma of 2 stages, 454 cycles at 10 %; this one has 8, and 459.",
    )  # fmt: skip


def neurons(probes: CoreProbes) -> Check:
    """Check 10."""
    own = compare_with_arithmetic(_UPDATES, probes.seed)
    published = compare_with_p08(_UPDATES, probes.seed)
    return Check(
        id="T10", half="many_core", title="Neuron updates bit by bit, 100,000 random vectors", tolerance="exact",
        how="simulated", source="chip/arithmetic.py; github openBII/BiMap, prim_08",
        findings=(
            exactly(f"updates unlike chip/arithmetic.py, of {own.updates:,}", own.different, 0),
            exactly("modes and timings of the reset among them", own.resets, 8),
            Finding(what="spikes among them", got=own.spikes, low=1000, expected="many"),
            exactly(f"updates without leak unlike TianjicX's P08, of {published.updates:,}", published.different, 0),
            Finding(what="spikes among them", got=published.spikes, low=1000, expected="many"),
        ),
        reason="P08 leaks after the reset, rounding down, and moves its threshold with the spikes; this chip leaks "
        "before it integrates, rounding to nearest, and has no moving threshold. There they are not the same, and "
        "not compared.",
    )  # fmt: skip


def network(probes: CoreProbes) -> Check:
    """Check 12."""
    chip, rng, findings = (
        probes.adaptive.many_core,
        np.random.default_rng(probes.seed),
        list[Finding](),
    )
    columns = chip.network.columns
    for source, there, hops in (
        (0, 0, 0),
        (0, 3, 3),
        (0, 7 * columns, 7),
        (0, chip.core_count - 1, 23),
    ):
        cycles = one_flit(probes.adaptive, source, there)
        findings.append(
            exactly(f"cycles of one flit, idle mesh, {hops} hops", cycles, hops + 2, "cycles")
        )
    for name, (destinations, senders) in PATTERNS.items():
        burst = traffic(probes.adaptive, destinations(probes.adaptive, rng), senders)
        lost = burst.flits - burst.ejected, burst.ejected - burst.written
        findings.append(exactly(f"{name}: flits lost of {burst.flits:,}", sum(map(abs, lost)), 0))
        findings.append(Finding(
            what=f"{name}: drain over the bound of {burst.bound:,}", got=burst.drain_cycles / burst.bound, low=1.0,
            high=1.8, expected="1 to 1.8",
        ))  # fmt: skip
        if name in _FACTS_DRAINS:
            findings.append(Finding(
                what=f"{name}: drain", got=burst.drain_cycles, unit="cycles",
                expected=f"{_FACTS_DRAINS[name]:,}, of other random targets",
            ))  # fmt: skip
    return Check(
        id="T12", half="many_core", title="Network on chip: zero load, nothing lost, drain near its bound",
        tolerance="exact; drain at most 1.8 of the bound", how="simulated", findings=tuple(findings),
        source="a router of this kind, simulated",
        reason="The bound is the most flits that a core sends, a core takes or a link carries. Neighbours are pairs of "
        "a row here, 256 flits each way.",
    )  # fmt: skip


def _not_run(
    number: int, title: str, tolerance: str, source: str, reason: str
) -> Callable[[CoreProbes], Check]:
    def check(probes: CoreProbes) -> Check:
        return Check(
            id=f"T{number}", half="many_core", title=title, tolerance=tolerance, source=source, how="not run",
            reason=reason,
        )  # fmt: skip

    return check


CORE_CHECKS: dict[str, Callable[[CoreProbes], Check]] = {
    "T1": capacity,
    "T2": phase,
    "T3": dense_ann,
    "T4": dense_snn,
    "T5": weight_traffic,
    "T6": _not_run(
        6, "DashNet: a frame every 28 or 29 rounds", "3 %", "arXiv 1909.12942, abstract",
        "Network and mapping are not public, and 28 or 29 rounds are worked out from the frames a second: on any chip "
        "with rounds of 5,050 cycles it would hold.",
    ),
    "T7": bicycle,
    "T8": _not_run(
        8, "Semi-folded against unfolded mapping of a CNN: 30 times fewer cores", "within 2x",
        "abstracts of JSSC 2020 and SemiMap",
        "The compiler gives each neuron a place of its own; it has no mapping that sends rows of an image through the "
        "same core one after the other.",
    ),
    "T9": zero_skip,
    "T10": neurons,
    "T11": _not_run(
        11, "Packet heads, stop and relay packets of TianjicX", "exact", "github openBII/BiMap, noc.cpp",
        "This chip has none: a packet is one flit, copies leave their source, and a barrier ends a timestep.",
    ),
    "T12": network,
    "T13": _not_run(
        13, "RANC: 66,051 cycles a tick, whatever the activity", "exact", "github UA-RCL/RANC, RTL simulated",
        "A core of RANC walks all axons for all neurons; this chip walks active axons, 16 neurons at a time (T9).",
    ),
    "T14": _not_run(
        14, "ODIN: 513 cycles a spike, 512 a time reference", "exact", "documentation of ODIN",
        "ODIN updates its neurons at every spike, one core and no network; this chip once a timestep.",
    ),
    "T15": _not_run(
        15, "Global-local learning, Fashion-MNIST 784-512-10", "1 and 3 points", "README of the authors' code",
        "Weights of the cores are constant: nothing is learned locally.",
    ),
    "T16": _not_run(
        16, "TianjicX: 3.2 TOPS/W dynamic, 0.2 TOPS/mm2", "10 %, report only", "press page of its centre",
        "There is no preset of TianjicX.",
    ),
}  # fmt: skip


def beside_tianjic(probes: CoreProbes) -> tuple[Beside, ...]:
    """Return every published figure with ours; None with a reason where there is none."""
    config, chip, dense = probes.adaptive, probes.adaptive.many_core, probes.dense_snn
    core = chip.core
    ann, snn = probes.power_w(probes.dense_ann), probes.power_w(dense)
    held = sum(memory.size_bytes for memory in memories(config).values()) / 1024
    configured, priced = "configured", "simulated rate, priced power; nothing fitted"
    simulated, other = "simulated", "not ours: there is no preset of TianjicX"
    ours: dict[str, tuple[float | None, str]] = {
        "node_nm": (config.node_nm, configured),
        "die_mm2": (probes.area_mm2, "synthesis of the RTL (stored) and SRAM macros, no layout, no pads"),
        "cores": (chip.core_count, configured),
        "neurons": (chip.core_count * core.neurons, configured),
        "synapses": (chip.core_count * core.neurons * core.axons, configured),
        "sram_kb_core": (held, "configured: 64 KiB of it are weights of 8 bits"),
        "clock_mhz": (config.clock_hz / 1e6, configured),
        "phase_cycles": (dense.cycles, "simulated with the period set; docs/calibration.md"),
        "phase_us": (dense.seconds * 1e6, simulated),
        "phase_khz": (1e-3 / dense.seconds, simulated),
        "tops": (probes.tops, simulated),
        "tops_w": (probes.tops / ann, priced),
        "gsyops": (probes.gsyops, simulated),
        "gsyops_w": (probes.gsyops / snn, priced),
        "pj_sop": (snn / probes.gsyops * 1e3, priced),
        "peak_w": (ann, "priced, dense ANN; nothing fitted"),
        "bicycle_w": (
            probes.power_w(probes.run(probes.fixed, 26)),
            "priced at 10 % activity; that of the application is not known",
        ),
        "memory_gb_s": (probes.memory_gb_s, "simulated: weights read"),
        "dashnet_fps": (None, "unknown: network and mapping are not public"),
        "fold_fewer_cores": (None, "unknown: the compiler has no folded mapping"),
        "weight_bits": (core.weight_bits, configured),
        "accumulator_bits": (core.accumulator_bits, configured),
        "x_tops_w": (None, other),
        "x_tops_mm2": (None, other),
    }  # fmt: skip
    figures = probes.published.figures
    return tuple(
        Beside(name=name, published=figures[name], ours=ours[name][0], how=ours[name][1])
        for name in figures
    )
