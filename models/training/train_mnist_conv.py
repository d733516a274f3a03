"""Train and write ``mnist_conv``: two strided convolutions and a dense layer, all LIF."""

from __future__ import annotations

import nir
import numpy as np
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from .common import Recipe, Response, apply_per_timestep, run_lif
from .script import chain, lif_node, run_script, to_current

# 28 -> 12 -> 4 pixels a side without padding; fan-in 25, 8*25 = 200 and 15*16 = 240, all below 250,
# so that no neuron of the network needs more axons than one core has.
CHANNELS_1, SIDE_1 = 8, 12
CHANNELS_2, SIDE_2 = 15, 4
KERNEL, STRIDE = 5, 2
RECIPE = Recipe(epochs=80)


class MnistConv(nn.Module):
    """Two 5x5 convolutions of stride 2 and one dense layer, each followed by LIF neurons.

    Batch normalisation steadies the currents during training only: `fold` puts it into the weights.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, CHANNELS_1, KERNEL, STRIDE)
        self.norm1: nn.Module = _norm(CHANNELS_1)
        self.conv2 = nn.Conv2d(CHANNELS_1, CHANNELS_2, KERNEL, STRIDE)
        self.norm2: nn.Module = _norm(CHANNELS_2)
        self.output = nn.Linear(CHANNELS_2 * SIDE_2**2, 10)

    def forward(self, images: torch.Tensor) -> Response:
        """Run all timesteps on images (samples, 28, 28) in 0 to 1."""
        current = self.norm1(self.conv1(images.unsqueeze(1)))
        hidden1, _ = run_lif([current] * RECIPE.timesteps)
        hidden2, _ = run_lif(apply_per_timestep(nn.Sequential(self.conv2, self.norm2), hidden1))
        output, v_mean = run_lif(apply_per_timestep(self.output, hidden2.flatten(2)))
        return Response(output.sum(0), v_mean, [hidden1.mean(), hidden2.mean()])


def fold(network: MnistConv) -> None:
    """Put the normalisation into the weights and biases of the convolutions before it."""
    network.eval()
    assert isinstance(network.norm1, nn.BatchNorm2d)
    assert isinstance(network.norm2, nn.BatchNorm2d)
    network.conv1 = fuse_conv_bn_eval(network.conv1, network.norm1)
    network.conv2 = fuse_conv_bn_eval(network.conv2, network.norm2)
    network.norm1, network.norm2 = nn.Identity(), nn.Identity()


def _norm(channels: int) -> nn.BatchNorm2d:
    """Return a normalisation to currents of standard deviation 1/2, half of the threshold."""
    norm = nn.BatchNorm2d(channels)
    nn.init.constant_(norm.weight, 0.5)
    return norm


def _conv_node(layer: nn.Conv2d, side: int) -> nir.Conv2d:
    """Return a layer on a square image of `side` pixels as a NIR node."""
    bias = (
        np.zeros(layer.out_channels, np.float32) if layer.bias is None else to_current(layer.bias)
    )
    return nir.Conv2d(
        input_shape=(side, side),
        weight=to_current(layer.weight),
        stride=STRIDE,
        padding=0,
        dilation=1,
        groups=1,
        bias=bias,
    )


def to_nir(network: MnistConv) -> nir.NIRGraph:
    """Return the trained network as a NIR graph."""
    maps = np.array([CHANNELS_2, SIDE_2, SIDE_2])
    return chain(
        {
            "input": nir.Input(input_type={"input": np.array([1, 28, 28])}),
            "conv1": _conv_node(network.conv1, 28),
            "lif1": lif_node((CHANNELS_1, SIDE_1, SIDE_1)),
            "conv2": _conv_node(network.conv2, SIDE_1),
            "lif2": lif_node((CHANNELS_2, SIDE_2, SIDE_2)),
            "flatten": nir.Flatten(input_type={"input": maps}, start_dim=0, end_dim=-1),
            "fc": nir.Affine(to_current(network.output.weight), to_current(network.output.bias)),
            "lif3": lif_node((10,)),
            "output": nir.Output(output_type={"output": np.array([10])}),
        }
    )


if __name__ == "__main__":
    run_script(
        "mnist_conv",
        "conv 8 k5 s2 LIF (12x12) - conv 15 k5 s2 LIF (4x4) - dense 10 LIF, no padding",
        RECIPE,
        MnistConv,
        to_nir,
        fold,
    )
