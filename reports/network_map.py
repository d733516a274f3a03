"""The graph of the mapped network as a drawing: layers as boxes with their cores, edges with their traffic."""

from __future__ import annotations

from dataclasses import dataclass
from math import log10

from markupsafe import Markup

from .drawing import Drawing
from .mesh_map import layer_colour, layer_number
from .result import Edge, RunResult
from .units import count

__all__ = ["network_svg", "ranks"]

HOST = "host"
_BOX_WIDTH, _BOX_HEIGHT, _RISE, _BETWEEN, _SIDE = 196.0, 62.0, 44.0, 26.0, 118.0
_CORE, _CORES_SHOWN, _LONGEST = 9.0, 16, 24


@dataclass(frozen=True)
class _Box:
    name: str
    x: float
    y: float
    height: float

    @property
    def middle(self) -> float:
        return self.x + _BOX_WIDTH / 2


def ranks(result: RunResult) -> list[list[str]]:
    """Return the names of the graph's nodes row by row: inputs, the layers by their depth, the host."""
    depth = {layer.name: layer.depth for layer in result.layers}
    targets = {edge.target for edge in result.graph}
    inputs = [e.source for e in result.graph if e.source not in depth and e.source != HOST]
    rows = [list(dict.fromkeys(inputs))]
    rows += [
        [layer.name for layer in result.layers if layer.depth == level]
        for level in sorted(set(depth.values()))
    ]
    rows.append([HOST] if HOST in targets else [])
    return [row for row in rows if row]


def network_svg(result: RunResult) -> Markup:
    """Return the drawing of the network's graph, from the inputs above to the host below."""
    rows = ranks(result)
    widest = max(len(row) for row in rows)
    across = widest * _BOX_WIDTH + (widest - 1) * _BETWEEN
    boxes: dict[str, _Box] = {}
    top = 8.0
    for row in rows:
        left = _SIDE + (across - len(row) * _BOX_WIDTH - (len(row) - 1) * _BETWEEN) / 2
        height = max(_height(result, name) for name in row)
        for place, name in enumerate(row):
            x = left + place * (_BOX_WIDTH + _BETWEEN)
            boxes[name] = _Box(name, x, top, _height(result, name))
        top += height + _RISE
    width = across + 2 * _SIDE
    drawing = Drawing(
        width, top - _RISE + 10, "Graph of the network: layers, their cores, and the traffic between them",
        widest=max(width * 1.25, 460), narrowest=0 if widest == 1 else 0.7 * width
    )  # fmt: skip
    level = {name: index for index, row in enumerate(rows) for name in row}
    most = max((edge.flits for edge in result.graph), default=0.0)
    sides = 0
    for edge in result.graph:
        if edge.source not in boxes or edge.target not in boxes:
            continue
        source, target = boxes[edge.source], boxes[edge.target]
        near = level[edge.target] - level[edge.source] == 1
        if near:
            _down(drawing, edge, source, target, most)
        else:
            ends = sorted((level[edge.source], level[edge.target]))
            passed = [boxes[n] for row in rows[ends[0] : ends[1] + 1] for n in row]
            beside = [source] if source is target else passed
            _around(drawing, edge, source, target, most, beside, right=sides % 2 == 0)
            sides += 1
    for box in boxes.values():
        _box(drawing, result, box)
    return drawing.markup


def _height(result: RunResult, name: str) -> float:
    return _BOX_HEIGHT if layer_number(result, name) else 30.0


