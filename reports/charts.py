"""Simple figures of the page: histogram, confusion matrix, curves over epochs."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from .drawing import Drawing
from .mesh_map import HEAT_STEPS, heat_step
from .scales import linear_ticks
from .units import count, si

__all__ = ["Bin", "bins_of", "confusion_svg", "curves_svg", "histogram_svg"]

Bin = tuple[float, float, int]  # lower and upper edge, how many
_BINS = 30
_LEFT, _RIGHT, _TOP = 52.0, 16.0, 10.0


def bins_of(values: Sequence[int]) -> list[Bin]:
    """Return a histogram of whole numbers, at most 30 bins; empty if there are none or all are the same."""
    low, high = min(values, default=0), max(values, default=0)
    if low == high:
        return []
    bins = min(_BINS, high - low + 1)
    counts = [0] * bins
    for value in values:
        counts[min((value - low) * bins // (high - low), bins - 1)] += 1
    edges = [low + i * (high - low) / bins for i in range(bins + 1)]
    return [(edges[i], edges[i + 1], number) for i, number in enumerate(counts)]


def histogram_svg(bins: Sequence[Bin], clock_hz: float) -> Markup:
    """Return the distribution of cycles a sample, with the latency in seconds below it."""
    width, high = 460.0, 170.0
    drawing = Drawing(
        width, high + _TOP + 58, "Distribution of the latency of a sample", widest=760
    )
    low, top = bins[0][0], max(number for _, _, number in bins)
    scale = (width - _LEFT - _RIGHT) / (bins[-1][1] - low)
    floor = _TOP + high
    for value in linear_ticks(0, top, 4):
        at = floor - high * value / top
        drawing.line(_LEFT, at, width - _RIGHT, at, kind="grid")
        drawing.text(_LEFT - 6, at, count(value), anchor="end")
    for start, end, number in bins:
        height = high * number / top
        drawing.rect(
            _LEFT + (start - low) * scale, floor - height, max((end - start) * scale - 1, 0.5), height, kind="time",
            tip=f"{start:,.0f} to {end:,.0f} cycles: {number} samples"
        )  # fmt: skip
    drawing.line(_LEFT, floor, width - _RIGHT, floor)
    for value in linear_ticks(low, bins[-1][1], 5):
        at = _LEFT + (value - low) * scale
        drawing.line(at, floor, at, floor + 4)
        drawing.text(at, floor + 14, count(value))
        drawing.text(at, floor + 29, si(value / clock_hz, "s"))
    drawing.text((_LEFT + width - _RIGHT) / 2, floor + 48, "clock cycles, and time, of a sample")
    drawing.text(12, _TOP + high / 2, "samples", turned=True)
    return drawing.markup


def confusion_svg(labels: Sequence[int], predictions: Sequence[int]) -> Markup:
    """Return how often each class was taken for each other, as a matrix."""
    classes = max(*labels, *predictions) + 1
    table = [[0] * classes for _ in range(classes)]
    for label, prediction in zip(labels, predictions, strict=True):
        table[label][prediction] += 1
    size = 34.0
    side = classes * size
    drawing = Drawing(side + 50, side + 52, "Confusion matrix", widest=max(460.0, side * 1.15))
    for label, row in enumerate(table):
        whole = sum(row)
        y = 6 + label * size
        drawing.text(42, y + size / 2, str(label), anchor="end")
        drawing.text(50 + label * size + size / 2, side + 17, str(label))
        for prediction, number in enumerate(row):
            x = 50 + prediction * size
            step = heat_step(number, whole)
            fill = "var(--empty)" if step is None else f"var(--h{step})"
            drawing.rect(
                x, y, size - 2, size - 2, fill=fill,
                tip=f"class {label}, taken for {prediction}: {number} of {whole} samples"
            )  # fmt: skip
            if number:
                assert step is not None
                kind = "on-much" if step >= HEAT_STEPS / 2 else "on-little"
                drawing.text(x + size / 2 - 1, y + size / 2 - 1, str(number), kind=kind)
    drawing.text(50 + side / 2, side + 38, "class decided")
    drawing.text(10, 6 + side / 2, "class of the label", turned=True)
    return drawing.markup


def curves_svg(
    title: str,
    curves: Sequence[tuple[str, Sequence[float | None]]],
    *,
    unit: str = "",
    zero: bool = True,
) -> Markup:
    """Return curves over epochs, at most two: the first solid, the second dashed.

    Parameters
    ----------
    title : str
        What is shown, at the axis.
    curves : sequence of (name, values)
        A value for each epoch, None where there is none.
    unit : str
        Behind the numbers; ``%`` multiplies by 100.
    zero : bool
        Whether the axis starts at zero.
    """
    width, high = 420.0, 200.0
    drawing = Drawing(width, high + 66, f"{title} of each epoch", widest=560)
    factor = 100.0 if unit == "%" else 1.0
    known = [factor * v for _, values in curves for v in values if v is not None]
    low = 0.0 if zero else min(known)
    top = max(known)
    top = top if top > low else low + 1.0
    epochs = max(len(values) for _, values in curves)
    floor, right = _TOP + high, width - _RIGHT
    step = (right - _LEFT) / max(1, epochs - 1)
    for value in linear_ticks(low, top, 4):
        at = floor - high * (value - low) / (top - low)
        drawing.line(_LEFT, at, right, at, kind="grid")
        drawing.text(_LEFT - 6, at, f"{value:g}{unit}", anchor="end")
    for epoch in linear_ticks(1, max(2, epochs), 8):
        if float(epoch).is_integer():
            drawing.text(_LEFT + (epoch - 1) * step, floor + 14, f"{epoch:.0f}")
    for number, (name, values) in enumerate(curves):
        places = [
            (_LEFT + i * step, floor - high * (factor * value - low) / (top - low), i + 1, value)
            for i, value in enumerate(values)
            if value is not None
        ]
        kind = ("curve", "curve dashed")[number % 2]
        if len(places) > 1:
            drawing.path("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y, _, _ in places), kind=kind)
        for x, y, epoch, value in places:
            drawing.dot(
                x,
                y,
                3.5,
                kind="hollow" if number else "mark",
                tip=f"{name}, epoch {epoch}: {factor * value:.4g}{unit}",
            )
    drawing.line(_LEFT, floor, right, floor)
    drawing.text((_LEFT + right) / 2, floor + 30, "epoch")
    names = ", ".join(
        f"{('filled', 'hollow')[i % 2]}: {name}" for i, (name, _) in enumerate(curves)
    )
    if len(curves) > 1:
        drawing.text((_LEFT + right) / 2, floor + 48, names)
    return drawing.markup
