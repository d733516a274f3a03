"""The host port of the learning engines: words each way, frames, opcodes, error bits; what driver and RTL agree on.

The link is two streams of 32-bit words. A frame is a header and what its opcode says follows; its last word is marked.
docs/learn_rtl.md tells the whole.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag

__all__ = [
    "ERROR_SENTENCES", "FUSION_OP", "LINK_MAGIC", "STATUS_WORDS", "LearnHostError", "LearnHostOp", "header",
]  # fmt: skip

LINK_MAGIC = int.from_bytes(b"spkl", "little")
OP_BITS, COUNT_BITS = 4, 28
# A chip of both halves has the many-core's link. A frame whose first beat holds this opcode, which the many-core's link
# does not use, is for the engines or from them: its other beats carry a word each.
FUSION_OP = 15
STATUS_WORDS = (
    "magic", "hash_low", "hash_high", "errors", "cycles", "flags",
)  # then the tasks that each queue has ended, its signature, and the memory's  # fmt: skip


class LearnHostOp(IntEnum):
    """Bits 3..0 of a header; bits 31..4 are a count."""

    COMMANDS = (
        1  # count words for a queue, which the second word names: its commands from the first on
    )
    WRITE = 2  # count rows of memory from the second word's on
    READ = 3  # count rows of memory from the second word's on, please; comes back with them
    RUN = 4  # a step; comes back when it has ended: errors, cycles, flags
    STATUS = 5  # STATUS_WORDS, please; count 1 clears the errors; comes back with them


class LearnHostError(IntFlag):
    """Sticky bits of the error register."""

    BAD_OP = 1 << 0
    BAD_ADDRESS = 1 << 1
    TRUNCATED = 1 << 2
    OVERLONG = 1 << 3
    BAD_COMMAND = 1 << 4
    NO_TOKEN = 1 << 5
    BEYOND_MEMORY = 1 << 6
    MEMORY_ERROR = 1 << 7

    @property
    def sentences(self) -> list[str]:
        """What each bit that is set says, lowest first."""
        return [ERROR_SENTENCES[bit] for bit in LearnHostError if bit in self]


ERROR_SENTENCES = {
    LearnHostError.BAD_OP: "a frame had no opcode for the chip; it was skipped",
    LearnHostError.BAD_ADDRESS: "a frame named a queue, a place or a row out of range; it was skipped",
    LearnHostError.TRUNCATED: "a frame ended before all its words had come; what had arrived counts",
    LearnHostError.OVERLONG: "a frame went on after its last word; the rest was skipped",
    LearnHostError.BAD_COMMAND: "a queue came to a command of another queue; the engines stopped",
    LearnHostError.NO_TOKEN: "all queues wait for tokens that nobody is left to give; the engines stopped",
    LearnHostError.BEYOND_MEMORY: "a transfer reached beyond the memory; the engines stopped",
    LearnHostError.MEMORY_ERROR: "the memory answered with an error; the engines stopped",
}
ERROR_BITS = len(ERROR_SENTENCES)


def header(op: LearnHostOp, count: int = 0) -> int:
    """Return a frame's first word.

    Raises
    ------
    ValueError
        If the count does not fit.
    """
    if not 0 <= count < 1 << COUNT_BITS:
        raise ValueError(f"count must be within 0..{(1 << COUNT_BITS) - 1}, not {count}")
    return op | count << OP_BITS
