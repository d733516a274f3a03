"""What the RTL of the learning engines carries: one word of channels goes through all of it."""

from __future__ import annotations

from .config import ChipConfig, ConfigError
from .learn_command import TRANSFER_FIELDS
from .learn_config import LearnConfig
from .learn_network import INPUT, LearnError, LearnNetwork, Recipe, Stage

__all__ = ["check_carried", "check_carried_network"]

DRAM_ROW_BITS = dict(TRANSFER_FIELDS)["dram_row_0"]


def check_carried(config: ChipConfig) -> LearnConfig:
    """Return the learning half of a chip whose RTL can be generated.

    Raises
    ------
    ConfigError
        Saying which sizes must agree.
    """
    learn = config.learn
    width = learn.vector.width
    row, pair = 4 * width, 2 * width
    equal = {
        f"{engine}.{field}": getattr(getattr(learn, engine), field)
        for engine in ("forward", "update")
        for field in ("rows", "group", "interleave")
    }
    wrong = [
        *(
            f"{name} must be {width} as vector.width, not {value}: words of so many channels go through all of it"
            for name, value in equal.items()
            if value != width
        ),
        *(
            f"backward.{name} must be a multiple of {pair}, 2 x vector.width, not {value}"
            for name, value in (
                ("channels", learn.backward.channels),
                ("depth", learn.backward.depth),
            )
            if value % pair
        ),
        *(
            f"buffers.{name} must be a multiple of {row} bytes, not {size}"
            for name, size in learn.buffers.sizes.items()
            if size % row
        ),
    ]
    if learn.dram.bytes_per_cycle != row:
        wrong.append(
            f"dram.bytes_per_cycle must be {row}, 4 x vector.width, not {learn.dram.bytes_per_cycle}: a row of its "
            f"memories is a word of 32-bit floats"
        )
    if learn.dram.latency_cycles < 1:
        wrong.append("dram.latency_cycles must be at least 1")
    if learn.operand_format.bits != 16:
        wrong.append(f"operands must be fp16 or bf16, not {learn.operands}")
    if learn.accumulators not in ("fp32", learn.operands):
        wrong.append(
            f"accumulators must be fp32 or {learn.operands} as the operands, not {learn.accumulators}"
        )
    if learn.dram.rows > 1 << DRAM_ROW_BITS:
        wrong.append(
            f"dram.size_mib must be at most {row << DRAM_ROW_BITS - 20}, not {learn.dram.size_mib}"
        )
    if wrong:
        raise ConfigError(f"the RTL cannot carry {config.name}: {wrong[0]}")
    return learn


def check_carried_network(learn: LearnConfig, network: LearnNetwork, recipe: Recipe) -> None:
    """Check that the RTL can train a network.

    Raises
    ------
    LearnError
        Naming the layer, and what of it the RTL does not carry.
    """
    if recipe.micro_batches > 1:
        raise LearnError(
            f"the RTL carries one micro-batch a step, not {recipe.micro_batches}; set micro_batches to 1"
        )
    for index, stage in enumerate(network.stages):
        if (what := _not_carried(learn, network, index, stage)) is not None:
            raise LearnError(
                f"layer {stage.name}: the RTL carries {what}; the simulator runs this network as it is"
            )


def _not_carried(learn: LearnConfig, network: LearnNetwork, index: int, stage: Stage) -> str | None:
    """Return what a stage would have to be instead, or None."""
    last = index == len(network.stages) - 1
    rows, columns, channels = network.output_shape(stage.sources[0])
    is_flat = stage.in_shape[:2] == (1, 1) and rows * columns > 1
    return next(
        (
            sentence
            for wrong, sentence in (
                (stage.groups > 1, "no grouped convolutions"),
                (stage.pool > 1, "no pooling; use a stride"),
                (len(stage.sources) > 1, "one source a layer"),
                (stage.shortcut is not None, "no shortcuts"),
                (stage.norm is not None, "no norms"),
                (stage.bias, "no biases"),
                (not last and stage.neuron is None, "neurons in every layer but the last"),
                (last and network.is_constant(stage), "a hidden layer before the readout"),
                (not last and len(network.consumers(index)) != 1, "one user a layer"),
                (
                    is_flat and channels % learn.channel_word > 0,
                    f"dense layers over frames of a multiple of {learn.channel_word} channels, not {channels}",
                ),
                (
                    INPUT not in stage.sources and stage.in_channels > learn.backward.channels,
                    f"at most {learn.backward.channels} input channels behind the first layer, not {stage.in_channels}",
                ),
                (
                    INPUT not in stage.sources
                    and _weight_words(learn, stage) > _weight_depth(learn),
                    (
                        f"at most {_weight_depth(learn)} words of weights for the backward engine in "
                        f"buffers.backward_weights, not {_weight_words(learn, stage)} (taps x words of output "
                        f"channels, each with room for {learn.backward.channels} input channels)"
                    ),
                ),
            )
            if wrong
        ),
        None,
    )


def _weight_words(learn: LearnConfig, stage: Stage) -> int:
    """Return for how many words of output channels and taps the backward engine keeps weights."""
    return stage.taps * -(-stage.out_channels // learn.channel_word) * 2


def _weight_depth(learn: LearnConfig) -> int:
    """Return how many it can keep: each has room for `BackwardConfig.channels` input channels."""
    word = learn.vector.width * learn.backward.channels * learn.operand_format.bytes
    return learn.buffers.backward_weights // word
