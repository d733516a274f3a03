"""Cycles of the learning engines' tasks, where they do not depend on the data: docs/blocks/learning.md."""

from __future__ import annotations

from .learn_config import LearnConfig, LookupConfig
from .learn_network import LearnNetwork, Stage
from .learn_program import Operation

DISPATCH_CYCLES = (
    2  # from the end of a task, or its last token, to the start of the next in its queue
)
VECTOR_STAGES = (
    12  # the vector unit's pipeline: three operations in a row, operand read and result write
)
DIVIDE_CYCLES = 32  # a division or square root of a 32-bit float, a bit a cycle, with its rounding


def lookup_fill(config: LearnConfig, engine: LookupConfig) -> int:
    """Cycles before the first lookup and after the last: the first table, an addition, the way out."""
    return engine.interleave + config.adder_stages + 2


def lookup_cycles(
    config: LearnConfig, engine: LookupConfig, rows: int, columns: int, groups: int, planes: int
) -> int:
    """Cycles of a lookup engine for ``rows x columns`` outputs of ``groups`` tables each.

    ``ceil(rows / R) * ceil(columns / (C * interleave))`` tiles follow one another without a gap; each takes
    ``interleave`` cycles a table and plane, and at least as many as its results, a column at a time, take to leave.
    """
    tiles = -(-rows // engine.rows) * -(-columns // engine.outputs)
    return tiles * engine.interleave * max(groups * planes, engine.columns) + lookup_fill(
        config, engine
    )


def input_groups(stage: Stage, group: int) -> int:
    """Tables of an output in the forward pass: the channels of each tap in groups of ``group``."""
    return stage.taps * -(-stage.in_channels // group)


def forward_cycles(
    config: LearnConfig, network: LearnNetwork, stage: Stage, channels: int, frames: int
) -> int:
    """Cycles of FORWARD_SUMS for ``channels`` output channels and ``frames`` frames."""
    engine = config.forward
    groups = input_groups(stage, engine.group)
    return lookup_cycles(
        config, engine, channels, frames * stage.out_positions, groups, network.planes(stage)
    )


def update_cycles(
    config: LearnConfig, network: LearnNetwork, stage: Stage, channels: int, frames: int
) -> int:
    """Cycles of WEIGHT_GRADIENTS for ``channels`` output channels and ``frames`` frames, all columns."""
    engine = config.update
    groups = -(-frames * stage.out_positions // engine.group)
    columns = stage.taps * stage.in_channels
    return lookup_cycles(config, engine, channels, columns, groups, network.planes(stage))


def backward_fill(config: LearnConfig) -> int:
    """Cycles of a backward task besides its tiles: multiplier, adder, the way out."""
    return config.multiplier_stages + config.adder_stages + 2


def backward_drain(config: LearnConfig) -> int:
    """Cycles that the results of a tile of positions take to leave, behind the next tile's work."""
    engine = config.backward
    return engine.contexts * -(-engine.channels // engine.lanes)


def vector_cycles(
    config: LearnConfig, operation: Operation, samples: int, timesteps: int, elements: int
) -> int:
    """Cycles of the vector unit: ``width`` elements a cycle, timesteps one after the other.

    ``elements`` are those of one frame. Where a timestep needs the one before, it starts when the other has left the
    pipeline. NORM_FINISH divides and takes roots, serially in each lane; READOUT divides once a logit.
    """
    width = config.vector.width
    sequential = operation in (
        Operation.NEURONS, Operation.NORM_NEURONS, Operation.NEURON_GRADIENTS, Operation.READOUT, Operation.TIME_SUMS,
    )  # fmt: skip
    if operation == Operation.NORM_FINISH:
        return -(-elements // width) * 3 * DIVIDE_CYCLES + VECTOR_STAGES
    if sequential:
        cycles = timesteps * max(-(-samples * elements // width), VECTOR_STAGES)
    else:
        cycles = -(-samples * timesteps * elements // width)
    if operation == Operation.READOUT:
        cycles += -(-samples * elements // width) * (DIVIDE_CYCLES + 10) + VECTOR_STAGES
    return cycles + VECTOR_STAGES


def transfer_cycles(config: LearnConfig, size: int) -> int:
    """Cycles for which a transfer of ``size`` bytes occupies the DRAM's channel; it ends ``latency_cycles`` later."""
    return -(-size // config.dram.bytes_per_cycle)
