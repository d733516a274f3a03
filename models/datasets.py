"""Load digits, fashion images and N-MNIST event files into plain numpy arrays.

Nothing is fetched from a network: the digits ship with the package, Fashion-MNIST comes from a
Debian package and N-MNIST files are the user's own.
"""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

DATA_FOLDER = Path(__file__).resolve().parent / "data"
MNIST_TRAIN_COUNT = 8000  # of the 10,000 shipped digits; the other 2,000 are for testing
FASHION_MNIST_FOLDER = "/usr/share/datasets/fashion-mnist"
NMNIST_SIDE = 34  # pixels per side of an N-MNIST recording

# IDX type code (third byte of the magic number) -> big-endian numpy type
_IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_NMNIST_EVENT_BYTES = 5
_NMNIST_OVERFLOW_Y = 240  # an event at this row is no pixel: it marks a wrap of the sensor's clock
_NMNIST_OVERFLOW_US = 1 << 13  # microseconds by which each wrap marker moves all later events


class Dataset(NamedTuple):
    """Images and their classes.

    Attributes
    ----------
    inputs : np.ndarray
        uint8, shape (samples, ...), 0 to 255.
    labels : np.ndarray
        int64, shape (samples,).
    """

    inputs: np.ndarray
    labels: np.ndarray


class Events(NamedTuple):
    """One event-camera recording, in the order of the file; all arrays have shape (events,).

    Attributes
    ----------
    x, y : np.ndarray
        int64 column and row of the pixel.
    polarity : np.ndarray
        int64, 1 for ON (brighter) and 0 for OFF (darker).
    time_us : np.ndarray
        int64 microseconds since the start of the recording.
    """

    x: np.ndarray
    y: np.ndarray
    polarity: np.ndarray
    time_us: np.ndarray


def load_idx(path: str | Path) -> np.ndarray:
    """Read an IDX array, gzipped when the name ends in ``.gz``.

    Parameters
    ----------
    path : str or Path
        An ``idx?-ubyte`` file or any other IDX type.

    Returns
    -------
    np.ndarray
        The array in the machine's byte order, with the shape that the header states.

    Raises
    ------
    ValueError
        When the file is missing, is not IDX, or does not hold the bytes that its header promises.
    """
    path = Path(path)
    raw = _read_bytes(path)
    if len(raw) < 4 or raw[0] != 0 or raw[1] != 0 or raw[2] not in _IDX_TYPES or raw[3] == 0:
        raise ValueError(
            f"{path} is not an IDX file: it starts with {raw[:4].hex(' ')!r}, but an IDX magic "
            f"number is 00 00, a type code (08 for uint8) and the number of axes; give an IDX file."
        )
    axes = raw[3]
    header_bytes = 4 + 4 * axes
    if len(raw) < header_bytes:
        raise ValueError(
            f"{path} is truncated: its header needs {header_bytes} bytes, the file holds "
            f"{len(raw)}; get the file again."
        )
    shape = tuple(int(size) for size in np.frombuffer(raw, ">u4", axes, offset=4))
    dtype = np.dtype(_IDX_TYPES[raw[2]])
    count = 1
    for size in shape:
        count *= size
    expected = header_bytes + count * dtype.itemsize
    if len(raw) != expected:
        raise ValueError(
            f"{path} is {'truncated' if len(raw) < expected else 'too long'}: shape {shape} needs "
            f"{expected} bytes, the file holds {len(raw)}; get the file again."
        )
    values = np.frombuffer(raw, dtype, offset=header_bytes).reshape(shape)
    return values.astype(dtype.newbyteorder("="))


def load_mnist(split: str = "train", seed: int = 2024) -> Dataset:
    """Load the 10,000 MNIST digits that ship with the package.

    They are not MNIST's official test split. The file is sorted by class, so all three splits come
    from one seeded shuffle: its first 8,000 digits are ``train``, the other 2,000 ``test``.

    Parameters
    ----------
    split : {"train", "test", "all"}
        Which part of the shuffle.
    seed : int
        Of the shuffle; the shipped networks were trained and tested with the default.

    Returns
    -------
    Dataset
        Inputs of shape (samples, 28, 28).

    Raises
    ------
    ValueError
        For an unknown split.
    """
    parts = {
        "train": slice(None, MNIST_TRAIN_COUNT),
        "test": slice(MNIST_TRAIN_COUNT, None),
        "all": slice(None),
    }
    if split not in parts:
        raise ValueError(f"split must be one of {', '.join(parts)}, not {split!r}.")
    with np.load(DATA_FOLDER / "mnist10k.npz") as arrays:
        images, labels = arrays["x"], arrays["y"]
    chosen = np.random.default_rng(seed).permutation(len(images))[parts[split]]
    return Dataset(images[chosen].astype(np.uint8), labels[chosen].astype(np.int64))


