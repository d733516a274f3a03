"""Encoders: exact small cases, statistics of the random ones, and the camera's physics."""

import numpy as np
import pytest

from spikeloom.models import saccade
from spikeloom.models.datasets import load_mnist
from spikeloom.models.encoders import ENCODERS, encode


def test_unknown_name_lists_the_choices() -> None:
    with pytest.raises(
        ValueError,
        match=r"^unknown encoder 'phase'; choose one of none, rate, latency, direct, saccade\.$",
    ):
        encode("phase", np.zeros((1, 2), np.uint8), 4)
    assert list(ENCODERS) == ["none", "rate", "latency", "direct", "saccade"]


@pytest.mark.parametrize("name", ["rate", "latency", "direct", "saccade"])
@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (
            np.full((1, 4, 4), 1.5),
            r"real inputs must lie in 0 to 1, but they reach from 1.5 to 1.5",
        ),
        (
            np.full((1, 4, 4), -1),
            r"integer inputs must lie in 0 to 255, but they reach from -1 to -1",
        ),
        (np.full((1, 4, 4), np.nan), r"real inputs must lie in 0 to 1"),
        (np.full((1, 4, 4), 1j), r"inputs must be integers or reals, not complex128"),
        (np.zeros(4), r"inputs must have a sample axis and at least one more, not shape \(4,\)"),
    ],
)
def test_bad_inputs_are_refused(name: str, inputs: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        encode(name, inputs, 3)


@pytest.mark.parametrize("name", list(ENCODERS))
def test_timesteps_below_one_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"^timesteps must be at least 1, not 0\.$"):
        encode(name, np.zeros((1, 2, 2), np.uint8), 0)


def test_none_passes_on_unchanged() -> None:
    spikes = np.random.default_rng(0).integers(0, 2, (3, 5, 2, 4)).astype(np.uint8)
    assert encode("none", spikes, 5) is spikes
    with pytest.raises(
        ValueError, match=r"needs inputs of shape \(samples, 4, \.\.\.\), not \(3, 5, 2, 4\)"
    ):
        encode("none", spikes, 4)


def test_rate_spikes_with_the_probability_of_the_intensity() -> None:
    inputs = np.array([[0, 51, 102, 255]], np.uint8)
    spikes = encode("rate", inputs, 20000, seed=1)
    assert spikes.shape == (1, 20000, 4)
    assert spikes.dtype == np.uint8
    # five standard deviations of a Bernoulli mean of 20,000 draws are below .018
    np.testing.assert_allclose(spikes.mean(1)[0], [0, 0.2, 0.4, 1], atol=0.018)
    assert spikes[..., 0].sum() == 0
    assert spikes[..., 3].sum() == 20000


@pytest.mark.parametrize("name", ["rate", "saccade"])
def test_seed_decides_and_batch_size_does_not(name: str) -> None:
    inputs = load_mnist("test").inputs[:3]
    spikes = encode(name, inputs, 40, seed=5)
    assert spikes.sum() > 0
    np.testing.assert_array_equal(encode(name, inputs, 40, seed=5), spikes)
    np.testing.assert_array_equal(encode(name, inputs[:2], 40, seed=5), spikes[:2])
    assert not np.array_equal(encode(name, inputs, 40, seed=6), spikes)


def test_latency_spikes_once_and_brighter_earlier() -> None:
    inputs = np.array([[0.0, 1e-6, 0.25, 0.5, 0.75, 1.0]])
    spikes = encode("latency", inputs, 5)
    assert spikes.dtype == np.uint8
    assert spikes.sum(1).tolist() == [[0, 1, 1, 1, 1, 1]]
    assert spikes[0].argmax(0).tolist()[1:] == [4, 3, 2, 1, 0]
    assert encode("latency", inputs, 1).tolist() == [[[0, 1, 1, 1, 1, 1]]]


def test_direct_holds_the_current() -> None:
    inputs = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    current = encode("direct", inputs, 3)
    assert current.dtype == np.float32
    assert current.shape == (1, 3, 16, 16)
    for t in range(3):
        np.testing.assert_array_equal(current[0, t], inputs[0].astype(np.float32) / np.float32(255))
    np.testing.assert_array_equal(encode("direct", inputs / 255, 3), current)


def test_saccade_makes_as_many_events_as_n_mnist() -> None:
    digits = load_mnist("test").inputs[:200]
    events = encode("saccade", digits, 315)
    assert events.shape == (200, 315, 2, 34, 34)
    assert events.dtype == np.uint8
    assert events.max() == 1
    per_digit = events.sum((1, 2, 3, 4))
    assert 4170 < per_digit.mean() < 4370  # about 4,270
    assert 0.45 < events[:, :, 1].sum() / events.sum() < 0.55
    # refractory: no pixel fires in two adjacent timesteps, whatever the polarity
    fired = events.max(2) > 0
    assert not (fired[:, 1:] & fired[:, :-1]).any()
    np.testing.assert_array_equal(encode("saccade", digits[:2], 100), events[:2, :100])
    np.testing.assert_array_equal(encode("saccade", digits[:2, None], 100), events[:2, :100])


def test_saccade_of_a_black_image_is_silent() -> None:
    assert encode("saccade", np.zeros((2, 28, 28), np.uint8), 315).sum() == 0


def test_saccade_moves_a_dot_along_the_triangle() -> None:
    image = np.zeros((1, 28, 28), np.uint8)
    image[0, 13, 13] = 255
    on = encode("saccade", image, 315)[0, :, 1]
    places = [np.argwhere(on[start : start + 25].any(0)) for start in (80, 185, 290)]
    # ON events at the ends of the three saccades: the dot is at its corner (x + 3.5, y + 7), ...
    ends = [(place[:, 1].mean(), place[:, 0].mean()) for place in places]
    x_moves = np.diff([x for x, _ in ends])
    y_moves = np.diff([y for _, y in ends])
    np.testing.assert_allclose(x_moves, saccade.CORNERS[2:, 0] - saccade.CORNERS[1:-1, 0], atol=1)
    np.testing.assert_allclose(y_moves, saccade.CORNERS[2:, 1] - saccade.CORNERS[1:-1, 1], atol=1)


def test_saccade_shows_off_behind_and_on_before_a_bright_bar() -> None:
    """During the last saccade a vertical bar moves along x only: ON leads and OFF follows."""
    image = np.zeros((1, 28, 28), np.uint8)
    image[0, 4:24, 10:18] = 255
    last = encode("saccade", image, 315)[0, 210:]
    off_x, on_x = (np.argwhere(last[:, polarity])[:, 2].mean() for polarity in (0, 1))
    direction = np.sign(saccade.CORNERS[3, 0] - saccade.CORNERS[2, 0])
    assert direction * (on_x - off_x) > 4


@pytest.mark.parametrize(
    ("inputs", "timesteps", "message"),
    [
        (np.zeros((1, 28, 28)), 316, "must not be 316; ask for at most 315"),
        (np.zeros((1, 35, 28)), 10, r"at most 34 pixels a side, not shape \(1, 35, 28\)"),
        (np.zeros((1, 784)), 10, r"needs grey images .* not shape \(1, 784\)"),
        (np.zeros((1, 3, 28, 28)), 10, r"not shape \(1, 3, 28, 28\)"),
    ],
)
def test_saccade_refuses(inputs: np.ndarray, timesteps: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        encode("saccade", inputs, timesteps)
