"""SRAM macros of one node: what CACTI said of sizes, words and ports, and what is between."""

from __future__ import annotations

from bisect import bisect_right
from functools import cached_property
from math import ceil, exp, log, log2
from typing import Literal

from pydantic import Field, model_validator

from .cost_figures import Sourced
from .model import ReportModel

__all__ = ["FIELDS", "Ports", "SramPoint", "SramTable"]

Ports = Literal["1rw", "1r1w"]  # one port that reads and writes; one of each
Figure = Literal["read_pj", "write_pj", "leakage_mw", "area_mm2", "access_ns"]

LEAST_ROWS = 32  # words of a macro; shallower memories take what one of so many takes
WIDEST_WORD = 32  # bytes of a macro

# The numbers of a point in a file, in order.
FIELDS = ("size_bytes", "word_bytes", "read_pj", "write_pj", "leakage_mw", "area_mm2", "access_ns")


class SramPoint(ReportModel):
    """One macro: size and word, energy of a read and of a write, leakage, area and access time."""

    size_bytes: int = Field(gt=0)
    word_bytes: int = Field(gt=0)
    read_pj: float = Field(gt=0)
    write_pj: float = Field(gt=0)
    leakage_mw: float = Field(gt=0)
    area_mm2: float = Field(gt=0)
    access_ns: float = Field(gt=0)


class SramTable(Sourced):
    """Macros by ports, and the rule between them.

    Every figure is a straight line in logarithms between points, over the size and over the word, and goes on beyond
    the largest size; below the smallest one it stays. A macro is never dearer than a larger one or one of wider words:
    where CACTI says so (it prefers speed), the larger one's figure stands. A memory is as many macros side by side as
    make a read and a write together cheapest, of words of at most 32 bytes; a macro has at least 32 words of at least a
    byte.

    ``temperature_k`` is that of the leakage.
    """

    temperature_k: float = Field(gt=200, lt=450)
    points: dict[Ports, tuple[SramPoint, ...]]

    @model_validator(mode="after")
    def _check(self) -> SramTable:
        for ports in ("1rw", "1r1w"):
            if ports not in self.points:
                raise ValueError(f"the SRAM table has no macros of ports {ports}")
            at = [(p.size_bytes, p.word_bytes) for p in self.points[ports]]
            if len(set(at)) < len(at):
                raise ValueError(f"the SRAM table has a size and word twice, ports {ports}")
            if len({size for size, _ in at}) < 2 or len({word for _, word in at}) < 2:
                raise ValueError(
                    f"the SRAM table needs at least two sizes and two words, ports {ports}"
                )
            corner = (max(size for size, _ in at), max(word for _, word in at))
            if corner not in at:
                raise ValueError(
                    f"the SRAM table lacks the largest size with the widest word, {corner}, ports {ports}"
                )
        return self

    def read_pj(self, size_bytes: float, word_bytes: float, ports: Ports = "1rw") -> float:
        """Return the energy of reading one word, in pJ."""
        return self._at("read_pj", size_bytes, word_bytes, ports)

    def write_pj(self, size_bytes: float, word_bytes: float, ports: Ports = "1rw") -> float:
        """Return the energy of writing one word, in pJ."""
        return self._at("write_pj", size_bytes, word_bytes, ports)

    def leakage_mw(self, size_bytes: float, word_bytes: float, ports: Ports = "1rw") -> float:
        """Return the leakage at ``temperature_k``, in mW."""
        return self._at("leakage_mw", size_bytes, word_bytes, ports)

    def area_mm2(self, size_bytes: float, word_bytes: float, ports: Ports = "1rw") -> float:
        """Return the area in mm2."""
        return self._at("area_mm2", size_bytes, word_bytes, ports)

    def access_ns(self, size_bytes: float, word_bytes: float, ports: Ports = "1rw") -> float:
        """Return the access time in ns."""
        return self._at("access_ns", size_bytes, word_bytes, ports)

    def _at(self, figure: Figure, size_bytes: float, word_bytes: float, ports: Ports) -> float:
        if size_bytes <= 0 or word_bytes <= 0:
            return 0.0
        grids = self._grids[ports]
        sides = [2**i for i in range(max(1, ceil(log2(max(word_bytes, 1))) + 1))]
        options = [(n, max(word_bytes / n, 1.0)) for n in sides if word_bytes / n <= WIDEST_WORD]

        def of(name: Figure, macros: int, word: float) -> float:
            one = grids[name].at(max(size_bytes / macros, LEAST_ROWS * word), word)
            return one if name == "access_ns" else macros * one

        best = min(options, key=lambda option: of("read_pj", *option) + of("write_pj", *option))
        return of(figure, *best)

    @cached_property
    def _grids(self) -> dict[Ports, dict[Figure, _Grid]]:
        figures: tuple[Figure, ...] = (
            "read_pj", "write_pj", "leakage_mw", "area_mm2", "access_ns",
        )  # fmt: skip
        return {
            ports: {
                figure: _Grid({(p.size_bytes, p.word_bytes): getattr(p, figure) for p in points})
                for figure in figures
            }
            for ports, points in self.points.items()
        }


class _Grid:
    """A figure over size and word, made monotone, bilinear in logarithms."""

    def __init__(self, values: dict[tuple[int, int], float]) -> None:
        self._sizes = sorted({size for size, _ in values})
        self._words = sorted({word for _, word in values})
        self._logs: list[list[float]] = [[0.0] * len(self._words) for _ in self._sizes]
        for i in reversed(range(len(self._sizes))):
            for j in reversed(range(len(self._words))):
                dearer = [self._logs[i + 1][j]] if i + 1 < len(self._sizes) else []
                dearer += [self._logs[i][j + 1]] if j + 1 < len(self._words) else []
                own = values.get((self._sizes[i], self._words[j]))
                self._logs[i][j] = min([*dearer, *([] if own is None else [log(own)])])

    def at(self, size: float, word: float) -> float:
        i, of_size = _between(self._sizes, size, beyond=True)
        j, of_word = _between(self._words, word, beyond=False)
        low, high = self._logs[i], self._logs[i + 1]
        return exp(
            (1 - of_size) * ((1 - of_word) * low[j] + of_word * low[j + 1])
            + of_size * ((1 - of_word) * high[j] + of_word * high[j + 1])
        )


def _between(marks: list[int], x: float, *, beyond: bool) -> tuple[int, float]:
    """Return the interval that ``x`` lies in, and how far in it, in logarithms; ``beyond`` the last, or at it."""
    i = min(max(bisect_right(marks, x) - 1, 0), len(marks) - 2)
    share = (log(x) - log(marks[i])) / (log(marks[i + 1]) - log(marks[i]))
    return i, max(share, 0.0) if beyond else min(max(share, 0.0), 1.0)
