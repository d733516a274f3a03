"""A picture of where a chip's area goes, to scale: the chip, and one of its cores, as an SVG that stands alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum, log, sqrt
from xml.sax.saxutils import escape

from .accounts import AreaPart, AreaSummary

__all__ = ["Box", "floor_plan_svg", "treemap"]

# Okabe and Ito's colours, pale enough for black text on them.
_COLOURS = {"logic": "#8ecbee", "memory": "#f3c46a", "interface": "#c9c9c9"}
_SIDE = 460.0  # of the chip's square, in drawing units
_GAP, _TOP, _FOOT = 40.0, 26.0, 46.0
_LABEL_WIDTH, _LABEL_HEIGHT, _CHARACTER = 34.0, 13.0, 6.1
_SMALLEST = 1e-9  # share of a box below which a part has no rectangle
_TILE = "spikeloom-tile"
_SCALES_MM = (10.0, 5.0, 2.0, 1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01)


@dataclass(frozen=True)
class Box:
    """A rectangle in drawing units, its upper left corner first."""

    x: float
    y: float
    width: float
    height: float

    @property
    def area(self) -> float:
        """Square units."""
        return self.width * self.height


def treemap(sizes: Sequence[float], box: Box) -> list[Box]:
    """Return a rectangle for each size, none below 0, that together fill the box, areas in proportion to sizes.

    Squarified: Bruls, Huizing and van Wijk, "Squarified treemaps", 2000. Boxes are in the order of the sizes given;
    what is less than a billionth of all has none of the box.
    """
    total = fsum(sizes)
    found = [Box(box.x, box.y, 0.0, 0.0) for _ in sizes]
    if not total > 0:
        return found
    drawn = (i for i, size in enumerate(sizes) if size > _SMALLEST * total)
    left = sorted(drawn, key=lambda i: -sizes[i])
    scale = box.area / total
    while left:
        short = min(box.width, box.height)
        count, best = 1, _worst([sizes[left[0]] * scale], short)
        while count < len(left):
            next_worst = _worst([sizes[i] * scale for i in left[: count + 1]], short)
            if next_worst > best:
                break
            count, best = count + 1, next_worst
        chosen, left = left[:count], left[count:]
        row = fsum(sizes[i] for i in chosen) * scale
        thick = row / short if left else max(box.width, box.height)
        at = 0.0
        for i in chosen:
            length = short * sizes[i] * scale / row
            if box.width >= box.height:
                found[i] = Box(box.x, box.y + at, thick, length)
            else:
                found[i] = Box(box.x + at, box.y, length, thick)
            at += length
        if box.width >= box.height:
            box = Box(box.x + thick, box.y, max(box.width - thick, 0.0), box.height)
        else:
            box = Box(box.x, box.y + thick, box.width, max(box.height - thick, 0.0))
    return found


def _worst(row: Sequence[float], short: float) -> float:
    """Return the largest ratio of sides of a row of areas laid along a side."""
    total = fsum(row)
    return max(
        max(short**2 * area / total**2, total**2 / (short**2 * area))
        for area in (min(row), max(row))
    )


def floor_plan_svg(area: AreaSummary) -> str:
    """Return the picture: the chip with its cores and what it has once, and one core with its router.

    Every rectangle's area is in proportion to square millimetres, within the chip and within the core, which is drawn
    larger. Where things lie is a treemap's doing: no layout was made.
    """
    per_core = [row for row in area.rows if row.place != "chip"]
    once = [row for row in area.rows if row.place == "chip"]
    left = Box(1.0, _TOP, _SIDE, _SIDE)
    panels = 2 if per_core else 1
    width = panels * _SIDE + (panels - 1) * _GAP + 2
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {_TOP + _SIDE + _FOOT:g}" role="img" '
            f'aria-label="Floor plan: {area.area_mm2:.3g} square millimetres" font-family="sans-serif" font-size="11" '
            f'style="max-width:{width:g}px;width:100%;height:auto">'
        )
    ]
    tiles = "; each tile is a core with its router" if per_core else ""
    parts.append(
        _text(left.x, left.y - 9, f"chip, {_mm2(area.area_mm2)} at {area.node_nm} nm{tiles}")
    )
    parts += _chip(once, per_core, area.cores, left)
    parts += _scale_bar(left, sqrt(area.area_mm2))
    if per_core:
        right = Box(left.x + _SIDE + _GAP, _TOP, _SIDE, _SIDE)
        each = fsum(row.area_mm2 for row in per_core) / area.cores
        parts.append(
            _text(
                right.x, right.y - 9, f"one of {area.cores:,} cores with its router, {_mm2(each)}"
            )
        )
        parts += _components(per_core, area.cores, each, right)
        parts += _scale_bar(right, sqrt(each))
    parts += _legend(left.x + 225, left.y + _SIDE + 14, area)
    parts.append("</svg>")
    return "\n".join(parts)


def _chip(
    once: Sequence[AreaPart], per_core: Sequence[AreaPart], cores: int, box: Box
) -> list[str]:
    """Draw what the chip has once, and its cores as a grid of equal tiles."""
    if not per_core:
        return _components(once, 1, fsum(row.area_mm2 for row in once), box)
    sizes = [fsum(row.area_mm2 for row in per_core), fsum(row.area_mm2 for row in once)]
    grid, rest = treemap(sizes, box)
    parts = _components(once, 1, fsum(sizes), rest) if once else []
    columns = _columns(cores, grid.width / grid.height)
    wide, high = grid.width / columns, grid.height / (cores // columns)
    logic = fsum(row.area_mm2 for row in per_core if row.part == "logic") / sizes[0]
    tip = f"one core with its router: {_mm2(sizes[0] / cores)}, {logic:.0%} logic"
    tile = Box(0.0, 0.0, wide, high)
    memory, gates = treemap([1.0 - logic, logic], tile)
    drawn = [_rect(memory, "memory", tip), _rect(gates, "logic", tip), _outline(tile)]
    parts.append(
        f'<defs><pattern id="{_TILE}" patternUnits="userSpaceOnUse" x="{grid.x:.3f}" y="{grid.y:.3f}" '
        f'width="{wide:.4f}" height="{high:.4f}">{"".join(drawn)}</pattern></defs>'
    )
    parts.append(
        f'<rect x="{grid.x:.3f}" y="{grid.y:.3f}" width="{grid.width:.3f}" height="{grid.height:.3f}" '
        f'fill="url(#{_TILE})" stroke="#333" data-mm2="{sizes[0]!r}"><title>{tip}</title></rect>'
    )
    return parts


def _columns(cores: int, aspect: float) -> int:
    """Return into how many columns to arrange cores, without gaps, so that tiles are as square as can be."""
    divisors = [count for count in range(1, cores + 1) if cores % count == 0]
    return min(divisors, key=lambda count: abs(log(aspect * cores / count**2)))


def _components(rows: Sequence[AreaPart], number: int, whole: float, box: Box) -> list[str]:
    """Draw components, each split into logic, memory, interface: one of ``number``, shares being of ``whole`` mm2."""
    names = list(dict.fromkeys(row.component for row in rows))
    sizes = [fsum(row.area_mm2 for row in rows if row.component == name) / number for name in names]
    parts: list[str] = []
    labels: list[str] = []
    for name, size, place in zip(names, sizes, treemap(sizes, box), strict=True):
        kinds = [
            kind for kind in _COLOURS if any(r.component == name and r.part == kind for r in rows)
        ]
        inner = [
            fsum(r.area_mm2 for r in rows if r.component == name and r.part == kind) / number
            for kind in kinds
        ]
        for kind, mm2, own in zip(kinds, inner, treemap(inner, place), strict=True):
            tip = f"{name}, {kind}: {_mm2(mm2)}, {mm2 / whole:.1%}"
            parts.append(_rect(own, kind, tip, mm2))
        parts.append(_outline(place, 1.5))
        labels += _label(place, name, f"{_mm2(size)}, {size / whole:.0%}")
    return parts + labels


def _label(box: Box, name: str, size: str) -> list[str]:
    """Write a name, and a size below it, where the rectangle has room for them."""
    room = int((box.width - 6) / _CHARACTER)
    if box.width < _LABEL_WIDTH or box.height < _LABEL_HEIGHT or room < len(name):
        return []
    lines = [_text(box.x + 4, box.y + 12, name, "#000")]
    if box.height >= 2 * _LABEL_HEIGHT and room >= len(size):
        lines.append(_text(box.x + 4, box.y + 25, size, "#000"))
    return lines


def _legend(x: float, y: float, area: AreaSummary) -> list[str]:
    parts: list[str] = []
    for kind, colour in _COLOURS.items():
        mm2 = fsum(row.area_mm2 for row in area.rows if row.part == kind)
        if not mm2:
            continue
        parts.append(f'<rect x="{x:g}" y="{y:g}" width="11" height="11" fill="{colour}"/>')
        text = f"{kind} {mm2 / area.area_mm2:.0%}"
        parts.append(_text(x + 15, y + 10, text))
        x += 26 + len(text) * _CHARACTER
    parts.append(_text(1.0, y + 28, "Areas are to scale; where they lie is not a layout."))
    return parts


def _scale_bar(box: Box, side_mm: float) -> list[str]:
    length = next((mm for mm in _SCALES_MM if mm <= 0.4 * side_mm), _SCALES_MM[-1])
    wide = length / side_mm * box.width
    y = box.y + box.height + 8
    return [
        f'<path d="M{box.x:g} {y:g}v6h{wide:.2f}v-6" fill="none" stroke="currentColor"/>',
        _text(box.x + wide + 5, y + 8, f"{length:g} mm"),
    ]


def _rect(box: Box, kind: str, tip: str, mm2: float | None = None) -> str:
    size = "" if mm2 is None else f' data-mm2="{mm2!r}"'
    return (
        f'<rect x="{box.x:.3f}" y="{box.y:.3f}" width="{box.width:.3f}" height="{box.height:.3f}" '
        f'fill="{_COLOURS[kind]}"{size}><title>{escape(tip)}</title></rect>'
    )


def _outline(box: Box, width: float = 0.6) -> str:
    return (
        f'<rect x="{box.x:.3f}" y="{box.y:.3f}" width="{box.width:.3f}" height="{box.height:.3f}" '
        f'fill="none" stroke="#333" stroke-width="{width:g}"/>'
    )


def _text(x: float, y: float, text: str, colour: str = "currentColor") -> str:
    return f'<text x="{x:.2f}" y="{y:.2f}" fill="{colour}">{escape(text)}</text>'


def _mm2(value: float) -> str:
    return f"{value:.3g} mm²" if value >= 1e-3 else f"{value * 1e6:.3g} µm²"
