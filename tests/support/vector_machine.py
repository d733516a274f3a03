"""The vector unit as its instructions say: a plain interpreter of microprograms, on arrays of frames.

An array is (frames, elements) of 32-bit floats: frames as they stand in memory, a sample's last timestep first;
elements position by position, channels padded. Vectors of channels are (1, channels), partial sums (partials,
channels).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeloom.chip.learn_microcode import (
    FIXED,
    REGISTERS,
    Constant,
    Counter,
    Form,
    Gate,
    Instruction,
    Kind,
    Operand,
    Post,
    Predicate,
    Program,
    Serial,
    Slots,
    What,
    When,
    assemble,
)

Floats = NDArray[np.float32]


@dataclass
class Work:
    """A task: sizes, constants (those of users behind the four), and arrays by number, ``sums`` beside them."""

    samples: int
    timesteps: int
    positions: int
    channels: int  # real ones
    padded: int
    constants: tuple[Any, ...] = ()
    constant: bool = False  # one frame of sums a sample
    skip: bool = False
    sums: Floats | None = None
    ins: dict[int, Floats] = field(default_factory=dict)

    @property
    def elements(self) -> int:
        return self.positions * self.padded


def to_operand(values: Floats, name: str) -> Floats:
    if name == "fp16":
        return values.astype(np.float16).astype(np.float32)
    if name == "fp32":
        return values
    words = values.view(np.uint32).astype(np.uint64)
    words = (words + 0x7FFF + (words >> np.uint64(16) & np.uint64(1))) & np.uint64(0xFFFF0000)
    return np.where(np.isnan(values), values, words.astype(np.uint32).view(np.float32))


class VectorMachine:
    """Lanes, slots, registers; ``run`` gives the arrays that a task wrote, and counts its instructions' cycles."""

    def __init__(self, width: int, slots: int, partials: int, operands: str) -> None:
        self.width, self.slots, self.partials, self.operands = width, slots, partials, operands
        self.registers: Floats = np.zeros((REGISTERS, slots, width), np.float32)
        self.registers[:] = np.nan  # nothing may rely on what they hold
        self.predicates = np.zeros((2, slots, width), bool)
        self.cycles = 0

    def run(self, program: Program, work: Work, outs: dict[int, Floats]) -> None:
        """Run a program on all groups; ``outs`` are written."""
        self.work, self.outs, self.program = work, outs, program
        fixed = np.array(FIXED, np.uint32).view(np.float32)
        given = [*work.constants, 0.0, 0.0, 0.0, 0.0]
        users = dict(enumerate(work.constants[4:], Constant.USERS))
        self.constants = dict(enumerate([*map(np.float32, given[:4]), *fixed])) | users
        words = -(-work.elements // self.width)
        self.beside = max(1, self.width // work.padded) if program.slots == Slots.PARTS else 1
        together = self.slots * self.beside
        blocks = -(-self.partials // together)
        if program.slots == Slots.PARTS:
            groups = -(-work.padded // self.width) * blocks
        else:
            total = work.samples * (words if program.slots == Slots.WORDS else 1)
            groups = -(-total // self.slots)
        steps = assemble(program)
        # Slots behind the last position do nothing where positions are gone over.
        chunks = [(step.target, n) for n, step in enumerate(steps) if step.counter == Counter.CHUNK]
        with np.errstate(all="ignore"):
            for group in range(groups):
                self.group = group
                self.at = dict.fromkeys(Counter, 0)
                place = 0
                while place < len(steps):
                    step = steps[place]
                    self.is_bounded = any(first <= place <= last for first, last in chunks)
                    self._execute(step.instruction, words, blocks, together)
                    place += 1
                    if step.counter is None:
                        continue
                    self.at[step.counter] += 1
                    if self.at[step.counter] < self._trips(step.counter, words):
                        place = step.target
                    else:
                        self.at[step.counter] = 0

    def _trips(self, counter: Counter, words: int) -> int:
        work = self.work
        if counter == Counter.LANE:
            return min(self.width, max(1, work.channels - self.at[Counter.WORD] * self.width))
        positions = work.samples * work.timesteps * work.positions
        return {
            Counter.TIME: work.timesteps,
            Counter.WORD: words,
            Counter.CHUNK: -(-positions // self.partials),
            Counter.PART: self.partials,
        }[counter]

    def _places(self, words: int, blocks: int, together: int) -> Any:
        """Sample, element and timestep (in PARTS) of every slot and lane, its channel, its part, and what is there."""
        work, slot, lane = self.work, *np.indices((self.slots, self.width))
        time = np.full(slot.shape, self.at[Counter.TIME])
        part = np.full(slot.shape, self.at[Counter.PART])
        if self.program.slots == Slots.PARTS:
            column, block = divmod(self.group, blocks)
            aside, channel = divmod(lane, work.padded) if self.width > work.padded else (0, lane)
            channel = channel + column * self.width
            part = block * together + slot * self.beside + aside
            position = self.at[Counter.CHUNK] * self.partials + part
            frame, position = divmod(position, work.positions)
            there = (part < self.partials) & (aside < self.beside) & (channel < work.padded)
            sample, time = frame // work.timesteps, frame % work.timesteps
            return sample, position * work.padded + channel, time, channel, part, there
        if self.program.slots == Slots.SAMPLES:
            sample, word = self.group * self.slots + slot, self.at[Counter.WORD]
        else:
            sample, word = divmod(self.group * self.slots + slot, words)
        element = word * self.width + lane
        there = (sample < work.samples) & (element < work.elements)
        return sample, element, time, element % work.padded, part, there

    def _index(self, when: When, places: Any, *, once: bool = False) -> Any:
        """Index of each slot's and lane's element in an array, and which are within it."""
        work = self.work
        sample, element, time, channel, part, there = places
        if when == When.CHANNELS:
            return 0 * channel, channel, there
        if when == When.PARTS:
            return part, channel, there
        if self.program.slots == Slots.PARTS:
            there = there & (sample < work.samples)
        ascending = when == When.FORWARD
        of_time = sample * work.timesteps + (work.timesteps - 1 - time if ascending else time)
        return (sample if once or when == When.ONCE else of_time), element, there

    def _execute(self, item: Instruction, words: int, blocks: int, together: int) -> None:
        work = self.work
        self.cycles += (
            self.slots * {Serial.NONE: 1, Serial.DIVIDE: 31, Serial.ROOT: 28}[item.serial]
        )
        places = self._places(words, blocks, together)
        memory: Floats = np.zeros((self.slots, self.width), np.float32)
        valid = places[-1].copy()
        if self.is_bounded:
            valid &= places[0] < work.samples
        if item.load is not None:
            load = item.load
            source = work.sums if load.sums else work.ins[load.array]
            assert source is not None
            row, column, there = self._index(load.when, places, once=load.sums and work.constant)
            memory[there] = source[row[there], column[there]]
            valid &= there
            if load.form == Form.BITS:
                assert np.isin(memory, (0.0, 1.0)).all()
        if Kind.LANE in (item.a.kind, item.c.kind):
            first = self.at[Counter.WORD] * self.width
            valid &= first + self.at[Counter.LANE] < work.channels

        def value(operand: Operand) -> Floats:
            if operand.kind == Kind.MEMORY:
                return memory
            if operand.kind == Kind.CONSTANT:
                return np.full_like(memory, self.constants[operand.number])
            register = self.registers[operand.number]
            if operand.kind == Kind.LANE:
                return np.repeat(register[:, [self.at[Counter.LANE]]], self.width, axis=1)
            return register.copy()

        a, b, c = value(item.a), value(item.b), value(item.c)
        product = {Serial.NONE: a * b, Serial.DIVIDE: a / b, Serial.ROOT: np.sqrt(a)}[item.serial]
        product = -product if item.subtracts else product
        c = -c if item.subtracts_c else c
        predicates = {
            **dict(enumerate(self.predicates)),
            Predicate.SKIP: np.full(valid.shape, work.skip),
        }
        holds = predicates[item.predicate] ^ item.inverted
        nothing = np.float32(-0.0)
        if item.gate != Gate.KEEP:
            keep = holds & (item.gate != Gate.DROP)
            product = np.where(keep, product, np.float32(0.0) if item.positive else nothing)
        if item.gate == Gate.SELECT:
            c = np.where(holds, nothing, c)
        result = product + c
        if item.post == Post.TEST:
            window = self.constants[item.window]
            tested = np.array([result > 0, np.abs(result) < window])
            self.predicates = np.where(valid, tested, self.predicates)
        elif item.post == Post.ROUND:
            result = to_operand(result, self.operands)
        elif item.post == Post.POWER:
            exponent = (result.view(np.uint32) + np.uint32(127)) & np.uint32(0xFF)
            result = (exponent << np.uint32(23)).view(np.float32)
        if item.to is not None:
            self.registers[item.to] = np.where(valid, result, self.registers[item.to])
        if item.store is not None:
            store = item.store
            row, column, there = self._index(store.when, places)
            there = there & valid
            if store.what in (What.FIRES, What.INSIDE):
                result = self.predicates[int(store.what == What.INSIDE)].astype(np.float32)
            if store.what == What.OPERANDS:
                assert item.post == Post.ROUND
            is_real = places[3] < work.channels
            self.outs[store.array][row[there], column[there]] = np.where(
                is_real, result, np.float32(0)
            )[there]
