"""The networks that the learning engines train: the first author's three of H2Learn's group, and two small ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Literal

from ..chip.learn_network import (
    INPUT,
    InputFormat,
    LearnError,
    LearnNetwork,
    Neuron,
    Norm,
    Recipe,
    Stage,
)

__all__ = ["LEARN_ZOO", "LearnZooNetwork", "build_learn_network"]

NormKind = Literal["batch", "frozen"]
Builder = Callable[[NormKind | None], LearnNetwork]
Shape = tuple[int, int, int]

CIFAR_CONVOLUTIONS = (
    (128, 1), (128, 1), (128, 2), (256, 1), (256, 1), (256, 2), (512, 1), (512, 1), (512, 2),
)  # fmt: skip
ALEXNET_CONVOLUTIONS = ((64, 2), (128, 2), (256, 2), (256, 2), (384, 1), (256, 1), (256, 2))
RESNET34_BLOCKS = ((64, 3), (128, 4), (256, 6), (512, 3))


@dataclass(frozen=True, kw_only=True)
class LearnZooNetwork:
    """One network to train.

    Attributes
    ----------
    name : str
        Its key in `LEARN_ZOO`.
    build : callable
        Takes the kind of normalisation: ``batch``, ``frozen`` or None.
    norm : str or None
        The kind by default.
    dataset : str
        What it is trained on; ``cifar10`` and ``imagenet`` do not ship.
    recipe : Recipe
        The default; of the three large networks the first author's.
    macs : int
        Multiply-accumulates of one timestep of one sample if everything were dense.
    description : str
        One line.
    """

    name: str
    build: Builder
    norm: NormKind | None
    dataset: str
    recipe: Recipe
    macs: int
    description: str


class _Stages:
    """Stages as they are added, with the shapes that follow."""

    def __init__(self, norm: NormKind | None) -> None:
        self.norm: NormKind | None = norm
        self.stages: list[Stage] = []

    def shape(self, index: int, image: Shape) -> Shape:
        return image if index == INPUT else self.stages[index].out_shape

    def convolution(
        self, name: str, source: int, shape: Shape, channels: int, *, kernel: int = 3, stride: int = 1,
        shortcut: int | None = None, spikes: bool = True,
    ) -> int:  # fmt: skip
        """Add a convolution that keeps the size but for its stride; returns its index."""
        rows, columns, _ = shape
        self.stages.append(
            Stage(
                name=name,
                in_shape=shape,
                out_shape=(-(-rows // stride), -(-columns // stride), channels),
                sources=(source,),
                kernel=(kernel, kernel),
                stride=(stride, stride),
                padding=(kernel // 2, kernel // 2),
                bias=self.norm is None,
                norm=None if self.norm is None else Norm(self.norm),
                shortcut=shortcut,
                neuron=Neuron() if spikes else None,
            )
        )
        return len(self.stages) - 1

    def dense(
        self,
        name: str,
        source: int,
        shape: Shape,
        outputs: int,
        *,
        pool: int = 1,
        spikes: bool = True,
    ) -> int:
        """Add a dense layer over all values of its source; the readout has no neurons and no norm."""
        rows, columns, channels = shape
        self.stages.append(
            Stage(
                name=name,
                in_shape=(1, 1, prod((rows // pool, columns // pool, channels))),
                out_shape=(1, 1, outputs),
                sources=(source,),
                pool=pool,
                bias=self.norm is None or not spikes,
                norm=Norm(self.norm) if self.norm is not None and spikes else None,
                neuron=Neuron() if spikes else None,
            )
        )
        return len(self.stages) - 1


def _chain(
    name: str,
    image: Shape,
    convolutions: tuple[tuple[int, int], ...],
    dense: tuple[int, ...],
    norm: NormKind | None,
) -> LearnNetwork:
    """Return convolutions of 3 x 3, each (channels, stride), then dense layers, the last one the readout."""
    stages, at = _Stages(norm), INPUT
    for number, (channels, stride) in enumerate(convolutions, 1):
        at = stages.convolution(
            f"conv{number}", at, stages.shape(at, image), channels, stride=stride
        )
    for number, outputs in enumerate(dense, 1):
        at = stages.dense(
            f"fc{number}", at, stages.shape(at, image), outputs, spikes=number < len(dense)
        )
    return LearnNetwork(InputFormat(image), tuple(stages.stages), name)


def mnist_mlp(norm: NormKind | None = None) -> LearnNetwork:
    """Return the dense network 784-128-10."""
    return _chain("mnist_mlp", (28, 28, 1), (), (128, 10), norm)


def fashion_conv(norm: NormKind | None = None) -> LearnNetwork:
    """Return 16c3 - 32c3s2 - 64c3s2 - 10 for images of 28 x 28."""
    return _chain("fashion_conv", (28, 28, 1), ((16, 1), (32, 2), (64, 2)), (10,), norm)


def cifar_conv(norm: NormKind | None = "batch") -> LearnNetwork:
    """Return the nine convolutions of the first author's CIFAR network, then 8192-1024-512-10."""
    return _chain("cifar_conv", (32, 32, 3), CIFAR_CONVOLUTIONS, (1024, 512, 10), norm)


