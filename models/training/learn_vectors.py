"""Store what PyTorch's autograd gives for a step of small networks, in float64: a yardstick of the engines."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as nnf

from ...chip.learn_network import (
    INPUT,
    InputFormat,
    LearnNetwork,
    Neuron,
    Norm,
    Parameters,
    Recipe,
    Stage,
    initial_parameters,
)

MARGIN = 2e-4  # least distance of a membrane from a threshold or an edge of its window
ATTEMPTS = 400


class _Spike(torch.autograd.Function):
    """A step forward; a rectangular window backward."""

    @staticmethod
    def forward(
        ctx: Any, u: torch.Tensor, threshold: float, half_width: float, height: float
    ) -> Any:
        """Fire strictly above the threshold."""
        ctx.save_for_backward(u)
        ctx.window = (threshold, half_width, height)
        return (u > threshold).to(u.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        """Pass gradients strictly within the window."""
        (u,) = ctx.saved_tensors
        threshold, half_width, height = ctx.window
        return gradients[0] * height * ((u - threshold).abs() < half_width), None, None, None


def _planes_first(x: torch.Tensor) -> torch.Tensor:
    return x.permute(0, 3, 1, 2)


def _planes_last(x: torch.Tensor) -> torch.Tensor:
    return x.permute(0, 2, 3, 1)


def _kernel(stage: Stage, weights: torch.Tensor) -> torch.Tensor:
    """Return (groups, taps, in, out) as PyTorch has it: (groups * out, in, rows, columns)."""
    groups, taps, ins, outs = weights.shape
    assert taps == stage.taps
    return weights.permute(0, 3, 2, 1).reshape(groups * outs, ins, *stage.kernel)


def forward(
    network: LearnNetwork,
    recipe: Recipe,
    weights: list[Any],
    vectors: list[dict[str, Any]],
    inputs: torch.Tensor,
) -> tuple[torch.Tensor, float]:
    """Return the logits, and how near a membrane comes to what decides about it; moves running statistics."""
    samples, steps = len(inputs), recipe.timesteps
    outputs: dict[int, torch.Tensor] = {
        INPUT: inputs.expand(samples, steps, *inputs.shape[2:]).reshape(-1, *inputs.shape[2:])
    }
    margin = np.inf
    for i, stage in enumerate(network.stages):
        x = sum(outputs[source] for source in stage.sources)
        x = _planes_first(x)
        if stage.pool > 1:
            x = nnf.avg_pool2d(x, stage.pool)
        x = _planes_first(_planes_last(x).reshape(-1, *stage.in_shape))
        y = nnf.conv2d(
            x,
            _kernel(stage, weights[i]),
            vectors[i].get("bias"),
            stage.stride,
            stage.padding,
            1,
            stage.groups,
        )
        if stage.norm is not None:
            y = nnf.batch_norm(
                y, vectors[i]["running_mean"], vectors[i]["running_var"], vectors[i]["gamma"] * stage.norm.scale,
                vectors[i]["beta"], stage.norm.kind == "batch", stage.norm.momentum, stage.norm.epsilon,
            )  # fmt: skip
        y = _planes_last(y)
        if stage.neuron is not None:
            if stage.shortcut is not None:
                y = y + outputs[stage.shortcut]
            n = stage.neuron
            current = y.reshape(samples, steps, *y.shape[1:])
            u = s = torch.zeros_like(current[:, 0])
            fired = []
            for t in range(steps):
                u = n.leak * u * (1 - s) + current[:, t]
                s = _Spike.apply(u, n.threshold, n.half_width, n.height)
                distance = (u.detach() - n.threshold).abs()
                margin = min(
                    margin, float(distance.min()), float((distance - n.half_width).abs().min())
                )
                fired.append(s)
            y = torch.stack(fired, 1).reshape(y.shape)
        outputs[i] = y
    out = outputs[len(network.stages) - 1].reshape(samples, steps, -1)
    if recipe.readout == "mean":
        return out.mean(1), margin
    v = torch.zeros_like(out[:, 0])
    for t in range(steps):
        v = recipe.readout_leak * v + out[:, t]
    return v, margin


def vectors_of(network: LearnNetwork, recipe: Recipe, seed: int) -> dict[str, np.ndarray] | None:
    """Return inputs, parameters, logits, loss and gradients of a step; None if a membrane comes too near."""
    rng = np.random.default_rng(seed)
    image = network.input
    shape = (recipe.batch, 1 if image.constant else recipe.timesteps, *image.shape)
    stored = rng.integers(0, 1 << image.bits, shape).astype(np.uint8)
    labels = rng.integers(0, network.classes, recipe.batch)
    parameters = initial_parameters(network, seed)
    for w, entry in zip(parameters.weights, parameters.vectors, strict=True):
        np.multiply(w, np.float32(1.5), out=w)
        if "gamma" in entry:
            size = len(entry["gamma"])
            entry["gamma"][:] = rng.uniform(0.5, 1.5, size)
            entry["beta"][:] = rng.uniform(-0.2, 0.3, size)
            entry["running_mean"][:] = rng.uniform(-0.2, 0.2, size)
            entry["running_var"][:] = rng.uniform(0.2, 1.0, size)
    values = stored.astype(np.float64)
    if image.signed:
        values = np.where(values >= 1 << (image.bits - 1), values - (1 << image.bits), values)
    result: dict[str, np.ndarray] = _named(parameters)
    weights = [torch.tensor(w, dtype=torch.float64, requires_grad=True) for w in parameters.weights]
    vectors = [
        {
            n: torch.tensor(v, dtype=torch.float64, requires_grad=not n.startswith("running"))
            for n, v in entry.items()
        }
        for entry in parameters.vectors
    ]
    logits, margin = forward(network, recipe, weights, vectors, torch.tensor(values * image.scale))
    if margin < MARGIN:
        return None
    target = torch.tensor(labels)
    if recipe.loss == "mse":
        loss = nnf.mse_loss(logits, nnf.one_hot(target, network.classes).to(logits.dtype))
    else:
        loss = nnf.cross_entropy(logits, target)
    loss.backward()
    result |= {
        "inputs": stored, "labels": labels, "logits": logits.detach().numpy(), "loss": loss.detach().numpy(),
        "margin": np.array(margin), "network": np.array(json.dumps(asdict(network))),
        "recipe": np.array(json.dumps(asdict(recipe))),
    }  # fmt: skip
    for i, (w, entry) in enumerate(zip(weights, vectors, strict=True)):
        result[f"weight_gradient{i}"] = w.grad.numpy().astype(np.float32)
        for n, v in entry.items():
            if v.grad is not None:
                result[f"vector_gradient{i}/{n}"] = v.grad.numpy().astype(np.float32)
            else:
                result[f"moved{i}/{n}"] = v.numpy().astype(np.float32)
    return result


def _named(parameters: Parameters) -> dict[str, np.ndarray]:
    result = {f"weight{i}": w.copy() for i, w in enumerate(parameters.weights)}
    for i, entry in enumerate(parameters.vectors):
        result |= {f"vector{i}/{n}": v.copy() for n, v in entry.items()}
    return result


def _conv_network() -> LearnNetwork:
    """Signed images, batch statistics, groups, stride, pooling."""
    return LearnNetwork(
        InputFormat((7, 6, 2), bits=5, signed=True, scale=1 / 8),
        (
            Stage("first", (7, 6, 2), (7, 6, 4), (INPUT,), kernel=(3, 3), padding=(1, 1), norm=Norm(), neuron=Neuron()),
            Stage(
                "grouped", (7, 6, 4), (4, 3, 6), (0,), kernel=(3, 3), stride=(2, 2), padding=(1, 1), groups=2,
                norm=Norm(scale=0.5), neuron=Neuron(leak=0.5, height=0.75),
            ),
            Stage("readout", (1, 1, 12), (1, 1, 5), (1,), pool=2, bias=True),
        ),
        "conv",
    )  # fmt: skip


def _shortcut_network() -> LearnNetwork:
    """Shortcuts on spikes and on membranes, a sum of two layers' spikes, frozen statistics, spikes as the input."""
    shape, conv = (4, 4, 3), {"kernel": (3, 3), "padding": (1, 1)}
    return LearnNetwork(
        InputFormat((4, 4, 3), bits=1, scale=1.0, constant=False),
        (
            Stage("stem", shape, shape, (INPUT,), **conv, bias=True, neuron=Neuron()),
            Stage("beside", shape, shape, (0,), norm=Norm("frozen")),
            Stage("main", shape, shape, (0,), **conv, norm=Norm("frozen"), shortcut=1, neuron=Neuron()),
            Stage("again", shape, shape, (0, 2), **conv, shortcut=0, neuron=Neuron(threshold=0.5)),
            Stage("readout", (1, 1, 48), (1, 1, 4), (3,)),
        ),
        "shortcut",
    )  # fmt: skip


