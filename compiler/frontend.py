"""The front end: read a .nir file and run the passes that lead to the normal form, with records."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..chip.arithmetic import NeuronKind
from .conventions import Convention, resolve
from .fold import fold
from .graph import Network, Population
from .lower import Lowered, lower
from .nir_fields import NEURON_TYPES
from .nir_file import NetworkError, NirGraph, read_nir
from .parameters import ParameterCount, count_parameters
from .recurrence import order
from .shapes import drop_dead_nodes, infer_shapes

_FIELDS = ("decay_mem", "decay_syn", "threshold", "v_reset", "v_init", "i_init", "bias")


@dataclass(frozen=True)
class PassRecord:
    """What one pass did: its name, one line, and details a line each."""

    name: str
    summary: str
    details: tuple[str, ...] = ()


@dataclass(frozen=True)
class Loaded:
    """A network in its normal form, the record of the passes that made it, and what its file held."""

    network: Network
    passes: tuple[PassRecord, ...]
    parameters: ParameterCount


def load_network(path: str | Path, producer: str = "auto", **options: object) -> Network:
    """Return the network in the NIR file ``path``; see `load_with_records` for the options."""
    return load_with_records(path, producer, **options).network


def load_with_records(path: str | Path, producer: str = "auto", **options: object) -> Loaded:
    """Read a NIR file and run import, convention, shapes, lower and fold, then check the result.

    Parameters
    ----------
    path
        The .nir file.
    producer
        ``auto``, or one of ``conventions.PRODUCERS``.
    options
        Fields of `Convention` (dt, reset, reset_timing, compare, ...) that differ from the
        producer's default; None leaves the default.

    Raises
    ------
    NetworkError
        The file or the network in it cannot be compiled; the message says why and what to do.
    """
    graph = read_nir(path)
    return compile_graph(graph, producer, **options)


def compile_graph(graph: NirGraph, producer: str = "auto", **options: object) -> Loaded:
    """Run the passes after the import on ``graph``; as `load_with_records`."""
    records = [_import_record(graph)]
    convention, notes = resolve(graph, producer, **options)
    records.append(_convention_record(convention, notes))
    graph = drop_dead_nodes(graph)
    shapes = infer_shapes(graph)
    shape_lines = tuple(f"{name}: {'x'.join(map(str, s)) or '1'}" for name, s in shapes.items())
    records.append(PassRecord("shapes", f"{len(shapes)} nodes have a shape", shape_lines))
    lowered = lower(graph, shapes, convention)
    records.append(_lower_record(lowered))
    network = fold(graph, shapes, lowered, convention)
    network = replace(network, notes=(*notes, *network.notes))
    check_network(network)
    records.append(_fold_record(network))
    return Loaded(network, tuple(records), count_parameters(graph, shapes))


def check_network(network: Network) -> None:
    """Check the invariants of the normal form.

    Raises
    ------
    NetworkError
        Names are not unique, values are not finite, sizes disagree, an output does not exist, a
        delay is negative, or the undelayed projections form a cycle or break the order.
    """
    names = [node.name for node in (*network.inputs, *network.populations)]
    if len(set(names)) != len(names):
        raise NetworkError(f"fold: two nodes have the same name among {', '.join(names)}.")
    if not network.outputs:
        raise NetworkError("fold: the network has no output.")
    sizes = {node.name: node.size for node in (*network.inputs, *network.populations)}
    populations = {population.name: population for population in network.populations}
    for name in network.outputs:
        if name not in populations:
            raise NetworkError(f"fold: the output {name!r} is not a population.")
    for population in network.populations:
        _check_population(population)
    for projection in network.projections:
        where = f"fold: projection {projection.source} -> {projection.target}"
        if projection.source not in sizes or projection.target not in populations:
            raise NetworkError(f"{where}: one of its ends does not exist.")
        wanted = (sizes[projection.target], sizes[projection.source])
        if projection.weight.shape != wanted:
            raise NetworkError(f"{where}: weights are {projection.weight.shape}, not {wanted}.")
        if projection.delay < 0:
            raise NetworkError(f"{where}: the delay {projection.delay} is negative.")
        if not np.isfinite(projection.weight.data).all():
            raise NetworkError(f"{where}: weights are not finite; check gains and weights.")
    place = {name: i for i, name in enumerate(populations)}
    undelayed = [
        (p.source, p.target) for p in network.projections if p.delay == 0 and p.source in place
    ]
    for source, target in undelayed:
        if place[source] >= place[target]:
            raise NetworkError(f"fold: {source} must come before {target}, which it feeds.")
    order(list(populations), undelayed)


def _check_population(population: Population) -> None:
    where = f"fold: population {population.name!r}"
    for field in _FIELDS:
        values = getattr(population, field)
        if values.shape != (population.size,):
            raise NetworkError(f"{where}: {field} is {values.shape}, not ({population.size},).")
        if not np.isfinite(values).all():
            raise NetworkError(f"{where}: {field} is not finite.")
    for field in ("decay_mem", "decay_syn"):
        values = getattr(population, field)
        if (values < 0).any() or (values > 1).any():
            raise NetworkError(f"{where}: {field} must lie in 0 to 1, not {values.min():g}.")
    if population.kind == NeuronKind.TABLE and not population.activation:
        raise NetworkError(f"{where}: a TABLE must name its activation.")


def _import_record(graph: NirGraph) -> PassRecord:
    neurons = len(graph.of_type(*NEURON_TYPES))
    version = f", written by nir {graph.version}" if graph.version else ""
    details = tuple(
        f"{node.name}: {node.type}"
        + "".join(f" {k}{list(v.shape)}" for k, v in node.params.items())
        for node in graph.nodes.values()
    )
    summary = f"{len(graph.nodes)} nodes ({neurons} of neurons), {len(graph.edges)} edges{version}"
    return PassRecord("import", summary, details + graph.notes)


def _convention_record(convention: Convention, notes: tuple[str, ...]) -> PassRecord:
    options = convention.as_text()
    summary = ", ".join(f"{k} {options[k]}" for k in ("producer", "dt", "reset", "reset_timing"))
    return PassRecord("convention", summary, (*(f"{k}: {v}" for k, v in options.items()), *notes))


def _lower_record(lowered: Lowered) -> PassRecord:
    details = []
    for name, neuron in lowered.neurons.items():
        p = neuron.population
        details.append(
            f"{name}: {p.kind.name} {p.size} neurons, decay {_span(p.decay_mem)}"
            + (f", current {_span(p.decay_syn)}" if p.decay_syn.any() else "")
            + f", gain {_span(neuron.gain)}"
            + (f", threshold {_span(p.threshold)}, {p.reset_mode.name}" if p.spiking else "")
        )
    total = sum(n.population.size for n in lowered.neurons.values())
    summary = f"{len(lowered.neurons)} populations, {total} neurons"
    return PassRecord("lower", summary, (*details, *lowered.notes))


def _fold_record(network: Network) -> PassRecord:
    details = tuple(
        f"{p.source} -> {p.target}: {p.weight.nnz} synapses"
        + (f", delay {p.delay}" if p.delay else "")
        for p in network.projections
    )
    synapses = sum(p.weight.nnz for p in network.projections)
    summary = f"{len(network.projections)} projections, {synapses} synapses"
    return PassRecord("fold", summary, (*details, *network.notes))


def _span(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> str:
    low, high = float(values.min()), float(values.max())
    return f"{low:.6g}" if low == high else f"{low:.6g} to {high:.6g}"
