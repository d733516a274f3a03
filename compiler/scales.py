"""Weight scales: what one unit of each neuron's integer weights is worth, within its accumulator and membrane."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from ..chip.config import CoreConfig
from .graph import Floats, Population
from .reference_float import Activity

# A calibrated range is widened by this factor before widths are chosen.
MARGIN = 2.0


class QuantiseError(ValueError):
    """A network that the core's formats cannot hold; the message says which layer, why, and what to change."""


@dataclass(frozen=True)
class Source:
    """What one output of an input or population is worth (neurons,), and its largest magnitude in payload units."""

    scale: Floats
    max_payload: int
    signed: bool


def scaled_columns(weight: sparse.csr_array, scale: Floats) -> sparse.csr_array:
    """Return ``weight`` with each column multiplied by what one unit of its source is worth."""
    return sparse.csr_array(
        (weight.data * scale[weight.indices], weight.indices, weight.indptr),
        shape=weight.shape,
        copy=True,
    )


def _row_max(size: int, exact: list[sparse.csr_array]) -> Floats:
    largest = np.zeros(size)
    for weight in exact:
        if weight.nnz:
            np.maximum(largest, abs(weight).max(axis=1).toarray().ravel(), out=largest)
    return largest


def weight_units(
    population: Population,
    exact: list[sparse.csr_array],
    limit: int,
    bits: int,
    membrane_bits: int,
) -> Floats:
    """Return what one unit of each neuron's integer weights is worth, (neurons,).

    The largest weight becomes ``limit``; at 4 bits and fewer it may be clipped if that lowers the squared error.
    Weights on a grid of powers of two stay exact. The threshold of a neuron with tiny weights still fits a quarter of
    its membrane's range.
    """
    largest = _row_max(population.size, exact)
    silent = largest == 0
    base = np.where(silent, np.maximum(np.abs(population.threshold), 1e-12), largest) / limit
    base = np.maximum(base, 4.0 * np.abs(population.threshold) / 2.0 ** (membrane_bits - 1))
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


def largest_sums(
    size: int, exact: list[sparse.csr_array], sources: list[Source], unit: Floats, limit: int
) -> Floats:
    """Return the largest magnitude that each neuron's sum of rounded weights can reach, (neurons,)."""
    positive, negative = np.zeros(size), np.zeros(size)
    for weight, source in zip(exact, sources, strict=True):
        rows = np.repeat(np.arange(size), np.diff(weight.indptr))
        integer = np.clip(np.rint(weight.data / unit[rows]), -limit, limit) * source.max_payload
        up = np.bincount(rows, np.maximum(integer, 0), minlength=size)
        down = np.bincount(rows, np.maximum(-integer, 0), minlength=size)
        positive += up + (down if source.signed else 0)
        negative += down + (up if source.signed else 0)
    return np.maximum(positive, negative)


def fit_accumulator(
    population: Population,
    unit: Floats,
    exact: list[sparse.csr_array],
    sources: list[Source],
    activity: Activity | None,
    core: CoreConfig,
    limit: int,
    notes: list[str],
) -> Floats:
    """Return coarser units where a neuron's largest sum would leave the accumulator, which wraps.

    Sums that no calibration sample came near, by a factor of four, are left alone, with a note.

    Raises
    ------
    QuantiseError
        If a neuron of several spikes a timestep would need it, since its unit is bound to its threshold; or if no unit
        is coarse enough.
    """
    room = float((1 << (core.accumulator_bits - 1)) - 1)
    largest = largest_sums(population.size, exact, sources, unit, limit)
    over = largest > room
    if not over.any():
        return unit
    if activity is not None and np.all(2 * MARGIN * activity.max_input / unit <= room):
        notes.append(
            f"{population.name}: {int(over.sum())} sums could leave the accumulator's {core.accumulator_bits} bits "
            "with inputs that the calibration data does not hold; the largest seen has a fourfold margin"
        )
        return unit
    too_narrow = QuantiseError(
        f"{population.name}: sums need more than {core.accumulator_bits} accumulator_bits; "
        "widen them in the chip's configuration"
    )
    if population.max_spikes > 1:
        raise too_narrow
    notes.append(
        f"{population.name}: weights of {int(over.sum())} neurons are coarser so that their sums fit the accumulator's "
        f"{core.accumulator_bits} bits"
    )
    for _ in range(200):  # rounding may undo a step, so that steps are repeated
        unit = np.where(largest > room, unit * np.maximum(largest / room, 1.05), unit)
        largest = largest_sums(population.size, exact, sources, unit, limit)
        if not np.any(largest > room):
            return unit
    raise too_narrow