def _dense_network() -> LearnNetwork:
    """Dense layers on an image that does not change, as of the MNIST network."""
    return LearnNetwork(
        InputFormat((5, 5, 1)),
        (
            Stage("hidden", (1, 1, 25), (1, 1, 20), (INPUT,), bias=True, neuron=Neuron()),
            Stage("readout", (1, 1, 20), (1, 1, 6), (0,), bias=True),
        ),
        "dense",
    )


CASES = {
    "conv": (_conv_network(), Recipe(timesteps=3, batch=3)),
    "shortcut": (
        _shortcut_network(),
        Recipe(timesteps=4, batch=2, readout="membrane", readout_leak=0.5),
    ),
    "dense": (_dense_network(), Recipe(timesteps=5, batch=4, loss="mse")),
    "dense_ce": (replace(_dense_network(), name="dense_ce"), Recipe(timesteps=6, batch=3)),
}


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("tests/data/learn_torch.npz"))
    out = parser.parse_args().out
    torch.set_num_threads(1)
    everything: dict[str, Any] = {
        "cases": np.array(json.dumps(list(CASES))),
        "torch": np.array(torch.__version__),
    }
    for name, (network, recipe) in CASES.items():
        for seed in range(ATTEMPTS):
            found = vectors_of(network, recipe, seed)
            if found is not None:
                print(
                    f"{name}: seed {seed}, margin {float(found['margin']):.1e}, loss {float(found['loss']):.4f}"
                )
                everything |= {f"{name}/{key}": value for key, value in found.items()}
                break
        else:
            raise SystemExit(
                f"{name}: in {ATTEMPTS} draws a membrane always came within {MARGIN} of an edge"
            )
    np.savez_compressed(out, **everything)
    print(f"{out}: {out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
