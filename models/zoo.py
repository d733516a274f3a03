"""The shipped networks: what each is, where its file lies and digits to run it on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .datasets import Dataset, load_mnist

NETWORK_FOLDER = Path(__file__).resolve().parent / "networks"


@dataclass(frozen=True, kw_only=True)
class ZooNetwork:
    """One shipped network.

    Attributes
    ----------
    name : str
        Its key in `ZOO`.
    file : str
        Its NIR file in `NETWORK_FOLDER`; beside it lies the record of its training, ``.json``.
    task : str
        What it decides.
    input_shape : tuple of int
        Shape of one sample, as the file's input node states it.
    timesteps : int
        Timesteps a sample is shown.
    encoder : str
        Encoder of its input, a key of `encoders.ENCODERS`.
    accuracy : float
        Share of the 2,000 shipped test digits that it gets right in 32-bit floats.
    description : str
        One line.
    """

    name: str
    file: str
    task: str
    input_shape: tuple[int, ...]
    timesteps: int
    encoder: str
    accuracy: float
    description: str


ZOO: dict[str, ZooNetwork] = {
    network.name: network
    for network in (
        ZooNetwork(
            name="mnist_mlp",
            file="mnist_mlp.nir",
            task="MNIST digits (10 classes)",
            input_shape=(28, 28),
            timesteps=8,
            encoder="direct",
            accuracy=0.967,
            description="dense 784-128-10 LIF network, the smallest example",
        ),
        ZooNetwork(
            name="mnist_conv",
            file="mnist_conv.nir",
            task="MNIST digits (10 classes)",
            input_shape=(1, 28, 28),
            timesteps=8,
            encoder="direct",
            accuracy=0.982,
            description="two strided convolutions and a dense layer of LIF neurons, 1,402 neurons",
        ),
    )
}


def path(name: str) -> Path:
    """Return the NIR file of a shipped network.

    Raises
    ------
    ValueError
        For a name that is not in `ZOO`.
    """
    return NETWORK_FOLDER / _network(name).file


def load_zoo_samples(name: str, samples: int, seed: int = 0) -> Dataset:
    """Draw test samples for a shipped network, none of which it was trained on.

    Parameters
    ----------
    name : str
        A key of `ZOO`.
    samples : int
        How many, without repetition.
    seed : int
        Of the draw. The digits in the split do not depend on it.

    Returns
    -------
    Dataset
        Inputs uint8 of shape (samples, *input_shape), not encoded yet, and labels.

    Raises
    ------
    ValueError
        For an unknown name, and for fewer samples than 1 or more than the test split holds.
    """
    network = _network(name)
    test = load_mnist("test")
    if not 1 <= samples <= len(test.labels):
        raise ValueError(
            f"samples must be in 1..{len(test.labels)}, the test split's size, not {samples!r}."
        )
    chosen = np.random.default_rng(seed).permutation(len(test.labels))[:samples]
    inputs = test.inputs[chosen].reshape(samples, *network.input_shape)
    return Dataset(inputs, test.labels[chosen])


def _network(name: str) -> ZooNetwork:
    """Return the entry, or say which names there are."""
    if name not in ZOO:
        raise ValueError(f"no shipped network is called {name!r}; choose one of {', '.join(ZOO)}.")
    return ZOO[name]
