"""Watch still images with a simulated event camera on three saccades, as N-MNIST was recorded.

N-MNIST (Orchard et al. 2015) moved a real sensor before a screen. Here the image moves over a
window of 34 x 34 pixels: the events are synthetic. Not modelled: noise events, the pixel's
bandwidth and leak, and the screen's refresh.
"""

from __future__ import annotations

import numpy as np

WINDOW_PIXELS = 34  # side of the sensor's window, as in N-MNIST
SACCADE_STEPS = 105  # timesteps of 1 ms that each of the three saccades lasts
MAX_TIMESTEPS = 3 * SACCADE_STEPS
# The image's place (x, y) in pixels at the ends of the saccades: down left, up left, back right.
# That is opposite in x to the camera's +3.5, +3.5, -7. The NIR paper's network, trained on real
# N-MNIST, recognises 99 % of digits that move so, 95 to 97 % of digits that start to the right.
CORNERS = np.array([[7.0, 0.0], [3.5, 7.0], [0.0, 0.0], [7.0, 0.0]])

THRESHOLD = 0.4  # change of log intensity that makes an event
THRESHOLD_SPREAD = 0.05  # standard deviation over the pixels, as a share of THRESHOLD
THRESHOLD_FLOOR = 0.05  # no draw of the spread may give a pixel that fires at nothing
REFRACTORY_STEPS = 2  # timesteps (ms) from an event of a pixel to its next
DARK_INTENSITY = 0.152  # light of a black pixel; it limits the contrast that the logarithm sees


def encode_saccade(intensity: np.ndarray, timesteps: int, rng: np.random.Generator) -> np.ndarray:
    """Record each image with the moving camera.

    Parameters
    ----------
    intensity : np.ndarray
        float32 in 0 to 1, shape (samples, rows, columns) or (samples, 1, rows, columns); at most
        34 rows and columns.
    timesteps : int
        Milliseconds to record, at most 315; the camera's speed does not depend on it.
    rng : np.random.Generator
        Draws the thresholds of the one sensor that all samples share.

    Returns
    -------
    np.ndarray
        uint8 0 or 1, shape (samples, timesteps, 2, 34, 34); channel 0 is OFF (darker), 1 is ON.

    Raises
    ------
    ValueError
        For other shapes and for more timesteps than the saccades last.
    """
    if intensity.ndim == 4 and intensity.shape[1] == 1:
        intensity = intensity[:, 0]
    if intensity.ndim != 3 or max(intensity.shape[1:]) > WINDOW_PIXELS:
        raise ValueError(
            f"encoder 'saccade' needs grey images (samples, rows, columns) of at most "
            f"{WINDOW_PIXELS} pixels a side, not shape {intensity.shape}."
        )
    if timesteps > MAX_TIMESTEPS:
        raise ValueError(
            f"encoder 'saccade' lasts {MAX_TIMESTEPS} timesteps of 1 ms, so timesteps must not be "
            f"{timesteps!r}; ask for at most {MAX_TIMESTEPS}."
        )
    window = (WINDOW_PIXELS, WINDOW_PIXELS)
    spread = rng.standard_normal((2, *window)) * THRESHOLD_SPREAD * THRESHOLD
    off_threshold, on_threshold = np.maximum(THRESHOLD + spread, THRESHOLD_FLOOR).astype(np.float32)

    events = np.zeros((len(intensity), timesteps, 2, *window), np.uint8)
    places = _camera_path()
    canvas, margin = _canvas(intensity)
    reference = _log_intensity(_shifted(canvas, margin, places[0]))
    last_event = np.full(reference.shape, -REFRACTORY_STEPS, np.int16)
    for t in range(timesteps):
        log_now = _log_intensity(_shifted(canvas, margin, places[t + 1]))
        change = log_now - reference
        is_ready = t - last_event >= REFRACTORY_STEPS
        is_on = (change > on_threshold) & is_ready
        is_off = (change < -off_threshold) & is_ready
        events[:, t, 0] = is_off
        events[:, t, 1] = is_on
        # one event reports the whole change: the pixel compares with the present light from here on
        is_event = is_on | is_off
        reference = np.where(is_event, log_now, reference)
        last_event[is_event] = t
    return events


def _camera_path() -> np.ndarray:
    """Return the image's place (x, y) in pixels at the start and after each timestep, (316, 2)."""
    saccade, step = np.divmod(np.arange(MAX_TIMESTEPS), SACCADE_STEPS)
    # a saccade starts and ends at rest: its speed is half a period of a sine
    share = (1 - np.cos(np.pi * step / SACCADE_STEPS))[:, None] / 2
    path = CORNERS[saccade] + share * (CORNERS[saccade + 1] - CORNERS[saccade])
    return np.concatenate([path, CORNERS[-1:]])


def _canvas(intensity: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
    """Put images on black with room for every move; return it and the window's corner (x, y).

    That is the corner for an image at place (0, 0). The images' whole path, 7 x 7 pixels, is
    centred in the window to within a pixel.
    """
    samples, rows, columns = intensity.shape
    reach = WINDOW_PIXELS
    canvas = np.zeros((samples, rows + 2 * reach, columns + 2 * reach), np.float32)
    canvas[:, reach : reach + rows, reach : reach + columns] = intensity
    travel = CORNERS.max(axis=0)
    left, top = (
        int(reach - np.ceil((WINDOW_PIXELS - size - move) / 2))
        for size, move in zip((columns, rows), travel, strict=True)
    )
    return canvas, (left, top)


def _shifted(canvas: np.ndarray, corner: tuple[int, int], place: np.ndarray) -> np.ndarray:
    """Return the window's view (samples, 34, 34) with the images moved by `place`, bilinearly."""
    whole = np.ceil(place).astype(int)
    part_x, part_y = (whole - place).astype(np.float32)  # 0 to 1: how far short of `whole`
    left, top = corner[0] - whole[0], corner[1] - whole[1]
    view = canvas[:, top : top + WINDOW_PIXELS + 1, left : left + WINDOW_PIXELS + 1]
    in_x = view[:, :, :-1] + part_x * (view[:, :, 1:] - view[:, :, :-1])
    return in_x[:, :-1] + part_y * (in_x[:, 1:] - in_x[:, :-1])


def _log_intensity(intensity: np.ndarray) -> np.ndarray:
    """Return what a pixel's photoreceptor reports."""
    return np.log(intensity + np.float32(DARK_INTENSITY))
