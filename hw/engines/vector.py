"""The vector unit: neurons, readout, gradients and optimiser as microprograms on lanes of 32-bit floats."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ...chip.bit_fields import pack_fields
from ...chip.formats import FP32
from ...chip.learn_command import VECTOR_FIELDS
from ...chip.learn_config import LearnConfig
from ...chip.learn_microcode import (
    FIXED,
    REGISTERS,
    TASK_CONSTANTS,
    Counter,
    Form,
    Gate,
    Kind,
    Post,
    Predicate,
    Program,
    Serial,
    Slots,
    Step,
    What,
    When,
    assemble,
    neuron_gradients,
    neurons,
    optimise,
    readout,
    time_sums,
)
from ...chip.learn_program import Operation
from ...chip.learn_vector import DIVIDE_CYCLES
from ..cores.pipeline import Pipeline, Stage, delayed
from ..fp.adder import FloatAdder
from ..fp.compare import greater
from ..fp.converter import convert
from ..fp.divider import FloatDivider
from ..fp.multiplier import FloatMultiplier
from ..memory import ByName, Ram

__all__ = ["PROGRAMS", "VectorEngine", "instruction_word"]

# What the RTL carries: operation and, of a readout, whether its loss is the squared error.
PROGRAMS: Mapping[tuple[Operation, bool], Program] = {
    (Operation.NEURONS, False): neurons(),
    (Operation.NEURON_GRADIENTS, False): neuron_gradients(),
    (Operation.TIME_SUMS, False): time_sums(),
    (Operation.OPTIMISE, False): optimise(),
    (Operation.READOUT, False): readout(is_mse=False),
    (Operation.READOUT, True): readout(is_mse=True),
}

BITS = FP32.bits
ROW_BITS = 16
MINUS_ZERO = 1 << (BITS - 1)

# Stages of an item: one slot of one instruction.
ADDRESS = 0  # the sequencer; frames, products and sums of the rows' numbers follow
READ = 4  # from memory
REGISTER = 5  # the registers' read; the memory's word comes and is widened
OPERANDS = 6  # at the multiplier

_FIELDS = (
    ("a_kind", 2), ("a_number", 3), ("b_is_constant", 1), ("b_number", 5), ("c_kind", 2), ("c_number", 5),
    ("writes", 1), ("to", 3), ("divides", 1), ("subtracts", 1), ("subtracts_c", 1), ("gate", 2), ("predicate", 2),
    ("inverted", 1), ("positive", 1), ("post", 2), ("window", 2),
    ("loads", 1), ("load_array", 2), ("load_form", 2), ("load_when", 2), ("load_sums", 1),
    ("stores", 1), ("store_array", 2), ("store_what", 2), ("store_when", 2),
    ("loops", 1), ("counter", 2), ("target", 8), ("is_last", 1),
)  # fmt: skip
_CODE = data.StructLayout(dict(_FIELDS))


def instruction_word(step: Step, first: int, *, is_last: bool) -> int:
    """Return the word of an instruction of a program that stands at ``first``.

    Raises
    ------
    ValueError
        If the RTL does not carry it.
    """
    item = step.instruction
    if item.a.kind == Kind.CONSTANT or item.b.kind in (Kind.MEMORY, Kind.LANE):
        raise ValueError(
            f"the first operand is no constant, the second neither memory nor a lane: {item}"
        )
    if item.c.kind == Kind.LANE or item.serial == Serial.ROOT:
        raise ValueError(f"the RTL has neither a lane's word for the sum nor roots: {item}")
    load, store = item.load, item.store
    whens = [part.when for part in (load, store) if part is not None]
    if any(when > When.BACKWARD for when in whens):
        raise ValueError(f"the RTL has no vectors of channels: {item}")
    values: dict[str, int] = {
        "a_kind": item.a.kind, "a_number": item.a.number,
        "b_is_constant": item.b.kind == Kind.CONSTANT, "b_number": item.b.number,
        "c_kind": item.c.kind, "c_number": item.c.number,
        "writes": item.to is not None, "to": item.to or 0, "divides": item.serial == Serial.DIVIDE,
        "subtracts": item.subtracts, "subtracts_c": item.subtracts_c, "gate": item.gate, "predicate": item.predicate,
        "inverted": item.inverted, "positive": item.positive, "post": item.post, "window": item.window,
        "loops": step.counter is not None, "counter": step.counter or 0, "target": first + step.target,
        "is_last": is_last,
    }  # fmt: skip
    if load is not None:
        values |= {
            "loads": 1, "load_array": load.array, "load_form": load.form, "load_when": load.when,
            "load_sums": load.sums,
        }  # fmt: skip
    if store is not None:
        values |= {
            "stores": 1, "store_array": store.array, "store_what": store.what, "store_when": store.when,
        }  # fmt: skip
    return pack_fields(_FIELDS, values, "an instruction")


@dataclass(frozen=True)
class _Rom:
    """All programs' instructions, and where each starts."""

    words: tuple[int, ...]
    starts: Mapping[tuple[Operation, bool], int]

    @classmethod
    def of(cls, programs: Mapping[tuple[Operation, bool], Program]) -> _Rom:
        words: list[int] = []
        starts: dict[tuple[Operation, bool], int] = {}
        for key, program in programs.items():
            starts[key] = first = len(words)
            steps = assemble(program)
            words += [
                instruction_word(step, first, is_last=place == len(steps) - 1)
                for place, step in enumerate(steps)
            ]
        return cls(tuple(words), starts)


