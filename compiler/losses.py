"""What quantisation costs each layer: weights, decays, and with calibration data membranes and outputs."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from ..chip.config import ChipConfig
from .graph import Floats
from .quantised import LayerLoss, QuantisedNetwork, QuantisedPopulation
from .reference_float import run_float
from .reference_integer import quantise_inputs, run_integer

# Calibration samples that are compared, so that large networks stay quick.
_SAMPLES = 16


def measure_losses(
    quantised: QuantisedNetwork,
    config: ChipConfig,
    scales: dict[str, Floats],
    calibration: Floats | None,
) -> tuple[LayerLoss, ...]:
    """Compare each population with its float original; ``scales`` says what one unit of each source is worth."""
    names = [population.name for population in quantised.populations]
    mismatch, error = dict.fromkeys(names, float("nan")), dict.fromkeys(names, float("nan"))
    clipped = 0.0
    if calibration is not None:
        some = calibration[:_SAMPLES]
        clipped = _clipped(quantised, some)
        real = run_float(quantised.network, some, record=names)
        chip = run_integer(quantised, config, some, record=names)
        for population in quantised.populations:
            name = population.name
            got = chip.recorded[name] * population.output_scale
            want = real.recorded[name]
            error[name] = _relative(got - want, want)
            if population.source.spiking:
                mismatch[name] = float(np.mean(got != want))
    return tuple(
        LayerLoss(
            name=population.name,
            weight_bits=population.weight_mode_bits,
            weight_error=_weight_error(quantised, population, scales, config),
            decay_error=_decay_error(population, config),
            clipped_inputs=clipped,
            membrane_error=error[population.name],
            output_mismatch=mismatch[population.name],
        )
        for population in quantised.populations
    )


def _clipped(quantised: QuantisedNetwork, inputs: Floats) -> float:
    payloads = quantise_inputs(quantised, inputs)
    scale = np.concatenate(
        [np.full(int(np.prod(item.shape)), item.scale) for item in quantised.inputs]
    )
    return float(np.mean(np.abs(payloads * scale - inputs) > 0.5001 * scale))


def _relative(difference: Floats, exact: Floats) -> float:
    size = float(np.sqrt(np.mean(np.square(exact))))
    return 0.0 if size == 0.0 else float(np.sqrt(np.mean(np.square(difference)))) / size


def _weight_error(
    quantised: QuantisedNetwork,
    population: QuantisedPopulation,
    scales: dict[str, Floats],
    config: ChipConfig,
) -> float:
    unit = population.scale * 2.0**population.i_shift
    lost = whole = 0.0
    pairs = zip(quantised.network.projections, quantised.projections, strict=True)
    for exact, made in pairs:
        if exact.target != population.name:
            continue
        real = exact.weight.copy()
        real.data = real.data * scales[exact.source][real.indices]
        integer = made.weight
        values = integer.data * np.repeat(unit, np.diff(integer.indptr))
        back = sparse.csr_array(
            (values, integer.indices, integer.indptr), shape=integer.shape, copy=True
        )
        lost += float(np.square((real - back).data).sum())
        whole += float(np.square(real.data).sum())
    return 0.0 if whole == 0.0 else float(np.sqrt(lost / whole))


def _decay_error(population: QuantisedPopulation, config: ChipConfig) -> float:
    if population.requant_shift or population.table is not None:
        return 0.0
    one = float(1 << config.many_core.core.decay_bits)
    return float(
        max(
            np.abs(population.decay_mem / one - population.source.decay_mem).max(initial=0.0),
            np.abs(population.decay_syn / one - population.source.decay_syn).max(initial=0.0),
        )
    )
