"""Quantisation: weights, thresholds, decays and inputs to the core's integers, and what each layer loses by it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ..chip.arithmetic import NeuronKind
from ..chip.config import ChipConfig, CoreConfig
from .graph import Floats, Input, Network, Population, Projection
from .losses import measure_losses
from .quantised import QuantisedInput, QuantisedNetwork, QuantisedPopulation, QuantisedProjection
from .reference_float import Activity, run_float

Ints = NDArray[np.int64]

# A calibrated range is widened by this factor before widths are chosen.
MARGIN = 2.0
# Without calibration a membrane is taken to gather its worst input over at most so many timesteps.
_GATHERED = 16.0
_FUNCTIONS = {"sigmoid": lambda x: 1.0 / (1.0 + np.exp(-x)), "tanh": np.tanh}


class QuantiseError(ValueError):
    """A network that the core's formats cannot hold; the message says which layer, why, and what to change."""


@dataclass(frozen=True)
class _Source:
    """What one output of an input or population is worth (neurons,), and its largest magnitude in payload units."""

    scale: Floats
    max_payload: int
    signed: bool


def quantise(
    network: Network,
    config: ChipConfig,
    calibration: Floats | None = None,
    *,
    weight_bits: int | None = None,
    ternary: bool = False,
    seed: int = 0,
) -> QuantisedNetwork:
    """Bring a network to the integers of ``config``'s cores.

    Every neuron has a weight scale of its own: its threshold, bias and membrane live in the same unit, and spikes
    are 1 whatever
    the scale. Nothing is drawn at random; ``seed`` is accepted so that passes share a signature.

    Parameters
    ----------
    calibration
        (samples, timesteps, inputs): real inputs that show the ranges of inputs and membranes.
    weight_bits, ternary
        Packed weights of 4 or 2 bits, or -1, 0, 1 in 2 bits; by default the core's full width.

    Raises
    ------
    QuantiseError
        Calibration data of a wrong shape or not finite, a width that the core does not have.
    """
    core = config.many_core.core
    bits = 2 if ternary else weight_bits or core.weight_bits
    if bits not in (core.weight_bits, 4, 2) or core.weight_bits % bits:
        raise QuantiseError(
            f"weight_bits must be {core.weight_bits}, 4 or 2 on this chip, not {bits}"
        )
    limit = 1 if ternary else (1 << (bits - 1)) - 1
    _check_calibration(network, calibration)
    activity = {} if calibration is None else run_float(network, calibration).activity
    notes: list[str] = []
    inputs = _inputs(network, core, calibration, notes)
    signed = _signed_targets(network, inputs)
    sources = {item.name: _Source(np.full(item.size, q.scale), q.max_payload, q.signed)
               for item, q in zip(network.inputs, inputs, strict=True)}  # fmt: skip
    for population in network.populations:
        sources[population.name] = _output(
            network, population, activity.get(population.name), core, signed, notes
        )
    populations, projections = [], []
    for population in network.populations:
        made, rows = _population(
            network, population, sources, activity.get(population.name), core, bits, limit,
            signed[population.name], notes,
        )  # fmt: skip
        populations.append(made)
        projections += rows
    order = {id(p): i for i, p in enumerate(network.projections)}
    projections.sort(key=lambda pair: order[id(pair[0])])
    quantised = QuantisedNetwork(
        network,
        tuple(inputs),
        tuple(populations),
        tuple(q for _, q in projections),
        (),
        tuple(notes),
    )
    losses = measure_losses(quantised, config, sources_scale(sources), calibration)
    return QuantisedNetwork(
        network,
        quantised.inputs,
        quantised.populations,
        quantised.projections,
        losses,
        quantised.notes,
    )


def sources_scale(sources: dict[str, _Source]) -> dict[str, Floats]:
    """Return what one unit of each source's output is worth."""
    return {name: source.scale for name, source in sources.items()}


def _check_calibration(network: Network, calibration: Floats | None) -> None:
    if calibration is None:
        return
    width = sum(item.size for item in network.inputs)
    if calibration.ndim != 3 or calibration.shape[2] != width or 0 in calibration.shape:
        raise QuantiseError(
            f"calibration data must be (samples, timesteps, {width}), not {calibration.shape}"
        )
    if not np.isfinite(calibration).all():
        raise QuantiseError("calibration data holds values that are not finite numbers")


def _inputs(
    network: Network, core: CoreConfig, calibration: Floats | None, notes: list[str]
) -> list[QuantisedInput]:
    made, start = [], 0
    for item in network.inputs:
        stop = start + item.size
        values = None if calibration is None else calibration[:, :, start:stop]
        start = stop
        made.append(_input(network, item, core, values, notes))
    return made


