"""The section of the area: bars, floor plan, table, for both kinds of result."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from .accounts import AreaSummary
from .floor_plan import floor_plan_svg
from .page_tables import area_bars, area_table, status_shares

__all__ = ["area_values"]

_BASIS = {
    "synthesis": "Logic from synthesis of this chip's own components",
    "fit": "Logic from a fit to syntheses of chips of other sizes",
    "units": "Logic by counting units of the engines",
}


def area_values(area: AreaSummary | None) -> dict[str, Any] | None:
    """Return what the template of the area's section needs; None if the area is unknown."""
    if area is None:
        return None
    return {
        "mm2": area.area_mm2,
        "basis": f"{_BASIS[area.basis]}, memories by their bits, at {area.node_nm} nm.",
        "bars": area_bars(area),
        "plan": Markup(floor_plan_svg(area)),
        "table": area_table(area),
        "statuses": status_shares([(row.status, row.area_mm2) for row in area.rows]),
        "notes": area.notes,
        "facts": list(area.provenance.items()),
    }
