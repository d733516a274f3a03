"""The vector unit's instructions, and the microprograms of its operations: docs/blocks/learning.md.

An instruction runs through a lane's multiplier, its adder and a last step, for one slot after the other::

    sum    = gate(+- a * b) +- c        each operation rounded to 32 bits
    result = sum, sum rounded to an operand, or 2**n;  or two predicates of the slot: sum > 0, |sum| < a constant

and may write a register and store a word. Multiplying by `ONE` and adding `NOTHING`, which is -0, change no number, so
that every instruction has this form.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

__all__ = [
    "FIXED", "REGISTERS", "TASK_CONSTANTS", "Constant", "Counter", "Form", "Gate", "Instruction", "Kind", "Load",
    "Loop", "Operand", "Post", "Predicate", "Program", "Serial", "Slots", "Step", "Store", "What", "When", "assemble",
    "channel_sums", "instructions", "neuron_gradients", "neurons", "norm_finish", "norm_gradients", "norm_sums",
    "optimise", "readout", "time_sums",
]  # fmt: skip

REGISTERS = 8  # of a lane, each a word for every slot
TASK_CONSTANTS = 4  # that a task gives


class Constant(IntEnum):
    """Constants: the task's own, then those of `FIXED`."""

    TASK_0 = 0
    TASK_1 = 1
    TASK_2 = 2
    TASK_3 = 3
    ONE = 4
    NOTHING = 5
    ZERO = 6
    LOWEST = 7
    LOG2_E = 8
    LN2_HIGH = 9
    LN2_LOW = 10
    WHOLE = 11  # added and subtracted again, leaves a whole number
    C7 = 12
    C6 = 13
    C5 = 14
    C4 = 15
    C3 = 16
    C2 = 17
    LEAST = 18  # below every number
    USERS = 19  # from here on, if a task has them: 1 / pool**2 of each user of a layer


# The words of the constants from ONE on; those of the exponential as chip/learn_rules.py has them.
FIXED: tuple[int, ...] = (
    0x3F800000, 0x80000000, 0x00000000, 0xC2AE0000, 0x3FB8AA3B, 0x3F318000, 0xB95E8083, 0x4B400000,
    0x39500D01, 0x3AB60B61, 0x3C088889, 0x3D2AAAAB, 0x3E2AAAAB, 0x3F000000, 0xFF800000,
)  # fmt: skip


class Kind(IntEnum):
    """Where an operand comes from. LANE is a register's word in one lane, for all lanes: that of the lane counter."""

    REGISTER = 0
    CONSTANT = 1
    MEMORY = 2
    LANE = 3


@dataclass(frozen=True)
class Operand:
    """An operand: a register's or a constant's number; of memory it is 0."""

    kind: Kind
    number: int = 0


class Form(IntEnum):
    """Words of memory: 32-bit floats, operands (rounded when stored), or bits (1.0 or 0.0 when loaded)."""

    FLOATS = 0
    OPERANDS = 1
    BITS = 2


class When(IntEnum):
    """Which frame of a sample an array's word is in: its only one, or that of the time counter.

    Frames stand in memory last timestep first. FORWARD counts timesteps up, BACKWARD down. CHANNELS is a word of a
    vector of channels, the same for every position; PARTS one of partial sum after partial sum of such.
    """

    ONCE = 0
    FORWARD = 1
    BACKWARD = 2
    CHANNELS = 3
    PARTS = 4


@dataclass(frozen=True)
class Load:
    """The word of memory that an instruction reads: of an input array; of ``sums``, in the forward engine's results."""

    array: int
    form: Form
    when: When = When.ONCE
    sums: bool = False


class What(IntEnum):
    """What a store writes: the result (a float, or rounded to an operand), or a predicate."""

    FLOATS = 0
    OPERANDS = 1
    FIRES = 2
    INSIDE = 3


@dataclass(frozen=True)
class Store:
    """The word of memory that an instruction writes; lanes of padded channels write 0."""

    array: int
    what: What
    when: When = When.ONCE


