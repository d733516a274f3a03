"""NeuroBench's own harness on the shipped networks, rebuilt in PyTorch, beside what `spikeloom run` says of them.

    pip install '.[train]' neurobench==2.3.0
    python benchmarks/neurobench_harness.py [--samples 50] [--save]

Each network is rebuilt twice: as it was trained, in 32-bit floats with snnTorch's neurons, and as the chip runs it,
with the quantised weights and the chip's integer neuron, whose output spikes must equal the simulated chip's.
``--save`` keeps the harness's figures in tests/data/neurobench.json, to which the test suite holds ours without
PyTorch.
"""

from __future__ import annotations

import argparse
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import numpy as np
import snntorch as snn
import torch
from neurobench.benchmarks import Benchmark
from neurobench.metrics.static import ConnectionSparsity, Footprint
from neurobench.metrics.workload import ActivationSparsity, SynapticOperations
from neurobench.models import SNNTorchModel
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from spikeloom.chip.config import ChipConfig
from spikeloom.compiler.nir_file import NirGraph, NirNode, read_nir
from spikeloom.compiler.pipeline import compile_network
from spikeloom.compiler.quantised import QuantisedNetwork, QuantisedPopulation
from spikeloom.compiling import calibration_values, compile_nir, load_nir, resolve_chip
from spikeloom.models.datasets import load_mnist
from spikeloom.models.zoo import ZOO, ZooNetwork, load_zoo_samples, path
from spikeloom.running import run

CHIP = "tianjic"
BETA = 0.875  # of the shipped networks: models/networks/*.json
SAVED = Path(__file__).resolve().parent.parent / "tests" / "data" / "neurobench.json"


class ChipLif(nn.Module):
    """The chip's integer LIF neuron, reset to 0 in the timestep of its spike, over a batch."""

    def __init__(self, population: QuantisedPopulation, config: ChipConfig) -> None:
        super().__init__()
        self.threshold, self.bias, self.decay = (
            torch.from_numpy(np.asarray(values).reshape(population.source.shape))
            for values in (population.v_threshold, population.bias, population.decay_mem)
        )
        self.i_shift, self.decay_bits = population.i_shift, config.many_core.core.decay_bits
        self.v_mem: torch.Tensor | int = 0

    def forward(self, current: torch.Tensor) -> torch.Tensor:
        """Advance by one timestep and return the spikes."""
        i_in = (current.round().long() << self.i_shift) + self.bias
        v_mem = self.v_mem + torch.zeros_like(i_in)
        v_mem = ((v_mem * self.decay + (1 << (self.decay_bits - 1))) >> self.decay_bits) + i_in
        fires = v_mem > self.threshold
        self.v_mem = torch.where(fires, 0, v_mem)
        return fires.double()


class Net(nn.Module):
    """A chain of layers, run by the harness timestep by timestep."""

    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def reset(self) -> None:
        """Put every membrane to rest."""
        for layer in self.layers:
            if isinstance(layer, ChipLif):
                layer.v_mem = 0
            elif isinstance(layer, snn.Leaky):
                layer.reset_mem()

    def forward(self, values: torch.Tensor) -> tuple[torch.Tensor, None]:
        """Return the output spikes of one timestep."""
        return self.layers(values), None


def main() -> None:
    """Print the figures side by side."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=int, default=50)
    parser.add_argument("--save", action="store_true", help="keep the figures in tests/data/")
    options = parser.parse_args()
    found = {name: measure(item, options.samples) for name, item in ZOO.items()}
    if options.save:
        origin = {
            "command": f"python benchmarks/neurobench_harness.py --samples {options.samples} --save",
            "versions": {name: version(name) for name in ("neurobench", "snntorch", "torch")},
            "chip": CHIP,
            "samples": options.samples,
        }
        SAVED.write_text(json.dumps(origin | {"networks": found}, indent=1) + "\n")


def measure(item: ZooNetwork, samples: int) -> dict[str, Any]:
    """Return the harness's figures of one network, and print them beside ours."""
    calibrate = {"inputs": load_mnist("train").inputs[:128].reshape(-1, *item.input_shape)}
    shown: dict[str, Any] = {"timesteps": item.timesteps, "encode": item.encoder}
    compilation = compile_nir(path(item.name), CHIP, convention="nir", calibrate=calibrate, **shown)
    digits = load_zoo_samples(item.name, samples)
    result = run(compilation.program, {"inputs": digits.inputs}, **shown)
    assert result.neurobench is not None

    config = resolve_chip(CHIP)
    loaded = load_nir(path(item.name), "nir")
    calibration = calibration_values(loaded, calibrate, item.timesteps, item.encoder, 0)
    quantised = compile_network(loaded.network, config, calibration=calibration).quantised
    nodes = chain(read_nir(path(item.name)))
    pixels = torch.from_numpy(digits.inputs)
    of_trained = harness(trained_net(nodes), pixels.float() / 255.0, item.timesteps)
    counts = []
    of_chip = harness(chip_net(nodes, quantised, config), pixels.double(), item.timesteps, counts)
    assert np.array_equal(counts[0], result.output_counts), "the rebuilt network is another one"
    of_trained["neuron_bytes"] = of_trained.pop("buffers")
    of_chip.pop("buffers"), of_chip.pop("Footprint")  # 64-bit floats, which hold integers
    print(item.name)
    for title, figures in (("as trained", of_trained), ("as the chip runs it", of_chip)):
        print(f"  harness, {title}: {figures}")
    print(f"  ours: {result.neurobench.model_dump()}")
    return {"as trained": of_trained, "as the chip runs it": of_chip}


