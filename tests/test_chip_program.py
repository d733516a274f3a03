"""Programs that the check refuses because of what their cores' somas would have to count."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from spikeloom.chip.arithmetic import NeuronKind, ResetMode, ResetTiming
from spikeloom.chip.config import load_config
from spikeloom.chip.program import (
    NEURON_MEMORIES,
    REGISTER_INDEX,
    ManyCoreProgram,
    ProgramError,
    check_program,
)

from .support.wires import wire_program

CONFIG = load_config("tiny")
TOP = (1 << (CONFIG.many_core.core.membrane_bits - 1)) - 1


def one_core(config=CONFIG, **changes: int) -> ManyCoreProgram:
    """Return a program whose first core has the registers and the memories of its first neuron changed."""
    program = wire_program(config, [((0, 0), (1, 0))])
    for name, value in changes.items():
        if name in NEURON_MEMORIES:
            getattr(program, name)[0, 0] = value
        else:
            program.registers[0, REGISTER_INDEX[name]] = value
    if changes.get("kind") == NeuronKind.TABLE:
        program = replace(program, table=np.zeros((program.core_count, 256), dtype=np.int32))
    return program


MULTI = {"max_output": 4, "v_threshold": 8, "reset_mode": ResetMode.SUBTRACT}


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": NeuronKind.RELU, "i_shift": 7},
        {"kind": NeuronKind.TABLE, "i_shift": 7},
        {"kind": NeuronKind.LIF, "i_shift": 31},
        {"kind": NeuronKind.PARTIAL, "i_shift": 31},
        {"v_threshold": -TOP},
        {"v_threshold": TOP},
        {"v_reset": -TOP - 1, "v_init": -TOP - 1, "i_init": -TOP - 1, "bias": -TOP - 1},
        MULTI,
        {"kind": NeuronKind.CUBA_LIF, "random_mask": 255},
        {"kind": NeuronKind.RELU, "max_output": 255, "random_mask": 255},
        {"kind": NeuronKind.INTEGRATOR, "max_output": 255, "random_mask": 255},
        {"kind": NeuronKind.TABLE, "requant_shift": 50, "decay_mem": (1 << 12) - 1},
        {"kind": NeuronKind.TABLE, "requant_shift": 62, "decay_mem": 0},
    ],
)
def test_programs_at_the_limits_pass(changes):
    check_program(one_core(**changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"kind": NeuronKind.RELU, "i_shift": 8},
            r"i_shift of a RELU or TABLE core\[0\] must be within 0..7, not 8",
        ),
        ({"kind": NeuronKind.TABLE, "i_shift": 8}, "i_shift of a RELU or TABLE core"),
        ({"v_threshold": -TOP - 1}, r"v_threshold\[0, 0\] must be within -8388607..8388607"),
        ({"v_threshold": TOP + 1}, r"v_threshold\[0, 0\] must be within"),
        ({"v_reset": TOP + 1}, "v_reset"),
        (MULTI | {"random_mask": 1}, "cannot have a random threshold"),
        (MULTI | {"kind": NeuronKind.CUBA_LIF, "random_mask": 1}, "cannot have a random threshold"),
        (MULTI | {"v_threshold": 7}, "needs a threshold that is a power of two"),
        (MULTI | {"v_threshold": 0}, "needs a threshold that is a power of two"),
        (MULTI | {"reset_mode": ResetMode.ZERO}, "need a subtracting reset"),
        (MULTI | {"reset_timing": ResetTiming.NEXT}, "in the same timestep"),
        ({"random_mask": 1, "reset_timing": ResetTiming.NEXT}, "in the same timestep"),
        (
            {"kind": NeuronKind.TABLE, "requant_shift": 50, "decay_mem": 1 << 12},
            r"requant_shift \+ bits of decay_mem of a RELU or TABLE core\[0, 0\] must be within 0..62, not 63",
        ),
    ],
)
def test_what_a_soma_cannot_count_is_refused(changes, message):
    with pytest.raises(ProgramError, match=message):
        check_program(one_core(**changes))


def test_a_shifted_sum_fits_the_simulator_s_integers():
    wide = CONFIG.replace(core={"accumulator_bits": 50})
    check_program(one_core(wide, i_shift=12))
    with pytest.raises(
        ProgramError, match=r"accumulator_bits \+ i_shift\[0\] must be within 0..62, not 63"
    ):
        check_program(one_core(wide, i_shift=13))