class Gate(IntEnum):
    """What becomes of the product: kept, dropped (a zero in its place), dropped unless a predicate holds; or chosen.

    SELECT gives the product if the predicate holds, else ``c``.
    """

    KEEP = 0
    DROP = 1
    IF = 2
    SELECT = 3


class Predicate(IntEnum):
    """FIRES, INSIDE: of each slot and lane, as the last TEST left them. SKIP: of the task: nothing is to move."""

    FIRES = 0
    INSIDE = 1
    SKIP = 2


class Post(IntEnum):
    """The last step: none; round to an operand; set the predicates; 2**n, of the sum of n and `WHOLE`."""

    NONE = 0
    ROUND = 1
    TEST = 2
    POWER = 3


class Serial(IntEnum):
    """What is worked out a bit a cycle, in each lane."""

    NONE = 0
    DIVIDE = 1
    ROOT = 2


@dataclass(frozen=True)
class Instruction:
    """One instruction; without ``to`` it writes no register.

    serial : the quotient of ``a`` and ``b``, or the root of ``a``, takes the product's place, slot after slot
    subtracts, subtracts_c : the product, or ``c``, enters with the opposite sign
    gate, predicate, inverted : see `Gate`; ``positive`` : a dropped product is +0 instead of -0
    window : the task's constant that a TEST compares the magnitude with
    """

    a: Operand
    b: Operand
    c: Operand
    to: int | None = None
    serial: Serial = Serial.NONE
    subtracts: bool = False
    subtracts_c: bool = False
    gate: Gate = Gate.KEEP
    predicate: Predicate = Predicate.FIRES
    inverted: bool = False
    positive: bool = False
    post: Post = Post.NONE
    window: int = 0
    load: Load | None = None
    store: Store | None = None


class Counter(IntEnum):
    """What a loop runs over: timesteps, words of a frame (slots are samples then), or a word's lanes.

    The lanes are those of real channels; of a word that has none it is the first, and its instructions write nothing.
    CHUNK runs over the positions of all frames, so many as there are partial sums at a time; a slot without one writes
    nothing then. PART runs over partial sums.
    """

    TIME = 0
    WORD = 1
    LANE = 2
    CHUNK = 3
    PART = 4


class Slots(IntEnum):
    """What a slot is: a word of a frame, words and samples ascending; a sample; a partial sum of a word of channels."""

    WORDS = 0
    SAMPLES = 1
    PARTS = 2


@dataclass(frozen=True)
class Loop:
    """Instructions to repeat; a body ends with an instruction, so that no two loops end with one."""

    counter: Counter
    body: tuple[Instruction | Loop, ...]


@dataclass(frozen=True)
class Program:
    """What is run for each group of slots."""

    name: str
    body: tuple[Instruction | Loop, ...]
    slots: Slots = Slots.WORDS


@dataclass(frozen=True)
class Step:
    """An instruction in its place; after it, ``counter``'s loop goes on at ``target`` until it is over."""

    instruction: Instruction
    counter: Counter | None = None
    target: int = 0


def assemble(program: Program) -> tuple[Step, ...]:
    """Return a program's instructions in a row.

    Raises
    ------
    ValueError
        If a loop is empty, or ends where one inside it does.
    """
    steps: list[Step] = []

    def put(body: Sequence[Instruction | Loop]) -> None:
        for item in body:
            if isinstance(item, Instruction):
                steps.append(Step(item))
                continue
            first = len(steps)
            put(item.body)
            if len(steps) == first or steps[-1].counter is not None:
                raise ValueError(f"{program.name}: a loop must end with an instruction of its own")
            steps[-1] = replace(steps[-1], counter=item.counter, target=first)

    put(program.body)
    return tuple(steps)


