"""The linear NIR nodes as operators: output shape, sparse matrix and bias of each.

Values are flattened in C order; no batch or time axis.
"""

from __future__ import annotations

from math import prod

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from .nir_file import NetworkError, NirNode

Floats = NDArray[np.float64]
Shape = tuple[int, ...]
MAX_NONZEROS = 1 << 28


def output_shape(node: NirNode, shape: Shape) -> Shape:
    """Return the shape that the linear ``node`` makes of ``shape``.

    Raises
    ------
    NetworkError
        The node cannot take a value of ``shape``.
    """
    if node.type in ("Affine", "Linear"):
        rows, columns = _matrix(node).shape
        if shape[-1:] == (columns,):
            return (*shape[:-1], rows)
        if prod(shape) == columns:  # a Flatten that the file leaves out
            return (rows,)
        raise NetworkError(
            f"node {node.name!r}: its weight takes {columns} values, but {shape} "
            f"({prod(shape)} values) come in."
        )
    if node.type in ("Conv1d", "Conv2d", "SumPool2d", "AvgPool2d"):
        return _Window(node, shape).shape_out
    if node.type == "Flatten":
        return _flattened(node, shape)
    return shape


def linear_map(node: NirNode, shape: Shape) -> tuple[sparse.csr_array | None, Floats | None]:
    """Return matrix (outputs, inputs) and bias (outputs,) of ``node`` on values of ``shape``.

    A matrix of None is the identity, a bias of None is zero. Delay is an identity here.
    """
    if node.type in ("Affine", "Linear"):
        return _affine(node, shape)
    if node.type in ("Conv1d", "Conv2d"):
        return _Window(node, shape).convolution()
    if node.type in ("SumPool2d", "AvgPool2d"):
        return _Window(node, shape).pool(average=node.type == "AvgPool2d"), None
    if node.type == "Scale":
        return sparse.csr_array(sparse.diags_array(spread(node, "scale", shape))), None
    return None, None


def connection_count(node: NirNode, shape: Shape) -> int:
    """Return the connections of an affine or convolution ``node`` on values of ``shape``, zero weights included."""
    if node.type in ("Affine", "Linear"):
        weight = _matrix(node)
        return prod(shape) // weight.shape[1] * weight.size
    return _Window(node, shape).connection_count()


def spread(node: NirNode, field: str, shape: Shape) -> Floats:
    """Return the field of ``node`` spread over ``shape``, flat.

    A scalar, an array of the same number of values, or one that broadcasts is accepted.
    """
    value = node.floats(field)
    if value.size == 1:
        return np.full(prod(shape), value.item())
    if value.size == prod(shape):
        return value.ravel()
    try:
        return np.broadcast_to(value, shape).ravel()
    except ValueError:
        raise NetworkError(
            f"node {node.name!r}: the field {field!r} has shape {value.shape}, which does not fit "
            f"values of shape {shape}."
        ) from None


def _matrix(node: NirNode) -> Floats:
    weight = node.floats("weight")
    if weight.ndim == 3 and weight.shape[0] == 1:  # a batch axis
        weight = weight[0]
    if weight.ndim != 2 or weight.size == 0:
        raise NetworkError(
            f"node {node.name!r}: the weight must be (outputs, inputs), not {weight.shape}."
        )
    return weight


def _affine(node: NirNode, shape: Shape) -> tuple[sparse.csr_array, Floats | None]:
    weight = _matrix(node)
    copies = prod(shape) // weight.shape[1]
    _refuse_large(node, copies * weight.size)
    matrix = sparse.csr_array(weight)
    if copies > 1:  # NIR applies the matrix to the last axis
        matrix = sparse.csr_array(sparse.kron(sparse.eye_array(copies), matrix))
    if "bias" not in node.params:
        return matrix, None
    bias = node.floats("bias").ravel()
    if bias.size not in (1, weight.shape[0]):
        raise NetworkError(
            f"node {node.name!r}: the bias has {bias.size} values for {weight.shape[0]} outputs."
        )
    return matrix, np.tile(np.broadcast_to(bias, (weight.shape[0],)), copies)


