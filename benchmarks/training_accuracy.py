"""Accuracy of training on the simulated chip beside PyTorch in 32-bit floats: same weights to start from, same recipe.

    pip install '.[train]'
    python benchmarks/training_accuracy.py mnist_mlp --epochs 10 --seeds 3
    python benchmarks/training_accuracy.py fashion_conv --epochs 4 --lr 0.05 --variants torch,fp32,fp16

Variants: ``torch``; ``fp32``, ``fp16``, ``bf16`` are the chip's accumulators, operands being fp16. Samples come in the
same order. Prints the test accuracy after each epoch, and at the end the difference to PyTorch in points.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch

from spikeloom.learning import load_task, train
from spikeloom.models.training.learn_torch import train_torch
from spikeloom.training import Options, rates_of


def main() -> None:
    """Train every variant with every seed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("network")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--lr", type=float)
    parser.add_argument("--variants", default="torch,fp32,fp16")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    found: dict[str, list[float]] = {}
    for seed in range(options.seeds):
        for variant in options.variants.split(","):
            start = time.perf_counter()
            accuracies = run(variant, options, seed)
            found.setdefault(variant, []).append(accuracies[-1])
            text = " ".join(f"{100 * a:.2f}" for a in accuracies)
            print(
                f"seed {seed}  {variant:6s} {text}  {time.perf_counter() - start:.0f} s", flush=True
            )
    for variant, values in found.items():
        line = f"{variant:6s} mean {100 * np.mean(values):.2f}"
        if "torch" in found and variant != "torch":
            line += (
                f", {100 * (np.mean(values) - np.mean(found['torch'])):+.2f} points beside PyTorch"
            )
        print(line)


def run(variant: str, options: argparse.Namespace, seed: int) -> list[float]:
    """Return test accuracies after each epoch."""
    recipe = {"learning_rate": options.lr}
    if variant != "torch":
        done = train(
            options.network, epochs=options.epochs, seed=seed, recipe=recipe, accumulators=variant,
            threads=options.threads,
        )  # fmt: skip
        return [epoch.test_accuracy or 0.0 for epoch in done.epochs]
    task = load_task(options.network, seed=seed, recipe=recipe)
    assert task.test is not None
    rates = rates_of(Options(options.epochs, "cosine", seed), task.recipe, len(task.data.labels))
    return train_torch(
        task.network, task.parameters, task.recipe, (task.data.inputs, task.data.labels),
        (task.test.inputs, task.test.labels), options.epochs, seed, rates,
    )  # fmt: skip


if __name__ == "__main__":
    main()
