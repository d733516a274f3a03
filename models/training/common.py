"""Train small LIF networks on the shipped digits with surrogate gradients, and measure them.

The neuron of training is the neuron of the file: ``v = beta v + i``, a spike when ``v > 1``, and
the spiking neuron's v set to 0 in the same timestep.
"""

from __future__ import annotations

import copy
import logging
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from spikeloom.models.datasets import Dataset

BETA = 0.875  # share of v that survives a timestep
V_THRESHOLD = 1.0
SURROGATE_SLOPE = 4.0  # steepness of the spike's stand-in derivative 1 / (1 + slope |v - 1|)^2
PREDICT_BATCH = 500

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All that decides a training run, beside the network's architecture.

    Attributes
    ----------
    timesteps : int
        Timesteps an image is shown.
    epochs, batch : int
        Passes over the training digits, and digits per update.
    learning_rate, weight_decay : float
        Of AdamW; the rate follows one cosine down to 0.
    membrane_weight : float
        Weight of the loss on the mean output membrane, which has a gradient where nothing spikes.
    rate_target, rate_weight : float
        Spikes per neuron and timestep above which a hidden layer is penalised, and how strongly.
    shift_pixels, rotate_degrees, zoom : float
        Largest random shift, turn and relative change of size of a training digit.
    seed : int
        Of the initial weights, the order of the digits and the augmentation.
    """

    timesteps: int = 8
    epochs: int = 60
    batch: int = 100
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    membrane_weight: float = 0.2
    rate_target: float = 0.1
    rate_weight: float = 2.0
    shift_pixels: float = 2.0
    rotate_degrees: float = 10.0
    zoom: float = 0.1
    seed: int = 2024


class Response(NamedTuple):
    """What a network does with a batch.

    Attributes
    ----------
    counts : torch.Tensor
        Output spikes over all timesteps, shape (samples, classes).
    v_mean : torch.Tensor
        Mean output membrane before the reset, shape (samples, classes).
    hidden_rates : list of torch.Tensor
        Spikes per neuron and timestep of each hidden layer, scalars.
    """

    counts: torch.Tensor
    v_mean: torch.Tensor
    hidden_rates: list[torch.Tensor]


class SpikingNetwork(Protocol):
    """A module that `train` accepts: its forward maps images (samples, 28, 28) to a `Response`."""

    def __call__(self, images: torch.Tensor) -> Response:
        """Run all timesteps on a batch of images in 0 to 1."""
        ...


class _Spike(torch.autograd.Function):
    """Step function forward, fast-sigmoid derivative backward."""

    @staticmethod
    def forward(ctx: Any, distance: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(distance)
        return (distance > 0).to(distance.dtype)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> torch.Tensor:
        (distance,) = ctx.saved_tensors
        return grad_outputs[0] / (1.0 + SURROGATE_SLOPE * distance.abs()) ** 2


def run_lif(currents: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Run one LIF layer over all timesteps.

    Parameters
    ----------
    currents : list of torch.Tensor
        One tensor (samples, ...) for each timestep.

    Returns
    -------
    spikes, v_mean : torch.Tensor
        Shapes (timesteps, samples, ...) and (samples, ...); v is averaged before the reset.
    """
    v_mem = torch.zeros_like(currents[0])
    v_sum = torch.zeros_like(currents[0])
    spikes = []
    for current in currents:
        v_mem = BETA * v_mem + current
        v_sum = v_sum + v_mem
        spike = _Spike.apply(v_mem - V_THRESHOLD)
        spikes.append(spike)
        v_mem = v_mem * (1.0 - spike.detach())
    return torch.stack(spikes), v_sum / len(currents)


def apply_per_timestep(layer: nn.Module, spikes: torch.Tensor) -> list[torch.Tensor]:
    """Apply a layer without state to spikes (timesteps, samples, ...), in one batch for speed."""
    currents = layer(spikes.flatten(0, 1))
    return list(currents.unflatten(0, spikes.shape[:2]).unbind(0))


