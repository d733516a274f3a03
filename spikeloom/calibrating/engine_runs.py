"""What several checks of the learning engines look at, each run once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property

from ..ablations import Ablations, GpuRow, ablations, against_gpu, price_step
from ..chip.config import load_config
from ..compiler.learn_tasks import learn_tasks
from ..models.learn_zoo import LEARN_ZOO
from ..reports.calibration import Check, Finding, Published
from ..reports.learn_area import estimate_learn_area
from .engine_probes import Densities, train_digits

__all__ = ["SOURCE_DENSITIES", "EngineRuns", "engine_check"]

SOURCE_DENSITIES = (0.40, 0.33)  # of gradients and masks, where the sources measured them


class EngineRuns:
    """The runs that several checks look at, each made once; ``steps`` is the length of check H8's training."""

    def __init__(
        self, published: Published, seed: int = 0, steps: int = 40, progress: Callable[[str], None] | None = None
    ) -> None:  # fmt: skip
        self.published, self.seed, self.steps, self.progress = published, seed, steps, progress
        self.chip = load_config("h2learn")

    @cached_property
    def ablations(self) -> Ablations:
        """What tables, sparsity and overlap contribute to a step of the CIFAR network with frozen norms."""
        entry = LEARN_ZOO["cifar_conv"]
        return ablations(entry.build("frozen"), entry.recipe, self.chip, seed=self.seed)

    @cached_property
    def gpu_rows(self) -> tuple[GpuRow, ...]:
        """Every network of the first author beside a modelled V100, with frozen norms and sparse gradients."""
        rows: list[GpuRow] = []
        for name in ("cifar_conv", "alexnet_like", "resnet34_like"):
            entry = LEARN_ZOO[name]
            rows += against_gpu(entry.build("frozen"), entry.recipe, self.chip, seed=self.seed)
        return tuple(rows)

    @property
    def cifar_fp32(self) -> GpuRow:
        """The CIFAR network beside the V100 in single precision, what the first author's code computes in."""
        return self.gpu_rows[0]

    @cached_property
    def densities(self) -> tuple[Densities, Densities]:
        """Densities before and after a training on digits."""
        return train_digits(self.steps, self.seed, self.progress)

    @cached_property
    def pj_operation(self) -> float:
        """Energy of a step of the CIFAR network over its operations if dense."""
        entry = LEARN_ZOO["cifar_conv"]
        recipe = replace(entry.recipe, micro_batches=4)
        program = learn_tasks(self.chip, entry.build("frozen"), recipe)
        return price_step(program, 0.40, 0.34, seed=self.seed).energy.pj_per_operation

    @cached_property
    def area_mm2(self) -> float:
        """Area of the preset, unit by unit."""
        return estimate_learn_area(self.chip).area_mm2


def engine_check(
    number: int, title: str, tolerance: str, source: str, findings: list[Finding], **more: str
) -> Check:
    """Return check ``H<number>``; ``more`` are further fields of it, ``how`` is simulated unless they say otherwise."""
    return Check.model_validate(
        {"id": f"H{number}", "half": "learn", "title": title, "tolerance": tolerance, "source": source,
         "how": more.pop("how", "simulated"), "findings": tuple(findings), **more}
    )  # fmt: skip
