"""Calibration: a preset beside the published figures of the chip that it follows, and checks with their verdicts."""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from .model import ReportModel

__all__ = [
    "PUBLISHED_TABLES", "VERDICTS", "Beside", "Calibration", "CalibrationError", "Check", "Figure", "Finding",
    "Published", "load_published",
]  # fmt: skip

_FOLDER = Path(__file__).parent / "published"

Half = Literal["many_core", "learn"]
# read: there, in the source. measured: by running what was published. derived: by arithmetic from figures that were
# read. recalled: from memory, found nowhere; such a figure is shown and bounds nothing.
Mark = Literal["read", "measured", "derived", "recalled"]
Verdict = Literal["pass", "missed", "reported only", "not applicable"]
VERDICTS: tuple[Verdict, ...] = ("pass", "missed", "reported only", "not applicable")

# Of each half: the table of published figures, and the preset that stands beside it.
PUBLISHED_TABLES: dict[Half, tuple[str, str]] = {
    "many_core": ("tianjic", "tianjic"),
    "learn": ("h2learn", "h2learn"),
}


class CalibrationError(ValueError):
    """A table of published figures that is missing or wrong; the message is a sentence for the user."""


class Figure(ReportModel):
    """One published figure; ``value`` is a number, or the lowest and highest of a range."""

    what: str = Field(min_length=3)
    value: float | tuple[float, float]
    unit: str
    mark: Mark
    source: str = Field(min_length=10)

    @property
    def low(self) -> float:
        """Lowest value."""
        return self.value[0] if isinstance(self.value, tuple) else self.value

    @property
    def high(self) -> float:
        """Highest value."""
        return self.value[1] if isinstance(self.value, tuple) else self.value

    @model_validator(mode="after")
    def _check(self) -> Figure:
        if not self.low <= self.high:
            raise ValueError(f"a range goes from lowest to highest, not {self.value}")
        return self


class Published(ReportModel):
    """The figures of one chip, by name."""

    version: Literal[1]
    name: str = Field(min_length=3)
    figures: dict[str, Figure] = Field(min_length=1)

    def figure(self, name: str) -> Figure:
        """Return a figure; CalibrationError names those there are."""
        if name not in self.figures:
            raise CalibrationError(
                f"{self.name} has no published figure {name!r}; it has {', '.join(sorted(self.figures))}"
            )
        return self.figures[name]


class Finding(ReportModel):
    """One number of a check; ``low`` and ``high`` bound it, and where it does not bind it is reported only."""

    what: str = Field(min_length=3)
    got: float
    unit: str = ""
    expected: str = Field(default="", description="as the source has it")
    low: float | None = None
    high: float | None = None
    binds: bool = True

    @property
    def holds(self) -> bool | None:
        """Whether the number lies within its bounds; None where it has none."""
        if self.low is None and self.high is None:
            return None
        above = self.low is None or self.got >= self.low
        return above and (self.high is None or self.got <= self.high)

    @property
    def verdict(self) -> str:
        """``pass`` or ``missed``; of a number that does not bind, ``within``, ``outside`` or ``reported``."""
        words = ("pass", "missed") if self.binds else ("within", "outside")
        return "reported" if self.holds is None else words[0] if self.holds else words[1]


class Check(ReportModel):
    """One acceptance check: what must hold, where that is from, how it was looked at, and what was found.

    ``fitted`` says what in it was chosen so that it holds; empty where nothing was. ``reason`` says why a check does
    not apply, or why a number lies outside.
    """

    id: str = Field(pattern=r"^[TH]\d+$")
    half: Half
    title: str = Field(min_length=5)
    tolerance: str
    source: str = Field(min_length=3)
    how: Literal["simulated", "priced", "compiled", "calculated", "not run"]
    fitted: str = ""
    reason: str = ""
    findings: tuple[Finding, ...] = ()
    seconds: float = Field(default=0.0, ge=0)

    @property
    def verdict(self) -> Verdict:
        """Missed if one binding number is; pass if there are binding ones."""
        if not self.findings:
            return "not applicable"
        words = [finding.verdict for finding in self.findings]
        return "missed" if "missed" in words else "pass" if "pass" in words else "reported only"

    @model_validator(mode="after")
    def _check(self) -> Check:
        if not self.findings and not self.reason:
            raise ValueError(f"check {self.id} found nothing and gives no reason")
        if not self.findings and self.how != "not run":
            raise ValueError(f"check {self.id} was {self.how}, but found nothing")
        return self