def _box(drawing: Drawing, result: RunResult, box: _Box) -> None:
    number = layer_number(result, box.name)
    drawing.rect(box.x, box.y, _BOX_WIDTH, box.height, kind="box")
    if not number:
        what = "outputs, to the host" if box.name == HOST else f"{_short(box.name)}, from the host"
        drawing.text(box.middle, box.y + box.height / 2, what, kind="ink")
        return
    layer = result.layers[number - 1]
    colour = layer_colour(number)
    drawing.rect(box.x, box.y, 22, 20, fill=colour)
    drawing.text(box.x + 11, box.y + 10.5, str(number), kind="in")
    drawing.text(box.x + 29, box.y + 11, _short(layer.name), kind="ink strong", anchor="start")
    shape = " x ".join(map(str, layer.shape)) or "1"
    drawing.text(box.x + 8, box.y + 30, f"{layer.kind}, {shape}", anchor="start")
    own = [core for core in result.counters["cores"] if core["layer"] == layer.name]
    for place, core in enumerate(own[:_CORES_SHOWN]):
        drawing.rect(
            box.x + 8 + place * (_CORE + 1.5), box.y + 44, _CORE, _CORE, fill=colour,
            tip=f"core ({core['x']}, {core['y']}): {count(core['spikes'] / result.samples)} outputs a sample"
        )  # fmt: skip
    if len(own) > _CORES_SHOWN:
        drawing.text(box.x + _BOX_WIDTH - 6, box.y + 17 + _CORE, f"{len(own)} cores", anchor="end")


def _down(drawing: Drawing, edge: Edge, source: _Box, target: _Box, most: float) -> None:
    x1, y1, x2, y2 = source.middle, source.y + source.height, target.middle, target.y
    bend = (y2 - y1) / 2
    drawing.path(
        f"M{x1:.1f} {y1:.1f}C{x1:.1f} {y1 + bend:.1f} {x2:.1f} {y2 - bend:.1f} {x2:.1f} {y2:.1f}",
        kind=f"flow {edge.what}", stroke=_stroke(edge, most), tip=_tip(edge)
    )  # fmt: skip
    drawing.text((x1 + x2) / 2 + 8, (y1 + y2) / 2, _flits(edge), anchor="start", kind="ink halo")


def _around(
    drawing: Drawing,
    edge: Edge,
    source: _Box,
    target: _Box,
    most: float,
    passed: list[_Box],
    *,
    right: bool,
) -> None:
    """Draw an edge that does not lead one row down: on one side of all the boxes that it passes."""
    x1, x2 = ((b.x + _BOX_WIDTH) if right else b.x for b in (source, target))
    y1, y2 = source.y + source.height * 0.62, target.y + target.height * 0.38
    if source is target:
        y1, y2 = source.y + source.height - 10, source.y + 10
    sides = [(b.x + _BOX_WIDTH) if right else b.x for b in passed]
    peak = max(sides) + 36 if right else min(sides) - 36
    # A cubic curve reaches three quarters of the way to its control points.
    far = (peak - (x1 + x2) / 8) / 0.75
    drawing.path(
        f"M{x1:.1f} {y1:.1f}C{far:.1f} {y1:.1f} {far:.1f} {y2:.1f} {x2:.1f} {y2:.1f}",
        kind=f"flow {edge.what}", stroke=_stroke(edge, most), tip=_tip(edge)
    )  # fmt: skip
    drawing.text(
        peak + (7 if right else -7), (y1 + y2) / 2, _flits(edge), anchor="start" if right else "end", kind="ink halo"
    )  # fmt: skip


def _stroke(edge: Edge, most: float) -> float:
    """Return the width of an edge: 1 to 7, by the logarithm of its traffic over three decades."""
    if edge.flits <= 0 or most <= 0:
        return 1.0
    return 1.0 + 6.0 * max(0.0, 1 + log10(edge.flits / most) / 3)


def _flits(edge: Edge) -> str:
    kind = {"values": "", "sums": " sums", "outputs": ""}[edge.what]
    return f"{count(edge.flits)}{kind}"


def _tip(edge: Edge) -> str:
    return (
        f"{edge.source} to {edge.target}, {edge.what}: {count(edge.flits)} flits a sample ({edge.status}), "
        f"{edge.routes:,} routes"
    )


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}\u2026"
