"""Train and write ``mnist_mlp``: 784-128-10 LIF neurons on digits shown as a constant current."""

from __future__ import annotations

import nir
import numpy as np
import torch
from torch import nn

from .common import Recipe, Response, apply_per_timestep, run_lif
from .script import chain, lif_node, run_script, to_current

HIDDEN = 128
RECIPE = Recipe()


class MnistMlp(nn.Module):
    """Two dense layers, each followed by LIF neurons."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(28 * 28, HIDDEN)
        self.output = nn.Linear(HIDDEN, 10)

    def forward(self, images: torch.Tensor) -> Response:
        """Run all timesteps on images (samples, 28, 28) in 0 to 1."""
        current = self.hidden(images.flatten(1))
        hidden, _ = run_lif([current] * RECIPE.timesteps)
        output, v_mean = run_lif(apply_per_timestep(self.output, hidden))
        return Response(output.sum(0), v_mean, [hidden.mean()])


def to_nir(network: MnistMlp) -> nir.NIRGraph:
    """Return the trained network as a NIR graph."""
    image = np.array([28, 28])
    return chain(
        {
            "input": nir.Input(input_type={"input": image}),
            "flatten": nir.Flatten(input_type={"input": image}, start_dim=0, end_dim=-1),
            "fc1": nir.Affine(to_current(network.hidden.weight), to_current(network.hidden.bias)),
            "lif1": lif_node((HIDDEN,)),
            "fc2": nir.Affine(to_current(network.output.weight), to_current(network.output.bias)),
            "lif2": lif_node((10,)),
            "output": nir.Output(output_type={"output": np.array([10])}),
        }
    )


if __name__ == "__main__":
    run_script("mnist_mlp", "784-128 LIF-10 LIF, dense", RECIPE, MnistMlp, to_nir)