class Beside(ReportModel):
    """A published figure and ours; ``ours`` is None where it is not known, and ``note`` says why."""

    name: str
    published: Figure
    ours: float | None
    how: str = Field(description="simulated, priced, configured, ... or why it is not known")
    fitted: bool = False

    @property
    def ratio(self) -> tuple[float, float] | None:
        """Ours over the published figure's highest and lowest; None where one of them is unknown or 0."""
        if self.ours is None or self.published.low <= 0:
            return None
        return self.ours / self.published.high, self.ours / self.published.low


class Calibration(ReportModel):
    """What `spikeloom calibrate` gives."""

    schema_version: Literal[1] = 1
    beside: dict[Half, tuple[Beside, ...]] = Field(description="empty where only some checks ran")
    checks: tuple[Check, ...] = Field(min_length=1)
    notes: tuple[str, ...]
    provenance: dict[str, Any]

    @model_validator(mode="after")
    def _check(self) -> Calibration:
        ids = [check.id for check in self.checks]
        if len(set(ids)) != len(ids):
            raise ValueError(f"a check stands there twice: {', '.join(sorted(ids))}")
        return self

    @property
    def ok(self) -> bool:
        """Whether no check that binds was missed."""
        return all(check.verdict != "missed" for check in self.checks)

    @property
    def counts(self) -> dict[Verdict, int]:
        """How many checks have each verdict."""
        found = [check.verdict for check in self.checks]
        return {verdict: found.count(verdict) for verdict in VERDICTS}

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, with the verdicts and their counts, for JSON."""
        fields = self.model_dump(mode="json")
        for plain, check in zip(fields["checks"], self.checks, strict=True):
            plain["verdict"] = check.verdict
            for item, finding in zip(plain["findings"], check.findings, strict=True):
                item["verdict"] = finding.verdict
        return fields | {"ok": self.ok, "counts": self.counts}


def bounded(
    what: str,
    got: float,
    figure: Figure,
    tolerance: float = 0.0,
    *,
    unit: str | None = None,
    binds: bool = True,
) -> Finding:
    """Return a number bounded by a published figure within a relative tolerance; a recalled figure bounds nothing."""
    value = (
        f"{figure.low:,.10g}"
        if figure.low == figure.high
        else f"{figure.low:,.10g} to {figure.high:,.10g}"
    )
    if figure.mark == "recalled":
        return Finding(
            what=what,
            got=got,
            unit=unit or figure.unit,
            expected=f"{value} (recalled)",
            binds=False,
        )
    return Finding(
        what=what, got=got, unit=figure.unit if unit is None else unit, expected=value,
        low=figure.low * (1 - tolerance), high=figure.high * (1 + tolerance), binds=binds,
    )  # fmt: skip


def exactly(what: str, got: float, expected: float, unit: str = "") -> Finding:
    """Return a number that must equal another."""
    return Finding(
        what=what, got=got, unit=unit, expected=f"{expected:,.10g}", low=expected, high=expected
    )


def near(what: str, got: float, expected: float, tolerance: float, unit: str = "") -> Finding:
    """Return a number that must be within a relative tolerance of another."""
    away = abs(expected) * tolerance
    return Finding(
        what=what, got=got, unit=unit, expected=f"{expected:.6g}", low=expected - away, high=expected + away
    )  # fmt: skip


def load_published(name: str) -> Published:
    """Load the figures of a published chip by name.

    Raises
    ------
    CalibrationError
        No such table, no YAML, or a field that is unknown, missing or out of range: one line per wrong field.
    """
    path = _FOLDER / f"{name}.yaml"
    if not path.is_file():
        there = ", ".join(sorted(p.stem for p in _FOLDER.glob("*.yaml")))
        raise CalibrationError(f"there are no published figures of {name!r}, only of {there}")
    try:
        return published_from_dict(yaml.safe_load(path.read_text(encoding="utf-8")), str(path))
    except yaml.YAMLError as error:
        raise CalibrationError(
            f"{path} is no readable YAML: {' '.join(str(error).split())}"
        ) from None


def published_from_dict(fields: Any, where: str) -> Published:
    """Validate ``fields`` into a table of figures; CalibrationError with a line per wrong field."""
    try:
        return Published.model_validate(fields)
    except ValidationError as error:
        lines = [
            f"{'.'.join(str(part) for part in item['loc']) or 'the table'}: {item['msg'].removeprefix('Value error, ')}"
            for item in error.errors()[:8]
        ]
        raise CalibrationError(
            f"{where} is no table of published figures:\n  " + "\n  ".join(lines)
        ) from None


def number(value: float) -> str:
    """Return a number as text: whole ones with separators, others with four digits."""
    if not isfinite(value):
        return str(value)
    if value == round(value) and abs(value) < 1e15:
        return f"{value:,.0f}"
    return f"{value:,.1f}" if abs(value) >= 1000 else f"{value:.4g}"
