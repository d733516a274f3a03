"""The learning engines' networks in PyTorch, float32: the yardstick for accuracy and for the time of a step."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from spikeloom.chip.learn_network import INPUT, LearnNetwork, Parameters, Recipe, Stage


class _Spike(torch.autograd.Function):
    """Step function forward, rectangular window backward."""

    @staticmethod
    def forward(
        ctx: Any, u: torch.Tensor, threshold: float, half_width: float, height: float
    ) -> torch.Tensor:
        ctx.save_for_backward(u)
        ctx.constants = (threshold, half_width, height)
        return (u > threshold).to(u.dtype)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        (u,) = ctx.saved_tensors
        threshold, half_width, height = ctx.constants
        window = ((u - threshold).abs() < half_width).to(u.dtype)
        return grad_outputs[0] * window * height, None, None, None


class TorchNetwork(nn.Module):
    """A `LearnNetwork` as a module, from the same parameters; forward gives logits of integer inputs.

    Parameters
    ----------
    network, parameters, recipe
        As for the engines; the parameters are copied.
    dtype : torch.dtype
        float32 to compare speed and accuracy, float64 for gradients.
    """

    def __init__(
        self,
        network: LearnNetwork,
        parameters: Parameters,
        recipe: Recipe,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.network, self.recipe, self.dtype = network, recipe, dtype
        self.weights = nn.ParameterList()
        self.vectors = nn.ModuleList()
        for stage, weight, vectors in zip(
            network.stages, parameters.weights, parameters.vectors, strict=True
        ):
            kernel = weight.transpose(0, 3, 2, 1).reshape(
                stage.out_shape[2], stage.in_channels, *stage.kernel
            )
            self.weights.append(nn.Parameter(torch.tensor(kernel, dtype=dtype)))
            held = nn.ParameterDict()
            for name, value in vectors.items():
                trained = name in ("bias", "gamma", "beta")
                held[name] = nn.Parameter(torch.tensor(value, dtype=dtype), requires_grad=trained)
            self.vectors.append(held)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return logits (samples, classes) of integers (samples, timesteps or 1, rows, columns, channels)."""
        real = inputs.to(self.dtype) * self.network.input.scale
        image = real.permute(0, 1, 4, 2, 3)
        outputs: list[torch.Tensor] = []
        timesteps = self.recipe.timesteps
        for index, stage in enumerate(self.network.stages):
            given = image if INPUT in stage.sources else sum(outputs[s] for s in stage.sources)
            assert isinstance(given, torch.Tensor)
            x = self._sums(index, stage, given, timesteps)
            if stage.shortcut is not None:
                x = x + outputs[stage.shortcut]
            outputs.append(self._neurons(stage, x))
        x = outputs[-1].flatten(2)
        if self.recipe.readout == "mean":
            return x.mean(1)
        u = torch.zeros_like(x[:, 0])
        for t in range(timesteps):
            u = self.recipe.readout_leak * u + x[:, t]
        return u

    def _sums(self, index: int, stage: Stage, given: torch.Tensor, timesteps: int) -> torch.Tensor:
        """Synapses and norm of one stage, (samples, timesteps, channels, rows, columns)."""
        samples, steps = given.shape[:2]
        x = given.flatten(0, 1)
        if stage.pool > 1:
            x = functional.avg_pool2d(x, stage.pool)
        if stage.in_shape[:2] == (1, 1):  # channels last, as the engines flatten
            x = x.permute(0, 2, 3, 1).reshape(len(x), -1, 1, 1)
        vectors = self.vectors[index]
        assert isinstance(vectors, nn.ParameterDict)
        bias = vectors["bias"] if stage.bias else None
        x = functional.conv2d(
            x, self.weights[index], bias, stage.stride, stage.padding, groups=stage.groups
        )
        if stage.norm is not None:
            uses_batch = stage.norm.kind == "batch" and self.training
            x = functional.batch_norm(
                x, vectors["running_mean"].data, vectors["running_var"].data, vectors["gamma"] * stage.norm.scale,
                vectors["beta"], uses_batch, stage.norm.momentum, stage.norm.epsilon,
            )  # fmt: skip
        x = x.unflatten(0, (samples, steps))
        return x.expand(-1, timesteps, -1, -1, -1) if steps < timesteps else x

    def _neurons(self, stage: Stage, x: torch.Tensor) -> torch.Tensor:
        if stage.neuron is None:
            return x
        n = stage.neuron
        u = x[:, 0]
        spikes = [_Spike.apply(u, n.threshold, n.half_width, n.height)]
        for t in range(1, x.shape[1]):
            u = n.leak * u * (1.0 - spikes[-1]) + x[:, t]
            spikes.append(_Spike.apply(u, n.threshold, n.half_width, n.height))
        return torch.stack(spikes, 1)

    def loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the recipe's mean loss."""
        if self.recipe.loss == "mse":
            return functional.mse_loss(
                logits, functional.one_hot(labels, logits.shape[1]).to(self.dtype)
            )
        return functional.cross_entropy(logits, labels)

    def optimiser(self) -> torch.optim.SGD:
        """Return SGD with the recipe's constants."""
        r = self.recipe
        moved = [p for p in self.parameters() if p.requires_grad]
        return torch.optim.SGD(
            moved, lr=r.learning_rate, momentum=r.momentum, weight_decay=r.weight_decay
        )


def train_torch(
    network: LearnNetwork, parameters: Parameters, recipe: Recipe, data: tuple[NDArray[Any], NDArray[Any]],
    test: tuple[NDArray[Any], NDArray[Any]], epochs: int, seed: int, rates: list[float],
) -> list[float]:  # fmt: skip
    """Train as `spikeloom train` does, same weights to start from, same order of samples; returns test accuracies.

    ``rates`` holds the learning rate of every step.
    """
    module = TorchNetwork(network, parameters, replace(recipe))
    optimiser = module.optimiser()
    inputs, labels = torch.from_numpy(data[0]), torch.from_numpy(data[1])
    found = []
    step = 0
    for epoch in range(epochs):
        module.train()
        order = np.random.default_rng([seed, epoch]).permutation(len(labels))
        for first in range(0, len(labels), recipe.batch):
            chosen = torch.from_numpy(order[first : first + recipe.batch])
            for group in optimiser.param_groups:
                group["lr"] = rates[step]
            optimiser.zero_grad()
            module.loss(module(inputs[chosen]), labels[chosen]).backward()
            optimiser.step()
            step += 1
        module.eval()
        with torch.no_grad():
            right = 0
            for first in range(0, len(test[1]), 500):
                logits = module(torch.from_numpy(test[0][first : first + 500]))
                right += int((logits.argmax(1).numpy() == test[1][first : first + 500]).sum())
        found.append(right / len(test[1]))
    return found
