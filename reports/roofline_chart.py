"""A roofline as a drawing: logarithmic both ways, points numbered as the layers are."""

from __future__ import annotations

from math import log10

from markupsafe import Markup

from .drawing import Drawing
from .mesh_map import layer_colour
from .roofline import Point, Roofline
from .scales import log_bounds, log_ticks
from .units import count, si

__all__ = ["roofline_svg"]

_WIDTH, _HEIGHT = 420, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 66, 18, 16, 46
_RADIUS = 8.5
_RAISED = str.maketrans(
    "-0123456789", "\u207b\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079"
)


def roofline_svg(roofline: Roofline) -> Markup:
    """Return the drawing of a roofline that has points."""
    axes = _Axes(roofline)
    drawing = Drawing(_WIDTH, _HEIGHT, f"Roofline: {roofline.title}", widest=560)
    axes.grid(drawing, roofline)
    for name, peak in roofline.peaks:
        axes.flat(drawing, roofline, name, peak)
    for slope in roofline.slopes:
        axes.slope(drawing, roofline, slope.name, slope.per_second)
    for point in roofline.points:
        axes.point(drawing, roofline, point)
    return drawing.markup


class _Axes:
    """Places on logarithmic axes, in units of the drawing."""

    def __init__(self, roofline: Roofline) -> None:
        known = [p.intensity for p in roofline.points if p.intensity]
        peak = roofline.peaks[0][1]
        knees = [peak / slope.per_second for slope in roofline.slopes]
        rates = [r for p in roofline.points for r in (p.rate, p.while_busy) if r]
        self.x_low, self.x_high = log_bounds(
            [*known, *(k / 3 for k in knees), *(3 * k for k in knees)]
        )
        tops = [value for _, value in roofline.peaks]
        self.y_low, self.y_high = log_bounds([*rates, *tops, min(tops) / 10])
        if max(tops) > 10**self.y_high * 0.6:  # room for the name of the ceiling
            self.y_high += 1

    def x(self, value: float) -> float:
        share = (log10(value) - self.x_low) / (self.x_high - self.x_low)
        return _LEFT + min(max(share, 0.0), 1.0) * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        share = (log10(value) - self.y_low) / (self.y_high - self.y_low)
        return _HEIGHT - _BOTTOM - min(max(share, 0.0), 1.0) * (_HEIGHT - _TOP - _BOTTOM)

    def grid(self, drawing: Drawing, roofline: Roofline) -> None:
        bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
        for power in log_ticks(self.x_low, self.x_high, 6):
            at = self.x(10.0**power)
            drawing.line(at, _TOP, at, bottom, kind="grid")
            drawing.text(at, bottom + 13, _power(power))
        for power in log_ticks(self.y_low, self.y_high, 6):
            at = self.y(10.0**power)
            drawing.line(_LEFT, at, right, at, kind="grid")
            drawing.text(_LEFT - 6, at, _rate(power), anchor="end")
        drawing.line(_LEFT, bottom, right, bottom)
        drawing.line(_LEFT, _TOP, _LEFT, bottom)
        middle = (_LEFT + right) / 2
        drawing.text(middle, bottom + 33, f"{roofline.operation}s a {roofline.traffic}")
        drawing.text(9, (_TOP + bottom) / 2, f"{roofline.operation}s a second", turned=True)

    def flat(self, drawing: Drawing, roofline: Roofline, name: str, peak: float) -> None:
        knee = max((peak / slope.per_second for slope in roofline.slopes), default=0.0)
        start = self.x(knee) if knee > 0 else _LEFT
        at = self.y(peak)
        drawing.line(start, at, _WIDTH - _RIGHT, at, kind="ceiling")
        drawing.text(_WIDTH - _RIGHT, at - 8, f"{name}: {si(peak, '/s')}", anchor="end", kind="ink")

    def slope(self, drawing: Drawing, roofline: Roofline, name: str, per_second: float) -> None:
        top = max(peak for _, peak in roofline.peaks)
        low = max(10.0**self.x_low, 10.0**self.y_low / per_second)
        high = min(top / per_second, 10.0**self.x_high)
        x1, y1, x2, y2 = (
            self.x(low),
            self.y(low * per_second),
            self.x(high),
            self.y(high * per_second),
        )
        drawing.line(x1, y1, x2, y2, kind="ceiling")
        # Above the line, where no point can be; and above the name of the lanes where it would reach it.
        ends = min(x1 + 8 + 6.5 * len(name), x2)
        height = y1 + (y2 - y1) * (ends - x1) / max(x2 - x1, 1.0)
        drawing.text(x1 + 8, height - (24 if ends == x2 else 9), name, anchor="start", kind="ink")

    def point(self, drawing: Drawing, roofline: Roofline, point: Point) -> None:
        lowest, highest = 10.0**self.x_low, 10.0**self.x_high
        x = self.x(min(max(point.intensity or highest, lowest), highest))
        colour = layer_colour(point.number) if point.number else "var(--bar)"
        what = f"{point.name}: {si(point.rate, '/s')}"
        if point.intensity is not None:
            what += f" at {count(point.intensity)} {roofline.operation}s a {roofline.traffic}"
        if point.while_busy:
            at = self.y(max(point.while_busy, 10.0**self.y_low))
            drawing.dot(
                x,
                at,
                5,
                kind="hollow",
                tip=f"{point.name} while it works: {si(point.while_busy, '/s')}",
            )
        y = self.y(max(point.rate, 10.0**self.y_low))
        drawing.dot(x, y, _RADIUS, fill=colour, tip=what)
        if point.number:
            drawing.text(x, y + 0.5, str(point.number), kind="in")


def _power(power: int) -> str:
    """Return a power of ten as text."""
    if -2 <= power <= 3:
        return f"{10.0**power:g}"
    return "10" + str(power).translate(_RAISED)


def _rate(power: int) -> str:
    """Return a power of ten with a prefix."""
    number, prefix = si(10.0**power, "").split("\u00a0")
    return f"{float(number):g}\u00a0{prefix}"
