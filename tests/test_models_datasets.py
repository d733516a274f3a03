"""Loaders: values against bytes that the tests write, and the sentence of every refusal."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from spikeloom.models.datasets import (
    FASHION_MNIST_FOLDER,
    Events,
    bin_events,
    load_fashion_mnist,
    load_idx,
    load_mnist,
    load_nmnist_events,
)


def idx_bytes(array: np.ndarray, code: int = 0x08) -> bytes:
    sizes = struct.pack(f">{array.ndim}I", *array.shape)
    return (
        bytes([0, 0, code, array.ndim])
        + sizes
        + array.astype(array.dtype.newbyteorder(">")).tobytes()
    )


@pytest.mark.parametrize(
    ("dtype", "code"),
    [("u1", 0x08), ("i1", 0x09), ("i2", 0x0B), ("i4", 0x0C), ("f4", 0x0D), ("f8", 0x0E)],
)
def test_idx_round_trip_of_every_type(tmp_path: Path, dtype: str, code: int) -> None:
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    (tmp_path / "a").write_bytes(idx_bytes(array, code))
    (tmp_path / "a.gz").write_bytes(gzip.compress(idx_bytes(array, code)))
    for name in ("a", "a.gz"):
        read = load_idx(tmp_path / name)
        assert read.dtype == array.dtype
        np.testing.assert_array_equal(read, array)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "is not an IDX file"),
        (b"\x1f\x8b\x08\x00 packed", "is not an IDX file: it starts with '1f 8b 08 00'"),
        (b"\0\0\x07\x01" + b"\0\0\0\0", "is not an IDX file"),
        (b"\0\0\x08\x03\0\0", "is truncated: its header needs 16 bytes, the file holds 6"),
        (
            b"\0\0\x08\x01\0\0\0\x04abc",
            r"is truncated: shape \(4,\) needs 12 bytes, the file holds 11",
        ),
        (b"\0\0\x08\x01\0\0\0\x02abc", "is too long"),
    ],
)
def test_idx_refuses_damaged_files(tmp_path: Path, raw: bytes, message: str) -> None:
    (tmp_path / "a").write_bytes(raw)
    with pytest.raises(ValueError, match=message):
        load_idx(tmp_path / "a")


def test_idx_refuses_missing_and_damaged_gzip(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no file"):
        load_idx(tmp_path / "none")
    whole = gzip.compress(idx_bytes(np.arange(200, dtype="u1")))
    for number, raw in enumerate((b"plain", whole[:-20], whole[:10] + b"\xff" * 30)):
        damaged = tmp_path / f"{number}.gz"
        damaged.write_bytes(raw)
        with pytest.raises(ValueError, match="cannot be unzipped"):
            load_idx(damaged)


def test_mnist_splits_partition_the_file() -> None:
    train, test, everything = (load_mnist(split) for split in ("train", "test", "all"))
    assert train.inputs.shape == (8000, 28, 28)
    assert test.inputs.shape == (2000, 28, 28)
    assert train.inputs.dtype == np.uint8
    assert train.labels.dtype == np.int64
    np.testing.assert_array_equal(np.concatenate([train.inputs, test.inputs]), everything.inputs)
    np.testing.assert_array_equal(np.concatenate([train.labels, test.labels]), everything.labels)
    assert np.bincount(everything.labels).tolist() == [
        1001,
        1127,
        991,
        1032,
        980,
        863,
        1014,
        1070,
        944,
        978,
    ]
    # the networks were trained on this very split: another one would test them on training digits
    assert np.bincount(test.labels).tolist() == [212, 198, 200, 239, 207, 164, 195, 198, 201, 186]
    assert test.labels[:12].tolist() == [6, 3, 6, 9, 2, 6, 9, 6, 0, 0, 2, 5]


def test_mnist_seed_changes_the_split() -> None:
    assert not np.array_equal(load_mnist("test", seed=1).labels, load_mnist("test").labels)
    np.testing.assert_array_equal(
        load_mnist("test", seed=1).inputs, load_mnist("test", seed=1).inputs
    )


def test_mnist_refuses_unknown_split() -> None:
    with pytest.raises(ValueError, match=r"^split must be one of train, test, all, not 'dev'\.$"):
        load_mnist("dev")


def test_fashion_mnist_from_files(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 28, 28)).astype(np.uint8)
    labels = np.array([3, 1, 4, 1, 5], np.uint8)
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx_bytes(images)))
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx_bytes(labels))
    data = load_fashion_mnist("test", tmp_path)
    np.testing.assert_array_equal(data.inputs, images)
    np.testing.assert_array_equal(data.labels, labels)
    assert data.labels.dtype == np.int64
    with pytest.raises(ValueError, match="apt-get install dataset-fashion-mnist"):
        load_fashion_mnist("train", tmp_path)
    with pytest.raises(ValueError, match="split must be one of train, test, not 'all'"):
        load_fashion_mnist("all", tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx_bytes(labels[:4]))
    with pytest.raises(ValueError, match="with one label each are needed"):
        load_fashion_mnist("test", tmp_path)


@pytest.mark.skipif(
    not Path(FASHION_MNIST_FOLDER).is_dir(),
    reason="Debian's dataset-fashion-mnist is not installed",
)
def test_fashion_mnist_as_debian_packs_it() -> None:
    data = load_fashion_mnist("test")
    assert data.inputs.shape == (10000, 28, 28)
    assert np.bincount(data.labels).tolist() == [1000] * 10


def nmnist_bytes(x: int, y: int, polarity: int, time_us: int) -> bytes:
    return bytes([x, y]) + (polarity << 23 | time_us).to_bytes(3, "big")


def test_nmnist_events_round_trip(tmp_path: Path) -> None:
    rows = [(0, 33, 1, 0), (33, 0, 0, 999), (5, 6, 1, 0x7FFFFF), (7, 8, 0, 66000)]
    (tmp_path / "a.bin").write_bytes(b"".join(nmnist_bytes(*row) for row in rows))
    events = load_nmnist_events(tmp_path / "a.bin")
    assert list(zip(*(column.tolist() for column in events), strict=True)) == rows


def test_nmnist_overflow_marker_moves_later_events(tmp_path: Path) -> None:
    rows = [(1, 2, 1, 100), (0, 240, 0, 0), (3, 4, 0, 50), (0, 240, 0, 0), (5, 6, 1, 7)]
    (tmp_path / "a.bin").write_bytes(b"".join(nmnist_bytes(*row) for row in rows))
    events = load_nmnist_events(tmp_path / "a.bin")
    assert events.x.tolist() == [1, 3, 5]
    assert events.time_us.tolist() == [100, 8192 + 50, 2 * 8192 + 7]


def test_nmnist_refuses_partial_event(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"1234567")
    with pytest.raises(ValueError, match="7 bytes is not a multiple of the 5 bytes"):
        load_nmnist_events(tmp_path / "a.bin")
    with pytest.raises(ValueError, match="there is no file"):
        load_nmnist_events(tmp_path / "b.bin")


def events_of(*rows: tuple[int, int, int, int]) -> Events:
    return Events(*(np.array(column, np.int64) for column in zip(*rows, strict=True)))


def test_bin_events_places_each_event() -> None:
    frames = bin_events(
        events_of((3, 4, 1, 0), (3, 4, 1, 999), (5, 6, 0, 1000), (1, 1, 1, 3000)), 3
    )
    assert frames.shape == (3, 2, 34, 34)
    assert np.argwhere(frames).tolist() == [[0, 1, 4, 3], [1, 0, 6, 5]]
    assert frames.max() == 1


def test_bin_events_refuses_events_outside() -> None:
    with pytest.raises(ValueError, match=r"event 1 lies at x=34, y=0, outside the 34 x 34 sensor"):
        bin_events(events_of((0, 0, 1, 0), (34, 0, 1, 5)), 2)
    with pytest.raises(ValueError, match="step_us must be at least 1, not 0"):
        bin_events(events_of((0, 0, 1, 0)), 2, step_us=0)
