"""Quantisation: weights, thresholds, decays and inputs to the core's integers, and what each layer loses by it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..chip.arithmetic import NeuronKind
from ..chip.config import ChipConfig, CoreConfig
from .graph import Floats, Input, Network, Population, Projection
from .losses import measure_losses
from .quantised import QuantisedInput, QuantisedNetwork, QuantisedPopulation, QuantisedProjection
from .reference_float import Activity, run_float
from .scales import (
    QuantiseError,
    Source,
    fit_accumulator,
    largest_sums,
    scaled_columns,
    weight_units,
)
from .soma_parameters import soma_parameters

Ints = NDArray[np.int64]


def quantise(
    network: Network,
    config: ChipConfig,
    calibration: Floats | None = None,
    *,
    weight_bits: int | None = None,
    ternary: bool = False,
) -> QuantisedNetwork:
    """Bring a network to the integers of ``config``'s cores.

    Every neuron has a weight scale of its own: its threshold, bias and membrane live in the same unit, and spikes
    are 1 whatever the scale.

    Parameters
    ----------
    calibration
        (samples, timesteps, inputs): real inputs that show the ranges of inputs and membranes.
    weight_bits, ternary
        Packed weights of 4 or 2 bits, or -1, 0, 1 in 2 bits; by default the core's full width.

    Raises
    ------
    QuantiseError
        Calibration data of a wrong shape or not finite, a width that the core does not have, a threshold of several
        spikes a timestep below one unit of the membrane.
    """
    core = config.many_core.core
    bits = 2 if ternary else core.weight_bits if weight_bits is None else weight_bits
    if bits not in (core.weight_bits, 4, 2) or core.weight_bits % bits:
        raise QuantiseError(
            f"weight_bits must be {core.weight_bits}, 4 or 2 on this chip, not {bits}"
        )
    limit = 1 if ternary else (1 << (bits - 1)) - 1
    _check_calibration(network, calibration)
    activity = {} if calibration is None else run_float(network, calibration).activity
    notes: list[str] = []
    inputs = _inputs(network, core, calibration, notes)
    signed = _signed_targets(network, {item.name for item in inputs if item.signed})
    sources = {item.name: Source(np.full(item.size, q.scale), q.max_payload, q.signed)
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
    scales = {name: source.scale for name, source in sources.items()}
    return replace(quantised, losses=measure_losses(quantised, config, scales, calibration))


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
    ends = np.cumsum([0, *(item.size for item in network.inputs)])
    values: dict[str, Floats | None] = {
        item.name: None if calibration is None else calibration[:, :, first:last]
        for item, first, last in zip(network.inputs, ends, ends[1:], strict=False)
    }
    negative = {name for name, seen in values.items() if seen is not None and seen.min() < 0}
    signed = _signed_targets(network, negative)
    return [
        _input(network, item, core, values[item.name], item.name in negative, signed, notes)
        for item in network.inputs
    ]


def _input(
    network: Network,
    item: Input,
    core: CoreConfig,
    values: Floats | None,
    is_signed: bool,
    signed_targets: dict[str, bool],
    notes: list[str],
) -> QuantisedInput:
    beside_signed = any(
        signed_targets[p.target] for p in network.projections if p.source == item.name
    )
    most = (1 << (core.activation_bits - (1 if is_signed or beside_signed else 0))) - 1
    if values is None:
        notes.append(
            f"input {item.name}: without calibration data its values are taken to lie within 0 to 1; "
            "give --calibrate if they do not"
        )
        return QuantisedInput(item.name, item.shape, 1.0 / most, False, most)
    largest = float(np.abs(values).max())
    if largest == 0.0:
        return QuantisedInput(item.name, item.shape, 1.0, is_signed, most)
    if largest <= most and np.array_equal(values, np.rint(values)):
        return QuantisedInput(item.name, item.shape, 1.0, is_signed, most)
    for steps in (255, 15, 16, 127, 128, 3, 100):  # grids of images and of small counts
        grid = values * steps
        if largest * steps <= most + 0.5 and np.allclose(grid, np.rint(grid), atol=1e-4):
            return QuantisedInput(item.name, item.shape, 1.0 / steps, is_signed, most)
    return QuantisedInput(item.name, item.shape, largest / most, is_signed, most)


def _may_be_negative(network: Network, name: str) -> bool:
    return any(
        p.name == name and p.kind == NeuronKind.TABLE and p.activation == "tanh"
        for p in network.populations
    )


def _signed_targets(network: Network, negative_inputs: set[str]) -> dict[str, bool]:
    """Return of each population whether something that feeds it may be negative."""
    negative = negative_inputs | {
        p.name for p in network.populations if _may_be_negative(network, p.name)
    }
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
) -> Source:
    feeds_signed = any(signed[p.target] for p in network.projections if p.source == population.name)
    most = (1 << (core.activation_bits - (1 if feeds_signed else 0))) - 1
    if population.spiking:
        return Source(np.ones(population.size), min(population.max_spikes, most), False)
    if population.kind == NeuronKind.RELU:
        if activity is None:
            notes.append(
                f"{population.name}: without calibration data activations are taken to reach 1"
            )
        largest = 1.0 if activity is None else max(float(activity.high.max(initial=0.0)), 1e-9)
        return Source(np.full(population.size, largest / most), most, False)
    if population.kind == NeuronKind.TABLE:
        negative = _may_be_negative(network, population.name)
        most = (1 << (core.activation_bits - 1)) - 1 if negative else most
        return Source(np.full(population.size, 1.0 / most), most, negative)
    return Source(np.ones(population.size), (1 << (core.membrane_bits - 1)) - 1, True)


def _population(
    network: Network,
    population: Population,
    sources: dict[str, Source],
    activity: Activity | None,
    core: CoreConfig,
    bits: int,
    limit: int,
    axon_signed: bool,
    notes: list[str],
) -> tuple[QuantisedPopulation, list[tuple[Projection, QuantisedProjection]]]:
    into = network.into(population.name)
    exact = [scaled_columns(p.weight, sources[p.source].scale) for p in into]
    unit = weight_units(population, exact, limit, bits, core.membrane_bits)
    feeding = [sources[p.source] for p in into]
    unit = fit_accumulator(population, unit, exact, feeding, activity, core, limit, notes)
    largest_sum = largest_sums(population.size, exact, feeding, unit, limit)
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
    soma = soma_parameters(
        population, unit, largest_sum, activity, sources, core, bits, axon_signed, notes
    )
    if population.max_spikes > 1 and soma.v_threshold.min(initial=1) < 1:
        raise QuantiseError(
            f"{population.name}: a threshold is below one unit of the membrane, so small is it beside the weights; "
            f"widen membrane_bits ({core.membrane_bits}) in the chip's configuration"
        )
    return _within_64_bits(soma), made


def _within_64_bits(population: QuantisedPopulation) -> QuantisedPopulation:
    """Return RELU and TABLE factors without the bits that would take `scale_round`'s products beyond int64.

    A remainder below ``2**requant_shift`` is multiplied by the factor; each bit dropped lowers both exponents.
    """
    if population.source.kind not in (NeuronKind.RELU, NeuronKind.TABLE):
        return population
    factor_bits = int(population.decay_mem.max(initial=0)).bit_length()
    drop = max(0, -(-(population.requant_shift + factor_bits - 62) // 2))
    factor = np.rint(population.decay_mem / 2.0**drop).astype(np.int64)
    return replace(population, decay_mem=factor, requant_shift=population.requant_shift - drop)
