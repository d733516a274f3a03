"""The timeline of a training step as a drawing: a lane for each queue, blocks in the colours of the layers."""

from __future__ import annotations

from collections import defaultdict

from markupsafe import Markup

from .drawing import Drawing
from .learn_result import StepTasks
from .mesh_map import layer_colour
from .scales import linear_ticks
from .timeline import Block, lanes
from .units import share, si

__all__ = ["timeline_svg"]

_LEFT, _RIGHT, _TOP, _LANE, _GAP, _WIDE = 116.0, 12.0, 6.0, 20.0, 6.0, 700.0


def timeline_svg(tasks: StepTasks, clock_hz: float) -> Markup:
    """Return the drawing; a block's height is the share of its time in which the queue was busy."""
    made = lanes(tasks)
    bottom = _TOP + len(made) * (_LANE + _GAP)
    drawing = Drawing(
        _LEFT + _WIDE + _RIGHT,
        bottom + 38,
        "Timeline of a training step, a lane for each engine and each queue of the memory",
        widest=1100,
        narrowest=600,
    )
    scale = _WIDE / tasks.cycles
    for seconds in linear_ticks(0.0, tasks.cycles / clock_hz, 6):
        at = _LEFT + seconds * clock_hz * scale
        drawing.line(at, _TOP, at, bottom, kind="grid")
        anchor = "start" if seconds == 0 else "end" if at > _LEFT + _WIDE - 24 else "middle"
        drawing.text(at, bottom + 12, si(seconds, "s"), anchor=anchor)
    drawing.text(_LEFT + _WIDE / 2, bottom + 29, "time in the step")
    for index, lane in enumerate(made):
        floor = _TOP + index * (_LANE + _GAP) + _LANE
        drawing.text(_LEFT - 8, floor - _LANE / 2, lane.name, anchor="end", kind="ink")
        drawing.line(_LEFT, floor, _LEFT + _WIDE, floor, kind="grid")
        by_layer: defaultdict[int, list[Block]] = defaultdict(list)
        for block in lane.blocks:
            by_layer[block.layer].append(block)
        for layer, blocks in by_layer.items():
            cycles = sum((b.end - b.start) * b.share for b in blocks)
            drawing.path(
                "".join(_box(block, scale, floor) for block in blocks),
                kind="block",
                fill=layer_colour(layer + 1),
                tip=f"{lane.name}, {tasks.layers[layer]}: {'' if lane.drawn else 'about '}"
                f"{share(cycles / tasks.cycles)} of the step",
            )
    return drawing.markup


def _box(block: Block, scale: float, floor: float) -> str:
    left, width = _LEFT + block.start * scale, max((block.end - block.start) * scale, 0.4)
    height = max(block.share * _LANE, 0.5)
    return f"M{left:.1f} {floor:.1f}v{-height:.1f}h{width:.1f}v{height:.1f}z"