def _input(
    network: Network, item: Input, core: CoreConfig, values: Floats | None, notes: list[str]
) -> QuantisedInput:
    high = (1 << core.activation_bits) - 1
    half = (1 << (core.activation_bits - 1)) - 1
    if values is None:
        notes.append(
            f"input {item.name}: without calibration data its values are taken to lie within 0 to 1; "
            "give --calibrate if they do not"
        )
        return QuantisedInput(item.name, item.shape, 1.0 / high, False, high)
    largest = float(np.abs(values).max())
    signed = bool(values.min() < 0)
    beside_signed = any(
        projection.source != item.name and _may_be_negative(network, projection.source)
        for target in {p.target for p in network.projections if p.source == item.name}
        for projection in network.into(target)
    )
    most = half if signed or beside_signed else high
    if largest == 0.0:
        return QuantisedInput(item.name, item.shape, 1.0, signed, most)
    if largest <= most and np.array_equal(values, np.rint(values)):
        return QuantisedInput(item.name, item.shape, 1.0, signed, most)
    for steps in (255, 15, 16, 127, 128, 3, 100):  # grids of images and of small counts
        grid = values * steps
        if largest * steps <= most + 0.5 and np.allclose(grid, np.rint(grid), atol=1e-4):
            return QuantisedInput(item.name, item.shape, 1.0 / steps, signed, most)
    return QuantisedInput(item.name, item.shape, largest / most, signed, most)


def _may_be_negative(network: Network, name: str) -> bool:
    return any(
        p.name == name and p.kind == NeuronKind.TABLE and p.activation == "tanh"
        for p in network.populations
    )


def _signed_targets(network: Network, inputs: list[QuantisedInput]) -> dict[str, bool]:
    negative = {item.name for item in inputs if item.signed}
    negative |= {p.name for p in network.populations if _may_be_negative(network, p.name)}
    return {
        p.name: any(projection.source in negative for projection in network.into(p.name))
        for p in network.populations
    }


def _output(
    network: Network,
    population: Population,
    activity: Activity | None,
    core: CoreConfig,
    signed: dict[str, bool],
    notes: list[str],
) -> _Source:
    feeds_signed = any(signed[p.target] for p in network.projections if p.source == population.name)
    most = (1 << (core.activation_bits - (1 if feeds_signed else 0))) - 1
    if population.spiking:
        return _Source(np.ones(population.size), min(population.max_spikes, most), False)
    if population.kind == NeuronKind.RELU:
        if activity is None:
            notes.append(
                f"{population.name}: without calibration data activations are taken to reach 1"
            )
        largest = 1.0 if activity is None else max(float(activity.high.max(initial=0.0)), 1e-9)
        return _Source(np.full(population.size, largest / most), most, False)
    if population.kind == NeuronKind.TABLE:
        negative = _may_be_negative(network, population.name)
        most = (1 << (core.activation_bits - 1)) - 1 if negative else most
        return _Source(np.full(population.size, 1.0 / most), most, negative)
    return _Source(np.ones(population.size), (1 << (core.membrane_bits - 1)) - 1, True)


def _population(
    network: Network,
    population: Population,
    sources: dict[str, _Source],
    activity: Activity | None,
    core: CoreConfig,
    bits: int,
    limit: int,
    axon_signed: bool,
    notes: list[str],
) -> tuple[QuantisedPopulation, list[tuple[Projection, QuantisedProjection]]]:
    into = network.into(population.name)
    exact = [_scaled_columns(p.weight, sources[p.source].scale) for p in into]
    unit = _units(population, exact, limit, bits)
    largest_sum = _largest_sum(population.size, exact, [sources[p.source] for p in into], unit)
    unit = _fit_accumulator(population, unit, largest_sum, activity, core, notes)
    made = []
    for projection, weight in zip(into, exact, strict=True):
        scaled = weight.copy()
        scaled.data = np.clip(
            np.rint(weight.data / np.repeat(unit, np.diff(weight.indptr))), -limit, limit
        )
        integer = scaled.astype(np.int32)
        integer.eliminate_zeros()
        made.append(
            (
                projection,
                QuantisedProjection(
                    projection.source, projection.target, integer, projection.delay
                ),
            )
        )
    return _parameters(
        population, unit, largest_sum, activity, sources, core, bits, axon_signed, notes
    ), made


def _scaled_columns(weight: sparse.csr_array, scale: Floats) -> sparse.csr_array:
    """Return ``weight`` with each column multiplied by what one unit of its source is worth."""
    return sparse.csr_array(
        (weight.data * scale[weight.indices], weight.indices, weight.indptr), shape=weight.shape
    )


def _row_max(size: int, exact: list[sparse.csr_array]) -> Floats:
    largest = np.zeros(size)
    for weight in exact:
        if weight.nnz:
            np.maximum(largest, abs(weight).max(axis=1).toarray().ravel(), out=largest)
    return largest