def alexnet_like(norm: NormKind | None = "batch") -> LearnNetwork:
    """Return the first author's AlexNet-like network: seven convolutions, 12544-4096-4096-1000."""
    return _chain("alexnet_like", (224, 224, 3), ALEXNET_CONVOLUTIONS, (4096, 4096, 1000), norm)


def resnet34_like(norm: NormKind | None = "batch") -> LearnNetwork:
    """Return the first author's ResNet-34-like network: every group of blocks halves the side, no max pooling.

    The second convolution of a block adds to its membranes' input the spikes of the block before, or where the shape
    changes the sums of a 1 x 1 convolution of them.
    """
    stages, image = _Stages(norm), (224, 224, 3)
    at = stages.convolution("stem", INPUT, image, RESNET34_BLOCKS[0][0], kernel=7, stride=2)
    for group, (channels, blocks) in enumerate(RESNET34_BLOCKS, 1):
        for block in range(1, blocks + 1):
            name, stride, before = f"{group}.{block}", 2 if block == 1 else 1, at
            shape = stages.shape(before, image)
            shortcut = before
            if block == 1:
                shortcut = stages.convolution(
                    f"{name}.down", before, shape, channels, kernel=1, stride=stride, spikes=False
                )
            at = stages.convolution(f"{name}.a", before, shape, channels, stride=stride)
            at = stages.convolution(
                f"{name}.b", at, stages.shape(at, image), channels, shortcut=shortcut
            )
    side = stages.shape(at, image)[0]
    stages.dense("fc", at, stages.shape(at, image), 1000, pool=side, spikes=False)
    return LearnNetwork(InputFormat(image), tuple(stages.stages), "resnet34_like")


LEARN_ZOO: dict[str, LearnZooNetwork] = {
    network.name: network
    for network in (
        LearnZooNetwork(
            name="mnist_mlp",
            build=mnist_mlp,
            norm=None,
            dataset="mnist",
            recipe=Recipe(timesteps=4, batch=64, learning_rate=0.1),
            macs=101_632,
            description="dense 784-128-10 network for MNIST digits, the smallest example",
        ),
        LearnZooNetwork(
            name="fashion_conv",
            build=fashion_conv,
            norm=None,
            dataset="fashion_mnist",
            recipe=Recipe(timesteps=4, batch=64, learning_rate=0.1),
            macs=1_950_592,
            description="three convolutions and a dense readout for Fashion-MNIST",
        ),
        LearnZooNetwork(
            name="cifar_conv",
            build=cifar_conv,
            norm="batch",
            dataset="cifar10",
            recipe=Recipe(timesteps=6, batch=64, learning_rate=0.01),
            macs=729_682_944,
            description="the first author's nine convolutions and three dense layers for CIFAR-10",
        ),
        LearnZooNetwork(
            name="alexnet_like",
            build=alexnet_like,
            norm="batch",
            dataset="imagenet",
            recipe=Recipe(timesteps=6, batch=32, learning_rate=0.1),
            macs=1_047_674_880,
            description="the first author's AlexNet-like network for ImageNet at 224 x 224",
        ),
        LearnZooNetwork(
            name="resnet34_like",
            build=resnet34_like,
            norm="batch",
            dataset="imagenet",
            recipe=Recipe(timesteps=6, batch=32, learning_rate=0.1),
            macs=3_676_606_464,
            description="the first author's ResNet-34-like network for ImageNet at 224 x 224",
        ),
    )
}


def build_learn_network(
    name: str, norm: NormKind | Literal["none", "default"] = "default"
) -> LearnNetwork:
    """Return a network of `LEARN_ZOO`, with its own kind of normalisation or another.

    Raises
    ------
    LearnError
        For a name that is not there.
    """
    if name not in LEARN_ZOO:
        raise LearnError(
            f"no network to train is called {name!r}; choose one of {', '.join(LEARN_ZOO)}"
        )
    entry = LEARN_ZOO[name]
    return entry.build(entry.norm if norm == "default" else None if norm == "none" else norm)
