"""What a command of the learning engines says: the fields of each engine's tasks, in the order of their bits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .bit_fields import Fields, bits_of, pack_fields, unpack_fields
from .learn_network import LearnError
from .learn_program import Operation, Queue

__all__ = [
    "BACKWARD_FIELDS", "COMMANDS", "COMMAND_WORDS", "HEADER_FIELDS", "LOOKUP_FIELDS", "SEGMENTS", "TRANSFER_FIELDS",
    "VECTOR_FIELDS", "WORD_BITS", "decode_command", "encode_command", "fields_of",
]  # fmt: skip

WORD_BITS = 32  # of a command's memory
COMMANDS = 64  # that a queue of the RTL holds
SEGMENTS = 4  # stretches of memory of a transfer, one after the other

# Before the fields of the engine: what is to be done, and how many tasks of each queue must have ended before.
HEADER_FIELDS: Fields = (("operation", 4), *((f"wait_{queue.name.lower()}", 12) for queue in Queue))

# A transfer: the buffer by its number, and for each segment rows of DRAM and of the buffer. ``inner`` is the rows of
# an output word and tap of weights on their way to the backward engine, which transposes them.
TRANSFER_FIELDS: Fields = (
    ("buffer", 4),
    ("segments", 3),
    *(
        (f"{name}_{n}", bits)
        for n in range(SEGMENTS)
        for name, bits in (("dram_row", 24), ("buffer_row", 16), ("rows", 16), ("inner", 16))
    ),
)

_GEOMETRY: Fields = (
    ("frames", 16),
    ("in_rows", 10),
    ("in_columns", 10),
    ("out_rows", 10),
    ("out_columns", 10),
    ("kernel_rows", 4),
    ("kernel_columns", 4),
    ("stride_rows", 4),
    ("stride_columns", 4),
    ("pad_rows", 4),
    ("pad_columns", 4),
    ("in_words", 12),  # of a position
    ("out_words", 12),
)

# FORWARD_SUMS and WEIGHT_GRADIENTS. Rows are those of the buffers, their halves included.
LOOKUP_FIELDS: Fields = (
    *_GEOMETRY,
    ("planes", 4),
    ("signed", 1),
    ("plane_words", 16),  # W-bit words of a bit plane of an input frame
    ("input_row", 16),
    ("input_frame_rows", 16),
    ("operand_row", 16),  # of weights, or of gradients
    ("operand_frame_rows", 16),  # of gradients
    ("result_row", 16),
)

# INPUT_GRADIENTS.
BACKWARD_FIELDS: Fields = (
    *_GEOMETRY,
    ("weight_half", 1),
    ("gradient_row", 16),
    ("gradient_frame_rows", 16),
    ("mask_row", 16),
    ("mask_frame_rows", 16),
    ("result_row", 16),
    ("result_frame_rows", 16),
)

# The vector unit's operations. Arrays are numbered as docs/blocks/learning.md lists them.
VECTOR_FIELDS: Fields = (
    ("operation", 4),
    ("is_membrane", 1),  # READOUT
    ("is_mse", 1),  # READOUT
    ("constant", 1),  # NEURONS, READOUT: one frame of sums a sample
    ("samples", 16),
    ("timesteps", 8),
    ("frame_words", 16),
    ("channels", 16),  # of a position, without padding
    *((f"in_row_{n}", 16) for n in range(3)),
    *((f"in_frame_rows_{n}", 16) for n in range(3)),
    *((f"out_row_{n}", 16) for n in range(3)),
    *((f"out_frame_rows_{n}", 16) for n in range(3)),
    *((f"constant_{n}", 32) for n in range(4)),
)


COMMAND_WORDS = -(
    -(
        bits_of(HEADER_FIELDS)
        + max(map(bits_of, (TRANSFER_FIELDS, LOOKUP_FIELDS, BACKWARD_FIELDS, VECTOR_FIELDS)))
    )
    // WORD_BITS
)


def fields_of(queue: Queue) -> Fields:
    """Return the fields that follow the header of a queue's commands."""
    if queue in (Queue.FORWARD, Queue.UPDATE):
        return LOOKUP_FIELDS
    if queue == Queue.BACKWARD:
        return BACKWARD_FIELDS
    return VECTOR_FIELDS if queue == Queue.VECTOR else TRANSFER_FIELDS


def encode_command(
    queue: Queue, operation: Operation, waits: Mapping[Queue, int], values: Mapping[str, int]
) -> tuple[int, ...]:
    """Return the words of a command, lowest bits first.

    Raises
    ------
    LearnError
        Naming a value that does not fit its field.
    """
    header = {"operation": operation}
    header |= {f"wait_{of.name.lower()}": count for of, count in waits.items()}
    what = f"a command of queue {queue.name.lower()}"
    try:
        word = pack_fields(HEADER_FIELDS, header, what)
        word |= pack_fields(fields_of(queue), values, what) << bits_of(HEADER_FIELDS)
    except ValueError as error:
        raise LearnError(f"{error}: the network or the chip is too large for the RTL") from None
    return tuple(word >> WORD_BITS * n & ((1 << WORD_BITS) - 1) for n in range(COMMAND_WORDS))


def decode_command(queue: Queue, words: Sequence[int]) -> dict[str, int]:
    """Return the fields of a command's task: the reverse of `encode_command`."""
    word = sum(int(part) << WORD_BITS * n for n, part in enumerate(words)) >> bits_of(HEADER_FIELDS)
    return unpack_fields(fields_of(queue), word)
