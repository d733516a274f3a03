"""The learning half of a chip: engines, buffers and DRAM, and what follows from their sizes."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from .formats import FORMATS, FloatFormat
from .frozen import FrozenModel


class LookupConfig(FrozenModel):
    """A lookup engine: ``rows x columns`` lanes that add table entries; the forward and the weight-update engine."""

    rows: int = Field(default=4, ge=1, le=1024, description="output channels at a time")
    columns: int = Field(
        default=4,
        ge=1,
        le=1024,
        description="positions (forward) or channel and tap pairs (update) at a time",
    )
    group: int = Field(default=4, ge=1, le=8, description="binary inputs of a table, g")
    interleave: int = Field(
        default=4, ge=1, le=64, description="accumulators of a lane: cycles that a table serves"
    )

    @property
    def lanes(self) -> int:
        """Adders that add table entries."""
        return self.rows * self.columns

    @property
    def outputs(self) -> int:
        """Outputs of a row that share a table: R of the operation count."""
        return self.columns * self.interleave

    @property
    def table_adds(self) -> int:
        """Additions that build a table: 2^g - g - 1."""
        return (1 << self.group) - self.group - 1

    @property
    def build_adders(self) -> int:
        """Adders of a row that build the next table while one serves: ceil((2^g - g - 1) / interleave)."""
        return -(-self.table_adds // self.interleave)


class BackwardConfig(FrozenModel):
    """The backward engine: rows own positions, lanes take the outputs that the mask lets through."""

    rows: int = Field(default=4, ge=1, le=1024, description="positions groups at a time")
    lanes: int = Field(default=4, ge=1, le=256, description="multiply-adds of a row")
    contexts: int = Field(
        default=2, ge=1, le=16, description="positions that a row works on in turns"
    )
    channels: int = Field(
        default=16, ge=1, le=1024, description="input channels of a tile: weights of a word"
    )
    depth: int = Field(
        default=32, ge=1, le=4096, description="weight words that a row holds, twice"
    )


class VectorConfig(FrozenModel):
    """The vector unit: elementwise work in 32-bit floats."""

    width: int = Field(default=8, ge=1, le=4096, description="elements a cycle")
    partials: int = Field(
        default=8, ge=1, le=4096, description="partial sums of a channel in a reduction, at most"
    )
    sums: int = Field(
        default=4096, ge=1, le=1 << 20, description="partial sums of all channels of a layer"
    )

    def partials_of(self, channels: int) -> int:
        """Return the partial sums of each channel of a layer."""
        return max(1, min(self.partials, self.sums // channels))


class BufferConfig(FrozenModel):
    """Bytes of each on-chip buffer; each is there twice, so that one fills while the other is used."""

    forward_weights: int = Field(default=16 << 10, ge=64)
    forward_inputs: int = Field(default=8 << 10, ge=64)
    forward_results: int = Field(default=16 << 10, ge=64)
    backward_weights: int = Field(default=16 << 10, ge=64)
    backward_inputs: int = Field(default=16 << 10, ge=64)
    backward_results: int = Field(default=16 << 10, ge=64)
    update_gradients: int = Field(default=16 << 10, ge=64)
    update_inputs: int = Field(default=8 << 10, ge=64)
    update_results: int = Field(default=16 << 10, ge=64)
    vector_inputs: int = Field(default=16 << 10, ge=64)
    vector_results: int = Field(default=16 << 10, ge=64)

    @property
    def total(self) -> int:
        """Bytes of all buffers, both copies."""
        return 2 * sum(self.sizes.values())

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes of one copy of each buffer, in the order of their numbers."""
        return self.model_dump()

    def address(self, number: int, half: int) -> int:
        """Return the first byte of a copy of a buffer in the chip's memory: buffer by buffer, both copies of each."""
        sizes = list(self.sizes.values())
        return 2 * sum(sizes[:number]) + half * sizes[number]


class DramConfig(FrozenModel):
    """The memory beside the chip: a channel with a width and a latency."""

    bytes_per_cycle: int = Field(default=16, ge=1, le=1 << 16, description="at the chip's clock")
    latency_cycles: int = Field(
        default=40, ge=0, le=1 << 16, description="of a transfer's first byte"
    )
    size_mib: int = Field(default=64, ge=1, le=1 << 20, description="of the memory, in MiB")

    @property
    def rows(self) -> int:
        """Stretches of ``bytes_per_cycle``."""
        return (self.size_mib << 20) // self.bytes_per_cycle


class LearnConfig(FrozenModel):
    """Engines for training by backpropagation through time: docs/blocks/learning.md."""

    forward: LookupConfig = LookupConfig()
    backward: BackwardConfig = BackwardConfig()
    update: LookupConfig = LookupConfig()
    vector: VectorConfig = VectorConfig()
    buffers: BufferConfig = BufferConfig()
    dram: DramConfig = DramConfig()
    operands: Literal["fp16", "bf16", "fp32"] = Field(
        default="fp16", description="weights, membranes and gradients in memory"
    )
    accumulators: Literal["fp32", "fp16", "bf16"] = Field(
        default="fp32", description="sums of the engines"
    )
    adder_stages: int = Field(
        default=3, ge=1, le=16, description="cycles of a floating-point addition"
    )
    multiplier_stages: int = Field(
        default=2, ge=1, le=16, description="cycles of a floating-point multiplication"
    )
    signatures: bool = Field(
        default=True, description="registers that absorb all tasks and stores, for verification"
    )

    @model_validator(mode="after")
    def _check(self) -> LearnConfig:
        for name, engine in (("forward", self.forward), ("update", self.update)):
            if engine.interleave < self.adder_stages:
                raise ValueError(
                    f"{name}.interleave must be at least adder_stages ({self.adder_stages}), not {engine.interleave}: "
                    f"an accumulator's sum is ready for the next table only then"
                )
        return self

    @property
    def vector_slots(self) -> int:
        """Words that an instruction of the vector unit works on, one a cycle.

        So many cycles are from where it reads a register to where the next instruction can read its result.
        """
        return self.multiplier_stages + self.adder_stages + 3

    @property
    def channel_word(self) -> int:
        """What channels are padded to a multiple of in memory: two groups of the forward engine."""
        return 2 * self.forward.group

    @property
    def operand_format(self) -> FloatFormat:
        """Format of operands in memory."""
        return FORMATS[self.operands]

    @property
    def accumulator_format(self) -> FloatFormat:
        """Format of the engines' sums."""
        return FORMATS[self.accumulators]
