"""Cycles of the learning engines' tasks, where they do not depend on the data: docs/blocks/learning.md."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from .learn_command import COMMAND_WORDS
from .learn_config import LearnConfig, LookupConfig
from .learn_network import LearnNetwork, Stage

DISPATCH_CYCLES = (
    2  # from the end of a task, or its last token, to the start of the next in its queue
)
FETCH_CYCLES = (
    COMMAND_WORDS + 2
)  # from a command's being taken until the next of its queue has been read, a word a cycle
# A lookup task's set-up (3 cycles), operands on their way to a table (3), and from a table's entry to a result: entry,
# scale (the addition is counted apart), the register in front of the buffer and the cycle in which it is written.
LOOKUP_STAGES = 10


@dataclass(frozen=True)
class TableSchedule:
    """When a lookup engine makes the entries of a table, in cycles since its first operand was in a register.

    Attributes
    ----------
    operands : tuple of int
        Cycle from which each operand is in its register: one after the other, within ``interleave`` cycles.
    additions : dict of int to (cycle, adder)
        Of each entry of two operands or more, the cycle in which its addition begins, and where. The next table comes
        ``interleave`` cycles later at the earliest, and no adder begins two additions in a cycle then either.
    length : int
        Cycle from which the whole table serves.
    """

    operands: tuple[int, ...]
    additions: dict[int, tuple[int, int]]
    length: int


@cache
def table_schedule(group: int, interleave: int, adder_stages: int) -> TableSchedule:
    """Return the schedule of a table of ``group`` operands on ``ceil((2^group - group - 1) / interleave)`` adders.

    An addition begins as late as those that need its entry let it, so that entries wait in few registers; the table is
    as short as that gives with an adder for each free cycle.
    """
    operands = tuple(bit * min(interleave, group) // group for bit in range(group))
    entries = [entry for entry in range(1 << group) if entry.bit_count() > 1]
    adders = -(-len(entries) // interleave)
    length = operands[-1] + 1 + (adder_stages if entries else 0)
    while (additions := _additions(operands, entries, adders, interleave, adder_stages, length)) is None:  # fmt: skip
        length += 1
    return TableSchedule(operands, additions, length)


def _additions(
    operands: tuple[int, ...], entries: list[int], adders: int, interleave: int, stages: int, length: int
) -> dict[int, tuple[int, int]] | None:  # fmt: skip
    """Return the additions of a table that serves from ``length`` on, the last entry first; None if it cannot."""
    additions: dict[int, tuple[int, int]] = {}
    latest = dict.fromkeys(entries, length - stages - 1)
    used = [0] * interleave
    for entry in reversed(entries):  # those that need an entry are above it
        high = entry.bit_length() - 1
        low = entry - (1 << high)
        cycle = latest[entry]
        while used[cycle % interleave] == adders:
            cycle -= 1
        if cycle < operands[high]:  # the lower operands are there before
            return None
        additions[entry] = cycle, used[cycle % interleave]
        used[cycle % interleave] += 1
        if low in latest:
            latest[low] = min(latest[low], cycle - stages)
    return additions


def lookup_fill(config: LearnConfig, engine: LookupConfig, ahead: int) -> int:
    """Cycles of a lookup task besides its tiles: set-up, the first table, an addition, the last tile's way out.

    ``ahead`` is for how many cycles a tile's outputs are listed before its first table serves.
    """
    table = table_schedule(engine.group, engine.interleave, config.adder_stages).length
    way_out = (engine.columns - 1) * engine.interleave
    return max(ahead, table - 1) + config.adder_stages + LOOKUP_STAGES + way_out


def lookup_cycles(
    config: LearnConfig, engine: LookupConfig, rows: int, columns: int, groups: int, planes: int, ahead: int
) -> int:  # fmt: skip
    """Cycles of a lookup engine for ``rows x columns`` outputs of ``groups`` tables each.

    ``ceil(rows / R) * ceil(columns / (C * interleave))`` tiles follow one another without a gap; each takes
    ``interleave`` cycles a table and plane, and at least as many as its results, a column at a time, take to leave.
    """
    tiles = -(-rows // engine.rows) * -(-columns // engine.outputs)
    return tiles * engine.interleave * max(groups * planes, engine.columns) + lookup_fill(
        config, engine, ahead
    )


def padded_channels(channels: int, group: int) -> int:
    """Channels as they stand in memory for an engine with tables of ``group``: whole pairs of groups."""
    return -(-channels // (2 * group)) * 2 * group


def input_groups(stage: Stage, group: int) -> int:
    """Tables of an output in the forward pass that channels need: those of each tap in groups of ``group``."""
    return stage.taps * -(-stage.in_channels // group)


def forward_cycles(
    config: LearnConfig, network: LearnNetwork, stage: Stage, channels: int, frames: int
) -> int:
    """Cycles of FORWARD_SUMS for ``channels`` output channels and ``frames`` frames."""
    engine = config.forward
    groups = stage.taps * padded_channels(stage.in_channels, engine.group) // engine.group
    positions = frames * stage.out_positions
    rows = padded_channels(channels, engine.group)
    ahead = engine.outputs  # a position a cycle
    return lookup_cycles(config, engine, rows, positions, groups, network.planes(stage), ahead)


def update_cycles(
    config: LearnConfig, network: LearnNetwork, stage: Stage, channels: int, frames: int
) -> int:
    """Cycles of WEIGHT_GRADIENTS for ``channels`` output channels and ``frames`` frames, all columns."""
    engine = config.update
    groups = -(-frames * stage.out_positions // engine.group)
    columns = stage.taps * padded_channels(stage.in_channels, engine.group)
    rows = padded_channels(channels, engine.group)
    ahead = (
        engine.columns + engine.interleave
    )  # a pair of tap and input word a cycle; then a group's words
    return lookup_cycles(config, engine, rows, columns, groups, network.planes(stage), ahead)


def backward_used(config: LearnConfig, positions: int) -> int:
    """Contexts of a row that a tile of ``positions`` takes: one that is not full is spread over all rows."""
    engine = config.backward
    return min(engine.contexts, -(-positions // engine.rows))


def backward_prepare(config: LearnConfig, channels: int, positions: int) -> int:
    """Cycles to get a tile of ``positions`` ready, behind the work of the one before.

    A cycle for each row with positions, then in all of them at once one for each ``channel_word`` mask bits of a
    context, and the way there.
    """
    used = backward_used(config, positions)
    return -(-positions // used) + used * -(-channels // config.channel_word) + 4


def backward_drain(config: LearnConfig, channels: int, positions: int) -> int:
    """Cycles that the results of a tile take to leave, behind the work of the next.

    All rows unpack a result a cycle; ``channel_word`` of them from each row leave while the next are unpacked, as fast
    as the results' buffer takes them: a beat of the memory a cycle.
    """
    word = config.channel_word
    parts = -(-channels // word)
    beat = max(1, config.dram.bytes_per_cycle // config.operand_format.bytes)
    leave = -(-config.backward.rows * word // beat)
    return backward_used(config, positions) * parts * max(word, leave) + min(word, leave) + 2


def backward_flush(config: LearnConfig) -> int:
    """Cycles from the end of a tile's work to the start of the next: the last sums are on their way."""
    return config.multiplier_stages + config.adder_stages + 2


def backward_spacing(config: LearnConfig) -> int:
    """Cycles at least from one input of a context to its next: a sum is read, added to and written, then read again."""
    return config.adder_stages + 2


def backward_tiles(config: LearnConfig, positions: int) -> list[int]:
    """Positions of each tile of a task."""
    tile = config.backward.rows * config.backward.contexts
    return [min(tile, positions - start) for start in range(0, positions, tile)]


def backward_fill(config: LearnConfig, channels: int, positions: int) -> int:
    """Cycles of a backward task before the work on its first tile and after that on its last."""
    tiles = backward_tiles(config, positions)
    return (
        2
        + backward_prepare(config, channels, tiles[0])
        + backward_drain(config, channels, tiles[-1])
    )


def transfer_cycles(config: LearnConfig, size: int) -> int:
    """Cycles for which a transfer of ``size`` bytes occupies the DRAM's channel; it ends ``latency_cycles`` later."""
    return -(-size // config.dram.bytes_per_cycle)
