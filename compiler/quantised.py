"""The network in the chip's integers: what quantisation makes and partition consumes."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from .graph import Network, Population

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class QuantisedPopulation:
    """One population in integers; arrays are (neurons,) int64, as the soma's memories hold them.

    ``scale`` (neurons,) float64 is what one unit of the membrane (after ``i_shift``) is worth in the network's units:
    ``v = scale * v_mem``. ``output_scale`` (neurons,) float64 is what one unit of the output is worth: 1 for spikes,
    the activation's scale for RELU and TABLE, ``scale`` for integrators. ``bias``, ``v_threshold``, ``v_reset``,
    ``v_init`` and ``i_init`` are in membrane units. ``max_payload`` bounds the magnitude of one output value.
    ``axon_signed`` says that the axons of its cores read two's complement values. ``table`` is (256,) int32 for
    TABLE, else None.
    """

    source: Population
    v_threshold: Ints
    v_reset: Ints
    v_init: Ints
    i_init: Ints
    bias: Ints
    decay_mem: Ints
    decay_syn: Ints
    weight_mode_bits: int
    i_shift: int
    requant_shift: int
    axon_signed: bool
    scale: NDArray[np.float64]
    output_scale: NDArray[np.float64]
    max_payload: int
    table: NDArray[np.int32] | None = None

    @property
    def name(self) -> str:
        """The population's name."""
        return self.source.name

    @property
    def size(self) -> int:
        """Neurons."""
        return self.source.size


@dataclass(frozen=True)
class QuantisedProjection:
    """A projection with integer weights: ``weight`` is CSR int32, (target neurons, source neurons)."""

    source: str
    target: str
    weight: sparse.csr_array
    delay: int


@dataclass(frozen=True)
class QuantisedInput:
    """An input as axon values: ``payload = round(value / scale)``, clipped to 0 or -max_payload .. max_payload."""

    name: str
    shape: tuple[int, ...]
    scale: float
    signed: bool
    max_payload: int


@dataclass(frozen=True)
class LayerLoss:
    """What quantisation cost one population.

    ``weight_error`` and ``membrane_error`` are root mean square errors relative to the root mean square of the
    exact values
    (the latter NaN without calibration data), ``output_mismatch`` the fraction of calibrated outputs that differ
    from the float network's.
    """

    name: str
    weight_bits: int
    weight_error: float
    decay_error: float
    clipped_inputs: float
    membrane_error: float
    output_mismatch: float


@dataclass(frozen=True)
class QuantisedNetwork:
    """Populations and projections in the order of ``network``, the inputs' payloads, and what each layer lost."""

    network: Network
    inputs: tuple[QuantisedInput, ...]
    populations: tuple[QuantisedPopulation, ...]
    projections: tuple[QuantisedProjection, ...]
    losses: tuple[LayerLoss, ...] = ()
    notes: tuple[str, ...] = field(default=())

    def population(self, name: str) -> QuantisedPopulation:
        """Return the population called ``name``; KeyError if there is none."""
        for population in self.populations:
            if population.name == name:
                return population
        raise KeyError(name)
