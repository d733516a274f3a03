"""Data files: inputs and labels from .npz, shaped and encoded into what the network gets each timestep."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .chip.program import InputInfo, ManyCoreProgram
from .errors import InputError
from .models.encoders import ENCODERS, encode, to_intensity

# Encoders whose result is the same in every timestep.
_CONSTANT = ("none", "direct")


@dataclass(frozen=True)
class Samples:
    """Inputs of S samples, flattened: ``values`` is (S, T, inputs), or (S, 1, inputs) where they do not change.

    ``timesteps`` is the network's own number of timesteps; ``labels`` is (S,) or None; ``sha256`` identifies the data.
    """

    values: NDArray[Any]
    timesteps: int
    labels: NDArray[np.int64] | None
    sha256: str

    @property
    def held(self) -> bool:
        """Whether the values are the same in every timestep."""
        return self.values.shape[1] == 1

    def unfolded(self) -> NDArray[np.float64]:
        """Return the values of every timestep, (S, T, inputs) float64."""
        values = self.values.astype(np.float64)
        return np.repeat(values, self.timesteps, axis=1) if self.held else values


def load_arrays(path: str | Path) -> dict[str, NDArray[Any]]:
    """Read the arrays of a .npz file.

    Raises
    ------
    InputError
        If it is missing, no .npz, or damaged.
    """
    try:
        with Path(path).open("rb") as opened:
            file = np.load(opened, allow_pickle=False)
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise InputError(
                    f"{path} is a single array; save it with np.savez(path, inputs=array)"
                )
            return {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder, not a .npz file") from None
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path} is no whole .npz file of plain arrays ({error}); write it with np.savez"
        ) from None


def shape_samples(
    arrays: dict[str, NDArray[Any]],
    inputs: tuple[tuple[str, tuple[int, ...]], ...],
    *,
    timesteps: int | None = None,
    encoder: str = "none",
    samples: int | None = None,
    seed: int = 0,
    where: str = "the data",
) -> Samples:
    """Bring data to one row per sample and timestep.

    Parameters
    ----------
    arrays
        ``inputs`` (or, for a network of several inputs, one array under each input's name), optionally ``labels``.
        Each is
        (samples, timesteps, *shape), or with ``timesteps`` (samples, *shape).
    inputs
        Name and shape of each input of the network.
    timesteps
        The network's timesteps; needed where the data has no axis of its own for them.
    encoder
        How (samples, *shape) becomes values over time; ``none`` repeats them.
    samples
        Use the first so many.
    seed
        Of the encoders that draw random numbers.

    Raises
    ------
    InputError
        Wrong names, shapes, types, values that are not finite, no samples, labels that do not match.
    """
    if encoder not in ENCODERS:
        raise InputError(f"unknown encoder {encoder!r}; choose one of {', '.join(ENCODERS)}")
    if timesteps is not None and timesteps < 1:
        raise InputError(f"timesteps must be at least 1, not {timesteps}")
    if samples is not None and samples < 1:
        raise InputError(f"samples must be at least 1, not {samples}")
    digest = hashlib.sha256()
    parts, found = [], timesteps
    for name, shape in inputs:
        key = "inputs" if len(inputs) == 1 and "inputs" in arrays else name
        if key not in arrays:
            wanted = "inputs" if len(inputs) == 1 else name
            raise InputError(
                f"{where} holds no array {wanted!r}, only {', '.join(sorted(arrays)) or 'nothing'}; "
                f"save it with np.savez(path, {wanted}=...)"
            )
        array = _checked(arrays[key], key, where)
        digest.update(np.ascontiguousarray(array).tobytes())
        part, found = _over_time(array[:samples], shape, found, encoder, seed, f"{where}: {key}")
        parts.append(part)
    count = len(parts[0])
    if any(len(part) != count for part in parts) or any(
        part.shape[1] not in (1, found) for part in parts
    ):
        raise InputError(f"{where}: the inputs differ in their number of samples or timesteps")
    longest = max(part.shape[1] for part in parts)
    values = np.concatenate([np.repeat(p, longest // p.shape[1], axis=1) for p in parts], axis=2)
    labels = _labels(arrays, len(arrays.get("inputs", arrays.get(inputs[0][0], ()))), where)
    assert found is not None
    return Samples(
        values, found, None if labels is None else labels[:count], digest.hexdigest()[:16]
    )


def _checked(array: NDArray[Any], key: str, where: str) -> NDArray[Any]:
    if array.dtype.kind not in "buif":
        raise InputError(f"{where}: {key} must hold numbers, not {array.dtype}")
    if array.ndim < 2 or array.size == 0:
        raise InputError(
            f"{where}: {key} is empty or has no sample axis: its shape is {array.shape}"
        )
    check_finite(array, key, where)
    return array.astype(np.uint8) if array.dtype.kind == "b" else array


def check_finite(array: NDArray[Any], key: str, where: str) -> None:
    """Raise InputError, naming the first place, if an array of floats holds infinities or NaN."""
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        at = np.unravel_index(int(np.argmax(~np.isfinite(array))), array.shape)
        raise InputError(
            f"{where}: {key}{[int(i) for i in at]} is {array[at]}; inputs must be finite numbers"
        )


def _over_time(
    array: NDArray[Any],
    shape: tuple[int, ...],
    timesteps: int | None,
    encoder: str,
    seed: int,
    where: str,
) -> tuple[NDArray[Any], int]:
    """Return (samples, timesteps or 1, size) and the number of timesteps."""
    size = prod(shape)
    has_time = (
        array.ndim >= 2
        and array.shape[2:] == shape
        and not (array.shape[1:] == shape and timesteps)
    )
    flat_time = array.ndim == 3 and array.shape[2] == size
    if encoder in _CONSTANT and (has_time or flat_time):
        if timesteps not in (None, array.shape[1]):
            raise InputError(
                f"{where} has {array.shape[1]} timesteps, --timesteps says {timesteps}"
            )
        found = array.shape[1]
        array = array.reshape(len(array), found, size)
        if found > 1 and np.array_equal(array, np.broadcast_to(array[:, :1], array.shape)):
            array = array[:, :1]
        return array, found
    if timesteps is None:
        raise InputError(
            f"{where} is {array.shape}, the network takes (samples, timesteps, {_text(shape)}); "
            f"for (samples, {_text(shape)}) say --timesteps"
        )
    if encoder == "saccade":
        encoded = encode(encoder, array, timesteps, seed)
        if prod(encoded.shape[2:]) != size:
            raise InputError(
                f"{where}: the saccade encoder gives {_text(encoded.shape[2:])} a timestep, "
                f"the network takes {_text(shape)}"
            )
        return encoded.reshape(len(array), timesteps, size), timesteps
    if prod(array.shape[1:]) != size:
        raise InputError(f"{where} is {array.shape}, the network takes (samples, {_text(shape)})")
    if encoder in _CONSTANT:
        values = to_intensity(array) if encoder == "direct" else array
        return values.reshape(len(array), 1, size), timesteps
    return encode(encoder, array, timesteps, seed).reshape(len(array), timesteps, size), timesteps


def _labels(arrays: dict[str, NDArray[Any]], count: int, where: str) -> NDArray[np.int64] | None:
    if "labels" not in arrays:
        return None
    labels = arrays["labels"]
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or len(labels) != count:
        raise InputError(
            f"{where}: labels must be ({count},) whole numbers, one a sample, not {labels.dtype} {labels.shape}"
        )
    return labels.astype(np.int64)


def _text(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))


def input_shapes(inputs: tuple[InputInfo, ...]) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Return name and shape of each input of a program."""
    return tuple((item.name, item.shape) for item in inputs)


def to_payloads(program: ManyCoreProgram, samples: Samples) -> tuple[NDArray[np.int32], float]:
    """Quantise inputs to what the host injects.

    Returns
    -------
    payloads
        (S, T or 1, inputs) int32.
    clipped
        Fraction of the values beyond an axon's range, which were clipped.
    """
    payloads = np.empty(samples.values.shape, dtype=np.int32)
    clipped = start = 0
    for item in program.inputs:
        stop = start + prod(item.shape)
        low, high = -item.max_payload if item.signed else 0, item.max_payload
        for first in range(0, len(payloads), 1024):
            rows = np.s_[first : first + 1024, :, start:stop]
            exact = np.rint(samples.values[rows] / item.scale)
            payloads[rows] = np.clip(exact, low, high)
            clipped += int(np.count_nonzero((exact < low) | (exact > high)))
        start = stop
    return payloads, clipped / payloads.size
