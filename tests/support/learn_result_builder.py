"""Results of the learning half that take little time to make: a priced step, and a short training."""

from __future__ import annotations

from functools import cache

from spikeloom.learn_results import step_result, training_result
from spikeloom.learning import dry_run, train
from spikeloom.models.datasets import load_mnist
from spikeloom.reports.learn_result import AblationTable, GpuModel, LearnResult

_RECIPE = {"batch": 8}


@cache
def make_step(network: str = "mnist_mlp", *, compared: bool = True) -> LearnResult:
    """Return a step priced on `h2learn`; ``compared`` adds made-up tables of ablations and a made-up GPU."""
    result = step_result(dry_run(network, norm="none", recipe=_RECIPE))
    if not compared:
        return result
    table = AblationTable(
        title="engines in turn or together",
        columns=["order", "micro_batches", "milliseconds"],
        rows=[["one after the other", 1, 59.625], ["overlapped by tokens", 2, 32.75]],
    )
    gpu = GpuModel(
        gpu="V100 fp32", gpu_ms=2.5, gpu_w=180.0, milliseconds=0.5, watts=12.5, speedup=5.0, energy_gain=72.0,
        area_ratio=6.6, like_published="speed",
    )  # fmt: skip
    return result.model_copy(update={"ablations": [table], "gpu": [gpu]})


@cache
def make_training(epochs: int = 2) -> LearnResult:
    """Return a training of `mnist_mlp` on a few digits."""
    digits, others = load_mnist("train"), load_mnist("test")
    return training_result(
        train(
            "mnist_mlp",
            {"inputs": digits.inputs[:32], "labels": digits.labels[:32]},
            test={"inputs": others.inputs[:16], "labels": others.labels[:16]},
            epochs=epochs,
            norm="none",
            recipe=_RECIPE,
        )
    )
