"""Quantised networks by hand: small integer networks for tests of the compiler's back half and the simulator."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import sparse

from spikeloom.chip.arithmetic import NeuronKind
from spikeloom.compiler.graph import Input, Network, Projection, uniform_population
from spikeloom.compiler.quantised import (
    QuantisedInput,
    QuantisedNetwork,
    QuantisedPopulation,
    QuantisedProjection,
)


class QuantisedBuilder:
    """Collects inputs, populations and projections; `build` gives the network.

    Examples
    --------
    >>> b = QuantisedBuilder()
    >>> b.input("in", (3,))
    >>> b.population("out", (2,), threshold=5)
    >>> b.connect("in", "out", [[1, 2, 3], [0, -1, 4]])
    >>> network = b.build("out")
    """

    def __init__(self) -> None:
        self._inputs: list[QuantisedInput] = []
        self._populations: list[QuantisedPopulation] = []
        self._projections: list[QuantisedProjection] = []

    def input(
        self, name: str, shape: tuple[int, ...], *, signed: bool = False, max_payload: int = 1
    ) -> None:
        """Add an input; one unit of its payload is worth 1."""
        self._inputs.append(QuantisedInput(name, shape, 1.0, signed, max_payload))

    def population(
        self,
        name: str,
        shape: tuple[int, ...],
        *,
        kind: NeuronKind = NeuronKind.LIF,
        threshold: int = 10,
        bias: int = 0,
        decay_mem: int = 1 << 12,
        decay_syn: int = 0,
        v_reset: int = 0,
        weight_mode_bits: int = 8,
        i_shift: int = 0,
        requant_shift: int = 0,
        axon_signed: bool = False,
        max_payload: int | None = None,
        table: np.ndarray | None = None,
        **source: object,
    ) -> None:
        """Add a population with the same integers in every neuron; further keywords go to `graph.Population`."""
        population = uniform_population(name, kind, shape, **source)
        if max_payload is None:
            max_payload = {
                NeuronKind.LIF: population.max_spikes,
                NeuronKind.CUBA_LIF: population.max_spikes,
                NeuronKind.RELU: 255,
                NeuronKind.TABLE: 127,
            }.get(kind, 1 << 23)

        def full(value: int) -> np.ndarray:
            return np.full(population.size, value, dtype=np.int64)

        self._populations.append(
            QuantisedPopulation(
                source=population,
                v_threshold=full(threshold),
                v_reset=full(v_reset),
                v_init=full(0),
                i_init=full(0),
                bias=full(bias),
                decay_mem=full(decay_mem),
                decay_syn=full(decay_syn),
                weight_mode_bits=weight_mode_bits,
                i_shift=i_shift,
                requant_shift=requant_shift,
                axon_signed=axon_signed,
                scale=np.ones(population.size),
                output_scale=np.ones(population.size),
                max_payload=max_payload,
                table=table,
            )
        )

    def connect(self, source: str, target: str, weight: object, delay: int = 0) -> None:
        """Add a projection; ``weight`` is (target neurons, source neurons), dense or sparse."""
        matrix = sparse.csr_array(weight, dtype=np.int32)
        self._projections.append(QuantisedProjection(source, target, matrix, delay))

    def replace_population(self, name: str, **fields: object) -> None:
        """Change fields of a population already added, e.g. per-neuron thresholds."""
        self._populations = [
            replace(p, **fields) if p.name == name else p for p in self._populations
        ]

    def build(self, *outputs: str) -> QuantisedNetwork:
        """Return the network with the given outputs."""
        network = Network(
            inputs=tuple(Input(i.name, i.shape) for i in self._inputs),
            populations=tuple(p.source for p in self._populations),
            projections=tuple(
                Projection(
                    p.source, p.target, sparse.csr_array(p.weight, dtype=np.float64), p.delay
                )
                for p in self._projections
            ),
            outputs=outputs,
        )
        return QuantisedNetwork(
            network=network,
            inputs=tuple(self._inputs),
            populations=tuple(self._populations),
            projections=tuple(self._projections),
        )
