"""Legal programs of one soma, drawn with Hypothesis: registers, rows, table and timesteps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from spikeloom.chip.arithmetic import NeuronKind, ResetMode, ResetTiming
from spikeloom.chip.config import CoreConfig
from spikeloom.chip.program import CORE_REGISTERS

SPIKING = (NeuronKind.LIF, NeuronKind.CUBA_LIF)
STATELESS = (NeuronKind.RELU, NeuronKind.TABLE, NeuronKind.PARTIAL)


@dataclass(frozen=True)
class Step:
    """A timestep of a core: whether it is the first of a sample, the sums, and the cycles before each fetch."""

    is_first: bool
    sums: list[int]
    gaps: list[int]


@dataclass(frozen=True)
class Life:
    """What a core loads, and the timesteps it then runs."""

    registers: dict[str, int]
    memories: dict[str, list[int]]
    table: list[int]
    steps: list[Step]


@st.composite
def lives(draw, core: CoreConfig, kind: NeuronKind, mode: int, timing: int, compare: int) -> Life:
    """Draw a legal program (chip.program.check_program) and its timesteps; equal and extreme values are likely."""
    top = (1 << (core.membrane_bits - 1)) - 1
    sum_top = (1 << (core.accumulator_bits - 1)) - 1
    most = (1 << core.activation_bits) - 1
    one = 1 << core.decay_bits
    neurons = draw(st.integers(1, core.neurons))
    common = draw(
        st.lists(st.one_of(st.integers(-9, 9), st.integers(-top, top)), min_size=1, max_size=2)
    )

    def number(low: int, high: int, *likely: int):
        ends = {
            low,
            low + 1,
            high - 1,
            high,
            0,
            1,
            -1,
            *likely,
            *common,
            *(-value for value in common),
        }
        inside = sorted(value for value in ends if low <= value <= high)
        return st.one_of(st.sampled_from(inside), st.integers(low, high))

    def column(strategy):
        return draw(st.lists(strategy, min_size=neurons, max_size=neurons))

    mode = draw(st.integers(0, 3)) if mode < 0 else mode
    timing = draw(st.integers(0, 1)) if timing < 0 else timing
    compare = draw(st.integers(0, 1)) if compare < 0 else compare
    spiking = kind in SPIKING
    several = (
        spiking
        and mode == ResetMode.SUBTRACT
        and timing == ResetTiming.SAME
        and draw(st.booleans())
    )
    random = not several and not (spiking and timing == ResetTiming.NEXT)
    shift_top = 7 if kind in STATELESS else min(31, 62 - core.accumulator_bits)
    registers = dict.fromkeys((name for name, _, _ in CORE_REGISTERS), 0) | {
        "kind": int(kind),
        "neurons": neurons,
        "i_shift": draw(st.one_of(st.just(0), number(0, shift_top, core.membrane_bits))),
        "requant_shift": draw(st.one_of(st.integers(0, core.decay_bits), number(0, 62))),
        "reset_mode": mode,
        "reset_timing": timing,
        "compare": compare,
        "max_output": draw(number(2, most) if several else st.just(1) if spiking else number(1, most)),
        "floor": draw(st.integers(0, 1)),
        "refractory": draw(st.sampled_from((0, 0, 0, 1, 2, 255))),
        "random_mask": draw(number(0, (1 << 31) - 1, 7)) if random else 0,
        "random_seed": draw(number(0, (1 << 32) - 1)),
    }  # fmt: skip
    power = st.integers(0, core.membrane_bits - 2).map(lambda place: 1 << place)
    activates = kind in (NeuronKind.RELU, NeuronKind.TABLE)
    factor_top = min(one, (1 << (62 - registers["requant_shift"])) - 1) if activates else one
    decay = number(0, factor_top, one // 2)
    thresholds = column(power if several else number(-top, top))
    memories = {
        "v_threshold": thresholds,
        "decay_mem": column(decay),
        "decay_syn": column(decay),
        "route_base": column(number(0, core.route_entries - 1)),
        "route_count": column(number(0, core.route_entries)),
    } | {
        name: [draw(st.one_of(st.just(value), number(-top - 1, top))) for value in thresholds]
        for name in ("v_reset", "v_init", "i_init", "bias")
    }
    table = []
    if kind == NeuronKind.TABLE:
        size = 1 << (core.activation_bits - 1)
        rng = np.random.default_rng(draw(st.integers(0, 1 << 20)))
        table = rng.integers(-size, most + 1, 256).tolist()
    steps = [
        Step(
            is_first=first,
            sums=column(st.one_of(st.just(0), number(-sum_top - 1, sum_top))),
            gaps=column(st.sampled_from((0, 0, 0, 1, 2, 9))),
        )
        for first in draw(st.sampled_from(((True, False, False, False), (False,), (True, True))))
    ]
    return Life(registers, memories, table, steps)
