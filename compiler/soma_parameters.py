"""The soma's integers: thresholds, biases, decays and resets in the unit of each neuron's membrane."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..chip.arithmetic import NeuronKind
from ..chip.config import CoreConfig
from .graph import Floats, Population
from .quantised import QuantisedPopulation
from .reference_float import Activity
from .scales import MARGIN, Source

Ints = NDArray[np.int64]

# Without calibration a membrane is taken to gather its worst input over at most so many timesteps.
_GATHERED = 16.0
_FUNCTIONS = {"sigmoid": lambda x: 1.0 / (1.0 + np.exp(-x)), "tanh": np.tanh}


def soma_parameters(
    population: Population,
    unit: Floats,
    largest_sum: Floats,
    activity: Activity | None,
    sources: dict[str, Source],
    core: CoreConfig,
    bits: int,
    axon_signed: bool,
    notes: list[str],
) -> QuantisedPopulation:
    """Return a population's registers and memories, given what one unit of its weights is worth."""
    own = sources[population.name]
    zero = np.zeros(population.size, dtype=np.int64)
    top = (1 << (core.membrane_bits - 1)) - 1
    if population.kind in (NeuronKind.RELU, NeuronKind.TABLE):
        target = float(own.scale[0])
        table = None
        if population.kind == NeuronKind.TABLE:
            reach = (
                8.0 if activity is None else max(float(activity.max_input.max(initial=0.0)), 1e-9)
            )
            target = reach / 127.0
            x = np.where(np.arange(256) < 128, np.arange(256), np.arange(256) - 256) * target
            table = np.rint(_FUNCTIONS[population.activation](x) / own.scale[0]).astype(np.int32)
        ratio = unit / target
        shift = int(np.clip(np.floor(core.decay_bits - np.log2(ratio.max())), 0, 62))
        factor = np.minimum(np.rint(ratio * 2.0**shift), 1 << core.decay_bits).astype(np.int64)
        bias = np.clip(np.rint(population.bias / unit), -top - 1, top).astype(np.int64)
        return QuantisedPopulation(
            population, zero, zero, zero, zero, bias, factor, zero, bits, 0, shift, axon_signed, unit, own.scale,
            own.max_payload, table,
        )  # fmt: skip
    i_shift = _membrane_shift(population, unit, largest_sum, activity, core, notes)
    step = unit * 2.0**-i_shift

    def integer(values: Floats) -> Ints:
        return np.clip(np.rint(values / step), -top, top).astype(np.int64)

    one = float(1 << core.decay_bits)
    decay_mem = np.rint(population.decay_mem * one).astype(np.int64)
    decay_syn = np.rint(population.decay_syn * one).astype(np.int64)
    return QuantisedPopulation(
        population,
        v_threshold=integer(population.threshold),
        v_reset=integer(population.v_reset),
        v_init=_initial(population.v_init, population.decay_mem, decay_mem, step, one, top),
        i_init=_initial(population.i_init, population.decay_syn, decay_syn, step, one, top),
        bias=integer(population.bias),
        decay_mem=decay_mem,
        decay_syn=decay_syn,
        weight_mode_bits=bits,
        i_shift=i_shift,
        requant_shift=0,
        axon_signed=axon_signed,
        scale=step,
        output_scale=own.scale if population.spiking else step,
        max_payload=own.max_payload,
    )


def _initial(
    values: Floats, decay: Floats, factor: Ints, step: Floats, one: float, top: int
) -> Ints:
    """Return initial states whose first decay gives the rounded exact value, so that a bias is cancelled exactly."""
    wanted = np.rint(values * decay / step)
    made = np.where(
        factor > 0, np.rint(wanted * one / np.maximum(factor, 1)), np.rint(values / step)
    )
    return np.clip(made, -top - 1, top).astype(np.int64)


def _membrane_shift(
    population: Population,
    unit: Floats,
    largest_sum: Floats,
    activity: Activity | None,
    core: CoreConfig,
    notes: list[str],
) -> int:
    """Return how many fractional bits the membrane has beyond a weight's unit: as many as its range leaves room for."""
    if activity is not None:
        seen = np.maximum.reduce(
            [np.abs(activity.low), np.abs(activity.high), activity.max_current]
        )
        margin = MARGIN
    else:
        gathered = np.minimum(_GATHERED, 1.0 / np.maximum(1.0 - population.decay_mem, 1e-9))
        gathered *= np.minimum(_GATHERED, 1.0 / np.maximum(1.0 - population.decay_syn, 1e-9))
        seen = largest_sum * unit * gathered
        margin = 1.0
    stored = (
        population.threshold,
        population.v_reset,
        population.v_init,
        population.i_init,
        population.bias,
    )
    reach = np.maximum.reduce([seen, *(np.abs(values) for values in stored)])
    top = float((1 << (core.membrane_bits - 1)) - 1)
    largest = float(np.max(reach / unit, initial=1.0))
    room = int(np.floor(np.log2(top / (margin * largest))))
    if activity is not None:
        _note_saturation(population, unit, activity, core, top, notes)
    return max(0, min(room, 31, 62 - core.accumulator_bits))


def _note_saturation(
    population: Population,
    unit: Floats,
    activity: Activity,
    core: CoreConfig,
    top: float,
    notes: list[str],
) -> None:
    """Say which membranes left their range with the calibration data, above or only below."""
    above = int(np.sum(np.maximum(activity.high, activity.max_current) / unit > top))
    below = int(np.sum(-activity.low / unit > top))
    if above:
        notes.append(
            f"{population.name}: {above} membranes exceed their {core.membrane_bits} bits and saturate; "
            "widen membrane_bits"
        )
    elif below:
        notes.append(
            f"{population.name}: {below} membranes, far below their thresholds, stop at the lower end of their "
            f"{core.membrane_bits} bits"
        )
