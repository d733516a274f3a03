"""Commands, tasks and the memory's beats as Amaranth structures, with the field names of chip/learn_command.py."""

from __future__ import annotations

from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Member, Out

from ...chip.bit_fields import Fields
from ...chip.learn_command import HEADER_FIELDS, TRANSFER_FIELDS
from ...chip.learn_config import LearnConfig

__all__ = [
    "BUFFER_ROW_BITS", "DRAM_ROW_BITS", "command_struct", "memory_ports", "memory_request", "memory_response",
    "row_bits", "task_struct", "write_struct",
]  # fmt: skip

DRAM_ROW_BITS = dict(TRANSFER_FIELDS)["dram_row_0"]
BUFFER_ROW_BITS = dict(TRANSFER_FIELDS)["buffer_row_0"]
INNER_BITS = dict(TRANSFER_FIELDS)["inner_0"]
BUFFER_BITS = dict(TRANSFER_FIELDS)["buffer"]


def task_struct(fields: Fields) -> data.StructLayout:
    """Return the structure of fields, the first one lowest."""
    return data.StructLayout(dict(fields))


def command_struct(fields: Fields) -> data.StructLayout:
    """Return the structure of a queue's commands: header, then the task."""
    return data.StructLayout({"header": task_struct(HEADER_FIELDS), "task": task_struct(fields)})


def row_bits(config: LearnConfig) -> int:
    """Return the bits of a row of memory and buffers."""
    return 8 * config.dram.bytes_per_cycle


def memory_request(config: LearnConfig) -> stream.Signature:
    """Return the stream of requests to the memory: a row to read or write each."""
    return stream.Signature(
        data.StructLayout({"is_write": 1, "row": DRAM_ROW_BITS, "data": row_bits(config)})
    )


def memory_response(config: LearnConfig) -> data.StructLayout:
    """Return what the memory answers, in the order of the requests; a write is answered too."""
    return data.StructLayout({"data": row_bits(config), "error": 1})


def memory_ports(config: LearnConfig) -> dict[str, Member]:
    """Return a chip's port to its memory, and whether a step runs."""
    return {
        "memory_request": Out(memory_request(config)),
        "memory_response_valid": In(1),
        "memory_response": In(memory_response(config)),
        "is_running": Out(1),
    }


def write_struct(config: LearnConfig) -> data.StructLayout:
    """Return a row on its way into a buffer.

    ``segment`` is the transfer's array; ``inner`` and ``outer`` count its rows in runs of the segment's ``inner``.
    """
    return data.StructLayout(
        {
            "buffer": BUFFER_BITS,
            "segment": 2,
            "row": BUFFER_ROW_BITS,
            "inner": INNER_BITS,
            "outer": INNER_BITS,
            "data": row_bits(config),
        }
    )