def instructions(program: Program, trips: Mapping[Counter, int]) -> dict[Serial, int]:
    """Return how many instructions of each kind run for a group of slots.

    ``trips`` are those of each loop; a loop over lanes is inside one over words, and its trips are those of all words.
    """
    found = dict.fromkeys(Serial, 0)

    def count(body: Sequence[Instruction | Loop], times: int) -> None:
        for item in body:
            if isinstance(item, Instruction):
                found[item.serial] += times
            elif item.counter == Counter.LANE:
                count(item.body, times // trips[Counter.WORD] * trips[Counter.LANE])
            else:
                count(item.body, times * trips[item.counter])

    count(program.body, 1)
    return found


# ------------------------------------------------------------------------------------------------------------ programs

_MEMORY = Operand(Kind.MEMORY)


def _r(number: int) -> Operand:
    return Operand(Kind.REGISTER, number)


def _lane(number: int) -> Operand:
    return Operand(Kind.LANE, number)


def _k(constant: int) -> Operand:
    return Operand(Kind.CONSTANT, int(constant))


_ONE, _NOTHING, _ZERO = _k(Constant.ONE), _k(Constant.NOTHING), _k(Constant.ZERO)


def _op(
    to: int | None, a: Operand, b: Operand = _ONE, c: Operand = _NOTHING, **rest: Any
) -> Instruction:
    return Instruction(a, b, c, to, **rest)


def _load(to: int, array: int, form: Form, when: When = When.ONCE) -> Instruction:
    return _op(to, _MEMORY, load=Load(array, form, when))


def _set(to: int | None, value: Operand, **rest: Any) -> Instruction:
    """Return what copies a constant, whatever the register of the product holds."""
    return _op(to, _r(0), c=value, gate=Gate.DROP, **rest)


def _loop(counter: Counter, *body: Instruction | Loop) -> Loop:
    return Loop(counter, body)


def _vector(to: int, array: int) -> Instruction:
    return _load(to, array, Form.FLOATS, When.CHANNELS)


# A norm's vectors in registers, and their arrays.
_MEAN, _INVERSE, _GAIN, _BETA, _BIAS = 2, 3, 4, 5, 6
_FACTOR, _MEAN_DU, _MEAN_PRODUCT = 4, 5, 6


def neurons(
    *, bias: bool = False, norm: str | None = None, shortcut: Form | None = None, fires: bool = True
) -> Program:
    """Return the program of NEURONS and NORM_NEURONS.

    Constants: scale, leak, threshold, half width. In: 0 sums, or a norm's rounded inputs; 1 bias; 2 shortcut; 3 to 6
    mean, inverse deviation, gain and beta. Out: 0 membranes, 1 spikes, 2 masks, 3 inputs of a frozen norm.

    Parameters
    ----------
    bias : bool
        Of the sums.
    norm : None, "batch" or "frozen"
        With batch statistics its input comes from memory.
    shortcut : Form, optional
        BITS, spikes, or OPERANDS, membranes, are added.
    fires : bool
        Without, what would enter the membranes is the result.
    """
    x, u = 0, 1
    scale, leak, threshold = (_k(n) for n in range(3))
    before = [_set(None, _ONE, post=Post.TEST)] if fires else []
    sums = Load(0, Form.FLOATS, When.FORWARD, sums=True)
    body: list[Instruction] = []
    if bias and norm != "batch":
        before.append(_vector(_BIAS, 1))
    into = _op(x, _MEMORY, scale, _r(_BIAS) if bias else _NOTHING, load=sums)
    if norm is None:
        body.append(into)
    else:
        vectors = (_MEAN, _INVERSE, _GAIN, _BETA)
        before += [_vector(register, 3 + n) for n, register in enumerate(vectors)]
        if norm == "frozen":
            kept = Store(3, What.OPERANDS, When.FORWARD)
            body.append(replace(into, post=Post.ROUND, store=kept))
            body.append(_op(x, _r(x), c=_r(_MEAN), subtracts_c=True))
        else:
            load = Load(0, Form.OPERANDS, When.FORWARD)
            body.append(_op(x, _MEMORY, c=_r(_MEAN), subtracts_c=True, load=load))
        body.append(_op(x, _r(x), _r(_INVERSE)))
        body.append(_op(x, _r(x), _r(_GAIN), _r(_BETA)))
    if shortcut is not None:
        body.append(_op(x, _MEMORY, c=_r(x), load=Load(2, shortcut, When.FORWARD)))
    out = Store(0, What.OPERANDS, When.FORWARD)
    if fires:
        tested = _op(None, _r(u), c=threshold, subtracts_c=True, post=Post.TEST, window=3)
        body += [
            _op(u, _r(u), leak, _r(x), gate=Gate.IF, inverted=True, post=Post.ROUND, store=out),
            replace(tested, store=Store(1, What.FIRES, When.FORWARD)),
            replace(tested, store=Store(2, What.INSIDE, When.FORWARD)),
        ]
    else:
        body[-1:] = [replace(body[-1], post=Post.ROUND, store=out)]
    return Program("neurons", (*before, _loop(Counter.TIME, *body)))


def neuron_gradients(
    pools: Sequence[int] = (1,), *, fires: bool = True, norm: bool = False
) -> Program:
    """Return the program of NEURON_GRADIENTS without sums of channels, which are `channel_sums`.

    Constants: leak, threshold, half width, height. In: 0 gradients, 1 membranes, 6 a norm's factor, from 8 on gradients
    of further users. Out: 0 gradients of the sums.

    Parameters
    ----------
    pools : sequence of int
        Of the users: the sides of the windows that their inputs are means over. A load gives the window's gradient.
    fires : bool
        Without neurons, the sum of the users' is rounded.
    norm : bool
        The gradients go through a norm with frozen statistics, which is a factor.
    """
    t, du, p, g = 0, 1, 7, 7
    leak, threshold, height = _k(0), _k(1), _k(3)
    before = [_set(du, _ZERO)] if fires else []
    body: list[Instruction] = []
    loads = [
        Load(n + 7 if n else 0, Form.OPERANDS, When.BACKWARD) for n in range(max(len(pools), 1))
    ]
    gradient, load = _MEMORY, loads[0]
    if not pools:
        gradient = _ZERO
    elif tuple(pools) != (1,):
        for n, item in enumerate(loads):
            body.append(
                _op(g, _MEMORY, _k(Constant.USERS + n), _r(g) if n else _NOTHING, load=item)
            )
        gradient = _r(g)
    out = Store(0, What.OPERANDS, When.BACKWARD)
    if fires:
        u = Load(1, Form.OPERANDS, When.BACKWARD)
        given = {"load": load} if gradient == _MEMORY else {}
        body += [
            _op(t, _MEMORY, leak, load=u),
            _op(t, _r(t), _r(du), gradient, subtracts=True, **given),
            _op(None, _MEMORY, c=threshold, subtracts_c=True, post=Post.TEST, window=2, load=u),
            _op(p, _r(t), height, gate=Gate.IF, predicate=Predicate.INSIDE, positive=True),
            _op(
                du, _r(du), leak, _r(p), gate=Gate.IF, inverted=True, positive=True,
                post=Post.ROUND, store=out,
            ),
        ]  # fmt: skip
    elif gradient == _MEMORY:
        body.append(_op(du, _MEMORY, load=load, post=Post.ROUND, store=out))
    else:
        body.append(_op(du, gradient if pools else _r(0), c=_NOTHING if pools else _ZERO, post=Post.ROUND, store=out,
                        gate=Gate.KEEP if pools else Gate.DROP))  # fmt: skip
    if norm:
        before.append(_vector(_FACTOR, 6))
        body.append(_op(None, _r(du), _r(_FACTOR), post=Post.ROUND, store=out))
    return Program("neuron gradients", (*before, _loop(Counter.TIME, *body)))


def _through_norm(centred: Instruction, mean_product: Operand, when: When) -> list[Instruction]:
    """Return a norm's backward step: ``centred`` leaves the gradient less its mean in register 0."""
    t, hat = 0, 7
    inputs = Load(3, Form.OPERANDS, when)
    return [
        centred,
        _op(hat, _MEMORY, c=_r(_MEAN), subtracts_c=True, load=inputs),
        _op(hat, _r(hat), _r(_INVERSE)),
        _op(t, _r(hat), mean_product, _r(t), subtracts=True),
        _op(None, _r(t), _r(_FACTOR), post=Post.ROUND, store=Store(0, What.OPERANDS, when)),
    ]


def time_sums(*, norm: str | None = None) -> Program:
    """Return the program of TIME_SUMS. In: 0 gradients; out: 0 their sums, through a norm as `norm_gradients`."""
    total = 1
    body = _op(total, _MEMORY, c=_r(total), load=Load(0, Form.OPERANDS, When.BACKWARD))
    out = Store(0, What.OPERANDS)
    before, after = [_set(total, _ZERO)], [_op(total, _r(total), post=Post.ROUND, store=out)]
    if norm == "frozen":
        before.append(_vector(_FACTOR, 6))
        after = [
            replace(after[0], store=None),
            _op(None, _r(total), _r(_FACTOR), post=Post.ROUND, store=out),
        ]
    elif norm == "batch":
        vectors = (_MEAN, _INVERSE, _FACTOR, _MEAN_DU, _MEAN_PRODUCT)
        before += [_vector(register, 4 + n) for n, register in enumerate(vectors)]
        after[0] = replace(after[0], store=None)
        centred = _op(0, _r(total), c=_r(_MEAN_DU), subtracts_c=True)
        after += _through_norm(centred, _r(_MEAN_PRODUCT), When.ONCE)
    return Program("time sums", (*before, _loop(Counter.TIME, body), *after))


def norm_gradients() -> Program:
    """Return the program of NORM_GRADIENTS.

    In: 0 gradients, 3 the norm's inputs, 4 to 8 mean, inverse deviation, factor, mean gradient, mean product. Out: 0.
    """
    vectors = (_MEAN, _INVERSE, _FACTOR, _MEAN_DU, _MEAN_PRODUCT)
    before = [_vector(register, 4 + n) for n, register in enumerate(vectors)]
    load = Load(0, Form.OPERANDS, When.BACKWARD)
    centred = _op(0, _MEMORY, c=_r(_MEAN_DU), subtracts_c=True, load=load)
    body = _through_norm(centred, _r(_MEAN_PRODUCT), When.BACKWARD)
    return Program("norm gradients", (*before, _loop(Counter.TIME, *body)))


def _parts(*body: Instruction) -> tuple[Instruction | Loop, ...]:
    """Return a loop over positions between loads and stores of the partial sums: registers 0 and 1, arrays 0 and 1."""
    arrays = sorted({item.to for item in body if item.to in (0, 1)})
    return (
        *(_load(n, 6 + n, Form.FLOATS, When.PARTS) for n in arrays),
        _loop(Counter.CHUNK, *body),
        *(_op(None, _r(n), store=Store(2 + n, What.FLOATS, When.PARTS)) for n in arrays),
    )


def channel_sums(*, norm: bool) -> Program:
    """Return the program that sums gradients over positions, and with a norm their products with its values.

    In: 0 gradients, 3 the norm's inputs, 4 and 5 its mean and inverse deviation; 6, 7 partial sums so far. Out: 2, 3.
    """
    load = Load(0, Form.OPERANDS, When.FORWARD)
    total = _op(0, _MEMORY, c=_r(0), load=load)
    if not norm:
        return Program("channel sums", _parts(total), Slots.PARTS)
    hat, inputs = 7, Load(3, Form.OPERANDS, When.FORWARD)
    body = _parts(
        total,
        _op(hat, _MEMORY, c=_r(_MEAN), subtracts_c=True, load=inputs),
        _op(hat, _r(hat), _r(_INVERSE)),
        _op(1, _MEMORY, _r(hat), _r(1), load=load),
    )
    return Program("channel sums", (_vector(_MEAN, 4), _vector(_INVERSE, 5), *body), Slots.PARTS)


def norm_sums(*, bias: bool = False) -> Program:
    """Return the program of NORM_SUMS: inputs of a norm, rounded, their sums and those of their squares.

    Constants: scale. In: 0 sums, 1 bias, 6, 7 partial sums so far. Out: 0 inputs, 2, 3 partial sums.
    """
    y, scale = 7, _k(0)
    out = Store(0, What.OPERANDS, When.FORWARD)
    sums = Load(0, Form.FLOATS, When.FORWARD, sums=True)
    body = _parts(
        _op(y, _MEMORY, scale, _r(_BIAS) if bias else _NOTHING, post=Post.ROUND, load=sums, store=out),
        _op(0, _r(y), c=_r(0)),
        _op(1, _r(y), _r(y), _r(1)),
    )  # fmt: skip
    return Program("norm sums", (*([_vector(_BIAS, 1)] if bias else []), *body), Slots.PARTS)


def norm_finish() -> Program:
    """Return the program of NORM_FINISH after `norm_sums`: sums of partial sums, mean and inverse deviation.

    A slot is a word of channels. Constants: 1 / count, epsilon. In: 0 and 1 partial sums. Out: 0 mean, 1 variance, 2
    inverse deviation. Of a norm's gradients two products are enough; this is the longer one.
    """
    total, squares, mean, variance = 0, 1, 2, 3
    share, epsilon = _k(0), _k(1)
    when = When.PARTS
    return Program(
        "norm finish",
        (
            _set(total, _ZERO),
            _set(squares, _ZERO),
            _loop(
                Counter.PART,
                _op(total, _MEMORY, c=_r(total), load=Load(0, Form.FLOATS, when)),
                _op(squares, _MEMORY, c=_r(squares), load=Load(1, Form.FLOATS, when)),
            ),
            _op(mean, _r(total), share, store=Store(0, What.FLOATS)),
            _op(total, _r(mean), _r(mean)),
            _op(variance, _r(squares), share, _r(total), subtracts_c=True),
            _op(None, _r(variance), subtracts=True, post=Post.TEST),
            _op(
                variance, _r(variance), c=_ZERO, gate=Gate.SELECT, inverted=True,
                store=Store(1, What.FLOATS),
            ),
            _op(variance, _r(variance), c=epsilon),
            _op(variance, _r(variance), serial=Serial.ROOT),
            _set(total, _ONE),
            _op(None, _r(total), _r(variance), serial=Serial.DIVIDE, store=Store(2, What.FLOATS)),
        ),
    )  # fmt: skip


def optimise() -> Program:
    """Return the program of OPTIMISE.

    Constants: unscale, decay, keep, rate. In: 0 weights, 1 momenta, 2 gradients. Out: 0 weights, 1 momenta, 2 operands.
    """
    t, m, w = range(3)
    unscale, decay, keep, rate = (_k(n) for n in range(4))
    weights, momenta, gradients = (Load(n, Form.FLOATS) for n in range(3))
    kept = Predicate.SKIP
    return Program(
        "optimise",
        (
            _op(t, _MEMORY, decay, load=weights),
            _op(t, _MEMORY, unscale, _r(t), load=gradients),
            _op(m, _MEMORY, keep, _r(t), load=momenta),
            _op(
                m, _MEMORY, c=_r(m), gate=Gate.SELECT, predicate=kept, load=momenta,
                store=Store(1, What.FLOATS),
            ),
            _op(
                w, _r(m), rate, _MEMORY, subtracts=True, gate=Gate.IF, predicate=kept, inverted=True,
                load=weights, store=Store(0, What.FLOATS),
            ),
            _op(None, _r(w), post=Post.ROUND, store=Store(2, What.OPERANDS)),
        ),
    )  # fmt: skip


def readout(*, is_mse: bool, bias: bool = False) -> Program:
    """Return the program of READOUT: logits and the gradient of the loss.

    Logits are worked out anew in each of three passes over the words (of squared errors, one), and the exponentials in
    two, so that a lane need not hold those of all words. A readout by the mean has leak 1, one by the membrane share 1.

    Constants: scale, share, gradient scale, leak. In: 0 sums, 1 targets, 2 bias. Out: 0 gradients, 1 logits. The unit
    itself takes the one that does not belong to a task's readout as 1.
    """
    v, largest, total, x, n, power, p, term = range(8)
    scale, share, gradient_scale, leak = (_k(c) for c in range(4))
    sums = Load(0, Form.FLOATS, When.FORWARD, sums=True)
    target = Load(1, Form.BITS)
    # The bias is loaded where the terms are summed: every register is in use.
    added = [_op(term, _MEMORY, c=_r(term), load=Load(2, Form.FLOATS, When.CHANNELS))]
    logits: list[Instruction | Loop] = [
        _set(v, _ZERO),
        _loop(
            Counter.TIME,
            _op(term, _MEMORY, scale, load=sums),
            *(added if bias else []),
            _op(v, _r(v), leak, _r(term)),
        ),
    ]
    stored = _op(v, _r(v), share, store=Store(1, What.FLOATS))
    spread: list[Instruction | Loop] = [
        _op(p, _r(p), gradient_scale),
        _op(p, _r(p), share),
        _loop(
            Counter.TIME,
            _op(None, _r(p), post=Post.ROUND, store=Store(0, What.OPERANDS, When.BACKWARD)),
            _op(p, _r(p), leak),
        ),
    ]
    error = {"c": _MEMORY, "subtracts_c": True, "load": target}
    spread_last = _set(None, _ZERO)
    if is_mse:
        body = [*logits, stored, _op(p, _r(v), **error), *spread, spread_last]
        return Program("readout mse", (_loop(Counter.WORD, *body),), Slots.SAMPLES)
    first = [
        *logits,
        _loop(
            Counter.LANE,
            _op(None, _lane(v), share, _r(largest), subtracts_c=True, post=Post.TEST),
            _op(largest, _lane(v), share, _r(largest), gate=Gate.SELECT),
        ),
        stored,
    ]
    exponential = [
        _op(x, _r(v), share, _r(largest), subtracts_c=True),
        _op(None, _r(x), c=_k(Constant.LOWEST), subtracts=True, post=Post.TEST),
        _op(x, _r(x), c=_k(Constant.LOWEST), gate=Gate.SELECT, inverted=True),
        _op(n, _r(x), _k(Constant.LOG2_E), _k(Constant.WHOLE)),
        _op(power, _r(n), post=Post.POWER),
        _op(n, _r(n), c=_k(Constant.WHOLE), subtracts_c=True),
        _op(x, _r(n), _k(Constant.LN2_HIGH), _r(x), subtracts=True),
        _op(x, _r(n), _k(Constant.LN2_LOW), _r(x), subtracts=True),
        _op(p, _r(x), _k(Constant.C7), _k(Constant.C6)),
        *(
            _op(p, _r(p), _r(x), _k(c))
            for c in (
                Constant.C5,
                Constant.C4,
                Constant.C3,
                Constant.C2,
                Constant.ONE,
                Constant.ONE,
            )
        ),
        _op(p, _r(p), _r(power)),
    ]
    summed = _loop(Counter.LANE, _op(total, _lane(p), c=_r(total)))
    quotient = _op(p, _r(p), _r(total), serial=Serial.DIVIDE, **error)
    body = (
        _set(largest, _k(Constant.LEAST)),
        _set(total, _ZERO),
        _loop(Counter.WORD, *first),
        _loop(Counter.WORD, *logits, *exponential, summed, _set(None, _ZERO)),
        _loop(Counter.WORD, *logits, *exponential, quotient, *spread, spread_last),
    )
    return Program("readout cross entropy", body, Slots.SAMPLES)