def _units(population: Population, exact: list[sparse.csr_array], limit: int, bits: int) -> Floats:
    """Return what one unit of each neuron's integer weights is worth, (neurons,)."""
    largest = _row_max(population.size, exact)
    silent = largest == 0
    base = np.where(silent, np.maximum(np.abs(population.threshold), 1e-12), largest) / limit
    if population.max_spikes > 1:  # the threshold must be a power of two
        steps = np.floor(np.log2(population.threshold / base))
        return population.threshold * 2.0**-steps
    if bits <= 4:
        base = _least_squares(base, exact, limit)
    power = 2.0 ** np.ceil(np.log2(base) - 1e-12)
    off = np.zeros(population.size)
    for weight in exact:
        grid = weight.data / np.repeat(power, np.diff(weight.indptr))
        rows = np.repeat(np.arange(population.size), np.diff(weight.indptr))
        np.maximum.at(off, rows, np.abs(grid - np.rint(grid)))
    return np.where(
        (off < 1e-9) & ~silent, power, base
    )  # weights on a grid of powers of two stay exact


def _least_squares(base: Floats, exact: list[sparse.csr_array], limit: int) -> Floats:
    """Return the unit a row, of some that clip its largest weights, with the least squared error."""
    best, least = base, np.full(len(base), np.inf)
    for ratio in np.linspace(0.2, 1.0, 33):
        unit, error = base * ratio, np.zeros(len(base))
        for weight in exact:
            rows = np.repeat(np.arange(len(base)), np.diff(weight.indptr))
            made = np.clip(np.rint(weight.data / unit[rows]), -limit, limit) * unit[rows]
            error += np.bincount(rows, (made - weight.data) ** 2, minlength=len(base))
        best = np.where(error < least, unit, best)
        least = np.minimum(error, least)
    return best


def _largest_sum(
    size: int, exact: list[sparse.csr_array], sources: list[_Source], unit: Floats
) -> Floats:
    """Return the largest magnitude that each neuron's integer sum can reach, (neurons,)."""
    positive, negative = np.zeros(size), np.zeros(size)
    for weight, source in zip(exact, sources, strict=True):
        up = weight.maximum(0).sum(axis=1) * source.max_payload
        down = -weight.minimum(0).sum(axis=1) * source.max_payload
        positive += up + (down if source.signed else 0)
        negative += down + (up if source.signed else 0)
    return np.maximum(positive, negative) / unit


def _fit_accumulator(
    population: Population,
    unit: Floats,
    largest_sum: Floats,
    activity: Activity | None,
    core: CoreConfig,
    notes: list[str],
) -> Floats:
    room = float((1 << (core.accumulator_bits - 1)) - 1)
    over = largest_sum > room
    if not over.any():
        return unit
    if activity is not None and np.all(2 * MARGIN * activity.max_input / unit <= room):
        notes.append(
            f"{population.name}: {int(over.sum())} sums could leave the accumulator's {core.accumulator_bits} bits with inputs that the "
            "calibration data does not hold; the largest seen has a fourfold margin"
        )
        return unit
    if population.max_spikes > 1:
        raise QuantiseError(
            f"{population.name}: sums need more than {core.accumulator_bits} accumulator_bits; widen them in the chip's configuration"
        )
    notes.append(
        f"{population.name}: weights of {int(over.sum())} neurons are coarser so that their sums fit the accumulator's "
        f"{core.accumulator_bits} bits"
    )
    return np.where(over, unit * largest_sum / room, unit)


def _parameters(
    population: Population,
    unit: Floats,
    largest_sum: Floats,
    activity: Activity | None,
    sources: dict[str, _Source],
    core: CoreConfig,
    bits: int,
    axon_signed: bool,
    notes: list[str],
) -> QuantisedPopulation:
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
        return np.clip(np.rint(values / step), -top - 1, top).astype(np.int64)

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
    """Return initial states whose first decay gives the rounded exact value: a bias that is to be cancelled is, exactly."""
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
        reach = MARGIN * np.maximum.reduce(
            [np.abs(activity.low), np.abs(activity.high), activity.max_current]
        )
    else:
        gathered = np.minimum(_GATHERED, 1.0 / np.maximum(1.0 - population.decay_mem, 1e-9))
        gathered *= np.minimum(_GATHERED, 1.0 / np.maximum(1.0 - population.decay_syn, 1e-9))
        reach = largest_sum * unit * gathered
    for values in (
        population.threshold,
        population.v_reset,
        population.v_init,
        population.i_init,
        population.bias,
    ):
        reach = np.maximum(reach, 1.01 * np.abs(values))
    top = float((1 << (core.membrane_bits - 1)) - 1)
    largest = float(np.max(reach / unit, initial=1.0))
    room = int(np.floor(np.log2(top / largest)))
    if room < 0:
        notes.append(
            f"{population.name}: membranes may leave their {core.membrane_bits} bits and saturate; widen membrane_bits to "
            f"{core.membrane_bits - room}"
        )
    return max(0, min(room, 31, 62 - core.accumulator_bits))
