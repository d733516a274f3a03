"""The learning engines' acceptance checks by name, and preset `h2learn` beside what is published."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..models.learn_zoo import alexnet_like, cifar_conv, resnet34_like
from ..reports.calibration import Beside, Check
from ..reports.sata import sata_counts, sata_energy, vgg5
from .engine_probes import adds_per_input, reached, square_convolution
from .engine_runs import SOURCE_DENSITIES, EngineRuns
from .lookup_checks import (
    additions,
    forward_speed,
    group_optimum,
    lookup_area,
    lookup_ratio,
    skipping,
    sums,
)
from .step_checks import (
    against_v100,
    both_sides,
    densities,
    energy_of_an_operation,
    operations,
    overlap,
    sata,
)

__all__ = ["ENGINE_CHECKS", "EngineRuns", "beside_h2learn"]

ENGINE_CHECKS: dict[str, Callable[[EngineRuns], Check]] = {
    "H1": sums,
    "H2": additions,
    "H3": group_optimum,
    "H4": forward_speed,
    "H5": skipping,
    "H6": lookup_area,
    "H7": both_sides,
    "H8": densities,
    "H9": overlap,
    "H10": against_v100,
    "H11": operations,
    "H12": sata,
    "H13": energy_of_an_operation,
}


def beside_h2learn(runs: EngineRuns) -> tuple[Beside, ...]:
    """Return every published figure with ours; None with a reason where there is none."""
    row, after = runs.cifar_fp32, runs.densities[1]
    sizes = "priced; CIFAR network, frozen norms, V100 in fp32"
    network = vgg5()
    macs = 8 * sum(stage.macs for stage in network.stages[:-1])
    dense = square_convolution(16, 128)
    both = reached(runs.chip, dense, *SOURCE_DENSITIES, runs.seed)[0]
    forward = {
        name: 6 * sum(stage.macs for stage in build("batch").stages) / 1e9
        for name, build in (
            ("cifar", cifar_conv),
            ("alexnet", alexnet_like),
            ("resnet", resnet34_like),
        )
    }
    cifar = [stage.macs for stage in cifar_conv("batch").stages]
    gain = max(item.gain for item in runs.ablations.overlap)
    trained = "simulated: mean of conv1 to conv5 of check H8, after training"
    ours: dict[str, tuple[float | None, str]] = {
        "speedup": (row.speedup, sizes),
        "energy_gain": (row.energy_gain, sizes),
        "area_ratio": (row.area_ratio, "counted unit by unit at 28 nm; sizes chosen for it"),
        "die_mm2": (runs.area_mm2, "counted unit by unit at 28 nm; sizes chosen for it"),
        "power_ratio": (row.watts / row.gpu_w, sizes),
        "pj_operation": (runs.pj_operation, "priced; CIFAR network, 28 nm"),
        "adds_g4": (adds_per_input(4, 1024), "compiled and counted"),
        "adds_g6": (adds_per_input(6, 64), "compiled and counted"),
        "lookup_speed": (runs.ablations.lookup[1].relative_time, "compiled: cycles of the whole CIFAR network"),
        "lookup_area": (lookup_ratio(runs), "counted unit by unit"),
        "gain_inputs": (reached(runs.chip, dense, SOURCE_DENSITIES[0], 1.0, runs.seed)[0], "simulated, 128 channels"),
        "gain_both": (both, "simulated, 128 channels"),
        "spike_rate": (float(np.mean(after.spikes[1:])), trained),
        "mask_density": (float(np.mean(after.masks[1:])), trained),
        "gradient_density": (float(np.mean(after.gradients[1:])), trained),
        "overlap_gain": (gain, "simulated queues; the vector unit in the sum"),
        "cifar_forward_gmac": (forward["cifar"], "compiled"),
        "cifar_all_gmac": (6 * (3 * sum(cifar) - cifar[0]) / 1e9, "compiled"),
        "alexnet_forward_gmac": (forward["alexnet"], "compiled"),
        "resnet_forward_gmac": (forward["resnet"], "compiled"),
        "sata_lif": (sata_counts(network, 8, 8, 0.0, 0.0).lif, "counted by its rules"),
        "sata_macs": (macs, "counted of our network"),
        "sata_backward": (round(0.3 * macs), "counted of our network"),
        "sata_update": (round(0.1 * macs), "counted of our network"),
        "sata_total": (sata_energy(sata_counts(network, 4, 2, 0.9, 0.7), 2)["total"], "its rules and faults restated"),
        "sata_sparsity": (None, "unknown: of another machine, at densities that are not published"),
        "sata_over_ann": (None, "unknown: there is no conventional network to train here"),
    }  # fmt: skip
    figures = runs.published.figures
    chosen = {"area_ratio", "die_mm2"}
    return tuple(
        Beside(
            name=name,
            published=figures[name],
            ours=ours[name][0],
            how=ours[name][1],
            fitted=name in chosen,
        )
        for name in figures
    )
