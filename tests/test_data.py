"""Data files: shapes, encoders, labels, payloads, and everything that is refused."""

from __future__ import annotations

import numpy as np
import pytest

from spikeloom.data import load_arrays, shape_samples
from spikeloom.errors import InputError

IMAGE = (("input", (4, 5)),)


def frames(*shape):
    return np.random.default_rng(0).random(shape)


def test_data_with_its_own_timesteps():
    shaped = shape_samples({"inputs": frames(3, 6, 4, 5), "labels": np.arange(3)}, IMAGE)
    assert shaped.values.shape == (3, 6, 20)
    assert (shaped.timesteps, shaped.held) == (6, False)
    assert shaped.labels is not None
    assert shaped.labels.tolist() == [0, 1, 2]


def test_still_data_is_held_and_unfolds_again():
    data = frames(3, 4, 5)
    shaped = shape_samples({"inputs": data}, IMAGE, timesteps=7)
    assert shaped.values.shape == (3, 1, 20)
    assert shaped.held
    assert np.array_equal(shaped.unfolded()[:, 6], data.reshape(3, 20))


def test_repeated_frames_are_found_to_be_held():
    data = np.repeat(frames(3, 1, 4, 5), 6, axis=1)
    assert shape_samples({"inputs": data}, IMAGE).held
    data[2, 5, 0, 0] += 1
    assert not shape_samples({"inputs": data}, IMAGE).held


@pytest.mark.parametrize(
    ("encoder", "held"), [("none", True), ("direct", True), ("rate", False), ("latency", False)]
)
def test_encoders(encoder, held):
    data = np.random.default_rng(1).integers(0, 256, (2, 4, 5), dtype=np.uint8)
    shaped = shape_samples({"inputs": data}, IMAGE, timesteps=5, encoder=encoder, seed=3)
    assert shaped.held is held
    assert shaped.unfolded().shape == (2, 5, 20)
    again = shape_samples({"inputs": data}, IMAGE, timesteps=5, encoder=encoder, seed=3)
    assert np.array_equal(shaped.values, again.values)


def test_several_inputs_by_name():
    inputs = (("a", (3,)), ("b", (2, 2)))
    shaped = shape_samples({"a": frames(2, 4, 3), "b": frames(2, 4, 2, 2)}, inputs)
    assert shaped.values.shape == (2, 4, 7)
    with pytest.raises(InputError, match="holds no array 'b'"):
        shape_samples({"a": frames(2, 4, 3)}, inputs)
    with pytest.raises(InputError, match="differ in their number of samples"):
        shape_samples({"a": frames(2, 4, 3), "b": frames(3, 4, 2, 2)}, inputs)


@pytest.mark.parametrize(
    ("arrays", "options", "message"),
    [
        ({}, {}, "holds no array 'inputs', only nothing"),
        ({"x": frames(2, 3, 4, 5)}, {}, "only x; save it with np.savez"),
        ({"inputs": frames(0, 3, 4, 5)}, {}, "is empty"),
        ({"inputs": np.full((1, 2, 4, 5), np.nan)}, {}, r"inputs\[0, 0, 0, 0\] is nan"),
        ({"inputs": np.full((1, 2, 4, 5), "a")}, {}, "must hold numbers"),
        ({"inputs": frames(2, 4, 5)}, {}, "say --timesteps"),
        ({"inputs": frames(2, 3, 3)}, {"timesteps": 4}, r"the network takes \(samples, 4, 5\)"),
        ({"inputs": frames(2, 3, 4, 5)}, {"timesteps": 4}, "has 3 timesteps, --timesteps says 4"),
        ({"inputs": frames(2, 4, 5)}, {"timesteps": 0}, "timesteps must be at least 1"),
        ({"inputs": frames(2, 4, 5)}, {"timesteps": 2, "samples": 0}, "samples must be at least 1"),
        (
            {"inputs": frames(2, 4, 5)},
            {"timesteps": 2, "encoder": "morse"},
            "unknown encoder 'morse'; choose one of",
        ),
        (
            {"inputs": frames(2, 3, 4, 5), "labels": np.arange(3)},
            {},
            r"labels must be \(2,\) whole numbers",
        ),
        ({"inputs": frames(2, 3, 4, 5), "labels": np.zeros(2)}, {}, "whole numbers"),
    ],
)
def test_bad_data_is_refused(arrays, options, message):
    with pytest.raises(InputError, match=message):
        shape_samples(arrays, IMAGE, **options)


def test_files_that_are_no_npz(tmp_path):
    path = tmp_path / "data.npz"
    with pytest.raises(InputError, match="does not exist"):
        load_arrays(path)
    path.write_bytes(b"not a zip")
    with pytest.raises(InputError, match=r"no whole \.npz"):
        load_arrays(path)
    np.save(tmp_path / "single.npy", np.zeros(3))
    with pytest.raises(InputError, match="is a single array"):
        load_arrays(tmp_path / "single.npy")
    np.savez(path, inputs=np.array([{"an": "object"}], dtype=object))
    with pytest.raises(InputError, match=r"no whole \.npz"):
        load_arrays(path)
    np.savez(path, inputs=np.zeros((20, 30, 40)))
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(InputError, match=r"no whole \.npz"):
        load_arrays(path)
    with pytest.raises(InputError, match="folder"):
        load_arrays(tmp_path)
