"""Networks that the learning engines train, from and to NIR files."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from ..chip.learn_network import (
    INPUT,
    Floats,
    InputFormat,
    LearnNetwork,
    Neuron,
    Norm,
    Parameters,
    Stage,
    initial_parameters,
)
from .conventions import Convention
from .nir_file import NetworkError, NirGraph, NirNode
from .recurrence import order
from .shapes import drop_dead_nodes, infer_shapes

SUPPORTED = (
    "Input",
    "Output",
    "Linear",
    "Affine",
    "Conv2d",
    "AvgPool2d",
    "Flatten",
    "Identity",
    "LIF",
    "IF",
    "LI",
    "I",
)
Shape3 = tuple[int, int, int]
DT = 1e-4  # the step that time constants are written with, as other exporters do


@dataclass(frozen=True)
class Surrogate:
    """What a file does not say of a neuron: the window of its surrogate gradient."""

    half_width: float = 0.5
    height: float = 1.0


@dataclass(frozen=True)
class Imported:
    """A network to train, its parameters as the file has them, and what had to be decided."""

    network: LearnNetwork
    parameters: Parameters
    readout_leak: float | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Value:
    """Spikes of stages, or the input, on their way to synapses: (channels, rows, columns), pooled, flattened."""

    sources: tuple[int, ...]
    shape: Shape3
    pool: int = 1


@dataclass(frozen=True)
class _Sums:
    """A stage under construction: synapses whose sums no neuron has taken yet."""

    stage: Stage
    weight: Floats
    bias: Floats | None


def import_learn_network(
    graph: NirGraph,
    convention: Convention,
    *,
    norm: Norm | None = None,
    surrogate: Surrogate | None = None,
    name: str = "network",
) -> Imported:
    """Turn a NIR graph into stages.

    Parameters
    ----------
    graph, convention
        As read by `nir_file.read_nir`, and how its neurons are to be understood.
    norm
        Put behind every layer of synapses but the readout; NIR itself has none.
    surrogate
        Window of the surrogate gradient; the default is STBP's with a width of 1.

    Raises
    ------
    NetworkError
        Naming the node that the engines cannot train, and what they can.
    """
    graph = drop_dead_nodes(graph)
    shapes = infer_shapes(graph)
    for node in graph.nodes.values():
        if node.type not in SUPPORTED:
            raise NetworkError(
                f"node {node.name!r}: {node.type} cannot be trained on the learning engines; they take "
                f"{', '.join(SUPPORTED)}."
            )
    return _Importer(graph, shapes, convention, norm, surrogate or Surrogate(), name).run()


class _Importer:
    def __init__(
        self, graph: NirGraph, shapes: dict[str, tuple[int, ...]], convention: Convention, norm: Norm | None,
        surrogate: Surrogate, name: str,
    ) -> None:  # fmt: skip
        self._graph, self._shapes, self._convention = graph, shapes, convention
        self._norm, self._surrogate, self._name = norm, surrogate, name
        self._stages: list[Stage] = []
        self._weights: list[Floats] = []
        self._biases: list[Floats | None] = []
        self._notes: list[str] = list(graph.notes)
        self._readout_leak: float | None = None

    def run(self) -> Imported:
        """Walk the graph in the order of its edges."""
        try:
            names = order(list(self._graph.nodes), list(self._graph.edges))
        except ValueError:
            raise NetworkError(
                "the network has a cycle; the learning engines train feed-forward networks only."
            ) from None
        inputs = self._graph.of_type("Input")
        if len(inputs) != 1:
            raise NetworkError(f"the learning engines take one input, not {len(inputs)}.")
        incoming = self._graph.sources_by_node()
        made: dict[str, _Value | _Sums] = {}
        for name in names:
            node = self._graph.nodes[name]
            made[name] = self._node(node, [made[source] for source in incoming[name]])
        self._readout(made, incoming)
        rows, columns = _rows_columns(self._shapes[inputs[0].name])[1:]
        channels = _rows_columns(self._shapes[inputs[0].name])[0]
        network = LearnNetwork(
            InputFormat((rows, columns, channels)), tuple(self._stages), self._name
        )
        parameters = initial_parameters(network, seed=0)
        for index, (weight, bias) in enumerate(zip(self._weights, self._biases, strict=True)):
            parameters.weights[index][:] = weight
            if bias is not None:
                parameters.vectors[index]["bias"][:] = bias
        return Imported(network, parameters, self._readout_leak, tuple(self._notes))

    def _node(self, node: NirNode, given: list[_Value | _Sums]) -> _Value | _Sums:
        if node.type == "Input":
            return _Value((INPUT,), _rows_columns(self._shapes[node.name]))
        if node.type in ("LIF", "IF", "LI", "I"):
            return self._neurons(node, given)
        if node.type in ("Output", "Identity") and len(given) == 1:
            return given[0]
        value = self._merged(node, given)
        if node.type == "Flatten":
            return replace(value, shape=(prod(value.shape), 1, 1))
        if node.type == "AvgPool2d":
            return self._pooled(node, value)
        if node.type == "Conv2d":
            return self._convolution(node, value)
        return self._dense(node, value)

    def _merged(self, node: NirNode, given: list[_Value | _Sums]) -> _Value:
        """Return what several edges into a node add up to."""
        values = [item for item in given if isinstance(item, _Value)]
        if len(values) < len(given):
            raise NetworkError(
                f"node {node.name!r}: {node.type} behind synapses without neurons between them cannot be trained; "
                f"put neurons between the two."
            )
        first = values[0]
        if any((v.shape, v.pool) != (first.shape, first.pool) for v in values):
            raise NetworkError(
                f"node {node.name!r}: what is added up here differs in shape or pooling."
            )
        return replace(first, sources=tuple(sorted({s for v in values for s in v.sources})))

    def _pooled(self, node: NirNode, value: _Value) -> _Value:
        kernel = np.broadcast_to(node.params["kernel_size"].ravel(), 2).astype(int)
        stride = node.params.get("stride")
        steps = (
            kernel
            if stride is None or stride.size == 0
            else np.broadcast_to(stride.ravel(), 2).astype(int)
        )
        padding = node.params.get("padding")
        if (
            kernel[0] != kernel[1]
            or np.any(steps != kernel)
            or (padding is not None and np.any(padding != 0))
        ):
            raise NetworkError(
                f"node {node.name!r}: pooling must be square, with a stride equal to its side and no padding."
            )
        side = int(kernel[0])
        channels, rows, columns = value.shape
        return replace(
            value, shape=(channels, rows // side, columns // side), pool=value.pool * side
        )

    def _convolution(self, node: NirNode, value: _Value) -> _Sums:
        weight = node.floats("weight")
        if np.any(node.params.get("dilation", np.ones(1)) != 1):
            raise NetworkError(
                f"node {node.name!r}: dilated convolutions cannot be trained; use dilation 1."
            )
        groups = int(np.asarray(node.params.get("groups", 1)).ravel()[0])
        out_channels, in_channels, rows, columns = weight.shape
        channels, height, width = value.shape
        stride = _pair(node, "stride", 1)
        padding = self._padding(node, (rows, columns))
        _, out_rows, out_columns = _rows_columns(self._shapes[node.name])
        stage = Stage(
            name=node.name, in_shape=(height, width, channels), out_shape=(out_rows, out_columns, out_channels),
            sources=value.sources, pool=value.pool, kernel=(rows, columns), stride=stride, padding=padding,
            groups=groups,
        )  # fmt: skip
        flat = weight.reshape(groups, out_channels // groups, in_channels, rows * columns)
        return _Sums(
            stage, flat.transpose(0, 3, 2, 1).astype(np.float32), self._bias(node, out_channels)
        )

    def _padding(self, node: NirNode, kernel: tuple[int, int]) -> tuple[int, int]:
        field = node.params.get("padding")
        if field is not None and field.dtype.kind in "SOU":
            text = field.item().decode() if isinstance(field.item(), bytes) else str(field.item())
            if text == "valid":
                return (0, 0)
            if text == "same" and kernel[0] % 2 and kernel[1] % 2:
                return (kernel[0] // 2, kernel[1] // 2)
            raise NetworkError(
                f"node {node.name!r}: padding {text!r} is not supported for this kernel."
            )
        return _pair(node, "padding", 0)

    def _dense(self, node: NirNode, value: _Value) -> _Sums:
        weight = node.floats("weight")
        outputs, inputs = weight.shape[-2:]
        channels, rows, columns = value.shape
        source = value.sources[0]
        stage = Stage(
            name=node.name,
            in_shape=(1, 1, inputs),
            out_shape=(1, 1, outputs),
            sources=value.sources,
            pool=value.pool,
        )
        shape = _rows_columns(self._source_shape(source, value.pool))
        if prod(shape) != inputs:
            raise NetworkError(
                f"node {node.name!r}: takes {inputs} values, but {(channels, rows, columns)} come in."
            )
        # Files flatten channels first, the engines channels last.
        ordered = weight.reshape(outputs, *shape).transpose(0, 2, 3, 1).reshape(outputs, inputs)
        return _Sums(stage, ordered.T[None, None].astype(np.float32), self._bias(node, outputs))

    def _source_shape(self, source: int, pool: int) -> tuple[int, ...]:
        if source == INPUT:
            channels, rows, columns = _rows_columns(
                self._shapes[self._graph.of_type("Input")[0].name]
            )
        else:
            rows, columns, channels = self._stages[source].out_shape
        return (channels, rows // pool, columns // pool)

    def _bias(self, node: NirNode, channels: int) -> Floats | None:
        bias = node.params.get("bias") if node.type != "Linear" else None
        if bias is None:
            return None
        return np.broadcast_to(np.asarray(bias, np.float32).ravel(), channels).copy()

    def _neurons(self, node: NirNode, given: list[_Value | _Sums]) -> _Value | _Sums:
        """Close the stage whose sums come in; further ones become shortcuts."""
        sums = [item for item in given if isinstance(item, _Sums)]
        values = [item for item in given if isinstance(item, _Value)]
        if not sums:
            raise NetworkError(
                f"node {node.name!r}: neurons without synapses before them cannot be trained."
            )
        extra = [item.sources for item in values]
        if len(sums) - 1 + len(extra) > 1 or any(
            len(sources) != 1 or sources == (INPUT,) for sources in extra
        ):
            raise NetworkError(
                f"node {node.name!r}: neurons may take one layer of synapses and one shortcut, of spikes or of a layer."
            )
        leak, gain, threshold = self._constants(node)
        sums.sort(key=lambda item: item.stage.taps * item.stage.in_channels, reverse=True)
        main, *others = sums
        shortcut = extra[0][0] if extra else None
        for item in others:
            shortcut = self._add(replace(item.stage, norm=self._norm), item, gain)
        if node.type in ("LI", "I"):
            if shortcut is not None:
                raise NetworkError(f"node {node.name!r}: a readout cannot have a shortcut.")
            self._readout_leak = leak
            return replace(main, weight=main.weight * np.float32(gain))
        if extra and gain != 1.0:
            raise NetworkError(
                f"node {node.name!r}: a shortcut of spikes needs neurons whose input gain is 1, not {gain:g}."
            )
        neuron = Neuron(leak, threshold, self._surrogate.half_width, self._surrogate.height)
        stage = replace(main.stage, neuron=neuron, norm=self._norm, shortcut=shortcut)
        index = self._add(stage, main, gain)
        rows, columns, channels = stage.out_shape
        return _Value((index,), (channels, rows, columns))

    def _add(self, stage: Stage, sums: _Sums, gain: float) -> int:
        """Append a stage, with the neurons' input gain in its weights."""
        bias = sums.bias
        self._stages.append(replace(stage, bias=bias is not None))
        self._weights.append(sums.weight * np.float32(gain))
        self._biases.append(None if bias is None else bias * np.float32(gain))
        return len(self._stages) - 1

    def _constants(self, node: NirNode) -> tuple[float, float, float]:
        """Return leak, input gain and threshold of a node's neurons, which must share them."""
        c = self._convention
        if node.type in ("LIF", "IF") and (
            c.reset not in ("value", "zero") or c.reset_timing != "same" or c.compare != "gt"
        ):
            raise NetworkError(
                f"node {node.name!r}: the learning engines train neurons that fire above the threshold and are reset "
                f"to 0 in the same timestep, not {c.compare}, {c.reset}, {c.reset_timing}; say so with --reset, "
                f"--reset-timing and --compare if that is what you want."
            )
        fields = {}
        for field, needed in (
            ("tau", True),
            ("r", True),
            ("v_leak", False),
            ("v_reset", False),
            ("v_threshold", False),
        ):
            if field not in node.params:
                continue
            values = np.unique(node.floats(field))
            if len(values) != 1:
                raise NetworkError(
                    f"node {node.name!r}: its neurons differ in {field}; the engines have one value a layer."
                )
            if not needed and field != "v_threshold" and values[0] != 0:
                raise NetworkError(
                    f"node {node.name!r}: {field} must be 0 to be trained, not {values[0]:g}."
                )
            fields[field] = float(values[0])
        r = fields.get("r", 1.0)
        if "tau" not in fields:  # IF, I
            return 1.0, r * c.dt if c.if_gain == "r*dt" else r, fields.get("v_threshold", 0.0)
        if c.leak == "exponential":
            return float(np.exp(-c.dt / fields["tau"])), r, fields.get("v_threshold", 0.0)
        step = c.dt / fields["tau"]
        return 1.0 - step, r * step, fields.get("v_threshold", 0.0)

    def _readout(self, made: dict[str, _Value | _Sums], incoming: dict[str, list[str]]) -> None:
        """Make the last layer's sums the logits."""
        outputs = self._graph.of_type("Output")
        if len(outputs) != 1 or len(incoming[outputs[0].name]) != 1:
            raise NetworkError("the learning engines train networks with one output.")
        last = made[outputs[0].name]
        if isinstance(last, _Sums):
            self._add(last.stage, last, 1.0)
            return
        if last.sources != (len(self._stages) - 1,) or not self._stages:
            raise NetworkError("the output must be the last layer of the network.")
        stage = self._stages[-1]
        if stage.shortcut is not None:
            raise NetworkError(f"layer {stage.name}: a readout cannot have a shortcut.")
        self._stages[-1] = replace(stage, neuron=None, norm=None)
        self._notes.append(
            f"The output neurons of {stage.name} spike; they are trained, and written back, as a readout of their sums."
        )