def chain(graph: NirGraph) -> list[NirNode]:
    """Return the nodes in the order in which the edges run through them."""
    after = dict(graph.edges)
    names = [next(name for name, node in graph.nodes.items() if node.type == "Input")]
    while names[-1] in after:
        names.append(after[names[-1]])
    return [graph.nodes[name] for name in names]


def trained_net(nodes: list[NirNode]) -> Net:
    """Rebuild a network as its file has it: v = beta v + (1 - beta) i."""
    made: list[nn.Module] = []
    for node in nodes:
        if node.type in ("Affine", "Conv2d"):
            weight, bias = (
                (1.0 - BETA) * torch.from_numpy(node.floats(f)).float() for f in ("weight", "bias")
            )
            made.append(connection(node, weight, bias))
        elif node.type == "LIF":
            made.append(
                snn.Leaky(BETA, init_hidden=True, reset_mechanism="zero", reset_delay=False)
            )
        elif node.type == "Flatten":
            made.append(nn.Flatten())
    return Net(made)


def chip_net(nodes: list[NirNode], quantised: QuantisedNetwork, config: ChipConfig) -> Net:
    """Rebuild a network with the integers of the chip; its biases are the neurons' own."""
    made: list[nn.Module] = []
    rest = iter(quantised.populations)
    for node in nodes:
        if node.type in ("Affine", "Conv2d"):
            population = next(rest)
            (projection,) = (p for p in quantised.projections if p.target == population.name)
            rows = projection.weight.toarray()
            if node.type == "Conv2d":  # a channel's first place holds its kernel
                kernel = node.floats("weight").shape
                side = round((rows.shape[1] // kernel[1]) ** 0.5)
                first = rows[:: rows.shape[0] // kernel[0]].reshape(-1, kernel[1], side, side)
                rows = np.ascontiguousarray(first[:, :, : kernel[2], : kernel[3]])
            made += [
                connection(node, torch.from_numpy(rows).double(), None),
                ChipLif(population, config),
            ]
        elif node.type == "Flatten":
            made.append(nn.Flatten())
    return Net(made)


def connection(node: NirNode, weight: torch.Tensor, bias: torch.Tensor | None) -> nn.Module:
    """Return a dense layer or a convolution without padding, with these weights."""
    layer: nn.Linear | nn.Conv2d
    if node.type == "Affine":
        layer = nn.Linear(weight.shape[1], weight.shape[0], bias is not None)
    else:
        stride = tuple(int(n) for n in node.params["stride"].ravel())
        kernel = cast(tuple[int, int], tuple(weight.shape[2:]))
        layer = nn.Conv2d(weight.shape[1], weight.shape[0], kernel, stride, bias=bias is not None)
    layer.weight.data = weight
    if bias is not None:
        assert layer.bias is not None
        layer.bias.data = bias
    return layer


def harness(
    net: Net, images: torch.Tensor, timesteps: int, counts: list[Any] | None = None
) -> dict[str, Any]:
    """Return the harness's figures of a network that sees each image for all timesteps, all images in one batch."""
    model = SNNTorchModel(net)
    model.add_activation_module(ChipLif)
    held = images.unsqueeze(1).expand(-1, timesteps, *images.shape[1:])
    data = TensorDataset(held, torch.zeros(len(images)))

    def keep(spikes: torch.Tensor) -> torch.Tensor:
        if counts is not None:
            counts.append(spikes.sum(dim=1).long().numpy())
        return spikes

    metrics = [[Footprint, ConnectionSparsity], [ActivationSparsity, SynapticOperations]]
    benchmark = Benchmark(model, DataLoader(data, batch_size=len(images)), [], [keep], metrics)
    buffers = sum(b.numel() * b.element_size() for b in net.buffers())
    with torch.no_grad():
        return {"buffers": buffers} | benchmark.run(quiet=True)


if __name__ == "__main__":
    main()
