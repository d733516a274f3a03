"""Write a trained network as NIR with its record: the frame of every training script."""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Callable
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import nir
import numpy as np
import torch
from torch import nn

from spikeloom.models.datasets import Dataset, load_mnist

from .common import BETA, V_THRESHOLD, Recipe, evaluate, train, with_rounded_weights

DT_S = 1e-4  # seconds a timestep lasts in the files; only its ratio to tau matters

# How a reader must interpret the files; NIR itself states neither the step nor the reset's timing.
CONVENTION = {
    "dt": DT_S,
    "update": "v = beta*v + (1 - beta)*i with beta = 1 - dt/tau and r = 1 (Euler)",
    "compare": ">",
    "reset": "value",
    "reset_timing": "same step",
    "v_initial": 0.0,
    "layers": "a spike acts on the next layer in its own timestep",
    "input": "pixel/255, the same real-valued current in every timestep",
    "decision": "the output neuron with most spikes; of equal counts the lowest index",
}

logger = logging.getLogger(__name__)


def lif_node(shape: tuple[int, ...]) -> nir.LIF:
    """Return the NIR node of `run_lif`: beta = 1 - dt/tau; its input gain, 1 - beta, is made up for in `to_current`."""
    tau_s = DT_S / (1.0 - BETA)

    def full(value: float) -> np.ndarray:
        return np.full(shape, value, np.float32)

    return nir.LIF(
        tau=full(tau_s),
        r=full(1.0),
        v_leak=full(0.0),
        v_threshold=full(V_THRESHOLD),
        v_reset=full(0.0),
    )


def to_current(tensor: torch.Tensor) -> np.ndarray:
    """Return weights or biases as a float32 array, divided by the input gain 1 - beta: exact, since it is a power of 2.

    With r = 1 the file looks like no framework's export, so that nobody reads it by another convention unasked.
    """
    return (tensor.detach().numpy() / (1.0 - BETA)).astype(np.float32)


def chain(nodes: dict[str, nir.NIRNode]) -> nir.NIRGraph:
    """Return the graph that connects `nodes` in the order of the dict."""
    names = list(nodes)
    return nir.NIRGraph(nodes=nodes, edges=list(pairwise(names)))


def run_script(
    name: str,
    architecture: str,
    recipe: Recipe,
    build: Callable[[], nn.Module],
    to_nir: Callable[[Any], nir.NIRGraph],
    fold: Callable[[Any], None] | None = None,
) -> None:
    """Train, evaluate and then write ``<name>.nir`` and ``<name>.json``: the body of a script.

    Parameters
    ----------
    name : str
        The network's name in the zoo.
    architecture : str
        One line for the record.
    recipe : Recipe
        The defaults; ``--epochs`` and ``--seed`` replace two of them.
    build : callable
        Makes the untrained network.
    to_nir : callable
        Makes the graph of the trained network.
    fold : callable, optional
        Rewrites the trained network in place, before it is measured, as what the file can hold.
    """
    parser = argparse.ArgumentParser(description=f"Train {name}: {architecture}.")
    parser.add_argument("--out", type=Path, required=True, help="folder for the two files")
    parser.add_argument("--epochs", type=int, default=recipe.epochs)
    parser.add_argument("--seed", type=int, default=recipe.seed)
    parser.add_argument("--threads", type=int, default=1, help="of torch; more may change the sums")
    parser.add_argument(
        "--holdout",
        action="store_true",
        help="to tune: train on 7,000 training digits, measure on the other 1,000, write nothing",
    )
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    recipe = Recipe(**{**asdict(recipe), "epochs": options.epochs, "seed": options.seed})
    torch.set_num_threads(options.threads)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(recipe.seed)

    fit, test = load_mnist("train"), load_mnist("test")
    if options.holdout:
        fit, test = (
            Dataset(fit.inputs[:7000], fit.labels[:7000]),
            Dataset(fit.inputs[7000:], fit.labels[7000:]),
        )
    network = build()
    train(network, fit, recipe)
    if fold is not None:
        fold(network)
    result = evaluate(network, test)
    rounded = evaluate(with_rounded_weights(network), test)
    logger.info("float %s, weights in 8 bits %s", result, rounded)
    if options.holdout:
        return

    options.out.mkdir(parents=True, exist_ok=True)
    nir.write(options.out / f"{name}.nir", to_nir(network))
    record = {
        "name": name,
        "task": "MNIST digits (10 classes)",
        "architecture": architecture,
        "timesteps": recipe.timesteps,
        "encoder": "direct",
        "accuracy": result["accuracy"],
        "accuracy_weights_8_bits": rounded["accuracy"],
        "test_samples": len(test.labels),
        "hidden_rates": result["hidden_rates"],
        "output_spikes": result["output_spikes"],
        "beta": BETA,
        "convention": CONVENTION,
        "data": "models/data/mnist10k.npz by load_mnist() with its default seed: 8,000 digits to "
        "train, 2,000 to test; not MNIST's official test split",
        "recipe": asdict(recipe),
        "torch": torch.__version__,
        "command": f"python -m spikeloom.models.training.train_{name} --out models/networks",
        "origin": "ours, MIT",
    }
    (options.out / f"{name}.json").write_text(json.dumps(record, indent=2) + "\n")
