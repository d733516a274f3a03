"""The host port's link: beats, frames, opcodes, error bits; what driver and RTL must agree on. Plain integers.

The link is a stream of beats each way. A frame is one beat or more; its last is marked. The first beat of a frame is a
header (`Header`), except in an OUTPUT, which is a single beat of its own form. docs/host_protocol.md tells the whole.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from enum import IntEnum, IntFlag
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .bit_fields import pack_fields, unpack_fields
from .config import ManyCoreConfig
from .memory_map import WORD_BITS, CoreMemories, Memory
from .packet import FlitLayout
from .signature import byte_table

IDENTITY_MAGIC = int.from_bytes(b"spklmhp", "little")  # 56 bits: the chip's answer to "who are you"
PROTOCOL_VERSION = 1
IDENTITY = IDENTITY_MAGIC << 8 | PROTOCOL_VERSION

HEADER_BITS = 64
STEP_COUNT_BITS = 24  # flits that one STEP announces for a port
TAG_BITS = 6  # a timestep's number in its sample, modulo 64
TAG_SHIFT, COLUMN_BITS, COLUMN_SHIFT = 10, 6, 4
OUTPUT_SHIFT = TAG_SHIFT + TAG_BITS  # where an OUTPUT's line starts
LOADED_BIT, RUNNING_BIT = 32, 33  # of the last beat of a STATUS, above the error bits


class HostOp(IntEnum):
    """Bits 3..0 of a frame: what it is. The first eight go to the chip, READ and STATUS also come back."""

    BEGIN = 1  # a program follows; one beat: the configuration's hash
    WRITE = 2  # rows of a memory
    READ = 3  # rows of a memory, please
    COMMIT = 4  # the program is complete; one beat: the CRC of its WRITEs
    STATUS = 5  # identity, hash, errors, please; `row` 1 clears the errors
    SAMPLE = 6  # queue: all cores to rest
    STEP = 7  # queue: a timestep; a beat per host row: its flits on that port
    FLITS = 8  # `count` flits for port `hops`, a beat each
    OUTPUT = 9  # from the chip: a flit that left the mesh
    STEP_END = 10  # from the chip: a timestep has ended


class HostError(IntFlag):
    """Sticky bits of the error register. A STATUS reports them."""

    BAD_OP = 1 << 0
    BAD_ADDRESS = 1 << 1
    TRUNCATED = 1 << 2
    OVERLONG = 1 << 3
    BUSY = 1 << 4
    WRONG_CHIP = 1 << 5
    BAD_PROGRAM = 1 << 6
    NOT_LOADED = 1 << 7
    OVERRUN = 1 << 8
    OFF_MESH = 1 << 9
    UNASKED = 1 << 10

    @property
    def sentences(self) -> list[str]:
        """What each bit that is set says, lowest first."""
        return [ERROR_SENTENCES[bit] for bit in HostError if bit in self]


ERROR_SENTENCES = {
    HostError.BAD_OP: "a frame had no opcode for the chip; it was skipped",
    HostError.BAD_ADDRESS: "a frame named a memory, row, tile, port or number out of range; it was skipped",
    HostError.TRUNCATED: "a frame ended before all its beats had come; what had arrived of rows and flits counts",
    HostError.OVERLONG: "a frame went on after its last beat; the rest was skipped",
    HostError.BUSY: "the program was to be changed or read while timesteps ran or were queued; the frame was skipped",
    HostError.WRONG_CHIP: "a program came for another configuration, or rows outside BEGIN and COMMIT; skipped",
    HostError.BAD_PROGRAM: "the program arrived damaged: its check sum differs, or a frame of it was refused",
    HostError.NOT_LOADED: "a sample was asked for without a complete program; the frame was skipped",
    HostError.OVERRUN: "a timestep of fixed length took longer than its period",
    HostError.OFF_MESH: "a flit left the mesh where no host port is; it is lost",
    HostError.UNASKED: "more flits came than the queued timesteps announced; the frame was skipped",
}
ERROR_BITS = len(ERROR_SENTENCES)

# (name, bits) of a header's fields, least significant first.
HEADER_FIELDS = (
    ("op", 4),
    ("broadcast", 1),  # WRITE and READ: every tile is meant
    ("hops", 12),  # WRITE and READ: tile, y * columns + x; FLITS: host port, its place in host_rows
    ("memory", 3),
    ("row", 24),  # first row
    ("count", 20),  # rows or flits
)
assert sum(bits for _, bits in HEADER_FIELDS) == HEADER_BITS


@dataclass(frozen=True)
class Header:
    """The first beat of a frame. On the load chain ``hops`` is counted down, and the tile that finds 0 is meant."""

    op: int
    broadcast: int = 0
    hops: int = 0
    memory: int = 0
    row: int = 0
    count: int = 0

    def pack(self) -> int:
        """Return the beat.

        Raises
        ------
        ValueError
            Naming a field whose value does not fit.
        """
        return pack_fields(HEADER_FIELDS, vars(self), "a header")

    @classmethod
    def unpack(cls, beat: int) -> Header:
        """Return the fields of a beat; bits above the header's are left out."""
        return cls(**unpack_fields(HEADER_FIELDS, beat))


