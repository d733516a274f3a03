"""Cycles of the vector unit's tasks, from its microprograms: docs/blocks/learning.md."""

from __future__ import annotations

from .learn_config import LearnConfig
from .learn_microcode import (
    Counter,
    Form,
    Program,
    Serial,
    Slots,
    channel_sums,
    instructions,
    neuron_gradients,
    neurons,
    norm_finish,
    norm_gradients,
    norm_sums,
    optimise,
    readout,
    time_sums,
)
from .learn_network import LearnNetwork, Recipe
from .learn_program import Operation

__all__ = [
    "DIVIDE_CYCLES", "ROOT_CYCLES", "program_cycles", "vector_cycles", "vector_fill", "vector_programs",
]  # fmt: skip

DIVIDE_CYCLES = 31  # a division of 32-bit floats, a bit a cycle, with its rounding
ROOT_CYCLES = 28  # a square root
_FILL = 5  # cycles of a task from its start to where its first registers are read


def vector_programs(
    network: LearnNetwork, loss: str, operation: Operation, index: int
) -> tuple[Program, ...]:
    """Return the microprograms that an operation of a stage runs, one after the other.

    Raises
    ------
    ValueError
        If the vector unit has no such operation.
    """
    stage = network.stages[index]
    fires = stage.neuron is not None
    kind = None if stage.norm is None else stage.norm.kind
    if operation in (Operation.NEURONS, Operation.NORM_NEURONS):
        shortcut = None
        if stage.shortcut is not None:
            is_spikes = network.stages[stage.shortcut].neuron is not None
            shortcut = Form.BITS if is_spikes else Form.OPERANDS
        return (neurons(bias=stage.bias, norm=kind, shortcut=shortcut, fires=fires),)
    if operation == Operation.NORM_SUMS:
        return (norm_sums(bias=stage.bias),)
    if operation == Operation.NORM_FINISH:
        return (norm_finish(),)
    if operation == Operation.READOUT:
        return (readout(is_mse=loss == "mse", bias=stage.bias),)
    if operation == Operation.NEURON_GRADIENTS:
        pools = [
            network.stages[user].pool if port == "input" else 1
            for user, port in network.consumers(index)
        ]
        through_norm = kind == "frozen" and not network.is_constant(stage)
        own = neuron_gradients(pools, fires=fires, norm=through_norm)
        has_sums = kind is not None or stage.bias
        return (own, channel_sums(norm=kind is not None)) if has_sums else (own,)
    if operation == Operation.NORM_GRADIENTS:
        return (norm_gradients(),)
    if operation == Operation.TIME_SUMS:
        return (time_sums(norm=kind),)
    if operation == Operation.OPTIMISE:
        return (optimise(),)
    raise ValueError(f"{operation.name} is not an operation of the vector unit")


def program_cycles(
    config: LearnConfig, program: Program, samples: int, timesteps: int, positions: int, channels: int,
    partials: int = 1,
) -> int:  # fmt: skip
    """Cycles of a microprogram: each instruction takes a cycle a slot, and is run for each group of slots.

    Slots are the words of ``width`` elements of ``samples`` frames, or the samples, or the partial sums; of these as
    many stand side by side as channels fit into a word. ``channels`` are real ones, padded in memory; ``partials`` are
    the partial sums of each.
    """
    vector, slots = config.vector, config.vector_slots
    padded = -(-channels // config.channel_word) * config.channel_word
    words = -(-positions * padded // vector.width)
    if program.slots == Slots.PARTS:
        beside = max(1, vector.width // padded)
        groups = -(-padded // vector.width) * -(-partials // (beside * slots))
    else:
        groups = -(-(samples if program.slots == Slots.SAMPLES else samples * words) // slots)
    trips = {
        Counter.TIME: timesteps,
        Counter.WORD: words,
        # Of a word without real channels, one.
        Counter.LANE: channels + words - -(-channels // vector.width),
        Counter.CHUNK: -(-samples * timesteps * positions // partials),
        Counter.PART: partials,
    }
    cycles = {Serial.NONE: 1, Serial.DIVIDE: DIVIDE_CYCLES, Serial.ROOT: ROOT_CYCLES}
    found = instructions(program, trips)
    return groups * slots * sum(count * cycles[kind] for kind, count in found.items())


def vector_fill(config: LearnConfig) -> int:
    """Cycles of a task of the vector unit besides its instructions: addresses, the last one's way through a lane."""
    return config.vector_slots + _FILL


def vector_cycles(
    config: LearnConfig,
    network: LearnNetwork,
    recipe: Recipe,
    operation: Operation,
    index: int,
    channels: int,
    frames: int,
) -> int:
    """Cycles of an operation of a stage for ``channels`` channels and ``frames`` frames.

    Frames that are less than a sample's timesteps are a sample of fewer. Of OPTIMISE they say in how many pieces.
    """
    stage, timesteps = network.stages[index], recipe.timesteps
    samples, steps = (frames // timesteps, timesteps) if frames >= timesteps else (1, frames)
    positions = stage.out_positions
    if operation == Operation.OPTIMISE:
        inputs = -(-stage.in_channels // config.channel_word) * config.channel_word
        samples, steps, positions = 1, 1, -(-stage.taps * inputs // frames)
    elif operation == Operation.NORM_FINISH:
        samples, steps, positions = 1, 1, 1
    elif operation == Operation.NORM_SUMS:
        samples, steps = frames, 1
    cycles, partials = vector_fill(config), config.vector.partials_of(stage.out_shape[2])
    for program in vector_programs(network, recipe.loss, operation, index):
        is_summed = program.slots == Slots.PARTS and network.is_constant(stage)
        cycles += program_cycles(
            config, program, samples, 1 if is_summed else steps, positions, channels, partials
        )
    return cycles
