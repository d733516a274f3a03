"""The compiler's normal form of a network: inputs, populations of neurons, and linear projections between them."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ..chip.arithmetic import Compare, NeuronKind, ResetMode, ResetTiming

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Input:
    """An input of the network: real values of ``shape``, one array per timestep, injected by the host."""

    name: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Values or neurons."""
        return prod(self.shape)


@dataclass(frozen=True)
class Population:
    """A group of neurons with one model. Every array is (neurons,) float64, in the units of the framework.

    With ``x[t]`` the sum over projections of ``W y[t - delay]`` plus ``bias`` (all gains folded into W and bias)::

        i[t] = decay_syn * i[t-1] + x[t]      CUBA_LIF, CUBA_LI;   i[t] = x[t] otherwise
        u[t] = decay_mem * v[t-1] + i[t]      LIF and integrators; SAME timestep reset
        fire = u[t] > threshold  (or >=)      v[t] = reset(u[t]) where fire, else u[t]

    With ``reset_timing`` NEXT the reset is decided on the stored membrane of the previous timestep::

        fired    = v[t-1] > threshold
        SUBTRACT v[t] = decay_mem * v[t-1] + i[t] - threshold * fired
        ZERO     v[t] = decay_mem * (v[t-1] unless fired, then 0) + i[t]
        VALUE    v[t] = decay_mem * (v[t-1] unless fired, then v_reset) + i[t]
        WIPE     v[t] = (decay_mem * v[t-1] + i[t]) unless fired, then 0

    and the output is ``v[t] > threshold``. The first timestep uses ``v_init`` and ``i_init`` as v[-1], i[-1].
    With ``max_spikes > 1`` a neuron emits ``floor(u / threshold)`` spikes (at most ``max_spikes``) and subtracts as
    many thresholds; ``floor`` clamps the membrane at ``-threshold`` afterwards (sinabs).
    INTEGRATOR and CUBA_INTEGRATOR never fire; their output is ``v[t]``, read by the host. RELU gives
    ``max(x, 0)``; TABLE gives ``table(x)`` (``activation`` names the function). Both carry no state.
    """

    name: str
    kind: NeuronKind
    shape: tuple[int, ...]
    decay_mem: Floats
    decay_syn: Floats
    threshold: Floats
    v_reset: Floats
    v_init: Floats
    i_init: Floats
    bias: Floats
    reset_mode: ResetMode = ResetMode.ZERO
    reset_timing: ResetTiming = ResetTiming.SAME
    compare: Compare = Compare.GT
    max_spikes: int = 1
    floor: bool = False
    activation: str = ""

    @property
    def size(self) -> int:
        """Values or neurons."""
        return prod(self.shape)

    @property
    def spiking(self) -> bool:
        """Whether the output is a number of spikes."""
        return self.kind in (NeuronKind.LIF, NeuronKind.CUBA_LIF)


@dataclass(frozen=True)
class Projection:
    """A linear map from ``source`` (an input or a population) to ``target``.

    ``weight`` is CSR, (target neurons, source neurons), float64. ``delay`` counts network timesteps: 0 is
    feed-forward within a timestep, recurrent edges have at least 1. A nir.Delay whose entries differ becomes
    several projections.
    """

    source: str
    target: str
    weight: sparse.csr_array
    delay: int = 0


@dataclass(frozen=True)
class Network:
    """Inputs, populations in a topological order of their delay-0 projections, projections, outputs.

    ``notes`` are sentences for the user: what was assumed, what was lossy. ``convention`` echoes the options used.
    """

    inputs: tuple[Input, ...]
    populations: tuple[Population, ...]
    projections: tuple[Projection, ...]
    outputs: tuple[str, ...]
    notes: tuple[str, ...] = ()
    convention: dict[str, str] = field(default_factory=dict)

    def population(self, name: str) -> Population:
        """Return the population called ``name``; KeyError if there is none."""
        for population in self.populations:
            if population.name == name:
                return population
        raise KeyError(name)

    def size_of(self, name: str) -> int:
        """Return the number of values that the input or population ``name`` emits a timestep."""
        for node in (*self.inputs, *self.populations):
            if node.name == name:
                return node.size
        raise KeyError(name)

    def into(self, name: str) -> tuple[Projection, ...]:
        """Return the projections whose target is ``name``, in order."""
        return tuple(p for p in self.projections if p.target == name)

    @property
    def output_size(self) -> int:
        """Values of all outputs."""
        return sum(self.size_of(name) for name in self.outputs)


def uniform_population(
    name: str, kind: NeuronKind, shape: tuple[int, ...], **values: object
) -> Population:
    """Make a population whose arrays are broadcast from scalars: decay_mem and threshold 1, the rest 0 by default."""
    size = prod(shape)
    defaults: dict[str, float] = {
        "decay_mem": 1.0, "decay_syn": 0.0, "threshold": 1.0, "v_reset": 0.0, "v_init": 0.0, "i_init": 0.0, "bias": 0.0,
    }  # fmt: skip
    arrays = {
        key: np.broadcast_to(
            np.asarray(values.pop(key, default), dtype=np.float64).ravel(), (size,)
        ).copy()
        for key, default in defaults.items()
    }
    return Population(name=name, kind=kind, shape=shape, **arrays, **values)  # pyright: ignore[reportArgumentType]