def _flattened(node: NirNode, shape: Shape) -> Shape:
    start, end = (int(node.params[f].ravel()[0]) for f in ("start_dim", "end_dim"))
    stated = node.params["input_type"].ravel() if "input_type" in node.params else None
    if stated is not None and stated.size == len(shape) + 1:  # written with the batch axis
        start, end = (d - 1 if d > 0 else d for d in (start, end))
    axes = len(shape)
    start, end = (d + axes if d < 0 else d for d in (start, end))
    start, end = min(max(start, 0), axes - 1), min(end, axes - 1)
    if end < start:
        raise NetworkError(
            f"node {node.name!r}: cannot flatten axes {start} to {end} of a value {shape}."
        )
    return (*shape[:start], prod(shape[start : end + 1]), *shape[end + 1 :])


def _refuse_large(node: NirNode, nonzeros: int) -> None:
    if nonzeros > MAX_NONZEROS:
        raise NetworkError(
            f"node {node.name!r}: {nonzeros} weights unrolled; the limit is {MAX_NONZEROS}."
        )


class _Window:
    """A convolution or pool: one or two spatial axes, worked out from the node and its input."""

    def __init__(self, node: NirNode, shape: Shape) -> None:
        self.node = node
        self.axes = 1 if node.type == "Conv1d" else 2
        self.is_conv = node.type.startswith("Conv")
        shape = self._with_channels(shape)
        self.shape_in = shape
        if self.is_conv:
            weight = node.floats("weight")
            if weight.ndim != self.axes + 2 or weight.size == 0:
                raise NetworkError(
                    f"node {node.name!r}: a {node.type} weight has {self.axes + 2} axes (outputs, "
                    f"inputs / groups, kernel), not {weight.shape}."
                )
            self.kernel = weight.shape[2:]
            self.channels_out = weight.shape[0]
            self.groups = int(node.params["groups"].ravel()[0])
            self._check_channels(weight)
        else:
            self.kernel = self._per_axis("kernel_size", 1)
            self.channels_out = shape[0]
            self.groups = shape[0]
        self.dilation = self._per_axis("dilation", 1) if self.is_conv else (1,) * self.axes
        self.stride = self._per_axis("stride", 1) if "stride" in node.params else self.kernel
        self.padding = self._padding()
        extent = [d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel, strict=True)]
        self.size_out = tuple(
            (n + sum(p) - e) // s + 1
            for n, p, e, s in zip(shape[1:], self.padding, extent, self.stride, strict=True)
        )
        if min(self.size_out) < 1:
            raise NetworkError(
                f"node {node.name!r}: its window {self.kernel} does not fit an input of {shape}."
            )
        _refuse_large(node, prod(self.size_out) * prod(self.kernel))
        self.shape_out = (self.channels_out, *self.size_out)

    def _with_channels(self, shape: Shape) -> Shape:
        while len(shape) > self.axes + 1 and shape[0] == 1:  # a batch axis
            shape = shape[1:]
        stated = self.node.params.get("input_shape")
        space = tuple(int(n) for n in stated.ravel()) if stated is not None else ()
        is_flat = len(space) == self.axes and len(shape) != self.axes + 1 and prod(space) > 0
        if is_flat and prod(shape) % prod(space) == 0:  # a reshape that the file leaves out
            shape = (prod(shape) // prod(space), *space)
        if len(shape) != self.axes + 1:
            raise NetworkError(
                f"node {self.node.name!r}: a {self.node.type} takes (channels, "
                f"{'length' if self.axes == 1 else 'height, width'}), but {shape} comes in."
            )
        if len(space) == self.axes and min(space) > 0 and space != shape[1:]:
            raise NetworkError(
                f"node {self.node.name!r}: input_shape says {space}, but {shape} comes in."
            )
        return shape

    def _check_channels(self, weight: Floats) -> None:
        channels, groups = self.shape_in[0], self.groups
        if groups < 1 or channels % groups or self.channels_out % groups:
            raise NetworkError(
                f"node {self.node.name!r}: {groups} groups do not divide {channels} input and "
                f"{self.channels_out} output channels."
            )
        if weight.shape[1] * groups != channels:
            raise NetworkError(
                f"node {self.node.name!r}: its weight takes {weight.shape[1] * groups} channels, "
                f"but {self.shape_in} comes in."
            )

    def _per_axis(self, field: str, least: int) -> tuple[int, ...]:
        value = self.node.params[field].ravel()
        if value.dtype.kind not in "iuf" or value.size not in (1, self.axes):
            raise NetworkError(
                f"node {self.node.name!r}: {field} must be one whole number or {self.axes}, "
                f"not {value.tolist()!r}."
            )
        numbers = tuple(int(n) for n in np.broadcast_to(value, (self.axes,)))
        if min(numbers) < least or max(numbers) >= 1 << 20:
            raise NetworkError(
                f"node {self.node.name!r}: {field} must be at least {least}, not {numbers}."
            )
        return numbers

    def _padding(self) -> tuple[tuple[int, int], ...]:
        value = self.node.params["padding"]
        if value.dtype.kind != "U":
            return tuple((p, p) for p in self._per_axis("padding", 0))
        if str(value) == "valid":
            return ((0, 0),) * self.axes
        if str(value) != "same" or max(self.stride) > 1:
            raise NetworkError(
                f"node {self.node.name!r}: padding {str(value)!r} with stride {self.stride} is not "
                "supported; 'same' needs stride 1. Write the padding as numbers."
            )
        total = [d * (k - 1) for d, k in zip(self.dilation, self.kernel, strict=True)]
        return tuple((t // 2, t - t // 2) for t in total)

    def _taps(self, axis: int) -> NDArray[np.int64]:
        """Return the input position (size_out, kernel) of each tap along ``axis``, -1 outside."""
        at = (
            np.arange(self.size_out[axis])[:, None] * self.stride[axis]
            - self.padding[axis][0]
            + np.arange(self.kernel[axis])[None, :] * self.dilation[axis]
        )
        return np.where((at >= 0) & (at < self.shape_in[1 + axis]), at, -1)

    def _positions(self) -> NDArray[np.int64]:
        """Return the flat spatial input position (positions out, kernel taps), -1 outside."""
        first = self._taps(0)
        if self.axes == 1:
            return first
        second = self._taps(1)
        rows, columns = first[:, None, :, None], second[None, :, None, :]
        flat = np.where((rows < 0) | (columns < 0), -1, rows * self.shape_in[2] + columns)
        return flat.reshape(prod(self.size_out), prod(self.kernel))

    def convolution(self) -> tuple[sparse.csr_array, Floats | None]:
        """Return the unrolled convolution and its bias."""
        weight = self.node.floats("weight")
        out_channels, group_channels = weight.shape[:2]
        positions = self._positions()
        places, taps = positions.shape
        _refuse_large(self.node, out_channels * places * group_channels * taps)
        group = np.arange(out_channels) // (out_channels // self.groups)
        channel = group[:, None] * group_channels + np.arange(group_channels)  # (out, in)
        # axes: output channel, output place, input channel, tap
        shape = (out_channels, places, group_channels, taps)
        column = positions[None, :, None, :] + (channel * prod(self.shape_in[1:]))[:, None, :, None]
        value = weight.reshape(out_channels, 1, group_channels, taps)
        keep = (positions >= 0)[None, :, None, :] & (value != 0)
        counts = np.broadcast_to(keep, shape).sum(axis=(2, 3)).ravel()
        matrix = sparse.csr_array(
            (
                np.broadcast_to(value, shape)[np.broadcast_to(keep, shape)],
                np.broadcast_to(column, shape)[np.broadcast_to(keep, shape)].astype(np.int32),
                np.concatenate([[0], np.cumsum(counts)]),
            ),
            shape=(out_channels * places, prod(self.shape_in)),
        )
        bias = self.node.floats("bias").ravel()
        if bias.size not in (1, out_channels):
            raise NetworkError(
                f"node {self.node.name!r}: the bias has {bias.size} values for {out_channels} "
                "channels."
            )
        return matrix, np.repeat(np.broadcast_to(bias, (out_channels,)), places)

    def connection_count(self) -> int:
        """Return the connections of the unrolled convolution, those to the padding left out."""
        out_channels, group_channels = self.node.floats("weight").shape[:2]
        return out_channels * group_channels * int(np.count_nonzero(self._positions() >= 0))

    def pool(self, average: bool) -> sparse.csr_array:
        """Return the pool's matrix; an average divides by the whole window, padding included."""
        positions = self._positions()
        channels, (places, taps) = self.shape_in[0], positions.shape
        _refuse_large(self.node, channels * places * taps)
        inside = positions >= 0
        counts = np.tile(inside.sum(axis=1), channels)
        offset = np.arange(channels)[:, None] * prod(self.shape_in[1:])
        column = (offset + positions[inside][None, :]).ravel()
        value = np.full(column.size, 1.0 / taps if average else 1.0)
        return sparse.csr_array(
            (value, column.astype(np.int32), np.concatenate([[0], np.cumsum(counts)])),
            shape=(channels * places, prod(self.shape_in)),
        )
