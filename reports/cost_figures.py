"""What every figure of a cost table is: a value with its unit, its source, and how good it is."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import exp, log
from typing import Any, Literal

from pydantic import Field, model_validator

from .model import ReportModel

Status = Literal["measured", "derived", "assumed"]
Known = Literal["measured", "read", "recalled", "reasoned"]

# How good a figure is, worst last: what is made of several figures is as good as the worst of them.
STATUSES: tuple[Status, ...] = ("measured", "derived", "assumed")


class CostError(ValueError):
    """A cost table that is missing or wrong; the message is a sentence for the user."""


class Sourced(ReportModel):
    """Where a figure comes from.

    ``status`` says what was made of it, ``known`` how we came by it; ``voltage_v`` is null where it has no meaning.
    """

    source: str = Field(min_length=10)
    node_nm: int = Field(ge=3, le=250)
    voltage_v: float | None = Field(default=None, gt=0, le=5)
    status: Status
    known: Known


class Constant(Sourced):
    """One figure with its unit."""

    value: float = Field(ge=0)
    unit: str = Field(min_length=1)


class Curve(Sourced):
    """Energy over a width, a straight line in the logarithms of both between (and beyond) the points."""

    x: str = Field(min_length=1, description="what the first number of a point is")
    points: tuple[tuple[float, float], ...] = Field(min_length=2)
    unit: Literal["pJ"]

    @model_validator(mode="after")
    def _check(self) -> Curve:
        check_points(self.points)
        return self

    def at(self, x: float) -> float:
        """Return the energy in pJ; nothing of no width."""
        return 0.0 if x <= 0 else interpolate(self.points, x)


def worst_status(*statuses: Status) -> Status:
    """Return the status of a figure made of several: that of the worst, and never better than derived."""
    return STATUSES[max(STATUSES.index(status) for status in ("derived", *statuses))]


def check_points(points: Sequence[tuple[float, float]]) -> None:
    """Raise ValueError unless both numbers of the points are positive and ascend."""
    ascending([x for x, _ in points], "x of the points")
    ascending([y for _, y in points], "energy of the points")


def ascending(values: Sequence[Any], what: str) -> None:
    """Raise ValueError unless there are two values or more, positive and ascending."""
    if len(values) < 2 or values[0] <= 0 or any(b <= a for a, b in pairwise(values)):
        raise ValueError(f"{what} must be at least two, positive and ascending, not {values}")


def interpolate(points: Sequence[tuple[float, float]], x: float) -> float:
    """Return y at ``x``: a straight line in the logarithms of both, the outermost two points' beyond them."""
    place = next((i for i in range(1, len(points) - 1) if x <= points[i][0]), len(points) - 1)
    (x0, y0), (x1, y1) = points[place - 1], points[place]
    share = (log(x) - log(x0)) / (log(x1) - log(x0))
    return exp(log(y0) + share * (log(y1) - log(y0)))