assert [f.name for f in fields(Header)] == [name for name, _ in HEADER_FIELDS]


@dataclass(frozen=True)
class Output:
    """A flit that left the mesh in the timestep ``k`` of a sample at the host column ``column`` (its place)."""

    k: int
    column: int
    line: int
    payload: int


@dataclass(frozen=True)
class HostLink:
    """The link of one many-core: how wide a beat is and how rows and outputs stand in beats."""

    config: ManyCoreConfig

    @cached_property
    def memories(self) -> CoreMemories:
        """The memories that frames address."""
        return CoreMemories(self.config)

    @cached_property
    def flit(self) -> FlitLayout:
        """The flit, one of which fits in a beat."""
        return FlitLayout.of(self.config)

    @property
    def output_bits(self) -> int:
        """Bits of an OUTPUT: opcode, column, tag, line, payload."""
        return OUTPUT_SHIFT + self.flit.target_bits + self.flit.delay_bits + self.flit.payload_bits

    @cached_property
    def beat_bits(self) -> int:
        """Bits of a beat: 64 if flit and OUTPUT fit, else 128."""
        return 64 if max(self.flit.bits, self.output_bits) <= 64 else 128

    @property
    def beat_bytes(self) -> int:
        """Bytes of a beat."""
        return self.beat_bits // 8

    @property
    def ports(self) -> int:
        """Host rows: ports towards the mesh."""
        return len(self.config.network.host_rows)

    @property
    def columns(self) -> int:
        """Host columns: ports from the mesh."""
        return len(self.config.network.host_columns)

    @property
    def queue_flits(self) -> int:
        """Flits that each port's queue holds, each way."""
        return self.config.network.host_queue_flits

    def beats_per_row(self, memory: Memory) -> int:
        """Beats of one row, least significant first."""
        return -(-self.memories.layouts[memory].bits // self.beat_bits)

    def row_beats(self, memory: Memory, image: NDArray[np.uint64]) -> list[int]:
        """Return the beats of an image (rows, words) of a memory."""
        words_per_beat = self.beat_bits // WORD_BITS
        rows, words = image.shape
        padded = np.zeros((rows, self.beats_per_row(memory) * words_per_beat), dtype="<u8")
        padded[:, :words] = image
        if words_per_beat == 1:
            return padded.ravel().tolist()
        return [high << WORD_BITS | low for low, high in padded.reshape(-1, 2).tolist()]

    def rows(self, memory: Memory, beats: list[int]) -> list[dict[str, int]]:
        """Return the fields of each row that ``beats`` hold: the reverse of `row_beats`."""
        size, layout = self.beats_per_row(memory), self.memories.layouts[memory]
        rows: list[dict[str, int]] = []
        for first in range(0, len(beats), size):
            row = 0
            for place, beat in enumerate(beats[first : first + size]):
                row |= beat << (place * self.beat_bits)
            rows.append(layout.unpack(row))
        return rows

    def crc(self, state: int, beats: Iterable[int]) -> int:
        """Return the load CRC after whole beats: `chip.signature.absorb` of ``beat_bits`` bits of each."""
        table, size = byte_table(), self.beat_bytes
        for beat in beats:
            for byte in beat.to_bytes(size, "little"):
                state = (state >> 8) ^ table[(state ^ byte) & 255]
        return state

    def pack_output(self, output: Output) -> int:
        """Return the beat of an OUTPUT; its tag is ``k`` modulo 64."""
        line_bits = self.flit.target_bits + self.flit.delay_bits
        payload = output.payload & ((1 << self.flit.payload_bits) - 1)
        return (
            HostOp.OUTPUT
            | output.column << COLUMN_SHIFT
            | output.k % (1 << TAG_BITS) << TAG_SHIFT
            | output.line << OUTPUT_SHIFT
            | payload << (OUTPUT_SHIFT + line_bits)
        )

    def unpack_output(self, beat: int) -> Output:
        """Return what an OUTPUT says; its ``k`` is the tag."""
        line_bits, payload_bits = (
            self.flit.target_bits + self.flit.delay_bits,
            self.flit.payload_bits,
        )
        payload = _field(beat, OUTPUT_SHIFT + line_bits, payload_bits)
        return Output(
            k=_field(beat, TAG_SHIFT, TAG_BITS),
            column=_field(beat, COLUMN_SHIFT, COLUMN_BITS),
            line=_field(beat, OUTPUT_SHIFT, line_bits),
            payload=payload - (payload >> (payload_bits - 1) << payload_bits),
        )


@dataclass(frozen=True)
class StepEnd:
    """What a STEP_END says of a timestep.

    ``tag`` is its number in the sample modulo 64; ``outputs`` how many OUTPUTs were its; ``start_cycle`` the chip's
    free running counter in its cycle 0, modulo 2**32; ``length`` its cycles; ``host_waits`` the cycles in which the
    host was late, see docs/host_protocol.md: before the first ones of a sample, timesteps take what the simulator says.
    """

    tag: int
    outputs: int
    start_cycle: int
    length: int
    host_waits: int

    def pack(self) -> list[int]:
        """Return the three beats of the frame."""
        first = HostOp.STEP_END | self.tag << TAG_SHIFT | self.outputs << OUTPUT_SHIFT
        return [first, self.start_cycle | self.length << 32, self.host_waits]

    @classmethod
    def unpack(cls, frame: list[int]) -> StepEnd:
        """Return what a frame of three beats says."""
        first, times, waits = frame
        return cls(
            tag=_field(first, TAG_SHIFT, TAG_BITS),
            outputs=_field(first, OUTPUT_SHIFT, 32),
            start_cycle=_field(times, 0, 32),
            length=_field(times, 32, 32),
            host_waits=_field(waits, 0, 32),
        )


@dataclass(frozen=True)
class Status:
    """What a STATUS says: who the chip is, and how it is."""

    identity: int
    config_hash: int
    errors: HostError
    is_loaded: bool
    is_running: bool

    def pack(self) -> list[int]:
        """Return the frame, header included."""
        state = int(self.errors) | self.is_loaded << LOADED_BIT | self.is_running << RUNNING_BIT
        return [Header(HostOp.STATUS).pack(), self.identity, self.config_hash, state]

    @classmethod
    def unpack(cls, frame: list[int]) -> Status:
        """Return what a frame of four beats says."""
        _, identity, config_hash, state = frame
        return cls(
            identity=identity,
            config_hash=config_hash,
            errors=HostError(_field(state, 0, ERROR_BITS)),
            is_loaded=bool(_field(state, LOADED_BIT, 1)),
            is_running=bool(_field(state, RUNNING_BIT, 1)),
        )


def op_of(frame: list[int]) -> int:
    """Return the opcode of a frame."""
    return _field(frame[0], 0, 4)


def _field(word: int, shift: int, bits: int) -> int:
    return (word >> shift) & ((1 << bits) - 1)