def _rows_columns(shape: tuple[int, ...]) -> Shape3:
    """Return a shape as (channels, rows, columns)."""
    if len(shape) == 3:
        return (shape[0], shape[1], shape[2])
    if len(shape) == 2:
        return (1, shape[0], shape[1])
    return (prod(shape), 1, 1)


def _pair(node: NirNode, field: str, default: int) -> tuple[int, int]:
    value = node.params.get(field)
    if value is None or value.size == 0:
        return (default, default)
    first, second = np.broadcast_to(value.ravel(), 2).astype(int)
    return (int(first), int(second))


# ------------------------------------------------------------------------------------------------------------- writing


def save_learn_network(
    network: LearnNetwork,
    parameters: Parameters,
    path: str | Path,
    readout_leak: float | None = None,
) -> None:
    """Write a trained network as a NIR file, which compiles to the many-core.

    Norms are folded into weights and biases with their running statistics. The readout becomes an LI node: without
    memory if the logits are time means, so that its membrane summed over the timesteps decides as in training; with
    ``readout_leak`` for the last membrane of leaky integrators. The file appears at once, complete. Weights may be read
    with the convention ``nir``; time constants are in steps of 1e-4 s.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    path = Path(path)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with h5py.File(part, "w") as file:
            _Writer(file, network, parameters).write(0.0 if readout_leak is None else readout_leak)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


class _Writer:
    def __init__(self, file: h5py.File, network: LearnNetwork, parameters: Parameters) -> None:
        self._network, self._parameters = network, parameters
        file["version"] = "1.0"
        root = file.create_group("node")
        root["type"] = "NIRGraph"
        self._nodes = root.create_group("nodes")
        self._root = root
        self._edges: list[tuple[str, str]] = []
        self._outputs: dict[int, str] = {}

    def write(self, readout_leak: float) -> None:
        """Write all stages, from the input on."""
        rows, columns, channels = self._network.input.shape
        flat = rows == columns == 1
        shape = np.array([channels] if flat else [channels, rows, columns])
        self._node("input", "Input", shape=shape)
        last = len(self._network.stages) - 1
        for index, stage in enumerate(self._network.stages):
            self._synapses(index, stage)
            name = f"{stage.name}_neurons"
            out = (
                (stage.out_shape[2], *stage.out_shape[:2])
                if stage.out_positions > 1
                else (stage.out_shape[2],)
            )
            if stage.neuron is None and index < last:
                self._outputs[index] = stage.name  # its sums go to whoever has it as a shortcut
                continue
            if index == last:
                self._leaky("LI", name, out, readout_leak)
            else:
                assert stage.neuron is not None
                self._leaky("LIF", name, out, stage.neuron.leak, stage.neuron.threshold)
            self._edges.append((stage.name, name))
            if stage.shortcut is not None:
                self._edges.append((self._outputs[stage.shortcut], name))
            self._outputs[index] = name
        self._node("output", "Output", shape=np.array([self._network.classes]))
        self._edges.append((self._outputs[last], "output"))
        text = h5py.string_dtype()
        self._root.create_dataset("edges", data=np.array(self._edges, dtype=object), dtype=text)

    def _node(self, name: str, kind: str, **fields: NDArray[np.generic] | int | float) -> None:
        group = self._nodes.create_group(name)
        group["type"] = kind
        for field, value in fields.items():
            group[field] = value

    def _leaky(
        self,
        kind: str,
        name: str,
        shape: tuple[int, ...],
        leak: float,
        threshold: float | None = None,
    ) -> None:
        """Write neurons ``u' = leak * u + x``: tau = dt / (1 - leak), r = 1 / (1 - leak); IF and I without a leak."""
        fields: dict[str, NDArray[np.generic]] = {}
        if leak == 1.0:
            kind = {"LIF": "IF", "LI": "I"}[kind]
            fields["r"] = np.full(shape, 1.0 / DT)
        else:
            fields["tau"] = np.full(shape, DT / (1.0 - leak))
            fields["r"] = np.full(shape, 1.0 / (1.0 - leak))
            fields["v_leak"] = np.zeros(shape)
        if threshold is not None:
            fields["v_threshold"] = np.full(shape, threshold)
            fields["v_reset"] = np.zeros(shape)
        self._node(name, kind, **fields)

    def _synapses(self, index: int, stage: Stage) -> None:
        weight, bias = _folded(stage, self._parameters, index)
        sources = ["input" if s == INPUT else self._outputs[s] for s in stage.sources]
        if stage.pool > 1:
            name = f"{stage.name}_pool"
            side = np.array([stage.pool, stage.pool])
            self._node(
                name, "AvgPool2d", kernel_size=side, stride=side, padding=np.zeros(2, np.int64)
            )
            self._edges += [(source, name) for source in sources]
            sources = [name]
        rows, columns, channels = self._network.pooled_shape(stage)
        if stage.in_shape[:2] == (1, 1) and stage.kernel == (1, 1) and stage.groups == 1:
            if rows * columns > 1:
                name = f"{stage.name}_flatten"
                self._node(
                    name,
                    "Flatten",
                    start_dim=0,
                    end_dim=-1,
                    input_type=np.array([channels, rows, columns]),
                )
                self._edges += [(source, name) for source in sources]
                sources = [name]
            dense = (
                weight[0, 0]
                .T.reshape(-1, rows, columns, channels)
                .transpose(0, 3, 1, 2)
                .reshape(stage.out_shape[2], -1)
            )
            if stage.bias or stage.norm is not None:
                self._node(stage.name, "Affine", weight=dense, bias=bias)
            else:
                self._node(stage.name, "Linear", weight=dense)
        else:
            kernel = weight.transpose(0, 3, 2, 1).reshape(
                stage.out_shape[2], stage.in_channels, *stage.kernel
            )
            self._node(
                stage.name, "Conv2d", weight=kernel, bias=bias, stride=np.array(stage.stride),
                padding=np.array(stage.padding),
                dilation=np.ones(2, np.int64), groups=stage.groups, input_shape=np.array(stage.in_shape[:2]),
            )  # fmt: skip
        self._edges += [(source, stage.name) for source in sources]


def _folded(stage: Stage, parameters: Parameters, index: int) -> tuple[Floats, Floats]:
    """Return weights and bias with the norm in them."""
    weight, vectors = parameters.weights[index].astype(np.float64), parameters.vectors[index]
    bias = vectors.get("bias", np.zeros(stage.out_shape[2])).astype(np.float64)
    if stage.norm is not None:
        factor = (
            vectors["gamma"]
            * stage.norm.scale
            / np.sqrt(vectors["running_var"].astype(np.float64) + stage.norm.epsilon)
        )
        bias = vectors["beta"] + factor * (bias - vectors["running_mean"])
        weight = weight * factor.reshape(stage.groups, 1, 1, stage.out_channels)
    return weight.astype(np.float32), bias.astype(np.float32)