def load_fashion_mnist(split: str = "train", folder: str | Path = FASHION_MNIST_FOLDER) -> Dataset:
    """Load Fashion-MNIST (60,000 to train, 10,000 to test) from its four IDX files.

    Parameters
    ----------
    split : {"train", "test"}
        The official splits, in file order.
    folder : str or Path
        Where the IDX files lie, gzipped or not; the default is where Debian's package puts them.

    Returns
    -------
    Dataset
        Inputs of shape (samples, 28, 28).

    Raises
    ------
    ValueError
        For an unknown split, a missing file, or images and labels that do not belong together.
    """
    prefixes = {"train": "train", "test": "t10k"}
    if split not in prefixes:
        raise ValueError(f"split must be one of {', '.join(prefixes)}, not {split!r}.")
    folder = Path(folder)
    images = load_idx(_idx_file(folder, f"{prefixes[split]}-images-idx3-ubyte"))
    labels = load_idx(_idx_file(folder, f"{prefixes[split]}-labels-idx1-ubyte"))
    if images.ndim != 3 or images.dtype != np.uint8 or labels.shape != images.shape[:1]:
        raise ValueError(
            f"{folder} holds {split} images of shape {images.shape} ({images.dtype}) and labels "
            f"of shape {labels.shape}; uint8 images (samples, rows, columns) with one label each "
            f"are needed, so get the files again."
        )
    return Dataset(images, labels.astype(np.int64))


def load_nmnist_events(path: str | Path) -> Events:
    """Read one N-MNIST recording (``.bin``: 40 bits an event).

    An event is x (8 bits), y (8), polarity (1) and time in us (23, most significant first). An
    event in row 240 is no pixel: it moves all later times on by 8,192 us, and is left out.

    Parameters
    ----------
    path : str or Path
        A recording of the user's; N-MNIST itself is not shipped.

    Returns
    -------
    Events
        In file order.

    Raises
    ------
    ValueError
        When the file is missing or its length is no multiple of 5 bytes.
    """
    path = Path(path)
    raw = _read_bytes(path)
    if len(raw) % _NMNIST_EVENT_BYTES:
        raise ValueError(
            f"{path} is no N-MNIST recording: {len(raw)} bytes is not a multiple of the "
            f"{_NMNIST_EVENT_BYTES} bytes of an event; give a whole .bin file."
        )
    fields = np.frombuffer(raw, np.uint8).reshape(-1, _NMNIST_EVENT_BYTES).astype(np.int64)
    x, y, high, middle, low = fields.T
    is_overflow = y == _NMNIST_OVERFLOW_Y
    time_us = ((high & 0x7F) << 16) + (middle << 8) + low
    time_us = time_us + np.cumsum(is_overflow) * _NMNIST_OVERFLOW_US
    keep = ~is_overflow
    return Events(x[keep], y[keep], (high >> 7)[keep], time_us[keep])


def bin_events(
    events: Events,
    timesteps: int,
    step_us: int = 1000,
    height: int = NMNIST_SIDE,
    width: int = NMNIST_SIDE,
) -> np.ndarray:
    """Turn a recording into binary frames; an encoder's ``none`` input.

    Parameters
    ----------
    events : Events
        One recording.
    timesteps : int
        Frames to make; events after ``timesteps * step_us`` microseconds are left out.
    step_us : int
        Microseconds a frame lasts.
    height, width : int
        Pixels of the sensor.

    Returns
    -------
    np.ndarray
        uint8 0 or 1, shape (timesteps, 2, height, width); channel 0 is OFF, 1 is ON. Several events
        of one pixel and polarity in one frame count once.

    Raises
    ------
    ValueError
        For sizes below 1 and for events outside the sensor.
    """
    for name, value in (
        ("timesteps", timesteps),
        ("step_us", step_us),
        ("height", height),
        ("width", width),
    ):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, not {value!r}.")
    outside = (events.x < 0) | (events.x >= width) | (events.y < 0) | (events.y >= height)
    if outside.any():
        first = int(np.argmax(outside))
        raise ValueError(
            f"event {first} lies at x={events.x[first]}, y={events.y[first]}, outside the "
            f"{width} x {height} sensor; state the recording's own width and height."
        )
    frames = np.zeros((timesteps, 2, height, width), np.uint8)
    step = events.time_us // step_us
    kept = step < timesteps
    frames[step[kept], events.polarity[kept], events.y[kept], events.x[kept]] = 1
    return frames


def _idx_file(folder: Path, stem: str) -> Path:
    """Return the IDX file of that name in `folder`, plain or gzipped."""
    for candidate in (folder / stem, folder / f"{stem}.gz"):
        if candidate.is_file():
            return candidate
    raise ValueError(
        f"Fashion-MNIST's file {stem} or {stem}.gz is not in {folder}; install it with "
        f"'apt-get install dataset-fashion-mnist', or give the folder that holds the IDX files."
    )


def _read_bytes(path: Path) -> bytes:
    """Return the whole file, unzipped when its name ends in .gz."""
    if not path.is_file():
        raise ValueError(f"there is no file {path}; check the path.")
    raw = path.read_bytes()
    if path.suffix != ".gz":
        return raw
    try:
        return gzip.decompress(raw)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{path} cannot be unzipped ({error}); get the file again.") from error