class VectorEngine(wiring.Component):
    """Run an operation's microprogram (chip/learn_microcode.py) over the words of its frames.

    Behaviour
    ---------
    An instruction works on the *slots* of a group, a word of ``width`` elements each, one slot a cycle; there are as
    many as stages between a register's read and its write, so that an instruction finds what the one before it wrote,
    and nothing ever waits. Slots are consecutive words of all samples' frames; in READOUT they are samples. The program
    runs for one group after the other; slots behind the last word write nothing.

    Each lane has a multiplier, an adder, a divider and `REGISTERS` registers of every slot. The registers are memories,
    a copy for each of an instruction's reads.

    An array's frame is the sample's only one, or that of a timestep, counted from the last; word ``n`` of a frame
    stands in row n (floats), n / 2 (operands) or n / 32 (bits). Lanes of padded channels write 0: all operations need
    ``channels``, the number of real channels; a position has as many words as they fill, rounded up to an even number.

    Timing
    ------
    *Latency*: `vector_cycles` (chip/learn_vector.py), whatever the data. A division takes `DIVIDE_CYCLES` a slot.
    *Throughput*: a slot of an instruction each cycle. *Back-pressure*: none: memories answer in the next cycle::

        cycle       s    s+1  s+2  ...  s+6  s+7  s+8    # instruction i, slots 0 to 7; with 3 and 2 stages: 8 slots
        start       1    -    -         -    -    -
        sequencer        i,0  i,1       i,5  i,6  i,7
        inputs_en                  i,0 in s+5
        registers                       i,0  i,1  i,2
        multiplier                           i,0  i,1
        written     i,0 in s+13; i+1,0 is read in s+14

    ``done`` is high in the cycle of the last write.

    Reset
    -----
    Idle. Registers keep what they hold; no program reads one that it has not written, but for products it drops.

    Parameters
    ----------
    config : LearnConfig

    Members
    -------
    start, task, done, skip
        In, In, Out, In. The task's fields (`VECTOR_FIELDS`) hold until ``done``; so does ``skip``: OPTIMISE leaves
        weights and momenta as they are.
    sums_en, sums_row, sums_data
        Out, Out, In. Read port of the forward engine's results.
    inputs_en, inputs_row, inputs_data
        Out, Out, In. Read port of the vector unit's inputs.
    result_en, result_row, result_data, result_mask
        Out. Write port of the vector unit's results: a bit of the mask for each ``width`` bits of the row.

    Raises
    ------
    ValueError
        If operands have 32 bits.
    """

    start: Signal
    task: Any
    done: Signal
    skip: Signal
    sums_en: Signal
    sums_row: Signal
    sums_data: Signal
    inputs_en: Signal
    inputs_row: Signal
    inputs_data: Signal
    result_en: Signal
    result_row: Signal
    result_data: Signal
    result_mask: Signal

    def __init__(self, config: LearnConfig) -> None:
        if config.operand_format.bits != BITS // 2:
            raise ValueError(
                f"the vector unit's RTL has operands of 16 bits, not {config.operands}"
            )
        self.config = config
        self.width = config.vector.width
        self.slots = config.vector_slots
        row = BITS * self.width
        super().__init__(
            {
                "start": In(1),
                "task": In(data.StructLayout(dict(VECTOR_FIELDS))),
                "done": Out(1),
                "skip": In(1),
                "sums_en": Out(1),
                "sums_row": Out(ROW_BITS),
                "sums_data": In(row),
                "inputs_en": Out(1),
                "inputs_row": Out(ROW_BITS),
                "inputs_data": In(row),
                "result_en": Out(1),
                "result_row": Out(ROW_BITS),
                "result_data": Out(row),
                "result_mask": Out(BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the sequencer, the addresses, the lanes and the way out."""
        m = Module()
        m.submodules.pipe = self._pipe = pipe = Pipeline()
        self._product = OPERANDS + self.config.multiplier_stages
        self._sum = self._product + self.config.adder_stages
        self._write = self._sum + 1
        self._sequence(m, pipe.stage(ADDRESS))
        self._addresses(m)
        self._load(m)
        self._lanes(m)
        self._store(m)
        return m

    def _fields(self, prefix: str, count: int) -> Array:
        return Array([self.task[f"{prefix}_{n}"] for n in range(count)])

    # --------------------------------------------------------------------------------------------------- sequencer

    def _sequence(self, m: Module, stage: Stage) -> None:
        """Step through instructions, loops and groups; a slot of an instruction enters the pipeline each cycle."""
        task, width = self.task, self.width
        rom = _Rom.of(PROGRAMS)
        busy = Signal()
        pc = Signal(range(len(rom.words)))
        code = Signal(_CODE)
        with m.Switch(pc):
            for place, word in enumerate(rom.words):
                with m.Case(place):
                    m.d.comb += code.as_value().eq(word)
        entry = Signal.like(pc)
        for (operation, is_mse), first in rom.starts.items():
            matches = task.operation == operation
            if operation == Operation.READOUT:
                matches &= task.is_mse == is_mse
            with m.If(matches):
                m.d.comb += entry.eq(first)
        by_sample = Signal()
        sampled = {key for key, program in PROGRAMS.items() if program.slots == Slots.SAMPLES}
        m.d.comb += by_sample.eq(Cat(task.operation == key[0] for key in sampled).any())

        time, word = Signal(8), Signal(16)
        lane, left = (
            Signal(range(width)),
            Signal(16),
        )  # real channels from this word's first lane on
        slot, wait = Signal(range(self.slots)), Signal(range(DIVIDE_CYCLES))
        # Of the slot: its sample, the word in the frame and in the position; of the group's first slot the same.
        now, first = _Place(), _Place()
        following = _Place()
        position_words = Signal(16)
        pair = (2 * width).bit_length() - 1
        m.d.comb += position_words.eq(((task.channels + 2 * width - 1) >> pair) << 1)
        ends_frame = by_sample | (now.word == task.frame_words - 1)
        ends_position = ends_frame | (now.channel_word == position_words - 1)
        m.d.comb += [
            following.sample.eq(now.sample + ends_frame),
            following.word.eq(Mux(ends_frame, 0, now.word + 1)),
            following.channel_word.eq(Mux(ends_position, 0, now.channel_word + 1)),
        ]

        takes, is_last_slot = Signal(), Signal()
        m.d.comb += [
            takes.eq(~code.divides | (wait == DIVIDE_CYCLES - 1)),
            is_last_slot.eq(takes & (slot == self.slots - 1)),
        ]
        is_over = Signal()  # the loop that this instruction ends
        with m.Switch(code.counter):
            with m.Case(Counter.TIME):
                m.d.comb += is_over.eq(time == task.timesteps - 1)
            with m.Case(Counter.WORD):
                m.d.comb += is_over.eq(word == task.frame_words - 1)
            with m.Case(Counter.LANE):
                m.d.comb += is_over.eq((lane == width - 1) | (lane + 1 >= left))
        goes_back = code.loops & ~is_over
        ends_group = is_last_slot & code.is_last & ~goes_back
        last = Signal()
        m.d.comb += last.eq(busy & ends_group & (following.sample >= task.samples))

        with m.If(self.start):
            m.d.sync += [
                busy.eq(1), pc.eq(entry), slot.eq(0), wait.eq(0), time.eq(0), word.eq(0), lane.eq(0),
                left.eq(task.channels), *now.eq(0), *first.eq(0),
            ]  # fmt: skip
        with m.Elif(busy):
            m.d.sync += wait.eq(Mux(takes, 0, wait + 1))
            with m.If(takes):
                m.d.sync += [slot.eq(slot + 1), *now.eq(following)]
            with m.If(is_last_slot):
                m.d.sync += [slot.eq(0), *now.eq(first), pc.eq(pc + 1)]
                with m.If(code.loops):
                    with m.Switch(code.counter):
                        with m.Case(Counter.TIME):
                            m.d.sync += time.eq(Mux(is_over, 0, time + 1))
                        with m.Case(Counter.WORD):
                            m.d.sync += [
                                word.eq(Mux(is_over, 0, word + 1)),
                                left.eq(
                                    Mux(is_over, task.channels, Mux(left > width, left - width, 0))
                                ),
                            ]
                        with m.Case(Counter.LANE):
                            m.d.sync += lane.eq(Mux(is_over, 0, lane + 1))
                with m.If(goes_back):
                    m.d.sync += pc.eq(code.target)
            with m.If(ends_group):
                m.d.sync += [pc.eq(entry), *now.eq(following), *first.eq(following)]
            with m.If(last):
                m.d.sync += busy.eq(0)

        at_word = Mux(by_sample, word, now.word)
        channel = Mux(by_sample, word, now.channel_word) * width
        is_lane = (code.a_kind == Kind.LANE) & (lane >= left)
        fields = {name: code[name] for name, _ in _FIELDS}
        stage.put(
            valid=busy & (takes | (wait == 0)) & (now.sample < task.samples) & ~is_lane,
            starts=code.divides & (wait == 0),
            slot=slot,
            lane=lane,
            word=at_word,
            is_real=Cat(channel + k < task.channels for k in range(width)),
            sample=now.sample[:ROW_BITS],
            sample_frames=(now.sample * task.timesteps)[:ROW_BITS],
            time=time,
            **{
                name: fields[name]
                for name in fields
                if name not in ("loops", "counter", "target", "is_last")
            },
        )
        m.d.comb += self.done.eq(delayed(m, last, self._write - ADDRESS))

    # --------------------------------------------------------------------------------------------------- addresses

    def _addresses(self, m: Module) -> None:
        """Work out the rows of load and store: base + frame * rows of a frame + the word's place."""
        task, pipe = self.task, self._pipe
        stage = pipe.stage(ADDRESS + 1)

        def frame(when: Value, once: Value) -> Value:
            ascending = (task.timesteps - 1 - stage.time)[: len(stage.time)]
            of_time = stage.sample_frames + Mux(when == When.FORWARD, ascending, stage.time)
            return Mux(once | (when == When.ONCE), stage.sample, of_time)[:ROW_BITS]

        stage.put(
            load_frame=frame(stage.load_when, stage.load_sums & task.constant),
            store_frame=frame(stage.store_when, Const(0)),
        )
        stage = pipe.stage(ADDRESS + 2)
        word = stage.word
        places = Array([word, word >> 1, word >> 5, word])
        load_rows = self._fields("in_frame_rows", 3)[stage.load_array]
        store_rows = self._fields("out_frame_rows", 3)[stage.store_array]
        stage.put(
            load_offset=(stage.load_frame * load_rows)[:ROW_BITS],
            store_offset=(stage.store_frame * store_rows)[:ROW_BITS],
            load_place=self._fields("in_row", 3)[stage.load_array] + places[stage.load_form],
            store_place=self._fields("out_row", 3)[stage.store_array]
            + Array([word, word >> 1, word >> 5, word >> 5])[stage.store_what],
        )
        stage = pipe.stage(ADDRESS + 3)
        stage.put(
            load_row=(stage.load_offset + stage.load_place)[:ROW_BITS],
            store_row=(stage.store_offset + stage.store_place)[:ROW_BITS],
        )

    def _load(self, m: Module) -> None:
        """Read a row, choose the word, widen it."""
        stage, arrived = self._pipe.stage(READ), self._pipe.stage(READ + 1)
        loads = stage.valid & stage.loads
        m.d.comb += [
            self.sums_en.eq(loads & stage.load_sums),
            self.sums_row.eq(stage.load_row),
            self.inputs_en.eq(loads & ~stage.load_sums),
            self.inputs_row.eq(stage.load_row),
        ]
        width, form = self.width, self.config.operand_format
        row = Signal(BITS * width)
        m.d.comb += row.eq(Mux(arrived.load_sums, self.sums_data, self.inputs_data))
        operands = row.word_select(arrived.word[0], width * form.bits)
        bits = row.word_select(arrived.word[:5], width)
        lanes: list[Value] = []
        for k in range(width):
            operand = Signal(form.bits, name=f"operand_{k}")
            m.d.comb += operand.eq(operands.word_select(k, form.bits))
            lanes.append(
                Mux(
                    arrived.load_form == Form.FLOATS,
                    row.word_select(k, BITS),
                    Mux(
                        arrived.load_form == Form.OPERANDS,
                        convert(m, operand, form, FP32),
                        Mux(bits[k], FIXED[0], 0),
                    ),
                )
            )
        arrived.put(memory=Cat(lanes))

    # ------------------------------------------------------------------------------------------------------- lanes

    def _registers(self, m: Module, name: str, stage: Stage, number: Value) -> Value:
        """Return what a copy of the registers gives in the stage after ``stage``; all copies are written alike."""
        slot_bits = (self.slots - 1).bit_length()
        ram = Ram(BITS * self.width, REGISTERS << slot_bits)
        m.submodules[f"registers_{name}"] = ram
        written = self._pipe.stage(self._write)
        m.d.comb += [
            ram.r_en.eq(stage.valid),
            ram.r_addr.eq(Cat(stage.slot, number[:3])),
            ram.w_en.eq(written.valid & written.writes & ~written.starts),
            ram.w_addr.eq(Cat(written.slot, written.to)),
            ram.w_data.eq(self._result),
        ]
        return ram.r_data

    def _lanes(self, m: Module) -> None:
        """Build the registers and every lane's units."""
        task, pipe, config = self.task, self._pipe, self.config
        self._result = Signal(BITS * self.width)
        reading, operands = pipe.stage(REGISTER), pipe.stage(OPERANDS)
        product, summed = pipe.stage(self._product), pipe.stage(self._sum)
        first = self._registers(m, "a", reading, reading.a_number)
        second = self._registers(m, "b", reading, reading.b_number)
        before = pipe.stage(self._product - 1)
        third = self._registers(m, "c", before, before.c_number)

        # A readout by the mean adds without a leak; one by the membrane has no share.
        ones = {1: task.is_membrane, 3: ~task.is_membrane}
        is_readout = task.operation == Operation.READOUT
        given: list[Value] = []
        for n in range(TASK_CONSTANTS):
            replaced = is_readout & ones[n] if n in ones else Const(0, 1)
            given.append(Mux(replaced, FIXED[0], task[f"constant_{n}"]))
        constants = Array([*given, *(Const(w, BITS) for w in FIXED)])
        spread = Signal(BITS)
        m.d.comb += spread.eq(first.word_select(operands.lane, BITS))
        second_constant, third_constant = Signal(BITS), Signal(BITS)
        window = Signal(BITS)
        m.d.comb += [
            second_constant.eq(constants[operands.b_number]),
            third_constant.eq(constants[product.c_number]),
            window.eq(self._fields("constant", TASK_CONSTANTS)[summed.window]),
        ]
        predicates = {
            kind: [Signal(self.width, name=f"{kind.name.lower()}_{n}") for n in range(self.slots)]
            for kind in (Predicate.FIRES, Predicate.INSIDE)
        }
        held = Signal(self.width)
        with m.Switch(product.predicate):
            for kind, of_slots in predicates.items():
                with m.Case(kind):
                    m.d.comb += held.eq(Array(of_slots)[product.slot])
            with m.Case(Predicate.SKIP):
                m.d.comb += held.eq(self.skip.replicate(self.width))

        results: dict[str, list[Value]] = {"floats": [], "rounded": [], "fires": [], "inside": []}
        for k in range(self.width):

            def of_lane(value: Value, k: int = k) -> Value:
                return value.word_select(k, BITS)

            multiplier = FloatMultiplier(FP32, config.multiplier_stages)
            adder = FloatAdder(FP32, config.adder_stages)
            divider = FloatDivider(FP32)
            m.submodules[f"multiplier_{k}"] = ByName(multiplier, "spikeloom_vector_multiplier")
            m.submodules[f"adder_{k}"] = ByName(adder, "spikeloom_vector_adder")
            m.submodules[f"divider_{k}"] = ByName(divider, "spikeloom_vector_divider")
            a, b = Signal(BITS, name=f"a_{k}"), Signal(BITS, name=f"b_{k}")
            with m.Switch(operands.a_kind):
                with m.Case(Kind.REGISTER):
                    m.d.comb += a.eq(of_lane(first))
                with m.Case(Kind.MEMORY):
                    m.d.comb += a.eq(of_lane(operands.memory))
                with m.Case(Kind.LANE):
                    m.d.comb += a.eq(spread)
            m.d.comb += [
                b.eq(Mux(operands.b_is_constant, second_constant, of_lane(second))),
                multiplier.a.eq(a),
                multiplier.b.eq(b),
                divider.a.eq(a),
                divider.b.eq(b),
                divider.start.eq(operands.valid & operands.starts),
            ]

            holds = held[k] ^ product.inverted
            drops, chooses = Signal(name=f"drops_{k}"), Signal(name=f"chooses_{k}")
            m.d.comb += [
                drops.eq((product.gate == Gate.DROP) | ((product.gate != Gate.KEEP) & ~holds)),
                chooses.eq((product.gate == Gate.SELECT) & holds),
            ]
            term, addend = Signal(BITS, name=f"term_{k}"), Signal(BITS, name=f"addend_{k}")
            signs = Const(MINUS_ZERO, BITS)
            m.d.comb += term.eq(
                Mux(product.divides, divider.result, multiplier.result)
                ^ Mux(product.subtracts, signs, 0)
            )
            with m.Switch(product.c_kind):
                with m.Case(Kind.REGISTER):
                    m.d.comb += addend.eq(of_lane(third))
                with m.Case(Kind.MEMORY):
                    m.d.comb += addend.eq(of_lane(product.memory))
                with m.Default():
                    m.d.comb += addend.eq(third_constant)
            m.d.comb += [
                adder.a.eq(Mux(drops, Mux(product.positive, 0, signs), term)),
                adder.b.eq(Mux(chooses, signs, addend ^ Mux(product.subtracts_c, signs, 0))),
            ]

            total, size = adder.result, Signal(BITS, name=f"size_{k}")
            m.d.comb += size.eq(total[:-1])
            power = Cat(Const(0, FP32.mantissa_bits), (total[:8] + FP32.bias)[:8], Const(0, 1))
            results["floats"].append(Mux(summed.post == Post.POWER, power, total))
            results["rounded"].append(convert(m, total, FP32, config.operand_format))
            results["fires"].append(greater(total, Const(0, BITS), FP32))
            results["inside"].append(greater(window, size, FP32))
        summed.put(**{name: Cat(values) for name, values in results.items()})

        written = pipe.stage(self._write)
        tests = written.valid & (written.post == Post.TEST)
        for slot in range(self.slots):
            with m.If(tests & (written.slot == slot)):
                m.d.sync += [
                    predicates[Predicate.FIRES][slot].eq(written.fires),
                    predicates[Predicate.INSIDE][slot].eq(written.inside),
                ]
        form = config.operand_format
        for k in range(self.width):
            operand = Signal(form.bits, name=f"rounded_{k}")
            m.d.comb += operand.eq(written.rounded.word_select(k, form.bits))
            m.d.comb += self._result.word_select(k, BITS).eq(
                Mux(
                    written.post == Post.ROUND,
                    convert(m, operand, form, FP32),
                    written.floats.word_select(k, BITS),
                )
            )

    # -------------------------------------------------------------------------------------------------------- stores

    def _store(self, m: Module) -> None:
        """Write a word into its place in a row; lanes of padded channels write 0."""
        written, width = self._pipe.stage(self._write), self.width
        form = self.config.operand_format

        def real(word: Value, bits: int) -> Value:
            return Cat(
                word.word_select(k, bits) & written.is_real[k].replicate(bits) for k in range(width)
            )

        bits = real(Mux(written.store_what == What.INSIDE, written.inside, written.fires), 1)
        m.d.comb += [
            self.result_en.eq(written.valid & written.stores & ~written.starts),
            self.result_row.eq(written.store_row),
        ]
        with m.Switch(written.store_what):
            with m.Case(What.FLOATS):
                m.d.comb += [
                    self.result_data.eq(real(written.floats, BITS)),
                    self.result_mask.eq(-1),
                ]
            with m.Case(What.OPERANDS):
                half = Const((1 << BITS // 2) - 1, BITS // 2)
                m.d.comb += [
                    self.result_data.eq(real(written.rounded, form.bits).replicate(2)),
                    self.result_mask.eq(Mux(written.word[0], half << BITS // 2, half)),
                ]
            with m.Default():
                m.d.comb += [
                    self.result_data.eq(bits.replicate(BITS)),
                    self.result_mask.eq(Const(1) << written.word[:5]),
                ]


class _Place:
    """Where a slot's word is: sample, word of the frame, word of the position."""

    def __init__(self) -> None:
        self.sample = Signal(ROW_BITS + 1)
        self.word = Signal(ROW_BITS)
        self.channel_word = Signal(ROW_BITS)

    def eq(self, other: _Place | int) -> list:
        """Return the assignments of another place's values, or of one number to all."""
        mine = (self.sample, self.word, self.channel_word)
        theirs = (
            (other,) * 3
            if isinstance(other, int)
            else (other.sample, other.word, other.channel_word)
        )
        return [a.eq(b) for a, b in zip(mine, theirs, strict=True)]
