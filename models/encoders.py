"""Turn still images into what a network receives at each timestep.

Every encoder maps inputs (samples, *shape) to (samples, timesteps, ...). Integer inputs are
intensities 0 to 255, real ones 0 to 1. The same seed gives the same spikes, whatever the number of
samples after a given one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .saccade import encode_saccade

Encoder = Callable[[np.ndarray, int, np.random.Generator], np.ndarray]


def encode(name: str, inputs: np.ndarray, timesteps: int, seed: int = 0) -> np.ndarray:
    """Encode a batch.

    Parameters
    ----------
    name : str
        A key of `ENCODERS`: ``none`` (already one value per timestep), ``rate``, ``latency``,
        ``direct`` or ``saccade``.
    inputs : np.ndarray
        Shape (samples, *shape); for ``none`` (samples, timesteps, *shape).
    timesteps : int
        Timesteps to make.
    seed : int
        Of the encoders that draw random numbers (``rate``, ``saccade``).

    Returns
    -------
    np.ndarray
        Shape (samples, timesteps, *shape), for ``saccade`` (samples, timesteps, 2, 34, 34). Spikes
        are uint8, ``direct`` is float32, and ``none`` keeps its type.

    Raises
    ------
    ValueError
        For an unknown name, fewer timesteps than 1, inputs without a sample axis, intensities
        outside their range, or what the single encoder refuses.
    """
    if name not in ENCODERS:
        raise ValueError(f"unknown encoder {name!r}; choose one of {', '.join(ENCODERS)}.")
    if timesteps < 1:
        raise ValueError(f"timesteps must be at least 1, not {timesteps!r}.")
    inputs = np.asarray(inputs)
    if inputs.ndim < 2:
        raise ValueError(
            f"inputs must have a sample axis and at least one more, not shape {inputs.shape}; "
            f"give one sample as inputs[None]."
        )
    return ENCODERS[name](inputs, timesteps, np.random.default_rng(seed))


def to_intensity(inputs: np.ndarray) -> np.ndarray:
    """Return inputs as float32 in 0 to 1.

    Raises
    ------
    ValueError
        For integers outside 0 to 255, reals outside 0 to 1 and values that are no numbers.
    """
    if inputs.dtype == np.bool_:
        return inputs.astype(np.float32)
    is_integer = np.issubdtype(inputs.dtype, np.integer)
    if not is_integer and not np.issubdtype(inputs.dtype, np.floating):
        raise ValueError(f"inputs must be integers or reals, not {inputs.dtype}.")
    top = 255 if is_integer else 1
    # written so that a NaN fails it too
    if inputs.size and not (inputs.min() >= 0 and inputs.max() <= top):
        raise ValueError(
            f"{'integer' if is_integer else 'real'} inputs must lie in 0 to {top}, but they reach "
            f"from {inputs.min()} to {inputs.max()}; scale them first."
        )
    intensity = inputs.astype(np.float32)
    return intensity / np.float32(255) if is_integer else intensity


def _encode_none(inputs: np.ndarray, timesteps: int, _rng: np.random.Generator) -> np.ndarray:
    """Pass on inputs that have a timestep axis already."""
    if inputs.ndim < 3 or inputs.shape[1] != timesteps:
        raise ValueError(
            f"encoder 'none' needs inputs of shape (samples, {timesteps}, ...), not "
            f"{inputs.shape}; give one value per timestep, or choose another encoder."
        )
    return inputs


def _encode_rate(inputs: np.ndarray, timesteps: int, rng: np.random.Generator) -> np.ndarray:
    """Spike in each timestep with the probability of the intensity, independently."""
    probability = to_intensity(inputs)[:, None]
    draws = rng.random((len(inputs), timesteps, *inputs.shape[1:]), np.float32)
    return (draws < probability).astype(np.uint8)


def _encode_latency(inputs: np.ndarray, timesteps: int, _rng: np.random.Generator) -> np.ndarray:
    """Spike once: intensity 1 in the first timestep, the faintest in the last, 0 never."""
    intensity = to_intensity(inputs)[:, None]
    spike_at = np.rint((1 - intensity) * (timesteps - 1))
    steps = np.arange(timesteps).reshape(1, timesteps, *[1] * (inputs.ndim - 1))
    return ((steps == spike_at) & (intensity > 0)).astype(np.uint8)


def _encode_direct(inputs: np.ndarray, timesteps: int, _rng: np.random.Generator) -> np.ndarray:
    """Hold the intensity as a real-valued current in every timestep."""
    return np.repeat(to_intensity(inputs)[:, None], timesteps, axis=1)


def _encode_saccade(inputs: np.ndarray, timesteps: int, rng: np.random.Generator) -> np.ndarray:
    """Watch the images with a simulated event camera that moves: `saccade.encode_saccade`."""
    return encode_saccade(to_intensity(inputs), timesteps, rng)


ENCODERS: dict[str, Encoder] = {
    "none": _encode_none,
    "rate": _encode_rate,
    "latency": _encode_latency,
    "direct": _encode_direct,
    "saccade": _encode_saccade,
}