def train(network: nn.Module, data: Dataset, recipe: Recipe) -> None:
    """Train `network` in place by backpropagation through time.

    Parameters
    ----------
    network : nn.Module
        A `SpikingNetwork`.
    data : Dataset
        Training digits.
    recipe : Recipe
        The settings; `recipe.seed` must also have seeded the network's weights.
    """
    images, labels = _to_tensors(data)
    generator = torch.Generator().manual_seed(recipe.seed)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    updates = recipe.epochs * -(-len(images) // recipe.batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, updates)
    network.train()
    for epoch in range(recipe.epochs):
        loss_sum = 0.0
        for chosen in torch.randperm(len(images), generator=generator).split(recipe.batch):
            response = network(_augment(images[chosen], recipe, generator))
            loss = _loss(response, labels[chosen], recipe)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            loss_sum += loss.item() * len(chosen)
        logger.info("epoch %d of %d: loss %.4f", epoch + 1, recipe.epochs, loss_sum / len(images))


@torch.no_grad()
def evaluate(network: nn.Module, data: Dataset) -> dict[str, Any]:
    """Measure a network on digits.

    Returns
    -------
    dict
        ``accuracy``; ``hidden_rates``, spikes per neuron and timestep of each hidden layer; and
        ``output_spikes``, output spikes of a digit over all timesteps.
    """
    network.eval()
    images, labels = _to_tensors(data)
    right, output_spikes = 0, 0.0
    rate_sum = np.zeros(1)
    for chosen in torch.arange(len(images)).split(PREDICT_BATCH):
        response: Response = network(images[chosen])
        # numpy's argmax promises the lowest index of equal counts, torch's does not
        predicted = response.counts.numpy().argmax(axis=1)
        right += int((predicted == labels[chosen].numpy()).sum())
        output_spikes += float(response.counts.sum())
        rates = np.array([rate.item() for rate in response.hidden_rates])
        rate_sum = rate_sum + rates * len(chosen)
    return {
        "accuracy": right / len(images),
        "hidden_rates": [round(float(rate), 4) for rate in rate_sum / len(images)],
        "output_spikes": round(output_spikes / len(images), 3),
    }


def with_rounded_weights(network: nn.Module, bits: int = 8) -> nn.Module:
    """Return a copy, weights rounded to 2**bits - 1 values per output channel (max-abs scale)."""
    rounded = copy.deepcopy(network)
    levels = 2 ** (bits - 1) - 1
    with torch.no_grad():
        for parameter in rounded.parameters():
            if parameter.ndim > 1:
                scale = parameter.abs().flatten(1).amax(dim=1) / levels
                scale = scale.view(-1, *[1] * (parameter.ndim - 1))
                parameter.copy_(torch.round(parameter / scale) * scale)
    return rounded


def _to_tensors(data: Dataset) -> tuple[torch.Tensor, torch.Tensor]:
    """Return images in 0 to 1 and labels."""
    return torch.from_numpy(data.inputs).float() / 255.0, torch.from_numpy(data.labels)


def _augment(images: torch.Tensor, recipe: Recipe, generator: torch.Generator) -> torch.Tensor:
    """Shift, turn and zoom each image (samples, rows, columns) by its own random amount."""
    count, rows, columns = images.shape

    def draw(largest: float) -> torch.Tensor:
        return (torch.rand(count, generator=generator) * 2.0 - 1.0) * largest

    angle = torch.deg2rad(draw(recipe.rotate_degrees))
    scale = 1.0 + draw(recipe.zoom)
    # affine_grid's unit is half an image
    right, down = draw(2.0 * recipe.shift_pixels / columns), draw(2.0 * recipe.shift_pixels / rows)
    cosine, sine = angle.cos() * scale, angle.sin() * scale
    matrix = torch.stack(
        [torch.stack([cosine, -sine, right], 1), torch.stack([sine, cosine, down], 1)], 1
    )
    grid = functional.affine_grid(matrix, [count, 1, rows, columns], align_corners=False)
    return functional.grid_sample(images.unsqueeze(1), grid, align_corners=False).squeeze(1)


def _loss(response: Response, labels: torch.Tensor, recipe: Recipe) -> torch.Tensor:
    """Cross-entropy on spike counts, a little on the membrane, and a price on hidden activity."""
    loss = functional.cross_entropy(response.counts, labels)
    loss = loss + recipe.membrane_weight * functional.cross_entropy(response.v_mean, labels)
    for rate in response.hidden_rates:
        loss = loss + recipe.rate_weight * functional.relu(rate - recipe.rate_target)
    return loss
