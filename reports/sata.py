"""SATA's model of training energy (github.com/RuokaiYin/SATA_Sim, d447058), restated with its faults: a cross-check.

Counts of operations and words a layer and step, times an energy each, in units of an add-and-multiply of 16 bits. Known
faults, kept because the published totals have them: a dense layer *replaces* the forward additions counted so far and
ignores sparsity in all passes; the readout is left out; words of spikes count as 1 / bits of an operand.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..chip.learn_network import INPUT, InputFormat, LearnNetwork, Neuron, Stage

__all__ = ["SataCounts", "sata_counts", "sata_energy", "vgg5"]

MULTIPLY, ACCUMULATE, ADD, AND = 0.239, 0.0389, 0.00967, 0.000794
COMPARE, MULTIPLEX, REGISTER, SHIFT = 0.00309, 0.00172, 0.0301, 0.00605
DRAM, SRAM, SCRATCHPAD = 55.58, 1.95, 0.2779
UNIT = MULTIPLY + ACCUMULATE

LIF = ADD + COMPARE + 2 * MULTIPLEX + 3 * REGISTER + SHIFT
GRADIENT = MULTIPLY + 2 * ADD + MULTIPLEX + 2 * SHIFT
SPIKE_MAC, REAL_MAC = ACCUMULATE + AND, MULTIPLY + ACCUMULATE


@dataclass(frozen=True)
class SataCounts:
    """Operations of a step of one sample, then words of memory as (DRAM, global buffer, scratchpad) a pass."""

    lif: float
    forward: float
    gradients: float
    backward: float
    update: float
    words: dict[str, tuple[float, float, float]]


def vgg5() -> LearnNetwork:
    """Return the network of SATA's published totals: three convolutions, a dense layer and a readout."""

    def convolution(
        name: str, side: int, inputs: int, outputs: int, source: int, pool: int = 1
    ) -> Stage:
        return Stage(
            name, (side, side, inputs), (side, side, outputs), (source,), kernel=(3, 3), padding=(1, 1), pool=pool,
            neuron=Neuron(),
        )  # fmt: skip

    return LearnNetwork(
        InputFormat((32, 32, 3)),
        (
            convolution("conv1", 32, 3, 64, INPUT),
            convolution("conv2", 16, 64, 128, 0, pool=2),
            convolution("conv3", 16, 128, 128, 1),
            Stage("fc", (1, 1, 8192), (1, 1, 1024), (2,), pool=2, neuron=Neuron()),
            Stage("out", (1, 1, 1024), (1, 1, 10), (3,)),
        ),
        "vgg5",
    )


def sata_counts(
    network: LearnNetwork, timesteps: int, bits: int, spikes_zero: float, gradients_zero: float
) -> SataCounts:
    """Count what SATA counts for all layers but the readout."""
    neurons = forward = backward = update = 0.0
    words = {name: [0.0, 0.0, 0.0] for name in ("forward", "backward", "update")}
    for stage in network.stages[:-1]:
        inputs, outputs, weights = _sizes(stage)
        macs = stage.macs * timesteps
        neurons += outputs * timesteps
        if stage.in_positions == 1:  # dense
            forward = macs
            backward += macs
            update += macs
        else:
            forward += (1 - spikes_zero) * macs
            backward += (1 - gradients_zero) * macs
            update += (1 - spikes_zero) * macs
        spikes, results = timesteps * inputs / bits, timesteps * outputs
        rewritten = 2 * (1 + timesteps) * weights + spikes + results
        for name, parts in (
            (
                "forward",
                (
                    weights + results + spikes,
                    2 * (weights + results + spikes),
                    2 * (weights + spikes),
                ),
            ),
            ("backward", (results + spikes, 7 * results + 2 * spikes + weights, weights + results)),
            ("update", (2 * weights, rewritten, rewritten + 2 * timesteps * weights)),
        ):
            words[name] = [a + b for a, b in zip(words[name], parts, strict=True)]
    return SataCounts(
        neurons,
        forward,
        neurons,
        backward,
        update,
        {name: (w[0], w[1], w[2]) for name, w in words.items()},
    )


def sata_energy(counts: SataCounts, bits: int) -> dict[str, float]:
    """Return energies in units of a 16-bit multiply and add: ``total``, ``forward``, ``forward compute``."""
    narrow = bits / 16
    compute = (counts.lif * LIF + counts.forward * SPIKE_MAC) * narrow
    later = counts.gradients * GRADIENT + counts.backward * REAL_MAC + counts.update * SPIKE_MAC
    memory = {
        name: sum(count * cost for count, cost in zip(parts, (DRAM, SRAM, SCRATCHPAD), strict=True))
        for name, parts in counts.words.items()
    }
    forward = compute + memory["forward"] * narrow
    total = forward + later + memory["backward"] + memory["update"]
    return {"total": total / UNIT, "forward": forward / UNIT, "forward compute": compute / UNIT}


def _sizes(stage: Stage) -> tuple[int, int, int]:
    rows, columns, channels = stage.in_shape
    out_rows, out_columns, out_channels = stage.out_shape
    groups, taps, inputs, outputs = stage.weight_shape
    return (
        rows * columns * channels,
        out_rows * out_columns * out_channels,
        groups * taps * inputs * outputs,
    )
